/* simulator_net.c - the network between bot and gateway: attempts that succeed, fail or hang, and
 * two lanes that keep their order but not their time. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "simulator.h"

/* ---- Lanes ----------------------------------------------------------------------------------- */

static void lane_empty(struct sim_clock *clock, struct sim_lane *lane) {
    sim_disarm(clock, &lane->timer);
    while (lane->first) {
        struct sim_packet *packet = lane->first;
        lane->first = packet->next;
        free(packet);
    }
    lane->last = NULL;
}

static void lane_arm(struct sim_world *world, struct sim_lane *lane) {
    if (lane->first) sim_arm(&world->clock, &lane->timer, lane->first->at_ms, SIM_NETWORK);
}

static int64_t travel_ms(struct sim_world *world) {
    const struct sim_climate *climate = &world->weather.climate;
    int64_t jitter_ms = world->weather.peace ? 5 : climate->jitter_ms;
    return climate->latency_ms + sim_between(&world->clock, 0, jitter_ms);
}

static void lane_push(struct sim_world *world, struct sim_lane *lane, enum sim_said said, int code,
                      struct gate_span bytes, bool binary) {
    if (lane->silent) return;
    struct sim_packet *packet = malloc(sizeof *packet + bytes.len);
    if (!packet) abort();
    int64_t at_ms = world->clock.now_ms + travel_ms(world);
    if (at_ms < lane->last_at_ms) at_ms = lane->last_at_ms;
    *packet = (struct sim_packet){
        .at_ms = at_ms, .said = said, .code = code, .binary = binary, .len = bytes.len};
    if (bytes.len) memcpy(packet->bytes, bytes.data, bytes.len);
    lane->last_at_ms = at_ms;
    if (lane->last)
        lane->last->next = packet;
    else
        lane->first = packet;
    lane->last = packet;
    if (lane->first == packet) lane_arm(world, lane);
}

static struct sim_packet *lane_pop(struct sim_lane *lane) {
    struct sim_packet *packet = lane->first;
    lane->first = packet->next;
    if (!lane->first) lane->last = NULL;
    return packet;
}

/* ---- Arrivals -------------------------------------------------------------------------------- */

static void client_hears_end(struct sim_link *link, int code) {
    struct gate_close why = {.phase = GATE_PHASE_OPEN, .code = code};
    if (code != GATE_CLOSE_DROPPED) why.reason = GATE_SPAN("as the gateway has it");
    sim_bot_closed(link, &why);
}

/* Down: the client may have stopped reading, or stand still as a whole. */
static void arrive_down(void *owner) {
    struct sim_link *link = owner;
    struct sim_world *world = link->world;
    if (link->client_gone || !link->down.first) return;
    if (sim_frozen(world, &link->down.timer, SIM_NETWORK)) return;
    if (link->seat->paused) return;
    struct sim_packet *packet = lane_pop(&link->down);
    lane_arm(world, &link->down);
    if (packet->said == SIM_SAID_CLOSE) {
        client_hears_end(link, packet->code);
    } else {
        sim_bot_piece(link, packet);
    }
    free(packet);
}

static void arrive_up(void *owner) {
    struct sim_link *link = owner;
    if (link->server_gone || !link->up.first) return;
    struct sim_packet *packet = lane_pop(&link->up);
    lane_arm(link->world, &link->up);
    if (packet->said == SIM_SAID_CLOSE)
        sim_gateway_left(link, packet->code);
    else
        sim_gateway_heard(link, (struct gate_span){packet->bytes, packet->len});
    free(packet);
}

void sim_link_paused(struct sim_link *link, bool paused) {
    if (paused)
        sim_disarm(&link->world->clock, &link->down.timer);
    else
        lane_arm(link->world, &link->down);
}

/* ---- Saying ---------------------------------------------------------------------------------- */

static z_stream *open_deflate(void) {
    z_stream *stream = calloc(1, sizeof *stream);
    if (!stream || deflateInit2(stream, 6, Z_DEFLATED, 10, 1, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    return stream;
}

static ZSTD_CCtx *open_zstd(void) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context || ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 10))) abort();
    return context;
}

/* A payload is a stream of its own with an end; a zlib-stream goes on and on. */
static size_t squeeze_by_zlib(struct sim_link *link, struct gate_span text, char *room,
                              size_t room_len) {
    bool whole = link->world->compress == GATE_COMPRESS_PAYLOAD;
    if (!link->deflate) link->deflate = open_deflate();
    z_stream *stream = link->deflate;
    stream->next_in = (Bytef *)(uintptr_t)text.data;
    stream->avail_in = (uInt)text.len;
    stream->next_out = (Bytef *)room;
    stream->avail_out = (uInt)room_len;
    int status = deflate(stream, whole ? Z_FINISH : Z_SYNC_FLUSH);
    if (status != (whole ? Z_STREAM_END : Z_OK) || stream->avail_out == 0) abort();
    if (whole && deflateReset(stream) != Z_OK) abort();
    return room_len - stream->avail_out;
}

static size_t squeeze_by_zstd(struct sim_link *link, struct gate_span text, char *room,
                              size_t room_len) {
    if (!link->zstd) link->zstd = open_zstd();
    ZSTD_inBuffer in = {text.data, text.len, 0};
    ZSTD_outBuffer out = {room, room_len, 0};
    if (ZSTD_compressStream2(link->zstd, &out, &in, ZSTD_e_flush) != 0) abort();
    return out.pos;
}

/* What cannot be decoded is that on the wire as well: 11 is no type of a block, to neither of the
 * libraries, and no beginning of a stream. */
static struct gate_span squeeze(struct sim_link *link, enum sim_said said, struct gate_span text,
                                char *room, size_t room_len) {
    static const char broken[] = "\xff\xff\xff\xff\x00\x00\xff\xff";
    if (said == SIM_SAID_CORRUPT) return (struct gate_span){broken, sizeof broken - 1};
    bool by_zstd = link->world->compress == GATE_COMPRESS_ZSTD_STREAM;
    size_t len = by_zstd ? squeeze_by_zstd(link, text, room, room_len)
                         : squeeze_by_zlib(link, text, room, room_len);
    return (struct gate_span){room, len};
}

/* Payloads are compressed from Identify on, and which of them is the service's choice. */
static bool is_squeezed(struct sim_link *link, struct gate_span text) {
    struct sim_world *world = link->world;
    if (world->compress == GATE_COMPRESS_NONE || text.len == 0) return false;
    if (world->compress != GATE_COMPRESS_PAYLOAD) return true;
    return link->session && sim_chance(&world->clock, 0.5);
}

void sim_link_say(struct sim_link *link, enum sim_said said, struct gate_span text) {
    struct sim_world *world = link->world;
    char room[40000];
    if (link->server_gone) return;
    bool binary = is_squeezed(link, text);
    if (binary) {
        sim_tell_note(link->seat, "on its way: %.*s", (int)text.len, text.data);
        text = squeeze(link, said, text, room, sizeof room);
    }
    if (text.len > 1 && said != SIM_SAID_CORRUPT &&
        sim_strikes(world, world->weather.climate.split, SIM_FAULT_SPLIT)) {
        size_t cut = (size_t)sim_between(&world->clock, 1, (int64_t)text.len - 1);
        lane_push(world, &link->down, SIM_SAID_PART, 0, (struct gate_span){text.data, cut}, binary);
        text = (struct gate_span){text.data + cut, text.len - cut};
    }
    lane_push(world, &link->down, said, 0, text, binary);
}

void sim_link_send(struct sim_link *link, struct gate_span bytes) {
    lane_push(link->world, &link->up, SIM_SAID_PLAIN, 0, bytes, false);
}

/* ---- Endings --------------------------------------------------------------------------------- */

void sim_link_close(struct sim_link *link, int code) {
    lane_push(link->world, &link->up, SIM_SAID_CLOSE, code, GATE_SPAN(""), false);
}

void sim_link_hang_up(struct sim_link *link, int code) {
    if (link->server_gone) return;
    lane_push(link->world, &link->down, SIM_SAID_CLOSE, code, GATE_SPAN(""), false);
    link->server_gone = true;
    sim_disarm(&link->world->clock, &link->watch);
    sim_disarm(&link->world->clock, &link->answer);
    lane_empty(&link->world->clock, &link->up);
}

/* The gateway learns of it when the network tells, or when no heartbeat comes. */
void sim_link_abort(struct sim_link *link) {
    link->client_gone = true;
    link->seat->link = NULL;
    sim_disarm(&link->world->clock, &link->timer);
    lane_empty(&link->world->clock, &link->down);
    if (!link->open) link->server_gone = true;
    if (!link->server_gone)
        lane_push(link->world, &link->up, SIM_SAID_CLOSE, GATE_CLOSE_DROPPED, GATE_SPAN(""), false);
    sim_link_leave(link);
}

void sim_link_cut(struct sim_link *link) {
    struct sim_clock *clock = &link->world->clock;
    lane_empty(clock, &link->up);
    lane_push(link->world, &link->up, SIM_SAID_CLOSE, GATE_CLOSE_DROPPED, GATE_SPAN(""), false);
    /* What had not arrived is gone, or arrives in front of the end. */
    if (sim_chance(clock, 0.5)) lane_empty(clock, &link->down);
    lane_push(link->world, &link->down, SIM_SAID_CLOSE, GATE_CLOSE_DROPPED, GATE_SPAN(""), false);
}

void sim_link_stall(struct sim_link *link, int64_t ms) {
    struct sim_lane *lanes[] = {&link->down, &link->up};
    link->stalled = true;
    for (size_t i = 0; i < 2; i++) {
        int64_t until_ms = link->world->clock.now_ms + ms;
        if (lanes[i]->last_at_ms < until_ms) lanes[i]->last_at_ms = until_ms;
        for (struct sim_packet *p = lanes[i]->first; p; p = p->next)
            if (p->at_ms < until_ms) p->at_ms = until_ms;
        if (lanes[i]->timer.place) lane_arm(link->world, lanes[i]);
    }
}

void sim_link_leave(struct sim_link *link) {
    if (link->client_gone && link->server_gone) sim_link_free(link);
}

void sim_link_free(struct sim_link *link) {
    struct sim_clock *clock = &link->world->clock;
    if (link->seat->link == link) link->seat->link = NULL;
    if (link->session && link->session->link == link) link->session->link = NULL;
    sim_disarm(clock, &link->timer);
    sim_disarm(clock, &link->watch);
    sim_disarm(clock, &link->answer);
    lane_empty(clock, &link->down);
    lane_empty(clock, &link->up);
    if (link->deflate) {
        deflateEnd(link->deflate);
        free(link->deflate);
    }
    ZSTD_freeCCtx(link->zstd);
    if (link->next) link->next->before = link->before;
    if (link->before)
        link->before->next = link->next;
    else
        link->world->links = link->next;
    free(link);
}

/* ---- Attempts -------------------------------------------------------------------------------- */

static void end_attempt(void *owner) {
    struct sim_link *link = owner;
    if (sim_frozen(link->world, &link->timer, SIM_NETWORK)) return;
    if (link->fails) {
        sim_bot_closed(link, &link->failure);
        return;
    }
    link->open = true;
    sim_gateway_accept(link);
    sim_bot_opened(link);
}

static const struct {
    enum gate_phase phase;
    int error, http_status;
    int64_t after_ms, retry_after_ms;
} failures[] = {
    {GATE_PHASE_RESOLVE, GATE_ERESOLVE, 0, 20, 0},
    {GATE_PHASE_RESOLVE, GATE_ETIMEOUT, 0, SIM_CONNECT_MS, 0},
    {GATE_PHASE_CONNECT, GATE_ECONNECT, 0, 0, 0},
    {GATE_PHASE_CONNECT, GATE_ETIMEOUT, 0, SIM_CONNECT_MS, 0},
    {GATE_PHASE_TLS, GATE_ETLS, 0, 90, 0},
    {GATE_PHASE_TLS, GATE_ECERTIFICATE, 0, 90, 0},
    {GATE_PHASE_TLS, GATE_ETIMEOUT, 0, SIM_CONNECT_MS, 0},
    {GATE_PHASE_UPGRADE, GATE_EUPGRADE, 503, 120, 0},
    {GATE_PHASE_UPGRADE, GATE_EUPGRADE, 429, 120, 30000},
    {GATE_PHASE_UPGRADE, GATE_EUPGRADE, 520, 400, 0},
    {GATE_PHASE_UPGRADE, GATE_ETIMEOUT, 0, SIM_CONNECT_MS, 0},
};

static void plan_failure(struct sim_link *link, size_t how) {
    how %= sizeof failures / sizeof failures[0];
    link->fails = true;
    link->failure = (struct gate_close){.phase = failures[how].phase,
                                        .code = GATE_CLOSE_DROPPED,
                                        .error = failures[how].error,
                                        .http_status = failures[how].http_status,
                                        .retry_after_ms = failures[how].retry_after_ms};
    sim_arm(&link->world->clock, &link->timer, link->world->clock.now_ms + failures[how].after_ms,
            SIM_NETWORK);
}

static void plan_attempt(struct sim_link *link) {
    struct sim_world *world = link->world;
    struct sim_clock *clock = &world->clock;
    const struct sim_climate *climate = &world->weather.climate;
    int at = link->host < 0 ? SIM_HOSTS : link->host;
    if (world->gateway.host_down_until_ms[at] > clock->now_ms) {
        plan_failure(link, (size_t)world->gateway.host_down_how[at]);
    } else if (sim_strikes(world, climate->connect_fails, SIM_FAULT_CONNECT_FAILED)) {
        plan_failure(link, (size_t)sim_random(clock));
    } else if (!sim_strikes(world, climate->connect_fails / 8, SIM_FAULT_CONNECT_SILENT)) {
        int64_t slow_ms = sim_chance(clock, climate->connect_fails) ? 28000 : 100;
        sim_arm(clock, &link->timer,
                clock->now_ms + 3 * travel_ms(world) + sim_between(clock, 0, slow_ms), SIM_NETWORK);
    }
}

void sim_link_open(struct sim_seat *seat, struct gate_span url, uint32_t connection) {
    struct sim_link *link = calloc(1, sizeof *link);
    if (!link) abort();
    link->world = seat->world;
    link->seat = seat;
    link->connection = connection;
    link->host = strncmp(url.data, "wss://resume", 12) == 0 ? url.data[12] - '0' : -1;
    link->down.timer = (struct sim_timer){.fire = arrive_down, .owner = link};
    link->up.timer = (struct sim_timer){.fire = arrive_up, .owner = link};
    link->timer = (struct sim_timer){.fire = end_attempt, .owner = link};
    link->next = link->world->links;
    if (link->next) link->next->before = link;
    link->world->links = link;
    seat->link = link;
    plan_attempt(link);
}

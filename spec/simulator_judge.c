/* simulator_judge.c - holds what the shards do against what the gateway knows and what the rules
 * say, after every step. Written from the rules, not from src/. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

/* A bot of this world holds short commands and messages of 20 KB: a shard with full outbox, window
 * of inflate and message buffer stays far below. */
#define LIVE_BYTES_MAX 262144

/* Connects: so many at once, refilled one in so many milliseconds. The ladder is 0.25, 1, 2, 4 ...
 * 60 s with full jitter: two a minute in the end. A connection that lasted, and whatever the user
 * does, begins it anew. */
#define CONNECTS_MAX  24.0
#define CONNECT_EVERY 20000.0
#define CONNECTS_ANEW 8.0

/* Identifies: the ladder is 5, 10, 20 ... 600 s with full jitter: 12 an hour in the end, 288 a day.
 * The allowance refills 15 an hour. */
#define IDENTIFIES_MAX  20.0
#define IDENTIFY_EVERY  240000.0
#define IDENTIFIES_ANEW 8.0

#define TICKS_MAX    32 /* of a shard in the same millisecond */
#define STABLE_MS    30000
#define HOLD_MS      90000 /* a slot: 60 s to identify, 30 s to get ready */
#define RESUMES_MAX  5     /* without an answer; then a new session (R25) */
#define POISONED_MAX 3

static size_t live_bytes;

static void *count_allocation(void *old, size_t bytes) {
    if (old) live_bytes -= malloc_usable_size(old);
    if (bytes == 0) {
        free(old);
        return NULL;
    }
    void *memory = realloc(old, bytes);
    if (memory) live_bytes += malloc_usable_size(memory);
    return memory;
}

void sim_judge_allocations(void) {
    gate_allocate_hook(count_allocation);
}

size_t sim_judge_live_bytes(void) {
    return live_bytes;
}

void sim_judge_init(struct sim_seat *seat) {
    seat->docket = (struct sim_docket){.hello_at_ms = -1,
                                       .opened_at_ms = -1,
                                       .ready_at_ms = -1,
                                       .identified_at_ms = -1,
                                       .connects = CONNECTS_MAX,
                                       .identifies = IDENTIFIES_MAX};
}

/* ---- Allowances ------------------------------------------------------------------------------ */

static void refill(double *allowance, int64_t *at_ms, int64_t now_ms, double every, double most) {
    *allowance += (double)(now_ms - *at_ms) / every;
    if (*allowance > most) *allowance = most;
    *at_ms = now_ms;
}

static void begin_anew(struct sim_docket *docket, bool identifies) {
    docket->connects += CONNECTS_ANEW;
    if (identifies) docket->identifies += IDENTIFIES_ANEW;
}

void sim_judge_verb(struct sim_seat *seat) {
    begin_anew(&seat->docket, true);
}

static void count_identify(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    struct sim_docket *docket = &seat->docket;
    int64_t now_ms = world->clock.now_ms;
    refill(&docket->identifies, &docket->identifies_at_ms, now_ms, IDENTIFY_EVERY, IDENTIFIES_MAX);
    if ((docket->identifies -= 1) < 0) sim_fail(seat, "identifies are burnt");
    int64_t *oldest_ms = &docket->identified[docket->identify_count++ % SIM_IDENTIFY_DAY];
    if (docket->identify_count > SIM_IDENTIFY_DAY && now_ms - *oldest_ms < SIM_DAY_MS)
        sim_fail(seat, "more than %d identifies in 24 hours", SIM_IDENTIFY_DAY);
    *oldest_ms = now_ms;
    uint64_t day = 0; /* of the whole token */
    for (int i = 0; i < world->shard_count; i++) {
        const struct sim_docket *other = &world->seats[i].docket;
        for (uint64_t n = 0; n < other->identify_count && n < SIM_IDENTIFY_DAY; n++)
            day += now_ms - other->identified[n] < SIM_DAY_MS;
    }
    if (day > (uint64_t)world->day.allowance)
        sim_fail(seat, "%llu identifies of the token in 24 hours, %lld are to be spent",
                 (unsigned long long)day, (long long)world->day.allowance);
    if (day > world->totals->identifies_day_max) world->totals->identifies_day_max = day;
}

/* protocol: one identify a key in five seconds; counted from the moment it leaves. */
static void check_window(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    int64_t now_ms = sim_now(world);
    int concurrency = world->gateway.concurrency;
    /* Two that hold keys which then become one, or a process that stood still for longer than a
     * lease: there are two holders of a key for once. */
    if (now_ms - world->resized_at_ms < HOLD_MS) return;
    if (world->clock.now_ms - world->frozen_until_ms < HOLD_MS) return;
    for (int i = 0; i < world->shard_count; i++) {
        const struct sim_docket *other = &world->seats[i].docket;
        if (i % concurrency != seat->id % concurrency || other->identified_at_ms < 0) continue;
        if (now_ms - other->identified_at_ms >= 5000) continue;
        sim_fail(seat, "an identify %lld ms after that of shard %d with the same key",
                 (long long)(now_ms - other->identified_at_ms), i);
    }
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void end_connection(struct sim_docket *docket, int64_t now_ms) {
    if (docket->opened_at_ms >= 0 && now_ms - docket->opened_at_ms >= STABLE_MS)
        begin_anew(docket, docket->ready_at_ms >= docket->opened_at_ms);
    docket->hello_at_ms = -1;
    docket->opened_at_ms = -1;
    docket->asked = false;
    docket->invalid = false;
}

static void judge_connect(struct sim_seat *seat, const struct gate_action *action) {
    struct sim_world *world = seat->world;
    struct sim_docket *docket = &seat->docket;
    static const char *const queries[] = {[GATE_COMPRESS_NONE] = "",
                                          [GATE_COMPRESS_ZLIB_STREAM] = "&compress=zlib-stream",
                                          [GATE_COMPRESS_ZSTD_STREAM] = "&compress=zstd-stream",
                                          [GATE_COMPRESS_PAYLOAD] = ""};
    char wanted[128];
    int64_t now_ms = sim_now(world);
    if (seat->link) sim_fail(seat, "a second connection beside the first");
    if (action->connection != docket->connection + 1) sim_fail(seat, "a generation is missing");
    refill(&docket->connects, &docket->connects_at_ms, now_ms, CONNECT_EVERY, CONNECTS_MAX);
    if ((docket->connects -= 1) < 0) sim_fail(seat, "connects without end");
    bool knows = docket->session && !docket->lost;
    const struct sim_session *session = knows ? sim_gateway_find(world, docket->session) : NULL;
    bool main_host = strncmp(action->url.data, "wss://gateway", 13) == 0;
    if (!knows && !docket->granted) sim_fail(seat, "a connection without an identify slot");
    if (!main_host && !session) sim_fail(seat, "a resume host without a session");
    snprintf(wanted, sizeof wanted, "wss://%s%.*s.test/?v=10&encoding=json%s",
             main_host ? "gateway" : "resume", main_host ? 0 : 1, &action->url.data[12],
             queries[world->compress]);
    if (strlen(wanted) != action->url.len || memcmp(wanted, action->url.data, action->url.len) != 0)
        sim_fail(seat, "the URL is %.*s, not %s", (int)action->url.len, action->url.data, wanted);
    if (!main_host && action->url.data[12] - '0' != session->host)
        sim_fail(seat, "the resume host of another session");
    docket->connection = action->connection;
    docket->send_count = docket->presence_count = 0;
    docket->may_beat_late = false;
    docket->user_code = 0;
}

void sim_judge_closed(struct sim_seat *seat, int code) {
    struct sim_docket *docket = &seat->docket;
    if (code == 4003 || code == 4006 || code == 4007 || code == 4009) docket->told_gone = true;
    docket->fatal = code == 4004 || (code >= 4010 && code <= 4014);
    if (docket->fatal) docket->told_gone = true;
}

/* R28: 1000 and 1001 end the session; they leave only where that is wanted. */
static void judge_close(struct sim_seat *seat, const struct gate_action *action) {
    const struct sim_docket *docket = &seat->docket;
    bool ends = action->code == 1000 || action->code == 1001;
    if (ends && docket->user_code != action->code && !docket->invalid)
        sim_fail(seat, "closed with %d, which ends a session nobody gave up", action->code);
}

/* A connection is a zombie when a beat is unacknowledged and nothing came since, or no ACK for two
 * intervals. */
static bool is_dead(const struct sim_seat *seat, int64_t now_ms) {
    const struct sim_docket *docket = &seat->docket;
    if (seat->paused || docket->beats == 0) return false;
    if (docket->acked_at_ms >= docket->beat_at_ms) return false;
    return docket->heard_at_ms < docket->beat_at_ms ||
           now_ms - docket->acked_at_ms >= 2 * docket->interval_ms;
}

static void judge_abort(struct sim_seat *seat) {
    const struct sim_docket *docket = &seat->docket;
    bool open = docket->state >= GATE_STATE_HELLO && docket->state <= GATE_STATE_READY;
    if (docket->cause == SIM_CAUSE_TICK && open && !is_dead(seat, sim_now(seat->world)))
        sim_fail(seat, "dropped a connection that is alive");
    if (docket->cause == SIM_CAUSE_BYTES) sim_fail(seat, "dropped a connection that spoke");
}

void sim_judge_heard(struct sim_seat *seat, enum sim_said said) {
    struct sim_docket *docket = &seat->docket;
    int64_t now_ms = sim_now(seat->world);
    bool open = docket->state >= GATE_STATE_HELLO && docket->state <= GATE_STATE_READY;
    docket->cause = SIM_CAUSE_BYTES;
    docket->heard_at_ms = now_ms;
    if (!open) return;
    if (said == SIM_SAID_ACK) docket->acked_at_ms = now_ms;
    if (said == SIM_SAID_ASK) docket->asked = true;
    if (said == SIM_SAID_INVALID) docket->told_gone = docket->invalid = true;
    if (said == SIM_SAID_CORRUPT) docket->corrupt++;
    if (said != SIM_SAID_HELLO || docket->state != GATE_STATE_HELLO) return;
    docket->interval_ms = seat->world->interval_ms;
    docket->hello_at_ms = docket->acked_at_ms = now_ms;
    docket->first_low_ms = now_ms;
    docket->first_high_ms = now_ms + docket->interval_ms - 1;
    docket->beats = 0;
}

void sim_judge_opened(struct sim_seat *seat) {
    seat->docket.opened_at_ms = sim_now(seat->world);
    seat->docket.cause = SIM_CAUSE_OTHER;
}

void sim_judge_paused(struct sim_seat *seat) {
    if (!seat->paused) seat->docket.heard_at_ms = seat->docket.acked_at_ms = sim_now(seat->world);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static int64_t read_number(struct gate_span text, const char *key) {
    const char *at = memmem(text.data, text.len, key, strlen(key));
    if (!at) return -1;
    int64_t number = 0;
    for (at += strlen(key); at < text.data + text.len && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static bool contains(struct gate_span text, const char *word) {
    return memmem(text.data, text.len, word, strlen(word)) != NULL;
}

static int kind_of(const struct sim_session *session, int64_t seq) {
    return session->kinds[seq % SIM_KINDS];
}

/* True when everything behind `from` up to `to` is what nobody listens to. */
static bool only_unheard(struct sim_seat *seat, int64_t from, int64_t to) {
    if (from == to) return true;
    const struct sim_session *session = sim_gateway_find(seat->world, seat->docket.session);
    if (!session || seat->world->hears_all || to < from || to > session->seq) return false;
    for (int64_t seq = from + 1; seq <= to; seq++) {
        int kind = kind_of(session, seq);
        if (kind != SIM_PRESENCE && kind != SIM_TYPING && kind != SIM_LIMITED) return false;
    }
    return true;
}

/* Where the first beat nominally stood is known ever better with each beat: a beat leaves at its
 * nominal time, or earlier by the slack. */
static void judge_regular_beat(struct sim_seat *seat, int64_t now_ms) {
    struct sim_docket *docket = &seat->docket;
    int64_t slack_ms = seat->world->slack_ms, interval_ms = docket->interval_ms;
    if (slack_ms > interval_ms / 8) slack_ms = interval_ms / 8;
    if (docket->hello_at_ms < 0) sim_fail(seat, "a beat before HELLO");
    if (is_dead(seat, now_ms)) sim_fail(seat, "a beat on a connection that is dead");
    int64_t first_ms = now_ms - docket->beats * interval_ms;
    if (docket->may_beat_late) {
        /* The next one is due within an interval; no more is known. */
        docket->first_low_ms = now_ms - interval_ms + 1;
        docket->first_high_ms = now_ms + slack_ms;
        docket->beats = 0;
    } else {
        if (docket->first_low_ms < first_ms) docket->first_low_ms = first_ms;
        if (docket->first_high_ms > first_ms + slack_ms)
            docket->first_high_ms = first_ms + slack_ms;
        if (docket->first_low_ms > docket->first_high_ms)
            sim_fail(seat, "beat %lld left %s", (long long)docket->beats + 1,
                     first_ms > docket->first_high_ms ? "late" : "early");
    }
    docket->may_beat_late = false;
    docket->beats++;
    docket->beat_at_ms = now_ms;
}

static void judge_beat(struct sim_seat *seat, struct gate_span bytes, int64_t now_ms) {
    struct sim_docket *docket = &seat->docket;
    int64_t seq = contains(bytes, "\"d\":null") ? -1 : read_number(bytes, "\"d\":");
    if (docket->asked)
        docket->asked = false;
    else
        judge_regular_beat(seat, now_ms);
    bool knows = docket->session && !docket->lost;
    if (knows && !only_unheard(seat, docket->delivered, seq))
        sim_fail(seat, "a beat with sequence %lld, not %lld", (long long)seq,
                 (long long)docket->delivered);
    if (!knows && seq >= 0) sim_fail(seat, "a beat with a sequence of no session");
}

static void judge_resume(struct sim_seat *seat, struct gate_span bytes) {
    struct sim_docket *docket = &seat->docket;
    int64_t number = read_number(bytes, "\"session_id\":\"s"), seq = read_number(bytes, "\"seq\":");
    if (!docket->session || docket->lost || number != docket->session)
        sim_fail(seat, "a resume of session %lld", (long long)number);
    if (!only_unheard(seat, docket->delivered, seq))
        sim_fail(seat, "a resume from %lld, not %lld", (long long)seq,
                 (long long)docket->delivered);
    if (seq != docket->resumed_from) docket->resumes = 0; /* the one before brought something */
    docket->resumed_from = seq;
    if (++docket->resumes > RESUMES_MAX) sim_fail(seat, "resumes without end");
}

static void judge_identify(struct sim_seat *seat, struct gate_span bytes) {
    struct sim_docket *docket = &seat->docket;
    int64_t presence = read_number(bytes, "\"n\":");
    if (presence != (docket->presence ? docket->presence : -1))
        sim_fail(seat, "an identify with presence %lld, not %lld", (long long)presence,
                 (long long)docket->presence);
    if (docket->session && !docket->lost) sim_fail(seat, "an identify that forgets a session");
    if (!docket->granted) sim_fail(seat, "an identify without a slot");
    check_window(seat);
    count_identify(seat);
    docket->identified_at_ms = sim_now(seat->world);
}

/* protocol: five in 20 s of a connection. */
static int64_t *judge_presence(struct sim_seat *seat, int64_t now_ms) {
    struct sim_docket *docket = &seat->docket;
    int64_t *at_ms = &docket->presences[docket->presence_count++ % GATE_PRESENCES_MAX];
    if (docket->presence_count > GATE_PRESENCES_MAX && now_ms - *at_ms < 20000)
        sim_fail(seat, "more than %d presences in 20 s", GATE_PRESENCES_MAX);
    *at_ms = now_ms;
    docket->presences_sent++;
    return &docket->presence_sent;
}

/* protocol: all members of a guild once in 30 s, on any connection; and what RATE_LIMITED said. */
static int64_t *judge_members(struct sim_seat *seat, struct gate_span bytes, int64_t now_ms) {
    int64_t id = read_number(bytes, "\"guild_id\":\"");
    if (id < 1 || id > SIM_GUILDS) sim_fail(seat, "members of no guild");
    struct sim_guild *guild = &seat->docket.guilds[id];
    if (guild->sent && now_ms - guild->sent_at_ms < 30000)
        sim_fail(seat, "members of guild %lld again after %lld ms", (long long)id,
                 (long long)(now_ms - guild->sent_at_ms));
    if (now_ms < guild->limited_until_ms)
        sim_fail(seat, "members of guild %lld in spite of RATE_LIMITED", (long long)id);
    guild->sent_at_ms = now_ms;
    return &guild->sent;
}

static void judge_command(struct sim_seat *seat, struct gate_span bytes, int64_t op,
                          int64_t now_ms) {
    struct sim_docket *docket = &seat->docket;
    int64_t number = read_number(bytes, "\"n\":"), *before = &docket->command_sent;
    if (op == 3) before = judge_presence(seat, now_ms);
    if (op == 8) before = judge_members(seat, bytes, now_ms);
    if (docket->state != GATE_STATE_READY && gate_shard_state(seat->shard) != GATE_STATE_READY)
        sim_fail(seat, "a command leaves before the shard is ready");
    if (number <= *before)
        sim_fail(seat, "command %lld behind %lld", (long long)number, (long long)*before);
    *before = number;
    docket->sent++;
}

static void judge_send(struct sim_seat *seat, const struct gate_action *action) {
    struct sim_docket *docket = &seat->docket;
    struct gate_span bytes = gate_buf_span(&action->bytes);
    int64_t now_ms = sim_now(seat->world), op = read_number(bytes, "\"op\":");
    if (!seat->link || !seat->link->open) sim_fail(seat, "a send without a connection");
    if (action->secret != contains(bytes, SIM_TOKEN)) sim_fail(seat, "the token is not kept");
    int64_t *at_ms = &docket->sends[docket->send_count++ % GATE_SENDS_MAX];
    if (docket->send_count > GATE_SENDS_MAX && now_ms - *at_ms < 60000)
        sim_fail(seat, "more than %d sends in a minute", GATE_SENDS_MAX);
    *at_ms = now_ms;
    switch (op) {
    case 1: judge_beat(seat, bytes, now_ms); break;
    case 2: judge_identify(seat, bytes); break;
    case 6: judge_resume(seat, bytes); break;
    default: judge_command(seat, bytes, op, now_ms); break;
    }
}

void sim_judge_command(struct sim_seat *seat, int op, int rc) {
    struct sim_docket *docket = &seat->docket;
    enum gate_state state = docket->state;
    docket->cause = SIM_CAUSE_OTHER;
    if (rc == GATE_OK) docket->accepted++;
    if (rc == GATE_OK && op == GATE_OP_PRESENCE_UPDATE) {
        docket->presences_accepted++;
        docket->presence = docket->command;
        docket->presence_at_ms = sim_now(seat->world);
    }
    if (rc == GATE_OK || rc == GATE_EBUSY) return;
    if (rc == GATE_ECLOSED && (state == GATE_STATE_IDLE || state == GATE_STATE_DEAD)) return;
    sim_fail(seat, "send: %s", gate_error_name(rc));
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void judge_ready(struct sim_seat *seat, struct gate_span data) {
    struct sim_docket *docket = &seat->docket;
    int64_t number = read_number(data, "\"session\":");
    if (docket->session && !docket->lost) sim_fail(seat, "a new session, and no word of the old");
    docket->session = (uint32_t)number;
    docket->delivered = 1;
    docket->lost = docket->told_gone = docket->given_up = false;
    docket->resumes = docket->corrupt = 0;
}

static void hear_limited(struct sim_seat *seat, struct gate_span data) {
    struct sim_guild *guild = &seat->docket.guilds[read_number(data, "\"guild_id\":\"")];
    int64_t until_ms = sim_now(seat->world) + read_number(data, "\"retry_after\":") * 1000;
    if (until_ms > guild->limited_until_ms) guild->limited_until_ms = until_ms;
}

static void judge_dispatch(struct sim_seat *seat, const struct gate_event *event) {
    struct sim_docket *docket = &seat->docket;
    struct gate_span name = gate_event_name(event), data = gate_event_data(event);
    if (name.len == 5 && memcmp(name.data, "READY", 5) == 0) {
        judge_ready(seat, data);
        return;
    }
    if (!docket->session || docket->lost) sim_fail(seat, "an event of no session");
    if (name.len == 7 && memcmp(name.data, "RESUMED", 7) == 0) {
        bool waited = docket->state == GATE_STATE_RESUMING;
        docket->resumes = 0;
        if (waited && event->seq <= docket->delivered) return; /* counts, whatever it says */
    }
    if (read_number(data, "\"session\":") != docket->session ||
        read_number(data, "\"mark\":") != sim_gateway_mark(docket->session, event->seq))
        sim_fail(seat, "event %lld is not what was sent", (long long)event->seq);
    if (!only_unheard(seat, docket->delivered, event->seq - 1))
        sim_fail(seat, "event %lld behind %lld", (long long)event->seq,
                 (long long)docket->delivered);
    docket->delivered = event->seq;
    docket->corrupt = 0;
    if (name.len == 12 && memcmp(name.data, "RATE_LIMITED", 12) == 0) hear_limited(seat, data);
}

static void judge_lost(struct sim_seat *seat) {
    struct sim_docket *docket = &seat->docket;
    bool allowed = docket->told_gone || docket->given_up || docket->resumes >= RESUMES_MAX ||
                   docket->corrupt >= POISONED_MAX;
    if (!docket->session || docket->lost) sim_fail(seat, "lost: a session that was not there");
    if (!allowed) sim_fail(seat, "lost: a session that could be resumed");
    docket->lost = true;
}

static void judge_event(struct sim_seat *seat, const struct gate_event *event) {
    struct gate_span name = gate_event_name(event);
    if (!event->own) {
        judge_dispatch(seat, event);
        return;
    }
    if (contains(gate_buf_span(&event->bytes), SIM_TOKEN)) sim_fail(seat, "the token in an event");
    if (name.len == 4 && memcmp(name.data, "lost", 4) == 0) judge_lost(seat);
    if (name.len == 3 && memcmp(name.data, "gap", 3) == 0) sim_fail(seat, "a gap");
    if (name.len == 5 && memcmp(name.data, "error", 5) == 0 &&
        contains(gate_event_data(event), "send_timeout"))
        seat->docket.expired++;
}

void sim_judge_action(struct sim_seat *seat, const struct gate_action *action) {
    struct sim_docket *docket = &seat->docket;
    switch (action->type) {
    case GATE_ACT_CONNECT:
        end_connection(docket, sim_now(seat->world));
        judge_connect(seat, action);
        break;
    case GATE_ACT_SEND: judge_send(seat, action); break;
    case GATE_ACT_CLOSE: judge_close(seat, action); break;
    case GATE_ACT_ABORT: judge_abort(seat); break;
    case GATE_ACT_EVENT: judge_event(seat, &action->event); break;
    case GATE_ACT_SLOT_DONE: docket->granted = false; break;
    case GATE_ACT_SLOT_ASK:
    case GATE_ACT_SLOT_SPENT: break;
    }
}

/* ---- After every step ------------------------------------------------------------------------ */

void sim_judge_ticked(struct sim_seat *seat) {
    struct sim_docket *docket = &seat->docket;
    int64_t now_ms = sim_now(seat->world);
    docket->cause = SIM_CAUSE_TICK;
    if (gate_shard_deadline(seat->shard) > now_ms) return; /* woken along with others */
    docket->ticks = docket->ticked_at_ms == now_ms ? docket->ticks + 1 : 1;
    docket->ticked_at_ms = now_ms;
    if (docket->ticks > TICKS_MAX) sim_fail(seat, "a deadline that no tick moves");
}

static void judge_state(struct sim_seat *seat, enum gate_state state, int64_t now_ms) {
    struct sim_docket *docket = &seat->docket;
    bool final = state == GATE_STATE_IDLE || state == GATE_STATE_DEAD;
    int64_t deadline_ms = gate_shard_deadline(seat->shard);
    if (final && deadline_ms >= 0) sim_fail(seat, "a deadline in a final state");
    if (!final && deadline_ms < 0) sim_fail(seat, "%s without a deadline", gate_state_word(state));
    if (state == GATE_STATE_DEAD && !docket->fatal) sim_fail(seat, "dead without a fatal code");
    if (state == GATE_STATE_WAITING && docket->session && !docket->lost)
        sim_fail(seat, "a session waits for an identify slot");
    if (state == GATE_STATE_READY && docket->state != GATE_STATE_READY)
        docket->ready_at_ms = now_ms;
    docket->state = state;
}

/* R17: so many handshakes at once, and no more, but those that hang. */
static void judge_crowd(struct sim_seat *seat) {
    const struct sim_world *world = seat->world;
    int handshakes = 0;
    for (int i = 0; i < world->shard_count; i++) {
        const struct gate_guest *guest = &world->seats[i].guest;
        enum gate_state state = gate_shard_state(world->seats[i].shard);
        bool hangs = sim_now(world) >= guest->entered_ms + GATE_DOOR_PLACE_MS;
        handshakes += (state == GATE_STATE_CONNECTING || state == GATE_STATE_HELLO) && !hangs;
    }
    if (handshakes > world->handshakes_max) sim_fail(seat, "%d handshakes at once", handshakes);
}

void sim_judge_step(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    struct sim_docket *docket = &seat->docket;
    int64_t now_ms = sim_now(world);
    enum gate_state state = gate_shard_state(seat->shard);
    bool open = state >= GATE_STATE_HELLO && state <= GATE_STATE_READY;
    judge_state(seat, state, now_ms);
    if (state == GATE_STATE_CONNECTING) judge_crowd(seat);
    if (open && docket->asked) sim_fail(seat, "op 1 without an answer");
    docket->asked = false;
    docket->cause = SIM_CAUSE_OTHER;
    if (open && docket->hello_at_ms >= 0 && !docket->may_beat_late &&
        now_ms > docket->first_high_ms + docket->beats * docket->interval_ms)
        sim_fail(seat, "a beat is overdue since %lld ms",
                 (long long)(now_ms - docket->first_high_ms - docket->beats * docket->interval_ms));
    size_t live = live_bytes / (size_t)world->shard_count;
    if (live > world->totals->bytes_max) world->totals->bytes_max = live;
    if (live > LIVE_BYTES_MAX) sim_fail(seat, "%zu live bytes a shard", live);
}

/* ---- After the faults ------------------------------------------------------------------------ */

static void judge_commands(struct sim_seat *seat) {
    const struct sim_docket *docket = &seat->docket;
    struct gate_status status;
    gate_shard_status(seat->shard, &status);
    uint64_t known = docket->sent + docket->expired + status.outbox_commands;
    uint64_t replaced_max = docket->presences_accepted - docket->presences_sent; /* by newer ones */
    if (docket->accepted < known || docket->accepted > known + replaced_max)
        sim_fail(seat, "%llu commands accepted, %llu sent, %llu expired, %zu waiting",
                 (unsigned long long)docket->accepted, (unsigned long long)docket->sent,
                 (unsigned long long)docket->expired, status.outbox_commands);
}

/* Discord shows the newest presence, unless that waits, was given up, or was lost on its way. */
static void judge_shown(struct sim_seat *seat, const struct sim_session *session) {
    const struct sim_docket *docket = &seat->docket;
    int64_t newest = docket->presence, age_ms = sim_now(seat->world) - docket->presence_at_ms;
    struct gate_status status;
    if (newest == 0 || session->presence == newest) return;
    gate_shard_status(seat->shard, &status);
    bool left = docket->presence_sent == newest;
    bool waits = !left && status.outbox_commands > 0 && age_ms < GATE_SEND_TIMEOUT_MS;
    bool given_up = !left && age_ms >= GATE_SEND_TIMEOUT_MS && docket->expired > 0;
    bool lost = left && seat->world->gateway.presence[seat->id] != newest;
    if (!waits && !given_up && !lost)
        sim_fail(seat, "the presence is %lld, not %lld", (long long)session->presence,
                 (long long)newest);
}

/* A day that is used up is no fault of the shard's: it has as long to get ready behind it as behind
 * the last fault. One with a session has no such excuse. */
static bool waits_for_day(const struct sim_seat *seat, enum gate_state state) {
    const struct sim_docket *docket = &seat->docket;
    const struct sim_world *world = seat->world;
    bool knows = docket->session && !docket->lost;
    int64_t since_ms = world->clock.now_ms - world->day.held_at_ms;
    return state != GATE_STATE_READY && !knows && since_ms < SIM_PEACE_MS(world->shard_count);
}

static void judge_seat(struct sim_seat *seat, bool quiet) {
    const struct sim_docket *docket = &seat->docket;
    enum gate_state state = gate_shard_state(seat->shard);
    if (waits_for_day(seat, state)) return;
    if (state != GATE_STATE_READY)
        sim_fail(seat, "still %s, long after the last fault", gate_state_word(state));
    judge_commands(seat);
    if (!quiet) return;
    const struct sim_session *session = sim_gateway_find(seat->world, docket->session);
    if (!session || !only_unheard(seat, docket->delivered, session->seq))
        sim_fail(seat, "the session is at %lld, the shard at %lld",
                 session ? (long long)session->seq : -1, (long long)docket->delivered);
    judge_shown(seat, session);
}

void sim_judge_peace(struct sim_world *world, bool quiet) {
    for (int i = 0; i < world->shard_count; i++) judge_seat(&world->seats[i], quiet);
}

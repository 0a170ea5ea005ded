/* simulator_bot.c - drives the shards as src/loop.c does, without sockets: carries out actions,
 * arms one timer a shard, grants identify slots and places for handshakes, holds reading while the
 * queue is full. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

static void settle(struct sim_seat *seat);

bool sim_frozen(struct sim_world *world, struct sim_timer *timer, enum sim_rank rank) {
    if (world->clock.now_ms >= world->frozen_until_ms) return false;
    sim_arm(&world->clock, timer, world->frozen_until_ms, rank);
    return true;
}

/* ---- Actions --------------------------------------------------------------------------------- */

static void drop_link(struct sim_seat *seat) {
    if (seat->link) sim_link_abort(seat->link);
    seat->link = NULL;
    seat->paused = false;
}

static void arm_door(struct sim_world *world) {
    int64_t due_ms = world->holding ? -1 : gate_door_deadline(&world->door, sim_now(world));
    if (due_ms < 0)
        sim_disarm(&world->clock, &world->door_due);
    else
        sim_arm(&world->clock, &world->door_due, due_ms + world->slept_ms, SIM_DRIVER);
}

static void arm_slots(struct sim_world *world) {
    int64_t due_ms = gate_slots_deadline(&world->slots, sim_now(world));
    if (due_ms < 0 || !gate_door_admits(&world->door, false))
        sim_disarm(&world->clock, &world->slots_due);
    else
        sim_arm(&world->clock, &world->slots_due, due_ms + world->slept_ms, SIM_DRIVER);
}

static void arm_ghost(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    if (sim_strikes(world, world->weather.climate.ghost, SIM_FAULT_GHOST))
        sim_arm(&world->clock, &seat->ghost, world->clock.now_ms + sim_wait(&world->clock, 2000),
                SIM_WORLD);
}

static void carry_out(struct sim_seat *seat, struct gate_action *action) {
    struct sim_world *world = seat->world;
    int64_t now_ms = sim_now(world);
    switch (action->type) {
    case GATE_ACT_CONNECT:
        drop_link(seat);
        seat->connection = action->connection;
        sim_link_open(seat, action->url, action->connection);
        arm_ghost(seat);
        break;
    case GATE_ACT_SEND:
        if (seat->link) sim_link_send(seat->link, gate_buf_span(&action->bytes));
        break;
    case GATE_ACT_CLOSE:
        if (seat->link) sim_link_close(seat->link, action->code);
        break;
    case GATE_ACT_ABORT: drop_link(seat); break;
    case GATE_ACT_EVENT: break;
    case GATE_ACT_SLOT_ASK: gate_slots_ask(&world->slots, &seat->slot); break;
    case GATE_ACT_SLOT_SPENT:
        sim_quota_spent(seat);
        gate_slots_spent(&world->slots, now_ms, seat->id);
        break;
    case GATE_ACT_SLOT_DONE:
        seat->promised = false;
        gate_slots_leave(&world->slots, &seat->slot);
        gate_slots_done(&world->slots, now_ms, seat->id);
        break;
    }
    if (action->type >= GATE_ACT_SLOT_ASK) arm_slots(world);
}

/* While the queue is full, shards that are ready leave, in half of the worlds. */
static void leave_full(struct sim_seat *seat) {
    enum gate_state state = gate_shard_state(seat->shard);
    if (state != GATE_STATE_READY && state != GATE_STATE_RESUMING) return;
    sim_tell_input(seat, "leave");
    gate_shard_leave(seat->shard, sim_now(seat->world), GATE_SPAN("full"));
    if (gate_shard_state(seat->shard) == GATE_STATE_CLOSING) settle(seat);
}

/* And in the others they are not read. */
static void balance(struct sim_seat *seat) {
    if (seat->world->leaves) {
        if (seat->world->holding) leave_full(seat);
        return;
    }
    bool wanted =
        seat->world->holding && seat->link && gate_shard_state(seat->shard) == GATE_STATE_READY;
    if (wanted == seat->paused) return;
    seat->paused = wanted;
    if (seat->link) sim_link_paused(seat->link, wanted);
    sim_tell_input(seat, wanted ? "pause" : "go on");
    sim_judge_paused(seat);
    gate_shard_pause(seat->shard, sim_now(seat->world), wanted);
    settle(seat);
}

static void arm_deadline(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    int64_t due_ms = gate_shard_deadline(seat->shard);
    bool waits = (world->holding || seat->guest.waiting) &&
                 gate_shard_state(seat->shard) == GATE_STATE_BACKOFF;
    if (due_ms < 0 || waits)
        sim_disarm(&world->clock, &seat->deadline);
    else
        sim_arm(&world->clock, &seat->deadline, due_ms + world->slept_ms, SIM_DRIVER);
}

static void keep_place(struct sim_seat *seat) {
    enum gate_state state = gate_shard_state(seat->shard);
    struct sim_world *world = seat->world;
    struct gate_crowd before = world->door.crowd;
    if (state == GATE_STATE_CONNECTING || state == GATE_STATE_HELLO)
        gate_door_enter(&world->door, &seat->guest, gate_shard_has_session(seat->shard),
                        sim_now(world));
    else if (state != GATE_STATE_BACKOFF || !seat->guest.waiting)
        gate_door_leave(&world->door, &seat->guest);
    if (before.inside == world->door.crowd.inside && before.waiting == world->door.crowd.waiting)
        return;
    arm_door(world);
    arm_slots(world);
}

static void settle(struct sim_seat *seat) {
    struct gate_action action;
    while (gate_shard_next(seat->shard, &action)) {
        sim_tell_action(seat, &action);
        sim_judge_action(seat, &action);
        carry_out(seat, &action);
        gate_action_free(&action);
    }
    keep_place(seat);
    sim_judge_step(seat);
    arm_deadline(seat);
    balance(seat);
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

void sim_bot_opened(struct sim_link *link) {
    struct sim_seat *seat = link->seat;
    sim_tell_input(seat, "opened");
    sim_judge_opened(seat);
    gate_shard_opened(seat->shard, sim_now(seat->world), link->connection);
    settle(seat);
}

/* A message may come in as many pieces as it has bytes. */
static struct gate_span cut_piece(struct sim_world *world, struct gate_span bytes) {
    if (bytes.len > 1 && sim_chance(&world->clock, world->weather.climate.split))
        bytes.len = (size_t)sim_between(&world->clock, 1, (int64_t)bytes.len - 1);
    return bytes;
}

static void feed(struct sim_seat *seat, struct gate_piece *piece) {
    int rc;
    do {
        size_t used = 0;
        rc = gate_shard_feed(seat->shard, sim_now(seat->world), piece, &used);
        piece->bytes = (struct gate_span){piece->bytes.data + used, piece->bytes.len - used};
        settle(seat);
    } while (rc == GATE_AGAIN);
}

static void tell_piece(struct sim_seat *seat, const struct gate_piece *piece) {
    struct gate_span words = piece->binary ? GATE_SPAN("(compressed)") : piece->bytes;
    int len = (int)words.len;
    if (piece->final)
        sim_tell_input(seat, "< %.*s", len, words.data);
    else
        sim_tell_note(seat, "a piece: %.*s", len, words.data);
}

void sim_bot_piece(struct sim_link *link, const struct sim_packet *packet) {
    struct sim_seat *seat = link->seat;
    uint32_t connection = link->connection;
    struct gate_span bytes = {packet->bytes, packet->len};
    enum sim_said said = packet->said;
    do {
        struct gate_span part = cut_piece(seat->world, bytes);
        bytes = (struct gate_span){bytes.data + part.len, bytes.len - part.len};
        bool last = packet->said != SIM_SAID_PART && bytes.len == 0;
        struct gate_piece piece = {
            .connection = connection, .bytes = part, .final = last, .binary = packet->binary};
        tell_piece(seat, &piece);
        sim_judge_heard(seat, last || said == SIM_SAID_CORRUPT ? said : SIM_SAID_PART);
        if (said == SIM_SAID_CORRUPT) said = SIM_SAID_PLAIN;
        feed(seat, &piece);
    } while (bytes.len);
}

void sim_bot_closed(struct sim_link *link, const struct gate_close *why) {
    struct sim_seat *seat = link->seat;
    uint32_t connection = link->connection;
    if (why->phase == GATE_PHASE_OPEN)
        sim_tell_input(seat, "closed %d", why->code);
    else
        sim_tell_input(seat, "failed %s %s", gate_phase_word(why->phase),
                       gate_error_name(why->error));
    sim_judge_closed(seat, why->phase == GATE_PHASE_OPEN ? why->code : 0);
    struct gate_close copy = *why;
    link->client_gone = true;
    seat->link = NULL;
    seat->paused = false;
    if (!link->open) link->server_gone = true;
    sim_link_leave(link);
    gate_shard_closed(seat->shard, sim_now(seat->world), connection, &copy);
    settle(seat);
}

static bool would_connect(const struct sim_seat *seat) {
    int64_t at_ms = gate_shard_resumes_at(seat->shard);
    return at_ms >= 0 && at_ms <= sim_now(seat->world);
}

/* Beats of one process that are due within the slack of each other leave together. */
static void tick(struct sim_seat *seat) {
    sim_tell_input(seat, "tick");
    sim_judge_ticked(seat);
    gate_shard_tick(seat->shard, sim_now(seat->world));
    settle(seat);
}

static void tick_due(void *owner) {
    struct sim_seat *due = owner;
    struct sim_world *world = due->world;
    if (sim_frozen(world, &due->deadline, SIM_DRIVER)) return;
    sim_quota_wake(world);
    if (would_connect(due)) {
        gate_door_wait(&world->door, &due->guest);
        arm_door(world);
        arm_slots(world);
    } else {
        tick(due);
    }
    if (world->slack_ms == 0) return;
    int64_t now_ms = sim_now(world);
    for (int i = 0; i < world->shard_count; i++) {
        struct sim_seat *seat = &world->seats[i];
        if (seat == due || !seat->deadline.place) continue;
        int64_t due_ms = gate_shard_deadline(seat->shard);
        if (due_ms > now_ms && due_ms <= now_ms + world->slack_ms) tick(seat);
    }
}

static void let_in(void *owner) {
    struct sim_world *world = owner;
    struct gate_guest *guest;
    if (sim_frozen(world, &world->door_due, SIM_DRIVER)) return;
    gate_door_look(&world->door, sim_now(world));
    while (!world->holding && (guest = gate_door_next(&world->door)) != NULL)
        tick((struct sim_seat *)(void *)((char *)guest - offsetof(struct sim_seat, guest)));
    arm_door(world);
    arm_slots(world);
}

static void grant_slots(void *owner) {
    struct sim_world *world = owner;
    struct gate_slot *slot;
    if (sim_frozen(world, &world->slots_due, SIM_DRIVER)) return;
    gate_door_look(&world->door, sim_now(world));
    sim_quota_wake(world);
    while (!world->holding && gate_door_admits(&world->door, false) &&
           (slot = gate_slots_next(&world->slots, sim_now(world))) != NULL) {
        struct sim_seat *seat =
            (struct sim_seat *)(void *)((char *)slot - offsetof(struct sim_seat, slot));
        int64_t again_ms = sim_quota_claim(seat);
        if (again_ms > 0) {
            gate_slots_put_back(&world->slots, slot, again_ms);
            continue;
        }
        sim_tell_input(seat, "grant");
        seat->docket.granted = true;
        gate_shard_grant(seat->shard, sim_now(world));
        settle(seat);
    }
    if (!world->holding) arm_slots(world);
}

/* ---- What the user does ---------------------------------------------------------------------- */

void sim_bot_start(struct sim_seat *seat) {
    sim_disarm(&seat->world->clock, &seat->again);
    enum gate_state state = gate_shard_state(seat->shard);
    if (state != GATE_STATE_IDLE && state != GATE_STATE_DEAD) return;
    sim_tell_input(seat, "start");
    seat->docket.resumes = 0;
    sim_judge_verb(seat);
    if (gate_shard_has_session(seat->shard) && !gate_door_admits(&seat->world->door, true))
        gate_shard_line_up(seat->shard, sim_now(seat->world));
    else
        gate_shard_start(seat->shard, sim_now(seat->world));
    settle(seat);
}

static bool ends_session(int code) {
    return code == 1000 || code == 1001;
}

void sim_bot_stop(struct sim_seat *seat, int code) {
    sim_tell_input(seat, "stop %d", code);
    sim_judge_verb(seat);
    seat->docket.user_code = code;
    if (ends_session(code)) seat->docket.lost = true;
    gate_shard_stop(seat->shard, sim_now(seat->world), code, GATE_SPAN("bye"));
    settle(seat);
}

void sim_bot_reconnect(struct sim_seat *seat, int code) {
    sim_tell_input(seat, "reconnect %d", code);
    sim_judge_verb(seat);
    seat->docket.user_code = code;
    if (ends_session(code)) seat->docket.given_up = true;
    gate_shard_reconnect(seat->shard, sim_now(seat->world), code, GATE_SPAN("again"));
    settle(seat);
}

static void send_command(struct sim_seat *seat, int op) {
    char text[96];
    struct gate_buf command;
    long long number = (long long)++seat->docket.command;
    int guild = (int)sim_between(&seat->world->clock, 1, SIM_GUILDS);
    int len;
    if (op == GATE_OP_REQUEST_GUILD_MEMBERS)
        len =
            snprintf(text, sizeof text,
                     "{\"op\":8,\"d\":{\"guild_id\":\"%d\",\"query\":\"\",\"limit\":0,\"n\":%lld}}",
                     guild, number);
    else
        len = snprintf(text, sizeof text, "{\"op\":%d,\"d\":{\"%s\":\"idle\",\"n\":%lld}}", op,
                       op == GATE_OP_PRESENCE_UPDATE ? "status" : "guild_id", number);
    gate_buf_init(&command, GATE_HEADROOM_BYTES, 0);
    if (gate_buf_append(&command, (struct gate_span){text, (size_t)len}) < 0) abort();
    sim_tell_input(seat, "send %s", text);
    int rc = gate_shard_send(seat->shard, sim_now(seat->world), &command);
    sim_judge_command(seat, op, rc);
    if (rc < 0) gate_buf_free(&command);
    settle(seat);
}

void sim_bot_command(struct sim_seat *seat) {
    struct sim_clock *clock = &seat->world->clock;
    int op = GATE_OP_VOICE_STATE_UPDATE;
    if (seat->world->presences && sim_chance(clock, 0.2))
        op = GATE_OP_PRESENCE_UPDATE;
    else if (sim_chance(clock, 0.15))
        op = GATE_OP_REQUEST_GUILD_MEMBERS;
    send_command(seat, op);
}

/* A bot that shows a counter in its presence, and one that asks for everybody all the time. */
void sim_bot_storm(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    for (int64_t i = sim_between(&world->clock, 5, 60); i > 0; i--)
        send_command(seat, world->presences && i % 3 ? GATE_OP_PRESENCE_UPDATE
                                                     : GATE_OP_REQUEST_GUILD_MEMBERS);
}

/* Another process, or the same id started anew: the session is taken up, the outbox goes over. */
static struct gate_shard *make_shard(struct sim_seat *seat, const struct gate_status *from) {
    struct sim_world *world = seat->world;
    struct gate_options options = {.token = GATE_SPAN(SIM_TOKEN),
                                   .url = GATE_SPAN("wss://gateway.test"),
                                   .shard_id = seat->id,
                                   .shard_count = world->shard_count,
                                   .intents = 513,
                                   .compress = world->compress,
                                   .backoff_base_ms = -1,
                                   .backoff_cap_ms = -1,
                                   .slack_ms = world->slack_ms,
                                   .seed = sim_random(&world->clock)};
    char presence[48];
    int error;
    if (from && seat->docket.presence) { /* as a cluster remembers it */
        int len = snprintf(presence, sizeof presence, "{\"status\":\"idle\",\"n\":%lld}",
                           (long long)seat->docket.presence);
        options.presence = (struct gate_span){presence, (size_t)len};
    }
    if (from) {
        options.session_id = (struct gate_span){from->session_id, strlen(from->session_id)};
        options.session_url = (struct gate_span){from->session_url, strlen(from->session_url)};
        options.session_seq = from->seq;
    }
    struct gate_shard *shard = gate_shard_new(&options, &error);
    if (!shard) sim_fail(seat, "no shard: %s", gate_error_name(error));
    return shard;
}

static void listen(struct sim_seat *seat) {
    static const char names[] = "READY\0RESUMED\0MESSAGE_CREATE\0GUILD_CREATE";
    struct gate_interest interest = {
        .all = seat->world->hears_all, .send = seat->world->trace, .receive = seat->world->trace};
    gate_buf_init(&interest.names, 0, 0);
    if (!interest.all &&
        gate_buf_append(&interest.names, (struct gate_span){names, sizeof names}) < 0)
        abort();
    gate_shard_interest(seat->shard, &interest);
}

static void add_counts(struct gate_counts *to, const struct gate_counts *more) {
    to->events_heard += more->events_heard;
    to->events_skipped += more->events_skipped;
    to->identifies += more->identifies;
    to->resumes += more->resumes;
    to->resumed += more->resumed;
    to->beats += more->beats;
    to->connects += more->connects;
}

void sim_bot_restart(struct sim_seat *seat) {
    struct gate_status status;
    enum gate_state state = gate_shard_state(seat->shard);
    if (state != GATE_STATE_IDLE && state != GATE_STATE_DEAD) return;
    gate_shard_status(seat->shard, &status);
    sim_tell_note(seat, "a new shard takes over with session %s at %lld", status.session_id,
                  (long long)status.seq);
    struct gate_shard *old = seat->shard;
    drop_link(seat);
    seat->shard = make_shard(seat, &status);
    gate_shard_inherit(seat->shard, old);
    add_counts(&seat->before, &status.counts);
    gate_shard_del(old);
    seat->connection = 0;
    seat->docket.connection = 0;
    sim_bot_start(seat);
}

void sim_bot_hold(struct sim_world *world, bool holding) {
    if (holding == world->holding) return;
    world->holding = holding;
    for (int i = 0; i < world->shard_count; i++) {
        arm_deadline(&world->seats[i]);
        balance(&world->seats[i]);
    }
    arm_door(world);
    arm_slots(world);
}

void sim_bot_resize(struct sim_world *world, int concurrency) {
    gate_slots_resize(&world->slots, sim_now(world), concurrency);
    world->resized_at_ms = sim_now(world);
    arm_slots(world);
}

/* The loop notices a gap over five seconds; a shorter one only moves the clock. */
void sim_bot_slept(struct sim_world *world, int64_t asleep_ms) {
    for (int i = 0; i < world->shard_count; i++) {
        struct sim_seat *seat = &world->seats[i];
        if (asleep_ms > GATE_ASLEEP_MS) {
            sim_tell_input(seat, "slept %lld", (long long)asleep_ms);
            sim_judge_verb(seat);
            gate_shard_slept(seat->shard, sim_now(world), asleep_ms);
        }
        settle(seat);
    }
    arm_door(world);
    arm_slots(world);
}

/* What a connection that is gone still says. */
void sim_bot_ghost(struct sim_seat *seat) {
    struct gate_close why = {.phase = GATE_PHASE_OPEN, .code = 1006};
    uint32_t stale = seat->connection - 1;
    int64_t now_ms = sim_now(seat->world);
    struct gate_piece piece = {
        .connection = stale, .bytes = GATE_SPAN("{\"op\":7,\"d\":null}"), .final = true};
    switch (sim_between(&seat->world->clock, 0, 2)) {
    case 0:
        why.code = sim_chance(&seat->world->clock, 0.5) ? 4004 : 4009;
        sim_tell_note(seat, "connection %u closes late", stale);
        gate_shard_closed(seat->shard, now_ms, stale, &why);
        settle(seat);
        break;
    case 1:
        sim_tell_note(seat, "connection %u opens late", stale);
        gate_shard_opened(seat->shard, now_ms, stale);
        settle(seat);
        break;
    default:
        sim_tell_note(seat, "connection %u speaks late", stale);
        feed(seat, &piece);
        break;
    }
}

/* ---- Made and gone --------------------------------------------------------------------------- */

static void haunt(void *owner) {
    struct sim_seat *seat = owner;
    if (!sim_frozen(seat->world, &seat->ghost, SIM_WORLD)) sim_bot_ghost(seat);
}

static void start_again(void *owner) {
    struct sim_seat *seat = owner;
    if (sim_frozen(seat->world, &seat->again, SIM_WORLD)) return;
    sim_bot_start(seat);
}

void sim_bot_init(struct sim_world *world) {
    gate_slots_init(&world->slots, world->gateway.concurrency);
    gate_door_init(&world->door, (uint32_t)world->handshakes_max);
    world->door_due = (struct sim_timer){.fire = let_in, .owner = world};
    sim_quota_init(world);
    world->slots_due = (struct sim_timer){.fire = grant_slots, .owner = world};
    for (int i = 0; i < world->shard_count; i++) {
        struct sim_seat *seat = &world->seats[i];
        seat->world = world;
        seat->id = i;
        seat->deadline = (struct sim_timer){.fire = tick_due, .owner = seat};
        seat->ghost = (struct sim_timer){.fire = haunt, .owner = seat};
        seat->again = (struct sim_timer){.fire = start_again, .owner = seat};
        gate_slot_init(&seat->slot, i);
        seat->shard = make_shard(seat, NULL);
        listen(seat);
        sim_judge_init(seat);
        sim_arm(&world->clock, &seat->again, sim_between(&world->clock, 0, 3000), SIM_WORLD);
    }
}

void sim_bot_free(struct sim_world *world) {
    struct sim_totals *totals = world->totals;
    for (int i = 0; i < world->shard_count; i++) {
        struct sim_seat *seat = &world->seats[i];
        struct gate_status status;
        gate_shard_status(seat->shard, &status);
        add_counts(&seat->before, &status.counts);
        totals->events += seat->before.events_heard;
        totals->skipped += seat->before.events_skipped;
        totals->identifies += seat->before.identifies;
        totals->resumes += seat->before.resumes;
        totals->resumed += seat->before.resumed;
        totals->beats += seat->before.beats;
        totals->connects += seat->before.connects;
        totals->commands += seat->docket.sent;
        totals->shard_ms += world->end_ms;
        gate_shard_del(seat->shard);
    }
    sim_quota_free(world);
    while (world->links) sim_link_free(world->links);
}

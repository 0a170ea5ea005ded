/* seat.c - see seat.h. */
#include "seat.h"

#include <stddef.h>
#include <string.h>

#include "window.h"

#define NEVER (-1)

/* ---- Made and gone --------------------------------------------------------------------------- */

struct gate_seat *gate_seat_find(const struct gate_seats *seats, int shard_id) {
    return gate_row_find(&seats->row, shard_id);
}

struct gate_seat *gate_seat_make(struct gate_seats *seats, int shard_id) {
    struct gate_seat *seat = gate_seat_find(seats, shard_id);
    if (seat) return seat;
    seat = gate_allocate(NULL, sizeof *seat);
    if (!seat) return NULL;
    *seat = (struct gate_seat){
        .seats = seats, .shard_id = shard_id, .deadline_ms = NEVER, .identified_ms = NEVER};
    gate_buf_init(&seat->interest.names, 0, 0);
    gate_visitor_init(&seat->visitor, shard_id, seats->loop);
    if (gate_row_add(&seats->row, seat) == GATE_OK) return seat;
    gate_allocate(seat, 0);
    return NULL;
}

struct gate_seat *gate_seat_of(struct gate_visitor *visitor) {
    return (struct gate_seat *)(void *)((char *)visitor - offsetof(struct gate_seat, visitor));
}

void gate_seats_free(struct gate_seats *seats) {
    for (size_t i = 0; i < seats->row.count; i++) {
        struct gate_seat *seat = gate_seat_at(seats, i);
        gate_shard_del(seat->shard);
        gate_buf_free(&seat->interest.names);
        gate_allocate(seat, 0);
    }
    gate_row_free(&seats->row);
}

const char *gate_seats_refusal(struct gate_seats *seats) {
    if (!gate_letterbox_reserve(seats->letters)) return "no memory for an event";
    bool overfull =
        seats->holding && gate_queue_level(&seats->letters->mail->queue) == GATE_LEVEL_HARD;
    return overfull ? "event queue over its hard mark" : NULL;
}

void gate_seat_interest(struct gate_seat *seat, struct gate_interest *take) {
    if (seat->shard) {
        gate_shard_interest(seat->shard, take);
        return;
    }
    seat->interest.all = take->all;
    seat->interest.send = take->send;
    seat->interest.receive = take->receive;
    gate_buf_move(&seat->interest.names, &take->names);
}

static void drop_link(struct gate_seat *seat) {
    if (seat->link) gate_link_abort(seat->link);
    gate_seat_unlinked(seat);
}

void gate_seat_unlinked(struct gate_seat *seat) {
    seat->link = NULL;
    seat->paused = false;
}

int gate_seat_replace(struct gate_seat *seat, struct gate_options *options) {
    struct gate_shard *old = seat->shard;
    enum gate_state state = old ? gate_shard_state(old) : GATE_STATE_IDLE;
    int error;
    if (state != GATE_STATE_IDLE && state != GATE_STATE_DEAD) return GATE_EUSAGE;
    if (options->slack_ms == 0) options->slack_ms = GATE_BEAT_SLACK_MS;
    struct gate_shard *shard = gate_shard_new(options, &error);
    if (!shard) return error;
    if (old)
        gate_shard_inherit(shard, old);
    else
        gate_shard_interest(shard, &seat->interest);
    gate_shard_del(old);
    drop_link(seat);
    seat->shard = shard;
    gate_shard_census(shard, seat->seats->census);
    seat->token = gate_window_token(options->token, options->url);
    seat->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : GATE_CONNECT_TIMEOUT_MS;
    seat->message_bytes_max =
        options->message_bytes_max ? options->message_bytes_max : GATE_MESSAGE_BYTES_MAX;
    return GATE_OK;
}

void gate_seat_publish(struct gate_seat *seat) {
    struct gate_status status;
    gate_shard_status(seat->shard, &status);
    gate_board_put(seat->seats->board, seat->shard_id, &status);
    seat->dirty = false;
}

/* ---- Actions --------------------------------------------------------------------------------- */

/* The machine must hear of the end even when nothing ever began; not from here, as it is just being
 * asked what it wants. */
static void mark_failed(struct gate_seat *seat) {
    seat->failed = true;
}

/* The transport gives up a little before the shard does: it knows how far it came. */
static void do_connect(struct gate_seat *seat, struct gate_action *action) {
    int64_t margin_ms = seat->connect_timeout_ms / 10;
    if (margin_ms > 250) margin_ms = 250;
    struct gate_link_options options = {.url = action->url,
                                        .connection = action->connection,
                                        .timeout_ms = seat->connect_timeout_ms - margin_ms,
                                        .message_bytes_max = seat->message_bytes_max,
                                        .user = seat};
    drop_link(seat);
    seat->connection = action->connection;
    seat->link = gate_link_open(seat->seats->transport, &options);
    if (!seat->link) mark_failed(seat);
}

static void do_send(struct gate_seat *seat, struct gate_action *action) {
    if (seat->link &&
        gate_link_send(seat->link, &action->bytes, action->binary, action->secret) == GATE_EMEMORY)
        mark_failed(seat);
    gate_action_free(action);
}

static void do_close(struct gate_seat *seat, struct gate_action *action) {
    const char *reason = action->reason ? action->reason : "";
    if (seat->link)
        gate_link_close(seat->link, action->code, (struct gate_span){reason, strlen(reason)});
}

static void do_abort(struct gate_seat *seat, struct gate_action *action) {
    (void)action;
    drop_link(seat);
}

/* Who hears of a change of state and then looks must not see what was before. The sequence may be
 * that of an event which follows: then the status says that it is not settled. */
static void do_event(struct gate_seat *seat, struct gate_action *action) {
    if (action->event.own) gate_seat_publish(seat);
    gate_letterbox_post(seat->seats->letters, seat->shard_id, &action->event);
    struct gate_buf *spare = gate_letterbox_spare(seat->seats->letters);
    if (spare) gate_shard_lend(seat->shard, spare);
}

static void do_slot_ask(struct gate_seat *seat, struct gate_action *action) {
    (void)action;
    gate_hall_ask(seat->seats->hall, &seat->visitor);
}

static struct gate_claim claim_of(const struct gate_seat *seat) {
    return (struct gate_claim){.token = seat->token,
                               .key = gate_hall_key(seat->seats->hall, seat->shard_id),
                               .shard_id = seat->shard_id,
                               .owner = seat->seats->hall,
                               .reserve = seat->seats->reserve};
}

/* What was claimed under another concurrency would be kept from other engines until its lease
 * ends. */
static void give_old_key_back(const struct gate_seat *seat) {
    struct gate_claim claim = claim_of(seat);
    if (claim.key == seat->key) return;
    claim.key = seat->key;
    gate_window_done(&claim);
}

/* Asks once. A letter that finds no memory is written again at the next look. */
static void ask_turn(struct gate_seat *seat) {
    struct gate_seats *seats = seat->seats;
    if (seat->turn != GATE_TURN_NONE) return;
    seat->turn_number = gate_hall_turn_number(seats->hall);
    int key = gate_hall_key(seats->hall, seat->shard_id);
    if (gate_letterbox_turn(seats->letters, seat->shard_id, key, seat->turn_number))
        seat->turn = GATE_TURN_ASKED;
}

static void end_turn(struct gate_seat *seat, int64_t now_ms) {
    int64_t spent_ms = seat->identified_ms < 0 ? NEVER : now_ms - seat->identified_ms;
    if (seat->turn == GATE_TURN_NONE) return;
    seat->turn = GATE_TURN_NONE;
    seat->identified_ms = NEVER;
    gate_letterbox_turn_over(seat->seats->letters, seat->shard_id, seat->turn_number, spent_ms);
}

void gate_seat_give_turn(struct gate_seats *seats, struct gate_seat *seat, int shard_id,
                         int64_t number) {
    if (seat && seat->turn == GATE_TURN_ASKED && seat->turn_number == number)
        seat->turn = GATE_TURN_GIVEN;
    else
        gate_letterbox_turn_over(seats->letters, shard_id, number, NEVER);
}

static void tell_hold(struct gate_seats *seats, const struct gate_permit *permit, int64_t now_ms) {
    bool holds = permit->hold_ms >= 0;
    if (!holds && permit->again_ms > 0) return; /* it says nothing about the day */
    if (gate_hall_tells_hold(seats->hall, holds))
        gate_letterbox_hold(seats->letters, permit->hold_ms - now_ms);
}

/* The other engines of the process do not wait for what other processes do, and other processes not
 * for a day that is used up here. Nor does anybody for a place that another thread took first. */
int64_t gate_seat_claim(struct gate_seat *seat, int64_t now_ms) {
    struct gate_seats *seats = seat->seats;
    struct gate_claim claim = claim_of(seat);
    struct gate_permit permit = gate_window_claim(&claim, now_ms);
    seat->key = claim.key;
    tell_hold(seats, &permit, now_ms);
    if (permit.hold_ms >= 0) end_turn(seat, now_ms);
    if (permit.again_ms > 0) return permit.again_ms;
    bool has_turn = !seats->coordinated || seat->turn == GATE_TURN_GIVEN;
    if (has_turn && gate_hall_admit(seats->hall, &seat->visitor, now_ms)) return 0;
    gate_window_done(&claim);
    if (has_turn) return now_ms + GATE_DOOR_LOOK_MS;
    ask_turn(seat);
    return now_ms + GATE_WINDOW_LOOK_MS;
}

static void do_slot_spent(struct gate_seat *seat, struct gate_action *action) {
    struct gate_claim claim = claim_of(seat);
    (void)action;
    give_old_key_back(seat);
    gate_window_spent(&claim, gate_clock_ms());
    if (seat->turn == GATE_TURN_GIVEN) seat->identified_ms = gate_clock_ms();
    gate_hall_spent(seat->seats->hall, &seat->visitor, gate_clock_ms());
}

static void do_slot_done(struct gate_seat *seat, struct gate_action *action) {
    struct gate_claim claim = claim_of(seat);
    (void)action;
    give_old_key_back(seat);
    gate_window_done(&claim);
    gate_hall_done(seat->seats->hall, &seat->visitor, gate_clock_ms());
    end_turn(seat, gate_clock_ms());
}

static void (*const carry_out[])(struct gate_seat *seat, struct gate_action *action) = {
    [GATE_ACT_CONNECT] = do_connect,       [GATE_ACT_SEND] = do_send,
    [GATE_ACT_CLOSE] = do_close,           [GATE_ACT_ABORT] = do_abort,
    [GATE_ACT_EVENT] = do_event,           [GATE_ACT_SLOT_ASK] = do_slot_ask,
    [GATE_ACT_SLOT_SPENT] = do_slot_spent, [GATE_ACT_SLOT_DONE] = do_slot_done,
};

/* From the first byte to HELLO a shard has its place; it stands in line in backoff only. */
static void keep_place(struct gate_seat *seat) {
    enum gate_state state = gate_shard_state(seat->shard);
    struct gate_hall *hall = seat->seats->hall;
    if (state == GATE_STATE_CONNECTING || state == GATE_STATE_HELLO)
        gate_hall_enter(hall, &seat->visitor, gate_shard_has_session(seat->shard), gate_clock_ms());
    else if (seat->visitor.placed) /* called after every message: who is not here costs nothing */
        gate_hall_leave(hall, &seat->visitor, state == GATE_STATE_BACKOFF, gate_clock_ms());
}

/* A full queue may not have been noticed yet in this turn. */
static bool may_connect(struct gate_seats *seats) {
    return gate_queue_level(&seats->letters->mail->queue) == GATE_LEVEL_FREE;
}

void gate_seat_start(struct gate_seat *seat) {
    struct gate_seats *seats = seat->seats;
    int64_t now_ms = gate_clock_ms();
    bool resumes = gate_shard_has_session(seat->shard);
    if (resumes &&
        !(may_connect(seats) && gate_hall_enter_at_once(seats->hall, &seat->visitor, now_ms)))
        gate_shard_line_up(seat->shard, now_ms);
    else
        gate_shard_start(seat->shard, now_ms);
    gate_seat_settle(seat);
}

void gate_seat_settle(struct gate_seat *seat) {
    struct gate_action action;
    for (;;) {
        while (gate_shard_next(seat->shard, &action)) carry_out[action.type](seat, &action);
        if (!seat->failed) break;
        seat->failed = false;
        struct gate_close why = {.phase = seat->link ? GATE_PHASE_OPEN : GATE_PHASE_NONE,
                                 .code = GATE_CLOSE_DROPPED,
                                 .error = GATE_EMEMORY};
        drop_link(seat);
        gate_shard_closed(seat->shard, gate_clock_ms(), seat->connection, &why);
    }
    keep_place(seat);
    seat->deadline_ms = gate_shard_deadline(seat->shard);
    seat->dirty = true;
}

void gate_seat_pause(struct gate_seat *seat, bool paused) {
    seat->paused = paused;
    if (seat->link) gate_link_pause(seat->link, paused);
    gate_shard_pause(seat->shard, gate_clock_ms(), paused);
    gate_seat_settle(seat);
}

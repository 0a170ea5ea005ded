/* command.c - see command.h. */
#include "command.h"

#include <stdio.h>
#include <string.h>

struct gate_command *gate_command_new(enum gate_command_type type, int shard_id) {
    struct gate_command *command = gate_allocate(NULL, sizeof *command);
    if (!command) return NULL;
    memset(command, 0, sizeof *command);
    command->type = type;
    command->shard_id = shard_id;
    gate_buf_init(&command->bytes, GATE_HEADROOM_BYTES, 0);
    return command;
}

/* Any command may hold the token: options and requests do. */
void gate_command_del(struct gate_command *command) {
    if (command->type == GATE_COMMAND_INTEREST) gate_buf_free(&command->interest.names);
    gate_buf_wipe(&command->bytes);
    gate_buf_free(&command->bytes);
    gate_allocate(command, 0);
}

/* ---- What is commanded ----------------------------------------------------------------------- */

/* "send: the outbox is full; ...": the operation, the fault, and what to do about it. */
static void report_failed(struct gate_seats *seats, const struct gate_command *command, int error,
                          const char *operation, const char *remedy) {
    char message[160];
    snprintf(message, sizeof message, "%s: shard %d: %s; %s", operation, command->shard_id,
             gate_error_text(error), remedy);
    gate_letterbox_error(seats->letters, command->shard_id, error, operation, message);
}

static int take_start(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_make(seats, command->shard_id);
    int rc = seat ? gate_seat_replace(seat, &command->options) : GATE_EMEMORY;
    if (rc == GATE_EMEMORY) return rc;
    if (rc == GATE_OK) {
        gate_hall_come(seats->hall, &seat->visitor);
        gate_seat_start(seat);
        gate_seat_publish(seat);
    }
    gate_hall_came(seats->hall, command->shard_id, &seat->visitor, seats->loop, gate_clock_ms());
    gate_board_arrived(seats->board, command->shard_id);
    if (rc == GATE_EUSAGE)
        report_failed(seats, command, rc, "start", "it runs already: stop it first");
    else if (rc < 0)
        report_failed(seats, command, rc, "start", "check what it was started with");
    return GATE_OK;
}

static const char *send_remedy(int error) {
    switch (error) {
    case GATE_EBUSY: return "send less, or wait until the shard is ready";
    case GATE_EPAYLOAD: return "send less at once";
    case GATE_ECLOSED: return "start the shard first";
    case GATE_EUSAGE: return "identify() and resume() do that";
    default: return "send something else";
    }
}

static int take_send(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    int rc = GATE_ECLOSED;
    if (seat && seat->shard) {
        rc = gate_shard_send(seat->shard, gate_clock_ms(), &command->bytes);
        gate_seat_settle(seat);
    }
    if (rc == GATE_EMEMORY) return rc;
    if (rc < 0) report_failed(seats, command, rc, "send", send_remedy(rc));
    return GATE_OK;
}

static int take_interest(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_make(seats, command->shard_id);
    if (!seat) return GATE_EMEMORY;
    gate_seat_interest(seat, &command->interest);
    return GATE_OK;
}

static int take_stop_shard(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    if (!seat || !seat->shard) return GATE_OK;
    gate_shard_stop(seat->shard, gate_clock_ms(), command->number, gate_buf_span(&command->bytes));
    gate_seat_settle(seat);
    return GATE_OK;
}

static int take_reconnect(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    if (!seat || !seat->shard) return GATE_OK;
    gate_shard_reconnect(seat->shard, gate_clock_ms(), command->number,
                         gate_buf_span(&command->bytes));
    gate_seat_settle(seat);
    return GATE_OK;
}

static const char *by_hand_remedy(int error) {
    switch (error) {
    case GATE_EUSAGE: return "there is nothing to be taken up";
    case GATE_ECLOSED: return "wait until a connection is open";
    case GATE_EBUSY: return "wait, and do it again";
    default: return "give what the gateway would";
    }
}

/* What cannot be done is told; GATE_EMEMORY is passed on, and it is tried again. */
static int tell_by_hand(struct gate_seats *seats, const struct gate_command *command, int rc,
                        const char *operation) {
    if (rc == GATE_EMEMORY || rc == GATE_OK) return rc;
    report_failed(seats, command, rc, operation, by_hand_remedy(rc));
    return GATE_OK;
}

static int take_identify(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    const struct gate_options *wanted = command->options.token.len ? &command->options : NULL;
    int rc = GATE_EUSAGE;
    if (seat && seat->shard) {
        rc = gate_shard_identify(seat->shard, gate_clock_ms(), wanted);
        gate_seat_settle(seat);
    }
    return tell_by_hand(seats, command, rc, "identify");
}

static int take_resume(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    int rc = GATE_EUSAGE;
    if (seat && seat->shard) {
        rc = gate_shard_resume(seat->shard, gate_clock_ms());
        gate_seat_settle(seat);
    }
    return tell_by_hand(seats, command, rc, "resume");
}

static int take_beat(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    int rc = GATE_ECLOSED;
    if (seat && seat->shard) {
        rc = gate_shard_beat(seat->shard, gate_clock_ms());
        gate_seat_settle(seat);
    }
    return tell_by_hand(seats, command, rc, "heartbeat");
}

/* As a message of the wire, it is not let in where an event would find no room. */
static int take_receive(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    int rc = GATE_ECLOSED;
    if (gate_seats_refusal(seats)) {
        rc = GATE_EBUSY;
    } else if (seat && seat->shard) {
        rc = gate_shard_receive(seat->shard, gate_clock_ms(), &command->bytes);
        gate_seat_settle(seat);
    }
    return tell_by_hand(seats, command, rc, "receive");
}

static int take_turn(struct gate_seats *seats, struct gate_command *command) {
    struct gate_seat *seat = gate_seat_find(seats, command->shard_id);
    gate_seat_give_turn(seats, seat, command->shard_id, command->turn_number);
    return GATE_OK;
}

static int take_request(struct gate_seats *seats, struct gate_command *command) {
    struct gate_request *request = &command->request;
    if (!gate_letterbox_reserve(seats->letters)) return GATE_EMEMORY;
    int rc = gate_transport_request(seats->transport, request, &command->bytes);
    if (rc == GATE_OK || rc == GATE_EMEMORY) return rc;
    struct gate_buf none;
    gate_buf_init(&none, 0, 0);
    const char *text = gate_error_text(rc);
    struct gate_answer answer = {
        .id = request->id, .error = rc, .detail = {text, strlen(text)}, .body = &none};
    gate_letterbox_answer(seats->letters, &answer);
    return GATE_OK;
}

static const struct {
    int (*obey)(struct gate_seats *seats, struct gate_command *command);
    const char *operation;
} verbs[] = {
    [GATE_COMMAND_START] = {take_start, "start"},
    [GATE_COMMAND_SEND] = {take_send, "send"},
    [GATE_COMMAND_INTEREST] = {take_interest, "listen"},
    [GATE_COMMAND_STOP_SHARD] = {take_stop_shard, "stop"},
    [GATE_COMMAND_RECONNECT] = {take_reconnect, "reconnect"},
    [GATE_COMMAND_IDENTIFY] = {take_identify, "identify"},
    [GATE_COMMAND_RESUME] = {take_resume, "resume"},
    [GATE_COMMAND_BEAT] = {take_beat, "heartbeat"},
    [GATE_COMMAND_RECEIVE] = {take_receive, "receive"},
    [GATE_COMMAND_TURN] = {take_turn, "turn"},
    [GATE_COMMAND_REQUEST] = {take_request, "request"},
};

int gate_command_obey(struct gate_seats *seats, struct gate_command *command) {
    return verbs[command->type].obey(seats, command);
}

void gate_command_delayed(struct gate_seats *seats, const struct gate_command *command) {
    report_failed(seats, command, GATE_EMEMORY, verbs[command->type].operation,
                  "it is tried again");
}

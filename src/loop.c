/* loop.c - see loop.h. One turn:
 *
 *   sleep until a socket, a command or the nearest deadline
 *   serve the sockets         -- what has arrived counts before any timer is judged
 *   take commands             -- also before each piece: they were there first
 *   read on while bytes come, if a deadline is due -- a beat is judged on everything readable
 *   pause or go on reading    -- by the level of the event queue
 *   tick the shards that are due
 *   grant identify slots
 *   publish snapshots
 *
 * Everything but the two queues, the snapshots and the pointer that `gate_loop_wake` uses belongs
 * to the thread alone. */
#include "loop.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define READ_ROUNDS_MAX 64 /* before a deadline is judged: a megabyte of each link */
#define GOODBYE_MS      (GATE_STOP_TIMEOUT_MS * 3 / 4) /* the rest is for joining */
#define ASLEEP_LOOK_MS  10000 /* how often to see whether the machine slept */
#define NEVER           (-1)

/* One shard's place in the loop; lives as long as the loop. */
struct seat {
    struct gate_loop *loop;
    int shard_id;
    struct gate_shard *shard;      /* NULL until it is started */
    struct gate_interest interest; /* for a shard that is not there yet */
    struct gate_slot slot;
    struct gate_link *link; /* NULL: no connection */
    uint32_t connection;    /* of the link */
    int64_t connect_timeout_ms;
    size_t message_bytes_max;
    int64_t deadline_ms;
    bool paused; /* reading is stopped */
    bool failed; /* the link could not be made or used: the shard has to be told */
    bool dirty;  /* the snapshot is behind */
};

struct gate_loop {
    /* The thread's. */
    struct seat **seats; /* by ascending id */
    size_t seat_count;
    struct gate_slots slots;
    struct gate_letter *spare;
    int64_t sleep_gap_ms; /* of the clock that counts sleep over the one that does not */
    bool holding;         /* the event queue is full: nobody reads or connects */
    bool ending;
    int end_code;

    /* Shared; each has its own lock. */
    struct gate_queue commands, events;

    /* Shared, under the lock. */
    pthread_mutex_t lock;
    struct gate_transport *transport; /* the pointer; what it points to is the thread's */
    struct gate_snapshot **snapshots; /* by ascending id; each lives as long as the loop */
    size_t snapshot_count;
};

/* ---- Commands and letters -------------------------------------------------------------------- */

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

static void drop_command(struct gate_node *node) {
    gate_command_del((struct gate_command *)node);
}

/* A spare letter is empty, which free does not mind. */
static void drop_letter(struct gate_node *node) {
    struct gate_letter *letter = (struct gate_letter *)node;
    gate_event_free(&letter->event);
    gate_allocate(letter, 0);
}

/* ---- Seats and snapshots --------------------------------------------------------------------- */

/* Where `id` stands or belongs in an ascending row. `id_at` reads the id of a place. */
static size_t find_place(size_t count, int id, int (*id_at)(const void *row, size_t at),
                         const void *row) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_at(row, middle) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int seat_id_at(const void *row, size_t at) {
    return ((struct seat *const *)row)[at]->shard_id;
}

static int snapshot_id_at(const void *row, size_t at) {
    return ((struct gate_snapshot *const *)row)[at]->shard_id;
}

/* Makes a place in a row of pointers, at `at`. False: no memory; nothing has changed. */
static bool open_place(void **row, size_t count, size_t at) {
    void **grown = gate_allocate(*row, (count + 1) * sizeof(void *));
    if (!grown) return false;
    memmove(grown + at + 1, grown + at, (count - at) * sizeof(void *));
    *row = grown;
    return true;
}

static struct seat *find_seat(const struct gate_loop *loop, int id) {
    size_t at = find_place(loop->seat_count, id, seat_id_at, loop->seats);
    bool found = at < loop->seat_count && loop->seats[at]->shard_id == id;
    return found ? loop->seats[at] : NULL;
}

static struct seat *make_seat(struct gate_loop *loop, int id) {
    struct seat *seat = find_seat(loop, id);
    if (seat) return seat;
    size_t at = find_place(loop->seat_count, id, seat_id_at, loop->seats);
    seat = gate_allocate(NULL, sizeof *seat);
    void *row = loop->seats;
    if (!seat || !open_place(&row, loop->seat_count, at)) {
        gate_allocate(seat, 0);
        return NULL;
    }
    *seat = (struct seat){.loop = loop, .shard_id = id, .deadline_ms = NEVER};
    gate_buf_init(&seat->interest.names, 0, 0);
    gate_slot_init(&seat->slot, id);
    loop->seats = row;
    loop->seats[at] = seat;
    loop->seat_count++;
    return seat;
}

/* With the lock held. */
static struct gate_snapshot *find_snapshot(const struct gate_loop *loop, int id) {
    size_t at = find_place(loop->snapshot_count, id, snapshot_id_at, loop->snapshots);
    bool found = at < loop->snapshot_count && loop->snapshots[at]->shard_id == id;
    return found ? loop->snapshots[at] : NULL;
}

static struct gate_snapshot *make_snapshot(struct gate_loop *loop, int id) {
    struct gate_snapshot *snapshot = find_snapshot(loop, id);
    if (snapshot) return snapshot;
    size_t at = find_place(loop->snapshot_count, id, snapshot_id_at, loop->snapshots);
    snapshot = gate_allocate(NULL, sizeof *snapshot);
    void *row = loop->snapshots;
    if (!snapshot || !open_place(&row, loop->snapshot_count, at)) {
        gate_allocate(snapshot, 0);
        return NULL;
    }
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->shard_id = id;
    snapshot->status = (struct gate_status){.state = GATE_STATE_IDLE, .seq = -1, .latency_ms = -1};
    loop->snapshots = row;
    loop->snapshots[at] = snapshot;
    loop->snapshot_count++;
    return snapshot;
}

int gate_loop_expect(struct gate_loop *loop, int shard_id, int change) {
    pthread_mutex_lock(&loop->lock);
    struct gate_snapshot *snapshot = make_snapshot(loop, shard_id);
    if (snapshot) snapshot->starting += (uint32_t)change;
    pthread_mutex_unlock(&loop->lock);
    return snapshot ? GATE_OK : GATE_EMEMORY;
}

bool gate_loop_snapshot(struct gate_loop *loop, int shard_id, struct gate_snapshot *out) {
    pthread_mutex_lock(&loop->lock);
    const struct gate_snapshot *snapshot = find_snapshot(loop, shard_id);
    if (snapshot) *out = *snapshot;
    pthread_mutex_unlock(&loop->lock);
    return snapshot != NULL;
}

static void publish(struct seat *seat) {
    struct gate_loop *loop = seat->loop;
    struct gate_status status;
    gate_shard_status(seat->shard, &status);
    pthread_mutex_lock(&loop->lock);
    struct gate_snapshot *snapshot = find_snapshot(loop, seat->shard_id);
    if (snapshot) snapshot->status = status;
    pthread_mutex_unlock(&loop->lock);
    seat->dirty = false;
}

static void publish_all(struct gate_loop *loop) {
    for (size_t i = 0; i < loop->seat_count; i++)
        if (loop->seats[i]->dirty) publish(loop->seats[i]);
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* What may be missed: traces, of which there is one for each packet. */
static enum gate_node_kind kind_of(const struct gate_event *event) {
    static const char *const traces[] = {"send", "receive"};
    if (!event->own) return GATE_NODE_PAYLOAD;
    struct gate_span name = gate_event_name(event);
    for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++)
        if (strlen(traces[i]) == name.len && memcmp(traces[i], name.data, name.len) == 0)
            return GATE_NODE_NOTE;
    return GATE_NODE_VITAL;
}

static struct gate_letter *take_letter(struct gate_loop *loop) {
    struct gate_letter *letter = loop->spare;
    loop->spare = NULL;
    return letter ? letter : gate_allocate(NULL, sizeof *letter);
}

static void push_event(struct gate_loop *loop, struct gate_event *take, int shard_id) {
    struct gate_letter *letter = take_letter(loop);
    struct gate_node *spare = NULL;
    if (!letter) {
        gate_event_free(take);
        return;
    }
    take->shard_id = shard_id;
    letter->event = *take;
    letter->node =
        (struct gate_node){.bytes = sizeof *letter + take->bytes.capacity, .kind = kind_of(take)};
    if (gate_queue_push(&loop->events, &letter->node, &spare) < 0) drop_letter(&letter->node);
    loop->spare = (struct gate_letter *)spare;
}

static void push_error(struct gate_loop *loop, int shard_id, int error, const char *phase,
                       const char *message) {
    struct gate_event event;
    const char *code = gate_error_name(error);
    struct gate_field fields[] = {
        GATE_TEXT("code", ((struct gate_span){code, strlen(code)})),
        GATE_TEXT("phase", ((struct gate_span){phase, strlen(phase)})),
        GATE_TEXT("message", ((struct gate_span){message, strlen(message)})),
        {.key = NULL}};
    if (gate_event_note(&event, "error", fields) == GATE_OK) push_event(loop, &event, shard_id);
}

/* "send: the outbox is full; ...": the operation, the fault, and what to do about it. */
static void report_failed(struct gate_loop *loop, const struct gate_command *command, int error,
                          const char *operation, const char *remedy) {
    char message[160];
    snprintf(message, sizeof message, "%s: shard %d: %s; %s", operation, command->shard_id,
             gate_error_text(error), remedy);
    push_error(loop, command->shard_id, error, operation, message);
}

/* ---- Actions --------------------------------------------------------------------------------- */

/* The machine must hear of the end even when nothing ever began; not from here, as it is just being
 * asked what it wants. */
static void mark_failed(struct seat *seat) {
    seat->failed = true;
}

static void drop_link(struct seat *seat) {
    if (seat->link) gate_link_abort(seat->link);
    seat->link = NULL;
    seat->paused = false;
}

/* The transport gives up a little before the shard does: it knows how far it came. */
static void do_connect(struct seat *seat, struct gate_action *action) {
    int64_t margin_ms = seat->connect_timeout_ms / 10;
    if (margin_ms > 250) margin_ms = 250;
    struct gate_link_options options = {.url = action->url,
                                        .connection = action->connection,
                                        .timeout_ms = seat->connect_timeout_ms - margin_ms,
                                        .message_bytes_max = seat->message_bytes_max,
                                        .user = seat};
    drop_link(seat);
    seat->connection = action->connection;
    seat->link = gate_link_open(seat->loop->transport, &options);
    if (!seat->link) mark_failed(seat);
}

static void do_send(struct seat *seat, struct gate_action *action) {
    if (seat->link &&
        gate_link_send(seat->link, &action->bytes, action->binary, action->secret) == GATE_EMEMORY)
        mark_failed(seat);
    gate_action_free(action);
}

static void do_close(struct seat *seat, struct gate_action *action) {
    const char *reason = action->reason ? action->reason : "";
    if (seat->link)
        gate_link_close(seat->link, action->code, (struct gate_span){reason, strlen(reason)});
}

static void do_abort(struct seat *seat, struct gate_action *action) {
    (void)action;
    drop_link(seat);
}

/* Who hears of a change of state and then looks must not see what was before. */
static void do_event(struct seat *seat, struct gate_action *action) {
    if (action->event.own) publish(seat);
    push_event(seat->loop, &action->event, seat->shard_id);
}

static void do_slot_ask(struct seat *seat, struct gate_action *action) {
    (void)action;
    gate_slots_ask(&seat->loop->slots, &seat->slot);
}

static void do_slot_spent(struct seat *seat, struct gate_action *action) {
    (void)action;
    gate_slots_spent(&seat->loop->slots, gate_clock_ms(), seat->shard_id);
}

static void do_slot_done(struct seat *seat, struct gate_action *action) {
    (void)action;
    gate_slots_leave(&seat->loop->slots, &seat->slot);
    gate_slots_done(&seat->loop->slots, gate_clock_ms(), seat->shard_id);
}

static void (*const carry_out[])(struct seat *seat, struct gate_action *action) = {
    [GATE_ACT_CONNECT] = do_connect,       [GATE_ACT_SEND] = do_send,
    [GATE_ACT_CLOSE] = do_close,           [GATE_ACT_ABORT] = do_abort,
    [GATE_ACT_EVENT] = do_event,           [GATE_ACT_SLOT_ASK] = do_slot_ask,
    [GATE_ACT_SLOT_SPENT] = do_slot_spent, [GATE_ACT_SLOT_DONE] = do_slot_done,
};

/* After every input: carries out what the shard asks for, until it asks for nothing more. */
static void settle(struct seat *seat) {
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
    seat->deadline_ms = gate_shard_deadline(seat->shard);
    seat->dirty = true;
}

static void take_commands(struct gate_loop *loop);

/* ---- Reports of the transport ---------------------------------------------------------------- */

static void on_opened(void *user, uint32_t connection) {
    struct seat *seat = user;
    gate_shard_opened(seat->shard, gate_clock_ms(), connection);
    settle(seat);
}

/* What was asked for before these bytes left the gateway comes first: whoever listens and then
 * causes an event hears it. Over the hard mark nothing more is let in: not even looked at, so that
 * the sequence stays behind what is refused, and the gateway sends it again to whoever resumes. */
static void on_piece(void *user, const struct gate_piece *piece) {
    struct seat *seat = user;
    struct gate_piece rest = *piece;
    int rc;
    take_commands(seat->loop);
    if (gate_queue_level(&seat->loop->events) == GATE_LEVEL_HARD) {
        gate_shard_reconnect(seat->shard, gate_clock_ms(), GATE_CLOSE_KEEP,
                             GATE_SPAN("event queue over its hard mark"));
        settle(seat);
        return;
    }
    do {
        size_t used = 0;
        rc = gate_shard_feed(seat->shard, gate_clock_ms(), &rest, &used);
        rest.bytes = (struct gate_span){rest.bytes.data + used, rest.bytes.len - used};
        settle(seat);
    } while (rc == GATE_AGAIN);
}

static void on_closed(void *user, uint32_t connection, const struct gate_close *why) {
    struct seat *seat = user;
    seat->link = NULL;
    seat->paused = false;
    gate_shard_closed(seat->shard, gate_clock_ms(), connection, why);
    settle(seat);
}

/* ---- Answers of HTTP requests ---------------------------------------------------------------- */

/* A body is JSON or is meant for a person: bytes that are no UTF-8 become question marks. */
static struct gate_span clean_body(struct gate_buf *body) {
    if (!gate_text_is_utf8(gate_buf_span(body)))
        for (size_t i = 0; i < body->len; i++)
            if ((unsigned char)body->data[i] >= 0x80) body->data[i] = '?';
    return gate_buf_span(body);
}

static int write_text(struct gate_writer *to, const char *key, struct gate_span text) {
    const struct gate_sink *json = gate_json.writer;
    int rc = json->key(to, (struct gate_span){key, strlen(key)});
    return rc < 0 ? rc : json->text(to, text);
}

static int write_integer(struct gate_writer *to, const char *key, int64_t value) {
    const struct gate_sink *json = gate_json.writer;
    int rc = json->key(to, (struct gate_span){key, strlen(key)});
    return rc < 0 ? rc : json->integer(to, value);
}

static int write_headers(struct gate_writer *to, const struct gate_answer *answer) {
    const struct gate_sink *json = gate_json.writer;
    int rc = json->key(to, GATE_SPAN("headers"));
    if (rc == GATE_OK) rc = json->open_map(to);
    for (size_t i = 0; rc == GATE_OK && i < answer->header_count; i++)
        if (gate_text_is_utf8(answer->headers[i].value))
            rc = write_text(to, answer->headers[i].name, answer->headers[i].value);
    return rc < 0 ? rc : json->close_map(to);
}

static int write_failure(struct gate_writer *to, const struct gate_answer *answer) {
    char message[256];
    const char *name = gate_error_name(answer->error), *phase = gate_phase_word(answer->phase);
    int len = snprintf(message, sizeof message, "request: %s%s%.*s", phase, *phase ? ": " : "",
                       (int)answer->detail.len, answer->detail.data);
    size_t shown = len < 0 ? 0 : (size_t)len < sizeof message ? (size_t)len : sizeof message - 1;
    int rc = write_text(to, "error", (struct gate_span){name, strlen(name)});
    if (rc == GATE_OK) rc = write_text(to, "phase", (struct gate_span){phase, strlen(phase)});
    return rc < 0 ? rc : write_text(to, "message", (struct gate_span){message, shown});
}

static int write_answer(struct gate_event *out, const struct gate_answer *answer) {
    const struct gate_sink *json = gate_json.writer;
    struct gate_writer to;
    int rc = gate_json.begin(&to, &out->bytes, true);
    if (rc == GATE_OK) rc = json->open_map(&to);
    if (rc == GATE_OK) rc = write_integer(&to, "id", answer->id);
    if (rc == GATE_OK && answer->status) rc = write_integer(&to, "status", answer->status);
    if (rc == GATE_OK && answer->error) rc = write_failure(&to, answer);
    if (rc == GATE_OK && !answer->error) rc = write_text(&to, "body", clean_body(answer->body));
    if (rc == GATE_OK && !answer->error) rc = write_headers(&to, answer);
    return rc < 0 ? rc : json->close_map(&to);
}

static void on_answered(void *owner, struct gate_answer *answer) {
    struct gate_event event = {.codec = &gate_json, .own = true, .name_len = strlen("http")};
    gate_buf_init(&event.bytes, 0, 0);
    int rc = gate_buf_append(&event.bytes, GATE_SPAN("http"));
    if (rc == GATE_OK) rc = write_answer(&event, answer);
    if (rc < 0) {
        gate_event_free(&event);
        return;
    }
    event.data_at = event.name_len;
    event.data_len = event.bytes.len - event.data_at;
    push_event(owner, &event, -1);
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* The shard of a running id stays; whoever starts it twice is told. */
static int replace_shard(struct seat *seat, struct gate_options *options) {
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
    seat->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : GATE_CONNECT_TIMEOUT_MS;
    seat->message_bytes_max =
        options->message_bytes_max ? options->message_bytes_max : GATE_MESSAGE_BYTES_MAX;
    return GATE_OK;
}

static void take_start(struct gate_loop *loop, struct gate_command *command) {
    struct seat *seat = make_seat(loop, command->shard_id);
    int rc = seat ? replace_shard(seat, &command->options) : GATE_EMEMORY;
    if (rc == GATE_OK) {
        gate_shard_start(seat->shard, gate_clock_ms());
        settle(seat);
        publish(seat);
    }
    (void)!gate_loop_expect(loop, command->shard_id, -1);
    if (rc == GATE_EUSAGE)
        report_failed(loop, command, rc, "start", "it runs already: stop it first");
    else if (rc < 0)
        report_failed(loop, command, rc, "start", "check what it was started with");
}

static void take_send(struct gate_loop *loop, struct gate_command *command) {
    struct seat *seat = find_seat(loop, command->shard_id);
    int rc = GATE_ECLOSED;
    if (seat && seat->shard) {
        rc = gate_shard_send(seat->shard, gate_clock_ms(), &command->bytes);
        settle(seat);
    }
    if (rc == GATE_EBUSY)
        report_failed(loop, command, rc, "send", "send less, or wait until the shard is ready");
    else if (rc < 0)
        report_failed(loop, command, rc, "send", "start the shard first");
}

static void take_interest(struct gate_loop *loop, struct gate_command *command) {
    struct seat *seat = make_seat(loop, command->shard_id);
    struct gate_interest *take = &command->interest;
    if (!seat) {
        report_failed(loop, command, GATE_EMEMORY, "listen", "nothing new is heard");
    } else if (seat->shard) {
        gate_shard_interest(seat->shard, take);
    } else {
        seat->interest.all = take->all;
        seat->interest.send = take->send;
        seat->interest.receive = take->receive;
        gate_buf_move(&seat->interest.names, &take->names);
    }
}

static void take_stop_shard(struct gate_loop *loop, struct gate_command *command) {
    struct seat *seat = find_seat(loop, command->shard_id);
    if (!seat || !seat->shard) return;
    gate_shard_stop(seat->shard, gate_clock_ms(), command->number, gate_buf_span(&command->bytes));
    settle(seat);
}

static void take_reconnect(struct gate_loop *loop, struct gate_command *command) {
    struct seat *seat = find_seat(loop, command->shard_id);
    if (!seat || !seat->shard) return;
    gate_shard_reconnect(seat->shard, gate_clock_ms(), command->number,
                         gate_buf_span(&command->bytes));
    settle(seat);
}

static void take_concurrency(struct gate_loop *loop, struct gate_command *command) {
    gate_slots_resize(&loop->slots, gate_clock_ms(), command->number);
}

static void take_request(struct gate_loop *loop, struct gate_command *command) {
    struct gate_request *request = &command->request;
    int rc = gate_transport_request(loop->transport, request, &command->bytes);
    if (rc == GATE_OK) return;
    struct gate_buf none;
    gate_buf_init(&none, 0, 0);
    const char *text = gate_error_text(rc);
    struct gate_answer answer = {
        .id = request->id, .error = rc, .detail = {text, strlen(text)}, .body = &none};
    on_answered(loop, &answer);
}

static void take_end(struct gate_loop *loop, struct gate_command *command) {
    loop->ending = true;
    loop->end_code = command->number;
}

static void (*const obey[])(struct gate_loop *loop, struct gate_command *command) = {
    [GATE_COMMAND_START] = take_start,         [GATE_COMMAND_SEND] = take_send,
    [GATE_COMMAND_INTEREST] = take_interest,   [GATE_COMMAND_STOP_SHARD] = take_stop_shard,
    [GATE_COMMAND_RECONNECT] = take_reconnect, [GATE_COMMAND_CONCURRENCY] = take_concurrency,
    [GATE_COMMAND_REQUEST] = take_request,     [GATE_COMMAND_END] = take_end,
};

/* Once the end has been asked for, what comes behind it is dropped. */
static void take_commands(struct gate_loop *loop) {
    struct gate_node *node, *unwanted;
    bool drained;
    while ((node = gate_queue_pop(&loop->commands, NULL, &unwanted, &drained)) != NULL) {
        struct gate_command *command = (struct gate_command *)node;
        if (!loop->ending) obey[command->type](loop, command);
        gate_command_del(command);
    }
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void pause_seat(struct seat *seat, bool paused) {
    seat->paused = paused;
    if (seat->link) gate_link_pause(seat->link, paused);
    gate_shard_pause(seat->shard, gate_clock_ms(), paused);
    settle(seat);
}

/* While the queue is full, shards that are ready are not read. The others are: a handshake has its
 * own deadlines, and giving it up would cost an Identify each time. Nobody connects meanwhile. */
static void balance_reading(struct gate_loop *loop) {
    bool full = gate_queue_level(&loop->events) != GATE_LEVEL_FREE;
    if (!full && !loop->holding) return;
    loop->holding = full;
    for (size_t i = 0; i < loop->seat_count; i++) {
        struct seat *seat = loop->seats[i];
        bool wanted = full && seat->link && gate_shard_state(seat->shard) == GATE_STATE_READY;
        if (seat->shard && wanted != seat->paused) pause_seat(seat, wanted);
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* The clock that counts sleep over the one that stands still; 0 where there is only one. */
static int64_t read_sleep_gap_ms(void) {
#ifdef CLOCK_BOOTTIME
    struct timespec boot;
    if (clock_gettime(CLOCK_BOOTTIME, &boot) != 0) return 0;
    return (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000 - gate_clock_ms();
#else
    return 0;
#endif
}

/* A connection that was slept over looks alive until the next beat fails: everybody else has
 * noticed long before. */
static void notice_sleep(struct gate_loop *loop) {
    int64_t gap_ms = read_sleep_gap_ms(), asleep_ms = gap_ms - loop->sleep_gap_ms;
    loop->sleep_gap_ms = gap_ms;
    if (asleep_ms <= GATE_ASLEEP_MS) return;
    for (size_t i = 0; i < loop->seat_count; i++) {
        struct seat *seat = loop->seats[i];
        if (!seat->shard) continue;
        gate_shard_slept(seat->shard, gate_clock_ms(), asleep_ms);
        settle(seat);
    }
}

static int64_t nearer(int64_t a_ms, int64_t b_ms) {
    if (a_ms < 0) return b_ms;
    return b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

/* A shard that would connect has time while the queue is full. */
static int64_t seat_deadline(const struct seat *seat) {
    bool waits =
        seat->shard && seat->loop->holding && gate_shard_state(seat->shard) == GATE_STATE_BACKOFF;
    return waits ? NEVER : seat->deadline_ms;
}

static int64_t find_deadline(const struct gate_loop *loop, int64_t now_ms) {
    int64_t deadline_ms = loop->holding ? NEVER : gate_slots_deadline(&loop->slots, now_ms);
    for (size_t i = 0; i < loop->seat_count; i++)
        deadline_ms = nearer(deadline_ms, seat_deadline(loop->seats[i]));
    return deadline_ms;
}

/* Looking for sleep costs a wake now and then, and only while there is a connection to lose. */
static int64_t find_wake(const struct gate_loop *loop) {
    int64_t now_ms = gate_clock_ms(), deadline_ms = find_deadline(loop, now_ms);
    return deadline_ms < 0 ? NEVER : nearer(deadline_ms, now_ms + ASLEEP_LOOK_MS);
}

/* Beats that are due within the slack of each other leave together: one wake serves them all. */
static void tick_due(struct gate_loop *loop) {
    int64_t now_ms = gate_clock_ms(), nearest_ms = NEVER;
    for (size_t i = 0; i < loop->seat_count; i++)
        nearest_ms = nearer(nearest_ms, seat_deadline(loop->seats[i]));
    if (nearest_ms < 0 || nearest_ms > now_ms) return;
    for (size_t i = 0; i < loop->seat_count; i++) {
        int64_t deadline_ms = seat_deadline(loop->seats[i]);
        if (deadline_ms < 0 || deadline_ms > now_ms + GATE_BEAT_SLACK_MS) continue;
        gate_shard_tick(loop->seats[i]->shard, now_ms);
        settle(loop->seats[i]);
    }
}

static void grant_slots(struct gate_loop *loop) {
    struct gate_slot *slot;
    while (!loop->holding && (slot = gate_slots_next(&loop->slots, gate_clock_ms())) != NULL) {
        struct seat *seat = (struct seat *)((char *)slot - offsetof(struct seat, slot));
        gate_shard_grant(seat->shard, gate_clock_ms());
        settle(seat);
    }
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void read_on(struct gate_loop *loop) {
    int64_t now_ms = gate_clock_ms(), deadline_ms = find_deadline(loop, now_ms);
    if (deadline_ms < 0 || deadline_ms > now_ms) return;
    for (int round = 0; round < READ_ROUNDS_MAX; round++)
        if (!gate_transport_poll(loop->transport)) return;
}

static void turn(struct gate_loop *loop, int64_t wake_ms) {
    gate_transport_turn(loop->transport, wake_ms);
    take_commands(loop);
    read_on(loop);
    notice_sleep(loop);
    balance_reading(loop);
    tick_due(loop);
    grant_slots(loop);
    publish_all(loop);
}

static bool has_link(const struct gate_loop *loop) {
    for (size_t i = 0; i < loop->seat_count; i++)
        if (loop->seats[i]->link) return true;
    return false;
}

/* Closes what is open and waits for the answers, but not for long. */
static void say_goodbye(struct gate_loop *loop) {
    int64_t until_ms = gate_clock_ms() + GOODBYE_MS;
    for (size_t i = 0; i < loop->seat_count; i++) {
        struct seat *seat = loop->seats[i];
        if (!seat->shard) continue;
        gate_shard_stop(seat->shard, gate_clock_ms(), loop->end_code, (struct gate_span){"", 0});
        settle(seat);
    }
    while (has_link(loop) && gate_clock_ms() < until_ms)
        turn(loop, nearer(find_wake(loop), until_ms));
    publish_all(loop);
}

/* From here on nobody can wake what is no more. */
static struct gate_transport *take_transport(struct gate_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    struct gate_transport *transport = loop->transport;
    loop->transport = NULL;
    pthread_mutex_unlock(&loop->lock);
    return transport;
}

void gate_loop_run(struct gate_loop *loop) {
    while (!loop->ending) turn(loop, find_wake(loop));
    say_goodbye(loop);
    gate_transport_del(take_transport(loop));
}

/* ---- The other side -------------------------------------------------------------------------- */

void gate_loop_wake(struct gate_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    if (loop->transport) gate_transport_wake(loop->transport);
    pthread_mutex_unlock(&loop->lock);
}

int gate_loop_push(struct gate_loop *loop, struct gate_command *take) {
    pthread_mutex_lock(&loop->lock);
    int rc = loop->transport ? gate_queue_push(&loop->commands, &take->node, NULL) : GATE_ECLOSED;
    if (rc == GATE_OK) gate_transport_wake(loop->transport);
    pthread_mutex_unlock(&loop->lock);
    return rc;
}

struct gate_queue *gate_loop_events(struct gate_loop *loop) {
    return &loop->events;
}

static int init_queues(struct gate_loop *loop, const struct gate_queue_limits *events) {
    struct gate_queue_limits commands = {
        .count_max = GATE_COMMANDS_MAX, .bytes_max = GATE_COMMAND_BYTES_MAX, .strict = true};
    if (pthread_mutex_init(&loop->lock, NULL) != 0) return GATE_ESYSTEM;
    if (gate_queue_init(&loop->commands, &commands, false) == GATE_OK) {
        if (gate_queue_init(&loop->events, events, true) == GATE_OK) return GATE_OK;
        gate_queue_free(&loop->commands, drop_command);
    }
    pthread_mutex_destroy(&loop->lock);
    return GATE_ESYSTEM;
}

struct gate_loop *gate_loop_new(const struct gate_loop_options *options, int *error,
                                const char **detail) {
    static const struct gate_transport_calls calls = {on_opened, on_piece, on_closed, on_answered};
    struct gate_loop *loop = gate_allocate(NULL, sizeof *loop);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!loop) return NULL;
    memset(loop, 0, sizeof *loop);
    gate_slots_init(&loop->slots, options->concurrency > 0 ? options->concurrency : 1);
    loop->sleep_gap_ms = read_sleep_gap_ms();
    *error = init_queues(loop, &options->events);
    *detail = "no descriptor for the event queue";
    if (*error < 0) {
        gate_allocate(loop, 0);
        return NULL;
    }
    struct gate_transport_options transport = options->transport;
    transport.calls = &calls;
    transport.owner = loop;
    loop->transport = gate_transport_new(&transport, error, detail);
    if (loop->transport) return loop;
    gate_loop_del(loop);
    return NULL;
}

static void del_seat(struct seat *seat) {
    gate_shard_del(seat->shard);
    gate_buf_free(&seat->interest.names);
    gate_allocate(seat, 0);
}

void gate_loop_del(struct gate_loop *loop) {
    if (!loop) return;
    gate_transport_del(take_transport(loop));
    for (size_t i = 0; i < loop->seat_count; i++) del_seat(loop->seats[i]);
    for (size_t i = 0; i < loop->snapshot_count; i++) gate_allocate(loop->snapshots[i], 0);
    gate_allocate(loop->seats, 0);
    gate_allocate(loop->snapshots, 0);
    if (loop->spare) drop_letter(&loop->spare->node);
    gate_queue_free(&loop->commands, drop_command);
    gate_queue_free(&loop->events, drop_letter);
    pthread_mutex_destroy(&loop->lock);
    gate_allocate(loop, 0);
}

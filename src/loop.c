/* loop.c - see loop.h. One turn:
 *
 *   sleep until a socket, a command or the nearest deadline
 *   serve the sockets         -- what has arrived counts before any timer is judged
 *   take commands             -- also before each piece: they were there first
 *   read on while bytes come, if a deadline is due -- a beat is judged on everything readable
 *   pause or go on reading    -- by the level of the event queue
 *   tick the shards that are due, but those that would connect
 *   let in who may connect
 *   grant identify slots
 *   tell of what was lost
 *   publish snapshots
 *
 * Everything but what the loops of an engine share, the command queue and the pointer that
 * `gate_loop_wake` uses belongs to the thread alone. */
#include "loop.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "seat.h"

#define READ_ROUNDS_MAX 64 /* before a deadline is judged: a megabyte of each link */
#define GOODBYE_MS      (GATE_STOP_TIMEOUT_MS * 3 / 4) /* the rest is for joining */
#define ASLEEP_LOOK_MS  10000 /* how often to see whether the machine slept */
#define MEMORY_LOOK_MS  100   /* until a command that found no memory is tried again */
#define NEVER           (-1)
#define FULL            GATE_SPAN("event queue full")

struct gate_loop {
    /* The thread's. */
    struct gate_seats seats;
    int64_t looked_ms;    /* when it last looked for slots in the hall */
    int64_t sleep_gap_ms; /* of the clock that counts sleep over the one that does not */
    bool leaves;          /* and who is ready leaves; constant */
    bool ending;
    int end_code;
    struct gate_command *stuck; /* found no memory; what came behind it waits in `commands` */
    int64_t stuck_until_ms;
    struct gate_letterbox letters;

    /* Constant. */
    struct gate_commons *commons;
    void (*tell_full)(void *owner, const struct gate_loop *but);
    void *owner;

    /* Shared; the queue has its own lock, the census needs none. */
    struct gate_queue commands;
    struct gate_census census;

    /* Shared, under the lock. */
    pthread_mutex_t lock;
    struct gate_transport *transport; /* the pointer; what it points to is the thread's */
    bool end_asked;                   /* the last command is in the queue */
};

/* ---- Commands -------------------------------------------------------------------------------- */

static void drop_command(struct gate_node *node) {
    gate_command_del((struct gate_command *)node);
}

static void take_commands(struct gate_loop *loop);
static void balance_reading(struct gate_loop *loop);

/* ---- Reports of the transport ---------------------------------------------------------------- */

static void on_opened(void *user, uint32_t connection) {
    struct gate_seat *seat = user;
    gate_shard_opened(seat->shard, gate_clock_ms(), connection);
    gate_seat_settle(seat);
}

/* What was asked for before these bytes left the gateway comes first: whoever listens and then
 * causes an event hears it. Reading pauses from inside here, as one read may hold thousands of
 * messages, and libwebsockets would hand over all of them before the turn ends. */
static void on_piece(void *user, const struct gate_piece *piece) {
    struct gate_seat *seat = user;
    struct gate_loop *loop = seat->seats->loop;
    struct gate_piece rest = *piece;
    int rc;
    take_commands(loop);
    do {
        size_t used = 0;
        const char *refusal = gate_seats_refusal(&loop->seats);
        if (refusal) {
            if (loop->leaves) gate_shard_leave(seat->shard, gate_clock_ms(), FULL);
            gate_shard_reconnect(seat->shard, gate_clock_ms(), GATE_CLOSE_KEEP,
                                 (struct gate_span){refusal, strlen(refusal)});
            gate_seat_settle(seat);
            return;
        }
        rc = gate_shard_feed(seat->shard, gate_clock_ms(), &rest, &used);
        rest.bytes = (struct gate_span){rest.bytes.data + used, rest.bytes.len - used};
        gate_seat_settle(seat);
    } while (rc == GATE_AGAIN);
    balance_reading(loop);
}

static void on_closed(void *user, uint32_t connection, const struct gate_close *why) {
    struct gate_seat *seat = user;
    gate_seat_unlinked(seat);
    gate_shard_closed(seat->shard, gate_clock_ms(), connection, why);
    gate_seat_settle(seat);
}

static void on_answered(void *owner, struct gate_answer *answer) {
    struct gate_loop *loop = owner;
    gate_letterbox_answer(&loop->letters, answer);
}

static bool is_end_asked(struct gate_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    bool asked = loop->end_asked;
    pthread_mutex_unlock(&loop->lock);
    return asked;
}

/* The one that waits for memory comes before those that were asked for later, but not before the
 * end: that waits for nobody. NULL: none, or none yet. */
static struct gate_command *next_command(struct gate_loop *loop) {
    struct gate_command *command = loop->stuck;
    struct gate_node *unwanted;
    bool drained;
    if (command && is_end_asked(loop)) {
        gate_command_del(command);
        command = loop->stuck = NULL;
    }
    if (command && gate_clock_ms() < loop->stuck_until_ms) return NULL;
    if (!command && gate_queue_waits(&loop->commands))
        command = (struct gate_command *)gate_queue_pop(&loop->commands, NULL, &unwanted, &drained);
    return command;
}

/* A start that was dropped would leave the shard idle for ever, a listener deaf: whoever asked for
 * it was told that it is done. */
static void await_memory(struct gate_loop *loop, struct gate_command *command) {
    if (command != loop->stuck) gate_command_delayed(&loop->seats, command);
    loop->stuck = command;
    loop->stuck_until_ms = gate_clock_ms() + MEMORY_LOOK_MS;
}

static void begin_end(struct gate_loop *loop, const struct gate_command *command) {
    loop->ending = true;
    loop->end_code = command->number;
}

/* Once the end has been asked for, what comes behind it is dropped. */
static void take_commands(struct gate_loop *loop) {
    struct gate_command *command;
    while ((command = next_command(loop)) != NULL) {
        if (command->type == GATE_COMMAND_END) begin_end(loop, command);
        if (!loop->ending && gate_command_obey(&loop->seats, command) < 0) {
            await_memory(loop, command);
            return;
        }
        loop->stuck = NULL;
        gate_command_del(command);
    }
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Until the queue is free again nobody connects, so that who leaves does not come back too early.
 */
static void leave_full(struct gate_seat *seat) {
    enum gate_state state = gate_shard_state(seat->shard);
    if (state != GATE_STATE_READY && state != GATE_STATE_RESUMING) return;
    gate_shard_leave(seat->shard, gate_clock_ms(), FULL);
    gate_seat_settle(seat);
}

/* While the queue is full, shards that are ready are not read, or leave, on whatever thread they
 * are. The others go on: a handshake has its own deadlines, and giving it up would cost an Identify
 * each time. Nobody connects meanwhile. */
static void balance_reading(struct gate_loop *loop) {
    bool full = gate_queue_level(&loop->commons->mail.queue) != GATE_LEVEL_FREE;
    if (!full && !loop->seats.holding) return;
    if (full && !loop->seats.holding) loop->tell_full(loop->owner, loop);
    loop->seats.holding = full;
    for (size_t i = 0; i < loop->seats.row.count; i++) {
        struct gate_seat *seat = gate_seat_at(&loop->seats, i);
        if (seat->shard && full && loop->leaves) leave_full(seat);
        bool wanted = full && !loop->leaves && seat->link &&
                      gate_shard_state(seat->shard) == GATE_STATE_READY;
        if (seat->shard && wanted != seat->paused) gate_seat_pause(seat, wanted);
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* A connection that was slept over looks alive until the next beat fails: everybody else has
 * noticed long before. */
static void notice_sleep(struct gate_loop *loop) {
    int64_t gap_ms = gate_clock_ahead_ms(), asleep_ms = gap_ms - loop->sleep_gap_ms;
    loop->sleep_gap_ms = gap_ms;
    if (asleep_ms <= GATE_ASLEEP_MS) return;
    for (size_t i = 0; i < loop->seats.row.count; i++) {
        struct gate_seat *seat = gate_seat_at(&loop->seats, i);
        if (!seat->shard) continue;
        gate_shard_slept(seat->shard, gate_clock_ms(), asleep_ms);
        gate_seat_settle(seat);
    }
}

static int64_t nearer(int64_t a_ms, int64_t b_ms) {
    if (a_ms < 0) return b_ms;
    return b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

/* A shard that would connect has time while the queue is full, and until it is its turn. */
static int64_t seat_deadline(const struct gate_seat *seat) {
    bool waits = seat->shard && (seat->seats->holding || seat->visitor.waits) &&
                 gate_shard_state(seat->shard) == GATE_STATE_BACKOFF;
    return waits ? NEVER : seat->deadline_ms;
}

static int64_t find_deadline(const struct gate_loop *loop, int64_t now_ms) {
    int64_t deadline_ms = NEVER;
    if (!loop->seats.holding)
        deadline_ms = gate_hall_deadline(loop->seats.hall, loop, loop->looked_ms, now_ms);
    if (loop->stuck) deadline_ms = nearer(deadline_ms, loop->stuck_until_ms);
    for (size_t i = 0; i < loop->seats.row.count; i++)
        deadline_ms = nearer(deadline_ms, seat_deadline(gate_seat_at(&loop->seats, i)));
    return deadline_ms;
}

/* Looking for sleep costs a wake now and then, and only while there is a connection to lose. */
static int64_t find_wake(const struct gate_loop *loop) {
    int64_t now_ms = gate_clock_ms(), deadline_ms = find_deadline(loop, now_ms);
    return deadline_ms < 0 ? NEVER : nearer(deadline_ms, now_ms + ASLEEP_LOOK_MS);
}

static bool would_connect(const struct gate_seat *seat, int64_t now_ms) {
    int64_t at_ms = seat->shard ? gate_shard_resumes_at(seat->shard) : NEVER;
    return at_ms >= 0 && at_ms <= now_ms;
}

/* Beats that are due within the slack of each other leave together: one wake serves them all. */
static void tick_due(struct gate_loop *loop) {
    int64_t now_ms = gate_clock_ms(), nearest_ms = NEVER;
    for (size_t i = 0; i < loop->seats.row.count; i++)
        nearest_ms = nearer(nearest_ms, seat_deadline(gate_seat_at(&loop->seats, i)));
    if (nearest_ms < 0 || nearest_ms > now_ms) return;
    for (size_t i = 0; i < loop->seats.row.count; i++) {
        struct gate_seat *seat = gate_seat_at(&loop->seats, i);
        int64_t deadline_ms = seat_deadline(seat);
        if (deadline_ms < 0 || deadline_ms > now_ms + GATE_BEAT_SLACK_MS) continue;
        if (would_connect(seat, now_ms)) {
            gate_hall_line_up(loop->seats.hall, &seat->visitor);
            continue;
        }
        gate_shard_tick(seat->shard, now_ms);
        gate_seat_settle(seat);
    }
}

static void let_in(struct gate_loop *loop) {
    struct gate_visitor *visitor;
    while (!loop->seats.holding &&
           (visitor = gate_hall_next_guest(loop->seats.hall, loop, gate_clock_ms())) != NULL) {
        struct gate_seat *seat = gate_seat_of(visitor);
        gate_shard_tick(seat->shard, gate_clock_ms());
        gate_seat_settle(seat);
    }
}

static struct gate_seat *next_with_slot(struct gate_loop *loop) {
    if (loop->seats.holding) return NULL;
    loop->looked_ms = gate_clock_ms();
    struct gate_visitor *visitor = gate_hall_next_slot(loop->seats.hall, loop, loop->looked_ms);
    return visitor ? gate_seat_of(visitor) : NULL;
}

static void grant_slots(struct gate_loop *loop) {
    struct gate_seat *seat;
    while ((seat = next_with_slot(loop)) != NULL) {
        int64_t again_ms = gate_seat_claim(seat, gate_clock_ms());
        if (again_ms > 0) {
            gate_hall_put_back(loop->seats.hall, &seat->visitor, again_ms);
            continue;
        }
        gate_shard_grant(seat->shard, gate_clock_ms());
        gate_seat_settle(seat);
    }
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void read_on(struct gate_loop *loop) {
    int64_t now_ms = gate_clock_ms(), deadline_ms = find_deadline(loop, now_ms);
    if (deadline_ms < 0 || deadline_ms > now_ms) return;
    for (int round = 0; round < READ_ROUNDS_MAX; round++)
        if (!gate_transport_poll(loop->transport)) return;
}

static void publish_all(struct gate_loop *loop) {
    for (size_t i = 0; i < loop->seats.row.count; i++) {
        struct gate_seat *seat = gate_seat_at(&loop->seats, i);
        if (seat->dirty) gate_seat_publish(seat);
    }
}

static void turn(struct gate_loop *loop, int64_t wake_ms) {
    gate_transport_turn(loop->transport, wake_ms);
    take_commands(loop);
    read_on(loop);
    notice_sleep(loop);
    balance_reading(loop);
    tick_due(loop);
    let_in(loop);
    grant_slots(loop);
    gate_letterbox_tell(&loop->letters);
    publish_all(loop);
    gate_queue_ring(&loop->commons->mail.queue);
}

static bool has_link(const struct gate_loop *loop) {
    for (size_t i = 0; i < loop->seats.row.count; i++)
        if (gate_seat_at(&loop->seats, i)->link) return true;
    return false;
}

/* Closes what is open and waits for the answers, but not for long. */
static void say_goodbye(struct gate_loop *loop) {
    int64_t until_ms = gate_clock_ms() + GOODBYE_MS;
    for (size_t i = 0; i < loop->seats.row.count; i++) {
        struct gate_seat *seat = gate_seat_at(&loop->seats, i);
        if (!seat->shard) continue;
        gate_shard_stop(seat->shard, gate_clock_ms(), loop->end_code, (struct gate_span){"", 0});
        gate_seat_settle(seat);
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
    gate_queue_ring(&loop->commons->mail.queue);
}

/* ---- The other side -------------------------------------------------------------------------- */

void gate_loop_wake(struct gate_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    if (loop->transport) gate_transport_wake(loop->transport);
    pthread_mutex_unlock(&loop->lock);
}

int gate_loop_push(struct gate_loop *loop, struct gate_command *take) {
    pthread_mutex_lock(&loop->lock);
    bool is_end = take->type == GATE_COMMAND_END;
    int rc =
        loop->transport ? gate_queue_push(&loop->commands, &take->node, NULL, NULL) : GATE_ECLOSED;
    if (rc == GATE_OK && is_end) loop->end_asked = true;
    if (rc == GATE_OK) gate_transport_wake(loop->transport);
    pthread_mutex_unlock(&loop->lock);
    return rc;
}

struct gate_census *gate_loop_census(struct gate_loop *loop) {
    return &loop->census;
}

/* On failure nothing of it needs a free. */
static int init_shared(struct gate_loop *loop) {
    struct gate_queue_limits commands = {
        .count_max = GATE_COMMANDS_MAX, .bytes_max = GATE_COMMAND_BYTES_MAX, .strict = true};
    if (pthread_mutex_init(&loop->lock, NULL) != 0) return GATE_ESYSTEM;
    int rc = gate_queue_init(&loop->commands, &commands, false);
    if (rc < 0) pthread_mutex_destroy(&loop->lock);
    return rc;
}

static void fill_seats(struct gate_loop *loop, const struct gate_loop_options *options) {
    struct gate_seats *seats = &loop->seats;
    gate_census_init(&loop->census);
    gate_letterbox_init(&loop->letters, &loop->commons->mail);
    *seats = (struct gate_seats){.hall = &loop->commons->hall,
                                 .letters = &loop->letters,
                                 .board = &loop->commons->board,
                                 .census = &loop->census,
                                 .loop = loop,
                                 .reserve = options->identify_reserve,
                                 .coordinated = options->coordinated};
}

struct gate_loop *gate_loop_new(const struct gate_loop_options *options, int *error,
                                const char **detail) {
    static const struct gate_transport_calls calls = {on_opened, on_piece, on_closed, on_answered};
    struct gate_loop *loop = gate_allocate(NULL, sizeof *loop);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!loop) return NULL;
    memset(loop, 0, sizeof *loop);
    loop->commons = options->commons;
    loop->tell_full = options->tell_full;
    loop->owner = options->owner;
    loop->sleep_gap_ms = gate_clock_ahead_ms();
    loop->leaves = options->leave_when_full;
    *error = init_shared(loop);
    if (*error < 0) {
        gate_allocate(loop, 0);
        return NULL;
    }
    fill_seats(loop, options);
    struct gate_transport_options transport = options->transport;
    transport.calls = &calls;
    transport.owner = loop;
    loop->transport = gate_transport_new(&transport, error, detail);
    loop->seats.transport = loop->transport;
    if (loop->transport) return loop;
    gate_loop_del(loop);
    return NULL;
}

void gate_loop_del(struct gate_loop *loop) {
    if (!loop) return;
    gate_transport_del(take_transport(loop));
    gate_seats_free(&loop->seats);
    if (loop->stuck) gate_command_del(loop->stuck);
    gate_queue_free(&loop->commands, drop_command);
    gate_letterbox_free(&loop->letters);
    pthread_mutex_destroy(&loop->lock);
    gate_allocate(loop, 0);
}

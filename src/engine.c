/* engine.c - see engine.h. It starts and ends the I/O thread and carries things over to it; what
 * the thread does is in loop.c.
 *
 * Ending must work from every side: gate_engine_del by hand, a collection or lua_close, exit()
 * while the thread runs, a fork that copies an engine whose thread does not exist. All engines of
 * the process stand in one list for that. What its lock covers is the list alone. */
#include "engine.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "transcode.h"
#include "window.h"

struct gate_engine {
    struct gate_engine *next; /* in the list, under its lock */
    unsigned generation;      /* of the process: see `forks` */
    struct gate_loop *loop;
    struct gate_command *goodbye; /* made at the start: ending must not need memory; NULL: said */
    struct gate_bell done;        /* rings when the thread has nothing left to do */
    pthread_t thread;
    bool joined; /* by whoever took it from the list, or with the list's lock */
    struct gate_inbox inbox;
};

/* ---- The process ----------------------------------------------------------------------------- */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate_engine *list; /* under the lock */
static unsigned forks;           /* how many forks lie between this process and the first */
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void lock_list(void) {
    pthread_mutex_lock(&list_lock);
}

static void unlock_list(void) {
    pthread_mutex_unlock(&list_lock);
}

/* The child has the engines' memory and none of their threads. It forgets them: their locks may be
 * held by nobody, their sockets are the parent's. */
static void forget_parent(void) {
    forks++;
    list = NULL;
    gate_window_forget();
    pthread_mutex_unlock(&list_lock);
}

static bool is_foreign(const struct gate_engine *engine) {
    return engine->generation != forks;
}

/* By whoever took it from the list, or with the list's lock. */
static void ask_end(struct gate_engine *engine, int code) {
    struct gate_command *command = engine->goodbye;
    engine->goodbye = NULL;
    if (!command) return;
    command->number = code;
    command->node.kind = GATE_NODE_VITAL; /* there is room for it whatever waits */
    if (gate_loop_push(engine->loop, command) < 0) gate_command_del(command);
}

static void join_thread(struct gate_engine *engine) {
    if (!engine->joined) pthread_join(engine->thread, NULL);
    engine->joined = true;
}

/* exit() runs this before OpenSSL takes itself apart, as it was registered later. Sessions are
 * kept. Nothing is freed: threads of the host program may be anywhere. */
static void end_all(void) {
    int64_t until_ms = gate_clock_ms() + GATE_STOP_TIMEOUT_MS;
    lock_list();
    for (struct gate_engine *engine = list; engine; engine = engine->next)
        ask_end(engine, GATE_CLOSE_KEEP);
    for (struct gate_engine *engine = list; engine; engine = engine->next)
        if (gate_bell_wait(&engine->done, until_ms - gate_clock_ms())) join_thread(engine);
    unlock_list();
}

/* Pins the shared object: lua_close would take the code from under the running thread. */
static void pin_code(void) {
    static const char anchor;
    Dl_info info;
    if (dladdr(&anchor, &info) != 0 && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

static void prepare_process(void) {
    pin_code();
    pthread_atfork(lock_list, unlock_list, forget_parent);
    atexit(end_all);
}

static void enlist(struct gate_engine *engine) {
    lock_list();
    engine->next = list;
    list = engine;
    unlock_list();
}

static void delist(struct gate_engine *engine) {
    lock_list();
    struct gate_engine **at = &list;
    while (*at && *at != engine) at = &(*at)->next;
    if (*at) *at = engine->next;
    unlock_list();
}

/* ---- Start and end --------------------------------------------------------------------------- */

static void *run_thread(void *argument) {
    struct gate_engine *engine = argument;
    gate_loop_run(engine->loop);
    gate_bell_ring(&engine->done);
    return NULL;
}

/* All signals are blocked before the thread exists, so that none is ever delivered to it. */
static int start_thread(struct gate_engine *engine) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&engine->thread, NULL, run_thread, engine);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? GATE_OK : GATE_ESYSTEM;
}

static void fill_options(struct gate_loop_options *out, const struct gate_engine_options *options) {
    size_t events = options->queue_events_max, bytes = options->queue_bytes_max;
    if (!bytes)
        bytes = options->leave_when_full ? GATE_QUEUE_LEAVE_BYTES_MAX : GATE_QUEUE_BYTES_MAX;
    int64_t reserve = options->identify_reserve;
    *out =
        (struct gate_loop_options){.transport = {.ca_file = options->ca_file,
                                                 .insecure_tls = options->insecure_tls,
                                                 .proxy = options->proxy,
                                                 .user_agent = options->user_agent},
                                   .events = {.count_max = events ? events : GATE_QUEUE_EVENTS_MAX,
                                              .bytes_max = bytes,
                                              .notes_max = GATE_QUEUE_NOTES_MAX,
                                              .quiet_max = GATE_QUEUE_QUIET_MAX,
                                              .batch_max = GATE_QUEUE_BATCH_MAX},
                                   .loose = options->drop_events,
                                   .leave_when_full = options->leave_when_full,
                                   .concurrency = options->concurrency,
                                   .coordinated = options->coordinated,
                                   .identify_reserve = reserve < 0 ? GATE_QUOTA_RESERVE : reserve};
}

static int fill_engine(struct gate_engine *engine, const struct gate_engine_options *options,
                       const char **detail) {
    struct gate_loop_options loop_options;
    int error;
    engine->goodbye = gate_command_new(GATE_COMMAND_END, -1);
    if (!engine->goodbye) return GATE_EMEMORY;
    *detail = "no descriptor to be had";
    if (gate_bell_init(&engine->done) < 0) return GATE_ESYSTEM;
    fill_options(&loop_options, options);
    engine->loop = gate_loop_new(&loop_options, &error, detail);
    if (!engine->loop) return error;
    /* OpenSSL has registered its own handler by now. */
    pthread_once(&prepared, prepare_process);
    engine->generation = forks;
    *detail = "no thread to be had";
    return start_thread(engine);
}

static void free_engine(struct gate_engine *engine) {
    if (engine->goodbye) gate_command_del(engine->goodbye);
    gate_loop_del(engine->loop);
    gate_bell_free(&engine->done);
    gate_inbox_free(&engine->inbox);
    gate_allocate(engine, 0);
}

struct gate_engine *gate_engine_new(const struct gate_engine_options *options, int *error,
                                    const char **detail) {
    struct gate_engine *engine = gate_allocate(NULL, sizeof *engine);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!engine) return NULL;
    *engine = (struct gate_engine){.done = {-1, -1}};
    *error = fill_engine(engine, options, detail);
    if (*error < 0) {
        free_engine(engine);
        return NULL;
    }
    enlist(engine);
    return engine;
}

/* A thread that does not end in time is left to itself with everything it may touch. */
void gate_engine_del(struct gate_engine *engine, int code) {
    if (!engine || is_foreign(engine)) return;
    delist(engine);
    ask_end(engine, code);
    if (gate_bell_wait(&engine->done, GATE_STOP_TIMEOUT_MS)) {
        join_thread(engine);
        free_engine(engine);
    } else {
        pthread_detach(engine->thread);
    }
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* Takes `command`, whatever comes of it. */
static int push(struct gate_engine *engine, struct gate_command *command) {
    command->node.bytes += sizeof *command + command->bytes.capacity;
    int rc = is_foreign(engine) ? GATE_EFORK : gate_loop_push(engine->loop, command);
    if (rc < 0) gate_command_del(command);
    return rc;
}

/* Copies what the spans show into `bytes` and lets them show the copy. The room is made first, so
 * that nothing moves while it is filled. */
static int keep_spans(struct gate_buf *bytes, struct gate_span *const spans[], size_t count) {
    size_t total = 1;
    for (size_t i = 0; i < count; i++) total += spans[i]->len;
    int rc = gate_buf_reserve(bytes, total);
    for (size_t i = 0; rc == GATE_OK && i < count; i++) {
        size_t at = bytes->len;
        rc = gate_buf_append(bytes, *spans[i]);
        spans[i]->data = bytes->data + at;
    }
    return rc;
}

static int push_start(struct gate_engine *engine, struct gate_command *command) {
    int id = command->shard_id;
    const struct gate_codec *codec = command->options.codec ? command->options.codec : &gate_json;
    int rc = gate_board_expect(gate_loop_board(engine->loop), id, codec);
    if (rc < 0) {
        gate_command_del(command);
        return rc;
    }
    rc = push(engine, command);
    if (rc < 0) gate_board_arrived(gate_loop_board(engine->loop), id);
    return rc;
}

/* Keeps a copy of what the options show, with the command that carries them. */
static int keep_options(struct gate_command *command, const struct gate_options *options) {
    struct gate_options *kept = &command->options;
    *kept = *options;
    struct gate_span *const spans[] = {&kept->token,      &kept->url,        &kept->presence,
                                       &kept->os,         &kept->browser,    &kept->device,
                                       &kept->session_id, &kept->session_url};
    return keep_spans(&command->bytes, spans, sizeof spans / sizeof spans[0]);
}

int gate_engine_start(struct gate_engine *engine, const struct gate_options *options) {
    if (is_foreign(engine)) return GATE_EFORK;
    struct gate_command *command = gate_command_new(GATE_COMMAND_START, options->shard_id);
    if (!command) return GATE_EMEMORY;
    int rc = keep_options(command, options);
    if (rc == GATE_OK) return push_start(engine, command);
    gate_command_del(command);
    return rc;
}

/* What the last turn of the loop knew; a shard whose start is on its way counts as running. */
static bool is_running(struct gate_engine *engine, int shard_id) {
    struct gate_snapshot snapshot;
    if (!gate_board_read(gate_loop_board(engine->loop), shard_id, &snapshot)) return false;
    return snapshot.starting > 0 ||
           (snapshot.status.state != GATE_STATE_IDLE && snapshot.status.state != GATE_STATE_DEAD);
}

const struct gate_codec *gate_engine_codec(struct gate_engine *engine, int shard_id) {
    struct gate_snapshot snapshot;
    if (is_foreign(engine)) return &gate_json;
    bool known = gate_board_read(gate_loop_board(engine->loop), shard_id, &snapshot);
    return known && snapshot.codec ? snapshot.codec : &gate_json;
}

/* Takes `take` when it returns 0. */
static int push_bytes(struct gate_engine *engine, enum gate_command_type type, int shard_id,
                      struct gate_buf *take) {
    if (is_foreign(engine)) return GATE_EFORK;
    struct gate_command *command = gate_command_new(type, shard_id);
    if (!command) return GATE_EMEMORY;
    struct gate_buf kept = *take;
    command->bytes = kept;
    command->node.bytes = sizeof *command + kept.capacity;
    int rc = gate_loop_push(engine->loop, command);
    if (rc == GATE_OK) {
        gate_buf_init(take, kept.headroom_bytes, kept.len_max);
        return GATE_OK;
    }
    gate_buf_init(&command->bytes, 0, 0); /* it stays the caller's */
    gate_command_del(command);
    return rc;
}

int gate_engine_send(struct gate_engine *engine, int shard_id, struct gate_buf *take) {
    if (is_foreign(engine)) return GATE_EFORK;
    if (take->len > GATE_PAYLOAD_BYTES_MAX) return GATE_EPAYLOAD;
    if (take->headroom_bytes < GATE_HEADROOM_BYTES) return GATE_EUSAGE;
    if (!is_running(engine, shard_id)) return GATE_ECLOSED;
    return push_bytes(engine, GATE_COMMAND_SEND, shard_id, take);
}

int gate_engine_interest(struct gate_engine *engine, int shard_id, struct gate_interest *take) {
    if (is_foreign(engine)) return GATE_EFORK;
    struct gate_command *command = gate_command_new(GATE_COMMAND_INTEREST, shard_id);
    if (!command) return GATE_EMEMORY;
    struct gate_interest kept = *take;
    command->interest = kept;
    command->node.bytes = sizeof *command + kept.names.capacity;
    int rc = gate_loop_push(engine->loop, command);
    if (rc == GATE_OK) {
        gate_buf_init(&take->names, kept.names.headroom_bytes, kept.names.len_max);
        return GATE_OK;
    }
    gate_buf_init(&command->interest.names, 0, 0);
    gate_command_del(command);
    return rc;
}

static int push_verb(struct gate_engine *engine, enum gate_command_type type, int shard_id,
                     int code, struct gate_span reason) {
    struct gate_command *command = gate_command_new(type, shard_id);
    if (!command) return GATE_EMEMORY;
    command->number = code;
    if (reason.len > GATE_REASON_BYTES_MAX) reason.len = GATE_REASON_BYTES_MAX;
    int rc = gate_buf_append(&command->bytes, reason);
    if (rc == GATE_OK) return push(engine, command);
    gate_command_del(command);
    return rc;
}

int gate_engine_stop_shard(struct gate_engine *engine, int shard_id, int code,
                           struct gate_span reason) {
    return push_verb(engine, GATE_COMMAND_STOP_SHARD, shard_id, code, reason);
}

int gate_engine_reconnect(struct gate_engine *engine, int shard_id, int code,
                          struct gate_span reason) {
    return push_verb(engine, GATE_COMMAND_RECONNECT, shard_id, code, reason);
}

int gate_engine_turn(struct gate_engine *engine, int shard_id, int64_t number) {
    struct gate_command *command = gate_command_new(GATE_COMMAND_TURN, shard_id);
    if (!command) return GATE_EMEMORY;
    command->turn_number = number;
    return push(engine, command);
}

int gate_engine_identify(struct gate_engine *engine, int shard_id,
                         const struct gate_options *wanted) {
    struct gate_command *command = gate_command_new(GATE_COMMAND_IDENTIFY, shard_id);
    if (!command) return GATE_EMEMORY;
    int rc = wanted ? keep_options(command, wanted) : GATE_OK;
    if (rc == GATE_OK) return push(engine, command);
    gate_command_del(command);
    return rc;
}

static int push_plain(struct gate_engine *engine, enum gate_command_type type, int shard_id) {
    struct gate_command *command = gate_command_new(type, shard_id);
    return command ? push(engine, command) : GATE_EMEMORY;
}

int gate_engine_resume(struct gate_engine *engine, int shard_id) {
    return push_plain(engine, GATE_COMMAND_RESUME, shard_id);
}

int gate_engine_beat(struct gate_engine *engine, int shard_id) {
    return push_plain(engine, GATE_COMMAND_BEAT, shard_id);
}

int gate_engine_receive(struct gate_engine *engine, int shard_id, struct gate_buf *take) {
    const struct gate_codec *codec = gate_engine_codec(engine, shard_id);
    struct gate_envelope envelope;
    int rc = gate_transcode_packet(codec, take);
    if (rc == GATE_OK) rc = codec->scan(gate_buf_span(take), &envelope);
    if (rc < 0) return rc;
    return push_bytes(engine, GATE_COMMAND_RECEIVE, shard_id, take);
}

int gate_engine_concurrency(struct gate_engine *engine, int concurrency) {
    int least = concurrency < 1 ? 1 : concurrency;
    int number = least > GATE_CONCURRENCY_MAX ? GATE_CONCURRENCY_MAX : least;
    return push_verb(engine, GATE_COMMAND_CONCURRENCY, -1, number, (struct gate_span){"", 0});
}

int gate_engine_request(struct gate_engine *engine, const struct gate_request *request) {
    if (is_foreign(engine)) return GATE_EFORK;
    struct gate_command *command = gate_command_new(GATE_COMMAND_REQUEST, -1);
    if (!command) return GATE_EMEMORY;
    struct gate_request *kept = &command->request;
    struct gate_span method = {request->method, strlen(request->method) + 1};
    *kept = *request;
    struct gate_span *const spans[] = {&method, &kept->url, &kept->authorization,
                                       &kept->content_type, &kept->body};
    int rc = keep_spans(&command->bytes, spans, sizeof spans / sizeof spans[0]);
    kept->method = method.data;
    if (rc == GATE_OK) return push(engine, command);
    gate_command_del(command);
    return rc;
}

/* ---- Events and numbers ---------------------------------------------------------------------- */

bool gate_engine_next(struct gate_engine *engine, struct gate_event *event) {
    bool drained;
    if (is_foreign(engine)) return false;
    bool found = gate_inbox_next(&engine->inbox, gate_loop_events(engine->loop), event, &drained);
    if (drained) gate_loop_wake(engine->loop);
    return found;
}

int gate_engine_fd(const struct gate_engine *engine) {
    return gate_loop_events(engine->loop)->bell.read_fd;
}

int gate_engine_status(struct gate_engine *engine, int shard_id, struct gate_status *out) {
    struct gate_snapshot snapshot;
    if (is_foreign(engine)) return GATE_EFORK;
    if (!gate_board_read(gate_loop_board(engine->loop), shard_id, &snapshot)) return GATE_EUSAGE;
    *out = snapshot.status;
    return GATE_OK;
}

void gate_engine_counts(struct gate_engine *engine, struct gate_engine_counts *out) {
    struct gate_queue_counts counts;
    uint64_t dropped = 0;
    memset(out, 0, sizeof *out);
    if (is_foreign(engine)) return;
    gate_queue_count(gate_loop_events(engine->loop), &counts);
    for (size_t i = 0; i < GATE_DROP_EVENTS_MAX; i++) dropped += counts.dropped[i];
    const struct gate_inbox *inbox = &engine->inbox;
    int64_t oldest_at_ms = inbox->first ? inbox->first->at_ms : counts.oldest_at_ms;
    int64_t lag_ms = oldest_at_ms < 0 ? 0 : gate_clock_ms() - oldest_at_ms;
    *out = (struct gate_engine_counts){.queue_events = counts.count + inbox->count,
                                       .queue_bytes = counts.bytes + inbox->bytes,
                                       .queue_events_peak = counts.count_peak,
                                       .queue_bytes_peak = counts.bytes_peak,
                                       .events_out = counts.popped - inbox->waiting,
                                       .events_dropped = dropped,
                                       .notes_dropped = counts.notes_dropped,
                                       .pauses = counts.filled,
                                       .lag_ms = lag_ms,
                                       .paused = counts.level != GATE_LEVEL_FREE};
    gate_board_read_crowd(gate_loop_board(engine->loop), &out->handshakes);
}

bool gate_engine_dropped(struct gate_engine *engine, uint32_t at, struct gate_span *name,
                         uint64_t *count) {
    struct gate_queue_counts counts;
    if (is_foreign(engine) || !gate_loop_loose(engine->loop, at, name)) return false;
    gate_queue_count(gate_loop_events(engine->loop), &counts);
    *count = counts.dropped[at];
    return true;
}

bool gate_engine_census(struct gate_engine *engine, uint32_t at, struct gate_census_entry *out) {
    return !is_foreign(engine) && gate_census_read(gate_loop_census(engine->loop), at, out);
}

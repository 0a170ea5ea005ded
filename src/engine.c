/* engine.c - see engine.h. It carries things over to the I/O threads, which are crew.c's; what such
 * a thread does is in loop.c.
 *
 * Ending must work from every side: gate_engine_del by hand, a collection or lua_close, exit()
 * while the threads run, a fork that copies an engine whose threads do not exist. All engines of
 * the process stand in one list for that. Its lock covers the list, and the making of threads:
 * neither a fork nor an end comes in between. */
#include "engine.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"
#include "tls.h"
#include "transcode.h"
#include "window.h"

struct gate_engine {
    struct gate_engine *next; /* in the list, under its lock */
    unsigned generation;      /* of the process: see `forks` */
    struct gate_crew *crew;
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
    gate_tls_forget();
    pthread_mutex_unlock(&list_lock);
}

static bool is_foreign(const struct gate_engine *engine) {
    return engine->generation != forks;
}

/* exit() runs this before OpenSSL takes itself apart, as it was registered later. Sessions are
 * kept. Nothing is freed: threads of the host program may be anywhere. */
static void end_all(void) {
    int64_t until_ms = gate_clock_ms() + GATE_STOP_TIMEOUT_MS;
    lock_list();
    for (struct gate_engine *engine = list; engine; engine = engine->next)
        gate_crew_end(engine->crew, GATE_CLOSE_KEEP);
    for (struct gate_engine *engine = list; engine; engine = engine->next)
        (void)gate_crew_wait(engine->crew, until_ms);
    unlock_list();
}

void gate_engine_pin(void) {
    static const char anchor;
    Dl_info info;
    if (dladdr(&anchor, &info) != 0 && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

static void prepare_process(void) {
    gate_engine_pin();
    pthread_atfork(lock_list, unlock_list, forget_parent);
    atexit(end_all);
}

static void delist(struct gate_engine *engine) {
    lock_list();
    struct gate_engine **at = &list;
    while (*at && *at != engine) at = &(*at)->next;
    if (*at) *at = engine->next;
    unlock_list();
}

/* ---- Start and end --------------------------------------------------------------------------- */

static struct gate_crew_options crew_options(const struct gate_engine_options *options) {
    size_t events = options->queue_events_max, bytes = options->queue_bytes_max;
    if (!bytes)
        bytes = options->leave_when_full ? GATE_QUEUE_LEAVE_BYTES_MAX : GATE_QUEUE_BYTES_MAX;
    int64_t reserve = options->identify_reserve;
    return (struct gate_crew_options){
        .ca_file = options->ca_file,
        .insecure_tls = options->insecure_tls,
        .proxy = options->proxy,
        .user_agent = options->user_agent,
        .events = {.count_max = events ? events : GATE_QUEUE_EVENTS_MAX,
                   .bytes_max = bytes,
                   .notes_max = GATE_QUEUE_NOTES_MAX,
                   .quiet_max = GATE_QUEUE_QUIET_MAX,
                   .batch_max = GATE_QUEUE_BATCH_MAX},
        .loose = options->drop_events,
        .leave_when_full = options->leave_when_full,
        .concurrency = options->concurrency,
        .coordinated = options->coordinated,
        .identify_reserve = reserve < 0 ? GATE_QUOTA_RESERVE : reserve,
        .thread_shards = options->thread_shards};
}

struct gate_engine *gate_engine_new(const struct gate_engine_options *options, int *error,
                                    const char **detail) {
    struct gate_crew_options wanted = crew_options(options);
    struct gate_engine *engine = gate_allocate(NULL, sizeof *engine);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!engine) return NULL;
    lock_list();
    *engine = (struct gate_engine){.next = list, .crew = gate_crew_new(&wanted, error, detail)};
    engine->generation = forks;
    if (engine->crew) list = engine;
    unlock_list();
    /* OpenSSL has registered its own handler by now. */
    pthread_once(&prepared, prepare_process);
    if (engine->crew) return engine;
    gate_allocate(engine, 0);
    return NULL;
}

/* A thread that does not end in time is left to itself with everything it may touch. */
void gate_engine_del(struct gate_engine *engine, int code) {
    if (!engine || is_foreign(engine)) return;
    int64_t until_ms = gate_clock_ms() + GATE_STOP_TIMEOUT_MS;
    delist(engine);
    gate_crew_end(engine->crew, code);
    if (!gate_crew_wait(engine->crew, until_ms)) {
        gate_crew_abandon(engine->crew);
        return;
    }
    gate_crew_del(engine->crew);
    gate_inbox_free(&engine->inbox);
    gate_allocate(engine, 0);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static struct gate_loop *loop_of(struct gate_engine *engine, const struct gate_command *command) {
    return gate_crew_find(engine->crew, command->shard_id);
}

static struct gate_board *board_of(struct gate_engine *engine) {
    return &gate_crew_commons(engine->crew)->board;
}

static struct gate_hall *hall_of(struct gate_engine *engine) {
    return &gate_crew_commons(engine->crew)->hall;
}

static struct gate_queue *events_of(const struct gate_engine *engine) {
    return &gate_crew_commons(engine->crew)->mail.queue;
}

/* Takes `command`, whatever comes of it. */
static int push(struct gate_engine *engine, struct gate_command *command) {
    command->node.bytes += sizeof *command + command->bytes.capacity;
    int rc = is_foreign(engine) ? GATE_EFORK : gate_loop_push(loop_of(engine, command), command);
    if (rc < 0) gate_command_del(command);
    return rc;
}

/* A shard that is mentioned for the first time gets its thread. */
static int place(struct gate_engine *engine, int shard_id) {
    int error;
    lock_list();
    bool placed = gate_crew_place(engine->crew, shard_id, &error) != NULL;
    unlock_list();
    return placed ? GATE_OK : error;
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

static int expect(struct gate_engine *engine, int shard_id, const struct gate_codec *codec) {
    int rc = gate_board_expect(board_of(engine), shard_id, codec);
    if (rc < 0) return rc;
    rc = gate_hall_expect(hall_of(engine), shard_id);
    if (rc < 0) gate_board_arrived(board_of(engine), shard_id);
    return rc;
}

static int push_start(struct gate_engine *engine, struct gate_command *command) {
    int id = command->shard_id;
    const struct gate_codec *codec = command->options.codec ? command->options.codec : &gate_json;
    int rc = place(engine, id);
    if (rc == GATE_OK) rc = expect(engine, id, codec);
    if (rc < 0) {
        gate_command_del(command);
        return rc;
    }
    rc = push(engine, command);
    if (rc == GATE_OK) return rc;
    gate_hall_came(hall_of(engine), id, NULL, NULL, gate_clock_ms());
    gate_board_arrived(board_of(engine), id);
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
    if (!gate_board_read(board_of(engine), shard_id, &snapshot)) return false;
    return snapshot.starting > 0 ||
           (snapshot.status.state != GATE_STATE_IDLE && snapshot.status.state != GATE_STATE_DEAD);
}

const struct gate_codec *gate_engine_codec(struct gate_engine *engine, int shard_id) {
    struct gate_snapshot snapshot;
    if (is_foreign(engine)) return &gate_json;
    bool known = gate_board_read(board_of(engine), shard_id, &snapshot);
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
    int rc = gate_loop_push(loop_of(engine, command), command);
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
    int rc = place(engine, shard_id);
    if (rc < 0) return rc;
    struct gate_command *command = gate_command_new(GATE_COMMAND_INTEREST, shard_id);
    if (!command) return GATE_EMEMORY;
    struct gate_interest kept = *take;
    command->interest = kept;
    command->node.bytes = sizeof *command + kept.names.capacity;
    rc = gate_loop_push(loop_of(engine, command), command);
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
    if (is_foreign(engine)) return GATE_EFORK;
    gate_hall_resize(hall_of(engine), gate_clock_ms(), concurrency);
    gate_crew_wake(engine->crew);
    return GATE_OK;
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
    bool found = gate_inbox_next(&engine->inbox, events_of(engine), event, &drained);
    if (drained) gate_crew_wake(engine->crew);
    return found;
}

int gate_engine_fd(const struct gate_engine *engine) {
    return events_of(engine)->bell.read_fd;
}

int gate_engine_status(struct gate_engine *engine, int shard_id, struct gate_status *out) {
    struct gate_snapshot snapshot;
    if (is_foreign(engine)) return GATE_EFORK;
    if (!gate_board_read(board_of(engine), shard_id, &snapshot)) return GATE_EUSAGE;
    *out = snapshot.status;
    return GATE_OK;
}

void gate_engine_counts(struct gate_engine *engine, struct gate_engine_counts *out) {
    struct gate_queue_counts counts;
    uint64_t dropped = 0;
    memset(out, 0, sizeof *out);
    if (is_foreign(engine)) return;
    gate_queue_count(events_of(engine), &counts);
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
    gate_hall_crowd(&gate_crew_commons(engine->crew)->hall, &out->handshakes);
}

bool gate_engine_dropped(struct gate_engine *engine, uint32_t at, struct gate_span *name,
                         uint64_t *count) {
    struct gate_queue_counts counts;
    if (is_foreign(engine)) return false;
    if (!gate_mail_loose(&gate_crew_commons(engine->crew)->mail, at, name)) return false;
    gate_queue_count(events_of(engine), &counts);
    *count = counts.dropped[at];
    return true;
}

bool gate_engine_census(struct gate_engine *engine, struct gate_census_walk *at,
                        struct gate_census_entry *out) {
    return !is_foreign(engine) && gate_crew_census(engine->crew, at, out);
}

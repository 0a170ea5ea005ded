/* crew.c - see crew.h. The first thread serves a bot of a few shards alone, and HTTP requests.
 *
 * poll() looks at every connection of its thread at each wake, which for a thousand of them takes
 * 2 ms of CPU a wake; so there is a thread for each GATE_THREAD_SHARDS_MAX of them. A shard stays
 * where it is: its events come in order because one thread writes them. */
#include "crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "tls.h"
#include "window.h"

struct worker {
    struct gate_loop *loop;
    struct gate_command *goodbye; /* made at the start: ending must not need memory; NULL: said */
    struct gate_bell done;        /* rings when the thread has nothing left to do */
    pthread_t thread;
    bool joined;
    size_t shards;
};

struct berth {    /* where a shard is */
    int shard_id; /* first, as its row wants it */
    struct worker *worker;
};

struct gate_crew {
    struct gate_commons commons;
    struct gate_loop_options options; /* for every loop; strings lie in `words` */
    struct gate_buf words;
    struct gate_tls *tls;
    size_t thread_shards;
    struct gate_row berths;

    /* A worker is complete before it is counted, and stays; any thread may look. */
    struct worker *workers[GATE_THREADS_MAX];
    atomic_size_t count;
};

static size_t count_workers(const struct gate_crew *crew) {
    return atomic_load_explicit(&crew->count, memory_order_acquire);
}

/* ---- One thread ------------------------------------------------------------------------------ */

static void *run_thread(void *argument) {
    struct worker *worker = argument;
    gate_loop_run(worker->loop);
    gate_bell_ring(&worker->done);
    return NULL;
}

/* All signals are blocked before the thread exists, so that none is ever delivered to it. */
static int start_thread(struct worker *worker) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&worker->thread, NULL, run_thread, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? GATE_OK : GATE_ESYSTEM;
}

static void free_worker(struct worker *worker) {
    if (worker->goodbye) gate_command_del(worker->goodbye);
    gate_loop_del(worker->loop);
    gate_bell_free(&worker->done);
    gate_allocate(worker, 0);
}

static int fill_worker(struct gate_crew *crew, struct worker *worker, const char **detail) {
    int error;
    worker->goodbye = gate_command_new(GATE_COMMAND_END, -1);
    if (!worker->goodbye) return GATE_EMEMORY;
    *detail = "no descriptor to be had";
    if (gate_bell_init(&worker->done) < 0) return GATE_ESYSTEM;
    worker->loop = gate_loop_new(&crew->options, &error, detail);
    if (!worker->loop) return error;
    *detail = "no thread to be had";
    return start_thread(worker);
}

static struct worker *add_worker(struct gate_crew *crew, int *error, const char **detail) {
    size_t count = count_workers(crew);
    *error = GATE_ESYSTEM;
    if (count == GATE_THREADS_MAX) return NULL;
    struct worker *worker = gate_allocate(NULL, sizeof *worker);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!worker) return NULL;
    *worker = (struct worker){.done = {-1, -1}};
    *error = fill_worker(crew, worker, detail);
    if (*error < 0) {
        free_worker(worker);
        return NULL;
    }
    crew->workers[count] = worker;
    atomic_store_explicit(&crew->count, count + 1, memory_order_release);
    return worker;
}

/* ---- The crew -------------------------------------------------------------------------------- */

static void wake_loop(void *loop) {
    gate_loop_wake(loop);
}

/* Called by the thread that finds the queue full: the others are to stop reading, too. */
static void wake_others(void *owner, const struct gate_loop *but) {
    struct gate_crew *crew = owner;
    for (size_t i = 0; i < count_workers(crew); i++)
        if (crew->workers[i]->loop != but) gate_loop_wake(crew->workers[i]->loop);
}

void gate_crew_wake(struct gate_crew *crew) {
    wake_others(crew, NULL);
}

/* On failure nothing of it needs a free. */
static int init_commons(struct gate_commons *commons, const struct gate_crew_options *options) {
    int rc = gate_mail_init(&commons->mail, &options->events, options->loose);
    if (rc < 0) return rc;
    rc = gate_board_init(&commons->board);
    if (rc == GATE_OK) {
        rc = gate_hall_init(&commons->hall, options->concurrency, GATE_HANDSHAKES_MAX, wake_loop);
        if (rc == GATE_OK) return rc;
        gate_board_free(&commons->board);
    }
    gate_mail_free(&commons->mail);
    return rc;
}

/* What its shards hold of the identify windows is free. */
static void free_commons(struct gate_commons *commons) {
    gate_window_leave(&commons->hall, gate_clock_ms());
    gate_hall_free(&commons->hall);
    gate_board_free(&commons->board);
    gate_mail_free(&commons->mail);
}

/* A copy with its NUL, in room that is there already. */
static const char *keep_word(struct gate_buf *words, const char *text) {
    size_t at = words->len;
    if (!text) return NULL;
    int rc = gate_buf_append(words, (struct gate_span){text, strlen(text) + 1});
    return rc == GATE_OK ? words->data + at : NULL;
}

static size_t word_bytes(const char *text) {
    return text ? strlen(text) + 1 : 0;
}

static int fill_crew(struct gate_crew *crew, const struct gate_crew_options *options,
                     const char **detail) {
    int error;
    size_t bytes = word_bytes(options->proxy) + word_bytes(options->user_agent);
    int rc = gate_buf_reserve(&crew->words, bytes + 1);
    if (rc < 0) return rc;
    crew->tls = gate_tls_open(options->ca_file, options->insecure_tls, &error, detail);
    if (!crew->tls) return error;
    crew->options = (struct gate_loop_options){
        .transport = {.tls = crew->tls,
                      .insecure_tls = options->insecure_tls,
                      .proxy = keep_word(&crew->words, options->proxy),
                      .user_agent = keep_word(&crew->words, options->user_agent)},
        .commons = &crew->commons,
        .leave_when_full = options->leave_when_full,
        .identify_reserve = options->identify_reserve,
        .coordinated = options->coordinated,
        .tell_full = wake_others,
        .owner = crew};
    return add_worker(crew, &error, detail) ? GATE_OK : error;
}

struct gate_crew *gate_crew_new(const struct gate_crew_options *options, int *error,
                                const char **detail) {
    struct gate_crew *crew = gate_allocate(NULL, sizeof *crew);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!crew) return NULL;
    memset(crew, 0, sizeof *crew);
    gate_buf_init(&crew->words, 0, 0);
    atomic_init(&crew->count, 0);
    crew->thread_shards = options->thread_shards ? options->thread_shards : GATE_THREAD_SHARDS_MAX;
    *error = init_commons(&crew->commons, options);
    if (*error == GATE_ESYSTEM) *detail = "no descriptor for the event queue";
    if (*error < 0) {
        gate_allocate(crew, 0);
        return NULL;
    }
    *error = fill_crew(crew, options, detail);
    if (*error == GATE_OK) return crew;
    gate_crew_del(crew);
    return NULL;
}

/* The proxy may have a password. */
void gate_crew_del(struct gate_crew *crew) {
    if (!crew) return;
    for (size_t i = 0; i < count_workers(crew); i++) free_worker(crew->workers[i]);
    for (size_t i = 0; i < crew->berths.count; i++) gate_allocate(crew->berths.items[i], 0);
    gate_row_free(&crew->berths);
    free_commons(&crew->commons);
    gate_tls_close(crew->tls);
    gate_buf_wipe(&crew->words);
    gate_buf_free(&crew->words);
    gate_allocate(crew, 0);
}

/* ---- Shards ---------------------------------------------------------------------------------- */

static struct worker *find_room(struct gate_crew *crew) {
    for (size_t i = 0; i < count_workers(crew); i++)
        if (crew->workers[i]->shards < crew->thread_shards) return crew->workers[i];
    return NULL;
}

struct gate_loop *gate_crew_place(struct gate_crew *crew, int shard_id, int *error) {
    struct berth *berth = gate_row_find(&crew->berths, shard_id);
    const char *detail;
    if (berth) return berth->worker->loop;
    struct worker *worker = find_room(crew);
    if (!worker) worker = add_worker(crew, error, &detail);
    if (!worker) return NULL;
    *error = GATE_EMEMORY;
    berth = gate_allocate(NULL, sizeof *berth);
    if (!berth) return NULL;
    *berth = (struct berth){.shard_id = shard_id, .worker = worker};
    if (gate_row_add(&crew->berths, berth) < 0) {
        gate_allocate(berth, 0);
        return NULL;
    }
    worker->shards++;
    return worker->loop;
}

struct gate_loop *gate_crew_find(const struct gate_crew *crew, int shard_id) {
    const struct berth *berth = gate_row_find(&crew->berths, shard_id);
    return berth ? berth->worker->loop : gate_crew_first(crew);
}

struct gate_loop *gate_crew_first(const struct gate_crew *crew) {
    return crew->workers[0]->loop;
}

struct gate_commons *gate_crew_commons(struct gate_crew *crew) {
    return &crew->commons;
}

bool gate_crew_census(const struct gate_crew *crew, struct gate_census_walk *at,
                      struct gate_census_entry *out) {
    size_t count = count_workers(crew);
    while (at->census < count &&
           !gate_census_read(gate_loop_census(crew->workers[at->census]->loop), at->row, out))
        *at = (struct gate_census_walk){.census = at->census + 1};
    at->row++;
    return at->census < count;
}

/* ---- The end --------------------------------------------------------------------------------- */

void gate_crew_end(struct gate_crew *crew, int code) {
    for (size_t i = 0; i < count_workers(crew); i++) {
        struct worker *worker = crew->workers[i];
        struct gate_command *command = worker->goodbye;
        worker->goodbye = NULL;
        if (!command) continue;
        command->number = code;
        command->node.kind = GATE_NODE_VITAL; /* there is room for it whatever waits */
        if (gate_loop_push(worker->loop, command) < 0) gate_command_del(command);
    }
}

bool gate_crew_wait(struct gate_crew *crew, int64_t until_ms) {
    bool all = true;
    for (size_t i = 0; i < count_workers(crew); i++) {
        struct worker *worker = crew->workers[i];
        if (worker->joined) continue;
        bool done = gate_bell_wait(&worker->done, until_ms - gate_clock_ms());
        if (done) pthread_join(worker->thread, NULL);
        worker->joined = done;
        all = all && done;
    }
    return all;
}

void gate_crew_abandon(struct gate_crew *crew) {
    for (size_t i = 0; i < count_workers(crew); i++)
        if (!crew->workers[i]->joined) pthread_detach(crew->workers[i]->thread);
}

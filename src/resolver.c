/* resolver.c - see resolver.h.
 *
 * What is shared with the worker threads lives in a pool that counts its owners: the resolver and
 * each worker. Whoever leaves last frees it, so that a lookup which hangs for minutes holds nothing
 * up: not the resolver, not stop, not the exit of the process.
 *
 *   question --> job (one for each host) --> worker thread --> job done --> answers
 *
 * A worker takes jobs until none is left and ends. Questions, the cache and everything else belong
 * to the caller's thread and need no lock. */
#include "resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "buf.h"

#define CACHE_ENTRIES 8

enum job_state { JOB_PENDING, JOB_RUNNING, JOB_DONE };

struct job { /* under the pool's lock; `answer` belongs to the worker while it runs */
    struct job *next;
    enum job_state state;
    bool abandoned; /* a question has timed out on it: it answers nobody new */
    uint32_t askers;
    char host[GATE_HOST_BYTES_MAX + 1];
    struct gate_addresses answer;
};

struct pool {
    pthread_mutex_t lock; /* of everything below, and of all jobs */
    uint32_t owners;
    uint32_t workers;
    struct job *jobs;       /* oldest first */
    void (*wake)(void *to); /* NULL once the resolver is gone */
    void *to;
};

struct question {
    struct question *next;
    void *user;
    int64_t deadline_ms;
    struct job *job; /* NULL: `answer` is ready */
    struct gate_addresses answer;
};

struct entry {
    char host[GATE_HOST_BYTES_MAX + 1];
    int64_t until_ms;
    struct gate_addresses answer;
};

struct gate_resolver {
    struct pool *pool;
    struct question *questions; /* oldest first */
    struct entry cache[CACHE_ENTRIES];
    size_t cache_next;
};

/* ---- Lookups, on a worker thread ------------------------------------------------------------- */

static void fail(struct gate_addresses *out, int error, const char *detail) {
    *out = (struct gate_addresses){.error = error, .detail = detail};
}

static void take_family(const struct addrinfo *info, int family, struct gate_addresses *out) {
    for (; info && out->count < GATE_ADDRESSES_MAX; info = info->ai_next) {
        if (info->ai_family != family) continue;
        if (getnameinfo(info->ai_addr, info->ai_addrlen, out->list[out->count],
                        GATE_ADDRESS_TEXT_MAX, NULL, 0, NI_NUMERICHOST) == 0)
            out->count++;
    }
}

/* The families take turns, beginning with the one the system prefers, so that a dead IPv6 route
 * costs one attempt and not all of them. RFC 8305, 4. */
static void take_addresses(const struct addrinfo *info, struct gate_addresses *out) {
    struct gate_addresses one = {.error = 0}, other = {.error = 0};
    take_family(info, info->ai_family, &one);
    take_family(info, info->ai_family == AF_INET ? AF_INET6 : AF_INET, &other);
    *out = (struct gate_addresses){.error = 0};
    size_t a = 0, b = 0;
    while (out->count < GATE_ADDRESSES_MAX && (a < one.count || b < other.count)) {
        bool from_one = a < one.count && (a <= b || b == other.count);
        const char *text = from_one ? one.list[a++] : other.list[b++];
        memcpy(out->list[out->count++], text, GATE_ADDRESS_TEXT_MAX);
    }
    if (out->count == 0) fail(out, GATE_ERESOLVE, "the name has no address");
}

static void look_up(const char *host, struct gate_addresses *out) {
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *info = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &info);
    if (rc == 0)
        take_addresses(info, out);
    else
        fail(out, GATE_ERESOLVE, gai_strerror(rc));
    if (info) freeaddrinfo(info);
}

static void (*lookup)(const char *host, struct gate_addresses *out) = look_up;

void gate_resolver_hook(void (*hook)(const char *host, struct gate_addresses *out)) {
    lookup = hook ? hook : look_up;
}

/* ---- The pool -------------------------------------------------------------------------------- */

/* Unlocks, and frees the pool when nobody else owns it. */
static void leave_pool(struct pool *pool) {
    bool last = --pool->owners == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!last) return;
    while (pool->jobs) {
        struct job *job = pool->jobs;
        pool->jobs = job->next;
        gate_allocate(job, 0);
    }
    pthread_mutex_destroy(&pool->lock);
    gate_allocate(pool, 0);
}

static void unlink_job(struct pool *pool, const struct job *job) {
    struct job **at = &pool->jobs;
    while (*at != job) at = &(*at)->next;
    *at = job->next;
}

static struct job *find_pending(const struct pool *pool) {
    struct job *job = pool->jobs;
    while (job && job->state != JOB_PENDING) job = job->next;
    return job;
}

/* Called and left with the lock held, which is not held in between. */
static void run_job(struct pool *pool, struct job *job) {
    job->state = JOB_RUNNING;
    pthread_mutex_unlock(&pool->lock);
    lookup(job->host, &job->answer);
    pthread_mutex_lock(&pool->lock);
    job->state = JOB_DONE;
    if (job->askers == 0) {
        unlink_job(pool, job);
        gate_allocate(job, 0);
    } else if (pool->wake) {
        pool->wake(pool->to);
    }
}

static void *work(void *argument) {
    struct pool *pool = argument;
    struct job *job;
    pthread_mutex_lock(&pool->lock);
    while (pool->wake && (job = find_pending(pool)) != NULL) run_job(pool, job);
    pool->workers--;
    leave_pool(pool);
    return NULL;
}

/* Signals are for the threads of the host program: none is delivered to a worker. */
static bool spawn_thread(struct pool *pool) {
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t detached;
    if (pthread_attr_init(&detached) != 0) return false;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &detached, work, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return rc == 0;
}

/* A new job wants a worker of its own while there are few: a stuck one must not hold it up. With
 * the lock held. False: no worker exists that would ever take the job. */
static bool hire_worker(struct pool *pool) {
    if (pool->workers >= GATE_RESOLVE_WORKERS_MAX) return true;
    pool->workers++;
    pool->owners++;
    if (spawn_thread(pool)) return true;
    pool->workers--;
    pool->owners--;
    return pool->workers > 0;
}

static struct job *find_job(const struct pool *pool, const char *host) {
    struct job *job = pool->jobs;
    while (job && (job->abandoned || strcmp(job->host, host) != 0)) job = job->next;
    return job;
}

static struct job *add_job(struct pool *pool, const char *host) {
    struct job *job = gate_allocate(NULL, sizeof *job), **at = &pool->jobs;
    if (!job) return NULL;
    *job = (struct job){.state = JOB_PENDING};
    memcpy(job->host, host, strlen(host) + 1);
    while (*at) at = &(*at)->next;
    *at = job;
    if (hire_worker(pool)) return job;
    unlink_job(pool, job);
    gate_allocate(job, 0);
    return NULL;
}

/* A question lets go of its job; what is neither wanted nor running goes away. */
static void release_job(struct pool *pool, struct job *job) {
    if (--job->askers > 0 || job->state == JOB_RUNNING) return;
    unlink_job(pool, job);
    gate_allocate(job, 0);
}

/* ---- The caller's thread --------------------------------------------------------------------- */

struct gate_resolver *gate_resolver_new(void (*wake)(void *to), void *to) {
    struct gate_resolver *resolver = gate_allocate(NULL, sizeof *resolver);
    struct pool *pool = gate_allocate(NULL, sizeof *pool);
    if (resolver && pool) {
        *pool = (struct pool){.owners = 1, .wake = wake, .to = to};
        *resolver = (struct gate_resolver){.pool = pool};
        if (pthread_mutex_init(&pool->lock, NULL) == 0) return resolver;
    }
    gate_allocate(resolver, 0);
    gate_allocate(pool, 0);
    return NULL;
}

void gate_resolver_del(struct gate_resolver *resolver) {
    if (!resolver) return;
    struct pool *pool = resolver->pool;
    while (resolver->questions) gate_resolver_forget(resolver, resolver->questions->user);
    gate_allocate(resolver, 0);
    pthread_mutex_lock(&pool->lock);
    pool->wake = NULL;
    leave_pool(pool);
}

static bool is_numeric(const char *host) {
    unsigned char numeric[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, numeric) == 1 || inet_pton(AF_INET6, host, numeric) == 1 ||
           (strchr(host, ':') && strchr(host, '%'));
}

static const struct entry *find_cached(const struct gate_resolver *resolver, int64_t now_ms,
                                       const char *host) {
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        const struct entry *entry = &resolver->cache[i];
        if (entry->until_ms > now_ms && strcmp(entry->host, host) == 0) return entry;
    }
    return NULL;
}

/* Only what was found is remembered: a failure may be over the next second. */
static void remember(struct gate_resolver *resolver, int64_t now_ms, const struct job *job) {
    if (job->answer.error || find_cached(resolver, now_ms, job->host)) return;
    struct entry *entry = &resolver->cache[resolver->cache_next++ % CACHE_ENTRIES];
    memcpy(entry->host, job->host, sizeof entry->host);
    entry->until_ms = now_ms + GATE_RESOLVE_CACHE_MS;
    entry->answer = job->answer;
}

static struct job *join_job(struct pool *pool, const char *host) {
    pthread_mutex_lock(&pool->lock);
    struct job *job = find_job(pool, host);
    if (!job) job = add_job(pool, host);
    if (job) job->askers++;
    pthread_mutex_unlock(&pool->lock);
    return job;
}

/* Fills in the answer of what needs no lookup, or joins the job that does it. */
static void begin_question(struct gate_resolver *resolver, int64_t now_ms, const char *host,
                           struct question *question) {
    const struct entry *cached = find_cached(resolver, now_ms, host);
    size_t len = strlen(host);
    if (cached) {
        question->answer = cached->answer;
    } else if (is_numeric(host) && len < GATE_ADDRESS_TEXT_MAX) {
        question->answer.count = 1;
        memcpy(question->answer.list[0], host, len + 1);
    } else if (len > GATE_HOST_BYTES_MAX) {
        fail(&question->answer, GATE_ERESOLVE, "the name is over-long");
    } else {
        question->job = join_job(resolver->pool, host);
        if (!question->job) fail(&question->answer, GATE_ESYSTEM, "no thread to be had");
    }
}

int gate_resolver_ask(struct gate_resolver *resolver, int64_t now_ms, const char *host,
                      int64_t timeout_ms, void *user) {
    struct question *question = gate_allocate(NULL, sizeof *question);
    if (!question) return GATE_EMEMORY;
    *question = (struct question){.user = user, .deadline_ms = now_ms + timeout_ms};
    begin_question(resolver, now_ms, host, question);
    struct question **at = &resolver->questions;
    while (*at) at = &(*at)->next;
    *at = question;
    return GATE_OK;
}

static void drop_question(struct gate_resolver *resolver, struct question **at) {
    struct question *question = *at;
    struct pool *pool = resolver->pool;
    *at = question->next;
    if (question->job) {
        pthread_mutex_lock(&pool->lock);
        release_job(pool, question->job);
        pthread_mutex_unlock(&pool->lock);
    }
    gate_allocate(question, 0);
}

void gate_resolver_forget(struct gate_resolver *resolver, const void *user) {
    struct question **at = &resolver->questions;
    while (*at && (*at)->user != user) at = &(*at)->next;
    if (*at) drop_question(resolver, at);
}

/* Whether the question has its answer by now, which then is in it. */
static bool settle_question(struct gate_resolver *resolver, int64_t now_ms,
                            struct question *question) {
    struct pool *pool = resolver->pool;
    if (!question->job) return true;
    pthread_mutex_lock(&pool->lock);
    bool done = question->job->state == JOB_DONE, late = now_ms >= question->deadline_ms;
    if (done) {
        question->answer = question->job->answer;
        remember(resolver, now_ms, question->job);
    } else if (late) {
        fail(&question->answer, GATE_ETIMEOUT, "the name server did not answer in time");
        question->job->abandoned = true;
    }
    pthread_mutex_unlock(&pool->lock);
    return done || late;
}

bool gate_resolver_next(struct gate_resolver *resolver, int64_t now_ms, void **user,
                        struct gate_addresses *out) {
    struct question **at = &resolver->questions;
    while (*at && !settle_question(resolver, now_ms, *at)) at = &(*at)->next;
    if (!*at) return false;
    *user = (*at)->user;
    *out = (*at)->answer;
    drop_question(resolver, at);
    return true;
}

int64_t gate_resolver_deadline(struct gate_resolver *resolver) {
    int64_t nearest_ms = -1;
    for (const struct question *q = resolver->questions; q; q = q->next) {
        int64_t at_ms = q->job ? q->deadline_ms : 0;
        if (nearest_ms < 0 || at_ms < nearest_ms) nearest_ms = at_ms;
    }
    return nearest_ms;
}

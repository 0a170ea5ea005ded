/* crew.h - the I/O threads of one engine, each with a loop of its own: started as shards come, a
 * thread for so many of them; ended together. Called by engine.c, on the Lua thread but where it
 * says otherwise; what adds to the crew or ends it is called by one thread at a time. */
#ifndef MOONGATE_CREW_H
#define MOONGATE_CREW_H

#include "loop.h"

struct gate_crew;

struct gate_crew_options { /* strings are copied */
    const char *ca_file;   /* NULL: the system's store */
    bool insecure_tls;
    const char *proxy, *user_agent; /* as gate_transport_options */
    struct gate_queue_limits events;
    struct gate_span loose; /* names of events that may be dropped, each ended by a NUL */
    bool leave_when_full;
    int concurrency;
    int64_t identify_reserve;
    bool coordinated;
    size_t thread_shards; /* of one thread; 0: GATE_THREAD_SHARDS_MAX */
};

/* Starts the first thread. NULL and *error: as gate_transport_new, GATE_ECERTIFICATE. */
struct gate_crew *gate_crew_new(const struct gate_crew_options *options, int *error,
                                const char **detail);

/* When gate_crew_wait has been true. NULL is fine. */
void gate_crew_del(struct gate_crew *crew);

/* The loop of a shard, from now on and for good; a thread is started where those that run have
 * enough shards. NULL and *error: GATE_EMEMORY, GATE_ESYSTEM (no thread or descriptor to be had, or
 * GATE_THREADS_MAX run). */
struct gate_loop *gate_crew_place(struct gate_crew *crew, int shard_id, int *error);

/* The loop of a shard that has one, else the first, which serves those that nobody knows. */
struct gate_loop *gate_crew_find(const struct gate_crew *crew, int shard_id);
struct gate_loop *gate_crew_first(const struct gate_crew *crew);

/* Makes every thread look around: events have been taken out. */
void gate_crew_wake(struct gate_crew *crew);

/* What its loops share. */
struct gate_commons *gate_crew_commons(struct gate_crew *crew);

/* Dispatches by name: the next row of one thread after another; `at` is moved on. False: there are
 * no more. A name comes once a thread. */
bool gate_crew_census(const struct gate_crew *crew, struct gate_census_walk *at,
                      struct gate_census_entry *out);

/* Asks every thread to close what is open with `code`, and to end. Once. */
void gate_crew_end(struct gate_crew *crew, int code);

/* Waits until all have ended: true, or false at `until_ms`; those that have are joined. */
bool gate_crew_wait(struct gate_crew *crew, int64_t until_ms);

/* The threads that have not ended are left to themselves, with everything that they may touch. */
void gate_crew_abandon(struct gate_crew *crew);

#endif

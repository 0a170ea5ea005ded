/* budget.h - allowances: sends of one connection, and identify slots of all shards of a token.
 * gate_budget is called by session.c and belongs to a connection; gate_slots is called by the
 * engine on the I/O thread. Pure: `now_ms` is an argument. */
#ifndef MOONGATE_BUDGET_H
#define MOONGATE_BUDGET_H

#include "moongate.h"

/* A sliding window: at most GATE_SENDS_MAX sends in any GATE_SEND_WINDOW_MS. protocol: Rate
 * Limiting. */
struct gate_budget {
    int64_t sent_at_ms[GATE_SENDS_MAX]; /* ring of the last sends, oldest at `first` */
    uint32_t first, count;
    uint32_t reserved; /* places that only beats, identify and resume may use */
};

/* Nothing sent yet, the least reserved. */
void gate_budget_init(struct gate_budget *budget);

/* Keeps room for the beats of a window: ceil(window / interval) + 3, within the limits. */
void gate_budget_reserve(struct gate_budget *budget, int64_t interval_ms);

/* When the next send may leave: `now_ms` or earlier means now. `urgent`: may use reserved places.
 */
int64_t gate_budget_when(struct gate_budget *budget, int64_t now_ms, bool urgent);

/* Counts a send. A beat is counted even when the window is full: it is never held. */
void gate_budget_spend(struct gate_budget *budget, int64_t now_ms);

/* Identify slots: one identify a key (shard id modulo concurrency) in GATE_IDENTIFY_WINDOW_MS,
 * counted from the identify itself, and none before the one before is READY, failed, or out of its
 * lease. protocol: Sharding, max_concurrency. Within a key: first come, first served. */
struct gate_slot { /* embedded in whatever stands for a shard; owned by its embedder */
    struct gate_slot *next;
    int shard_id;
    int64_t number; /* of its place in line, the lowest first; 0: it is given one when it asks */
    bool queued;
};
struct gate_slots {
    int concurrency;
    int64_t numbers; /* that were given out */
    struct gate_slot_key {
        struct gate_slot *first, *last; /* waiting */
        int holder;                     /* shard id; -1: free */
        int64_t lease_ends_ms;          /* of the holder: from its grant, then from its identify */
        int64_t free_at_ms;             /* end of the window of the last identify */
    } keys[GATE_CONCURRENCY_MAX];
};

/* Every key free. `concurrency` is brought into 1 to GATE_CONCURRENCY_MAX. */
void gate_slots_init(struct gate_slots *slots, int concurrency);

/* Changes max_concurrency at run time; those who wait are queued anew, in order of shard id;
 * holders keep their lease under the new key where it is free. */
void gate_slots_resize(struct gate_slots *slots, int64_t now_ms, int concurrency);

/* A place in line for a shard that is going to ask: ahead of all who take theirs from now on. */
int64_t gate_slots_number(struct gate_slots *slots);

/* One shard: ask queues it, leave takes it out; spent tells of its Identify, done of READY, failure
 * or no need any more. */
void gate_slot_init(struct gate_slot *slot, int shard_id);
void gate_slots_ask(struct gate_slots *slots, struct gate_slot *slot); /* twice does nothing */
void gate_slots_leave(struct gate_slots *slots,
                      struct gate_slot *slot); /* before its embedder dies */
void gate_slots_spent(struct gate_slots *slots, int64_t now_ms, int shard_id);
void gate_slots_done(struct gate_slots *slots, int64_t now_ms, int shard_id);

/* The next shard that gets its slot now, or NULL. Call until NULL after every change. */
struct gate_slot *gate_slots_next(struct gate_slots *slots, int64_t now_ms);

/* The same in two steps, for whoever may not give it to everybody: when the first in line under
 * `key` may have it (-1: nobody waits), and giving it to that first one. */
int64_t gate_slots_opens(const struct gate_slots *slots, int key);
struct gate_slot *gate_slots_give(struct gate_slots *slots, int64_t now_ms, int key);

/* A slot that gate_slots_next has just given cannot be used before `until_ms`: it is first again.
 */
void gate_slots_put_back(struct gate_slots *slots, struct gate_slot *slot, int64_t until_ms);

/* When gate_slots_next may have something; -1: never. */
int64_t gate_slots_deadline(const struct gate_slots *slots, int64_t now_ms);

#endif

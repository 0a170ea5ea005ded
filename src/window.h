/* window.h - the identify windows of the process: what is budget.h's for the shards of one engine
 * holds for all engines of a token. Called by seat.c and loop.c; any thread may. */
#ifndef MOONGATE_WINDOW_H
#define MOONGATE_WINDOW_H

#include "moongate.h"

/* Who wants to identify, and under which key. */
struct gate_claim {
    uint64_t token;    /* of gate_window_token */
    int key;           /* shard id modulo concurrency; 0 to GATE_CONCURRENCY_MAX - 1 */
    int shard_id;      /* with `owner`: who holds the key */
    const void *owner; /* the engine's loop */
};

/* Stands for a token at a gateway, whose URL this is; it shows neither. */
uint64_t gate_window_token(struct gate_span token, struct gate_span url);

/* 0: the key is the claim's, for GATE_SLOT_LEASE_MS at most. Else when to ask again, later than
 * `now_ms`: another engine holds the key, or its window is not over, or there is no memory. Nobody
 * is woken, so whoever holds is looked at again in GATE_WINDOW_LOOK_MS. */
int64_t gate_window_claim(const struct gate_claim *claim, int64_t now_ms);

/* The Identify is leaving right now: the window counts from here, and so does the rest of the
 * holder's time, GATE_IDENTIFY_LEASE_MS. */
void gate_window_spent(const struct gate_claim *claim, int64_t now_ms);

/* READY, failed, or not needed any more: the key is free after its window. Nothing where somebody
 * else holds it. */
void gate_window_done(const struct gate_claim *claim);

/* The owner ends: what it holds is free. */
void gate_window_leave(const void *owner, int64_t now_ms);

/* In a forked child, where the lock may be held by nobody. */
void gate_window_forget(void);

#endif

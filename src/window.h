/* window.h - the identify windows and the quotas of the process: what is budget.h's for the shards
 * of one engine holds for all engines of a token, and so does the day of quota.h.
 * Called by seat.c and lua_quota.c; any thread may. Nothing here waits but for a lock that is held
 * for some additions. */
#ifndef MOONGATE_WINDOW_H
#define MOONGATE_WINDOW_H

#include "moongate.h"
#include "quota.h"

/* Who wants to identify, and under which key. */
struct gate_claim {
    uint64_t token;    /* of gate_window_token */
    int key;           /* shard id modulo concurrency; 0 to GATE_CONCURRENCY_MAX - 1 */
    int shard_id;      /* with `owner`: who holds the key */
    const void *owner; /* the engine's hall */
    int64_t reserve;   /* identifies that are to be left over */
};

/* What came of a claim. */
struct gate_permit {
    int64_t again_ms; /* 0: the key is the claim's; else when to ask again, later than now */
    int64_t hold_ms;  /* the day's identifies are used up until then; -1: that is not the reason */
};

/* Stands for a token at a gateway, whose URL this is; it shows neither. */
uint64_t gate_window_token(struct gate_span token, struct gate_span url);

/* Claims the key for GATE_SLOT_LEASE_MS at most, and one of the day's identifies with it. Not now:
 * another engine holds the key, or its window is not over, or the day's identifies are used up, or
 * promised to holders of other keys, or there is no memory. Nobody is woken, so whoever holds is
 * looked at again in GATE_WINDOW_LOOK_MS, and a day that is used up in GATE_HOLD_LOOK_MS. */
struct gate_permit gate_window_claim(const struct gate_claim *claim, int64_t now_ms);

/* The Identify is leaving right now: the window counts from here, and so does the rest of the
 * holder's time, GATE_IDENTIFY_LEASE_MS. The day has one less. */
void gate_window_spent(const struct gate_claim *claim, int64_t now_ms);

/* READY, failed, or not needed any more: the key is free after its window. Nothing where somebody
 * else holds it. */
void gate_window_done(const struct gate_claim *claim);

/* The owner ends: what it holds is free. */
void gate_window_leave(const void *owner, int64_t now_ms);

/* The quota of a token as it is, moved on to `now_ms`; a fresh one where nothing is known. */
void gate_window_quota(uint64_t token, int64_t now_ms, struct gate_quota *out);

/* As gate_quota_learn. Whoever holds finds out in GATE_HOLD_LOOK_MS. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_window_learn(uint64_t token, int64_t now_ms,
                                      const struct gate_quota_told *told);

/* Takes a quota up that was kept elsewhere, unless something is known here. GATE_EUSAGE: it is;
 * GATE_EMEMORY. */
GATE_MUST_CHECK int gate_window_restore(uint64_t token, int64_t now_ms,
                                        const struct gate_quota *kept);

/* In a forked child, where the lock may be held by nobody. */
void gate_window_forget(void);

#endif

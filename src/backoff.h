/* backoff.h - how long to wait before the next attempt: two ladders and the random numbers.
 * Called by session.c; lives as long as the shard. Pure and seeded: the same seed gives the same
 * waits. */
#ifndef MOONGATE_BACKOFF_H
#define MOONGATE_BACKOFF_H

#include "moongate.h"

struct gate_backoff {
    int64_t base_ms, cap_ms;    /* of the ladder of connections; 0 is legal: at once */
    uint32_t attempts;          /* since the last connection that lasted */
    uint32_t failed_identifies; /* likewise */
    uint64_t random;
};

/* Negative base or cap: the defaults. */
void gate_backoff_init(struct gate_backoff *backoff, int64_t base_ms, int64_t cap_ms,
                       uint64_t seed);

/* The next random number in [0, 1). */
double gate_backoff_random(struct gate_backoff *backoff);

/* The wait before the next connection: nearly none for the first, then full jitter below
 * base x 2^n, n from 0, up to the cap. Counts the attempt. */
int64_t gate_backoff_connect_ms(struct gate_backoff *backoff);

/* The wait after an Identify that did not lead to a session that lasted. Counts it. Its ladder is
 * fixed: what it saves is the day's allowance of identifies. */
int64_t gate_backoff_identify_ms(struct gate_backoff *backoff);

/* The random wait after an invalid session. protocol: Invalid Session. */
int64_t gate_backoff_invalid_ms(struct gate_backoff *backoff);

/* A connection has lasted: both ladders begin at the bottom again. */
void gate_backoff_reset(struct gate_backoff *backoff);

#endif

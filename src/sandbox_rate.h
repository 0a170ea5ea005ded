/* sandbox_rate.h - the limits of REST: so many requests to a route in so many seconds, and the
 * headers that tell. Called by sandbox_rest.c on the server's thread, under the lock. */
#ifndef MOONGATE_SANDBOX_RATE_H
#define MOONGATE_SANDBOX_RATE_H

#include "buf.h"
#include "moongate.h"

#define GATE_RATE_REQUESTS  5    /* what Discord has told for messages for years */
#define GATE_RATE_WINDOW_MS 5000 /* the same */
#define GATE_RATES          256  /* buckets; two that fall on one place share it */

struct gate_rate {
    uint64_t key;    /* of route and id; 0: unused */
    uint64_t bucket; /* of the route alone, as the header tells it */
    int64_t reset_ms;
    int64_t used;
};

/* The bucket of a route (its pattern) and of the first id in its path. */
struct gate_rate *gate_rate_find(struct gate_rate rates[GATE_RATES], struct gate_span route,
                                 struct gate_span id);

/* Counts a request, and appends the headers that tell of it. 1: it may be served; 0: it is one too
 * many, which is not counted; or GATE_EMEMORY. Without `limited` there is always one left.
 * `wall_ms`: the server's clock, by which they tell when the window ends. */
GATE_MUST_CHECK int gate_rate_take(struct gate_rate *rate, int64_t now_ms, int64_t wall_ms,
                                   bool limited, struct gate_buf *headers);

/* Seconds and milliseconds until there are more. */
int64_t gate_rate_wait_ms(const struct gate_rate *rate, int64_t now_ms);

#endif

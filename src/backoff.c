/* backoff.c - see backoff.h. */
#include "backoff.h"

#define DOUBLINGS_MAX 24 /* beyond every cap, and no shift can overflow */

void gate_backoff_init(struct gate_backoff *backoff, int64_t base_ms, int64_t cap_ms,
                       uint64_t seed) {
    *backoff = (struct gate_backoff){
        .base_ms = base_ms < 0 ? GATE_BACKOFF_BASE_MS : base_ms,
        .cap_ms = cap_ms < 0 ? GATE_BACKOFF_CAP_MS : cap_ms,
        .random = seed,
    };
}

/* SplitMix64: every seed is a good one, also 0 and neighbours. */
double gate_backoff_random(struct gate_backoff *backoff) {
    uint64_t z = (backoff->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1.0p-53;
}

static int64_t jittered_ms(struct gate_backoff *backoff, int64_t limit_ms) {
    return (int64_t)(gate_backoff_random(backoff) * (double)limit_ms);
}

static int64_t rung_ms(int64_t base_ms, int64_t cap_ms, uint32_t nth) {
    int64_t rung = base_ms;
    for (uint32_t i = 0; i < nth && i < DOUBLINGS_MAX && rung < cap_ms; i++) rung *= 2;
    return rung < cap_ms ? rung : cap_ms;
}

int64_t gate_backoff_connect_ms(struct gate_backoff *backoff) {
    int64_t limit_ms =
        backoff->base_ms < GATE_FIRST_RECONNECT_MS ? backoff->base_ms : GATE_FIRST_RECONNECT_MS;
    if (backoff->attempts > 0)
        limit_ms = rung_ms(backoff->base_ms, backoff->cap_ms, backoff->attempts - 1);
    if (limit_ms > backoff->cap_ms) limit_ms = backoff->cap_ms;
    backoff->attempts++;
    return jittered_ms(backoff, limit_ms);
}

int64_t gate_backoff_identify_ms(struct gate_backoff *backoff) {
    int64_t limit_ms = rung_ms(GATE_IDENTIFY_BACKOFF_BASE_MS, GATE_IDENTIFY_BACKOFF_CAP_MS,
                               backoff->failed_identifies);
    backoff->failed_identifies++;
    return jittered_ms(backoff, limit_ms);
}

int64_t gate_backoff_invalid_ms(struct gate_backoff *backoff) {
    int64_t range_ms = GATE_INVALID_WAIT_MS_MAX - GATE_INVALID_WAIT_MS_MIN;
    return GATE_INVALID_WAIT_MS_MIN + jittered_ms(backoff, range_ms);
}

void gate_backoff_reset(struct gate_backoff *backoff) {
    backoff->attempts = 0;
    backoff->failed_identifies = 0;
}

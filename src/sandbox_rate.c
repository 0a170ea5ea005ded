/* sandbox_rate.c - see sandbox_rate.h. Windows are fixed, as the real ones are: the first request
 * opens one, and all of its requests are there again when it ends. */
#include "sandbox_rate.h"

#include <inttypes.h>
#include <stdio.h>

/* FNV-1a, 64 bits. */
static uint64_t mix(uint64_t hash, struct gate_span text) {
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

struct gate_rate *gate_rate_find(struct gate_rate rates[GATE_RATES], struct gate_span route,
                                 struct gate_span id) {
    uint64_t bucket = mix(UINT64_C(0xcbf29ce484222325), route), key = mix(bucket, id) | 1;
    struct gate_rate *rate = &rates[key >> 32 & (GATE_RATES - 1)];
    if (rate->key != key) *rate = (struct gate_rate){.key = key, .bucket = bucket};
    return rate;
}

int64_t gate_rate_wait_ms(const struct gate_rate *rate, int64_t now_ms) {
    return rate->reset_ms > now_ms ? rate->reset_ms - now_ms : 0;
}

int gate_rate_take(struct gate_rate *rate, int64_t now_ms, int64_t wall_ms, bool limited,
                   struct gate_buf *headers) {
    char lines[320];
    if (rate->reset_ms <= now_ms) {
        rate->reset_ms = now_ms + GATE_RATE_WINDOW_MS;
        rate->used = 0;
    }
    bool served = !limited || rate->used < GATE_RATE_REQUESTS;
    if (served && rate->used < GATE_RATE_REQUESTS - (limited ? 0 : 1)) rate->used++;
    int64_t wait_ms = gate_rate_wait_ms(rate, now_ms);
    int64_t reset_ms = wall_ms + wait_ms;
    int len = snprintf(lines, sizeof lines,
                       "X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %" PRId64 "\r\n"
                       "X-RateLimit-Reset: %" PRId64 ".%03d\r\n"
                       "X-RateLimit-Reset-After: %" PRId64 ".%03d\r\n"
                       "X-RateLimit-Bucket: %016" PRIx64 "\r\n",
                       GATE_RATE_REQUESTS, GATE_RATE_REQUESTS - rate->used, reset_ms / 1000,
                       (int)(reset_ms % 1000), wait_ms / 1000, (int)(wait_ms % 1000), rate->bucket);
    int rc = gate_buf_append(headers, (struct gate_span){lines, (size_t)len});
    if (rc == GATE_OK && !served) {
        len =
            snprintf(lines, sizeof lines, "X-RateLimit-Scope: user\r\nRetry-After: %" PRId64 "\r\n",
                     (wait_ms + 999) / 1000);
        rc = gate_buf_append(headers, (struct gate_span){lines, (size_t)len});
    }
    return rc < 0 ? rc : served;
}

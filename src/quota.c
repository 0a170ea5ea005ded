/* quota.c - see quota.h. The day is a row of steps: a thousand times would be 8 KB a token, to know
 * to the second what a quarter of an hour is good enough for. A step is forgotten as a whole, a day
 * after its end. */
#include "quota.h"

#include <string.h>

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    if (value < low) return low;
    return value > high ? high : value;
}

void gate_quota_init(struct gate_quota *quota) {
    *quota = (struct gate_quota){.total = GATE_QUOTA_TOTAL};
}

/* Moves the day on: its newest step is the one that `now_ms` is in. */
static void move_on(struct gate_quota *quota, int64_t now_ms) {
    int64_t passed = (now_ms - quota->step_at_ms) / GATE_QUOTA_STEP_MS;
    if (now_ms >= quota->told_until_ms) quota->told_used = 0;
    if (passed <= 0) return;
    size_t by = passed < GATE_QUOTA_STEPS ? (size_t)passed : GATE_QUOTA_STEPS;
    memmove(quota->steps + by, quota->steps, (GATE_QUOTA_STEPS - by) * sizeof quota->steps[0]);
    memset(quota->steps, 0, by * sizeof quota->steps[0]);
    quota->step_at_ms += passed * GATE_QUOTA_STEP_MS;
}

static int64_t count_steps(const struct gate_quota *quota) {
    int64_t count = 0;
    for (size_t i = 0; i < GATE_QUOTA_STEPS; i++) count += quota->steps[i];
    return count;
}

static void count_now(struct gate_quota *quota, int64_t now_ms, uint64_t count) {
    move_on(quota, now_ms);
    if (count_steps(quota) == 0) quota->step_at_ms = now_ms; /* the day begins with the first */
    quota->steps[0] += (uint32_t)count;
}

void gate_quota_learn(struct gate_quota *quota, int64_t now_ms,
                      const struct gate_quota_told *told) {
    uint64_t since = quota->spent > told->spent ? quota->spent - told->spent : 0;
    int64_t rest_ms = told->reset_after_ms;
    memset(quota->steps, 0, sizeof quota->steps);
    quota->known = true;
    quota->total = clamp(told->total, 1, GATE_QUOTA_TOTAL_MAX);
    quota->told_used = quota->total - clamp(told->remaining, 0, quota->total);
    quota->told_until_ms =
        now_ms + (rest_ms > 0 ? clamp(rest_ms, 1, GATE_QUOTA_DAY_MS) : GATE_QUOTA_DAY_MS);
    if (since > 0) count_now(quota, now_ms, since);
}

void gate_quota_spend(struct gate_quota *quota, int64_t now_ms) {
    quota->spent++;
    count_now(quota, now_ms, 1);
}

int64_t gate_quota_used(struct gate_quota *quota, int64_t now_ms) {
    move_on(quota, now_ms);
    return quota->told_used + count_steps(quota);
}

/* A bot that has none but its reserve would never start. */
static int64_t find_allowance(const struct gate_quota *quota, int64_t reserve) {
    return quota->total - clamp(reserve, 0, quota->total - 1);
}

int64_t gate_quota_left(struct gate_quota *quota, int64_t now_ms, int64_t reserve) {
    int64_t left = find_allowance(quota, reserve) - gate_quota_used(quota, now_ms);
    return left > 0 ? left : 0;
}

/* Forgets in mind, the oldest first, until enough of it is forgotten. */
int64_t gate_quota_when(struct gate_quota *quota, int64_t now_ms, int64_t reserve) {
    int64_t excess = gate_quota_used(quota, now_ms) + 1 - find_allowance(quota, reserve);
    int64_t told = quota->told_used;
    if (excess <= 0) return now_ms;
    for (size_t i = GATE_QUOTA_STEPS; i-- > 0;) {
        int64_t gone_ms = quota->step_at_ms + (int64_t)(GATE_QUOTA_STEPS - i) * GATE_QUOTA_STEP_MS;
        if (told > 0 && quota->told_until_ms <= gone_ms) {
            excess -= told;
            told = 0;
            if (excess <= 0) return quota->told_until_ms;
        }
        excess -= quota->steps[i];
        if (excess <= 0) return gone_ms;
    }
    return quota->told_until_ms;
}

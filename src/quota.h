/* quota.h - how many identifies a token has left in a day, over all of its shards.
 * Called by window.c under its lock, and by the simulator. Pure: `now_ms` is an argument.
 *
 * Discord resets the token of a bot that passes the limit, and nobody knows where its day begins.
 * So the day slides: what is counted leaves it a whole day later, and in any 24 hours no more than
 * the total leaves, however Discord counts. What GET /gateway/bot says replaces the count. */
#ifndef MOONGATE_QUOTA_H
#define MOONGATE_QUOTA_H

#include "moongate.h"

struct gate_quota {
    int64_t total;     /* identifies of a day */
    bool known;        /* the gateway has said something, or what was kept has been taken up */
    uint64_t spent;    /* of all time */
    int64_t told_used; /* what the gateway said was used, counted until it forgets it */
    int64_t told_until_ms;
    int64_t step_at_ms;               /* when the newest step began */
    uint32_t steps[GATE_QUOTA_STEPS]; /* identifies in steps of the day; [0] is the newest */
};

/* What the gateway says. */
struct gate_quota_told {
    int64_t total, remaining; /* brought into 1 to GATE_QUOTA_TOTAL_MAX, and 0 to total */
    int64_t reset_after_ms;   /* 0 or less is taken for a day: some gateways say so at any time */
    uint64_t spent;           /* of the quota, when the gateway was asked */
};

/* Nothing spent, nothing known: GATE_QUOTA_TOTAL a day. */
void gate_quota_init(struct gate_quota *quota);

/* Takes over what the gateway says. What has left since it was asked is counted on top. */
void gate_quota_learn(struct gate_quota *quota, int64_t now_ms, const struct gate_quota_told *told);

/* An Identify leaves. It counts even when none is left. */
void gate_quota_spend(struct gate_quota *quota, int64_t now_ms);

/* How many have been used up as of now. */
int64_t gate_quota_used(struct gate_quota *quota, int64_t now_ms);

/* How many may leave now, so that `reserve` are left over: 0 or more. A reserve that is no smaller
 * than the total leaves one. */
int64_t gate_quota_left(struct gate_quota *quota, int64_t now_ms, int64_t reserve);

/* When gate_quota_left is above 0: `now_ms`, or later. */
int64_t gate_quota_when(struct gate_quota *quota, int64_t now_ms, int64_t reserve);

#endif

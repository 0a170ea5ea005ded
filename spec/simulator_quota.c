/* simulator_quota.c - the identifies of a day: the bot's count, which waits as src/window.c does,
 * and Discord's, which knows no mercy. */
#include "simulator.h"

void sim_quota_init(struct sim_world *world) {
    struct sim_quota *day = &world->day;
    int64_t reserve = GATE_QUOTA_RESERVE < day->total ? GATE_QUOTA_RESERVE : day->total - 1;
    struct gate_quota_told told = {.total = day->total, .remaining = day->total};
    gate_quota_init(&day->quota);
    if (day->total != SIM_TOTAL) gate_quota_learn(&day->quota, 0, &told);
    day->allowance = day->total - reserve;
    day->held_at_ms = -SIM_DAY_MS;
}

static void end_hold(struct sim_world *world) {
    struct sim_quota *day = &world->day;
    if (day->held) world->totals->held_ms += world->clock.now_ms - day->held_since_ms;
    day->held = false;
}

void sim_quota_free(struct sim_world *world) {
    end_hold(world);
    for (int i = 0; i < world->shard_count; i++) {
        int64_t ready_ms = world->seats[i].docket.ready_at_ms;
        if (ready_ms > world->totals->ready_ms) world->totals->ready_ms = ready_ms;
    }
}

static int64_t hold(struct sim_seat *seat, int64_t now_ms) {
    struct sim_world *world = seat->world;
    struct sim_quota *day = &world->day;
    int64_t until_ms = gate_quota_when(&day->quota, now_ms, GATE_QUOTA_RESERVE);
    if (!day->held) {
        day->held = true;
        day->held_since_ms = world->clock.now_ms;
        world->totals->holds++;
        sim_tell_note(seat, "the identifies of the day are used up until %lld ms",
                      (long long)(until_ms + world->slept_ms));
    }
    return until_ms < now_ms + GATE_HOLD_LOOK_MS ? until_ms : now_ms + GATE_HOLD_LOOK_MS;
}

int64_t sim_quota_claim(struct sim_seat *seat) {
    struct sim_world *world = seat->world;
    struct sim_quota *day = &world->day;
    int64_t now_ms = sim_now(world), promised = 0;
    int64_t left = gate_quota_left(&day->quota, now_ms, GATE_QUOTA_RESERVE);
    for (int i = 0; i < world->shard_count; i++) promised += world->seats[i].promised;
    if (left <= promised) day->held_at_ms = world->clock.now_ms;
    if (left == 0) return hold(seat, now_ms);
    if (left <= promised) return now_ms + GATE_WINDOW_LOOK_MS;
    end_hold(world);
    seat->promised = true;
    return 0;
}

void sim_quota_spent(struct sim_seat *seat) {
    seat->promised = false;
    gate_quota_spend(&seat->world->day.quota, sim_now(seat->world));
}

void sim_quota_wake(struct sim_world *world) {
    world->totals->held_wakes += world->day.held;
}

void sim_quota_arrived(struct sim_seat *seat) {
    struct sim_quota *day = &seat->world->day;
    int64_t now_ms = seat->world->clock.now_ms;
    int64_t *oldest_ms = &day->arrived_ms[day->arrived++ % (uint64_t)day->total];
    if (day->arrived > (uint64_t)day->total && now_ms - *oldest_ms < SIM_DAY_MS)
        sim_fail(seat, "the token is reset: more than %lld identifies in 24 hours",
                 (long long)day->total);
    *oldest_ms = now_ms;
}

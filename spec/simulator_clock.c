/* simulator_clock.c - see simulator_clock.h. A binary heap whose timers know their place. */
#include "simulator_clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sim_clock_init(struct sim_clock *clock, uint64_t seed) {
    *clock = (struct sim_clock){.random = seed};
}

void sim_clock_free(struct sim_clock *clock) {
    free(clock->heap);
}

/* ---- The heap -------------------------------------------------------------------------------- */

static bool is_sooner(const struct sim_mark *a, const struct sim_mark *b) {
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

static void put(struct sim_clock *clock, size_t at, struct sim_mark mark) {
    clock->heap[at] = mark;
    mark.timer->place = at + 1;
}

static void rise(struct sim_clock *clock, size_t at, struct sim_mark mark) {
    while (at > 0 && is_sooner(&mark, &clock->heap[(at - 1) / 2])) {
        put(clock, at, clock->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(clock, at, mark);
}

static void sink(struct sim_clock *clock, size_t at, struct sim_mark mark) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= clock->count) break;
        if (child + 1 < clock->count && is_sooner(&clock->heap[child + 1], &clock->heap[child]))
            child++;
        if (!is_sooner(&clock->heap[child], &mark)) break;
        put(clock, at, clock->heap[child]);
        at = child;
    }
    put(clock, at, mark);
}

static void settle(struct sim_clock *clock, size_t at, struct sim_mark mark) {
    if (at > 0 && is_sooner(&mark, &clock->heap[(at - 1) / 2]))
        rise(clock, at, mark);
    else
        sink(clock, at, mark);
}

void sim_arm(struct sim_clock *clock, struct sim_timer *timer, int64_t at_ms, enum sim_rank rank) {
    struct sim_mark mark = {.at_ms = at_ms > clock->now_ms ? at_ms : clock->now_ms,
                            .order = ((uint64_t)rank << 60) | ++clock->count_armed,
                            .timer = timer};
    if (timer->place) {
        settle(clock, timer->place - 1, mark);
        return;
    }
    if (clock->count == clock->capacity) {
        clock->capacity = clock->capacity ? clock->capacity * 2 : 64;
        clock->heap = realloc(clock->heap, clock->capacity * sizeof *clock->heap);
        if (!clock->heap) abort();
    }
    rise(clock, clock->count++, mark);
}

void sim_disarm(struct sim_clock *clock, struct sim_timer *timer) {
    if (!timer->place) return;
    size_t at = timer->place - 1;
    timer->place = 0;
    struct sim_mark last = clock->heap[--clock->count];
    if (at < clock->count) settle(clock, at, last);
}

bool sim_turn(struct sim_clock *clock, int64_t until_ms) {
    if (clock->count == 0 || clock->heap[0].at_ms > until_ms) {
        clock->now_ms = until_ms;
        return false;
    }
    struct sim_timer *timer = clock->heap[0].timer;
    clock->now_ms = clock->heap[0].at_ms;
    sim_disarm(clock, timer);
    timer->fire(timer->owner);
    return true;
}

/* ---- Chance ---------------------------------------------------------------------------------- */

uint64_t sim_random(struct sim_clock *clock) {
    uint64_t z = (clock->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double sim_unit(struct sim_clock *clock) {
    return (double)(sim_random(clock) >> 11) * 0x1.0p-53;
}

bool sim_chance(struct sim_clock *clock, double p) {
    return p > 0 && sim_unit(clock) < p;
}

int64_t sim_between(struct sim_clock *clock, int64_t low, int64_t high) {
    return low + (int64_t)(sim_random(clock) % (uint64_t)(high - low + 1));
}

int64_t sim_wait(struct sim_clock *clock, int64_t mean_ms) {
    return (int64_t)(-log(1 - sim_unit(clock)) * (double)mean_ms);
}

/* simulator_clock.h - virtual time: a queue of timers, and the random numbers of a run.
 * Called by every part of the simulator, on its only thread. The same seed gives the same run. */
#ifndef MOONGATE_SIMULATOR_CLOCK_H
#define MOONGATE_SIMULATOR_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is due in the same millisecond happens in this order: bytes before judgement, as in the
 * engine's loop. */
enum sim_rank { SIM_FIRST, SIM_NETWORK, SIM_WORLD, SIM_DRIVER };

struct sim_timer { /* embedded in its owner; zero means not armed */
    void (*fire)(void *owner);
    void *owner;
    size_t place; /* in the heap, counted from 1 */
};

struct sim_mark {
    int64_t at_ms;
    uint64_t order; /* rank, then first come first served */
    struct sim_timer *timer;
};

struct sim_clock {
    int64_t now_ms;
    uint64_t random, count_armed;
    struct sim_mark *heap;
    size_t count, capacity;
};

void sim_clock_init(struct sim_clock *clock, uint64_t seed);
void sim_clock_free(struct sim_clock *clock);

/* Arms or arms anew; what is already past is due now. */
void sim_arm(struct sim_clock *clock, struct sim_timer *timer, int64_t at_ms, enum sim_rank rank);
void sim_disarm(struct sim_clock *clock, struct sim_timer *timer);

/* Moves to the nearest timer and fires it; false: none is due up to `until_ms`, which is now. */
bool sim_turn(struct sim_clock *clock, int64_t until_ms);

/* Random numbers: any; in [0, 1); true once in 1 / p; low to high; exponential with that mean. */
uint64_t sim_random(struct sim_clock *clock);
double sim_unit(struct sim_clock *clock);
bool sim_chance(struct sim_clock *clock, double p);
int64_t sim_between(struct sim_clock *clock, int64_t low, int64_t high);
int64_t sim_wait(struct sim_clock *clock, int64_t mean_ms);

#endif

/* loop.h - what one I/O thread does: commands in, letters and snapshots out, and its seats' timers.
 * Made and ended by crew.c; gate_loop_run is the thread's body, the other functions may come from
 * any thread, gate_loop_push from the Lua thread. */
#ifndef MOONGATE_LOOP_H
#define MOONGATE_LOOP_H

#include "board.h"
#include "command.h"
#include "letter.h"
#include "queue.h"
#include "shard.h"
#include "transport.h"

struct gate_loop;

/* What the loops of one engine share; each part has its own lock. */
struct gate_commons {
    struct gate_mail mail;   /* letters for the Lua side, which pops and frees them */
    struct gate_board board; /* what is known of all shards */
    struct gate_hall hall;
};

struct gate_loop_options {
    struct gate_transport_options transport; /* calls and owner are filled in by the loop */
    struct gate_commons *commons;            /* outlives the loop */
    bool leave_when_full;                    /* in place of the pause */
    int64_t identify_reserve;
    bool coordinated; /* turns to identify are asked for */
    /* Called on the loop's thread when it finds the event queue full: wakes the other loops. */
    void (*tell_full)(void *owner, const struct gate_loop *but);
    void *owner;
};

/* Errors as gate_transport_new. */
struct gate_loop *gate_loop_new(const struct gate_loop_options *options, int *error,
                                const char **detail);

/* After gate_loop_run has returned, or instead of it. NULL is fine. */
void gate_loop_del(struct gate_loop *loop);

/* The thread's body: returns after GATE_COMMAND_END, when every link has said goodbye or
 * GATE_STOP_TIMEOUT_MS is nearly over. */
void gate_loop_run(struct gate_loop *loop);

/* Queues `take` and wakes the thread. GATE_EBUSY: the command queue is full. GATE_ECLOSED: the
 * thread has ended. The command is not taken then. */
GATE_MUST_CHECK int gate_loop_push(struct gate_loop *loop, struct gate_command *take);

/* Makes the thread look around: events have been taken out. */
void gate_loop_wake(struct gate_loop *loop);

/* What its shards have heard and skipped. */
struct gate_census *gate_loop_census(struct gate_loop *loop);

#endif

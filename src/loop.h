/* loop.h - what one I/O thread does: commands in, letters and snapshots out, and its seats' timers.
 * Made and ended by engine.c; gate_loop_run is the thread's body, the other functions belong to the
 * side that uses the loop. One engine has one loop; nothing in here knows that. */
#ifndef MOONGATE_LOOP_H
#define MOONGATE_LOOP_H

#include "board.h"
#include "command.h"
#include "letter.h"
#include "queue.h"
#include "shard.h"
#include "transport.h"

struct gate_loop_options {
    struct gate_transport_options transport; /* calls and owner are filled in by the loop */
    struct gate_queue_limits events;
    struct gate_span loose; /* names of events that may be dropped, each ended by a NUL */
    bool leave_when_full;   /* in place of the pause */
    int concurrency;
    int64_t identify_reserve;
    bool coordinated; /* turns to identify are asked for */
};

struct gate_loop;

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

/* Letters for the Lua side, which pops and frees them. */
struct gate_queue *gate_loop_events(struct gate_loop *loop);

/* As gate_mail_loose. */
bool gate_loop_loose(const struct gate_loop *loop, uint32_t at, struct gate_span *name);

/* What its shards have heard and skipped. */
struct gate_census *gate_loop_census(struct gate_loop *loop);

/* What is known of its shards. */
struct gate_board *gate_loop_board(struct gate_loop *loop);

#endif

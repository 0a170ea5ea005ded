/* loop.h - what one I/O thread does: commands in, letters and snapshots out, and its seats' timers.
 * Made and ended by engine.c; gate_loop_run is the thread's body, the other functions belong to the
 * side that uses the loop. One engine has one loop; nothing in here knows that. */
#ifndef MOONGATE_LOOP_H
#define MOONGATE_LOOP_H

#include "board.h"
#include "letter.h"
#include "queue.h"
#include "shard.h"
#include "transport.h"

enum gate_command_type {
    GATE_COMMAND_START,      /* `options` */
    GATE_COMMAND_SEND,       /* `bytes` is the payload */
    GATE_COMMAND_INTEREST,   /* `interest` */
    GATE_COMMAND_STOP_SHARD, /* `number` is the code, `bytes` the reason */
    GATE_COMMAND_RECONNECT,  /* likewise */
    GATE_COMMAND_IDENTIFY,   /* `options`; or, without a token in them, nothing new */
    GATE_COMMAND_RESUME,
    GATE_COMMAND_BEAT,
    GATE_COMMAND_RECEIVE,     /* `bytes` is the message */
    GATE_COMMAND_CONCURRENCY, /* `number` */
    GATE_COMMAND_TURN,        /* `turn_number` */
    GATE_COMMAND_REQUEST,     /* `request` */
    GATE_COMMAND_END          /* `number` is the code; the thread ends */
};

struct gate_command {
    struct gate_node node; /* first, so that a node is its command */
    enum gate_command_type type;
    int shard_id, number;
    struct gate_buf bytes; /* owned; the spans of options and request point into it */
    union {
        struct gate_options options;
        struct gate_interest interest; /* owned */
        struct gate_request request;
        int64_t turn_number;
    };
};

/* A command whose `bytes` are empty, with headroom. NULL: no memory. */
struct gate_command *gate_command_new(enum gate_command_type type, int shard_id);
/* Wipes and frees it. */
void gate_command_del(struct gate_command *command);

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

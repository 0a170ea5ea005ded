/* command.h - what the Lua side asks an I/O thread for, and the carrying out of it. Made on the Lua
 * thread by engine.c, carried out on the I/O thread by loop.c. */
#ifndef MOONGATE_COMMAND_H
#define MOONGATE_COMMAND_H

#include "queue.h"
#include "seat.h"
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
    GATE_COMMAND_RECEIVE, /* `bytes` is the message */
    GATE_COMMAND_TURN,    /* `turn_number` */
    GATE_COMMAND_REQUEST, /* `request` */
    GATE_COMMAND_END      /* `number` is the code; the thread ends */
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

/* Carries it out, but for GATE_COMMAND_END, which is the loop's. GATE_EMEMORY: nothing has
 * happened, and it is to be tried again; whatever else goes wrong is told in an `error` event. */
GATE_MUST_CHECK int gate_command_obey(struct gate_seats *seats, struct gate_command *command);

/* Tells of one that finds no memory. */
void gate_command_delayed(struct gate_seats *seats, const struct gate_command *command);

#endif

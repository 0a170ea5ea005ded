/* sandbox_script.h - what a script may order of a sandbox: events, answers, misbehaviour.
 * Called by lua_sandbox.c, on the thread of any lua_State; every function takes the server's lock
 * itself. It is the part of sandbox.h that sandbox_order.c serves. */
#ifndef MOONGATE_SANDBOX_SCRIPT_H
#define MOONGATE_SANDBOX_SCRIPT_H

#include "moongate.h"

#define GATE_SANDBOX_ANYONE (-1) /* no connection or shard is numbered below zero */

struct gate_sandbox;

/* The connections an order is meant for: those that match all that is given. */
struct gate_sandbox_target {
    int64_t connection; /* GATE_SANDBOX_ANYONE: all, also future ones where that makes sense */
    int64_t shard;      /* the same */
    struct gate_span session; /* len 0: all */
};

enum gate_sandbox_verb {
    GATE_ORDER_DROP,  /* `on`: with a reset, else with a plain end; waits until it has happened */
    GATE_ORDER_CLOSE, /* `number` (-1: none), `text` */
    GATE_ORDER_INVALID_SESSION, /* `on`: resumable */
    GATE_ORDER_RECONNECT,
    GATE_ORDER_HEARTBEAT, /* `number` of them */
    GATE_ORDER_PAYLOAD,   /* `text`: JSON, sent as any message */
    GATE_ORDER_RAW,     /* `text`, `number`: the first byte of the frame, -1: no frame around it */
    GATE_ORDER_CORRUPT, /* `number` messages from now on */
    GATE_ORDER_SWALLOW, /* the same: compressed, then thrown away */
    GATE_ORDER_STUTTER, /* the same: sent twice */
    GATE_ORDER_LIMITS,  /* `on`: those of the options; the sandbox's, without a target */
    GATE_ORDER_CLOCK,   /* `number`: clock_skew_ms; the same */
    GATE_ORDER_RESUME_HOST,    /* `on`: it lives; the same. Waits until it is so */
    GATE_ORDER_WITHHOLD,       /* `on`; these are also knobs of connections to come */
    GATE_ORDER_HALF_OPEN,      /* `on` */
    GATE_ORDER_STALL,          /* `on`, `number`: a GATE_STALL_ bit */
    GATE_ORDER_MASK,           /* `on` */
    GATE_ORDER_SPLIT,          /* from `number` to `most` bytes of each frame; 0: whole */
    GATE_ORDER_SPLIT_MESSAGES, /* the same of each message */
    GATE_ORDER_TRICKLE,        /* `number` bytes every `pause_ms`; 0: all at once */
    GATE_ORDER_CUT             /* `number` bytes more, then an end; `on`: a reset. 0: none.
                                  To all: the next */
};

#define GATE_STALL_ACCEPT  1u   /* connections stay in the kernel's queue */
#define GATE_STALL_UPGRADE 2u   /* the request for a WebSocket gets no answer */
#define GATE_STALL_HELLO   4u   /* no HELLO */
#define GATE_STALL_READY   8u   /* Identify is read, READY held */
#define GATE_STALL_RESUMED 16u  /* the replay is sent, RESUMED held */
#define GATE_STALL_CLOSE   32u  /* a close frame gets no answer and no end of the connection */
#define GATE_STALL_TLS     64u  /* the handshake gets no answer */
#define GATE_STALL_GUILDS  128u /* READY is sent, the GUILD_CREATEs behind it are held */

struct gate_sandbox_order {
    enum gate_sandbox_verb verb;
    struct gate_sandbox_target target;
    bool on;
    int64_t number, most;
    int64_t pause_ms;
    struct gate_span text; /* copied */
};

/* Does it. The number of connections it touched, or a negative error (GATE_EMEMORY, GATE_EFORK). */
GATE_MUST_CHECK int gate_sandbox_order(struct gate_sandbox *, const struct gate_sandbox_order *);

/* What happens in place of a step of the protocol. */
enum gate_sandbox_phase {
    GATE_PHASE_HELLO,
    GATE_PHASE_READY,   /* an Identify has passed all checks */
    GATE_PHASE_RESUMED, /* a Resume has; nothing is replayed */
    GATE_PHASE_ACK
};

struct gate_sandbox_instead {
    enum gate_sandbox_phase phase;
    enum {
        GATE_INSTEAD_PAYLOAD, /* `text`: JSON */
        GATE_INSTEAD_CLOSE,   /* `code` (0: an empty frame), `text` */
        GATE_INSTEAD_DROP,    /* `on`: with a reset */
        GATE_INSTEAD_INVALID  /* op 9; `on`: resumable */
    } deed;
    bool on;
    int code;
    int64_t times;         /* 0: for ever */
    struct gate_span text; /* copied */
};
GATE_MUST_CHECK int gate_sandbox_instead(struct gate_sandbox *sandbox,
                                         const struct gate_sandbox_instead *instead);

/* An event to be told; both spans are copied. */
struct gate_sandbox_event {
    struct gate_span name, data; /* data: JSON */
    bool unfiltered;             /* also to those whose shard or intents do not want it */
    bool direct;                 /* of a direct message; else, without guild_id, of either kind */
    bool broken;                 /* the data may be no JSON; it is sent as it is */
    bool exact;                  /* the same for JSON; else what Discord would tell is added */
};

/* Sends an event to the sessions of the target. Those that wait for a resume get it into their
 * replay. The number of sessions, or a negative error. */
GATE_MUST_CHECK int gate_sandbox_dispatch(struct gate_sandbox *sandbox,
                                          const struct gate_sandbox_target *target,
                                          const struct gate_sandbox_event *event);

/* A scripted answer for requests to `path` (without /api/vN). All spans are copied. */
struct gate_sandbox_answer {
    struct gate_span path, method; /* method len 0: any */
    int status;                    /* 0: the connection is dropped instead */
    struct gate_span headers;      /* whole lines, each ended by CR LF */
    struct gate_span body;
    int64_t times; /* 0: for ever */
    int64_t delay_ms;
};
GATE_MUST_CHECK int gate_sandbox_respond(struct gate_sandbox *sandbox,
                                         const struct gate_sandbox_answer *answer);

#endif

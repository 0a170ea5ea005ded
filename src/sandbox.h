/* sandbox.h - a gateway of one's own on loopback: what lua_sandbox.c may ask of the server.
 * Called by lua_sandbox.c, on the thread of any lua_State; the server runs on a thread of its own.
 * Every function takes the server's lock itself and returns at once, unless it says otherwise.
 * Nothing here knows session.c or shard.c: the two ends share no judgement of the protocol. */
#ifndef MOONGATE_SANDBOX_H
#define MOONGATE_SANDBOX_H

#include "sandbox_etf.h"

#define GATE_SANDBOX_WHY_BYTES 320  /* a sentence that names operation, value and remedy */
#define GATE_SANDBOX_ANYONE    (-1) /* no connection or shard is numbered below zero */

struct gate_sandbox;

/* All spans are copied by gate_sandbox_start. */
struct gate_sandbox_options {
    bool tls;
    bool limits; /* identify slots, session starts, 120 sends a minute, member requests */
    bool certificate_expired;
    int port; /* 0: any that is free */
    int guilds;
    int shards;                                              /* what GET /gateway/bot recommends */
    int max_concurrency;                                     /* identify slots */
    int64_t starts_total, starts_remaining, starts_reset_ms; /* session_start_limit */
    int64_t heartbeat_interval_ms;
    double heartbeat_grace;   /* intervals without a beat before the close; 0: patient for ever */
    int heartbeat_close_code; /* 0: a drop without a close frame */
    int64_t resume_window_ms; /* how long a session outlives its connection */
    int64_t disallowed_intents;
    int64_t seed;
    int zlib_level;
    struct gate_etf_style etf;
    size_t replay_events_max, replay_bytes_max; /* of each session */
    size_t record_max, record_bytes_max;        /* packets received, requests, log lines: each */
    size_t out_bytes_max;                       /* waiting for one client, before it is dropped */
    struct gate_span token, user, user_id, username; /* user: a JSON object */
    struct gate_span certificate_name;               /* len 0: the names of loopback */
    struct gate_span resume_path;                    /* behind the URL that READY tells */
};

/* Starts listening. *out belongs to the caller until gate_sandbox_stop. On failure a negative error
 * and a sentence in `why`. */
GATE_MUST_CHECK int gate_sandbox_start(const struct gate_sandbox_options *options,
                                       struct gate_sandbox **out, char why[GATE_SANDBOX_WHY_BYTES]);

/* Says 1001 to every client, closes everything and frees `sandbox`. Waits for the server's thread,
 * which takes milliseconds. */
void gate_sandbox_stop(struct gate_sandbox *sandbox);

/* What never changes; borrowed until the stop. Without TLS the file is "". */
int gate_sandbox_port(const struct gate_sandbox *sandbox);
const char *gate_sandbox_ca_file(const struct gate_sandbox *sandbox);

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
    GATE_ORDER_HEARTBEAT,
    GATE_ORDER_PAYLOAD,  /* `text`: JSON, sent as any message */
    GATE_ORDER_RAW,      /* `text`, `number`: the first byte of the frame, -1: no frame around it */
    GATE_ORDER_CORRUPT,  /* `number` messages from now on */
    GATE_ORDER_SWALLOW,  /* the same: compressed, then thrown away */
    GATE_ORDER_WITHHOLD, /* `on`; these five are also knobs of connections to come */
    GATE_ORDER_HALF_OPEN,      /* `on` */
    GATE_ORDER_STALL,          /* `on`, `number`: a GATE_STALL_ bit */
    GATE_ORDER_SPLIT,          /* `number` bytes of each frame; 0: whole */
    GATE_ORDER_SPLIT_MESSAGES, /* `number` bytes of each message; 0: whole */
    GATE_ORDER_TRICKLE,        /* `number` bytes every `pause_ms`; 0: all at once */
    GATE_ORDER_CUT             /* `number` bytes more, then an end; 0: none. To all: the next */
};

#define GATE_STALL_ACCEPT  1u  /* connections stay in the kernel's queue */
#define GATE_STALL_UPGRADE 2u  /* the request for a WebSocket gets no answer */
#define GATE_STALL_HELLO   4u  /* no HELLO */
#define GATE_STALL_READY   8u  /* Identify is read, READY held */
#define GATE_STALL_RESUMED 16u /* the replay is sent, RESUMED held */
#define GATE_STALL_CLOSE   32u /* a close frame gets no answer and no end of the connection */

struct gate_sandbox_order {
    enum gate_sandbox_verb verb;
    struct gate_sandbox_target target;
    bool on;
    int64_t number;
    int64_t pause_ms;
    struct gate_span text; /* copied */
};

/* Does it. The number of connections it touched, or a negative error (GATE_EMEMORY, GATE_EFORK). */
GATE_MUST_CHECK int gate_sandbox_order(struct gate_sandbox *, const struct gate_sandbox_order *);

/* An event to be told; both spans are copied. */
struct gate_sandbox_event {
    struct gate_span name, data; /* data: JSON */
    bool unfiltered;             /* also to those whose shard or intents do not want it */
    bool direct;                 /* of a direct message; else, without guild_id, of either kind */
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

enum gate_sandbox_list {
    GATE_LIST_CONNECTIONS, /* those that are open */
    GATE_LIST_HISTORY,     /* those that were */
    GATE_LIST_SESSIONS,
    GATE_LIST_GUILDS,
    GATE_LIST_RECEIVED, /* `tag`: an opcode */
    GATE_LIST_LOG,
    GATE_LIST_REQUESTS
};
#define GATE_TAG_ALL (-1) /* opcodes begin at zero */

/* Appends a JSON array. *lost is how many older entries the bound has cost. */
GATE_MUST_CHECK int gate_sandbox_list(struct gate_sandbox *sandbox, enum gate_sandbox_list which,
                                      int tag, struct gate_buf *out, uint64_t *lost);

/* How many entries that list has. For connections `tag` 1 means those that have a session. */
GATE_MUST_CHECK int gate_sandbox_count(struct gate_sandbox *sandbox, enum gate_sandbox_list which,
                                       int tag);

void gate_sandbox_forget(struct gate_sandbox *sandbox); /* empties those that only grow */

/* A number that grows with everything that happens. gate_sandbox_wait blocks the calling thread
 * until it is not `seen` any more or `timeout_ms` is over, and returns the newest. */
uint64_t gate_sandbox_changes(struct gate_sandbox *sandbox);
uint64_t gate_sandbox_wait(struct gate_sandbox *sandbox, uint64_t seen, int64_t timeout_ms);

#endif

/* machine.h - the words of the pure machine: its states, what goes in and what comes out.
 * Included by the session and the shard, and by every driver: engine, lua_machine.c, simulator,
 * fuzzers. No function here has state. */
#ifndef MOONGATE_MACHINE_H
#define MOONGATE_MACHINE_H

#include "codec.h"
#include "event.h"
#include "inflate.h"
#include "moongate.h"

#define GATE_STATES(X)                                                                             \
    X(IDLE, "idle")               /* not started, or stopped; final */                             \
    X(BACKOFF, "backoff")         /* until the next attempt */                                     \
    X(WAITING, "waiting")         /* for an identify slot; no socket yet */                        \
    X(CONNECTING, "connecting")   /* resolving, TCP, TLS, upgrade */                               \
    X(HELLO, "hello")             /* open, HELLO has not come */                                   \
    X(IDENTIFYING, "identifying") /* Identify sent, READY has not come */                          \
    X(RESUMING, "resuming")       /* Resume sent, RESUMED has not come */                          \
    X(READY, "ready")                                                                              \
    X(CLOSING, "closing") /* our close is sent, the socket is not gone yet */                      \
    X(DEAD, "dead")       /* a fatal close code; final */

enum gate_state {
#define X(name, word) GATE_STATE_##name,
    GATE_STATES(X)
#undef X
        GATE_STATE_COUNT
};

/* The word of a state as Lua shows it. Never NULL. */
const char *gate_state_word(enum gate_state state);

/* What a shard is started with. The shard copies everything; spans are borrowed for the call. */
struct gate_options {
    struct gate_span token; /* bare, without "Bot " */
    struct gate_span url;   /* main URL, without query */
    int shard_id, shard_count;
    int64_t intents;
    int large_threshold;            /* 0: not sent */
    int version;                    /* 0: GATE_VERSION_DEFAULT */
    const struct gate_codec *codec; /* NULL: JSON */
    enum gate_compress compress;
    struct gate_span presence; /* JSON of the op 3 object; len 0: not sent */
    struct gate_span os, browser,
        device; /* len 0: "linux" (the platform), "moongate", "moongate" */

    struct gate_span session_id;  /* of a session to take up; len 0: none */
    struct gate_span session_url; /* its resume URL; len 0: the main one */
    int64_t session_seq;

    int64_t connect_timeout_ms, hello_timeout_ms, ready_timeout_ms,
        send_timeout_ms;                     /* 0: default */
    int64_t backoff_base_ms, backoff_cap_ms; /* -1: default; 0 is legal and means at once */
    int64_t slack_ms;                        /* of beats; 0: exact */
    size_t message_bytes_max;                /* 0: GATE_MESSAGE_BYTES_MAX */
    uint64_t seed;                           /* of the shard's random numbers */
};

enum gate_action_type {
    GATE_ACT_CONNECT,    /* open `url` as connection `connection`; one at a time */
    GATE_ACT_SEND,       /* write `bytes` (taken) as one message, in order */
    GATE_ACT_CLOSE,      /* close frame with `code` and `reason`; then expect closed() */
    GATE_ACT_ABORT,      /* drop the socket now; no closed() is expected, a late one is ignored */
    GATE_ACT_EVENT,      /* hand `event` (taken) to the Lua side */
    GATE_ACT_SLOT_ASK,   /* an identify slot is wanted: answer with gate_shard_grant() */
    GATE_ACT_SLOT_SPENT, /* an Identify is leaving right now: the key's window counts from here */
    GATE_ACT_SLOT_DONE   /* READY, failure, or never used: the key is free after its window */
};

struct gate_action {
    enum gate_action_type type;
    uint32_t connection;     /* the generation it belongs to */
    struct gate_span url;    /* CONNECT: valid until the next input */
    struct gate_buf bytes;   /* SEND: the driver takes it; has GATE_HEADROOM_BYTES in front */
    bool binary;             /* SEND: goes out in a binary frame */
    bool secret;             /* SEND: holds the token; wipe it before freeing */
    int code;                /* CLOSE */
    const char *reason;      /* CLOSE: valid until the next input */
    struct gate_event event; /* EVENT: the driver takes it */
};

/* How far a connection had come when it failed, for messages that point the right way. */
#define GATE_PHASES(X)                                                                             \
    X(NONE, "")                                                                                    \
    X(RESOLVE, "resolve")                                                                          \
    X(CONNECT, "connect")                                                                          \
    X(TLS, "tls")                                                                                  \
    X(UPGRADE, "upgrade")                                                                          \
    X(OPEN, "open")
enum gate_phase {
#define X(name, word) GATE_PHASE_##name,
    GATE_PHASES(X)
#undef X
        GATE_PHASE_COUNT
};

/* The word of a phase as Lua shows it. Never NULL. */
const char *gate_phase_word(enum gate_phase phase);

/* How a connection ended. Spans are borrowed for the call. */
struct gate_close {
    enum gate_phase phase; /* OPEN: it had been open */
    int code;              /* received; GATE_CLOSE_EMPTY, GATE_CLOSE_DROPPED where there was none */
    struct gate_span reason; /* received; may be anything */
    int error;               /* gate_error of a connection that never opened, else 0 */
    struct gate_span detail; /* words for that error: "certificate has expired" */
    int http_status;         /* of a refused upgrade, else 0 */
    int64_t retry_after_ms;  /* of a refused upgrade, else 0 */
};

/* Numbers that stats() shows. Counted from the start of the shard. */
struct gate_counts {
    uint64_t bytes_in; /* as they came from the transport: compressed, decrypted */
    uint64_t bytes_inflated;
    uint64_t bytes_out; /* of payloads, as they go to the transport */
    uint64_t messages_in, messages_out;
    uint64_t events_heard, events_skipped, events_repeated, gaps;
    uint64_t unknown_ops, empty_messages, undecodable;
    uint64_t notes_lost; /* own events that found no memory */
    uint64_t connects, identifies, resumes, resumed, readies, beats, acks, zombies;
    int64_t beat_late_ms; /* the most by which a beat of the timer left behind its time */
    struct gate_close_count {
        int code;
        uint64_t count;
    } closes[GATE_CLOSES_MAX]; /* by code, whoever closed; the last row counts every further one,
                                  as code 0. Unused: count 0 */
};

/* What went over the wire. */
struct gate_traffic {
    uint64_t bytes_in, bytes_out, messages_in, messages_out;
};

static inline struct gate_traffic gate_counts_traffic(const struct gate_counts *counts) {
    return (struct gate_traffic){counts->bytes_in, counts->bytes_out, counts->messages_in,
                                 counts->messages_out};
}

/* Fills in the defaults and lets every span show a copy in `strings` (initialised, empty), but the
 * session's, which are used up at once. GATE_EMEMORY; GATE_EVALUE for a text over its limit. */
GATE_MUST_CHECK int gate_options_keep(struct gate_options *options, struct gate_buf *strings);

/* Frees what an action holds (wiping secrets). For actions nobody carries out. */
void gate_action_free(struct gate_action *action);

#endif

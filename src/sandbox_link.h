/* sandbox_link.h - one TCP connection of a client: bytes, TLS, frames, knobs, and how it ends.
 * Called by the sandbox_*.c files under the lock. Only the server's thread touches the descriptor:
 * everybody else appends to `out` or asks for an end, and wakes it. */
#ifndef MOONGATE_SANDBOX_LINK_H
#define MOONGATE_SANDBOX_LINK_H

#include <openssl/ssl.h>

#include "buf.h"
#include "moongate.h"
#include "sandbox_agenda.h"
#include "sandbox_frame.h"
#include "sandbox_stream.h"
#include "sandbox_watch.h"

struct gate_looks;
struct gate_sandbox;
struct gate_seat;

#define GATE_PRESENCES_TAKEN 5 /* of a connection in 20 s; what more do is not documented */

enum gate_link_state {
    GATE_LINK_TLS,      /* the handshake is under way */
    GATE_LINK_HTTP,     /* requests, until one asks for a WebSocket */
    GATE_LINK_OPEN,     /* a WebSocket */
    GATE_LINK_CLOSING,  /* our close frame is out; waits for the client's */
    GATE_LINK_ENDING,   /* writes what is left, then ends its direction */
    GATE_LINK_DRAINING, /* ended ours; waits for the client's end, so that nothing is cut off */
    GATE_LINK_CLOSED    /* the descriptor is gone; freed at the end of the turn */
};

/* What a connection does wrong on purpose. The sandbox has a set for those to come. */
struct gate_knobs {
    bool withhold_acks, half_open, mask_frames;
    uint32_t stalls;                          /* GATE_STALL_ bits */
    size_t frame_bytes, frame_bytes_most;     /* of each frame of a message, drawn; 0: whole */
    size_t message_bytes, message_bytes_most; /* of each WebSocket message of a compressed one */
    size_t trickle_bytes;                     /* written every trickle_ms; 0: all at once */
    int64_t trickle_ms;
    size_t cut_bytes; /* until the connection ends; 0: it does not. Of the next one only */
    bool cut_reset;   /* and how */
};

struct gate_link {
    struct gate_link *next, *previous; /* of the sandbox's list */
    struct gate_sandbox *sandbox;
    struct gate_looks *looks; /* see sandbox_turn.c; NULL: nobody is to look at it */
    struct gate_link *next_look, *previous_look;
    struct gate_watch watch;
    struct gate_appointment appointment;
    int64_t id; /* 1, 2, ... in the order of upgrades; 0: only HTTP so far */
    enum gate_link_state state;
    struct gate_knobs knobs;
    int64_t corrupt, swallow, stutter; /* messages yet to be damaged, thrown away, sent twice */

    int fd;           /* the server's thread only */
    SSL *ssl;         /* the same; NULL without TLS */
    bool tls_resumed; /* an earlier TLS session was taken up */
    bool wants_out;   /* waits for room to write */
    bool more_in;     /* bytes are waiting inside of OpenSSL, or the turn's share is used up */
    enum { GATE_DROP_NOT, GATE_DROP_RESET, GATE_DROP_END } drop; /* asked for from outside */
    struct gate_buf in;
    size_t in_used; /* bytes of `in` that are dealt with */
    struct gate_buf out;
    size_t out_sent;
    size_t retry_bytes;  /* TLS: a write that has to be tried again with as many bytes */
    int64_t deadline_ms; /* of the state */
    int64_t trickle_at_ms;

    /* HTTP. */
    bool keeps_alive;
    bool upgrade_held;
    struct gate_buf held; /* an answer that is sent at held_at_ms */
    int64_t held_at_ms;

    /* WebSocket. */
    struct gate_buf path, query; /* as in the request */
    struct gate_assembly assembly;
    const struct gate_sandbox_encoding *encoding;
    const struct gate_sandbox_compression *compression;
    void *context;                  /* of the compression */
    bool streaming;                 /* the context is open */
    int close_sent, close_received; /* 0: not yet; GATE_CLOSE_EMPTY, GATE_CLOSE_DROPPED */
    struct gate_buf close_reason;   /* of the received one */

    /* The gateway's side. */
    struct gate_seat *seat;        /* the session it holds, or NULL */
    char session[33];              /* the id of that or of the last one; "": none yet */
    int64_t shard_id, shard_count; /* of that one */
    int version;                   /* 0: one that is not served */
    bool hello_sent, identified, ready_sent;
    struct gate_buf identify; /* its data, while READY is held; len 0: none */
    bool resumed_held, guilds_held;
    int64_t opened_ms, beat_due_ms, beats;
    int64_t beat_from_ms;             /* the last one, or HELLO */
    int64_t sends_ms[GATE_SENDS_MAX]; /* when the last ones came, as a ring */
    uint64_t sends;
    int64_t presences_ms[GATE_PRESENCES_TAKEN]; /* the same of presences */
    uint64_t presences;
    uint64_t messages_out, bytes_out;
};

/* A link for an accepted descriptor, which it owns; NULL without memory (the descriptor is closed
 * then). */
struct gate_link *gate_link_new(struct gate_sandbox *sandbox, int fd);
void gate_link_free(struct gate_link *link);

/* Server's thread: there may be something to read; the writing that is possible now. */
void gate_link_readable(struct gate_link *link);
void gate_link_flush(struct gate_link *link, int64_t now_ms);

/* Server's thread: whether there is something to wait for. A deaf one is not listened to at all. */
bool gate_link_is_deaf(const struct gate_link *link);
bool gate_link_may_read(const struct gate_link *link);
bool gate_link_has_out(const struct gate_link *link);

/* Appends bytes as they are. More than the client may leave unread drops it. */
void gate_link_write(struct gate_link *link, struct gate_span bytes);

/* One message of the gateway: encoded, compressed, damaged and split as the knobs say. */
void gate_link_send(struct gate_link *link, struct gate_span json);

/* Sends a close frame (code 0: an empty one; reasons are cut at what fits) and waits for the
 * answer. Nothing when one was sent already. */
void gate_link_close(struct gate_link *link, int code, struct gate_span reason);

/* Writes what is left, then ends. For answers after which the connection closes. */
void gate_link_end(struct gate_link *link);

/* After a change of its knobs: goes on with what they have held up. */
void gate_link_release(struct gate_link *link);

/* Server's thread: ends it now, with a reset or with a plain end; `why` goes to the log. */
void gate_link_drop(struct gate_link *link, bool reset, const char *why);

/* From any thread: the same, at the server's next turn. */
void gate_link_ask_drop(struct gate_link *link, bool reset);

/* "open", "ready", ...: as connections() shows it. */
const char *gate_link_word(const struct gate_link *link);

#endif

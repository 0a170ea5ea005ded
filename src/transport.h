/* transport.h - WebSocket connections ("links") and HTTP requests over libwebsockets, whose name
 * appears in no other file of the core. Called by engine.c on its I/O thread; only
 * gate_transport_wake may come from elsewhere. It decides nothing: no close code, no back-off, no
 * opcode. */
#ifndef MOONGATE_TRANSPORT_H
#define MOONGATE_TRANSPORT_H

#include "buf.h"
#include "moongate.h"
#include "shard.h"
#include "tls.h"

struct gate_transport;
struct gate_link;

/* A header of an HTTP answer, under the name that Lua sees ("retry_after"). */
struct gate_header {
    const char *name; /* a constant */
    struct gate_span value;
};
#define GATE_HEADERS_MAX 12

/* How an HTTP request ended. Everything is borrowed for the call but `body`, which may be taken. */
struct gate_answer {
    int64_t id;
    int error;               /* 0, or a gate_error: no complete answer */
    enum gate_phase phase;   /* how far it came */
    struct gate_span detail; /* words for the error */
    int status;
    struct gate_buf *body;
    struct gate_header headers[GATE_HEADERS_MAX];
    size_t header_count;
};

/* What the transport reports, always from inside gate_transport_turn or _poll. A link may be sent
 * on, closed, aborted or paused from inside these, and others opened. */
struct gate_transport_calls {
    void (*opened)(void *user, uint32_t connection);
    void (*piece)(void *user, const struct gate_piece *piece);
    /* The only end of a link: it is gone when this is called. Never after gate_link_abort. */
    void (*closed)(void *user, uint32_t connection, const struct gate_close *why);
    void (*answered)(void *owner, struct gate_answer *answer);
};

struct gate_transport_options { /* strings are copied */
    struct gate_tls *tls;       /* outlives the transport */
    bool insecure_tls;
    const char *proxy;      /* "[user:password@]host:port"; NULL: none */
    const char *user_agent; /* NULL: none is sent */
    const struct gate_transport_calls *calls;
    void *owner;
};

/* Called on whatever thread starts the I/O thread, one at a time in the process. NULL and *error:
 * GATE_EMEMORY, GATE_ESYSTEM, GATE_EVALUE (proxy or user agent); *detail: words, a constant. The
 * process's handling of SIGPIPE is as before; libwebsockets' log goes nowhere from now on. */
struct gate_transport *gate_transport_new(const struct gate_transport_options *options, int *error,
                                          const char **detail);

/* Drops what is open without a word to anybody; close it first. NULL is fine. */
void gate_transport_del(struct gate_transport *transport);

/* Ends the sleep of gate_transport_turn. Any thread, from _new to the call of _del. */
void gate_transport_wake(struct gate_transport *transport);

/* One turn of the loop: sleeps until something happens or `deadline_ms` has come (-1: no deadline),
 * serves every socket that is ready once, reports. Timers of the caller are judged after it, never
 * before: what has arrived counts first. */
void gate_transport_turn(struct gate_transport *transport, int64_t deadline_ms);

/* The same without sleeping. True when bytes arrived on a link: more may be waiting. */
bool gate_transport_poll(struct gate_transport *transport);

struct gate_link_options {    /* everything is copied */
    struct gate_span url;     /* ws or wss */
    uint32_t connection;      /* generation, comes back in every call */
    int64_t timeout_ms;       /* until it is open: resolving, TCP, TLS and upgrade together */
    size_t message_bytes_max; /* of one WebSocket message as it travels */
    void *user;
};

/* Begins a connection. Every failure is reported by `closed` in a later turn. NULL: no memory, and
 * nothing follows. */
GATE_MUST_CHECK struct gate_link *gate_link_open(struct gate_transport *transport,
                                                 const struct gate_link_options *options);

/* Queues one message; takes `take`, which must have GATE_HEADROOM_BYTES in front, when it returns
 * 0. `secret`: wiped before it is freed. GATE_ECLOSED when not open or closing, GATE_EMEMORY,
 * GATE_EUSAGE without headroom. */
GATE_MUST_CHECK int gate_link_send(struct gate_link *link, struct gate_buf *take, bool binary,
                                   bool secret);

/* Sends a close frame behind what is queued; `closed` follows when the peer has answered it, or
 * never: then abort. A link that is not open yet is dropped, and `closed` follows. */
void gate_link_close(struct gate_link *link, int code, struct gate_span reason);

/* Drops the link at once. Nothing is reported for it any more; the pointer is dead. */
void gate_link_abort(struct gate_link *link);

/* Stops or starts reading; also answers to pings stop. Doing it twice does nothing. */
void gate_link_pause(struct gate_link *link, bool paused);

/* An HTTP/1.1 request. See gate_engine_request. */
struct gate_request {
    const char *method;                  /* "GET" */
    struct gate_span url;                /* http:// or https:// */
    struct gate_span authorization;      /* value of that header; len 0: none; wiped after use */
    struct gate_span content_type, body; /* len 0: none */
    int64_t timeout_ms;                  /* for all of it */
    int64_t id;                          /* chosen by the caller, comes back */
};

/* Begins a request whose strings all lie in `memory`, which is taken, and wiped in the end, when it
 * returns 0; `answered` follows in a later turn. GATE_EMEMORY: nothing follows. */
GATE_MUST_CHECK int gate_transport_request(struct gate_transport *transport,
                                           const struct gate_request *request,
                                           struct gate_buf *memory);

/* True when the libwebsockets that was loaded has the major version of the one that this was built
 * with; *built and *found are both versions, constants. Any thread. */
bool gate_transport_matches(const char **built, const char **found);

#endif

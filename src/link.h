/* link.h - what a transport knows of one of its connections or requests: where it goes, how far it
 * has come, what waits to be written, why it failed; and the verbs of transport.h on it. The socket
 * itself is transport.c's, which calls this on the I/O thread.
 *
 *   RESOLVING --addresses--> NEXT --connect--> BUSY --upgraded or answered--> OPEN
 *       |                     ^ ^                |                              |
 *       |                     | +--try another---+                              |
 *       +--no address--> ENDED <--none left------+--------the socket is gone----+
 */
#ifndef MOONGATE_LINK_H
#define MOONGATE_LINK_H

#include "exchange.h"
#include "frame.h"
#include "proxy.h"
#include "resolver.h"
#include "tls.h"
#include "transport.h"
#include "upgrade.h"

enum gate_stage {
    GATE_STAGE_RESOLVING,
    GATE_STAGE_NEXT, /* the next address is to be tried */
    GATE_STAGE_BUSY,
    GATE_STAGE_OPEN,
    GATE_STAGE_ENDED /* to be reported */
};

struct gate_outgoing {
    struct gate_outgoing *next;
    struct gate_buf bytes;
    bool binary, secret;
    bool begun; /* it is a frame by now, and being written */
};

/* The frames of a link; see websocket.c. */
struct gate_websocket {
    struct gate_frames frames;
    struct gate_buf kept; /* read, but paused before it was looked at */
    size_t kept_at;       /* how far that has been used up */
    bool has_read;        /* the first read is over */

    struct gate_span out; /* what is left of the frame that is being written */
    bool ending;          /* that frame, or the one before, is a close */
    bool mute;            /* a write has failed: no other is tried */
    int farewell_code;    /* of the close that answers one, or a fault; 0: none */
    bool pong_wanted;
    size_t ping_len;
    char ping[GATE_CONTROL_BYTES_MAX];                                /* payload of the last one */
    char control[GATE_FRAME_HEAD_BYTES_MAX + GATE_CONTROL_BYTES_MAX]; /* where `out` may lie */
};

struct gate_link {
    struct gate_link *next, **from; /* in the transport's list */
    struct gate_transport *transport;
    struct lws *wsi; /* the socket; NULL: none now */
    enum gate_stage stage;
    bool detached; /* nobody wants to hear of it */

    /* Where to. */
    const struct gate_proxy *proxy; /* the transport's */
    struct gate_url url;
    struct gate_addresses addresses;
    size_t address; /* the next to try */
    int64_t deadline_ms;
    int64_t address_deadline_ms; /* of the address being tried */
    bool expired;                /* the deadline has been acted upon */
    struct gate_tls_state tls;

    /* WebSocket. */
    void *user;
    uint32_t connection;
    size_t message_bytes_max;
    struct gate_upgrade upgrade;
    struct gate_websocket socket;
    struct gate_outgoing *first, *last;
    bool paused, close_wanted, close_sent, close_received;
    int close_code;
    char reason[GATE_REASON_BYTES_MAX + 1];
    size_t reason_len;

    /* HTTP; NULL for a WebSocket. */
    struct gate_exchange *exchange;

    /* How it went. */
    enum gate_phase phase;
    int error;
    char words[GATE_TLS_WORDS_MAX];
    int http_status; /* of the upgrade */
    int64_t retry_after_ms;
};

struct gate_links {          /* what the links of a transport have in common */
    struct gate_link *first; /* the newest */
    struct gate_resolver *resolver;
    struct gate_proxy proxy;
    struct gate_transport_calls calls;
    void *owner;
    uint64_t bytes_in; /* of messages, of all links */
};
struct gate_links *gate_transport_links(struct gate_transport *transport);

/* What transport.c does with the socket of a link that has one: asks to be called when it can be
 * written, goes on reading after a pause, and drops it, of which the link hears later. */
void gate_socket_write(struct gate_link *link);
void gate_socket_read(struct gate_link *link);
void gate_socket_kill(struct gate_link *link);
/* Writes, and returns how many bytes the socket took, maybe none; -1: it takes no more for ever.
 * What was not taken has to be offered again as it is. */
GATE_MUST_CHECK int64_t gate_socket_send(struct gate_link *link, struct gate_span bytes);

/* The value of a header of the answer (name in lower case) into `room`, with a NUL. Returns its
 * length; 0: there is none; -1: it does not fit. */
int64_t gate_socket_header(struct gate_link *link, const char *name, char *room, size_t room_bytes);

/* Unpredictable bytes, at most 16 at a time. GATE_ESYSTEM: none to be had. */
GATE_MUST_CHECK int gate_transport_random(struct gate_transport *transport, unsigned char *out,
                                          size_t len);

/* Takes it out of its list, if it is in one. */
void gate_link_unlist(struct gate_link *link);
/* The socket is gone by then. Wipes what is secret. */
void gate_link_del(struct gate_link *link);
/* Hands the answers that have come to the links that asked. */
void gate_link_resolved(struct gate_resolver *resolver);
/* The next address, which is being tried from now on. Each but the last gets a share of the time,
 * so that a dead one leaves some for the others. */
const char *gate_link_next_address(struct gate_link *link);
/* True when another address is worth a try: the fault may lie in this one, so not after a wrong
 * certificate, not when the server has spoken, and never when a request may have been carried out.
 */
bool gate_link_may_try_another(const struct gate_link *link);

/* When this link has to be looked at; 0: now; -1: an open WebSocket has no deadline here. */
int64_t gate_link_deadline(const struct gate_link *link);
/* Notes that the deadline has passed. True: just now, so the socket is to be killed. */
bool gate_link_expire(struct gate_link *link, int64_t now_ms);

/* Forgets the first message, wiping what is secret. */
void gate_link_drop_first(struct gate_link *link);

/* Sets the reason. */
void gate_link_fail(struct gate_link *link, int error, const char *words);
/* Finds a reason unless there is one: later ones are consequences. `text` is libwebsockets'. */
void gate_link_explain(struct gate_link *link, const char *text);
/* Tells how it ended, unless nobody wants to hear. */
void gate_link_report(struct gate_link *link, const struct gate_transport_calls *calls,
                      void *owner);

#endif

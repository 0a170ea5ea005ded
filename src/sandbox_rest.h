/* sandbox_rest.h - the REST routes that an answering bot needs, and what they set off.
 * Called by sandbox_http.c on the server's thread, under the lock. */
#ifndef MOONGATE_SANDBOX_REST_H
#define MOONGATE_SANDBOX_REST_H

#include "buf.h"
#include "moongate.h"

struct gate_sandbox;

/* What HTTP has read; everything is borrowed. */
struct gate_request {
    struct gate_span method, target;
    struct gate_span path; /* without /api and version */
    struct gate_span query;
    struct gate_span headers; /* lines with their CR LF */
    struct gate_span type;    /* of the body; no data: not told */
    struct gate_span body;
    size_t used;     /* bytes of the whole request */
    bool authorized; /* it has the bot's token */
    bool old;        /* HTTP/1.0 */
};

struct gate_reply_text {
    int status;
    struct gate_buf headers, body; /* the caller's, initialised */
};

/* Serves a request. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_rest_serve(struct gate_sandbox *sandbox,
                                    const struct gate_request *request,
                                    struct gate_reply_text *out);

#endif

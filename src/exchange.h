/* exchange.h - an HTTP request and what has come of its answer, without the socket they travel on.
 * Called by transport.c and link.c on the I/O thread. */
#ifndef MOONGATE_EXCHANGE_H
#define MOONGATE_EXCHANGE_H

#include "http.h"
#include "transport.h"

#define GATE_HEADER_VALUE_MAX 256 /* of an answer; what is longer is left out */
#define GATE_HEADER_NAME_MAX  64  /* of those that are looked at */

struct gate_exchange {
    struct gate_request request; /* its strings lie in `memory` */
    struct gate_buf memory;
    struct gate_buf body; /* of the answer */
    bool chunked, complete;
    char *at; /* where the reader of the body is */
    int status;
    size_t header_count;
    struct {
        const char *name;
        char value[GATE_HEADER_VALUE_MAX];
    } headers[GATE_HEADERS_MAX];
};

/* Takes `memory` unless it returns NULL: no memory. */
struct gate_exchange *gate_exchange_new(const struct gate_request *request,
                                        struct gate_buf *memory);
/* Wipes the request. NULL is fine. */
void gate_exchange_del(struct gate_exchange *exchange);

/* The part of the request that has a byte which does not belong there; NULL: none. */
const char *gate_exchange_fault(const struct gate_exchange *exchange);

/* Writes the headers of the request. False: there is no room. *secret: where the value of
 * Authorization came to stand, to be wiped; len 0: nowhere. */
GATE_MUST_CHECK bool gate_exchange_compose(const struct gate_exchange *exchange,
                                           struct gate_pen *pen, struct gate_span *secret);

/* True for what has no body by its nature (RFC 9110, 6.4.1), whatever its headers say. */
bool gate_exchange_is_bare(const struct gate_exchange *exchange);

/* Fills *out with the answer, or with the failure if it is not complete. Borrowed from the
 * exchange. */
void gate_exchange_answer(struct gate_exchange *exchange, int error, struct gate_span detail,
                          struct gate_answer *out);

#endif

/* sandbox_parts.h - bodies of several parts (multipart/form-data, RFC 7578).
 * Called by sandbox_rest.c on the server's thread, under the lock. */
#ifndef MOONGATE_SANDBOX_PARTS_H
#define MOONGATE_SANDBOX_PARTS_H

#include "moongate.h"

struct gate_part {
    struct gate_span name, filename; /* no data: none */
    struct gate_span type;
    struct gate_span body;
};

/* The boundary of a Content-Type; no data when it is none of several parts. */
struct gate_span gate_parts_boundary(struct gate_span type);

/* The next part; *rest is the body at first and belongs to this function afterwards. False behind
 * the last and at what is no part. */
bool gate_parts_next(struct gate_span *rest, struct gate_span boundary, struct gate_part *out);

#endif

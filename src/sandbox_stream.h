/* sandbox_stream.h - encodings and compressions as the server writes them: one struct of functions
 * for each. Called by sandbox_link.c and sandbox_session.c under the lock.
 * A message is JSON text everywhere in the sandbox; the encoding turns it into what travels. */
#ifndef MOONGATE_SANDBOX_STREAM_H
#define MOONGATE_SANDBOX_STREAM_H

#include "buf.h"
#include "moongate.h"
#include "sandbox_etf.h"

struct gate_sandbox_encoding {
    const char *name; /* in the URL */
    bool binary;      /* its messages travel in binary frames, both ways */
    /* Appends the message `json` as this encoding has it; the style is that of ETF. */
    int (*encode)(const struct gate_etf_style *style, struct gate_span json, struct gate_buf *out);
    /* Appends the JSON of a client's message. GATE_ESYNTAX and what else the codec says. */
    int (*decode)(struct gate_span wire, struct gate_buf *json);
};

struct gate_sandbox_compression {
    const char *name;   /* in the URL; "" for none */
    bool binary;        /* its messages travel in binary frames whatever the encoding */
    size_t least_bytes; /* shorter messages travel as they are */
    /* `context` belongs to one connection: made at its first message, freed with it. */
    int (*open)(int level, void **context);
    /* Appends one message, flushed so that the client can read all of it. */
    int (*push)(void *context, struct gate_span message, struct gate_buf *out);
    void (*close)(void *context);
};

/* By the word in the URL; NULL for one that is not known. No word at all is the default. */
const struct gate_sandbox_encoding *gate_sandbox_encoding_find(struct gate_span word);
const struct gate_sandbox_compression *gate_sandbox_compression_find(struct gate_span word);

/* What an Identify with `compress` asks for: long messages as a whole zlib stream each. */
extern const struct gate_sandbox_compression gate_sandbox_payload_compression;

#endif

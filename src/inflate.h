/* inflate.h - the transport compression of one connection behind one push call.
 * Called by shard.c on the thread that owns the shard. Belongs to a connection and dies with it:
 * never carried into the next one. Knows nothing of what is inside a message. */
#ifndef MOONGATE_INFLATE_H
#define MOONGATE_INFLATE_H

#include "buf.h"
#include "moongate.h"

enum gate_compress {
    GATE_COMPRESS_NONE,
    GATE_COMPRESS_ZLIB_STREAM, /* protocol: zlib-stream */
    GATE_COMPRESS_ZSTD_STREAM, /* protocol: zstd-stream; its place, not built yet */
    GATE_COMPRESS_PAYLOAD      /* protocol: Identify's compress; its place, not built yet */
};

/* The value of the URL's compress parameter, or NULL for none. */
const char *gate_compress_word(enum gate_compress compress);

/* True for the kinds that this build can inflate. */
bool gate_compress_available(enum gate_compress compress);

struct gate_inflate {
    enum gate_compress kind;
    void *stream; /* a z_stream with its window; NULL for none */
    char tail[4]; /* the last bytes that came in, to find the flush mark across pieces */
    uint32_t tail_len;
};

/* Begins a fresh stream. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_inflate_open(struct gate_inflate *inflate, enum gate_compress kind);
void gate_inflate_close(struct gate_inflate *inflate);

/* Appends what `piece` inflates to behind `out`. `final`: the piece ends a WebSocket message.
 * 1: `out` now ends at a message boundary. 0: more pieces are needed. GATE_ESTREAM: corrupt.
 * GATE_EMESSAGE: over the cap of `out`. GATE_EMEMORY. After an error only close is legal. */
GATE_MUST_CHECK int gate_inflate_push(struct gate_inflate *inflate, struct gate_span piece,
                                      bool final, struct gate_buf *out);

#endif

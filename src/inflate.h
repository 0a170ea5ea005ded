/* inflate.h - the compression of one connection behind one push call, whatever its kind.
 * Called by shard.c on the thread that owns the shard. What a stream has read belongs to its
 * connection and is never carried into the next one; its memory may be. Knows nothing of what is
 * inside a message. */
#ifndef MOONGATE_INFLATE_H
#define MOONGATE_INFLATE_H

#include "buf.h"
#include "moongate.h"

enum gate_compress {
    GATE_COMPRESS_NONE,
    GATE_COMPRESS_ZLIB_STREAM, /* protocol: zlib-stream; a message ends with the flush mark */
    GATE_COMPRESS_ZSTD_STREAM, /* protocol: zstd-stream; a WebSocket message is a message */
    GATE_COMPRESS_PAYLOAD, /* protocol: Identify's compress; binary messages are whole streams */
    GATE_COMPRESS_COUNT
};

/* The value of the URL's compress parameter, or NULL where the URL has none. */
const char *gate_compress_word(enum gate_compress compress);

/* The kind of that name: "zlib-stream", "zstd-stream" or "payload". False: there is none. */
bool gate_compress_find(struct gate_span name, enum gate_compress *out);

/* A piece of a WebSocket message as the transport has it. */
struct gate_piece {
    uint32_t connection; /* of the CONNECT action that opened it; a stale one is ignored */
    struct gate_span bytes;
    bool final;  /* the last piece of its WebSocket message */
    bool binary; /* its message's frame type */
};

struct gate_inflate { /* all zero before the first open */
    enum gate_compress kind;
    bool open;       /* between open and close */
    bool begun;      /* payload: bytes of the present message have come */
    bool ended;      /* payload: and its stream is complete */
    uint32_t spread; /* bytes that came out of 16 lately; for guessing */
    char tail[4];    /* zlib-stream: the last bytes that came in, to find the mark across pieces */
    uint32_t tail_len;
    void *stream; /* of the library; NULL for none. Outlives close */
};

/* Begins a fresh stream, in the memory of the one before when that was of the same kind.
 * GATE_EMEMORY: it is closed. */
GATE_MUST_CHECK int gate_inflate_open(struct gate_inflate *inflate, enum gate_compress kind);

/* Ends the stream; only open and free are legal afterwards. Keeps its memory for the next open. */
void gate_inflate_close(struct gate_inflate *inflate);

/* Ends the stream and gives the memory back. */
void gate_inflate_free(struct gate_inflate *inflate);

/* Appends what the piece (borrowed; its connection is not looked at) inflates to behind `out`.
 * 1: `out` now ends at a message boundary. 0: more pieces are needed. GATE_ESTREAM: corrupt, cut
 * short, or more of a window than GATE_ZSTD_WINDOW_LOG_MAX. GATE_EMESSAGE: over the cap of `out`.
 * GATE_EMEMORY. After an error only close and free are legal. */
GATE_MUST_CHECK int gate_inflate_push(struct gate_inflate *inflate, const struct gate_piece *piece,
                                      struct gate_buf *out);

#endif

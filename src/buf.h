/* buf.h - a growable byte buffer with a hard cap and room in front; the place that reallocates.
 * Called by everybody who holds bytes, on the thread that owns the buffer.
 * Buffers move, they are not copied: a message is one buffer from the wire to the decoder. */
#ifndef MOONGATE_BUF_H
#define MOONGATE_BUF_H

#include "moongate.h"

struct gate_buf {
    char *data;      /* first byte; `headroom_bytes` more belong to us before it; NULL when empty */
    size_t len;      /* bytes in use */
    size_t capacity; /* bytes that fit at `data` */
    size_t headroom_bytes;
    size_t len_max; /* the hard cap; 0 means none */
};

/* Allocates nothing. `len_max` 0: no cap. */
void gate_buf_init(struct gate_buf *buf, size_t headroom_bytes, size_t len_max);

/* Gives the memory back, that of a large buffer (GATE_LARGE_BYTES) to the system itself; the buffer
 * is empty and usable afterwards. */
void gate_buf_free(struct gate_buf *buf);

/* Makes room for `extra` more bytes behind `len`. GATE_EMESSAGE over the cap, GATE_EMEMORY; on
 * failure nothing has changed. */
GATE_MUST_CHECK int gate_buf_reserve(struct gate_buf *buf, size_t extra);

/* Copies `bytes` behind what is there. Errors as gate_buf_reserve. */
GATE_MUST_CHECK int gate_buf_append(struct gate_buf *buf, struct gate_span bytes);
GATE_MUST_CHECK int gate_buf_append_byte(struct gate_buf *buf, char byte);

/* Forgets the bytes, keeps the memory unless it is larger than `keep_bytes_max`. */
void gate_buf_clear(struct gate_buf *buf, size_t keep_bytes_max);

/* Overwrites the memory with zeros (also what was used before), then forgets the bytes. For
 * buffers that held the token. */
void gate_buf_wipe(struct gate_buf *buf);

/* `to` must be initialised and is freed first; it takes memory, length and cap of `from`, which is
 * empty afterwards with its headroom and cap kept. */
void gate_buf_move(struct gate_buf *to, struct gate_buf *from);

/* `to`, initialised, gets the memory of `from` when it has none, its cap allows it and the headroom
 * of both is the same; else nothing happens. */
void gate_buf_adopt(struct gate_buf *to, struct gate_buf *from);

/* The bytes as a span, valid until the next call that grows, moves or frees the buffer. */
static inline struct gate_span gate_buf_span(const struct gate_buf *buf) {
    return (struct gate_span){buf->data, buf->len};
}

/* The allocator of the whole core: behaves as realloc for bytes > 0 and as free for bytes == 0.
 * Only buf.c, queue.c, resolver.c, transport.c and engine.c call it. Any thread. */
void *gate_allocate(void *old, size_t bytes);

/* For tests: every allocation goes through `hook` from now on; NULL restores the C library's.
 * Call it before anything else runs. */
void gate_allocate_hook(void *(*hook)(void *old, size_t bytes));

/* Fills memory with zeros in a way the compiler may not remove. */
void gate_wipe(void *memory, size_t bytes);

#endif

/* inflate.c - see inflate.h. Pieces go through zlib as they arrive; no compressed copy is kept. */
#include "inflate.h"

#include <string.h>
#include <zlib.h>

#define TYPICAL_RATIO 5 /* of the room asked for first to the piece that came */

/* A zlib-stream message ends with an empty stored block (Z_SYNC_FLUSH). */
static const char flush_mark[4] = {'\x00', '\x00', '\xff', '\xff'};

static const struct {
    const char *word;
    bool available;
} kinds[] = {
    [GATE_COMPRESS_NONE] = {NULL, true},
    [GATE_COMPRESS_ZLIB_STREAM] = {"zlib-stream", true},
    [GATE_COMPRESS_ZSTD_STREAM] = {"zstd-stream", false},
    [GATE_COMPRESS_PAYLOAD] = {NULL, false},
};

const char *gate_compress_word(enum gate_compress compress) {
    return kinds[compress].word;
}

bool gate_compress_available(enum gate_compress compress) {
    return kinds[compress].available;
}

static void *zlib_allocate(void *opaque, unsigned count, unsigned bytes) {
    (void)opaque;
    return gate_allocate(NULL, (size_t)count * bytes);
}

static void zlib_release(void *opaque, void *memory) {
    (void)opaque;
    gate_allocate(memory, 0);
}

int gate_inflate_open(struct gate_inflate *inflate, enum gate_compress kind) {
    *inflate = (struct gate_inflate){.kind = kind};
    if (kind != GATE_COMPRESS_ZLIB_STREAM) return GATE_OK;
    z_stream *stream = gate_allocate(NULL, sizeof *stream);
    if (!stream) return GATE_EMEMORY;
    *stream = (z_stream){.zalloc = zlib_allocate, .zfree = zlib_release};
    if (inflateInit(stream) != Z_OK) {
        gate_allocate(stream, 0);
        return GATE_EMEMORY;
    }
    inflate->stream = stream;
    return GATE_OK;
}

void gate_inflate_close(struct gate_inflate *inflate) {
    if (inflate->stream) {
        inflateEnd(inflate->stream);
        gate_allocate(inflate->stream, 0);
    }
    *inflate = (struct gate_inflate){.kind = inflate->kind};
}

/* The mark may be cut anywhere, so the last four bytes are remembered over all pieces. */
static void remember_tail(struct gate_inflate *inflate, struct gate_span piece) {
    if (piece.len >= sizeof inflate->tail) {
        memcpy(inflate->tail, piece.data + piece.len - sizeof inflate->tail, sizeof inflate->tail);
        inflate->tail_len = sizeof inflate->tail;
        return;
    }
    for (size_t i = 0; i < piece.len; i++) {
        if (inflate->tail_len == sizeof inflate->tail)
            memmove(inflate->tail, inflate->tail + 1, --inflate->tail_len);
        inflate->tail[inflate->tail_len++] = piece.data[i];
    }
}

static bool ends_with_mark(const struct gate_inflate *inflate) {
    return inflate->tail_len == sizeof flush_mark &&
           memcmp(inflate->tail, flush_mark, sizeof flush_mark) == 0;
}

/* A full buffer at its cap is only too small if more wants to come out. */
static int expect_nothing_more(z_stream *stream) {
    Bytef probe[1];
    stream->next_out = probe;
    stream->avail_out = sizeof probe;
    int status = inflate(stream, Z_SYNC_FLUSH);
    if (stream->avail_out == 0) return GATE_EMESSAGE;
    return status == Z_OK || status == Z_BUF_ERROR ? GATE_OK : GATE_ESTREAM;
}

/* One inflate call into whatever room `out` has. GATE_AGAIN while it filled that room. */
static int inflate_once(z_stream *stream, struct gate_buf *out) {
    int rc = gate_buf_reserve(out, 1);
    if (rc == GATE_EMESSAGE) return expect_nothing_more(stream);
    if (rc < 0) return rc;
    size_t room = out->capacity - out->len;
    if (room > UINT32_MAX) room = UINT32_MAX;
    stream->next_out = (Bytef *)out->data + out->len;
    stream->avail_out = (uInt)room;
    int status = inflate(stream, Z_SYNC_FLUSH);
    out->len += room - stream->avail_out;
    if (status == Z_BUF_ERROR) return GATE_OK; /* no progress: nothing is left to do */
    if (status == Z_MEM_ERROR) return GATE_EMEMORY;
    if (status != Z_OK) return GATE_ESTREAM; /* the stream never ends: Z_STREAM_END is wrong too */
    return stream->avail_out == 0 ? GATE_AGAIN : GATE_OK;
}

/* A first guess spares the doublings of a fresh buffer; the cap has the last word. */
static int make_room(struct gate_buf *out, size_t piece_bytes) {
    size_t guess = piece_bytes * TYPICAL_RATIO;
    if (out->len_max && guess > out->len_max - out->len) guess = out->len_max - out->len;
    return gate_buf_reserve(out, guess);
}

static int inflate_piece(z_stream *stream, struct gate_span piece, struct gate_buf *out) {
    if (piece.len > UINT32_MAX / TYPICAL_RATIO) return GATE_EMESSAGE;
    stream->next_in = (z_const Bytef *)(uintptr_t)piece.data;
    stream->avail_in = (uInt)piece.len;
    int rc = make_room(out, piece.len);
    if (rc < 0) return rc;
    do rc = inflate_once(stream, out);
    while (rc == GATE_AGAIN);
    if (rc == GATE_OK && stream->avail_in > 0) return GATE_ESTREAM;
    return rc;
}

int gate_inflate_push(struct gate_inflate *inflate, struct gate_span piece, bool final,
                      struct gate_buf *out) {
    if (inflate->kind != GATE_COMPRESS_ZLIB_STREAM) {
        int rc = gate_buf_append(out, piece);
        return rc < 0 ? rc : final;
    }
    if (!inflate->stream) return GATE_ESTREAM;
    remember_tail(inflate, piece);
    int rc = inflate_piece(inflate->stream, piece, out);
    return rc < 0 ? rc : final && ends_with_mark(inflate);
}

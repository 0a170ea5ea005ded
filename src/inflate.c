/* inflate.c - see inflate.h. Pieces go through the library as they arrive, straight into the
 * message: no compressed copy is kept, and no inflated one. */
#include "inflate.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define SPREAD_FIRST   (5 * 16)   /* five to one, as gateway traffic is on average */
#define SPREAD_MAX     (64 * 16)  /* of a guess: repetitive text must not claim megabytes */
#define GUESS_BYTES    272        /* zlib's fast loop runs while 258 bytes of room are left */
#define STEP_BYTES_MAX (1u << 30) /* of one call: zlib counts in unsigned */

/* A zlib-stream message ends with an empty stored block (Z_SYNC_FLUSH). */
static const char flush_mark[4] = {'\x00', '\x00', '\xff', '\xff'};

/* What one call of a library moves: both sides shrink by what was used. */
struct flow {
    struct gate_span in;
    char *out;
    size_t room;
};

/* ---- zlib ------------------------------------------------------------------------------------ */

static void *zlib_allocate(void *opaque, unsigned count, unsigned bytes) {
    (void)opaque;
    return gate_allocate(NULL, (size_t)count * bytes);
}

static void zlib_release(void *opaque, void *memory) {
    (void)opaque;
    gate_allocate(memory, 0);
}

static void *zlib_make(void) {
    z_stream *stream = gate_allocate(NULL, sizeof *stream);
    if (!stream) return NULL;
    *stream = (z_stream){.zalloc = zlib_allocate, .zfree = zlib_release};
    if (inflateInit(stream) == Z_OK) return stream;
    gate_allocate(stream, 0);
    return NULL;
}

/* The checksum stands behind the end of a stream, which this kind never reaches: it would be
 * computed for nothing. */
static void *zlib_make_endless(void) {
    z_stream *stream = zlib_make();
    if (stream) (void)inflateValidate(stream, 0);
    return stream;
}

static void zlib_reset(void *stream) {
    (void)inflateReset(stream);
}

static void zlib_drop(void *stream) {
    inflateEnd(stream);
    gate_allocate(stream, 0);
}

static uInt at_most_a_step(size_t bytes) {
    return bytes < STEP_BYTES_MAX ? (uInt)bytes : STEP_BYTES_MAX;
}

/* 1: the stream has come to its end, 0: it goes on. */
static int zlib_step(void *context, struct flow *flow) {
    z_stream *stream = context;
    uInt in = at_most_a_step(flow->in.len), room = at_most_a_step(flow->room);
    stream->next_in = (z_const Bytef *)(uintptr_t)flow->in.data;
    stream->avail_in = in;
    stream->next_out = (Bytef *)flow->out;
    stream->avail_out = room;
    int status = inflate(stream, Z_SYNC_FLUSH);
    flow->in.data += in - stream->avail_in;
    flow->in.len -= in - stream->avail_in;
    flow->out += room - stream->avail_out;
    flow->room -= room - stream->avail_out;
    if (status == Z_MEM_ERROR) return GATE_EMEMORY;
    if (status == Z_STREAM_END) return 1;
    /* Z_BUF_ERROR: no progress, so nothing is left to do. */
    return status == Z_OK || status == Z_BUF_ERROR ? 0 : GATE_ESTREAM;
}

/* ---- zstd ------------------------------------------------------------------------------------ */

static void *zstd_make(void) {
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (!context) return NULL;
    size_t rc = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, GATE_ZSTD_WINDOW_LOG_MAX);
    if (!ZSTD_isError(rc)) return context;
    ZSTD_freeDCtx(context);
    return NULL;
}

static void zstd_reset(void *context) {
    (void)ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
}

static void zstd_drop(void *context) {
    ZSTD_freeDCtx(context);
}

/* A frame may end and another begin: to the gateway's messages that means nothing. */
static int zstd_step(void *context, struct flow *flow) {
    ZSTD_inBuffer in = {flow->in.data, flow->in.len, 0};
    ZSTD_outBuffer out = {flow->out, flow->room, 0};
    size_t rc = ZSTD_decompressStream(context, &out, &in);
    flow->in.data += in.pos;
    flow->in.len -= in.pos;
    flow->out += out.pos;
    flow->room -= out.pos;
    if (!ZSTD_isError(rc)) return 0;
    return ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? GATE_EMEMORY : GATE_ESTREAM;
}

/* ---- The kinds ------------------------------------------------------------------------------- */

static int push_plain(struct gate_inflate *inflate, const struct gate_piece *piece,
                      struct gate_buf *out);
static int push_zlib(struct gate_inflate *inflate, const struct gate_piece *piece,
                     struct gate_buf *out);
static int push_zstd(struct gate_inflate *inflate, const struct gate_piece *piece,
                     struct gate_buf *out);
static int push_payload(struct gate_inflate *inflate, const struct gate_piece *piece,
                        struct gate_buf *out);

static const struct {
    const char *name; /* NULL: has none */
    bool in_url;      /* asked for there; otherwise in Identify */
    void *(*make)(void);
    void (*reset)(void *stream);
    void (*drop)(void *stream);
    int (*step)(void *stream, struct flow *flow);
    int (*push)(struct gate_inflate *inflate, const struct gate_piece *piece, struct gate_buf *out);
} kinds[GATE_COMPRESS_COUNT] = {
    [GATE_COMPRESS_NONE] = {.push = push_plain},
    [GATE_COMPRESS_ZLIB_STREAM] = {"zlib-stream", true, zlib_make_endless, zlib_reset, zlib_drop,
                                   zlib_step, push_zlib},
    [GATE_COMPRESS_ZSTD_STREAM] = {"zstd-stream", true, zstd_make, zstd_reset, zstd_drop, zstd_step,
                                   push_zstd},
    [GATE_COMPRESS_PAYLOAD] = {"payload", false, zlib_make, zlib_reset, zlib_drop, zlib_step,
                               push_payload},
};

const char *gate_compress_word(enum gate_compress compress) {
    return kinds[compress].in_url ? kinds[compress].name : NULL;
}

bool gate_compress_find(struct gate_span name, enum gate_compress *out) {
    for (int kind = 0; kind < GATE_COMPRESS_COUNT; kind++) {
        const char *known = kinds[kind].name;
        if (!known || strlen(known) != name.len || memcmp(known, name.data, name.len) != 0)
            continue;
        *out = (enum gate_compress)kind;
        return true;
    }
    return false;
}

/* ---- Made and gone --------------------------------------------------------------------------- */

int gate_inflate_open(struct gate_inflate *inflate, enum gate_compress kind) {
    if (inflate->kind != kind) gate_inflate_free(inflate);
    *inflate = (struct gate_inflate){
        .kind = kind, .open = true, .spread = SPREAD_FIRST, .stream = inflate->stream};
    if (inflate->stream)
        kinds[kind].reset(inflate->stream);
    else if (kinds[kind].make)
        inflate->stream = kinds[kind].make();
    if (inflate->stream || !kinds[kind].make) return GATE_OK;
    inflate->open = false;
    return GATE_EMEMORY;
}

void gate_inflate_close(struct gate_inflate *inflate) {
    inflate->open = false;
}

void gate_inflate_free(struct gate_inflate *inflate) {
    if (inflate->stream) kinds[inflate->kind].drop(inflate->stream);
    inflate->stream = NULL;
    inflate->open = false;
}

/* ---- Pieces ---------------------------------------------------------------------------------- */

/* Where the next step writes to. A buffer at its cap is only too small if more wants to come out,
 * which one byte elsewhere tells. */
static int find_room(struct gate_buf *out, char *probe, struct flow *flow) {
    int rc = gate_buf_reserve(out, 1);
    if (rc < 0 && rc != GATE_EMESSAGE) return rc;
    flow->out = rc < 0 ? probe : out->data + out->len;
    flow->room = rc < 0 ? 1 : out->capacity - out->len;
    return GATE_OK;
}

/* A library may hold back what found no room, so a step that filled its room is not the last. */
static int inflate_piece(struct gate_inflate *inflate, struct gate_span piece,
                         struct gate_buf *out) {
    struct flow flow = {.in = piece};
    char probe;
    while (flow.in.len > 0 || flow.room == 0) {
        int rc = find_room(out, &probe, &flow);
        if (rc < 0) return rc;
        size_t room = flow.room, in_len = flow.in.len;
        const char *to = flow.out;
        rc = kinds[inflate->kind].step(inflate->stream, &flow);
        size_t came = room - flow.room;
        if (to == &probe && came) return GATE_EMESSAGE;
        out->len += came;
        if (rc < 0) return rc;
        inflate->ended = rc > 0;
        if (!came && flow.in.len == in_len) return in_len ? GATE_ESTREAM : GATE_OK;
    }
    return GATE_OK;
}

/* A guess from what came out lately spares the doublings of a fresh buffer; the cap has the last
 * word. */
static int make_room(const struct gate_inflate *inflate, size_t piece_bytes, struct gate_buf *out) {
    if (piece_bytes > SIZE_MAX / SPREAD_MAX) return GATE_EMESSAGE;
    size_t guess = piece_bytes * inflate->spread / 16 + GUESS_BYTES;
    if (out->len_max && guess > out->len_max - out->len) guess = out->len_max - out->len;
    return gate_buf_reserve(out, guess);
}

/* Moves a quarter of the way to what this piece did, and a quarter above. */
static void learn_spread(struct gate_inflate *inflate, size_t in_len, size_t out_len) {
    size_t spread = out_len * 20 / in_len;
    if (spread > SPREAD_MAX) spread = SPREAD_MAX;
    inflate->spread = (inflate->spread * 3 + (uint32_t)spread) / 4;
}

static int inflate_into(struct gate_inflate *inflate, struct gate_span piece,
                        struct gate_buf *out) {
    if (piece.len == 0) return GATE_OK;
    size_t before = out->len;
    int rc = make_room(inflate, piece.len, out);
    if (rc == GATE_OK) rc = inflate_piece(inflate, piece, out);
    if (rc == GATE_OK) learn_spread(inflate, piece.len, out->len - before);
    return rc;
}

/* ---- Boundaries ------------------------------------------------------------------------------ */

static int push_plain(struct gate_inflate *inflate, const struct gate_piece *piece,
                      struct gate_buf *out) {
    (void)inflate;
    int rc = gate_buf_append(out, piece->bytes);
    return rc < 0 ? rc : piece->final;
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

/* The stream of a connection never ends: an end is as wrong as garbage. */
static int push_zlib(struct gate_inflate *inflate, const struct gate_piece *piece,
                     struct gate_buf *out) {
    remember_tail(inflate, piece->bytes);
    int rc = inflate_into(inflate, piece->bytes, out);
    if (rc < 0) return rc;
    if (inflate->ended) return GATE_ESTREAM;
    return piece->final && ends_with_mark(inflate);
}

/* No mark is needed: each WebSocket message is one of the gateway's (protocol: zstd-stream). */
static int push_zstd(struct gate_inflate *inflate, const struct gate_piece *piece,
                     struct gate_buf *out) {
    int rc = inflate_into(inflate, piece->bytes, out);
    return rc < 0 ? rc : piece->final;
}

/* Each binary message is a whole stream with its checksum; text is what it is. */
static int push_payload(struct gate_inflate *inflate, const struct gate_piece *piece,
                        struct gate_buf *out) {
    if (!piece->binary) return push_plain(inflate, piece, out);
    if (!inflate->begun && piece->bytes.len > 0) {
        zlib_reset(inflate->stream);
        inflate->begun = true;
        inflate->ended = false;
    }
    int rc = inflate_into(inflate, piece->bytes, out);
    if (rc < 0 || !piece->final) return rc;
    bool whole = inflate->ended || !inflate->begun;
    inflate->begun = false;
    return whole ? 1 : GATE_ESTREAM;
}

int gate_inflate_push(struct gate_inflate *inflate, const struct gate_piece *piece,
                      struct gate_buf *out) {
    if (!inflate->open) return GATE_ESTREAM;
    return kinds[inflate->kind].push(inflate, piece, out);
}

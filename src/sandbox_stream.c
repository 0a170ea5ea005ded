/* sandbox_stream.c - see sandbox_stream.h. Each encoding and compression is a row of its table. */
#include "sandbox_stream.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define PAYLOAD_LEAST_BYTES                                                                        \
    512 /* so that READY and guilds are compressed, beats and acks are not */

/* ---- Encodings --------------------------------------------------------------------------------
 */

static int write_json(const struct gate_etf_style *style, struct gate_span json,
                      struct gate_buf *out) {
    (void)style;
    return gate_buf_append(out, json);
}

static int read_json(struct gate_span wire, struct gate_buf *json) {
    return gate_buf_append(json, wire);
}

static const struct gate_sandbox_encoding encodings[] = {
    {"json", false, write_json, read_json},
    {"etf", true, gate_sandbox_etf_write, gate_sandbox_etf_read},
};

/* ---- Compressions -----------------------------------------------------------------------------
 */

static voidpf allocate_for_zlib(voidpf unused, uInt items, uInt bytes) {
    (void)unused;
    return gate_allocate(NULL, (size_t)items * bytes);
}

static void free_for_zlib(voidpf unused, voidpf memory) {
    (void)unused;
    gate_allocate(memory, 0);
}

static int open_zlib(int level, void **context) {
    z_stream *stream = gate_allocate(NULL, sizeof *stream);
    if (!stream) return GATE_EMEMORY;
    memset(stream, 0, sizeof *stream);
    stream->zalloc = allocate_for_zlib;
    stream->zfree = free_for_zlib;
    if (deflateInit(stream, level) != Z_OK) {
        gate_allocate(stream, 0);
        return GATE_EMEMORY;
    }
    *context = stream;
    return GATE_OK;
}

static int deflate_message(z_stream *stream, int flush, struct gate_span message,
                           struct gate_buf *out) {
    stream->next_in = (Bytef *)(uintptr_t)message.data;
    stream->avail_in = (uInt)message.len;
    do {
        int rc = gate_buf_reserve(out, message.len / 4 + 64);
        if (rc < 0) return rc;
        stream->next_out = (Bytef *)out->data + out->len;
        stream->avail_out = (uInt)(out->capacity - out->len);
        if (deflate(stream, flush) == Z_STREAM_ERROR) return GATE_ESTREAM;
        out->len = out->capacity - stream->avail_out;
    } while (stream->avail_out == 0);
    return GATE_OK;
}

/* One deflate stream for the life of the connection; each message ends with 00 00 FF FF. */
static int push_zlib(void *context, struct gate_span message, struct gate_buf *out) {
    return deflate_message(context, Z_SYNC_FLUSH, message, out);
}

/* A complete stream for each message, with its header and its checksum. */
static int push_payload(void *context, struct gate_span message, struct gate_buf *out) {
    int rc = deflate_message(context, Z_FINISH, message, out);
    return deflateReset(context) == Z_OK ? rc : GATE_ESTREAM;
}

static void close_zlib(void *context) {
    (void)deflateEnd(context);
    gate_allocate(context, 0);
}

static int open_zstd(int level, void **context) {
    (void)level; /* the option speaks of zlib's levels */
    *context = ZSTD_createCCtx();
    return *context ? GATE_OK : GATE_EMEMORY;
}

/* One zstd frame that never ends; each message is flushed, none is ended. */
static int push_zstd(void *context, struct gate_span message, struct gate_buf *out) {
    ZSTD_inBuffer in = {message.data, message.len, 0};
    size_t left;
    do {
        int rc = gate_buf_reserve(out, message.len / 4 + 128);
        if (rc < 0) return rc;
        ZSTD_outBuffer to = {out->data + out->len, out->capacity - out->len, 0};
        left = ZSTD_compressStream2(context, &to, &in, ZSTD_e_flush);
        if (ZSTD_isError(left)) return GATE_ESTREAM;
        out->len += to.pos;
    } while (left > 0);
    return GATE_OK;
}

static void close_zstd(void *context) {
    (void)ZSTD_freeCCtx(context);
}

static int open_nothing(int level, void **context) {
    (void)level;
    *context = NULL;
    return GATE_OK;
}

static int push_plain(void *context, struct gate_span message, struct gate_buf *out) {
    (void)context;
    return gate_buf_append(out, message);
}

static void close_nothing(void *context) {
    (void)context;
}

static const struct gate_sandbox_compression compressions[] = {
    {"", false, 0, open_nothing, push_plain, close_nothing},
    {"zlib-stream", true, 0, open_zlib, push_zlib, close_zlib},
    {"zstd-stream", true, 0, open_zstd, push_zstd, close_zstd},
};

/* Which messages are compressed is the service's choice; clients have to take both kinds. */
const struct gate_sandbox_compression gate_sandbox_payload_compression = {
    "payload", true, PAYLOAD_LEAST_BYTES, open_zlib, push_payload, close_zlib};

/* ---- Finding ----------------------------------------------------------------------------------
 */

static bool is_word(struct gate_span word, const char *name) {
    return word.len == strlen(name) && memcmp(word.data, name, word.len) == 0;
}

const struct gate_sandbox_encoding *gate_sandbox_encoding_find(struct gate_span word) {
    if (!word.data) return &encodings[0];
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++)
        if (is_word(word, encodings[i].name)) return &encodings[i];
    return NULL;
}

const struct gate_sandbox_compression *gate_sandbox_compression_find(struct gate_span word) {
    if (!word.data) return &compressions[0];
    for (size_t i = 1; i < sizeof compressions / sizeof compressions[0]; i++)
        if (is_word(word, compressions[i].name)) return &compressions[i];
    return NULL;
}

/* inflate.c - fuzzes the inflate layer, every kind of it: any bytes, cut anywhere, stay below the
 * cap, on a fresh stream and on one that is begun anew. So that the fuzzer gets far, the input may
 * be compressed first and damaged then; what is not damaged must come out as it was. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "../../src/inflate.h"

#define CAP_BYTES    100000
#define HEADER_BYTES 5 /* the step, what is done, how the damage is and, in two bytes, where */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static size_t squeeze_by_zlib(struct gate_span text, char *out, size_t room, int flush) {
    z_stream stream = {0};
    if (deflateInit(&stream, 6) != Z_OK) abort();
    stream.next_in = (z_const Bytef *)(uintptr_t)text.data;
    stream.avail_in = (uInt)text.len;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)room;
    (void)deflate(&stream, flush);
    if (stream.avail_out == 0) abort();
    deflateEnd(&stream);
    return room - stream.avail_out;
}

/* Small tables: clearing those of every day would take most of the time. */
static ZSTD_CCtx *make_squeezer(void) {
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } wanted[] = {{ZSTD_c_compressionLevel, 1},
                  {ZSTD_c_windowLog, 12},
                  {ZSTD_c_hashLog, 8},
                  {ZSTD_c_chainLog, 8}};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context) abort();
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        ZSTD_CCtx_setParameter(context, wanted[i].parameter, wanted[i].value);
    return context;
}

static size_t squeeze_by_zstd(struct gate_span text, char *out, size_t room, bool end) {
    static ZSTD_CCtx *context;
    ZSTD_inBuffer in = {text.data, text.len, 0};
    ZSTD_outBuffer to = {out, room, 0};
    if (!context) context = make_squeezer();
    ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
    if (ZSTD_compressStream2(context, &to, &in, end ? ZSTD_e_end : ZSTD_e_flush) != 0) abort();
    return to.pos;
}

static size_t squeeze(enum gate_compress kind, struct gate_span text, char *out, size_t room) {
    switch (kind) {
    case GATE_COMPRESS_ZLIB_STREAM: return squeeze_by_zlib(text, out, room, Z_SYNC_FLUSH);
    case GATE_COMPRESS_PAYLOAD: return squeeze_by_zlib(text, out, room, Z_FINISH);
    case GATE_COMPRESS_ZSTD_STREAM: return squeeze_by_zstd(text, out, room, text.len & 1);
    default: memcpy(out, text.data, text.len); return text.len;
    }
}

/* Pushes the bytes in pieces. 1: they were a message, which is in `out`. */
static int push(struct gate_inflate *inflate, struct gate_span wire, size_t step, bool ends_often,
                struct gate_buf *out) {
    int rc = 0;
    for (size_t at = 0; at < wire.len && rc >= 0; at += step) {
        size_t len = wire.len - at < step ? wire.len - at : step;
        bool last = at + len == wire.len;
        struct gate_piece piece = {.bytes = {wire.data + at, len},
                                   .final = last || (ends_often && (at & 1)),
                                   .binary = true};
        rc = gate_inflate_push(inflate, &piece, out);
        if (out->len > CAP_BYTES) abort();
        if (rc > 0 && !last) gate_buf_clear(out, 0);
    }
    return rc;
}

static void run(struct gate_inflate *inflate, const uint8_t *header, struct gate_span text) {
    enum gate_compress kind = (enum gate_compress)(header[1] % GATE_COMPRESS_COUNT);
    bool squeezed = header[1] & 4, ends_often = header[1] & 8;
    size_t room = text.len * 2 + 1024;
    char *wire = malloc(room);
    struct gate_buf out;
    if (!wire) abort();
    size_t len = squeezed ? squeeze(kind, text, wire, room) : text.len;
    if (!squeezed) memcpy(wire, text.data, text.len);
    size_t at = (size_t)header[3] << 8 | header[4];
    if (header[2] && len) wire[at % len] = (char)(wire[at % len] ^ header[2]);
    gate_buf_init(&out, 0, CAP_BYTES);
    if (gate_inflate_open(inflate, kind) < 0) abort();
    int rc = push(inflate, (struct gate_span){wire, len}, (size_t)header[0] + 1, ends_often, &out);
    if (squeezed && !header[2] && !ends_often)
        if (rc != 1 || out.len != text.len || memcmp(out.data, text.data, text.len) != 0) abort();
    gate_inflate_close(inflate);
    gate_buf_free(&out);
    free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    static struct gate_inflate inflate; /* over all inputs: each begins where another left off */
    if (len <= HEADER_BYTES) return 0;
    run(&inflate, bytes,
        (struct gate_span){(const char *)bytes + HEADER_BYTES, len - HEADER_BYTES});
    return 0;
}

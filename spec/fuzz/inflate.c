/* inflate.c - fuzzes the inflate layer: any bytes, cut anywhere, stay below the cap. */
#include <stdlib.h>

#include "../../src/inflate.h"

#define CAP_BYTES 100000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct gate_inflate inflate;
    struct gate_buf out;
    if (len < 2) return 0;
    size_t step = (size_t)bytes[0] + 1;
    enum gate_compress kind = bytes[1] & 1 ? GATE_COMPRESS_ZLIB_STREAM : GATE_COMPRESS_NONE;
    gate_buf_init(&out, 0, CAP_BYTES);
    if (gate_inflate_open(&inflate, kind) < 0) return 0;
    for (size_t at = 2; at < len; at += step) {
        size_t piece = len - at < step ? len - at : step;
        int rc = gate_inflate_push(&inflate, (struct gate_span){(const char *)bytes + at, piece},
                                   piece & 1, &out);
        if (out.len > CAP_BYTES) abort();
        if (rc < 0) break;
        if (rc > 0) gate_buf_clear(&out, 0);
    }
    gate_inflate_close(&inflate);
    gate_buf_free(&out);
    return 0;
}

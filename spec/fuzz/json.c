/* json.c - fuzzes the JSON scan, walk and writer: what was read and written again reads the same,
 * and both ways to step over a container come to the same end. */
#include <stdlib.h>
#include <string.h>

#include "../../src/codec.h"
#include "../../src/json_skip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Writes `text` anew; 0 when it was a value. */
static int rewrite(struct gate_span text, struct gate_buf *out) {
    struct gate_buf scratch;
    struct gate_writer writer;
    gate_buf_init(&scratch, 0, 0);
    int rc = gate_json.begin(&writer, out, true);
    if (rc == GATE_OK) rc = gate_json.walk(text, gate_json.writer, &writer, &scratch);
    gate_buf_free(&scratch);
    return rc;
}

static void check_walk(struct gate_span text) {
    struct gate_buf once, twice;
    gate_buf_init(&once, 0, 0);
    gate_buf_init(&twice, 0, 0);
    if (rewrite(text, &once) == GATE_OK) {
        if (rewrite(gate_buf_span(&once), &twice) != GATE_OK) abort();
        if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0) abort();
    }
    gate_buf_free(&once);
    gate_buf_free(&twice);
}

static void check_scan(struct gate_span text) {
    struct gate_envelope envelope;
    if (gate_json.scan(text, &envelope) < 0) return;
    if (envelope.used > text.len) abort();
    const char *end = text.data + envelope.used;
    if (envelope.data.len && envelope.data.data + envelope.data.len > end) abort();
    if (envelope.name.len && envelope.name.data + envelope.name.len > end) abort();
}

static void check_ways(struct gate_span text) {
    struct reader narrow = {.at = text.data, .end = text.data + text.len}, wide = narrow;
    if (!text.len || !is_wide()) return;
    int rc = skip_container_narrow(&narrow);
    if (skip_container_wide(&wide) != rc || wide.at != narrow.at) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    /* A copy of the exact size, so that reading one byte too far is noticed. */
    char *copy = malloc(len ? len : 1);
    if (!copy) return 0;
    if (len) memcpy(copy, bytes, len);
    struct gate_span text = {copy, len};
    check_scan(text);
    check_walk(text);
    check_ways(text);
    free(copy);
    return 0;
}

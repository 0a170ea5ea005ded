/* etf.c - fuzzes ETF against JSON: what the one reads, written in the other, reads the same there;
 * and the scan finds what a walk of the whole finds. The first byte chooses the direction. */
#include <stdlib.h>
#include <string.h>

#include "../../src/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Writes the value `text` of one encoding in another; 0 when it was one. */
static int cross(const struct gate_codec *from, struct gate_span text, const struct gate_codec *to,
                 struct gate_buf *out) {
    struct gate_buf scratch;
    struct gate_writer writer;
    gate_buf_init(&scratch, 0, 1 << 20);
    gate_buf_init(out, 0, 0);
    int rc = to->begin(&writer, out, true);
    if (rc == GATE_OK) rc = from->walk(text, to->writer, &writer, &scratch);
    gate_buf_free(&scratch);
    return rc;
}

static void demand_same(const struct gate_buf *a, const struct gate_buf *b) {
    if (a->len != b->len || memcmp(a->data, b->data, a->len) != 0) abort();
}

/* here -> there -> here -> there: from the first rewriting on nothing changes any more. */
static void check_twins(const struct gate_codec *here, struct gate_span text,
                        const struct gate_codec *there) {
    struct gate_buf direct, crossed, back, again;
    if (cross(here, text, there, &crossed) == GATE_OK) {
        if (cross(there, gate_buf_span(&crossed), here, &back) != GATE_OK) abort();
        if (cross(here, gate_buf_span(&back), there, &again) != GATE_OK) abort();
        demand_same(&crossed, &again);
        if (cross(here, text, here, &direct) != GATE_OK) abort();
        demand_same(&direct, &back);
        gate_buf_free(&back);
        gate_buf_free(&again);
        gate_buf_free(&direct);
    }
    gate_buf_free(&crossed);
}

/* A scan that finds an envelope finds the same in the message's JSON twin. */
static void check_scan(struct gate_span text) {
    struct gate_envelope found, twin;
    struct gate_buf json, data;
    if (gate_etf.scan(text, &found) < 0) return;
    if (found.used > text.len) abort();
    struct gate_span payload = {text.data, found.used};
    if (cross(&gate_etf, payload, &gate_json, &json) == GATE_OK) {
        if (gate_json.scan(gate_buf_span(&json), &twin) < 0) {
            gate_buf_free(&json);
            return; /* a name that JSON writes with escapes */
        }
        if (found.op != twin.op || found.seq != twin.seq || found.has_seq != twin.has_seq) abort();
        if (found.name.len != twin.name.len) abort();
        if (found.name.len && memcmp(found.name.data, twin.name.data, found.name.len)) abort();
        if (found.data.len) {
            if (cross(&gate_etf, found.data, &gate_json, &data) != GATE_OK) abort();
            if (data.len != twin.data.len || memcmp(data.data, twin.data.data, data.len)) abort();
            gate_buf_free(&data);
        }
    }
    gate_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    if (len == 0) return 0;
    /* A copy of the exact size, so that reading one byte too far is noticed. */
    char *copy = malloc(len);
    if (!copy) return 0;
    memcpy(copy, bytes, len);
    struct gate_span text = {copy, len};
    check_scan(text);
    if (gate_etf.claims(text))
        check_twins(&gate_etf, text, &gate_json);
    else
        check_twins(&gate_json, text, &gate_etf);
    free(copy);
    return 0;
}

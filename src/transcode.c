/* transcode.c - see transcode.h. A reader drives a writer: no value is ever built. */
#include "transcode.h"

static int pass_on(const struct gate_codec *from, struct gate_span value,
                   const struct gate_codec *to, bool message, struct gate_buf *out) {
    struct gate_buf scratch;
    struct gate_writer writer;
    int rc = to->begin(&writer, out, message);
    if (rc < 0) return rc;
    gate_buf_init(&scratch, 0, 0);
    rc = from->walk(value, to->writer, &writer, &scratch);
    gate_buf_free(&scratch);
    return rc;
}

int gate_transcode(const struct gate_codec *from, struct gate_span value,
                   const struct gate_codec *to, struct gate_buf *out) {
    return pass_on(from, value, to, false, out);
}

int gate_transcode_packet(const struct gate_codec *to, struct gate_buf *packet) {
    struct gate_span message = gate_buf_span(packet);
    if (to->claims(message)) return GATE_OK;
    const struct gate_codec *from = to == &gate_json ? &gate_etf : &gate_json;
    if (!from->claims(message)) return GATE_ESYNTAX;
    struct gate_buf out;
    gate_buf_init(&out, packet->headroom_bytes, packet->len_max);
    int rc = pass_on(from, message, to, true, &out);
    if (rc == GATE_OK) {
        gate_buf_wipe(packet);
        gate_buf_move(packet, &out);
    }
    gate_buf_free(&out);
    return rc;
}

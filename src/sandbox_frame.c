/* sandbox_frame.c - see sandbox_frame.h. */
#include "sandbox_frame.h"

#include <string.h>

#include "text.h"

#define CONTROL_BYTES_MAX 125 /* RFC 6455, 5.5 */

static bool is_control(int opcode) {
    return (opcode & 0x8) != 0;
}

static bool is_known(int opcode) {
    return opcode <= GATE_FRAME_BINARY || (opcode >= GATE_FRAME_CLOSE && opcode <= GATE_FRAME_PONG);
}

/* The length field: its size in bytes, 0 when more bytes are needed, -1 when it is not minimal. */
static int read_length(const unsigned char *in, size_t len, uint64_t *out) {
    unsigned first = in[1] & 0x7fu;
    int size = first < 126 ? 0 : first == 126 ? 2 : 8;
    *out = first;
    if (size == 0) return 1;
    if (len < 2u + (size_t)size) return 0;
    *out = 0;
    for (int i = 0; i < size; i++) *out = *out << 8 | in[2 + i];
    bool minimal = size == 2 ? *out > 125 : *out > 0xffff && *out >> 63 == 0;
    return minimal ? 1 + size : -1;
}

int gate_frame_read(char *in, size_t len, struct gate_frame *out) {
    const unsigned char *head = (const unsigned char *)in;
    uint64_t payload_len;
    if (len < 2) return 0;
    out->opcode = head[0] & 0x0f;
    out->final = (head[0] & GATE_FRAME_FINAL) != 0;
    if ((head[0] & 0x70) != 0 || !is_known(out->opcode)) return -1002;
    if ((head[1] & 0x80) == 0) return -1002; /* RFC 6455, 5.1: a client masks */
    int size = read_length(head, len, &payload_len);
    if (size < 0) return -1002;
    if (is_control(out->opcode) && (!out->final || (head[1] & 0x7f) > CONTROL_BYTES_MAX))
        return -1002;
    if (size == 0) return 0;
    if (payload_len > GATE_CLIENT_MESSAGE_BYTES_MAX) return -1009;
    size_t mask_at = 1 + (size_t)size, payload_at = mask_at + 4;
    if (len < payload_at + payload_len) return 0;
    char mask[4];
    memcpy(mask, in + mask_at, sizeof mask);
    for (size_t i = 0; i < payload_len; i++)
        in[payload_at + i] = (char)(in[payload_at + i] ^ mask[i & 3]);
    out->payload = (struct gate_span){in + payload_at, (size_t)payload_len};
    return (int)(payload_at + payload_len);
}

int gate_assembly_add(struct gate_assembly *assembly, const struct gate_frame *frame) {
    bool goes_on = frame->opcode == GATE_FRAME_CONTINUATION;
    if (goes_on != (assembly->opcode != 0)) return -1002;
    if (!goes_on) assembly->opcode = frame->opcode;
    if (assembly->message.len + frame->payload.len > GATE_CLIENT_MESSAGE_BYTES_MAX) return -1009;
    if (gate_buf_append(&assembly->message, frame->payload) < 0) return -1011;
    if (!frame->final) return 0;
    if (assembly->opcode == GATE_FRAME_TEXT &&
        !gate_text_is_utf8(gate_buf_span(&assembly->message)))
        return -1007;
    return 1;
}

void gate_assembly_next(struct gate_assembly *assembly) {
    assembly->opcode = 0;
    gate_buf_wipe(&assembly->message); /* an Identify has the token in it */
}

/* RFC 6455, 7.4: what may travel. */
static bool is_close_code(int code) {
    if (code >= 3000 && code <= 4999) return true;
    return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

int gate_close_read(struct gate_span payload, int *code, struct gate_span *reason) {
    *code = GATE_CLOSE_EMPTY;
    *reason = (struct gate_span){"", 0};
    if (payload.len == 0) return 0;
    if (payload.len == 1) return -1002;
    *code = (unsigned char)payload.data[0] << 8 | (unsigned char)payload.data[1];
    if (!is_close_code(*code)) return -1002;
    *reason = (struct gate_span){payload.data + 2, payload.len - 2};
    return gate_text_is_utf8(*reason) ? *code : -1007;
}

/* The head of a frame, without a mask: its size. */
static size_t write_head(char head[10], int first, struct gate_span payload) {
    head[0] = (char)first;
    size_t size = 2;
    if (payload.len < 126) {
        head[1] = (char)payload.len;
    } else {
        size_t bytes = payload.len <= 0xffff ? 2 : 8;
        head[1] = bytes == 2 ? 126 : 127;
        for (size_t i = 0; i < bytes; i++)
            head[2 + i] = (char)((uint64_t)payload.len >> (8 * (bytes - 1 - i)));
        size += bytes;
    }
    return size;
}

int gate_frame_write(struct gate_buf *out, int first, struct gate_span payload) {
    char head[10];
    size_t size = write_head(head, first, payload);
    int rc = gate_buf_reserve(out, size + payload.len);
    if (rc < 0) return rc;
    rc = gate_buf_append(out, (struct gate_span){head, size});
    return rc < 0 ? rc : gate_buf_append(out, payload);
}

int gate_frame_write_masked(struct gate_buf *out, int first, struct gate_span payload,
                            uint32_t mask) {
    char head[10], key[4];
    size_t size = write_head(head, first, payload);
    int rc = gate_buf_reserve(out, size + sizeof key + payload.len);
    if (rc < 0) return rc;
    head[1] = (char)(head[1] | 0x80);
    for (size_t i = 0; i < sizeof key; i++) key[i] = (char)(mask >> (8 * i));
    rc = gate_buf_append(out, (struct gate_span){head, size});
    if (rc == GATE_OK) rc = gate_buf_append(out, (struct gate_span){key, sizeof key});
    size_t from = out->len;
    if (rc == GATE_OK) rc = gate_buf_append(out, payload);
    for (size_t i = 0; rc == GATE_OK && i < payload.len; i++)
        out->data[from + i] = (char)(out->data[from + i] ^ key[i % sizeof key]);
    return rc;
}

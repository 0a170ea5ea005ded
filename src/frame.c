/* frame.c - see frame.h. A head is collected byte by byte, as it may be cut anywhere; a payload is
 * never looked at, but handed on where it lies. */
#include "frame.h"

#include <string.h>

#include "text.h"

#define CLOSE_PROTOCOL 1002 /* RFC 6455, 7.4.1 */
#define CLOSE_TEXT     1007
#define CLOSE_TOO_BIG  1009

#define FINAL    0x80
#define RESERVED 0x70
#define MASKED   0x80

static bool is_control(unsigned type) {
    return (type & 0x8) != 0;
}

static bool is_final(const struct gate_frames *frames) {
    return (frames->head[0] & FINAL) != 0;
}

static unsigned type_of(const struct gate_frames *frames) {
    return frames->head[0] & 0x0f;
}

/* ---- What is received ------------------------------------------------------------------------ */

void gate_frames_init(struct gate_frames *frames, size_t message_bytes_max) {
    memset(frames, 0, sizeof *frames);
    frames->message_bytes_max = message_bytes_max;
}

static void find_fault(struct gate_frames *frames, struct gate_seen *out, int code, int error,
                       const char *words) {
    frames->ended = true;
    *out =
        (struct gate_seen){.kind = GATE_SEEN_FAULT, .code = code, .error = error, .words = words};
}

/* What is wrong with the first byte of a frame; NULL: nothing. */
static const char *judge_first(const struct gate_frames *frames) {
    unsigned type = type_of(frames);
    if (frames->head[0] & RESERVED) return "a frame with a reserved bit";
    if (type > GATE_FRAME_PONG || (type > GATE_FRAME_BINARY && type < GATE_FRAME_CLOSE))
        return "a frame of a reserved type";
    if (is_control(type)) return is_final(frames) ? NULL : "a control frame in fragments";
    if (type == GATE_FRAME_CONTINUATION && !frames->under_way)
        return "a continuation of no message";
    return type != GATE_FRAME_CONTINUATION && frames->under_way ? "a message within a message"
                                                                : NULL;
}

/* And with the second one. */
static const char *judge_second(const struct gate_frames *frames) {
    if (frames->head[1] & MASKED) return "a masked frame of a server";
    if (is_control(type_of(frames)) && frames->head[1] > GATE_CONTROL_BYTES_MAX)
        return "a control frame over 125 bytes";
    return NULL;
}

/* The bytes of the head, as far as it is known. */
static size_t head_size(const struct gate_frames *frames) {
    if (frames->head_len < 2) return 2;
    return frames->head[1] == 127 ? 10 : frames->head[1] == 126 ? 4 : 2;
}

/* RFC 6455, 5.2: in the fewest bytes, and below 2^63. */
static const char *read_length(struct gate_frames *frames) {
    size_t size = head_size(frames);
    uint64_t len = size == 2 ? frames->head[1] : 0;
    for (size_t i = 2; i < size; i++) len = len << 8 | frames->head[i];
    frames->left = len;
    if (size == 4 && len < 126) return "a length that is not minimal";
    if (size == 10 && len < 0x10000) return "a length that is not minimal";
    return len >> 63 ? "a length without bound" : NULL;
}

/* The head is complete. True: it announces something to go on with. */
static bool begin_payload(struct gate_frames *frames, struct gate_seen *out) {
    const char *fault = read_length(frames);
    if (fault) {
        find_fault(frames, out, CLOSE_PROTOCOL, GATE_ESYNTAX, fault);
        return false;
    }
    unsigned type = type_of(frames);
    frames->inside = true;
    frames->head_len = 0;
    frames->control_len = 0;
    if (is_control(type)) return true;
    if (type != GATE_FRAME_CONTINUATION) {
        frames->under_way = true;
        frames->binary = type == GATE_FRAME_BINARY;
        frames->message_bytes = 0;
    }
    if (frames->left > frames->message_bytes_max - frames->message_bytes) {
        find_fault(frames, out, CLOSE_TOO_BIG, GATE_EMESSAGE, "a message over the size limit");
        return false;
    }
    frames->message_bytes += frames->left;
    return true;
}

/* Takes bytes of a head; a bad one is refused at the first byte that shows it. */
static size_t read_head(struct gate_frames *frames, struct gate_span in, struct gate_seen *out) {
    for (size_t at = 0; at < in.len;) {
        frames->head[frames->head_len++] = (unsigned char)in.data[at++];
        const char *fault = frames->head_len == 1   ? judge_first(frames)
                            : frames->head_len == 2 ? judge_second(frames)
                                                    : NULL;
        if (fault) {
            find_fault(frames, out, CLOSE_PROTOCOL, GATE_ESYNTAX, fault);
            return in.len;
        }
        if (frames->head_len < head_size(frames)) continue;
        return begin_payload(frames, out) ? at : in.len;
    }
    return in.len;
}

/* RFC 6455, 7.4: what may travel. 1005, 1006 and 1015 stand for a close that did not. */
static bool is_close_code(int code) {
    if (code >= 3000 && code <= 4999) return true;
    return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

static void read_close(struct gate_frames *frames, struct gate_seen *out) {
    struct gate_span all = {frames->control, frames->control_len};
    int code = GATE_CLOSE_EMPTY;
    if (all.len == 1) {
        find_fault(frames, out, CLOSE_PROTOCOL, GATE_ESYNTAX, "a close with half a code");
        return;
    }
    if (all.len) {
        code = (unsigned char)all.data[0] << 8 | (unsigned char)all.data[1];
        all = (struct gate_span){all.data + 2, all.len - 2};
        if (!is_close_code(code)) {
            find_fault(frames, out, CLOSE_PROTOCOL, GATE_ESYNTAX,
                       "a close with a code that may not travel");
            return;
        }
    }
    if (!gate_text_is_utf8(all)) {
        find_fault(frames, out, CLOSE_TEXT, GATE_EUTF8, "a close whose reason is no UTF-8");
        return;
    }
    frames->ended = true;
    *out = (struct gate_seen){.kind = GATE_SEEN_CLOSE, .code = code, .bytes = all};
}

static size_t read_control(struct gate_frames *frames, struct gate_span in, struct gate_seen *out) {
    size_t used = in.len < frames->left ? in.len : (size_t)frames->left;
    if (used) memcpy(frames->control + frames->control_len, in.data, used);
    frames->control_len += used;
    frames->left -= used;
    if (frames->left) return used;
    frames->inside = false;
    if (type_of(frames) == GATE_FRAME_PING)
        *out = (struct gate_seen){.kind = GATE_SEEN_PING,
                                  .bytes = {frames->control, frames->control_len}};
    else if (type_of(frames) == GATE_FRAME_CLOSE)
        read_close(frames, out);
    return used;
}

/* A frame that is empty and not the last one has nothing to tell. */
static size_t read_data(struct gate_frames *frames, struct gate_span in, struct gate_seen *out) {
    size_t used = in.len < frames->left ? in.len : (size_t)frames->left;
    frames->left -= used;
    bool final = frames->left == 0 && is_final(frames);
    if (frames->left == 0) frames->inside = false;
    if (final) frames->under_way = false;
    if (used || final)
        *out = (struct gate_seen){.kind = GATE_SEEN_PIECE,
                                  .bytes = {in.data, used},
                                  .final = final,
                                  .binary = frames->binary};
    return used;
}

/* An empty payload is complete with its head, so it is read although no byte is left. */
size_t gate_frames_read(struct gate_frames *frames, struct gate_span in, struct gate_seen *out) {
    struct gate_span rest = in;
    *out = (struct gate_seen){.kind = GATE_SEEN_NOTHING};
    while (!frames->ended && out->kind == GATE_SEEN_NOTHING &&
           (rest.len || (frames->inside && frames->left == 0))) {
        size_t used = !frames->inside               ? read_head(frames, rest, out)
                      : is_control(type_of(frames)) ? read_control(frames, rest, out)
                                                    : read_data(frames, rest, out);
        rest = (struct gate_span){rest.data + used, rest.len - used};
    }
    return frames->ended ? in.len : in.len - rest.len;
}

/* ---- What is sent ---------------------------------------------------------------------------- */

static void mask_bytes(char *bytes, size_t len, const unsigned char mask[4]) {
    for (size_t i = 0; i < len; i++) bytes[i] = (char)(bytes[i] ^ mask[i & 3]);
}

size_t gate_frame_wrap(enum gate_frame_type type, char *payload, size_t len,
                       const unsigned char mask[4]) {
    size_t length_bytes = len < 126 ? 0 : len < 0x10000 ? 2 : 8;
    size_t size = 2 + length_bytes + 4;
    char *head = payload - size;
    head[0] = (char)(FINAL | type);
    head[1] = (char)(MASKED | (length_bytes == 0 ? len : length_bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < length_bytes; i++)
        head[2 + i] = (char)((uint64_t)len >> (8 * (length_bytes - 1 - i)));
    memcpy(head + size - 4, mask, 4);
    mask_bytes(payload, len, mask);
    return size;
}

size_t gate_frame_close(int code, struct gate_span reason, char out[GATE_CONTROL_BYTES_MAX]) {
    size_t len = reason.len;
    if (code == GATE_CLOSE_EMPTY) return 0;
    if (len > GATE_REASON_BYTES_MAX) {
        len = GATE_REASON_BYTES_MAX;
        while (len && ((unsigned char)reason.data[len] & 0xc0) == 0x80) len--;
    }
    out[0] = (char)(code >> 8);
    out[1] = (char)code;
    if (len) memcpy(out + 2, reason.data, len);
    return len + 2;
}

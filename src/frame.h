/* frame.h - RFC 6455 framing of a client: bytes of the server in, pieces of messages and control
 * frames out; heads and masks for what is sent. Pure: no socket, no clock, no allocation, no
 * randomness. Called by websocket.c on the I/O thread. */
#ifndef MOONGATE_FRAME_H
#define MOONGATE_FRAME_H

#include "moongate.h"

/* RFC 6455, 5.2: the low half of a frame's first byte. */
enum gate_frame_type {
    GATE_FRAME_CONTINUATION = 0x0,
    GATE_FRAME_TEXT = 0x1,
    GATE_FRAME_BINARY = 0x2,
    GATE_FRAME_CLOSE = 0x8,
    GATE_FRAME_PING = 0x9,
    GATE_FRAME_PONG = 0xA
};

#define GATE_FRAME_HEAD_BYTES_MAX 14  /* of a frame that is sent: two, the length, the mask */
#define GATE_CONTROL_BYTES_MAX    125 /* RFC 6455, 5.5: the payload of a control frame */

_Static_assert(GATE_HEADROOM_BYTES >= GATE_FRAME_HEAD_BYTES_MAX, "the head is written in front");
_Static_assert(GATE_REASON_BYTES_MAX == GATE_CONTROL_BYTES_MAX - 2, "a close is code and reason");

/* ---- What is received ------------------------------------------------------------------------ */

/* Where the reader of one connection is. */
struct gate_frames {
    size_t message_bytes_max;
    uint64_t message_bytes; /* of the message under way, with what its frames announce */
    uint64_t left;          /* payload of the frame under way that is still to come */
    unsigned char head[10];
    size_t head_len; /* what has come of the head; 0 while in a payload */
    bool inside;     /* in a payload */
    bool under_way;  /* a message has begun, and its last frame has not ended */
    bool binary;     /* that message */
    bool ended;      /* after a close or a fault nothing is read any more */
    char control[GATE_CONTROL_BYTES_MAX];
    size_t control_len;
};

enum gate_seen_kind {
    GATE_SEEN_NOTHING, /* all bytes are used up */
    GATE_SEEN_PIECE,
    GATE_SEEN_PING,
    GATE_SEEN_CLOSE,
    GATE_SEEN_FAULT
};

struct gate_seen {
    enum gate_seen_kind kind;
    struct gate_span bytes; /* of a piece; the payload of a ping; the reason of a close */
    bool final, binary;     /* of a piece */
    int code;               /* of a close, GATE_CLOSE_EMPTY without one; of a fault: to be sent */
    int error;              /* of a fault: GATE_ESYNTAX, GATE_EUTF8, GATE_EMESSAGE */
    const char *words;      /* of a fault, a constant */
};

/* `message_bytes_max`: of one message as it travels. */
void gate_frames_init(struct gate_frames *frames, size_t message_bytes_max);

/* Reads up to the end of the next thing to be told of, and returns how many bytes of `in` that
 * took; `out` is valid until the next call, and a piece lies in `in` itself. Pongs are passed over.
 * After a close or a fault everything is used up and nothing is seen.
 *
 * Text is not checked to be UTF-8: the decoder does that where it is asked to, and once is enough.
 * The reason of a close is checked. */
GATE_MUST_CHECK size_t gate_frames_read(struct gate_frames *frames, struct gate_span in,
                                        struct gate_seen *out);

/* ---- What is sent ---------------------------------------------------------------------------- */

/* Makes one whole frame of `payload`, in place: masks it and writes the head right in front of it,
 * where GATE_FRAME_HEAD_BYTES_MAX bytes must be free. Returns the length of that head. */
GATE_MUST_CHECK size_t gate_frame_wrap(enum gate_frame_type type, char *payload, size_t len,
                                       const unsigned char mask[4]);

/* Writes the payload of a close frame and returns its length: none for GATE_CLOSE_EMPTY. A reason
 * that is too long is cut where a character ends. */
GATE_MUST_CHECK size_t gate_frame_close(int code, struct gate_span reason,
                                        char out[GATE_CONTROL_BYTES_MAX]);

#endif

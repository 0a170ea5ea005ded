/* sandbox_frame.h - RFC 6455 framing for the server's side of the sandbox.
 * Called by sandbox_link.c on the server's thread, the writer by whoever sends, under the lock.
 * Its own code on purpose: a mistake in the client's library must not meet its twin here. */
#ifndef MOONGATE_SANDBOX_FRAME_H
#define MOONGATE_SANDBOX_FRAME_H

#include "buf.h"
#include "moongate.h"

/* RFC 6455, 5.2: the low half of a frame's first byte, and its FIN bit. */
enum {
    GATE_FRAME_CONTINUATION = 0x0,
    GATE_FRAME_TEXT = 0x1,
    GATE_FRAME_BINARY = 0x2,
    GATE_FRAME_CLOSE = 0x8,
    GATE_FRAME_PING = 0x9,
    GATE_FRAME_PONG = 0xA,
    GATE_FRAME_FINAL = 0x80
};

/* Longer messages of a client are refused with 1009 before they are buffered. Sixteen times what
 * the gateway takes, so that the gateway's own refusal (4002) can be met as well. */
#define GATE_CLIENT_MESSAGE_BYTES_MAX 65536

struct gate_frame {
    int opcode;
    bool final;
    struct gate_span payload; /* unmasked, in place */
};

/* What a connection remembers between frames. All zero at the start but `message`. */
struct gate_assembly {
    int opcode; /* of the message that is under way; 0: none */
    struct gate_buf message;
};

/* Takes one frame off the front of `in`, whose bytes it unmasks. The bytes used, 0 when more are
 * needed, or minus the close code that answers the mistake (1002, 1009). */
GATE_MUST_CHECK int gate_frame_read(char *in, size_t len, struct gate_frame *out);

/* Adds a data frame. 1 when `assembly->message` is a whole message of `assembly->opcode` (call
 * gate_assembly_next when done with it), 0 when not yet, or minus a close code. */
GATE_MUST_CHECK int gate_assembly_add(struct gate_assembly *assembly,
                                      const struct gate_frame *frame);
void gate_assembly_next(struct gate_assembly *assembly);

/* Judges the payload of a close frame: the code to answer with, 0 for an empty one (*code is then
 * GATE_CLOSE_EMPTY), or minus the code of a protocol error. */
GATE_MUST_CHECK int gate_close_read(struct gate_span payload, int *code, struct gate_span *reason);

/* Appends one frame; `first` is its first byte as it stands. Errors as gate_buf_append. */
GATE_MUST_CHECK int gate_frame_write(struct gate_buf *out, int first, struct gate_span payload);

/* The same with a mask, as no server may send it. */
GATE_MUST_CHECK int gate_frame_write_masked(struct gate_buf *out, int first,
                                            struct gate_span payload, uint32_t mask);

#endif

/* codec.h - the sink, the envelope, and the table of functions that each encoding fills.
 * Called by the session and the shard on the I/O thread, by lua_build.c on the Lua thread: a codec
 * has no state of its own. There is no codec.c.
 *
 * A sink is functions for the shape of a value. Readers drive a sink; writers, the Lua builder and
 * the session's field pickers are sinks. So each encoding is written once and used four ways. */
#ifndef MOONGATE_CODEC_H
#define MOONGATE_CODEC_H

#include "buf.h"
#include "moongate.h"

/* Each function returns 0 or a negative error, which ends the walk and is returned by it. Spans are
 * borrowed for the call. Text is UTF-8 unless the peer broke its word.
 * Value rules (both encodings): an integer outside of |n| < 2^53 arrives as text; keys always
 * arrive as text; everything else as what it is. */
struct gate_sink {
    int (*null)(void *to);
    int (*boolean)(void *to, bool value);
    int (*integer)(void *to, int64_t value);
    int (*number)(void *to, double value);
    int (*text)(void *to, struct gate_span text);
    int (*open_list)(void *to);
    int (*close_list)(void *to);
    int (*open_map)(void *to);
    int (*key)(void *to, struct gate_span text); /* before each value of a map */
    int (*close_map)(void *to);
};

/* What a message says around its data. Spans point into the message. */
struct gate_envelope {
    int op;       /* -1: absent */
    bool has_seq; /* false: absent or null */
    int64_t seq;
    struct gate_span name; /* of the event; len 0: absent or null; never contains escapes */
    struct gate_span data; /* the encoded value of d; len 0: absent */
    size_t used;           /* bytes that this payload took, with the white space around it */
};

/* A writer is a sink onto a buffer. Made by gate_codec.begin; lives in the caller's frame. */
struct gate_writer {
    struct gate_buf *out; /* borrowed until the value is complete */
    uint32_t depth;
    bool comma;                      /* JSON: a separator is due before the next value */
    bool after_key;                  /* ETF: the next value belongs to a key */
    size_t count_at[GATE_DEPTH_MAX]; /* ETF: where the count of each open container stands */
    uint32_t count[GATE_DEPTH_MAX];  /* ETF: what it will be */
};

struct gate_codec {
    const char *name; /* "json", "etf": the value of the encoding parameter of the URL */
    bool binary;      /* its messages travel in binary frames */

    /* True when `message` begins as those of this encoding do. No message is claimed by two. */
    bool (*claims)(struct gate_span message);

    /* ETF allows a payload to be packed. 1: the first one of `message` is, `out` (empty) now has it
     * in its plain form, and *used is how many bytes of `message` it took. 0: it is not, and
     * nothing happened. GATE_ESYNTAX, GATE_EMEMORY, GATE_EMESSAGE: over the cap of `out`, or over
     * GATE_MESSAGE_BYTES_MAX. */
    GATE_MUST_CHECK int (*unpack)(struct gate_span message, struct gate_buf *out, size_t *used);

    /* Finds op, s, t and the extent of d in whatever order they come, without decoding d. Takes one
     * payload off the front of `message`, which is not packed; leading white space is legal in
     * JSON, what follows the payload is not looked at. GATE_ESYNTAX, GATE_EDEPTH. `d` is only
     * skipped, not checked. */
    GATE_MUST_CHECK int (*scan)(struct gate_span message, struct gate_envelope *out);

    /* Reads the single value that `value` holds, whole, and drives `sink` with it. A whole message
     * is such a value too, also when it is packed. `scratch` takes what had to be rewritten
     * (escapes, a packed message); its content is undefined afterwards. GATE_ESYNTAX (also for
     * trailing bytes), GATE_EDEPTH, GATE_EMEMORY, GATE_EMESSAGE, or the sink's error. */
    GATE_MUST_CHECK int (*walk)(struct gate_span value, const struct gate_sink *sink, void *to,
                                struct gate_buf *scratch);

    /* Prepares `writer` (the `to` of this codec's sink below) to append one value to `out`. An ETF
     * message begins with its version byte: `message` says that this is a whole one. */
    GATE_MUST_CHECK int (*begin)(struct gate_writer *writer, struct gate_buf *out, bool message);

    const struct gate_sink *writer; /* the sink that writes; `to` is a struct gate_writer */
};

extern const struct gate_codec gate_json;
extern const struct gate_codec gate_etf;

/* The codec of a name, or NULL. */
const struct gate_codec *gate_codec_find(const char *name);

#endif

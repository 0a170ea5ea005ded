/* etf.c - Erlang's External Term Format: the envelope scan, the walk into a sink, the sink that
 * writes, and compressed terms. Called through gate_etf by the session and the shard on the I/O
 * thread and by lua_*.c on the Lua thread. Keeps no state and never looks behind the end of what
 * it is given. */
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "codec.h"
#include "text.h"

/* ---- The walk -------------------------------------------------------------------------------- */

struct target {
    const struct gate_sink *sink;
    void *to;
};

static inline int pass_null(struct target *target) {
    return target->sink->null(target->to);
}
static inline int pass_boolean(struct target *target, bool value) {
    return target->sink->boolean(target->to, value);
}
static inline int pass_integer(struct target *target, int64_t value) {
    return target->sink->integer(target->to, value);
}
static inline int pass_number(struct target *target, double value) {
    return target->sink->number(target->to, value);
}
static inline int pass_text(struct target *target, struct gate_span text) {
    return target->sink->text(target->to, text);
}
static inline int pass_id(struct target *target, uint64_t id) {
    char digits[GATE_INTEGER_TEXT_MAX];
    size_t len = gate_text_from_natural(id, digits);
    return target->sink->text(target->to, (struct gate_span){digits, len});
}
static inline int pass_open_list(struct target *target) {
    return target->sink->open_list(target->to);
}
static inline int pass_item(struct target *target) {
    (void)target;
    return GATE_OK;
}
static inline int pass_close_list(struct target *target) {
    return target->sink->close_list(target->to);
}
static inline int pass_open_map(struct target *target) {
    return target->sink->open_map(target->to);
}
static inline int pass_key(struct target *target, struct gate_span text) {
    return target->sink->key(target->to, text);
}
static inline int pass_close_map(struct target *target) {
    return target->sink->close_map(target->to);
}

#define READ_CALL(name)               pass_##name
#define READ_SKIPS_NULL(to, key)      false
#define READ_KNOWN(to, at, left, len) false /* a sink knows no key beforehand */
#define READ_SKIPS_KNOWN_NULL(to)     false
#define READ_TAKE_KNOWN(to)           GATE_OK
#include "etf_read.h"

static int unpack(struct gate_span message, struct gate_buf *out, size_t *used);

static int walk(struct gate_span value, const struct gate_sink *sink, void *to,
                struct gate_buf *scratch) {
    struct target target = {sink, to};
    struct reader reader;
    size_t used = value.len;
    scratch->len = 0;
    int packed = unpack(value, scratch, &used);
    if (packed < 0) return packed;
    if (used < value.len) return GATE_ESYNTAX;
    start_reader(&reader, packed ? gate_buf_span(scratch) : value, &target);
    return read_whole(&reader);
}

/* ---- The envelope ---------------------------------------------------------------------------- */

/* An integer of at most 53 bits and not below zero, or null: -1. */
static int take_integer(struct reader *reader, int64_t *out) {
    struct integer integer = {.value = -1};
    *out = -1;
    if (skip_null(reader)) return GATE_OK;
    if (!has_bytes(reader, 1)) return GATE_ESYNTAX;
    switch (byte_at(reader->at)) {
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: break;
    default: return GATE_ESYNTAX;
    }
    int rc = read_integer(reader, &integer);
    if (rc < 0 || integer.digits.len || integer.value < 0) return GATE_ESYNTAX;
    *out = integer.value;
    return GATE_OK;
}

static int take_op(struct reader *reader, struct gate_envelope *out) {
    int64_t op;
    int rc = take_integer(reader, &op);
    if (rc < 0 || op > INT_MAX) return GATE_ESYNTAX;
    out->op = (int)op;
    return GATE_OK;
}

static int take_seq(struct reader *reader, struct gate_envelope *out) {
    int64_t seq;
    int rc = take_integer(reader, &seq);
    if (rc < 0) return rc;
    out->has_seq = seq >= 0;
    out->seq = seq >= 0 ? seq : 0;
    return GATE_OK;
}

/* Names of events are words: one that would have to be rewritten, or a long one, is not from the
 * gateway. */
static int take_name(struct reader *reader, struct gate_envelope *out) {
    struct gate_span name;
    out->name = (struct gate_span){NULL, 0};
    if (skip_null(reader)) return GATE_OK;
    if (!has_bytes(reader, 1)) return GATE_ESYNTAX;
    uint8_t tag = byte_at(reader->at);
    bool atom = is_atom_tag(tag);
    if (!atom && tag != TAG_BINARY) return GATE_ESYNTAX;
    int rc = atom ? read_atom(reader, &name) : read_bytes(reader, 4, &name);
    if (rc < 0 || name.len > GATE_NAME_BYTES_MAX || name.data == reader->rewritten)
        return GATE_ESYNTAX;
    out->name = name;
    return GATE_OK;
}

static int take_data(struct reader *reader, struct gate_envelope *out) {
    const char *from = reader->at;
    int rc = skip_term(reader);
    out->data = (struct gate_span){from, (size_t)(reader->at - from)};
    return rc;
}

static const struct {
    struct gate_span key;
    int (*take)(struct reader *reader, struct gate_envelope *out);
} members[] = {
    {{"t", 1}, take_name}, {{"s", 1}, take_seq}, {{"op", 2}, take_op}, {{"d", 1}, take_data}};

static int take_member(struct reader *reader, struct gate_envelope *out) {
    struct gate_span key;
    int rc = read_key(reader, &key);
    if (rc < 0) return rc;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (is_word(key, members[i].key.data, members[i].key.len))
            return members[i].take(reader, out);
    return skip_term(reader);
}

static int scan(struct gate_span message, struct gate_envelope *out) {
    struct reader reader;
    uint32_t pairs;
    start_reader(&reader, message, NULL);
    *out = (struct gate_envelope){.op = -1};
    if (!has_bytes(&reader, 2) || byte_at(reader.at) != VERSION_BYTE) return GATE_ESYNTAX;
    reader.at++;
    if (byte_at(reader.at) != TAG_MAP || read_length(&reader, 4, &pairs) < 0) return GATE_ESYNTAX;
    if (!has_bytes(&reader, 2 * (uint64_t)pairs)) return GATE_ESYNTAX;
    while (pairs-- > 0) {
        int rc = take_member(&reader, out);
        if (rc < 0) return rc;
    }
    out->used = (size_t)(reader.at - message.data);
    return GATE_OK;
}

static bool claims(struct gate_span message) {
    return message.len > 0 && byte_at(message.data) == VERSION_BYTE;
}

/* ---- Compressed terms ------------------------------------------------------------------------ */

#define PACKED_HEAD_BYTES 6     /* version, tag, size */
#define UNPACK_STEP_BYTES 65536 /* asked for at a time, whatever the size promises */

static void *zlib_allocate(void *opaque, unsigned count, unsigned bytes) {
    (void)opaque;
    return gate_allocate(NULL, (size_t)count * bytes);
}

static void zlib_release(void *opaque, void *memory) {
    (void)opaque;
    gate_allocate(memory, 0);
}

/* One call of inflate, into room for what is left of the promise. Room for nothing still has to be
 * tried: the end of the stream may be all that is to come. */
static int inflate_some(z_stream *stream, size_t left, struct gate_buf *out, int *status) {
    char none[1];
    size_t room = left < UNPACK_STEP_BYTES ? left : UNPACK_STEP_BYTES;
    int rc = gate_buf_reserve(out, room);
    if (rc < 0) return rc;
    stream->next_out = (Bytef *)(room ? out->data + out->len : none);
    stream->avail_out = (uInt)(room ? room : sizeof none);
    *status = inflate(stream, Z_NO_FLUSH);
    if (room == 0) return stream->avail_out ? GATE_OK : GATE_ESYNTAX;
    out->len += room - stream->avail_out;
    return GATE_OK;
}

/* Inflates up to the end of the stream, which must come after `size` bytes. */
static int inflate_all(z_stream *stream, size_t size, struct gate_buf *out) {
    size_t end = out->len + size;
    int status = Z_OK;
    while (status == Z_OK) {
        int rc = inflate_some(stream, end - out->len, out, &status);
        if (rc < 0) return rc;
    }
    if (status == Z_MEM_ERROR) return GATE_EMEMORY;
    return status == Z_STREAM_END && out->len == end ? GATE_OK : GATE_ESYNTAX;
}

/* 1: `message` begins with a compressed term, and *out has it as a plain one. A size over the cap
 * is refused before anything is inflated. */
static int unpack(struct gate_span message, struct gate_buf *out, size_t *used) {
    const char *at = message.data;
    if (message.len < 2 || byte_at(at) != VERSION_BYTE || byte_at(at + 1) != TAG_COMPRESSED)
        return 0;
    if (message.len < PACKED_HEAD_BYTES || message.len > UINT_MAX) return GATE_ESYNTAX;
    size_t size = load_natural(at + 2, 4),
           cap = out->len_max ? out->len_max : GATE_MESSAGE_BYTES_MAX;
    if (size >= cap) return GATE_EMESSAGE;
    z_stream stream = {.zalloc = zlib_allocate, .zfree = zlib_release};
    stream.next_in = (z_const Bytef *)(uintptr_t)(at + PACKED_HEAD_BYTES);
    stream.avail_in = (uInt)(message.len - PACKED_HEAD_BYTES);
    if (inflateInit(&stream) != Z_OK) return GATE_EMEMORY;
    int rc = gate_buf_append_byte(out, (char)VERSION_BYTE);
    if (rc == GATE_OK) rc = inflate_all(&stream, size, out);
    *used = message.len - stream.avail_in;
    inflateEnd(&stream);
    return rc < 0 ? rc : 1;
}

/* ---- The writer ------------------------------------------------------------------------------ */

#define COUNT_BYTES 4 /* of a container, written when it closes */

static int begin(struct gate_writer *writer, struct gate_buf *out, bool message) {
    writer->out = out;
    writer->depth = 0;
    writer->after_key = false;
    return message ? gate_buf_append_byte(out, (char)VERSION_BYTE) : GATE_OK;
}

static void store_natural(uint64_t value, size_t bytes, char *out) {
    for (size_t i = bytes; i-- > 0; value >>= 8) out[i] = (char)value;
}

/* A value of a list is counted here, a pair of a map by its key. */
static void count_value(struct gate_writer *writer) {
    if (!writer->after_key && writer->depth > 0) writer->count[writer->depth - 1]++;
    writer->after_key = false;
}

static int write_term(void *to, const char *bytes, size_t len) {
    struct gate_writer *writer = to;
    count_value(writer);
    return gate_buf_append(writer->out, (struct gate_span){bytes, len});
}

#define WRITE_ATOM(to, word, length) write_term(to, "s" length word, sizeof word + 1)

static int write_null(void *to) {
    return WRITE_ATOM(to, "nil", "\x03");
}

static int write_boolean(void *to, bool value) {
    return value ? WRITE_ATOM(to, "true", "\x04") : WRITE_ATOM(to, "false", "\x05");
}

/* Each size has a form of its own, and a border where the next one begins. */
static int write_integer(void *to, int64_t value) {
    char term[3 + sizeof value];
    if (value >= 0 && value <= UINT8_MAX) {
        term[0] = TAG_SMALL_INTEGER;
        term[1] = (char)value;
        return write_term(to, term, 2);
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        term[0] = TAG_INTEGER;
        store_natural((uint64_t)value, 4, term + 1);
        return write_term(to, term, 5);
    }
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t bytes = 0;
    for (; left; left >>= 8) term[3 + bytes++] = (char)left;
    term[0] = TAG_SMALL_BIG;
    term[1] = (char)bytes;
    term[2] = value < 0;
    return write_term(to, term, 3 + bytes);
}

static int write_number(void *to, double value) {
    char term[1 + sizeof value] = {TAG_NEW_FLOAT};
    uint64_t bits;
    if (value - value != 0) return GATE_EVALUE; /* the format has no infinity and no NaN */
    memcpy(&bits, &value, sizeof bits);
    store_natural(bits, sizeof bits, term + 1);
    return write_term(to, term, sizeof term);
}

static int write_binary(struct gate_writer *writer, struct gate_span text) {
    char head[1 + COUNT_BYTES] = {TAG_BINARY};
    if (text.len > UINT32_MAX) return GATE_EMESSAGE;
    store_natural(text.len, COUNT_BYTES, head + 1);
    int rc = gate_buf_append(writer->out, (struct gate_span){head, sizeof head});
    return rc < 0 ? rc : gate_buf_append(writer->out, text);
}

static int write_text(void *to, struct gate_span text) {
    count_value(to);
    return write_binary(to, text);
}

/* The gateway takes binaries as keys and closes for atoms (protocol: ETF). */
static int write_key(void *to, struct gate_span text) {
    struct gate_writer *writer = to;
    writer->count[writer->depth - 1]++;
    writer->after_key = true;
    return write_binary(writer, text);
}

static int open_container(struct gate_writer *writer, uint8_t tag) {
    char head[1 + COUNT_BYTES] = {(char)tag};
    if (writer->depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    count_value(writer);
    writer->count[writer->depth] = 0;
    writer->count_at[writer->depth++] = writer->out->len + 1;
    return gate_buf_append(writer->out, (struct gate_span){head, sizeof head});
}

/* Puts the count where its place was kept, and returns it. */
static uint32_t close_container(struct gate_writer *writer) {
    uint32_t count = writer->count[--writer->depth];
    store_natural(count, COUNT_BYTES, writer->out->data + writer->count_at[writer->depth]);
    return count;
}

static int write_open_list(void *to) {
    return open_container(to, TAG_LIST);
}

/* An empty list is its end alone. */
static int write_close_list(void *to) {
    struct gate_writer *writer = to;
    if (close_container(writer) == 0) writer->out->len = writer->count_at[writer->depth] - 1;
    return gate_buf_append_byte(writer->out, TAG_NIL);
}

static int write_open_map(void *to) {
    return open_container(to, TAG_MAP);
}

static int write_close_map(void *to) {
    (void)close_container(to);
    return GATE_OK;
}

static const struct gate_sink writer = {
    .null = write_null,
    .boolean = write_boolean,
    .integer = write_integer,
    .number = write_number,
    .text = write_text,
    .open_list = write_open_list,
    .close_list = write_close_list,
    .open_map = write_open_map,
    .key = write_key,
    .close_map = write_close_map,
};

const struct gate_codec gate_etf = {.name = "etf",
                                    .binary = true,
                                    .claims = claims,
                                    .unpack = unpack,
                                    .scan = scan,
                                    .walk = walk,
                                    .begin = begin,
                                    .writer = &writer};

/* json.c - JSON (RFC 8259): the envelope scan, the walk into a sink, the sink that writes.
 * Called through gate_json by the session and the shard on the I/O thread and by lua_*.c on the
 * Lua thread. Keeps no state and never looks behind the end of what it is given. */
#include <limits.h>
#include <string.h>

#include "codec.h"
#include "json_skip.h"
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

#define READ_CALL(name)           pass_##name
#define READ_SKIPS_NULL(to, key)  false
#define READ_KNOWN(to, at, left)  0 /* a sink knows no key beforehand */
#define READ_SKIPS_KNOWN_NULL(to) false
#define READ_TAKE_KNOWN(to)       GATE_OK
#include "json_read.h"

static int walk(struct gate_span value, const struct gate_sink *sink, void *to,
                struct gate_buf *scratch) {
    struct target target = {sink, to};
    struct reader reader = {
        .at = value.data, .end = value.data + value.len, .scratch = scratch, .to = &target};
    return read_whole(&reader);
}

/* ---- The envelope ---------------------------------------------------------------------------- */

#define PLAIN_DIGITS_MAX 15 /* below 2^53, whatever they are */

/* Steps over a number of few digits with a comma behind it, as they nearly all are; -1: it is not
 * one. */
static int64_t take_digits(struct reader *reader) {
    const char *at = reader->at, *stop = at + PLAIN_DIGITS_MAX;
    int64_t value = 0;
    if (reader->end - at <= PLAIN_DIGITS_MAX || *at == '0') return -1;
    for (; at < stop && *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    if (at == reader->at || *at != ',') return -1;
    reader->at = at;
    return value;
}

/* An integer of at most 53 bits and not below zero, or null: -1. */
static int take_integer(struct reader *reader, int64_t *out) {
    bool is_integer;
    const char *from = reader->at;
    *out = take_digits(reader);
    if (*out > 0) return GATE_OK;
    if (*from == 'n') return skip_word(reader, "null", 4);
    int rc = skip_number(reader, &is_integer);
    if (rc < 0 || !is_integer || *from == '-') return GATE_ESYNTAX;
    struct gate_span digits = {from, (size_t)(reader->at - from)};
    return gate_text_to_integer(digits, out) ? GATE_OK : GATE_ESYNTAX;
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

/* Names of events are words: one with escapes, or a long one, is not from the gateway. */
static int take_name(struct reader *reader, struct gate_envelope *out) {
    out->name = (struct gate_span){NULL, 0};
    if (*reader->at == 'n') return skip_word(reader, "null", 4);
    if (*reader->at != '"') return GATE_ESYNTAX;
    const char *from = reader->at + 1, *stop = find_special(from, reader->end);
    size_t len = (size_t)(stop - from);
    if (stop == reader->end || *stop != '"' || len > GATE_NAME_BYTES_MAX) return GATE_ESYNTAX;
    out->name = (struct gate_span){from, len};
    reader->at = stop + 1;
    return GATE_OK;
}

static int take_data(struct reader *reader, struct gate_envelope *out) {
    const char *from = reader->at;
    int rc = skip_value(reader);
    out->data = (struct gate_span){from, (size_t)(reader->at - from)};
    return rc;
}

#define KEY_BYTES_MAX 8 /* "op", and room for rewriting its escapes */

/* In the order in which the gateway sends them, each as it is written there. */
static const struct member {
    struct gate_span key;
    char written[6];
    int (*take)(struct reader *reader, struct gate_envelope *out);
} members[] = {{{"t", 1}, "\"t\":", take_name},
               {{"s", 1}, "\"s\":", take_seq},
               {{"op", 2}, "\"op\":", take_op},
               {{"d", 1}, "\"d\":", take_data}};

#define MEMBERS (sizeof members / sizeof members[0])

static int take_member(struct reader *reader, struct gate_span key, struct gate_envelope *out) {
    for (size_t i = 0; i < MEMBERS; i++)
        if (members[i].key.len == key.len && memcmp(members[i].key.data, key.data, key.len) == 0)
            return members[i].take(reader, out);
    return skip_value(reader);
}

/* Steps over the key that is due, if it stands here as it is written, and something behind it. */
static bool match_key(struct reader *reader, const struct member *due) {
    size_t len = due->key.len + 3;
    if (reader->end - reader->at <= (ptrdiff_t)sizeof due->written) return false;
    bool same = len == 4 ? memcmp(reader->at, due->written, 4) == 0
                         : memcmp(reader->at, due->written, 5) == 0;
    if (!same || (unsigned char)reader->at[len] <= ' ') return false;
    reader->at += len;
    return true;
}

/* A key that is too long for the scratch buffer once its escapes are rewritten is none that the
 * envelope knows: its rest is skipped, and it comes out empty. */
static int take_key(struct reader *reader, struct gate_span *key) {
    int rc = read_key(reader, key);
    if (rc == GATE_EMESSAGE) {
        *key = (struct gate_span){NULL, 0};
        rc = skip_string(reader);
        if (rc == GATE_OK) rc = read_colon(reader);
    }
    if (rc < 0) return rc;
    return reader->at < reader->end ? GATE_OK : GATE_ESYNTAX;
}

static int scan_member(struct reader *reader, size_t nth, struct gate_envelope *out) {
    struct gate_span key;
    if (nth < MEMBERS && match_key(reader, &members[nth])) return members[nth].take(reader, out);
    int rc = take_key(reader, &key);
    return rc < 0 ? rc : take_member(reader, key, out);
}

static int scan_members(struct reader *reader, struct gate_envelope *out) {
    int more = !read_empty(reader, '}');
    for (size_t nth = 0; more > 0; nth++) {
        int rc = scan_member(reader, nth, out);
        if (rc < 0) return rc;
        more = read_separator(reader, '}');
    }
    return more;
}

static int scan(struct gate_span message, struct gate_envelope *out) {
    /* The scratch buffer is full with its few bytes, so it never allocates. */
    char bytes[KEY_BYTES_MAX];
    struct gate_buf scratch = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    struct reader reader = {
        .at = message.data, .end = message.data + message.len, .scratch = &scratch};
    *out = (struct gate_envelope){.op = -1};
    reader.at = skip_space(reader.at, reader.end);
    if (reader.at == reader.end || *reader.at != '{') return GATE_ESYNTAX;
    int rc = scan_members(&reader, out);
    if (rc < 0) return rc;
    /* White space behind a payload belongs to it: what is left must be another payload. */
    reader.at = skip_space(reader.at, reader.end);
    out->used = (size_t)(reader.at - message.data);
    return GATE_OK;
}

/* ---- The writer ------------------------------------------------------------------------------ */

static int begin(struct gate_writer *writer, struct gate_buf *out, bool message) {
    (void)message;
    writer->out = out;
    writer->depth = 0;
    writer->comma = false;
    return GATE_OK;
}

static int write_bytes(struct gate_writer *writer, const char *bytes, size_t len) {
    return gate_buf_append(writer->out, (struct gate_span){bytes, len});
}

/* The separator before a value or a key; afterwards one is due. */
static int write_comma(struct gate_writer *writer) {
    bool due = writer->comma;
    writer->comma = true;
    return due ? gate_buf_append_byte(writer->out, ',') : GATE_OK;
}

static int write_scalar(void *to, const char *bytes, size_t len) {
    int rc = write_comma(to);
    return rc < 0 ? rc : write_bytes(to, bytes, len);
}

static int write_null(void *to) {
    return write_scalar(to, "null", 4);
}

static int write_boolean(void *to, bool value) {
    return value ? write_scalar(to, "true", 4) : write_scalar(to, "false", 5);
}

static int write_integer(void *to, int64_t value) {
    char digits[GATE_INTEGER_TEXT_MAX];
    return write_scalar(to, digits, gate_text_from_integer(value, digits));
}

static int write_number(void *to, double value) {
    char digits[GATE_NUMBER_TEXT_MAX];
    if (value - value != 0) return GATE_EVALUE; /* JSON has no infinity and no NaN */
    return write_scalar(to, digits, gate_text_from_number(value, digits));
}

/* RFC 8259, 7: quote, backslash and control characters; everything else may stand as it is. */
static int write_escape(struct gate_writer *writer, char byte) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *found = byte ? strchr(from, byte) : NULL;
    if (found) return write_bytes(writer, (char[]){'\\', to[found - from]}, 2);
    char code[] = {'\\', 'u', '0', '0', hex[byte >> 4 & 0xF], hex[byte & 0xF]};
    return write_bytes(writer, code, sizeof code);
}

static int write_string(struct gate_writer *writer, struct gate_span text) {
    if (text.len == 0) return gate_buf_append(writer->out, GATE_SPAN("\"\""));
    const char *at = text.data, *end = at + text.len;
    int rc = gate_buf_append_byte(writer->out, '"');
    while (rc == GATE_OK && at < end) {
        const char *stop = find_special(at, end);
        rc = write_bytes(writer, at, (size_t)(stop - at));
        if (rc == GATE_OK && stop < end) rc = write_escape(writer, *stop++);
        at = stop;
    }
    return rc < 0 ? rc : gate_buf_append_byte(writer->out, '"');
}

static int write_text(void *to, struct gate_span text) {
    int rc = write_comma(to);
    return rc < 0 ? rc : write_string(to, text);
}

static int write_key(void *to, struct gate_span text) {
    struct gate_writer *writer = to;
    int rc = write_text(writer, text);
    writer->comma = false;
    return rc < 0 ? rc : gate_buf_append_byte(writer->out, ':');
}

static int open_container(struct gate_writer *writer, char bracket) {
    if (writer->depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    int rc = write_comma(writer);
    if (rc < 0) return rc;
    writer->depth++;
    writer->comma = false;
    return gate_buf_append_byte(writer->out, bracket);
}

static int close_container(struct gate_writer *writer, char bracket) {
    writer->depth--;
    writer->comma = true;
    return gate_buf_append_byte(writer->out, bracket);
}

static int write_open_list(void *to) {
    return open_container(to, '[');
}

static int write_close_list(void *to) {
    return close_container(to, ']');
}

static int write_open_map(void *to) {
    return open_container(to, '{');
}

static int write_close_map(void *to) {
    return close_container(to, '}');
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

/* ---- The table of encodings ------------------------------------------------------------------ */

/* JSON text never begins with a byte that is not ASCII. */
static bool claims(struct gate_span message) {
    return message.len > 0 && (unsigned char)message.data[0] < 0x80;
}

static int unpack(struct gate_span message, struct gate_buf *out, size_t *used) {
    (void)message, (void)out, (void)used;
    return 0;
}

const struct gate_codec gate_json = {.name = "json",
                                     .binary = false,
                                     .claims = claims,
                                     .unpack = unpack,
                                     .scan = scan,
                                     .walk = walk,
                                     .begin = begin,
                                     .writer = &writer};

const struct gate_codec *gate_codec_find(const char *name) {
    static const struct gate_codec *const codecs[] = {&gate_json, &gate_etf};
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        if (strcmp(codecs[i]->name, name) == 0) return codecs[i];
    return NULL;
}

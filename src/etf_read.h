/* etf_read.h - the reader of Erlang's External Term Format, compiled once for each kind of target.
 * Included by etf.c, where the target is any sink, and by lua_build_etf.c, where it is a Lua value
 * and the calls become direct ones. Pure. Reads nothing that a length promises before it is there.
 *
 * Define before including: READ_CALL(name), the name of the target's functions, which look like
 * those of struct gate_sink; and READ_SKIPS_NULL(to, key): true when this member need not be
 * mentioned at all if it is null. item(to) comes before each item of a list; id(to, natural) is an
 * integer of 2^53 or more that has eight bytes at most, to be told as its digits. A target may know
 * a key before it is read: READ_KNOWN(to, at, left, len), true when it is the text of `len` bytes
 * at `at`, of which there are `left` more, and is ASCII. Then READ_SKIPS_KNOWN_NULL(to) and
 * READ_TAKE_KNOWN(to) stand for READ_SKIPS_NULL and key. Everything in here is static: a text
 * without a .c file of its own. */
#ifndef MOONGATE_ETF_READ_H
#define MOONGATE_ETF_READ_H

#include "etf_lex.h"

/* ---- Atoms ----------------------------------------------------------------------------------- */

static int read_any_atom(struct reader *reader) {
    struct gate_span atom;
    int rc = read_atom(reader, &atom);
    if (rc < 0) return rc;
    if (means_null(atom)) return READ_CALL(null)(reader->to);
    if (is_word(atom, "true", 4)) return READ_CALL(boolean)(reader->to, true);
    if (is_word(atom, "false", 5)) return READ_CALL(boolean)(reader->to, false);
    return READ_CALL(text)(reader->to, atom);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* An integer, or its digits when it does not fit 53 bits. */
struct integer {
    int64_t value;
    struct gate_span digits; /* len 0: it is `value`; else as of read_atom */
};

static inline uint64_t load_magnitude(struct gate_span bytes) {
    uint64_t value = 0;
    if (bytes.len == sizeof value) {
        memcpy(&value, bytes.data, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = __builtin_bswap64(value);
#endif
        return value;
    }
    for (size_t i = bytes.len; i-- > 0;) value = value << 8 | byte_at(bytes.data + i);
    return value;
}

static inline int read_big(struct reader *reader, size_t length_bytes, struct integer *out) {
    uint32_t len;
    int rc = read_length(reader, length_bytes, &len);
    if (rc < 0 || len > GATE_BIG_BYTES_MAX || !has_bytes(reader, 1 + (uint64_t)len))
        return GATE_ESYNTAX;
    uint8_t sign = byte_at(reader->at);
    if (sign > 1) return GATE_ESYNTAX;
    struct gate_span magnitude = {reader->at + 1, len};
    while (magnitude.len && magnitude.data[magnitude.len - 1] == 0) magnitude.len--;
    reader->at += 1 + (size_t)len;
    uint64_t natural = magnitude.len <= sizeof natural ? load_magnitude(magnitude) : INTEGER_END;
    if (natural < INTEGER_END) {
        *out = (struct integer){.value = sign ? -(int64_t)natural : (int64_t)natural};
        return GATE_OK;
    }
    out->digits.data = reader->rewritten;
    out->digits.len = gate_text_from_big(magnitude, sign != 0, reader->rewritten);
    return GATE_OK;
}

/* Reads the integer at `at`, whose tag is one of the four. */
static inline int read_integer(struct reader *reader, struct integer *out) {
    *out = (struct integer){0};
    switch (byte_at(reader->at)) {
    case TAG_SMALL_INTEGER:
        if (!has_bytes(reader, 2)) return GATE_ESYNTAX;
        out->value = byte_at(reader->at + 1);
        reader->at += 2;
        return GATE_OK;
    case TAG_INTEGER:
        if (!has_bytes(reader, 5)) return GATE_ESYNTAX;
        out->value = (int32_t)load_natural(reader->at + 1, 4);
        reader->at += 5;
        return GATE_OK;
    case TAG_SMALL_BIG: return read_big(reader, 1, out);
    default: return read_big(reader, 4, out);
    }
}

static inline int read_integer_value(struct reader *reader) {
    struct integer integer;
    int rc = read_integer(reader, &integer);
    if (rc < 0) return rc;
    if (integer.digits.len) return READ_CALL(text)(reader->to, integer.digits);
    return READ_CALL(integer)(reader->to, integer.value);
}

/* The format has no infinity and no NaN. */
static inline int give_number(struct reader *reader, double value) {
    return value - value == 0 ? READ_CALL(number)(reader->to, value) : GATE_ESYNTAX;
}

static int read_double(struct reader *reader) {
    double value;
    if (!has_bytes(reader, 1 + sizeof value)) return GATE_ESYNTAX;
    uint64_t high = load_natural(reader->at + 1, 4), bits = high << 32;
    bits |= load_natural(reader->at + 5, 4);
    memcpy(&value, &bits, sizeof value);
    reader->at += 1 + sizeof value;
    return give_number(reader, value);
}

static const char *skip_digits(const char *at, const char *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

/* The number in what printf made of "%.20e", with zeros behind it; length 0 when it is none. */
static struct gate_span find_decimal(const char *text) {
    const struct gate_span none = {text, 0};
    const char *at = text, *end = text + FLOAT_BYTES, *from = at += *at == '-';
    at = skip_digits(from, end);
    if (at == from || at == end || *at != '.') return none;
    from = at + 1;
    at = skip_digits(from, end);
    if (at == from || end - at < 3 || *at != 'e' || (at[1] != '+' && at[1] != '-')) return none;
    from = at + 2;
    at = skip_digits(from, end);
    if (at == from) return none;
    struct gate_span found = {text, (size_t)(at - text)};
    while (at < end && *at == '\0') at++;
    return at == end ? found : none;
}

static int read_decimal(struct reader *reader) {
    if (!has_bytes(reader, 1 + FLOAT_BYTES)) return GATE_ESYNTAX;
    struct gate_span decimal = find_decimal(reader->at + 1);
    if (decimal.len == 0) return GATE_ESYNTAX;
    reader->at += 1 + FLOAT_BYTES;
    return give_number(reader, gate_text_to_number(decimal));
}

/* ---- Keys, and lists of bytes ---------------------------------------------------------------- */

/* Erlang writes a list of bytes as if it were text. */
static int read_string(struct reader *reader) {
    struct gate_span bytes;
    int rc = read_bytes(reader, 2, &bytes);
    if (rc == GATE_OK && reader->depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    if (rc == GATE_OK) rc = READ_CALL(open_list)(reader->to);
    for (size_t i = 0; rc == GATE_OK && i < bytes.len; i++) {
        rc = READ_CALL(item)(reader->to);
        if (rc == GATE_OK) rc = READ_CALL(integer)(reader->to, byte_at(bytes.data + i));
    }
    return rc < 0 ? rc : READ_CALL(close_list)(reader->to);
}

static int read_integer_key(struct reader *reader, struct gate_span *out) {
    struct integer integer;
    int rc = read_integer(reader, &integer);
    if (rc < 0) return rc;
    *out = integer.digits;
    if (out->len) return GATE_OK;
    out->data = reader->rewritten;
    out->len = gate_text_from_integer(integer.value, reader->rewritten);
    return GATE_OK;
}

/* Keys arrive as atoms, binaries or integers, mixed even within one message. */
static inline int read_key(struct reader *reader, struct gate_span *out) {
    if (!has_bytes(reader, 1)) return GATE_ESYNTAX;
    switch (byte_at(reader->at)) {
    case TAG_SMALL_ATOM:
    case TAG_SMALL_ATOM_UTF8:
    case TAG_ATOM:
    case TAG_ATOM_UTF8: return read_atom(reader, out);
    case TAG_BINARY: return read_bytes(reader, 4, out);
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: return read_integer_key(reader, out);
    default: return GATE_ESYNTAX;
    }
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* Left to itself the compiler makes calls of the short ways, and the long ones part of them. */
#define INLINE static inline __attribute__((always_inline))
#define APART  static __attribute__((noinline))

/* The functions below take the place of what they read and return the place behind it; NULL after
 * a failure, whose error and place are in the reader. A place that is handed on so stays in a
 * register, which one in the reader would not. */

static const char *fail(struct reader *reader, const char *at, int rc) {
    reader->at = at;
    reader->rc = rc;
    return NULL;
}

/* What the target says of a value that ends at `at`. */
static inline const char *pass(struct reader *reader, const char *at, int rc) {
    return rc < 0 ? fail(reader, at, rc) : at;
}

/* Are there so many bytes more? */
static inline bool has(const struct reader *reader, const char *at, uint64_t bytes) {
    return (uint64_t)(reader->end - at) >= bytes;
}

static const char *read_first(struct reader *reader, const char *at);
INLINE const char *read_value(struct reader *reader, const char *at);

INLINE const char *read_text(struct reader *reader, const char *at) {
    if (!has(reader, at, 5)) return fail(reader, at, GATE_ESYNTAX);
    struct gate_span text = {at + 5, load_length(at + 1)};
    if (!has(reader, text.data, text.len)) return fail(reader, at, GATE_ESYNTAX);
    return pass(reader, text.data + text.len, READ_CALL(text)(reader->to, text));
}

/* What is seldom: no more than a reader whose place is in it. What is not here (pids, ports,
 * references, functions, bit strings) is nothing the gateway sends, and cannot be stepped over. */
static int read_rare_value(struct reader *reader) {
    switch (byte_at(reader->at)) {
    case TAG_SMALL_ATOM:
    case TAG_SMALL_ATOM_UTF8:
    case TAG_ATOM:
    case TAG_ATOM_UTF8: return read_any_atom(reader);
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: return read_integer_value(reader);
    case TAG_STRING: return read_string(reader);
    case TAG_NEW_FLOAT: return read_double(reader);
    case TAG_FLOAT: return read_decimal(reader);
    default: return GATE_ESYNTAX;
    }
}

APART const char *read_rare(struct reader *reader, const char *at) {
    reader->at = at;
    int rc = read_rare_value(reader);
    return pass(reader, reader->at, rc);
}

/* Is this atom, in its short form, what stands at `at`? The tag is known to be one of that form. */
static inline bool is_short_atom(const struct reader *reader, const char *at, const char *word,
                                 size_t len) {
    return has(reader, at, 2 + len) && byte_at(at + 1) == len && memcmp(at + 2, word, len) == 0;
}

INLINE const char *read_short_atom(struct reader *reader, const char *at) {
    if (is_short_atom(reader, at, "false", 5))
        return pass(reader, at + 7, READ_CALL(boolean)(reader->to, false));
    if (is_short_atom(reader, at, "true", 4))
        return pass(reader, at + 6, READ_CALL(boolean)(reader->to, true));
    return read_rare(reader, at);
}

/* An id has eight bytes. */
#define ID_BYTES 8

INLINE const char *read_small_big(struct reader *reader, const char *at) {
    if (!has(reader, at, 3 + ID_BYTES) || byte_at(at + 1) != ID_BYTES || byte_at(at + 2) != 0)
        return read_rare(reader, at);
    uint64_t natural = load_magnitude((struct gate_span){at + 3, ID_BYTES});
    if (natural < INTEGER_END) return read_rare(reader, at);
    return pass(reader, at + 3 + ID_BYTES, READ_CALL(id)(reader->to, natural));
}

INLINE const char *read_small_integer(struct reader *reader, const char *at) {
    if (!has(reader, at, 2)) return fail(reader, at, GATE_ESYNTAX);
    return pass(reader, at + 2, READ_CALL(integer)(reader->to, byte_at(at + 1)));
}

/* ---- Lists and maps -------------------------------------------------------------------------- */

/* The terms of a list or tuple. */
APART const char *read_items(struct reader *reader, const char *at, uint32_t count) {
    if (!has(reader, at, count)) return fail(reader, at, GATE_ESYNTAX);
    if (reader->depth == GATE_DEPTH_MAX) return fail(reader, at, GATE_EDEPTH);
    reader->depth++;
    at = pass(reader, at, READ_CALL(open_list)(reader->to));
    for (; at && count > 0; count--) {
        at = pass(reader, at, READ_CALL(item)(reader->to));
        if (at) at = read_value(reader, at);
    }
    if (!at) return NULL;
    reader->depth--;
    return pass(reader, at, READ_CALL(close_list)(reader->to));
}

static inline const char *read_tuple(struct reader *reader, const char *at, size_t length_bytes) {
    if (!has(reader, at, 1 + length_bytes)) return fail(reader, at, GATE_ESYNTAX);
    return read_items(reader, at + 1 + length_bytes, load_natural(at + 1, length_bytes));
}

/* A proper list ends with the empty one. */
static inline const char *read_list(struct reader *reader, const char *at) {
    at = read_tuple(reader, at, 4);
    if (!at) return NULL;
    return has(reader, at, 1) && byte_at(at) == TAG_NIL ? at + 1 : fail(reader, at, GATE_ESYNTAX);
}

/* Behind the key that stands here, if the target knows it, and it is written in one of the two ways
 * that are common; else NULL. */
INLINE const char *behind_known(struct reader *reader, const char *at) {
    if (!has(reader, at, 5)) return NULL;
    uint8_t tag = byte_at(at);
    size_t len;
    if (tag == TAG_BINARY) {
        len = load_length(at + 1);
        at += 5;
    } else if (tag == TAG_SMALL_ATOM || tag == TAG_SMALL_ATOM_UTF8) {
        len = byte_at(at + 1);
        at += 2;
    } else {
        return NULL;
    }
    return READ_KNOWN(reader->to, at, (size_t)(reader->end - at), len) ? at + len : NULL;
}

/* Behind the null that stands here; NULL when none does. */
static const char *behind_atom_null(struct reader *reader, const char *at) {
    uint8_t tag = byte_at(at);
    bool small = tag == TAG_SMALL_ATOM || tag == TAG_SMALL_ATOM_UTF8;
    if (small && is_short_atom(reader, at, "nil", 3)) return at + 5;
    reader->at = at;
    return skip_null(reader) ? reader->at : NULL;
}

INLINE const char *behind_null(struct reader *reader, const char *at) {
    bool atom = has(reader, at, 1) && is_atom_tag(byte_at(at));
    return atom ? behind_atom_null(reader, at) : NULL;
}

/* The member of a key that the target did not know. */
APART const char *read_new_member(struct reader *reader, const char *at) {
    struct gate_span key;
    reader->at = at;
    int rc = read_key(reader, &key);
    at = pass(reader, reader->at, rc);
    const char *behind = at ? behind_null(reader, at) : NULL;
    if (behind && READ_SKIPS_NULL(reader->to, key)) return behind;
    if (at) at = pass(reader, at, READ_CALL(key)(reader->to, key));
    return at ? read_first(reader, at) : NULL;
}

INLINE const char *read_member(struct reader *reader, const char *at) {
    const char *value = behind_known(reader, at);
    if (!value) return read_new_member(reader, at);
    const char *behind = behind_null(reader, value);
    if (behind && READ_SKIPS_KNOWN_NULL(reader->to)) return behind;
    at = pass(reader, value, READ_TAKE_KNOWN(reader->to));
    return at ? read_value(reader, at) : NULL;
}

APART const char *read_map(struct reader *reader, const char *at) {
    if (!has(reader, at, 5)) return fail(reader, at, GATE_ESYNTAX);
    uint32_t pairs = load_length(at + 1);
    at += 5;
    if (!has(reader, at, 2 * (uint64_t)pairs)) return fail(reader, at, GATE_ESYNTAX);
    if (reader->depth == GATE_DEPTH_MAX) return fail(reader, at, GATE_EDEPTH);
    reader->depth++;
    at = pass(reader, at, READ_CALL(open_map)(reader->to));
    for (; at && pairs > 0; pairs--) at = read_member(reader, at);
    if (!at) return NULL;
    reader->depth--;
    return pass(reader, at, READ_CALL(close_map)(reader->to));
}

/* ---- Any value ------------------------------------------------------------------------------- */

INLINE const char *read_value(struct reader *reader, const char *at) {
    if (!has(reader, at, 1)) return fail(reader, at, GATE_ESYNTAX);
    uint8_t tag = byte_at(at);
    if (tag == TAG_BINARY) return read_text(reader, at);
    switch (tag) {
    case TAG_SMALL_BIG: return read_small_big(reader, at);
    case TAG_SMALL_INTEGER: return read_small_integer(reader, at);
    case TAG_SMALL_ATOM:
    case TAG_SMALL_ATOM_UTF8: return read_short_atom(reader, at);
    case TAG_MAP: return read_map(reader, at);
    case TAG_NIL: return read_items(reader, at + 1, 0);
    case TAG_LIST: return read_list(reader, at);
    case TAG_SMALL_TUPLE: return read_tuple(reader, at, 1);
    case TAG_LARGE_TUPLE: return read_tuple(reader, at, 4);
    default: return read_rare(reader, at);
    }
}

static const char *read_first(struct reader *reader, const char *at) {
    return read_value(reader, at);
}

/* Reads the one term that the input holds, with or without the version in front, and nothing behind
 * it. */
static int read_whole(struct reader *reader) {
    const char *at = reader->at;
    if (has(reader, at, 1) && byte_at(at) == VERSION_BYTE) at++;
    at = read_first(reader, at);
    if (!at) return reader->rc;
    reader->at = at;
    return at == reader->end ? GATE_OK : GATE_ESYNTAX;
}

#endif

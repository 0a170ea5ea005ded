/* json_read.h - the JSON reader (RFC 8259), compiled once for each kind of target.
 * Included by json.c, where the target is any sink, and by lua_build.c, where it is the Lua builder
 * and the calls become direct ones: that pair is the hot path of the whole product. Pure.
 *
 * Define before including: READ_CALL(name), the name of the target's functions, which look like
 * those of struct gate_sink, and READ_SKIPS_NULL(to, key): true when this member need not be
 * mentioned at all if it is null. item(to) comes before each item of a list. A target may know a
 * key before it is read: READ_KNOWN(to, at, left) says how many bytes a key with its quotes and its
 * colon takes at `at`, of which there are `left` more; 0: not known. Then READ_SKIPS_KNOWN_NULL(to)
 * and READ_TAKE_KNOWN(to) stand for READ_SKIPS_NULL and key. Everything in here is static: a text
 * without a .c file of its own. */
#ifndef MOONGATE_JSON_READ_H
#define MOONGATE_JSON_READ_H

#include "json_lex.h"

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

/* ---- Scalars --------------------------------------------------------------------------------- */

/* Of most numbers one look is enough: fewer digits than any of 2^53, and nothing behind them. */
#define SHORT_DIGITS 15

/* NULL: it takes a longer look. */
static inline const char *read_short(const char *at, const char *end, int64_t *out) {
    bool negative = *at == '-';
    const char *from = at + negative;
    if (end - from > SHORT_DIGITS + 1) end = from + SHORT_DIGITS + 1;
    int64_t value = 0;
    for (at = from; at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    size_t digits = (size_t)(at - from);
    if (digits == 0 || digits > SHORT_DIGITS || (*from == '0' && digits > 1)) return NULL;
    if (at < end && (*at == '.' || *at == 'e' || *at == 'E')) return NULL;
    *out = negative ? -value : value;
    return at;
}

APART const char *read_long(struct reader *reader, const char *from) {
    bool is_integer;
    int64_t integer;
    reader->at = from;
    int rc = skip_number(reader, &is_integer);
    if (rc < 0) return fail(reader, reader->at, rc);
    struct gate_span digits = {from, (size_t)(reader->at - from)};
    if (!is_integer)
        rc = READ_CALL(number)(reader->to, gate_text_to_number(digits));
    else if (gate_text_to_integer(digits, &integer))
        rc = READ_CALL(integer)(reader->to, integer);
    else
        rc = READ_CALL(text)(reader->to, digits);
    return pass(reader, reader->at, rc);
}

INLINE const char *read_number(struct reader *reader, const char *at) {
    int64_t integer;
    const char *behind = read_short(at, reader->end, &integer);
    if (!behind) return read_long(reader, at);
    return pass(reader, behind, READ_CALL(integer)(reader->to, integer));
}

/* With escapes, or with something wrong in it. */
APART const char *read_escaped(struct reader *reader, const char *at) {
    struct gate_span text;
    reader->at = at;
    int rc = read_string(reader, &text);
    if (rc == GATE_OK) rc = READ_CALL(text)(reader->to, text);
    return pass(reader, reader->at, rc);
}

INLINE const char *read_text(struct reader *reader, const char *at) {
    const char *from = at + 1, *stop = find_special(from, reader->end);
    if (stop == reader->end || *stop != '"') return read_escaped(reader, at);
    struct gate_span text = {from, (size_t)(stop - from)};
    return pass(reader, stop + 1, READ_CALL(text)(reader->to, text));
}

/* NULL: the word is not there. */
static inline const char *behind_word(const char *at, const char *end, const char *word,
                                      size_t len) {
    return (size_t)(end - at) >= len && memcmp(at, word, len) == 0 ? at + len : NULL;
}

static inline const char *read_word(struct reader *reader, const char *at) {
    const char *behind;
    if ((behind = behind_word(at, reader->end, "false", 5)))
        return pass(reader, behind, READ_CALL(boolean)(reader->to, false));
    if ((behind = behind_word(at, reader->end, "true", 4)))
        return pass(reader, behind, READ_CALL(boolean)(reader->to, true));
    if ((behind = behind_word(at, reader->end, "null", 4)))
        return pass(reader, behind, READ_CALL(null)(reader->to));
    return fail(reader, at, GATE_ESYNTAX);
}

/* ---- Containers ------------------------------------------------------------------------------ */

static const char *read_first(struct reader *reader, const char *at);
static const char *read_list(struct reader *reader, const char *at);
static const char *read_map(struct reader *reader, const char *at);

/* The value at `at`, or behind the white space there. */
INLINE const char *read_value(struct reader *reader, const char *at) {
    if (at == reader->end) return fail(reader, at, GATE_ESYNTAX);
    if (*at == '"') return read_text(reader, at);
    switch (*at) {
    case '{': return read_map(reader, at);
    case '[': return read_list(reader, at);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return read_number(reader, at);
    case ' ':
    case '\n':
    case '\r':
    case '\t': return read_first(reader, skip_space(at, reader->end));
    default: return read_word(reader, at);
    }
}

/* Behind an opening bracket: at the first member. */
static inline const char *enter(struct reader *reader, const char *at, int rc) {
    if (rc < 0) return fail(reader, at, rc);
    reader->depth++;
    return skip_space(at + 1, reader->end);
}

/* At the bracket that has to be there. */
static inline const char *leave(struct reader *reader, const char *at, char close) {
    if (at == reader->end || *at != close) return fail(reader, at, GATE_ESYNTAX);
    reader->depth--;
    return at + 1;
}

static inline bool has(const struct reader *reader, const char *at, char byte) {
    return at < reader->end && *at == byte;
}

/* Behind a member: at the comma that promises another one, or at what has to be the bracket. */
static inline const char *find_end(const struct reader *reader, const char *at) {
    return has(reader, at, ',') ? at : skip_space(at, reader->end);
}

APART const char *read_list(struct reader *reader, const char *at) {
    if (reader->depth == GATE_DEPTH_MAX) return fail(reader, at, GATE_EDEPTH);
    at = enter(reader, at, READ_CALL(open_list)(reader->to));
    bool more = at && !has(reader, at, ']');
    while (more) {
        at = pass(reader, at, READ_CALL(item)(reader->to));
        if (at) at = read_value(reader, at);
        if (!at) return NULL;
        at = find_end(reader, at);
        more = has(reader, at, ',');
        at += more;
    }
    if (at) at = leave(reader, at, ']');
    return at ? pass(reader, at, READ_CALL(close_list)(reader->to)) : NULL;
}

/* The member of a key that the target did not know. */
APART const char *read_new_member(struct reader *reader, const char *at) {
    struct gate_span key;
    reader->at = at;
    int rc = read_key(reader, &key);
    if (rc < 0) return fail(reader, reader->at, rc);
    at = reader->at;
    const char *behind = behind_word(at, reader->end, "null", 4);
    if (behind && READ_SKIPS_NULL(reader->to, key)) return behind;
    at = pass(reader, at, READ_CALL(key)(reader->to, key));
    return at ? read_first(reader, at) : NULL;
}

INLINE const char *read_member(struct reader *reader, const char *at) {
    size_t known = READ_KNOWN(reader->to, at, (size_t)(reader->end - at));
    if (known == 0) return read_new_member(reader, at);
    at += known;
    if (has(reader, at, 'n') && READ_SKIPS_KNOWN_NULL(reader->to)) {
        const char *behind = behind_word(at, reader->end, "null", 4);
        return behind ? behind : fail(reader, at, GATE_ESYNTAX);
    }
    at = pass(reader, at, READ_TAKE_KNOWN(reader->to));
    return at ? read_value(reader, at) : NULL;
}

APART const char *read_map(struct reader *reader, const char *at) {
    if (reader->depth == GATE_DEPTH_MAX) return fail(reader, at, GATE_EDEPTH);
    at = enter(reader, at, READ_CALL(open_map)(reader->to));
    bool more = at && !has(reader, at, '}');
    while (more) {
        at = read_member(reader, at);
        if (!at) return NULL;
        at = find_end(reader, at);
        more = has(reader, at, ',');
        at += more;
    }
    if (at) at = leave(reader, at, '}');
    return at ? pass(reader, at, READ_CALL(close_map)(reader->to)) : NULL;
}

APART const char *read_first(struct reader *reader, const char *at) {
    return read_value(reader, at);
}

/* Reads the one value that the input holds, and nothing behind it. */
static int read_whole(struct reader *reader) {
    const char *at = read_first(reader, reader->at);
    if (!at) return reader->rc;
    reader->at = skip_space(at, reader->end);
    return reader->at == reader->end ? GATE_OK : GATE_ESYNTAX;
}

#endif

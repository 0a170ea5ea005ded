/* json_read.h - the JSON reader (RFC 8259), compiled once for each kind of target.
 * Included by json.c, where the target is any sink, and by lua_build.c, where it is the Lua builder
 * and the calls become direct ones: that pair is the hot path of the whole product. Pure.
 *
 * Define before including: READ_CALL(name), the name of the target's functions, which look like
 * those of struct gate_sink, and READ_SKIPS_NULL(to, key): true when this member need not be
 * mentioned at all if it is null. Everything in here is static: a text without a .c file of its
 * own. */
#ifndef MOONGATE_JSON_READ_H
#define MOONGATE_JSON_READ_H

#include "json_lex.h"

/* ---- Values ---------------------------------------------------------------------------------- */

/* Of most numbers one look is enough: fewer digits than any of 2^53, and nothing behind them. */
#define SHORT_DIGITS 15

static inline bool read_short(struct reader *reader, int64_t *out) {
    const char *at = reader->at, *end = reader->end;
    bool negative = *at == '-';
    const char *from = at + negative;
    if (end - from > SHORT_DIGITS + 1) end = from + SHORT_DIGITS + 1;
    int64_t value = 0;
    for (at = from; at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    size_t digits = (size_t)(at - from);
    if (digits == 0 || digits > SHORT_DIGITS || (*from == '0' && digits > 1)) return false;
    if (at < end && (*at == '.' || *at == 'e' || *at == 'E')) return false;
    *out = negative ? -value : value;
    reader->at = at;
    return true;
}

static int read_long(struct reader *reader) {
    bool is_integer;
    int64_t integer;
    const char *from = reader->at;
    int rc = skip_number(reader, &is_integer);
    if (rc < 0) return rc;
    struct gate_span digits = {from, (size_t)(reader->at - from)};
    if (!is_integer) return READ_CALL(number)(reader->to, gate_text_to_number(digits));
    if (!gate_text_to_integer(digits, &integer)) return READ_CALL(text)(reader->to, digits);
    return READ_CALL(integer)(reader->to, integer);
}

static inline int read_number(struct reader *reader) {
    int64_t integer;
    if (read_short(reader, &integer)) return READ_CALL(integer)(reader->to, integer);
    return read_long(reader);
}

static int read_value(struct reader *reader);

static int read_list(struct reader *reader) {
    if (reader->depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    reader->depth++;
    int rc = READ_CALL(open_list)(reader->to);
    int more = rc == GATE_OK && !read_empty(reader, ']');
    while (more > 0) {
        rc = read_value(reader);
        if (rc < 0) return rc;
        more = read_separator(reader, ']');
    }
    if (rc < 0 || more < 0) return rc < 0 ? rc : more;
    reader->depth--;
    return READ_CALL(close_list)(reader->to);
}

static inline int read_member(struct reader *reader) {
    struct gate_span key;
    int rc = read_key(reader, &key);
    if (rc < 0) return rc;
    if (reader->at < reader->end && *reader->at == 'n' && READ_SKIPS_NULL(reader->to, key))
        return skip_word(reader, "null", 4);
    rc = READ_CALL(key)(reader->to, key);
    return rc < 0 ? rc : read_value(reader);
}

static int read_map(struct reader *reader) {
    if (reader->depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    reader->depth++;
    int rc = READ_CALL(open_map)(reader->to);
    int more = rc == GATE_OK && !read_empty(reader, '}');
    while (more > 0) {
        rc = read_member(reader);
        if (rc < 0) return rc;
        more = read_separator(reader, '}');
    }
    if (rc < 0 || more < 0) return rc < 0 ? rc : more;
    reader->depth--;
    return READ_CALL(close_map)(reader->to);
}

static int read_text(struct reader *reader) {
    struct gate_span text;
    int rc = read_string(reader, &text);
    return rc < 0 ? rc : READ_CALL(text)(reader->to, text);
}

static int read_word(struct reader *reader) {
    switch (*reader->at) {
    case 't':
        if (skip_word(reader, "true", 4) < 0) return GATE_ESYNTAX;
        return READ_CALL(boolean)(reader->to, true);
    case 'f':
        if (skip_word(reader, "false", 5) < 0) return GATE_ESYNTAX;
        return READ_CALL(boolean)(reader->to, false);
    default:
        if (skip_word(reader, "null", 4) < 0) return GATE_ESYNTAX;
        return READ_CALL(null)(reader->to);
    }
}

static int read_value(struct reader *reader) {
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end) return GATE_ESYNTAX;
    switch (*reader->at) {
    case '"': return read_text(reader);
    case '{': return read_map(reader);
    case '[': return read_list(reader);
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
    case '9': return read_number(reader);
    default: return read_word(reader);
    }
}

/* Reads the one value that the input holds, and nothing behind it. */
static int read_whole(struct reader *reader) {
    int rc = read_value(reader);
    if (rc < 0) return rc;
    reader->at = skip_space(reader->at, reader->end);
    return reader->at == reader->end ? GATE_OK : GATE_ESYNTAX;
}

#endif

/* json_read.h - the JSON reader (RFC 8259), compiled once for each kind of target.
 * Included by json.c, where the target is any sink, and by lua_build.c, where it is the Lua builder
 * and the calls become direct ones: that pair is the hot path of the whole product. Pure.
 *
 * Define before including: READ_TO, the type of the target, and READ_CALL(name), the name of its
 * functions, which look like those of struct gate_sink but for their first argument, a READ_TO *,
 * and READ_SKIPS_NULL(to, key): true when this member need not be mentioned at all if it is null.
 * Everything in here is static: a text without a .c file of its own. */
#ifndef MOONGATE_JSON_READ_H
#define MOONGATE_JSON_READ_H

#include <string.h>

#include "buf.h"
#include "moongate.h"
#include "text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct reader {
    const char *at; /* the next byte; after a failure, the byte that was wrong */
    const char *end;
    struct gate_buf *scratch; /* takes text whose escapes had to be rewritten */
    READ_TO *to;
    int depth;
};

/* ---- Strings --------------------------------------------------------------------------------- */

static inline uint64_t spread(unsigned char byte) {
    return byte * UINT64_C(0x0101010101010101);
}

/* The high bit of each byte that is zero; of bytes above the lowest such one it may be wrong. */
static inline uint64_t mark_zeros(uint64_t word) {
    return (word - spread(0x01)) & ~word & spread(0x80);
}

static inline bool is_special(char byte) {
    return byte == '"' || byte == '\\' || (unsigned char)byte < 0x20;
}

/* The first quote, backslash or control character at or behind `at`; `end` when there is none. */
static inline const char *find_special(const char *at, const char *end) {
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1F);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
        unsigned mask = (unsigned)_mm_movemask_epi8(found);
        if (mask) return at + __builtin_ctz(mask);
    }
#endif
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t control_bits = (word - spread(0x20)) & ~word & spread(0x80);
        if (mark_zeros(word ^ spread('"')) | mark_zeros(word ^ spread('\\')) | control_bits) break;
    }
    while (at < end && !is_special(*at)) at++;
    return at;
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

/* Reads "\uXXXX" at `at`; -1 when it is none. */
static int32_t read_unit(const char *at, const char *end) {
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        int value = hex_value(at[i]);
        if (value < 0) return -1;
        unit = unit * 16 + value;
    }
    return unit;
}

/* RFC 8259, 7: what is beyond U+FFFF comes as a pair of surrogates. One alone is no character and
 * has no UTF-8, so it is refused. Returns -1 then, else the character, with at behind it. */
static int32_t read_character(struct reader *reader) {
    int32_t high = read_unit(reader->at, reader->end);
    if (high < 0 || (high >= 0xDC00 && high <= 0xDFFF)) return -1;
    if (high >= 0xD800 && high <= 0xDBFF) {
        int32_t low = read_unit(reader->at + 6, reader->end);
        if (low < 0xDC00 || low > 0xDFFF) return -1;
        reader->at += 12;
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
    reader->at += 6;
    return high;
}

static size_t write_utf8(int32_t character, char out[4]) {
    static const unsigned char firsts[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    uint32_t left = (uint32_t)character;
    size_t len = left < 0x80 ? 1 : left < 0x800 ? 2 : left < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (left & 0x3F));
        left >>= 6;
    }
    out[0] = (char)(firsts[len] | left);
    return len;
}

/* RFC 8259, 7: what a letter behind a backslash stands for; 0 for any other. */
static inline char escaped_byte(char letter) {
    switch (letter) {
    case '"':
    case '\\':
    case '/': return letter;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
    }
}

#define ESCAPE_BYTES_MAX 4 /* of a rewritten escape */

/* Rewrites the escape at `at` to the end of the scratch buffer, which has room for it, and steps
 * over it. */
static inline int rewrite_escape(struct reader *reader) {
    struct gate_buf *scratch = reader->scratch;
    if (reader->end - reader->at < 2) return GATE_ESYNTAX;
    char *to = scratch->data + scratch->len;
    if (reader->at[1] == 'u') {
        int32_t character = read_character(reader);
        if (character < 0) return GATE_ESYNTAX;
        scratch->len += write_utf8(character, to);
        return GATE_OK;
    }
    *to = escaped_byte(reader->at[1]);
    if (*to == 0) return GATE_ESYNTAX;
    scratch->len++;
    reader->at += 2;
    return GATE_OK;
}

/* The rest of read_string, for text that has escapes: `stop` is the first special byte. */
static int rewrite_string(struct reader *reader, const char *stop, struct gate_span *out) {
    struct gate_buf *scratch = reader->scratch;
    scratch->len = 0;
    for (;;) {
        size_t plain = (size_t)(stop - reader->at);
        int rc = gate_buf_reserve(scratch, plain + ESCAPE_BYTES_MAX);
        if (rc < 0) return rc;
        memcpy(scratch->data + scratch->len, reader->at, plain);
        scratch->len += plain;
        reader->at = stop;
        if (stop == reader->end || (*stop != '"' && *stop != '\\')) return GATE_ESYNTAX;
        if (*stop == '"') break;
        rc = rewrite_escape(reader);
        if (rc < 0) return rc;
        stop = find_special(reader->at, reader->end);
    }
    reader->at++;
    *out = gate_buf_span(scratch);
    return GATE_OK;
}

/* Reads a string whose opening quote is at `at`. *out points into the input, or into the scratch
 * buffer when there were escapes; it is good until the next string. */
static inline int read_string(struct reader *reader, struct gate_span *out) {
    const char *from = ++reader->at;
    const char *stop = find_special(from, reader->end);
    if (stop == reader->end || *stop != '"') return rewrite_string(reader, stop, out);
    *out = (struct gate_span){from, (size_t)(stop - from)};
    reader->at = stop + 1;
    return GATE_OK;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static inline bool is_digit(const char *at, const char *end) {
    return at < end && *at >= '0' && *at <= '9';
}

static inline const char *skip_digits(const char *at, const char *end) {
    while (is_digit(at, end)) at++;
    return at;
}

/* RFC 8259, 6. Steps over the number at `at`; *integer: without fraction and exponent. */
static int skip_number(struct reader *reader, bool *integer) {
    const char *at = reader->at, *end = reader->end;
    *integer = true;
    if (*at == '-') at++;
    bool ok = is_digit(at, end);
    at = ok && *at == '0' ? at + 1 : skip_digits(at, end);
    if (ok && at < end && *at == '.') {
        *integer = false;
        ok = is_digit(++at, end);
        at = skip_digits(at, end);
    }
    if (ok && at < end && (*at == 'e' || *at == 'E')) {
        *integer = false;
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        ok = is_digit(at, end);
        at = skip_digits(at, end);
    }
    reader->at = at;
    return ok ? GATE_OK : GATE_ESYNTAX;
}

static int read_number(struct reader *reader) {
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

/* ---- Values ---------------------------------------------------------------------------------- */

static inline const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    return at;
}

/* Steps over `word`, whose first letter is known to be there. */
static inline int skip_word(struct reader *reader, const char *word, size_t len) {
    if ((size_t)(reader->end - reader->at) < len || memcmp(reader->at, word, len) != 0)
        return GATE_ESYNTAX;
    reader->at += len;
    return GATE_OK;
}

static int read_value(struct reader *reader);

/* Behind a member: 1 when a comma promises another one, 0 when `close` ends the container. */
static inline int read_separator(struct reader *reader, char close) {
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end) return GATE_ESYNTAX;
    char byte = *reader->at;
    if (byte != ',' && byte != close) return GATE_ESYNTAX;
    reader->at++;
    return byte == ',';
}

/* Behind an opening bracket: true when the container is empty, which is closed then. */
static inline bool read_empty(struct reader *reader, char close) {
    reader->at = skip_space(reader->at + 1, reader->end);
    if (reader->at == reader->end || *reader->at != close) return false;
    reader->at++;
    return true;
}

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

static inline int read_colon(struct reader *reader) {
    reader->at = skip_space(reader->at, reader->end);
    int rc = skip_word(reader, ":", 1);
    reader->at = skip_space(reader->at, reader->end);
    return rc;
}

/* Reads a key with its colon, and stops at its value. */
static inline int read_key(struct reader *reader, struct gate_span *key) {
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end || *reader->at != '"') return GATE_ESYNTAX;
    int rc = read_string(reader, key);
    return rc < 0 ? rc : read_colon(reader);
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

/* etf_lex.h - the words of Erlang's External Term Format: tags, lengths, atoms, and how to step
 * over a term without reading it. Included by etf_read.h and lua_index_etf.c. Pure; a text without
 * a .c file of its own, so everything in here is static. */
#ifndef MOONGATE_ETF_LEX_H
#define MOONGATE_ETF_LEX_H

#include <string.h>

#include "moongate.h"
#include "text.h"

/* External Term Format: every number of more than one byte has its highest one first, but the
 * digits of SMALL_BIG and LARGE_BIG. */
enum tag {
    TAG_NEW_FLOAT = 70,       /* IEEE 754 double */
    TAG_COMPRESSED = 80,      /* right behind the version: size (4), zlib stream of one term */
    TAG_SMALL_INTEGER = 97,   /* one byte */
    TAG_INTEGER = 98,         /* four, signed */
    TAG_FLOAT = 99,           /* 31 bytes of text */
    TAG_ATOM = 100,           /* length (2), Latin-1 */
    TAG_SMALL_TUPLE = 104,    /* arity (1), terms */
    TAG_LARGE_TUPLE = 105,    /* arity (4), terms */
    TAG_NIL = 106,            /* the empty list, and the end of a list */
    TAG_STRING = 107,         /* length (2), a list of so many bytes */
    TAG_LIST = 108,           /* length (4), terms, the end */
    TAG_BINARY = 109,         /* length (4), bytes */
    TAG_SMALL_BIG = 110,      /* length (1), sign (1), digits in base 256 */
    TAG_LARGE_BIG = 111,      /* length (4), sign (1), the same */
    TAG_SMALL_ATOM = 115,     /* length (1), Latin-1 */
    TAG_MAP = 116,            /* pairs (4), keys and values in turn */
    TAG_ATOM_UTF8 = 118,      /* length (2), UTF-8 */
    TAG_SMALL_ATOM_UTF8 = 119 /* length (1), UTF-8 */
};

#define VERSION_BYTE    131
#define ATOM_CHARS_MAX  255                /* Erlang's own limit */
#define ATOM_BYTES_MAX  4 * ATOM_CHARS_MAX /* in UTF-8 */
#define FLOAT_BYTES     31
#define INTEGER_END     9007199254740992 /* 2^53, as in codec.h: integers from here on are text */
#define REWRITTEN_BYTES GATE_BIG_TEXT_MAX

_Static_assert(REWRITTEN_BYTES >= 2 * ATOM_CHARS_MAX, "Latin-1 has two bytes in UTF-8 at most");

struct reader {
    const char *at; /* the next byte; after a failure, one of the term that was wrong */
    const char *end;
    void *to; /* the target of etf_read.h; unused elsewhere */
    int depth;
    int rc;                          /* the error that a place of NULL stands for */
    char rewritten[REWRITTEN_BYTES]; /* text that is not in the input as it is */
};

static inline void start_reader(struct reader *reader, struct gate_span input, void *to) {
    reader->at = input.data;
    reader->end = input.data + input.len;
    reader->to = to;
    reader->depth = 0;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static inline bool has_bytes(const struct reader *reader, uint64_t bytes) {
    return (uint64_t)(reader->end - reader->at) >= bytes;
}

static inline uint8_t byte_at(const char *at) {
    return (uint8_t)*at;
}

static inline uint32_t load_length(const char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

/* A natural number of `bytes` (0, 1, 2 or 4). */
static inline uint32_t load_natural(const char *at, size_t bytes) {
    if (bytes == 4) return load_length(at);
    uint32_t high = bytes > 0 ? byte_at(at) : 0;
    if (bytes > 1) high = high << 8 | byte_at(at + 1);
    return high;
}

/* Reads a length of `bytes` behind the tag that stands at `at`, which is stepped over with it. */
static inline int read_length(struct reader *reader, size_t bytes, uint32_t *out) {
    if (!has_bytes(reader, 1 + bytes)) return GATE_ESYNTAX;
    *out = load_natural(reader->at + 1, bytes);
    reader->at += 1 + bytes;
    return GATE_OK;
}

/* The same with as many bytes as the length says, as a span of the input. */
static inline int read_bytes(struct reader *reader, size_t length_bytes, struct gate_span *out) {
    uint32_t len;
    int rc = read_length(reader, length_bytes, &len);
    if (rc < 0 || !has_bytes(reader, len)) return GATE_ESYNTAX;
    *out = (struct gate_span){reader->at, len};
    reader->at += len;
    return GATE_OK;
}

/* ---- Atoms ----------------------------------------------------------------------------------- */

static inline bool is_ascii(struct gate_span text) {
    uint64_t bits = 0, word;
    size_t i = 0;
    for (; text.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, text.data + i, sizeof word);
        bits |= word;
    }
    for (; i < text.len; i++) bits |= byte_at(text.data + i);
    return (bits & UINT64_C(0x8080808080808080)) == 0;
}

static inline void rewrite_latin1(struct reader *reader, struct gate_span *text) {
    size_t len = 0;
    for (size_t i = 0; i < text->len; i++) {
        uint8_t byte = byte_at(text->data + i);
        if (byte >= 0x80) reader->rewritten[len++] = (char)(0xC0 | byte >> 6);
        reader->rewritten[len++] = (char)(byte < 0x80 ? byte : 0x80 | (byte & 0x3F));
    }
    *text = (struct gate_span){reader->rewritten, len};
}

/* Reads the atom at `at`, whose tag is one of the four. *out is good until the next key, atom or
 * number is read. */
static inline int read_atom(struct reader *reader, struct gate_span *out) {
    uint8_t tag = byte_at(reader->at);
    bool small = tag == TAG_SMALL_ATOM || tag == TAG_SMALL_ATOM_UTF8;
    bool latin1 = tag == TAG_SMALL_ATOM || tag == TAG_ATOM;
    int rc = read_bytes(reader, small ? 1 : 2, out);
    if (rc < 0 || out->len > (latin1 ? ATOM_CHARS_MAX : ATOM_BYTES_MAX)) return GATE_ESYNTAX;
    if (latin1 && !is_ascii(*out)) rewrite_latin1(reader, out);
    return GATE_OK;
}

static inline bool is_word(struct gate_span text, const char *word, size_t len) {
    return text.len == len && memcmp(text.data, word, len) == 0;
}

/* Elixir says nil; null is taken as well. */
static inline bool means_null(struct gate_span atom) {
    return is_word(atom, "nil", 3) || is_word(atom, "null", 4);
}

/* Is it a null that stands here? An atom of four letters at most is not rewritten. */
static inline bool is_null(const struct reader *reader) {
    if (!has_bytes(reader, 5)) return false;
    const char *at = reader->at;
    if (at[1] != 3 && at[1] != 4 && at[1] != 0) return false;
    uint8_t tag = byte_at(at);
    size_t head = 2, len = byte_at(at + 1);
    if (tag == TAG_ATOM || tag == TAG_ATOM_UTF8) {
        head = 3;
        len = load_natural(at + 1, 2);
    } else if (tag != TAG_SMALL_ATOM && tag != TAG_SMALL_ATOM_UTF8) {
        return false;
    }
    return len <= 4 && has_bytes(reader, head + len) &&
           means_null((struct gate_span){at + head, len});
}

static inline int skip_atom(struct reader *reader) {
    struct gate_span atom;
    return read_atom(reader, &atom);
}

/* Steps over a null, if that is what stands here. */
static inline bool skip_null(struct reader *reader) {
    return is_null(reader) && skip_atom(reader) == GATE_OK;
}

static inline bool is_atom_tag(uint8_t tag) {
    return tag == TAG_SMALL_ATOM || tag == TAG_SMALL_ATOM_UTF8 || tag == TAG_ATOM ||
           tag == TAG_ATOM_UTF8;
}

/* ---- Skipping -------------------------------------------------------------------------------- */

/* What stands behind a tag: so many bytes of its own, behind a length if it has one. What the
 * length counts is bytes, or terms. A tag that is not here is refused, as nobody knows its size. */
static const struct layout {
    uint8_t length_bytes;
    uint8_t own_bytes;
    uint8_t terms; /* for each that the length counts; 0: it counts bytes */
    bool nests;    /* a container, be it one of bytes: it has a depth */
    bool known;
} layouts[256] = {
    [TAG_NEW_FLOAT] = {.own_bytes = 8, .known = true},
    [TAG_SMALL_INTEGER] = {.own_bytes = 1, .known = true},
    [TAG_INTEGER] = {.own_bytes = 4, .known = true},
    [TAG_FLOAT] = {.own_bytes = FLOAT_BYTES, .known = true},
    [TAG_ATOM] = {.length_bytes = 2, .known = true},
    [TAG_SMALL_TUPLE] = {.length_bytes = 1, .terms = 1, .nests = true, .known = true},
    [TAG_LARGE_TUPLE] = {.length_bytes = 4, .terms = 1, .nests = true, .known = true},
    [TAG_NIL] = {.nests = true, .known = true},
    [TAG_STRING] = {.length_bytes = 2, .nests = true, .known = true},
    [TAG_LIST] = {.length_bytes = 4, .terms = 1, .nests = true, .known = true},
    [TAG_BINARY] = {.length_bytes = 4, .known = true},
    [TAG_SMALL_BIG] = {.length_bytes = 1, .own_bytes = 1, .known = true},
    [TAG_LARGE_BIG] = {.length_bytes = 4, .own_bytes = 1, .known = true},
    [TAG_SMALL_ATOM] = {.length_bytes = 1, .known = true},
    [TAG_MAP] = {.length_bytes = 4, .terms = 2, .nests = true, .known = true},
    [TAG_ATOM_UTF8] = {.length_bytes = 2, .known = true},
    [TAG_SMALL_ATOM_UTF8] = {.length_bytes = 1, .known = true},
};

/* An open container: the terms that are still to come, and whether the empty list ends it. */
struct opened {
    uint64_t terms;
    bool ended_by_nil;
};

/* Steps over the head of a term: all of it, unless it is a container. *out: what that holds. */
static inline int skip_head(struct reader *reader, int depth, struct opened *out) {
    *out = (struct opened){0, false};
    if (!has_bytes(reader, 1)) return GATE_ESYNTAX;
    uint8_t tag = byte_at(reader->at);
    const struct layout *layout = &layouts[tag];
    uint32_t count = 0;
    if (!layout->known || read_length(reader, layout->length_bytes, &count) < 0)
        return GATE_ESYNTAX;
    if (layout->nests && depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    size_t own = layout->own_bytes + (layout->terms ? 0 : (size_t)count);
    out->terms = (uint64_t)count * layout->terms;
    out->ended_by_nil = tag == TAG_LIST;
    if (!has_bytes(reader, own) || !has_bytes(reader, own + out->terms)) return GATE_ESYNTAX;
    reader->at += own;
    return GATE_OK;
}

/* Behind the term at `at` when it is one of those that are common and hold no others; else NULL,
 * and nothing is said of it. Most terms are, so this is what stepping over an event costs. */
static inline const char *behind_leaf(const char *at, const char *end) {
    if (end - at < 9) return NULL; /* as many as any head has, and a double */
    size_t bytes;
    switch (byte_at(at)) {
    case TAG_BINARY: bytes = 5 + (size_t)load_length(at + 1); break;
    case TAG_SMALL_ATOM:
    case TAG_SMALL_ATOM_UTF8: bytes = 2 + (size_t)byte_at(at + 1); break;
    case TAG_SMALL_INTEGER: bytes = 2; break;
    case TAG_INTEGER: bytes = 5; break;
    case TAG_SMALL_BIG: bytes = 3 + (size_t)byte_at(at + 1); break;
    case TAG_NEW_FLOAT: bytes = 9; break;
    default: return NULL;
    }
    return (size_t)(end - at) >= bytes ? at + bytes : NULL;
}

/* Steps over what ends a list. */
static inline int skip_end(struct reader *reader) {
    if (!has_bytes(reader, 1) || byte_at(reader->at) != TAG_NIL) return GATE_ESYNTAX;
    reader->at++;
    return GATE_OK;
}

/* Steps over common terms, as long as they come, but no more than `count`. */
static inline uint64_t skip_leaves(struct reader *reader, uint64_t count) {
    const char *at = reader->at, *end = reader->end, *behind;
    while (count > 0 && (behind = behind_leaf(at, end))) {
        at = behind;
        count--;
    }
    reader->at = at;
    return count;
}

static inline int skip_term(struct reader *reader) {
    struct opened stack[GATE_DEPTH_MAX], inner = {1, false}, opened;
    int depth = 0;
    for (;;) {
        inner.terms = skip_leaves(reader, inner.terms);
        if (inner.terms > 0) {
            int rc = skip_head(reader, depth, &opened);
            if (rc < 0) return rc;
            inner.terms--;
            if (opened.terms || opened.ended_by_nil) {
                stack[depth++] = inner;
                inner = opened;
            }
            continue;
        }
        if (inner.ended_by_nil && skip_end(reader) < 0) return GATE_ESYNTAX;
        if (depth == 0) return GATE_OK;
        inner = stack[--depth];
    }
}

#endif

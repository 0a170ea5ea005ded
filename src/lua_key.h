/* lua_key.h - the keys of objects, told apart without looking at each byte. Included by
 * lua_space.h, which remembers keys, lua_builder.h and lua_lazy.c. Pure; everything in here is
 * static. */
#ifndef MOONGATE_LUA_KEY_H
#define MOONGATE_LUA_KEY_H

#include <string.h>

#include "moongate.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define GATE_KEY_BITS      9 /* Discord's events have about 400 different keys */
#define GATE_KEYS          (1 << GATE_KEY_BITS)
#define GATE_KEY_BYTES_MAX 29 /* longer keys are rare, and not remembered */

/* Up to eight bytes in a word: all of a text that has no more. */
static inline uint64_t gate_key_word(const char *at, size_t len) {
    uint64_t word = 0;
    if (len >= 8) {
        memcpy(&word, at, 8);
    } else if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + len - 4, 4);
        word = (uint64_t)high << 32 | low;
    } else {
        const unsigned char *bytes = (const unsigned char *)at;
        if (len) word = (uint64_t)bytes[0] << 16 | (uint64_t)bytes[len / 2] << 8 | bytes[len - 1];
    }
    return word;
}

/* Equal keys have equal hashes, of any length; the high bits are the good ones. */
static inline uint64_t gate_key_hash(struct gate_span key) {
    uint64_t head = gate_key_word(key.data, key.len);
    uint64_t tail = key.len > 8 ? gate_key_word(key.data + key.len - 8, 8) : 0;
    return (head ^ tail * UINT64_C(0x9E3779B97F4A7C15) ^ key.len) * UINT64_C(0xD6E8FEB86659FD93);
}

/* 0 to GATE_KEYS - 1. */
static inline unsigned gate_key_number(struct gate_span key) {
    return (unsigned)(gate_key_hash(key) >> (64 - GATE_KEY_BITS));
}

/* What came behind a key, or first in an object: the last time, and the time before it was
 * something else. */
struct gate_known_key;
struct gate_next_keys {
    struct gate_known_key *likely, *other;
};

/* A key that was met in objects of one kind: as long as a line of the processor's cache. */
#define GATE_WRITTEN_BYTES 32
struct gate_known_key {
    char text[GATE_WRITTEN_BYTES + 4]; /* as JSON has it: in quotes, with a colon */
    uint32_t counts;                   /* a bit for each byte of it */
    uint16_t bytes;                    /* 0: a free place */
    uint16_t number;                   /* gate_key_number */
    int anchor;                        /* where its Lua string is */
    struct gate_next_keys next;
};

_Static_assert(GATE_KEY_BYTES_MAX + 3 <= GATE_WRITTEN_BYTES, "a key that is remembered fits");

/* Can it be remembered? Only letters that JSON writes in one way, and that are ASCII. */
static inline bool gate_key_is_plain(struct gate_span key) {
    if (key.len > GATE_KEY_BYTES_MAX) return false;
    for (size_t i = 0; i < key.len; i++) {
        unsigned char byte = (unsigned char)key.data[i];
        if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') return false;
    }
    return true;
}

/* The key is plain. */
static inline void gate_key_write(struct gate_span key, struct gate_known_key *out) {
    memset(out->text, 0, sizeof out->text);
    out->text[0] = '"';
    memcpy(out->text + 1, key.data, key.len);
    memcpy(out->text + 1 + key.len, "\":", 2);
    out->bytes = (uint16_t)(key.len + 3);
    out->counts = UINT32_MAX >> (GATE_WRITTEN_BYTES - out->bytes);
    out->number = (uint16_t)gate_key_number(key);
}

/* Do the bytes at both places agree where `counts` has a bit? `len` is how many it has, `left` how
 * many bytes there are at `at`; at `own` there are GATE_WRITTEN_BYTES. */
static inline bool gate_key_agrees(const char *own, const char *at, size_t left, uint32_t counts,
                                   size_t len) {
#ifdef __SSE2__
    if (left >= GATE_WRITTEN_BYTES) {
        const __m128i *ours = (const __m128i *)(const void *)own;
        const __m128i *other = (const __m128i *)(const void *)at;
        __m128i low = _mm_cmpeq_epi8(_mm_loadu_si128(ours), _mm_loadu_si128(other));
        __m128i high = _mm_cmpeq_epi8(_mm_loadu_si128(ours + 1), _mm_loadu_si128(other + 1));
        uint32_t same = (uint32_t)_mm_movemask_epi8(high) << 16 | (uint32_t)_mm_movemask_epi8(low);
        return (~same & counts) == 0;
    }
#endif
    (void)counts;
    return left >= len && memcmp(own, at, len) == 0;
}

/* How many bytes it takes at `at` in JSON, of which there are `left` more; 0: it is not there. */
static inline size_t gate_key_match(const struct gate_known_key *key, const char *at, size_t left) {
    return gate_key_agrees(key->text, at, left, key->counts, key->bytes) ? key->bytes : 0;
}

/* Is it the text of `len` bytes at `at`, of which there are `left` more? */
static inline bool gate_key_equals(const struct gate_known_key *key, const char *at, size_t left,
                                   size_t len) {
    return len + 3 == key->bytes && gate_key_agrees(key->text + 1, at, left, key->counts >> 3, len);
}

#endif

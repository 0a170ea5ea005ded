/* lua_key.h - the keys of objects, told apart without looking at each byte. Included by
 * lua_space.h, which remembers keys, lua_builder.h and lua_lazy.c. Pure; everything in here is
 * static. */
#ifndef MOONGATE_LUA_KEY_H
#define MOONGATE_LUA_KEY_H

#include <string.h>

#include "moongate.h"

#define GATE_KEY_BITS      9 /* Discord's events have about 400 different keys */
#define GATE_KEYS          (1 << GATE_KEY_BITS)
#define GATE_KEY_BYTES_MAX 24 /* longer keys are rare; a description does not tell them apart */

/* The bytes of a key. */
struct gate_key {
    uint64_t head, middle, tail; /* the words overlap in short keys */
    size_t len;
};

/* Up to eight bytes in a word. Which of them count double does not matter: whoever compares words
 * compares the lengths too. */
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
        for (size_t i = 0; i < len; i++) word = word << 8 | (unsigned char)at[i];
    }
    return word;
}

static inline struct gate_key gate_key_describe(struct gate_span text) {
    struct gate_key key = {.head = gate_key_word(text.data, text.len), .len = text.len};
    key.middle = text.len > 16 ? gate_key_word(text.data + 8, 8) : 0;
    key.tail = text.len > 8 ? gate_key_word(text.data + text.len - 8, 8) : 0;
    return key;
}

/* Equal keys have equal hashes, of any length; the high bits are the good ones. */
static inline uint64_t gate_key_hash(const struct gate_key *key) {
    return (key->head ^ key->tail * UINT64_C(0x9E3779B97F4A7C15) ^ key->len) *
           UINT64_C(0xD6E8FEB86659FD93);
}

/* 0 to GATE_KEYS - 1. */
static inline int gate_key_number(const struct gate_key *key) {
    return (int)(gate_key_hash(key) >> (64 - GATE_KEY_BITS));
}

/* For keys of at most GATE_KEY_BYTES_MAX bytes. */
static inline bool gate_key_is(const struct gate_key *a, const struct gate_key *b) {
    return ((a->head ^ b->head) | (a->middle ^ b->middle) | (a->tail ^ b->tail) |
            (uint64_t)(a->len ^ b->len)) == 0;
}

#endif

/* json_skip.h - how to step over a value of JSON without reading it. Included by json.c and
 * lua_index.c. Pure; a text without a .c file of its own, so everything in here is static.
 *
 * Sixty-four bytes at a time, a bit for each: where the quotes stand says what is inside of
 * strings, and the brackets outside of them where the container ends. Every byte that comes in goes
 * through here, so where the processor has wider registers than every x86-64 the same is compiled
 * for those as well. */
#ifndef MOONGATE_JSON_SKIP_H
#define MOONGATE_JSON_SKIP_H

#include "json_lex.h"

#if defined(__SSE2__) && defined(__x86_64__)
#include <immintrin.h>
#endif

#define BLOCK_BYTES 64
#define ALWAYS      static inline __attribute__((always_inline))

struct marks {
    uint64_t quotes, slashes, brackets;
};

/* The brackets have this in common, with a few letters that only strings hold: three bits may be as
 * they like, and one comparison finds all four. */
#define BRACKET_FREE 0x26
#define BRACKET_FULL 0x7F

/* The bytes from each opening quote up to its closing one: a bit is set where the number of quotes
 * up to it is odd. Spelled out, as the compiler leaves a loop. */
static inline uint64_t fill_strings(uint64_t quotes) {
    uint64_t inside = quotes;
    inside ^= inside << 1;
    inside ^= inside << 2;
    inside ^= inside << 4;
    inside ^= inside << 8;
    inside ^= inside << 16;
    inside ^= inside << 32;
    return inside;
}

/* ---- Marks, sixteen bytes at a time ---------------------------------------------------------- */

#ifdef __SSE2__

static inline uint64_t mark_equal(__m128i bytes, char byte) {
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte)));
}

static inline void mark_sixteen(const char *at, int shift, struct marks *out) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(BRACKET_FREE));
    out->quotes |= mark_equal(bytes, '"') << shift;
    out->slashes |= mark_equal(bytes, '\\') << shift;
    out->brackets |= mark_equal(folded, BRACKET_FULL) << shift;
}

static inline void mark_block(const char *block, struct marks *out) {
    *out = (struct marks){0};
    mark_sixteen(block, 0, out);
    mark_sixteen(block + 16, 16, out);
    mark_sixteen(block + 32, 32, out);
    mark_sixteen(block + 48, 48, out);
}

#else

/* A bit for each byte of `word` that equals `byte`; exact for every byte. The product gathers the
 * eight high bits in its top byte. */
static inline uint64_t mark_equal(uint64_t word, char byte) {
    uint64_t low = spread(0x7F), differ = word ^ spread((unsigned char)byte);
    uint64_t zeros = ~(((differ & low) + low) | differ | low);
    return (zeros >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

/* Eight bytes with the first one lowest, so that the marks come out in the order of the text. */
static inline uint64_t load_eight(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void mark_block(const char *block, struct marks *out) {
    *out = (struct marks){0};
    for (int i = 0; i < BLOCK_BYTES; i += 8) {
        uint64_t word = load_eight(block + i), folded = word | spread(BRACKET_FREE);
        out->quotes |= mark_equal(word, '"') << i;
        out->slashes |= mark_equal(word, '\\') << i;
        out->brackets |= mark_equal(folded, BRACKET_FULL) << i;
    }
}

#endif

/* ---- Marks, thirty-two bytes at a time ------------------------------------------------------- */

#if defined(__SSE2__) && defined(__x86_64__)

#define WIDE __attribute__((target("avx2,bmi,pclmul")))

/* The processor has them, and the system keeps them for whoever runs. */
static inline bool is_wide(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("pclmul");
}

WIDE static inline uint64_t mark_equal_wide(__m256i low, __m256i high, char byte) {
    __m256i wanted = _mm256_set1_epi8(byte);
    uint32_t below = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted));
    uint32_t above = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted));
    return (uint64_t)above << 32 | below;
}

WIDE static inline void mark_block_wide(const char *block, struct marks *out) {
    const __m256i free_bits = _mm256_set1_epi8(BRACKET_FREE);
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)block);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(block + 32));
    out->quotes = mark_equal_wide(low, high, '"');
    out->slashes = mark_equal_wide(low, high, '\\');
    out->brackets = mark_equal_wide(_mm256_or_si256(low, free_bits),
                                    _mm256_or_si256(high, free_bits), BRACKET_FULL);
}

/* A product without carries by all ones: each bit is the sum of those up to it. */
WIDE static inline uint64_t fill_strings_wide(uint64_t quotes) {
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)quotes), _mm_set1_epi8(-1), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

#else

#define WIDE
#define is_wide()                   false
#define mark_block_wide(block, out) mark_block(block, out)
#define fill_strings_wide(quotes)   fill_strings(quotes)

#endif

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* The bytes that a backslash escapes. */
static inline uint64_t mark_escaped(uint64_t slashes, bool *carry) {
    uint64_t escaped = *carry;
    slashes &= ~escaped;
    *carry = false;
    while (slashes) {
        uint64_t slash = slashes & (~slashes + 1), next = slash << 1;
        if (next == 0) *carry = true;
        escaped |= next;
        slashes &= ~(slash | next);
    }
    return escaped;
}

ALWAYS uint64_t mark_strings(uint64_t quotes, uint64_t *carry, bool wide) {
    uint64_t inside = (wide ? fill_strings_wide(quotes) : fill_strings(quotes)) ^ *carry;
    *carry = inside >> (BLOCK_BYTES - 1) ? ~UINT64_C(0) : 0;
    return inside;
}

ALWAYS void enter_block(struct reader *reader, const char *block, bool wide) {
    struct marks marks;
    char padded[BLOCK_BYTES];
    const char *bytes = block;
    size_t left = (size_t)(reader->end - block);
    if (left < BLOCK_BYTES) {
        memset(padded, ' ', sizeof padded);
        memcpy(padded, block, left);
        bytes = padded;
    }
    if (wide)
        mark_block_wide(bytes, &marks);
    else
        mark_block(bytes, &marks);
    if (marks.slashes || reader->escaped)
        marks.quotes &= ~mark_escaped(marks.slashes, &reader->escaped);
    reader->brackets = marks.brackets & ~mark_strings(marks.quotes, &reader->in_string, wide);
    reader->block = block;
}

/* The block of the bracket at `at`: the last one, if it is in there. */
ALWAYS void find_block(struct reader *reader, bool wide) {
    uintptr_t into = (uintptr_t)reader->at - (uintptr_t)reader->block;
    if (reader->block && into < BLOCK_BYTES) {
        reader->brackets &= ~UINT64_C(0) << into;
        return;
    }
    reader->in_string = 0;
    reader->escaped = false;
    enter_block(reader, reader->at, wide);
}

/* Goes through the brackets of the block. Returns 1 behind the one that ends it all, 0 when it is
 * not here, or an error. */
ALWAYS int skip_brackets(struct reader *reader, int *depth) {
    while (reader->brackets) {
        const char *at = reader->block + __builtin_ctzll(reader->brackets);
        reader->brackets &= reader->brackets - 1;
        switch (*at) {
        case '[':
        case '{':
            if ((*depth)++ == GATE_DEPTH_MAX) return GATE_EDEPTH;
            break;
        case ']':
        case '}':
            if (--*depth > 0) break;
            reader->at = at + 1;
            return 1;
        default: return GATE_ESYNTAX;
        }
    }
    return 0;
}

ALWAYS int skip_blocks(struct reader *reader, bool wide) {
    int depth = 0;
    find_block(reader, wide);
    int found = skip_brackets(reader, &depth);
    while (found == 0 && reader->end - reader->block > BLOCK_BYTES) {
        enter_block(reader, reader->block + BLOCK_BYTES, wide);
        found = skip_brackets(reader, &depth);
    }
    if (found <= 0) return found < 0 ? found : GATE_ESYNTAX;
    return GATE_OK;
}

WIDE static int skip_container_wide(struct reader *reader) {
    return skip_blocks(reader, true);
}

static int skip_container_narrow(struct reader *reader) {
    return skip_blocks(reader, false);
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* Steps over the container at `at` by its brackets alone: what it holds is the decoder's affair. */
static inline int skip_container(struct reader *reader) {
    return is_wide() ? skip_container_wide(reader) : skip_container_narrow(reader);
}

/* Steps over the rest of a string, with its closing quote. */
static inline int skip_string(struct reader *reader) {
    for (;;) {
        reader->at = find_special(reader->at, reader->end);
        if (reader->at == reader->end) return GATE_ESYNTAX;
        char byte = *reader->at;
        if (byte == '"') break;
        if (byte != '\\' || reader->end - reader->at < 2) return GATE_ESYNTAX;
        reader->at += 2;
    }
    reader->at++;
    return GATE_OK;
}

static inline int skip_value(struct reader *reader) {
    bool is_integer;
    switch (*reader->at) {
    case '{':
    case '[': return skip_container(reader);
    case '"': reader->at++; return skip_string(reader);
    case 't': return skip_word(reader, "true", 4);
    case 'f': return skip_word(reader, "false", 5);
    case 'n': return skip_word(reader, "null", 4);
    default: return skip_number(reader, &is_integer);
    }
}

#endif

/* text.c - see text.h.
 * Nothing here asks the C library about the decimal point: numbers are read from their digits alone
 * and written digit by digit, so a process in any locale reads and writes the same bytes. */
#include "text.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

static bool eight_are_ascii(const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return (word & 0x8080808080808080U) == 0;
}

static bool continues(unsigned char byte) {
    return (byte & 0xC0) == 0x80;
}

/* RFC 3629, 4: the first byte gives the length, and narrows the second one where that keeps out
 * overlong forms, surrogates and what lies beyond U+10FFFF. Returns 0 when it is none of them. */
static size_t sequence_length(const unsigned char *at, size_t left) {
    unsigned char first = at[0];
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4 || left < 2 || !continues(at[1])) return 0;
    if (first < 0xE0) return 2;
    if (left < 3 || !continues(at[2])) return 0;
    if (first == 0xE0 && at[1] < 0xA0) return 0;
    if (first == 0xED && at[1] > 0x9F) return 0;
    if (first < 0xF0) return 3;
    if (left < 4 || !continues(at[3])) return 0;
    if (first == 0xF0 && at[1] < 0x90) return 0;
    if (first == 0xF4 && at[1] > 0x8F) return 0;
    return 4;
}

bool gate_text_is_utf8(struct gate_span text) {
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.len;
    while (left) {
        size_t step = left >= 8 && eight_are_ascii(at) ? 8 : sequence_length(at, left);
        if (step == 0) return false;
        at += step;
        left -= step;
    }
    return true;
}

/* ---- Reading numbers ------------------------------------------------------------------------- */

#define INTEGER_END 9007199254740992 /* 2^53: from here on a double may skip integers */

bool gate_text_to_integer(struct gate_span digits, int64_t *out) {
    size_t at = 0;
    bool negative = digits.len && digits.data[0] == '-';
    if (negative) at++;
    int64_t value = 0;
    for (; at < digits.len; at++) {
        value = value * 10 + (digits.data[at] - '0');
        if (value >= INTEGER_END) return false;
    }
    *out = negative ? -value : value;
    return true;
}

/* 767 digits decide any double; one more stands for whatever follows them. */
#define DIGITS_MAX 768

/* A decimal number taken apart: 0.d1d2d3... x 10^point, without leading zeros. */
struct decimal {
    bool negative;
    size_t count;
    int64_t point;
    uint64_t head; /* the first nineteen digits as an integer */
    char digits[DIGITS_MAX + GATE_INTEGER_TEXT_MAX + 2];
};

#define HEAD_DIGITS 19 /* as many as an uint64_t always holds */

static void take_digit(struct decimal *decimal, char digit) {
    if (decimal->count == 0 && digit == '0') {
        decimal->point--;
        return;
    }
    if (decimal->count < DIGITS_MAX) {
        if (decimal->count < HEAD_DIGITS)
            decimal->head = decimal->head * 10 + (uint64_t)(digit - '0');
        decimal->digits[decimal->count++] = digit;
    } else if (digit != '0') {
        decimal->digits[DIGITS_MAX - 1] = '1'; /* not exactly halfway between two doubles */
    }
}

#define EXPONENT_CLAMP 1000000000000 /* beyond any number of digits that fits into memory */

static int64_t read_exponent(const char *at, const char *end) {
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    int64_t value = 0;
    for (; at < end; at++)
        if (value < EXPONENT_CLAMP) value = value * 10 + (*at - '0');
    return negative ? -value : value;
}

static void take_apart(struct gate_span text, struct decimal *decimal) {
    const char *at = text.data, *end = at + text.len;
    decimal->count = 0;
    decimal->point = 0;
    decimal->head = 0;
    decimal->negative = at < end && *at == '-';
    if (decimal->negative) at++;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        take_digit(decimal, *at);
        decimal->point++;
    }
    if (at < end && *at == '.')
        for (at++; at < end && *at >= '0' && *at <= '9'; at++) take_digit(decimal, *at);
    if (at < end) decimal->point += read_exponent(at + 1, end);
}

/* W. D. Clinger, 1990: when the digits and the power of ten are both exact doubles, one operation
 * rounds once and is right to the last bit. Only where doubles are computed as doubles. A head that
 * is an exact double has less than nineteen digits, so it is the whole number. */
static bool convert_exactly(const struct decimal *decimal, double *out) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int64_t power = decimal->point - (int64_t)decimal->count;
    if (FLT_EVAL_METHOD != 0 || decimal->head > INTEGER_END) return false;
    if (power < -22 || power > 22) return false;
    double head = (double)decimal->head;
    *out = power < 0 ? head / tens[-power] : head * tens[power];
    return true;
}

/* The digits go to strtod as an integer with an exponent: without a decimal point there is nothing
 * a locale could read differently. */
static double convert_long(struct decimal *decimal) {
    if (decimal->count == 0 || decimal->point < -400) return 0.0;
    if (decimal->point > 400) return HUGE_VAL;
    char *end = decimal->digits + decimal->count;
    *end++ = 'e';
    end += gate_text_from_integer(decimal->point - (int64_t)decimal->count, end);
    *end = '\0';
    return strtod(decimal->digits, NULL);
}

double gate_text_to_number(struct gate_span digits) {
    struct decimal decimal;
    double value;
    take_apart(digits, &decimal);
    if (!convert_exactly(&decimal, &value)) value = convert_long(&decimal);
    return decimal.negative ? -value : value;
}

/* ---- Writing numbers ------------------------------------------------------------------------- */

/* Two digits at a time: a division costs more than all else, and ids have eighteen digits. */
static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

#define EIGHT_DIGITS 100000000u

/* Halves, quarters and digits at once, in the parts of one word: a multiplication and a shift take
 * the place of each division. */
static void put_eight(uint32_t value, char *out) {
    uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t hundreds = fours * 10486 >> 20 & UINT64_C(0x0000007F0000007F);
    uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
    uint64_t tens = twos * 103 >> 10 & UINT64_C(0x000F000F000F000F);
    uint64_t digits = (tens | (twos - tens * 10) << 8) + UINT64_C(0x3030303030303030);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    digits = __builtin_bswap64(digits);
#endif
    memcpy(out, &digits, sizeof digits);
}

static size_t put_natural(uint64_t large, bool negative, char *out) {
    char digits[GATE_INTEGER_TEXT_MAX], *at = digits + sizeof digits;
    for (; large >= EIGHT_DIGITS; large /= EIGHT_DIGITS)
        put_eight((uint32_t)(large % EIGHT_DIGITS), at -= 8);
    uint32_t value = (uint32_t)large;
    for (; value >= 100; value /= 100) memcpy(at -= 2, pairs + value % 100 * 2, 2);
    if (value >= 10)
        memcpy(at -= 2, pairs + value * 2, 2);
    else
        *--at = (char)('0' + value);
    if (negative) *--at = '-';
    size_t len = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, len);
    out[len] = '\0';
    return len;
}

size_t gate_text_from_natural(uint64_t value, char out[GATE_INTEGER_TEXT_MAX]) {
    return put_natural(value, false, out);
}

size_t gate_text_from_integer(int64_t value, char out[GATE_INTEGER_TEXT_MAX]) {
    uint64_t natural = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    return put_natural(natural, value < 0, out);
}

/* What fits into one division of 64 by 32 bits, nine digits at a time. */
#define LIMB_BYTES  4
#define LIMBS       (GATE_BIG_BYTES_MAX / LIMB_BYTES)
#define STEP        1000000000u
#define STEP_DIGITS 9

/* Divides the number in place and returns the rest. */
static uint32_t divide_limbs(uint32_t *limbs, size_t count) {
    uint64_t rest = 0;
    for (size_t i = count; i-- > 0;) {
        rest = rest << 32 | limbs[i];
        limbs[i] = (uint32_t)(rest / STEP);
        rest %= STEP;
    }
    return (uint32_t)rest;
}

/* The digits come out from behind, at the end of `digits`; returns where they begin. */
static size_t put_limbs(uint32_t *limbs, size_t count, char digits[GATE_BIG_TEXT_MAX]) {
    size_t at = GATE_BIG_TEXT_MAX;
    while (count) {
        uint32_t rest = divide_limbs(limbs, count);
        while (count && limbs[count - 1] == 0) count--;
        for (int i = 0; i < STEP_DIGITS && (count || rest); i++) {
            digits[--at] = (char)('0' + rest % 10);
            rest /= 10;
        }
    }
    return at;
}

/* One of more than 64 bits. */
static size_t put_big(struct gate_span magnitude, char *out) {
    uint32_t limbs[LIMBS] = {0};
    char digits[GATE_BIG_TEXT_MAX];
    for (size_t i = 0; i < magnitude.len; i++)
        limbs[i / LIMB_BYTES] |= (uint32_t)(unsigned char)magnitude.data[i] << i % LIMB_BYTES * 8;
    size_t at = put_limbs(limbs, (magnitude.len + LIMB_BYTES - 1) / LIMB_BYTES, digits);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t gate_text_from_big(struct gate_span magnitude, bool negative, char out[GATE_BIG_TEXT_MAX]) {
    uint64_t natural = 0;
    while (magnitude.len && magnitude.data[magnitude.len - 1] == 0) magnitude.len--;
    if (magnitude.len > sizeof natural) {
        out[0] = '-';
        size_t len = negative + put_big(magnitude, out + negative);
        out[len] = '\0';
        return len;
    }
    for (size_t i = magnitude.len; i-- > 0;)
        natural = natural << 8 | (unsigned char)magnitude.data[i];
    return put_natural(natural, negative && natural, out);
}

/* Natural numbers of up to 1280 bits; the largest one met is below 2^1140. */
#define BIG_WORDS 40
struct big {
    size_t count;
    uint32_t words[BIG_WORDS]; /* the lowest first */
};

static void big_set(struct big *big, uint64_t value) {
    big->count = 0;
    for (; value; value >>= 32) big->words[big->count++] = (uint32_t)value;
}

static void big_multiply(struct big *big, uint32_t factor) {
    uint64_t carry = 0;
    for (size_t i = 0; i < big->count; i++) {
        carry += (uint64_t)big->words[i] * factor;
        big->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) big->words[big->count++] = (uint32_t)carry;
}

static void big_scale(struct big *big, uint32_t base, int power) {
    uint32_t step = base == 10 ? 1000000000 : 1U << 30;
    int digits = base == 10 ? 9 : 30;
    for (; power >= digits; power -= digits) big_multiply(big, step);
    for (; power > 0; power--) big_multiply(big, base);
}

static int big_compare(const struct big *a, const struct big *b) {
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    for (size_t i = a->count; i-- > 0;)
        if (a->words[i] != b->words[i]) return a->words[i] < b->words[i] ? -1 : 1;
    return 0;
}

static void big_add(struct big *big, const struct big *more) {
    uint64_t carry = 0;
    for (size_t i = 0; i < more->count || i < big->count || carry; i++) {
        if (i < big->count) carry += big->words[i];
        if (i < more->count) carry += more->words[i];
        big->words[i] = (uint32_t)carry;
        carry >>= 32;
        if (i >= big->count) big->count = i + 1;
    }
}

/* `less` is not larger than `big`. */
static void big_subtract(struct big *big, const struct big *less) {
    uint64_t borrow = 0;
    for (size_t i = 0; i < big->count; i++) {
        uint64_t take = borrow + (i < less->count ? less->words[i] : 0);
        borrow = take > big->words[i];
        big->words[i] = (uint32_t)(big->words[i] - take);
    }
    while (big->count && big->words[big->count - 1] == 0) big->count--;
}

/* Compares a + b with c. */
static int big_compare_sum(const struct big *a, const struct big *b, const struct big *c) {
    struct big sum = *a;
    big_add(&sum, b);
    return big_compare(&sum, c);
}

/* The state of R. G. Burger and R. K. Dybvig's free-format printing, 1996: the value is rest/unit,
 * and every number between (rest - below)/unit and (rest + above)/unit reads back the same. */
struct shortest {
    struct big rest, unit, above, below;
    bool borders_count; /* an even mantissa also owns the two borders themselves */
};

static void prepare_ratio(struct shortest *state, uint64_t mantissa, int exponent, bool narrow) {
    /* At a power of two the neighbour below is only half as far away. */
    int extra = narrow ? 2 : 1;
    state->borders_count = mantissa % 2 == 0;
    big_set(&state->rest, mantissa);
    big_set(&state->unit, 1);
    big_set(&state->above, 1);
    big_set(&state->below, 1);
    big_scale(&state->rest, 2, extra);
    big_scale(&state->unit, 2, extra);
    if (narrow) big_multiply(&state->above, 2);
    if (exponent >= 0) {
        big_scale(&state->rest, 2, exponent);
        big_scale(&state->above, 2, exponent);
        big_scale(&state->below, 2, exponent);
    } else {
        big_scale(&state->unit, 2, -exponent);
    }
}

static void multiply_all_by_ten(struct shortest *state) {
    big_multiply(&state->rest, 10);
    big_multiply(&state->above, 10);
    big_multiply(&state->below, 10);
}

/* Brings the value into [0.1, 1) and returns the power of ten that this took. `binary` is the
 * exponent of its highest bit: x 0.30103 is its logarithm, at most one too small. */
static int prepare_point(struct shortest *state, int binary) {
    int scaled = binary * 30103;
    int point = scaled / 100000 + (scaled > 0 && scaled % 100000 != 0);
    if (point >= 0) {
        big_scale(&state->unit, 10, point);
    } else {
        big_scale(&state->rest, 10, -point);
        big_scale(&state->above, 10, -point);
        big_scale(&state->below, 10, -point);
    }
    int order = big_compare_sum(&state->rest, &state->above, &state->unit);
    if (order > 0 || (order == 0 && state->borders_count)) {
        big_multiply(&state->unit, 10);
        point++;
    }
    return point;
}

/* One digit of the value; true while more digits are needed. */
static bool next_digit(struct shortest *state, char *out) {
    multiply_all_by_ten(state);
    int digit = 0;
    for (; big_compare(&state->rest, &state->unit) >= 0; digit++)
        big_subtract(&state->rest, &state->unit);
    int low = big_compare(&state->rest, &state->below);
    int high = big_compare_sum(&state->rest, &state->above, &state->unit);
    bool may_stay = low < 0 || (low == 0 && state->borders_count);
    bool may_rise = high > 0 || (high == 0 && state->borders_count);
    if (may_rise && (!may_stay || big_compare_sum(&state->rest, &state->rest, &state->unit) >= 0))
        digit++;
    *out = (char)('0' + digit);
    return !may_stay && !may_rise;
}

/* The fewest digits that read back as `value` (> 0): 0.d1d2d3... x 10^*point. Returns how many. */
static size_t find_digits(double value, char digits[GATE_NUMBER_TEXT_MAX], int *point) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t mantissa = bits & 0xFFFFFFFFFFFFFU;
    int biased = (int)(bits >> 52 & 0x7FF);
    bool narrow = mantissa == 0 && biased > 1;
    if (biased) mantissa |= 0x10000000000000U;
    int exponent = (biased ? biased : 1) - 1075;
    int binary = exponent - 1;
    for (uint64_t left = mantissa; left; left >>= 1) binary++;
    struct shortest state;
    prepare_ratio(&state, mantissa, exponent, narrow);
    *point = prepare_point(&state, binary);
    size_t count = 0;
    while (next_digit(&state, &digits[count++])) {
    }
    return count;
}

static size_t put(char *out, size_t len, const char *bytes, size_t count) {
    memcpy(out + len, bytes, count);
    return len + count;
}

#define PLAIN_POINT_MIN (-4) /* 0.00001 and smaller are written with an exponent */
#define PLAIN_POINT_MAX 17   /* and so are numbers of more than seventeen places */

static size_t put_plain(char *out, size_t len, const char *digits, size_t count, int point) {
    static const char zeros[] = "00000000000000000";
    size_t whole = point > 0 ? (size_t)point : 0;
    if (point <= 0) {
        len = put(out, len, "0.", 2);
        len = put(out, len, zeros, (size_t)-point);
        return put(out, len, digits, count);
    }
    if (count <= whole) {
        len = put(out, len, digits, count);
        len = put(out, len, zeros, whole - count);
        return put(out, len, ".0", 2);
    }
    len = put(out, len, digits, whole);
    out[len++] = '.';
    return put(out, len, digits + whole, count - whole);
}

static size_t put_with_exponent(char *out, size_t len, const char *digits, size_t count,
                                int exponent) {
    out[len++] = digits[0];
    if (count > 1) {
        out[len++] = '.';
        len = put(out, len, digits + 1, count - 1);
    }
    out[len++] = 'e';
    out[len++] = exponent < 0 ? '-' : '+';
    if (exponent < 0) exponent = -exponent;
    if (exponent < 10) out[len++] = '0';
    return len + gate_text_from_integer(exponent, out + len);
}

size_t gate_text_from_number(double value, char out[GATE_NUMBER_TEXT_MAX]) {
    char digits[GATE_NUMBER_TEXT_MAX] = "0";
    size_t len = 0, count = 1;
    int point = 1;
    if (signbit(value)) {
        out[len++] = '-';
        value = -value;
    }
    if (value > 0) count = find_digits(value, digits, &point);
    if (point >= PLAIN_POINT_MIN && point <= PLAIN_POINT_MAX)
        len = put_plain(out, len, digits, count, point);
    else
        len = put_with_exponent(out, len, digits, count, point - 1);
    out[len] = '\0';
    return len;
}

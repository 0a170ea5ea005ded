/* text.h - what both encodings need to know of text: UTF-8 and decimal numbers.
 * Called by json.c, etf.c and the lua_*.c files on any thread. Pure; the process's locale is never
 * visible in what comes out. */
#ifndef MOONGATE_TEXT_H
#define MOONGATE_TEXT_H

#include "moongate.h"

#define GATE_INTEGER_TEXT_MAX 24  /* "-9223372036854775808" and a NUL */
#define GATE_NUMBER_TEXT_MAX  32  /* "-1.7976931348623157e+308" and a NUL */
#define GATE_BIG_BYTES_MAX    256 /* of an integer's magnitude, */
#define GATE_BIG_TEXT_MAX     620 /* which are 617 digits at most, a sign and a NUL */

/* True when the bytes are UTF-8 as RFC 3629 has it: no surrogates, no overlong forms. */
bool gate_text_is_utf8(struct gate_span text);

/* Reads a JSON integer ("-?[0-9]+", already checked). True and *out set when |n| < 2^53; false
 * when it is larger and has to stay text. */
bool gate_text_to_integer(struct gate_span digits, int64_t *out);

/* Reads a JSON number with fraction or exponent (already checked), correct to the last bit; huge
 * ones give an infinity, tiny ones 0. */
double gate_text_to_number(struct gate_span digits);

/* Write the shortest decimal text that reads back the same. Return its length. A number always
 * keeps a mark of being one ("1.0", "1e+30"); it must be finite. */
size_t gate_text_from_integer(int64_t value, char out[GATE_INTEGER_TEXT_MAX]);
size_t gate_text_from_natural(uint64_t value, char out[GATE_INTEGER_TEXT_MAX]);
size_t gate_text_from_number(double value, char out[GATE_NUMBER_TEXT_MAX]);

/* The same of an integer of any size: `magnitude` has its bytes, the lowest first, at most
 * GATE_BIG_BYTES_MAX of them. Zero has no sign. */
size_t gate_text_from_big(struct gate_span magnitude, bool negative, char out[GATE_BIG_TEXT_MAX]);

#endif

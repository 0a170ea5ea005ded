/* http.h - words of HTTP: what may stand in a request, and what an answer says about time.
 * Called by transport.c on its I/O thread; any thread may. */
#ifndef MOONGATE_HTTP_H
#define MOONGATE_HTTP_H

#include "moongate.h"

/* Upper-case letters, a few of them. */
bool gate_http_is_method(const char *method);

/* Control bytes in a header would begin another one. */
bool gate_http_is_value(struct gate_span value);

/* Where a head is being written. */
struct gate_pen {
    char *at;
    size_t room; /* bytes */
};

/* "name: value" and the end of the line. False: there is no room. */
GATE_MUST_CHECK bool gate_pen_header(struct gate_pen *pen, const char *name,
                                     struct gate_span value);

/* Seconds since 1970 of an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT"; -1 for anything else. */
int64_t gate_http_date_s(struct gate_span text);

/* What a Retry-After says: seconds, with or without a fraction, or a date, which is judged by the
 * answer's own `date`, and by `now_s` where that is none. At most GATE_RETRY_AFTER_MS_MAX; 0 for
 * what is over or not understood. */
int64_t gate_http_retry_after_ms(struct gate_span value, struct gate_span date, int64_t now_s);

#endif

/* http.h - words of HTTP: what may stand in a request, and what an answer says about time.
 * Called by transport.c on its I/O thread; any thread may. */
#ifndef MOONGATE_HTTP_H
#define MOONGATE_HTTP_H

#include "moongate.h"

/* Seconds since 1970 of an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT"; -1 for anything else. */
int64_t gate_http_date_s(struct gate_span text);

/* What a Retry-After says: seconds, with or without a fraction, or a date, which is judged by the
 * answer's own `date`, and by `now_s` where that is none. At most GATE_RETRY_AFTER_MS_MAX; 0 for
 * what is over or not understood. */
int64_t gate_http_retry_after_ms(struct gate_span value, struct gate_span date, int64_t now_s);

#endif

/* sandbox_etf.h - the sandbox's own Erlang External Term Format, shaped by knobs as the service's
 * may be. Called by sandbox_stream.c. Shares nothing with etf.c, so that a mistake in the one
 * cannot hide behind the same mistake in the other. */
#ifndef MOONGATE_SANDBOX_ETF_H
#define MOONGATE_SANDBOX_ETF_H

#include "buf.h"
#include "moongate.h"

enum gate_etf_keys {
    GATE_ETF_KEYS_ATOM,
    GATE_ETF_KEYS_BINARY,
    GATE_ETF_KEYS_MIXED /* every third one a binary */
};

struct gate_etf_style {
    enum gate_etf_keys keys;
    int atom_tag;    /* 100, 115, 118 or 119; atoms that it has no room for are binaries */
    bool text_ids;   /* else decimal text of 2^53 to 2^64 - 1 travels as an integer */
    bool long_lists; /* else lists of bytes travel as STRING */
};

/* Appends the message that the JSON text says. What is no JSON is appended as it is, so that a
 * script can send any bytes. GATE_EMEMORY, GATE_EMESSAGE. */
GATE_MUST_CHECK int gate_sandbox_etf_write(const struct gate_etf_style *style,
                                           struct gate_span json, struct gate_buf *out);

/* Appends the JSON of what a client sent. GATE_ESYNTAX for what the service refuses as well: keys
 * that are no binaries, atoms but nil, true and false, compressed terms, anything behind the term.
 * GATE_EDEPTH, GATE_EMEMORY. */
GATE_MUST_CHECK int gate_sandbox_etf_read(struct gate_span wire, struct gate_buf *json);

#endif

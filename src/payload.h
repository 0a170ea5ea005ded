/* payload.h - the payloads that a session writes and the fields that it reads.
 * Called by session.c. Pure, and the same for every encoding: it knows sinks, no bytes. */
#ifndef MOONGATE_PAYLOAD_H
#define MOONGATE_PAYLOAD_H

#include "machine.h"
#include "pace.h"

/* Each appends one whole message to `out`. Errors: those of the buffer, and of a presence that is
 * no JSON. `token` is what stands in its place: the token itself or "(hidden)". */
GATE_MUST_CHECK int gate_payload_heartbeat(const struct gate_codec *codec, struct gate_buf *out,
                                           int64_t seq); /* -1: null */
GATE_MUST_CHECK int gate_payload_identify(const struct gate_codec *codec, struct gate_buf *out,
                                          const struct gate_options *options,
                                          struct gate_span token);
GATE_MUST_CHECK int gate_payload_resume(const struct gate_codec *codec, struct gate_buf *out,
                                        struct gate_span token, const char *session_id,
                                        int64_t seq);

/* `data` is the encoded d. GATE_ESYNTAX when the wanted field is missing or of another type. */
GATE_MUST_CHECK int gate_payload_read_hello(const struct gate_codec *codec, struct gate_span data,
                                            int64_t *interval_ms);

/* Fills the two arrays with NUL-terminated text; an absent or over-long resume URL is "". An absent
 * or over-long session id is GATE_ESYNTAX. */
GATE_MUST_CHECK int gate_payload_read_ready(const struct gate_codec *codec, struct gate_span data,
                                            char session_id[GATE_SESSION_ID_BYTES_MAX + 1],
                                            char resume_url[GATE_URL_BYTES_MAX + 1]);

/* Appends the d of a Presence Update to `out` as JSON, whatever the encoding of `command`, which is
 * a whole message. GATE_ESYNTAX for any other command and for a d that is no object. Errors of the
 * buffer. */
GATE_MUST_CHECK int gate_payload_read_presence(const struct gate_codec *codec,
                                               struct gate_span command, struct gate_buf *out);

/* What a command is, as far as its limits go; `command` is a whole message. What cannot be read
 * stands for "not known": the op is -1 then. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_payload_read_errand(const struct gate_codec *codec,
                                             struct gate_span command, struct gate_errand *out);

/* RATE_LIMITED. GATE_ESYNTAX when opcode or retry_after is missing, or none of it makes sense; then
 * there is nothing to obey. */
GATE_MUST_CHECK int gate_payload_read_limited(const struct gate_codec *codec, struct gate_span data,
                                              struct gate_limited *out);

/* True only for a plain `true`; a missing or odd d counts as false. */
bool gate_payload_read_invalid(const struct gate_codec *codec, struct gate_span data);

#endif

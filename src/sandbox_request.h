/* sandbox_request.h - what clients ask for: op 3, 4, 31 and 43 (sandbox_request.c) and op 8
 * (sandbox_members.c). Called by sandbox_gateway.c on the server's thread, under the lock. What is
 * asked of a guild that the sandbox does not have gets no answer, as with Discord. */
#ifndef MOONGATE_SANDBOX_REQUEST_H
#define MOONGATE_SANDBOX_REQUEST_H

#include "moongate.h"
#include "sandbox_form.h"

struct gate_link;

/* One op each; `data` is its d. What is wrong with it closes the connection with 4001. */
void gate_request_presence(struct gate_link *link, struct gate_span data);
void gate_request_voice(struct gate_link *link, struct gate_span data);
void gate_request_members(struct gate_link *link, struct gate_span data);
void gate_request_sounds(struct gate_link *link, struct gate_span data);
void gate_request_channels(struct gate_link *link, struct gate_span data);

/* For these: the fields of those keys (the last is NULL). `texts` is initialised, and the caller's
 * to free in any case. Errors as gate_fields_read. */
GATE_MUST_CHECK int gate_request_read(struct gate_span data, const char *const *keys,
                                      struct gate_field *fields, struct gate_buf *texts);

/* Tells an event to this session only, if it hears such events at all. */
void gate_request_answer(struct gate_link *link, const char *name, uint64_t guild_id,
                         struct gate_span data);

#endif

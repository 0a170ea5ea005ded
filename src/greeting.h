/* greeting.h - what a session says first: Identify or Resume, and what its Identify may say.
 * Called by session.c, on the thread that owns the shard. Nothing but a greeting holds the token.
 */
#ifndef MOONGATE_GREETING_H
#define MOONGATE_GREETING_H

#include "session.h"

/* An Identify that the gateway would refuse for its size is refused here, before anything runs:
 * GATE_EPAYLOAD; GATE_EVALUE for a presence that is no JSON; GATE_EMEMORY. */
GATE_MUST_CHECK int gate_greeting_try(const struct gate_session *session);

/* Sends Resume or Identify, whichever the connection was made for, and enters the state that waits
 * for the answer. Without memory the connection is dropped. */
void gate_greeting_send(struct gate_session *session, int64_t now_ms);

/* The presence that was set last goes into every Identify from now on. One that leaves no room for
 * the rest of an Identify is not kept. Takes `take` where it is kept. */
void gate_greeting_presence(struct gate_session *session, struct gate_buf *take);

/* Every Identify from now on says what `wanted` says of intents, large_threshold, presence and
 * properties; of what it leaves out (0, a length of 0) the old remains, but the intents are always
 * taken. Copied. Errors as gate_greeting_try; nothing has changed then. */
GATE_MUST_CHECK int gate_greeting_amend(struct gate_session *session,
                                        const struct gate_options *wanted);

#endif

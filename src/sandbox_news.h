/* sandbox_news.h - events on their way to the sessions that they concern.
 * Called by sandbox_order.c for scripts and by sandbox_rest.c for bots, under the lock. */
#ifndef MOONGATE_SANDBOX_NEWS_H
#define MOONGATE_SANDBOX_NEWS_H

#include "sandbox_script.h"

/* Whether a target's session is this one, or any. */
bool gate_target_has(const struct gate_sandbox_target *target, const char *session);

/* Completes an event unless it is to stay as it is, and tells it to the sessions of the target
 * that want it. What may be of a guild or direct reaches a session as the kind that it hears. The
 * number of sessions, or a negative error: that of gate_fields_read for data that is no JSON. */
GATE_MUST_CHECK int gate_news_tell(struct gate_sandbox *sandbox,
                                   const struct gate_sandbox_target *target,
                                   const struct gate_sandbox_event *event);

#endif

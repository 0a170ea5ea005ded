/* sandbox_intents.h - which intent lets which event through, as the server sees it.
 * Called by sandbox_seat.c, sandbox_gateway.c and lua_sandbox.c. Constant tables. */
#ifndef MOONGATE_SANDBOX_INTENTS_H
#define MOONGATE_SANDBOX_INTENTS_H

#include "moongate.h"

/* Bits of the intents that let an event through when it belongs to a guild, and when it is of a
 * direct message. Both 0: it needs none. */
struct gate_event_rule {
    const char *name;
    uint32_t guild, direct;
};

/* The rule of an event; unknown events have one that lets them through. */
const struct gate_event_rule *gate_event_rule(struct gate_span name);

/* The rules themselves, from 0; NULL: there are no more. */
const struct gate_event_rule *gate_event_rule_at(size_t at);

/* The bit of an intent's name in lower case, 0 for an unknown one. */
int64_t gate_intent_bit(const char *name);

/* All bits that mean something; any other is answered with 4013. */
#define GATE_INTENTS_KNOWN   INT64_C(0x331ffff)
#define GATE_INTENT_GUILDS   1u     /* guilds and channels */
#define GATE_INTENT_MEMBERS  2u     /* needed to ask for all members */
#define GATE_INTENT_PRESENCE 256u   /* needed for presences of members */
#define GATE_INTENT_CONTENT  32768u /* what messages of others in guilds say */

#endif

/* sandbox_instead.h - what the server says in place of HELLO, READY, RESUMED or an ACK.
 * Called by sandbox_gateway.c, sandbox_identify.c and lua_sandbox.c's orders, under the lock. */
#ifndef MOONGATE_SANDBOX_INSTEAD_H
#define MOONGATE_SANDBOX_INSTEAD_H

#include "sandbox.h"

struct gate_link;

/* Keeps a copy behind those that are there. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_instead_keep(struct gate_sandbox *sandbox,
                                      const struct gate_sandbox_instead *instead);

/* Does the first one that is meant for this phase. False when there is none: then the server says
 * what it always says. */
GATE_MUST_CHECK bool gate_instead_play(struct gate_link *link, enum gate_sandbox_phase phase);

/* Frees those that are left. */
void gate_instead_forget(struct gate_sandbox *sandbox);

#endif

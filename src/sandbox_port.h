/* sandbox_port.h - where a sandbox listens: on its port, and on one of its own for resumes.
 * Called by sandbox.c, and by sandbox_loop.c on the server's thread, under the lock. */
#ifndef MOONGATE_SANDBOX_PORT_H
#define MOONGATE_SANDBOX_PORT_H

#include "moongate.h"

struct gate_sandbox;

/* Opens what the options ask for and notes the numbers. False with errno; nothing is open then. */
GATE_MUST_CHECK bool gate_port_open(struct gate_sandbox *sandbox);

/* Does what was asked of the host for resumes: it listens, or refuses every connection. */
void gate_port_tick(struct gate_sandbox *sandbox);

/* Closes both; once more does nothing. */
void gate_port_close(struct gate_sandbox *sandbox);

#endif

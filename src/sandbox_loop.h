/* sandbox_loop.h - the one thread of all sandboxes of a process, and the lock around what they are.
 * Called by the other sandbox_*.c files. The lock is fair: whoever asks first gets it first, so a
 * busy server does not starve a script, nor a busy script the server. */
#ifndef MOONGATE_SANDBOX_LOOP_H
#define MOONGATE_SANDBOX_LOOP_H

#include "moongate.h"

struct gate_sandbox;

/* Not recursive. Never around anything that waits. */
void gate_loop_lock(void);
void gate_loop_unlock(void);

/* Under the lock: something happened; whoever waits shall look when it is released. */
void gate_loop_changed(void);

/* Under the lock: the server's thread shall do a turn soon. */
void gate_loop_wake(void);

/* Server's thread: it has been woken. */
void gate_loop_awake(void);

/* Without the lock: waits until the server's thread has done a whole turn, at most a second. */
void gate_loop_turn(void);

/* Without the lock: how often something changed, and waiting for more than `seen`. */
uint64_t gate_loop_changes(void);
uint64_t gate_loop_wait(uint64_t seen, int64_t timeout_ms);

/* Without the lock: hands a sandbox to the server's thread, which is started when there is none.
 * 0 or a negative error. */
GATE_MUST_CHECK int gate_loop_enter(struct gate_sandbox *sandbox);

/* Without the lock: takes it back, everything closed; the thread ends with the last one. */
void gate_loop_leave(struct gate_sandbox *sandbox);

/* False in a child after fork, for a sandbox that its parent started. */
bool gate_loop_owns(const struct gate_sandbox *sandbox);

#endif

/* sandbox_turn.h - one turn of the server's thread: who has bytes, whose time has come, who is to
 * be looked at. Called by sandbox_loop.c, and by those who change a connection (gate_turn_look) or
 * close a descriptor (gate_turn_leave). A turn costs as much as there is to do, not as many
 * connections as there are. Everything is under the lock of sandbox_loop.h but gate_turn_wait. */
#ifndef MOONGATE_SANDBOX_TURN_H
#define MOONGATE_SANDBOX_TURN_H

#include "moongate.h"

struct gate_link;
struct gate_looks;
struct gate_sandbox;
struct gate_watch;

/* Before the thread starts, with the end of the pipe that wakes it, and after it has ended. */
void gate_turn_open(int pipe_fd);
void gate_turn_close(void);

/* In a child after fork: closes what it has inherited, and takes nothing from the parent. */
void gate_turn_forget(void);

/* The sandboxes that are served, the newest first. */
void gate_turn_enter(struct gate_sandbox *sandbox);
struct gate_sandbox *gate_turn_sandboxes(void);

/* Server's thread: how long the next wait may be, in ms; the wait itself, without the lock; and
 * what comes of it. */
int gate_turn_timeout(void);
int gate_turn_wait(int timeout_ms);
void gate_turn_serve(int ready);

/* The server's thread shall look at a link: it has bytes to write, other knobs, another deadline.
 */
void gate_turn_look(struct gate_link *link);

/* Server's thread: nothing is asked of a descriptor any more; before it is closed. */
void gate_turn_leave(struct gate_watch *watch);

#endif

/* sandbox_watch.h - which descriptors have something to read, or room to be written to: asked of
 * epoll, whose cost is that of those which have, or of poll where there is no epoll.
 * Called by sandbox_turn.c on the server's thread; opening and closing while there is none. */
#ifndef MOONGATE_SANDBOX_WATCH_H
#define MOONGATE_SANDBOX_WATCH_H

#include "buf.h"
#include "moongate.h"

#define GATE_WATCH_READ  1
#define GATE_WATCH_WRITE 2

/* One descriptor. It belongs to whoever holds it, who asks for no event before it is closed: a copy
 * of the descriptor in a child that has not come to its exec would keep epoll's entry alive. */
struct gate_watch {
    void *owner;
    bool is_link; /* what the owner is: a link, or a sandbox */
    int fd;
    int events;   /* what is asked for, as GATE_WATCH_ bits; set by gate_watches_ask */
    size_t place; /* poll: its entry's */
};

#define GATE_WATCHES_READY_MAX 256 /* of one wait; the others come with the next */

struct gate_ready {
    struct gate_watch *watch;
    bool readable; /* or at its end, or broken */
    bool writable; /* or broken */
};

struct gate_watches {
    const struct gate_watches_way *way;
    int fd;               /* epoll's; -1: none */
    struct gate_buf fds;  /* poll: of struct pollfd */
    struct gate_buf held; /* poll: of struct gate_watch * */
    size_t first;         /* poll: where the next look begins, so that nobody is always last */
    struct gate_ready ready[GATE_WATCHES_READY_MAX];
};

/* poll is chosen where epoll cannot be had, and with $MOONGATE_SANDBOX_WATCH = poll. */
void gate_watches_open(struct gate_watches *watches);
void gate_watches_close(struct gate_watches *watches);

/* Asks for `events`, 0: for none any more. GATE_EMEMORY when the system has no room for more; then
 * nothing is asked for. */
GATE_MUST_CHECK int gate_watches_ask(struct gate_watches *watches, struct gate_watch *watch,
                                     int events);

void gate_watches_leave(struct gate_watches *watches, struct gate_watch *watch); /* for none */

/* Waits at most that long; -1: for ever. Returns how many of watches->ready are filled. */
int gate_watches_wait(struct gate_watches *watches, int timeout_ms);

#endif

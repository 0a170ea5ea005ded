/* sandbox_turn.c - see sandbox_turn.h.
 *
 * One turn, under the lock but for the wait:
 *   ready descriptors and what is due join the links to be looked at | each is looked at: drops,
 *   reads, deadlines, writes | what it waits for next is noted, or it is buried
 * A link whose input is not used up within its share is looked at again in the next turn. */
#include "sandbox_turn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox_gateway.h"
#include "sandbox_http.h"
#include "sandbox_loop.h"
#include "sandbox_port.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define ACCEPTS_MAX    64     /* in one turn, so that the others get theirs */
#define ACCEPT_WAIT_MS 100    /* without descriptors, accept would fail at once again and again */
#define STARVED_MS     10     /* without memory to wait for everybody */
#define WAIT_MS_MAX    600000 /* any bound will do: the pipe wakes */

/* Links in the order in which they were added. */
struct gate_looks {
    struct gate_link *first, *last;
};

static struct {
    struct gate_watches watches;
    struct gate_agenda agenda;
    struct gate_watch pipe;
    struct gate_sandbox *sandboxes;
    struct gate_looks now, later;
    bool serving; /* a turn is under way: nobody has to be woken */
    bool starved;
} turn;

/* ---- Who is looked at --------------------------------------------------------------------------
 */

static void add_look(struct gate_looks *looks, struct gate_link *link) {
    link->looks = looks;
    link->next_look = NULL;
    link->previous_look = looks->last;
    if (looks->last)
        looks->last->next_look = link;
    else
        looks->first = link;
    looks->last = link;
}

static void remove_look(struct gate_link *link) {
    struct gate_looks *looks = link->looks;
    if (!looks) return;
    if (link->previous_look)
        link->previous_look->next_look = link->next_look;
    else
        looks->first = link->next_look;
    if (link->next_look)
        link->next_look->previous_look = link->previous_look;
    else
        looks->last = link->previous_look;
    link->looks = NULL;
}

void gate_turn_look(struct gate_link *link) {
    if (!link->looks) add_look(&turn.now, link);
    if (!turn.serving) gate_loop_wake();
}

void gate_turn_leave(struct gate_watch *watch) {
    gate_watches_leave(&turn.watches, watch);
}

/* ---- Links -------------------------------------------------------------------------------------
 */

static void bury(struct gate_link *link) {
    struct gate_sandbox *sandbox = link->sandbox;
    remove_look(link);
    gate_agenda_cancel(&turn.agenda, &link->appointment);
    if (link->previous)
        link->previous->next = link->next;
    else
        sandbox->links = link->next;
    if (link->next)
        link->next->previous = link->previous;
    else
        sandbox->last_link = link->previous;
    gate_link_free(link);
}

static int64_t earlier(int64_t one_ms, int64_t other_ms) {
    return one_ms < other_ms ? one_ms : other_ms;
}

/* Notes what a link waits for. Nothing happens on one that is half open. */
static void settle(struct gate_link *link, int64_t now_ms) {
    int64_t due_ms = GATE_NEVER_MS;
    int events = 0;
    bool deaf = gate_link_is_deaf(link);
    if (!deaf) {
        if (gate_link_may_read(link)) events |= GATE_WATCH_READ;
        if (link->wants_out) events |= GATE_WATCH_WRITE;
        due_ms = earlier(earlier(link->deadline_ms, link->beat_due_ms), link->held_at_ms);
        if (gate_link_has_out(link) && link->trickle_at_ms > now_ms)
            due_ms = earlier(due_ms, link->trickle_at_ms);
    }
    bool noted = gate_watches_ask(&turn.watches, &link->watch, events) == GATE_OK &&
                 gate_agenda_set(&turn.agenda, &link->appointment, due_ms) == GATE_OK;
    bool again = !noted || (link->more_in && !deaf);
    if (!noted) turn.starved = true;
    if (!again) return;
    remove_look(link);
    add_look(&turn.later, link);
}

static void look_at(struct gate_link *link, int64_t now_ms) {
    if (link->drop != GATE_DROP_NOT && link->state != GATE_LINK_CLOSED) {
        gate_link_flush(link, now_ms);
        gate_link_drop(link, link->drop == GATE_DROP_RESET, "dropped on request");
    }
    if (gate_link_is_deaf(link) || link->state == GATE_LINK_CLOSED) return;
    if (link->more_in) gate_link_readable(link);
    gate_http_tick(link, now_ms);
    gate_gateway_tick(link, now_ms);
    gate_link_flush(link, now_ms);
    if (link->deadline_ms <= now_ms && link->state != GATE_LINK_CLOSED)
        gate_link_drop(link, false, "out of patience");
}

/* One link's bytes may be another's news, so the list grows while it is walked. */
static void look_at_all(int64_t now_ms) {
    turn.starved = false;
    while (turn.now.first) {
        struct gate_link *link = turn.now.first;
        remove_look(link);
        look_at(link, now_ms);
        if (link->state == GATE_LINK_CLOSED)
            bury(link);
        else
            settle(link, now_ms);
    }
    while (turn.later.first) {
        struct gate_link *link = turn.later.first;
        remove_look(link);
        add_look(&turn.now, link);
    }
}

static void call_due(int64_t now_ms) {
    struct gate_appointment *first;
    while ((first = gate_agenda_first(&turn.agenda)) && first->due_ms <= now_ms) {
        gate_agenda_cancel(&turn.agenda, first);
        gate_turn_look(first->owner);
    }
}

/* ---- Ports -------------------------------------------------------------------------------------
 */

static void add_link(struct gate_sandbox *sandbox, struct gate_link *link) {
    link->previous = sandbox->last_link;
    if (sandbox->last_link)
        sandbox->last_link->next = link;
    else
        sandbox->links = link;
    sandbox->last_link = link;
    gate_turn_look(link);
}

static bool accepts_nobody(const struct gate_sandbox *sandbox) {
    return sandbox->knobs.stalls & GATE_STALL_ACCEPT;
}

static void accept_from(struct gate_sandbox *sandbox, int port_fd) {
    if (accepts_nobody(sandbox)) return; /* ordered while this turn waited already */
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept(port_fd, NULL, NULL);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            gate_sandbox_log(sandbox, NULL, "accept", "%s", strerror(errno));
            sandbox->accept_at_ms = gate_sandbox_now() + ACCEPT_WAIT_MS;
        }
        if (fd < 0) return;
        struct gate_link *link = gate_link_new(sandbox, fd);
        if (link) add_link(sandbox, link);
    }
}

/* The descriptor of a watch changes only while nothing is asked of it. */
static void settle_port(struct gate_watch *watch, struct gate_sandbox *sandbox, int fd, bool open) {
    if (!watch->events) *watch = (struct gate_watch){.owner = sandbox, .fd = fd};
    if (gate_watches_ask(&turn.watches, watch, open && fd >= 0 ? GATE_WATCH_READ : 0) < 0)
        sandbox->accept_at_ms = gate_sandbox_now() + ACCEPT_WAIT_MS;
}

static void settle_ports(struct gate_sandbox *sandbox, int64_t now_ms) {
    if (sandbox->accept_at_ms <= now_ms) sandbox->accept_at_ms = 0;
    gate_port_tick(sandbox);
    bool open = sandbox->accept_at_ms == 0 && !accepts_nobody(sandbox);
    settle_port(&sandbox->watch, sandbox, sandbox->fd, open);
    settle_port(&sandbox->resume_watch, sandbox, sandbox->resume_fd, open && sandbox->resume_alive);
}

/* ---- Sandboxes ---------------------------------------------------------------------------------
 */

void gate_turn_enter(struct gate_sandbox *sandbox) {
    sandbox->next = turn.sandboxes;
    turn.sandboxes = sandbox;
}

struct gate_sandbox *gate_turn_sandboxes(void) {
    return turn.sandboxes;
}

static void say_goodbye(struct gate_sandbox *sandbox, int64_t now_ms) {
    while (sandbox->links) {
        struct gate_link *link = sandbox->links;
        if (link->state == GATE_LINK_OPEN)
            gate_link_close(link, 1001, GATE_SPAN("The sandbox stops."));
        if (!link->knobs.half_open) gate_link_flush(link, now_ms);
        if (link->state != GATE_LINK_CLOSED) gate_link_drop(link, false, "the sandbox stops");
        bury(link);
    }
    gate_port_close(sandbox);
    sandbox->gone = true;
    gate_loop_changed();
}

static void tend_sandboxes(int64_t now_ms) {
    struct gate_sandbox **place = &turn.sandboxes;
    while (*place) {
        struct gate_sandbox *sandbox = *place;
        gate_seats_tick(sandbox, now_ms);
        settle_ports(sandbox, now_ms);
        if (sandbox->stopping) {
            *place = sandbox->next;
            say_goodbye(sandbox, now_ms);
        } else {
            place = &sandbox->next;
        }
    }
}

/* ---- A turn ------------------------------------------------------------------------------------
 */

void gate_turn_open(int pipe_fd) {
    gate_watches_open(&turn.watches);
    gate_buf_init(&turn.agenda.heap, 0, 0);
    turn.pipe = (struct gate_watch){.fd = pipe_fd};
}

void gate_turn_close(void) {
    gate_watches_close(&turn.watches);
    gate_buf_free(&turn.agenda.heap);
}

/* The parent's epoll is the same one, and has to keep what it was asked for. */
void gate_turn_forget(void) {
    gate_turn_close();
    for (struct gate_sandbox *sandbox = turn.sandboxes; sandbox; sandbox = sandbox->next) {
        sandbox->watch.events = sandbox->resume_watch.events = 0;
        gate_port_close(sandbox);
        for (struct gate_link *link = sandbox->links; link; link = link->next) close(link->fd);
    }
    turn.sandboxes = NULL;
    turn.now = turn.later = (struct gate_looks){NULL, NULL};
    turn.serving = false;
}

int gate_turn_timeout(void) {
    int64_t due_ms = GATE_NEVER_MS;
    if (gate_watches_ask(&turn.watches, &turn.pipe, GATE_WATCH_READ) < 0) turn.starved = true;
    if (turn.starved) return STARVED_MS;
    if (turn.now.first) return 0;
    const struct gate_appointment *first = gate_agenda_first(&turn.agenda);
    if (first) due_ms = first->due_ms;
    for (struct gate_sandbox *sandbox = turn.sandboxes; sandbox; sandbox = sandbox->next) {
        if (sandbox->accept_at_ms > 0) due_ms = earlier(due_ms, sandbox->accept_at_ms);
        due_ms = earlier(due_ms, gate_seats_due(sandbox));
    }
    if (due_ms == GATE_NEVER_MS) return WAIT_MS_MAX;
    int64_t left_ms = due_ms - gate_sandbox_now();
    if (left_ms < 0) return 0;
    return left_ms < WAIT_MS_MAX ? (int)left_ms : WAIT_MS_MAX;
}

int gate_turn_wait(int timeout_ms) {
    return gate_watches_wait(&turn.watches, timeout_ms);
}

/* What is ready belongs to a link, to a sandbox that accepts, or to nobody: the pipe. A handshake
 * goes on with whatever it waited for. */
static void take_ready(const struct gate_ready *ready) {
    struct gate_watch *watch = ready->watch;
    if (watch == &turn.pipe) {
        gate_loop_awake();
    } else if (watch->is_link) {
        struct gate_link *link = watch->owner;
        if (ready->writable) link->wants_out = false;
        if (ready->readable || link->state == GATE_LINK_TLS) link->more_in = true;
        gate_turn_look(link);
    } else {
        accept_from(watch->owner, watch->fd);
    }
}

void gate_turn_serve(int ready) {
    turn.serving = true;
    for (int i = 0; i < ready; i++) take_ready(&turn.watches.ready[i]);
    int64_t now_ms = gate_sandbox_now();
    call_due(now_ms);
    look_at_all(now_ms);
    tend_sandboxes(now_ms);
    turn.serving = false;
}

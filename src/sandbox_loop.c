/* sandbox_loop.c - see sandbox_loop.h.
 *
 * One turn of the server's thread, under the lock but for the poll:
 *   collect descriptors | unlock, poll, lock | accept, read | deadlines and drops | write | bury
 * What a script asks for is done by the script's thread under the same lock, down to the bytes in a
 * link's `out`; only descriptors are left to this thread. So every order takes effect in the order
 * it was given, and a script's own thread never writes to a socket or meets a SIGPIPE. */
#include "sandbox_loop.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sandbox_gateway.h"
#include "sandbox_http.h"
#include "sandbox_port.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define ACCEPTS_MAX    64     /* in one turn, so that the others get theirs */
#define ACCEPT_WAIT_MS 100    /* without descriptors, accept would fail at once again and again */
#define TURN_WAIT_MS   1000   /* an order does not wait longer for the server */
#define STARVED_MS     10     /* without memory to watch everybody */
#define POLL_MS_MAX    600000 /* any bound will do: the pipe wakes */

static struct {
    pthread_mutex_t mutex; /* guards the next six */
    pthread_cond_t turn;   /* `serving` went on */
    pthread_cond_t changed;
    uint64_t next_ticket, serving;
    uint64_t changes;
    uint64_t turns;
    bool unseen; /* under the lock: changed since it was taken */

    pthread_mutex_t lifecycle; /* starting and ending the thread; taken before the lock */
    pthread_t thread;
    bool running;
    bool ended; /* the process is exiting */

    /* Under the lock. */
    bool quitting;
    bool woken; /* a byte is in the pipe */
    int wake[2];
    struct gate_sandbox *sandboxes;
} loop;

static pthread_once_t prepared = PTHREAD_ONCE_INIT;

/* ---- The lock ---------------------------------------------------------------------------------
 */

void gate_loop_lock(void) {
    pthread_mutex_lock(&loop.mutex);
    uint64_t ticket = loop.next_ticket++;
    while (ticket != loop.serving) pthread_cond_wait(&loop.turn, &loop.mutex);
    pthread_mutex_unlock(&loop.mutex);
}

void gate_loop_unlock(void) {
    pthread_mutex_lock(&loop.mutex);
    loop.serving++;
    if (loop.unseen) {
        loop.unseen = false;
        loop.changes++;
        pthread_cond_broadcast(&loop.changed);
    }
    if (loop.serving != loop.next_ticket) pthread_cond_broadcast(&loop.turn);
    pthread_mutex_unlock(&loop.mutex);
}

void gate_loop_changed(void) {
    loop.unseen = true;
}

void gate_loop_wake(void) {
    if (loop.woken || !loop.running) return;
    loop.woken = write(loop.wake[1], "", 1) == 1;
}

/* ---- Waiting ----------------------------------------------------------------------------------
 */

/* With loop.mutex: waits for a change until `until_ms`. */
static void wait_for_change(int64_t until_ms) {
#ifdef __APPLE__
    int64_t left_ms = until_ms - gate_sandbox_now();
    struct timespec left = {left_ms / 1000, left_ms % 1000 * 1000000};
    if (left_ms > 0) pthread_cond_timedwait_relative_np(&loop.changed, &loop.mutex, &left);
#else
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    pthread_cond_timedwait(&loop.changed, &loop.mutex, &until);
#endif
}

uint64_t gate_loop_changes(void) {
    pthread_mutex_lock(&loop.mutex);
    uint64_t changes = loop.changes;
    pthread_mutex_unlock(&loop.mutex);
    return changes;
}

uint64_t gate_loop_wait(uint64_t seen, int64_t timeout_ms) {
    int64_t until_ms = gate_sandbox_now() + timeout_ms;
    pthread_mutex_lock(&loop.mutex);
    while (loop.changes == seen && gate_sandbox_now() < until_ms) wait_for_change(until_ms);
    uint64_t changes = loop.changes;
    pthread_mutex_unlock(&loop.mutex);
    return changes;
}

void gate_loop_turn(void) {
    int64_t until_ms = gate_sandbox_now() + TURN_WAIT_MS;
    gate_loop_lock();
    uint64_t wanted = loop.turns + 1;
    gate_loop_changed();
    gate_loop_wake();
    gate_loop_unlock();
    pthread_mutex_lock(&loop.mutex);
    while (loop.turns < wanted && gate_sandbox_now() < until_ms) wait_for_change(until_ms);
    pthread_mutex_unlock(&loop.mutex);
}

/* ---- A turn -----------------------------------------------------------------------------------
 */

/* What one entry of the poll set belongs to: a link, or a sandbox that accepts. */
struct watch {
    struct gate_sandbox *sandbox;
    struct gate_link *link;
};

struct watches {
    struct gate_buf fds;   /* of struct pollfd */
    struct gate_buf whose; /* of struct watch */
    size_t count;
    int64_t due_ms;
};

static void remind(struct watches *watches, int64_t due_ms) {
    if (due_ms < watches->due_ms) watches->due_ms = due_ms;
}

/* Without memory for an entry the turn after is soon, so that nothing is left out for long. */
static void watch(struct watches *watches, int fd, short events, struct watch whose) {
    struct pollfd entry = {.fd = fd, .events = events};
    struct gate_span fd_bytes = {(const char *)&entry, sizeof entry};
    struct gate_span whose_bytes = {(const char *)&whose, sizeof whose};
    if (gate_buf_reserve(&watches->whose, sizeof whose) == GATE_OK &&
        gate_buf_append(&watches->fds, fd_bytes) == GATE_OK &&
        gate_buf_append(&watches->whose, whose_bytes) == GATE_OK)
        watches->count++;
    else
        remind(watches, gate_sandbox_now() + STARVED_MS);
}

static void watch_link(struct watches *watches, struct gate_link *link) {
    if (gate_link_is_deaf(link)) return;
    short events = 0;
    if (gate_link_may_read(link)) events |= POLLIN;
    if (link->wants_out) events |= POLLOUT;
    if (events) watch(watches, link->fd, events, (struct watch){NULL, link});
    if (link->more_in) remind(watches, 0);
    remind(watches, link->deadline_ms);
    remind(watches, link->beat_due_ms);
    remind(watches, link->held_at_ms);
    if (gate_link_has_out(link)) remind(watches, link->trickle_at_ms);
}

static void watch_ports(struct watches *watches, struct gate_sandbox *sandbox) {
    if (sandbox->accept_at_ms > 0) remind(watches, sandbox->accept_at_ms);
    if (sandbox->accept_at_ms > 0 || (sandbox->knobs.stalls & GATE_STALL_ACCEPT)) return;
    watch(watches, sandbox->fd, POLLIN, (struct watch){sandbox, NULL});
    if (sandbox->resume_fd >= 0 && sandbox->resume_alive)
        watch(watches, sandbox->resume_fd, POLLIN, (struct watch){sandbox, NULL});
}

static void collect(struct watches *watches) {
    watches->fds.len = watches->whose.len = watches->count = 0;
    watches->due_ms = GATE_NEVER_MS;
    watch(watches, loop.wake[0], POLLIN, (struct watch){NULL, NULL});
    for (struct gate_sandbox *sandbox = loop.sandboxes; sandbox; sandbox = sandbox->next) {
        watch_ports(watches, sandbox);
        for (struct gate_link *link = sandbox->links; link; link = link->next)
            watch_link(watches, link);
        remind(watches, gate_seats_due(sandbox));
    }
}

static int timeout_until(int64_t due_ms) {
    if (due_ms == GATE_NEVER_MS) return POLL_MS_MAX;
    int64_t left_ms = due_ms - gate_sandbox_now();
    if (left_ms < 0) return 0;
    return left_ms < POLL_MS_MAX ? (int)left_ms : POLL_MS_MAX;
}

static void accept_from(struct gate_sandbox *sandbox, int port_fd) {
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept(port_fd, NULL, NULL);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            gate_sandbox_log(sandbox, NULL, "accept", "%s", strerror(errno));
            sandbox->accept_at_ms = gate_sandbox_now() + ACCEPT_WAIT_MS;
        }
        if (fd < 0) return;
        struct gate_link *link = gate_link_new(sandbox, fd);
        if (!link) continue;
        if (sandbox->last_link)
            sandbox->last_link->next = link;
        else
            sandbox->links = link;
        sandbox->last_link = link;
    }
}

static void accept_clients(struct gate_sandbox *sandbox) {
    accept_from(sandbox, sandbox->fd);
    if (sandbox->resume_fd >= 0 && sandbox->resume_alive) accept_from(sandbox, sandbox->resume_fd);
}

static void empty_pipe(void) {
    char bytes[16];
    while (read(loop.wake[0], bytes, sizeof bytes) > 0) continue;
    loop.woken = false;
}

static void serve(const struct watches *watches) {
    for (size_t i = 0; i < watches->count; i++) {
        struct pollfd entry;
        struct watch whose;
        memcpy(&entry, watches->fds.data + i * sizeof entry, sizeof entry);
        memcpy(&whose, watches->whose.data + i * sizeof whose, sizeof whose);
        if (!entry.revents) continue;
        if (whose.sandbox)
            accept_clients(whose.sandbox);
        else if (!whose.link)
            empty_pipe();
        else if (entry.revents & ~POLLIN)
            whose.link->wants_out = false;
        if (!whose.link) continue;
        if ((entry.revents & ~POLLOUT) || whose.link->state == GATE_LINK_TLS)
            gate_link_readable(whose.link);
    }
}

/* What time brings for one link. Nothing happens on one that is half open. */
static void tick_link(struct gate_link *link, int64_t now_ms) {
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

static void bury_links(struct gate_sandbox *sandbox) {
    struct gate_link **place = &sandbox->links;
    sandbox->last_link = NULL;
    while (*place) {
        struct gate_link *link = *place;
        if (link->state != GATE_LINK_CLOSED) {
            sandbox->last_link = link;
            place = &link->next;
            continue;
        }
        *place = link->next;
        gate_link_free(link);
    }
}

static void say_goodbye(struct gate_sandbox *sandbox) {
    int64_t now_ms = gate_sandbox_now();
    for (struct gate_link *link = sandbox->links; link; link = link->next) {
        if (link->state == GATE_LINK_OPEN)
            gate_link_close(link, 1001, GATE_SPAN("The sandbox stops."));
        if (!link->knobs.half_open) gate_link_flush(link, now_ms);
        if (link->state != GATE_LINK_CLOSED) gate_link_drop(link, false, "the sandbox stops");
    }
    bury_links(sandbox);
    gate_port_close(sandbox);
    sandbox->gone = true;
    gate_loop_changed();
}

static void tick(void) {
    int64_t now_ms = gate_sandbox_now();
    struct gate_sandbox **place = &loop.sandboxes;
    while (*place) {
        struct gate_sandbox *sandbox = *place;
        if (sandbox->accept_at_ms <= now_ms) sandbox->accept_at_ms = 0;
        gate_port_tick(sandbox);
        for (struct gate_link *link = sandbox->links; link; link = link->next)
            tick_link(link, now_ms);
        bury_links(sandbox);
        gate_seats_tick(sandbox, now_ms);
        if (sandbox->stopping) {
            *place = sandbox->next;
            say_goodbye(sandbox);
        } else {
            place = &sandbox->next;
        }
    }
}

static void *run(void *unused) {
    (void)unused;
    struct watches watches = {0};
    gate_buf_init(&watches.fds, 0, 0);
    gate_buf_init(&watches.whose, 0, 0);
    gate_loop_lock();
    while (!loop.quitting || loop.sandboxes) {
        collect(&watches);
        int timeout_ms = timeout_until(watches.due_ms);
        gate_loop_unlock();
        struct pollfd *fds = (struct pollfd *)(void *)watches.fds.data;
        int ready = poll(fds, (nfds_t)watches.count, timeout_ms);
        gate_loop_lock();
        if (ready > 0) serve(&watches);
        tick();
        pthread_mutex_lock(&loop.mutex);
        loop.turns++;
        pthread_cond_broadcast(&loop.changed);
        pthread_mutex_unlock(&loop.mutex);
    }
    gate_loop_unlock();
    gate_buf_free(&watches.fds);
    gate_buf_free(&watches.whose);
    return NULL;
}

/* ---- Starting and ending ----------------------------------------------------------------------
 */

static void init_locks(void) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&loop.mutex, NULL);
    pthread_mutex_init(&loop.lifecycle, NULL);
    pthread_cond_init(&loop.turn, NULL);
    pthread_condattr_init(&attributes);
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&loop.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    loop.next_ticket = loop.serving = 0;
}

static void close_pipe(void) {
    close(loop.wake[0]);
    close(loop.wake[1]);
    loop.woken = false;
}

/* The child of a fork has no such thread and none of the sandboxes; what it inherited is closed so
 * that the parent's connections end when the parent ends them. */
static void forget_after_fork(void) {
    for (struct gate_sandbox *sandbox = loop.sandboxes; sandbox; sandbox = sandbox->next) {
        gate_port_close(sandbox);
        for (struct gate_link *link = sandbox->links; link; link = link->next) close(link->fd);
    }
    if (loop.running) close_pipe();
    loop.sandboxes = NULL;
    loop.running = loop.quitting = false;
    init_locks();
}

/* Without the lifecycle's lock the thread could be half started at the fork. */
static void hold_for_fork(void) {
    pthread_mutex_lock(&loop.lifecycle);
    gate_loop_lock();
}

static void release_after_fork(void) {
    gate_loop_unlock();
    pthread_mutex_unlock(&loop.lifecycle);
}

/* With the lifecycle's lock. */
static void end_thread(void) {
    if (!loop.running) return;
    gate_loop_lock();
    loop.quitting = true;
    for (struct gate_sandbox *sandbox = loop.sandboxes; sandbox; sandbox = sandbox->next)
        sandbox->stopping = true;
    gate_loop_wake();
    gate_loop_unlock();
    pthread_join(loop.thread, NULL);
    gate_loop_lock();
    loop.running = false;
    close_pipe();
    gate_loop_unlock();
}

/* Runs before OpenSSL's own handler, which was registered earlier. A stop under way in another
 * thread holds the lock of the lifecycle and does the same work. */
static void end_at_exit(void) {
    if (pthread_mutex_trylock(&loop.lifecycle) != 0) return;
    for (struct gate_sandbox *sandbox = loop.sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->ca_file[0]) unlink(sandbox->ca_file);
    end_thread();
    loop.ended = true;
    pthread_mutex_unlock(&loop.lifecycle);
}

/* lua_close unloads the shared object; the thread and the handlers need it to stay. */
static void pin_object(void) {
    Dl_info info;
    if (dladdr((void *)(uintptr_t)&pin_object, &info) == 0 || !info.dli_fname) return;
    (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

static void prepare(void) {
    init_locks();
    pin_object();
    OPENSSL_init_ssl(0, NULL);
    atexit(end_at_exit);
    pthread_atfork(hold_for_fork, release_after_fork, forget_after_fork);
}

static bool open_pipe(void) {
    if (pipe(loop.wake) != 0) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(loop.wake[i], F_SETFL, O_NONBLOCK);
        fcntl(loop.wake[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

/* With the lifecycle's lock. Signals stay with the program's own threads. */
static int begin_thread(void) {
    sigset_t all, before;
    if (loop.running) return GATE_OK;
    if (loop.ended || !open_pipe()) return GATE_ESYSTEM;
    loop.quitting = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    gate_loop_lock();
    loop.running = pthread_create(&loop.thread, NULL, run, NULL) == 0;
    gate_loop_unlock();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (loop.running) return GATE_OK;
    close_pipe();
    return GATE_ESYSTEM;
}

int gate_loop_enter(struct gate_sandbox *sandbox) {
    pthread_once(&prepared, prepare);
    pthread_mutex_lock(&loop.lifecycle);
    int rc = begin_thread();
    if (rc == GATE_OK) {
        gate_loop_lock();
        sandbox->next = loop.sandboxes;
        loop.sandboxes = sandbox;
        gate_loop_wake();
        gate_loop_unlock();
    }
    pthread_mutex_unlock(&loop.lifecycle);
    return rc;
}

static bool is_gone(struct gate_sandbox *sandbox) {
    gate_loop_lock();
    bool gone = sandbox->gone || !loop.running;
    sandbox->stopping = true;
    gate_loop_wake();
    gate_loop_unlock();
    return gone;
}

void gate_loop_leave(struct gate_sandbox *sandbox) {
    pthread_mutex_lock(&loop.lifecycle);
    uint64_t seen = gate_loop_changes();
    while (!is_gone(sandbox)) seen = gate_loop_wait(seen, TURN_WAIT_MS);
    gate_loop_lock();
    bool last = loop.sandboxes == NULL;
    gate_loop_unlock();
    if (last) end_thread();
    pthread_mutex_unlock(&loop.lifecycle);
}

bool gate_loop_owns(const struct gate_sandbox *sandbox) {
    return sandbox->process == (int64_t)getpid();
}

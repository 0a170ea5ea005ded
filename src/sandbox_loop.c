/* sandbox_loop.c - see sandbox_loop.h. What the thread does in its turns stands in sandbox_turn.c.
 * What a script asks for is done by the script's thread under the same lock, down to the bytes in a
 * link's `out`; only descriptors are left to this thread. So every order takes effect in the order
 * it was given, and a script's own thread never writes to a socket or meets a SIGPIPE. */
#include "sandbox_loop.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "sandbox_state.h"
#include "sandbox_turn.h"

#define TURN_WAIT_MS 1000 /* an order does not wait longer for the server */

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

/* ---- The thread --------------------------------------------------------------------------------
 */

void gate_loop_awake(void) {
    char bytes[16];
    while (read(loop.wake[0], bytes, sizeof bytes) > 0) continue;
    loop.woken = false;
}

static void *run(void *unused) {
    (void)unused;
    gate_loop_lock();
    while (!loop.quitting || gate_turn_sandboxes()) {
        int timeout_ms = gate_turn_timeout();
        gate_loop_unlock();
        int ready = gate_turn_wait(timeout_ms);
        gate_loop_lock();
        gate_turn_serve(ready);
        pthread_mutex_lock(&loop.mutex);
        loop.turns++;
        pthread_cond_broadcast(&loop.changed);
        pthread_mutex_unlock(&loop.mutex);
    }
    gate_loop_unlock();
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
    if (loop.running) {
        gate_turn_forget();
        close_pipe();
    }
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
    for (struct gate_sandbox *sandbox = gate_turn_sandboxes(); sandbox; sandbox = sandbox->next)
        sandbox->stopping = true;
    gate_loop_wake();
    gate_loop_unlock();
    pthread_join(loop.thread, NULL);
    gate_loop_lock();
    loop.running = false;
    gate_turn_close();
    close_pipe();
    gate_loop_unlock();
}

/* Runs before OpenSSL's own handler, which was registered earlier. A stop under way in another
 * thread holds the lock of the lifecycle and does the same work. */
static void end_at_exit(void) {
    if (pthread_mutex_trylock(&loop.lifecycle) != 0) return;
    for (struct gate_sandbox *sandbox = gate_turn_sandboxes(); sandbox; sandbox = sandbox->next)
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
    gate_turn_open(loop.wake[0]);
    loop.running = pthread_create(&loop.thread, NULL, run, NULL) == 0;
    gate_loop_unlock();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (loop.running) return GATE_OK;
    gate_turn_close();
    close_pipe();
    return GATE_ESYSTEM;
}

int gate_loop_enter(struct gate_sandbox *sandbox) {
    pthread_once(&prepared, prepare);
    pthread_mutex_lock(&loop.lifecycle);
    int rc = begin_thread();
    if (rc == GATE_OK) {
        gate_loop_lock();
        gate_turn_enter(sandbox);
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
    bool last = gate_turn_sandboxes() == NULL;
    gate_loop_unlock();
    if (last) end_thread();
    pthread_mutex_unlock(&loop.lifecycle);
}

bool gate_loop_owns(const struct gate_sandbox *sandbox) {
    return sandbox->process == (int64_t)getpid();
}

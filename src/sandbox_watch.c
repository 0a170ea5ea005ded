/* sandbox_watch.c - see sandbox_watch.h. Each way is a row of functions, so that both can be tested
 * where both are there. */
#include "sandbox_watch.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

struct gate_watches_way {
    int (*ask)(struct gate_watches *watches, struct gate_watch *watch, int events); /* not 0 */
    void (*leave)(struct gate_watches *watches, struct gate_watch *watch);
    int (*wait)(struct gate_watches *watches, int timeout_ms);
};

/* ---- epoll -------------------------------------------------------------------------------------
 */

#ifdef __linux__

/* A descriptor that nothing is asked of has no entry: epoll would tell of its end all the same. */
static int ask_epoll(struct gate_watches *watches, struct gate_watch *watch, int events) {
    struct epoll_event entry = {.data.ptr = watch};
    if (events & GATE_WATCH_READ) entry.events |= EPOLLIN;
    if (events & GATE_WATCH_WRITE) entry.events |= EPOLLOUT;
    int verb = watch->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    return epoll_ctl(watches->fd, verb, watch->fd, &entry) == 0 ? GATE_OK : GATE_EMEMORY;
}

static void leave_epoll(struct gate_watches *watches, struct gate_watch *watch) {
    epoll_ctl(watches->fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

static int wait_epoll(struct gate_watches *watches, int timeout_ms) {
    struct epoll_event entries[GATE_WATCHES_READY_MAX];
    int count = epoll_wait(watches->fd, entries, GATE_WATCHES_READY_MAX, timeout_ms);
    for (int i = 0; i < count; i++)
        watches->ready[i] =
            (struct gate_ready){.watch = entries[i].data.ptr,
                                .readable = (entries[i].events & ~(uint32_t)EPOLLOUT) != 0,
                                .writable = (entries[i].events & ~(uint32_t)EPOLLIN) != 0};
    return count > 0 ? count : 0;
}

static const struct gate_watches_way epoll_way = {ask_epoll, leave_epoll, wait_epoll};

#endif

/* ---- poll --------------------------------------------------------------------------------------
 */

static struct pollfd *entry_at(struct gate_watches *watches, size_t place) {
    return (struct pollfd *)(void *)watches->fds.data + place;
}

static struct gate_watch **holder_at(struct gate_watches *watches, size_t place) {
    return (struct gate_watch **)(void *)watches->held.data + place;
}

static size_t count_entries(const struct gate_watches *watches) {
    return watches->fds.len / sizeof(struct pollfd);
}

static int add_entry(struct gate_watches *watches, struct gate_watch *watch) {
    struct pollfd entry = {.fd = watch->fd};
    watch->place = count_entries(watches);
    if (gate_buf_reserve(&watches->held, sizeof(watch)) < 0) return GATE_EMEMORY;
    if (gate_buf_append(&watches->fds, (struct gate_span){(char *)&entry, sizeof entry}) < 0)
        return GATE_EMEMORY;
    return gate_buf_append(&watches->held, (struct gate_span){(char *)&watch, sizeof(watch)});
}

/* The last one takes its place. */
static void leave_poll(struct gate_watches *watches, struct gate_watch *watch) {
    size_t last = count_entries(watches) - 1;
    *entry_at(watches, watch->place) = *entry_at(watches, last);
    *holder_at(watches, watch->place) = *holder_at(watches, last);
    (*holder_at(watches, watch->place))->place = watch->place;
    watches->fds.len -= sizeof(struct pollfd);
    watches->held.len -= sizeof(struct gate_watch *);
}

static int ask_poll(struct gate_watches *watches, struct gate_watch *watch, int events) {
    if (!watch->events && add_entry(watches, watch) < 0) return GATE_EMEMORY;
    short wanted = (events & GATE_WATCH_READ) ? POLLIN : 0;
    if (events & GATE_WATCH_WRITE) wanted |= POLLOUT;
    entry_at(watches, watch->place)->events = wanted;
    return GATE_OK;
}

static int wait_poll(struct gate_watches *watches, int timeout_ms) {
    size_t count = count_entries(watches);
    int left = poll(entry_at(watches, 0), (nfds_t)count, timeout_ms), found = 0;
    if (watches->first >= count) watches->first = 0;
    for (size_t i = 0; i < count && found < left && found < GATE_WATCHES_READY_MAX; i++) {
        size_t place = (watches->first + i) % count;
        short came = entry_at(watches, place)->revents;
        if (!came) continue;
        watches->ready[found++] = (struct gate_ready){.watch = *holder_at(watches, place),
                                                      .readable = (came & ~POLLOUT) != 0,
                                                      .writable = (came & ~POLLIN) != 0};
    }
    if (found == GATE_WATCHES_READY_MAX) watches->first += GATE_WATCHES_READY_MAX;
    return found;
}

static const struct gate_watches_way poll_way = {ask_poll, leave_poll, wait_poll};

/* ---- Either ------------------------------------------------------------------------------------
 */

void gate_watches_open(struct gate_watches *watches) {
    watches->way = &poll_way;
    watches->fd = -1;
    watches->first = 0;
    gate_buf_init(&watches->fds, 0, 0);
    gate_buf_init(&watches->held, 0, 0);
#ifdef __linux__
    const char *wish = getenv("MOONGATE_SANDBOX_WATCH");
    if (wish && strcmp(wish, "poll") == 0) return;
    watches->fd = epoll_create1(EPOLL_CLOEXEC);
    if (watches->fd >= 0) watches->way = &epoll_way;
#endif
}

void gate_watches_close(struct gate_watches *watches) {
    if (watches->fd >= 0) close(watches->fd);
    watches->fd = -1;
    gate_buf_free(&watches->fds);
    gate_buf_free(&watches->held);
}

int gate_watches_ask(struct gate_watches *watches, struct gate_watch *watch, int events) {
    if (events == watch->events) return GATE_OK;
    int rc = events ? watches->way->ask(watches, watch, events) : GATE_OK;
    if (!events || rc < 0) gate_watches_leave(watches, watch);
    if (rc == GATE_OK) watch->events = events;
    return rc;
}

void gate_watches_leave(struct gate_watches *watches, struct gate_watch *watch) {
    if (watch->events) watches->way->leave(watches, watch);
    watch->events = 0;
}

int gate_watches_wait(struct gate_watches *watches, int timeout_ms) {
    return watches->way->wait(watches, timeout_ms);
}

/* queue.c - see queue.h.
 *
 *   push --> first -> ... -> last      spare -> ... (at most SPARES_MAX)
 *            pop <--^                    ^-- pop's used nodes   push's spare --^
 *
 * Loose nodes stand in a second list as well, in the same order: so the oldest of them is at hand,
 * and one that is popped is always the first of both.
 *
 * The bell is rung and hushed outside the lock. A push that finds `rung` false sets it and rings
 * afterwards. A pop that empties the queue clears it, hushes, and looks again: whatever was pushed
 * before that second look is rung for once more, whatever comes later rings for itself. So the bell
 * may ring once too often, which the next pop that finds nothing hushes, and never once too few.
 * Where pops take batches only that one hushes: while the reader is busy nobody needs to ring.
 *
 * Waking somebody costs far more than a push, and on one core he then takes turns with the pusher.
 * So a quiet queue lets some nodes come together first; it is the pusher who promises to ring. */
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#define SPARES_MAX 128 /* two batches; the rest goes back to the allocator */

/* The clock that stands still while the machine sleeps, and the one that goes on. macOS has other
 * names for them: its CLOCK_MONOTONIC counts sleep. */
#if defined(CLOCK_UPTIME_RAW)
#define CLOCK_AWAKE  CLOCK_UPTIME_RAW
#define CLOCK_ALWAYS CLOCK_MONOTONIC_RAW
#elif defined(CLOCK_BOOTTIME)
#define CLOCK_AWAKE  CLOCK_MONOTONIC
#define CLOCK_ALWAYS CLOCK_BOOTTIME
#else
#define CLOCK_AWAKE  CLOCK_MONOTONIC
#define CLOCK_ALWAYS CLOCK_MONOTONIC
#endif

static int64_t read_clock_ms(clockid_t clock) {
    struct timespec at;
    if (clock_gettime(clock, &at) != 0) return 0;
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

int64_t gate_clock_ms(void) {
    return read_clock_ms(CLOCK_AWAKE);
}

int64_t gate_clock_ahead_ms(void) {
    int64_t always_ms = read_clock_ms(CLOCK_ALWAYS);
    return always_ms ? always_ms - gate_clock_ms() : 0;
}

/* ---- The bell -------------------------------------------------------------------------------- */

#ifdef __linux__
int gate_bell_init(struct gate_bell *bell) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *bell = (struct gate_bell){fd, fd};
    return fd < 0 ? GATE_ESYSTEM : GATE_OK;
}
#else
static bool prepare_end(int fd) {
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

int gate_bell_init(struct gate_bell *bell) {
    int ends[2];
    *bell = (struct gate_bell){-1, -1};
    if (pipe(ends) != 0) return GATE_ESYSTEM;
    *bell = (struct gate_bell){ends[0], ends[1]};
    if (prepare_end(ends[0]) && prepare_end(ends[1])) return GATE_OK;
    gate_bell_free(bell);
    return GATE_ESYSTEM;
}
#endif

void gate_bell_free(struct gate_bell *bell) {
    if (bell->read_fd >= 0) close(bell->read_fd);
    if (bell->write_fd >= 0 && bell->write_fd != bell->read_fd) close(bell->write_fd);
    *bell = (struct gate_bell){-1, -1};
}

/* Eight bytes are what an eventfd wants and a pipe takes. A bell that is full rings already. */
void gate_bell_ring(const struct gate_bell *bell) {
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(bell->write_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
}

void gate_bell_hush(const struct gate_bell *bell) {
    char sink[512];
    ssize_t got;
    do {
        got = read(bell->read_fd, sink, sizeof sink);
    } while (got == (ssize_t)sizeof sink || (got < 0 && errno == EINTR));
}

bool gate_bell_wait(const struct gate_bell *bell, int64_t timeout_ms) {
    struct pollfd at = {.fd = bell->read_fd, .events = POLLIN};
    int64_t until_ms = gate_clock_ms() + timeout_ms;
    for (;;) {
        int64_t left_ms = until_ms - gate_clock_ms();
        int found = poll(&at, 1, left_ms > 0 ? (int)left_ms : 0);
        if (found > 0) return true;
        if (found == 0 || errno != EINTR) return false;
    }
}

/* ---- The queue ------------------------------------------------------------------------------- */

int gate_queue_init(struct gate_queue *queue, const struct gate_queue_limits *limits,
                    bool with_bell) {
    *queue = (struct gate_queue){.limits = *limits, .bell = {-1, -1}};
    atomic_init(&queue->level, GATE_LEVEL_FREE);
    atomic_init(&queue->waits, false);
    if (with_bell && gate_bell_init(&queue->bell) < 0) return GATE_ESYSTEM;
    if (pthread_mutex_init(&queue->lock, NULL) == 0) return GATE_OK;
    gate_bell_free(&queue->bell);
    return GATE_ESYSTEM;
}

static void drop_all(struct gate_node *node, void (*drop)(struct gate_node *node)) {
    while (node) {
        struct gate_node *next = node->next;
        drop(node);
        node = next;
    }
}

void gate_queue_free(struct gate_queue *queue, void (*drop)(struct gate_node *node)) {
    drop_all(queue->first, drop);
    drop_all(queue->spare, drop);
    queue->first = queue->last = queue->spare = NULL;
    queue->first_loose = queue->last_loose = NULL;
    pthread_mutex_destroy(&queue->lock);
    gate_bell_free(&queue->bell);
}

static bool is_at(size_t value, size_t mark) {
    return mark != 0 && value >= mark;
}

static size_t hard_mark(size_t mark) {
    return mark <= SIZE_MAX / GATE_QUEUE_HARD_FACTOR ? mark * GATE_QUEUE_HARD_FACTOR : SIZE_MAX;
}

static bool has_room(const struct gate_queue *queue, const struct gate_node *node) {
    const struct gate_queue_limits *limits = &queue->limits;
    const struct gate_queue_counts *counts = &queue->counts;
    if (node->kind == GATE_NODE_PAYLOAD)
        return !limits->strict || (!is_at(counts->count, limits->count_max) &&
                                   !is_at(counts->bytes, limits->bytes_max));
    if (node->kind == GATE_NODE_NOTE)
        return !is_at(counts->notes, limits->notes_max) &&
               !is_at(counts->notes_bytes, limits->bytes_max);
    return !is_at(counts->notes, hard_mark(limits->notes_max)) &&
           !is_at(counts->notes_bytes, hard_mark(limits->bytes_max));
}

/* Up by what was pushed, down by what was popped: full stays full until half. */
static enum gate_level find_level(const struct gate_queue *queue) {
    const struct gate_queue_limits *limits = &queue->limits;
    const struct gate_queue_counts *counts = &queue->counts;
    size_t count = counts->count - counts->loose, bytes = counts->bytes - counts->loose_bytes;
    if (is_at(count, hard_mark(limits->count_max)) || is_at(bytes, hard_mark(limits->bytes_max)))
        return GATE_LEVEL_HARD;
    if (is_at(count, limits->count_max) || is_at(bytes, limits->bytes_max)) return GATE_LEVEL_FULL;
    bool half = (!limits->count_max || count <= limits->count_max / 2) &&
                (!limits->bytes_max || bytes <= limits->bytes_max / 2);
    return counts->level == GATE_LEVEL_FREE || half ? GATE_LEVEL_FREE : GATE_LEVEL_FULL;
}

static void note_peaks(struct gate_queue_counts *counts) {
    if (counts->count > counts->count_peak) counts->count_peak = counts->count;
    if (counts->bytes > counts->bytes_peak) counts->bytes_peak = counts->bytes;
}

/* Returns whether the queue has become free. */
static bool change_level(struct gate_queue *queue) {
    struct gate_queue_counts *counts = &queue->counts;
    enum gate_level before = counts->level;
    counts->level = find_level(queue);
    if (before == GATE_LEVEL_FREE && counts->level != before) counts->filled++;
    if (counts->level != before)
        atomic_store_explicit(&queue->level, (int)counts->level, memory_order_release);
    return before != GATE_LEVEL_FREE && counts->level == GATE_LEVEL_FREE;
}

static void append_loose(struct gate_queue *queue, struct gate_node *node) {
    node->next_loose = NULL;
    if (queue->last_loose)
        queue->last_loose->next_loose = node;
    else
        queue->first_loose = node;
    queue->last_loose = node;
    queue->counts.loose++;
    queue->counts.loose_bytes += node->bytes;
}

static void append_node(struct gate_queue *queue, struct gate_node *node) {
    struct gate_queue_counts *counts = &queue->counts;
    node->next = NULL;
    node->before = queue->last;
    if (queue->last)
        queue->last->next = node;
    else
        queue->first = node;
    queue->last = node;
    counts->pushed++;
    if (node->kind == GATE_NODE_PAYLOAD) {
        counts->count++;
        counts->bytes += node->bytes;
        if (node->loose) append_loose(queue, node);
    } else {
        counts->notes++;
        counts->notes_bytes += node->bytes;
    }
}

/* A loose one is the first of those. */
static void unlink_node(struct gate_queue *queue, struct gate_node *node) {
    struct gate_queue_counts *counts = &queue->counts;
    *(node->before ? &node->before->next : &queue->first) = node->next;
    *(node->next ? &node->next->before : &queue->last) = node->before;
    node->next = node->before = NULL;
    if (node->kind != GATE_NODE_PAYLOAD) {
        counts->notes--;
        counts->notes_bytes -= node->bytes;
        return;
    }
    counts->count--;
    counts->bytes -= node->bytes;
    if (!node->loose) return;
    counts->loose--;
    counts->loose_bytes -= node->bytes;
    queue->first_loose = node->next_loose;
    if (!queue->first_loose) queue->last_loose = NULL;
}

static bool is_over(const struct gate_queue *queue) {
    const struct gate_queue_limits *limits = &queue->limits;
    const struct gate_queue_counts *counts = &queue->counts;
    return (limits->count_max && counts->count > limits->count_max) ||
           (limits->bytes_max && counts->bytes > limits->bytes_max);
}

/* The oldest loose nodes go, until the rest is within the marks; one that is alone stays, however
 * large it is, or it would never come through. */
static struct gate_node *drop_loose(struct gate_queue *queue) {
    struct gate_node *dropped = NULL;
    while (queue->first_loose && queue->counts.count > 1 && is_over(queue)) {
        struct gate_node *node = queue->first_loose;
        unlink_node(queue, node);
        queue->counts.dropped[node->loose - 1]++;
        node->next = dropped;
        dropped = node;
    }
    return dropped;
}

static struct gate_node *take_spare(struct gate_queue *queue) {
    struct gate_node *spare = queue->spare;
    if (!spare) return NULL;
    queue->spare = spare->next;
    queue->spares--;
    return spare;
}

static void show_waits(struct gate_queue *queue) {
    atomic_store_explicit(&queue->waits, queue->first != NULL, memory_order_release);
}

/* Whether whoever holds the lock has to ring after it, as more than `quiet_max` nodes wait. */
static bool ring_now(struct gate_queue *queue, size_t quiet_max) {
    size_t waiting = queue->counts.count + queue->counts.notes;
    if (queue->rung || waiting <= quiet_max) return false;
    queue->rung = true;
    return queue->bell.write_fd >= 0;
}

int gate_queue_push(struct gate_queue *queue, struct gate_node *node, struct gate_node **spare,
                    struct gate_node **dropped) {
    bool ring = false;
    if (dropped) *dropped = NULL;
    pthread_mutex_lock(&queue->lock);
    bool taken = has_room(queue, node);
    if (taken) {
        append_node(queue, node);
        if (dropped) *dropped = drop_loose(queue);
        note_peaks(&queue->counts);
        change_level(queue);
        show_waits(queue);
        ring = ring_now(queue, queue->limits.quiet_max);
    } else if (node->kind != GATE_NODE_PAYLOAD) {
        queue->counts.notes_dropped++;
    }
    if (spare) *spare = take_spare(queue);
    pthread_mutex_unlock(&queue->lock);
    if (ring) gate_bell_ring(&queue->bell);
    return taken ? GATE_OK : GATE_EBUSY;
}

static struct gate_node *take_batch(struct gate_queue *queue, bool *drained) {
    struct gate_node *first = queue->first, *last = NULL;
    size_t left = queue->limits.batch_max ? queue->limits.batch_max : 1, bytes = 0;
    while (queue->first && left-- > 0 && bytes < GATE_QUEUE_BATCH_BYTES) {
        struct gate_node *node = queue->first;
        unlink_node(queue, node);
        bytes += node->bytes;
        queue->counts.popped++;
        if (last) last->next = node;
        last = node;
    }
    *drained = first && change_level(queue);
    show_waits(queue);
    return first;
}

/* Returns those that are too many. */
static struct gate_node *keep_spares(struct gate_queue *queue, struct gate_node *used) {
    while (used && queue->spares < SPARES_MAX) {
        struct gate_node *next = used->next;
        used->next = queue->spare;
        queue->spare = used;
        queue->spares++;
        used = next;
    }
    return used;
}

/* See the comment at the top for why this looks twice. */
static void hush_bell(struct gate_queue *queue) {
    gate_bell_hush(&queue->bell);
    pthread_mutex_lock(&queue->lock);
    bool again = queue->first != NULL;
    pthread_mutex_unlock(&queue->lock);
    if (again) gate_bell_ring(&queue->bell);
}

struct gate_node *gate_queue_pop(struct gate_queue *queue, struct gate_node *used,
                                 struct gate_node **unwanted, bool *drained) {
    bool hush = false;
    pthread_mutex_lock(&queue->lock);
    struct gate_node *node = take_batch(queue, drained);
    *unwanted = keep_spares(queue, used);
    if (!queue->first && (!node || (queue->rung && queue->limits.batch_max <= 1))) {
        queue->rung = false;
        hush = queue->bell.read_fd >= 0;
    }
    pthread_mutex_unlock(&queue->lock);
    if (hush) hush_bell(queue);
    return node;
}

void gate_queue_ring(struct gate_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool ring = ring_now(queue, 0);
    pthread_mutex_unlock(&queue->lock);
    if (ring) gate_bell_ring(&queue->bell);
}

void gate_queue_miss(struct gate_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->counts.notes_dropped++;
    pthread_mutex_unlock(&queue->lock);
}

enum gate_level gate_queue_level(struct gate_queue *queue) {
    return (enum gate_level)atomic_load_explicit(&queue->level, memory_order_acquire);
}

bool gate_queue_waits(struct gate_queue *queue) {
    return atomic_load_explicit(&queue->waits, memory_order_acquire);
}

void gate_queue_count(struct gate_queue *queue, struct gate_queue_counts *out) {
    pthread_mutex_lock(&queue->lock);
    *out = queue->counts;
    out->oldest_at_ms = queue->first ? queue->first->at_ms : -1;
    pthread_mutex_unlock(&queue->lock);
}

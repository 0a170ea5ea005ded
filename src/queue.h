/* queue.h - a bounded queue of nodes between two threads, and the descriptor that tells of it.
 * Made and freed by the engine. The I/O thread pushes events and pops commands, the Lua thread the
 * other way round; any number of threads may do either. The lock covers pointer moves and counts,
 * never an allocation or a system call. */
#ifndef MOONGATE_QUEUE_H
#define MOONGATE_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>

#include "moongate.h"

/* Milliseconds of the monotonic clock, which stands still while the machine sleeps. */
int64_t gate_clock_ms(void);

/* How far a clock that counts sleep is ahead of it: it grows by each sleep, and nothing else of it
 * means anything. Always the same where the system has no such clock. */
int64_t gate_clock_ahead_ms(void);

/* A descriptor that is readable while it rings. Any thread may ring and hush. */
struct gate_bell {
    int read_fd, write_fd; /* one eventfd, or the two ends of a pipe */
};

/* GATE_ESYSTEM when there is no descriptor to be had; the bell needs no free then. */
GATE_MUST_CHECK int gate_bell_init(struct gate_bell *bell);
void gate_bell_free(struct gate_bell *bell);
void gate_bell_ring(const struct gate_bell *bell);
void gate_bell_hush(const struct gate_bell *bell);

/* Waits until it rings: true, or false after `timeout_ms`. Signals do not cut the wait short. */
bool gate_bell_wait(const struct gate_bell *bell, int64_t timeout_ms);

enum gate_node_kind {
    GATE_NODE_PAYLOAD, /* counts towards the marks */
    GATE_NODE_NOTE,    /* counted apart; refused above `notes_max` */
    GATE_NODE_VITAL    /* counted with the notes; refused only far above them */
};

/* The first field of whatever travels. The pusher fills in all but the links. */
struct gate_node {
    struct gate_node *next, *before;
    struct gate_node *next_loose; /* of those that may be dropped */
    size_t bytes;                 /* of memory that hangs on it */
    int64_t at_ms;                /* when it was pushed */
    enum gate_node_kind kind;
    uint32_t loose; /* payload: 0, or which of `dropped` counts it when it is dropped, from 1 */
};

/* Marks. 0 means none. */
struct gate_queue_limits {
    size_t count_max, bytes_max; /* of payloads: the high mark */
    size_t notes_max;            /* and as many bytes of notes as `bytes_max` */
    bool strict;                 /* payloads are refused at the high mark */
    size_t quiet_max;            /* so many nodes may wait before a push rings the bell */
    size_t batch_max;            /* nodes that one pop takes; 0: one, as does 1 */
};

/* Full from the high mark on until both count and bytes are at half or below; hard from
 * GATE_QUEUE_HARD_FACTOR times the high mark on. Loose payloads fill nothing: above the mark the
 * oldest of them are dropped. */
enum gate_level { GATE_LEVEL_FREE, GATE_LEVEL_FULL, GATE_LEVEL_HARD };

struct gate_queue_counts {
    size_t count, bytes; /* of payloads */
    size_t count_peak, bytes_peak;
    size_t notes, notes_bytes;
    uint64_t pushed, popped, notes_dropped;
    size_t loose, loose_bytes;              /* of `count` and `bytes` */
    uint64_t filled;                        /* how often it became full */
    uint64_t dropped[GATE_DROP_EVENTS_MAX]; /* loose payloads that made room, by their number */
    int64_t oldest_at_ms;                   /* of the first node; -1: it is empty */
    enum gate_level level;
};

struct gate_queue {
    struct gate_queue_limits limits; /* constant */
    struct gate_bell bell;           /* constant; read_fd -1: none */
    pthread_mutex_t lock;            /* of everything below */
    struct gate_node *first, *last;
    struct gate_node *first_loose, *last_loose;
    struct gate_node *spare; /* used nodes on their way back to a pusher */
    size_t spares;
    struct gate_queue_counts counts;
    bool rung; /* the bell has been rung for what is in here */
    /* What is looked at for each message is changed under the lock and read without. */
    atomic_int level; /* enum gate_level: that of `counts` */
    atomic_bool waits;
};

/* `with_bell`: the queue rings while it is not empty; with `quiet_max` from gate_queue_ring on, or
 * from so many nodes on; with `batch_max` until a pop finds nothing, as who took a batch is not
 * done with it yet. GATE_ESYSTEM; the queue needs no free then. */
GATE_MUST_CHECK int gate_queue_init(struct gate_queue *queue,
                                    const struct gate_queue_limits *limits, bool with_bell);

/* Hands every node that is left, spares included, to `drop`. Nobody else may be at the queue. */
void gate_queue_free(struct gate_queue *queue, void (*drop)(struct gate_node *node));

/* Takes `node` when it returns 0. GATE_EBUSY: not taken, and counted where it is a note. *spare
 * (may be NULL): a used node to fill next time, or NULL; the caller owns it. *dropped (may be NULL
 * where no node is loose): those that had to go, `node` perhaps among them, linked by `next`; the
 * caller owns them. */
GATE_MUST_CHECK int gate_queue_push(struct gate_queue *queue, struct gate_node *node,
                                    struct gate_node **spare, struct gate_node **dropped);

/* The oldest nodes, linked by `next`, which the caller owns, or NULL: as many as `batch_max` says,
 * and none behind GATE_QUEUE_BATCH_BYTES. `used` (a list, may be NULL) goes back to the pushers, or
 * into *unwanted what they have enough of. *drained: this call took the queue from full to free:
 * whoever stopped bringing may go on. */
struct gate_node *gate_queue_pop(struct gate_queue *queue, struct gate_node *used,
                                 struct gate_node **unwanted, bool *drained);

/* Rings for what waits, unless that was done already. Who pushes to a quiet queue calls it before
 * it sleeps. */
void gate_queue_ring(struct gate_queue *queue);

/* A note that could not even be made: counted as one that was dropped. */
void gate_queue_miss(struct gate_queue *queue);

/* As of now; another thread may change it at once. Neither takes the lock. `waits`: there is a node
 * in it; one whose push has returned is seen. */
enum gate_level gate_queue_level(struct gate_queue *queue);
bool gate_queue_waits(struct gate_queue *queue);

/* All numbers of one moment, which takes the lock. */
void gate_queue_count(struct gate_queue *queue, struct gate_queue_counts *out);

#endif

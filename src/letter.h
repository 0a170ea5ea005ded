/* letter.h - what the I/O thread writes to the Lua side: events, faults and answers, in one bounded
 * queue. Filled by loop.c and seat.c on the I/O thread; the Lua side pops the queue and frees what
 * it gets. */
#ifndef MOONGATE_LETTER_H
#define MOONGATE_LETTER_H

#include "event.h"
#include "queue.h"
#include "transport.h"

struct gate_letter {
    struct gate_node node; /* first, so that a node is its letter */
    struct gate_event event;
};

struct gate_letterbox {
    struct gate_queue queue; /* of both sides */

    /* The I/O thread's. */
    struct gate_letter *spare; /* came back empty; NULL: none */
};

/* GATE_ESYSTEM: no descriptor; the box needs no free then. */
GATE_MUST_CHECK int gate_letterbox_init(struct gate_letterbox *box,
                                        const struct gate_queue_limits *limits);
void gate_letterbox_free(struct gate_letterbox *box);

/* Posts an event of a shard (-1: of none), which is taken whatever comes of it. */
void gate_letterbox_post(struct gate_letterbox *box, int shard_id, struct gate_event *take);

/* Posts an `error` event: the gate_error, the operation that failed, and words for it. */
void gate_letterbox_error(struct gate_letterbox *box, int shard_id, int error, const char *phase,
                          const char *message);

/* Posts the `http` event of an answer; its body may be changed. */
void gate_letterbox_answer(struct gate_letterbox *box, const struct gate_answer *answer);

#endif

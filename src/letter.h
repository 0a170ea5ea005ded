/* letter.h - what the I/O threads of an engine write to the Lua side: events, faults and answers,
 * in one bounded queue. Filled by loop.c and seat.c, each thread by a letterbox of its own; the Lua
 * side pops the queue and frees what it gets. */
#ifndef MOONGATE_LETTER_H
#define MOONGATE_LETTER_H

#include "event.h"
#include "queue.h"
#include "transport.h"

struct gate_letter {
    struct gate_node node; /* first, so that a node is its letter */
    struct gate_event event;
};

/* Where all letterboxes of an engine lead to. */
struct gate_mail {
    struct gate_queue queue; /* of all sides */
    struct gate_buf loose; /* constant: names of dispatches that may be dropped, each with a NUL */
};

struct gate_letterbox { /* one thread's */
    struct gate_mail *mail;
    struct gate_letter *spare;   /* came back empty; NULL: none */
    struct gate_letter *reserve; /* for what is awaited, without memory; NULL: used up */
    uint32_t missed;             /* own events that found no memory and have not been told of */
    int missed_shard_id;         /* of the last of them */
};

/* What the Lua side holds: a batch of letters, of which some are read. Zeros at first. */
struct gate_inbox {
    struct gate_node *first; /* not read yet */
    struct gate_node *used;  /* read; the first of them is the one that was read last */
    size_t waiting;          /* letters that are not read yet */
    size_t count, bytes;     /* of the payloads among those */
};

/* `loose`: names of dispatches that may be dropped, oldest first, when there is no room; each is
 * ended by a NUL, more than GATE_DROP_EVENTS_MAX are not looked at. GATE_ESYSTEM: no descriptor;
 * GATE_EMEMORY. It needs no free then. */
GATE_MUST_CHECK int gate_mail_init(struct gate_mail *mail, const struct gate_queue_limits *limits,
                                   struct gate_span loose);
/* When its letterboxes are gone. */
void gate_mail_free(struct gate_mail *mail);

/* The name with this number, from 0, among those that may be dropped: true, or false: there are no
 * more. Any thread. */
bool gate_mail_loose(const struct gate_mail *mail, uint32_t at, struct gate_span *name);

/* An empty letterbox, which `mail` outlives. */
void gate_letterbox_init(struct gate_letterbox *box, struct gate_mail *mail);
void gate_letterbox_free(struct gate_letterbox *box);

/* The oldest event: true, or false: there is none. What `event` held before is done with, and its
 * memory serves another one. *drained: as gate_queue_pop. */
bool gate_inbox_next(struct gate_inbox *inbox, struct gate_queue *queue, struct gate_event *event,
                     bool *drained);
void gate_inbox_free(struct gate_inbox *inbox);

/* Memory of an event that was read, which may be moved out of it; NULL: there is none. */
struct gate_buf *gate_letterbox_spare(struct gate_letterbox *box);

/* Keeps a letter back for one dispatch, or one answer. False: there is no memory for it, so what a
 * dispatch may follow from must not be looked at now, and no request begun. */
GATE_MUST_CHECK bool gate_letterbox_reserve(struct gate_letterbox *box);

/* Posts an event of a shard (-1: of none), which is taken whatever comes of it. A dispatch that is
 * not loose is never lost where gate_letterbox_reserve came before it. An own event that finds no
 * memory, or no room far above the marks, is counted as a dropped note; false then. */
bool gate_letterbox_post(struct gate_letterbox *box, int shard_id, struct gate_event *take);

/* Posts an `error` event: the gate_error, the operation that failed, and words for it. */
void gate_letterbox_error(struct gate_letterbox *box, int shard_id, int error, const char *phase,
                          const char *message);

/* Posts the `hold` event: identifies wait for so long. */
void gate_letterbox_hold(struct gate_letterbox *box, int64_t wait_ms);

/* Posts the `http` event of an answer; its body may be changed. Without memory for it, the answer
 * is that there was none. */
void gate_letterbox_answer(struct gate_letterbox *box, const struct gate_answer *answer);

/* Posts a `turn` event: the shard wants to identify under `key`, and asks whoever coordinates with
 * other processes. `number` is of this asking alone. False: it could not be posted. */
bool gate_letterbox_turn(struct gate_letterbox *box, int shard_id, int key, int64_t number);

/* Posts a `turn_over` event: the asking `number` is over, and its Identify left `spent_ms` ago (-1:
 * none did). One that is lost is made good by the shard's next `turn`. */
void gate_letterbox_turn_over(struct gate_letterbox *box, int shard_id, int64_t number,
                              int64_t spent_ms);

/* Tells, in an `error` event, of own events that found no memory, once there is some. */
void gate_letterbox_tell(struct gate_letterbox *box);

#endif

/* outbox.h - the user's encoded commands of one shard, in order, with bounds.
 * Called by session.c, which may let some overtake others. Lives as long as the shard: commands
 * survive a resume. */
#ifndef MOONGATE_OUTBOX_H
#define MOONGATE_OUTBOX_H

#include "buf.h"
#include "moongate.h"
#include "pace.h"

struct gate_outbox {
    struct gate_buf ring; /* of struct gate_outbox_entry; grows up to the limit */
    size_t first, count;  /* entries */
    size_t queued_bytes;
    int64_t expires_ms; /* when the first of them expires; -1: empty */
};

/* Empty, without memory; free drops what is waiting and leaves it so. */
void gate_outbox_init(struct gate_outbox *outbox);
void gate_outbox_free(struct gate_outbox *outbox);

/* Takes `take` when it returns 0, else leaves it. Where only the newest of its kind counts
 * (gate_pace_newest) it gets the place of the one before, which is gone. GATE_EBUSY when full,
 * GATE_EMEMORY. */
GATE_MUST_CHECK int gate_outbox_push(struct gate_outbox *outbox, struct gate_buf *take,
                                     const struct gate_errand *errand, int64_t expires_ms);

/* What the nth command is, from 0, the oldest; `nth` is smaller than `count`. Valid until the next
 * change. */
const struct gate_errand *gate_outbox_errand(const struct gate_outbox *outbox, size_t nth);

/* Moves the nth command into *out (initialised by the caller); those behind it move up. */
void gate_outbox_take(struct gate_outbox *outbox, size_t nth, struct gate_buf *out);

/* Drops the oldest command that has expired. False: there is none. */
bool gate_outbox_expire(struct gate_outbox *outbox, int64_t now_ms);

#endif

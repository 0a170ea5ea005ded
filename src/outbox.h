/* outbox.h - the user's encoded commands of one shard, first in, first out, with bounds.
 * Called by session.c. Lives as long as the shard: commands survive a resume. */
#ifndef MOONGATE_OUTBOX_H
#define MOONGATE_OUTBOX_H

#include "buf.h"
#include "moongate.h"

struct gate_outbox {
    struct gate_buf ring; /* of struct gate_outbox_entry; grows up to the limit */
    size_t first, count;  /* entries */
    size_t queued_bytes;
};

/* Empty, without memory; free drops what is waiting and leaves it so. */
void gate_outbox_init(struct gate_outbox *outbox);
void gate_outbox_free(struct gate_outbox *outbox);

/* Takes `take` when it returns 0, else leaves it. GATE_EBUSY when full, GATE_EMEMORY. */
GATE_MUST_CHECK int gate_outbox_push(struct gate_outbox *outbox, struct gate_buf *take,
                                     int64_t expires_ms);

/* Moves the oldest command into *out (initialised by the caller). False: empty. */
bool gate_outbox_pop(struct gate_outbox *outbox, struct gate_buf *out);

/* When the oldest expires; -1: empty. */
int64_t gate_outbox_expires(const struct gate_outbox *outbox);

#endif

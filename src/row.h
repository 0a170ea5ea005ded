/* row.h - things with an id, in ascending order of it: what a loop has of each shard.
 * Called by seat.c and board.c; whoever owns the row locks it where that is needed. */
#ifndef MOONGATE_ROW_H
#define MOONGATE_ROW_H

#include "moongate.h"

struct gate_row {
    void **items; /* each begins with an int, its id; all zero: empty */
    size_t count;
};

/* The item with that id, or NULL. */
void *gate_row_find(const struct gate_row *row, int id);

/* Puts `item` where its id belongs, which no other item has. GATE_EMEMORY: nothing has changed. */
GATE_MUST_CHECK int gate_row_add(struct gate_row *row, void *item);

/* Frees the row; the items are the caller's. */
void gate_row_free(struct gate_row *row);

#endif

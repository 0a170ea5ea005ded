/* board.h - the last known state of each shard, as the I/O thread puts it up and the other side
 * reads it. Owned by a loop; any thread may call what is in here but init and free. */
#ifndef MOONGATE_BOARD_H
#define MOONGATE_BOARD_H

#include <pthread.h>

#include "row.h"
#include "shard.h"

struct gate_snapshot {
    int shard_id;                   /* first, as its row wants it */
    uint32_t starting;              /* start commands on their way */
    const struct gate_codec *codec; /* of the start that was asked for last */
    struct gate_status status;
};

struct gate_board {
    pthread_mutex_t lock; /* of everything below */
    struct gate_row snapshots;
};

/* GATE_ESYSTEM; the board needs no free then. */
GATE_MUST_CHECK int gate_board_init(struct gate_board *board);
void gate_board_free(struct gate_board *board);

/* A start command is on its way: the shard has a snapshot from now on. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_board_expect(struct gate_board *board, int shard_id,
                                      const struct gate_codec *codec);
/* It has arrived, or failed. */
void gate_board_arrived(struct gate_board *board, int shard_id);

/* Puts up a state, of a shard that has a snapshot. */
void gate_board_put(struct gate_board *board, int shard_id, const struct gate_status *status);

/* The snapshot into *out: true, or false for an id that was never started. */
bool gate_board_read(struct gate_board *board, int shard_id, struct gate_snapshot *out);

#endif

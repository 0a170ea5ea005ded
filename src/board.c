/* board.c - see board.h. */
#include "board.h"

#include "buf.h"

int gate_board_init(struct gate_board *board) {
    board->snapshots = (struct gate_row){.items = NULL};
    return pthread_mutex_init(&board->lock, NULL) == 0 ? GATE_OK : GATE_ESYSTEM;
}

void gate_board_free(struct gate_board *board) {
    for (size_t i = 0; i < board->snapshots.count; i++) gate_allocate(board->snapshots.items[i], 0);
    gate_row_free(&board->snapshots);
    pthread_mutex_destroy(&board->lock);
}

/* With the lock held. */
static struct gate_snapshot *make_snapshot(struct gate_board *board, int shard_id) {
    struct gate_snapshot *snapshot = gate_row_find(&board->snapshots, shard_id);
    if (snapshot) return snapshot;
    snapshot = gate_allocate(NULL, sizeof *snapshot);
    if (!snapshot) return NULL;
    *snapshot = (struct gate_snapshot){
        .shard_id = shard_id,
        .status = {.state = GATE_STATE_IDLE, .seq = -1, .settled = true, .latency_ms = -1}};
    if (gate_row_add(&board->snapshots, snapshot) == GATE_OK) return snapshot;
    gate_allocate(snapshot, 0);
    return NULL;
}

int gate_board_expect(struct gate_board *board, int shard_id, const struct gate_codec *codec) {
    pthread_mutex_lock(&board->lock);
    struct gate_snapshot *snapshot = make_snapshot(board, shard_id);
    if (snapshot) {
        snapshot->starting++;
        snapshot->codec = codec;
    }
    pthread_mutex_unlock(&board->lock);
    return snapshot ? GATE_OK : GATE_EMEMORY;
}

void gate_board_arrived(struct gate_board *board, int shard_id) {
    pthread_mutex_lock(&board->lock);
    struct gate_snapshot *snapshot = gate_row_find(&board->snapshots, shard_id);
    if (snapshot) snapshot->starting--;
    pthread_mutex_unlock(&board->lock);
}

void gate_board_put(struct gate_board *board, int shard_id, const struct gate_status *status) {
    pthread_mutex_lock(&board->lock);
    struct gate_snapshot *snapshot = gate_row_find(&board->snapshots, shard_id);
    if (snapshot) snapshot->status = *status;
    pthread_mutex_unlock(&board->lock);
}

bool gate_board_read(struct gate_board *board, int shard_id, struct gate_snapshot *out) {
    pthread_mutex_lock(&board->lock);
    const struct gate_snapshot *snapshot = gate_row_find(&board->snapshots, shard_id);
    if (snapshot) *out = *snapshot;
    pthread_mutex_unlock(&board->lock);
    return snapshot != NULL;
}

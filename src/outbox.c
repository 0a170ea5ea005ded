/* outbox.c - see outbox.h. The ring lives in a gate_buf, so that memory has one owner; it grows by
 * doubling and is unrolled then. What leaves out of turn stands near the front, behind the few that
 * are held: those move up. */
#include "outbox.h"

#include <string.h>

#define NEVER (-1)

struct gate_outbox_entry {
    struct gate_buf bytes;
    struct gate_errand errand;
    int64_t expires_ms;
};

static size_t ring_capacity(const struct gate_outbox *outbox) {
    return outbox->ring.len / sizeof(struct gate_outbox_entry);
}

static struct gate_outbox_entry *entry_at(const struct gate_outbox *outbox, size_t nth) {
    struct gate_outbox_entry *entries = (struct gate_outbox_entry *)(void *)outbox->ring.data;
    return &entries[(outbox->first + nth) % ring_capacity(outbox)];
}

void gate_outbox_init(struct gate_outbox *outbox) {
    *outbox = (struct gate_outbox){.expires_ms = NEVER};
    gate_buf_init(&outbox->ring, 0, 0);
}

void gate_outbox_free(struct gate_outbox *outbox) {
    for (size_t i = 0; i < outbox->count; i++) {
        gate_buf_wipe(&entry_at(outbox, i)->bytes);
        gate_buf_free(&entry_at(outbox, i)->bytes);
    }
    gate_buf_free(&outbox->ring);
    gate_outbox_init(outbox);
}

static int grow(struct gate_outbox *outbox) {
    size_t capacity = ring_capacity(outbox);
    size_t wanted = capacity ? capacity * 2 : 8;
    struct gate_buf bigger;
    gate_buf_init(&bigger, 0, 0);
    int rc = gate_buf_reserve(&bigger, wanted * sizeof(struct gate_outbox_entry));
    if (rc < 0) return rc;
    bigger.len = wanted * sizeof(struct gate_outbox_entry);
    struct gate_outbox_entry *entries = (struct gate_outbox_entry *)(void *)bigger.data;
    for (size_t i = 0; i < outbox->count; i++) entries[i] = *entry_at(outbox, i);
    gate_buf_free(&outbox->ring);
    outbox->ring = bigger;
    outbox->first = 0;
    return GATE_OK;
}

/* What only counts when it is the newest, and waits already. NULL: nothing of the kind. */
static struct gate_outbox_entry *find_older(const struct gate_outbox *outbox, int op) {
    if (!gate_pace_newest(op)) return NULL;
    for (size_t i = 0; i < outbox->count; i++)
        if (entry_at(outbox, i)->errand.op == op) return entry_at(outbox, i);
    return NULL;
}

static void find_first_to_expire(struct gate_outbox *outbox) {
    outbox->expires_ms = NEVER;
    for (size_t i = 0; i < outbox->count; i++) {
        int64_t expires_ms = entry_at(outbox, i)->expires_ms;
        if (i == 0 || expires_ms < outbox->expires_ms) outbox->expires_ms = expires_ms;
    }
}

/* The place for one more command, or for one that replaces `older`. */
static int find_place(struct gate_outbox *outbox, size_t len, struct gate_outbox_entry **place) {
    struct gate_outbox_entry *older = *place;
    size_t freed = older ? older->bytes.len : 0;
    if (outbox->queued_bytes - freed + len > GATE_OUTBOX_BYTES_MAX) return GATE_EBUSY;
    if (older) {
        outbox->queued_bytes -= freed;
        gate_buf_free(&older->bytes);
        return GATE_OK;
    }
    if (outbox->count >= GATE_OUTBOX_COMMANDS_MAX) return GATE_EBUSY;
    if (outbox->count == ring_capacity(outbox)) {
        int rc = grow(outbox);
        if (rc < 0) return rc;
    }
    *place = entry_at(outbox, outbox->count++);
    return GATE_OK;
}

int gate_outbox_push(struct gate_outbox *outbox, struct gate_buf *take,
                     const struct gate_errand *errand, int64_t expires_ms) {
    struct gate_outbox_entry *entry = find_older(outbox, errand->op);
    int rc = find_place(outbox, take->len, &entry);
    if (rc < 0) return rc;
    gate_buf_init(&entry->bytes, take->headroom_bytes, take->len_max);
    gate_buf_move(&entry->bytes, take);
    entry->errand = *errand;
    entry->expires_ms = expires_ms;
    outbox->queued_bytes += entry->bytes.len;
    find_first_to_expire(outbox);
    return GATE_OK;
}

const struct gate_errand *gate_outbox_errand(const struct gate_outbox *outbox, size_t nth) {
    return &entry_at(outbox, nth)->errand;
}

void gate_outbox_take(struct gate_outbox *outbox, size_t nth, struct gate_buf *out) {
    gate_buf_move(out, &entry_at(outbox, nth)->bytes);
    outbox->queued_bytes -= out->len;
    for (size_t i = nth; i > 0; i--) *entry_at(outbox, i) = *entry_at(outbox, i - 1);
    outbox->count--;
    outbox->first = outbox->count ? (outbox->first + 1) % ring_capacity(outbox) : 0;
    find_first_to_expire(outbox);
}

bool gate_outbox_expire(struct gate_outbox *outbox, int64_t now_ms) {
    struct gate_buf dropped;
    size_t nth = 0;
    if (outbox->count == 0 || outbox->expires_ms > now_ms) return false;
    while (entry_at(outbox, nth)->expires_ms > now_ms) nth++;
    gate_buf_init(&dropped, 0, 0);
    gate_outbox_take(outbox, nth, &dropped);
    gate_buf_free(&dropped);
    return true;
}

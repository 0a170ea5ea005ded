/* outbox.c - see outbox.h. The ring lives in a gate_buf, so that memory has one owner; it grows by
 * doubling and is unrolled then. */
#include "outbox.h"

#include <string.h>

struct gate_outbox_entry {
    struct gate_buf bytes;
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
    *outbox = (struct gate_outbox){0};
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

int gate_outbox_push(struct gate_outbox *outbox, struct gate_buf *take, int64_t expires_ms) {
    if (outbox->count >= GATE_OUTBOX_COMMANDS_MAX) return GATE_EBUSY;
    if (outbox->queued_bytes + take->len > GATE_OUTBOX_BYTES_MAX) return GATE_EBUSY;
    if (outbox->count == ring_capacity(outbox)) {
        int rc = grow(outbox);
        if (rc < 0) return rc;
    }
    struct gate_outbox_entry *entry = entry_at(outbox, outbox->count);
    gate_buf_init(&entry->bytes, take->headroom_bytes, take->len_max);
    gate_buf_move(&entry->bytes, take);
    entry->expires_ms = expires_ms;
    outbox->count++;
    outbox->queued_bytes += entry->bytes.len;
    return GATE_OK;
}

bool gate_outbox_pop(struct gate_outbox *outbox, struct gate_buf *out) {
    if (outbox->count == 0) return false;
    gate_buf_move(out, &entry_at(outbox, 0)->bytes);
    outbox->queued_bytes -= out->len;
    outbox->count--;
    outbox->first = outbox->count ? (outbox->first + 1) % ring_capacity(outbox) : 0;
    return true;
}

int64_t gate_outbox_expires(const struct gate_outbox *outbox) {
    return outbox->count ? entry_at(outbox, 0)->expires_ms : -1;
}

/* sandbox_agenda.c - see sandbox_agenda.h. A binary heap; each appointment knows its place, so that
 * moving one costs the logarithm of how many there are. */
#include "sandbox_agenda.h"

static size_t count_all(const struct gate_agenda *agenda) {
    return agenda->heap.len / sizeof(struct gate_appointment *);
}

/* Places are counted from 1. */
static struct gate_appointment **at(const struct gate_agenda *agenda, size_t place) {
    return (struct gate_appointment **)(void *)agenda->heap.data + place - 1;
}

static void put(struct gate_agenda *agenda, size_t place, struct gate_appointment *one) {
    *at(agenda, place) = one;
    one->place = place;
}

static void rise(struct gate_agenda *agenda, struct gate_appointment *one) {
    size_t place = one->place;
    while (place > 1 && (*at(agenda, place / 2))->due_ms > one->due_ms) {
        put(agenda, place, *at(agenda, place / 2));
        place /= 2;
    }
    put(agenda, place, one);
}

static void sink(struct gate_agenda *agenda, struct gate_appointment *one) {
    size_t place = one->place, count = count_all(agenda);
    for (;;) {
        size_t child = place * 2;
        if (child > count) break;
        if (child < count && (*at(agenda, child + 1))->due_ms < (*at(agenda, child))->due_ms)
            child++;
        if ((*at(agenda, child))->due_ms >= one->due_ms) break;
        put(agenda, place, *at(agenda, child));
        place = child;
    }
    put(agenda, place, one);
}

/* The last one takes its place. */
void gate_agenda_cancel(struct gate_agenda *agenda, struct gate_appointment *one) {
    if (!one->place) return;
    struct gate_appointment *last = *at(agenda, count_all(agenda));
    agenda->heap.len -= sizeof(struct gate_appointment *);
    if (last != one) {
        put(agenda, one->place, last);
        rise(agenda, last);
        sink(agenda, last);
    }
    one->place = 0;
}

int gate_agenda_set(struct gate_agenda *agenda, struct gate_appointment *one, int64_t due_ms) {
    if (due_ms == GATE_NEVER_MS) {
        gate_agenda_cancel(agenda, one);
        return GATE_OK;
    }
    one->due_ms = due_ms;
    if (!one->place) {
        struct gate_span bytes = {(const char *)&one, sizeof(one)};
        if (gate_buf_append(&agenda->heap, bytes) < 0) return GATE_EMEMORY;
        one->place = count_all(agenda);
    }
    rise(agenda, one);
    sink(agenda, one);
    return GATE_OK;
}

struct gate_appointment *gate_agenda_first(const struct gate_agenda *agenda) {
    return agenda->heap.len > 0 ? *at(agenda, 1) : NULL;
}

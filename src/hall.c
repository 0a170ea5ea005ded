/* hall.c - see hall.h. A line has no threads: its first may be anybody's. Each thread takes those
 * of its own, and whoever finds that another thread's could go wakes that thread. So all of them
 * keep the times at which somebody may go; but what was seen to be open for another is left to it,
 * as it has been told, and a thread that looked again at once would spin until the other one is
 * awake. */
#include "hall.h"

#include <stddef.h>
#include <string.h>

#define NEVER (-1)

struct coming {
    int shard_id;
    int64_t number; /* of its place in line */
};

static struct gate_visitor *of_slot(struct gate_slot *slot) {
    return (struct gate_visitor *)(void *)((char *)slot - offsetof(struct gate_visitor, slot));
}

static struct gate_visitor *of_guest(struct gate_guest *guest) {
    return (struct gate_visitor *)(void *)((char *)guest - offsetof(struct gate_visitor, guest));
}

int gate_hall_init(struct gate_hall *hall, int concurrency, uint32_t handshakes,
                   void (*wake)(void *thread)) {
    hall->wake = wake;
    hall->turns = 0;
    hall->hold_told = false;
    gate_buf_init(&hall->coming, 0, 0);
    gate_slots_init(&hall->slots, concurrency);
    gate_door_init(&hall->door, handshakes);
    return pthread_mutex_init(&hall->lock, NULL) == 0 ? GATE_OK : GATE_ESYSTEM;
}

void gate_hall_free(struct gate_hall *hall) {
    gate_buf_free(&hall->coming);
    pthread_mutex_destroy(&hall->lock);
}

void gate_visitor_init(struct gate_visitor *visitor, int shard_id, void *thread) {
    *visitor = (struct gate_visitor){.thread = thread};
    gate_slot_init(&visitor->slot, shard_id);
}

static void let_through(struct gate_hall *hall, struct gate_visitor *visitor, bool resumes,
                        int64_t now_ms) {
    gate_door_enter(&hall->door, &visitor->guest, resumes, now_ms);
    visitor->placed = true;
    visitor->waits = false;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

void gate_hall_resize(struct gate_hall *hall, int64_t now_ms, int concurrency) {
    pthread_mutex_lock(&hall->lock);
    gate_slots_resize(&hall->slots, now_ms, concurrency);
    pthread_mutex_unlock(&hall->lock);
}

int gate_hall_key(struct gate_hall *hall, int shard_id) {
    pthread_mutex_lock(&hall->lock);
    int key = shard_id % hall->slots.concurrency;
    pthread_mutex_unlock(&hall->lock);
    return key;
}

void gate_hall_ask(struct gate_hall *hall, struct gate_visitor *visitor) {
    pthread_mutex_lock(&hall->lock);
    gate_slots_ask(&hall->slots, &visitor->slot);
    pthread_mutex_unlock(&hall->lock);
}

void gate_hall_spent(struct gate_hall *hall, struct gate_visitor *visitor, int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    gate_slots_spent(&hall->slots, now_ms, visitor->slot.shard_id);
    pthread_mutex_unlock(&hall->lock);
}

void gate_hall_done(struct gate_hall *hall, struct gate_visitor *visitor, int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    gate_slots_leave(&hall->slots, &visitor->slot);
    gate_slots_done(&hall->slots, now_ms, visitor->slot.shard_id);
    pthread_mutex_unlock(&hall->lock);
}

static struct coming *list_coming(const struct gate_hall *hall, size_t *count) {
    *count = hall->coming.len / sizeof(struct coming);
    return (struct coming *)(void *)hall->coming.data;
}

/* Is a shard on its way that comes before the first in line? */
static bool is_awaited(const struct gate_hall *hall, int key) {
    size_t count;
    const struct coming *coming = list_coming(hall, &count);
    int64_t first = hall->slots.keys[key].first->number;
    for (size_t i = 0; i < count; i++)
        if (coming[i].shard_id % hall->slots.concurrency == key && coming[i].number < first)
            return true;
    return false;
}

/* As gate_slots_opens; who waits for somebody to come is told when that one has. */
static int64_t find_opening(const struct gate_hall *hall, int key) {
    int64_t opens_ms = gate_slots_opens(&hall->slots, key);
    return opens_ms != NEVER && is_awaited(hall, key) ? NEVER : opens_ms;
}

static bool is_open(const struct gate_hall *hall, int key, int64_t now_ms) {
    int64_t opens_ms = find_opening(hall, key);
    return opens_ms != NEVER && opens_ms <= now_ms;
}

/* Wakes the other threads whose shards may have their slots. Shards that follow each other are
 * mostly of one thread, which need not be told twice. */
static void call_others(struct gate_hall *hall, const void *thread, int64_t now_ms) {
    const void *told = thread;
    for (int key = 0; key < hall->slots.concurrency; key++) {
        if (!is_open(hall, key, now_ms)) continue;
        void *owner = of_slot(hall->slots.keys[key].first)->thread;
        if (owner != told && owner != thread) hall->wake(owner);
        told = owner;
    }
}

static struct gate_visitor *find_slot(struct gate_hall *hall, const void *thread, int64_t now_ms) {
    for (int key = 0; key < hall->slots.concurrency; key++)
        if (is_open(hall, key, now_ms) && of_slot(hall->slots.keys[key].first)->thread == thread)
            return of_slot(gate_slots_give(&hall->slots, now_ms, key));
    return NULL;
}

struct gate_visitor *gate_hall_next_slot(struct gate_hall *hall, void *thread, int64_t now_ms) {
    struct gate_visitor *visitor = NULL;
    pthread_mutex_lock(&hall->lock);
    if (gate_door_admits(&hall->door, false)) {
        visitor = find_slot(hall, thread, now_ms);
        if (!visitor) call_others(hall, thread, now_ms);
    }
    pthread_mutex_unlock(&hall->lock);
    return visitor;
}

bool gate_hall_admit(struct gate_hall *hall, struct gate_visitor *visitor, int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    bool admitted = gate_door_admits(&hall->door, false);
    if (admitted) let_through(hall, visitor, false, now_ms);
    pthread_mutex_unlock(&hall->lock);
    return admitted;
}

void gate_hall_put_back(struct gate_hall *hall, struct gate_visitor *visitor, int64_t until_ms) {
    pthread_mutex_lock(&hall->lock);
    gate_slots_put_back(&hall->slots, &visitor->slot, until_ms);
    pthread_mutex_unlock(&hall->lock);
}

/* ---- Starts ---------------------------------------------------------------------------------- */

int gate_hall_expect(struct gate_hall *hall, int shard_id) {
    pthread_mutex_lock(&hall->lock);
    struct coming coming = {shard_id, gate_slots_number(&hall->slots)};
    int rc = gate_buf_append(&hall->coming, (struct gate_span){(char *)&coming, sizeof coming});
    pthread_mutex_unlock(&hall->lock);
    return rc;
}

/* The first start of a shard is the first that comes. */
static struct coming *find_coming(const struct gate_hall *hall, int shard_id) {
    size_t count;
    struct coming *coming = list_coming(hall, &count);
    for (size_t i = 0; i < count; i++)
        if (coming[i].shard_id == shard_id) return &coming[i];
    return NULL;
}

void gate_hall_come(struct gate_hall *hall, struct gate_visitor *visitor) {
    pthread_mutex_lock(&hall->lock);
    const struct coming *coming = find_coming(hall, visitor->slot.shard_id);
    if (coming && !visitor->slot.queued) visitor->slot.number = coming->number;
    pthread_mutex_unlock(&hall->lock);
}

void gate_hall_came(struct gate_hall *hall, int shard_id, struct gate_visitor *visitor,
                    const void *thread, int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    struct coming *coming = find_coming(hall, shard_id);
    if (visitor && !visitor->slot.queued) visitor->slot.number = 0;
    if (coming) {
        size_t count;
        const struct coming *end = list_coming(hall, &count) + count;
        memmove(coming, coming + 1, (size_t)(end - coming - 1) * sizeof *coming);
        hall->coming.len -= sizeof *coming;
        call_others(hall, thread, now_ms);
    }
    pthread_mutex_unlock(&hall->lock);
}

/* ---- The door -------------------------------------------------------------------------------- */

void gate_hall_line_up(struct gate_hall *hall, struct gate_visitor *visitor) {
    pthread_mutex_lock(&hall->lock);
    gate_door_wait(&hall->door, &visitor->guest);
    visitor->placed = visitor->waits = true;
    pthread_mutex_unlock(&hall->lock);
}

bool gate_hall_enter_at_once(struct gate_hall *hall, struct gate_visitor *visitor, int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    bool admitted = gate_door_admits(&hall->door, true);
    if (admitted) let_through(hall, visitor, true, now_ms);
    pthread_mutex_unlock(&hall->lock);
    return admitted;
}

/* Whose the first in line is, when there is a place; NULL: nobody's. */
static void *find_caller(const struct gate_door *door) {
    bool may_go = door->first && gate_door_deadline(door, 0) == 0;
    return may_go ? of_guest(door->first)->thread : NULL;
}

struct gate_visitor *gate_hall_next_guest(struct gate_hall *hall, void *thread, int64_t now_ms) {
    struct gate_visitor *visitor = NULL;
    pthread_mutex_lock(&hall->lock);
    gate_door_look(&hall->door, now_ms);
    void *owner = find_caller(&hall->door);
    if (owner == thread)
        visitor = of_guest(gate_door_next(&hall->door));
    else if (owner)
        hall->wake(owner);
    if (visitor) let_through(hall, visitor, true, now_ms);
    pthread_mutex_unlock(&hall->lock);
    return visitor;
}

void gate_hall_enter(struct gate_hall *hall, struct gate_visitor *visitor, bool resumes,
                     int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    let_through(hall, visitor, resumes, now_ms);
    pthread_mutex_unlock(&hall->lock);
}

void gate_hall_leave(struct gate_hall *hall, struct gate_visitor *visitor, bool stays,
                     int64_t now_ms) {
    if (!visitor->placed || (stays && visitor->waits)) return;
    pthread_mutex_lock(&hall->lock);
    gate_door_leave(&hall->door, &visitor->guest);
    visitor->placed = visitor->waits = false;
    void *owner = find_caller(&hall->door);
    if (owner && owner != visitor->thread) hall->wake(owner);
    if (gate_door_admits(&hall->door, false)) call_others(hall, visitor->thread, now_ms);
    pthread_mutex_unlock(&hall->lock);
}

/* ---- Times and numbers ----------------------------------------------------------------------- */

static int64_t nearer(int64_t a_ms, int64_t b_ms) {
    if (a_ms < 0) return b_ms;
    return b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

static int64_t slots_deadline(struct gate_hall *hall, const void *thread, int64_t looked_ms,
                              int64_t now_ms) {
    int64_t deadline_ms = NEVER, look_ms = now_ms + GATE_DOOR_LOOK_MS;
    for (int key = 0; key < hall->slots.concurrency; key++) {
        int64_t opens_ms = find_opening(hall, key);
        if (opens_ms == NEVER) continue;
        bool own = of_slot(hall->slots.keys[key].first)->thread == thread;
        if (own || opens_ms > looked_ms) deadline_ms = nearer(deadline_ms, opens_ms);
    }
    /* Who has a slot but finds no place looks again when one may be free. */
    if (deadline_ms == NEVER || gate_door_admits(&hall->door, false)) return deadline_ms;
    return deadline_ms > look_ms ? deadline_ms : look_ms;
}

int64_t gate_hall_deadline(struct gate_hall *hall, const void *thread, int64_t looked_ms,
                           int64_t now_ms) {
    pthread_mutex_lock(&hall->lock);
    int64_t slots_ms = slots_deadline(hall, thread, looked_ms, now_ms);
    int64_t door_ms = gate_door_deadline(&hall->door, now_ms);
    void *owner = find_caller(&hall->door);
    if (owner && owner != thread) door_ms = now_ms + GATE_DOOR_LOOK_MS;
    pthread_mutex_unlock(&hall->lock);
    return nearer(slots_ms, door_ms);
}

int64_t gate_hall_turn_number(struct gate_hall *hall) {
    pthread_mutex_lock(&hall->lock);
    int64_t number = ++hall->turns;
    pthread_mutex_unlock(&hall->lock);
    return number;
}

bool gate_hall_tells_hold(struct gate_hall *hall, bool holds) {
    pthread_mutex_lock(&hall->lock);
    bool tells = holds && !hall->hold_told;
    hall->hold_told = holds;
    pthread_mutex_unlock(&hall->lock);
    return tells;
}

void gate_hall_crowd(struct gate_hall *hall, struct gate_crowd *out) {
    pthread_mutex_lock(&hall->lock);
    *out = hall->door.crowd;
    pthread_mutex_unlock(&hall->lock);
}

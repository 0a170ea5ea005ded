/* budget.c - see budget.h. */
#include "budget.h"

#define NEVER  (-1)
#define NOBODY (-1)

/* ---- Sends of one connection ---------------------------------------------------------------- */

void gate_budget_init(struct gate_budget *budget) {
    *budget = (struct gate_budget){.reserved = GATE_SENDS_RESERVED_MIN};
}

void gate_budget_reserve(struct gate_budget *budget, int64_t interval_ms) {
    int64_t beats = (GATE_SEND_WINDOW_MS + interval_ms - 1) / interval_ms + 3;
    if (beats < GATE_SENDS_RESERVED_MIN) beats = GATE_SENDS_RESERVED_MIN;
    if (beats > GATE_SENDS_RESERVED_MAX) beats = GATE_SENDS_RESERVED_MAX;
    budget->reserved = (uint32_t)beats;
}

static void forget_old(struct gate_budget *budget, int64_t now_ms) {
    while (budget->count && budget->sent_at_ms[budget->first] + GATE_SEND_WINDOW_MS <= now_ms) {
        budget->first = (budget->first + 1) % GATE_SENDS_MAX;
        budget->count--;
    }
}

int64_t gate_budget_when(struct gate_budget *budget, int64_t now_ms, bool urgent) {
    forget_old(budget, now_ms);
    uint32_t allowed = urgent ? GATE_SENDS_MAX : GATE_SENDS_MAX - budget->reserved;
    if (budget->count < allowed) return now_ms;
    /* A place is free once the sends that are too many have left the window. */
    uint32_t last_too_many = (budget->first + budget->count - allowed) % GATE_SENDS_MAX;
    return budget->sent_at_ms[last_too_many] + GATE_SEND_WINDOW_MS;
}

void gate_budget_spend(struct gate_budget *budget, int64_t now_ms) {
    forget_old(budget, now_ms);
    if (budget->count == GATE_SENDS_MAX) { /* a beat above the limit replaces the oldest */
        budget->first = (budget->first + 1) % GATE_SENDS_MAX;
        budget->count--;
    }
    budget->sent_at_ms[(budget->first + budget->count) % GATE_SENDS_MAX] = now_ms;
    budget->count++;
}

/* ---- Identify slots of a token --------------------------------------------------------------- */

static int clamp_concurrency(int concurrency) {
    if (concurrency < 1) return 1;
    return concurrency > GATE_CONCURRENCY_MAX ? GATE_CONCURRENCY_MAX : concurrency;
}

/* The others are not looked at, and cost no memory before they are. */
static void clear_keys(struct gate_slots *slots) {
    for (int i = 0; i < slots->concurrency; i++)
        slots->keys[i] = (struct gate_slot_key){.holder = NOBODY};
}

void gate_slots_init(struct gate_slots *slots, int concurrency) {
    slots->concurrency = clamp_concurrency(concurrency);
    slots->numbers = 0;
    clear_keys(slots);
}

void gate_slot_init(struct gate_slot *slot, int shard_id) {
    *slot = (struct gate_slot){.shard_id = shard_id};
}

static struct gate_slot_key *key_of(struct gate_slots *slots, int shard_id) {
    return &slots->keys[shard_id % slots->concurrency];
}

int64_t gate_slots_number(struct gate_slots *slots) {
    return ++slots->numbers;
}

/* Nearly always the last one. */
static struct gate_slot *find_before(const struct gate_slot_key *key, int64_t number) {
    struct gate_slot *before = NULL;
    if (key->last && key->last->number <= number) return key->last;
    for (struct gate_slot *at = key->first; at && at->number <= number; at = at->next) before = at;
    return before;
}

void gate_slots_ask(struct gate_slots *slots, struct gate_slot *slot) {
    if (slot->queued) return;
    struct gate_slot_key *key = key_of(slots, slot->shard_id);
    if (!slot->number) slot->number = gate_slots_number(slots);
    struct gate_slot *before = find_before(key, slot->number);
    struct gate_slot **at = before ? &before->next : &key->first;
    slot->next = *at;
    slot->queued = true;
    *at = slot;
    if (key->last == before) key->last = slot;
}

void gate_slots_leave(struct gate_slots *slots, struct gate_slot *slot) {
    if (!slot->queued) return;
    struct gate_slot_key *key = key_of(slots, slot->shard_id);
    struct gate_slot *before = NULL, *at = key->first;
    while (at && at != slot) {
        before = at;
        at = at->next;
    }
    if (!at) return;
    if (before)
        before->next = slot->next;
    else
        key->first = slot->next;
    if (key->last == slot) key->last = before;
    slot->next = NULL;
    slot->number = 0;
    slot->queued = false;
}

/* The window counts from the identify as it leaves, not from the grant; so does the shorter lease
 * for what is left to wait for. */
void gate_slots_spent(struct gate_slots *slots, int64_t now_ms, int shard_id) {
    struct gate_slot_key *key = key_of(slots, shard_id);
    key->free_at_ms = now_ms + GATE_IDENTIFY_WINDOW_MS;
    if (key->holder == shard_id) key->lease_ends_ms = now_ms + GATE_IDENTIFY_LEASE_MS;
}

void gate_slots_done(struct gate_slots *slots, int64_t now_ms, int shard_id) {
    (void)now_ms;
    struct gate_slot_key *key = key_of(slots, shard_id);
    if (key->holder == shard_id) key->holder = NOBODY;
}

static int64_t key_opens(const struct gate_slot_key *key) {
    if (key->holder == NOBODY) return key->free_at_ms;
    return key->lease_ends_ms > key->free_at_ms ? key->lease_ends_ms : key->free_at_ms;
}

int64_t gate_slots_opens(const struct gate_slots *slots, int key) {
    return slots->keys[key].first ? key_opens(&slots->keys[key]) : NEVER;
}

struct gate_slot *gate_slots_give(struct gate_slots *slots, int64_t now_ms, int key) {
    struct gate_slot *slot = slots->keys[key].first;
    gate_slots_leave(slots, slot);
    slots->keys[key].holder = slot->shard_id;
    slots->keys[key].lease_ends_ms = now_ms + GATE_SLOT_LEASE_MS;
    return slot;
}

struct gate_slot *gate_slots_next(struct gate_slots *slots, int64_t now_ms) {
    for (int key = 0; key < slots->concurrency; key++) {
        int64_t opens_ms = gate_slots_opens(slots, key);
        if (opens_ms != NEVER && opens_ms <= now_ms) return gate_slots_give(slots, now_ms, key);
    }
    return NULL;
}

/* Without a number it is ahead of all that have one. */
void gate_slots_put_back(struct gate_slots *slots, struct gate_slot *slot, int64_t until_ms) {
    struct gate_slot_key *key = key_of(slots, slot->shard_id);
    key->holder = NOBODY;
    if (key->free_at_ms < until_ms) key->free_at_ms = until_ms;
    slot->next = key->first;
    slot->queued = true;
    key->first = slot;
    if (!key->last) key->last = slot;
}

int64_t gate_slots_deadline(const struct gate_slots *slots, int64_t now_ms) {
    int64_t deadline_ms = NEVER;
    for (int i = 0; i < slots->concurrency; i++) {
        const struct gate_slot_key *key = &slots->keys[i];
        if (!key->first) continue;
        int64_t opens_ms = key_opens(key) > now_ms ? key_opens(key) : now_ms;
        if (deadline_ms == NEVER || opens_ms < deadline_ms) deadline_ms = opens_ms;
    }
    return deadline_ms;
}

/* ---- A changed concurrency ------------------------------------------------------------------- */

/* Puts `slot` into `list` by shard id. */
static struct gate_slot *insert_sorted(struct gate_slot *list, struct gate_slot *slot) {
    struct gate_slot **at = &list;
    while (*at && (*at)->shard_id < slot->shard_id) at = &(*at)->next;
    slot->next = *at;
    *at = slot;
    return list;
}

static struct gate_slot *take_all_waiting(struct gate_slots *slots) {
    struct gate_slot *all = NULL;
    for (int i = 0; i < slots->concurrency; i++) {
        struct gate_slot *slot = slots->keys[i].first;
        while (slot) {
            struct gate_slot *next = slot->next;
            slot->queued = false;
            slot->number = 0;
            all = insert_sorted(all, slot);
            slot = next;
        }
    }
    return all;
}

/* Two old keys may meet in one new key: the stricter window and the longer lease survive. */
static void carry_key(struct gate_slots *slots, const struct gate_slot_key *old, int nth) {
    int home = old->holder == NOBODY ? nth : old->holder;
    struct gate_slot_key *key = key_of(slots, home);
    if (old->free_at_ms > key->free_at_ms) key->free_at_ms = old->free_at_ms;
    if (old->holder == NOBODY) return;
    if (key->holder != NOBODY && key->lease_ends_ms >= old->lease_ends_ms) return;
    key->holder = old->holder;
    key->lease_ends_ms = old->lease_ends_ms;
}

void gate_slots_resize(struct gate_slots *slots, int64_t now_ms, int concurrency) {
    (void)now_ms;
    struct gate_slot *waiting = take_all_waiting(slots);
    struct gate_slots old = *slots;
    gate_slots_init(slots, concurrency);
    slots->numbers = old.numbers;
    for (int i = 0; i < old.concurrency; i++) carry_key(slots, &old.keys[i], i);
    while (waiting) {
        struct gate_slot *next = waiting->next;
        gate_slots_ask(slots, waiting);
        waiting = next;
    }
}

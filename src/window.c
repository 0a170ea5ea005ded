/* window.c - see window.h. One entry a token, which outlives its engines: when one follows another,
 * the window of the first one's last Identify still counts, and the day of all of them. */
#include "window.h"

#include <pthread.h>
#include <string.h>

#include "buf.h"
#include "url.h"

#define NEVER (-1)

struct key {
    const void *owner; /* NULL: nobody holds it */
    int shard_id;      /* of the holder */
    int64_t lease_ends_ms;
    int64_t free_at_ms; /* end of the window of the last Identify */
    bool promised;      /* an Identify, which has not left yet */
};

struct entry {
    struct entry *next;
    uint64_t token;
    struct gate_quota quota;
    struct key keys[GATE_CONCURRENCY_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries; /* under the lock */

static uint64_t hash_more(uint64_t hash, struct gate_span bytes) {
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (unsigned char)bytes.data[i]) * 1099511628211u;
    return hash;
}

/* However the URL is written, its host and port are what counts. */
uint64_t gate_window_token(struct gate_span token, struct gate_span url) {
    struct gate_url parts;
    const char *fault;
    uint64_t hash = hash_more(14695981039346656037u, token); /* FNV-1a */
    if (gate_url_parse(url, &parts, &fault) < 0) return hash;
    return hash_more(hash, (struct gate_span){parts.authority, strlen(parts.authority)});
}

/* With the lock held. NULL: nothing is known of this token. */
static struct entry *find_entry(uint64_t token) {
    struct entry *entry = entries;
    while (entry && entry->token != token) entry = entry->next;
    return entry;
}

static struct key *find_key(const struct gate_claim *claim) {
    struct entry *entry = find_entry(claim->token);
    return entry ? &entry->keys[claim->key] : NULL;
}

static bool is_idle(struct entry *entry, int64_t now_ms) {
    if (gate_quota_used(&entry->quota, now_ms) > 0) return false;
    if (entry->quota.told_until_ms > now_ms) return false;
    for (int i = 0; i < GATE_CONCURRENCY_MAX; i++)
        if (entry->keys[i].owner || entry->keys[i].free_at_ms > now_ms) return false;
    return true;
}

/* With the lock held: drops the entries that say nothing any more. */
static void sweep(int64_t now_ms) {
    struct entry **at = &entries;
    while (*at) {
        struct entry *entry = *at;
        if (!is_idle(entry, now_ms)) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        gate_allocate(entry, 0);
    }
}

/* With the lock held. NULL: no memory. */
static struct entry *make_entry(uint64_t token, int64_t now_ms) {
    struct entry *entry = find_entry(token);
    if (entry) return entry;
    sweep(now_ms);
    entry = gate_allocate(NULL, sizeof *entry);
    if (!entry) return NULL;
    *entry = (struct entry){.next = entries, .token = token};
    gate_quota_init(&entry->quota);
    entries = entry;
    return entry;
}

static bool is_holder(const struct key *key, const struct gate_claim *claim) {
    return key->owner == claim->owner && key->shard_id == claim->shard_id;
}

/* An owner has one shard at a key at a time, which it sees to itself. */
static int64_t take_key(struct key *key, const struct gate_claim *claim, int64_t now_ms) {
    bool held = key->owner && key->owner != claim->owner && key->lease_ends_ms > now_ms;
    if (held) return now_ms + GATE_WINDOW_LOOK_MS;
    if (key->free_at_ms > now_ms) return key->free_at_ms;
    key->owner = claim->owner;
    key->shard_id = claim->shard_id;
    key->lease_ends_ms = now_ms + GATE_SLOT_LEASE_MS;
    key->promised = true;
    return 0;
}

/* Identifies that may leave any moment, of keys other than `mine`. */
static int64_t count_promises(const struct entry *entry, const struct key *mine, int64_t now_ms) {
    int64_t count = 0;
    for (int i = 0; i < GATE_CONCURRENCY_MAX; i++) {
        const struct key *key = &entry->keys[i];
        if (key != mine && key->owner && key->promised && key->lease_ends_ms > now_ms) count++;
    }
    return count;
}

static struct gate_permit permit(struct entry *entry, const struct gate_claim *claim,
                                 int64_t now_ms) {
    struct key *key = &entry->keys[claim->key];
    int64_t left = gate_quota_left(&entry->quota, now_ms, claim->reserve);
    struct gate_permit permit = {.again_ms = now_ms + GATE_WINDOW_LOOK_MS, .hold_ms = NEVER};
    if (left == 0) {
        permit.hold_ms = gate_quota_when(&entry->quota, now_ms, claim->reserve);
        permit.again_ms = now_ms + GATE_HOLD_LOOK_MS;
        if (permit.hold_ms < permit.again_ms) permit.again_ms = permit.hold_ms;
    } else if (count_promises(entry, key, now_ms) < left) {
        permit.again_ms = take_key(key, claim, now_ms);
    }
    return permit;
}

struct gate_permit gate_window_claim(const struct gate_claim *claim, int64_t now_ms) {
    struct gate_permit none = {.again_ms = now_ms + GATE_WINDOW_LOOK_MS, .hold_ms = NEVER};
    pthread_mutex_lock(&lock);
    struct entry *entry = make_entry(claim->token, now_ms);
    struct gate_permit given = entry ? permit(entry, claim, now_ms) : none;
    pthread_mutex_unlock(&lock);
    return given;
}

void gate_window_spent(const struct gate_claim *claim, int64_t now_ms) {
    pthread_mutex_lock(&lock);
    struct entry *entry = find_entry(claim->token);
    struct key *key = find_key(claim);
    if (entry) gate_quota_spend(&entry->quota, now_ms);
    if (key) key->free_at_ms = now_ms + GATE_IDENTIFY_WINDOW_MS;
    if (key && is_holder(key, claim)) {
        key->lease_ends_ms = now_ms + GATE_IDENTIFY_LEASE_MS;
        key->promised = false;
    }
    pthread_mutex_unlock(&lock);
}

void gate_window_done(const struct gate_claim *claim) {
    pthread_mutex_lock(&lock);
    struct key *key = find_key(claim);
    if (key && is_holder(key, claim)) key->owner = NULL;
    pthread_mutex_unlock(&lock);
}

void gate_window_leave(const void *owner, int64_t now_ms) {
    pthread_mutex_lock(&lock);
    for (struct entry *entry = entries; entry; entry = entry->next)
        for (int i = 0; i < GATE_CONCURRENCY_MAX; i++)
            if (entry->keys[i].owner == owner) entry->keys[i].owner = NULL;
    sweep(now_ms);
    pthread_mutex_unlock(&lock);
}

void gate_window_quota(uint64_t token, int64_t now_ms, struct gate_quota *out) {
    pthread_mutex_lock(&lock);
    struct entry *entry = find_entry(token);
    gate_quota_init(out);
    if (entry) *out = entry->quota;
    pthread_mutex_unlock(&lock);
    (void)gate_quota_used(out, now_ms);
}

int gate_window_learn(uint64_t token, int64_t now_ms, const struct gate_quota_told *told) {
    pthread_mutex_lock(&lock);
    struct entry *entry = make_entry(token, now_ms);
    if (entry) gate_quota_learn(&entry->quota, now_ms, told);
    pthread_mutex_unlock(&lock);
    return entry ? GATE_OK : GATE_EMEMORY;
}

static int restore(struct entry *entry, int64_t now_ms, const struct gate_quota *kept) {
    if (!entry) return GATE_EMEMORY;
    if (entry->quota.known || entry->quota.spent > 0) return GATE_EUSAGE;
    entry->quota = *kept;
    entry->quota.known = true;
    (void)gate_quota_used(&entry->quota, now_ms);
    return GATE_OK;
}

int gate_window_restore(uint64_t token, int64_t now_ms, const struct gate_quota *kept) {
    pthread_mutex_lock(&lock);
    int rc = restore(make_entry(token, now_ms), now_ms, kept);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* The entries are left to the parent's memory: a thread may have been changing them. */
void gate_window_forget(void) {
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh;
    entries = NULL;
}

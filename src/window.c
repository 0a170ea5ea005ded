/* window.c - see window.h. One entry a token, which outlives its engines: when one follows another,
 * the window of the first one's last Identify still counts. */
#include "window.h"

#include <pthread.h>
#include <string.h>

#include "buf.h"
#include "url.h"

struct key {
    const void *owner; /* NULL: nobody holds it */
    int shard_id;      /* of the holder */
    int64_t lease_ends_ms;
    int64_t free_at_ms; /* end of the window of the last Identify */
};

struct entry {
    struct entry *next;
    uint64_t token;
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

/* With the lock held. NULL: nobody has claimed anything of this token. */
static struct key *find_key(const struct gate_claim *claim) {
    struct entry *entry = entries;
    while (entry && entry->token != claim->token) entry = entry->next;
    return entry ? &entry->keys[claim->key] : NULL;
}

static bool is_idle(const struct entry *entry, int64_t now_ms) {
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
static struct key *make_key(const struct gate_claim *claim, int64_t now_ms) {
    struct key *key = find_key(claim);
    if (key) return key;
    sweep(now_ms);
    struct entry *entry = gate_allocate(NULL, sizeof *entry);
    if (!entry) return NULL;
    *entry = (struct entry){.next = entries, .token = claim->token};
    entries = entry;
    return &entry->keys[claim->key];
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
    return 0;
}

int64_t gate_window_claim(const struct gate_claim *claim, int64_t now_ms) {
    pthread_mutex_lock(&lock);
    struct key *key = make_key(claim, now_ms);
    int64_t again_ms = key ? take_key(key, claim, now_ms) : now_ms + GATE_WINDOW_LOOK_MS;
    pthread_mutex_unlock(&lock);
    return again_ms;
}

void gate_window_spent(const struct gate_claim *claim, int64_t now_ms) {
    pthread_mutex_lock(&lock);
    struct key *key = find_key(claim);
    if (key) key->free_at_ms = now_ms + GATE_IDENTIFY_WINDOW_MS;
    if (key && is_holder(key, claim)) key->lease_ends_ms = now_ms + GATE_IDENTIFY_LEASE_MS;
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

/* The entries are left to the parent's memory: a thread may have been changing them. */
void gate_window_forget(void) {
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh;
    entries = NULL;
}

/* census.c - see census.h. A row is complete before its number is made known, and is never taken
 * back: whoever sees the number sees the name. */
#include "census.h"

#include <string.h>

_Static_assert(GATE_CENSUS_SLOTS >= 2 * GATE_CENSUS_NAMES_MAX, "there is always a free slot");

#define END_BYTES 8
#define MIX_BACK  0x9e3779b97f4a7c15u /* odd, so that nothing is lost */
#define MIX_BOTH  0xff51afd7ed558ccdu

/* Each event comes by here twice. What names have at their two ends tells them apart, and takes no
 * longer for long ones. */
uint32_t gate_census_hash(struct gate_span name) {
    uint64_t front = 0, back = 0;
    if (name.len >= END_BYTES) {
        memcpy(&front, name.data, END_BYTES);
        memcpy(&back, name.data + name.len - END_BYTES, END_BYTES);
    } else {
        for (size_t i = 0; i < name.len; i++) front = front << 8 | (unsigned char)name.data[i];
    }
    return (uint32_t)((front ^ back * MIX_BACK ^ name.len) * MIX_BOTH >> 32);
}

void gate_census_init(struct gate_census *census) {
    memset(census->slots, 0, sizeof census->slots);
    atomic_init(&census->rows, 0);
}

static uint32_t add_row(struct gate_census *census, struct gate_span name) {
    uint32_t at = atomic_load_explicit(&census->rows, memory_order_relaxed);
    struct gate_census_row *row = &census->row[at];
    if (name.len) memcpy(row->name, name.data, name.len);
    row->name[name.len] = '\0';
    atomic_init(&row->heard, 0);
    atomic_init(&row->skipped, 0);
    atomic_store_explicit(&census->rows, at + 1, memory_order_release);
    return at;
}

static bool is_row(const struct gate_census_row *row, struct gate_span name) {
    return strncmp(row->name, name.data, name.len) == 0 && row->name[name.len] == '\0';
}

/* The last row is for every name that finds no row of its own. */
static struct gate_census_row *find_row(struct gate_census *census, struct gate_span name) {
    static const struct gate_span others = {"", 0};
    size_t mask = GATE_CENSUS_SLOTS - 1;
    if (name.len == 0 || name.len > GATE_NAME_BYTES_MAX) name = others;
    size_t at = gate_census_hash(name) & mask;
    while (census->slots[at] && !is_row(&census->row[census->slots[at] - 1], name))
        at = (at + 1) & mask;
    if (!census->slots[at]) {
        uint32_t rows = atomic_load_explicit(&census->rows, memory_order_relaxed);
        if (rows >= GATE_CENSUS_NAMES_MAX - 1 && name.len) return find_row(census, others);
        census->slots[at] = (uint16_t)(add_row(census, name) + 1);
    }
    return &census->row[census->slots[at] - 1];
}

/* Only one thread counts, so nothing comes between reading and writing. */
void gate_census_count(struct gate_census *census, struct gate_span name, bool heard) {
    struct gate_census_row *row = find_row(census, name);
    atomic_uint_fast64_t *count = heard ? &row->heard : &row->skipped;
    uint64_t before = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, before + 1, memory_order_relaxed);
}

bool gate_census_read(struct gate_census *census, uint32_t at, struct gate_census_entry *out) {
    if (at >= atomic_load_explicit(&census->rows, memory_order_acquire)) return false;
    struct gate_census_row *row = &census->row[at];
    *out = (struct gate_census_entry){
        .name = {row->name, strlen(row->name)},
        .heard = atomic_load_explicit(&row->heard, memory_order_relaxed),
        .skipped = atomic_load_explicit(&row->skipped, memory_order_relaxed)};
    return true;
}

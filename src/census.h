/* census.h - how many dispatches there were of each name, heard and skipped.
 * One thread counts, the loop's; any thread may read meanwhile, and waits for nobody. */
#ifndef MOONGATE_CENSUS_H
#define MOONGATE_CENSUS_H

#include <stdatomic.h>

#include "moongate.h"

#define GATE_CENSUS_SLOTS 512 /* a power of two, above twice the names */

struct gate_census_row {
    char name[GATE_NAME_BYTES_MAX + 1]; /* written once, before the row is counted in `rows` */
    atomic_uint_fast64_t heard, skipped;
};

struct gate_census {
    atomic_uint rows;                  /* of those below; names beyond them share the last, "" */
    uint16_t slots[GATE_CENSUS_SLOTS]; /* of the thread that counts: a row's number plus 1 */
    struct gate_census_row row[GATE_CENSUS_NAMES_MAX];
};

struct gate_census_entry {
    struct gate_span name; /* lives as long as the census; empty: every name beyond the limit */
    uint64_t heard, skipped;
};

/* Where a walk through several censuses is; all zero to begin with. */
struct gate_census_walk {
    size_t census;
    uint32_t row;
};

/* Of a name, for tables of them; the same in one process only. */
uint32_t gate_census_hash(struct gate_span name);

/* Nobody yet. No other thread may look meanwhile. */
void gate_census_init(struct gate_census *census);

/* Counts one. A name over GATE_NAME_BYTES_MAX is counted with those beyond the limit. */
void gate_census_count(struct gate_census *census, struct gate_span name, bool heard);

/* The row with this number, from 0: true, or false: there are no more. */
bool gate_census_read(struct gate_census *census, uint32_t at, struct gate_census_entry *out);

#endif

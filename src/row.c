/* row.c - see row.h. */
#include "row.h"

#include <string.h>

#include "buf.h"

static int id_of(const void *item) {
    return *(const int *)item;
}

/* Where `id` stands or belongs. */
static size_t find_place(const struct gate_row *row, int id) {
    size_t low = 0, high = row->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_of(row->items[middle]) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void *gate_row_find(const struct gate_row *row, int id) {
    size_t at = find_place(row, id);
    return at < row->count && id_of(row->items[at]) == id ? row->items[at] : NULL;
}

int gate_row_add(struct gate_row *row, void *item) {
    size_t at = find_place(row, id_of(item));
    void **grown = gate_allocate(row->items, (row->count + 1) * sizeof *grown);
    if (!grown) return GATE_EMEMORY;
    memmove(grown + at + 1, grown + at, (row->count - at) * sizeof *grown);
    grown[at] = item;
    row->items = grown;
    row->count++;
    return GATE_OK;
}

void gate_row_free(struct gate_row *row) {
    gate_allocate(row->items, 0);
    *row = (struct gate_row){.items = NULL};
}

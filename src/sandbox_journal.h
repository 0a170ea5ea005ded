/* sandbox_journal.h - bounded lists of what happened: packets received, requests, log lines.
 * Called by the sandbox_*.c files under the lock. An entry is a JSON object, made once. */
#ifndef MOONGATE_SANDBOX_JOURNAL_H
#define MOONGATE_SANDBOX_JOURNAL_H

#include "buf.h"
#include "moongate.h"

struct gate_note;

#define GATE_JOURNAL_TAGS 64 /* tags below are counted as they come; opcodes are */

struct gate_journal {
    struct gate_note *first, *last;
    size_t count, bytes;
    size_t count_max, bytes_max;
    uint64_t lost;               /* entries that had to go */
    uint64_t total;              /* entries there ever were; the last one has this number */
    int tags[GATE_JOURNAL_TAGS]; /* how many of each are kept */
};

/* Copies `json` to the end; the oldest entries make room. Without memory the entry itself is lost
 * and counted. */
void gate_journal_add(struct gate_journal *journal, int tag, struct gate_span json);

/* Appends the entries with that tag (GATE_TAG_ALL: all) to a list: commas between, no brackets. */
GATE_MUST_CHECK int gate_journal_list(const struct gate_journal *journal, int tag,
                                      struct gate_buf *out);

/* The same of those whose numbers are greater than `after`. */
GATE_MUST_CHECK int gate_journal_list_after(const struct gate_journal *journal, uint64_t after,
                                            struct gate_buf *out);

/* How many entries have that tag. */
int gate_journal_count(const struct gate_journal *journal, int tag);

/* Forgets all entries and the count of lost ones. */
void gate_journal_clear(struct gate_journal *journal);

#endif

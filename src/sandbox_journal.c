/* sandbox_journal.c - see sandbox_journal.h. */
#include "sandbox_journal.h"

#include <string.h>

#include "sandbox.h"

struct gate_note {
    struct gate_note *next, *previous;
    int tag;
    size_t len;
    char json[];
};

static size_t size_of(const struct gate_note *note) {
    return sizeof *note + note->len;
}

static bool has_counter(int tag) {
    return tag >= 0 && tag < GATE_JOURNAL_TAGS;
}

static void remove_first(struct gate_journal *journal) {
    struct gate_note *note = journal->first;
    journal->first = note->next;
    if (journal->first)
        journal->first->previous = NULL;
    else
        journal->last = NULL;
    if (has_counter(note->tag)) journal->tags[note->tag]--;
    journal->count--;
    journal->bytes -= size_of(note);
    gate_allocate(note, 0);
}

void gate_journal_add(struct gate_journal *journal, int tag, struct gate_span json) {
    struct gate_note *note = gate_allocate(NULL, sizeof *note + json.len);
    journal->total++;
    if (!note) {
        journal->lost++;
        return;
    }
    note->next = NULL;
    note->previous = journal->last;
    note->tag = tag;
    note->len = json.len;
    if (json.len > 0) memcpy(note->json, json.data, json.len);
    if (journal->last)
        journal->last->next = note;
    else
        journal->first = note;
    journal->last = note;
    if (has_counter(tag)) journal->tags[tag]++;
    journal->count++;
    journal->bytes += size_of(note);
    while (journal->count > journal->count_max || journal->bytes > journal->bytes_max) {
        if (!journal->first) break;
        remove_first(journal);
        journal->lost++;
    }
}

static bool is_wanted(const struct gate_note *note, int tag) {
    return tag == GATE_TAG_ALL || note->tag == tag;
}

int gate_journal_list(const struct gate_journal *journal, int tag, struct gate_buf *out) {
    int rc = GATE_OK;
    for (const struct gate_note *note = journal->first; note && rc == GATE_OK; note = note->next) {
        if (!is_wanted(note, tag)) continue;
        if (out->len > 0 && out->data[out->len - 1] == '}') rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK) rc = gate_buf_append(out, (struct gate_span){note->json, note->len});
    }
    return rc;
}

int gate_journal_list_after(const struct gate_journal *journal, uint64_t after,
                            struct gate_buf *out) {
    const struct gate_note *note = journal->last;
    uint64_t wanted = journal->total > after ? journal->total - after : 0;
    int rc = GATE_OK;
    if (wanted == 0) return rc;
    for (; note && note->previous && wanted > 1; wanted--) note = note->previous;
    for (; note && rc == GATE_OK; note = note->next) {
        if (out->len > 0 && out->data[out->len - 1] == '}') rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK) rc = gate_buf_append(out, (struct gate_span){note->json, note->len});
    }
    return rc;
}

int gate_journal_count(const struct gate_journal *journal, int tag) {
    int count = 0;
    if (tag == GATE_TAG_ALL) return (int)journal->count;
    if (has_counter(tag)) return journal->tags[tag];
    for (const struct gate_note *note = journal->first; note; note = note->next)
        if (is_wanted(note, tag)) count++;
    return count;
}

void gate_journal_clear(struct gate_journal *journal) {
    while (journal->first) remove_first(journal);
    journal->lost = 0;
}

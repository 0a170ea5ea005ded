/* sandbox_archive.c - see sandbox_archive.h. */
#include "sandbox_archive.h"

#include <string.h>

#include "sandbox_form.h"
#include "sandbox_json.h"

static void free_message(struct gate_message *message) {
    gate_buf_free(&message->text);
    gate_allocate(message, 0);
}

static struct gate_message *make_message(struct gate_place place, struct gate_span data) {
    struct gate_message *message = gate_allocate(NULL, sizeof *message);
    if (!message) return NULL;
    *message = (struct gate_message){.place = place};
    message->id = gate_json_id(gate_json_find(data, "id"));
    gate_buf_init(&message->text, 0, 0);
    if (gate_buf_append(&message->text, data) == GATE_OK) return message;
    free_message(message);
    return NULL;
}

void gate_archive_keep(struct gate_archive *archive, struct gate_place place,
                       struct gate_span data) {
    if (data.len > GATE_ARCHIVED_BYTES_MAX || !gate_json_is_object(data)) return;
    struct gate_message *message = make_message(place, data);
    if (!message) return;
    gate_archive_drop(archive, gate_archive_find(archive, message->id)); /* told twice */
    struct gate_message **kept = &archive->messages[archive->used++ % GATE_ARCHIVED_MAX];
    if (*kept) free_message(*kept);
    *kept = message;
}

struct gate_message *gate_archive_find(const struct gate_archive *archive, uint64_t id) {
    for (size_t i = 0; i < GATE_ARCHIVED_MAX && id != 0; i++)
        if (archive->messages[i] && archive->messages[i]->id == id) return archive->messages[i];
    return NULL;
}

const struct gate_message *gate_archive_recent(const struct gate_archive *archive, size_t back) {
    if (back >= GATE_ARCHIVED_MAX || back >= archive->used) return NULL;
    return archive->messages[(archive->used - 1 - back) % GATE_ARCHIVED_MAX];
}

void gate_archive_drop(struct gate_archive *archive, const struct gate_message *message) {
    for (size_t i = 0; i < GATE_ARCHIVED_MAX && message; i++) {
        if (archive->messages[i] != message) continue;
        free_message(archive->messages[i]);
        archive->messages[i] = NULL;
        return;
    }
}

void gate_archive_clear(struct gate_archive *archive) {
    for (size_t i = 0; i < GATE_ARCHIVED_MAX; i++) {
        if (archive->messages[i]) free_message(archive->messages[i]);
        archive->messages[i] = NULL;
    }
}

int gate_message_change(struct gate_message *message, struct gate_span changes) {
    struct gate_buf whole;
    gate_buf_init(&whole, 0, 0);
    int rc = gate_json_merge(&whole, gate_buf_span(&message->text), changes);
    if (rc == GATE_OK) gate_buf_move(&message->text, &whole);
    gate_buf_free(&whole);
    return rc;
}

int gate_message_describe(struct gate_span data, struct gate_buf *out) {
    struct gate_span key, value;
    int rc = gate_buf_append_byte(out, '{');
    bool first = true;
    while (rc == GATE_OK && gate_json_next(&data, &key, &value)) {
        bool of_event = (key.len == 8 && memcmp(key.data, "guild_id", 8) == 0) ||
                        (key.len == 6 && memcmp(key.data, "member", 6) == 0);
        if (of_event) continue;
        rc = GATE_FILL(out, first ? "'$':$" : ",'$':$", gate_raw_blank(key), gate_raw_blank(value));
        first = false;
    }
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

/* event.h - what the I/O side tells the Lua side: one dispatch, or one of moongate's own events.
 * Made by the session and the shard on the I/O thread, freed by whoever holds it last.
 * The data of moongate's own events is JSON as well, so that one decoder serves all. */
#ifndef MOONGATE_EVENT_H
#define MOONGATE_EVENT_H

#include "buf.h"
#include "codec.h"
#include "moongate.h"

struct gate_event {
    const struct gate_codec *codec; /* how `data` is encoded */
    struct gate_buf bytes;          /* owned; name and data are in it */
    size_t name_at, name_len; /* dispatch: inside the message; own event: its lower-case name */
    size_t data_at, data_len; /* the encoded value; length 0 means nil */
    int64_t seq;              /* of a dispatch; 0 otherwise */
    int shard_id;
    bool own; /* moongate's own event, not a dispatch */
};

static inline struct gate_span gate_event_name(const struct gate_event *event) {
    return (struct gate_span){event->bytes.data + event->name_at, event->name_len};
}
static inline struct gate_span gate_event_data(const struct gate_event *event) {
    return (struct gate_span){event->bytes.data + event->data_at, event->data_len};
}

/* A field of an own event: exactly one member by `kind`. Text is borrowed for the call. Fields
 * without a value (GATE_FIELD_ABSENT) are left out. */
enum gate_field_kind {
    GATE_FIELD_ABSENT,
    GATE_FIELD_INTEGER,
    GATE_FIELD_NUMBER,
    GATE_FIELD_FLAG,
    GATE_FIELD_TEXT
};
struct gate_field {
    const char *key; /* NULL ends a list of fields */
    enum gate_field_kind kind;
    int64_t integer;
    double number;
    bool flag;
    struct gate_span text; /* made valid UTF-8 where it is not */
};

#define GATE_INTEGER(name, value)                                                                  \
    { .key = (name), .kind = GATE_FIELD_INTEGER, .integer = (value) }
#define GATE_NUMBER(name, value)                                                                   \
    { .key = (name), .kind = GATE_FIELD_NUMBER, .number = (value) }
#define GATE_FLAG(name, value)                                                                     \
    { .key = (name), .kind = GATE_FIELD_FLAG, .flag = (value) }
#define GATE_TEXT(name, value)                                                                     \
    { .key = (name), .kind = GATE_FIELD_TEXT, .text = (value) }

/* Fills `out` (which need not be initialised) with an own event: an object with these fields, which
 * end with a NULL key. GATE_EMEMORY: `out` is empty then and needs no free. */
GATE_MUST_CHECK int gate_event_note(struct gate_event *out, const char *name,
                                    const struct gate_field *fields);

/* Frees the bytes, not the struct. */
void gate_event_free(struct gate_event *event);

#endif

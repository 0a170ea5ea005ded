/* sandbox_form.h - JSON of the sandbox: forms with blanks to write it, fields to read it.
 * Called by the sandbox_*.c files, mostly on the server's thread, always under the lock. */
#ifndef MOONGATE_SANDBOX_FORM_H
#define MOONGATE_SANDBOX_FORM_H

#include "buf.h"
#include "moongate.h"

enum gate_blank_kind { GATE_BLANK_TEXT, GATE_BLANK_RAW, GATE_BLANK_INTEGER, GATE_BLANK_BOOLEAN };

/* What goes into one blank: text is quoted and escaped, raw bytes are JSON already. A span without
 * data is null. */
struct gate_blank {
    enum gate_blank_kind kind;
    struct gate_span span;
    int64_t integer;
};

static inline struct gate_blank gate_text_blank(struct gate_span text) {
    return (struct gate_blank){GATE_BLANK_TEXT, text, 0};
}
static inline struct gate_blank gate_raw_blank(struct gate_span json) {
    return (struct gate_blank){GATE_BLANK_RAW, json, 0};
}
static inline struct gate_blank gate_integer_blank(int64_t value) {
    return (struct gate_blank){GATE_BLANK_INTEGER, {0}, value};
}
static inline struct gate_blank gate_boolean_blank(bool value) {
    return (struct gate_blank){GATE_BLANK_BOOLEAN, {0}, value};
}
struct gate_span gate_span_of(const char *text);       /* up to its NUL; NULL gives no data */
struct gate_blank gate_string_blank(const char *text); /* the same as a text blank */

/* Appends `form`: every ' becomes ", every $ the next blank, everything else stays. The form must
 * have as many $ as there are blanks. GATE_EMEMORY, GATE_EMESSAGE. */
GATE_MUST_CHECK int gate_form_fill(struct gate_buf *out, const char *form,
                                   const struct gate_blank *blanks, size_t count);

#define GATE_FILL(out, form, ...)                                                                  \
    gate_form_fill(out, form, (const struct gate_blank[]){__VA_ARGS__},                            \
                   sizeof((const struct gate_blank[]){__VA_ARGS__}) / sizeof(struct gate_blank))

enum gate_field_kind {
    GATE_FIELD_ABSENT,
    GATE_FIELD_NULL,
    GATE_FIELD_BOOLEAN,
    GATE_FIELD_INTEGER,
    GATE_FIELD_NUMBER,
    GATE_FIELD_TEXT,
    GATE_FIELD_LIST,
    GATE_FIELD_MAP
};

/* One member that a reader asks for. */
struct gate_field {
    const char *key; /* asked: "token", "user.id", or "" for the whole value */
    enum gate_field_kind kind;
    bool integers;         /* list: every item is an integer */
    int64_t integer;       /* integer or boolean */
    size_t items;          /* list: how many texts and integers */
    struct gate_span text; /* text; list: each item as text with a NUL behind it */
    size_t text_at;        /* internal: where in `texts` it stands */
};

/* Walks `data` whole, so a success also means that it is correct JSON, and fills `fields`. Texts
 * are kept in `texts`, which must outlive them. Errors as gate_codec.walk. */
GATE_MUST_CHECK int gate_fields_read(struct gate_span data, struct gate_field *fields, size_t count,
                                     struct gate_buf *texts);

/* The id that a field holds as text or integer; 0 when it is none. */
uint64_t gate_field_id(const struct gate_field *field);

/* Decimal digits, nothing else; 0 when they are none or too large. */
uint64_t gate_id_read(struct gate_span digits);

#endif

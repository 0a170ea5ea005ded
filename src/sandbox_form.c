/* sandbox_form.c - see sandbox_form.h. Forms keep the shape of a payload readable in one piece of
 * text; fields pick a few members out of what a client sent while the codec checks the whole. */
#include "sandbox_form.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"

#define PATH_BYTES 128 /* two keys and a dot; longer ones are nobody's field */

struct gate_span gate_span_of(const char *text) {
    return (struct gate_span){text, text ? strlen(text) : 0};
}

struct gate_blank gate_string_blank(const char *text) {
    return gate_text_blank(gate_span_of(text));
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int append_escaped(struct gate_buf *out, char byte) {
    char text[8];
    int len;
    if (byte == '"' || byte == '\\')
        len = snprintf(text, sizeof text, "\\%c", byte);
    else
        len = snprintf(text, sizeof text, "\\u%04x", (unsigned)(unsigned char)byte);
    return gate_buf_append(out, (struct gate_span){text, (size_t)len});
}

static int append_quoted(struct gate_buf *out, struct gate_span text) {
    int rc = gate_buf_append_byte(out, '"');
    size_t from = 0;
    for (size_t i = 0; rc == GATE_OK && i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        rc = gate_buf_append(out, (struct gate_span){text.data + from, i - from});
        if (rc == GATE_OK) rc = append_escaped(out, text.data[i]);
        from = i + 1;
    }
    if (rc == GATE_OK)
        rc = gate_buf_append(out, (struct gate_span){text.data + from, text.len - from});
    return rc < 0 ? rc : gate_buf_append_byte(out, '"');
}

static int append_blank(struct gate_buf *out, const struct gate_blank *blank) {
    char digits[24];
    switch (blank->kind) {
    case GATE_BLANK_INTEGER: {
        int len = snprintf(digits, sizeof digits, "%" PRId64, blank->integer);
        return gate_buf_append(out, (struct gate_span){digits, (size_t)len});
    }
    case GATE_BLANK_BOOLEAN:
        return gate_buf_append(out, blank->integer ? GATE_SPAN("true") : GATE_SPAN("false"));
    case GATE_BLANK_TEXT:
    case GATE_BLANK_RAW: break;
    }
    if (!blank->span.data) return gate_buf_append(out, GATE_SPAN("null"));
    if (blank->kind == GATE_BLANK_TEXT) return append_quoted(out, blank->span);
    return gate_buf_append(out, blank->span);
}

int gate_form_fill(struct gate_buf *out, const char *form, const struct gate_blank *blanks,
                   size_t count) {
    size_t used = 0;
    int rc = GATE_OK;
    while (*form && rc == GATE_OK) {
        size_t plain = strcspn(form, "'$");
        if (plain > 0) rc = gate_buf_append(out, (struct gate_span){form, plain});
        form += plain;
        if (rc < 0 || !*form) break;
        if (*form == '\'')
            rc = gate_buf_append_byte(out, '"');
        else
            rc = used < count ? append_blank(out, &blanks[used++]) : GATE_EUSAGE;
        form++;
    }
    return rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct reader {
    struct gate_field *fields;
    size_t count;
    struct gate_buf *texts;
    int depth;      /* open containers */
    bool in_map[3]; /* what the first two of them are; [0] is unused */
    char path[PATH_BYTES];
    size_t path_len;         /* 0: longer than any field's */
    size_t first_len;        /* of the outer key */
    struct gate_field *list; /* the list whose items come now */
};

static struct gate_field *find_field(struct reader *reader, const char *key, size_t len) {
    for (size_t i = 0; i < reader->count; i++) {
        const char *wanted = reader->fields[i].key;
        if (strlen(wanted) == len && memcmp(wanted, key, len) == 0) return &reader->fields[i];
    }
    return NULL;
}

/* The field that the value at hand belongs to, or NULL. */
static struct gate_field *find_current(struct reader *reader) {
    if (reader->depth == 0) return find_field(reader, "", 0);
    if (reader->depth > 2 || !reader->in_map[reader->depth] || reader->path_len == 0) return NULL;
    return find_field(reader, reader->path, reader->path_len);
}

static int store_text(struct reader *reader, struct gate_field *field, struct gate_span text) {
    field->text_at = reader->texts->len;
    field->text.len = text.len;
    int rc = gate_buf_append(reader->texts, text);
    return rc < 0 ? rc : gate_buf_append_byte(reader->texts, '\0');
}

static int store_item(struct reader *reader, struct gate_span text, bool integer) {
    struct gate_field *list = reader->list;
    list->items++;
    list->integers = list->integers && integer;
    list->text.len += text.len + 1;
    int rc = gate_buf_append(reader->texts, text);
    return rc < 0 ? rc : gate_buf_append_byte(reader->texts, '\0');
}

static bool is_item(const struct reader *reader) {
    return reader->list && reader->depth == 2;
}

/* Notes a value that is neither text nor integer. */
static int take_value(struct reader *reader, enum gate_field_kind kind, int64_t integer) {
    if (is_item(reader)) reader->list->integers = false;
    struct gate_field *field = find_current(reader);
    if (!field) return GATE_OK;
    field->kind = kind;
    field->integer = integer;
    field->items = 0;
    field->integers = kind == GATE_FIELD_LIST;
    field->text_at = reader->texts->len;
    field->text.len = 0;
    return GATE_OK;
}

static int read_null(void *to) {
    return take_value(to, GATE_FIELD_NULL, 0);
}

static int read_boolean(void *to, bool value) {
    return take_value(to, GATE_FIELD_BOOLEAN, value);
}

static int read_number(void *to, double value) {
    (void)value;
    return take_value(to, GATE_FIELD_NUMBER, 0);
}

static int read_integer(void *to, int64_t value) {
    struct reader *reader = to;
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, value);
    struct gate_span text = {digits, (size_t)len};
    if (is_item(reader)) return store_item(reader, text, true);
    struct gate_field *field = find_current(reader);
    (void)take_value(reader, GATE_FIELD_INTEGER, value);
    return field ? store_text(reader, field, text) : GATE_OK;
}

static int read_text(void *to, struct gate_span text) {
    struct reader *reader = to;
    if (is_item(reader)) return store_item(reader, text, false);
    struct gate_field *field = find_current(reader);
    (void)take_value(reader, GATE_FIELD_TEXT, 0);
    return field ? store_text(reader, field, text) : GATE_OK;
}

static int open_container(struct reader *reader, bool map) {
    struct gate_field *field = find_current(reader);
    (void)take_value(reader, map ? GATE_FIELD_MAP : GATE_FIELD_LIST, 0);
    reader->depth++;
    if (reader->depth <= 2) reader->in_map[reader->depth] = map;
    if (reader->depth == 2) reader->list = map ? NULL : field;
    return GATE_OK;
}

static int close_container(struct reader *reader) {
    if (reader->depth == 2) reader->list = NULL;
    reader->depth--;
    return GATE_OK;
}

static int read_open_list(void *to) {
    return open_container(to, false);
}

static int read_open_map(void *to) {
    return open_container(to, true);
}

static int read_close(void *to) {
    return close_container(to);
}

static int read_key(void *to, struct gate_span text) {
    struct reader *reader = to;
    if (reader->depth > 2) return GATE_OK;
    size_t at = reader->depth == 1 ? 0 : reader->first_len + 1;
    reader->path_len = 0;
    if (reader->depth == 1) reader->first_len = text.len;
    if (at + text.len >= PATH_BYTES) return GATE_OK;
    if (at > 0) reader->path[at - 1] = '.';
    memcpy(reader->path + at, text.data, text.len);
    reader->path_len = at + text.len;
    return GATE_OK;
}

static const struct gate_sink field_sink = {
    .null = read_null,
    .boolean = read_boolean,
    .integer = read_integer,
    .number = read_number,
    .text = read_text,
    .open_list = read_open_list,
    .close_list = read_close,
    .open_map = read_open_map,
    .key = read_key,
    .close_map = read_close,
};

int gate_fields_read(struct gate_span data, struct gate_field *fields, size_t count,
                     struct gate_buf *texts) {
    struct reader reader = {.fields = fields, .count = count, .texts = texts};
    struct gate_buf scratch;
    gate_buf_init(&scratch, 0, 0);
    int rc = gate_json.walk(data, &field_sink, &reader, &scratch);
    gate_buf_wipe(&scratch);
    gate_buf_free(&scratch);
    for (size_t i = 0; i < count; i++)
        fields[i].text.data = texts->data ? texts->data + fields[i].text_at : "";
    return rc;
}

uint64_t gate_id_read(struct gate_span digits) {
    uint64_t id = 0;
    if (digits.len == 0 || digits.len > 20) return 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)(digits.data[i] - '0');
        if (digit > 9 || id > (UINT64_MAX - digit) / 10) return 0;
        id = id * 10 + digit;
    }
    return id;
}

uint64_t gate_field_id(const struct gate_field *field) {
    if (field->kind != GATE_FIELD_TEXT && field->kind != GATE_FIELD_INTEGER) return 0;
    return gate_id_read(field->text);
}

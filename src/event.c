/* event.c - see event.h. */
#include "event.h"

#include <string.h>

#include "text.h"

/* Reasons and addresses come from strangers: bytes that are not UTF-8 become question marks, so
 * that the report of a fault can always be decoded. */
static int write_text(struct gate_writer *writer, struct gate_span text) {
    if (gate_text_is_utf8(text)) return gate_json.writer->text(writer, text);
    char clean[GATE_URL_BYTES_MAX];
    size_t len = text.len < sizeof clean ? text.len : sizeof clean;
    for (size_t i = 0; i < len; i++)
        clean[i] = (unsigned char)text.data[i] < 0x80 ? text.data[i] : '?';
    return gate_json.writer->text(writer, (struct gate_span){clean, len});
}

static int write_field(struct gate_writer *writer, const struct gate_field *field) {
    const struct gate_sink *json = gate_json.writer;
    if (field->kind == GATE_FIELD_ABSENT) return GATE_OK;
    int rc = json->key(writer, (struct gate_span){field->key, strlen(field->key)});
    if (rc < 0) return rc;
    switch (field->kind) {
    case GATE_FIELD_INTEGER: return json->integer(writer, field->integer);
    case GATE_FIELD_NUMBER: return json->number(writer, field->number);
    case GATE_FIELD_FLAG: return json->boolean(writer, field->flag);
    default: return write_text(writer, field->text);
    }
}

static int write_note(struct gate_event *out, const struct gate_field *fields) {
    struct gate_writer writer;
    int rc = gate_json.begin(&writer, &out->bytes, true);
    if (rc == GATE_OK) rc = gate_json.writer->open_map(&writer);
    for (; rc == GATE_OK && fields->key; fields++) rc = write_field(&writer, fields);
    return rc < 0 ? rc : gate_json.writer->close_map(&writer);
}

int gate_event_note(struct gate_event *out, const char *name, const struct gate_field *fields) {
    *out = (struct gate_event){.codec = &gate_json, .own = true, .name_len = strlen(name)};
    gate_buf_init(&out->bytes, 0, 0);
    int rc = gate_buf_append(&out->bytes, (struct gate_span){name, out->name_len});
    if (rc == GATE_OK) rc = write_note(out, fields);
    if (rc < 0) {
        gate_event_free(out);
        return rc;
    }
    out->data_at = out->name_len;
    out->data_len = out->bytes.len - out->data_at;
    return GATE_OK;
}

void gate_event_free(struct gate_event *event) {
    gate_buf_free(&event->bytes);
    event->name_len = 0;
    event->data_len = 0;
}

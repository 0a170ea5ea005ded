/* sandbox_parts.c - see sandbox_parts.h. */
#include "sandbox_parts.h"

#include <string.h>
#include <strings.h>

#define NOTHING ((struct gate_span){NULL, 0})

/* The place of a text, or NULL. */
static const char *find_text(struct gate_span in, const char *text) {
    size_t len = strlen(text);
    for (size_t i = 0; i + len <= in.len; i++)
        if (strncasecmp(in.data + i, text, len) == 0) return in.data + i;
    return NULL;
}

static struct gate_span behind(struct gate_span in, const char *at) {
    return (struct gate_span){at, in.len - (size_t)(at - in.data)};
}

/* A parameter such as name="files[0]" or boundary=x. Its own name stands behind a blank or ';'. */
static struct gate_span find_parameter(struct gate_span in, const char *name) {
    size_t len = strlen(name);
    const char *at;
    while ((at = find_text(in, name)) != NULL) {
        struct gate_span value = behind(in, at + len);
        bool begins = at > in.data && strchr(" ;\t", at[-1]);
        in = value;
        if (!begins) continue;
        bool quoted = value.len > 0 && *value.data == '"';
        if (quoted) value.data++, value.len--;
        size_t end = 0;
        while (end < value.len && !strchr(quoted ? "\"" : "; \t\r\n", value.data[end])) end++;
        value.len = end;
        return value;
    }
    return NOTHING;
}

struct gate_span gate_parts_boundary(struct gate_span type) {
    static const char kind[] = "multipart/form-data";
    if (type.len < strlen(kind) || strncasecmp(type.data, kind, strlen(kind)) != 0) return NOTHING;
    return find_parameter(type, "boundary=");
}

/* The place of the next boundary's "--", or NULL. */
static const char *find_boundary(struct gate_span in, struct gate_span boundary) {
    while (in.len >= boundary.len + 2) {
        const char *at = memmem(in.data, in.len, boundary.data, boundary.len);
        if (!at) return NULL;
        if (at >= in.data + 2 && at[-1] == '-' && at[-2] == '-') return at - 2;
        in = behind(in, at + 1);
    }
    return NULL;
}

static struct gate_span find_line(struct gate_span head, const char *name) {
    const char *at = find_text(head, name);
    if (!at) return NOTHING;
    struct gate_span line = behind(head, at + strlen(name));
    const char *end = memchr(line.data, '\r', line.len);
    if (end) line.len = (size_t)(end - line.data);
    while (line.len > 0 && *line.data == ' ') line.data++, line.len--;
    return line;
}

bool gate_parts_next(struct gate_span *rest, struct gate_span boundary, struct gate_part *out) {
    const char *start = find_boundary(*rest, boundary);
    if (!start || boundary.len == 0) return false;
    struct gate_span part = behind(*rest, start + 2 + boundary.len);
    if (part.len >= 2 && memcmp(part.data, "--", 2) == 0) return false;
    const char *end = find_boundary(part, boundary), *body = find_text(part, "\r\n\r\n");
    if (!end || !body || body + 4 > end - 2) return false;
    *rest = behind(*rest, end);
    struct gate_span head = {part.data, (size_t)(body - part.data)};
    struct gate_span words = find_line(head, "Content-Disposition:");
    *out = (struct gate_part){.name = find_parameter(words, "name="),
                              .filename = find_parameter(words, "filename="),
                              .type = find_line(head, "Content-Type:"),
                              .body = {body + 4, (size_t)(end - 2 - (body + 4))}};
    return true;
}

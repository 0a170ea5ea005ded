/* sandbox_json.c - see sandbox_json.h. Values stay text: what a script or a bot has written reaches
 * the clients letter for letter. */
#include "sandbox_json.h"

#include <string.h>

#include "sandbox_form.h"

#define NOTHING          ((struct gate_span){NULL, 0})
#define BASE_MEMBERS_MAX 96 /* of a form of ours; a guild has half as many */

static struct gate_span trim_left(struct gate_span text) {
    while (text.len > 0 && memchr(" \t\r\n", *text.data, 4)) text.data++, text.len--;
    return text;
}

bool gate_json_is_object(struct gate_span json) {
    json = trim_left(json);
    return json.len > 0 && *json.data == '{';
}

/* The bytes of a string with its quotes. */
static size_t measure_string(struct gate_span text) {
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] == '\\')
            i++;
        else if (text.data[i] == '"')
            return i + 1;
    }
    return text.len;
}

/* The bytes of any value; containers are counted, not looked into. */
static size_t measure_value(struct gate_span text) {
    size_t depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        bool ends = byte == '}' || byte == ']';
        if (depth == 0 && (ends || memchr(", \t\r\n", byte, 5))) return i;
        if (byte == '"') i += measure_string((struct gate_span){text.data + i, text.len - i}) - 1;
        if (byte == '{' || byte == '[') depth++;
        if (ends && --depth == 0) return i + 1;
    }
    return text.len;
}

static struct gate_span take(struct gate_span *rest, size_t len) {
    struct gate_span piece = {rest->data, len < rest->len ? len : rest->len};
    rest->data += piece.len;
    rest->len -= piece.len;
    return piece;
}

bool gate_json_next(struct gate_span *rest, struct gate_span *key, struct gate_span *value) {
    *rest = trim_left(*rest);
    if (rest->len == 0 || !strchr("{,", *rest->data)) return false;
    take(rest, 1);
    *rest = trim_left(*rest);
    if (rest->len == 0 || *rest->data != '"') return false;
    *key = gate_json_plain(take(rest, measure_string(*rest)));
    *rest = trim_left(*rest);
    take(rest, 1); /* the colon */
    *rest = trim_left(*rest);
    *value = take(rest, measure_value(*rest));
    return true;
}

bool gate_json_item(struct gate_span *rest, struct gate_span *item) {
    *rest = trim_left(*rest);
    if (rest->len == 0 || !strchr("[,", *rest->data)) return false;
    take(rest, 1);
    *rest = trim_left(*rest);
    *item = take(rest, measure_value(*rest));
    return item->len > 0;
}

static struct gate_span find_member(struct gate_span object, struct gate_span wanted) {
    struct gate_span key, value;
    while (gate_json_next(&object, &key, &value))
        if (key.len == wanted.len && memcmp(key.data, wanted.data, key.len) == 0) return value;
    return NOTHING;
}

struct gate_span gate_json_find(struct gate_span object, const char *path) {
    while (object.data && *path) {
        size_t len = strcspn(path, ".");
        object = find_member(object, (struct gate_span){path, len});
        path += path[len] ? len + 1 : len;
    }
    return object;
}

struct gate_span gate_json_plain(struct gate_span value) {
    if (value.len >= 2 && *value.data == '"')
        return (struct gate_span){value.data + 1, value.len - 2};
    bool number = value.len > 0 && strchr("-0123456789", *value.data);
    return number ? value : NOTHING;
}

uint64_t gate_json_id(struct gate_span value) {
    struct gate_span digits = gate_json_plain(value);
    return digits.data ? gate_id_read(digits) : 0;
}

/* A pair of surrogates is one character, and its second half is counted as none. */
static bool is_second_half(const char *escape, size_t left) {
    return left > 2 && (escape[1] == 'd' || escape[1] == 'D') && strchr("cdefCDEF", escape[2]);
}

size_t gate_json_length(struct gate_span string) {
    struct gate_span text = gate_json_plain(string);
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x80 && byte < 0xc0) continue;
        if (byte != '\\') {
            count++;
            continue;
        }
        bool long_one = ++i < text.len && text.data[i] == 'u';
        if (!long_one || !is_second_half(text.data + i, text.len - i)) count++;
        if (long_one) i += 4;
    }
    return count;
}

/* ---- Merging -----------------------------------------------------------------------------------
 */

static int append_member(struct gate_buf *out, bool *first, struct gate_span key) {
    int rc = *first ? GATE_OK : gate_buf_append_byte(out, ',');
    *first = false;
    if (rc == GATE_OK) rc = gate_buf_append_byte(out, '"');
    if (rc == GATE_OK) rc = gate_buf_append(out, key);
    return rc < 0 ? rc : gate_buf_append(out, GATE_SPAN("\":"));
}

/* The number of a member and its value; BASE_MEMBERS_MAX when there is none. */
static size_t find_place(struct gate_span base, struct gate_span wanted, struct gate_span *value) {
    struct gate_span key;
    for (size_t i = 0; i < BASE_MEMBERS_MAX && gate_json_next(&base, &key, value); i++)
        if (key.len == wanted.len && memcmp(key.data, wanted.data, key.len) == 0) return i;
    return BASE_MEMBERS_MAX;
}

/* Goes through `given` only once: it may have megabytes. */
int gate_json_merge(struct gate_buf *out, struct gate_span base, struct gate_span given) {
    struct gate_span key, value, other, rest = given;
    bool replaced[BASE_MEMBERS_MAX] = {false}, first = true;
    if (!gate_json_is_object(base) || !gate_json_is_object(given))
        return gate_buf_append(out, given);
    int rc = gate_buf_append_byte(out, '{');
    while (rc == GATE_OK && gate_json_next(&rest, &key, &value)) {
        size_t place = find_place(base, key, &other);
        rc = append_member(out, &first, key);
        if (rc == GATE_OK && place < BASE_MEMBERS_MAX) {
            replaced[place] = true;
            rc = gate_json_merge(out, other, value); /* as deep as `base`, which is our own */
        } else if (rc == GATE_OK) {
            rc = gate_buf_append(out, value);
        }
    }
    for (size_t i = 0; rc == GATE_OK && gate_json_next(&base, &key, &value); i++) {
        if (i < BASE_MEMBERS_MAX && replaced[i]) continue;
        rc = append_member(out, &first, key);
        if (rc == GATE_OK) rc = gate_buf_append(out, value);
    }
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

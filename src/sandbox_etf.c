/* sandbox_etf.c - see sandbox_etf.h. JSON text drives a sink that writes terms; terms that a client
 * sent drive the sink that writes JSON. */
#include "sandbox_etf.h"

#include <string.h>

#include "codec.h"

#define MAGIC         131
#define ATOM_SHORT    255                        /* bytes that any atom may have */
#define ID_LEAST      UINT64_C(9007199254740992) /* 2^53 */
#define STRING_LONG   65535                      /* items that a STRING may have */
#define CLIENT_DEPTH  32                         /* Identify has four */
#define CLIENT_DIGITS 8                          /* of 256: integers that fit 64 bits */

/* ---- Writing ----------------------------------------------------------------------------------
 */

struct level {
    size_t head;  /* where its tag stands */
    uint32_t len; /* items, or pairs */
    bool map;
    bool bytes; /* nothing but integers from 0 to 255 so far */
};

struct press {
    const struct gate_etf_style *style;
    struct gate_buf *out;
    int depth;
    uint32_t keys;
    bool event_name; /* the next value is the `t` of the message */
    struct level levels[GATE_DEPTH_MAX];
};

static int put(struct press *press, const void *bytes, size_t len) {
    return gate_buf_append(press->out, (struct gate_span){bytes, len});
}

static void set_u32(unsigned char *at, uint32_t value) {
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

/* Before each value: its container has one more. */
static void note_value(struct press *press, bool byte) {
    press->event_name = false;
    if (press->depth == 0) return;
    struct level *level = &press->levels[press->depth - 1];
    if (level->map) return;
    level->len++;
    level->bytes = level->bytes && byte;
}

static bool is_ascii(struct gate_span text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] > 127) return false;
    return true;
}

static int put_binary(struct press *press, struct gate_span text) {
    unsigned char head[5] = {'m'};
    set_u32(head + 1, (uint32_t)text.len);
    int rc = put(press, head, sizeof head);
    return rc < 0 ? rc : put(press, text.data, text.len);
}

static int put_atom(struct press *press, struct gate_span word) {
    int tag = press->style->atom_tag;
    bool utf8 = tag == 118 || tag == 119, two = tag == 100 || tag == 118;
    if (word.len > ATOM_SHORT || (!utf8 && !is_ascii(word))) return put_binary(press, word);
    unsigned char head[3] = {(unsigned char)tag, 0, (unsigned char)word.len};
    if (!two) head[1] = head[2];
    int rc = put(press, head, two ? 3 : 2);
    return rc < 0 ? rc : put(press, word.data, word.len);
}

static int press_null(void *to) {
    note_value(to, false);
    return put_atom(to, GATE_SPAN("nil"));
}

static int press_boolean(void *to, bool value) {
    note_value(to, false);
    return put_atom(to, value ? GATE_SPAN("true") : GATE_SPAN("false"));
}

static int put_big(struct press *press, uint64_t value, bool negative) {
    unsigned char term[11] = {'n', 0, negative};
    while (value) {
        term[3 + term[1]++] = (unsigned char)value;
        value >>= 8;
    }
    return put(press, term, (size_t)3 + term[1]);
}

static int press_integer(void *to, int64_t value) {
    unsigned char term[5] = {'b'};
    bool byte = value >= 0 && value < 256;
    note_value(to, byte);
    if (byte) return put(to, (unsigned char[]){'a', (unsigned char)value}, 2);
    if (value > INT32_MAX || value < INT32_MIN)
        return put_big(to, (uint64_t)(value < 0 ? -value : value), value < 0);
    set_u32(term + 1, (uint32_t)(int32_t)value);
    return put(to, term, sizeof term);
}

static int press_number(void *to, double value) {
    unsigned char term[9] = {'F'};
    uint64_t bits;
    memcpy(&bits, &value, 8);
    set_u32(term + 1, (uint32_t)(bits >> 32));
    set_u32(term + 5, (uint32_t)bits);
    note_value(to, false);
    return value - value == 0 ? put(to, term, sizeof term) : GATE_EVALUE;
}

/* The id that the text is, or 0. */
static uint64_t find_id(struct gate_span text) {
    uint64_t id = 0;
    if (text.len < 16 || text.len > 20 || text.data[0] == '0') return 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');
        if (digit > 9 || id > (UINT64_MAX - digit) / 10) return 0;
        id = id * 10 + digit;
    }
    return id >= ID_LEAST ? id : 0;
}

static int press_text(void *to, struct gate_span text) {
    struct press *press = to;
    bool name = press->event_name;
    note_value(press, false);
    if (name) return put_atom(press, text);
    uint64_t id = press->style->text_ids ? 0 : find_id(text);
    return id ? put_big(press, id, false) : put_binary(press, text);
}

static int open_level(struct press *press, char tag) {
    unsigned char head[5] = {(unsigned char)tag};
    note_value(press, false);
    if (press->depth == GATE_DEPTH_MAX) return GATE_EDEPTH;
    press->levels[press->depth++] =
        (struct level){.head = press->out->len, .map = tag == 't', .bytes = true};
    return put(press, head, sizeof head);
}

static int press_open_list(void *to) {
    return open_level(to, 'l');
}

static int press_open_map(void *to) {
    return open_level(to, 't');
}

/* Its items stand there as 'a' and a byte each; they move together behind a shorter head. */
static void squeeze_list(struct press *press, const struct level *level) {
    char *at = press->out->data + level->head;
    const char *items = at + 5;
    at[0] = 'k';
    at[1] = (char)(level->len >> 8);
    at[2] = (char)level->len;
    for (uint32_t i = 0; i < level->len; i++) at[3 + i] = items[2 * i + 1];
    press->out->len = level->head + 3 + level->len;
}

static int press_close_list(void *to) {
    struct press *press = to;
    const struct level *level = &press->levels[--press->depth];
    if (level->len == 0) {
        press->out->len = level->head;
    } else if (level->bytes && level->len <= STRING_LONG && !press->style->long_lists) {
        squeeze_list(press, level);
        return GATE_OK;
    } else {
        set_u32((unsigned char *)press->out->data + level->head + 1, level->len);
    }
    return gate_buf_append_byte(press->out, 'j');
}

static int press_close_map(void *to) {
    struct press *press = to;
    const struct level *level = &press->levels[--press->depth];
    set_u32((unsigned char *)press->out->data + level->head + 1, level->len);
    return GATE_OK;
}

static int press_key(void *to, struct gate_span key) {
    struct press *press = to;
    enum gate_etf_keys keys = press->style->keys;
    press->levels[press->depth - 1].len++;
    press->event_name = press->depth == 1 && key.len == 1 && key.data[0] == 't';
    bool third = press->keys++ % 3 == 2;
    if (keys == GATE_ETF_KEYS_BINARY || (keys == GATE_ETF_KEYS_MIXED && third))
        return put_binary(press, key);
    return put_atom(press, key);
}

static const struct gate_sink press_sink = {
    .null = press_null,
    .boolean = press_boolean,
    .integer = press_integer,
    .number = press_number,
    .text = press_text,
    .open_list = press_open_list,
    .close_list = press_close_list,
    .open_map = press_open_map,
    .key = press_key,
    .close_map = press_close_map,
};

int gate_sandbox_etf_write(const struct gate_etf_style *style, struct gate_span json,
                           struct gate_buf *out) {
    struct press press = {.style = style, .out = out};
    struct gate_buf scratch;
    size_t before = out->len;
    gate_buf_init(&scratch, 0, 0);
    int rc = gate_buf_append_byte(out, (char)MAGIC);
    if (rc == GATE_OK) rc = gate_json.walk(json, &press_sink, &press, &scratch);
    gate_buf_free(&scratch);
    if (rc == GATE_OK || rc == GATE_EMEMORY || rc == GATE_EMESSAGE) return rc;
    out->len = before;
    return gate_buf_append(out, json);
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

struct scanner {
    const unsigned char *at;
    size_t left;
    struct gate_writer writer; /* of JSON */
    int depth;
};

/* The next `len` bytes, or NULL. */
static const unsigned char *take(struct scanner *scanner, size_t len) {
    const unsigned char *taken = scanner->at;
    if (len > scanner->left) return NULL;
    scanner->at += len;
    scanner->left -= len;
    return taken;
}

/* A number of `bytes` bytes, the highest first; -1: it is cut off. */
static int64_t take_number(struct scanner *scanner, size_t bytes) {
    const unsigned char *at = take(scanner, bytes);
    int64_t value = 0;
    if (!at) return -1;
    for (size_t i = 0; i < bytes; i++) value = value * 256 + at[i];
    return value;
}

static int take_text(struct scanner *scanner, size_t length_bytes, struct gate_span *out) {
    int64_t len = take_number(scanner, length_bytes);
    const unsigned char *at = len < 0 ? NULL : take(scanner, (size_t)len);
    *out = (struct gate_span){(const char *)at, (size_t)len};
    return at ? GATE_OK : GATE_ESYNTAX;
}

static bool is_atom(struct gate_span atom, const char *word) {
    return atom.len == strlen(word) && memcmp(atom.data, word, atom.len) == 0;
}

static int say_atom(struct scanner *scanner, size_t length_bytes) {
    struct gate_span atom;
    int rc = take_text(scanner, length_bytes, &atom);
    if (rc < 0) return rc;
    if (is_atom(atom, "nil")) return gate_json.writer->null(&scanner->writer);
    if (is_atom(atom, "true")) return gate_json.writer->boolean(&scanner->writer, true);
    if (is_atom(atom, "false")) return gate_json.writer->boolean(&scanner->writer, false);
    return GATE_ESYNTAX;
}

static int say_integer(struct scanner *scanner, size_t bytes) {
    int64_t value = take_number(scanner, bytes);
    if (value < 0) return GATE_ESYNTAX;
    return gate_json.writer->integer(&scanner->writer, bytes == 4 ? (int32_t)value : value);
}

/* An id may come as an integer of 64 bits: JSON text has all of its digits. */
static int say_big(struct scanner *scanner) {
    char digits[24], *first = digits + sizeof digits;
    int64_t len = take_number(scanner, 1), sign = take_number(scanner, 1);
    const unsigned char *at = len < 0 ? NULL : take(scanner, (size_t)len);
    uint64_t value = 0;
    if (!at || sign < 0 || sign > 1 || len > CLIENT_DIGITS) return GATE_ESYNTAX;
    for (int64_t i = len - 1; i >= 0; i--) value = value * 256 + at[i];
    if (value < ID_LEAST)
        return gate_json.writer->integer(&scanner->writer, sign ? -(int64_t)value : (int64_t)value);
    for (; value; value /= 10) *--first = (char)('0' + value % 10);
    if (sign) *--first = '-';
    struct gate_span text = {first, (size_t)(digits + sizeof digits - first)};
    return gate_json.writer->text(&scanner->writer, text);
}

static int say_double(struct scanner *scanner) {
    const unsigned char *at = take(scanner, 8);
    uint64_t bits = 0;
    double value;
    for (int i = 0; at && i < 8; i++) bits = bits * 256 + at[i];
    memcpy(&value, &bits, 8);
    if (!at || value - value != 0) return GATE_ESYNTAX;
    return gate_json.writer->number(&scanner->writer, value);
}

static int say_binary(struct scanner *scanner) {
    struct gate_span text;
    int rc = take_text(scanner, 4, &text);
    return rc < 0 ? rc : gate_json.writer->text(&scanner->writer, text);
}

static int say_term(struct scanner *scanner);

static int say_string(struct scanner *scanner) {
    struct gate_span bytes;
    int rc = take_text(scanner, 2, &bytes);
    if (rc == GATE_OK) rc = gate_json.writer->open_list(&scanner->writer);
    for (size_t i = 0; rc == GATE_OK && i < bytes.len; i++)
        rc = gate_json.writer->integer(&scanner->writer, (unsigned char)bytes.data[i]);
    return rc < 0 ? rc : gate_json.writer->close_list(&scanner->writer);
}

static int say_list(struct scanner *scanner) {
    int64_t count = take_number(scanner, 4);
    int rc = count < 0 ? GATE_ESYNTAX : gate_json.writer->open_list(&scanner->writer);
    for (; rc == GATE_OK && count > 0; count--) rc = say_term(scanner);
    if (rc == GATE_OK && take_number(scanner, 1) != 'j') rc = GATE_ESYNTAX;
    return rc < 0 ? rc : gate_json.writer->close_list(&scanner->writer);
}

static int say_nil(struct scanner *scanner) {
    int rc = gate_json.writer->open_list(&scanner->writer);
    return rc < 0 ? rc : gate_json.writer->close_list(&scanner->writer);
}

static int say_key(struct scanner *scanner) {
    struct gate_span key;
    if (take_number(scanner, 1) != 'm' || take_text(scanner, 4, &key) < 0) return GATE_ESYNTAX;
    return gate_json.writer->key(&scanner->writer, key);
}

static int say_map(struct scanner *scanner) {
    int64_t pairs = take_number(scanner, 4);
    int rc = pairs < 0 ? GATE_ESYNTAX : gate_json.writer->open_map(&scanner->writer);
    for (; rc == GATE_OK && pairs > 0; pairs--) {
        rc = say_key(scanner);
        if (rc == GATE_OK) rc = say_term(scanner);
    }
    return rc < 0 ? rc : gate_json.writer->close_map(&scanner->writer);
}

static int say_body(struct scanner *scanner, int64_t tag) {
    switch (tag) {
    case 'F': return say_double(scanner);
    case 'a': return say_integer(scanner, 1);
    case 'b': return say_integer(scanner, 4);
    case 'n': return say_big(scanner);
    case 'm': return say_binary(scanner);
    case 'k': return say_string(scanner);
    case 'l': return say_list(scanner);
    case 'j': return say_nil(scanner);
    case 't': return say_map(scanner);
    case 's':
    case 'w': return say_atom(scanner, 1);
    case 'd':
    case 'v': return say_atom(scanner, 2);
    default: return GATE_ESYNTAX;
    }
}

static int say_term(struct scanner *scanner) {
    if (scanner->depth == CLIENT_DEPTH) return GATE_EDEPTH;
    scanner->depth++;
    int rc = say_body(scanner, take_number(scanner, 1));
    scanner->depth--;
    return rc;
}

int gate_sandbox_etf_read(struct gate_span wire, struct gate_buf *json) {
    struct scanner scanner = {.at = (const unsigned char *)wire.data, .left = wire.len};
    if (take_number(&scanner, 1) != MAGIC) return GATE_ESYNTAX;
    int rc = gate_json.begin(&scanner.writer, json, true);
    if (rc == GATE_OK) rc = say_term(&scanner);
    if (rc < 0) return rc;
    return scanner.left == 0 ? GATE_OK : GATE_ESYNTAX;
}

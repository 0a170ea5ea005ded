/* lua_index_etf.c - see lua_index.h: the half of ETF. */
#include "etf_lex.h"
#include "lua_index.h"

/* Keys of other kinds have to be rewritten. */
static int find_key(struct reader *reader, struct gate_span *out) {
    if (!has_bytes(reader, 1)) return GATE_ESYNTAX;
    uint8_t tag = byte_at(reader->at);
    if (!is_atom_tag(tag) && tag != TAG_BINARY) return GATE_AGAIN;
    int rc = tag == TAG_BINARY ? read_bytes(reader, 4, out) : read_atom(reader, out);
    return rc == GATE_OK && out->data == reader->rewritten ? GATE_AGAIN : rc;
}

static int find_pair(struct gate_index *index, struct reader *reader) {
    struct gate_span key;
    int rc = find_key(reader, &key);
    if (rc != GATE_OK) return rc;
    if (index->count == index->room) return GATE_AGAIN;
    if (index->refuse_utf8 && !gate_text_is_utf8(key)) return GATE_EUTF8;
    rc = gate_index_add(index, key, (size_t)(reader->at - index->text.data));
    return rc == GATE_OK ? skip_term(reader) : rc;
}

static int find_element(struct gate_index *index, struct reader *reader) {
    gate_index_count(index, (size_t)(reader->at - index->text.data));
    return skip_term(reader);
}

static struct reader *read_from(struct gate_span text, size_t at, struct reader *reader) {
    start_reader(reader, (struct gate_span){text.data + at, text.len - at}, NULL);
    return reader;
}

/* Only maps and lists are asked for; see nests. */
static int find(struct gate_index *index, size_t at) {
    struct reader reader;
    uint32_t left;
    index->list = byte_at(index->text.data + at) == TAG_LIST;
    int rc = read_length(read_from(index->text, at, &reader), 4, &left);
    for (; rc == GATE_OK && left > 0; left--)
        rc = index->list ? find_element(index, &reader) : find_pair(index, &reader);
    if (rc != GATE_OK) return rc;
    if (index->list) {
        if (!has_bytes(&reader, 1) || byte_at(reader.at) != TAG_NIL) return GATE_ESYNTAX;
        reader.at++;
    }
    index->end = (uint32_t)(reader.at - index->text.data);
    return GATE_OK;
}

static int skip(struct gate_span text, size_t at, size_t *behind) {
    struct reader reader;
    int rc = skip_term(read_from(text, at, &reader));
    *behind = (size_t)(reader.at - text.data);
    return rc;
}

static enum gate_sight look(struct gate_span text, size_t at, struct gate_span *out) {
    struct reader reader;
    switch (byte_at(text.data + at)) {
    case TAG_MAP:
    case TAG_LIST:
    case TAG_NIL:
    case TAG_STRING:
    case TAG_SMALL_TUPLE:
    case TAG_LARGE_TUPLE: return GATE_SIGHT_CONTAINER;
    case TAG_BINARY:
        return read_bytes(read_from(text, at, &reader), 4, out) < 0 ? GATE_SIGHT_OTHER
                                                                    : GATE_SIGHT_TEXT;
    default: break;
    }
    return is_null(read_from(text, at, &reader)) ? GATE_SIGHT_NULL : GATE_SIGHT_OTHER;
}

#define LIST_HEAD_BYTES 5

static bool nests(struct gate_span value) {
    if (value.len <= LIST_HEAD_BYTES) return false;
    uint8_t tag = byte_at(value.data), first = byte_at(value.data + LIST_HEAD_BYTES);
    return tag == TAG_MAP || (tag == TAG_LIST && (first == TAG_MAP || first == TAG_LIST));
}

const struct gate_indexer gate_indexer_etf = {
    .codec = &gate_etf, .find = find, .skip = skip, .look = look, .nests = nests};

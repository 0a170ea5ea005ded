/* lua_index.c - see lua_index.h. The half of JSON, and what both halves share. */
#include "lua_index.h"

#include "json_skip.h"
#include "lua_key.h"

/* ---- Shared ---------------------------------------------------------------------------------- */

uint32_t gate_index_tag(struct gate_span key) {
    return (uint32_t)(gate_key_hash(key) >> 32);
}

bool gate_index_is(struct gate_span text, const struct gate_member *member, struct gate_span key) {
    return member->key_len == key.len && memcmp(text.data + member->key_at, key.data, key.len) == 0;
}

int gate_index_add(struct gate_index *index, struct gate_span key, size_t value_at) {
    uint32_t tag = gate_index_tag(key);
    uint64_t *seen = &index->seen[tag >> 30], bit = UINT64_C(1) << (tag >> 24 & 63);
    const struct gate_member *member = index->members, *end = member + index->count;
    for (; *seen & bit && member < end; member++)
        if (member->tag == tag && gate_index_is(index->text, member, key)) return GATE_AGAIN;
    *seen |= bit;
    index->members[index->count++] =
        (struct gate_member){.tag = tag,
                             .key_at = (uint32_t)(key.data - index->text.data),
                             .key_len = (uint32_t)key.len,
                             .value_at = (uint32_t)value_at & INT32_MAX};
    return GATE_OK;
}

void gate_index_count(struct gate_index *index, size_t value_at) {
    if (index->count < index->room)
        index->members[index->count] =
            (struct gate_member){.value_at = (uint32_t)value_at & INT32_MAX};
    index->count++;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int find_pair(struct gate_index *index, struct reader *reader) {
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end || *reader->at != '"') return GATE_ESYNTAX;
    const char *from = reader->at + 1, *stop = find_special(from, reader->end);
    if (stop == reader->end) return GATE_ESYNTAX;
    if (*stop == '\\' || index->count == index->room) return GATE_AGAIN;
    if (*stop != '"') return GATE_ESYNTAX;
    struct gate_span key = {from, (size_t)(stop - from)};
    if (index->refuse_utf8 && !gate_text_is_utf8(key)) return GATE_EUTF8;
    reader->at = stop + 1;
    int rc = read_colon(reader);
    if (rc < 0 || reader->at == reader->end) return GATE_ESYNTAX;
    rc = gate_index_add(index, key, (size_t)(reader->at - index->text.data));
    return rc == GATE_OK ? skip_value(reader) : rc;
}

static int find_element(struct gate_index *index, struct reader *reader) {
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end) return GATE_ESYNTAX;
    gate_index_count(index, (size_t)(reader->at - index->text.data));
    return skip_value(reader);
}

static struct reader read_from(struct gate_span text, size_t at) {
    return (struct reader){.at = text.data + at, .end = text.data + text.len};
}

static int find(struct gate_index *index, size_t at) {
    struct reader reader = read_from(index->text, at);
    index->list = *reader.at == '[';
    char close = index->list ? ']' : '}';
    int more = !read_empty(&reader, close);
    while (more > 0) {
        int rc = index->list ? find_element(index, &reader) : find_pair(index, &reader);
        if (rc != GATE_OK) return rc;
        more = read_separator(&reader, close);
    }
    index->end = (uint32_t)(reader.at - index->text.data);
    return more;
}

static int skip(struct gate_span text, size_t at, size_t *behind) {
    struct reader reader = read_from(text, at);
    if (reader.at == reader.end) return GATE_ESYNTAX;
    int rc = skip_value(&reader);
    *behind = (size_t)(reader.at - text.data);
    return rc;
}

static enum gate_sight look(struct gate_span text, size_t at, struct gate_span *out) {
    const char *from = text.data + at + 1, *stop;
    switch (text.data[at]) {
    case '{':
    case '[': return GATE_SIGHT_CONTAINER;
    case 'n': return GATE_SIGHT_NULL;
    case '"':
        stop = find_special(from, text.data + text.len);
        *out = (struct gate_span){from, (size_t)(stop - from)};
        return *stop == '"' ? GATE_SIGHT_TEXT : GATE_SIGHT_OTHER;
    default: return GATE_SIGHT_OTHER;
    }
}

static bool nests(struct gate_span value) {
    if (value.len < 2) return false;
    const char *end = value.data + value.len, *at = skip_space(value.data + 1, end);
    if (value.data[0] == '{') return true;
    return value.data[0] == '[' && at < end && (*at == '{' || *at == '[');
}

const struct gate_indexer gate_indexer_json = {
    .codec = &gate_json, .find = find, .skip = skip, .look = look, .nests = nests};

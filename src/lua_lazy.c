/* lua_lazy.c - see lua_lazy.h. On the thread of the lua_State.
 *
 * A lazy table holds, besides what was touched, entries under keys that nobody else has:
 *
 *   NODE   from the first touch on: a userdata with the place of each member, whose user value is
 *          the JSON text of the whole event, a Lua string that all its tables share
 *   TEXT   before that: the text, while NODE is an integer, the place of the table in the text
 *
 * Making it plain takes them away, and the metatable. A member that was handed out, or assigned to,
 * is marked as taken: what the table holds for it is then all that counts, also when that is nil.
 */
#include "lua_lazy.h"

#include "json_lex.h"
#include "lua_key.h"
#include "lua_space.h"

/* A build for tests makes these smaller, so that small texts are lazy as well. */
#ifndef EVENT_BYTES_MAX
#define EVENT_BYTES_MAX 320 /* of an event that is decoded for what five touches of it cost */
#define SMALL_BYTES_MAX 192 /* of a container within: the same */
#endif

#define MAP_MEMBERS_MAX   256  /* an object with more is no event's; it is decoded whole */
#define ENTRIES_ABOVE     8    /* of the outermost table: its own, and what is likely touched */
#define ENTRIES_BELOW     4    /* of those in it: two of its own, of which one stays */
#define DECODED_DEPTH_MAX 1000 /* of tables, which a user may nest as he likes */

/* ---- Where things stand ---------------------------------------------------------------------- */

static const char text_key, node_key; /* their addresses are the keys */
static const char class_key;          /* of the metatable in the registry */

/* A member of a container. */
struct member {
    uint32_t tag;     /* MAP: from the hash of its key */
    uint32_t key_at;  /* MAP: the first byte of its key */
    uint32_t key_len; /* MAP: of its key */
    uint32_t value_at : 31;
    uint32_t taken : 1;
};

struct node {
    struct gate_span text; /* of the whole event: the user value */
    struct gate_lua_rules rules;
    bool list;
    uint32_t end; /* the byte behind the container */
    uint32_t count;
    struct member members[];
};

/* A place in a text, as it is kept in NODE before the table is touched. */
struct place {
    uint32_t at;
    struct gate_lua_rules rules;
};

#define PLACE_KEEPS   (INT64_C(1) << 32)
#define PLACE_REFUSES (INT64_C(1) << 33)

static int64_t pack_place(struct place place) {
    return (int64_t)place.at | (place.rules.keep_null ? PLACE_KEEPS : 0) |
           (place.rules.refuse_utf8 ? PLACE_REFUSES : 0);
}

static struct place unpack_place(int64_t packed) {
    return (struct place){.at = (uint32_t)packed,
                          .rules = {.keep_null = (packed & PLACE_KEEPS) != 0,
                                    .refuse_utf8 = (packed & PLACE_REFUSES) != 0}};
}

/* ---- Finding the members --------------------------------------------------------------------- */

/* The members of one container as they are found. */
struct scan {
    struct reader reader;
    const char *text;
    bool refuse_utf8;
    struct member *members;
    uint32_t room, count;
    uint64_t seen[4]; /* a bit for some of each tag: equal tags have equal ones */
};

static uint32_t tag_key(struct gate_span key) {
    return (uint32_t)(gate_key_hash(key) >> 32);
}

static bool has_key(const char *text, const struct member *member, struct gate_span key) {
    return member->key_len == key.len && memcmp(text + member->key_at, key.data, key.len) == 0;
}

/* GATE_AGAIN: the key is there already. Of both values only the last one counts, but each has to be
 * read to know whether it is one. */
static int keep_member(struct scan *scan, struct gate_span key, struct member member) {
    uint64_t *seen = &scan->seen[member.tag >> 30], bit = UINT64_C(1) << (member.tag >> 24 & 63);
    if (*seen & bit) {
        for (uint32_t i = 0; i < scan->count; i++)
            if (scan->members[i].tag == member.tag && has_key(scan->text, &scan->members[i], key))
                return GATE_AGAIN;
    }
    *seen |= bit;
    scan->members[scan->count++] = member;
    return GATE_OK;
}

/* GATE_AGAIN: a key that has to be rewritten, one that comes twice, or too many of them. */
static int find_pair(struct scan *scan) {
    struct reader *reader = &scan->reader;
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end || *reader->at != '"') return GATE_ESYNTAX;
    const char *from = reader->at + 1, *stop = find_special(from, reader->end);
    if (stop == reader->end) return GATE_ESYNTAX;
    if (*stop == '\\' || scan->count == scan->room) return GATE_AGAIN;
    if (*stop != '"') return GATE_ESYNTAX;
    struct gate_span key = {from, (size_t)(stop - from)};
    if (scan->refuse_utf8 && !gate_text_is_utf8(key)) return GATE_EUTF8;
    reader->at = stop + 1;
    int rc = read_colon(reader);
    if (rc < 0 || reader->at == reader->end) return GATE_ESYNTAX;
    rc = keep_member(scan, key,
                     (struct member){.tag = tag_key(key),
                                     .key_at = (uint32_t)(from - scan->text),
                                     .key_len = (uint32_t)key.len,
                                     .value_at = (uint32_t)(reader->at - scan->text) & INT32_MAX});
    return rc == GATE_OK ? skip_value(reader) : rc;
}

/* Counts elements beyond the room that there is. */
static int find_element(struct scan *scan) {
    struct reader *reader = &scan->reader;
    reader->at = skip_space(reader->at, reader->end);
    if (reader->at == reader->end) return GATE_ESYNTAX;
    if (scan->count < scan->room)
        scan->members[scan->count] =
            (struct member){.value_at = (uint32_t)(reader->at - scan->text) & INT32_MAX};
    scan->count++;
    return skip_value(reader);
}

/* The container begins at `at`. Afterwards the reader is behind it. */
static int find_members(struct scan *scan, const char *at) {
    bool list = *at == '[';
    char close = list ? ']' : '}';
    scan->reader.at = at;
    scan->reader.block = NULL;
    scan->count = 0;
    memset(scan->seen, 0, sizeof scan->seen);
    int more = !read_empty(&scan->reader, close);
    while (more > 0) {
        int rc = list ? find_element(scan) : find_pair(scan);
        if (rc != GATE_OK) return rc;
        more = read_separator(&scan->reader, close);
    }
    return more;
}

/* Pushes the node of what was found, with room for all of it. */
static struct node *push_node(lua_State *L, int text, const struct scan *scan,
                              const struct place *place) {
    struct node *node = lua_newuserdatauv(L, sizeof *node + scan->count * sizeof(struct member), 1);
    lua_pushvalue(L, text);
    lua_setiuservalue(L, -2, 1);
    node->text.data = scan->text;
    node->text.len = (size_t)(scan->reader.end - scan->text);
    node->rules = place->rules;
    node->list = scan->text[place->at] == '[';
    node->end = (uint32_t)(scan->reader.at - scan->text);
    node->count = scan->count;
    return node;
}

/* Pushes the node of the container at place->at of the string at index `text`, or nothing: an
 * error, or GATE_AGAIN where it is better decoded whole. */
static int index_container(lua_State *L, int text, const struct place *place) {
    struct member few[MAP_MEMBERS_MAX];
    size_t len;
    struct scan scan = {.text = lua_tolstring(L, text, &len),
                        .refuse_utf8 = place->rules.refuse_utf8,
                        .members = few,
                        .room = MAP_MEMBERS_MAX};
    scan.reader.end = scan.text + len;
    int rc = find_members(&scan, scan.text + place->at);
    if (rc != GATE_OK) return rc;
    struct node *node = push_node(L, text, &scan, place);
    if (scan.count <= MAP_MEMBERS_MAX) {
        memcpy(node->members, few, scan.count * sizeof few[0]);
        return GATE_OK;
    }
    scan.members = node->members;
    scan.room = scan.count;
    return find_members(&scan, scan.text + place->at);
}

/* ---- Looking at a table ---------------------------------------------------------------------- */

static int raise_fault(lua_State *L, int rc) {
    return luaL_error(L, "decode: %s", gate_error_text(rc));
}

/* The whole value at `at`, which skip_value has stepped over before. */
static struct gate_span span_value(struct gate_span text, size_t at) {
    struct reader reader = {.at = text.data + at, .end = text.data + text.len};
    int rc = skip_value(&reader);
    return (struct gate_span){text.data + at, rc < 0 ? 0 : (size_t)(reader.at - text.data) - at};
}

static void decode_whole(lua_State *L, struct gate_span text, size_t at,
                         const struct gate_lua_rules *rules) {
    int rc = gate_lua_decode(L, &gate_json, span_value(text, at), rules, NULL);
    if (rc < 0) raise_fault(L, rc);
}

static void make_plain(lua_State *L, int table) {
    lua_pushnil(L);
    lua_rawsetp(L, table, &text_key);
    lua_pushnil(L);
    lua_rawsetp(L, table, &node_key);
    lua_pushnil(L);
    lua_setmetatable(L, table);
}

/* Is it still as it was made? Whatever allocates may run finalisers, and they may touch the table
 * meanwhile. */
static bool is_untouched(lua_State *L, int table) {
    lua_rawgetp(L, table, &node_key);
    bool untouched = lua_type(L, -1) == LUA_TNUMBER;
    lua_pop(L, 1);
    return untouched;
}

/* The untouched table becomes what its text says, all at once. */
static void become_decoded(lua_State *L, int table, struct gate_span text,
                           const struct place *place) {
    decode_whole(L, text, place->at, &place->rules);
    if (!is_untouched(L, table)) return;
    int whole = lua_gettop(L);
    make_plain(L, table);
    lua_pushnil(L);
    while (lua_next(L, whole)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, table);
    }
    lua_settop(L, whole - 1);
}

/* The first touch. NULL: the table is plain now. */
static struct node *touch(lua_State *L, int table) {
    struct gate_span text;
    struct place place = unpack_place((int64_t)lua_tonumber(L, -1));
    lua_rawgetp(L, table, &text_key);
    text.data = lua_tolstring(L, -1, &text.len);
    if (!text.data || place.at >= text.len) return NULL;
    int rc = index_container(L, lua_gettop(L), &place);
    if (rc < 0) raise_fault(L, rc);
    if (rc == GATE_AGAIN) {
        become_decoded(L, table, text, &place);
        return NULL;
    }
    if (is_untouched(L, table)) {
        lua_pushnil(L);
        lua_rawsetp(L, table, &text_key);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, table, &node_key);
    } else {
        lua_rawgetp(L, table, &node_key);
    }
    return lua_touserdata(L, -1);
}

/* The node of a lazy table, which stays on top of the stack; NULL when the table is plain, perhaps
 * only now. */
static struct node *open_node(lua_State *L, int table) {
    lua_rawgetp(L, table, &node_key);
    struct node *node = lua_touserdata(L, -1);
    return node ? node : touch(L, table);
}

static struct member *find_key(struct node *node, struct gate_span key) {
    uint32_t tag = tag_key(key);
    struct member *member = node->members, *end = member + node->count;
    for (; member < end; member++)
        if (member->tag == tag && has_key(node->text.data, member, key)) return member;
    return NULL;
}

/* The member of the key at `index`; NULL when there is none. */
static struct member *find_member(lua_State *L, struct node *node, int index) {
    if (!node->list) {
        struct gate_span key;
        if (lua_type(L, index) != LUA_TSTRING) return NULL;
        key.data = lua_tolstring(L, index, &key.len);
        return find_key(node, key);
    }
    if (lua_type(L, index) != LUA_TNUMBER) return NULL;
    lua_Number nth = lua_tonumber(L, index);
    if (!(nth >= 1 && nth <= (lua_Number)node->count)) return NULL;
    uint32_t at = (uint32_t)nth;
    return (lua_Number)at == nth ? &node->members[at - 1] : NULL;
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* A new lazy table, without its entries. */
static void push_table(lua_State *L, int entries) {
    lua_createtable(L, 0, entries);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key);
    lua_setmetatable(L, -2);
}

/* Lists of scalars are short, and read as a whole. */
static bool is_worth_it(struct gate_span value, size_t small_bytes) {
    if (value.len <= small_bytes) return false;
    const char *end = value.data + value.len, *at = skip_space(value.data + 1, end);
    return value.data[0] == '{' || (value.data[0] == '[' && at < end && (*at == '{' || *at == '['));
}

/* Up to the next member, or the end of the container: somewhat more than the value. */
static struct gate_span span_roughly(const struct node *node, const struct member *member) {
    const struct member *next = member + 1;
    uint32_t at = member->value_at, end = node->end;
    if (next < node->members + node->count && next->value_at > at)
        end = node->list ? next->value_at : next->key_at;
    return (struct gate_span){node->text.data + at, end - at};
}

/* `index`: of the node on the stack. */
static void push_container(lua_State *L, const struct node *node, int index, size_t at,
                           struct gate_span roughly) {
    if (!is_worth_it(roughly, SMALL_BYTES_MAX)) {
        decode_whole(L, node->text, at, &node->rules);
        return;
    }
    struct place place = {(uint32_t)at, node->rules};
    push_table(L, ENTRIES_BELOW);
    lua_getiuservalue(L, index, 1);
    lua_rawsetp(L, -2, &text_key);
    lua_pushinteger(L, (lua_Integer)pack_place(place));
    lua_rawsetp(L, -2, &node_key);
}

/* True when a string without escapes stands at `at`, which is pushed then. */
static bool push_plain_text(lua_State *L, const struct node *node, size_t at) {
    const char *from = node->text.data + at + 1;
    const char *stop = find_special(from, node->text.data + node->text.len);
    struct gate_span text = {from, (size_t)(stop - from)};
    if (*stop != '"') return false;
    if (node->rules.refuse_utf8 && !gate_text_is_utf8(text)) return false;
    lua_pushlstring(L, text.data, text.len);
    return true;
}

/* Pushes the value of a member of the node at `index` of the stack. */
static void push_value(lua_State *L, const struct node *node, int index,
                       const struct member *member) {
    size_t at = member->value_at;
    switch (node->text.data[at]) {
    case '{':
    case '[': push_container(L, node, index, at, span_roughly(node, member)); return;
    case 'n':
        if (node->list || node->rules.keep_null)
            gate_lua_push_null(L);
        else
            lua_pushnil(L);
        return;
    case '"':
        if (push_plain_text(L, node, at)) return;
        break;
    default: break;
    }
    decode_whole(L, node->text, at, &node->rules);
}

/* ---- Metamethods ----------------------------------------------------------------------------- */

/* The places on the stack in all of them. */
enum { TABLE = 1, KEY, VALUE };

static int lazy_index(lua_State *L) {
    lua_settop(L, KEY);
    luaL_checktype(L, TABLE, LUA_TTABLE);
    struct node *node = open_node(L, TABLE);
    if (!node) {
        lua_settop(L, KEY);
        lua_rawget(L, TABLE);
        return 1;
    }
    int index = lua_gettop(L);
    struct member *member = find_member(L, node, KEY);
    if (!member || member->taken) {
        lua_pushnil(L);
        return 1;
    }
    push_value(L, node, index, member);
    if (member->taken) { /* by a finaliser, just now */
        lua_settop(L, KEY);
        lua_rawget(L, TABLE);
        return 1;
    }
    lua_pushvalue(L, KEY);
    lua_pushvalue(L, -2);
    lua_rawset(L, TABLE);
    member->taken = 1;
    return 1;
}

/* Puts each member that is not taken into the table. Returns whether any was. */
static bool fill_table(lua_State *L, int table, struct node *node, int index, bool whole) {
    bool touched = false;
    for (uint32_t i = 0; i < node->count; i++) {
        struct member *member = &node->members[i];
        touched = touched || member->taken;
        if (member->taken) continue;
        char first = node->text.data[member->value_at];
        if (!node->list) lua_pushlstring(L, node->text.data + member->key_at, member->key_len);
        if (whole && (first == '{' || first == '['))
            decode_whole(L, node->text, member->value_at, &node->rules);
        else
            push_value(L, node, index, member);
        if (member->taken) { /* by a finaliser, just now */
            touched = true;
            lua_pop(L, node->list ? 1 : 2);
            continue;
        }
        if (node->list)
            lua_rawseti(L, table, (int)i + 1);
        else
            lua_rawset(L, table);
        member->taken = 1;
    }
    return touched;
}

/* Makes the table plain; `whole`: with all that is below it. Returns whether something may still be
 * lazy in there. */
static bool unfold(lua_State *L, int table, bool whole) {
    int base = lua_gettop(L);
    luaL_checkstack(L, 16, "lazy table");
    struct node *node = open_node(L, table);
    bool touched = node && fill_table(L, table, node, lua_gettop(L), whole);
    if (node) make_plain(L, table);
    lua_settop(L, base);
    return touched;
}

/* What was there is replaced. A list that grows is a list like any other from then on. */
static int lazy_newindex(lua_State *L) {
    lua_settop(L, VALUE);
    luaL_checktype(L, TABLE, LUA_TTABLE);
    struct node *node = open_node(L, TABLE);
    struct member *member = node ? find_member(L, node, KEY) : NULL;
    if (member)
        member->taken = 1;
    else if (node && node->list)
        unfold(L, TABLE, false);
    lua_settop(L, VALUE);
    lua_rawset(L, TABLE);
    return 0;
}

/* How long an open list is: its last element is a border unless it was taken away. 0: unknown. */
static uint32_t measure_list(lua_State *L, const struct node *node) {
    uint32_t count = node->count;
    if (count == 0 || !node->members[count - 1].taken) return count;
    lua_rawgeti(L, TABLE, (int)count);
    return lua_isnil(L, -1) ? 0 : count;
}

static int lazy_len(lua_State *L) {
    lua_settop(L, TABLE);
    luaL_checktype(L, TABLE, LUA_TTABLE);
    struct node *node = open_node(L, TABLE);
    if (node && node->list) {
        uint32_t count = measure_list(L, node);
        if (count) {
            lua_pushinteger(L, (lua_Integer)count);
            return 1;
        }
        unfold(L, TABLE, false);
    }
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, TABLE));
    return 1;
}

static int step_pairs(lua_State *L) {
    lua_settop(L, KEY);
    if (lua_next(L, TABLE)) return 2;
    lua_pushnil(L);
    return 1;
}

static int lazy_unfold(lua_State *L) {
    luaL_checktype(L, TABLE, LUA_TTABLE);
    unfold(L, TABLE, false);
    return 0;
}

static int lazy_pairs(lua_State *L) {
    lua_settop(L, TABLE);
    lazy_unfold(L);
    lua_pushcfunction(L, step_pairs);
    lua_pushvalue(L, TABLE);
    lua_pushnil(L);
    return 3;
}

/* ---- For Lua --------------------------------------------------------------------------------- */

static bool is_lazy(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key);
    bool same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return same;
}

/* Tables at `seen` were visited: users may tie theirs into knots. */
static void unfold_all(lua_State *L, int table, int seen, int depth) {
    if (depth == DECODED_DEPTH_MAX) luaL_error(L, "decoded: tables nested too deeply");
    luaL_checkstack(L, 8, "decoded");
    if (is_lazy(L, table) && !unfold(L, table, true)) return;
    lua_pushvalue(L, table);
    lua_pushboolean(L, 1);
    lua_rawset(L, seen);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_istable(L, -1)) {
            lua_pushvalue(L, -1);
            lua_rawget(L, seen);
            bool known = lua_toboolean(L, -1) != 0;
            lua_pop(L, 1);
            if (!known) unfold_all(L, lua_gettop(L), seen, depth + 1);
        }
        lua_pop(L, 1);
    }
}

static int core_decoded(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    if (lua_istable(L, 1)) {
        lua_newtable(L);
        unfold_all(L, 1, 2, 0);
    }
    lua_settop(L, 1);
    return 1;
}

/* ---- Making ---------------------------------------------------------------------------------- */

int gate_lua_lazy(lua_State *L, int index, const struct gate_lua_rules *rules) {
    static const struct gate_lua_rules plain_rules;
    struct gate_span text;
    index = lua_absindex(L, index);
    text.data = lua_tolstring(L, index, &text.len);
    const char *end = text.data + text.len, *at = skip_space(text.data, end);
    struct place place = {(uint32_t)(at - text.data), rules ? *rules : plain_rules};
    bool worth_it = is_worth_it((struct gate_span){at, (size_t)(end - at)}, EVENT_BYTES_MAX);
    if (!GATE_LUA_INTEGERS || text.len > INT32_MAX || !worth_it)
        return gate_lua_decode(L, &gate_json, text, rules, NULL);
    luaL_checkstack(L, 16, "lazy table");
    int rc = index_container(L, index, &place);
    if (rc < 0) return rc;
    if (rc == GATE_AGAIN) return gate_lua_decode(L, &gate_json, text, rules, NULL);
    const struct node *node = lua_touserdata(L, -1);
    if (skip_space(text.data + node->end, end) != end) {
        lua_pop(L, 1);
        return GATE_ESYNTAX;
    }
    push_table(L, ENTRIES_ABOVE);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &node_key);
    return GATE_OK;
}

/* Brackets in order and not too many: what gate_codec.scan sees to for the data of an event. */
static int check_depth(struct gate_span text) {
    const char *end = text.data + text.len;
    struct reader reader = {.at = skip_space(text.data, end), .end = end};
    if (reader.at == end || (*reader.at != '{' && *reader.at != '[')) return GATE_OK;
    return skip_value(&reader);
}

static int core_lazy(lua_State *L) {
    struct gate_span text;
    text.data = luaL_checklstring(L, 1, &text.len);
    struct gate_lua_rules rules = gate_lua_check_rules(L, 2, "lazy");
    int rc = check_depth(text);
    if (rc == GATE_OK) rc = gate_lua_lazy(L, 1, &rules);
    if (rc == GATE_OK) return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "lazy: %s", gate_error_text(rc));
    lua_pushstring(L, gate_error_name(rc));
    return 3;
}

void gate_lua_lazy_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"lazy", core_lazy}, {"decoded", core_decoded}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__index", lazy_index},
                                    {"__newindex", lazy_newindex},
                                    {"__len", lazy_len},
                                    {"__pairs", lazy_pairs},
                                    {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    gate_lua_push_lazy(L);
    luaL_setfuncs(L, meta, 0);
    lua_pushliteral(L, GATE_LUA_LAZY_NAME);
    lua_setfield(L, -2, "__metatable");
    lua_pushcfunction(L, lazy_unfold);
    lua_rawseti(L, -2, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &class_key);
}

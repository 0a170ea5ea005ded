/* lua_lazy.c - see lua_lazy.h. On the thread of the lua_State.
 *
 * A lazy table holds, besides what was touched, entries under keys that nobody else has:
 *
 *   NODE   from the first touch on: a userdata with the place of each member
 *   ROOT   before that: the root, while NODE is an integer, the place of the table in the text
 *
 * The root is the node of the outermost table. The text of the whole event, in JSON or ETF, stands
 * in it behind the members; it is the user value of every other node.
 *
 * Making it plain takes them away, and the metatable. A member that was handed out, or assigned to,
 * is marked as taken: what the table holds for it is then all that counts, also when that is nil.
 */
#include "lua_lazy.h"

#include "lua_index.h"
#include "lua_space.h"
#include "text.h"

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

static const char root_key, node_key; /* their addresses are the keys */
static const char class_key;          /* of the metatable in the registry */

struct node {
    const struct gate_indexer *indexer;
    struct gate_span text; /* of the whole event, in the root */
    struct gate_lua_rules rules;
    bool list, root;
    uint32_t end; /* the byte behind the container */
    uint32_t count;
    struct gate_member members[];
};

/* A place in a text, as it is kept in NODE before the table is touched. */
struct place {
    uint32_t at;
    const struct gate_indexer *indexer;
    struct gate_lua_rules rules;
};

#define PLACE_KEEPS   (INT64_C(1) << 32)
#define PLACE_REFUSES (INT64_C(1) << 33)
#define PLACE_ETF     (INT64_C(1) << 34)

static int64_t pack_place(struct place place) {
    return (int64_t)place.at | (place.rules.keep_null ? PLACE_KEEPS : 0) |
           (place.rules.refuse_utf8 ? PLACE_REFUSES : 0) |
           (place.indexer == &gate_indexer_etf ? PLACE_ETF : 0);
}

static struct place unpack_place(int64_t packed) {
    return (struct place){.at = (uint32_t)packed,
                          .indexer = packed & PLACE_ETF ? &gate_indexer_etf : &gate_indexer_json,
                          .rules = {.keep_null = (packed & PLACE_KEEPS) != 0,
                                    .refuse_utf8 = (packed & PLACE_REFUSES) != 0}};
}

/* ---- Finding the members --------------------------------------------------------------------- */

/* Pushes the node of what was found, with room for all of it; `root`: the index of the root, 0:
 * this is one, and has the text. */
static struct node *push_node(lua_State *L, int root, const struct gate_index *index,
                              const struct place *place) {
    size_t bytes = sizeof(struct node) + index->count * sizeof(struct gate_member);
    struct gate_span text = index->text;
    struct node *node = lua_newuserdatauv(L, bytes + (root ? 0 : text.len), root ? 1 : 0);
    if (root) {
        lua_pushvalue(L, root);
        lua_setiuservalue(L, -2, 1);
    } else {
        text.data = memcpy((char *)node + bytes, text.data, text.len);
    }
    *node = (struct node){.indexer = place->indexer,
                          .text = text,
                          .rules = place->rules,
                          .list = index->list,
                          .root = root == 0,
                          .end = index->end,
                          .count = index->count};
    return node;
}

/* Pushes the node of the container at place->at of the text, or nothing: an error, or GATE_AGAIN
 * where it is better decoded whole. `root`: as above. */
static int index_container(lua_State *L, int root, struct gate_span text,
                           const struct place *place) {
    struct gate_member few[MAP_MEMBERS_MAX];
    struct gate_index index = {.text = text,
                               .refuse_utf8 = place->rules.refuse_utf8,
                               .members = few,
                               .room = MAP_MEMBERS_MAX};
    int rc = place->indexer->find(&index, place->at);
    if (rc != GATE_OK) return rc;
    struct node *node = push_node(L, root, &index, place);
    if (index.count <= MAP_MEMBERS_MAX) {
        memcpy(node->members, few, index.count * sizeof few[0]);
        return GATE_OK;
    }
    index.members = node->members;
    index.room = index.count;
    index.count = 0;
    return place->indexer->find(&index, place->at);
}

/* ---- Looking at a table ---------------------------------------------------------------------- */

static int raise_fault(lua_State *L, int rc) {
    return luaL_error(L, "decode: %s", gate_error_text(rc));
}

/* Pushes the whole value at `at`, which was stepped over before. */
static void decode_whole(lua_State *L, const struct gate_indexer *indexer, struct gate_span text,
                         size_t at, const struct gate_lua_rules *rules) {
    size_t behind;
    int rc = indexer->skip(text, at, &behind);
    struct gate_span value = {text.data + at, rc < 0 ? 0 : behind - at};
    if (rc == GATE_OK) rc = gate_lua_decode(L, indexer->codec, value, rules, NULL);
    if (rc < 0) raise_fault(L, rc);
}

static void make_plain(lua_State *L, int table) {
    lua_pushnil(L);
    lua_rawsetp(L, table, &root_key);
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
    decode_whole(L, place->indexer, text, place->at, &place->rules);
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
    struct place place = unpack_place((int64_t)lua_tonumber(L, -1));
    lua_rawgetp(L, table, &root_key);
    const struct node *root = lua_touserdata(L, -1);
    if (!root || place.at >= root->text.len) return NULL;
    int rc = index_container(L, lua_gettop(L), root->text, &place);
    if (rc < 0) raise_fault(L, rc);
    if (rc == GATE_AGAIN) {
        become_decoded(L, table, root->text, &place);
        return NULL;
    }
    if (is_untouched(L, table)) {
        lua_pushnil(L);
        lua_rawsetp(L, table, &root_key);
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

static struct gate_member *find_key(struct node *node, struct gate_span key) {
    uint32_t tag = gate_index_tag(key);
    struct gate_member *member = node->members, *end = member + node->count;
    for (; member < end; member++)
        if (member->tag == tag && gate_index_is(node->text, member, key)) return member;
    return NULL;
}

/* The member of the key at `index`; NULL when there is none. */
static struct gate_member *find_member(lua_State *L, struct node *node, int index) {
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
static bool is_worth_it(const struct gate_indexer *indexer, struct gate_span value,
                        size_t small_bytes) {
    return value.len > small_bytes && indexer->nests(value);
}

/* Up to the next member, or the end of the container: somewhat more than the value. */
static struct gate_span span_roughly(const struct node *node, const struct gate_member *member) {
    const struct gate_member *next = member + 1;
    uint32_t at = member->value_at, end = node->end;
    if (next < node->members + node->count && next->value_at > at)
        end = node->list ? next->value_at : next->key_at;
    return (struct gate_span){node->text.data + at, end - at};
}

/* `index`: of the node on the stack. */
static void push_container(lua_State *L, const struct node *node, int index, size_t at,
                           struct gate_span roughly) {
    if (!is_worth_it(node->indexer, roughly, SMALL_BYTES_MAX)) {
        decode_whole(L, node->indexer, node->text, at, &node->rules);
        return;
    }
    struct place place = {(uint32_t)at, node->indexer, node->rules};
    push_table(L, ENTRIES_BELOW);
    if (node->root)
        lua_pushvalue(L, index);
    else
        lua_getiuservalue(L, index, 1);
    lua_rawsetp(L, -2, &root_key);
    lua_pushinteger(L, (lua_Integer)pack_place(place));
    lua_rawsetp(L, -2, &node_key);
}

/* Pushes the value of a member of the node at `index` of the stack; `whole`: nothing in it lazy. */
static void push_value(lua_State *L, const struct node *node, int index,
                       const struct gate_member *member, bool whole) {
    struct gate_span text = {NULL, 0};
    size_t at = member->value_at;
    enum gate_sight sight = node->indexer->look(node->text, at, &text);
    if (sight == GATE_SIGHT_CONTAINER && !whole) {
        push_container(L, node, index, at, span_roughly(node, member));
    } else if (sight == GATE_SIGHT_NULL && (node->list || node->rules.keep_null)) {
        gate_lua_push_null(L);
    } else if (sight == GATE_SIGHT_NULL) {
        lua_pushnil(L);
    } else if (sight == GATE_SIGHT_TEXT && !(node->rules.refuse_utf8 && !gate_text_is_utf8(text))) {
        lua_pushlstring(L, text.data, text.len);
    } else {
        decode_whole(L, node->indexer, node->text, at, &node->rules);
    }
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
    struct gate_member *member = find_member(L, node, KEY);
    if (!member || member->taken) {
        lua_pushnil(L);
        return 1;
    }
    push_value(L, node, index, member, false);
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
        struct gate_member *member = &node->members[i];
        touched = touched || member->taken;
        if (member->taken) continue;
        if (!node->list) lua_pushlstring(L, node->text.data + member->key_at, member->key_len);
        push_value(L, node, index, member, whole);
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
    struct gate_member *member = node ? find_member(L, node, KEY) : NULL;
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

static const struct gate_indexer *indexer_of(const struct gate_codec *codec) {
    return codec == &gate_etf ? &gate_indexer_etf : &gate_indexer_json;
}

static bool is_space(char byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* What stands in front of a value: white space in JSON, the version in ETF. */
static size_t measure_front(const struct gate_codec *codec, struct gate_span text) {
    size_t at = 0;
    if (codec == &gate_etf) return codec->claims(text) ? 1 : 0;
    while (at < text.len && is_space(text.data[at])) at++;
    return at;
}

/* Nothing but white space may stand behind one. */
static bool is_end(const struct gate_codec *codec, struct gate_span rest) {
    return rest.len == 0 || (codec == &gate_json && measure_front(codec, rest) == rest.len);
}

int gate_lua_lazy(lua_State *L, const struct gate_codec *codec, struct gate_span text,
                  const struct gate_lua_rules *rules) {
    static const struct gate_lua_rules plain_rules;
    struct place place = {.at = (uint32_t)measure_front(codec, text),
                          .indexer = indexer_of(codec),
                          .rules = rules ? *rules : plain_rules};
    struct gate_span value = {text.data + place.at, text.len - place.at};
    if (!GATE_LUA_INTEGERS || text.len > INT32_MAX ||
        !is_worth_it(place.indexer, value, EVENT_BYTES_MAX))
        return gate_lua_decode(L, codec, text, rules, NULL);
    luaL_checkstack(L, 16, "lazy table");
    int rc = index_container(L, 0, text, &place);
    if (rc < 0) return rc;
    if (rc == GATE_AGAIN) return gate_lua_decode(L, codec, text, rules, NULL);
    const struct node *node = lua_touserdata(L, -1);
    struct gate_span rest = {text.data + node->end, text.len - node->end};
    if (!is_end(codec, rest)) {
        lua_pop(L, 1);
        return GATE_ESYNTAX;
    }
    push_table(L, ENTRIES_ABOVE);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &node_key);
    return GATE_OK;
}

/* Brackets in order and not too many: what gate_codec.scan sees to for the data of an event. */
static int check_depth(const struct gate_codec *codec, struct gate_span text) {
    const struct gate_indexer *indexer = indexer_of(codec);
    size_t at = measure_front(codec, text), behind;
    struct gate_span value = {text.data + at, text.len - at};
    return indexer->nests(value) ? indexer->skip(text, at, &behind) : GATE_OK;
}

static int core_lazy(lua_State *L) {
    struct gate_span text;
    text.data = luaL_checklstring(L, 1, &text.len);
    const struct gate_codec *codec;
    struct gate_lua_rules rules = gate_lua_check_rules(L, 2, "lazy", &codec);
    int rc = check_depth(codec, text);
    if (rc == GATE_OK) rc = gate_lua_lazy(L, codec, text, &rules);
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

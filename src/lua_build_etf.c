/* lua_build_etf.c - terms into Lua: the ETF reader compiled against a builder of its own. On the
 * thread of the lua_State, called by lua_build.c.
 *
 * Terms say beforehand how much is in them, so each table is made at once in its size and filled
 * while its members are read. The stack, from below:
 *
 *   [workspace] [anchors] | [table] key [table] ... value */
#include "lua_space.h"
#include "lua_value.h"
#include "text.h"

/* A count is only a promise, and each may be made again one level deeper: what is beyond this is
 * believed when it is there. */
#define PROMISE_MAX 1024

#define STACK_PLACES 8 /* for a table, its key, its value, and what one step needs */

struct place {
    bool map;
    uint32_t items; /* of a list, so far */
};

struct builder {
    lua_State *L;
    struct gate_lua_space *space;
    int anchors; /* index of the table of anchors */
    bool keep_null, refuse_utf8;
    struct place *place; /* the innermost open container, or the first place */
    struct place places[GATE_DEPTH_MAX + 1];
};

static inline int build_null(struct builder *builder) {
    bool root = builder->place == builder->places;
    if (!builder->keep_null && (root || builder->place->map))
        lua_pushnil(builder->L);
    else
        gate_lua_push_null(builder->L);
    return GATE_OK;
}

static inline int build_boolean(struct builder *builder, bool value) {
    lua_pushboolean(builder->L, value);
    return GATE_OK;
}

static inline int build_integer(struct builder *builder, int64_t value) {
#if GATE_LUA_INTEGERS
    lua_pushinteger(builder->L, value);
#else
    lua_pushnumber(builder->L, (lua_Number)value);
#endif
    return GATE_OK;
}

static inline int build_number(struct builder *builder, double value) {
    lua_pushnumber(builder->L, value);
    return GATE_OK;
}

static inline int build_text(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    lua_pushlstring(builder->L, text.data, text.len);
    return GATE_OK;
}

/* The reader keeps to the limit of depth, so there is a place. */
static inline int open_table(struct builder *builder, uint32_t items, uint32_t pairs) {
    if (!lua_checkstack(builder->L, STACK_PLACES)) return GATE_EMEMORY;
    lua_createtable(builder->L, (int)(items < PROMISE_MAX ? items : PROMISE_MAX),
                    (int)(pairs < PROMISE_MAX ? pairs : PROMISE_MAX));
    builder->place++;
    return GATE_OK;
}

static inline int build_open_list(struct builder *builder, uint32_t count) {
    int rc = open_table(builder, count, 0);
    *builder->place = (struct place){.map = false};
    if (rc < 0 || count > 0) return rc;
    lua_rawgeti(builder->L, builder->anchors, GATE_ANCHORED_MARK); /* it goes out as a list again */
    lua_setmetatable(builder->L, -2);
    return GATE_OK;
}

static inline int build_item(struct builder *builder) {
    lua_rawseti(builder->L, -2, (int)++builder->place->items);
    return GATE_OK;
}

static inline int build_close_list(struct builder *builder) {
    builder->place--;
    return GATE_OK;
}

static inline int build_open_map(struct builder *builder, uint32_t pairs) {
    int rc = open_table(builder, 0, pairs);
    *builder->place = (struct place){.map = true};
    return rc;
}

static inline int build_key(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    gate_lua_push_key(builder->L, builder->space, builder->anchors, text);
    return GATE_OK;
}

static inline int build_member(struct builder *builder) {
    lua_rawset(builder->L, -3);
    return GATE_OK;
}

static inline int build_close_map(struct builder *builder) {
    builder->place--;
    return GATE_OK;
}

/* True when a member of this key that is null leaves no trace: there was none of that key before
 * it, and setting nil would only take room. */
static inline bool skips_null(struct builder *builder, struct gate_span text) {
    lua_State *L = builder->L;
    if (builder->keep_null || builder->refuse_utf8) return false;
    gate_lua_push_key(L, builder->space, builder->anchors, text);
    lua_rawget(L, -2);
    bool absent = lua_isnil(L, -1);
    lua_pop(L, 1);
    return absent;
}

#define READ_TO                  struct builder
#define READ_CALL(name)          build_##name
#define READ_SKIPS_NULL(to, key) skips_null(to, key)
#include "etf_read.h"

int gate_lua_build_etf(lua_State *L, struct gate_lua_space *space,
                       const struct gate_lua_rules *rules, struct gate_span value, size_t *at) {
    struct builder builder;
    struct reader reader;
    builder.L = L;
    builder.space = space;
    builder.anchors = lua_gettop(L);
    builder.keep_null = rules && rules->keep_null;
    builder.refuse_utf8 = rules && rules->refuse_utf8;
    builder.place = builder.places;
    size_t used = value.len;
    space->scratch.len = 0;
    int packed = gate_etf.unpack(value, &space->scratch, &used);
    if (packed < 0) return packed;
    if (used < value.len) return GATE_ESYNTAX;
    start_reader(&reader, packed ? gate_buf_span(&space->scratch) : value, &builder);
    int rc = read_whole(&reader);
    if (at && !packed) *at = (size_t)(reader.at - value.data);
    return rc;
}

/* lua_space.c - see lua_space.h. */
#include "lua_space.h"

#define ARRAY_NAME "moongate.array" /* the mark's key in the registry, shared by all modules */

void gate_lua_push_mark(lua_State *L) {
    if (luaL_newmetatable(L, ARRAY_NAME)) {
        lua_pushliteral(L, ARRAY_NAME);
        lua_setfield(L, -2, "__name"); /* which Lua sets itself from 5.3 on */
    }
}

void gate_lua_push_lazy(lua_State *L) {
    luaL_newmetatable(L, GATE_LUA_LAZY_NAME);
}

static const char workspace_key; /* its address is the key in the registry */

static int free_workspace(lua_State *L) {
    struct gate_lua_space *space = lua_touserdata(L, 1);
    gate_buf_free(&space->scratch);
    return 0;
}

/* The keys begin where a line of the cache does. */
static void prepare_keys(struct gate_lua_space *space) {
    uintptr_t at = (uintptr_t)space->memory + GATE_LINE_BYTES - 1;
    space->keys = (void *)(at - at % GATE_LINE_BYTES);
    for (int i = 0; i < GATE_KEYS; i++)
        space->first[i] = (struct gate_next_keys){&space->none, &space->none};
}

static struct gate_lua_space *create_workspace(lua_State *L) {
    struct gate_lua_space *space = lua_newuserdatauv(L, sizeof *space, 1);
    memset(space, 0, sizeof *space);
    prepare_keys(space);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_workspace);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_createtable(L, GATE_ANCHORS, 0);
    gate_lua_push_mark(L);
    lua_rawseti(L, -2, GATE_ANCHORED_MARK);
    gate_lua_push_lazy(L);
    lua_rawseti(L, -2, GATE_ANCHORED_LAZY);
    for (int i = GATE_ANCHORED_KEY; i <= GATE_ANCHORS; i++) {
        lua_pushboolean(L, 0);
        lua_rawseti(L, -2, i);
    }
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &workspace_key);
    return space;
}

/* Finalisers may decode while a value is being decoded: they get a new workspace, which serves from
 * then on. */
struct gate_lua_space *gate_lua_push_space(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &workspace_key);
    struct gate_lua_space *space = lua_touserdata(L, -1);
    if (space && !space->busy) return space;
    lua_pop(L, 1);
    return create_workspace(L);
}

/* The place is free until the string is anchored: Lua may run out of memory before. */
static void learn_key(lua_State *L, struct gate_lua_space *space, int anchors,
                      struct gate_span text, struct gate_known_key *out) {
    out->bytes = 0;
    out->counts = 0;
    out->anchor = GATE_ANCHORED_KEY + (int)(out - space->keys);
    lua_pushvalue(L, -1);
    lua_rawseti(L, anchors, out->anchor);
    out->next = (struct gate_next_keys){&space->none, &space->none};
    gate_key_write(text, out);
}

/* Each key has two places to choose from. */
struct gate_known_key *gate_lua_push_key(lua_State *L, struct gate_lua_space *space, int anchors,
                                         unsigned kind, struct gate_span text) {
    uint64_t hash = gate_key_hash(text) ^ kind * UINT64_C(0x9E3779B97F4A7C15);
    size_t place = (size_t)(hash >> 32) % GATE_KEY_PLACES;
    struct gate_known_key *key = &space->keys[place];
    if (!gate_key_equals(key, text.data, text.len, text.len) && key->bytes)
        key = &space->keys[place ^ 1];
    if (gate_key_equals(key, text.data, text.len, text.len)) {
        lua_rawgeti(L, anchors, key->anchor);
        return key;
    }
    lua_pushlstring(L, text.data, text.len);
    if (!gate_key_is_plain(text)) return NULL;
    learn_key(L, space, anchors, text, key);
    return key;
}

void gate_lua_push_known_marks(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &workspace_key);
    if (lua_isnil(L, -1)) {
        lua_pushnil(L);
        return;
    }
    lua_getiuservalue(L, -1, 1);
    lua_rawgeti(L, -1, GATE_ANCHORED_MARK);
    lua_replace(L, -3);
    lua_rawgeti(L, -1, GATE_ANCHORED_LAZY);
    lua_replace(L, -2);
}

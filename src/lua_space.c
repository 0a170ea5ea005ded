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

static struct gate_lua_space *create_workspace(lua_State *L) {
    struct gate_lua_space *space = lua_newuserdatauv(L, sizeof *space, 1);
    memset(space, 0, sizeof *space);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_workspace);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_createtable(L, GATE_ANCHORED_LAZY, 0);
    gate_lua_push_lazy(L);
    lua_rawseti(L, -2, GATE_ANCHORED_LAZY);
    gate_lua_push_mark(L);
    lua_rawseti(L, -2, GATE_ANCHORED_MARK);
    for (int i = GATE_KEYS; i > 0; i--) {
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

/* The bytes are described last: until the string is anchored, Lua may run out of memory. */
void gate_lua_learn_key(lua_State *L, struct gate_lua_space *space, int anchors,
                        const struct gate_key *key, struct gate_span text) {
    int number = gate_key_number(key);
    lua_pushlstring(L, text.data, text.len);
    if (text.len == 0 || text.len > GATE_KEY_BYTES_MAX) return;
    space->keys[number].len = 0;
    space->written[number].bytes = 0;
    lua_pushvalue(L, -1);
    lua_rawseti(L, anchors, number + 1);
    space->keys[number] = *key;
    gate_key_write(text, &space->written[number]);
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

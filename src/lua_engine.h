/* lua_engine.h - what the files of the running side share: the engine as userdata.
 * Included by lua_engine.c, lua_record.h and lua_shard.c, on the Lua thread. */
#ifndef MOONGATE_LUA_ENGINE_H
#define MOONGATE_LUA_ENGINE_H

#include "engine.h"
#include "lua_core.h"
#include "lua_value.h"

struct gate_engine_box {
    const void *tag;            /* &gate_engine_tag: told from other userdata without a look-up */
    struct gate_engine *engine; /* NULL once closed */
    struct gate_lua_rules rules;
    int64_t seq; /* of the event that was given last */
};

extern const char gate_engine_tag;

/* The engine at `index`; raises for anything else. It may be closed. */
static inline struct gate_engine_box *gate_lua_engine(lua_State *L, int index) {
    struct gate_engine_box *box = lua_touserdata(L, index);
    if (box && lua_rawlen(L, index) == sizeof *box && box->tag == &gate_engine_tag) return box;
    return luaL_checkudata(L, index, GATE_LUA_ENGINE);
}

/* The engine at index 1; raises for one that is closed as well. */
static inline struct gate_engine_box *gate_lua_open_engine(lua_State *L) {
    struct gate_engine_box *box = gate_lua_engine(L, 1);
    if (!box->engine) gate_lua_closed(L, "engine");
    return box;
}

/* Sets a field of the table on top. */
static inline void gate_lua_set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

#endif

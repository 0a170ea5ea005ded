/* lua_compat.h - Lua's C interface of 5.4 where 5.1, LuaJIT, 5.2 and 5.3 lack a piece of it.
 * Included by the lua_*.c files instead of lua.h and lauxlib.h. Not the whole interface: what the
 * core uses. Two limits: a userdata has its user values in a table before 5.4 (any number of them),
 * and lua_rawget and its like return nothing before 5.3, so ask lua_type. */
#ifndef MOONGATE_LUA_COMPAT_H
#define MOONGATE_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Integers are a type of their own from 5.3 on; before, numbers hold them exactly up to 2^53. */
#if LUA_VERSION_NUM >= 503
#define GATE_LUA_INTEGERS 1
#else
#define GATE_LUA_INTEGERS 0
#endif

#ifndef LUA_OK
#define LUA_OK 0
#endif

#if LUA_VERSION_NUM < 502

static inline int lua_absindex(lua_State *L, int index) {
    return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

static inline size_t lua_rawlen(lua_State *L, int index) {
    return lua_objlen(L, index);
}

static inline void lua_rawgetp(lua_State *L, int index, const void *key) {
    index = lua_absindex(L, index);
    lua_pushlightuserdata(L, (void *)(ptrdiff_t)key);
    lua_rawget(L, index);
}

static inline void lua_rawsetp(lua_State *L, int index, const void *key) {
    index = lua_absindex(L, index);
    lua_pushlightuserdata(L, (void *)(ptrdiff_t)key);
    lua_insert(L, -2);
    lua_rawset(L, index);
}

/* LuaJIT 2.1 has brought these along from 5.2. */
#ifndef luaL_newlibtable
static inline void luaL_setfuncs(lua_State *L, const luaL_Reg *functions, int upvalues) {
    luaL_checkstack(L, upvalues, "too many upvalues");
    for (; functions->name; functions++) {
        for (int i = 0; i < upvalues; i++) lua_pushvalue(L, -upvalues);
        lua_pushcclosure(L, functions->func, upvalues);
        lua_setfield(L, -(upvalues + 2), functions->name);
    }
    lua_pop(L, upvalues);
}

static inline void *luaL_testudata(lua_State *L, int index, const char *name) {
    void *memory = lua_touserdata(L, index);
    if (!memory || !lua_getmetatable(L, index)) return NULL;
    luaL_getmetatable(L, name);
    bool same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return same ? memory : NULL;
}

static inline void luaL_setmetatable(lua_State *L, const char *name) {
    luaL_getmetatable(L, name);
    lua_setmetatable(L, -2);
}
#define luaL_newlibtable(L, list) lua_createtable(L, 0, (int)(sizeof(list) / sizeof((list)[0])) - 1)
#define luaL_newlib(L, list)      (luaL_newlibtable(L, list), luaL_setfuncs(L, list, 0))
#endif

#endif

/* Resumes `co` with `count` values that stand on it; `results` stand on it afterwards. */
static inline int gate_lua_resume(lua_State *co, lua_State *from, int count, int *results) {
#if LUA_VERSION_NUM >= 504
    return lua_resume(co, from, count, results);
#else
#if LUA_VERSION_NUM >= 502
    int rc = lua_resume(co, from, count);
#else
    int rc = lua_resume(co, count);
    (void)from;
#endif
    *results = lua_gettop(co);
    return rc;
#endif
}

#if LUA_VERSION_NUM < 503

/* An integer is a number without a fraction that a double holds exactly. */
static inline int lua_isinteger(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TNUMBER) return 0;
    lua_Number value = lua_tonumber(L, index);
    return value >= -9007199254740992.0 && value <= 9007199254740992.0 &&
           value == (lua_Number)(long long)value;
}

#endif

#if LUA_VERSION_NUM < 504

#if LUA_VERSION_NUM < 502
#define GATE_LUA_PUSH_USER(L, index) lua_getfenv(L, index)
#define GATE_LUA_TAKE_USER(L, index) ((void)lua_setfenv(L, index))
#else
#define GATE_LUA_PUSH_USER(L, index) ((void)lua_getuservalue(L, index))
#define GATE_LUA_TAKE_USER(L, index) lua_setuservalue(L, index)
#endif

static inline void *lua_newuserdatauv(lua_State *L, size_t bytes, int values) {
    void *memory = lua_newuserdata(L, bytes);
    if (values > 0) {
        lua_createtable(L, values, 0);
        GATE_LUA_TAKE_USER(L, -2);
    }
    return memory;
}

static inline int lua_getiuservalue(lua_State *L, int index, int nth) {
    GATE_LUA_PUSH_USER(L, index);
    lua_rawgeti(L, -1, nth);
    lua_remove(L, -2);
    return lua_type(L, -1);
}

static inline int lua_setiuservalue(lua_State *L, int index, int nth) {
    GATE_LUA_PUSH_USER(L, index);
    lua_insert(L, -2);
    lua_rawseti(L, -2, nth);
    lua_pop(L, 1);
    return 1;
}

#endif

#endif

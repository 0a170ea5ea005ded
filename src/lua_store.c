/* lua_store.c - what session stores and coordinators need of C: replacing a file, a lock, the
 * fingerprint of a token. Used by store.lua, sessions.lua and coordinator.lua, on the thread of the
 * lua_State. */
#include <errno.h>
#include <string.h>

#include "file.h"
#include "lua_core.h"
#include "tls.h"

static const char *check_path(lua_State *L, int index) {
    size_t len;
    const char *path = luaL_checklstring(L, index, &len);
    luaL_argcheck(L, len > 0 && strlen(path) == len, index, "no path of a file");
    return path;
}

/* core.replace_file(path, text) -> true, or nil, message, code. */
static int core_replace_file(lua_State *L) {
    const char *step, *path = check_path(L, 1);
    struct gate_span text;
    text.data = luaL_checklstring(L, 2, &text.len);
    int rc = gate_file_replace(path, text, &step);
    if (rc == GATE_OK) return gate_lua_result(L, "replace_file", rc);
    const char *why = rc == GATE_ESYSTEM ? strerror(errno) : gate_error_text(rc);
    return gate_lua_fail(L, rc, "%s %s: %s", step, path, why);
}

/* core.lock_file(path [, timeout_ms]) -> a lock, which is given back by lock:close(), by
 * collection, or by the end of the process; or nil, message, code. Waits at most `timeout_ms`,
 * 0 to GATE_FILE_LOCK_TIMEOUT_MS, which it is by default. */
static int core_lock_file(lua_State *L) {
    const char *path = check_path(L, 1);
    lua_Integer timeout_ms = luaL_optinteger(L, 2, GATE_FILE_LOCK_TIMEOUT_MS);
    luaL_argcheck(L, timeout_ms >= 0 && timeout_ms <= GATE_FILE_LOCK_TIMEOUT_MS, 2,
                  "no time to wait");
    int *lock = lua_newuserdatauv(L, sizeof *lock, 0);
    *lock = -1;
    luaL_setmetatable(L, GATE_LUA_LOCK);
    *lock = gate_file_lock(path, (int)timeout_ms);
    if (*lock >= 0) return 1;
    const char *why = *lock == GATE_ESYSTEM ? strerror(errno) : "another process holds it";
    return gate_lua_fail(L, *lock, "lock %s: %s", path, why);
}

static int lock_close(lua_State *L) {
    int *lock = luaL_checkudata(L, 1, GATE_LUA_LOCK);
    if (*lock >= 0) gate_file_unlock(*lock);
    *lock = -1;
    return 0;
}

/* core.fingerprint(text) -> 16 hex digits that tell tokens apart and do not tell them. */
static int core_fingerprint(lua_State *L) {
    char out[GATE_FINGERPRINT_TEXT_MAX];
    struct gate_span text;
    text.data = luaL_checklstring(L, 1, &text.len);
    int rc = gate_tls_fingerprint(text, out);
    if (rc < 0) return gate_lua_result(L, "fingerprint", rc);
    lua_pushstring(L, out);
    return 1;
}

void gate_lua_store_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"close", lock_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", lock_close}, {"__close", lock_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"replace_file", core_replace_file},
                                         {"lock_file", core_lock_file},
                                         {"fingerprint", core_fingerprint},
                                         {NULL, NULL}};
    gate_lua_class(L, GATE_LUA_LOCK, methods, meta);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}

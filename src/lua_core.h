/* lua_core.h - what the Lua files of the core share: classes, the result helper, option readers.
 * Included by the lua_*.c files only; everything here runs on the thread of the lua_State.
 * None of these functions keeps state outside of the lua_State. */
#ifndef MOONGATE_LUA_CORE_H
#define MOONGATE_LUA_CORE_H

#include "lua_compat.h"
#include "machine.h"
#include "moongate.h"
#include "shard.h"

#define GATE_LUA_MACHINE "moongate.machine"
#define GATE_LUA_ENGINE  "moongate.engine"
#define GATE_LUA_RECORD  "moongate.record"
#define GATE_LUA_SHARD   "moongate.shard"
#define GATE_LUA_LOCK    "moongate.lock"
#define GATE_LUA_EAR     "moongate.ear"

/* Classes. */

/* Makes the metatable `name` with the functions of `meta`, leaves it on the stack, and below it the
 * new table of `methods`. __index is left to the caller; the metatable is hidden from Lua. */
void gate_lua_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *meta);

/* The same with an __index: `index` over the methods, or where that is NULL the methods themselves.
 * Leaves the table of methods on the stack. */
void gate_lua_register(lua_State *L, const char *name, const luaL_Reg *methods,
                       const luaL_Reg *meta, lua_CFunction index);

/* Raises "attempt to use a closed engine": the one place that says so. */
int gate_lua_closed(lua_State *L, const char *noun);

/* Results. */

/* Pushes nil, "<format>" and the name of `error`; returns 3. */
int gate_lua_fail(lua_State *L, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Pushes true, or what gate_lua_fail pushes: "<operation>: <text of the error>". */
int gate_lua_result(lua_State *L, const char *operation, int error);

/* Fields of an option table at the absolute index `table`. A wrong type raises with the key's name.
 * Text is borrowed from the table. */
struct gate_span gate_lua_text(lua_State *L, int table, const char *key); /* absent: len 0 */
int64_t gate_lua_integer(lua_State *L, int table, const char *key, int64_t absent);
bool gate_lua_flag(lua_State *L, int table, const char *key, bool absent);

/* Fills `out` from a table whose keys are the fields of struct gate_options, but: `encoding` and
 * `compress` by name, `properties` = { os, browser, device }, `session` = { id, url, seq }. The
 * spans are valid as long as the table is unchanged. Raises for what is not possible. */
void gate_lua_options(lua_State *L, int table, struct gate_options *out);

/* Fills `out` from a list of names at `names` and { all, send, receive } at `flags` (or nil).
 * Raises with nothing allocated. */
void gate_lua_interest(lua_State *L, int names, int flags, struct gate_interest *out);

/* Pushes a table: state, seq, latency_ms, ..., counts = { ... }. What is not known is absent. */
void gate_lua_push_status(lua_State *L, const struct gate_status *status);

/* The error of a name like "ETLS" at `index`; 0 for nil. Raises for an unknown one. */
int gate_lua_error_code(lua_State *L, int index);

/* Openers: each adds its functions to the module table on top of the stack. */
void gate_lua_machine_open(lua_State *L);
void gate_lua_engine_open(lua_State *L);
void gate_lua_shard_open(lua_State *L);
void gate_lua_store_open(lua_State *L);
void gate_lua_quota_open(lua_State *L);
void gate_lua_terminal_open(lua_State *L);
void gate_lua_ear_open(lua_State *L);

/* What require "moongate.core" calls. */
int luaopen_moongate_core(lua_State *L);

#endif

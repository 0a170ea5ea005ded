/* lua_lazy.h - tables that decode only what is touched. Called by lua_engine.c, and from Lua
 * through moongate.core, on the thread of the lua_State.
 *
 * A lazy table behaves as the decoded one under index, assignment, `#`, `pairs` and `ipairs`. What
 * was touched stands in it as in any table, and `pairs` makes it plain, the tables in it staying
 * lazy. Lua 5.3 or newer; before, metatables cannot do all this, and the value is decoded whole. */
#ifndef MOONGATE_LUA_LAZY_H
#define MOONGATE_LUA_LAZY_H

#include "lua_compat.h"
#include "lua_value.h"

/* Pushes the lazy table of the value that `text` is, of which it takes a copy, and returns 0; or
 * pushes nothing and returns what gate_lua_decode does for one whose outermost level is wrong. A
 * value that is not worth it (a scalar, a small event, a list of scalars, a packed term) is decoded
 * whole. What is wrong further down raises an error where it is touched. The value is nested at
 * most GATE_DEPTH_MAX deep, which gate_codec.scan has checked. */
GATE_MUST_CHECK int gate_lua_lazy(lua_State *L, const struct gate_codec *codec,
                                  struct gate_span text, const struct gate_lua_rules *rules);

/* Adds to the table on top of the stack, in Lua:
 *   lazy(text [, { null = "drop"|"keep", invalid_utf8 = "pass"|"refuse",
 *                  encoding = "json"|"etf" }]) -> the lazy table, or nil, message, code
 *   decoded(value) -> value, in which every table that was lazy is a plain one now */
void gate_lua_lazy_open(lua_State *L);

#endif

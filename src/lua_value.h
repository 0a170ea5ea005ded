/* lua_value.h - Lua values from and to the encodings, moongate.null and the array mark.
 * Called by the other lua_*.c files on the thread of the lua_State. Linked into both moongate.core
 * and moongate.sandbox.core; the mark and null are the same in both. */
#ifndef MOONGATE_LUA_VALUE_H
#define MOONGATE_LUA_VALUE_H

#include "codec.h"
#include "lua_compat.h"
#include "moongate.h"

/* How to decode; all zero is the default. */
struct gate_lua_rules {
    bool keep_null;   /* a null is moongate.null everywhere, else an absent key in objects */
    bool refuse_utf8; /* GATE_EUTF8 for text that is not UTF-8, else it is passed on as it is */
};

#define GATE_LUA_AT_UNKNOWN ((size_t)-1)

/* Pushes the Lua value of `value` and returns 0, or pushes nothing and returns what
 * gate_codec.walk returns; *at is then the offset of the fault, or GATE_LUA_AT_UNKNOWN (`at` may be
 * NULL). `rules` NULL: the default. A null as the whole value is nil, or moongate.null when kept.
 * May raise Lua's own memory error: what the caller holds then must be safe. Nothing is leaked
 * here. `value` must stay in place although finalisers of Lua may run meanwhile. */
GATE_MUST_CHECK int gate_lua_decode(lua_State *L, const struct gate_codec *codec,
                                    struct gate_span value, const struct gate_lua_rules *rules,
                                    size_t *at);

/* Drives `sink` with the value at `index`. Never raises, runs no Lua code and leaves the stack as
 * it was, so a buffer in the caller's frame is safe. Metatables are ignored but for the array mark;
 * a lazy table is made plain.
 * Returns 0, a sink's error, GATE_EVALUE, GATE_EUTF8, GATE_EDEPTH or GATE_EMEMORY. `where` names
 * the value at the start ("d"; may be empty) and tells the culprit and what is wrong with it on
 * failure ("d.embeds[3].title: a function cannot be sent"). */
GATE_MUST_CHECK int gate_lua_encode(lua_State *L, int index, const struct gate_sink *sink, void *to,
                                    char *where, size_t where_bytes);

#define GATE_LUA_WHERE_BYTES 256 /* enough for any sensible path; a longer one is cut */

/* moongate.null: the light userdata NULL, as cjson.null is. */
void gate_lua_push_null(lua_State *L);
bool gate_lua_is_null(lua_State *L, int index);

/* Sets the array mark on the table on top of the stack: it goes out as a list even when empty. */
void gate_lua_mark_array(lua_State *L);

/* The rules in the table at `index` (none: the default), and the encoding, for a function of this
 * name. Raises an error for what is wrong. */
struct gate_lua_rules gate_lua_check_rules(lua_State *L, int index, const char *function,
                                           const struct gate_codec **codec);

/* Adds null, array, decode and encode to the table on top of the stack. In Lua:
 *   decode(text [, { null = "drop"|"keep", invalid_utf8 = "pass"|"refuse",
 *                    encoding = "json"|"etf" }])
 *   encode(value [, { encoding = "json"|"etf" }])
 * return the result, or nil, message, code. */
void gate_lua_value_open(lua_State *L);

#endif

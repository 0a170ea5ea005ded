/* lua_space.h - what lua_build.c, lua_walk.c and lua_value.c share in one lua_State: a workspace
 * that outlives a call, and the array mark. Private to them, on the thread of the lua_State. */
#ifndef MOONGATE_LUA_SPACE_H
#define MOONGATE_LUA_SPACE_H

#include "buf.h"
#include "lua_compat.h"
#include "lua_key.h"
#include "moongate.h"

#define GATE_LINE_BYTES 64   /* of the processor's cache */
#define GATE_KEY_PLACES 1024 /* for keys in kinds of objects, with hardly two in one place */

/* A userdata in the registry, one for each lua_State. Memory of C belongs to it, so an error of Lua
 * in the middle of a value leaks nothing. Its user value is the table of anchors: the array mark
 * and the metatable of lazy tables, and the strings of keys. */
struct gate_lua_space {
    struct gate_buf scratch; /* rewritten text while decoding, the result while encoding */
    bool busy;               /* in use; after a memory error it stays so and is replaced */
    /* Keys come again and again, and in one order in objects of one kind. So the key that is likely
     * is compared as a whole, and its Lua string is in the table of anchors, which spares Lua's
     * hash and its search. A kind is the number of the key under which such objects stand. */
    struct gate_known_key *keys;            /* GATE_KEY_PLACES of them, in `memory` */
    struct gate_known_key none;             /* stands for a key that is not known */
    struct gate_next_keys first[GATE_KEYS]; /* by kind */
    char memory[GATE_KEY_PLACES * sizeof(struct gate_known_key) + GATE_LINE_BYTES];
};

enum { GATE_ANCHORED_MARK = 1, GATE_ANCHORED_LAZY, GATE_ANCHORED_KEY };
#define GATE_ANCHORS (GATE_ANCHORED_KEY + GATE_KEY_PLACES - 1)

/* Pushes the string of a key in objects of a kind, `anchors` being the index of the table of
 * anchors, and returns where it is known; NULL when it is none that is remembered. May raise Lua's
 * memory error. Needs two places on the stack. */
struct gate_known_key *gate_lua_push_key(lua_State *L, struct gate_lua_space *space, int anchors,
                                         unsigned kind, struct gate_span text);

struct gate_lua_rules;

/* The ETF half of gate_lua_decode: the same contract, but that the workspace and the table of
 * anchors are on top of the stack, and that a failure may leave more on it. */
GATE_MUST_CHECK int gate_lua_build_etf(lua_State *L, struct gate_lua_space *space,
                                       const struct gate_lua_rules *rules, struct gate_span value,
                                       size_t *at);

/* Pushes a workspace that nobody uses; whoever does sets `busy` until it is done. May raise Lua's
 * memory error. Needs five places on the stack. */
struct gate_lua_space *gate_lua_push_space(lua_State *L);

/* Pushes the metatable that marks lists, and makes it when it is not there yet. */
void gate_lua_push_mark(lua_State *L);

#define GATE_LUA_LAZY_NAME "moongate.lazy"

/* Pushes the metatable of tables that decode what is touched (lua_lazy.c fills it), and makes it
 * when it is not there yet. At 1 it has a function that makes such a table plain, its only
 * argument: what is below it stays lazy. */
void gate_lua_push_lazy(lua_State *L);

/* Pushes the mark and the metatable of lazy tables, or two times nil when no workspace was ever
 * made, without allocating anything. */
void gate_lua_push_known_marks(lua_State *L);

#endif

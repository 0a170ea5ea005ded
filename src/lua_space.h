/* lua_space.h - what lua_build.c, lua_walk.c and lua_value.c share in one lua_State: a workspace
 * that outlives a call, and the array mark. Private to them, on the thread of the lua_State. */
#ifndef MOONGATE_LUA_SPACE_H
#define MOONGATE_LUA_SPACE_H

#include "buf.h"
#include "lua_compat.h"
#include "moongate.h"

/* Keys of objects come again and again: they are found here by their bytes, and their Lua strings
 * in the table of anchors, without hashing them anew. */
#define GATE_KEY_BITS      9 /* Discord's events have about 400 different keys */
#define GATE_KEYS          (1 << GATE_KEY_BITS)
#define GATE_KEY_BYTES_MAX 24 /* longer keys are rare and take the ordinary way */

struct gate_known_key {
    uint64_t head, middle, tail; /* its bytes; the words overlap in short keys */
    size_t len;                  /* 0: free */
};

/* A userdata in the registry, one for each lua_State. Memory of C belongs to it, so an error of Lua
 * in the middle of a value leaks nothing. Its user value is the table of anchors: the strings of
 * the keys at 1 to GATE_KEYS, then the array mark. */
struct gate_lua_space {
    struct gate_buf scratch; /* rewritten text while decoding, the result while encoding */
    bool busy;               /* in use; after a memory error it stays so and is replaced */
    struct gate_known_key keys[GATE_KEYS];
};

#define GATE_ANCHORED_MARK (GATE_KEYS + 1)

/* Pushes a workspace that nobody uses; whoever does sets `busy` until it is done. May raise Lua's
 * memory error. Needs five places on the stack. */
struct gate_lua_space *gate_lua_push_space(lua_State *L);

/* Pushes the metatable that marks lists, and makes it when it is not there yet. */
void gate_lua_push_mark(lua_State *L);

/* Pushes the same, or nil when no workspace was ever made, without allocating anything. */
void gate_lua_push_known_mark(lua_State *L);

#endif

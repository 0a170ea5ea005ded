/* lua_space.h - what lua_build.c, lua_walk.c and lua_value.c share in one lua_State: a workspace
 * that outlives a call, and the array mark. Private to them, on the thread of the lua_State. */
#ifndef MOONGATE_LUA_SPACE_H
#define MOONGATE_LUA_SPACE_H

#include "buf.h"
#include "lua_compat.h"
#include "lua_key.h"
#include "moongate.h"

#define GATE_NEXT 4096 /* a kind of object and a key, with hardly two in one place */

/* A userdata in the registry, one for each lua_State. Memory of C belongs to it, so an error of Lua
 * in the middle of a value leaks nothing. Its user value is the table of anchors: the strings of
 * the keys at 1 to GATE_KEYS, then the array mark and the metatable of lazy tables. */
struct gate_lua_space {
    struct gate_buf scratch; /* rewritten text while decoding, the result while encoding */
    bool busy;               /* in use; after a memory error it stays so and is replaced */
    /* Keys come again and again: they are found here by their bytes, and their Lua strings in the
     * table of anchors, without hashing them anew. A len of 0 is a free place. */
    struct gate_key keys[GATE_KEYS];
    struct gate_written_key written[GATE_KEYS]; /* the same keys, by the same numbers */
    uint16_t next[GATE_NEXT];                   /* see gate_lua_next_key */
};

/* Objects of one kind have their keys in one order, so the key that followed the last time is
 * likely the one that follows now. `home` tells the kind, `last` the key before: numbers of keys.
 * Points at the number that was there last. */
static inline uint16_t *gate_lua_next_key(struct gate_lua_space *space, unsigned home,
                                          unsigned last) {
    return &space->next[(home * 2654435769U + last * 40503U) >> 16 & (GATE_NEXT - 1)];
}

/* Learns a key that is not known yet, and pushes its string; see below. */
void gate_lua_learn_key(lua_State *L, struct gate_lua_space *space, int anchors,
                        const struct gate_key *key, struct gate_span text);

/* Pushes the string of a key, `anchors` being the index of the table of anchors. Returns the key's
 * number. May raise Lua's memory error. Needs three places on the stack. */
static inline int gate_lua_push_key(lua_State *L, struct gate_lua_space *space, int anchors,
                                    struct gate_span text) {
    struct gate_key key = gate_key_describe(text);
    int number = gate_key_number(&key);
    if (gate_key_is(&key, &space->keys[number]) && text.len - 1 < GATE_KEY_BYTES_MAX)
        lua_rawgeti(L, anchors, number + 1);
    else
        gate_lua_learn_key(L, space, anchors, &key, text);
    return number;
}

#define GATE_ANCHORED_MARK (GATE_KEYS + 1)
#define GATE_ANCHORED_LAZY (GATE_KEYS + 2)

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

/* steps.c - what Lua's own interface costs: makes the values of a message from a prepared list of
 * steps, without reading a byte of it. No decoder that makes the same values can be cheaper. A
 * module for spec/bench/decode.lua.
 *
 *   prepare(value) -> steps    value: as core.decode returned it
 *   run(steps) -> value
 *
 * And it keeps the messages outside of Lua's memory, where they would make the collector's cycles
 * longer than they are in a bot, which has few of them at a time.
 *
 *   keep(list of texts) -> corpus
 *   each(corpus, decode [, ...]): calls decode(text, ...) for each of them */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum word { TEXT, INTEGER, NUMBER, BOOLEAN, NONE, MAP, LIST, KEY, SET, ITEM, EMPTY };

struct step {
    enum word word;
    int count; /* of items or pairs, the upvalue of a key, the place of an item, a boolean */
    union {
        lua_Integer integer;
        lua_Number number;
        struct {
            uint32_t at, len;
        } text;
    };
};

struct steps {
    size_t count, bytes;
    struct step *list;
    char *text;
};

/* The keys are upvalues of run(), the cheapest place there is; the first one is the list mark. */
#define KEYS_MAX 255

static int keys;          /* so far */
static int key_table_key; /* of the table of keys in the registry: text to upvalue */
static int function_key;  /* of run() */

static struct step *add(struct steps *steps, enum word word) {
    steps->list = realloc(steps->list, (steps->count + 1) * sizeof *steps->list);
    struct step *step = &steps->list[steps->count++];
    memset(step, 0, sizeof *step);
    step->word = word;
    return step;
}

static void add_text(lua_State *L, struct steps *steps, int index) {
    size_t len;
    const char *data = lua_tolstring(L, index, &len);
    struct step *step = add(steps, TEXT);
    step->text.at = (uint32_t)steps->bytes;
    step->text.len = (uint32_t)len;
    steps->text = realloc(steps->text, steps->bytes + len + 1);
    memcpy(steps->text + steps->bytes, data, len);
    steps->bytes += len;
}

/* The upvalue of the key at `index`. */
static int number_key(lua_State *L, int index) {
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key_table_key);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    int number = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (number == 0) {
        if (keys == KEYS_MAX) luaL_error(L, "too many different keys");
        number = ++keys;
        lua_pushvalue(L, index);
        lua_pushinteger(L, number);
        lua_rawset(L, -3);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &function_key);
        lua_pushvalue(L, index);
        lua_setupvalue(L, -2, number);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return number;
}

static void add_value(lua_State *L, struct steps *steps, int index);

static void add_table(lua_State *L, struct steps *steps, int index) {
    int items = (int)lua_rawlen(L, index), pairs = 0;
    lua_pushnil(L);
    for (; lua_next(L, index); lua_pop(L, 1)) pairs++;
    if (items > 0 || lua_getmetatable(L, index)) {
        struct step *list = add(steps, items > 0 ? LIST : EMPTY);
        list->count = items;
        if (items == 0) lua_pop(L, 1);
        for (int i = 1; i <= items; i++) {
            lua_rawgeti(L, index, i);
            add_value(L, steps, lua_gettop(L));
            lua_pop(L, 1);
            add(steps, ITEM)->count = i;
        }
        return;
    }
    add(steps, MAP)->count = pairs;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        add(steps, KEY)->count = number_key(L, -2);
        add_value(L, steps, lua_gettop(L));
        add(steps, SET);
        lua_pop(L, 1);
    }
}

static void add_value(lua_State *L, struct steps *steps, int index) {
    luaL_checkstack(L, 16, "steps");
    switch (lua_type(L, index)) {
    case LUA_TSTRING: add_text(L, steps, index); return;
    case LUA_TBOOLEAN: add(steps, BOOLEAN)->count = lua_toboolean(L, index); return;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            add(steps, INTEGER)->integer = lua_tointeger(L, index);
        else
            add(steps, NUMBER)->number = lua_tonumber(L, index);
        return;
    case LUA_TTABLE: add_table(L, steps, index); return;
    default: add(steps, NONE); return;
    }
}

static int prepare(lua_State *L) {
    lua_settop(L, 1);
    struct steps *steps = lua_newuserdatauv(L, sizeof *steps, 0);
    memset(steps, 0, sizeof *steps);
    add_value(L, steps, 1);
    return 1;
}

static int run(lua_State *L) {
    const struct steps *steps = lua_touserdata(L, 1);
    const struct step *step = steps->list, *end = step + steps->count;
    luaL_checkstack(L, 300, "steps");
    for (; step < end; step++) {
        switch (step->word) {
        case TEXT: lua_pushlstring(L, steps->text + step->text.at, step->text.len); break;
        case INTEGER: lua_pushinteger(L, step->integer); break;
        case NUMBER: lua_pushnumber(L, step->number); break;
        case BOOLEAN: lua_pushboolean(L, step->count); break;
        case NONE: lua_pushlightuserdata(L, NULL); break;
        case EMPTY:
            lua_createtable(L, 0, 0);
            lua_pushvalue(L, lua_upvalueindex(1));
            lua_setmetatable(L, -2);
            break;
        case MAP: lua_createtable(L, 0, step->count); break;
        case LIST: lua_createtable(L, step->count, 0); break;
        case KEY: lua_pushvalue(L, lua_upvalueindex(step->count)); break;
        case SET: lua_rawset(L, -3); break;
        default: lua_rawseti(L, -2, step->count); break;
        }
    }
    return 1;
}

struct corpus {
    size_t count;
    struct kept {
        char *data;
        size_t len;
    } * list;
};

static int keep(lua_State *L) {
    struct corpus *corpus = lua_newuserdatauv(L, sizeof *corpus, 0);
    corpus->count = (size_t)lua_rawlen(L, 1);
    corpus->list = malloc(corpus->count * sizeof *corpus->list);
    for (size_t i = 0; i < corpus->count; i++) {
        struct kept *kept = &corpus->list[i];
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        const char *data = lua_tolstring(L, -1, &kept->len);
        kept->data = malloc(kept->len + 1);
        memcpy(kept->data, data, kept->len);
        lua_pop(L, 1);
    }
    return 1;
}

static int each(lua_State *L) {
    const struct corpus *corpus = lua_touserdata(L, 1);
    int more = lua_gettop(L) - 2;
    for (size_t i = 0; i < corpus->count; i++) {
        lua_pushvalue(L, 2);
        lua_pushlstring(L, corpus->list[i].data, corpus->list[i].len);
        for (int at = 3; at < 3 + more; at++) lua_pushvalue(L, at);
        lua_call(L, 1 + more, 0);
    }
    return 0;
}

int luaopen_steps(lua_State *L);
int luaopen_steps(lua_State *L) {
    lua_newtable(L);
    lua_pushcfunction(L, prepare);
    lua_setfield(L, -2, "prepare");
    lua_pushcfunction(L, keep);
    lua_setfield(L, -2, "keep");
    lua_pushcfunction(L, each);
    lua_setfield(L, -2, "each");
    luaL_checkstack(L, KEYS_MAX, "steps");
    luaL_getmetatable(L, "moongate.array");
    for (int i = 1; i < KEYS_MAX; i++) lua_pushnil(L);
    lua_pushcclosure(L, run, KEYS_MAX);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &function_key);
    lua_setfield(L, -2, "run");
    keys = 1;
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key_table_key);
    return 1;
}

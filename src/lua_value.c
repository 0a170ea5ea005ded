/* lua_value.c - null, the array mark, and decode() and encode() as Lua functions. The work is done
 * in lua_build.c and lua_walk.c. On the thread of the lua_State. */
#include "lua_value.h"

#include "lua_space.h"

/* ---- Null and the array mark ---------------------------------------------------------------- */

void gate_lua_push_null(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
}

bool gate_lua_is_null(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

void gate_lua_mark_array(lua_State *L) {
    gate_lua_push_mark(L);
    lua_setmetatable(L, -2);
}

/* ---- For Lua -------------------------------------------------------------------------------- */

struct options {
    struct gate_lua_rules rules;
    const struct gate_codec *codec;
};

static bool take_null(struct options *options, const char *word) {
    options->rules.keep_null = strcmp(word, "keep") == 0;
    return options->rules.keep_null || strcmp(word, "drop") == 0;
}

static bool take_invalid_utf8(struct options *options, const char *word) {
    options->rules.refuse_utf8 = strcmp(word, "refuse") == 0;
    return options->rules.refuse_utf8 || strcmp(word, "pass") == 0;
}

static bool take_encoding(struct options *options, const char *word) {
    options->codec = gate_codec_find(word);
    return options->codec != NULL;
}

static const struct option {
    const char *name;
    bool (*take)(struct options *options, const char *word); /* false: no such word */
} option_table[] = {
    {"null", take_null}, {"invalid_utf8", take_invalid_utf8}, {"encoding", take_encoding}};

static void read_option(lua_State *L, const char *function, struct options *options) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    for (size_t i = 0; i < sizeof option_table / sizeof option_table[0]; i++) {
        if (strcmp(option_table[i].name, name) != 0) continue;
        if (word && option_table[i].take(options, word)) return;
        luaL_error(L, "%s: option '%s': '%s' is not possible", function, name,
                   word ? word : luaL_typename(L, -1));
    }
    luaL_error(L, "%s: unknown option '%s'", function, name);
}

static struct options read_options(lua_State *L, int index, const char *function) {
    struct options options = {.codec = &gate_json};
    if (lua_isnoneornil(L, index)) return options;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        read_option(L, function, &options);
        lua_pop(L, 1);
    }
    return options;
}

struct gate_lua_rules gate_lua_check_rules(lua_State *L, int index, const char *function,
                                           const struct gate_codec **codec) {
    struct options options = read_options(L, index, function);
    *codec = options.codec;
    return options.rules;
}

static int fail(lua_State *L, int error) {
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushstring(L, gate_error_name(error));
    return 3;
}

static void push_fault(lua_State *L, int error, size_t at, size_t len) {
    const char *text = gate_error_text(error);
    if (at == GATE_LUA_AT_UNKNOWN)
        lua_pushfstring(L, "decode: %s", text);
    else if (at == len)
        lua_pushfstring(L, "decode: %s: it ends after %d bytes", text, (int)len);
    else
        lua_pushfstring(L, "decode: %s at byte %d of %d", text, (int)at + 1, (int)len);
}

static int decode_value(lua_State *L) {
    struct gate_span text;
    size_t at;
    text.data = luaL_checklstring(L, 1, &text.len);
    struct options options = read_options(L, 2, "decode");
    int rc = gate_lua_decode(L, options.codec, text, &options.rules, &at);
    if (rc == GATE_OK) return 1;
    push_fault(L, rc, at, text.len);
    return fail(L, rc);
}

static int encode_value(lua_State *L) {
    struct gate_writer writer;
    char where[GATE_LUA_WHERE_BYTES] = "value";
    luaL_checkany(L, 1);
    struct options options = read_options(L, 2, "encode");
    struct gate_lua_space *space = gate_lua_push_space(L);
    space->busy = true;
    space->scratch.len = 0;
    int rc = options.codec->begin(&writer, &space->scratch, true);
    if (rc == GATE_OK)
        rc = gate_lua_encode(L, 1, options.codec->writer, &writer, where, sizeof where);
    if (rc == GATE_OK) lua_pushlstring(L, space->scratch.data, space->scratch.len);
    space->busy = false;
    gate_buf_clear(&space->scratch, GATE_KEEP_BYTES_MAX);
    if (rc == GATE_OK) return 1;
    lua_pushfstring(L, "encode: %s", where);
    return fail(L, rc);
}

/* array([t]): marks t, or a new table, as a list, and returns it. */
static int mark_array(lua_State *L) {
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    gate_lua_push_mark(L);
    gate_lua_push_lazy(L);
    if (lua_getmetatable(L, 1) && lua_rawequal(L, -1, 3)) {
        lua_rawgeti(L, -1, 1);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 0);
    } else if (lua_gettop(L) > 3 && !lua_rawequal(L, -1, 2)) {
        return luaL_argerror(L, 1, "t has a metatable of its own");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

void gate_lua_value_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"array", mark_array}, {"decode", decode_value}, {"encode", encode_value}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    gate_lua_push_null(L);
    lua_setfield(L, -2, "null");
    gate_lua_push_space(L);
    lua_pop(L, 1);
}

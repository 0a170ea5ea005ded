/* lua_build.c - values into Lua: gate_lua_decode, and the JSON reader compiled against the builder.
 * On the thread of the lua_State. The hot path of the whole product. */
#include "lua_builder.h"

#define READ_CALL(name)          build_##name
#define READ_SKIPS_NULL(to, key) skips_null(to, key)
#include "json_read.h"

static int sink_null(void *to) {
    return build_null(to);
}
static int sink_boolean(void *to, bool value) {
    return build_boolean(to, value);
}
static int sink_integer(void *to, int64_t value) {
    return build_integer(to, value);
}
static int sink_number(void *to, double value) {
    return build_number(to, value);
}
static int sink_text(void *to, struct gate_span text) {
    return build_text(to, text);
}
static int sink_open_list(void *to) {
    return build_open_list(to);
}
static int sink_close_list(void *to) {
    return build_close_list(to);
}
static int sink_open_map(void *to) {
    return build_open_map(to);
}
static int sink_key(void *to, struct gate_span text) {
    return build_key(to, text);
}
static int sink_close_map(void *to) {
    return build_close_map(to);
}

static const struct gate_sink builder_sink = {
    .null = sink_null,
    .boolean = sink_boolean,
    .integer = sink_integer,
    .number = sink_number,
    .text = sink_text,
    .open_list = sink_open_list,
    .close_list = sink_close_list,
    .open_map = sink_open_map,
    .key = sink_key,
    .close_map = sink_close_map,
};

/* ---- Decoding ------------------------------------------------------------------------------- */

static int read_json(struct builder *builder, struct gate_span value, size_t *at) {
    struct reader reader = {.at = value.data,
                            .end = value.data + value.len,
                            .scratch = &builder->space->scratch,
                            .to = builder};
    int rc = read_whole(&reader);
    if (at) *at = (size_t)(reader.at - value.data);
    return rc;
}

static int build(struct builder *builder, const struct gate_codec *codec, struct gate_span value,
                 size_t *at) {
    if (codec == &gate_json) return read_json(builder, value, at);
    if (at) *at = GATE_LUA_AT_UNKNOWN;
    return codec->walk(value, &builder_sink, builder, &builder->space->scratch);
}

int gate_lua_decode(lua_State *L, const struct gate_codec *codec, struct gate_span value,
                    const struct gate_lua_rules *rules, size_t *at) {
    struct builder builder;
    int base = lua_gettop(L);
    if (at) *at = GATE_LUA_AT_UNKNOWN;
    if (!lua_checkstack(L, STACK_STEP + 2 * STACK_SLACK)) return GATE_EMEMORY;
    struct gate_lua_space *space = gate_lua_push_space(L);
    lua_getiuservalue(L, -1, 1);
    start_builder(&builder, L, space, rules);
    space->busy = true;
    int rc = build(&builder, codec, value, at);
    space->busy = false;
    gate_buf_clear(&space->scratch, GATE_KEEP_BYTES_MAX);
    if (rc < 0) {
        lua_settop(L, base);
        return rc;
    }
    lua_replace(L, base + 1);
    lua_settop(L, base + 1);
    return GATE_OK;
}

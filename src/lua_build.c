/* lua_build.c - values into Lua: gate_lua_decode, and the JSON reader compiled against the builder.
 * The ETF half is in lua_build_etf.c. On the thread of the lua_State. The hot path of the whole
 * product. */
#include "lua_builder.h"

#define READ_CALL(name)           build_##name
#define READ_SKIPS_NULL(to, key)  skips_null(to, key)
#define READ_KNOWN(to, at, left)  match_known(to, at, left)
#define READ_SKIPS_KNOWN_NULL(to) skips_known_null(to)
#define READ_TAKE_KNOWN(to)       build_known(to)
#include "json_read.h"

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

static int build_json(lua_State *L, struct gate_lua_space *space,
                      const struct gate_lua_rules *rules, struct gate_span value, size_t *at) {
    struct builder builder;
    start_builder(&builder, L, space, rules);
    return read_json(&builder, value, at);
}

int gate_lua_decode(lua_State *L, const struct gate_codec *codec, struct gate_span value,
                    const struct gate_lua_rules *rules, size_t *at) {
    int base = lua_gettop(L);
    if (at) *at = GATE_LUA_AT_UNKNOWN;
    if (!lua_checkstack(L, STACK_STEP + 2 * STACK_SLACK)) return GATE_EMEMORY;
    struct gate_lua_space *space = gate_lua_push_space(L);
    lua_getiuservalue(L, -1, 1);
    space->busy = true;
    int rc = codec == &gate_etf ? gate_lua_build_etf(L, space, rules, value, at)
                                : build_json(L, space, rules, value, at);
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

/* lua_build_etf.c - terms into Lua: the ETF reader compiled against the builder. On the thread of
 * the lua_State, called by lua_build.c. What a term promises to hold is not believed: many members
 * are null and leave no trace, so a table made beforehand would be too large. */
#include "lua_builder.h"

#define READ_CALL(name)               build_##name
#define READ_SKIPS_NULL(to, key)      skips_null(to, key)
#define READ_KNOWN(to, at, left, len) equals_known(to, at, left, len)
#define READ_SKIPS_KNOWN_NULL(to)     skips_known_null(to)
#define READ_TAKE_KNOWN(to)           build_known(to)
#include "etf_read.h"

int gate_lua_build_etf(lua_State *L, struct gate_lua_space *space,
                       const struct gate_lua_rules *rules, struct gate_span value, size_t *at) {
    struct builder builder;
    struct reader reader;
    start_builder(&builder, L, space, rules);
    size_t used = value.len;
    space->scratch.len = 0;
    int packed = gate_etf.unpack(value, &space->scratch, &used);
    if (packed < 0) return packed;
    if (used < value.len) return GATE_ESYNTAX;
    start_reader(&reader, packed ? gate_buf_span(&space->scratch) : value, &builder);
    int rc = read_whole(&reader);
    if (at && !packed) *at = (size_t)(reader.at - value.data);
    return rc;
}

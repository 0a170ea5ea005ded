/* lua_shard.c - the Shard as userdata: its state as of now, its properties. Called on the Lua
 * thread only. Its methods are shard.lua's; it reads snapshots and sends nothing.
 *
 *   what     metatable        user values
 *   shard    moongate.shard   ENGINE, and FIELDS: the table in which shard.lua keeps its side
 *
 * A shard points at the memory of its engine's userdata, which that user value keeps alive; a
 * closed engine is a NULL in there, so any order of finalisers is safe. */
#include <string.h>

#include "lua_engine.h"

enum { ENGINE = 1, FIELDS = 2 };

struct shard_box {
    struct gate_engine_box *box; /* kept alive by the user value; NULL: not attached */
    int id, count;
    struct gate_status last; /* as it was seen the last time */
};

static struct shard_box *get_shard(lua_State *L) {
    return luaL_checkudata(L, 1, GATE_LUA_SHARD);
}

/* The status as of now; of a shard whose engine is gone, as of the end. */
static const struct gate_status *read_status(struct shard_box *shard) {
    struct gate_status status;
    if (shard->box && shard->box->engine &&
        gate_engine_status(shard->box->engine, shard->id, &status) == GATE_OK)
        shard->last = status;
    else if (shard->last.state != GATE_STATE_DEAD)
        shard->last.state = GATE_STATE_IDLE;
    return &shard->last;
}

/* core.shard(id, count) -> a shard that is attached to no engine yet */
static int core_shard(lua_State *L) {
    int id = (int)luaL_checkinteger(L, 1);
    int count = (int)luaL_checkinteger(L, 2);
    luaL_argcheck(L, id >= 0, 1, "a shard id is 0 or more");
    struct shard_box *shard = lua_newuserdatauv(L, sizeof *shard, 2);
    memset(shard, 0, sizeof *shard);
    luaL_setmetatable(L, GATE_LUA_SHARD);
    lua_newtable(L);
    lua_setiuservalue(L, -2, FIELDS);
    shard->id = id;
    shard->count = count;
    shard->last.state = GATE_STATE_IDLE;
    shard->last.seq = -1;
    shard->last.latency_ms = -1;
    return 1;
}

/* core.shard_attach(shard, engine or nil, count): where its state is read from now on. nil keeps
 * what was seen last. */
static int core_shard_attach(lua_State *L) {
    struct shard_box *shard = get_shard(L);
    struct gate_engine_box *box = lua_isnoneornil(L, 2) ? NULL : gate_lua_engine(L, 2);
    read_status(shard);
    shard->count = (int)luaL_optinteger(L, 3, shard->count);
    shard->box = NULL;
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, ENGINE);
    shard->box = box;
    if (!box && shard->last.state != GATE_STATE_DEAD) shard->last.state = GATE_STATE_IDLE;
    return 0;
}

/* core.shard_fields(shard) -> the table in which shard.lua keeps its side: cluster, gateway, ... */
static int core_shard_fields(lua_State *L) {
    get_shard(L);
    lua_getiuservalue(L, 1, FIELDS);
    return 1;
}

/* core.shard_status(shard) -> everything that is known, as one table */
static int core_shard_status(lua_State *L) {
    gate_lua_push_status(L, read_status(get_shard(L)));
    return 1;
}

static int shard_tostring(lua_State *L) {
    struct shard_box *shard = get_shard(L);
    const struct gate_status *status = read_status(shard);
    lua_pushfstring(L, "Shard %d/%d %s", shard->id, shard->count, gate_state_word(status->state));
    if (status->latency_ms >= 0 && status->state == GATE_STATE_READY) {
        lua_pushfstring(L, ", %d ms", (int)status->latency_ms);
        lua_concat(L, 2);
    }
    if (status->seq >= 0) {
        lua_pushliteral(L, ", seq ");
        lua_pushinteger(L, (lua_Integer)status->seq);
        lua_concat(L, 3);
    }
    return 1;
}

static void push_text_or_nil(lua_State *L, const char *text) {
    if (text[0])
        lua_pushstring(L, text);
    else
        lua_pushnil(L);
}

static void push_id(lua_State *L, struct shard_box *shard) {
    lua_pushinteger(L, shard->id);
}

static void push_count(lua_State *L, struct shard_box *shard) {
    lua_pushinteger(L, shard->count);
}

static void push_seq(lua_State *L, struct shard_box *shard) {
    int64_t seq = read_status(shard)->seq;
    if (seq >= 0)
        lua_pushinteger(L, (lua_Integer)seq);
    else
        lua_pushnil(L);
}

static void push_session(lua_State *L, struct shard_box *shard) {
    push_text_or_nil(L, read_status(shard)->session_id);
}

static void push_state(lua_State *L, struct shard_box *shard) {
    lua_pushstring(L, gate_state_word(read_status(shard)->state));
}

static void push_url(lua_State *L, struct shard_box *shard) {
    push_text_or_nil(L, read_status(shard)->url);
}

static void push_latency(lua_State *L, struct shard_box *shard) {
    int64_t latency_ms = read_status(shard)->latency_ms;
    if (latency_ms >= 0)
        lua_pushnumber(L, (lua_Number)latency_ms / 1000);
    else
        lua_pushnil(L);
}

/* The WebSocket of the moment in Spectacles' words; nil while there is none. No sub-protocol is
 * asked for, and an upgrade that names one is refused: "" is what a WebSocket says then. */
static void push_ws(lua_State *L, struct shard_box *shard) {
    static const char *const ready_states[GATE_STATE_COUNT] = {[GATE_STATE_CONNECTING] =
                                                                   "connecting",
                                                               [GATE_STATE_HELLO] = "open",
                                                               [GATE_STATE_IDENTIFYING] = "open",
                                                               [GATE_STATE_RESUMING] = "open",
                                                               [GATE_STATE_READY] = "open",
                                                               [GATE_STATE_CLOSING] = "closing"};
    const struct gate_status *status = read_status(shard);
    const char *ready_state = ready_states[status->state];
    if (!ready_state) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 7);
    lua_pushstring(L, ready_state);
    lua_setfield(L, -2, "ready_state");
    lua_pushstring(L, status->url);
    lua_setfield(L, -2, "url");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "protocol");
    gate_lua_set_integer(L, "bytes_in", (int64_t)status->traffic.bytes_in);
    gate_lua_set_integer(L, "bytes_out", (int64_t)status->traffic.bytes_out);
    gate_lua_set_integer(L, "messages_in", (int64_t)status->traffic.messages_in);
    gate_lua_set_integer(L, "messages_out", (int64_t)status->traffic.messages_out);
}

static const struct shard_property {
    const char *name;
    void (*push)(lua_State *L, struct shard_box *shard);
} shard_properties[] = {{"id", push_id},           {"count", push_count}, {"seq", push_seq},
                        {"session", push_session}, {"state", push_state}, {"url", push_url},
                        {"latency", push_latency}, {"ws", push_ws},       {NULL, NULL}};

/* What Lua keeps in the user value and shows under the same name. */
static const char *const shard_fields[] = {"cluster", "gateway", "version", NULL};

static int push_field(lua_State *L, const char *key) {
    for (const char *const *field = shard_fields; *field; field++) {
        if (strcmp(*field, key) != 0) continue;
        lua_getiuservalue(L, 1, FIELDS);
        lua_getfield(L, -1, key);
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

/* Methods first, then properties. */
static int shard_index(lua_State *L) {
    struct shard_box *shard = get_shard(L);
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, 3) || lua_type(L, 2) != LUA_TSTRING) return 1;
    const char *key = lua_tostring(L, 2);
    for (const struct shard_property *property = shard_properties; property->name; property++) {
        if (strcmp(property->name, key) != 0) continue;
        property->push(L, shard);
        return 1;
    }
    return push_field(L, key);
}

/* ---- Registration -----------------------------------------------------------------------------
 */

/* __members of the class, for a prompt that completes names: { methods, properties }, whose keys
 * they are. The methods are on top of the stack. */
static void set_members(lua_State *L) {
    luaL_getmetatable(L, GATE_LUA_SHARD);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, 1);
    lua_newtable(L);
    for (const struct shard_property *property = shard_properties; property->name; property++) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, property->name);
    }
    for (const char *const *field = shard_fields; *field; field++) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, *field);
    }
    lua_rawseti(L, -2, 2);
    lua_setfield(L, -2, "__members");
    lua_pop(L, 1);
}

/* shard.lua adds its methods to core.shard_methods. */
static void register_shard(lua_State *L) {
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg meta[] = {{"__tostring", shard_tostring}, {NULL, NULL}};
    gate_lua_register(L, GATE_LUA_SHARD, methods, meta, shard_index);
    set_members(L);
    lua_setfield(L, -2, "shard_methods");
}

void gate_lua_shard_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"shard", core_shard},
                                         {"shard_attach", core_shard_attach},
                                         {"shard_fields", core_shard_fields},
                                         {"shard_status", core_shard_status},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    register_shard(L);
}

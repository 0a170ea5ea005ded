/* lua_quota.c - what a token has left of its identifies of a day: quota.h for quota.lua, over
 * window.h. On the thread of the lua_State; it waits for a lock that is never held for long. */
#include "engine.h"
#include "lua_core.h"
#include "queue.h"
#include "window.h"

static struct gate_span check_span(lua_State *L, int index) {
    struct gate_span span;
    span.data = luaL_checklstring(L, index, &span.len);
    return span;
}

static uint64_t check_token(lua_State *L) {
    return gate_window_token(check_span(L, 1), check_span(L, 2));
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

/* As many as are not 0 at the end. */
static void push_steps(lua_State *L, const struct gate_quota *quota) {
    size_t count = GATE_QUOTA_STEPS;
    while (count > 0 && quota->steps[count - 1] == 0) count--;
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushinteger(L, quota->steps[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* core.quota(token, url, reserve) -> { total, used, spent (ever), known, left (may go now), hold_ms
 * (until one may), told_used, told_ms (for so long), step_ms (the newest is so old), steps } */
static int core_quota(lua_State *L) {
    struct gate_quota quota;
    uint64_t token = check_token(L);
    int64_t now_ms = gate_clock_ms(), reserve = luaL_optinteger(L, 3, GATE_QUOTA_RESERVE);
    gate_window_quota(token, now_ms, &quota);
    lua_createtable(L, 0, 10);
    set_integer(L, "total", quota.total);
    set_integer(L, "used", gate_quota_used(&quota, now_ms));
    set_integer(L, "spent", (int64_t)quota.spent);
    set_integer(L, "left", gate_quota_left(&quota, now_ms, reserve));
    set_integer(L, "hold_ms", gate_quota_when(&quota, now_ms, reserve) - now_ms);
    set_integer(L, "told_used", quota.told_used);
    set_integer(L, "told_ms", quota.told_until_ms > now_ms ? quota.told_until_ms - now_ms : 0);
    set_integer(L, "step_ms", now_ms - quota.step_at_ms);
    lua_pushboolean(L, quota.known);
    lua_setfield(L, -2, "known");
    push_steps(L, &quota);
    lua_setfield(L, -2, "steps");
    return 1;
}

/* core.quota_learn(token, url, { total, remaining, reset_after (ms), spent }) */
static int core_quota_learn(lua_State *L) {
    uint64_t token = check_token(L);
    luaL_checktype(L, 3, LUA_TTABLE);
    struct gate_quota_told told = {
        .total = gate_lua_integer(L, 3, "total", GATE_QUOTA_TOTAL),
        .remaining = gate_lua_integer(L, 3, "remaining", 0),
        .reset_after_ms = gate_lua_integer(L, 3, "reset_after", 0),
        .spent = (uint64_t)gate_lua_integer(L, 3, "spent", 0),
    };
    gate_engine_pin(); /* what is known of a token outlives its lua_State */
    return gate_lua_result(L, "quota", gate_window_learn(token, gate_clock_ms(), &told));
}

static uint32_t to_count(lua_Integer value) {
    if (value < 0) return 0;
    return value > GATE_QUOTA_TOTAL_MAX ? GATE_QUOTA_TOTAL_MAX : (uint32_t)value;
}

/* core.quota_restore(token, url, what core.quota gave, the times moved on). nil, message, "EUSAGE"
 * where something is known already. */
static int core_quota_restore(lua_State *L) {
    struct gate_quota kept;
    uint64_t token = check_token(L);
    int64_t now_ms = gate_clock_ms();
    luaL_checktype(L, 3, LUA_TTABLE);
    gate_quota_init(&kept);
    kept.total = to_count(gate_lua_integer(L, 3, "total", GATE_QUOTA_TOTAL));
    kept.told_used = to_count(gate_lua_integer(L, 3, "told_used", 0));
    kept.told_until_ms = now_ms + gate_lua_integer(L, 3, "told_ms", 0);
    kept.step_at_ms = now_ms - gate_lua_integer(L, 3, "step_ms", 0);
    lua_getfield(L, 3, "steps");
    luaL_checktype(L, -1, LUA_TTABLE);
    for (size_t i = 0; i < GATE_QUOTA_STEPS; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        kept.steps[i] = to_count(lua_tointeger(L, -1));
        lua_pop(L, 1);
    }
    gate_engine_pin();
    return gate_lua_result(L, "quota", gate_window_restore(token, now_ms, &kept));
}

void gate_lua_quota_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"quota", core_quota},
                                         {"quota_learn", core_quota_learn},
                                         {"quota_restore", core_quota_restore},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

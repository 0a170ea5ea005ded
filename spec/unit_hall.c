/* unit_hall.c - the hall for busted, with threads that are only numbers and note whom they wake.
 * Test-only; see unit.c. */
#include <string.h>

#include "../src/hall.h"
#include "unit.h"

#define HALL        "unit.hall"
#define SHARDS_MAX  64
#define THREADS_MAX 8

struct unit_hall {
    struct gate_hall hall;
    struct gate_visitor visitors[SHARDS_MAX];
    lua_Integer woken[THREADS_MAX]; /* how often; each stands for its thread */
};

static struct unit_hall *hall_of(lua_State *L) {
    return luaL_checkudata(L, 1, HALL);
}

static struct gate_visitor *visitor_at(lua_State *L, int index) {
    lua_Integer id = luaL_checkinteger(L, index);
    luaL_argcheck(L, id >= 0 && id < SHARDS_MAX, index, "shard id out of range");
    return &hall_of(L)->visitors[id];
}

static lua_Integer *thread_at(lua_State *L, int index) {
    lua_Integer number = luaL_checkinteger(L, index);
    luaL_argcheck(L, number >= 1 && number <= THREADS_MAX, index, "thread out of range");
    return &hall_of(L)->woken[number - 1];
}

static int push_visitor(lua_State *L, const struct gate_visitor *visitor) {
    if (visitor)
        lua_pushinteger(L, visitor->slot.shard_id);
    else
        lua_pushnil(L);
    return 1;
}

static void note_wake(void *thread) {
    lua_Integer *woken = thread;
    ++*woken;
}

/* hall(concurrency, places, shards of a thread) */
static int hall_new(lua_State *L) {
    int concurrency = (int)luaL_checkinteger(L, 1), share = (int)luaL_checkinteger(L, 3);
    struct unit_hall *unit = lua_newuserdatauv(L, sizeof *unit, 0);
    memset(unit, 0, sizeof *unit);
    if (gate_hall_init(&unit->hall, concurrency, (uint32_t)luaL_checkinteger(L, 2), note_wake) < 0)
        return luaL_error(L, "no mutex");
    luaL_setmetatable(L, HALL);
    for (int id = 0; id < SHARDS_MAX; id++)
        gate_visitor_init(&unit->visitors[id], id, &unit->woken[id / share % THREADS_MAX]);
    return 1;
}

static int hall_gc(lua_State *L) {
    gate_hall_free(&hall_of(L)->hall);
    return 0;
}

/* hall:woken() -> how often each thread was woken since the last call, up to the last that was */
static int hall_woken(lua_State *L) {
    struct unit_hall *unit = hall_of(L);
    int last = THREADS_MAX;
    while (last > 0 && unit->woken[last - 1] == 0) last--;
    lua_newtable(L);
    for (int i = 0; i < last; i++) {
        lua_pushinteger(L, unit->woken[i]);
        lua_rawseti(L, -2, i + 1);
    }
    memset(unit->woken, 0, sizeof unit->woken);
    return 1;
}

/* ---- Slots: the shard comes first, the time last --------------------------------------------- */

static int hall_expect(lua_State *L) {
    if (gate_hall_expect(&hall_of(L)->hall, (int)luaL_checkinteger(L, 2)) < 0)
        return luaL_error(L, "no memory");
    return 0;
}

static int hall_come(lua_State *L) {
    gate_hall_come(&hall_of(L)->hall, visitor_at(L, 2));
    return 0;
}

/* hall:came(shard, never): `never`: its command did not get through */
static int hall_came(lua_State *L) {
    struct gate_visitor *visitor = visitor_at(L, 2);
    bool never = lua_toboolean(L, 3);
    gate_hall_came(&hall_of(L)->hall, visitor->slot.shard_id, never ? NULL : visitor,
                   never ? NULL : visitor->thread, 0);
    return 0;
}

static int hall_ask(lua_State *L) {
    gate_hall_ask(&hall_of(L)->hall, visitor_at(L, 2));
    return 0;
}

static int hall_spent(lua_State *L) {
    gate_hall_spent(&hall_of(L)->hall, visitor_at(L, 2), luaL_checkinteger(L, 3));
    return 0;
}

static int hall_done(lua_State *L) {
    gate_hall_done(&hall_of(L)->hall, visitor_at(L, 2), luaL_checkinteger(L, 3));
    return 0;
}

/* hall:next_slot(thread, now_ms) -> shard id, or nil */
static int hall_next_slot(lua_State *L) {
    return push_visitor(
        L, gate_hall_next_slot(&hall_of(L)->hall, thread_at(L, 2), luaL_checkinteger(L, 3)));
}

static int hall_admit(lua_State *L) {
    lua_pushboolean(L,
                    gate_hall_admit(&hall_of(L)->hall, visitor_at(L, 2), luaL_checkinteger(L, 3)));
    return 1;
}

static int hall_put_back(lua_State *L) {
    gate_hall_put_back(&hall_of(L)->hall, visitor_at(L, 2), luaL_checkinteger(L, 3));
    return 0;
}

/* hall:resize(concurrency, now_ms) */
static int hall_resize(lua_State *L) {
    gate_hall_resize(&hall_of(L)->hall, luaL_checkinteger(L, 3), (int)luaL_checkinteger(L, 2));
    return 0;
}

static int hall_key(lua_State *L) {
    lua_pushinteger(L, gate_hall_key(&hall_of(L)->hall, (int)luaL_checkinteger(L, 2)));
    return 1;
}

/* ---- The door -------------------------------------------------------------------------------- */

static int hall_line_up(lua_State *L) {
    gate_hall_line_up(&hall_of(L)->hall, visitor_at(L, 2));
    return 0;
}

static int hall_enter_at_once(lua_State *L) {
    lua_pushboolean(
        L, gate_hall_enter_at_once(&hall_of(L)->hall, visitor_at(L, 2), luaL_checkinteger(L, 3)));
    return 1;
}

static int hall_next_guest(lua_State *L) {
    return push_visitor(
        L, gate_hall_next_guest(&hall_of(L)->hall, thread_at(L, 2), luaL_checkinteger(L, 3)));
}

/* hall:enter(id, resumes, now_ms) */
static int hall_enter(lua_State *L) {
    gate_hall_enter(&hall_of(L)->hall, visitor_at(L, 2), lua_toboolean(L, 3),
                    luaL_checkinteger(L, 4));
    return 0;
}

/* hall:leave(id, stays, now_ms) */
static int hall_leave(lua_State *L) {
    gate_hall_leave(&hall_of(L)->hall, visitor_at(L, 2), lua_toboolean(L, 3),
                    luaL_checkinteger(L, 4));
    return 0;
}

/* ---- Times and numbers ----------------------------------------------------------------------- */

/* hall:deadline(thread, looked_ms, now_ms) -> time or nil */
static int hall_deadline(lua_State *L) {
    int64_t deadline_ms = gate_hall_deadline(&hall_of(L)->hall, thread_at(L, 2),
                                             luaL_checkinteger(L, 3), luaL_checkinteger(L, 4));
    if (deadline_ms < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, deadline_ms);
    return 1;
}

static int hall_tells_hold(lua_State *L) {
    lua_pushboolean(L, gate_hall_tells_hold(&hall_of(L)->hall, lua_toboolean(L, 2)));
    return 1;
}

static int hall_turn_number(lua_State *L) {
    lua_pushinteger(L, gate_hall_turn_number(&hall_of(L)->hall));
    return 1;
}

/* hall:crowd() -> inside, waiting */
static int hall_crowd(lua_State *L) {
    struct gate_crowd crowd;
    gate_hall_crowd(&hall_of(L)->hall, &crowd);
    lua_pushinteger(L, crowd.inside);
    lua_pushinteger(L, crowd.waiting);
    return 2;
}

void unit_open_hall(lua_State *L) {
    static const luaL_Reg methods[] = {{"expect", hall_expect},
                                       {"come", hall_come},
                                       {"came", hall_came},
                                       {"ask", hall_ask},
                                       {"spent", hall_spent},
                                       {"done", hall_done},
                                       {"next_slot", hall_next_slot},
                                       {"admit", hall_admit},
                                       {"put_back", hall_put_back},
                                       {"resize", hall_resize},
                                       {"key", hall_key},
                                       {"line_up", hall_line_up},
                                       {"enter_at_once", hall_enter_at_once},
                                       {"next_guest", hall_next_guest},
                                       {"enter", hall_enter},
                                       {"leave", hall_leave},
                                       {"deadline", hall_deadline},
                                       {"tells_hold", hall_tells_hold},
                                       {"turn_number", hall_turn_number},
                                       {"crowd", hall_crowd},
                                       {"woken", hall_woken},
                                       {"__gc", hall_gc},
                                       {NULL, NULL}};
    luaL_newmetatable(L, HALL);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, hall_new);
}

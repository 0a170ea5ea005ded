/* lua_serve.c - how events leave an engine: one by one, or straight to the only listener of each.
 * On the thread of the lua_State. Functions of the user run in the coroutines of scheduler.lua
 * only: engine_serve resumes one for each event. */
#include <math.h>
#include <time.h>

#include "lua_lazy.h"
#include "lua_record.h"

/* ---- One ------------------------------------------------------------------------------------- */

/* engine:next(record) -> record, name, shard id, own, seq, large, or nil when there is none.
 * `record`, if there is one, is of an event before: done with, and used again. `large`: decoding it
 * takes a while. */
static int engine_next(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    lua_settop(L, 2);
    luaL_checkstack(L, 8, "event");
    struct gate_record *record = gate_record_use(L);
    if (!gate_engine_next(box->engine, &record->event)) {
        lua_pushnil(L);
        return 1;
    }
    const struct gate_event *event = &record->event;
    gate_record_fill(record, box);
    struct gate_span name = gate_event_name(event);
    lua_pushlstring(L, name.data, name.len);
    lua_pushinteger(L, event->shard_id);
    lua_pushboolean(L, event->own);
    lua_pushinteger(L, (lua_Integer)event->seq);
    lua_pushboolean(L, gate_record_is_large(record));
    return 6;
}

/* ---- Many: what stands where ----------------------------------------------------------------- */

/* The stack of engine_serve, and what it puts there for each event. */
enum {
    THE_RECORD = 2, /* of an event before, or nil */
    THE_DESK,
    THE_COROUTINE,
    THE_JOB,
    THE_DONE,
    THE_ATTENTION,
    THE_LIMIT,
    THE_MOST,
    THE_BUSY,  /* the fields of the shard whose listeners are running, or nil */
    THE_OUTER, /* whether they were when this began */
    A_RECORD,
    ITS_NAME,
    ITS_SEAT,
    ITS_WAY,
    ITS_LISTENER,
    ITS_FIELDS,
    ITS_DATA
};

/* Its upvalues: names of fields, as strings of Lua. To make one of each for each look would take
 * longer than all the looks. */
enum { LIST = 1, SOLE, FORM, FN, NAME, DISPATCHING, HANDLED };
static const char *const field_names[] = {"list", "sole",        "form",   "fn",
                                          "name", "dispatching", "handled"};
#define FIELD_NAMES ((int)(sizeof field_names / sizeof field_names[0]))

static void get_field(lua_State *L, int table, int field) {
    lua_pushvalue(L, lua_upvalueindex(field));
    lua_rawget(L, table);
}

/* Sets it to the value on top, which it pops. */
static void set_field(lua_State *L, int table, int field) {
    lua_pushvalue(L, lua_upvalueindex(field));
    lua_insert(L, -2);
    lua_rawset(L, table);
}

/* What does not change from event to event, but `now_s` and `served`. */
struct service {
    struct gate_engine_box *box;
    struct gate_record *record;
    lua_State *co;
    double limit_s, now_s;
    lua_Integer served, most;
};

static double read_clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- Many: a listener ------------------------------------------------------------------------ */

/* Whether it has a single ordinary listener, see emitter.lua's ways. */
static bool find_listener(lua_State *L, const struct gate_event *event) {
    struct gate_span name = gate_event_name(event);
    lua_pushlstring(L, name.data, name.len);
    if (event->own) return false;
    lua_rawgeti(L, THE_DESK, event->shard_id + 1);
    if (!lua_istable(L, ITS_SEAT)) return false;
    lua_rawgeti(L, ITS_SEAT, 1);
    lua_pushvalue(L, ITS_NAME);
    lua_rawget(L, ITS_WAY);
    lua_replace(L, ITS_WAY);
    if (!lua_istable(L, ITS_WAY)) return false;
    get_field(L, ITS_WAY, LIST);
    get_field(L, ITS_LISTENER, SOLE);
    lua_replace(L, ITS_LISTENER);
    if (!lua_istable(L, ITS_LISTENER)) return false;
    lua_rawgeti(L, ITS_SEAT, 2);
    return true;
}

/* As the listener wants it. What cannot be read goes the long way, where that is told. */
static bool push_wanted(lua_State *L, struct gate_record *record) {
    struct gate_span data = gate_event_data(&record->event);
    const struct gate_codec *codec = record->event.codec;
    get_field(L, ITS_LISTENER, FORM);
    const char *form = lua_tostring(L, -1);
    char how = form ? *form : '?';
    lua_settop(L, ITS_DATA - 1);
    if (how == 'r') return gate_record_json(L, record) == GATE_OK;
    if (how == 'l' && data.len) return gate_lua_lazy(L, codec, data, &record->rules) == GATE_OK;
    if (data.len) return gate_lua_decode(L, codec, data, &record->rules, NULL) == GATE_OK;
    lua_pushnil(L);
    return true;
}

static void leave_shard(lua_State *L) {
    if (lua_isnil(L, THE_BUSY)) return;
    lua_pushvalue(L, THE_OUTER);
    set_field(L, THE_BUSY, DISPATCHING);
    lua_pushnil(L);
    lua_replace(L, THE_BUSY);
}

/* The shard says of itself that its listeners are running, until it is another one's turn: between
 * two events there is nobody who could look. */
static void enter_shard(lua_State *L) {
    if (lua_topointer(L, THE_BUSY) == lua_topointer(L, ITS_FIELDS)) return;
    leave_shard(L);
    get_field(L, ITS_FIELDS, DISPATCHING);
    lua_replace(L, THE_OUTER);
    lua_pushboolean(L, true);
    set_field(L, ITS_FIELDS, DISPATCHING);
    lua_pushvalue(L, ITS_FIELDS);
    lua_replace(L, THE_BUSY);
}

/* Runs the listener up to its first wait: true when it is done; else why stands on top, an error or
 * nil. */
static bool run_listener(lua_State *L, lua_State *co, int *rc) {
    int results = 0;
    lua_pushvalue(L, THE_JOB);
    get_field(L, ITS_LISTENER, FN);
    lua_pushvalue(L, ITS_DATA);
    lua_rawgeti(L, ITS_SEAT, 3);
    get_field(L, ITS_WAY, NAME);
    lua_xmove(L, co, 5);
    *rc = gate_lua_resume(co, L, 5, &results);
    if (*rc != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return false;
    }
    bool done = results == 1 && lua_topointer(co, -1) == lua_topointer(L, THE_DONE);
    lua_pop(co, results);
    if (!done) lua_pushnil(L);
    return done;
}

static bool is_called(lua_State *L) {
    lua_rawgeti(L, THE_ATTENTION, 1);
    bool called = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return called;
}

/* ---- Many ------------------------------------------------------------------------------------ */

/* What the rest of an event needs that did not go as nearly all do. */
static int return_odd(lua_State *L, const struct service *service, int rc, double held_s,
                      bool done) {
    struct gate_record *record = service->record;
    lua_Integer seq = (lua_Integer)record->event.seq;
    if (done) lua_pushvalue(L, THE_DONE);
    gate_record_release(L, A_RECORD, record);
    lua_remove(L, A_RECORD);
    lua_insert(L, A_RECORD); /* the state of the job */
    lua_pushinteger(L, service->served);
    lua_insert(L, A_RECORD);
    /* served, state, name, seat, way, listener, fields, data; and then: */
    lua_pushboolean(L, rc == LUA_YIELD);
    lua_pushnumber(L, held_s);
    lua_pushinteger(L, seq);
    return lua_gettop(L) - A_RECORD + 1;
}

static int return_event(lua_State *L, const struct service *service) {
    const struct gate_event *event = &service->record->event;
    lua_settop(L, ITS_NAME);
    lua_pushinteger(L, service->served);
    lua_insert(L, A_RECORD);
    lua_pushinteger(L, event->shard_id);
    lua_pushboolean(L, event->own);
    lua_pushinteger(L, (lua_Integer)event->seq);
    lua_pushboolean(L, gate_record_is_large(service->record));
    return 7;
}

/* 0: on to the next one; else so many results are to be returned. */
static int serve_one(lua_State *L, struct service *service) {
    struct gate_record *record = service->record;
    int rc;
    bool usable = lua_status(service->co) == LUA_YIELD && lua_checkstack(service->co, 8);
    if (!find_listener(L, &record->event) || !usable || !push_wanted(L, record))
        return return_event(L, service);
    if (gate_record_is_large(record)) service->now_s = read_clock_s();
    enter_shard(L);
    bool done = run_listener(L, service->co, &rc);
    double begun_s = service->now_s;
    service->now_s = read_clock_s();
    service->served++;
    double held_s = service->now_s - begun_s;
    if (!done || held_s > service->limit_s || !service->box->engine || is_called(L))
        return return_odd(L, service, rc, held_s, done);
    if (record->event.seq == 0) return 0; /* the gateway gave it none */
    lua_pushinteger(L, (lua_Integer)record->event.seq);
    set_field(L, ITS_FIELDS, HANDLED);
    return 0;
}

/* Until there is none, or one of them wants more. Returns the number of results. */
static int serve_all(lua_State *L, struct service *service) {
    struct gate_record *record = service->record;
    int results;
    do {
        lua_settop(L, A_RECORD);
        gate_record_forget(L, A_RECORD, record);
        if (service->served == service->most ||
            !gate_engine_next(service->box->engine, &record->event)) {
            gate_record_release(L, A_RECORD, record);
            lua_pushinteger(L, service->served);
            return 1;
        }
        gate_record_fill(record, service->box);
        results = serve_one(L, service);
    } while (results == 0);
    return results;
}

/* engine:serve(record, desk, coroutine, JOB, DONE, attention, limit, most) runs what listens, as
 * scheduler.lua's run does, until there is no event, `most` were served, or one of them wants more:
 *
 *   served                                                       there is none for now
 *   served, record, name, shard id, own, seq, large              not served: as of engine:next
 *   served, state, name, seat, way, listener, fields, data, fine, held, seq
 *                                       served, but it waits, failed, took more than `limit`
 * seconds, called for attention, or closed the engine
 *
 * desk: shard id + 1 -> { the ways of its emitter, its fields, the shard }. */
static int engine_serve(lua_State *L) {
    struct service service = {.box = gate_lua_open_engine(L)};
    luaL_checktype(L, THE_COROUTINE, LUA_TTHREAD);
    service.co = lua_tothread(L, THE_COROUTINE);
    service.most = luaL_checkinteger(L, THE_MOST);
    service.limit_s = luaL_optnumber(L, THE_LIMIT, HUGE_VAL);
    lua_settop(L, THE_OUTER);
    luaL_checkstack(L, 24, "events");
    service.record = gate_record_use(L);
    service.now_s = read_clock_s();
    int results = serve_all(L, &service);
    leave_shard(L);
    return results;
}

/* engine:seq() -> the sequence of the event that was given last, which is that of the one whose
 * listeners begin; 0 where the gateway gave it none. */
static int engine_seq(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)gate_lua_engine(L, 1)->seq);
    return 1;
}

void gate_lua_serve_open(lua_State *L) {
    lua_pushcfunction(L, engine_next);
    lua_setfield(L, -2, "next");
    lua_pushcfunction(L, engine_seq);
    lua_setfield(L, -2, "seq");
    for (int i = 0; i < FIELD_NAMES; i++) lua_pushstring(L, field_names[i]);
    lua_pushcclosure(L, engine_serve, FIELD_NAMES);
    lua_setfield(L, -2, "serve");
}

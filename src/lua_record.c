/* lua_record.c - see lua_record.h, and what Lua does with a record.
 *
 * Its user values are DATA, RAW and LAZY: its data, once decoded; as JSON text; as a lazy table. */
#include "lua_record.h"

#include "lua_lazy.h"
#include "transcode.h"

enum { DATA = 1, RAW, LAZY, RECORD_VALUES = LAZY };

#define SLOW_BYTES 65536 /* decoding so much takes most of a millisecond */

static const char record_tag;

bool gate_record_is_large(const struct gate_record *record) {
    return record->event.data_len > SLOW_BYTES;
}

/* ---- Made and used again --------------------------------------------------------------------- */

/* Each event comes by here several times, and looking up the metatable costs more than all the rest
 * of a call: what begins with the address of the tag is ours. */
static struct gate_record *get_record_at(lua_State *L, int index) {
    struct gate_record *record = lua_touserdata(L, index);
    if (record && lua_rawlen(L, index) == sizeof *record && record->tag == &record_tag)
        return record;
    return luaL_checkudata(L, index, GATE_LUA_RECORD);
}

static struct gate_record *get_record(lua_State *L) {
    return get_record_at(L, 1);
}

static struct gate_record *check_record(lua_State *L) {
    struct gate_record *record = get_record(L);
    if (record->state == GATE_RECORD_FREE) gate_lua_closed(L, "record");
    return record;
}

static void drop_user_value(lua_State *L, int index, int nth) {
    lua_pushnil(L);
    lua_setiuservalue(L, index, nth);
}

void gate_record_forget(lua_State *L, int index, struct gate_record *record) {
    if (record->state == GATE_RECORD_FREE) return;
    if (record->state == GATE_RECORD_DECODED) drop_user_value(L, index, DATA);
    if (record->has_raw) drop_user_value(L, index, RAW);
    if (record->has_lazy) drop_user_value(L, index, LAZY);
    record->has_raw = record->has_lazy = false;
    record->state = GATE_RECORD_FREE;
}

void gate_record_release(lua_State *L, int index, struct gate_record *record) {
    gate_record_forget(L, index, record);
    gate_event_free(&record->event);
}

/* Pushes a free record: the engine's spare one, which serves nearly every event. While that is in
 * use further up the stack, or was forgotten by somebody whom Ctrl-C threw out, a new one takes its
 * place. */
static struct gate_record *push_record(lua_State *L) {
    lua_getiuservalue(L, 1, GATE_LUA_SPARE);
    struct gate_record *spare = lua_touserdata(L, -1);
    if (spare && spare->state == GATE_RECORD_FREE) return spare;
    lua_pop(L, 1);
    struct gate_record *record = lua_newuserdatauv(L, sizeof *record, RECORD_VALUES);
    memset(record, 0, sizeof *record);
    luaL_setmetatable(L, GATE_LUA_RECORD);
    record->tag = &record_tag;
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, GATE_LUA_SPARE);
    return record;
}

struct gate_record *gate_record_use(lua_State *L) {
    if (lua_isnil(L, 2)) return push_record(L);
    struct gate_record *record = get_record_at(L, 2);
    gate_record_forget(L, 2, record);
    lua_pushvalue(L, 2);
    return record;
}

/* ---- For Lua --------------------------------------------------------------------------------- */

static int fail_decode(lua_State *L, const struct gate_record *record) {
    struct gate_span name = gate_event_name(&record->event);
    lua_pushlstring(L, name.data, name.len);
    return gate_lua_fail(L, record->error, "decode: %s: %s", lua_tostring(L, -1),
                         gate_error_text(record->error));
}

/* record:data() -> the decoded value, the same one each time; or nil, message, code. */
static int record_data(lua_State *L) {
    struct gate_record *record = check_record(L);
    lua_settop(L, 1);
    if (record->state == GATE_RECORD_FRESH && record->event.data_len > 0) {
        record->error = gate_lua_decode(L, record->event.codec, gate_event_data(&record->event),
                                        &record->rules, NULL);
        record->state = record->error == GATE_OK ? GATE_RECORD_DECODED : GATE_RECORD_BROKEN;
        if (record->state == GATE_RECORD_DECODED) lua_setiuservalue(L, 1, DATA);
    }
    if (record->state == GATE_RECORD_BROKEN) return fail_decode(L, record);
    lua_getiuservalue(L, 1, DATA);
    return 1;
}

int gate_record_json(lua_State *L, struct gate_record *record) {
    struct gate_span data = gate_event_data(&record->event);
    if (data.len && record->event.codec != &gate_json) {
        gate_buf_free(&record->text);
        int rc = gate_transcode(record->event.codec, data, &gate_json, &record->text);
        if (rc < 0) {
            gate_buf_free(&record->text);
            return rc;
        }
        data = gate_buf_span(&record->text);
    }
    lua_pushlstring(L, data.len ? data.data : "", data.len);
    gate_buf_free(&record->text);
    return GATE_OK;
}

/* The same, kept for who asks next. */
static int push_raw(lua_State *L, struct gate_record *record) {
    if (!record->has_raw) {
        int rc = gate_record_json(L, record);
        if (rc < 0) return rc;
        lua_setiuservalue(L, 1, RAW);
        record->has_raw = true;
    }
    lua_getiuservalue(L, 1, RAW);
    return GATE_OK;
}

static int fail_record(lua_State *L, struct gate_record *record, int error) {
    record->error = error;
    record->state = GATE_RECORD_BROKEN;
    return fail_decode(L, record);
}

/* record:raw() -> the data as JSON text, the same string each time; or nil, message, code. */
static int record_raw(lua_State *L) {
    struct gate_record *record = check_record(L);
    lua_settop(L, 1);
    int rc = push_raw(L, record);
    return rc < 0 ? fail_record(L, record, rc) : 1;
}

/* record:lazy() -> a table that decodes what is touched, the same one each time; once the data was
 * decoded anyway, that. Or nil, message, code. */
static int record_lazy(lua_State *L) {
    struct gate_record *record = check_record(L);
    if (record->state != GATE_RECORD_FRESH || record->event.data_len == 0) return record_data(L);
    lua_settop(L, 1);
    if (!record->has_lazy) {
        int rc =
            gate_lua_lazy(L, record->event.codec, gate_event_data(&record->event), &record->rules);
        if (rc < 0) return fail_record(L, record, rc);
        lua_setiuservalue(L, 1, LAZY);
        record->has_lazy = true;
    }
    lua_getiuservalue(L, 1, LAZY);
    return 1;
}

/* record:done(): gives the memory back now and lets the engine use the record again. */
static int record_done(lua_State *L) {
    gate_record_release(L, 1, get_record(L));
    return 0;
}

static int record_collect(lua_State *L) {
    struct gate_record *record = get_record(L);
    gate_buf_free(&record->text);
    gate_event_free(&record->event);
    record->state = GATE_RECORD_FREE;
    return 0;
}

static int record_tostring(lua_State *L) {
    const struct gate_record *record = get_record(L);
    if (record->state == GATE_RECORD_FREE) {
        lua_pushliteral(L, "Record free");
        return 1;
    }
    struct gate_span name = gate_event_name(&record->event);
    lua_pushliteral(L, "Record ");
    lua_pushlstring(L, name.data, name.len);
    lua_concat(L, 2);
    return 1;
}

void gate_lua_record_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"data", record_data},
                                       {"raw", record_raw},
                                       {"lazy", record_lazy},
                                       {"done", record_done},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", record_collect}, {"__tostring", record_tostring}, {NULL, NULL}};
    gate_lua_register(L, GATE_LUA_RECORD, methods, meta, NULL);
    lua_pop(L, 1);
}

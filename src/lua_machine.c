/* lua_machine.c - core.machine(): the pure shard machine of shard.h as a userdata.
 * Used by the specs, and by people who bring their own transport, on the thread of the lua_State.
 * It starts no thread and reads no clock: every input has `now_ms` as its first argument. */
#include <string.h>

#include "lua_core.h"
#include "lua_value.h"

struct machine {
    struct gate_shard *shard;  /* NULL once closed */
    struct gate_action action; /* taken from the shard and not yet shown: freed if showing raises */
    bool holds_action;
    struct gate_lua_rules rules;
    struct gate_buf outgoing; /* being encoded; here so that raising leaks nothing */
};

static struct machine *get_machine(lua_State *L) {
    return luaL_checkudata(L, 1, GATE_LUA_MACHINE);
}

static struct machine *check_machine(lua_State *L) {
    struct machine *machine = get_machine(L);
    if (!machine->shard) gate_lua_closed(L, "machine");
    return machine;
}

static void drop_action(struct machine *machine) {
    if (machine->holds_action) gate_action_free(&machine->action);
    machine->holds_action = false;
}

/* ---- Inputs -----------------------------------------------------------------------------------
 */

static struct gate_span check_span(lua_State *L, int index) {
    struct gate_span span;
    span.data = luaL_checklstring(L, index, &span.len);
    return span;
}

static struct gate_span optional_span(lua_State *L, int index) {
    struct gate_span none = {"", 0};
    return lua_isnoneornil(L, index) ? none : check_span(L, index);
}

static int machine_start(lua_State *L) {
    struct machine *machine = check_machine(L);
    return gate_lua_result(L, "start", gate_shard_start(machine->shard, luaL_checkinteger(L, 2)));
}

static int machine_opened(lua_State *L) {
    struct machine *machine = check_machine(L);
    uint32_t connection = (uint32_t)luaL_checkinteger(L, 3);
    return gate_lua_result(L, "opened",
                           gate_shard_opened(machine->shard, luaL_checkinteger(L, 2), connection));
}

/* The optional table { connection =, final =, binary = } of feed and feed_all at index 4. */
static void read_piece(lua_State *L, struct machine *machine, struct gate_piece *out) {
    struct gate_status status;
    gate_shard_status(machine->shard, &status);
    *out = (struct gate_piece){
        .connection = status.connection, .bytes = check_span(L, 3), .final = true};
    if (lua_isnoneornil(L, 4)) return;
    luaL_checktype(L, 4, LUA_TTABLE);
    out->connection = (uint32_t)gate_lua_integer(L, 4, "connection", status.connection);
    out->final = gate_lua_flag(L, 4, "final", true);
    out->binary = gate_lua_flag(L, 4, "binary", false);
}

/* machine:feed(now_ms, bytes, { connection =, final =, binary = }) -> used, more
 * or nil, message, code. `more`: drain next(), then feed bytes:sub(used + 1) again. */
static int machine_feed(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    struct gate_piece piece;
    read_piece(L, machine, &piece);
    size_t used = 0;
    int rc = gate_shard_feed(machine->shard, now_ms, &piece, &used);
    if (rc < 0) return gate_lua_result(L, "feed", rc);
    lua_pushinteger(L, (lua_Integer)used);
    lua_pushboolean(L, rc == GATE_AGAIN);
    return 2;
}

static enum gate_phase read_phase(lua_State *L, int table) {
    struct gate_span word = gate_lua_text(L, table, "phase");
    if (!word.data) return GATE_PHASE_OPEN;
    for (int phase = 0; phase < GATE_PHASE_COUNT; phase++)
        if (strcmp(gate_phase_word((enum gate_phase)phase), word.data) == 0)
            return (enum gate_phase)phase;
    luaL_error(L, "phase: '%s' is not known", word.data);
    return GATE_PHASE_NONE;
}

/* machine:closed(now_ms, connection, { phase = "open", code = 1006, reason =, error = "ETLS",
 * detail =, http_status =, retry_after_ms = }) */
static int machine_closed(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    uint32_t connection = (uint32_t)luaL_checkinteger(L, 3);
    struct gate_close why = {.phase = GATE_PHASE_OPEN, .code = GATE_CLOSE_DROPPED};
    if (!lua_isnoneornil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        why.phase = read_phase(L, 4);
        why.code = (int)gate_lua_integer(L, 4, "code", GATE_CLOSE_DROPPED);
        why.reason = gate_lua_text(L, 4, "reason");
        why.detail = gate_lua_text(L, 4, "detail");
        why.http_status = (int)gate_lua_integer(L, 4, "http_status", 0);
        why.retry_after_ms = gate_lua_integer(L, 4, "retry_after_ms", 0);
        lua_getfield(L, 4, "error");
        why.error = gate_lua_error_code(L, -1);
    }
    return gate_lua_result(L, "closed",
                           gate_shard_closed(machine->shard, now_ms, connection, &why));
}

static int machine_tick(lua_State *L) {
    struct machine *machine = check_machine(L);
    return gate_lua_result(L, "tick", gate_shard_tick(machine->shard, luaL_checkinteger(L, 2)));
}

/* machine:send(now_ms, bytes): an encoded payload, which is copied. */
static int machine_send(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    struct gate_span bytes = check_span(L, 3);
    gate_buf_free(&machine->outgoing);
    gate_buf_init(&machine->outgoing, GATE_HEADROOM_BYTES, 0);
    int rc = gate_buf_append(&machine->outgoing, bytes);
    if (rc == GATE_OK) rc = gate_shard_send(machine->shard, now_ms, &machine->outgoing);
    return gate_lua_result(L, "send", rc);
}

static int machine_pause(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    bool paused = lua_toboolean(L, 3);
    return gate_lua_result(L, "pause", gate_shard_pause(machine->shard, now_ms, paused));
}

static int machine_grant(lua_State *L) {
    struct machine *machine = check_machine(L);
    return gate_lua_result(L, "grant", gate_shard_grant(machine->shard, luaL_checkinteger(L, 2)));
}

static int machine_slept(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    int64_t asleep_ms = luaL_checkinteger(L, 3);
    return gate_lua_result(L, "slept", gate_shard_slept(machine->shard, now_ms, asleep_ms));
}

static int machine_reconnect(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    int code = (int)luaL_optinteger(L, 3, GATE_CLOSE_KEEP);
    return gate_lua_result(L, "reconnect",
                           gate_shard_reconnect(machine->shard, now_ms, code, optional_span(L, 4)));
}

/* machine:identify(now_ms, options or nil) */
static int machine_identify(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    struct gate_options wanted;
    bool given = !lua_isnoneornil(L, 3);
    if (given) gate_lua_options(L, 3, &wanted);
    int rc = gate_shard_identify(machine->shard, now_ms, given ? &wanted : NULL);
    return gate_lua_result(L, "identify", rc);
}

static int machine_resume(lua_State *L) {
    struct machine *machine = check_machine(L);
    return gate_lua_result(L, "resume", gate_shard_resume(machine->shard, luaL_checkinteger(L, 2)));
}

static int machine_beat(lua_State *L) {
    struct machine *machine = check_machine(L);
    return gate_lua_result(L, "beat", gate_shard_beat(machine->shard, luaL_checkinteger(L, 2)));
}

/* machine:receive(now_ms, bytes): one message, which is copied. */
static int machine_receive(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    struct gate_span bytes = check_span(L, 3);
    gate_buf_free(&machine->outgoing);
    gate_buf_init(&machine->outgoing, GATE_HEADROOM_BYTES, 0);
    int rc = gate_buf_append(&machine->outgoing, bytes);
    if (rc == GATE_OK) rc = gate_shard_receive(machine->shard, now_ms, &machine->outgoing);
    return gate_lua_result(L, "receive", rc);
}

static int machine_line_up(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    return gate_lua_result(L, "line_up", gate_shard_line_up(machine->shard, now_ms));
}

/* machine:resumes_at() -> ms or nil */
static int machine_resumes_at(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t at_ms = gate_shard_resumes_at(machine->shard);
    if (at_ms < 0) return 0;
    lua_pushinteger(L, (lua_Integer)at_ms);
    return 1;
}

static int machine_leave(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    return gate_lua_result(L, "leave",
                           gate_shard_leave(machine->shard, now_ms, optional_span(L, 3)));
}

static int machine_stop(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    int code = (int)luaL_optinteger(L, 3, GATE_CLOSE_NORMAL);
    return gate_lua_result(L, "stop",
                           gate_shard_stop(machine->shard, now_ms, code, optional_span(L, 4)));
}

/* machine:interest({ "MESSAGE_CREATE" }, { all =, send =, receive = }) */
static int machine_interest(lua_State *L) {
    struct machine *machine = check_machine(L);
    struct gate_interest interest;
    gate_lua_interest(L, 2, 3, &interest);
    gate_shard_interest(machine->shard, &interest);
    return gate_lua_result(L, "interest", GATE_OK);
}

/* ---- Outputs ----------------------------------------------------------------------------------
 */

static void set_span(lua_State *L, const char *key, struct gate_span span) {
    lua_pushlstring(L, span.data ? span.data : "", span.len);
    lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

/* Data that cannot be decoded leaves `data` nil and says why in `error`. */
static void push_event(lua_State *L, struct machine *machine) {
    const struct gate_event *event = &machine->action.event;
    lua_createtable(L, 0, 6);
    set_span(L, "name", gate_event_name(event));
    set_span(L, "raw", gate_event_data(event));
    if (!event->own) set_integer(L, "seq", event->seq);
    set_integer(L, "shard_id", event->shard_id);
    set_flag(L, "own", event->own);
    if (event->data_len == 0) return;
    int rc = gate_lua_decode(L, event->codec, gate_event_data(event), &machine->rules, NULL);
    if (rc == GATE_OK) {
        lua_setfield(L, -2, "data");
    } else {
        lua_pushstring(L, gate_error_name(rc));
        lua_setfield(L, -2, "error");
    }
}

static void set_close(lua_State *L, struct machine *machine) {
    set_integer(L, "code", machine->action.code);
    if (!machine->action.reason) return;
    lua_pushstring(L, machine->action.reason);
    lua_setfield(L, -2, "reason");
}

static void push_action(lua_State *L, struct machine *machine) {
    static const char *const words[] = {"connect", "send",     "close",      "abort",
                                        "event",   "slot_ask", "slot_spent", "slot_done"};
    const struct gate_action *action = &machine->action;
    lua_createtable(L, 0, 5);
    lua_pushstring(L, words[action->type]);
    lua_setfield(L, -2, "type");
    set_integer(L, "connection", action->connection);
    switch (action->type) {
    case GATE_ACT_CONNECT: set_span(L, "url", action->url); break;
    case GATE_ACT_SEND:
        set_span(L, "bytes", gate_buf_span(&action->bytes));
        set_flag(L, "binary", action->binary);
        break;
    case GATE_ACT_CLOSE: set_close(L, machine); break;
    case GATE_ACT_EVENT:
        push_event(L, machine);
        lua_setfield(L, -2, "event");
        break;
    default: break;
    }
}

static bool take_action(struct machine *machine) {
    drop_action(machine);
    machine->holds_action = gate_shard_next(machine->shard, &machine->action) == 1;
    return machine->holds_action;
}

/* machine:next() -> nil, or { type = "connect" | "send" | "close" | "abort" | "event" | "slot_ask"
 * | "slot_spent" | "slot_done", connection =, url =, bytes =, binary =, code =, reason =, event = {
 * name =, data =, raw =, seq =, own =, shard_id =, error = } } */
static int machine_next(lua_State *L) {
    struct machine *machine = check_machine(L);
    if (!take_action(machine)) {
        lua_pushnil(L);
        return 1;
    }
    push_action(L, machine);
    drop_action(machine);
    return 1;
}

static void append_actions(lua_State *L, struct machine *machine, int list) {
    while (take_action(machine)) {
        push_action(L, machine);
        lua_rawseti(L, list, (int)lua_rawlen(L, list) + 1);
    }
    drop_action(machine);
}

/* machine:feed_all(now_ms, bytes, options) -> list of actions, error code or nil. Feeds the whole
 * piece and drains after each message. */
static int machine_feed_all(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t now_ms = luaL_checkinteger(L, 2);
    struct gate_piece piece;
    read_piece(L, machine, &piece);
    lua_newtable(L);
    int list = lua_gettop(L);
    int rc = GATE_AGAIN;
    while (rc == GATE_AGAIN) {
        size_t used = 0;
        rc = gate_shard_feed(machine->shard, now_ms, &piece, &used);
        piece.bytes.data += used;
        piece.bytes.len -= used;
        append_actions(L, machine, list);
    }
    if (rc == GATE_OK) return 1;
    lua_pushstring(L, gate_error_name(rc));
    return 2;
}

/* machine:deadline() -> ms of the clock that the inputs use, or nil for never. */
static int machine_deadline(lua_State *L) {
    struct machine *machine = check_machine(L);
    int64_t deadline_ms = gate_shard_deadline(machine->shard);
    if (deadline_ms < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)deadline_ms);
    return 1;
}

static int machine_status(lua_State *L) {
    struct machine *machine = check_machine(L);
    struct gate_status status;
    gate_shard_status(machine->shard, &status);
    gate_lua_push_status(L, &status);
    return 1;
}

/* ---- Life -------------------------------------------------------------------------------------
 */

static int machine_close(lua_State *L) {
    struct machine *machine = get_machine(L);
    drop_action(machine);
    gate_buf_free(&machine->outgoing);
    gate_shard_del(machine->shard);
    machine->shard = NULL;
    return 0;
}

static int machine_tostring(lua_State *L) {
    struct machine *machine = get_machine(L);
    const char *word = "closed";
    if (machine->shard) word = gate_state_word(gate_shard_state(machine->shard));
    lua_pushfstring(L, "Machine %s", word);
    return 1;
}

/* Methods first; `machine.state` is the only property. */
static int machine_index(lua_State *L) {
    struct machine *machine = get_machine(L);
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, 3) || lua_type(L, 2) != LUA_TSTRING) return 1;
    if (strcmp(lua_tostring(L, 2), "state") != 0 || !machine->shard) return 1;
    lua_pushstring(L, gate_state_word(gate_shard_state(machine->shard)));
    return 1;
}

/* core.machine(options): the fields of struct gate_options, and null = "keep". */
static int core_machine(lua_State *L) {
    struct gate_options options;
    lua_settop(L, 1);
    gate_lua_options(L, 1, &options);
    struct gate_span null_word = gate_lua_text(L, 1, "null");
    struct machine *machine = lua_newuserdatauv(L, sizeof *machine, 0);
    memset(machine, 0, sizeof *machine);
    machine->rules.keep_null = null_word.data && strcmp(null_word.data, "keep") == 0;
    luaL_setmetatable(L, GATE_LUA_MACHINE);
    int error;
    machine->shard = gate_shard_new(&options, &error);
    if (!machine->shard) return gate_lua_result(L, "machine", error);
    return 1;
}

void gate_lua_machine_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"start", machine_start},
                                       {"opened", machine_opened},
                                       {"feed", machine_feed},
                                       {"feed_all", machine_feed_all},
                                       {"closed", machine_closed},
                                       {"tick", machine_tick},
                                       {"send", machine_send},
                                       {"pause", machine_pause},
                                       {"grant", machine_grant},
                                       {"slept", machine_slept},
                                       {"reconnect", machine_reconnect},
                                       {"identify", machine_identify},
                                       {"resume", machine_resume},
                                       {"beat", machine_beat},
                                       {"receive", machine_receive},
                                       {"leave", machine_leave},
                                       {"line_up", machine_line_up},
                                       {"resumes_at", machine_resumes_at},
                                       {"stop", machine_stop},
                                       {"interest", machine_interest},
                                       {"next", machine_next},
                                       {"deadline", machine_deadline},
                                       {"status", machine_status},
                                       {"close", machine_close},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", machine_close},
                                    {"__close", machine_close},
                                    {"__tostring", machine_tostring},
                                    {NULL, NULL}};
    gate_lua_class(L, GATE_LUA_MACHINE, methods, meta);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, machine_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_pushcfunction(L, core_machine);
    lua_setfield(L, -2, "machine");
}

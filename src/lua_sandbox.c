/* lua_sandbox.c - the module `moongate.sandbox.core`, under lua/moongate/sandbox.lua.
 * Called on the thread of the lua_State; the server has its own. Nothing of Lua runs while the
 * server's lock is held: values cross as JSON text, both ways. */
#include <limits.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "codec.h"
#include "lua_sandbox.h"
#include "lua_value.h"
#include "sandbox.h"
#include "sandbox_intents.h"

#define SANDBOX_CLASS "moongate.sandbox"
#define BYTES_CLASS   "moongate.sandbox.bytes"
#define WAIT_S_MAX    3600 /* one call of wait; its caller goes round a loop anyway */

struct box {
    struct gate_sandbox *sandbox; /* NULL: stopped */
};

/* ---- Results and arguments ---------------------------------------------------------------------
 */

static int fail(lua_State *L, int error, const char *operation) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", operation,
                    error == GATE_ECLOSED ? "the sandbox is stopped"
                    : error == GATE_EFORK ? "a sandbox does not survive fork"
                                          : gate_error_text(error));
    lua_pushstring(L, gate_error_name(error));
    return 3;
}

static int push_count(lua_State *L, int count, const char *operation) {
    if (count < 0) return fail(L, count, operation);
    lua_pushinteger(L, count);
    return 1;
}

/* Whatever Lua allocates may run a finaliser, and one may stop the sandbox: so the pointer is taken
 * when everything else has been read, right before it is used. */
static struct gate_sandbox *take_sandbox(lua_State *L) {
    struct box *box = luaL_checkudata(L, 1, SANDBOX_CLASS);
    return box->sandbox;
}

static struct gate_span check_span(lua_State *L, int index) {
    struct gate_span span;
    span.data = luaL_checklstring(L, index, &span.len);
    return span;
}

static int64_t field_integer(lua_State *L, int table, const char *key) {
    lua_getfield(L, table, key);
    lua_Number value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
    if (value != floor(value) || fabs(value) > 9007199254740992.0)
        luaL_error(L, "option '%s': integer expected, got %s", key, luaL_typename(L, -1));
    lua_pop(L, 1);
    return (int64_t)value;
}

static int field_int(lua_State *L, int table, const char *key) {
    int64_t value = field_integer(L, table, key);
    if (value < 0 || value > INT_MAX) luaL_error(L, "option '%s': out of range", key);
    return (int)value;
}

static double field_number(lua_State *L, int table, const char *key) {
    lua_getfield(L, table, key);
    if (lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "option '%s': number expected, got %s", key, luaL_typename(L, -1));
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

static bool field_flag(lua_State *L, int table, const char *key) {
    lua_getfield(L, table, key);
    bool value = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return value;
}

/* Borrowed from the table; no data when it is not there. */
static struct gate_span field_text(lua_State *L, int table, const char *key) {
    struct gate_span text = {NULL, 0};
    lua_getfield(L, table, key);
    if (lua_type(L, -1) == LUA_TSTRING)
        text.data = lua_tolstring(L, -1, &text.len);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "option '%s': string expected, got %s", key, luaL_typename(L, -1));
    lua_pop(L, 1);
    return text;
}

static bool is_field_word(lua_State *L, int table, const char *key, const char *word) {
    struct gate_span text = field_text(L, table, key);
    return text.data && strcmp(text.data, word) == 0;
}

static enum gate_etf_keys read_etf_keys(lua_State *L, int table) {
    if (is_field_word(L, table, "etf_keys", "atom")) return GATE_ETF_KEYS_ATOM;
    if (is_field_word(L, table, "etf_keys", "binary")) return GATE_ETF_KEYS_BINARY;
    return GATE_ETF_KEYS_MIXED;
}

static int64_t to_ms(double seconds) {
    double ms = seconds * 1000;
    return ms >= 9e15 ? INT64_C(9000000000000000) : ms > 0 ? (int64_t)ceil(ms) : 0;
}

/* ---- Starting and stopping ---------------------------------------------------------------------
 */

/* All of them are there: sandbox.lua has checked them and filled in what was left out. */
static void read_options(lua_State *L, int table, struct gate_sandbox_options *out) {
    *out = (struct gate_sandbox_options){
        .tls = field_flag(L, table, "tls"),
        .limits = field_flag(L, table, "limits"),
        .certificate_expired = field_flag(L, table, "certificate_expired"),
        .any_frame = field_flag(L, table, "any_frame"),
        .port = field_int(L, table, "port"),
        .guilds = field_int(L, table, "guilds"),
        .members = field_int(L, table, "members"),
        .shards = field_int(L, table, "shards"),
        .max_concurrency = field_int(L, table, "max_concurrency"),
        .starts_total = field_integer(L, table, "starts_total"),
        .starts_remaining = field_integer(L, table, "starts_remaining"),
        .starts_reset_ms = field_integer(L, table, "starts_reset_ms"),
        .heartbeat_interval_ms = field_integer(L, table, "heartbeat_interval"),
        .heartbeat_grace = field_number(L, table, "heartbeat_grace"),
        .heartbeat_close_code = field_int(L, table, "heartbeat_close_code"),
        .resume_window_ms = to_ms(field_number(L, table, "resume_window")),
        .disallowed_intents = field_integer(L, table, "disallowed_intents"),
        .seed = field_integer(L, table, "seed"),
        .zlib_level = field_int(L, table, "zlib_level"),
        .etf = {.keys = read_etf_keys(L, table),
                .atom_tag = field_int(L, table, "etf_atoms"),
                .text_ids = is_field_word(L, table, "etf_ids", "string"),
                .long_lists = !field_flag(L, table, "etf_strings")},
        .replay_events_max = (size_t)field_int(L, table, "replay_events"),
        .replay_bytes_max = (size_t)field_int(L, table, "replay_bytes"),
        .record_max = (size_t)field_int(L, table, "record_max"),
        .record_bytes_max = (size_t)field_int(L, table, "record_bytes"),
        .out_bytes_max = (size_t)field_int(L, table, "out_bytes"),
        .token = field_text(L, table, "token"),
        .user = field_text(L, table, "user_json"),
        .user_id = field_text(L, table, "user_id"),
        .username = field_text(L, table, "username"),
        .certificate_name = field_text(L, table, "certificate_name"),
        .resume_path = field_text(L, table, "resume_path"),
        .resume_host = field_flag(L, table, "resume_host"),
        .presence_close_code = field_int(L, table, "presence_close_code"),
        .clock_skew_ms = field_integer(L, table, "clock_skew_ms"),
        .time_ms = field_integer(L, table, "time_ms"),
    };
    if (out->max_concurrency < 1) luaL_error(L, "option 'max_concurrency': out of range");
}

/* start(options, fields) -> sandbox, or nil, message, code. `fields` is what can be read from it
 * by name; port and ca_file are added to it. */
static int core_start(lua_State *L) {
    struct gate_sandbox_options options;
    char why[GATE_SANDBOX_WHY_BYTES];
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    read_options(L, 1, &options);
    struct box *box = lua_newuserdatauv(L, sizeof *box, 1);
    box->sandbox = NULL;
    luaL_setmetatable(L, SANDBOX_CLASS);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 3, 1);
    int rc = gate_sandbox_start(&options, &box->sandbox, why);
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        lua_pushstring(L, gate_error_name(rc));
        return 3;
    }
    lua_pushinteger(L, gate_sandbox_port(box->sandbox));
    lua_setfield(L, 2, "port");
    lua_pushinteger(L, gate_sandbox_resume_port(box->sandbox));
    lua_setfield(L, 2, "resume_port");
    if (options.tls) {
        lua_pushstring(L, gate_sandbox_ca_file(box->sandbox));
        lua_setfield(L, 2, "ca_file");
    }
    lua_settop(L, 3);
    return 1;
}

static int core_stop(lua_State *L) {
    struct box *box = luaL_checkudata(L, 1, SANDBOX_CLASS);
    struct gate_sandbox *sandbox = box->sandbox;
    box->sandbox = NULL;
    if (sandbox) gate_sandbox_stop(sandbox);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- Orders ------------------------------------------------------------------------------------
 */

/* A number of a target's table, or GATE_SANDBOX_ANYONE. */
static int64_t target_number(lua_State *L, int index, const char *key) {
    lua_getfield(L, index, key);
    bool absent = lua_isnil(L, -1) != 0;
    lua_pop(L, 1);
    int64_t value = absent ? GATE_SANDBOX_ANYONE : field_integer(L, index, key);
    if (!absent && value < 0) luaL_error(L, "target: '%s' is negative", key);
    return value;
}

/* nil: everybody; a number: that connection; a table: what it names. An entry of connections() has
 * a number as its id, one of sessions() a string. */
static struct gate_sandbox_target read_target(lua_State *L, int index) {
    struct gate_sandbox_target target = {GATE_SANDBOX_ANYONE, GATE_SANDBOX_ANYONE, {NULL, 0}};
    if (lua_isnoneornil(L, index)) return target;
    if (lua_type(L, index) == LUA_TNUMBER) {
        target.connection = luaL_checkinteger(L, index);
        luaL_argcheck(L, target.connection > 0, index, "connections are numbered from 1");
        return target;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    lua_getfield(L, index, "id");
    int kind = lua_type(L, -1);
    lua_pop(L, 1);
    if (kind == LUA_TNUMBER) {
        target.connection = target_number(L, index, "id");
    } else if (kind == LUA_TSTRING) {
        target.session = field_text(L, index, "id");
    } else {
        target.connection = target_number(L, index, "connection");
        target.shard = target_number(L, index, "shard");
        target.session = field_text(L, index, "session");
    }
    return target;
}

static const struct verb {
    const char *name;
    enum gate_sandbox_verb verb;
} verbs[] = {
    {"drop", GATE_ORDER_DROP},
    {"close", GATE_ORDER_CLOSE},
    {"invalid_session", GATE_ORDER_INVALID_SESSION},
    {"reconnect", GATE_ORDER_RECONNECT},
    {"heartbeat", GATE_ORDER_HEARTBEAT},
    {"send_payload", GATE_ORDER_PAYLOAD},
    {"send_raw", GATE_ORDER_RAW},
    {"corrupt", GATE_ORDER_CORRUPT},
    {"swallow", GATE_ORDER_SWALLOW},
    {"withhold_acks", GATE_ORDER_WITHHOLD},
    {"half_open", GATE_ORDER_HALF_OPEN},
    {"stall", GATE_ORDER_STALL},
    {"split", GATE_ORDER_SPLIT},
    {"split_messages", GATE_ORDER_SPLIT_MESSAGES},
    {"stutter", GATE_ORDER_STUTTER},
    {"mask", GATE_ORDER_MASK},
    {"enforce_limits", GATE_ORDER_LIMITS},
    {"set_clock", GATE_ORDER_CLOCK},
    {"resume_host", GATE_ORDER_RESUME_HOST},
    {"trickle", GATE_ORDER_TRICKLE},
    {"cut", GATE_ORDER_CUT},
};

static enum gate_sandbox_verb read_verb(lua_State *L, const char *name) {
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0) return verbs[i].verb;
    luaL_error(L, "there is no order '%s'", name);
    return GATE_ORDER_DROP;
}

/* order(sandbox, verb, target, on, number, text, pause_ms, most) -> count, or nil, message, code.
 */
static int core_order(lua_State *L) {
    const char *name = luaL_checkstring(L, 2);
    struct gate_sandbox_order order = {
        .verb = read_verb(L, name),
        .target = read_target(L, 3),
        .on = lua_toboolean(L, 4) != 0,
        .number = (int64_t)luaL_optinteger(L, 5, 0),
        .text = lua_isnoneornil(L, 6) ? (struct gate_span){"", 0} : check_span(L, 6),
        .pause_ms = (int64_t)luaL_optinteger(L, 7, 0),
        .most = (int64_t)luaL_optinteger(L, 8, 0),
    };
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, name);
    return push_count(L, gate_sandbox_order(sandbox, &order), name);
}

/* The JSON of the value at `index`; nothing raises while `out` holds memory. */
static int encode_value(lua_State *L, int index, struct gate_buf *out, char *where) {
    struct gate_writer writer;
    where[0] = '\0';
    if (lua_isnoneornil(L, index)) return gate_buf_append(out, GATE_SPAN("null"));
    memcpy(where, "d", sizeof "d");
    int rc = gate_json.begin(&writer, out, true);
    if (rc < 0) return rc;
    return gate_lua_encode(L, index, gate_json.writer, &writer, where, GATE_LUA_WHERE_BYTES);
}

/* dispatch(sandbox, name, d, target, unfiltered, direct, text, exact) -> count, or nil, message,
 * code. `text` in place of d is sent as it is. */
static int core_dispatch(lua_State *L) {
    struct gate_sandbox_event event = {.name = check_span(L, 2)};
    struct gate_sandbox_target target = read_target(L, 4);
    char where[GATE_LUA_WHERE_BYTES];
    struct gate_buf data;
    lua_settop(L, 8);
    event.unfiltered = lua_toboolean(L, 5) != 0;
    event.direct = lua_toboolean(L, 6) != 0;
    event.exact = lua_toboolean(L, 8) != 0;
    gate_buf_init(&data, 0, 0);
    event.broken = !lua_isnil(L, 7);
    where[0] = '\0';
    int rc =
        event.broken ? gate_buf_append(&data, check_span(L, 7)) : encode_value(L, 3, &data, where);
    if (rc == GATE_OK) {
        struct gate_sandbox *sandbox = take_sandbox(L);
        event.data = gate_buf_span(&data);
        rc = sandbox ? gate_sandbox_dispatch(sandbox, &target, &event) : GATE_ECLOSED;
        where[0] = '\0';
    }
    gate_buf_free(&data);
    if (rc >= 0 || !where[0]) return push_count(L, rc, "dispatch");
    lua_pushnil(L);
    lua_pushfstring(L, "dispatch: %s", where);
    lua_pushstring(L, gate_error_name(GATE_EVALUE));
    return 3;
}

/* respond(sandbox, { path, method, status, headers, body, times, delay }) -> true. */
static int core_respond(lua_State *L) {
    luaL_checktype(L, 2, LUA_TTABLE);
    struct gate_sandbox_answer answer = {
        .path = field_text(L, 2, "path"),
        .method = field_text(L, 2, "method"),
        .status = field_int(L, 2, "status"),
        .headers = field_text(L, 2, "headers"),
        .body = field_text(L, 2, "body"),
        .times = field_integer(L, 2, "times"),
        .delay_ms = to_ms(field_number(L, 2, "delay")),
    };
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, "respond");
    int rc = gate_sandbox_respond(sandbox, &answer);
    if (rc < 0) return fail(L, rc, "respond");
    lua_pushboolean(L, 1);
    return 1;
}

/* instead(sandbox, phase, deed, on, code, times, text) -> true, or nil, message, code. */
static int core_instead(lua_State *L) {
    static const char *const phases[] = {"hello", "ready", "resumed", "ack", NULL};
    static const char *const deeds[] = {"payload", "close", "drop", "invalid_session", NULL};
    struct gate_sandbox_instead instead = {
        .phase = (enum gate_sandbox_phase)luaL_checkoption(L, 2, NULL, phases),
        .on = lua_toboolean(L, 4) != 0,
        .code = (int)luaL_checkinteger(L, 5),
        .times = (int64_t)luaL_checkinteger(L, 6),
        .text = check_span(L, 7),
    };
    switch (luaL_checkoption(L, 3, NULL, deeds)) {
    case 0: instead.deed = GATE_INSTEAD_PAYLOAD; break;
    case 1: instead.deed = GATE_INSTEAD_CLOSE; break;
    case 2: instead.deed = GATE_INSTEAD_DROP; break;
    default: instead.deed = GATE_INSTEAD_INVALID; break;
    }
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, "instead");
    int rc = gate_sandbox_instead(sandbox, &instead);
    if (rc < 0) return fail(L, rc, "instead");
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- Looking -----------------------------------------------------------------------------------
 */

static const char *const list_names[] = {"connections", "history", "sessions", "guilds", "people",
                                         "received",    "log",     "requests", NULL};
static const enum gate_sandbox_list list_kinds[] = {
    GATE_LIST_CONNECTIONS, GATE_LIST_HISTORY,  GATE_LIST_SESSIONS, GATE_LIST_GUILDS,
    GATE_LIST_PEOPLE,      GATE_LIST_RECEIVED, GATE_LIST_LOG,      GATE_LIST_REQUESTS};

/* A buffer that the collector frees, should decoding raise. */
static struct gate_buf *push_buffer(lua_State *L) {
    struct gate_buf *bytes = lua_newuserdatauv(L, sizeof *bytes, 0);
    gate_buf_init(bytes, 0, 0);
    luaL_setmetatable(L, BYTES_CLASS);
    return bytes;
}

static int free_buffer(lua_State *L) {
    gate_buf_free(luaL_checkudata(L, 1, BYTES_CLASS));
    return 0;
}

/* list(sandbox, which, tag) -> list, how many older entries were dropped. */
static int core_list(lua_State *L) {
    int which = luaL_checkoption(L, 2, NULL, list_names);
    int tag = (int)luaL_optinteger(L, 3, GATE_TAG_ALL);
    uint64_t lost = 0;
    struct gate_buf *text = push_buffer(L);
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, list_names[which]);
    int rc = gate_sandbox_list(sandbox, list_kinds[which], tag, text, &lost);
    if (rc == GATE_OK) rc = gate_lua_decode(L, &gate_json, gate_buf_span(text), NULL, NULL);
    gate_buf_free(text);
    if (rc < 0) return fail(L, rc, list_names[which]);
    lua_pushinteger(L, (lua_Integer)lost);
    return 2;
}

/* log_after(sandbox, number) -> the lines behind it, the number of the last. */
static int core_log_after(lua_State *L) {
    uint64_t after = (uint64_t)luaL_checkinteger(L, 2), last = 0;
    struct gate_buf *text = push_buffer(L);
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, "log");
    int rc = gate_sandbox_log_after(sandbox, after, text, &last);
    if (rc == GATE_OK) rc = gate_lua_decode(L, &gate_json, gate_buf_span(text), NULL, NULL);
    gate_buf_free(text);
    if (rc < 0) return fail(L, rc, "log");
    lua_pushinteger(L, (lua_Integer)last);
    return 2;
}

static int core_count(lua_State *L) {
    int which = luaL_checkoption(L, 2, NULL, list_names);
    int tag = (int)luaL_optinteger(L, 3, GATE_TAG_ALL);
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, list_names[which]);
    return push_count(L, gate_sandbox_count(sandbox, list_kinds[which], tag), list_names[which]);
}

static int core_forget(lua_State *L) {
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) return fail(L, GATE_ECLOSED, "forget");
    gate_sandbox_forget(sandbox);
    lua_pushboolean(L, 1);
    return 1;
}

/* wait(sandbox, seen, seconds) -> a number that differs from `seen` when something has happened,
 * and the seconds of a monotonic clock. wait(sandbox) asks for both without waiting. */
static int core_wait(lua_State *L) {
    struct gate_sandbox *sandbox = take_sandbox(L);
    struct timespec now;
    uint64_t changes;
    if (!sandbox) return fail(L, GATE_ECLOSED, "wait");
    if (lua_isnoneornil(L, 2)) {
        changes = gate_sandbox_changes(sandbox);
    } else {
        uint64_t seen = (uint64_t)luaL_checkinteger(L, 2);
        double seconds = luaL_checknumber(L, 3);
        if (!(seconds < WAIT_S_MAX)) seconds = WAIT_S_MAX;
        changes = gate_sandbox_wait(sandbox, seen, to_ms(seconds));
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    lua_pushinteger(L, (lua_Integer)changes);
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
    return 2;
}

static int core_is_sandbox(lua_State *L) {
    lua_pushboolean(L, luaL_testudata(L, 1, SANDBOX_CLASS) != NULL);
    return 1;
}

static int core_intent(lua_State *L) {
    lua_pushinteger(L, gate_intent_bit(luaL_checkstring(L, 1)));
    return 1;
}

/* core.events() -> the names of all events that are known */
static int core_events(lua_State *L) {
    const struct gate_event_rule *rule;
    lua_newtable(L);
    for (size_t i = 0; (rule = gate_event_rule_at(i)) != NULL; i++) {
        lua_pushstring(L, rule->name);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- The object --------------------------------------------------------------------------------
 */

/* Methods first, then what the sandbox is: its url, its token. The methods' `__missing` judges a
 * name that is neither. */
static int sandbox_index(lua_State *L) {
    luaL_checkudata(L, 1, SANDBOX_CLASS);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1)) return 1;
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1)) return 1;
    lua_pushliteral(L, "__missing");
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1)) return 1;
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    return 1;
}

static int sandbox_tostring(lua_State *L) {
    luaL_checkudata(L, 1, SANDBOX_CLASS);
    lua_getiuservalue(L, 1, 1);
    lua_getfield(L, -1, "url");
    const char *url = lua_tostring(L, -1);
    if (!url) url = "";
    struct gate_sandbox *sandbox = take_sandbox(L);
    if (!sandbox) {
        lua_pushfstring(L, "Sandbox %s, stopped", url);
        return 1;
    }
    int open = gate_sandbox_count(sandbox, GATE_LIST_CONNECTIONS, 0);
    int sessions = gate_sandbox_count(sandbox, GATE_LIST_SESSIONS, 0);
    if (open < 0 || sessions < 0)
        lua_pushfstring(L, "Sandbox %s, of another process", url);
    else
        lua_pushfstring(L, "Sandbox %s, %d connection%s, %d session%s", url, open,
                        open == 1 ? "" : "s", sessions, sessions == 1 ? "" : "s");
    return 1;
}

/* __members and __internal of the class on top of the stack, whose methods are below it: what a
 * prompt completes, see complete.lua. */
static void tell_members(lua_State *L) {
    static const char *const fields[] = {"api",  "ca_file", "guilds", "people",
                                         "port", "token",   "url",    "user"};
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, 1);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, fields[i]);
    }
    lua_rawseti(L, -2, 2);
    lua_setfield(L, -2, "__members");
    lua_newtable(L);
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "__missing");
    lua_setfield(L, -2, "__internal");
}

static void make_classes(lua_State *L) {
    luaL_newmetatable(L, BYTES_CLASS);
    lua_pushcfunction(L, free_buffer);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg meta[] = {{"__gc", core_stop},
                                    {"__close", core_stop},
                                    {"__tostring", sandbox_tostring},
                                    {NULL, NULL}};
    lua_newtable(L);
    luaL_newmetatable(L, SANDBOX_CLASS);
    luaL_setfuncs(L, meta, 0);
    lua_pushstring(L, SANDBOX_CLASS);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, sandbox_index, 1);
    lua_setfield(L, -2, "__index");
    tell_members(L);
    lua_pop(L, 1);
}

int luaopen_moongate_sandbox_core(lua_State *L) {
    static const luaL_Reg functions[] = {{"start", core_start},
                                         {"stop", core_stop},
                                         {"order", core_order},
                                         {"dispatch", core_dispatch},
                                         {"respond", core_respond},
                                         {"list", core_list},
                                         {"count", core_count},
                                         {"forget", core_forget},
                                         {"wait", core_wait},
                                         {"instead", core_instead},
                                         {"log_after", core_log_after},
                                         {"intent", core_intent},
                                         {"events", core_events},
                                         {"is_sandbox", core_is_sandbox},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    gate_lua_value_open(L);
    make_classes(L);
    lua_setfield(L, -2, "methods");
    return 1;
}

/* lua_core.c - the entry of the module `moongate.core`, and what its other files share.
 * Called by Lua's loader and by the lua_*.c files, on the thread of the lua_State. It holds nothing
 * in C globals: what belongs to a lua_State stays in it, so several can live in one process. */
#include "lua_core.h"

#include <limits.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

#include "lua_lazy.h"
#include "lua_value.h"
#include "transport.h"

#define MODULE_VERSION "moongate 0.1.0"

/* ---- Classes and results --------------------------------------------------------------------- */

void gate_lua_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *meta) {
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, meta, 0);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
}

/* Makes a class whose __index is `index` over its methods, or the methods themselves. */
void gate_lua_register(lua_State *L, const char *name, const luaL_Reg *methods,
                       const luaL_Reg *meta, lua_CFunction index) {
    gate_lua_class(L, name, methods, meta);
    lua_pushvalue(L, -2);
    if (index) lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int gate_lua_closed(lua_State *L, const char *noun) {
    return luaL_error(L, "attempt to use a closed %s", noun);
}

int gate_lua_fail(lua_State *L, int error, const char *format, ...) {
    va_list values;
    lua_pushnil(L);
    va_start(values, format);
    lua_pushvfstring(L, format, values);
    va_end(values);
    lua_pushstring(L, gate_error_name(error));
    return 3;
}

int gate_lua_result(lua_State *L, const char *operation, int error) {
    if (error < 0) return gate_lua_fail(L, error, "%s: %s", operation, gate_error_text(error));
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- Option tables --------------------------------------------------------------------------- */

/* Reads past metatables: the spans below are borrowed, so the table itself must hold the text. */
static int push_field(lua_State *L, int table, const char *key) {
    lua_pushstring(L, key);
    lua_rawget(L, table);
    return lua_type(L, -1);
}

static void refuse_field(lua_State *L, const char *key, const char *wanted) {
    luaL_error(L, "option '%s': %s expected, got %s", key, wanted, luaL_typename(L, -1));
}

struct gate_span gate_lua_text(lua_State *L, int table, const char *key) {
    struct gate_span text = {NULL, 0};
    int type = push_field(L, table, key);
    if (type == LUA_TSTRING)
        text.data = lua_tolstring(L, -1, &text.len);
    else if (type != LUA_TNIL)
        refuse_field(L, key, "string");
    lua_pop(L, 1);
    return text;
}

int64_t gate_lua_integer(lua_State *L, int table, const char *key, int64_t absent) {
    int64_t value = absent;
    int type = push_field(L, table, key);
    if (type == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(L, -1);
        if (number != floor(number) || fabs(number) > 9007199254740992.0)
            refuse_field(L, key, "integer");
        value = (int64_t)number;
    } else if (type != LUA_TNIL) {
        refuse_field(L, key, "integer");
    }
    lua_pop(L, 1);
    return value;
}

static int read_int(lua_State *L, int table, const char *key, int absent) {
    int64_t value = gate_lua_integer(L, table, key, absent);
    if (value < INT_MIN || value > INT_MAX) luaL_error(L, "option '%s': out of range", key);
    return (int)value;
}

bool gate_lua_flag(lua_State *L, int table, const char *key, bool absent) {
    bool value = absent;
    int type = push_field(L, table, key);
    if (type == LUA_TBOOLEAN)
        value = lua_toboolean(L, -1);
    else if (type != LUA_TNIL)
        refuse_field(L, key, "boolean");
    lua_pop(L, 1);
    return value;
}

static const struct gate_codec *read_codec(lua_State *L, int table) {
    struct gate_span name = gate_lua_text(L, table, "encoding");
    if (!name.data) return NULL;
    const struct gate_codec *codec = gate_codec_find(name.data);
    if (!codec) luaL_error(L, "option 'encoding': '%s' is not known", name.data);
    return codec;
}

static enum gate_compress read_compress(lua_State *L, int table) {
    enum gate_compress kind = GATE_COMPRESS_NONE;
    bool off = push_field(L, table, "compress") == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (off) return kind;
    struct gate_span name = gate_lua_text(L, table, "compress");
    if (name.data && !gate_compress_find(name, &kind))
        luaL_error(L, "option 'compress': '%s' is not available", name.data);
    return kind;
}

static void read_properties(lua_State *L, int table, struct gate_options *out) {
    int type = push_field(L, table, "properties");
    if (type == LUA_TTABLE) {
        int properties = lua_gettop(L);
        out->os = gate_lua_text(L, properties, "os");
        out->browser = gate_lua_text(L, properties, "browser");
        out->device = gate_lua_text(L, properties, "device");
    } else if (type != LUA_TNIL) {
        refuse_field(L, "properties", "table");
    }
    lua_pop(L, 1);
}

static void read_session(lua_State *L, int table, struct gate_options *out) {
    int type = push_field(L, table, "session");
    if (type == LUA_TTABLE) {
        int session = lua_gettop(L);
        out->session_id = gate_lua_text(L, session, "id");
        out->session_url = gate_lua_text(L, session, "url");
        out->session_seq = gate_lua_integer(L, session, "seq", 0);
    } else if (type != LUA_TNIL) {
        refuse_field(L, "session", "table");
    }
    lua_pop(L, 1);
}

static void read_durations(lua_State *L, int table, struct gate_options *out) {
    out->connect_timeout_ms = gate_lua_integer(L, table, "connect_timeout_ms", 0);
    out->hello_timeout_ms = gate_lua_integer(L, table, "hello_timeout_ms", 0);
    out->ready_timeout_ms = gate_lua_integer(L, table, "ready_timeout_ms", 0);
    out->send_timeout_ms = gate_lua_integer(L, table, "send_timeout_ms", 0);
    out->backoff_base_ms = gate_lua_integer(L, table, "backoff_base_ms", -1);
    out->backoff_cap_ms = gate_lua_integer(L, table, "backoff_cap_ms", -1);
    out->slack_ms = gate_lua_integer(L, table, "slack_ms", 0);
}

void gate_lua_options(lua_State *L, int table, struct gate_options *out) {
    memset(out, 0, sizeof *out);
    luaL_checktype(L, table, LUA_TTABLE);
    out->token = gate_lua_text(L, table, "token");
    out->url = gate_lua_text(L, table, "url");
    out->shard_id = read_int(L, table, "shard_id", 0);
    out->shard_count = read_int(L, table, "shard_count", 1);
    out->intents = gate_lua_integer(L, table, "intents", 0);
    out->large_threshold = read_int(L, table, "large_threshold", 0);
    out->version = read_int(L, table, "version", 0);
    out->codec = read_codec(L, table);
    out->compress = read_compress(L, table);
    out->presence = gate_lua_text(L, table, "presence");
    out->seed = (uint64_t)gate_lua_integer(L, table, "seed", 0);
    int64_t bytes_max = gate_lua_integer(L, table, "message_bytes_max", 0);
    out->message_bytes_max = bytes_max > 0 ? (size_t)bytes_max : 0;
    read_properties(L, table, out);
    read_session(L, table, out);
    read_durations(L, table, out);
    if (out->url.len == 0) luaL_error(L, "option 'url': missing");
    if (out->shard_id < 0 || out->shard_count < 1)
        luaL_error(L, "option 'shard_id': %d of %d is not possible", out->shard_id,
                   out->shard_count);
}

/* ---- Interest -------------------------------------------------------------------------------- */

/* All are looked at before anything is allocated, so that raising leaks nothing. */
static int check_names(lua_State *L, int names) {
    luaL_checktype(L, names, LUA_TTABLE);
    int count = (int)lua_rawlen(L, names);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, names, i);
        size_t len = 0;
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (!name || strlen(name) != len) luaL_error(L, "names: element %d is no event name", i);
        lua_pop(L, 1);
    }
    return count;
}

void gate_lua_interest(lua_State *L, int names, int flags, struct gate_interest *out) {
    memset(out, 0, sizeof *out);
    gate_buf_init(&out->names, 0, 0);
    int count = check_names(L, names);
    if (!lua_isnoneornil(L, flags)) {
        luaL_checktype(L, flags, LUA_TTABLE);
        out->all = gate_lua_flag(L, flags, "all", false);
        out->send = gate_lua_flag(L, flags, "send", false);
        out->receive = gate_lua_flag(L, flags, "receive", false);
    }
    for (int i = 1; i <= count; i++) {
        struct gate_span name;
        lua_rawgeti(L, names, i);
        name.data = lua_tolstring(L, -1, &name.len);
        name.len++; /* with its NUL */
        int rc = gate_buf_append(&out->names, name);
        lua_pop(L, 1);
        if (rc == GATE_OK) continue;
        gate_buf_free(&out->names);
        luaL_error(L, "names: %s", gate_error_text(rc));
    }
}

/* ---- Values of C that Lua sees ----------------------------------------------------------------
 */

int gate_lua_error_code(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) return GATE_OK;
    const char *name = luaL_checkstring(L, index);
    for (int error = GATE_ERROR_BASE + 1; error < GATE_ERROR_END; error++)
        if (strcmp(gate_error_name(error), name) == 0) return error;
    return luaL_error(L, "'%s' is no error code", name);
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *value) {
    if (!value || !value[0]) return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

/* By code, and "other" for those beyond the limit. */
static void push_closes(lua_State *L, const struct gate_close_count *rows) {
    lua_newtable(L);
    for (int i = 0; i < GATE_CLOSES_MAX; i++) {
        if (rows[i].count == 0) continue;
        lua_pushinteger(L, (lua_Integer)rows[i].count);
        if (rows[i].code)
            lua_rawseti(L, -2, rows[i].code);
        else
            lua_setfield(L, -2, "other");
    }
}

static void push_counts(lua_State *L, const struct gate_counts *counts) {
    lua_createtable(L, 0, 24);
#define COUNT(name) set_integer(L, #name, (int64_t)counts->name)
    COUNT(bytes_in);
    COUNT(bytes_inflated);
    COUNT(bytes_out);
    COUNT(messages_in);
    COUNT(messages_out);
    COUNT(events_heard);
    COUNT(events_skipped);
    COUNT(events_repeated);
    COUNT(gaps);
    COUNT(unknown_ops);
    COUNT(empty_messages);
    COUNT(undecodable);
    COUNT(notes_lost);
    COUNT(connects);
    COUNT(identifies);
    COUNT(resumes);
    COUNT(resumed);
    COUNT(readies);
    COUNT(beats);
    COUNT(acks);
    COUNT(zombies);
    COUNT(beat_late_ms);
#undef COUNT
    push_closes(L, counts->closes);
    lua_setfield(L, -2, "closes");
}

static void push_traffic(lua_State *L, const struct gate_traffic *traffic) {
    lua_createtable(L, 0, 4);
    set_integer(L, "bytes_in", (int64_t)traffic->bytes_in);
    set_integer(L, "bytes_out", (int64_t)traffic->bytes_out);
    set_integer(L, "messages_in", (int64_t)traffic->messages_in);
    set_integer(L, "messages_out", (int64_t)traffic->messages_out);
}

void gate_lua_push_status(lua_State *L, const struct gate_status *status) {
    lua_createtable(L, 0, 12);
    lua_pushstring(L, gate_state_word(status->state));
    lua_setfield(L, -2, "state");
    if (status->seq >= 0) set_integer(L, "seq", status->seq);
    if (status->latency_ms >= 0) set_integer(L, "latency_ms", status->latency_ms);
    if (status->interval_ms > 0) set_integer(L, "interval_ms", status->interval_ms);
    set_integer(L, "connection", status->connection);
    lua_pushboolean(L, status->settled);
    lua_setfield(L, -2, "settled");
    set_text(L, "session", status->session_id);
    set_text(L, "session_url", status->session_url);
    set_text(L, "url", status->url);
    set_integer(L, "outbox_commands", (int64_t)status->outbox_commands);
    push_traffic(L, &status->traffic);
    lua_setfield(L, -2, "traffic");
    push_counts(L, &status->counts);
    lua_setfield(L, -2, "counts");
}

/* ---- The clock ------------------------------------------------------------------------------- */

/* core.now() -> seconds of the monotonic clock. */
static int core_now(lua_State *L) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
    return 1;
}

/* ---- Constants --------------------------------------------------------------------------------
 */

static void push_opcodes(lua_State *L) {
    lua_newtable(L);
    for (const struct gate_opcode_row *row = gate_opcodes; row->name; row++) {
        lua_pushstring(L, row->name);
        lua_rawseti(L, -2, row->op);
        set_integer(L, row->name, row->op);
    }
}

static void push_close_codes(lua_State *L) {
    static const char *const verdicts[] = {"resume", "identify", "fatal"};
    lua_newtable(L);
    for (const struct gate_close_row *row = gate_close_codes; row->name; row++) {
        lua_createtable(L, 0, 6);
        set_integer(L, "code", row->code);
        set_text(L, "name", row->name);
        set_text(L, "words", row->words);
        set_text(L, "remedy", row->remedy);
        set_text(L, "verdict", verdicts[row->verdict]);
        if (row->error) set_text(L, "error", gate_error_name(row->error));
        lua_rawseti(L, -2, row->code);
    }
}

static void push_intents(lua_State *L) {
    int count = 0;
    lua_newtable(L);
    for (const struct gate_intent_row *row = gate_intents; row->name; row++) {
        lua_createtable(L, 0, 3);
        set_text(L, "name", row->name);
        set_integer(L, "bit", row->bit);
        lua_pushboolean(L, row->privileged);
        lua_setfield(L, -2, "privileged");
        lua_rawseti(L, -2, ++count);
    }
}

static void push_errors(lua_State *L) {
    lua_newtable(L);
    for (int error = GATE_ERROR_BASE + 1; error < GATE_ERROR_END; error++)
        set_text(L, gate_error_name(error), gate_error_text(error));
}

static void push_states(lua_State *L) {
    lua_newtable(L);
    for (int state = 0; state < GATE_STATE_COUNT; state++) {
        lua_pushstring(L, gate_state_word((enum gate_state)state));
        lua_rawseti(L, -2, state + 1);
    }
}

static void push_limits(lua_State *L) {
    static const struct {
        const char *name;
        int64_t value;
    } limits[] = {
#define LIMIT(name) {#name, GATE_##name}
        LIMIT(VERSION_DEFAULT),    LIMIT(PAYLOAD_BYTES_MAX),    LIMIT(MESSAGE_BYTES_MAX),
        LIMIT(URL_BYTES_MAX),      LIMIT(TOKEN_BYTES_MAX),      LIMIT(SESSION_ID_BYTES_MAX),
        LIMIT(REASON_BYTES_MAX),   LIMIT(NAME_BYTES_MAX),       LIMIT(DEPTH_MAX),
        LIMIT(SENDS_MAX),          LIMIT(SEND_WINDOW_MS),       LIMIT(OUTBOX_COMMANDS_MAX),
        LIMIT(OUTBOX_BYTES_MAX),   LIMIT(SEND_TIMEOUT_MS),      LIMIT(IDENTIFY_WINDOW_MS),
        LIMIT(CONCURRENCY_MAX),    LIMIT(CONNECT_TIMEOUT_MS),   LIMIT(HELLO_TIMEOUT_MS),
        LIMIT(READY_TIMEOUT_MS),   LIMIT(CLOSE_TIMEOUT_MS),     LIMIT(BACKOFF_BASE_MS),
        LIMIT(BACKOFF_CAP_MS),     LIMIT(QUEUE_EVENTS_MAX),     LIMIT(QUEUE_BYTES_MAX),
        LIMIT(QUEUE_NOTES_MAX),    LIMIT(COMMANDS_MAX),         LIMIT(COMMAND_BYTES_MAX),
        LIMIT(STOP_TIMEOUT_MS),    LIMIT(CLOSE_NORMAL),         LIMIT(CLOSE_KEEP),
        LIMIT(READ_BYTES),         LIMIT(RESUMES_MAX),          LIMIT(RESUME_HOST_FAILURES_MAX),
        LIMIT(EMPTY_MESSAGES_MAX), LIMIT(POISONED_MAX),         LIMIT(STABLE_MS),
        LIMIT(CENSUS_NAMES_MAX),   LIMIT(SHARDS_MAX),           LIMIT(RESHARD_OVERLAP_MS),
        LIMIT(DROP_EVENTS_MAX),    LIMIT(AWAY_MS_MIN),          LIMIT(HANDSHAKES_MAX),
        LIMIT(QUOTA_TOTAL),        LIMIT(QUOTA_TOTAL_MAX),      LIMIT(QUOTA_RESERVE),
        LIMIT(QUOTA_DAY_MS),       LIMIT(QUOTA_STEP_MS),        LIMIT(QUOTA_STEPS),
        LIMIT(HOLD_LOOK_MS),       LIMIT(QUEUE_LEAVE_BYTES_MAX)};
#undef LIMIT
    lua_newtable(L);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        set_integer(L, limits[i].name, limits[i].value);
}

/* The versions that run, by name. */
static void push_libraries(lua_State *L) {
    const char *built, *found;
    if (!gate_transport_matches(&built, &found)) found = "";
    lua_newtable(L);
    set_text(L, "libwebsockets", found);
    set_text(L, "openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
    set_text(L, "zlib", zlibVersion());
    set_text(L, "zstd", ZSTD_versionString());
}

static void set_constants(lua_State *L) {
    static const struct {
        const char *name;
        void (*push)(lua_State *L);
    } tables[] = {{"opcodes", push_opcodes},    {"close_codes", push_close_codes},
                  {"intents", push_intents},    {"errors", push_errors},
                  {"states", push_states},      {"limits", push_limits},
                  {"libraries", push_libraries}};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        tables[i].push(L);
        lua_setfield(L, -2, tables[i].name);
    }
    lua_pushliteral(L, MODULE_VERSION);
    lua_setfield(L, -2, "_VERSION");
}

/* ---- Entry ------------------------------------------------------------------------------------
 */

/* Headers and library of different major versions crash long after they were mixed up; the loader
 * is the last place where the mistake can be told in words. */
static void check_libraries(lua_State *L) {
    unsigned long built = OPENSSL_VERSION_NUMBER >> 28;
    unsigned long found = OpenSSL_version_num() >> 28;
    if (built != found)
        luaL_error(L,
                   "moongate.core was built with OpenSSL %d but runs with OpenSSL %d: rebuild it",
                   (int)built, (int)found);
    if (ZLIB_VERSION[0] != zlibVersion()[0])
        luaL_error(L, "moongate.core was built with zlib %s but runs with zlib %s: rebuild it",
                   ZLIB_VERSION, zlibVersion());
    const char *lws_built, *lws_found;
    if (!gate_transport_matches(&lws_built, &lws_found))
        luaL_error(L, "moongate.core was built with libwebsockets %s but runs with %s: rebuild it",
                   lws_built, lws_found);
}

int luaopen_moongate_core(lua_State *L) {
    static const luaL_Reg functions[] = {{"now", core_now}, {NULL, NULL}};
    check_libraries(L);
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    set_constants(L);
    gate_lua_value_open(L);
    gate_lua_lazy_open(L);
    gate_lua_machine_open(L);
    gate_lua_engine_open(L);
    gate_lua_shard_open(L);
    gate_lua_store_open(L);
    gate_lua_quota_open(L);
    gate_lua_terminal_open(L);
    gate_lua_ear_open(L);
    return 1;
}

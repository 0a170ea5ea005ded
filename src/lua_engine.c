/* lua_engine.c - the running side as userdata: the engine, and what it is told. Called on the Lua
 * thread only. It sees no shard of the core: it sends commands, takes events and reads snapshots.
 *
 *   what     metatable        user values
 *   engine   moongate.engine  GATE_LUA_SPARE: a record, see lua_record.c
 *
 * Nothing is kept in the registry, so a cycle through a listener can be collected. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "lua_core.h"
#include "lua_record.h"
#include "lua_value.h"
#include "transcode.h"

#define ENCODE_BYTES_MAX   1048576 /* of one command; far above what is refused, to say how far */
#define REQUEST_TIMEOUT_MS 15000
#define MONOTONIC_MIX      0x9e3779b97f4a7c15u /* odd, so that no clock value is lost */

/* ---- The engine ------------------------------------------------------------------------------ */

const char gate_engine_tag;

static struct gate_span check_span(lua_State *L, int index) {
    struct gate_span span;
    span.data = luaL_checklstring(L, index, &span.len);
    return span;
}

static struct gate_span optional_span(lua_State *L, int index) {
    struct gate_span none = {"", 0};
    return lua_isnoneornil(L, index) ? none : check_span(L, index);
}

static size_t read_size(lua_State *L, const char *key) {
    int64_t value = gate_lua_integer(L, 1, key, 0);
    return value > 0 ? (size_t)value : 0;
}

static struct gate_engine_box *push_engine(lua_State *L, const struct gate_lua_rules *rules) {
    struct gate_engine_box *box = lua_newuserdatauv(L, sizeof *box, 1);
    *box = (struct gate_engine_box){.tag = &gate_engine_tag, .rules = *rules};
    luaL_setmetatable(L, GATE_LUA_ENGINE);
    return box;
}

static bool is_word(struct gate_span text, const char *word) {
    return text.data && strcmp(text.data, word) == 0;
}

/* core.engine { ca_file =, insecure_tls =, proxy =, user_agent =, queue_events =, queue_bytes =,
 * drop_events = names with a NUL behind each, leave_when_full =, concurrency =,
 * identify_reserve =, coordinated =, thread_shards =, null = "drop"|"keep",
 * invalid_utf8 = "pass"|"refuse" } -> engine, or nil, message, code */
static int core_engine(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct gate_engine_options options = {
        .ca_file = gate_lua_text(L, 1, "ca_file").data,
        .insecure_tls = gate_lua_flag(L, 1, "insecure_tls", false),
        .proxy = gate_lua_text(L, 1, "proxy").data,
        .user_agent = gate_lua_text(L, 1, "user_agent").data,
        .queue_events_max = read_size(L, "queue_events"),
        .queue_bytes_max = read_size(L, "queue_bytes"),
        .drop_events = gate_lua_text(L, 1, "drop_events"),
        .leave_when_full = gate_lua_flag(L, 1, "leave_when_full", false),
        .concurrency = (int)gate_lua_integer(L, 1, "concurrency", 0),
        .identify_reserve = gate_lua_integer(L, 1, "identify_reserve", -1),
        .coordinated = gate_lua_flag(L, 1, "coordinated", false),
        .thread_shards = read_size(L, "thread_shards")};
    struct gate_lua_rules rules = {.keep_null = is_word(gate_lua_text(L, 1, "null"), "keep"),
                                   .refuse_utf8 =
                                       is_word(gate_lua_text(L, 1, "invalid_utf8"), "refuse")};
    struct gate_engine_box *box = push_engine(L, &rules);
    int error = GATE_ESYSTEM;
    const char *detail = NULL;
    box->engine = gate_engine_new(&options, &error, &detail);
    if (box->engine) return 1;
    const char *words = detail ? detail : gate_error_text(error);
    if (error == GATE_ECERTIFICATE && options.ca_file)
        return gate_lua_fail(L, error, "engine: %s: %s", options.ca_file, words);
    return gate_lua_fail(L, error, "engine: %s", words);
}

/* engine:close(code): the session is kept unless the code says otherwise. At most two seconds. */
static int close_engine(lua_State *L, int code) {
    struct gate_engine_box *box = gate_lua_engine(L, 1);
    struct gate_engine *engine = box->engine;
    box->engine = NULL;
    gate_engine_del(engine, code);
    return 0;
}

static int engine_close(lua_State *L) {
    return close_engine(L, (int)luaL_optinteger(L, 2, GATE_CLOSE_KEEP));
}

/* __gc and __close: only a stop that somebody asked for ends a session. The second argument of
 * __close is an error object and no code. */
static int engine_collect(lua_State *L) {
    return close_engine(L, GATE_CLOSE_KEEP);
}

static int engine_tostring(lua_State *L) {
    struct gate_engine_box *box = gate_lua_engine(L, 1);
    lua_pushstring(L, box->engine ? "Engine running" : "Engine closed");
    return 1;
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* Shards of one process must not move in step: the kernel's randomness, or what the clock and the
 * addresses give where there is none. */
static uint64_t make_seed(const void *salt) {
    uint64_t seed = 0;
    if (getentropy(&seed, sizeof seed) == 0) return seed;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return seed * MONOTONIC_MIX ^ (uint64_t)(uintptr_t)salt;
}

/* engine:start { token =, url =, shard_id =, shard_count =, intents =, ... } */
static int engine_start(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    struct gate_options options;
    gate_lua_options(L, 2, &options);
    if (options.seed == 0) options.seed = make_seed(L);
    int rc = gate_engine_start(box->engine, &options);
    if (rc != GATE_ESYSTEM) return gate_lua_result(L, "start", rc);
    return gate_lua_fail(L, rc,
                         "start: shard %d: no thread for more shards to be had; raise the limits "
                         "(ulimit -n, ulimit -u), or have fewer shards in one process",
                         options.shard_id);
}

/* Writes { "op": op, "d": d } where d is the value at `data` (0: null). Raises nothing. */
static int encode_packet(lua_State *L, const struct gate_codec *codec, int64_t op, int data,
                         struct gate_buf *out, char *where) {
    const struct gate_sink *sink = codec->writer;
    struct gate_writer writer;
    int rc = codec->begin(&writer, out, true);
    if (rc == GATE_OK) rc = sink->open_map(&writer);
    if (rc == GATE_OK) rc = sink->key(&writer, GATE_SPAN("op"));
    if (rc == GATE_OK) rc = sink->integer(&writer, op);
    if (rc == GATE_OK) rc = sink->key(&writer, GATE_SPAN("d"));
    if (rc == GATE_OK && data == 0)
        rc = sink->null(&writer);
    else if (rc == GATE_OK)
        rc = gate_lua_encode(L, data, sink, &writer, where, GATE_LUA_WHERE_BYTES);
    return rc == GATE_OK ? sink->close_map(&writer) : rc;
}

static int fail_send(lua_State *L, size_t len, int rc, const char *where) {
    if (rc == GATE_EPAYLOAD)
        return gate_lua_fail(L, rc, "send: %d bytes, at most %d allowed: send less at once",
                             (int)len, GATE_PAYLOAD_BYTES_MAX);
    if (rc == GATE_EMESSAGE)
        return gate_lua_fail(L, GATE_EPAYLOAD, "send: more than %d bytes, at most %d allowed",
                             ENCODE_BYTES_MAX, GATE_PAYLOAD_BYTES_MAX);
    if (rc == GATE_EVALUE || rc == GATE_EUTF8 || rc == GATE_EDEPTH)
        return gate_lua_fail(L, rc, "send: %s", where);
    return gate_lua_result(L, "send", rc);
}

/* engine:send(id, bytes) or engine:send(id, op, d), in whatever encoding the shard speaks. Bytes of
 * the other one are read and written anew. Where d has lazy tables, finalisers may run meanwhile,
 * which may send, or close the engine; so the bytes are nobody's but this call's. */
static int engine_send(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    bool packet = lua_type(L, 3) == LUA_TSTRING;
    struct gate_span bytes = packet ? check_span(L, 3) : (struct gate_span){NULL, 0};
    int64_t op = packet ? 0 : luaL_checkinteger(L, 3);
    char where[GATE_LUA_WHERE_BYTES] = "d";
    const struct gate_codec *codec = gate_engine_codec(box->engine, id);
    struct gate_buf out;
    gate_buf_init(&out, GATE_HEADROOM_BYTES, ENCODE_BYTES_MAX);
    int rc = packet ? gate_buf_append(&out, bytes)
                    : encode_packet(L, codec, op, lua_isnoneornil(L, 4) ? 0 : 4, &out, where);
    if (rc == GATE_OK && packet) rc = gate_transcode_packet(codec, &out);
    size_t len = out.len;
    if (rc == GATE_OK) rc = box->engine ? gate_engine_send(box->engine, id, &out) : GATE_ECLOSED;
    gate_buf_free(&out);
    return fail_send(L, len, rc, where);
}

/* engine:interest(id, names, flags) */
static int engine_interest(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    struct gate_interest interest;
    gate_lua_interest(L, 3, 4, &interest);
    int rc = gate_engine_interest(box->engine, id, &interest);
    if (rc < 0) gate_buf_free(&interest.names);
    return gate_lua_result(L, "interest", rc);
}

/* engine:stop_shard(id, code, reason) */
static int engine_stop_shard(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    int code = (int)luaL_optinteger(L, 3, GATE_CLOSE_NORMAL);
    return gate_lua_result(L, "disconnect",
                           gate_engine_stop_shard(box->engine, id, code, optional_span(L, 4)));
}

/* engine:reconnect(id, code, reason) */
static int engine_reconnect(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    int code = (int)luaL_optinteger(L, 3, GATE_CLOSE_KEEP);
    return gate_lua_result(L, "reconnect",
                           gate_engine_reconnect(box->engine, id, code, optional_span(L, 4)));
}

/* engine:identify(id, options or nil): what its Identify says from now on */
static int engine_identify(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    struct gate_options wanted;
    bool given = !lua_isnoneornil(L, 3);
    if (given) gate_lua_options(L, 3, &wanted);
    int rc = gate_engine_identify(box->engine, id, given ? &wanted : NULL);
    return gate_lua_result(L, "identify", rc);
}

static int engine_resume(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    return gate_lua_result(L, "resume", gate_engine_resume(box->engine, id));
}

static int engine_beat(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    return gate_lua_result(L, "heartbeat", gate_engine_beat(box->engine, id));
}

/* engine:receive(id, bytes): one message, of any encoding */
static int engine_receive(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    struct gate_span bytes = check_span(L, 3);
    struct gate_buf message;
    gate_buf_init(&message, GATE_HEADROOM_BYTES, ENCODE_BYTES_MAX);
    int rc = gate_buf_append(&message, bytes);
    if (rc == GATE_OK) rc = gate_engine_receive(box->engine, id, &message);
    gate_buf_free(&message);
    return gate_lua_result(L, "receive", rc);
}

static int engine_concurrency(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int concurrency = (int)luaL_checkinteger(L, 2);
    return gate_lua_result(L, "concurrency", gate_engine_concurrency(box->engine, concurrency));
}

/* engine:turn(id, number): an own event `turn` asked for it. */
static int engine_turn(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    int id = (int)luaL_checkinteger(L, 2);
    lua_Integer number = luaL_checkinteger(L, 3);
    return gate_lua_result(L, "turn", gate_engine_turn(box->engine, id, number));
}

/* engine:request { id =, url =, method = "GET", authorization =, content_type =, body =,
 * timeout_ms = }: the answer is an event named `http` of shard -1. */
static int engine_request(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct gate_span method = gate_lua_text(L, 2, "method");
    struct gate_request request = {.method = method.data ? method.data : "GET",
                                   .url = gate_lua_text(L, 2, "url"),
                                   .authorization = gate_lua_text(L, 2, "authorization"),
                                   .content_type = gate_lua_text(L, 2, "content_type"),
                                   .body = gate_lua_text(L, 2, "body"),
                                   .timeout_ms =
                                       gate_lua_integer(L, 2, "timeout_ms", REQUEST_TIMEOUT_MS),
                                   .id = gate_lua_integer(L, 2, "id", 0)};
    return gate_lua_result(L, "request", gate_engine_request(box->engine, &request));
}

/* ---- For who waits --------------------------------------------------------------------------- */

/* engine:fd(): readable while an event waits. Poll it, never read it. */
static int engine_fd(lua_State *L) {
    lua_pushinteger(L, gate_engine_fd(gate_lua_open_engine(L)->engine));
    return 1;
}

/* engine:wait(timeout_s) -> true when an event waits, false when time is up, nil, "EINTR". */
static int engine_wait(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    luaL_argcheck(L, seconds == seconds, 2, "seconds expected, got nan");
    int timeout_ms = seconds < 0 ? -1 : seconds > 86400 ? 86400000 : (int)(seconds * 1000 + 0.999);
    struct pollfd waiting = {.fd = gate_engine_fd(box->engine), .events = POLLIN};
    int ready = poll(&waiting, 1, timeout_ms);
    if (ready < 0) {
        lua_pushnil(L);
        lua_pushstring(L, errno == EINTR ? "EINTR" : "ESYSTEM");
        return 2;
    }
    lua_pushboolean(L, ready > 0);
    return 1;
}

static void push_dropped(lua_State *L, struct gate_engine *engine) {
    struct gate_span name;
    uint64_t count;
    lua_newtable(L);
    for (uint32_t i = 0; gate_engine_dropped(engine, i, &name, &count); i++) {
        lua_pushlstring(L, name.data, name.len);
        lua_pushinteger(L, (lua_Integer)count);
        lua_rawset(L, -3);
    }
}

static int64_t read_count(lua_State *L, const char *key) {
    lua_getfield(L, -1, key);
    int64_t count = (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return count;
}

/* engine:census() -> name -> { heard =, skipped = }; "" stands for names beyond the limit */
static int engine_census(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    struct gate_census_walk at = {.census = 0};
    struct gate_census_entry entry;
    lua_newtable(L);
    while (gate_engine_census(box->engine, &at, &entry)) {
        lua_pushlstring(L, entry.name.data, entry.name.len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) { /* no other thread had it */
            lua_pop(L, 1);
            lua_createtable(L, 0, 2);
        }
        gate_lua_set_integer(L, "heard", read_count(L, "heard") + (int64_t)entry.heard);
        gate_lua_set_integer(L, "skipped", read_count(L, "skipped") + (int64_t)entry.skipped);
        lua_rawset(L, -3);
    }
    return 1;
}

/* engine:counts() -> a table; `dropped` in it has a number for each name of drop_events */
static int engine_counts(lua_State *L) {
    struct gate_engine_box *box = gate_lua_open_engine(L);
    struct gate_engine_counts counts;
    gate_engine_counts(box->engine, &counts);
    lua_createtable(L, 0, 16);
    gate_lua_set_integer(L, "queue_events", (int64_t)counts.queue_events);
    gate_lua_set_integer(L, "queue_bytes", (int64_t)counts.queue_bytes);
    gate_lua_set_integer(L, "queue_events_peak", (int64_t)counts.queue_events_peak);
    gate_lua_set_integer(L, "queue_bytes_peak", (int64_t)counts.queue_bytes_peak);
    gate_lua_set_integer(L, "events_out", (int64_t)counts.events_out);
    gate_lua_set_integer(L, "events_dropped", (int64_t)counts.events_dropped);
    gate_lua_set_integer(L, "notes_dropped", (int64_t)counts.notes_dropped);
    gate_lua_set_integer(L, "pauses", (int64_t)counts.pauses);
    lua_pushnumber(L, (lua_Number)counts.lag_ms / 1000);
    lua_setfield(L, -2, "lag");
    push_dropped(L, box->engine);
    lua_setfield(L, -2, "dropped");
    gate_lua_set_integer(L, "handshakes", counts.handshakes.inside);
    gate_lua_set_integer(L, "handshakes_peak", counts.handshakes.inside_peak);
    gate_lua_set_integer(L, "handshakes_waiting", counts.handshakes.waiting);
    gate_lua_set_integer(L, "handshakes_slow", counts.handshakes.slow);
    lua_pushboolean(L, counts.paused);
    lua_setfield(L, -2, "paused");
    return 1;
}

/* ---- Registration ---------------------------------------------------------------------------- */

static void register_engine(lua_State *L) {
    static const luaL_Reg methods[] = {{"start", engine_start},
                                       {"send", engine_send},
                                       {"interest", engine_interest},
                                       {"stop_shard", engine_stop_shard},
                                       {"reconnect", engine_reconnect},
                                       {"identify", engine_identify},
                                       {"resume", engine_resume},
                                       {"beat", engine_beat},
                                       {"receive", engine_receive},
                                       {"census", engine_census},
                                       {"concurrency", engine_concurrency},
                                       {"turn", engine_turn},
                                       {"request", engine_request},
                                       {"wait", engine_wait},
                                       {"fd", engine_fd},
                                       {"counts", engine_counts},
                                       {"close", engine_close},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", engine_collect},
                                    {"__close", engine_collect},
                                    {"__tostring", engine_tostring},
                                    {NULL, NULL}};
    gate_lua_register(L, GATE_LUA_ENGINE, methods, meta, NULL);
    gate_lua_serve_open(L);
    lua_pop(L, 1);
}

void gate_lua_engine_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"engine", core_engine}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    register_engine(L);
    gate_lua_record_open(L);
}

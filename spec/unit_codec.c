/* unit_codec.c - the JSON and the ETF codec for busted: the same functions with another upvalue.
 * Test-only. Every text is put where its last byte is the
 * last one before an unreadable page, so a reader that looks behind the end dies of it. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../src/codec.h"
#include "unit.h"

static const struct gate_codec *codec_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- A page that must not be read ------------------------------------------------------------ */

struct guard {
    char *pages;
    size_t bytes;
    struct gate_span text;
};

static struct guard guard_text(lua_State *L, int index) {
    struct guard guard;
    size_t len, page = (size_t)sysconf(_SC_PAGESIZE);
    const char *text = luaL_checklstring(L, index, &len);
    size_t readable = (len / page + 1) * page;
    guard.bytes = readable + page;
    guard.pages = mmap(NULL, guard.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (guard.pages == MAP_FAILED || mprotect(guard.pages + readable, page, PROT_NONE) != 0)
        luaL_error(L, "no guarded page");
    memcpy(guard.pages + readable - len, text, len);
    guard.text = (struct gate_span){guard.pages + readable - len, len};
    return guard;
}

static void drop_guard(struct guard *guard) {
    munmap(guard->pages, guard->bytes);
}

static int push_error(lua_State *L, int rc) {
    lua_pushnil(L);
    lua_pushstring(L, gate_error_name(rc));
    return 2;
}

/* ---- scan(text): { op, seq, name, data, used } or nil, code ---------------------------------- */

static void set_span(lua_State *L, const char *key, struct gate_span span) {
    if (!span.len) return;
    lua_pushlstring(L, span.data, span.len);
    lua_setfield(L, -2, key);
}

static void push_envelope(lua_State *L, const struct gate_envelope *envelope) {
    lua_newtable(L);
    lua_pushinteger(L, envelope->op);
    lua_setfield(L, -2, "op");
    if (envelope->has_seq) {
        lua_pushinteger(L, envelope->seq);
        lua_setfield(L, -2, "seq");
    }
    set_span(L, "name", envelope->name);
    set_span(L, "data", envelope->data);
    lua_pushinteger(L, (lua_Integer)envelope->used);
    lua_setfield(L, -2, "used");
}

static int codec_scan(lua_State *L) {
    struct gate_envelope envelope;
    struct guard guard = guard_text(L, 1);
    int rc = codec_of(L)->scan(guard.text, &envelope);
    if (rc == GATE_OK) push_envelope(L, &envelope);
    drop_guard(&guard);
    return rc < 0 ? push_error(L, rc) : 1;
}

/* ---- rewrite(text [, bytes_max [, allocations [, name]]]): walked into the writer of the same
 * codec, or of the named one; text or nil, code ---- */

static lua_Integer allocations_left;

static void *allocate_few(void *old, size_t bytes) {
    gate_allocate_hook(NULL);
    void *memory = bytes && allocations_left-- <= 0 ? NULL : gate_allocate(old, bytes);
    gate_allocate_hook(allocate_few);
    return memory;
}

static int codec_rewrite(lua_State *L) {
    struct gate_writer writer;
    struct gate_buf out, scratch;
    gate_buf_init(&out, 0, (size_t)luaL_optinteger(L, 2, 0));
    gate_buf_init(&scratch, 0, 0);
    allocations_left = luaL_optinteger(L, 3, LUA_MAXINTEGER);
    const struct gate_codec *from = codec_of(L);
    const struct gate_codec *to =
        lua_isnoneornil(L, 4) ? from : gate_codec_find(lua_tostring(L, 4));
    struct guard guard = guard_text(L, 1);
    gate_allocate_hook(allocate_few);
    int rc = to->begin(&writer, &out, true);
    if (rc == GATE_OK) rc = from->walk(guard.text, to->writer, &writer, &scratch);
    gate_allocate_hook(NULL);
    drop_guard(&guard);
    if (rc == GATE_OK) lua_pushlstring(L, out.data, out.len);
    gate_buf_free(&out);
    gate_buf_free(&scratch);
    return rc < 0 ? push_error(L, rc) : 1;
}

/* ---- stop(text, nth): a sink that fails in its nth call; code and the number of calls ---------
 */

struct stopper {
    lua_Integer calls, nth;
};

static int count_call(void *to) {
    struct stopper *stopper = to;
    return ++stopper->calls == stopper->nth ? GATE_EVALUE : GATE_OK;
}
static int count_boolean(void *to, bool value) {
    (void)value;
    return count_call(to);
}
static int count_integer(void *to, int64_t value) {
    (void)value;
    return count_call(to);
}
static int count_number(void *to, double value) {
    (void)value;
    return count_call(to);
}
static int count_text(void *to, struct gate_span text) {
    (void)text;
    return count_call(to);
}

static int codec_stop(lua_State *L) {
    static const struct gate_sink sink = {.null = count_call,
                                          .boolean = count_boolean,
                                          .integer = count_integer,
                                          .number = count_number,
                                          .text = count_text,
                                          .open_list = count_call,
                                          .close_list = count_call,
                                          .open_map = count_call,
                                          .key = count_text,
                                          .close_map = count_call};
    struct stopper stopper = {0, luaL_checkinteger(L, 2)};
    struct gate_buf scratch;
    gate_buf_init(&scratch, 0, 0);
    struct guard guard = guard_text(L, 1);
    int rc = codec_of(L)->walk(guard.text, &sink, &stopper, &scratch);
    drop_guard(&guard);
    gate_buf_free(&scratch);
    lua_pushstring(L, rc < 0 ? gate_error_name(rc) : "OK");
    lua_pushinteger(L, stopper.calls);
    return 2;
}

/* ---- write(number): what the writer makes of a number; nest(depth): of that many lists --------
 */

static int push_written(lua_State *L, struct gate_buf *out, int rc) {
    if (rc == GATE_OK) lua_pushlstring(L, out->data, out->len);
    gate_buf_free(out);
    return rc < 0 ? push_error(L, rc) : 1;
}

static int codec_write(lua_State *L) {
    struct gate_writer writer;
    struct gate_buf out;
    double value = luaL_checknumber(L, 1);
    gate_buf_init(&out, 0, 0);
    const struct gate_codec *codec = codec_of(L);
    int rc = codec->begin(&writer, &out, false);
    if (rc == GATE_OK) rc = codec->writer->number(&writer, value);
    return push_written(L, &out, rc);
}

static int codec_nest(lua_State *L) {
    struct gate_writer writer;
    struct gate_buf out;
    lua_Integer depth = luaL_checkinteger(L, 1);
    gate_buf_init(&out, 0, 0);
    const struct gate_codec *codec = codec_of(L);
    int rc = codec->begin(&writer, &out, false);
    for (lua_Integer i = 0; rc == GATE_OK && i < depth; i++) {
        rc = codec->writer->open_map(&writer);
        if (rc == GATE_OK) rc = codec->writer->key(&writer, GATE_SPAN("k"));
    }
    if (rc == GATE_OK) rc = codec->writer->null(&writer);
    while (rc == GATE_OK && depth-- > 0) rc = codec->writer->close_map(&writer);
    return push_written(L, &out, rc);
}

/* ---- integer(n): what the writer makes of any integer; unpack(text [, bytes_max]): the plain
 * payload, "OK" and how many bytes it took, nil when it is not packed, or false and a code;
 * claims(text) ---- */

static int codec_integer(lua_State *L) {
    struct gate_writer writer;
    struct gate_buf out;
    int64_t value = luaL_checkinteger(L, 1);
    gate_buf_init(&out, 0, 0);
    const struct gate_codec *codec = codec_of(L);
    int rc = codec->begin(&writer, &out, false);
    if (rc == GATE_OK) rc = codec->writer->integer(&writer, value);
    return push_written(L, &out, rc);
}

static int codec_unpack(lua_State *L) {
    struct gate_buf out;
    gate_buf_init(&out, 0, (size_t)luaL_optinteger(L, 2, 0));
    struct guard guard = guard_text(L, 1);
    size_t used = 0;
    int rc = codec_of(L)->unpack(guard.text, &out, &used);
    drop_guard(&guard);
    if (rc == 0) lua_pushnil(L);
    if (rc < 0) lua_pushboolean(L, 0);
    if (rc > 0) lua_pushlstring(L, out.data, out.len);
    lua_pushstring(L, rc < 0 ? gate_error_name(rc) : "OK");
    if (rc > 0) lua_pushinteger(L, (lua_Integer)used);
    gate_buf_free(&out);
    return rc > 0 ? 3 : 2;
}

static int codec_claims(lua_State *L) {
    struct guard guard = guard_text(L, 1);
    lua_pushboolean(L, codec_of(L)->claims(guard.text));
    drop_guard(&guard);
    return 1;
}

/* ---- find(name): the name of the codec that is found, its frames; or nil ----------------------
 */

static int codec_find(lua_State *L) {
    const struct gate_codec *codec = gate_codec_find(luaL_checkstring(L, 1));
    if (!codec) return 0;
    lua_pushstring(L, codec->name);
    lua_pushboolean(L, codec->binary);
    return 2;
}

/* ---- heap(): bytes that the process has allocated, Lua's own among them; nil where unknown ----
 */

#ifdef __GLIBC__
#include <malloc.h>
#if __GLIBC_PREREQ(2, 33)
#define HAVE_MALLINFO2
#endif
#endif

static int codec_heap(lua_State *L) {
#ifdef HAVE_MALLINFO2
    struct mallinfo2 heap = mallinfo2();
    lua_pushinteger(L, (lua_Integer)(heap.uordblks + heap.hblkhd));
#else
    lua_pushnil(L);
#endif
    return 1;
}

static void open_codec(lua_State *L, const struct gate_codec *codec) {
    static const luaL_Reg functions[] = {{"scan", codec_scan},
                                         {"rewrite", codec_rewrite},
                                         {"stop", codec_stop},
                                         {"write", codec_write},
                                         {"nest", codec_nest},
                                         {"find", codec_find},
                                         {"heap", codec_heap},
                                         {"claims", codec_claims},
                                         {"integer", codec_integer},
                                         {"unpack", codec_unpack},
                                         {NULL, NULL}};
    luaL_newlibtable(L, functions);
    lua_pushlightuserdata(L, (void *)(uintptr_t)codec);
    luaL_setfuncs(L, functions, 1);
}

void unit_open_json(lua_State *L) {
    open_codec(L, &gate_json);
}

void unit_open_etf(lua_State *L) {
    open_codec(L, &gate_etf);
}

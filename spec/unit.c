/* unit.c - opens small pieces of the core to busted, as the module `moongate_unit`. Test-only:
 * built with the src files it calls, never installed.
 *
 * To add a piece: write `static void open_x(lua_State *L)`, which leaves a table on the stack, and
 * put a row into `pieces`. Lua then finds it as `require("moongate_unit").x`. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "../src/moongate.h"
#include "../src/text.h"
#include "unit.h"

int luaopen_moongate_unit(lua_State *L);

/* ---- text ------------------------------------------------------------------------------------ */

static struct gate_span check_span(lua_State *L, int index) {
    struct gate_span span;
    span.data = luaL_checklstring(L, index, &span.len);
    return span;
}

static int text_is_utf8(lua_State *L) {
    lua_pushboolean(L, gate_text_is_utf8(check_span(L, 1)));
    return 1;
}

static int text_to_integer(lua_State *L) {
    int64_t value;
    if (!gate_text_to_integer(check_span(L, 1), &value)) return 0;
    lua_pushinteger(L, value);
    return 1;
}

static int text_to_number(lua_State *L) {
    lua_pushnumber(L, gate_text_to_number(check_span(L, 1)));
    return 1;
}

static int text_from_integer(lua_State *L) {
    char out[GATE_INTEGER_TEXT_MAX];
    lua_pushlstring(L, out, gate_text_from_integer(luaL_checkinteger(L, 1), out));
    return 1;
}

static int text_from_number(lua_State *L) {
    char out[GATE_NUMBER_TEXT_MAX];
    lua_pushlstring(L, out, gate_text_from_number(luaL_checknumber(L, 1), out));
    return 1;
}

static void open_text(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"is_utf8", text_is_utf8},         {"to_integer", text_to_integer},
        {"to_number", text_to_number},     {"from_integer", text_from_integer},
        {"from_number", text_from_number}, {NULL, NULL}};
    luaL_newlib(L, functions);
}

/* ---- The module ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*open)(lua_State *L);
} pieces[] = {
    {"text", open_text},
    {"json", unit_open_json},
    {"skip", unit_open_skip},
    {"etf", unit_open_etf},
    {"heart", unit_open_heart},
    {"budget", unit_open_budget},
    {"quota", unit_open_quota},
    {"slots", unit_open_slots},
    {"census", unit_open_census},
    {"door", unit_open_door},
    {"hall", unit_open_hall},
    {"backoff", unit_open_backoff},
    {"outbox", unit_open_outbox},
    {"pace", unit_open_pace},
    {"buf", unit_open_buf},
    {"inflate", unit_open_inflate},
    {"deflate", unit_open_deflate},
    {"url", unit_open_url},
    {"http", unit_open_http},
    {"frames", unit_open_frames},
    {"upgrade", unit_open_upgrade},
    {"websocket", unit_open_websocket},
    {"window", unit_open_window},
    {"queue", unit_open_queue},
    {"letters", unit_open_letters},
    {"resolver", unit_open_resolver},
    {"refuse", unit_open_refuse},
};

int luaopen_moongate_unit(lua_State *L) {
    lua_newtable(L);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        pieces[i].open(L);
        lua_setfield(L, -2, pieces[i].name);
    }
    return 1;
}

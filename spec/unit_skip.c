/* unit_skip.c - json_skip.h for busted, in each of its ways: skip.plain(text), skip.narrow(text)
 * and skip.wide(text), which is missing where the machine has no such registers. Each returns how
 * many bytes the container takes that the text begins with, or nil, code. */
#include "unit_skip.h"

#include <stdlib.h>
#include <string.h>

#include "../src/json_skip.h"
#include "unit.h"

int unit_skip_narrow(struct gate_span text, size_t *used) {
    struct reader reader = {.at = text.data, .end = text.data + text.len};
    int rc = skip_container_narrow(&reader);
    *used = (size_t)(reader.at - text.data);
    return rc;
}

int unit_skip_wide(struct gate_span text, size_t *used) {
    struct reader reader = {.at = text.data, .end = text.data + text.len};
    int rc = skip_container_wide(&reader);
    *used = (size_t)(reader.at - text.data);
    return rc;
}

bool unit_skip_is_wide(void) {
    return is_wide();
}

/* In memory of just its size, so that a sanitizer sees each byte too many. */
static int skip(lua_State *L, int (*way)(struct gate_span text, size_t *used)) {
    struct gate_span text;
    size_t used;
    text.data = luaL_checklstring(L, 1, &text.len);
    char *copy = malloc(text.len);
    if (!copy) return luaL_error(L, "no memory");
    memcpy(copy, text.data, text.len);
    int rc = way((struct gate_span){copy, text.len}, &used);
    free(copy);
    if (rc == GATE_OK) {
        lua_pushinteger(L, (lua_Integer)used);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, gate_error_name(rc));
    return 2;
}

static int skip_plain(lua_State *L) {
    return skip(L, unit_skip_plain);
}

static int skip_narrow(lua_State *L) {
    return skip(L, unit_skip_narrow);
}

static int skip_wide(lua_State *L) {
    return skip(L, unit_skip_wide);
}

void unit_open_skip(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"plain", skip_plain}, {"narrow", skip_narrow}, {NULL, NULL}};
    luaL_newlib(L, functions);
    if (!unit_skip_is_wide()) return;
    lua_pushcfunction(L, skip_wide);
    lua_setfield(L, -2, "wide");
}

/* lua_ear.c - what other loops wait on: one descriptor for the life of a client, readable while the
 * engine that it has at the time has events, and while it rings. Used by cluster.lua, bridge.lua
 * and scheduler.lua, on the thread of the lua_State.
 *
 * An engine comes and goes with each stop() and reshard(), and its descriptor with it. A loop that
 * polls one which was closed fails, or hears nothing any more. Where there is no epoll, there is no
 * ear, and the engine's descriptor has to do. */
#include <errno.h>
#include <unistd.h>

#include "lua_core.h"
#include "queue.h"

#ifdef __linux__
#include <sys/epoll.h>

struct ear {
    int fd;                /* of epoll; -1: closed */
    struct gate_bell bell; /* in it */
};

static int change(const struct ear *ear, int verb, int fd) {
    struct epoll_event wanted = {.events = EPOLLIN};
    return epoll_ctl(ear->fd, verb, fd, &wanted) == 0 ? GATE_OK : GATE_ESYSTEM;
}

static int ear_close(lua_State *L) {
    struct ear *ear = luaL_checkudata(L, 1, GATE_LUA_EAR);
    gate_bell_free(&ear->bell);
    if (ear->fd >= 0) close(ear->fd);
    ear->fd = -1;
    return 0;
}

/* core.ear() -> an ear; nil, message, code where there is none to be had. */
static int core_ear(lua_State *L) {
    struct ear *ear = lua_newuserdatauv(L, sizeof *ear, 0);
    *ear = (struct ear){-1, {-1, -1}};
    luaL_setmetatable(L, GATE_LUA_EAR);
    ear->fd = epoll_create1(EPOLL_CLOEXEC);
    int rc = ear->fd < 0 ? GATE_ESYSTEM : gate_bell_init(&ear->bell);
    if (rc == GATE_OK) rc = change(ear, EPOLL_CTL_ADD, ear->bell.read_fd);
    return rc == GATE_OK ? 1 : gate_lua_result(L, "ear", rc);
}

/* ear:fd(): poll it, never read it. */
static int ear_fd(lua_State *L) {
    const struct ear *ear = luaL_checkudata(L, 1, GATE_LUA_EAR);
    lua_pushinteger(L, ear->fd);
    return 1;
}

/* ear:hear(fd): readable while that one is, too. Twice is fine. */
static int ear_hear(lua_State *L) {
    const struct ear *ear = luaL_checkudata(L, 1, GATE_LUA_EAR);
    int rc = change(ear, EPOLL_CTL_ADD, (int)luaL_checkinteger(L, 2));
    return gate_lua_result(L, "ear", rc < 0 && errno == EEXIST ? GATE_OK : rc);
}

/* ear:ignore(fd): before that one is closed, as a child process may still have it open. */
static int ear_ignore(lua_State *L) {
    const struct ear *ear = luaL_checkudata(L, 1, GATE_LUA_EAR);
    change(ear, EPOLL_CTL_DEL, (int)luaL_checkinteger(L, 2));
    return 0;
}

/* ear:ring(), ear:hush(): readable until it is hushed. Nothing where it is closed. */
static int ear_ring(lua_State *L) {
    const struct ear *ear = luaL_checkudata(L, 1, GATE_LUA_EAR);
    gate_bell_ring(&ear->bell);
    return 0;
}

static int ear_hush(lua_State *L) {
    const struct ear *ear = luaL_checkudata(L, 1, GATE_LUA_EAR);
    gate_bell_hush(&ear->bell);
    return 0;
}

void gate_lua_ear_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"fd", ear_fd},         {"hear", ear_hear},
                                       {"ignore", ear_ignore}, {"ring", ear_ring},
                                       {"hush", ear_hush},     {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", ear_close}, {NULL, NULL}};
    gate_lua_register(L, GATE_LUA_EAR, methods, meta, NULL);
    lua_pop(L, 1);
    lua_pushcfunction(L, core_ear);
    lua_setfield(L, -2, "ear");
}
#else
/* core.ear() -> nil. */
static int core_ear(lua_State *L) {
    lua_pushnil(L);
    return 1;
}

void gate_lua_ear_open(lua_State *L) {
    lua_pushcfunction(L, core_ear);
    lua_setfield(L, -2, "ear");
}
#endif

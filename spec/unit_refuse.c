/* unit_refuse.c - memory that is refused, for busted: to moongate.core as it was loaded (through
 * the hook of buf.h, which nothing of Lua can reach), and to a lua_State of its own. Test-only; see
 * unit.c. The hook is called on every thread of the core, the rest on the Lua thread. */
#include <dlfcn.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

/* ---- The core's memory ----------------------------------------------------------------------- */

enum whose { WHOSE_ANY, WHOSE_MINE, WHOSE_OTHERS };

static pthread_t mine;              /* the thread that attached */
static atomic_int whose;            /* the threads whose allocations count */
static atomic_long counted;         /* their allocations since arm() */
static atomic_long first, refusals; /* which of them fails, and how many from there */
static atomic_long refused;         /* how many did */
static atomic_long live;            /* blocks allocated less blocks freed since attach() */

static bool counts_here(void) {
    int wanted = atomic_load(&whose);
    if (wanted == WHOSE_ANY) return true;
    return (pthread_equal(pthread_self(), mine) != 0) == (wanted == WHOSE_MINE);
}

static bool is_refused(void) {
    if (!counts_here()) return false;
    long at = atomic_fetch_add(&counted, 1) + 1, from = atomic_load(&first);
    if (from == 0 || at < from || at - from >= atomic_load(&refusals)) return false;
    atomic_fetch_add(&refused, 1);
    return true;
}

static void *allocate(void *old, size_t bytes) {
    if (bytes == 0) {
        if (old) atomic_fetch_sub(&live, 1);
        free(old);
        return NULL;
    }
    void *memory = is_refused() ? NULL : realloc(old, bytes);
    if (memory && !old) atomic_fetch_add(&live, 1);
    return memory;
}

/* The hook is called until the process ends: by then Lua has let go of this shared object. */
static void stay_loaded(void) {
    static const char anchor;
    Dl_info info;
    if (dladdr(&anchor, &info) != 0) (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

/* refuse.attach(path): the shared object at `path`, which is loaded already and runs no thread of
 * its own yet, allocates here from now on. */
static int refuse_attach(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (!library) return luaL_error(L, "%s is not loaded", path);
    void *symbol = dlsym(library, "gate_allocate_hook");
    void (*set_hook)(void *(*hook)(void *, size_t));
    if (!symbol) return luaL_error(L, "%s has no gate_allocate_hook", path);
    memcpy(&set_hook, &symbol, sizeof set_hook);
    stay_loaded();
    mine = pthread_self();
    set_hook(allocate);
    return 0;
}

/* refuse.arm(n, whose, refusals): the nth allocation from now on fails ("any" thread's, "mine" or
 * those of the "others"), and so do the ones after it until `refusals` (1) have; n = 0: none. */
static int refuse_arm(lua_State *L) {
    static const char *const words[] = {"any", "mine", "others", NULL};
    atomic_store(&first, 0);
    atomic_store(&whose, luaL_checkoption(L, 2, "any", words));
    atomic_store(&counted, 0);
    atomic_store(&refused, 0);
    atomic_store(&refusals, (long)luaL_optinteger(L, 3, 1));
    atomic_store(&first, (long)luaL_checkinteger(L, 1));
    return 0;
}

/* refuse.seen() -> allocations since arm(), how many of them failed, blocks that live */
static int refuse_seen(lua_State *L) {
    lua_pushinteger(L, atomic_load(&counted));
    lua_pushinteger(L, atomic_load(&refused));
    lua_pushinteger(L, atomic_load(&live));
    return 3;
}

/* ---- Lua's memory ---------------------------------------------------------------------------- */

struct ration {
    long counted, first; /* growing calls since they count, and which fails; 0: none does */
    bool for_ever;       /* and so do all that follow */
    size_t again_bytes;  /* Lua collects its garbage and asks for as much again: no as well */
    long bytes;          /* held */
};

static bool is_too_much(struct ration *ration, size_t bytes) {
    if (ration->first == 0) return false;
    if (++ration->counted < ration->first) return false;
    if (ration->for_ever || ration->counted == ration->first) {
        ration->again_bytes = bytes;
        return true;
    }
    bool again = bytes == ration->again_bytes;
    ration->again_bytes = 0;
    return again;
}

/* Lua counts on shrinking never to fail. */
static void *allocate_ration(void *user, void *old, size_t old_bytes, size_t bytes) {
    struct ration *ration = user;
    if (!old) old_bytes = 0;
    if (bytes == 0) {
        ration->bytes -= (long)old_bytes;
        free(old);
        return NULL;
    }
    if (bytes > old_bytes && is_too_much(ration, bytes)) return NULL;
    void *memory = realloc(old, bytes);
    if (memory) ration->bytes += (long)bytes - (long)old_bytes;
    return memory;
}

static int fail_with(lua_State *L, lua_State *starved, const char *what) {
    lua_pushfstring(L, "%s: %s", what, lua_tostring(starved, -1));
    lua_close(starved);
    return lua_error(L);
}

/* A chunk that sets up and returns the function that will starve, which is left on the stack. */
static bool prepare(lua_State *L, lua_State *starved) {
    static const char *const keys[] = {"path", "cpath"};
    luaL_openlibs(starved);
    lua_getglobal(starved, "package");
    lua_getglobal(L, "package");
    for (int i = 0; i < 2; i++) {
        lua_getfield(L, -1, keys[i]);
        lua_pushstring(starved, lua_tostring(L, -1));
        lua_setfield(starved, -2, keys[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pop(starved, 1);
    return luaL_loadstring(starved, luaL_checkstring(L, 1)) == LUA_OK &&
           lua_pcall(starved, 0, 1, 0) == LUA_OK;
}

/* refuse.starve(text, n, for_ever) -> what happened, growing allocations, bytes never given back.
 * Runs the function that the chunk `text` returns in a Lua state of its own, whose nth growing
 * allocation fails, then closes that state. What happened: true, or the error as text. */
static int refuse_starve(lua_State *L) {
    struct ration ration = {.first = 0};
    lua_State *starved = lua_newstate(allocate_ration, &ration);
    if (!starved) return luaL_error(L, "no memory for a Lua state");
    if (!prepare(L, starved)) return fail_with(L, starved, "cannot prepare");
    ration.for_ever = lua_toboolean(L, 3);
    ration.first = (long)luaL_checkinteger(L, 2);
    int rc = lua_pcall(starved, 0, 0, 0);
    ration.first = 0;
    if (rc == LUA_OK)
        lua_pushboolean(L, 1);
    else
        lua_pushstring(L, lua_type(starved, -1) == LUA_TSTRING ? lua_tostring(starved, -1) : "?");
    lua_close(starved);
    lua_pushinteger(L, ration.counted);
    lua_pushinteger(L, ration.bytes);
    return 3;
}

void unit_open_refuse(lua_State *L) {
    static const luaL_Reg functions[] = {{"attach", refuse_attach},
                                         {"arm", refuse_arm},
                                         {"seen", refuse_seen},
                                         {"starve", refuse_starve},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
}

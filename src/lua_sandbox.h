/* lua_sandbox.h - the entry of the module `moongate.sandbox.core`.
 * Called by Lua's loader, on the thread of the lua_State. */
#ifndef MOONGATE_LUA_SANDBOX_H
#define MOONGATE_LUA_SANDBOX_H

#include "lua_compat.h"

/* Leaves the module's table on the stack; what is in it says lua_sandbox.c. Several states of one
 * process share the server's thread and nothing else. */
int luaopen_moongate_sandbox_core(lua_State *L);

#endif

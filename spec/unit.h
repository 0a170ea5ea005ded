/* unit.h - the openers that unit.c collects: each leaves a table or a function on the stack. */
#ifndef MOONGATE_UNIT_H
#define MOONGATE_UNIT_H

#include <lauxlib.h>
#include <lua.h>

void unit_open_json(lua_State *L);
void unit_open_skip(lua_State *L);
void unit_open_etf(lua_State *L);
void unit_open_heart(lua_State *L);
void unit_open_budget(lua_State *L);
void unit_open_census(lua_State *L);
void unit_open_door(lua_State *L);
void unit_open_hall(lua_State *L);
void unit_open_quota(lua_State *L);
void unit_open_slots(lua_State *L);
void unit_open_backoff(lua_State *L);
void unit_open_outbox(lua_State *L);
void unit_open_pace(lua_State *L);
void unit_open_buf(lua_State *L);
void unit_open_inflate(lua_State *L);
void unit_open_deflate(lua_State *L);
void unit_open_url(lua_State *L);
void unit_open_http(lua_State *L);
void unit_open_frames(lua_State *L);
void unit_open_upgrade(lua_State *L);
void unit_open_websocket(lua_State *L);
void unit_open_window(lua_State *L);
void unit_open_queue(lua_State *L);
void unit_open_letters(lua_State *L);
void unit_open_resolver(lua_State *L);
void unit_open_refuse(lua_State *L);

#endif

/* value.c - fuzzes what Lua gets: the eager JSON decoder against lua-cjson and against the ETF
 * decoder on the same value, that one against JSON in turn where the bytes are a term, lazy tables,
 * looked through in every way, against the eager decoder, and values that are written and read
 * again. */
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/lua_lazy.h"
#include "../../src/lua_value.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static lua_State *L;

/* Gets the functions of the core; returns check(text), which raises an error when two differ. */
static const char program[] =
    "local core = ...\n"
    "local cjson = require 'cjson'\n"
    "local decode, lazy, null = core.decode, core.lazy, core.null\n"
    "local same\n"
    "local function same_tables(a, b, alike)\n"
    "  for key, value in pairs(b) do\n"
    "    if not same(a[key], value, alike) then return false end\n"
    "  end\n"
    "  for key in pairs(a) do if b[key] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "function same(a, b, alike)\n"
    "  if type(a) == 'table' and type(b) == 'table' then return same_tables(a, b, alike) end\n"
    "  if a == b then return alike or math.type(a) == math.type(b) end\n"
    "  if a ~= a and b ~= b then return true end\n"
    "  return alike and type(a) == 'string' and type(b) == 'number' and tonumber(a) + 0.0 == b\n"
    "end\n"
    "local function walk(value)\n"
    "  if type(value) ~= 'table' then return end\n"
    "  for _, below in pairs(value) do walk(below) end\n"
    "end\n"
    "local function list(value)\n"
    "  if type(value) ~= 'table' then return end\n"
    "  for i = 1, #value do list(value[i]) end\n"
    "  for _, below in ipairs(value) do list(below) end\n"
    "end\n"
    "local ways = {\n"
    "  function(value) walk(value) end,\n"
    "  function(value) list(value) walk(value) end,\n"
    "  function(value) core.decoded(value) end,\n"
    "  function(value, eager)\n"
    "    if not same(value, eager) then error 'an index differs' end\n"
    "  end,\n"
    "  function(value, eager)\n"
    "    local text = core.encode(value)\n"
    "    if (text == nil) ~= (core.encode(eager) == nil) then error 'written otherwise' end\n"
    "    walk(value)\n"
    "  end,\n"
    "}\n"
    "local function compare_lazy(text, rules, eager, failed)\n"
    "  for nth, way in ipairs(ways) do\n"
    "    local value, message = lazy(text, rules)\n"
    "    if message then\n"
    "      if not failed then error('lazy refuses: ' .. message) end\n"
    "    else\n"
    "      local fine, why = pcall(way, value, eager)\n"
    "      if fine and failed then error('lazy accepts, way ' .. nth) end\n"
    "      if not fine and not failed then error(why) end\n"
    "      if fine and not same(value, eager) then error('lazy differs, way ' .. nth) end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local function compare_cjson(text)\n"
    "  local ours, message = decode('[' .. text .. ']', { null = 'keep' })\n"
    "  if message then return end\n"
    "  local fine, theirs = pcall(cjson.decode, '[' .. text .. ']')\n"
    "  if not fine then error('lua-cjson refuses: ' .. theirs) end\n"
    "  if not same(ours, theirs, true) then error 'lua-cjson differs' end\n"
    "end\n"
    "local function compare_written(eager)\n"
    "  local text = core.encode(eager)\n"
    "  if text and not same(decode(text, { null = 'keep' }), eager, true) then\n"
    "    error('written and read: ' .. text)\n"
    "  end\n"
    "end\n"
    "local encodings = { json = 'etf', etf = 'json' }\n"
    "local function compare_twins(text, encoding)\n"
    "  local other = encodings[encoding]\n"
    "  local value = decode(text, { null = 'keep', encoding = encoding })\n"
    "  local twin = value ~= nil and core.encode(value, { encoding = other })\n"
    "  if not twin then return end\n"
    "  for _, null in ipairs { 'keep', 'drop' } do\n"
    "    local ours = decode(text, { null = null, encoding = encoding })\n"
    "    local theirs, message = decode(twin, { null = null, encoding = other })\n"
    "    if message then error(other .. ' refuses: ' .. message) end\n"
    "    if not same(ours, theirs, true) then error('the twin in ' .. other .. ' differs') end\n"
    "  end\n"
    "end\n"
    "return function(text)\n"
    "  for encoding in pairs(encodings) do\n"
    "    for _, rules in ipairs { { null = 'keep' }, {}, { invalid_utf8 = 'refuse' } } do\n"
    "      rules.encoding = encoding\n"
    "      local eager, message = decode(text, rules)\n"
    "      compare_lazy(text, rules, eager, message ~= nil)\n"
    "      if rules.null and not message then compare_written(eager) end\n"
    "    end\n"
    "    compare_twins(text, encoding)\n"
    "  end\n"
    "  compare_cjson(text)\n"
    "end\n";

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    L = luaL_newstate();
    luaL_openlibs(L);
    if (luaL_loadstring(L, program) != LUA_OK) abort();
    lua_newtable(L);
    gate_lua_value_open(L);
    gate_lua_lazy_open(L);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_writestringerror("%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)bytes, len);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) return 0;
    lua_writestringerror("%s\n", lua_tostring(L, -1));
    abort();
}

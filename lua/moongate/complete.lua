-- complete.lua: what unfinished Lua may become: names of fields and methods behind a dot or colon,
-- globals, and inside of quotes the names of events and intents. Used by repl.lua and by specs. It
-- looks at objects, and calls none of their methods.

local events = require "moongate.events"
local intents = require "moongate.intents"

local complete = {}

local CHAIN_MAX = 10 -- metatables behind a value

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do keywords[word] = true end

-- ---- Members of a value -------------------------------------------------------------------------

local function add_keys(names, list)
  for key in next, list do
    if type(key) == "string" and key:find "^[%a_][%w_]*$" then names[key] = true end
  end
end

-- An object of moongate's says in __members, a list of tables, what it has, and in __internal what
-- of that is for other modules.
local function members_of(meta)
  local names = {}
  for _, list in ipairs(meta.__members) do add_keys(names, list) end
  for name in pairs(meta.__internal or {}) do names[name] = nil end
  return names
end

-- The names behind a value.
local function names_of(value)
  local names = {}
  for _ = 1, CHAIN_MAX do
    local meta = debug.getmetatable(value)
    if type(meta) == "table" and meta.__members then return members_of(meta) end
    if type(value) == "table" then add_keys(names, value) end
    value = type(meta) == "table" and meta.__index
    if type(value) ~= "table" then break end
  end
  return names
end

local function look_up(value, key)
  local fine, found = pcall(function() return value[key] end)
  if fine then return found end
end

-- ---- Words --------------------------------------------------------------------------------------

local function sorted(names, start)
  local list = {}
  for name in pairs(names) do
    if name:sub(1, #start) == start then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- "MESSAGE_CREATE" as it was begun: listeners may say "messageCreate" and "message_create", too.
local function in_style(name, start)
  if not start:find "^%l" then return name end
  if start:find "_" then return name:lower() end
  return (name:lower():gsub("_(%w)", string.upper))
end

local function in_quotes(text, from)
  local start, names = text:sub(from), {}
  if text:sub(1, from - 1):find "intents[^=]*=%s*{[^}]*$" then
    for name in pairs(intents) do names[name] = true end
  else
    for name in pairs(events.dispatches) do names[in_style(name, start)] = true end
    for name in pairs(events.own) do names[name] = true end
  end
  return from, sorted(names, start)
end

-- Where the text behind a quote begins that is still open; at the end of a row none is.
local function open_quote(text)
  local open, from
  local at = 1
  while at <= #text do
    local byte = text:sub(at, at)
    if open and byte == "\\" then
      at = at + 1
    elseif open == byte or byte == "\n" then
      open = nil
    elseif not open and (byte == '"' or byte == "'") then
      open, from = byte, at + 1
    end
    at = at + 1
  end
  return open and from
end

local function members(env, path, sign, start)
  local value = env
  for key in path:gmatch "[%w_]+" do
    value = look_up(value, tonumber(key) or key)
    if value == nil then return {} end
  end
  local names = names_of(value)
  if sign == ":" then
    for name in pairs(names) do
      if type(look_up(value, name)) ~= "function" then names[name] = nil end
    end
  end
  return sorted(names, start)
end

--- What the last word of a text may become in an environment: where it begins, and a sorted list;
-- nil where nothing can be said.
function complete.line(text, env)
  local quoted = open_quote(text)
  if quoted then
    if text:find("[^%w_]", quoted) then return nil end
    return in_quotes(text, quoted)
  end
  local path, sign, from, start = text:match "([%a_][%w_.%[%]]*)([.:])()([%w_]*)$"
  if path then return from, members(env, path, sign, start) end
  from, start = text:match "()([%a_][%w_]*)$"
  if not from or text:sub(1, from - 1):find "[.:]$" then return nil end
  local names = names_of(env)
  for word in pairs(keywords) do names[word] = true end
  return from, sorted(names, start)
end

return complete

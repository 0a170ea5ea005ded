-- inspect.lua: values as a person reads them: { id = "1", author = { username = "ada" } }. Used by
-- repl.lua and by specs. It changes nothing it is shown, but that lazy tables decode what is looked
-- at, and it shows no more of a large value than has a place.

local core = require "moongate.core"

local inspect = {}

local DEPTH = 5 -- tables within tables that are shown
local ENTRIES_MAX = 50 -- of one table
local TEXT_MAX = 400 -- bytes of a string
local COLUMNS = 80

local escapes = {
  ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\",
}

local words = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do words[word] = true end

-- What a terminal may obey although it is UTF-8: C1 controls, and marks that turn a text around.
local unseen = { "\194[\128-\159]", "\226\128[\142\143\170-\174]", "\226\129[\166-\169]" }

local function spell(char)
  return ("\\u{%X}"):format(utf8.codepoint(char))
end

local function quote(text)
  local shown = text:sub(1, TEXT_MAX)
  if #text > #shown then -- not in the middle of a character
    shown = shown:gsub("[\192-\247]?[\128-\191]*$", "", 1)
  end
  shown = shown:gsub('[%c\\"]', function(byte)
    return escapes[byte] or ("\\x%02X"):format(byte:byte())
  end)
  for _, pattern in ipairs(unseen) do shown = shown:gsub(pattern, spell) end
  local more = #text > TEXT_MAX and (" (%d bytes)"):format(#text) or ""
  return ('"%s"%s'):format(shown, more)
end

local function name_of(key)
  if type(key) == "string" then
    return key:find "^[%a_][%w_]*$" and not words[key] and key or ("[%s]"):format(quote(key))
  end
  return ("[%s]"):format(tostring(key))
end

-- The keys that are no places of the list, sorted; `first`, if given, has the rank of some.
local function keys_of(value, length, first)
  local keys = {}
  for key in pairs(value) do
    local place = math.type(key) == "integer" and key >= 1 and key <= length
    if not place then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b)
    local one, other = first and first[a] or math.huge, first and first[b] or math.huge
    if one ~= other then return one < other end
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local show

-- The entries as a list of texts, each of one or more lines.
local function entries_of(value, room, depth, open)
  local list, length = {}, #value
  local keys = keys_of(value, length)
  local total = length + #keys
  local shown = math.min(total, ENTRIES_MAX)
  for i = 1, shown do
    local key = i <= length and i or keys[i - length]
    local name = i <= length and "" or name_of(key) .. " = "
    list[i] = name .. show(value[key], room - #name, depth + 1, open)
  end
  if total > shown then list[shown + 1] = ("... %d more"):format(total - shown) end
  return list
end

local function fits(list, room)
  local cells = 4
  for _, text in ipairs(list) do
    if text:find("\n", 1, true) then return false end
    cells = cells + #text + 2
  end
  return cells - 2 <= room
end

local function show_table(value, room, depth, open)
  if open[value] then return "{ itself }" end
  if next(value) == nil and #value == 0 then return "{}" end
  if depth >= DEPTH then return "{ ... }" end
  open[value] = true
  local list = entries_of(value, room - 2, depth, open)
  open[value] = nil
  if fits(list, room) then return "{ " .. table.concat(list, ", ") .. " }" end
  for i, text in ipairs(list) do list[i] = "  " .. text:gsub("\n", "\n  ") end
  return "{\n" .. table.concat(list, ",\n") .. "\n}"
end

-- An object says itself what it is; the marks of moongate's own tables do not make one.
local function is_plain(value)
  local meta = debug.getmetatable(value)
  return not meta or not (meta.__tostring or meta.__name) or meta.__name == "moongate.array"
    or meta.__name == "moongate.lazy" or getmetatable(value) == "moongate.lazy"
end

local function name_object(value)
  local fine, text = pcall(tostring, value)
  return fine and text or ("(%s that cannot be shown)"):format(type(value))
end

function show(value, room, depth, open)
  if value == core.null then return "null" end
  if type(value) == "string" then return quote(value) end
  if type(value) ~= "table" or not is_plain(value) then return name_object(value) end
  return show_table(value, math.max(room, 1), depth, open)
end

--- A text without what a terminal would obey, but line breaks and tabs.
function inspect.text(text)
  text = text:gsub("[%z\1-\8\11-\31\127]", "?")
  for _, pattern in ipairs(unseen) do text = text:gsub(pattern, "?") end
  return text
end

--- A value as text, in lines of about so many columns.
function inspect.value(value, columns)
  return show(value, columns or COLUMNS, 0, {})
end

-- ---- In one line --------------------------------------------------------------------------------

-- What tells events apart comes first.
local telling = {}
for word in ([[content username name global_name author user member emoji status type title topic
  id user_id message_id channel_id guild_id]]):gmatch "[%w_]+" do
  telling[#telling + 1] = word
  telling[word] = #telling
end

local short

local function short_table(value, room)
  local list, used, length = {}, 4, #value
  local function add(name, item)
    if used >= room then return false end
    local text = name .. short(item, room - used - #name)
    list[#list + 1] = text
    used = used + #text + 2
    return true
  end
  for i = 1, length do
    if not add("", value[i]) then break end
  end
  for _, key in ipairs(keys_of(value, length, telling)) do
    if not add(name_of(key) .. " = ", value[key]) then break end
  end
  return #list == 0 and "{}" or "{ " .. table.concat(list, ", ") .. " }"
end

function short(value, room)
  if type(value) == "table" and value ~= core.null and is_plain(value) then
    return room < 8 and "{...}" or short_table(value, room)
  end
  return show(value, room, 0, {})
end

--- A value in one line of at most so many characters; what has no place is left out.
function inspect.line(value, columns)
  local text = short(value, columns)
  local cells = utf8.len(text)
  if (cells or #text) <= columns then return text end
  return text:sub(1, cells and utf8.offset(text, columns) - 1 or columns - 1) .. "…"
end

return inspect

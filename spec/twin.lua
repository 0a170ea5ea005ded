-- twin.lua: a gateway message in JSON, said in ETF as the service says it: `t` as an atom, ids as
-- integers of 64 bits, lists of small integers as STRING, keys of two kinds mixed. An encoder of
-- its own, for specs only, so that what etf.c reads was not written by etf.c.
local core = require "moongate.core"

local pack = string.pack

local function atom(word) return pack(">Bs1", 115, word) end

local function write_integer(n)
  if n >= 0 and n <= 255 then return pack(">BB", 97, n) end
  if n >= -2147483648 and n <= 2147483647 then return pack(">Bi4", 98, n) end
  local left, digits = math.abs(n), ""
  while left > 0 do
    digits = digits .. string.char(left % 256)
    left = left // 256
  end
  return pack(">BBB", 110, #digits, n < 0 and 1 or 0) .. digits
end

-- What an id of decimal digits is as an integer, or nil when it is none or has too many of them.
local function id_of(text)
  if not text:find "^[1-9]%d+$" or #text > 18 then return nil end
  local id = math.tointeger(tonumber(text))
  return id and id >= 1 << 53 and id
end

local write

local function write_list(list, text)
  local small, parts = #list > 0, {}
  for i, value in ipairs(list) do
    small = small and math.type(value) == "integer" and value >= 0 and value <= 255
    parts[i] = write(value, text)
  end
  if small then return pack(">Bs2", 107, string.char(table.unpack(list))) end
  if #list == 0 then return "j" end
  return pack(">BI4", 108, #list) .. table.concat(parts) .. "j"
end

-- Every third key is a binary, the others are atoms. They come in the order of the text, as far as
-- that can be told.
local function write_map(map, depth, text)
  local keys, parts = {}, {}
  for key in pairs(map) do keys[#keys + 1] = key end
  local function place_of(key) return text:find('"' .. key .. '":', 1, true) or #text end
  table.sort(keys, function(a, b)
    local first, second = place_of(a), place_of(b)
    return first < second or first == second and a < b
  end)
  for i, key in ipairs(keys) do
    local value = map[key]
    local word = depth == 0 and key == "t" and type(value) == "string"
    parts[i] = ((i + depth) % 3 == 0 and pack(">Bs4", 109, key) or atom(key))
      .. (word and atom(value) or write(value, text, depth + 1))
  end
  return pack(">BI4", 116, #keys) .. table.concat(parts)
end

function write(value, text, depth)
  local kind = type(value)
  if value == core.null then return atom "nil" end
  if kind == "boolean" then return atom(tostring(value)) end
  if math.type(value) == "integer" then return write_integer(value) end
  if kind == "number" then return pack(">Bd", 70, value) end
  if kind == "string" then
    local id = id_of(value)
    return id and write_integer(id) or pack(">Bs4", 109, value)
  end
  if #value > 0 or core.encode(value) == "[]" then return write_list(value, text) end
  return write_map(value, depth or 1, text)
end

--- The ETF twin of a message; text that is no JSON is left as it is.
return function(text)
  local value = core.decode(text, { null = "keep" })
  if value == nil then return text end
  return "\131" .. write(value, text, 0)
end

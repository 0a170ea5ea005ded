-- intents.lua: names and bits of the gateway's intents. `intents.guilds` is a number,
-- `intents { "guilds", "guild_messages" }` a sum. Called by users as moongate.intents and by
-- options.lua. Names and bits come from the one table of the C core.

local core = require "moongate.core"
local spelling = require "moongate.spelling"

local PORTAL = "https://discord.com/developers/applications"

-- Names that Discord has given up for others of the same bit.
local old_names = {
  guild_bans = "guild_moderation",
  guild_emojis = "guild_expressions",
  guild_emojis_and_stickers = "guild_expressions",
}

local intents = {}

-- 2^bit as an integer where the Lua has integers.
local function power(bit)
  local value = 1
  for _ = 1, bit do value = value * 2 end
  return value
end

local values = {} -- canonical name -> its number
local words = {} -- names for "did you mean", the groups included
local by_bare = {} -- a name without its style -> its number

local function bare(name)
  return (name:gsub("[^%w]", ""):lower())
end

local function add(name, value)
  values[name] = value
  by_bare[bare(name)] = value
end

local all, privileged = 0, 0
for _, row in ipairs(core.intents) do
  local value = power(row.bit)
  add(row.name, value)
  words[#words + 1] = row.name
  all = all + value
  if row.privileged then privileged = privileged + value end
end
for old, new in pairs(old_names) do
  if values[new] then add(old, values[new]) end
end

--- Sums: all intents, the three that must be switched on in the Developer Portal, and the others.
add("all", all)
add("privileged", privileged)
add("default", all - privileged)
for _, group in ipairs { "all", "default", "privileged" } do words[#words + 1] = group end

-- Whether the bit of the power of two `value` is set in `bits`.
local function set(bits, value)
  return math.floor(bits / value) % 2 == 1
end

local function unite(bits, more)
  local value = 1
  while value <= more do
    if set(more, value) and not set(bits, value) then bits = bits + value end
    value = value * 2
  end
  return bits
end

local function whole(value)
  return type(value) == "number" and value >= 0 and value < 2 ^ 53 and value % 1 == 0
end

-- The number of one element, or nil and what is wrong with it.
local function number_of(element)
  if whole(element) then return math.floor(element) end
  if type(element) ~= "string" then
    return nil, ("%s is no intent; give names such as \"guilds\""):format(
      type(element) == "number" and tostring(element) or "a " .. type(element))
  end
  local value = by_bare[bare(element)]
  if value then return value end
  local meant = spelling.nearest(element, words)
  return nil, ("\"%s\" is no intent; %s"):format(element:sub(1, 40),
    meant and ("did you mean \"%s\"?"):format(meant) or "there are " .. table.concat(words, ", "))
end

--- The sum of a list of names and numbers, or nil and a list of what is wrong with it. A single
-- name or number will do as well.
function intents.parse(list)
  if type(list) ~= "table" then list = { list } end
  local bits, wrong = 0, {}
  for key in pairs(list) do
    if not (whole(key) and key >= 1 and key <= #list) then
      wrong[#wrong + 1] = ("%s = ... is no list element; write { \"guilds\", ... }"):format(
        tostring(key))
    end
  end
  for _, element in ipairs(list) do
    local value, why = number_of(element)
    if value then bits = unite(bits, value) else wrong[#wrong + 1] = why end
  end
  if #wrong > 0 then
    table.sort(wrong)
    return nil, wrong
  end
  return bits
end

--- Whether the intent called `name` is among `bits`.
function intents.has(bits, name)
  local value = by_bare[bare(name)]
  return value ~= nil and set(bits, value)
end

--- The names of the intents in `bits` (all of them without it), in order of their bits; a bit
-- without a name as "bit 18".
function intents.names(bits)
  bits = bits or all
  local by_value, list = {}, {}
  for _, row in ipairs(core.intents) do by_value[power(row.bit)] = row.name end
  local value, bit = 1, 0
  while value <= bits do
    if set(bits, value) then list[#list + 1] = by_value[value] or ("bit %d"):format(bit) end
    value, bit = value * 2, bit + 1
  end
  return list
end

--- The names of the privileged intents in `bits`, for the words of close code 4014.
function intents.privileged_names(bits)
  local list = {}
  for _, row in ipairs(core.intents) do
    if row.privileged and set(bits, power(row.bit)) then list[#list + 1] = row.name end
  end
  return list
end

intents.portal = PORTAL

local function call(_, ...)
  local list = ...
  if select("#", ...) ~= 1 or type(list) ~= "table" then list = { ... } end
  local bits, wrong = intents.parse(list)
  if not bits then error("intents: " .. table.concat(wrong, "\n  "), 2) end
  return bits
end

local function index(_, name)
  if type(name) ~= "string" or name:sub(1, 1) == "_" then return nil end
  local value, why = number_of(name)
  if not value then error("intents: " .. why, 2) end
  return value
end

-- pairs(intents): each name and its number, in order of their bits.
local function each()
  local i = 0
  return function()
    i = i + 1
    local row = core.intents[i]
    if row then return row.name, values[row.name] end
  end
end

local function describe()
  return "Intents: " .. table.concat(intents.names(), ", ")
end

local offered = {} -- what a prompt completes: no old names
for _, word in ipairs(words) do offered[word] = true end

return setmetatable(intents, {
  __name = "moongate.intents", __call = call, __index = index, __pairs = each,
  __tostring = describe, __members = { offered }, -- see complete.lua
})

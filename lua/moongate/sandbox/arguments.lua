-- sandbox/arguments.lua: what the methods of a sandbox are given, judged: the error of an argument
-- is raised where the method was called, and begins with its name. Required by the files of the
-- sandbox, by nothing else. Every function below is called by a method itself, unless it takes the
-- level at which it raises.

local core = require "moongate.sandbox.core"
local spelling = require "moongate.spelling"

local arguments = {}

arguments.BYTES_MAX = 0x7fffffff

local CALLER = 3 -- of the method that calls a function of this file

-- ---- Values -------------------------------------------------------------------------------------

--- Whether a number is one without a fraction.
function arguments.is_integer(value)
  return type(value) == "number" and math.tointeger(value) ~= nil
end

local is_integer = arguments.is_integer

--- The value, when it has that type (or, if it is optional, is nil).
function arguments.check(what, name, value, wanted, optional)
  local kind = type(value)
  if kind == wanted or optional and value == nil then return value end
  error(("%s: %s: %s expected, got %s"):format(what, name, wanted, kind), CALLER)
end

--- An integer within its bounds.
function arguments.check_integer(what, name, value, least, most, level)
  if is_integer(value) and value >= least and value <= most then return math.tointeger(value) end
  error(("%s: %s: an integer from %d to %d expected"):format(what, name, least, most),
    level or CALLER)
end

--- A number of seconds that is one.
function arguments.check_seconds(what, name, value, optional)
  if optional and value == nil then return nil end
  if type(value) ~= "number" then
    error(("%s: %s: number expected, got %s"):format(what, name, type(value)), CALLER)
  end
  if value ~= value or math.abs(value) > 1e9 then
    error(("%s: %s: a number of seconds expected, got %s"):format(what, name, value), CALLER)
  end
  return value
end

--- A switch: on unless it is said to be off.
function arguments.switch(what, on)
  if on == nil or type(on) == "boolean" then return on ~= false end
  error(("%s: on: boolean expected, got %s"):format(what, type(on)), CALLER)
end

--- Sizes of pieces: one number, or { least, most }.
function arguments.check_sizes(what, bytes)
  local most = arguments.BYTES_MAX
  if type(bytes) ~= "table" then
    bytes = arguments.check_integer(what, "bytes", bytes, 0, most, CALLER + 1)
    return bytes, bytes
  end
  local least = bytes[1]
  if not is_integer(least) or least < 1 or not is_integer(bytes[2]) or bytes[2] < least then
    error(("%s: bytes: an integer, or { least, most } from 1 on expected"):format(what), CALLER)
  end
  return math.tointeger(least),
    arguments.check_integer(what, "bytes[2]", bytes[2], least, most, CALLER + 1)
end

--- A value as JSON text.
function arguments.encode(what, name, value)
  local text, why = core.encode(value)
  if text then return text end
  error(("%s: %s: %s"):format(what, name, (why:gsub("^encode: ", ""))), CALLER)
end

-- ---- Targets ------------------------------------------------------------------------------------

local function is_id(value)
  return is_integer(value) and value >= 0
end

local function is_text(value)
  return type(value) == "string"
end

local function is_flag(value)
  return type(value) == "boolean"
end

--- What may stand in a target: its judge, and what it has to be.
arguments.target_keys = {
  connection = { is_id, "a number" }, shard = { is_id, "a number" },
  session = { is_text, "the id of a session" },
  filter = { is_flag, "boolean" }, dm = { is_flag, "boolean" }, reset = { is_flag, "boolean" },
  count = { is_id, "a number" },
  exact = { is_flag, "boolean" },
}

-- What is wrong with a target, or nil. A misspelt key would turn an order to one into an order to
-- all.
local function judge_target(target)
  if target == nil then return nil end
  if type(target) == "table" and target.id ~= nil then
    if is_text(target.id) or is_id(target.id) then return nil end
    return "id: a number or the id of a session expected, got " .. type(target.id)
  end
  if type(target) ~= "table" then
    if is_integer(target) and target > 0 then return nil end
    if type(target) == "number" then return "connections are numbered from 1" end
    return "the number of a connection, or a table expected, got " .. type(target)
  end
  for key, value in pairs(target) do
    local row = arguments.target_keys[key]
    if not row then return ("unknown key '%s'"):format(tostring(key)) end
    if not row[1](value) then
      return ("%s: %s expected, got %s"):format(key, row[2], tostring(value))
    end
  end
end

--- A target: nothing, the number of a connection, or a table of what it has.
function arguments.aim(what, target)
  local wrong = judge_target(target)
  if wrong then error(("%s: target: %s"):format(what, wrong), CALLER) end
  return target
end

-- ---- Spelling ---------------------------------------------------------------------------------

local FAR = 2 -- letters; a name of no known event that is as far from one is taken for it

local known, known_names -- bare name -> name; the bare names in order

local function read_known()
  known, known_names = {}, {}
  for i, event in ipairs(core.events()) do
    known_names[i] = spelling.bare(event)
    known[known_names[i]] = event
  end
  table.sort(known_names)
end

--- The event that a name was probably meant to be; nil when it is one, or like none.
function arguments.suggest(name)
  if not known then read_known() end
  local wanted = spelling.bare(name)
  if known[wanted] then return known[wanted] ~= name and known[wanted] or nil end
  if #wanted < 8 or #wanted > 64 then return nil end
  for _, candidate in ipairs(known_names) do
    if spelling.distance(wanted, candidate) <= FAR then return known[candidate] end
  end
end

--- ", did you mean 'x'?" for the one of the keys of `names` that `name` is nearly, or "".
function arguments.hint(name, names)
  local list = {}
  for key in pairs(names) do
    if key:sub(1, 2) ~= "__" then list[#list + 1] = key end
  end
  table.sort(list)
  local meant = spelling.nearest(name, list)
  return meant and (", did you mean '%s'?"):format(meant) or ""
end

-- ---- Opcodes -----------------------------------------------------------------------------------

local opcodes = {
  HEARTBEAT = 1, IDENTIFY = 2, PRESENCE_UPDATE = 3, VOICE_STATE_UPDATE = 4, RESUME = 6,
  REQUEST_GUILD_MEMBERS = 8, REQUEST_SOUNDBOARD_SOUNDS = 31, REQUEST_CHANNEL_INFO = 43,
}

--- The opcode that a name or a number tells; or nil and what is wrong.
function arguments.judge_op(op)
  if is_integer(op) then return op end
  local is_name = type(op) == "string"
  if is_name and opcodes[op:upper()] then return opcodes[op:upper()] end
  return nil, ("op: '%s' is nothing that a client sends%s"):format(tostring(op),
    is_name and arguments.hint(op, opcodes) or "")
end

--- The same, raised by the name of the method; nil of nil.
function arguments.read_op(what, op)
  if op == nil then return nil end
  local number_of, why = arguments.judge_op(op)
  if number_of then return number_of end
  error(what .. ": " .. why, CALLER)
end

return arguments

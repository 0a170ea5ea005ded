-- snowflake.lua: what is inside an id. Called by users as moongate.snowflake and by the cluster for
-- routing. Ids are unsigned 64-bit numbers that travel as strings; no step here rounds one.

local snowflake = {}

local EPOCH_MS = 1420070400000 -- the first moment of 2015, from which ids count
local SHIFT = 4194304 -- 2^22: the bits below the time
local GREATEST = "18446744073709551615" -- 2^64 - 1
local EXACT = 9007199254740992 -- 2^53: a float from here on may have lost digits
local PIECE = 7 -- digits taken at a time, so that a rest times 10^7 stays exact in a double

-- The decimal digits of an id without leading zeros, or nil and what is wrong with it.
local function digits_of(id)
  if type(id) == "number" then
    if math.type and math.type(id) == "integer" and id >= 0 then return ("%d"):format(id) end
    if id < 0 or id % 1 ~= 0 then return nil, ("%s is not a whole number from 0"):format(id) end
    if id >= EXACT then
      return nil, ("%.0f is a float that may have lost digits; keep ids as strings"):format(id)
    end
    return ("%.0f"):format(id)
  end
  if type(id) ~= "string" then return nil, ("a string is expected, got %s"):format(type(id)) end
  local digits = id:match("^0*(%d+)$")
  if not digits then return nil, ("%q is not a decimal number"):format(id:sub(1, 24)) end
  if #digits > #GREATEST or (#digits == #GREATEST and digits > GREATEST) then
    return nil, ("%s does not fit 64 bits"):format(id:sub(1, 24))
  end
  return digits
end

-- id >> 22 and the 22 bits below, by long division: every intermediate fits a double exactly.
local function split(operation, id)
  local digits, why = digits_of(id)
  if not digits then error(("%s: id: %s"):format(operation, why), 3) end
  local quotient, rest = 0, 0
  for at = 1, #digits, PIECE do
    local piece = digits:sub(at, at + PIECE - 1)
    local scale = 10 ^ #piece
    local part = rest * scale + tonumber(piece)
    quotient = quotient * scale + math.floor(part / SHIFT)
    rest = part % SHIFT
  end
  return math.floor(quotient), math.floor(rest)
end

--- The shard that has a guild: (guild_id >> 22) % count. The id is a string or an integer.
function snowflake.shard_of(guild_id, count)
  if type(count) ~= "number" or count < 1 or count % 1 ~= 0 or count >= EXACT then
    error(("shard_of: count must be a whole number from 1, got %s"):format(
      type(count) == "number" and tostring(count) or type(count)), 2)
  end
  return math.floor(split("shard_of", guild_id) % count)
end

local function take_apart(_, id)
  local time, rest = split("snowflake", id)
  return {
    time = (time + EPOCH_MS) / 1000,
    worker = math.floor(rest / 131072),
    process = math.floor(rest / 4096) % 32,
    increment = rest % 4096,
  }
end

--- snowflake(id) -> { time (Unix seconds, exact to the millisecond), worker, process, increment }.
return setmetatable(snowflake, { __call = take_apart })

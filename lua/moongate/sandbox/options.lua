-- sandbox/options.lua: what a sandbox can be started with: the name of each option, what makes its
-- value (or says what it should be), and its default. Required by sandbox.lua, by nothing else.

local arguments = require "moongate.sandbox.arguments"
local core = require "moongate.sandbox.core"

local options = {}

local DAY_MS = 86400000

local defaults_of_user = {
  id = "1117000000000000009", username = "sandbox", discriminator = "0001", bot = true, flags = 0,
  verified = true, mfa_enabled = false,
  global_name = core.null, avatar = core.null, email = core.null,
}

local kinds = {} -- what makes a value -> a word for it, or the list of the values that it may have

local function integer(least, most)
  local function make(value)
    local fine = arguments.is_integer(value) and value >= least and value <= most
    if fine then return math.tointeger(value) end
    return nil, ("an integer from %d to %d"):format(least, most)
  end
  kinds[make] = "integer"
  return make
end

local function number(least)
  local function make(value)
    if type(value) == "number" and value >= least then return value end
    return nil, ("a number, at least %g"):format(least)
  end
  kinds[make] = "number"
  return make
end

local function flag(value)
  if type(value) == "boolean" then return value end
  return nil, "true or false"
end

local function text(value)
  if type(value) == "string" and value ~= "" and not value:find "[%c ]" then return value end
  return nil, "a string without spaces"
end

local function path(value)
  if type(value) == "string" and value:match "^/[^%s?#]*$" then return (value:gsub("/$", "")) end
  return nil, "a path that begins with /"
end

local function choice(...)
  local words = {}
  for i, value in ipairs { ... } do words[i] = tostring(value) end
  words = "one of " .. table.concat(words, ", ")
  local known = {}
  for _, value in ipairs { ... } do known[value] = value end
  local function make(value)
    if known[value] ~= nil then return known[value] end
    return nil, words
  end
  kinds[make] = { ... }
  return make
end

local function user(value)
  if type(value) ~= "table" then return nil, "a table" end
  local all = {}
  for key, default in pairs(defaults_of_user) do all[key] = default end
  for key, given in pairs(value) do all[key] = given end
  if type(all.id) ~= "string" or not all.id:match "^%d+$" then
    return nil, "a table whose id is a string of digits"
  end
  if type(all.username) ~= "string" then return nil, "a table whose username is a string" end
  local encoded, why = core.encode(all)
  if not encoded then return nil, "a table of values that JSON has (" .. why .. ")" end
  return { json = encoded, id = all.id, username = all.username, values = all }
end

local function intents(value)
  if arguments.is_integer(value) and value >= 0 then return math.tointeger(value) end
  if type(value) ~= "table" then return nil, "a list of names, or a sum of bits" end
  local sum = 0
  for _, name in ipairs(value) do
    local bit = type(name) == "string" and core.intent(name:lower()) or 0
    if bit == 0 then return nil, "a list of names; '" .. tostring(name) .. "' is none" end
    sum = sum | bit
  end
  return sum
end

-- A total, or { total =, remaining =, reset_after = } as GET /gateway/bot tells it.
local function session_start_limit(value)
  if arguments.is_integer(value) then value = { total = value } end
  if type(value) ~= "table" then return nil, "a number of starts, or a table" end
  local total = value.total or value.remaining or 1000
  local all = { total = total, remaining = value.remaining or total,
    reset_after = value.reset_after or DAY_MS }
  for key in pairs(value) do
    if all[key] == nil then return nil, "a table without '" .. tostring(key) .. "'" end
  end
  for _, part in pairs(all) do
    if not arguments.is_integer(part) or part < 0 then return nil, "a table of integers" end
  end
  if all.remaining > all.total then return nil, "a table whose remaining is within its total" end
  return all
end

kinds[flag], kinds[text], kinds[path], kinds[user] = "flag", "text", "path", "user"
kinds[intents], kinds[session_start_limit] = "intents", "session start limit"

local BYTES_MAX = 0x7fffffff

-- Every option: what makes its value (or says what it should be), its default, and words for a
-- person; those of a switch tell what is so when it is on.
local rows = {
  tls = { flag, false, "wss and https, with a throw-away certificate" },
  port = { integer(0, 65535), 0, "where it listens; 0: any that is free" },
  guilds = { integer(0, 100000), 1, "guilds that the bot is in" },
  members = { integer(0, 10000), 3, "people in each guild, apart from the bot" },
  shards = { integer(1, 100000), 1, "shards that are recommended" },
  max_concurrency = { integer(1, 65536), 1, "keys that may identify at once" },
  session_start_limit = { session_start_limit, 1000, "identifies of a day" },
  limits = { flag, true, "Discord's limits: identifies, sends, REST" },
  token = { text, "MTExNzAwMDAwMDAwMDAwMDAwOQ.sandbox.not-a-secret", "the token that is accepted" },
  user = { user, {}, "fields of the bot's user" },
  heartbeat_interval = { integer(1, 3600000), 41250, "ms, as in HELLO" },
  heartbeat_grace = { number(0), 1.5, "intervals it waits for a beat; 0: for ever" },
  heartbeat_close_code = { integer(0, 65535), 4009, "closes who does not beat; 0: a drop" },
  resume_window = { number(0), 120, "seconds a session outlives its connection" },
  resume_path = { path, "", "path of the URL that READY tells for resumes" },
  resume_host = { flag, false, "resumes have a port of their own" },
  presence_close_code = { integer(0, 65535), 0, "for a sixth presence in 20 s; 0: ignored" },
  clock_skew = { number(-1e9), 0, "seconds that the server's clock is ahead" },
  time = { number(0), 0, "where the clock stands, Unix time; 0: it goes" },
  disallowed_intents = { intents, 0, "names that no Identify may have, as a,b" },
  seed = { integer(-(1 << 53), 1 << 53), 1, "of the sandbox's world and chances" },
  zlib_level = { integer(0, 9), 6, "how hard zlib compresses" },
  etf_keys = { choice("atom", "binary", "mixed"), "mixed",
    "atom, binary, mixed: every third a binary" },
  etf_atoms = { choice(100, 115, 118, 119), 115, "the tag that atoms have" },
  etf_ids = { choice("integer", "string"), "integer", "how numbers of 2^53 and more travel" },
  etf_strings = { flag, true, "lists of bytes as STRING, as Erlang has it" },
  replay_events = { integer(0, BYTES_MAX), 5000, "events kept for the resume of a session" },
  replay_bytes = { integer(0, BYTES_MAX), 16777216, "bytes of those events" },
  record_max = { integer(0, BYTES_MAX), 100000, "entries of received(), log(), ..., each" },
  record_bytes = { integer(0, BYTES_MAX), 67108864, "bytes of those entries" },
  out_bytes = { integer(1, BYTES_MAX), 67108864, "unread by a client until it is dropped" },
  certificate_name = { text, nil, "in the certificate, in place of 127.0.0.1, ..." },
  certificate_expired = { flag, false, "the certificate's time is over" },
  any_frame = { flag, false, "takes JSON in binary frames as well" },
}

--- All options with their values; or nil and a sentence that names every mistake.
function options.read(given)
  local all, mistakes = {}, {}
  for key in pairs(given) do
    if not rows[key] then
      local name = tostring(key)
      mistakes[#mistakes + 1] = ("unknown option '%s'%s"):format(name,
        arguments.hint(name, rows))
    end
  end
  for key, row in pairs(rows) do
    local value = given[key]
    if value ~= nil then
      local made, wanted = row[1](value)
      all[key] = made
      if made == nil then
        mistakes[#mistakes + 1] = ("option '%s': %s expected"):format(key, wanted)
      end
    elseif key == "user" or key == "session_start_limit" then
      all[key] = row[1](row[2])
    else
      all[key] = row[2]
    end
  end
  table.sort(mistakes)
  if #mistakes > 0 then return nil, table.concat(mistakes, "; ") end
  return all
end

--- All options, by name: { name =, default =, words = what a person is told of it, kind = "integer"
--- and the like, or a list of the values it may have }, ...
function options.list()
  local list = {}
  for name, row in pairs(rows) do
    list[#list + 1] = { name = name, default = row[2], words = row[3], kind = kinds[row[1]] }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

return options

-- sandbox.lua: `require "moongate.sandbox"`, a gateway of one's own on loopback, for tests and
-- demos. Required by programs and specs, by nothing else of moongate; needs nothing of moongate but
-- its own C module, whose server has a thread of its own and answers while Lua is busy or blocked.
--
--   local sandbox = require "moongate.sandbox"
--   local discord = sandbox.start { guilds = 2, tls = true }
--   ... point a client at discord.api with discord.token (and discord.ca_file) ...
--   discord:dispatch("MESSAGE_CREATE", { content = "ping", channel_id = "1" })
--   discord:drop()
--   discord:stop()
--
-- Readable: api, url, token, port, ca_file (with TLS), user, guilds, people. Every method returns
-- what it is said to, or nil, message, code. Orders take a target as their last argument: nothing
-- for all connections, the id of one, or a table: one of connections() or sessions(), or
-- { connection =, shard =, session = }. They return how many connections they reached.

local core = require "moongate.sandbox.core"

local sandbox = { null = core.null, array = core.array }
local methods = core.methods

local SLICE_S = 0.1 -- of a wait, so that Ctrl-C is heard
local DAY_MS = 86400000

-- ---- Options ----------------------------------------------------------------------------------

local defaults_of_user = {
  id = "1117000000000000009", username = "sandbox", discriminator = "0001", bot = true, flags = 0,
  verified = true, mfa_enabled = false,
  global_name = core.null, avatar = core.null, email = core.null,
}

local function is_integer(value)
  return type(value) == "number" and math.type(value) == "integer"
    or type(value) == "number" and math.tointeger(value) ~= nil
end

local function integer(least, most)
  return function(value)
    if is_integer(value) and value >= least and value <= most then return math.tointeger(value) end
    return nil, ("an integer from %d to %d"):format(least, most)
  end
end

local function number(least)
  return function(value)
    if type(value) == "number" and value >= least then return value end
    return nil, ("a number, at least %g"):format(least)
  end
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
  return function(value)
    if known[value] ~= nil then return known[value] end
    return nil, words
  end
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
  if is_integer(value) and value >= 0 then return math.tointeger(value) end
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
  if is_integer(value) then value = { total = value } end
  if type(value) ~= "table" then return nil, "a number of starts, or a table" end
  local total = value.total or value.remaining or 1000
  local all = { total = total, remaining = value.remaining or total,
    reset_after = value.reset_after or DAY_MS }
  for key in pairs(value) do
    if all[key] == nil then return nil, "a table without '" .. tostring(key) .. "'" end
  end
  for _, part in pairs(all) do
    if not is_integer(part) or part < 0 then return nil, "a table of integers" end
  end
  if all.remaining > all.total then return nil, "a table whose remaining is within its total" end
  return all
end

local BYTES_MAX = 0x7fffffff

-- Every option: what makes its value (or says what it should be), and its default.
local options = {
  tls = { flag, false },
  port = { integer(0, 65535), 0 },
  guilds = { integer(0, 100000), 1 },
  members = { integer(0, 10000), 3 }, -- of each guild, apart from the bot
  shards = { integer(1, 100000), 1 },
  max_concurrency = { integer(1, 65536), 1 },
  session_start_limit = { session_start_limit, 1000 },
  limits = { flag, true },
  token = { text, "MTExNzAwMDAwMDAwMDAwMDAwOQ.sandbox.not-a-secret" },
  user = { user, {} },
  heartbeat_interval = { integer(1, 3600000), 41250 }, -- ms, as in HELLO
  heartbeat_grace = { number(0), 1.5 }, -- intervals without a beat until the close; 0: never
  heartbeat_close_code = { integer(0, 65535), 4009 }, -- 0: a drop
  resume_window = { number(0), 120 }, -- seconds that a session outlives its connection
  resume_path = { path, "" }, -- behind the URL that READY tells for resumes
  resume_host = { flag, false }, -- resumes have a port of their own, see resume_host()
  presence_close_code = { integer(0, 65535), 0 }, -- for a sixth in 20 s; 0: it is ignored
  clock_skew = { number(-1e9), 0 }, -- seconds that the server's wall clock is ahead
  disallowed_intents = { intents, 0 },
  seed = { integer(-(1 << 53), 1 << 53), 1 },
  zlib_level = { integer(0, 9), 6 },
  etf_keys = { choice("atom", "binary", "mixed"), "mixed" }, -- mixed: every third one a binary
  etf_atoms = { choice(100, 115, 118, 119), 115 }, -- the tag that atoms have
  etf_ids = { choice("integer", "string"), "integer" }, -- how numbers of 2^53 and more travel
  etf_strings = { flag, true }, -- lists of bytes travel as STRING, as Erlang writes them
  replay_events = { integer(0, BYTES_MAX), 5000 }, -- kept for a resume, each session
  replay_bytes = { integer(0, BYTES_MAX), 16777216 },
  record_max = { integer(0, BYTES_MAX), 100000 }, -- entries of received(), log(), ...: each
  record_bytes = { integer(0, BYTES_MAX), 67108864 },
  out_bytes = { integer(1, BYTES_MAX), 67108864 }, -- unread by one client, then it is dropped
  certificate_name = { text, nil }, -- in place of 127.0.0.1, ::1 and localhost
  certificate_expired = { flag, false },
  any_frame = { flag, false }, -- takes JSON in binary frames as well, as some clients send it
}

local function nearest(name)
  local best, least
  for key in pairs(options) do
    local common = 0
    for letter in name:gmatch "." do
      if key:find(letter, 1, true) then common = common + 1 end
    end
    local distance = math.max(#key, #name) - common + math.abs(#key - #name)
    if not least or distance < least or distance == least and key < best then
      best, least = key, distance
    end
  end
  return least <= 3 and (", did you mean '%s'?"):format(best) or ""
end

-- All options with their values, or an error that names every mistake.
local function read_options(given)
  local all, mistakes = {}, {}
  for key in pairs(given) do
    if not options[key] then
      local name = tostring(key)
      mistakes[#mistakes + 1] = ("unknown option '%s'%s"):format(name, nearest(name))
    end
  end
  for key, row in pairs(options) do
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
  return all, #mistakes > 0 and table.concat(mistakes, "; ") or nil
end

--- All options with their defaults, by name: { name =, default = }, ...
function sandbox.options()
  local list = {}
  for name, row in pairs(options) do list[#list + 1] = { name = name, default = row[2] } end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- Starts a server on 127.0.0.1. Returns it, or nil, message, code. Wrong options raise.
function sandbox.start(given)
  given = given or {}
  if type(given) ~= "table" then
    error("start: options: table expected, got " .. type(given), 2)
  end
  local all, mistakes = read_options(given)
  if mistakes then error("start: " .. mistakes, 2) end
  local starts = all.session_start_limit
  all.starts_total, all.starts_remaining = starts.total, starts.remaining
  all.starts_reset_ms = starts.reset_after
  all.clock_skew_ms = math.floor(all.clock_skew * 1000)
  all.user_json, all.user_id, all.username = all.user.json, all.user.id, all.user.username
  local fields = { token = all.token, user = all.user.values }
  local discord, why, code = core.start(all, fields)
  if not discord then return nil, why, code end
  local secure, address = all.tls and "s" or "", "://127.0.0.1:" .. fields.port
  fields.api, fields.url = "http" .. secure .. address .. "/api", "ws" .. secure .. address
  fields.guilds, fields.people = core.list(discord, "guilds"), core.list(discord, "people")
  return discord
end

-- ---- Arguments --------------------------------------------------------------------------------

local function check(what, name, value, wanted, optional)
  local kind = type(value)
  if kind == wanted or optional and value == nil then return value end
  error(("%s: %s: %s expected, got %s"):format(what, name, wanted, kind), 3)
end

local function check_integer(what, name, value, least, most)
  if is_integer(value) and value >= least and value <= most then return math.tointeger(value) end
  error(("%s: %s: an integer from %d to %d expected"):format(what, name, least, most), 3)
end

local function switch(what, on)
  if on == nil or type(on) == "boolean" then return on ~= false end
  error(("%s: on: boolean expected, got %s"):format(what, type(on)), 3)
end

-- Sizes of pieces: one number, or { least, most }.
local function check_sizes(what, bytes)
  if type(bytes) ~= "table" then
    bytes = check_integer(what, "bytes", bytes, 0, BYTES_MAX)
    return bytes, bytes
  end
  local least = bytes[1]
  if not is_integer(least) or least < 1 or not is_integer(bytes[2]) or bytes[2] < least then
    error(("%s: bytes: an integer, or { least, most } from 1 on expected"):format(what), 3)
  end
  return math.tointeger(least), check_integer(what, "bytes[2]", bytes[2], least, BYTES_MAX)
end

local function is_id(value)
  return is_integer(value) and value >= 0
end

local function is_text(value)
  return type(value) == "string"
end

local function is_flag(value)
  return type(value) == "boolean"
end

-- What may stand in a target, and what it has to be.
local target_keys = {
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
    local row = target_keys[key]
    if not row then return ("unknown key '%s'"):format(tostring(key)) end
    if not row[1](value) then
      return ("%s: %s expected, got %s"):format(key, row[2], tostring(value))
    end
  end
end

local function aim(what, target)
  local wrong = judge_target(target)
  if wrong then error(("%s: target: %s"):format(what, wrong), 3) end
  return target
end

-- The opcode of a name or a number.
local opcodes = {
  HEARTBEAT = 1, IDENTIFY = 2, PRESENCE_UPDATE = 3, VOICE_STATE_UPDATE = 4, RESUME = 6,
  REQUEST_GUILD_MEMBERS = 8, REQUEST_SOUNDBOARD_SOUNDS = 31, REQUEST_CHANNEL_INFO = 43,
}

local function read_op(what, op)
  if op == nil then return nil end
  if is_integer(op) then return op end
  local number_of = type(op) == "string" and opcodes[op:upper()]
  if number_of then return number_of end
  error(("%s: op: '%s' is nothing that a client sends"):format(what, tostring(op)), 3)
end

-- ---- Spelling ---------------------------------------------------------------------------------

local FAR = 2 -- letters; a name of no known event that is as far from one is taken for it

local known -- bare name -> name

local function bare(name)
  return (name:gsub("[^%w]", ""):upper())
end

-- Whether `one` becomes `other` by at most `left` letters put in, left out or changed; two swapped
-- ones are two changed.
local function is_near(one, other, left)
  local at = 1
  while at <= #one and one:byte(at) == other:byte(at) do at = at + 1 end
  if at > #one or at > #other then return #one + #other - 2 * (at - 1) <= left end
  if left == 0 then return false end
  local rest, rest_of_other = one:sub(at + 1), other:sub(at + 1)
  return is_near(rest, rest_of_other, left - 1) or is_near(rest, other:sub(at), left - 1)
    or is_near(one:sub(at), rest_of_other, left - 1)
end

-- The event that a name was probably meant to be; nil when it is one, or like none.
local function suggest(name)
  if not known then
    known = {}
    for _, event in ipairs(core.events()) do known[bare(event)] = event end
  end
  local wanted = bare(name)
  if known[wanted] then return known[wanted] ~= name and known[wanted] or nil end
  for candidate, event in pairs(known) do
    if #wanted >= 8 and is_near(wanted, candidate, FAR) then return event end
  end
end

-- What may be absent, and is no mistake then.
local absent = { ca_file = true }

-- Judges a name that the object has not: a misspelt knob would else be an attempt to call nil.
function methods.__missing(name)
  if type(name) ~= "string" or absent[name] then return nil end
  local meant
  for candidate in pairs(methods) do
    local near = candidate:sub(1, 2) ~= "__" and is_near(name, candidate, FAR)
    if near and (not meant or candidate < meant) then meant = candidate end
  end
  error(("a sandbox has no '%s'%s"):format(name,
    meant and (", did you mean '%s'?"):format(meant) or ""), 3)
end

-- ---- Telling clients something ----------------------------------------------------------------

local texts = setmetatable({}, { __mode = "k" }) -- what sandbox.text made -> its bytes

--- Data for dispatch() as JSON text, which is sent as it stands: with fields of a type that nobody
--- expects, bytes that are no UTF-8, or no JSON at all.
function sandbox.text(json)
  check("text", "json", json, "string")
  local marked = setmetatable({}, { __name = "moongate.sandbox.text" })
  texts[marked] = json
  return marked
end

--- Sends an event to every session whose shard and intents want it, or into the replay of those
--- that are away. Returns the number of sessions. What Discord would tell as well is put around
--- what is given, which wins: discord:dispatch("MESSAGE_CREATE", { content = "ping" }) is a whole
--- message of discord.people[1] in the first channel of discord.guilds[1]. { exact = true } among
--- the target's fields leaves the data as it is. Without guild_id and known channel_id an event
--- counts as one of a guild or of a direct message, whichever a session hears; { dm = true } makes
--- it surely a direct one, { filter = false } sends it to everybody. A name that is nearly one of
--- Discord's is refused as misspelt, unless it goes to everybody.
function methods:dispatch(name, d, target)
  check("dispatch", "name", name, "string")
  local fields = type(target) == "table" and target or {}
  aim("dispatch", target)
  local meant = fields.filter ~= false and suggest(name)
  if meant then
    error(("dispatch: name: '%s' is no event; did you mean %s?"):format(name, meant), 2)
  end
  local as_text = texts[d]
  if as_text then d = nil end
  return core.dispatch(self, name, d, target, fields.filter == false, fields.dm == true, as_text,
    fields.exact == true)
end

--- Op 7.
function methods:reconnect(target)
  return core.order(self, "reconnect", aim("reconnect", target))
end

--- Op 9. Without `resumable` the session ends.
function methods:invalid_session(resumable, target)
  check("invalid_session", "resumable", resumable, "boolean", true)
  return core.order(self, "invalid_session", aim("invalid_session", target), resumable == true)
end

--- Op 1: asks for a heartbeat, { count = 50 } among the target's fields for so many at once.
function methods:heartbeat(target)
  local count = type(target) == "table" and target.count or 1
  return core.order(self, "heartbeat", aim("heartbeat", target), nil, math.tointeger(count))
end

--- One gateway message as JSON text, whatever it says, through encoding and compression.
function methods:send_payload(payload, target)
  check("send_payload", "payload", payload, "string")
  return core.order(self, "send_payload", aim("send_payload", target), nil, nil, payload)
end

--- A WebSocket frame as it is: text, or { bytes, opcode = 1, fin = true, rsv = 0 }; with
--- frame = false not even a frame, but bytes.
function methods:send_raw(frame, target)
  if type(frame) == "string" then frame = { frame } end
  check("send_raw", "frame", frame, "table")
  check("send_raw", "frame[1]", frame[1], "string")
  local first = frame.fin == false and 0 or 0x80
  first = first | check_integer("send_raw", "opcode", frame.opcode or 1, 0, 15)
  first = first | check_integer("send_raw", "rsv", frame.rsv or 0, 0, 7) << 4
  if frame.frame == false then first = -1 end
  return core.order(self, "send_raw", aim("send_raw", target), nil, first, frame[1])
end

-- ---- Ending connections -----------------------------------------------------------------------

--- Ends connections without a close frame, with a TCP reset, or with a plain end when the target's
--- fields say { reset = false }. Returns when it has happened. Sessions can be resumed.
function methods:drop(target)
  local reset = not (type(target) == "table" and target.reset == false)
  return core.order(self, "drop", aim("drop", target), reset)
end

--- Sends a close frame; without a code an empty one. Codes like 4009 end the session, others do
--- not.
function methods:close(code, reason, target)
  if code ~= nil then code = check_integer("close", "code", code, 0, 65535) end
  check("close", "reason", reason, "string", true)
  return core.order(self, "close", aim("close", target), nil, code or -1, reason)
end

-- ---- Misbehaving ------------------------------------------------------------------------------
-- Without a target these are for connections to come as well.

--- No answer to heartbeats (on = true, the default).
function methods:withhold_acks(on, target)
  return core.order(self, "withhold_acks", aim("withhold_acks", target),
    switch("withhold_acks", on))
end

--- The connections stay, but nothing is read from or written to them any more.
function methods:half_open(on, target)
  return core.order(self, "half_open", aim("half_open", target), switch("half_open", on))
end

local stalls = { accept = 1, upgrade = 2, hello = 4, ready = 8, resumed = 16, close = 32,
  tls = 64, guilds = 128 }

--- Does not do the next step: "accept", "tls" (the handshake), "upgrade", "hello", "ready",
--- "guilds" (the GUILD_CREATEs behind READY), "resumed" or "close". With on = false what was held
--- up goes on.
function methods:stall(phase, on, target)
  local bit = stalls[phase]
  if not bit then
    error(("stall: phase: '%s' is none of accept, tls, upgrade, hello, ready, guilds, resumed, "
      .. "close"):format(tostring(phase)), 2)
  end
  return core.order(self, "stall", aim("stall", target), switch("stall", on), bit)
end

local phases = { hello = true, ready = true, resumed = true, ack = true }
local deeds = { payload = true, close = true, drop = true, invalid_session = true }

local function read_deed(what)
  local deed
  for key in pairs(what) do
    if deeds[key] then
      if deed then error("instead: what: one of payload, close, drop, invalid_session", 3) end
      deed = key
    elseif key ~= "times" and key ~= "reason" and key ~= "reset" then
      error("instead: what: unknown key '" .. tostring(key) .. "'", 3)
    end
  end
  if deed then return deed end
  error("instead: what: one of payload, close, drop, invalid_session expected", 3)
end

--- In place of a step, the next time it is due on any connection: "hello", "ready" (an Identify has
--- passed all checks), "resumed" (a Resume has; nothing is replayed) or "ack". What is done: JSON
--- text that is sent, or a table with one of payload (a table or text), close (a code, 0 for an
--- empty frame; with reason), drop = true (with reset = false a plain end), invalid_session
--- (resumable or not); times = 2: so often, 0: for ever.
function methods:instead(phase, what)
  if not phases[phase] then
    error(("instead: phase: '%s' is none of hello, ready, resumed, ack"):format(tostring(phase)), 2)
  end
  if type(what) == "string" then what = { payload = what } end
  check("instead", "what", what, "table")
  local deed = read_deed(what)
  local said, code, on = what.reason or "", 0, what.reset ~= false
  if deed == "payload" then
    said = type(what.payload) == "table" and assert(core.encode(what.payload)) or what.payload
    check("instead", "payload", said, "string")
  elseif deed == "close" then
    code = check_integer("instead", "close", what.close, 0, 65535)
    check("instead", "reason", said, "string")
  elseif deed == "invalid_session" then
    on = check("instead", "invalid_session", what.invalid_session, "boolean")
  end
  local times = check_integer("instead", "times", what.times or 1, 0, BYTES_MAX)
  return core.instead(self, phase, deed, on, code, times, said)
end

--- Cuts every WebSocket message into frames of that many bytes, or { least, most } as the seed
--- draws them; 0: no more.
function methods:split(bytes, target)
  local least, most = check_sizes("split", bytes)
  return core.order(self, "split", aim("split", target), nil, least, nil, nil, most)
end

--- Cuts every compressed message into WebSocket messages of that many bytes, in the same way.
function methods:split_messages(bytes, target)
  local least, most = check_sizes("split_messages", bytes)
  return core.order(self, "split_messages", aim("split_messages", target), nil, least, nil, nil,
    most)
end

--- Masks every frame, as only a client may.
function methods:mask(on, target)
  return core.order(self, "mask", aim("mask", target), switch("mask", on))
end

--- Writes that many bytes every `seconds`; 0: all at once again.
function methods:trickle(bytes, seconds, target)
  bytes = check_integer("trickle", "bytes", bytes, 0, BYTES_MAX)
  check("trickle", "seconds", seconds, "number", true)
  local pause_ms = math.max(1, math.ceil((seconds or 0.001) * 1000))
  return core.order(self, "trickle", aim("trickle", target), nil, bytes, nil, pause_ms)
end

--- Ends a connection (without a close frame) behind that many bytes more: those of the target, or
--- without one the next that comes, counted from the first byte of its answer; 0: no more. With
--- { reset = true } among the target's fields TCP is reset.
function methods:cut(bytes, target)
  bytes = check_integer("cut", "bytes", bytes, 0, BYTES_MAX)
  local reset = type(target) == "table" and target.reset == true
  return core.order(self, "cut", aim("cut", target), reset, bytes)
end

--- Flips one bit in each of the next messages (one, unless told otherwise).
function methods:corrupt(messages, target)
  messages = check_integer("corrupt", "messages", messages or 1, 1, BYTES_MAX)
  return core.order(self, "corrupt", aim("corrupt", target), nil, messages)
end

--- Compresses the next messages as usual and throws them away.
function methods:swallow(messages, target)
  messages = check_integer("swallow", "messages", messages or 1, 1, BYTES_MAX)
  return core.order(self, "swallow", aim("swallow", target), nil, messages)
end

--- Sends each of the next messages twice, with the same sequence number.
function methods:stutter(messages, target)
  messages = check_integer("stutter", "messages", messages or 1, 1, BYTES_MAX)
  return core.order(self, "stutter", aim("stutter", target), nil, messages)
end

--- Whether the host that READY names for resumes lives: false refuses every connection to it, true
--- listens again. Wants the option resume_host; returns when it is so.
function methods:resume_host(alive)
  if self.resume_port == self.port then
    error("resume_host: the option resume_host gives resumes a host of their own; it is not set", 2)
  end
  return core.order(self, "resume_host", nil, switch("resume_host", alive))
end

--- Enforces the limits (on = true, the default) or not, from now on; see the option of that name.
function methods:enforce_limits(on)
  return core.order(self, "enforce_limits", nil, switch("enforce_limits", on))
end

--- Sets the server's wall clock so many seconds ahead of this machine's (or behind): Date headers
--- and the times of voice sessions.
function methods:set_clock(seconds)
  check("set_clock", "seconds", seconds, "number")
  return core.order(self, "set_clock", nil, nil, math.floor(seconds * 1000))
end

local answer_keys = { path = "string", method = "string", status = "number", headers = "table",
  times = "number", delay = "number", body = true, drop = "boolean" }

local function header_lines(headers)
  local lines = {}
  for name, value in pairs(headers) do
    value = tostring(value)
    if type(name) ~= "string" or not name:match "^[%w-]+$" or value:find "%c" then
      error("respond: headers: names and values of one line expected", 3)
    end
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
  end
  table.sort(lines)
  return table.concat(lines)
end

--- Answers requests to a path (without /api/vN; "/" is the WebSocket) in its own way:
--- { path =, method =, status =, headers = {}, body = text or table, times = 1, delay = seconds }.
--- times = 0: for ever. drop = true: no answer but a reset.
function methods:respond(answer)
  check("respond", "answer", answer, "table")
  for key, value in pairs(answer) do
    local wanted = answer_keys[key]
    if not wanted then error("respond: unknown field '" .. tostring(key) .. "'", 2) end
    if wanted ~= true then check("respond", key, value, wanted) end
  end
  check("respond", "path", answer.path, "string")
  local body, status = answer.body, answer.status or 200
  if type(body) == "table" then body = assert(core.encode(body)) end
  if body == nil then body = "{}" end
  check("respond", "body", body, "string")
  status = check_integer("respond", "status", status, 100, 999)
  return core.respond(self, {
    path = answer.path, method = answer.method, body = body, status = answer.drop and 0 or status,
    headers = header_lines(answer.headers or {}),
    times = check_integer("respond", "times", answer.times or 1, 0, BYTES_MAX),
    delay = answer.delay or 0,
  })
end

-- ---- Looking ----------------------------------------------------------------------------------

--- The WebSockets that are open, in the order of their ids: id, state ("open", "ready", "closing"),
--- session, shard, shard_count, seq, version, encoding, compress, path, query, beats, packets,
--- messages_out, bytes_out, unsent, close_sent, close_received, opened_ms.
function methods:connections()
  return core.list(self, "connections")
end

--- Those that are closed, in the order of their ends, with the same fields; close_received is the
--- client's code, 1005 without one, 1006 without a close frame.
function methods:history()
  return core.list(self, "history")
end

--- Sessions that live: id, connection (absent while away), shard, shard_count, intents, seq,
--- replayable (events), replayable_from (seq), expires_in_ms (while away).
function methods:sessions()
  return core.list(self, "sessions")
end

--- What clients have sent: { op, name, d, at_ms, connection, session, bytes }, all or one opcode's.
--- The second result is how many older ones are gone.
function methods:received(op)
  return core.list(self, "received", read_op("received", op))
end

--- HTTP requests: { at_ms, method, path, target, status, authorized, user_agent, body }.
function methods:requests(wanted)
  check("requests", "path", wanted, "string", true)
  local all, lost, code = core.list(self, "requests")
  if not all or not wanted then return all, lost, code end
  local some = {}
  for _, request in ipairs(all) do
    if request.path == wanted then some[#some + 1] = request end
  end
  return some, lost
end

--- What happened, one line each: { at_ms, connection, what, text }. Never the token. The second
--- result is how many older lines are gone. discord:log(number) are the lines behind the one of
--- that number, and the number of the last.
function methods:log(after)
  if after == nil then return core.list(self, "log") end
  return core.log_after(self, check_integer("log", "after", after, 0, math.maxinteger))
end

local watchers = setmetatable({}, { __mode = "k" }) -- sandbox -> { fn, number of the last line }

-- Calls the watcher with what is new. One that raises is not called again.
local function tell_watcher(self)
  local watcher = watchers[self]
  if not watcher then return end
  local lines, last = core.log_after(self, watcher.seen)
  if not lines then return end
  watcher.seen, watchers[self] = last, nil
  for _, line in ipairs(lines) do watcher.fn(line) end
  if watchers[self] == nil then watchers[self] = watcher end
end

--- Calls fn(line) for each line of the log from now on, on this thread and whenever it waits in one
--- of the methods below. nil: no more.
function methods:watch(fn)
  if fn == nil then
    watchers[self] = nil
    return true
  end
  check("watch", "fn", fn, "function")
  local lines, last, code = core.log_after(self, math.maxinteger)
  if not lines then return nil, last, code end
  watchers[self] = { fn = fn, seen = last }
  return true
end

--- Forgets what was received, requested and logged, and closed connections.
function methods:forget()
  return core.forget(self)
end

-- ---- Waiting ----------------------------------------------------------------------------------

--- Blocks this thread, not the server, until check() is true; nil, message, "ETIMEOUT" after
--- `timeout` seconds (5). Looks again whenever something happened.
function methods:wait_until(is_so, timeout, what)
  check("wait_until", "check", is_so, "function")
  timeout = check("wait_until", "timeout", timeout, "number", true) or 5
  local seen, now, code = core.wait(self)
  if not seen then return nil, now, code end
  local until_s = now + timeout
  while seen do
    tell_watcher(self)
    local found = is_so()
    if found then return found end
    if now >= until_s then
      return nil, ("wait: %s did not happen in %g s"):format(what or "it", timeout), "ETIMEOUT"
    end
    seen, now = core.wait(self, seen, math.min(until_s - now, SLICE_S))
  end
  return nil, now, code
end

--- Seconds of the monotonic clock that every at_ms is of.
function methods:clock()
  local seen, now, code = core.wait(self)
  if not seen then return nil, now, code end
  return now
end

--- Lets that many seconds pass.
function methods:wait(seconds)
  check("wait", "seconds", seconds, "number")
  local _, why, code = self:wait_until(function() return false end, seconds, "nothing")
  if code == "ETIMEOUT" then return true end
  return nil, why, code
end

--- Waits until `count` (1) packets with that opcode were received. Returns all of them, or nil,
--- message, code. Options: timeout (5 s), count.
function methods:wait_received(op, given)
  check("wait_received", "options", given, "table", true)
  local tag, wanted = read_op("wait_received", op), given and given.count or 1
  local enough, why, code = self:wait_until(function()
    return core.count(self, "received", tag) >= wanted
  end, given and given.timeout, ("%d packets %s"):format(wanted, tostring(op or "of any kind")))
  if not enough then return nil, why, code end
  return self:received(op)
end

--- Waits until that many WebSockets are open. Returns connections().
function methods:wait_for_connections(count, timeout)
  count = check_integer("wait_for_connections", "count", count or 1, 0, BYTES_MAX)
  local enough, why, code = self:wait_until(function()
    return core.count(self, "connections", 0) == count
  end, timeout, count .. " connections")
  if not enough then return nil, why, code end
  return self:connections()
end

--- Waits until that many connections have a session. Returns connections().
function methods:wait_for_ready(count, timeout)
  count = check_integer("wait_for_ready", "count", count or 1, 0, BYTES_MAX)
  local enough, why, code = self:wait_until(function()
    return core.count(self, "connections", 1) == count
  end, timeout, count .. " ready connections")
  if not enough then return nil, why, code end
  return self:connections()
end

--- Ends the server: clients get 1001, everything is closed, the certificate's file removed.
function methods:stop()
  return core.stop(self)
end

return sandbox

-- sandbox.lua: `require "moongate.sandbox"`, a gateway of one's own on loopback, for tests and
-- demos. Required by programs and specs, by nothing else of moongate; needs of moongate only
-- spelling.lua and its own C module, whose server has a thread of its own and answers while Lua is
-- busy or blocked.
--
--   local sandbox = require "moongate.sandbox"
--   local discord = sandbox.start { guilds = 2, tls = true }
--   ... point a client at discord.api with discord.token (and discord.ca_file) ...
--   discord:dispatch("MESSAGE_CREATE", { content = "ping", channel_id = "1" })
--   discord:drop()
--   discord:stop()
--
-- What it can do wrong is in sandbox/knobs.lua, what it can be started with in sandbox/options.lua.
--
-- Readable: api, url, token, port, ca_file (with TLS), user, guilds, people. Every method returns
-- what it is said to, or nil, message, code. Orders take a target as their last argument: nothing
-- for all connections, the id of one, or a table: one of connections() or sessions(), or
-- { connection =, shard =, session = }. They return how many connections they reached.

local arguments = require "moongate.sandbox.arguments"
local core = require "moongate.sandbox.core"
local knobs = require "moongate.sandbox.knobs"
local options = require "moongate.sandbox.options"

local sandbox = { null = core.null, array = core.array, options = options.list }
local methods = core.methods

local aim, check, check_integer = arguments.aim, arguments.check, arguments.check_integer
local check_seconds = arguments.check_seconds
local BYTES_MAX = arguments.BYTES_MAX

local SLICE_S = 0.1 -- of a wait, so that Ctrl-C is heard

-- ---- Starting -----------------------------------------------------------------------------------

--- Starts a server on 127.0.0.1. Returns it, or nil, message, code. Wrong options raise.
function sandbox.start(given)
  given = given or {}
  if type(given) ~= "table" then
    error("start: options: table expected, got " .. type(given), 2)
  end
  local all, mistakes = options.read(given)
  if not all then error("start: " .. mistakes, 2) end
  local starts = all.session_start_limit
  all.starts_total, all.starts_remaining = starts.total, starts.remaining
  all.starts_reset_ms = starts.reset_after
  all.clock_skew_ms = math.floor(all.clock_skew * 1000)
  all.time_ms = math.floor(all.time * 1000)
  all.user_json, all.user_id, all.username = all.user.json, all.user.id, all.user.username
  local fields = { token = all.token, user = all.user.values }
  local discord, why, code = core.start(all, fields)
  if not discord then return nil, why, code end
  local secure, address = all.tls and "s" or "", "://127.0.0.1:" .. fields.port
  fields.api, fields.url = "http" .. secure .. address .. "/api", "ws" .. secure .. address
  fields.guilds, fields.people = core.list(discord, "guilds"), core.list(discord, "people")
  return discord
end

-- What may be absent, and is no mistake then.
local absent = { ca_file = true }

-- Judges a name that the object has not: a misspelt knob would else be an attempt to call nil.
function methods.__missing(name)
  if type(name) ~= "string" or absent[name] then return nil end
  error(("a sandbox has no '%s'%s"):format(name, arguments.hint(name, methods)), 3)
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
--- message of discord.people[1] in the first channel of discord.guilds[1]. Without guild_id and
--- known channel_id it is one of a guild or a direct one, whichever a session hears; { dm = true }
--- makes it surely a direct one. What a message of somebody says in a guild is there for sessions
--- with the intent MESSAGE_CONTENT, or where the bot is mentioned. { exact = true } among the
--- target's fields leaves the data as it is: without guild_id it is a direct one, as with Discord.
--- { filter = false } sends it to everybody. A name that is nearly one of Discord's is refused as
--- misspelt, unless it goes to everybody.
function methods:dispatch(name, d, target)
  check("dispatch", "name", name, "string")
  local fields = type(target) == "table" and target or {}
  aim("dispatch", target)
  local meant = fields.filter ~= false and arguments.suggest(name)
  if meant then
    error(("dispatch: name: '%s' is no event; did you mean %s?"):format(name, meant), 2)
  end
  local as_text = texts[d]
  if as_text then d = nil end
  local count, why, code = core.dispatch(self, name, d, target, fields.filter == false,
    fields.dm == true, as_text, fields.exact == true)
  if code == "EVALUE" then error(why, 2) end
  return count, why, code
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

-- ---- Looking ----------------------------------------------------------------------------------

--- The WebSockets that are open, in the order of their ids: id, open (true), state ("open",
--- "ready", "closing"), session, shard, shard_count, seq, version, encoding, compress, path, query,
--- beats, packets, messages_out, bytes_out, unsent, tls_resumed, close_sent, close_received,
--- close_reason, opened_ms.
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
  return core.list(self, "received", arguments.read_op("received", op))
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

local PATIENCE_S = 5 -- unless a timeout says otherwise

-- Looks again whenever something happened. What is_so() found, or nil, message, code.
local function wait_until(self, is_so, timeout, what)
  local seen, now, code = core.wait(self)
  if not seen then return nil, now, code end
  local until_s = now + (timeout or PATIENCE_S)
  while seen do
    tell_watcher(self)
    local found = is_so()
    if found then return found end
    if now >= until_s then
      return nil, ("wait: %s did not happen in %g s"):format(what, timeout or PATIENCE_S),
        "ETIMEOUT"
    end
    seen, now = core.wait(self, seen, math.min(until_s - now, SLICE_S))
  end
  return nil, now, code
end

--- Blocks this thread, not the server, until check() is true; nil, message, "ETIMEOUT" after
--- `timeout` seconds (5). Looks again whenever something happened.
function methods:wait_until(is_so, timeout, what)
  check("wait_until", "check", is_so, "function")
  check_seconds("wait_until", "timeout", timeout, true)
  check("wait_until", "what", what, "string", true)
  return wait_until(self, is_so, timeout, what or "it")
end

--- Seconds of the monotonic clock that every at_ms is of.
function methods:clock()
  local seen, now, code = core.wait(self)
  if not seen then return nil, now, code end
  return now
end

--- Lets that many seconds pass.
function methods:wait(seconds)
  check_seconds("wait", "seconds", seconds)
  local _, why, code = wait_until(self, function() return false end, seconds, "nothing")
  if code == "ETIMEOUT" then return true end
  return nil, why, code
end

--- Waits until `count` (1) packets with that opcode were received. Returns all of them, or nil,
--- message, code. Options: timeout (5 s), count.
function methods:wait_received(op, given)
  given = check("wait_received", "options", given, "table", true) or {}
  local tag = arguments.read_op("wait_received", op)
  local wanted = check_integer("wait_received", "count", given.count or 1, 0, BYTES_MAX)
  check_seconds("wait_received", "timeout", given.timeout, true)
  local enough, why, code = wait_until(self, function()
    return core.count(self, "received", tag) >= wanted
  end, given.timeout, ("%d packets %s"):format(wanted, tostring(op or "of any kind")))
  if not enough then return nil, why, code end
  return self:received(op)
end

-- Until so many connections are there; `tag` 1: with a session.
local function wait_for(self, tag, count, timeout)
  local words = tag == 1 and " ready connections" or " connections"
  local enough, why, code = wait_until(self, function()
    return core.count(self, "connections", tag) == count
  end, timeout, count .. words)
  if not enough then return nil, why, code end
  return self:connections()
end

--- Waits until that many WebSockets are open. Returns connections().
function methods:wait_for_connections(count, timeout)
  count = check_integer("wait_for_connections", "count", count or 1, 0, BYTES_MAX)
  return wait_for(self, 0, count, check_seconds("wait_for_connections", "timeout", timeout, true))
end

--- Waits until that many connections have a session. Returns connections().
function methods:wait_for_ready(count, timeout)
  count = check_integer("wait_for_ready", "count", count or 1, 0, BYTES_MAX)
  return wait_for(self, 1, count, check_seconds("wait_for_ready", "timeout", timeout, true))
end

--- Ends the server: clients get 1001, everything is closed, the certificate's file removed.
function methods:stop()
  return core.stop(self)
end

-- ---- The object ---------------------------------------------------------------------------------

for name, knob in pairs(knobs) do methods[name] = knob end

-- Each method is called on a sandbox; what is not one is told by the method's own name.
for name, method in pairs(methods) do
  if name ~= "__missing" then
    methods[name] = function(self, ...)
      if not core.is_sandbox(self) then
        error(("%s: a sandbox expected, got %s; is it called as discord:%s()?"):format(name,
          type(self), name), 2)
      end
      return method(self, ...)
    end
  end
end

return sandbox

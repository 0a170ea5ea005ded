-- sandbox/knobs.lua: how a sandbox misbehaves on demand: its methods that turn a knob, or make the
-- next step another one. Required by sandbox.lua, which lends them to its objects.

local arguments = require "moongate.sandbox.arguments"
local core = require "moongate.sandbox.core"

local knobs = {}

local aim, check, check_integer = arguments.aim, arguments.check, arguments.check_integer
local check_sizes, switch = arguments.check_sizes, arguments.switch

-- ---- Misbehaving ------------------------------------------------------------------------------
-- Without a target these are for connections to come as well.

--- No answer to heartbeats (on = true, the default).
function knobs:withhold_acks(on, target)
  return core.order(self, "withhold_acks", aim("withhold_acks", target),
    switch("withhold_acks", on))
end

--- The connections stay, but nothing is read from or written to them any more.
function knobs:half_open(on, target)
  return core.order(self, "half_open", aim("half_open", target), switch("half_open", on))
end

local stalls = { accept = 1, upgrade = 2, hello = 4, ready = 8, resumed = 16, close = 32,
  tls = 64, guilds = 128 }

--- Does not do the next step: "accept", "tls" (the handshake), "upgrade", "hello", "ready",
--- "guilds" (the GUILD_CREATEs behind READY), "resumed" or "close". With on = false what was held
--- up goes on.
function knobs:stall(phase, on, target)
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
function knobs:instead(phase, what)
  if not phases[phase] then
    error(("instead: phase: '%s' is none of hello, ready, resumed, ack"):format(tostring(phase)), 2)
  end
  if type(what) == "string" then what = { payload = what } end
  check("instead", "what", what, "table")
  local deed = read_deed(what)
  local said, code, on = what.reason or "", 0, what.reset ~= false
  if deed == "payload" then
    said = what.payload
    if type(said) == "table" then said = arguments.encode("instead", "payload", said) end
    check("instead", "payload", said, "string")
  elseif deed == "close" then
    code = check_integer("instead", "close", what.close, 0, 65535)
    check("instead", "reason", said, "string")
  elseif deed == "invalid_session" then
    on = check("instead", "invalid_session", what.invalid_session, "boolean")
  end
  local times = check_integer("instead", "times", what.times or 1, 0, arguments.BYTES_MAX)
  return core.instead(self, phase, deed, on, code, times, said)
end

--- Cuts every WebSocket message into frames of that many bytes, or { least, most } as the seed
--- draws them; 0: no more.
function knobs:split(bytes, target)
  local least, most = check_sizes("split", bytes)
  return core.order(self, "split", aim("split", target), nil, least, nil, nil, most)
end

--- Cuts every compressed message into WebSocket messages of that many bytes, in the same way.
function knobs:split_messages(bytes, target)
  local least, most = check_sizes("split_messages", bytes)
  return core.order(self, "split_messages", aim("split_messages", target), nil, least, nil, nil,
    most)
end

--- Masks every frame, as only a client may.
function knobs:mask(on, target)
  return core.order(self, "mask", aim("mask", target), switch("mask", on))
end

--- Writes that many bytes every `seconds`; 0: all at once again.
function knobs:trickle(bytes, seconds, target)
  bytes = check_integer("trickle", "bytes", bytes, 0, arguments.BYTES_MAX)
  seconds = arguments.check_seconds("trickle", "seconds", seconds, true)
  local pause_ms = math.max(1, math.ceil((seconds or 0.001) * 1000))
  return core.order(self, "trickle", aim("trickle", target), nil, bytes, nil, pause_ms)
end

--- Ends a connection (without a close frame) behind that many bytes more: those of the target, or
--- without one the next that comes, counted from the first byte of its answer; 0: no more. With
--- { reset = true } among the target's fields TCP is reset.
function knobs:cut(bytes, target)
  bytes = check_integer("cut", "bytes", bytes, 0, arguments.BYTES_MAX)
  local reset = type(target) == "table" and target.reset == true
  return core.order(self, "cut", aim("cut", target), reset, bytes)
end

--- Flips one bit in each of the next messages (one, unless told otherwise).
function knobs:corrupt(messages, target)
  messages = check_integer("corrupt", "messages", messages or 1, 1, arguments.BYTES_MAX)
  return core.order(self, "corrupt", aim("corrupt", target), nil, messages)
end

--- Compresses the next messages as usual and throws them away.
function knobs:swallow(messages, target)
  messages = check_integer("swallow", "messages", messages or 1, 1, arguments.BYTES_MAX)
  return core.order(self, "swallow", aim("swallow", target), nil, messages)
end

--- Sends each of the next messages twice, with the same sequence number.
function knobs:stutter(messages, target)
  messages = check_integer("stutter", "messages", messages or 1, 1, arguments.BYTES_MAX)
  return core.order(self, "stutter", aim("stutter", target), nil, messages)
end

--- Whether the host that READY names for resumes lives: false refuses every connection to it, true
--- listens again. Wants the option resume_host; returns when it is so.
function knobs:resume_host(alive)
  if self.resume_port == self.port then
    error("resume_host: the option resume_host gives resumes a host of their own; it is not set", 2)
  end
  return core.order(self, "resume_host", nil, switch("resume_host", alive))
end

--- Enforces the limits (on = true, the default) or not, from now on; see the option of that name.
function knobs:enforce_limits(on)
  return core.order(self, "enforce_limits", nil, switch("enforce_limits", on))
end

--- Sets the server's wall clock so many seconds ahead of this machine's (or behind): Date headers
--- and the times of voice sessions.
function knobs:set_clock(seconds)
  arguments.check_seconds("set_clock", "seconds", seconds)
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
function knobs:respond(answer)
  check("respond", "answer", answer, "table")
  for key, value in pairs(answer) do
    local wanted = answer_keys[key]
    if not wanted then error("respond: unknown field '" .. tostring(key) .. "'", 2) end
    if wanted ~= true then check("respond", key, value, wanted) end
  end
  check("respond", "path", answer.path, "string")
  local body, status = answer.body, answer.status or 200
  if type(body) == "table" then body = arguments.encode("respond", "body", body) end
  if body == nil then body = "{}" end
  check("respond", "body", body, "string")
  status = check_integer("respond", "status", status, 100, 999)
  return core.respond(self, {
    path = answer.path, method = answer.method, body = body, status = answer.drop and 0 or status,
    headers = header_lines(answer.headers or {}),
    times = check_integer("respond", "times", answer.times or 1, 0, arguments.BYTES_MAX),
    delay = answer.delay or 0,
  })
end

return knobs

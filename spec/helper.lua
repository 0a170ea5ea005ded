-- helper.lua - what specs share: a driver of the pure machine on a fake clock, the player of
-- transcripts, and the cutters that feed a dialogue whole, byte by byte, and cut anywhere.
-- Named in .busted; specs get it by `require "helper"`.

local helper = {}
package.loaded.helper = helper

local function core() return require "moongate.core" end
local function unit() return require "moongate_unit" end
local function twin(text) return require "twin" (text) end

helper.HELLO = '{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'
helper.ACK = '{"op":11}'

--- The READY of a made-up session.
function helper.ready(session, seq, resume_url)
  return ('{"t":"READY","s":%d,"op":0,"d":{"v":10,"user":{"id":"1"},"guilds":[],' ..
    '"session_id":"%s","resume_gateway_url":"%s"}}'):format(
    seq or 1, session or "s1", resume_url or "wss://resume.test")
end

--- A dispatch as the gateway writes it.
function helper.dispatch(name, seq, d)
  return ('{"t":"%s","s":%s,"op":0,"d":%s}'):format(name, seq or "null", d or "{}")
end

-- ---- The driver ------------------------------------------------------------------------------

local driver = {}
driver.__index = driver

--- A machine with a clock. Options are those of core.machine over these defaults.
function helper.drive(options)
  local all = {
    token = "TOKEN.of.tests", url = "wss://gateway.test", intents = 513, seed = 7,
    shard_id = 0, shard_count = 1, compress = false,
  }
  for key, value in pairs(options or {}) do all[key] = value end
  local self = setmetatable({ now = 0, options = all, connection = 0 }, driver)
  self.machine = assert(core().machine(all))
  self.machine:interest({}, { all = true })
  return self
end

-- What this machine's encoding says, as JSON.
local function json_of(self, bytes)
  if self.options.encoding ~= "etf" then return bytes end
  return assert(unit().etf.rewrite(bytes, 0, nil, "json"))
end

-- Own events are JSON whatever is spoken, but for those that show a packet.
local function text_of(self, event)
  local packet = not event.own or event.name == "send" or event.name == "receive"
  return packet and event.raw ~= "" and json_of(self, event.raw) or event.raw
end

local function actions_of(self)
  local list = {}
  for action in function() return self.machine:next() end do
    if action.type == "connect" then
      self.connection = action.connection
      self.deflate, self.identified = nil, nil
    end
    if action.type == "send" then
      action.text = json_of(self, action.bytes)
      action.packet = assert(core().decode(action.text, { null = "keep" }))
      local op = type(action.packet) == "table" and action.packet.op
      if op == 2 or op == 6 then self.identified = true end
    end
    if action.event then action.event.text = text_of(self, action.event) end
    list[#list + 1] = action
  end
  return list
end

--- Calls an input of the machine at the present time and returns the actions it asked for.
function driver:input(name, ...)
  self.result = table.pack(self.machine[name](self.machine, self.now, ...))
  return actions_of(self)
end

local function shift(list, more)
  for _, action in ipairs(more) do list[#list + 1] = action end
end

--- Feeds the bytes of WebSocket messages. `pieces` is a list of { bytes, final }; `binary` is the
-- type of their frames, by default what a connection of this compression has.
function driver:feed(pieces, binary)
  if binary == nil then binary = (self.options.compress or self.options.encoding == "etf")
    and true end
  local all = {}
  for _, piece in ipairs(pieces) do
    local bytes, more = piece[1], true
    while more do
      local used
      used, more = self.machine:feed(self.now, bytes, {
        connection = self.connection, final = piece[2], binary = binary,
      })
      assert(used, more)
      bytes = bytes:sub(used + 1)
      shift(all, actions_of(self))
    end
  end
  return all
end

--- What option `compress` can be, for specs that do the same with each.
helper.compressions = { false, "zlib-stream", "zstd-stream", "payload" }

--- What option `encoding` can be.
helper.encodings = { "json", "etf" }

--- Every encoding with every compression that it can have, as options of a machine.
helper.wires = {}
for _, compress in ipairs(helper.compressions) do
  table.insert(helper.wires, { encoding = "json", compress = compress })
  if compress ~= "payload" then
    table.insert(helper.wires, { encoding = "etf", compress = compress })
  end
end

--- One gateway message, given as JSON, as this connection's encoding and compression have it, and
-- whether in binary frames. Compression of payloads begins with Identify, and short ones stay plain
-- (which are is the gateway's choice).
function driver:encode(text)
  local kind, binary = self.options.compress, self.options.encoding == "etf"
  if binary then text = twin(text) end
  if not kind then return text, binary end
  if kind == "payload" and (not self.identified or #text < 20) then return text, binary end
  self.deflate = self.deflate or unit().deflate(nil, kind)
  return self.deflate:push(text), true
end

--- The peer sends these messages; `cut` (see helper.cuts) decides how they arrive.
function driver:receive(texts, cut)
  if type(texts) == "string" then texts = { texts } end
  local all = {}
  for _, text in ipairs(texts) do
    local bytes, binary = self:encode(text)
    shift(all, self:feed((cut or helper.whole)(bytes), binary))
  end
  return all
end

--- Moves the clock to the machine's deadline, or to `now`, and ticks.
function driver:tick(now)
  self.now = now or assert(self.machine:deadline(), "no deadline is armed")
  return self:input("tick")
end

--- Moves the clock by `ms`, ticking at every deadline on the way.
function driver:advance(ms)
  local all, target = {}, self.now + ms
  for _ = 1, 100000 do
    local deadline = self.machine:deadline()
    if not deadline or deadline > target then break end
    shift(all, self:tick(math.max(deadline, self.now)))
  end
  self.now = target
  return all
end

function driver:opened() return self:input("opened", self.connection) end

function driver:closed(why) return self:input("closed", self.connection, why or {}) end

--- Brings a fresh machine to a state by the shortest dialogue. Returns itself.
function driver:reach(state)
  local steps = {
    { "waiting", function() self:input("start") end },
    { "connecting", function() self:input("grant") end },
    { "hello", function() self:opened() end },
    { "identifying", function() self:receive(helper.HELLO) end },
    { "ready", function() self:receive(helper.ready()) end },
  }
  local function walk(last)
    for _, step in ipairs(steps) do
      step[2]()
      if step[1] == last then break end
    end
  end
  if state == "idle" then return self end
  if state == "backoff" then
    walk("connecting")
    self:closed { phase = "connect", error = "ECONNECT" }
  elseif state == "resuming" then
    walk("ready")
    self:closed()
    self:tick()
    self:opened()
    self:receive(helper.HELLO)
  elseif state == "closing" then
    walk("ready")
    self:receive '{"op":7,"d":null}'
  elseif state == "dead" then
    walk("hello")
    self:closed { code = 4004 }
  else
    walk(state)
  end
  assert(self.machine.state == state, "reached " .. self.machine.state .. ", not " .. state)
  return self
end

--- Resident bytes of this process; nil where that means nothing: without /proc, and under a
-- sanitizer, which keeps freed memory and has its own eye for leaks.
function helper.resident()
  if (os.getenv "LD_PRELOAD" or ""):find("san", 1, true) then return nil end
  local file = io.open "/proc/self/statm"
  if not file then return nil end
  local pages = file:read "a":match "^%d+ (%d+)"
  file:close()
  return tonumber(pages) * 4096
end

-- ---- Cuts ------------------------------------------------------------------------------------

--- A message in one piece.
function helper.whole(bytes) return { { bytes, true } } end

--- A message byte by byte.
function helper.bytewise(bytes)
  if bytes == "" then return helper.whole(bytes) end
  local pieces = {}
  for i = 1, #bytes do pieces[i] = { bytes:sub(i, i), i == #bytes } end
  return pieces
end

--- A message cut in two behind its nth byte (or not at all when it is shorter).
function helper.cut_at(n)
  return function(bytes)
    if n <= 0 or n >= #bytes then return helper.whole(bytes) end
    return { { bytes:sub(1, n), false }, { bytes:sub(n + 1), true } }
  end
end

-- ---- Actions as text -------------------------------------------------------------------------

local quiet = { connect = true, open = true, state = true, disconnect = true, close = true,
  send = true, receive = true }

--- One line an action; own events that merely accompany an action are left out unless `all`.
function helper.describe(actions, all)
  local lines = {}
  for _, action in ipairs(actions) do
    local line = action.type:gsub("_", " ")
    if action.type == "connect" then line = "connect " .. action.url end
    if action.type == "send" then line = "send " .. action.text end
    if action.type == "close" then line = "close " .. action.code end
    if action.type == "event" then
      local event = action.event
      line = not (event.own and quiet[event.name] and not all) and
        ("event %s %s"):format(event.name, event.text) or nil
    end
    lines[#lines + 1] = line
  end
  return lines
end

--- The actions of one type; for events, of one name.
function helper.pick(actions, type, name)
  local found = {}
  for _, action in ipairs(actions) do
    if action.type == type and (not name or action.event.name == name) then
      found[#found + 1] = action.event or action
    end
  end
  return found
end

-- ---- Transcripts -----------------------------------------------------------------------------

-- A transcript is a page of dialogue:
--
--   +20  < {"op":10,"d":{"heartbeat_interval":41250}}     what arrives, 20 ms after the line before
--          > send {"op":2                                 what must be asked for: a prefix
--   =    tick                                             at the machine's own deadline
--
-- Inputs: start, grant, opened, tick, `closed CODE`, `failed PHASE ERROR`, `send JSON`,
-- `stop CODE`, `reconnect CODE`, `leave`, `slept MS`, `pause`, `go on`, `< MESSAGE`. What is listed
-- under an input is all that it may ask for; events that merely accompany an action (connect, open,
-- state, close, disconnect) are left out. `$Q` in a URL stands for the query, `$C` in an Identify
-- for what asks for compressed payloads.

local inputs = {
  start = function(d) return d:input("start") end,
  grant = function(d) return d:input("grant") end,
  opened = function(d) return d:opened() end,
  tick = function(d) return d:tick(d.now) end,
  closed = function(d, code) return d:closed { code = tonumber(code) } end,
  failed = function(d, words)
    local phase, code = words:match "^(%a+) (%u+)$"
    return d:closed { phase = phase, error = code, code = 1006 }
  end,
  send = function(d, json) return d:input("send", json) end,
  stop = function(d, code) return d:input("stop", tonumber(code)) end,
  reconnect = function(d, code) return d:input("reconnect", tonumber(code)) end,
  leave = function(d) return d:input("leave", "event queue full") end,
  slept = function(d, ms) return d:input("slept", tonumber(ms)) end,
  pause = function(d) return d:input("pause", true) end,
  go = function(d) return d:input("pause", false) end,
  ["<"] = function(d, text, cut) return d:receive(text, cut) end,
}

local function parse(text)
  local steps = {}
  for line in text:gmatch "[^\n]+" do
    local time, verb, rest = line:match "^([+=]%d*)%s+(%S+)%s*(.-)%s*$"
    local wanted = line:match "^%s+>%s+(.-)%s*$"
    if time then
      steps[#steps + 1] = { line = line, time = time, verb = verb, rest = rest, wanted = {} }
    elseif wanted then
      local list = steps[#steps].wanted
      list[#list + 1] = wanted
    elseif not line:match "^%s*#" then
      error("transcript: cannot read the line: " .. line)
    end
  end
  return steps
end

-- What stands for each mark of a transcript.
local function marks_of(options)
  local query, compress = "/?v=10&encoding=" .. (options.encoding or "json"), options.compress
  if not compress then return { Q = query, C = "" } end
  if compress == "payload" then return { Q = query, C = '"compress":true,' } end
  return { Q = query .. "&compress=" .. compress, C = "" }
end

local function matches(line, wanted, marks)
  wanted = wanted:gsub("%$([QC])", marks)
  return line:sub(1, #wanted) == wanted
end

local function check(step, lines, marks)
  local ok = #lines == #step.wanted
  for i, wanted in ipairs(step.wanted) do
    ok = ok and lines[i] and matches(lines[i], wanted, marks)
  end
  if ok then return end
  error(("at '%s'\nwanted:\n  %s\ngot:\n  %s"):format(step.line,
    table.concat(step.wanted, "\n  "), table.concat(lines, "\n  ")), 0)
end

local function time_of(step, driven)
  local deadline = driven.machine:deadline()
  if step.time == "=" then return assert(deadline, "no deadline is armed at: " .. step.line) end
  local now = driven.now + tonumber(step.time:sub(2))
  if deadline and deadline < now then
    error(("the deadline at %d ms was passed before: %s"):format(deadline, step.line), 0)
  end
  return now
end

--- Plays a transcript. Returns everything that was asked for, as text, for comparing two runs.
function helper.play(text, options, cut)
  local driven = helper.drive(options)
  local marks = marks_of(driven.options)
  local said = {}
  for _, step in ipairs(parse(text)) do
    driven.now = time_of(step, driven)
    local input = assert(inputs[step.verb], "transcript: no such input: " .. step.line)
    local actions = input(driven, step.rest, cut)
    check(step, helper.describe(actions), marks)
    for _, line in ipairs(helper.describe(actions, true)) do
      said[#said + 1] = ("%d %s"):format(driven.now, line)
    end
  end
  return table.concat(said, "\n"), driven
end

--- The pages of spec/transcripts: a list of { name, text }.
function helper.transcripts()
  local found = {}
  local names = io.popen "ls spec/transcripts"
  for name in names:lines() do
    local file = assert(io.open("spec/transcripts/" .. name))
    found[#found + 1] = { name = name:gsub("%.txt$", ""), text = file:read "a" }
    file:close()
  end
  names:close()
  return found
end

return helper

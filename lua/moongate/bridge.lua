-- bridge.lua: the Lua end of one engine: the scheduler's source for it, and its HTTP requests.
-- Called by cluster.lua, which gets the events, and by gateway.lua, which asks over HTTP. On the
-- Lua thread, as everything in Lua.
--
-- The scheduler holds the source, the source holds the bridge weakly: a client that nobody refers
-- to any more is collected although it runs, and its engine then closes with the session kept.

local core = require "moongate.core"
local scheduler = require "moongate.scheduler"

local bridge = {}

-- What Discord asks of every client: DiscordBot (address, version).
local USER_AGENT = ("DiscordBot (moongate, %s)"):format(core._VERSION:match("%S+$"))
local failures = scheduler.failures
local REQUEST_SPARE_S = 5 -- beyond a request's own timeout, for its way through the queues

-- ---- The source --------------------------------------------------------------------------------

local Source = {}

local function bridge_of(source)
  local owner = source[1]
  if owner and owner.engine then return owner end
  scheduler.detach(source)
  return nil
end

function Source:fd()
  local owner = bridge_of(self)
  return owner and owner.engine:fd()
end

function Source:pump(limit)
  local owner = bridge_of(self)
  return owner and owner:pump(limit) or 0
end

function Source:timeout()
  local owner = self[1]
  return owner and owner.hooks.due_in and owner.hooks.due_in() or nil
end

local function weak_keys()
  return setmetatable({}, { __mode = "k" })
end

local source_meta = { __mode = "v", __index = Source }

-- ---- The bridge --------------------------------------------------------------------------------

local Bridge = {}
Bridge.__index = Bridge

-- The keys of the normalised options that an engine takes.
local ENGINE_KEYS = {
  "ca_file", "insecure_tls", "proxy", "user_agent", "queue_events", "queue_bytes", "null",
  "invalid_utf8", "identify_reserve",
}

--- Starts an engine with what `options` say about it. hooks, all of them optional: take(record,
-- name, shard_id, own, seq, now) gets each event but the HTTP answers, the record being valid until
-- it returns; `now` and what it returns is the time, where that is known. serve(engine, record,
-- most) takes some by itself; it returns how many, and the next one as engine:next() does, or false
-- where it did not ask for that. turn() is called before events are taken; due_in() says in how
-- many seconds the next turn is wanted. Returns nil, message, code when the engine cannot start.
function bridge.new(options, hooks)
  local wanted = { user_agent = USER_AGENT }
  for _, key in ipairs(ENGINE_KEYS) do
    if options[key] ~= nil then wanted[key] = options[key] end
  end
  wanted.coordinated = options.identify_coordinator ~= nil
  wanted.leave_when_full = options.when_full == "disconnect"
  if options.drop_events then
    wanted.drop_events = table.concat(options.drop_events, "\0") .. "\0"
  end
  local engine, message, code = core.engine(wanted)
  if not engine then return nil, message, code end
  local self = setmetatable({
    engine = engine,
    hooks = hooks or {},
    requests = {}, -- id -> waiter
    last_request = 0,
    waits = weak_keys(), -- waiter -> true: to be cancelled with the bridge
  }, Bridge)
  self.source = setmetatable({ self }, source_meta)
  scheduler.attach(self.source)
  return self
end

local function closed()
  return nil, "cancelled", "ECLOSED"
end

local function answer(self, record)
  local data = record:data()
  local waiter = type(data) == "table" and self.requests[data.id]
  if waiter then waiter:wake(data) end
end

local function serve_none(engine, record)
  return 0, engine:next(record)
end

--- Hands on at most `limit` events without waiting. Returns how many there were. Ends early when an
-- error waits to be raised, so that it comes right behind its event.
function Bridge:pump(limit)
  local engine, take, turn = self.engine, self.hooks.take, self.hooks.turn
  local handled, record, now = 0, nil, nil
  if turn then turn() end
  if not engine then return 0 end
  local serve = self.hooks.serve or serve_none
  while handled < limit and self.engine == engine do
    -- The record of the event before is done with, and used again.
    local served, event, name, shard_id, own, seq, large = serve(engine, record, limit - handled)
    record = event or nil
    handled = handled + served
    if event == nil then break end
    if served > 0 or large then now = nil end -- decoding it is not its listener's time
    if record then
      handled = handled + 1
      if own and name == "http" then
        now = answer(self, record)
      elseif take then
        now = take(record, name, shard_id, own, seq, now)
      end
    end
    if failures[1] and scheduler.failing() then break end
  end
  if record then record:done() end
  return handled
end

--- Sends an HTTP request { url, method, authorization, content_type, body, timeout } and waits,
-- at most `timeout` seconds. Returns { status, body, headers }, or nil, message, code.
function Bridge:request(request)
  if not self.engine then return closed() end
  local timeout_s = request.timeout
  local id = self.last_request + 1
  self.last_request = id
  local accepted, message, code = self.engine:request {
    id = id,
    url = request.url,
    method = request.method or "GET",
    authorization = request.authorization,
    content_type = request.content_type,
    body = request.body,
    timeout_ms = math.ceil(timeout_s * 1000),
  }
  if not accepted then return nil, message, code end
  local waiter = scheduler.waiter()
  self.requests[id] = waiter
  function waiter.finally() self.requests[id] = nil end
  local data, why, why_code = waiter:wait(timeout_s + REQUEST_SPARE_S)
  if not data then return nil, "request: " .. tostring(why), why_code or "ETIMEOUT" end
  if data.error then return nil, data.message or data.error, data.error end
  return data
end

--- Waits on a waiter as long as the bridge is open; returns what it returns.
function Bridge:wait(waiter, timeout_s)
  if not self.engine then return closed() end
  self.waits[waiter] = true
  return waiter:wait(timeout_s)
end

--- Waits so many seconds. True, or nil, message, code when the bridge was closed meanwhile.
function Bridge:pause(seconds)
  local _, message, code = self:wait(scheduler.waiter(), seconds)
  if code then return nil, message, code end
  return true
end

--- max_concurrency, told where it is news.
function Bridge:concurrency(number)
  if not self.engine or number == self.known_concurrency then return end
  if self.engine:concurrency(number) then self.known_concurrency = number end
end

--- Takes no events until uncork(): they wait in the engine, within its bounds.
function Bridge:cork()
  scheduler.detach(self.source)
end

function Bridge:uncork()
  if self.engine then scheduler.attach(self.source) end
end

--- Lets an ear hear of the engine's events until the bridge is closed.
function Bridge:lend(ear)
  local heard, message = ear:hear(self.engine:fd())
  if not heard then return scheduler.raise(message) end -- or nobody would know of its deafness
  self.ear = ear
end

--- Ends every request and pause with "cancelled" and ECLOSED.
function Bridge:cancel()
  local requests, waits = self.requests, self.waits
  self.requests, self.waits = {}, weak_keys()
  for _, waiter in pairs(requests) do waiter:cancel() end
  for waiter in pairs(waits) do waiter:cancel() end
end

--- Closes the engine with a close code (nil: the sessions are kept). Twice is fine.
function Bridge:close(code)
  local engine = self.engine
  if not engine then return end
  self.engine = nil
  scheduler.detach(self.source)
  if self.ear then self.ear:ignore(engine:fd()) end
  engine:close(code)
  self:cancel()
end

return bridge

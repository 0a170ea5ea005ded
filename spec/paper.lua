-- paper.lua: an engine of paper: it takes down what it is told and hands out the events that a spec
-- puts in. With it, what Lua does with an engine can be seen without threads and sockets.

local core = require "moongate.core"

local paper = {}

local real = {
  engine = core.engine, shard_attach = core.shard_attach, shard_status = core.shard_status,
}

-- ---- Records -----------------------------------------------------------------------------------

local Record = {}
Record.__index = Record

function Record:data()
  if self.failure then return nil, self.failure, "ESYNTAX" end
  return self.value
end

function Record:raw()
  return core.encode(self.value)
end

function Record:lazy()
  local text = self:raw()
  if self.failure or not text then return self:data() end
  self.lazily = self.lazily or core.lazy(text)
  return self.lazily
end

function Record:done()
  self.finished = true
end

-- ---- The engine --------------------------------------------------------------------------------

local Engine = {}
Engine.__index = Engine

local function take_down(name)
  return function(self, ...)
    assert(not self.closed, "attempt to use a closed engine")
    self.calls[#self.calls + 1] = { name, ... }
    local refusal = self.refuse[name]
    if refusal and (refusal.times == nil or refusal.times > 0) then
      if refusal.times then refusal.times = refusal.times - 1 end
      return nil, name .. ": refused", refusal.code
    end
    return true
  end
end

for _, name in ipairs {
  "start", "send", "interest", "stop_shard", "reconnect", "concurrency", "request", "identify",
  "resume", "beat", "receive", "turn",
} do
  Engine[name] = take_down(name)
end

-- A shard that is stopped is down soon after, unless the engine is `stubborn`.
local stop_shard = Engine.stop_shard
function Engine:stop_shard(id, ...)
  if not self.stubborn then self:note("state", id, { from = "closing", to = "idle" }) end
  return stop_shard(self, id, ...)
end

function Engine:next(used)
  if used then used:done() end
  local record = table.remove(self.queue, 1)
  if not record then return nil end
  return record, record.name, record.shard_id, record.own, record.seq
end

-- Leaves everything to whoever asked.
function Engine:serve(used) return 0, self:next(used) end

function Engine.fd() return -1 end

function Engine.census() return {} end

function Engine:counts()
  return { queue_events = #self.queue }
end

function Engine:close(code)
  self.calls[#self.calls + 1] = { "close", code }
  self.closed = true
end

-- ---- What a spec does with it ------------------------------------------------------------------

--- Puts in an event of moongate's own.
function Engine:note(name, shard_id, data)
  self.queue[#self.queue + 1] = setmetatable({
    name = name, shard_id = shard_id, own = true, seq = 0, value = data,
  }, Record)
end

--- Puts in a dispatch. `failure` says that it cannot be decoded.
function Engine:dispatch(name, shard_id, seq, data, failure)
  self.queue[#self.queue + 1] = setmetatable({
    name = name, shard_id = shard_id, own = false, seq = seq, value = data, failure = failure,
  }, Record)
end

--- The arguments of all calls of a method, in order.
function Engine:calls_of(name)
  local list = {}
  for _, call in ipairs(self.calls) do
    if call[1] == name then list[#list + 1] = { table.unpack(call, 2) } end
  end
  return list
end

--- From now on core.engine() makes engines of paper; they are in paper.engines. `statuses` maps
-- shard ids to what core.shard_status says of them.
function paper.install(statuses)
  paper.engines = {}
  paper.statuses = statuses or {}
  core.engine = function(options) -- luacheck: ignore
    if paper.no_engine then return nil, "engine: no", paper.no_engine end
    local engine = setmetatable({
      options = options, calls = {}, queue = {}, refuse = {},
    }, Engine)
    paper.engines[#paper.engines + 1] = engine
    return engine
  end
  core.shard_attach = function(one, _, count) -- luacheck: ignore
    return real.shard_attach(one, nil, count)
  end
  core.shard_status = function(one) -- luacheck: ignore
    return paper.statuses[one.id] or real.shard_status(one)
  end
end

--- Puts the real functions back.
function paper.remove()
  paper.no_engine = nil
  for name, fn in pairs(real) do core[name] = fn end -- luacheck: ignore
end

return paper

-- reshard.lua: another number of shards while the bot runs. Called by roster.lua on the Lua thread.
--
--   the old set                        the coming set, with an engine of its own
--   runs, is heard                     starts; identifies in its turn, beside the old one
--   runs, is heard, is remembered      all ready, not heard
--   (both, for RESHARD_OVERLAP_MS)
--   runs, is heard                     listens: what it brings waits in its queue, in order
--   (both, for RESHARD_OVERLAP_MS)
--   sends what waited, closes, is      takes over the Shard objects; what waited is heard
--   heard to its last event
--
-- The rule by which each event is heard once: until the old set has been silent for
-- RESHARD_OVERLAP_MS, an event that both bring is heard from whoever's turn it is first, as long
-- as the two are less than that time apart. Twins have the same name and the same data, byte for
-- byte; the nth of one set is the twin of the nth of the other. What the coming set brought before
-- it listened the old one brings as well; what the old one brought before that was remembered, for
-- what the coming set is late with. READY and RESUMED are a set's own and have no twins.

local core = require "moongate.core"
local delivery = require "moongate.delivery"
local launch = require "moongate.launch"
local quota = require "moongate.quota"
local sessions = require "moongate.sessions"
local shard = require "moongate.shard"
local turns = require "moongate.turns"

local reshard = {}

local limits = core.limits
local NORMAL = limits.CLOSE_NORMAL
local OVERLAP_S = limits.RESHARD_OVERLAP_MS / 1000
local LOOK_S = 0.05 -- how often to see how far the sets are
local CLOSE_S = limits.CLOSE_TIMEOUT_MS / 1000 + 2 -- a close has its own deadline
local OWN_EVENTS = { READY = true, RESUMED = true }

-- ---- Twins -------------------------------------------------------------------------------------

local Twins = {}
Twins.__index = Twins

-- How often each event was brought: by the old set before the coming one listened, and by each
-- since then. `late` is how many events of the coming set may still be twins of early ones.
local function new_twins()
  return setmetatable({ early = {}, old = {}, new = {}, late = math.huge, doubled = 0 }, Twins)
end

--- The coming set listens from now on.
function Twins:listen()
  self.listening = true
end

--- The old set is leaving; only `count` events more may be late.
function Twins:leave(count)
  self.late = count
end

-- Takes one from those that the old set brought early. False: there is none.
function Twins:take_early(key)
  if self.late < 0 then self.early = {} end
  local count = self.early[key]
  if not count then return false end
  self.early[key] = count > 1 and count - 1 or nil
  return true
end

function Twins:has_brought(side, key)
  if not self.listening then
    self.early[key] = (self.early[key] or 0) + 1
    return false
  end
  local mine, other = self[side], side == "old" and self.new or self.old
  local nth = (mine[key] or 0) + 1
  if nth > (other[key] or 0) and side == "new" and self:take_early(key) then return true end
  mine[key] = nth
  return nth <= (other[key] or 0)
end

--- Counts an event that the set `side` brings. True when the other set has brought it already.
function Twins:is_second(side, name, record)
  if side == "new" then self.late = self.late - 1 end
  local text = not OWN_EVENTS[name] and record:raw()
  if not text then return false end
  local second = self:has_brought(side, core.fingerprint(name .. "\0" .. text))
  if second then self.doubled = self.doubled + 1 end
  return second
end

-- ---- The coming set ----------------------------------------------------------------------------

-- What is told of the coming set before it is heard: what goes wrong, and that it has to wait.
local TOLD = { "error", "hold", "log" }

-- A cluster in all that launch.lua looks at; its listeners are ours. Its sessions are kept by
-- nobody before the switch.
local function new_coming(self, count, ids)
  local options = {}
  for key, value in pairs(self.options) do options[key] = value end
  options.session_store, options.session = nil, nil
  options.shards, options.shard_ids = count, ids
  local coming = {
    options = options, shards = {}, gateway = self.gateway, presence = self.presence, warned = {},
    readies = {}, retired = {}, shard_fields = {},
    desk = {},
  }
  coming.emitter = delivery.emitter_of(coming)
  for _, name in ipairs(TOLD) do
    coming.emitter:on(name, function(data) self.emitter:emit(name, data) end)
  end
  coming.emitter:on("READY", function(text, one) coming.readies[one.id] = text end, { raw = true })
  return coming
end

local function carry_words(self, coming)
  for _, id in ipairs(coming.options.shard_ids) do
    local before, one = self.shards[id], launch.new_shard(coming, id, coming.options.shards)
    if before then
      local fields, said = shard.fields(one), shard.fields(before)
      fields.said, fields.presence = said.said, said.presence
    end
  end
end

local function describe_fatal(fatal)
  local one, data = fatal.shard, fatal.data
  local where = one and ("shard %d/%d: "):format(one.id, one.count) or ""
  return ("reshard: %s%s (%s %s)%s; the old shards go on"):format(where, data.message,
    tostring(data.code), data.name, data.remedy and ": " .. data.remedy or "")
end

local function is_ready(coming)
  for _, one in pairs(coming.shards) do
    if one.state ~= "ready" then return false end
  end
  return true
end

local function wait_until_ready(coming)
  local own = coming.bridge
  while not is_ready(coming) do
    if coming.fatal then return nil, describe_fatal(coming.fatal), coming.fatal.data.error end
    local going, message, code = own:pause(LOOK_S)
    if not going then return nil, "reshard: " .. message, code end
  end
  return true
end

-- From here on it is heard, by those who hear the old set, but later.
local function listen(self, change)
  local own = change.coming.bridge
  change.twins = new_twins()
  local going, message, code = own:pause(OVERLAP_S)
  if not going then return nil, "reshard: " .. message, code end
  change.twins:listen()
  for id in pairs(change.coming.shards) do
    while not delivery.tell_interest(self, self.shards[id], own.engine, id) do
      going, message, code = own:pause(LOOK_S)
      if not going then return nil, "reshard: " .. message, code end
    end
  end
  own:cork()
  return own:pause(OVERLAP_S)
end

-- ---- The switch --------------------------------------------------------------------------------

-- What the old engine still says.
local function take_leaving(self, change, record, name, shard_id, own)
  local one = change.objects[shard_id]
  if not own and one then delivery.take_old(self, record, name, one) end
end

-- The old shards go on without their objects.
local function part(self, change)
  change.old, change.objects, change.watched = self.bridge, {}, {}
  for id, one in pairs(self.shards) do
    change.objects[id] = one
    local watch = core.shard(id, self.count)
    core.shard_attach(watch, self.bridge.engine, self.count)
    change.watched[id] = watch
  end
  self.bridge.hooks = {
    take = function(...) return take_leaving(self, change, ...) end,
  }
  sessions.forget(self)
  turns.shut(self)
end

local function take_over(self, change, id, one)
  local fields, from = shard.fields(one), one.state
  core.shard_attach(one, self.bridge.engine, self.count)
  fields.down, fields.leaving, fields.detached, fields.fatal = false, nil, nil, nil
  fields.handled, fields.stored, fields.saved = nil, nil, nil
  fields.emitter:open()
  if not change.objects[id] then
    delivery.tell(self, one, "state", { from = from, to = one.state })
  end
end

-- The READY of a shard, which was kept as text.
local function source_of(text)
  return {
    raw = function() return text end,
    data = function() return core.decode(text) end,
    lazy = function() return core.lazy(text) end,
  }
end

-- The coming set is the set. Nothing in here waits.
local function switch(self, change)
  local coming = change.coming
  part(self, change)
  change.side = "new"
  self.bridge, self.count, self.turns = coming.bridge, coming.count, coming.turns
  self.gateway_url, coming.turns = coming.gateway_url, nil
  self.options.shards, self.options.shard_ids = coming.options.shards, coming.options.shard_ids
  for id, one in pairs(change.objects) do
    if not coming.shards[id] then
      launch.retire(self, id)
      delivery.tell(self, one, "state", { from = "ready", to = one.state })
    end
  end
  for id in pairs(coming.shards) do
    take_over(self, change, id, self.shards[id] or launch.new_shard(self, id, self.count))
  end
  self.bridge.hooks = launch.hooks_of(self)
  delivery.refresh(self)
  for id, text in pairs(coming.readies) do
    delivery.take_kept(self.shards[id], "READY", source_of(text))
  end
  change.twins:leave(self.bridge.engine:counts().queue_events)
  self.bridge:uncork()
  if self.ear then self.bridge:lend(self.ear) end
  sessions.keep(self)
  quota.save(self)
end

-- ---- The old set -------------------------------------------------------------------------------

-- Waits until check() or until so many seconds are over. Nil when the cluster is stopped meanwhile.
local function wait_for(self, seconds, check)
  local own, ends_at = self.bridge, core.now() + seconds
  while not check() and core.now() < ends_at do
    if not own:pause(LOOK_S) then return nil end
  end
  return self.bridge == own or nil
end

local function every(change, check)
  return function()
    for _, watch in pairs(change.watched) do
      if not check(core.shard_status(watch)) then return false end
    end
    return true
  end
end

local function has_sent(status)
  return status.outbox_commands == 0
end

local function is_down(status)
  return status.state == "idle" or status.state == "dead"
end

local function tell_unsent(self, change)
  local unsent = 0
  for _, watch in pairs(change.watched) do
    unsent = unsent + core.shard_status(watch).outbox_commands
  end
  if unsent == 0 then return end
  self.emitter:emit("error", {
    code = "ETIMEOUT", phase = "send",
    message = ("reshard: %d commands of the old shards still waited for a rate limit and were "
      .. "given up; send them again"):format(unsent),
  })
end

-- What it has accepted leaves, what it has received is heard.
local function dismiss(self, change)
  local engine = change.old.engine
  if not wait_for(self, OVERLAP_S, every(change, has_sent)) then return nil end
  tell_unsent(self, change)
  for id in pairs(change.watched) do engine:stop_shard(id, NORMAL, "") end
  if not wait_for(self, CLOSE_S, every(change, is_down)) then return nil end
  local function is_empty() return engine:counts().queue_events == 0 end
  while not is_empty() do
    if not wait_for(self, CLOSE_S, is_empty) then return nil end
  end
  change.old:close(NORMAL)
  -- What the coming set is late with comes now.
  return wait_for(self, OVERLAP_S, function() return false end)
end

-- ---- The whole ---------------------------------------------------------------------------------

-- Ends what is under way; the set that is the cluster's is left alone.
local function abort(self, change)
  local coming = change.coming.bridge
  self.reshaping, change.coming.bridge = nil, nil
  if coming and coming ~= self.bridge then coming:close(NORMAL) end
  if change.old then change.old:close(NORMAL) end
end

local function come_up(self, change, count, ids)
  local coming = change.coming
  carry_words(self, coming)
  local started, message, code = launch.start(coming, ids, count)
  if started then started, message, code = wait_until_ready(coming) end
  if started then started, message, code = listen(self, change) end
  if not started then return nil, message, code end
  if self.reshaping ~= change then return nil, "cancelled", "ECLOSED" end
  return true
end

local function stopped()
  return nil, "reshard: the shards were stopped meanwhile", "ECLOSED"
end

local function run(self, change, count, ids)
  local ready, message, code = come_up(self, change, count, ids)
  if not ready then
    if self.reshaping ~= change then return stopped() end
    return nil, message, code
  end
  switch(self, change)
  if not dismiss(self, change) then return stopped() end
  self.doubled = (self.doubled or 0) + change.twins.doubled
  return true, change.twins.doubled
end

--- Replaces the shards by `count` new ones, of which `ids` run here. True, and how many events both
-- sets brought; or nil, message, code, and then the old shards go on, unless they were stopped.
function reshard.run(self, count, ids)
  local change = { side = "old" }
  change.coming = new_coming(self, count, ids)
  change.abort = function() abort(self, change) end
  self.reshaping = change
  local fine, done, message, code = pcall(run, self, change, count, ids)
  if self.reshaping == change then abort(self, change) end
  if not fine then error(done, 0) end
  return done, message, code
end

return reshard

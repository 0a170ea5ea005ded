-- delivery.lua: what crosses between an engine and the listeners of a cluster and its shards:
-- events in one direction, the names that are heard in the other. Called by cluster.lua and
-- launch.lua on the Lua thread.

local emitter = require "moongate.emitter"
local events = require "moongate.events"
local log = require "moongate.log"
local quota = require "moongate.quota"
local scheduler = require "moongate.scheduler"
local sessions = require "moongate.sessions"
local shard = require "moongate.shard"
local turns = require "moongate.turns"

local delivery = {}

-- ---- Interest ----------------------------------------------------------------------------------

local function add_names(set, dispatches)
  for _, name in ipairs(dispatches) do set[name] = true end
end

-- What is taken in although nobody hears it yet: these come once a session, and whoever connects
-- and then waits for one of them, be it at a prompt, is late by then. Undecoded all the same.
local EXPECTED = { "READY", "RESUMED" }

-- What is heard on a shard: the cluster's listeners' names and its own, if it has any yet.
local function heard_on(self, own_emitter)
  local set, names, flags = {}, {}, {}
  add_names(set, EXPECTED)
  for _, one in ipairs { self.emitter, own_emitter } do
    local dispatches, all, own = one:names()
    add_names(set, dispatches)
    flags.all = flags.all or all
    for _, name in ipairs(own) do
      if name == "send" or name == "receive" then flags[name] = true end
    end
  end
  for name in pairs(set) do names[#names + 1] = name end
  return names, flags
end

--- Tells the engine: true, or nil, message, code; it is told again at the next turn then.
function delivery.interest(self, one)
  local fields = shard.fields(one)
  local engine = self.bridge and self.bridge.engine
  if not engine then return true end
  local told, message, code = engine:interest(one.id, heard_on(self, fields.emitter))
  fields.stale = not told
  if told then return true end
  self.stale = true
  return nil, message, code
end

--- For reshard.lua: tells another engine that its shard `id` is heard like `one` (nil: like any new
-- one).
function delivery.tell_interest(self, one, engine, id)
  local own = one and shard.fields(one).emitter or nil
  return engine:interest(id, heard_on(self, own))
end

-- What is not heard any more is told at the next turn, before more events are taken: a listener
-- that takes the place of another, or waits again, in the same breath misses nothing.
local function interest_later(self, one)
  shard.fields(one).stale = true
  self.stale = true
end

local function change_all_interest(self, fewer)
  local tell = fewer and interest_later or delivery.interest
  for _, one in pairs(self.shards) do tell(self, one) end
end

--- Tells the engine of all that is heard.
function delivery.refresh(self)
  self.stale = false
  change_all_interest(self, false)
end

function delivery.retry(self)
  if not self.stale then return end
  self.stale = false
  for _, one in pairs(self.shards) do
    if shard.fields(one).stale then delivery.interest(self, one) end
  end
end

-- ---- Warnings ----------------------------------------------------------------------------------

local function warn(self, message, fields)
  log.write(self, "warn", message, fields)
end

-- Any name may be one of the user's own events, or of Discord's future ones: a guess is no error.
local function warn_of_spelling(self, name)
  local meant = events.suggest(name)
  if not meant then return end
  self.warned[name] = true
  warn(self, ("a listener waits for %s, which is no known event; did you mean %s?"):format(name,
    meant), { event = name, meant = meant })
end

local function warn_of(self, name)
  if self.warned[name] then return end
  warn_of_spelling(self, name)
  local missing, about_itself = events.missing_intent(name, self.options.intents)
  if not missing or about_itself then return end
  self.warned[name] = true
  warn(self, ("the listener of %s can never be called: the intent %s is missing"):format(name,
    table.concat(missing, " or ")), { event = name, intents = missing })
end

-- Listeners for which the gateway will never send anything, and those with a name that it hardly
-- will. Told once each, as soon as somebody listens to `log`.
function delivery.warn_of_listeners(self, emitters)
  if not self.emitter:hears("log") then return end
  for _, one in ipairs(emitters) do
    for _, name in ipairs((one:names())) do warn_of(self, name) end
  end
end

local function cluster_changed(self, fewer)
  if not self.bridge then return end
  change_all_interest(self, fewer)
  delivery.warn_of_listeners(self, { self.emitter })
end

local function shard_changed(one, fewer)
  local fields = shard.fields(one)
  local self = fields.cluster
  if not self.bridge then return end
  if fewer then interest_later(self, one) else delivery.interest(self, one) end
  delivery.warn_of_listeners(self, { fields.emitter })
end

-- `owner` is whose listener it was, `one` the Shard of the event, if it was of any.
local function tell_blocked(event, seconds, where, owner, one)
  local data = { event = event, seconds = seconds, where = where }
  if not shard.is(owner) then
    owner.emitter:emit("blocked", data, one)
    return log.event(owner, one, "blocked", data)
  end
  local fields = shard.fields(owner)
  fields.emitter:emit("blocked", data, owner)
  fields.cluster.emitter:emit("blocked", data, owner)
  log.event(fields.cluster, owner, "blocked", data)
end

-- ---- Events ------------------------------------------------------------------------------------

function delivery.tell(self, one, name, data)
  if one then shard.fields(one).emitter:emit(name, data, one) end
  self.emitter:emit(name, data, one)
  log.event(self, one, name, data)
end

function delivery.all_down(self)
  for _, one in pairs(self.shards) do
    if not shard.fields(one).down then return false end
  end
  return true
end

function delivery.end_waits(self, message)
  self.emitter:close(message, "ECLOSED")
  for _, one in pairs(self.shards) do shard.fields(one).emitter:close(message, "ECLOSED") end
end

-- The last shard is down, and not because somebody asked for it.
local function fail_for_good(self, fatal, one)
  local where = one and ("shard %d/%d: "):format(one.id, one.count) or ""
  self.failure = {
    message = ("%s%s (%s %s)%s"):format(where, fatal.message, tostring(fatal.code), fatal.name,
      fatal.remedy and ": " .. fatal.remedy or ""),
    code = fatal.error,
  }
  delivery.tell(self, one, "exit", fatal)
  delivery.end_waits(self, "the last shard is down for good")
end

local function check_end(self)
  if not delivery.all_down(self) then return end
  if self.waiter then self.waiter:wake(true) end
  if self.fatal and not self.failure and not self.stopped then
    fail_for_good(self, self.fatal.data, self.fatal.shard)
  end
end

-- moongate's own events that change what is known here, before their listeners are called.
local hooks = {}

function hooks.state(self, one, data)
  local fields = shard.fields(one)
  fields.down = data.to == "idle" or data.to == "dead"
  if data.to == "identifying" then
    fields.handled = nil
    self.gateway:note_identify()
    quota.save(self)
  elseif data.to == "ready" then
    sessions.changed(self, one)
  end
end

function hooks.lost(self, one)
  shard.fields(one).handled = nil
  sessions.changed(self, one)
end

function hooks.fatal(self, one, data)
  shard.fields(one).fatal = data
  self.fatal = { data = data, shard = one }
end

-- The day's identifies are used up; told once that is sure.
local function take_hold(self, record)
  local data = record:data()
  quota.held(self, function(sure) delivery.tell(self, nil, "hold", sure or data) end)
end

local function take_own(self, record, name, one)
  if name == "hold" then return take_hold(self, record) end
  if name == "turn" then return turns.asked(self, one, record:data()) end
  if name == "turn_over" then return turns.ended(self, record:data()) end
  local hook = one and hooks[name]
  local heard = self.emitter:hears(name) or (one and shard.fields(one).emitter:hears(name))
  if not hook and not heard and not log.takes(self, name) then return end
  local data, message, code = record:data()
  if data == nil and message then
    local failure = { code = code, message = message, phase = "decode", event = name }
    return delivery.tell(self, one, "error", failure)
  end
  if hook then hook(self, one, data) end
  delivery.tell(self, one, name, data)
  if hook then check_end(self) end
end

-- While the number of shards changes, another set may have brought it.
local function is_second(self, side, name, record)
  local twins = self.reshaping and self.reshaping.twins
  return twins and twins:is_second(side or self.reshaping.side, name, record)
end

-- Asking a shard for its fields takes a call; this happens for each event.
local function note_fields(self, one)
  local fields = shard.fields(one)
  self.shard_fields[one] = fields
  return fields
end

-- `now` and the result are as in emitter.lua's deliver().
local function hand_on(fields, record, name, one, now)
  local outer = fields.dispatching
  fields.dispatching = true
  local ended, broken = fields.emitter:deliver(name, record, one, now)
  if broken then fields.undecodable = (fields.undecodable or 0) + 1 end
  fields.dispatching = outer
  return ended
end

local function take_dispatch(self, record, name, one, seq, now)
  local fields, own = self.shard_fields[one] or note_fields(self, one), self.bridge
  if not (self.reshaping and is_second(self, nil, name, record)) then
    now = hand_on(fields, record, name, one, now)
  end
  if self.bridge ~= own then return end -- another set has taken over, with sequences of its own
  if seq > 0 then fields.handled = seq end
  if self.options.session_store then sessions.touch(self) end
  return now
end

--- For reshard.lua: a dispatch of shards that are leaving.
function delivery.take_old(self, record, name, one)
  if is_second(self, "old", name, record) then return end
  hand_on(shard.fields(one), record, name, one)
end

--- For reshard.lua: one that was kept.
function delivery.take_kept(one, name, source)
  hand_on(shard.fields(one), source, name, one)
end

--- What takes one event of the engine after the other: see bridge.new's hook `take`.
function delivery.taker(self)
  return function(record, name, shard_id, own, seq, now)
    local one = self.shards[shard_id]
    if own then
      take_own(self, record, name, one)
    elseif one then
      return take_dispatch(self, record, name, one, seq, now)
    end
  end
end

--- What takes many events of the engine at once: see bridge.new's hook `serve`. Most need no more
-- than one listener to be called.
function delivery.server(self)
  return function(engine, record, most)
    local own = self.bridge
    if self.reshaping then return 0, engine:next(record) end
    local served, event, name, shard_id, is_own, seq, large =
      scheduler.serve(engine, record, self.desk, self.emitter.kind.limit, most)
    if self.bridge ~= own then return served, event or nil end
    if event == false and shard_id > 0 then name.handled = shard_id end -- fields, its sequence
    if served > 0 and self.options.session_store then sessions.touch(self) end
    return served, event, name, shard_id, is_own, seq, large
  end
end

-- ---- Making ------------------------------------------------------------------------------------

--- The emitter of a new cluster.
function delivery.emitter_of(self)
  local after = self.options.blocked_after or nil
  return emitter.new {
    owner = self,
    on_change = cluster_changed,
    on_blocked = after and tell_blocked,
    blocked_after = after,
    logs = log.filter(self),
  }
end

--- What shard.new needs for the emitter of a shard of this cluster.
function delivery.shard_hooks(self)
  local after = self.options.blocked_after or nil
  return {
    parent = self.emitter,
    on_change = shard_changed,
    on_blocked = after and tell_blocked,
    blocked_after = after,
    logs = log.filter(self),
  }
end

return delivery

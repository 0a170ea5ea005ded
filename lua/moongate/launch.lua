-- launch.lua: how the shards of a cluster come to run: an engine, what the gateway says, the
-- options of each shard. Called by cluster.lua on the Lua thread.

local bridge = require "moongate.bridge"
local core = require "moongate.core"
local delivery = require "moongate.delivery"
local quota = require "moongate.quota"
local scheduler = require "moongate.scheduler"
local sessions = require "moongate.sessions"
local shard = require "moongate.shard"
local turns = require "moongate.turns"

local launch = {}

local BEAT_SLACK_MS = 250 -- beats of one thread this close leave together
local RETRY_S = 0.05 -- until a full command queue is tried again
local LEAVE_S = core.limits.CLOSE_TIMEOUT_MS / 1000 + 2 -- a close has its own deadline
local STOP_S = core.limits.STOP_TIMEOUT_MS / 1000
local START_TRIES = 200 -- times RETRY_S: so long may a thousand shards take to be queued

-- ---- The engine --------------------------------------------------------------------------------

--- Seconds until the cluster wants a turn by itself, or nil.
function launch.due_in(self)
  return self.stale and RETRY_S or nil
end

--- What the cluster does with its engine's events.
function launch.hooks_of(self)
  return {
    take = delivery.taker(self),
    serve = delivery.server(self),
    turn = function() return delivery.retry(self) end,
    due_in = function() return launch.due_in(self) end,
  }
end

--- Makes the engine when there is none. True, or nil, message, code.
function launch.open(self)
  if self.bridge then return true end
  local made, message, code = bridge.new(self.options, launch.hooks_of(self))
  if not made then return nil, message, code end
  self.bridge = made
  if self.ear then made:lend(self.ear) end
  for _, one in pairs(self.shards) do core.shard_attach(one, made.engine) end
  return true
end

--- Makes the ear of the client, if there is one to be had.
function launch.open_ear(self)
  self.ear = core.ear()
  if not self.ear then return end
  scheduler.add_bell(self.ear)
  if self.bridge then self.bridge:lend(self.ear) end
end

--- Closes the engine; the sessions end with `code` 1000 and are kept with 4000.
function launch.shut(self, code)
  local current = self.bridge
  if self.reshaping then self.reshaping.abort() end
  self.starting = 0
  if not current then return end
  for _, one in pairs(self.shards) do
    if current.engine then shard.detach(one) end
    shard.fields(one).down = true
  end
  self.bridge = nil
  current:close(code)
  turns.shut(self)
  sessions.save_all(self)
  quota.save(self)
  if self.waiter then self.waiter:wake(true) end
end

--- Waits for the end of a stop() that is under way. True, or nil, message, code.
function launch.wait_for_stop(self)
  if not self.stopping then return true end
  local waiter = scheduler.waiter()
  table.insert(self.stop_waiters, waiter)
  local done, _, code = waiter:wait(STOP_S * 2)
  if done then return true end
  return nil, "connect: the client is still being stopped; try again", code or "EBUSY"
end

local function tell_gateway_fatal(self, message)
  local row = core.close_codes[4004]
  self.fatal = {
    data = {
      code = row.code, name = row.name, error = row.error, message = row.words, remedy = row.remedy,
    },
  }
  delivery.tell(self, nil, "fatal", self.fatal.data)
  self.failure = { message = message, code = row.error }
  delivery.tell(self, nil, "exit", self.fatal.data)
  delivery.end_waits(self, message)
end

-- Asks the gateway for its URL and numbers.
local function ask_gateway(self)
  local function report(data) delivery.tell(self, nil, "error", data) end
  local done, message, code = self.gateway:fetch(false, self.bridge, report)
  if done then return true end
  if code == "EAUTH" then tell_gateway_fatal(self, message) end
  return nil, message, code
end

-- Learns the URL, and the number of shards unless `count` says it. Returns the number.
local function learn(self, count)
  local wanted = self.options
  self.gateway:serves(self)
  self.gateway:configure { api = wanted.api, version = wanted.version, network = wanted }
  local url = wanted.url or self.gateway.url
  if self.gateway.session_start_limit or not (url and count) then
    local done, message, code = ask_gateway(self)
    if not done then return nil, message, code end
  end
  self.gateway_url = wanted.url or self.gateway.url
  quota.open(self)
  return count or self.gateway.shards
end

local function milliseconds(seconds)
  return seconds and math.floor(seconds * 1000 + 0.5) or nil
end

-- What there is to resume: the shard's own session, else the one that was given in the options,
-- else the one in the session store.
-- What was queued is gone with the engine it was queued in, and has to come again.
local function session_of(self, one)
  local status, fields = core.shard_status(one), shard.fields(one)
  local seq = status.seq
  if fields.detached then seq = fields.handled end
  if status.session and seq then
    return { id = status.session, url = status.session_url, seq = seq }
  end
  local given = self.options.session
  if given and not self.session_used and (given.shard_id or 0) == one.id then
    return { id = given.id, url = given.url, seq = given.seq }, true
  end
  if fields.stored == nil then fields.stored = sessions.load(self, one) or false end
  return fields.stored or nil
end

local function start_options(self, one, session)
  local wanted, said = self.options, shard.fields(one).said or {}
  local backoff = wanted.backoff or {}
  return {
    token = self.gateway.token,
    url = self.gateway_url,
    shard_id = one.id,
    shard_count = self.count,
    intents = said.intents or wanted.intents,
    large_threshold = said.large_threshold or wanted.large_threshold,
    version = wanted.version,
    encoding = wanted.encoding,
    compress = wanted.compress,
    presence = shard.fields(one).presence or self.presence,
    properties = said.properties or wanted.properties,
    session = session,
    connect_timeout_ms = milliseconds(wanted.connect_timeout),
    hello_timeout_ms = milliseconds(wanted.hello_timeout),
    ready_timeout_ms = milliseconds(wanted.ready_timeout),
    send_timeout_ms = milliseconds(wanted.send_timeout),
    backoff_base_ms = milliseconds(backoff.base),
    backoff_cap_ms = milliseconds(backoff.cap),
    message_bytes_max = wanted.message_bytes_max,
    slack_ms = BEAT_SLACK_MS,
  }
end

-- A shard that was told to disconnect is waited for before it is started again.
local function let_leave(self, one)
  local fields, ends_at = shard.fields(one), core.now() + LEAVE_S
  while fields.leaving and not fields.down do
    if core.now() > ends_at then
      return nil, ("connect: shard %d is still closing; try again"):format(one.id), "EBUSY"
    end
    local going, why, code = self.bridge:pause(RETRY_S)
    if not going then return nil, why, code end
  end
  return true
end

-- What is heard is known before anything comes.
local function order_start(self, one, wanted)
  local told, message, code = delivery.interest(self, one)
  if not told then return nil, message, code end
  return self.bridge.engine:start(wanted)
end

-- Starts one shard that is down. A full command queue is waited for.
local function start_one(self, one)
  local fields = shard.fields(one)
  local left, problem, problem_code = let_leave(self, one)
  if not left then return nil, problem, problem_code end
  if not fields.down then return true end
  local session, given = session_of(self, one)
  local wanted = start_options(self, one, session)
  local started, message, code
  for _ = 1, START_TRIES do
    started, message, code = order_start(self, one, wanted)
    if started or code ~= "EBUSY" then break end
    local going, why, why_code = self.bridge:pause(RETRY_S)
    if not going then return nil, why, why_code end
  end
  if not started then return nil, message, code end
  fields.down, fields.leaving, fields.detached, fields.stored = false, nil, nil, nil
  fields.fatal = nil
  if given then self.session_used = true end
  return true
end

--- The Shard of an id, which is down: the object that it had, if it ever had one.
function launch.new_shard(self, id, count)
  local one = self.retired[id] or shard.new(self, id, count, delivery.shard_hooks(self))
  self.shards[id], self.retired[id] = one, nil
  self.desk[id + 1] = { shard.fields(one).emitter.ways, shard.fields(one), one }
  return one
end

--- Takes a Shard, which is down or about to be, off the cluster. Its object waits for its return.
function launch.retire(self, id)
  local one = self.shards[id]
  core.shard_attach(one, nil)
  local fields = shard.fields(one)
  fields.down, fields.leaving, fields.handled, fields.stale = true, nil, nil, nil
  fields.emitter:close("the shard was removed", "ECLOSED")
  self.shards[id], self.retired[id] = nil, one
  self.shard_fields[one], self.desk[id + 1] = nil, nil
end

-- Shards of another count that are down.
local function retire_others(self)
  for _, id in ipairs(launch.ids(self)) do
    if id >= self.count then launch.retire(self, id) end
  end
end

local function shard_of_id(self, id)
  local one = self.shards[id] or launch.new_shard(self, id, self.count)
  core.shard_attach(one, self.bridge.engine, self.count)
  return one
end

-- How many of the shards have to identify.
local function count_identifies(self, list)
  local needed = 0
  for _, one in ipairs(list) do
    if shard.fields(one).down and not session_of(self, one) then needed = needed + 1 end
  end
  return needed
end

-- An engine that is new knows nothing of what another one has just identified.
local function wait_for_window(self)
  local bridge_now = self.bridge
  if bridge_now.launched then return true end
  local rest_s = self.gateway:identify_in()
  if rest_s > 0 then
    local going, message, code = bridge_now:pause(rest_s)
    if not going then return nil, message, code end
  end
  bridge_now.launched = true
  return true
end

local function start_list(self, ids)
  local list = {}
  for i, id in ipairs(ids) do
    if id >= self.count then
      return nil, ("spawn: there is no shard %d of %d; set the option shards to the number of all "
        .. "shards"):format(id, self.count), "EUSAGE"
    end
    list[i] = shard_of_id(self, id)
  end
  local needed = count_identifies(self, list)
  if needed > 0 then
    local going, message, code = wait_for_window(self)
    if not going then return nil, message, code end
  end
  local limit = self.gateway.session_start_limit
  if limit then self.bridge:concurrency(limit.max_concurrency) end
  delivery.warn_of_listeners(self, { self.emitter })
  for _, one in ipairs(list) do
    local started, why, why_code = start_one(self, one)
    if not started then return nil, why, why_code end
  end
  sessions.keep(self)
  return true
end

--- The ids of the shards that the cluster has, in order.
function launch.ids(self)
  local ids = {}
  for id in pairs(self.shards) do ids[#ids + 1] = id end
  table.sort(ids)
  return ids
end

--- How many of its shards are not down.
function launch.running(self)
  local running = 0
  for _, one in pairs(self.shards) do
    if self.bridge and not shard.fields(one).down then running = running + 1 end
  end
  return running
end

--- The whole numbers from first to last.
function launch.range(first, last)
  local ids = {}
  for id = first, last do ids[#ids + 1] = id end
  return ids
end

local function begin(self)
  self.stopped, self.failure, self.fatal = false, nil, nil
  self.emitter:open()
  for _, one in pairs(self.shards) do shard.fields(one).emitter:open() end
  return launch.open(self)
end

-- All shards that run at a time are of one count.
local function judge_count(self, count)
  if not self.count or not count or count == self.count or launch.running(self) == 0 then
    return true
  end
  return nil, ("spawn: shards of %d run already, not of %d; reshard(%d) changes their number")
    :format(self.count, count, count), "EUSAGE"
end

local function start(self, ids, count)
  local fitting, message, code = judge_count(self, count)
  if not fitting then return nil, message, code end
  fitting, message, code = begin(self)
  if not fitting then return nil, message, code end
  local own = self.bridge
  local same = launch.running(self) > 0 and self.count or nil
  count, message, code = learn(self, count or same or self.options.shards
    or self.gateway.chosen_shards)
  if self.bridge ~= own then return nil, "connect: stopped meanwhile", "ECLOSED" end
  if not count then return nil, message, code end
  if count ~= self.count then
    fitting, message, code = judge_count(self, count)
    if not fitting then return nil, message, code end
    self.count = count
    retire_others(self)
  end
  return start_list(self, ids or self.options.shard_ids or launch.range(0, count - 1))
end

--- Starts the shards `ids` (nil: all) of `count` (nil: what runs, the options or the gateway say).
function launch.start(self, ids, count)
  if self.reshaping then
    return nil, "connect: the number of shards is being changed; wait until reshard() returns",
      "EBUSY"
  end
  local ended, why, why_code = launch.wait_for_stop(self)
  if not ended then return nil, why, why_code end
  self.starting = (self.starting or 0) + 1
  local started, message, code = start(self, ids, count)
  self.starting = math.max(self.starting - 1, 0)
  if not started then return nil, message, code end
  return true
end

-- ---- By hand -----------------------------------------------------------------------------------

-- It has said who it is, or nothing will come of it.
local SAID = { identifying = true, resuming = true, ready = true }

local function wait_until_said(self, one)
  local own = self.bridge
  while not SAID[one.state] do
    local fields = shard.fields(one)
    if fields.down and one.state == "dead" then
      local fatal = fields.fatal or {}
      return nil, ("identify: shard %d/%d is down for good: %s"):format(one.id, one.count,
        fatal.message or "it was refused"), fatal.error or "ECLOSED"
    elseif fields.down or fields.leaving then
      return nil, ("identify: shard %d/%d was disconnected"):format(one.id, one.count), "ECLOSED"
    end
    local going, message, code = own:pause(RETRY_S)
    if not going then return nil, message, code end
  end
  return true
end

-- Tells the engine of a shard that runs what its Identify says now.
local function tell_identify(self, one, packet)
  local wanted = packet and start_options(self, one) or nil
  for _ = 1, START_TRIES do
    local told, message, code = self.bridge.engine:identify(one.id, wanted)
    if told or code ~= "EBUSY" then return told, message, code end
    local going, why, why_code = self.bridge:pause(RETRY_S)
    if not going then return nil, why, why_code end
  end
  return nil, "identify: too many commands wait; try again", "EBUSY"
end

--- For gateway.lua: lets a shard identify, with what `packet` (checked) says, and waits for it.
function launch.identify(self, one, packet)
  local fields = shard.fields(one)
  if packet then
    local said = fields.said or {}
    for key, value in pairs(packet) do said[key] = value end
    fields.said = said
    if said.presence then fields.presence, said.presence = core.encode(said.presence), nil end
  end
  local going, message, code
  if not self.bridge or fields.down or fields.leaving then
    going, message, code = launch.start(self, { one.id }, self.count)
  else
    going, message, code = tell_identify(self, one, packet)
  end
  if not going then return nil, message, code end
  return wait_until_said(self, one)
end

return launch

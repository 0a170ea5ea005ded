-- cluster.lua: the shards of a bot: starting, routing, running, stopping. moongate.client() makes
-- one as well. Called by users on the Lua thread. It knows neither JSON nor numbers of opcodes:
-- shards send, an engine does the work, a scheduler turns the loop.
--
--   engine -> bridge -> delivery -> the shard's listeners -> the cluster's listeners
--
-- The public fields stand in README.md; the others begin to matter only here:
--   bridge       the engine's Lua end; nil before the first connect and after stop
--   emitter      the cluster's listeners; a shard's emitter has it for its parent
--   retired      Shards that were taken off, by id
--   starting     how many starts are under way
--   reshaping    the change of their number that is under way; see reshard.lua
--   count        how many shards the bot has in all, once that is known
--   gateway_url  where its shards connect to, once that is known
--   ear          the descriptor for other loops, once one has asked for it
--   stopping, stopped, failure, waiter   how far an end has come, and who waits for it
--
-- What changes which shards there are is done in a shelter: Ctrl-C leaves none of it half done. A
-- wait in there that Ctrl-C ends returns nil, message, "EINTR".

local commands = require "moongate.commands"
local core = require "moongate.core"
local delivery = require "moongate.delivery"
local emitter = require "moongate.emitter"
local gateways = require "moongate.gateway"
local launch = require "moongate.launch"
local metrics = require "moongate.metrics"
local options = require "moongate.options"
local pollable = require "moongate.pollable"
local roster = require "moongate.roster"
local scheduler = require "moongate.scheduler"
local shard = require "moongate.shard"
local shelter = require "moongate.shelter"
local snowflake = require "moongate.snowflake"

local cluster = {}

local methods = {}

local limits = core.limits
local KEEP, NORMAL = limits.CLOSE_KEEP, limits.CLOSE_NORMAL
local STOP_S = limits.STOP_TIMEOUT_MS / 1000

-- ---- Properties --------------------------------------------------------------------------------

-- From the farthest from ready to ready itself.
local STATE_RANK = {}
for rank, state in ipairs {
  "dead", "idle", "closing", "backoff", "waiting", "connecting", "hello", "identifying", "resuming",
  "ready",
} do
  STATE_RANK[state] = rank
end

local function least_state(self)
  local least
  for _, one in pairs(self.shards) do
    local state = one.state
    if not least or STATE_RANK[state] < STATE_RANK[least] then least = state end
  end
  return least or "idle"
end

local function mean_latency(self)
  local sum, count = 0, 0
  for _, one in pairs(self.shards) do
    local latency = one.latency
    if latency then sum, count = sum + latency, count + 1 end
  end
  return count > 0 and sum / count or nil
end

local properties = { state = least_state, latency = mean_latency }

local function describe(self)
  local total, ready = 0, 0
  for _, one in pairs(self.shards) do
    total = total + 1
    if one.state == "ready" then ready = ready + 1 end
  end
  local noun = self.noun
  if total == 0 then return noun .. " not connected" end
  local words = ("%s %d shard%s"):format(noun, total, total == 1 and "" or "s")
  if ready == total then
    words = words .. " ready"
  elseif total == 1 then
    words = words .. " " .. least_state(self)
  else
    words = ("%s, %d ready"):format(words, ready)
  end
  local latency = ready > 0 and mean_latency(self)
  return latency and ("%s, %d ms"):format(words, math.floor(latency * 1000 + 0.5)) or words
end

local meta = {
  __name = "moongate.cluster",
  __tostring = describe,
  __members = { methods, properties, { shards = true, gateway = true } }, -- see complete.lua
  __internal = {
    identify_shard = true, start_shards = true, send_all = true, remember_presence = true,
  },
  __index = function(self, key)
    local method = methods[key]
    if method then return method end
    local property = properties[key]
    return property and property(self)
  end,
}

--- For gateway.lua: lets a shard of it identify.
function methods:identify_shard(one, packet)
  return shelter.call(launch.identify, self, one, packet)
end

--- For shard.lua: starts some shards of the number that is known or configured.
function methods:start_shards(ids)
  return shelter.call(launch.start, self, ids, self.count)
end

-- ---- spawn -------------------------------------------------------------------------------------

--- spawn(): the recommended number of shards, or what the options say. spawn(n): n shards.
-- spawn { 0, 3, 7 }: those of them. spawn(min, max): that range. Waits until they are started, not
-- until they are ready: inside a handler it yields, at top level it runs the loop. Those that run
-- already go on. Returns true, or nil, message, code.
function methods:spawn(first, last)
  local ids, count = roster.wanted(first, last, 3)
  return shelter.call(launch.start, self, ids, count)
end

--- The same as spawn() without arguments.
function methods:connect()
  return shelter.call(launch.start, self)
end

--- Starts one shard more, of the number that is known. Its Shard, or nil, message, code: EUSAGE
-- when the cluster has it already, or when there is no such shard.
function methods:add_shard(id)
  return shelter.call(roster.add, self, roster.check_id("add_shard", id, 3))
end

--- Ends a shard, and its session, and takes it off `shards`; the others go on. What it received is
-- heard first. True, or nil, message, code: EUSAGE when the cluster does not have it.
function methods:remove_shard(id)
  return shelter.call(roster.remove, self, roster.check_id("remove_shard", id, 3))
end

--- Replaces the shards by n others while the bot goes on: the new ones are ready before the old
-- ones leave, and every event is heard once. Shard objects keep their ids. Where this cluster runs
-- some of the shards only, `ids` says which of the new ones. Waits until the old ones are gone:
-- true, and how many events came from both sets; or nil, message, code, and the old shards go on.
function methods:reshard(n, ids)
  local count = roster.check_count(n, 3)
  ids = ids and roster.check_ids("reshard", ids, 3)
  return shelter.call(roster.reshard, self, count, ids)
end

-- ---- Running -----------------------------------------------------------------------------------

-- Ctrl-C makes the standard interpreter raise this in the main program.
local function is_interrupt(err)
  return type(err) == "string" and err:find("interrupted!", 1, true) ~= nil
end

local function is_over(self)
  return self.stopped and not self.stopping or self.failure ~= nil or self.bridge == nil
end

-- Nothing runs that was not told to disconnect: run() begins anew then.
local function is_idle(self)
  if not self.bridge then return true end
  for _, one in pairs(self.shards) do
    local fields = shard.fields(one)
    if not fields.down and not fields.leaving then return false end
  end
  return self.failure == nil
end

local function connect_and_wait(self)
  if is_idle(self) then
    local connected, message, code = shelter.call(launch.start, self)
    if not connected and not self.stopped then return nil, message, code end
  end
  return scheduler.run_until(function() return is_over(self) end)
end

-- What Ctrl-C does to run().
local function leave(self)
  self.stopped = true
  delivery.end_waits(self, "interrupted")
  launch.shut(self, KEEP)
  return true
end

--- Connects unless that has been done, and hands events to their listeners until stop() or Ctrl-C:
-- then true. nil, message, code when it cannot connect, or when the last shard is down for good. An
-- error of a listener is raised here, unless somebody listens to `error`.
function methods:run()
  local fine, done, message, code = pcall(connect_and_wait, self)
  if not fine then
    if not is_interrupt(done) then error(done, 0) end
    return shelter.call(leave, self)
  end
  local failure = self.failure
  if failure then
    launch.shut(self, KEEP)
    return nil, failure.message, failure.code
  end
  if not done and not self.stopped then
    if delivery.all_down(self) then launch.shut(self, KEEP) end
    return nil, message, code
  end
  return true
end

--- Hands on what is there, waiting for it at most timeout_s seconds. Returns how many events and
-- timers there were, and "EINTR" when a signal ended the wait.
function methods.step(_, timeout_s)
  return scheduler.step(timeout_s)
end

-- ---- Stopping ----------------------------------------------------------------------------------

-- Nor for longer than there is something to be stopped: run() may have ended meanwhile.
local function wait_until_down(self, own)
  local ends_at = core.now() + STOP_S
  while self.bridge == own and not delivery.all_down(self) do
    local left_s = ends_at - core.now()
    if left_s <= 0 then return end
    self.waiter = scheduler.waiter()
    local _, _, code = self.waiter:wait(left_s)
    if code == "EINTR" then return end
  end
end

local function finish_stop(self, own, code)
  self.waiter = nil
  if self.bridge == own then launch.shut(self, code) end
  self.stopping = false
  delivery.end_waits(self, "the client was stopped")
  local waiting = self.stop_waiters
  self.stop_waiters = {}
  for _, waiter in ipairs(waiting) do waiter:wake(true) end
  scheduler.look_again() -- a run() that waits in a coroutine
end

-- Fine from any state, twice, and inside a handler, where it yields.
local function stop(self, code)
  self.stopped = true
  if self.stopping then
    launch.wait_for_stop(self)
    return true
  end
  local current = self.bridge
  if not current then return true end
  self.stopping = true
  current:cancel()
  for id, one in pairs(self.shards) do
    -- What finds no memory to ask, the end of the engine does: its command was made at the start.
    if not current.engine:stop_shard(id, code, "") then shard.fields(one).down = true end
  end
  local fine, err = pcall(wait_until_down, self, current)
  finish_stop(self, current, code)
  if not fine then error(err, 0) end
  return true
end

local function check_stop(how)
  if how ~= nil and type(how) ~= "table" then
    error("stop: options must be a table such as { keep_session = true }", 3)
  end
  for key, value in pairs(how or {}) do
    if key ~= "keep_session" then
      error(("stop: unknown option %s; there is: keep_session"):format(tostring(key)), 3)
    elseif type(value) ~= "boolean" then
      error(("stop: keep_session must be true or false, got %s"):format(type(value)), 3)
    end
  end
end

--- Closes every connection and ends run(). The session ends too (1000), so that the bot is seen to
-- go offline at once; with keep_session = true, or with a session_store and unless it is false, the
-- session can be resumed. Waits until the shards are down, at most two seconds. Returns true.
function methods:stop(how)
  check_stop(how)
  local keep = how and how.keep_session
  if keep == nil then keep = self.options.session_store ~= nil end
  return shelter.call(stop, self, keep and KEEP or NORMAL)
end

function meta.__close(self)
  self.stopped = true
  launch.shut(self, KEEP)
end

-- Does the same with every shard; the first failure is returned, after all have been tried.
local function each(self, verb, ...)
  if self.reshaping and verb ~= "send" then self.reshaping.abort() end
  local failure
  for _, one in pairs(self.shards) do
    local done, message, code = one[verb](one, ...)
    if not done and not failure then failure = { message, code } end
  end
  if failure then return nil, failure[1], failure[2] end
  return true
end

--- Closes the connection of every shard, which stay down. Any code but 1000 and 1001, and none,
-- keeps the sessions: connect() resumes them.
function methods:disconnect(code, reason)
  shard.check_close("disconnect", code, reason, 2)
  return each(self, "disconnect", code, reason)
end

--- Closes the connection of every shard, which come back.
function methods:reconnect(code, reason)
  shard.check_close("reconnect", code, reason, 2)
  return each(self, "reconnect", code, reason)
end

--- Spectacles' name for disconnect().
function methods:kill(code)
  shard.check_close("kill", code, nil, 2)
  return each(self, "disconnect", code)
end

-- ---- Other loops -------------------------------------------------------------------------------

--- A descriptor that is readable while step(0) has something to do: poll it, never read it. It is
-- the same for the life of the client; without epoll (Linux has it) it is another one after stop()
-- and reshard(). Nil, message, code when there is none to be had.
function methods:fd()
  if not self.ear then launch.open_ear(self) end
  if self.ear then return self.ear:fd() end
  local opened, message, code = launch.open(self)
  if not opened then return nil, message, code end
  return self.bridge.engine:fd()
end

--- Seconds until step(0) wants to be called although the descriptor is not readable; nil: never.
-- To be asked anew before each wait: it may change with each turn.
function methods:timeout()
  local own = launch.due_in(self)
  local timers = scheduler.timeout()
  if own and timers then return math.min(own, timers) end
  return own or timers
end

--- An object that cqueues (pollfd, events, timeout), luasocket's select (getfd, dirty) and
-- copas.receive (receive, close) wait on.
function methods:pollable()
  return pollable.new(self)
end

-- ---- Routing -----------------------------------------------------------------------------------

-- What is no id is the caller's mistake, raised at `level` counted from here; its callers return
-- what this returns, so that none of their frames is left in between.
local function find_shard(self, operation, guild_id, level)
  local fine, id = pcall(snowflake.shard_of, guild_id, self.count or 1)
  if not fine then
    local shown = type(guild_id) == "string" and ("%q"):format(guild_id:sub(1, 24))
    error(("%s: guild_id must be an id (a string of digits), got %s"):format(operation,
      shown or type(guild_id)), level)
  elseif not self.count then
    return nil, operation .. ": the number of shards is not known yet; connect() first", "EUSAGE"
  end
  local one = self.shards[id]
  if one then return one end
  return nil, ("%s: guild %s is on shard %d of %d, which does not run here"):format(operation,
    tostring(guild_id), id, self.count), "EUSAGE"
end

--- The Shard of a guild, by its id; or nil, message, code when this cluster does not run it.
function methods:shard_for(guild_id)
  return find_shard(self, "shard_for", guild_id, 2)
end

-- A Shard, the id of one (a small number), or a guild id.
local function target_of(self, target)
  if shard.is(target) then return target end
  if type(target) == "number" and self.shards[target] then return self.shards[target] end
  if type(target) ~= "string" and type(target) ~= "number" then
    error(("send: a guild id or a shard is expected first, got %s"):format(type(target)), 3)
  end
  return find_shard(self, "send", target, 3)
end

--- send(guild_id or shard, op, d): to the shard that has the guild. As Shard:send.
function methods:send(target, ...)
  local one, message, code = target_of(self, target)
  if not one then return nil, message, code end
  return one:send(...)
end

--- For commands.lua: the same to every shard.
function methods:send_all(op, d)
  if next(self.shards) == nil then
    return nil, "send: not running; connect() first", "ECLOSED"
  end
  return each(self, "send", op, d)
end

--- For commands.lua: shards that are started from now on identify with this presence, until they
-- are told one of their own.
function methods:remember_presence(d)
  self.presence = shard.presence_of(d) or self.presence
  for _, one in pairs(self.shards) do shard.fields(one).presence = nil end
end

-- ---- stats -------------------------------------------------------------------------------------

--- What is counted, as plain tables: shards by id, the queue between the threads, the connections
-- that are being made, dispatches by name, the identifies of the day.
function methods:stats()
  return metrics.stats(self)
end

--- The same as text for Prometheus.
function methods:metrics()
  return metrics.text(self)
end

emitter.delegate(methods, function(self) return self.emitter end)
commands.for_cluster(methods)

-- A method that is called with a dot gets no object.
local function guard(name, method)
  return function(self, ...)
    if getmetatable(self) ~= meta then
      error(("%s: a client expected, got %s; is it called as bot:%s()?"):format(name, type(self),
        name), 2)
    end
    return method(self, ...)
  end
end

for name, method in pairs(methods) do methods[name] = guard(name, method) end

-- ---- Making ------------------------------------------------------------------------------------

-- The presence of the options, as it goes into Identify.
local function encode_presence(presence, level)
  if not presence then return nil end
  local fine, message, d = pcall(commands.builders.presence, presence)
  local text
  if fine then text, message = core.encode(d) end
  if not text then
    error("moongate: presence: " .. tostring(message):gsub("^.-set_presence: ", ""), level + 1)
  end
  return text
end

--- A new Cluster. `source` is a token, a Gateway or nil; `wanted` the user's options; `noun` what
-- it calls itself. Raises one error with every mistake in the options, at `level`, counted from
-- here as error() does.
function cluster.new(source, wanted, noun, level)
  local defaults = {}
  if gateways.is(source) then
    defaults.token = source.token
  elseif source ~= nil then
    defaults.token = source
  end
  local checked = options.check(wanted or {}, defaults, level + 1)
  if gateways.is(source) and options.reveal(checked.token) ~= source.token then
    error("moongate: the gateway object is of another token than the options; leave token out",
      level)
  end
  local gateway = gateways.of(options.reveal(checked.token))
  if type(wanted) ~= "table" or wanted.api == nil then checked.api = gateway.api end
  local self = setmetatable({
    noun = noun,
    options = checked,
    shards = {},
    shard_fields = {}, -- of those that had events, by shard
    desk = {}, -- how the events of its shards go: see engine_serve in lua_engine.c
    save_timer = false,
    retired = {},
    gateway = gateway,
    presence = encode_presence(checked.presence, level),
    warned = {},
    stop_waiters = {},
    stopped = false,
    stopping = false,
  }, meta)
  self.emitter = delivery.emitter_of(self)
  return self
end

--- The Shard `id` of a cluster that is to run it alone: moongate.shard().
function cluster.alone(self, id)
  self.options.shard_ids = { id }
  local count = self.options.shards or self.gateway.chosen_shards or id + 1
  return launch.new_shard(self, id, count)
end

return cluster

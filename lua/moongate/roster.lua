-- roster.lua: which shards a cluster has: what users say about that, adding one, removing one,
-- another number of them. Called by cluster.lua on the Lua thread.

local core = require "moongate.core"
local delivery = require "moongate.delivery"
local launch = require "moongate.launch"
local reshard = require "moongate.reshard"
local sessions = require "moongate.sessions"
local shard = require "moongate.shard"
local spelling = require "moongate.spelling"

local roster = {}

local limits = core.limits
local NORMAL = limits.CLOSE_NORMAL
local LEAVE_S = limits.CLOSE_TIMEOUT_MS / 1000 + 2 -- a close has its own deadline
local LOOK_S = 0.02

-- ---- What users say ----------------------------------------------------------------------------

local shown = spelling.shown

local function is_whole(value, least)
  return type(value) == "number" and value % 1 == 0 and value >= least
    and value <= limits.SHARDS_MAX
end

--- The id of one shard. Raises at `level`, counted from here.
function roster.check_id(operation, id, level)
  if is_whole(id, 0) then return math.floor(id) end
  error(("%s: id must be a whole number from 0, got %s"):format(operation, shown(id)), level)
end

--- A list of ids.
function roster.check_ids(operation, list, level)
  local ids, seen, keys = {}, {}, 0
  if type(list) ~= "table" then
    error(("%s: ids must be a list, got %s"):format(operation, type(list)), level)
  end
  for i, id in ipairs(list) do
    if not is_whole(id, 0) or seen[id] then
      error(("%s: ids must be different whole numbers from 0, got %s"):format(operation,
        shown(id)), level)
    end
    ids[i], seen[id] = math.floor(id), true
  end
  for _ in pairs(list) do keys = keys + 1 end
  if keys ~= #ids then error(operation .. ": ids must be a list without gaps or names", level) end
  if #ids == 0 then error(operation .. ": the list of ids is empty", level) end
  return ids
end

--- A number of shards.
function roster.check_count(count, level)
  if is_whole(count, 1) then return math.floor(count) end
  error(("reshard: n must be a whole number from 1, got %s"):format(shown(count)), level)
end

--- What spawn() is to start: ids and count, each nil where nothing is said about it.
function roster.wanted(first, last, level)
  if first == nil and last == nil then return nil end
  if type(first) == "table" and last == nil then
    local ids = roster.check_ids("spawn", first, level + 1)
    return ids
  end
  if not is_whole(first, last == nil and 1 or 0) then
    error(("spawn: a number of shards, a list of ids or a range is expected, got %s"):format(
      shown(first)), level)
  end
  first = math.floor(first)
  if last == nil then return launch.range(0, first - 1), first end
  if not is_whole(last, first) then
    error(("spawn: max must be a whole number from min, got %s"):format(shown(last)), level)
  end
  return launch.range(first, math.floor(last))
end

-- ---- Changes -----------------------------------------------------------------------------------

local function judge_change(self, operation)
  if not self.bridge or not self.count then
    return nil, operation .. ": not running; connect() first", "ECLOSED"
  elseif self.reshaping then
    return nil, operation .. ": the number of shards is being changed; wait until reshard() "
      .. "returns", "EBUSY"
  elseif (self.starting or 0) > 0 then
    return nil, operation .. ": the shards are being started; wait until connect() returns", "EBUSY"
  end
  return true
end

function roster.add(self, id)
  local fine, message, code = judge_change(self, "add_shard")
  if not fine then return nil, message, code end
  if self.shards[id] then
    return nil, ("add_shard: shard %d is there already; its connect() starts it again"):format(id),
      "EUSAGE"
  elseif id >= self.count then
    return nil, ("add_shard: there is no shard %d of %d; reshard(%d) makes more"):format(id,
      self.count, id + 1), "EUSAGE"
  end
  fine, message, code = launch.start(self, { id }, self.count)
  if not fine then return nil, message, code end
  return self.shards[id]
end

-- True once it is down and what it received has been heard.
local function wait_until_gone(self, one)
  local own, ends_at = self.bridge, core.now() + LEAVE_S
  local fields = shard.fields(one)
  while not fields.down and core.now() < ends_at do
    local going, message, code = own:pause(LOOK_S)
    if not going then return nil, "remove_shard: " .. message, code end
  end
  if fields.down then return true end
  return nil, ("remove_shard: shard %d is still closing; try again"):format(one.id), "EBUSY"
end

-- What was accepted goes with it, but not in silence.
local function tell_unsent(self, one)
  local unsent = core.shard_status(one).outbox_commands
  if unsent == 0 then return end
  delivery.tell(self, one, "error", {
    code = "ECLOSED", phase = "send",
    message = ("remove_shard: %d command%s of shard %d/%d still waited and %s given up"):format(
      unsent, unsent == 1 and "" or "s", one.id, one.count, unsent == 1 and "was" or "were"),
  })
end

function roster.remove(self, id)
  local fine, message, code = judge_change(self, "remove_shard")
  if not fine then return nil, message, code end
  local one = self.shards[id]
  if not one then
    return nil, ("remove_shard: shard %d of %d does not run here"):format(id, self.count), "EUSAGE"
  end
  if not shard.fields(one).down then
    fine, message, code = one:disconnect(NORMAL)
    if fine then fine, message, code = wait_until_gone(self, one) end
    if not fine then return nil, message, code end
  end
  sessions.changed(self, one)
  tell_unsent(self, one)
  launch.retire(self, id)
  return true
end

-- Which of the new ones run here, or nil, message, code.
local function ids_of(self, count, ids)
  if not ids then
    if #launch.ids(self) == self.count then return launch.range(0, count - 1) end
    return nil, ("reshard: %d of %d shards run here; say which of the new ones shall: "
      .. "reshard(%d, { ... })"):format(#launch.ids(self), self.count, count), "EUSAGE"
  end
  for _, id in ipairs(ids) do
    if id >= count then
      return nil, ("reshard: there is no shard %d of %d"):format(id, count), "EUSAGE"
    end
  end
  return ids
end

function roster.reshard(self, count, ids)
  local fine, message, code = judge_change(self, "reshard")
  if not fine then return nil, message, code end
  if count == self.count and not ids then return true, 0 end
  ids, message, code = ids_of(self, count, ids)
  if not ids then return nil, message, code end
  return reshard.run(self, count, ids)
end

return roster

-- coordinator.lua: turns to identify, shared by the processes of one token, as
-- options.identify_coordinator. Called by turns.lua on the Lua thread.
--
-- A coordinator is anything with these methods. `claim` is the same table in all three, made anew
-- for each turn: { token = 16 hex digits that tell tokens apart, key = shard id modulo
-- max_concurrency, shard_id, shard_count, total, used, reserve }. The last three are what this
-- process knows of the session start limit: identifies of a day, how many are gone, how many are
-- to be left over.
--
--   acquire(claim)            true: the turn is ours until it is released. false: not now, ask
--                             again at deadline(claim). nil, message: it does not work; asked
--                             again later.
--   deadline(claim)           in how many seconds to ask again, after a false.
--   release(claim, spent_s)   the turn is over. spent_s: so many seconds ago an Identify left;
--                             nil: none did. True, or nil, message.
--
-- All three may yield. A turn lasts from before the shard connects until READY, a failure or a
-- deadline; 5 s from one Identify to the next with the same key are the coordinator's to keep.

local cjson = require "cjson.safe"
local core = require "moongate.core"

local coordinator = {}

local WINDOW_S = core.limits.IDENTIFY_WINDOW_MS / 1000
local DAY_S = core.limits.QUOTA_DAY_MS / 1000
local LOOK_S = 0.25 -- while somebody else holds the turn

-- ---- One machine: files ------------------------------------------------------------------------

-- One file a key, locked as long as its turn lasts: the system takes the lock from a process that
-- dies. What stands in it says when the next Identify may leave, on the clock that all processes
-- of a machine share, and whether a turn is going on: if it says so while nobody holds the lock,
-- its holder died, perhaps with its Identify on the wire.
local File = {}
File.__index = File

local function path_of(self, claim, what)
  return ("%s-%s-%s"):format(self.path, claim.token, what)
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  local record = text and cjson.decode(text)
  return type(record) == "table" and record or {}
end

-- In place, so that the lock stays on what is written.
local function write(path, record)
  local file, why = io.open(path, "wb")
  if not file then return nil, "coordinator: " .. why, "ESYSTEM" end
  local written, problem = file:write(cjson.encode(record))
  local closed, reason = file:close()
  if written and closed then return true end
  return nil, "coordinator: " .. tostring(problem or reason), "ESYSTEM"
end

local function number(value)
  return type(value) == "number" and value == value and value or nil
end

-- ---- The count of a day ------------------------------------------------------------------------

-- { before =, before_until =, spent = { times of day } }: what was used up before anybody counted
-- here, and the identifies since. Both are forgotten a day later.
local function read_count(path, now)
  local record, spent = read(path), {}
  for _, time in ipairs(type(record.spent) == "table" and record.spent or {}) do
    time = number(time)
    if time and time > now - DAY_S and time <= now then spent[#spent + 1] = time end
  end
  local before, before_until = number(record.before), number(record.before_until)
  if not before or not before_until or before_until <= now or before_until > now + DAY_S then
    before, before_until = 0, now
  end
  return { spent = spent, before = before, before_until = before_until }
end

-- What a process knows of identifies that nobody counted here.
local function learn(count, claim, now)
  local unseen = (claim.used or 0) - #count.spent
  if unseen > count.before then count.before, count.before_until = unseen, now + DAY_S end
end

-- Changes the count under its own lock: fn(count, now).
local function with_count(self, claim, fn)
  local path, now = path_of(self, claim, "count"), os.time()
  local lock, message, code = core.lock_file(path)
  if not lock then return nil, "coordinator: " .. message, code end
  local count = read_count(path, now)
  learn(count, claim, now)
  fn(count, now)
  local written
  written, message, code = write(path, count)
  lock:close()
  if not written then return nil, message, code end
  return true
end

-- True when an Identify may be spent; false and the seconds until then.
local function may_spend(self, claim)
  local rest_s
  local done, message, code = with_count(self, claim, function(count, now)
    local left = (claim.total or math.huge) - count.before - #count.spent
    if left > (claim.reserve or 0) then return end
    local forgotten = count.spent[1] and count.spent[1] + DAY_S or math.huge
    if count.before > 0 then forgotten = math.min(forgotten, count.before_until) end
    rest_s = forgotten - now
  end)
  if not done then return nil, message, code end
  if rest_s then return false, rest_s end
  return true
end

local function count_down(self, claim, spent_s)
  return with_count(self, claim, function(count, now)
    table.insert(count.spent, now - math.floor(spent_s))
    table.sort(count.spent)
  end)
end

-- ---- The three methods -------------------------------------------------------------------------

local function later(self, claim, seconds)
  self.again_at[claim.key] = core.now() + seconds
  return false
end

-- With the lock held: true, or the seconds until the window is over.
local function begin_turn(path)
  local record, now = read(path), core.now()
  local free_at = number(record.free_at) or 0
  if record.held then
    free_at = now + WINDOW_S
    local written, message, code = write(path, { free_at = free_at })
    if not written then return nil, message, code end
  end
  -- A time further away is from before the machine started anew.
  if free_at > now and free_at <= now + WINDOW_S then return false, free_at - now end
  return write(path, { held = true })
end

--- Asks for a turn. True: it is ours until it is released; false: not now, ask again at
-- deadline(claim); nil, message, code: it does not work.
function File:acquire(claim)
  local path = path_of(self, claim, claim.key)
  local lock, message, code = core.lock_file(path, 0)
  if not lock and code == "EBUSY" then return later(self, claim, LOOK_S) end
  if not lock then return nil, "coordinator: " .. message, code end
  local mine, rest_s, why = may_spend(self, claim)
  if mine then mine, rest_s, why = begin_turn(path) end
  if mine then
    self.locks[claim.key] = lock
    return true
  end
  lock:close()
  if mine == nil then return nil, rest_s, why end
  return later(self, claim, rest_s)
end

--- In how many seconds to ask again, after a false.
function File:deadline(claim)
  return math.max((self.again_at[claim.key] or 0) - core.now(), 0)
end

--- The turn is over. spent_s: so many seconds ago an Identify left; nil: none did. True, or nil,
-- message, code.
function File:release(claim, spent_s)
  local lock = self.locks[claim.key]
  if not lock then return true end
  self.locks[claim.key] = nil
  local counted, message, code = true, nil, nil
  if spent_s then counted, message, code = count_down(self, claim, spent_s) end
  local free_at = spent_s and core.now() - spent_s + WINDOW_S
  local written, why, reason = write(path_of(self, claim, claim.key), { free_at = free_at })
  lock:close()
  if not written then return nil, why, reason end
  if not counted then return nil, message, code end
  return true
end

function File:__tostring()
  return ("Coordinator in %s-*"):format(self.path)
end

--- A coordinator for the processes of one machine, by way of small files whose names begin with
-- `path` (default: moongate in $XDG_RUNTIME_DIR, else in $TMPDIR, else in /tmp). A process that is
-- killed gives its turn back. All processes have to name the same path and be one user's.
function coordinator.file(path)
  if path ~= nil and (type(path) ~= "string" or path == "" or path:find "%z") then
    error(("coordinator.file: path must be the beginning of a file's name, got %s")
      :format(type(path)), 2)
  end
  local folder = os.getenv "XDG_RUNTIME_DIR" or os.getenv "TMPDIR" or "/tmp"
  return setmetatable({
    path = path or folder .. "/moongate",
    locks = {}, -- by key: held
    again_at = {}, -- by key: when to ask again
  }, File)
end

return coordinator

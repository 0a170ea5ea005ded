-- coordinator.lua: turns to identify, shared by the processes of one token, as
-- options.identify_coordinator. Called by turns.lua on the Lua thread.
--
-- A coordinator is anything with these methods. `claim` is the same table in all three, made anew
-- for each turn: { token = 16 hex digits that tell tokens apart, key = shard id modulo
-- max_concurrency, shard_id, shard_count, remaining, reserve, reset_at }. The last three are what
-- this process knows of the session start limit; nil when it knows nothing.
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

-- Changes the common count under its own lock; fn(record) returns what to write, or nil.
local function with_count(self, claim, fn)
  local path = path_of(self, claim, "count")
  local lock, message, code = core.lock_file(path)
  if not lock then return nil, "coordinator: " .. message, code end
  local record = fn(read(path))
  local written = true
  if record then written, message, code = write(path, record) end
  lock:close()
  if not written then return nil, message, code end
  return true
end

-- What is left for all of us: the smaller number, as long as both speak of the same window.
local function merge(record, claim, now)
  local remaining, reset_at = number(record.remaining), number(record.reset_at)
  if not remaining or not reset_at or reset_at <= now then
    remaining, reset_at = claim.remaining, claim.reset_at
  elseif claim.remaining and claim.remaining < remaining then
    remaining = claim.remaining
  end
  return remaining, reset_at
end

-- True when an Identify may be spent; false and the seconds until then.
local function may_spend(self, claim)
  local rest_s
  local done, message, code = with_count(self, claim, function(record)
    local now = os.time()
    local remaining, reset_at = merge(record, claim, now)
    if remaining and remaining <= (claim.reserve or 0) then rest_s = reset_at - now end
    return remaining and { remaining = remaining, reset_at = reset_at }
  end)
  if not done then return nil, message, code end
  if rest_s then return false, rest_s end
  return true
end

local function count_down(self, claim)
  return with_count(self, claim, function(record)
    local remaining = number(record.remaining)
    if not remaining then return nil end
    return { remaining = math.max(remaining - 1, 0), reset_at = record.reset_at }
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

function File:deadline(claim)
  return math.max((self.again_at[claim.key] or 0) - core.now(), 0)
end

function File:release(claim, spent_s)
  local lock = self.locks[claim.key]
  if not lock then return true end
  self.locks[claim.key] = nil
  local counted, message, code = true, nil, nil
  if spent_s then counted, message, code = count_down(self, claim) end
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

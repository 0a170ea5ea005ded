-- quota.lua: the identifies of a day, which the core counts, as a cluster sees them: kept in the
-- session store, `hold`, numbers. Called by launch.lua, delivery.lua and cluster.lua on the Lua
-- thread.

local core = require "moongate.core"
local scheduler = require "moongate.scheduler"
local sessions = require "moongate.sessions"

local quota = {}

local FORMAT = 1 -- of a record; one of another format is foreign
local KEY, WHAT = "budget", "the count of identifies"
local CLOCK_S = 60 -- by which two readings of a clock may differ

local limits = core.limits
local DAY_S = limits.QUOTA_DAY_MS / 1000
local KEPT_S = limits.QUOTA_STEP_MS * limits.QUOTA_STEPS / 1000

local function view(self)
  local url = self.gateway_url
  return url and core.quota(self.gateway.token, url, self.options.identify_reserve) or nil
end

-- ---- The store ---------------------------------------------------------------------------------

local function is_count(value, least)
  return math.type(value) == "integer" and value >= least and value <= limits.QUOTA_TOTAL_MAX
end

local function are_steps(list)
  if type(list) ~= "table" or #list > limits.QUOTA_STEPS then return false end
  for key, count in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #list or not is_count(count, 0) then
      return false
    end
  end
  return true
end

-- A time of day that is no later than `latest`.
local function is_time(value, latest)
  return type(value) == "number" and value >= 0 and value <= latest
end

-- Why a record is of no use, or nil.
local function judge(record, now)
  if type(record) ~= "table" then return "it is no table" end
  if record.format ~= FORMAT then return "it is of another format" end
  if not is_count(record.total, 1) or not is_count(record.told_used, 0)
    or not are_steps(record.steps) then
    return "its numbers are broken"
  end
  local saved_at = record.saved_at
  if not is_time(saved_at, math.huge) or not is_time(record.step_at, saved_at + CLOCK_S)
    or not is_time(record.told_until, saved_at + DAY_S + CLOCK_S) then
    return "its times are broken"
  end
  if now >= record.told_until and now >= record.step_at + KEPT_S then return "it is too old" end
end

local function milliseconds(seconds)
  return math.floor(math.max(seconds, 0) * 1000 + 0.5)
end

local function load(self)
  local record, why = sessions.read(self, sessions.key(self, KEY))
  if record == nil and not why then return end
  -- A clock that was set back makes nothing older.
  local now = os.time()
  if not why then why = judge(record, now) end
  if why then return sessions.refuse(self, WHAT, why) end
  now = math.max(now, math.floor(record.saved_at))
  core.quota_restore(self.gateway.token, self.gateway_url, {
    total = record.total,
    told_used = record.told_used,
    told_ms = milliseconds(record.told_until - now),
    step_ms = milliseconds(now - record.step_at),
    steps = record.steps,
  })
end

--- The URL is known, and nobody identifies yet: takes up what the store has, unless this process
-- knows better, and what the gateway says.
function quota.open(self)
  local known = view(self)
  if self.options.session_store and not known.known and known.spent == 0 then load(self) end
  self.gateway:connects_to(self.gateway_url)
end

--- Saves the count, if it has changed.
function quota.save(self)
  local now = self.options.session_store and view(self)
  if not now or now.used == 0 then return end
  local mark = now.spent .. "/" .. now.used
  if self.quota_saved == mark then return end
  local time = os.time()
  local saved = sessions.write(self, sessions.key(self, KEY), {
    format = FORMAT,
    total = now.total,
    told_used = now.told_used,
    told_until = time + now.told_ms / 1000,
    step_at = time - now.step_ms / 1000,
    steps = now.steps,
    saved_at = time,
  }, WHAT)
  if saved then self.quota_saved = mark end
end

-- ---- hold --------------------------------------------------------------------------------------

-- Nil: identifies may go on.
local function describe_hold(self)
  local now = view(self)
  if now.left > 0 then return nil end
  return { ["until"] = os.time() + math.ceil(now.hold_ms / 1000) }
end

--- Identifies wait. Where the gateway can be asked, it is, once, before that is believed; then
-- tell(what it says now, or nil) is called, unless they go on.
function quota.held(self, tell)
  local own = self.bridge
  if not self.gateway.session_start_limit then return tell() end
  scheduler.spawn(function()
    self.gateway:refresh(own)
    if self.stopped or self.bridge ~= own then return end
    quota.save(self)
    local data = describe_hold(self)
    if data then tell(data) end
  end)
end

--- { total, used, left, reserve }: of the day, and how many may go now; nil before the first
-- connect.
function quota.numbers(self)
  local now = view(self)
  return now and {
    total = now.total, used = now.used, left = now.left, reserve = self.options.identify_reserve,
  }
end

return quota

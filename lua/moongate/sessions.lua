-- sessions.lua: sessions of a cluster that outlive its process, by way of options.session_store.
-- Called by launch.lua, delivery.lua, cluster.lua and quota.lua on the Lua thread.
--
-- Kept is the sequence that listeners have handled, not the one that was received: what was queued
-- or half handled when a process died comes again, so every event arrives at least once.

local core = require "moongate.core"
local log = require "moongate.log"
local scheduler = require "moongate.scheduler"
local shard = require "moongate.shard"

local sessions = {}

local FORMAT = 1 -- of a record; one of another format is foreign
local SAVE_EVERY_S = 0.25 -- while events come
local SAVE_IDLE_S = 5 -- while none come
local STALE_S = 600 -- Discord forgets a session after some minutes; older ones are not tried

local limits = core.limits

--- The key of something of the token: tells tokens apart without telling them.
function sessions.key(self, name)
  local prefix = self.store_prefix
  if not prefix then
    prefix = core.fingerprint(self.gateway.token)
    self.store_prefix = prefix
  end
  return prefix .. "/" .. name
end

local function key_of(self, id)
  return sessions.key(self, ("%d/%d"):format(id, self.count))
end

--- Says that `what` is not taken up from the store, and why.
function sessions.refuse(self, what, why, fields)
  log.write(self, "warn", ("session_store: %s is not taken up: %s"):format(what, why), fields)
end

-- ---- Calling the store -------------------------------------------------------------------------

-- A store is the user's: whatever it does, the bot goes on.
local function call(self, verb, ...)
  local store = self.options.session_store
  local fine, result, message, code = pcall(store[verb], store, ...)
  if not fine then return nil, tostring(result), "EHANDLER" end
  return result, message, code
end

--- What the store has under a key: nil, or nil and why it cannot say.
function sessions.read(self, key)
  local record, message = call(self, "load", key)
  if record == false then return nil, message end
  return record, message
end

--- Saves a record; a failure is reported, and nil returned. `what` it is, and of which shard.
function sessions.write(self, key, record, what, one)
  local saved, message, code = call(self, "save", key, record)
  if saved then
    self.store_failure = nil
    return true
  end
  if self.store_failure ~= message then -- once, not four times a second
    self.store_failure = message
    self.emitter:emit("error", {
      code = code or "EHANDLER", phase = "session_store",
      message = ("session_store: %s is not saved: %s"):format(what,
        tostring(message or "save returned nothing")),
    }, one)
  end
  return nil
end

-- ---- Loading -----------------------------------------------------------------------------------

local function is_text(value, max)
  return type(value) == "string" and #value <= max and not value:find "[%c ]"
end

-- Why a record is of no use, or nil.
local function judge(record, id, count, now)
  if type(record) ~= "table" then return "it is no table" end
  if record.format ~= FORMAT then return "it is of another format" end
  if not is_text(record.id, limits.SESSION_ID_BYTES_MAX) or record.id == "" then
    return "its session id is broken"
  end
  if not is_text(record.url or "", limits.URL_BYTES_MAX) then return "its URL is broken" end
  if math.type(record.seq) ~= "integer" or record.seq < 0 then return "its sequence is broken" end
  if record.shard_id ~= id or record.shard_count ~= count then
    return "it belongs to another shard"
  end
  if type(record.saved_at) ~= "number" then return "its time is broken" end
  if math.abs(now - record.saved_at) > STALE_S then return "it is too old" end
end

--- The session that the store has for a shard: { id, url, seq }, or nil. What is of no use is told
-- as `log` and leads to an ordinary start.
function sessions.load(self, one)
  if not self.options.session_store then return nil end
  local record, why = sessions.read(self, key_of(self, one.id))
  if record ~= nil then
    if type(record) == "table" and record.ended then return nil end
    why = judge(record, one.id, self.count, os.time())
    if not why then return { id = record.id, url = record.url, seq = record.seq } end
  end
  if why then
    sessions.refuse(self, ("the session of shard %d"):format(one.id), why, { shard_id = one.id })
  end
  return nil
end

-- ---- Saving ------------------------------------------------------------------------------------

-- The record of what there is to take up, or one that says that there is nothing. Nil while nothing
-- of a new session has been handled.
local function record_of(one)
  local info = one:session_info()
  if not info and one.session then return nil end
  if not info then return { format = FORMAT, ended = true, saved_at = os.time() } end
  info.format, info.saved_at = FORMAT, os.time()
  return info
end

local function save(self, one)
  local fields = shard.fields(one)
  local record = record_of(one)
  if not record then return true end
  local mark = record.ended and "ended" or record.id .. "/" .. record.seq
  if fields.saved == mark then return true end
  local saved = sessions.write(self, key_of(self, one.id), record, "shard " .. one.id, one)
  if saved then fields.saved = mark end
  return saved
end

--- Saves the sessions of all shards now, as far as they have changed.
function sessions.save_all(self)
  if not self.options.session_store or not self.count then return end
  if self.save_timer then self.save_timer:cancel() end
  self.save_timer = false
  for _, one in pairs(self.shards) do save(self, one) end
end

-- Calls fn(self) after so many seconds, unless nobody refers to `self` any more by then.
local function after(self, seconds, fn)
  local weak = setmetatable({ self }, { __mode = "v" })
  return scheduler.after(seconds, function()
    if weak[1] then fn(weak[1]) end
  end)
end

--- Something was handled: saves soon, at most every 250 ms.
function sessions.touch(self)
  if self.save_timer or not self.options.session_store then return end
  self.save_timer = after(self, SAVE_EVERY_S, sessions.save_all)
end

--- While shards run: saves now and then also when nothing is handled, as events that nobody hears
-- move the sequence as well.
function sessions.keep(self)
  if self.keep_timer or not self.options.session_store then return end
  self.keep_timer = after(self, SAVE_IDLE_S, function(owner)
    owner.keep_timer = nil
    sessions.save_all(owner)
    if owner.bridge then sessions.keep(owner) end
  end)
end

--- Their shards are given up, and their sessions with them.
function sessions.forget(self)
  if not self.options.session_store then return end
  if self.save_timer then self.save_timer:cancel() end
  self.save_timer = nil
  for id, one in pairs(self.shards) do
    sessions.write(self, key_of(self, id), { format = FORMAT, ended = true, saved_at = os.time() },
      "shard " .. id, one)
  end
end

--- Saves one shard at once: its session has begun or ended.
function sessions.changed(self, one)
  if self.options.session_store and self.count then save(self, one) end
end

return sessions

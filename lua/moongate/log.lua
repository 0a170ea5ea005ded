-- log.lua: what is told to `log` listeners, and from which level on: options.log_level. Called by
-- delivery.lua, sessions.lua and the emitters of a cluster, on the Lua thread. It prints nothing.

local log = {}

--- The levels, the gravest first. With log_level = false nothing is told.
log.LEVELS = { "error", "warn", "info", "debug" }

local rank = {}
for i, level in ipairs(log.LEVELS) do rank[level] = i end

-- ---- moongate's own events as sentences --------------------------------------------------------

local function seconds(value)
  return value and ("%.3g s"):format(value) or "no time"
end

local function retry(data)
  return data.retry_in and "; again in " .. seconds(data.retry_in) or ""
end

-- A close code, its name and the reason, as far as there are any.
local function closed_with(code, name, reason)
  local words = tostring(code)
  if name and name ~= "" then words = words .. " " .. name end
  return reason ~= "" and words .. " " .. reason or words
end

local function grave_state(data)
  return data.to == "ready" and "info" or "debug"
end

local function grave_close(data)
  if data.will_reconnect == false and data.by == "server" then return "error" end
  return data.by == "server" and "info" or "debug"
end

-- Each row: the level, or a function of the data that gives it; the sentence.
local rows = {
  connect = { "debug", function(data)
    return ("connects to %s, attempt %d%s"):format(data.url, data.attempt,
      data.resuming and ", to resume" or "")
  end },
  open = { "debug", function(data) return "connected to " .. data.url end },
  disconnect = { "debug", function(data)
    return "asks for the close: " .. closed_with(data.code, nil, data.reason)
  end },
  state = { grave_state, function(data)
    return data.to == "ready" and "ready" or ("%s, was %s"):format(data.to, data.from)
  end },
  close = { grave_close, function(data)
    return ("closed by the %s: %s%s"):format(data.by,
      closed_with(data.code, data.name, data.reason), retry(data))
  end },
  error = { "error", function(data) return tostring(data.message) .. retry(data) end },
  fatal = { "error", function(data)
    return ("down for good: %s (%s %s)%s"):format(data.message, tostring(data.code), data.name,
      data.remedy and ": " .. data.remedy or "")
  end },
  hold = { "warn", function(data)
    return ("the day's identifies are used up; it goes on at %s"):format(
      os.date("!%Y-%m-%d %H:%M:%SZ", math.floor(data["until"])))
  end },
  lost = { "warn", function(data)
    return ("the session is lost: %s; events behind %s may be missing"):format(data.reason,
      tostring(data.last_seq))
  end },
  gap = { "warn", function(data)
    return ("events are missing: sequence %d was expected, %d came"):format(data.expected,
      data.got)
  end },
  blocked = { "warn", function(data)
    return ("a handler of %s (%s) held everything up for %s"):format(data.event, data.where,
      seconds(data.seconds))
  end },
}

-- ---- Telling -----------------------------------------------------------------------------------

local function wants(self, level)
  local threshold = rank[self.options.log_level]
  return threshold ~= nil and rank[level] <= threshold
end

--- For the emitters of a cluster: which levels are told.
function log.filter(self)
  return function(level) return wants(self, level) end
end

--- Tells the cluster's `log` listeners something, if its level is wanted. `one` is the Shard that
-- it is about, or nil.
function log.write(self, level, message, fields, one)
  if not wants(self, level) or not self.emitter:hears("log") then return end
  self.emitter:emit("log", { level = level, message = message, fields = fields }, one)
end

--- Whether an own event may have to be told, so that its data is needed.
function log.takes(self, name)
  return rows[name] ~= nil and rank[self.options.log_level] ~= nil and self.emitter:hears("log")
end

--- One of moongate's own events, which its own listeners have had.
function log.event(self, one, name, data)
  local row = rows[name]
  if not row or not log.takes(self, name) then return end
  local level = type(row[1]) == "string" and row[1] or row[1](data)
  if not wants(self, level) then return end
  local fields = { event = name, shard_id = one and one.id or nil }
  for key, value in pairs(data) do
    if fields[key] == nil then fields[key] = value end
  end
  local where = one and ("shard %d/%d: "):format(one.id, one.count) or ""
  log.write(self, level, where .. row[2](data), fields, one)
end

return log

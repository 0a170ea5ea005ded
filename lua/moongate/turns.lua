-- turns.lua: turns to identify, where other processes of the token have theirs: asks
-- options.identify_coordinator for each. Called by delivery.lua and launch.lua on the Lua thread.
--
-- The engine asks with an event `turn`, which has a number, is answered by engine:turn(id, number),
-- and hears `turn_over` when READY came, or a failure, or nobody wants the turn any more.

local quota = require "moongate.quota"
local scheduler = require "moongate.scheduler"
local sessions = require "moongate.sessions"

local turns = {}

local RETRY_S = 5 -- when the coordinator does not work
local BUSY_S = 0.05 -- when the engine's command queue is full
local LOOK_S = 60 -- the longest wait before the coordinator is asked again

-- ---- The coordinator ---------------------------------------------------------------------------

-- It is the user's: whatever it does, the bot goes on.
local function call(self, verb, ...)
  local coordinator = self.options.identify_coordinator
  local fine, result, message, code = pcall(coordinator[verb], coordinator, ...)
  if not fine then return nil, tostring(result), "EHANDLER" end
  return result, message, code
end

-- Once, not every five seconds.
local function report(self, verb, message, code)
  if self.turns_failure == message then return end
  self.turns_failure = message
  self.emitter:emit("error", {
    code = code or "EHANDLER", phase = "identify_coordinator",
    message = ("identify_coordinator: %s: %s"):format(verb, tostring(message or "no answer")),
  })
end

local function claim_of(self, one, key)
  local numbers = quota.numbers(self) or {}
  return {
    token = sessions.key(self, ""):sub(1, -2),
    key = key,
    shard_id = one.id,
    shard_count = self.count,
    total = numbers.total,
    used = numbers.used,
    reserve = numbers.reserve,
  }
end

local function give_back(self, turn, spent_s)
  if not turn.held then return end
  turn.held = false
  scheduler.spawn(function()
    local released, message, code = call(self, "release", turn.claim, spent_s)
    if not released then report(self, "release", message, code) end
  end)
end

-- ---- One turn ----------------------------------------------------------------------------------

-- A wait that no window explains is one for the session start limit.
local function tell_hold(self, seconds)
  if seconds <= LOOK_S then
    self.turns_held = nil
  elseif not self.turns_held then
    self.turns_held = true
    self.emitter:emit("hold", { ["until"] = os.time() + math.ceil(seconds) })
  end
end

-- How long to wait before the coordinator is asked again.
local function rest_of(self, turn)
  local seconds, message, code = call(self, "deadline", turn.claim)
  if type(seconds) ~= "number" or seconds ~= seconds then
    report(self, "deadline", message or "no number of seconds", code)
    return RETRY_S
  end
  tell_hold(self, seconds)
  return math.min(math.max(seconds, BUSY_S), LOOK_S)
end

-- Asks once. Nil: the turn is ours; else the seconds to wait.
local function ask(self, turn)
  local mine, message, code = call(self, "acquire", turn.claim)
  if mine then
    turn.held, self.turns_failure = true, nil
    return nil
  end
  if mine == false then return rest_of(self, turn) end
  report(self, "acquire", message, code)
  return RETRY_S
end

-- Hands the turn to the engine. True, or the seconds to wait.
local function hand_over(own, turn)
  local queued, _, code = own.engine:turn(turn.one.id, turn.number)
  if queued then return true end
  return code == "EBUSY" and BUSY_S or RETRY_S
end

local function strive(self, own, turn)
  while turn.wanted and self.bridge == own do
    local wait_s = not turn.held and ask(self, turn) or nil
    if turn.held and turn.wanted and self.bridge == own then
      wait_s = hand_over(own, turn)
      if wait_s == true then return end
    end
    if wait_s and not own:pause(wait_s) then break end
  end
  give_back(self, turn)
end

-- ---- What the engine says ----------------------------------------------------------------------

local function over(self, turn, spent_s)
  self.turns[turn.number] = nil
  turn.wanted = false
  give_back(self, turn, spent_s)
end

--- A shard wants to identify.
function turns.asked(self, one, data)
  for _, turn in pairs(self.turns or {}) do
    if turn.one == one then over(self, turn, 0) end -- its end was lost
  end
  local turn = { number = data.number, one = one, claim = claim_of(self, one, data.key) }
  turn.wanted = true
  self.turns = self.turns or {}
  self.turns[turn.number] = turn
  scheduler.spawn(strive, self, self.bridge, turn)
end

--- It does not any more, or has done it.
function turns.ended(self, data)
  local turn = self.turns and self.turns[data.number]
  if turn then over(self, turn, data.spent_ms and data.spent_ms / 1000) end
end

--- The engine is closed. Who has a turn may have identified in the last moment.
function turns.shut(self)
  for _, turn in pairs(self.turns or {}) do over(self, turn, 0) end
  self.turns = nil
end

return turns

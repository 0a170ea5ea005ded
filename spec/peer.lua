-- peer.lua: the other end of a driven machine (see helper.lua), for specs in which something goes
-- wrong anywhere: a gateway that keeps one session and its events, and says what a machine asks
-- for, whenever it asks. A connection of it can end behind any byte.

local helper = require "helper"

local peer = {}
local methods = {}
methods.__index = methods

--- A gateway of one session, whose events have the sequences 2 to `last`. `heard` lists what the
--- machine handed on; `left` is how many bytes the present connection has yet, nil: any number.
function peer.new(last, encoding)
  return setmetatable({ last = last, json = encoding ~= "etf", heard = {} }, methods)
end

-- What follows Identify or Resume; the second and the third event are one message, where the
-- encoding lets them be.
local function texts_for(self, packet)
  local texts, at = {}, packet.op == 6 and packet.d.seq + 1 or 2
  if packet.op == 2 then texts[1] = helper.ready("s1") end
  while at <= self.last do
    local text = helper.dispatch("EVENT", at, at)
    if at == 3 and self.json then
      at = 4
      text = text .. "\n" .. helper.dispatch("EVENT", at, at)
    end
    texts[#texts + 1] = text
    at = at + 1
  end
  if packet.op == 6 then texts[#texts + 1] = helper.dispatch("RESUMED", self.last + 1) end
  return texts
end

local open = { hello = true, identifying = true, resuming = true, ready = true }

-- One message, or what of it still fits; behind the last byte the connection ends.
local function say(self, driven, text)
  local bytes, binary = driven:encode(text)
  local left = self.left or math.huge
  local whole = #bytes <= left
  local actions = driven:feed({ { whole and bytes or bytes:sub(1, left), whole } }, binary)
  self.left = self.left and left - #bytes
  for _, event in ipairs(helper.pick(actions, "event", "EVENT")) do
    table.insert(self.heard, event.seq)
  end
  self.known = self.known or driven.machine:status().session ~= nil
  if self.left and self.left <= 0 then
    self.left = nil
    driven:closed { code = 1006 }
  end
  return actions
end

-- HELLO, and what the machine's answer asks for.
local function talk(self, driven)
  local packet
  for _, action in ipairs(say(self, driven, helper.HELLO)) do
    if action.type == "send" then packet = action.packet end
  end
  if not packet then return end
  assert(packet.op == 6 or not self.known, "a session was given up")
  for _, text in ipairs(texts_for(self, packet)) do
    if not open[driven.machine.state] then return end
    say(self, driven, text)
  end
end

local steps = {
  idle = function(_, driven) driven:input "start" end,
  waiting = function(_, driven) driven:input "grant" end,
  connecting = function(_, driven) driven:opened() end,
  hello = talk,
  backoff = function(_, driven) driven:tick() end,
  closing = function(_, driven) driven:closed { code = 4000 } end,
  identifying = function(_, driven) driven:tick() end,
  resuming = function(_, driven) driven:tick() end,
}

--- Answers the machine until it is ready.
function methods:bring_up(driven)
  for _ = 1, 100 do
    local step = steps[driven.machine.state]
    if not step then break end
    step(self, driven)
  end
  assert(driven.machine.state == "ready", "never ready: " .. driven.machine.state)
end

return peer

-- pollable.lua: a cluster as other event loops want it. Made by cluster.lua; called by those loops
-- on the Lua thread.

local core = require "moongate.core"

local pollable = {}

local Pollable = {}
Pollable.__index = Pollable

--- The descriptor to wait for, for cqueues.
function Pollable:pollfd()
  return (self.client:fd())
end

--- "r": it is waited for until it is readable.
function Pollable.events()
  return "r"
end

--- Seconds until step(0) wants to be called all the same; nil: never.
function Pollable:timeout()
  return self.client:timeout()
end

--- The same descriptor, for luasocket's select.
function Pollable:getfd()
  return (self.client:fd())
end

--- Whether step(0) wants to be called at once.
function Pollable:dirty()
  return self.client:timeout() == 0
end

--- True once step(0) is wanted; until then what a socket without bytes says, upon which
-- copas.receive() waits.
function Pollable:receive()
  if self:dirty() or core.poll({ self:getfd() }, 0) then return true end
  return nil, "timeout"
end

--- Nothing, as the descriptor is the client's. copas closes what a coroutine that ends has waited
-- for.
function Pollable.close() end

function Pollable:__tostring()
  return "Pollable of " .. tostring(self.client)
end

--- An object that cqueues (pollfd, events, timeout), luasocket's select (getfd, dirty) and
-- copas.receive (receive, close) wait on.
function pollable.new(client)
  return setmetatable({ client = client }, Pollable)
end

return pollable

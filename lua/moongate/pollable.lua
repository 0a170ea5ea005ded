-- pollable.lua: a cluster as other event loops want it. Made by cluster.lua; called by those loops
-- on the Lua thread.

local core = require "moongate.core"

local pollable = {}

local Pollable = {}
Pollable.__index = Pollable

function Pollable:pollfd()
  return (self.client:fd())
end

function Pollable.events()
  return "r"
end

function Pollable:timeout()
  return self.client:timeout()
end

function Pollable:getfd()
  return (self.client:fd())
end

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

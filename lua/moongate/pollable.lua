-- pollable.lua: a cluster as other event loops want it. Made by cluster.lua; called by those loops
-- on the Lua thread.

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

function Pollable:__tostring()
  return "Pollable of " .. tostring(self.client)
end

--- An object that cqueues (pollfd, events, timeout) and luasocket's select (getfd, dirty) wait on.
function pollable.new(client)
  return setmetatable({ client = client }, Pollable)
end

return pollable

-- repl_watch.lua: what a prompt shows of its bot: events, of which only so many have a place, its
-- errors and what it logs. Used by repl.lua and repl_options.lua.

local core = require "moongate.core"
local events = require "moongate.events"
local inspect = require "moongate.inspect"
local scheduler = require "moongate.scheduler"
local spelling = require "moongate.spelling"

local watch = {}

local Watch = {}
Watch.__index = Watch

local EVENTS_PER_S = 10 -- that are shown; of the others only how many
local NARROW = 20 -- columns that are left for an event at least

--- What is shown of a bot (nil: there is none) on a screen; nothing until start() and listen().
function watch.new(bot, screen)
  return setmetatable({
    bot = bot, screen = screen,
    stops = {}, -- one for each listener of events
    second = nil, count = 0, -- how many events the current second had
  }, Watch)
end

--- The names of events that were given, { "*" } for none; raises what is wrong with them.
function watch.check_names(names)
  for _, name in ipairs(names) do
    if not events.canonical(name) then
      error(("watch: a name of an event expected, got %s"):format(spelling.shown(name)), 0)
    end
    local meant = events.suggest(name)
    if meant then error(("watch: %s is no event, did you mean %s?"):format(name, meant), 0) end
  end
  return #names > 0 and names or { "*" }
end

-- ---- Events -------------------------------------------------------------------------------------

-- Tells how many events of the last second were not shown.
local function tell_rest(self)
  local more = self.count - EVENTS_PER_S
  if more > 0 and not self.over then self.screen:say(("... %d more events"):format(more), "dim") end
  self.second, self.count = nil, 0
end

-- What does not fit into its second is only counted.
local function is_too_much(self)
  local second = math.floor(core.now())
  if self.second ~= second then
    tell_rest(self)
    self.second = second
  end
  self.count = self.count + 1
  if self.count == EVENTS_PER_S + 1 then
    scheduler.after(1, function()
      if self.second == second then tell_rest(self) end
    end)
  end
  return self.count > EVENTS_PER_S
end

local function show(self, data, one, name)
  if is_too_much(self) then return end
  local head = ("%s %s shard %s "):format(os.date "%H:%M:%S", name, one and one.id or "-")
  local room = math.max(self.screen.size() - #head, NARROW)
  self.screen:say(head .. inspect.line(data, room), "dim")
end

--- Shows these events from now on, without names all of them; raises what is wrong with them.
function Watch:start(...)
  local bot, names = self.bot, watch.check_names { ... }
  if not bot then error("watch: there is no bot to watch", 0) end
  self:quiet()
  local function shown(data, one, name) show(self, data, one, name) end
  for _, name in ipairs(names) do
    bot:on(name, shown, { lazy = true })
    table.insert(self.stops, function() bot:off(name, shown) end)
  end
end

--- Shows none.
function Watch:quiet()
  for _, stop in ipairs(self.stops) do stop() end
  self.stops = {}
end

-- ---- Errors and the log -------------------------------------------------------------------------

-- Of the stack only what is the listener's.
local function words_of(problem)
  if problem.phase ~= "handler" then return problem.message end
  local trace = problem.traceback or problem.message
  return ("in a listener of %s: %s"):format(problem.event,
    trace:gsub("\n[^\n]*/moongate/scheduler%.lua:.*$", ""))
end

--- Shows what goes wrong with the bot and what it logs, until close().
function Watch:listen()
  local bot, screen = self.bot, self.screen
  local function trouble(problem, one)
    screen:complain((one and ("shard %s: "):format(one.id) or "") .. words_of(problem))
  end
  local function told(entry)
    if entry.fields and entry.fields.event == "error" then return end
    screen:say(("%s %s"):format(os.date "%H:%M:%S", entry.message), "cyan")
  end
  bot:on("error", trouble)
  bot:on("log", told)
  self.stop_listening = function()
    bot:off("error", trouble)
    bot:off("log", told)
  end
end

--- Shows nothing any more.
function Watch:close()
  self.over = true
  self:quiet()
  if self.stop_listening then self.stop_listening() end
end

return watch

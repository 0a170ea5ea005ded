-- cli_tail.lua: `moongate tail`: events as they come, a JSON object a line, for jq, a log or
-- another program. Required by cli.lua and by specs.
--
--   {"t":"MESSAGE_CREATE","s":12,"shard":0,"d":{...}}
--
-- The bytes of `d` are those that the gateway sent; those of ETF are the same value in JSON. There
-- is nothing else on stdout: what goes wrong is told on stderr.
--
-- What ends the command, but for Ctrl-C, is raised through the loop, which takes no event behind
-- the one that is being handled then: a session store would count it as printed.

local cjson = require "cjson"
local cli = require "moongate.cli"
local core = require "moongate.core"
local events = require "moongate.events"
local intents = require "moongate.intents"
local moongate = require "moongate"
local output = require "moongate.output"
local scheduler = require "moongate.scheduler"
local view = require "moongate.cli_view"

local command = {}

local FAILED, MISUSED = 1, 2
local ENDED = {} -- what is raised at the end

-- What can be said: kind, what stands for the value, help, in the order of the usage text.
local rows = {
  { "events", "text", "LIST", "names such as MESSAGE_CREATE; all events" },
  cli.row("intents", "names or numbers: what these events need"),
  cli.row "shards", cli.row "ids", cli.row "api", cli.row "ca-file", cli.row "insecure-tls",
  cli.row "encoding", cli.row "compress", cli.row "session-store",
  { "count", "number", "N", "end after so many events" },
  cli.row "for",
}

--- The usage text.
function command.usage()
  return cli.describe({
    "usage: moongate tail [--OPTION VALUE ...]", "",
    "Prints events until Ctrl-C, the end of --count or --for, or until nobody reads",
    "them any more. The token comes from $DISCORD_TOKEN. With a session store the",
    "next one goes on where this one ended.", "",
    "Without --intents it asks for those without approval that the events need, and",
    "for one with approval where an event that is named comes by no other.", "",
  }, rows)
end

-- ---- What was said -----------------------------------------------------------------------------

-- One name, in its canonical form; or nil and what is wrong with it.
local function read_event(word)
  local name, meant = events.canonical(word), events.suggest(word)
  if name and not meant and not events.own[name] then return name end
  local hint = meant and not events.own[meant] and (", did you mean %s?"):format(meant) or ""
  return nil, ("--events: '%s' is no event of the gateway%s"):format(word, hint)
end

-- The names to listen to, { "*" } for all, and those that were said, each once; or nil and what is
-- wrong.
local function read_events(text)
  local names, seen = {}, {}
  for _, word in ipairs(cli.split(text or "*")) do
    local name, why = read_event(word)
    if not name then return nil, why end
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  if #names == 0 then return nil, "--events: a list of names expected" end
  return seen["*"] and { "*" } or names, names
end

-- The intents by which these events come: all of them that need no approval, others only where
-- there is no such one. A name that is not known may need any.
local function needed_intents(names)
  local list = {}
  for _, name in ipairs(names) do
    local all, free = events.dispatches[name] or { "default" }, {}
    for _, intent in ipairs(all) do
      if not intents.has(intents.privileged, intent) then free[#free + 1] = intent end
    end
    if #free == 0 then free = all end
    table.move(free, 1, #free, #list + 1, list)
  end
  return list
end

-- The options of the client, and the names that are listened to; or nil and what is wrong.
local function read_options(all)
  local heard, named = read_events(all.events)
  if not heard then return nil, named end
  return cli.client_options(all, rows, {
    intents = needed_intents(named),
    blocked_after = false, -- a reader that is slow is nobody's mistake
  }), heard
end

-- ---- What goes wrong ---------------------------------------------------------------------------

local function complain(text)
  io.stderr:write(os.date "%H:%M:%S ", (text:gsub("%c+", " ")), "\n")
end

-- What is told in other words: as an `error` event, by the `fatal` that follows, by connect().
local function is_told(data)
  return data.event == "error" or data.event == "close"
    or data.event == "fatal" and not data.shard_id
end

local function tell_problems(bot)
  local filter = view.filter()
  local function tell(level, text, source)
    text = filter(source or "all", level, text, core.now())
    if text then complain(text) end
  end
  bot:on("error", function(problem, one)
    local where = one and ("shard %d/%d: "):format(one.id, one.count) or ""
    tell("error", where .. problem.message, one and one.id)
  end)
  bot:on("log", function(entry)
    local data = entry.fields or {}
    if not is_told(data) then tell(entry.level, entry.message, data.shard_id) end
  end)
end

-- ---- Printing ----------------------------------------------------------------------------------

-- The command ends as soon as the event that is being handled is done; with a message, in failure.
local function finish(self, message)
  if self.ended then return end
  self.ended, self.message = true, message
  moongate.spawn(error, ENDED)
end

-- White space between the parts of a value may be line breaks; in a string there are none.
local function line_of(name, seq, id, text)
  if text:find "[\r\n]" then text = text:gsub("[\r\n]", " ") end
  return ('{"t":%s,"s":%s,"shard":%d,"d":%s}\n'):format(cjson.encode(name),
    seq > 0 and seq or "null", id, text ~= "" and text or "null")
end

-- What was not written was not handled either: a session that is kept is left before the listener
-- returns.
local function fail(self)
  finish(self)
  if self.keeps then local _ <close> = self.bot end
end

local function print_events(self, names)
  local bot = self.bot
  local function print_event(text, one, name)
    if not output.write(line_of(name, bot.bridge.engine:seq(), one.id, text)) then
      return fail(self)
    end
    self.left = self.left - 1
    if self.left <= 0 then finish(self) end
  end
  for _, name in ipairs(names) do
    if name ~= "*" and not events.dispatches[name] then
      complain(("%s is no event that moongate knows; it is waited for all the same"):format(name))
    end
    bot:on(name, print_event, { raw = true })
  end
end

-- ---- The command -------------------------------------------------------------------------------

-- Until something is raised; or nil and why it does not go on.
local function connect_and_wait(bot)
  local connected, message = bot:connect()
  if not connected then return nil, message end
  return scheduler.run_until(function() return false end)
end

-- Without a store the session ends as well: nobody could take it up.
local function leave(self)
  if self.keeps then return end
  self.bot:off()
  local stopped, err = pcall(self.bot.stop, self.bot)
  if not stopped and err ~= ENDED then error(err, 0) end
end

local function follow(self)
  local bot <close> = self.bot -- which keeps the session
  local fine, raised, message = pcall(connect_and_wait, bot)
  if fine then return nil, message, FAILED end
  if raised ~= ENDED and not tostring(raised):find "interrupted!$" then error(raised, 0) end
  leave(self)
  if self.message then return nil, self.message, FAILED end
  return true
end

--- True, or nil, message, status.
function command.run(args)
  local all, why = cli.read_rows(args, rows)
  if not all then return nil, why, MISUSED end
  local options, names = read_options(all)
  if not options then return nil, names, MISUSED end
  local bot, wrong, status = cli.client(options, rows)
  if not bot then return nil, wrong, status end
  local self = { bot = bot, keeps = options.session_store ~= nil, left = all.count or math.huge }
  tell_problems(bot)
  print_events(self, names)
  bot:on("exit", function() finish(self, "the last shard is down for good") end)
  if all["for"] then
    moongate.spawn(function()
      moongate.sleep(all["for"])
      finish(self)
    end)
  end
  return follow(self)
end

return command

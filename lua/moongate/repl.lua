-- repl.lua: a prompt at which a bot goes on: events are delivered and shown above the line while it
-- is typed; with history and completion. Used by moongate.repl, `moongate repl` and specs.
--
--   wait for keys or work --> keys: line.lua --> a text: load it, run it, show what it returns
--                         --> work: take the line away, scheduler.step, draw it again
--
-- The terminal gives single keys only while a line is typed: what the line runs finds it as it
-- always is. Listeners that are called meanwhile may write, and should read nothing.

local complete = require "moongate.complete"
local core = require "moongate.core"
local history = require "moongate.history"
local line = require "moongate.line"
local lua = require "moongate.repl_lua"
local options = require "moongate.repl_options"
local scheduler = require "moongate.scheduler"
local screens = require "moongate.repl_screen"
local watch = require "moongate.repl_watch"

local repl = {}

local STDIN, STDOUT = 0, 1
local PROMPT, CONTINUED = "moongate> ", "       >> "
local SHORTCUTS = { help = "help()", watch = "watch()", quiet = "quiet()" } -- words alone
local LEAVE = { exit = true, quit = true }

local HELP = [[
What is typed is Lua. What it returns is shown, and stands in _ until the next line.
  bot                     bot.state, bot.shards[0], bot:set_presence { ... }, bot:stop()
  moongate                the module
  watch "messageCreate"   shows these events; watch() all of them
  quiet()                 shows none
Tab completes, also names of events and intents inside of quotes. Ctrl-R searches what was typed
before. A statement goes on in the next row until it has its end; Alt-Enter begins one anywhere.
Ctrl-C clears what is typed, Ctrl-D leaves.]]

local Prompt = {}
Prompt.__index = Prompt

-- ---- Lua ----------------------------------------------------------------------------------------

local function is_unfinished(self, text)
  local _, _, unfinished = lua.compile(text, self.env)
  return unfinished
end

-- Runs what was typed.
function Prompt:take(text)
  local word = text:match "^%s*(%a+)%s*$"
  if LEAVE[word] and self.env[word] == nil then
    self.over = true
    return
  end
  local chunk, problem = lua.compile(SHORTCUTS[word] or text, self.env)
  if not chunk then return self.screen:complain(problem) end
  local fine, words = lua.run(chunk, self.env, self.screen.size())
  if self.keyboard and words and not lua.is_interrupt(words) then
    self.screen.write(self.screen.fresh()) -- it may have written half a line
  end
  if not fine then return self.screen:complain(words) end
  if words then self.screen:say(words) end
end

-- ---- Keys ---------------------------------------------------------------------------------------

local function drawing(self)
  return self.typed:draw(self.screen.size())
end

-- What feed() of a line says, and what it means here.
local acts = {
  line = function(self, text)
    local rows = text:gsub("\n", "\n" .. CONTINUED)
    self.screen.write(self.typed:hide(), PROMPT, rows, "\n")
    local kept, why = self.history:keep(text)
    if not kept then self.screen:complain(why) end
    self.keyboard:close()
    self:take(text)
    self.keyboard:raw()
    self.screen.write(self.screen.fresh())
  end,
  interrupt = function(self, text)
    self.screen.write(self.typed:leave())
    if text == "" then self.screen:say "Ctrl-D leaves" end
  end,
  ["end"] = function(self, text) -- of a text that was begun, else of it all
    self.screen.write(self.typed:leave())
    self.over = text == ""
  end,
  words = function(self, words)
    self.screen.write(self.typed:leave())
    self.screen:show_words(words)
  end,
  wipe = function(self) self.screen.write(self.typed:hide(), "\27[H\27[2J") end,
  suspend = function(self)
    self.screen.write(self.typed:hide())
    self.keyboard:suspend()
  end,
}

function Prompt:press(bytes)
  repeat
    local what, value = self.typed:feed(bytes)
    bytes = nil
    if what then acts[what](self, value) end
  until not what or self.over
  if not self.over then self.screen.write(drawing(self)) end
end

-- ---- The loop -----------------------------------------------------------------------------------

-- Hands out what has come. An error that nobody else was told about is shown.
local function deliver(self)
  local fine, err = pcall(scheduler.step, 0)
  if fine then return end
  if lua.is_interrupt(err) then error(err, 0) end
  self.screen:complain(lua.describe_error(err, self.screen.size()))
end

local function turn(self)
  local what = scheduler.wait(STDIN)
  if what == "work" then
    self.screen.write(self.typed:hide())
    deliver(self)
    self.screen.write(self.screen.fresh(), drawing(self))
  end
  local bytes = core.read(STDIN)
  if bytes == "" then -- the terminal is gone
    self.over = true
  elseif bytes then
    self:press(bytes)
  end
end

-- With a terminal. Ctrl-C may end it at any moment, and then it begins again.
local function edit(self, again)
  assert(self.keyboard:raw())
  if again then acts.interrupt(self, self.typed:take(true)) end
  self.screen.write(drawing(self))
  while not self.over do turn(self) end
end

-- Takes a line behind those that were begun, if any.
local function take_line(self, text)
  local whole = self.begun and self.begun .. "\n" .. text or text
  self.begun = is_unfinished(self, whole) and whole or nil
  if not self.begun then self:take(whole) end
end

-- Without a terminal: line by line, until the end of the input, or Ctrl-C.
local function read_lines(self, again)
  local rest = ""
  local function hint()
    if core.terminal(STDIN) then self.screen.write(self.begun and CONTINUED or PROMPT) end
  end
  hint()
  while not self.over and not again do
    if scheduler.wait(STDIN) == "work" then deliver(self) end
    local bytes = core.read(STDIN)
    if bytes then
      rest = rest .. (bytes == "" and rest ~= "" and "\n" or bytes)
      for text in rest:gmatch "([^\n]*)\n" do
        if not self.over then take_line(self, text) end
        hint()
      end
      rest = rest:match "[^\n]*$"
      self.over = self.over or bytes == ""
    end
  end
  if self.begun then self.screen:complain("unfinished: " .. self.begun) end
end

-- ---- For users ----------------------------------------------------------------------------------

-- What help() shows; `more`: the names that the prompt knows besides.
local function help(self, more)
  local names = {}
  for name in pairs(more or {}) do names[#names + 1] = name end
  if #names == 0 then return self.screen:say(HELP) end
  table.sort(names)
  self.screen:say(HELP .. "\nThere are also: " .. table.concat(names, ", "))
end

local function make_env(self, more)
  local env = {
    bot = self.bot, moongate = require "moongate",
    watch = function(...) self.watch:start(...) end,
    quiet = function() self.watch:quiet() end,
    help = function() help(self, more) end,
  }
  for name, value in pairs(more or {}) do env[name] = value end
  return setmetatable(env, { __index = _G })
end

-- Begins to connect, and does not wait for it.
local function connect(self)
  scheduler.spawn(function()
    local fine, message = self.bot:connect()
    if not fine and not self.over then
      self.screen:complain("connect: " .. tostring(message))
    end
  end)
end

-- Single keys are wanted where both sides are a terminal that can move its cursor.
local function find_keyboard()
  if not core.terminal(STDOUT) or os.getenv "TERM" == "dumb" then return nil end
  return core.keyboard(STDIN)
end

local function new_prompt(bot, given)
  local keyboard = find_keyboard()
  local screen = screens.new(keyboard ~= nil)
  local self = setmetatable({
    bot = bot, keyboard = keyboard, screen = screen, watch = watch.new(bot, screen),
    history = history.open(keyboard and options.history_path(given.history)),
  }, Prompt)
  self.env = make_env(self, given.names)
  self.typed = line.new {
    prompt = PROMPT, continued = CONTINUED, history = self.history.texts,
    complete = function(text) return complete.line(text, self.env) end,
    goes_on = function(text) return is_unfinished(self, text) end,
  }
  return self
end

--- A prompt until the user leaves it with Ctrl-D; the bot goes on meanwhile, and is connected if it
-- was not. given: names = { name = value } that the prompt knows besides `bot` and `moongate`;
-- watch = events that are shown at first, all of them by default, false: none; connect = false;
-- history = the file of what was typed (~/.moongate_history, for the user alone; nothing in it has
-- the word "token"), false: none. Without a terminal it takes lines up to the end of the input.
-- Returns true.
function repl.run(bot, given)
  given = options.check(bot, given, 2)
  local self = new_prompt(bot, given)
  if bot then self.watch:listen() end
  if bot and given.watch ~= false then self.watch:start(table.unpack(given.watch or {})) end
  if bot and given.connect ~= false then connect(self) end
  local converse = self.keyboard and edit or read_lines
  if self.keyboard then
    self.screen:say(("%s, %s; help() tells more"):format(core._VERSION, _VERSION))
  end
  local fine, err = core.interruptible(function(again) converse(self, again) end)
  self.over = true
  if self.keyboard then self.keyboard:close() end
  self.watch:close()
  if not fine then error(err, 0) end
  return true
end

return repl

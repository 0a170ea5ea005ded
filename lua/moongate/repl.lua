-- repl.lua: a prompt at which a bot goes on: events are delivered and shown above the line while it
-- is typed; with history and completion. Used by moongate.repl, `moongate repl` and specs.
--
--   wait for keys or work --> keys: line.lua --> a line: load it, run it, show what it returns
--                         --> work: take the line away, scheduler.step, draw it again
--
-- The terminal gives single keys only while a line is typed: what the line runs finds it as it
-- always is. Listeners that are called meanwhile may write whole lines, and should read nothing.

local complete = require "moongate.complete"
local core = require "moongate.core"
local events = require "moongate.events"
local history = require "moongate.history"
local inspect = require "moongate.inspect"
local line = require "moongate.line"
local scheduler = require "moongate.scheduler"
local spelling = require "moongate.spelling"

local repl = {}

local STDIN, STDOUT = 0, 1
local PROMPT, CONTINUED = "moongate> ", "       >> "
local COLUMNS = 80 -- of a terminal that does not say how many
local EVENTS_PER_S = 10 -- that are shown; of the others only how many
local HISTORY_FILE = "/.moongate_history" -- in $HOME
local DIM, RED, CYAN = 2, 31, 36
local SHORT_TRACE = 2 -- lines that say no more than the error itself
local SHORTCUTS = { help = "help()", watch = "watch()", quiet = "quiet()" } -- words alone
local LEAVE = { exit = true, quit = true }

local HELP = [[
What is typed is Lua. What it returns is shown, and stands in _ until the next line.
  bot                     bot.state, bot.shards[0], bot:set_presence { ... }, bot:stop()
  moongate                the module
  watch "messageCreate"   shows these events; watch() all of them
  quiet()                 shows none
Tab completes, also names of events and intents inside of quotes. Ctrl-C clears the line, Ctrl-D
leaves.]]

local Prompt = {}
Prompt.__index = Prompt

-- ---- What is shown ------------------------------------------------------------------------------

local function columns()
  local count = core.terminal(STDOUT)
  return count and count > 0 and count or COLUMNS
end

local function write(...)
  io.stdout:write(...)
  io.stdout:flush()
end

local function paint(self, color, text)
  return self.colored and ("\27[%dm%s\27[0m"):format(color, text) or text
end

local function say(text)
  write(text, "\n")
end

-- Without a terminal what goes wrong is told where programs tell it.
local function complain(self, text)
  text = paint(self, RED, inspect.text(text))
  if self.keyboard then return say(text) end
  io.stderr:write(text, "\n")
end

-- Tells how many events of the last second were not shown.
local function tell_rest(self)
  local more = self.events - EVENTS_PER_S
  if more > 0 and not self.over then say(paint(self, DIM, ("... %d more events"):format(more))) end
  self.second, self.events = nil, 0
end

-- What does not fit into its second is only counted.
local function is_too_much(self)
  local second = math.floor(core.now())
  if self.second ~= second then
    tell_rest(self)
    self.second = second
  end
  self.events = self.events + 1
  if self.events == EVENTS_PER_S + 1 then
    scheduler.after(1, function()
      if self.second == second then tell_rest(self) end
    end)
  end
  return self.events > EVENTS_PER_S
end

local function show_event(self, data, one, name)
  if is_too_much(self) then return end
  local head = ("%s %s shard %s "):format(os.date "%H:%M:%S", name, one and one.id or "-")
  say(paint(self, DIM, head .. inspect.line(data, math.max(columns() - #head, 20))))
end

function Prompt:quiet()
  for _, stop in ipairs(self.watching) do stop() end
  self.watching = {}
end

-- The names, all of them known; raises what is wrong.
local function check_names(names)
  for _, name in ipairs(names) do
    if not events.canonical(name) then
      error(("watch: a name of an event expected, got %s"):format(spelling.shown(name)), 0)
    end
    local meant = events.suggest(name)
    if meant then error(("watch: %s is no event, did you mean %s?"):format(name, meant), 0) end
  end
  return #names > 0 and names or { "*" }
end

function Prompt:watch(...)
  local bot, names = self.bot, check_names { ... }
  if not bot then error("watch: there is no bot to watch", 0) end
  self:quiet()
  local function show(data, one, name) show_event(self, data, one, name) end
  for _, name in ipairs(names) do
    bot:on(name, show, { lazy = true })
    table.insert(self.watching, function() bot:off(name, show) end)
  end
end

-- ---- Lua ----------------------------------------------------------------------------------------

local function is_interrupt(err)
  return type(err) == "string" and err:find("interrupted!", 1, true) ~= nil
end

-- What went wrong, without the part of the stack that is this file's.
local function explain(err)
  if type(err) ~= "string" then return inspect.value(err, columns()) end
  if is_interrupt(err) then return "interrupted!" end
  local trace = debug.traceback("", 2):gsub("\n[^\n]*in function 'xpcall'.*$", "")
  trace = trace:gsub("\n[^\n]*/moongate/repl%.lua:[^\n]*", "")
  local _, lines = trace:gsub("\n", "")
  return lines > SHORT_TRACE and err .. trace or err
end

-- An expression, or a statement; nil and "more" where its end is still to come.
local function compile(text, env)
  local chunk = load("return " .. text, "=prompt", "t", env)
  if chunk then return chunk end
  local message
  chunk, message = load(text, "=prompt", "t", env)
  if chunk then return chunk end
  return nil, message:find "<eof>'?$" and "more" or message
end

-- All results but nils behind the last one that says something.
function Prompt:show_results(...)
  local count = select("#", ...)
  if count == 0 then return end
  while count > 1 and select(count, ...) == nil do count = count - 1 end
  self.env._ = (...)
  local shown = {}
  for i = 1, count do
    local fine, text = pcall(inspect.value, select(i, ...), columns())
    if not fine and is_interrupt(text) then error(text, 0) end
    shown[i] = fine and text or "(a value that cannot be shown)"
  end
  say(table.concat(shown, "\t"))
end

local function finish(self, fine, ...)
  if fine then
    self:show_results(...)
  else
    complain(self, (...))
  end
end

-- Runs what was typed so far, unless it goes on.
function Prompt:take(text)
  local word = not self.begun and text:match "^%s*(%a+)%s*$"
  if LEAVE[word] and self.env[word] == nil then
    self.over = true
    return
  end
  local whole = self.begun and self.begun .. "\n" .. text or SHORTCUTS[word] or text
  local chunk, message = compile(whole:gsub("^=", "return "), self.env)
  self.begun = message == "more" and whole or nil
  if chunk then
    finish(self, xpcall(chunk, explain))
  elseif not self.begun and whole:find "%S" then
    complain(self, message)
  end
end

-- ---- Keys ---------------------------------------------------------------------------------------

local function prompt_of(self)
  return self.begun and CONTINUED or PROMPT
end

function Prompt:draw()
  self.typed.prompt = prompt_of(self)
  write(self.typed:draw(columns()))
end

local function hide(self)
  write(self.typed.hide())
end

local function leave_line(self)
  self.typed.at = #self.typed.text + 1
  self:draw()
  write "\n"
end

local function show_words(words)
  local widest, room = 0, columns()
  for _, word in ipairs(words) do widest = math.max(widest, #word + 2) end
  local across, lines = math.max(room // widest, 1), {}
  for i, word in ipairs(words) do
    local at = (i - 1) // across + 1
    lines[at] = (lines[at] or "") .. word .. (" "):rep(widest - #word)
  end
  for i, text in ipairs(lines) do lines[i] = text:gsub(" +$", "") end
  write(table.concat(lines, "\n"), "\n")
end

-- What feed() of a line says, and what it means here.
local acts = {
  line = function(self, text)
    write(self.typed.hide(), prompt_of(self), text, "\n")
    local kept, why = self.history:keep(text)
    if not kept then complain(self, why) end
    self.keyboard:close()
    self:take(text)
    self.keyboard:raw()
  end,
  interrupt = function(self, text)
    write "\n"
    if text == "" and not self.begun then say "Ctrl-D leaves" end
    self.begun = nil
  end,
  ["end"] = function(self) -- of a statement that was begun, else of it all
    write "\n"
    self.over = not self.begun
    self.begun = nil
  end,
  words = function(self, words)
    leave_line(self)
    show_words(words)
  end,
  wipe = function() write "\27[H\27[2J" end,
  suspend = function(self)
    hide(self)
    self.keyboard:suspend()
  end,
}

function Prompt:press(bytes)
  repeat
    local what, value = self.typed:feed(bytes)
    bytes = nil
    if what then acts[what](self, value) end
  until not what or self.over
  if not self.over then self:draw() end
end

-- ---- The loop -----------------------------------------------------------------------------------

-- Hands out what has come. An error that nobody else was told about is shown.
local function deliver(self)
  local fine, err = pcall(scheduler.step, 0)
  if fine then return end
  if is_interrupt(err) then error(err, 0) end
  complain(self, type(err) == "string" and err or inspect.value(err, columns()))
end

local function turn(self)
  local what = scheduler.wait(STDIN)
  if what == "work" then
    hide(self)
    deliver(self)
    self:draw()
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
  self:draw()
  while not self.over do turn(self) end
end

-- Without one: line by line, until the end of the input, or Ctrl-C.
local function read_lines(self, again)
  local rest, hint = "", core.terminal(STDIN) and write or function() end
  hint(PROMPT)
  while not self.over and not again do
    if scheduler.wait(STDIN) == "work" then deliver(self) end
    local bytes = core.read(STDIN)
    if bytes then
      rest = rest .. (bytes == "" and rest ~= "" and "\n" or bytes)
      for text in rest:gmatch "([^\n]*)\n" do
        if not self.over then self:take(text) end
        hint(prompt_of(self))
      end
      rest = rest:match "[^\n]*$"
      self.over = self.over or bytes == ""
    end
  end
  if self.begun then complain(self, "unfinished: " .. self.begun) end
end

-- ---- For users ----------------------------------------------------------------------------------

-- What help() shows; `more`: the names that the prompt knows besides.
local function help(more)
  local names = {}
  for name in pairs(more or {}) do names[#names + 1] = name end
  if #names == 0 then return say(HELP) end
  table.sort(names)
  say(HELP .. "\nThere are also: " .. table.concat(names, ", "))
end

local function make_env(self, more)
  local env = {
    bot = self.bot, moongate = require "moongate",
    watch = function(...) self:watch(...) end,
    quiet = function() self:quiet() end,
    help = function() help(more) end,
  }
  for name, value in pairs(more or {}) do env[name] = value end
  return setmetatable(env, { __index = _G })
end

local function listen(self)
  local bot = self.bot
  local function trouble(problem, one)
    local where = one and ("shard %s: "):format(one.id) or ""
    local words = problem.message
    if problem.phase == "handler" then
      local trace = problem.traceback or words
      words = ("in a listener of %s: %s"):format(problem.event,
        trace:gsub("\n[^\n]*/moongate/scheduler%.lua:.*$", ""))
    end
    complain(self, where .. words)
  end
  local function told(entry)
    if entry.fields and entry.fields.event == "error" then return end
    say(paint(self, CYAN, ("%s %s"):format(os.date "%H:%M:%S", entry.message)))
  end
  bot:on("error", trouble)
  bot:on("log", told)
  return function()
    bot:off("error", trouble)
    bot:off("log", told)
    self:quiet()
  end
end

-- Begins to connect, and does not wait for it.
local function connect(self)
  scheduler.spawn(function()
    local fine, message = self.bot:connect()
    if not fine and not self.over then complain(self, "connect: " .. tostring(message)) end
  end)
end

local function is_list(value)
  if type(value) ~= "table" then return false end
  for _, name in ipairs(value) do
    if type(name) ~= "string" then return false end
  end
  return true
end

-- The options: what each must be, in words, and the judge of it.
local kinds = {
  names = { "a table of names", function(value) return type(value) == "table" end },
  connect = { "true or false", function(value) return type(value) == "boolean" end },
  watch = { "a list of events, or false", function(value)
    return value == false or is_list(value)
  end },
  history = { "the name of a file, or false", function(value)
    return value == false or type(value) == "string" and value ~= ""
  end },
}

local function check_options(options)
  local known = {}
  for name in pairs(kinds) do known[#known + 1] = name end
  table.sort(known)
  for name, value in pairs(options) do
    local kind = kinds[name]
    if not kind then
      local meant = spelling.nearest(tostring(name), known)
      error(("repl: unknown option '%s'%s"):format(tostring(name),
        meant and (", did you mean %s?"):format(meant) or ""), 4)
    elseif not kind[2](value) then
      error(("repl: option %s: %s expected, got %s"):format(name, kind[1],
        spelling.shown(value)), 4)
    end
  end
  if options.watch then check_names(options.watch) end
end

local function check(bot, options)
  if bot ~= nil and (type(bot) ~= "table" or type(bot.connect) ~= "function") then
    error(("repl: a client or a cluster expected, got %s"):format(type(bot)), 3)
  end
  if options ~= nil and type(options) ~= "table" then
    error(("repl: options must be a table, got %s"):format(type(options)), 3)
  end
  check_options(options or {})
  if not coroutine.isyieldable or coroutine.isyieldable() then
    error("repl: it belongs to the main program, not into a listener", 3)
  end
end

-- The file of the lines; nil: none.
local function history_path(wanted)
  local home = os.getenv "HOME"
  if wanted == nil and home and home ~= "" then return home .. HISTORY_FILE end
  return wanted or nil
end

-- Single keys are wanted where both sides are a terminal that can move its cursor.
local function find_keyboard()
  if not core.terminal(STDOUT) or os.getenv "TERM" == "dumb" then return nil end
  return core.keyboard(STDIN)
end

--- A prompt until the user leaves it with Ctrl-D; the bot goes on meanwhile, and is connected if it
-- was not. options: names = { name = value } that the prompt knows besides `bot` and `moongate`;
-- watch = events that are shown at first, all of them by default, false: none; connect = false;
-- history = the file of the lines (~/.moongate_history, for the user alone; no line in it has the
-- word "token"), false: none. Without a terminal it takes lines up to the end of the input. Returns
-- true.
function repl.run(bot, options)
  check(bot, options)
  options = options or {}
  local keyboard = find_keyboard()
  local self = setmetatable({
    bot = bot, keyboard = keyboard, colored = keyboard and not os.getenv "NO_COLOR",
    watching = {}, events = 0,
    history = history.open(keyboard and history_path(options.history)),
  }, Prompt)
  self.env = make_env(self, options.names)
  self.typed = line.new {
    prompt = PROMPT, history = self.history.lines,
    complete = function(text) return complete.line(text, self.env) end,
  }
  local stop_listening = bot and listen(self)
  if bot and options.watch ~= false then self:watch(table.unpack(options.watch or {})) end
  if bot and options.connect ~= false then connect(self) end
  local converse = keyboard and edit or read_lines
  if keyboard then say(core._VERSION .. ", " .. _VERSION .. "; help() tells more") end
  local fine, err = core.interruptible(function(again) converse(self, again) end)
  self.over = true
  if keyboard then keyboard:close() end
  if stop_listening then stop_listening() end
  if not fine then error(err, 0) end
  return true
end

return repl

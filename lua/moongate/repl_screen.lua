-- repl_screen.lua: what a prompt writes: lines, in colors where there are some, and what makes room
-- for its own. Used by repl.lua and repl_watch.lua.

local core = require "moongate.core"
local inspect = require "moongate.inspect"
local output = require "moongate.output"

local screen = {}

local Screen = {}
Screen.__index = Screen

local STDOUT = 1
local COLUMNS, LINES = 80, 24 -- of a terminal that does not say how many
local COLORS = { dim = 2, red = 31, cyan = 36 }
local UNFINISHED = "\27[7m%\27[27m" -- behind an output without a line break, as zsh shows it

--- The screen of a prompt. is_terminal: whether its cursor can be moved.
function screen.new(is_terminal)
  return setmetatable({
    is_terminal = is_terminal, colored = is_terminal and not os.getenv "NO_COLOR",
  }, Screen)
end

--- How many columns and lines it has, or may have.
function Screen.size()
  local columns, lines = core.terminal(STDOUT)
  return columns and columns > 0 and columns or COLUMNS, lines and lines > 0 and lines or LINES
end

--- Writes texts as they are, at once.
Screen.write = output.write

local function paint(self, color, text)
  return self.colored and ("\27[%dm%s\27[0m"):format(COLORS[color], text) or text
end

--- A line, in a color if one is given: "dim", "red" or "cyan".
function Screen:say(text, color)
  output.write(color and paint(self, color, text) or text, "\n")
end

--- What went wrong; without a terminal it is told where programs tell it.
function Screen:complain(text)
  text = inspect.text(text)
  if self.is_terminal then return self:say(text, "red") end
  io.stderr:write(text, "\n")
end

--- What begins a new line behind an output that has not ended its own, and else nothing that stays:
-- a mark and so many blanks that the cursor is in the next line unless it was at the start of one.
-- Where nobody knows how wide the terminal is, that cannot be done.
function Screen.fresh()
  local columns = core.terminal(STDOUT)
  if not columns or columns < 2 then return "" end
  return UNFINISHED .. (" "):rep(columns - 1) .. "\r\27[K"
end

--- Words in as many columns as there is room for.
function Screen:show_words(words)
  local widest, room = 0, self.size()
  for _, word in ipairs(words) do widest = math.max(widest, #word + 2) end
  local across, lines = math.max(room // widest, 1), {}
  for i, word in ipairs(words) do
    local at = (i - 1) // across + 1
    lines[at] = (lines[at] or "") .. word .. (" "):rep(widest - #word)
  end
  for i, text in ipairs(lines) do lines[i] = text:gsub(" +$", "") end
  self:say(table.concat(lines, "\n"))
end

return screen

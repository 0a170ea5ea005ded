-- line.lua: what is being typed: keys go in, what the terminal has to show comes out. Used by
-- repl.lua and by specs. It reads nothing and writes nothing.
--
--   local typed = line.new { prompt = "> ", history = { "bot.state" }, complete = fn }
--   io.write(typed:draw(80, 24))
--   local what, value = typed:feed(bytes)
--
-- A text that is unfinished when it is entered goes on in another row; the rows are one text, which
-- is edited, taken, and found in the history as a whole. A row that is longer than the terminal is
-- shown in part, around the cursor, and so are more rows than it has. What is pasted, between the
-- marks that a terminal puts around it when asked to, is text and no keys.

local cells = require "moongate.cells"
local search = require "moongate.search"

local line = {}

local Line = {}
Line.__index = Line

local HISTORY_MAX = 1000 -- texts that are remembered
local PASTE_BEGINS, PASTE_ENDS = "\27[200~", "\27[201~"

-- ---- Places in the text -------------------------------------------------------------------------

local function word_before(text, at)
  local from = text:sub(1, at - 1):match "^.-()[%w_]*[^%w_]*$"
  return from
end

local function word_behind(text, at)
  return text:match("^[^%w_]*[%w_]*()", at)
end

-- Where the row of a place begins, and its line break or the end of the text.
local function row_start(text, at)
  return text:sub(1, at - 1):match ".*\n()" or 1
end

local function row_end(text, at)
  return text:match("^[^\n]*()", at)
end

-- ---- What keys do -------------------------------------------------------------------------------

local function put(self, text)
  self.text = self.text:sub(1, self.at - 1) .. text .. self.text:sub(self.at)
  self.at = self.at + #text
end

local function cut(self, from, to)
  self.kept = self.text:sub(from, to - 1)
  self.text = self.text:sub(1, from - 1) .. self.text:sub(to)
  self.at = from
end

-- Shows another text of the history; what was typed is the one behind the last.
local function recall(self, place)
  if place < 1 or place > #self.history + 1 then return end
  if self.place == #self.history + 1 then self.draft = self.text end
  self.place = place
  self.text = self.history[place] or self.draft
  self.at = #self.text + 1
end

-- Moves the cursor to the row that has a place, as far from its start as it was before.
local function go_to_row(self, at)
  local from = row_start(self.text, self.at)
  local away = cells.count(self.text:sub(from, self.at - 1))
  local start = row_start(self.text, at)
  local row = self.text:sub(start, row_end(self.text, start) - 1)
  self.at = start + cells.place(row, away) - 1
end

-- To the row above, and from the first one to what was typed before.
local function go_up(self)
  local start = row_start(self.text, self.at)
  if start == 1 then return recall(self, self.place - 1) end
  go_to_row(self, start - 1)
end

local function go_down(self)
  local stop = row_end(self.text, self.at)
  if stop > #self.text then return recall(self, self.place + 1) end
  go_to_row(self, stop + 1)
end

local function enter(self)
  if not self.goes_on(self.text) then return "line", self:take() end
  put(self, "\n")
end

local function common_start(words)
  local start = words[1]
  for i = 2, #words do
    while words[i]:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  return start
end

-- A single way to go on is taken; of several as far as they agree, and then they are shown.
local function complete(self)
  local from, words = self.complete(self.text:sub(1, self.at - 1))
  if not from or #words == 0 then return nil end
  local typed = self.text:sub(from, self.at - 1)
  local start = common_start(words)
  if #start > #typed then
    cut(self, from, self.at)
    put(self, start)
  elseif #words > 1 then
    return "words", words
  end
end

-- Keys by what they send; each may return what feed() returns.
local keys = {
  ["\r"] = enter, ["\n"] = enter,
  ["\27\r"] = function(self) put(self, "\n") end, -- Alt-Enter: another row
  ["\t"] = complete,
  ["\3"] = function(self) return "interrupt", self:take(true) end,
  ["\4"] = function(self) -- Ctrl-D: the end where a row is empty that would go on, else Delete
    if self.at > #self.text and ("\n" .. self.text):find "\n$" then
      return "end", self:take(true)
    end
    cut(self, self.at, cells.behind(self.text, self.at))
  end,
  ["\12"] = function() return "wipe" end,
  ["\26"] = function() return "suspend" end,
  ["\127"] = function(self)
    if self.at > 1 then cut(self, cells.before(self.text, self.at), self.at) end
  end,
  ["\1"] = function(self) self.at = row_start(self.text, self.at) end,
  ["\5"] = function(self) self.at = row_end(self.text, self.at) end,
  ["\2"] = function(self) self.at = cells.before(self.text, self.at) end,
  ["\6"] = function(self) self.at = cells.behind(self.text, self.at) end,
  ["\16"] = go_up,
  ["\14"] = go_down,
  ["\18"] = function(self) self.search = search.new(self.history) end,
  ["\11"] = function(self) -- to the end of the row, and there the line break
    local stop = row_end(self.text, self.at)
    cut(self, self.at, stop == self.at and cells.behind(self.text, stop) or stop)
  end,
  ["\21"] = function(self) -- the same to the front
    local start = row_start(self.text, self.at)
    cut(self, start == self.at and math.max(start - 1, 1) or start, self.at)
  end,
  ["\23"] = function(self) cut(self, word_before(self.text, self.at), self.at) end,
  ["\25"] = function(self) put(self, self.kept) end,
  [PASTE_BEGINS] = function(self) self.pasting = true end,
  [PASTE_ENDS] = function(self) self.pasting = false end,
  ["\27[3~"] = function(self) cut(self, self.at, cells.behind(self.text, self.at)) end,
  ["\27b"] = function(self) self.at = word_before(self.text, self.at) end,
  ["\27f"] = function(self) self.at = word_behind(self.text, self.at) end,
  ["\27d"] = function(self) cut(self, self.at, word_behind(self.text, self.at)) end,
}

-- Other names of the same keys, as terminals send them.
local same = {
  ["\8"] = "\127", ["\27\127"] = "\23",
  ["\27[A"] = "\16", ["\27OA"] = "\16", ["\27[B"] = "\14", ["\27OB"] = "\14",
  ["\27[C"] = "\6", ["\27OC"] = "\6", ["\27[D"] = "\2", ["\27OD"] = "\2",
  ["\27[H"] = "\1", ["\27OH"] = "\1", ["\27[1~"] = "\1", ["\27[7~"] = "\1",
  ["\27[F"] = "\5", ["\27OF"] = "\5", ["\27[4~"] = "\5", ["\27[8~"] = "\5",
  ["\27[1;5C"] = "\27f", ["\27[1;5D"] = "\27b", ["\27[1;3C"] = "\27f", ["\27[1;3D"] = "\27b",
}
for name, key in pairs(same) do keys[name] = keys[key] end

-- Keys that have another meaning while the history is searched. All others take what was found, and
-- then do what they do.
local searching = {
  ["\18"] = function(self) self.search:older() end,
  ["\127"] = function(self) self.search:shorten() end,
  ["\7"] = function(self) self.search = nil end, -- Ctrl-G: what was typed is back
}
searching["\8"] = searching["\127"]

local function take_found(self)
  local text, at = self.search:found()
  local place = self.search.place
  self.search = nil
  if not text then return end
  recall(self, place)
  self.at = at
end

-- Whether a key is one of the search.
local function seek(self, key)
  if searching[key] then
    searching[key](self)
  elseif key:find "^%c" then
    take_found(self)
    return false
  else
    self.search:extend(key)
  end
  return true
end

-- Returns what feed() does.
local function press(self, key)
  if self.search and seek(self, key) then return nil end
  if self.pasting and key == "\t" then
    put(self, " ")
  elseif keys[key] then
    return keys[key](self)
  elseif not key:find "^%c" then
    put(self, key)
  end
end

-- The first key of what was sent: its bytes, "" while there is only a part of it.
local function first_key(sent)
  if sent:find "^\27" then
    return sent:match "^\27%[[%d;]*[^%d;]" or sent:match "^\27O." or sent:match "^\27[^%[O]" or ""
  end
  if sent:find "^%c" then return sent:sub(1, 1) end
  local text = sent:match "^[^%c]+"
  local part = text:match "()[\194-\244][\128-\191]*$"
  if part and #text == #sent and not utf8.len(text, part) and #text - part < 3 then
    return text:sub(1, part - 1) -- the rest may be the beginning of a character
  end
  return text
end

-- ---- For who shows it ---------------------------------------------------------------------------

--- A new line. prompt and continued: what stands in front of its first row and of the others;
-- history: a list of texts, the newest last, to which those that are taken are added;
-- complete(text before the cursor) -> where the word begins that can be completed, and all that it
-- may become; goes_on(text) -> whether it is unfinished.
function line.new(options)
  return setmetatable({
    prompt = options.prompt or "> ", continued = options.continued or "",
    history = options.history or {},
    complete = options.complete or function() end, goes_on = options.goes_on or function() end,
    text = "", at = 1, place = #(options.history or {}) + 1, draft = "", kept = "", sent = "",
    above = 0, below = 0, -- rows that are shown there, seen from the cursor
  }, Line)
end

--- Takes what keys have sent, up to the first one that is more than typing, and returns what it is:
--   "line", text       it is done
--   "interrupt", text  Ctrl-C: it was given up
--   "end", text        Ctrl-D where nothing was typed, or in an empty row at its end: as well
--   "words", list      the ways to complete a word, to be shown
--   "wipe"             Ctrl-L: an empty screen is wanted
--   "suspend"          Ctrl-Z
-- nil when all was taken; call it again, without bytes, until then.
function Line:feed(bytes)
  self.sent = self.sent .. (bytes or "")
  while self.sent ~= "" do
    local key = first_key(self.sent)
    if key == "" then return nil end
    self.sent = self.sent:sub(#key + 1)
    local what, value = press(self, key)
    if what then return what, value end
  end
end

--- The text of the line, which is empty from then on; it goes into the history unless it was given
-- up, is blank, or the same as the last one.
function Line:take(given_up)
  local text, history = self.text, self.history
  if not given_up and text:find "%S" and history[#history] ~= text then
    history[#history + 1] = text
    if #history > HISTORY_MAX then table.remove(history, 1) end
  end
  self.text, self.at, self.draft, self.place = "", 1, "", #history + 1
  self.search = nil
  return text
end

-- ---- On the screen ------------------------------------------------------------------------------

-- What is to be shown: the prompt, the text, and where the cursor is in it.
local function scene(self)
  local looking = self.search
  if not looking then return self.prompt, self.text, self.at end
  local text, at = looking:found()
  local words = ("%s '%s': "):format(looking.failed and "nothing has" or "search", looking.wanted)
  return words, text or self.text, text and at or self.at
end

-- The rows of a text, and in which of them the cursor is, at which place.
local function split(text, at)
  local rows, cursor_row, cursor_at = {}, 1, 1
  for from, row in text:gmatch "()([^\n]*)" do
    rows[#rows + 1] = row
    if from <= at then cursor_row, cursor_at = #rows, at - from + 1 end
  end
  return rows, cursor_row, cursor_at
end

local function move(cells_away, direction)
  return cells_away > 0 and ("\27[%d%s"):format(cells_away, direction) or ""
end

-- To the first row that is shown.
local function home(self)
  return move(self.above, "A") .. "\r"
end

--- What draws the line where it was drawn before, in a terminal of so many columns and lines.
function Line:draw(columns, lines)
  local prompt, text, at = scene(self)
  local rows, cursor_row, cursor_at = split(text, at)
  local most = math.max((lines or math.huge) - 1, 1)
  local first = math.max(1, math.min(cursor_row - most // 2, #rows - most + 1))
  local last = math.min(first + most - 1, #rows)
  local out, column = {}, 0
  for i = first, last do
    local head = i == 1 and prompt or self.continued
    local used = cells.count(head)
    local here = i == cursor_row
    local shown, ahead = cells.window(rows[i], here and cursor_at or 1,
      math.max(columns - used - 1, 1))
    out[#out + 1] = head .. shown .. "\27[K"
    if here then column = used + ahead end
  end
  local drawn = home(self) .. table.concat(out, "\n\r")
  if self.above + self.below > last - first then drawn = drawn .. "\27[J" end
  self.above, self.below = cursor_row - first, last - cursor_row
  return drawn .. move(self.below, "A") .. "\r" .. move(column, "C")
end

--- What takes it away, so that something else can be written there.
function Line:hide()
  local gone = home(self) .. "\27[J"
  self.above, self.below = 0, 0
  return gone
end

--- What leaves it where it is and goes on below.
function Line:leave()
  local gone = move(self.below, "B") .. "\n"
  self.above, self.below = 0, 0
  return gone
end

return line

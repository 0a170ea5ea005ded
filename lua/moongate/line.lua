-- line.lua: a line that is being typed: keys go in, what the terminal has to show comes out. Used
-- by repl.lua and by specs. It reads nothing and writes nothing.
--
--   local typed = line.new { prompt = "> ", history = { "bot.state" }, complete = fn }
--   io.write(typed:draw(80))
--   local what, value = typed:feed(bytes)
--
-- A line longer than the terminal is shown in part, around the cursor. What is pasted, between the
-- marks that a terminal puts around it when asked to, is text and no keys.

local line = {}

local Line = {}
Line.__index = Line

local HISTORY_MAX = 1000 -- lines that are remembered
local ONE = "[%z\1-\127\192-\255][\128-\191]*" -- a character
local PASTE_BEGINS, PASTE_ENDS = "\27[200~", "\27[201~"

-- ---- Characters ---------------------------------------------------------------------------------

-- Where the character before or behind a place of the text begins. A byte that is no UTF-8 is a
-- character of its own.
local function before(text, at)
  at = at - 1
  while at > 1 and text:find("^[\128-\191]", at) do at = at - 1 end
  return math.max(at, 1)
end

local function behind(text, at)
  at = at + 1
  while text:find("^[\128-\191]", at) do at = at + 1 end
  return math.min(at, #text + 1)
end

local function word_before(text, at)
  local from = text:sub(1, at - 1):match "^.-()[%w_]*[^%w_]*$"
  return from
end

local function word_behind(text, at)
  return text:match("^[^%w_]*[%w_]*()", at)
end

-- Characters that take two cells, and none: from, to. The others take one.
local wide = {
  { 0x1100, 0x115F }, { 0x2E80, 0x303E }, { 0x3041, 0xA4CF }, { 0xAC00, 0xD7A3 },
  { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 },
  { 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF }, { 0x1F900, 0x1FAFF }, { 0x20000, 0x3FFFD },
}
local narrow = {
  { 0x300, 0x36F }, { 0x200B, 0x200F }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F },
}

local function is_in(ranges, code)
  for _, range in ipairs(ranges) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

local function cells_of(char)
  local code = #char > 1 and utf8.len(char) and utf8.codepoint(char) or 0
  return code < 0x300 and 1 or is_in(wide, code) and 2 or is_in(narrow, code) and 0 or 1
end

-- The cells that a text takes.
local function count(text)
  local cells = 0
  for char in text:gmatch(ONE) do cells = cells + cells_of(char) end
  return cells
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

-- Shows another line of the history; what was typed is the line behind the last one.
local function recall(self, place)
  if place < 1 or place > #self.history + 1 then return end
  if self.place == #self.history + 1 then self.draft = self.text end
  self.place = place
  self.text = self.history[place] or self.draft
  self.at = #self.text + 1
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
  ["\r"] = function(self) return "line", self:take() end,
  ["\n"] = function(self) return "line", self:take() end,
  ["\t"] = complete,
  ["\3"] = function(self) return "interrupt", self:take(true) end,
  ["\4"] = function(self) -- Ctrl-D: the end of an empty line, else Delete
    if self.text == "" then return "end" end
    cut(self, self.at, behind(self.text, self.at))
  end,
  ["\12"] = function() return "wipe" end,
  ["\26"] = function() return "suspend" end,
  ["\127"] = function(self)
    if self.at > 1 then cut(self, before(self.text, self.at), self.at) end
  end,
  ["\1"] = function(self) self.at = 1 end,
  ["\5"] = function(self) self.at = #self.text + 1 end,
  ["\2"] = function(self) self.at = before(self.text, self.at) end,
  ["\6"] = function(self) self.at = behind(self.text, self.at) end,
  ["\16"] = function(self) recall(self, self.place - 1) end,
  ["\14"] = function(self) recall(self, self.place + 1) end,
  ["\11"] = function(self) cut(self, self.at, #self.text + 1) end,
  ["\21"] = function(self) cut(self, 1, self.at) end,
  ["\23"] = function(self) cut(self, word_before(self.text, self.at), self.at) end,
  ["\25"] = function(self) put(self, self.kept) end,
  [PASTE_BEGINS] = function(self) self.pasting = true end,
  [PASTE_ENDS] = function(self) self.pasting = false end,
  ["\27[3~"] = function(self) cut(self, self.at, behind(self.text, self.at)) end,
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

--- A new line. prompt: what stands in front of it; history: a list of lines, the newest last, to
-- which those that are taken are added; complete(text before the cursor) -> where the word begins
-- that can be completed, and all that it may become.
function line.new(options)
  return setmetatable({
    prompt = options.prompt or "> ", history = options.history or {},
    complete = options.complete or function() end,
    text = "", at = 1, place = #(options.history or {}) + 1, draft = "", kept = "", sent = "",
  }, Line)
end

--- Takes what keys have sent, up to the first one that is more than typing, and returns what it is:
--   "line", text       the line is done
--   "interrupt", text  Ctrl-C: the line was given up
--   "end"              Ctrl-D on an empty line
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
    local act = keys[key]
    if self.pasting and key == "\t" then
      put(self, " ")
    elseif act then
      local what, value = act(self)
      if what then return what, value end
    elseif not key:find "^%c" then
      put(self, key)
    end
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
  return text
end

-- The part of the text that has a place in so many cells, and how many of them are before the
-- cursor. The cursor, and a wide character under it, has its place as well.
local function window(self, cells)
  local head, from = count(self.text:sub(1, self.at - 1)), 1
  while head > cells - 2 and from < self.at do
    local next_one = behind(self.text, from)
    head = head - count(self.text:sub(from, next_one - 1))
    from = next_one
  end
  local used, to = 0, from
  while to <= #self.text do
    local next_one = behind(self.text, to)
    used = used + count(self.text:sub(to, next_one - 1))
    if used > cells then break end
    to = next_one
  end
  return self.text:sub(from, to - 1), head
end

--- What draws the line where the cursor is, in a terminal of so many columns.
function Line:draw(columns)
  local cells = math.max(columns - count(self.prompt) - 1, 1)
  local shown, head = window(self, cells)
  local place = count(self.prompt) + head
  return ("\r%s%s\27[K\r%s"):format(self.prompt, shown,
    place > 0 and ("\27[%dC"):format(place) or "")
end

--- What takes it away, so that something else can be written there.
function Line.hide()
  return "\r\27[K"
end

return line

-- cli_view.lua: what `moongate cluster` shows: in a terminal a table that is drawn again every
-- second, elsewhere a line for each change. Required by cli_cluster.lua and by specs.
--
--   shard     state        latency  events/s     session
--   0/64      ready          41 ms      12.5       2 min
--   1/64      waiting            -       0.0           -
--   ... 62 more: 15 ready, 47 waiting
--   [#######-----------------------] 16 of 64 ready, 15 s to go
--   12:30:01 shard 3/64: the session is lost: ...
--
-- The table is never higher or wider than the terminal, so that the cursor finds its way back to
-- the first line. Where not all shards have a place, those have one that something happens to.

local core = require "moongate.core"
local moongate = require "moongate"
local output = require "moongate.output"

local view = {}

local REDRAW_S = 1
local WINDOW_S = core.limits.IDENTIFY_WINDOW_MS / 1000
local BAR_CELLS = 30
local NOTES_MAX = 3 -- of what happened last, under the table
local NOTE_INDENT = 9 -- as wide as the time that a note begins with
local REPEAT_S = 60 -- until a trouble that goes on is told again
local LOST_S = 0.2 -- a lost session waits for the word whether its shard is down for good
local COLUMNS, LINES = 80, 24 -- of a terminal that does not say how large it is

-- ---- Lines -------------------------------------------------------------------------------------

local function span(seconds)
  if not seconds then return "-" end
  local whole = math.floor(seconds)
  if whole < 60 then return ("%d s"):format(whole) end
  if whole < 3600 then return ("%d min"):format(whole // 60) end
  if whole < 86400 then return ("%d h %02d min"):format(whole // 3600, whole % 3600 // 60) end
  return ("%d d %d h"):format(whole // 86400, whole % 86400 // 3600)
end

--- A duration in words; "-" for nil.
view.span = span

local function milliseconds(seconds)
  return seconds and ("%d ms"):format(math.floor(seconds * 1000 + 0.5)) or "-"
end

-- Each column: its heading, its width (left of 0: to the left), what stands in it.
local fields = {
  { "shard", -9, function(row) return ("%d/%d"):format(row.id, row.count) end },
  { "state", -11, function(row) return row.state end },
  { "latency", 8, function(row) return milliseconds(row.latency) end },
  { "events/s", 9, function(row) return ("%.1f"):format(row.rate) end },
  { "session", 11, function(row) return span(row.age) end },
}
local GAP = 1

-- How many of the columns fit.
local function fitting(columns)
  local used, count = -GAP, 0
  for _, field in ipairs(fields) do
    used = used + GAP + math.abs(field[2])
    if used > columns then break end
    count = count + 1
  end
  return math.max(count, 1)
end

local COLORS = { ready = 32, dead = 31, idle = 2, waiting = 2 }
local OTHER_COLOR = 33 -- on its way

local function line_of(count, read, color)
  local cells = {}
  for i = 1, count do
    local field = fields[i]
    local text = ("%" .. field[2] .. "s"):format(read(field))
    if color and field[1] == "state" then text = ("\27[%dm%s\27[0m"):format(color, text) end
    cells[i] = text
  end
  return (table.concat(cells, (" "):rep(GAP)):gsub(" +$", ""))
end

-- What something happens to comes first, what only waits last.
local RANK = { ready = 2, waiting = 3, idle = 3 }

-- The `most` rows that have a place, in the order of their ids, and how many of each state have
-- none.
local function choose(rows, most)
  if #rows <= most then return rows, {} end
  local order = table.move(rows, 1, #rows, 1, {})
  table.sort(order, function(a, b)
    local one, other = RANK[a.state] or 1, RANK[b.state] or 1
    if one ~= other then return one < other end
    return a.id < b.id
  end)
  local shown, others = table.move(order, 1, most, 1, {}), {}
  table.sort(shown, function(a, b) return a.id < b.id end)
  for i = most + 1, #order do
    local state = order[i].state
    others[state] = (others[state] or 0) + 1
  end
  return shown, others
end

local function describe(others)
  local names, total = {}, 0
  for state, count in pairs(others) do
    names[#names + 1] = ("%d %s"):format(count, state)
    total = total + count
  end
  if total == 0 then return nil end
  table.sort(names, function(a, b) return tonumber(a:match "%d+") > tonumber(b:match "%d+") end)
  return ("... %d more: %s"):format(total, table.concat(names, ", "))
end

--- The lines of the table for rows { id, count, state, latency, rate, age } (seconds; events a
-- second) in a place of so many columns and lines (nil: as many as are needed).
function view.lines(rows, columns, lines, colored)
  local count = fitting(columns or math.huge)
  local room = math.max(lines and lines - 1 or #rows, 1)
  if #rows > room then room = room - 1 end
  local shown, others = choose(rows, math.max(room, 0))
  local out = { line_of(count, function(field) return field[1] end) }
  for _, row in ipairs(shown) do
    local color = colored and (COLORS[row.state] or OTHER_COLOR) or nil
    out[#out + 1] = line_of(count, function(field) return field[3](row) end, color)
  end
  local more = describe(others)
  out[#out + 1] = more and more:sub(1, columns)
  return out
end

--- The line under the table. While shards start, a bar: "[#####-----] 8 of 16 ready, 10 s to go";
-- `left_s` may be nil. Then what they do together; those that are down for good start no more.
function view.foot(rows, left_s, columns)
  local ready, dead, rate, latency, measured = 0, 0, 0, 0, 0
  for _, row in ipairs(rows) do
    if row.state == "ready" then ready = ready + 1 end
    if row.state == "dead" then dead = dead + 1 end
    if row.latency then latency, measured = latency + row.latency, measured + 1 end
    rate = rate + row.rate
  end
  local gone = dead > 0 and (", %d dead"):format(dead) or ""
  if ready + dead == #rows and #rows > 0 then
    local count = dead > 0 and ("%d of %d"):format(ready, #rows)
      or ready == 1 and "1 shard" or "all " .. ready
    return ("%s ready%s, %.1f events/s, %s"):format(count, gone, rate,
      milliseconds(measured > 0 and latency / measured or nil))
  end
  local rest = left_s and left_s > 0 and (", %s to go"):format(span(left_s)) or ""
  local words = ("%d of %d ready%s%s"):format(ready, #rows, gone, rest)
  local cells = math.min(BAR_CELLS, (columns or math.huge) - #words - 3)
  if cells < 3 then return words end
  local full = #rows > 0 and math.floor(cells * ready / #rows) or 0
  return ("[%s%s] %s"):format(("#"):rep(full), ("-"):rep(cells - full), words)
end

-- ---- What there is to be seen ------------------------------------------------------------------

local View = {}
View.__index = View

-- Looks at a shard; remembers when its session began, and how many events it had had.
local function look(self, one, now)
  local stats = one:stats()
  local events = (stats.events_heard or 0) + (stats.events_skipped or 0)
  local before = self.seen[one.id] or { events = events, at = now }
  local session = one.session
  local since = session and before.session == session and before.since or session and now
  local rate = now > before.at and math.max(events - before.events, 0) / (now - before.at) or 0
  self.seen[one.id] = { session = session, since = since, events = events, at = now }
  return {
    id = one.id, count = one.count, state = stats.state, latency = one.latency, rate = rate,
    age = since and now - since,
  }
end

local function rows_of(self)
  local list, now = {}, core.now()
  for _, one in pairs(self.cluster.shards) do list[#list + 1] = look(self, one, now) end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

-- How long those that are not ready need at least, by the identify windows.
local function time_left(self, rows)
  local missing = 0
  for _, row in ipairs(rows) do
    local comes = row.state ~= "ready" and row.state ~= "dead"
    missing = missing + (comes and 1 or 0)
  end
  local limit = self.cluster.gateway.session_start_limit
  return math.ceil(missing / (limit and limit.max_concurrency or 1) - 1) * WINDOW_S
end

-- ---- In a terminal -----------------------------------------------------------------------------

-- A character of UTF-8 is taken for one cell; what is none is one each.
local function clip(text, columns)
  local cells = utf8.len(text)
  if (cells or #text) <= columns then return text end
  return text:sub(1, cells and utf8.offset(text, columns + 1) - 1 or columns)
end

--- A text as lines, broken at spaces where there are some; all but the first are indented.
function view.wrap(text, columns)
  local lines, rest = {}, text:gsub("%c+", " ")
  while rest ~= "" do
    local indent = #lines > 0 and (" "):rep(math.min(NOTE_INDENT, columns - 1)) or ""
    local line = clip(indent .. rest, columns)
    local cut = #line - #indent
    if rest:find("^%S", cut + 1) then cut = line:sub(#indent + 1):match "^.+()%s" or cut end
    lines[#lines + 1] = indent .. rest:sub(1, cut):gsub("%s+$", "")
    rest = rest:sub(cut + 1):gsub("^%s+", "")
  end
  return lines
end

local function size_of_terminal()
  local columns, lines = core.terminal(1)
  if not columns then return nil end
  return columns > 0 and columns or COLUMNS, lines > 0 and lines or LINES
end

-- Back to the first line of what was drawn; all of it is gone when the size has changed, as nobody
-- knows how the terminal has wrapped it.
local function go_back(self, columns, lines)
  local same = self.columns == columns and self.rows == lines
  self.columns, self.rows = columns, lines
  if not self.drawn then return "" end
  if not same then return "\27[2J\27[H" end
  return ("\r\27[%dA"):format(self.drawn)
end

-- The last of the notes' lines.
local function notes_of(self, columns, most)
  local all = {}
  for _, text in ipairs(self.notes) do
    for _, line in ipairs(view.wrap(text, columns)) do all[#all + 1] = line end
  end
  return table.move(all, math.max(#all - most, 0) + 1, #all, 1, {})
end

function View:draw()
  local columns, lines = size_of_terminal()
  local rows, notes = rows_of(self), notes_of(self, columns, math.max(lines - 5, 0))
  local all = view.lines(rows, columns, lines - 2 - #notes, self.colored)
  all[#all + 1] = clip(view.foot(rows, time_left(self, rows), columns), columns)
  table.move(notes, 1, #notes, #all + 1, all)
  output.write(go_back(self, columns, lines), table.concat(all, "\27[K\n"), "\27[K\n\27[J")
  self.drawn = #all
end

-- Lines that stay, above the table.
function View:above(text)
  local columns, lines = size_of_terminal()
  output.write(go_back(self, columns, lines), "\27[J", text, "\n")
  self.drawn = nil
  self:draw()
end

local function note(self, text)
  table.insert(self.notes, text)
  if #self.notes > NOTES_MAX then table.remove(self.notes, 1) end
  self:draw()
end

-- What a config file prints must not end up in the table.
local function print_above(self)
  local before = print
  _G.print = function(...) -- luacheck: ignore 122
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    self:above(table.concat(words, "\t"))
  end
  return function() _G.print = before end -- luacheck: ignore 122
end

local function draw_on(self)
  while not self.ended do
    self:draw()
    moongate.sleep(REDRAW_S)
  end
end

-- ---- The whole ---------------------------------------------------------------------------------

--- A filter of what is told: fn(source, level, text, now) gives the text, or nil for a trouble that
-- is the last word of its source already; after REPEAT_S it is told again, with how often it came.
function view.filter()
  local last = {} -- by source: { text, at, more }
  return function(source, level, text, now)
    local before = last[source]
    local same = before and before.text == text and level ~= "info" and level ~= "debug"
    if same and now - before.at < REPEAT_S then
      before.more = before.more + 1
      return nil
    end
    last[source] = { text = text, at = now, more = 0 }
    return same and before.more > 0 and ("%s (%d times more)"):format(text, before.more) or text
  end
end

local function say(self, level, text, shard_id)
  text = self.filter(shard_id or "all", level, text, core.now())
  if not text then return end
  local line = os.date "%H:%M:%S " .. text
  if not self.table or self.ended then
    local write = level == "error" and function(...) io.stderr:write(...) end or output.write
    write(line, "\n")
  elseif level ~= "info" then
    note(self, line)
    if not core.terminal(2) then io.stderr:write(line, "\n") end
  end
end

--- True where a table can be drawn.
function view.has_terminal()
  return core.terminal(1) ~= nil and os.getenv "TERM" ~= "dumb"
end

-- Tells of the lost session of a shard, if that waits.
local function flush(self, id)
  local entry = self.held[id]
  self.held[id] = nil
  if entry then say(self, entry.level, entry.message, id) end
end

-- The session of a shard that is down for good is lost as well; that is no news then.
local function hear(self, entry)
  local data = entry.fields or {}
  local id = data.shard_id
  if data.event == "error" and entry.level == "error" then return end
  if id and data.event == "lost" then
    self.held[id] = entry
    return moongate.spawn(function()
      moongate.sleep(LOST_S)
      if self.held[id] == entry then flush(self, id) end
    end)
  end
  if data.event == "close" and data.by == "server" and data.will_reconnect == false then
    self.held[id] = nil
  elseif id then
    flush(self, id)
  end
  say(self, entry.level, entry.message, id)
end

--- Begins to show what a cluster does, as a table or line by line, until finish() is called.
function view.new(cluster, as_table)
  local self = setmetatable({
    cluster = cluster, table = as_table, seen = {}, notes = {}, started = core.now(),
    colored = not os.getenv "NO_COLOR", filter = view.filter(),
    held = {}, -- id -> the entry of a lost session that is not told yet
  }, View)
  cluster:on("error", function(problem, one)
    say(self, "error", problem.message, one and one.id)
  end)
  cluster:on("log", function(entry) hear(self, entry) end)
  if as_table then
    self.restore = print_above(self)
    moongate.spawn(draw_on, self)
  end
  return self
end

--- The end: what Ctrl-C left under the table goes.
function View:finish()
  self.ended = true
  for id in pairs(self.held) do flush(self, id) end
  if self.table then
    self.restore()
    output.write "\r\27[J"
  end
  say(self, "info", ("ended after %s"):format(span(core.now() - self.started)))
end

return view

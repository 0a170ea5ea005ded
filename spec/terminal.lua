-- terminal.lua: a terminal as the specs see it: what is on the screen after what was written, and
-- where the cursor is. It knows what the prompt uses, and raises what it does not know.

local terminal = {}

local Terminal = {}
Terminal.__index = Terminal

--- A terminal of so many columns, with as many lines as it takes.
function terminal.new(columns)
  return setmetatable({ columns = columns, rows = {}, row = 1, column = 1 }, Terminal)
end

local function cells_of(self, row)
  self.rows[row] = self.rows[row] or {}
  return self.rows[row]
end

-- A character in the last column leaves the cursor there; the next one begins a line.
local function put(self, char)
  if self.column > self.columns then self.row, self.column = self.row + 1, 1 end
  cells_of(self, self.row)[self.column] = char
  self.column = self.column + 1
end

local function erase(self)
  local row = cells_of(self, self.row)
  for at = self.column, self.columns do row[at] = nil end
end

local orders = {
  A = function(self, count) self.row = math.max(self.row - count, 1) end,
  B = function(self, count) self.row = self.row + count end,
  C = function(self, count) self.column = math.min(self.column + count, self.columns) end,
  H = function(self) self.row, self.column = 1, 1 end,
  J = function(self, _, digits)
    erase(self)
    for at in pairs(self.rows) do
      if at > self.row or digits == "2" then self.rows[at] = nil end
    end
  end,
  K = erase,
  m = function() end,
}

--- Shows what is written.
function Terminal:write(written)
  local place = 1
  while place <= #written do
    local digits, order, behind = written:match("^\27%[([%d;]*)(%a)()", place)
    local mode = written:match("^\27%[%?2004[hl]()", place)
    local char = written:match("^[%z\1-\127\192-\255][\128-\191]*", place)
    if mode then
      place = mode
    elseif order then
      orders[order](self, tonumber(digits) or 1, digits)
      place = behind
    else
      if char == "\r" then
        self.column = 1
      elseif char == "\n" then
        self.row = self.row + 1
      else
        assert(not char:find "^%c", ("%q"):format(char))
        put(self, char)
      end
      place = place + #char
    end
  end
  return self
end

--- What is on the screen: a list of lines, without the blanks at their ends.
function Terminal:lines()
  local list, last = {}, self.row
  for at in pairs(self.rows) do last = math.max(last, at) end
  for at = 1, last do
    local row, widest = self.rows[at] or {}, 0
    for column in pairs(row) do widest = math.max(widest, column) end
    local text = {}
    for column = 1, widest do text[column] = row[column] or " " end
    list[at] = table.concat(text):gsub(" +$", "")
  end
  return list
end

return terminal

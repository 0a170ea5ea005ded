-- search.lua: Ctrl-R: what was typed before is searched backwards for what is typed now, letter by
-- letter. Used by line.lua and by specs. It reads nothing and writes nothing.

local cells = require "moongate.cells"

local search = {}

local Search = {}
Search.__index = Search

--- Begins to search a list, the newest last; its fields are the letters so far (`wanted`), the
-- place of what was found, one behind the list at first, and whether it has not the letters
-- (`failed`).
function search.new(history)
  return setmetatable({
    history = history, wanted = "", place = #history + 1, failed = false, before = {},
  }, Search)
end

-- Looks from a place to the front; what has been found stays where there is nothing else.
local function look(self, from)
  for place = from, 1, -1 do
    local text = self.history[place]
    if text:find(self.wanted, 1, true) and text ~= self.history[self.place] then
      self.place, self.failed = place, false
      return
    end
  end
  self.failed = true
end

local function add(self, letter)
  table.insert(self.before, { self.wanted, self.place, self.failed })
  self.wanted = self.wanted .. letter
  local found = self.history[self.place]
  if found and not self.failed and found:find(self.wanted, 1, true) then return end
  look(self, math.min(self.place, #self.history))
end

--- Takes more letters: what was found stays if it has them.
function Search:extend(letters)
  for letter in letters:gmatch(cells.ONE) do add(self, letter) end
end

--- Looks for another one, which is older.
function Search:older()
  if self.wanted ~= "" then look(self, self.place - 1) end
end

--- Forgets the last letter, and what it led to.
function Search:shorten()
  local state = table.remove(self.before)
  if state then self.wanted, self.place, self.failed = table.unpack(state) end
end

--- What was found: its text, and where the letters are in it; nil while there is nothing.
function Search:found()
  local text = self.history[self.place]
  if text then return text, text:find(self.wanted, 1, true) or 1 end
end

return search

-- spelling.lua: what a misspelt name was meant to be, for every "did you mean", and values as an
-- error shows them. Called by whatever judges what it is given, the command and the sandbox
-- included. Pure functions; requires nothing.

local spelling = {}

local SHOWN_MAX = 24 -- bytes of a string
local plain = { number = true, boolean = true, ["nil"] = true }

--- A value for the end of ", got ...": strings quoted, so that "0" is not taken for 0.
function spelling.shown(value)
  if type(value) == "string" then return ("%q"):format(value:sub(1, SHOWN_MAX)) end
  return plain[type(value)] and tostring(value) or type(value)
end

--- A name without its style: "messageCreate" and "MESSAGE_CREATE" both give "messagecreate".
function spelling.bare(name)
  return (name:gsub("[^%w]", ""):lower())
end

--- How many letters must be put in, left out, changed or swapped to make one word of the other.
function spelling.distance(one, other)
  local before, last
  local row = {}
  for j = 0, #other do row[j] = j end
  for i = 1, #one do
    before, last, row = last, row, { [0] = i }
    for j = 1, #other do
      local same = one:byte(i) == other:byte(j)
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and one:byte(i) == other:byte(j - 1)
        and one:byte(i - 1) == other:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
  end
  return row[#other]
end

--- The one of `names` that `word` was most likely meant to be, or nil: the nearest by letters,
-- whatever the style, else the shortest that contains the word.
function spelling.nearest(word, names)
  local wanted = spelling.bare(word)
  if wanted == "" or #wanted > 64 then return nil end
  local best, least = nil, math.min(3, math.floor(#wanted / 3)) + 1
  local inside
  for _, name in ipairs(names) do
    local candidate = spelling.bare(name)
    local far = spelling.distance(wanted, candidate)
    if far < least then best, least = name, far end
    if #wanted >= 4 and candidate:find(wanted, 1, true) and (not inside or #name < #inside) then
      inside = name
    end
  end
  return best or inside
end

return spelling

-- cells.lua: a text as a terminal shows it: its characters, and the cells that each takes. Used by
-- line.lua and by specs. Pure functions; a byte that is no UTF-8 is a character of its own.

local cells = {}

--- The pattern of a character.
cells.ONE = "[%z\1-\127\192-\255][\128-\191]*"

--- Where the character before a place of the text begins, 1 at the least.
function cells.before(text, at)
  at = at - 1
  while at > 1 and text:find("^[\128-\191]", at) do at = at - 1 end
  return math.max(at, 1)
end

--- Where the character behind that at a place begins, one behind the text at the most.
function cells.behind(text, at)
  at = at + 1
  while text:find("^[\128-\191]", at) do at = at + 1 end
  return math.min(at, #text + 1)
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

--- How many cells a text takes.
function cells.count(text)
  local sum = 0
  for char in text:gmatch(cells.ONE) do sum = sum + cells_of(char) end
  return sum
end

--- Where the character begins that is so many cells behind the start of a text, or at its end.
function cells.place(text, wanted)
  local at, used = 1, 0
  while at <= #text do
    local next_one = cells.behind(text, at)
    used = used + cells.count(text:sub(at, next_one - 1))
    if used > wanted then break end
    at = next_one
  end
  return at
end

--- The part of a text that has a place in so many cells, and how many of them are before the
-- cursor, which is at a place of the text. It, and a wide character under it, has a place as well.
function cells.window(text, at, room)
  local head, from = cells.count(text:sub(1, at - 1)), 1
  while head > room - 2 and from < at do
    local next_one = cells.behind(text, from)
    head = head - cells.count(text:sub(from, next_one - 1))
    from = next_one
  end
  local rest = text:sub(from)
  return rest:sub(1, cells.place(rest, room) - 1), head
end

return cells

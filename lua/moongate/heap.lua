-- heap.lua: things that have a time, earliest first: a binary heap. Used by scheduler.lua, on the
-- Lua thread. Pure: it knows neither clock nor loop.
--
-- A heap is a list; its first entry is the earliest. An entry is a table with `at`, its time, and
-- `order`, which decides between equal times; the heap writes `slot`, its place, nil outside of it.

local heap = {}

function heap.new()
  return {}
end

local function earlier(one, other)
  return one.at < other.at or (one.at == other.at and one.order < other.order)
end

local function place(list, entry, slot)
  list[slot] = entry
  entry.slot = slot
end

-- Puts `entry` where it belongs, from the free place `slot` of `count` on.
local function sift(list, count, entry, slot)
  while slot > 1 do
    local parent = math.floor(slot / 2)
    if not earlier(entry, list[parent]) then break end
    place(list, list[parent], slot)
    slot = parent
  end
  while slot * 2 <= count do
    local child = slot * 2
    if child < count and earlier(list[child + 1], list[child]) then child = child + 1 end
    if not earlier(list[child], entry) then break end
    place(list, list[child], slot)
    slot = child
  end
  place(list, entry, slot)
end

--- Adds an entry that is in no heap.
function heap.put(list, entry)
  local count = #list + 1
  sift(list, count, entry, count)
end

--- Takes an entry out. True when it was in.
function heap.take(list, entry)
  local slot = entry.slot
  if not slot then return false end
  entry.slot = nil
  local count = #list
  local last = list[count]
  list[count] = nil
  if last ~= entry then sift(list, count - 1, last, slot) end
  return true
end

return heap

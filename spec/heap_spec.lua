-- heap_spec.lua: what is due first, held against a list that is sorted.

local heap = require "moongate.heap"

local function is_before(one, other)
  return one.at < other.at or one.at == other.at and one.order < other.order
end

-- A heap of so many entries, with equal times among them, and the same entries in a list.
local function filled(count)
  local entries, list = heap.new(), {}
  for i = 1, count do
    list[i] = { at = math.random(1, count), order = i }
    heap.put(entries, list[i])
  end
  return entries, list
end

local function drained(entries)
  local taken = {}
  while entries[1] do
    taken[#taken + 1] = entries[1]
    assert.is_true(heap.take(entries, entries[1]))
  end
  return taken
end

local function assert_same_order(expected, got)
  assert.equal(#expected, #got)
  for i, entry in ipairs(expected) do assert.equal(entry, got[i]) end
end

describe("heap", function()
  it("gives the earliest first, and of equal ones the one that was made first", function()
    math.randomseed(4)
    for count = 0, 40 do
      local entries, list = filled(count)
      table.sort(list, is_before)
      assert_same_order(list, drained(entries))
    end
  end)

  it("gives up any entry, wherever it is", function()
    math.randomseed(5)
    for round = 1, 300 do
      local entries, list = filled(round % 30 + 1)
      for _ = 1, math.random(#list) do
        local gone = table.remove(list, math.random(#list))
        assert.is_true(heap.take(entries, gone))
        assert.is_nil(gone.slot)
        assert.is_false(heap.take(entries, gone))
      end
      table.sort(list, is_before)
      assert_same_order(list, drained(entries))
    end
  end)

  it("takes an entry in again", function()
    local entries, one = heap.new(), { at = 1, order = 1 }
    heap.put(entries, one)
    heap.take(entries, one)
    one.at = 2
    heap.put(entries, one)
    assert_same_order({ one }, drained(entries))
    assert.same({}, entries)
  end)
end)

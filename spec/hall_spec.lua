-- hall.c: one line for the shards of several threads, with threads that are only numbers.
local core = require "moongate.core"
local unit = require "moongate_unit"

local limits = core.limits
local WINDOW_MS = limits.IDENTIFY_WINDOW_MS
local LOOK_MS = 1000 -- of who waits at the door

describe("hall: identify slots", function()
  -- Shards 0 and 1 are of thread 1, 2 and 3 of thread 2, and so on.
  local hall

  before_each(function() hall = unit.hall(1, 16, 2) end)

  local function identify(id, now_ms)
    assert.is_true(hall:admit(id, now_ms))
    hall:spent(id, now_ms)
    hall:done(id, now_ms)
    hall:leave(id, false, now_ms)
  end

  it("a thread gets its own shards only, and another one is told when it is its turn", function()
    hall:ask(2)
    hall:ask(0)
    assert.is_nil(hall:next_slot(1, 10))
    assert.same({ 0, 1 }, hall:woken())
    assert.equal(2, hall:next_slot(2, 11))
    assert.is_nil(hall:next_slot(2, 11))
    assert.same({}, hall:woken())
  end)

  it("first come, first served, whatever thread they are on; one window for all", function()
    local order, now = {}, 0
    for _, id in ipairs { 5, 0, 3, 1, 2, 4 } do hall:ask(id) end
    while #order < 6 do
      for thread = 1, 3 do
        local id = hall:next_slot(thread, now)
        if id then
          order[#order + 1] = { id, now }
          identify(id, now)
        end
      end
      now = now + WINDOW_MS / 10
    end
    for at, id in ipairs { 5, 0, 3, 1, 2, 4 } do
      assert.same({ id, (at - 1) * WINDOW_MS }, order[at])
    end
  end)

  it("R36 who was started earlier comes first, however late its thread hears of it", function()
    for _, id in ipairs { 0, 2, 4 } do hall:expect(id) end
    hall:come(4)
    hall:ask(4)
    hall:came(4)
    assert.is_nil(hall:next_slot(3, 0))
    assert.is_nil(hall:deadline(3, 0, 0)) -- it will be told
    hall:come(0)
    hall:ask(0)
    hall:came(0)
    assert.equal(0, hall:next_slot(1, 0))
    identify(0, 0)
    assert.is_nil(hall:next_slot(3, WINDOW_MS)) -- shard 2 is still on its way
    hall:woken()
    hall:come(2)
    hall:ask(2)
    hall:came(2)
    assert.equal(2, hall:next_slot(2, WINDOW_MS))
    identify(2, WINDOW_MS)
    assert.equal(4, hall:next_slot(3, 2 * WINDOW_MS))
  end)

  it("nobody waits for a start that does not ask, or never comes", function()
    hall:expect(0)
    hall:expect(2)
    hall:expect(4)
    hall:come(4)
    hall:ask(4)
    hall:came(4)
    hall:come(0) -- it resumes
    hall:came(0)
    assert.is_nil(hall:next_slot(3, 0))
    hall:woken()
    hall:came(2, true)
    assert.same({ 0, 0, 1 }, hall:woken()) -- thread 3 was told
    assert.equal(4, hall:next_slot(3, 0))
    identify(4, 0)
    -- Its place in line was for then: now it is the last one.
    hall:ask(2)
    hall:ask(0)
    assert.equal(2, hall:next_slot(2, WINDOW_MS))
  end)

  it("starts of other keys hold up nobody", function()
    hall:resize(2, 0)
    hall:expect(0)
    hall:expect(3)
    hall:come(3)
    hall:ask(3)
    hall:came(3)
    assert.equal(3, hall:next_slot(2, 0))
  end)

  it("who was told of an open slot is not told again by its own deadline", function()
    hall:ask(2)
    -- A thread that has looked leaves it to the other one, which has to look now.
    assert.is_nil(hall:next_slot(1, 10))
    assert.is_nil(hall:deadline(1, 10, 10))
    assert.equal(0, hall:deadline(2, 9, 10))
    -- What opens later is everybody's business, as nobody knows who will be first by then.
    hall:next_slot(2, 10)
    identify(2, 10)
    hall:ask(4)
    for thread = 1, 3 do assert.equal(10 + WINDOW_MS, hall:deadline(thread, 10, 20)) end
    -- It has opened since a thread looked: that thread passes it on.
    assert.equal(10 + WINDOW_MS, hall:deadline(1, 20, 10 + WINDOW_MS))
    assert.is_nil(hall:next_slot(1, 10 + WINDOW_MS))
    assert.same({ 0, 1, 1 }, hall:woken())
    assert.is_nil(hall:deadline(1, 10 + WINDOW_MS, 10 + WINDOW_MS))
  end)

  it("one that is put back is first again, at its time", function()
    hall:ask(0)
    hall:ask(2)
    assert.equal(0, hall:next_slot(1, 0))
    hall:put_back(0, 250)
    assert.is_nil(hall:next_slot(1, 249))
    assert.is_nil(hall:next_slot(2, 249))
    assert.is_nil(hall:next_slot(2, 250))
    assert.equal(0, hall:next_slot(1, 250))
  end)

  it("a place that is gone when a slot is used stays gone", function()
    hall = unit.hall(4, 2, 1)
    for id = 0, 2 do hall:ask(id) end
    for id = 0, 2 do assert.equal(id, hall:next_slot(id + 1, 0)) end
    assert.is_true(hall:admit(0, 0))
    assert.is_true(hall:admit(1, 0))
    assert.is_false(hall:admit(2, 0))
    hall:put_back(2, 0)
    assert.is_nil(hall:next_slot(3, 1))
    assert.equal(1 + LOOK_MS, hall:deadline(3, 1, 1))
    hall:leave(0, false, 2) -- whose thread says so to the one that waits
    assert.same({ 0, 0, 1 }, hall:woken())
    assert.equal(2, hall:next_slot(3, 2))
  end)

  it("another concurrency holds for all threads", function()
    for id = 0, 3 do hall:ask(id) end
    assert.equal(0, hall:key(3))
    hall:resize(4, 0)
    assert.equal(3, hall:key(3))
    assert.same({ 0, 1 }, { hall:next_slot(1, 0), hall:next_slot(1, 0) })
    assert.same({ 2, 3 }, { hall:next_slot(2, 0), hall:next_slot(2, 0) })
  end)

  it("tells a hold once, and numbers that nobody else has", function()
    assert.is_true(hall:tells_hold(true))
    assert.is_false(hall:tells_hold(true))
    assert.is_false(hall:tells_hold(false))
    assert.is_true(hall:tells_hold(true))
    assert.not_equal(hall:turn_number(), hall:turn_number())
  end)
end)

describe("hall: the door", function()
  local hall

  before_each(function() hall = unit.hall(1, 3, 2) end)

  it("one line for all threads, and never more inside than there are places", function()
    for _, id in ipairs { 4, 0, 2, 1 } do hall:line_up(id) end
    assert.is_nil(hall:next_guest(1, 0))
    assert.same({ 0, 0, 1 }, hall:woken())
    assert.equal(4, hall:next_guest(3, 0))
    assert.is_nil(hall:next_guest(3, 0))
    assert.same({ 1 }, hall:woken())
    assert.equal(0, hall:next_guest(1, 0))
    assert.is_nil(hall:next_guest(1, 0)) -- one place is for those who identify
    assert.same({ 2, 2 }, { hall:crowd() })
    assert.same({}, hall:woken())
    hall:leave(4, false, 5)
    assert.same({ 0, 1 }, hall:woken())
    assert.equal(2, hall:next_guest(2, 5))
  end)

  it("nobody goes in at once while others stand in line", function()
    assert.is_true(hall:enter_at_once(0, 0))
    hall:line_up(2)
    assert.is_false(hall:enter_at_once(4, 0))
    assert.equal(2, hall:next_guest(2, 0))
    assert.is_false(hall:enter_at_once(4, 0)) -- no place now
    hall:leave(0, false, 1)
    assert.is_true(hall:enter_at_once(4, 1))
  end)

  it("a line is looked at soon, by each thread; at once by the one that may go", function()
    hall:line_up(2)
    assert.equal(7, hall:deadline(2, 0, 7))
    assert.equal(7 + LOOK_MS, hall:deadline(1, 0, 7))
    hall:leave(2, true, 8) -- it stays in line
    assert.equal(2, hall:next_guest(2, 9))
    assert.is_nil(hall:deadline(2, 0, 9))
    hall:leave(2, true, 10) -- and does not, where it stands in none
    assert.same({ 0, 0 }, { hall:crowd() })
  end)
end)

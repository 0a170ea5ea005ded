-- budget.c: sends of one connection, identify slots of all shards.
local unit = require "moongate_unit"

describe("budget of sends", function()
  it("lets 115 leave at once, and keeps five places for beats", function()
    local b = unit.budget()
    for _ = 1, 115 do
      assert.equal(0, b:when(0, false))
      b:spend(0)
    end
    assert.equal(60000, b:when(0, false))
    for _ = 1, 5 do
      assert.equal(0, b:when(0, true))
      b:spend(0)
    end
    assert.equal(60000, b:when(0, true))
  end)

  it("slides: a place is free exactly a window after the send that took it", function()
    local b = unit.budget()
    for i = 1, 115 do b:spend(i * 10) end
    assert.equal(60010, b:when(2000, false))
    assert.equal(60010, b:when(60009, false))
    assert.equal(60010, b:when(60010, false))
    b:spend(60010)
    assert.equal(60020, b:when(60010, false))
  end)

  it("R60 never allows more than 120 in any window, whatever comes", function()
    math.randomseed(11)
    local b, times, now = unit.budget(), {}, 0
    for _ = 1, 20000 do
      now = now + math.random(0, 900)
      if b:when(now, math.random() < 0.2) <= now then
        b:spend(now)
        times[#times + 1] = now
      end
    end
    assert.is_true(#times > 10000)
    for i = 1, #times - 120 do assert.is_true(times[i + 120] - times[i] >= 60000) end
  end)

  it("reserves the beats of a window and three more, between five and sixty", function()
    for _, case in ipairs { { 41250, 5 }, { 45000, 5 }, { 30000, 5 }, { 20000, 6 }, { 10000, 9 },
      { 5000, 15 }, { 1000, 60 }, { 1, 60 }, { 3600000, 5 } } do
      local b = unit.budget()
      b:reserve(case[1])
      assert.equal(case[2], b:reserved(), case[1])
    end
  end)

  it("a beat above the limit is counted in place of the oldest", function()
    local b = unit.budget()
    for i = 1, 120 do b:spend(i) end
    b:spend(200)
    assert.equal(60002, b:when(200, true))
  end)
end)

describe("identify slots", function()
  local WINDOW = require("moongate.core").limits.IDENTIFY_WINDOW_MS

  local function all(s, now)
    local ids = {}
    for id in function() return s:next(now) end do ids[#ids + 1] = id end
    return ids
  end

  it("R36 one a key in five seconds from the identify, keys side by side", function()
    local s = unit.slots(16)
    for id = 0, 31 do s:ask(id) end
    local first = {}
    for id = 0, 15 do first[#first + 1] = id end
    assert.same(first, all(s, 0))
    for id = 0, 15 do
      s:spent(100 + id, id)
      s:done(200, id)
    end
    assert.is_true(WINDOW > 5000) -- Discord's, with some room for what the network does
    assert.same({}, all(s, 99 + WINDOW))
    assert.same({ 16 }, all(s, 100 + WINDOW))
    assert.equal(101 + WINDOW, s:deadline(100 + WINDOW))
    assert.equal(15, #all(s, 115 + WINDOW))
  end)

  it("holds the key until READY or failure, also past the five seconds", function()
    local s = unit.slots(1)
    s:ask(0)
    s:ask(1)
    assert.same({ 0 }, all(s, 0))
    s:spent(0, 0)
    assert.same({}, all(s, 9000))
    s:done(9000, 0)
    assert.same({ 1 }, all(s, 9000))
  end)

  it("R37 a stuck shard loses the key when its lease ends", function()
    local s = unit.slots(1)
    s:ask(0)
    s:ask(1)
    all(s, 0)
    assert.equal(60000, s:deadline(1))
    assert.same({}, all(s, 59999))
    assert.same({ 1 }, all(s, 60000))
    s:done(60001, 0) -- the one that lost it has nothing to give back
    s:ask(2)
    assert.same({}, all(s, 60001))
  end)

  it("R37 a lease outlasts the slowest connection, and counts anew from the identify", function()
    local s = unit.slots(1)
    s:ask(0)
    s:ask(1)
    all(s, 0)
    s:spent(49999, 0) -- connect_timeout and hello_timeout all but used up
    assert.equal(79999, s:deadline(50000))
    assert.same({}, all(s, 79998))
    assert.same({ 1 }, all(s, 79999))
    s:ask(0)
    s:spent(80000, 0) -- the one that lost it moves the window, not the lease of the other
    assert.same({}, all(s, 119998))
    assert.same({ 0 }, all(s, 119999 + 20000))
  end)

  it("a slot that was never spent is free at once", function()
    local s = unit.slots(1)
    s:ask(0)
    s:ask(1)
    all(s, 0)
    s:done(10, 0)
    assert.same({ 1 }, all(s, 10))
  end)

  it("first come, first served; asking twice keeps the place; leaving gives it up", function()
    local s = unit.slots(1)
    for _, id in ipairs { 5, 3, 9, 3, 5 } do s:ask(id) end
    s:leave(3)
    s:leave(4)
    assert.same({ 5 }, all(s, 0))
    s:done(0, 5)
    assert.same({ 9 }, all(s, 0))
    s:done(0, 9)
    assert.same({}, all(s, 0))
    assert.is_nil(s:deadline(0))
  end)

  it("R36 a changed concurrency keeps who waits and what was spent", function()
    local s = unit.slots(16)
    for id = 0, 63 do s:ask(id) end
    all(s, 0)
    for id = 0, 15 do
      s:spent(0, id)
      s:done(0, id)
    end
    s:resize(1000, 8)
    assert.same({}, all(s, WINDOW - 1))
    local granted = all(s, WINDOW)
    assert.same({ 16, 17, 18, 19, 20, 21, 22, 23 }, granted)
    local seen, now = #granted, WINDOW
    while s:deadline(now) do
      for _, id in ipairs(granted) do
        s:spent(now, id)
        s:done(now, id)
      end
      now = s:deadline(now) or now
      granted = all(s, now)
      seen = seen + #granted
    end
    assert.equal(48, seen)
    assert.equal(6 * WINDOW, now)
  end)

  it("takes a concurrency out of range as the nearest that makes sense", function()
    for _, n in ipairs { 0, -3, 100000 } do
      local s = unit.slots(n)
      s:ask(0)
      assert.equal(0, s:next(0))
    end
  end)

  it("a key that is held stays held by the same shard in another number of keys", function()
    local s = unit.slots(4)
    for id = 0, 7 do s:ask(id) end
    assert.same({ 0, 1, 2, 3 }, all(s, 0))
    s:spent(0, 1)
    s:resize(10, 1)
    -- The longest of the leases that met, which is no spent one.
    assert.same({}, all(s, 5000))
    assert.equal(60000, s:deadline(5000))
    s:done(6000, 0)
    s:done(6000, 1)
    s:done(6000, 2)
    s:done(6000, 3)
    assert.same({ 4 }, all(s, 6000))
  end)

  it("a longer lease comes after a shorter one", function()
    local s = unit.slots(2)
    s:ask(0)
    s:ask(1)
    assert.same({ 0, 1 }, all(s, 0))
    s:spent(0, 0) -- its lease is shorter from now on
    s:ask(2)
    s:resize(10, 1)
    assert.equal(60000, s:deadline(5000))
  end)

  it("the nearest of several keys is the deadline", function()
    local s = unit.slots(2)
    for id = 0, 3 do s:ask(id) end
    assert.same({ 0, 1 }, all(s, 0))
    for id = 0, 1 do s:done(0, id) end
    s:spent(100, 0)
    s:spent(50, 1)
    assert.equal(50 + WINDOW, s:deadline(100))
    s:spent(200, 1)
    assert.equal(100 + WINDOW, s:deadline(200))
  end)

  it("who is put back is first, alone or before others, and never earlier than it was", function()
    local s = unit.slots(1)
    s:ask(0)
    assert.equal(0, s:next(0))
    s:put_back(0, 250)
    assert.equal(250, s:deadline(0))
    s:ask(1)
    assert.equal(0, s:next(250))
    s:put_back(0, 100)
    assert.is_nil(s:next(249))
    assert.equal(0, s:next(250))
    s:done(250, 0)
    assert.equal(1, s:next(250))
  end)
end)

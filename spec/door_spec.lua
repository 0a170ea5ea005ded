-- door.c: how many handshakes at once, who is next, and a hundred shards that fall together, on a
-- clock of their own.
local unit = require "moongate_unit"

-- Lets in whoever may resume now; returns their ids.
local function let_in(door)
  local ids = {}
  for id in function() return door:next() end do
    ids[#ids + 1] = id
    door:enter(id, true)
  end
  return ids
end

describe("door", function()
  it("lets in so many to resume, one fewer than it has places, in the order they came", function()
    local door = unit.door(4)
    for _, id in ipairs { 7, 3, 9, 3, 1, 5 } do door:wait(id) end
    assert.same({ 7, 3, 9 }, let_in(door))
    assert.same({ 3, 3, 2, 0 }, { door:crowd() })
    door:leave(3)
    assert.same({ 1 }, let_in(door))
    door:leave(7)
    door:leave(7)
    assert.same({ 5 }, let_in(door))
    assert.same({ 3, 3, 0, 0 }, { door:crowd() })
  end)

  it("keeps the last place for who identifies, and gives one place to anybody", function()
    local door = unit.door(3)
    door:wait(0)
    door:wait(1)
    door:wait(2)
    let_in(door)
    assert.is_true(door:admits(false))
    door:enter(9, false)
    assert.same({ false, false }, { door:admits(false), door:admits(true) })
    door:leave(0)
    assert.is_false(door:admits(false)) -- who resumes goes first
    assert.same({ 2 }, let_in(door))
    local narrow = unit.door(1)
    narrow:wait(5)
    assert.is_false(narrow:admits(false))
    assert.same({ 5 }, let_in(narrow))
    assert.is_false(narrow:admits(false))
    narrow:leave(5)
    assert.is_true(narrow:admits(false))
    assert.is_true(narrow:admits(true))
    local none = unit.door(0) -- a door without a place would let nobody in, ever
    assert.is_true(none:admits(true))
    none:enter(1, true)
    assert.is_false(none:admits(true))
  end)

  it("gives all places to those who identify when nobody resumes", function()
    local door = unit.door(3)
    for id = 1, 3 do
      assert.is_true(door:admits(false))
      door:enter(id, false)
    end
    assert.is_false(door:admits(false))
    door:wait(4)
    assert.is_nil(door:next())
    door:leave(2)
    assert.same({ 4 }, let_in(door))
  end)

  it("a handshake that hangs goes on without its place", function()
    local door = unit.door(3)
    for id = 1, 5 do door:wait(id) end
    door:enter(door:next(), true, 1000)
    door:enter(door:next(), true, 1500)
    assert.is_nil(door:next())
    door:look(3999)
    assert.is_nil(door:next())
    door:look(4000)
    assert.same({ 1, 2, 3, 1 }, { door:crowd() })
    assert.equal(3, door:next())
    door:enter(3, true, 4000)
    door:enter(1, true, 4000) -- it stays slow
    door:look(4500)
    assert.same({ 1, 2, 2, 2 }, { door:crowd() })
    door:leave(1)
    door:leave(2)
    door:leave(2)
    assert.same({ 1, 2, 2, 0 }, { door:crowd() })
    door:leave(3)
    assert.same({ 0, 2, 2, 0 }, { door:crowd() })
    door:enter(1, true, 9000)
    assert.same({ 1, 2, 2, 0 }, { door:crowd() })
  end)

  it("lets nobody overtake the line", function()
    local door = unit.door(4)
    assert.is_true(door:admits(true))
    door:wait(1)
    assert.is_false(door:admits(true))
    assert.is_true(door:admits(false))
  end)

  it("who goes in without being called stands in no line any more", function()
    local door = unit.door(4)
    for id = 1, 3 do door:wait(id) end
    door:enter(2, true)
    assert.same({ 1, 1, 2, 0 }, { door:crowd() })
    assert.same({ 1, 3 }, let_in(door))
    door:enter(2, true) -- and once is enough
    assert.same({ 3, 3, 0, 0 }, { door:crowd() })
  end)

  it("forgets who leaves the line, wherever they stand in it", function()
    local door = unit.door(8)
    for id = 1, 5 do door:wait(id) end
    for _, id in ipairs { 1, 3, 5, 6 } do door:leave(id) end
    assert.same({ 0, 0, 2, 0 }, { door:crowd() })
    door:wait(7)
    assert.same({ 2, 4, 7 }, let_in(door))
  end)

  it("wants to be asked at once where there is room, soon where there is none, else never",
    function()
      local door = unit.door(2)
      assert.is_nil(door:deadline(5))
      door:wait(1)
      door:wait(2)
      assert.equal(5, door:deadline(5))
      let_in(door)
      assert.equal(1005, door:deadline(5))
      door:leave(1)
      assert.equal(5, door:deadline(5))
    end)

  -- Each handshake takes a while, some hang until a deadline of their own and begin anew behind all
  -- others, some shards are stopped while they wait.
  it("R17 a hundred shards that fall together: never more than the places, all in turn", function()
    math.randomseed(17)
    local PLACES, SHARDS, HANG_MS = 16, 100, 20000
    local door, now = unit.door(PLACES), 0
    local ends, done, hung, identifying = {}, 0, 0, 0
    local order = {}
    for id = 0, SHARDS - 1 do door:wait(id) end
    local function begin(id)
      local hangs = id % 10 == 3 and not order[id]
      order[id] = now
      ends[id] = { at = now + (hangs and HANG_MS or math.random(50, 400)), hangs = hangs }
    end
    for id = 40, 49 do door:leave(id) end
    while done < SHARDS - 10 do
      for _, id in ipairs(let_in(door)) do begin(id) end
      if now % 5000 == 0 then -- somebody identifies, at most 5 s apart, and always finds a place
        assert.is_true(door:admits(false))
        door:enter(200, false)
        identifying = identifying + 1
      end
      assert.is_true((door:crowd()) <= PLACES)
      now = now + 10
      if now % 5000 == 300 then door:leave(200) end
      for id, handshake in pairs(ends) do
        if handshake.at <= now then
          ends[id] = nil
          door:leave(id)
          if handshake.hangs then
            hung = hung + 1
            door:wait(id)
          else
            done = done + 1
          end
        end
      end
    end
    assert.same({ 9, true }, { hung, identifying >= 4 })
    assert.equal(PLACES, (select(2, door:crowd())))
    for id = 40, 49 do assert.is_nil(order[id]) end
    assert.same({ 0, 0 }, { (door:crowd()), (select(3, door:crowd())) })
  end)
end)

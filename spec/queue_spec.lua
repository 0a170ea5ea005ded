-- queue.c: order, marks, what is kept apart, the bell, and many threads at it at once.
local new = require("moongate_unit").queue

local function fill(queue, from, to, bytes)
  for number = from, to do assert(queue:push(number, bytes)) end
end

describe("queue", function()
  it("gives back what came in, in order", function()
    local queue = new()
    fill(queue, 1, 100)
    for number = 1, 100 do assert.equal(number, (queue:pop())) end
    assert.is_nil((queue:pop()))
  end)

  it("rings exactly while it is not empty", function()
    local queue = new()
    assert.is_false(queue:rings())
    fill(queue, 1, 2)
    assert.is_true(queue:rings())
    queue:pop()
    assert.is_true(queue:rings())
    queue:pop()
    assert.is_false(queue:rings())
    fill(queue, 3, 3)
    assert.is_true(queue:rings())
  end)

  it("rings late when it is quiet, and never too late", function()
    local queue = new(0, 0, 0, false, 3)
    fill(queue, 1, 3)
    assert.is_false(queue:rings())
    queue:ring()
    assert.is_true(queue:rings())
    for _ = 1, 3 do queue:pop() end
    assert.is_false(queue:rings())
    queue:ring() -- for nothing
    assert.is_false(queue:rings())
    fill(queue, 4, 7) -- the fourth that waits rings by itself
    assert.is_true(queue:rings())
    for _ = 1, 3 do queue:pop() end
    assert.is_true(queue:rings())
    queue:pop()
    assert.is_false(queue:rings())
    fill(queue, 8, 8)
    queue:pop() -- by somebody who did not wait for the bell
    queue:ring()
    assert.is_false(queue:rings())
  end)

  it("counts notes among those that ring, too", function()
    local queue = new(0, 0, 10, false, 1)
    assert(queue:push(1, 1, "note"))
    assert.is_false(queue:rings())
    assert(queue:push(2, 1, "vital"))
    assert.is_true(queue:rings())
  end)

  it("is full from its mark on until half of it is left", function()
    local queue = new(10)
    fill(queue, 1, 9)
    assert.equal("free", queue:level())
    fill(queue, 10, 10)
    assert.equal("full", queue:level())
    for _ = 1, 4 do assert.is_false((select(2, queue:pop()))) end
    assert.equal("full", queue:level())
    assert.is_true((select(2, queue:pop())))
    assert.equal("free", queue:level())
    assert.is_false((select(2, queue:pop())))
    assert.equal(1, queue:counts().filled)
  end)

  it("counts bytes like it counts places, and frees only when both are low", function()
    local queue = new(10, 100)
    fill(queue, 1, 2, 50)
    assert.equal("full", queue:level())
    fill(queue, 3, 8, 0)
    queue:pop()
    assert.equal("full", queue:level()) -- 50 bytes are low enough, seven places are not
    queue:pop()
    assert.equal("full", queue:level())
    queue:pop()
    assert.equal("free", queue:level())
  end)

  it("takes payloads above its mark, and says when they are far above", function()
    local queue = new(10)
    fill(queue, 1, 39)
    assert.equal("full", queue:level())
    fill(queue, 40, 41)
    assert.equal("hard", queue:level())
    queue:pop()
    assert.equal("hard", queue:level())
    queue:pop()
    assert.equal("full", queue:level())
    assert.equal(1, queue:counts().filled)
  end)

  it("refuses what does not fit when it is strict", function()
    local queue = new(3, 100, 0, true)
    fill(queue, 1, 3)
    assert.same({ nil, "EBUSY" }, { queue:push(4) })
    queue:pop()
    assert.is_true((queue:push(4, 100)))
    queue:pop()
    assert.same({ nil, "EBUSY" }, { queue:push(5) })
  end)

  it("keeps notes apart from payloads and drops the ones too many, counting them", function()
    local queue = new(2, 0, 3)
    for number = 1, 3 do assert(queue:push(number, 1, "note")) end
    assert.equal("free", queue:level())
    assert.is_nil((queue:push(4, 1, "note")))
    assert.is_true((queue:push(5)))
    local counts = queue:counts()
    assert.same({ 3, 1, 1 }, { counts.notes, counts.notes_dropped, counts.count })
  end)

  it("lets vital notes through where others are dropped, up to the hard mark", function()
    local queue = new(2, 0, 3)
    for number = 1, 12 do assert.is_true((queue:push(number, 1, "vital"))) end
    assert.is_nil((queue:push(13, 1, "note")))
    assert.is_nil((queue:push(14, 1, "vital")))
    assert.equal(2, queue:counts().notes_dropped)
  end)

  it("bounds the bytes of notes as well", function()
    local queue = new(0, 100, 1000)
    assert.is_true((queue:push(1, 100, "note")))
    assert.is_nil((queue:push(2, 1, "note")))
    assert.is_true((queue:push(3, 300, "vital")))
    assert.is_nil((queue:push(4, 1, "vital")))
  end)

  it("remembers its peaks", function()
    local queue = new()
    fill(queue, 1, 7, 10)
    for _ = 1, 5 do queue:pop() end
    fill(queue, 8, 9, 10)
    local counts = queue:counts()
    assert.same({ 4, 40, 7, 70, 9, 5 }, { counts.count, counts.bytes, counts.count_peak,
      counts.bytes_peak, counts.pushed, counts.popped })
  end)

  it("hands used nodes back to those who push, up to a number", function()
    local queue = new()
    assert.equal(0, queue:give_back(128))
    assert.equal(6, queue:give_back(6))
    assert.is_true((select(2, queue:push(1))))
  end)

  it("gives a batch at once, up to a number, and nothing behind what is large", function()
    local queue = new(10, 0, 0, false, 0, 4)
    fill(queue, 1, 6)
    assert.same({ 1, 2, 3, 4 }, { queue:take() })
    fill(queue, 7, 7, 262144)
    fill(queue, 8, 8)
    assert.same({ 5, 6, 7 }, { queue:take() })
    assert.same({ 8 }, { queue:take() })
    assert.same({}, { queue:take() })
    local counts = queue:counts()
    assert.same({ 8, 8, 0, 0 }, { counts.pushed, counts.popped, counts.count, counts.bytes })
  end)

  it("rings until its reader finds nothing, where he takes batches, and no sooner again", function()
    local queue = new(0, 0, 0, false, 0, 4)
    fill(queue, 1, 2)
    assert.same({ 1, 2 }, { queue:take() })
    assert.is_true(queue:rings()) -- he is not done with them
    fill(queue, 3, 3)
    assert.same({ 3 }, { queue:take() })
    assert.is_true(queue:rings())
    assert.same({}, { queue:take() })
    assert.is_false(queue:rings())
    fill(queue, 4, 4)
    assert.is_true(queue:rings())
  end)

  it("becomes free by a batch as it does by one", function()
    local queue = new(4, 0, 0, false, 0, 3)
    fill(queue, 1, 4)
    assert.equal("full", queue:level())
    queue:take()
    assert.equal("free", queue:level())
  end)

  it("drops the oldest loose ones above its mark, and nothing else", function()
    local queue = new(4)
    assert(queue:push(1, 1, "payload", 2))
    assert(queue:push(2, 1, "payload"))
    assert(queue:push(3, 1, "payload", 1))
    assert(queue:push(4, 1, "payload"))
    assert.same({ true, false, 1 }, { queue:push(5, 1, "payload") })
    assert.same({ true, false, 3 }, { queue:push(6, 1, "payload", 2) })
    assert.equal("free", queue:level())
    assert.same({ true, false, 6 }, { queue:push(7, 1, "payload") })
    assert.equal("full", queue:level()) -- nothing but what is never dropped
    assert.same({ true, false, 8 }, { queue:push(8, 1, "payload", 1) })
    for _, number in ipairs { 2, 4, 5, 7 } do assert.equal(number, (queue:pop())) end
    assert.is_nil((queue:pop()))
    local counts = queue:counts()
    assert.same({ 2, 2, 0, 0, 0 }, { counts.dropped[1], counts.dropped[2], counts.count,
      counts.loose, counts.loose_bytes })
    assert.same({ 8, 4, 4, 1 }, { counts.pushed, counts.popped, counts.count_peak, counts.filled })
  end)

  it("makes room by bytes as well, and lets a loose one that is alone be too large", function()
    local queue = new(0, 100)
    assert.same({ true, false }, { queue:push(1, 500, "payload", 1) })
    assert.equal("free", queue:level())
    assert.same({ true, false, 1 }, { queue:push(2, 60, "payload", 1) })
    assert(queue:push(3, 30, "payload", 1))
    assert.same({ true, false, 3, 2 }, { queue:push(4, 90, "payload") })
    assert.same({ 90, 0 }, { queue:counts().bytes, queue:counts().loose_bytes })
  end)

  it("does not count loose ones towards its levels, in either direction", function()
    local queue = new(4)
    for number = 1, 3 do assert(queue:push(number, 1, "payload", 1)) end
    fill(queue, 4, 7)
    assert.equal("full", queue:level())
    queue:pop()
    assert.equal("full", queue:level())
    assert.is_true((select(2, queue:pop())))
    for number = 8, 9 do assert(queue:push(number, 1, "payload", 1)) end
    assert.equal("free", queue:level())
  end)

  it("tells since when the oldest has waited", function()
    local queue = new(2)
    assert.equal(-1, queue:counts().oldest_at_ms)
    queue:push(1, 1, "payload", 1, 10)
    queue:push(2, 1, "note", 0, 20)
    assert.equal(10, queue:counts().oldest_at_ms)
    queue:push(3, 1, "payload", 1, 30)
    queue:push(4, 1, "payload", 1, 40)
    assert.equal(20, queue:counts().oldest_at_ms)
    queue:pop()
    assert.equal(30, queue:counts().oldest_at_ms)
  end)

  -- 1000 in a second, one out: a minute of a consumer that is too slow.
  it("R57 a slow consumer and a queue that drops: bounded, in order, all accounted for", function()
    local MARK, PRESENCE, MESSAGE_EVERY = 500, 1, 1000
    local queue = new(MARK)
    local pushed, dropped, taken, messages, messages_taken, last = 0, 0, 0, 0, 0, 0
    local function take()
      local number = queue:pop()
      if not number then return end
      assert.is_true(number > last)
      last, taken = number, taken + 1
      if number % MESSAGE_EVERY == 0 then messages_taken = messages_taken + 1 end
    end
    for second = 1, 60 do
      for _ = 1, 1000 do
        pushed = pushed + 1
        local message = pushed % MESSAGE_EVERY == 0
        if message then messages = messages + 1 end
        dropped = dropped + select("#", queue:push(pushed, 1, "payload",
          message and 0 or PRESENCE, second)) - 2
        local counts = queue:counts()
        assert.is_true(counts.count <= MARK)
        assert.equal("free", queue:level())
      end
      take()
    end
    local counts = queue:counts()
    assert.same({ dropped, 0 }, { counts.dropped[PRESENCE], counts.filled })
    assert.equal(pushed, taken + dropped + counts.count)
    while queue:counts().count > 0 do take() end
    assert.same({ 60, 60 }, { messages, messages_taken })
  end)

  it("loses nothing, keeps the order and wakes its reader with four threads at it", function()
    local queue = new(100)
    local popped, disordered, silent = queue:stress(4, 5000)
    assert.same({ 20000, 0, true }, { popped, disordered, silent })
    local counts = queue:counts()
    assert.same({ 0, 20000, 20000 }, { counts.count, counts.pushed, counts.popped })
    queue = new(100, 0, 0, false, 0, 16)
    assert.same({ 20000, 0, true }, { queue:stress(4, 5000) })
  end)
end)

-- outbox.c: commands wait in order and within bounds.
local outbox = require("moongate_unit").outbox

describe("outbox", function()
  it("gives back what it took, in order, over many wraps of its ring", function()
    math.randomseed(5)
    local o, pushed, popped = outbox(), 0, 0
    for _ = 1, 5000 do
      if math.random() < 0.55 and pushed - popped < 200 then
        pushed = pushed + 1
        assert.is_true(o:push("command " .. pushed))
      else
        local text = o:take()
        if text then popped = popped + 1 end
        assert.equal(text and "command " .. popped, text)
      end
    end
    assert.is_true(popped > 1000)
  end)

  it("refuses the 257th command and takes it once there is room", function()
    local o = outbox()
    for _ = 1, 256 do assert.is_true(o:push "x") end
    local ok, code = o:push "x"
    assert.is_nil(ok)
    assert.equal("EBUSY", code)
    o:take()
    assert.is_true(o:push "x")
  end)

  it("refuses what would pass its bytes, and counts them down again", function()
    local o, big = outbox(), ("x"):rep(4096)
    for _ = 1, 64 do assert.is_true(o:push(big)) end
    local _, code = o:push "x"
    assert.equal("EBUSY", code)
    assert.equal(64 * 4096, o:bytes())
    o:take()
    assert.is_true(o:push "x")
    assert.equal(63 * 4096 + 1, o:bytes())
  end)

  it("knows when the first expires, and drops what has", function()
    local o = outbox()
    assert.is_nil(o:expires())
    assert.is_false(o:expire(9999))
    o:push("a", 500)
    o:push("b", 900)
    o:push("c", 700) -- from a shard with another send_timeout
    assert.equal(500, o:expires())
    assert.is_false(o:expire(499))
    o:take()
    assert.equal(700, o:expires())
    assert.is_true(o:expire(700))
    assert.is_false(o:expire(700))
    assert.equal(900, o:expires())
    assert.equal("b", o:take())
    assert.is_nil(o:expires())
  end)

  it("gives back any of them, and the others stay in order", function()
    math.randomseed(9)
    local o, mirror = outbox(), {}
    for i = 1, 5000 do
      if #mirror < 200 and math.random() < 0.52 or #mirror == 0 then
        assert.is_true(o:push("command " .. i, i))
        mirror[#mirror + 1] = "command " .. i
      else
        local nth = math.random(math.min(#mirror, 9))
        assert.equal(table.remove(mirror, nth), (o:take(nth)))
      end
    end
    for _, text in ipairs(mirror) do assert.equal(text, (o:take())) end
    assert.equal(0, o:bytes())
  end)

  it("R62 of the presences that wait only the newest is left, in the place of the first", function()
    local o = outbox()
    o:push("first", 100)
    o:push("online", 200, 3)
    o:push("last", 300)
    assert.is_true(o:push("idle, with fire", 400, 3))
    assert.equal(#"first" + #"idle, with fire" + #"last", o:bytes())
    assert.equal("first", (o:take()))
    assert.equal(300, o:expires())
    assert.equal("idle, with fire", (o:take()))
    assert.equal("last", (o:take()))
    assert.is_nil((o:take()))
  end)

  it("R62 a newer presence fits into a full outbox", function()
    local o = outbox()
    o:push("online", 1, 3)
    for _ = 1, 255 do o:push("x", 1) end
    assert.is_true(o:push("idle", 1, 3))
    local _, code = o:push("x", 1)
    assert.equal("EBUSY", code)
    o = outbox()
    o:push(("p"):rep(4096), 1, 3)
    for _ = 1, 63 do o:push(("x"):rep(4096), 1) end
    assert.is_true(o:push(("q"):rep(4096), 1, 3))
    _, code = o:push(("q"):rep(4097), 1, 3)
    assert.equal("EBUSY", code)
    assert.equal(("q"):rep(4096), (o:take())) -- what was refused has replaced nothing
  end)
end)

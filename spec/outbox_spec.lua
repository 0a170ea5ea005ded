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
        local text = o:pop()
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
    o:pop()
    assert.is_true(o:push "x")
  end)

  it("refuses what would pass its bytes, and counts them down again", function()
    local o, big = outbox(), ("x"):rep(4096)
    for _ = 1, 64 do assert.is_true(o:push(big)) end
    local _, code = o:push "x"
    assert.equal("EBUSY", code)
    assert.equal(64 * 4096, o:bytes())
    o:pop()
    assert.is_true(o:push "x")
    assert.equal(63 * 4096 + 1, o:bytes())
  end)

  it("knows when the oldest expires", function()
    local o = outbox()
    assert.is_nil(o:expires())
    o:push("a", 500)
    o:push("b", 900)
    assert.equal(500, o:expires())
    o:pop()
    assert.equal(900, o:expires())
  end)
end)

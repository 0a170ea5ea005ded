-- buf.c: growing, the cap, moving, wiping.
local buf = require("moongate_unit").buf

describe("buf", function()
  it("appends across many growths", function()
    local b, parts = buf(), {}
    for i = 1, 2000 do
      parts[i] = tostring(i)
      assert.is_true(b:append(parts[i]))
    end
    assert.equal(table.concat(parts), b:text())
  end)

  it("keeps its bytes while it grows large, from and to every size", function()
    local block = ("0123456789abcdef"):rep(1 << 14)
    for _, headroom in ipairs { 0, 32 } do
      local b = buf(headroom)
      for count = 1, 20 do
        assert.is_true(b:append(block))
        assert.is_true(b:append "x")
        if count % 5 == 0 then assert.is_true(b:text() == (block .. "x"):rep(count), count) end
      end
      b:clear(0)
      assert.equal(0, b:capacity())
      assert.is_true(b:append "again")
      assert.equal("again", b:text())
    end
  end)

  it("holds exactly its cap and not a byte more; a refusal changes nothing", function()
    local b = buf(0, 1000)
    assert.is_true(b:append(("x"):rep(999)))
    assert.is_true(b:append "y")
    local ok, code = b:append "z"
    assert.is_nil(ok)
    assert.equal("EMESSAGE", code)
    assert.equal(("x"):rep(999) .. "y", b:text())
  end)

  it("a length that would overflow is refused", function()
    local b = buf()
    b:append "x"
    local _, code = b:reserve(math.maxinteger)
    assert.equal("EMEMORY", code)
  end)

  it("clear keeps small memory and gives large memory back", function()
    local b = buf()
    b:append(("x"):rep(10000))
    b:clear(4096)
    assert.equal(0, b:capacity())
    b:append(("x"):rep(1000))
    local capacity = b:capacity()
    b:clear(4096)
    assert.equal(capacity, b:capacity())
    assert.equal("", b:text())
  end)

  it("move takes the memory over and leaves an empty, usable buffer", function()
    local a, b = buf(), buf()
    a:append "content"
    b:append "old"
    b:move(a)
    assert.equal("content", b:text())
    assert.equal("", a:text())
    assert.equal(0, a:capacity())
    assert.is_true(a:append "again")
  end)

  it("adopt takes memory that fits: of the same headroom, within the cap, for none", function()
    for _, row in ipairs {
      { buf(), true }, { buf(32), false }, { buf(0, 256), true }, { buf(0, 255), false },
    } do
      local from, to = buf(), row[1]
      from:append "content"
      assert.equal(256, from:capacity())
      to:adopt(from)
      assert.same({ row[2] and 0 or 256, row[2] and 256 or 0 }, { from:capacity(), to:capacity() })
      assert.equal("", to:text())
      assert.is_true(to:append "other")
      to:adopt(from)
      assert.equal("other", to:text())
    end
  end)

  it("R68 wipe overwrites everything that was ever in use, headroom too", function()
    local b = buf(32)
    b:append(("TOKEN"):rep(100))
    b:clear(100000)
    b:append "x"
    b:wipe()
    assert.equal(("\0"):rep(#b:memory()), b:memory())
    assert.is_true(#b:memory() >= 532)
  end)
end)

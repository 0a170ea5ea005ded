-- inflate.c: none and zlib-stream behind one push call.
local unit = require "moongate_unit"

-- The vector of the protocol: three messages of one connection.
local vector = {
  { '{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}',
    "789caa562a51b2ca2bcdc9d1512a8631f20b94ac0c0d74945294acaa9532" ..
    "52138b4a9252134be233f34a528bca127394ac4c0c8d4c0d6a6b01000000ffff" },
  { '{"t":null,"s":null,"op":11,"d":null}', "aac6a5d710ac1724500b000000ffff" },
  { '{"t":null,"s":null,"op":9,"d":false}', "c2a5c612ac242d31a738b516000000ffff" },
}

local function bytes(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

describe("no compression", function()
  it("a message ends with the final piece", function()
    local z = unit.inflate "none"
    assert.is_false(z:push("abc", false))
    assert.is_true(z:push("def", true))
    assert.equal("abcdef", z:take())
    assert.is_true(z:push("", true))
  end)

  it("R50 the cap: one below, exactly, one above", function()
    for _, case in ipairs { { 99, true }, { 100, true }, { 101, nil } } do
      local z = unit.inflate("none", 100)
      local ok, code = z:push(("x"):rep(case[1]), true)
      assert.equal(case[2], ok)
      if not ok then assert.equal("EMESSAGE", code) end
    end
  end)
end)

describe("zlib-stream", function()
  it("reads the protocol's vector with one context", function()
    local z = unit.inflate "zlib-stream"
    for _, row in ipairs(vector) do
      assert.is_true(z:push(bytes(row[2]), true))
      assert.equal(row[1], z:take())
    end
  end)

  it("R46 cut at every pair of positions, the flush mark included, it gives the same", function()
    for first = 0, #vector[1][2] // 2 do
      local z = unit.inflate "zlib-stream"
      local text = bytes(vector[1][2])
      local complete = z:push(text:sub(1, first), first == #text)
      assert.equal(first == #text, complete)
      if not complete then assert.is_true(z:push(text:sub(first + 1), true)) end
      assert.equal(vector[1][1], z:take())
      text = bytes(vector[2][2])
      for i = 1, #text do assert.equal(i == #text, z:push(text:sub(i, i), i == #text)) end
      assert.equal(vector[2][1], z:take())
    end
  end)

  it("R46 a message over several WebSocket messages is complete at the flush mark only", function()
    local z = unit.inflate "zlib-stream"
    local text = bytes(vector[1][2])
    for i = 1, #text - 1 do assert.is_false(z:push(text:sub(i, i), true)) end
    assert.is_true(z:push(text:sub(-1), true))
    assert.equal(vector[1][1], z:take())
  end)

  it("R46 two messages in one piece come out together", function()
    local z = unit.inflate "zlib-stream"
    assert.is_true(z:push(bytes(vector[1][2] .. vector[2][2]), true))
    assert.equal(vector[1][1] .. vector[2][1], z:take())
  end)

  it("every level's header is accepted", function()
    for level = 0, 9 do
      local z, d = unit.inflate "zlib-stream", unit.deflate(level)
      assert.is_true(z:push(d:push "hello", true))
      assert.equal("hello", z:take())
    end
  end)

  it("R45 sizes around every power of two up to 32 MiB come out whole", function()
    local z, d = unit.inflate "zlib-stream", unit.deflate(1)
    local block = ("0123456789abcdef"):rep(4096)
    for power = 0, 25 do
      for delta = -1, 1 do
        local size = 2 ^ power // 1 | 0
        size = size + delta
        if size > 0 and (power < 21 or delta == 1) then
          local text = block:rep(size // #block + 1):sub(1, size)
          assert.is_true(z:push(d:push(text), true))
          if text ~= z:take() then error("size " .. size) end
        end
      end
    end
  end)

  it("R50 the cap: one below, exactly, one above", function()
    for _, case in ipairs { { 99999, true }, { 100000, true }, { 100001, nil } } do
      local z, d = unit.inflate("zlib-stream", 100000), unit.deflate()
      local ok, code = z:push(d:push(("x"):rep(case[1])), true)
      assert.equal(case[2], ok, case[1])
      if not ok then assert.equal("EMESSAGE", code) end
    end
  end)

  it("a bomb ends at the cap, not after it", function()
    local z, d = unit.inflate("zlib-stream", 65536), unit.deflate(9)
    local _, code = z:push(d:push(("\0"):rep(50000000)), true)
    assert.equal("EMESSAGE", code)
    assert.is_true(#z:take() <= 65536)
  end)

  it("R47 a flipped bit anywhere is an error or wrong text, never a crash", function()
    local text = bytes(vector[1][2])
    local refused, harmless = 0, 0
    for bit = 0, #text * 8 - 1 do
      local at = bit // 8 + 1
      local broken = text:sub(1, at - 1) .. string.char(text:byte(at) ~ (1 << bit % 8)) ..
        text:sub(at + 1)
      local z = unit.inflate "zlib-stream"
      local ok, code = z:push(broken, true)
      if ok == nil then
        refused = refused + 1
        assert.equal("ESTREAM", code)
      elseif ok and z:take() == vector[1][1] then
        harmless = harmless + 1 -- padding
      end
    end
    assert.is_true(refused > 30)
    assert.is_true(harmless < 8)
  end)

  it("a stream that ends, as none of the gateway does, is refused", function()
    local z = unit.inflate "zlib-stream"
    local _, code = z:push(bytes "789c03000000000100000000ffff", true)
    assert.equal("ESTREAM", code)
  end)

  it("R44 a fresh stream knows nothing of the one before", function()
    local z = unit.inflate "zlib-stream"
    z:push(bytes(vector[1][2]), true)
    local fresh = unit.inflate "zlib-stream"
    local _, code = fresh:push(bytes(vector[2][2]), true)
    assert.equal("ESTREAM", code)
  end)
end)

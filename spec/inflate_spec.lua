-- inflate.c: all kinds of compression behind one push call.
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
    -- At once, and not only when something follows.
    _, code = unit.inflate("zlib-stream"):push(bytes "789c030000000001", false)
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

-- ---- zstd-stream -------------------------------------------------------------------------------

-- The same three messages, as the protocol has them for zstd.
local zstd_vector = {
  "28b52ffd0058e001007b2274223a6e756c6c2c2273223a6e756c6c2c226f70223a31302c2264223a7b2268656172" ..
    "74626561745f696e74657276616c223a34313235307d7d",
  "8c000058312c2264223a6e756c6c7d01007f5140", "94000060392c2264223a66616c73657d0100075440",
}

-- One frame for all messages, and one for each.
local zstd_senders = { "zstd-stream", "zstd-frames" }

describe("zstd-stream", function()
  it("R48 reads the protocol's vector with one context", function()
    local z = unit.inflate "zstd-stream"
    for i, hex in ipairs(zstd_vector) do
      assert.is_true(z:push(bytes(hex), true))
      assert.equal(vector[i][1], z:take())
    end
  end)

  for _, sender in ipairs(zstd_senders) do
    it("R48 cut at every position, it gives the same, " .. sender, function()
      local sizes = { 60, 700, 5, 200000 }
      for n = 0, 400 do
        local z, d = unit.inflate "zstd-stream", unit.deflate(nil, sender)
        for i, size in ipairs(sizes) do
          local text = (vector[1][1] .. i):rep(size // 60 + 1)
          local wire = d:push(text)
          local at = math.min(n, #wire)
          local complete = z:push(wire:sub(1, at), false)
          assert.is_false(complete)
          assert.is_true(z:push(wire:sub(at + 1), true))
          if z:take() ~= text then error(("%d bytes, cut at %d"):format(#text, n)) end
        end
      end
    end)

    it("R48 byte by byte, with empty pieces between, it gives the same, " .. sender, function()
      local z, d = unit.inflate "zstd-stream", unit.deflate(nil, sender)
      for i = 1, 50 do
        local text = ("message %d "):format(i):rep(i * 40)
        local wire = d:push(text)
        for at = 1, #wire do
          for _ = 1, 20 do assert.is_false(z:push("", false)) end
          assert.equal(at == #wire, z:push(wire:sub(at, at), at == #wire))
        end
        assert.equal(text, z:take())
      end
    end)

    it("R48 several messages in one piece come out together, " .. sender, function()
      local z, d = unit.inflate "zstd-stream", unit.deflate(nil, sender)
      assert.is_true(z:push(d:push "one" .. d:push "two" .. d:push "three", true))
      assert.equal("onetwothree", z:take())
    end)

    it("R45 R48 sizes around every power of two up to 32 MiB come out whole, " .. sender,
      function()
        local z, d = unit.inflate "zstd-stream", unit.deflate(1, sender)
        local block = ("0123456789abcdef"):rep(4096)
        for power = 0, 25 do
          for delta = -1, 1 do
            local size = (1 << power) + delta
            if size > 0 and (power < 21 or delta == 1) then
              local text = block:rep(size // #block + 1):sub(1, size)
              assert.is_true(z:push(d:push(text), true))
              if text ~= z:take() then error("size " .. size) end
            end
          end
        end
      end)

    it("R50 the cap: one below, exactly, one above, " .. sender, function()
      for _, case in ipairs { { 199999, true }, { 200000, true }, { 200001, nil } } do
        local z, d = unit.inflate("zstd-stream", 200000), unit.deflate(nil, sender)
        local wire = d:push(("x"):rep(case[1]))
        for at = 1, #wire - 1 do
          local ok, code = z:push(wire:sub(at, at), false)
          if ok == nil then
            assert.equal("EMESSAGE", code)
            assert.is_nil(case[2])
            goto next_case
          end
        end
        do
          local ok, code = z:push(wire:sub(-1), true)
          assert.equal(case[2], ok, case[1])
          if not ok then assert.equal("EMESSAGE", code) end
        end
        ::next_case::
      end
    end)

    it("a bomb ends at the cap, not after it, " .. sender, function()
      local z, d = unit.inflate("zstd-stream", 65536), unit.deflate(19, sender, 20)
      local _, code = z:push(d:push(("\0"):rep(50000000)), true)
      assert.equal("EMESSAGE", code)
      assert.is_true(#z:take() <= 65536)
    end)
  end

  it("R48 a window of up to 128 MiB is granted, a larger one is not", function()
    -- Magic number, descriptor, the exponent of the window over 1 KiB, and a raw block of a byte.
    local function claim(log)
      return bytes(("28b52ffd00%02x080000"):format(log - 10 << 3)) .. "x"
    end
    for log = 10, 27 do
      local z = unit.inflate "zstd-stream"
      assert.is_true(z:push(claim(log), true), log)
      assert.equal("x", z:take())
    end
    for log = 28, 41 do
      local _, code = unit.inflate("zstd-stream"):push(claim(log), true)
      assert.equal("ESTREAM", code, log)
    end
  end)

  it("R47 R48 any byte changed is an error or other text, never a crash", function()
    local whole = bytes(table.concat(zstd_vector))
    local refused, harmless = 0, 0
    for at = 1, #whole do
      for _, flip in ipairs { 1, 0x80, 0xff } do
        local broken = whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ flip) ..
          whole:sub(at + 1)
        local z = unit.inflate("zstd-stream", 1000)
        local ok, code = z:push(broken, true)
        if ok == nil then
          refused = refused + 1
          assert.is_true(code == "ESTREAM" or code == "EMESSAGE", code)
        elseif z:take() == vector[1][1] .. vector[2][1] .. vector[3][1] then
          harmless = harmless + 1 -- the window's size, and the end that never comes
        end
      end
    end
    assert.is_true(refused > 40, refused)
    assert.is_true(harmless < 8, harmless)
  end)

  it("R44 a fresh stream knows nothing of the one before", function()
    local z = unit.inflate "zstd-stream"
    assert.is_true(z:push(bytes(zstd_vector[1]), true))
    local _, code = unit.inflate("zstd-stream"):push(bytes(zstd_vector[2]), true)
    assert.equal("ESTREAM", code)
  end)
end)

-- ---- payload -----------------------------------------------------------------------------------

describe("payload compression", function()
  local text = vector[1][1]

  it("takes text as it is and binary messages as whole streams, in any order", function()
    local z, d = unit.inflate "payload", unit.deflate(nil, "payload")
    for _, how in ipairs { "text", "binary", "binary", "text", "text", "binary" } do
      local plain = how == "text"
      local wire = plain and text or d:push(text)
      assert.is_true(z:push(wire, true, plain and "text" or nil))
      assert.equal(text, z:take())
    end
  end)

  it("R46 cut at every position, it gives the same", function()
    local d = unit.deflate(nil, "payload")
    local wire = d:push(text)
    local z = unit.inflate "payload"
    for at = 0, #wire do
      assert.is_false(z:push(wire:sub(1, at), false))
      assert.is_true(z:push(wire:sub(at + 1), true))
      assert.equal(text, z:take())
    end
    for at = 1, #wire do assert.equal(at == #wire, z:push(wire:sub(at, at), at == #wire)) end
    assert.equal(text, z:take())
    for at = 1, #text do
      assert.equal(at == #text, z:push(text:sub(at, at), at == #text, "text"))
    end
    assert.equal(text, z:take())
  end)

  it("R45 sizes around every power of two up to 8 MiB come out whole", function()
    local z, d = unit.inflate "payload", unit.deflate(1, "payload")
    local block = ("0123456789abcdef"):rep(4096)
    for power = 0, 23 do
      for delta = -1, 1 do
        local size = (1 << power) + delta
        if size > 0 then
          local long = block:rep(size // #block + 1):sub(1, size)
          assert.is_true(z:push(d:push(long), true))
          if long ~= z:take() then error("size " .. size) end
        end
      end
    end
  end)

  it("R50 the cap: one below, exactly, one above, in both kinds of message", function()
    for _, case in ipairs { { 99999, true }, { 100000, true }, { 100001, nil } } do
      local long = ("x"):rep(case[1])
      local z, d = unit.inflate("payload", 100000), unit.deflate(nil, "payload")
      local ok, code = z:push(d:push(long), true)
      assert.equal(case[2], ok, case[1])
      if not ok then assert.equal("EMESSAGE", code) end
      ok, code = unit.inflate("payload", 100000):push(long, true, "text")
      assert.equal(case[2], ok, case[1])
      if not ok then assert.equal("EMESSAGE", code) end
    end
  end)

  it("R47 one that is cut short or goes on behind its end is refused", function()
    local d = unit.deflate(nil, "payload")
    local wire = d:push(text)
    for len = 1, #wire - 1 do
      local _, code = unit.inflate("payload"):push(wire:sub(1, len), true)
      assert.equal("ESTREAM", code, len)
    end
    for _, more in ipairs { "x", "\0", wire } do
      local _, code = unit.inflate("payload"):push(wire .. more, true)
      assert.equal("ESTREAM", code)
      local z = unit.inflate "payload"
      assert.is_false(z:push(wire, false))
      _, code = z:push(more, true)
      assert.equal("ESTREAM", code)
    end
  end)

  it("R47 any byte changed is an error, as each message has a checksum", function()
    local wire = unit.deflate(nil, "payload"):push(text)
    local harmless = 0
    for bit = 0, #wire * 8 - 1 do
      local at = bit // 8 + 1
      local broken = wire:sub(1, at - 1) .. string.char(wire:byte(at) ~ (1 << bit % 8)) ..
        wire:sub(at + 1)
      local z = unit.inflate("payload", 1000)
      local ok, code = z:push(broken, true)
      if ok == nil then
        assert.is_true(code == "ESTREAM" or code == "EMESSAGE", code)
      else
        assert.equal(text, z:take())
        harmless = harmless + 1 -- padding
      end
    end
    assert.is_true(harmless < 8, harmless)
  end)

  it("does not wait for the mark of the other kind, and refuses what ends with it", function()
    local _, code = unit.inflate("payload"):push(unit.deflate():push(text), true)
    assert.equal("ESTREAM", code)
  end)

  it("R49 an empty message is an empty message, of either kind", function()
    local z = unit.inflate "payload"
    assert.is_true(z:push("", true))
    assert.is_true(z:push("", true, "text"))
    assert.equal("", z:take())
  end)
end)

-- ---- One after the other -----------------------------------------------------------------------

describe("a stream that is begun anew", function()
  local long = ("0123456789abcdef"):rep(10000)

  for _, kind in ipairs { "zlib-stream", "zstd-stream", "payload" } do
    it("R44 has the memory of the one before, and nothing that it read, " .. kind, function()
      local z, d = unit.inflate(kind), unit.deflate(nil, kind)
      assert.is_true(z:push(d:push(long), true))
      z:take()
      local second = d:push(long)
      local garbage = "\255\255 garbage \0\0\255\255"
      for _, half in ipairs { "", second:sub(1, #second // 2), garbage } do
        z:push(half, false)
        z:take()
        z:again()
        if kind ~= "payload" then
          local _, code = z:push(second, true)
          assert.equal("ESTREAM", code)
          z:take()
          z:again()
        end
        local fresh = unit.deflate(nil, kind)
        assert.is_true(z:push(fresh:push(long), true))
        assert.equal(long, z:take())
        assert.is_true(z:push(fresh:push(long), true))
        assert.equal(long, z:take())
      end
    end)

    it("R44 takes nothing between its end and the next beginning, " .. kind, function()
      local z, d = unit.inflate(kind), unit.deflate(nil, kind)
      z:close()
      local _, code = z:push(d:push(long), true)
      assert.equal("ESTREAM", code)
      assert.equal("", z:take())
    end)

    for _, other in ipairs { "zlib-stream", "zstd-stream", "payload" } do
      it(("may be of another kind: %s, then %s"):format(kind, other), function()
        local z = unit.inflate(kind)
        assert.is_true(z:push(unit.deflate(nil, kind):push(long), true))
        z:take()
        z:again(other)
        assert.is_true(z:push(unit.deflate(nil, other):push(long), true))
        assert.equal(long, z:take())
      end)
    end
  end
end)

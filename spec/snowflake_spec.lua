-- snowflake_spec.lua: what is inside an id, to the last bit.

local snowflake = require "moongate.snowflake"

describe("snowflake: taken apart", function()
  it("gives the parts of the documentation's example", function()
    assert.same({ time = 1462015105.796, worker = 1, process = 0, increment = 7 },
      snowflake("175928847299117063"))
  end)

  it("gives the same for an integer and for one with zeros in front", function()
    assert.same(snowflake("175928847299117063"), snowflake(175928847299117063))
    assert.same(snowflake("175928847299117063"), snowflake("000175928847299117063"))
  end)

  it("is exact at both ends", function()
    local first = { time = 1420070400, worker = 0, process = 0, increment = 0 }
    for _, zero in ipairs { "0", "000", 0, 0.0 } do assert.same(first, snowflake(zero)) end
    assert.same({ time = (4398046511103 + 1420070400000) / 1000, worker = 31, process = 31,
      increment = 4095 }, snowflake("18446744073709551615"))
  end)

  it("puts every bit where it belongs", function()
    for bit = 0, 63 do
      local id = bit < 63 and tostring(1 << bit) or "9223372036854775808"
      local parts = snowflake(id)
      local ms = math.floor(parts.time * 1000 + 0.5) - 1420070400000
      local found = { [0] = parts.increment, [12] = parts.process, [17] = parts.worker, [22] = ms }
      local field = bit >= 22 and 22 or bit >= 17 and 17 or bit >= 12 and 12 or 0
      for from, value in pairs(found) do
        assert.equal(from == field and 1 << (bit - from) or 0, value, id)
      end
    end
  end)

  it("agrees with integer arithmetic on random ids", function()
    math.randomseed(3)
    for _ = 1, 2000 do
      local id = math.random(0) & math.maxinteger
      local parts = snowflake(tostring(id))
      assert.equal(id & 4095, parts.increment)
      assert.equal(id >> 12 & 31, parts.process)
      assert.equal(id >> 17 & 31, parts.worker)
      assert.equal(((id >> 22) + 1420070400000) / 1000, parts.time)
    end
  end)
end)

describe("snowflake: shard_of", function()
  it("gives the shard of the documentation's formula", function()
    assert.equal(2, snowflake.shard_of("613425648685547541", 3))
    assert.equal(8, snowflake.shard_of("613425648685547541", 16))
    assert.equal(8, snowflake.shard_of(613425648685547541, 16))
    assert.equal(0, snowflake.shard_of("613425648685547541", 1))
  end)

  it("takes ids as unsigned", function()
    assert.equal(4398046511103 % 1000, snowflake.shard_of("18446744073709551615", 1000))
    assert.equal(2097152 * 1048576 % 7, snowflake.shard_of("9223372036854775808", 7))
  end)

  it("gives an integer", function()
    assert.equal("integer", math.type(snowflake.shard_of("613425648685547541", 3)))
    assert.equal("integer", math.type(snowflake("175928847299117063").worker))
  end)

  it("agrees with integer arithmetic", function()
    math.randomseed(4)
    for _ = 1, 2000 do
      local id, count = math.random(0) & math.maxinteger, math.random(1, 5000)
      assert.equal((id >> 22) % count, snowflake.shard_of(tostring(id), count))
    end
  end)
end)

describe("snowflake: bad input", function()
  local function complaint(fn, ...)
    local arguments = table.pack(...)
    local fine, message = pcall(function()
      fn(table.unpack(arguments, 1, arguments.n))
    end)
    assert.is_false(fine)
    return message
  end

  it("raises with what was wrong, at the user's line", function()
    assert.matches("snowflake_spec.lua:%d+: snowflake: id: a string is expected, got nil",
      complaint(snowflake))
    assert.matches("snowflake_spec.lua:%d+: shard_of: id: a string is expected, got table",
      complaint(snowflake.shard_of, {}, 1))
  end)

  it("takes nothing that is no unsigned 64-bit number", function()
    for _, bad in ipairs { "", " 1", "1 ", "-1", "+1", "1.0", "1e5", "0x10", "12a", "<@123>",
      "1\0" } do
      assert.matches("id: .* is not a decimal number", complaint(snowflake, bad))
    end
    for _, bad in ipairs { "18446744073709551616", "99999999999999999999",
      "100000000000000000000" } do
      assert.matches("does not fit 64 bits", complaint(snowflake, bad))
    end
    assert.matches("%-1 is not a whole number", complaint(snowflake, -1))
    assert.matches("1.5 is not a whole number", complaint(snowflake, 1.5))
    assert.matches("not a whole number", complaint(snowflake, 0 / 0))
  end)

  it("takes no float that may have lost digits", function()
    assert.same(snowflake("4503599627370496"), snowflake(2.0 ^ 52))
    assert.matches("9007199254740992 is a float that may have lost digits; keep ids as strings",
      complaint(snowflake, 2.0 ^ 53))
    assert.matches("inf is not a whole number", complaint(snowflake, math.huge))
  end)

  it("takes no count that is none", function()
    for _, bad in ipairs { 0, -1, 1.5, 2.0 ^ 53, 0 / 0, "2", {} } do
      assert.matches("shard_of: count must be a whole number from 1, got",
        complaint(snowflake.shard_of, "1", bad))
    end
    assert.matches("got 1.5$", complaint(snowflake.shard_of, "1", 1.5))
    assert.matches("got string$", complaint(snowflake.shard_of, "1", "secret"))
    assert.matches("got nil$", complaint(snowflake.shard_of, "1"))
  end)
end)

-- text.c: UTF-8, and decimal numbers that are right to the last bit in every locale.
local text = require("moongate_unit").text

-- A locale whose decimal point is a comma: the Makefile makes the first one.
local comma_locales = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "pl_PL.UTF-8" }

local function with_comma(fn)
  local before = os.setlocale(nil, "numeric")
  for _, name in ipairs(comma_locales) do
    if os.setlocale(name, "numeric") and string.format("%.1f", 1.5) == "1,5" then
      local ok, message = pcall(fn)
      os.setlocale(before, "numeric")
      return assert(ok, message)
    end
  end
  os.setlocale(before, "numeric")
  error("no locale with a decimal comma is installed; make specs brings one")
end

local function random_double()
  local value
  repeat value = string.unpack("<d", string.pack("<i8", math.random(0)))
  until value - value == 0
  return value
end

describe("text: UTF-8", function()
  local good = {
    "", "plain", "\0", "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}", "eight by" .. "\u{e9}" .. "te blocks and a tail \u{1f600}",
  }
  local bad = {
    ["a continuation alone"] = "\x80", ["an overlong slash"] = "\xC0\xAF",
    ["an overlong NUL"] = "\xC0\x80", ["a first byte of C1"] = "\xC1\xBF",
    ["an overlong three"] = "\xE0\x9F\xBF", ["an overlong four"] = "\xF0\x8F\xBF\xBF",
    ["a high surrogate"] = "\xED\xA0\x80", ["a low surrogate"] = "\xED\xBF\xBF",
    ["beyond U+10FFFF"] = "\xF4\x90\x80\x80", ["a first byte of F5"] = "\xF5\x80\x80\x80",
    ["a byte of FF"] = "\xFF", ["cut after one of two"] = "\xC3",
    ["cut after two of three"] = "\xE2\x82", ["cut after three of four"] = "\xF0\x9F\x98",
    ["a second byte that is none"] = "\xC3A", ["a third byte that is none"] = "\xE2\x82A",
    ["a fourth byte that is none"] = "\xF0\x9F\x98A",
  }

  it("takes what RFC 3629 allows, wherever it stands", function()
    for _, sample in ipairs(good) do
      for pad = 0, 17 do
        assert.is_true(text.is_utf8(("x"):rep(pad) .. sample .. ("y"):rep(17 - pad)))
      end
    end
  end)

  for name, sample in pairs(bad) do
    it("refuses " .. name .. ", wherever it stands", function()
      for pad = 0, 17 do
        assert.is_false(text.is_utf8(("x"):rep(pad) .. sample))
        assert.is_false(text.is_utf8(("x"):rep(pad) .. sample .. ("y"):rep(9)))
      end
    end)
  end

  it("agrees with Lua's utf8 library on every pair and many triples of bytes", function()
    math.randomseed(20)
    for a = 0, 255 do
      for b = 0, 255 do
        local sample = string.char(a, b)
        assert.equal(utf8.len(sample) ~= nil, text.is_utf8(sample))
      end
    end
    for _ = 1, 20000 do
      local sample = string.char(math.random(0xC0, 0xFF), math.random(0x70, 0xC7),
        math.random(0x70, 0xC7), math.random(0x70, 0xC7))
      assert.equal(utf8.len(sample) ~= nil, text.is_utf8(sample))
    end
  end)
end)

describe("text: integers", function()
  local function read(digits) return text.to_integer(digits) end

  it("reads every integer below 2^53 and no other", function()
    assert.equal(0, read "0")
    assert.equal(0, read "-0")
    assert.equal(41250, read "41250")
    assert.equal(9007199254740991, read "9007199254740991")
    assert.equal(-9007199254740991, read "-9007199254740991")
    assert.is_nil(read "9007199254740992")
    assert.is_nil(read "-9007199254740992")
    assert.is_nil(read "81384788765712384")
    assert.is_nil(read "18446744073709551616")
    assert.is_nil(read(("9"):rep(400)))
  end)

  it("writes every integer", function()
    for _, value in ipairs { 0, 7, -7, 10, 4096, -9007199254740991, math.maxinteger,
      math.mininteger } do
      assert.equal(string.format("%d", value), text.from_integer(value))
    end
    math.randomseed(11)
    for places = 1, 18 do
      local low = 10 ^ places // 10 | 0
      for _ = 1, 200 do
        local value = math.random(low, low * 10 - 1)
        assert.equal(string.format("%d", value), text.from_integer(value))
      end
      for _, value in ipairs { low - 1, low, low + 1, low * 5 } do
        assert.equal(string.format("%d", value), text.from_integer(value))
        assert.equal(string.format("%d", -value), text.from_integer(-value))
      end
    end
  end)
end)

describe("text: numbers", function()
  -- Lua reads with strtod, in the C locale, which is right to the last bit.
  local function same(digits)
    local wanted, got = tonumber(digits) * 1.0, text.to_number(digits)
    assert.equal(string.pack("<d", wanted), string.pack("<d", got), digits)
  end

  it("reads the borders", function()
    for _, digits in ipairs { "0.0", "-0.0", "0e5", "1.5", "1e0", "1E+2", "1e-2", "0.1", "1e22",
      "1e23", "8.5e22", "123456789012345678.9", "5e-324", "4.9e-324", "1e-323",
      "2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308",
      "1.7976931348623158e308", "9007199254740993.0", "9007199254740992.9", "0.3e1",
      "0.000000000000000000000000000000000000000000000000000000000000000000000000000001",
      "1000000000000000000000000000000000000000000000000.0e-40" } do
      same(digits)
      if digits:sub(1, 1) ~= "-" then same("-" .. digits) end
    end
  end)

  it("huge ones are infinite, tiny ones zero, also with absurd exponents", function()
    assert.equal(math.huge, text.to_number "1E400")
    assert.equal(-math.huge, text.to_number "-1e309")
    assert.equal(math.huge, text.to_number("1e" .. ("9"):rep(60)))
    assert.equal(0.0, text.to_number("1e-" .. ("9"):rep(60)))
    assert.equal(math.huge, text.to_number "1e18446744073709551617") -- 2^64 + 1
    assert.equal(0.0, text.to_number "1e-18446744073709551617")
    assert.equal(0.0, text.to_number "1e-400")
    assert.equal(1.0, text.to_number("0." .. ("0"):rep(5000) .. "1e5001"))
    assert.equal(1.0, text.to_number("1" .. ("0"):rep(5000) .. ".0e-5000"))
  end)

  it("a digit far behind a halfway point still decides", function()
    -- Half way between 1 and the next double: ties go to the even one, which is 1.
    local half = "1.00000000000000011102230246251565404236316680908203125"
    assert.equal(1.0, text.to_number(half))
    assert.equal(1.0, text.to_number(half .. ("0"):rep(2000)))
    assert.equal(1.0 + 2.0 ^ -52, text.to_number(half .. ("0"):rep(2000) .. "1"))
    assert.equal(1.0, text.to_number "1.00000000000000011102230246251565404236316680908203124")
  end)

  it("reads what random digits mean", function()
    math.randomseed(21)
    for _ = 1, 5000 do
      local digits = { tostring(math.random(0, 9)), "." }
      for _ = 1, math.random(1, 30) do digits[#digits + 1] = tostring(math.random(0, 9)) end
      digits[#digits + 1] = ("e%d"):format(math.random(-345, 320))
      same(table.concat(digits))
    end
  end)

  -- MOONGATE_NUMBERS=1000000 tries so many.
  it("reads every kind of number to the last bit", function()
    math.randomseed(20)
    local function digits(most)
      local list = {}
      for i = 1, math.random(most) do list[i] = math.random(0, 9) end
      return table.concat(list)
    end
    local function bits(from, to)
      return string.unpack("d", string.pack("I8", math.random(from, to)))
    end
    local kinds = {
      function()
        return ("%d.%se%d"):format(math.random(0, 9), digits(25), math.random(-330, 310))
      end,
      function() return ("%.17e"):format(bits(0, 0x7FEFFFFFFFFFFFFF)) end,
      function() return ("%.60f"):format(bits(0x3C00000000000000, 0x4400000000000000)) end,
      function() return ("%.60f"):format(bits(1 << 60, 0x4400000000000000)) .. digits(30) end,
      function() return math.random(0, 1 << 53) .. "." .. digits(6) end,
      function() return math.random(0, 1 << 60) .. "e" .. math.random(-40, 40) end,
      function() return "0." .. ("0"):rep(math.random(40)) .. digits(40) .. "E" .. digits(2) end,
    }
    for i = 1, tonumber(os.getenv "MOONGATE_NUMBERS") or 20000 do
      same((i % 2 == 0 and "-" or "") .. kinds[i % #kinds + 1]())
    end
  end)

  it("writes the shortest text that reads back the same", function()
    for wanted, value in pairs {
      ["0.0"] = 0.0, ["-0.0"] = -0.0, ["1.0"] = 1.0, ["-1.5"] = -1.5, ["0.1"] = 0.1,
      ["1e+23"] = 1e23, ["1e+22"] = 1e22, ["5e-324"] = 5e-324, ["0.0001"] = 1e-4,
      ["1e-06"] = 1e-6, ["1.7976931348623157e+308"] = 1.7976931348623157e308,
      ["2.2250738585072014e-308"] = 2.2250738585072014e-308, ["123456.789"] = 123456.789,
      ["9007199254740992.0"] = 2.0 ^ 53, ["0.30000000000000004"] = 0.1 + 0.2,
      ["1e+30"] = 1e30, ["10000000000000000.0"] = 1e16, ["1e+17"] = 1e17, ["4.35"] = 4.35,
    } do
      assert.equal(wanted, text.from_number(value))
    end
  end)

  it("reads back every random double, with no more digits than printf needs", function()
    math.randomseed(22)
    local function count_digits(written)
      return #(written:gsub("e.*", ""):gsub("%D", ""):gsub("^0+", ""):gsub("0+$", ""))
    end
    for _ = 1, 5000 do
      local value = random_double()
      local written = text.from_number(value)
      assert.equal(string.pack("<d", value), string.pack("<d", tonumber(written)), written)
      assert.equal(string.pack("<d", value), string.pack("<d", text.to_number(written)), written)
      local needed = 17
      for precision = 17, 1, -1 do
        local printed = string.format("%." .. precision .. "g", value)
        if tonumber(printed) ~= value then break end
        needed = precision
      end
      assert.is_true(count_digits(written) <= needed, written)
    end
  end)

  it("powers of two, where the neighbours are not equally far, read back too", function()
    for power = -1074, 1023 do
      local value = 2.0 ^ power
      assert.equal(value, tonumber(text.from_number(value)))
    end
  end)

  it("a decimal comma of the locale changes nothing", function()
    with_comma(function()
      assert.equal("1.5", text.from_number(1.5))
      assert.equal("1.7976931348623157e+308", text.from_number(1.7976931348623157e308))
      assert.is_true(text.to_number "0.5" == 1 / 2)
      assert.is_true(text.to_number "8.5e22" == 85 * 1e21)
      assert.is_true(text.to_number "123456789012345678901.5" == 123456789012345678901)
    end)
  end)
end)

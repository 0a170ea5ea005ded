-- etf.c, etf_read.h and lua_build_etf.c: every tag of the External Term Format, every border
-- between two of them, the envelope in any order, compressed terms, the writer; and that a term and
-- its JSON twin are the same value. Every term that is scanned or walked by `unit` ends right
-- before an unreadable page.
local core = require "moongate.core"
local helper = require "helper"
local twin = require "twin"
local unit = require("moongate_unit").etf
local json = require("moongate_unit").json
local deflate = require("moongate_unit").deflate
local witness = require "witness"

local null = core.null

-- ---- Terms, written by hand ------------------------------------------------------------------

local pack = string.pack
local function hex(text) return (text:gsub("%s", ""):gsub("%x%x", function(two)
  return string.char(tonumber(two, 16))
end)) end
local function message(term) return "\131" .. term end
local function byte(n) return pack(">BB", 97, n) end
local function integer(n) return pack(">Bi4", 98, n) end
local function binary(text) return pack(">Bs4", 109, text) end
local function atom(text) return pack(">Bs1", 115, text) end
local function list(...) return pack(">BI4", 108, select("#", ...)) .. table.concat { ... }
  .. "j" end
local function map(...)
  return pack(">BI4", 116, select("#", ...) // 2) .. table.concat { ... }
end
local function big(sign, digits) return pack(">BBB", 110, #digits, sign) .. digits end
local function large_big(sign, digits) return pack(">BI4B", 111, #digits, sign) .. digits end
local function float(text) return "c" .. text .. ("\0"):rep(31 - #text) end

-- A whole zlib stream of one term, by hand: stored blocks and their checksum.
local function store(plain)
  local out, a, b = { "\120\1" }, 1, 0
  for i = 1, #plain do
    a = (a + plain:byte(i)) % 65521
    b = (b + a) % 65521
  end
  for at = 1, math.max(#plain, 1), 65535 do
    local block = plain:sub(at, at + 65534)
    out[#out + 1] = pack("<BI2I2", at + 65535 > #plain and 1 or 0, #block, ~#block & 0xffff)
      .. block
  end
  return table.concat(out) .. pack(">I2I2", b, a)
end

local function packed(term, size) return pack(">BBI4", 131, 80, size or #term) .. store(term) end

local NIL, TRUE, FALSE = atom "nil", atom "true", atom "false"

local function twin_of(term) return unit.rewrite(message(term), 0, nil, "json") end
local function etf_of(text) return assert(json.rewrite(text, 0, nil, "etf")) end
local function decode(term, rules)
  local options = { encoding = "etf" }
  for key, value in pairs(rules or {}) do options[key] = value end
  return core.decode(term, options)
end

-- A term and the JSON that says the same.
local accepted = {
  { "a small integer", byte(0), "0" }, { "the largest small integer", byte(255), "255" },
  { "an integer", integer(256), "256" }, { "a negative integer", integer(-1), "-1" },
  { "the largest integer", integer(2147483647), "2147483647" },
  { "the smallest integer", integer(-2147483648), "-2147483648" },
  { "an integer that has room in a byte", integer(7), "7" },
  { "a big of no bytes", big(0, ""), "0" }, { "a negative zero", big(1, "\0\0"), "0" },
  { "a big of one byte", big(0, "\7"), "7" }, { "a negative big", big(1, "\7"), "-7" },
  { "2^31", big(0, "\0\0\0\128"), "2147483648" },
  { "-2^31-1", big(1, "\1\0\0\128"), "-2147483649" },
  { "2^32-1", big(0, "\255\255\255\255"), "4294967295" },
  { "milliseconds", hex "6e 06 00 00b0caa24a01", "1420070400000" },
  { "2^53-1", big(0, hex "ffffffffffff1f"), "9007199254740991" },
  { "-2^53+1", big(1, hex "ffffffffffff1f"), "-9007199254740991" },
  { "2^53", big(0, hex "00000000000020"), '"9007199254740992"' },
  { "-2^53", big(1, hex "00000000000020"), '"-9007199254740992"' },
  { "2^63", big(0, hex "0000000000000080"), '"9223372036854775808"' },
  { "-2^63", big(1, hex "0000000000000080"), '"-9223372036854775808"' },
  { "2^64-1", big(0, ("\255"):rep(8)), '"18446744073709551615"' },
  { "2^64", big(0, ("\0"):rep(8) .. "\1"), '"18446744073709551616"' },
  { "2^64 with zeros above", big(0, ("\0"):rep(8) .. "\1\0\0\0"), '"18446744073709551616"' },
  { "10^27", big(0, hex "000000e83c80d09f3c2e3b03"), '"1000000000000000000000000000"' },
  { "10^18 in a large big", large_big(0, hex "000064a7b3b6e00d"), '"1000000000000000000"' },
  { "a large big that is small", large_big(0, "\1\2"), "513" },
  { "an id", hex "6e 08 00 00208 0c008232101", '"81384788765712384"' },
  { "a float", hex "46 4004000000000000", "2.5" }, { "minus zero", hex "46 8000000000000000",
    "-0.0" },
  { "the largest float", hex "46 7fefffffffffffff", "1.7976931348623157e+308" },
  { "the smallest float", hex "46 0000000000000001", "5e-324" },
  { "an old float", float "2.50000000000000000000e+00", "2.5" },
  { "a negative old float", float "-1.00000000000000005551e-01", "-0.1" },
  { "an old float that fills its place", "c" .. "-1.0000000000000000555112e-0001", "-0.1" },
  { "nil", NIL, "null" }, { "null", atom "null", "null" },
  { "true", TRUE, "true" }, { "false", FALSE, "false" }, { "an atom", atom "member", '"member"' },
  { "an empty atom", atom "", '""' }, { "a word that begins like nil", atom "nile", '"nile"' },
  { "Nil", atom "Nil", '"Nil"' }, { "a Latin-1 atom", atom "caf\233", '"café"' },
  { "every Latin-1 letter", atom "\128\191\192\255", '"\u{80}\u{bf}\u{c0}\u{ff}"' },
  { "255 of them", atom(("\255"):rep(255)), '"' .. ("ÿ"):rep(255) .. '"' },
  { "tag 100", pack(">Bs2", 100, "true"), "true" }, { "its nil", pack(">Bs2", 100, "nil"), "null" },
  { "its Latin-1", pack(">Bs2", 100, "\228"), '"ä"' },
  { "tag 118", pack(">Bs2", 118, "false"), "false" }, { "its UTF-8", pack(">Bs2", 118, "ä€😀"),
    '"ä€😀"' },
  { "255 characters of UTF-8", pack(">Bs2", 118, ("😀"):rep(255)), '"' .. ("😀"):rep(255) .. '"' },
  { "tag 119", pack(">Bs1", 119, "nil"), "null" }, { "its word", pack(">Bs1", 119, "ß"), '"ß"' },
  { "a text", binary "text", '"text"' }, { "an empty text", binary "", '""' },
  { "the text nil", binary "nil", '"nil"' }, { "the text true", binary "true", '"true"' },
  { "a text with a NUL", binary "a\0b", '"a\\u0000b"' },
  { "an empty list", "j", "[]" }, { "a list of none", list(), "[]" },
  { "a list", list(byte(1), NIL, binary "x", list(), list(list(byte(2)))),
    '[1,null,"x",[],[[2]]]' },
  { "a list of bytes", hex "6b 0003 010203", "[1,2,3]" },
  { "one that looks like text", pack(">Bs2", 107, "abc"), "[97,98,99]" },
  { "bytes above 127 in it", hex "6b 0002 00ff", "[0,255]" }, { "none in it", hex "6b 0000", "[]" },
  { "a tuple", hex "68 02 6101 6102", "[1,2]" }, { "an empty tuple", hex "68 00", "[]" },
  { "a large tuple", hex "69 00000001 6a", "[[]]" },
  { "an empty map", map(), "{}" }, { "a map", map(atom "a", byte(1), binary "b", NIL),
    '{"a":1,"b":null}' },
  { "keys of every kind", map(atom "a", byte(1), binary "b", byte(2), byte(3), byte(3),
    integer(-4), byte(4), pack(">Bs2", 100, "e"), byte(5), pack(">Bs2", 118, "f"), byte(6),
    pack(">Bs1", 119, "g"), byte(7)), '{"a":1,"b":2,"3":3,"-4":4,"e":5,"f":6,"g":7}' },
  { "ids as keys", map(big(0, ("\255"):rep(8)), byte(1), large_big(1, "\7"), byte(2)),
    '{"18446744073709551615":1,"-7":2}' },
  { "words as keys", map(NIL, NIL, TRUE, TRUE, atom "null", byte(1)),
    '{"nil":null,"true":true,"null":1}' },
  { "a Latin-1 key", map(atom "\233", byte(1)), '{"é":1}' },
  { "a struct", map(atom "__struct__", atom "Elixir.Guild", atom "id", byte(1)),
    '{"__struct__":"Elixir.Guild","id":1}' },
}

local deep_list = ("l\0\0\0\1"):rep(128) .. "a\7" .. ("j"):rep(128)
local deep_map = ("t\0\0\0\1s\1a"):rep(128) .. "a\7"
local deep_tuple = ("h\1"):rep(128) .. "a\7"

local refused = {
  { "nothing", "" }, { "an improper list", pack(">BI4", 108, 1) .. byte(1) .. byte(2) },
  { "a list whose end is a list", pack(">BI4", 108, 1) .. byte(1) .. list(byte(1)) },
  { "an infinity", hex "46 7ff0000000000000" }, { "a negative infinity",
    hex "46 fff0000000000000" },
  { "a NaN", hex "46 7ff8000000000000" }, { "an infinite old float", float "1.0e+400" },
  { "an old float without digits", float "" }, { "an old float in words", float "nan" },
  { "an old float without fraction", float "1e+00" }, { "one without exponent", float "1.0" },
  { "one with garbage behind", float "1.0e+00\0x" }, { "one with an empty exponent",
    float "1.0e+" },
  { "one with an empty fraction", float "1.e+00" }, { "a plus in front", float "+1.0e+00" },
  { "a sign that is none", big(2, "\1") }, { "a sign of 255", big(255, "\1") },
  { "a big of 257 bytes", large_big(0, ("\1"):rep(257)) },
  { "a big of 257 zeros", large_big(0, ("\0"):rep(257)) },
  { "a Latin-1 atom of 256 letters", pack(">Bs2", 100, ("a"):rep(256)) },
  { "a UTF-8 atom of 1021 bytes", pack(">Bs2", 118, ("a"):rep(1021)) },
  { "a list as a key", map("j", byte(1)) }, { "a float as a key", map(hex "46 4004000000000000",
    NIL) },
  { "a tuple as a key", map(hex "68 00", NIL) }, { "a string as a key", map(hex "6b 0001 61",
    NIL) },
  { "a map as a key", map(map(), NIL) },
  { "something behind the term", byte(1) .. byte(2) }, { "a NUL behind it", byte(1) .. "\0" },
  { "a version inside", list(message(byte(1))) }, { "two versions", message(byte(1)) },
  { "a compressed term inside", list(hex "50 00000002 789c4b6405000 0c90067") },
  { "a count that cannot be", pack(">BI4", 108, 0xffffffff) .. "j" },
  { "pairs that cannot be", pack(">BI4", 116, 0xffffffff) .. byte(1) },
  { "pairs of which half are there", pack(">BI4", 116, 2) .. atom "a" .. byte(1) },
  { "an arity that cannot be", pack(">BI4", 105, 0xffffffff) .. byte(1) },
  { "a text that is cut", pack(">BI4", 109, 5) .. "abcd" },
  { "a text of four gigabytes", pack(">BI4", 109, 0xffffffff) .. "abcd" },
  { "a string that is cut", pack(">BI2", 107, 5) .. "abcd" },
  { "an atom that is cut", "s\5abcd" }, { "a big that is cut", hex "6e 05 00 01020304" },
  { "a large big of four gigabytes", hex "6f ffffffff 00 01020304" },
}

local known = {}
for _, tag in ipairs { 70, 97, 98, 99, 100, 104, 105, 106, 107, 108, 109, 110, 111, 115, 116, 118,
  119 } do
  known[tag] = true
end

describe("etf: what is taken", function()
  for _, case in ipairs(accepted) do
    it(case[1], function()
      assert.equal(case[3], twin_of(case[2]))
      local value, why = decode(message(case[2]), { null = "keep" })
      assert.is_nil(why)
      local wanted = core.decode(case[3], { null = "keep" })
      assert.same(wanted, value)
      assert.equal(math.type(wanted), math.type(value))
      assert.same(core.decode(case[3]), decode(message(case[2])))
      assert.same(core.decode(case[3]), decode(case[2])) -- the version may be left out
    end)

    it(case[1] .. ", cut anywhere, is refused", function()
      local whole = message(case[2])
      for cut = 0, #whole - 1 do
        assert.same({ nil, "ESYNTAX" }, { unit.rewrite(whole:sub(1, cut)) })
        local value, words, code = decode(whole:sub(1, cut))
        assert.is_nil(value)
        assert.equal("ESYNTAX", code)
        assert.truthy(words:find "^decode: malformed payload")
      end
    end)
  end

  for _, case in ipairs(refused) do
    it("but not " .. case[1], function()
      assert.same({ nil, "ESYNTAX" }, { unit.rewrite(message(case[2])) })
      assert.equal("ESYNTAX", (select(3, decode(message(case[2])))))
    end)
  end

  it("but no tag that is not known", function()
    for tag = 0, 255 do
      if not known[tag] then
        for _, rest in ipairs { "", "\0", ("\0"):rep(8), ("\1"):rep(64) } do
          local term = "\131" .. string.char(tag) .. rest
          assert.is_nil((unit.rewrite(term)))
          assert.is_nil((unit.rewrite(message(list("" .. string.char(tag) .. rest)))))
          assert.is_nil((unit.scan(message(map(atom "d", string.char(tag) .. rest)))))
        end
      end
    end
  end)

  it("with every byte of it changed to every other, never crashes, and is taken again", function()
    local whole = message(map(atom "op", byte(0), binary "d", list(big(0, "\1\2\3\4\5\6\7\8"), NIL,
      hex "68 02 6101 6102", hex "6b 0002 0102", hex "46 4004000000000000", map(), integer(-9)),
      pack(">Bs2", 118, "é"), float "1.5e+00", atom "s", large_big(1, "\1\2")))
    assert(unit.rewrite(whole))
    for at = 1, #whole do
      for other = 0, 255 do
        local changed = whole:sub(1, at - 1) .. string.char(other) .. whole:sub(at + 1)
        local out, code = unit.rewrite(changed)
        if out then
          assert.equal(out, unit.rewrite(out))
          assert.same(core.decode((assert(unit.rewrite(changed, 0, nil, "json")))), decode(changed))
        else
          assert.equal("ESYNTAX", code)
          assert.is_nil((decode(changed)))
        end
        local found, why = unit.scan(changed)
        assert.is_true(found ~= nil or why == "ESYNTAX")
      end
    end
  end)

  it("down to the limit of depth, and not one deeper, by every kind of container", function()
    local inner = ("l\0\0\0\1"):rep(127)
    local outer = ("j"):rep(127)
    for _, term in ipairs { deep_list, deep_map, deep_tuple, inner .. "j" .. outer,
      inner .. "k\0\1a" .. outer, inner .. map() .. outer, inner .. "h\0" .. outer } do
      assert(unit.rewrite(message(term)))
      assert.same(core.decode((twin_of(term))), decode(message(term)))
      assert(unit.scan(message(map(atom "d", term))))
      for _, deeper in ipairs { list(term), "h\1" .. term, map(atom "k", term) } do
        assert.same({ nil, "EDEPTH" }, { unit.rewrite(message(deeper)) })
        assert.equal("EDEPTH", (select(3, decode(message(deeper)))))
        assert.same({ nil, "EDEPTH" }, { unit.scan(message(map(atom "d", deeper))) })
        assert.same({ nil, "EDEPTH" }, { unit.scan(message(map(atom "x", deeper))) })
      end
    end
    assert.same({ nil, "EDEPTH" }, { unit.rewrite(message(("h\1"):rep(1000000))) })
    assert.same({ nil, "EDEPTH" }, { unit.scan(message(map(atom "d", ("h\1"):rep(1000000)))) })
  end)

  it("of keys that come twice, in whatever kind, the last one counts", function()
    assert.same({ a = 2 }, decode(message(map(atom "a", byte(1), binary "a", byte(2)))))
    assert.same({ a = 1 }, decode(message(map(binary "a", byte(2), atom "a", byte(1)))))
    assert.same({ ["7"] = 3 }, decode(message(map(byte(7), byte(1), binary "7", byte(3)))))
    assert.same({}, decode(message(map(atom "a", byte(1), binary "a", NIL))))
    assert.same({ b = 2 },
      decode(message(map(atom "a", byte(1), atom "b", byte(2), atom "a", NIL))))
    assert.same({ a = 1 }, decode(message(map(atom "a", NIL, atom "a", byte(1)))))
    assert.same({ a = null }, decode(message(map(atom "a", byte(1), atom "a", NIL)),
      { null = "keep" }))
  end)

  it("with numbers of up to 256 bytes, to the last digit", function()
    for _, bytes in ipairs { 1, 2, 4, 6, 7, 8, 9, 12, 13, 100, 255, 256 } do
      local digits, number = "", { 0 }
      for _ = 1, bytes do digits = digits .. string.char(math.random(0, 255)) end
      digits = digits:sub(1, -2) .. "\201"
      -- The same by hand: in base 10^7, the lowest first.
      for i = bytes, 1, -1 do
        local carry = digits:byte(i)
        for k = 1, #number do
          carry = carry + number[k] * 256
          number[k] = carry % 10000000
          carry = carry // 10000000
        end
        while carry > 0 do
          number[#number + 1] = carry % 10000000
          carry = carry // 10000000
        end
      end
      local text = {}
      for k = #number, 1, -1 do text[#text + 1] = (k == #number and "%d"
        or "%07d"):format(number[k]) end
      text = table.concat(text)
      for _, write in ipairs { large_big, bytes < 256 and big or large_big } do
        assert.equal(text, tostring(decode(message(write(0, digits)))))
        assert.equal("-" .. text, tostring(decode(message(write(1, digits)))))
      end
    end
  end)

  it("texts that are not UTF-8 by the rule for them, and atoms too", function()
    for _, term in ipairs { binary "\255", pack(">Bs1", 119, "\255"), map(binary "\255", byte(1)),
      list(pack(">Bs2", 118, "a\237\160\128")) } do
      assert.is_nil((decode(message(term), { invalid_utf8 = "refuse" })))
      assert.equal("EUTF8", (select(3, decode(message(term), { invalid_utf8 = "refuse" }))))
      assert(decode(message(term)))
    end
    assert.equal("\255", decode(message(binary "\255")))
    assert.equal("ÿ", decode(message(atom "\255"), { invalid_utf8 = "refuse" }))
  end)

  it("and a sink that fails ends the walk at whichever call that is", function()
    local term = message(list(NIL, TRUE, byte(1), hex "46 4004000000000000", binary "x", "j",
      hex "6b 0001 07", map(atom "k", big(0, ("\255"):rep(8)))))
    local code, calls = unit.stop(term, 0)
    assert.equal("OK", code)
    assert.equal(16, calls)
    for nth = 1, calls do assert.same({ "EVALUE", nth }, { unit.stop(term, nth) }) end
  end)
end)

-- ---- The writer ------------------------------------------------------------------------------

describe("etf: the writer", function()
  local vectors = {
    { "0", "61 00" }, { "255", "61 ff" }, { "256", "62 00000100" }, { "-1", "62 ffffffff" },
    { "2147483647", "62 7fffffff" }, { "-2147483648", "62 80000000" },
    { "2147483648", "6e 04 00 00000080" }, { "-2147483649", "6e 04 01 01000080" },
    { "4294967295", "6e 04 00 ffffffff" }, { "4294967296", "6e 05 00 0000000001" },
    { "1420070400000", "6e 06 00 00b0caa24a01" },
    { "9007199254740991", "6e 07 00 ffffffffffff1f" },
    { "-9007199254740991", "6e 07 01 ffffffffffff1f" },
    { "9007199254740992", "6d 00000010 39303037313939323534373430393932" },
    { "2.5", "46 4004000000000000" }, { "null", "73 03 6e696c" }, { "true", "73 04 74727565" },
    { "false", "73 05 66616c7365" }, { "[]", "6a" }, { "{}", "74 00000000" },
    { '""', "6d 00000000" }, { '"é"', "6d 00000002 c3a9" },
    { "[1,2,3]", "6c 00000003 6101 6102 6103 6a" }, { "[[],[[]]]",
      "6c 00000002 6a 6c 00000001 6a 6a 6a" },
    { '{"a":[],"b":{"c":{}}}', "74 00000002 6d 00000001 61 6a 6d 00000001 62 " ..
      "74 00000001 6d 00000001 63 74 00000000" },
    { '{"op":1,"d":null}', "74 00000002 6d 00000002 6f70 6101 6d 00000001 64 73 03 6e696c" },
    { '{"op":1,"d":1337}', "74 00000002 6d 00000002 6f70 6101 6d 00000001 64 62 00000539" },
    { '{"op":6,"d":{"token":"T","session_id":"S","seq":1337}}', [[74 00 00 00 02 6d 00 00 00 02 6f
      70 61 06 6d 00 00 00 01 64 74 00 00 00 03 6d 00 00 00 05 74 6f 6b 65 6e 6d 00 00 00 01 54
      6d 00 00 00 0a 73 65 73 73 69 6f 6e 5f 69 64 6d 00 00 00 01 53 6d 00 00 00 03 73 65 71 62
      00 00 05 39]] },
  }
  for _, case in ipairs(vectors) do
    it("writes " .. case[1], function()
      assert.equal(message(hex(case[2])), etf_of(case[1]))
      assert.equal(case[1]:gsub("^9007199254740992$", '"%0"'), (twin_of(hex(case[2]))))
    end)
  end

  it("writes every integer of 64 bits in its shortest form", function()
    assert.equal(hex "6e 08 00 ffffffffffffff7f", unit.integer(math.maxinteger))
    assert.equal(hex "6e 08 01 0000000000000080", unit.integer(math.mininteger))
    assert.equal(hex "6e 07 01 00000000000020", unit.integer(-(1 << 53)))
    for bits = 0, 62 do
      for _, n in ipairs { (1 << bits) - 1, 1 << bits, (1 << bits) + 1 } do
        for _, value in ipairs { n, -n } do
          local term = unit.integer(value)
          assert.equal(tostring(value), tostring(decode(term)))
          local wanted = 2
          if value < 0 or value > 255 then wanted = 5 end
          if value > 2147483647 or value < -2147483648 then
            wanted = 3 + (#("%x"):format(math.abs(value)) + 1) // 2
          end
          assert.equal(wanted, #term)
        end
      end
    end
  end)

  it("counts what it wrote, also beyond a byte and beyond two", function()
    for _, count in ipairs { 1, 2, 255, 256, 65535, 65536, 70000 } do
      local items, members = {}, {}
      for i = 1, count do
        items[i] = i % 3 == 0 and {} or i
        members["k" .. i] = i
      end
      local term = core.encode(items, { encoding = "etf" })
      assert.equal(pack(">BBI4", 131, 108, count), term:sub(1, 6))
      assert.equal("j", term:sub(-1))
      assert.same(items, decode(term))
      term = core.encode(members, { encoding = "etf" })
      assert.equal(pack(">BBI4", 131, 116, count), term:sub(1, 6))
      assert.same(members, decode(term))
    end
  end)

  it("has one byte in front of a message, and takes Lua values by the rules of JSON", function()
    local function both(value)
      local text, term = core.encode(value), core.encode(value, { encoding = "etf" })
      assert.equal(131, term:byte())
      assert.equal(text, (unit.rewrite(term, 0, nil, "json")))
    end
    for _, value in ipairs { 1, -1, 2.5, "x", true, null, {}, core.array {}, { 1, 2, 3 },
      { a = null },
      math.maxinteger, { { { {} } } }, -0.0, 1e300, { k = core.array {} } } do both(value) end
    for _, value in ipairs { 0 / 0, 1 / 0, print, { 1, nil, 3 }, { [1] = 1, a = 2 }, "\255" } do
      local _, said, code = core.encode(value)
      assert.same({ nil, said, code }, { core.encode(value, { encoding = "etf" }) })
    end
  end)

  it("refuses what the format has no form for, and stops at its limits", function()
    assert.same({ nil, "EVALUE" }, { unit.write(math.huge) })
    assert.same({ nil, "EVALUE" }, { unit.write(-math.huge) })
    assert.same({ nil, "EVALUE" }, { unit.write(0 / 0) })
    assert.equal(message(deep_map:sub(1, -3):gsub("s\1a", "m\0\0\0\1k")),
      message(unit.nest(128):sub(1, -6)))
    assert.same({ nil, "EDEPTH" }, { unit.nest(129) })
    local term = message(list(byte(1), binary "abc", map(binary "k", list())))
    assert.equal(message(list(byte(1), binary "abc", map(binary "k", "j"))), unit.rewrite(term))
    local whole = #unit.rewrite(term) + 5 -- the list that turns out empty needs five for a moment
    assert(unit.rewrite(term, whole))
    for cap = 1, whole - 6 do assert.same({ nil, "EMESSAGE" }, { unit.rewrite(term, cap) }) end
  end)

  it("runs out of memory in good order, wherever that happens", function()
    local term, allocations, out = message(list(binary(("x"):rep(3000)), map(binary "k",
      byte(1)))), -1
    repeat
      local code
      allocations = allocations + 1
      out, code = unit.rewrite(term, 0, allocations)
      assert.is_true(out ~= nil or code == "EMEMORY")
    until out
    assert.is_true(allocations >= 1)
    assert.equal(term, out)
  end)
end)

-- ---- Twins -----------------------------------------------------------------------------------

local function text_of(random)
  local letters = { "a", "\"", "\\", "é", "😀", "\0", "\n", "nil", "7", " " }
  local out = {}
  for i = 1, random(0, 8) do out[i] = letters[random(#letters)] end
  return table.concat(out)
end

local function value_of(random, depth)
  local kind = random(depth > 4 and 7 or 10)
  if kind == 1 then return null end
  if kind == 2 then return random(2) == 1 end
  if kind == 3 then return random(-300, 300) end
  if kind == 4 then return (random(2) == 1 and 1 or -1) * (1 << random(0, 62)) + random(-2, 2) end
  if kind == 5 then return (random() - 0.5) * 10.0 ^ random(-300, 300) end
  if kind <= 7 then return text_of(random) end
  local out = core.array {}
  if kind == 8 then
    for i = 1, random(0, 6) do out[i] = random(0, 255) end
    return out
  end
  if kind == 9 then
    for i = 1, random(0, 6) do out[i] = value_of(random, depth + 1) end
    return out
  end
  out = {}
  for i = 1, random(0, 6) do out[text_of(random) .. "k" .. i] = value_of(random, depth + 1) end
  return out
end

describe("etf: twins", function()
  it("R53 ids keep all their digits, as values and as keys, and are the same from JSON", function()
    for _, case in ipairs { { "9007199254740991", hex "ffffffffffff1f" },
      { "9007199254740992", hex "00000000000020" }, { "9223372036854775807",
        hex "ffffffffffffff7f" },
      { "9223372036854775808", hex "0000000000000080" }, { "18446744073709551615",
        ("\255"):rep(8) } } do
      local id, digits = case[1], case[2]
      local text = ('{"id":%s,"text":"%s","%s":1}'):format(id, id, id)
      for _, write in ipairs { big, large_big } do
        local term = message(map(atom "id", write(0, digits), binary "text", binary(id), write(0,
          digits), byte(1)))
        local value = decode(term)
        assert.same(core.decode(text), value)
        assert.same(value, core.decode((unit.rewrite(term, 0, nil, "json"))))
        assert.equal(id, tostring(value.id))
        assert.equal(id, value.text)
        assert.equal(1, value[id])
        assert.equal(id == "9007199254740991" and "number" or "string", type(value.id))
      end
    end
  end)

  it("any value is the same from both encodings, under every rule", function()
    math.randomseed(77)
    for _ = 1, 3000 do
      local value = value_of(math.random, 0)
      local text, term = core.encode(value), core.encode(value, { encoding = "etf" })
      for _, rules in ipairs { {}, { null = "keep" }, { invalid_utf8 = "refuse" },
        { null = "keep", invalid_utf8 = "refuse" } } do
        local a, b = core.decode(text, rules), decode(term, rules)
        assert.same(a, b)
        if a ~= nil then -- the same kinds of numbers, and the same empty lists
          assert.equal(unit.rewrite(core.encode(a, { encoding = "etf" })):len(),
            core.encode(b, { encoding = "etf" }):len())
        end
      end
      assert.equal(text, (unit.rewrite(term, 0, nil, "json")))
      assert.equal(term, (json.rewrite(text, 0, nil, "etf")))
    end
  end)

  it("an empty list comes with the mark of lists, from each of its forms", function()
    for _, term in ipairs { "j", list(), hex "6b 0000", "h\0", hex "69 00000000" } do
      assert.equal("[]", core.encode(decode(message(term))))
      assert.equal('{"k":[]}', core.encode(decode(message(map(atom "k", term)))))
    end
    assert.equal("{}", core.encode(decode(message(map()))))
  end)

  it("null is dropped from maps and kept in lists, or kept everywhere", function()
    for _, word in ipairs { NIL, atom "null", pack(">Bs2", 100, "nil"), pack(">Bs2", 118, "null"),
      pack(">Bs1", 119, "nil") } do
      local term = message(map(atom "a", word, atom "b", list(byte(1), word), atom "c", byte(2),
        atom "d", word))
      assert.same({ b = { 1, null }, c = 2 }, decode(term))
      assert.same({ a = null, b = { 1, null }, c = 2, d = null }, decode(term, { null = "keep" }))
      assert.is_nil((decode(message(word))))
      assert.equal(null, decode(message(word), { null = "keep" }))
    end
  end)

  -- A length of two bytes, of which the first is that of `nil`.
  it("a long atom that would be null if its length had one byte is none", function()
    for _, key in ipairs { atom "a", pack(">Bs2", 100, "a") } do -- known, and not
      local long = ("\u{1F600}"):rep(0x036e // 4)
      local term = message(map(key, pack(">BI2", 118, 0x036e) .. "il" .. long, atom "b", byte(1)))
      assert.same({ a = "il" .. long, b = 1 }, decode(term))
      assert.is_nil((decode(message(map(key, pack(">BI2", 118, 0x036e) .. "il")))))
    end
  end)
end)

describe("etf: values in Lua", function()
  it("lists and maps of any length come whole, beyond what a promise may take", function()
    for _, count in ipairs { 0, 1, 1023, 1024, 1025, 5000, 70000 } do
      local items, members = {}, {}
      for i = 1, count do
        items[i] = integer(i)
        members[i] = integer(i) .. byte(i % 256)
      end
      local value = decode(message(pack(">BI4", 108, count) .. table.concat(items) .. "j"))
      assert.equal(count, #value)
      assert.equal(count, value[count] or 0)
      value = decode(message(pack(">BI4", 116, count) .. table.concat(members)))
      local seen = 0
      for key, n in pairs(value) do
        seen = seen + 1
        assert.equal(tonumber(key) % 256, n)
      end
      assert.equal(count, seen)
    end
  end)

  it("promises that are not kept cost next to nothing", function()
    -- Each of 128 lists says that it has as many items as there are bytes.
    local bytes = 1 << 20
    local term = message(("l" .. pack(">I4", bytes - 1000)):rep(128) .. ("x"):rep(bytes))
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    assert.equal("ESYNTAX", (select(3, decode(term))))
    local grown = collectgarbage "count" - before
    collectgarbage "restart"
    assert.is_true(grown < 4096, grown)
  end)

  it("keys are remembered between values and encodings, short and long ones", function()
    for _ = 1, 3 do
      for _, key in ipairs { "", "a", ("k"):rep(24), ("k"):rep(25), ("k"):rep(300), "a\0", "é" } do
        local term = message(map(binary(key), list(map(binary(key), byte(1)))))
        assert.same({ [key] = { { [key] = 1 } } }, decode(term))
        assert.same({ [key] = 2 }, core.decode(core.encode { [key] = 2 }))
      end
    end
  end)

  it("says where the fault is, as far as it is in what was given", function()
    assert.equal("decode: malformed payload at byte 7 of 9",
      (select(2, decode(message(pack(">BI4", 108, 1) .. "x" .. "jj")))))
    assert.equal("decode: malformed payload: it ends after 1 bytes", (select(2, decode "\131")))
    assert.equal("decode: malformed payload", (select(2, decode(packed "x"))))
  end)

  it("an error of Lua's memory leaves nothing behind, and a finaliser may decode meanwhile",
    function()
    local term = message(list(map(atom "k", binary(("x"):rep(100)), atom "l", list(byte(1)))))
    local inner = 0
    for _ = 1, 50 do
      setmetatable({}, { __gc = function()
        inner = inner + 1
        assert.same({ k = 1 }, decode(message(map(atom "k", byte(1)))))
      end })
      for _ = 1, 20 do
        local value = decode(term)
        assert.equal(100, #value[1].k)
      end
      collectgarbage "step"
    end
    collectgarbage()
    assert.equal(50, inner)
  end)

  it("works deep in a coroutine, with nothing left on the stack", function()
    local function dive(depth)
      if depth == 0 then return decode(message(deep_list)) end
      return (dive(depth - 1))
    end
    local value = coroutine.wrap(function() return dive(150) end)()
    for _ = 1, 128 do value = value[1] end
    assert.equal(7, value)
  end)
end)

-- ---- The envelope ----------------------------------------------------------------------------

local function permute(all, fn, n)
  n = n or #all
  if n == 0 then return fn(all) end
  for i = 1, n do
    all[i], all[n] = all[n], all[i]
    permute(all, fn, n - 1)
    all[i], all[n] = all[n], all[i]
  end
end

local hard = {
  byte(0), integer(-1), big(0, "\1\2\3"), large_big(0, ("\7"):rep(256)), hex "46 4004000000000000",
  float "1.5e+00", NIL, atom "member", pack(">Bs2", 100, "x"), pack(">Bs2", 118, "x"),
  pack(">Bs1", 119, "x"), "j", hex "6b 0003 010203", list(list(), "j", list(byte(1), "j")),
  list(), "h\0", "h\2" .. byte(1) .. list(byte(2)), hex "69 00000002 6a 6a", map(), binary "",
  binary(message(map(atom "op", byte(9)))), map(atom "op", byte(10), atom "s", byte(99), atom "t",
    atom "NO", atom "d", list(map(atom "x", list(byte(1))))), deep_list, deep_map, deep_tuple,
  binary(("j"):rep(70000)), list(table.unpack((function()
    local all = {}
    for i = 1, 200 do all[i] = i % 2 == 0 and map(byte(1), "j") or "j" end
    return all
  end)())),
}

local function kinds_of_key(name)
  return { atom(name), binary(name), pack(">Bs2", 100, name), pack(">Bs2", 118, name), pack(">Bs1",
    119, name) }
end

describe("etf: the envelope", function()
  it("is found in every order of its keys, be they atoms or binaries", function()
    local d = map(binary "id", big(0, ("\255"):rep(8)), atom "op", byte(3))
    for kind = 1, 5 do
      local function key(name) return kinds_of_key(name)[kind] end
      for _, name in ipairs(kinds_of_key "MESSAGE_CREATE") do
        local all = { key "op" .. byte(0), key "s" .. byte(7), key "t" .. name, key "d" .. d,
          key "x" .. list(map(atom "op", byte(3))) }
        permute(all, function(members)
          local text = message(pack(">BI4", 116, 5) .. table.concat(members))
          local found = assert(unit.scan(text))
          assert.same({ op = 0, seq = 7, name = "MESSAGE_CREATE", data = d, used = #text }, found)
        end)
      end
    end
  end)

  it("gives the exact extent of d, whatever it is and wherever it stands; cut it is refused",
    function()
    for _, d in ipairs(hard) do
      for _, text in ipairs { message(map(atom "t", atom "X", atom "s", byte(1), atom "op",
        byte(0), atom "d", d)),
        message(map(atom "d", d, atom "op", byte(0), atom "s", byte(1), atom "t", atom "X")) } do
        local found = assert(unit.scan(text))
        assert.same({ op = 0, seq = 1, name = "X", data = d, used = #text }, found)
        assert(unit.rewrite(d))
        for cut = #text - 1, 0, -(1 + #text // 300) do
          assert.same({ nil, "ESYNTAX" }, { unit.scan(text:sub(1, cut)) })
        end
      end
    end
  end)

  -- Its inner list ends with the integer 106, which is written like the empty list.
  it("is not found behind an improper list, whatever its end looks like", function()
    local hidden = pack(">BI4", 108, 2) .. pack(">BI4", 108, 1) .. byte(1) .. byte(106) .. "j"
    for _, key in ipairs { "d", "x" } do
      assert.same({ nil, "ESYNTAX" }, { unit.scan(message(map(atom(key), hidden))) })
    end
  end)

  it("takes one payload off the front and leaves the next", function()
    local first = message(map(atom "op", byte(11)))
    assert.equal(#first, unit.scan(first .. first).used)
    assert.equal(#first, unit.scan(first .. "garbage").used)
    assert.equal(#first, unit.scan(first .. "\0").used)
  end)

  it("what is absent or null is left out, and of keys that come twice the last one counts",
    function()
    assert.same({ op = -1, used = 6 }, unit.scan(message(map())))
    assert.same({ op = 11, data = NIL, used = 36 }, unit.scan(message(map(atom "t", NIL,
      atom "s", NIL, atom "op", byte(11), atom "d", NIL))))
    assert.equal(-1, unit.scan(message(map(atom "op", NIL))).op)
    assert.equal(-1, unit.scan(message(map(atom "op", atom "null"))).op)
    assert.equal(0, unit.scan(message(map(atom "s", byte(0)))).seq)
    assert.equal(2, unit.scan(message(map(atom "op", byte(1), binary "op", byte(2)))).op)
    assert.is_nil(unit.scan(message(map(atom "s", byte(1), atom "s", NIL))).seq)
    assert.is_nil(unit.scan(message(map(atom "t", atom "A", atom "t", NIL))).name)
    assert.equal("B", unit.scan(message(map(atom "t", atom "A", atom "t", binary "B"))).name)
  end)

  it("steps over keys that it does not know, whatever they are", function()
    for _, key in ipairs { atom "", atom "o", atom "opp", atom "\233", byte(7), integer(-1),
      big(0, ("\255"):rep(8)), large_big(0, "\1"), binary(("x"):rep(1000)), pack(">Bs2", 118,
        "ä") } do
      for _, value in ipairs(hard) do
        assert.equal(3, unit.scan(message(map(key, value, atom "op", byte(3)))).op)
      end
    end
  end)

  it("holds 53 bits of sequence", function()
    assert.equal(9007199254740991, unit.scan(message(map(atom "s", big(0,
      hex "ffffffffffff1f")))).seq)
    assert.same({ nil, "ESYNTAX" }, { unit.scan(message(map(atom "s", big(0,
      hex "00000000000020")))) })
    assert.equal(2147483647, unit.scan(message(map(atom "op", integer(2147483647)))).op)
    assert.same({ nil, "ESYNTAX" }, { unit.scan(message(map(atom "op", big(0, "\0\0\0\128")))) })
  end)

  it("takes names of up to 64 bytes, as they are", function()
    local name = ("N"):rep(64)
    for _, kind in ipairs(kinds_of_key(name)) do
      assert.equal(name, unit.scan(message(map(atom "t", kind))).name)
    end
    for _, kind in ipairs(kinds_of_key(name .. "N")) do
      assert.same({ nil, "ESYNTAX" }, { unit.scan(message(map(atom "t", kind))) })
    end
    assert.same({ nil, "ESYNTAX" }, { unit.scan(message(map(atom "t", atom "CAF\201"))) })
    assert.equal("É", unit.scan(message(map(atom "t", pack(">Bs1", 119, "É")))).name)
  end)

  for name, term in pairs {
    ["nothing"] = "", ["the version alone"] = "\131", ["no version"] = map(atom "op", byte(1)),
    ["a list"] = message(list()), ["a number"] = message(byte(1)), ["JSON"] = '{"op":1}',
    ["a packed message"] = hex "83 50 00000002 789c4b64050000c90067",
    ["an op that is a text"] = message(map(atom "op", binary "1")),
    ["an op that is a float"] = message(map(atom "op", hex "46 3ff0000000000000")),
    ["an op below zero"] = message(map(atom "op", integer(-1))),
    ["an op that is a list"] = message(map(atom "op", list(byte(1)))),
    ["an op that is true"] = message(map(atom "op", TRUE)),
    ["an op that is missing"] = message(pack(">BI4", 116, 1) .. atom "op"),
    ["a sequence that is a text"] = message(map(atom "s", binary "1")),
    ["a sequence below zero"] = message(map(atom "s", big(1, "\1"))),
    ["a name that is a number"] = message(map(atom "t", byte(1))),
    ["a name that is a list"] = message(map(atom "t", "j")),
    ["a key that is a list"] = message(map("j", byte(1))),
    ["a count that cannot be"] = message(pack(">BI4", 116, 0xffffffff) .. atom "op" .. byte(1)),
    ["an improper list in d"] = message(map(atom "d", pack(">BI4", 108, 1) .. byte(1) .. byte(2))),
    ["a count that cannot be in d"] = message(map(atom "d", pack(">BI4", 108, 0xffffffff) .. "j")),
  } do
    it("is not found in " .. name, function()
      assert.same({ nil, "ESYNTAX" }, { unit.scan(term) })
    end)
  end

  it("a message tells its encoding by its first byte", function()
    assert.is_true(unit.claims(message(map())))
    assert.is_false(unit.claims '{"op":1}')
    assert.is_false(unit.claims "")
    assert.is_true(json.claims ' {"op":1}')
    assert.is_false(json.claims(message(map())))
    assert.is_false(json.claims "")
    assert.same({ "etf", true }, { unit.find "etf" })
  end)
end)

-- ---- Compressed terms ------------------------------------------------------------------------

describe("etf: compressed terms", function()
  local term = map(atom "op", byte(11), atom "d", list(byte(1), binary "x"))

  it("are read as what they hold", function()
    assert.same({ message(term), "OK", #packed(term) }, { unit.unpack(packed(term)) })
    assert.same({ op = 11, d = { 1, "x" } }, decode(packed(term)))
    assert.same({ 1, 2 }, decode(hex "83 50 00000006" .. store(hex "68 02 6101 6102")))
    assert.equal(5, decode(hex "83 50 00000002 789c4b64050000c90067"))
    assert.equal('{"op":11,"d":[1,"x"]}', (unit.rewrite(packed(term), 0, nil, "json")))
  end)

  it("leave what follows them", function()
    assert.same({ message(term), "OK", #packed(term) },
      { unit.unpack(packed(term) .. message(byte(1))) })
    assert.equal("ESYNTAX", (select(3, decode(packed(term) .. "x"))))
    assert.same({ nil, "ESYNTAX" }, { unit.rewrite(packed(term) .. "x", 0, nil, "json") })
  end)

  it("of any size come whole", function()
    for _, len in ipairs { 0, 1, 65529, 65530, 65531, 65535, 65536, 131072, 1000000 } do
      local long = binary(("y"):rep(len))
      assert.equal(message(long), (unit.unpack(packed(long))))
      assert.equal(("y"):rep(len), decode(packed(long)))
    end
  end)

  it("are bounded by the cap before anything is inflated, and by their own word", function()
    local long = binary(("y"):rep(1000))
    assert.same({ message(long), "OK", #packed(long) }, { unit.unpack(packed(long), #long + 1) })
    assert.same({ false, "EMESSAGE" }, { unit.unpack(packed(long), #long) })
    assert.same({ false, "EMESSAGE" }, { unit.unpack(packed(long, 0xffffffff)) })
    assert.equal("EMESSAGE", (select(3, decode(packed(long, 0xffffffff)))))
    for _, lie in ipairs { 0, 1, #long - 1, #long + 1, 2 * #long, 65536, 65537, 1000000 } do
      assert.same({ false, "ESYNTAX" }, { unit.unpack(packed(long, lie)) })
    end
  end)

  it("cut anywhere, or with any bit changed, are refused or hold the same", function()
    local whole = packed(term)
    for cut = 2, #whole - 1 do
      assert.same({ false, "ESYNTAX" }, { unit.unpack(whole:sub(1, cut)) })
      assert.is_nil((decode(whole:sub(1, cut))))
    end
    for at = 3, #whole do
      for bit = 0, 7 do
        local changed = whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 1 << bit)
          .. whole:sub(at + 1)
        local plain, code = unit.unpack(changed)
        if plain then
          assert.equal(message(term), plain)
        else
          assert.is_true(code == "ESYNTAX" or code == "EMESSAGE")
        end
      end
    end
  end)

  it("run out of memory in good order", function()
    local allocations, out = -1
    repeat
      local code
      allocations = allocations + 1
      out, code = unit.rewrite(packed(term), 0, allocations)
      assert.is_true(out ~= nil or code == "EMEMORY")
    until out
    assert.is_true(allocations >= 3)
  end)

  it("are none when they do not begin with the version and the tag", function()
    for _, text in ipairs { "", "\131", "P", message(byte(1)), term, "{}" } do
      assert.same({ nil, "OK" }, { unit.unpack(text) })
    end
    assert.same({ nil, "OK" }, { json.unpack(packed(term)) })
  end)

  it("that end with a flush in place of an end are refused", function()
    local flushed = deflate():push(term)
    assert.same({ false, "ESYNTAX" }, { unit.unpack(pack(">BBI4", 131, 80, #term) .. flushed) })
  end)
end)

-- ---- In the machine ----------------------------------------------------------------------------

local function drive(options)
  options = options or {}
  options.encoding = "etf"
  return helper.drive(options)
end

describe("etf: a machine that speaks it", function()
  it("sends whole messages in binary frames, their keys binaries, and nothing else", function()
    local d, sends = drive { presence = '{"status":"idle","since":null,"activities":[]}' }, {}
    d:input "start"
    d:input "grant"
    d:opened()
    local function look(actions)
      for _, action in ipairs(helper.pick(actions, "send")) do sends[#sends + 1] = action end
    end
    look(d:receive(helper.HELLO))
    look(d:receive '{"op":1,"d":null}')
    look(d:receive(helper.ready()))
    look(d:receive '{"op":1,"d":null}')
    d:closed()
    d:tick()
    d:opened()
    look(d:receive(helper.HELLO))
    assert.equal(4, #sends)
    for _, send in ipairs(sends) do
      assert.is_true(send.binary)
      assert.equal("\131t\0\0\0\2m\0\0\0\2op", send.bytes:sub(1, 13))
    end
    assert.equal("\131t\0\0\0\2m\0\0\0\2opa\1m\0\0\0\1ds\3nil", sends[2].bytes)
    assert.equal("\131t\0\0\0\2m\0\0\0\2opa\1m\0\0\0\1da\1", sends[3].bytes)
    local identify = sends[1].packet.d
    assert.equal("TOKEN.of.tests", identify.token)
    assert.same({ 0, 1 }, identify.shard)
    assert.same({ status = "idle", since = null, activities = {} }, identify.presence)
    assert.same({ token = "TOKEN.of.tests", session_id = "s1", seq = 1 }, sends[4].packet.d)
  end)

  it("gives the same events as one that speaks JSON", function()
    local message_create = [[{"id":"1117000000000000002","channel_id":"81384788765712384",
      "n":[1,2,255],"big":[1,256],"content":"h\u00e9llo \"x\"","edited_timestamp":null,
      "tts":false,"embeds":[],
      "author":{"id":"9007199254740992","public_flags":0},"created_at":1420070400000,"f":0.5,
      "reactions":[null,{"me":true}]}]]
    for _, rules in ipairs { {}, { null = "keep" } } do
      local events = {}
      for _, encoding in ipairs(helper.encodings) do
        rules.encoding = encoding
        local d = helper.drive(rules):reach "ready"
        local actions = d:receive(helper.dispatch("MESSAGE_CREATE", 2, message_create))
        events[encoding] = helper.pick(actions, "event", "MESSAGE_CREATE")[1].data
      end
      assert.same(events.json, events.etf)
      assert.equal("1117000000000000002", events.etf.id)
      assert.equal(1420070400000, events.etf.created_at)
      assert.same({ 1, 2, 255 }, events.etf.n)
    end
  end)

  it("R49 four empty messages in a row are tolerated, the fifth reconnects", function()
    local d = drive():reach "ready"
    for _ = 1, 4 do assert.same({}, d:receive "") end
    d:receive(helper.ACK)
    for _ = 1, 4 do assert.same({}, d:receive "") end
    assert.same({ "close 4000" }, helper.describe(d:receive ""))
  end)

  it("R54 unknown events and any type of d pass through", function()
    local d = drive():reach "ready"
    for i, text in ipairs { "null", "true", "1.5", '"x"', "[]", "[1,2]", "{}", '{"a":{}}' } do
      local event = helper.pick(d:receive(helper.dispatch("NEW_THING", i + 1, text)), "event")[1]
      assert.equal(text, event.text)
      assert.is_nil(event.error)
    end
    assert.equal("ready", d.machine.state)
  end)

  it("takes several payloads in one message, packed ones among them, and closes for garbage",
    function()
    local function event(name, seq, d)
      return map(atom "t", atom(name), atom "s", byte(seq), atom "op", byte(0), atom "d", d)
    end
    local two = message(event("A", 2, list(byte(1))))
      .. packed(event("B", 3, map(atom "k", binary(("v"):rep(500)))))
    local all = two .. message(event("C", 4, NIL))
    for _, heard in ipairs { {}, { all = true } } do
      local d = drive():reach "ready"
      d.machine:interest({ "B" }, heard)
      local seen = helper.pick(d:feed(helper.whole(all)), "event")
      assert.equal(heard.all and 3 or 1, #seen)
      assert.same({ k = ("v"):rep(500) }, seen[heard.all and 2 or 1].data)
      assert.equal(4, d.machine:status().seq)
      local lines = helper.describe(d:feed(helper.whole(message(event("D", 5, NIL)) .. "x")))
      assert.truthy(table.concat(lines, " "):find("close 4000", 1, true))
      assert.equal(5, d.machine:status().seq)
    end
  end)

  it("R50 takes a message full of packed payloads in time that grows as it does", function()
    local ack = packed(map(atom "op", byte(11)))
    local function seconds(count)
      local d = drive():reach "ready"
      local text, from = ack:rep(count), os.clock()
      d:feed(helper.whole(text))
      assert.equal("ready", d.machine:status().state)
      return os.clock() - from
    end
    seconds(1000)
    local few = seconds(10000)
    assert.is_true(seconds(80000) < 24 * few)
  end)

  it("closes for a packed payload with another one in it", function()
    local ack = map(atom "op", byte(11))
    local lines = helper.describe(drive():reach "ready":feed(helper.whole(packed(ack .. ack))))
    assert.truthy(table.concat(lines, " "):find("close 4000", 1, true))
  end)

  it("R50 refuses a packed message that would be over the cap, by name", function()
    local small, large = binary(("x"):rep(1000)), binary(("x"):rep(100000))
    local function event(d)
      return packed(map(atom "op", byte(0), atom "s", byte(2), atom "t", atom "BIG", atom "d", d))
    end
    for _, case in ipairs { { small, nil }, { large, "EMESSAGE" } } do
      local d = drive { message_bytes_max = 150000 }:reach "ready"
      -- What travels must not be over the cap itself.
      local bytes = event(case[1])
      local failed
      local d2 = drive { message_bytes_max = #bytes + 10 }:reach "ready"
      for _, one in ipairs { d, d2 } do
        local actions = one:feed(helper.whole(bytes))
        assert.equal(1, #helper.pick(actions, "event", "BIG"))
      end
      local lying = pack(">BBI4", 131, 80, 150001) .. bytes:sub(7)
      failed = helper.pick(d:feed(helper.whole(case[2] and lying or bytes)), "event", "error")[1]
      assert.equal(case[2], failed and failed.data.code)
    end
  end)

  it("R54 one that cannot be read closes with 4000, three at one sequence end the session",
    function()
    for _, bad in ipairs { "{}", '{"op":11}', "\131", message(list()), message(map(atom "op", "X")),
      message(map(atom "d", hex "67 00")) } do
      local d = drive():reach "ready"
      for round = 1, 3 do
        local actions = d:feed(helper.whole(bad))
        assert.equal(4000, helper.pick(actions, "close")[1].code)
        actions = d:closed { code = 4000 }
        assert.equal(round < 3 and 0 or 1, #helper.pick(actions, "event", "lost"))
        assert.equal(round < 3, d.machine:status().session ~= nil)
        if round == 3 then break end
        d:tick()
        d:opened()
        d:receive(helper.HELLO)
      end
    end
  end)
end)

describe("etf: commands", function()
  local COMMAND = '{"op":8,"d":{"guild_id":"81384788765712384","query":"ab","limit":9}}'

  it("given in one encoding leave in the machine's own", function()
    for _, encoding in ipairs(helper.encodings) do
      local d = helper.drive { encoding = encoding }:reach "ready"
      for _, given in ipairs { COMMAND, " \n" .. COMMAND, etf_of(COMMAND) } do
        local sent = helper.pick(d:input("send", given), "send")
        assert.equal(1, #sent)
        assert.equal(encoding == "etf", sent[1].binary)
        assert.equal(encoding == "etf" and 131 or 123, sent[1].bytes:match("^%s*(.)"):byte())
        assert.same(core.decode(COMMAND), sent[1].packet)
      end
    end
  end)

  it("that wait for a shard which begins anew in the other encoding are told when they do not fit",
    function()
      local discord = witness.sandbox()
      local engine <close> = assert(core.engine { ca_file = discord.ca_file })
      local function start(url, encoding)
        assert(engine:start { token = discord.token, url = url, encoding = encoding, intents = 1,
          shard_id = 0, shard_count = 1, backoff_base_ms = 60000, backoff_cap_ms = 60000 })
      end
      local function await(words, check)
        local until_s = core.now() + witness.patience
        local found
        repeat
          core.poll({ engine:fd() }, 0.05)
          for record, name in function() return engine:next() end do
            found = found or check(name, record)
            record:done()
          end
          assert(core.now() < until_s, words)
        until found
        return found
      end
      local function is_in(state)
        return function(name, record) return name == "state" and record:data().to == state end
      end

      start("ws://127.0.0.1:1", "json")
      engine:interest(0, {}, { all = true })
      local halves = '{"op":3,"d":[' .. ("1.5,"):rep(900) .. "1.5]}"
      assert(#halves < 4096 and #etf_of(halves) > 4096)
      assert(engine:send(0, '{"op":4,"d":{"guild_id":"1","channel_id":null}}'))
      assert(engine:send(0, (halves:gsub("3", "4", 1))))
      assert(engine:send(0, '{"op":4,"d":{"guild_id":"2","channel_id":null}}'))
      await("the back-off", is_in "backoff")
      assert(engine:stop_shard(0, 4000, ""))
      await("the stop", is_in "idle")
      start(discord.url, "etf")
      local told = await("the report", function(name, record)
        local data = name == "error" and record:data()
        return data and data.phase == "send" and data
      end)
      assert.equal("EPAYLOAD", told.code)
      assert.truthy(told.message:find('cannot be sent with encoding "etf"', 1, true), told.message)
      local sent = assert(discord:wait_received("VOICE_STATE_UPDATE", { count = 2 }))
      assert.same({ "1", "2" }, { sent[1].d.guild_id, sent[2].d.guild_id })
      engine:close()
      discord:stop()
    end)

  it("that are malformed, or too large in the encoding of the machine, are refused", function()
    local d = drive():reach "ready"
    for _, bad in ipairs { '{"op":8,"d":}', "{", "[", "\200", '{"op":8} x' } do
      assert.same({}, d:input("send", bad))
      assert.equal("ESYNTAX", d.result[3])
    end
    -- A list of digits: two bytes each in JSON, two in ETF, and its head.
    local items = '{"op":8,"d":[' .. ("1,"):rep(2036) .. "1]}"
    assert.equal(4088, #items)
    assert.is_true(#etf_of(items) > 4096)
    assert.same({}, d:input("send", items))
    assert.equal("EPAYLOAD", d.result[3])
    local json_machine = helper.drive():reach "ready"
    assert.equal(1, #helper.pick(json_machine:input("send", items), "send"))
  end)

  it("R64 the presence that was set last goes into the next Identify, whatever it was set in",
    function()
    for _, encoding in ipairs(helper.encodings) do
      for _, write in ipairs { etf_of, function(text) return text end } do
        local d = helper.drive { encoding = encoding }:reach "ready"
        d:input("send",
          write '{"op":3,"d":{"since":null,"status":"dnd","afk":false,"activities":[]}}')
        d:receive '{"op":9,"d":false}'
        d:closed { code = 1000 }
        d:tick()
        d:input "grant"
        d:opened()
        local identify = helper.pick(d:receive(helper.HELLO), "send")[1].packet
        assert.equal("dnd", identify.d.presence.status)
        assert.equal("[]", core.encode(identify.d.presence.activities))
      end
    end
  end)

  it("are shown to those who listen for what is sent and received", function()
    local d = drive():reach "ready"
    d.machine:interest({}, { all = true, send = true, receive = true })
    local sent = helper.pick(d:input("send", COMMAND), "event", "send")[1]
    assert.same(core.decode(COMMAND), sent.data)
    local received = helper.pick(d:receive(helper.dispatch("A", 2, '{"x":[1]}')), "event",
      "receive")[1]
    assert.same({ t = "A", s = 2, op = 0, d = { x = { 1 } } }, received.data)
    assert.equal(twin(helper.dispatch("A", 2, '{"x":[1]}')), received.raw)
  end)
end)

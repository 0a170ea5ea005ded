-- json.c and json_read.h: RFC 8259 to the letter, the envelope in any order, the writer. Every text
-- that is scanned or walked by `unit` ends right before an unreadable page.
local core = require "moongate.core"
local unit = require("moongate_unit").json

local function deep(open, inner, close, depth)
  return open:rep(depth) .. inner .. close:rep(depth)
end

-- What RFC 8259 allows: a text and how the writer puts it.
local accepted = {
  -- structure
  { "[]", "[]" }, { "{}", "{}" }, { "[[]]", "[[]]" }, { "[{}]", "[{}]" }, { "[[],[]]", "[[],[]]" },
  { '{"a":{}}', '{"a":{}}' }, { '{"a":[]}', '{"a":[]}' }, { "[1]", "[1]" }, { "[1,2]", "[1,2]" },
  { '{"a":1}', '{"a":1}' }, { '{"a":1,"b":2}', '{"a":1,"b":2}' }, { '{"":0}', '{"":0}' },
  { '{"a":1,"a":2}', '{"a":1,"a":2}' }, { "[null,true,false]", "[null,true,false]" },
  { '[{"a":[{"b":[{}]}]}]', '[{"a":[{"b":[{}]}]}]' }, { "[null]", "[null]" },
  { '{"a":null}', '{"a":null}' }, { '{"a":true,"b":false}', '{"a":true,"b":false}' },
  -- scalars as the whole text
  { "null", "null" }, { "true", "true" }, { "false", "false" }, { "0", "0" }, { '""', '""' },
  { '"text"', '"text"' }, { "-1", "-1" }, { "1.5", "1.5" },
  -- white space
  { " [] ", "[]" }, { "\t\n\r []", "[]" }, { "[ ]", "[]" }, { "{ }", "{}" }, { "[ 1 ]", "[1]" },
  { "[1 ,2]", "[1,2]" }, { "[1, 2]", "[1,2]" }, { '{ "a" : 1 , "b" : 2 }', '{"a":1,"b":2}' },
  { "[\n1\r\n,\t2\n]", "[1,2]" }, { " null\n", "null" }, { '\n"x"\n', '"x"' },
  { ("\n"):rep(100) .. "1" .. (" "):rep(100), "1" },
  -- numbers
  { "-0", "0" }, { "10", "10" }, { "0.5", "0.5" }, { "-0.5", "-0.5" }, { "1e2", "100.0" },
  { "1E2", "100.0" }, { "1e+2", "100.0" }, { "1e-2", "0.01" }, { "1.5e3", "1500.0" },
  { "0e0", "0.0" }, { "0e+1", "0.0" }, { "0.0", "0.0" }, { "-0.0", "-0.0" }, { "1e00", "1.0" },
  { "123456789", "123456789" }, { "9007199254740991", "9007199254740991" },
  { "-9007199254740991", "-9007199254740991" }, { "9007199254740992", '"9007199254740992"' },
  { "-9007199254740992", '"-9007199254740992"' },
  { "9223372036854775808", '"9223372036854775808"' },
  { "18446744073709551615", '"18446744073709551615"' }, { "1e308", "1e+308" },
  { "5e-324", "5e-324" }, { "1e-400", "0.0" }, { "0.1", "0.1" }, { "1e23", "1e+23" },
  { "1.7976931348623157e308", "1.7976931348623157e+308" }, { "[0,0.0]", "[0,0.0]" },
  { "1" .. ("0"):rep(32), '"1' .. ("0"):rep(32) .. '"' },
  -- strings
  { '"\\""', '"\\""' }, { '"\\\\"', '"\\\\"' }, { '"\\/"', '"/"' }, { '"/"', '"/"' },
  { '"\\b\\f\\n\\r\\t"', '"\\b\\f\\n\\r\\t"' }, { '"\\u0041"', '"A"' }, { '"\\u00e9"', '"é"' },
  { '"\\u00E9"', '"é"' }, { '"\\u20ac"', '"€"' }, { '"\\u0000"', '"\\u0000"' },
  { '"a\\u0000b"', '"a\\u0000b"' }, { '"\\u001f"', '"\\u001f"' }, { '"\\u007f"', '"\u{7f}"' },
  { '"\u{7f}"', '"\u{7f}"' }, { '"\\ud83d\\ude00"', '"😀"' }, { '"\\uD83D\\uDE00"', '"😀"' },
  { '"\\ud800\\udc00"', '"\u{10000}"' }, { '"\\udbff\\udfff"', '"\u{10ffff}"' },
  { '"\\ud7ff\\ue000"', '"\u{d7ff}\u{e000}"' }, { '"\\uffff"', '"\u{ffff}"' },
  { '"\u{2028}\u{2029}"', '"\u{2028}\u{2029}"' }, { '"\\u2028"', '"\u{2028}"' },
  { '"é"', '"é"' }, { '"\u{10ffff}"', '"\u{10ffff}"' }, { '"[]{}:,"', '"[]{}:,"' },
  { '"\\\\u0041"', '"\\\\u0041"' }, { '"\\\\\\""', '"\\\\\\""' }, { '"null"', '"null"' },
  { '{"\\n":"\\t"}', '{"\\n":"\\t"}' }, { '{"\\u0061":1}', '{"a":1}' },
  { '["' .. ("x"):rep(15) .. '"]', '["' .. ("x"):rep(15) .. '"]' },
  { '["' .. ("x"):rep(16) .. '"]', '["' .. ("x"):rep(16) .. '"]' },
  { '["' .. ("x"):rep(4000) .. '\\n"]', '["' .. ("x"):rep(4000) .. '\\n"]' },
  { '["' .. ("\\n"):rep(300) .. '"]', '["' .. ("\\n"):rep(300) .. '"]' },
  -- depth at the limit
  { deep("[", "", "]", 128), deep("[", "", "]", 128) },
  { deep('{"a":', "1", "}", 128), deep('{"a":', "1", "}", 128) },
  { "[" .. deep("[", "", "]", 127) .. "," .. deep("[", "", "]", 127) .. "]",
    "[" .. deep("[", "", "]", 127) .. "," .. deep("[", "", "]", 127) .. "]" },
}

-- What it does not allow.
local refused = {
  -- nothing, or more than one value
  "", " ", "\n", "[][]", "[] []", "{}{}", "1 2", "nullnull", "truefalse", '"a""b"', "[]x", "{}}",
  "[]]", "1,", "[1],", "\0", "[]\0", "\u{feff}[]", "\u{a0}1", "\v1", "\f1",
  -- brackets
  "[", "]", "{", "}", "[[", "[[]", "[}", "{]", "[1}", '{"a":1]', "[{]}", "[[[", '{"a":', '{"a"',
  '{"a":1', '{"a":[', "[1", "[1,", "[null", "[\n", "{ ",
  -- commas and colons
  "[,]", "[,1]", "[1,]", "[1,,2]", "[1 2]", "[1:2]", "{,}", '{,"a":1}', '{"a":1,}',
  '{"a":1,,"b":2}',
  '{"a":1 "b":2}', '{"a" 1}', '{"a",1}', '{"a"::1}', '{:1}', '{"a":}', '{"a":,"b":1}', '{"a"}',
  '{1:1}', "{a:1}", "{'a':1}", "{null:1}", "{true:1}", '{[]:1}', '{"a":1;"b":2}', "[1;2]", ",", ":",
  -- words
  "nul", "tru", "fals", "nulll", "True", "NULL", "None", "nil", "undefined", "[nul]", "[truE]", "n",
  "t", "f", "NaN", "nan", "Infinity", "-Infinity", "[inf]", "yes", "[a]", "{\"a\":b}",
  -- numbers
  "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1.e5", "1e", "1e+", "1e-", "1E", "0x10",
  "1_000",
  "1.2.3", "1e5.5", "--1", "1-", "1a", "0e", "0.e1", "[-]", "[1.]", "[.1]", "[01]", "[1e]", "2.e3",
  "1e1e1", "1 000", "[- 1]", "0.1.2", "1+1", "१", "[0x1]", "-a", "0b1", "1d", "1f", "-0x1", "[+]",
  -- strings
  '"', '"a', 'a"', '"\\"', '"\\', '"a\\', "'a'", '"\\x41"', '"\\a"', '"\\0"', '"\\v"', "\"\\'\"",
  '"\\U0041"', '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u123', '"\\u12g4"', '"\\u+123"',
  '"\\u 123"', '"\\u-123"', '"a\nb"', '"a\tb"', '"a\rb"', '"\0"', '"\31"', '"a\0b"', '["a\n"]',
  '{"a\n":1}', '{"a', '{"a\\', '["a]', '["a\\"]', '"\\ "', '"\\\n"', '"\\é"',
  -- surrogates
  '"\\ud800"', '"\\udbff"', '"\\udc00"', '"\\udfff"', '"\\ud800x"', '"\\ud800\\n"',
  '"\\ud800\\u0041"',
  '"\\ud800\\ud800"',
  '"\\udc00\\ud800"', '"\\ud83d\\ude0"', '"\\ud83d\\u"', '"\\ud83d\\', '"\\ud83d',
  '"\\ud83dude00"', '{"\\ud800":1}', '"\\ud800 \\udc00"', '"\\ud800\\ue000"',
  -- comments, marks of other encodings, and what else stands outside of strings
  "[]/**/", "/**/[]", "[]//", "[1]#", '{"a":/**/1}', '{"a":1}/', "[/", "<.>", "[<null>]", "*", "`",
  "[\u{2060}]", "\u{2060}", "[1]\u{85}", "\xef\xbb{}", "\xef\xbb\xbf", "\xff\xfe[\0]\0", "\0[\0]",
  "[\xff]", "\xe9", "[\\n1]", '[\\u000a""]', '{"a":"a" 123}', '{"a":1}:', "1]", "[1,\n1\n,1", "$",
  '{"\xb9":"0",}', "[\f]", "[\x7f]", '["a",\n4\n,1,', '["",]', '{"a":1}\0', "[-2.]", "[9.e+]",
  "[1ea]",
}

-- What it leaves to the reader: a text, and the value in it or, where there is none, the error.
-- Numbers beyond a double are infinite or 0, text that is not UTF-8 passes unless it is refused.
local HUGE = ("9"):rep(400)
local chosen = {
  { "1e9999", math.huge }, { "-1e+9999", -math.huge }, { "1.5e+9999", math.huge },
  { "123123e100000", math.huge }, { "-1" .. ("0"):rep(400) .. ".0", -math.huge },
  { "0.4e00" .. HUGE, math.huge }, { "1e-" .. HUGE, 0.0 }, { "0e" .. HUGE, 0.0 },
  { "123e-10000000", 0.0 }, { HUGE, HUGE }, { "-" .. HUGE, "-" .. HUGE },
  { "100000000000000000000", "100000000000000000000" }, { "-0", 0 },
  { '"\xff"', "\xff", "EUTF8" }, { '"\xed\xa0\x80"', "\xed\xa0\x80", "EUTF8" },
  { '"\xc0\xaf"', "\xc0\xaf", "EUTF8" }, { '"\xf4\xbf\xbf\xbf"', "\xf4\xbf\xbf\xbf", "EUTF8" },
  { '"\xe9"', "\xe9", "EUTF8" }, { '"\xe6\x97"', "\xe6\x97", "EUTF8" },
  { '"\\udada"', nil, "ESYNTAX" }, { '"\\ud888\\u1234"', nil, "ESYNTAX" },
}

describe("json: what RFC 8259 allows", function()
  it("is a list of some length", function()
    assert.is_true(#accepted + #refused >= 250)
  end)

  for nth, case in ipairs(accepted) do
    local shown = #case[1] > 40 and case[1]:sub(1, 40) .. "..." or case[1]
    it(("takes %d: %q"):format(nth, shown), function()
      assert.equal(case[2], unit.rewrite(case[1]))
      local value, message = core.decode(case[1], { null = "keep", invalid_utf8 = "refuse" })
      assert.is_nil(message)
      assert.is_not_nil(value)
    end)
  end

  for nth, case in ipairs(chosen) do
    it(("chooses %d: %q"):format(nth, case[1]:sub(1, 40)), function()
      local value, _, code = core.decode(case[1])
      assert.equal(case[2], value)
      assert.equal(math.type(case[2]), math.type(value))
      if case[2] == nil then assert.equal(case[3], code) end
      value, _, code = core.decode("[" .. case[1] .. "]", { invalid_utf8 = "refuse" })
      assert.equal(case[3], code)
      if not case[3] then assert.equal(case[2], value[1]) end
    end)
  end

  for nth, text in ipairs(refused) do
    it(("refuses %d: %q"):format(nth, text), function()
      local out, code = unit.rewrite(text)
      assert.is_nil(out)
      assert.equal("ESYNTAX", code)
      local value, message, name = core.decode(text, { null = "keep" })
      assert.is_nil(value)
      assert.equal("ESYNTAX", name)
      assert.truthy(message:find("^decode: malformed payload"))
    end)
  end

  it("refuses nesting one deeper than the limit, of either kind, and a million deep", function()
    for _, text in ipairs { deep("[", "", "]", 129), deep('{"a":', "1", "}", 129),
      deep("[", "", "]", 1000000), deep('[{"a":', "1", "}]", 65), ("["):rep(1000000) } do
      assert.same({ nil, "EDEPTH" }, { unit.rewrite(text) })
      assert.equal("EDEPTH", select(3, core.decode(text)))
    end
  end)

  it("a text cut at any position is refused", function()
    local text = ' {"a":[1,-2.5e3,"x\\u00e9\\ud83d\\ude00"],"b":{"c":null,"d":true,"e":false}}'
    assert(unit.rewrite(text))
    for cut = 0, #text - 1 do
      local out, code = unit.rewrite(text:sub(1, cut))
      assert.is_nil(out)
      assert.equal("ESYNTAX", code)
    end
  end)

  it("a byte changed anywhere never crashes, and what is taken can be taken again", function()
    math.randomseed(30)
    local text = '{"a":[1,-2.5e3,"x\\u00e9\\ud83d\\ude00"],"b":{"c":null,"d":true}}'
    for _ = 1, 20000 do
      local at = math.random(#text)
      local other = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)
      local out = unit.rewrite(other)
      if out then assert.equal(out, unit.rewrite(out)) end
    end
  end)

  it("says where the fault is", function()
    local _, message = core.decode "[1,2,x]"
    assert.equal("decode: malformed payload at byte 6 of 7", message)
    _, message = core.decode '{"a":"b\1"}'
    assert.equal("decode: malformed payload at byte 8 of 10", message)
    _, message = core.decode "[1,2"
    assert.equal("decode: malformed payload: it ends after 4 bytes", message)
  end)
end)

-- ---- Stepping over a container ------------------------------------------------------------------

-- By the letter: how many bytes the container takes that the text begins with, or nil, code. What a
-- backslash does outside of a string is the decoder's affair, which refuses it.
local function step_over(text)
  local depth, quoted, escaped = 0, false, false
  for at = 1, #text do
    local byte = text:sub(at, at)
    if byte == '"' and not escaped then
      quoted = not quoted
    elseif not quoted and byte:find "[%[{]" then
      depth = depth + 1
      if depth > 128 then return nil, "EDEPTH" end
    elseif not quoted and byte:find "[%]}]" then
      depth = depth - 1
      if depth == 0 then return at end
    end
    escaped = byte == "\\" and not escaped
  end
  return nil, "ESYNTAX"
end

describe("json: stepping over a container", function()
  local ways = require("moongate_unit").skip
  local pieces = { '"', '"', "\\", "\\\\", '\\"', "[", "]", "{", "}", "é", ",", ":", "1", "true",
    "\0", '"{"', '"]\\""', ("a"):rep(13), ("\\"):rep(9), ("[{"):rep(3) }

  local function each_way_agrees(text)
    local wanted = { step_over(text) }
    for name, way in pairs(ways) do
      assert.same(wanted, { way(text) }, ("%s: %q"):format(name, text))
    end
  end

  it("is done in more than one way here", function()
    assert.is_function(ways.plain)
    assert.is_function(ways.narrow)
  end)

  it("finds its end wherever the borders of blocks fall", function()
    local inside = { '"]"', '"\\""', '"\\\\"', '"\\\\\\""', "[]", '{"a":[1]}', '"\\\\\\\\"' }
    for before = 0, 130 do
      for _, inner in ipairs(inside) do
        each_way_agrees('["' .. ("x"):rep(before) .. '",' .. inner .. "]]")
        each_way_agrees("[" .. (" "):rep(before) .. inner .. "]" .. (" "):rep(70))
      end
    end
  end)

  it("agrees with what the letter says on any text", function()
    math.randomseed(64)
    for _ = 1, 20000 do
      local parts = { math.random() < 0.5 and "[" or "{" }
      for i = 2, math.random(2, 60) do parts[i] = pieces[math.random(#pieces)] end
      each_way_agrees(table.concat(parts))
    end
  end)

  it("counts to the limit of nesting, and no further", function()
    for _, depth in ipairs { 127, 128, 129, 200 } do
      each_way_agrees(deep("[", "", "]", depth))
      each_way_agrees(deep('{"a":[', "", "]}", depth // 2))
    end
  end)

  it("refuses letters that no value begins with", function()
    for _, letter in ipairs { "y", "Y", "_", "\127" } do
      for name, way in pairs(ways) do
        assert.same({ nil, "ESYNTAX" }, { way("[1," .. letter .. "]") }, name)
        assert.equal(#letter + 4, way('["' .. letter .. '"]'), name)
      end
    end
  end)
end)

-- ---- The walk -----------------------------------------------------------------------------------

describe("json: the walk", function()
  it("ends with the error of the sink, at whichever call it comes", function()
    local text = '[null,true,1,1.5,"x",[],{"k":9007199254740993}]'
    local code, calls = unit.stop(text, 0)
    assert.equal("OK", code)
    assert.equal(13, calls)
    for nth = 1, calls do
      assert.same({ "EVALUE", nth }, { unit.stop(text, nth) })
    end
  end)

  it("keeps to the limit of depth whatever the sink allows", function()
    for _, case in ipairs { { "[", "", "]" }, { '{"a":', "1", "}" } } do
      assert.equal("OK", (unit.stop(deep(case[1], case[2], case[3], 128), 0)))
      assert.equal("EDEPTH", (unit.stop(deep(case[1], case[2], case[3], 129), 0)))
      assert.equal("EDEPTH", (unit.stop(case[1]:rep(100000), 0)))
    end
  end)

  it("runs out of memory in good order, wherever that happens", function()
    local text = '["' .. ("\\n"):rep(2000) .. '","' .. ("x"):rep(3000) .. '"]'
    local allocations, out = -1
    repeat
      local code
      allocations = allocations + 1
      out, code = unit.rewrite(text, 0, allocations)
      assert.is_true(out ~= nil or code == "EMEMORY")
    until out
    assert.is_true(allocations > 3)
    assert.equal(text, out)
  end)
end)

describe("json: the writer", function()
  it("stops at the cap of its buffer", function()
    assert.equal("[1,2,3]", unit.rewrite("[1, 2, 3]", 7))
    for cap = 1, 6 do
      assert.same({ nil, "EMESSAGE" }, { unit.rewrite("[1, 2, 3]", cap) })
    end
  end)

  it("escapes quotes, backslashes and every control character, and nothing else", function()
    local all = {}
    for byte = 0, 31 do all[#all + 1] = ("\\u%04x"):format(byte) end
    local text = '"' .. table.concat(all) .. '"'
    local wanted = text:gsub("\\u0008", "\\b"):gsub("\\u0009", "\\t"):gsub("\\u000a", "\\n")
      :gsub("\\u000c", "\\f"):gsub("\\u000d", "\\r")
    assert.equal(wanted, unit.rewrite(text))
    local plain = {}
    for byte = 32, 126 do
      if byte ~= 34 and byte ~= 92 then plain[#plain + 1] = string.char(byte) end
    end
    plain = '"' .. table.concat(plain) .. '\u{7f}\u{80}\u{2028}"'
    assert.equal(plain, unit.rewrite(plain))
  end)

  it("refuses what JSON has no word for", function()
    assert.same({ nil, "EVALUE" }, { unit.write(math.huge) })
    assert.same({ nil, "EVALUE" }, { unit.write(-math.huge) })
    assert.same({ nil, "EVALUE" }, { unit.write(0 / 0) })
    assert.same({ nil, "EVALUE" }, { unit.rewrite "1e400" })
    assert.equal("2.0", unit.write(2))
  end)

  it("nests up to the limit and no deeper", function()
    assert.equal(deep('{"k":', "null", "}", 128), unit.nest(128))
    assert.same({ nil, "EDEPTH" }, { unit.nest(129) })
  end)
end)

describe("json: the table of encodings", function()
  it("finds json, and nothing for other names", function()
    assert.same({ "json", false }, { unit.find "json" })
    assert.is_nil(unit.find "JSON")
    assert.is_nil(unit.find "")
    assert.is_nil(unit.find "xml")
  end)
end)

-- ---- The envelope ------------------------------------------------------------------------------

local function permute(list, fn, n)
  n = n or #list
  if n == 0 then return fn(list) end
  for i = 1, n do
    list[i], list[n] = list[n], list[i]
    permute(list, fn, n - 1)
    list[i], list[n] = list[n], list[i]
  end
end

-- Values of d that are hard to step over.
local hard = {
  "{}", "[]", "null", "true", "false", "0", "-1.5e3", '""', '"text"', '"}"', '"\\"}"', '"\\\\"',
  '{"a":"}"}', '{"a":"\\"}"}', '{"a":"\\\\"}', '{"op":10,"s":99,"t":"NO","d":{}}', '["]","[","{"]',
  '{"a":"' .. ("x"):rep(200) .. '"}', '{"a":"' .. ("\\\\"):rep(100) .. '"}',
  '{"a":"' .. ("\\\""):rep(100) .. '"}', '{"a":"x' .. ("\\\\"):rep(31) .. '\\"}{["}',
  deep("[", "", "]", 128), deep('{"a":', "[]", "}", 127), '{"' .. ("[{"):rep(50) .. '":1}',
  "[" .. ("{},"):rep(99) .. "{}]", '{"a":"\\u007b\\u0022"}', '"' .. ("é"):rep(70) .. '"',
}

describe("json: the envelope", function()
  it("is found in every order of its keys, with white space anywhere", function()
    for _, space in ipairs { "", " ", "\n\t" } do
      local all = { '"op":0', '"s":7', '"t":"MESSAGE_CREATE"', '"d":{"a":[1,{"b":"}"}]}',
        '"x":[{"op":3}]' }
      permute(all, function(members)
        local text = space .. "{" .. space .. table.concat(members, space .. "," .. space)
        text = text:gsub('"(%w+)":', '"%1"' .. space .. ":" .. space) .. space .. "}"
        local found = assert(unit.scan(text))
        assert.equal(0, found.op)
        assert.equal(7, found.seq)
        assert.equal("MESSAGE_CREATE", found.name)
        assert.same({ a = { 1, { b = "}" } } }, core.decode(found.data))
        assert.equal(#text, found.used)
      end)
    end
  end)

  it("gives the exact extent of d, whatever it is and wherever it stands", function()
    for _, d in ipairs(hard) do
      for pad = 0, 70, 3 do
        local long = (" "):rep(pad)
        for _, text in ipairs { '{"t":"X","s":1,"op":0,' .. long .. '"d":' .. d .. "}",
          '{"d":' .. long .. d .. long .. ',"op":0,"s":1,"t":"X"}' } do
          local found = assert(unit.scan(text))
          assert.equal(d, found.data)
          assert.equal("X", found.name)
          assert.equal(1, found.seq)
          assert.equal(0, found.op)
        end
      end
    end
  end)

  it("cut at any position it is refused", function()
    for _, d in ipairs(hard) do
      local text = '{"t":"MESSAGE_CREATE","s":42,"op":0,"d":' .. d .. "}"
      for cut = 0, #text - 1 do
        assert.same({ nil, "ESYNTAX" }, { unit.scan(text:sub(1, cut)) })
      end
    end
  end)

  it("takes one payload off the front and leaves the next", function()
    local first, second = '{"op":1,"d":null}', ' {"op":11}'
    assert.equal(#first + 1, unit.scan(first .. second).used)
    assert.equal(#first, unit.scan(first .. "garbage").used)
    assert.equal(#first, unit.scan(first .. "\0").used)
    assert.equal(#first + 3, unit.scan(first .. " \r\n").used)
    assert.equal(#first + 2, unit.scan("\n " .. first .. second:sub(2)).used)
  end)

  it("what is absent or null is left out", function()
    assert.same({ op = -1, used = 2 }, unit.scan "{}")
    assert.same({ op = 11, used = 9 }, unit.scan '{"op":11}')
    assert.same({ op = 11, data = "null", used = 39 },
      unit.scan '{"t":null,"s":null,"op":11,"d":null}   ')
    assert.same({ op = -1, used = 11 }, unit.scan '{"op":null}')
    assert.same({ op = 0, seq = 0, used = 14 }, unit.scan '{"op":0,"s":0}')
  end)

  it("of keys that come twice the last one counts", function()
    assert.equal(2, unit.scan('{"op":1,"op":2}').op)
    assert.equal(-1, unit.scan('{"op":1,"op":null}').op)
    assert.is_nil(unit.scan('{"s":1,"s":null}').seq)
    assert.is_nil(unit.scan('{"t":"A","t":null}').name)
    assert.equal("B", unit.scan('{"t":"A","t":"B"}').name)
    assert.equal("2", unit.scan('{"d":1,"d":2}').data)
  end)

  it("knows its keys when they are written with escapes, and steps over strange ones", function()
    local text = '{"\\u006fp":5,"\\u0073":6,"\\u0074":"N","\\u0064":[7]}'
    assert.same({ op = 5, seq = 6, name = "N", data = "[7]", used = #text }, unit.scan(text))
    local strange = { "\\n", "o\\u0070x", "\\u00e9\\u00e9\\u00e9", "long\\tkey with \\\"quotes\\\"",
      "\\ud83d\\ude00", ("x"):rep(100), "" }
    for _, key in ipairs(strange) do
      assert.equal(3, unit.scan('{"' .. key .. '":{"op":1},"op":3}').op)
    end
  end)

  it("holds 53 bits of sequence", function()
    assert.equal(9007199254740991, unit.scan('{"s":9007199254740991}').seq)
    assert.same({ nil, "ESYNTAX" }, { unit.scan '{"s":9007199254740992}' })
    assert.equal(2147483647, unit.scan('{"op":2147483647}').op)
    assert.same({ nil, "ESYNTAX" }, { unit.scan '{"op":2147483648}' })
  end)

  it("takes names of up to 64 bytes without escapes", function()
    local name = ("N"):rep(64)
    assert.equal(name, unit.scan('{"t":"' .. name .. '"}').name)
    assert.same({ nil, "ESYNTAX" }, { unit.scan('{"t":"' .. name .. 'N"}') })
    assert.same({ nil, "ESYNTAX" }, { unit.scan '{"t":"A\\u0042"}' })
    assert.same({ nil, "ESYNTAX" }, { unit.scan '{"t":"A\nB"}' })
  end)

  for _, text in ipairs {
    "", " ", "[]", "null", "1", '"op"', "x", "{", "}", '{"op"', '{"op":', '{"op":}', '{"op":1',
    '{"op":1,', '{"op":1,}', '{,"op":1}', '{"op" 1}', '{"op":1 "s":1}', '{"op":1,,"s":1}', "{op:1}",
    '{"op":"1"}', '{"op":1.0}', '{"op":1e1}', '{"op":-1}', '{"op":true}', '{"op":[]}', '{"op":01}',
    '{"op":nul}', '{"s":"1"}', '{"s":1.5}', '{"s":-1}', '{"s":-0}', '{"s":false}', '{"s":{}}',
    '{"t":1}', '{"t":true}', '{"t":["A"]}', '{"t":A}', '{"t":nil}', '{"t":"A}', '{"d":}', '{"d":x}',
    '{"d":tru}', '{"d":1.}', '{"d":-}', '{"d":"x}', '{"d":"\\"}', '{"d":[}', '{"d":{"a":"}', "{]",
    '{"d":"a\nb"}', '{"x":"a\\', '{"a\n":1}', '{"a\\x":1}', '{"\\ud800":1}', '{1:1}', '{"d":[]]}',
    '{"op":1:2}', '{"op":1]', '{"abc\\ndef', '{"abc\\ndef"', '{"abc\\ndef" 1}',
  } do
    it(("refuses %q"):format(text), function()
      assert.same({ nil, "ESYNTAX" }, { unit.scan(text) })
    end)
  end

  it("refuses data nested one deeper than the limit", function()
    assert(unit.scan('{"d":' .. deep("[", "", "]", 128) .. "}"))
    assert.same({ nil, "EDEPTH" }, { unit.scan('{"d":' .. deep("[", "", "]", 129) .. "}") })
    assert.same({ nil, "EDEPTH" }, { unit.scan('{"x":' .. deep('{"a":', "1", "}", 200) .. "}") })
    assert.same({ nil, "EDEPTH" }, { unit.scan('{"d":' .. ("["):rep(1000000)) })
  end)

  it("a byte changed anywhere never crashes, and what is found is decodable or refused", function()
    math.randomseed(31)
    for _ = 1, 20000 do
      local d = hard[math.random(#hard)]
      local text = '{"t":"MESSAGE_CREATE","s":42,"op":0,"d":' .. d .. "}"
      local at = math.random(#text)
      local other = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)
      local found, code = unit.scan(other)
      if found then
        assert.is_true(found.used <= #other)
        if core.decode(other) then -- the whole is JSON: the scan must have seen the same
          local whole = core.decode(other, { null = "keep" })
          assert.equal(math.tointeger(whole.op) or -1, found.op)
          if found.data then
            assert.same(whole.d, core.decode(found.data, { null = "keep" }))
          end
        end
      else
        assert.is_true(code == "ESYNTAX" or code == "EDEPTH")
      end
    end
  end)
end)

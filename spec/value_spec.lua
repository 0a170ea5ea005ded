-- lua_value.c, lua_build.c, lua_walk.c: Lua values from and to JSON; null, the array mark,
-- integers, depth, paths in errors. lua-cjson is the oracle where it can be one.
local core = require "moongate.core"
local cjson = require "cjson"

local null = core.null
local keep = { null = "keep" }

local function is_marked(value)
  local mark = getmetatable(value)
  return type(mark) == "table" and mark.__name == "moongate.array"
end

local function refused(value, code, message)
  local text, said, name = core.encode(value)
  assert.is_nil(text)
  assert.equal(code, name)
  assert.equal("encode: " .. message, said)
end

describe("value: null", function()
  it("is cjson's", function()
    assert.equal(cjson.null, null)
  end)

  it("is an absent key in objects and stays in lists", function()
    assert.same({ b = 1, c = { 1, null, 2 } },
      core.decode '{"a":null,"b":1,"c":[1,null,2],"d":null}')
    assert.same({ {}, null, {} }, core.decode '[{"a":null},null,{"b":null,"c":null}]')
  end)

  it("stays everywhere when kept", function()
    assert.same({ a = null, b = { null, { c = null } } },
      core.decode('{"a":null,"b":[null,{"c":null}]}', keep))
    assert.equal(null, core.decode("null", keep))
    assert.same({ a = 1 }, core.decode('{"a":1}', { null = "drop" }))
  end)

  it("as the whole value is nil without an error", function()
    assert.equal(1, select("#", core.decode "null"))
    assert.is_nil((core.decode "null"))
  end)

  it("goes out as null", function()
    assert.equal("null", core.encode(null))
    assert.equal("null", core.encode(nil))
    assert.equal("[1,null]", core.encode { 1, null })
    assert.equal('{"a":null}', core.encode { a = null })
  end)
end)

describe("value: numbers", function()
  it("integers are integers and the rest floats", function()
    for text, wanted in pairs { ["0"] = 0, ["-0"] = 0, ["7"] = 7, ["-41250"] = -41250,
      ["9007199254740991"] = 9007199254740991, ["-9007199254740991"] = -9007199254740991 } do
      local value = core.decode(text)
      assert.equal(wanted, value)
      assert.equal("integer", math.type(value))
    end
    for text, wanted in pairs { ["1.0"] = 1.0, ["0.1"] = 0.1, ["1e23"] = 1e23, ["1e2"] = 100.0,
      ["5e-324"] = 5e-324, ["1e308"] = 1e308, ["1E400"] = math.huge, ["-1E400"] = -math.huge,
      ["-0.5"] = -0.5 } do
      local value = core.decode(text)
      assert.equal(wanted, value)
      assert.equal("float", math.type(value))
    end
    assert.equal(-math.huge, 1 / core.decode "-0.0")
  end)

  it("R53 2^53-1 is an integer; 2^53, 2^63 and 2^64-1 are strings and stay whole", function()
    for _, digits in ipairs { "9007199254740992", "-9007199254740992", "9223372036854775808",
      "18446744073709551615", "81384788765712384", "123456789012345678901234567890" } do
      assert.equal(digits, core.decode(digits))
      assert.equal('"' .. digits .. '"', core.encode(core.decode(digits)))
    end
    assert.equal('"81384788765712384"', core.encode(81384788765712384))
    assert.equal('"-9223372036854775808"', core.encode(math.mininteger))
    assert.equal("9007199254740991", core.encode(9007199254740991))
    assert.equal("-9007199254740991", core.encode(-9007199254740991))
    assert.equal('"9007199254740992"', core.encode(9007199254740992))
    assert.same({ ["81384788765712384"] = 1 }, core.decode '{"81384788765712384":1}')
  end)

  it("floats without a fraction go out as integers as long as that is exact", function()
    assert.equal("3", core.encode(3.0))
    assert.equal("-9007199254740991", core.encode(-9007199254740991.0))
    assert.equal("9007199254740992.0", core.encode(2.0 ^ 53))
    assert.equal("1e+23", core.encode(1e23))
    assert.equal("-0.0", core.encode(-0.0))
    assert.equal("0.1", core.encode(0.1))
  end)

  it("nan and infinities cannot go out", function()
    refused(0 / 0, "EVALUE", "value: nan cannot be sent")
    refused({ 1, math.huge }, "EVALUE", "value[2]: an infinite number cannot be sent")
    refused({ a = -math.huge }, "EVALUE", "value.a: an infinite number cannot be sent")
  end)
end)

describe("value: lists and maps", function()
  it("an empty list carries the mark and goes out as a list, an empty map as a map", function()
    local value = core.decode '{"a":[],"b":{},"c":[[],{}]}'
    assert.is_true(is_marked(value.a))
    assert.is_nil(getmetatable(value.b))
    assert.is_nil(getmetatable(value.c))
    assert.is_true(is_marked(value.c[1]))
    assert.equal("[]", core.encode(value.a))
    assert.equal("{}", core.encode(value.b))
    assert.equal("[[],{}]", core.encode(value.c))
    assert.equal(getmetatable(value.a), getmetatable(core.array()))
  end)

  it("array marks a table, in place", function()
    local list = {}
    assert.equal(list, core.array(list))
    assert.equal("[]", core.encode(list))
    list[1] = "x"
    assert.equal('["x"]', core.encode(list))
    assert.equal(list, core.array(list))
    assert.equal("[]", core.encode(core.array()))
    assert.equal('{"activities":[]}', core.encode { activities = core.array {} })
  end)

  it("array refuses what is no table, and tables with a metatable", function()
    assert.error_matches(function() core.array(1) end, "table expected")
    assert.error_matches(function() core.array(setmetatable({}, {})) end, "metatable of its own")
  end)

  it("the keys decide between list and map", function()
    assert.equal("[1,2,3]", core.encode { 1, 2, 3 })
    assert.equal("[[1],[2]]", core.encode { { 1 }, { 2 } })
    assert.equal('{"1":2}', core.encode { ["1"] = 2 })
    assert.equal("{}", core.encode {})
  end)

  it("mixed and sparse tables and other keys are refused", function()
    local message = "value: a list with holes or other keys cannot be sent"
    refused({ 1, 2, x = 3 }, "EVALUE", message)
    refused({ [2] = 1 }, "EVALUE", message)
    refused({ 1, nil, 3 }, "EVALUE", message)
    refused({ 1, nil, 3, x = 4 }, "EVALUE", message) -- as many keys as its length says
    refused(core.array { 1, nil, 3, x = 4 }, "EVALUE", message)
    refused({ 1, 2, 3, nil, nil, 6 }, "EVALUE", message)
    refused({ [0] = 1 }, "EVALUE", message)
    refused({ [1.5] = 1 }, "EVALUE", message)
    refused(core.array { x = 1 }, "EVALUE", message)
    refused({ [true] = 1 }, "EVALUE", "value: a key that is no text but a boolean cannot be sent")
    refused({ [{}] = 1 }, "EVALUE", "value: a key that is no text but a table cannot be sent")
  end)

  it("metatables are looked past", function()
    local trap = setmetatable({ 1, 2 }, {
      __index = error, __len = error, __pairs = error, __ipairs = error, __name = "moongate.arrow",
    })
    assert.equal("[1,2]", core.encode(trap))
    assert.equal("{}", core.encode(setmetatable({}, { __index = { a = 1 } })))
  end)

  it("of keys that come twice the last one counts, however many stand between", function()
    assert.same({ a = 3, b = 2 }, core.decode '{"a":1,"b":2,"a":3}')
    assert.same({ [""] = 2 }, core.decode '{"":1,"":2}')
    local long = ("k"):rep(40)
    assert.same({ [long] = 2 }, core.decode(('{"%s":1,"%s":2}'):format(long, long)))
    for _, count in ipairs { 3, 40, 100, 600, 3000 } do
      local members, wanted = {}, {}
      for i = 1, count do
        members[i] = ('"k%d":%d'):format(i, i)
        wanted["k" .. i] = i
      end
      members[#members + 1] = '"k1":"last"'
      members[#members + 1] = ('"k%d":"last"'):format(count - 1)
      wanted.k1, wanted["k" .. count - 1] = "last", "last"
      assert.same(wanted, core.decode("{" .. table.concat(members, ",") .. "}"))
    end
  end)

  it("of keys that come twice the last one counts when it is null as well", function()
    for _, rules in ipairs { {}, { invalid_utf8 = "refuse" } } do
      assert.same({ b = 2 }, core.decode('{"a":1,"b":2,"a":null}', rules))
      assert.same({ a = 3 }, core.decode('{"a":1,"a":null,"a":3}', rules))
      assert.same({ a = 3 }, core.decode('{"a":null,"a":3}', rules))
      assert.same({}, core.decode('{"a":1,"b":1,"a":null,"b":null,"a":null}', rules))
      assert.same({ c = { null } }, core.decode('{"c":{"d":1},"c":[null]}', rules))
      local long = ("k"):rep(40)
      assert.same({}, core.decode(('{"%s":1,"%s":null}'):format(long, long), rules))
      for _, count in ipairs { 3, 40, 100, 600, 3000 } do
        local members, wanted = {}, {}
        for i = 1, count do
          members[i] = ('"k%d":%d'):format(i, i)
          wanted["k" .. i] = i
        end
        members[#members + 1] = '"k1":null'
        wanted.k1 = nil
        assert.same(wanted, core.decode("{" .. table.concat(members, ",") .. "}", rules))
      end
    end
    assert.same({ a = null }, core.decode('{"a":1,"a":null}', keep))
    assert.same({ a = 1 }, core.decode('{"a":null,"a":1}', keep))
  end)

  it("and where so much is open that each pair goes into its table at once", function()
    local pad = ("0,"):rep(1000)
    for depth = 1, 6 do
      local function innermost(object, encoding)
        local text = ("[" .. pad):rep(depth) .. object .. ("]"):rep(depth)
        local value = core.decode(text)
        if encoding then
          value = core.decode(core.encode(core.decode(text), encoding), encoding)
        end
        for _ = 1, depth do value = value[1001] end
        return value
      end
      assert.same({ b = 2, c = 3 }, innermost '{"a":1,"b":2,"c":3,"a":null}')
      assert.same({ a = 4, b = 2, c = 3 }, innermost '{"a":1,"b":2,"c":3,"a":4}')
      assert.same({ a = 1, b = 2, c = {} }, innermost('{"a":1,"b":2,"c":[]}',
        { encoding = "etf" }))
    end
  end)

  it("keys are told apart by every byte and their length", function()
    local keys = { "a", "aa", "a\0", "\0a", "a\0\0", "\0\0a", "ab", "ba", "abc", "cba" }
    math.randomseed(40)
    for _ = 1, 3000 do
      local key = {}
      for i = 1, math.random(0, 30) do key[i] = string.char(math.random(97, 98)) end
      keys[#keys + 1] = table.concat(key)
    end
    -- Same four bytes at the front and at the back, but of different lengths.
    for _ = 1, 4000 do
      local pair = string.char(math.random(35, 91), math.random(93, 126))
      for length = 4, 7 do keys[#keys + 1] = pair:rep(4):sub(1, length) end
    end
    for round = 1, 2 do
      for _, key in ipairs(keys) do
        local got = next(core.decode('{"' .. key:gsub("\0", "\\u0000") .. '":1}'))
        if got ~= key then error(("%q came as %q in round %d"):format(key, got, round)) end
      end
    end
  end)

  it("lists and maps of any length come whole, on a bounded stack", function()
    for _, count in ipairs { 1, 2, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 5000, 300000 } do
      local items = {}
      for i = 1, count do items[i] = i end
      local text = "[" .. table.concat(items, ",") .. "]"
      local value = core.decode(text)
      assert.equal(count, #value)
      for i = 1, count do
        if value[i] ~= i then error(("element %d of %d is %s"):format(i, count, value[i])) end
      end
      assert.equal(text, core.encode(value))
    end
    local members = {}
    for i = 1, 20000 do members[i] = ('"%d":[%d]'):format(i, i) end
    local value = core.decode("{" .. table.concat(members, ",") .. "}")
    for i = 1, 20000 do
      if value[tostring(i)][1] ~= i then error("member " .. i) end
    end
  end)

  it("full containers in full containers keep to the stack as well", function()
    -- 100 levels, each with 1000 numbers before and after the next one.
    local numbers = ("7,"):rep(1000)
    local text = "0"
    for _ = 1, 100 do text = "[" .. numbers .. text .. "," .. numbers:sub(1, -2) .. "]" end
    local value, depth = core.decode(text), 0
    while type(value) == "table" do
      assert.equal(2001, #value)
      assert.equal(7, value[1000])
      assert.equal(7, value[2001])
      value, depth = value[1001], depth + 1
    end
    assert.equal(100, depth)
    assert.equal(0, value)
    local wide = {}
    for i = 1, 900 do wide[i] = ('"k%d":%d'):format(i, i) end
    wide = table.concat(wide, ",")
    text = "0"
    for _ = 1, 60 do text = "{" .. wide .. ',"in":' .. text .. "," .. wide .. "}" end
    value, depth = core.decode(text), 0
    while type(value) == "table" do
      assert.equal(900, value.k900)
      value, depth = value["in"], depth + 1
    end
    assert.equal(60, depth)
  end)

  it("takes no more than a few thousand places of the stack", function()
    local numbers, text = ("7,"):rep(1000), "0"
    for _ = 1, 128 do text = "[" .. numbers .. text .. "]" end
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    local thread = coroutine.create(core.decode)
    local _, value = coroutine.resume(thread, text)
    local peak = collectgarbage "count"
    collectgarbage "restart"
    assert.equal(1001, #value)
    thread = nil -- luacheck: ignore
    collectgarbage()
    local kept = collectgarbage "count"
    assert.equal(1001, #value)
    assert.is_true(peak - kept < 512, ("%.0f KiB on the stack"):format(peak - kept))
    assert.is_true(kept - before > 1000)
  end)

  it("works deep in a coroutine and on a nearly full stack", function()
    local function descend(n, ...)
      if n == 0 then return core.decode '{"a":[1,{"b":2}]}' end
      return (descend(n - 1, n, ...))
    end
    local value = coroutine.wrap(function() return descend(150) end)()
    assert.same({ a = { 1, { b = 2 } } }, value)
  end)
end)

describe("value: depth", function()
  it("goes out up to the limit; one more, or a cycle, is refused", function()
    local value = 1
    for _ = 1, 128 do value = { value } end
    assert.equal(("["):rep(128) .. "1" .. ("]"):rep(128), core.encode(value))
    local _, message, code = core.encode { value }
    assert.equal("EDEPTH", code)
    assert.truthy(message:find("%.%.%.: a table nested so deeply %(or in itself%) cannot be sent$"))
    local cycle = {}
    cycle.cycle = cycle
    assert.equal("EDEPTH", select(3, core.encode(cycle)))
    assert.equal(1, #core.decode(("["):rep(128) .. ("]"):rep(128)))
    assert.equal("EDEPTH", select(3, core.decode(("["):rep(129) .. ("]"):rep(129))))
  end)
end)

describe("value: text", function()
  it("that is not UTF-8 passes or is refused coming in, and is refused going out", function()
    assert.equal("\xff", core.decode '"\xff"')
    assert.equal("\xff", core.decode('"\xff"', { invalid_utf8 = "pass" }))
    for _, text in ipairs { '"\xff"', '["\xed\xa0\x80"]', '{"\xc0\xaf":1}', '{"\xff":null}',
      '"\\n\xff"' } do
      local value, message, code = core.decode(text, { invalid_utf8 = "refuse" })
      assert.is_nil(value)
      assert.equal("EUTF8", code)
      assert.truthy(message:find("^decode: not valid UTF%-8"))
    end
    assert.equal("é", core.decode('"é"', { invalid_utf8 = "refuse" }))
    refused("\xff", "EUTF8", "value: text that is not UTF-8 cannot be sent")
    refused({ a = { "\xc3" } }, "EUTF8", "value.a[1]: text that is not UTF-8 cannot be sent")
    refused({ a = { ["\xc3"] = 1 } }, "EUTF8", "value.a: text that is not UTF-8 cannot be sent")
  end)

  it("of any length and content comes back the same", function()
    math.randomseed(41)
    for length = 0, 70 do
      local text = {}
      for i = 1, length do text[i] = utf8.char(math.random(0, 0x2FF)) end
      text = table.concat(text)
      assert.equal(text, core.decode(core.encode(text)))
      assert.same({ [text] = text }, core.decode(core.encode { [text] = text }))
    end
    local long = ('a"\\\n'):rep(200000)
    assert.equal(long, core.decode(core.encode(long)))
  end)
end)

describe("value: what cannot be sent", function()
  it("is named by its path", function()
    refused({ d = { embeds = { {}, {}, { title = print } } } }, "EVALUE",
      "value.d.embeds[3].title: a function cannot be sent")
    refused(print, "EVALUE", "value: a function cannot be sent")
    refused({ coroutine.create(print) }, "EVALUE", "value[1]: a thread cannot be sent")
    refused({ io.stdout }, "EVALUE", "value[1]: a userdata cannot be sent")
    refused({ ["a\nb\u{e9}"] = print }, "EVALUE", "value.a?b??: a function cannot be sent")
  end)

  it("a long path is cut and the reason stays", function()
    local value = print
    for _ = 1, 60 do value = { [("k"):rep(50)] = value } end
    local _, message = core.encode(value)
    assert.truthy(message:find("%.%.%.: a function cannot be sent$"))
    assert.is_true(#message < 300)
  end)

  it("arguments of a wrong kind raise", function()
    assert.error_matches(function() core.decode() end, "string expected")
    assert.error_matches(function() core.decode {} end, "string expected")
    assert.error_matches(function() core.encode() end, "value expected")
    assert.error_matches(function() core.decode("1", 1) end, "table expected")
    assert.error_matches(function() core.decode("1", { nul = "keep" }) end, "unknown option 'nul'")
    assert.error_matches(function() core.decode("1", { "keep" }) end, "unknown option")
    assert.error_matches(function() core.decode("1", { null = "no" }) end, "option 'null': 'no'")
    assert.error_matches(function() core.decode("1", { null = true }) end, "option 'null'")
    assert.error_matches(function() core.encode(1, { encoding = "x" }) end, "option 'encoding'")
    assert.equal("1", core.encode(1, { encoding = "json" }))
  end)
end)

-- ---- Random values against the oracle -----------------------------------------------------------

local function random_text()
  local text = {}
  for i = 1, math.random(0, 24) do
    local kind = math.random(8)
    text[i] = kind == 1 and utf8.char(math.random(0x80, 0xD7FF))
      or kind == 2 and utf8.char(math.random(0x10000, 0x10FFFF))
      or kind == 3 and string.char(math.random(1, 31)) or string.char(math.random(32, 126))
  end
  return table.concat(text)
end

local scalars = {
  function() return math.random(-1000000, 1000000) end,
  function() return math.random(-9007199254740991, 9007199254740991) end,
  function() return math.random() * 10 ^ math.random(-20, 20) end,
  function() return math.random(2) == 1 end,
  function() return null end,
  random_text, random_text, random_text,
}

local function random_value(depth)
  local kind = math.random(depth > 0 and 6 or 4)
  if kind <= 4 then return scalars[math.random(#scalars)]() end
  local value = kind == 5 and core.array {} or {}
  for i = 1, math.random(0, 8) do
    value[kind == 5 and i or random_text()] = random_value(depth - 1)
  end
  return value
end

-- Equal but for what the oracle does not know: integers, and the mark of lists.
local function alike(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not alike(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

describe("value: random structures", function()
  it("come back as they went, with the same kinds of numbers and lists", function()
    math.randomseed(42)
    for _ = 1, 3000 do
      local value = random_value(5)
      local text = assert(core.encode(value))
      local back = core.decode(text, keep)
      assert.is_true(alike(value, back), text)
      assert.is_true(alike(back, core.decode(assert(core.encode(back)), keep)), text)
    end
  end)

  it("mean the same to lua-cjson, in both directions", function()
    math.randomseed(43)
    cjson.encode_number_precision(14)
    for _ = 1, 3000 do
      local value = random_value(4)
      local text = assert(core.encode(value))
      local theirs = cjson.decode("[" .. text .. "]")[1]
      assert.is_true(alike(core.decode(text, keep), theirs), text)
      local again = cjson.encode { theirs }
      assert.is_true(alike(core.decode(again, keep), cjson.decode(again)), again)
    end
  end)
end)

describe("value: what is remembered", function()
  local etf = { encoding = "etf" }

  it("keys that are foreseen are still looked at: cut, in another order, spaced, of any length",
    function()
    local long = ("k"):rep(29)
    local text = '{"user":{"id":1,"' .. long .. '":2,"' .. long .. 'k":3},"n":[{"id":4},{"id":5}]}'
    local wanted = {
      user = { id = 1, [long] = 2, [long .. "k"] = 3 }, n = { { id = 4 }, { id = 5 } },
    }
    for _ = 1, 3 do
      assert.same(wanted, core.decode(text))
      assert.same(wanted, core.decode((text:gsub('":', '"\t:\n'))))
      assert.same(wanted, core.decode(text .. (" "):rep(40)))
      assert.same({ n = 1, user = { [long .. "k"] = 2, id = 3, [long] = 4 } }, core.decode(
        '{"n":1,"user":{"' .. long .. 'k":2,"id":3,"' .. long .. '":4}}'))
      for length = 0, #text - 1 do
        local value, _, code = core.decode(text:sub(1, length))
        assert.is_nil(value)
        assert.equal("ESYNTAX", code)
      end
    end
    for i = 1, #text do -- whatever stands in the place of a byte
      local changed = text:sub(1, i - 1) .. "#" .. text:sub(i + 1)
      local fine, theirs = pcall(cjson.decode, changed)
      if fine then
        assert.same(theirs, core.decode(changed))
      else
        assert.is_nil(core.decode(changed), changed)
      end
    end
  end)

  it("a key that has to be escaped is refused as it is, however often it came", function()
    for _, key in ipairs { 'a"b', "a\\b", "a\nb" } do
      local written = core.encode({ [key] = 1 })
      for _ = 1, 3 do
        assert.same({ [key] = 1 }, core.decode(written))
        assert.same({ [key] = 1 }, core.decode(core.encode({ [key] = 1 }, etf), etf))
      end
      if key ~= "a\\b" then assert.is_nil((core.decode('{"' .. key .. '":1}'))) end
    end
  end)

  it("a key that is no UTF-8 is refused where it should be, however often it passed", function()
    for _ = 1, 3 do core.decode '{"\xff":null,"\xfe":1}' end
    for _, text in ipairs { '{"\xff":null}', '{"\xff":1}' } do
      local _, _, code = core.decode(text, { invalid_utf8 = "refuse" })
      assert.equal("EUTF8", code)
    end
  end)

  it("a null leaves a key that came before it out, and one of another object alone", function()
    for _ = 1, 3 do
      assert.same({ b = 2 }, core.decode '{"a":1,"b":2,"a":null}')
      assert.same({ a = 1, b = {} }, core.decode '{"a":1,"b":{"a":null}}')
      assert.same({ a = null, b = 1 }, core.decode('{"a":null,"b":1}', keep))
      local term = core.encode({ a = 1, b = { a = null } }, etf)
      assert.same({ a = 1, b = {} }, core.decode(term, etf))
    end
  end)
end)

describe("value: memory", function()
  it("a finaliser that decodes and encodes in the middle of a value does no harm", function()
    local ran, text = 0, '{"a":["\\n' .. ("x"):rep(50) .. '",{"b":["\\t",2]}],"c":"\\"d"}'
    local wanted = { a = { "\n" .. ("x"):rep(50), { b = { "\t", 2 } } }, c = '"d' }
    local function bait()
      setmetatable({}, { __gc = function()
        ran = ran + 1
        assert(alike(wanted, core.decode(text)))
        assert(core.encode { "\n\n\n", { 1 } } == '["\\n\\n\\n",[1]]')
        if ran < 400 then bait() end
      end })
    end
    local pause = collectgarbage("setpause", 10)
    for _ = 1, 40 do bait() end
    local rounds = 0
    while ran < 400 and rounds < 400000 do
      rounds = rounds + 1
      if not alike(wanted, core.decode(text)) then error "a value was harmed" end
    end
    collectgarbage("setpause", pause)
    collectgarbage()
    assert.is_true(ran >= 400)
  end)

  it("decoding and encoding leave nothing behind", function()
    local text = '{"a":["\\n",1,{"b":[]}],"c":"' .. ("x"):rep(400000) .. '\\n"}'
    local function work()
      for _ = 1, 20 do
        local value = core.decode(text)
        core.encode(value)
        core.decode(text .. "x")
        core.encode { value, print }
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    work()
    local before = work()
    assert.is_true(work() - before < 16)
  end)

  it("a long text leaves no memory of C behind", function()
    local heap = require("moongate_unit").json.heap
    if not heap() then return pending "the C library does not say what is allocated" end
    local function check(work)
      collectgarbage()
      collectgarbage()
      local before = heap()
      work('"\\n' .. ("x"):rep(4 * 1024 * 1024) .. '"')
      collectgarbage()
      collectgarbage()
      assert.is_true(heap() - before < 1024 * 1024)
    end
    check(function(text) assert.equal(#text - 3, #core.decode(text)) end)
    check(function(text) assert.equal(#text + 5, #core.encode(text)) end) -- three escapes, quotes
  end)

  it("an error leaves the stack of the caller as it was", function()
    local a, b, c = "a", core.decode '[1,{"x":[2,"\\n', "c"
    assert.same({ "a", nil, "c" }, { a, b, c })
    assert.same({ 1, 2 }, { 1, (function() core.encode { { { print } } } return 2 end)() })
  end)
end)

-- lua_lazy.c: tables that decode what is touched behave as the decoded ones, whatever is done to
-- them, and cost what is touched. The eager decoder is the oracle.
local core = require "moongate.core"
local moongate = require "moongate"
local witness = require "witness"

local null = core.null
local pad = ("p"):rep(1100) -- makes a container too long to be decoded at once

local function is_lazy(value)
  return getmetatable(value) == "moongate.lazy"
end

local function lazy(text, rules)
  local value = assert(core.lazy(text, rules))
  assert(is_lazy(value), "decoded at once: " .. text)
  return value
end

-- ---- Looking in different ways ------------------------------------------------------------------

local look = {}

-- Each function compares a lazy value with the eager one and says where they differ.
local function differ(how, a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" then
    if a == b and math.type(a) == math.type(b) then return nil end
    return ("%s: %s and %s"):format(path, tostring(a), tostring(b))
  end
  return look[how](a, b, path)
end

function look.index(a, b, path)
  for key, value in next, b do
    local found = differ("index", a[key], value, path .. "." .. tostring(key))
    if found then return found end
  end
  for _, key in ipairs { "", "no such key", 0, -1, 1.5, #b + 1, true } do
    if b[key] == nil and a[key] ~= nil then return path .. " has " .. tostring(key) end
  end
end

function look.backwards(a, b, path)
  local keys = {}
  for key in next, b do keys[#keys + 1] = key end
  for i = #keys, 1, -1 do
    local found = differ("backwards", a[keys[i]], b[keys[i]], path .. "." .. tostring(keys[i]))
    if found then return found end
  end
end

function look.pairs(a, b, path)
  local count = 0
  for key, value in pairs(a) do
    count = count + 1
    local found = differ("pairs", value, b[key], path .. "." .. tostring(key))
    if found then return found end
  end
  for _ in next, b do count = count - 1 end
  if count ~= 0 then return path .. " has another number of members" end
end

function look.ipairs(a, b, path)
  if #a ~= #b then return ("%s is %d long, not %d"):format(path, #a, #b) end
  local count = 0
  for i, value in ipairs(a) do
    count = count + 1
    local found = differ("ipairs", value, b[i], ("%s[%d]"):format(path, i))
    if found then return found end
  end
  if count ~= #b then return ("%s ends after %d"):format(path, count) end
  for key, value in pairs(b) do
    local found = type(key) == "string" and differ("ipairs", a[key], value, path .. "." .. key)
    if found then return found end
  end
end

function look.decoded(a, b, path)
  if getmetatable(a) ~= getmetatable(b) then return path .. " has another metatable" end
  for key, value in next, b do
    local found = differ("decoded", rawget(a, key), value, path .. "." .. tostring(key))
    if found then return found end
  end
  for key in next, a do
    if b[key] == nil then return path .. " has " .. tostring(key) end
  end
end

local ways = { "index", "backwards", "pairs", "ipairs", "decoded" }

local function expect_equal(text, rules)
  local eager = core.decode(text, rules)
  for _, how in ipairs(ways) do
    local value = core.lazy(text, rules)
    if how == "decoded" then core.decoded(value) end
    local found = differ(how, value, eager, "value")
    if found then error(("%s: %s: %s"):format(how, found, text:sub(1, 400)), 2) end
    -- What was looked at that way is the whole value in the other ways as well.
    found = differ("decoded", core.decoded(value), eager, "decoded")
    if found then error(("%s, then decoded: %s: %s"):format(how, found, text:sub(1, 400)), 2) end
  end
end

-- ---- Random values ------------------------------------------------------------------------------

local function random_text()
  local kind = math.random(6)
  if kind == 1 then return '"\\u00e9\\n\\"\\\\"' end
  if kind == 2 then return '"' .. ("[{\\\"}],:"):rep(math.random(12)) .. '"' end
  if kind == 3 then return '"' .. ("x"):rep(math.random(0, 300)) .. '"' end
  return ('"k%d"'):format(math.random(40))
end

local scalars = {
  function() return tostring(math.random(-5000, 5000)) end,
  function() return tostring(math.random(1 << 40, 1 << 60)) end,
  function() return ("%.17g"):format(math.random() * 10.0 ^ math.random(-9, 9)) end,
  function() return "true" end, function() return "false" end, function() return "null" end,
  random_text, random_text, random_text,
}

local function space()
  return math.random(9) == 1 and (" \n\r\t"):sub(1, math.random(4)) or ""
end

local function random_value(depth)
  local kind = depth > 0 and math.random(8) or 8
  if kind > 4 and depth < 4 then return scalars[math.random(#scalars)]() end
  local list, members = kind % 2 == 0, {}
  for i = 1, math.random(0, depth == 5 and 12 or 4) do
    members[i] = space() .. (list and "" or random_text() .. space() .. ":" .. space())
      .. random_value(depth - 1) .. space()
  end
  if depth == 5 then members[#members + 1] = (list and "" or '"pad":') .. '"' .. pad .. '"' end
  if list and members[1] and math.random(2) == 1 then table.insert(members, 1, "{}") end
  return (list and "[%s%s]" or "{%s%s}"):format(space(), table.concat(members, ","))
end

describe("lazy: every way to look", function()
  it("shows what the eager decoder shows, for random values with every rule", function()
    math.randomseed(50)
    for _ = 1, 600 do
      local text = random_value(5)
      local term = core.encode(core.decode(text, { null = "keep" }), { encoding = "etf" })
      for _, rules in ipairs { {}, { null = "keep" }, { invalid_utf8 = "refuse" } } do
        expect_equal(text, rules)
        rules.encoding = "etf"
        expect_equal(term, rules)
      end
    end
  end)

  it("shows it for what is longer than its tables", function()
    for _, count in ipairs { 1, 2, 255, 256, 257, 300, 2000 } do
      local members, elements = {}, {}
      for i = 1, count do
        members[i] = ('"k%d":{"n":%d,"pad":"%s"}'):format(i, i, pad)
        elements[i] = ('{"n":%d,"pad":"%s"}'):format(i, pad)
      end
      expect_equal("{" .. table.concat(members, ",") .. "}")
      expect_equal("[" .. table.concat(elements, ",") .. "]")
      expect_equal(('{"deep":{%s},"list":[%s]}'):format(table.concat(members, ","),
        table.concat(elements, ",")))
    end
  end)

  it("takes the last of keys that come twice, also when it is null", function()
    for _, text in ipairs {
      '{"a":1,"b":"%s","a":2}', '{"a":1,"b":"%s","a":null}', '{"a":null,"b":"%s","a":2}',
      '{"a":{"c":1},"b":"%s","a":[{}],"a":3}', '{"a":1,"\\u0061":2,"b":"%s"}',
      '{"\\u0061":1,"b":"%s","a":null}', '{"":1,"b":"%s","":2}',
    } do
      expect_equal(text:format(pad))
      expect_equal(text:format(pad), { null = "keep" })
      expect_equal(('{"x":[%s],"y":%s}'):format(text:format(pad), text:format(pad)))
    end
  end)

  it("tells keys apart that are alike", function()
    local members = {}
    for length = 1, 30 do
      for _, key in ipairs { ("a"):rep(length), ("a"):rep(length - 1) .. "b",
        "b" .. ("a"):rep(length - 1) } do
        members[#members + 1] = ('"%s":"%d%s"'):format(key, length, key)
      end
    end
    expect_equal("{" .. table.concat(members, ",") .. "}")
  end)
end)

describe("lazy: what is touched", function()
  it("alone is decoded", function()
    local value = lazy('{"a":1,"broken":{"x":[tru,"' .. pad .. '"]},"b":{"c":"' .. pad .. '"}}')
    assert.equal(1, value.a)
    assert.equal(pad, value.b.c)
    assert.is_true(is_lazy(value.b))
    assert.is_true(is_lazy(value.broken))
    assert.error_matches(function() return value.broken.x end, "decode: malformed payload")
    assert.error_matches(function() return value.broken.x end, "decode: malformed payload")
    assert.error_matches(function() core.decoded(value) end, "decode: malformed payload")
    assert.equal(1, value.a)
  end)

  it("is the same value each time", function()
    local value = lazy(('{"a":{"b":{"c":"%s"}},"l":[{"d":"%s"}],"s":["%s"]}'):format(pad, pad, pad))
    for _, key in ipairs { "a", "l", "s" } do assert.equal(value[key], value[key]) end
    local a, first, roles = value.a, value.l[1], value.s
    assert.equal(a.b, value.a.b)
    core.decoded(value)
    assert.equal(a, value.a)
    assert.equal(first, value.l[1])
    assert.equal(roles, value.s)
    assert.is_false(is_lazy(a) or is_lazy(first))
  end)

  it("small things, scalars and lists of scalars are what they are", function()
    assert.is_nil(getmetatable(core.lazy '{"a":1}'))
    assert.equal(7, core.lazy "7")
    assert.is_nil((core.lazy "null"))
    assert.equal(null, core.lazy("null", { null = "keep" }))
    assert.equal(300, #core.lazy("[" .. ("1,"):rep(299) .. "1]"))
    local value = lazy('{"empty":[],"none":{},"small":{"a":1},"pad":"' .. pad .. '"}')
    assert.equal("[]", core.encode(value.empty))
    assert.equal("{}", core.encode(value.none))
    assert.is_nil(getmetatable(value.small))
  end)

  it("is what has more than 320 bytes: a few touches of less cost as much as the whole", function()
    local function event(bytes) return core.encode { a = ("x"):rep(bytes - 8) } end
    assert.equal(320, #event(320))
    assert.is_false(is_lazy(core.lazy(event(320))))
    assert.is_true(is_lazy(core.lazy(event(321))))
  end)

  it("must be JSON at its outermost level", function()
    local rest = '"pad":"' .. pad .. '"}'
    for text, code in pairs {
      ['{"a":1,' .. rest .. "x"] = "ESYNTAX", ['{"a":1' .. rest] = "ESYNTAX",
      ['{"a",' .. rest] = "ESYNTAX", ['{"a\n":1,' .. rest] = "ESYNTAX",
      ["{1:1," .. rest] = "ESYNTAX", ['{' .. rest .. "}"] = "ESYNTAX",
      ['{"a":01,' .. rest] = "ESYNTAX", ['{"a":,' .. rest] = "ESYNTAX",
      ['[{"a":1},' .. pad] = "ESYNTAX", ['[{"a":1} 1,' .. rest .. "]"] = "ESYNTAX",
      [("["):rep(129) .. ("]"):rep(129)] = "EDEPTH", [""] = "ESYNTAX", ["{"] = "ESYNTAX",
      ['{"a":' .. ("["):rep(128) .. ("]"):rep(128) .. "," .. rest] = "EDEPTH",
    } do
      local value, message, name = core.lazy(text)
      assert.is_nil(value)
      assert.equal(code, name)
      assert.matches("^lazy: ", message)
    end
  end)

  it("must be a term at its outermost level", function()
    local etf, pack = { encoding = "etf" }, string.pack
    local padded = pack(">Bs1Bs4", 115, "pad", 109, pad) -- a pair
    local function map(pairs, count) return pack(">BBI4", 131, 116, count) .. pairs .. padded end
    local one = "s\1aa\1"
    for term, code in pairs {
      [map(one, 2) .. "x"] = "ESYNTAX", [map(one, 3)] = "ESYNTAX", [map(one, 1)] = "ESYNTAX",
      [map("a\1", 2)] = "ESYNTAX", [map("\70\1a\1", 2)] = "ESYNTAX", [map("s\9a", 2)] = "ESYNTAX",
      ["\131l\0\0\0\1" .. map("", 1):sub(2) .. "k"] = "ESYNTAX",
      [("\131" .. ("l\0\0\0\1"):rep(129) .. ("j"):rep(130))] = "EDEPTH",
      [map("s\1a" .. ("l\0\0\0\1"):rep(128) .. ("j"):rep(129), 2)] = "EDEPTH",
      ["\131"] = "ESYNTAX", [""] = "ESYNTAX", ["\131t"] = "ESYNTAX",
    } do
      local value, message, name = core.lazy(term, etf)
      assert.is_nil(value)
      assert.equal(code, name, ("%q"):format(term:sub(1, 30)))
      assert.matches("^lazy: ", message)
    end
    assert.equal("EUTF8", select(3, core.lazy(map("m\0\0\0\1\255a\1", 2),
      { encoding = "etf", invalid_utf8 = "refuse" })))
    assert.error_matches(function() core.lazy("\131j", { encoding = "xml" }) end,
      "option 'encoding': 'xml'")
  end)

  it("of a term is found under keys of every kind, and decoded alone", function()
    local etf, pack = { encoding = "etf" }, string.pack
    local padding = pack(">Bs4", 109, pad)
    local function map(...)
      return pack(">BI4", 116, select("#", ...)) .. table.concat { ... }
    end
    local inner = map("s\1x" .. padding, "s\1y\255") -- a tag that there is not
    local text = "\131" .. map("s\1aa\1", "w\2\xc3\xa9a\2", "d\0\1ba\3", "v\0\1ca\4",
      "m\0\0\0\1da\5", "s\1ns\3nil", "s\1is\2hi", "s\1fs\5false", "s\1lj",
      "s\1tk\0\2\7\8", "s\3bign\8\0" .. pack("<I8", 1 << 60), "s\1p" .. padding)
    expect_equal(text, etf)
    expect_equal(text, { encoding = "etf", null = "keep" })
    assert.is_true(is_lazy(core.lazy(text, etf)))
    assert.is_true(is_lazy(core.lazy(text:sub(2), etf))) -- as the data of an event comes
    -- What is found under another name than its bytes is decoded at once, and so is a key twice.
    for _, pairs in ipairs { { "s\1\233a\1" }, { "a\7a\1" }, { "s\1aa\1", "m\0\0\0\1aa\2" },
      { "s\1aa\1", "s\1as\3nil" } } do
      local term = "\131" .. map("s\1p" .. padding, table.unpack(pairs))
      assert.is_false(is_lazy(core.lazy(term, etf)))
      expect_equal(term, etf)
      expect_equal("\131" .. map("s\1t" .. term:sub(2), "s\1p" .. padding), etf)
    end
    local broken = "s\1q" .. map("s\1x" .. padding, "s\1yc" .. ("\0"):rep(31)) -- no number
    local value = core.lazy("\131" .. map("s\1aa\1", broken, "s\1p" .. padding), etf)
    assert.equal(1, value.a)
    assert.is_true(is_lazy(value.q))
    assert.equal(pad, value.q.x)
    assert.error_matches(function() return value.q.y end, "decode: malformed payload")
    assert.error_matches(function() core.decoded(value) end, "decode: malformed payload")
    assert.is_nil((core.lazy("\131" .. map("s\1q" .. inner, "s\1p" .. padding), etf)))
  end)

  it("must be UTF-8 where that is asked for", function()
    local rules = { invalid_utf8 = "refuse" }
    assert.equal("EUTF8", select(3, core.lazy('{"\xff":1,"pad":"' .. pad .. '"}', rules)))
    local text = '{"a":"\xff","b":{"c":"\xff","pad":"' .. pad .. '"},"d":"\u{e9}"}'
    local value = lazy(text, rules)
    assert.equal("\u{e9}", value.d)
    assert.error_matches(function() return value.a end, "not valid UTF%-8")
    assert.error_matches(function() return value.b.c end, "not valid UTF%-8")
    assert.equal("\xff", lazy(text).a)
  end)

  it("outlives everything that it came from, and the collector counts its bytes", function()
    local function make()
      return lazy(('{"a":{"b":"%d"},"c":"%s","d":{"e":{"f":"%s"}}}'):format(7,
        ("x"):rep(1000000), pad))
    end
    collectgarbage()
    collectgarbage()
    local before = collectgarbage "count"
    local value = make()
    collectgarbage()
    assert.is_true(collectgarbage "count" - before > 900)
    local below = value.d.e
    value = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(pad, below.f)
    below = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 100)
  end)
end)

describe("lazy: what is written", function()
  local map = ('{"a":1,"b":{"c":2,"pad":"%s"},"n":null}'):format(pad)
  local list = ('[{"a":1,"pad":"%s"},{"a":2,"pad":"%s"},{"a":3}]'):format(pad, pad)

  -- Does the same to the lazy value and to the eager one.
  local function both(text, change)
    local eager = core.decode(text)
    local wanted = table.pack(change(eager))
    for _, before in ipairs { "untouched", "touched", "walked" } do
      local value = lazy(text)
      if before == "touched" then
        assert(value.a or value[1])
        assert(value.b == nil or value.b.c == 2)
      elseif before == "walked" then
        for _ in pairs(value) do assert(true) end
      end
      local results = table.pack(change(value))
      for i = 1, wanted.n do
        if type(wanted[i]) ~= "table" then assert.equal(wanted[i], results[i], before) end
      end
      local found = differ("decoded", core.decoded(value), eager, before)
      assert(not found, found)
    end
  end

  it("replaces, adds and takes away, touched before or not", function()
    both(map, function(t) t.a = 5 return t.a end)
    both(map, function(t) t.a = nil return t.a end)
    both(map, function(t) t.a = nil t.a = 6 return t.a end)
    both(map, function(t) t.a = 6 t.a = nil return t.a, t.a end)
    both(map, function(t) t.new = true return t.new end)
    both(map, function(t) t.new = nil return t.new end)
    both(map, function(t) t.b = { c = 3 } return t.b.c end)
    both(map, function(t) t.b.c = nil return t.b.c, t.b.pad end)
    both(map, function(t) t.n = 1 return t.n end)
    both(map, function(t) t[1], t[2] = "x", "y" return #t, t[1], t[2], t[3] end)
    both(map, function(t) t.a, t.b, t.n = nil, nil, nil return next(core.decoded(t)) end)
    both(map, function(t) t[1.0] = "x" return t[1] end)
  end)

  it("works on lists with the functions of table", function()
    both(list, function(t) t[#t + 1] = 4 return #t, t[4] end)
    both(list, function(t) table.insert(t, 4) return #t end)
    both(list, function(t) table.insert(t, 1, 0) return #t, t[1], t[2].a end)
    both(list, function(t) return table.remove(t).a, #t end)
    both(list, function(t) return table.remove(t, 1).a, #t, t[1].a end)
    both(list, function(t) t[#t] = nil t[#t] = nil return #t end)
    both(list, function(t) for i = 1, 3 do t[i] = t[i].a end return table.concat(t, " ") end)
    both(list, function(t) table.sort(t, function(x, y) return x.a > y.a end) return t[1].a end)
    both(list, function(t) return select("#", table.unpack(t)) end)
    both(list, function(t) t.x = 1 return #t, t.x end)
    both(list, function(t) t[7] = 1 return t[7], t[1].a end)
    both(list, function(t) t[2.0] = 1 return t[2], #t end)
    both(list, function(t) t[0] = 1 return t[0], #t end)
  end)

  -- In a process of its own, whose collector has little else to do. Each way touches a table for
  -- the first time in which a finaliser, meanwhile, assigns to a member and takes another one away.
  it("counts when it is a finaliser's, in the middle of the first touch", function()
    local said, _, status = witness.program [[
      local core = require "moongate.core"
      local pad = ("p"):rep(1100)
      local few = '"kept":{"pad":"' .. pad .. '"},"gone":1,"mine":2,"b":[1],"pad":"' .. pad .. '"'
      local many = { few }
      for i = 1, 300 do many[#many + 1] = ('"k%d":%d'):format(i, i) end
      local texts = { few, table.concat(many, ",") } -- the second one is decoded whole
      local ways = {
        function(t) return t.b end,
        function(t) t.new = 1 end,
        function(t) for _ in pairs(t) do break end end,
        function(t) core.decoded(t) end,
        function(t) return t.mine end,
      }
      local prey, ran
      local function bait()
        setmetatable({}, { __gc = function()
          if prey then prey.mine, prey.gone, ran, prey = "assigned", nil, true, nil end
          bait()
        end })
      end
      for _ = 1, 2000 do bait() end
      collectgarbage("incremental", 10, 1000, 4) -- a step for every few bytes
      for nth, text in ipairs(texts) do
        for way, touch in ipairs(ways) do
          local hits, rounds = 0, 0
          while hits < 3 and rounds < 20000 do
            rounds = rounds + 1
            local outer = core.lazy('{"pad":"' .. pad .. '","t":{' .. text .. "}}")
            local t = outer.t
            ran, prey = false, t
            touch(t)
            prey = nil
            if ran then
              hits = hits + 1
              local function check() return t.mine == "assigned" and t.gone == nil end
              local fine = check()
              core.decoded(outer)
              if not (fine and check() and t.kept.pad == pad and t.b[1] == 1) then
                error(("text %d, way %d: lost"):format(nth, way))
              end
            end
          end
          if hits < 3 then error(("text %d, way %d: no finaliser ran"):format(nth, way)) end
        end
      end
      print "all kept"
    ]]
    assert.equal(0, status, said)
    assert.equal("all kept\n", said)
  end)

  it("takes no nil as a key, and keeps its metatable", function()
    local value = lazy(map)
    assert.has_error(function() value[nil] = 1 end)
    assert.is_nil(value[nil])
    assert.has_error(function() setmetatable(value, {}) end)
    assert.equal(1, value.a)
  end)

  it("goes out whole, however little was touched", function()
    local function same(value)
      assert.same(core.decode(map), core.decode(core.encode(value)))
    end
    same(lazy(map))
    local value = lazy(map)
    assert(value.b.c == 2)
    same(value)
    same(core.encode(core.decoded(lazy(map))) and core.decoded(lazy(map)))
    assert.same(core.decode(list), core.decode(core.encode(lazy(list))))
    local outer = { d = lazy(map), l = { lazy(list) } }
    assert.same(core.decode(list), core.decode(core.encode(outer)).l[1])
    local broken = lazy('{"a":1,"b":{"x":[tru,"' .. pad .. '"]}}')
    local text, message, code = core.encode { d = broken }
    assert.is_nil(text)
    assert.equal("EVALUE", code)
    assert.equal("encode: value.d.b: a lazy table that could not be decoded cannot be sent",
      message)
  end)

  -- What is made of a lazy table on the way may let finalisers run. In a process of its own, whose
  -- collector has little else to do; without a finaliser, what is said is the rule for the others.
  local littered = [[
    local core = require "moongate.core"
    local engine = assert(core.engine {})
    assert(engine:start { token = "t", url = "ws://127.0.0.1:1", encoding = "etf", shard_id = 0,
      shard_count = 1, intents = 1 })
    local ran, finaliser = 0, nil
    local function litter()
      setmetatable({}, { __gc = function()
        if not finaliser then return end
        ran = ran + 1
        finaliser()
        litter()
      end })
    end
    local items = {}
    for i = 1, 3000 do items[i] = '{"n":' .. i .. ',"m":{"k":["a","b"]}}' end
    local text = '{"all":[' .. table.concat(items, ",") .. "]}"
    local function send(with)
      for _ = 1, 50 do litter() end
      local value = { before = "x", list = core.lazy(text) }
      finaliser = with
      local _, message = engine:send(0, 4, value)
      finaliser = nil
      return message
    end
  ]]

  it("is sent whole where finalisers send meanwhile", function()
    local said, _, status = witness.program(littered .. [[
      local expected = send()
      for _ = 1, 20 do
        local message = send(function() engine:send(0, 4, { x = 1 }) end)
        if message ~= expected then error(message .. " in place of " .. expected) end
      end
      print(ran > 0, expected:match "bytes, at most")
    ]])
    assert.equal(0, status, said)
    assert.equal("true\tbytes, at most\n", said)
  end)

  it("is not sent where a finaliser closes the engine meanwhile", function()
    local said, _, status = witness.program(littered .. [[
      local message
      for _ = 1, 20 do
        message = send(function() engine:close() end)
        if ran > 0 then break end
      end
      print(ran > 0, message)
    ]])
    assert.equal(0, status, said)
    assert.truthy(said:find("^true\tsend: not running"), said)
  end)

  it("array() makes it a list that goes out as one", function()
    local value = core.array(lazy(list))
    for i = #value, 1, -1 do value[i] = nil end
    assert.equal("[]", core.encode(value))
  end)
end)

describe("lazy: decoded()", function()
  it("leaves everything else as it is", function()
    for _, value in ipairs { 1, "x", true, print, null } do
      assert.equal(value, core.decoded(value))
    end
    assert.is_nil(core.decoded(nil))
    assert.error_matches(function() core.decoded() end, "value expected")
    local plain = { 1, { 2 } }
    assert.equal(plain, core.decoded(plain))
    assert.same({ 1, { 2 } }, plain)
  end)

  it("finds lazy tables in plain ones, and its way out of knots", function()
    local text = ('{"a":{"b":"%s"},"l":[{"c":"%s"}]}'):format(pad, pad)
    local value = lazy(text)
    for _ in pairs(value) do assert(true) end
    assert.is_true(is_lazy(value.a) and is_lazy(value.l))
    value.self, value.a.up = value, value
    local outer = { { value } }
    assert.equal(outer, core.decoded(outer))
    assert.is_false(is_lazy(value.a) or is_lazy(value.l) or is_lazy(value.l[1]))
    assert.equal(value, value.a.up)
  end)

  it("refuses what is nested without an end", function()
    local value = {}
    for _ = 1, 5000 do value = { value } end
    assert.error_matches(function() core.decoded(value) end, "nested too deeply")
  end)
end)

describe("lazy: arguments", function()
  it("of a wrong kind raise", function()
    assert.error_matches(function() core.lazy() end, "string expected")
    assert.error_matches(function() core.lazy("1", { nul = "keep" }) end, "unknown option 'nul'")
  end)

  it("methods of the metatable take no other table", function()
    local metatable = debug.getmetatable(lazy('{"a":"' .. pad .. '"}'))
    assert.equal(1, metatable.__index({ x = 1 }, "x"))
    assert.equal(2, metatable.__len { 1, 2 })
    assert.has_error(function() metatable.__index("x", 1) end)
  end)
end)

describe("lazy: listeners #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local message = { content = pad, channel_id = "1", author = { id = "3", username = pad } }

  local function start(options)
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord, options))
  end

  it("get a table that decodes what is touched, beside eager and raw ones", function()
    start()
    local shard, got = bot.shards[0], {}
    local function keep(name)
      return function(data) got[name] = data end
    end
    bot:on("MESSAGE_CREATE", keep "lazy", { lazy = true })
    bot:once("MESSAGE_CREATE", keep "once", { lazy = true })
    bot:on("MESSAGE_CREATE", keep "raw", { raw = true })
    bot:on("MESSAGE_CREATE", keep "eager")
    bot:on("MESSAGE_CREATE", keep "late", { lazy = true })
    bot:on("*", keep "all", { lazy = true })
    shard:on("MESSAGE_CREATE", keep "shard", { lazy = true })
    shard:on("MESSAGE_CREATE", keep "shard raw", { raw = true })
    discord:dispatch("MESSAGE_CREATE", message)
    witness.await(bot, "the message", function() return got.all end)
    -- One lazy table, one text; and once it had been decoded for somebody, that for the rest.
    assert.is_true(is_lazy(got.lazy))
    assert.equal(got.lazy, got.once)
    assert.equal(got.lazy, got.shard)
    assert.is_nil(getmetatable(got.eager))
    assert.equal(got.eager, got.late)
    assert.equal(got.eager, got.all)
    assert.equal(got.raw, got["shard raw"])
    -- Long after the handlers have returned.
    for _ = 1, 20 do
      discord:dispatch("MESSAGE_CREATE", { content = "other", channel_id = "1" })
    end
    witness.await(bot, "the others", function() return got.eager.content == "other" end)
    collectgarbage()
    assert.equal("other", got.lazy.content)
    local found = differ("decoded", moongate.decoded(got.lazy), core.decode(got.raw), "data")
    assert(not found, found)
  end)

  it("keep what they got for as long as they like", function()
    start { null = "keep" }
    local kept = {}
    bot:on("MESSAGE_CREATE", function(data) kept[#kept + 1] = data end, { lazy = true })
    for i = 1, 200 do
      discord:dispatch("MESSAGE_CREATE", { content = pad, nonce = i, nothing = null,
        channel_id = "1", author = { id = tostring(i), username = pad } })
    end
    witness.await(bot, "the messages", function() return #kept == 200 end)
    collectgarbage()
    for i, data in ipairs(kept) do
      assert.is_true(is_lazy(data))
      assert.equal(tostring(i), data.author.id)
      assert.equal(i, data.nonce)
      assert.equal(null, data.nothing)
    end
  end)

  it("wait and loop with what they ask for, and may send it on", function()
    start()
    moongate.spawn(function()
      for _ = 1, 50 do
        discord:dispatch("MESSAGE_CREATE", message)
        moongate.sleep(0.02)
      end
    end)
    local data = bot:wait_for("MESSAGE_CREATE", { timeout = 5, lazy = true,
      filter = function(m) return is_lazy(m) and m.content == pad end })
    assert.is_true(is_lazy(data))
    local looped = 0
    for _, later in bot:events { "MESSAGE_CREATE", lazy = true } do
      assert.is_true(is_lazy(later))
      looped = looped + 1
      if looped == 2 then break end
    end
    assert(bot.shards[0]:send(4, { guild_id = "1", channel_id = "2", nested = data }))
    witness.await(bot, "what was sent", function()
      return #discord:received "VOICE_STATE_UPDATE" == 1
    end)
    assert.equal(pad, discord:received("VOICE_STATE_UPDATE")[1].d.nested.author.username)
  end)

  it("get the same from another encoding: text made anew, and a lazy table", function()
    start { encoding = "etf" }
    local raw, value
    bot:on("MESSAGE_CREATE", function(data) raw = data end, { raw = true })
    bot:on("MESSAGE_CREATE", function(data) value = data end, { lazy = true })
    discord:dispatch("MESSAGE_CREATE", message)
    witness.await(bot, "the message", function() return value end)
    assert.is_true(is_lazy(value))
    assert.equal(pad, value.author.username)
    assert.same(moongate.decoded(value), core.decode(raw))
  end)

  it("that fail on malformed data are told, and the session goes on", function()
    start { compress = false }
    local problem, last
    bot:on("error", function(data) problem = data end)
    bot:on("MESSAGE_CREATE", function(data) last = data.author.username end, { lazy = true })
    discord:send_raw { '{"op":0,"s":100,"t":"MESSAGE_CREATE","d":{"author":{"username":tru,"x":"'
      .. pad .. '"}}}' }
    witness.await(bot, "the error", function() return problem end)
    assert.equal("handler", problem.phase)
    assert.matches("decode: malformed payload", problem.message)
    problem = nil
    discord:send_raw { '{"op":0,"s":101,"t":"MESSAGE_CREATE","d":{"author":,"x":"'
      .. pad .. '"}}' }
    witness.await(bot, "the other error", function() return problem end)
    assert.equal("decode", problem.phase)
    discord:send_raw { '{"op":0,"s":102,"t":"MESSAGE_CREATE","d":{"author":{"username":"a","x":"'
      .. pad .. '"}}}' }
    witness.await(bot, "the next message", function() return last == "a" end)
    assert.equal("ready", bot.shards[0].state)
  end)
end)

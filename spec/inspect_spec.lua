-- inspect.lua: values as a person reads them, whole and in one line.

local core = require "moongate.core"
local inspect = require "moongate.inspect"
local moongate = require "moongate"

describe("inspect: a value", function()
  it("is written as Lua would have it", function()
    assert.equal("1", inspect.value(1))
    assert.equal("1.5", inspect.value(1.5))
    assert.equal("nil", inspect.value(nil))
    assert.equal("true", inspect.value(true))
    assert.equal("null", inspect.value(moongate.null))
    assert.equal([["say \"hi\"\n\x00\\"]], inspect.value 'say "hi"\n\0\\')
    assert.equal("{}", inspect.value {})
    assert.equal("{ 1, 2, x = 3 }", inspect.value { 1, 2, x = 3 })
    assert.equal('{ ["a b"] = 1, ["end"] = 2 }', inspect.value { ["a b"] = 1, ["end"] = 2 })
  end)

  it("never sends what a terminal would obey", function()
    local text = inspect.value { ["\27[2J"] = "\27[31m\155\r", a = "\127" }
    assert.is_nil(text:find "[%z\1-\9\11-\31\127]")
    assert.equal([["\u{9B}31m \u{202E} \u{2066}"]], inspect.value "\u{9b}31m \u{202e} \u{2066}")
  end)

  it("is sorted, and broken into lines where it is wide", function()
    local author = { username = "ada", id = ("7"):rep(18) }
    local text = inspect.value({ id = "1", author = author, content = ("x"):rep(30) }, 60)
    assert.equal('{\n  author = { id = "777777777777777777", username = "ada" },\n'
      .. '  content = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",\n  id = "1"\n}', text)
  end)

  it("has no end that is out of reach", function()
    local knot = {}
    knot.knot = knot
    assert.equal("{ knot = { itself } }", inspect.value(knot))
    local deep = {}
    local inner = deep
    for _ = 1, 100 do
      inner.below = {}
      inner = inner.below
    end
    inner.x = 1
    assert.matches("{ %.%.%. }", inspect.value(deep))
    local long = {}
    for i = 1, 10000 do long[i] = i end
    local text = inspect.value(long)
    assert.matches("%.%.%. 9950 more", text)
    assert.is_true(#text < 1000)
    assert.equal(('"%s" (5000 bytes)'):format(("x"):rep(400)), inspect.value(("x"):rep(5000)))
    assert.truthy(utf8.len(inspect.value(("ä"):rep(1000)))) -- not cut in a character
    assert.truthy(utf8.len(inspect.value("x" .. ("ä"):rep(1000))))
  end)

  it("shows the same table twice where it stands twice", function()
    local one = { 1 }
    assert.equal("{ { 1 }, { 1 } }", inspect.value { one, one })
  end)

  it("lets objects speak for themselves", function()
    local bot = moongate.client { token = "secret.token", intents = { "guilds" } }
    assert.equal("Client not connected", inspect.value(bot))
    assert.is_nil(inspect.value({ bot, bot.gateway }):find "secret")
    assert.equal("(table that cannot be shown)",
      inspect.value(setmetatable({}, { __tostring = function() error "no" end })))
    assert.equal("it", inspect.value(setmetatable({}, { __tostring = function() return "it" end })))
  end)

  it("shows lists and lazy tables as what they are", function()
    assert.equal("{ 1 }", inspect.value(moongate.array { 1 }))
    assert.equal("{}", inspect.value(moongate.array {}))
    local text = '{"id":"1","list":[{"a":1},{"a":2}],"content":"' .. ("x"):rep(300) .. '"}'
    assert.equal(inspect.value(core.decode(text)), inspect.value(core.lazy(text)))
  end)
end)

describe("inspect: a line", function()
  it("has no more characters than there are columns", function()
    local event = core.decode('{"guild":{"members":[{"nick":"ä"},{"nick":"b"}],"name":"x"},'
      .. '"id":"1","content":"' .. ("é"):rep(200) .. '"}')
    for columns = 1, 120 do
      local text = inspect.line(event, columns)
      assert.is_true(utf8.len(text) <= columns, text)
      assert.is_nil(text:find "\n")
    end
  end)

  it("begins with what tells events apart", function()
    assert.equal('{ content = "hi", author = { username = "ada", id = "7" }, a = 1 }',
      inspect.line({ a = 1, author = { id = "7", username = "ada" }, content = "hi" }, 80))
  end)

  it("looks at no more of a large value than it shows", function()
    local looked = 0
    local list = setmetatable({}, {
      __len = function() return 100000 end,
      __index = function(_, place)
        looked = looked + 1
        return { id = place }
      end,
    })
    inspect.line(list, 60)
    assert.is_true(looked < 20, looked)
  end)
end)

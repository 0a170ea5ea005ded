-- line.lua: keys go in, a line and what the terminal has to show come out.

local line = require "moongate.line"
local terminal = require "terminal"

local UP, DOWN, RIGHT, LEFT = "\27[A", "\27[B", "\27[C", "\27[D"
local HOME, LAST, DELETE, BACK = "\27[H", "\27[F", "\27[3~", "\127"

-- A line into which so many keys were typed.
local function typed(keys, options)
  local one = line.new(options or {})
  assert.is_nil(one:feed(keys))
  return one
end

-- What a terminal shows that is wider than anything here, and where its cursor is, after what was
-- written.
local function screen(...)
  local one = terminal.new(200)
  for _, written in ipairs { ... } do one:write(written) end
  return table.concat(one:lines(), "\n"), one.column, one.row
end

-- Rows go on while a bracket is open.
local function goes_on(text)
  return select(2, text:gsub("%(", "")) > select(2, text:gsub("%)", ""))
end

describe("line: typing", function()
  it("puts what is typed where the cursor is", function()
    assert.equal("abc", typed "abc".text)
    assert.equal("abXc", typed("abc" .. LEFT .. "X").text)
    assert.equal("Xabc", typed("abc" .. HOME .. "X").text)
    assert.equal("abcX", typed("abc" .. HOME .. LAST .. "X").text)
    assert.equal("aXbc", typed("abc" .. HOME .. RIGHT .. "X").text)
  end)

  it("goes no further than the ends", function()
    assert.equal("Xab", typed("ab" .. LEFT:rep(5) .. "X").text)
    assert.equal("abX", typed("ab" .. RIGHT:rep(5) .. "X").text)
    assert.equal("ab", typed("ab" .. DELETE .. HOME .. BACK).text)
  end)

  it("takes characters of UTF-8 whole, however they are cut", function()
    assert.equal("häl", typed("hälo" .. BACK .. LEFT .. LEFT .. RIGHT .. RIGHT).text)
    assert.equal("h", typed("h€🌙" .. BACK .. BACK).text)
    local whole = "h€🌙ä"
    for cut = 1, #whole - 1 do
      local one = typed(whole:sub(1, cut))
      one:feed(whole:sub(cut + 1))
      assert.equal(whole, one.text, "cut at " .. cut)
    end
  end)

  it("lets bytes pass that are no UTF-8, one by one", function()
    assert.equal("a\255\254bc", typed "a\255\254bc".text)
    assert.equal("ac", typed("a\255c" .. LEFT .. BACK).text)
  end)

  it("deletes characters, words, and to the ends", function()
    assert.equal("ac", typed("abc" .. LEFT .. BACK).text)
    assert.equal("ab", typed("abc" .. LEFT .. DELETE).text)
    assert.equal("ab", typed("abc" .. LEFT .. "\4").text)
    assert.equal("one ", typed "one two.\23".text)
    assert.equal("", typed "one two\23\23".text)
    assert.equal(" two", typed("one two" .. HOME .. "\27d").text)
    assert.equal("c", typed("abc" .. LEFT .. "\21").text)
    assert.equal("ab", typed("abc" .. LEFT .. "\11").text)
  end)

  it("puts back what was deleted last", function()
    assert.equal("two one ", typed("one two\23" .. HOME .. "\25 ").text)
    assert.equal("abab", typed("ab\21\25\25").text)
  end)

  it("goes word by word", function()
    assert.equal("one Xtwo", typed("one two\27bX").text)
    assert.equal("oneX two", typed("one two" .. HOME .. "\27fX").text)
    assert.equal("one Xtwo", typed("one two\27[1;5DX").text)
    assert.equal("oneX two", typed("one two" .. HOME .. "\27[1;5CX").text)
  end)

  it("takes what is pasted as text, tabs as well", function()
    local one = line.new { complete = function() error "no key" end }
    assert.same({ "line", "x = 5" }, { one:feed "\27[200~x\t= 5\ry\27[201~" })
    assert.is_nil(one:feed())
    assert.equal("y", one.text)
    assert.is_false(pcall(one.feed, one, "\t"))
  end)

  it("passes over keys that it does not know, also cut ones", function()
    assert.equal("ab", typed "a\27[15~\27[1;2Pb\0\28".text)
    local one = typed "ab\27"
    one:feed "["
    one:feed "D"
    assert.equal(2, one.at)
    assert.equal("ab", one.text)
  end)
end)

describe("line: what is more than typing", function()
  it("gives the line, and goes on with what was typed ahead", function()
    local one = line.new {}
    assert.same({ "line", "first" }, { one:feed "first\rsecond\nthi" })
    assert.same({ "line", "second" }, { one:feed() })
    assert.is_nil(one:feed())
    assert.equal("thi", one.text)
  end)

  it("tells of Ctrl-C, Ctrl-D, Ctrl-L and Ctrl-Z", function()
    local one = line.new {}
    assert.same({ "interrupt", "half" }, { one:feed "half\3" })
    assert.equal("", one.text)
    assert.same({ "end", "" }, { one:feed "\4" })
    assert.same({ "wipe" }, { one:feed "\12" })
    assert.same({ "suspend" }, { one:feed "\26" })
  end)
end)

describe("line: history", function()
  it("goes back and forth, and keeps what was being typed", function()
    local one = typed("now" .. UP .. UP, { history = { "first", "second" } })
    assert.equal("first", one.text)
    one:feed(UP)
    assert.equal("first", one.text)
    one:feed(DOWN)
    assert.equal("second", one.text)
    one:feed(DOWN .. DOWN)
    assert.equal("now", one.text)
  end)

  it("takes lines in, but neither blanks, nor the same twice, nor what was given up", function()
    local history = {}
    local one = line.new { history = history }
    for _, keys in ipairs { "a\r", "a\r", "  \r", "\r", "b\3", "c\r" } do one:feed(keys) end
    assert.same({ "a", "c" }, history)
  end)

  it("forgets the oldest lines", function()
    local history = {}
    local one = line.new { history = history }
    for i = 1, 1100 do one:feed(i .. "\r") end
    assert.equal(1000, #history)
    assert.equal("1100", history[1000])
  end)
end)

describe("line: completion", function()
  local function complete(text)
    local from, start = text:match "()(%a*)$"
    local found = {}
    for _, word in ipairs { "send", "send_all", "set", "zebra" } do
      if word:sub(1, #start) == start then found[#found + 1] = word end
    end
    return from, found
  end

  it("takes the only way", function()
    assert.equal("x zebra", typed("x z\t", { complete = complete }).text)
    assert.equal("zebra)", typed("z)" .. LEFT .. "\t", { complete = complete }).text)
  end)

  it("goes as far as all agree, then shows them", function()
    local one = typed("s\t", { complete = complete })
    assert.equal("se", one.text)
    local what, words = one:feed "\t"
    assert.equal("words", what)
    assert.same({ "send", "send_all", "set" }, words)
  end)

  it("does nothing where nothing can be said", function()
    assert.equal("q", typed("q\t", { complete = complete }).text)
    assert.equal("q", typed("q\t", { complete = function() end }).text)
    assert.equal("q", typed("q\t").text)
  end)
end)

describe("line: on the screen", function()
  it("shows the prompt, the text and the cursor", function()
    local one = typed("häll" .. LEFT, { prompt = "> " })
    local shown, at = screen(one:draw(80))
    assert.equal("> häll", shown)
    assert.equal(6, at)
  end)

  it("shows a part of what is too long, with the cursor in it", function()
    local letters = ("abcdefghij"):rep(3)
    local one = typed(letters, { prompt = "> " })
    for step = 0, #letters do
      local shown, at = screen(one:draw(12))
      assert.is_true(#shown <= 11, shown)
      assert.equal("> ", shown:sub(1, 2))
      assert.is_true(at >= 3 and at <= 12, at .. " after " .. step)
      if step > 0 then -- the character under the cursor
        assert.equal(letters:sub(-step, -step), shown:sub(at, at), "after " .. step)
      end
      one:feed(LEFT)
    end
  end)

  it("counts cells, not bytes: what fits is shown whole", function()
    for _, row in ipairs { { ("ä"):rep(45), 45 }, { ("日本語"):rep(8), 48 },
      { ("e\204\129"):rep(30), 30 },
      { ("🌙"):rep(20), 40 }, { "a\255b", 3 } } do
      local one = typed(row[1], { prompt = "> " })
      assert.equal("> " .. row[1], (one:draw(80):gsub("\27%[[%d;]*%a", ""):gsub("\r", "")))
      assert.equal(("\27[%dC"):format(row[2] + 2), one:draw(80):match "\27%[%d+C$")
      for columns = 8, 30 do
        local shown = one:draw(columns):gsub("\27%[[%d;]*%a", ""):gsub("\r", "")
        assert.truthy(utf8.len(shown) or row[1]:find "\255", columns)
        assert.is_true(tonumber(one:draw(columns):match "\27%[(%d+)C$") < columns)
      end
    end
  end)

  it("survives a terminal that is narrower than its prompt", function()
    assert.is_string(typed("abc", { prompt = "moongate> " }):draw(3))
  end)

  it("is gone when it is hidden", function()
    local one = typed("abc", { prompt = "> " })
    assert.equal("", (screen(one:draw(80), one:hide())))
  end)
end)

describe("line: a text of several rows", function()
  local function begun(keys, history)
    return typed(keys, { prompt = "> ", continued = ">> ", goes_on = goes_on, history = history })
  end

  it("goes on until it is finished, and is one", function()
    local history = {}
    local one = begun("f(\r1,\r", history)
    assert.equal("f(\n1,\n", one.text)
    assert.same({ "line", "f(\n1,\n2)" }, { one:feed "2)\r" })
    assert.same({ "f(\n1,\n2)" }, history)
    assert.equal("", one.text)
  end)

  it("is entered from wherever the cursor is, and goes on there", function()
    assert.same({ "line", "f(\n)" }, { begun("f(\r)" .. UP):feed "\r" })
    assert.equal("f(\n(\n", begun("f((" .. LEFT .. "\r").text .. "\n")
    assert.equal("a\nb", begun "a\27\rb".text)
  end)

  it("is shown row by row, and the cursor in its own", function()
    local one = begun("f(\rab,\rc")
    assert.same({ "> f(\n>> ab,\n>> c", 5, 3 }, { screen(one:draw(80)) })
    one:feed(UP)
    assert.same({ "> f(\n>> ab,\n>> c", 5, 2 }, { screen(one:draw(80)) })
  end)

  it("is drawn where it was, however many rows it has now", function()
    local one, keys = begun "", { "f(\r", "ab,\r", "c", UP, UP, HOME, DOWN, "\11\11", LAST }
    local shown = terminal.new(80)
    shown:write("before\n" .. one:draw(80))
    for _, key in ipairs(keys) do
      one:feed(key)
      shown:write(one:draw(80))
      local text = one.text:gsub("\n", "\n>> ")
      assert.equal("before\n> " .. text, (table.concat(shown:lines(), "\n"):gsub(">>\n", ">> \n")
        :gsub(">>$", ">> ")))
    end
    assert.equal("f(\nc", one.text)
    shown:write(one:hide() .. "x")
    assert.same({ "before", "x" }, shown:lines())
  end)

  it("is left below its last row", function()
    local one = begun("f(\rab,\rc" .. UP .. UP)
    assert.same({ "> f(\n>> ab,\n>> c\nx", 2, 4 }, { screen(one:draw(80), one:leave(), "\rx") })
    local written = one:draw(80) .. one:leave()
    one:take(true)
    assert.same({ "> f(\n>> ab,\n>> c\n>", 3, 4 }, { screen(written, one:draw(80)) })
  end)

  it("is hidden from any of its rows", function()
    for _, keys in ipairs { "", UP, UP .. UP } do
      local one = begun("f(\rab,\rc" .. keys)
      assert.equal("x", (screen(one:draw(80), one:hide() .. "x")))
      assert.equal("\r\27[J", one:hide())
    end
  end)

  it("is shown in part where there are fewer lines, the cursor's among them", function()
    local one = begun "(a\rb\rc\rd\re"
    for step = 0, 4 do
      local shown, _, row = screen(one:draw(80, 4))
      local rows = {}
      for each in shown:gmatch "[^\n]+" do rows[#rows + 1] = each:sub(-1) end
      assert.equal(3, #rows, shown)
      assert.equal(("edcba"):sub(step + 1, step + 1), rows[row], shown)
      one:hide()
      one:feed(UP)
    end
  end)

  it("takes Up and Down for its rows first, at the same place of each", function()
    local one = begun("(abc\rä\r日本)" .. UP, { "old" })
    assert.equal(#"(abc\nä" + 1, one.at)
    one:feed(HOME .. RIGHT .. UP)
    assert.equal(2, one.at)
    one:feed(RIGHT .. RIGHT .. DOWN .. DOWN)
    assert.equal(#"(abc\nä\n" + 1, one.at) -- a wide character begins there
    one:feed(UP .. UP .. UP)
    assert.equal("old", one.text)
    one:feed(DOWN)
    assert.equal("(abc\nä\n日本)", one.text)
  end)

  it("has Home, End, Ctrl-K and Ctrl-U row by row, and then join rows", function()
    local one = begun "(ab\rcd\ref"
    one:feed(UP .. LAST .. HOME)
    assert.equal(#"(ab\n" + 1, one.at)
    for _, step in ipairs { { "\11", "(ab\n\nef" }, { "\11", "(ab\nef" }, { "\21", "(abef" },
      { "\21", "ef" }, { "\21", "ef" } } do
      one:feed(step[1])
      assert.equal(step[2], one.text)
    end
  end)

  it("is given up by Ctrl-D in an empty last row, and goes nowhere", function()
    local history = {}
    local one = begun("f(\r", history)
    assert.same({ "end", "f(\n" }, { one:feed "\4" })
    assert.same({ "", {} }, { one.text, history })
    assert.is_nil(begun "f(\rx":feed "\4")
    assert.is_nil(begun("f(\r" .. UP):feed "\4")
  end)
end)

describe("line: Ctrl-R", function()
  local history = { "bot.state", "x = 1", "bot:stop()", "x = 1", "for i = 1, 2 do\nprint(i)\nend" }

  local function find(keys)
    return typed("\18" .. keys, { prompt = "> ", continued = ">> ",
      history = { table.unpack(history) } })
  end

  it("finds what has the letters, the newest first, and shows where", function()
    assert.same({ "search 'bot': bot:stop()", #"search 'bot': " + 1, 1 },
      { screen(find "bot":draw(80)) })
    assert.same({ "search 'stop': bot:stop()", #"search 'stop': bot:" + 1, 1 },
      { screen(find "stop":draw(80)) })
    assert.same({ "search '':", #"search '': " + 1, 1 }, { screen(find "":draw(80)) })
  end)

  it("goes further back with Ctrl-R, over what is the same", function()
    assert.equal("search 'bot': bot.state", (screen(find "bot\18":draw(80))))
    assert.equal("search '=': x = 1", (screen(find "=\18":draw(80))))
    assert.equal("nothing has '= 1': x = 1", (screen(find "= 1\18\18":draw(80))))
  end)

  it("keeps what has more letters, and goes back with those that are deleted", function()
    assert.equal("search 'bot.': bot.state", (screen(find "bot.":draw(80))))
    assert.equal("search 'bot': bot:stop()", (screen(find "bot.\127":draw(80))))
    assert.equal("nothing has 'botx': bot:stop()", (screen(find "botx":draw(80))))
    assert.equal("search 'bot': bot:stop()", (screen(find "botx\8":draw(80))))
    assert.equal("search '':", (screen(find("b" .. BACK .. BACK):draw(80))))
  end)

  it("is done with any other key, which does what it does", function()
    local one = find "stop"
    assert.is_nil(one:feed(LEFT))
    assert.same({ "bot:stop()", 4 }, { one.text, one.at })
    assert.same({ "line", "bot:stop()" }, { find "stop":feed "\r" })
    one = find "stop"
    one:feed(UP)
    assert.equal("x = 1", one.text)
    one:feed(DOWN .. DOWN .. DOWN .. DOWN)
    assert.equal("", one.text)
    assert.same({ "line", "" }, { find "zebra":feed "\r" })
  end)

  it("is left with Ctrl-G: what was typed is back, and so is the history", function()
    local one = typed("half" .. LEFT .. "\18bot\7X", { history = { table.unpack(history) } })
    assert.equal("halXf", one.text)
    one:feed(UP)
    assert.equal(history[5], one.text)
    one:feed(DOWN:rep(3))
    assert.equal("halXf", one.text)
  end)

  it("is left with Ctrl-C, and nothing remains of it", function()
    local one = find "bot"
    assert.same({ "interrupt", "bot:stop()" }, { one:feed "\3" })
    one:feed "a"
    assert.equal("> a", (screen(one:draw(80))))
    one = find "bot"
    one:take(true) -- as when it comes as a signal
    one:feed "a"
    assert.equal("> a", (screen(one:draw(80))))
  end)

  it("shows all rows of what it found, and the cursor in the right one", function()
    local one = find "print"
    assert.same({ "search 'print': for i = 1, 2 do\n>> print(i)\n>> end", 4, 2 },
      { screen(one:draw(80)) })
  end)
end)

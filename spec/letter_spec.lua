-- letter.c: what the I/O thread writes to the Lua side, and what becomes of it without memory.
local core = require "moongate.core"
local letters = require("moongate_unit").letters

describe("letter", function()
  local box

  before_each(function() box = letters.new(100, 100) end)
  after_each(function() letters.starve() end)

  local function read()
    local shard_id, name, data, own = box:pop()
    if shard_id then return { shard_id, name, core.decode(data), own } end
  end

  it("carries events in order, and says whose they are", function()
    box:post(3, "MESSAGE_CREATE", "[1]", false)
    box:error(4, "send", "send: it is full")
    box:post(-1, "state", "[2]", true)
    assert.same({ 3, "MESSAGE_CREATE", { 1 }, false }, read())
    assert.same({ 4, "error", { code = "EBUSY", phase = "send", message = "send: it is full" },
      true }, read())
    assert.same({ -1, "state", { 2 }, true }, read())
    assert.is_nil(read())
  end)

  it("carries answers, with question marks for what is no UTF-8", function()
    box:answer(7, 200, "a\xffb")
    assert.same({ -1, "http", { id = 7, status = 200, body = "a?b", headers = { date = "now" } },
      true }, read())
    box:answer(8, nil, nil, "refused")
    assert.same({ -1, "http", { id = 8, error = "ECONNECT", phase = "connect",
      message = "request: connect: refused" }, true }, read())
    for detail, shown in pairs { ["refus\xe9"] = "refus?", ["é"] = "é",
      [("x"):rep(236) .. "é"] = ("x"):rep(236) .. "?" } do -- cut in the middle of a character
      box:answer(9, nil, nil, detail)
      assert.same({ -1, "http", { id = 9, error = "ECONNECT", phase = "connect",
        message = "request: connect: " .. shown }, true }, read())
    end
  end)

  it("drops what may be dropped, by name, and tells how many of which", function()
    box = letters.new(3, 100, "TYPING_START\0PRESENCE_UPDATE\0")
    for number = 1, 4 do box:post(0, "TYPING_START", number, false) end
    box:post(0, "typing_start", "5", true) -- no dispatch
    box:post(0, "TYPING_STARTLED", "6", false)
    box:post(0, "PRESENCE_UPDATE", "7", false)
    box:post(0, "MESSAGE_CREATE", "8", false)
    local got = {}
    for _, _, number in function() return box:pop() end do got[#got + 1] = tonumber(number) end
    assert.same({ 5, 6, 7, 8 }, got)
    assert.same({ TYPING_START = 4, PRESENCE_UPDATE = 0 }, box:loose())
  end)

  describe("read by a batch", function()
    before_each(function() box = letters.new(100, 100, "", 3) end)

    it("comes in order, and what is taken and not read is counted", function()
      for number = 1, 4 do box:post(0, "A", number, false) end
      box:post(0, "state", "5", true)
      assert.same({ 0, 0, 0 }, { box:inbox() })
      assert.same({ "A", "1" }, { box:next() })
      local waiting, payloads, bytes = box:inbox()
      assert.same({ 2, 2 }, { waiting, payloads })
      assert.is_true(bytes > 0)
      for number = 2, 4 do assert.same({ "A", tostring(number) }, { box:next() }) end
      assert.same({ 1, 0, 0 }, { box:inbox() })
      assert.same({ "state", "5" }, { box:next() })
      assert.same({}, { box:next() })
    end)

    it("gives its memory back to whoever writes, unless there is much of it", function()
      box:post(0, "A", ("x"):rep(300), false)
      box:post(0, "A", ("x"):rep(5000), false)
      for _ = 1, 2 do box:next() end
      assert.same({}, { box:next() }) -- with which both are given back
      assert.is_nil(box:spare())
      box:post(0, "B", "1", false)
      local bytes = box:spare()
      assert.is_true(bytes >= 300 and bytes < 5000)
      box:post(0, "B", "2", false)
      assert.is_nil(box:spare()) -- the letter of the large one
      box:post(0, "B", "3", false)
      assert.is_nil(box:spare())
      for number = 1, 3 do assert.same({ "B", tostring(number) }, { box:next() }) end
    end)
  end)

  describe("without memory", function()
    it("loses no dispatch for which a letter was kept back", function()
      assert.is_true(box:reserve())
      letters.starve(0)
      box:post(0, "receive", "[0]", true) -- takes nothing away from it
      box:post(0, "MESSAGE_CREATE", "[1]", false)
      assert.is_false(box:reserve())
      letters.starve()
      assert.same({ 0, "MESSAGE_CREATE", { 1 }, false }, read())
      assert.is_true(box:reserve())
      assert.is_true(box:reserve())
    end)

    it("loses no answer for which a letter was kept back", function()
      assert.is_true(box:reserve())
      letters.starve(1)
      box:answer(10, nil, nil, "refused")
      letters.starve()
      assert.equal(10, read()[3].id)
    end)

    it("counts own events that are lost, and tells of them once, when it can", function()
      letters.starve(0)
      box:post(3, "state", "[1]", true)
      box:error(5, "send", "send: full")
      box:tell()
      assert.equal(2, box:dropped())
      letters.starve(1)
      box:tell()
      assert.is_nil(read())
      letters.starve()
      box:tell()
      box:tell()
      local told = read()
      assert.equal(5, told[1])
      assert.equal("EMEMORY", told[3].code)
      assert.truthy(told[3].message:find("events: 2 of", 1, true))
      assert.is_nil(read())
      assert.equal(2, box:dropped())
    end)

    it("answers that there was none", function()
      letters.starve(100, 2000)
      box:answer(9, 200, ("x"):rep(5000))
      assert.same({ id = 9, error = "EMEMORY", phase = "", message = "request: out of memory" },
        read()[3])
      letters.starve(0)
      box:answer(10, 200, "")
      assert.equal(1, box:dropped())
    end)
  end)
end)

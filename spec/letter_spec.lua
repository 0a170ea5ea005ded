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
  end)
end)

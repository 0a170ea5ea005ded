-- resolver.c: lookups on threads of their own, deadlines, the cache, and stuck name servers.
local resolver = require("moongate_unit").resolver

local WAIT_MS = 5000 -- far more than a thread needs to start

describe("resolver", function()
  local one
  before_each(function() one = resolver.new() end)
  after_each(function()
    resolver.release()
    one:close()
  end)

  -- The answer to the only question that is open.
  local function wait_for_answer(now_ms)
    while true do
      local answer = table.pack(one:next(now_ms))
      if answer.n > 0 then return table.unpack(answer, 1, answer.n) end
      assert.is_true(one:wait(WAIT_MS)) -- it may ring for an answer that was taken already
    end
  end

  local function wait_until_stuck(count)
    for _ = 1, 1000 do
      if select(2, resolver.lookups()) == count then return end
      one:wait(5)
    end
    error("nothing hangs")
  end

  it("answers numeric hosts at once and without a thread", function()
    for id, host in ipairs { "127.0.0.1", "::1", "fe80::1%lo" } do
      assert.is_true(one:ask(0, host, 1000, id))
      assert.equal(0, one:deadline())
      local got, addresses = one:next(0)
      assert.same({ id, { host } }, { got, addresses })
    end
    assert.equal(0, (resolver.lookups()))
  end)

  it("wakes its owner with the addresses of a name", function()
    one:ask(0, "name.test", 1000, 7)
    local id, addresses = wait_for_answer(1)
    assert.same({ 7, { "192.0.2.1", "2001:db8::1" } }, { id, addresses })
    assert.equal(-1, one:deadline())
    assert.is_nil((one:next(1)))
  end)

  it("says why a name has no address", function()
    one:ask(0, "bad.test", 1000, 7)
    assert.same({ 7, nil, "ERESOLVE", "no such name" }, { wait_for_answer(1) })
  end)

  it("remembers a good answer for thirty seconds, and no failure", function()
    one:ask(0, "name.test", 9000, 1)
    wait_for_answer(1000)
    one:ask(30999, "name.test", 1000, 2)
    assert.same({ 2, { "192.0.2.1", "2001:db8::1" } }, { one:next(30999) })
    assert.equal(1, (resolver.lookups()))
    one:ask(31000, "name.test", 1000, 3)
    assert.same({ 3, { "192.0.2.2", "2001:db8::2" } }, { wait_for_answer(31001) })
    for id = 4, 5 do
      one:ask(0, "bad.test", 1000, id)
      wait_for_answer(1)
    end
    assert.equal(4, (resolver.lookups()))
  end)

  it("makes one lookup for questions that are asked together", function()
    one:ask(0, "stuck.test", 1000, 1)
    one:ask(0, "stuck.test", 2000, 2)
    wait_until_stuck(1)
    resolver.release()
    local first = wait_for_answer(1)
    local second = wait_for_answer(1)
    assert.same({ 1, 2 }, { first, second })
    assert.equal(1, (resolver.lookups()))
  end)

  it("answers in time what a stuck name server never does", function()
    one:ask(100, "stuck.test", 1000, 1)
    wait_until_stuck(1)
    assert.equal(1100, one:deadline())
    assert.is_nil((one:next(1099)))
    local id, addresses, code = one:next(1100)
    assert.same({ 1, nil, "ETIMEOUT" }, { id, addresses, code })
    assert.equal(-1, one:deadline())
  end)

  it("looks again where a lookup has been given up", function()
    one:ask(0, "stuck.test", 10, 1)
    wait_until_stuck(1)
    one:next(10)
    one:ask(20, "stuck.test", 1000, 2)
    wait_until_stuck(2)
    assert.is_nil((one:next(21)))
    resolver.release()
    assert.equal(2, (wait_for_answer(22)))
  end)

  it("answers other names while three lookups hang, and waits its turn behind four", function()
    for id = 1, 3 do one:ask(0, ("stuck%d.test"):format(id), 1000, id) end
    wait_until_stuck(3)
    one:ask(0, "name.test", 1000, 9)
    assert.equal(9, (wait_for_answer(1)))
    one:ask(0, "stuck4.test", 1000, 4)
    wait_until_stuck(4)
    one:ask(0, "other.test", 1000, 10)
    assert.is_nil((one:next(1)))
    assert.same({ 10, nil, "ETIMEOUT" }, (function()
      local answers = {}
      for _ = 1, 5 do answers[#answers + 1] = table.pack(one:next(1000)) end
      local last = answers[#answers]
      return { last[1], last[2], last[3] }
    end)())
  end)

  it("answers nothing that was forgotten", function()
    one:ask(0, "stuck.test", 1000, 1)
    one:ask(0, "127.0.0.1", 1000, 2)
    one:forget(1)
    assert.equal(2, (one:next(5000)))
    assert.is_nil((one:next(5000)))
  end)

  it("goes away at once while lookups hang, and they wake nobody afterwards", function()
    local other = resolver.new()
    other:ask(0, "stuck.test", 1000, 1)
    wait_until_stuck(1)
    other:close()
    resolver.release()
    assert.is_false(one:wait(20))
  end)

  it("refuses a name that no name can be", function()
    one:ask(0, ("x"):rep(96), 1000, 1)
    local id, addresses, code = one:next(0)
    assert.same({ 1, nil, "ERESOLVE" }, { id, addresses, code })
    assert.equal(0, (resolver.lookups()))
  end)
end)

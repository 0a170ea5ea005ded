-- shard_object_spec.lua: the public Shard's methods, over an engine of paper: the forms of send,
-- the verbs and their codes, and the session that another process may take up.

local moongate = require "moongate"
local paper = require "paper"

local bot, one, engine

describe("shard", function()
  before_each(function()
    paper.install()
    bot = moongate.client {
      token = "shard.spec.token", intents = 0, url = "ws://127.0.0.1:1", shards = 2,
    }
    assert(bot:connect())
    engine, one = paper.engines[1], bot.shards[1]
  end)

  after_each(function()
    if bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  it("is one object for good", function()
    bot:stop()
    bot:connect()
    assert.equal(one, bot.shards[1])
    assert.equal(bot, one.cluster)
    assert.equal(bot.gateway, one.gateway)
    assert.equal(10, one.version)
    assert.equal("Shard 1/2 idle", tostring(one))
  end)

  it("sends in four forms", function()
    assert.is_true(one:send(8, { a = 1 }))
    assert.is_true(one:send("REQUEST_GUILD_MEMBERS", { a = 2 }))
    assert.is_true(one:send("requestGuildMembers", { a = 3 }))
    assert.is_true(one:send { op = "PRESENCE_UPDATE", d = { a = 4 } })
    assert.is_true(one:send '{"op":3,"d":null}')
    assert.is_true(one:send("\131t"))
    local calls = engine:calls_of "send"
    assert.same({ 1, 8, { a = 1 } }, calls[1])
    assert.same({ 1, 8, { a = 2 } }, calls[2])
    assert.same({ 1, 8, { a = 3 } }, calls[3])
    assert.same({ 1, 3, { a = 4 } }, calls[4])
    assert.same({ 1, '{"op":3,"d":null}' }, calls[5])
    assert.same({ 1, "\131t" }, calls[6])
    assert.equal(6, #calls)
  end)

  it("refuses what is no opcode, and guesses what was meant", function()
    for _, row in ipairs {
      { { "REQUEST_GILD_MEMBERS", {} }, 'did you mean "REQUEST_GUILD_MEMBERS"?' },
      { { "hello there" }, 'got "hello there"' },
      { { {} }, "got nil" },
      { { 1.5, {} }, "got number" },
      { { -1 }, "got number" },
      { { true }, "got boolean" },
    } do
      local fine, message = pcall(function() one:send(table.unpack(row[1])) end)
      assert.is_false(fine)
      assert.truthy(message:find("send: op must be an opcode or its name", 1, true), message)
      assert.truthy(message:find(row[2], 1, true), message)
      assert.truthy(message:find("shard_object_spec.lua", 1, true), message)
    end
  end)

  it("sends no greeting a second time, and a heartbeat only where one can go", function()
    for _, op in ipairs { 2, "RESUME" } do
      local sent, message, code = one:send(op, {})
      assert.same({ nil, "EUSAGE" }, { sent, code })
      assert.truthy(message:find(op == 2 and "identify()" or "resume()", 1, true), message)
    end
    assert.equal("ECLOSED", select(3, one:send(1, 5)))
    assert.equal("ECLOSED", select(3, one:heartbeat()))
    assert.equal("ECLOSED", select(3, one:receive "{}"))
    local fine, message = pcall(one.receive, one, 5)
    assert.is_false(fine)
    assert.truthy(message:find("receive: bytes must be a string", 1, true), message)
    assert.same({ nil, "EUSAGE" }, { (one:resume()), select(3, one:resume()) })
    assert.equal(0, #engine:calls_of "send" + #engine:calls_of "beat")
  end)

  it("passes on what the engine says", function()
    engine.refuse.send = { code = "EPAYLOAD" }
    assert.same({ nil, "send: refused", "EPAYLOAD" }, { one:send(8, {}) })
  end)

  it("R28 keeps the session when it disconnects, unless the code says otherwise", function()
    assert.is_true(one:disconnect())
    assert.is_true(one:disconnect(1000, "bye"))
    assert.is_true(one:reconnect())
    assert.is_true(one:reconnect(4900))
    assert.same({ { 1, 4000 }, { 1, 1000, "bye" } }, engine:calls_of "stop_shard")
    assert.same({ { 1, 4000 }, { 1, 4900 } }, engine:calls_of "reconnect")
    assert.is_true(bot:disconnect(4001))
    assert.is_true(bot:kill())
    assert.is_true(bot:reconnect())
    assert.equal(6, #engine:calls_of "stop_shard")
    assert.equal(4, #engine:calls_of "reconnect")
  end)

  it("refuses codes and reasons that cannot travel", function()
    for _, code in ipairs { 0, 999, 1005, 1006, 1002, 2999, 5000, 1000.5, "4000", {} } do
      assert.has_error(function() one:disconnect(code) end)
      assert.has_error(function() one:reconnect(code) end)
      assert.has_error(function() bot:kill(code) end)
    end
    assert.has_error(function() one:disconnect(4000, ("x"):rep(124)) end)
    assert.has_error(function() one:disconnect(4000, 5) end)
    local _, message = pcall(function() one:disconnect(7) end)
    assert.truthy(message:find("shard_object_spec.lua", 1, true), message)
    assert.truthy(message:find("got 7", 1, true), message)
  end)

  it("says that it is not running when it is not", function()
    bot:stop()
    local expected = { nil, "send: not running; connect() first", "ECLOSED" }
    assert.same(expected, { one:send(8, {}) })
    assert.equal("ECLOSED", select(3, one:disconnect()))
    assert.equal("ECLOSED", select(3, one:reconnect()))
    assert.equal("ECLOSED", select(3, one:set_presence { status = "idle" }))
  end)

  it("has an emitter of its own, and waits", function()
    local got
    moongate.spawn(function() got = one:wait_for("A") end)
    engine:dispatch("A", 0, 1, { n = 0 })
    engine:dispatch("A", 1, 1, { n = 1 })
    bot:step(0)
    assert.equal(1, got.n)
    local fn = one:on("B", print)
    assert.equal(1, one:listener_count "B")
    assert.is_true(one:off("B", fn))
  end)

  it("is driven like a cluster", function()
    local heard = 0
    one:on("A", function() heard = heard + 1 end)
    engine:dispatch("A", 1, 1, {})
    assert.equal(1, one:step(0))
    assert.equal(1, heard)
    one:on("B", function() one:stop() end)
    engine:dispatch("B", 1, 2, {})
    assert.is_true(one:run())
    assert.same({ { 0, 1000, "" }, { 1, 1000, "" } }, (function()
      local calls = engine:calls_of "stop_shard"
      table.sort(calls, function(a, b) return a[1] < b[1] end)
      return calls
    end)())
    assert.same({ { 1000 } }, engine:calls_of "close")
  end)

  it("R31 gives away the sequence that was handled, not the one that arrived", function()
    local info = { one:session_info() }
    assert.equal("EUSAGE", info[3])
    paper.statuses[1] = {
      state = "ready", session = "abc", session_url = "wss://r.test", seq = 12, counts = {},
      settled = true,
    }
    local inside
    one:on("A", function(_, shard) inside = { shard:session_info() } end)
    engine:dispatch("A", 1, 10, {})
    engine:dispatch("A", 1, 11, {})
    assert.equal("EUSAGE", select(3, one:session_info())) -- nothing has been handled yet
    bot.bridge:pump(1)
    assert.is_nil(inside[1])
    assert.equal(10, one:session_info().seq)
    bot.bridge:pump(1)
    assert.equal(10, inside[1].seq)
    -- Nothing waits any more: what came after 11 was wanted by nobody.
    assert.same({
      id = "abc", url = "wss://r.test", seq = 12, shard_id = 1, shard_count = 2,
    }, one:session_info())
    -- An event that has arrived is about to be queued.
    paper.statuses[1].seq, paper.statuses[1].settled = 13, false
    assert.equal(11, one:session_info().seq)
    engine:dispatch("A", 1, 1, {})
    engine:note("state", 1, { from = "hello", to = "identifying" })
    table.insert(engine.queue, 1, table.remove(engine.queue))
    bot.bridge:pump(1)
    assert.equal("EUSAGE", select(3, one:session_info())) -- the old sequence is not the new one's
    local again = moongate.client {
      token = "shard.spec.token", intents = 0, url = "ws://127.0.0.1:1",
      session = { id = "abc", url = "wss://r.test", seq = 12, shard_id = 1, shard_count = 2 },
    }
    assert.equal("abc", again.options.session.id)
  end)

  it("counts", function()
    paper.statuses[1] = {
      state = "ready", seq = 3, outbox_commands = 1, counts = { beats = 7 },
    }
    local stats = one:stats()
    assert.equal(7, stats.beats)
    assert.equal("ready", stats.state)
    assert.equal(1, stats.outbox_commands)
    local all = bot:stats()
    assert.equal(2, all.total)
    assert.equal(1, all.ready)
    assert.equal(3, all.shards[1].seq)
    assert.equal(0, all.queue.queue_events)
  end)
end)

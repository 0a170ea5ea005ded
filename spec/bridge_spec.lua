-- bridge_spec.lua: the Lua end of an engine, on an engine of paper: events in order and no more
-- than asked for, requests and their answers, being closed and being forgotten.

local bridge = require "moongate.bridge"
local paper = require "paper"
local scheduler = require "moongate.scheduler"
require "moongate"

describe("bridge", function()
  local made, engine, seen

  before_each(function()
    paper.install()
    seen = {}
    made = assert(bridge.new({ ca_file = "x.pem", insecure_tls = false, token = "secret" }, {
      take = function(_, ...) seen[#seen + 1] = { ... } end,
    }))
    engine = paper.engines[1]
  end)

  after_each(function()
    made:close()
    paper.remove()
  end)

  it("gives the engine its options and nothing else", function()
    assert.equal("x.pem", engine.options.ca_file)
    assert.is_false(engine.options.insecure_tls)
    assert.is_nil(engine.options.token)
    assert.truthy(engine.options.user_agent:find("^DiscordBot %(moongate, %d"))
    local other = assert(bridge.new({ user_agent = "mine" }))
    assert.equal("mine", paper.engines[2].options.user_agent)
    other:close()
  end)

  it("says why an engine cannot start", function()
    paper.no_engine = "ECERTIFICATE"
    assert.same({ nil, "engine: no", "ECERTIFICATE" }, { bridge.new({}) })
  end)

  it("hands on events in order, and gives each record back", function()
    local records = {}
    for seq = 1, 3 do
      engine:dispatch("A", 7, seq, {})
      records[seq] = engine.queue[seq]
    end
    assert.equal(2, made:pump(2))
    assert.same({ { "A", 7, false, 1 }, { "A", 7, false, 2 } }, seen)
    assert.is_true(records[1].finished)
    assert.is_true(records[2].finished)
    assert.is_nil(records[3].finished)
    assert.equal(1, scheduler.step(0))
    assert.equal(3, #seen)
    assert.equal(0, scheduler.step(0))
  end)

  it("stops behind the event whose listener failed", function()
    made.hooks.take = function() scheduler.raise("boom", "boom") end
    engine:dispatch("A", 0, 1, {})
    engine:dispatch("A", 0, 2, {})
    assert.equal(1, made:pump(10))
    assert.has_error(function() scheduler.step(0) end, "boom")
    made.hooks.take = nil
    assert.equal(1, made:pump(10))
  end)

  it("stops when it is closed by a listener", function()
    made.hooks.take = function() made:close() end
    engine:dispatch("A", 0, 1, {})
    engine:dispatch("A", 0, 2, {})
    assert.equal(1, made:pump(10))
    assert.equal(1, #engine.queue)
    assert.equal(0, made:pump(10))
  end)

  it("waits for the answer of its own request", function()
    local got = {}
    for i = 1, 2 do
      scheduler.spawn(function()
        got[i] = made:request { url = "http://x", authorization = "Bot t", timeout = 2.5 }
      end)
    end
    local calls = engine:calls_of "request"
    assert.equal(2500, calls[1][1].timeout_ms)
    assert.equal("GET", calls[1][1].method)
    assert.are_not.equal(calls[1][1].id, calls[2][1].id)
    engine:note("http", -1, { id = calls[2][1].id, status = 201 })
    engine:note("http", -1, { id = 99, status = 404 })
    engine:dispatch("http", 0, 1, { id = calls[1][1].id, status = 500 }) -- no answer: a dispatch
    engine:note("open", 0, {})
    scheduler.step(0)
    assert.is_nil(got[1])
    assert.equal(201, got[2].status)
    engine:note("http", -1, { id = calls[1][1].id, status = 200 })
    scheduler.step(0)
    assert.equal(200, got[1].status)
    assert.same({ { "http", 0, false, 1 }, { "open", 0, true, 0 } }, seen)
    assert.same({}, made.requests)
  end)

  it("reports a request that failed, was refused, or never came back", function()
    local result
    local function ask(timeout)
      scheduler.spawn(function()
        result = { made:request { url = "http://x", timeout = timeout or 1 } }
      end)
    end
    ask()
    engine:note("http", -1, { id = 1, error = "ERESOLVE", message = "no such host" })
    scheduler.step(0)
    assert.same({ nil, "no such host", "ERESOLVE" }, result)
    engine.refuse.request = { code = "EBUSY" }
    ask()
    assert.same({ nil, "request: refused", "EBUSY" }, result)
    engine.refuse.request = nil
    result = nil
    local real_now, ahead = scheduler.now, 0
    scheduler.now = function() return real_now() + ahead end
    ask(1)
    ahead = 5.5
    scheduler.step(0)
    assert.is_nil(result)
    ahead = 6.5
    scheduler.step(0)
    scheduler.now = real_now
    assert.same({ nil, "request: timeout", "ETIMEOUT" }, result)
  end)

  it("ends every wait when it is closed", function()
    local results = {}
    scheduler.spawn(function()
      results.request = { made:request { url = "http://x", timeout = 5 } }
    end)
    scheduler.spawn(function() results.pause = { made:pause(5) } end)
    made:close(1000)
    made:close()
    assert.same({ nil, "request: cancelled", "ECLOSED" }, results.request)
    assert.same({ nil, "cancelled", "ECLOSED" }, results.pause)
    assert.same({ { 1000 } }, engine:calls_of "close")
    assert.same({ nil, "cancelled", "ECLOSED" }, { made:request { url = "x", timeout = 1 } })
    assert.same({ nil, "cancelled", "ECLOSED" }, { made:pause(1) })
  end)

  it("pauses for as long as it is told", function()
    local before = scheduler.now()
    assert.is_true(made:pause(0.02))
    assert.is_true(scheduler.now() - before >= 0.019)
  end)

  it("wants a turn when its owner does", function()
    local turns = 0
    made.hooks.turn = function() turns = turns + 1 end
    made.hooks.due_in = function() return 0.01 end
    assert.equal(0.01, made.source:timeout())
    scheduler.step(0.02)
    assert.is_true(turns >= 2)
  end)

  it("is collected although the scheduler knows it, and leaves the loop", function()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local forgotten = assert(bridge.new({}, { take = function() end }))
      weak[1] = forgotten
      weak[2] = forgotten.source
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    scheduler.step(0)
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[2])
  end)
end)

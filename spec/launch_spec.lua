-- launch_spec.lua: what an engine is told when shards are started, on an engine of paper: which
-- shards, in which order, with which options and sessions, and what is refused.

local core = require "moongate.core"
local launch = require "moongate.launch"
local moongate = require "moongate"
local paper = require "paper"

local shard_fields = core.shard_fields

local function client(more)
  local all = { token = "launch.spec.token", intents = { "guilds" }, url = "ws://127.0.0.1:1" }
  for key, value in pairs(more or {}) do all[key] = value end
  return moongate.client(all)
end

local function started(engine)
  local list = {}
  for i, call in ipairs(engine:calls_of "start") do
    list[i] = ("%d/%d"):format(call[1].shard_id, call[1].shard_count)
  end
  return table.concat(list, " ")
end

-- A gateway that knows what it would fetch.
local function know(bot, limit)
  bot.gateway:configure { api = bot.options.api, version = bot.options.version }
  local owner = {
    request = function()
      return { status = 200, headers = {}, body = core.encode {
        url = "ws://fetched.test", shards = 2, session_start_limit = limit or {
          total = 1000, remaining = 5, reset_after = 60000, max_concurrency = 3,
        },
      } }
    end,
    pause = function() return true end,
    wait = function(_, waiter) return waiter:wait() end,
  }
  assert(bot.gateway:fetch(true, owner))
end

describe("launch", function()
  local bot

  before_each(function() paper.install() end)

  after_each(function()
    if bot and bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  it("starts the shards that are asked for, lowest first, of the right number", function()
    for _, row in ipairs {
      { { shards = 3 }, {}, "0/3 1/3 2/3" },
      { { shards = 9, shard_ids = { 4, 2 } }, {}, "4/9 2/9" },
      { { shards = 3 }, { 2 }, "0/2 1/2" },
      { { shards = 16 }, { { 0, 3, 7 } }, "0/16 3/16 7/16" },
      { { shards = 16 }, { 4, 6 }, "4/16 5/16 6/16" },
    } do
      bot = client(row[1])
      assert.is_true(bot:spawn(table.unpack(row[2])))
      assert.equal(row[3], started(paper.engines[#paper.engines]))
      bot.bridge:close()
    end
  end)

  it("needs no gateway when url and number are known", function()
    bot = client { shards = 1 }
    assert.is_true(bot:connect())
    assert.same({}, paper.engines[1]:calls_of "request")
    assert.same({}, paper.engines[1]:calls_of "concurrency")
    assert.equal("ws://127.0.0.1:1", paper.engines[1]:calls_of "start"[1][1].url)
  end)

  it("uses what the gateway said", function()
    bot = client { token = "launch.known.token" }
    know(bot)
    bot.options.url = nil
    assert.is_true(bot:connect())
    local engine = paper.engines[1]
    assert.equal("0/2 1/2", started(engine))
    assert.equal("ws://fetched.test", engine:calls_of "start"[1][1].url)
    assert.same({ { 3 } }, engine:calls_of "concurrency")
    assert.equal(5, bot.gateway.session_start_limit.remaining)
  end)

  it("prefers the number that a Gateway was made with", function()
    local gateway = moongate.gateway("launch.chosen.token", 4)
    bot = moongate.cluster(gateway, { intents = 1, url = "ws://127.0.0.1:1" })
    assert.is_true(bot:spawn())
    assert.equal("0/4 1/4 2/4 3/4", started(paper.engines[1]))
  end)

  it("R35 starts more sessions than are left: those above wait for their day", function()
    bot = client { token = "launch.limit.token", shards = 6 }
    know(bot)
    assert.is_true(bot:connect())
    assert.equal("0/6 1/6 2/6 3/6 4/6 5/6", started(paper.engines[1]))
    assert.equal(5, bot.gateway.session_start_limit.remaining)
    assert.same({ total = 1000, used = 995, left = 0, reserve = 10 }, bot:stats().identifies)
  end)

  it("refuses a shard that the number leaves no room for", function()
    bot = client { shards = 4 }
    local done, message, code = bot:spawn { 1, 4 }
    assert.is_nil(done)
    assert.equal("EUSAGE", code)
    assert.truthy(message:find("there is no shard 4 of 4", 1, true))
    assert.equal("", started(paper.engines[1]))
  end)

  it("hands every option on, durations in milliseconds", function()
    bot = client {
      shards = 1, connect_timeout = 1.5, hello_timeout = 2, ready_timeout = 3, send_timeout = 4,
      backoff = { base = 0, cap = 0.25 }, message_bytes_max = 99, large_threshold = 51,
      properties = { os = "x" }, presence = { status = "idle" }, compress = false,
    }
    assert.is_true(bot:connect())
    local told = paper.engines[1]:calls_of "start"[1][1]
    assert.equal(1500, told.connect_timeout_ms)
    assert.equal(2000, told.hello_timeout_ms)
    assert.equal(3000, told.ready_timeout_ms)
    assert.equal(4000, told.send_timeout_ms)
    assert.equal(0, told.backoff_base_ms)
    assert.equal(250, told.backoff_cap_ms)
    assert.equal(99, told.message_bytes_max)
    assert.equal(51, told.large_threshold)
    assert.equal("x", told.properties.os)
    assert.is_false(told.compress)
    assert.equal("json", told.encoding)
    assert.equal(10, told.version)
    assert.equal(1, told.intents)
    assert.equal("launch.spec.token", told.token)
    local presence = core.decode(told.presence)
    assert.equal("idle", presence.status)
    assert.truthy(told.presence:find('"activities":[]', 1, true))
    local machine = core.machine(told)
    assert.equal("idle", machine.state)
  end)

  it("R64 starts later shards with the presence that was set last", function()
    bot = client { shards = 2 }
    assert.is_true(bot:spawn { 0 })
    assert.is_true(bot:set_presence { status = "dnd" })
    assert.is_true(bot:spawn { 1 })
    local told = paper.engines[1]:calls_of "start"[2][1]
    assert.equal("dnd", core.decode(told.presence).status)
  end)

  it("R64 a shard that is started again identifies with the newest, its own or that of all",
    function()
      bot = client { shards = 2, presence = { status = "online" } }
      assert.is_true(bot:connect())
      local one = bot.shards[0]
      -- The presence that the shard begins anew with.
      local function begun_with()
        paper.engines[1]:note("state", 0, { from = "ready", to = "idle" })
        bot:step(0)
        assert.is_true(one:connect())
        local starts = paper.engines[1]:calls_of "start"
        return core.decode(starts[#starts][1].presence).status
      end
      assert.equal("online", begun_with())
      assert.is_true(one:set_presence { status = "idle" })
      assert.equal("idle", begun_with())
      assert.is_true(bot:set_presence { status = "dnd" })
      assert.equal("dnd", begun_with())
      assert.is_true(one:send(3, { status = "invisible" }))
      assert.equal("invisible", begun_with())
      -- What cannot be part of an Identify is not kept, nor what was not sent.
      for _, odd in ipairs { { status = ("x"):rep(3100) }, core.array { 1 }, "dnd" } do
        assert.is_true(one:send(3, odd))
        assert.equal("invisible", begun_with())
      end
      bot:remember_presence { status = ("x"):rep(3100) }
      assert.equal("dnd", begun_with())
      bot:stop()
      assert.equal("ECLOSED", select(3, one:set_presence { status = "idle" }))
      paper.statuses[0] = nil
      assert.is_true(bot:connect())
      local starts = paper.engines[2]:calls_of "start"
      for _, call in ipairs(starts) do assert.equal("dnd", core.decode(call[1].presence).status) end
    end)

  it("tells what is heard before the shard is started", function()
    bot = client { shards = 1 }
    bot:on("GUILD_CREATE", function() end)
    bot:connect()
    local order = {}
    for i, call in ipairs(paper.engines[1].calls) do order[i] = call[1] end
    assert.same({ "interest", "start" }, order)
    local names = paper.engines[1].calls[1][3]
    table.sort(names)
    assert.same({ "GUILD_CREATE", "READY", "RESUMED" }, names)
  end)

  it("starts nothing twice", function()
    bot = client { shards = 2 }
    bot:connect()
    bot:connect()
    bot.shards[0]:connect()
    assert.equal("0/2 1/2", started(paper.engines[1]))
    paper.engines[1]:note("state", 0, { from = "ready", to = "idle" })
    bot:step(0)
    bot.shards[0]:connect()
    assert.equal("0/2 1/2 0/2", started(paper.engines[1]))
  end)

  it("takes a session up: the shard's own, or the one from the options, once", function()
    bot = client { shards = 2, session = { id = "given", seq = 9, shard_id = 1, shard_count = 2 } }
    bot:connect()
    local calls = paper.engines[1]:calls_of "start"
    assert.is_nil(calls[1][1].session)
    assert.same({ id = "given", seq = 9 }, calls[2][1].session)
    for id = 0, 1 do paper.engines[1]:note("state", id, { from = "ready", to = "idle" }) end
    bot:step(0)
    paper.statuses[0] = {
      state = "idle", session = "own", session_url = "wss://r.test", seq = 7, counts = {},
    }
    bot:connect()
    calls = paper.engines[1]:calls_of "start"
    assert.same({ id = "own", url = "wss://r.test", seq = 7 }, calls[3][1].session)
    assert.is_nil(calls[4][1].session)
  end)

  it("R32 resumes behind what was handled when the queue went with its engine", function()
    bot = client { shards = 1 }
    bot:on("A", function() end)
    bot:connect()
    local engine = paper.engines[1]
    paper.statuses[0] = {
      state = "ready", session = "own", seq = 12, settled = true, counts = {},
    }
    for seq = 10, 12 do engine:dispatch("A", 0, seq, {}) end
    bot.bridge:pump(1)
    engine:note("state", 0, { from = "closing", to = "idle" })
    bot.bridge.engine.queue = { table.unpack(engine.queue, 1, 2) } -- 11 and 12 are never handled
    local shut = launch.shut
    shut(bot, 4000)
    bot:connect()
    assert.same({ id = "own", seq = 10 }, paper.engines[2]:calls_of "start"[1][1].session)
  end)

  it("R40 ends everything when the token is refused, and only then", function()
    for status, code in pairs { [401] = "EAUTH", [404] = "EHTTP" } do
      bot = client { token = "launch.refused." .. status }
      bot.options.url = nil
      local seen, result, waited = {}, nil, nil
      for _, name in ipairs { "fatal", "exit" } do
        bot:on(name, function(data) seen[#seen + 1] = name .. data.code end)
      end
      moongate.spawn(function() waited = { bot:wait_for("READY") } end)
      moongate.spawn(function() result = { bot:connect() } end)
      local engine = paper.engines[#paper.engines]
      engine:note("http", -1, {
        id = engine:calls_of "request"[1][1].id, status = status, body = "{}", headers = {},
      })
      bot:step(0)
      assert.equal(code, result[3])
      assert.same(status == 401 and { "fatal4004", "exit4004" } or {}, seen)
      assert.equal(status == 401, waited ~= nil)
      if waited then assert.equal("ECLOSED", waited[3]) end
      bot:stop()
    end
  end)

  it("asks for the number alone, when the url is given", function()
    bot = client { token = "launch.number.token" }
    local result
    moongate.spawn(function() result = bot:connect() end)
    local engine = paper.engines[1]
    engine:note("http", -1, {
      id = engine:calls_of "request"[1][1].id, status = 200, headers = {},
      body = core.encode { url = "ws://other.test", shards = 2 },
    })
    bot:step(0)
    assert.is_true(result)
    assert.equal("0/2 1/2", started(engine))
    assert.equal("ws://127.0.0.1:1", engine:calls_of "start"[1][1].url)
    assert.equal("Client 2 shards, 0 ready", tostring(bot))
  end)

  it("tells a shard on its own how many there are", function()
    local one = moongate.shard("launch.alone.token", 1, { intents = 1, url = "ws://127.0.0.1:1" })
    bot = one.cluster
    know(bot)
    bot.options.url = "ws://127.0.0.1:1"
    assert.is_true(one:connect())
    assert.equal("Shard 1/2 idle", tostring(one))
    assert.equal("1/2", started(paper.engines[1]))
  end)

  it("makes waiting possible again", function()
    bot = client { shards = 1 }
    bot:connect()
    bot:stop()
    assert.equal("ECLOSED", select(3, bot:wait_for("A", { timeout = 0 })))
    bot:connect()
    assert.equal("ETIMEOUT", select(3, bot:wait_for("A", { timeout = 0 })))
    assert.equal("ETIMEOUT", select(3, bot.shards[0]:wait_for("A", { timeout = 0 })))
  end)

  it("R36 lets a new engine wait until the last identify of another is five seconds old", function()
    local real_now, ahead = core.now, 0
    core.now = function() return real_now() + ahead end -- luacheck: ignore
    bot = client { token = "launch.window.token", shards = 1 }
    bot:connect()
    local identified = core.now()
    paper.engines[1]:note("state", 0, { from = "hello", to = "identifying" })
    bot:step(0)
    bot:stop()
    local done
    moongate.spawn(function() done = bot:connect() end)
    assert.equal("", started(paper.engines[2]))
    bot:stop()
    assert.is_nil(done)
    ahead = core.limits.IDENTIFY_WINDOW_MS / 1000 - 0.1
    assert.is_true(bot:connect())
    assert.is_true(core.now() - identified >= core.limits.IDENTIFY_WINDOW_MS / 1000)
    assert.equal("0/1", started(paper.engines[3]))
    -- An engine that has begun knows the window itself.
    paper.engines[3]:note("state", 0, { from = "hello", to = "identifying" })
    paper.engines[3]:note("state", 0, { from = "identifying", to = "idle" })
    bot:step(0)
    local before = real_now()
    assert.is_true(bot:connect())
    assert.is_true(real_now() - before < 1)
    -- A resume waits for nothing.
    bot:stop()
    bot.gateway:note_identify()
    paper.statuses[0] = { state = "idle", session = "s", seq = 3, counts = {} }
    shard_fields(bot.shards[0]).handled = 3
    moongate.spawn(function() done = bot:connect() end)
    core.now = real_now -- luacheck: ignore
    assert.is_true(done)
  end)

  it("waits for room in the command queue", function()
    bot = client { shards = 1 }
    launch.open(bot)
    paper.engines[1].refuse.start = { code = "EBUSY", times = 2 }
    assert.is_true(bot:connect())
    assert.equal(3, #paper.engines[1]:calls_of "start")
    bot.bridge:close()
    bot = client { shards = 1 }
    launch.open(bot)
    paper.engines[2].refuse.start = { code = "EMEMORY" }
    assert.same({ nil, "start: refused", "EMEMORY" }, { bot:connect() })
  end)

  it("starts no shard whose events would go by unheard", function()
    bot = client { shards = 1 }
    launch.open(bot)
    paper.engines[1].refuse.interest = { code = "EBUSY", times = 2 }
    assert.is_true(bot:connect())
    local order = {}
    for i, call in ipairs(paper.engines[1].calls) do order[i] = call[1] end
    assert(#order > 3)
    for i, call in ipairs(order) do assert.equal(i < #order and "interest" or "start", call) end
    bot.bridge:close()
    bot = client { shards = 1 }
    launch.open(bot)
    paper.engines[2].refuse.interest = { code = "EMEMORY" }
    assert.same({ nil, "interest: refused", "EMEMORY" }, { bot:connect() })
    assert.equal(0, #paper.engines[2]:calls_of "start")
  end)

  it("says why there is no engine", function()
    paper.no_engine = "ESYSTEM"
    bot = client { shards = 1 }
    assert.same({ nil, "engine: no", "ESYSTEM" }, { bot:connect() })
    assert.same({ nil, "engine: no", "ESYSTEM" }, { bot:run() })
    local ear = core.ear
    finally(function() core.ear = ear end) -- luacheck: ignore
    core.ear = function() return nil end -- luacheck: ignore
    assert.same({ nil, "engine: no", "ESYSTEM" }, { bot:fd() })
  end)
end)

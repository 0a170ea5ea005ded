-- crew.c: the shards of one client on several I/O threads, which two or three shards fill here. In
-- order, within the limits, paused and ended together; against the sandbox over real sockets.
local core = require "moongate.core"
local moongate = require "moongate"
local witness = require "witness"

local SHARDS, SHARE = 12, 3
local MOST = core.limits.HANDSHAKES_MAX

describe("crew #sockets", function()
  local discord, bot
  local make_engine = core.engine

  -- Engines whose threads take `share` shards each.
  local function narrow(share)
    core.engine = function(options) -- luacheck: ignore
      options.thread_shards = share
      return make_engine(options)
    end
  end

  after_each(function()
    core.engine = make_engine -- luacheck: ignore
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function await(what, check) witness.await(bot, what, check) end

  local function count_states()
    local counts = {}
    for _, one in pairs(bot.shards) do counts[one.state] = (counts[one.state] or 0) + 1 end
    return counts
  end

  local function all_ready() return count_states().ready == SHARDS end

  -- `count` is nil where /proc has no tasks.
  local function count_threads()
    local pipe = assert(io.popen "ls /proc/$PPID/task 2>/dev/null | wc -l")
    local count = tonumber(pipe:read "l")
    pipe:close()
    return count > 0 and count or nil
  end

  -- A client whose shards are all ready, on `SHARDS / share` threads.
  local function ready(options, share, sandbox_options)
    local all = { shards = SHARDS, guilds = SHARDS, max_concurrency = 64, limits = false }
    for key, value in pairs(sandbox_options or {}) do all[key] = value end
    discord = witness.sandbox(all)
    local wanted = { shards = SHARDS, compress = false }
    for key, value in pairs(options or {}) do wanted[key] = value end
    narrow(share or SHARE)
    bot = witness.client(discord, wanted)
    assert(bot:connect())
    await("READY of all", all_ready)
  end

  -- Messages numbered from 1 for each shard, in turn. Returns what was heard wrongly, and how many
  -- were heard of each.
  local function number_messages(count, text)
    local heard, wrong = {}, {}
    bot:on("MESSAGE_CREATE", function(data, one)
      heard[one.id] = (heard[one.id] or 0) + 1
      if data.nonce ~= heard[one.id] then wrong[#wrong + 1] = { one.id, data.nonce } end
    end)
    bot:step(0)
    for number = 1, count do
      for id = 0, SHARDS - 1 do
        discord:dispatch("MESSAGE_CREATE", { channel_id = "1", content = text, nonce = number },
          { shard = id, filter = false, exact = true })
      end
    end
    return wrong, function()
      for id = 0, SHARDS - 1 do
        if heard[id] ~= count then return false end
      end
      return true
    end
  end

  local function blocked_until(check)
    for _ = 1, witness.patience * 20 do
      if check() then return end
      witness.block(0.05)
    end
    error("waited in vain", 2)
  end

  it("few shards have one thread, and each share of more has another", function()
    ready({}, SHARDS)
    local alone = count_threads()
    bot:stop()
    discord:stop()
    ready({}, SHARE)
    if alone then assert.equal(alone + SHARDS // SHARE - 1, count_threads()) end
    bot:stop()
    if alone then assert.equal(alone - 1, count_threads()) end
  end)

  it("the events of each shard come in order, and all are counted", function()
    ready()
    local wrong, is_done = number_messages(200, "hello")
    await("every message", is_done)
    assert.same({}, wrong)
    assert.same({ heard = 200 * SHARDS, skipped = 0 }, bot:stats().events.MESSAGE_CREATE)
    local readies = bot:stats().events.READY
    assert.equal(SHARDS, readies.heard + readies.skipped)
    assert.equal(SHARDS, bot:stats().ready)
  end)

  it("commands go to the thread of their shard", function()
    ready()
    for id, one in pairs(bot.shards) do
      assert(one:send("PRESENCE_UPDATE", {
        since = id, activities = moongate.array {}, status = "idle", afk = false,
      }))
    end
    await("every presence", function() return #discord:received "PRESENCE_UPDATE" == SHARDS end)
    local shard_of = {}
    for _, one in ipairs(discord:connections()) do shard_of[one.id] = one.shard end
    for _, sent in ipairs(discord:received "PRESENCE_UPDATE") do
      assert.equal(shard_of[sent.connection], sent.d.since)
    end
    assert(bot.shards[SHARDS - 1]:disconnect())
    await("one to be idle", function() return count_states().idle == 1 end)
    assert.equal("idle", bot.shards[SHARDS - 1].state)
    assert(bot.shards[SHARDS - 1]:connect())
    await("its return", all_ready)
    assert.equal(1, #discord:received "RESUME")
  end)

  it("identifies of all threads are of one budget: 5 s a key, in order", function()
    ready({}, 1, { max_concurrency = 6 })
    local last, order = {}, {}
    for _, sent in ipairs(discord:received "IDENTIFY") do
      local id = sent.d.shard[1]
      local key = id % 6
      local gap = last[key] and sent.at_ms - last[key]
      assert.is_true(not gap or gap >= 5000 - witness.late_ms, gap)
      last[key], order[#order + 1] = sent.at_ms, id
    end
    assert.equal(SHARDS, #order)
    for at, id in ipairs(order) do assert.equal(at <= 6, id < 6) end
  end)

  it("R17 handshakes of all threads are of one number, and all shards come back", function()
    SHARDS = 40
    finally(function() SHARDS = 12 end)
    ready({}, 2)
    discord:stall "hello"
    discord:drop()
    await("a line", function()
      return bot:stats().handshakes.waiting == SHARDS - (MOST - 1)
    end)
    witness.block(0.2)
    assert.equal(MOST - 1, #discord:connections())
    discord:stall("hello", false)
    await("all of them", all_ready)
    assert.is_true(bot:stats().handshakes.open_peak <= MOST)
    assert.same({ SHARDS, SHARDS }, { #discord:received "IDENTIFY", #discord:received "RESUME" })
  end)

  it("R57 a full queue pauses every thread, and all go on, with nothing lost", function()
    local MARK, COUNT = 60, 100
    ready({ queue_events = MARK })
    local wrong, is_done = number_messages(COUNT, ("x"):rep(1000))
    blocked_until(function() return bot:stats().queue.paused end)
    witness.block(0.3)
    local queue = bot:stats().queue
    assert.is_true(queue.queue_events_peak < 4 * MARK, queue.queue_events_peak)
    await("every message", is_done)
    assert.same({}, wrong)
    assert.is_true(bot:stats().queue.queue_events_peak < 4 * MARK)
    assert.same({ 0, SHARDS }, { #discord:received "RESUME", #discord:received "IDENTIFY" })
  end)

  it("R57 a queue that one shard fills is left by the shards of every thread", function()
    local MARK, COUNT = 50, 200
    ready({ queue_events = MARK, when_full = "disconnect" }, SHARE, { heartbeat_interval = 41250 })
    local heard = 0
    bot:on("MESSAGE_CREATE", function() heard = heard + 1 end)
    bot:step(0)
    local before = core.now()
    for _ = 1, COUNT do
      discord:dispatch("MESSAGE_CREATE", { channel_id = "1", content = "x" },
        { shard = 0, filter = false })
    end
    blocked_until(function() return count_states().backoff == SHARDS end)
    -- A thread that nobody tells looks after ten seconds at the latest.
    assert.is_true(core.now() - before < 6, core.now() - before)
    assert.same({}, discord:received "RESUME")
    await("every message, and all shards", function() return heard == COUNT and all_ready() end)
    assert.equal(SHARDS, #discord:received "IDENTIFY")
  end)

  it("R57 a shard that is started with its session while the queue is full waits", function()
    local MARK = 50
    discord = witness.sandbox { shards = 2, max_concurrency = 2 }
    local engine <close> = assert(make_engine { queue_events = MARK, thread_shards = 1 })
    local function start(id, session)
      assert(engine:interest(id, { "MESSAGE_CREATE" }))
      assert(engine:start { token = discord.token, url = discord.url, shard_id = id,
        shard_count = 2, intents = 1, session = session })
    end
    start(0)
    assert(discord:wait_for_ready(1))
    for _ = 1, MARK do discord:dispatch("MESSAGE_CREATE", {}, { filter = false, exact = true }) end
    blocked_until(function() return engine:counts().paused end)
    start(1, { id = "gone", url = discord.url, seq = 1 })
    witness.block(0.3)
    assert.same({}, discord:received "RESUME")
    local record
    repeat record = engine:next(record) until not record
    assert(discord:wait_until(function() return #discord:received "RESUME" == 1 end))
  end)

  it("R66 all threads end together, within two seconds, whatever the gateway does", function()
    ready({}, 1)
    discord:half_open()
    local bridge, before = bot.bridge, core.now()
    bot = nil -- it would wait for the gateway's answers first
    bridge:close()
    assert.is_true(core.now() - before < 2.5, core.now() - before)
  end)

  it("R66 a process with several threads ends in time, however it ends", function()
    discord = witness.sandbox { shards = 6, max_concurrency = 64, limits = false }
    for _, ending in ipairs { "os.exit(0)", "os.exit(0, true)", "bot = nil collectgarbage()" } do
      local before = core.now()
      local said, how, code = witness.program(([[
        local core, moongate = require "moongate.core", require "moongate"
        local make = core.engine
        core.engine = function(options) options.thread_shards = 1 return make(options) end
        local bot = moongate.client { token = %q, api = %q, intents = { "guilds" }, shards = 6 }
        assert(bot:connect())
        repeat
          bot:step(0.05)
          local count = 0
          for _, one in pairs(bot.shards) do if one.state == "ready" then count = count + 1 end end
        until count == 6
        io.popen("true"):close()
        io.write "ready"
        io.flush()
        %s
      ]]):format(discord.token, discord.api, ending))
      assert.same({ "ready", "exit", 0 }, { said, how, code })
      assert.is_true(core.now() - before < 5, core.now() - before)
      assert(discord:wait_for_connections(0))
      for _, one in ipairs(discord:history()) do assert.not_equal(1000, one.close_received) end
    end
  end)

  it("R39 a retired shard's place is used again when it returns", function()
    ready({}, SHARDS // 2)
    local before = count_threads()
    assert(bot:remove_shard(3))
    assert(bot:add_shard(3))
    await("its return", all_ready)
    assert.equal(before, count_threads())
    assert.equal("ready", bot.shards[3].state)
  end)

  it("R69 without descriptors for another thread it says so, and the others go on", function()
    discord = witness.sandbox { shards = 2, max_concurrency = 2 }
    local said = witness.program(([[
      local core = require "moongate.core"
      local engine = assert(core.engine { thread_shards = 1 })
      local function start(id)
        return engine:start { token = %q, url = %q, shard_id = id, shard_count = 2, intents = 1 }
      end
      assert(engine:interest(0, { "READY" }))
      assert(start(0))
      repeat local record, name = engine:next() until name == "READY" or not engine:wait(10)
      local files = {}
      for at = 1, 100 do files[at] = io.open "/dev/null" end
      local done, message, code = start(1)
      print(done, message, code)
      for _, file in pairs(files) do file:close() end
      print(start(1))
      os.exit(0)
    ]]):format(discord.token, discord.url), "ulimit -n 64;")
    assert.equal("nil\tstart: shard 1: no thread for more shards to be had; raise the limits "
      .. "(ulimit -n, ulimit -u), or have fewer shards in one process\tESYSTEM\ntrue\n", said)
  end)

  it("another client that starts in the midst of a handshake does not spoil it", function()
    discord = witness.sandbox { tls = true }
    discord:stall "accept" -- the client has said hello, and waits for the certificate
    bot = witness.client(discord, { shards = 1, url = discord.url })
    local problems = {}
    bot:on("error", function(problem) problems[#problems + 1] = problem.message end)
    assert(bot:connect())
    witness.block(0.3)
    assert.equal("connecting", bot.shards[0].state)
    local other = assert(make_engine { ca_file = discord.ca_file })
    discord:stall("accept", false)
    other:close()
    await("READY", function() return bot.state == "ready" or #problems > 0 end)
    assert.same({}, problems)
  end)
end)

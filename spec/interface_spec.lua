-- interface_spec.lua: the interface row by row, where the words are not those of Spectacles: what a
-- cluster and a shard can do besides, and each event of moongate's own with its data, over real
-- sockets to the sandbox.  #sockets

local core = require "moongate.core"
local luacats = require "luacats"
local moongate = require "moongate"
local witness = require "witness"

local discord, bot

local function ready(client_options, sandbox_options)
  discord = witness.sandbox(sandbox_options)
  bot = witness.ready(witness.client(discord, client_options))
  witness.await(bot, "all shards", function() return bot.state == "ready" end)
  return bot
end

local function await(what, check)
  return witness.await(bot, what, check)
end

local function by_hand(one, name, content)
  assert(one:receive(('{"op":0,"t":"%s","s":null,"d":{"content":"%s"}}'):format(name, content)))
end

local function cleanup()
  if bot then bot:stop() end
  if discord then discord:stop() end
  bot, discord = nil, nil
end

describe("the interface of a cluster #sockets", function()
  after_each(cleanup)

  it("on, once, off, prepend, listeners, listener_count, emit, wait_for, events", function()
    local one = ready().shards[0]
    local order = {}
    local function note(word)
      return function(data, shard, event)
        order[#order + 1] = word
        assert.same({ data.content, shard, event }, { "x", one, "MESSAGE_CREATE" })
      end
    end
    local last = bot:on("messageCreate", note "on")
    bot:once("message_create", note "once")
    local first = bot:prepend("MESSAGE_CREATE", note "prepend")
    one:on("MESSAGE_CREATE", note "shard's")
    assert.equal(3, bot:listener_count "MESSAGE_CREATE")
    assert.same({ first, last }, { bot:listeners("MESSAGE_CREATE")[1],
      bot:listeners("MESSAGE_CREATE")[2] })
    local loop = bot:events "MESSAGE_CREATE"
    local waited
    moongate.spawn(function() waited = bot:wait_for("MESSAGE_CREATE", { timeout = 10 }) end)
    bot:step(0)
    by_hand(one, "MESSAGE_CREATE", "x")
    await("it", function() return waited end)
    assert.same({ "shard's", "prepend", "on", "once" }, order)
    assert.equal("x", waited.content)
    assert.same({ "MESSAGE_CREATE", "x", one }, (function(event, data, shard)
      return { event, data.content, shard }
    end)(loop()))
    assert.is_true(bot:off("MESSAGE_CREATE", last))
    assert.is_true(bot:emit("messageCreate", { content = "x" }, one))
    assert.equal("prepend", order[#order])
    assert.is_true(bot:off "MESSAGE_CREATE")
    assert.equal(0, bot:listener_count "MESSAGE_CREATE")
    assert.equal("ETIMEOUT", select(3, bot:wait_for("MESSAGE_CREATE", { timeout = 0.01 })))
  end)

  it("on(\"*\"), { raw = true }, { lazy = true }: one event in every form", function()
    ready()
    local got = {}
    bot:on("*", function(data, _, event) got.all = event .. data.content end)
    bot:on("MESSAGE_CREATE", function(text) got.raw = text end, { raw = true })
    bot:on("MESSAGE_CREATE", function(data) got.lazy = data.content end, { lazy = true })
    bot:step(0)
    by_hand(bot.shards[0], "MESSAGE_CREATE", "x")
    await("it", function() return got.all and got.raw and got.lazy end)
    assert.same({ all = "MESSAGE_CREATEx", raw = '{"content":"x"}', lazy = "x" }, got)
  end)

  it("run(), step(timeout_s), stop { keep_session = true }", function()
    ready()
    assert.equal(0, bot:step(0))
    local began = core.now()
    while bot:step(0.2) > 0 do began = core.now() end
    assert.is_true(core.now() - began >= 0.15)
    moongate.spawn(function() bot:stop { keep_session = true } end)
    assert.is_true(bot:run())
    assert.equal(1, #discord:sessions())
    bot:once("RESUMED", function() bot:stop() end)
    assert.is_true(bot:run())
    assert.equal(0, #discord:sessions())
    assert.is_false((pcall(bot.stop, bot, { keep = true })))
  end)

  it("fd(), timeout(), pollable(): for any other loop", function()
    ready()
    local object = bot:pollable()
    assert.same({ bot:fd(), bot:fd(), "r" }, { object:pollfd(), object:getfd(), object:events() })
    local heard
    bot:on("MESSAGE_CREATE", function() heard = true end)
    bot:step(0)
    by_hand(bot.shards[0], "MESSAGE_CREATE", "x")
    assert.is_true(core.poll({ bot:fd() }, witness.patience))
    repeat bot:step(0) until heard or not core.poll({ bot:fd() }, 1)
    assert.is_true(heard)
    assert.is_true(bot:timeout() == nil or bot:timeout() >= 0)
  end)

  it("set_presence, request_members, update_voice_state, request_soundboard_sounds, "
    .. "request_channel_info: to the right shard", function()
    ready({ shards = 2, intents = { "guilds", "guild_members" } },
      { guilds = 4, max_concurrency = 2 })
    local function shard_of(packet)
      for _, link in ipairs(discord:connections()) do
        if link.id == packet.connection then return link.shard end
      end
    end
    local guild = discord.guilds[1].id
    local home = bot:shard_for(guild).id
    assert.is_true(bot:set_presence { status = "idle" })
    assert.is_true(bot:request_members(guild))
    assert.is_true(bot:update_voice_state(guild, "5"))
    assert.is_true(bot:request_soundboard_sounds(guild))
    assert.is_true(bot:request_channel_info(guild))
    assert.equal(2, #assert(discord:wait_received("PRESENCE_UPDATE", { count = 2 })))
    for _, op in ipairs { "REQUEST_GUILD_MEMBERS", "VOICE_STATE_UPDATE",
      "REQUEST_SOUNDBOARD_SOUNDS", "REQUEST_CHANNEL_INFO" } do
      assert.equal(home, shard_of(assert(discord:wait_received(op))[1]), op)
    end
    assert.is_true(bot:send(bot.shards[1], "PRESENCE_UPDATE", discord:received(3)[1].d))
    assert.equal(1, shard_of(assert(discord:wait_received("PRESENCE_UPDATE", { count = 3 }))[3]))
  end)

  it("state, latency, stats(), metrics(): the farthest from ready, the mean, numbers", function()
    ready({ shards = 2 }, { max_concurrency = 2, heartbeat_interval = 300 })
    await("beats", function() return bot.shards[0].latency and bot.shards[1].latency end)
    assert.is_true(math.abs(bot.latency - (bot.shards[0].latency + bot.shards[1].latency) / 2)
      < 1e-9 or bot.latency >= 0)
    bot.shards[1]:disconnect()
    await("one down", function() return bot.shards[1].state == "idle" end)
    assert.equal("idle", bot.state) -- computed, never latched
    local stats = bot:stats()
    assert.same({ "idle", 2, 1, 2 }, { stats.state, stats.total, stats.ready, stats.shard_count })
    for _, name in ipairs { "shards", "queue", "handshakes", "events", "identifies" } do
      assert.equal("table", type(stats[name]), name)
    end
    for _, name in ipairs { "bytes_in", "bytes_out", "messages_in", "messages_out", "reconnects",
      "resumes", "identifies", "decode_errors" } do
      assert.equal("number", type(stats.shards[0][name]), name)
    end
    assert.same({ [4000] = 1 }, stats.shards[1].closes)
    assert.same({ "number", "number" }, { type(stats.queue.queue_events), type(stats.queue.lag) })
    assert.truthy(bot:metrics():find("\nmoongate_shards_ready 1\n", 1, true))
    bot:connect()
    await("both up", function() return bot.state == "ready" end)
  end)

  it("session_info(): what options.session takes up in another process", function()
    local one = ready().shards[0]
    local info = assert(one:session_info())
    assert.same({ one.session, 0, 1 }, { info.id, info.shard_id, info.shard_count })
    assert.is_true(info.seq >= 1 and info.url:find "^ws" ~= nil)
    bot:stop { keep_session = true }
    bot = witness.client(discord, { session = info })
    bot:connect()
    assert(bot:wait_for("RESUMED", { timeout = witness.patience }))
    assert.equal(info.id, bot.shards[0].session)
  end)
end)

describe("the events #sockets", function()
  local wrong -- a list of words: an error in a listener would only be told to another one

  after_each(function()
    cleanup()
    assert.same({}, wrong)
  end)

  -- What the data of each has is what editors are told: see annotations.lua.
  local book = luacats.read(luacats.files "lua/moongate/meta")

  local function check(name, data, event)
    for _, words in ipairs(luacats.judge(book, data, "moongate.data." .. name)) do
      wrong[#wrong + 1] = words
    end
    if event ~= name then wrong[#wrong + 1] = ("%s is called %s"):format(name, event) end
  end

  -- Listens to all of them from the beginning; how often each came, and the last data.
  local function listen(client_options, sandbox_options)
    discord = witness.sandbox(sandbox_options)
    bot = witness.client(discord, client_options)
    local came, last = {}, {}
    wrong = {}
    for name in pairs(moongate.events.own) do
      bot:on(name, function(data, shard, event)
        came[name], last[name] = (came[name] or 0) + 1, data
        check(name, data, event)
        if name ~= "log" and name ~= "hold" and shard ~= bot.shards[0] then
          wrong[#wrong + 1] = name .. " is of no shard"
        end
      end)
    end
    return came, last
  end

  it("open, close, connect, disconnect, state, send, receive, log: as a session goes", function()
    local came, last = listen { shards = 1, log_level = "debug" }
    witness.ready(bot)
    discord:close(4321, "tea")
    await("RESUMED", function() return came.open == 2 and bot.state == "ready" end)
    assert.same({ 4321, "tea", "server", true, true, true }, { last.close.code, last.close.reason,
      last.close.by, last.close.was_clean, last.close.resumable, last.close.will_reconnect })
    assert.is_true(last.close.retry_in >= 0)
    assert.is_true(last.connect.resuming and last.connect.attempt >= 1)
    discord:drop()
    await("RESUMED again", function() return came.open == 3 and bot.state == "ready" end)
    assert.same({ 1006, false }, { last.close.code, last.close.was_clean })
    bot.shards[0]:disconnect(4000, "for now")
    await("down", function() return last.state.to == "idle" end)
    assert.same({ code = 4000, reason = "for now" }, last.disconnect)
    assert.same({ "client", false, nil }, { last.close.by, last.close.will_reconnect,
      last.close.retry_in })
    assert.same({ from = "closing", to = "idle" }, last.state)
    assert.is_true(came.log > 10 and came.send >= 3 and came.receive >= 3)
  end)

  it("error, blocked, gap, lost: what goes wrong and goes on", function()
    local came, last = listen { shards = 1, blocked_after = 0.05 }
    witness.ready(bot)
    bot:on("MESSAGE_CREATE", function(data)
      if data.content == "block" then return witness.block(0.1) end
      error("oops", 0)
    end)
    bot:step(0)
    by_hand(bot.shards[0], "MESSAGE_CREATE", "fail")
    by_hand(bot.shards[0], "MESSAGE_CREATE", "block")
    await("blocked", function() return came.blocked and came.error end)
    assert.same({ "EHANDLER", "oops", "handler", "MESSAGE_CREATE" }, { last.error.code,
      last.error.message, last.error.phase, last.error.event })
    assert.equal("MESSAGE_CREATE", last.blocked.event)
    assert.is_true(last.blocked.seconds >= 0.1)
    assert.matches("interface_spec.lua:%d+$", last.blocked.where)
    local seq = bot.shards[0].seq
    bot.shards[0]:receive(('{"op":0,"t":"X","s":%d,"d":{}}'):format(seq + 3))
    await("gap", function() return came.gap end)
    assert.same({ expected = seq + 1, got = seq + 3 }, last.gap)
    discord:invalid_session(false)
    await("lost", function() return came.lost end)
    assert.equal(seq + 3, last.lost.last_seq)
  end)

  it("fatal, exit: what stays down, and what to do about it", function()
    local came, last = listen { shards = 1 }
    witness.ready(bot)
    discord:close(4014)
    local done, message, code = bot:run()
    assert.same({ nil, "EINTENTS", 1, 1 }, { done, code, came.fatal, came.exit })
    assert.same({ 4014, "DISALLOWED_INTENTS" }, { last.fatal.code, last.fatal.name })
    assert.same(last.fatal, last.exit)
    assert.truthy(message:find(last.fatal.remedy, 1, true), message)
  end)

  it("hold: the day's identifies are used up", function()
    local came, last = listen({ shards = 1 },
      { session_start_limit = { total = 1000, remaining = 10, reset_after = 3600000 } })
    assert.is_true(bot:connect())
    await("hold", function() return came.hold end)
    assert.is_true(last.hold["until"] > os.time() and last.hold["until"] <= os.time() + 86400)
    assert.equal(0, #discord:received "IDENTIFY")
    assert.equal("waiting", bot.state)
  end)
end)

-- cluster_spec.lua: clients and clusters against the sandbox, over real sockets: starting, routing,
-- running, stopping, sessions that outlive their process, other loops, and the collector.

local core = require "moongate.core"
local moongate = require "moongate"
local witness = require "witness"

local GUILD_SHIFT = 1 << 22

describe("cluster #sockets", function()
  local discord, bot

  local function sandbox(options)
    discord = witness.sandbox(options)
    return discord
  end

  local function client(options)
    bot = witness.client(discord, options)
    return bot
  end

  local function ready(client_options, sandbox_options)
    sandbox(sandbox_options)
    return witness.ready(client(client_options))
  end

  local function await(what, check)
    return witness.await(bot, what, check)
  end

  local function until_state(state, one)
    await(state, function() return (one or bot).state == state end)
  end

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
    collectgarbage "generational"
    collectgarbage "incremental"
    collectgarbage("setpause", 200)
  end)

  describe("starts", function()
    it("with what the gateway recommends, asked for once and by name", function()
      ready(nil, { shards = 2, max_concurrency = 2 })
      until_state "ready"
      assert.equal(2, #discord:connections())
      local requests = discord:requests "/gateway/bot"
      assert.equal(1, #requests)
      assert.is_true(requests[1].authorized)
      assert.truthy(requests[1].user_agent:find("^DiscordBot %(moongate, "))
      assert.equal("Client 2 shards ready", tostring(bot):match "^[^,]+")
      assert.equal(2, bot.gateway.shards)
      assert.equal(2, bot.gateway.session_start_limit.max_concurrency)
    end)

    it("with url and shards given, without asking", function()
      sandbox()
      witness.ready(client { url = discord.url, shards = 1 })
      assert.equal(0, #discord:requests "/gateway/bot")
    end)

    it("some shards of many, and more of them later", function()
      sandbox { max_concurrency = 16 }
      client { shards = 8 }
      assert.is_true(bot:spawn { 1, 5 })
      until_state "ready"
      assert.is_true(bot:spawn(6, 7))
      until_state "ready"
      local ids = {}
      for id, shard in pairs(bot.shards) do
        ids[#ids + 1] = id
        assert.equal(id, shard.id)
        assert.truthy(tostring(shard):find(("^Shard %d/8 ready"):format(id)))
      end
      table.sort(ids)
      assert.same({ 1, 5, 6, 7 }, ids)
      for _, packet in ipairs(discord:received "IDENTIFY") do
        assert.equal(8, packet.d.shard[2])
      end
    end)

    it("R36 shards of two clients of one token, one window apart", function()
      sandbox { max_concurrency = 1 }
      local second <close> = witness.client(discord, { shards = 2, url = discord.url })
      client { shards = 2, url = discord.url }
      local times = {}
      for _, one in ipairs { bot, second } do
        one:on("READY", function() times[#times + 1] = core.now() end)
      end
      moongate.spawn(function() second:spawn { 1 } end)
      assert.is_true(bot:spawn { 0 })
      await("both", function() return #times == 2 end)
      local apart = times[2] - times[1]
      assert(apart > 4.5 and apart < 8, apart)
      assert.equal(2, #discord:received "IDENTIFY") -- none was refused
    end)

    it("one shard on its own", function()
      sandbox { max_concurrency = 4 }
      local one = moongate.shard(discord.token, 2, {
        api = discord.api, intents = { "guilds" }, shards = 3,
      })
      bot = one.cluster
      local got
      one:once("READY", function(data, shard) got = { data.shard[1], data.shard[2], shard } end)
      assert.is_true(one:connect())
      await("READY", function() return got end)
      assert.same({ 2, 3 }, { got[1], got[2] })
      assert.equal(one, got[3])
      assert.equal(1, #discord:connections())
      assert.equal(discord.url, one.url:match "^[^?]+":gsub("/$", ""))
      assert.equal("open", one.ws.ready_state)
      assert.is_true(one.ws.bytes_in > 0)
    end)

    it("inside a handler, where it yields", function()
      sandbox()
      client()
      local result
      moongate.spawn(function() result = { bot:connect() } end)
      assert.is_nil(result)
      await("connect", function() return result end)
      assert.is_true(result[1])
    end)

    it("R56 after the gateway has failed for a while, and says so", function()
      sandbox()
      discord:respond { path = "/gateway/bot", status = 502, body = "bad", times = 1 }
      client()
      local errors = {}
      bot:on("error", function(data) errors[#errors + 1] = data end)
      witness.ready(bot)
      assert.equal(1, #errors)
      assert.equal("gateway", errors[1].phase)
      assert.equal("EHTTP", errors[1].code)
      assert.truthy(errors[1].message:find("HTTP 502", 1, true))
    end)

    it("R40 not at all with a token that is refused, by the API or by the gateway", function()
      sandbox()
      for _, options in ipairs { { token = "wrong.api" }, { token = "wrong.gate", shards = 1,
        url = discord.url } } do
        client(options)
        local fatal, exit
        bot:on("fatal", function(data) fatal = data end)
        bot:on("exit", function(data) exit = data end)
        local done, message, code = bot:run()
        assert.is_nil(done)
        assert.equal("EAUTH", code)
        assert.truthy(message:find("the token was not accepted", 1, true), message)
        assert.equal(4004, fatal.code)
        assert.equal("AUTHENTICATION_FAILED", exit.name)
        assert.is_nil(message:find(options.token, 1, true))
        assert.is_nil(bot.bridge)
      end
    end)
  end)

  describe("delivers", function()
    it("what is heard, to whoever hears it when it comes", function()
      ready()
      local before = bot:stats().shards[0].events_skipped
      discord:dispatch("TYPING_START", { channel_id = "1" }, { filter = false })
      await("a skipped event", function()
        return bot:stats().shards[0].events_skipped > before
      end)
      local got
      bot:once("typingStart", function(data, shard, name)
        got = { data.channel_id, shard, name }
      end)
      discord:dispatch("TYPING_START", { channel_id = "2" }, { filter = false })
      await("the event", function() return got end)
      assert.same({ "2", bot.shards[0], "TYPING_START" }, got)
    end)

    it("READY and RESUMED to whoever waits for them after they came", function()
      sandbox { heartbeat_interval = 60000 }
      client { shards = 1 }
      assert.is_true(bot:connect())
      assert(discord:wait_received "IDENTIFY")
      witness.block(0.3) -- nobody turns the loop, as at a prompt
      local data, shard = bot:wait_for("READY", { timeout = 10 })
      assert.same({ bot.shards[0].session, bot.shards[0] }, { data.session_id, shard })
      discord:drop()
      assert(discord:wait_received "RESUME")
      witness.block(0.3)
      assert.equal("RESUMED", select(3, bot:wait_for("RESUMED", { timeout = 10 })))
    end)

    it("raw text, waits, loops, and everything", function()
      ready()
      local raw, all = nil, {}
      bot:on("MESSAGE_CREATE", function(text) raw = text end, { raw = true })
      bot:on("*", function(_, _, name) all[#all + 1] = name end)
      bot:step(0)
      discord:dispatch("MESSAGE_CREATE", { content = "one", channel_id = "1" })
      local message = bot:wait_for("MESSAGE_CREATE", { timeout = 5 })
      assert.equal("one", message.content)
      assert.equal("one", core.decode(raw).content)
      assert.equal("MESSAGE_CREATE", all[#all])
      moongate.spawn(function()
        for at = 1, 3 do
          discord:dispatch("MESSAGE_CREATE", { content = tostring(at), channel_id = "1" })
          moongate.sleep(0.01)
        end
      end)
      local seen = {}
      for _, data in bot:events "MESSAGE_CREATE" do
        seen[#seen + 1] = data.content
        if #seen == 3 then break end
      end
      assert.same({ "1", "2", "3" }, seen)
      local none, _, code = bot:wait_for("NOTHING", { timeout = 0.02 })
      assert.is_nil(none)
      assert.equal("ETIMEOUT", code)
    end)

    it("its own events in order, with the token hidden", function()
      sandbox()
      client()
      local order, sent = {}, {}
      for _, name in ipairs { "connect", "open", "state", "disconnect", "close", "fatal" } do
        bot:on(name, function(data)
          order[#order + 1] = name == "state" and data.to or name
        end)
      end
      bot:on("send", function(data) sent[#sent + 1] = data end)
      bot:on("receive", function(data) sent[#sent + 1] = data end)
      witness.ready(bot)
      bot:stop()
      assert.same({
        "waiting", "connect", "connecting", "open", "hello", "identifying", "ready", "disconnect",
        "closing", "close", "idle",
      }, order)
      assert.equal(10, sent[1].op)
      assert.equal(2, sent[2].op)
      assert.equal("(hidden)", sent[2].d.token)
    end)

    it("errors of listeners from run, unless somebody hears them", function()
      ready()
      bot:on("MESSAGE_CREATE", function() error("oh dear", 0) end)
      bot:step(0)
      discord:dispatch("MESSAGE_CREATE", { content = "x", channel_id = "1" })
      local fine, message = pcall(bot.run, bot)
      assert.is_false(fine)
      assert.truthy(message:find("oh dear", 1, true))
      assert.equal("ready", bot.state)
      local heard
      bot:on("error", function(data)
        heard = data
        bot:stop()
      end)
      discord:dispatch("MESSAGE_CREATE", { content = "x", channel_id = "1" })
      assert.is_true(bot:run())
      assert.equal("handler", heard.phase)
      assert.equal("MESSAGE_CREATE", heard.event)
      assert.truthy(heard.traceback:find("cluster_spec.lua", 1, true))
    end)
  end)

  describe("sends", function()
    it("to the shard that has the guild", function()
      sandbox { guilds = 4, max_concurrency = 4 }
      witness.ready(client { shards = 2, intents = { "guilds", "guild_members" } })
      until_state "ready"
      local chunks = {}
      bot:on("GUILD_MEMBERS_CHUNK", function(data, shard) chunks[data.guild_id] = shard.id end)
      for _, guild in ipairs(discord.guilds) do
        local id = guild.id or guild
        assert.equal(tonumber(id) // GUILD_SHIFT % 2, bot:shard_for(id).id)
        assert.is_true(bot:request_members(id, { query = "", limit = 0 }))
      end
      await("the chunks", function()
        for _, guild in ipairs(discord.guilds) do
          if not chunks[guild.id or guild] then return false end
        end
        return true
      end)
      for id, shard_id in pairs(chunks) do
        assert.equal(tonumber(id) // GUILD_SHIFT % 2, shard_id)
      end
    end)

    it("a presence to all, and voice states", function()
      ready({ shards = 2 }, { max_concurrency = 2 })
      until_state "ready"
      assert.is_true(bot:set_presence { status = "dnd", activities = { { name = "chess" } } })
      assert.is_true(bot:update_voice_state("1", "2"))
      assert(discord:wait_received("PRESENCE_UPDATE", { count = 2 }))
      local voice = assert(discord:wait_received "VOICE_STATE_UPDATE")
      assert.equal("2", voice[1].d.channel_id)
      assert.equal("dnd", discord:received "PRESENCE_UPDATE"[1].d.status)
    end)

    it("nothing that cannot be sent, and says why", function()
      ready()
      local one = bot.shards[0]
      local sent, message, code = one:send(3, { text = ("x"):rep(5000) })
      assert.is_nil(sent)
      assert.equal("EPAYLOAD", code)
      assert.truthy(message:find("^send: 50%d%d bytes, at most 4096 allowed"))
      sent, message, code = one:send(3, { deep = { fn = print } })
      assert.is_nil(sent)
      assert.equal("EVALUE", code)
      assert.truthy(message:find("send: d.deep.fn: a function", 1, true), message)
      local _, _, where = bot:send("613425648685547541", 3, { text = "\255" })
      assert.equal("EUTF8", where)
      bot:stop()
      assert.equal("ECLOSED", select(3, one:send(3, {})))
    end)

    it("bytes as they are", function()
      ready()
      assert.is_true(bot.shards[0]:send('{"op":3,"d":{"since":null,"activities":[],'
        .. '"status":"idle","afk":false}}'))
      assert.equal("idle", assert(discord:wait_received "PRESENCE_UPDATE")[1].d.status)
      -- What it said is what the next session begins with.
      bot:disconnect(1000)
      until_state "idle"
      assert.is_true(bot:connect())
      local presence = assert(discord:wait_received("IDENTIFY", { count = 2, timeout = 15 }))[2].d
        .presence
      assert.same({ "idle", 0 }, { presence.status, #presence.activities })
    end)
  end)

  describe("stops", function()
    it("with 1000, so that the session is over", function()
      ready()
      assert.is_true(bot:stop())
      assert(discord:wait_for_connections(0))
      assert.equal(0, #discord:sessions())
      assert.equal("idle", bot.shards[0].state)
      assert.is_nil(bot.shards[0].session)
      assert.equal("ECLOSED", select(3, bot:wait_for "READY"))
      assert.is_true(bot:stop())
    end)

    it("with the session kept when asked to, and resumes when it starts again", function()
      ready()
      local session = bot.shards[0].session
      bot:stop { keep_session = true }
      assert.equal(1, #discord:sessions())
      assert.equal(session, bot.shards[0].session)
      local resumed
      bot:once("RESUMED", function() resumed = true end)
      assert.is_true(bot:connect())
      await("RESUMED", function() return resumed end)
      assert.equal(session, bot.shards[0].session)
      assert.equal(1, #discord:received "IDENTIFY")
    end)

    it("inside a handler, and ends run", function()
      sandbox()
      client()
      local stopped
      bot:on("READY", function() stopped = bot:stop() end)
      assert.is_true(bot:run())
      assert.is_true(stopped)
      assert.is_nil(bot.bridge)
      assert.is_true(bot:run()) -- and again, from the beginning
      assert.equal(2, #discord:received "IDENTIFY")
    end)

    it("while the gateway is being asked", function()
      sandbox()
      discord:respond { path = "/gateway/bot", delay = 30, times = 0 }
      client()
      moongate.spawn(function()
        moongate.sleep(0.05)
        bot:stop()
      end)
      local before = core.now()
      assert.is_true(bot:run())
      assert.is_true(core.now() - before < 5)
    end)

    it("from two handlers at once", function()
      ready()
      local results = {}
      for at = 1, 3 do moongate.spawn(function() results[at] = bot:stop() end) end
      await("the stops", function() return #results == 3 end)
      assert.same({ true, true, true }, results)
    end)

    it("and a connect() that comes meanwhile waits for that, and begins anew", function()
      ready()
      local stopped, connected
      moongate.spawn(function() stopped = bot:stop { keep_session = true } end)
      moongate.spawn(function() connected = bot:connect() end)
      await("both", function() return stopped and connected end)
      until_state "ready"
      assert.equal(1, #discord:history())
    end)

    it("R66 on Ctrl-C, politely", function()
      sandbox()
      local said, how, code = witness.program(([[
        local moongate = require "moongate"
        local bot = moongate.client { token = %q, api = %q, intents = { "guilds" } }
        bot:on("READY", function()
          local file = io.open("/proc/self/stat")
          local pid = file:read("a"):match("^%%d+")
          file:close()
          io.popen("kill -INT " .. pid):close()
        end)
        print(bot:run())
        print(bot)
      ]]):format(discord.token, discord.api))
      assert.equal("true\nClient 1 shard idle\n", said)
      assert.same({ "exit", 0 }, { how, code })
      assert(discord:wait_for_connections(0))
      assert.equal(1, #discord:sessions())
    end)
  end)

  describe("keeps sessions", function()
    it("when a shard disconnects and connects again", function()
      ready()
      local one = bot.shards[0]
      local session = one.session
      assert.is_true(one:disconnect())
      until_state "idle"
      assert.equal(session, one.session)
      local resumed = 0
      bot:on("RESUMED", function() resumed = resumed + 1 end)
      assert.is_true(one:connect())
      await("RESUMED", function() return resumed == 1 end)
      assert.is_true(bot:reconnect())
      await("RESUMED again", function() return resumed == 2 end)
      assert.equal(1, #discord:received "IDENTIFY")
      assert.is_true(one:reconnect(1000))
      assert(bot:wait_for("READY", { timeout = 15 }))
      assert.equal(2, #discord:received "IDENTIFY")
      assert.are_not.equal(session, one.session)
    end)

    it("when it is connected, or run, while it still disconnects", function()
      ready()
      local resumed = 0
      bot:on("RESUMED", function()
        resumed = resumed + 1
        if resumed == 2 then bot:stop { keep_session = true } end
      end)
      assert.is_true(bot:disconnect())
      assert.is_true(bot:connect())
      await("RESUMED", function() return resumed == 1 end)
      assert.is_true(bot:disconnect())
      assert.is_true(bot:run())
      assert.equal(2, resumed)
      assert.equal(1, #discord:received "IDENTIFY")
    end)

    it("R31 for another client, from the event that was handled last", function()
      ready()
      local info, got = nil, {}
      bot:on("MESSAGE_CREATE", function(data, shard)
        got[#got + 1] = data.content
        if data.content == "2" then
          moongate.sleep(0)
          info = shard:session_info()
          bot:stop { keep_session = true }
        end
      end)
      bot:step(0)
      for at = 1, 2 do
        discord:dispatch("MESSAGE_CREATE", { content = tostring(at), channel_id = "1" })
      end
      await("the second message", function() return info end)
      await("the stop", function() return not bot.bridge end)
      discord:dispatch("MESSAGE_CREATE", { content = "3", channel_id = "1" })
      assert.equal(0, info.shard_id)
      client { session = info }
      bot:on("MESSAGE_CREATE", function(data) got[#got + 1] = data.content end)
      local resumed
      bot:on("RESUMED", function() resumed = true end)
      assert.is_true(bot:connect())
      await("RESUMED", function() return resumed end)
      assert.equal("3", got[#got])
      assert.equal(1, #discord:received "IDENTIFY")
      assert.equal(info.seq, discord:received "RESUME"[1].d.seq)
    end)
  end)

  describe("lives in other loops", function()
    it("that poll a descriptor", function()
      sandbox()
      client()
      local object = bot:pollable()
      local fd = object:pollfd()
      assert.equal(fd, object:getfd())
      assert.equal(fd, bot:fd())
      assert.equal("r", object:events())
      assert.is_false(object:dirty())
      assert.same({ nil, "timeout" }, { object:receive() })
      object:close()
      assert.equal(fd, bot:fd())
      local is_ready
      bot:on("READY", function() is_ready = true end)
      moongate.spawn(function() assert(bot:connect()) end)
      local deadline = core.now() + witness.patience
      while not is_ready and core.now() < deadline do
        if core.poll({ fd }, math.min(object:timeout() or 1, 1)) then
          assert.is_true(object:receive())
        end
        bot:step(0)
      end
      assert.is_true(is_ready)
      assert.equal(fd, bot:fd())
    end)

    -- What another loop does, until check() is true; its one descriptor is `fd`.
    local function turn(fd, what, check)
      local deadline = core.now() + witness.patience
      while not check() do
        if core.now() > deadline then error("waited in vain for " .. what, 2) end
        core.poll({ fd }, math.min(bot:timeout() or 1, 1))
        bot:step(0)
      end
    end

    -- Nothing is there and no time is waited for, so that such a loop would wait for ever.
    local function settle(fd)
      turn(fd, "silence", function() return not core.poll({ fd }, 0) and not bot:timeout() end)
    end

    it("that keep one descriptor for good, and poll it through stop() and reshard()", function()
      sandbox { max_concurrency = 16 }
      client { shards = 1 }
      local fd, heard = bot:fd(), nil
      bot:on("MESSAGE_CREATE", function(message) heard = message.content end)
      local function hears(content)
        settle(fd)
        discord:dispatch("MESSAGE_CREATE", { content = content, channel_id = "1" })
        assert.is_true(core.poll({ fd }, witness.patience))
        turn(fd, content, function() return heard == content end)
      end
      local function does(verb, ...)
        local result
        moongate.spawn(function(...) result = table.pack(bot[verb](bot, ...)) end, ...)
        turn(fd, verb, function() return result end)
        assert.is_true(result[1], result[2])
      end
      local function connects()
        does "connect"
        turn(fd, "READY", function() return bot.state == "ready" end)
      end
      connects()
      hears "one"
      does "stop"
      assert.equal(fd, bot:fd())
      assert.is_nil(bot.bridge) -- asking starts nothing
      settle(fd)
      connects()
      hears "two"
      does("reshard", 2)
      hears "three"
      assert.equal(fd, bot:fd())
    end)

    it("with the engine's own descriptor, where there is no ear", function()
      local ear = core.ear
      finally(function() core.ear = ear end)
      core.ear = function() return nil end
      sandbox()
      client()
      local fd = bot:fd()
      assert.equal(bot.bridge.engine:fd(), fd)
      moongate.spawn(function() assert(bot:connect()) end)
      turn(fd, "READY", function() return bot.state == "ready" end)
    end)

    it("an ear is readable while it rings, or while one that it hears is", function()
      local one, other = assert(core.ear()), assert(core.ear())
      local function readable() return core.poll({ one:fd() }, 0) end
      assert.is_false(readable())
      one:ring()
      one:ring()
      assert.is_true(readable())
      one:hush()
      assert.is_false(readable())
      assert.is_true(one:hear(other:fd()))
      assert.is_true(one:hear(other:fd()))
      assert.is_false(readable())
      other:ring()
      assert.is_true(readable())
      one:ignore(other:fd())
      assert.is_false(readable())
      local heard, message, code = one:hear(-1)
      assert.is_nil(heard)
      assert.matches("^ear: ", message)
      assert.equal("ESYSTEM", code)
    end)

    it("that learn of what was begun outside of their turns", function()
      sandbox()
      client()
      local fd, done = bot:fd(), nil
      settle(fd)
      moongate.spawn(function()
        moongate.sleep(0)
        done = true
      end)
      assert.is_true(core.poll({ fd }, 0))
      bot:step(0)
      assert.is_true(done)
      settle(fd)
      moongate.spawn(error, "of nobody's listener")
      assert.is_true(core.poll({ fd }, 0))
      assert.has_error(function() bot:step(0) end)
      settle(fd)
    end)

    it("in which run() waits in a coroutine, until a stop() from outside", function()
      sandbox()
      client()
      local fd, result = bot:fd(), nil
      moongate.spawn(function() result = table.pack(bot:run()) end)
      turn(fd, "READY", function() return bot.state == "ready" end)
      assert.is_true(bot:stop())
      assert.same({ true, n = 1 }, result)
    end)
  end)

  describe("is collected", function()
    local function weak_client(connect)
      local weak = setmetatable({}, { __mode = "v" })
      local one = witness.client(discord)
      weak[1], weak[2] = one, one.emitter
      one:on("MESSAGE_CREATE", function() return one end)
      one:on("*", function() end)
      if connect then
        witness.ready(one)
        one.shards[0]:on("close", function() return one.shards[0] end)
        weak[3] = one.shards[0]
        weak[4] = one.bridge.engine
      end
      return weak
    end

    it("when nobody refers to it but its own listeners, connected or not", function()
      sandbox()
      for _, connect in ipairs { false, true } do
        local weak = weak_client(connect)
        for _ = 1, 3 do collectgarbage() end
        assert.is_nil(next(weak))
      end
      assert(discord:wait_for_connections(0))
      assert.equal(1, #discord:sessions())
    end)

    it("by a to-be-closed variable, with the session kept", function()
      sandbox()
      do
        local one <close> = witness.client(discord)
        witness.ready(one)
      end
      assert(discord:wait_for_connections(0))
      assert.equal(1, #discord:sessions())
    end)

    it("R59 never in the middle: a thousand events under pressure arrive whole", function()
      for _, mode in ipairs { "incremental", "generational" } do
        ready()
        collectgarbage(mode)
        collectgarbage("setpause", 0)
        local count, sum = 0, 0
        bot:on("MESSAGE_CREATE", function(data, shard)
          if count % 10 == 0 then moongate.sleep(0) end
          assert(shard == bot.shards[0])
          count, sum = count + 1, sum + data.number
          assert(data.content == ("x"):rep(data.number))
        end)
        bot:step(0)
        for at = 1, 1000 do
          discord:dispatch("MESSAGE_CREATE", {
            content = ("x"):rep(at % 50), number = at % 50, channel_id = "1",
          })
        end
        await("all messages", function() return count == 1000 end)
        assert.equal(24500, sum)
        bot:stop()
        discord:stop()
      end
    end)

    it("R67 without a trace: a hundred clients leave no memory and no descriptor", function()
      sandbox()
      discord:stall "upgrade" -- so that nobody identifies, and nobody has to wait for it
      local function some(number)
        for _ = 1, number do
          local one = witness.client(discord, { url = discord.url, shards = 1 })
          one:connect()
          one:stop()
        end
        for _ = 1, 3 do collectgarbage() end
        return collectgarbage "count", witness.descriptors()
      end
      local kilobytes, open = some(20)
      local more_kilobytes, more_open = some(100)
      assert.is_true(more_kilobytes < kilobytes + 40, more_kilobytes - kilobytes)
      assert.is_true(more_open <= open, more_open - open)
    end)
  end)
end)

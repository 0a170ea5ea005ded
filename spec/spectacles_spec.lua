-- spectacles_spec.lua: the words of Spectacles Gateway, each with its meaning, over real sockets to
-- the sandbox: one test for each row of the table in README.md, whose left column its title begins
-- with.

local core = require "moongate.core"
local moongate = require "moongate"
local witness = require "witness"

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
  witness.ready(client(client_options))
  return bot.shards[0]
end

local function await(what, check)
  return witness.await(bot, what, check)
end

local function all_ready(count)
  await(count .. " shards ready", function()
    local seen = 0
    for _, one in pairs(bot.shards) do
      if one.state ~= "ready" then return false end
      seen = seen + 1
    end
    return seen == count
  end)
end

-- A shard on its own, which is not started.
local function lone(options)
  sandbox()
  local all = { api = discord.api, intents = { "guilds" }, large_threshold = 77 }
  for key, value in pairs(options or {}) do all[key] = value end
  local one = moongate.shard(discord.token, 0, all)
  bot = one.cluster
  return one
end

-- Listens before anything happens that leads to the event, and waits for it.
local function until_heard(event, act)
  local heard
  bot:once(event, function() heard = true end)
  act()
  await(event, function() return heard end)
end

local function cleanup()
  if bot then bot:stop() end
  if discord then discord:stop() end
  bot, discord = nil, nil
end

describe("Spectacles: Shard #sockets", function()
  after_each(cleanup)

  it("shard.receive(data): one message by hand, as if it had come", function()
    local one = ready()
    local got
    bot:on("MESSAGE_CREATE", function(data, shard, name) got = { data.content, shard, name } end)
    bot:step(0)
    assert.is_true(one:receive '{"op":0,"t":"MESSAGE_CREATE","s":null,"d":{"content":"by hand"}}')
    await("the message", function() return got end)
    assert.same({ "by hand", one, "MESSAGE_CREATE" }, got)
    assert.equal("ESYNTAX", select(3, one:receive "{nonsense"))
    assert.equal("ready", one.state)
    bot:stop()
    assert.equal("ECLOSED", select(3, one:receive '{"op":11}'))
  end)

  it("shard.send(op, d), send(packet), send(bytes): in four forms", function()
    local one = ready()
    local function said(status)
      return { since = moongate.null, activities = moongate.array {}, status = status, afk = false }
    end
    assert.is_true(one:send(3, said "idle"))
    assert.is_true(one:send("presenceUpdate", said "dnd"))
    assert.is_true(one:send { op = 3, d = said "invisible" })
    assert.is_true(one:send('{"op":3,"d":{"since":null,"activities":[],"status":"online",'
      .. '"afk":false}}'))
    local got = assert(discord:wait_received("PRESENCE_UPDATE", { count = 1 }))
    assert.truthy(got[1].d.status)
  end)

  it("shard.identify(packet): says who it is, once, with what the packet says", function()
    local one = lone()
    assert.is_true(one:identify { large_threshold = 51 })
    assert.equal(51, assert(discord:wait_received "IDENTIFY")[1].d.large_threshold)
    all_ready(1)
    assert.is_true(one:identify())
    assert.equal(1, #discord:received "IDENTIFY")
  end)

  it("shard.resume(): takes the session up on a new connection", function()
    local one = ready()
    local session = one.session
    until_heard("RESUMED", function() assert.is_true(one:resume()) end)
    assert.equal(session, one.session)
    assert.equal(1, #discord:received "RESUME")
    one:disconnect()
    await("idle", function() return one.state == "idle" end)
    until_heard("RESUMED", function() assert.is_true(one:resume()) end) -- it connects
    one:disconnect(1000)
    await("no session", function() return one.state == "idle" and not one.session end)
    assert.equal("EUSAGE", select(3, one:resume()))
  end)

  it("shard.heartbeat(): one more beat, now", function()
    local one = ready(nil, { heartbeat_interval = 60000 })
    assert.is_true(one:heartbeat())
    local beat = assert(discord:wait_received "HEARTBEAT")[1]
    assert.equal(one.seq, beat.d)
    await("its answer", function() return one.latency end)
    assert.is_true(one:send("HEARTBEAT"))
    assert(discord:wait_received("HEARTBEAT", { count = 2 }))
  end)

  it("shard.connect(), disconnect(code), reconnect(code): and back", function()
    local one = ready()
    local session = one.session
    assert.is_true(one:disconnect())
    await("idle", function() return one.state == "idle" end)
    assert.equal(session, one.session)
    until_heard("RESUMED", function() assert.is_true(one:connect()) end)
    until_heard("READY", function() assert.is_true(one:reconnect(1000)) end)
    assert.is_true(one.session ~= session)
    assert.same({ [1000] = 1 }, one:stats().closes) -- since the shard was started again
    assert.equal(1, one:stats().reconnects)
  end)

  it("shard.id, seq, session, version, gateway, ws: readable at any time", function()
    local one = ready()
    assert.same({ 0, 10, bot.gateway, bot }, { one.id, one.version, one.gateway, one.cluster })
    assert.is_true(one.seq >= 1 and #one.session > 0)
    assert.equal(discord.url:gsub("/$", ""), (one.url:match "^[^?]+":gsub("/$", "")))
    local ws = one.ws
    assert.equal("open", ws.ready_state)
    assert.equal(one.url, ws.url)
    assert.equal("", ws.protocol)
    assert.is_true(ws.bytes_in > 100 and ws.bytes_out > 100)
    assert.equal(ws.bytes_out, one:stats().bytes_out)
    until_heard("RESUMED", function() one:reconnect() end)
    assert.is_true(one.ws.bytes_out < one:stats().bytes_out) -- of this connection alone
    bot:stop()
    assert.is_nil(one.ws)
    assert.is_nil(one.session)
  end)

  it("new Shard(token, id), Shard.ZLIB_SUFFIX: one on its own", function()
    local one = lone()
    assert.same({ 0, "idle", bot.gateway }, { one.id, one.state, one.gateway })
    local other = moongate.shard(bot.gateway, 3, { intents = 0, shards = 4 })
    assert.same({ 3, bot.gateway }, { other.id, other.gateway })
    assert.equal("\0\0\255\255", moongate.ZLIB_SUFFIX)
  end)
end)

describe("Spectacles: Gateway #sockets", function()
  after_each(cleanup)

  it("new Gateway(token, shards), Gateway.tokens: one object for a token", function()
    local one = moongate.gateway("spectacles.token.1", 3)
    assert.equal(one, moongate.gateway "Bot spectacles.token.1")
    assert.equal(one, moongate.gateway.tokens["spectacles.token.1"])
    assert.equal(3, one.shards)
    assert.equal(one, moongate.cluster(one, { intents = 0 }).gateway)
    for _, bad in ipairs { 0, -1, 1.5, "2" } do
      assert.is_false((pcall(moongate.gateway, "spectacles.token.1", bad)))
    end
    assert.is_false((pcall(moongate.gateway, "")))
    assert.is_nil(tostring(one):find("spectacles.token", 1, true))
  end)

  it("gateway.token, url, shards, sessionStartLimit, fetch(force): asked for once", function()
    sandbox { shards = 2, max_concurrency = 3 }
    local one = moongate.gateway(discord.token)
    one:configure { api = discord.api }
    assert.is_nil(one.session_start_limit)
    assert.equal(one, one:fetch())
    assert.equal(one, one:fetch())
    assert.equal(1, #discord:requests "/gateway/bot")
    assert.equal(one, one:fetch(true))
    assert.equal(2, #discord:requests "/gateway/bot")
    assert.same({ discord.token, 2 }, { one.token, one.shards })
    assert.equal(discord.url:gsub("/$", ""), (one.url:gsub("/$", "")))
    local limit = one.session_start_limit
    assert.same({ 3, 1000 }, { limit.max_concurrency, limit.total })
    assert.is_true(limit.remaining <= 1000 and limit.reset_at >= os.time())
    assert.equal("number", type(limit.reset_after))
  end)

  it("gateway.fetch(true) tells running shards of another max_concurrency", function()
    sandbox { max_concurrency = 1 }
    client { shards = 4 }
    assert.is_true(bot:spawn())
    await("the first", function() return #discord:received "IDENTIFY" == 1 end)
    discord:respond { path = "/gateway/bot", times = 1, body = core.encode {
      url = discord.url, shards = 4, session_start_limit = {
        total = 1000, remaining = 900, reset_after = 3600000, max_concurrency = 4,
      },
    } }
    assert(bot.gateway:fetch(true))
    assert.equal(4, bot.gateway.session_start_limit.max_concurrency)
    local started = core.now()
    await("the others", function() return #discord:received "IDENTIFY" == 4 end)
    assert.is_true(core.now() - started < 4) -- one after the other it would take 15 s
  end)

  it("gateway.identify(shard, packet): merged over the defaults, in its turn", function()
    local one = lone()
    assert.is_true(bot.gateway:identify(one, {
      large_threshold = 99, presence = { status = "dnd" },
    }))
    local first = assert(discord:wait_received "IDENTIFY")[1].d
    assert.same({ 99, "dnd" }, { first.large_threshold, first.presence.status })
    all_ready(1)
    assert.is_true(one:identify()) -- is ready: there is nothing to be said
    assert.equal(1, #discord:received "IDENTIFY")
    one:disconnect()
    await("idle", function() return one.state == "idle" end)
    assert.is_true(one:identify { intents = { "guild_messages" } }) -- has a session: it resumes
    all_ready(1)
    assert.equal(1, #discord:received "IDENTIFY")
    until_heard("READY", function() one:reconnect(1000) end)
    local second = discord:received "IDENTIFY"[2].d
    assert.same({ 99, 512 }, { second.large_threshold, second.intents })
  end)

  it("gateway.identify refuses what no Identify says, and shards of others", function()
    local one = ready()
    for _, row in ipairs {
      { one, { token = "x" }, "token\": an Identify cannot be told that" },
      { one, { intents = "gilds" }, "did you mean" },
      { one, 5, "packet must be a table, got number" },
      { {}, {}, "shard must be a Shard, got table" },
    } do
      local fine, message = pcall(bot.gateway.identify, bot.gateway, row[1], row[2])
      assert.is_false(fine)
      assert.truthy(message:find(row[3], 1, true), message)
    end
    local other = moongate.gateway "another.token"
    local fine, message = pcall(other.identify, other, one)
    assert.is_false(fine)
    assert.truthy(message:find("belongs to the gateway of another token", 1, true), message)
    assert.is_nil(message:find(discord.token, 1, true))
  end)
end)

describe("Spectacles: Cluster #sockets", function()
  after_each(cleanup)

  -- Messages to all guilds in turn, each with a number, for as long as going() is true.
  local function talk(numbers, going)
    moongate.spawn(function()
      while going() do
        numbers.sent = numbers.sent + 1
        local guild = discord.guilds[numbers.sent % #discord.guilds + 1]
        discord:dispatch("MESSAGE_CREATE", {
          content = tostring(numbers.sent), guild_id = guild.id, channel_id = "1",
        })
        moongate.sleep(0.002)
      end
      numbers.over = true
    end)
  end

  it("new Cluster(token), cluster.gateway: of a token, or of a Gateway", function()
    local gateway = moongate.gateway "spectacles.token.4"
    local one = moongate.cluster("spectacles.token.4", { intents = 0 })
    local other = moongate.cluster(gateway, { intents = 0 })
    assert.equal(gateway, one.gateway)
    assert.equal(gateway, other.gateway)
    assert.is_false(one == other)
    assert.equal("Cluster not connected", tostring(one))
  end)

  it("cluster.spawn(): as many as are recommended", function()
    sandbox { shards = 3, max_concurrency = 3 }
    assert.is_true(client():spawn())
    all_ready(3)
    assert.equal(3, bot.gateway.shards)
  end)

  it("cluster.spawn(n), spawn(min, max), spawn { ids }: a number, a range, those", function()
    sandbox { max_concurrency = 16 }
    client()
    assert.is_true(bot:spawn(4))
    all_ready(4)
    assert.is_true(bot:spawn(4)) -- twice does nothing
    assert.is_true(bot:spawn())
    assert.equal(4, #discord:received "IDENTIFY")
    local done, message, code = bot:spawn(5)
    assert.same({ nil, "EUSAGE" }, { done, code })
    assert.truthy(message:find("shards of 4 run already, not of 5; reshard(5)", 1, true), message)
    bot:stop()
    client { shards = 9 }
    assert.is_true(bot:spawn(2, 3))
    assert.is_true(bot:spawn { 0, 8 })
    all_ready(4)
    local ids = {}
    for id in pairs(bot.shards) do ids[#ids + 1] = id end
    table.sort(ids)
    assert.same({ 0, 2, 3, 8 }, ids)
  end)

  it("cluster.spawn: a key at a time, in order, max_concurrency of them together", function()
    sandbox { max_concurrency = 2 }
    client()
    assert.is_true(bot:spawn(4))
    all_ready(4)
    local order = {}
    for i, packet in ipairs(discord:received "IDENTIFY") do
      order[i] = { packet.d.shard[1], packet.at_ms }
    end
    local together = { [order[1][1]] = true, [order[2][1]] = true }
    assert.same({ [0] = true, [1] = true }, together)
    assert.is_true(order[2][2] - order[1][2] < 2000)
    for at = 3, 4 do
      local apart = order[at][2] - order[at - 2][2]
      assert.is_true(apart >= 5000, apart)
    end
  end)

  it("cluster.spawn: what is no number, list or range of shards", function()
    sandbox()
    client { shards = 4 }
    for _, row in ipairs {
      { { 0 }, "got 0" }, { { -1 }, "got -1" }, { { 1.5 }, "got 1.5" }, { { "2" }, 'got "2"' },
      { { 0 / 0 }, "got" }, { { 2 ^ 40 }, "got" }, { { {} }, "the list of ids is empty" },
      { { { 0, 0 } }, "got 0" }, { { { -1 } }, "got -1" }, { { { "a" } }, 'got "a"' },
      { { { 1.5 } }, "got 1.5" }, { { { 0, nil, 2 } }, "without gaps" }, { { 3, 2 }, "got 2" },
      { { -1, 2 }, "got -1" }, { { 0, "x" }, 'got "x"' }, { { { 0 }, 3 }, "got table" },
      { { nil, 3 }, "got nil" },
    } do
      local fine, message = pcall(function() bot:spawn(row[1][1], row[1][2]) end)
      assert.is_false(fine)
      assert.truthy(message:find(row[2], 1, true), message)
      assert.truthy(message:find("spectacles_spec.lua", 1, true), message)
    end
    assert.is_nil(next(bot.shards))
    local done, message, code = bot:spawn { 4 }
    assert.same({ nil, "EUSAGE" }, { done, code })
    assert.truthy(message:find("there is no shard 4 of 4", 1, true), message)
  end)

  it("cluster.shards: id to Shard, the same object for good; add_shard, remove_shard", function()
    sandbox { max_concurrency = 4 }
    client { shards = 3 }
    assert.same({ nil, "ECLOSED" }, { bot:add_shard(0), (select(3, bot:add_shard(0))) })
    assert.is_true(bot:spawn { 0, 1 })
    all_ready(2)
    local one = assert(bot:add_shard(2))
    assert.equal(one, bot.shards[2])
    all_ready(3)
    assert.equal("EUSAGE", select(3, bot:add_shard(2)))
    assert.equal("EUSAGE", select(3, bot:add_shard(3)))
    for _, id in ipairs { -1, 1.5, "1" } do
      assert.is_false((pcall(bot.add_shard, bot, id)))
      assert.is_false((pcall(bot.remove_shard, bot, id)))
    end
    assert.is_true(bot:remove_shard(2))
    assert.is_nil(bot.shards[2])
    assert.equal("idle", one.state)
    assert.equal(2, #discord:sessions()) -- its session is over
    assert.equal("EUSAGE", select(3, bot:remove_shard(2)))
    assert.equal(one, bot:add_shard(2))
    all_ready(3)
    local other = moongate.cluster(discord.token, { intents = 0 })
    assert.equal("Cluster not connected", tostring(other))
  end)

  it("remove_shard tells of commands that waited, for a session that never came back", function()
    sandbox { max_concurrency = 2 }
    client { shards = 2 }
    assert.is_true(bot:spawn())
    all_ready(2)
    local told
    bot:on("error", function(data, one) told = { data, one } end)
    local one = bot.shards[1]
    discord:stall "resumed"
    discord:drop()
    await("resuming", function() return one.state == "resuming" end)
    assert.is_true(one:update_voice_state "1")
    assert.is_true(bot:remove_shard(1))
    assert.same({ "ECLOSED", "send", one }, { told[1].code, told[1].phase, told[2] })
    assert.equal("remove_shard: 1 command of shard 1/2 still waited and was given up",
      told[1].message)
  end)

  it("cluster.kill(code): every shard disconnects, and can connect again", function()
    sandbox { max_concurrency = 2 }
    client { shards = 2 }
    assert.is_true(bot:spawn())
    all_ready(2)
    assert.is_true(bot:kill())
    await("both", function()
      return bot.shards[0].state == "idle" and bot.shards[1].state == "idle"
    end)
    assert.same({ [4000] = 1 }, bot.shards[1]:stats().closes)
    assert.equal(2, #discord:sessions())
    assert.is_true(bot:connect())
    all_ready(2)
    assert.equal(2, #discord:received "RESUME")
    assert.is_true(bot:kill(1000))
    await("the sessions' end", function() return #discord:sessions() == 0 end)
    assert.is_false((pcall(bot.kill, bot, 999)))
  end)

  it("cluster.shard_for(guild), send(guild, op, d): routed by the guild", function()
    sandbox { guilds = 4, max_concurrency = 2 }
    client { shards = 2 }
    assert.is_true(bot:spawn())
    all_ready(2)
    for _, guild in ipairs(discord.guilds) do
      local one = bot:shard_for(guild.id)
      assert.equal((math.tointeger(guild.id) >> 22) % 2, one.id)
      assert.is_true(bot:send(guild.id, "VOICE_STATE_UPDATE", {
        guild_id = guild.id, channel_id = moongate.null, self_mute = false, self_deaf = false,
      }))
    end
    assert(discord:wait_received("VOICE_STATE_UPDATE", { count = 4 }))
    assert.is_false((pcall(bot.shard_for, bot, "no id")))
  end)

  it("reshard(5) of 2 under traffic: nothing is lost, what comes twice is heard once", function()
    sandbox { guilds = 12, max_concurrency = 8 }
    client { shards = 2, intents = { "guilds", "guild_messages", "message_content" } }
    local heard, by_shard, states = {}, {}, {}
    bot:on("MESSAGE_CREATE", function(data, one)
      heard[data.content] = (heard[data.content] or 0) + 1
      by_shard[one.id] = (by_shard[one.id] or 0) + 1
    end)
    local readies = 0
    bot:on("READY", function() readies = readies + 1 end)
    bot:on("state", function(data, one) states[#states + 1] = one.id .. data.to end)
    assert.is_true(bot:spawn())
    all_ready(2)
    local first, numbers, done = bot.shards[0], { sent = 0 }, nil
    local lowest = "ready"
    talk(numbers, function() return not done end)
    moongate.spawn(function()
      moongate.sleep(0.2)
      states = {}
      done = { bot:reshard(5) }
    end)
    await("the change", function()
      if #states > 0 and bot.state ~= "ready" then lowest = bot.state end
      return done and numbers.over
    end)
    await("the last message", function() return heard[tostring(numbers.sent)] end)
    assert.is_true(done[1], done[2])
    assert.equal("ready", lowest) -- at no time was the bot anything else
    for n = 1, numbers.sent do assert.equal(1, heard[tostring(n)], n) end
    assert.is_true(done[2] > 100, done[2]) -- came twice, and were heard once
    assert.equal(done[2], bot:stats().doubled)
    all_ready(5)
    assert.equal(first, bot.shards[0])
    assert.equal("Shard 0/5", tostring(first):match "^Shard %d/%d")
    assert.equal(7, readies)
    table.sort(states)
    assert.same({ "2ready", "3ready", "4ready" }, states)
    for id = 0, 4 do assert.is_true((by_shard[id] or 0) > 0, id) end
    assert.equal(5, #discord:sessions())
    assert.equal(5, #discord:connections())
    assert.equal(7, #discord:received "IDENTIFY")
    for _, guild in ipairs(discord.guilds) do
      assert.equal((math.tointeger(guild.id) >> 22) % 5, bot:shard_for(guild.id).id)
    end
  end)

  it("reshard: what the coming set is late or early with is heard once", function()
    sandbox { guilds = 1, max_concurrency = 8 }
    client { shards = 1 }
    local heard = {}
    bot:on("MESSAGE_CREATE", function(data) heard[#heard + 1] = data.content end)
    assert.is_true(bot:spawn())
    all_ready(1)
    local old = discord:sessions()[1].id
    local function say(content, to_old)
      local target = { exact = true }
      for _, one in ipairs(discord:sessions()) do
        target.session = one.id
        if (one.id == old) == to_old then
          discord:dispatch("MESSAGE_CREATE",
            { content = content, guild_id = discord.guilds[1].id }, target)
        end
      end
    end
    local result
    moongate.spawn(function() result = { bot:reshard(2) } end)
    await("both sets", function() return bot.reshaping.twins end)
    say("late", true)
    await("the early one", function() return #heard == 1 end)
    await("the coming set", function() return bot.reshaping.twins.listening end)
    moongate.sleep(0.1) -- for the words of what is heard to arrive
    say("late", false)
    say("early", false)
    say("early", true)
    await("the change", function() return result end)
    assert.is_true(result[1], result[2])
    assert.equal(2, result[2])
    say("last", false)
    await("the last one", function() return heard[#heard] == "last" end)
    assert.same({ "late", "early", "last" }, heard)
  end)

  it("reshard(1) of 3: objects of ids that are gone wait; the store knows the new count", function()
    local store = moongate.store.memory()
    sandbox { guilds = 3, max_concurrency = 8 }
    client { shards = 3, session_store = store }
    assert.is_true(bot:spawn())
    all_ready(3)
    local gone = bot.shards[2]
    assert.is_true(bot:reshard(1))
    all_ready(1)
    assert.is_nil(bot.shards[2])
    assert.equal("idle", gone.state)
    local prefix = core.fingerprint(discord.token)
    for id = 0, 2 do assert.is_true(store:load(("%s/%d/3"):format(prefix, id)).ended) end
    local spent = 0
    for _, count in ipairs(store:load(prefix .. "/budget").steps) do spent = spent + count end
    assert.equal(4, spent) -- the identifies of the coming set are counted there as well
    assert.equal("EUSAGE", select(3, bot:add_shard(2)))
    assert.is_true(bot:reshard(3))
    all_ready(3)
    assert.equal(gone, bot.shards[2])
    local sessions = {}
    for id, one in pairs(bot.shards) do sessions[id] = one.session end
    bot:stop()
    client { shards = 3, session_store = store }
    assert.is_true(bot:spawn())
    all_ready(3)
    for id, one in pairs(bot.shards) do assert.equal(sessions[id], one.session) end
    bot:stop()
    -- Another count than the store's begins anew.
    local before = #discord:received "IDENTIFY"
    client { shards = 2, session_store = store }
    assert.is_true(bot:spawn())
    all_ready(2)
    assert.equal(before + 2, #discord:received "IDENTIFY")
  end)

  it("reshard refuses, or gives up and leaves the old shards alone", function()
    sandbox { max_concurrency = 8 }
    client { shards = 2 }
    assert.equal("ECLOSED", select(3, bot:reshard(2)))
    for _, n in ipairs { 0, -1, 1.5, "2", 2 ^ 40 } do
      assert.is_false((pcall(bot.reshard, bot, n)))
    end
    assert.is_false((pcall(bot.reshard, bot, 3, { 0, 0 })))
    local early
    discord:respond { path = "/gateway/bot", delay = 0.3, times = 1 }
    moongate.spawn(function() bot:spawn() end)
    early = { bot:reshard(3) } -- while it starts
    assert.is_nil(early[1])
    assert.truthy(early[3] == "EBUSY" or early[3] == "ECLOSED", early[2])
    all_ready(2)
    assert.same({ true, 0 }, { bot:reshard(2) })
    assert.equal("EUSAGE", select(3, bot:reshard(3, { 3 })))
    assert.is_true(bot:remove_shard(1))
    local _, message, code = bot:reshard(3)
    assert.equal("EUSAGE", code)
    assert.truthy(message:find("1 of 2 shards run here; say which", 1, true), message)
    assert(bot:add_shard(1))
    all_ready(2)
    local session = bot.shards[0].session
    discord:instead("ready", { close = 4010 })
    local result, second
    moongate.spawn(function() result = { bot:reshard(3) } end)
    moongate.spawn(function() second = { bot:reshard(4) } end)
    assert.equal("EBUSY", second[3])
    assert.equal("EBUSY", select(3, bot:spawn()))
    assert.equal("EBUSY", select(3, bot:remove_shard(0)))
    await("its end", function() return result end)
    assert.is_nil(result[1])
    assert.equal(moongate.close_codes[4010].error, result[3])
    assert.truthy(result[2]:find("4010 INVALID_SHARD", 1, true), result[2])
    assert.truthy(result[2]:find("the old shards go on", 1, true), result[2])
    assert.equal(session, bot.shards[0].session)
    all_ready(2)
  end)

  it("stop and kill in the middle of a reshard end it", function()
    for _, verb in ipairs { "stop", "kill" } do
      sandbox { max_concurrency = 8 }
      client { shards = 1 }
      assert.is_true(bot:spawn())
      all_ready(1)
      discord:stall "ready"
      local result
      moongate.spawn(function() result = { bot:reshard(2) } end)
      await("its Identify", function() return #discord:received "IDENTIFY" >= 2 end)
      assert.is_true(bot[verb](bot))
      await("its end", function() return result end)
      assert.same({ nil, "ECLOSED" }, { result[1], result[3] })
      assert(discord:wait_for_connections(0))
      cleanup()
    end
  end)
end)

describe("Spectacles: events #sockets", function()
  after_each(cleanup)

  -- Everything that is said of the names, in order: { name, data, shard, event }.
  local function record(target, names)
    local list = {}
    for _, name in ipairs(names) do
      target:on(name, function(data, one, event)
        list[#list + 1] = { name = name, data = data, shard = one, event = event }
      end)
    end
    return list
  end

  local function first(list, name)
    for _, entry in ipairs(list) do
      if entry.name == name then return entry end
    end
    error("nobody said " .. name, 2)
  end

  local EIGHT = { "open", "close", "error", "send", "receive", "connect", "disconnect", "exit" }

  it("open, close, send, receive, connect, disconnect: (data, shard, event)", function()
    sandbox()
    client { shards = 1 }
    local said = record(bot, EIGHT)
    assert.is_true(bot:spawn())
    local one = bot.shards[0]
    local own = record(one, { "close" })
    all_ready(1)
    local session = one.session
    one:disconnect(4321, "tea")
    await("idle", function() return one.state == "idle" and #own == 1 end)
    for _, entry in ipairs(said) do
      assert.equal(one, entry.shard)
      assert.equal(entry.name, entry.event)
    end
    local connect = first(said, "connect").data
    assert.same({ one.url, 1, false }, { connect.url, connect.attempt, connect.resuming })
    assert.equal(one.url, first(said, "open").data.url)
    assert.equal(10, first(said, "receive").data.op)
    local sent = first(said, "send").data
    assert.same({ 2, "(hidden)" }, { sent.op, sent.d.token })
    assert.same({ code = 4321, reason = "tea" }, first(said, "disconnect").data)
    local close = first(said, "close").data
    assert.same({ 4321, "tea", "client", true, true, false }, { close.code, close.reason, close.by,
      close.was_clean, close.resumable, close.will_reconnect })
    assert.equal("string", type(close.name))
    assert.is_nil(close.retry_in)
    assert.equal(one, own[1].shard)
    assert.equal(session, one.session)
  end)

  it("error, exit: what went wrong, and when the last shard is down for good", function()
    sandbox { max_concurrency = 2 }
    client { shards = 2 }
    local said = record(bot, { "error", "fatal", "exit", "close" })
    assert.is_true(bot:spawn())
    all_ready(2)
    discord:close(4014, "", { shard = 0 })
    await("fatal", function() return bot.shards[0].state == "dead" and #said >= 2 end)
    local fatal = first(said, "fatal")
    assert.same({ 4014, "DISALLOWED_INTENTS", bot.shards[0] },
      { fatal.data.code, fatal.data.name, fatal.shard })
    assert.is_true(#fatal.data.message > 0 and #fatal.data.remedy > 0)
    for _, entry in ipairs(said) do assert.is_true(entry.name ~= "exit") end
    bot:once("TYPING_START", function() error("in a handler", 0) end)
    assert(bot.shards[1]:receive '{"op":0,"t":"TYPING_START","s":null,"d":{}}')
    discord:close(4014, "", { shard = 1 })
    local done, message, code = bot:run()
    assert.same({ nil, moongate.close_codes[4014].error }, { done, code })
    assert.truthy(message:find("DISALLOWED_INTENTS", 1, true), message)
    assert.equal(4014, first(said, "exit").data.code)
    local problem = first(said, "error").data
    assert.same({ "EHANDLER", "handler", "TYPING_START", "in a handler" },
      { problem.code, problem.phase, problem.event, problem.message })
  end)

  it("shard.on(event), cluster.on(event): a cluster hears every shard of its own", function()
    sandbox { guilds = 2, max_concurrency = 2 }
    client { shards = 2 }
    local all = record(bot, { "MESSAGE_CREATE", "*" })
    assert.is_true(bot:spawn())
    all_ready(2)
    local own = record(bot.shards[1], { "messageCreate" })
    bot:step(0)
    for id = 0, 1 do
      assert(bot.shards[id]:receive(('{"op":0,"t":"MESSAGE_CREATE","s":null,"d":{"content":"%d"}}')
        :format(id)))
    end
    await("both", function()
      local seen = 0
      for _, entry in ipairs(all) do seen = seen + (entry.name == "MESSAGE_CREATE" and 1 or 0) end
      return seen == 2 and #own == 1
    end)
    assert.same({ "1", bot.shards[1], "MESSAGE_CREATE" },
      { own[1].data.content, own[1].shard, own[1].event })
    for _, entry in ipairs(all) do
      if entry.event == "MESSAGE_CREATE" then
        assert.equal(bot.shards[tonumber(entry.data.content)], entry.shard)
      end
    end
  end)

  it("dispatches: one that nobody hears on its shard or cluster is never queued", function()
    local one = ready()
    local out = bot:stats().queue.events_out
    for _ = 1, 50 do
      discord:dispatch("TYPING_START", { channel_id = "1" }, { filter = false })
    end
    await("them", function()
      local typing = bot:stats().events.TYPING_START
      return typing and typing.skipped == 50
    end)
    assert.equal(out, bot:stats().queue.events_out)
    assert.equal(0, bot:stats().events.TYPING_START.heard)
    local heard
    one:on("TYPING_START", function() heard = true end)
    bot:step(0)
    discord:dispatch("TYPING_START", { channel_id = "1" }, { filter = false })
    await("it", function() return heard end)
    assert.equal(1, bot:stats().events.TYPING_START.heard)
  end)
end)

describe("Spectacles: the table in README.md", function()
  it("has a row for each word, without an empty cell, and each row a test of that name", function()
    local readme, own = io.open(witness.root .. "/README.md"), io.open(witness.root
      .. "/spec/spectacles_spec.lua")
    local page, specs = readme:read "a", own:read "a"
    readme:close()
    own:close()
    local rows = 0
    local section = page:match "| Spectacles | moongate | what it adds |\n|[-|]+\n(.-)\n\n"
    assert.is_string(section)
    for line in section:gmatch "[^\n]+" do
      local left, middle, right = line:match "^| (.-) | (.-) | (.-) |$"
      assert.truthy(left and left ~= "" and middle ~= "" and right ~= "", line)
      local title = left:gsub("`", "")
      assert.truthy(specs:find('it("' .. title .. ":", 1, true), title)
      rows = rows + 1
    end
    assert.is_true(rows >= 15, rows)
  end)
end)

describe("Spectacles: what is wrong #sockets", function()
  after_each(cleanup)

  it("shard ids out of range, negative, or no numbers", function()
    for _, id in ipairs { -1, 1.5, "0", false } do
      assert.is_false((pcall(moongate.shard, "a.token.x", id, { intents = 0 })))
    end
    local one = lone { shards = 3 }
    one.cluster.options.shard_ids = { 7 }
    local done, message, code = one.cluster:connect()
    assert.same({ nil, "EUSAGE" }, { done, code })
    assert.truthy(message:find("there is no shard 7 of 3", 1, true), message)
  end)

  it("shard ids in the options: doubled, negative, no numbers, or not below shards", function()
    for _, row in ipairs {
      { { 0, 0 }, "0 is there twice" }, { { -1 }, "-1 is no shard id" },
      { { 1.5 }, "1.5 is no shard id" }, { { "a" }, '"a" is no shard id' },
      { { 3 }, "3 is not below shards, which is 3" }, { {}, "no list of shard ids" },
      { 5, "5 is no list" },
    } do
      local fine, message = pcall(moongate.client, {
        token = "a.token.x", intents = 0, shards = 3, shard_ids = row[1],
      })
      assert.is_false(fine)
      assert.truthy(message:find("shard_ids: ", 1, true), message)
      assert.truthy(message:find(row[2], 1, true), message)
    end
    local one = moongate.shard("a.token.x", 5,
      { intents = 0, shards = 3, url = "ws://127.0.0.1:1" })
    assert.equal("EUSAGE", select(3, one:connect()))
  end)

  it("spawn twice at once: the first decides, the same again does nothing", function()
    sandbox { max_concurrency = 16 }
    client()
    local results = {}
    for i, count in ipairs { 2, 2, 3 } do
      moongate.spawn(function() results[i] = table.pack(bot:spawn(count)) end)
    end
    await("all three", function() return results[1] and results[2] and results[3] end)
    assert.same({ true, true }, { results[1][1], results[2][1] })
    assert.same({ n = 3, nil, results[3][2], "EUSAGE" }, results[3])
    assert.truthy(results[3][2]:find("shards of 2 run already, not of 3", 1, true))
    all_ready(2)
    assert.equal(2, #discord:received "IDENTIFY")
  end)

  it("reshard while shards still wait to identify: they are replaced all the same", function()
    sandbox { max_concurrency = 2 }
    client { shards = 4 }
    assert.is_true(bot:spawn())
    await("the first two", function() return #discord:received "IDENTIFY" == 2 end)
    assert.same({ true, 0 }, { bot:reshard(1) })
    all_ready(1)
    assert(discord:wait_for_connections(1))
    assert.equal("Shard 0/1", tostring(bot.shards[0]):match "^Shard %d/%d")
  end)

  it("a count that the gateway refuses: 4010 says what to do", function()
    sandbox()
    discord:instead("ready", { close = 4010 })
    client { shards = 1 }
    local fatal
    bot:on("fatal", function(data) fatal = data end)
    local done, message, code = bot:run()
    assert.same({ nil, moongate.close_codes[4010].error }, { done, code })
    assert.equal("INVALID_SHARD", fatal.name)
    assert.truthy(message:find(fatal.remedy, 1, true), message)
  end)

  it("two clusters of one token: both hear everything, and share the identifies", function()
    sandbox { max_concurrency = 16 }
    witness.ready(client { shards = 1 })
    local second = witness.client(discord, { shards = 1 })
    assert.equal(bot.gateway, second.gateway)
    local heard = {}
    for i, one in ipairs { bot, second } do
      one:on("MESSAGE_CREATE", function(data) heard[i] = data.content end)
    end
    witness.ready(second)
    discord:dispatch("MESSAGE_CREATE", { content = "both", channel_id = "1" })
    await("both", function() return heard[1] and heard[2] end)
    assert.equal(bot:stats().identifies.used, second:stats().identifies.used)
    second:stop()
  end)

  it("a gateway object of another token", function()
    local other = moongate.gateway "spectacles.token.2"
    local fine, message = pcall(function()
      return (moongate.cluster(other, { token = "spectacles.token.3", intents = 0 }))
    end)
    assert.is_false(fine)
    assert.truthy(message:find("the gateway object is of another token", 1, true), message)
    assert.truthy(message:find("spectacles_spec.lua", 1, true), message)
    assert.is_nil(message:find("spectacles.token", 1, true))
    local same = moongate.cluster(other, { token = "spectacles.token.2", intents = 0 })
    assert.equal(other, same.gateway)
  end)
end)

-- spectacles_spec.lua: the words of Spectacles Gateway, each with its meaning, over real sockets to
-- the sandbox: one test for each row of the table in README.md, whose left column its title begins
-- with.

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
    assert.is_true(one:resume())
    assert(bot:wait_for("RESUMED", { timeout = 10 }))
    assert.equal(session, one.session)
    assert.equal(1, #discord:received "RESUME")
    one:disconnect()
    await("idle", function() return one.state == "idle" end)
    assert.is_true(one:resume()) -- a shard that is down connects
    assert(bot:wait_for("RESUMED", { timeout = 10 }))
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

  it("shard.connect(), disconnect(code), reconnect(code)", function()
    local one = ready()
    local session = one.session
    assert.is_true(one:disconnect())
    await("idle", function() return one.state == "idle" end)
    assert.equal(session, one.session)
    assert.is_true(one:connect())
    assert(bot:wait_for("RESUMED", { timeout = 10 }))
    assert.is_true(one:reconnect(1000))
    assert(bot:wait_for("READY", { timeout = 20 }))
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
    one:reconnect()
    assert(bot:wait_for("RESUMED", { timeout = 10 }))
    assert.is_true(one.ws.bytes_out < one:stats().bytes_out) -- of this connection alone
    bot:stop()
    assert.is_nil(one.ws)
    assert.is_nil(one.session)
  end)

  it("Shard.ZLIB_SUFFIX", function()
    assert.equal("\0\0\255\255", moongate.ZLIB_SUFFIX)
  end)
end)

describe("Spectacles: Gateway #sockets", function()
  after_each(cleanup)

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
    assert.is_true(one:identify { intents = { "guilds" } }) -- has a session: it resumes
    all_ready(1)
    assert.equal(1, #discord:received "IDENTIFY")
    one:reconnect(1000)
    assert(bot:wait_for("READY", { timeout = 20 }))
    local second = discord:received "IDENTIFY"[2].d
    assert.same({ 99, 1 }, { second.large_threshold, second.intents })
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

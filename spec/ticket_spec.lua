-- ticket.c: TLS that is resumed, against the sandbox over real sockets: where it is, and where it
-- must not be, since whoever resumes sees no certificate.
local core = require "moongate.core"
local witness = require "witness"

describe("ticket #sockets", function()
  local discord, other, engine, bot

  after_each(function()
    if bot then bot:stop() end
    if engine then engine:close() end
    if discord then discord:stop() end
    if other then other:stop() end
    discord, other, engine, bot = nil, nil, nil, nil
  end)

  -- Of the connections that are open: how many, and how many have resumed TLS.
  local function count()
    local all, resumed = discord:connections(), 0
    for _, one in ipairs(all) do
      if one.tls_resumed then resumed = resumed + 1 end
    end
    return { #all, resumed }
  end

  local function ready(shards, options)
    local all = { shards = shards }
    for key, value in pairs(options or {}) do all[key] = value end
    bot = witness.client(discord, all)
    assert(bot:connect())
    witness.await(bot, "READY", function() return bot.state == "ready" end)
  end

  -- Until each shard has been back once more.
  local function back(resumes)
    witness.await(bot, "the return", function()
      return #discord:received "RESUME" == resumes and bot.state == "ready"
    end)
  end

  it("a connection that was dropped comes back with the TLS session that it had", function()
    discord = witness.sandbox { tls = true }
    ready(1, { url = discord.url })
    assert.same({ 1, 0 }, count())
    for times = 1, 3 do
      discord:drop()
      back(times)
      assert.same({ 1, 1 }, count())
    end
    discord:reconnect() -- which ends with a close frame
    back(4)
    assert.same({ 1, 1 }, count())
  end)

  it("shards resume what any of them was given, on whatever thread they are", function()
    local make = core.engine
    finally(function() core.engine = make end) -- luacheck: ignore
    core.engine = function(options) -- luacheck: ignore
      options.thread_shards = 1
      return make(options)
    end
    discord = witness.sandbox { tls = true, shards = 4, max_concurrency = 4 }
    ready(4)
    discord:drop()
    back(4)
    assert.same({ 4, 4 }, count())
  end)

  -- Starts a shard at `url` and returns how its first connection ended: the code of the error, or
  -- "open".
  local function attempt(shard_id, url)
    assert(engine:interest(shard_id, {}))
    assert(engine:start { token = discord.token, url = url, shard_id = shard_id, shard_count = 8,
      intents = 1, backoff_base_ms = 60000, backoff_cap_ms = 60000 })
    local seen
    while not seen and engine:wait(witness.patience) do
      local record, name, id, own = engine:next()
      if record then
        if own and id == shard_id and name == "error" then seen = record:data().code end
        if own and id == shard_id and name == "open" then seen = "open" end
        record:done()
      end
    end
    return seen
  end

  it("a ticket of one place is of no use at another", function()
    discord = witness.sandbox { tls = true, max_concurrency = 8 }
    other = witness.sandbox { tls = true }
    engine = assert(core.engine { ca_file = discord.ca_file, concurrency = 8 })
    assert.equal("open", attempt(0, discord.url))
    assert.equal("open", attempt(1, discord.url))
    assert.equal("ECERTIFICATE", attempt(2, other.url))
  end)

  it("what was not checked when it began is checked by those who check", function()
    discord = witness.sandbox { tls = true, certificate_name = "elsewhere.test" }
    local careless <close> = assert(core.engine {
      ca_file = discord.ca_file, insecure_tls = true, concurrency = 8,
    })
    engine = careless
    assert.equal("open", attempt(0, discord.url))
    assert(discord:wait_until(function() return #discord:connections() == 1 end, 10))
    engine = assert(core.engine { ca_file = discord.ca_file, concurrency = 8 })
    assert.equal("ECERTIFICATE", attempt(1, discord.url))
  end)

  it("another server in the same place has to show its certificate", function()
    discord = witness.sandbox { tls = true }
    local port = discord.port
    engine = assert(core.engine { ca_file = discord.ca_file, concurrency = 8 })
    assert.equal("open", attempt(0, discord.url))
    assert(discord:wait_until(function() return #discord:connections() == 1 end, 10))
    local url = discord.url
    discord:stop()
    discord = witness.sandbox { tls = true, port = port }
    assert.equal("ECERTIFICATE", attempt(1, url))
  end)
end)

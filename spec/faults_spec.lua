-- faults_spec.lua: bad input and faults, each over real sockets: it ends in a clear error or goes
-- on, and never in a crash, a hang, a lost event or a lost session.

local witness = require "witness"
local moongate = require "moongate"

local INTERVAL_MS = 300

-- Everything that `bot` reports, by event.
local function watch(bot)
  local seen = {}
  for _, name in ipairs { "error", "fatal", "close", "lost", "gap", "blocked" } do
    seen[name] = {}
    bot:on(name, function(data) table.insert(seen[name], data) end)
  end
  return seen
end

-- The seconds that fn() takes.
local function timed(fn)
  local started = os.time()
  fn()
  return os.time() - started
end

local function expect_hidden(token, ...)
  for _, text in ipairs { ... } do
    assert.is_nil(text:find(token, 1, true), "the token is shown in: " .. text)
  end
end

describe("faults #sockets", function()
  local discord, bot

  -- A sandbox and a ready client; after_each ends both.
  local function ready(client_options, sandbox_options)
    discord = witness.sandbox(sandbox_options)
    bot = witness.client(discord, client_options)
    local seen = watch(bot)
    witness.ready(bot)
    return seen
  end

  -- A client that is given a URL, so that nothing is asked over HTTP before.
  local function connect(url, options)
    local all = {
      token = "not.a.secret", url = url, shards = 1, intents = { "guilds" },
      backoff = { base = 0.05, cap = 0.05 },
    }
    for key, value in pairs(options or {}) do all[key] = value end
    bot = moongate.client(all)
    local seen = watch(bot)
    bot:connect()
    return seen
  end

  -- One message to and fro: the session lives and its listeners hear.
  local function expect_alive(words)
    local heard
    local fn = bot:on("MESSAGE_CREATE", function(message)
      if message.content == words then heard = true end
    end)
    bot:step(0)
    discord:dispatch("MESSAGE_CREATE", { content = words, channel_id = "1" })
    witness.await(bot, "the message " .. words, function() return heard end)
    bot:off("MESSAGE_CREATE", fn)
  end

  local function expect_one_session()
    assert.equal(1, #discord:received("IDENTIFY"))
  end

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  -- ---- What is typed wrong --------------------------------------------------------------------

  it("a wrong token, told over HTTP, ends run with EAUTH", function()
    discord = witness.sandbox()
    bot = witness.client(discord, { token = "a.wrong.token" })
    local ok, message, code = bot:run()
    assert.is_nil(ok)
    assert.equal("EAUTH", code)
    expect_hidden("a.wrong.token", message, tostring(bot))
    assert.matches("token", message)
  end)

  it("R40 a wrong token, told by 4004, ends run with EAUTH and a remedy", function()
    discord = witness.sandbox()
    bot = witness.client(discord, { token = "a.wrong.token", url = discord.url, shards = 1 })
    local seen = watch(bot)
    local ok, message, code = bot:run()
    assert.is_nil(ok)
    assert.equal("EAUTH", code)
    assert.equal(1, #seen.fatal)
    assert.equal(4004, seen.fatal[1].code)
    assert.is_string(seen.fatal[1].remedy)
    expect_hidden("a.wrong.token", message, seen.fatal[1].message, seen.fatal[1].remedy)
    assert.equal(1, #discord:received("IDENTIFY"))
  end)

  it("R40 an intent that was not granted ends run with EINTENTS and a remedy", function()
    discord = witness.sandbox { disallowed_intents = { "message_content" } }
    bot = witness.client(discord)
    local seen = watch(bot)
    local ok, message, code = bot:run()
    assert.is_nil(ok)
    assert.equal("EINTENTS", code)
    assert.equal(4014, seen.fatal[1].code)
    assert.matches("intent", message)
  end)

  it("a misspelt intent raises and tells which one was meant", function()
    local fine, message = pcall(moongate.client, { token = "x", intents = { "guild_mesages" } })
    assert.is_false(fine)
    assert.matches("guild_mesages", message)
    assert.matches("guild_messages", message)
  end)

  it("missing intents raise and tell what to write", function()
    local fine, message = pcall(moongate.client, { token = "x" })
    assert.is_false(fine)
    assert.matches("intents", message)
    assert.matches("guild_messages", message)
  end)

  it("unknown options and wrong types raise, all in one message", function()
    local fine, message = pcall(moongate.client, {
      token = "secret.secret", intent = { "guilds" }, shards = "two", encoding = "xml",
    })
    assert.is_false(fine)
    assert.matches("intent", message)
    assert.matches("intents", message)
    assert.matches("shards", message)
    assert.matches("encoding", message)
    expect_hidden("secret.secret", message)
  end)

  -- ---- Hosts ----------------------------------------------------------------------------------

  local function expect_failure(seen, code, phase)
    witness.await(bot, "an error", function() return #seen.error > 0 end)
    assert.equal(code, seen.error[1].code)
    assert.equal(phase, seen.error[1].phase)
    assert.is_string(seen.error[1].message)
    assert.equal(0, #seen.fatal)
    -- It goes on trying.
    witness.await(bot, "a second try", function() return #seen.error > 1 end)
  end

  it("R56 R69 a host that does not resolve is reported and tried again", function()
    -- A label of more than 63 characters fails at once, without asking anybody.
    local host = ("x"):rep(70) .. ".test"
    expect_failure(connect("wss://" .. host), "ERESOLVE", "resolve")
  end)

  it("R56 network errors are never raised, also where nobody listens for them", function()
    bot = moongate.client {
      token = "x", url = "ws://127.0.0.1:1", shards = 1, intents = 1,
      backoff = { base = 0, cap = 0 },
    }
    bot:connect()
    for _ = 1, 20 do assert.has_no_error(function() bot:step(0.02) end) end
  end)

  it("R69 a host that refuses is reported and tried again", function()
    local other = witness.sandbox()
    local url = other.url
    other:stop()
    expect_failure(connect(url), "ECONNECT", "connect")
  end)

  it("R69 a host that speaks no TLS is reported as such", function()
    discord = witness.sandbox()
    local seen = connect((discord.url:gsub("^ws:", "wss:")))
    expect_failure(seen, "ETLS", "tls")
  end)

  it("R14 R69 a host that takes the connection and says nothing is given up", function()
    discord = witness.sandbox()
    discord:stall("accept")
    local seen = connect((discord.url:gsub("^ws:", "wss:")), { connect_timeout = 0.4 })
    expect_failure(seen, "ETIMEOUT", "tls")
  end)

  it("R69 a certificate for another name is refused and reported as such", function()
    discord = witness.sandbox { tls = true, certificate_name = "elsewhere.test" }
    local seen = connect(discord.url, { ca_file = discord.ca_file })
    expect_failure(seen, "ECERTIFICATE", "tls")
    assert.equal(0, #discord:received("IDENTIFY"))
  end)

  it("R69 a certificate of an unknown authority is refused", function()
    discord = witness.sandbox { tls = true }
    local other = witness.sandbox { tls = true, certificate_name = "elsewhere.test" }
    local seen = connect(discord.url, { ca_file = other.ca_file })
    expect_failure(seen, "ECERTIFICATE", "tls")
    other:stop()
  end)

  it("R69 an expired certificate is refused", function()
    discord = witness.sandbox { tls = true, certificate_expired = true }
    expect_failure(connect(discord.url, { ca_file = discord.ca_file }), "ECERTIFICATE", "tls")
  end)

  it("a ca_file that is not there raises, one that holds no certificate fails at once", function()
    local all = { token = "x", intents = 1, url = "wss://127.0.0.1:1", shards = 1 }
    all.ca_file = "/nowhere/ca.pem"
    local fine, message = pcall(moongate.client, all)
    assert.is_false(fine)
    assert.matches("/nowhere/ca.pem", message)
    all.ca_file = witness.root .. "/LICENSE"
    bot = moongate.client(all)
    local ok, words, code = bot:connect()
    assert.is_nil(ok)
    assert.equal("ECERTIFICATE", code)
    assert.matches("LICENSE", words)
  end)

  -- ---- Bytes ----------------------------------------------------------------------------------

  -- Sends text that is no payload; the client must come back with its session.
  local function expect_resumed_after(damage)
    local resumed = false
    bot:once("RESUMED", function() resumed = true end)
    bot:step(0)
    damage()
    witness.await(bot, "RESUMED", function() return resumed end)
    expect_alive("after it")
    expect_one_session()
  end

  it("R47 garbage in place of a message: closed with 4000 and resumed", function()
    local seen = ready { compress = false }
    expect_resumed_after(function() discord:send_payload("\1\2 this is not JSON {") end)
    assert.equal(4000, seen.close[1].code)
  end)

  it("R47 half a message: closed with 4000 and resumed", function()
    ready { compress = false }
    expect_resumed_after(function()
      discord:send_payload('{"t":"MESSAGE_CREATE","s":9,"op":0,"d":{"content":"ha')
    end)
  end)

  for _, compress in ipairs { "zlib-stream", "zstd-stream", "payload" } do
    it("R47 a corrupt compressed stream: closed with 4000 and resumed, " .. compress, function()
      local seen = ready { compress = compress }
      expect_resumed_after(function()
        -- A binary message; neither library knows its first block.
        discord:send_raw { "\x82\x08\xff\xff\xff\xff\0\0\xff\xff", frame = false }
      end)
      assert.equal("ESTREAM", seen.error[1].code)
      assert.equal(4000, seen.close[1].code)
    end)
  end

  it("R47 a flipped bit in a compressed message: closed with 4000 and resumed", function()
    ready { compress = "zlib-stream" }
    expect_resumed_after(function()
      -- Nothing sums a stream up: one bit may be another letter, and no fault. Then the next is.
      discord:corrupt(20)
      for _ = 1, 20 do
        discord:dispatch("MESSAGE_CREATE", { content = "damaged", channel_id = "1" })
      end
    end)
  end)

  it("R42 a line that is cut in the middle of a frame is resumed", function()
    ready { compress = false }
    expect_resumed_after(function()
      discord:send_raw { "\x81\x7e\x10\x00" .. '{"t":"MESSAGE_CREATE",', frame = false }
      discord:drop()
    end)
  end)

  it("R50 a message of 20 MB arrives whole", function()
    for _, compress in ipairs { false, "zlib-stream", "zstd-stream", "payload" } do
      -- An ACK waits behind all of it, so the interval must be a real one.
      ready({ compress = compress }, { heartbeat_interval = 41250 })
      local heard
      bot:on("MESSAGE_CREATE", function(message) heard = message.content end)
      bot:step(0)
      local big = ("0123456789abcdef"):rep(20 * 1024 * 1024 // 16)
      discord:dispatch("MESSAGE_CREATE", { content = big, channel_id = "1" })
      witness.await(bot, "20 MB", function() return heard end)
      assert.equal(#big, #heard)
      assert.is_true(big == heard)
      expect_alive("after 20 MB")
      expect_one_session()
      bot:stop()
      discord:stop()
    end
  end)

  it("R50 a message over the limit is a named error, and no loop", function()
    local seen = ready { message_bytes_max = 65536 }
    discord:dispatch("MESSAGE_CREATE", { content = ("x"):rep(200000), channel_id = "1" })
    witness.await(bot, "the error", function() return #seen.error > 0 end)
    assert.equal("EMESSAGE", seen.error[1].code)
    -- The replay has it again, so the session is given up after a few tries, and a new one lives.
    witness.await(bot, "a new session", function()
      return #seen.lost == 1 and bot.state == "ready"
    end)
    assert(#discord:received("RESUME") <= 5)
    expect_alive("a new session")
  end)

  it("a payload over 4096 bytes is refused and never sent", function()
    ready()
    local ok, message, code = bot.shards[0]:send(3, { text = ("x"):rep(5000) })
    assert.is_nil(ok)
    assert.equal("EPAYLOAD", code)
    assert.matches("4096", message)
    expect_alive("after the refusal")
    expect_one_session()
  end)

  -- ---- Handlers -------------------------------------------------------------------------------

  it("R55 a handler that throws is reported, the others run, the next event comes", function()
    local seen = ready()
    local order = {}
    bot:on("MESSAGE_CREATE", function() error("the first one throws") end)
    bot:on("MESSAGE_CREATE", function(message) table.insert(order, message.content) end)
    expect_alive("one")
    expect_alive("two")
    assert.same({ "one", "two" }, order)
    assert.equal(2, #seen.error)
    assert.matches("the first one throws", seen.error[1].message)
    assert.equal("MESSAGE_CREATE", seen.error[1].event)
    assert.matches("faults_spec", seen.error[1].traceback)
    expect_one_session()
  end)

  it("R55 without a listener for it the error is raised from step, after the event", function()
    discord = witness.sandbox()
    bot = witness.client(discord)
    witness.ready(bot)
    local heard = 0
    bot:on("MESSAGE_CREATE", function() error("raised from step") end)
    bot:on("MESSAGE_CREATE", function() heard = heard + 1 end)
    bot:step(0)
    discord:dispatch("MESSAGE_CREATE", { content = "x", channel_id = "1" })
    local fine, message = true, nil
    local deadline = os.time() + 5
    while fine and os.time() < deadline do fine, message = pcall(bot.step, bot, 0.1) end
    assert.is_false(fine)
    assert.matches("raised from step", tostring(message))
    assert.equal(1, heard)
    expect_one_session()
  end)

  it("R7 a handler that sleeps for three intervals costs no beat and no event", function()
    local seen = ready({ blocked_after = 0.3 }, { heartbeat_interval = INTERVAL_MS })
    local heard, slept = {}, false
    bot:on("MESSAGE_CREATE", function(message)
      table.insert(heard, message.content)
      if not slept then
        slept = true
        witness.block(3 * INTERVAL_MS / 1000)
      end
    end)
    bot:step(0)
    for at = 1, 50 do
      discord:dispatch("MESSAGE_CREATE", { content = tostring(at), channel_id = "1" })
    end
    witness.await(bot, "every message", function() return #heard == 50 end)
    for at = 1, 50 do assert.equal(tostring(at), heard[at]) end
    witness.judge(witness.beats(discord), INTERVAL_MS, 3)
    assert.equal(0, #discord:received("RESUME"))
    expect_one_session()
    witness.await(bot, "the report", function() return #seen.blocked > 0 end)
    assert.equal("MESSAGE_CREATE", seen.blocked[1].event)
    assert(seen.blocked[1].seconds >= 0.5)
  end)

  -- ---- Stopping -------------------------------------------------------------------------------

  local function expect_stopped()
    -- Two seconds for the shards and two for the thread, counted in whole ones.
    assert(timed(function() bot:stop() end) <= 5, "stop took too long")
    assert.equal("idle", bot.state)
    assert(timed(function() bot:stop() end) <= 1, "the second stop took too long")
    assert.has_no_error(function() bot:step(0) end)
    local ok, _, code = bot.shards[0]:send(3, {})
    assert.is_nil(ok)
    assert.equal("ECLOSED", code)
  end

  it("R66 stop before anything was started", function()
    bot = moongate.client { token = "x", intents = 1 }
    bot:stop()
    bot:stop()
  end)

  local stalls = {
    { "accept", "connecting" }, { "upgrade", "connecting" }, { "hello", "hello" },
    { "ready", "identifying" },
  }
  for _, row in ipairs(stalls) do
    it(("R66 stop in state %s, stalled at %s"):format(row[2], row[1]), function()
      discord = witness.sandbox()
      bot = witness.client(discord, { url = discord.url, shards = 1 })
      discord:stall(row[1])
      bot:connect()
      witness.await(bot, row[2], function() return bot.shards[0].state == row[2] end)
      expect_stopped()
    end)
  end

  it("R66 stop in state ready ends the session with 1000", function()
    ready()
    expect_stopped()
    assert(discord:wait_for_connections(0))
    assert.equal(1000, discord:history()[1].close_received)
    assert.equal(0, #discord:sessions())
  end)

  it("R66 stop in state resuming", function()
    ready()
    discord:stall("resumed")
    discord:drop()
    witness.await(bot, "resuming", function() return bot.shards[0].state == "resuming" end)
    expect_stopped()
  end)

  it("R66 stop in state backoff", function()
    connect("ws://127.0.0.1:1", { backoff = { base = 30, cap = 30 } })
    witness.await(bot, "backoff", function() return bot.shards[0].state == "backoff" end)
    expect_stopped()
  end)

  it("R66 R11 stop in state closing, with a peer that never answers", function()
    ready()
    discord:stall("close")
    bot:disconnect()
    expect_stopped()
  end)

  it("R66 stop in state dead", function()
    discord = witness.sandbox()
    bot = witness.client(discord, { token = "wrong", url = discord.url, shards = 1 })
    bot:run()
    assert(timed(function() bot:stop() end) <= 3)
    bot:stop()
  end)

  it("R66 stop in a handler ends run", function()
    discord = witness.sandbox()
    bot = witness.client(discord)
    bot:on("READY", function() bot:stop() end)
    assert.is_true(bot:run())
  end)

  -- ---- The end of a client without a stop ------------------------------------------------------

  it("R66 a collected client closes, and its session can be resumed", function()
    ready()
    assert.equal(1, #discord:connections())
    bot = nil
    for _ = 1, 4 do collectgarbage() end
    assert(discord:wait_for_connections(0))
    assert.not_equal(1000, discord:history()[1].close_received)
    assert.equal(1, #discord:sessions())
  end)

  local function exit_in_handler(call)
    discord = witness.sandbox()
    local said, how, code
    local seconds = timed(function()
      said, how, code = witness.program(([[
        local moongate = require "moongate"
        local bot = moongate.client { token = %q, api = %q, intents = { "guilds" } }
        bot:on("READY", function()
          io.write("leaving\n")
          io.flush()
          %s
        end)
        bot:run()
        print "still here"
      ]]):format(discord.token, discord.api, call))
    end)
    assert.equal("leaving\n", said)
    assert.equal("exit", how)
    assert.equal(0, code)
    assert(seconds <= 4, "the exit took " .. seconds .. " s")
    assert(discord:wait_for_connections(0))
  end

  it("R66 os.exit(0, true) in a handler ends the process in order", function()
    exit_in_handler("os.exit(0, true)")
  end)

  it("R66 os.exit(0) in a handler ends the process in order", function()
    exit_in_handler("os.exit(0)")
  end)

  it("R69 without a descriptor it says so, and comes back when there is one", function()
    discord = witness.sandbox { limits = false }
    local said = witness.program(([[
      local core = require "moongate.core"
      local engine = assert(core.engine { null = "drop" })
      assert(engine:interest(0, { "READY" }))
      local files = {}
      for at = 1, 1000 do files[at] = io.open "/dev/null" end
      assert(engine:start { token = %q, url = %q, shard_id = 0, shard_count = 1, intents = 1,
        backoff_base_ms = 100, backoff_cap_ms = 100 })
      local told
      local function look(record, name, own)
        if own and name == "error" and not told then
          local data = record:data()
          told = true
          print(data.code, data.message)
          for _, file in ipairs(files) do file:close() end
        elseif name == "READY" then
          print "ready"
          os.exit(0)
        end
      end
      while engine:wait(10) do
        local record, name, _, own = engine:next()
        if record then
          look(record, name, own)
          record:done()
        end
      end
    ]]):format(discord.token, discord.url), "ulimit -n 64;")
    assert.matches("^ESYSTEM\tconnect to ws://127.0.0.1:%d+/: no descriptor for a socket; "
      .. "raise the limit of open files %(ulimit %-n%), or have fewer shards in one process\n"
      .. "ready\n", said)
  end)
end)

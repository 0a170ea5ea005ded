-- starve_spec.lua: memory is refused, once, at every place where it is asked for: in the pure
-- machine, in the running engine over real sockets, and in Lua itself. Nothing crashes, nothing
-- leaks (live blocks are counted, also without a sanitizer), no lock stays held, no event is lost
-- or doubled, and afterwards the shard gets ready.

local core = require "moongate.core"
local helper = require "helper"
local peer = require "peer"
local witness = require "witness"
local refuse = require("moongate_unit").refuse

refuse.attach(assert(package.searchpath("moongate.core", package.cpath)))

-- The blocks of the core that live once all that can be collected is.
local function blocks()
  collectgarbage()
  collectgarbage()
  return (select(3, refuse.seen()))
end

-- fn(n) with the nth allocation refused, for n = 1, 2, ... until fn needs fewer; each may leave so
-- many blocks behind (`spare`: none), once what is kept for ever is there. Returns how many.
local function each_refusal(whose, fn, spare)
  local n = 1
  refuse.arm(0)
  fn(0)
  while true do
    local before = blocks()
    refuse.arm(n, whose)
    fn(n)
    local _, refused = refuse.seen()
    refuse.arm(0)
    local after = blocks()
    local most = before + (spare or 0)
    assert(after <= most, ("refusal %d: %d blocks leaked"):format(n, after - most))
    if refused == 0 then return n - 1 end
    n = n + 1
  end
end

describe("memory in the machine", function()
  -- What is refused once, and says so, is done when it is asked for again.
  local function insist(fn)
    local fine, result, message, code = pcall(fn)
    if fine and result ~= nil then return end
    assert.matches("memory", tostring(fine and message or result))
    assert(not fine or code == "EMEMORY")
    assert(fn())
  end

  local function use(driven)
    local machine = driven.machine
    insist(function()
      machine:interest({ "EVENT", "READY" }, { send = true, receive = true })
      return true
    end)
    local packet = assert(core.encode({ op = 3, d = { status = "idle" } },
      { encoding = driven.options.encoding }))
    insist(function() return machine:send(driven.now, packet) end)
    driven:input("tick")
  end

  local function survive(wire, n)
    local fine, driven = pcall(helper.drive, wire)
    if not fine then
      assert.matches("memory", tostring(driven))
      return
    end
    local gateway = peer.new(6, wire.encoding)
    gateway:bring_up(driven)
    use(driven)
    driven:closed { code = 1006 }
    gateway:bring_up(driven)
    assert.equal("ready", driven.machine.state)
    assert.same({ 2, 3, 4, 5, 6 }, gateway.heard, "refusal " .. n)
    driven:input("stop", 1000)
    driven:closed { code = 1000 }
    assert.equal("idle", driven.machine.state)
    driven.machine:close()
  end

  for _, wire in ipairs(helper.wires) do
    it(("start, ready, resume and stop survive each refusal: %s, %s"):format(wire.encoding,
      wire.compress or "plain"), function()
      local tried = each_refusal("mine", function(n) survive(wire, n) end)
      assert(tried > 20, "only " .. tried .. " allocations")
    end)
  end
end)

describe("memory in a machine that is ready", function()
  -- A machine that is ready, then the nth allocation of fn is refused.
  local function starve(options, n, fn)
    local driven = helper.drive(options)
    peer.new(3, options.encoding):bring_up(driven)
    refuse.arm(n, "mine")
    local actions = fn(driven)
    local _, refused = refuse.seen()
    refuse.arm(0)
    return driven, actions, refused
  end

  it("a heartbeat for which there is none costs the connection, not the session", function()
    local driven, actions = starve({}, 1, function(d) return d:tick() end)
    assert.equal("backoff", driven.machine.state)
    assert.equal(1, #helper.pick(actions, "abort"))
    assert.is_string(driven.machine:status().session)
  end)

  -- An escape takes a buffer when the command is looked at.
  it("a command is taken as a whole, or refused", function()
    local command = '{"op":8,"d":{"guild_id":"\\u0031","query":"","limit":0}}'
    for _, encoding in ipairs(helper.encodings) do
      local n, refused = 0
      repeat
        n = n + 1
        local driven, actions, times = starve({ encoding = encoding }, n, function(d)
          return d:input("send", command)
        end)
        refused = times
        if driven.result[1] == nil then
          assert.same({ 1, "EMEMORY", 0 }, { refused, driven.result[3],
            #helper.pick(actions, "send") }, "refusal " .. n)
          actions = driven:input("send", command)
        end
        assert.equal(1, #helper.pick(actions, "send"), "refusal " .. n)
        assert.equal("ready", driven.machine.state)
        driven.machine:close()
      until refused == 0
      assert(n > 2, n .. " tries")
    end
  end)

  it("what Identify is to say is said as a whole, or as before", function()
    local n, refused = 0
    local before = { presence = '{"status":"idle"}', properties = { browser = "old" } }
    local wanted = { token = "T", url = "ws://x", intents = 2, presence = '{"status":"dnd"}',
      properties = { browser = "new" } }
    repeat
      n = n + 1
      local driven, _, times = starve(before, n, function(d)
        return d:input("identify", wanted)
      end)
      refused = times
      local said = refused == 0 and { 2, "dnd", "new" } or { 513, "idle", "old" }
      if refused > 0 then assert.equal("EMEMORY", driven.result[3]) end
      driven:closed { code = 4007 }
      driven:tick()
      driven:input "grant"
      driven:opened()
      local identify = helper.pick(driven:receive(helper.HELLO), "send")[1].packet.d
      assert.same(said, { identify.intents, identify.presence.status,
        identify.properties.browser }, "refusal " .. n)
      driven.machine:close()
    until refused == 0
    assert(n > 2, n .. " tries")
  end)
end)

-- An identify window outlives its client by five seconds, and the next claim forgets it.
local WINDOW_BLOCKS = 2

describe("memory in the engine #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  -- What may fail once for want of memory, and must say so; then it is done.
  local function insist(what, fn)
    local fine, result, message, code = pcall(fn)
    if fine and result then return result end
    local words = tostring(fine and message or result)
    assert(words:find "memory", ("%s: %s"):format(what, words))
    assert(not fine or code == "EMEMORY", ("%s: %s: %s"):format(what, tostring(code), words))
    return assert(fn())
  end

  local lives = 0
  -- A client hears one message, loses its connection, resumes and hears another one. Every client
  -- has a token of its own, as those of one token share an identify window.
  local function live(n, options)
    lives = lives + 1
    discord = witness.sandbox { token = "token.of." .. n .. "." .. lives }
    local all = { url = discord.url, shards = 1 }
    for key, value in pairs(options) do all[key] = value end
    bot = insist("client", function() return witness.client(discord, all) end)
    local heard, readies, state = {}, 0, nil
    bot:on("MESSAGE_CREATE", function(message) heard[#heard + 1] = message.content end)
    bot:on("READY", function() readies = readies + 1 end)
    bot:on("RESUMED", function() readies = readies + 1 end)
    bot:on("error", function(data) state = data.message end)
    local function await(what, check)
      witness.await(bot, ("refusal %d: %s (%s, %s)"):format(n, what, bot.state, tostring(state)),
        check)
    end
    insist("connect", function() return bot:connect() end)
    await("READY", function() return bot.state == "ready" and readies >= 1 end)
    discord:dispatch("MESSAGE_CREATE", { content = "one", channel_id = "1" })
    await("one", function() return #heard >= 1 end)
    local before = readies
    discord:drop()
    await("RESUMED", function() return readies > before end)
    discord:dispatch("MESSAGE_CREATE", { content = "two", channel_id = "1" })
    await("two", function() return #heard >= 2 end)
    bot:step(0)
    assert.same({ "one", "two" }, heard, "refusal " .. n)
    insist("stop", function()
      bot:stop()
      return true
    end)
    discord:stop()
    bot, discord = nil, nil
  end

  local first_blocks
  it("a client lives", function()
    live(0, {})
    first_blocks = blocks()
  end)

  local ways = {
    { "the I/O thread", "others", { compress = "zlib-stream" } },
    { "the Lua thread", "mine", { compress = "zlib-stream" } },
  }
  for _, way in ipairs(ways) do
    it("a client survives each refusal of " .. way[1], function()
      local tried = each_refusal(way[2], function(n) live(n, way[3]) end, WINDOW_BLOCKS)
      assert(tried > 12, "only " .. tried .. " allocations")
    end)
  end

  -- What is known of the day of a token: one block each.
  it("all of that leaves not one block behind, once the windows are over", function()
    witness.block(core.limits.IDENTIFY_WINDOW_MS / 1000 + 0.2)
    live(0, {})
    assert.equal(first_blocks + lives - 1, blocks())
  end)

  -- Up to the first connection, which the ways above have tried.
  for _, whose in ipairs { "others", "mine" } do
    it("asking the gateway survives each refusal of memory: " .. whose, function()
      each_refusal(whose, function(n)
        discord = witness.sandbox { token = "asks.with." .. n }
        bot = insist("client", function() return witness.client(discord) end)
        local started = core.now()
        insist("connect", function() return bot:connect() end)
        assert(core.now() - started < 5, "refusal " .. n .. ": the answer was lost")
        refuse.arm(0)
        bot:stop()
        discord:stop()
        bot, discord = nil, nil
      end, WINDOW_BLOCKS)
    end)
  end

  it("R66 a client whose stop finds no memory says goodbye all the same, and waits no longer",
    function()
      discord = witness.sandbox { token = "stops.poorly" }
      bot = witness.ready(witness.client(discord, { url = discord.url, shards = 1 }))
      refuse.arm(1, "mine")
      local started = core.now()
      bot:stop()
      local _, refused = refuse.seen()
      refuse.arm(0)
      assert.equal(1, refused)
      assert(core.now() - started < 1, "stop took as long as for a peer that is silent")
      assert(discord:wait_for_connections(0))
      assert.same({}, discord:sessions())
    end)

  it("R66 a client stops in time while there is no memory at all", function()
    for _, n in ipairs { 1, 34 } do
      discord = witness.sandbox { token = "stops.without.memory." .. n }
      bot = witness.client(discord, { url = discord.url, shards = 1 })
      refuse.arm(n, "others", math.maxinteger)
      assert(bot:connect())
      for _ = 1, 5 do bot:step(0.02) end
      local started = core.now()
      bot:stop()
      -- The shards are waited for, but the end is not: it waits for no memory.
      local most_s = core.limits.STOP_TIMEOUT_MS / 1000 + 1
      assert(core.now() - started < most_s, "stop took too long")
      refuse.arm(0)
      discord:stop()
      bot, discord = nil, nil
    end
  end)
end)

-- ---- Lua's own memory --------------------------------------------------------------------------

-- Each text prepares what it needs and returns the function that starves.
local programs = {
  decode = [[
    local core = require "moongate.core"
    local text = core.encode { content = ("long "):rep(50), id = "123456789012345678",
      nested = { { 1, 2.5, true, core.null, { name = "x" } }, { list = { "a", "b", "c" } } } }
    return function() return core.decode(text) end]],
  encode = [[
    local core = require "moongate.core"
    local value = { content = ("long "):rep(500), nested = { { 1, 2.5, true, core.null } } }
    return function() return core.encode(value) end]],
  machine = [[
    local core = require "moongate.core"
    local function run(machine)
      machine:interest({ "READY" }, { send = true })
      machine:start(0)
      machine:grant(0)
      machine:opened(0, 1)
      machine:feed_all(0, '{"op":10,"d":{"heartbeat_interval":41250}}')
      machine:feed_all(0, '{"t":"READY","s":1,"op":0,"d":{"v":10,"user":{"id":"1"},"guilds":[],' ..
        '"session_id":"s1","resume_gateway_url":"wss://resume.test"}}')
      machine:send(0, '{"op":3,"d":{"status":"idle"}}')
      while machine:next() do end
      local _ = machine:status()
    end
    return function()
      run(assert(core.machine { token = "T", url = "wss://gateway.test", intents = 1 }))
    end]],
  engine = [[
    local core = require "moongate.core"
    return function()
      local engine <close> = assert(core.engine {})
      engine:start { token = "T", url = "ws://127.0.0.1:1", shard_id = 0, shard_count = 1,
        intents = 1, backoff_base_ms = 60000, backoff_cap_ms = 60000 }
      engine:interest(0, { "READY" }, { all = true })
      engine:send(0, 3, { status = "idle" })
      core.poll({ engine:fd() }, 0.02)
      for _ = 1, 20 do
        local record = engine:next()
        if record then
          record:data()
          record:done()
        end
      end
    end]],
  client = [[
    local moongate = require "moongate"
    return function()
      local bot = moongate.client { token = "T", url = "ws://127.0.0.1:1", shards = 2,
        intents = { "guilds" }, backoff = { base = 60, cap = 60 } }
      bot:on("error", function(data) return data.message end)
      bot:connect()
      bot:step(0.01)
      bot:stop()
    end]],
}

-- How far apart the tries are where a whole engine is started in each.
local strides = { engine = 3, client = 17 }

describe("memory of Lua", function()
  for name, text in pairs(programs) do
    for _, for_ever in ipairs { false, true } do
      local title = ("%s: each refusal, %s"):format(name, for_ever and "for ever" or "once")
      it(title, function()
        refuse.arm(0)
        local before, n, tried = blocks(), 1, 0
        repeat
          local result, counted, bytes = refuse.starve(text, n, for_ever)
          assert(result == true or result:find "memory", result)
          assert.equal(0, bytes, ("refusal %d: Lua lost %d bytes"):format(n, bytes))
          assert.equal(before, blocks(), ("refusal %d: blocks of the core leaked"):format(n))
          n, tried = n + (strides[name] or 1), tried + 1
        until counted < n - (strides[name] or 1)
        assert(tried >= 3, "only " .. tried .. " tries")
        -- No lock stayed behind.
        assert.is_true((refuse.starve(text, 0)))
      end)
    end
  end
end)

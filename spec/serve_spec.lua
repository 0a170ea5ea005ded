-- What the engine hands to its only listener by itself, many events at a time: whatever such a
-- listener does, it is as if each had come alone. All lie in the queue before they are read.
local core = require "moongate.core"
local moongate = require "moongate"
local sandbox = require "moongate.sandbox"
local witness = require "witness"

describe("events served in a batch", function()
  local discord, bot, log

  local function begin(options)
    discord = sandbox.start {}
    local wanted = { token = discord.token, api = discord.api, intents = "all" }
    for key, value in pairs(options or {}) do wanted[key] = value end
    bot, log = moongate.client(wanted), {}
    bot:connect()
    assert(bot:wait_for("READY", { timeout = 20 }))
  end

  after_each(function()
    if bot.bridge.engine then bot:stop() end
    discord:stop()
  end)

  -- Waits without reading until the gateway has sent `count` events and the queue has them.
  local function fill(count, more)
    bot:step(0)
    local engine = bot.bridge.engine
    local before = engine:counts().queue_events
    for n = 1, count do
      discord:dispatch("TYPING_START", { n = n, user_id = "1", channel_id = "2" }, { exact = true })
    end
    if more then more() end
    local deadline = core.now() + 20
    repeat engine:wait(0.01) until engine:counts().queue_events - before >= count
      or core.now() > deadline
    assert.equal(count, engine:counts().queue_events - before)
  end

  local function hear(n_of)
    return function(data, shard, name)
      log[#log + 1] = { n_of(data), shard == bot.shards[0], name }
    end
  end

  it("come in order, in each form", function()
    begin()
    for options, n_of in pairs {
      [{}] = function(data) return data.n end,
      [{ lazy = true }] = function(data) return data.n end,
      [{ raw = true }] = function(text) return tonumber(text:match '"n":(%d+)') end,
    } do
      log = {}
      local fn = bot:on("TYPING_START", hear(n_of), options)
      fill(200)
      bot:step(0)
      assert.equal(200, #log)
      for n = 1, 200 do assert.same({ n, true, "TYPING_START" }, log[n]) end
      bot:off("TYPING_START", fn)
    end
  end)

  it("R55 go on behind one that fails, whose error is told with its event", function()
    begin()
    bot:on("error", function(problem) log[#log + 1] = problem.event .. problem.phase end)
    bot:on("TYPING_START", function(data)
      if data.n == 3 then error "boom" end
      log[#log + 1] = data.n
    end)
    fill(5)
    bot:step(0)
    assert.same({ 1, 2, "TYPING_STARThandler", 4, 5 }, log)
  end)

  it("R55 stop behind one whose error is raised, and go on afterwards", function()
    begin()
    bot:on("TYPING_START", function(data)
      log[#log + 1] = data.n
      if data.n == 2 then error("boom", 0) end
    end)
    fill(4)
    local fine, message = pcall(bot.step, bot, 0)
    assert.is_false(fine)
    assert.truthy(message:find("boom", 1, true))
    assert.same({ 1, 2 }, log)
    bot:step(0)
    assert.same({ 1, 2, 3, 4 }, log)
  end)

  it("go on while one waits, and that one later", function()
    begin()
    bot:on("TYPING_START", function(data)
      if data.n == 2 then moongate.sleep(0) end
      log[#log + 1] = data.n
    end)
    fill(4)
    bot:step(0)
    witness.await(bot, "the one that waits", function() return #log == 4 end)
    assert.same({ 1, 3, 4, 2 }, log)
  end)

  it("are not heard by a listener that has removed itself, and by a new one at once", function()
    begin()
    local function first(data)
      log[#log + 1] = data.n
      if data.n < 3 then return end
      bot:off("TYPING_START")
      bot:on("TYPING_START", function(later) log[#log + 1] = -later.n end)
    end
    bot:on("TYPING_START", first)
    fill(5)
    bot:step(0)
    assert.same({ 1, 2, 3, -4, -5 }, log)
  end)

  it("are not heard any more behind one that closes their engine", function()
    begin()
    bot:on("TYPING_START", function(data)
      log[#log + 1] = data.n
      if data.n == 2 then bot.bridge:close() end
    end)
    fill(5)
    bot:step(0)
    assert.same({ 1, 2 }, log)
  end)

  it("R54 are told of when one cannot be decoded, and go on", function()
    begin { compress = false }
    bot:on("error", function(problem) log[#log + 1] = problem.event .. problem.phase end)
    bot:on("TYPING_START", function(data) log[#log + 1] = data.n end)
    fill(1)
    bot:step(0)
    discord:send_raw { '{"op":0,"s":1001,"t":"TYPING_START","d":{"n":,"x":1}}' }
    witness.await(bot, "the error", function() return #log == 2 end)
    assert.same({ 1, "TYPING_STARTdecode" }, log)
    assert.equal(1, bot.shards[0]:stats().decode_errors)
  end)

  it("are reported when one holds everybody up, and it alone", function()
    begin { blocked_after = 0.05 }
    bot:on("blocked", function(data) log[#log + 1] = data end)
    bot:on("TYPING_START", function(data)
      local till = core.now() + (data.n == 3 and 0.1 or 0)
      repeat until core.now() >= till
    end)
    fill(5)
    bot:step(0)
    assert.equal(1, #log)
    assert.equal("TYPING_START", log[1].event)
    assert.is_true(log[1].seconds >= 0.05)
    assert.truthy(log[1].where:find "serve_spec.lua:%d+$")
  end)

  it("are handled one by one, as far as a session that is saved knows", function()
    begin()
    local one = bot.shards[0]
    bot:on("TYPING_START", function() log[#log + 1] = one:session_info().seq end)
    fill(3)
    local last = one.seq
    bot:step(0)
    assert.same({ last - 2, last - 1 }, { log[2], log[3] })
    assert.equal(last, one:session_info().seq)
  end)

  it("leave the sequence that was handled alone where they have none", function()
    begin()
    local one = bot.shards[0]
    local function note() log[#log + 1] = (one:session_info() or {}).seq or 0 end
    for _, more in ipairs { false, note } do
      bot:on("TYPING_START", note)
      if more then bot:prepend("TYPING_START", more) end
      fill(1)
      bot:step(0)
      local first, before = one.seq, #log
      assert(one:receive '{"op":0,"s":null,"t":"TYPING_START","d":{}}')
      witness.await(bot, "the one without", function() return #log > before end)
      fill(1)
      bot:step(0)
      assert.equal(first, log[before + 1])
      assert.equal(first, log[#log])
      bot:off("TYPING_START")
    end
  end)

  it("tell their sequences to listeners of every kind, however far the shard has come", function()
    begin()
    local one = bot.shards[0]
    local function note() log[#log + 1] = bot.bridge.engine:seq() end
    local function more() bot:on("TYPING_START", function() end) end
    for _, also in ipairs { function() end, more } do
      bot:off()
      log = {}
      bot:on("TYPING_START", note)
      also()
      fill(3)
      local last = one.seq
      bot:step(0)
      assert.same({ last - 2, last - 1, last }, log)
    end
  end)

  it("go on when a listener turns the loop itself", function()
    begin()
    bot:on("TYPING_START", function(data)
      log[#log + 1] = data.n
      if data.n == 2 then coroutine.wrap(function() bot:step(0) end)() end
    end)
    fill(4)
    bot:step(0)
    bot:step(0)
    assert.same({ 1, 2, 3, 4 }, log)
  end)
end)

-- turns.lua: turns to identify that a coordinator gives, on an engine of paper and over sockets.
local moongate = require "moongate"
local paper = require "paper"
local scheduler = require "moongate.scheduler"
local witness = require "witness"

-- A coordinator that does what its script says, and takes down what it is asked.
local function scripted(answers)
  local it = { calls = {}, answers = answers or {}, wait_s = 1 }
  function it:acquire(claim)
    self.calls[#self.calls + 1] = "acquire " .. claim.shard_id
    self.claim = claim
    local answer = table.remove(self.answers, 1)
    if type(answer) == "function" then return answer() end
    return answer == nil or answer
  end
  function it:deadline()
    return self.wait_s
  end
  function it:release(claim, spent_s)
    self.calls[#self.calls + 1] = ("release %d %s"):format(claim.shard_id, spent_s or "unspent")
    return true
  end
  return it
end

describe("a turn to identify", function()
  local bot, engine, tokens, now, real_now

  before_each(function()
    now, real_now = 1000, scheduler.now
    scheduler.now = function() return now end
    paper.install()
    tokens = (tokens or 0) + 1
  end)
  after_each(function()
    if bot and bot.bridge then bot.bridge:close() end
    paper.remove()
    scheduler.now = real_now
  end)

  -- Lets so many seconds pass.
  local function advance(seconds)
    local ends_at = now + seconds
    while now < ends_at do
      now = now + 0.05
      bot:step(0)
    end
  end

  local function connect(coordinator, shards)
    bot = moongate.client {
      token = "turns.spec." .. tokens, intents = { "guilds" }, url = "ws://127.0.0.1:1",
      shards = shards or 1, identify_coordinator = coordinator,
    }
    bot.problems, bot.holds = {}, {}
    bot:on("error", function(problem) table.insert(bot.problems, problem) end)
    bot:on("hold", function(data) table.insert(bot.holds, data["until"] - os.time()) end)
    bot:connect()
    engine = paper.engines[#paper.engines]
    return bot
  end

  local function note(name, data, shard_id)
    engine:note(name, shard_id or 0, data)
    bot:step(0)
  end

  it("is asked for, handed over and given back", function()
    local coordinator = scripted()
    connect(coordinator)
    assert.is_true(engine.options.coordinated)
    note("turn", { key = 0, number = 1 })
    assert.same({ { 0, 1 } }, engine:calls_of "turn")
    local claim = coordinator.claim
    assert.equal(16, #claim.token)
    assert.equal(0, claim.key)
    assert.equal(1, claim.shard_count)
    assert.equal(1000, claim.total)
    assert.equal(0, claim.used)
    assert.equal(10, claim.reserve)
    note("turn_over", { number = 1, spent_ms = 1500 })
    assert.same({ "acquire 0", "release 0 1.5" }, coordinator.calls)
  end)

  it("R39 waits as long as the coordinator says", function()
    local coordinator = scripted { false, false, true }
    connect(coordinator)
    note("turn", { key = 0, number = 1 })
    advance(1.5)
    assert.same({}, engine:calls_of "turn")
    advance(1)
    assert.same({ { 0, 1 } }, engine:calls_of "turn")
    assert.equal(3, #coordinator.calls)
  end)

  it("is given back when nobody wants it any more", function()
    local coordinator = scripted { false, true }
    connect(coordinator)
    note("turn", { key = 0, number = 1 })
    note("turn_over", { number = 1 })
    advance(5)
    assert.same({ "acquire 0" }, coordinator.calls)
    note("turn", { key = 0, number = 2 })
    note("turn", { key = 0, number = 3 }) -- the end of the second was lost
    assert.same({ "acquire 0", "acquire 0", "release 0 0", "acquire 0" }, coordinator.calls)
  end)

  it("is handed over again when the engine is busy", function()
    connect(scripted())
    engine.refuse.turn = { code = "EBUSY", times = 2 }
    note("turn", { key = 0, number = 1 })
    advance(0.2)
    assert.equal(3, #engine:calls_of "turn")
  end)

  it("waits for a coordinator that does not work, and says so once", function()
    connect(scripted {
      function() error "broken" end, function() return nil, "no disk", "ESYSTEM" end,
      function() return nil, "no disk", "ESYSTEM" end, true,
    })
    note("turn", { key = 0, number = 1 })
    advance(16)
    assert.same({ { 0, 1 } }, engine:calls_of "turn")
    assert.equal(2, #bot.problems)
    assert.matches("identify_coordinator: acquire: .*broken", bot.problems[1].message)
    assert.equal("EHANDLER", bot.problems[1].code)
    assert.equal("identify_coordinator: acquire: no disk", bot.problems[2].message)
    assert.equal("ESYSTEM", bot.problems[2].code)
  end)

  it("a wait that no window explains is told as hold, once", function()
    local coordinator = scripted { false, false, false, true }
    coordinator.wait_s = 7200
    connect(coordinator)
    note("turn", { key = 0, number = 1 })
    advance(200)
    assert.same({ 7200 }, bot.holds)
    assert.same({ { 0, 1 } }, engine:calls_of "turn")
  end)

  it("is given back when the client stops", function()
    local coordinator = scripted()
    connect(coordinator)
    note("turn", { key = 0, number = 1 })
    bot:stop()
    assert.same({ "acquire 0", "release 0 0" }, coordinator.calls)
  end)
end)

describe("a coordinator #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
  end)

  it("R39 each Identify waits for its turn, which ends with READY", function()
    discord = witness.sandbox { limits = false }
    local coordinator, identifies = scripted { false }, {}
    coordinator.wait_s = 0.05
    local acquire = coordinator.acquire
    function coordinator:acquire(claim)
      identifies[#identifies + 1] = #discord:received "IDENTIFY"
      return acquire(self, claim)
    end
    bot = witness.client(discord, { identify_coordinator = coordinator })
    witness.ready(bot)
    assert.same({ 0, 0 }, identifies)
    witness.await(bot, "the end of the turn", function() return #coordinator.calls == 3 end)
    assert.matches("^release 0 0%.?%d*", coordinator.calls[3])
    discord:drop()
    witness.await(bot, "a resume", function() return #discord:received "RESUME" == 1 end)
    assert.equal(3, #coordinator.calls) -- a resume needs no turn
  end)

  it("R39 processes with files of their own identify one after the other", function()
    local path = os.tmpname()
    discord = witness.sandbox { limits = false }
    local file = moongate.coordinator.file(path)
    local holder = moongate.coordinator.file(path)
    local claim = { token = require("moongate.core").fingerprint(discord.token), key = 0 }
    assert.is_true(holder:acquire(claim))
    bot = witness.client(discord, { identify_coordinator = file })
    bot:connect()
    bot:step(0.4)
    assert.same({}, discord:received "IDENTIFY")
    holder:release(claim)
    witness.ready(bot)
    assert.is_false(holder:acquire(claim))
    bot:stop()
    bot = nil
    os.execute(("rm -f '%s' '%s'-*"):format(path, path))
  end)
end)

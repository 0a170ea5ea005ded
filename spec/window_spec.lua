-- window.c: one identify window for all engines of a token, and what their seats do with it.
local core = require "moongate.core"
local cqueues = require "cqueues"
local stranger = require "stranger"
local window = require("moongate_unit").window

local WINDOW = core.limits.IDENTIFY_WINDOW_MS
local SLOT_LEASE, LEASE, LOOK = 60000, 30000, 250

describe("window", function()
  local token
  local number = 0

  before_each(function()
    number = number + 1
    token = "token" .. number
  end)

  after_each(function() -- also so that nothing is left in memory
    for owner = 1, 3 do window.leave(owner, 1 << 40) end
  end)

  it("R36 is one for two engines, counted from the Identify", function()
    assert.equal(0, window.claim(token, 0, 0, 1, 1000))
    assert.equal(1100 + LOOK, window.claim(token, 0, 0, 2, 1100))
    window.spent(token, 0, 0, 1, 2000)
    assert.equal(2100 + LOOK, window.claim(token, 0, 0, 2, 2100))
    window.done(token, 0, 0, 1)
    assert.equal(2000 + WINDOW, window.claim(token, 0, 0, 2, 2200))
    assert.equal(2000 + WINDOW, window.claim(token, 0, 16, 1, 2200))
    assert.equal(0, window.claim(token, 0, 0, 2, 2000 + WINDOW))
  end)

  it("is another one for another key, and another token", function()
    assert.equal(0, window.claim(token, 0, 0, 1, 1000))
    assert.equal(0, window.claim(token, 1, 1, 2, 1000))
    assert.equal(0, window.claim(token .. "x", 0, 0, 2, 1000))
  end)

  it("is free again when whoever holds it goes, or takes too long", function()
    assert.equal(0, window.claim(token, 0, 0, 1, 1000))
    window.leave(1, 1001)
    assert.equal(0, window.claim(token, 0, 0, 2, 1001))
    assert.equal(1000 + SLOT_LEASE + LOOK, window.claim(token, 0, 0, 3, 1000 + SLOT_LEASE))
    assert.equal(0, window.claim(token, 0, 0, 3, 1001 + SLOT_LEASE))
    window.spent(token, 0, 0, 3, 70000)
    assert.equal(69999 + LEASE + LOOK, window.claim(token, 0, 0, 1, 69999 + LEASE))
    assert.equal(0, window.claim(token, 0, 0, 1, 70000 + LEASE))
  end)

  it("outlives its holder", function()
    assert.equal(0, window.claim(token, 0, 0, 1, 1000))
    window.spent(token, 0, 0, 1, 1000)
    window.leave(1, 1000)
    assert.equal(1000 + WINDOW, window.claim(token, 0, 0, 2, 1001))
    window.leave(2, 1000 + WINDOW)
    assert.equal(0, window.claim(token, 0, 0, 2, 1000 + WINDOW))
  end)

  it("that is held is not forgotten when another token makes room for itself", function()
    assert.equal(0, window.claim(token, 3, 3, 1, 1000)) -- and no Identify has left yet
    assert.equal(0, window.claim(token .. "y", 0, 0, 2, 1001))
    assert.equal(1002 + LOOK, window.claim(token, 3, 19, 2, 1002))
  end)

  it("of a token that nobody has claimed there is nothing to spend or to give back", function()
    window.spent(token, 0, 0, 1, 1000)
    window.done(token, 0, 0, 1)
    assert.equal(0, window.claim(token, 0, 0, 2, 1001))
  end)

  it("is given back by nobody but its holder", function()
    assert.equal(0, window.claim(token, 0, 0, 1, 1000))
    window.done(token, 0, 16, 1)
    window.done(token, 0, 0, 2)
    assert.equal(1000 + LOOK, window.claim(token, 0, 0, 2, 1000))
    assert.equal(0, window.claim(token, 0, 16, 1, 1000)) -- its engine knows better
  end)
end)

describe("window #sockets", function()
  local world, engines

  before_each(function()
    world, engines = stranger.new(), {}
    for i = 1, 2 do engines[i] = assert(core.engine { concurrency = 1 }) end
  end)

  after_each(function()
    for _, engine in ipairs(engines) do engine:close() end
    world:stop()
  end)

  it("R36 whoever gives up after a change of concurrency holds nothing any more", function()
    local came = 0
    local address = world:server(function()
      came = came + 1
      repeat cqueues.sleep(1) until false
    end)
    local function start(engine, id)
      assert(engine:start { token = "resized", url = "ws://" .. address, shard_id = id,
        shard_count = 6, intents = 1 })
    end
    start(engines[1], 5)
    world:watch(engines[1], nil, function() return came == 1 end)
    assert(engines[1]:concurrency(16))
    assert(engines[1]:stop_shard(5))
    start(engines[2], 0)
    world:watch(engines[2], nil, function() return came == 2 end)
  end)
end)

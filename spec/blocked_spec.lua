-- blocked_spec.lua: the promise of the project. Whatever the Lua thread does, or does not do, every
-- heartbeat leaves on time, because none of them is sent by it.

local witness = require "witness"

local INTERVAL_MS = 300
local BLOCKED_S = 4 * INTERVAL_MS / 1000 + 0.3

-- Beats that came between two moments, given as numbers of beats seen before them.
local function beats_since(discord, count)
  local times = witness.beats(discord)
  return #times - count
end

local function expect_beats(discord, before)
  local during = beats_since(discord, before)
  assert(during >= 4, ("%d beats while the Lua thread was blocked"):format(during))
  witness.judge(witness.beats(discord), INTERVAL_MS, 5)
  assert.equal(1, #discord:received("IDENTIFY"))
  assert.equal(0, #discord:received("RESUME"))
end

describe("the judge of heartbeats", function()
  it("finds the late, the missing and the early", function()
    witness.judge({ 0, 200, 395, 602 }, 200, 4)
    assert.has_error(function() witness.judge({ 0, 200, 400 }, 200, 4) end)
    assert.has_error(function() witness.judge({ 0, 1000, 2126 + witness.late_ms }, 1000, 3) end)
    assert.has_error(function() witness.judge({ 0, 1000, 1874 - witness.late_ms }, 1000, 3) end)
  end)
end)

describe("a blocked Lua thread #sockets", function()
  local discord, bot

  before_each(function()
    discord = witness.sandbox { heartbeat_interval = INTERVAL_MS }
    bot = witness.ready(witness.client(discord))
  end)

  after_each(function()
    bot:stop()
    discord:stop()
  end)

  it("R6 R7 beats on time through a call that waits", function()
    local before = #witness.beats(discord)
    witness.block(BLOCKED_S)
    expect_beats(discord, before)
  end)

  it("R7 beats on time through a loop that only burns", function()
    local before, till = #witness.beats(discord), os.clock() + BLOCKED_S
    while os.clock() < till do end
    expect_beats(discord, before)
  end)

  it("R7 beats on time through a handler that does not return", function()
    local before, heard
    bot:on("MESSAGE_CREATE", function(message)
      before = #witness.beats(discord)
      witness.block(BLOCKED_S)
      expect_beats(discord, before)
      heard = message.content
    end)
    discord:dispatch("MESSAGE_CREATE", { content = "slow", channel_id = "1" })
    witness.await(bot, "the message", function() return heard end)
    assert.equal("slow", heard)
  end)

  it("R59 beats on time through full collections", function()
    local before, till, keep = #witness.beats(discord), os.clock() + BLOCKED_S, {}
    for at = 1, 200000 do keep[at] = { at } end
    while os.clock() < till do collectgarbage() end
    expect_beats(discord, before)
    assert.equal(200000, #keep)
  end)

  it("R5 beats on time when nobody takes the events", function()
    local before, count = #witness.beats(discord), 0
    bot:on("MESSAGE_CREATE", function() count = count + 1 end)
    bot:step(0)
    for at = 1, 200 do
      discord:dispatch("MESSAGE_CREATE", { content = tostring(at), channel_id = "1" })
    end
    witness.block(BLOCKED_S)
    expect_beats(discord, before)
    witness.await(bot, "every message", function() return count == 200 end)
  end)
end)

-- The set of heard names crosses to the I/O thread without losing an event.  #sockets
local witness = require "witness"

describe("interest #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function dispatch(name, d)
    d = d or {}
    d.channel_id = "1"
    assert.equal(1, discord:dispatch(name, d))
  end

  it("an event that is caused after on() has returned is heard", function()
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord))
    for round = 1, 500 do
      local heard
      local fn = bot:on("MESSAGE_CREATE", function(message) heard = message.content end)
      dispatch("MESSAGE_CREATE", { content = tostring(round) })
      witness.await(bot, "message " .. round, function() return heard == tostring(round) end)
      bot:off("MESSAGE_CREATE", fn)
    end
  end)

  it("what nobody hears is neither delivered nor queued, and the sequence goes on", function()
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord))
    local last
    bot:on("TYPING_START", function(_, shard) last = shard.seq end)
    for _ = 1, 100 do dispatch("MESSAGE_CREATE", { content = "unheard" }) end
    bot:step(0.05)
    local heard = 0
    bot:on("*", function() heard = heard + 1 end)
    dispatch("MESSAGE_CREATE", { content = "heard" })
    witness.await(bot, "the one message", function() return heard > 0 end)
    assert.equal(1, heard)
    discord:drop()
    witness.await(bot, "the resume", function() return #discord:received("RESUME") == 1 end)
    local resume = discord:received("RESUME")[1]
    assert.is_true(resume.d.seq >= 102)
    assert.is_nil(last)
  end)
end)

-- The set of heard names crosses to the I/O thread without losing an event.  #sockets
local moongate = require "moongate"
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

  it("a listener that takes the place of another misses nothing, whatever is under way", function()
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord))
    local heard, wanted = 0, 1000
    local fn = bot:on("MESSAGE_CREATE", function() heard = heard + 1 end)
    bot:step(0)
    local skipped = bot:stats().shards[0].events_skipped
    for _ = 1, wanted do
      dispatch("MESSAGE_CREATE", { content = "x" })
      bot:off("MESSAGE_CREATE", fn)
      fn = bot:on("MESSAGE_CREATE", function() heard = heard + 1 end)
    end
    witness.await(bot, "all messages", function() return heard == wanted end)
    assert.equal(skipped, bot:stats().shards[0].events_skipped)
  end)

  it("who listens for one event again and again, or waits in a loop, misses nothing", function()
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord))
    local heard, waited, wanted = 0, 0, 500
    local function listen()
      heard = heard + 1
      bot:once("MESSAGE_CREATE", listen)
    end
    bot:once("MESSAGE_CREATE", listen)
    moongate.spawn(function()
      while bot:wait_for("TYPING_START") do waited = waited + 1 end
    end)
    bot:step(0)
    local skipped = bot:stats().shards[0].events_skipped
    for _ = 1, wanted do
      dispatch("MESSAGE_CREATE", { content = "x" })
      discord:dispatch("TYPING_START", { channel_id = "1" }, { filter = false })
    end
    witness.await(bot, "all events", function() return heard == wanted and waited == wanted end)
    assert.equal(skipped, bot:stats().shards[0].events_skipped)
  end)

  it("what nobody hears is never decoded, whoever listened before", function()
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord, { compress = false }))
    local problems, heard = 0, 0
    bot:on("error", function() problems = problems + 1 end)
    local fn = bot:on("MESSAGE_CREATE", print)
    -- Decoding this would fail, and be told.
    discord:send_raw { '{"op":0,"s":50,"t":"MESSAGE_CREATE","d":{"a":tru}}' }
    bot:off("MESSAGE_CREATE", fn)
    bot:on("TYPING_START", function() heard = heard + 1 end)
    for seq = 51, 60 do
      discord:send_raw { ('{"d":{"a":tru},"t":"MESSAGE_CREATE","s":%d,"op":0}'):format(seq) }
    end
    discord:send_raw { '{"t":"TYPING_START","s":61,"op":0,"d":{"a":1}}' }
    witness.await(bot, "the last event", function() return heard == 1 end)
    assert.equal(0, problems)
    assert.equal(61, bot.shards[0].seq)
    fn = bot:on("MESSAGE_CREATE", print)
    discord:send_raw { '{"op":0,"s":62,"t":"MESSAGE_CREATE","d":{"a":tru}}' }
    witness.await(bot, "the error", function() return problems == 1 end)
    bot:off("MESSAGE_CREATE", fn)
  end)
end)

-- compress_spec.lua: every encoding with every compression that it can have, over real sockets,
-- against the sandbox, over ws and wss: what is said arrives, in order, before and after a resume,
-- however the server cuts it.

local helper = require "helper"
local witness = require "witness"

describe("compression #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  -- Sends texts of very different sizes, and waits until all have been heard, in order.
  local function converse(first, last)
    local heard = {}
    local fn = bot:on("MESSAGE_CREATE", function(message) heard[#heard + 1] = message.content end)
    bot:step(0)
    local said = {}
    for number = first, last do
      said[#said + 1] = ("%d says: "):format(number):rep(number * number % 997)
      discord:dispatch("MESSAGE_CREATE", { content = said[#said], channel_id = "1" })
    end
    witness.await(bot, "all messages", function() return #heard == #said end)
    for at, text in ipairs(said) do assert.is_true(text == heard[at], at) end
    bot:off("MESSAGE_CREATE", fn)
  end

  local function resume()
    local resumed
    bot:once("RESUMED", function() resumed = true end)
    bot:step(0)
    discord:drop()
    witness.await(bot, "RESUMED", function() return resumed end)
  end

  local function try(encoding, compress, tls)
    discord = witness.sandbox { tls = tls, guilds = 5 }
    bot = witness.client(discord, { encoding = encoding, compress = compress })
    local problems, guilds = {}, 0
    bot:on("error", function(problem) problems[#problems + 1] = problem.message end)
    bot:on("GUILD_CREATE", function() guilds = guilds + 1 end)
    witness.ready(bot)
    witness.await(bot, "guilds", function() return guilds == 5 end)
    local connection = discord:connections()[1]
    assert.equal(compress or nil, connection.compress)
    assert.equal(encoding, connection.encoding)
    local asked = compress and compress ~= "payload" and compress or nil
    assert.equal(asked, connection.query:match "compress=([%w-]+)")
    converse(1, 100)
    resume()
    converse(101, 200)
    discord:split(100) -- frames of so many bytes
    converse(201, 230)
    assert.same({}, problems)
    assert.equal(compress or nil, discord:connections()[1].compress)
    assert.equal(1, #discord:received("IDENTIFY"))
    assert.equal(1, #discord:received("RESUME"))
    assert.equal(compress == "payload" or nil, discord:received("IDENTIFY")[1].d.compress)
  end

  for _, wire in ipairs(helper.wires) do
    for _, tls in ipairs { false, true } do
      local encoding, compress = wire.encoding, wire.compress
      local title = ("%s, %s over %s"):format(encoding, compress or "none", tls and "wss" or "ws")
      it((compress == "zstd-stream" and "R48 " or "") .. title, function()
        try(encoding, compress, tls)
      end)
    end
  end
end)

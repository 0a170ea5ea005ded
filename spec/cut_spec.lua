-- cut_spec.lua: a connection ends behind every single byte that the gateway sends, in the machine
-- and over real sockets: the session goes on, and no event is lost or comes twice.

local helper = require "helper"
local peer = require "peer"
local witness = require "witness"

local LAST = 6 -- the sequence of the last event

describe("a cut in the machine", function()
  -- fn(n) with a connection of n bytes, for n = 1, 2, ... until it is never cut. Returns how many.
  local function each_byte(fn)
    local n = 0
    repeat n = n + 1 until not fn(n)
    return n - 1
  end

  local function expect_all(gateway, n)
    assert.same({ 2, 3, 4, 5, 6 }, gateway.heard, "cut behind byte " .. n)
  end

  for _, wire in ipairs(helper.wires) do
    local words = ("%s, %s"):format(wire.encoding, wire.compress or "plain")

    it("R20 R42 behind every byte of a first connection: " .. words, function()
      local tried = each_byte(function(n)
        local driven, gateway = helper.drive(wire), peer.new(LAST, wire.encoding)
        gateway.left = n
        gateway:bring_up(driven)
        expect_all(gateway, n)
        driven.machine:close()
        return gateway.left == nil
      end)
      assert(tried > 200, "only " .. tried .. " bytes")
    end)

    it("R20 R42 behind every byte of a resumed connection: " .. words, function()
      local tried = each_byte(function(n)
        local driven, gateway = helper.drive(wire), peer.new(3, wire.encoding)
        gateway.json = false -- one event a message, so that the third can be the last
        gateway:bring_up(driven)
        driven:closed { code = 1006 }
        gateway.last, gateway.left = LAST, n
        gateway:bring_up(driven)
        expect_all(gateway, n)
        assert.equal(1, driven.machine:status().counts.identifies)
        driven.machine:close()
        return gateway.left == nil
      end)
      assert(tried > 100, "only " .. tried .. " bytes")
    end)
  end
end)

describe("a cut line #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  -- Every message sent by the sandbox must be heard once and in order.
  local function start(sandbox_options, client_options)
    discord = witness.sandbox(sandbox_options)
    local all = { url = discord.url, shards = 1 }
    for key, value in pairs(client_options or {}) do all[key] = value end
    bot = witness.client(discord, all)
    local heard = {}
    bot:on("MESSAGE_CREATE", function(message) heard[#heard + 1] = tonumber(message.content) end)
    witness.ready(bot)
    return heard
  end

  local ways = {
    { "plain JSON", {}, { compress = false }, 1 },
    { "zlib-stream", {}, { compress = "zlib-stream" }, 1 },
    { "TLS", { tls = true }, { compress = "zlib-stream" }, 5 },
  }
  for _, way in ipairs(ways) do
    it("R20 R42 behind the bytes of a resume, with an event in it: " .. way[1], function()
      local heard = start(way[2], way[3])
      local resumed, told = 0, 0
      bot:on("RESUMED", function() resumed = resumed + 1 end)
      bot:step(0)
      -- Until the connection that was to be cut outlives all that it is sent.
      local n, whole = 1
      repeat
        local before = resumed
        local connections = #discord:history()
        told = told + 1
        discord:cut(n)
        discord:drop()
        discord:dispatch("MESSAGE_CREATE", { content = tostring(told), channel_id = "1" })
        witness.await(bot, ("RESUMED, cut behind byte %d"):format(n), function()
          return resumed > before and #heard >= told and bot.state == "ready"
        end)
        whole = #discord:history() == connections + 1
        n = n + way[4]
      until whole or n > 2000
      assert(n > 200 and n < 2000, "the last cut was at " .. n)
      for at = 1, told do assert.equal(at, heard[at]) end
      assert.equal(told, #heard)
      assert.equal(1, #discord:received("IDENTIFY"))
    end)
  end

  -- Who identified waits five seconds to do so again: not at every byte until READY is there again.
  it("R42 behind the bytes of READY: a new session is waited for, nothing is told", function()
    local hello = 300 -- no READY begins before that byte
    local states = {}
    for n = hello, hello + 600, 60 do
      discord = witness.sandbox { token = "cut.at." .. n }
      discord:cut(n)
      bot = witness.client(discord, { url = discord.url, shards = 1, compress = false })
      local readies, closes = 0, 0
      bot:on("READY", function() readies = readies + 1 end)
      bot:on("close", function() closes = closes + 1 end)
      assert(bot:connect())
      witness.await(bot, "the cut at " .. n, function() return closes > 0 or readies > 0 end)
      assert.equal(0, readies, "READY came although it was cut at " .. n)
      assert.is_nil(bot.shards[0].session)
      states[bot.state] = true
      bot:stop()
      discord:stop()
      bot, discord = nil, nil
    end
    assert.is_true(states.backoff or states.waiting)
  end)
end)

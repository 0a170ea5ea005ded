-- sandbox_close_spec.lua: every code that the sandbox closes with has its cause, and what it
-- answers to each opcode of a client. Read with wire.lua.

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local GUILDS, MEMBERS, EXPRESSIONS, VOICE, MESSAGES = 1, 1 << 1, 1 << 3, 1 << 7, 1 << 9
local ALL = GUILDS | MEMBERS | EXPRESSIONS | VOICE | MESSAGES

local PRESENCE = { activities = { { name = "x", type = 0 } }, status = "online" }

local discord

local function start(options)
  local all = { limits = false, guilds = 1 }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  return discord
end

local function greeted()
  local peer = assert(wire.connect(discord))
  peer:expect(10)
  return peer
end

local function identify(more)
  local peer = greeted()
  peer:send(2, wire.identify_data(discord, more))
  return peer
end

-- Each code: what brings it about, one function a cause. They get a peer that is READY, if they ask
-- for one, and return the peer that is closed.
local causes = {
  [4001] = {
    ["an unknown opcode"] = function(ready)
      local peer = ready()
      peer:send(99, {})
      return peer
    end,
    ["data that the opcode does not have"] = function(ready)
      local peer = ready()
      peer:send(3, { status = 5 })
      return peer
    end,
    ["a heartbeat of text"] = function()
      local peer = greeted()
      peer:send(1, "5")
      return peer
    end,
  },
  [4002] = {
    ["no JSON"] = function()
      local peer = greeted()
      peer:send_frame "{"
      return peer
    end,
    ["4097 bytes"] = function(ready)
      local peer = ready()
      local text = '{"op":1,"d":null}'
      peer:send_frame(text .. (" "):rep(4097 - #text))
      return peer
    end,
    ["a binary frame of JSON"] = function()
      local peer = greeted()
      peer:send_frame('{"op":1,"d":null}', { opcode = 2 })
      return peer
    end,
    ["text where ETF is spoken"] = function()
      local peer = assert(wire.connect(discord, { query = "v=10&encoding=etf" }))
      peer:frame()
      peer:send_frame '{"op":1,"d":null}'
      return peer
    end,
    ["an encoding that there is none of"] = function()
      return wire.connect(discord, { query = "v=10&encoding=xml" })
    end,
  },
  [4003] = {
    ["a presence before Identify"] = function()
      local peer = greeted()
      peer:send(3, PRESENCE)
      return peer
    end,
    ["a request after op 9"] = function(ready)
      local peer = ready()
      discord:invalid_session(false)
      peer:expect(9)
      peer:send(8, { guild_id = "1", query = "", limit = 0 })
      return peer
    end,
  },
  [4004] = {
    ["a wrong token in Identify"] = function() return identify { token = "x" } end,
    ["a wrong token in Resume"] = function()
      local peer = greeted()
      peer:send(6, { token = "x", session_id = "y", seq = 1 })
      return peer
    end,
  },
  [4005] = {
    ["a second Identify"] = function(ready)
      local peer = ready()
      peer:send(2, wire.identify_data(discord))
      return peer
    end,
    ["a Resume within a session"] = function(ready)
      local peer = ready()
      peer:send(6, { token = discord.token, session_id = peer.session, seq = 1 })
      return peer
    end,
  },
  [4007] = {
    ["a seq that was never sent"] = function(ready)
      local first = ready()
      discord:drop()
      local peer = greeted()
      peer:send(6, { token = discord.token, session_id = first.session, seq = 99 })
      return peer
    end,
    ["a seq that is no number"] = function()
      local peer = greeted()
      peer:send(6, { token = discord.token, session_id = "x", seq = "1" })
      return peer
    end,
  },
  [4008] = {
    ["121 payloads in a minute"] = function()
      discord:enforce_limits(true)
      local peer = greeted()
      for _ = 1, 121 do peer:send(1) end
      return peer
    end,
    ["six presences in 20 s, where that is asked for"] = function(ready)
      discord:stop()
      start { presence_close_code = 4008, limits = true }
      local peer = ready()
      for _ = 1, 6 do peer:send(3, PRESENCE) end
      return peer
    end,
  },
  [4009] = {
    ["no heartbeat"] = function()
      discord:stop()
      start { heartbeat_interval = 20 }
      return greeted()
    end,
  },
  [4010] = {
    ["a shard beyond their number"] = function() return identify { shard = { 2, 2 } } end,
    ["a shard that is no pair"] = function() return identify { shard = { 0 } } end,
  },
  [4011] = {
    ["more guilds than a shard may have"] = function()
      discord:stop()
      start { guilds = 2501 }
      return identify()
    end,
  },
  [4012] = {
    ["an old version"] = function() return wire.connect(discord, { query = "v=6" }) end,
    ["no version"] = function() return wire.connect(discord, { query = "encoding=json" }) end,
  },
  [4013] = {
    ["a bit that is no intent"] = function() return identify { intents = 1 << 30 } end,
    ["no intents"] = function()
      local peer = greeted()
      local d = wire.identify_data(discord)
      d.intents = nil
      peer:send(2, d)
      return peer
    end,
  },
  [4014] = {
    ["an intent that is not enabled"] = function()
      discord:stop()
      start { disallowed_intents = { "message_content" } }
      return identify { intents = 1 << 15 }
    end,
  },
}

describe("sandbox: close codes #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  for code, list in pairs(causes) do
    for cause, bring_about in pairs(list) do
      it(("%d: %s"):format(code, cause), function()
        start()
        local peer = assert(bring_about(function() return wire.ready(discord) end))
        local got, reason = peer:closed()
        assert.equal(code, got)
        assert.is_true(#reason > 0)
        assert.is_true(peer:ended())
      end)
    end
  end

  it("all that the tables of close codes know are here, or only on demand", function()
    local on_demand = { [4000] = true, [4006] = true } -- close(), instead()
    for code = 4000, 4014 do
      assert.is_true((causes[code] or on_demand[code]) ~= nil, tostring(code))
    end
  end)

  it("a sixth presence in 20 s is ignored, but without limits and told in the log", function()
    start { limits = true }
    local peer = wire.ready(discord)
    local function send(count)
      for _ = 1, count do peer:send(3, PRESENCE) end
      peer:send(1)
      peer:expect(11)
    end
    local function limited()
      local count = 0
      for _, line in ipairs(discord:log()) do
        if line.what == "limited" then count = count + 1 end
      end
      return count
    end
    send(5)
    assert.equal(0, limited())
    send(2)
    assert.equal(2, limited())
    discord:enforce_limits(false)
    send(2)
    assert.equal(2, limited())
  end)
end)

describe("sandbox: answers #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  it("op 4: a voice state and a voice server; op 43: the channel, with the fields asked for",
    function()
      start { clock_skew = 1000 }
      local guild = discord.guilds[1]
      local peer = wire.ready(discord, { intents = ALL })
      local function info(fields)
        peer:send(43, { guild_id = guild.id, fields = fields })
        return peer:expect(0, "CHANNEL_INFO").d
      end
      assert.same({ guild_id = guild.id, channels = {} }, info { "status" })
      local before = os.time()
      peer:send(4, { guild_id = guild.id, channel_id = guild.voice_channel_id, self_mute = false,
        self_deaf = true })
      assert.is_true(peer:expect(0, "VOICE_STATE_UPDATE").d.self_deaf)
      assert.equal(guild.id, peer:expect(0, "VOICE_SERVER_UPDATE").d.guild_id)
      local here = info({ "voice_start_time", "status" }).channels[1]
      assert.equal(guild.voice_channel_id, here.id)
      assert.equal(cjson.null, here.status)
      assert.is_true(here.voice_start_time >= before + 1000
        and here.voice_start_time <= os.time() + 1000)
      assert.is_nil(info({ "status" }).channels[1].voice_start_time)
      peer:send(4, { guild_id = guild.id, channel_id = cjson.null, self_mute = false,
        self_deaf = false })
      assert.equal(cjson.null, peer:expect(0, "VOICE_STATE_UPDATE").d.channel_id)
      assert.same({}, info({ "status" }).channels)
    end)

  it("op 31: the sounds of each guild that there is", function()
    start { guilds = 2 }
    local peer = wire.ready(discord, { intents = ALL })
    local one, two = discord.guilds[1].id, discord.guilds[2].id
    peer:send(31, { guild_ids = { two, "5", one } })
    for _, id in ipairs { two, one } do
      local d = peer:expect(0, "SOUNDBOARD_SOUNDS").d
      assert.equal(id, d.guild_id)
      local sound = d.soundboard_sounds[1]
      assert.equal(id, sound.guild_id)
      assert.matches("^%d+$", sound.sound_id)
      assert.equal(1.0, sound.volume)
      assert.equal("\u{1F986}", sound.emoji_name)
      assert.equal(discord.user.id, sound.user.id)
    end
  end)
end)

-- sandbox_etf_spec.lua: the sandbox's own ETF, byte by byte from the other end of the wire, with
-- every knob; and moongate's ETF against it, each of them written without a look at the other.

local core = require "moongate.core"
local sandbox = require "moongate.sandbox"
local wire = require "wire"
local witness = require "witness"

local pack = string.pack
local function hex(text) return (text:gsub("%s", ""):gsub("%x%x", function(two)
  return string.char(tonumber(two, 16))
end)) end

local discord, bot

local function start(options)
  local all = { limits = false }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  return discord
end

-- A peer that speaks ETF by hand, HELLO read.
local function connect()
  local peer = assert(wire.connect(discord, { query = "v=10&encoding=etf" }))
  local opcode, hello = peer:frame()
  return peer, opcode, hello
end

-- What the sandbox makes of a message.
local function bytes_of(peer, json)
  discord:send_payload(json)
  local opcode, payload, fin = peer:frame()
  assert.equal(2, opcode)
  assert.is_true(fin)
  return payload
end

local function closed(peer)
  while true do
    local opcode, payload = peer:frame()
    if not opcode then return nil end
    if opcode == 8 then return (string.unpack(">I2", payload)) end
  end
end

local function binary(text) return pack(">Bs4", 109, text) end
local function message(...)
  return pack(">BBI4", 131, 116, select("#", ...) // 2) .. table.concat { ... }
end
local NIL = pack(">Bs1", 115, "nil")

describe("sandbox's ETF #sockets", function()
  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  it("says HELLO in a binary frame", function()
    start { etf_keys = "atom" }
    local _, opcode, hello = connect()
    assert.equal(2, opcode)
    assert.equal(hex "83 74" .. pack(">I4", #{ "t", "s", "op", "d" }), hello:sub(1, 6))
    assert.truthy(hello:find(hex "73 12" .. "heartbeat_interval" .. hex "62 0000a122", 1, true))
    assert.truthy(hello:find(hex "73 01" .. "t" .. NIL, 1, true))
  end)

  it("writes each kind of value in the form that Erlang writes", function()
    start { etf_keys = "atom" }
    local peer = connect()
    for _, case in ipairs {
      { "0", "61 00" }, { "255", "61 ff" }, { "256", "62 00000100" }, { "-1", "62 ffffffff" },
      { "2147483647", "62 7fffffff" }, { "-2147483648", "62 80000000" },
      { "2147483648", "6e 04 00 00000080" }, { "-2147483649", "6e 04 01 01000080" },
      { "4294967295", "6e 04 00 ffffffff" }, { "1420070400000", "6e 06 00 00b0caa24a01" },
      { "9007199254740991", "6e 07 00 ffffffffffff1f" },
      { '"9007199254740991"', "6d 00000010 39303037313939323534373430393931" },
      { '"9007199254740992"', "6e 07 00 00000000000020" },
      { '"81384788765712384"', "6e 08 00 002080c008232101" },
      { '"18446744073709551615"', "6e 08 00 ffffffffffffffff" },
      { '"18446744073709551616"', "6d 00000014 3138343436373434303733373039353531363136" },
      { '"09007199254740993"', "6d 00000011 3039303037313939323534373430393933" },
      { "2.5", "46 4004000000000000" }, { "null", "73 03 6e696c" }, { "true", "73 04 74727565" },
      { "false", "73 05 66616c7365" }, { '""', "6d 00000000" }, { '"\u{e9}"', "6d 00000002 c3a9" },
      { "[]", "6a" }, { "{}", "74 00000000" }, { "[1,2,3]", "6b 0003 010203" },
      { "[0,255]", "6b 0002 00ff" }, { "[1,256]", "6c 00000002 6101 62 00000100 6a" },
      { "[1,[]]", "6c 00000002 6101 6a 6a" }, { "[[1],[2]]", "6c 00000002 6b000101 6b000102 6a" },
      { "[1,1.5]", "6c 00000002 6101 46 3ff8000000000000 6a" },
      { '{"t":"x"}', "74 00000001 73 01 74 6d 00000001 78" },
    } do
      local bytes = bytes_of(peer, '{"v":' .. case[1] .. "}")
      assert.equal(hex("83 74 00000001 73 01 76" .. case[2]), bytes, case[1])
    end
    assert.equal(hex "83 74 00000001 73 01 74 73 05" .. "READY", bytes_of(peer, '{"t":"READY"}'))
    local long = bytes_of(peer, "[" .. ("7,"):rep(65534) .. "7]")
    assert.equal(hex "83 6b ffff" .. ("\7"):rep(65535), long)
    long = bytes_of(peer, "[" .. ("7,"):rep(65535) .. "7]")
    assert.equal(hex "83 6c 00010000" .. ("a\7"):rep(65536) .. "j", long)
  end)

  it("has knobs for keys, atoms, ids and lists of bytes", function()
    local text = '{"a":null,"b":[1,2],"c":"81384788765712384","d":true}'
    local id = hex "6e 08 00 002080c008232101"
    local function atom_of(tag)
      local form = (tag == 115 or tag == 119) and ">Bs1" or ">Bs2"
      return function(word) return pack(form, tag, word) end
    end
    for _, case in ipairs { { {}, 115, 3, id, "k\0\2\1\2" }, { { etf_atoms = 100 }, 100, 3, id,
      "k\0\2\1\2" },
      { { etf_atoms = 118 }, 118, 3, id, "k\0\2\1\2" },
      { { etf_atoms = 119, etf_keys = "atom" }, 119, 0, id, "k\0\2\1\2" },
      { { etf_keys = "binary", etf_ids = "string", etf_strings = false }, 115, 1,
        binary "81384788765712384", "l\0\0\0\2a\1a\2j" } } do
      start(case[1])
      local peer = connect()
      local atom = atom_of(case[2])
      local function key(nth, word)
        return case[3] > 0 and nth % case[3] == 0 and binary(word) or atom(word)
      end
      assert.equal(message(key(1, "a"), atom "nil", key(2, "b"), case[5], key(3, "c"), case[4],
        key(4, "d"), atom "true"), bytes_of(peer, text))
      discord:stop()
      discord = nil
    end
  end)

  it("writes keys that an atom has no room for as binaries", function()
    start { etf_keys = "atom" }
    local peer = connect()
    local long = ("k"):rep(256)
    assert.equal(message(binary(long), "a\1"), bytes_of(peer, '{"' .. long .. '":1}'))
    assert.equal(message(binary "é", "a\1"), bytes_of(peer, '{"é":1}'))
  end)

  it("sends what is no JSON as it is", function()
    start()
    local peer = connect()
    assert.equal("\131\0\1", bytes_of(peer, "\131\0\1"))
    assert.equal("{", bytes_of(peer, "{"))
  end)

  it("refuses options that are none", function()
    for _, case in ipairs { { "etf_keys", "words" }, { "etf_atoms", 101 }, { "etf_ids", "number" },
      { "etf_strings", 1 } } do
      assert.has_error(function() sandbox.start { [case[1]] = case[2] } end)
    end
  end)

  it("reads what a client may send", function()
    start()
    local peer = connect()
    peer:send_frame(message(binary "op", "a\1", binary "d", NIL), { opcode = 2 })
    assert.equal(2, (peer:frame()))
    local d = message(binary "token", binary(discord.token), binary "intents", "a\1",
      binary "properties", message(binary "os", binary "x", binary "browser", binary "y",
      binary "device", binary "z"):sub(2), binary "shard", hex "6b 0002 0001", binary "x",
      hex "6c 00000004 46 3ff8000000000000 64 0004 74727565 6a 6e 08 01 0000000000002000 6a",
      binary "y", hex "6e 04 00 00000080", binary "z", hex "62 ffffffff"):sub(2)
    peer:send_frame(message(binary "op", "a\2", binary "d", d), { opcode = 2 })
    local identify = discord:wait_received("IDENTIFY")[1].d
    assert.equal(discord.token, identify.token)
    assert.same({ 0, 1 }, identify.shard)
    assert.same({ 1.5, true, {}, "-9007199254740992" }, identify.x)
    assert.equal(2147483648, identify.y)
    assert.equal(-1, identify.z)
  end)

  for name, payload in pairs {
    ["an atom as a key"] = message(pack(">Bs1", 115, "op"), "a\1", binary "d", NIL),
    ["an atom as an inner key"] = message(binary "op", "a\1", binary "d", NIL, binary "x",
      message(pack(">Bs1", 119, "k"), "a\1"):sub(2)),
    ["an integer as a key"] = message(binary "op", "a\1", binary "d", NIL, "a\1", "a\1"),
    ["a word that is an atom"] = message(binary "op", "a\1", binary "d", pack(">Bs1", 115, "null")),
    ["a compressed term"] = hex "83 50 00000002 789c4b64050000c90067",
    ["a missing version"] = message(binary "op", "a\1", binary "d", NIL):sub(2),
    ["something behind the term"] = message(binary "op", "a\1", binary "d", NIL) .. "a",
    ["an empty list twice, as a known encoder has it"] = message(binary "op", "a\1", binary "d",
      hex "6a 6c 00000000 6a"),
    ["an improper list"] = message(binary "op", "a\1", binary "d", hex "6c 00000001 6101 6102"),
    ["a cut text"] = message(binary "op", "a\1", binary "d", hex "6d 00000009 61"),
    ["a tuple"] = message(binary "op", "a\1", binary "d", hex "68 01 6101"),
    ["a float that is none"] = message(binary "op", "a\1", binary "d", hex "46 7ff0000000000000"),
    ["nine bytes of an integer"] = message(binary "op", "a\1", binary "d", hex "6e 09 00"
      .. ("\1"):rep(9)),
    ["too deep a term"] = message(binary "op", "a\1", binary "d", ("l\0\0\0\1"):rep(40) .. "j"
      .. ("j"):rep(40)),
    ["JSON"] = '{"op":1,"d":null}', ["nothing"] = "",
  } do
    it("closes with 4002 for " .. name, function()
      start()
      local peer = connect()
      peer:send_frame(payload, { opcode = 2 })
      assert.equal(4002, closed(peer))
    end)
  end

  it("closes with 4002 for a text frame, and for one of 4097 bytes", function()
    start()
    local beat = message(binary "op", "a\1", binary "d", NIL)
    local peer = connect()
    peer:send_frame('{"op":1,"d":null}', { opcode = 1 })
    assert.equal(4002, closed(peer))
    for _, size in ipairs { 4096, 4097 } do
      local filled = message(binary "op", "a\1", binary "d", NIL, binary "x",
        binary(("x"):rep(size - #beat - 11)))
      assert.equal(size, #filled)
      peer = connect()
      peer:send_frame(filled, { opcode = 2 })
      if size == 4096 then assert.equal(2, (peer:frame())) else assert.equal(4002, closed(peer)) end
    end
  end)
end)

-- ---- The client against it ---------------------------------------------------------------------

local EVENT = [=[{"id":"1117000000000000002","channel_id":"42","nonce":18446744073709551615,
  "content":"h\u00e9llo \"x\" \u0000","edited_timestamp":null,"tts":false,"embeds":[],"object":{},
  "author":{"id":"9007199254740992","flags":0,"true":true},"created_at":1420070400000,"f":0.5,
  "n":[1,2,255],"big":[1,256],"neg":[-1,-2147483649],"reactions":[null,{"me":true},[[]]]}]=]

describe("etf: a client #sockets", function()
  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function run(client_options, sandbox_options)
    discord = witness.sandbox(sandbox_options)
    bot = witness.client(discord, client_options)
    local heard
    bot:on("MESSAGE_CREATE", function(d) heard = d end)
    witness.ready(bot)
    discord:dispatch("MESSAGE_CREATE", core.decode(EVENT, { null = "keep" }),
      { filter = false, exact = true })
    witness.await(bot, "an event", function() return heard end)
    return heard
  end

  local styles = {
    {}, { etf_keys = "atom", etf_ids = "string" }, { etf_keys = "binary", etf_atoms = 119 },
    { etf_atoms = 100, etf_strings = false }, { etf_atoms = 118, etf_ids = "string" },
  }
  for nth, style in ipairs(styles) do
    it("hears the same as one that speaks JSON, whatever the service's style, " .. nth, function()
      local wanted = core.decode(EVENT)
      local compress = ({ false, "zlib-stream", "zstd-stream" })[nth % 3 + 1]
      assert.same(wanted, run({ encoding = "etf", compress = compress }, style))
      assert.truthy(discord:connections()[1].query:find("encoding=etf", 1, true))
      assert.equal("etf", discord:connections()[1].encoding)
    end)
  end

  it("hears JSON text where raw data is asked for, and values where lazy tables are", function()
    discord = witness.sandbox()
    bot = witness.client(discord, { encoding = "etf" })
    local raw, lazy
    bot:on("MESSAGE_CREATE", function(text) raw = text end, { raw = true })
    bot:on("MESSAGE_CREATE", function(d) lazy = d end, { lazy = true })
    witness.ready(bot)
    discord:dispatch("MESSAGE_CREATE", core.decode(EVENT, { null = "keep" }),
      { filter = false, exact = true })
    witness.await(bot, "an event", function() return raw and lazy end)
    assert.same(core.decode(EVENT, { null = "keep" }), core.decode(raw, { null = "keep" }))
    assert.same(core.decode(EVENT), core.decoded(lazy))
  end)

  it("sends commands in ETF, given as values, as JSON or as ETF, and resumes in ETF", function()
    run { encoding = "etf", compress = false }
    local one = bot.shards[0]
    local guild = discord.guilds[1].id
    local d = { guild_id = guild, channel_id = core.null, self_mute = true, self_deaf = false }
    local packet = { op = 4, d = d }
    assert(one:send(4, d))
    assert(one:send(core.encode(packet)))
    assert(one:send(core.encode(packet, { encoding = "etf" })))
    for _, seen in ipairs(assert(discord:wait_received(4, { count = 3 }))) do
      assert.same({ guild_id = guild, self_mute = true, self_deaf = false }, seen.d)
    end
    local refused, why, code = one:send '{"op":4,"d":}'
    assert.same({ nil, "ESYNTAX" }, { refused, code })
    assert.truthy(why:find "^send: ")
    refused, why, code = one:send('{"op":4,"d":[' .. ("1,"):rep(2036) .. "1]}")
    assert.same({ nil, "EPAYLOAD" }, { refused, code })
    assert.truthy(why:find "^send: %d+ bytes, at most 4096 allowed")
    one:reconnect()
    assert(discord:wait_received "RESUME")
    witness.await(bot, "ready", function() return one.state == "ready" end)
    assert.equal(1, #discord:received "IDENTIFY")
  end)

  it("that is started again with the other encoding sends what waited in that one", function()
    for _, case in ipairs { { "json", "etf" }, { "etf", "json" } } do
      discord = witness.sandbox()
      bot = witness.client(discord, { encoding = case[1], compress = false })
      discord:stall "ready"
      bot:connect()
      local one = bot.shards[0]
      witness.await(bot, "identifying", function() return one.state == "identifying" end)
      local waiting = { guild_id = discord.guilds[1].id, channel_id = core.null, self_mute = true,
        self_deaf = false }
      assert(one:send(4, waiting))
      -- As many digits as fit in JSON are too many in ETF.
      local digits = {}
      for i = 1, 2036 do digits[i] = 1 end
      if case[1] == "json" then assert(one:send(4, digits)) end
      local given_up
      bot:on("error", function(fault) given_up = fault end)
      one:disconnect()
      witness.await(bot, "idle", function() return one.state == "idle" end)
      discord:stall("ready", false)
      bot.options.encoding = case[2]
      one:connect()
      witness.await(bot, "the command", function() return discord:received(4)[1] end)
      assert.equal(case[2], discord:connections()[1].encoding)
      assert.same({ guild_id = waiting.guild_id, self_mute = true, self_deaf = false },
        discord:received(4)[1].d)
      if case[1] == "json" then
        witness.await(bot, "a report", function() return given_up end)
        assert.same({ "EPAYLOAD", "send" }, { given_up.code, given_up.phase })
        assert.truthy(given_up.message:find('encoding "etf"', 1, true))
      end
      assert.equal(1, #discord:received(4))
      bot:stop()
      discord:stop()
    end
  end)

  it("closes and resumes when it cannot read a message, and goes on", function()
    run { encoding = "etf", compress = false }
    discord:send_payload "\131\0"
    assert(discord:wait_received "RESUME")
    witness.await(bot, "ready", function() return bot.state == "ready" end)
    assert.equal(4000, discord:history()[1].close_received)
  end)
end)

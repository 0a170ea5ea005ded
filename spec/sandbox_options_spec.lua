-- sandbox_options_spec.lua: every option of sandbox.start, and what it does as a client of another
-- make sees it (lua-http's, see foreign.lua).  #sockets

local foreign = require "foreign"
local sandbox = require "moongate.sandbox"

local PRESENCES, MESSAGES = 1 << 8, 1 << 9

local discord

local function start(options)
  if discord then discord:stop() end
  discord = assert(sandbox.start(options))
  return discord
end

local function bot_gateway()
  return select(3, foreign.get(discord, "/v10/gateway/bot"))
end

local function hello(options)
  local one = assert(foreign.connect(discord, options))
  return one, one:expect(10).d
end

local function resume(session, seq)
  local one = hello()
  one:send(6, { token = discord.token, session_id = session, seq = seq })
  return one
end

-- HELLO as its bytes.
local function etf(options)
  start(options)
  return (assert(foreign.connect(discord, { query = "v=10&encoding=etf" })):receive())
end

-- What an event of ETF has behind a key, as bytes.
local function etf_behind(key, options, data)
  options.guilds = 0
  start(options)
  local one = assert(foreign.connect(discord, { query = "v=10&encoding=etf" }))
  one:receive()
  local function word(text) return ("m\0\0\0%c%s"):format(#text, text) end
  one.ws:send("\131t\0\0\0\2" .. word "op" .. "a\2" .. word "d" .. "t\0\0\0\3"
    .. word "token" .. "m\0\0\0" .. string.char(#discord.token) .. discord.token
    .. word "intents" .. "a\0" .. word "properties" .. "t\0\0\0\0", "binary")
  one:receive()
  discord:dispatch("X", data, { exact = true })
  local bytes = one:receive()
  return bytes:sub(select(2, assert(bytes:find(key, 1, true))) + 1)
end

local function is_about(seconds, wanted)
  return seconds >= wanted - 0.05 and seconds <= wanted + 2
end

-- Seconds until the server ends a connection that says nothing, and how.
local function patience_of(options)
  start(options)
  local one = hello()
  local before = discord:clock()
  return one:closed(), discord:clock() - before
end

-- What the certificate says: the names it is good for.
local function names_of(one)
  local names = {}
  for kind, name in pairs(one.ws.socket:checktls():getPeerCertificate():getSubjectAlt()) do
    names[#names + 1] = kind .. ":" .. name
  end
  table.sort(names)
  return table.concat(names, " ")
end

-- Whether a session whose client was away for those events can be resumed.
local function is_kept(options, count, text)
  options.guilds = 0
  start(options)
  local _, ready = foreign.ready(discord)
  discord:drop()
  for _ = 1, count do discord:dispatch("X", { text = text }, { filter = false }) end
  return resume(ready.session_id, 1):message().op == 0
end

local tests = {
  tls = function()
    start { tls = true }
    assert.matches("^wss:", bot_gateway().url)
    foreign.ready(discord)
    assert.is_nil((foreign.connect({ port = discord.port }))) -- without TLS
    start()
    assert.matches("^ws:", bot_gateway().url)
  end,
  port = function()
    local port = start().port
    start { port = port }
    foreign.ready({ port = port, token = discord.token })
  end,
  guilds = function()
    for _, count in ipairs { 0, 1, 7 } do
      start { guilds = count }
      local one, ready = foreign.ready(discord)
      assert.equal(count, #ready.guilds)
      for _ = 1, count do one:expect(0, "GUILD_CREATE") end
    end
  end,
  members = function()
    start { members = 12 }
    local guild = foreign.ready(discord, { intents = 1 | PRESENCES }):expect(0, "GUILD_CREATE").d
    assert.same({ 13, 13, 12 }, { guild.member_count, #guild.members, #guild.presences })
  end,
  shards = function()
    start { shards = 5 }
    assert.equal(5, bot_gateway().shards)
  end,
  max_concurrency = function()
    start { max_concurrency = 2, guilds = 0 }
    assert.equal(2, bot_gateway().session_start_limit.max_concurrency)
    foreign.ready(discord, { shard = { 0, 4 } })
    foreign.ready(discord, { shard = { 1, 4 } })
    local third = hello()
    third:identify(discord, { shard = { 2, 4 } }) -- the key of shard 0
    assert.is_false(third:expect(9).d)
  end,
  session_start_limit = function()
    start { session_start_limit = { total = 20, remaining = 1, reset_after = 60000 }, guilds = 0,
      max_concurrency = 2 }
    local limit = bot_gateway().session_start_limit
    assert.same({ 20, 1 }, { limit.total, limit.remaining })
    assert.is_true(limit.reset_after <= 60000)
    foreign.ready(discord, { shard = { 0, 2 } })
    assert.equal(0, bot_gateway().session_start_limit.remaining)
    local second = hello()
    second:identify(discord, { shard = { 1, 2 } })
    assert.is_false(second:expect(9).d)
  end,
  limits = function()
    for _, limits in ipairs { true, false } do
      start { limits = limits, guilds = 0 }
      local one = hello()
      for _ = 1, 121 do one:send(1) end
      if limits then
        assert.equal(4008, (one:closed()))
      else
        for _ = 1, 121 do one:expect(11) end
      end
    end
  end,
  token = function()
    start { token = "mine" }
    foreign.ready({ port = discord.port, token = "mine" })
    local one = hello()
    one:identify({ token = "yours" })
    assert.equal(4004, (one:closed()))
    assert.equal(401, (foreign.get({ api = discord.api, token = "yours" }, "/v10/gateway/bot")))
  end,
  user = function()
    start { user = { id = "42", username = "moon" } }
    local _, ready = foreign.ready(discord)
    assert.same({ "42", "moon", true }, { ready.user.id, ready.user.username, ready.user.bot })
    assert.equal("42", ready.application.id)
    assert.equal("moon", select(3, foreign.get(discord, "/v10/users/@me")).username)
  end,
  heartbeat_interval = function()
    start { heartbeat_interval = 1234 }
    assert.equal(1234, select(2, hello()).heartbeat_interval)
  end,
  heartbeat_grace = function()
    local code, seconds = patience_of { heartbeat_interval = 100, heartbeat_grace = 3 }
    assert.equal(4009, code)
    assert.is_true(is_about(seconds, 0.3), seconds)
    start { heartbeat_interval = 1, heartbeat_grace = 0 }
    assert.is_true(hello():is_silent(0.1))
  end,
  heartbeat_close_code = function()
    local options = { heartbeat_interval = 20, heartbeat_grace = 1 }
    for _, code in ipairs { 1000, 4000 } do
      options.heartbeat_close_code = code
      assert.equal(code, (patience_of(options)))
    end
    options.heartbeat_close_code = 0 -- a drop
    assert.is_nil((patience_of(options)))
  end,
  resume_window = function()
    for _, window in ipairs { 0.05, 60 } do
      start { resume_window = window, guilds = 0 }
      local _, ready = foreign.ready(discord)
      discord:drop()
      if window < 1 then
        assert(discord:wait_until(function() return #discord:sessions() == 0 end))
      end
      assert.equal(window < 1 and 9 or 0, resume(ready.session_id, 1):message().op)
    end
  end,
  resume_path = function()
    start { resume_path = "/again" }
    local _, ready = foreign.ready(discord)
    assert.equal(discord.url .. "/again", ready.resume_gateway_url)
    assert(foreign.connect(discord, { url = ready.resume_gateway_url })):expect(10)
  end,
  resume_host = function()
    start { resume_host = true }
    local _, ready = foreign.ready(discord)
    assert.not_equal(discord.url, ready.resume_gateway_url)
    assert(foreign.connect(discord, { url = ready.resume_gateway_url })):expect(10)
  end,
  presence_close_code = function()
    for _, code in ipairs { 0, 4008 } do
      start { presence_close_code = code, guilds = 0 }
      local one = foreign.ready(discord)
      for _ = 1, 6 do
        one:send(3, { activities = { { name = "x", type = 0 } }, status = "online", afk = false })
      end
      if code == 0 then
        one:send(1)
        one:expect(11)
      else
        assert.equal(code, (one:closed()))
      end
    end
  end,
  clock_skew = function()
    start { clock_skew = 86400 * 400 }
    local _, headers = foreign.get(discord, "/v10/gateway")
    local year = tonumber(headers:get "date":match "(%d%d%d%d)")
    assert.is_true(year > os.date("!*t").year)
  end,
  time = function()
    local function what_is_told()
      start { time = 1700000000.25, seed = 3, limits = false }
      local one = foreign.ready(discord)
      one:expect(0, "GUILD_CREATE")
      discord:dispatch("MESSAGE_CREATE", { content = "now" })
      discord:dispatch "INTERACTION_CREATE"
      discord:dispatch "TYPING_START"
      return one:receive() .. one:receive(), select(2, foreign.get(discord, "/v10/gateway"))
        :get "date"
    end
    local first, date = what_is_told()
    assert.matches('"timestamp":"2023%-11%-14T22:13:20%.250000%+00:00"', first)
    assert.equal("Tue, 14 Nov 2023 22:13:20 GMT", date)
    assert.equal(first, (what_is_told())) -- to the last id
  end,
  disallowed_intents = function()
    start { disallowed_intents = { "guild_presences" } }
    local one = hello()
    one:identify(discord, { intents = PRESENCES })
    assert.equal(4014, (one:closed()))
    foreign.ready(discord, { intents = MESSAGES })
  end,
  seed = function()
    local function id(seed)
      start { seed = seed }
      local _, ready = foreign.ready(discord)
      return ready.guilds[1].id .. ready.session_id
    end
    local first = id(1)
    assert.equal(first, id(1))
    assert.not_equal(first, id(2))
  end,
  zlib_level = function()
    for level, byte in pairs { [0] = 0x01, [1] = 0x01, [6] = 0x9c, [9] = 0xda } do
      start { zlib_level = level }
      local bytes, kind = assert(foreign.connect(discord,
        { query = "v=10&encoding=json&compress=zlib-stream" })):receive()
      assert.equal("binary", kind)
      assert.same({ 0x78, byte }, { bytes:byte(1, 2) }, level)
      assert.equal("\0\0\xff\xff", bytes:sub(-4))
    end
  end,
  etf_keys = function()
    assert.is_truthy(etf({ etf_keys = "atom" }):find("s\2op", 1, true))
    assert.is_truthy(etf({ etf_keys = "binary" }):find("m\0\0\0\2op", 1, true))
    local mixed = etf { etf_keys = "mixed" }
    assert.is_truthy(mixed:find "s[\1\2]%a" and mixed:find "m\0\0\0[\1\2]%a")
  end,
  etf_atoms = function()
    for tag, head in pairs { [100] = "d\0\3", [115] = "s\3", [118] = "v\0\3", [119] = "w\3" } do
      assert.is_truthy(etf({ etf_atoms = tag, etf_keys = "binary" }):find(head .. "nil", 1, true))
    end
  end,
  etf_ids = function()
    local data = { many = "81384788765712384", few = "9007199254740991" }
    assert.equal("n\8\0\0\32\128\192\8\35\33\1",
      etf_behind("many", { etf_ids = "integer" }, data):sub(1, 11))
    assert.equal("m\0\0\0\17", etf_behind("many", { etf_ids = "string" }, data):sub(1, 5))
    assert.equal("m\0\0\0\16", etf_behind("few", { etf_ids = "integer" }, data):sub(1, 5))
  end,
  etf_strings = function()
    local data = { list = { 1, 2, 3 } }
    assert.equal("k\0\3\1\2\3", etf_behind("list", { etf_strings = true }, data):sub(1, 6))
    assert.equal("l\0\0\0\3", etf_behind("list", { etf_strings = false }, data):sub(1, 5))
  end,
  replay_events = function()
    assert.is_true(is_kept({ replay_events = 3 }, 3))
    assert.is_false(is_kept({ replay_events = 3 }, 4))
  end,
  replay_bytes = function()
    local text = ("x"):rep(500)
    assert.is_true(is_kept({ replay_bytes = 2000 }, 3, text))
    assert.is_false(is_kept({ replay_bytes = 2000 }, 4, text))
  end,
  record_max = function()
    start { record_max = 3, guilds = 0 }
    local one = hello()
    for _ = 1, 5 do
      one:send(1)
      one:expect(11)
    end
    local kept, lost = discord:received()
    assert.same({ 3, 2 }, { #kept, lost })
  end,
  record_bytes = function()
    start { record_bytes = 400, guilds = 0 }
    local one = hello()
    for _ = 1, 9 do
      one:send(1)
      one:expect(11)
    end
    local kept, lost = discord:received()
    assert.is_true(#kept >= 1 and #kept < 9 and #kept + lost == 9)
  end,
  out_bytes = function()
    start { out_bytes = 1000, guilds = 0 }
    local one = foreign.ready(discord)
    discord:half_open() -- nothing leaves, so that it piles up
    discord:dispatch("X", { text = ("x"):rep(900) }, { filter = false })
    discord:dispatch("X", { text = ("x"):rep(900) }, { filter = false })
    assert(discord:wait_for_connections(0))
    assert.is_nil((one:receive()))
  end,
  certificate_name = function()
    start { tls = true }
    assert.equal("DNS:localhost IP:127.0.0.1 IP:::1", names_of(hello()))
    start { tls = true, certificate_name = "gateway.test" }
    assert.is_nil((foreign.connect(discord))) -- not for 127.0.0.1
  end,
  certificate_expired = function()
    start { tls = true, certificate_expired = true }
    local one, why = foreign.connect(discord)
    assert.is_nil(one)
    assert.is_string(why)
  end,
  any_frame = function()
    for _, any in ipairs { true, false } do
      start { any_frame = any }
      local one = hello()
      one:send(1, nil, "binary")
      if any then one:expect(11) else assert.equal(4002, (one:closed())) end
    end
  end,
}

describe("sandbox: options #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  for name, test in pairs(tests) do it(name .. " does what it says on the wire", test) end

  it("each has its test here, and words for people", function()
    local missing = {}
    for _, option in ipairs(sandbox.options()) do
      if not tests[option.name] or not option.words then missing[#missing + 1] = option.name end
    end
    assert.same({}, missing)
  end)

  it("one that there is none of is refused, with the one that was meant", function()
    assert.error_matches(function() sandbox.start { guild = 1 } end,
      "start: unknown option 'guild', did you mean 'guilds'%?")
    assert.has_error(function() sandbox.start { prt = 1 } end,
      "start: unknown option 'prt', did you mean 'port'?")
    assert.error_matches(function() sandbox.start { something_else = 1 } end,
      "start: unknown option 'something_else'$")
    assert.error_matches(function() sandbox.start { guilds = -1, seed = "x", tls = 1 } end,
      "start: option 'guilds': an integer from 0 to 100000 expected; option 'seed': .*; "
        .. "option 'tls': true or false expected")
  end)
end)

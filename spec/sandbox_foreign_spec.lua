-- sandbox_foreign_spec.lua: every knob of the sandbox, and every order, as a client of another make
-- meets them (lua-http's, see foreign.lua): it obeys what RFC 6455 allows, refuses what it forbids,
-- and cannot be fooled by a mistake that both of our own ends share.  #sockets

local cjson = require "cjson"
local foreign = require "foreign"
local sandbox = require "moongate.sandbox"

local discord

local function start(options)
  if discord then discord:stop() end
  local all = { limits = false, guilds = 1 }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  return discord
end

-- A peer that has read its guild as well: what comes next is news.
local function ready(more, options)
  local one, d = foreign.ready(discord, more, options)
  if not more then one:expect(0, "GUILD_CREATE") end
  return one, d
end

local function hello(options)
  local one = assert(foreign.connect(discord, options))
  one:expect(10)
  return one
end

local function resume(session, seq)
  local one = hello()
  one:send(6, { token = discord.token, session_id = session, seq = seq })
  return one
end

-- The client is not told of frames, so what it is told must be one message all the same.
local function is_whole(one, text)
  discord:dispatch("X", { text = text }, { filter = false })
  return one:expect(0, "X").d.text == text
end

local tests = {
  dispatch = function()
    start()
    local one = ready()
    assert.equal(1, discord:dispatch("MESSAGE_CREATE", { content = "ping" }))
    local event = one:message()
    assert.same({ 0, 3, "MESSAGE_CREATE", "ping" }, { event.op, event.s, event.t, event.d.content })
  end,
  reconnect = function()
    start()
    local one = hello()
    discord:reconnect()
    assert.equal(7, one:message().op)
  end,
  invalid_session = function()
    start()
    for _, resumable in ipairs { true, false } do
      local one = ready()
      discord:invalid_session(resumable)
      assert.equal(resumable, one:expect(9).d)
      one:close()
    end
  end,
  heartbeat = function()
    start()
    local one = hello()
    discord:heartbeat { count = 3 }
    for _ = 1, 3 do assert.equal(1, one:message().op) end
    assert.is_true(one:is_silent())
  end,
  send_payload = function()
    start()
    local one = hello()
    discord:send_payload "no JSON, but a message"
    assert.equal("no JSON, but a message", (one:receive()))
  end,
  send_raw = function()
    start()
    local one = hello()
    discord:send_raw { "one ", fin = false }
    discord:send_raw { "ping", opcode = 9 }
    discord:send_raw { "message", opcode = 0 }
    assert.same({ "one message", "text" }, { one:receive() })
    for _, frame in ipairs { { "x", rsv = 4 }, { "x", opcode = 3 }, { "\xff", opcode = 1 } } do
      local other = hello()
      discord:send_raw(frame)
      assert.is_nil((other:receive())) -- it will have none of it
    end
  end,
  drop = function()
    start()
    for _, reset in ipairs { true, false } do
      local one = hello()
      assert.equal(1, discord:drop { reset = reset })
      local bytes, code = one:receive()
      assert.is_nil(bytes)
      assert.is_nil(code)
    end
  end,
  close = function()
    start()
    for code = 4000, 4014 do
      local one = hello()
      discord:close(code, "reason " .. code, #discord:history() + 1)
      assert.same({ code, "reason " .. code }, { one:closed() })
      one:close()
      assert(discord:wait_for_connections(0))
    end
    local one = hello()
    discord:close()
    assert.equal(1005, (one:closed())) -- what it calls a frame without a code
  end,
  withhold_acks = function()
    start()
    local one = hello()
    discord:withhold_acks()
    one:send(1)
    assert.is_true(one:is_silent())
    discord:withhold_acks(false)
    one:send(1)
    one:expect(11)
  end,
  half_open = function()
    start()
    local one = hello()
    discord:half_open()
    one:send(1)
    discord:heartbeat()
    assert.is_true(one:is_silent())
    discord:half_open(false)
    one:expect(1)
    one:expect(11)
  end,
  stall = function()
    start()
    for phase, op in pairs { hello = 10, ready = 0, guilds = 0, resumed = 0 } do
      local before, session = ready(nil)
      discord:stall(phase)
      if phase == "resumed" then discord:drop() end
      local one = assert(foreign.connect(discord))
      if phase ~= "hello" then one:expect(10) end
      if phase == "ready" or phase == "guilds" then one:identify(discord) end
      if phase == "guilds" then one:expect(0, "READY") end
      if phase == "resumed" then
        one:send(6, { token = discord.token, session_id = session.session_id, seq = 2 })
      end
      assert.is_true(one:is_silent(), phase)
      discord:stall(phase, false)
      assert.equal(op, one:message().op)
      before:close()
      discord:drop()
    end
    local patience = foreign.patience
    foreign.patience = 0.1
    for _, phase in ipairs { "accept", "upgrade" } do
      start()
      discord:stall(phase)
      assert.is_nil((foreign.connect(discord)), phase)
      discord:stall(phase, false)
    end
    foreign.patience = patience
    start { tls = true }
    discord:stall "tls"
    foreign.patience = 0.1
    assert.is_nil((foreign.connect(discord)))
    foreign.patience = patience
    start()
    local one = hello()
    discord:stall "close"
    one.ws:close(4000, "", 0.1)
    assert.is_nil(one.ws.got_close_code)
  end,
  instead = function()
    start()
    discord:instead("hello", { payload = { op = 7 } })
    assert.equal(7, assert(foreign.connect(discord)):message().op)
    discord:instead("ready", { invalid_session = false })
    local one = hello()
    one:identify(discord)
    assert.is_false(one:expect(9).d)
    discord:instead("ack", { close = 4009, reason = "late" })
    one:send(1)
    assert.same({ 4009, "late" }, { one:closed() })
    local _, session = ready()
    discord:drop()
    discord:instead("resumed", { drop = true })
    assert.is_nil((resume(session.session_id, 1):receive()))
  end,
  split = function()
    start()
    local one = ready()
    for _, size in ipairs { 1, 5, { 1, 9 } } do
      discord:split(size)
      assert.is_true(is_whole(one, ("moon"):rep(100)))
    end
    discord:split(0)
    assert.is_true(is_whole(one, "x"))
  end,
  -- Of a compressed message; the client sees each piece as a message of its own.
  split_messages = function()
    start()
    local one = assert(foreign.connect(discord,
      { query = "v=10&encoding=json&compress=zlib-stream" }))
    local whole = one:receive()
    discord:split_messages(3)
    local other = assert(foreign.connect(discord,
      { query = "v=10&encoding=json&compress=zlib-stream" }))
    local pieces = {}
    repeat
      local piece, kind = other:receive()
      pieces[#pieces + 1] = piece
      assert.equal("binary", kind)
      assert.is_true(#piece <= 3)
    until table.concat(pieces):sub(-4) == "\0\0\xff\xff"
    assert.equal(whole, table.concat(pieces))
  end,
  mask = function()
    start()
    local one = hello()
    discord:mask()
    discord:heartbeat()
    local bytes, code = one:receive()
    assert.is_true(bytes == nil or cjson.decode(bytes).op == 1, code) -- refused, or unmasked
    assert.equal(1, #discord:connections() + #discord:history())
  end,
  trickle = function()
    start()
    local one = ready()
    discord:split(10)
    discord:trickle(12, 0.01) -- a frame at a time, as this client wants each whole
    local before = discord:clock()
    assert.is_true(is_whole(one, ("x"):rep(200))) -- twenty pauses at least
    assert.is_true(discord:clock() - before >= 0.19)
  end,
  cut = function()
    start()
    discord:cut(200) -- the answer to the upgrade has more than a hundred bytes, HELLO the rest
    local one = assert(foreign.connect(discord))
    local bytes, code = one:receive()
    assert.is_nil(bytes)
    assert.is_nil(code)
    assert.equal(200, math.tointeger(discord:history()[1].bytes_out))
  end,
  corrupt = function()
    start()
    local one = ready()
    discord:corrupt()
    discord:dispatch("X", { text = ("x"):rep(50) }, { filter = false })
    local bad = one:receive()
    discord:dispatch("X", { text = ("x"):rep(50) }, { filter = false })
    local good = one:receive()
    assert.not_equal(good:gsub('"s":%d+', ""), bad and bad:gsub('"s":%d+', ""))
  end,
  swallow = function()
    start()
    local one = ready()
    discord:swallow()
    for n = 1, 2 do discord:dispatch("X", { n = n }, { filter = false }) end
    assert.equal(2, one:message().d.n)
  end,
  stutter = function()
    start()
    local one = ready()
    discord:stutter()
    discord:dispatch("X", { n = 1 }, { filter = false })
    assert.same(one:message(), one:message())
    assert.is_true(one:is_silent())
  end,
  resume_host = function()
    start { resume_host = true }
    local _, session = ready()
    discord:resume_host(false)
    assert.is_nil((foreign.connect(discord, { url = session.resume_gateway_url })))
    discord:resume_host(true)
    assert(foreign.connect(discord, { url = session.resume_gateway_url })):expect(10)
  end,
  enforce_limits = function()
    start { limits = true }
    discord:enforce_limits(false)
    local one = hello()
    for _ = 1, 125 do one:send(1) end
    for _ = 1, 125 do one:expect(11) end
    discord:enforce_limits()
    one:send(1)
    assert.equal(4008, (one:closed()))
  end,
  set_clock = function()
    start()
    discord:set_clock(86400 * 800)
    local _, headers = foreign.get(discord, "/v10/gateway")
    assert.is_true(tonumber(headers:get "date":match "(%d%d%d%d)") >= os.date("!*t").year + 2)
  end,
  respond = function()
    start()
    for _, status in ipairs { 401, 403, 429, 500, 502, 503 } do
      discord:respond { path = "/", status = status }
      assert.is_nil((foreign.connect(discord)))
      discord:respond { path = "/gateway", status = status, body = { n = status },
        headers = { ["Retry-After"] = 7 } }
      local got, headers, body = foreign.get(discord, "/v10/gateway")
      assert.same({ status, "7", status }, { got, headers:get "retry-after", body.n })
    end
    discord:respond { path = "/gateway", drop = true }
    assert.is_nil((foreign.get(discord, "/v10/gateway")))
    assert.equal(200, (foreign.get(discord, "/v10/gateway")))
  end,
}

describe("sandbox: a client of another make meets #sockets", function()
  local patience = foreign.patience

  after_each(function()
    foreign.patience = patience
    if discord then discord:stop() end
    discord = nil
  end)

  for name, test in pairs(tests) do it(name, test) end

  it("every knob, and every order", function()
    local missing = {}
    local words = [[dispatch reconnect invalid_session heartbeat send_payload send_raw drop close]]
    for name in words:gmatch "%S+" do
      if not tests[name] then missing[#missing + 1] = name end
    end
    for name in pairs(require "moongate.sandbox.knobs") do
      if not tests[name] then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)
end)

-- sandbox_knobs_spec.lua: every way in which the sandbox misbehaves on demand, as it looks on the
-- wire: read with wire.lua's own frames over cqueues' sockets, nothing of moongate.

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local GUILDS, GUILD_MESSAGES = 1, 1 << 9

local discord

local function start(options)
  local all = { limits = false, guilds = 0 }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  return discord
end

local function log_has(what)
  for _, line in ipairs(discord:log()) do
    if line.what == what then return true end
  end
  return false
end

-- The next byte does not come: something stands between it and this end.
local function is_silent(peer, answers)
  peer.sock:settimeout(0.02)
  local byte = peer.sock:read(1)
  peer.sock:clearerr()
  peer.sock:settimeout(wire.patience)
  assert(byte == nil, "a byte came" .. (answers or ""))
  return true
end

-- HELLO, and READY of a session without guilds.
local function greeted(options)
  local peer = assert(wire.connect(discord, options))
  peer:expect(10)
  return peer
end

describe("sandbox: knobs #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  it("one that there is none of is told, with the one that was meant", function()
    start()
    local function said(name)
      local _, message = pcall(function() return discord[name] end)
      return message
    end
    assert.matches("sandbox_knobs_spec.lua:%d+: a sandbox has no 'stal', did you mean 'stall'%?",
      said "stal")
    assert.matches("a sandbox has no 'withold_acks', did you mean 'withhold_acks'%?",
      said "withold_acks")
    assert.matches("a sandbox has no 'something_else'$", said "something_else")
    assert.is_nil(discord.ca_file)
  end)

  it("each has its test here", function()
    local here = debug.getinfo(1, "S").source:match "^@(.*)"
    local file = assert(io.open(here))
    local text = file:read "a"
    file:close()
    local others = {} -- what is no misbehaviour, but telling, looking, waiting
    local words = [[dispatch connections history sessions received requests log forget wait_until
      wait_received wait_for_connections wait_for_ready stop respond watch wait clock]]
    for name in words:gmatch "%S+" do
      others[name] = true
    end
    local missing = {}
    for name in pairs(require "moongate.sandbox.core".methods) do
      local known = others[name] or name == "__missing"
      if not known and not text:find('\n  %a+%("' .. name .. '[": ]') then
        missing[#missing + 1] = name
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  describe("stall", function()
    -- Each phase: what a client does until it has to wait there, and what comes when it may go on.
    local phases = {
      accept = { function()
        return wire.connect(discord, { wait = false })
      end, function(peer) assert(peer:upgraded()) end },
      upgrade = { function()
        return wire.connect(discord, { wait = false })
      end, function(peer) assert(peer:upgraded()) end },
      hello = { function()
        return wire.connect(discord)
      end, function(peer) peer:expect(10) end },
      ready = { function()
        local peer = greeted()
        peer:send(2, wire.identify_data(discord))
        return peer
      end, function(peer) peer:expect(0, "READY") end },
      guilds = { function()
        local peer = greeted()
        peer:send(2, wire.identify_data(discord))
        assert.equal(2, #peer:expect(0, "READY").d.guilds)
        return peer
      end, function(peer)
        assert.equal(2, peer:expect(0, "GUILD_CREATE").s)
        assert.equal(3, peer:expect(0, "GUILD_CREATE").s)
      end },
      resumed = { function()
        local first = wire.ready(discord)
        discord:drop()
        local peer = greeted()
        peer:send(6, { token = discord.token, session_id = first.session, seq = first.seq })
        return peer
      end, function(peer) peer:expect(0, "RESUMED") end },
      close = { function()
        local peer = greeted()
        peer:close(4000)
        return peer
      end, function(peer) assert.equal(4000, (peer:closed())) end },
    }

    for phase, steps in pairs(phases) do
      it("stops at " .. phase .. ", and goes on", function()
        start { guilds = 2 }
        discord:stall(phase)
        local peer = steps[1]()
        assert.is_true(is_silent(peer))
        discord:stall(phase, false)
        steps[2](peer)
      end)
    end

    it("stops at tls, and goes on", function()
      start { tls = true }
      discord:stall "tls"
      local sock = wire.dial(discord, { plain = true })
      -- The first record of a handshake: of no use, and so answered by an alert, when it is read.
      sock:write "\22\3\1\0\5hello"
      sock:flush()
      local peer = { sock = sock }
      assert.is_true(is_silent(peer))
      discord:stall("tls", false)
      assert.equal("\21", sock:read(1)) -- an alert
      sock:close()
      assert.is_not_nil(wire.connect(discord))
    end)
  end)

  it("stall refuses a phase that there is none of", function()
    start()
    assert.error_matches(function() discord:stall "helo" end,
      "stall: phase: 'helo' is none of accept, tls, upgrade, hello, ready, guilds, resumed, close")
  end)

  it("withhold_acks: no beat is answered, until they are", function()
    start()
    local peer = greeted()
    discord:withhold_acks()
    peer:send(1)
    assert(discord:wait_received "HEARTBEAT")
    assert.is_true(is_silent(peer))
    discord:withhold_acks(false)
    peer:send(1)
    peer:expect(11)
    assert.is_true(is_silent(peer)) -- the first one stays without
  end)

  it("half_open: nothing goes in or out, and TCP stays", function()
    start()
    local peer = greeted()
    discord:half_open()
    peer:send(1)
    discord:heartbeat()
    assert.is_true(is_silent(peer))
    assert.equal(0, #discord:received "HEARTBEAT")
    discord:half_open(false)
    peer:expect(1)
    peer:expect(11)
  end)

  describe("cut", function()
    local function bytes_of(target)
      discord:cut(200, target)
      local sock = wire.dial(discord)
      sock:write("GET /?v=10 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n")
      sock:flush()
      local all = {}
      for byte in function() return sock:read(1) end do all[#all + 1] = byte end
      return #all
    end

    it("ends a connection behind that many bytes", function()
      start()
      assert.equal(200, bytes_of())
    end)

    it("resets it when it is told so", function()
      start()
      local peer = greeted()
      local function ends(target)
        target.connection = #discord:connections()
        discord:cut(10, target)
        discord:heartbeat(target.connection)
        local _, why
        repeat _, why = peer.sock:read(1) until not _
        return why
      end
      assert.is_nil(ends {})
      peer = greeted()
      assert(discord:wait_for_connections(1))
      local errno = require "cqueues.errno"
      discord:cut(10, { connection = 2, reset = true })
      discord:heartbeat(2)
      assert(discord:wait_for_connections(0))
      local byte, why
      repeat byte, why = peer.sock:read(1) until not byte
      assert.equal(errno.ECONNRESET, why)
    end)
  end)

  it("cut is refused for what is no number of bytes", function()
    start()
    assert.error_matches(function() discord:cut(-1) end, "cut: bytes: an integer from 0")
  end)

  it("split: frames of one size, of sizes that the seed draws, and whole again", function()
    local function sizes(seed)
      start { seed = seed }
      local peer = wire.ready(discord)
      discord:split { 1, 9 }
      discord:dispatch("X", { text = ("x"):rep(200) })
      local all, final = {}, false
      while not final do
        local _, payload, fin = peer:frame()
        all[#all + 1], final = #payload, fin
      end
      discord:split(5)
      discord:heartbeat()
      assert.equal(5, #select(2, peer:frame()))
      while not select(3, peer:frame()) do assert(true) end
      discord:split(0)
      discord:heartbeat()
      assert.is_true(select(3, peer:frame()))
      discord:stop()
      return all
    end
    local one = sizes(1)
    local least, most = math.min(table.unpack(one, 1, #one - 1)), math.max(table.unpack(one))
    assert.is_true(least < most and least >= 1 and most <= 9)
    assert.same(one, sizes(1))
    assert.not_same(one, sizes(2))
    start()
    assert.error_matches(function() discord:split { 0, 4 } end, "split: bytes: an integer, or")
    assert.error_matches(function() discord:split { 4, 3 } end, "split: bytes: an integer, or")
  end)

  it("split_messages: a compressed one in many WebSocket messages, also inside of its mark",
    function()
      start()
      local peer = wire.ready(discord, nil, { query = "v=10&encoding=json&compress=zlib-stream" })
      for _, size in ipairs { 1, 3, { 1, 7 } } do
        discord:split_messages(size)
        discord:dispatch("X", { text = ("abc"):rep(50) })
        assert.equal(150, #peer:message().d.text)
        assert.is_true(peer.pieces > 1)
      end
    end)

  it("mask: frames of a server with a mask", function()
    start()
    local peer = greeted()
    discord:mask()
    discord:heartbeat()
    local head = peer.sock:read(2)
    local length = head:byte(2) & 0x7f
    assert.equal(0x80, head:byte(2) & 0x80)
    local key, payload, plain = peer.sock:read(4), peer.sock:read(length), {}
    for at = 1, length do
      plain[at] = string.char(payload:byte(at) ~ key:byte((at - 1) % 4 + 1))
    end
    assert.equal(1, cjson.decode(table.concat(plain)).op)
    assert.not_equal(table.concat(plain), payload)
    discord:mask(false)
    discord:heartbeat()
    peer:expect(1)
  end)

  it("corrupt: one bit of a message, in the same place for the same seed", function()
    local function damaged(seed)
      start { seed = seed }
      local peer = greeted()
      discord:corrupt()
      discord:heartbeat()
      local bad = peer:text()
      discord:heartbeat()
      local good, bits = peer:text(), 0
      for at = 1, #good do
        local different = good:byte(at) ~ bad:byte(at)
        while different > 0 do bits, different = bits + (different & 1), different >> 1 end
      end
      assert.equal(1, bits)
      discord:stop()
      return bad
    end
    assert.equal(damaged(3), damaged(3))
    assert.not_equal(damaged(3), damaged(4))
  end)

  it("swallow: a message is lost, its number too", function()
    start()
    local peer = wire.ready(discord)
    discord:swallow()
    discord:dispatch "X"
    discord:dispatch "Y"
    local message = peer:expect(0)
    assert.equal("Y", message.t)
    assert.equal(peer.seq + 2, message.s)
  end)

  it("stutter: a message twice, with one number, in a stream that stays whole", function()
    start()
    local peer = wire.ready(discord, nil, { query = "v=10&encoding=json&compress=zlib-stream" })
    discord:stutter()
    discord:dispatch("X", { text = "once" })
    discord:dispatch "Y"
    local first, again = peer:expect(0), peer:expect(0)
    assert.same(first, again)
    assert.equal("Y", peer:expect(0).t)
  end)

  it("heartbeat: op 1 on demand, and in bursts", function()
    start()
    local peer = greeted()
    assert.equal(1, discord:heartbeat { count = 50 })
    for _ = 1, 50 do assert.equal(1, peer:message().op) end
    assert.is_true(is_silent(peer))
  end)

  it("reconnect: op 7, also before HELLO", function()
    start()
    discord:stall "hello"
    local peer = wire.connect(discord)
    assert(discord:wait_for_connections(1))
    assert.equal(1, discord:reconnect())
    assert.equal(7, peer:message().op)
    discord:stall("hello", false)
    assert.equal(10, peer:message().op)
  end)

  it("invalid_session: op 9 both ways, before a session, within and behind it", function()
    start()
    for _, resumable in ipairs { true, false } do
      local peer = greeted()
      local id = #discord:connections() + #discord:history()
      discord:invalid_session(resumable, id)
      assert.equal(resumable, peer:expect(9).d)
      peer:send(2, wire.identify_data(discord))
      local ready = peer:expect(0, "READY")
      discord:invalid_session(resumable, id)
      assert.equal(resumable, peer:expect(9).d)
      peer:send(6, { token = discord.token, session_id = ready.d.session_id, seq = 1 })
      if resumable then
        peer:expect(0, "RESUMED")
      else
        assert.is_false(peer:expect(9).d)
      end
      peer:drop()
      assert(discord:wait_for_connections(0))
    end
  end)

  it("close: every code, with its reason, or none", function()
    start()
    for _, code in ipairs { 1000, 1001, 1011, 1012, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007,
      4008, 4009, 4010, 4011, 4012, 4013, 4014, 4999, 0, 65535 } do
      local peer = greeted()
      discord:close(code, "reason " .. code)
      local got, reason = peer:closed(false)
      if code == 0 then code, reason = 1005, "reason 0" end -- 0 is how a frame without one is asked
      assert.equal(code, got)
      assert.equal("reason " .. (code == 1005 and 0 or code), reason)
      peer:drop()
      assert(discord:wait_for_connections(0))
    end
    local peer = greeted()
    discord:close()
    assert.equal(1005, (peer:closed()))
  end)

  it("drop: without a close frame", function()
    start()
    for _, target in ipairs { { reset = true }, { reset = false } } do
      local peer = greeted()
      discord:drop(target)
      assert.is_nil((peer:frame()))
    end
  end)

  describe("instead", function()
    it("of HELLO: op 7, op 9, anything, a close, a drop", function()
      start()
      discord:instead("hello", '{"t":null,"s":null,"op":7,"d":null}')
      assert.equal(7, wire.connect(discord):message().op)
      discord:instead("hello", { invalid_session = true })
      assert.is_true(wire.connect(discord):expect(9).d)
      discord:instead("hello", { payload = { op = 10, d = { heartbeat_interval = "soon" } } })
      assert.equal("soon", wire.connect(discord):expect(10).d.heartbeat_interval)
      discord:instead("hello", "garbage")
      assert.equal("garbage", wire.connect(discord):text())
      discord:instead("hello", { close = 4000, reason = "full" })
      assert.same({ 4000, "full" }, { wire.connect(discord):closed() })
      discord:instead("hello", { drop = true })
      assert.is_nil((wire.connect(discord):frame()))
      greeted()
      assert.is_true(log_has "instead")
    end)

    it("of READY: fields of types that nobody expects, op 9, each code; no session is made",
      function()
        start()
        local function identify()
          local peer = greeted()
          peer:send(2, wire.identify_data(discord))
          return peer
        end
        discord:instead("ready", { payload = { op = 0, t = "READY", s = 1, d = {
          session_id = 5, resume_gateway_url = sandbox.null, guilds = "none" } } })
        assert.equal(5, identify():expect(0, "READY").d.session_id)
        for _, resumable in ipairs { true, false } do
          discord:instead("ready", { invalid_session = resumable })
          assert.equal(resumable, identify():expect(9).d)
        end
        for code = 4000, 4014 do
          discord:instead("ready", { close = code })
          assert.equal(code, (identify():closed()))
        end
        assert.equal(0, #discord:sessions())
        identify():expect(0, "READY")
      end)

    it("of RESUMED: the session lives on or ends, as the answer implies", function()
      start()
      for _, case in ipairs {
        { { close = 4009 }, 0 }, { { close = 4000 }, 1 }, { { close = 0 }, 1 },
        { { drop = true }, 1 }, { { invalid_session = true }, 1 },
        { { invalid_session = false }, 0 },
      } do
        local first = wire.ready(discord)
        discord:drop()
        discord:instead("resumed", case[1])
        local peer = greeted()
        peer:send(6, { token = discord.token, session_id = first.session, seq = first.seq })
        local message, how = peer:message()
        assert.is_true(how ~= nil or message.op == 9)
        peer:drop()
        assert(discord:wait_for_connections(0))
        assert.equal(case[2], #discord:sessions(), cjson.encode(case[1]))
        discord:stop()
        start()
      end
    end)

    it("of an ACK, so many times", function()
      start()
      local peer = greeted()
      discord:instead("ack", { payload = { op = 1, d = sandbox.null }, times = 2 })
      for _ = 1, 3 do peer:send(1) end
      assert.equal(1, peer:message().op)
      assert.equal(1, peer:message().op)
      assert.equal(11, peer:message().op)
    end)

    it("refuses what cannot be done", function()
      start()
      local function said(...)
        local _, message = pcall(discord.instead, discord, ...)
        return message
      end
      assert.matches("instead: phase: 'x' is none of hello, ready, resumed, ack", said("x", {}))
      assert.matches("instead: what: table expected, got number", said("hello", 5))
      assert.matches("instead: what: one of payload, close", said("hello", {}))
      assert.matches("instead: what: one of payload", said("hello", { close = 1, drop = true }))
      assert.matches("instead: what: unknown key 'cloes'", said("hello", { cloes = 1 }))
      assert.matches("instead: close: an integer", said("hello", { close = "x" }))
      assert.matches("instead: times: an integer", said("hello", { drop = true, times = -1 }))
    end)
  end)

  it("instead is one of the things that end with the sandbox", function()
    start()
    discord:instead("ready", { drop = true, times = 0 })
    discord:stop()
    start()
    assert.is_not_nil(wire.ready(discord))
  end)

  it("resume_host: refuses every connection, then lives again on the same port", function()
    start { resume_host = true }
    local first, ready = wire.ready(discord)
    assert.equal("ws://127.0.0.1:" .. discord.resume_port, ready.resume_gateway_url)
    assert.not_equal(discord.port, discord.resume_port)
    local there = { port = discord.resume_port }
    discord:resume_host(false)
    assert.has_error(function() wire.dial(there) end)
    greeted():drop() -- the other port lives
    discord:resume_host(true)
    local peer = assert(wire.connect(there))
    peer:expect(10)
    peer:send(6, { token = discord.token, session_id = first.session, seq = first.seq })
    peer:expect(0, "RESUMED")
    discord:stop()
    start()
    assert.error_matches(function() discord:resume_host(false) end, "the option resume_host")
  end)

  it("respond refuses the upgrade and REST with any status", function()
    start()
    for _, status in ipairs { 401, 403, 429, 500, 502, 503, 520 } do
      discord:respond { path = "/", status = status, headers = { ["Retry-After"] = 1 } }
      local peer, head = wire.connect(discord)
      assert.is_nil(peer)
      assert.equal(status, head.status)
      discord:respond { path = "/gateway/bot", status = status }
      assert.equal(status, wire.request(discord, "GET", "/api/v10/gateway/bot",
        wire.authorized(discord)).status)
    end
  end)

  it("trickle: a few bytes at a time", function()
    start()
    local peer = greeted()
    discord:trickle(7, 0.001)
    local before = discord:connections()[1].bytes_out
    discord:heartbeat()
    local seen, pieces = before, 0
    assert(discord:wait_until(function()
      local now = discord:connections()[1].bytes_out
      if now > seen then
        assert.is_true((now - before) % 7 == 0 or discord:connections()[1].unsent == 0)
        seen, pieces = now, pieces + 1
      end
      return discord:connections()[1].unsent == 0
    end))
    assert.is_true(pieces >= 1)
    peer:expect(1)
  end)

  it("send_raw: frames that no server may send, and bytes that are none", function()
    start()
    local peer = greeted()
    discord:send_raw { "x", rsv = 4 }
    discord:send_raw { "ping", opcode = 9 }
    discord:send_raw { "\xff\xfe" }
    discord:send_raw { "x", opcode = 3 }
    discord:send_raw { "a", fin = false }
    discord:send_raw { "\1\2\3", frame = false }
    assert.same({ 1, "x", true, 4 }, { peer:frame() })
    assert.same({ 9, "ping", true, 0 }, { peer:frame() })
    assert.same({ 1, "\xff\xfe", true, 0 }, { peer:frame() }) -- text that is no UTF-8
    assert.same({ 3, "x", true, 0 }, { peer:frame() })
    assert.same({ 1, "a", false, 0 }, { peer:frame() })
    assert.equal("\1\2\3", peer.sock:read(3))
  end)

  it("send_payload: opcodes that there are none of", function()
    start()
    local peer = greeted()
    discord:send_payload '{"op":99,"d":{},"s":null,"t":null}'
    assert.equal(99, peer:message().op)
  end)

  it("sandbox.text: an event with bytes that are no UTF-8, types that are wrong, or no JSON",
    function()
      start()
      local peer = wire.ready(discord, { intents = GUILDS | GUILD_MESSAGES })
      local texts = { '"\xff"', '{"guild_id":{},"id":[],"author":7}', '{"a":1,"a":2}', "{" }
      for _, text in ipairs(texts) do
        assert.equal(1, discord:dispatch("MESSAGE_CREATE", sandbox.text(text)))
        assert.equal('"d":' .. text .. "}", peer:text():match '"d":.*')
      end
      discord:dispatch "SOMETHING_NEW"
      local message = peer:expect(0, "SOMETHING_NEW")
      assert.equal(peer.seq + 5, message.s) -- they were counted like any other
      assert.has_error(function() sandbox.text(5) end)
    end)

  it("a message of 50 MB, whole", function()
    start { replay_bytes = 1 << 26 }
    local peer = wire.ready(discord)
    local bytes = 50 * 1024 * 1024
    discord:dispatch("X", sandbox.text('"' .. ("x"):rep(bytes) .. '"'))
    local opcode, payload, fin = peer:frame()
    assert.equal(1, opcode)
    assert.is_true(fin)
    assert.is_true(#payload > bytes and #payload < bytes + 100)
  end)

  it("set_clock: the date of every answer, behind and ahead", function()
    start { clock_skew = -86400 }
    local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8,
      Sep = 9, Oct = 10, Nov = 11, Dec = 12 }
    local function skew()
      local date = wire.request(discord, "GET", "/api/gateway").headers.date
      local day, month, year, hour, min, sec =
        date:match "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$"
      local now = os.date "!*t"
      return os.time { year = year, month = months[month], day = day, hour = hour, min = min,
        sec = sec } - os.time { year = now.year, month = now.month, day = now.day, hour = now.hour,
        min = now.min, sec = now.sec }
    end
    assert.is_true(math.abs(skew() + 86400) <= 2)
    discord:set_clock(7200)
    assert.is_true(math.abs(skew() - 7200) <= 2)
    discord:set_clock(0)
    assert.is_true(math.abs(skew()) <= 2)
    discord:respond { path = "/gateway", headers = { Date = "never" } }
    assert.equal("never", wire.request(discord, "GET", "/api/gateway").headers.date)
  end)

  it("enforce_limits: switched off and on while it runs", function()
    start { limits = true }
    local peer = greeted()
    discord:enforce_limits(false)
    for _ = 1, 125 do peer:send(1) end
    assert(discord:wait_received("HEARTBEAT", { count = 125 }))
    discord:enforce_limits(true)
    peer:send(1)
    assert.equal(4008, (peer:closed()))
  end)
end)

-- sandbox_spec.lua: the gateway of one's own, seen from the other end of the wire: every byte comes
-- from wire.lua, a client by hand. Nothing of moongate but the sandbox is loaded.

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local GUILDS, MEMBERS, VOICE = 1, 2, 1 << 7
local GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 9, 1 << 12

local discord

-- Starts the sandbox of a test; it is stopped behind it.
local function start(options)
  discord = assert(sandbox.start(options))
  return discord
end

-- Without the limits that make a test wait.
local function start_free(options)
  local all = { limits = false }
  for key, value in pairs(options or {}) do all[key] = value end
  return start(all)
end

local function log_has(what, pattern)
  for _, line in ipairs(discord:log()) do
    if line.what == what and line.text:find(pattern) then return true end
  end
  return false
end

describe("sandbox #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  describe("start and stop", function()
    it("says where it is", function()
      start { guilds = 2 }
      assert.equal("http://127.0.0.1:" .. discord.port .. "/api", discord.api)
      assert.equal("ws://127.0.0.1:" .. discord.port, discord.url)
      assert.is_nil(discord.ca_file)
      assert.equal(2, #discord.guilds)
      assert.matches("^%d+$", discord.guilds[1].id)
      assert.equal("Sandbox " .. discord.url .. ", 0 connections, 0 sessions", tostring(discord))
      assert.is_nil(tostring(discord):find(discord.token, 1, true))
    end)

    it("gives the same ids for the same seed, others for another", function()
      local function ids(seed)
        local one = assert(sandbox.start { seed = seed, guilds = 3, limits = false })
        local peer, ready = wire.ready(one)
        peer:drop()
        local all = { ready.session_id }
        for _, guild in ipairs(one.guilds) do all[#all + 1] = guild.id end
        one:stop()
        return table.concat(all, " ")
      end
      assert.equal(ids(7), ids(7))
      assert.not_equal(ids(7), ids(8))
    end)

    it("refuses wrong options, all in one message", function()
      local ok, why = pcall(sandbox.start, { guild = 1, port = "x", limits = 1, shards = 0 })
      assert.is_false(ok)
      assert.matches("unknown option 'guild', did you mean 'guilds'%?", why)
      assert.matches("option 'port': an integer from 0 to 65535 expected", why)
      assert.matches("option 'limits': true or false expected", why)
      assert.matches("option 'shards'", why)
      assert.has_error(function() sandbox.start "x" end)
    end)

    it("tells a port in use, and a certificate that cannot be written", function()
      start()
      local other, why, code = sandbox.start { port = discord.port }
      assert.is_nil(other)
      assert.matches("^start: port " .. discord.port .. ": Address already in use", why)
      assert.equal("ESYSTEM", code)
      other, why, code = sandbox.start { tls = true, certificate_name = "a,b" }
      assert.is_nil(other)
      assert.matches("certificate", why)
      assert.equal("ECERTIFICATE", code)
    end)

    it("refuses politely once it is stopped, and can be stopped twice", function()
      start()
      assert.is_true(discord:stop())
      assert.is_true(discord:stop())
      local count, why, code = discord:drop()
      assert.is_nil(count)
      assert.equal("drop: the sandbox is stopped", why)
      assert.equal("ECLOSED", code)
      assert.equal("ECLOSED", select(3, discord:received()))
      assert.equal("ECLOSED", select(3, discord:dispatch("X")))
      assert.equal("ECLOSED", select(3, discord:wait_received("IDENTIFY")))
      assert.matches("stopped$", tostring(discord))
    end)

    it("says 1001 to its clients when it stops", function()
      start_free()
      local peer = wire.ready(discord)
      discord:stop()
      local code = peer:closed(false)
      assert.equal(1001, code)
      assert.is_true(peer:ended())
    end)

    it("runs several at once, each with its own sessions", function()
      start_free()
      local other <close> = assert(sandbox.start { limits = false, seed = 2, token = "another" })
      local here, there = wire.ready(discord), wire.ready(other)
      assert.not_equal(discord.port, other.port)
      assert.equal(1, discord:dispatch("INTERACTION_CREATE", { id = "here" }))
      assert.equal(1, other:dispatch("INTERACTION_CREATE", { id = "there" }))
      assert.equal("here", here:expect(0).d.id)
      assert.equal("there", there:expect(0).d.id)
      assert.equal(1, #discord:received("IDENTIFY"))
      here:drop()
      there:drop()
    end)

    it("starts and stops a hundred times", function()
      for _ = 1, 100 do
        local one = assert(sandbox.start { guilds = 0 })
        one:stop()
      end
    end)

    it("is stopped by the collector, with its port and its certificate's file", function()
      local port, file
      do
        local one = assert(sandbox.start { tls = true })
        port, file = one.port, one.ca_file
        assert(io.open(file)):close()
      end
      collectgarbage()
      collectgarbage()
      assert.is_nil(io.open(file))
      start { port = port }
      assert.equal(port, discord.port)
    end)
  end)

  describe("HTTP", function()
    it("serves the gateway, with a version in the path and without", function()
      start { shards = 3, max_concurrency = 2 }
      for _, prefix in ipairs { "/api", "/api/v9", "/api/v10" } do
        local answer = wire.request(discord, "GET", prefix .. "/gateway")
        assert.equal(200, answer.status)
        assert.equal("application/json", answer.headers["content-type"])
        assert.same({ url = discord.url }, answer.json)
      end
      local answer = wire.request(discord, "GET", "/api/v10/gateway/bot", wire.authorized(discord))
      assert.equal(200, answer.status)
      local limit = answer.json.session_start_limit
      assert.is_true(limit.reset_after > 86000000 and limit.reset_after <= 86400000)
      limit.reset_after = nil
      assert.same({ url = discord.url, shards = 3, session_start_limit = {
        total = 1000, remaining = 1000, max_concurrency = 2 } }, answer.json)
    end)

    it("wants the bot's token", function()
      start()
      for _, value in ipairs { "", "Bot x", discord.token, "Bearer " .. discord.token } do
        local answer = wire.request(discord, "GET", "/api/gateway/bot", { Authorization = value })
        assert.equal(401, answer.status)
        assert.same({ message = "401: Unauthorized", code = 0 }, answer.json)
      end
      local requests = discord:requests "/gateway/bot"
      assert.equal(4, #requests)
      assert.is_false(requests[1].authorized)
      assert.equal("/api/gateway/bot", requests[1].target)
    end)

    it("knows the user and the application", function()
      start { user = { username = "ada", bot = true } }
      local answer = wire.request(discord, "GET", "/api/users/@me", wire.authorized(discord))
      assert.equal("ada", answer.json.username)
      assert.equal(cjson.null, answer.json.avatar)
      answer = wire.request(discord, "GET", "/api/oauth2/applications/@me",
        wire.authorized(discord))
      assert.equal(discord.user.id, answer.json.id)
    end)

    it("answers 404 for everything else", function()
      start()
      for _, path in ipairs { "/", "/api/nothing", "/apigateway", "/gateway/bot/x" } do
        local answer = wire.request(discord, "GET", path, wire.authorized(discord))
        assert.equal(404, answer.status)
        assert.same({ message = "404: Not Found", code = 0 }, answer.json)
      end
    end)

    it("keeps a connection, also with requests one behind the other and cut anywhere", function()
      start()
      local sock = wire.dial(discord)
      for _ = 1, 3 do
        local answer = wire.request(discord, "GET", "/api/gateway", nil, { sock = sock })
        assert.equal(200, answer.status)
      end
      local request = "POST /api/x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
        .. "GET /api/gateway HTTP/1.1\r\n\r\n"
      for at = 1, #request do
        sock:write(request:sub(at, at))
        sock:flush()
      end
      assert.matches("404", sock:read "*l")
      repeat until sock:read "*L" == "\r\n"
      sock:read(#'{"message":"404: Not Found","code":0}')
      assert.matches("200", sock:read "*l")
      sock:close()
      local posted = discord:requests "/x"
      assert.equal("hello", posted[1].body)
      assert.equal("POST", posted[1].method)
    end)

    it("refuses what is no request", function()
      start()
      local cases = {
        { "nonsense\r\n\r\n", 400 }, { "GET / HTTP/3\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nX: " .. ("x"):rep(20000) .. "\r\n\r\n", 431 },
        { "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 413 },
        { "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413 },
        { "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413 },
      }
      for _, case in ipairs(cases) do
        local sock = wire.dial(discord)
        sock:write(case[1])
        sock:flush()
        assert.matches("^HTTP/1.1 " .. case[2], sock:read "*l")
        repeat until not sock:read "*L"
        sock:close()
      end
    end)

    it("answers as it was told, so many times", function()
      start()
      discord:respond { path = "/gateway/bot", status = 429, times = 2,
        headers = { ["Retry-After"] = 3, ["Content-Type"] = "text/html" }, body = "slow down" }
      discord:respond { path = "/gateway/bot", method = "GET", status = 503,
        body = { message = "later", list = sandbox.array {} } }
      local statuses = {}
      for at = 1, 4 do
        local answer = wire.request(discord, "GET", "/api/v10/gateway/bot",
          wire.authorized(discord))
        statuses[at] = answer.status
        if at == 1 then
          assert.equal("3", answer.headers["retry-after"])
          assert.equal("text/html", answer.headers["content-type"])
          assert.equal("slow down", answer.body)
        elseif at == 3 then
          assert.matches('"list":%[%]', answer.body)
        end
      end
      assert.same({ 429, 429, 503, 200 }, statuses)
    end)

    it("answers late, or drops the connection", function()
      start()
      discord:respond { path = "/gateway", delay = 0.05 }
      discord:respond { path = "/gateway", drop = true }
      local sock = wire.dial(discord)
      local answer = wire.request(discord, "GET", "/api/gateway", nil, { sock = sock })
      assert.equal("{}", answer.body)
      assert.is_nil(wire.request(discord, "GET", "/api/gateway", nil, { sock = sock }))
      sock:close()
    end)

    it("wants sensible scripts", function()
      start()
      assert.has_error(function() discord:respond {} end)
      assert.has_error(function() discord:respond { path = "/", status = 5 } end)
      assert.has_error(function() discord:respond { path = "/", statsu = 500 } end)
      assert.has_error(function() discord:respond { path = "/", headers = { a = "b\r\nc" } } end)
    end)
  end)

  describe("TLS", function()
    it("has a certificate for loopback that its own file vouches for", function()
      start_free { tls = true }
      assert.equal("https://127.0.0.1:" .. discord.port .. "/api", discord.api)
      local answer = wire.request(discord, "GET", "/api/gateway")
      assert.same({ url = "wss://127.0.0.1:" .. discord.port }, answer.json)
      local peer, ready = wire.ready(discord)
      assert.equal(discord.url, ready.resume_gateway_url)
      peer:close(1000)
      assert.equal(1000, peer:closed())
    end)

    local function judge(name)
      local pipe = io.popen(("openssl s_client -connect 127.0.0.1:%d -CAfile %s %s"
        .. " -verify_return_error </dev/null 2>&1"):format(discord.port, discord.ca_file, name))
      local said = pipe:read "a"
      pipe:close()
      return said:match "Verif[^\n]*: (%d+)[^\n]*" or said:match "verify error:num=(%d+)"
    end

    it("is valid for its names only", function()
      start { tls = true }
      assert.equal("0", judge "-verify_ip 127.0.0.1")
      assert.equal("0", judge "-verify_ip ::1")
      assert.equal("0", judge "-verify_hostname localhost")
      assert.not_equal("0", judge "-verify_hostname discord.com")
    end)

    it("can be wrong: another name, or expired", function()
      start { tls = true, certificate_name = "wrong.example" }
      assert.not_equal("0", judge "-verify_ip 127.0.0.1")
      assert.equal("0", judge "-verify_hostname wrong.example")
      discord:stop()
      start { tls = true, certificate_expired = true }
      assert.equal("10", judge "-verify_ip 127.0.0.1")
    end)

    -- In a process of its own: what went wrong here would hold the sandbox's lock for good.
    it("ends a connection whose client said goodbye and is gone before it was answered", function()
      local pipe = io.popen [[timeout -k 2 20 lua5.4 -e '
        local sandbox, wire = require "moongate.sandbox", require "wire"
        local discord = assert(sandbox.start { tls = true, guilds = 0 })
        local sock = wire.ready(discord).sock
        discord:heartbeat() -- lies unread, so hanging up is a reset
        assert(discord:wait_until(function() return discord:connections()[1].unsent == 0 end))
        discord:half_open()
        sock:shutdown "w"
        sock:close()
        discord:heartbeat() -- cannot be written any more
        discord:half_open(false)
        print(#assert(discord:wait_for_connections(0)), discord:history()[1].close_received)
        discord:stop()' 2>&1]]
      local said = pipe:read "a"
      pipe:close()
      assert.equal("0\t1006\n", said)
    end)

    it("notes why a handshake failed", function()
      start { tls = true }
      local sock = wire.dial(discord, { plain = true })
      sock:write "GET / HTTP/1.1\r\n\r\n"
      sock:flush()
      assert.is_true(discord:wait_until(function() return log_has("tls", "handshake failed") end))
      sock:close()
    end)
  end)

  describe("the upgrade", function()
    it("takes any path, and any order of the query", function()
      start_free()
      for _, case in ipairs {
        { "/", "v=10&encoding=json" }, { "/resume/", "encoding=json&v=10" },
        { "/x", "compress=zlib-stream&v=9&encoding=json" }, { "/", "v=10" },
      } do
        local peer = wire.connect(discord, { path = case[1], query = case[2] })
        assert.equal(41250, peer:expect(10).d.heartbeat_interval)
        local open = discord:connections()[1]
        assert.equal(case[1], open.path)
        assert.equal(case[2], open.query)
        assert.equal("json", open.encoding)
        peer:drop()
        assert(discord:wait_for_connections(0))
      end
    end)

    it("closes with 4012 or 4002 for what it does not speak", function()
      start()
      for query, code in pairs {
        ["v=8&encoding=json"] = 4012, ["encoding=json"] = 4012, ["v=x"] = 4012, [""] = 4012,
        ["v=10&encoding=xml"] = 4002, ["v=10&compress=gzip"] = 4002,
      } do
        local peer = wire.connect(discord, { query = query })
        assert.equal(code, (peer:closed()), query)
      end
    end)

    it("refuses broken requests", function()
      start()
      for _, case in ipairs {
        { { ["Sec-WebSocket-Version"] = "8" }, 426 }, { { ["Sec-WebSocket-Key"] = "short" }, 400 },
        { { ["Sec-WebSocket-Key"] = false }, 400 }, { { Connection = "close" }, 400 },
      } do
        local peer, head = wire.connect(discord, { headers = case[1] })
        assert.is_nil(peer)
        assert.equal(case[2], head.status)
      end
      assert.equal(0, #discord:connections())
    end)

    it("R43 can be answered with any status", function()
      start()
      discord:respond { path = "/", status = 503, headers = { ["Retry-After"] = 2 } }
      local peer, head = wire.connect(discord)
      assert.is_nil(peer)
      assert.equal(503, head.status)
      assert.equal("2", head.headers["retry-after"])
      assert.is_not_nil(wire.connect(discord))
    end)

    it("reads frames that came behind the request, also when it was stalled", function()
      start_free()
      local text = cjson.encode { op = 1, d = cjson.null }
      local behind = string.char(0x81, 0x80 | #text) .. ("\0"):rep(4) .. text
      wire.connect(discord, { behind = behind }):expect(11)
      discord:stall "upgrade"
      local peer = wire.connect(discord, { behind = behind, wait = false })
      assert(discord:wait_until(function() return #discord:connections() == 2 end))
      discord:stall("upgrade", false)
      assert(peer:upgraded()):expect(11)
    end)
  end)

  describe("frames", function()
    local function expect_close(code, ...)
      local peer = wire.connect(discord)
      peer:expect(10)
      for _, frame in ipairs { ... } do peer:send_frame(frame[1], frame) end
      assert.equal(code, (peer:closed()))
      assert.is_true(peer:ended())
    end

    it("break RFC 6455 with 1002", function()
      start()
      expect_close(1002, { "x", masked = false })
      expect_close(1002, { "x", rsv = 4 })
      expect_close(1002, { "x", opcode = 3 })
      expect_close(1002, { "x", opcode = 11 })
      expect_close(1002, { "x", opcode = 0 })
      expect_close(1002, { "x", fin = false }, { "x" })
      expect_close(1002, { "x", opcode = 9, fin = false })
      expect_close(1002, { ("x"):rep(126), opcode = 9 })
      expect_close(1002, { "x", wide = true })
      expect_close(1002, { "x", opcode = 8 })
      expect_close(1002, { "\3\238", opcode = 8 }) -- 1006 never travels
    end)

    it("with text that is not UTF-8 get 1007, too long ones 1009", function()
      start()
      expect_close(1007, { "\xff" })
      expect_close(1007, { "\3\232\xff", opcode = 8 })
      expect_close(1009, { "", claim = 65537 })
      expect_close(1009, { ("x"):rep(40000), fin = false }, { ("x"):rep(40000), opcode = 0 })
    end)

    it("are put together, with pings between", function()
      start()
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send_frame('{"op":', { fin = false })
      peer:send_frame("are you there", { opcode = 9 })
      peer:send_frame('1,"d":', { opcode = 0, fin = false })
      peer:send_frame("null}", { opcode = 0 })
      local opcode, payload = peer:frame()
      assert.equal(10, opcode)
      assert.equal("are you there", payload)
      peer:expect(11)
    end)

    it("close with the same code, then TCP ends", function()
      start()
      for _, code in ipairs { 1000, 1001, 3000, 4000, 4999 } do
        local peer = wire.connect(discord)
        peer:expect(10)
        peer:close(code, "so it is")
        assert.equal(code, (peer:closed(false)))
        assert.is_true(peer:ended())
        peer:drop()
      end
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:close()
      assert.equal(1005, (peer:closed(false)))
      peer:drop()
      assert(discord:wait_until(function() return #discord:history() == 6 end))
      local history = discord:history()
      assert.equal(3000, history[3].close_received)
      assert.equal("so it is", history[3].close_reason)
      assert.equal(1005, history[6].close_received)
      assert.is_false(history[6].open)
    end)
  end)

  describe("a client's payload", function()
    local function expect_close(code, payload, options)
      local peer = wire.connect(discord)
      peer:expect(10)
      if type(payload) == "table" then payload = cjson.encode(payload) end
      peer:send_frame(payload, options)
      assert.equal(code, (peer:closed()), payload)
    end

    it("that cannot be decoded is closed with 4002", function()
      start()
      for _, payload in ipairs { "", "x", "[]", "{}", '{"op":1}', '{"op":1,"d":}', '{"d":1}',
        '{"op":"1","d":null}', '{"op":1,"d":null}x', '{"op":1,"d":[1,]}', '"op"' } do
        expect_close(4002, payload)
      end
      expect_close(4002, '{"op":1,"d":null}', { opcode = 2 })
    end)

    it("may be JSON in binary frames where that is allowed", function()
      start { any_frame = true }
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send_frame('{"op":1,"d":null}', { opcode = 2 })
      peer:expect(11)
      peer:send(1)
      peer:expect(11)
    end)

    it("may have 4096 bytes and no more", function()
      start()
      local frame = '{"op":1,"d":null,"x":"%s"}'
      local fill = 4096 - #frame:format ""
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send_frame(frame:format(("x"):rep(fill)))
      peer:expect(11)
      expect_close(4002, frame:format(("x"):rep(fill + 1)))
    end)

    it("with an unknown op is closed with 4001, one that needs a session with 4003", function()
      start()
      for _, op in ipairs { 0, 5, 7, 9, 10, 11, 12, 42, 99 } do
        expect_close(4001, { op = op, d = cjson.null })
      end
      for _, op in ipairs { 3, 4, 8, 31, 43 } do expect_close(4003, { op = op, d = {} }) end
    end)

    it("may come 120 times in a minute", function()
      start()
      local peer = wire.connect(discord)
      peer:expect(10)
      for _ = 1, 120 do peer:send(1) end
      for _ = 1, 120 do peer:expect(11) end
      peer:send(1)
      assert.equal(4008, (peer:closed()))
      assert.equal(120, #discord:received "HEARTBEAT")
    end)

    it("is not counted without limits", function()
      start_free()
      local peer = wire.connect(discord)
      peer:expect(10)
      for _ = 1, 130 do peer:send(1) end
      for _ = 1, 130 do peer:expect(11) end
    end)
  end)

  describe("identify", function()
    it("is answered with READY and the guilds", function()
      start_free { guilds = 2 }
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send(2, wire.identify_data(discord))
      local ready = peer:message()
      assert.equal("READY", ready.t)
      assert.equal(1, ready.s)
      local d = ready.d
      assert.equal(10, d.v)
      assert.matches("^%x+$", d.session_id)
      assert.equal(32, #d.session_id)
      assert.equal(discord.url, d.resume_gateway_url)
      assert.is_nil(d.shard)
      assert.equal(discord.user.id, d.user.id)
      assert.equal(discord.user.id, d.application.id)
      for _, key in ipairs { "private_channels", "relationships", "presences", "_trace" } do
        assert.equal("table", type(d[key]), key)
      end
      assert.same({ { id = discord.guilds[1].id, unavailable = true },
        { id = discord.guilds[2].id, unavailable = true } }, d.guilds)
      for at = 1, 2 do
        local guild = peer:message()
        assert.equal("GUILD_CREATE", guild.t)
        assert.equal(at + 1, guild.s)
        assert.equal(discord.guilds[at].id, guild.d.id)
        assert.equal(discord.guilds[at].channel_id, guild.d.channels[1].id)
        assert.equal(discord.user.id, guild.d.members[1].user.id)
      end
      local packet = discord:received("IDENTIFY")[1]
      assert.equal(2, packet.op)
      assert.equal(513 | 1 << 15, packet.d.intents)
      assert.equal(1, packet.connection)
    end)

    it("gets no guilds without their intent, and sits in its shard", function()
      start_free { guilds = 5 }
      local seen = 0
      for id = 0, 1 do
        local _, ready = wire.ready(discord, { intents = 0, shard = { id, 2 } })
        assert.same({ id, 2 }, ready.shard)
        for _, guild in ipairs(ready.guilds) do
          assert.equal(id, (math.tointeger(guild.id) or tonumber(guild.id)) >> 22 & 1)
          seen = seen + 1
        end
      end
      assert.equal(5, seen)
      assert.equal(0, discord:dispatch("GUILD_UPDATE", { id = discord.guilds[1].id }))
    end)

    it("is checked", function()
      start_free { disallowed_intents = { "message_content" } }
      local function expect_close(code, more, without)
        local peer = wire.connect(discord)
        peer:expect(10)
        local d = wire.identify_data(discord, more)
        for _, key in ipairs(without or {}) do d[key] = nil end
        peer:send(2, d)
        assert.equal(code, (peer:closed()))
      end
      expect_close(4004, { token = "wrong" })
      expect_close(4004, { token = "Bot wrong" })
      expect_close(4001, nil, { "token" })
      expect_close(4001, nil, { "properties" })
      expect_close(4001, { properties = "linux" })
      expect_close(4013, nil, { "intents" })
      expect_close(4013, { intents = 1 << 17 })
      expect_close(4013, { intents = 1 << 40 })
      expect_close(4013, { intents = -1 })
      expect_close(4013, { intents = 1.5 })
      expect_close(4013, { intents = "1" })
      expect_close(4014, { intents = 1 << 15 })
      for _, shard in ipairs { { 1, 1 }, { 0, 0 }, { -1, 1 }, { 0 }, { 0, 1, 2 }, { "0", "1" }, "0",
        { 0, 1.5 }, { 5, 2 } } do
        expect_close(4010, { shard = shard })
      end
      assert.equal(0, #discord:sessions())
    end)

    it("takes the token with REST's prefix, and the largest sum of intents", function()
      start_free()
      local _, ready = wire.ready(discord, { token = "Bot " .. discord.token, intents = 53608447 })
      assert.equal(53608447, discord:sessions()[1].intents)
      assert.equal(ready.session_id, discord:sessions()[1].id)
    end)

    it("may come before HELLO is read, but not twice", function()
      start_free()
      discord:stall "hello"
      local peer = wire.connect(discord)
      peer:send(2, wire.identify_data(discord))
      peer:expect(0, "READY")
      peer:send(2, wire.identify_data(discord))
      assert.equal(4005, (peer:closed()))
    end)

    it("takes a slot of its key for five seconds", function()
      start { max_concurrency = 2 }
      wire.ready(discord, { shard = { 0, 4 } })
      wire.ready(discord, { shard = { 1, 4 } })
      for _, id in ipairs { 2, 3 } do
        local peer = wire.connect(discord)
        peer:expect(10)
        peer:send(2, wire.identify_data(discord, { shard = { id, 4 } }))
        assert.is_false(peer:expect(9).d)
        -- The connection stays, and another Identify may follow on it.
        peer:send(1)
        peer:expect(11)
      end
      assert.is_true(log_has("refuse", "less than 5 s"))
    end)

    it("counts the starts of the day", function()
      start { session_start_limit = { total = 9, remaining = 1, reset_after = 5000 } }
      local function limit()
        return wire.request(discord, "GET", "/api/gateway/bot",
          wire.authorized(discord)).json.session_start_limit
      end
      assert.equal(1, limit().remaining)
      assert.equal(9, limit().total)
      assert.is_true(limit().reset_after <= 5000)
      local peer = wire.ready(discord)
      assert.equal(0, limit().remaining)
      peer:close(1000)
      peer = wire.connect(discord)
      peer:expect(10)
      peer:send(2, wire.identify_data(discord))
      assert.is_false(peer:expect(9).d)
      assert.is_true(log_has("refuse", "no session starts"))
    end)

    it("of too many guilds for one shard is closed with 4011", function()
      start_free { guilds = 2501 }
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send(2, wire.identify_data(discord))
      assert.equal(4011, (peer:closed()))
      wire.ready(discord, { intents = 0, shard = { 0, 2 } })
    end)
  end)

  describe("heartbeats", function()
    it("are answered, and carry a number or null", function()
      start_free()
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send(1)
      peer:expect(11)
      peer:send(1, 7)
      peer:expect(11)
      peer:send(1, "7")
      assert.equal(4001, (peer:closed()))
      local beats = discord:received "HEARTBEAT"
      assert.is_nil(beats[1].d)
      assert.equal(7, beats[2].d)
      assert.is_true(beats[2].at_ms >= beats[1].at_ms)
    end)

    it("that do not come end the session with 4009", function()
      start_free { heartbeat_interval = 40 }
      local peer, ready = wire.ready(discord)
      assert.equal(4009, (peer:closed()))
      peer:drop()
      peer = wire.resume(discord, ready.session_id, 1)
      assert.is_false(peer:expect(9).d)
    end)

    it("that do not come may end in a drop, or in nothing", function()
      start_free { heartbeat_interval = 20, heartbeat_close_code = 0 }
      local peer = wire.ready(discord)
      assert.is_nil((peer:closed()))
      discord:stop()
      start_free { heartbeat_interval = 1, heartbeat_grace = 0 }
      peer = wire.ready(discord)
      peer:send(1)
      peer:expect(11)
    end)

    it("keep a connection for longer than the patience", function()
      start_free { heartbeat_interval = 60 }
      local peer = wire.connect(discord)
      peer:expect(10)
      for _ = 1, 8 do
        assert.is_nil(discord:wait_received("RESUME", { timeout = 0.03 }))
        peer:send(1)
        peer:expect(11)
      end
    end)

    it("that come late are told in the log: the first, and each other one", function()
      start_free { heartbeat_interval = 100, heartbeat_grace = 0 }
      local peer = wire.connect(discord)
      peer:expect(10)
      peer:send(1) -- at once, as some do
      peer:expect(11)
      assert.is_false(log_has("warning", "heartbeat"))
      discord:wait(0.2)
      peer:send(1)
      peer:expect(11)
      assert.is_true(log_has("warning", "a heartbeat %d+ ms after the last, the interval is 100"))
      discord:wait(0.01)
      local late = wire.connect(discord)
      late:expect(10)
      discord:wait(0.2)
      late:send(1)
      late:expect(11)
      assert.is_true(log_has("warning", "a heartbeat %d+ ms after HELLO"))
    end)

    it("can go without an answer, and be asked for", function()
      start_free()
      local peer = wire.ready(discord)
      assert.equal(1, discord:withhold_acks())
      peer:send(1)
      assert(discord:wait_received "HEARTBEAT")
      assert.equal(1, discord:heartbeat())
      assert.equal(1, peer:message().op)
      discord:withhold_acks(false)
      peer:send(1)
      assert.equal(11, peer:message().op)
    end)

    it("are answered while the Lua thread is blocked", function()
      start_free { heartbeat_interval = 100, heartbeat_grace = 0 }
      local program = ([[
        local wire = require "wire"
        local peer = wire.connect { port = %d }
        peer:expect(10)
        for _ = 1, 5 do peer:send(1) peer:expect(11) end
        print "five"
      ]]):format(discord.port)
      local name = os.tmpname()
      local file = io.open(name, "w")
      file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
        os.getenv "MOONGATE_CPATH" or package.cpath),
        program)
      file:close()
      local pipe = io.popen("lua5.4 " .. name)
      assert.equal("five", pipe:read "l") -- blocks this thread, which runs no Lua meanwhile
      pipe:close()
      os.remove(name)
      assert.equal(5, #discord:received "HEARTBEAT")
    end)
  end)

  describe("resume", function()
    it("tells what was missed, with its numbers and in order, then RESUMED", function()
      start_free()
      local peer, ready = wire.ready(discord)
      local seq = peer.seq
      discord:dispatch("INTERACTION_CREATE", { id = "1" })
      peer:expect(0)
      discord:drop()
      assert.is_true(peer:ended())
      assert.equal(1, discord:dispatch("INTERACTION_CREATE", { id = "2" }))
      assert.equal(1, discord:dispatch("INTERACTION_CREATE", { id = "3" }))
      peer = wire.resume(discord, ready.session_id, seq + 1)
      for at = 2, 3 do
        local event = peer:message()
        assert.equal(seq + at, event.s)
        assert.equal(tostring(at), event.d.id)
      end
      local resumed = peer:message()
      assert.equal("RESUMED", resumed.t)
      assert.equal(seq + 4, resumed.s)
      assert.equal("table", type(resumed.d))
      discord:dispatch("INTERACTION_CREATE", { id = "4" })
      assert.equal(seq + 5, peer:message().s)
      assert.equal(1, #discord:received "IDENTIFY")
    end)

    it("works again and again, over RESUMED itself", function()
      start_free()
      local first, ready = wire.ready(discord)
      local seq = first.seq
      for _ = 1, 5 do
        discord:drop()
        local peer = wire.resume(discord, ready.session_id, seq)
        local event = peer:message()
        assert.equal("RESUMED", event.t)
        seq = event.s
      end
    end)

    it("of what is not there is refused with op 9, and Identify may follow", function()
      start_free()
      local peer = wire.resume(discord, "no-such-session", 3)
      assert.is_false(peer:expect(9).d)
      peer:send(2, wire.identify_data(discord))
      peer:expect(0, "READY")
    end)

    it("of a seq never sent is closed with 4007, and the session is gone", function()
      start_free()
      local _, ready = wire.ready(discord)
      discord:drop()
      local peer = wire.resume(discord, ready.session_id, 99)
      assert.equal(4007, (peer:closed()))
      peer = wire.resume(discord, ready.session_id, 1)
      assert.is_false(peer:expect(9).d)
    end)

    it("is checked", function()
      start_free()
      local _, ready = wire.ready(discord)
      discord:drop()
      local function expect_close(code, d)
        local peer = wire.connect(discord)
        peer:expect(10)
        peer:send(6, d)
        assert.equal(code, (peer:closed()))
      end
      local id, token = ready.session_id, discord.token
      expect_close(4004, { token = "x", session_id = id, seq = 1 })
      expect_close(4001, { token = token, seq = 1 })
      expect_close(4001, { session_id = id, seq = 1 })
      expect_close(4007, { token = token, session_id = id })
      expect_close(4007, { token = token, session_id = id, seq = -1 })
      assert.equal(1, #discord:sessions())
    end)

    it("takes a session over from a connection that is still there", function()
      start_free()
      local old, ready = wire.ready(discord)
      local peer = wire.resume(discord, ready.session_id, old.seq)
      peer:expect(0, "RESUMED")
      assert.equal(4000, (old:closed()))
      discord:dispatch("INTERACTION_CREATE", { id = "1" })
      peer:expect(0, "INTERACTION_CREATE")
    end)

    it("is not possible after the client's 1000 or 1001, but after other codes", function()
      start_free()
      for code, resumes in pairs { [1000] = false, [1001] = false, [4000] = true, [3000] = true } do
        local peer, ready = wire.ready(discord)
        peer:close(code)
        peer:closed(false)
        peer = wire.resume(discord, ready.session_id, peer.seq)
        local answer = peer:message()
        assert.equal(resumes and "RESUMED" or cjson.null, answer.t, code)
        peer:close(1000)
        peer:closed(false)
      end
      local peer, ready = wire.ready(discord)
      peer:drop()
      wire.resume(discord, ready.session_id, peer.seq):expect(0, "RESUMED")
    end)

    it("goes by the code that the server closed with", function()
      start_free()
      for code, resumes in pairs { [4000] = true, [4008] = true, [1000] = true, [1001] = true,
        [4009] = false, [4003] = false, [4007] = false } do
        local peer, ready = wire.ready(discord)
        assert.equal(1, discord:close(code, "because"))
        local got, reason = peer:closed()
        assert.equal(code, got)
        assert.equal("because", reason)
        assert.is_true(peer:ended())
        peer = wire.resume(discord, ready.session_id, peer.seq)
        assert.equal(resumes and "RESUMED" or cjson.null, peer:message().t, code)
        peer:close(1000)
        peer:closed(false)
      end
    end)

    it("is over when the window is", function()
      start_free { resume_window = 0.02 }
      local peer, ready = wire.ready(discord)
      peer:drop()
      assert(discord:wait_until(function() return #discord:sessions() == 0 end))
      peer = wire.resume(discord, ready.session_id, peer.seq)
      assert.is_false(peer:expect(9).d)
    end)

    it("is refused when more was missed than is kept", function()
      for _, options in ipairs { { replay_events = 3 }, { replay_bytes = 60 } } do
        options.guilds = 0
        start_free(options)
        local peer, ready = wire.ready(discord)
        peer:drop()
        assert(discord:wait_for_connections(0))
        for at = 1, 3 do discord:dispatch("X", { n = at }) end
        peer = wire.resume(discord, ready.session_id, 1)
        for at = 1, 3 do assert.equal(at, peer:message().d.n) end
        peer:expect(0, "RESUMED")
        peer:drop()
        assert(discord:wait_for_connections(0))
        for at = 1, 9 do discord:dispatch("X", { n = at }) end
        peer = wire.resume(discord, ready.session_id, 5)
        assert.is_false(peer:expect(9).d)
        discord:stop()
      end
    end)

    it("goes to a path of its own when one is set", function()
      start_free { resume_path = "/resume" }
      local _, ready = wire.ready(discord)
      assert.equal(discord.url .. "/resume", ready.resume_gateway_url)
      discord:respond { path = "/resume", status = 503, times = 0 }
      local peer, head = wire.connect(discord, { path = "/resume/" })
      assert.is_nil(peer)
      assert.equal(503, head.status)
    end)

    it("notes another query than that of the first connection", function()
      start_free()
      local peer, ready = wire.ready(discord)
      discord:drop()
      wire.resume(discord, ready.session_id, peer.seq, { query = "v=10" }):expect(0, "RESUMED")
      assert.is_true(log_has("warning", "another query"))
    end)
  end)

  describe("requests", function()
    local function ready(intents)
      start_free { guilds = 1 }
      return wire.ready(discord, { intents = intents or GUILDS | MEMBERS | VOICE })
    end

    it("op 3 needs activities and a status", function()
      local peer = ready()
      peer:send(3, { since = cjson.null, activities = { { name = "x", type = 0 } },
        status = "online", afk = false })
      assert(discord:wait_received "PRESENCE_UPDATE")
      peer:send(3, { status = "online" })
      assert.equal(4001, (peer:closed()))
    end)

    it("op 4 is answered with a voice state and a voice server", function()
      local peer = ready()
      local guild = discord.guilds[1]
      peer:send(4, { guild_id = guild.id, channel_id = guild.voice_channel_id, self_mute = true,
        self_deaf = false })
      local state = peer:expect(0, "VOICE_STATE_UPDATE").d
      assert.equal(guild.voice_channel_id, state.channel_id)
      assert.equal(discord.user.id, state.user_id)
      assert.is_true(state.self_mute)
      assert.is_false(state.self_deaf)
      assert.equal(guild.id, peer:expect(0, "VOICE_SERVER_UPDATE").d.guild_id)
      peer:send(4, { guild_id = guild.id, channel_id = cjson.null, self_mute = false,
        self_deaf = false })
      assert.equal(cjson.null, peer:message().d.channel_id)
      peer:send(4, { channel_id = "1" })
      assert.equal(4001, (peer:closed()))
    end)

    it("op 8 finds the bot, by its name or its id", function()
      local peer = ready()
      local guild = discord.guilds[1].id
      local function ask(more)
        local d = { guild_id = guild }
        for key, value in pairs(more) do d[key] = value end
        peer:send(8, d)
        return peer:expect(0, "GUILD_MEMBERS_CHUNK").d
      end
      local chunk = ask { query = "", limit = 0, nonce = "r-1" }
      assert.equal(discord.user.id, chunk.members[1].user.id)
      assert.equal(0, chunk.chunk_index)
      assert.equal(1, chunk.chunk_count)
      assert.equal("r-1", chunk.nonce)
      assert.is_nil(chunk.not_found)
      assert.equal(1, #ask { query = "SAND", limit = 5 }.members)
      assert.equal(0, #ask { query = "x", limit = 5, nonce = ("x"):rep(33) }.members)
      chunk = ask { user_ids = { discord.user.id, "41771983423143937", 5 }, limit = 0 }
      assert.equal(1, #chunk.members)
      assert.same({ "41771983423143937", 5 }, chunk.not_found)
      chunk = ask { user_ids = "41771983423143937" }
      assert.equal(0, #chunk.members)
      assert.same({ "41771983423143937" }, chunk.not_found)
    end)

    it("op 8 without query and ids, or with both, is closed with 4001", function()
      for _, d in ipairs { {}, { query = "", user_ids = { "1" }, limit = 0 }, { query = "" } } do
        local peer = ready()
        d.guild_id = discord.guilds[1].id
        peer:send(8, d)
        assert.equal(4001, (peer:closed()))
        discord:stop()
      end
    end)

    it("R61 op 8 for everybody is served once in 30 s", function()
      start { guilds = 1 }
      local peer = wire.ready(discord, { intents = GUILDS | MEMBERS })
      local d = { guild_id = discord.guilds[1].id, query = "", limit = 0, nonce = "n" }
      peer:send(8, d)
      peer:expect(0, "GUILD_MEMBERS_CHUNK")
      peer:send(8, d)
      local limited = peer:expect(0, "RATE_LIMITED").d
      assert.equal(8, limited.opcode)
      assert.is_true(limited.retry_after > 25 and limited.retry_after <= 30)
      assert.same({ guild_id = d.guild_id, nonce = "n" }, limited.meta)
    end)

    it("op 31 and op 43 are answered", function()
      local peer = ready()
      local guild = discord.guilds[1].id
      peer:send(31, { guild_ids = { "5", guild } })
      assert.equal(guild, peer:expect(0, "SOUNDBOARD_SOUNDS").d.guild_id)
      peer:send(43, { guild_id = guild, fields = { "status" } })
      assert.equal(guild, peer:expect(0, "CHANNEL_INFO").d.guild_id)
      peer:send(31, {})
      assert.equal(4001, (peer:closed()))
      assert.equal(2, #discord:received "REQUEST_SOUNDBOARD_SOUNDS")
      assert.equal(1, #discord:received(43))
    end)
  end)

  describe("dispatch", function()
    it("goes by intents", function()
      start_free { guilds = 1 }
      local guild = discord.guilds[1].id
      wire.ready(discord, { intents = GUILD_MESSAGES })
      wire.ready(discord, { intents = DIRECT_MESSAGES })
      wire.ready(discord, { intents = 0 })
      local function count(name, d, target) return discord:dispatch(name, d, target) end
      assert.equal(1, count("MESSAGE_CREATE", { guild_id = guild }))
      assert.equal(1, count("MESSAGE_CREATE", {}, { dm = true }))
      assert.equal(2, count("MESSAGE_CREATE", {}))
      assert.equal(3, count("MESSAGE_CREATE", {}, { filter = false }))
      assert.equal(3, count("INTERACTION_CREATE", {}))
      assert.equal(3, count("SOMETHING_NEW", {}))
      assert.equal(0, count("GUILD_MEMBER_UPDATE", { guild_id = guild, user = { id = "5" } }))
      assert.equal(3, count("GUILD_MEMBER_UPDATE",
        { guild_id = guild, user = { id = discord.user.id } }))
    end)

    it("that is exact and has no guild is a direct one, as with Discord", function()
      start_free { guilds = 1 }
      local guild = discord.guilds[1].id
      wire.ready(discord, { intents = GUILD_MESSAGES | GUILDS })
      wire.ready(discord, { intents = DIRECT_MESSAGES })
      local function count(name, d) return discord:dispatch(name, d, { exact = true }) end
      assert.equal(1, count("MESSAGE_CREATE", { content = "x" }))
      assert.equal(1, count("MESSAGE_CREATE", { content = "x", guild_id = guild }))
      assert.equal(1, count("MESSAGE_DELETE_BULK", { guild_id = guild, ids = { "1" } }))
      assert.equal(1, count("MESSAGE_DELETE_BULK", { ids = { "1" } })) -- of guilds only
      assert.equal(1, count("GUILD_ROLE_DELETE", { role_id = "1" }))
      local seqs = {}
      for at, session in ipairs(discord:sessions()) do seqs[at] = session.seq end
      assert.same({ 2 + 4, 1 + 1 }, seqs)
    end)

    it("says nothing in a guild to sessions without the intent for content", function()
      start_free { guilds = 1 }
      local told = wire.ready(discord, { intents = GUILD_MESSAGES | 1 << 15 })
      local deaf = wire.ready(discord, { intents = GUILD_MESSAGES | DIRECT_MESSAGES })
      local said = { content = "psst", embeds = { { title = "x" } }, poll = { question = {} },
        attachments = { { id = "1" } }, components = { { type = 1 } } }
      local count = 0
      local function hear(name, more, target)
        count = count + 1
        local d = { id = tostring(count) } -- of a message of its own
        for key, value in pairs(said) do d[key] = value end
        for key, value in pairs(more or {}) do d[key] = value end
        if not (target and target.dm) then d.channel_id = discord.guilds[1].channel_id end
        discord:dispatch(name, d, target)
        return deaf:expect(0, name).d
      end
      for _, name in ipairs { "MESSAGE_CREATE", "MESSAGE_UPDATE" } do
        local hidden, open = hear(name), told:expect(0, name).d
        assert.same({ "", 0, 0, 0 },
          { hidden.content, #hidden.embeds, #hidden.attachments, #hidden.components })
        assert.is_nil(hidden.poll)
        assert.same({ "psst", 1, 1, 1 },
          { open.content, #open.embeds, #open.attachments, #open.components })
        assert.is_table(open.poll)
        assert.same({ open.id, open.author.id, open.guild_id },
          { hidden.id, hidden.author.id, hidden.guild_id })
        -- But for these, which Discord names.
        assert.equal("psst", hear(name, { author = { id = discord.user.id } }).content)
        assert.equal("psst", hear(name, { mentions = { { id = "5" }, { id = discord.user.id } } })
          .content)
        assert.equal("", hear(name, { mentions = { { id = "5" } } }).content)
        assert.equal("psst", hear(name, nil, { dm = true }).content)
      end
      assert.equal("psst", hear("MESSAGE_CREATE", { guild_id = discord.guilds[1].id },
        { exact = true }).content)
      local seq = discord:sessions()[2].seq
      discord:drop() -- what is told again is as it was told
      discord:dispatch("MESSAGE_CREATE", { content = "away" })
      local again = wire.resume(discord, deaf.session, seq)
      assert.equal("", again:expect(0, "MESSAGE_CREATE").d.content)
    end)

    it("goes by shards, and without a guild to shard 0", function()
      start_free()
      local peers = {}
      for id = 0, 2 do peers[id] = wire.ready(discord, { intents = 0, shard = { id, 3 } }) end
      discord:dispatch("X", { guild_id = "613425648685547541", n = 1 })
      discord:dispatch("X", { n = 2 })
      assert.equal(1, discord:dispatch("X", { n = 3 }, { shard = 1, filter = false }))
      assert.equal(1, peers[2]:expect(0, "X").d.n)
      assert.equal(2, peers[0]:expect(0, "X").d.n)
      assert.equal(3, peers[1]:expect(0, "X").d.n)
    end)

    it("sends what it was given", function()
      start_free()
      local peer = wire.ready(discord)
      discord:dispatch("X", { list = sandbox.array {}, map = {}, none = sandbox.null,
        id = "613425648685547541", float = 0.5, text = 'a "b" \\ \n \u{1F600}' })
      local text = peer:text()
      assert.matches('"list":%[%]', text)
      assert.matches('"map":{}', text)
      assert.matches('"none":null', text)
      assert.equal('a "b" \\ \n \u{1F600}', cjson.decode(text).d.text)
      discord:dispatch("Y")
      assert.equal(cjson.null, peer:message().d)
    end)

    it("refuses a name that nearly is an event, and sends what is like none", function()
      start_free {}
      local function said(...)
        local _, message = pcall(discord.dispatch, discord, ...)
        return message
      end
      for name, meant in pairs {
        MESSAGE_CRAETE = "MESSAGE_CREATE", messageCreate = "MESSAGE_CREATE",
        TYPNG_START = "TYPING_START", GUILD_MEMBER_ADDD = "GUILD_MEMBER_ADD",
      } do
        assert.equal(("dispatch: name: '%s' is no event; did you mean %s?"):format(name, meant),
          said(name, {}))
        assert.is_number(said(name, {}, { filter = false }))
      end
      for _, name in ipairs { "MESSAGE_CREATE", "INTERACTION_CREATE", "NEW_THING", "X", "READY" } do
        assert.is_number(said(name, {}))
      end
    end)

    it("raises for wrong arguments in the caller's line, with the name of what was called",
      function()
        start_free {}
        local wrong = {
          { "drop", "x", "target: the number of a connection, or a table expected, got string" },
          { "drop", 0, "target: connections are numbered from 1" },
          { "drop", 1.5, "target: connections are numbered from 1" },
          { "drop", { shard = "0" }, "target: shard: a number expected, got 0" },
          { "drop", { reset = 1 }, "target: reset: boolean expected, got 1" },
          { "heartbeat", { session = 5 }, "target: session: the id of a session expected, got 5" },
          { "reconnect", { id = true }, "target: id: a number or the id of a session expected, "
            .. "got boolean" },
          { "withhold_acks", "yes", "on: boolean expected, got string" },
          { "half_open", 1, "on: boolean expected, got number" },
          { "invalid_session", 1, "resumable: boolean expected, got number" },
        }
        for _, row in ipairs(wrong) do
          local ok, message = pcall(function() discord[row[1]](discord, row[2]) end)
          assert.is_false(ok)
          assert.equal(("%s: %s"):format(row[1], row[3]),
            message:match "sandbox_spec.lua:%d+: (.*)")
        end
        local _, message = pcall(function() discord:stall("hello", "no") end)
        assert.matches("sandbox_spec.lua:%d+: stall: on: boolean expected, got string", message)
        _, message = pcall(function() discord:dispatch("READY", {}, { dm = "yes" }) end)
        assert.matches("sandbox_spec.lua:%d+: dispatch: target: dm: boolean", message)
      end)

    it("raises for what cannot be sent", function()
      start_free()
      assert.has_error(function() discord:dispatch() end)
      assert.has_error(function() discord:dispatch(5, {}) end)
      local ok, why = pcall(discord.dispatch, discord, "X", { a = { print } })
      assert.is_false(ok)
      assert.matches("d%.a%[1%]", why)
    end)
  end)

  describe("orders", function()
    it("reach one connection, one shard or one session", function()
      start_free()
      local first = wire.ready(discord, { intents = 0, shard = { 0, 2 } })
      local second, ready = wire.ready(discord, { intents = 0, shard = { 1, 2 } })
      assert.equal(2, discord:reconnect())
      assert.equal(1, discord:reconnect(1))
      assert.equal(1, discord:heartbeat(discord:connections()[1]))
      assert.equal(1, discord:heartbeat { shard = 1 })
      assert.equal(1, discord:invalid_session(true, { session = ready.session_id }))
      assert.equal(0, discord:heartbeat(99))
      local function ops(peer, count)
        local all = {}
        for at = 1, count do all[at] = math.tointeger(peer:message().op) end
        return all
      end
      assert.same({ 7, 7, 1 }, ops(first, 3))
      assert.same({ 7, 1, 9 }, ops(second, 3))
      assert.equal(1, discord:heartbeat(discord:sessions()[1]))
      for _, target in ipairs { "x", 0, { conection = 1 }, { connection = "1" }, { shard = -1 },
        { session = 5 } } do
        assert.has_error(function() discord:reconnect(target) end)
      end
    end)

    it("op 9 true keeps the session, false ends it, both on the same connection", function()
      start_free()
      local peer, ready = wire.ready(discord)
      discord:invalid_session(true)
      assert.is_true(peer:expect(9).d)
      peer:send(6, { token = discord.token, session_id = ready.session_id, seq = peer.seq })
      peer:expect(0, "RESUMED")
      discord:invalid_session(false)
      assert.is_false(peer:expect(9).d)
      assert.equal(0, #discord:sessions())
      peer:send(2, wire.identify_data(discord))
      assert.not_equal(ready.session_id, peer:expect(0, "READY").d.session_id)
    end)

    it("close with any code, or none", function()
      start_free()
      for _, code in ipairs { 1000, 4004, 4999, 1011 } do
        local peer = wire.ready(discord)
        discord:close(code, ("x"):rep(200))
        local got, reason = peer:closed()
        assert.equal(code, got)
        assert.equal(123, #reason)
        assert.is_true(peer:ended())
      end
      local peer = wire.ready(discord)
      discord:close()
      assert.equal(1005, (peer:closed()))
      assert.is_true(peer:ended())
      assert.has_error(function() discord:close "x" end)
      assert.has_error(function() discord:close(70000) end)
    end)

    it("drop with a reset or with a plain end, when it is done they return", function()
      start_free()
      local peer = wire.ready(discord)
      discord:dispatch("X", { n = 1 })
      assert.equal(1, discord:drop())
      assert.equal(0, #discord:connections())
      assert.equal(1, peer:message().d.n) -- what went out before the drop arrives
      assert.is_true(peer:ended())
      peer = wire.ready(discord)
      assert.equal(1, discord:drop { reset = false })
      assert.is_true(peer:ended())
      assert.equal(1006, discord:history()[2].close_received)
    end)

    it("withhold each step until they are told otherwise", function()
      start_free()
      discord:stall "upgrade"
      discord:stall "hello"
      local peer = wire.connect(discord, { wait = false })
      assert(discord:wait_until(function() return discord:connections()[1] end))
      assert.equal("http", discord:connections()[1].state)
      discord:stall("upgrade", false)
      assert(peer:upgraded())
      peer:send(1)
      assert.equal(11, peer:message().op) -- no HELLO before it
      discord:stall("hello", false)
      peer:expect(10)
      discord:stall "ready"
      peer:send(2, wire.identify_data(discord, { intents = 0 }))
      assert(discord:wait_received "IDENTIFY")
      peer:send(1)
      assert.equal(11, peer:message().op)
      assert.equal(0, discord:dispatch("X"))
      discord:stall("ready", false)
      local ready = peer:message()
      assert.equal("READY", ready.t)
      discord:dispatch("X")
      peer:expect(0, "X")
      discord:drop()
      discord:stall "resumed"
      discord:dispatch("Y")
      peer = wire.resume(discord, ready.d.session_id, 2)
      assert.equal("Y", peer:message().t)
      discord:dispatch("Z")
      assert.equal("Z", peer:message().t) -- R19: not RESUMED yet
      discord:stall("resumed", false)
      assert.equal("RESUMED", peer:message().t)
      assert.has_error(function() discord:stall "nothing" end)
    end)

    it("accept nobody while they shall not", function()
      start_free()
      discord:stall "accept"
      local sock = wire.dial(discord)
      sock:write "GET /api/gateway HTTP/1.1\r\n\r\n"
      sock:flush()
      assert.is_nil(discord:wait_until(function() return discord:requests()[1] end, 0.05))
      discord:stall("accept", false)
      assert.matches("200", sock:read "*l")
      sock:close()
    end)

    it("R11 leave a close without an answer", function()
      start_free()
      discord:stall "close"
      local peer = wire.ready(discord)
      peer:close(4000)
      peer.sock:settimeout(0.05)
      assert.is_nil((peer:frame()))
      peer.sock:clearerr()
      peer.sock:settimeout(wire.patience)
      assert.equal(1, #discord:connections())
      assert.equal(4000, discord:connections()[1].close_received)
      discord:stall("close", false)
      assert.equal(4000, (peer:closed(false)))
      assert.is_true(peer:ended())
    end)

    it("R1 leave a connection half open", function()
      start_free { heartbeat_interval = 20 }
      local peer = wire.ready(discord)
      discord:half_open()
      peer:send(1)
      peer.sock:settimeout(0.1)
      assert.is_nil((peer:frame())) -- nothing read, nothing written, no 4009
      assert.equal(0, #discord:received "HEARTBEAT")
      peer.sock:clearerr()
      peer.sock:settimeout(wire.patience)
      assert.equal(1, #discord:connections())
      discord:half_open(false)
      peer:expect(11)
      assert.equal(1, #discord:received "HEARTBEAT")
    end)

    it("can be asked to drop what is half open", function()
      start_free()
      local peer = wire.ready(discord)
      discord:half_open()
      discord:drop()
      assert.is_true(peer:ended())
    end)

    it("send frames and bytes as they are", function()
      start_free()
      local peer = wire.connect(discord)
      peer:expect(10)
      discord:send_raw "plain"
      discord:send_raw { "ping", opcode = 9 }
      discord:send_raw { "part", opcode = 2, fin = false, rsv = 4 }
      discord:send_raw { "\x81\x01x", frame = false }
      local function frame() return table.pack(peer:frame()) end
      assert.same({ 1, "plain", true, 0, n = 4 }, frame())
      assert.same({ 9, "ping", true, 0, n = 4 }, frame())
      assert.same({ 2, "part", false, 4, n = 4 }, frame())
      assert.same({ 1, "x", true, 0, n = 4 }, frame())
      assert.has_error(function() discord:send_raw {} end)
      assert.has_error(function() discord:send_raw { "x", opcode = 16 } end)
    end)

    it("send payloads as they are, through the compression", function()
      start_free()
      local peer = wire.connect(discord, { query = "v=10&compress=zlib-stream" })
      peer:expect(10)
      discord:send_payload "not even JSON"
      assert.equal("not even JSON", (peer:text()))
    end)

    it("write slowly", function()
      start_free()
      local peer = wire.connect(discord)
      peer:expect(10)
      discord:trickle(1, 0.001)
      local before = discord:connections()[1].bytes_out
      discord:send_payload(("x"):rep(50))
      assert.equal(("x"):rep(50), (peer:text()))
      assert(discord:wait_until(function()
        return discord:connections()[1].bytes_out == before + 52
      end))
    end)

    it("ends behind as many bytes as it is told, the next connection too, and only that", function()
      start_free()
      wire.connect(discord)
      local before = discord:connections()[1].bytes_out
      assert.equal(1, discord:cut(7, { connection = 1 }))
      discord:send_payload(("x"):rep(50))
      assert(discord:wait_for_connections(0))
      assert.equal(before + 7, discord:history()[1].bytes_out)
      assert.equal(0, discord:cut(before + 3))
      wire.connect(discord)
      discord:send_payload(("x"):rep(50))
      assert(discord:wait_for_connections(0))
      assert.equal(before + 3, discord:history()[2].bytes_out)
      wire.connect(discord)
      discord:send_payload(("x"):rep(50))
      assert.equal("open", discord:wait_for_connections(1)[1].state)
    end)
  end)

  describe("compression", function()
    local query = "v=10&encoding=json&compress=zlib-stream"

    it("is one zlib stream in binary frames, each message flushed", function()
      start_free()
      local peer = wire.connect(discord, { query = query })
      local opcode, payload = peer:frame()
      assert.equal(2, opcode)
      assert.equal("\x78", payload:sub(1, 1))
      assert.equal("\0\0\xff\xff", payload:sub(-4))
      peer:send(1)
      opcode, payload = peer:frame()
      assert.equal(2, opcode)
      assert.not_equal("\x78", payload:sub(1, 1)) -- no second header
      assert.equal("\0\0\xff\xff", payload:sub(-4))
    end)

    it("has one window for all messages of a connection", function()
      start_free()
      local peer = wire.connect(discord, { query = query })
      peer:frame()
      local text = cjson.encode { op = 7, d = "words that nobody has said here before" }
      discord:send_payload(text)
      discord:send_payload(text)
      local _, first = peer:frame()
      local _, second = peer:frame()
      assert.is_true(#second < #first / 2)
    end)

    it("has the header of its level", function()
      for level, header in pairs { [1] = "\x78\x01", [6] = "\x78\x9c", [9] = "\x78\xda" } do
        start_free { zlib_level = level }
        local peer = wire.connect(discord, { query = query })
        local _, payload = peer:frame()
        assert.equal(header, payload:sub(1, 2))
        discord:stop()
      end
    end)

    it("carries everything, and starts afresh on a resume", function()
      start_free { guilds = 2 }
      local peer, ready = wire.ready(discord, nil, { query = query })
      discord:dispatch("X", { text = ("abc"):rep(100000) })
      assert.equal(300000, #peer:expect(0, "X").d.text)
      discord:drop()
      peer = wire.resume(discord, ready.session_id, peer.seq + 1, { query = query })
      peer:expect(0, "RESUMED")
      assert.equal("zlib-stream", discord:connections()[1].compress)
    end)

    it("can be cut into WebSocket messages, and these into frames", function()
      start_free()
      local peer = wire.ready(discord, nil, { query = query })
      discord:split_messages(7)
      discord:send_payload(cjson.encode { op = 7, d = "some words that take some bytes" })
      assert.equal(7, peer:message().op)
      assert.is_true(peer.pieces > 3)
      assert.equal(peer.pieces, peer.frames)
      discord:split(2)
      discord:send_payload(cjson.encode { op = 7, d = "other words that take other bytes" })
      assert.equal(7, peer:message().op)
      assert.is_true(peer.frames > 3 * peer.pieces)
      discord:split(0)
      discord:split_messages(0)
      discord:send_payload(cjson.encode { op = 7, d = "a word" })
      assert.equal(7, peer:message().op)
      assert.equal(1, peer.frames)
    end)

    it("frames of plain text can be cut too, messages not", function()
      start_free()
      discord:split(3)
      discord:split_messages(3)
      local peer = wire.connect(discord)
      assert.equal(10, peer:message().op)
      assert.is_true(peer.frames > 10)
      assert.equal(1, peer.pieces)
    end)

    it("can be damaged, in the same place for the same seed", function()
      local function damaged(seed, corrupt)
        local one <close> = assert(sandbox.start { seed = seed })
        local peer = wire.connect(one, { query = "v=10&encoding=json" })
        peer:expect(10)
        if corrupt then one:corrupt() end
        local text = cjson.encode { op = 7, d = ("0123456789"):rep(10) }
        one:send_payload(text)
        local got = peer:text()
        one:send_payload "and on"
        assert.equal("and on", (peer:text()))
        peer:drop()
        return got, text
      end
      local got, text = damaged(1, true)
      assert.not_equal(text, got)
      assert.equal(#text, #got)
      assert.equal(got, (damaged(1, true)))
      assert.not_equal(got, (damaged(2, true)))
      assert.equal(text, (damaged(1, false)))
    end)

    it("a damaged compressed message still ends with its mark", function()
      start_free()
      local peer = wire.connect(discord, { query = query })
      peer:frame()
      discord:corrupt(1)
      discord:reconnect()
      local _, payload = peer:frame()
      assert.equal("\0\0\xff\xff", payload:sub(-4))
      assert.is_true(log_has("corrupt", "bit %d of byte"))
    end)

    it("a message can be lost on the way", function()
      start_free()
      local peer = wire.connect(discord)
      peer:expect(10)
      discord:swallow(2)
      for at = 1, 3 do discord:send_payload('{"op":7,"d":' .. at .. "}") end
      assert.equal(3, peer:message().d)
    end)

    it("of payloads begins with Identify, one by one, and goes on after a resume", function()
      start_free { guilds = 1 }
      local peer = wire.connect(discord)
      peer:expect(10)
      assert.equal(1, peer.opcode)
      peer:send(2, wire.identify_data(discord, { compress = true }))
      local opcode, payload = peer:frame()
      assert.equal(2, opcode)
      assert.equal("\x78", payload:sub(1, 1))
      assert.not_equal("\0\0\xff\xff", payload:sub(-4)) -- a checksum, no mark
      opcode, payload = peer:frame()
      assert.equal(2, opcode)
      assert.equal("\x78", payload:sub(1, 1)) -- each has a header of its own
      peer.opcode = 2
      assert.equal("GUILD_CREATE", cjson.decode(peer:plain(payload)).t)
      peer:send(1)
      peer:expect(11)
      assert.equal(1, peer.opcode) -- short ones are plain
      discord:drop()
      peer = wire.resume(discord, discord:sessions()[1].id, 1)
      assert.equal("GUILD_CREATE", peer:message().t)
      assert.equal(2, peer.opcode)
      peer:expect(0, "RESUMED")
      assert.equal(1, peer.opcode)
    end)

    it("of payloads yields to that of the transport", function()
      start_free { guilds = 1 }
      local peer = wire.ready(discord, { compress = true }, { query = query })
      peer:send(1)
      peer:expect(11)
      assert.equal("zlib-stream", discord:connections()[1].compress)
    end)

    it("zstd-stream is one frame without an end", function()
      start_free()
      local peer = wire.connect(discord, { query = "v=10&compress=zstd-stream" })
      local opcode, payload = peer:frame()
      assert.equal(2, opcode)
      assert.equal("\x28\xb5\x2f\xfd", payload:sub(1, 4))
      discord:reconnect()
      opcode, payload = peer:frame()
      assert.equal(2, opcode)
      assert.not_equal("\x28\xb5\x2f\xfd", payload:sub(1, 4))
    end)
  end)

  describe("what it remembers", function()
    it("is bounded, and says what it has lost", function()
      start_free { record_max = 5 }
      local peer = wire.connect(discord)
      peer:expect(10)
      for at = 1, 8 do
        peer:send(1, at)
        peer:expect(11)
      end
      local beats, lost = discord:received()
      assert.equal(5, #beats)
      assert.equal(4, beats[1].d)
      assert.equal(3, lost)
      local lines, lines_lost = discord:log()
      assert.equal(5, #lines)
      assert.is_true(lines_lost > 0)
      assert.is_true(discord:forget())
      beats, lost = discord:received()
      assert.equal(0, #beats)
      assert.equal(0, lost)
    end)

    it("is bounded in bytes", function()
      start_free { record_bytes = 2000 }
      local peer = wire.connect(discord)
      peer:expect(10)
      for _ = 1, 60 do
        peer:send(1)
        peer:expect(11)
      end
      local beats, lost = discord:received()
      assert.equal(60, #beats + lost)
      assert.is_true(#beats > 5 and lost > 30)
    end)

    it("R68 has no token in the log", function()
      start_free()
      local peer = wire.ready(discord)
      wire.request(discord, "GET", "/api/gateway/bot", wire.authorized(discord))
      peer:close(1000)
      peer:closed(false)
      for _, line in ipairs(discord:log()) do
        assert.is_nil(line.text:find(discord.token, 1, true))
      end
      assert.equal(discord.token, discord:received("IDENTIFY")[1].d.token)
    end)

    it("tells how many sessions an event reaches", function()
      start_free()
      discord:dispatch("MESSAGE_CREATE", {})
      wire.ready(discord)
      discord:dispatch("MESSAGE_CREATE", {})
      assert.is_true(log_has("dispatch", "^MESSAGE_CREATE to 0 sessions$"))
      assert.is_true(log_has("dispatch", "^MESSAGE_CREATE to 1 session$"))
    end)

    it("can be waited for, within a time", function()
      start_free()
      local peer = wire.connect(discord)
      assert.equal(1, #discord:wait_for_connections(1))
      peer:send(1)
      peer:send(1)
      assert.equal(2, #discord:wait_received("HEARTBEAT", { count = 2 }))
      local none, why, code = discord:wait_received("IDENTIFY", { timeout = 0.01 })
      assert.is_nil(none)
      assert.matches("^wait: 1 packets IDENTIFY did not happen in 0.01 s", why)
      assert.equal("ETIMEOUT", code)
      assert.has_error(function() discord:wait_received "IDENTITY" end)
      peer:drop()
      assert.equal(0, #discord:wait_for_connections(0))
    end)
  end)

  describe("in bad company", function()
    it("outlives garbage, at every stage", function()
      start_free { seed = 5 }
      local state = 12345
      local function random(n)
        state = state * 6364136223846793005 + 1442695040888963407
        return (state >> 33) % n
      end
      for round = 1, 60 do
        local bytes = {}
        for at = 1, 1 + random(300) do bytes[at] = string.char(random(256)) end
        local garbage = table.concat(bytes)
        if round % 2 == 0 then
          local sock = wire.dial(discord)
          sock:write(garbage)
          sock:flush()
          sock:close()
        else
          local peer = wire.connect(discord)
          peer.sock:write(garbage)
          peer.sock:flush()
          peer:drop()
        end
      end
      wire.ready(discord):send(1)
      assert(discord:wait_received "HEARTBEAT")
    end)

    it("drops a client that never reads", function()
      start_free { out_bytes = 200000 }
      local peer = wire.ready(discord)
      local d = { text = ("x"):rep(100000) }
      for _ = 1, 200 do
        if discord:dispatch("X", d) == 1 and #discord:connections() == 0 then break end
      end
      assert.equal(0, #discord:wait_for_connections(0))
      assert.is_true(log_has("overflow", "unread"))
      peer:drop()
    end)

    it("carries a thousand connections", function()
      start_free { heartbeat_grace = 0, guilds = 0 }
      local peers = {}
      for at = 1, 400 do
        peers[at] = wire.ready(discord, { shard = { at - 1, 400 } })
      end
      assert.equal(400, #discord:connections())
      assert.equal(400, discord:dispatch("X", { n = 1 }, { filter = false }))
      for _, peer in ipairs(peers) do assert.equal(1, peer:expect(0, "X").d.n) end
      assert.equal(400, discord:drop())
      for _, peer in ipairs(peers) do peer:drop() end
      assert.equal(400, #discord:sessions())
    end)

    it("lets a process end at any moment", function()
      local endings = {
        "os.exit(0, true)", "os.exit(0, false)", "", "error 'x'", "discord = nil collectgarbage()",
        "discord:stop() os.exit(0, false)",
      }
      for _, ending in ipairs(endings) do
        local name = os.tmpname()
        local file = io.open(name, "w")
        file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
          os.getenv "MOONGATE_CPATH" or package.cpath), [[
          local sandbox, wire = require "moongate.sandbox", require "wire"
          local discord = sandbox.start { tls = true }
          local peer = wire.ready(discord)
          print(discord.ca_file)
          io.stdout:flush()
        ]], ending)
        file:close()
        local pipe = io.popen("timeout 10 lua5.4 " .. name .. " 2>/dev/null")
        local ca_file = pipe:read "l"
        local _, how, code = pipe:close()
        os.remove(name)
        assert.equal("exit", how)
        assert.equal(ending:find "error" and 1 or 0, code, ending)
        assert.is_nil(io.open(ca_file), ending)
      end
    end)

    it("leaves nothing open to the programs that this one starts", function()
      start_free()
      local first = wire.ready(discord)
      local peer, port = wire.ready(discord), discord.port
      local pipe = io.popen("exec cat", "w") -- lives until it is closed
      discord:drop(1)
      assert.is_true(first:ended())
      discord:stop()
      assert.equal(1001, (peer:closed(false)))
      assert.is_true(peer:ended())
      start { port = port }
      pipe:close()
    end)
  end)
end)

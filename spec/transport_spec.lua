-- transport_spec.lua: HTTP requests, upgrades and proxies against servers that are made wrong by
-- hand. What is said after the upgrade is in websocket_spec, what TLS refuses in faults_spec.

local core = require "moongate.core"
local cqueues = require "cqueues"
local stranger = require "stranger"

local read_head, accept_line = stranger.read_head, stranger.accept_line
local frame, forever, nobody = stranger.frame, stranger.forever, stranger.nobody

describe("transport #sockets", function()
  local world, engine

  before_each(function() world = stranger.new() end)

  after_each(function()
    if engine then engine:close() end
    engine = nil
    world:stop()
  end)

  local function server(serve) return world:server(serve) end

  -- A server that answers every request with these bytes; `after` runs before it hangs up.
  local function answering(bytes, after)
    local seen = {}
    local address = server(function(peer)
      seen.line, seen.headers = read_head(peer)
      local length = tonumber(seen.headers["content-length"] or 0)
      if length > 0 then seen.body = peer:read(length) end
      peer:write(type(bytes) == "function" and bytes(seen.headers) or bytes)
      peer:flush()
      if after then after(peer) end
      peer:close()
    end)
    return address, seen
  end

  local function await(name) return world:await(engine, name) end

  local function request(options)
    engine = engine or assert(core.engine {})
    options.id = options.id or 1
    options.timeout_ms = options.timeout_ms or 5000
    assert(engine:request(options))
    return await("http")
  end

  local function get(bytes, after)
    local address, seen = answering(bytes, after)
    return request { url = "http://" .. address .. "/x" }, seen
  end

  describe("requests", function()
    it("carry what they were given, and nothing that asks for compression", function()
      engine = assert(core.engine { user_agent = "DiscordBot (test, 1)" })
      local address, seen = answering "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
      local answer = request { url = "http://" .. address .. "/a?b=c", method = "POST", id = 77,
        authorization = "Bot secret", content_type = "application/json", body = '{"x":1}' }
      assert.same({ id = 77, status = 200, body = "ok", headers = {} }, answer)
      assert.equal("POST /a?b=c HTTP/1.1", seen.line)
      assert.equal(address, seen.headers.host)
      assert.equal("DiscordBot (test, 1)", seen.headers["user-agent"])
      assert.equal("Bot secret", seen.headers.authorization)
      assert.equal("application/json", seen.headers["content-type"])
      assert.equal('{"x":1}', seen.body)
      assert.is_nil(seen.headers["accept-encoding"])
    end)

    it("say that an empty POST is empty, and a GET nothing", function()
      local address, seen = answering "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
      request { url = "http://" .. address, method = "POST" }
      assert.equal("0", seen.headers["content-length"])
      request { url = "http://" .. address }
      assert.is_nil(seen.headers["content-length"])
    end)

    it("carry a body of a megabyte", function()
      local body = ("0123456789abcdef"):rep(65536)
      local address, seen = answering "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
      assert.equal(200, request { url = "http://" .. address, method = "PUT", body = body }.status)
      assert.is_true(body == seen.body)
    end)

    it("return the headers that matter", function()
      local answer = get "HTTP/1.1 429 Slow\r\nRetry-After: 64\r\nContent-Type: text/x\r\n\z
        X-RateLimit-Limit: 5\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1.5\r\n\z
        X-RateLimit-Reset-After: 2.5\r\nX-RateLimit-Bucket: abc\r\nX-RateLimit-Global: true\r\n\z
        X-RateLimit-Scope: user\r\nDate: now\r\nContent-Length: 1\r\n\r\nx"
      assert.equal(429, answer.status)
      assert.same({ retry_after = "64", content_type = "text/x", date = "now",
        ratelimit_limit = "5", ratelimit_remaining = "0", ratelimit_reset = "1.5",
        ratelimit_reset_after = "2.5", ratelimit_bucket = "abc", ratelimit_global = "true",
        ratelimit_scope = "user" }, answer.headers)
    end)

    it("tell when to come again in seconds, also where the server names a date", function()
      local answer = get "HTTP/1.1 429 X\r\nRetry-After: Sun, 06 Nov 1994 08:51:07 GMT\r\n\z
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
      assert.equal("90", answer.headers.retry_after)
    end)

    it("take headers of fifteen kilobytes", function()
      local pads = {}
      for i = 1, 15 do pads[i] = ("Cf-Pad-%d: %s\r\n"):format(i, ("v"):rep(1000)) end
      local answer = get("HTTP/1.1 200 OK\r\n" .. table.concat(pads)
        .. "Content-Length: 2\r\n\r\nok")
      assert.equal("ok", answer.body)
    end)

    it("take chunks, and a body that ends with the connection", function()
      assert.equal("onetwo", get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\z
        3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").body)
      assert.equal("to the end", get("HTTP/1.0 200 OK\r\n\r\nto the end").body)
    end)

    it("replace bytes that are no UTF-8", function()
      assert.equal("a?b", get("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\xffb").body)
    end)

    it("report a body that is cut short, by length or in its chunks", function()
      for _, bytes in ipairs {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\none",
      } do
        local answer = get(bytes)
        assert.same({ "EHTTP", "open" }, { answer.error, answer.phase })
        assert.truthy(answer.message:find("cut short", 1, true))
        assert.is_nil(answer.body)
      end
    end)

    it("take 204, 304 and HEAD as complete while the server keeps the connection", function()
      local held = function(peer) peer:read(1) end
      for _, status in ipairs { 204, 304 } do
        local answer = get(("HTTP/1.1 %d X\r\nConnection: keep-alive\r\n\r\n"):format(status), held)
        assert.same({ status, "" }, { answer.status, answer.body })
      end
      local address = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", held)
      local answer = request { url = "http://" .. address, method = "HEAD" }
      assert.same({ 200, "" }, { answer.status, answer.body })
    end)

    it("take an answer of length 0 as complete while the server keeps the connection", function()
      local answer = get("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
        function(peer) peer:read(1) end)
      assert.same({ 503, "" }, { answer.status, answer.body })
    end)

    it("have a status, or fail", function()
      for _, head in ipairs { "100 Continue", "103 Hints", "101 S", "0 X", "abc X", "-5 X" } do
        local answer = get("HTTP/1.1 " .. head .. "\r\n\r\nHTTP/1.1 200 OK\r\n\z
          Content-Length: 2\r\n\r\nok")
        assert.same({ "EHTTP", "open" }, { answer.error, answer.phase }, head)
        assert.truthy(answer.message:find("not a final one", 1, true))
      end
      assert.equal(999, get("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n").status)
    end)

    it("fail when a chunk's length is over all bounds", function()
      for _, length in ipairs { "80000000", "ffffffff", "ffffffffffffffff" } do
        local answer = get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" .. length
          .. "\r\none\r\n0\r\n\r\n")
        assert.equal("EHTTP", answer.error)
      end
    end)

    it("say it when the head of the answer is over-long", function()
      local answer = get("HTTP/1.1 200 OK\r\nX-Pad: " .. ("v"):rep(20000) .. "\r\n\r\n")
      assert.same({ "EHTTP", "upgrade" }, { answer.error, answer.phase })
      assert.truthy(answer.message:find("over-long", 1, true))
    end)

    it("do not follow a redirect", function()
      local answer = get "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\n\z
        Content-Length: 2\r\n\r\nno"
      assert.same({ 302, "no" }, { answer.status, answer.body })
    end)

    it("refuse a body over four megabytes, and take one of four", function()
      local limit = 4194304
      for _, size in ipairs { limit, limit + 1 } do
        local answer = get(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(size)
          .. ("x"):rep(size))
        assert.equal(size > limit and "EHTTP" or nil, answer.error)
        assert.equal(size == limit and size or nil, answer.body and #answer.body)
      end
    end)

    it("R14 end in time when the server says nothing, or stops in the middle", function()
      for _, bytes in ipairs { "", "HTTP/1.1 200 OK\r\nX-A: b",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour" } do
        local address = answering(bytes, forever)
        local answer = request { url = "http://" .. address, timeout_ms = 100 }
        assert.equal("ETIMEOUT", answer.error)
      end
    end)

    it("R69 name the phase in which they failed", function()
      local answer = request { url = "http://" .. nobody() }
      assert.same({ "ECONNECT", "connect" }, { answer.error, answer.phase })
      answer = get ""
      assert.same({ "ECONNECT", "upgrade" }, { answer.error, answer.phase })
    end)

    it("are refused when they would smuggle something in", function()
      engine = assert(core.engine {})
      for _, options in ipairs {
        { url = "http://127.0.0.1:1/", authorization = "a\r\nX: b" },
        { url = "http://127.0.0.1:1/", content_type = "a\nX: b" },
        { url = "http://127.0.0.1:1/", method = "GET / HTTP/1.1\r\nX:" },
        { url = "http://127.0.0.1:1/\r\nX: b" }, { url = "http://ada@127.0.0.1:1/" },
        { url = "ws://127.0.0.1:1/" }, { url = "nonsense" },
      } do
        local answer = request(options)
        assert.equal("EVALUE", answer.error)
      end
    end)

    it("do not mix up their answers", function()
      engine = assert(core.engine {})
      local address = server(function(peer)
        local line = read_head(peer)
        local number = tonumber(line:match("/(%d+)"))
        cqueues.sleep((20 - number) / 1000)
        peer:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d"):format(#tostring(number),
          number))
        peer:flush()
        peer:close()
      end)
      for id = 1, 20 do
        assert(engine:request { id = id, url = ("http://%s/%d"):format(address, id) })
      end
      for _ = 1, 20 do
        local answer = await("http")
        assert.equal(tostring(answer.id), answer.body)
      end
    end)
  end)

  local function connect(address, flags, names)
    engine = engine or assert(core.engine {})
    assert(engine:interest(0, names or {}, flags))
    assert(engine:start { token = "t", url = "ws://" .. address, shard_id = 0, shard_count = 1,
      intents = 1, connect_timeout_ms = 300 })
  end

  describe("upgrades", function()
    it("R43 that are refused tell the status", function()
      for _, status in ipairs { 301, 401, 403, 429, 500, 503, 520 } do
        local address = answering(("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"):format(status))
        connect(address)
        local report = await("error")
        assert.same({ "EUPGRADE", "upgrade", status }, { report.code, report.phase,
          report.http_status })
        engine:close()
        engine = nil
      end
    end)

    it("R43 that are refused for a while are waited for", function()
      connect(answering "HTTP/1.1 429 X\r\nRetry-After: 7.5\r\nContent-Length: 0\r\n\r\n")
      assert(await("error").retry_in >= 7.5)
    end)

    it("R43 that name the time to come again are waited for", function()
      connect(answering "HTTP/1.1 503 X\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\z
        Retry-After: Sun, 06 Nov 1994 08:51:07 GMT\r\nContent-Length: 0\r\n\r\n")
      local retry_in = await("error").retry_in
      assert(retry_in >= 90 and retry_in < 91, retry_in)
    end)

    it("R69 that are no upgrades are told from hang-ups and from silence", function()
      local cases = {
        { "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\z
          Sec-WebSocket-Accept: AAAA\r\n\r\n", nil, "EUPGRADE" },
        { "HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n", nil, "EUPGRADE" },
        { "", nil, "ECONNECT" },
        { "", forever, "ETIMEOUT" },
        { "HTTP/1.1 101 S\r\nUpgrade: webs", forever, "ETIMEOUT" },
      }
      for _, case in ipairs(cases) do
        connect((answering(case[1], case[2])))
        local report = await("error")
        assert.same({ case[3], "upgrade" }, { report.code, report.phase })
        engine:close()
        engine = nil
      end
    end)

    it("work byte by byte, with the first message in the same breath", function()
      local address = server(function(peer)
        local _, headers = read_head(peer)
        local bytes = accept_line(headers) .. frame '{"op":10,"d":{"heartbeat_interval":41250}}'
        for i = 1, #bytes do
          peer:write(bytes:sub(i, i))
          peer:flush()
        end
        forever()
      end)
      connect(address, { receive = true })
      assert.equal(10, await("receive").op)
    end)

    it("are asked for in full, offer no extension and name the host as the URL has it", function()
      local address, seen = answering "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
      engine = assert(core.engine { user_agent = "DiscordBot (test, 1)" })
      connect(address)
      await("error")
      assert.equal("GET /?v=10&encoding=json HTTP/1.1", seen.line)
      assert.equal("Upgrade", seen.headers.connection)
      assert.equal("websocket", seen.headers.upgrade)
      assert.equal("13", seen.headers["sec-websocket-version"])
      assert.equal(24, #seen.headers["sec-websocket-key"])
      assert.equal("DiscordBot (test, 1)", seen.headers["user-agent"])
      assert.equal(address, seen.headers.host)
      assert.is_nil(seen.headers["sec-websocket-extensions"])
      assert.is_nil(seen.headers.origin)
    end)
  end)

  describe("upgrades that are granted", function()
    -- The error that an answer with these headers ends in.
    local function refusal(lines, status)
      connect((answering(function(headers)
        local good = { Upgrade = "websocket", Connection = "Upgrade",
          ["Sec-WebSocket-Accept"] = stranger.accept(headers) }
        local out = { "HTTP/1.1 " .. (status or "101 S") }
        for name, value in pairs(lines) do good[name] = value or nil end
        for name, value in pairs(good) do out[#out + 1] = name .. ": " .. value end
        return table.concat(out, "\r\n") .. "\r\n\r\n"
      end)))
      local report = await("error")
      engine:close()
      engine = nil
      return report
    end

    local rows = {
      { "Upgrade", { Upgrade = "h2c" } },
      { "Upgrade", { Upgrade = false } },
      { "Connection", { Connection = "close" } },
      { "Connection", { Connection = false } },
      { "Accept", { ["Sec-WebSocket-Accept"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" } },
      { "Accept", { ["Sec-WebSocket-Accept"] = false } },
      { "extension", { ["Sec-WebSocket-Extensions"] = "permessage-deflate" } },
      { "subprotocol", { ["Sec-WebSocket-Protocol"] = "chat" } },
      { "body", { ["Content-Length"] = "5" } },
      { "body", { ["Transfer-Encoding"] = "chunked" } },
    }
    for _, row in ipairs(rows) do
      local name, value = next(row[2])
      it(("are refused with %s: %s"):format(name, value or "none"), function()
        local report = refusal(row[2])
        assert.same({ "EUPGRADE", "upgrade" }, { report.code, report.phase })
        assert.truthy(report.message:find(row[1], 1, true), report.message)
      end)
    end

    it("are refused with another status, whatever the headers say", function()
      local report = refusal({}, "200 OK")
      assert.same({ "EUPGRADE", 200 }, { report.code, report.http_status })
    end)

    it("are refused with a head over the limit", function()
      local report = refusal { ["X-Pad"] = ("v"):rep(20000) }
      assert.same({ "EUPGRADE", "upgrade" }, { report.code, report.phase })
    end)

    it("have another key each time", function()
      local keys = {}
      for round = 1, 3 do
        local address, seen = answering "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
        connect(address)
        await("error")
        keys[round] = seen.headers["sec-websocket-key"]
        engine:close()
        engine = nil
      end
      assert.is_true(keys[1] ~= keys[2] and keys[2] ~= keys[3] and keys[1] ~= keys[3])
    end)

    it("may be cut in two anywhere, with the first message behind", function()
      local message = frame '{"op":10,"d":{"heartbeat_interval":41250}}'
      local size = #accept_line { ["sec-websocket-key"] = ("x"):rep(24) } + #message
      local address = server(function(peer)
        local line, headers = read_head(peer)
        local bytes, cut = accept_line(headers) .. message, tonumber(line:match "/(%d+)")
        assert.equal(size, #bytes)
        peer:write(bytes:sub(1, cut))
        peer:flush()
        cqueues.sleep(0.01)
        peer:write(bytes:sub(cut + 1))
        peer:flush()
        forever()
      end)
      engine = assert(core.engine {})
      assert(engine:concurrency(size))
      for cut = 1, size - 1 do
        assert(engine:interest(cut, {}, { receive = true }))
        assert(engine:start { token = "t", url = ("ws://%s/%d"):format(address, cut),
          shard_id = cut, shard_count = size, intents = 1 })
      end
      local heard = 0
      world:watch(engine, "receive", function(packet)
        assert.equal(10, packet.op)
        heard = heard + 1
        return heard == size - 1
      end)
    end)
  end)

  it("pauses within one read when the event queue is full, and loses nothing", function()
    local events, flood = 200, {}
    for at = 1, events do
      flood[at] = frame(('{"op":0,"t":"TYPING_START","s":%d,"d":%d}'):format(at + 1, at))
    end
    local address = server(function(peer)
      local _, headers = read_head(peer)
      peer:write(accept_line(headers), frame '{"op":10,"d":{"heartbeat_interval":41250}}')
      peer:flush()
      peer:read(1) -- the first byte of the Identify
      peer:write(frame '{"op":0,"t":"READY","s":1,"d":{"session_id":"a"}}', table.concat(flood))
      peer:flush()
      forever()
    end)
    engine = assert(core.engine { queue_events = 4 })
    connect(address, nil, { "TYPING_START" })
    for at = 1, events do assert.equal(at, await("TYPING_START")) end
    local counts = engine:counts()
    assert(counts.queue_events_peak <= 4, counts.queue_events_peak)
    assert(counts.pauses >= events // 4 - 2, counts.pauses)
  end)

  it("R50 ends a message of a gigabyte at its first bytes", function()
    local sent, hung_up = 0, false
    local address = server(function(peer)
      local _, headers = read_head(peer)
      peer:write(accept_line(headers), "\x82\x7f", string.pack(">I8", 1 << 30))
      peer:flush()
      while not hung_up and sent < 8 << 20 do
        hung_up = not (peer:write(("x"):rep(65536)) and peer:flush())
        sent = sent + 65536
      end
      peer:close()
    end)
    connect(address)
    local report = await("close")
    assert.equal(1006, report.code)
    assert.truthy((report.detail or ""):find("over the size limit", 1, true))
    assert(sent < 8 << 20, "read on and on")
  end)

  describe("a proxy", function()
    it("is asked for a way, with its user's name, and the rest goes through", function()
      local asked, seen
      local proxy = server(function(peer)
        asked = { read_head(peer) }
        peer:write("HTTP/1.1 200 OK\r\n\r\n")
        peer:flush()
        seen = { read_head(peer) }
        peer:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        peer:flush()
        peer:close()
      end)
      engine = assert(core.engine { proxy = "ada:p@ss@" .. proxy })
      local answer = request { url = "http://gateway.test:81/x" }
      assert.equal("ok", answer.body)
      assert.equal("CONNECT gateway.test:81 HTTP/1.1", asked[1])
      assert.equal("basic YWRhOnBAc3M=", asked[2]["proxy-authorization"])
      assert.equal("GET /x HTTP/1.1", seen[1])
      assert.equal("gateway.test:81", seen[2].host)
      assert.is_nil(seen[2]["proxy-authorization"])
    end)

    it("R69 that refuses or is not there is named as what failed", function()
      local proxy = answering "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
      engine = assert(core.engine { proxy = proxy })
      local answer = request { url = "http://gateway.test/" }
      assert.same({ "ECONNECT", "connect" }, { answer.error, answer.phase })
      assert.truthy(answer.message:find("proxy", 1, true))
      engine:close()
      engine = assert(core.engine { proxy = nobody() })
      answer = request { url = "http://gateway.test/" }
      assert.truthy(answer.message:find("proxy", 1, true))
    end)

    it("that is no address fails at once, and says which option it is", function()
      for _, text in ipairs { "proxy.test", "proxy.test:0", "a b:1", ("u"):rep(96) .. "@p:1" } do
        local made, message, code = core.engine { proxy = text }
        assert.is_nil(made)
        assert.equal("EVALUE", code)
        assert.truthy(message:find("proxy:", 1, true))
      end
    end)
  end)
end)

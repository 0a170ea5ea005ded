-- websocket.c: what is said on a connection that is open, against servers that are made by hand.
-- What a frame may be is in frame_spec; here it is who answers what, in which order, and what the
-- session is told of it.

local core = require "moongate.core"
local cqueues = require "cqueues"
local stranger = require "stranger"
local unit = require "moongate_unit"

local frame, read_frame, forever = stranger.frame, stranger.read_frame, stranger.forever

local READY = '{"op":0,"t":"READY","s":1,"d":{"session_id":"a","resume_gateway_url":"ws://x"}}'
local TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8a

local function hello(interval_ms)
  return frame(('{"op":10,"d":{"heartbeat_interval":%d}}'):format(interval_ms or 41250))
end

local function close(code, reason)
  return frame(string.pack(">I2", code) .. (reason or ""), CLOSE)
end

describe("websocket #sockets", function()
  local world, engine

  before_each(function()
    world = stranger.new()
    engine = assert(core.engine {})
  end)

  after_each(function()
    if engine then engine:close() end
    engine = nil
    world:stop()
  end)

  local function await(name) return world:await(engine, name) end
  local function wait_for(done) world:watch(engine, nil, done) end

  -- Connects to a server that grants the upgrade, writes `opening` in the same breath, and goes on
  -- with serve(peer). Only the first connection is served.
  local function connect(opening, serve, names, flags)
    local served = false
    local address = world:server(function(peer)
      local _, headers = stranger.read_head(peer)
      if served then return peer:close() end
      served = true
      peer:write(stranger.accept_line(headers), opening)
      peer:flush()
      serve(peer)
    end)
    assert(engine:interest(0, names or {}, flags or {}))
    assert(engine:start { token = "t", url = "ws://" .. address, shard_id = 0, shard_count = 1,
      intents = 1 })
  end

  -- The frames of the client up to its end, each { first byte, payload }.
  local function collect(peer, into)
    for first, payload in function() return read_frame(peer) end do
      into[#into + 1] = { first, payload }
    end
    into.ended = true
  end

  describe("what is sent", function()
    it("R63 is masked, each time with another mask", function()
      local masks = {}
      connect(hello(300), function(peer)
        for _, mask in function() return select(2, read_frame(peer)) end do
          masks[#masks + 1] = mask
          peer:write(frame '{"op":11}')
          peer:flush()
        end
      end)
      wait_for(function() return #masks >= 5 end)
      local seen = {}
      for _, mask in ipairs(masks) do
        assert.is_nil(seen[mask])
        seen[mask] = true
      end
    end)

    it("R63 leaves on time while the server writes without a pause", function()
      local beats, owed, flooded = 0, 0, 0
      local flood = frame('{"op":99,"d":"' .. ("x"):rep(60000) .. '"}')
      connect(hello(1500), function(peer)
        world.loop:wrap(function()
          repeat
            local acks = frame('{"op":11}'):rep(owed)
            owed, flooded = 0, flooded + #flood
          until not (peer:write(acks, flood) and peer:flush())
        end)
        for _, payload in function() return read_frame(peer) end do
          if payload:find('"op":1,', 1, true) then beats, owed = beats + 1, owed + 1 end
        end
      end)
      wait_for(function() return beats >= 3 end)
      assert(flooded > 1 << 20, flooded)
    end)

    it("R63 stays whole and in order when the server is slow to read", function()
      local pad, got = ("x"):rep(3900), {}
      connect(hello(), function(peer)
        read_frame(peer) -- the Identify
        peer:write(frame(READY))
        peer:flush()
        cqueues.sleep(0.3)
        for _, payload in function() return read_frame(peer) end do
          got[#got + 1] = tonumber(payload:match '"n":(%d+)')
        end
      end, { "READY" })
      await "READY"
      for n = 1, 100 do
        assert(engine:send(0, ('{"op":4,"d":{"n":%d,"p":"%s"}}'):format(n, pad)))
      end
      wait_for(function() return #got >= 100 end)
      for n = 1, 100 do assert.equal(n, got[n]) end
    end)
  end)

  describe("pings", function()
    it("are answered with their payload, also between the fragments of a message", function()
      local frames = {}
      local text = '{"op":10,"d":{"heartbeat_interval":41250}}'
      connect(frame(text:sub(1, 9), 0x01) .. frame("are you there", PING)
        .. frame(text:sub(10), 0x80), function(peer) collect(peer, frames) end)
      wait_for(function() return #frames >= 2 end)
      assert.same({ PONG, "are you there" }, frames[1])
      assert.equal(TEXT, frames[2][1])
    end)

    it("of a flood are answered at least once, and the last one for certain", function()
      local frames, pings = {}, {}
      for n = 1, 1000 do pings[n] = frame(tostring(n), PING) end
      connect(hello() .. table.concat(pings), function(peer) collect(peer, frames) end)
      local function answered()
        for _, one in ipairs(frames) do
          if one[1] == PONG and one[2] == "1000" then return true end
        end
      end
      wait_for(answered)
    end)

    it("that are empty, and pongs that nobody asked for, change nothing", function()
      local frames = {}
      connect(frame("", PONG) .. frame("x", PONG) .. frame("", PING) .. hello(),
        function(peer) collect(peer, frames) end)
      wait_for(function() return #frames >= 2 end)
      assert.same({ PONG, "" }, frames[1])
    end)
  end)

  describe("a close of the server", function()
    for _, code in ipairs { 1000, 1001, 1008, 1011, 1012, 1013, 1014, 3000, 4000, 4009, 4999 } do
      it(("R40 with %d reaches the session as it is, and is answered"):format(code), function()
        local frames = {}
        connect(hello() .. close(code, "so long"), function(peer) collect(peer, frames) end)
        local report = await "close"
        assert.same({ code, "so long" }, { report.code, report.reason })
        wait_for(function() return frames.ended end)
        local last = frames[#frames]
        assert.same({ CLOSE, code }, { last[1], (string.unpack(">I2", last[2])) })
      end)
    end

    it("without a code is 1005 here, and answered without one", function()
      local frames = {}
      connect(hello() .. frame("", CLOSE), function(peer) collect(peer, frames) end)
      assert.equal(1005, await("close").code)
      wait_for(function() return frames.ended end)
      assert.same({ CLOSE, "" }, frames[#frames])
    end)

    it("is heard when the server hangs up right behind it", function()
      connect(hello() .. close(4008, "too fast"), function(peer) peer:close() end)
      assert.equal(4008, await("close").code)
    end)

    it("is heard when the server resets the connection right behind it", function()
      connect(hello(), function(peer)
        cqueues.poll(peer, 1) -- what the client says lies unread, so hanging up is a reset
        peer:write(close(4008, "much too fast"))
        peer:flush()
        peer:close()
      end)
      assert.equal(4008, await("close").code)
    end)

    it("is heard behind a thousand events, and none of them is lost", function()
      local flood, heard = {}, 0
      for at = 1, 1000 do
        flood[at] = frame(('{"op":0,"t":"TYPING_START","s":%d,"d":%d}'):format(at + 1, at))
      end
      connect(hello(), function(peer)
        read_frame(peer)
        peer:write(frame(READY), table.concat(flood), close(4000))
        peer:flush()
        peer:close()
      end, { "TYPING_START" })
      world:watch(engine, "TYPING_START", function(d)
        heard = heard + 1
        assert.equal(heard, d)
        return heard == 1000
      end)
      assert.equal(4000, await("close").code)
    end)

    it("is the last that is heard: what comes behind it is not", function()
      connect(hello() .. close(4000) .. frame '{"op":7}' .. close(4004),
        function(peer) collect(peer, {}) end, {}, { receive = true })
      local ops = {}
      local deadline = os.time() + 20
      repeat
        local record, name = engine:next()
        if record then
          local data = record:data()
          if name == "receive" then ops[#ops + 1] = data.op end
          record:done()
          if name == "close" then
            assert.equal(4000, data.code)
            break
          end
        else
          world.loop:step(0.005)
        end
      until os.time() > deadline
      assert.same({ 10 }, ops)
    end)
  end)

  describe("what breaks the protocol", function()
    local rows = {
      { "a mask", "\x81\x81maskx", 1002, "masked" },
      { "a reserved bit", frame("x", 0xc1), 1002, "reserved bit" },
      { "a length that is not minimal", "\x81\x7e\0\1x", 1002, "not minimal" },
      { "a close with a code that may not travel", close(1006), 1002, "may not travel" },
      { "a close whose reason is no UTF-8", close(1000, "\xff"), 1007, "UTF-8" },
      { "R50 a message of a gigabyte", "\x82\x7f" .. string.pack(">I8", 1 << 30), 1009,
        "over the size limit" },
    }
    for _, row in ipairs(rows) do
      it(row[1] .. " is told to the server, and the session is lost to a fault", function()
        local frames = {}
        connect(hello() .. row[2], function(peer) collect(peer, frames) end)
        local report = await "close"
        assert.equal(1006, report.code)
        assert.truthy(report.detail:find(row[4], 1, true), report.detail)
        wait_for(function() return frames.ended end)
        local last = frames[#frames]
        assert.same({ CLOSE, row[3] }, { last[1], (string.unpack(">I2", last[2])) })
      end)
    end
  end)

  describe("a close of our own", function()
    it("comes behind what was sent, with its code and its reason", function()
      local frames = {}
      connect(hello(), function(peer)
        read_frame(peer)
        peer:write(frame(READY))
        peer:flush()
        for first, payload in function() return read_frame(peer) end do
          frames[#frames + 1] = { first, payload }
          if first == CLOSE then
            peer:write(close(1000))
            peer:flush()
          end
        end
        frames.ended = true
      end, { "READY" })
      await "READY"
      for n = 1, 5 do assert(engine:send(0, ('{"op":4,"d":%d}'):format(n))) end
      assert(engine:stop_shard(0, 1000, "bye"))
      wait_for(function() return frames.ended end)
      assert.same({ CLOSE, "\x03\xe8bye" }, frames[#frames])
      local said = {}
      for _, one in ipairs(frames) do
        said[#said + 1] = one[1] == TEXT and one[2]:match '^{"op":4,"d":(%d)}$' or nil
      end
      assert.equal("12345", table.concat(said))
    end)

    it("ends when it is answered, and what came before the answer is not heard any more", function()
      connect(hello(), function(peer)
        read_frame(peer)
        peer:write(frame(READY))
        peer:flush()
        repeat local first = read_frame(peer) until not first or first == CLOSE
        peer:write(frame '{"op":0,"t":"TYPING_START","s":2,"d":1}', close(1000))
        peer:flush()
        forever()
      end, { "READY", "TYPING_START" })
      await "READY"
      assert(engine:stop_shard(0, 1000))
      local names = {}
      repeat
        local record, name = engine:next()
        if record then
          names[name] = true
          record:done()
        else
          world.loop:step(0.005)
        end
      until name == "close"
      assert.is_nil(names.TYPING_START)
    end)
  end)
end)

-- The same without a socket, where every write can be cut short and every read interrupted.
describe("an open link", function()
  -- The frames in `bytes`, each { first byte, payload }; nil for bytes that are no frames.
  local function frames_of(bytes)
    local out, at = {}, 1
    while at <= #bytes do
      local first, second = bytes:byte(at, at + 1)
      local length = second & 0x7f
      at = at + 2
      if length == 126 then length, at = string.unpack(">I2", bytes, at) end
      local mask, masked = bytes:sub(at, at + 3), bytes:sub(at + 4, at + 3 + length)
      if #masked < length then return nil end
      out[#out + 1] = { first, (masked:gsub("()(.)", function(i, c)
        return string.char(c:byte() ~ mask:byte((i - 1) % 4 + 1))
      end)) }
      at = at + 4 + length
    end
    return out
  end

  it("R63 cuts its frames anywhere, and nothing comes in between", function()
    local long = ("m"):rep(200)
    for step = 1, 240 do
      local link, out = unit.websocket(), {}
      assert(link:send "first")
      assert(link:send(long))
      out[1] = link:write(step)
      link:take(frame("ping", PING))
      link:close(4000, "bye")
      assert.is_nil((link:send "late"))
      repeat out[#out + 1] = link:write(step) until out[#out] == ""
      local got = assert(frames_of(table.concat(out)), step)
      local texts = {}
      for _, one in ipairs(got) do
        if one[1] == TEXT then texts[#texts + 1] = one[2] end
      end
      assert.same({ "first", long }, texts)
      assert.equal(4, #got)
      assert.same({ CLOSE, "\x0f\xa0bye" }, got[4])
      local state = link:state()
      assert.same({ true, false }, { state.close_sent, state.killed })
    end
  end)

  it("answers a ping before the messages that wait, with the last of them", function()
    local link = unit.websocket()
    assert(link:send "first")
    assert(link:send "second")
    local out = link:write(1)
    link:take(frame("1", PING) .. frame("2", PING))
    assert.same({ { TEXT, "first" }, { PONG, "2" }, { TEXT, "second" } },
      frames_of(out .. link:write()))
  end)

  it("answers a close behind the frame that is under way, and drops the rest", function()
    local link = unit.websocket()
    assert(link:send "first")
    assert(link:send "second")
    local out = link:write(3)
    link:take(close(4008, "too fast"))
    assert.is_nil((link:send "late"))
    out = out .. link:write()
    assert.same({ { TEXT, "first" }, { CLOSE, "\x0f\xa8" } }, frames_of(out))
    local state = link:state()
    assert.same({ 4008, true, true }, { state.close_code, state.close_received, state.killed })
  end)

  it("waits for the answer to its own close, and then ends", function()
    local link = unit.websocket()
    link:close(1000, "")
    link:write()
    assert.is_false(link:state().killed)
    link:take(frame "late" .. close(1001))
    assert.equal("", link:messages())
    assert.same({ 1000, true }, { link:state().close_code, link:state().killed })
  end)

  it("hears a close although it cannot write any more", function()
    local link = unit.websocket()
    assert(link:send "x")
    assert.equal("", link:write(-1))
    assert.is_false(link:state().killed)
    link:take(frame "last words" .. close(4004))
    link:write(-1)
    assert.equal("last words\0", link:messages())
    assert.same({ 4004, true }, { link:state().close_code, link:state().killed })
  end)

  it("does not wait for a server that breaks the protocol to read", function()
    for room = 0, 3 do
      local link = unit.websocket()
      link:take "\xff"
      link:write(room)
      assert.is_true(link:state().killed)
      assert.equal("a frame with a reserved bit", link:state().words)
    end
  end)

  it("keeps what comes behind a pause, wherever that falls, and goes on with it", function()
    local bytes = frame "one" .. frame("t", 0x01) .. frame("p", PING) .. frame("wo", 0x80)
      .. frame "" .. frame "four"
    for cut = 1, #bytes do
      for pause = 1, 6 do
        local link = unit.websocket()
        link:pause_after(pause)
        link:take(bytes:sub(1, cut))
        if not link:state().may_read then
          assert.is_false(link:resume())
          link:pause(false)
          link:resume()
        end
        assert.is_true(link:state().may_read)
        link:take(bytes:sub(cut + 1))
        link:pause(false)
        link:resume()
        assert.equal("one\0two\0\0four\0", link:messages())
        assert.same({ { PONG, "p" } }, frames_of(link:write()))
      end
    end
  end)

  it("does not look at what is kept before it may, and then reads on", function()
    local link = unit.websocket()
    link:pause_after(1)
    link:take(frame "one" .. frame "two" .. frame "three")
    assert.equal("one\0", link:messages())
    assert.is_false(link:state().may_read)
    link:pause_after(1)
    link:pause(false)
    assert.is_true(link:resume())
    assert.equal("one\0two\0", link:messages())
    assert.is_false(link:state().reading)
    link:pause(false)
    assert.is_true(link:resume())
    assert.same({ "one\0two\0three\0", true }, { link:messages(), link:state().reading })
    link:pause_after(1)
    link:take(frame "four" .. frame "five")
    link:pause(false)
    assert.is_true(link:resume())
    assert.equal("one\0two\0three\0four\0five\0", link:messages())
  end)

  it("takes what comes while something is kept behind it", function()
    local link = unit.websocket()
    link:pause_after(1)
    link:take(frame "one" .. frame "two")
    link:pause(false)
    assert.is_false(link:state().may_read)
    link:take(frame "three")
    assert.equal("one\0", link:messages())
    assert.is_true(link:resume())
    assert.equal("one\0two\0three\0", link:messages())
  end)

  it("that is paused from the start takes one read, and no other", function()
    local link = unit.websocket(1000, true)
    assert.is_true(link:state().may_read)
    link:take(frame "one")
    assert.same({ "", false }, { link:messages(), link:state().may_read })
    link:pause(false)
    link:resume()
    assert.same({ "one\0", true }, { link:messages(), link:state().may_read })
  end)

  it("that is paused hears the answer to its own close", function()
    local link = unit.websocket()
    link:pause_after(1)
    link:take(frame "one" .. frame "two" .. close(1000))
    link:close(1000, "")
    link:write()
    assert.is_true(link:resume())
    assert.is_true(link:state().killed)
    assert.equal("one\0", link:messages())
  end)
end)

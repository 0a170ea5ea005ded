-- shard.c: from bytes to events: boundaries, interest, caps.
local helper = require "helper"
local witness = require "witness"

local function names(actions)
  local list = {}
  for _, event in ipairs(helper.pick(actions, "event")) do
    if not event.own then list[#list + 1] = event.name end
  end
  return table.concat(list, " ")
end

describe("interest", function()
  it("what nobody hears moves the sequence and goes no further", function()
    local d = helper.drive():reach "ready"
    d.machine:interest({ "MESSAGE_CREATE" })
    assert.equal("", names(d:receive(helper.dispatch("TYPING_START", 2))))
    assert.equal("MESSAGE_CREATE", names(d:receive(helper.dispatch("MESSAGE_CREATE", 3))))
    assert.equal("", names(d:receive(helper.dispatch("MESSAGE_CREATE_", 4))))
    assert.equal("", names(d:receive(helper.dispatch("MESSAGE_CREAT", 5))))
    local status = d.machine:status()
    assert.equal(5, status.seq)
    assert.equal(3, status.counts.events_skipped)
  end)

  it("R19 filtering does not touch READY, RESUMED and the sequence", function()
    local d = helper.drive()
    d.machine:interest({})
    d:reach "resuming"
    d:receive(helper.dispatch("TYPING_START", 2))
    assert.equal("", names(d:receive(helper.dispatch("RESUMED", 3))))
    assert.equal("ready", d.machine.state)
    assert.equal(3, d.machine:status().seq)
  end)

  it("takes no beginning of a name for the name", function()
    local d, seq = helper.drive():reach "ready", 1
    for _, name in ipairs { "MESSAGE_CREATE", "GUILD_MEMBER_UPDATE", "TYPING_START" } do
      d.machine:interest({ name })
      for n = 1, #name - 1 do
        seq = seq + 1
        assert.equal("", names(d:receive(helper.dispatch(name:sub(1, n), seq))))
      end
    end
  end)

  it("holds three hundred names, and every one of them", function()
    local d, list = helper.drive():reach "ready", {}
    for i = 1, 300 do list[i] = "EVENT_" .. i end
    d.machine:interest(list)
    for i = 1, 300 do
      assert.equal("EVENT_" .. i, names(d:receive(helper.dispatch("EVENT_" .. i, i + 1))))
    end
    assert.equal("", names(d:receive(helper.dispatch("EVENT_0", 302))))
    assert.equal("", names(d:receive(helper.dispatch("EVENT_301", 303))))
  end)

  it("changes while running, in both directions", function()
    local d = helper.drive():reach "ready"
    d.machine:interest({ "A" })
    assert.equal("A", names(d:receive(helper.dispatch("A", 2))))
    d.machine:interest({ "B" })
    assert.equal("", names(d:receive(helper.dispatch("A", 3))))
    d.machine:interest({}, { all = true })
    assert.equal("A", names(d:receive(helper.dispatch("A", 4))))
    d.machine:interest({})
    assert.equal("", names(d:receive(helper.dispatch("A", 5))))
  end)

  it("a dispatch without a name is only heard by those who hear all", function()
    local d = helper.drive():reach "ready"
    local actions = d:receive '{"op":0,"s":2,"d":{"x":1}}'
    assert.equal('{"x":1}', helper.pick(actions, "event", "")[1].raw)
    d.machine:interest({ "A" })
    assert.equal(0, #helper.pick(d:receive '{"op":0,"s":3,"d":{}}', "event"))
  end)
end)

describe("messages", function()
  for _, compress in ipairs(helper.compressions) do
    local kind = compress or "no compression"

    it("R46 several payloads in one WebSocket message are several messages, " .. kind, function()
      for _, heard in ipairs { { all = true }, {} } do
        local d = helper.drive { compress = compress }:reach "ready"
        d.machine:interest({ "B" }, heard)
        local text = helper.dispatch("A", 2) .. " \n" .. helper.dispatch("B", 3, '"}{"') ..
          helper.ACK .. helper.dispatch("C", 4) .. "\r\n"
        assert.equal(heard.all and "A B C" or "B", names(d:receive(text)))
        assert.equal(4, d.machine:status().seq)
        assert.equal(1, d.machine:status().counts.acks)
        assert.equal("D", names(d:receive(helper.dispatch("D", 5))) .. (heard.all and "" or "D"))
      end
    end)

    it("R50 the cap of a message: exactly is fine, one more is a named error, " .. kind, function()
      local text = helper.dispatch("BIG", 2, '"' .. ("x"):rep(100000) .. '"')
      local d = helper.drive { compress = compress, message_bytes_max = #text }:reach "ready"
      assert.equal("BIG", names(d:receive(text)))
      d = helper.drive { compress = compress, message_bytes_max = #text - 1 }:reach "ready"
      local actions = d:receive(text)
      assert.equal("EMESSAGE", helper.pick(actions, "event", "error")[1].data.code)
      assert.truthy(helper.pick(actions, "event", "error")[1].data.message:find "message_bytes_max")
      assert.equal("closing", d.machine.state)
      assert.is_string(d.machine:status().session)
    end)

    it("half a message, then the end of the connection: nothing is left, " .. kind, function()
      local d = helper.drive { compress = compress }:reach "ready"
      local half = d:encode(helper.dispatch("A", 2))
      d:feed { { half:sub(1, #half // 2), false } }
      d:closed()
      d:tick()
      d:opened()
      d:receive(helper.HELLO)
      assert.equal("A RESUMED", names(d:receive { helper.dispatch("A", 2),
        helper.dispatch("RESUMED", 3) }))
    end)
  end

  local function resume(d)
    d:closed { code = 4000 }
    d:tick()
    d:opened()
    d:receive(helper.HELLO)
    assert.equal("A", names(d:receive(helper.dispatch("A", 2))))
    d:receive(helper.dispatch("RESUMED", 3))
    assert.equal("ready", d.machine.state)
    assert.equal("B", names(d:receive(helper.dispatch("B", 4))))
  end

  for _, compress in ipairs { "zlib-stream", "zstd-stream", "payload" } do
    it("R47 a corrupt stream closes with 4000 and resumes with a fresh context, " .. compress,
      function()
        local d = helper.drive { compress = compress }:reach "ready"
        local actions = d:feed { { "\255\255\255garbage\0\0\255\255", true } }
        assert.equal("ESTREAM", helper.pick(actions, "event", "error")[1].data.code)
        assert.equal(4000, helper.pick(actions, "close")[1].code)
        assert.equal(1, d.machine:status().counts.undecodable)
        resume(d)
      end)

    it("R47 a bomb is a named error, and the session is kept, " .. compress, function()
      local d = helper.drive { compress = compress, message_bytes_max = 65536 }:reach "ready"
      local actions = d:receive(("\0"):rep(50 << 20))
      assert.equal("EMESSAGE", helper.pick(actions, "event", "error")[1].data.code)
      assert.equal(4000, helper.pick(actions, "close")[1].code)
      assert.is_true(d.machine:status().counts.bytes_inflated < 70000)
      resume(d)
    end)

    it("R47 half a message, and then nothing: a deadline ends the wait, " .. compress, function()
      for _, final in ipairs { false, true } do
        local d = helper.drive { compress = compress }:reach "ready"
        local text = d:encode(helper.dispatch("A", 2))
        local actions = d:feed { { text:sub(1, #text // 2), final } }
        -- Where a message has to be whole, that is known at once.
        local at_once = final and compress == "payload"
        assert.equal(at_once and "closing" or "ready", d.machine.state)
        local function collect(more)
          for _, action in ipairs(more) do actions[#actions + 1] = action end
        end
        if not at_once then collect(d:advance(2 * 41250 + 1000)) end
        assert.equal(1, #helper.pick(actions, at_once and "close" or "abort"))
        assert.equal(0, #helper.pick(actions, "event", "A"))
        if d.machine.state == "closing" then d:closed { code = 4000 } end
        for _ = 1, 3 do
          if d.machine.state == "backoff" then d:tick() end
        end
        d:opened()
        d:receive(helper.HELLO)
        assert.equal("A RESUMED", names(d:receive {
          helper.dispatch("A", 2), helper.dispatch("RESUMED", 3),
        }))
      end
    end)
  end

  -- With it they would keep some 80 MB.
  it("R67 a shard that stays down keeps no memory of its compression", function()
    if not helper.resident() then return pending "resident memory is not to be had here" end
    -- In a process of its own: what other specs have freed changes what the C library gives back.
    local said = witness.program [[
      local helper = require "helper"
      local down = {}
      local function stop_some(count)
        for _ = 1, count do
          local d = helper.drive { compress = "zstd-stream" }:reach "ready"
          d:input("stop", 1000)
          d:closed { code = 1000 }
          assert(d.machine.state == "idle")
          d.deflate = nil -- the peer's
          down[#down + 1] = d
        end
        collectgarbage()
        collectgarbage()
      end
      stop_some(20)
      local before = helper.resident()
      stop_some(100)
      print(helper.resident() - before)
    ]]
    local grown = assert(tonumber(said), said)
    assert.is_true(grown < 20 << 20, ("%d bytes more"):format(grown))
  end)

  it("a 20 MB message goes through, and small ones after it", function()
    local big = '"' .. ("0123456789"):rep(2000000) .. '"'
    for _, compress in ipairs(helper.compressions) do
      local d = helper.drive { compress = compress }:reach "ready"
      local event = helper.pick(d:receive(helper.dispatch("BIG", 2, big)), "event", "BIG")[1]
      assert.is_true(big == event.raw)
      assert.equal("SMALL", names(d:receive(helper.dispatch("SMALL", 3))))
    end
  end)

  it("counts what came in", function()
    local d = helper.drive():reach "ready"
    local before = d.machine:status().counts
    d:receive { helper.ACK, helper.dispatch("A", 2), '{"op":77}', "" }
    local after = d.machine:status().counts
    assert.equal(3, after.messages_in - before.messages_in)
    assert.equal(1, after.unknown_ops - before.unknown_ops)
    assert.equal(1, after.empty_messages - before.empty_messages)
    assert.equal(1, after.events_heard - before.events_heard)
    assert.equal(#helper.ACK + #helper.dispatch("A", 2) + 9, after.bytes_in - before.bytes_in)
  end)
end)

describe("a driver that does not drain", function()
  it("is asked to, and nothing is lost once it does", function()
    local d = helper.drive():reach "ready"
    local fed, seen = 1, {}
    for _ = 1, 100 do
      local text = helper.dispatch("A", fed + 1)
      local used, more = d.machine:feed(d.now, text, { connection = d.connection, final = true })
      if used == #text then fed = fed + 1 end
      if more and used == 0 then break end
    end
    assert.is_true(fed < 50)
    for action in function() return d.machine:next() end do
      if action.event and not action.event.own then seen[#seen + 1] = action.event.seq end
    end
    assert.equal(fed - 1, #seen)
    assert.equal(fed, seen[#seen])
  end)
end)

local function reconnect_often(compress)
  local d = helper.drive { compress = compress, backoff_base_ms = 0, backoff_cap_ms = 0 }
  d:reach "ready"
  local function round(i)
    d:closed()
    d:tick()
    d:opened()
    d:receive(helper.HELLO)
    d:receive(helper.dispatch("RESUMED", i))
  end
  for i = 2, 1000 do round(i) end
  collectgarbage()
  collectgarbage()
  local before = collectgarbage "count"
  for i = 1001, 10000 do round(i) end
  collectgarbage()
  collectgarbage()
  -- In kilobytes. Lua's own table of strings may double meanwhile, by 64 or 128 of them.
  assert.is_true(collectgarbage "count" - before < 200)
  assert.equal(10000, d.machine:status().counts.connects)
end

for _, compress in ipairs(helper.compressions) do
  it("R67 ten thousand reconnects keep the memory constant, " .. (compress or "no compression"),
    function() reconnect_often(compress) end)
end

describe("what lies between and behind payloads", function()
  it("R50 is not copied for each of them: many in one message take as long as they are", function()
    local function seconds(count)
      local d, list = helper.drive():reach "ready", {}
      for i = 1, count do list[i] = helper.dispatch("A", i + 1) end
      local text, from = table.concat(list), os.clock()
      local heard = #helper.pick(d:feed(helper.whole(text)), "event", "A")
      local took = os.clock() - from
      assert.equal(count, heard)
      return took
    end
    seconds(500)
    local few = seconds(4000)
    assert.is_true(seconds(32000) < 24 * few)
  end)

  it("space of every kind is stepped over, also at the end", function()
    local d = helper.drive():reach "ready"
    local gap = " \n\r\t"
    assert.equal("A B", names(d:receive(helper.dispatch("A", 2) .. gap .. helper.dispatch("B", 3)
      .. gap)))
    assert.equal("C", names(d:receive(helper.dispatch("C", 4) .. " ")))
    assert.equal("ready", d.machine.state)
  end)

  it("a dispatch without data is one", function()
    local d = helper.drive():reach "ready"
    local event = helper.pick(d:receive '{"t":"A","s":2,"op":0}', "event", "A")[1]
    assert.equal("", event.raw)
    assert.is_nil(event.data)
  end)

  it("nothing is heard where no name is", function()
    local d = helper.drive():reach "ready"
    d.machine:interest({})
    assert.equal("", names(d:receive(helper.dispatch("A", 2))))
    d.machine:interest({ "A" })
    assert.equal("A", names(d:receive(helper.dispatch("A", 3))))
  end)
end)

-- The state machine: transcripts in every cut, every (state, input) pair, every close code,
-- deadlines, ladders and limits. Driven through core.machine on a fake clock.
local helper = require "helper"
local core = require "moongate.core"

-- What an Identify is to say from now on, as options: those that a machine insists on do not count.
local function saying(options)
  options.token, options.url = "ignored", "ws://ignored"
  return options
end

local function texts(actions) return table.concat(helper.describe(actions), "\n") end

describe("transcripts", function()
  local function play_all(page, encoding, compress)
    local options = { encoding = encoding, compress = compress }
    local how = ("%s, %s"):format(encoding, compress or "no compression")

    it(("%s (%s)"):format(page.name, how), function()
      helper.play(page.text, options)
    end)

    it(("%s (%s), in any cut, gives the same"):format(page.name, how), function()
      local whole = helper.play(page.text, options)
      assert.equal(whole, (helper.play(page.text, options, helper.bytewise)))
      for n = 1, 420 do
        local cut = helper.play(page.text, options, helper.cut_at(n))
        if cut ~= whole then error(("cut at %d:\n%s"):format(n, cut)) end
      end
    end)
  end

  for _, page in ipairs(helper.transcripts()) do
    for _, compress in ipairs(helper.compressions) do
      for _, encoding in ipairs(helper.encodings) do
        -- Compressed payloads are for JSON only.
        if encoding == "json" or compress ~= "payload" then play_all(page, encoding, compress) end
      end
    end
  end

  it("a wrong page is noticed", function()
    assert.has_error(function() helper.play("+0 start\n  > connect nowhere", {}) end)
    assert.has_error(function() helper.play("+0 start\n+0 grant", {}) end)
    assert.has_error(function() helper.play("+0 start\n  > slot ask\n+99999 grant", {}) end)
  end)
end)

-- Every pair has an answer: the state that follows, and what is asked for (own events apart).
describe("every (state, input) pair", function()
  local states = { "idle", "backoff", "waiting", "connecting", "hello", "identifying", "resuming",
    "ready", "closing", "dead" }
  local open = { hello = true, identifying = true, resuming = true, ready = true }

  local function failed(d) return d:closed { phase = "connect", error = "ECONNECT" } end
  local function message(text) return function(d) return d:receive(text) end end
  local beat = "^send {\"op\":1,\"d\":[%dnul]+}$"

  -- input -> { how, default = { same state, nothing asked }, [state] = { next state, patterns } }
  local rows = {
    start = { function(d) return d:input "start" end,
      idle = { "waiting", "^slot ask$" }, dead = { "waiting", "^slot ask$" } },
    grant = { function(d) return d:input "grant" end,
      idle = { "idle", "^slot done$" }, backoff = { "backoff", "^slot done$" },
      waiting = { "connecting", "^connect wss://gateway.test/%?v=10&encoding=json$" },
      resuming = { "resuming", "^slot done$" }, ready = { "ready", "^slot done$" },
      closing = { "closing", "^slot done$" }, dead = { "dead", "^slot done$" } },
    opened = { function(d) return d:opened() end, connecting = { "hello" } },
    hello = { message(helper.HELLO),
      hello = { "identifying", "^slot spent$", '^send {"op":2' } },
    ready = { message(helper.ready("s2", 1)),
      identifying = { "ready", "^slot done$", "^event READY" },
      resuming = { "ready", "^event READY" }, ready = { "ready", "^event READY" } },
    resumed = { message(helper.dispatch("RESUMED", 9)),
      identifying = { "identifying", "^event RESUMED" },
      resuming = { "ready", "^event gap", "^event RESUMED" },
      ready = { "ready", "^event gap", "^event RESUMED" } },
    dispatch = { message(helper.dispatch("TYPING_START", 2)),
      identifying = { "identifying", "^event TYPING_START" },
      resuming = { "resuming", "^event TYPING_START" },
      ready = { "ready", "^event TYPING_START" } },
    ["op 1"] = { message '{"op":1,"d":null}', hello = { "hello", beat },
      identifying = { "identifying", beat }, resuming = { "resuming", beat },
      ready = { "ready", beat } },
    ["op 11"] = { message(helper.ACK) },
    ["op 7"] = { message '{"op":7}',
      hello = { "closing", "^slot done$", "^close 4000$" },
      identifying = { "closing", "^slot done$", "^close 4000$" },
      resuming = { "closing", "^close 4000$" }, ready = { "closing", "^close 4000$" } },
    ["op 9 true"] = { message '{"op":9,"d":true}',
      hello = { "closing", "^slot done$", "^close 4000$" },
      identifying = { "closing", "^slot done$", "^close 4000$" },
      resuming = { "closing", "^close 4000$" }, ready = { "closing", "^close 4000$" } },
    ["op 9 false"] = { message '{"op":9,"d":false}',
      hello = { "closing", "^slot done$", "^close 1000$" },
      identifying = { "closing", "^slot done$", "^close 1000$" },
      resuming = { "closing", "^close 1000$" }, ready = { "closing", "^close 1000$" } },
    ["unknown op"] = { message '{"op":99,"d":{}}' },
    ["no op"] = { message '{"d":1}' },
    ["empty message"] = { message "" },
    garbage = { message "{nonsense",
      hello = { "closing", "^event error", "^slot done$", "^close 4000$" },
      identifying = { "closing", "^event error", "^slot done$", "^close 4000$" },
      resuming = { "closing", "^event error", "^close 4000$" },
      ready = { "closing", "^event error", "^close 4000$" } },
    ["closed 1006"] = { function(d) return d:closed { code = 1006 } end,
      connecting = { "backoff", "^slot done$", "^event error" },
      hello = { "backoff", "^slot done$" }, identifying = { "backoff", "^slot done$" },
      resuming = { "backoff" }, ready = { "backoff" }, closing = { "backoff" } },
    ["closed 4009"] = { function(d) return d:closed { code = 4009 } end,
      connecting = { "backoff", "^slot done$", "^event error" },
      hello = { "backoff", "^slot done$" }, identifying = { "backoff", "^slot done$" },
      resuming = { "backoff", "^event lost" }, ready = { "backoff", "^event lost" },
      closing = { "backoff" } },
    ["closed 4004"] = { function(d) return d:closed { code = 4004 } end,
      connecting = { "backoff", "^slot done$", "^event error" },
      hello = { "dead", "^slot done$", "^event fatal" },
      identifying = { "dead", "^slot done$", "^event fatal" },
      resuming = { "dead", "^event lost", "^event fatal" },
      ready = { "dead", "^event lost", "^event fatal" },
      closing = { "dead", "^event lost", "^event fatal" } },
    ["connect failed"] = { failed,
      connecting = { "backoff", "^slot done$", "^event error" },
      hello = { "backoff", "^slot done$" }, identifying = { "backoff", "^slot done$" },
      resuming = { "backoff" }, ready = { "backoff" }, closing = { "backoff" } },
    ["tick before the deadline"] = { function(d) return d:input "tick" end },
    ["the deadline"] = { function(d)
        d.now = d.machine:deadline() or d.now
        return d:input "tick"
      end,
      backoff = { "waiting", "^slot ask$" }, waiting = { "waiting", "^slot ask$" },
      connecting = { "backoff", "^abort$", "^slot done$", "^event error" },
      hello = { "closing", "^slot done$", "^close 4000$" },
      identifying = { "identifying", beat }, resuming = { "resuming", beat },
      ready = { "ready", beat }, closing = { "backoff", "^abort$" } },
    ["two minutes of silence"] = { function(d)
        local deadline = d.machine:deadline()
        d.now = d.now + 120000
        return deadline and d:input "tick" or {}
      end,
      backoff = { "waiting", "^slot ask$" }, waiting = { "waiting", "^slot ask$" },
      connecting = { "backoff", "^abort$", "^slot done$", "^event error" },
      hello = { "closing", "^slot done$", "^close 4000$" },
      identifying = { "closing", beat, "^slot done$", "^close 4000$" },
      resuming = { "closing", beat, "^close 4000$" },
      ready = { "ready", beat }, closing = { "backoff", "^abort$" } },
    slept = { function(d) return d:input("slept", 600000) end,
      connecting = { "backoff", "^abort$", "^slot done$", "^event error" },
      hello = { "backoff", "^abort$", "^slot done$" },
      identifying = { "backoff", "^abort$", "^slot done$" },
      resuming = { "backoff", "^abort$" }, ready = { "backoff", "^abort$" },
      closing = { "backoff", "^abort$" } },
    send = { function(d) return d:input("send", '{"op":3,"d":null}') end,
      ready = { "ready", '^send {"op":3,"d":null}$' } },
    pause = { function(d) return d:input("pause", true) end },
    reconnect = { function(d) return d:input("reconnect", 4000) end,
      connecting = { "backoff", "^abort$", "^slot done$", "^event error" },
      hello = { "closing", "^slot done$", "^close 4000$" },
      identifying = { "closing", "^slot done$", "^close 4000$" },
      resuming = { "closing", "^close 4000$" }, ready = { "closing", "^close 4000$" } },
    ["identify by hand"] = { function(d)
        local actions = d:input("identify", saying { intents = 513, large_threshold = 77 })
        local refused = d.machine.state == "idle" or d.machine.state == "dead"
        assert.equal(refused and "EUSAGE" or nil, d.result[3])
        if d.machine.state == "backoff" then assert.equal(d.now, d.machine:deadline()) end
        return actions
      end },
    ["resume by hand"] = { function(d)
        local before = d.machine.state
        local session = before ~= "idle" and before ~= "dead" and d.machine:status().session
        local actions = d:input "resume"
        assert.equal(not session and "EUSAGE" or nil, d.result[3])
        return actions
      end,
      ready = { "closing", "^close 4000$" } },
    ["beat by hand"] = { function(d)
        local is_open, actions = open[d.machine.state], d:input "beat"
        assert.equal(not is_open and "ECLOSED" or nil, d.result[3])
        return actions
      end,
      hello = { "hello", beat }, identifying = { "identifying", beat },
      resuming = { "resuming", beat }, ready = { "ready", beat } },
    ["message by hand"] = { function(d)
        local is_open = open[d.machine.state]
        local text = helper.dispatch("TYPING_START", 2)
        local actions = d:input("receive", d:encode(text))
        assert.equal(not is_open and "ECLOSED" or nil, d.result[3])
        return actions
      end,
      identifying = { "identifying", "^event TYPING_START" },
      resuming = { "resuming", "^event TYPING_START" },
      ready = { "ready", "^event TYPING_START" } },
    ["stop 1000"] = { function(d) return d:input("stop", 1000) end,
      backoff = { "idle" }, waiting = { "idle", "^slot done$" },
      connecting = { "idle", "^abort$", "^slot done$" },
      hello = { "closing", "^slot done$", "^close 1000$" },
      identifying = { "closing", "^slot done$", "^close 1000$" },
      resuming = { "closing", "^close 1000$" }, ready = { "closing", "^close 1000$" } },
  }

  local function check_all(encoding, name, row)
    for _, state in ipairs(states) do
      it(("%s, %s (%s)"):format(state, name, encoding), function()
        local d = helper.drive { encoding = encoding }:reach(state)
        local lines = helper.describe(row[1](d))
        local wanted = row[state] or { state }
        assert.equal(wanted[1], d.machine.state)
        assert.equal(#wanted - 1, #lines, table.concat(lines, "\n"))
        for i, line in ipairs(lines) do
          local pattern = wanted[i + 1]:gsub("encoding=json", "encoding=" .. encoding)
          assert.truthy(line:match(pattern), line .. " is not " .. pattern)
        end
        local final = d.machine.state == "idle" or d.machine.state == "dead"
        assert.equal(final, d.machine:deadline() == nil, "every state but the final has a deadline")
        if open[d.machine.state] then assert.equal(d.connection, d.machine:status().connection) end
      end)
    end
  end

  for name, row in pairs(rows) do
    for _, encoding in ipairs(helper.encodings) do check_all(encoding, name, row) end
  end
end)

describe("close codes", function()
  local final = { [4004] = true, [4010] = true, [4011] = true, [4012] = true, [4013] = true,
    [4014] = true }
  local fresh = { [4003] = true, [4006] = true, [4007] = true, [4009] = true }

  it("R40 R41 R29 each of the 65,536 has its class; 1000 and 1001 are resume-first", function()
    for code = 0, 65535 do
      local d = helper.drive():reach "ready"
      local actions = d:closed { code = code }
      local status = d.machine:status()
      if final[code] then
        assert.equal("dead", status.state, code)
        local fatal = helper.pick(actions, "event", "fatal")[1]
        assert.equal(code, fatal.data.code)
        assert.is_string(fatal.data.remedy)
      else
        assert.equal("backoff", status.state, code)
        assert.equal(fresh[code] == nil, status.session ~= nil, code)
      end
      d.machine:close()
    end
  end)

  it("R28 what keeps the session on purpose never sends 1000 or 1001", function()
    for _, text in ipairs { '{"op":7}', '{"op":9,"d":true}', "garbage" } do
      local d = helper.drive():reach "ready"
      local close = helper.pick(d:receive(text), "close")[1]
      assert.equal(4000, close.code)
      assert.is_string(d.machine:status().session)
    end
  end)

  it("R28 stop with 1000 ends the session, with 4000 keeps it for the next start", function()
    for _, code in ipairs { 1000, 4000 } do
      local d = helper.drive():reach "ready"
      d:input("stop", code)
      d:closed { code = code }
      assert.equal("idle", d.machine.state)
      local actions = d:input "start"
      local wanted = code == 1000 and "slot_ask" or "connect"
      assert.equal(1, #helper.pick(actions, wanted))
    end
  end)

  it("the close event says what happens next", function()
    local d = helper.drive():reach "ready"
    local close = helper.pick(d:closed { code = 4009, reason = "too\255late" }, "event", "close")[1]
    assert.same({ code = 4009, reason = "too?late", name = "SESSION_TIMED_OUT", was_clean = true,
      by = "server", resumable = false, will_reconnect = true, retry_in = close.data.retry_in },
      close.data)
    assert.is_number(close.data.retry_in)
  end)
end)

describe("sessions", function()
  it("R23 three resumes in a row go to the resume host with the same query", function()
    local d = helper.drive { compress = "zlib-stream" }:reach "ready"
    for round = 1, 3 do
      d:closed()
      local connect = helper.pick(d:tick(), "connect")[1]
      assert.equal("wss://resume.test/?v=10&encoding=json&compress=zlib-stream", connect.url)
      d:opened()
      d:receive(helper.HELLO)
      d:receive(helper.dispatch("RESUMED", 1 + round))
      assert.equal("ready", d.machine.state)
    end
  end)

  it("R24 a dead resume host gives way to the main URL, still resuming", function()
    local d = helper.drive():reach "ready"
    d:closed()
    local hosts = {}
    for _ = 1, 4 do
      local actions = d:tick()
      hosts[#hosts + 1] = helper.pick(actions, "connect")[1].url:match "//([^/]+)"
      assert.is_true(helper.pick(actions, "event", "connect")[1].data.resuming)
      d:closed { phase = "upgrade", error = "EUPGRADE", http_status = 503 }
    end
    assert.same({ "resume.test", "resume.test", "gateway.test", "gateway.test" }, hosts)
  end)

  it("R25 five resumes without RESUMED, then a new session", function()
    local d = helper.drive():reach "ready"
    d:closed()
    for round = 1, 5 do
      assert.equal(1, #helper.pick(d:tick(), "connect"), round)
      d:opened()
      assert.truthy(texts(d:receive(helper.HELLO)):match '"op":6')
      local lost = helper.pick(d:closed { code = 1006 }, "event", "lost")
      assert.equal(round == 5 and 1 or 0, #lost)
    end
    assert.truthy(texts(d:tick()):match "slot ask")
  end)

  it("R25 a resume that brought an event and was cut is none of the five", function()
    local d = helper.drive():reach "ready"
    d:closed()
    local function resume(...)
      d:tick()
      d:opened()
      d:receive { helper.HELLO, ... }
      return helper.pick(d:closed { code = 1006 }, "event", "lost")
    end
    assert.same({}, resume(helper.dispatch("A", 2)))
    for _ = 1, 4 do assert.same({}, resume()) end
    assert.equal(1, #resume())
  end)

  it("R35 an outage in which READY never comes is no reason to identify ever again", function()
    local d = helper.drive { backoff_base_ms = 0 }:reach "hello"
    local ends = 24 * 3600 * 1000
    while d.now < ends do
      if d.machine.state == "waiting" then d:input "grant" end
      if d.machine.state == "connecting" then d:opened() end
      if d.machine.state == "hello" then d:receive(helper.HELLO) end
      if d.machine.state == "closing" then d:closed { code = 4000 } end
      for _, action in ipairs(d:tick()) do
        if action.type == "send" and action.packet.op == 1 then d:receive(helper.ACK) end
      end
    end
    local identifies = d.machine:status().counts.identifies
    assert.is_true(identifies > 100 and identifies < 288, identifies .. " identifies")
  end)

  it("R30 null never overwrites the sequence, 0 is a number, a repeat is dropped", function()
    local d = helper.drive():reach "ready"
    d:receive('{"t":null,"s":null,"op":11,"d":null}')
    d:receive(helper.dispatch("TYPING_START", nil))
    assert.equal(1, d.machine:status().seq)
    assert.same({}, d:receive(helper.dispatch("TYPING_START", 1)))
    assert.equal(1, d.machine:status().counts.events_repeated)
    local zero = helper.drive():reach "identifying"
    zero:receive(helper.ready("s1", 0))
    assert.equal(0, zero.machine:status().seq)
    zero:closed()
    zero:tick()
    zero:opened()
    assert.truthy(texts(zero:receive(helper.HELLO)):match '"seq":0')
  end)

  it("a resume URL in the clear is not used where the main URL is secret", function()
    local d = helper.drive():reach "identifying"
    d:receive(helper.ready("s1", 1, "ws://resume.test"))
    d:closed()
    assert.equal("wss://gateway.test/?v=10&encoding=json", helper.pick(d:tick(), "connect")[1].url)
  end)

  it("R23 the path of a resume URL is kept to the letter, and its query is not", function()
    for given, used in pairs {
      ["wss://resume.test"] = "wss://resume.test/",
      ["wss://resume.test/"] = "wss://resume.test/",
      ["wss://resume.test/a/b"] = "wss://resume.test/a/b",
      ["wss://resume.test/a/?x=/"] = "wss://resume.test/a/",
      ["wss://resume.test?x=/"] = "wss://resume.test/",
    } do
      local d = helper.drive { session = { id = "old", url = given, seq = 41 } }
      assert.equal(("connect %s?v=10&encoding=json"):format(used), texts(d:input "start"))
    end
  end)

  it("a session given in the options is resumed without a slot", function()
    local d = helper.drive { session = { id = "old", url = "wss://resume.test", seq = 41 } }
    assert.equal("connect wss://resume.test/?v=10&encoding=json", texts(d:input "start"))
    d:opened()
    assert.truthy(texts(d:receive(helper.HELLO)):match '"session_id":"old","seq":41')
  end)

  it("a message that stays undecodable drops the session at the third time", function()
    local d = helper.drive():reach "ready"
    for round = 1, 3 do
      d:receive "{nonsense"
      d:closed { code = 4000 }
      assert.equal(round < 3, d.machine:status().session ~= nil)
      if round == 3 then break end
      d:tick()
      d:opened()
      d:receive(helper.HELLO)
    end
  end)

  it("R50 a message refused by its header counts like one that was undecodable", function()
    local d = helper.drive():reach "ready"
    for round = 1, 3 do
      local actions = d:closed { code = 1006, error = "EMESSAGE", detail = "too large" }
      local event = helper.pick(actions, "event", "error")[1].data
      assert.equal("EMESSAGE", event.code)
      assert.truthy(event.message:find("message_bytes_max", 1, true))
      assert.equal(round < 3, d.machine:status().session ~= nil)
      assert.equal(round < 3 and 0 or 1, #helper.pick(actions, "event", "lost"))
      if round == 3 then break end
      d:tick()
      d:opened()
      d:receive(helper.HELLO)
    end
  end)

  it("R49 four empty messages in a row are tolerated, the fifth reconnects", function()
    local d = helper.drive():reach "ready"
    for _ = 1, 4 do assert.same({}, d:receive "") end
    d:receive(helper.ACK)
    for _ = 1, 4 do assert.same({}, d:receive "") end
    assert.equal("close 4000", texts(d:receive ""))
  end)

  it("R54 unknown events and any type of d pass through", function()
    local d = helper.drive():reach "ready"
    for i, text in ipairs { "null", "true", "1.5", '"x"', "[]", "[1,2]", "{}", '{"a":{}}' } do
      local event = helper.pick(d:receive(helper.dispatch("NEW_THING", i + 1, text)), "event")[1]
      assert.equal(text, event.raw)
    end
    assert.equal("ready", d.machine.state)
  end)
end)

describe("liveness", function()
  it("R1 a silent connection is aborted once, at the second beat, and resumed", function()
    local d = helper.drive():reach "ready"
    local actions = d:advance(2 * 41250)
    assert.equal(1, #helper.pick(actions, "abort"))
    assert.equal(1, #helper.pick(actions, "send"))
    assert.equal(1, #helper.pick(actions, "connect"))
  end)

  it("R2 R3 what one connection owed does not burden the next", function()
    local d = helper.drive { backoff_base_ms = 0, backoff_cap_ms = 0 }:reach "ready"
    for round = 1, 50 do
      d:advance(40000)
      d:closed()
      d:tick()
      d:opened()
      d:receive(('{"op":10,"d":{"heartbeat_interval":%d}}'):format(1000 + round))
      d:receive(helper.dispatch("RESUMED", 1 + round))
    end
    local beats = 0
    for _ = 1, 60 do
      beats = beats + #helper.pick(d:advance(1050), "send")
      d:receive(helper.ACK)
    end
    assert.is_true(beats >= 59 and beats <= 60, beats)
  end)

  it("R4 traffic is life for two intervals, not for ever", function()
    local d = helper.drive():reach "ready"
    local first = d:tick()
    assert.equal(1, #helper.pick(first, "send"))
    local aborted
    for i = 1, 400 do
      local actions = d:advance(1000)
      if #helper.pick(actions, "abort") > 0 then
        aborted = i
        break
      end
      d:receive(helper.dispatch("TYPING_START", i + 1))
    end
    assert.is_true(aborted >= 41 and aborted <= 124, aborted)
  end)

  it("has no latency before the first acknowledgement of a connection", function()
    for _, state in ipairs { "idle", "waiting", "connecting", "hello", "ready" } do
      assert.is_nil(helper.drive():reach(state).machine:status().latency_ms, state)
    end
    local d = helper.drive():reach "ready"
    d:tick()
    d.now = d.now + 25
    d:receive(helper.ACK)
    assert.equal(25, d.machine:status().latency_ms)
  end)

  it("R9 a beat asked for leaves at once and does not move the timer", function()
    local d = helper.drive():reach "ready"
    local deadline = d.machine:deadline()
    assert.equal('send {"op":1,"d":1}', texts(d:receive '{"op":1,"d":null}'))
    assert.equal(deadline, d.machine:deadline())
    d:receive '{"op":7}'
    assert.same({}, d:receive '{"op":1,"d":null}')
  end)

  it("R57 while reading is paused beats go on and silence is not judged", function()
    local d = helper.drive():reach "ready"
    d:input("pause", true)
    local actions = d:advance(20 * 41250)
    assert.equal(20, #helper.pick(actions, "send"))
    assert.equal(0, #helper.pick(actions, "abort"))
    d:input("pause", false)
    assert.equal(0, #helper.pick(d:advance(41250), "abort"))
    assert.equal(1, #helper.pick(d:advance(41250), "abort"))
  end)

  it("R31 a status is settled when every event up to its sequence has been handed over", function()
    local d = helper.drive():reach "identifying"
    local piece = { connection = d.connection, final = true }
    assert.is_true(d.machine:status().settled)
    d.machine:feed(d.now, helper.ready("abc", 1), piece)
    local before, handed = 0, false
    for action in function() return d.machine:next() end do
      handed = handed or action.type == "event" and action.event.name == "READY"
      local status = d.machine:status()
      assert.equal(1, status.seq)
      if not handed then
        before = before + 1
        assert.is_false(status.settled)
      end
    end
    assert.same({ true, true, true }, { before > 0, handed, d.machine:status().settled })
  end)

  describe("R17 a driver that says when a shard connects", function()
    local SESSION = { session = { id = "abc", url = "wss://r.test", seq = 5 } }

    it("starts it in line, where it waits for its tick as long as that takes", function()
      local d = helper.drive(SESSION)
      assert.same({}, helper.pick(d:input "line_up", "connect"))
      assert.same({ "backoff", d.now, d.now }, { d.machine.state, d.machine:deadline(),
        d.machine:resumes_at() })
      d.now = d.now + 3600000
      assert.equal(1, #helper.pick(d:tick(), "connect"))
      assert.is_nil(d.machine:resumes_at())
      assert.same({ nil, "EUSAGE" }, { select(1, d.machine:line_up(d.now)),
        select(3, d.machine:line_up(d.now)) })
    end)

    it("starts one without a session in the line of the identify slots", function()
      local d = helper.drive()
      d:input "line_up"
      assert.is_nil(d.machine:resumes_at())
      assert.equal(1, #helper.pick(d:tick(), "slot_ask"))
      assert.equal("waiting", d.machine.state)
    end)

    it("is asked each time, whatever the wait was: no tick ends and begins a connection", function()
      local d = helper.drive { backoff_base_ms = 0, backoff_cap_ms = 0 }:reach "ready"
      repeat -- until it is a zombie
        local actions = d:tick(d.machine:deadline())
        local aborted = #helper.pick(actions, "abort") > 0
        if aborted then assert.same({}, helper.pick(actions, "connect")) end
      until aborted
      assert.same({ "backoff", d.now }, { d.machine.state, d.machine:resumes_at() })
    end)
  end)

  describe("R57 a shard whose events nobody takes", function()
    local REASON = "event queue full"

    it("leaves with a code that keeps the session, and comes back after a while", function()
      local d = helper.drive():reach "ready"
      local actions = d:input("leave", REASON)
      local close = helper.pick(actions, "close")[1]
      assert.same({ 4000, REASON }, { close.code, close.reason })
      -- What comes now comes again with the resume.
      assert.same({}, d:receive(helper.dispatch("MESSAGE_CREATE", 2)))
      d:closed { code = 4000 }
      assert.same({ "backoff", d.now + 5000 }, { d.machine.state, d.machine:deadline() })
      d:tick(d.now + 5000)
      d:opened()
      assert.matches('"seq":1', texts(helper.pick(d:receive(helper.HELLO), "send")))
    end)

    it("waits no longer than the back-off may", function()
      local d = helper.drive { backoff_cap_ms = 0, backoff_base_ms = 0 }:reach "ready"
      d:input("leave", REASON)
      d:closed { code = 4000 }
      assert.equal(d.now, d.machine:deadline())
    end)

    it("is a hundred times away without a longer wait, an identify or a lost session", function()
      local d = helper.drive():reach "ready"
      for number = 1, 100 do
        d:input("leave", REASON)
        d:closed { code = 4000 }
        assert.equal(d.now + 5000, d.machine:deadline())
        d:tick(d.now + 5000)
        d:opened()
        d:receive(helper.HELLO)
        d:receive(helper.dispatch("RESUMED", number + 1))
        assert.equal("ready", d.machine.state)
      end
      local counts = d.machine:status().counts
      assert.same({ 1, 100 }, { counts.identifies, counts.resumed })
      d:closed { code = 1006 } -- and a real failure is the first one
      assert.is_true(d.machine:deadline() - d.now <= 250)
    end)

    it("goes on with a resume until it brings something, and with all that cost an identify",
      function()
        local d = helper.drive():reach "resuming"
        d:input("leave", REASON)
        assert.equal("resuming", d.machine.state)
        d:receive(helper.dispatch("MESSAGE_CREATE", 2))
        d:input("leave", REASON)
        assert.equal("closing", d.machine.state)
        for _, state in ipairs { "waiting", "connecting", "hello", "identifying", "backoff",
          "closing" } do
          d = helper.drive():reach(state)
          local deadline = d.machine:deadline()
          d:input("leave", REASON)
          assert.same({ state, deadline }, { d.machine.state, d.machine:deadline() })
        end
      end)
  end)

  it("R8 the first beat is due at a random part of the interval, from the seed", function()
    local low, high = 0, 0
    for seed = 1, 200 do
      local d = helper.drive { seed = seed }:reach "identifying"
      local wait = d.machine:deadline() - d.now
      assert.is_true(wait >= 0 and wait < 41250)
      if wait < 41250 / 4 then low = low + 1 end
      if wait > 41250 * 3 / 4 then high = high + 1 end
    end
    assert.is_true(low > 25 and high > 25)
    local a = helper.drive { seed = 5 }:reach "identifying"
    local b = helper.drive { seed = 5 }:reach "identifying"
    assert.equal(a.machine:deadline(), b.machine:deadline())
  end)

  it("R10 a machine that slept drops the connection and resumes at once", function()
    local d = helper.drive():reach "ready"
    assert.equal("abort", texts(d:input("slept", 600000)))
    assert.equal(d.now, d.machine:deadline())
    assert.equal(1, #helper.pick(d:tick(), "connect"))
  end)

  it("R12 R13 what belongs to an old connection is ignored", function()
    local d = helper.drive():reach "ready"
    local old = d.connection
    d:closed()
    d:tick()
    for _, step in ipairs { function() d:opened() end, function() d:receive(helper.HELLO) end,
      function() d:receive(helper.dispatch("RESUMED", 2)) end } do
      d:input("closed", old, { code = 4004 })
      d:input("opened", old)
      local used = d.machine:feed(d.now, "{garbage", { connection = old, final = true })
      assert.equal(8, used)
      step()
    end
    assert.equal("ready", d.machine.state)
  end)

  it("R11 a close that is not answered ends at its deadline", function()
    local d = helper.drive():reach "closing"
    assert.equal(d.now + 3000, d.machine:deadline())
    assert.equal("abort", texts(d:tick()))
    assert.equal("backoff", d.machine.state)
  end)

  it("READY is waited for as long as dispatches come", function()
    local d = helper.drive():reach "resuming"
    for i = 2, 40 do
      d:advance(30000)
      d:receive(helper.dispatch("TYPING_START", i))
      d:receive(helper.ACK)
      assert.equal("resuming", d.machine.state)
    end
    local actions = {}
    for _ = 1, 5 do
      for _, action in ipairs(d:advance(30000)) do actions[#actions + 1] = action end
      if d.machine.state ~= "resuming" then break end
      d:receive(helper.ACK)
    end
    assert.equal("no RESUMED", helper.pick(actions, "close")[1].reason)
  end)
end)

describe("waiting before the next attempt", function()
  it("R16 full jitter below base x 2^n up to the cap, for refusals and quick closes", function()
    local function waits(fail, seed)
      local d = helper.drive { seed = seed, session = { id = "s", url = "", seq = 1 } }
      d:input "start"
      local list = {}
      for i = 1, 60 do
        fail(d)
        list[i] = d.machine:deadline() - d.now
        d:tick()
      end
      return list
    end
    local refused = waits(function(d) d:closed { phase = "connect", error = "ECONNECT" } end, 3)
    local dropped = waits(function(d)
      d:opened()
      d:closed()
    end, 3)
    assert.same(refused, dropped)
    local high = 0
    for i, wait in ipairs(refused) do
      local limit = i == 1 and 250 or math.min(60000, 1000 * 2 ^ (i - 2))
      assert.is_true(wait >= 0 and wait < limit, ("%d: %d of %d"):format(i, wait, limit))
      high = math.max(high, wait)
    end
    assert.is_true(high > 50000)
  end)

  it("the ladder begins anew only after a connection that lasted", function()
    local d = helper.drive { session = { id = "s", url = "", seq = 1 } }
    d:input "start"
    for _ = 1, 10 do
      d:closed { phase = "connect", error = "ECONNECT" }
      d:tick()
    end
    d:opened()
    d:receive(helper.HELLO)
    d:receive(helper.dispatch("RESUMED", 2))
    d:advance(30000)
    d:receive(helper.ACK)
    d:closed()
    assert.is_true(d.machine:deadline() - d.now < 250)
  end)

  it("R26 R27 after op 9 at least a random second, at most about five", function()
    for _, flag in ipairs { "true", "false" } do
      local low, high = math.huge, 0
      for seed = 1, 60 do
        local d = helper.drive { seed = seed, backoff_base_ms = 0, backoff_cap_ms = 0 }
        d:reach "ready"
        d:advance(31000)
        d:receive(helper.ACK)
        d:receive('{"op":9,"d":' .. flag .. "}")
        d:closed { code = 4000 }
        local wait = d.machine:deadline() - d.now
        low, high = math.min(low, wait), math.max(high, wait)
      end
      assert.is_true(low >= 1000 and low < 1500, low)
      assert.is_true(high <= 5000 and high > 4500, high)
    end
  end)

  it("R35 identifies that lead nowhere have a ladder of their own: below 600 a day", function()
    for _, answer in ipairs { 1011, 4008, "op 9" } do
      local d = helper.drive()
      d:input "start"
      local identifies = 0
      while d.now < 24 * 3600 * 1000 do
        if d.machine.state == "waiting" then
          d:input "grant"
          d:opened()
          d:receive(helper.HELLO)
          identifies = identifies + 1
          if answer == "op 9" then d:receive '{"op":9,"d":false}' end
          d:closed { code = type(answer) == "number" and answer or 1000 }
        end
        d:tick()
      end
      assert.is_true(identifies > 200 and identifies < 600, identifies)
    end
  end)

  it("R43 a refused upgrade names its status and is not tried before Retry-After", function()
    for _, status in ipairs { 401, 403, 429, 500, 503, 520 } do
      local d = helper.drive():reach "connecting"
      local actions = d:closed { phase = "upgrade", error = "EUPGRADE", http_status = status,
        retry_after_ms = 90000 }
      local event = helper.pick(actions, "event", "error")[1].data
      assert.equal("EUPGRADE", event.code)
      assert.equal(status, event.http_status)
      assert.truthy(event.message:find("HTTP " .. status, 1, true))
      assert.is_true(d.machine:deadline() - d.now >= 90000)
    end
  end)

  it("R69 an error names the phase, the cause and a remedy", function()
    local cases = {
      { "resolve", "ERESOLVE", "host name not resolved", "DNS" },
      { "connect", "ECONNECT", "refused", "host is up" },
      { "tls", "ECERTIFICATE", "certificate", "ca_file" },
      { "upgrade", "EUPGRADE", "upgrade refused", "gateway" },
    }
    for _, case in ipairs(cases) do
      local d = helper.drive():reach "connecting"
      local event = helper.pick(d:closed { phase = case[1], error = case[2] }, "event", "error")[1]
      assert.equal(case[1], event.data.phase)
      assert.equal(case[2], event.data.code)
      assert.truthy(event.data.message:find("connect to wss://gateway.test/:", 1, true))
      assert.truthy(event.data.message:find(case[3], 1, true), event.data.message)
      assert.truthy(event.data.message:find(case[4], 1, true), event.data.message)
    end
  end)
end)

-- What bots send: `n` tells one from another.
local function presence(n)
  return ('{"op":3,"d":{"since":null,"activities":[],"status":"idle","n":%d}}'):format(n)
end
local function voice(n)
  return ('{"op":4,"d":{"guild_id":"7","channel_id":null,"n":%d}}'):format(n)
end
local function members(guild, n, what)
  return ('{"op":8,"d":{"guild_id":"%d",%s,"nonce":"%d"}}'):format(guild,
    what or '"query":"","limit":0', n)
end
local function limited(seq, fields)
  return helper.dispatch("RATE_LIMITED", seq, "{" .. fields .. "}")
end

local function numbers(actions)
  local list = {}
  for _, send in ipairs(helper.pick(actions, "send")) do list[#list + 1] = send.packet.d.n end
  return list
end
local function nonces(actions)
  local list = {}
  for _, send in ipairs(helper.pick(actions, "send")) do
    if send.packet.op == 8 then list[#list + 1] = send.packet.d.nonce end
  end
  return list
end

-- Time passes on a connection that lives: every beat is acknowledged. The beats are left out.
local function quiet(d, ms)
  local all, target = {}, d.now + ms
  repeat
    local due = d.machine:deadline()
    local step = due and due <= target and math.max(due - d.now, 0) or target - d.now
    local actions = d:advance(step)
    for _, action in ipairs(actions) do
      if action.type == "send" and action.packet.op == 1 then
        for _, more in ipairs(d:receive(helper.ACK)) do actions[#actions + 1] = more end
      end
    end
    for _, action in ipairs(actions) do
      action.at_ms = d.now
      if action.type ~= "send" or action.packet.op ~= 1 then all[#all + 1] = action end
    end
  until d.now >= target
  return all
end

-- From any state on: what is sent by the user until the shard is ready and has settled.
local function until_ready(d)
  local all, connection = {}, d.connection
  local function add(actions)
    for _, action in ipairs(actions) do
      local own = action.type == "send" and (action.packet.op == 3 or action.packet.op == 4
        or action.packet.op == 8)
      if own then all[#all + 1] = action end
    end
  end
  if d.machine.state == "closing" then add(d:closed { code = 4000 }) end
  if d.machine.state == "backoff" then add(d:tick()) end
  if d.machine.state == "waiting" then add(d:input "grant") end
  if d.machine.state == "connecting" then add(d:opened()) end
  if d.machine.state == "hello" then add(d:receive(helper.HELLO)) end
  local resumes = d.machine.state == "resuming"
  add(d:receive(resumes and helper.dispatch "RESUMED" or helper.ready("s" .. connection)))
  assert.equal("ready", d.machine.state)
  add(quiet(d, 0))
  return all
end

-- Holds one packet against every limit, with what left before on this connection and before it.
local function judge_send(seen, packet, now_ms)
  local function within(list, most, window)
    list[#list + 1] = now_ms
    local before = list[#list - most]
    assert.is_true(not before or now_ms - before >= window, "too many in " .. window)
  end
  within(seen.all, 120, 60000)
  if packet.op == 3 then
    within(seen.presences, 5, 20000)
    assert.is_true(packet.d.n > (seen.presence or 0))
    seen.presence = packet.d.n
  elseif packet.op == 4 then
    assert.is_true(packet.d.n > (seen.voices[#seen.voices] or 0), "order")
    table.insert(seen.voices, packet.d.n)
  else
    local guild = packet.d.guild_id
    seen.guilds[guild] = seen.guilds[guild] or {}
    within(seen.guilds[guild], 1, 30000)
    seen.members = (seen.members or 0) + 1
  end
end

describe("sending", function()
  local COMMAND = '{"op":4,"d":null}'

  it("R62 is refused when idle or dead, and kept in every other state", function()
    for _, state in ipairs { "idle", "dead" } do
      local d = helper.drive():reach(state)
      d:input("send", COMMAND)
      assert.equal("ECLOSED", d.result[3])
    end
    for _, state in ipairs { "backoff", "waiting", "connecting", "hello", "identifying", "resuming",
      "closing" } do
      local d = helper.drive():reach(state)
      assert.same({}, helper.pick(d:input("send", COMMAND), "send"))
      assert.is_true(d.result[1], state)
      assert.equal(1, d.machine:status().outbox_commands)
    end
  end)

  it("a second greeting is refused, as the gateway would close (4005)", function()
    local d = helper.drive():reach "ready"
    for _, text in ipairs { '{"op":2,"d":{}}', '{"d":{},"op":6}' } do
      assert.same({}, d:input("send", text))
      assert.equal("EUSAGE", d.result[3])
    end
  end)

  it("what is kept goes out in order after READY", function()
    local d = helper.drive():reach "identifying"
    for i = 1, 100 do d:input("send", ('{"op":4,"d":%d}'):format(i)) end
    local actions = d:receive(helper.ready())
    for _, action in ipairs(d:advance(0)) do actions[#actions + 1] = action end
    local sends = helper.pick(actions, "send")
    assert.equal(100, #sends)
    for i, send in ipairs(sends) do assert.equal(i, send.packet.d) end
  end)

  it("R60 never more than 120 in any 60 s, and every beat on time", function()
    local d = helper.drive():reach "ready"
    local times, beats, sent = {}, {}, 0
    local function look(actions)
      for _, send in ipairs(helper.pick(actions, "send")) do
        times[#times + 1] = d.now
        if send.packet.op == 1 then beats[#beats + 1] = d.now end
      end
    end
    for _ = 1, 1000 do
      d:input("send", COMMAND)
      if d.result[1] then sent = sent + 1 end
    end
    while d.now < 600000 do
      look(d:tick())
      d:receive(helper.ACK)
      while d:input("send", COMMAND) and d.result[1] do sent = sent + 1 end
    end
    assert.is_true(sent > 1000)
    for i = 1, #times - 120 do
      assert.is_true(times[i + 120] - times[i] >= 60000, i)
    end
    for i = 2, #beats do assert.equal(41250, beats[i] - beats[i - 1]) end
  end)

  it("R60 places for the beats of the interval stay free", function()
    local d = helper.drive():reach "hello"
    d:receive '{"op":10,"d":{"heartbeat_interval":10000}}'
    d:receive(helper.ready())
    local sent = 0
    for _ = 1, 130 do sent = sent + #helper.pick(d:input("send", COMMAND), "send") end
    assert.equal(120 - 9 - 1, sent) -- nine places are kept, one took the Identify
  end)

  it("over 4096 bytes is refused, 4096 is not", function()
    local d = helper.drive():reach "ready"
    d:input("send", ("x"):rep(4097))
    assert.equal("EPAYLOAD", d.result[3])
    d:input("send", '"' .. ("x"):rep(4094) .. '"')
    assert.is_true(d.result[1])
  end)

  it("a full outbox refuses, and loses nothing of what it took", function()
    local d = helper.drive():reach "identifying"
    for _ = 1, 256 do
      d:input("send", COMMAND)
      assert.is_true(d.result[1])
    end
    d:input("send", COMMAND)
    assert.equal("EBUSY", d.result[3])
    assert.equal(256, d.machine:status().outbox_commands)
  end)

  it("a command that waits too long is given up with an error", function()
    local d = helper.drive { send_timeout_ms = 1000, connect_timeout_ms = 99000 }
    d:reach "connecting"
    d:input("send", COMMAND)
    local actions = d:advance(1000)
    local event = helper.pick(actions, "event", "error")[1]
    assert.equal("ETIMEOUT", event.data.code)
    assert.equal("send", event.data.phase)
    assert.equal(0, d.machine:status().outbox_commands)
  end)

  it("R61 R62 what has waited too long is given up, whatever it waited for", function()
    local d = helper.drive { send_timeout_ms = 50000 }:reach "ready"
    for i = 1, 4 do d:input("send", members(7, i)) end -- due at 0, 30.5, 61, 91.5 s
    d:input("send", members(8, 5))
    local actions = quiet(d, 200000)
    assert.same({ "2" }, nonces(actions))
    local errors = helper.pick(actions, "event", "error")
    assert.equal(2, #errors)
    for _, event in ipairs(errors) do
      assert.same({ "ETIMEOUT", "send" }, { event.data.code, event.data.phase })
      assert.truthy(event.data.message:find("send_timeout", 1, true))
    end
    assert.equal(0, d.machine:status().outbox_commands)
  end)

  it("R62 a storm of presences: five in 20 s, then the newest, and no error", function()
    local d = helper.drive():reach "ready"
    local seen = {}
    local function look(actions)
      for _, send in ipairs(helper.pick(actions, "send")) do
        if send.packet.op == 3 then seen[#seen + 1] = { d.now, send.packet.d.n } end
      end
      assert.same({}, helper.pick(actions, "event", "error"))
    end
    for i = 1, 300 do
      look(d:input("send", presence(i)))
      assert.is_true(d.result[1])
    end
    assert.equal(1, d.machine:status().outbox_commands)
    look(quiet(d, 20499))
    assert.equal(5, #seen)
    look(quiet(d, 1))
    assert.same({ 20500, 300 }, seen[6])
    assert.equal(6, #seen)
    assert.equal(0, d.machine:status().outbox_commands)
    for i = 301, 303 do look(d:input("send", presence(i))) end
    assert.same({ 301, 302, 303 }, { seen[7][2], seen[8][2], seen[9][2] })
  end)

  it("R62 of the presences set while away only the newest goes, in the first's place", function()
    for _, state in ipairs { "backoff", "waiting", "connecting", "hello", "identifying", "resuming",
      "closing" } do
      local d = helper.drive():reach(state)
      for _, text in ipairs { voice(1), presence(2), voice(3), presence(4), presence(5),
        voice(6) } do
        d:input("send", text)
        assert.is_true(d.result[1], state)
      end
      assert.equal(4, d.machine:status().outbox_commands)
      assert.same({ 1, 5, 3, 6 }, numbers(until_ready(d)), state)
    end
  end)

  it("R61 all members of a guild once in 30 s: a later one waits, others overtake", function()
    local d = helper.drive():reach "ready"
    assert.same({ "1" }, nonces(d:input("send", members(7, 1))))
    assert.same({}, nonces(d:input("send", members(7, 2))))
    assert.same({}, nonces(d:input("send", members(7, 3))))
    assert.same({ "4" }, nonces(d:input("send", members(8, 4))))
    assert.same({ 5 }, numbers(d:input("send", voice(5))))
    assert.same({ "6" }, nonces(d:input("send", members(7, 6, '"user_ids":["1"]'))))
    assert.same({ "7" }, nonces(d:input("send", members(7, 7, '"query":"ad","limit":0'))))
    assert.same({ "8" }, nonces(d:input("send", members(7, 8, '"query":"","limit":10'))))
    assert.same({}, nonces(quiet(d, 30499)))
    assert.same({ "2" }, nonces(quiet(d, 1)))
    assert.same({}, nonces(quiet(d, 30499)))
    assert.same({ "3" }, nonces(quiet(d, 1)))
  end)

  it("R61 however a request for all members is written", function()
    for _, what in ipairs { '"query":"","limit":0', '"limit":0,"query":""', '"query":""',
      '"query":"","limit":0.0', '"query":"","limit":null,"user_ids":null',
      '"query":"","limit":0,"presences":true', '"a":{"user_ids":["1"]},"query":""' } do
      for _, id in ipairs { '"7"', "7" } do
        local d = helper.drive():reach "ready"
        d:input("send", members(7, 1))
        local text = ('{"d":{%s,"nonce":"2","guild_id":%s},"op":8}'):format(what, id)
        assert.same({}, nonces(d:input("send", text)), text)
        assert.same({ "2" }, nonces(quiet(d, 30500)), text)
      end
    end
  end)

  it("R60 R61 R62 the same of ETF", function()
    local d = helper.drive { encoding = "etf" }:reach "ready"
    local guild = 613425648685547541 -- over 53 bits: a snowflake, which the twin says as an integer
    local json = require("moongate_unit").json
    local function etf_of(text) return assert(json.rewrite(text, 0, nil, "etf")) end
    assert.same({ "1" }, nonces(d:input("send", etf_of(members(guild, 1)))))
    assert.same({}, nonces(d:input("send", require "twin"(members(guild, 2)))))
    assert.same({ "3" }, nonces(d:input("send", etf_of(members(guild, 3, '"user_ids":"5"')))))
    for i = 1, 9 do d:input("send", etf_of(presence(i))) end
    assert.equal(2, d.machine:status().outbox_commands)
    d:receive(limited(2, ('"opcode":4,"retry_after":25.5,"meta":{"guild_id":"7"}')))
    assert.same({}, numbers(d:input("send", etf_of(voice(10)))))
    assert.same({ 9 }, numbers(quiet(d, 20500)))
    assert.same({ 10 }, numbers(quiet(d, 5001)))
    assert.same({ "2" }, nonces(quiet(d, 4999)))
  end)

  it("R61 a command that says it oddly is never held", function()
    for _, text in ipairs { '{"op":8}', '{"op":8,"d":null}', '{"op":8,"d":[]}', '{"op":8,"d":{}}',
      '{"op":8,"d":{"query":"","limit":0}}', '{"op":8,"d":{"guild_id":"x","query":"","limit":0}}',
      '{"op":8,"d":{"guild_id":["7"],"query":"","limit":0}}', '{"d":1}', "7", '"text"',
      '{"op":8,"d":{"guild_id":"99999999999999999999","query":""}}' } do
      local d = helper.drive():reach "ready"
      d:input("send", members(7, 1))
      for _ = 1, 20 do assert.equal(1, #helper.pick(d:input("send", text), "send"), text) end
    end
  end)

  it("R61 a guild is remembered on a new connection, presences are not", function()
    for _, code in ipairs { 4000, 1000 } do
      local d = helper.drive():reach "ready"
      d:input("send", members(7, 1))
      for i = 1, 6 do d:input("send", presence(i)) end
      d:input("send", members(7, 2))
      d:input("reconnect", code, "")
      d:closed { code = code }
      d:input("send", voice(9))
      local actions, began = until_ready(d), d.now
      assert.is_true(began < 20000)
      assert.same({ 6, 9 }, numbers(actions))
      assert.same({}, nonces(actions))
      for i = 11, 14 do assert.same({ i }, numbers(d:input("send", presence(i)))) end
      assert.same({}, numbers(d:input("send", presence(15))))
      assert.same({ "2" }, nonces(quiet(d, 30500 - d.now)))
      assert.equal(30500, d.now)
    end
  end)

  it("R61 RATE_LIMITED is obeyed whoever listens, and delivered to who does", function()
    for _, all in ipairs { true, false } do
      local d = helper.drive():reach "ready"
      d.machine:interest({}, { all = all })
      local events = helper.pick(d:receive(limited(2, '"opcode":8,"retry_after":12.5,' ..
        '"meta":{"nonce":"r","guild_id":"7"}')), "event", "RATE_LIMITED")
      assert.equal(all and 1 or 0, #events)
      assert.same({}, nonces(d:input("send", members(7, 1))))
      assert.same({}, nonces(d:input("send", members(7, 2, '"user_ids":"5"'))))
      assert.same({ "3" }, nonces(d:input("send", members(8, 3))))
      assert.same({ 4 }, numbers(d:input("send", voice(4))))
      assert.same({}, nonces(quiet(d, 12500)))
      assert.same({ "1", "2" }, nonces(quiet(d, 1)))
      d:receive(limited(2, '"opcode":4,"retry_after":60,"meta":{}')) -- again: a replay
      assert.same({ 5 }, numbers(d:input("send", voice(5))))
      d:receive(limited(3, '"opcode":4,"retry_after":60'))
      assert.same({}, numbers(d:input("send", voice(6))))
      assert.same({ 6 }, numbers(quiet(d, 60001)))
    end
  end)

  it("R61 what RATE_LIMITED cannot mean is not obeyed, and a long one is cut", function()
    for _, d_of in ipairs { "", '"opcode":4', '"retry_after":9', '"opcode":4,"retry_after":0',
      '"opcode":4,"retry_after":-5', '"opcode":4,"retry_after":"9"', '"opcode":"4","retry_after":9',
      '"opcode":-4,"retry_after":9', '"opcode":99999999999,"retry_after":9',
      '"opcode":4,"retry_after":9,"meta":{"guild_id":"x"}',
      '"opcode":4,"retry_after":9,"meta":{"guild_id":["1"]}' } do
      local d = helper.drive():reach "ready"
      d:receive(limited(2, d_of))
      assert.same({ 1 }, numbers(d:input("send", voice(1))), d_of)
      assert.equal("ready", d.machine.state)
    end
    for _, long in ipairs { "300", "1e300", "9007199254740991" } do
      local d = helper.drive { send_timeout_ms = 900000 }:reach "ready"
      d:receive(limited(2, '"opcode":4,"meta":[{"guild_id":"5"}],"retry_after":' .. long))
      assert.same({}, numbers(d:input("send", voice(1))))
      assert.same({}, numbers(quiet(d, 299999)))
      assert.same({ 1 }, numbers(quiet(d, 1)), long)
    end
  end)

  it("R60 R61 R62 whatever is sent whenever: limits and order hold, and all of it leaves",
    function()
      local rounds = 0
      for seed = 1, 20 do
        math.randomseed(seed)
        local d = helper.drive { send_timeout_ms = 3600000, seed = seed }:reach "ready"
        local seen = { all = {}, presences = {}, guilds = {}, beats = {}, voices = {} }
        local function look(actions)
          for _, send in ipairs(helper.pick(actions, "send")) do
            judge_send(seen, send.packet, send.at_ms or d.now)
          end
        end
        local accepted = { presence = 0, members = 0, voice = 0 }
        for n = 1, 700 do
          local chance, kind = math.random(), "voice"
          if chance < 0.3 then kind = "presence" elseif chance < 0.5 then kind = "members" end
          look(d:input("send", kind == "presence" and presence(n) or kind == "voice" and voice(n)
            or members(math.random(4), n)))
          if not d.result[1] then
            assert.equal("EBUSY", d.result[3])
          else
            accepted[kind] = kind == "presence" and n or accepted[kind] + 1
          end
          look(quiet(d, math.random() < 0.02 and math.random(60000) or math.random(400)))
          if math.random() < 0.005 then
            look(d:input("reconnect", 4000, ""))
            d:closed { code = 4000 }
            seen.all, seen.presences, seen.beats = {}, {}, {}
            look(until_ready(d))
            rounds = rounds + 1
          end
        end
        look(quiet(d, 3000000))
        assert.equal(0, d.machine:status().outbox_commands)
        assert.equal(accepted.voice, #seen.voices)
        assert.equal(accepted.members, seen.members)
        assert.equal(accepted.presence, seen.presence)
      end
      assert.is_true(rounds > 20)
    end)

  it("R68 the trace shows what leaves and hides the token", function()
    for _, start in ipairs { "hello", "resuming" } do
      local d = helper.drive()
      d.machine:interest({}, { send = true, receive = true })
      d:reach(start)
      local actions = start == "hello" and d:receive(helper.HELLO) or d:receive '{"op":1}'
      for _, event in ipairs(helper.pick(actions, "event")) do
        assert.is_nil(event.raw:find("TOKEN", 1, true))
      end
      local sent = helper.pick(actions, "event", "send")[1]
      assert.is_number(sent.data.op)
      if start == "hello" then assert.equal("(hidden)", sent.data.d.token) end
      assert.is_table(helper.pick(actions, "event", "receive")[1].data)
    end
  end)

  it("R68 nothing but the greeting holds the token", function()
    local d = helper.drive()
    local all = {}
    for _, step in ipairs { "start", "grant" } do
      for _, action in ipairs(d:input(step)) do all[#all + 1] = action end
    end
    for _, action in ipairs(d:closed { phase = "tls", error = "ETLS" }) do
      all[#all + 1] = action
    end
    for _, line in ipairs(helper.describe(all, true)) do
      assert.is_nil(line:find("TOKEN", 1, true), line)
    end
    assert.is_nil(tostring(d.machine):find("TOKEN", 1, true))
  end)
end)

describe("by hand", function()
  it("identify says something else from then on, whatever was said before", function()
    local d = helper.drive { properties = { browser = "b" }, presence = '{"status":"idle"}' }
    d:reach "hello"
    assert.equal(0, #d:input("identify", saying { intents = 1, large_threshold = 99,
      properties = { os = "o", device = "d" } }))
    local identify = helper.pick(d:receive(helper.HELLO), "send")[1].packet.d
    assert.same({ 1, 99, "o", "b", "d", "idle" }, { identify.intents, identify.large_threshold,
      identify.properties.os, identify.properties.browser, identify.properties.device,
      identify.presence.status })
    assert.equal("TOKEN.of.tests", identify.token)
    d:receive(helper.ready())
    d:input("send", '{"op":3,"d":{"status":"dnd"}}')
    d:input("identify", saying {
      intents = 2, presence = '{"status":"online"}', properties = { browser = "c" },
    })
    d:closed { code = 4007 }
    d:tick()
    d:input "grant"
    d:opened()
    identify = helper.pick(d:receive(helper.HELLO), "send")[1].packet.d
    assert.same({ 2, 99, "online", "o", "c", "d" }, { identify.intents, identify.large_threshold,
      identify.presence.status, identify.properties.os, identify.properties.browser,
      identify.properties.device })
  end)

  it("identify keeps what it said where the new would be refused", function()
    local d = helper.drive { presence = '{"status":"idle"}' }
    d:reach "hello"
    d:input("identify", saying { intents = 1, presence = "no JSON" })
    assert.equal("EVALUE", d.result[3])
    d:input("identify", saying {
      intents = 1, presence = ('{"a":"%s"}'):format(("x"):rep(4096)),
    })
    assert.equal("EPAYLOAD", d.result[3])
    local identify = helper.pick(d:receive(helper.HELLO), "send")[1].packet.d
    assert.same({ 513, "idle" }, { identify.intents, identify.presence.status })
  end)

  it("identify and resume end a wait: a session is resumed, else the slot is asked for", function()
    for _, verb in ipairs { "identify", "resume" } do
      local d = helper.drive { backoff_base_ms = 50000 }
      d:reach "ready"
      for _ = 1, 3 do
        d:closed { code = 1006 }
        d:tick()
      end
      d:closed { phase = "connect", error = "ECONNECT" }
      d:input(verb)
      assert.is_true(d.result[1])
      assert.equal(d.now, d.machine:deadline())
      assert.equal(1, #helper.pick(d:tick(d.now), "connect"))
      d:opened()
      assert.equal(6, helper.pick(d:receive(helper.HELLO), "send")[1].packet.op)
    end
    local d = helper.drive():reach "backoff"
    d:input "resume"
    assert.equal("EUSAGE", d.result[3])
    d:input "identify"
    assert.equal("slot_ask", d:tick(d.now)[1].type)
  end)

  it("beats are held where the minute is used up, the timer's are not", function()
    local d = helper.drive():reach "ready"
    local beats = 0
    repeat
      beats = beats + #helper.pick(d:input "beat", "send")
    until not d.result[1]
    assert.equal("EBUSY", d.result[3])
    assert.is_true(beats > 100 and beats < 120, beats)
    assert.equal("send", d:tick()[1].type)
  end)

  it("a message goes between two others, even in the middle of one", function()
    for _, wire in ipairs(helper.wires) do
      local d = helper.drive(wire):reach "ready"
      local bytes, binary = d:encode(helper.dispatch("TYPING_START", 2, '{"a":"' .. ("y"):rep(99)
        .. '"}'))
      local middle = #bytes // 2
      assert.equal(0, #d:feed({ { bytes:sub(1, middle), false } }, binary))
      local plain = helper.drive { encoding = wire.encoding }
      local hand = plain:encode(helper.dispatch("BY_HAND", nil, '{"b":1}'))
      assert.equal("BY_HAND", helper.pick(d:input("receive", hand), "event")[1].name)
      local events = helper.pick(d:feed({ { bytes:sub(middle + 1), true } }, binary), "event")
      assert.equal("TYPING_START", events[1].name)
      assert.equal(2, d.machine:status().seq)
    end
  end)

  it("a message is no sign of life, and what is none has no consequences", function()
    local d = helper.drive():reach "ready"
    d:tick()
    for _, text in ipairs { "", "{nonsense", '{"op":0}{"op":0}', ("["):rep(200) } do
      assert.equal(0, #d:input("receive", text))
      assert.is_nil(d.result[1])
    end
    assert.equal("ready", d.machine.state)
    d:input("receive", helper.dispatch("A", 2) .. " \r\n")
    assert.is_true(d.result[1])
    assert.equal("backoff", (d:tick() and d.machine.state))
  end)

  it("a HELLO and an ACK by hand do what they would", function()
    local d = helper.drive():reach "hello"
    d:input("receive", helper.HELLO)
    assert.equal("identifying", d.machine.state)
    d:receive(helper.ready())
    d:tick()
    d.now = d.now + 30
    d:input("receive", helper.ACK)
    assert.equal(30, d.machine:status().latency_ms)
  end)

  it("no message is taken before what came of the last ones", function()
    local d = helper.drive():reach "ready"
    local machine, taken = d.machine, 0
    for seq = 2, 40 do
      if machine:receive(d.now, helper.dispatch("A", seq)) then taken = seq end
    end
    assert.is_true(taken > 2 and taken < 40)
    assert.equal("EBUSY", select(3, machine:receive(d.now, helper.dispatch("A", 50))))
  end)

  it("what goes over the wire is counted, in all and of a connection", function()
    local d = helper.drive():reach "ready"
    local before = d.machine:status()
    assert.is_true(before.counts.bytes_out > 100)
    local beat = helper.pick(d:input "beat", "send")[1].bytes
    assert.equal(before.counts.bytes_out + #beat, d.machine:status().counts.bytes_out)
    d:closed { code = 4009 }
    d:tick()
    d:input "grant"
    d:opened()
    assert.same({ bytes_in = 0, bytes_out = 0, messages_in = 0, messages_out = 0 },
      d.machine:status().traffic)
    d:receive(helper.HELLO)
    local after = d.machine:status()
    assert.equal(#helper.HELLO, after.traffic.bytes_in)
    assert.equal(1, after.traffic.messages_out)
    assert.is_true(after.counts.bytes_in > after.traffic.bytes_in)
    assert.same({ [4009] = 1 }, after.counts.closes)
  end)

  it("closes are counted by code, and those that are too many together", function()
    local d = helper.drive { backoff_base_ms = 0, backoff_cap_ms = 0 }
    for code = 4100, 4130 do
      d:input(code == 4100 and "start" or "tick")
      d:tick()
      d:input "grant"
      d:opened()
      d:closed { code = code }
    end
    local closes = d.machine:status().counts.closes
    assert.equal(1, closes[4100])
    assert.equal(1, closes[4122])
    assert.is_nil(closes[4123])
    assert.equal(8, closes.other)
  end)
end)

describe("identify", function()
  it("carries what the options say, and only that", function()
    local first = '{"since":null,"activities":[],"status":"dnd","afk":false}'
    local d = helper.drive {
      intents = 37377, shard_id = 1, shard_count = 4, large_threshold = 250, presence = first,
      properties = { os = "bsd", browser = "lib", device = "dev" },
    }:reach "hello"
    local sent = helper.pick(d:receive(helper.HELLO), "send")[1]
    assert.equal('{"op":2,"d":{"token":"TOKEN.of.tests","intents":37377,"properties":' ..
      '{"os":"bsd","browser":"lib","device":"dev"},"large_threshold":250,"shard":[1,4],' ..
      '"presence":' .. first .. "}}", sent.bytes)
    assert.is_false(sent.binary)
  end)

  it("one that the gateway would refuse for its size is refused at once", function()
    local long = ('{"status":"%s"}'):format(("x"):rep(4000))
    local machine, message, code = core.machine { token = "t", url = "ws://h", presence = long }
    assert.is_nil(machine)
    assert.is_string(message)
    assert.equal("EPAYLOAD", code)
    assert.equal("EVALUE", select(3, core.machine { token = "t", url = "ws://h", presence = "{" }))
  end)

  it("a HELLO without a sane interval is undecodable", function()
    for _, d in ipairs { "null", "{}", '{"heartbeat_interval":0}',
      '{"heartbeat_interval":"x"}', '{"heartbeat_interval":99999999}',
      '{"a":{"heartbeat_interval":41250}}', '[{"heartbeat_interval":41250}]' } do
      local driven = helper.drive():reach "hello"
      driven:receive('{"op":10,"d":' .. d .. "}")
      assert.equal("closing", driven.machine.state, d)
    end
  end)

  it("a READY without a session id is undecodable, an over-long resume URL is ignored", function()
    local d = helper.drive():reach "identifying"
    d:receive '{"t":"READY","s":1,"op":0,"d":{"session_id":5}}'
    assert.equal("closing", d.machine.state)
    d = helper.drive():reach "identifying"
    d:receive(helper.ready("s1", 1, "wss://" .. ("x"):rep(600)))
    assert.equal("ready", d.machine.state)
    d:closed()
    assert.truthy(helper.pick(d:tick(), "connect")[1].url:find("gateway.test", 1, true))
  end)

  it("R32 READY and RESUMED that come again are dropped like any other repeat", function()
    local d = helper.drive():reach "ready"
    d:receive(helper.dispatch("A", 2))
    assert.same({}, helper.pick(d:receive(helper.ready()), "event"))
    assert.same({}, helper.pick(d:receive(helper.dispatch("RESUMED", 2)), "event"))
    assert.equal(2, d.machine:status().seq)
    assert.equal(2, d.machine:status().counts.events_repeated)
    assert.equal("READY", helper.pick(d:receive(helper.ready("s2", 1)), "event")[1].name)
  end)

  it("R25 what was poisoned in one session is not held against the next", function()
    local d = helper.drive():reach "ready"
    local function poison()
      local said = d:receive "{"
      for _, action in ipairs(d:closed { code = 4000 }) do said[#said + 1] = action end
      return helper.pick(said, "event", "lost")
    end
    local function resume()
      d:tick()
      d:opened()
      d:receive(helper.HELLO)
    end
    for _ = 1, 2 do
      assert.same({}, poison())
      resume()
    end
    d:closed { code = 4009 }
    d:tick()
    d:input "grant"
    d:opened()
    d:receive { helper.HELLO, helper.ready("s2", 1) }
    for _ = 1, 2 do
      assert.same({}, poison())
      resume()
    end
    assert.equal(1, #poison())
  end)
end)

it("knows the version and the name of every state", function()
  assert.equal("idle", core.machine {
    token = "t", url = "ws://h", shard_count = 1 }.state)
end)

describe("session: what hardly ever comes", function()
  it("a READY of the same session is new when its sequence is, or when it has none", function()
    local d = helper.drive():reach "ready"
    local function readies(text) return #helper.pick(d:receive(text), "event", "READY") end
    assert.equal(0, readies(helper.ready("s1", 1)))
    assert.equal(1, readies(helper.ready("s1", 5)))
    assert.equal(5, d.machine:status().seq)
    assert.equal(1, readies((helper.ready("s1"):gsub('"s":1,', '"s":null,', 1))))
    assert.equal(0, d.machine:status().seq)
  end)

  it("1001 ends a session as 1000 does", function()
    local d = helper.drive():reach "ready"
    d:input("reconnect", 1001)
    d:closed()
    assert.is_nil(d.machine:status().session)
    assert.equal("backoff", d.machine.state)
  end)

  it("a presence that is nested too deeply is refused before anything runs", function()
    local deep = ('{"a":'):rep(200) .. "1" .. ("}"):rep(200)
    local fine, message = pcall(helper.drive, { presence = deep })
    assert.is_false(fine)
    assert.is_string(message)
    fine = pcall(helper.drive, { presence = '{"status":' })
    assert.is_false(fine)
  end)
end)

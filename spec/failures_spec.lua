-- failures_spec.lua: what went wrong in other gateway clients, provoked here. Each title begins
-- with the number of the rule that prevents it; failures.lua lists them all. The pure machine on a
-- fake clock first; real sockets, at the end, only where the socket is the point.

local helper = require "helper"
local moongate = require "moongate"
local paper = require "paper"
local unit = require "moongate_unit"
local witness = require "witness"

local function texts(actions) return table.concat(helper.describe(actions), "\n") end

local function shift(list, more)
  for _, action in ipairs(more) do list[#list + 1] = action end
end

local function is_final(d) return d.machine.state == "idle" or d.machine.state == "dead" end

-- What a gateway that means well does next. Returns what that was answered with.
local function mean_well(d)
  local state, seq = d.machine.state, d.machine:status().seq or 0
  if state == "backoff" then return d:tick() end
  if state == "waiting" then return d:input "grant" end
  if state == "connecting" then return d:opened() end
  if state == "hello" then return d:receive(helper.HELLO) end
  if state == "identifying" then return d:receive(helper.ready("s" .. d.connection, 1)) end
  if state == "resuming" then return d:receive(helper.dispatch("RESUMED", seq + 1)) end
  if state == "closing" then return d:closed { code = 1006 } end
  error("nothing to do in state " .. state)
end

-- Means well until the shard is in `state`. Returns all actions on the way.
local function lead(d, state)
  local all = {}
  for _ = 1, 60 do
    if d.machine.state == state then return all end
    shift(all, mean_well(d))
  end
  error(("from %s to %s in vain"):format(d.machine.state, state), 2)
end

describe("the way back", function()
  local function message(text) return function(d) return d:receive(text) end end

  local faults = {
    cut = function(d) return d:closed { code = 1006 } end,
    closed_by_peer = function(d) return d:closed { code = 4000 } end,
    unknown_code = function(d) return d:closed { code = 4999 } end,
    session_gone = function(d) return d:closed { code = 4009 } end,
    refused = function(d)
      return d:closed { phase = "upgrade", error = "EUPGRADE", http_status = 503 }
    end,
    no_memory = function(d) return d:closed { phase = "", error = "EMEMORY" } end,
    too_large = function(d) return d:closed { code = 1006, error = "EMESSAGE" } end,
    reconnect_asked = message '{"op":7,"d":null}',
    invalid = message '{"op":9,"d":false}',
    invalid_resumable = message '{"op":9,"d":true}',
    undecodable = message "{nonsense",
    hello_again = message(helper.HELLO),
    odd_ready = message '{"t":"READY","s":1,"op":0,"d":null}',
    empty = function(d)
      local all = {}
      for _ = 1, 5 do shift(all, d:receive "") end
      return all
    end,
    slept = function(d) return d:input("slept", 3600000) end,
    own_reconnect = function(d) return d:input("reconnect", 4000) end,
    silence = function(d) return d:advance(600000) end,
    early_tick = function(d) return d:input "tick" end,
  }
  local names = {}
  for name in pairs(faults) do names[#names + 1] = name end
  table.sort(names)

  local function check(d, what)
    if not is_final(d) and not d.machine:deadline() then
      error(("%s: no deadline in state %s"):format(what, d.machine.state))
    end
  end

  for _, state in ipairs { "backoff", "waiting", "connecting", "hello", "identifying", "resuming",
    "ready", "closing" } do
    it(("R15 is found after every error in state %s, and a deadline is always armed"):format(state),
      function()
        for _, name in ipairs(names) do
          local d = helper.drive():reach(state)
          faults[name](d)
          check(d, name)
          local began = d.now
          for _ = 1, 60 do
            if d.machine.state == "ready" then break end
            mean_well(d)
            check(d, name)
          end
          assert.equal("ready", d.machine.state, name)
          assert.is_true(d.now - began < 60000, name)
        end
      end)
  end

  it("R15 is found after any two hundred errors, whatever their order", function()
    for seed = 1, 20 do
      math.randomseed(seed)
      local d = helper.drive { seed = seed }
      d:input "start"
      for step = 1, 200 do
        local name = names[math.random(#names)]
        if math.random() < 0.6 and d.machine.state ~= "ready" then
          name = "mean_well"
          mean_well(d)
        else
          faults[name](d)
        end
        check(d, ("seed %d, step %d, %s"):format(seed, step, name))
      end
      local began = d.now
      lead(d, "ready")
      assert.is_true(d.now - began < 700000, seed) -- the ladder of failed identifies ends at 600 s
    end
  end)

  it("R14 leaves every phase at its deadline, to the millisecond", function()
    for state, wanted in pairs {
      waiting = { 60000, "slot_ask" }, connecting = { 30000, "abort" }, hello = { 20000, "close" },
      identifying = { 120000, "close" }, resuming = { 120000, "close" },
      closing = { 3000, "abort" },
    } do
      local d = helper.drive():reach(state)
      local began, found = d.now, nil
      while not found and d.now - began <= wanted[1] do
        local actions = d:tick()
        found = helper.pick(actions, wanted[2])[1]
        if helper.pick(actions, "send")[1] then d:receive(helper.ACK) end
      end
      assert.truthy(found, state)
      assert.equal(wanted[1], d.now - began, state)
      assert.is_number(d.machine:deadline())
    end
  end)

  it("R19 op 7 in the middle of a replay loses nothing of it", function()
    local d = helper.drive():reach "resuming"
    for seq = 2, 6 do
      assert.equal(1, #helper.pick(d:receive(helper.dispatch("A", seq)), "event", "A"))
      assert.equal("resuming", d.machine.state)
    end
    assert.equal("close 4000", texts(d:receive '{"op":7,"d":null}'))
    d:closed { code = 4000 }
    assert.equal("connect wss://resume.test/?v=10&encoding=json", texts(d:tick()))
    d:opened()
    assert.truthy(texts(d:receive(helper.HELLO)):find('"session_id":"s1","seq":6', 1, true))
    lead(d, "ready")
    assert.equal(1, d.machine:status().counts.identifies)
  end)

  it("R18 op 7 as the very first frame, and again, is nothing but another turn", function()
    local d = helper.drive():reach "ready"
    for _ = 1, 4 do
      d:closed()
      d:tick()
      d:opened()
      assert.equal("close 4000", texts(d:receive '{"op":7,"d":null}')) -- before HELLO
      assert.same({}, d:receive '{"op":7,"d":null}') -- and behind our close
    end
    d:closed()
    lead(d, "ready")
    assert.equal(1, d.machine:status().counts.identifies)
  end)

  it("R34 on op 7 there is one connection at a time, and a late close holds nothing up", function()
    local d = helper.drive():reach "ready"
    local old, asked_at = d.connection, d.now
    assert.equal("close 4000", texts(d:receive '{"op":7,"d":null}'))
    local actions = d:advance(3000)
    local first = helper.pick(actions, "abort")[1]
    assert.equal(old, first.connection)
    shift(actions, d:advance(300))
    assert.equal(1, #helper.pick(actions, "connect"))
    lead(d, "ready")
    assert.is_true(d.now - asked_at < 3500)
    d.now = asked_at + 5000
    assert.same({}, d:input("closed", old, { code = 4009 }))
    assert.equal("ready", d.machine.state)
    assert.is_string(d.machine:status().session)
  end)
end)

describe("a session", function()
  it("R21 is ready at READY, whether its guilds come or not", function()
    local d = helper.drive():reach "identifying"
    d:input("send", '{"op":3,"d":null}')
    local actions = d:receive('{"t":"READY","s":1,"op":0,"d":{"session_id":"s","guilds":[' ..
      '{"id":"1","unavailable":true},{"id":"2","unavailable":true}]}}')
    assert.equal(1, #helper.pick(actions, "event", "READY"))
    assert.equal(1, #helper.pick(actions, "send"))
    assert.equal("ready", d.machine.state)
    for _ = 1, 10 do
      for _, action in ipairs(d:tick()) do assert.equal("send", action.type) end
      d:receive(helper.ACK)
    end
    assert.equal("ready", d.machine.state)
  end)

  for _, url in ipairs { "wss://resume.test", "" } do
    local host = url == "" and "the main URL" or "the resume host"

    it("R27 op 9 on " .. host .. ": true resumes, false identifies at the main URL", function()
      local d = helper.drive { session = { id = "old", url = url, seq = 41 } }
      d:input "start"
      d:opened()
      d:receive(helper.HELLO)
      assert.equal("close 4000", texts(d:receive '{"op":9,"d":true}'))
      d:closed { code = 4000 }
      assert.is_true(d.machine:deadline() - d.now >= 1000)
      local main = "wss://gateway.test"
      assert.equal(("connect %s/?v=10&encoding=json"):format(url == "" and main or url),
        texts(d:tick()))
      d:opened()
      assert.truthy(texts(d:receive(helper.HELLO)):find('"op":6', 1, true))
      local actions = d:receive '{"op":9,"d":false}'
      assert.equal("close 1000", texts(actions))
      actions = d:closed { code = 1000 }
      assert.equal(1, #helper.pick(actions, "event", "lost"))
      assert.is_true(d.machine:deadline() - d.now >= 1000)
      assert.equal("slot ask", texts(d:tick()))
      assert.equal(("connect %s/?v=10&encoding=json"):format(main), texts(d:input "grant"))
      d:opened()
      assert.truthy(texts(d:receive(helper.HELLO)):find('"op":2', 1, true))
    end)
  end

  it("R26 op 9 false, sent twice or followed by a close, costs one identify", function()
    local invalid = '{"op":9,"d":false}'
    for _, code in ipairs { 1000, 1006, 4009 } do
      for times = 1, 3 do
        local d = helper.drive { seed = times, backoff_base_ms = 0, backoff_cap_ms = 0 }
        d:reach "ready"
        d:advance(31000) -- it lasted, so no ladder stands behind the wait
        d:receive(helper.ACK)
        local all = {}
        for _ = 1, times do shift(all, d:receive(invalid)) end
        shift(all, d:closed { code = code })
        local closed_at = d.now
        shift(all, lead(d, "waiting"))
        assert.is_true(d.now - closed_at >= 1000)
        shift(all, lead(d, "ready"))
        shift(all, d:input "grant") -- a slot nobody wants is given back
        assert.equal(1, #helper.pick(all, "slot_ask"))
        assert.equal(1, #helper.pick(all, "slot_spent"))
        assert.equal(1, #helper.pick(all, "event", "lost"))
        assert.equal(2, d.machine:status().counts.identifies)
      end
    end
  end)

  it("R24 from a store is given up in time when its host is dead", function()
    local d = helper.drive { session = { id = "old", url = "wss://resume.test", seq = 41 } }
    local hosts, answered = {}, false
    d:input "start"
    for _ = 1, 40 do
      if d.machine.state == "connecting" then
        local host = d.machine:status().url:match "//([^/]+)"
        hosts[#hosts + 1] = host
        if host == "resume.test" then
          d:closed { phase = "upgrade", error = "EUPGRADE", http_status = 503 }
        else
          d:opened()
        end
      elseif d.machine.state == "resuming" and not answered then
        answered = true
        d:receive '{"op":9,"d":false}'
      elseif d.machine.state == "ready" then
        break
      else
        mean_well(d)
      end
    end
    assert.equal("ready", d.machine.state)
    assert.is_true(answered)
    assert.same({ "resume.test", "resume.test", "gateway.test", "gateway.test" }, hosts)
    assert.is_true(d.now < 30000, d.now)
  end)

  it("R25 R57 a resume that brings events is no failed one, however often it is cut", function()
    local d = helper.drive():reach "ready"
    local lost = {}
    for seq = 2, 30 do
      shift(lost, helper.pick(d:closed(), "event", "lost"))
      lead(d, "resuming")
      d:receive(helper.dispatch("A", seq))
    end
    for _ = 1, 5 do
      shift(lost, helper.pick(d:closed(), "event", "lost"))
      lead(d, "resuming")
    end
    assert.same({}, lost)
    assert.equal(30, d.machine:status().seq)
    assert.equal(1, #helper.pick(d:closed(), "event", "lost"))
  end)

  it("R32 reports what is missing, and drops and counts what it had", function()
    local d = helper.drive():reach "ready"
    local gap = helper.pick(d:receive(helper.dispatch("A", 5)), "event", "gap")[1]
    assert.same({ expected = 2, got = 5 }, gap.data)
    assert.same({ "event gap " .. '{"expected":6,"got":7}', "event A {}" },
      helper.describe(d:receive(helper.dispatch("A", 7))))
    for _, seq in ipairs { 7, 7, 6, 2 } do
      assert.same({}, d:receive(helper.dispatch("A", seq)))
    end
    assert.same({ "event A {}" }, helper.describe(d:receive(helper.dispatch("A", 8))))
    assert.equal(4, d.machine:status().counts.events_repeated)
    assert.equal(2, d.machine:status().counts.gaps)
    assert.equal(8, d.machine:status().seq)
  end)

  it("R33 resumes at once while others wait for their identify", function()
    local slots = unit.slots(1)
    local stuck = helper.drive { shard_id = 0, shard_count = 3 }
    local waiting = helper.drive { shard_id = 2, shard_count = 3 }
    local back = helper.drive { shard_id = 1, shard_count = 3,
      session = { id = "old", url = "wss://resume.test", seq = 41 } }
    for id, d in pairs { [0] = stuck, [2] = waiting } do
      for _ = 1, #helper.pick(d:input "start", "slot_ask") do slots:ask(id) end
    end
    local holder = slots:next(0)
    local held = holder == 0 and stuck or waiting
    held:input "grant"
    held:opened()
    held:receive(helper.HELLO) -- and READY never comes
    assert.is_nil(slots:next(0))
    local actions = back:input "start"
    assert.equal(0, #helper.pick(actions, "slot_ask"))
    shift(actions, lead(back, "ready"))
    for _ = 1, 5 do
      shift(actions, back:closed())
      shift(actions, lead(back, "ready"))
    end
    assert.is_true(back.now < 60000)
    assert.equal(0, #helper.pick(actions, "slot_ask"))
    assert.equal(6, back.machine:status().counts.resumes)
    assert.equal(0, back.machine:status().counts.identifies)
  end)
end)

describe("bytes", function()
  local function reach_no_next(compress)
    local d = helper.drive { compress = compress }:reach "ready"
    local old, late = d.connection, d:encode(helper.dispatch("LATE", 2))
    local function come_late(from, to)
      local used = d.machine:feed(d.now, late:sub(from, to), {
        connection = old, final = true, binary = true,
      })
      assert.equal(to - from + 1, used)
      assert.is_nil(d.machine:next())
    end
    d:feed { { late:sub(1, 9), false } }
    d:closed()
    come_late(10, #late)
    d:tick()
    come_late(1, #late)
    d:opened()
    come_late(10, #late)
    d:receive(helper.HELLO)
    come_late(1, #late)
    assert.equal(1, #helper.pick(d:receive(helper.dispatch("A", 2)), "event", "A"))
    lead(d, "ready")
    come_late(1, #late)
    d:receive(helper.dispatch("A", 9))
    assert.equal("ready", d.machine.state)
    assert.equal(0, d.machine:status().counts.undecodable)
  end

  for _, compress in ipairs(helper.compressions) do
    it("R44 of a connection that is gone reach no inflate stream of the next, " ..
      (compress or "no compression"), function() reach_no_next(compress) end)
  end

  local function leave_no_large_buffer(compress)
    local resident = helper.resident
    if not resident() then return pending "resident memory is not to be had here" end
    local d = helper.drive { compress = compress }:reach "ready"
    d.machine:interest({}) -- nobody hears it, so the shard keeps its buffer
    -- As much as the peer's zstd looks back: a window is filled once, by whatever comes.
    local text = ("0123456789abcdef"):rep(1024)
    for seq = 2, 1000 do d:receive(helper.dispatch("SMALL", seq, '"' .. text .. '"')) end
    -- In pieces, so that no string of Lua is as large.
    local pieces, block = { helper.dispatch("BIG", 1001, '"'):sub(1, -2) }, ("x"):rep(1 << 18)
    for at = 2, 81 do pieces[at] = block end
    pieces[82] = '"}'
    for at, piece in ipairs(pieces) do
      local last = at == #pieces
      pieces[at] = { compress and d.deflate:push(piece, not last) or piece, last }
    end
    collectgarbage()
    collectgarbage()
    local before = resident()
    d:feed(pieces)
    assert.equal(1001, d.machine:status().seq)
    assert.is_true(d.machine:status().counts.bytes_inflated > 20 << 20)
    for seq = 1002, 11000 do d:receive(helper.dispatch("SMALL", seq)) end
    collectgarbage()
    collectgarbage()
    local grown = resident() - before
    local allowed = tonumber(os.getenv "MOONGATE_GROWTH") or 1 << 20
    assert.is_true(grown < allowed, ("%d bytes more"):format(grown))
  end

  for _, compress in ipairs(helper.compressions) do
    it("R51 a large message leaves no large buffer behind, " .. (compress or "no compression"),
      function()
        -- An allocator may learn from the first to keep what the next ones leave behind.
        for _ = 1, 3 do leave_no_large_buffer(compress) end
      end)
  end
end)

describe("sending", function()
  local function command(number) return ('{"op":4,"d":%d}'):format(number) end

  it("R63 a beat, commands and a close in one turn have one order, and nothing follows", function()
    local d = helper.drive():reach "ready"
    local all = {}
    for number = 1, 140 do shift(all, d:input("send", command(number))) end
    local before = #helper.pick(all, "send")
    assert.is_true(before < 140)
    d.now = d.now + 60000 -- a beat is due, and the window is open again
    shift(all, d:input "tick")
    shift(all, d:input("reconnect", 4000))
    local closed = false
    for _, action in ipairs(all) do
      assert.is_false(closed and action.type == "send")
      closed = closed or action.type == "close"
    end
    assert.is_true(closed)
    d:closed { code = 4000 }
    shift(all, lead(d, "ready"))
    shift(all, d:advance(1))
    local seen, beats = {}, 0
    for _, sent in ipairs(helper.pick(all, "send")) do
      if sent.packet.op == 4 then seen[#seen + 1] = sent.packet.d end
      if sent.packet.op == 1 then beats = beats + 1 end
    end
    assert.equal(1, beats)
    assert.equal(140, #seen)
    for number = 1, 140 do assert.equal(number, seen[number]) end
  end)

  -- The presence of the Identify that follows when the session of `d` is invalid.
  local function identified_with(d)
    d:receive '{"op":9,"d":false}'
    local all = d:closed { code = 1000 }
    shift(all, lead(d, "ready"))
    local sent = helper.pick(all, "send")
    assert.equal(2, sent[1].packet.op)
    return sent[1].packet.d.presence
  end

  local function presence(status, more)
    return ('{"op":3,"d":{"since":null,"activities":[{"name":"%s","type":0}],"status":"%s",' ..
      '"afk":false}}'):format(more or "chess", status)
  end

  it("R64 the presence that was set last goes into the next Identify, and no Resume", function()
    local d = helper.drive { presence = '{"status":"online"}' }:reach "ready"
    assert.equal("online", identified_with(d).status)
    d:input("send", presence "idle")
    d:input("send", presence "dnd")
    assert.same({ since = require "moongate.core".null, status = "dnd", afk = false,
      activities = { { name = "chess", type = 0 } } }, identified_with(d))
    d:closed()
    lead(d, "hello")
    d:input("send", presence "invisible") -- while it is away
    local resume = helper.pick(d:receive(helper.HELLO), "send")[1].packet
    assert.equal(6, resume.op)
    assert.is_nil(resume.d.presence)
    lead(d, "ready")
    assert.equal("invisible", identified_with(d).status)
    assert.equal("invisible", identified_with(d).status)
  end)

  it("R64 what is no presence, or leaves no room for the rest, is not kept", function()
    local d = helper.drive { presence = '{"status":"online"}' }:reach "ready"
    for _, text in ipairs { '{"op":3,"d":null}', '{"op":3,"d":[1]}', '{"op":3}',
      '{"op":4,"d":{"status":"dnd"}}', '{"op":3,"d":"dnd"}',
      presence("dnd", ("x"):rep(3950)) } do
      d:input("send", text)
      assert.is_true(d.result[1], text)
      assert.equal("online", identified_with(d).status, text)
    end
    d:input("send", presence("dnd", ("x"):rep(5000)))
    assert.equal("EPAYLOAD", d.result[3])
    d:input("send", presence("dnd", ("x"):rep(3500)))
    assert.equal("dnd", identified_with(d).status)
  end)

  it("R60 the window belongs to the connection: the next one has all of it", function()
    local d = helper.drive():reach "ready"
    for round = 0, 2 do
      local began, sent = d.now, {}
      for number = 1, 200 do shift(sent, d:input("send", command(number))) end
      shift(sent, d:advance(1000))
      assert.equal(114, #helper.pick(sent, "send"), round) -- one place went to the greeting
      d:closed()
      local rest = lead(d, "ready")
      shift(rest, d:advance(1))
      assert.equal(86, #helper.pick(rest, "send") - 1, round) -- and one to the Resume
      assert.is_true(d.now - began < 5000)
      d:closed()
      lead(d, "ready")
    end
  end)
end)

describe("a listener", function()
  local bot

  before_each(function() paper.install() end)

  after_each(function()
    if bot and bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  it("R58 may wait wherever it was registered, and inside what Lua can resume", function()
    bot = moongate.client { token = "failures.spec", intents = 1, url = "ws://127.0.0.1:1",
      shards = 1 }
    bot:connect()
    local shard, done = bot.shards[0], {}
    local function waits(name)
      return function()
        assert(pcall(moongate.sleep, 0)) -- through a protected call
        local lazy = setmetatable({}, { __index = function() return moongate.sleep(0) or 1 end })
        assert(lazy.field) -- through a metamethod
        done[name] = (done[name] or 0) + 1
      end
    end
    for name, target in pairs { cluster = bot, shard = shard } do
      target:on("A", waits(name .. " on"))
      target:once("A", waits(name .. " once"))
      target:prepend("A", waits(name .. " prepend"))
      target:on("*", waits(name .. " all"))
      target:on("A", waits(name .. " raw"), { raw = true })
      target:on("open", waits(name .. " own"))
    end
    local engine = paper.engines[1]
    engine:dispatch("A", 0, 2, {})
    engine:dispatch("A", 0, 3, {})
    engine:note("open", 0, { url = "u" })
    for _ = 1, 100 do bot:step(0) end
    for _, name in ipairs { "cluster", "shard" } do
      assert.equal(2, done[name .. " on"])
      assert.equal(1, done[name .. " once"])
      assert.equal(2, done[name .. " prepend"])
      assert.equal(2, done[name .. " all"])
      assert.equal(2, done[name .. " raw"])
      assert.equal(1, done[name .. " own"])
    end
  end)

  it("R58 that waits inside a C function turns the loop there, and no error comes of it", function()
    bot = moongate.client { token = "failures.spec", intents = 1, url = "ws://127.0.0.1:1",
      shards = 1 }
    bot:connect()
    local heard, waited, errors = 0, 0, 0
    bot:on("error", function() errors = errors + 1 end)
    bot:on("A", function()
      string.gsub("x", "x", function() moongate.sleep(0) end)
      waited = waited + 1
    end)
    bot:on("A", function() heard = heard + 1 end)
    for seq = 2, 4 do paper.engines[1]:dispatch("A", 0, seq, {}) end
    for _ = 1, 20 do bot:step(0) end
    assert.same({ 3, 3, 0 }, { heard, waited, errors })
  end)
end)

describe("over sockets #sockets", function()
  local discord, bot

  local function ready(client_options, sandbox_options)
    discord = witness.sandbox(sandbox_options)
    bot = witness.client(discord, client_options)
    return witness.ready(bot)
  end

  local function await(what, check) return witness.await(bot, what, check) end

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  -- Does the damage, and waits until the same session is back.
  local function expect_resumed_after(damage)
    local resumed = false
    bot:once("RESUMED", function() resumed = true end)
    bot:step(0)
    damage()
    await("RESUMED", function() return resumed end)
    assert.equal(1, #discord:received "IDENTIFY")
  end

  it("R18 a listener of any event may listen, send and reconnect", function()
    for _, event in ipairs { "disconnect", "close", "state", "connect", "open", "send", "receive",
      "RESUMED" } do
      ready()
      local calls = 0
      bot:on(event, function(_, shard)
        calls = calls + 1
        if calls > 2 then return end
        shard:send("VOICE_STATE_UPDATE", { guild_id = "1", channel_id = "2" })
        bot:on("A" .. calls, print) -- crosses to the other thread as well
        shard:reconnect()
      end)
      bot:step(0)
      discord:reconnect()
      await(event, function() return calls > 0 and bot.state == "ready" end)
      assert.equal(1, #discord:received "IDENTIFY")
      bot:off()
      assert.is_true(bot:disconnect())
      await("the end", function() return bot.state == "idle" end)
      bot:stop()
      discord:stop()
    end
  end)

  it("R20 readiness follows the shards: one of ten is away, before and after the last READY",
    function()
      discord = witness.sandbox { max_concurrency = 16, shards = 10 }
      bot = witness.client(discord)
      discord:stall "ready"
      assert(bot:connect())
      await("ten identifies", function() return #discord:received "IDENTIFY" == 10 end)
      for _, packet in ipairs(discord:received "IDENTIFY") do
        if packet.d.shard[1] == 3 then discord:drop { connection = packet.connection } end
      end
      await("one away", function() return bot.shards[3].state == "backoff" end)
      assert.equal(0, bot:stats().ready)
      discord:stall("ready", false)
      await("nine ready", function() return bot:stats().ready == 9 end)
      assert.are_not.equal("ready", bot.state)
      await("ten ready", function() return bot:stats().ready == 10 end)
      assert.equal("ready", bot.state)
      discord:stall "resumed"
      discord:drop { shard = 7 }
      await("one resuming", function() return bot.state == "resuming" end)
      assert.equal(9, bot:stats().ready)
      assert.truthy(tostring(bot):find("Client 10 shards, 9 ready", 1, true))
      discord:stall("resumed", false)
      await("ten again", function() return bot:stats().ready == 10 end)
      assert.equal("ready", bot.state)
    end)

  it("R42 a close of any length, with any reason, is resumed", function()
    ready { compress = false }
    for _, payload in ipairs { "", "\15", "\15\160", "\15\160" .. ("r"):rep(123),
      "\15\160\255\254 not UTF-8", "\3\237" } do
      expect_resumed_after(function()
        discord:send_raw { "\x88" .. string.char(#payload) .. payload, frame = false }
        if #payload == 1 then discord:drop() end -- some wait for more of a code of one byte
      end)
    end
  end)

  it("R46 reserved bits are a protocol error, and resumed", function()
    for rsv = 1, 7 do
      ready { compress = false }
      expect_resumed_after(function() discord:send_raw { "{}", rsv = rsv } end)
      bot:stop()
      discord:stop()
    end
  end)

  it("R52 fragments come back together, whatever stands between them", function()
    ready({ compress = false }, { heartbeat_interval = 40000 })
    expect_resumed_after(function() -- a close between two fragments
      discord:send_raw { '{"t":"MESSAGE_CREATE"', fin = false }
      discord:send_raw { "\15\160", opcode = 8 }
    end)
    local got, wanted = {}, {}
    bot:on("MESSAGE_CREATE", function(data) got[#got + 1] = data.content end)
    bot:step(0)
    math.randomseed(52)
    local seq = bot.shards[0].seq
    for number = 1, 40 do
      local content = ("%d "):format(number) .. ("x"):rep(math.random(0, 3000))
      wanted[number] = content
      local text = ('{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"content":"%s"}}'):format(
        seq + number, content)
      local opcode, at = 1, 1
      while at <= #text do
        local to = math.min(#text, at + math.random(0, #text // 3))
        discord:send_raw { text:sub(at, to), opcode = opcode, fin = to == #text }
        if math.random() < 0.3 then
          discord:send_raw { ("p"):rep(math.random(0, 125)), opcode = 9 }
        end
        opcode, at = 0, to + 1
      end
    end
    await("every message", function() return #got == 40 end)
    assert.same(wanted, got)
  end)

  it("R57 a consumer that is too slow pauses reading, loses nothing and no beat", function()
    local INTERVAL_MS = 300
    ready({ queue_events = 50, compress = false }, {
      heartbeat_interval = INTERVAL_MS, replay_events = 5000,
    })
    local wrong, heard = nil, 0
    bot:on("MESSAGE_CREATE", function(data)
      heard = heard + 1
      if data.content ~= ("%06d"):format(heard) .. ("x"):rep(2000) then wrong = wrong or heard end
    end)
    bot:step(0)
    local function queue() return bot:stats().queue end
    for number = 1, 3000 do
      discord:dispatch("MESSAGE_CREATE", { channel_id = "1",
        content = ("%06d"):format(number) .. ("x"):rep(2000) })
    end
    witness.block(4 * INTERVAL_MS / 1000)
    assert.is_true(queue().paused)
    assert.is_true(queue().queue_events < 4 * 50 + 100, queue().queue_events)
    await("every message", function() return heard == 3000 end)
    assert.is_nil(wrong)
    assert.is_false(queue().paused)
    assert.is_true(queue().queue_events_peak < 4 * 50 + 100, queue().queue_events_peak)
    witness.judge(witness.beats(discord), INTERVAL_MS, 4)
    assert.equal(0, #discord:received "RESUME")
    assert.equal(1, #discord:received "IDENTIFY")
  end)

  it("R17 a hundred shards dropped at once never have more than so many handshakes", function()
    local SHARDS, MOST = 100, require("moongate.core").limits.HANDSHAKES_MAX
    ready({ shards = SHARDS }, { shards = SHARDS, max_concurrency = SHARDS, guilds = 0 })
    local function states()
      local count = {}
      for _, one in pairs(bot.shards) do count[one.state] = (count[one.state] or 0) + 1 end
      return count
    end
    local function handshakes() return bot:stats().handshakes end
    await("all", function() return states().ready == SHARDS end)
    assert.is_true(handshakes().open_peak <= MOST, handshakes().open_peak)
    discord:stall "hello"
    discord:drop()
    await("a line", function() return handshakes().waiting == SHARDS - (MOST - 1) end)
    witness.block(0.2)
    await("their sockets", function() return #discord:connections() == MOST - 1 end)
    assert.same({ hello = MOST - 1, backoff = SHARDS - (MOST - 1) }, states())
    assert.same({ MOST - 1, MOST }, { handshakes().open, handshakes().open_peak })
    -- Whoever is stopped makes room, with a place and in line.
    local stopped = {}
    for _, one in pairs(bot.shards) do stopped[one.state] = one end
    for _, one in pairs(stopped) do assert(one:disconnect()) end
    await("the next", function()
      local count = states()
      return count.idle == 2 and count.hello == MOST - 1
    end)
    assert.same({ MOST - 1, SHARDS - 2 - (MOST - 1) }, { handshakes().open, handshakes().waiting })
    discord:stall("hello", false)
    await("the rest", function() return states().ready == SHARDS - 2 end)
    for _, one in pairs(stopped) do assert(one:connect()) end
    await("all of them", function() return states().ready == SHARDS end)
    assert.same({ 0, MOST, 0 }, { handshakes().open, handshakes().open_peak, handshakes().waiting })
    assert.same({ SHARDS, SHARDS }, { #discord:received "IDENTIFY", #discord:received "RESUME" })
  end)

  -- Until check() is true, while no event is taken.
  local function blocked_until(check)
    for _ = 1, witness.patience * 20 do
      if check() then return end
      witness.block(0.05)
    end
    error("waited in vain", 2)
  end

  -- What a slow consumer is told of, three to one that may be dropped.
  local function flood(count, wrong)
    local typing, heard = 0, 0
    bot:on("TYPING_START", function() typing = typing + 1 end)
    bot:on("MESSAGE_CREATE", function(data)
      heard = heard + 1
      if data.content ~= tostring(heard) then wrong[#wrong + 1] = data.content end
    end)
    bot:step(0)
    for number = 1, count do
      for _ = 1, 3 do discord:dispatch("TYPING_START", { channel_id = "1", user_id = "1" }) end
      discord:dispatch("MESSAGE_CREATE", { channel_id = "1", content = tostring(number) })
    end
    return function() return heard, typing end
  end

  local TYPING = { "guilds", "guild_messages", "message_content", "guild_message_typing" }

  it("R57 a full queue that drops: only what is named, counted, without a pause", function()
    local MARK, COUNT, wrong = 500, 400, {}
    ready({ queue_events = MARK, compress = false, when_full = "drop", intents = TYPING },
      { heartbeat_interval = 300 })
    local function queue() return bot:stats().queue end
    local before = bot.shards[0].seq
    local count = flood(COUNT, wrong)
    blocked_until(function() return bot.shards[0].seq == before + 4 * COUNT end)
    witness.block(0.2)
    assert.is_false(queue().paused)
    assert.equal(MARK, queue().queue_events)
    assert.is_true(queue().lag >= 0.2 and queue().lag < witness.patience, queue().lag)
    await("every message", function() return (count()) == COUNT end)
    local _, typing = count()
    local stats = queue()
    assert.same({}, wrong)
    assert.same({ PRESENCE_UPDATE = 0, TYPING_START = 3 * COUNT - typing }, stats.dropped)
    assert.equal(4 * COUNT - MARK, stats.events_dropped)
    assert.same({ 0, MARK, 0 }, { stats.pauses, stats.queue_events_peak, stats.lag })
    assert.equal(bot.shards[0].seq, bot.shards[0]:session_info().seq) -- dropped is handled
    assert.same({ 1, 0 }, { #discord:received "IDENTIFY", #discord:received "RESUME" })
  end)

  it("R57 a full queue of what is never dropped pauses reading", function()
    local COUNT, wrong = 400, {}
    ready({ queue_events = 50, compress = false, when_full = "drop", intents = TYPING,
      drop_events = { "PRESENCE_UPDATE" } }, { heartbeat_interval = 300 })
    local count = flood(COUNT, wrong)
    blocked_until(function() return bot:stats().queue.paused end)
    await("every event", function()
      local heard, typing = count()
      return heard == COUNT and typing == 3 * COUNT
    end)
    assert.same({ {}, 0 }, { wrong, bot:stats().queue.events_dropped })
  end)

  it("R57 a full queue that disconnects: back with the same session, nothing lost", function()
    local MARK, COUNT, wrong = 100, 300, {}
    ready({ queue_events = MARK, compress = false, when_full = "disconnect", intents = TYPING },
      { heartbeat_interval = 2000, replay_events = 5000 })
    local lost, closes = 0, {}
    bot:on("lost", function() lost = lost + 1 end)
    bot:on("close", function(data)
      closes[#closes + 1] = ("%d %s %s"):format(data.code, data.by, data.reason)
    end)
    local count = flood(COUNT, wrong)
    blocked_until(function() return bot.shards[0].state == "backoff" end)
    witness.block(0.2)
    local stats = bot:stats()
    assert.equal("backoff", stats.shards[0].state) -- and stays so, as long as nobody takes events
    assert.is_true(stats.queue.paused)
    assert.is_true(stats.queue.queue_events < 4 * MARK)
    assert.same({}, discord:received "RESUME")
    await("every event", function()
      local heard, typing = count()
      return heard == COUNT and typing == 3 * COUNT
    end)
    assert.same({ {}, 0 }, { wrong, lost })
    for _, close in ipairs(closes) do assert.equal("4000 client event queue full", close) end
    -- It came back only below half of the mark, and each time brought more than that half.
    local resumes = #discord:received "RESUME"
    assert.is_true(resumes >= 1 and resumes <= 4 * COUNT / (MARK // 2), resumes)
    await("READY again", function() return bot.state == "ready" end)
    assert.same({ 1, bot:stats().queue.pauses >= 1 }, { #discord:received "IDENTIFY", true })
  end)

  it("R59 an event costs what it holds, an unheard one nothing, and no collection is forced",
    function()
      local real, forced, handled = collectgarbage, 0, 0
      -- Waits until check(); what that took of memory, and how often it looked.
      local function wait_for(check)
        local before, looks = real "count", 0
        await("the events", function()
          looks = looks + 1
          return check(looks)
        end)
        return real "count" - before, looks
      end
      local function garbage_of(count, name)
        local last = bot.shards[0].seq + count
        local all = name == "MESSAGE_CREATE" and handled + count or handled
        for number = 1, count do
          discord:dispatch(name, { channel_id = "1", guild_id = discord.guilds[1].id,
            content = tostring(number) }, { exact = true })
        end
        local taken, looks = wait_for(function()
          return bot.shards[0].seq >= last and handled == all
        end)
        -- Looking costs something as well, the more so where the machine is busy.
        return taken - wait_for(function(look) return look >= looks end)
      end
      _G.collectgarbage = function(...) -- luacheck: ignore
        forced = forced + 1
        return real(...)
      end
      local fine, message = pcall(function()
        ready({ intents = { "guilds", "guild_messages", "message_content" } })
        bot:on("MESSAGE_CREATE", function() handled = handled + 1 end)
        bot:step(0)
        garbage_of(200, "MESSAGE_CREATE")
        real "stop"
        local heard = garbage_of(1000, "MESSAGE_CREATE")
        local unheard = garbage_of(1000, "MESSAGE_UPDATE")
        assert.is_true(heard < 2000, ("%.0f KB for 1000 events"):format(heard))
        assert.is_true(unheard < 100, ("%.0f KB for 1000 unheard events"):format(unheard))
      end)
      _G.collectgarbage = real -- luacheck: ignore
      real "restart"
      assert(fine, message)
      assert.equal(0, forced)
    end)

  it("R61 a request that came too early is answered by RATE_LIMITED, which is heard and obeyed",
    function()
      local intents = { "guilds", "guild_members" }
      ready({ intents = intents }, { guilds = 2 })
      local guild, other = discord.guilds[1].id, discord.guilds[2].id
      assert.is_true(bot:request_members(guild, { nonce = "one" }))
      assert(discord:wait_received "REQUEST_GUILD_MEMBERS")
      bot:stop()
      bot = witness.ready(witness.client(discord, { intents = intents })) -- knows nothing of it
      local limited, chunks = {}, {}
      bot:on("RATE_LIMITED", function(data) limited[#limited + 1] = data end)
      bot:on("GUILD_MEMBERS_CHUNK", function(data) chunks[#chunks + 1] = data.nonce end)
      bot:step(0)
      bot:request_members(guild, { nonce = "two" })
      await("RATE_LIMITED", function() return #limited == 1 end)
      assert.equal(8, limited[1].opcode)
      assert.same({ guild_id = guild, nonce = "two" }, limited[1].meta)
      assert.is_true(limited[1].retry_after > 0)
      bot:request_members(guild, { nonce = "three", user_ids = "1" })
      bot:request_members(other, { nonce = "four" })
      bot:request_members(other, { nonce = "five", user_ids = "1" })
      await("the answers", function() return #chunks == 2 end)
      assert.same({ "four", "five" }, chunks)
      assert.equal(1, bot.shards[0]:stats().outbox_commands)
      assert.equal("ready", bot.state)
    end)

  it("R62 of a storm of presences five arrive, and hold nothing else up", function()
    ready()
    local shard = bot.shards[0]
    for _ = 1, 20 do assert.is_true(bot:set_presence { status = "idle" }) end
    assert.is_true(bot:set_presence { status = "dnd" })
    assert.is_true(bot:update_voice_state("1", "2"))
    assert(discord:wait_received "VOICE_STATE_UPDATE")
    assert.equal(5, #discord:received "PRESENCE_UPDATE")
    await("the others", function() return shard:stats().outbox_commands == 1 end)
    discord:drop()
    local last = assert(discord:wait_received("PRESENCE_UPDATE", { count = 6 }))[6]
    assert.equal("dnd", last.d.status) -- a new connection has a window of its own
  end)

  it("R61 a shard that is started again knows what it asked", function()
    ready { intents = { "guilds", "guild_members" } }
    local shard, guild, chunks = bot.shards[0], discord.guilds[1].id, {}
    bot:on("GUILD_MEMBERS_CHUNK", function(data) chunks[#chunks + 1] = data.nonce end)
    bot:step(0)
    bot:request_members(guild, { nonce = "one" })
    await("an answer", function() return #chunks == 1 end)
    assert.is_true(shard:disconnect())
    await("the end", function() return shard.state == "idle" end)
    assert.is_true(shard:connect())
    await("the session", function() return shard.state == "ready" end)
    bot:request_members(guild, { nonce = "two" })
    bot:request_members(guild, { nonce = "three", user_ids = "1" })
    await("an answer", function() return #chunks == 2 end)
    assert.same({ "one", "three" }, chunks)
    assert.equal(1, shard:stats().outbox_commands)
    assert.equal(2, #discord:received "REQUEST_GUILD_MEMBERS")
  end)

  it("R61 what RATE_LIMITED holds leaves when it said, and nobody has to listen", function()
    ready()
    await("the guild", function() return bot.shards[0].seq == 2 end)
    discord:dispatch("RATE_LIMITED", { opcode = 4, retry_after = 0.4, meta = { guild_id = "7" } })
    await("its sequence", function() return bot.shards[0].seq == 3 end)
    for _, guild in ipairs { "7", "8" } do assert.is_true(bot:update_voice_state(guild, "2")) end
    local got = assert(discord:wait_received("VOICE_STATE_UPDATE", { count = 2 }))
    assert.equal("8", got[1].d.guild_id)
    assert.equal("7", got[2].d.guild_id)
    local gap_ms = got[2].at_ms - got[1].at_ms
    assert.is_true(gap_ms > 200 and gap_ms < 2000 + witness.late_ms, gap_ms)
  end)

  it("R63 frames of all sizes, beats between them and a close behind arrive whole", function()
    ready(nil, { heartbeat_interval = 100 })
    local shard, wanted = bot.shards[0], {}
    math.randomseed(63)
    for number = 1, 60 do
      local padding = ("x"):rep(math.random(0, 3900))
      wanted[number] = { guild_id = tostring(number), channel_id = "2", padding = padding }
      assert.is_true(shard:send("VOICE_STATE_UPDATE", wanted[number]))
      if number == 30 then shard:reconnect() end
    end
    local got = assert(discord:wait_received("VOICE_STATE_UPDATE", { count = 60 }))
    for number = 1, 60 do
      assert.equal(wanted[number].guild_id, got[number].d.guild_id)
      assert.equal(wanted[number].padding, got[number].d.padding)
    end
    await("beats", function() return #witness.beats(discord) > 3 end)
    for _, connection in ipairs(discord:history()) do
      assert.equal(4000, connection.close_received)
    end
    assert.equal(1, #discord:received "RESUME")
  end)
end)

describe("the list of rules", function()
  local failures = require "failures"

  local function judge(...)
    local lines, at = { ... }, 0
    local found = failures.read(function()
      at = at + 1
      return lines[at]
    end)
    local said = {}
    local fine, counts = failures.show(found, function(...) said[#said + 1] = (...):format(
      select(2, ...)) end)
    return fine, counts, table.concat(said, "\n")
  end

  it("has 69, each in a few words of its own", function()
    local seen = {}
    assert.equal(69, #failures.rules)
    for _, rule in ipairs(failures.rules) do
      assert.is_nil(seen[rule[1]])
      seen[rule[1]] = true
      assert.is_true(#rule[1] > 10 and #rule[1] < 90)
    end
  end)

  it("is fine with passing tests, and counts what has none", function()
    local fine, counts, said = judge("success\tsome R1 R2 thing", "success\tsome R1 more", "end")
    assert.is_true(fine)
    assert.same({ 2, 0, 67 }, { counts.passed, counts.FAILED, counts["no test yet"] })
    assert.truthy(said:find("R1   passed", 1, true))
    assert.truthy(said:find("ok       some R1 R2 thing", 1, true))
    assert.truthy(said:find("R3   no test yet", 1, true))
    assert.truthy(said:find("67 without a test yet", 1, true))
  end)

  it("is not fine with a failure, an error, a test that did not run, or an end that is missing",
    function()
      for _, lines in ipairs {
        { "failure\tR1 a", "why\tbecause", "success\tR1 b", "end" }, { "error\tR1 a", "end" },
        { "pending\tR1 a", "end" }, { "success\tR1 a" }, { "success\tR70 a", "end" },
        { "error\tspec/x_spec.lua\tdoes not load", "success\tR1 a", "end" },
      } do
        assert.is_false((judge(table.unpack(lines))))
      end
      local _, counts, said = judge("failure\tR1 a", "why\tbecause", "success\tR1 b", "end")
      assert.same({ 0, 1 }, { counts.passed, counts.FAILED })
      assert.truthy(said:find("because", 1, true))
    end)

  it("takes a number only as a word", function()
    local _, counts = judge("success\tR12a and XR13 and R14-ish", "end")
    assert.equal(1, counts.passed)
  end)
end)

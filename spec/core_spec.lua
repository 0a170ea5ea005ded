-- core_spec.lua: moongate.core as Lua sees it: the module table, its constants, poll, and the pure
-- machine as a userdata. What the machine decides is session_spec's and shard_spec's business.

local core = require "moongate.core"

local HELLO = '{"op":10,"d":{"heartbeat_interval":41250}}'
local READY = '{"t":"READY","s":1,"op":0,"d":{"session_id":"abc",'
  .. '"resume_gateway_url":"wss://r.test"}}'

local function options(more)
  local all = { token = "tok.en", url = "wss://gateway.test", intents = 513, seed = 3 }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

local function drain(machine)
  local list = {}
  for action in function() return machine:next() end do list[#list + 1] = action end
  return list
end

local function find(list, kind)
  for _, action in ipairs(list) do
    if action.type == kind then return action end
  end
  error("no action " .. kind)
end

local function event_of(list, name)
  for _, action in ipairs(list) do
    if action.event and action.event.name == name then return action.event end
  end
  error("no event " .. name)
end

-- A machine that has said hello and is ready.
local function ready_machine(more)
  local machine = core.machine(options(more))
  machine:interest({ "READY", "MESSAGE_CREATE" }, { send = true })
  machine:start(0)
  machine:grant(0)
  machine:opened(0, 1)
  machine:feed(0, HELLO)
  drain(machine)
  machine:feed(0, READY)
  return machine
end

describe("core: an engine waits", function()
  it("for seconds, and says what else it got", function()
    local engine = assert(core.engine {})
    finally(function() engine:close() end)
    assert.is_false(engine:wait(0))
    assert.error_matches(function() engine:wait(0 / 0) end, "seconds expected, got nan")
    assert.error_matches(function() engine:wait "soon" end, "number expected, got string")
  end)
end)

describe("core: a record", function()
  local engine

  local function next_answer(used)
    assert(engine:request { id = 1, url = "http://127.0.0.1:1/", timeout_ms = 5000 })
    assert.is_true(engine:wait(10))
    return engine:next(used)
  end

  before_each(function() engine = assert(core.engine {}) end)
  after_each(function() engine:close() end)

  it("is done with, and used again, when it is handed back", function()
    local record, name = next_answer()
    assert.equal("http", name)
    local data = record:data()
    assert.equal(1, data.id)
    assert.is_nil((engine:next(record)))
    assert.error_matches(function() record:data() end, "attempt to use a closed record")
    local again = next_answer(record)
    assert.is_true(rawequal(record, again))
    assert.not_equal(data, again:data())
  end)

  it("stays as it is while another one comes", function()
    local record = next_answer()
    local other = next_answer()
    assert.is_false(rawequal(record, other))
    assert.equal(record:data(), record:data())
  end)

  it("and nothing else is taken back", function()
    local record = next_answer()
    for _, wrong in ipairs { engine, {}, "record", io.stdout } do
      assert.error_matches(function() engine:next(wrong) end, "moongate.record expected, got")
      assert.has_error(function() record.data(wrong) end)
    end
    assert.error_matches(function() engine.next(record) end, "moongate.engine expected, got")
  end)
end)

describe("core: constants", function()
  it("come from the tables of the C core", function()
    assert.equal(8, core.opcodes.REQUEST_GUILD_MEMBERS)
    assert.equal("REQUEST_GUILD_MEMBERS", core.opcodes[8])
    assert.equal("DISPATCH", core.opcodes[0])
    local row = core.close_codes[4014]
    assert.equal("DISALLOWED_INTENTS", row.name)
    assert.equal("fatal", row.verdict)
    assert.equal("EINTENTS", row.error)
    assert.truthy(row.remedy:find("privileged", 1, true) or row.words:find("privileged", 1, true))
    assert.equal("resume", core.close_codes[1000].verdict)
    assert.equal("identify", core.close_codes[4009].verdict)
    assert.is_nil(core.close_codes[1000].error)
    assert.same({ name = "guilds", bit = 0, privileged = false }, core.intents[1])
    assert.equal("payload over the limit of the gateway", core.errors.EPAYLOAD)
    assert.equal(4096, core.limits.PAYLOAD_BYTES_MAX)
    assert.equal("idle", core.states[1])
    assert.truthy(core._VERSION:find("^moongate %d+%.%d+%.%d+$"))
  end)

  it("are a table of their own in each Lua state, and loading twice is harmless", function()
    local saved = package.loaded["moongate.core"]
    package.loaded["moongate.core"] = nil
    local again = require "moongate.core"
    package.loaded["moongate.core"] = saved
    assert.are_not.equal(saved, again)
    assert.same(saved.close_codes, again.close_codes)
    local machine = again.machine(options())
    assert.equal("idle", machine.state)
  end)
end)

describe("core: clock and poll", function()
  it("has a clock that only goes forward", function()
    local before = core.now()
    assert.is_true(core.now() >= before)
  end)

  it("says what became of a wait", function()
    assert.is_false(core.poll({}, 0))
    local before = core.now()
    assert.is_false(core.poll({}, 0.02))
    assert.is_true(core.now() - before >= 0.019)
  end)

  it("ends a wait in the main program's stead that Ctrl-C has come before", function()
    local main = coroutine.running()
    coroutine.wrap(function() -- where the main program's hook does nothing
      debug.sethook(main, function() end, "crl", 1) -- as the interpreter does it
      local asked, waited, here = core.interrupted(), { core.poll({}, 60, true) }, core.poll({}, 0)
      debug.sethook(main)
      assert.is_true(asked)
      assert.same({ nil, "EINTR" }, waited)
      assert.is_false(here)
      assert.is_false(core.interrupted())
      assert.is_false(core.poll({}, 0.01, true))
    end)()
  end)

  it("is not misled by a debugger's hook", function()
    debug.sethook(function() end, "l")
    local lines = core.interrupted()
    debug.sethook(function() end, "", 1)
    local instructions = core.interrupted()
    debug.sethook()
    assert.is_false(lines)
    assert.is_false(instructions)
  end)

  it("refuses what is no list of descriptors", function()
    assert.has_error(function() core.poll(3) end)
    assert.has_error(function() core.poll({ "x" }, 0) end)
    assert.has_error(function() core.poll({}, {}) end)
  end)
end)

describe("core: machine options", function()
  it("name what is wrong with them", function()
    for _, row in ipairs {
      { { url = false }, "option 'url': string expected, got boolean" },
      { { token = 5 }, "option 'token': string expected, got number" },
      { { shard_id = 1.5 }, "option 'shard_id': integer expected" },
      { { shard_id = -1 }, "option 'shard_id': -1 of 1 is not possible" },
      { { shard_id = 2 ^ 40 }, "option 'shard_id': out of range" },
      { { encoding = "xml" }, "option 'encoding': 'xml' is not known" },
      { { compress = "lzma" }, "option 'compress': 'lzma' is not available" },
      { { compress = true }, "option 'compress': string expected, got boolean" },
      { { properties = 1 }, "option 'properties': table expected, got number" },
      { { session = "s" }, "option 'session': table expected, got string" },
      { { session = { seq = "1" } }, "option 'seq': integer expected, got string" },
    } do
      local fine, message = pcall(core.machine, options(row[1]))
      assert.is_false(fine)
      assert.truthy(message:find(row[2], 1, true), message)
    end
    assert.has_error(function() core.machine() end)
    local fine, message = pcall(core.machine, { token = "t" })
    assert.is_false(fine)
    assert.truthy(message:find("option 'url': missing", 1, true))
  end)

  it("reach the machine", function()
    local machine = core.machine(options {
      compress = "zlib-stream", properties = { os = "plan9" }, shard_id = 2, shard_count = 5,
      presence = '{"status":"idle"}', large_threshold = 77,
    })
    machine:start(0)
    machine:grant(0)
    assert.truthy(find(drain(machine), "connect").url:find("&compress=zlib-stream", 1, true))
    machine = core.machine(options {
      properties = { os = "plan9" }, shard_id = 2, shard_count = 5, large_threshold = 77,
      presence = '{"status":"idle"}',
    })
    machine:start(0)
    machine:grant(0)
    machine:opened(0, 1)
    machine:feed(0, HELLO)
    local d = core.decode(find(drain(machine), "send").bytes).d
    assert.same({ 2, 5 }, { d.shard[1], d.shard[2] })
    assert.equal("plan9", d.properties.os)
    assert.equal("idle", d.presence.status)
    assert.equal(77, d.large_threshold)
    assert.equal("tok.en", d.token)
  end)

  it("take up a session", function()
    local machine = core.machine(options {
      session = { id = "old", url = "wss://r.test", seq = 42 },
    })
    machine:start(0)
    assert.truthy(find(drain(machine), "connect").url:find("wss://r.test/?", 1, true))
    machine:opened(0, 1)
    machine:feed(0, HELLO)
    local d = core.decode(find(drain(machine), "send").bytes)
    assert.equal(core.opcodes.RESUME, d.op)
    assert.equal("old", d.d.session_id)
    assert.equal(42, d.d.seq)
  end)
end)

describe("core: machine", function()
  it("runs from start to ready", function()
    local machine = core.machine(options())
    assert.equal("idle", machine.state)
    assert.equal("Machine idle", tostring(machine))
    assert.is_nil(machine:deadline())
    assert.is_nil(machine:next())
    assert.is_true(machine:start(0))
    assert.same({ nil, "start: not possible now", "EUSAGE" }, { machine:start(0) })
    assert.equal("slot_ask", machine:next().type)
    machine:grant(0)
    local connect = find(drain(machine), "connect")
    assert.equal("wss://gateway.test/?v=10&encoding=json", connect.url)
    assert.equal(1, connect.connection)
    assert.is_true(machine:opened(5, 1))
    assert.equal("hello", machine.state)
    assert.is_number(machine:deadline())
  end)

  it("says how much of a piece it used, and whether to come again", function()
    local machine = ready_machine()
    drain(machine)
    local two = '{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"a":1}}'
      .. '{"t":"MESSAGE_CREATE","s":3,"op":0,"d":{"a":null,"b":[null]}}'
    local used, more = machine:feed(1, two)
    assert.is_true(used <= #two)
    assert.is_true(more)
    assert.equal(2, event_of(drain(machine), "MESSAGE_CREATE").seq)
    used, more = machine:feed(1, two:sub(used + 1))
    assert.is_false(more)
    assert.is_true(used >= 0)
    local event = event_of(drain(machine), "MESSAGE_CREATE")
    assert.equal(3, event.seq)
    assert.equal('{"a":null,"b":[null]}', event.raw)
    assert.same({ b = { core.null } }, event.data)
    assert.is_false(event.own)
  end)

  it("feeds a whole piece and drains after each message", function()
    local machine = ready_machine()
    drain(machine)
    local text = {}
    for seq = 2, 40 do
      text[#text + 1] = ('{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"n":%d}}'):format(seq, seq)
    end
    local list, code = machine:feed_all(1, table.concat(text))
    assert.is_nil(code)
    assert.equal(39, #list)
    assert.equal(40, list[39].event.data.n)
  end)

  it("takes pieces of a message, and ignores those of another connection", function()
    local machine = ready_machine()
    drain(machine)
    assert.same({ 3, false }, { machine:feed(1, '{"t', { final = false }) })
    assert.same({ 5, false }, { machine:feed(1, "stale", { connection = 77 }) })
    assert.is_nil(machine:next())
    machine:feed(1, '":"MESSAGE_CREATE","s":2,"op":0,"d":{}}')
    assert.equal(2, event_of(drain(machine), "MESSAGE_CREATE").seq)
  end)

  it("keeps nulls when asked to", function()
    local machine = ready_machine { null = "keep" }
    drain(machine)
    machine:feed(1, '{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"a":null}}')
    assert.equal(core.null, event_of(drain(machine), "MESSAGE_CREATE").data.a)
  end)

  it("shows an event that cannot be decoded by its bytes and the error", function()
    local machine = ready_machine()
    drain(machine)
    machine:feed(1, '{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"a":tru}}')
    local event = event_of(drain(machine), "MESSAGE_CREATE")
    assert.is_nil(event.data)
    assert.equal("ESYNTAX", event.error)
    assert.equal('{"a":tru}', event.raw)
  end)

  it("sends, and never shows the token in a trace", function()
    local machine = core.machine(options())
    machine:interest({}, { send = true })
    machine:start(0)
    machine:grant(0)
    machine:opened(0, 1)
    machine:feed(0, HELLO)
    local list = drain(machine)
    local send, trace = find(list, "send"), event_of(list, "send")
    assert.truthy(send.bytes:find("tok.en", 1, true))
    assert.is_false(send.binary)
    assert.is_nil(trace.raw:find("tok.en", 1, true))
    assert.equal("(hidden)", trace.data.d.token)
    machine:feed(0, READY)
    drain(machine)
    assert.is_true(machine:send(1, '{"op":3,"d":{}}'))
    assert.equal('{"op":3,"d":{}}', event_of(drain(machine), "send").raw)
    assert.same({ nil, "send: payload over the limit of the gateway", "EPAYLOAD" },
      { machine:send(1, ("x"):rep(4097)) })
  end)

  it("says why it closes, and takes every way to end", function()
    local machine = ready_machine()
    drain(machine)
    assert.is_true(machine:reconnect(1, 4000, "because"))
    local close = find(drain(machine), "close")
    assert.equal(4000, close.code)
    assert.equal("because", close.reason)
    assert.is_true(machine:closed(2, 1, { code = 4000, reason = "bye" }))
    assert.equal("backoff", machine.state)
    machine:tick(machine:deadline())
    assert.equal("connecting", machine.state)
    assert.is_true(machine:closed(3, 2, {
      phase = "tls", error = "ECERTIFICATE", detail = "expired", http_status = 0,
    }))
    local failure = event_of(drain(machine), "error").data
    assert.equal("ECERTIFICATE", failure.code)
    assert.equal("tls", failure.phase)
    assert.truthy(failure.message:find("expired", 1, true))
    assert.is_true(machine:pause(4, true))
    assert.is_true(machine:slept(5, 60000))
    assert.is_true(machine:stop(6))
    assert.equal("idle", machine.state)
  end)

  it("refuses words that are none", function()
    local machine = ready_machine()
    assert.has_error(function() machine:closed(1, 1, { phase = "somewhere" }) end)
    assert.has_error(function() machine:closed(1, 1, { error = "EWHAT" }) end)
    assert.has_error(function() machine:interest({ 5 }) end)
    assert.has_error(function() machine:interest({ "A\0B" }) end)
    assert.has_error(function() machine:interest("READY") end)
    assert.has_error(function() machine:feed("x", "y") end)
    assert.has_error(function() machine.feed({}, 1, "y") end)
  end)

  it("tells its state", function()
    local machine = ready_machine()
    local status = machine:status()
    assert.equal("ready", status.state)
    assert.equal("abc", status.session)
    assert.equal("wss://r.test", status.session_url)
    assert.equal(1, status.seq)
    assert.equal(41250, status.interval_ms)
    assert.equal(1, status.counts.identifies)
    assert.is_nil(status.latency_ms)
    assert.is_nil(machine.no_such_field)
  end)

  it("cannot be used once it is closed, and says so", function()
    local machine = ready_machine()
    machine:close()
    machine:close()
    assert.equal("Machine closed", tostring(machine))
    local fine, message = pcall(machine.start, machine, 1)
    assert.is_false(fine)
    assert.truthy(message:find("attempt to use a closed machine", 1, true))
    assert.is_nil(machine.state)
  end)

  it("hides its metatable and survives a half-hearted finaliser", function()
    assert.equal("moongate.machine", getmetatable(core.machine(options())))
    for _ = 1, 50 do ready_machine() end
    collectgarbage()
    collectgarbage()
  end)
end)

describe("core: shard userdata", function()
  it("shows what is known of a shard that was never started", function()
    local one = core.shard(3, 8)
    assert.equal("Shard 3/8 idle", tostring(one))
    assert.equal(3, one.id)
    assert.equal(8, one.count)
    assert.equal("idle", one.state)
    for _, key in ipairs { "seq", "session", "latency", "url", "ws", "cluster", "nothing" } do
      assert.is_nil(one[key])
    end
    assert.has_error(function() core.shard(-1, 1) end)
    assert.has_error(function() core.shard_fields({}) end)
  end)

  it("keeps Lua's side in its user value", function()
    local one = core.shard(0, 1)
    core.shard_fields(one).version = 10
    assert.equal(10, one.version)
    local cycle = setmetatable({ one }, { __mode = "v" })
    core.shard_fields(one).myself = function() return one end
    one = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(one)
    assert.is_nil(cycle[1])
  end)
end)

-- emitter_spec.lua: listeners, waits and loops over events, on a clock that stands still.

local virtual = require "virtual"

local world, scheduler, emitter, changes, blocked

local function new(options)
  options = options or {}
  options.on_change = options.on_change or function() changes = changes + 1 end
  return emitter.new(options)
end

before_each(function()
  world = virtual.world()
  scheduler, emitter = world.scheduler, world.emitter
  changes, blocked = 0, {}
end)

-- An event that came in: counts how often it is decoded.
local function record_of(value, message, code)
  local record = { decoded = 0, read = 0, opened = 0 }
  function record:data()
    self.decoded = self.decoded + 1
    return value, message, code
  end
  function record:raw()
    self.read = self.read + 1
    return "the JSON text"
  end
  function record:lazy()
    self.opened = self.opened + 1
    return message == nil and "the lazy table" or nil, message, code
  end
  return record
end

-- Lets fn run inside one of our coroutines and turns the loop until it has ended.
local function inside(fn)
  local done = false
  scheduler.spawn(function()
    fn()
    done = true
  end)
  scheduler.run_until(function() return done end)
end

describe("emitter: names", function()
  it("are one event in every style", function()
    local e, heard = new(), {}
    e:on("messageCreate", function(_, _, name) heard[#heard + 1] = name end)
    for _, name in ipairs { "MESSAGE_CREATE", "message_create", "messageCreate", "MessageCreate",
      "message-create", "messagecreate" } do
      assert.is_true(e:emit(name))
    end
    assert.equal(6, #heard)
    for _, name in ipairs(heard) do assert.equal("MESSAGE_CREATE", name) end
  end)

  it("of moongate's own events are lower case", function()
    local e, heard = new(), nil
    e:on("CLOSE", function(_, _, name) heard = name end)
    e:emit("close")
    assert.equal("close", heard)
  end)

  it("may be anything that is a name", function()
    local e, heard = new(), nil
    e:on("myOwnEvent", function(data, _, name) heard = name .. data end)
    assert.is_true(e:emit("my_own_event", 5))
    assert.equal("MY_OWN_EVENT5", heard)
    for _, bad in ipairs { "", 5, {}, ("x"):rep(65) } do
      for _, method in ipairs { "on", "once", "prepend", "emit", "listeners", "off", "wait_for",
        "events", "hears", "listener_count" } do
        if not (method == "events" and type(bad) == "table") then
          local fine, message = pcall(function() e[method](e, bad, print) end)
          assert.is_false(fine, method)
          assert.matches('emitter_spec.lua:%d+: ' .. method
            .. ': event must be a name such as "MESSAGE_CREATE", got', message)
        end
      end
    end
    assert.has_error(function() e:on(nil, print) end)
    assert.has_error(function() e:emit("*") end)
  end)
end)

describe("emitter: listeners", function()
  it("are called in order with data, shard and name", function()
    local e, log = new(), {}
    e:on("READY", function(...) log[#log + 1] = { 1, ... } end)
    e:on("READY", function(...) log[#log + 1] = { 2, ... } end)
    e:prepend("READY", function(...) log[#log + 1] = { 3, ... } end)
    e:emit("READY", "data", "shard")
    assert.same({
      { 3, "data", "shard", "READY" }, { 1, "data", "shard", "READY" },
      { 2, "data", "shard", "READY" },
    }, log)
  end)

  it("are given back by what registers them", function()
    local e = new()
    for _, method in ipairs { "on", "once", "prepend" } do
      assert.equal(print, e[method](e, "READY", print))
    end
    assert.same({ print, print, print }, e:listeners("ready"))
  end)

  it("may be objects that can be called", function()
    local e, heard = new(), nil
    e:on("READY", setmetatable({}, { __call = function(_, data) heard = data end }))
    e:emit("READY", 1)
    assert.equal(1, heard)
  end)

  it("are checked, at the line of the user", function()
    local e = new()
    local function complaint(...)
      local arguments = table.pack(...)
      local fine, message = pcall(function() e:on(table.unpack(arguments, 1, arguments.n)) end)
      assert.is_false(fine)
      return message
    end
    assert.matches("emitter_spec.lua:%d+: on: fn must be a function, got nil", complaint("READY"))
    assert.matches("on: fn must be a function, got table", complaint("READY", {}))
    for _, method in ipairs { "once", "prepend" } do
      local fine, message = pcall(function() e[method](e, "READY", "print") end)
      assert.is_false(fine)
      assert.matches("emitter_spec.lua:%d+: " .. method .. ": fn must be a function, got \"print\"",
        message)
      assert.has_error(function() e[method](e, "READY", print, { rwa = true }) end)
    end
    assert.matches("on: options must be a table, got \"raw\"", complaint("READY", print, "raw"))
    assert.matches("on: unknown option rwa; there are: lazy, raw",
      complaint("READY", print, { rwa = 1 }))
    assert.matches("on: unknown option 1; there are: lazy, raw",
      complaint("READY", print, { "raw" }))
    assert.matches("on: raw must be true or false", complaint("READY", print, { raw = 1 }))
    assert.matches("on: lazy must be true or false", complaint("READY", print, { lazy = "yes" }))
    assert.matches("on: raw and lazy exclude each other",
      complaint("READY", print, { raw = true, lazy = true }))
    assert.equal(0, e:listener_count())
  end)

  it("once are called once, also when their event comes again out of them", function()
    local e, calls = new(), 0
    e:once("READY", function()
      calls = calls + 1
      e:emit("READY")
    end)
    assert.is_true(e:emit("READY"))
    assert.is_false(e:emit("READY"))
    assert.equal(1, calls)
  end)

  it("off takes one away wherever it stands, all of an event, or all", function()
    local e, calls = new(), 0
    local function fn() calls = calls + 1 end
    local function other() calls = calls + 100 end
    e:on("READY", fn)
    e:on("READY", other)
    e:once("READY", fn)
    assert.is_true(e:off("ready", fn))
    assert.is_false(e:off("ready", fn))
    e:emit("READY")
    assert.equal(100, calls)
    e:on("READY", fn)
    assert.is_true(e:off("READY"))
    assert.is_false(e:emit("READY"))
    e:on("READY", fn)
    e:on("close", fn)
    assert.is_true(e:off())
    assert.equal(0, e:listener_count())
    assert.is_false(e:off())
    assert.has_error(function() e:off(nil, fn) end)
  end)

  it("can be listed and counted, and the list is the caller's", function()
    local e = new()
    local function fn() end
    e:on("READY", fn)
    e:on("*", fn)
    e:listeners("READY")[1] = nil
    assert.same({ fn }, e:listeners("READY"))
    assert.same({}, e:listeners("RESUMED"))
    assert.equal(1, e:listener_count("READY"))
    assert.equal(0, e:listener_count("RESUMED"))
    assert.equal(2, e:listener_count())
  end)

  it("may wait, each in a coroutine of its own", function()
    local e, log = new(), {}
    e:on("READY", function()
      scheduler.sleep(1)
      log[#log + 1] = "slow"
    end)
    e:on("READY", function() log[#log + 1] = "fast" end)
    e:emit("READY")
    assert.same({ "fast" }, log)
    scheduler.step(1)
    assert.same({ "fast", "slow" }, log)
  end)
end)

describe("emitter: changes while an event goes round", function()
  it("those who are added are called from the next time on", function()
    local e, log = new(), {}
    e:once("READY", function()
      e:on("READY", function() log[#log + 1] = "added" end)
      e:prepend("READY", function() log[#log + 1] = "in front" end)
    end)
    e:on("READY", function() log[#log + 1] = "there" end)
    e:emit("READY")
    assert.same({ "there" }, log)
    e:emit("READY")
    assert.same({ "there", "in front", "there", "added" }, log)
  end)

  it("those who are removed are not called any more", function()
    local e, log = new(), {}
    local function late() log[#log + 1] = "late" end
    e:on("READY", function() e:off("READY", late) end)
    e:on("READY", late)
    e:on("READY", function() log[#log + 1] = "last" end)
    e:emit("READY")
    assert.same({ "last" }, log)
  end)

  it("one that removes everybody ends the round", function()
    local e, calls = new(), 0
    for _ = 1, 50 do
      e:on("READY", function()
        calls = calls + 1
        e:off()
      end)
    end
    e:emit("READY")
    assert.equal(1, calls)
  end)

  it("many of both keep order and miss nobody", function()
    math.randomseed(5)
    local e, alive, called = new(), {}, {}
    local function listener(id)
      local function fn() called[#called + 1] = id end
      e:on("READY", fn)
      alive[#alive + 1] = { id = id, fn = fn }
    end
    for id = 1, 300 do listener(id) end
    for round = 1, 60 do
      local expected = {}
      for i, one in ipairs(alive) do expected[i] = one.id end
      called = {}
      e:emit("READY")
      assert.same(expected, called)
      for _ = 1, 20 do
        local gone = table.remove(alive, math.random(#alive))
        assert.is_true(e:off("READY", gone.fn))
      end
      for i = 1, 20 do listener(round * 1000 + i) end
    end
    assert.equal(300, e:listener_count("READY"))
  end)

  it("R67: 1e6 once do not grow memory, alone or beside a listener that stays", function()
    local e = new()
    local function run(times)
      for _ = 1, times do
        e:once("READY", math.abs)
        e:emit("READY", 1)
      end
    end
    run(1000)
    local before = virtual.kept_bytes()
    run(500000)
    e:on("READY", math.abs)
    run(500000)
    assert(virtual.kept_bytes() - before < 4096)
    assert.equal(1, #e:listeners("READY"))
  end)

  it("R67: 1e5 once that are removed unheard do not either", function()
    local e = new()
    e:on("READY", math.abs)
    local function run(times)
      for _ = 1, times do
        local function fn() end
        e:once("READY", fn)
        e:off("READY", fn)
      end
    end
    run(1000)
    local before = virtual.kept_bytes()
    run(100000)
    assert(virtual.kept_bytes() - before < 4096)
  end)
end)

describe("emitter: failures", function()
  local function boom() error("boom") end

  it("R55: a listener that fails stops no other", function()
    local e, log = new(), {}
    e:on("READY", boom)
    e:on("READY", function() log[#log + 1] = "second" end)
    e:on("READY", function() log[#log + 1] = "third" end)
    e:emit("READY")
    assert.same({ "second", "third" }, log)
    assert.is_false((pcall(scheduler.step)))
  end)

  it("R55: error listeners are told, with the traceback and the event", function()
    local e, got = new(), nil
    e:on("error", function(...) got = table.pack(...) end)
    e:on("READY", boom)
    e:emit("READY", "data", "shard")
    local data = got[1]
    assert.equal("EHANDLER", data.code)
    assert.equal("handler", data.phase)
    assert.equal("READY", data.event)
    assert.matches("emitter_spec.lua:%d+: boom$", data.message)
    assert.matches("boom\nstack traceback:.*emitter_spec.lua", data.traceback)
    assert.equal("shard", got[2])
    assert.equal("error", got[3])
    assert.equal(0, scheduler.step())
  end)

  it("R55: with no error listener the loop raises it, once the event has gone round", function()
    local e, calls = new(), 0
    local source = world.source()
    e:on("READY", boom)
    e:on("READY", function() calls = calls + 1 end)
    source.put(function() e:dispatch("READY", record_of({})) end)
    source.put(function() e:dispatch("READY", record_of({})) end)
    local fine, message = pcall(scheduler.step)
    assert.is_false(fine)
    assert.matches("^in a listener of READY: .*emitter_spec.lua:%d+: boom\nstack", message)
    assert.equal(1, calls)
  end)

  it("that are objects arrive as text in the event, and as they are when raised", function()
    local e, object, got = new(), { "an object" }, nil
    e:on("READY", function() error(object) end)
    e:emit("READY")
    assert.equal(object, select(2, pcall(scheduler.step)))
    e:on("error", function(data) got = data.message end)
    e:emit("READY")
    assert.equal(tostring(object), got)
    e:on("RESUMED", function() error(setmetatable({}, { __tostring = error })) end)
    e:emit("RESUMED")
    assert.matches("cannot be shown", got)
  end)

  it("after a wait are told as well", function()
    local e, got = new(), nil
    e:on("error", function(data) got = data.event end)
    e:on("READY", function()
      scheduler.sleep(1)
      boom()
    end)
    e:emit("READY")
    assert.is_nil(got)
    scheduler.step(1)
    assert.equal("READY", got)
  end)

  it("inside an error listener are raised, never told again", function()
    local e, calls = new(), 0
    e:on("error", function()
      calls = calls + 1
      error("in the error listener")
    end)
    e:on("READY", boom)
    e:emit("READY")
    assert.equal(1, calls)
    assert.matches("in a listener of error: .*in the error listener",
      select(2, pcall(scheduler.step)))
    assert.equal(0, scheduler.step())
  end)

  it("are told to the emitter above when there is no error listener here", function()
    local above, log = new(), {}
    local e = new { parent = above }
    above:on("error", function(data, shard) log[#log + 1] = { "above", data.event, shard } end)
    e:on("READY", boom)
    e:emit("READY", nil, "shard")
    assert.same({ { "above", "READY", "shard" } }, log)
    e:on("error", function() log[#log + 1] = "here" end)
    e:emit("READY")
    assert.equal("here", log[2])
    assert.is_nil(log[3])
  end)

  it("R56: an error event that nobody hears raises nothing by itself", function()
    local e = new()
    assert.is_false(e:emit("error", { code = "ERESOLVE", phase = "resolve" }))
    assert.equal(0, scheduler.step())
  end)

  it("of one that calls itself in a circle end it", function()
    local e, calls = new(), 0
    e:on("READY", function()
      calls = calls + 1
      e:emit("READY")
    end)
    e:emit("READY")
    assert.equal(32, calls)
    assert.matches("is that a circle", select(2, pcall(scheduler.step)))
  end)
end)

describe("emitter: dispatch", function()
  it("R54: hands over the data, decoded once", function()
    local e, got = new(), {}
    local record = record_of({ id = "1" })
    e:on("MESSAGE_CREATE", function(...) got[#got + 1] = { ... } end)
    e:on("MESSAGE_CREATE", function(...) got[#got + 1] = { ... } end)
    assert.is_true(e:dispatch("MESSAGE_CREATE", record, "shard"))
    assert.same({ { id = "1" }, "shard", "MESSAGE_CREATE" }, got[1])
    assert.equal(got[1][1], got[2][1])
    assert.equal(1, record.decoded)
    assert.equal(0, record.read)
  end)

  it("decodes nothing that nobody hears", function()
    local e = new()
    e:on("READY", print)
    e:once("MESSAGE_CREATE", print)
    e:off("MESSAGE_CREATE")
    local record = record_of({})
    assert.is_false(e:dispatch("MESSAGE_CREATE", record))
    assert.equal(0, record.decoded)
  end)

  it("hands raw listeners the text, and decodes nothing for them alone", function()
    local e, got = new(), {}
    e:on("READY", function(data, _, name) got[#got + 1] = data .. name end, { raw = true })
    e:once("READY", function(data) got[#got + 1] = data end, { raw = true })
    local record = record_of({})
    e:dispatch("READY", record)
    e:dispatch("READY", record)
    assert.same({ "the JSON textREADY", "the JSON text", "the JSON textREADY" }, got)
    assert.equal(0, record.decoded)
    e:prepend("READY", function(data) got[#got + 1] = type(data) end, { raw = false })
    e:dispatch("READY", record)
    assert.equal("table", got[4])
  end)

  it("hands lazy listeners what decodes itself, and decodes nothing for them alone", function()
    local e, got = new(), {}
    local function hear(data) got[#got + 1] = data end
    e:on("READY", hear, { lazy = true })
    e:once("READY", hear, { lazy = true })
    e:on("*", hear, { lazy = true })
    local record = record_of("the whole")
    e:dispatch("READY", record)
    assert.same({ "the lazy table", "the lazy table", "the lazy table" }, got)
    assert.same({ 0, 0 }, { record.decoded, record.read })
    e:on("READY", hear)
    e:on("READY", hear, { raw = true })
    e:prepend("READY", hear, { lazy = false })
    got, record = {}, record_of("the whole")
    e:dispatch("READY", record)
    assert.same({ "the whole", "the lazy table", "the whole", "the JSON text", "the lazy table" },
      got)
  end)

  it("R54: data that no lazy table can be made of is told as well", function()
    local e, log = new(), {}
    e:on("error", function(data) log[#log + 1] = data.code .. data.phase end)
    e:on("READY", function() log[#log + 1] = "never" end, { lazy = true })
    e:on("READY", function() log[#log + 1] = "never" end)
    e:on("READY", function(text) log[#log + 1] = text end, { raw = true })
    e:dispatch("READY", record_of(nil, "malformed", "ESYNTAX"))
    assert.same({ "ESYNTAXdecode", "the JSON text" }, log)
  end)

  it("hands waits and loops what they ask for", function()
    local e, log = new(), {}
    inside(function()
      scheduler.spawn(function() log[1] = e:wait_for("READY", { lazy = true }) end)
      scheduler.spawn(function()
        local step = e:events { "READY", lazy = true }
        log[2] = select(2, step())
      end)
      e:dispatch("READY", record_of("the whole"))
      scheduler.sleep(0)
    end)
    assert.same({ "the lazy table", "the lazy table" }, log)
  end)

  it('"*" hears every dispatch, known or not, but not our own events', function()
    local e, log = new(), {}
    e:on("*", function(data, _, name) log[#log + 1] = name .. tostring(data) end)
    e:on("READY", function() log[#log + 1] = "first the named" end)
    e:dispatch("READY", record_of(1))
    e:dispatch("NEVER_HEARD_OF", record_of(2))
    e:emit("close", 3)
    e:emit("error", 4)
    e:emit("MESSAGE_CREATE", 5)
    assert.same({ "first the named", "READY1", "NEVER_HEARD_OF2", "MESSAGE_CREATE5" }, log)
  end)

  it("R54: a dispatch that is called like one of our own events is not taken for it", function()
    local e, log = new(), {}
    for _, name in ipairs { "close", "error", "CLOSE" } do
      e:on(name, function() log[#log + 1] = "own" end)
    end
    assert.is_false(e:dispatch("ERROR", record_of(1)))
    e:on("*", function(_, _, name) log[#log + 1] = name end)
    assert.is_true(e:dispatch("CLOSE", record_of(1)))
    assert.is_true(e:dispatch("error", record_of(1)))
    assert.same({ "CLOSE", "error" }, log)
  end)

  it("R54: a name that can be none reaches those who hear everything", function()
    local e, log = new(), {}
    e:on("*", function(_, _, name) log[#log + 1] = #name end)
    e:dispatch(("X"):rep(100), record_of(1))
    e:dispatch("", record_of(1))
    assert.same({ 100, 0 }, log)
  end)

  it("hands over nil where the data is null", function()
    local e, got = new(), nil
    e:on("RESUMED", function(...) got = table.pack(...) end)
    e:dispatch("RESUMED", record_of(nil), "shard")
    assert.same(table.pack(nil, "shard", "RESUMED"), got)
  end)

  it("R54: data that cannot be decoded is told once and keeps nobody else from theirs", function()
    local e, log = new(), {}
    local record = record_of(nil, "nested too deeply", "EDEPTH")
    e:on("error", function(data, shard) log[#log + 1] = { data, shard } end)
    e:once("READY", function() log[#log + 1] = "never" end)
    e:on("READY", function() log[#log + 1] = "never" end)
    e:on("READY", function(data) log[#log + 1] = data end, { raw = true })
    e:on("*", function() log[#log + 1] = "never" end)
    assert.is_true(e:dispatch("READY", record, "shard"))
    assert.same({
      { { code = "EDEPTH", message = "nested too deeply", phase = "decode", event = "READY" },
        "shard" },
      "the JSON text",
    }, log)
    assert.equal(1, record.decoded)
    assert.equal(2, #e:listeners("READY") - 1) -- the one for once has not been used up
  end)

  it("in another style finds the same listeners", function()
    local e, got = new(), nil
    e:on("some_new_event", function(_, _, name) got = name end)
    e:dispatch("SOME_NEW_EVENT", record_of(1))
    assert.equal("SOME_NEW_EVENT", got)
  end)
end)

describe("emitter: deliver", function()
  local parent, child, log

  before_each(function()
    parent, log = new { blocked_after = 2, on_blocked = function(_, held)
      log[#log + 1] = held
    end }, {}
    child = new { parent = parent, blocked_after = 2, on_blocked = print }
  end)

  local function hear(where)
    return function(data, shard, name) log[#log + 1] = where .. data .. shard .. name end
  end

  it("reaches those of the parent as well, after its own, whoever comes and goes", function()
    local function deliver(value) return child:deliver("READY", record_of(value), "s") end
    parent:on("READY", hear "p")
    deliver(1)
    local own = child:on("*", hear "c")
    deliver(2)
    child:off("*", own)
    deliver(3)
    parent:on("*", hear "a")
    deliver(4)
    parent:off()
    deliver(5)
    parent:once("READY", hear "o")
    for value = 6, 7 do deliver(value) end
    assert.same({ "p1sREADY", "c2sREADY", "p2sREADY", "p3sREADY", "p4sREADY", "a4sREADY",
      "o6sREADY" }, log)
  end)

  it("takes the time that is known, and tells what it is afterwards", function()
    parent:on("READY", function() world.now = world.now + 1 end)
    assert.equal(world.now + 1, (child:deliver("READY", record_of(1), "s", world.now)))
    child:deliver("READY", record_of(1), "s", world.now - 1.5) -- so long the one before took
    assert.same({ 2.5 }, log)
    parent:on("READY", print)
    parent:off("READY", print)
    child:deliver("READY", record_of(1), "s", world.now - 9) -- the old way: the clock is read
    assert.same({ 2.5 }, log)
  end)

  it("tells of data that cannot be decoded, once, and says so", function()
    local broken = record_of(nil, "malformed", "ESYNTAX")
    parent:on("error", function(data) log[#log + 1] = data.code end)
    parent:on("READY", hear "p")
    assert.is_true((select(2, child:deliver("READY", broken, "s"))))
    assert.is_false((select(2, child:deliver("READY", record_of(1), "s"))))
    assert.same({ "ESYNTAX", "p1sREADY" }, log)
  end)

  it("keeps ways in bounds, whatever names come", function()
    parent:on("*", math.abs)
    for number = 1, 2000 do child:deliver("NAME_" .. number, record_of(1), "s") end
    local ways = 0
    for _ in pairs(child.ways) do ways = ways + 1 end
    assert.is_true(ways > 0 and ways <= 512)
  end)
end)

describe("emitter: what is heard", function()
  it("is told as sorted names", function()
    local e = new()
    assert.same({ {}, false, {} }, { e:names() })
    local own = { "blocked", "close", "connect", "error", "fatal", "gap", "log", "send", "state" }
    for _, name in ipairs { "ready", "MESSAGE_CREATE", "resumed", "*", "somethingNew" } do
      e:on(name, print)
    end
    for i = #own, 1, -1 do e:on(own[i], print) end
    local dispatches = { "MESSAGE_CREATE", "READY", "RESUMED", "SOMETHING_NEW" }
    assert.same({ dispatches, true, own }, { e:names() })
    e:off("*")
    e:off(table.remove(own, 2))
    assert.same({ dispatches, false, own }, { e:names() })
  end)

  it("changes when the first comes and the last goes, not for each", function()
    local e = new()
    e:on("READY", print)
    assert.equal(1, changes)
    e:on("READY", math.abs)
    e:once("ready", math.abs)
    assert.equal(1, changes)
    e:off("READY", math.abs)
    assert.equal(1, changes)
    e:off("READY", print)
    assert.equal(2, changes)
    e:off("READY", print)
    assert.equal(2, changes)
    e:once("send", math.type)
    assert.equal(3, changes)
    e:emit("send")
    assert.equal(4, changes)
  end)

  it("names its owner when it changes", function()
    local owner, got = {}, nil
    local e = new { owner = owner, on_change = function(one) got = one end }
    e:on("READY", print)
    assert.equal(owner, got)
  end)

  it("counts those who wait and loops, unlike listeners", function()
    local e = new()
    assert.is_false(e:hears("READY"))
    scheduler.spawn(function() e:wait_for("READY") end)
    assert.is_true(e:hears("ready"))
    assert.same({ "READY" }, (e:names()))
    assert.equal(0, e:listener_count("READY"))
    assert.same({}, e:listeners("READY"))
    local step = e:events("READY")
    assert.equal(0, e:listener_count())
    e:emit("READY")
    assert.same({ "READY" }, { step() })
    e:close()
    assert.is_false(e:hears("READY"))
    e:on("*", print)
    assert.is_true(e:hears("READY"))
    assert.is_false(e:hears("close"))
  end)
end)

describe("emitter: wait_for", function()
  it("waits for the next such event", function()
    local e, got = new(), nil
    scheduler.spawn(function() got = table.pack(e:wait_for("messageCreate")) end)
    e:dispatch("READY", record_of(0))
    assert.is_nil(got)
    e:dispatch("MESSAGE_CREATE", record_of({ id = "1" }), "shard")
    assert.same(table.pack({ id = "1" }, "shard", "MESSAGE_CREATE"), got)
    assert.is_false(e:dispatch("MESSAGE_CREATE", record_of(1)))
  end)

  it("turns the loop at top level", function()
    local e, source = new(), world.source()
    world.at(2, function()
      source.put(function() e:dispatch("READY", record_of("data"), "shard") end)
    end)
    assert.same({ "data", "shard", "READY" }, { e:wait_for("ready", { timeout = 5 }) })
    assert.equal(1002, world.now)
    assert.same({}, (e:names()))
  end)

  it("takes nothing but itself away when it ends", function()
    local e, calls = new(), 0
    e:on("READY", function() calls = calls + 1 end)
    for _ = 1, 5 do
      scheduler.spawn(function() e:wait_for("READY") end)
      e:emit("READY")
    end
    assert.equal(5, calls)
    assert.equal(1, e:listener_count("READY"))
    assert.equal(1, changes)
  end)

  it("misses nothing between one wait and the next", function()
    local e, got = new(), {}
    scheduler.spawn(function()
      for i = 1, 3 do got[i] = e:wait_for("READY") end
    end)
    local source = world.source()
    for i = 1, 3 do source.put(function() e:dispatch("READY", record_of(i)) end) end
    scheduler.step()
    assert.same({ 1, 2, 3 }, got)
  end)

  it("takes only what the filter likes", function()
    local e, got = new(), nil
    scheduler.spawn(function()
      got = e:wait_for("READY", { filter = function(data, shard, name)
        return data > 2 and shard == "shard" and name == "READY"
      end })
    end)
    for i = 1, 5 do e:dispatch("READY", record_of(i), "shard") end
    assert.equal(3, got)
  end)

  it("lets a filter wait", function()
    local e, got = new(), nil
    scheduler.spawn(function()
      got = e:wait_for("READY", { filter = function(data)
        scheduler.sleep(data)
        return true
      end })
    end)
    e:emit("READY", 2)
    e:emit("READY", 1)
    scheduler.step(1)
    assert.equal(1, got)
    scheduler.step(1)
    assert.equal(1, got)
    assert.equal(0, #(e:names()))
  end)

  it("raises the filter's error where it waits", function()
    local e, message = new(), nil
    scheduler.spawn(function()
      message = select(2, pcall(e.wait_for, e, "READY", { filter = function() error("oh", 0) end }))
    end)
    e:emit("READY")
    assert.equal("oh", message)
    assert.equal(0, #(e:names()))
    assert.equal(0, scheduler.step())
  end)

  it("hands over text when it is asked to", function()
    local e, got = new(), nil
    scheduler.spawn(function() got = e:wait_for("READY", { raw = true }) end)
    local record = record_of({})
    e:dispatch("READY", record)
    assert.equal("the JSON text", got)
    assert.equal(0, record.decoded)
  end)

  it("gives up in time, and leaves nothing behind", function()
    local e = new()
    inside(function()
      assert.same({ nil, "wait_for READY: nothing came within 1.5 s", "ETIMEOUT" },
        { e:wait_for("READY", { timeout = 1.5 }) })
    end)
    assert.equal(1001.5, world.now)
    assert.same({ nil, "wait_for READY: nothing came within 0 s", "ETIMEOUT" },
      { e:wait_for("READY", { timeout = 0 }) })
    assert.same({}, (e:names()))
    assert.is_nil(scheduler.timeout())
  end)

  it("says so when nothing is running", function()
    local e = new()
    local data, message, code = e:wait_for("READY")
    assert.is_nil(data)
    assert.matches("^wait_for READY: nothing is running", message)
    assert.equal("ECLOSED", code)
    assert.same({}, (e:names()))
  end)

  it("ends when the emitter is closed, and at once from then on", function()
    local e, got = new(), {}
    for i = 1, 3 do
      scheduler.spawn(function() got[i] = table.pack(e:wait_for("READY")) end)
    end
    e:close("stopped", "ECLOSED")
    for i = 1, 3 do assert.same(table.pack(nil, "wait_for READY: stopped", "ECLOSED"), got[i]) end
    assert.same({ nil, "wait_for RESUMED: stopped", "ECLOSED" }, { e:wait_for("RESUMED") })
    assert.same({}, (e:names()))
    e:close("token not accepted", "EAUTH")
    assert.same({ nil, "wait_for READY: token not accepted", "EAUTH" }, { e:wait_for("READY") })
    e:close()
    assert.same({ nil, "wait_for READY: closed", "ECLOSED" }, { e:wait_for("READY") })
  end)

  it("works again once the emitter is opened", function()
    local e, got = new(), nil
    e:close()
    e:open()
    scheduler.spawn(function() got = e:wait_for("READY") end)
    e:emit("READY", 1)
    assert.equal(1, got)
  end)

  it("survives one that opens and waits again out of the close", function()
    local e, log = new(), {}
    for i = 1, 2 do
      scheduler.spawn(function()
        local code = select(3, e:wait_for("READY"))
        log[#log + 1] = code .. i
        e:open()
        local data = e:wait_for("RESUMED")
        log[#log + 1] = data .. i
      end)
    end
    e:close("bye", "ECLOSED")
    e:emit("RESUMED", "again")
    table.sort(log)
    assert.same({ "ECLOSED1", "ECLOSED2", "again1", "again2" }, log)
  end)

  it("is not taken away by off", function()
    local e, got = new(), nil
    scheduler.spawn(function() got = e:wait_for("READY") end)
    e:off("READY")
    e:off()
    e:emit("READY", 1)
    assert.equal(1, got)
  end)

  it("lets go when the loop raises meanwhile", function()
    local e, source = new(), world.source()
    source.put(function() scheduler.spawn(error, "somebody else's") end)
    assert.is_false((pcall(e.wait_for, e, "READY")))
    assert.same({}, (e:names()))
  end)

  it("checks its options", function()
    local e = new()
    local function complaint(options)
      local fine, message = pcall(function() e:wait_for("READY", options) end)
      assert.is_false(fine)
      return message
    end
    assert.matches("wait_for: timeout must be a number of seconds from 0, got %-1$",
      complaint { timeout = -1 })
    assert.matches('timeout must be a number of seconds from 0, got "1"$',
      complaint { timeout = "1" })
    assert.matches("wait_for: filter must be a function, got 5$", complaint { filter = 5 })
    assert.matches("wait_for: unknown option time; there are: filter, lazy, raw, timeout",
      complaint { time = 5 })
  end)

  it("does not grow over 1e4 waits", function()
    local e = new()
    local function run(times)
      for _ = 1, times do
        scheduler.spawn(function() e:wait_for("READY", { timeout = 60, filter = math.abs }) end)
        e:emit("READY", 1)
      end
    end
    run(100)
    local before = virtual.kept_bytes()
    run(10000)
    assert(virtual.kept_bytes() - before < 4096)
  end)
end)

describe("emitter: events", function()
  it("is the stream as a loop, at top level", function()
    local e, source, log = new(), world.source(), {}
    for i = 1, 3 do
      source.put(function() e:dispatch("READY", record_of(i), "shard") end)
    end
    source.put(function() e:close() end)
    for event, data, shard in e:events() do log[#log + 1] = { event, data, shard } end
    assert.same({ { "READY", 1, "shard" }, { "READY", 2, "shard" }, { "READY", 3, "shard" } }, log)
    assert.is_false(e:hears("READY"))
  end)

  it("is the same in one of our coroutines", function()
    local e, log = new(), {}
    scheduler.spawn(function()
      for event, data in e:events() do
        log[#log + 1] = event .. tostring(data)
        scheduler.sleep(1)
      end
      log[#log + 1] = "end"
    end)
    e:emit("READY", 1)
    e:emit("RESUMED", nil)
    e:emit("close", 9)
    scheduler.step(1)
    e:close()
    scheduler.step(1)
    assert.same({ "READY1", "RESUMEDnil", "end" }, log)
  end)

  it("takes names, in any style, once each", function()
    local e, log = new(), {}
    scheduler.spawn(function()
      for event in e:events("messageCreate", "MESSAGE_CREATE", "close") do log[#log + 1] = event end
    end)
    assert.same({ { "MESSAGE_CREATE" }, false, { "close" } }, { e:names() })
    e:emit("READY")
    e:emit("MESSAGE_CREATE")
    e:emit("close")
    assert.same({ "MESSAGE_CREATE", "close" }, log)
  end)

  it("goes on after a collection, though nobody holds the coroutine that waits", function()
    local e, log = new(), {}
    scheduler.spawn(function()
      for event in e:events("READY") do log[#log + 1] = event end
    end)
    collectgarbage()
    collectgarbage()
    e:emit("READY")
    assert.same({ "READY" }, log)
  end)

  it("takes a list of names with options", function()
    local e, log = new(), {}
    scheduler.spawn(function()
      for event, data in e:events { "READY", raw = true } do log[#log + 1] = event .. data end
    end)
    local record = record_of({})
    e:dispatch("READY", record)
    assert.same({ "READYthe JSON text" }, log)
    assert.equal(0, record.decoded)
    assert.has_error(function() e:events { "READY", limit = 0 } end)
    assert.has_error(function() e:events { "READY", lmit = 5 } end)
  end)

  it("gives up what it heard when the loop is left", function()
    local e = new()
    scheduler.spawn(function()
      for event in e:events("READY") do
        if event == "READY" then break end
      end
    end)
    assert.is_true(e:hears("READY"))
    e:emit("READY")
    assert.is_false(e:hears("READY"))
    scheduler.spawn(function()
      for _ in e:events("READY") do error("left by an error") end
    end)
    e:emit("READY")
    assert.is_false(e:hears("READY"))
    assert.is_false((pcall(scheduler.step)))
  end)

  it("gives up what it heard when the loop was thrown away unclosed", function()
    local e = new()
    local step = e:events("READY")
    e:emit("READY", 1)
    assert.same({ "READY", 1 }, { step() })
    step = nil
    assert.is_nil(step)
    virtual.kept_bytes()
    e:emit("READY", 2)
    assert.is_false(e:hears("READY"))
  end)

  it("delivers what is there after the emitter was closed, then ends for good", function()
    local e = new()
    local step = e:events("READY")
    e:emit("READY", 1)
    e:close()
    e:open()
    e:emit("READY", 2)
    assert.same({ "READY", 1 }, { step() })
    assert.is_nil((step()))
    assert.is_nil((step()))
    e:close()
    assert.is_nil((e:events()()))
  end)

  it("drops the oldest of too many, and tells once, and how many in the end", function()
    local e, told, logged = new(), {}, {}
    e:on("log", function(data) logged[#logged + 1] = data end)
    e:on("error", function(data) told[#told + 1] = data end)
    local step = e:events { "READY", limit = 3 }
    for i = 1, 10 do e:emit("READY", i) end
    assert.equal(1, #told)
    assert.equal("EBUSY", told[1].code)
    assert.equal("events", told[1].phase)
    assert.is_nil(told[1].level)
    assert.matches("3 events behind; the oldest are dropped", told[1].message)
    for i = 8, 10 do assert.same({ "READY", i }, { step() }) end
    world.source().put(function() e:emit("READY", 11) end)
    assert.same({ "READY", 11 }, { step() })
    assert.same({ { level = "warn", fields = { dropped = 7 },
      message = "events: the loop has caught up; 7 events were dropped" } }, logged)
    for i = 1, 4 do e:emit("READY", i) end
    assert.equal(2, #told)
    for _ = 1, 3 do step() end
    e:close()
    assert.is_nil((step()))
    assert.equal(1, logged[2].fields.dropped)
  end)

  it("tells of that in the log when nobody hears errors, and raises nothing", function()
    local e, told = new(), nil
    e:on("log", function(data) told = data end)
    local step = e:events { "READY", limit = 1 }
    for i = 1, 3 do e:emit("READY", i) end
    assert.same({ level = "warn", message = told.message,
      fields = { code = "EBUSY", phase = "events" } }, told)
    assert.equal(0, scheduler.step())
    assert.same({ "READY", 3 }, { step() })
  end)

  it("is bounded without a limit of one's own, too", function()
    local e = new()
    local step = e:events()
    for i = 1, 5000 do e:emit("READY", i) end
    assert.same({ "READY", 5000 - 1024 + 1 }, { step() })
  end)

  it("raises when nothing is running that could bring an event", function()
    local e = new()
    local fine, message = pcall(function()
      for event in e:events() do assert(event) end
    end)
    assert.is_false(fine)
    assert.matches("events: nothing is running.*connect first", message)
    assert.same({ {}, false, {} }, { e:names() })
  end)

  it("serves one who waits at a time", function()
    local e = new()
    local step = e:events("READY")
    scheduler.spawn(function() step() end)
    assert.has_error(function() step() end)
  end)
end)

describe("emitter: blocked", function()
  it("R7: names a listener that held the Lua side, and where it stands", function()
    local owner = {}
    local e = new { owner = owner, blocked_after = 2, on_blocked = function(...)
      blocked[#blocked + 1] = { ... }
    end }
    local function slow() world.now = world.now + 5 end
    e:on("READY", slow)
    e:on("READY", function() world.now = world.now + 1 end)
    e:emit("READY")
    local line = debug.getinfo(slow, "S").linedefined
    assert.equal(1, #blocked)
    assert.same({ "READY", 5 }, { blocked[1][1], blocked[1][2] })
    assert.matches("emitter_spec.lua:" .. line .. "$", blocked[1][3])
    assert.equal(owner, blocked[1][4])
  end)

  it("measures to the first wait and from there on", function()
    local e = new { blocked_after = 2, on_blocked = function(_, held)
      blocked[#blocked + 1] = held
    end }
    e:on("READY", function()
      scheduler.sleep(100)
      world.now = world.now + 3
    end)
    e:emit("READY")
    assert.same({}, blocked)
    scheduler.step(100)
    assert.same({ 3 }, blocked)
  end)

  it("does not report a listener of blocked", function()
    local e
    e = new { blocked_after = 1, on_blocked = function(event)
      blocked[#blocked + 1] = event
      e:emit("blocked")
    end }
    e:on("blocked", function() world.now = world.now + 5 end)
    e:on("READY", function() world.now = world.now + 5 end)
    e:emit("READY")
    assert.same({ "READY" }, blocked)
  end)

  it("names callable objects and C functions as well as they can be", function()
    local e = new { blocked_after = 1, on_blocked = function(_, _, where)
      blocked[#blocked + 1] = where
    end }
    local meta = { __call = function() world.now = world.now + 5 end }
    e:on("READY", setmetatable({}, meta))
    e:emit("READY")
    assert.matches(":" .. debug.getinfo(meta.__call, "S").linedefined .. "$", blocked[1])
    local step = 0
    scheduler.now = function()
      step = step + 10
      return step
    end
    e:on("RESUMED", math.abs)
    e:emit("RESUMED", 1)
    assert.equal("[C]", blocked[2])
    local outer = setmetatable({}, { __call = setmetatable({}, { __call = function() end }) })
    e:on("GUILD_CREATE", outer)
    e:emit("GUILD_CREATE")
    assert.equal("?", blocked[3])
  end)

  it("reads no clock when it is off", function()
    local e = new { blocked_after = nil, on_blocked = print }
    scheduler.now = function() error("the clock was read") end
    e:on("READY", function() end)
    e:emit("READY")
    e = new { blocked_after = 1 }
    e:on("READY", function() end)
    e:emit("READY")
    assert.equal(0, scheduler.step())
  end)
end)

describe("emitter: new", function()
  it("needs no options", function()
    local e, got = emitter.new(), nil
    e:on("READY", function(data) got = data end)
    e:emit("READY", 1)
    e:off()
    assert.equal(1, got)
  end)
end)

describe("emitter: delegate", function()
  local methods, object, e

  before_each(function()
    methods = {}
    assert.equal(methods, emitter.delegate(methods, function(self) return self.inner end))
    e = new()
    object = setmetatable({ inner = e }, { __index = methods })
  end)

  it("forwards every public method", function()
    local log = {}
    local function fn(data) log[#log + 1] = data end
    assert.equal(fn, object:on("READY", fn))
    assert.equal(print, object:once("RESUMED", print))
    assert.equal(math.abs, object:prepend("READY", math.abs))
    assert.same({ math.abs, fn }, object:listeners("READY"))
    assert.equal(2, object:listener_count("READY"))
    assert.is_true(object:emit("READY", 5))
    assert.same({ 5 }, log)
    assert.is_true(object:off("READY"))
    assert.equal("ETIMEOUT", select(3, object:wait_for("READY", { timeout = 0 })))
    local step = object:events("READY")
    object:emit("READY", 6)
    assert.same({ "READY", 6 }, { step() })
  end)

  it("hands out nothing else", function()
    for _, name in ipairs { "dispatch", "close", "open", "names", "hears" } do
      assert.is_nil(methods[name])
    end
  end)

  it("complains at the user's line", function()
    local here = debug.getinfo(1, "l").currentline
    local fine, message = pcall(function() object:on("READY", 5) end)
    assert.is_false(fine)
    assert.matches("emitter_spec.lua:" .. here + 1 .. ": on: fn must be", message)
  end)
end)

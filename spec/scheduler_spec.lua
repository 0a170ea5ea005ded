-- scheduler_spec.lua: pooled coroutines, waits, timers and the loop, on a clock that stands still.

local virtual = require "virtual"

local world, scheduler

before_each(function()
  world = virtual.world()
  scheduler = world.scheduler
end)

local function never() return false end

-- Runs fn in a coroutine of the user's own, which is not one of ours.
local function in_own_coroutine(fn)
  local co = coroutine.create(fn)
  local results = table.pack(coroutine.resume(co))
  assert(results[1], results[2])
  return table.unpack(results, 2, results.n)
end

describe("scheduler: spawn", function()
  it("runs at once until the first wait", function()
    local seen = {}
    scheduler.spawn(function(a, b)
      seen[#seen + 1] = a
      scheduler.sleep(1)
      seen[#seen + 1] = b
    end, "one", "two")
    assert.same({ "one" }, seen)
    scheduler.step(1)
    assert.same({ "one", "two" }, seen)
  end)

  it("passes nil arguments through", function()
    local got
    scheduler.spawn(function(...) got = table.pack(...) end, nil, 2, nil)
    assert.same(table.pack(nil, 2, nil), got)
  end)

  it("takes objects that can be called and refuses the others", function()
    local called = false
    scheduler.spawn(setmetatable({}, { __call = function() called = true end }))
    assert.is_true(called)
    local fine, message = pcall(function() scheduler.spawn({}) end)
    assert.is_false(fine)
    assert.matches("scheduler_spec.lua:%d+: spawn: fn must be a function, got table", message)
  end)

  it("uses coroutines again", function()
    local first, second
    scheduler.spawn(function() first = coroutine.running() end)
    scheduler.spawn(function() second = coroutine.running() end)
    assert.equal(first, second)
  end)

  it("never uses a coroutine again that died", function()
    local first, second
    scheduler.spawn(function() first = coroutine.running() error("x") end)
    scheduler.spawn(function() second = coroutine.running() end)
    assert.not_equal(first, second)
    assert.equal("dead", coroutine.status(first))
    scheduler.spawn(function() first = coroutine.running() end)
    coroutine.close(first) -- a user closed it while it lay in the pool
    local ran = false
    scheduler.spawn(function() ran = coroutine.running() ~= first end)
    assert.is_true(ran)
  end)

  it("is not fooled by a foreign resume of a free coroutine", function()
    local co
    scheduler.spawn(function() co = coroutine.running() end)
    assert.is_true(coroutine.resume(co, print, "stray"))
    local ran = 0
    scheduler.spawn(function() ran = ran + 1 end)
    assert.equal(1, ran)
  end)

  it("stays apart when a user resumes our coroutine after a yield of his own", function()
    local steps, co = {}, nil
    scheduler.spawn(function()
      co = coroutine.running()
      steps[#steps + 1] = coroutine.yield()
      scheduler.sleep(1)
      steps[#steps + 1] = "slept"
    end)
    local other
    scheduler.spawn(function() other = coroutine.running() end)
    assert.not_equal(co, other)
    assert.is_true(coroutine.resume(co, "by hand"))
    scheduler.step(1)
    assert.same({ "by hand", "slept" }, steps)
  end)

  it("does not grow over 1e5 runs", function()
    local function run(times)
      for _ = 1, times do scheduler.spawn(math.abs, 1) end
    end
    run(1000)
    local before = virtual.kept_bytes()
    run(100000)
    assert(virtual.kept_bytes() - before < 1024)
  end)

  it("does not grow over 1e4 runs that sleep, fail or wait too deep", function()
    local function run(times)
      for _ = 1, times do
        scheduler.spawn(function() scheduler.sleep(0) end)
        scheduler.run_protected(error, function() end, "x")
        local waiter = scheduler.waiter()
        scheduler.spawn(function() waiter:wait(1000) end)
        waiter:wake()
        scheduler.spawn(function() scheduler.step(0) end)
        scheduler.step()
      end
    end
    run(100)
    local before = virtual.kept_bytes()
    run(10000)
    assert(virtual.kept_bytes() - before < 4096)
    assert.is_nil(scheduler.timeout())
  end)

  it("keeps nothing of a job that has ended", function()
    local kept = setmetatable({}, { __mode = "k" })
    local function job(...)
      for i = 1, select("#", ...) do kept[(select(i, ...))] = true end
    end
    local function handler() return kept end
    kept[handler] = true
    scheduler.run_timed(5, handler, job, handler, {}, {}, {}, {})
    handler = nil
    assert.is_nil(handler)
    virtual.kept_bytes()
    assert.is_nil(next(kept))
  end)

  it("minds no long stretch", function()
    scheduler.spawn(function() world.now = world.now + 1e6 end)
    scheduler.run_protected(function() world.now = world.now + 1e6 end, error)
    assert.equal(0, scheduler.step())
  end)

  it("keeps only some of many coroutines that were in use at once", function()
    local list = setmetatable({}, { __mode = "k" })
    for _ = 1, 1000 do
      scheduler.spawn(function()
        list[coroutine.running()] = true
        scheduler.sleep(1)
      end)
    end
    scheduler.step(1)
    virtual.kept_bytes()
    local kept = 0
    for _ in pairs(list) do kept = kept + 1 end
    assert(kept > 0 and kept <= 64, kept)
  end)

  it("is told when coroutines start one another in a circle", function()
    local deepest = 0
    local function circle(depth)
      deepest = math.max(deepest, depth)
      pcall(pcall, scheduler.spawn, circle, depth + 1)
    end
    scheduler.spawn(circle, 1)
    assert.equal(32, deepest)
    local function strict(depth) scheduler.spawn(strict, depth + 1) end
    scheduler.spawn(strict, 1)
    local fine, message = pcall(scheduler.step)
    assert.is_false(fine)
    assert.matches("spawn: 32 coroutines were started one out of another", message)
  end)
end)

describe("scheduler: errors", function()
  it("of nesting too deep go to the handler, or are raised", function()
    local deepest, got = 0, nil
    local function circle(depth, handler)
      deepest = math.max(deepest, depth)
      scheduler.run_protected(circle, handler, depth + 1, handler)
    end
    circle(0, function(...) got = table.pack(...) end)
    assert.equal(32, deepest)
    assert.matches("^32 coroutines were started one out of another: is that a circle%?$", got[1])
    assert.matches("stack traceback:.*scheduler_spec.lua", got[2])
    assert.equal(33, got[3])
    assert.equal(0, scheduler.step())
    circle(0, nil)
    assert.matches("is that a circle", select(2, pcall(scheduler.step)))
    assert.equal(0, scheduler.step())
  end)

  it("go to the handler with the coroutine's traceback and the arguments", function()
    local got
    local function broken_inside() error("boom") end
    scheduler.run_protected(function() broken_inside() end,
      function(...) got = table.pack(...) end, 1, 2, 3)
    assert.matches("scheduler_spec.lua:%d+: boom", got[1])
    assert.matches("boom\nstack traceback:.*broken_inside", got[2])
    assert.same({ 1, 2, 3 }, { got[3], got[4], got[5] })
    assert.equal(0, scheduler.step())
  end)

  it("go to the handler also after a wait", function()
    local got
    scheduler.run_protected(function()
      scheduler.sleep(1)
      error({ "an object" })
    end, function(err) got = err end)
    assert.is_nil(got)
    scheduler.step(1)
    assert.same({ "an object" }, got)
  end)

  it("of spawn are raised from the next step, with a traceback", function()
    scheduler.spawn(function() error("first") end)
    scheduler.spawn(function() error("second") end)
    local fine, message = pcall(scheduler.step)
    assert.is_false(fine)
    assert.matches("scheduler_spec.lua:%d+: first\nstack traceback:", message)
    assert.matches("second", select(2, pcall(scheduler.step)))
    assert.equal(0, scheduler.step())
  end)

  it("that are no strings are raised as they are", function()
    local object = { code = 1 }
    scheduler.spawn(function() error(object) end)
    local fine, err = pcall(scheduler.step)
    assert.is_false(fine)
    assert.equal(object, err)
    scheduler.spawn(function() error() end)
    fine, err = pcall(scheduler.step)
    assert.is_false(fine)
    assert.matches("nil", err)
    scheduler.spawn(function() error(setmetatable({}, { __tostring = error })) end)
    assert.is_false((pcall(scheduler.step)))
  end)

  it("are raised from run_until and from a sleep at top level as well", function()
    scheduler.after(1, function() error("late") end)
    assert.matches("late", select(2, pcall(scheduler.run_until, never)))
    scheduler.after(1, function() error("later") end)
    local fine, message = pcall(scheduler.sleep, 5)
    assert.is_false(fine)
    assert.matches("later", message)
    assert.is_nil(scheduler.timeout()) -- the sleep's own timer is gone
  end)

  it("end a pump, so that they come right after what caused them", function()
    local source, done = world.source(), 0
    for _ = 1, 3 do
      source.put(function()
        done = done + 1
        scheduler.spawn(error, "x")
      end)
    end
    assert.is_false((pcall(scheduler.step)))
    assert.equal(1, done)
    assert.is_false((pcall(scheduler.step)))
    assert.equal(2, done)
  end)

  it("keep the sources behind from being pumped before they are raised", function()
    local first, second, done = world.source(), world.source(), 0
    first.put(function() scheduler.spawn(error, "x") end)
    second.put(function() done = done + 1 end)
    assert.is_false((pcall(scheduler.step)))
    assert.equal(0, done)
    assert.equal(1, scheduler.step())
    assert.equal(1, done)
  end)

  it("in a handler of errors are raised, never handled again", function()
    local calls = 0
    scheduler.run_protected(error, function()
      calls = calls + 1
      error("in the handler")
    end, "x")
    assert.equal(1, calls)
    assert.matches("in the handler", select(2, pcall(scheduler.step)))
  end)

  it("are kept in a bounded number, and those beyond are counted", function()
    for i = 1, 150 do scheduler.spawn(error, "number " .. i) end
    assert.matches("number 1\n.*50 more errors", select(2, pcall(scheduler.step)))
    for i = 2, 100 do
      assert.matches("number " .. i .. "\n", select(2, pcall(scheduler.step)))
    end
    assert.equal(0, scheduler.step())
  end)

  it("close what was to be closed, after the traceback and before the report", function()
    local log = {}
    scheduler.run_protected(function()
      local guard <close> = setmetatable({}, { __close = function() log[#log + 1] = "closed" end })
      assert(guard)
      scheduler.sleep(1)
      error("boom")
    end, function(_, traceback)
      log[#log + 1] = traceback:match("boom")
    end)
    scheduler.step(1)
    assert.same({ "closed", "boom" }, log)
  end)

  it("of a closing method take the place of the first", function()
    local got
    scheduler.run_protected(function()
      local guard <close> = setmetatable({}, { __close = function() error("while closing", 0) end })
      assert(guard)
      error("first", 0)
    end, function(err, traceback) got = { err, traceback:match("first") } end)
    assert.same({ "while closing", "first" }, got)
  end)

  it("let a to-be-closed variable wait when the function ends well", function()
    local done = false
    scheduler.spawn(function()
      local guard <close> = setmetatable({}, { __close = function()
        scheduler.sleep(1)
        done = true
      end })
      assert(guard)
    end)
    assert.is_false(done)
    scheduler.step(1)
    assert.is_true(done)
  end)

  it("do not hit a listener that turns the loop itself", function()
    local source, outcome = world.source(), nil
    source.put(function()
      scheduler.spawn(function()
        in_own_coroutine(function()
          source.put(function() scheduler.spawn(error, "not yours") end)
          scheduler.sleep(1)
          outcome = "slept well"
        end)
      end)
    end)
    local fine, message = pcall(scheduler.step)
    assert.equal("slept well", outcome)
    assert.is_false(fine)
    assert.matches("not yours", message)
  end)
end)

describe("scheduler: sleep", function()
  it("yields inside one of our coroutines", function()
    local log = {}
    for _, name in ipairs { "a", "b" } do
      scheduler.spawn(function()
        for i = 1, 2 do
          scheduler.sleep(name == "a" and 1 or 1.5)
          log[#log + 1] = ("%s%d@%g"):format(name, i, world.now - 1000)
        end
      end)
    end
    scheduler.run_until(function() return #log == 4 end)
    assert.same({ "a1@1", "b1@1.5", "a2@2", "b2@3" }, log)
  end)

  it("turns the loop at top level", function()
    local ticks = 0
    scheduler.spawn(function()
      while true do
        scheduler.sleep(1)
        ticks = ticks + 1
      end
    end)
    scheduler.sleep(3.5)
    assert.equal(3, ticks)
    assert.equal(1003.5, world.now)
  end)

  it("turns the loop in a coroutine that is not ours", function()
    local ticks = 0
    scheduler.after(1, function() ticks = ticks + 1 end)
    in_own_coroutine(function() scheduler.sleep(2) end)
    assert.equal(1, ticks)
    local wrapped = coroutine.wrap(function()
      scheduler.sleep(1)
      coroutine.yield("mine")
    end)
    assert.equal("mine", wrapped())
    assert.equal(1003, world.now)
  end)

  it("turns the loop where one of ours may not yield", function()
    local ticks, order = 0, { 3, 1, 2 }
    scheduler.spawn(function()
      scheduler.after(1, function() ticks = ticks + 1 end)
      table.sort(order, function(one, other)
        scheduler.sleep(1)
        return one < other
      end)
    end)
    assert.same({ 1, 2, 3 }, order)
    assert.equal(1, ticks)
  end)

  it("of nothing gives everybody a turn", function()
    local source, log = world.source(), {}
    scheduler.spawn(function()
      for i = 1, 3 do
        log[#log + 1] = i
        source.put(function() log[#log + 1] = "source" end)
        scheduler.sleep(0)
      end
    end)
    scheduler.run_until(function() return #log >= 6 end)
    assert.same({ 1, "source", 2, "source", 3, "source" }, log)
  end)

  it("refuses what is no time", function()
    for _, bad in ipairs { -1, 0 / 0, "1", {} } do
      local fine, message = pcall(scheduler.sleep, bad)
      assert.is_false(fine)
      assert.matches("sleep: seconds must be a number of seconds from 0", message)
    end
    local fine, message = pcall(function() scheduler.sleep() end)
    assert.is_false(fine)
    assert.matches("scheduler_spec.lua:%d+: sleep: .*got nil", message)
  end)

  it("goes on after a signal", function()
    world.at(1, function() return nil, "EINTR" end)
    scheduler.sleep(3)
    assert.equal(1003, world.now)
  end)

  it("nests only so deep, and says why", function()
    local sleeping, deepest, message = 0, 0, nil
    local source = world.source()
    local function listener(depth)
      in_own_coroutine(function()
        if not message then
          source.put(function() scheduler.spawn(listener, depth + 1) end)
        end
        sleeping = sleeping + 1
        local fine, err = pcall(scheduler.sleep, 1)
        if fine then deepest = math.max(deepest, sleeping) else message = err end
        sleeping = sleeping - 1
      end)
    end
    source.put(function() scheduler.spawn(listener, 1) end)
    scheduler.step()
    assert.equal(7, deepest) -- and the step below them all
    assert.matches("8 waits are nested", message)
  end)
end)

describe("scheduler: waiters", function()
  it("hand over what they are woken with", function()
    local got
    local waiter = scheduler.waiter()
    scheduler.spawn(function() got = table.pack(waiter:wait()) end)
    assert.is_true(waiter:wake(1, nil, 3, nil))
    assert.same(table.pack(1, nil, 3, nil), got)
  end)

  it("may be woken before anybody waits, and only once", function()
    local waiter = scheduler.waiter()
    assert.is_true(waiter:wake("first"))
    assert.is_false(waiter:wake("second"))
    assert.equal("first", waiter:wait())
    assert.is_true(waiter:wake("third"))
    assert.equal("third", waiter:wait(0))
  end)

  it("give up in time", function()
    local got
    scheduler.spawn(function() got = table.pack(scheduler.waiter():wait(2)) end)
    scheduler.step(1)
    assert.is_nil(got)
    scheduler.step(1)
    assert.same(table.pack(nil, "timeout"), got)
    assert.same({ nil, "timeout" }, { scheduler.waiter():wait(1) })
    assert.equal(1003, world.now)
  end)

  it("can be waited at again after they gave up", function()
    local waiter = scheduler.waiter()
    for round = 1, 3 do
      assert.same({ nil, "timeout" }, { waiter:wait(2) })
      assert.equal(1000 + 2 * round, world.now)
    end
    world.source().put(function() waiter:wake("at last") end)
    assert.equal("at last", waiter:wait(2))
    assert.equal(1006, world.now)
  end)

  it("take their timer with them", function()
    local waiter = scheduler.waiter()
    scheduler.spawn(function() waiter:wait(50) end)
    assert.equal(50, scheduler.timeout())
    waiter:wake()
    assert.is_nil(scheduler.timeout())
  end)

  it("prefer what comes in the moment of their timeout", function()
    local waiter, got = scheduler.waiter(), nil
    world.source().put(function() waiter:wake("just") end)
    scheduler.spawn(function() got = waiter:wait(0) end)
    scheduler.step()
    assert.equal("just", got)
  end)

  it("turn the loop at top level until they are woken", function()
    local waiter, source = scheduler.waiter(), world.source()
    world.at(3, function()
      source.put(function() waiter:wake("data") end)
    end)
    assert.equal("data", waiter:wait())
    assert.equal(1003, world.now)
  end)

  it("say so when nothing is left that could wake them", function()
    local value, message, code = scheduler.waiter():wait()
    assert.is_nil(value)
    assert.matches("nothing is running", message)
    assert.equal("ECLOSED", code)
  end)

  it("can be cancelled with and without words", function()
    local waiter = scheduler.waiter()
    waiter:cancel("stopped", "ECLOSED")
    assert.same({ nil, "stopped", "ECLOSED" }, { waiter:wait() })
    waiter:cancel()
    assert.same({ nil, "cancelled", "ECLOSED" }, { waiter:wait() })
  end)

  it("serve one at a time", function()
    local waiter = scheduler.waiter()
    scheduler.spawn(function() waiter:wait() end)
    assert.has_error(function() waiter:wait() end)
    waiter:wake()
    waiter:wake("again")
    assert.equal("again", waiter:wait())
  end)

  it("are patient with a foreign resume", function()
    local waiter, co, got = scheduler.waiter(), nil, nil
    scheduler.spawn(function()
      co = coroutine.running()
      got = waiter:wait()
    end)
    coroutine.resume(co, "stray")
    assert.is_nil(got)
    waiter:wake("right")
    assert.equal("right", got)
  end)

  it("bear it when the coroutine was closed meanwhile", function()
    local waiter, co = scheduler.waiter(), nil
    scheduler.spawn(function()
      co = coroutine.running()
      waiter:wait()
    end)
    coroutine.close(co)
    assert.is_true(waiter:wake())
    assert.equal(0, scheduler.step())
  end)

  it("call finally however the wait ends", function()
    local ends = 0
    local function waiter()
      local one = scheduler.waiter()
      one.finally = function() ends = ends + 1 end
      return one
    end
    scheduler.spawn(function() waiter():wait(1) end)
    scheduler.step(1)
    assert.equal(1, ends)
    scheduler.spawn(error, "x")
    assert.is_false((pcall(function() waiter():wait(1) end)))
    assert.equal(2, ends)
  end)

  it("are woken at once, so that one who waits again misses nothing", function()
    local first, second, got = scheduler.waiter(), scheduler.waiter(), {}
    scheduler.spawn(function()
      got[1] = first:wait()
      got[2] = second:wait()
    end)
    world.source().put(function()
      first:wake("a")
      assert(got[1] == "a")
      second:wake("b")
    end)
    scheduler.step()
    assert.same({ "a", "b" }, got)
  end)

  it("wake one another in a long chain without nesting", function()
    local last, woken = 5000, 0
    local chain = {}
    for i = 1, last do
      chain[i] = scheduler.waiter()
      scheduler.spawn(function()
        chain[i]:wait()
        woken = woken + 1
        if chain[i + 1] then chain[i + 1]:wake() end
      end)
    end
    chain[1]:wake()
    scheduler.run_until(function() return woken == last end)
    assert.equal(last, woken)
  end)

  it("in a circle of wakes leave time for timers", function()
    local waiters, rounds, rung = {}, 0, false
    for i = 1, 20 do waiters[i] = scheduler.waiter() end
    for i = 1, 20 do
      scheduler.spawn(function()
        while not rung and rounds < 1e5 do
          waiters[i]:wait()
          rounds = rounds + 1
          waiters[i % 20 + 1]:wake()
        end
      end)
    end
    scheduler.after(0, function() rung = true end)
    waiters[1]:wake()
    for _ = 1, 5 do scheduler.step() end
    assert.is_true(rung)
    assert(rounds < 1000, rounds)
  end)
end)

describe("scheduler: timers", function()
  it("go off in order of time, equal ones in order of making", function()
    local log, times = {}, { 3, 1, 2, 1, 3, 2, 0.5, 1 }
    for i, seconds in ipairs(times) do
      scheduler.after(seconds, function() log[#log + 1] = i end)
    end
    scheduler.run_until(function() return #log == #times end)
    assert.same({ 7, 2, 4, 8, 3, 6, 1, 5 }, log)
  end)

  it("keep their order under many of them, made and cancelled at random", function()
    math.randomseed(11)
    local due, gone, timers = {}, {}, {}
    for i = 1, 2000 do
      local seconds = math.random(0, 500)
      timers[i] = { seconds, scheduler.after(seconds, function() gone[#gone + 1] = i end) }
    end
    for i = 1, 2000 do
      if math.random(3) == 1 then
        assert.is_true(timers[i][2]:cancel())
        assert.is_false(timers[i][2]:cancel())
      else
        due[#due + 1] = i
      end
    end
    table.sort(due, function(one, other)
      local a, b = timers[one][1], timers[other][1]
      return a < b or (a == b and one < other)
    end)
    scheduler.run_until(function() return #gone == #due end)
    assert.same(due, gone)
    assert.is_nil(scheduler.timeout())
  end)

  it("tell how long it is until the next", function()
    assert.is_nil(scheduler.timeout())
    scheduler.after(7, print)
    local early = scheduler.after(2, print)
    assert.equal(2, scheduler.timeout())
    early:cancel()
    assert.equal(7, scheduler.timeout())
    world.now = 1010
    assert.equal(0, scheduler.timeout())
  end)

  it("run in coroutines, which may wait", function()
    local done = false
    scheduler.after(1, function()
      assert(scheduler.inside())
      scheduler.sleep(1)
      done = true
    end)
    scheduler.run_until(function() return done end)
    assert.equal(1002, world.now)
  end)

  it("check their arguments", function()
    assert.has_error(function() scheduler.after(-1, print) end)
    assert.has_error(function() scheduler.after(1, nil) end)
  end)
end)

describe("scheduler: the loop", function()
  it("does what is there without waiting", function()
    local source, done = world.source(), 0
    for _ = 1, 3 do source.put(function() done = done + 1 end) end
    assert.equal(3, scheduler.step())
    assert.equal(3, done)
    assert.equal(0, #world.polls)
    assert.equal(0, scheduler.step())
    assert.equal(0, #world.polls)
  end)

  it("waits at most so long, over all descriptors", function()
    local one, other = world.source(), world.source()
    assert.equal(0, scheduler.step(2))
    assert.same({ { fds = { one.fd(), other.fd() }, timeout = 2 } }, world.polls)
    assert.equal(1002, world.now)
  end)

  it("ends the main program's wait that is to be interrupted, and cleans up before", function()
    local pressed, cleaned = false, false
    function scheduler.interrupted() return pressed end
    world.at(1, function() return nil, "EINTR" end) -- another signal
    world.at(2, function() pressed = true return nil, "EINTR" end)
    local waiter = scheduler.waiter()
    function waiter.finally() cleaned = true end
    assert.same({ nil, "interrupted", "EINTR" }, { waiter:wait(5) })
    assert.equal(1002, world.now)
    assert.is_true(cleaned)
    assert.is_nil(scheduler.timeout())
  end)

  it("ends such a wait also while there is always something to do", function()
    local pressed, done, source = false, 0, world.source()
    function scheduler.interrupted() return pressed end
    local function thing()
      done = done + 1
      pressed = pressed or done > 1000
      assert(done < 2000, "it goes on")
      source.put(thing)
    end
    source.put(thing)
    assert.same({ nil, "interrupted", "EINTR" }, { scheduler.waiter():wait() })
  end)

  it("lets others wait, whom Ctrl-C does not mean", function()
    function scheduler.interrupted() return true end
    in_own_coroutine(function() scheduler.sleep(5) end)
    assert.equal(1005, world.now)
  end)

  it("tells the poll function for whom it waits", function()
    local poll, meant = scheduler.poll, {}
    function scheduler.poll(fds, timeout_s, mine)
      meant[#meant + 1] = mine
      return poll(fds, timeout_s)
    end
    scheduler.step(1)
    in_own_coroutine(function() scheduler.step(1) end)
    scheduler.after(1, function() end)
    world.readable[99] = never
    scheduler.wait(99)
    assert.same({ true, false, true }, meant)
  end)

  it("returns as soon as something was done", function()
    local source, done = world.source(), false
    world.at(1, function() source.put(function() done = true end) end)
    assert.equal(1, scheduler.step(10))
    assert.is_true(done)
    assert.equal(1001, world.now)
  end)

  it("waits no longer than timers and sources allow", function()
    local source = world.source()
    scheduler.after(5, function() end)
    scheduler.step(10)
    assert.equal(5, world.polls[1].timeout)
    source.timeout = function() return 3 end
    scheduler.step(10)
    assert.equal(3, world.polls[2].timeout)
    source.timeout = function() return nil end
    scheduler.step(10)
    assert.equal(10, world.polls[3].timeout)
  end)

  it("tells of a signal and leaves going on to its caller", function()
    world.source()
    world.at(1, function() return nil, "EINTR" end)
    assert.same({ 0, "EINTR" }, { scheduler.step(10) })
    assert.equal(1001, world.now)
  end)

  it("can be waited for beside a descriptor of somebody else", function()
    local source, keys, done = world.source(), world.source(), 0
    scheduler.detach(keys)
    world.at(1, function() keys.put(true) end)
    assert.equal("fd", scheduler.wait(keys.fd()))
    assert.equal(1001, world.now)
    source.put(function() done = done + 1 end)
    assert.equal("work", scheduler.wait(keys.fd())) -- both are readable
    assert.equal(0, done)
    assert.equal(1, scheduler.step())
    assert.equal("fd", scheduler.wait(keys.fd()))
    table.remove(keys.queue)
    scheduler.after(5, function() end)
    assert.equal("work", scheduler.wait(keys.fd()))
    assert.equal(1006, world.now)
    scheduler.step()
    world.at(10, function() return nil, "EINTR" end)
    assert.same({ nil, "EINTR" }, { scheduler.wait(keys.fd()) })
    scheduler.raise "to be told"
    local polls = #world.polls
    assert.equal("work", scheduler.wait(keys.fd()))
    assert.equal(polls, #world.polls)
    assert.matches("to be told", select(2, pcall(scheduler.step)))
  end)

  it("raises what is wrong with poll", function()
    world.source()
    scheduler.poll = function() return nil, "ESYSTEM" end
    assert.matches("poll failed: ESYSTEM", select(2, pcall(scheduler.step, 1)))
    assert.equal(0, scheduler.step())
  end)

  it("stays usable after an error out of a pump", function()
    local source = world.source()
    source.put(function() error("interrupted!", 0) end)
    assert.equal("interrupted!", select(2, pcall(scheduler.step)))
    local done = false
    source.put(function() done = true end)
    assert.equal(1, scheduler.step())
    assert.is_true(done)
  end)

  it("stays usable after an interrupt anywhere in it", function()
    -- As the interpreter does on Ctrl-C: a hook of the main program raises at its next instruction,
    -- or at the one after, and so on.
    local main = coroutine.running()
    local source = world.source()
    for instructions = 1, 120 do
      source.put(function()
        scheduler.spawn(function()
          debug.sethook(main, function()
            debug.sethook(main)
            error("interrupted!", 0)
          end, "", instructions)
        end)
      end)
      local fine, message = pcall(function()
        scheduler.step()
        for _ = 1, 200 do scheduler.inside() end -- what is left of the instructions
      end)
      assert.is_false(fine)
      assert.equal("interrupted!", message)
      scheduler.step()
      local chain = {}
      scheduler.spawn(function()
        scheduler.sleep(1)
        chain[1] = scheduler.inside()
        error("afterwards", 0)
      end)
      fine, message = pcall(scheduler.sleep, 2)
      assert.is_false(fine)
      assert.matches("afterwards", message)
      assert.same({ true }, chain)
    end
  end)

  it("gives each source a limited turn", function()
    local greedy, modest, log = world.source(), world.source(), {}
    local function refill()
      log[#log + 1] = "greedy"
      greedy.put(refill)
    end
    greedy.put(refill)
    modest.put(function() log[#log + 1] = "modest" end)
    scheduler.step()
    assert.equal("modest", log[#log])
    assert(#log < 1000)
  end)

  it("lets sources come and go during a pump", function()
    local first, second, third = world.source(), world.source(), nil
    local log = {}
    first.put(function()
      log[#log + 1] = "first"
      scheduler.detach(first)
      third = world.source()
      third.put(function() log[#log + 1] = "third" end)
    end)
    second.put(function() log[#log + 1] = "second" end)
    scheduler.step()
    assert.same({ "first", "second" }, log)
    scheduler.step()
    assert.same({ "first", "second", "third" }, log)
    scheduler.detach(first)
    scheduler.detach({})
    scheduler.attach(third)
    scheduler.step(1)
    assert.same({ second.fd(), third.fd() }, world.polls[#world.polls].fds)
  end)

  it("runs until something is true, and returns it", function()
    local value
    scheduler.after(4, function() value = "here" end)
    assert.equal("here", scheduler.run_until(function() return value end))
    assert.equal(1004, world.now)
    assert.equal("at once", scheduler.run_until(function() return "at once" end))
  end)

  it("does not hang when neither source nor timer is left", function()
    local value, message, code = scheduler.run_until(never)
    assert.is_nil(value)
    assert.equal("nothing is running that could end the wait: no connection, no timer", message)
    assert.equal("ECLOSED", code)
    local gone = world.source()
    world.at(1, function() gone.put(function() scheduler.detach(gone) end) end)
    assert.is_nil((scheduler.run_until(never)))
    assert.equal(1001, world.now)
    world.source(false) -- one that has no descriptor and nothing to do
    assert.is_nil((scheduler.run_until(never)))
  end)

  it("waits on a source without a timer as long as it takes", function()
    world.source()
    assert.matches("would hang for ever", select(2, pcall(scheduler.run_until, never)))
    assert.is_nil(world.polls[1].timeout)
  end)

  it("lets one of our coroutines step, too, while somebody else turns it", function()
    local source, counts = world.source(), {}
    scheduler.spawn(function()
      counts[1] = scheduler.step(5)
      counts[2] = scheduler.step(5)
    end)
    source.put(function() end)
    source.put(function() end)
    scheduler.step()
    assert.same({ 2 }, counts)
    scheduler.run_until(function() return counts[2] end)
    assert.equal(0, counts[2])
    assert.equal(1005, world.now)
  end)

  it("lets one of our coroutines run until, too", function()
    local source, ready, got = world.source(), nil, nil
    scheduler.spawn(function()
      got = scheduler.run_until(function() return ready end)
    end)
    source.put(function() ready = "value" end)
    scheduler.step()
    assert.equal("value", got)
  end)

  it("checks its arguments", function()
    assert.matches("scheduler_spec.lua:%d+: step: timeout must be a number of seconds from 0, got "
      .. "string", select(2, pcall(function() scheduler.step("1") end)))
    assert.matches("got %-1", select(2, pcall(function() scheduler.step(-1) end)))
    assert.matches("scheduler_spec.lua:%d+: run_until: fn must be a function, got nil",
      select(2, pcall(function() scheduler.run_until(nil) end)))
    assert.matches("scheduler_spec.lua:%d+: wait: timeout must be a number",
      select(2, pcall(function() scheduler.waiter():wait(-1) end)))
  end)

  it("knows where it may yield", function()
    assert.is_false(scheduler.inside())
    local inside, own, sorted
    scheduler.spawn(function()
      inside = scheduler.inside()
      in_own_coroutine(function() own = scheduler.inside() end)
      table.sort({ 1, 2 }, function() sorted = scheduler.inside() return false end)
    end)
    assert.same({ true, false, false }, { inside, own, sorted })
  end)

  it("has no clock and no poll function of its own", function()
    package.loaded["moongate.scheduler"] = nil
    local bare = require "moongate.scheduler"
    assert.matches("there is no clock yet: require 'moongate'", select(2, pcall(bare.now)))
    assert.matches("no poll function yet: require 'moongate'", select(2, pcall(bare.poll)))
  end)
end)

describe("scheduler: long stretches", function()
  local reports

  local function run(limit, fn, ...)
    reports = {}
    scheduler.run_timed(limit, function(held, what, a)
      reports[#reports + 1] = { held, what, a }
    end, fn, nil, ...)
  end

  it("R7: are reported when a function held the Lua side too long", function()
    local function slow() world.now = world.now + 3 end
    run(2, slow, "argument")
    assert.same({ { 3, slow, "argument" } }, reports)
    run(3, slow)
    assert.same({}, reports)
  end)

  it("are measured from wait to wait, never over one", function()
    run(2, function()
      world.now = world.now + 1
      scheduler.sleep(60)
      world.now = world.now + 4
      scheduler.sleep(60)
    end)
    scheduler.step(60)
    scheduler.step(60)
    assert.equal(1, #reports)
    assert.equal(4, reports[1][1])
  end)

  it("do not count the time in which a listener turned the loop", function()
    run(2, function()
      in_own_coroutine(function() scheduler.sleep(60) end)
      world.now = world.now + 1
    end)
    assert.same({}, reports)
    run(2, function()
      in_own_coroutine(function()
        scheduler.spawn(function()
          in_own_coroutine(function() scheduler.sleep(10) end)
        end)
        scheduler.sleep(10)
      end)
      world.now = world.now + 2.5
    end)
    assert.equal(1, #reports)
    assert.equal(2.5, reports[1][1])
  end)

  it("are reported of one that fails as well", function()
    run(1, function()
      world.now = world.now + 2
      error("x")
    end)
    assert.equal(1, #reports)
    assert.is_false((pcall(scheduler.step)))
  end)
end)

-- scheduler.lua: the coroutines, timers and the one loop of a Lua state. Called by every module
-- that waits or runs a user's function, on the Lua thread. It knows no C: where bytes come from is
-- a source's business, and the clock and the poll function are put in from outside. What the main
-- program has it do is done in a shelter (shelter.lua), where Ctrl-C leaves nothing half done.
--
-- A call that waits does one of two things. Inside one of our coroutines it yields. Everywhere else
-- (the main program, a user's own coroutine, a sort's comparison function, a finalizer) it turns
-- the loop until it has its answer, so the same line works at a prompt and in a listener.
--
--                 +-- source:pump(limit) --> listeners, each in a pooled coroutine
--   run_until --> turn -- timers that are due --> sleepers, waits out of time, after()
--                 +-- nothing done? poll(fds of all sources, time until the next timer)

local heap = require "moongate.heap"
local shelter = require "moongate.shelter"

local scheduler = {}

local PUMP_MAX = 256 -- things of one source before the timers and the other sources have a turn
local IDLE_MAX = 64 -- finished coroutines kept for the next jobs; more would only hold memory
local NEST_MAX = 32 -- coroutines started one out of another; Lua 5.4 itself gives up near 60
local WAKE_MAX = 8 -- woken at this depth they wait their turn, so that a long chain never nests
local TURN_MAX = 8 -- loops within loops; each takes about a tenth of Lua's room for C calls
local FAILURES_MAX = 100 -- errors kept until somebody turns the loop and can be told

local pack = table.pack or function(...) return { n = select("#", ...), ... } end
local unpack = table.unpack or rawget(_G, "unpack")
local sheltered, from_main = shelter.call, shelter.from_main
local yield, resume = coroutine.yield, coroutine.resume
local close_coroutine = coroutine.close or function() return true end
local may_yield = coroutine.isyieldable or function() return true end

--- Seconds on a clock that only goes forward. Replaced by `require "moongate"`, and by specs.
function scheduler.now()
  error("scheduler: there is no clock yet: require 'moongate' brings one", 2)
end

--- Waits until one of the descriptors is readable, at most so many seconds (nil: for ever). True
-- and the place of the first one that is, false when time is up, or nil and "EINTR" after a signal;
-- also at once, where the main program is to be interrupted and it is the one that waits (the third
-- value is true). Replaced like now().
function scheduler.poll(_, _, _)
  error("scheduler: there is no poll function yet: require 'moongate' brings one", 2)
end

--- True while an error that Ctrl-C has asked for waits for the main program. Replaced like now().
function scheduler.interrupted()
  return false
end

-- ---- Bells --------------------------------------------------------------------------------------

local bells = setmetatable({}, { __mode = "k" }) -- bell -> true
local ringing = false
local turns = 0 -- of the loop that are on the stack

--- Adds a bell, for as long as somebody else holds it: bell:ring() has another loop, which waits,
-- turn this one; bell:hush() ends that.
function scheduler.add_bell(bell)
  bells[bell] = true
end

-- There is something to do, or a time to wait for, of which whoever turns the loop cannot know yet:
-- they asked for timeout() before. After a turn they will ask again.
local function ring()
  if ringing or turns > 0 or next(bells) == nil then return end
  ringing = true
  for bell in pairs(bells) do bell:ring() end
end

local function hush()
  if not ringing then return end
  ringing = false
  for bell in pairs(bells) do bell:hush() end
end

-- ---- Failures -----------------------------------------------------------------------------------

local failures, failures_dropped = {}, 0
scheduler.failures = failures -- for who wants a quick look; only read

-- [1] is set when somebody else than who runs listeners has to have a look: an error to be raised,
-- a coroutine that was woken, or a listener that turned the loop. engine_serve looks at it.
local attention = {}

local may_raise = true -- false in a turn that runs inside a listener: not its fault

local function words_of(err)
  local fine, words = pcall(tostring, err)
  return fine and words or "(an error object that cannot be shown)"
end

--- Keeps an error until the loop is turned from outside, which raises it: a string with its
-- traceback, any other error as it is.
function scheduler.raise(err, traceback)
  if #failures >= FAILURES_MAX then
    failures_dropped = failures_dropped + 1
    return
  end
  if type(err) == "string" or err == nil then err = traceback or words_of(err) end
  failures[#failures + 1] = err
  attention[1] = true
  ring()
end

--- True while an error waits to be raised. A source may end its pump early then, so that the error
-- comes right after the event that caused it.
function scheduler.failing()
  return may_raise and failures[1] ~= nil
end

local function raise_failure()
  local err = table.remove(failures, 1)
  if failures_dropped > 0 and type(err) == "string" then
    err = ("%s\n(and %d more errors, not kept)"):format(err, failures_dropped)
    failures_dropped = 0
  end
  error(err, 0)
end

-- Calls what must not break the loop.
local function guard(fn, ...)
  local fine, err = pcall(fn, ...)
  if not fine then scheduler.raise(err) end
end

-- ---- Pooled coroutines --------------------------------------------------------------------------

local tasks = setmetatable({}, { __mode = "k" }) -- our coroutines -> what each is doing
local idle, idle_count = {}, 0
local spare = nil -- one more that is idle: the one that serves nearly every event
local active = 0 -- our coroutines on the stack, each resumed out of the one before
local ready, ready_first, ready_last = {}, 1, 0 -- woken too deep to be resumed at once
local lent = 0 -- seconds in which running listeners turned the loop: taken off, nobody was held

-- What comes before the function of a job, so that a foreign resume cannot pass for one: with three
-- values, or with one that has them all. And what a coroutine yields when it has done its job.
local JOB, LONG_JOB, DONE = {}, {}, {}

-- The body of a pooled coroutine. While it waits for a job its stack ends where these variables
-- begin, so it holds nothing of the last one.
local function work()
  local state
  while true do
    local token, fn, a, b, c = yield(state)
    state = nil
    if token == JOB then
      fn(a, b, c)
      state = DONE
    elseif token == LONG_JOB then
      fn(unpack(a, 1, a.n))
      state = DONE
    end
  end
end

local function alive(co)
  return tasks[co] and coroutine.status(co) == "suspended"
end

local function make_coroutine()
  local co = coroutine.create(work)
  tasks[co] = {}
  assert(resume(co)) -- to where it waits for a job
  return co
end

-- What a coroutine that waits is doing; nil when it is done. One that a user has resumed to its end
-- by hand never comes back into the pool and is left to the collector.
local function note_task(co, kind, fn, a, b, c)
  local task = tasks[co]
  task.kind, task.fn, task.a, task.b, task.c = kind, fn, a, b, c
end

-- True when a resume that failed has not even begun: what died of an error still has its stack.
local function refused(co)
  return coroutine.status(co) ~= "dead" or debug.getinfo(co, 0, "l") == nil
end

-- The coroutine has died of `err`. Its traceback is taken first, then its to-be-closed variables
-- are closed, which may replace the error as in any other Lua code.
local function bury(co, err, on_error, a, b, c)
  local traceback = debug.traceback(co, words_of(err))
  tasks[co] = nil
  local clean, last = close_coroutine(co)
  if not clean and last ~= nil then err = last end
  if not on_error then return scheduler.raise(err, traceback) end
  guard(on_error, err, traceback, a, b, c)
end

local function take_idle()
  local co = idle[idle_count]
  if not co then return make_coroutine() end
  idle[idle_count] = nil
  idle_count = idle_count - 1
  return co
end

local function keep_idle(co)
  if idle_count >= IDLE_MAX then return end
  idle_count = idle_count + 1
  idle[idle_count] = co
end

local SPAWNED = {} -- a kind of run: the loop raises its errors

local switch

-- Resumes what was woken too deep before this call; what that wakes has to wait for the next one.
local function drain()
  local outer, resumed = active, 0
  active = outer + 1
  for _ = ready_first, ready_last do
    local co = ready[ready_first]
    ready[ready_first] = nil
    ready_first = ready_first + 1
    if alive(co) then
      resumed = resumed + 1
      switch(co)
    end
  end
  active = outer
  return resumed
end

-- Resumes one of our coroutines, whose wait is over, until it waits again, ends or fails. `active`
-- is restored rather than counted down: an interrupt may have taken us out of a deeper call.
function switch(co)
  local task, outer = tasks[co], active
  local kind, fn, a, b, c = task.kind or SPAWNED, task.fn, task.a, task.b, task.c
  local limit = kind.limit
  local begun = limit and scheduler.now() - lent
  active = outer + 1
  local fine, state = resume(co)
  active = outer
  if limit then
    local held = scheduler.now() - lent - begun
    if held > limit then guard(kind.on_long, held, fn, a, b, c) end
  end
  if not fine then
    bury(co, state, kind.on_error, a, b, c)
  elseif state == DONE then
    note_task(co, nil)
    keep_idle(co)
  end
  if outer == 0 and ready_first <= ready_last then drain() end
end

-- Goes on with a coroutine whose wait is over: at once, unless that would nest too deep.
local function rouse(co)
  if active < WAKE_MAX then
    if alive(co) then switch(co) end
    return
  end
  if ready_first > ready_last then ready_first, ready_last = 1, 0 end
  attention[1] = true
  ready_last = ready_last + 1
  ready[ready_last] = co
end

-- Our running coroutine if it may yield here, else nil.
local function current()
  local co = coroutine.running()
  return co and tasks[co] and may_yield() and co or nil
end

--- True inside one of our coroutines, where a wait yields.
function scheduler.inside()
  return current() ~= nil
end

local function check_function(operation, fn)
  if type(fn) == "function" then return end
  local meta = getmetatable(fn)
  if type(meta) == "table" and meta.__call then return end
  error(("%s: fn must be a function, got %s"):format(operation, type(fn)), 3)
end

local function too_deep()
  return ("%d coroutines were started one out of another: is that a circle?"):format(NEST_MAX)
end

local function refuse_depth(kind, a, b, c)
  local err = too_deep()
  local traceback = debug.traceback(err, 2)
  if not kind.on_error then return scheduler.raise(err, traceback) end
  guard(kind.on_error, err, traceback, a, b, c)
end

-- After the first stretch of a job: its coroutine is free again, dead or waits. False: something
-- ran meanwhile.
local function settle(co, fine, state, kind, fn, a, b, c)
  if state == DONE and not spare then
    spare = co
  elseif not fine then
    bury(co, state, kind.on_error, a, b, c)
    return false
  elseif state ~= DONE then
    note_task(co, kind, fn, a, b, c)
  else
    keep_idle(co)
  end
  return true
end

--- Runs fn(a, b, c), or fn(the values in `list`), at once in a pooled coroutine until its first
-- wait; fn can be called, whoever took it in has looked. kind, all of it optional: an error goes to
-- on_error(err, traceback, a, b, c), without it the loop raises it; on_long(seconds, fn, a, b, c)
-- is called when fn runs for more than `limit` seconds without waiting; each of its stretches
-- between two waits is measured. `now` is what the clock says, where that is known; what it says at
-- the end is returned, where it was read.
--
-- This is the way of every event: what is needed to go on with the job is noted only when it
-- waits, as nearly none does.
function scheduler.run(kind, fn, a, b, c, list, now)
  local outer, limit, ended = active, kind.limit, nil
  if outer >= NEST_MAX then return refuse_depth(kind, a, b, c) end
  local begun = limit and (now or scheduler.now()) - lent
  local co, fine, state
  repeat
    co, spare = spare or take_idle(), nil
    active = outer + 1
    fine, state = resume(co, list and LONG_JOB or JOB, fn, list or a, b, c)
    active = outer
  until fine or not refused(co) -- in the pool its last user may have closed it
  if limit then
    ended = scheduler.now()
    local held = ended - lent - begun
    if held > limit then ended = guard(kind.on_long, held, fn, a, b, c) end
  end
  if not settle(co, fine, state, kind, fn, a, b, c) then ended = nil end
  if outer == 0 and ready_first <= ready_last then
    drain()
    return nil
  end
  return ended
end

--- Runs what listens to the next events of an engine, at most `most` of them; `desk` as in
-- lua_engine.c's engine_serve, `limit` that of every listener on it. Returns how many were served,
-- and then the next event, which was not, as engine:next() does; or false, when the last listener
-- did more than listen, with its fields and its sequence. Where no coroutine can be started any
-- more, none is served.
function scheduler.serve(engine, record, desk, limit, most)
  local outer, before = active, lent
  if outer >= NEST_MAX then return 0, engine:next(record) end
  local co = spare or take_idle()
  spare, active, attention[1] = nil, outer + 1, nil
  local served, state, name, seat, way, listener, fields, data, fine, held, seq =
    engine:serve(record, desk, co, JOB, DONE, attention, limit, most)
  active = outer
  if fine == nil then -- listener, fields: seq, large
    if coroutine.status(co) == "suspended" then settle(co, true, DONE) end
    return served, state, name, seat, way, listener, fields
  end
  local kind, one = way.kind, seat[3]
  held = held - (lent - before)
  if limit and held > limit then guard(kind.on_long, held, listener.fn, data, one, way.name) end
  settle(co, fine, state, kind, listener.fn, data, one, way.name)
  if outer == 0 and ready_first <= ready_last then drain() end
  return served, false, fields, seq
end

-- The same with any number of values, of which the first three go to those who are told.
local function run_long(kind, fn, ...)
  local a, b, c = ...
  sheltered(scheduler.run, kind, fn, a, b, c, pack(...))
end

--- Runs fn(...) so, with a limit.
function scheduler.run_timed(limit, on_long, fn, on_error, ...)
  check_function("run_timed", fn)
  run_long({ limit = limit, on_long = on_long, on_error = on_error }, fn, ...)
end

--- The same without a limit.
function scheduler.run_protected(fn, on_error, ...)
  return scheduler.run_timed(nil, nil, fn, on_error, ...)
end

--- Runs fn(...) at once in a coroutine of its own, until its first wait. The loop raises its error.
function scheduler.spawn(fn, ...)
  check_function("spawn", fn)
  if active >= NEST_MAX then error("spawn: " .. too_deep(), 2) end
  run_long(SPAWNED, fn, ...)
end

-- ---- Timers -------------------------------------------------------------------------------------

local pending = heap.new() -- timers: { at, order, call, argument }
local timers_made = 0

local Timer = {}
Timer.__index = Timer

--- Takes a timer back. True when it had not gone off yet.
function Timer:cancel()
  return sheltered(heap.take, pending, self)
end

local function start_timer(seconds, call, argument)
  timers_made = timers_made + 1
  local timer = setmetatable({
    at = scheduler.now() + math.max(seconds, 0), order = timers_made, call = call,
    argument = argument,
  }, Timer)
  heap.put(pending, timer)
  if pending[1] == timer then ring() end
  return timer
end

-- Timers made meanwhile wait for the next turn, so that sleep(0) in a circle starves nobody.
local function run_timers()
  local timer = pending[1]
  if not timer then return 0 end
  local now, last, run = scheduler.now(), timers_made, 0
  while timer and timer.at <= now and timer.order <= last do
    heap.take(pending, timer)
    run = run + 1
    timer.call(timer.argument)
    timer = pending[1]
  end
  return run
end

--- Seconds until the loop has something to do by itself: 0 for at once, nil for never.
function scheduler.timeout()
  if ready_first <= ready_last or scheduler.failing() then return 0 end
  local timer = pending[1]
  return timer and math.max(timer.at - scheduler.now(), 0) or nil
end

local function check_seconds(operation, name, seconds, level)
  if type(seconds) == "number" and seconds >= 0 then return end
  local shown = type(seconds) == "number" and tostring(seconds) or type(seconds)
  error(("%s: %s must be a number of seconds from 0, got %s"):format(operation, name, shown),
    level + 1)
end

--- Calls fn in a pooled coroutine in so many seconds. Returns a timer with a method cancel().
function scheduler.after(seconds, fn)
  check_seconds("after", "seconds", seconds, 2)
  check_function("after", fn)
  return sheltered(start_timer, seconds, scheduler.spawn, fn)
end

-- ---- Sources ------------------------------------------------------------------------------------

local sources = {} -- replaced, never changed: a pump may attach and detach

local function without(source)
  local list = {}
  for _, other in ipairs(sources) do
    if other ~= source then list[#list + 1] = other end
  end
  return list
end

--- Adds a source: source:fd() -> a descriptor that is readable while it has something, or nil;
-- source:pump(limit) -> how many things it handled, without waiting; optional source:timeout() ->
-- seconds until it wants to be pumped again without being readable, or nil.
function scheduler.attach(source)
  local list = without(source)
  list[#list + 1] = source
  sources = list
end

--- Removes a source; one that is not there is fine.
function scheduler.detach(source)
  sources = without(source)
end

local function pump_sources()
  local handled = 0
  for _, source in ipairs(sources) do
    if scheduler.failing() then break end
    handled = handled + (source:pump(PUMP_MAX) or 0)
  end
  return handled
end

local descriptors = {}

-- The descriptors to poll and the longest wait that misses nothing.
local function prepare_poll(longest)
  local count = 0
  for _, source in ipairs(sources) do
    local fd, timeout = source:fd(), source.timeout and source:timeout()
    if fd then
      count = count + 1
      descriptors[count] = fd
    end
    if timeout then longest = math.min(longest, math.max(timeout, 0)) end
  end
  for extra = #descriptors, count + 1, -1 do descriptors[extra] = nil end
  local own = scheduler.timeout()
  return descriptors, own and math.min(longest, own) or longest
end

-- ---- The loop -----------------------------------------------------------------------------------

local watchers = {} -- waiters of those who called step() inside one of our coroutines

local function work_off()
  hush()
  return drain() + pump_sources() + run_timers()
end

local function turn_inside(longest, mine)
  turns = turns + 1
  local handled = work_off()
  if handled > 0 or longest <= 0 or scheduler.failing() then return handled end
  local fds, wait_s = prepare_poll(longest)
  if #fds == 0 and wait_s == math.huge then return 0, "idle" end
  local finite = wait_s < math.huge and wait_s or nil
  local answer, code = scheduler.poll(fds, finite, mine)
  if code == "EINTR" then return 0, "EINTR" end
  if answer == nil then error(("step: poll failed: %s"):format(tostring(code)), 0) end
  return work_off()
end

local function tell_watchers(handled)
  local told = watchers
  watchers = {}
  for waiter in pairs(told) do waiter:wake(handled) end
end

--- Has those look again who wait in run_until() inside one of our coroutines, as what they wait for
-- came about outside of a turn.
function scheduler.look_again()
  sheltered(tell_watchers, 0)
end

local function turn_here(longest, mine)
  if mine then active, may_raise = 0, true end
  local outside = active == 0
  if outside and scheduler.failing() then raise_failure() end
  if turns >= TURN_MAX then
    error(("%d waits are nested, each in a listener called out of the one before: a wait in a "
      .. "coroutine of your own cannot yield; wait in the listener itself"):format(turns), 0)
  end
  attention[1] = true
  local outer, before, could = turns, lent, may_raise
  local begun = not outside and scheduler.now()
  may_raise = outside
  local fine, handled, why = pcall(turn_inside, longest, mine)
  turns, may_raise = outer, could
  if begun then lent = before + (scheduler.now() - begun) end
  if not fine then error(handled, 0) end
  if handled > 0 and next(watchers) then tell_watchers(handled) end
  if outside and scheduler.failing() then raise_failure() end
  return handled, why
end

-- Does what there is to do, or waits for it, at most `longest` seconds. How many things were done,
-- and "idle" when nothing can ever come or "EINTR" after a signal. Raises what failed meanwhile,
-- unless one of our coroutines is on the stack: it must not pay for another one's mistake.
local function turn(longest)
  return sheltered(turn_here, longest, from_main())
end

local IDLE_MESSAGE = "nothing is running that could end the wait: no connection, no timer"

local function turn_until(done)
  while true do
    local value = done()
    if value then return value end
    local _, why = turn(math.huge)
    if why == "idle" and not done() then return nil, IDLE_MESSAGE, "ECLOSED" end
  end
end

-- ---- Waiters ------------------------------------------------------------------------------------

local Waiter = {}
Waiter.__index = Waiter

--- A place to wait for one message. wake() may come before wait(). It can be used again after a
-- wait has returned.
function scheduler.waiter()
  return setmetatable({}, Waiter)
end

local function expire(waiter)
  waiter.expired = true
  if waiter.co then rouse(waiter.co) end
end

--- Ends the wait, which returns these values. False when another wake() came first.
function Waiter:wake(...)
  if self.values then return false end
  self.values = pack(...)
  if self.co then sheltered(rouse, self.co) end
  return true
end

--- Ends the wait, which returns nil and these values; without any, "cancelled" and "ECLOSED".
function Waiter:cancel(...)
  if select("#", ...) == 0 then return self:wake(nil, "cancelled", "ECLOSED") end
  return self:wake(nil, ...)
end

local function is_over(waiter)
  return waiter.values or waiter.expired
end

local function wait_here(waiter, co)
  waiter.co = co
  -- Only wake() and the timer end a wait; whoever else resumes the coroutine finds it patient.
  repeat coroutine.yield() until is_over(waiter)
end

-- Turns the loop until then. What is not raised for the main program, as it is in a shelter, is
-- said: it is to be interrupted.
local function wait_turning(waiter)
  local mine = from_main()
  while not is_over(waiter) do
    local _, why = turn(math.huge)
    if why == "idle" and not is_over(waiter) then return nil, IDLE_MESSAGE, "ECLOSED" end
    if mine and scheduler.interrupted() then return nil, "interrupted", "EINTR" end
  end
end

local function wait(waiter, timeout_s)
  waiter.waiting = true
  local fine, answer, message, code = true, nil, nil, nil
  if not waiter.values then
    local timer = timeout_s and timeout_s < math.huge and start_timer(timeout_s, expire, waiter)
    local co = current()
    if co then
      wait_here(waiter, co)
    else
      fine, answer, message, code = pcall(wait_turning, waiter)
    end
    if timer then heap.take(pending, timer) end
  end
  local values, expired = waiter.values, waiter.expired
  waiter.waiting, waiter.co, waiter.values, waiter.expired = nil, nil, nil, nil
  if waiter.finally then waiter.finally(waiter) end
  if not fine then error(answer, 0) end
  if values then return unpack(values, 1, values.n) end
  if expired then return nil, "timeout" end
  return nil, message, code
end

--- Waits for wake() or cancel(), at most timeout_s seconds (nil: for ever). Returns their values,
-- or nil, "timeout". Outside of our coroutines it turns the loop; when nothing is left that could
-- end the wait it returns nil, message, "ECLOSED".
function Waiter:wait(timeout_s)
  if timeout_s ~= nil then check_seconds("wait", "timeout", timeout_s, 2) end
  if self.waiting then error("wait: somebody else waits here already", 2) end
  return sheltered(wait, self, timeout_s)
end

--- Waits for so many seconds. sleep(0) lets everybody else have a turn.
function scheduler.sleep(seconds)
  check_seconds("sleep", "seconds", seconds, 2)
  scheduler.waiter():wait(seconds)
end

-- ---- For everybody who drives the loop ----------------------------------------------------------

--- Does what there is to do, waiting for it at most timeout_s seconds (nil: not at all). Returns
-- how many things were done, and "EINTR" when a signal cut the wait short. Raises the errors of
-- coroutines that nobody else was told about, one at a time. Inside one of our coroutines it waits
-- until the loop, which somebody else turns, has done something.
function scheduler.step(timeout_s)
  if timeout_s ~= nil then check_seconds("step", "timeout", timeout_s, 2) end
  if not current() then
    local handled, why = turn(timeout_s or 0)
    if why == "EINTR" then return handled, why end
    return handled
  end
  local waiter = scheduler.waiter()
  watchers[waiter] = true
  waiter.finally = function() watchers[waiter] = nil end
  return waiter:wait(timeout_s or 0) or 0
end

--- Waits, without doing any of it, until there is something to do or `fd` is readable: "work", or
-- "fd" when it is only that; nil and "EINTR" after a signal. For a prompt, in the main program.
function scheduler.wait(fd)
  if ready_first <= ready_last or scheduler.failing() then return "work" end
  local fds, wait_s = prepare_poll(math.huge)
  local last = #fds + 1
  fds[last] = fd
  local answer, which = scheduler.poll(fds, wait_s < math.huge and wait_s or nil, true)
  if answer == nil then return nil, which end
  return which == last and "fd" or "work"
end

--- Turns the loop until done() is true, and returns what it returned. With neither source nor timer
-- left it returns nil, message, "ECLOSED". Errors are raised as in step().
function scheduler.run_until(done)
  check_function("run_until", done)
  if not current() then return turn_until(done) end
  local value = done()
  while not value do
    scheduler.step(math.huge)
    value = done()
  end
  return value
end

return scheduler

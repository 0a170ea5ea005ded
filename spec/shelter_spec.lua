-- shelter_spec.lua: what is done in a shelter is done whole, and so is all that the main program
-- has the scheduler do: an error as Ctrl-C raises it is tried at every single instruction.

local shelter = require "moongate.shelter"
local virtual = require "virtual"
local witness = require "witness"

-- Calls fn, and the main program's instruction number n is interrupted: false. True when it was
-- over before.
local function interrupted_at(n, fn)
  local fine, err = pcall(function()
    debug.sethook(function()
      debug.sethook()
      error("interrupted!", 0)
    end, "", n)
    fn()
    debug.sethook()
  end)
  debug.sethook()
  if not fine and err ~= "interrupted!" then error(err, 0) end
  return fine
end

-- Calls try(n), which makes things anew and returns what interrupted_at does, until n is so late
-- that nothing is interrupted. n grows by at most `stride`, 1 if that is not given. Returns how
-- often something was interrupted.
local function at_every_instruction(try, stride)
  math.randomseed(7)
  local n, tried = 1, 0
  while not try(n) do
    n, tried = n + math.random(1, stride or 1), tried + 1
    assert(n < 100000, "it never comes to an end")
  end
  return tried
end

describe("shelter: a call", function()
  it("passes values both ways, with nils", function()
    local function count(...) return select("#", ...), ... end
    local got = table.pack(shelter.call(count, nil, 2, nil))
    assert.same(table.pack(3, nil, 2, nil), got)
    assert.equal(0, select("#", shelter.call(function() end)))
  end)

  it("raises an error as it is, and the next one finds all in order", function()
    local object = {}
    for _, err in ipairs { object, "words" } do
      local fine, got = pcall(shelter.call, error, err, 0)
      assert.is_false(fine)
      assert.equal(err, got)
    end
    assert.equal(7, shelter.call(function() return 7 end))
  end)

  it("of the main program is in a coroutine, any other where it stands", function()
    assert(select(2, coroutine.running()), "these specs run in the main program")
    local main = coroutine.running()
    local inside, still = shelter.call(function()
      return coroutine.running(), shelter.call(coroutine.running)
    end)
    assert.not_equal(main, inside)
    assert.equal(inside, still)
    local own = coroutine.create(function() return shelter.call(coroutine.running) end)
    assert.equal(own, select(2, coroutine.resume(own)))
  end)

  it("knows for whom it is made", function()
    assert.is_true(shelter.from_main())
    assert.is_true(shelter.call(shelter.from_main))
    assert.is_false(shelter.call(coroutine.wrap(shelter.from_main)))
  end)

  it("goes on at once when it yields, and is not fooled by a foreign resume", function()
    local co
    local got = table.pack(shelter.call(function()
      co = coroutine.running()
      return "before", coroutine.yield("to nobody"), "behind"
    end))
    assert.same(table.pack("before", nil, "behind"), got)
    assert.is_true(coroutine.resume(co, print, "stray"))
    assert.equal(co, shelter.call(coroutine.running))
  end)

  it("uses its coroutines again, and keeps nothing of what was done", function()
    local weak = setmetatable({ {} }, { __mode = "v" })
    local first = shelter.call(function(thing) return coroutine.running(), thing end, weak[1])
    assert.equal(first, shelter.call(coroutine.running))
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("is whole, whichever instruction is interrupted", function()
    local halves, wholes = 0, 0
    local count = at_every_instruction(function(n)
      return interrupted_at(n, function()
        shelter.call(function()
          halves = halves + 1
          for _ = 1, 10 do math.abs(1) end
          wholes = wholes + 1
        end)
      end)
    end)
    assert(count > 5, count)
    assert(halves > 1)
    assert.equal(halves, wholes)
  end)
end)

-- A world with a task, timers and a source of ten things; check() ends what is open, and looks
-- whether all of it was done, once.
local function busy_world()
  local world = virtual.world()
  local scheduler, done, turns = world.scheduler, {}, 0
  local source = world.source()
  for i = 1, 10 do
    world.at(i * 0.3, function() source.put(function() done[#done + 1] = "thing" .. i end) end)
  end
  scheduler.spawn(function()
    for _ = 1, 20 do
      scheduler.sleep(0.2)
      turns = turns + 1
    end
  end)
  for i = 1, 5 do
    scheduler.after(i * 0.4, function() done[#done + 1] = "timer" .. i end)
  end
  function world.check()
    local looks = 0
    scheduler.run_until(function()
      looks = looks + 1
      return turns == 20 and #done >= 15 or looks > 1000
    end)
    scheduler.step(10)
    local expected = {}
    for i = 1, 10 do expected[#expected + 1] = "thing" .. i end
    for i = 1, 5 do expected[#expected + 1] = "timer" .. i end
    table.sort(expected)
    table.sort(done)
    assert.same(expected, done)
    assert.equal(20, turns)
    assert.is_nil(scheduler.timeout())
    assert.is_false(scheduler.failing())
  end
  return world, scheduler
end

-- What the main program does, by name; each gets the scheduler of a busy world.
local deeds = {
  ["sleeps"] = function(scheduler) scheduler.sleep(1) end,
  ["steps"] = function(scheduler)
    for _ = 1, 4 do scheduler.step(0.3) end
  end,
  ["runs until something is true"] = function(scheduler, world)
    scheduler.run_until(function() return world.now > 1001 end)
  end,
  ["makes timers and takes them back"] = function(scheduler)
    local timers = {}
    for i = 1, 4 do timers[i] = scheduler.after(i / 8, function() end) end
    for _, timer in ipairs(timers) do timer:cancel() end
  end,
  ["starts a task and wakes it"] = function(scheduler)
    local waiter = scheduler.waiter()
    scheduler.spawn(function()
      waiter:wait(2)
      scheduler.sleep(0.1)
    end)
    waiter:wake()
  end,
  ["waits with an end"] = function(scheduler)
    local waiter = scheduler.waiter()
    scheduler.after(0.5, function() waiter:wake(1) end)
    waiter:wait(2)
  end,
}

describe("shelter: whichever instruction is interrupted, all goes on when the main", function()
  for name, deed in pairs(deeds) do
    it("program " .. name, function()
      local count = at_every_instruction(function(n)
        local world, scheduler = busy_world()
        local whole = interrupted_at(n, function() deed(scheduler, world) end)
        world.check()
        return whole
      end)
      assert(count > 10, count)
    end)
  end

  it("program waits: finally is called, and no timer stays behind", function()
    local begun, ended = 0, 0
    at_every_instruction(function(n)
      local world = virtual.world()
      local scheduler = world.scheduler
      local waiter = scheduler.waiter()
      function waiter.finally() ended = ended + 1 end
      local source = world.source()
      world.at(1, function() source.put(math.abs) end)
      scheduler.poll = (function(poll)
        return function(...)
          if waiter.waiting then begun = begun + 1 end
          return poll(...)
        end
      end)(scheduler.poll)
      local whole = interrupted_at(n, function() waiter:wait(0.5) end)
      assert.is_nil(scheduler.timeout())
      return whole
    end)
    assert(begun > 1)
    assert.equal(begun, ended)
  end)
end)

-- A client takes a while, so not each instruction is tried. MOONGATE_STRIDE=1: each is.
local STRIDE = tonumber(os.getenv "MOONGATE_STRIDE") or 40

-- What becomes of a client, in its main program. over() says that it is.
local lives = {
  ["it connects"] = function(bot) bot:connect() end,
  ["it waits for READY"] = function(bot)
    bot:connect()
    bot:wait_for("READY", { timeout = witness.patience })
  end,
  ["it runs"] = function(bot, over)
    bot:on("READY", function() return over() or bot:stop { keep_session = true } end)
    bot:run()
  end,
  ["it stops"] = function(bot)
    bot:connect()
    bot:stop { keep_session = true }
  end,
  ["it has another shard"] = function(bot)
    bot:spawn { 0 }
    bot:add_shard(1)
    bot:remove_shard(1)
  end,
}

describe("shelter: an interrupt at any instruction lets a client go on #sockets when", function()
  for name, life in pairs(lives) do
    it(name, function()
      local tried = at_every_instruction(function(n)
        local discord = witness.sandbox { limits = false, max_concurrency = 16 }
        local bot <close> = witness.client(discord, { shards = 2 })
        local over = false
        local whole = interrupted_at(n, function() life(bot, function() return over end) end)
        over = true
        assert(bot:connect())
        witness.await(bot, "READY after interrupt " .. n, function()
          return bot.state == "ready" and bot.shards[1]
        end)
        assert.is_true(bot:stop())
        assert.equal("idle", bot.state)
        discord:stop()
        return whole
      end, STRIDE)
      assert(tried > 3, tried)
    end)
  end
end)

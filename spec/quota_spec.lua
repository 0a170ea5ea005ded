-- quota_spec.lua: what a token has left of its identifies of a day: the count on a clock of paper,
-- what engines share, what a session store keeps, `hold`, and a day of a hostile server.

local core = require "moongate.core"
local moongate = require "moongate"
local paper = require "paper"
local unit = require "moongate_unit"
local witness = require "witness"

local DAY, STEP, STEPS, TOTAL = 86400000, 900000, 98, 1000
local HOLD_LOOK, LOOK = 30000, 250
local WINDOW = core.limits.IDENTIFY_WINDOW_MS

describe("quota", function()
  local q

  before_each(function() q = unit.quota() end)

  local function spend(now, count)
    for _ = 1, count do q:spend(now) end
  end

  it("R35 is a thousand a day, from the first identify, where nobody says more", function()
    assert.equal(TOTAL, q:left(5))
    spend(1000, TOTAL - 1)
    assert.equal(1000, q:when(1000))
    spend(1000, 1)
    assert.equal(0, q:left(1000))
    assert.equal(1000 + STEPS * STEP, q:when(1000))
    assert.equal(0, q:left(1000 + STEPS * STEP - 1))
    assert.equal(TOTAL, q:left(1000 + STEPS * STEP))
    assert.equal(TOTAL, q:spent())
  end)

  it("R35 lets no 24 hours have more than the total, wherever they begin", function()
    math.randomseed(35)
    for _ = 1, 20 do
      q = unit.quota()
      local now, times, reserve = math.random(1, DAY), {}, math.random(0, 20)
      for _ = 1, 6000 do
        now = math.max(now + math.random(0, math.random(1, 200000)), q:when(now, reserve))
        q:spend(now)
        times[#times + 1] = now
      end
      for i = 1, #times - TOTAL + reserve do
        local apart = times[i + TOTAL - reserve] - times[i]
        assert(apart > DAY and apart < DAY * 40, apart)
      end
      assert.is_true(times[#times] > 2 * DAY)
    end
  end)

  it("says exactly when the next one may leave", function()
    math.randomseed(36)
    for _ = 1, 200 do
      q = unit.quota()
      local now = math.random(0, DAY)
      if math.random() < 0.5 then
        q:learn(now, 40, math.random(0, 40), math.random(0, DAY))
      else
        q:learn(0, 40, 40, 0)
      end
      for _ = 1, math.random(0, 120) do
        now = now + math.random(0, 2000000)
        q:spend(now)
      end
      local reserve = math.random(0, 45)
      local at = q:when(now, reserve)
      if at > now then
        assert.equal(0, q:left(at - 1, reserve))
        assert.is_true(q:left(at, reserve) > 0)
      else
        assert.equal(now, at)
        assert.is_true(q:left(now, reserve) > 0)
      end
    end
  end)

  it("R35 leaves the reserve, but never nothing", function()
    assert.equal(TOTAL - 10, q:left(0, 10))
    for _, all in ipairs { TOTAL - 1, TOTAL, 1 << 40 } do assert.equal(1, q:left(0, all)) end
    assert.equal(TOTAL, q:left(0, -5))
    spend(0, TOTAL - 10)
    assert.equal(0, q:left(0, 10))
    assert.equal(10, q:left(0, 0))
  end)

  it("R35 believes the gateway, less what has left since it was asked", function()
    spend(0, 20)
    local spent = q:spent()
    q:spend(10)
    q:learn(20, 2000, 1500, 60000, spent)
    assert.equal(1499, q:left(20))
    assert.equal(1499, q:left(60019))
    assert.equal(1999, q:left(60020)) -- the window has been reset; the one that left since has not
    q:learn(70000, 1000, 0, 5000, q:spent())
    assert.equal(75000, q:when(70000))
    assert.equal(TOTAL, q:left(75000))
  end)

  it("takes a limit that resets at once, or makes no sense, for a day", function()
    for _, reset in ipairs { 0, -1, DAY, DAY * 30 } do
      q:learn(100, 1000, 3, reset, q:spent())
      spend(100, 3)
      assert.equal(100 + DAY, q:when(100))
    end
    q:learn(100, 0, -4, 10, q:spent())
    assert.equal(0, q:left(100))
    assert.equal(1, q:left(110))
    q:learn(100, 5, 50, 10, q:spent())
    assert.equal(5, q:left(100))
  end)

  it("counts also what should not have left", function()
    spend(0, TOTAL + 7)
    assert.equal(0, q:left(0))
    assert.equal(TOTAL + 7, q:used(0))
  end)

  it("forgets everything in a silence of any length", function()
    spend(0, 3)
    assert.equal(0, q:used(1 << 50))
    q:spend(1 << 50)
    assert.equal(1, q:used((1 << 50) + DAY))
  end)
end)

describe("the count of a token", function()
  local URL = "ws://127.0.0.1:1"
  local number = 0
  local token
  before_each(function()
    number = number + 1
    token = "count." .. number
  end)

  local function restore(told_ms)
    return core.quota_restore(token, URL, {
      total = 10, told_used = 10, told_ms = told_ms, step_ms = 0, steps = {},
    })
  end

  it("holds as long as was said, be it longer than everything that is counted", function()
    assert(restore(2 * DAY))
    assert.is_true(math.abs(core.quota(token, URL, 0).hold_ms - 2 * DAY) < 60000)
  end)

  it("is apart for every host, and for what is no URL", function()
    assert(restore(5000))
    for _, other in ipairs { "ws://127.0.0.1:2", "nonsense", "" } do
      assert.equal(TOTAL, core.quota(token, other, 0).left)
    end
    assert.equal(0, core.quota(token, "WS://127.0.0.1:1/path?v=10", 0).left)
  end)

  it("is taken up once, and never over what the gateway said", function()
    assert(restore(5000))
    assert.equal("EUSAGE", (select(3, restore(9000))))
    assert.is_true(core.quota(token, URL, 0).hold_ms <= 5000)
    token = token .. ".told"
    assert(core.quota_learn(token, URL, { total = 20, remaining = 20, reset_after = 1000 }))
    assert.equal("EUSAGE", (select(3, restore(9000))))
    assert.equal(20, core.quota(token, URL, 0).left)
  end)
end)

describe("window", function()
  local window = unit.window
  local token
  local number = 0

  before_each(function()
    number = number + 1
    token = "quota" .. number
  end)

  after_each(function()
    for owner = 1, 20 do window.leave(owner, 1 << 40) end
  end)

  it("R35 counts the identifies of all engines of a token", function()
    window.learn(token, 0, 1000, 12, 100000)
    for i = 1, 12 do
      local now, owner = i * WINDOW, i % 3 + 1
      assert.equal(0, (window.claim(token, 0, 0, owner, now)))
      window.spent(token, 0, 0, owner, now)
      window.done(token, 0, 0, owner)
    end
    local again, hold = window.claim(token, 0, 0, 1, 69000)
    assert.equal(100000, hold)
    assert.equal(69000 + HOLD_LOOK, again)
    assert.equal(100000, (window.claim(token, 1, 1, 2, 99000))) -- no later than the end
    assert.equal(0, (window.claim(token .. "x", 0, 0, 1, 69000)))
    assert.equal(0, (window.claim(token, 0, 0, 1, 100000)))
  end)

  it("R35 promises no more than there are, and takes a promise back", function()
    window.learn(token, 0, 1000, 13, 100000)
    for key = 0, 2 do assert.equal(0, (window.claim(token, key, key, key + 1, 0, 10))) end
    local again, hold = window.claim(token, 3, 3, 4, 0, 10)
    assert.equal(LOOK, again)
    assert.is_nil(hold) -- one of them may still fail to use it
    window.done(token, 1, 1, 2)
    assert.equal(0, (window.claim(token, 3, 3, 4, 1, 10)))
    for key = 0, 3 do
      if key ~= 1 then window.spent(token, key, key, key + 1, 2) end
    end
    assert.equal(100000, select(2, window.claim(token, 1, 1, 2, 3, 10)))
    assert.equal(0, (window.claim(token, 1, 1, 2, 3, 0))) -- another engine keeps less
  end)

  it("R37 takes back the promise of a shard that hangs", function()
    window.learn(token, 0, 1000, 1, 1000000)
    assert.equal(0, (window.claim(token, 0, 0, 1, 0)))
    assert.equal(59999 + LOOK, (window.claim(token, 1, 1, 2, 59999)))
    assert.equal(0, (window.claim(token, 1, 1, 2, 60000)))
  end)

  it("R35 remembers the day when its engines are gone", function()
    window.learn(token, 0, 1000, 1, 100000)
    assert.equal(0, (window.claim(token, 0, 0, 1, 0)))
    window.spent(token, 0, 0, 1, 0)
    window.leave(1, 20000)
    assert.equal(100000, select(2, window.claim(token, 0, 0, 2, 20000)))
  end)
end)

-- ---- A cluster ---------------------------------------------------------------------------------

local tokens = 0

-- A client of an engine of paper, with a token of its own.
local function paper_client(more)
  tokens = tokens + 1
  local all = {
    token = "quota.spec." .. tokens, intents = { "guilds" }, url = "ws://127.0.0.1:1", shards = 1,
  }
  for key, value in pairs(more or {}) do all[key] = value end
  local bot = moongate.client(all)
  bot.holds, bot.logs = {}, {}
  bot:on("hold", function(data) table.insert(bot.holds, data["until"]) end)
  bot:on("log", function(entry) table.insert(bot.logs, entry.message) end)
  return bot, all.token
end

local function is_about(seconds, at)
  return math.abs(at - os.time() - seconds) <= 2
end

describe("hold", function()
  local bot

  before_each(function() paper.install() end)
  after_each(function()
    if bot and bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  local function answer(limit)
    local engine = paper.engines[1]
    local calls = engine:calls_of "request"
    engine:note("http", -1, {
      id = calls[#calls][1].id, status = limit and 200 or 503, headers = {},
      body = core.encode { url = "ws://127.0.0.1:1", shards = 1, session_start_limit = limit },
    })
    bot:step(0)
    return #calls
  end

  local function limit_of(remaining, concurrency)
    return { total = 1000, remaining = remaining, reset_after = 60000,
      max_concurrency = concurrency or 1 }
  end

  -- Connects after asking the gateway.
  local function connect(remaining)
    bot = paper_client()
    bot.options.url = nil
    moongate.spawn(function() bot:connect() end)
    assert.equal(1, answer(limit_of(remaining)))
    assert.equal(1, #paper.engines[1]:calls_of "start")
  end

  it("R35 is told as it comes where the gateway is not asked", function()
    bot = paper_client()
    bot:connect()
    paper.engines[1]:note("hold", -1, { ["until"] = 1234 })
    bot:step(0)
    assert.same({ 1234 }, bot.holds)
    assert.same({}, paper.engines[1]:calls_of "request")
  end)

  it("R35 starts what there is no identify left for: it waits, and is not refused", function()
    connect(0)
    assert.same({}, bot.holds)
    paper.engines[1]:note("hold", -1, { ["until"] = 1234 })
    bot:step(0)
    assert.same({}, bot.holds) -- the gateway is asked first
    assert.equal(2, answer(limit_of(3, 7)))
    assert.equal(1, #bot.holds)
    assert.same({ { 1 }, { 7 } }, paper.engines[1]:calls_of "concurrency")
    assert.is_true(is_about(60, bot.holds[1]), bot.holds[1] - os.time())
  end)

  it("R35 is not told when the gateway says that there are some", function()
    connect(0)
    paper.engines[1]:note("hold", -1, { ["until"] = 1234 })
    bot:step(0)
    assert.equal(2, answer(limit_of(500)))
    assert.same({}, bot.holds)
    assert.equal(490, bot:stats().identifies.left)
    assert.equal(500, bot.gateway.session_start_limit.remaining)
  end)

  it("R38 costs one request, whatever comes of it", function()
    connect(0)
    paper.engines[1]:note("hold", -1, { ["until"] = 1234 })
    bot:step(0)
    assert.equal(2, answer(nil))
    assert.equal(1, #bot.holds)
    paper.engines[1]:note("hold", -1, { ["until"] = 1234 })
    bot:step(0)
    assert.equal(2, #paper.engines[1]:calls_of "request") -- it is too early to ask again
    assert.equal(2, #bot.holds)
  end)

  it("is not told of a client that was stopped while the gateway was asked", function()
    connect(0)
    paper.engines[1]:note("hold", -1, { ["until"] = 1234 })
    bot:step(0)
    bot:stop()
    assert.same({}, bot.holds)
  end)

  it("hands the reserve to the engine", function()
    bot = paper_client { identify_reserve = 600 }
    bot:connect()
    assert.equal(600, paper.engines[1].options.identify_reserve)
    assert.same({ total = 1000, used = 0, left = 400, reserve = 600 }, bot:stats().identifies)
    bot.bridge:close()
    bot = paper_client()
    assert.is_nil(bot:stats().identifies)
    bot:connect()
    assert.equal(10, paper.engines[2].options.identify_reserve)
  end)
end)

describe("the count of identifies in a store", function()
  local bot, store, token

  before_each(function()
    paper.install()
    store = moongate.store.memory()
    bot, token = paper_client { session_store = store }
  end)
  after_each(function()
    if bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  local function key() return core.fingerprint(token) .. "/budget" end

  local function record(change)
    local now = os.time()
    local all = { format = 1, total = 1000, told_used = 400, told_until = now + 500, step_at = now,
      steps = { 3, 0, 500 }, saved_at = now }
    for name, value in pairs(change or {}) do all[name] = value end
    return all
  end

  it("R35 is taken up, and ages as if the process had lived on", function()
    store:save(key(), record())
    bot:connect()
    assert.same({ total = 1000, used = 903, left = 87, reserve = 10 }, bot:stats().identifies)
    local now = core.quota(token, "ws://127.0.0.1:1", 300)
    assert.is_true(math.abs(now.hold_ms - 500000) <= 2000, now.hold_ms)
    assert.same({ 3, 0, 500 }, now.steps)
  end)

  it("R35 is worth what is left of it", function()
    local now = os.time()
    store:save(key(), record { told_until = now - 5, step_at = now - 80000, saved_at = now - 4000 })
    bot:connect()
    assert.equal(503, bot:stats().identifies.used)
    assert.is_true(core.quota(token, "ws://127.0.0.1:1", 600).hold_ms < 6500 * 1000)
  end)

  it("R35 is no younger for a clock that was set back", function()
    local now = os.time()
    store:save(key(), record { step_at = now + 7000, saved_at = now + 7000,
      told_until = now + 7100 })
    bot:connect()
    assert.equal(903, bot:stats().identifies.used)
    assert.is_true(core.quota(token, "ws://127.0.0.1:1", 300).hold_ms <= 100000)
  end)

  it("is not taken up where this process knows better", function()
    store:save(key(), record())
    core.quota_learn(token, "ws://127.0.0.1:1", { total = 1000, remaining = 999, reset_after = 9 })
    bot:connect()
    assert.is_true(bot:stats().identifies.used <= 1)
    assert.same({}, bot.logs)
  end)

  local now = os.time()
  for words, change in pairs {
    ["another format"] = { format = 2 }, ["numbers"] = { total = 0 },
    ["numbers "] = { total = 10.5 }, ["numbers  "] = { told_used = -1 },
    ["numbers are"] = { told_used = "4" }, ["numbers are "] = { steps = 5 },
    ["numbers are  "] = { steps = { 1, -1 } }, ["numbers are broken"] = { steps = { a = 1 } },
    ["times"] = { saved_at = "x" }, ["times "] = { step_at = now + 5000 },
    ["times are"] = { told_until = now + 90000 }, ["times are "] = { told_until = -5 },
    ["too old"] = { saved_at = now - 99999, step_at = now - 99999, told_until = now - 50000 },
  } do
    it("is refused with a line where it is of no use: " .. words, function()
      store:save(key(), record(change))
      bot:connect()
      assert.equal(1, #bot.logs)
      assert.truthy(bot.logs[1]:find("session_store: the count of identifies", 1, true))
      assert.truthy(bot.logs[1]:find((words:gsub(" +$", "")), 1, true), bot.logs[1])
      assert.equal(0, bot:stats().identifies.used)
    end)
  end

  it("R35 is saved as identifies leave, and only then", function()
    bot:connect()
    paper.engines[1]:note("state", 0, { from = "hello", to = "identifying" })
    bot:step(0)
    assert.is_nil(store:load(key())) -- nothing was counted: the engine is of paper
    core.quota_learn(token, "ws://127.0.0.1:1", { total = 2000, remaining = 5, reset_after = 9000 })
    paper.engines[1]:note("state", 0, { from = "hello", to = "identifying" })
    bot:step(0)
    local kept = store:load(key())
    assert.equal(2000, kept.total)
    assert.equal(1995, kept.told_used)
    assert.is_true(is_about(9, kept.told_until))
    local saves, save = 0, store.save
    function store:save(...)
      saves = saves + 1
      return save(self, ...)
    end
    paper.engines[1]:note("state", 0, { from = "hello", to = "identifying" })
    bot:step(0)
    assert.equal(0, saves) -- nothing left since
    core.quota_learn(token, "ws://127.0.0.1:1", { total = 2000, remaining = 4, reset_after = 9000 })
    paper.engines[1]:note("state", 0, { from = "hello", to = "identifying" })
    bot:step(0)
    assert.equal(1, saves)
  end)
end)

describe("the day's identifies #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function client(options)
    bot = witness.client(discord, options)
    bot.holds = {}
    bot:on("hold", function(data) table.insert(bot.holds, data["until"]) end)
    return bot
  end

  it("R35 R38 are waited for, told once, and asked for once; then all shards are ready", function()
    discord = witness.sandbox { shards = 3, max_concurrency = 3,
      session_start_limit = { total = 1000, remaining = 11, reset_after = 3000 } }
    client():connect()
    local until_s
    witness.await(bot, "hold", function()
      until_s = bot.holds[1]
      return until_s
    end)
    assert.is_true(until_s - os.time() <= 4, until_s - os.time())
    assert.equal(1, #discord:received "IDENTIFY")
    assert.equal(10, bot.gateway.session_start_limit.remaining)
    witness.await(bot, "ready", function() return bot.state == "ready" end)
    assert.equal(3, #discord:received "IDENTIFY")
    assert.equal(1, #bot.holds)
    assert.equal(2, #discord:requests "/gateway/bot")
  end)

  it("R33 R35 hold up no resume", function()
    discord = witness.sandbox { session_start_limit = { total = 1000, remaining = 11 } }
    witness.ready(client())
    assert.equal(0, bot:stats().identifies.left)
    for round = 1, 2 do
      bot:reconnect(4000)
      assert(discord:wait_received("RESUME", { count = round, timeout = witness.patience }))
      witness.await(bot, "ready", function() return bot.state == "ready" end)
    end
    assert.same({}, bot.holds)
    bot:reconnect(1000) -- a new session, which has to wait
    witness.await(bot, "hold", function() return bot.holds[1] end)
    assert.equal("waiting", bot.state)
    assert.equal(1, #discord:received "IDENTIFY")
  end)

  it("R35 are counted on by a second client of the same store, which holds at once", function()
    local store = moongate.store.memory()
    discord = witness.sandbox { session_start_limit = { total = 1000, remaining = 11 } }
    local first = discord
    witness.ready(client { session_store = store })
    bot:stop()
    assert.equal(990, store:load(core.fingerprint(first.token) .. "/budget").told_used
      + store:load(core.fingerprint(first.token) .. "/budget").steps[1])
    first:stop()
    -- Another address: the process knows nothing of it, as a new one would not.
    discord = witness.sandbox { token = first.token }
    client { session_store = store, url = discord.url, shards = 1 }:connect()
    witness.await(bot, "hold", function() return bot.holds[1] end)
    assert.equal("waiting", bot.state)
    assert.equal(0, #discord:connections())
    bot:stop()
    discord:stop()
    discord = witness.sandbox()
    witness.ready(client { url = discord.url, shards = 1 }) -- without the store
    assert.same({}, bot.holds)
  end)
end)

-- ---- A day of a hostile server -----------------------------------------------------------------

-- The pure machine of each shard, the slots and the quota, on the simulator's clock: for a day each
-- Identify is answered with op 9 false or a close, then the server is sane again.
describe("24 hours of a server that answers each Identify", function()
  local build = os.getenv "MOONGATE_BUILD" or ".build/plain"
  local SEEDS, SHARDS, KEYS_MAX = 4, 16, 4

  local function run(how)
    local pipe = assert(io.popen(("%s/simulator -s %d -x %d -d 1.1 -n %d -j 1 2>&1"):format(build,
      SEEDS, how, SHARDS)))
    local text = pipe:read "a"
    return pipe:close() or false, text
  end

  for how, words in pairs { [9] = "with op 9 false", [1011] = "with 1011", [4008] = "with 4008" } do
    it("R35 " .. words .. " sees less than the total, from a bot that is quiet and comes back",
      function()
        local passed, text = run(how)
        assert.is_true(passed, text)
        local identifies = tonumber(text:match "a day%s+(%d+) identifies of a token")
        assert(identifies == TOTAL - core.limits.QUOTA_RESERVE, identifies .. " identifies a day\n"
          .. text)
        local holds, hours, wakes = text:match "holds%s+(%d+), ([%d.]+) hours, (%d+) wakes"
        assert.equal(SEEDS, tonumber(holds), text) -- each of them once
        assert.is_true(tonumber(hours) > SEEDS * 12, text)
        -- Each shard asks for its slot once a minute, each key looks twice.
        local most = hours * 60 * (SHARDS + 2 * KEYS_MAX) * 1.01
        assert(tonumber(wakes) < most, wakes .. " wakes\n" .. text)
        -- Every shard is ready two minutes after the oldest step of the day was forgotten.
        local ready = tonumber(text:match "ready%s+after ([%d.]+) hours")
        assert(ready < STEPS * STEP / 3600000 + 2 / 60, ready .. " hours\n" .. text)
      end)
  end
end)

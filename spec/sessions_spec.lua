-- sessions.lua: sessions that outlive their process, over real sockets.  #sockets
local moongate = require "moongate"
local witness = require "witness"

local KILLS = tonumber(os.getenv "MOONGATE_KILLS") or 40

-- A Lua program that runs beside the spec, and may be started again and again.
local function background(text)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath), text)
  file:close()
  return {
    start = function()
      local pipe = assert(io.popen(("lua5.4 %s >/dev/null 2>&1 & echo $!"):format(name)))
      local pid = pipe:read "n"
      pipe:close()
      return math.tointeger(pid)
    end,
    remove = function() os.remove(name) end,
  }
end

describe("sessions in a store #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop { keep_session = true } end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function key()
    return require("moongate.core").fingerprint(discord.token) .. "/0/1"
  end

  local function client(store, options)
    local all = options or {}
    all.session_store = store
    bot = witness.client(discord, all)
    bot.logs, bot.problems = {}, {}
    bot:on("log", function(entry) table.insert(bot.logs, entry.message) end)
    bot:on("error", function(problem) table.insert(bot.problems, problem) end)
    return bot
  end

  local function until_state(wanted)
    witness.await(bot, wanted, function() return bot.state == wanted end)
  end

  it("a new client resumes what another one left, without an Identify", function()
    discord = witness.sandbox()
    local store = moongate.store.memory()
    witness.ready(client(store))
    local session = bot.shards[0].session
    bot:stop()
    assert.equal(session, store:load(key()).id)
    discord:dispatch("MESSAGE_CREATE", { content = "while away", channel_id = "1" })
    local heard
    client(store):on("MESSAGE_CREATE", function(message) heard = message.content end)
    bot:connect()
    witness.await(bot, "the message", function() return heard end)
    assert.equal("while away", heard)
    assert.equal(session, bot.shards[0].session)
    assert.equal(1, #discord:received "IDENTIFY")
  end)

  it("R31 what was received and not handled comes again", function()
    discord = witness.sandbox()
    local store, heard = moongate.store.memory(), {}
    client(store):on("MESSAGE_CREATE", function(message)
      heard[#heard + 1] = message.content
      if #heard == 3 then bot.bridge:close(4000) end -- what is queued is gone with the engine
    end)
    witness.ready(bot)
    for i = 1, 5 do
      discord:dispatch("MESSAGE_CREATE", { content = tostring(i), channel_id = "1" })
    end
    witness.await(bot, "the third", function() return #heard == 3 end)
    moongate.sleep(0.3)
    assert.same({ "1", "2", "3" }, heard)
    assert.is_true(store:load(key()).seq <= 5) -- READY, the guild, three messages
    client(store):on("MESSAGE_CREATE", function(message) heard[#heard + 1] = message.content end)
    bot:connect()
    witness.await(bot, "the rest", function() return heard[#heard] == "5" end)
    assert.same({ "4", "5" }, { table.unpack(heard, #heard - 1) })
    assert.equal(1, #discord:received "IDENTIFY")
  end)

  it("stop { keep_session = false } ends it, and says so to the store", function()
    discord = witness.sandbox { limits = false }
    local store = moongate.store.memory()
    witness.ready(client(store))
    bot:stop { keep_session = false }
    assert.is_true(store:load(key()).ended)
    witness.ready(client(store))
    assert.same({}, bot.logs)
    assert.equal(2, #discord:received "IDENTIFY")
  end)

  it("a session that the gateway gave up leads to a new one", function()
    discord = witness.sandbox { limits = false }
    local store = moongate.store.memory()
    store:save(key(), { format = 1, id = "unknown", url = discord.url, seq = 5, shard_id = 0,
      shard_count = 1, saved_at = os.time() })
    client(store):connect()
    until_state "ready"
    assert.equal(1, #discord:received "RESUME")
    bot:stop()
    assert.not_equal("unknown", store:load(key()).id)
  end)

  local now = os.time()
  local good = { format = 1, id = "x", url = "", seq = 5, shard_id = 0, shard_count = 1,
    saved_at = now }
  local broken = {
    ["another format"] = { format = 2 }, ["session id"] = { id = 7 },
    ["session id is"] = { id = "a\nb" }, ["sequence"] = { seq = "5" },
    ["sequence is"] = { seq = -1 }, ["another shard"] = { shard_count = 2 },
    ["another shard "] = { shard_id = 3 }, ["too old"] = { saved_at = now - 4000 },
    ["time"] = { saved_at = "now" }, ["URL"] = { url = 5 },
  }
  for words, change in pairs(broken) do
    it("a record that is of no use is refused with a clear line: " .. words, function()
      discord = witness.sandbox { limits = false }
      local store, record = moongate.store.memory(), {}
      for name, value in pairs(good) do record[name] = value end
      for name, value in pairs(change) do record[name] = value end
      store:save(key(), record)
      witness.ready(client(store))
      assert.equal(1, #bot.logs)
      assert.truthy(bot.logs[1]:find("session_store", 1, true))
      assert.truthy(bot.logs[1]:find((words:gsub(" $", "")), 1, true), bot.logs[1])
      assert.equal(0, #discord:received "RESUME")
    end)
  end

  it("a store that raises or refuses costs nothing but a report", function()
    discord = witness.sandbox()
    local calls = 0
    local store = {
      load = function() error "no loading" end,
      save = function()
        calls = calls + 1
        return nil, "no saving", "ENOSAVE"
      end,
    }
    witness.ready(client(store))
    assert.truthy(bot.logs[1]:find("no loading", 1, true))
    local heard = 0
    bot:on("MESSAGE_CREATE", function() heard = heard + 1 end)
    for i = 1, 3 do
      discord:dispatch("MESSAGE_CREATE", { content = tostring(i), channel_id = "1" })
      witness.await(bot, "message", function() return heard == i end)
      moongate.sleep(0.3)
    end
    assert.equal(1, #bot.problems)
    assert.equal("ENOSAVE", bot.problems[1].code)
    assert.equal("session_store", bot.problems[1].phase)
    assert.equal("ready", bot.state)
    assert.is_true(calls >= 3)
  end)

  it("saves at most every 250 ms while events come", function()
    discord = witness.sandbox()
    local saves = 0
    local store = {
      load = function() end,
      save = function()
        saves = saves + 1
        return true
      end,
    }
    local heard = 0
    client(store):on("MESSAGE_CREATE", function() heard = heard + 1 end)
    witness.ready(bot)
    saves = 0
    local started = os.clock()
    for i = 1, 300 do
      discord:dispatch("MESSAGE_CREATE", { content = tostring(i), channel_id = "1" })
    end
    witness.await(bot, "all", function() return heard == 300 end)
    bot:step(0.3)
    assert.is_true(saves <= 2 + (os.clock() - started) / 0.25, saves)
  end)

  it("what is no store is refused among the options", function()
    for _, wrong in ipairs { true, "sessions.json", {}, { load = print } } do
      local fine, message = pcall(moongate.client, { token = "x", intents = 1,
        session_store = wrong })
      assert.is_false(fine)
      assert.truthy(message:find("moongate.store.file", 1, true), message)
    end
  end)

  it(("R31 %d kills in the middle of a stream: all events, one Identify"):format(KILLS), function()
    discord = witness.sandbox { heartbeat_interval = 40000 }
    local path = os.tmpname()
    local heard_path = os.tmpname()
    os.remove(path)
    local program = background(([[
      local moongate = require "moongate"
      local heard = io.open(%q, "a")
      heard:setvbuf "no"
      local bot = moongate.client { token = %q, api = %q,
        intents = { "guild_messages", "message_content" }, backoff = { base = 0, cap = 0 },
        session_store = moongate.store.file(%q) }
      bot:on("READY", function() heard:write "ready\n" end)
      bot:on("RESUMED", function() heard:write "resumed\n" end)
      bot:on("MESSAGE_CREATE", function(m) heard:write(m.content, "\n") end)
      bot:run()
    ]]):format(heard_path, discord.token, discord.api, path))
    local sent = 0
    local function say(count)
      for _ = 1, count do
        sent = sent + 1
        discord:dispatch("MESSAGE_CREATE", { content = tostring(sent), channel_id = "1",
          guild_id = discord.guilds[1].id })
      end
    end
    math.randomseed(23)
    for round = 1, KILLS do
      local pid = program:start()
      local wanted = round == 1 and "IDENTIFY" or "RESUME"
      assert(discord:wait_received(wanted, { count = round == 1 and 1 or round - 1,
        timeout = witness.patience }), wanted .. " in round " .. round)
      if round == 1 then assert(discord:wait_for_ready(1, witness.patience)) end
      say(math.random(1, 40))
      -- The first process has to come as far as its first save.
      witness.block(round == 1 and 0.6 or math.random() * 0.05)
      say(math.random(1, 10))
      os.execute("kill -9 " .. pid)
    end
    local pid = program:start()
    assert(discord:wait_received("RESUME", { count = KILLS, timeout = witness.patience }))
    local seen, complete = {}, false
    local deadline = os.time() + witness.patience
    while not complete and os.time() < deadline do
      witness.block(0.1)
      for line in io.lines(heard_path) do seen[line] = true end
      complete = true
      for i = 1, sent do complete = complete and seen[tostring(i)] ~= nil end
    end
    os.execute("kill -9 " .. pid)
    program:remove()
    for _, name in ipairs { path, path .. ".lock", heard_path } do os.remove(name) end
    assert.is_true(complete)
    assert.equal(1, #discord:received "IDENTIFY")
  end)
end)

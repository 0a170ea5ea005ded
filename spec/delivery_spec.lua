-- delivery_spec.lua: events from an engine of paper to listeners, the heard names back to it, the
-- warnings about intents, and how the last shard's end is noticed.

local moongate = require "moongate"
local paper = require "paper"

local bot, engine

local function begin(more)
  local all = {
    token = "delivery.spec.token", intents = { "guilds" }, url = "ws://127.0.0.1:1", shards = 2,
  }
  for key, value in pairs(more or {}) do all[key] = value end
  bot = moongate.client(all)
  return bot
end

local function connect(more)
  if not bot then begin(more) end
  assert(bot:connect())
  engine = paper.engines[#paper.engines]
  return bot
end

-- The names and flags that shard `id` was told last.
local function told(id)
  local last
  for _, call in ipairs(engine:calls_of "interest") do
    if call[1] == id then last = call end
  end
  table.sort(last[2])
  return table.concat(last[2], " "), last[3]
end

-- The same without the names that every shard is told.
local function heard(id)
  local names, flags = told(id)
  return (names:gsub(" ?READY RESUMED", "")), flags
end

local function down(id, to)
  engine:note("state", id, { from = "ready", to = to or "idle" })
end

describe("delivery", function()
  before_each(function()
    paper.install()
    bot = nil
  end)

  after_each(function()
    if bot and bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  describe("of interest", function()
    it("is the union of what the cluster and the shard hear", function()
      begin():on("GUILD_CREATE", print)
      connect()
      assert.equal("GUILD_CREATE", (heard(0)))
      bot.shards[1]:on("messageCreate", print)
      assert.equal("GUILD_CREATE", (heard(0)))
      assert.equal("GUILD_CREATE MESSAGE_CREATE", (heard(1)))
      bot:on("messageCreate", print)
      assert.equal("GUILD_CREATE MESSAGE_CREATE", (heard(0)))
      bot:off("GUILD_CREATE")
      assert.equal("GUILD_CREATE MESSAGE_CREATE", (heard(0)))
      bot:step(0)
      assert.equal("MESSAGE_CREATE", (heard(0)))
    end)

    it("never lacks a name between one listener and the next", function()
      begin():on("MESSAGE_CREATE", print)
      connect()
      bot:step(0)
      local before = #engine:calls_of "interest"
      for _, target in ipairs { bot, bot.shards[0] } do
        target:on("MESSAGE_CREATE", print)
        bot:off("MESSAGE_CREATE")
        bot.shards[0]:off("MESSAGE_CREATE")
        target:once("MESSAGE_CREATE", print)
        bot:off("MESSAGE_CREATE")
        bot.shards[0]:off()
        bot:on("MESSAGE_CREATE", print)
      end
      bot:step(0)
      for at, call in ipairs(engine:calls_of "interest") do
        if at > before then
          assert.truthy(table.concat(call[2], " "):find("MESSAGE_CREATE", 1, true), "call " .. at)
        end
      end
      assert.equal("MESSAGE_CREATE", (heard(0)))
      -- A listener for once that listens again out of its own event, and one that waits again.
      local seen = 0
      local function again() seen = seen + 1 bot:once("TYPING_START", again) end
      bot:once("TYPING_START", again)
      moongate.spawn(function()
        for _ = 1, 3 do bot:wait_for("TYPING_START") seen = seen + 1 end
      end)
      bot:step(0)
      before = #engine:calls_of "interest"
      for at = 1, 3 do
        engine:dispatch("TYPING_START", 0, at, {})
        bot:step(0)
      end
      assert.equal(6, seen)
      for at, call in ipairs(engine:calls_of "interest") do
        if at > before then
          assert.truthy(table.concat(call[2], " "):find("TYPING_START", 1, true), "call " .. at)
        end
      end
    end)

    it("has flags for everything, for send and for receive", function()
      connect()
      local names, flags = heard(0)
      assert.equal("", names)
      assert.equal("READY RESUMED", (told(0))) -- by whoever waits for them later
      assert.same({ all = false }, flags)
      bot:on("*", print)
      bot.shards[0]:on("send", print)
      assert.same({ all = true, send = true }, select(2, heard(0)))
      assert.same({ all = true }, select(2, heard(1)))
      bot:on("receive", print)
      bot:off("*")
      bot:step(0)
      assert.same({ all = false, send = true, receive = true }, select(2, heard(0)))
    end)

    it("is not told again while the set stays the same", function()
      begin():on("GUILD_CREATE", print)
      connect()
      local before = #engine:calls_of "interest"
      bot:on("GUILD_CREATE", function() end)
      assert.equal(before, #engine:calls_of "interest")
    end)

    it("is told later when the command queue is full", function()
      connect()
      engine.refuse.interest = { code = "EBUSY" }
      bot:on("GUILD_CREATE", print)
      assert.is_true(bot:timeout() > 0 and bot:timeout() < 1)
      bot:step(0)
      engine.refuse.interest = nil
      local before = #engine:calls_of "interest"
      bot:step(0.2)
      assert.equal("GUILD_CREATE", (heard(0)))
      assert.equal("GUILD_CREATE", (heard(1)))
      assert.equal(before + 2, #engine:calls_of "interest")
      assert.is_nil(bot:timeout())
      bot:step(0)
      assert.equal(before + 2, #engine:calls_of "interest")
    end)
  end)

  describe("of events", function()
    it("reaches the shard's listeners, then the cluster's, with data, shard and name", function()
      connect()
      local order = {}
      bot:on("MESSAGE_CREATE", function(data, shard, name)
        order[#order + 1] = { "cluster", data.content, shard.id, name }
      end)
      bot.shards[1]:on("messageCreate", function(data, shard, name)
        order[#order + 1] = { "shard", data.content, shard.id, name }
      end)
      engine:dispatch("MESSAGE_CREATE", 1, 5, { content = "x" })
      engine:dispatch("MESSAGE_CREATE", 0, 6, { content = "y" })
      bot:step(0)
      assert.same({
        { "shard", "x", 1, "MESSAGE_CREATE" }, { "cluster", "x", 1, "MESSAGE_CREATE" },
        { "cluster", "y", 0, "MESSAGE_CREATE" },
      }, order)
    end)

    it("tells moongate's own events to both", function()
      connect()
      local got = {}
      bot:on("open", function(data, shard) got[#got + 1] = { data.url, shard.id } end)
      bot.shards[0]:on("open", function(data) got[#got + 1] = { data.url } end)
      engine:note("open", 0, { url = "u" })
      bot:step(0)
      assert.same({ { "u" }, { "u", 0 } }, got)
    end)

    it("R54 goes on when one cannot be decoded, and says which", function()
      connect()
      local errors, after = {}, 0
      bot:on("error", function(data, shard) errors[#errors + 1] = { data, shard } end)
      bot:on("A", function() after = after + 1 end)
      engine:dispatch("A", 0, 1, nil, "decode: A: malformed payload")
      engine:dispatch("A", 0, 2, {})
      bot:step(0)
      assert.equal(1, #errors)
      assert.equal("decode", errors[1][1].phase)
      assert.equal("A", errors[1][1].event)
      assert.equal("ESYNTAX", errors[1][1].code)
      assert.equal(bot.shards[0], errors[1][2])
      assert.equal(1, after)
    end)

    it("R54 tells each who listens for errors once of what both cannot have", function()
      connect()
      local errors = { cluster = 0, shard = 0 }
      local function never() error "called" end
      bot:on("error", function() errors.cluster = errors.cluster + 1 end)
      bot:on("A", never)
      bot:on("*", never)
      bot.shards[0]:on("A", never)
      bot.shards[0]:on("*", never)
      engine:dispatch("A", 0, 1, nil, "decode: A: malformed payload")
      bot:step(0)
      assert.same({ cluster = 1, shard = 0 }, errors)
      bot.shards[0]:on("error", function() errors.shard = errors.shard + 1 end)
      engine:dispatch("A", 0, 2, nil, "decode: A: malformed payload")
      bot:step(0)
      assert.same({ cluster = 2, shard = 1 }, errors)
    end)

    it("reports one of its own that cannot be decoded, and decodes none unheard", function()
      connect()
      local errors, decoded = {}, 0
      engine:note("open", 0, nil)
      engine.queue[1].data = function() decoded = decoded + 1 end
      bot:step(0)
      assert.equal(0, decoded)
      bot:on("open", function() error("heard") end)
      bot:on("error", function(data) errors[#errors + 1] = data end)
      engine:note("open", 0, nil)
      engine.queue[1].failure = "decode: open: malformed payload"
      bot:step(0)
      assert.equal(1, #errors)
      assert.equal("decode", errors[1].phase)
      assert.equal("open", errors[1].event)
    end)

    it("passes on one of its own that has no data", function()
      connect()
      local came = 0
      bot:on("open", function(data) came = came + (data == nil and 1 or 0) end)
      engine:note("open", 0, nil)
      bot:step(0)
      assert.equal(1, came)
    end)

    it("R55 raises a listener's error from step when nobody hears it, behind its event", function()
      connect()
      local ran = {}
      bot:on("A", function() error("first", 0) end)
      bot:on("A", function(data) ran[#ran + 1] = data.n end)
      engine:dispatch("A", 0, 1, { n = 1 })
      engine:dispatch("A", 0, 2, { n = 2 })
      local fine, message = pcall(bot.step, bot, 0)
      assert.is_false(fine)
      assert.truthy(message:find("first", 1, true))
      assert.truthy(message:find("in a listener of A", 1, true))
      assert.same({ 1 }, ran)
      local errors = {}
      bot:on("error", function(data) errors[#errors + 1] = data.phase .. " " .. data.event end)
      bot:step(0)
      assert.same({ 1, 2 }, ran)
      assert.same({ "handler A" }, errors)
    end)

    it("R56 never raises an error of the network", function()
      connect()
      engine:note("error", 0, { code = "ERESOLVE", phase = "resolve", message = "no such host" })
      engine:note("error", -1, { code = "EHTTP", phase = "http", message = "no" })
      assert.equal(2, bot:step(0))
      local got
      bot:on("error", function(data) got = data.code end)
      engine:note("error", 0, { code = "ERESOLVE", phase = "resolve", message = "no such host" })
      bot:step(0)
      assert.equal("ERESOLVE", got)
    end)

    it("ignores events of a shard that it does not know", function()
      connect()
      bot:on("A", function() error("heard") end)
      engine:dispatch("A", 9, 1, {})
      engine:note("state", 9, { to = "dead" })
      assert.equal(2, bot:step(0))
    end)

    it("tells who held the Lua side too long", function()
      begin { blocked_after = 0.01 }
      connect()
      local blocked = {}
      bot:on("blocked", function(data) blocked[#blocked + 1] = data end)
      bot:on("A", function()
        local till = os.clock() + 0.02
        while os.clock() < till do end
      end)
      engine:dispatch("A", 0, 1, {})
      bot:step(0)
      assert.equal("A", blocked[1].event)
      assert.is_true(blocked[1].seconds >= 0.01)
      assert.truthy(blocked[1].where:find("delivery_spec.lua:%d+"))
      assert.equal(1, #blocked)
    end)

    it("tells it on the shard too, when it was the shard's listener", function()
      begin { blocked_after = 0.01 }
      connect()
      local blocked = {}
      bot:on("blocked", function(_, shard) blocked[#blocked + 1] = { "cluster", shard.id } end)
      bot.shards[1]:on("blocked", function(_, shard)
        blocked[#blocked + 1] = { "shard", shard.id }
      end)
      bot.shards[1]:on("A", function()
        local till = os.clock() + 0.02
        while os.clock() < till do end
      end)
      engine:dispatch("A", 1, 1, {})
      bot:step(0)
      assert.same({ { "shard", 1 }, { "cluster", 1 } }, blocked)
    end)

    it("is not watched for that when it was switched off", function()
      begin { blocked_after = false }
      connect()
      local came = 0
      bot:on("blocked", function() came = came + 1 end)
      for _, hearer in ipairs { bot, bot.shards[0] } do
        hearer:on("A", function()
          local till = os.clock() + 0.01
          while os.clock() < till do end
        end)
      end
      engine:dispatch("A", 0, 1, {})
      bot:step(0)
      assert.equal(0, came)
    end)
  end)

  describe("of warnings", function()
    it("names a listener that can never be called, once", function()
      begin():on("messageCreate", print)
      bot:on("GUILD_CREATE", print)
      local logs = {}
      bot:on("log", function(data) logs[#logs + 1] = data end)
      connect()
      bot:on("TYPING_START", print)
      bot:off("TYPING_START")
      bot:on("TYPING_START", print)
      assert.equal(2, #logs)
      assert.equal("warn", logs[1].level)
      assert.equal("MESSAGE_CREATE", logs[1].fields.event)
      assert.truthy(logs[1].message:find("the intent guild_messages or direct_messages is missing",
        1, true))
      assert.equal("TYPING_START", logs[2].fields.event)
      bot.shards[0]:on("MESSAGE_REACTION_ADD", print)
      assert.equal("MESSAGE_REACTION_ADD", logs[3].fields.event)
    end)

    it("guesses what a misspelt event was meant to be, once", function()
      begin():on("mesageCreate", print)
      bot:on("clsoe", print)
      bot:on("FRIDGE_DEFROST", print)
      local logs = {}
      bot:on("log", function(data) logs[#logs + 1] = data end)
      connect { intents = 0 }
      bot:on("wholly_other", print)
      assert.equal(2, #logs)
      assert.same({ event = "CLSOE", meant = "close" }, logs[1].fields)
      assert.equal("warn", logs[2].level)
      assert.equal("a listener waits for MESAGE_CREATE, which is no known event; did you mean "
        .. "MESSAGE_CREATE?", logs[2].message)
    end)

    it("waits until somebody listens to log, and is no matter before connect", function()
      begin():on("messageCreate", print)
      connect()
      local logs = {}
      bot:on("log", function(data) logs[#logs + 1] = data.fields.event end)
      assert.same({ "MESSAGE_CREATE" }, logs)
      bot:stop()
      bot:on("TYPING_START", print)
      assert.same({ "MESSAGE_CREATE" }, logs)
    end)
  end)

  describe("of the end", function()
    it("R40 is an exit once the last shard is down for good", function()
      connect()
      local seen = {}
      for _, name in ipairs { "fatal", "exit" } do
        bot:on(name, function(data, shard)
          seen[#seen + 1] = ("%s %d %d"):format(name, data.code, shard.id)
        end)
      end
      local fatal = {
        code = 4014, name = "DISALLOWED_INTENTS", error = "EINTENTS", message = "not enabled",
        remedy = "enable it",
      }
      engine:note("fatal", 0, fatal)
      down(0, "dead")
      bot:step(0)
      assert.same({ "fatal 4014 0" }, seen)
      assert.is_nil(bot.failure)
      engine:note("fatal", 1, fatal)
      down(1, "dead")
      bot:step(0)
      assert.same({ "fatal 4014 0", "fatal 4014 1", "exit 4014 1" }, seen)
      local waited = { bot:wait_for("READY") }
      assert.equal("ECLOSED", waited[3])
      local done, message, code = bot:run()
      assert.is_nil(done)
      assert.equal("EINTENTS", code)
      assert.equal("shard 1/2: not enabled (4014 DISALLOWED_INTENTS): enable it", message)
      assert.same({ { 4000 } }, engine:calls_of "close")
    end)

    it("is none when shards were asked to go", function()
      connect()
      local seen = 0
      bot:on("exit", function() seen = seen + 1 end)
      down(0)
      down(1)
      bot:step(0)
      assert.equal(0, seen)
      assert.is_nil(bot.failure)
    end)
  end)
end)

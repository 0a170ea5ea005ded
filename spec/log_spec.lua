-- log.lua: what `log` listeners are told, from which level on, over an engine of paper.

local moongate = require "moongate"
local log = require "moongate.log"
local paper = require "paper"

local engine, bot
local clients = 0 -- a token each, so that nobody waits for another's identify window

local function client(level)
  clients = clients + 1
  bot = moongate.client {
    token = "log.spec.token." .. clients, intents = 0, url = "ws://127.0.0.1:1", shards = 1,
    log_level = level,
  }
  assert(bot:connect())
  engine = paper.engines[#paper.engines]
end

-- One of each kind, in order.
local NOTES = {
  { "connect", { url = "ws://x", attempt = 2, resuming = true }, "debug",
    "connects to ws://x, attempt 2, to resume" },
  { "open", { url = "ws://x" }, "debug", "connected to ws://x" },
  { "state", { from = "hello", to = "identifying" }, "debug", "identifying, was hello" },
  { "state", { from = "identifying", to = "ready" }, "info", "ready" },
  { "gap", { expected = 4, got = 6 }, "warn",
    "events are missing: sequence 4 was expected, 6 came" },
  { "disconnect", { code = 4000, reason = "tea" }, "debug", "asks for the close: 4000 tea" },
  { "disconnect", { code = 1000, reason = "" }, "debug", "asks for the close: 1000" },
  { "close", { by = "client", code = 4000, name = "UNLISTED", reason = "tea",
      will_reconnect = false }, "debug", "closed by the client: 4000 UNLISTED tea" },
  { "close", { by = "server", code = 4001, name = "UNKNOWN_OPCODE", reason = "what",
      will_reconnect = true, retry_in = 0.5 }, "info",
    "closed by the server: 4001 UNKNOWN_OPCODE what; again in 0.5 s" },
  { "close", { by = "server", code = 4004, name = "AUTHENTICATION_FAILED", reason = "",
      will_reconnect = false }, "error", "closed by the server: 4004 AUTHENTICATION_FAILED" },
  { "error", { code = "ETLS", message = "connect: no", phase = "tls", retry_in = 2 }, "error",
    "connect: no; again in 2 s" },
  { "lost", { reason = "it is gone", last_seq = 7 }, "warn",
    "the session is lost: it is gone; events behind 7 may be missing" },
  { "fatal", { code = 4014, name = "DISALLOWED_INTENTS", error = "EINTENTS",
      message = "not allowed", remedy = "allow it" }, "error",
    "down for good: not allowed (4014 DISALLOWED_INTENTS): allow it" },
}

local function tell_all()
  local told = {}
  bot:on("log", function(data, one)
    told[#told + 1] = data
    assert.equal(bot.shards[0], one)
  end)
  for _, note in ipairs(NOTES) do engine:note(note[1], 0, note[2]) end
  for _ = 1, 3 do bot:step(0) end
  return told
end

describe("log", function()
  before_each(function() paper.install() end)
  after_each(function()
    if bot.bridge then bot.bridge:close() end
    paper.remove()
  end)

  for rank, level in ipairs(log.LEVELS) do
    it(("%s: that and what is graver, as a sentence with its fields"):format(level), function()
      client(level)
      local told, wanted = tell_all(), {}
      for _, note in ipairs(NOTES) do
        for grave = 1, rank do
          if log.LEVELS[grave] == note[3] then wanted[#wanted + 1] = note end
        end
      end
      assert.equal(#wanted, #told)
      for i, note in ipairs(wanted) do
        assert.equal(note[3], told[i].level)
        assert.equal("shard 0/1: " .. note[4], told[i].message)
        assert.equal(note[1], told[i].fields.event)
        assert.equal(0, told[i].fields.shard_id)
        for key, value in pairs(note[2]) do assert.equal(value, told[i].fields[key]) end
      end
    end)
  end

  it("false: nothing; without an option: warnings and errors", function()
    client(false)
    assert.same({}, tell_all())
    bot:on("GILD_CREATE", function() end)
    assert.same({}, tell_all())
    client(nil)
    local told = tell_all()
    assert.is_true(#told > 0)
    for _, data in ipairs(told) do assert.truthy(data.level == "warn" or data.level == "error") end
  end)

  it("a handler that blocks, and a day that is used up", function()
    local told = {}
    local self = { options = { log_level = "warn" }, emitter = {
      hears = function() return true end,
      emit = function(_, _, data) told[#told + 1] = data end,
    } }
    log.event(self, nil, "blocked", { event = "A", seconds = 6.25, where = "bot.lua:1" })
    log.event(self, nil, "hold", { ["until"] = 86400 })
    log.event(self, nil, "exit", {})
    assert.equal("a handler of A (bot.lua:1) held everything up for 6.25 s", told[1].message)
    assert.equal("the day's identifies are used up; it goes on at 1970-01-02 00:00:00Z",
      told[2].message)
    assert.equal(2, #told)
  end)

  it("levels are few and known", function()
    local fine, message = pcall(moongate.client, { token = "x.y.z", intents = 0,
      log_level = "wrn" })
    assert.is_false(fine)
    assert.truthy(message:find('did you mean "warn"?', 1, true), message)
  end)
end)

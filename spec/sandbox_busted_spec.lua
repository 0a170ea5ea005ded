-- sandbox_busted_spec.lua: bots' own tests: the example's are green as it stands and red when the
-- bot is broken, and what the assertions say.  #sockets

local core = require "moongate.core"

local slowness = (tonumber(os.getenv "MOONGATE_LATE_MS") or 100) / 100 -- of a sanitizer's build
local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local example = here .. "/../examples/counter"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

-- Runs a bot's spec in a process of its own, as its author would: what it prints, and its status.
local function run(directory)
  local command = ("cd '%s' && timeout 20 $(command -v lua5.4) $(command -v busted) --ignore-lua "
    .. "--output=plainTerminal bot_spec.lua 2>&1"):format(directory)
  local pipe = assert(io.popen(command))
  local said = pipe:read "a"
  local _, _, status = pipe:close()
  return said, status
end

-- The example with one line of the bot changed.
local function run_changed(from, to)
  local bot = read(example .. "/bot.lua")
  local at = assert(bot:find(from, 1, true), from)
  bot = bot:sub(1, at - 1) .. to .. bot:sub(at + #from)
  local directory = os.tmpname()
  os.remove(directory)
  assert(os.execute(("mkdir '%s'"):format(directory)))
  local files = { ["bot.lua"] = bot, ["bot_spec.lua"] = read(example .. "/bot_spec.lua") }
  for name, text in pairs(files) do
    local file = assert(io.open(directory .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  local said, status = run(directory)
  os.execute(("rm -r '%s'"):format(directory))
  return said, status
end

describe("the example's own tests #sockets", function()
  it("are green", function()
    local said, status = run(example)
    assert.equal(0, status, said)
    assert.matches("4 successes / 0 failures / 0 errors", said)
    local seconds = tonumber(said:match ": ([%d.]+) seconds")
    -- Nobody waits in there for an identify window.
    assert.is_true(seconds < core.limits.IDENTIFY_WINDOW_MS / 1000 * slowness, said)
  end)

  local changes = {
    { "count + 1", "count + 2", "shows how much was written" },
    { "if message.author.bot then return end", "", "does not count bots" },
    { '"guild_messages" }', '"guild_messages", "guild_members" }', "asks for no more" },
    { "bot:set_presence", "local _ =", "goes on counting" },
  }
  for _, change in ipairs(changes) do
    it("are red with a bot that " .. (change[2] == "" and "lacks" or "has") .. " another line: "
      .. change[1], function()
        local said, status = run_changed(change[1], change[2])
        assert.not_equal(0, status, said)
        assert.is_truthy(said:find(change[3], 1, true), said)
        assert.is_truthy(said:find("Expected the bot", 1, true), said)
      end)
  end
end)

describe("moongate.sandbox.busted #sockets", function()
  local stage = require "moongate.sandbox.busted"
  local moongate = require "moongate"

  local discord, bot

  local function make(options)
    options.intents = { "guilds", "guild_messages" }
    options.backoff = { base = 0, cap = 0 }
    return moongate.client(options)
  end

  before_each(function()
    stage.patience, stage.quiet = tonumber(os.getenv "MOONGATE_PATIENCE") or 2, 0.02
    discord, bot = stage.start(make)
    stage.patience = 0.05
  end)
  after_each(stage.stop)

  local function said(fn)
    local ok, why = pcall(fn)
    assert.is_false(ok)
    return tostring(type(why) == "table" and why.message or why)
  end

  it("says what was sent instead", function()
    assert.matches('Expected the bot to send PRESENCE_UPDATE with { status = "dnd" } within 0.05 s.'
      .. " It sent none; in all: IDENTIFY %(1%)", said(function()
        assert.bot(bot).sent("PRESENCE_UPDATE", { status = "dnd" })
      end))
    bot:set_presence { status = "idle" }
    local why = said(function() assert.bot(bot).sent("PRESENCE_UPDATE", { status = "dnd" }) end)
    assert.matches('Of these it sent 1:\n  { activities = {}, .*status = "idle" }', why)
  end)

  it("says what was not to be sent, and never the token", function()
    local why = said(function() assert.bot(bot).does_not.send "IDENTIFY" end)
    assert.matches("Expected the bot not to send IDENTIFY. It sent:", why)
    assert.matches('token = "%(hidden%)"', why)
    assert.is_nil(why:find(discord.token, 1, true))
    assert.bot(bot).has_not.sent "PRESENCE_UPDATE"
  end)

  it("gives the packet back, and takes functions for values", function()
    local packet = assert.bot(bot).sent("IDENTIFY", {
      intents = function(bits) return bits & 1 == 1 end })
    assert.equal(2, packet.op)
    said(function() assert.bot(bot).sent("IDENTIFY", { intents = function() return false end }) end)
  end)

  it("waits for a bot that goes on meanwhile", function()
    stage.patience = 5
    bot:on("MESSAGE_CREATE", function()
      moongate.sleep(0.02)
      bot:set_presence { status = "dnd" }
    end)
    discord:dispatch("MESSAGE_CREATE", { content = "x" })
    assert.bot(bot).sent("PRESENCE_UPDATE", { status = "dnd" })
    discord:drop()
    assert.bot(bot).resumed()
    assert.bot(discord).does_not.close()
    bot:stop()
    assert.bot(discord).closed(1000)
  end)

  it("knows requests", function()
    local why = said(function() assert.bot(bot).requested("POST", "/x") end)
    assert.matches("Expected the bot to request POST /x within 0.05 s. It made 2 requests:\n"
      .. "  GET /gateway/bot \n  GET / ", why)
    assert.bot(bot).requested("GET", "/gateway/bot")
    assert.bot(bot).does_not.request("POST", "/x")
    said(function() assert.bot(bot).requested("GET", "/gateway/bot", { content = "x" }) end)
  end)

  it("says what it cannot judge", function()
    local wrong = {
      { function() assert.bot(5).sent "IDENTIFY" end,
        "assert.bot: a bot of stage.start, or a sandbox expected, got 5" },
      { function() assert.sent "IDENTIFY" end, "assert.sent: say of whom: assert.bot(bot).sent(" },
      { function() assert.bot(bot).sent "PRESENCE" end, "assert.sent: op: 'PRESENCE' is nothing "
        .. "that a client sends, did you mean 'PRESENCE_UPDATE'?" },
      { function() assert.bot(bot).does_not.send() end, "assert.sent: op: 'nil' is nothing" },
      { function() assert.bot(bot).requested "/channels" end,
        'assert.requested: method and path expected, as in ("POST", "/channels/1/messages"), '
          .. 'got "/channels", nil' },
      { function() assert.bot(bot).closed "x" end, "assert.closed: code: an integer expected" },
      { function() stage.start "bot" end, "stage.start: make: a function that returns the bot "
        .. 'expected, got "bot"' },
      { function() stage.start(function() end) end,
        "stage.start: make: a function that returns the bot expected, it returned nil" },
      { function() stage.start(make, { guild = 1 }) end,
        "stage.start: unknown option 'guild', did you mean 'guilds'?" },
      { function() stage.start(make, 5) end, "stage.start: options: table expected, got 5" },
    }
    for _, row in ipairs(wrong) do
      local where, why = said(row[1]):match "^.-(sandbox_busted_spec%.lua:%d+): (.*)$"
      assert.equal(row[2], why and why:sub(1, #row[2]))
      local line = tonumber(where:match "%d+$")
      local first = debug.getinfo(row[1], "S").linedefined
      assert.is_true(line >= first and line <= debug.getinfo(row[1], "S").lastlinedefined, where)
    end
  end)

  it("tells why a bot does not come up", function()
    stage.patience = 0.3
    local why = said(function()
      stage.start(function(options)
        options.token = "another"
        return make(options)
      end)
    end)
    assert.matches("busted_spec.lua:%d+: stage.start: fetch: the token was not accepted", why)
    assert.matches("the sandbox says:\n  request: GET /api/v10/gateway/bot: 401", why)
  end)
end)

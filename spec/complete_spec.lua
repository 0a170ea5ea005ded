-- complete.lua: what unfinished Lua may become.

local complete = require "moongate.complete"
local moongate = require "moongate"

local function ways(text, env)
  local from, list = complete.line(text, env or {})
  return list, from
end

describe("complete", function()
  local bot = moongate.client { token = "complete.token", intents = { "guilds" } }
  local one = moongate.shard("complete.shard.token", 0, { shards = 1, intents = { "guilds" } })
  local env = setmetatable({ bot = bot, one = one, data = { user = { name = "ada", nick = "a" } } },
    { __index = _G })

  it("finds globals and the words of Lua", function()
    assert.same({ "tonumber", "tostring" }, ways("print(to", env))
    assert.same({ "function" }, ways("func", env))
    assert.same({ "bot" }, ways("bo", env))
  end)

  it("finds fields of tables, and tells where the word begins", function()
    local list, from = ways("print(data.user.n", env)
    assert.same({ "name", "nick" }, list)
    assert.equal(#"print(data.user." + 1, from)
    assert.same({ "gmatch", "gsub" }, ways("string.g", env), "gmatch, gsub")
    assert.same({}, ways("data.nobody.n", env))
    assert.same({}, ways("nothing.x", env))
  end)

  it("finds methods of strings, and functions alone behind a colon", function()
    assert.same({ "gmatch", "gsub" }, ways("data.user.name:g", env))
    assert.same({}, ways("data:us", env))
  end)

  it("knows moongate's objects, and not what is for its own modules", function()
    assert.same({ "set_presence" }, ways("bot:set", env))
    assert.same({ "send" }, ways("bot:send", env))
    assert.same({ "shard_for", "shards" }, ways("bot.shard", env))
    assert.same({ "on", "once" }, ways("bot:on", env))
    assert.same({}, ways("bot.stop_w", env))
    assert.same({ "fetch" }, ways("bot.gateway:f", env))
    assert.same({}, ways("bot.gateway:note", env))
    assert.same({ "latency" }, ways("one.la", env))
    assert.same({ "nick" }, ways("list[2].user.n", { list = { 0, { user = { nick = 1 } } } }))
    assert.same({ "heartbeat" }, ways("one:heart", env))
    assert.same({ "session", "session_info" }, ways("one.sess", env))
  end)

  it("knows a sandbox, and the intents", function()
    local discord = require("moongate.sandbox").start { tls = true }
    env.discord, env.moongate = discord, moongate
    assert.same({ "dispatch" }, ways("discord:dis", env))
    assert.same({ "guilds" }, ways("discord.gu", env))
    assert.same({}, ways("discord.__", env))
    for _, name in ipairs(ways("discord.", env)) do assert.is_not_nil(discord[name], name) end
    discord:stop()
    assert.same({ "guild_members", "guild_message_polls", "guild_message_reactions",
      "guild_message_typing", "guild_messages" }, ways("moongate.intents.guild_me", env))
    assert.same({}, ways("moongate.intents.guild_ban", env))
  end)

  it("looks at objects and calls nothing", function()
    local called
    local strange = setmetatable({}, { __index = function(_, key)
      called = key
      error "do not look"
    end })
    assert.same({}, ways("strange.inner.x", { strange = strange }))
    assert.equal("inner", called)
    assert.is_nil(ways("f().x", { f = function() error "called" end }))
  end)

  it("knows events inside of quotes, in the style that was begun", function()
    assert.same({ "MESSAGE_CREATE" }, ways('bot:on("MESSAGE_CR', env))
    assert.same({ "messageCreate" }, ways("bot:on('messageCr", env))
    assert.same({ "message_create" }, ways('bot:on("message_cr', env))
    assert.same({ "close" }, ways('bot:on("clos', env))
    assert.same({ "GUILD_CREATE" }, ways('bot:wait_for "GUILD_CR', env))
    assert.same({ "messageCreate" }, ways("for message in bot:events 'messageCr", env))
    assert.same({ "READY" }, ways('local a = bot:wait_for("READY", x) or bot:events("REA', env))
    assert.is_true(#ways('bot:wait_for "', env) > 60)
    assert.is_nil(ways('print("two words', env))
  end)

  it("knows intents inside of theirs", function()
    assert.same({ "guild_members" }, ways('client { intents = { "guilds", "guild_mem', env))
  end)

  it("is not misled by quotes that are closed", function()
    assert.same({ "tonumber", "tostring" }, ways([[print("a \" b", 'c') to]], env))
    assert.is_nil(ways([[print("it's]], env))
    assert.same({ "tonumber", "tostring" }, ways("do -- don't\n  to", env))
    assert.same({ "messageCreate" }, ways("do -- don't\n  bot:events 'messageCr", env))
    assert.same({ "READY" }, ways('x = "a\\\nb" bot:wait_for "REA', env))
  end)
end)

-- bot_spec.lua: the tests of bot.lua, against a gateway of their own: no network, no token.
package.path = (debug.getinfo(1, "S").source:match "^@(.*)/" or ".") .. "/?.lua;" .. package.path

local stage = require "moongate.sandbox.busted"

describe("the counter", function()
  local discord, bot

  before_each(function()
    discord, bot = stage.start(require "bot", { guilds = 1 })
  end)
  after_each(stage.stop)

  local function write(content, author)
    discord:dispatch("MESSAGE_CREATE", {
      id = "1", content = content, guild_id = discord.guilds[1].id,
      channel_id = discord.guilds[1].channel_id, author = author or { id = "3", username = "ada" },
    })
  end

  it("asks for no more than it needs", function()
    assert.bot(bot).sent("IDENTIFY", { intents = 513 })
  end)

  it("shows how much was written", function()
    for _, content in ipairs { "one", "two", "three" } do write(content) end
    assert.bot(bot).sent("PRESENCE_UPDATE", { activities = { { name = "3 messages", type = 3 } } })
  end)

  it("does not count bots", function()
    write("beep", { id = "4", username = "robot", bot = true })
    assert.bot(bot).does_not.send "PRESENCE_UPDATE"
  end)

  it("goes on counting behind a lost connection", function()
    write "one"
    discord:drop()
    write "two" -- while it is away
    assert.bot(bot).resumed()
    assert.bot(bot).sent("PRESENCE_UPDATE", { activities = { { name = "2 messages" } } })
  end)
end)

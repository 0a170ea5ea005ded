-- bot.lua: a bot that counts what people write and shows the number as what it watches. Its tests
-- are next to it; in this directory, run them with
-- `busted --lua=lua5.4 bot_spec.lua`.
local moongate = require "moongate"

return function(options)
  options.intents = { "guilds", "guild_messages" }
  local bot, count = moongate.client(options), 0

  bot:on("messageCreate", function(message)
    if message.author.bot then return end
    count = count + 1
    bot:set_presence { activities = { { name = count .. " messages", type = 3 } } }
  end)

  return bot
end

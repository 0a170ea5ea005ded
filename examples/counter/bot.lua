-- bot.lua: a bot that counts what people write and shows the number as what it watches. Its tests
-- are next to it; run them with `busted bot_spec.lua` in this directory.
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

local moongate = require "moongate"

local bot = moongate.client { intents = { "guilds", "guild_messages", "message_content" } }

bot:on("messageCreate", function(message)
  print(message.author.username .. ": " .. message.content)
end)

print(bot:run())

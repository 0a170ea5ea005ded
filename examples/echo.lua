-- echo.lua: prints what the bot reads. Its token comes from $DISCORD_TOKEN.
local moongate = require "moongate"
local bot = moongate.client { intents = { "guilds", "guild_messages", "message_content" } }

bot:on("error", function(problem) print(problem.message) end)
bot:on("messageCreate", function(message)
  print(message.author.username .. ": " .. message.content)
end)

print(bot:run())

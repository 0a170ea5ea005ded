-- repl.lua: a prompt at which a bot goes on; its events are shown above the line that is typed. The
-- token comes from $DISCORD_TOKEN. Ctrl-D leaves, and help() tells what there is.
local moongate = require "moongate"
local bot = moongate.client { intents = { "guilds", "guild_messages", "message_content" } }

local seen = {} -- what people wrote, by their names

bot:on("messageCreate", function(message)
  local name = message.author.username
  seen[name] = (seen[name] or 0) + 1
end)

moongate.repl(bot, { names = { seen = seen }, watch = { "messageCreate" } })
bot:stop()

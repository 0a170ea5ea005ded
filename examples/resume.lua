-- resume.lua: a bot that can be restarted. Its session is kept in a file when it ends, be it by
-- Ctrl-C or by a signal, and taken up again at its next start: what was written meanwhile is heard
-- then. Discord keeps a session for some minutes. The token comes from $DISCORD_TOKEN.
--
--   lua5.4 examples/resume.lua [sessions.json]
local moongate = require "moongate"

local bot = moongate.client {
  intents = { "guilds", "guild_messages", "message_content" },
  session_store = moongate.store.file(arg[1] or "sessions.json"),
}

bot:on("READY", function() print "a new session: what was written before is not heard" end)
bot:on("RESUMED", function() print "the session goes on: nothing was missed" end)

bot:on("error", function(problem) print(problem.message) end)
bot:on("messageCreate", function(message)
  print(message.author.username .. ": " .. message.content)
end)

print(bot:run())

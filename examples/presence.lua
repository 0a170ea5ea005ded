-- presence.lua: a bot under whose name stands how many servers it is in. Its token comes from
-- $DISCORD_TOKEN.
local moongate = require "moongate"

-- What comes in front of the name: 0 playing, 1 streaming, 2 listening to, 3 watching, 5 competing
-- in. With 4 there is only the `state`, and a name that nobody sees.
local WATCHING = 3

local bot = moongate.client {
  intents = { "guilds" },
  presence = { status = "idle", activities = { { name = "the servers", type = WATCHING } } },
}

local servers = {}

-- At the start this is wanted for each server. Discord takes five in 20 seconds; of those that have
-- to wait only the newest is sent.
local function show()
  local count = 0
  for _ in pairs(servers) do count = count + 1 end
  bot:set_presence {
    status = "online",
    activities = { { name = count .. (count == 1 and " server" or " servers"), type = WATCHING } },
  }
end

bot:on("error", function(problem) print(problem.message) end)
bot:on("guildCreate", function(guild)
  servers[guild.id] = true
  show()
end)
bot:on("guildDelete", function(guild)
  if guild.unavailable then return end -- Discord has trouble with it; the bot is still a member
  servers[guild.id] = nil
  show()
end)

print(bot:run())

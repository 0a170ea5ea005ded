-- copas.lua: a bot in the loop of copas, beside a server of its own: `nc localhost 7007` asks it, a
-- name a line, how much somebody has written. Its token comes from $DISCORD_TOKEN.
--
--   luarocks install copas  # Debian's lua-copas is for Lua 5.1 and 5.2, but runs in 5.4
--   lua5.4 examples/copas.lua [port]
local copas = require "copas"
local socket = require "socket"
local moongate = require "moongate"

local over, written = false, {}
local bot = moongate.client { intents = { "guilds", "guild_messages", "message_content" } }

bot:on("error", function(problem) print(problem.message) end)
bot:on("messageCreate", function(message)
  local name = message.author.username
  written[name] = (written[name] or 0) + 1
  print(name .. ": " .. message.content)
end)

-- run() as ever. In a coroutine of moongate it waits for its turns, which the loop gives it.
moongate.spawn(function()
  print(bot:run())
  over = true
end)

copas.addthread(function()
  local pollable = bot:pollable()
  repeat
    copas.receive(pollable)
    bot:step(0)
  until over
end)

-- What else goes on: each visitor has a coroutine of copas.
local server = assert(socket.bind("127.0.0.1", tonumber(arg[1]) or 7007))
print("who wrote how much: nc " .. table.concat({ server:getsockname() }, " ", 1, 2))

copas.addserver(server, function(visitor)
  visitor = copas.wrap(visitor)
  for name in function() return visitor:receive() end do
    visitor:send(("%s: %d\n"):format(name, written[name] or 0))
  end
end)

-- copas is told with each step for how long the bot has nothing to do. Ctrl-C, which is an error in
-- the main program, comes between two steps: none takes more than a second.
local function loop()
  repeat copas.step(math.min(bot:timeout() or 1, 1)) until over
end

local fine, why = pcall(loop)
if not fine then print(why) end
bot:stop() -- and with it run(), where that has not ended

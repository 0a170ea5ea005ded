-- cqueues.lua: a bot in a loop of cqueues, beside a small web server: `curl localhost:9105` shows
-- the bot's numbers, as Prometheus reads them. Its token comes from $DISCORD_TOKEN.
--
--   sudo apt-get install lua-cqueues  # or: luarocks install cqueues
--   lua5.4 examples/cqueues.lua [port]
local cqueues = require "cqueues"
local signal = require "cqueues.signal"
local socket = require "cqueues.socket"
local moongate = require "moongate"

local loop, over = cqueues.new(), false
local bot = moongate.client { intents = { "guilds", "guild_messages", "message_content" } }

bot:on("error", function(problem) print(problem.message) end)
bot:on("messageCreate", function(message)
  print(message.author.username .. ": " .. message.content)
end)

-- run() as ever. In a coroutine of moongate it waits for its turns, which the loop gives it.
moongate.spawn(function()
  print(bot:run())
  over = true
end)

loop:wrap(function()
  local pollable = bot:pollable()
  repeat
    cqueues.poll(pollable)
    bot:step(0)
  until over
end)

-- What else goes on: each visitor has a coroutine of cqueues.
local function answer(visitor)
  visitor:setmode("b", "bf") -- bytes, as they are
  visitor:settimeout(5)
  repeat local line = visitor:read "*l" until not line or line == "\r" -- the request
  visitor:write("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n",
    bot:metrics())
  visitor:close()
end

loop:wrap(function()
  local server = socket.listen { host = "127.0.0.1", port = tonumber(arg[1]) or 9105 }
  local _, address, port = server:localname()
  print(("the numbers: http://%s:%d"):format(address, port))
  for visitor in server:clients() do
    loop:wrap(pcall, answer, visitor) -- whatever becomes of one, the others and the bot go on
  end
end)

-- Ctrl-C ends the session, with it run(), and so the loop.
signal.block(signal.SIGINT)
loop:wrap(function()
  signal.listen(signal.SIGINT):wait()
  moongate.spawn(bot.stop, bot)
end)

repeat assert(loop:step()) until over

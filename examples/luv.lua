-- luv.lua: a bot in luv's loop, that of libuv. Who writes "!run" has a program run, by default
-- uptime, and the bot goes on hearing while it does. Its token comes from $DISCORD_TOKEN.
--
--   sudo apt-get install lua-luv  # or: luarocks install luv
--   lua5.4 examples/luv.lua [program [argument...]]
local uv = require "luv"
local moongate = require "moongate"

local program = arg[1] or "uptime"
local bot = moongate.client { intents = { "guilds", "guild_messages", "message_content" } }

-- What else goes on: libuv starts the program and calls back with what it prints.
local function run_program()
  local output, child = uv.new_pipe(), nil
  local options = { args = { table.unpack(arg, 2) }, stdio = { nil, output } }
  child = uv.spawn(program, options, function() child:close() end)
  if not child then
    output:close()
    return print(program .. " cannot be run")
  end
  output:read_start(function(_, text)
    if text then io.write(program, ": ", text) else output:close() end
  end)
end

bot:on("error", function(problem) print(problem.message) end)
bot:on("messageCreate", function(message)
  print(message.author.username .. ": " .. message.content)
  if message.content == "!run" then run_program() end
end)

-- The bot has a turn when its descriptor is readable, and when its time has come, which is looked
-- at each time before libuv waits.
local poll, timer, before = uv.new_poll(bot:fd()), uv.new_timer(), uv.new_prepare()

local function turn() bot:step(0) end

poll:start("r", turn)
before:start(function()
  local seconds = bot:timeout()
  if seconds then timer:start(math.ceil(seconds * 1000), 0, turn) else timer:stop() end
end)

-- run() as ever. In a coroutine of moongate it waits for its turns, which the loop gives it.
moongate.spawn(function()
  print(bot:run())
  uv.stop()
end)

-- Ctrl-C ends the session, with it run(), and so the loop.
uv.new_signal():start("sigint", function() moongate.spawn(bot.stop, bot) end)

uv.run()

-- quiet.lua - what a message of 20 MB leaves behind: the bot's memory before it, and when it is
-- quiet again. The gateway is a process of its own.
-- lua quiet.lua                   the bot; prints one JSON object with `before_kb` and `after_kb`
-- lua quiet.lua gateway           the gateway, until its input ends
local cjson = require "cjson"

local SMALL, LARGE_BYTES = 2000, 20 << 20

local function serve()
  local discord = require("moongate.sandbox").start {}
  io.write(discord.api, " ", discord.token, "\n")
  io.flush()
  local function small()
    for _ = 1, SMALL do discord:dispatch("TYPING_START", {}) end
    discord:dispatch("USER_UPDATE", {}, nil)
  end
  for line in io.lines() do
    if line == "large" then discord:dispatch("MESSAGE_CREATE", { content = ("x"):rep(LARGE_BYTES) })
    else small() end
  end
  discord:stop()
end

local function resident_kb()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s+(%d+)"
    if kb then return tonumber(kb) end
  end
end

if arg[1] == "gateway" then return serve() end

local moongate = require "moongate"
local name = os.tmpname()
local gateway = assert(io.popen(("lua5.4 %s gateway > %s"):format(arg[0], name), "w"))
local api, token
repeat
  moongate.sleep(0.1)
  api, token = io.open(name):read "a":match "(%S+) (%S+)\n"
until api
os.remove(name)

local function order(line)
  gateway:write(line, "\n")
  gateway:flush()
end

local bot = moongate.client { token = token, api = api, intents = "all" }
local heard = 0
bot:on("TYPING_START", function() heard = heard + 1 end)
bot:on("MESSAGE_CREATE", function(message) heard = #message.content end)
bot:connect()
assert(bot:wait_for("READY", { timeout = 20 }))

local function settled(orders)
  for _ = 1, orders do
    order "small"
    local wanted = heard + SMALL
    while heard < wanted do assert(bot:step(20)) end
  end
  collectgarbage()
  collectgarbage()
  return resident_kb()
end

local before = settled(5)
order "large"
heard = 0
while heard < LARGE_BYTES do bot:step(20) end
heard = 0
print(cjson.encode { before_kb = before, after_kb = settled(0) })
bot:stop()
gateway:close()

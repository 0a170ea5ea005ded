-- reshard.lua - another number of shards under traffic, against the sandbox: what was said while
-- which set was connected, what came twice, and whether each message was heard once. Prints
-- Markdown; ends with status 1 when one was not.
-- lua reshard.lua [FROM] [TO] [MESSAGES_A_SECOND]
local core = require "moongate.core"
local moongate = require "moongate"
local sandbox = require "moongate.sandbox"

local from, to, rate = tonumber(arg[1]) or 2, tonumber(arg[2]) or 5, tonumber(arg[3]) or 500
local AROUND_S = 2 -- of traffic, before and after
local PATIENCE_S = 60

local discord = assert(sandbox.start {
  guilds = from * to * 2, shards = from, max_concurrency = 16,
})
local bot = moongate.cluster(discord.token, {
  api = discord.api, intents = { "guilds", "guild_messages", "message_content" }, shards = from,
})

local function await(what, check)
  local ends_at = core.now() + PATIENCE_S
  while not check() do
    if core.now() > ends_at then error("waited in vain for " .. what, 0) end
    bot:step(0.01)
  end
end

-- ---- The traffic -------------------------------------------------------------------------------

-- Each message has a number. Which sets are connected when it is said decides who brings it.
local said, heard, phases = 0, {}, {}
local talking = true

local function phase()
  local connected = #discord:connections()
  if connected <= from then return "the old set alone" end
  return connected < from + to and "some of both" or "both sets"
end

local function talk()
  local due = core.now()
  while talking do
    for _ = 1, math.min(math.max(math.floor((core.now() - due) * rate), 0), 100) do
      said, due = said + 1, due + 1 / rate
      local guild = discord.guilds[said % #discord.guilds + 1]
      phases[said] = phase()
      discord:dispatch("MESSAGE_CREATE", { content = tostring(said), guild_id = guild.id })
    end
    moongate.sleep(0.005)
  end
end

bot:on("MESSAGE_CREATE", function(message)
  local number = tonumber(message.content)
  heard[number] = (heard[number] or 0) + 1
end)

-- ---- The run -----------------------------------------------------------------------------------

assert(bot:spawn())
await("the shards", function() return bot.state == "ready" end)
moongate.spawn(talk)
moongate.sleep(AROUND_S)
local began, first = core.now(), bot.shards[0]
local changed, doubled = bot:reshard(to)
local took_s = core.now() - began
local over = said -- from here on the new set is alone
moongate.sleep(AROUND_S)
talking = false
await("the last message", function() return heard[said] end)
bot:step(0.5)

local counts, once, missed, twice = {}, 0, 0, 0
for number = 1, said do
  local when = number > over and "the new set alone" or phases[number]
  counts[when] = (counts[when] or 0) + 1
  local times = heard[number] or 0
  if times == 0 then missed = missed + 1 elseif times == 1 then once = once + 1 end
  twice = twice + math.max(times - 1, 0)
end

local function row(what, number) print(("| %s | %s |"):format(what, number)) end
print(("| from %d to %d shards, %d messages a second | |\n|---|---|"):format(from, to, rate))
row("the change took", ("%.1f s"):format(took_s))
row("messages said", said)
for _, when in ipairs { "the old set alone", "some of both", "both sets", "the new set alone" } do
  row("- while connected: " .. when, counts[when] or 0)
end
row("brought by both sets while the new one was listened to; the second dropped", doubled)
row("heard once", once)
row("never heard", missed)
row("heard again", twice)
row("identifies", #discord:received "IDENTIFY")
row("the objects of the shards stayed", tostring(first == bot.shards[0]))
bot:stop()
discord:stop()
os.exit(changed and missed == 0 and twice == 0, true)

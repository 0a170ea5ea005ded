-- scale.lua - a thousand shards in one process, against the sandbox in another: how fast they start
-- within the limits, what they cost when idle, and how they come back when all are dropped at once.
-- Prints Markdown.
-- lua scale.lua ws|wss SHARDS CONCURRENCY [IDLE_SECONDS]
local core = require "moongate.core"
local moongate = require "moongate"

local scheme, shards, concurrency, idle_s = table.unpack(arg)
shards, concurrency, idle_s = tonumber(shards), tonumber(concurrency), tonumber(idle_s) or 90
local INTERVAL_MS = 41250
local PATIENCE_S = 60 + shards / concurrency * 5
local here = arg[0]:match "^(.*)/[^/]*$"

-- ---- The gateway -------------------------------------------------------------------------------

-- Its answers come through a named pipe, as Lua has no pipes in both directions.
local fifo = os.tmpname()
os.remove(fifo)
assert(os.execute(("mkfifo %s"):format(fifo)))
local orders = assert(io.popen(("lua5.4 %s/scale_gateway.lua %s %d %d %d > %s"):format(here, scheme,
  shards, concurrency, INTERVAL_MS, fifo), "w"))
local answers = assert(io.open(fifo))
os.remove(fifo)
orders:setvbuf "line"

local function ask(order)
  orders:write(order, "\n")
  return answers:read "l"
end

local api, token, ca_file = answers:read("l"):match "^(%S+)\t(%S+)\t(%S+)"

-- ---- Looking -----------------------------------------------------------------------------------

local function resident_kb()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s+(%d+)"
    if kb then return tonumber(kb) end
  end
end

local bot = moongate.cluster(token, {
  api = api, ca_file = ca_file ~= "-" and ca_file or nil, intents = { "guilds" },
  backoff = { base = 0, cap = 0 },
})
local problems = 0
bot:on("error", function(problem)
  problems = problems + 1
  if problems <= 5 then io.stderr:write(problem.message, "\n") end
end)

local function all_ready()
  local count = 0
  for _, shard in pairs(bot.shards) do
    if shard.state == "ready" then count = count + 1 end
  end
  return count == shards
end

local function await(what, check)
  local started = core.now()
  while not check() do
    if core.now() - started > PATIENCE_S then error("waited in vain for " .. what, 0) end
    bot:step(0.05)
  end
  return core.now() - started
end

-- ---- The run -----------------------------------------------------------------------------------

local function row(what, ...)
  print(("| %s | %s |"):format(what, string.format(...)))
end

collectgarbage()
local before_kb, cpu = resident_kb(), os.clock()
assert(bot:spawn(shards))
local start_s = await("READY of all", all_ready)
print(("| %d shards, %s, max_concurrency %d | |\n|---|---|"):format(shards, scheme, concurrency))
row("all ready after", "%.1f s (the limits alone: %.1f s)", start_s,
  (math.ceil(shards / math.min(concurrency, core.limits.CONCURRENCY_MAX)) - 1)
  * core.limits.IDENTIFY_WINDOW_MS / 1000)
row("CPU until then", "%.2f s", os.clock() - cpu)

local idle_from = core.now()
cpu = os.clock()
while core.now() - idle_from < idle_s do bot:step(idle_s - (core.now() - idle_from)) end
collectgarbage()
row("CPU while idle", "%.2f %% of one core, over %d s", (os.clock() - cpu) / idle_s * 100, idle_s)
row("memory a shard", "%.1f KB", (resident_kb() - before_kb) / shards)
local late_ms, beats = ask("beats"):match "^(%S+) (%d+)"
row("heartbeats", "%s, the latest %s ms behind its time", beats, late_ms)

local identifies = ask "identifies"
cpu = os.clock()
ask "drop"
local resumed_s = await("all resumed", function()
  return ask "resumes" == tostring(shards) and all_ready()
end)
row("all dropped, all resumed after", "%.1f s, CPU %.2f s", resumed_s, os.clock() - cpu)
row("identifies, before and after", "%s, %s", identifies, ask "identifies")
row("errors told", "%d", problems)
bot:stop()
orders:close()

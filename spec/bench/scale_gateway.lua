-- scale_gateway.lua - the sandbox of scale.lua, in a process of its own. Reads orders from its
-- input, one a line, and answers each with one line.
-- lua scale_gateway.lua ws|wss SHARDS CONCURRENCY INTERVAL_MS
local sandbox = require "moongate.sandbox"

local scheme, shards, concurrency, interval_ms = table.unpack(arg)
interval_ms = tonumber(interval_ms)

local discord = assert(sandbox.start {
  tls = scheme == "wss", shards = tonumber(shards), max_concurrency = tonumber(concurrency),
  session_start_limit = 100000, heartbeat_interval = interval_ms, record_max = 10000000,
  record_bytes = 1 << 30,
})

-- By how many ms a heartbeat of a connection came later than an interval after the one before it:
-- the most, and how many there were, of those that have come since the mark.
local marked_ms = 0

local function judge_beats()
  local last, worst, count = {}, -math.huge, 0
  for _, beat in ipairs(discord:received "HEARTBEAT") do
    if beat.at_ms >= marked_ms then
      local before = last[beat.connection]
      if before then worst = math.max(worst, beat.at_ms - before - interval_ms) end
      last[beat.connection], count = beat.at_ms, count + 1
    end
  end
  return ("%d %d"):format(worst == -math.huge and -1 or worst, count)
end

local function count_tickets()
  local count = 0
  for _, one in ipairs(discord:connections()) do
    if one.tls_resumed then count = count + 1 end
  end
  return count
end

local orders = {
  identifies = function() return #discord:received "IDENTIFY" end,
  resumes = function() return #discord:received "RESUME" end,
  connections = function() return #discord:connections() end,
  drop = function() return discord:drop() end,
  mark = function()
    marked_ms = discord:clock() * 1000
    return marked_ms
  end,
  beats = judge_beats,
  tickets = count_tickets,
}

io.stdout:setvbuf "line"
print(discord.api, discord.token, discord.ca_file or "-")
for order in io.lines() do print(orders[order]()) end
discord:stop()

-- client.lua - one run of moongate against sender.c, in a process of its own.
-- lua client.lua URL json|etf none|zlib-stream|zstd-stream LISTENERS [CA_FILE]
-- LISTENERS: none, one (MESSAGE_CREATE), all, lazy (five fields of all), raw, latency.
-- Prints one JSON object: CPU seconds of the process and of each thread between READY and the
-- last event, seconds of wall time, events heard, the most memory in use in KiB; for latency p50
-- and p99.
local cjson = require "cjson"
local core = require "moongate.core"
local moongate = require "moongate"

local url, encoding, compress, listeners, ca_file = table.unpack(arg)
if compress == "none" then compress = false end

local bot = moongate.client {
  token = "benchmark", url = url, shards = 1, encoding = encoding, compress = compress,
  intents = "all", ca_file = ca_file,
}

-- CPU seconds of every thread of this process, by its number.
local function thread_times()
  local times = {}
  local list = io.popen "ls /proc/$PPID/task"
  for id in list:lines() do
    local file = io.open(("/proc/self/task/%s/schedstat"):format(id))
    if file then
      times[id] = file:read "n" / 1e9
      file:close()
    end
  end
  list:close()
  return times
end

local function peak_kb()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmHWM:%s+(%d+)"
    if kb then return tonumber(kb) end
  end
end

local function main_thread()
  return io.open("/proc/self/stat"):read "n" .. ""
end

local heard, delays = 0, {}

local function count() heard = heard + 1 end

-- Five fields, of whatever the event has.
local function touch(d)
  local one = d.id or d.user_id
  local two, three = d.guild_id, d.channel_id
  local four = d.type or d.status
  local five = d.content or d.member or d.user
  if one or two or three or four or five then heard = heard + 1 end
end

local set_up = {
  none = function() end,
  one = function() bot:on("MESSAGE_CREATE", count) end,
  all = function() bot:on("*", count) end,
  lazy = function() bot:on("*", touch, { lazy = true }) end,
  raw = function() bot:on("*", count, { raw = true }) end,
  latency = function()
    bot:on("TYPING_START", function(d)
      delays[#delays + 1] = core.now() - d.timestamp / 1e9
    end)
  end,
}

local started, cpu, threads
bot:on("READY", function()
  heard = 0
  threads = thread_times()
  started, cpu = core.now(), os.clock()
end)
bot:on("USER_UPDATE", function()
  local result = { cpu = os.clock() - cpu, wall = core.now() - started, heard = heard }
  local main = main_thread()
  result.io, result.lua = 0, 0
  for id, seconds in pairs(thread_times()) do
    local name = id == main and "lua" or "io"
    result[name] = result[name] + seconds - (threads[id] or 0)
  end
  result.peak_kb = peak_kb()
  if #delays > 0 then
    table.sort(delays)
    result.p50 = delays[(#delays + 1) // 2]
    result.p99 = delays[math.ceil(#delays * 0.99)]
  end
  print(cjson.encode(result))
  bot:stop()
end)
bot:on("error", function(problem)
  io.stderr:write(problem.message, "\n")
  os.exit(1)
end)
set_up[listeners]()
local fine, message = bot:run()
if not fine then
  io.stderr:write(message, "\n")
  os.exit(1)
end

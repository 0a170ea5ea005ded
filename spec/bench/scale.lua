-- scale.lua - a thousand shards in one process, against the sandbox in another: how fast they start
-- within the limits, what they cost when idle, and how they come back when all are dropped at once.
-- Each run is a process of its own; they are shown side by side, in Markdown, with what each figure
-- may be at most. Fails where one is above.
--
--   lua scale.lua SHARDS SECONDS [RUN ...]    RUN: plain, tls, slots; all of them without
--   lua scale.lua run SCHEME SHARDS CONCURRENCY COMPRESSED SECONDS   one: a line for each figure
local INTERVAL_MS = 41250
local SLACK_MS = 250 -- by which beats leave early, to go together; the next may be on time again

-- What is compared: scheme, max_concurrency (as many as shards: no limit), compression.
local runs = {
  { name = "plain", title = "ws, no compression, no limit", scheme = "ws", compress = false,
    memory_kb = 60 },
  { name = "tls", title = "wss, zlib-stream, no limit", scheme = "wss", memory_kb = 90 },
  { name = "slots", title = "wss, zlib-stream, max_concurrency 16", scheme = "wss",
    concurrency = 16, memory_kb = 90 },
}

local here = arg[0]:match "^(.*)/[^/]*$"

-- ---- One run -----------------------------------------------------------------------------------

-- Its answers come through a named pipe, as Lua has no pipes in both directions.
local function start_gateway(scheme, shards, concurrency)
  local fifo = os.tmpname()
  os.remove(fifo)
  assert(os.execute(("mkfifo %s"):format(fifo)))
  local orders = assert(io.popen(("lua5.4 %s/scale_gateway.lua %s %d %d %d > %s"):format(here,
    scheme, shards, concurrency, INTERVAL_MS, fifo), "w"))
  local answers = assert(io.open(fifo))
  os.remove(fifo)
  orders:setvbuf "line"
  local gateway = { close = function() orders:close() end }
  function gateway.ask(order)
    orders:write(order, "\n")
    return answers:read "l"
  end
  gateway.api, gateway.token, gateway.ca_file =
    answers:read("l"):match "^(%S+)\t(%S+)\t(%S+)"
  if gateway.ca_file == "-" then gateway.ca_file = nil end
  return gateway
end

local function status_of(key)
  for line in io.lines "/proc/self/status" do
    local value = line:match("^" .. key .. ":%s+(%d+)")
    if value then return tonumber(value) end
  end
end

-- The most by which a heartbeat left behind its time, of all shards, in ms.
local function latest_beat(bot)
  local worst = 0
  for _, shard in pairs(bot:stats().shards) do worst = math.max(worst, shard.beat_late_ms) end
  return worst
end

local function tell(key, format, ...)
  print(key .. "\t" .. format:format(...))
end

local function run(scheme, shards, concurrency, compress, idle_s)
  local core, moongate = require "moongate.core", require "moongate"
  local gateway = start_gateway(scheme, shards, concurrency)
  local bot = moongate.cluster(gateway.token, {
    api = gateway.api, ca_file = gateway.ca_file, intents = { "guilds" }, compress = compress,
    backoff = { base = 0, cap = 0 },
  })
  local problems, lost = 0, 0
  bot:on("error", function(problem)
    problems = problems + 1
    if problems <= 5 then io.stderr:write(problem.message, "\n") end
  end)
  bot:on("lost", function() lost = lost + 1 end)
  local windows = math.ceil(shards / math.min(concurrency, core.limits.CONCURRENCY_MAX)) - 1
  local limit_s = windows * core.limits.IDENTIFY_WINDOW_MS / 1000

  local function all_ready()
    for _, shard in pairs(bot.shards) do
      if shard.state ~= "ready" then return false end
    end
    return next(bot.shards) ~= nil
  end
  local function await(what, check)
    local started = core.now()
    while not check() do
      if core.now() - started > 120 + 2 * limit_s then error("waited in vain for " .. what, 0) end
      bot:step(0.05)
    end
    return core.now() - started
  end

  collectgarbage()
  local before_kb, threads, cpu, from = status_of "VmRSS", status_of "Threads", os.clock(),
    core.now()
  assert(bot:spawn(shards))
  await("READY of all", all_ready)
  tell("start_s", "%.1f", core.now() - from)
  tell("limit_s", "%.1f", limit_s)
  tell("start_cpu_s", "%.2f", os.clock() - cpu)
  tell("threads", "%d", status_of "Threads" - threads)

  gateway.ask "mark"
  cpu, from = os.clock(), core.now()
  while core.now() - from < idle_s do bot:step(idle_s - (core.now() - from)) end
  tell("idle_cpu", "%.2f", (os.clock() - cpu) / (core.now() - from) * 100)
  collectgarbage()
  tell("memory_kb", "%.1f", (status_of "VmRSS" - before_kb) / shards)
  local gap_ms, beats = gateway.ask("beats"):match "^(%S+) (%d+)"
  tell("beats", "%d", beats)
  tell("late_ms", "%d", latest_beat(bot))
  tell("gap_ms", "%d", gap_ms)

  local identifies = tonumber(gateway.ask "identifies")
  cpu = os.clock()
  gateway.ask "drop"
  tell("back_s", "%.1f", await("all resumed", function()
    return tonumber(gateway.ask "resumes") >= shards and all_ready()
  end))
  tell("back_cpu_s", "%.2f", os.clock() - cpu)
  tell("tickets", "%d", gateway.ask "tickets")
  tell("identifies", "%d", identifies)
  tell("again", "%d", tonumber(gateway.ask "identifies") - identifies)
  tell("problems", "%d", problems + lost)
  bot:stop()
  gateway.close()
end

-- ---- The table ---------------------------------------------------------------------------------

-- Each row: what is shown, from which figure, and what it may be at most, for a run, its figures
-- and the number of shards. 20 s beside the limits is for a thousand handshakes on a busy machine.
local rows = {
  { "all ready after, s", "start_s", function(_, is) return is.limit_s * 1.05 + 20 end },
  { "of that the limits alone, s", "limit_s" },
  { "CPU until then, s", "start_cpu_s" },
  { "I/O threads", "threads" },
  { "memory a shard, KB", "memory_kb", function(this) return this.memory_kb end },
  { "CPU when idle, % of a core", "idle_cpu", function() return 2 end },
  { "heartbeats when idle", "beats" },
  { "the latest of all so far, ms behind its time", "late_ms", function() return 50 end },
  { "the longest gap between two of a shard, ms over the interval", "gap_ms", function()
    return SLACK_MS + 50
  end },
  { "all dropped, all resumed after, s", "back_s" },
  { "CPU for that, s", "back_cpu_s" },
  { "of them with a TLS session resumed", "tickets" },
  { "identifies before", "identifies", function(_, _, shards) return shards end },
  { "identifies after", "again", function() return 0 end },
  { "errors and lost sessions", "problems", function() return 0 end },
}

local function measure(this, shards, idle_s)
  local pipe = assert(io.popen(("lua5.4 %s run %s %d %d %s %d"):format(arg[0], this.scheme, shards,
    this.concurrency or shards, tostring(this.compress ~= false), idle_s)))
  local figures = {}
  for line in pipe:lines() do
    local key, value = line:match "^(%S+)\t(%S+)$"
    if key then figures[key] = tonumber(value) end
  end
  if not pipe:close() then error(this.title .. ": the run failed", 0) end
  return figures
end

local function show(columns, shards, idle_s)
  local head, line = ("%d shards, idle for %d s"):format(shards, idle_s), "|---|"
  local out, broken = { "| " .. head .. " |" }, 0
  for _, column in ipairs(columns) do
    out[1] = out[1] .. (" %s |"):format(column.run.title)
    line = line .. "---:|"
  end
  out[2] = line
  for _, row in ipairs(rows) do
    local text = ("| %s |"):format(row[1])
    for _, column in ipairs(columns) do
      local value = column.figures[row[2]]
      local most = row[3] and row[3](column.run, column.figures, shards)
      local over = not value or most and value > most
      if over then broken = broken + 1 end
      text = text .. (" %s%s |"):format(value or "?",
        most and ((over and " **over %g**" or " (at most %g)"):format(most)) or "")
    end
    out[#out + 1] = text
  end
  print(table.concat(out, "\n"))
  return broken
end

local function main(shards, idle_s, ...)
  local wanted, columns = {}, {}
  for _, name in ipairs { ... } do wanted[name] = true end
  for _, this in ipairs(runs) do
    if not next(wanted) or wanted[this.name] then
      columns[#columns + 1] = { run = this, figures = measure(this, shards, idle_s) }
    end
  end
  local broken = show(columns, shards, idle_s)
  if broken > 0 then
    io.stderr:write(("%d figures are over their bounds\n"):format(broken))
    os.exit(1)
  end
end

if arg[1] == "run" then
  run(arg[2], tonumber(arg[3]), tonumber(arg[4]), arg[5] == "true" and "zlib-stream" or false,
    tonumber(arg[6]))
else
  main(tonumber(arg[1]), tonumber(arg[2]), table.unpack(arg, 3))
end

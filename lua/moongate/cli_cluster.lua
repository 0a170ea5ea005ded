-- cli_cluster.lua: `moongate cluster`: shards that run until Ctrl-C, with a table of what they do
-- in a terminal and plain lines elsewhere. Required by cli.lua and by specs.
--
-- A config file is a Lua file that returns a table of client options; its field `setup` is called
-- with the cluster before it connects, to listen to something:
--
--   return {
--     intents = { "guilds", "guild_messages" },
--     setup = function(cluster)
--       cluster:on("messageCreate", function(message, shard) ... end)
--     end,
--   }

local cli = require "moongate.cli"
local core = require "moongate.core"
local moongate = require "moongate"

local command = { summary = "shards that run until Ctrl-C, and what they do" }

local MISUSED = 2
local REDRAW_S = 1
local WINDOW_S = core.limits.IDENTIFY_WINDOW_MS / 1000
local BAR_CELLS = 30

-- What can be said: kind, what stands for the value, help, in the order of the usage text.
local rows = {
  { "total", "number", "N", "shards in all; the gateway's recommendation by default" },
  { "min", "number", "N", "the first shard of this process: 0" },
  { "max", "number", "N", "the last one: that of --total" },
  { "ids", "text", "LIST", "or these, such as 0,3,5" },
  { "config", "text", "FILE", "a Lua file that returns options, and `setup`" },
  { "intents", "text", "LIST", "names or numbers: guilds" },
  { "api", "text", "URL", "another API; $DISCORD_API" },
  { "encoding", "text", "NAME", "json or etf" },
  { "compress", "text", "NAME", "zlib-stream, zstd-stream, payload or none" },
  { "session-store", "text", "FILE", "where sessions outlive the process" },
  { "coordinate", "flag", "", "take turns with other processes of this machine" },
  { "for", "number", "SECONDS", "end after that time, with the sessions kept" },
  { "plain", "flag", "", "lines in place of the table, also in a terminal" },
}

--- The usage text.
function command.usage()
  local lines = {
    "usage: moongate cluster [--OPTION VALUE ...]", "",
    "Runs shards until Ctrl-C, which keeps their sessions. The token comes from $DISCORD_TOKEN, or",
    "from the config file.", "",
  }
  for _, row in ipairs(rows) do
    local name = ("--%s %s"):format(row[1], row[3])
    lines[#lines + 1] = ("  %-24s %s"):format(name, row[4])
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- What was said -----------------------------------------------------------------------------

local function split(text)
  local list = {}
  for word in text:gmatch "[^,%s]+" do list[#list + 1] = tonumber(word) or word end
  return list
end

local function range(first, last)
  local list = {}
  for id = first, last do list[#list + 1] = id end
  return list
end

-- The ids that are wanted: a list, nil for all of them; or nil and what is wrong.
local function read_ids(all)
  if all.ids and (all.min or all.max) then return nil, "--ids stands beside --min or --max" end
  if all.ids then return split(all.ids) end
  if not all.min and not all.max then return nil end
  local last = all.max or all.total and all.total - 1
  if not last then return nil, "--min needs --max or --total" end
  if last < (all.min or 0) then return nil, ("--max %d is below --min %d"):format(last, all.min) end
  return range(all.min or 0, last)
end

local function load_config(path)
  local chunk, why = loadfile(path, "t")
  if not chunk then return nil, why end
  local fine, config = pcall(chunk)
  if not fine then return nil, tostring(config) end
  if type(config) ~= "table" then return nil, path .. ": it returns no table" end
  return config
end

local function copy(values)
  local new = {}
  for key, value in pairs(values) do new[key] = value end
  return new
end

-- The options of the cluster, and `setup`; or nil and what is wrong.
local function read_options(all)
  local config, why = {}, nil
  if all.config then config, why = load_config(all.config) end
  if not config then return nil, why end
  local options = copy(config)
  options.setup = nil
  local ids
  ids, why = read_ids(all)
  if why then return nil, why end
  options.shard_ids = ids or options.shard_ids
  options.shards = all.total or options.shards
  options.intents = all.intents and split(all.intents) or options.intents or { "guilds" }
  options.api = all.api or options.api
  options.encoding = all.encoding or options.encoding
  if all.compress == "none" then
    options.compress = false
  else
    options.compress = all.compress or options.compress
  end
  local store = all["session-store"]
  if store then options.session_store = moongate.store.file(store) end
  if all.coordinate then options.identify_coordinator = moongate.coordinator.file() end
  return options, config.setup
end

-- ---- The table ---------------------------------------------------------------------------------

local function span(seconds)
  if not seconds then return "" end
  local whole = math.floor(seconds)
  if whole < 60 then return ("%d s"):format(whole) end
  if whole < 3600 then return ("%d min"):format(whole // 60) end
  if whole < 86400 then return ("%d h %02d min"):format(whole // 3600, whole % 3600 // 60) end
  return ("%d d %d h"):format(whole // 86400, whole % 86400 // 3600)
end

--- A bar with what is done: "[#####-----] 8 of 16 ready, 10 s to go"; `left_s` may be nil.
function command.bar(done, all, left_s)
  local cells = all > 0 and math.floor(BAR_CELLS * done / all) or 0
  local rest = left_s and left_s > 0 and (", %s to go"):format(span(left_s)) or ""
  return ("[%s%s] %d of %d ready%s"):format(("#"):rep(cells), ("-"):rep(BAR_CELLS - cells), done,
    all, rest)
end

--- The lines of the table, from a list of { id, count, state, latency, rate, age } (seconds; events
-- a second).
function command.lines(list)
  local lines = { ("%-12s %-12s %9s %10s %14s"):format("shard", "state", "latency", "events/s",
    "session") }
  for _, one in ipairs(list) do
    local latency = one.latency and ("%d ms"):format(math.floor(one.latency * 1000 + 0.5)) or ""
    lines[#lines + 1] = ("%-12s %-12s %9s %10.1f %14s"):format(("%d/%d"):format(one.id, one.count),
      one.state, latency, one.rate, span(one.age))
  end
  return lines
end

-- ---- Watching ----------------------------------------------------------------------------------

local Watch = {}
Watch.__index = Watch

local function events_of(one)
  local stats = one:stats()
  return (stats.events_heard or 0) + (stats.events_skipped or 0)
end

-- Looks at a shard; remembers when its session began, and how many events it had had.
local function look(self, one, now)
  local before = self.seen[one.id] or { events = events_of(one), at = now }
  local session, events = one.session, events_of(one)
  local since = session and before.session == session and before.since or session and now
  local rate = now > before.at and (events - before.events) / (now - before.at) or 0
  self.seen[one.id] = { session = session, since = since, events = events, at = now }
  return {
    id = one.id, count = one.count, state = one.state, latency = one.latency, rate = rate,
    age = since and now - since,
  }
end

function Watch:rows()
  local list, now = {}, core.now()
  for _, one in pairs(self.cluster.shards) do list[#list + 1] = look(self, one, now) end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

-- How long the shards that are not ready need at least, by the identify windows.
local function time_left(self, missing)
  local limit = self.cluster.gateway and self.cluster.gateway.session_start_limit
  local at_once = limit and limit.max_concurrency or 1
  return math.ceil(missing / at_once - 1) * WINDOW_S
end

-- In place of what was drawn before.
function Watch:draw()
  local list, ready = self:rows(), 0
  for _, one in ipairs(list) do ready = ready + (one.state == "ready" and 1 or 0) end
  local lines = command.lines(list)
  lines[#lines + 1] = command.bar(ready, #list, time_left(self, #list - ready))
  local up = self.drawn and ("\27[%dA"):format(self.drawn) or ""
  io.stdout:write(up, "\27[J", table.concat(lines, "\n"), "\n")
  self.drawn = #lines
end

local function say(...)
  io.stdout:write(os.date "%H:%M:%S ", string.format(...), "\n")
end

-- One line for what happens to a shard.
function Watch:tell()
  local cluster = self.cluster
  cluster:on("state", function(data, one)
    if data.to == "ready" then
      say("shard %d/%d ready", one.id, one.count)
    elseif data.from == "ready" then
      say("shard %d/%d %s", one.id, one.count, data.to)
    end
  end)
  cluster:on("lost", function(data, one)
    say("shard %d/%d lost its session: %s", one.id, one.count, data.reason)
  end)
  cluster:on("hold", function(data)
    say("no identifies are left until %s", os.date("%Y-%m-%d %H:%M:%S", data["until"]))
  end)
end

local function is_terminal()
  return os.execute "test -t 1" == true
end

-- Errors go to stderr, where they do not disturb the table for long.
local function watch(cluster, plain)
  local self = setmetatable({ cluster = cluster, seen = {} }, Watch)
  cluster:on("error", function(problem) io.stderr:write(problem.message, "\n") end)
  if plain or not is_terminal() then
    self:tell()
    return self
  end
  moongate.spawn(function()
    while not self.ended do
      self:draw()
      moongate.sleep(REDRAW_S)
    end
  end)
  return self
end

-- ---- The command -------------------------------------------------------------------------------

--- True, or nil, message, status.
function command.run(args)
  local kinds = {}
  for _, row in ipairs(rows) do kinds[row[1]] = row[2] end
  local all, why = cli.read(args, kinds)
  if not all then return nil, why, MISUSED end
  if all[1] then return nil, ("'%s' is no option"):format(all[1]), MISUSED end
  local options, setup = read_options(all)
  if not options then return nil, setup, MISUSED end
  local made, cluster = pcall(moongate.client, options)
  if not made then return nil, tostring(cluster), MISUSED end
  if setup then setup(cluster) end
  local watched = watch(cluster, all.plain)
  if all["for"] then
    moongate.spawn(function()
      moongate.sleep(all["for"])
      cluster:stop { keep_session = true }
    end)
  end
  local fine, message = cluster:run()
  watched.ended = true
  if fine then return true end
  return nil, message
end

return command

-- cli_cluster.lua: `moongate cluster`: shards that run until Ctrl-C; what they do is shown by
-- cli_view.lua. Required by cli.lua and by specs.
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
local moongate = require "moongate"
local view = require "moongate.cli_view"

local command = {}

local MISUSED = 2

-- What can be said: kind, what stands for the value, help, in the order of the usage text.
local rows = {
  { "total", "number", "N", "shards in all; the gateway's recommendation", option = "shards" },
  { "min", "number", "N", "the first shard of this process: 0" },
  { "max", "number", "N", "the last one: that of --total" },
  cli.row("ids", "or these, such as 0,3,5"),
  { "config", "text", "FILE", "a Lua file that returns options, and `setup`" },
  cli.row("intents", "names or numbers: guilds"),
  cli.row "api", cli.row "ca-file", cli.row "insecure-tls", cli.row "encoding", cli.row "compress",
  cli.row("session-store", "where sessions outlive the process"),
  { "coordinate", "flag", "", "take turns with other processes of this machine" },
  cli.row("for", "end after that time, with the sessions kept"),
  { "plain", "flag", "", "lines in place of the table, also in a terminal" },
}

--- The usage text.
function command.usage()
  return cli.describe({
    "usage: moongate cluster [--OPTION VALUE ...]", "",
    "Runs shards until Ctrl-C, which keeps their sessions. The token comes from $DISCORD_TOKEN, or",
    "from the config file.", "",
  }, rows)
end

-- ---- What was said -----------------------------------------------------------------------------

local function range(first, last)
  local list = {}
  for id = first, last do list[#list + 1] = id end
  return list
end

-- The ids from --min to --max: a list, nil where there is none to be had; or nil and what is wrong.
local function read_range(all)
  if all.ids and (all.min or all.max) then return nil, "--ids stands beside --min or --max" end
  if not all.min and not all.max then return nil end
  local total, first = all.total, all.min or 0
  local last = all.max or total and total - 1
  if not last then return nil, "--min needs --max or --total" end
  if total and (total < 1 or total % 1 ~= 0) then return nil end -- which is told by the judge
  if total and math.max(first, last) >= total then
    local name = all.max and last >= total and "max" or "min"
    return nil, ("--%s %d is not below --total, which is %d; shard ids count from 0"):format(name,
      all[name] or 0, total)
  end
  if last < first then return nil, ("--max %d is below --min %d"):format(last, first) end
  return range(first, last)
end

local function load_config(path)
  local chunk, why = loadfile(path, "t")
  if not chunk then return nil, why end
  local fine, config = pcall(chunk)
  if not fine then return nil, tostring(config) end
  if type(config) ~= "table" then return nil, path .. ": it returns no table" end
  if config.setup ~= nil and type(config.setup) ~= "function" then
    return nil, path .. ": its `setup` is no function"
  end
  return config
end

local function copy(values)
  local new = {}
  for key, value in pairs(values) do new[key] = value end
  return new
end

-- The options of the cluster, and the config; or nil and what is wrong.
local function read_options(all)
  local config, why = {}, nil
  if all.config then config, why = load_config(all.config) end
  if not config then return nil, why end
  local options = copy(config)
  options.setup = nil
  local ids
  ids, why = read_range(all)
  if why then return nil, why end
  options.intents = options.intents or { "guilds" }
  options.log_level = options.log_level or "info"
  cli.client_options(all, rows, options)
  options.shard_ids = ids or options.shard_ids
  if all.coordinate then options.identify_coordinator = moongate.coordinator.file() end
  return options, config
end

-- ---- The command -------------------------------------------------------------------------------

--- True, or nil, message, status.
function command.run(args)
  local all, why = cli.read_rows(args, rows)
  if not all then return nil, why, MISUSED end
  local options, config = read_options(all)
  if not options then return nil, config, MISUSED end
  local cluster, wrong, status = cli.client(options, rows, config)
  if not cluster then return nil, wrong, status end
  if config.setup then config.setup(cluster) end
  local watched = view.new(cluster, not all.plain and view.has_terminal())
  if all["for"] then
    moongate.spawn(function()
      moongate.sleep(all["for"])
      cluster:stop { keep_session = true }
    end)
  end
  local fine, message = cluster:run()
  watched:finish()
  if fine then return true end
  return nil, message
end

return command

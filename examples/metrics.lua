-- metrics.lua: writes the numbers of a bot to a file, in the text format of Prometheus, for the
-- textfile collector of node_exporter or anything that serves files. Its token comes from
-- $DISCORD_TOKEN.
--
--   lua5.4 examples/metrics.lua /var/lib/node_exporter/moongate.prom [seconds]
--
-- Without node_exporter: `python3 -m http.server 9105` where the file is, and in prometheus.yml
--
--   scrape_configs:
--     - job_name: bot
--       metrics_path: /moongate.prom
--       static_configs: [ { targets: [ "localhost:9105" ] } ]
--
-- Events a second by name: sum by (event) (rate(moongate_events_total[1m])).
local moongate = require "moongate"

local path, seconds = arg[1] or "moongate.prom", tonumber(arg[2]) or 15
local bot = moongate.client { intents = { "guilds", "guild_messages" } }

-- Written aside and renamed, so that nobody ever reads half of it.
local function write()
  local file = assert(io.open(path .. ".new", "w"))
  file:write(bot:metrics())
  file:close()
  assert(os.rename(path .. ".new", path))
end

moongate.spawn(function()
  repeat
    moongate.sleep(seconds)
    write()
  until bot.failure
end)

bot:on("error", function(problem) print(problem.message) end)
bot:on("messageCreate", function() end)

print(bot:run())
write()

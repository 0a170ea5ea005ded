-- demo.lua - the main job, to watch: a bot on the gateway, over TLS, through a dropped connection.
--
-- Without a token it starts a sandbox gateway in this process and runs examples/echo.lua,
-- unchanged, as a process of its own against it, says what happens, and ends by itself: status 0
-- when nothing was lost. With DISCORD_TOKEN set it runs the same bot against Discord, until Ctrl-C.

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local lua = os.getenv "MOONGATE_LUA" or arg[-1] or "lua5.4"

if os.getenv "DISCORD_TOKEN" and os.getenv "DISCORD_TOKEN" ~= "" then
  print "Running examples/echo.lua against Discord. Write something where the bot can see it."
  dofile(here .. "/echo.lua")
  os.exit(true)
end

local sandbox = require "moongate.sandbox"

local PATIENCE = tonumber(os.getenv "MOONGATE_DEMO_SECONDS") or 20
local started = os.time()

local function say(what, text) print(("%-12s %s"):format(what, text)) end

local pid -- of the bot

local function fail(what)
  if pid then os.execute("kill " .. pid) end
  print("The demo failed: " .. what)
  os.exit(false, true)
end

local function quote(text) return "'" .. text:gsub("'", [['\'']]) .. "'" end

-- The bot's environment is all that points it at the sandbox.
local function start_bot(discord)
  local environment = {
    "DISCORD_API=" .. quote(discord.api),
    "SSL_CERT_FILE=" .. quote(discord.ca_file),
    "DISCORD_TOKEN=" .. quote(discord.token),
  }
  local command = ("exec 2>&1; %s %s -e %s %s & echo $!; wait $!"):format(
    table.concat(environment, " "), lua, quote "io.stdout:setvbuf 'line'",
    quote(here .. "/echo.lua"))
  local bot = assert(io.popen(command))
  pid = tonumber(bot:read "l")
  return bot
end

local sent, heard = 0, 0

local function dispatch(discord, content)
  sent = sent + 1
  discord:dispatch("MESSAGE_CREATE", {
    id = tostring(sent), channel_id = discord.guilds[1].channel_id, guild_id = discord.guilds[1].id,
    author = { id = "81384788765712384", username = "ada" }, content = content,
  })
end

-- What the bot prints: one line a message.
local function expect_line(bot, content)
  local line = bot:read "l"
  if line ~= "ada: " .. content then fail("the bot said " .. tostring(line)) end
  heard = heard + 1
  say("message", line)
end

local function expect_packet(discord, name, count)
  local packets = discord:wait_received(name, { timeout = PATIENCE, count = count })
  if not packets then fail(name .. " did not arrive") end
  return packets[#packets]
end

local discord = assert(sandbox.start { guilds = 2, tls = true, heartbeat_interval = 1000 })
say("sandbox", "a gateway of our own listens at " .. discord.url .. ", with its own certificate")

local bot = start_bot(discord)
expect_packet(discord, "IDENTIFY", 1)
say("connected", "examples/echo.lua, unchanged, checked the certificate and identified over TLS")
expect_packet(discord, "HEARTBEAT", 1)
say("ready", "its session is open and its heart beats")

dispatch(discord, "hello")
expect_line(bot, "hello")

discord:drop()
say("link cut", "the connection was dropped; a message is written while the bot is away")
dispatch(discord, "did you miss me?")
expect_packet(discord, "RESUME", 1)
say("resumed", "the bot is back in the same session, without a new Identify")
expect_line(bot, "did you miss me?")

dispatch(discord, "goodbye")
expect_line(bot, "goodbye")

os.execute("kill -INT " .. pid)
local last = bot:read "l"
local ended_well = bot:close()
if last ~= "true" or not ended_well then fail("the bot ended with " .. tostring(last)) end
local identifies = #discord:received "IDENTIFY"
discord:stop()

if heard ~= sent or identifies ~= 1 then fail "something was lost" end
say("nothing lost", ("%d messages sent, %d heard, %d Identify, in %d s"):format(
  sent, heard, identifies, os.time() - started))
os.exit(true, true)

-- cli_repl.lua: `moongate repl`: a prompt with a bot that is connected, or with a bot and a sandbox
-- to play in. Required by cli.lua and by specs.

local cli = require "moongate.cli"
local moongate = require "moongate"

local command = {}

local MISUSED = 2

-- What can be said: kind, what stands for the value, help, in the order of the usage text.
local rows = {
  { "sandbox", "flag", "", "play with a gateway of one's own: `discord` at the prompt" },
  cli.row("intents", "names or numbers: all that need no approval"),
  { "watch", "text", "LIST", "the events that are shown; all of them" },
  { "quiet", "flag", "", "show none until asked" },
  cli.row "shards", cli.row "api", cli.row "ca-file", cli.row "insecure-tls", cli.row "encoding",
  cli.row "compress", cli.row "session-store",
  { "history", "text", "FILE", "where lines are kept: ~/.moongate_history" },
  { "no-history", "flag", "", "keep none" },
}

--- The usage text.
function command.usage()
  return cli.describe({
    "usage: moongate repl [--OPTION VALUE ...]", "",
    "A prompt with `bot`, connected by the token in $DISCORD_TOKEN; help() there tells more.",
    "Its events are shown while one types. Ctrl-D leaves.", "",
  }, rows)
end

-- A sandbox and the options of a bot that lives in it; or nil and what is wrong.
local function start_sandbox(options)
  local discord, why = require("moongate.sandbox").start { guilds = 1 }
  if not discord then return nil, why end
  options.token, options.api = discord.token, discord.api
  return discord
end

local function check(all)
  if all.sandbox and all.api then return "--sandbox has an API of its own, leave --api out" end
  if all.quiet and all.watch then return "--quiet and --watch: one of them is enough" end
  local token = os.getenv "DISCORD_TOKEN"
  if not all.sandbox and (not token or token == "") then
    return "no token: set $DISCORD_TOKEN, or play with --sandbox"
  end
end

-- Which events are shown at first: a list, nil for all of them, false for none.
local function shown(all)
  if all.quiet then return false end
  return all.watch and cli.split(all.watch) or nil
end

-- The file of the lines: nil for the usual one, false for none.
local function history(all)
  if all["no-history"] then return false end
  return all.history
end

local function converse(all, options, discord)
  local bot, wrong, status = cli.client(options, rows)
  if not bot then return nil, wrong, status end
  moongate.repl(bot, {
    names = { discord = discord },
    watch = shown(all),
    history = history(all),
  })
  bot:stop()
  return true
end

--- True, or nil, message, status.
function command.run(args)
  local all, why = cli.read_rows(args, rows)
  why = why or check(all)
  if why then return nil, why, MISUSED end
  local wanted = all.sandbox and { "default", "message_content" } or moongate.intents.default
  local options, discord = cli.client_options(all, rows, { intents = wanted }), nil
  if all.sandbox then
    discord, why = start_sandbox(options)
    if not discord then return nil, why end
  end
  local done, message, status = converse(all, options, discord)
  if discord then discord:stop() end
  return done, message, status
end

return command

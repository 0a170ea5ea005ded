-- cli_sandbox.lua: `moongate sandbox`, a gateway of one's own that any client can be pointed at:
-- with a live log, and a scenario that plays while it serves. Required by cli.lua and by specs.
--
-- A scenario is a Lua file that returns a function, or a table with options and such a function:
--
--   return {
--     options = { guilds = 2 },
--     play = function(discord, say)
--       assert(discord:wait_for_ready(1, 60))
--       say "it is ready; now its connection is lost"
--       discord:drop()
--       assert(discord:wait_received("RESUME", { timeout = 10 }))
--     end,
--   }
--
-- With --stdin it is told what to dispatch while it serves, by lines of its standard input:
--
--   MESSAGE_CREATE {"content":"hi"}

local cjson = require "cjson"
local cli = require "moongate.cli"
local output = require "moongate.output"
local sandbox = require "moongate.sandbox"
local shelter = require "moongate.shelter"

local command = {}

local MISUSED = 2
local FAILED = 1
local STDIN = 0
local SLICE_S = 1 -- of the wait for Ctrl-C
local LOOK_S = 0.1 -- between two looks at the standard input
local READS_MAX = 64 -- of each look, so that Ctrl-C has its turn
local DEFAULT_MAX = 12 -- letters of one that the usage text shows

-- What this command has besides the options of sandbox.start.
local own = {
  ["for"] = { "number", "SECONDS", "end after that time" },
  once = { "flag", "", "end when the scenario is over" },
  quiet = { "flag", "", "no log" },
  json = { "flag", "", "all output as JSON, an object a line" },
  stdin = { "flag", "", "dispatch its lines: MESSAGE_CREATE {...}" },
}

local kind_of = { boolean = "flag", number = "number", string = "text", ["nil"] = "text" }

-- The options of sandbox.start that fit on a command line: name there -> { name, kind, default }.
local function list_options()
  local list, by_name = {}, {}
  for _, row in ipairs(sandbox.options()) do
    local kind = kind_of[type(row.default)]
    if row.name == "disallowed_intents" then kind = "text" end
    if kind then
      local name = row.name:gsub("_", "-")
      list[#list + 1] = { name = name, key = row.name, kind = kind, default = row.default,
        words = row.words }
      by_name[name] = list[#list]
    end
  end
  return list, by_name
end

local function line_of(name, placeholder, words)
  return ("  --%-24s %s"):format(placeholder == "" and name or name .. " " .. placeholder, words)
end

local function line_of_option(option)
  if option.kind == "flag" then
    local off = option.default and "without " or ""
    return line_of((option.default and "no-" or "") .. option.name, "", off .. option.words)
  end
  local default = option.key ~= "disallowed_intents" and tostring(option.default or "") or ""
  local shown = default ~= "" and #default <= DEFAULT_MAX and (" (%s)"):format(default) or ""
  return line_of(option.name, option.kind == "number" and "N" or "TEXT", option.words .. shown)
end

--- The usage text.
function command.usage()
  local lines = {
    "usage: moongate sandbox [SCENARIO.lua] [--OPTION VALUE ...]", "",
    "Serves until Ctrl-C, or the end of --for or --once. SCENARIO.lua returns a",
    "function that gets the sandbox and a function that prints, or a table",
    "{ options =, play = }.", "",
  }
  local names = {}
  for name in pairs(own) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do lines[#lines + 1] = line_of(name, own[name][2], own[name][3]) end
  lines[#lines + 1] = "\nand the options of sandbox.start, with their defaults:\n"
  for _, option in ipairs(list_options()) do lines[#lines + 1] = line_of_option(option) end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- Reading ------------------------------------------------------------------------------------

-- What sandbox.start is called with, and what is for this command.
local function read_args(args)
  local _, by_name = list_options()
  local kinds = {}
  for name, row in pairs(own) do kinds[name] = row[1] end
  for name, option in pairs(by_name) do kinds[name] = option.kind end
  local all, why = cli.read(args, kinds)
  if not all then return nil, why end
  if #all > 1 then return nil, ("one scenario expected, got %d arguments"):format(#all) end
  if all["for"] and all["for"] < 0 then
    return nil, ("--for: a time from 0 on expected, got '%s'"):format(all["for"])
  end
  local options = {}
  for name, value in pairs(all) do
    local option = by_name[name]
    if option then
      if math.type(value) == "float" then value = math.tointeger(value) or value end
      options[option.key] = value
    end
  end
  local intents = options.disallowed_intents
  if intents then
    options.disallowed_intents = {}
    for name in intents:gmatch "[^,%s]+" do table.insert(options.disallowed_intents, name) end
  end
  return all, options
end

-- A scenario from its file: { options =, play = }; or nil and what is wrong with it.
local function read_scenario(name)
  local file, missing = io.open(name, "r")
  if not file then return nil, missing end
  local text = file:read "a"
  file:close()
  if not text then return nil, name .. ": is no file that can be read" end
  local chunk, why = load(text:gsub("^#[^\n]*", ""), "@" .. name, "t")
  if not chunk then return nil, why end
  local fine, scenario = pcall(chunk)
  if not fine then return nil, tostring(scenario) end
  if type(scenario) == "function" then scenario = { play = scenario } end
  if type(scenario) ~= "table" or type(scenario.play) ~= "function" then
    return nil, name .. ": returns no function and no table with a function `play`"
  end
  if scenario.options ~= nil and type(scenario.options) ~= "table" then
    return nil, name .. ": its `options` are no table"
  end
  for key in pairs(scenario) do
    if key ~= "play" and key ~= "options" then
      return nil, ("%s: unknown key '%s'; a scenario has options and play"):format(name,
        tostring(key))
    end
  end
  return scenario
end

-- ---- Showing ------------------------------------------------------------------------------------

local function printer(all, discord)
  if all.quiet then return nil end
  local started_ms = math.floor(discord:clock() * 1000)
  return function(line)
    local seconds = math.max(0, (line.at_ms - started_ms) / 1000)
    if all.json then
      output.write(cjson.encode(line), "\n")
    else
      local whom = line.connection and ("#%d"):format(line.connection) or ""
      output.write(("%8.3f  %-5s %-10s %s\n"):format(seconds, whom, line.what, line.text))
    end
  end
end

-- Where it is and how a bot gets there, for programs. A token of one's own is not repeated.
local function introduce_as_json(discord, given_token)
  local guilds = {}
  for at, guild in ipairs(discord.guilds) do
    guilds[at] = { id = guild.id, channel_id = guild.channel_id }
  end
  output.write(cjson.encode {
    what = "listening", text = discord.url, api = discord.api, ca_file = discord.ca_file,
    token = not given_token and discord.token or nil, guilds = sandbox.array(guilds),
  }, "\n")
end

-- The same for people.
local function introduce(discord, given_token, as_json)
  if as_json then return introduce_as_json(discord, given_token) end
  local token = given_token and "$DISCORD_TOKEN" or discord.token
  local words = { "DISCORD_API=" .. discord.api, "DISCORD_TOKEN=" .. token }
  if discord.ca_file then words[#words + 1] = "SSL_CERT_FILE=" .. discord.ca_file end
  output.write("listening at ", discord.url, "\n")
  output.write(table.concat(words, " "), " your-bot\n")
  for at = 1, math.min(3, #discord.guilds) do
    local guild = discord.guilds[at]
    output.write(("guild %s, channel %s\n"):format(guild.id, guild.channel_id))
  end
end

-- A function that shows words, those of `what`.
local function speaker(what, as_json)
  return function(...)
    local text = table.concat({ ... }, " ")
    output.write(as_json and cjson.encode { what = what, text = text } or what .. ": " .. text,
      "\n")
  end
end

-- ---- Lines of the standard input ----------------------------------------------------------------

-- Dispatches what a line says: the name of an event, and data if there are some. What was done, or
-- nil and what is wrong with the line.
local function obey(discord, text)
  local name, json = text:match "^%s*([%w_]+)%s*(.-)%s*$"
  if not name then return nil, 'an event expected, such as MESSAGE_CREATE {"content":"hi"}' end
  local fine, data = pcall(cjson.decode, json ~= "" and json or "{}")
  if not fine then return nil, ("the data of %s are no JSON: %s"):format(name, data) end
  if type(data) ~= "table" then return nil, ("the data of %s: an object expected"):format(name) end
  local done, count, why = pcall(discord.dispatch, discord, name, data)
  if not done or not count then return nil, done and why or count end
  return ("%s to %d session%s"):format(name, count, count == 1 and "" or "s")
end

-- A function that takes the lines that have come, and does not wait for any.
local function reader(core, all, discord)
  local rest, number, say = "", 0, speaker("input", all.json)
  local function take(bytes)
    rest = rest .. (bytes == "" and rest ~= "" and "\n" or bytes)
    for text in rest:gmatch "([^\n]*)\n" do
      number = number + 1
      local done, why = nil, nil
      if text:find "%S" then done, why = obey(discord, text) end
      if done and not all.quiet then say(done) end
      if why then io.stderr:write(("moongate sandbox: line %d: %s\n"):format(number, why)) end
    end
    rest = rest:match "[^\n]*$"
  end
  return function()
    for _ = 1, READS_MAX do
      local bytes = core.read(STDIN)
      if bytes then take(bytes) end
      if not bytes or bytes == "" then return end
    end
  end
end

-- ---- Running ------------------------------------------------------------------------------------

local function play(scenario, discord, as_json)
  local say = speaker("scenario", as_json)
  local fine, result, why = pcall(scenario.play, discord, say)
  if not fine and tostring(result):find "interrupted!$" then error(result, 0) end
  if not fine then return nil, "the scenario failed: " .. tostring(result) end
  if result == nil and why ~= nil then return nil, "the scenario failed: " .. tostring(why) end
  say "done"
  return true
end

-- Until time is up, or Ctrl-C, which comes between lines: none of them is to take it for its own
-- failure.
local function wait(discord, ends, take_lines)
  local slice_s = take_lines and LOOK_S or SLICE_S
  while not ends or discord:clock() < ends do
    if take_lines then shelter.call(take_lines) end
    discord:wait(ends and math.max(0, math.min(slice_s, ends - discord:clock())) or slice_s)
  end
end

local function serve(all, scenario, discord, core)
  local show = printer(all, discord)
  if show then discord:watch(show) end -- first, as a client may come as soon as it is told where
  introduce(discord, all.token, all.json)
  local ends = all["for"] and discord:clock() + all["for"]
  if scenario then
    local done, why = play(scenario, discord, all.json)
    if not done or all.once then return done, why end
  end
  wait(discord, ends, all.stdin and reader(core, all, discord))
  return true
end

--- Runs the command. Returns true, or nil, message, status.
function command.run(args)
  local all, options = read_args(args)
  if not all then return nil, options, MISUSED end
  local scenario, core, why, status
  if all.stdin then
    core, why, status = cli.load "moongate.core"
    if not core then return nil, why, status end
  end
  if all[1] then
    scenario, why = read_scenario(all[1])
    if not scenario then return nil, why, MISUSED end
    for key, value in pairs(scenario.options or {}) do
      if options[key] == nil then options[key] = value end
    end
  end
  local fine, discord, problem = pcall(sandbox.start, options)
  if not fine then return nil, (tostring(discord):gsub("^.-start: ", "")), MISUSED end
  if not discord then return nil, problem, FAILED end
  local served, done, reason = pcall(serve, all, scenario, discord, core)
  discord:stop()
  if served then return done, reason, FAILED end
  if tostring(done):find "interrupted!$" and not (all.once and scenario) then return true end
  error(done, 0)
end

return command

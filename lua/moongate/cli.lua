-- cli.lua: the command `moongate`: finds the subcommand, reads its arguments, and turns what comes
-- back into words and an exit status. Required by lua/bin/moongate and by specs. A subcommand is a
-- module with `usage` and run(args) -> true, or nil, message, status; none but the one that is
-- wanted is loaded, and nothing else of moongate before it: a core that is broken is its affair.
--
-- Status: 0 it did what it should, 1 it could not, 2 it was called wrongly, 130 Ctrl-C.

local dialect = require "moongate.dialect"
local output = require "moongate.output"
local spelling = require "moongate.spelling"

local cli = {}

local FAILED, MISUSED, INTERRUPTED = 1, 2, 130
local CLOSED = 9 -- EBADF

--- The subcommands: name, the module that is one, and what it is for.
cli.commands = {
  { "cluster", "moongate.cli_cluster", "shards that run until Ctrl-C, and what they do" },
  { "doctor", "moongate.cli_doctor",
    "what a bot needs, looked at, and what to do where it is missing" },
  { "repl", "moongate.cli_repl", "a prompt with a bot that is connected" },
  { "sandbox", "moongate.cli_sandbox", "a gateway of one's own, for any client" },
  { "tail", "moongate.cli_tail", "events as they come, a JSON object a line" },
}

-- ---- Arguments ----------------------------------------------------------------------------------

local function hint(name, names, dashes)
  local meant = spelling.nearest(name, names)
  return meant and (", did you mean %s%s?"):format(dashes or "", meant) or ""
end

local function read_value(name, kind, text)
  if kind == "text" then return text end
  local value = tonumber(text)
  if value then return value end
  return nil, ("--%s: a number expected, got '%s'"):format(name, text)
end

--- Reads arguments by `kinds`, a table of name -> "flag", "number" or "text". "--name value" and
--- "--name=value" are the same; "--no-name" turns a flag off. Returns a table with the values, the
--- arguments without a name as its list; or nil and what is wrong.
function cli.read(args, kinds)
  local all, at = {}, 1
  local names = {}
  for name in pairs(kinds) do names[#names + 1] = name end
  table.sort(names)
  while args[at] do
    local name, value = args[at]:match "^%-%-([%w-]+)=?(.*)$"
    local given = args[at]:find("=", 1, true) ~= nil
    local negated = name and kinds[name] == nil and name:match "^no%-(.+)$"
    if args[at]:sub(1, 1) ~= "-" then
      all[#all + 1] = args[at]
    elseif negated and kinds[negated] == "flag" and not given then
      all[negated] = false
    elseif not name or not kinds[name] then
      return nil, ("unknown option %s%s"):format(args[at],
        name and hint(name, names, "--") or "")
    elseif kinds[name] == "flag" then
      if given then return nil, ("--%s takes no value"):format(name) end
      all[name] = true
    else
      if not given then at, value = at + 1, args[at + 1] end
      if value == nil then return nil, ("--%s needs a value"):format(name) end
      local made, why = read_value(name, kinds[name], value)
      if made == nil then return nil, why end
      all[name] = made
    end
    at = at + 1
  end
  return all
end

--- A list that was said in one word: "0,3,guilds" is { 0, 3, "guilds" }.
function cli.split(text)
  local list = {}
  for word in text:gmatch "[^,%s]+" do list[#list + 1] = tonumber(word) or word end
  return list
end

-- ---- Commands of options ------------------------------------------------------------------------

local SHARD_ID_MAX = 999999

local function judge_shard_id(value)
  return value >= 0 and value <= SHARD_ID_MAX and value % 1 == 0,
    ("a whole number from 0 to %d"):format(SHARD_ID_MAX)
end

-- What values of options of a client, or of its life, must be.
local judges = {
  ["for"] = function(value) return value >= 0, "a time from 0 on" end,
  count = function(value) return value >= 1 and value % 1 == 0, "a whole number from 1" end,
  min = judge_shard_id, max = judge_shard_id,
  ["session-store"] = function(value) return value ~= "", "the name of a file" end,
  history = function(value) return value ~= "", "the name of a file" end,
}

--- Reads arguments of a command that has options only. `rows` is the list of them: each { name,
-- kind, what stands for the value, help }, and what row() says. As read().
function cli.read_rows(args, rows)
  local kinds = {}
  for _, row in ipairs(rows) do kinds[row[1]] = row[2] end
  local all, why = cli.read(args, kinds)
  if not all then return nil, why end
  if all[1] then return nil, ("'%s' is no option"):format(all[1]) end
  for name, value in pairs(all) do
    local fine, wanted = true, nil
    if judges[name] then fine, wanted = judges[name](value) end
    if not fine then return nil, ("--%s: %s expected, got '%s'"):format(name, wanted, value) end
  end
  return all
end

--- The usage text of such a command: `words`, a list of lines, and the options in their order.
function cli.describe(words, rows)
  local lines = { table.unpack(words) }
  for _, row in ipairs(rows) do
    local name = ("--%s %s"):format(row[1], row[3])
    lines[#lines + 1] = ("  %-24s %s"):format(name, row[4])
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- Options of a client ------------------------------------------------------------------------

-- The rows that commands lend: with the option of a client that is meant, and what makes its value
-- of the one that was said.
local lent = {
  { "intents", "text", "LIST", "names or numbers", option = "intents", read = cli.split },
  { "shards", "number", "N", "shards in all; the gateway's recommendation", option = "shards" },
  { "ids", "text", "LIST", "the shards of this process, such as 0,3", option = "shard_ids",
    read = cli.split },
  { "api", "text", "URL", "another API; $DISCORD_API", option = "api" },
  { "ca-file", "text", "FILE", "certificates to trust (PEM); $SSL_CERT_FILE", option = "ca_file" },
  { "insecure-tls", "flag", "", "no certificate is checked, TLS is not needed",
    option = "insecure_tls" },
  { "encoding", "text", "NAME", "json or etf", option = "encoding" },
  { "compress", "text", "NAME", "zlib-stream, zstd-stream, payload or none", option = "compress",
    read = function(name) return name ~= "none" and name end },
  { "session-store", "text", "FILE", "where the session outlives the process",
    option = "session_store",
    read = function(path) return require("moongate.store").file(path) end },
  { "for", "number", "SECONDS", "end after that time" },
}

local lent_by_name = {}
for _, row in ipairs(lent) do lent_by_name[row[1]] = row end

--- The row of an option that several commands have, for the rows of one; `help`, if given, in the
-- place of the usual words.
function cli.row(name, help)
  local row = {}
  for key, value in pairs(lent_by_name[name]) do row[key] = value end
  row[4] = help or row[4]
  return row
end

--- What was said of a client, out of what cli.read_rows gave for `rows`, over `options`.
function cli.client_options(all, rows, options)
  for _, row in ipairs(rows) do
    local value = all[row[1]]
    if row.option and value ~= nil then
      if row.read then value = row.read(value) end
      options[row.option] = value
    end
  end
  return options
end

--- Options of a client as options.judge() gives them; or nil and what is wrong, in the words of one
-- who typed `rows`. Options that are as in `config`, a table of them, were written in Lua.
function cli.judge(options, rows, config)
  local flags = {}
  for _, row in ipairs(rows) do
    local name = row.option
    local typed = name and not (config and config[name] ~= nil and config[name] == options[name])
    if typed then flags[name] = row[1] end
  end
  local judge = require("moongate.options").judge
  local checked, mistakes = judge(options, nil, dialect.command_line(flags))
  if checked then return checked end
  local list = table.concat(mistakes, "\n  ")
  if #mistakes == 1 then return nil, list end
  return nil, ("%d mistakes in the options:\n  %s"):format(#mistakes, list)
end

--- A client of these options; or nil, what is wrong with them as judge() says it, and the status.
function cli.client(options, rows, config)
  local checked, wrong = cli.judge(options, rows, config)
  if not checked then return nil, wrong, MISUSED end
  local made, client = pcall(require("moongate").client, options)
  if made then return client end
  return nil, tostring(client), MISUSED
end

-- ---- The command --------------------------------------------------------------------------------

local function usage()
  local lines = { "usage: moongate COMMAND ...", "" }
  for _, row in ipairs(cli.commands) do
    lines[#lines + 1] = ("  %-10s %s"):format(row[1], row[3])
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "moongate COMMAND --help tells more; moongate version, which one this is."
  return table.concat(lines, "\n") .. "\n"
end

--- Why something cannot be loaded, out of what require() raised: in one line, without all places
-- where it was looked for.
function cli.why_not_loaded(err)
  return (tostring(err):gsub("\n\tno [^\n]*", ""):gsub("%s+", " "):gsub(":$", ""))
end

--- A module; or nil, what is wrong with this moongate, and the status.
function cli.load(name)
  local fine, module = pcall(require, name)
  if fine then return module end
  return nil, ("%s; build it anew (make install), moongate doctor tells more"):format(
    cli.why_not_loaded(module)), FAILED
end

-- The module of a subcommand; or nil, what is wrong, and the status.
local function find_command(name)
  local names = {}
  for at, row in ipairs(cli.commands) do
    if row[1] == name then return cli.load(row[2]) end
    names[at] = row[1]
  end
  return nil, ("there is no command '%s'%s; moongate help"):format(name, hint(name, names)), MISUSED
end

local function complain(what, message, status)
  io.stderr:write(what, ": ", message, "\n")
  return status
end

-- Runs it protected: Ctrl-C reaches Lua as an error, and what goes wrong is told in one line.
local function run(name, command, args)
  local fine, done, why, status = pcall(command.run, args)
  if fine and done then return 0 end
  local message = tostring(fine and why or done)
  if not fine and message:find "interrupted!$" then return INTERRUPTED end
  if fine and status == MISUSED then message = message .. "; moongate " .. name .. " --help" end
  return complain("moongate " .. name, message, fine and status or FAILED)
end

local asks_help = { help = true, ["--help"] = true, ["-h"] = true }
local asks_version = { version = true, ["--version"] = true }

local function obey(args)
  local name, wants_help = args[1], asks_help[args[2]] and args[2] ~= "help"
  if name == nil then
    io.stderr:write(usage())
    return MISUSED
  elseif asks_version[name] then
    local moongate, why, status = cli.load "moongate"
    if not moongate then return complain("moongate", why, status) end
    output.write(moongate._VERSION, "\n")
    return 0
  elseif asks_help[name] then
    name, wants_help = args[2], true
    if name == nil or asks_help[name] then
      output.write(usage())
      return 0
    end
  end
  local command, why, status = find_command(name)
  if not command then return complain("moongate", why, status) end
  if wants_help then
    output.write(command.usage())
    return 0
  end
  return run(name, command, { table.unpack(args, 2) })
end

local places = {} -- what stands where a stream is closed

-- The next file or socket that is opened would have the descriptor of a stream that is closed, and
-- what is shown would be written into it. So something is put there that nobody can write to.
local function fill_closed_streams()
  for _, stream in ipairs { io.stdin, io.stdout, io.stderr } do
    local _, _, number = stream:seek()
    if number == CLOSED then places[#places + 1] = io.open "/dev/null" end
  end
end

--- Does what the arguments say and returns the exit status. What was not shown was not done.
function cli.main(args)
  fill_closed_streams()
  output.write() -- and what print() shows from now on appears line by line
  local status = obey(args)
  output.write() -- the rest of it
  local why = output.failure()
  if not why then return status end
  local whose = table.concat({ "moongate", args[1] }, " ")
  return complain(whose, "cannot write: " .. why, math.max(status, FAILED))
end

return cli

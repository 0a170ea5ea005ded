-- cli.lua: the command `moongate`: finds the subcommand, reads its arguments, and turns what comes
-- back into words and an exit status. Required by lua/bin/moongate and by specs. A subcommand is a
-- module with `summary`, `usage` and run(args) -> true, or nil, message, status.
--
-- Status: 0 it did what it should, 1 it could not, 2 it was called wrongly, 130 Ctrl-C.

local spelling = require "moongate.spelling"

local cli = {}

local FAILED, MISUSED, INTERRUPTED = 1, 2, 130

--- The subcommands: name, and the module that is one.
cli.commands = {
  { "cluster", "moongate.cli_cluster" },
  { "doctor", "moongate.cli_doctor" },
  { "repl", "moongate.cli_repl" },
  { "sandbox", "moongate.cli_sandbox" },
  { "tail", "moongate.cli_tail" },
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

-- What values of options that several commands have must be.
local judges = {
  ["for"] = function(value) return value >= 0, "a time from 0 on expected" end,
  count = function(value)
    return value >= 1 and value % 1 == 0, "a whole number from 1 expected"
  end,
  ["session-store"] = function(value) return value ~= "", "the name of a file expected" end,
  history = function(value) return value ~= "", "the name of a file expected" end,
}

--- Reads arguments of a command that has options only. `rows` is the list of them: each { name,
-- kind, what stands for the value, help }. As read().
function cli.read_rows(args, rows)
  local kinds = {}
  for _, row in ipairs(rows) do kinds[row[1]] = row[2] end
  local all, why = cli.read(args, kinds)
  if not all then return nil, why end
  if all[1] then return nil, ("'%s' is no option"):format(all[1]) end
  for name, value in pairs(all) do
    local fine, wanted = true, nil
    if judges[name] then fine, wanted = judges[name](value) end
    if not fine then return nil, ("--%s: %s"):format(name, wanted) end
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

--- The options of a client that commands have in common, out of what cli.read gave, over `options`.
function cli.client_options(all, options)
  for _, name in ipairs { "shards", "api", "encoding", "compress" } do
    if all[name] ~= nil then options[name] = all[name] end
  end
  if all.compress == "none" then options.compress = false end
  if all.intents then options.intents = cli.split(all.intents) end
  local store = all["session-store"]
  if store then options.session_store = require("moongate.store").file(store) end
  return options
end

-- ---- The command --------------------------------------------------------------------------------

local function usage()
  local lines = { "usage: moongate COMMAND ...", "" }
  for _, row in ipairs(cli.commands) do
    lines[#lines + 1] = ("  %-10s %s"):format(row[1], require(row[2]).summary)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "moongate COMMAND --help tells more; moongate version, which one this is."
  return table.concat(lines, "\n") .. "\n"
end

local function find_command(name)
  local names = {}
  for at, row in ipairs(cli.commands) do
    if row[1] == name then return require(row[2]) end
    names[at] = row[1]
  end
  return nil, ("there is no command '%s'%s"):format(name, hint(name, names))
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

--- Does what the arguments say and returns the exit status.
function cli.main(args)
  local name, wants_help = args[1], asks_help[args[2]] and args[2] ~= "help"
  io.stdout:setvbuf "line"
  if name == nil then
    io.stderr:write(usage())
    return MISUSED
  elseif asks_version[name] then
    io.stdout:write(require("moongate")._VERSION, "\n")
    return 0
  elseif asks_help[name] then
    name, wants_help = args[2], true
    if name == nil or asks_help[name] then
      io.stdout:write(usage())
      return 0
    end
  end
  local command, why = find_command(name)
  if not command then return complain("moongate", why .. "; moongate help", MISUSED) end
  if wants_help then
    io.stdout:write(command.usage())
    return 0
  end
  return run(name, command, { table.unpack(args, 2) })
end

return cli

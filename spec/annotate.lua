-- annotate.lua: writes lua/moongate/meta, what an editor with the Lua language server is told of
-- moongate, from the tables that moongate itself goes by, the comments of its functions, the tables
-- of README.md, and the types of annotations.lua. A program (`make meta`), and what meta_spec.lua
-- compares with the files that are there. It needs the installed tree, and starts nothing.

local annotations = require "annotations"
local core = require "moongate.core"
local events = require "moongate.events"
local intents = require "moongate.intents"
local options = require "moongate.options"
local sandboxed = require "annotations_sandbox"
local sandbox_arguments = require "moongate.sandbox.arguments"
local sandbox_options = require "moongate.sandbox.options"

local annotate = {}

local COLUMNS = 100
local HEAD = "-- Made by `make meta` (spec/annotate.lua); for editors, never loaded at run time."

-- ---- Reading -----------------------------------------------------------------------------------

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

-- The words of a comment, whose first line begins with three dashes: a list of lines as one text.
local function words_of(comment)
  local words
  for _, line in ipairs(comment) do
    if line:find "^%s*%-%-%-" then words = words or {} end
    if words then words[#words + 1] = line:match "^%s*%-+%s*(.*)$" end
  end
  return words and table.concat(words, " ")
end

-- "prefix.name" -> { words = of its comment, names = of its parameters without self }.
local function read_functions(path)
  local found, comment = {}, {}
  for line in read(path):gmatch "([^\n]*)\n" do
    local prefix, sign, name, names = line:match "^function ([%w_]+)([.:])([%w_]+)(%b())"
    if not name then name = line:match "^  ([%w_]+) = [%w_.]+,$" end
    if name then
      local list = {}
      for one in (names or "(t)"):gmatch "[%w_.]+" do list[#list + 1] = one end
      if sign == "." and list[1] == "_" then table.remove(list, 1) end
      local key = (prefix or "moongate") .. "." .. name
      found[key] = found[key] or { words = words_of(comment), names = list }
    end
    if line:find "^%s*%-%-" then comment[#comment + 1] = line else comment = {} end
  end
  return found
end

local functions = {} -- file -> what read_functions found

local function find_function(sources, name, at)
  for _, source in ipairs(sources) do
    local path = "lua/moongate/" .. source[1]
    functions[path] = functions[path] or read_functions(path)
    local found = functions[path][at or source[2] .. "." .. name]
    if found then return found end
  end
  error(("no function %s in %s"):format(at or name, sources[1][1]), 0)
end

--- The tables of README.md with this heading: a list of rows { { first, second, ... }, ... }.
function annotate.readme_table(heading)
  local rows, inside
  for line in read("README.md"):gmatch "([^\n]*)\n" do
    if not inside and line:find("| " .. heading, 1, true) == 1 then
      inside, rows = true, rows or {}
    elseif inside and not line:find "^|" then
      inside = false
    elseif inside and not line:find "^|%-" then
      local cells = {}
      for cell in line:gmatch "|%s*([^|]*)%s+%f[|]" do cells[#cells + 1] = cell end
      rows[#rows + 1] = cells
    end
  end
  return assert(rows, "README.md has no table with " .. heading)
end

-- The names in backticks of a cell.
local function names_in(cell)
  local names = {}
  for name in cell:gmatch "`([^`]+)`" do names[#names + 1] = name end
  return names
end

-- Option -> its cell of README.md, where that is of no other one as well.
local function option_words()
  local words = {}
  for _, row in ipairs(annotate.readme_table "option | what it is, and its default") do
    local names = names_in(row[1])
    if #names == 1 then words[names[1]] = row[2]:gsub("%[(.-)%]%(.-%)", "%1") end
  end
  return words
end

--- Event of moongate's own -> what README.md says of its data: { shape = "{ url, attempt }", rest =
--- more words, or "" }.
function annotate.event_words()
  local words = {}
  for _, row in ipairs(annotate.readme_table "event of moongate's own") do
    local shapes, names = {}, names_in(row[1])
    for shape in row[2]:gmatch "`(%b{})`" do shapes[#shapes + 1] = shape end
    local rest = #shapes < 2 and row[2]:gsub("^`%b{}`[^%w`]*", "") or ""
    for i, name in ipairs(names) do
      words[name] = { shape = shapes[#shapes == #names and i or 1], rest = rest }
    end
  end
  return words
end

-- ---- Writing -----------------------------------------------------------------------------------

-- A file under way: a list of lines that is called to add one.
local function new_file(meta)
  return setmetatable({ "---@meta " .. meta, HEAD }, {
    __call = function(self, format, ...)
      self[#self + 1] = select("#", ...) > 0 and format:format(...) or format
    end,
  })
end

-- Words as lines of a comment.
local function say(file, words)
  local line = "---"
  for word in (words or ""):gmatch "%S+" do
    if #line + 1 + #word > COLUMNS then
      file(line)
      line = "---"
    end
    line = line .. " " .. word
  end
  if line ~= "---" then file(line) end
end

-- A type without the question mark, and the mark.
local function optional(what)
  local bare = what:match "^(.*)%?$"
  return bare or what, bare and "?" or ""
end

local function field(file, name, what, words)
  say(file, words)
  local bare, mark = optional(what)
  if name:find "^%[" then
    file("---@field %s %s", name, bare)
  elseif name == "until" then
    file('---@field ["until"] %s', bare)
  else
    file("---@field %s%s %s", name, mark, bare)
  end
end

local function alias(file, row)
  file ""
  say(file, row[3])
  local line = ("---@alias %s %s"):format(row[1], row[2])
  if #line <= COLUMNS then return file(line) end
  file("---@alias %s", row[1])
  for part in (row[2] .. "|"):gmatch "(.-)|" do file("---| %s", part) end
end

-- Literals with a comment each, and what else it may be.
local function literals(file, name, words, rows, more)
  file ""
  say(file, words)
  file("---@alias %s", name)
  for _, row in ipairs(rows) do
    file('---| "%s"%s', row[1], row[2] and " # " .. row[2] or "")
  end
  if more then file("---| %s", more) end
end

local function split(text)
  local list = {}
  for part in (text == "" and "" or text .. "; "):gmatch "(.-); " do list[#list + 1] = part end
  return list
end

-- A method or a function: `sign` stands between the table and its name.
local function method(file, class, row, sign, variable)
  local source = find_function(class.sources, row[1], row.at)
  local types, names = split(row[2]), {}
  if not source.words then error(("%s.%s has no comment"):format(class.name, row[1]), 0) end
  file ""
  say(file, source.words)
  if row[2]:find "%f[%w]T%f[%W]" then file "---@generic T" end
  for i, what in ipairs(types) do
    local name = source.names[i]
    if not name then error(("%s.%s has no parameter %d"):format(class.name, row[1], i), 0) end
    local bare, mark = optional(what)
    names[i] = name
    file("---@param %s%s %s", name, name == "..." and "" or mark, bare)
  end
  for _, result in ipairs(split(row[3])) do
    file("---@return %s %s", result:match "^%S+ (.*)$", result:match "^%S+")
  end
  for _, overload in ipairs(row.overloads or {}) do file("---@overload %s", overload) end
  if row.listens then annotate.own_overloads(file, class) end
  file("function %s%s%s(%s) end", variable, sign, row[1], table.concat(names, ", "))
end

-- A class without methods, unless it has some: those follow.
local function class(file, row)
  file ""
  say(file, row.words)
  file("---@class %s%s", row.name, row.base and ": " .. row.base or "")
  for _, one in ipairs(row.fields or {}) do field(file, table.unpack(one)) end
  if row.calls then file("---@overload %s", row.calls) end
  if not row.methods then return end
  local variable = row.name:match "(%w+)$"
  file("local %s = {}", variable)
  local sign = row.name:find "%.%u%w*$" and ":" or "."
  for _, one in ipairs(row.methods) do method(file, row, one, sign, variable) end
end

local function classes(file, rows)
  for _, row in ipairs(rows) do class(file, row) end
end

local function module(file, row)
  class(file, row)
  file ""
  file("return %s", row.name:match "(%w+)$")
end

-- ---- Words: codes, states, opcodes, intents ----------------------------------------------------

local function sorted_keys(map, kind)
  local keys = {}
  for key in pairs(map) do
    if type(key) == kind then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

local function write_opcodes(file)
  local names = sorted_keys(core.opcodes, "string")
  table.sort(names, function(a, b) return core.opcodes[a] < core.opcodes[b] end)
  local rows, fields = {}, { { "[integer]", "string", "The name of an opcode." } }
  for i, name in ipairs(names) do
    rows[i] = { name, tostring(core.opcodes[name]) }
    fields[#fields + 1] = { name, tostring(core.opcodes[name]) }
  end
  literals(file, "moongate.Opcode", "The name of an opcode.", rows)
  alias(file, { "moongate.Op", "moongate.Opcode|string|integer", "An opcode, or its name." })
  class(file, { name = "moongate.opcodes", words = "Opcodes by name, and names by opcode.",
    fields = fields })
end

local function write_close_codes(file)
  local fields = {}
  for i, code in ipairs(sorted_keys(core.close_codes, "number")) do
    local row = core.close_codes[code]
    fields[i] = { ("[%d]"):format(code), "moongate.CloseCode",
      ("%s: %s."):format(row.name, row.words) }
  end
  class(file, annotations.close_code)
  class(file, { name = "moongate.close_codes", words = "What close codes mean.", fields = fields })
end

local function write_intents(file)
  local rows, fields = {}, {}
  for i, row in ipairs(core.intents) do
    rows[i] = { row.name, row.privileged and "must be switched on in the Developer Portal" or nil }
  end
  for _, row in ipairs(annotations.intent_groups) do rows[#rows + 1] = row end
  for i, row in ipairs(rows) do
    fields[i] = { row[1], tostring(intents[row[1]]), row[2] and row[2]:gsub("^%l", string.upper)
      .. "." }
  end
  literals(file, "moongate.Intent", "The name of an intent.", rows, "string")
  alias(file, { "moongate.Intents", "(moongate.Intent|integer)[]|moongate.Intent|integer",
    "Names and numbers of intents." })
  return fields
end

local function words_file()
  local file = new_file "_"
  local fields = write_intents(file)
  local errors = table.move(annotations.errors, 1, #annotations.errors, 1, {})
  for name, words in pairs(core.errors) do errors[#errors + 1] = { name, words } end
  table.sort(errors, function(a, b) return a[1] < b[1] end)
  literals(file, "moongate.Error", "What went wrong, as a word for programs.", errors)
  local states = {}
  for i, state in ipairs(core.states) do states[i] = { state } end
  literals(file, "moongate.State", "How far a shard is.", states)
  write_opcodes(file)
  write_close_codes(file)
  for _, row in ipairs(annotations.aliases) do alias(file, row) end
  return file, fields
end

-- ---- Events ------------------------------------------------------------------------------------

--- "messageCreate" for "MESSAGE_CREATE".
function annotate.camel(name)
  return (name:lower():gsub("_(%w)", string.upper))
end

local function write_names(file)
  local dispatches, own, words = {}, {}, annotate.event_words()
  for _, name in ipairs(sorted_keys(events.dispatches, "string")) do
    local wanted = table.concat(events.dispatches[name], " or ")
    dispatches[#dispatches + 1] = { name, wanted == "" and "with any intents" or "with " .. wanted }
    dispatches[#dispatches + 1] = { annotate.camel(name), name }
  end
  for i, name in ipairs(sorted_keys(events.own, "string")) do
    own[i] = { name, words[name].shape or "a packet" }
  end
  literals(file, "moongate.Dispatch", "An event of Discord's; other styles of its name will do.",
    dispatches, "string")
  literals(file, "moongate.Own", "An event of moongate's own.", own)
  alias(file, { "moongate.Event", 'moongate.Dispatch|moongate.Own|"*"',
    'An event; "*" is every dispatch.' })
end

local function events_file()
  local file, words = new_file "_", annotate.event_words()
  write_names(file)
  for _, name in ipairs(sorted_keys(annotations.events, "string")) do
    local rest = words[name].rest
    class(file, { name = "moongate.data." .. name, fields = annotations.events[name],
      words = ("The data of `%s`%s."):format(name, rest ~= "" and ": " .. rest or "") })
    local shard = annotations.shardless[name] and "shard?" or "shard"
    alias(file, { "moongate.on." .. name, ("fun(data: moongate.data.%s, %s: moongate.Shard, "
      .. "event: string)"):format(name, shard) })
  end
  return file
end

--- A listener of one of moongate's own events is told what its data has.
function annotate.own_overloads(file, row)
  for _, name in ipairs(sorted_keys(annotations.events, "string")) do
    file('---@overload fun(self: %s, event: "%s", fn: moongate.on.%s): function', row.name, name,
      name)
  end
end

-- ---- Options -----------------------------------------------------------------------------------

local function quoted(value)
  return type(value) == "string" and ('"%s"'):format(value) or tostring(value)
end

local function type_of_option(row)
  if row.kind == "record" then return annotations.records[row.name].name end
  if row.kind ~= "one of" then
    local what = annotations.kinds[row.kind]
    if not what then error(("option %s: kind %s has no type"):format(row.name, row.kind), 0) end
    return row.off and what .. "|false" or what
  end
  local values = {}
  for i, value in ipairs(row.values) do values[i] = quoted(value) end
  return table.concat(values, "|")
end

local function sentence(words)
  words = words:gsub("^%l", string.upper)
  return words:find "[.!]$" and words or words .. "."
end

-- What a person is told: the words, the default, the unit, the variable.
local function describe_option(row, words)
  local parts = { words }
  if row.kind == "seconds" and not (words or ""):find "[Ss]econds" then
    parts[#parts + 1] = "In seconds."
  end
  if row.env then parts[#parts + 1] = ("Where it is left out: $%s."):format(row.env) end
  if row.default ~= nil and type(row.default) ~= "table" then
    local default = type(row.default) == "number" and ("%.14g"):format(row.default)
      or quoted(row.default)
    parts[#parts + 1] = ("Default: %s."):format(default)
  end
  return table.concat(parts, " ")
end

-- As fields of a class; `wanted(row)` says which are no option.
local function option_fields(rows, words, wanted)
  local fields = {}
  for i, row in ipairs(rows) do
    local what = type_of_option(row) .. (wanted(row) and "" or "?")
    fields[i] = { row.name, what, describe_option(row, words and words(row)) }
  end
  return fields
end

local function write_records(file, rows)
  for _, row in ipairs(rows) do
    local record = annotations.records[row.name]
    if record then
      local fields = option_fields(row.keys, nil, function(key)
        return (" " .. (record.needed or "") .. " "):find(" " .. key.name .. " ", 1, true)
      end)
      for _, one in ipairs(record.fields or {}) do fields[#fields + 1] = one end
      class(file, { name = record.name, words = record.words, fields = fields })
    end
  end
end

local function options_file()
  local file, rows, readme = new_file "_", options.list(), option_words()
  local function words(row)
    local text = annotations.words[row.name] or readme[row.name]
    return sentence(text or error(("option %s has no words"):format(row.name), 0))
  end
  -- The token may come from the environment.
  class(file, { name = "moongate.Options", words = "What client(), cluster() and shard() take.",
    fields = option_fields(rows, words, function(row) return row.needed and not row.env end) })
  write_records(file, rows)
  local packet = {}
  for i, name in ipairs(annotations.identify) do
    for _, row in ipairs(rows) do packet[i] = row.name == name and row or packet[i] end
  end
  class(file, { name = "moongate.Identify", words = "What identify() says in the place of options.",
    fields = option_fields(packet, words, function() return false end) })
  for _, row in ipairs(annotations.options) do
    local fields = {}
    for i, one in ipairs(row.fields) do
      fields[i] = { one[1], one[2], row.readme and sentence(readme[one[1]]) or one[3] }
    end
    class(file, { name = row.name, words = row.words, fields = fields })
  end
  return file
end

-- ---- Objects and modules -----------------------------------------------------------------------

local function client_file()
  local file = new_file "_"
  classes(file, { annotations.emitter, annotations.commands, annotations.cluster,
    annotations.shard, annotations.gateway, annotations.pollable })
  classes(file, annotations.records_given)
  return file
end

-- A row with more fields behind its own.
local function with_fields(row, more)
  local copy, fields = {}, {}
  for key, value in pairs(row) do copy[key] = value end
  for _, list in ipairs { row.fields or {}, more or {} } do
    table.move(list, 1, #list, #fields + 1, fields)
  end
  copy.fields = fields
  return copy
end

local function module_file(intent_fields)
  local file, event_fields = new_file "moongate", {}
  for i, name in ipairs(sorted_keys(events.dispatches, "string")) do
    event_fields[i] = { name, "string[]" }
  end
  local more = { ["moongate.intents"] = intent_fields, ["moongate.events"] = event_fields }
  classes(file, { annotations.store, annotations.claim, annotations.coordinator,
    annotations.snowflake })
  for _, row in ipairs(annotations.tables) do class(file, with_fields(row, more[row.name])) end
  module(file, annotations.module)
  return file
end

-- The kinds of the sandbox are those of the client, or the list of the values.
local function sandbox_fields()
  local rows = sandbox_options.list()
  for _, row in ipairs(rows) do
    if type(row.kind) == "table" then row.kind, row.values = "one of", row.kind end
  end
  return option_fields(rows, function(row) return row.words .. "." end, function() return false end)
end

local function target_fields()
  local fields = {}
  for i, name in ipairs(sorted_keys(sandbox_arguments.target_keys, "string")) do
    local what = sandboxed.targets[sandbox_arguments.target_keys[name][2]]
    fields[i] = { name, what .. "?", sandboxed.target_words[name] }
  end
  return fields
end

local function sandbox_file()
  local file = new_file "moongate.sandbox"
  class(file, { name = "moongate.sandbox.Options", words = "What sandbox.start() takes.",
    fields = sandbox_fields() })
  class(file, { name = "moongate.sandbox.Aim", words = "Which connections an order is for.",
    fields = target_fields() })
  for _, row in ipairs(sandboxed.aliases) do alias(file, row) end
  classes(file, sandboxed.records)
  class(file, sandboxed.sandbox)
  module(file, sandboxed.module)
  return file
end

local function busted_file()
  local file = new_file "moongate.sandbox.busted"
  alias(file, sandboxed.subject)
  class(file, sandboxed.login)
  classes(file, sandboxed.assertions)
  module(file, sandboxed.stage)
  return file
end

-- ---- All of it ---------------------------------------------------------------------------------

--- The files as they should be: name in lua/moongate/meta -> text.
function annotate.files()
  local words, intent_fields = words_file()
  local files = {
    ["words.lua"] = words, ["events.lua"] = events_file(), ["options.lua"] = options_file(),
    ["client.lua"] = client_file(), ["moongate.lua"] = module_file(intent_fields),
    ["sandbox.lua"] = sandbox_file(), ["busted.lua"] = busted_file(),
  }
  for name, lines in pairs(files) do files[name] = table.concat(lines, "\n") .. "\n" end
  return files
end

if arg and arg[0] and arg[0]:find "annotate%.lua$" then
  for name, text in pairs(annotate.files()) do
    local file = assert(io.open("lua/moongate/meta/" .. name, "wb"))
    file:write(text)
    file:close()
  end
end

return annotate

-- mutate.lua: takes out what the rows of mutants.lua name, one by one, and runs the tests that must
-- fail then; for `make mutants` and its spec. As a program: `mutate.lua BUILD [WORDS]`, with the
-- compiler and its flags in MUTANT_CC; WORDS take only the rows whose text has them.
--
-- C is compiled beside the objects that `make` has in BUILD/objects: one file for each row. What is
-- made for a row lies in BUILD/mutant, where Lua looks first.

local mutate = {}

local LIBRARIES = "-lwebsockets -lssl -lcrypto -lz -lzstd -lpthread"
local PATIENCE_S = 120 -- of one run; one that takes longer has shown nothing

-- ---- Texts -------------------------------------------------------------------------------------

--- `text` with the one place of `from` replaced. Nil and why: there is none, or more than one.
function mutate.edit(text, from, to)
  local first, last = text:find(from, 1, true)
  if not first then return nil, "is not there" end
  if text:find(from, last + 1, true) then return nil, "is there more than once" end
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

--- A pattern for busted's filter that finds `title` to the letter, but for quotes, at which the
-- shell would end it.
function mutate.filter(title)
  return (title:gsub("[^%w ]", "%%%0"):gsub("%%'", "."))
end

--- What a run says, from the lines of tally.lua: how many tests of this title passed and failed,
-- and what went wrong outside of tests.
function mutate.read(lines)
  local found = { passed = 0, failed = 0, faults = {} }
  local ended
  for line in lines do
    local status, title, more = line:match "^(%l+)\t?([^\t]*)\t?(.*)$"
    if status == "success" then
      found.passed = found.passed + 1
    elseif status == "end" then
      ended = true
    elseif (status == "error" or status == "failure") and more == "" then
      found.failed = found.failed + 1
    elseif status == "error" then
      found.faults[#found.faults + 1] = title .. ": " .. more
    end
  end
  if not ended then found.faults[#found.faults + 1] = "it did not come to its end" end
  return found
end

--- What a run with the mutant means: "killed", or what else it is. A run that broke shows nothing.
function mutate.judge(found)
  if found.faults[1] then return "BROKEN: " .. found.faults[1] end
  if found.failed > 0 then return "killed" end
  return found.passed > 0 and "SURVIVED" or "BROKEN: no test has that title"
end

-- ---- Building ----------------------------------------------------------------------------------

local function read(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(name, text)
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
end

local function run(...)
  local command = string.format(...)
  if not os.execute(command) then error("does not build: " .. command, 0) end
end

-- The objects of a module: those that were built, and `name` from the mutant. `what` is a pattern.
local function objects(build, what, name)
  local list = {}
  local pipe = assert(io.popen(("ls %s/objects"):format(build)))
  for object in pipe:lines() do
    local own = object == name and "mutant" or "objects"
    if what(object) then list[#list + 1] = ("%s/%s/%s"):format(build, own, object) end
  end
  pipe:close()
  return table.concat(list, " ")
end

local foreign = {
  tls = true, ticket = true, transport = true, seat = true, command = true, loop = true,
  crew = true, engine = true,
}

local function is_of_core(object) return not object:find "^unit" end

local function is_of_units(object)
  local noun = object:match "^(.*)%.o$"
  return not noun:find "^lua_" and not foreign[noun]
end

-- Both modules, with `name` (may be nil) from the mutant.
local function link(build, cc, name)
  run("%s -shared -o %s/mutant/moongate/core.so %s %s", cc, build,
    objects(build, is_of_core, name), LIBRARIES)
  run("%s -shared -o %s/mutant/moongate_unit.so %s -lz -lzstd -lcrypto", cc, build,
    objects(build, is_of_units, name))
end

local function clear(build)
  run("rm -rf '%s/mutant' && mkdir -p '%s/mutant/moongate'", build, build)
end

local function make(build, cc, row)
  local text, why = mutate.edit(read(row.file), row.from, row.to)
  if not text then error("its piece " .. why, 0) end
  clear(build)
  local name = row.file:match "([^/]+)$"
  if name:find "%.lua$" then
    write(("%s/mutant/moongate/%s"):format(build, name), text)
    return
  end
  local source, object = ("%s/mutant/%s"):format(build, name), name:gsub("%.c$", ".o")
  write(source, text)
  run("%s -w -c -o %s/mutant/%s %s", cc, build, object, source)
  link(build, cc, object)
end

-- ---- Running -----------------------------------------------------------------------------------

local function test(build, row)
  local mutant = build .. "/mutant"
  local paths = ("LUA_PATH_5_4='%s/?.lua;%s' LUA_CPATH_5_4='%s/?.so;%s'"):format(mutant,
    os.getenv "LUA_PATH_5_4", mutant, os.getenv "LUA_CPATH_5_4")
  local pipe = assert(io.popen(("%s MOONGATE_PATIENCE=8 timeout %d lua5.4 $(command -v busted) "
    .. "--ignore-lua --output=tally --filter='%s' spec/%s_spec.lua 2>/dev/null"):format(paths,
    PATIENCE_S, mutate.filter(row.title), row.spec)))
  local found = mutate.read(pipe:lines())
  pipe:close()
  return found
end

local function title_of(row)
  return ("%-4s %-22s %s"):format(row.rule, row.file, row.title)
end

-- What the rows name passes as things are. Returns whether it does.
local function try_whole(build, cc, rows)
  local tried, fine = {}, true
  clear(build)
  link(build, cc)
  for _, row in ipairs(rows) do
    local key = row.spec .. "/" .. row.title
    local found = not tried[key] and test(build, row)
    tried[key] = true
    if found and (mutate.judge(found) ~= "SURVIVED") then
      fine = false
      print(("unmutated: %-9s %s"):format(mutate.judge(found), title_of(row)))
    end
  end
  return fine
end

local function try(build, cc, row)
  local made, why = pcall(make, build, cc, row)
  if not made then return "BROKEN: " .. why end
  return mutate.judge(test(build, row))
end

local function choose(rows, words)
  local chosen = {}
  for _, row in ipairs(rows) do
    if title_of(row):find(words, 1, true) then chosen[#chosen + 1] = row end
  end
  return chosen
end

local function main(build, words)
  local rows, killed = choose(dofile "spec/mutants.lua", words or ""), 0
  local cc = assert(os.getenv "MUTANT_CC")
  if not try_whole(build, cc, rows) then return false end
  for _, row in ipairs(rows) do
    local verdict = try(build, cc, row)
    if verdict == "killed" then killed = killed + 1 end
    print(("%-9s %s"):format(verdict, title_of(row)))
  end
  print(("%d mutants, %d killed"):format(#rows, killed))
  return killed == #rows
end

if arg and arg[0] and arg[0]:match "mutate%.lua$" then os.exit(main(arg[1], arg[2]), true) end

return mutate

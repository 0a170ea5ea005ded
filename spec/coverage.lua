-- coverage.lua: which lines and branches of src/ were run, by what gcov counted; for `make
-- coverage` and its spec. As a program: `coverage.lua BUILD [FILE]` prints a table of all files and
-- fails where the rules of spec/uncovered.lua are broken; with FILE it shows that file's gaps.
-- `coverage.lua sources MODULE` prints what the rockspec builds a module of.

local coverage = {}

-- ---- What gcov says ---------------------------------------------------------------------------

-- The counts of one line. A file is compiled several times (the module, the pieces for specs, the
-- simulator); a branch that was taken in one of them was taken.
local function merge_line(known, line)
  if not known then
    known = { count = 0, branches = {}, name = line.function_name }
  end
  known.count = known.count + line.count
  for at, branch in ipairs(line.branches or {}) do
    known.branches[at] = (known.branches[at] or 0) + branch.count
  end
  return known
end

--- Adds a report of gcov (decoded JSON) to `files`: name -> line number -> { count =, branches =,
--- name = the function's }. Only what lies in src/ counts.
function coverage.merge(files, report)
  for _, file in ipairs(report.files) do
    local name = file.file:match "src/[%w_]+%.[ch]$"
    if name then
      local lines = files[name] or {}
      files[name] = lines
      for _, line in ipairs(file.lines) do
        local number = math.tointeger(line.line_number)
        lines[number] = merge_line(lines[number], line)
      end
    end
  end
  return files
end

-- Runs gcov on every count that the processes left behind.
local function gather(build)
  local cjson = require "cjson"
  local files = {}
  local find = ("find %s -name '*.gcda' -print0"):format(build)
  local pipe = assert(io.popen(find .. " | xargs -0 gcov -j -t -b 2>/dev/null"))
  for line in pipe:lines() do
    if line:sub(1, 1) == "{" then coverage.merge(files, cjson.decode(line)) end
  end
  pipe:close()
  return files
end

-- ---- Judging ----------------------------------------------------------------------------------

--- The sums of one file's lines: lines, lines_run, branches, branches_taken, and its gaps: a list
--- of { line =, name = the function's, missed = branches never taken; nil where it never ran }.
function coverage.sum(lines)
  local sum = { lines = 0, lines_run = 0, branches = 0, branches_taken = 0, gaps = {} }
  for number, line in pairs(lines) do
    local missed = 0
    for _, count in ipairs(line.branches) do
      if count > 0 then sum.branches_taken = sum.branches_taken + 1 else missed = missed + 1 end
    end
    sum.branches = sum.branches + #line.branches
    sum.lines = sum.lines + 1
    if line.count > 0 then sum.lines_run = sum.lines_run + 1 end
    if line.count == 0 or missed > 0 then
      sum.gaps[#sum.gaps + 1] = { line = number, name = line.name,
        missed = line.count > 0 and missed or nil }
    end
  end
  table.sort(sum.gaps, function(one, other) return one.line < other.line end)
  return sum
end

--- The row of `excused` that names this gap, or nil. `text` is the source line.
function coverage.excuse(excused, file, gap, text)
  for _, row in ipairs(excused) do
    if row.file == file and (not row.name or row.name == gap.name)
      and (not row.line or text:find(row.line, 1, true)) then
      return row
    end
  end
end

--- Complaints about one file: gaps that nobody excused, and too few branches.
function coverage.judge(rules, file, sum, source)
  local bad = {}
  for _, gap in ipairs(sum.gaps) do
    local text = source[gap.line] or ""
    if not coverage.excuse(rules.excused, file, gap, text) then
      bad[#bad + 1] = ("%s:%d: %s: %s: %s"):format(file, gap.line, gap.name or "?",
        gap.missed and gap.missed .. " branches never taken" or "never run", text:match "^%s*(.*)$")
    end
  end
  local percent = sum.branches == 0 and 100 or 100 * sum.branches_taken / sum.branches
  if percent < rules.branches_percent_min then
    bad[#bad + 1] = ("%s: %.1f %% of the branches, %d %% wanted"):format(file, percent,
      rules.branches_percent_min)
  end
  return bad
end

--- Complaints about rows that excuse nothing that exists: `sources` is file -> list of lines.
function coverage.stale(excused, sources)
  local bad = {}
  for _, row in ipairs(excused) do
    local found = false
    for _, text in ipairs(sources[row.file] or {}) do
      found = found or text:find(row.line or row.name, 1, true) ~= nil
    end
    if not found then
      bad[#bad + 1] = ("%s: '%s' is excused, but not there"):format(row.file, row.line or row.name)
    end
  end
  return bad
end

-- ---- As a program -----------------------------------------------------------------------------

local function read_lines(name)
  local lines = {}
  for line in io.lines(name) do lines[#lines + 1] = line end
  return lines
end

local function print_sources(module)
  local rockspec = {}
  assert(loadfile("moongate-scm-1.rockspec", "t", rockspec))()
  local built = rockspec.build.modules[module]
  local flags = {}
  for _, library in ipairs(built.libraries) do flags[#flags + 1] = "-l" .. library end
  print(table.concat(built.sources, " ") .. " " .. table.concat(flags, " "))
end

local function percent(part, whole)
  return whole == 0 and "    -" or ("%5.1f"):format(100 * part / whole)
end

local function print_row(name, sum)
  print(("%-28s %6d %s %%  %6d %s %%"):format(name, sum.lines, percent(sum.lines_run, sum.lines),
    sum.branches, percent(sum.branches_taken, sum.branches)))
end

local function print_table(sums)
  local names, all = {}, { lines = 0, lines_run = 0, branches = 0, branches_taken = 0 }
  for name in pairs(sums) do names[#names + 1] = name end
  table.sort(names)
  print(("%-28s %6s %7s  %6s %7s"):format("file", "lines", "run", "branch", "taken"))
  for _, name in ipairs(names) do
    print_row(name, sums[name])
    for key, value in pairs(all) do all[key] = value + sums[name][key] end
  end
  print_row("all", all)
end

local function print_gaps(sum, source)
  for _, gap in ipairs(sum.gaps) do
    print(("%5d %-24s %-9s %s"):format(gap.line, gap.name or "",
      gap.missed and gap.missed .. " missed" or "never run", source[gap.line] or ""))
  end
end

local function main(build, shown)
  local rules = dofile "spec/uncovered.lua"
  local files, sums, bad, sources = gather(build), {}, {}, {}
  for name, lines in pairs(files) do sums[name] = coverage.sum(lines) end
  if not next(sums) then error("nothing was counted in " .. build, 0) end
  if shown then
    print_gaps(assert(sums[shown], "no counts of " .. shown), read_lines(shown))
    return true
  end
  print_table(sums)
  for _, name in ipairs(rules.strict) do
    sources[name] = read_lines(name)
    local sum = assert(sums[name], "no counts of " .. name)
    table.move(coverage.judge(rules, name, sum, sources[name]), 1, 1000, #bad + 1, bad)
  end
  for _, row in ipairs(rules.excused) do
    sources[row.file] = sources[row.file] or read_lines(row.file)
  end
  table.move(coverage.stale(rules.excused, sources), 1, 1000, #bad + 1, bad)
  for _, complaint in ipairs(bad) do print(complaint) end
  return #bad == 0
end

if arg and arg[0] and arg[0]:match "coverage%.lua$" then
  if arg[1] == "sources" then
    print_sources(arg[2])
  else
    os.exit(main(arg[1], arg[2]), true)
  end
end

return coverage

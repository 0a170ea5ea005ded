-- mutants_spec.lua: the rows of mutants.lua stand for what is there, and the program that tries
-- them judges as it should.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local root = here .. "/.."
local mutate = dofile(here .. "/mutate.lua")
local rows = dofile(here .. "/mutants.lua")
local rules = dofile(here .. "/failures.lua").rules

local function read(name)
  local file = assert(io.open(root .. "/" .. name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function lines(list)
  local at = 0
  return function()
    at = at + 1
    return list[at]
  end
end

describe("mutants", function()
  it("each has its place, once, in a file that can be built anew alone", function()
    for _, row in ipairs(rows) do
      local words = row.file .. ": " .. row.from
      local changed, why = mutate.edit(read(row.file), row.from, row.to)
      assert(changed, words .. " " .. tostring(why))
      assert(row.from ~= row.to, words .. " stays as it is")
      assert(row.file:match "^src/[%w_]+%.c$" or row.file:match "^lua/moongate/[%w_]+%.lua$", words)
      assert(not row.file:match "sandbox", words)
    end
  end)

  it("each has a rule, and a test with words of its title", function()
    for _, row in ipairs(rows) do
      local number = tonumber(row.rule:match "^R(%d+)$")
      assert(rules[number], "there is no " .. row.rule)
      local text = read("spec/" .. row.spec .. "_spec.lua")
      assert(#row.title > 8, row.file .. ": no title")
      -- Titles may be put together from pieces; the run itself finds out.
      local first = row.title:match "^%S+ %S+"
      assert(text:find(first, 1, true), row.spec .. "_spec.lua has no test " .. row.title)
    end
  end)

  it("reach every layer, and forty rules", function()
    local seen, files, count = {}, {}, 0
    for _, row in ipairs(rows) do
      if not seen[row.rule] then count = count + 1 end
      seen[row.rule], files[row.file:match "([^/]+)$"] = true, true
    end
    assert(count >= 40, count .. " rules")
    for _, name in ipairs { "heart.c", "session.c", "connection.c", "budget.c", "quota.c", "pace.c",
      "door.c", "window.c", "inflate.c", "json.c", "etf.c", "shard.c", "frame.c", "codes.c",
      "queue.c", "letter.c", "seat.c", "loop.c", "sessions.lua", "quota.lua", "emitter.lua" } do
      assert(files[name], "none in " .. name)
    end
  end)
end)

describe("the program that tries mutants", function()
  it("changes one place, and refuses none or two", function()
    assert.equal("a-c", mutate.edit("abc", "b", "-"))
    assert.equal("a%1c", mutate.edit("a.c", ".", "%1"))
    assert.same({ nil, "is not there" }, { mutate.edit("abc", "x", "-") })
    assert.same({ nil, "is there more than once" }, { mutate.edit("abcb", "b", "-") })
  end)

  it("finds a title to the letter", function()
    local title = "R8 base x 2^n (50 %): it's [one]-of \"many\", R10"
    assert.truthy(("before " .. title .. " behind"):find(mutate.filter(title)))
    assert.is_nil(("R8 base x 2n (50 %): it's [one]-of"):find(mutate.filter(title)))
    assert.is_nil(mutate.filter("it's"):find("'", 1, true)) -- the shell would end there
  end)

  it("takes for killed only what a test found, in a run that came to its end", function()
    local samples = {
      { "killed", "failure\ta title", "why\twords", "end" },
      { "killed", "success\tone", "error\tanother", "why\twords", "end" },
      { "SURVIVED", "success\tone", "success\tanother", "end" },
      { "BROKEN: no test has that title", "end" },
      { "BROKEN: it did not come to its end", "failure\ta title", "why\twords" },
      { "BROKEN: a_spec.lua: no file", "error\ta_spec.lua\tno file", "end" },
    }
    for _, sample in ipairs(samples) do
      local found = mutate.read(lines { table.unpack(sample, 2) })
      assert.equal(sample[1], mutate.judge(found), table.concat(sample, " | "))
    end
  end)
end)

-- census.c: dispatches by name, heard and skipped.
local core = require "moongate.core"
local unit = require "moongate_unit"

-- name -> { heard, skipped }
local function read_all(census)
  local all, at = {}, 0
  while true do
    local name, heard, skipped = census:read(at)
    if not name then return all, at end
    assert.is_nil(all[name], "each name once")
    all[name] = { heard, skipped }
    at = at + 1
  end
end

describe("census", function()
  it("counts each name by itself, heard and skipped apart", function()
    local census = unit.census()
    assert.is_nil(census:read(0))
    for i = 1, 9 do census:count("TYPING_START", i % 3 == 0) end
    census:count("TYPING", true)
    census:count("TYPING_START_", false)
    assert.same({ TYPING_START = { 3, 6 }, TYPING = { 1, 0 }, TYPING_START_ = { 0, 1 } },
      (read_all(census)))
  end)

  it("has room for so many names, and counts the others together", function()
    local census, most = unit.census(), core.limits.CENSUS_NAMES_MAX
    for i = 1, most + 300 do census:count("NAME_" .. i, i % 2 == 0) end
    for i = 1, most + 300 do census:count("NAME_" .. i, true) end
    local all, rows = read_all(census)
    assert.equal(most, rows)
    assert.same({ 1, 1 }, all.NAME_1)
    assert.same({ 2, 0 }, all["NAME_" .. most - 2])
    assert.is_nil(all["NAME_" .. most + 300])
    local sum = 0
    for _, counts in pairs(all) do sum = sum + counts[1] + counts[2] end
    assert.equal(2 * (most + 300), sum)
  end)

  it("takes any name: none, one as long as it may be, one that is longer", function()
    local census, long = unit.census(), ("X"):rep(core.limits.NAME_BYTES_MAX)
    for _, name in ipairs { "", long, long .. "Y", long .. "Y" } do census:count(name, true) end
    for _ = 1, 2 do census:count(nil, true) end
    assert.same({ [""] = { 5, 0 }, [long] = { 1, 0 } }, (read_all(census)))
  end)
end)

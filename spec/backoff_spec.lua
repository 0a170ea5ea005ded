-- backoff.c: the ladders. How they are used is in session_spec.lua.
local backoff = require("moongate_unit").backoff

describe("backoff", function()
  it("the same seed gives the same waits, another seed others", function()
    local function waits(seed)
      local b, list = backoff(1000, 60000, seed), {}
      for i = 1, 20 do list[i] = b:connect() end
      return list
    end
    assert.same(waits(1), waits(1))
    assert.not_same(waits(1), waits(2))
  end)

  it("random numbers lie in [0, 1) and fill it", function()
    local b, sum = backoff(0, 0, 0), 0
    for _ = 1, 10000 do
      local r = b:random()
      assert.is_true(r >= 0 and r < 1)
      sum = sum + r
    end
    assert.is_true(math.abs(sum / 10000 - 0.5) < 0.02)
  end)

  it("R16 doubles below the cap and stays there, also after a thousand attempts", function()
    local high = {}
    for seed = 1, 300 do
      local b = backoff(1000, 60000, seed)
      for i = 1, 12 do high[i] = math.max(high[i] or 0, b:connect()) end
    end
    for i, limit in ipairs { 250, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 } do
      assert.is_true(high[i] < limit and high[i] > limit * 0.9, i)
    end
    local b = backoff(1000, 60000, 1)
    for _ = 1, 1000 do assert.is_true(b:connect() < 60000) end
  end)

  it("base 0 and cap 0 mean at once", function()
    local b = backoff(0, 0, 1)
    for _ = 1, 10 do assert.equal(0, b:connect()) end
  end)

  it("negative values mean the defaults; a cap below the base holds", function()
    local default, cap = backoff(-1, -1, 1), backoff(1000, 100, 1)
    local high = 0
    for _ = 1, 50 do
      high = math.max(high, default:connect())
      assert.is_true(cap:connect() < 100)
    end
    assert.is_true(high > 10000 and high < 60000)
  end)

  it("R35 the identify ladder goes from five seconds to ten minutes", function()
    local high = {}
    for seed = 1, 300 do
      local b = backoff(0, 0, seed)
      for i = 1, 10 do high[i] = math.max(high[i] or 0, b:identify()) end
    end
    for i, limit in ipairs { 5000, 10000, 20000, 40000, 80000, 160000, 320000, 600000, 600000 } do
      assert.is_true(high[i] < limit and high[i] > limit * 0.9, i)
    end
  end)

  it("reset begins both ladders anew", function()
    local b = backoff(1000, 60000, 1)
    for _ = 1, 20 do b:connect() b:identify() end
    b:reset()
    assert.is_true(b:connect() < 250)
    assert.is_true(b:identify() < 5000)
  end)

  it("R26 an invalid session waits one to five seconds", function()
    local b, low, high = backoff(0, 0, 1), math.huge, 0
    for _ = 1, 1000 do
      local wait = b:invalid()
      low, high = math.min(low, wait), math.max(high, wait)
    end
    assert.is_true(low >= 1000 and low < 1100 and high < 5000 and high > 4900)
  end)
end)

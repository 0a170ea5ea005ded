-- coordinator.lua: turns to identify, shared by the processes of one machine, with file.c and
-- lua_store.c beneath it.
local coordinator = require "moongate.coordinator"
local core = require "moongate.core"

local WINDOW_S = core.limits.IDENTIFY_WINDOW_MS / 1000

describe("coordinator.file", function()
  local path, now, epoch, real_now, real_time

  before_each(function()
    path = os.tmpname()
    now, epoch, real_now, real_time = 1000, 1786000000, core.now, os.time
    core.now = function() return now end
    os.time = function() return epoch end -- luacheck: ignore 122
  end)

  after_each(function()
    core.now, os.time = real_now, real_time -- luacheck: ignore 122
    os.execute(("rm -f '%s' '%s'-*"):format(path, path))
  end)

  local function claim(key, limit)
    local made = { token = "0123456789abcdef", key = key or 0, shard_id = key or 0 }
    for name, value in pairs(limit or {}) do made[name] = value end
    return made
  end

  -- A process of its own that takes the turn of key 0 and keeps it. Returns its number.
  local function foreign_holder()
    local program = os.tmpname()
    local file = assert(io.open(program, "w"))
    file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
      os.getenv "MOONGATE_CPATH" or package.cpath), ([[
      local c = require("moongate.coordinator").file(%q)
      assert(c:acquire { token = "0123456789abcdef", key = 0, shard_id = 0, shard_count = 16 })
      io.stdout:write "held\n"
      io.stdout:flush()
      require("moongate.core").poll({}, 60)]]):format(path))
    file:close()
    local pipe = assert(io.popen(("echo $$; exec lua5.4 %s"):format(program)))
    local pid = pipe:read "n"
    assert.equal("held", pipe:read "l" and pipe:read "l")
    os.remove(program)
    return math.tointeger(pid), pipe
  end

  it("R39 gives a turn to one at a time", function()
    local ours, theirs = coordinator.file(path), coordinator.file(path)
    assert.is_true(ours:acquire(claim()))
    assert.is_false(theirs:acquire(claim()))
    assert.near(0.25, theirs:deadline(claim()), 0.01)
    assert.is_true(theirs:acquire(claim(1)))
    assert.is_true(ours:release(claim()))
    assert.is_true(theirs:acquire(claim()))
  end)

  it("counts the window from the Identify, not from the release", function()
    local ours, theirs = coordinator.file(path), coordinator.file(path)
    assert.is_true(ours:acquire(claim()))
    now = now + 30
    assert.is_true(ours:release(claim(), 3))
    assert.is_false(theirs:acquire(claim()))
    assert.near(WINDOW_S - 3, theirs:deadline(claim()), 0.01)
    now = now + WINDOW_S - 3
    assert.equal(0, theirs:deadline(claim()))
    assert.is_true(theirs:acquire(claim()))
  end)

  it("a turn without an Identify leaves no window", function()
    local ours, theirs = coordinator.file(path), coordinator.file(path)
    assert.is_true(ours:acquire(claim()))
    ours:release(claim())
    assert.is_true(theirs:acquire(claim()))
  end)

  it("R39 a holder that was killed gives its turn back, and its window is waited for", function()
    local pid, pipe = foreign_holder()
    local ours = coordinator.file(path)
    assert.is_false(ours:acquire(claim()))
    assert.is_true(os.execute(("kill -9 %d"):format(pid)))
    local tries, mine = 0
    repeat
      mine, tries = ours:acquire(claim()), tries + 1
    until ours:deadline(claim()) > 1 or tries > 1e6
    assert.is_false(mine)
    assert.near(WINDOW_S, ours:deadline(claim()), 0.01)
    now = now + WINDOW_S
    assert.is_true(ours:acquire(claim()))
    pipe:close()
  end)

  it("a time from before the machine started anew keeps nobody waiting", function()
    local ours, theirs = coordinator.file(path), coordinator.file(path)
    ours:acquire(claim())
    ours:release(claim(), 0)
    now = 3
    assert.is_true(theirs:acquire(claim()))
  end)

  -- How many of these identifies find a place; each needs a window of its own.
  local function spend(process, keys, limit)
    local started = 0
    for key = 0, keys - 1 do
      now = now + WINDOW_S
      if process:acquire(claim(key, limit)) then
        started = started + 1
        process:release(claim(key, limit), 0)
      end
    end
    return started
  end

  it("R39 fifteen starts left, three processes of ten: fifteen", function()
    local limit, started = { total = 1000, used = 985, reserve = 0 }, 0
    for _ = 1, 3 do started = started + spend(coordinator.file(path), 10, limit) end
    assert.equal(15, started)
  end)

  it("does not count twice what a process knows of its own", function()
    local one, other = coordinator.file(path), coordinator.file(path)
    assert.equal(4, spend(one, 4, { total = 10, used = 2, reserve = 0 }))
    assert.equal(4, spend(other, 9, { total = 10, used = 6, reserve = 0 }))
  end)

  it("forgets what is a day old, and says when", function()
    local process, limit = coordinator.file(path), { total = 2, used = 0, reserve = 0 }
    assert.equal(1, spend(process, 1, limit))
    now, epoch = now + 3600, epoch + 3600
    assert.equal(1, spend(process, 2, limit))
    assert.is_false(process:acquire(claim(0, limit)))
    assert.near(86400 - 3600, process:deadline(claim(0)), 1)
    now, epoch = now + 86400 - 3600, epoch + 86400 - 3600
    assert.is_true(process:acquire(claim(0, limit)))
    process:release(claim(0, limit), 0)
    assert.is_false(process:acquire(claim(1, limit)))
  end)

  it("keeps the reserve", function()
    assert.equal(1, spend(coordinator.file(path), 5, { total = 100, used = 89, reserve = 10 }))
  end)

  it("takes broken files for empty ones", function()
    for _, name in ipairs { "0", "count" } do
      local file = assert(io.open(path .. "-0123456789abcdef-" .. name, "w"))
      file:write "{\"free_at\": [], \"remaining\": \"x\""
      file:close()
    end
    assert.is_true(coordinator.file(path):acquire(claim()))
  end)

  it("says why it does not work", function()
    local mine, message, code = coordinator.file("/nowhere/at/all"):acquire(claim())
    assert.is_nil(mine)
    assert.matches("/nowhere/at/all.*No such file", message)
    assert.equal("ESYSTEM", code)
    assert.has_error(function() coordinator.file(7) end,
      "coordinator.file: path must be the beginning of a file's name, got number")
    assert.matches("^Coordinator in ", tostring(coordinator.file()))
  end)
end)

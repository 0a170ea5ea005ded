-- pace.c: limits of single commands, as a pure table of what still counts.
local unit = require "moongate_unit"

local PRESENCE, VOICE, MEMBERS = 3, 4, 8
local WINDOW, GUILD_WINDOW = 20500, 30500

-- When a command may leave, and that it does.
local function leave(p, now, ...)
  local when = p:when(now, ...)
  if when <= now then p:spend(now, ...) end
  return when
end

describe("pace", function()
  it("lets five presences leave at once, and each later one as a place gets free", function()
    local p = unit.pace()
    for i = 1, 5 do assert.equal(i * 100, leave(p, i * 100, PRESENCE)) end
    for i = 1, 5 do
      assert.equal(i * 100 + WINDOW, leave(p, 600, PRESENCE))
      assert.equal(i * 100 + WINDOW, leave(p, i * 100 + WINDOW, PRESENCE))
      assert.is_true(p:when(i * 100 + WINDOW, PRESENCE) > i * 100 + WINDOW)
    end
  end)

  it("never lets more than five presences leave in any 20 s, whatever comes", function()
    math.randomseed(21)
    local p, times, now = unit.pace(), {}, 0
    for _ = 1, 20000 do
      now = now + math.random(0, 3000)
      if leave(p, now, PRESENCE) <= now then times[#times + 1] = now end
    end
    assert.is_true(#times > 5000)
    for i = 1, #times - 5 do assert.is_true(times[i + 5] - times[i] >= 20000) end
  end)

  it("lets one request for all members leave in 30 s, each guild for itself", function()
    local p = unit.pace()
    assert.equal(0, leave(p, 0, MEMBERS, 7, true))
    assert.equal(GUILD_WINDOW, leave(p, 1, MEMBERS, 7, true))
    assert.equal(1, leave(p, 1, MEMBERS, 8, true))
    assert.equal(GUILD_WINDOW, leave(p, GUILD_WINDOW, MEMBERS, 7, true))
    assert.equal(2 * GUILD_WINDOW, p:when(GUILD_WINDOW, MEMBERS, 7, true))
  end)

  it("holds nothing else", function()
    local p = unit.pace()
    leave(p, 0, MEMBERS, 7, true)
    for _ = 1, 200 do
      assert.equal(0, leave(p, 0, MEMBERS, 7, false))
      assert.equal(0, leave(p, 0, VOICE, 7))
      assert.equal(0, leave(p, 0, -1))
    end
    assert.equal(1, p:count())
  end)

  it("a new connection begins without presences, but guilds are remembered", function()
    local p = unit.pace()
    for _ = 1, 5 do leave(p, 0, PRESENCE) end
    leave(p, 0, MEMBERS, 7, true)
    p:obey(0, PRESENCE, 0, 9000)
    p:obey(0, MEMBERS, 8, 9000)
    p:renew()
    for _ = 1, 5 do assert.equal(10, leave(p, 10, PRESENCE)) end
    assert.equal(10 + WINDOW, p:when(10, PRESENCE))
    assert.equal(GUILD_WINDOW, p:when(10, MEMBERS, 7, true))
    assert.equal(9000, p:when(10, MEMBERS, 8, false))
    p:obey(10, VOICE, 0, 7000) -- of a command that has no limit but this
    p:renew()
    assert.equal(7010, p:when(20, VOICE, 1))
  end)

  it("obeys RATE_LIMITED: its opcode, its guild, or every guild", function()
    local p = unit.pace()
    p:obey(0, MEMBERS, 7, 5000)
    assert.equal(5000, p:when(0, MEMBERS, 7, true))
    assert.equal(5000, p:when(0, MEMBERS, 7, false))
    assert.equal(0, p:when(0, MEMBERS, 8, true))
    assert.equal(0, p:when(0, VOICE, 7))
    p:obey(0, VOICE, 0, 2000)
    for guild = 0, 3 do assert.equal(2000, p:when(0, VOICE, guild)) end
    assert.equal(5000, p:when(5000, MEMBERS, 7, true))
    assert.equal(0, p:count())
  end)

  it("the longest of several for the same stands, and none lasts over five minutes", function()
    local p = unit.pace()
    p:obey(0, MEMBERS, 7, 5000)
    p:obey(0, MEMBERS, 7, 9000)
    p:obey(0, MEMBERS, 7, 3000)
    assert.equal(1, p:count())
    assert.equal(9000, p:when(0, MEMBERS, 7))
    p:obey(0, VOICE, 0, math.maxinteger)
    assert.equal(300000, p:when(0, VOICE))
  end)

  it("its memory is bounded: what would count waits for the first to end", function()
    local p = unit.pace()
    for guild = 1, 128 do assert.equal(guild, leave(p, guild, MEMBERS, guild, true)) end
    assert.equal(128, p:count())
    assert.equal(1 + GUILD_WINDOW, leave(p, 200, MEMBERS, 999, true))
    assert.equal(1 + GUILD_WINDOW, leave(p, 200, PRESENCE))
    assert.equal(200, leave(p, 200, MEMBERS, 999, false))
    assert.equal(1 + GUILD_WINDOW, leave(p, 1 + GUILD_WINDOW, MEMBERS, 999, true))
    assert.equal(128, p:count())
  end)

  it("a RATE_LIMITED finds room: the first to end makes way", function()
    local p = unit.pace()
    for guild = 1, 128 do leave(p, guild, MEMBERS, guild, true) end
    p:obey(200, VOICE, 0, 60000)
    assert.equal(128, p:count())
    assert.equal(60200, p:when(200, VOICE))
    assert.equal(3 + GUILD_WINDOW, p:when(2 + GUILD_WINDOW, MEMBERS, 3, true))
  end)

  it("the first to end is not always the oldest", function()
    local p = unit.pace()
    for guild = 1, 127 do leave(p, 0, MEMBERS, guild, true) end
    p:obey(0, MEMBERS, 500, 4000)
    assert.equal(4000, p:when(1, PRESENCE))
    p:obey(1, VOICE, 0, 60000)
    assert.equal(1, p:when(1, MEMBERS, 500, false))
    for guild = 1, 127 do assert.equal(GUILD_WINDOW, p:when(1, MEMBERS, guild, true)) end
  end)
end)

-- soak_spec.lua: ten thousand connects and drops of one session over real sockets. Every message
-- arrives once and in order, memory and open descriptors stay where they were.

local witness = require "witness"

local CYCLES = tonumber(os.getenv("MOONGATE_SOAK")) or 10000
local WARM = CYCLES // 5 -- cycles until everything has grown to its size
-- Bytes; a leak of 64 bytes in each connection would be more.
local RSS_GROWTH_MAX = tonumber(os.getenv("MOONGATE_GROWTH")) or 512 * 1024
local PAGE = 4096

-- Resident bytes of this process; nil where /proc is not there, and under a sanitizer, which keeps
-- freed memory and has its own eye for leaks.
local function resident()
  if (os.getenv("LD_PRELOAD") or ""):find("san", 1, true) then return nil end
  local file = io.open("/proc/self/statm")
  if not file then return nil end
  local pages = file:read("a"):match("^%d+ (%d+)")
  file:close()
  return tonumber(pages) * PAGE
end

local function measure()
  local descriptors = witness.descriptors()
  collectgarbage()
  collectgarbage()
  return { resident = resident(), descriptors = descriptors, lua = collectgarbage "count" }
end

describe("a long life #sockets", function()
  it("R65 R67 R22 R32 survives ten thousand drops with nothing lost and nothing grown", function()
    -- The sandbox lives in this process as well: what it keeps is full long before the end.
    local discord = witness.sandbox {
      heartbeat_interval = 40000, record_max = 500, replay_events = 100,
    }
    local bot = witness.client(discord, { compress = false })
    local resumed, expected, lost, wrong, warm = 0, 1, 0, nil, nil

    bot:on("lost", function() lost = lost + 1 end)
    bot:on("MESSAGE_CREATE", function(message)
      if message.content ~= tostring(expected) then
        wrong = wrong or ("heard %s, expected %d"):format(message.content, expected)
      end
      expected = expected + 1
    end)
    local function send_and_drop(number)
      discord:dispatch("MESSAGE_CREATE", { content = tostring(number), channel_id = "1" })
      discord:drop()
    end
    bot:on("RESUMED", function()
      resumed = resumed + 1
      if resumed == WARM then warm = measure() end
      if resumed < CYCLES and not wrong then send_and_drop(resumed + 1) end
    end)

    witness.ready(bot)
    local shard = bot.shards[0]
    local session = shard.session
    send_and_drop(1)
    local deadline = os.time() + tonumber(os.getenv("MOONGATE_PATIENCE") or 150)
    while resumed < CYCLES and not wrong and os.time() < deadline do bot:step(1) end

    assert.is_nil(wrong)
    assert.equal(CYCLES, resumed)
    assert.equal(CYCLES, expected - 1)
    assert.equal(session, shard.session)
    assert.equal(shard, bot.shards[0])
    assert.equal(0, lost)
    local cold = measure()
    bot:stop()
    discord:stop()
    -- One connection more or less may be on its way out at the moment of counting.
    if warm.descriptors then
      local growth = cold.descriptors - warm.descriptors
      assert(math.abs(growth) <= 2, ("%d descriptors more"):format(growth))
    end
    if warm.resident then
      local growth = cold.resident - warm.resident
      assert(growth < RSS_GROWTH_MAX, ("grew by %d bytes"):format(growth))
    end
    assert(cold.lua < warm.lua + 2048, ("Lua grew from %.0f to %.0f KB"):format(warm.lua, cold.lua))
  end)
end)

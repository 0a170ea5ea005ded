-- sandbox_turn_spec.lua: thousands of connections on one sandbox, and both ways in which its thread
-- waits for them. Each test is a program of its own: both ends' descriptors are one process's.

local witness = require "witness"

-- A process may have more descriptors than it has by default; how many connections these are for.
local function count_possible()
  local pipe = assert(io.popen "ulimit -H -n")
  local most = pipe:read "l"
  pipe:close()
  local descriptors = most == "unlimited" and math.huge or tonumber(most)
  return math.min(2000, math.floor((descriptors - 100) / 2))
end

local MORE = "ulimit -n $(ulimit -H -n);"
local WAYS = { epoll = MORE .. " MOONGATE_SANDBOX_WATCH=epoll",
  poll = MORE .. " MOONGATE_SANDBOX_WATCH=poll" }

describe("sandbox: turns #sockets", function()
  local many = count_possible()

  it("one beat costs as much with " .. many .. " other connections as with few", function()
    local said = witness.program(([[
      local sandbox, wire = require "moongate.sandbox", require "wire"
      local discord = assert(sandbox.start { limits = false, heartbeat_grace = 0, guilds = 0 })
      local peers = {}
      local function open(count)
        for at = #peers + 1, count do
          peers[at] = wire.connect(discord)
          peers[at]:expect(10)
        end
      end
      -- Of both ends' processor time, which is why the rest of a busy machine does not count.
      local function cost()
        local best = math.huge
        for _ = 1, 5 do
          local before = os.clock()
          for _ = 1, 200 do
            peers[1]:send(1)
            peers[1]:expect(11)
          end
          best = math.min(best, os.clock() - before)
        end
        return best
      end
      open(20)
      local few = cost()
      open(%d)
      collectgarbage()
      print(#discord:connections(), cost() / few)
    ]]):format(many), WAYS.epoll)
    local count, ratio = said:match "^(%d+)%s+([%d.]+)"
    assert.equal(many, tonumber(count), said)
    if io.open "/proc/self/status" then -- where there is epoll
      assert.is_true(tonumber(ratio) < many / 100, said)
    end
  end)

  for way, setting in pairs(WAYS) do
    it("hundreds come, hear, are dropped all at once and resume, by " .. way, function()
      local said = witness.program([[
        local sandbox, wire = require "moongate.sandbox", require "wire"
        local COUNT = 400
        local discord = assert(sandbox.start { limits = false, heartbeat_grace = 0, guilds = 0 })
        local peers = {}
        for at = 1, COUNT do peers[at] = wire.ready(discord, { shard = { at - 1, COUNT } }) end
        assert(discord:wait_for_ready(COUNT))
        assert(discord:dispatch("X", { n = 1 }, { filter = false }) == COUNT)
        assert(discord:drop() == COUNT)
        assert(#discord:connections() == 0 and #discord:history() == COUNT)
        assert(discord:dispatch("X", { n = 2 }, { filter = false }) == COUNT)
        for at, peer in ipairs(peers) do
          peer:drop()
          peers[at] = wire.resume(discord, peer.session, peer.seq)
        end
        for _, peer in ipairs(peers) do
          assert(peer:expect(0, "X").d.n == 1 and peer:expect(0, "X").d.n == 2)
          peer:expect(0, "RESUMED")
        end
        assert(#discord:sessions() == COUNT and discord:wait_for_ready(COUNT))
        -- Half of them go, each in its own way; the others are not touched by that.
        for at = 1, COUNT, 2 do
          if at % 4 == 1 then peers[at]:close(4000) end
          peers[at]:drop()
        end
        assert(discord:wait_for_connections(COUNT / 2))
        for at = 2, COUNT, 2 do peers[at]:send(1) end
        for at = 2, COUNT, 2 do peers[at]:expect(11) end
        discord:stop()
        for at = 2, COUNT, 2 do assert(peers[at]:closed(false) == 1001) end
        print "done"
      ]], setting)
      assert.equal("done", (said:gsub("%s+$", "")))
    end)

    it("deadlines of many connections are kept, the earliest first, by " .. way, function()
      local said = witness.program([[
        local sandbox, wire = require "moongate.sandbox", require "wire"
        local discord = assert(sandbox.start { heartbeat_interval = 400, heartbeat_grace = 1,
          resume_window = 0.2, guilds = 0 })
        local peers = {}
        for at = 1, 60 do peers[at] = wire.connect(discord) end
        assert(discord:wait(0.1))
        for at = 1, 60, 3 do peers[at]:send(1) end -- these have longer
        for _, peer in ipairs(peers) do assert(peer:closed() == 4009) end
        local order = {}
        for _, line in ipairs(discord:log()) do
          if line.what == "refuse" then order[#order + 1] = line.connection % 3 == 1 and 2 or 1 end
        end
        print(table.concat(order))
      ]], setting)
      assert.equal(("1"):rep(40) .. ("2"):rep(20), (said:gsub("%s+$", "")))
    end)

    it("what is held back, trickles and is late comes in time, by " .. way, function()
      local said = witness.program([[
        local sandbox, wire = require "moongate.sandbox", require "wire"
        local discord = assert(sandbox.start { limits = false, guilds = 0 })
        local slow, fast = wire.ready(discord), wire.ready(discord)
        discord:trickle(20, 0.02, 1)
        discord:dispatch("X", { text = ("x"):rep(200) })
        discord:respond { path = "/gateway", delay = 0.05, body = { late = true } }
        assert(wire.request(discord, "GET", "/gateway").json.late)
        assert(#fast:expect(0, "X").d.text == 200)
        assert(#slow:expect(0, "X").d.text == 200)
        discord:half_open(true, 1)
        discord:dispatch("Y")
        fast:expect(0, "Y")
        discord:half_open(false, 1)
        slow:expect(0, "Y")
        print "done"
      ]], setting)
      assert.equal("done", (said:gsub("%s+$", "")))
    end)
  end
end)

-- processes_spec.lua: two processes of one token on one machine, each with a part of its shards,
-- against the sandbox, which refuses what identifies too early.  #sockets
--
-- MOONGATE_SHARDS=8 make specs SPECS=spec/processes_spec.lua runs eight shards a process, kills one
-- that waits for HELLO as well, takes about 100 s and prints what the gateway saw.

local core = require "moongate.core"
local sandbox = require "moongate.sandbox"
local witness = require "witness"

local SHARDS = tonumber(os.getenv "MOONGATE_SHARDS") or 1 -- of each process
local WINDOW_MS = 5000 -- Discord's
local FULL = SHARDS > 1

local function shell(format, ...)
  local pipe = assert(io.popen(format:format(...)))
  local said = pipe:read "a"
  pipe:close()
  return said
end

describe("two processes of a token #sockets", function()
  local discord, folder, programs, events

  -- `moongate cluster` with some of the shards, in the background.
  local function program(first, last)
    local path = ("%s/from-%d.lua"):format(folder, first)
    local file = assert(io.open(path, "w"))
    file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
      os.getenv "MOONGATE_CPATH" or package.cpath), ([[
      os.exit(require("moongate.cli").main { "cluster", "--total", "%d", "--min", "%d",
        "--max", "%d", "--coordinate", "--session-store", "%s/from-%d.json" }, true)]])
      :format(SHARDS * 2, first, last, folder, first))
    file:close()
    return { path = path, first = first, last = last }
  end

  local function note(what, ...)
    events[#events + 1] = { core.now() * 1000, what:format(...) }
  end

  local function start(one)
    one.pid = math.tointeger(tonumber(shell("XDG_RUNTIME_DIR=%s DISCORD_TOKEN=%s DISCORD_API=%s "
      .. "exec lua5.4 %s >%s.out 2>&1 & echo $!", folder, discord.token, discord.api, one.path,
      one.path)))
    note("process of shards %d to %d started", one.first, one.last)
  end

  local function kill(one)
    os.execute(("kill -9 %d"):format(one.pid))
    note("process of shards %d to %d killed while it had the turn", one.first, one.last)
  end

  -- Whose turn it is, from the system's list of locks.
  local function holder()
    local inode = shell("stat -c %%i %s/moongate-*-0 2>/dev/null", folder):match "%d+"
    for line in inode and io.lines "/proc/locks" or function() end do
      local pid, locked = line:match "FLOCK +%a+ +%a+ +(%d+) +%x+:%x+:(%d+)"
      for _, one in ipairs(programs) do
        if locked == inode and one.pid == tonumber(pid) then return one end
      end
    end
  end

  local function await(what, check)
    local patience = witness.patience + SHARDS * WINDOW_MS / 250
    local ends_at = core.now() + patience
    while not check() do
      if core.now() > ends_at then
        error(("waited in vain for %s; the processes said: %s"):format(what,
          shell("cat %s/*.out", folder)), 2)
      end
      core.poll({}, 0.02)
    end
  end

  local function identifies()
    return #discord:received "IDENTIFY"
  end

  local function report()
    for _, packet in ipairs(discord:received()) do
      if packet.name == "IDENTIFY" or packet.name == "RESUME" then
        local shard = packet.d.shard and packet.d.shard[1]
        events[#events + 1] = { packet.at_ms, packet.name .. (shard and " of shard " .. shard
          or "") }
      end
    end
    table.sort(events, function(a, b) return a[1] < b[1] end)
    local last = -math.huge
    for _, event in ipairs(events) do
      local gap = ""
      if event[2]:find "^IDENTIFY" then
        gap = last > 0 and ("%5.0f ms after the one before"):format(event[1] - last) or ""
        last = event[1]
      end
      print(("%8.3f s  %-52s %s"):format((event[1] - events[1][1]) / 1000, event[2], gap))
    end
  end

  before_each(function()
    folder, events = shell("mktemp -d"):match "%S+", {}
    discord = sandbox.start { shards = SHARDS * 2, max_concurrency = 1 }
    programs = { program(0, SHARDS - 1), program(SHARDS, SHARDS * 2 - 1) }
  end)

  after_each(function()
    for _, one in ipairs(programs) do
      if one.pid then os.execute(("kill -9 %d 2>/dev/null"):format(one.pid)) end
    end
    discord:stop()
    os.execute("rm -rf " .. folder)
  end)

  -- Kills whoever has the turn while the gateway says nothing, and starts it again.
  local function kill_holder(phase, before)
    await("its moment", function() return identifies() >= before end)
    discord:stall(phase)
    await("a holder of the turn", function()
      if phase == "ready" then return identifies() > before end
      for _, link in ipairs(discord:connections()) do
        if not link.session then return identifies() == before and holder() end
      end
    end)
    local one = assert(holder(), "nobody holds the turn")
    kill(one)
    discord:stall(phase, false)
    start(one)
  end

  it("R39 identify 5 s apart over both, also when one is killed that has the turn", function()
    for _, one in ipairs(programs) do start(one) end
    kill_holder("ready", SHARDS - 1)
    if FULL then kill_holder("hello", SHARDS + 3) end
    await("all sessions", function() return #discord:sessions() >= SHARDS * 2
      and #discord:connections() == SHARDS * 2 end)
    await("all ready", function()
      for _, link in ipairs(discord:connections()) do
        if not link.session then return false end
      end
      return true
    end)
    if FULL then report() end
    local seen, last = {}, nil
    for _, packet in ipairs(discord:received "IDENTIFY") do
      local id = packet.d.shard[1]
      seen[id] = (seen[id] or 0) + 1
      if last then assert.is_true(packet.at_ms - last >= WINDOW_MS, packet.at_ms - last) end
      last = packet.at_ms
    end
    local once, twice = 0, 0
    for id = 0, SHARDS * 2 - 1 do
      once, twice = once + (seen[id] == 1 and 1 or 0), twice + (seen[id] == 2 and 1 or 0)
    end
    assert.same({ SHARDS * 2 - 1, 1 }, { once, twice }) -- the one that was killed had said it
  end)
end)

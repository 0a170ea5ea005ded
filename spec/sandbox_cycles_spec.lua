-- sandbox_cycles_spec.lua: sandboxes come and go: many times one after the other without a trace,
-- and a hundred at once. MOONGATE_CYCLES says how many times, 200 if it does not.  #sockets

local sandbox = require "moongate.sandbox"
local wire = require "wire"
local witness = require "witness"

local cycles = tonumber(os.getenv "MOONGATE_CYCLES") or 200

local status = io.open "/proc/self/status"
if status then status:close() end

-- What Linux tells of this process. The file is closed at once: it is a descriptor as well.
local function read_status(key)
  local file = assert(io.open "/proc/self/status")
  local text = file:read "a"
  file:close()
  return tonumber(text:match("\n" .. key .. ":%s+(%d+)"))
end

-- A sandbox with a client of every kind of end, or none.
local function live(round)
  local one = assert(sandbox.start { guilds = 1, limits = false, tls = round % 50 == 0 })
  if round % 10 == 0 then
    local peer = wire.ready(one)
    one:dispatch("MESSAGE_CREATE", { content = "x" })
    one:instead("ack", { drop = true, times = 0 })
    one:respond { path = "/gateway", times = 0 }
    if round % 20 == 0 then one:drop() end
    one:stop()
    peer:drop()
  end
  local file = one.ca_file
  one:stop()
  if file then assert.is_nil(io.open(file)) end
end

describe("sandbox: life #sockets", function()
  it(("%d times over leaves nothing behind"):format(cycles), function()
    if not status then return end
    -- What is made once, such as OpenSSL's tables, and the pages that the allocator keeps.
    for round = 1, math.max(100, cycles // 2) do live(round) end
    local descriptors = witness.descriptors()
    collectgarbage()
    collectgarbage()
    local bytes, threads = read_status "VmRSS" * 1024, read_status "Threads"
    local memory = collectgarbage "count"
    local started = os.clock()
    for round = 1, cycles do live(round) end
    local seconds = os.clock() - started
    collectgarbage()
    collectgarbage()
    local grown = read_status "VmRSS" * 1024 - bytes
    local grown_kb = collectgarbage "count" - memory
    if os.getenv "MOONGATE_CYCLES" then
      io.stderr:write(("%d cycles: %.2f ms of the processor each, %d bytes more resident, "
        .. "%d descriptors, %d threads\n"):format(cycles, seconds / cycles * 1000, grown,
        witness.descriptors() - descriptors, read_status "Threads" - threads))
    end
    assert.equal(threads, read_status "Threads")
    assert.equal(descriptors, witness.descriptors())
    assert.is_true(grown_kb < 64)
    -- What sanitizers keep of freed memory is theirs; lost blocks they tell themselves.
    local plain = (os.getenv "MOONGATE_BUILD" or "plain"):find "plain"
    local room = tonumber(os.getenv "MOONGATE_GROWTH") or plain and 1 << 20 or 1 << 26
    assert.is_true(grown < room, grown .. " bytes")
  end)

  it("a hundred at once, each with its client, in one thread of the server", function()
    local threads = status and read_status "Threads"
    local all, peers = {}, {}
    for at = 1, 100 do
      all[at] = assert(sandbox.start { guilds = 0, limits = false, seed = at })
      peers[at] = wire.ready(all[at])
    end
    if threads then assert.is_true(read_status "Threads" <= threads + 1) end
    for at = 1, 100 do assert.equal(1, all[at]:dispatch("X", { n = at })) end
    for at = 1, 100 do assert.equal(at, peers[at]:expect(0, "X").d.n) end
    all[50]:drop()
    assert.is_nil((peers[50]:frame()))
    assert.equal(1, #all[51]:connections())
    for at = 1, 100 do
      all[at]:stop()
      peers[at]:drop()
    end
  end)

  it("starts and stops in milliseconds", function()
    local one = assert(sandbox.start {})
    local best = math.huge
    for _ = 1, 20 do
      local before = one:clock()
      assert(sandbox.start {}):stop()
      best = math.min(best, one:clock() - before)
    end
    one:stop()
    assert.is_true(best < 0.02, best .. " s")
  end)

  it("tells an address that cannot be had, and a directory that cannot be written", function()
    local one = assert(sandbox.start {})
    local none, why, code = sandbox.start { port = one.port }
    assert.is_nil(none)
    assert.matches("^start: port %d+: Address already in use; leave the port out", why)
    assert.equal("ESYSTEM", code)
    one:stop()
    local said = witness.program("print(require 'moongate.sandbox'.start { tls = true })",
      "TMPDIR=/nowhere")
    assert.matches("^nil\tstart: no certificate: .*%$TMPDIR.*\tECERTIFICATE", said)
  end)
end)

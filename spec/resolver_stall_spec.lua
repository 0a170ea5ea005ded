-- resolver_stall_spec.lua: a name server that does not answer holds up nobody but those who asked.
-- The programs run with stall.c preloaded, which makes names under .stall.test take three seconds.

local witness = require "witness"

local shim = (os.getenv("MOONGATE_BUILD") or witness.root .. "/.build/plain") .. "/stall.so"
local preload = ("LD_PRELOAD=%s%s"):format(
  os.getenv("LD_PRELOAD") and os.getenv("LD_PRELOAD") .. ":" or "", shim)

-- What every program here begins with: a sandbox whose beats are short, and a clock.
local opening = [[
  local witness = require "witness"
  local core = require "moongate.core"
  local discord = witness.sandbox { heartbeat_interval = 250 }
  local address = discord.url:match("//[^/]*:(%d+)")
  local function now() return os.time() end
]]

local function run(text)
  local said, how, code = witness.program(opening .. text, preload)
  assert(how == "exit" and code == 0, ("%s %s: %s"):format(how, code, said))
  return said
end

describe("a stalled resolver #sockets", function()
  it("is what the shim makes", function()
    local started = os.time()
    local said = io.popen(preload .. " getent ahostsv4 x.stall.test"):read("a")
    assert.matches("127%.0%.0%.1", said)
    assert(os.time() - started >= 2, "the shim did not stall")
  end)

  it("R14 delays no beat of another shard in the same engine", function()
    local said = run [[
      local engine = assert(core.engine {})
      local function start(id, host)
        assert(engine:interest(id, { "READY" }))
        assert(engine:start { token = discord.token, url = "ws://" .. host .. ":" .. address,
          shard_id = id, shard_count = 2, intents = 1, backoff_base_ms = 0, backoff_cap_ms = 0 })
      end
      local function await_ready(id, seconds)
        local deadline = now() + seconds
        while now() <= deadline do
          engine:wait(0.1)
          local record, name, shard_id = engine:next()
          while record do
            record:done()
            if name == "READY" and shard_id == id then return end
            record, name, shard_id = engine:next()
          end
        end
        error("shard " .. id .. " did not become ready")
      end
      engine:concurrency(2)
      start(0, "127.0.0.1")
      await_ready(0, 10)
      local before, started = #witness.beats(discord), now()
      start(1, "gateway.stall.test")
      witness.block(2.2)
      local during = #witness.beats(discord) - before
      assert(#discord:received("IDENTIFY") == 1, "the name did not stall")
      assert(during >= 7, during .. " beats while the name stalled")
      witness.judge(witness.beats(discord), 250, 8)
      await_ready(1, 15)
      assert(now() - started >= 2, "the name did not stall")
      engine:close()
      discord:stop()
      print "every beat on time"
    ]]
    assert.matches("every beat on time", said)
  end)

  it("R14 delays no beat of another client", function()
    local said = run [[
      local bot = witness.ready(witness.client(discord))
      local second = witness.sandbox { token = "another.token" }
      local stalled = second.api:gsub("//[^/]*:", "//api.stall.test:")
      local other = witness.client(second, { api = stalled, insecure_tls = true })
      local before, ready = #witness.beats(discord), false
      other:on("READY", function() ready = true end)
      other:connect()
      witness.await(other, "READY of the stalled client", function() return ready end)
      local during = #witness.beats(discord) - before
      assert(during >= 10, during .. " beats while the name stalled")
      witness.judge(witness.beats(discord), 250, 10)
      other:stop()
      bot:stop()
      second:stop()
      discord:stop()
      print "every beat on time"
    ]]
    assert.matches("every beat on time", said)
  end)

  it("R66 delays no stop", function()
    local said = run [[
      local url = "ws://gateway.stall.test:" .. address
      local bot = witness.client(discord, { url = url, shards = 1, insecure_tls = true })
      bot:connect()
      bot:step(0.2)
      local started = now()
      bot:stop()
      assert(now() - started <= 2, "stop waited for the name")
      discord:stop()
      print "stopped at once"
    ]]
    assert.matches("stopped at once", said)
  end)
end)

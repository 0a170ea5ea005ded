-- A machine that was suspended: its connections look alive and are not, and everybody else has
-- noticed. In a process of its own, whose clocks a preloaded shim sets apart as sleep would.
local witness = require "witness"

local shim = (os.getenv("MOONGATE_BUILD") or witness.root .. "/.build/plain") .. "/stall.so"
local before = os.getenv "LD_PRELOAD"
local preload = ("LD_PRELOAD=%s%s"):format(before and before .. ":" or "", shim)
local SHARDS = 4

describe("asleep #sockets", function()
  local discord

  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  -- Beats are 41 s apart here, so that no missing ACK tells them. Each shard has its own thread,
  -- which looks every ten seconds, and whenever it wakes: a beat by hand spares the wait.
  it("R10 shards of every thread leave what they slept over, and resume", function()
    discord = witness.sandbox { shards = SHARDS, max_concurrency = SHARDS,
      heartbeat_interval = 41250 }
    local mark = os.tmpname()
    os.remove(mark)
    finally(function() os.remove(mark) end)
    local said, how, code = witness.program(([[
      local core, moongate = require "moongate.core", require "moongate"
      local make = core.engine
      core.engine = function(options) options.thread_shards = 1 return make(options) end
      local bot = moongate.client { token = %q, api = %q, intents = { "guilds" }, shards = %d,
        backoff = { base = 0, cap = 0 } }
      local resumed = 0
      bot:on("RESUMED", function() resumed = resumed + 1 end)
      assert(bot:connect())
      repeat bot:step(0.05) until bot.state == "ready"
      bot:step(0.3)
      io.write(resumed, " ")
      io.open(%q, "w"):close()
      for _, one in pairs(bot.shards) do one:heartbeat() end
      repeat bot:step(0.05) until resumed == %d
      bot:step(0.3)
      io.write(resumed, " ", bot.state)
      os.exit(0)
    ]]):format(discord.token, discord.api, SHARDS, mark, SHARDS),
      ("MOONGATE_ASLEEP=%s %s"):format(mark, preload))
    assert.same({ ("0 %d ready"):format(SHARDS), "exit", 0 }, { said, how, code })
    assert.same({ SHARDS, SHARDS }, { #discord:received "IDENTIFY", #discord:received "RESUME" })
  end)
end)

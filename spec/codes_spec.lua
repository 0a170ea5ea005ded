-- codes.c as Lua sees it: one source for errors, opcodes, close codes and intents.
local core = require "moongate.core"

describe("codes", function()
  it("opcodes have the numbers of the protocol, both ways", function()
    local wanted = { DISPATCH = 0, HEARTBEAT = 1, IDENTIFY = 2, PRESENCE_UPDATE = 3,
      VOICE_STATE_UPDATE = 4, RESUME = 6, RECONNECT = 7, REQUEST_GUILD_MEMBERS = 8,
      INVALID_SESSION = 9, HELLO = 10, HEARTBEAT_ACK = 11, REQUEST_SOUNDBOARD_SOUNDS = 31,
      REQUEST_CHANNEL_INFO = 43 }
    for name, op in pairs(wanted) do
      assert.equal(op, core.opcodes[name])
      assert.equal(name, core.opcodes[op])
    end
    assert.is_nil(core.opcodes[5])
  end)

  it("R40 every fatal close code has words and a remedy", function()
    local fatal = 0
    for code, row in pairs(core.close_codes) do
      assert.is_string(row.words, code)
      if row.verdict == "fatal" then
        fatal = fatal + 1
        assert.is_string(row.remedy, code)
      end
    end
    assert.equal(6, fatal)
  end)

  it("intents sum to what the protocol says", function()
    local all, privileged = 0, 0
    for _, row in ipairs(core.intents) do
      all = all | 1 << row.bit
      if row.privileged then privileged = privileged | 1 << row.bit end
    end
    assert.equal(53608447, all)
    assert.equal(33026, privileged)
  end)

  it("every error has a name and a text of its own", function()
    local seen = {}
    for name, text in pairs(core.errors) do
      assert.truthy(name:match "^E[%u%d]+$")
      assert.is_nil(seen[text], text)
      seen[text] = name
    end
    assert.is_string(core.errors.EPAYLOAD)
  end)
end)

-- upgrade.c: what is asked for, and which answers grant it. How answers come over a socket, cut
-- anywhere or with frames behind them, is in transport_spec.
local upgrade = require("moongate_unit").upgrade

local NONCE = "the sample nonce" -- RFC 6455, 1.3
local ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

-- A good answer, changed as `changes` say; false takes a header away.
local function judge(changes)
  local answer = { status = 101, upgrade = "websocket", connection = "Upgrade", accept = ACCEPT }
  for key, value in pairs(changes or {}) do answer[key] = value or nil end
  return upgrade.judge(NONCE, answer)
end

describe("an upgrade", function()
  it("asks with the key of its nonce, and for nothing optional", function()
    local key, accept, headers = upgrade.make(NONCE)
    assert.equal("dGhlIHNhbXBsZSBub25jZQ==", key)
    assert.equal(ACCEPT, accept)
    assert.equal("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\z
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", headers)
  end)

  it("asks with another key for another nonce", function()
    local key, accept = upgrade.make(("\0"):rep(16))
    assert.equal("AAAAAAAAAAAAAAAAAAAAAA==", key)
    assert.not_equal(ACCEPT, accept)
  end)

  it("says when there is no room for its headers", function()
    local whole = #select(3, upgrade.make(NONCE))
    assert.is_string(select(3, upgrade.make(NONCE, whole)))
    for room = 0, whole - 1 do assert.is_nil(select(3, upgrade.make(NONCE, room))) end
  end)
end)

describe("an answer", function()
  it("grants it, in any case of letters and with other words beside", function()
    for _, changes in ipairs { {}, { upgrade = "WebSocket" }, { connection = "upgrade" },
      { connection = "keep-alive, Upgrade" }, { connection = "UPGRADE ,x" },
      { upgrade = " websocket " }, { accept = "\t" .. ACCEPT }, { extensions = "" },
      { protocol = " " } } do
      assert.is_nil(judge(changes))
    end
  end)

  local refusals = {
    { "another status", { status = 200 }, "status" },
    { "no status", { status = 0 }, "status" },
    { "no Upgrade", { upgrade = false }, "Upgrade" },
    { "another Upgrade", { upgrade = "h2c" }, "Upgrade" },
    { "an Upgrade that begins like it", { upgrade = "websockets" }, "Upgrade" },
    { "no Connection", { connection = false }, "Connection" },
    { "a Connection that closes", { connection = "close" }, "Connection" },
    { "a Connection that only contains the word", { connection = "no-upgrade" }, "Connection" },
    { "no Sec-WebSocket-Accept", { accept = false }, "Accept" },
    { "the accept of another key", { accept = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" }, "Accept" },
    { "an accept in another case", { accept = ACCEPT:lower() }, "Accept" },
    { "an accept that is cut", { accept = ACCEPT:sub(1, -2) }, "Accept" },
    { "an accept with more behind", { accept = ACCEPT .. "x" }, "Accept" },
    { "an extension", { extensions = "permessage-deflate" }, "extension" },
    { "a subprotocol", { protocol = "chat" }, "subprotocol" },
  }
  for _, row in ipairs(refusals) do
    it("is refused with " .. row[1], function()
      assert.truthy(assert.is_string(judge(row[2])):find(row[3], 1, true))
    end)
  end
end)

-- frame.c: the rules of RFC 6455 for what a server sends, each over every cut of its bytes, and the
-- frames that are sent. The frames are made by hand here, so that no mistake meets its twin.
local frames = require("moongate_unit").frames

local LIMIT = 1 << 20

-- A frame of a server; `first` is its first byte as it stands.
local function frame(first, payload, length)
  length = length or #payload
  local head = length < 126 and string.char(length)
    or length < 65536 and string.pack(">BI2", 126, length)
    or string.pack(">BI8", 127, length)
  return string.char(first) .. head .. payload
end

local function text(payload) return frame(0x81, payload) end
local function close(code, reason)
  return frame(0x88, string.pack(">I2", code) .. (reason or ""))
end

-- Pieces of one message put together; everything else as it is.
local function joined(seen)
  local out, message = {}, nil
  for _, one in ipairs(seen) do
    if one.kind == "piece" then
      message = message or { kind = "message", bytes = "", binary = one.binary }
      assert.equal(message.binary, one.binary)
      message.bytes = message.bytes .. one.bytes
      if one.final then
        out[#out + 1] = message
        message = nil
      end
    else
      out[#out + 1] = one
    end
  end
  return out, message
end

local function message(bytes, binary)
  return { kind = "message", bytes = bytes, binary = binary or false }
end

-- Reads `bytes` whole, in two parts cut at every place, and byte by byte; always the same is seen.
local function expect(bytes, wanted, limit)
  limit = limit or LIMIT
  assert.same(wanted, (joined(frames.read(limit, { bytes }))))
  local cuts = #bytes <= 600 and #bytes - 1 or 0
  for cut = 1, cuts do
    local seen = frames.read(limit, { bytes:sub(1, cut), bytes:sub(cut + 1) })
    assert.same(wanted, (joined(seen)), "cut at " .. cut)
  end
  local single = {}
  for i = 1, math.min(#bytes, 70000) do single[i] = bytes:sub(i, i) end
  if #bytes <= 70000 then assert.same(wanted, (joined(frames.read(limit, single))), "bytewise") end
end

local function fault(code, words, error)
  return { kind = "fault", code = code, words = words, error = error or "ESYNTAX" }
end

-- The bytes are refused, with a message behind them that nobody sees any more.
local function refused(bytes, code, words, error, limit)
  expect(bytes .. text "unseen", { fault(code, words, error) }, limit)
end

describe("frames of a server", function()
  it("are messages of text and of bytes", function()
    expect(text "hello" .. frame(0x82, "\0\1\2"), { message "hello", message("\0\1\2", true) })
  end)

  it("of every length at the borders of its three forms", function()
    for _, length in ipairs { 0, 1, 125, 126, 127, 65535, 65536 } do
      local payload = ("x"):rep(length)
      expect(text(payload) .. text "next", { message(payload), message "next" })
    end
  end)

  it("hand over a payload where it lies, as it comes", function()
    local seen = frames.read(LIMIT, { text("abcdef"):sub(1, 5), "def" .. text "" })
    assert.same({
      { kind = "piece", bytes = "abc", final = false, binary = false },
      { kind = "piece", bytes = "def", final = true, binary = false },
      { kind = "piece", bytes = "", final = true, binary = false },
    }, seen)
  end)

  it("refuse lengths that are not minimal", function()
    for _, length in ipairs { 0, 1, 125 } do
      refused("\x81" .. string.pack(">BI2", 126, length) .. ("x"):rep(length), 1002,
        "a length that is not minimal")
    end
    for _, length in ipairs { 0, 126, 65535 } do
      refused("\x81" .. string.pack(">BI8", 127, length), 1002, "a length that is not minimal")
    end
  end)

  it("refuse lengths of 2^63 and more", function()
    for _, length in ipairs { math.mininteger, -1 } do
      refused("\x82" .. string.pack(">Bi8", 127, length), 1002, "a length without bound")
    end
    refused("\x82" .. string.pack(">Bi8", 127, math.maxinteger), 1009,
      "a message over the size limit", "EMESSAGE")
  end)

  it("refuse each reserved bit", function()
    for _, bit in ipairs { 0x40, 0x20, 0x10, 0x70 } do
      for _, first in ipairs { 0x01, 0x02, 0x81, 0x82, 0x88, 0x89, 0x8a } do
        refused(frame(first | bit, "x"), 1002, "a frame with a reserved bit")
      end
      for _, first in ipairs { 0x00, 0x80, 0x89 } do -- within a message
        refused(frame(0x01, "") .. frame(first | bit, "x"), 1002, "a frame with a reserved bit")
      end
    end
  end)

  it("refuse every reserved type", function()
    for _, kind in ipairs { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do
      refused(frame(0x80 | kind, "x"), 1002, "a frame of a reserved type")
    end
  end)

  it("refuse a mask", function()
    for _, first in ipairs { 0x81, 0x82, 0x88, 0x89, 0x8a } do
      for _, rest in ipairs { "\x81maskx", "\x80mask", "\xfe\0\x7emask" .. ("x"):rep(126) } do
        refused(string.char(first) .. rest, 1002, "a masked frame of a server")
      end
    end
    refused(frame(0x01, "") .. "\x80\x81maskx", 1002, "a masked frame of a server")
  end)

  it("refuse a fault at the first byte that shows it", function()
    for _, bytes in ipairs { "\xc1", "\x83", "\x09", "\x80", "\x81\x80", "\x89\x7e",
      "\x82\x7e\0\x7d" } do
      assert.equal("fault", frames.read(LIMIT, { bytes })[1].kind)
      assert.same({}, frames.read(LIMIT, { bytes:sub(1, -2) }))
    end
  end)
end)

describe("fragments", function()
  it("are one message, of the type of the first", function()
    expect(frame(0x01, "one ") .. frame(0x00, "two ") .. frame(0x80, "three"),
      { message "one two three" })
    expect(frame(0x02, "a") .. frame(0x80, "b") .. text "c", { message("ab", true), message "c" })
  end)

  it("have lengths of their own, of all three forms", function()
    for _, length in ipairs { 125, 126, 65535, 65536 } do
      local first, last = ("a"):rep(length), ("b"):rep(length)
      expect(frame(0x02, first) .. frame(0x89, "p") .. frame(0x80, last) .. text "c",
        { { kind = "ping", bytes = "p" }, message(first .. last, true), message "c" })
    end
  end)

  it("may be empty", function()
    expect(frame(0x01, "") .. frame(0x00, "") .. frame(0x80, ""), { message "" })
    expect(frame(0x01, "") .. frame(0x00, "x") .. frame(0x80, ""), { message "x" })
  end)

  it("have control frames between them", function()
    expect(frame(0x01, "a") .. frame(0x89, "p") .. frame(0x00, "b") .. frame(0x8a, "q")
      .. frame(0x80, "c"), { { kind = "ping", bytes = "p" }, message "abc" })
  end)

  it("may be cut off by a close", function()
    expect(frame(0x01, "a") .. close(1001) .. frame(0x80, "b"),
      { { kind = "close", code = 1001, bytes = "" } })
  end)

  it("refuse a continuation of nothing", function()
    refused(frame(0x80, "x"), 1002, "a continuation of no message")
    refused(frame(0x00, "x"), 1002, "a continuation of no message")
    expect(text "a" .. frame(0x80, "x"),
      { message "a", fault(1002, "a continuation of no message") })
  end)

  it("refuse another message in between", function()
    for _, first in ipairs { 0x01, 0x81, 0x02, 0x82 } do
      refused(frame(0x01, "") .. frame(first, "x"), 1002, "a message within a message")
    end
  end)
end)

describe("control frames", function()
  it("a ping is told with its payload, of 0 to 125 bytes", function()
    for _, length in ipairs { 0, 1, 124, 125 } do
      local payload = ("p"):rep(length)
      expect(frame(0x89, payload) .. text "x", { { kind = "ping", bytes = payload }, message "x" })
    end
  end)

  it("one after the other have each their own payload", function()
    expect(frame(0x89, "first") .. frame(0x89, "2") .. frame(0x8a, "third") .. close(4000, "4"),
      { { kind = "ping", bytes = "first" }, { kind = "ping", bytes = "2" },
        { kind = "close", code = 4000, bytes = "4" } })
  end)

  it("a pong is passed over", function()
    expect(frame(0x8a, "") .. frame(0x8a, ("x"):rep(125)) .. text "x", { message "x" })
  end)

  it("are refused over 125 bytes", function()
    for _, first in ipairs { 0x88, 0x89, 0x8a } do
      for _, length in ipairs { 126, 65536 } do
        refused(frame(first, ("x"):rep(length)), 1002, "a control frame over 125 bytes")
      end
    end
  end)

  it("are refused in fragments", function()
    for _, first in ipairs { 0x08, 0x09, 0x0a } do
      refused(frame(first, "x"), 1002, "a control frame in fragments")
    end
  end)
end)

describe("a close of the server", function()
  it("tells its code and its reason, and nothing behind it is seen", function()
    expect(close(4004, "Authentication failed.") .. text "x" .. close(1000),
      { { kind = "close", code = 4004, bytes = "Authentication failed." } })
  end)

  it("tells every code that may travel exactly", function()
    for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
      3000, 3999, 4000, 4014, 4999 } do
      expect(close(code), { { kind = "close", code = code, bytes = "" } })
    end
  end)

  it("may have no code, which is 1005", function()
    expect(frame(0x88, ""), { { kind = "close", code = 1005, bytes = "" } })
  end)

  it("is refused with half a code", function()
    refused(frame(0x88, "\x03"), 1002, "a close with half a code")
  end)

  it("is refused with a code that may not travel", function()
    for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535 } do
      refused(close(code, "why"), 1002, "a close with a code that may not travel")
    end
  end)

  it("may have a reason of 123 bytes, in UTF-8", function()
    local reason = ("\u{20ac}"):rep(41)
    expect(close(4000, reason), { { kind = "close", code = 4000, bytes = reason } })
  end)

  it("is refused with a reason that is no UTF-8", function()
    for _, reason in ipairs { "\xff", "a\xc0\xaf", "\xed\xa0\x80", "\xe2\x82" } do
      refused(close(1000, reason), 1007, "a close whose reason is no UTF-8", "EUTF8")
    end
  end)
end)

describe("text of the server", function()
  it("goes on as it is: the decoder judges it, once", function()
    expect(text "a\xffb" .. frame(0x01, "\xe2\x82") .. frame(0x80, "\xac"),
      { message "a\xffb", message "\u{20ac}" })
  end)
end)

describe("the limit of a message", function()
  local words = "a message over the size limit"

  it("R50 is met by one frame, and exceeded by one byte", function()
    expect(text(("x"):rep(200)), { message(("x"):rep(200)) }, 200)
    refused(text(("x"):rep(201)), 1009, words, "EMESSAGE", 200)
  end)

  it("R50 counts all fragments, and is refused before their bytes have come", function()
    local begin = frame(0x02, ("x"):rep(100))
    expect(begin .. frame(0x80, ("x"):rep(100)), { message(("x"):rep(200), true) }, 200)
    assert.equal("fault", frames.read(200, { begin .. "\x80\x65" })[2].kind)
  end)

  it("R50 begins anew with each message, and control frames do not count", function()
    local whole = text(("x"):rep(200))
    expect(whole .. frame(0x89, "ping") .. whole,
      { message(("x"):rep(200)), { kind = "ping", bytes = "ping" }, message(("x"):rep(200)) }, 200)
  end)

  it("R50 of 0 lets empty messages through", function()
    expect(text "", { message "" }, 0)
    refused(text "x", 1009, words, "EMESSAGE", 0)
  end)
end)

describe("frames that are sent", function()
  local mask = "\x12\x34\x56\x78"

  -- Takes a masked frame apart, by hand.
  local function unwrap(bytes)
    local first, second, at = bytes:byte(1), bytes:byte(2), 3
    assert.equal(0x80, second & 0x80)
    local length = second & 0x7f
    if length == 126 then length, at = string.unpack(">I2", bytes, at) end
    if second & 0x7f == 127 then length, at = string.unpack(">I8", bytes, at) end
    local key, out = { bytes:byte(at, at + 3) }, {}
    for i = 1, #bytes - at - 3 do
      out[i] = string.char(bytes:byte(at + 3 + i) ~ key[(i - 1) % 4 + 1])
    end
    assert.equal(length, #out)
    return first, table.concat(out), string.char(table.unpack(key)), at - 1
  end

  it("are whole, masked, and as long as they say", function()
    for _, case in ipairs { { 0, 2 }, { 1, 2 }, { 125, 2 }, { 126, 4 }, { 127, 4 }, { 4096, 4 },
      { 65535, 4 }, { 65536, 10 } } do
      local payload = ("0123456789"):rep(case[1] // 10 + 1):sub(1, case[1])
      local first, got, key, head = unwrap(frames.wrap(1, payload, mask))
      assert.same({ 0x81, mask, case[2] }, { first, key, head })
      assert.is_true(payload == got)
    end
  end)

  it("have the type that they were given", function()
    for _, kind in ipairs { 1, 2, 8, 9, 10 } do
      assert.equal(0x80 | kind, (unwrap(frames.wrap(kind, "x", mask))))
    end
  end)

  it("a close has a code and a reason, or neither", function()
    assert.equal("\x0f\xa0why", frames.close(4000, "why"))
    assert.equal("\x03\xe8", frames.close(1000, ""))
    assert.equal("", frames.close(1005, "nothing"))
  end)

  it("a reason that is too long is cut where a character ends", function()
    assert.equal(125, #frames.close(4000, ("x"):rep(124)))
    assert.equal("\x0f\xa0" .. ("x"):rep(122), frames.close(4000, ("x"):rep(122) .. "\u{20ac}"))
    assert.equal("\x0f\xa0" .. ("\u{20ac}"):rep(41), frames.close(4000, ("\u{20ac}"):rep(42)))
  end)
end)

-- wire.lua: an HTTP and WebSocket client by hand, over cqueues' sockets, for sandbox_spec.lua. It
-- shares no code with the sandbox or with moongate's transport, and can do everything wrong that a
-- client may do wrong.

local socket = require "cqueues.socket"
local context = require "openssl.ssl.context"
local x509 = require "openssl.x509"
local store = require "openssl.x509.store"
local digest = require "openssl.digest"
local cjson = require "cjson"
local errno = require "cqueues.errno"
local unit = require "moongate_unit"

local wire = { patience = 5 }

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local out = {}
  for at = 1, #bytes, 3 do
    local a, b, c = bytes:byte(at, at + 2)
    local word = a << 16 | (b or 0) << 8 | (c or 0)
    for shift = 18, 0, -6 do
      local index = (word >> shift & 63) + 1
      out[#out + 1] = alphabet:sub(index, index)
    end
    if not b then out[#out - 1] = "=" end
    if not c then out[#out] = "=" end
  end
  return table.concat(out)
end

local function read_file(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

-- A TCP connection to the sandbox, with TLS when it speaks TLS. `options.verify` = false: without a
-- look at the certificate; `options.name`: the name to find in it.
function wire.dial(discord, options)
  options = options or {}
  local sock = assert(socket.connect("127.0.0.1", discord.port))
  sock:onerror(function(_, _, why) return why end)
  sock:settimeout(wire.patience)
  sock:setmode("bn", "bn")
  assert(sock:connect())
  if discord.ca_file and not options.plain then
    local tls = context.new("TLS", false)
    local trusted = store.new()
    trusted:add(x509.new(read_file(discord.ca_file)))
    tls:setStore(trusted)
    tls:setVerify(options.verify == false and context.VERIFY_NONE or context.VERIFY_PEER)
    local ok, why = sock:starttls(tls)
    if not ok then
      sock:close()
      return nil, why
    end
  end
  return sock
end

local function write(sock, bytes)
  assert(sock:write(bytes))
  return sock:flush()
end

local function read_head(sock)
  local line = sock:read "*L"
  if not line then return nil end
  local head = { status = tonumber(line:match "^HTTP/1%.1 (%d%d%d) "), headers = {} }
  for header in function() return sock:read "*L" end do
    local name, value = header:match "^([^:]+):%s*(.-)\r\n$"
    if not name then break end
    head.headers[name:lower()] = value
  end
  return head
end

-- One request on `sock`, or on a connection of its own: { status =, headers =, body =, json = }.
function wire.request(discord, method, path, headers, options)
  options = options or {}
  local sock = options.sock or assert(wire.dial(discord))
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: 127.0.0.1" }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  if options.body then lines[#lines + 1] = "Content-Length: " .. #options.body end
  write(sock, table.concat(lines, "\r\n") .. "\r\n\r\n" .. (options.body or ""))
  local answer = read_head(sock)
  if answer then
    local length = tonumber(answer.headers["content-length"])
    answer.body = length and length > 0 and sock:read(length) or ""
    local ok, decoded = pcall(cjson.decode, answer.body)
    answer.json = ok and decoded or nil
  end
  if not options.sock then sock:close() end
  return answer
end

function wire.authorized(discord)
  return { Authorization = "Bot " .. discord.token }
end

-- ---- A complete zlib stream ---------------------------------------------------------------------

local length_base, distance_base = { [0] = 3 }, { [0] = 1 }
local length_bits, distance_bits = {}, {}
for at = 0, 27 do
  length_bits[at] = math.max(0, at // 4 - 1)
  length_base[at + 1] = length_base[at] + (1 << length_bits[at])
end
length_base[28], length_bits[28] = 258, 0
for at = 0, 29 do
  distance_bits[at] = math.max(0, at // 2 - 1)
  distance_base[at + 1] = distance_base[at] + (1 << distance_bits[at])
end

-- From a list of code lengths (from 0) to a table of "length:code" to symbol.
local function codes_of(lengths, count)
  local codes, code = {}, 0
  for length = 1, 15 do
    for symbol = 0, count - 1 do
      if lengths[symbol] == length then
        codes[length << 16 | code] = symbol
        code = code + 1
      end
    end
    code = code << 1
  end
  return codes
end

local function reader_of(bytes)
  local at, left, word = 3, 0, 0 -- behind the header
  local reader = {}
  function reader.bits(count)
    while left < count do
      word, left, at = word | bytes:byte(at) << left, left + 8, at + 1
    end
    local value = word & (1 << count) - 1
    word, left = word >> count, left - count
    return value
  end
  function reader.symbol(codes)
    local code, length = 0, 0
    repeat
      code, length = code << 1 | reader.bits(1), length + 1
      assert(length <= 15, "no such code")
    until codes[length << 16 | code]
    return codes[length << 16 | code]
  end
  function reader.align()
    word, left = 0, 0
  end
  function reader.rest()
    return bytes:sub(at)
  end
  return reader
end

local order = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 }

local function dynamic_codes(reader)
  local literals, distances, count = reader.bits(5) + 257, reader.bits(5) + 1, reader.bits(4) + 4
  local lengths = {}
  for at = 1, count do lengths[order[at]] = reader.bits(3) end
  local codes, all, at = codes_of(lengths, 19), {}, 0
  while at < literals + distances do
    local symbol, value, times = reader.symbol(codes), 0, 1
    if symbol < 16 then
      value = symbol
    elseif symbol == 16 then
      value, times = all[at - 1], 3 + reader.bits(2)
    else
      times = symbol == 17 and 3 + reader.bits(3) or 11 + reader.bits(7)
    end
    for _ = 1, times do all[at], at = value, at + 1 end
  end
  return codes_of(all, literals), codes_of(table.move(all, literals, at - 1, 0, {}), distances)
end

local function fixed_codes()
  local lengths, distances = {}, {}
  for at = 0, 287 do lengths[at] = at < 144 and 8 or at < 256 and 9 or at < 280 and 7 or 8 end
  for at = 0, 29 do distances[at] = 5 end
  return codes_of(lengths, 288), codes_of(distances, 30)
end

local function inflate_block(reader, out, literals, distances)
  while true do
    local symbol = reader.symbol(literals)
    if symbol == 256 then return end
    if symbol < 256 then
      out[#out + 1] = string.char(symbol)
    else
      local length = length_base[symbol - 257] + reader.bits(length_bits[symbol - 257])
      local code = reader.symbol(distances)
      local from = #out - distance_base[code] - reader.bits(distance_bits[code])
      for at = 1, length do out[#out + 1] = out[from + at] end
    end
  end
end

local function adler32(text)
  local a, b = 1, 0
  for at = 1, #text do
    a = (a + text:byte(at)) % 65521
    b = (b + a) % 65521
  end
  return b << 16 | a
end

-- RFC 1950 and 1951, as slow as it is plain; an error for what is not a whole stream.
local function inflate(bytes)
  local reader, out = reader_of(bytes), {}
  repeat
    local final, kind = reader.bits(1) == 1, reader.bits(2)
    assert(kind == 1 or kind == 2, "an unexpected block")
    if kind == 1 then inflate_block(reader, out, fixed_codes())
    else inflate_block(reader, out, dynamic_codes(reader)) end
  until final
  reader.align()
  local text = table.concat(out)
  assert(string.pack(">I4", adler32(text)) == reader.rest(), "not the checksum of the stream")
  return text
end

-- ---- WebSocket --------------------------------------------------------------------------------

local peer = {}
peer.__index = peer

local KEY = base64 "sixteen bytes !!"

-- Asks for a WebSocket. options: query, path, headers (false removes one), sock, and those of dial.
-- Returns the peer, or nil and the answer's head.
function wire.connect(discord, options)
  options = options or {}
  local query = options.query or "v=10&encoding=json"
  local sock = options.sock or assert(wire.dial(discord, options))
  local headers = {
    Host = "127.0.0.1", Upgrade = "websocket", Connection = "keep-alive, Upgrade",
    ["Sec-WebSocket-Key"] = KEY, ["Sec-WebSocket-Version"] = "13",
  }
  for name, value in pairs(options.headers or {}) do headers[name] = value or nil end
  local lines = { ("GET %s?%s HTTP/1.1"):format(options.path or "/", query) }
  for name, value in pairs(headers) do
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  write(sock, table.concat(lines, "\r\n") .. "\r\n\r\n" .. (options.behind or ""))
  local self = setmetatable({ sock = sock, query = query }, peer)
  if query:find "compress=zlib%-stream" then self.inflate = unit.inflate "zlib-stream" end
  if options.wait == false then return self end
  return self:upgraded()
end

-- Reads the answer to the upgrade.
function peer:upgraded()
  local head = read_head(self.sock)
  if not head or head.status ~= 101 then
    self.sock:close()
    return nil, head
  end
  local sha = digest.new "sha1"
  local accept = sha:final(KEY .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
  assert(head.headers["sec-websocket-accept"] == base64(accept), "wrong Sec-WebSocket-Accept")
  return self
end

local function mask_bytes(bytes, mask)
  local out = {}
  for at = 1, #bytes do
    out[at] = string.char(bytes:byte(at) ~ mask:byte((at - 1) % 4 + 1))
  end
  return table.concat(out)
end

-- A frame as a client sends it. options: opcode (1), fin (true), rsv (0), masked (true), wide (a
-- length field too long), claim (a length that is not true).
local function frame_bytes(payload, options)
  options = options or {}
  local first = (options.fin == false and 0 or 0x80) | (options.rsv or 0) << 4
    | (options.opcode or 1)
  local masked = options.masked ~= false
  local bit, length = masked and 0x80 or 0, #payload
  local head
  if options.claim then
    head = string.pack(">BBI8", first, bit | 127, options.claim)
  elseif options.wide or length > 65535 then
    head = string.pack(">BBI8", first, bit | 127, length)
  elseif length > 125 then
    head = string.pack(">BBI2", first, bit | 126, length)
  else
    head = string.pack(">BB", first, bit | length)
  end
  if not masked then return head .. payload end
  local mask = "\x12\x34\x56\x78"
  return head .. mask .. mask_bytes(payload, mask)
end

function peer:send_frame(payload, options)
  return write(self.sock, frame_bytes(payload, options))
end

-- A packet: a table is encoded; d = nil is sent as null.
function peer:send(op, d)
  local packet = op
  if type(op) == "number" then
    packet = cjson.encode { op = op, d = d == nil and cjson.null or d }
  end
  return self:send_frame(packet)
end

-- The next frame: opcode, payload, fin; nil and why at the end.
function peer:frame()
  local head, why = self.sock:read(2)
  if not head or #head < 2 then return nil, why or "end" end
  local first, second = head:byte(1, 2)
  assert(second < 0x80, "a server does not mask")
  local length = second
  if length == 126 then
    length = string.unpack(">I2", self.sock:read(2))
  elseif length == 127 then
    length = string.unpack(">I8", self.sock:read(8))
  end
  local payload = length > 0 and self.sock:read(length) or ""
  return first & 0x0f, payload, first & 0x80 ~= 0, first >> 4 & 7
end

-- The next gateway message as text, or nil with "close", code, reason or "end", why. Frames and
-- WebSocket messages are put together; `self.frames` and `self.pieces` count them.
function peer:text()
  local parts = {}
  self.frames, self.pieces = 0, 0
  while true do
    local opcode, payload, fin = self:frame()
    if not opcode then
      return nil, "end", payload
    elseif opcode == 8 then
      local code = #payload >= 2 and string.unpack(">I2", payload) or 1005
      return nil, "close", code, payload:sub(3)
    elseif opcode == 9 then
      self:send_frame(payload, { opcode = 10 })
    elseif opcode < 8 then
      self.frames = self.frames + 1
      self.opcode = opcode ~= 0 and opcode or self.opcode
      parts[#parts + 1] = payload
      if fin then
        self.pieces = self.pieces + 1
        if not self.inflate then return self:plain(table.concat(parts)) end
        local whole, code = self.inflate:push(table.concat(parts), true)
        parts = {}
        if whole == nil then return nil, "inflate", code end
        if whole then return self.inflate:take() end
      end
    end
  end
end

-- A message on a connection without transport compression: a binary one is a zlib stream of its
-- own, complete from header to checksum.
function peer:plain(bytes)
  if self.opcode == 1 then return bytes end
  return inflate(bytes)
end

-- The next message as a table, null as cjson.null.
function peer:message()
  local text, how, what, reason = self:text()
  if not text then return nil, how, what, reason end
  return cjson.decode(text)
end

-- Reads messages until one fits, and returns it; an error when the connection ends before.
function peer:expect(op, name)
  while true do
    local message, how, what, reason = self:message()
    if not message then
      error(("waited for %s %s: %s %s %s"):format(op, name or "", how, what, reason or ""), 2)
    end
    if message.op == op and (not name or message.t == name) then return message end
  end
end

-- Reads on until the server's close frame: code, reason. Answers it unless told otherwise.
function peer:closed(answer)
  while true do
    local message, how, what, reason = self:message()
    if not message then
      if how ~= "close" then return nil, what end
      if answer ~= false then self:close(what ~= 1005 and what or nil) end
      return what, reason
    end
  end
end

function peer:close(code, reason)
  local payload = code and string.pack(">I2", code) .. (reason or "") or ""
  return self:send_frame(payload, { opcode = 8 })
end

-- True when the server has ended TCP (or reset it), false when it has not after all the patience.
function peer:ended()
  local byte, why = self.sock:read(1)
  return (byte == nil or byte == "") and why ~= errno.ETIMEDOUT
end

function peer:drop()
  self.sock:close()
end

-- ---- Dialogues --------------------------------------------------------------------------------

wire.properties = { os = "linux", browser = "wire", device = "wire" }

function wire.identify_data(discord, more)
  local d = { token = discord.token, intents = 1 << 15 | 1 << 9 | 1, properties = wire.properties }
  for key, value in pairs(more or {}) do d[key] = value end
  return d
end

-- A peer that is READY, its guilds read, and READY itself.
function wire.ready(discord, more, options)
  local self = assert(wire.connect(discord, options))
  self:expect(10)
  self:send(2, wire.identify_data(discord, more))
  local ready = self:expect(0, "READY")
  self.ready, self.seq, self.session = ready, 1, ready.d.session_id
  local intents = (more and more.intents) or 1
  if intents & 1 == 1 then
    for _ = 1, #ready.d.guilds do self.seq = self:expect(0, "GUILD_CREATE").s end
  end
  return self, ready.d
end

function wire.resume(discord, session, seq, options)
  local self = assert(wire.connect(discord, options))
  self:expect(10)
  self:send(6, { token = discord.token, session_id = session, seq = seq })
  return self
end

return wire

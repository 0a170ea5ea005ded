-- stranger.lua: servers that are made wrong by hand, one for each way a stranger can behave. They
-- are coroutines of this thread; the engine has its own, so the two ends really talk over sockets.

local cqueues = require "cqueues"
local digest = require "openssl.digest"
local socket = require "cqueues.socket"

local PATIENCE_S = 20 -- only ever reached by a failure

local stranger = {}
stranger.__index = stranger

function stranger.new()
  return setmetatable({ loop = cqueues.new(), listeners = {} }, stranger)
end

function stranger:stop()
  for _, listener in ipairs(self.listeners) do listener:close() end
end

local function address_of(listener)
  local _, host, port = listener:localname()
  return ("%s:%d"):format(host, port)
end

-- An address on which nobody listens any more.
function stranger.nobody()
  local listener = assert(socket.listen { host = "127.0.0.1", port = 0 })
  assert(listener:listen())
  local address = address_of(listener)
  listener:close()
  return address
end

-- Listens on a port of its own; each connection is handled by serve(peer). Returns its address.
function stranger:server(serve)
  local listener = socket.listen { host = "127.0.0.1", port = 0, reuseaddr = true }
  assert(listener:listen())
  self.listeners[#self.listeners + 1] = listener
  self.loop:wrap(function()
    while true do
      local peer = listener:accept()
      if not peer then return end
      peer:setmode("b", "b")
      peer:onerror(function(_, _, code) return code end)
      self.loop:wrap(function() serve(peer) end)
    end
  end)
  return address_of(listener)
end

-- Steps the servers until done() is true, and takes the events of `engine` meanwhile: those named
-- `name` are given to done(data).
function stranger:watch(engine, name, done)
  local deadline = os.time() + PATIENCE_S
  while os.time() < deadline do
    local record, found = engine:next()
    if record then
      local data = record:data()
      record:done()
      if found == name and done(data) then return data end
    else
      if not name and done() then return end
      assert(self.loop:step(0.005))
    end
  end
  error("waited in vain for " .. (name or "what was to happen"), 2)
end

-- Steps the servers and takes events until one is named `name`; returns its data.
function stranger:await(engine, name)
  return self:watch(engine, name, function() return true end)
end

function stranger.forever()
  cqueues.sleep(PATIENCE_S)
end

-- ---- HTTP ---------------------------------------------------------------------------------------

-- The head of a request: its first line and its headers, names in lower case.
function stranger.read_head(peer)
  local first, headers = peer:read("*l"), {}
  if not first then return nil, headers end
  for line in function() return peer:read("*l") end do
    line = line:gsub("\r$", "")
    if line == "" then break end
    local name, value = line:match("^([^:]+):%s*(.*)$")
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return (first:gsub("\r$", "")), headers
end

local function base64(bytes)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local out = bytes:gsub("..?.?", function(three)
    local bits = string.unpack(">I3", three .. ("\0"):rep(3 - #three))
    local text = ""
    for shift = 18, 0, -6 do
      local at = (bits >> shift & 63) + 1
      text = text .. letters:sub(at, at)
    end
    return text:sub(1, #three + 1) .. ("="):rep(3 - #three)
  end)
  return out
end

-- The value of Sec-WebSocket-Accept that belongs to a request.
function stranger.accept(headers)
  local key = headers["sec-websocket-key"] .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
  return base64(digest.new("sha1"):final(key))
end

-- The answer that grants an upgrade.
function stranger.accept_line(headers)
  return "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\z
    Sec-WebSocket-Accept: " .. stranger.accept(headers) .. "\r\n\r\n"
end

-- ---- Frames -------------------------------------------------------------------------------------

-- A frame of a server; `first` is its first byte as it stands, without one it is a whole text.
function stranger.frame(payload, first)
  local head = #payload < 126 and string.char(#payload)
    or #payload < 65536 and string.pack(">BI2", 126, #payload)
    or string.pack(">BI8", 127, #payload)
  return string.char(first or 0x81) .. head .. payload
end

-- The next frame of a client: its first byte, its payload, its mask; nil at the end.
function stranger.read_frame(peer)
  local head = peer:read(2)
  if not head or #head < 2 then return nil end
  local first, second = head:byte(1, 2)
  assert(second & 0x80 ~= 0, "a frame without a mask")
  local length = second & 0x7f
  if length == 126 then length = string.unpack(">I2", peer:read(2)) end
  if length == 127 then length = string.unpack(">I8", peer:read(8)) end
  local mask = peer:read(4)
  local masked = length > 0 and peer:read(length) or ""
  local out = {}
  for i = 1, #masked do out[i] = string.char(masked:byte(i) ~ mask:byte((i - 1) % 4 + 1)) end
  return first, table.concat(out), mask
end

return stranger

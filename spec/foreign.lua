-- foreign.lua: a WebSocket client of another make (lua-http's) for the specs of the sandbox: what
-- its options and knobs do is read by somebody who knows nothing of them.

-- Debian has lua-http for Lua 5.3 and what it needs for others; it is plain Lua.
package.path = table.concat({ package.path, "/usr/share/lua/5.3/?.lua",
  "/usr/share/lua/5.3/?/init.lua", "/usr/share/lua/5.1/?.lua", "/usr/share/lua/5.1/?/init.lua" },
  ";")

local cjson = require "cjson"
local context = require "openssl.ssl.context"
local request = require "http.request"
local store = require "openssl.x509.store"
local websocket = require "http.websocket"
local x509 = require "openssl.x509"

local foreign = { patience = 5 }

local peer = {}
peer.__index = peer

local function read_file(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

-- One that trusts the sandbox's authority, and nobody else.
local function trusting(discord)
  local trusted, tls = store.new(), context.new("TLS", false)
  trusted:add(x509.new(read_file(discord.ca_file)))
  tls:setStore(trusted)
  tls:setVerify(context.VERIFY_PEER)
  return tls
end

-- Opens a WebSocket; options: query, port, path, url. Returns the peer, or nil and why.
function foreign.connect(discord, options)
  options = options or {}
  local url = options.url or ("%s://127.0.0.1:%d%s"):format(discord.ca_file and "wss" or "ws",
    options.port or discord.port, options.path or "")
  local ws = websocket.new_from_uri(url .. "/?" .. (options.query or "v=10&encoding=json"))
  if discord.ca_file then ws.request.ctx = trusting(discord) end
  local fine, why = ws:connect(foreign.patience)
  if not fine then return nil, why end
  return setmetatable({ ws = ws }, peer)
end

-- The next message and whether it is "text" or "binary"; nil, the close code and its reason at the
-- end. A frame that is not there as a whole at once is an error of this client's.
function peer:receive(seconds)
  local fine, bytes, kind = pcall(self.ws.receive, self.ws, seconds or foreign.patience)
  if not fine then return nil, nil, bytes end
  if bytes then return bytes, kind end
  return nil, self.ws.got_close_code, self.ws.got_close_message
end

function peer:message(seconds)
  local text, code, reason = self:receive(seconds)
  if not text then return nil, code, reason end
  return cjson.decode(text)
end

-- Reads until a message fits.
function peer:expect(op, name)
  while true do
    local message, code, reason = self:message()
    if not message then
      error(("waited for %s %s: %s %s"):format(op, name or "", code, reason or ""), 2)
    end
    if message.op == op and (not name or message.t == name) then return message end
  end
end

-- Reads on until the close frame: its code and reason; nil where there was none.
function peer:closed()
  repeat
    local bytes, code, reason = self:receive()
    if not bytes then return code, reason end
  until not bytes
end

-- Nothing comes for a while.
function peer:is_silent(seconds)
  local bytes, code = self:receive(seconds or 0.05)
  return bytes == nil and code == nil
end

function peer:send(op, d, kind)
  return self.ws:send(cjson.encode { op = op, d = d == nil and cjson.null or d }, kind or "text")
end

function peer:identify(discord, more)
  local d = { token = discord.token, intents = 1 | 1 << 9 | 1 << 15,
    properties = { os = "linux", browser = "lua-http", device = "lua-http" } }
  for key, value in pairs(more or {}) do d[key] = value end
  return self:send(2, d)
end

function peer:close(code)
  return self.ws:close(code or 4000, "", 1)
end

-- A peer that has said HELLO and READY, whose data is the second result.
function foreign.ready(discord, more, options)
  local one = assert(foreign.connect(discord, options))
  one:expect(10)
  one:identify(discord, more)
  return one, one:expect(0, "READY").d
end

-- GET of a path: status, headers, and the body as a table.
function foreign.get(discord, path, headers)
  local one = request.new_from_uri(discord.api .. path)
  if discord.ca_file then one.ctx = trusting(discord) end
  one.headers:append("authorization", "Bot " .. discord.token)
  for name, value in pairs(headers or {}) do one.headers:append(name, value) end
  local answer, stream = one:go(foreign.patience)
  if not answer then return nil, stream end
  local fine, body = pcall(cjson.decode, assert(stream:get_body_as_string(foreign.patience)))
  return tonumber(answer:get ":status"), answer, fine and body or nil
end

return foreign

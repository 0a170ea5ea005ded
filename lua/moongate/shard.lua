-- shard.lua: the methods of a Shard, over the userdata of lua_engine.c: one object, one `:`. Called
-- by users and by cluster.lua, on the Lua thread. What Lua knows of a shard stands in the table of
-- its user value, never in the registry, so that a listener which mentions its client is collected
-- with it:
--
--   cluster, gateway, version   shown as properties
--   emitter                     its listeners
--   down, leaving               it is idle or dead, as far as the events have told; it was told to
--   handled, dispatching        the sequence that listeners have had; events being handled now
--   stale                       the names it hears have to be sent again
--   detached                    its engine is gone, and with it what was queued
--   stored, saved               what its session store had; what it was given last
--   presence                    the last one it was told, if that is newer than the cluster's
--   undecodable                 events that could not be decoded here
--   said                        what its Identify says instead of the options, by identify()

local commands = require "moongate.commands"
local core = require "moongate.core"
local emitter = require "moongate.emitter"
local spelling = require "moongate.spelling"

local shard = {}

local methods = core.shard_methods
local fields_of = core.shard_fields

local KEEP = core.limits.CLOSE_KEEP
local REASON_BYTES_MAX = core.limits.REASON_BYTES_MAX
local PRESENCE_UPDATE = core.opcodes.PRESENCE_UPDATE
local HEARTBEAT = core.opcodes.HEARTBEAT
local ETF_VERSION = 131 -- the first byte of a term
local GREETINGS = { [core.opcodes.IDENTIFY] = "identify()", [core.opcodes.RESUME] = "resume()" }

-- The states in which a connection is open.
local OPEN = { hello = true, identifying = true, resuming = true, ready = true }

-- The rest of an Identify, whose size is limited as well, needs less than 1024 bytes.
local PRESENCE_BYTES_MAX = core.limits.PAYLOAD_BYTES_MAX - 1024

-- ---- Arguments ---------------------------------------------------------------------------------

-- RFC 6455 lets an endpoint send these; the library refuses the others.
local function check_close(operation, code, reason, level)
  if code ~= nil and not (math.floor(tonumber(code) or -1) == code
    and (code == 1000 or code == 1001 or code >= 3000 and code <= 4999)) then
    error(("%s: code must be 1000, 1001 or from 3000 to 4999, got %s"):format(operation,
      tostring(code)), level + 1)
  end
  if reason ~= nil and (type(reason) ~= "string" or #reason > REASON_BYTES_MAX) then
    error(("%s: reason must be a string of at most %d bytes"):format(operation, REASON_BYTES_MAX),
      level + 1)
  end
end

shard.check_close = check_close

-- "request_guild_members" and "RequestGuildMembers" are REQUEST_GUILD_MEMBERS as well.
local opcodes, opcode_names = {}, {}
for name, number in pairs(core.opcodes) do
  if type(name) == "string" then
    opcodes[name:gsub("_", ""):lower()] = number
    opcode_names[#opcode_names + 1] = name
  end
end
table.sort(opcode_names)

local function opcode_of(op)
  if type(op) == "number" and op % 1 == 0 and op >= 0 then return math.floor(op) end
  return type(op) == "string" and opcodes[op:gsub("_", ""):lower()] or nil
end

local function refuse_opcode(op, level)
  local meant = type(op) == "string" and spelling.nearest(op, opcode_names)
  error(("send: op must be an opcode or its name, got %s%s"):format(
    type(op) == "string" and ("%q"):format(op:sub(1, 24)) or type(op),
    meant and ("; did you mean %q?"):format(meant) or ""), level + 1)
end

-- ---- Verbs -------------------------------------------------------------------------------------

local function engine_of(self, operation)
  local fields = fields_of(self)
  local bridge = fields.cluster and fields.cluster.bridge
  if bridge and bridge.engine then return bridge.engine, fields end
  return nil, operation .. ": not running; connect() first", "ECLOSED"
end

--- Starts the shard, with its session if it has one. Waits for the gateway's URL when that is not
-- known yet. Returns true, or nil, message, code.
function methods:connect()
  return fields_of(self).cluster:start_shards { self.id }
end

--- Closes the connection and stays down. Without arguments, and with any code but 1000 and 1001,
-- the session stays resumable: connect() takes it up again.
function methods:disconnect(code, reason)
  check_close("disconnect", code, reason, 2)
  local engine, message, why = engine_of(self, "disconnect")
  if not engine then return nil, message, why end
  local asked, why_not, failure = engine:stop_shard(self.id, code or KEEP, reason)
  if not asked then return nil, why_not, failure end
  fields_of(self).leaving = true
  return true
end

--- Closes the connection and comes back: resuming, unless the code is 1000 or 1001.
function methods:reconnect(code, reason)
  check_close("reconnect", code, reason, 2)
  local engine, message, why = engine_of(self, "reconnect")
  if not engine then return nil, message, why end
  return engine:reconnect(self.id, code or KEEP, reason)
end

-- What was handed to send(), as the arguments of engine:send.
local function packet_of(op, d)
  if type(op) == "table" and d == nil then
    local number = opcode_of(op.op)
    if not number then refuse_opcode(op.op, 3) end
    return number, op.d
  end
  local number = opcode_of(op)
  if number then return number, d end
  if type(op) == "string" and d == nil and op:find("^[%s{\131]") then return op, nil end
  refuse_opcode(op, 3)
end

-- The d of a Presence Update that was handed to send(), be it encoded already; else nil.
local function presence_in(head, data)
  if head == PRESENCE_UPDATE then return data end
  if type(head) ~= "string" then return nil end
  local packet = core.decode(head, {
    null = "keep", encoding = head:byte() == ETF_VERSION and "etf" or "json",
  })
  return type(packet) == "table" and packet.op == PRESENCE_UPDATE and packet.d or nil
end

--- send(op, d), send("REQUEST_GUILD_MEMBERS", d), send { op =, d = } or send(bytes), which are
-- already encoded. Never blocks. True, or nil, message, code: EPAYLOAD over 4096 bytes, EBUSY when
-- too much waits, ECLOSED when the shard is not running, EVALUE for what cannot be encoded.
-- A HEARTBEAT is heartbeat(); Identify and Resume have their own verbs.
function methods:send(op, d)
  local head, data = packet_of(op, d)
  if head == HEARTBEAT then return self:heartbeat() end
  if GREETINGS[head] then
    return nil, ("send: a greeting is sent once; %s does what can be done"):format(
      GREETINGS[head]), "EUSAGE"
  end
  local engine, message, code = engine_of(self, "send")
  if not engine then return nil, message, code end
  local sent, why, why_code = engine:send(self.id, head, data)
  if not sent then return nil, why, why_code end
  local presence = presence_in(head, data)
  if presence then
    local fields = fields_of(self)
    fields.presence = shard.presence_of(presence) or fields.presence
  end
  return true
end

-- ---- By hand -----------------------------------------------------------------------------------

--- The same as gateway:identify(shard, packet): waits until the shard has said who it is.
function methods:identify(packet)
  return fields_of(self).gateway:identify(self, packet)
end

--- Takes the session up: a shard that is down connects, one that waits stops waiting, one that is
-- ready makes a new connection. True, or nil, message, code: EUSAGE when there is no session.
function methods:resume()
  if not self.session then
    return nil, "resume: there is no session to be taken up; identify() begins one", "EUSAGE"
  end
  local engine, fields = engine_of(self, "resume")
  if not engine or fields.down or fields.leaving then return self:connect() end
  return engine:resume(self.id)
end

-- The engine of a shard that has an open connection.
local function open_engine(self, operation)
  local engine, message, code = engine_of(self, operation)
  if not engine then return nil, message, code end
  if OPEN[self.state] then return engine end
  return nil, ("%s: no connection is open, the shard is %s"):format(operation, self.state),
    "ECLOSED"
end

--- Sends one heartbeat now; those of the timer go on. True, or nil, message, code: ECLOSED without
-- an open connection.
function methods:heartbeat()
  local engine, message, code = open_engine(self, "heartbeat")
  if not engine then return nil, message, code end
  return engine:beat(self.id)
end

--- Takes one message, uncompressed and in any encoding, as if the gateway had sent it. True, or
-- nil, message, code: ECLOSED without an open connection, ESYNTAX for what is no message.
function methods:receive(bytes)
  if type(bytes) ~= "string" then
    error(("receive: bytes must be a string, one message, got %s"):format(type(bytes)), 2)
  end
  local engine, message, code = open_engine(self, "receive")
  if not engine then return nil, message, code end
  return engine:receive(self.id, bytes)
end

-- ---- State -------------------------------------------------------------------------------------

-- What has been handed to listeners, or was not wanted by any: the sequence to resume from in
-- another process. Nil while nothing of the session has been.
local function handled_seq(self, status)
  local fields = fields_of(self)
  local bridge = fields.cluster and fields.cluster.bridge
  local engine = bridge and bridge.engine
  -- Not settled: the event with this sequence is about to be queued. Read before the queue was, so
  -- what it tells of has been in there.
  local all_taken = status.settled and not fields.dispatching
  if engine and all_taken and engine:counts().queue_events == 0 then return status.seq end
  return fields.handled
end

--- What another process needs to go on with the session: a plain table for options.session. Events
-- that no listener has had yet come again there. Or nil, message, code.
function methods:session_info()
  local status = core.shard_status(self)
  if not status.session then
    return nil, "session_info: there is no session to be taken up", "EUSAGE"
  end
  local seq = handled_seq(self, status)
  if not seq then
    return nil, "session_info: no event of the session has been handled yet", "EUSAGE"
  end
  return {
    id = status.session,
    url = status.session_url,
    seq = seq,
    shard_id = self.id,
    shard_count = self.count,
  }
end

--- Everything that is counted, as a plain table.
function methods:stats()
  local status = core.shard_status(self)
  local stats = status.counts
  stats.reconnects = math.max((stats.connects or 0) - 1, 0)
  stats.decode_errors = (stats.undecodable or 0) + (fields_of(self).undecodable or 0)
  stats.state, stats.seq, stats.outbox_commands = status.state, status.seq, status.outbox_commands
  stats.latency = self.latency
  return stats
end

--- A shard on its own is driven like a cluster: connects, and hands events to their listeners until
-- stop() or Ctrl-C. True, or nil, message, code.
function methods:run()
  return fields_of(self).cluster:run()
end

--- Hands on what is there, waiting for it at most timeout_s seconds. As step() of a cluster.
function methods:step(timeout_s)
  return fields_of(self).cluster:step(timeout_s)
end

--- Closes the connection and ends run(). As stop() of a cluster.
function methods:stop(options)
  return fields_of(self).cluster:stop(options)
end

emitter.delegate(methods, function(self) return fields_of(self).emitter end)
commands.for_shard(methods)

-- ---- For cluster.lua ---------------------------------------------------------------------------

--- A new Shard of a cluster. `hooks` is a table for emitter.new, whose owner becomes the shard.
function shard.new(cluster, id, count, hooks)
  local self = core.shard(id, count)
  local fields = fields_of(self)
  fields.cluster, fields.gateway = cluster, cluster.gateway
  fields.version = cluster.options.version
  fields.down = true
  hooks.owner = self
  fields.emitter = emitter.new(hooks)
  return self
end

--- Its Lua side.
shard.fields = fields_of

--- The d of a Presence Update as an Identify takes it, or nil when it is none or leaves no room.
function shard.presence_of(d)
  local text = type(d) == "table" and core.encode(d)
  if text and text:find "^{" and #text <= PRESENCE_BYTES_MAX then return text end
  return nil
end

--- Unties a shard from an engine that is about to be closed; what was seen last stays readable.
function shard.detach(self)
  local fields = fields_of(self)
  fields.handled = handled_seq(self, core.shard_status(self))
  fields.detached = true
  core.shard_attach(self, nil)
end

--- True for a Shard.
function shard.is(value)
  return type(value) == "userdata" and getmetatable(value) == "moongate.shard"
end

return shard

-- cases.lua: which clients are tried how, what each of them does wrong by itself, and the judge who
-- walks one client through everything. Loaded by `run`.

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"

local INTERVAL_MS = 3000 -- between heartbeats; a client that is late is closed by the sandbox
local PATIENCE_S = 25 -- for one behaviour
local SLOT_S = 6 -- between two identifies of one shard, in whole seconds of the clock
local PROMPT_S = 0.4 -- within which op 1 has to be answered: a beat by chance is rarely so near

local cases = {}

-- Every behaviour, in the order in which a client is walked through: its column, and its judge. A
-- judge returns true, or nil and what the client did instead. The last, which everybody is judged
-- by in the end, is that the sandbox had to refuse nothing on the way.
cases.behaviours = {
  "ready", "guilds", "message", "answer", "edit", "interaction", "follow up", "op 1", "drop",
  "op 7", "op 9 true", "op 9 false", "limits",
}

local EVERYTHING = { "ready", "guilds", "message", "answer", "edit", "interaction", "follow up",
  "op 1", "drop", "op 7", "op 9 true", "op 9 false" }
local WITHOUT_REST = { "ready", "guilds", "message", "op 1", "drop", "op 7", "op 9 true",
  "op 9 false" }
local RAW = { "ready", "guilds", "message", "answer", "op 1", "drop", "op 7", "op 9 true",
  "op 9 false" }
local SHARDED = { "ready", "guilds", "message", "drop", "op 7" }

-- client, how it is told, program, which packages it finds, what it is given, what is tried.
cases.list = {
  { "discord.py", "wss", "json", "zlib-stream", python = true, tls = true, try = EVERYTHING },
  { "discord.py", "ws", "json", "zlib-stream", python = true, shards = 4, concurrency = 1,
    try = SHARDED },
  { "discord.js", "ws", "json", "none", file = "discordjs.cjs", try = EVERYTHING },
  { "discord.js", "wss", "json", "zlib-stream", file = "discordjs.cjs", native = true, tls = true,
    try = EVERYTHING },
  { "discord.js", "ws", "json", "none", file = "discordjs.cjs", shards = 4, try = SHARDED },
  { "@discordjs/ws", "ws", "json", "none", file = "discordjsws.cjs", node = 20, try = RAW },
  { "@discordjs/ws", "wss", "json", "zlib-stream", file = "discordjsws.cjs", node = 20, tls = true,
    given = "zlib", try = RAW },
  { "@discordjs/ws", "ws", "json", "payload", file = "discordjsws.cjs", node = 20,
    given = "payload", try = RAW },
  { "@discordjs/ws", "ws", "json", "zlib-stream", file = "discordjsws.cjs", node = 20,
    native = true, given = "zlib-sync", shards = 4, concurrency = 1, try = SHARDED },
  { "eris", "ws", "json", "none", file = "eris.cjs", try = EVERYTHING },
  { "eris", "wss", "json", "zlib-stream", file = "eris.cjs", given = "zlib", tls = true,
    try = EVERYTHING },
  { "eris", "wss", "etf", "none", file = "eris.cjs", native = true, tls = true, try = EVERYTHING },
  { "eris", "ws", "etf", "zlib-stream", file = "eris.cjs", native = true, given = "zlib",
    try = EVERYTHING },
  { "eris", "ws", "etf", "zlib-stream", file = "eris.cjs", native = true, given = "zlib",
    shards = 4, try = SHARDED },
  { "@spectacles/gateway", "ws", "json", "zlib-stream", file = "spectacles.cjs",
    any_frame = true, try = WITHOUT_REST },
  { "@spectacles/gateway", "wss", "json", "zlib-stream", file = "spectacles.cjs", tls = true,
    strict = true, try = { "ready" } },
  { "@spectacles/gateway", "wss", "etf", "zlib-stream", file = "spectacles.cjs", native = true,
    tls = true, try = WITHOUT_REST },
  { "@spectacles/gateway", "ws", "etf", "zlib-stream", file = "spectacles.cjs", native = true,
    shards = 4, concurrency = 1, try = { "ready", "guilds", "message" } },
}

-- What a client does wrong itself: what its judge finds (a pattern), and why that is so. A client
-- that does right where it stands here fails: then this list is wrong.
-- With `maybe` it hangs on milliseconds.
cases.quirks = {
  ["eris"] = {
    ["op 9 true"] = { "^identified anew %(1 times%)", "It drops its session at every op 9, "
      .. "whatever its d says, and identifies at once on the same connection. (Less than 5 s after "
      .. "the last Identify that is refused with another op 9, and so on, until 4008.)" },
  },
  ["@spectacles/gateway"] = {
    ["drop"] = { "^resumed from seq 0", "It forgets its sequence number with its "
      .. "connection (Shard._reset), so that it is told everything of the session again." },
    ["op 7"] = { "^resumed from seq 0", "The same." },
    ["ready"] = { "^closed with 4002", "It sends JSON in binary frames, where text frames are "
      .. "due. The other case without ETF is run with the sandbox's option any_frame.",
      only = "strict" },
    ["limits"] = { "less than 5 s ago$", "Its throttle sends the next Identify 5 s after "
      .. "it sent the last, which may be less where they arrive. The op 9 that follows it answers "
      .. "well.",
      maybe = true },
  },
}

--- What is expected to be wrong with a behaviour in a case, or nil.
function cases.quirk(case, behaviour)
  local quirk = (cases.quirks[case[1]] or {})[behaviour]
  if quirk and quirk.only and not case[quirk.only] then return nil end
  return quirk
end

-- ---- One client ---------------------------------------------------------------------------------

local walk = {}
walk.__index = walk

-- The lines that the client has said so far that begin so.
function walk:said(words)
  local file = assert(io.open(self.said_file))
  local count = 0
  for line in file:lines() do
    if line:sub(1, #words) == words and (line .. " "):sub(#words + 1, #words + 1) == " " then
      count = count + 1
    end
  end
  file:close()
  return count
end

function walk:await(check, seconds)
  return (self.discord:wait_until(check, seconds or PATIENCE_S))
end

function walk:count(op)
  return #self.discord:received(op)
end

-- Every shard has a connection with a session.
function walk:all_ready()
  local ready = 0
  for _, connection in ipairs(self.discord:connections()) do
    if connection.state == "ready" then ready = ready + 1 end
  end
  return ready == self.shards
end

-- One message to the guild of each shard, and the client's word for each.
function walk:hears(content)
  local before = self:said("message " .. content)
  for at = 1, self.shards do
    self.discord:dispatch("MESSAGE_CREATE",
      { content = content, guild_id = self.discord.guilds[at].id })
  end
  local fine = self:await(function()
    return self:said("message " .. content) >= before + self.shards
  end)
  if fine then return true end
  return nil, ("heard %d of %d messages"):format(self:said("message " .. content) - before,
    self.shards)
end

-- What comes after an order that costs every connection, but no session.
function walk:resumes(order)
  local identifies, resumes = self:count "IDENTIFY", self:count "RESUME"
  local seqs, news = {}, "message away" .. resumes
  for _, session in ipairs(self.discord:sessions()) do seqs[session.id] = session.seq end
  order()
  for at = 1, self.shards do
    self.discord:dispatch("MESSAGE_CREATE",
      { content = "away" .. resumes, guild_id = self.discord.guilds[at].id })
  end
  local fine = self:await(function()
    return self:count "IDENTIFY" > identifies and self:all_ready()
      or self:said(news) >= self.shards and self:all_ready()
      and self:count "RESUME" >= resumes + self.shards
  end)
  if self:count "IDENTIFY" > identifies then
    return nil, ("identified anew (%d times) instead of resuming"):format(
      self:count "IDENTIFY" - identifies)
  elseif not fine then
    return nil, ("%d resumes, %d of %d messages"):format(self:count "RESUME" - resumes,
      self:said(news), self.shards)
  end
  for at = resumes + 1, self:count "RESUME" do
    local d = self.discord:received "RESUME"[at].d
    if seqs[d.session_id] and seqs[d.session_id] > 0 and d.seq == 0 then
      return nil, "resumed from seq 0: everything was told again"
    end
  end
  if self:said(news) > self.shards then
    return nil, ("heard %d messages instead of %d"):format(self:said(news), self.shards)
  end
  return true
end

local judges = {}

judges["ready"] = function(self)
  local refused
  local fine = self:await(function()
    for _, connection in ipairs(self.discord:history()) do
      refused = refused or connection.close_sent
    end
    return self:all_ready() and self:said "ready" > 0 or self:said "error" > 0 or refused
  end, 40)
  if refused then return nil, "closed with " .. refused end
  if not fine or self:said "error" > 0 then return nil, "never ready" end
  local manner = self.discord:connections()[1]
  local compress = manner.compress or "none"
  if manner.encoding ~= self.case[3] or compress ~= self.case[4] then
    return nil, ("came with %s and %s"):format(manner.encoding, compress)
  end
  self.identified = os.time()
  return true
end

-- Its own count of channels and members, where it has a cache.
judges["guilds"] = function(self)
  local fine = self:await(function()
    for _, guild in ipairs(self.discord.guilds) do
      if self:said("guild " .. guild.name .. " 4 4") < 1 then return false end
    end
    return true
  end)
  return fine, not fine and "not all guilds with 4 channels and 4 members" or nil
end

judges["message"] = function(self) return self:hears "hello" end

judges["answer"] = function(self)
  local fine, why = self:hears "!ping"
  if not fine then return nil, why end
  fine = self:await(function()
    return self:said "sent pong" > 0 and self:said "message pong" > 0
  end)
  if not fine then return nil, "no pong" end
  for _, request in ipairs(self.discord:requests()) do
    if request.path:find "/messages$" and request.status ~= 200 then
      return nil, "answered with " .. request.status
    end
  end
  return true
end

-- Whether every request of a method was answered so.
local function are_answered(discord, method, status)
  local count = 0
  for _, request in ipairs(discord:requests()) do
    if request.method == method then
      count = count + 1
      if request.status ~= status then
        return nil, ("%s was answered with %d"):format(method, request.status)
      end
    end
  end
  return count > 0, count == 0 and "no " .. method or nil
end

judges["edit"] = function(self)
  local fine, why = self:hears "!edit"
  if not fine then return nil, why end
  fine = self:await(function()
    return self:said "message draft" > 0 and self:said "updated final" > 0
      and self:said "deleted" > 0
  end)
  if not fine then return nil, "not edited and deleted" end
  fine, why = are_answered(self.discord, "PATCH", 200)
  if fine then fine, why = are_answered(self.discord, "DELETE", 204) end
  return fine, why
end

judges["follow up"] = function(self)
  local deleted = self:said "deleted"
  self.discord:dispatch("INTERACTION_CREATE", { data = { name = "slow" } })
  local fine = self:await(function()
    return self:said "updated edited" > 0 and self:said "message followed" > 0
      and self:said "deleted" > deleted and self:said "done" > 0
  end)
  return fine, not fine and "the answer was not edited, followed and deleted" or nil
end

judges["interaction"] = function(self)
  self.discord:dispatch("INTERACTION_CREATE", { data = { name = "moon" } })
  local fine = self:await(function()
    return self:said "interaction moon" > 0 and self:said "replied" > 0
      and self:said "message answered" > 0
  end)
  return fine, not fine and "not answered" or nil
end

-- Whether each of a few heartbeats comes when it is asked for.
function walk:beats_when_asked()
  for _ = 1, 3 do
    local before = self:count "HEARTBEAT"
    self.discord:heartbeat()
    if not self:await(function() return self:count "HEARTBEAT" > before end, PROMPT_S) then
      return false
    end
  end
  return true
end

-- Twice, as a client whose own beat falls between one that was asked for and its ACK may take the
-- connection for dead (seen of @discordjs/ws on a busy machine).
judges["op 1"] = function(self)
  if self:beats_when_asked() then return true end
  self:await(function() return self:all_ready() end)
  if self:beats_when_asked() then return true end
  return nil, "no heartbeat when one was asked for"
end

judges["drop"] = function(self)
  return self:resumes(function() self.discord:drop() end)
end

judges["op 7"] = function(self)
  return self:resumes(function() self.discord:reconnect() end)
end

-- Whoever identifies at once may do so by the rules: the last one is 5 s ago.
function walk:wait_for_slot()
  self:await(function() return os.time() - self.identified >= SLOT_S end)
  self.identified = os.time()
end

judges["op 9 true"] = function(self)
  self:wait_for_slot()
  return self:resumes(function() self.discord:invalid_session(true) end)
end

judges["op 9 false"] = function(self)
  self:wait_for_slot()
  local identifies, resumes = self:count "IDENTIFY", self:count "RESUME"
  self.discord:invalid_session(false)
  local fine = self:await(function()
    return self:count "IDENTIFY" > identifies and self:all_ready()
  end)
  if not fine then
    return nil, ("%d identifies, %d resumes"):format(self:count "IDENTIFY" - identifies,
      self:count "RESUME" - resumes)
  end
  return self:hears "again"
end

-- What the sandbox had to refuse on the way, which no judge above would see.
local function refusals(discord)
  for _, line in ipairs(discord:log()) do
    if line.what == "refuse" then return line.text end
  end
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- Starts the program of a case; returns its process.
local function start_client(case, discord, paths)
  local setting = cjson.encode { folder = case.native and paths.native or paths.plain,
    api = discord.api, token = discord.token, shards = case.shards or 1, compress = case.given }
  local trust = case.tls and ("SSL_CERT_FILE=%s NODE_EXTRA_CA_CERTS=%s "):format(
    quote(discord.ca_file), quote(discord.ca_file)) or ""
  local program = case.python and paths.python .. " " .. quote(paths.here .. "/discordpy.py")
    or "node " .. quote(paths.here .. "/" .. case.file)
  local pipe = assert(io.popen(("%sPEER=%s timeout 120 %s >%s.out 2>%s.err & echo $!"):format(
    trust, quote(setting), program, quote(paths.log), quote(paths.log))))
  local pid = pipe:read "l"
  pipe:close()
  return pid
end

--- Walks the client of a case through what it is to be tried with. `paths`: here, plain, native
--- (folders of packages), python, log (the files' name without an end). Returns its version and a
--- list of { behaviour, fine, words }.
function cases.try(case, paths)
  local shards = case.shards or 1
  local discord = assert(sandbox.start { guilds = math.max(2, shards), shards = shards,
    max_concurrency = case.concurrency or 4, tls = case.tls or false,
    heartbeat_interval = INTERVAL_MS, any_frame = case.any_frame or false })
  os.remove(paths.log .. ".out")
  assert(io.open(paths.log .. ".out", "w")):close()
  local pid = start_client(case, discord, paths)
  local self = setmetatable({ discord = discord, case = case, shards = shards,
    said_file = paths.log .. ".out" }, walk)
  local results = {}
  for _, behaviour in ipairs(case.try) do
    local fine, words = judges[behaviour](self)
    results[#results + 1] = { behaviour, fine or false, words or "" }
    if behaviour == "ready" and not fine then break end
  end
  if results[1][2] then
    local refused = refusals(discord)
    results[#results + 1] = { "limits", not refused, refused or "" }
  end
  os.execute("kill " .. pid .. " 2>/dev/null")
  local version
  for line in io.lines(self.said_file) do version = version or line:match "^version (.*)" end
  local file = assert(io.open(paths.log .. ".log", "w"))
  for _, line in ipairs(discord:log()) do
    file:write(("%d %s %s %s\n"):format(line.at_ms, line.connection or "-", line.what, line.text))
  end
  file:close()
  discord:stop()
  return version or "?", results
end

return cases

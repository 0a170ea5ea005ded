-- gateway.lua: moongate against gateway.mjs, a server on npm's `ws` that moongate did not write.
-- Loaded by `run`: returns a function (options) -> true and words, or nil and what was wrong.

local moongate = require "moongate"
local cjson = require "cjson"

local TOKEN = "peer.token.0123456789"
local INTERVAL_MS = 400 -- as gateway.mjs has it
local LATE_MS = 150 -- how far from its time a beat may leave on a busy machine

local function fail(problems, ...)
  problems[#problems + 1] = string.format(...)
end

-- What the Lua side must have heard, in this order.
local expected = {
  { "READY", "peer" }, { "GUILD_CREATE", "Fragments" },
  { "MESSAGE_CREATE", "one" }, { "MESSAGE_CREATE", "two \u{1f319}" },
  { "MESSAGE_CREATE", "three, missed" }, { "MESSAGE_CREATE", "four, missed" }, { "RESUMED" },
  { "MESSAGE_CREATE", "five" }, { "RESUMED" }, { "MESSAGE_CREATE", "goodbye" },
}

local function judge_heard(problems, heard)
  for at = 1, math.max(#expected, #heard) do
    local want, got = expected[at] or {}, heard[at] or {}
    if want[1] ~= got[1] or want[2] ~= got[2] then
      fail(problems, "event %d: expected %s %s, heard %s %s", at,
        want[1], want[2] or "", got[1], got[2] or "")
    end
  end
end

local function judge_beats(problems, number, connection)
  local beats = connection.beats
  for at = 2, #beats do
    local gap = beats[at].at - beats[at - 1].at
    if math.abs(gap - INTERVAL_MS) > LATE_MS then
      fail(problems, "connection %d: %d ms between beats, not %d", number, gap, INTERVAL_MS)
    end
  end
end

local codes = { 1006, 4000, 1000 } -- cut by the server, op 7 answered, stopped

local function judge_connection(problems, number, connection, compress)
  local query, payloads = connection.query, compress == "payload"
  local asked = not payloads and compress or nil
  if query.v ~= "10" or query.encoding ~= "json" or query.compress ~= asked then
    fail(problems, "connection %d: query %s", number, cjson.encode(query))
  end
  if number == 1 and connection.payloads ~= payloads then
    fail(problems, "connection 1: compressed payloads were %sasked for", payloads and "not " or "")
  end
  if connection.extensions ~= cjson.null then
    fail(problems, "connection %d: offers %s", number, connection.extensions)
  end
  if connection.unanswered or (connection.pings > 0 and connection.pongs == 0) then
    fail(problems, "connection %d: %d pings, %d pongs, %s unanswered", number, connection.pings,
      connection.pongs, connection.unanswered or 0)
  end
  if connection.close_code ~= codes[number] then
    fail(problems, "connection %d: closed with %s, expected %d", number,
      connection.close_code, codes[number])
  end
  if connection.opened_with ~= (number == 1 and 2 or 6) then
    fail(problems, "connection %d: opened with op %s", number, connection.opened_with)
  end
  local resume = connection.resume
  if number > 1 and (connection.path ~= "/resumed/here" or not resume) then
    fail(problems, "connection %d: resumed at %s", number, connection.path)
  elseif number > 1 and resume.session_id ~= "a-session-of-the-peer" then
    fail(problems, "connection %d: resumes session %s", number, resume.session_id)
  elseif number == 2 and resume.seq ~= resume.last - 2 then
    fail(problems, "connection 2: resumes from %s of %s", resume.seq, resume.last)
  end
  judge_beats(problems, number, connection)
end

local function run_client(port, options)
  local heard, problems = {}, {}
  local bot <close> = moongate.client {
    token = TOKEN,
    url = (options.certificate and "wss" or "ws") .. "://127.0.0.1:" .. port,
    shards = 1,
    intents = { "guilds", "guild_messages", "message_content" },
    ca_file = options.certificate,
    compress = options.compress or false,
    backoff = { base = 0, cap = 0 },
  }
  bot:on("*", function(data, _, event)
    local words = data.name or data.content or (data.user and data.user.username)
    heard[#heard + 1] = { event, words }
    if event == "GUILD_CREATE" and #data.channels ~= 800 then
      fail(problems, "GUILD_CREATE with %d channels", #data.channels)
    elseif event == "MESSAGE_CREATE" and data.id ~= tostring(9007199254740993 + data.number) then
      fail(problems, "message %s with id %s", data.number, data.id)
    end
    if data.content == "goodbye" then bot:stop() end
  end)
  bot:on("error", function(data) fail(problems, "error: %s", data.message) end)
  bot:on("fatal", function(data) fail(problems, "fatal: %s", data.message) end)
  local deadline = os.time() + 25
  bot:connect()
  while (heard[#heard] or {})[2] ~= "goodbye" and os.time() < deadline do bot:step(0.5) end
  judge_heard(problems, heard)
  return problems
end

-- options: node, folder (of the packages), script, key and certificate for TLS, compress.
return function(options)
  local words = { options.node, options.script, options.folder, options.key, options.certificate }
  for at, word in ipairs(words) do words[at] = "'" .. word .. "'" end
  local server = assert(io.popen(table.concat(words, " "), "r"))
  local port = server:read("l")
  if not port then
    server:close()
    return nil, "the server did not start"
  end
  local problems = run_client(port, options)
  local summary = cjson.decode(server:read("l") or "{}")
  server:close()
  for _, problem in ipairs(summary.problems or {}) do fail(problems, "server: %s", problem) end
  if summary.reason ~= "done" then fail(problems, "server: %s", summary.reason) end
  local beats, pongs = 0, 0
  for number, connection in ipairs(summary.connections or {}) do
    judge_connection(problems, number, connection, options.compress)
    beats, pongs = beats + #connection.beats, pongs + connection.pongs
  end
  if #problems > 0 then return nil, table.concat(problems, "; ") end
  return true, ("ready, message, resumed twice, %d beats, %d pongs"):format(beats, pongs)
end

-- options.lua: checks what a user passes to client(), cluster() or shard(), and fills in what is
-- missing. Called by those constructors. Everything about an option stands in its row; all mistakes
-- come in one message. It never touches the network, and no message of it shows the token.

local commands = require "moongate.commands"
local core = require "moongate.core"
local dialect = require "moongate.dialect"
local events = require "moongate.events"
local intents = require "moongate.intents"
local log = require "moongate.log"
local spelling = require "moongate.spelling"

local options = {}

local limits = core.limits

-- ---- The token ---------------------------------------------------------------------------------

local texts = setmetatable({}, { __mode = "k" }) -- token object -> its text; nothing else has it

local token_meta = {
  __name = "moongate.token",
  __metatable = "token",
  __tostring = function() return "token: (hidden)" end,
}

-- An object in the place of the text, so that a dump of the options shows nothing.
local function wrap(text)
  local object = setmetatable({}, token_meta)
  texts[object] = text
  return object
end

--- The text of the token in a checked option table, for those who send it.
function options.reveal(token)
  return texts[token]
end

-- ---- Words -------------------------------------------------------------------------------------

-- Each kind of option is a function (value, row, sheet) that returns the normalised value, or nil,
-- what is wrong, and what to do about it; `sheet` is the check under way, and sheet.dialect how it
-- speaks of options.

local SHOWN_MAX = 60 -- characters of a wrong value that a message repeats

-- Three parts of base64 with dots between, as every token has; it may stand in the wrong option.
local function like_a_token(text)
  return #text >= 50 and text:find("^[%w_-]+%.[%w_-]+%.[%w_-]+$") ~= nil
end

local function hides(sheet, text)
  for _, secret in ipairs(sheet.secrets) do
    if text:find(secret, 1, true) then return true end
  end
  return like_a_token(text:match("^%s*(.-)%s*$")) or text:find("^[Bb]ot%s+%S") ~= nil
end

local function show(sheet, value)
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  if type(value) ~= "string" then return "a " .. type(value) end
  if hides(sheet, value) then return "(hidden)" end
  local text = value:gsub("//[^/@]*@", "//(hidden)@")
  if #text > SHOWN_MAX then text = text:sub(1, SHOWN_MAX) .. "..." end
  return '"' .. text:gsub("[%c\127-\255\"\\]", function(c)
    return ("\\%d"):format(c:byte())
  end) .. '"'
end

local function quote_all(sheet, values)
  local list = {}
  for i, value in ipairs(values) do
    list[i] = value == false and sheet.dialect.off or '"' .. value .. '"'
  end
  return table.concat(list, " or ")
end

local function contains(list, value)
  for _, other in ipairs(list or {}) do
    if other == value then return true end
  end
  return false
end

local function whole_number(value)
  return type(value) == "number" and value % 1 == 0 and math.abs(value) < 2 ^ 53
end

-- ---- Kinds -------------------------------------------------------------------------------------

local function token_help(sheet)
  return ("%s; the token is on the Bot page of %s"):format(sheet.dialect.token, intents.portal)
end

local function token(value, _, sheet)
  if texts[value] then return value end
  if type(value) ~= "string" then
    return nil, show(sheet, value) .. " is no token", token_help(sheet)
  end
  local text = value:match("^[Bb]ot (.*)$") or value
  if text == "" then return nil, "is empty", token_help(sheet) end
  if text:find("%s") then
    return nil, "has white space or a line break in it", "copy it without"
  end
  if text:find("[^\33-\126]") then
    return nil, "has characters in it that no token has", "copy it again from " .. intents.portal
  end
  if #text > limits.TOKEN_BYTES_MAX then
    return nil, ("has %d characters, at most %d are possible"):format(#text,
      limits.TOKEN_BYTES_MAX), "check that it is the token and nothing more"
  end
  return wrap(text)
end

local function intents_help(sheet)
  return "say what to hear, for example " .. sheet.dialect.intents
end

local function intent_sum(value, _, sheet)
  if type(value) ~= "table" and type(value) ~= "number" and type(value) ~= "string" then
    return nil, show(sheet, value) .. " is no list of intents", intents_help(sheet)
  end
  for key, element in pairs(type(value) == "table" and value or { value }) do
    if hides(sheet, tostring(element)) or hides(sheet, tostring(key)) then
      return nil, "(hidden) is no intent", intents_help(sheet)
    end
  end
  local bits, wrong = intents.parse(value)
  if not bits then return nil, table.concat(wrong, "; "), nil end
  return bits
end

local function range(row)
  if not row.max then return ("from %d"):format(row.min) end
  return ("from %d to %d"):format(row.min, row.max)
end

local function whole(value, row, sheet)
  if whole_number(value) and value >= row.min and value <= (row.max or 2 ^ 53) then
    return math.floor(value)
  end
  return nil, show(sheet, value) .. " is not possible",
    "give a whole number " .. range(row) .. (row.absent or "")
end

local function duration(value, row, sheet)
  if row.off and value == false then return false end
  local least, most = row.zero and 0 or 0.001, 1e9
  if type(value) == "number" and value >= least and value <= most then return value end
  return nil, show(sheet, value) .. " is not possible", ("give seconds %s%s"):format(
    row.zero and "from 0" or "above 0", row.off and ", or false for never" or "")
end

local function one_of(value, row, sheet)
  if contains(row.values, value) then return value end
  if contains(row.later, value) then
    return nil, show(sheet, value) .. " is not available in this version of moongate",
      "use " .. quote_all(sheet, row.values)
  end
  local meant = type(value) == "string" and spelling.nearest(value, row.words or row.values)
  return nil, show(sheet, value) .. " is not possible",
    meant and ('did you mean "%s"?'):format(meant) or "use " .. quote_all(sheet, row.values)
end

local function flag(value, _, sheet)
  if type(value) == "boolean" then return value end
  return nil, show(sheet, value) .. " is not possible", "give true or false"
end

local function presence(value, _, sheet)
  if type(value) ~= "table" then
    return nil, show(sheet, value) .. " is not possible", "give a table"
  end
  local fine, wrong = pcall(commands.builders.presence, value)
  if fine then return value end
  return nil, (wrong:gsub("^.-set_presence: ", ""))
end

local function header_text(value, row, sheet)
  if type(value) ~= "string" or value == "" or #value > row.max then
    return nil, show(sheet, value) .. " is not possible",
      ("give a text of 1 to %d characters"):format(row.max)
  end
  if value:find("[^\32-\126]") then
    return nil, show(sheet, value) .. " has characters that no header may have",
      "use plain ASCII without line breaks"
  end
  return value
end

local function readable_file(value, _, sheet)
  if type(value) ~= "string" or value == "" then
    return nil, show(sheet, value) .. " is not possible", "give the path of a PEM file"
  end
  local file, why = io.open(value, "rb")
  local byte
  if file then
    byte, why = file:read(1)
    file:close()
  end
  if byte then return value end
  -- The system's words begin with the path, which has been shown already as far as it may be.
  why = why and why:gsub("^.*: ", "") or "it is empty"
  return nil, ("%s cannot be read: %s"):format(show(sheet, value), why),
    "give the path of a PEM file"
end

local function shard_ids(value, _, sheet)
  local help = "give a list of different whole numbers from 0, such as " .. sheet.dialect.ids
  if type(value) ~= "table" then return nil, show(sheet, value) .. " is no list", help end
  local list, seen = {}, {}
  for i, id in ipairs(value) do
    if not whole_number(id) or id < 0 then
      return nil, show(sheet, id) .. " is no shard id", help
    end
    if seen[id] then return nil, ("%d is there twice"):format(id), help end
    list[i], seen[id] = math.floor(id), true
  end
  local keys = 0
  for _ in pairs(value) do keys = keys + 1 end
  if #list == 0 or keys ~= #list then return nil, "is no list of shard ids", help end
  return list
end

-- A table whose keys are checked like options: row.keys is a list of rows. With row.open it may
-- have others as well.
local function record(value, row, sheet)
  if type(value) ~= "table" then
    return nil, show(sheet, value) .. " is not possible", "give a table: " .. row.help
  end
  local out, names, rows = {}, {}, {}
  for i, key in ipairs(row.keys) do
    names[i], rows[key.name] = key.name, key
    out[key.name] = key.default
  end
  for name, content in pairs(value) do
    local key = rows[name]
    if key then
      local result, wrong, remedy = key.kind(content, key, sheet)
      if result == nil then return nil, ("%s: %s"):format(name, wrong), remedy or row.help end
      out[name] = result
    elseif row.open then
      out[name] = content
    else
      local meant = type(name) == "string" and spelling.nearest(name, names)
      return nil, ("has no key %s"):format(show(sheet, name)),
        meant and ("did you mean %s?"):format(meant) or row.help
    end
  end
  if row.whole then
    local wrong = row.whole(out, value)
    if wrong then return nil, wrong, row.help end
  end
  return out
end

-- ---- Addresses ---------------------------------------------------------------------------------

local function is_loopback(host)
  local name = host:lower()
  if name == "localhost" or name == "[::1]" or name:find("%.localhost$") then return true end
  local octets = { name:match("^(127)%.(%d+)%.(%d+)%.(%d+)$") }
  for _, octet in ipairs(octets) do
    if tonumber(octet) > 255 then return false end
  end
  return #octets == 4
end

-- host[:port] -> host, or nil and what is wrong with it.
local function split_host(authority)
  local host, port = authority:match("^(%[[%x:.]+%])(.*)$")
  if not host then host, port = authority:match("^([%w._-]*)(.*)$") end
  if host == "" and not port:find("^[^:]") then return nil, "names no host" end
  if host == "" then return nil, "has no proper host" end
  if port ~= "" then
    local number = tonumber(port:match("^:(%d+)$"))
    if not number or number < 1 or number > 65535 then return nil, "has no proper port" end
  end
  return host
end

-- row.plain and row.secure are the two schemes. A token must not cross a network in the clear.
local function address(value, row, sheet)
  local help = ("give a URL such as %s"):format(row.example)
  if type(value) ~= "string" then return nil, show(sheet, value) .. " is no URL", help end
  local seen = show(sheet, value)
  if #value > limits.URL_BYTES_MAX then
    return nil, ("%s is longer than %d bytes"):format(seen, limits.URL_BYTES_MAX), help
  end
  local scheme, authority, path = value:match("^(%a+)://([^/?#]*)([^%s%c?#]*)$")
  scheme = scheme and scheme:lower()
  if scheme ~= row.plain and scheme ~= row.secure then
    return nil, seen .. (value:find("[?#]") and " has a query" or " is no such URL"), help
  end
  if authority:find("@", 1, true) then return nil, seen .. " has a user in it", help end
  local host, wrong = split_host(authority)
  if not host then return nil, seen .. " " .. wrong, help end
  if row.no_version and path:find("/v%d+/*$") then
    return nil, seen .. " ends in a version", "leave it out: moongate adds it itself"
  end
  if scheme == row.plain and not is_loopback(host) and not sheet.insecure then
    return nil, ("%s would send the token unencrypted"):format(seen),
      ("use %s://, or %s if that network is your own"):format(row.secure,
        sheet.dialect.switch "insecure_tls")
  end
  return scheme .. "://" .. authority .. path:gsub("/+$", "")
end

local function proxy(value, _, sheet)
  local help = 'give the address of an HTTP proxy, such as "http://proxy.example:3128"'
  if type(value) ~= "string" then return nil, show(sheet, value) .. " is no address", help end
  local seen = show(sheet, value):gsub('^"[^/@"]*@', '"(hidden)@')
  local rest = value:gsub("^[Hh][Tt][Tt][Pp]://", ""):gsub("/$", "")
  if rest:find("[%s%c/]") then return nil, seen .. " is no proxy that can be used", help end
  local host, wrong = split_host(rest:match("([^@]*)$"))
  if not host then return nil, seen .. " " .. wrong, help end
  if not rest:find(":%d+$") then return nil, seen .. " has no port", help end
  return rest
end

-- Anything with load and save; its own __index may provide them.
local function session_store(value, _, sheet)
  local fine, load, save = pcall(function() return value.load, value.save end)
  if fine and type(value) ~= "string" and load and save then return value end
  return nil, show(sheet, value) .. " has no load and save",
    "give moongate.store.file(path), moongate.store.memory(), or an object like them"
end

local function coordinator(value, _, sheet)
  local fine, acquire, release, deadline = pcall(function()
    return value.acquire, value.release, value.deadline
  end)
  if fine and type(value) ~= "string" and acquire and release and deadline then return value end
  return nil, show(sheet, value) .. " has no acquire, release and deadline",
    "give moongate.coordinator.file(), or an object like it"
end

-- Names of events that may be dropped, in any style; each once.
local function event_names(value, row, sheet)
  local help = 'give a list of names, such as { "PRESENCE_UPDATE", "TYPING_START" }'
  if type(value) ~= "table" then return nil, show(sheet, value) .. " is no list", help end
  local list, seen, keys = {}, {}, 0
  for i, name in ipairs(value) do
    local canonical = type(name) == "string" and events.canonical(name)
    if not canonical or canonical == "*" or events.own[canonical] then
      return nil, show(sheet, name) .. " is no event", help
    end
    local meant = events.suggest(name)
    if meant then
      return nil, show(sheet, name) .. " is no event", ("did you mean %s?"):format(meant)
    end
    if contains(row.never, canonical) then
      return nil, canonical .. " is never dropped", "leave it out"
    end
    if seen[canonical] then return nil, ("%s is there twice"):format(canonical), help end
    list[i], seen[canonical] = canonical, true
  end
  for _ in pairs(value) do keys = keys + 1 end
  if #list == 0 or keys ~= #list then return nil, "is no list of events", help end
  if #list > limits.DROP_EVENTS_MAX then
    return nil, ("has %d names, at most %d are possible"):format(#list, limits.DROP_EVENTS_MAX)
  end
  return list
end

-- ---- The rows ----------------------------------------------------------------------------------

local function seconds_of(name)
  return limits[name] / 1000
end

-- The one of the two that was not given makes room for the other.
local function check_backoff(out, given)
  if given.base == nil then out.base = math.min(out.base, out.cap) end
  if given.cap == nil then out.cap = math.max(out.base, out.cap) end
  if out.base > out.cap then
    return ("base %g is above cap %g"):format(out.base, out.cap)
  end
end

local function check_session(out)
  if not out.id or not out.seq then return "has no id or no seq" end
end

local WS = { plain = "ws", secure = "wss", example = "wss://gateway.discord.gg" }

local function ws_address(value, _, sheet)
  return address(value, WS, sheet)
end

local rows = {
  { name = "token", kind = token, env = "DISCORD_TOKEN", needed = token_help },
  { name = "intents", kind = intent_sum, needed = intents_help },
  { name = "shards", kind = whole, min = 1, max = limits.SHARDS_MAX,
    absent = ", or leave it out for the recommended one" },
  { name = "shard_ids", kind = shard_ids },
  { name = "encoding", kind = one_of, values = { "json", "etf" }, default = "json" },
  { name = "compress", kind = one_of, values = { "zlib-stream", "zstd-stream", "payload", false },
    words = { "zlib-stream", "zstd-stream", "payload" }, default = "zlib-stream" },
  { name = "version", kind = whole, min = 6, max = 99, default = limits.VERSION_DEFAULT },
  { name = "large_threshold", kind = whole, min = 50, max = 250 },
  { name = "presence", kind = presence },
  { name = "properties", kind = record, help = "os, browser and device are texts", keys = {
    { name = "os", kind = header_text, max = 64 },
    { name = "browser", kind = header_text, max = 64 },
    { name = "device", kind = header_text, max = 64 },
  } },
  { name = "session", kind = record, open = true, whole = check_session,
    help = "give what session_info() returned", keys = {
      { name = "id", kind = header_text, max = limits.SESSION_ID_BYTES_MAX },
      { name = "seq", kind = whole, min = 0 },
      { name = "url", kind = ws_address },
    } },
  { name = "null", kind = one_of, values = { "drop", "keep" }, default = "drop" },
  { name = "invalid_utf8", kind = one_of, values = { "pass", "refuse" }, default = "pass" },
  { name = "queue_events", kind = whole, min = 1, default = limits.QUEUE_EVENTS_MAX },
  { name = "queue_bytes", kind = whole, min = 1 }, -- the default goes by when_full
  { name = "message_bytes_max", kind = whole, min = 1, default = limits.MESSAGE_BYTES_MAX },
  { name = "when_full", kind = one_of, values = { "pause", "drop", "disconnect" },
    default = "pause" },
  { name = "connect_timeout", kind = duration, default = seconds_of "CONNECT_TIMEOUT_MS" },
  { name = "hello_timeout", kind = duration, default = seconds_of "HELLO_TIMEOUT_MS" },
  { name = "ready_timeout", kind = duration, default = seconds_of "READY_TIMEOUT_MS" },
  { name = "send_timeout", kind = duration, default = seconds_of "SEND_TIMEOUT_MS" },
  { name = "backoff", kind = record, whole = check_backoff, default = {},
    help = "base and cap are seconds from 0, base at most cap", keys = {
      { name = "base", kind = duration, zero = true, default = seconds_of "BACKOFF_BASE_MS" },
      { name = "cap", kind = duration, zero = true, default = seconds_of "BACKOFF_CAP_MS" },
    } },
  { name = "blocked_after", kind = duration, off = true, default = 5 },
  { name = "ca_file", kind = readable_file },
  { name = "insecure_tls", kind = flag, default = false },
  { name = "proxy", kind = proxy },
  { name = "api", kind = address, plain = "http", secure = "https", no_version = true,
    example = "https://discord.com/api", env = "DISCORD_API", default = "https://discord.com/api" },
  { name = "url", kind = ws_address },
  { name = "user_agent", kind = header_text, max = 256 },
  { name = "session_store", kind = session_store },
  { name = "drop_events", kind = event_names, never = { "READY", "RESUMED" } },
  { name = "identify_reserve", kind = whole, min = 0, default = limits.QUOTA_RESERVE },
  { name = "identify_coordinator", kind = coordinator },
  { name = "log_level", kind = one_of, values = { "error", "warn", "info", "debug", false },
    words = log.LEVELS, default = "warn" },
}

-- What other clients call an option of another name here.
local habits = {
  shard_count = "shards", num_shards = "shards", total_shards = "shards", shard_id = "shard_ids",
  shard_list = "shard_ids", compression = "compress", gateway = "url", gateway_url = "url",
  activity = "presence", status = "presence", event_store = "session_store",
  log = "log_level", logger = "log_level", logging = "log_level", debug = "log_level",
  verbose = "log_level",
}

local row_of, row_names = {}, {}
for i, row in ipairs(rows) do
  row_of[row.name] = row
  row_names[i] = row.name
end

--- The names of all options, in the order of the documentation.
function options.names()
  local list = {}
  for i, name in ipairs(row_names) do list[i] = name end
  return list
end

local kind_names = {
  [token] = "token", [intent_sum] = "intents", [whole] = "integer", [duration] = "seconds",
  [one_of] = "one of", [flag] = "flag", [presence] = "presence", [header_text] = "text",
  [readable_file] = "file", [shard_ids] = "shard ids", [record] = "record", [address] = "URL",
  [ws_address] = "URL", [proxy] = "proxy", [session_store] = "store",
  [coordinator] = "coordinator", [event_names] = "events",
}

-- A row as it is shown to tools.
local function describe(row)
  local keys
  for i, key in ipairs(row.keys or {}) do
    keys = keys or {}
    keys[i] = describe(key)
  end
  return {
    name = row.name, kind = kind_names[row.kind], needed = row.needed ~= nil, env = row.env,
    default = row.default, values = row.values, off = row.off, keys = keys,
  }
end

--- All options, in the order of the documentation, for tools that describe them: { name =, kind =
-- "seconds" and the like, needed = true or false, env = the variable behind it, default =, values =
-- those of a "one of", off = true when it may be false, keys = a list as this, of a "record" }.
function options.list()
  local list = {}
  for i, row in ipairs(rows) do list[i] = describe(row) end
  return list
end

-- ---- The check ---------------------------------------------------------------------------------

local function complain(sheet, name, wrong, remedy)
  local line = remedy and ("%s: %s; %s"):format(name, wrong, remedy)
  sheet.wrong[#sheet.wrong + 1] = line or ("%s: %s"):format(name, wrong)
end

local function from_environment(row)
  local value = row.env and os.getenv(row.env)
  if value and value ~= "" then return value end
end

-- What stands for an option, and how it is called: the user's table, the defaults, the environment,
-- the row.
local function find(sheet, row, user, defaults)
  local value, name = user[row.name], sheet.dialect.name(row.name)
  if value == nil then value = defaults[row.name] end
  if value ~= nil then return value, name end
  value = from_environment(row)
  if value ~= nil then return value, sheet.dialect.from(row.name, row.env) end
  return row.default, name
end

local function check_row(sheet, row, user, defaults)
  local value, name = find(sheet, row, user, defaults)
  if value == nil then
    if row.needed then complain(sheet, name, "missing", row.needed(sheet)) end
    return nil
  end
  local result, wrong, remedy = row.kind(value, row, sheet)
  if result == nil then complain(sheet, name, wrong, remedy) end
  return result
end

local function check_unknown(sheet, user)
  local strange = {}
  for key in pairs(user) do
    if not row_of[key] then strange[#strange + 1] = key end
  end
  table.sort(strange, function(one, other) return tostring(one) < tostring(other) end)
  for _, key in ipairs(strange) do
    if type(key) ~= "string" then
      complain(sheet, ("[%s]"):format(show(sheet, key)), "options have names",
        'write token = "...", intents = { ... }')
    else
      local name = hides(sheet, key) and "(hidden)" or key:sub(1, SHOWN_MAX)
      local meant = habits[key:lower()] or spelling.nearest(key, row_names)
      complain(sheet, name, "no such option", meant and ("did you mean %s?"):format(meant))
    end
  end
end

-- What tells of a moment that has passed by the time somebody looks.
local DROP_EVENTS = { "PRESENCE_UPDATE", "TYPING_START" }

local function check_dropping(sheet, out, user)
  if out.when_full == "drop" then
    out.drop_events = out.drop_events or { table.unpack(DROP_EVENTS) }
    return
  end
  out.drop_events = nil
  if user.drop_events == nil then return end
  complain(sheet, "drop_events", "nothing is dropped", 'set when_full = "drop", or leave it out')
end

-- A pause costs nothing, so little is kept; to leave costs a Resume, and the guilds that come
-- with a start are no reason for one.
local function fill_queue_bytes(out)
  local leaves = out.when_full == "disconnect"
  out.queue_bytes = out.queue_bytes or (leaves and limits.QUEUE_LEAVE_BYTES_MAX
    or limits.QUEUE_BYTES_MAX)
end

local function check_together(sheet, out, user)
  check_dropping(sheet, out, user)
  fill_queue_bytes(out)
  if out.compress == "payload" and out.encoding == "etf" then
    complain(sheet, sheet.dialect.name "compress", '"payload" is for the encoding "json" only',
      'use "zlib-stream", "zstd-stream" or ' .. sheet.dialect.off)
  end
  if not out.shards or not out.shard_ids then return end
  for _, id in ipairs(out.shard_ids) do
    if id >= out.shards then
      local speak = sheet.dialect.name
      complain(sheet, speak "shard_ids", ("%d is not below %s, which is %d"):format(id,
        speak "shards", out.shards), "shard ids count from 0")
    end
  end
end

-- Every text that may be the token, in the forms in which it may turn up elsewhere.
local function collect_secrets(user, defaults)
  local secrets = {}
  local function add(value)
    local text = texts[value] or value
    if type(text) ~= "string" then return end
    text = text:gsub("^[Bb]ot ", ""):match("^%s*(.-)%s*$")
    if text ~= "" then secrets[#secrets + 1] = text end
  end
  add(user.token)
  add(defaults.token)
  add(os.getenv("DISCORD_TOKEN"))
  return secrets
end

local function new_sheet(user, defaults, insecure, speaks)
  return {
    wrong = {}, secrets = collect_secrets(user, defaults), insecure = insecure == true,
    dialect = speaks or dialect.lua,
  }
end

--- Judges an option table and returns a new one with everything filled in: durations in seconds,
-- intents as a number, addresses without a slash at the end, the token as an object that
-- options.reveal() turns into its text. `defaults` stands behind the user's table and before the
-- environment. Or nil and a list of all that is wrong, said in a dialect (that of Lua).
function options.judge(user, defaults, speaks)
  defaults = defaults or {}
  local insecure = user.insecure_tls
  if insecure == nil then insecure = defaults.insecure_tls end
  local sheet, out = new_sheet(user, defaults, insecure, speaks), {}
  for _, row in ipairs(rows) do out[row.name] = check_row(sheet, row, user, defaults) end
  check_together(sheet, out, user)
  check_unknown(sheet, user)
  if #sheet.wrong == 0 then return out end
  return nil, sheet.wrong
end

--- Judges an option table, or a token alone, and returns what judge() does. Raises one error that
-- names every mistake, at `level` (default 2: the caller).
function options.check(user, defaults, level)
  if type(user) == "string" then user = { token = user } end
  if user == nil then user = {} end
  level = level or 2
  if type(user) ~= "table" then
    error(("moongate: options must be a table or a token, got %s"):format(type(user)), level)
  end
  local out, wrong = options.judge(user, defaults)
  if out then return out end
  error(("moongate: %d mistake%s in the options:\n  %s"):format(#wrong, #wrong == 1 and "" or "s",
    table.concat(wrong, "\n  ")), level)
end

--- Checks some options only, the names in `allowed`: what an Identify may say. Returns a new table
-- of those that are there. Raises one error at `level`, which `operation` begins.
function options.check_some(operation, user, allowed, level)
  if type(user) ~= "table" then
    error(("%s: packet must be a table, got %s"):format(operation, type(user)), level)
  end
  local sheet, out = new_sheet(user, {}), {}
  for key, value in pairs(user) do
    if not contains(allowed, key) then
      complain(sheet, show(sheet, key), "an Identify cannot be told that", "there are "
        .. table.concat(allowed, ", "))
    else
      local row = row_of[key]
      local result, wrong, remedy = row.kind(value, row, sheet)
      if result == nil then complain(sheet, key, wrong, remedy) end
      out[key] = result
    end
  end
  if #sheet.wrong == 0 then return out end
  table.sort(sheet.wrong)
  error(("%s:   %s"):format(operation, table.concat(sheet.wrong, "\n  ")), level)
end

return options

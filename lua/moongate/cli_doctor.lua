-- cli_doctor.lua: `moongate doctor`: looks at what a bot needs, one thing after another, a line for
-- each, and says what to do where something is wrong. Required by cli.lua and by specs. moongate is
-- loaded by the checks themselves, so that one that cannot be loaded is told as well.
--
--   ok    versions      Lua 5.4, moongate 0.1.0, lua-cjson 2.1.0, libwebsockets 4.1.6, ...
--   fail  token         there is a line break in it; set it without
--   skip  api           left out: it needs token

local cli = require "moongate.cli"
local output = require "moongate.output"

local command = {}

local MISUSED, FAILED = 2, 1
local DEFAULT_API = "https://discord.com/api"
local YEAR_MIN, YEAR_MAX = 2025, 2100 -- of a clock that goes
local DRIFT_MAX_S = 60 -- between two clocks that go
local LOW = 0.1 -- of the identifies of a day
local BEAT_PART = 0.25 -- of the time for READY, which the answer to a beat may take as well
local LOOK_S = 0.01 -- between two looks for it
local PEM_BYTES_MAX = 16777216 -- of a file that is searched for certificates
local SECRET_MIN = 8 -- letters of the token, or of a part of it, that are looked for

-- What can be said: kind, what stands for the value, help, in the order of the usage text.
local rows = {
  cli.row "api", cli.row "ca-file", cli.row "insecure-tls", cli.row "encoding", cli.row "compress",
  { "no-identify", "flag", "", "without the last check, which spends an identify" },
  { "json", "flag", "", "an object a line: check, result, text, advice" },
}

--- The usage text.
function command.usage()
  return cli.describe({
    "usage: moongate doctor [--OPTION VALUE ...]", "",
    "Looks at what a bot needs, a line for each check: ok, warn, fail, or skip where there is",
    "nothing to look at. The token comes from $DISCORD_TOKEN, and is not shown. The status is 0",
    "when nothing failed.", "",
  }, rows)
end

-- ---- Words -------------------------------------------------------------------------------------

local HOST = "check that the host is up, and that a firewall or a proxy lets you out"
local RETRY = "try again in some minutes, as a bot would by itself"
local AGAIN = "try again: another process of this token may have identified just before"
local BOT_PAGE = "the Bot page of https://discord.com/developers/applications"

-- What to do about a connection that was not made, by the code of its error.
local remedies = {
  ERESOLVE = "check the host name, this machine's DNS, and that it is online",
  ECONNECT = HOST,
  ETIMEOUT = HOST,
  ECERTIFICATE = "install the system's certificates (the package ca-certificates), or name a PEM "
    .. "file that has the issuer's with SSL_CERT_FILE or --ca-file; check the clock as well",
  ETLS = "check that this port speaks TLS, and that nothing on the way meddles with it",
  EUPGRADE = "check that the URL is a gateway's, and that a proxy lets WebSockets through",
}

-- The same for answers that are none, by their HTTP status.
local status_remedies = {
  [403] = "this address is refused, for a while, after many bad requests: end what makes them, and "
    .. "wait an hour",
  [404] = "check the address of the API: --api or $DISCORD_API",
  [429] = "wait, and find out what asks so often",
}
local SERVER_REMEDY = "it is not your bot: https://discordstatus.com tells more"

local function moment(time)
  return os.date("!%Y-%m-%d %H:%M UTC", time)
end

-- A message of moongate's ends in what to do.
local function split(message)
  local text, advice = message:match "^(.*); ([^;]*)$"
  return text or message, advice
end

local function hide(text, secret)
  return #secret < SECRET_MIN and text or (text:gsub(secret:gsub("%W", "%%%0"), "(hidden)"))
end

-- Nothing of the token, whatever message it has got into; one line, of UTF-8.
local function clean(text)
  local token = os.getenv "DISCORD_TOKEN" or ""
  text = hide(tostring(text), token:match "([^%s]*)%s*$")
  for part in token:gmatch "[%w_-]+" do text = hide(text, part) end
  text = text:gsub("%c+", " "):gsub(" +", " ")
  return utf8.len(text) and text or (text:gsub("[\128-\255]", "?"))
end

-- What was said of the client together with `more` options, as cli.judge gives it; certificates
-- have a check of their own.
local function judge(told, more)
  local options = { intents = 0 }
  for _, list in ipairs { told.client, more } do
    for name, value in pairs(list) do options[name] = value end
  end
  options.ca_file = nil
  return cli.judge(options, rows)
end

-- ---- This machine ------------------------------------------------------------------------------

local function check_versions()
  local moongate, cjson, core = require "moongate", require "cjson", require "moongate.core"
  local words = { _VERSION, moongate._VERSION, "lua-cjson " .. cjson._VERSION }
  for _, name in ipairs { "libwebsockets", "openssl", "zlib", "zstd" } do
    words[#words + 1] = ("%s %s"):format(name, (core.libraries[name] or "?"):match "^[%d.]*")
  end
  return "ok", table.concat(words, ", ")
end

--- Where systems keep the certificates that they trust.
command.stores = {
  "/etc/ssl/certs/ca-certificates.crt", -- Debian, Arch, Gentoo
  "/etc/pki/tls/certs/ca-bundle.crt", -- Fedora
  "/etc/ssl/ca-bundle.pem", -- openSUSE
  "/etc/ssl/cert.pem", -- Alpine, macOS
  "/opt/homebrew/etc/openssl@3/cert.pem", "/usr/local/etc/openssl@3/cert.pem", -- Homebrew
}

-- True, or nil and why no certificate can be read from it.
local function look_into(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text, problem = file:read(PEM_BYTES_MAX)
  file:close()
  if not text then return nil, ("%s: %s"):format(path, problem or "it is empty") end
  if text:find "%-%-%-%-%-BEGIN [%w ]*CERTIFICATE%-%-%-%-%-" then return true end
  return nil, path .. ": there is no PEM certificate in it"
end

local function find_directory(list)
  for path in list:gmatch "[^:]+" do
    local file = io.open(path)
    if file then
      file:close()
      return path
    end
  end
end

-- OpenSSL passes over what it cannot read and is content with the rest of its store.
local function check_certificates(told)
  local given, named = told.client.ca_file, os.getenv "SSL_CERT_FILE"
  local fine, why
  if told.client.insecure_tls then
    return "warn", "none is checked, as --insecure-tls says", "leave it out where others listen"
  end
  if given then
    fine, why = look_into(given)
    if fine then return "ok", "those of " .. given end
    return "fail", why, "give --ca-file a PEM file with the certificates to trust"
  elseif named then
    fine, why = look_into(named)
    if fine then return "ok", ("those of %s, as SSL_CERT_FILE says"):format(named) end
    return "warn", "SSL_CERT_FILE: " .. why, "name a PEM file that can be read, or unset it"
  end
  local directories = os.getenv "SSL_CERT_DIR"
  if directories then
    local path = find_directory(directories)
    if path then return "ok", ("those in %s, as SSL_CERT_DIR says"):format(path) end
    return "warn", "SSL_CERT_DIR: there is no " .. directories, "name a directory, or unset it"
  end
  for _, path in ipairs(command.stores) do
    if look_into(path) then return "ok", "the system's, as in " .. path end
  end
  return "warn", "the system's are in none of the usual places", remedies.ECERTIFICATE
end

local function check_clock()
  local now = os.time()
  local year = os.date("!*t", now).year
  if year >= YEAR_MIN and year <= YEAR_MAX then return "ok", "it is " .. moment(now) end
  return "fail", ("this machine says that it is %s"):format(moment(now)),
    "set the clock: no certificate is valid then"
end

-- What can be wrong with the form of a token, the gravest first: the pattern that it has (or, with
-- `lacks`, has not), the result, and the words. `whole`: with the "Bot " that is taken off.
local forms = {
  { "^$", "fail", "$DISCORD_TOKEN is not set, or empty", "set it to the token on " .. BOT_PAGE },
  { "[\"'`]", "fail", "there are quotes in it",
    "leave them out: what reads the environment from a file may take them for a part of it" },
  { "[\r\n]", "fail", "there is a line break in it", "set it without" },
  { "%s", "fail", "there is white space in it", "set it without" },
  { "^[%w_-]+%.[%w_-]+%.[%w_-]+$", "warn", "it is not three parts with dots between, as tokens "
    .. "are", "copy the token from " .. BOT_PAGE .. "; the public key and the client secret "
    .. "are other things", lacks = true },
  { "^[Bb]ot ", "warn", "it begins with the word Bot, which moongate takes off",
    "leave it out: it belongs to HTTP headers only", whole = true },
}

local function check_token(told)
  local whole = os.getenv "DISCORD_TOKEN" or ""
  local bare = whole:match "^[Bb]ot (.*)$" or whole
  local result, text, advice = "ok", "$DISCORD_TOKEN has the form of one", nil
  for _, form in ipairs(forms) do
    local found = (form.whole and whole or bare):find(form[1]) ~= nil
    if found ~= (form.lacks == true) then
      result, text, advice = form[2], form[3], form[4]
      break
    end
  end
  if result ~= "fail" then
    local checked, wrong = judge(told, { token = whole, api = DEFAULT_API })
    if not checked then return "fail", split(wrong:gsub("^token: ", "")) end
    told.token = bare
  end
  return result, text, advice
end

-- ---- Discord's API -----------------------------------------------------------------------------

-- For gateway.lua: a bridge that is asked once, as no pause is granted for a second time. What came
-- is kept in `told`.
local function ask_once(made, told, within)
  return {
    request = function(_, wanted)
      wanted.timeout = within
      told.response, told.problem, told.code = made:request(wanted)
      told.answered_at = os.time()
      return told.response, told.problem, told.code
    end,
    pause = function() return nil, "asked once", "ECLOSED" end,
  }, function(failure) told.failure = failure.message end
end

-- Why there is no answer that can be used.
local function judge_answer(told, message)
  local core = require "moongate.core"
  local response, api = told.response, told.gateway.api
  if not response then
    local words = (told.problem or message):gsub("^request: ", "")
    return ("%s: %s"):format(api, words), remedies[told.code] or RETRY
  end
  local status = response.status
  if status == 401 then
    return core.close_codes[4004].words .. " (HTTP 401)", core.close_codes[4004].remedy
  elseif status == 200 then
    local words = told.failure or message
    return ("%s: %s"):format(api, words:match "the answer cannot be used: [^;]*" or words),
      status_remedies[404]
  end
  local pause_s = status == 429 and tonumber(response.headers.retry_after)
  local pause = pause_s and (", not again for %g s"):format(pause_s) or ""
  return ("%s: HTTP %d%s"):format(api, status, pause),
    status_remedies[status] or status >= 500 and SERVER_REMEDY or RETRY
end

-- The address of the API; or nil, and what is wrong with that of the environment.
local function find_api(told)
  local checked, wrong = judge(told, { token = told.token })
  if checked then return checked.api end
  return nil, split(wrong)
end

local function check_api(told, within)
  local core = require "moongate.core"
  local api, wrong, advice = find_api(told)
  if not api then return "fail", wrong, advice end
  local made, message = require("moongate.bridge").new {
    ca_file = told.client.ca_file, insecure_tls = told.client.insecure_tls,
  }
  if not made then return "fail", split(message) end
  local gateway, began = require "moongate.gateway"(told.token), core.now()
  gateway.api, told.gateway = api, gateway
  local done
  done, message = gateway:fetch(true, ask_once(made, told, within))
  made:close()
  if not done then return "fail", judge_answer(told, message) end
  return "ok", ("%s answers in %.2f s: %s, %d shard%s recommended"):format(api, core.now() - began,
    gateway.url, gateway.shards, gateway.shards == 1 and "" or "s")
end

local months = {}
for month in ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"):gmatch "%a+" do
  months[#months + 1] = month
  months[month] = #months
end

-- How many seconds this clock is ahead of an IMF-fixdate; nil where it is none. Both are taken for
-- local times, so that the zone cancels out.
local function drift_of(date, now)
  local day, month, year, hour, min, sec = tostring(date):match
    "^%a+, (%d%d) (%a+) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$"
  if not months[month] then return nil end
  local here = os.date("!*t", now)
  return os.time(here) - os.time { year = year, month = months[month], day = day, hour = hour,
    min = min, sec = sec, isdst = false }
end

local function check_drift(told)
  local drift_s = told.response and drift_of(told.response.headers.date, told.answered_at)
  if not drift_s then return "skip", "no answer tells what time it is elsewhere" end
  local words = ("this clock is %d s %s the API's"):format(math.abs(drift_s),
    drift_s < 0 and "behind" or "ahead of")
  if math.abs(drift_s) <= DRIFT_MAX_S then return "ok", words end
  return "warn", words, "set it, or have it set (NTP): certificates are judged by it"
end

local function check_identifies(told)
  local limit = told.gateway.session_start_limit or {}
  local total, left = math.tointeger(limit.total), math.tointeger(limit.remaining)
  if not total or not left then return "skip", "the API does not tell how many there are" end
  local words = ("%d of the day's %d are left"):format(left, total)
  if limit.reset_after > 0 then
    local span = require("moongate.cli_view").span(limit.reset_after / 1000)
    words = ("%s, all of them again in %s"):format(words, span)
  end
  if left > 0 and left >= total * LOW then return "ok", words end
  return "warn", words, "find out what identifies so often, such as a bot that is started over and "
    .. "over; a session_store lets it resume, which costs none"
end

-- ---- The gateway -------------------------------------------------------------------------------

local SPENT = "this spent one of the day's identifies"
local NORMAL = 1000 -- what an invalid session is closed with

-- What is said of the state in which no READY came.
local stalls = {
  connecting = { "no WebSocket was opened within %g s", HOST },
  hello = { "a WebSocket was opened, but no HELLO came within %g s", HOST },
  identifying = { "HELLO came, but no READY within %g s; " .. SPENT, SERVER_REMEDY },
}
local OTHER_STALL = { "no connection was begun within %g s", RETRY }

-- What ends the wait for READY, and what it means.
local endings = {
  READY = function(data)
    return "ok", ("READY as %s"):format(type(data.user) == "table" and data.user.username or "?")
  end,
  close = function(data)
    local row = require("moongate.core").close_codes[data.code] or {}
    if data.by == "client" then
      return "fail", "given up: " .. data.reason, data.code == NORMAL and AGAIN or RETRY
    end
    local words = row.words or data.reason ~= "" and data.reason or data.name
    return "fail", ("the gateway closed with %d: %s"):format(data.code, words),
      row.remedy or RETRY
  end,
  error = function(data)
    local text, advice = split(data.message)
    return "fail", text, remedies[data.code] or advice
  end,
  hold = function(data)
    return "skip", "too few identifies are left: bots wait as well, until "
      .. moment(math.floor(data["until"]))
  end,
}

-- Seconds from a beat to its answer, or nil.
local function measure_beat(bot, within)
  local core, one = require "moongate.core", bot.shards[0]
  local ends_at = core.now() + within
  one:heartbeat()
  while not one.latency and core.now() < ends_at do bot:step(LOOK_S) end
  return one.latency
end

-- Connects, and waits for what ends that: a list of result, text, advice.
local function await_ready(bot, within)
  local core, moongate = require "moongate.core", require "moongate"
  local ends_at, found = core.now() + within, nil
  local function find(...) found = found or { ... } end
  for name, ending in pairs(endings) do
    bot:on(name, function(data) find(ending(data)) end)
  end
  moongate.spawn(function()
    local connected, message = bot:connect()
    if not connected then find("fail", split(message)) end
  end)
  while not found and core.now() < ends_at do bot:step(ends_at - core.now()) end
  if found then return found end
  local stall = stalls[bot.state] or OTHER_STALL
  return { "fail", stall[1]:format(within), stall[2] }
end

local function check_gateway(told, within)
  local core = require "moongate.core"
  if told["no-identify"] then return "skip", "left out, as --no-identify says" end
  local wanted = {
    token = told.token, api = told.gateway.api, intents = 0, shards = told.gateway.shards,
    shard_ids = { 0 },
  }
  for name, value in pairs(told.client) do wanted[name] = wanted[name] or value end
  local bot <close> = require("moongate").client(wanted)
  local began = core.now()
  local found = await_ready(bot, within)
  local took_s = core.now() - began
  local beat_s = found[1] == "ok" and measure_beat(bot, within * BEAT_PART)
  bot:stop() -- which ends the session as well
  if beat_s then
    return "ok", ("%s after %.2f s, a beat takes %.0f ms; %s"):format(found[2], took_s,
      beat_s * 1000, SPENT)
  elseif found[1] == "ok" then
    return "warn", ("%s, but no beat was answered within %g s; %s"):format(found[2],
      within * BEAT_PART, SPENT), HOST
  end
  return table.unpack(found, 1, 3)
end

-- ---- The command -------------------------------------------------------------------------------

--- The checks, in their order: a name, the function (told, within) -> result, text, advice; which
--- others have to be passed before it, within how many seconds it ends, and what is to be done when
--- it fails in a way that nobody has thought of. `told` is the options, and what checks leave for
--- each other.
command.checks = {
  { name = "versions", check_versions,
    advice = "build it anew (make install): what it was built with is gone, or another one" },
  { name = "certificates", check_certificates },
  { name = "clock", check_clock },
  { name = "token", check_token, needs = { "versions" } },
  { name = "api", check_api, needs = { "certificates", "token" }, within = 10 },
  { name = "drift", check_drift },
  { name = "identifies", check_identifies, needs = { "api" } },
  { name = "gateway", check_gateway, needs = { "api" }, within = 20 },
}

local PASSED = { ok = true, warn = true }

-- Runs one protected, unless something that it needs is missing.
local function run_check(check, told, passed)
  for _, need in ipairs(check.needs or {}) do
    if not passed[need] then return "skip", "left out: it needs " .. need end
  end
  local fine, result, text, advice = pcall(check[1], told, check.within)
  if fine then return result, text, advice end
  if tostring(result):find "interrupted!$" then error(result, 0) end
  return "fail", result, check.advice or "this is a mistake in moongate: please report it"
end

-- Both texts are clean, so that all but these two may stand in JSON.
local function quote(text)
  return '"' .. text:gsub('["\\]', "\\%0") .. '"'
end

local function show(name, result, text, advice, as_json)
  text, advice = clean(text), advice and clean(advice)
  if as_json then
    local line = ('{"check":"%s","result":"%s","text":%s'):format(name, result, quote(text))
    output.write(line, advice and ',"advice":' .. quote(advice) or "", "}\n")
  else
    output.write(("%-4s  %-12s  %s%s\n"):format(result, name, text,
      advice and "; " .. advice or ""))
  end
end

-- What was said, or nil and what is wrong with it. Without a moongate nobody can judge it.
local function read_args(args)
  local all, why = cli.read_rows(args, rows)
  if not all then return nil, why end
  all.client = cli.client_options(all, rows, {})
  if not pcall(require, "moongate.options") then return all end
  local checked, wrong = judge(all, { token = "none", api = all.client.api or DEFAULT_API })
  if not checked then return nil, wrong end
  return all
end

--- True, or nil, message, status.
function command.run(args)
  local told, why = read_args(args)
  if not told then return nil, why, MISUSED end
  local passed, failed = {}, 0
  for _, check in ipairs(command.checks) do
    local result, text, advice = run_check(check, told, passed)
    passed[check.name] = PASSED[result]
    if result == "fail" then failed = failed + 1 end
    show(check.name, result, text, advice, told.json)
  end
  if failed == 0 then return true end
  return nil, ("%d check%s failed"):format(failed, failed == 1 and "" or "s"), FAILED
end

return command

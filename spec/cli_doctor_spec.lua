-- cli_doctor.lua: `moongate doctor`, run as a person would, against the sandbox.  #sockets
local cjson = require "cjson"
local moongate = require "moongate"
local witness = require "witness"

local TOKEN = "dGhlIGRvY3Rvcg.Gx1x2x.c2VjcmV0LXNlY3JldA"
local CHECKS = { "versions", "certificates", "clock", "token", "api", "drift", "identifies",
  "gateway" }

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What the command says, and its exit status. `more`: a token, an api, words for the environment
-- (env), Lua that runs before it (before). No part of the token may be shown.
local function run(discord, words, more)
  more = more or {}
  local token = more.token or discord.token
  local text = ([[
    local checks = {}
    for _, check in ipairs(require("moongate.cli_doctor").checks) do checks[check.name] = check end
    %s
    local all = { "doctor" }
    for word in (%q):gmatch "%%S+" do all[#all + 1] = word end
    os.exit(require("moongate.cli").main(all), true)]]):format(more.before or "", words or "")
  local said, how, status = witness.program(text,
    ("env -u SSL_CERT_FILE -u SSL_CERT_DIR DISCORD_TOKEN=%s DISCORD_API=%s %s"):format(
      quoted(token), quoted(more.api or discord.api), more.env or ""))
  assert.equal("exit", how, said)
  assert.is_nil(said:find("traceback", 1, true), said)
  for part in token:gsub("^Bot ", ""):gmatch "[%w_-]+" do
    assert.is_nil(said:find(part, 1, true), said)
  end
  return said, status
end

-- The lines by the names of their checks: { result =, text = what follows it }. Each has one.
local function read(said)
  local lines, names = {}, {}
  for line in said:gmatch "[^\n]+" do
    local result, name, text = line:match "^(%l+) +(%l+)  +(%S.*)$"
    if result then
      lines[name], names[#names + 1] = { result = result, text = text }, name
    else
      assert.matches("^moongate doctor: %d+ checks? failed$", line)
    end
  end
  assert.same(CHECKS, names)
  return lines
end

-- The results in the order of the checks, by their first letters.
local function results(lines)
  local list = {}
  for i, name in ipairs(CHECKS) do list[i] = lines[name].result:sub(1, 1) end
  return table.concat(list)
end

local function with_file(text, fn)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
  local fine, why = pcall(fn, name)
  os.remove(name)
  if not fine then error(why, 0) end
end

describe("moongate doctor #sockets", function()
  local discord

  local function start(options)
    local all = { token = TOKEN }
    for key, value in pairs(options or {}) do all[key] = value end
    discord = witness.sandbox(all)
    return discord
  end
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  it("finds that all is well, with one Identify, and leaves", function()
    start { shards = 3, tls = true, heartbeat_interval = 3600000 }
    local said, status = run(discord, "", { env = "SSL_CERT_FILE=" .. discord.ca_file })
    local lines = read(said)
    assert.equal("oooooooo", results(lines), said)
    assert.equal(0, status)
    assert.matches("^Lua 5%.%d, moongate %d+%.%d+%.%d+, lua%-cjson %d[%d.]*, "
      .. "libwebsockets %d[%d.]*, openssl %d[%d.]*, zlib %d[%d.]*, zstd %d[%d.]*$",
      lines.versions.text)
    assert.equal(("those of %s, as SSL_CERT_FILE says"):format(discord.ca_file),
      lines.certificates.text)
    assert.matches("^it is %d%d%d%d%-%d%d%-%d%d %d%d:%d%d UTC$", lines.clock.text)
    assert.matches("/api answers in %d+%.%d%d s: wss://127%.0%.0%.1:%d+, 3 shards recommended$",
      lines.api.text)
    assert.matches("^this clock is %d s [ab]", lines.drift.text)
    assert.matches("^1000 of the day's 1000 are left, all of them again in 23 h 59 min$",
      lines.identifies.text)
    assert.matches("^READY as sandbox after %d+%.%d%d s, a beat takes %d+ ms; this spent one of",
      lines.gateway.text)
    local identifies = discord:received "IDENTIFY"
    assert.equal(1, #identifies)
    assert.equal(0, identifies[1].d.intents)
    assert.same({ 0, 3 }, identifies[1].d.shard)
    assert.equal(1, #discord:received "HEARTBEAT")
    assert.equal(1000, witness.ended(discord, 1).close_received)
    assert.equal(0, #discord:sessions())
  end)

  it("speaks as it is told", function()
    start()
    assert.equal(0, select(2, run(discord, "--encoding etf --compress zstd-stream")))
    assert.equal("etf", witness.ended(discord, 1).encoding)
    assert.equal("zstd-stream", witness.ended(discord, 1).compress)
    start()
    assert.equal(0, select(2, run(discord, "--compress none")))
    assert.equal("json", witness.ended(discord, 1).encoding)
    assert.is_nil(witness.ended(discord, 1).query:find "compress")
  end)

  it("does not identify with --no-identify", function()
    start()
    local said, status = run(discord, "--no-identify")
    local lines = read(said)
    assert.equal(0, status)
    assert.equal("skip", lines.gateway.result)
    assert.equal("ok", lines.identifies.result)
    assert.same({}, discord:received "IDENTIFY")
    assert.same({}, discord:history())
  end)

  -- ---- The token --------------------------------------------------------------------------------

  it("says where a token comes from when there is none", function()
    start()
    local said, status = run(discord, "", { token = "" })
    local lines = read(said)
    assert.equal(1, status)
    assert.equal("fssss", results(lines):sub(4), said)
    assert.matches("^%$DISCORD_TOKEN is not set, or empty; set it to the token on the Bot page of "
      .. "https:", lines.token.text)
    assert.equal("left out: it needs token", lines.api.text)
    assert.equal("left out: it needs api", lines.gateway.text)
    assert.matches("\nmoongate doctor: 1 check failed\n", said)
    assert.same({}, discord:requests())
  end)

  local malformed = {
    { '"' .. TOKEN .. '"', "there are quotes in it; leave them out" },
    { "'" .. TOKEN .. "'", "there are quotes in it; leave them out" },
    { TOKEN .. "\n", "there is a line break in it; set it without" },
    { TOKEN .. "\r", "there is a line break in it; set it without" },
    { TOKEN .. " ", "there is white space in it; set it without" },
    { " " .. TOKEN, "there is white space in it; set it without" },
    { "Bot  " .. TOKEN, "there is white space in it; set it without" },
    { "Bot ", "is not set, or empty; set it" },
    { TOKEN .. "é", "has characters in it that no token has; copy it again" },
    { TOKEN:rep(13, "."), "has 532 characters, at most 512 are possible; check" },
  }
  for _, row in ipairs(malformed) do
    it("refuses a token: " .. row[2] .. ", " .. ("%q"):format(row[1]:sub(1, 8)), function()
      start()
      local said, status = run(discord, "", { token = row[1] })
      local lines = read(said)
      assert.equal(1, status)
      assert.equal("fail", lines.token.result)
      assert.truthy(lines.token.text:find(row[2], 1, true), said)
      assert.equal("skip", lines.api.result)
      assert.same({}, discord:requests())
    end)
  end

  it("takes the word Bot off, and says so", function()
    start()
    local said, status = run(discord, "", { token = "Bot " .. TOKEN })
    local lines = read(said)
    assert.equal(0, status)
    assert.equal("woooo", results(lines):sub(4), said)
    assert.matches("^it begins with the word Bot, .*; leave it out", lines.token.text)
  end)

  it("doubts a token of another form, and has the API judge it", function()
    start { token = "QUJDREVGRw.SElKS0xNTk8" }
    local said, status = run(discord, "--no-identify")
    assert.equal(0, status)
    assert.equal("woo", results(read(said)):sub(4, 6), said)
    assert.matches("it is not three parts with dots between", read(said).token.text)
    said, status = run(discord, "--no-identify", { token = "f00fc7c8d0f00fc7c8d0" })
    assert.equal(1, status)
    assert.equal("wfoss", results(read(said)):sub(4), said)
  end)

  it("tells a token that is refused", function()
    start()
    local said, status = run(discord, "", { token = TOKEN .. "x" })
    local lines = read(said)
    assert.equal(1, status)
    assert.equal("ofoss", results(lines):sub(4), said)
    local row = moongate.close_codes[4004]
    assert.equal(("%s (HTTP 401); %s"):format(row.words, row.remedy), lines.api.text)
    assert.same({}, discord:received "IDENTIFY")
  end)

  -- ---- The API ----------------------------------------------------------------------------------

  it("tells an API that nobody listens at", function()
    start():stop()
    local said, status = run(discord)
    local lines = read(said)
    assert.equal(1, status)
    assert.equal("ofsss", results(lines):sub(4), said)
    assert.truthy(lines.api.text:find(discord.api .. ": connect: ", 1, true), said)
    assert.matches("; check that the host is up, and that a firewall", lines.api.text)
  end)

  it("waits for no API that says nothing", function()
    start():stall "accept"
    local began = os.time()
    local said, status = run(discord, "", { before = "checks.api.within = 0.3" })
    assert.equal(1, status)
    assert.matches("; check that the host is up", read(said).api.text)
    assert.is_true(os.time() - began < 10)
  end)

  local answers = {
    { { status = 403 }, ": HTTP 403; this address is refused" },
    { { status = 404 }, ": HTTP 404; check the address of the API: --api or $DISCORD_API" },
    { { status = 429, headers = { ["Retry-After"] = 7 } },
      ": HTTP 429, not again for 7 s; wait, and" },
    { { status = 503 }, ": HTTP 503; it is not your bot" },
    { { status = 302 }, ": HTTP 302; try again" },
    { { body = "<html>" }, ": the answer cannot be used: " },
    { { body = "{}" }, ": the answer cannot be used: no url; check the address of the API" },
  }
  for _, row in ipairs(answers) do
    it("tells what kind of answer that is" .. row[2], function()
      start()
      row[1].path, row[1].times = "/gateway/bot", 0
      discord:respond(row[1])
      local said, status = run(discord)
      local lines = read(said)
      assert.equal(1, status)
      assert.equal("ofoss", results(lines):sub(4), said)
      assert.truthy(lines.api.text:find(discord.api .. row[2], 1, true), said)
      assert.equal(1, #discord:requests())
    end)
  end

  it("goes to --api, and judges $DISCORD_API", function()
    start()
    local said, status = run(discord, "--no-identify --api " .. discord.api, { api = "ftp://x" })
    assert.equal(0, status, said)
    said, status = run(discord, "--no-identify", { api = "ftp://x" })
    assert.equal(1, status)
    assert.equal('$DISCORD_API: "ftp://x" is no such URL; give a URL such as '
      .. "https://discord.com/api", read(said).api.text)
  end)

  it("looks for Discord's own API where no other is named", function()
    start()
    local said = run(discord, "--no-identify", { api = "", before = [[
      package.loaded["moongate.bridge"] = { new = function()
        return { request = function(_, wanted)
          return nil, "request: to " .. wanted.url, "ERESOLVE"
        end, close = function() end }
      end }]] })
    assert.matches(": to https://discord%.com/api/v10/gateway/bot; check the host name",
      read(said).api.text)
  end)

  it("warns when few identifies are left", function()
    start { session_start_limit = { total = 1000, remaining = 99, reset_after = 7200000 } }
    local said, status = run(discord)
    local lines = read(said)
    assert.equal(0, status)
    assert.equal("wo", results(lines):sub(7), said)
    assert.matches("^99 of the day's 1000 are left, all of them again in 1 h 59 min; find out what",
      lines.identifies.text)
    start { session_start_limit = { total = 1000, remaining = 100 } }
    assert.equal("os", results(read((run(discord, "--no-identify")))):sub(7))
  end)

  it("spends none when none is left", function()
    start { session_start_limit = { total = 1000, remaining = 0, reset_after = 3600000 } }
    local said, status = run(discord)
    local lines = read(said)
    assert.equal(0, status)
    assert.equal("ws", results(lines):sub(7), said)
    assert.matches("^0 of the day's 1000 are left", lines.identifies.text)
    assert.matches("^too few identifies are left: bots wait as well, until %d+%-%d%d%-%d%d %d",
      lines.gateway.text)
    assert.same({}, discord:received "IDENTIFY")
  end)

  it("says so when nobody tells how many there are", function()
    start()
    discord:respond { path = "/gateway/bot", times = 0,
      body = { url = "ws://127.0.0.1:1", shards = 1 } }
    local lines = read((run(discord, "--no-identify")))
    assert.equal("skip", lines.identifies.result)
    assert.equal("the API does not tell how many there are", lines.identifies.text)
  end)

  -- ---- The gateway ------------------------------------------------------------------------------

  local stalls = {
    { "accept", "no WebSocket was opened within 2 s; check that the host is up" },
    { "upgrade", "no WebSocket was opened within 2 s; check that the host is up" },
    { "hello", "a WebSocket was opened, but no HELLO came within 2 s; check that the host" },
    { "ready", "HELLO came, but no READY within 2 s; this spent one of the day's" },
  }
  for _, row in ipairs(stalls) do
    it("waits for no gateway that stalls: " .. row[1], function()
      local other = start()
      start()
      discord:stall(row[1])
      -- What is asked over HTTP does not stall.
      other:respond { path = "/gateway/bot", times = 0,
        body = { url = discord.url, shards = 1 } }
      local began = os.time()
      local said, status = run(other, "", { before = "checks.gateway.within = 2" })
      other:stop()
      local lines = read(said)
      assert.equal(1, status)
      assert.equal("fail", lines.gateway.result)
      assert.truthy(lines.gateway.text:find(row[2], 1, true), said)
      assert.is_true(os.time() - began < 10)
    end)
  end

  it("gives READY 20 s, and the API 10", function()
    local within = {}
    for _, check in ipairs(require("moongate.cli_doctor").checks) do
      within[check.name] = check.within
    end
    assert.same({ api = 10, gateway = 20 }, within)
  end)

  for _, code in ipairs { 4004, 4010, 4011, 4012, 4013, 4014 } do
    it("tells what close code " .. code .. " means", function()
      start():instead("ready", { close = code, reason = "No." })
      local said, status = run(discord)
      local row = moongate.close_codes[code]
      assert.equal(1, status)
      assert.equal(("the gateway closed with %d: %s; %s"):format(code, row.words, row.remedy),
        read(said).gateway.text)
    end)
  end

  local ends = {
    { { drop = true }, "the gateway closed with 1006: the connection was lost; try again in" },
    { { close = 4999, reason = "Tea." }, "the gateway closed with 4999: Tea.; try again in" },
    { { close = 4999 }, "the gateway closed with 4999: UNLISTED; try again in" },
    { { invalid_session = false }, "given up: invalid session; try again: another process" },
    { { payload = '{"op":7,"d":null}' }, "given up: reconnecting; try again in" },
  }
  for _, row in ipairs(ends) do
    it("identifies once, however that ends: " .. row[2], function()
      start()
      row[1].times = 0
      discord:instead("ready", row[1])
      local said, status = run(discord)
      assert.equal(1, status)
      assert.truthy(read(said).gateway.text:find(row[2], 1, true), said)
      assert.equal(1, #discord:received "IDENTIFY")
    end)
  end

  it("tells a gateway that is none", function()
    start():respond { path = "/", status = 403, times = 0 }
    local said, status = run(discord)
    assert.equal(1, status)
    assert.matches("^connect to ws://[^;]*403%); check that the URL is a gateway's",
      read(said).gateway.text)
  end)

  it("warns when no beat is answered", function()
    start():withhold_acks()
    local said, status = run(discord, "", { before = "checks.gateway.within = 4" })
    assert.equal(0, status)
    local line = read(said).gateway
    assert.equal("warn", line.result)
    assert.matches("^READY as sandbox, but no beat was answered within 1 s; this spent one of.*; "
      .. "check", line.text)
    assert.equal(1000, witness.ended(discord, 1).close_received)
  end)

  -- ---- This machine -----------------------------------------------------------------------------

  it("tells of certificates that are not trusted, and what to do", function()
    start { tls = true, limits = false }
    local said, status = run(discord)
    local lines = read(said)
    assert.equal(1, status)
    assert.equal("fail", lines.api.result)
    assert.matches("; install the system's certificates .*SSL_CERT_FILE", lines.api.text)
    said, status = run(discord, "--ca-file " .. discord.ca_file)
    assert.equal(0, status, said)
    assert.equal("ok", read(said).gateway.result)
    assert.equal("those of " .. discord.ca_file, read(said).certificates.text)
    said, status = run(discord, "--insecure-tls")
    assert.equal(0, status, said)
    assert.equal("owoooooo", results(read(said)), said)
    assert.matches("^none is checked, as %-%-insecure%-tls says", read(said).certificates.text)
    with_file("-----BEGIN CERTIFICATE-----\n", function(name)
      said, status = run(discord, "", {
        before = ("require('moongate.cli_doctor').stores = { %q }"):format(name) })
      assert.equal(1, status)
      assert.equal("the system's, as in " .. name, read(said).certificates.text)
    end)
  end)

  it("looks at the file that is to be trusted", function()
    start()
    local lines = read((run(discord, "--no-identify --ca-file /nowhere.pem")))
    assert.equal("fail", lines.certificates.result)
    assert.matches("^/nowhere%.pem: No such file.*; give %-%-ca%-file a PEM",
      lines.certificates.text)
    assert.equal("left out: it needs certificates", lines.api.text)
    with_file("no certificate", function(name)
      lines = read((run(discord, "--no-identify --ca-file " .. name)))
      assert.matches(": there is no PEM certificate in it; give", lines.certificates.text)
    end)
    with_file("", function(name)
      lines = read((run(discord, "--no-identify --ca-file " .. name)))
      assert.matches(": it is empty; give", lines.certificates.text)
    end)
    lines = read((run(discord, "--no-identify --ca-file /")))
    assert.matches("^/: Is a directory; give", lines.certificates.text)
  end)

  it("warns of a store that OpenSSL passes over, and goes on", function()
    start()
    local function line(env, before)
      local said, status = run(discord, "--no-identify", { env = env, before = before })
      local lines = read(said)
      assert.equal(0, status, said)
      assert.equal("ok", lines.api.result)
      return lines.certificates.result .. " " .. lines.certificates.text
    end
    assert.matches("^warn SSL_CERT_FILE: /nowhere%.pem: No such file.*; name a PEM file",
      line "SSL_CERT_FILE=/nowhere.pem")
    assert.equal("ok those in /usr, as SSL_CERT_DIR says", line "SSL_CERT_DIR=/nowhere:/usr")
    assert.matches("^warn SSL_CERT_DIR: there is no /nowhere; name", line "SSL_CERT_DIR=/nowhere")
    assert.matches("^warn the system's are in none of the usual places; install", line("",
      "require('moongate.cli_doctor').stores = { '/nowhere.pem' }"))
  end)

  it("tells of a clock that stands", function()
    start()
    local said, status = run(discord, "--no-identify", { before = "os.time = function(at) "
      .. "return at and 0 or 3600 end" })
    local line = read(said).clock
    assert.equal(1, status)
    assert.equal("fail this machine says that it is 1970-01-01 01:00 UTC; set the clock: no "
      .. "certificate is valid then", line.result .. " " .. line.text)
  end)

  it("warns of a clock that is wrong", function()
    for _, row in ipairs { { -3600, "ahead of" }, { 3600, "behind" } } do
      start { clock_skew = row[1] }
      local said, status = run(discord, "--no-identify", { env = "TZ=Europe/Berlin" })
      local line = read(said).drift
      assert.equal(0, status)
      assert.equal("warn", line.result)
      assert.matches("^this clock is 3[56]%d%d s " .. row[2] .. " the API's; set it", line.text)
      discord:stop()
    end
    for _, date in ipairs { "noon", "Sun, 06 Non 1994 08:49:37 GMT" } do
      start():respond { path = "/gateway/bot", status = 503, headers = { Date = date } }
      local line = read((run(discord))).drift
      assert.equal("skip no answer tells what time it is elsewhere",
        line.result .. " " .. line.text)
      discord:stop()
    end
  end)

  -- ---- Whatever happens -------------------------------------------------------------------------

  it("is told as JSON, an object a line", function()
    start()
    local function decode(words, more)
      local said, status = run(discord, words, more)
      local list = {}
      for line in said:gmatch "[^\n]+" do
        if not line:find "^moongate doctor: " then list[#list + 1] = cjson.decode(line) end
      end
      for i, name in ipairs(CHECKS) do assert.equal(name, list[i].check) end
      assert.equal(#CHECKS, #list)
      return list, status
    end
    local list, status = decode "--json"
    assert.equal(0, status)
    for _, line in ipairs(list) do
      assert.is_true(line.result == "ok" or line.check == "certificates", line.text)
      assert.is_string(line.text)
    end
    assert.is_nil(list[8].advice)
    list, status = decode("--json", { token = '"' .. TOKEN .. '"', before = [[
      checks.versions[1] = function() return "ok", 'a "b" \\ \n\27[0m c \255' end]] })
    assert.equal(1, status)
    assert.same({ check = "versions", result = "ok", text = 'a "b" \\ [0m c ?' }, list[1])
    assert.equal("fail", list[4].result)
    assert.equal("there are quotes in it", list[4].text)
    assert.matches("^leave them out", list[4].advice)
  end)

  it("goes on behind a check that fails in its own way, without the token", function()
    start()
    local said, status = run(discord, "", { before = [[
      local token = os.getenv "DISCORD_TOKEN"
      checks.clock[1] = function()
        error(("no clock for %s, %s\nnone"):format(token, token:match "%w+"))
      end
      checks.api[1] = function() error({}) end]] })
    local lines = read(said)
    assert.equal(1, status)
    assert.equal("fofsss", results(lines):sub(3), said)
    assert.matches("no clock for %(hidden%), %(hidden%) none; this is a mistake in moongate",
      lines.clock.text)
    assert.matches("^table: ", lines.api.text)
    assert.matches("moongate doctor: 2 checks failed\n$", said)
  end)

  it("tells of a moongate that cannot be loaded", function()
    start()
    local said, status = run(discord, "--encoding json", { before = [[
      for name in pairs(package.loaded) do
        if name:find "^moongate" and not name:find "cli" then package.loaded[name] = nil end
      end
      package.preload["moongate.core"] = function()
        error("libwebsockets.so.99: cannot open shared object file", 0)
      end]] })
    local lines = read(said)
    assert.equal(1, status)
    assert.matches("^f.oss", results(lines), said)
    assert.matches("libwebsockets%.so%.99: cannot open.*; build it anew", lines.versions.text)
    assert.equal("left out: it needs versions", lines.token.text)
  end)

  it("ends with Ctrl-C", function()
    start()
    local said, status = run(discord, "", { before = [[
      checks.api[1] = function() error("interrupted!", 0) end]] })
    assert.equal(130, status)
    assert.is_nil(said:find "drift", said)
  end)

  local wrong = {
    { "--encoding etfs", 'encoding: "etfs" is not possible' },
    { "--compress lz4", "lz4" },
    { "--compress payload --encoding etf", '"payload" is for the encoding "json" only' },
    { "--api http://discord.example/api", "would send the token unencrypted" },
    { "--api http://discord.example/api", "or give --insecure-tls if that network is your own" },
    { "now", "'now' is no option" },
    { "--tokn x", "unknown option --tokn" },
  }
  for _, row in ipairs(wrong) do
    it("says what is wrong: " .. row[1], function()
      start()
      local said, status = run(discord, row[1])
      assert.equal(2, status, said)
      assert.truthy(said:find(row[2], 1, true), said)
      assert.matches("^moongate doctor: ", said)
      assert.same({}, discord:requests())
    end)
  end
end)

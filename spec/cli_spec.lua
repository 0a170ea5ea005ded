-- cli_spec.lua: the command, run as a person would: its words, its exit codes, `moongate sandbox`
-- with a client by hand, and no stack trace whatever is typed.  #sockets

local cjson = require "cjson"
local cli = require "moongate.cli"
local wire = require "wire"

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local patience = tonumber(os.getenv "MOONGATE_PATIENCE") or 20

-- The command with these words behind it; the search paths are those of this process.
local function command_line(words)
  local paths = ("package.path, package.cpath = %q, %q"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath):gsub("'", "'\\''")
  local command = "timeout --foreground -k 2 %d lua5.4 -e '%s' '%s/../lua/bin/moongate' %s"
  return command:format(patience, paths, here, words)
end

-- Runs it to its end: what it wrote to stdout, to stderr, and its status. `setting` stands in front
-- of the command, `whither` says where its stdout goes.
local function run(words, setting, whither)
  local name = os.tmpname()
  local pipe = io.popen(("%s %s %s 2>%s"):format(setting or "", command_line(words), whither or "",
    name))
  local out = pipe:read "a"
  local _, _, status = pipe:close()
  local file = io.open(name)
  local err = file:read "a"
  file:close()
  os.remove(name)
  assert.is_nil((out .. err):find("traceback", 1, true), out .. err)
  return out, err, status
end

local function with_file(text, fn)
  local name = os.tmpname()
  local file = io.open(name, "w")
  file:write(text)
  file:close()
  local fine, why = pcall(fn, name)
  os.remove(name)
  if not fine then error(why, 0) end
end

describe("cli", function()
  describe("read", function()
    local kinds = { port = "number", tls = "flag", name = "text" }

    it("takes values, flags and words", function()
      assert.same({ "a", "b", port = 5, tls = true, name = "x=y" },
        cli.read({ "a", "--port", "5", "--tls", "b", "--name=x=y" }, kinds))
      assert.same({ tls = false, name = "--tls" },
        cli.read({ "--no-tls", "--name", "--tls" }, kinds))
    end)

    it("says what is wrong", function()
      local function said(...) return select(2, cli.read({ ... }, kinds)) end
      assert.equal("unknown option --prot, did you mean --port?", said "--prot")
      assert.equal("unknown option --prt, did you mean --port?", said "--prt")
      assert.equal("unknown option --something-else", said "--something-else")
      assert.equal("unknown option -x", said "-x")
      assert.equal("--port needs a value", said "--port")
      assert.equal("--port: a number expected, got 'x'", said("--port", "x"))
      assert.equal("--tls takes no value", said "--tls=1")
      assert.equal("unknown option --no-port, did you mean --port?", said "--no-port")
    end)
  end)

  describe("commands of options", function()
    local rows = {
      { "first", "number", "N", "the first of them" },
      { "quiet", "flag", "", "no words" },
    }

    it("are read and described by the same rows", function()
      assert.same({ first = 3, quiet = true }, cli.read_rows({ "--first", "3", "--quiet" }, rows))
      assert.same({ nil, "'3' is no option" }, { cli.read_rows({ "--quiet", "3" }, rows) })
      assert.same({ nil, "unknown option --frist, did you mean --first?" },
        { cli.read_rows({ "--frist" }, rows) })
      local words = { "usage: it", "" }
      assert.equal("usage: it\n\n  --first N                the first of them\n"
        .. "  --quiet                  no words\n", cli.describe(words, rows))
      assert.equal(2, #words)
    end)

    it("refuse values that cannot be meant", function()
      local all = { { "for", "number" }, { "count", "number" }, { "max", "number" },
        { "session-store", "text" } }
      for _, row in ipairs {
        { "--for", "-1", "--for: a time from 0 on expected, got '-1'" },
        { "--count", "0", "--count: a whole number from 1 expected, got '0'" },
        { "--count", "1.5", "--count: a whole number from 1 expected, got '1.5'" },
        { "--max", "1e7", "--max: a whole number from 0 to 999999 expected, got '10000000.0'" },
        { "--session-store", "", "--session-store: the name of a file expected, got ''" },
      } do
        assert.same({ nil, row[3] }, { cli.read_rows({ row[1], row[2] }, all) })
      end
      assert.same({ ["for"] = 0, count = 1 },
        cli.read_rows({ "--for", "0", "--count", "1" }, all))
    end)

    it("take lists of words and numbers", function()
      assert.same({ 0, 3, "guilds", "a_b" }, cli.split "0,3, guilds a_b,")
      assert.same({}, cli.split " ,")
    end)
  end)

  it("tells how it is used", function()
    local out, err, status = run "help"
    assert.matches("usage: moongate COMMAND.*sandbox +a gateway of one's own", out)
    assert.equal("", err)
    assert.equal(0, status)
    out, err, status = run ""
    assert.equal("", out)
    assert.matches("^usage:", err)
    assert.equal(2, status)
    out, err, status = run "sandbox --help"
    assert.matches("usage: moongate sandbox.*%-%-for SECONDS", out)
    assert.matches("%-%-heartbeat%-interval N +ms, as in HELLO %(41250%)\n", out)
    assert.matches("%-%-no%-limits +without Discord's limits", out)
    for line in out:gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    assert.equal("0", err .. status)
    assert.same({ out, "", 0 }, { run "help sandbox" })
    assert.same({ (run "help"), "", 0 }, { run "help --help" })
    for _, words in ipairs { "version", "--version" } do
      assert.same({ require "moongate"._VERSION .. "\n", "", 0 }, { run(words) })
    end
  end)

  describe("where the core cannot be loaded", function()
    local setting = [[LUA_INIT_5_4='package.preload["moongate.core"] = function()
      error("error loading module \"moongate.core\":\n\tlibz.so.9: cannot open", 0)
      end']]

    it("tells how it is used, as ever", function()
      assert.same({ run "help" }, { run("help", setting) })
    end)

    it("says so in one line, whatever is wanted", function()
      for _, words in ipairs { "version", "tail", "cluster --help", "help repl" } do
        local out, err, status = run(words, setting)
        assert.equal("", out)
        assert.equal("moongate: error loading module \"moongate.core\": libz.so.9: cannot open; "
          .. "build it anew (make install), moongate doctor tells more\n", err)
        assert.equal(1, status)
      end
    end)

    it("does not tell where else it was looked for", function()
      assert.equal("module 'no.such' not found",
        cli.why_not_loaded(select(2, pcall(require, "no.such"))))
    end)
  end)

  it("fails where what it shows does not arrive, whatever it is", function()
    for _, words in ipairs { "help", "version", "sandbox --help", "sandbox --for 0",
      "doctor --no-identify", "cluster --plain --for 0" } do
      local _, err, status = run(words, "env DISCORD_TOKEN=cli.spec.token "
        .. "DISCORD_API=http://127.0.0.1:1", ">/dev/full")
      assert.matches("moongate " .. words:match "%a+" .. ": cannot write: No space left on "
        .. "device\n$", err)
      assert.equal(1, status, words)
    end
  end)

  it("writes into nothing else where its stdout is closed", function()
    for _, words in ipairs { "help", "sandbox --for 0", "cluster --plain --for 0" } do
      local _, err, status = run(words, "env DISCORD_TOKEN=cli.spec.token "
        .. "DISCORD_API=http://127.0.0.1:1", ">&-")
      assert.matches("moongate " .. words:match "%a+" .. ": cannot write: Bad file descriptor\n$",
        err)
      assert.equal(1, status, words)
    end
  end)

  it("every subcommand is a module with a usage, and has words of what it is for", function()
    for _, row in ipairs(cli.commands) do
      local command = require(row[2])
      assert.is_string(row[3])
      assert.matches("^usage: moongate " .. row[1], command.usage())
      assert.is_function(command.run)
    end
  end)

  local mistakes = {
    { "sandbx", "moongate: there is no command 'sandbx', did you mean sandbox%?; moongate help" },
    { "help sandbx", "moongate: there is no command 'sandbx', did you mean sandbox%?" },
    { "sandbox --prot 5",
      "unknown option %-%-prot, did you mean %-%-port%?; moongate sandbox %-%-help" },
    { "sandbox --port 70000", "option 'port': an integer from 0 to 65535 expected" },
    { "sandbox --etf-keys x", "option 'etf_keys': one of atom, binary, mixed expected" },
    { "sandbox --disallowed-intents nonsense", "a list of names; 'nonsense' is none" },
    { "sandbox a b", "one scenario expected, got 2 arguments" },
    { "sandbox /nowhere.lua", "moongate sandbox: /nowhere.lua: No such file" },
    { "sandbox /", "moongate sandbox: /: is no file that can be read" },
    { "sandbox --for -1", "a time from 0 on expected, got '%-1'" },
  }
  for _, mistake in ipairs(mistakes) do
    it("says what is wrong with: " .. mistake[1], function()
      local out, err, status = run(mistake[1])
      assert.equal("", out)
      assert.matches(mistake[2], err)
      assert.matches("^moongate[^\n]*\n$", err) -- one line
      assert.equal(2, status)
    end)
  end

  local scripts = {
    { "return {", ":1: unexpected symbol", 2 },
    { "error 'no'", ":1: no", 2 },
    { "error { }", "moongate sandbox: table: ", 2 },
    { "return 5", "returns no function and no table with a function `play`", 2 },
    { "return { play = print, options = 1 }", "its `options` are no table", 2 },
    { "return { play = print, opts = 1 }", "unknown key 'opts'; a scenario has options and", 2 },
    { "return { play = print, options = { guild = 1 } }", "unknown option 'guild', did you", 2 },
    { "return function(discord)\n discord:stall 'x' end",
      "the scenario failed: [^\n]*:2: stall: phase: 'x' is none of accept", 1 },
    { "return function(discord) return discord:wait_received('IDENTIFY', { timeout = 0.01 }) end",
      "the scenario failed: wait: 1 packets IDENTIFY did not happen in 0.01 s", 1 },
    { "return function() local x; x.y = 1 end", "the scenario failed: .*attempt to index", 1 },
  }
  for number, script in ipairs(scripts) do
    it(("says what is wrong with scenario %d: %s"):format(number, script[2]), function()
      with_file(script[1], function(name)
        local _, err, status = run("sandbox --once " .. name)
        assert.matches(script[2], err)
        assert.matches("^moongate sandbox: [^\n]*\n$", err)
        assert.equal(script[3], status)
      end)
    end)
  end
end)

describe("moongate sandbox #sockets", function()
  -- Starts it in the background: the pipe, its pid, and what a client needs to know of it. `input`:
  -- a FIFO that it reads, the end of which to write to comes last.
  local function start(words, input)
    local pipe = io.popen("sh -c 'echo $$; exec \"$@\"' sh " .. command_line(words) .. " 2>&1"
      .. (input and " <" .. input or ""))
    local keys = input and assert(io.open(input, "a"))
    local pid = tonumber(pipe:read "l")
    local first = pipe:read "l"
    if first:find "^{" then return pipe, pid, first end
    local port = tonumber(first:match "^listening at wss?://127.0.0.1:(%d+)$")
    local token = pipe:read "l":match "DISCORD_TOKEN=(%S+)"
    return pipe, pid, { port = port, token = token }, keys
  end

  local function line_with(pipe, pattern)
    for line in pipe:lines() do
      if line:find(pattern) then return line end
    end
    error("no line with " .. pattern)
  end

  local function end_it(pipe, pid, signal)
    os.execute(("kill -%s %d"):format(signal, pid))
    local rest = pipe:read "a"
    local _, how, status = pipe:close()
    return how == "exit" and status or how, rest
  end

  it("serves any client, shows what happens, and ends with Ctrl-C", function()
    local pipe, pid, there = start "sandbox --no-limits --guilds 2"
    local peer, ready = wire.ready(there)
    assert.equal(2, #ready.guilds)
    assert.matches("^ +%d+%.%d%d%d +#1 +open +/%?v=10&encoding=json$", line_with(pipe, " open "))
    assert.matches("#1 +session +%x+, shard 0 of 1", line_with(pipe, " session "))
    peer:send(1)
    peer:expect(11)
    assert.matches("#1 +receive +HEARTBEAT", line_with(pipe, "HEARTBEAT"))
    local status, rest = end_it(pipe, pid, "INT")
    assert.equal(0, status, rest)
    assert.equal(1001, (peer:closed(false)))
  end)

  it("plays a scenario and tells how it went", function()
    with_file([[
      return { options = { guilds = 3, limits = false }, play = function(discord, say)
        assert(discord:wait_for_ready(1, 20))
        say("ready with", #discord.guilds, "guilds")
        discord:close(4000, "again")
        assert(discord:wait_received("RESUME", { timeout = 20 }))
      end }
    ]], function(name)
      local pipe, _, there = start("sandbox --once --guilds 1 " .. name)
      local peer = wire.ready(there)
      assert.equal("scenario: ready with 1 guilds", line_with(pipe, "^scenario"))
      assert.equal(4000, (peer:closed()))
      local again = wire.connect(there)
      again:send(6, { token = there.token, session_id = peer.session, seq = peer.seq })
      assert.equal("scenario: done", line_with(pipe, "^scenario"))
      pipe:read "a"
      assert.equal(0, select(3, pipe:close()))
    end)
  end)

  it("dispatches what it reads with --stdin, and tells what is wrong with a line", function()
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    local pipe, pid, there, keys = start("sandbox --stdin --no-limits", path)
    local peer = wire.ready(there)
    keys:write '\nMESSAGE_CREATE {"content":"hi"}\nTYPING_START\nMESAGE_CREATE\nREADY {\n{}\n'
    keys:write 'GUILD_DELETE 5\nMESSAGE_CREATE {"content":"the '
    keys:flush()
    assert.equal("input: MESSAGE_CREATE to 1 session", line_with(pipe, "^input"))
    assert.equal("hi", peer:expect(0, "MESSAGE_CREATE").d.content)
    assert.equal("input: TYPING_START to 0 sessions", line_with(pipe, "^input"))
    line_with(pipe, "line 4: dispatch: name: 'MESAGE_CREATE' is no event; did you mean")
    line_with(pipe, "line 5: the data of READY are no JSON: ")
    line_with(pipe, "line 6: an event expected, such as MESSAGE_CREATE")
    line_with(pipe, "line 7: the data of GUILD_DELETE: an object expected")
    keys:write 'rest"}' -- its end is the end of the input
    keys:close()
    assert.equal("the rest", peer:expect(0, "MESSAGE_CREATE").d.content)
    assert.equal(0, (end_it(pipe, pid, "INT")))
    os.remove(path)
  end)

  it("ends with Ctrl-C in the midst of lines, each of which is done whole", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    local line = ('MESSAGE_CREATE {"content":"%s"}\n'):format(("x"):rep(400))
    for _ = 1, 20000 do file:write(line) end
    file:close()
    local pipe, pid, there, keys = start("sandbox --stdin --no-limits --quiet", path)
    keys:close()
    local peer = wire.ready(there)
    peer:expect(0, "MESSAGE_CREATE")
    local status, rest = end_it(pipe, pid, "INT")
    os.remove(path)
    assert.equal("", rest:match "^guild [^\n]*\n(.*)$" or rest)
    assert.equal(0, status)
    peer:drop()
  end)

  it("is told apart from an end by --once when Ctrl-C comes first", function()
    with_file("return function(discord) discord:wait(60) end", function(name)
      local pipe, pid = start("sandbox --once " .. name)
      assert.equal(130, (end_it(pipe, pid, "INT")))
    end)
  end)

  it("ends by itself, quietly, and over TLS", function()
    local out, err, status = run "sandbox --for 0.01 --quiet --tls"
    assert.matches("^listening at wss://127.0.0.1:%d+\nDISCORD_API=https.*SSL_CERT_FILE=", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("has nothing but objects in its output with --json", function()
    with_file("return function(_, say) say('one', 2) end", function(name)
      local pipe, pid, first = start("sandbox --json --guilds 2 " .. name)
      first = cjson.decode(first)
      assert.equal("listening", first.what)
      assert.equal(2, #first.guilds)
      assert.matches("^%d+$", first.guilds[1].channel_id)
      local there = { port = tonumber(first.text:match "^ws://127.0.0.1:(%d+)$"),
        token = first.token }
      wire.request(there, "GET", "/api/gateway")
      local texts = {}
      repeat
        local line = cjson.decode((pipe:read "l"))
        texts[#texts + 1] = line.what .. " " .. line.text
      until line.what == "request"
      assert.same({ "scenario one 2", "scenario done", "request GET /api/gateway: 200" }, texts)
      assert.equal(0, (end_it(pipe, pid, "INT")))
    end)
    local line = cjson.decode((run "sandbox --json --guilds 0 --tls --for 0 --token a.secret"))
    assert.is_nil(line.token)
    assert.same({}, line.guilds)
    assert.is_string(line.ca_file)
  end)

  it("does not repeat a token that was given", function()
    local out = run "sandbox --for 0 --token secret.of.mine"
    assert.is_nil(out:find("secret", 1, true))
    assert.matches("DISCORD_TOKEN=%$DISCORD_TOKEN", out)
  end)

  it("tells a port in use, and a certificate that cannot be written, with status 1", function()
    local pipe, pid, there = start "sandbox"
    local _, err, status = run("sandbox --port " .. there.port)
    assert.matches("^moongate sandbox: start: port %d+: Address already in use; leave the port out",
      err)
    assert.equal(1, status)
    end_it(pipe, pid, "INT")
    pipe = io.popen("TMPDIR=/nowhere " .. command_line "sandbox --tls --for 0" .. " 2>&1")
    assert.matches("no certificate: .*is %$TMPDIR a directory that can be written%?", pipe:read "a")
    assert.equal(1, select(3, pipe:close()))
  end)

  it("is installed as a program", function()
    local name = os.getenv "MOONGATE_BUILD" .. "/tree/bin/moongate"
    local file = io.open(name)
    if not file or not name:find "/plain/" then return end -- a sanitizer's tree needs its loader
    file:close()
    local pipe = io.popen(name .. " help")
    assert.matches("^usage: moongate", pipe:read "a")
    assert.equal(0, select(3, pipe:close()))
  end)
end)

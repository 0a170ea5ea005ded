-- cli_tail.lua: `moongate tail`, as a process against the sandbox: its lines, what it asks the
-- gateway for, how it ends, and what goes wrong.  #sockets

local cjson = require "cjson"
local moongate = require "moongate"
local sandbox = require "moongate.sandbox"
local witness = require "witness"

local EXACT = { exact = true }

local discord, errors, store

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

-- The command with these words behind it; the search paths are those of this process.
local function command_line(words, token)
  local paths = ("package.path, package.cpath = %q, %q"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath):gsub("'", "'\\''")
  return ("env DISCORD_TOKEN=%s DISCORD_API=%s timeout --foreground -k 2 %d lua5.4 -e '%s' "
    .. "'%s/lua/bin/moongate' tail %s"):format(token or discord.token, discord.api,
    witness.patience, paths, witness.root, words)
end

-- Starts it: the pipe of its stdout, and its pid. Its stderr goes to the file `errors`.
local function start(words, token)
  local pipe = assert(io.popen(("sh -c 'echo $$; exec \"$@\"' sh %s 2> %s"):format(
    command_line(words, token), errors)))
  return pipe, tonumber((pipe:read "l"))
end

-- What it still prints, each line as a table; its exit status or signal; what it said on stderr.
local function finish(pipe)
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = cjson.decode(line) end
  local _, how, status = pipe:close()
  local said = read(errors)
  assert.is_nil(said:find("traceback", 1, true), said)
  assert.is_nil(said:find(discord.token, 1, true), said)
  return lines, how == "exit" and status or how, said
end

local function run(words, token)
  return finish((start(words, token)))
end

local function interrupt(pipe, pid)
  os.execute(("kill -INT %d"):format(pid))
  return finish(pipe)
end

local function ready()
  assert(discord:wait_for_ready(1, witness.patience))
end

local function say(content)
  assert.equal(1, discord:dispatch("MESSAGE_CREATE", { content = content }, EXACT))
end

-- Until stderr has it.
local function await_error(pattern)
  assert(discord:wait_until(function() return read(errors):find(pattern) end, witness.patience,
    pattern))
end

local function contents(lines)
  local list = {}
  for i, line in ipairs(lines) do list[i] = line.d.content end
  return list
end

-- The names of the intents of the last Identify.
local function asked()
  local list = discord:received "IDENTIFY"
  return moongate.intents.names(list[#list].d.intents)
end

describe("moongate tail #sockets", function()
  before_each(function()
    discord = witness.sandbox { limits = false }
    errors, store = os.tmpname(), os.tmpname()
    os.remove(store)
  end)
  after_each(function()
    discord:stop()
    os.remove(errors)
    os.remove(store)
    os.remove(store .. ".lock")
  end)

  describe("prints", function()
    it("each event as a line, with the bytes that came", function()
      local pipe = start "--events MESSAGE_CREATE,typingStart --count 3"
      ready()
      discord:dispatch("TYPING_START", sandbox.text '{ "a" : [1,\r\n\t2.50],"b":"x\\n\\u00e9" }')
      discord:dispatch("CHANNEL_CREATE", { id = "1" }, { filter = false })
      discord:dispatch("MESSAGE_CREATE", sandbox.text "null")
      discord:dispatch("MESSAGE_CREATE", sandbox.text '{"id":"12345678901234567890"}')
      assert.equal('{"t":"TYPING_START","s":2,"shard":0,"d":{ "a" : [1,  \t2.50],'
        .. '"b":"x\\n\\u00e9" }}', pipe:read "l")
      assert.equal('{"t":"MESSAGE_CREATE","s":4,"shard":0,"d":null}', pipe:read "l")
      assert.equal('{"t":"MESSAGE_CREATE","s":5,"shard":0,"d":{"id":"12345678901234567890"}}',
        pipe:read "l")
      assert.same({ {}, 0, "" }, { finish(pipe) })
    end)

    it("null for what an event does not have", function()
      local pipe = start "--events MESSAGE_CREATE --count 1"
      ready()
      discord:send_payload '{"op":0,"t":"MESSAGE_CREATE"}'
      assert.equal('{"t":"MESSAGE_CREATE","s":null,"shard":0,"d":null}', pipe:read "l")
      assert.same({ {}, 0, "" }, { finish(pipe) })
    end)

    it("the events of an ETF stream as JSON", function()
      local pipe = start "--events messageCreate --encoding etf --compress zstd-stream --count 2"
      ready()
      say "one"
      discord:dispatch("MESSAGE_CREATE", { content = "zwei\n\"ü\"", id = "12345678901234567890",
        pinned = false, mentions = sandbox.array {} }, EXACT)
      local one = discord:connections()[1]
      assert.same({ "etf", "zstd-stream" }, { one.encoding, one.compress })
      local lines, status, said = finish(pipe)
      assert.same({ t = "MESSAGE_CREATE", s = 2, shard = 0, d = { content = "one" } }, lines[1])
      assert.same({ content = "zwei\n\"ü\"", id = "12345678901234567890", pinned = false,
        mentions = {} }, lines[2].d)
      assert.same({ 2, 0, "" }, { #lines, status, said })
    end)

    it("all events where none is named, each once where one is named twice", function()
      local lines, status, said = run "--count 2"
      assert.same({ "READY", "GUILD_CREATE", 1, 2 }, { lines[1].t, lines[2].t, lines[1].s,
        lines[2].s })
      assert.same({ 2, 0, "" }, { #lines, status, said })
      lines = run "--events READY,*,guildCreate --count 2"
      assert.same({ "READY", "GUILD_CREATE" }, { lines[1].t, lines[2].t })
      lines = run "--events ready,READY,guildCreate --count 2"
      assert.same({ "READY", "GUILD_CREATE" }, { lines[1].t, lines[2].t })
    end)

    it("of which shard they are", function()
      local lines, status = run "--events READY --shards 2 --ids 1 --count 1"
      assert.same({ 1, 1, 0 }, { #lines, lines[1].shard, status })
      assert.same({ { 1, 2 } }, { discord:received("IDENTIFY")[1].d.shard })
    end)

    it("the sequence of each, however far behind the reader is", function()
      local pipe, pid = start "--events MESSAGE_CREATE"
      ready()
      for _ = 1, 300 do say(("x"):rep(1000)) end
      assert(discord:wait_until(function() return discord:connections()[1].unsent == 0 end,
        witness.patience))
      for seq = 2, 301 do
        local line = cjson.decode((pipe:read "l"))
        assert.same({ seq, 1000 }, { line.s, #line.d.content })
      end
      assert.same({ {}, 0, "" }, { interrupt(pipe, pid) })
    end)

    it("a line as soon as its event is there", function()
      local pipe, pid = start "--events MESSAGE_CREATE"
      ready()
      for _, word in ipairs { "one", "two" } do
        say(word)
        assert.equal(word, cjson.decode((pipe:read "l")).d.content)
      end
      assert.same({ {}, 0, "" }, { interrupt(pipe, pid) })
    end)

    it("an event of tomorrow, of which it says that nobody knows it", function()
      local pipe = start "--events TEAPOT_BREWED --count 1"
      ready()
      assert.same(moongate.intents.names(moongate.intents.default), asked())
      discord:dispatch("TEAPOT_BREWED", { hot = true }, { filter = false })
      local lines, status, said = finish(pipe)
      assert.same({ t = "TEAPOT_BREWED", s = 3, shard = 0, d = { hot = true } }, lines[1])
      assert.equal(0, status)
      assert.matches("^%d%d:%d%d:%d%d TEAPOT_BREWED is no event that moongate knows[^\n]*\n$", said)
    end)
  end)

  describe("asks for", function()
    local rows = {
      { "READY", {} },
      { "READY,messageCreate", { "guild_messages", "direct_messages" } },
      { "READY,MESSAGE_CREATE,TYPING_START", { "guild_messages", "guild_message_typing",
        "direct_messages", "direct_message_typing" } },
      { "READY,THREAD_MEMBERS_UPDATE", { "guilds" } },
      { "READY,GUILD_MEMBER_ADD", { "guild_members" } },
      { "READY --intents 1,message_content", { "guilds", "message_content" } },
      { "'*'", moongate.intents.names(moongate.intents.default) },
    }
    for _, row in ipairs(rows) do
      it("the intents that are needed: " .. row[1], function()
        local lines, status, said = run(("--events %s --count 1"):format(row[1]))
        assert.same({ 1, 0, "" }, { #lines, status, said })
        assert.same(row[2], asked())
      end)
    end

    it("what it is told to, and says what will not come then", function()
      local _, status, said = run "--events READY,GUILD_MEMBER_ADD --intents guilds --count 1"
      assert.equal(0, status)
      assert.matches("^[%d:]+ the listener of GUILD_MEMBER_ADD can never be called: the intent "
        .. "guild_members is missing\n$", said)
    end)
  end)

  describe("ends", function()
    it("after --count events, with its session", function()
      local pipe = start "--events MESSAGE_CREATE --count 2"
      ready()
      for i = 1, 2 do say(tostring(i)) end
      for i = 3, 4 do -- it may have gone
        discord:dispatch("MESSAGE_CREATE", { content = tostring(i) }, EXACT)
      end
      local lines, status, said = finish(pipe)
      assert.same({ "1", "2" }, contents(lines))
      assert.same({ 0, "" }, { status, said })
      assert.same({ 1000, 0 }, { witness.ended(discord, 1).close_received, #discord:sessions() })
    end)

    it("where the next one goes on, with a session store", function()
      local words = ("--events MESSAGE_CREATE --count 2 --session-store %s"):format(store)
      local pipe = start(words)
      ready()
      for i = 1, 4 do say(tostring(i)) end -- what it is away for waits
      assert.same({ "1", "2" }, contents((finish(pipe))))
      assert.same({ 4000, 1 }, { witness.ended(discord, 1).close_received, #discord:sessions() })
      local lines, status, said = run(words)
      assert.same({ "3", "4" }, contents(lines))
      assert.same({ 0, "" }, { status, said })
      assert.equal(1, #discord:received "IDENTIFY")
    end)

    it("after --for seconds", function()
      local began = discord:clock()
      local lines, status, said = run "--events READY --for 0.7"
      assert.is_true(discord:clock() - began >= 0.7)
      assert.same({ 1, 0, "" }, { #lines, status, said })
      assert.same({ 1000, 0 }, { witness.ended(discord, 1).close_received, #discord:sessions() })
    end)

    it("with Ctrl-C, which keeps the session where there is a store", function()
      local pipe, pid = start ""
      assert.equal("READY", cjson.decode((pipe:read "l")).t)
      local lines, status, said = interrupt(pipe, pid)
      assert.is_true(#lines <= 1)
      assert.same({ 0, "" }, { status, said })
      assert.same({ 1000, 0 }, { witness.ended(discord, 1).close_received, #discord:sessions() })
      pipe, pid = start("--events READY --session-store " .. store)
      pipe:read "l"
      assert.same({ {}, 0, "" }, { interrupt(pipe, pid) })
      assert.same({ 4000, 1 }, { witness.ended(discord, 2).close_received, #discord:sessions() })
    end)

    -- Runs it with `before` in front, and `head` behind, and lets something come once that is gone:
    -- its line, and what it said with its status behind.
    local function with_head(words, before)
      local pipe = assert(io.popen(("{ %s %s; echo \"status $?\" >&2; } 2> %s | "
        .. "{ head -n 1; exec <&-; echo gone; }"):format(before, command_line(words), errors)))
      ready()
      say "1"
      local line = pipe:read "l"
      assert.equal("gone", pipe:read "l")
      say "2"
      assert.equal("", pipe:read "a")
      pipe:close()
      return cjson.decode(line).d.content, read(errors)
    end

    it("quietly when its reader has gone", function()
      local content, said = with_head("--events MESSAGE_CREATE", "")
      assert.equal("1", content)
      assert.truthy(said == "status 141\n" or said == "status 0\n", said) -- SIGPIPE may be ignored
    end)

    it("so where that is an error, with its session", function()
      assert.same({ "1", "status 0\n" }, { with_head("--events MESSAGE_CREATE", "trap '' PIPE;") })
      assert.equal(1000, witness.ended(discord, 1).close_received)
    end)

    it("so with a session store, in which what was not written comes again", function()
      local words = "--events MESSAGE_CREATE --session-store " .. store
      assert.same({ "1", "status 0\n" }, { with_head(words, "trap '' PIPE;") })
      assert.same({ "2" }, contents((run(words .. " --count 1"))))
    end)

    it("in failure when there is no place for a line", function()
      local pipe = io.popen(("%s > /dev/full 2> %s"):format(command_line "", errors))
      assert.same({ {}, 1, "moongate tail: cannot write: No space left on device\n" },
        { finish(pipe) })
    end)
  end)

  describe("tells on stderr", function()
    it("of a token that is refused", function()
      local lines, status, said = run("", "another.token")
      assert.same({ {}, 1 }, { lines, status })
      assert.matches("^moongate tail: fetch: the token was not accepted[^\n]*\n$", said)
      discord:instead("ready", { close = 4004 })
      lines, status, said = run ""
      assert.same({ {}, 1 }, { lines, status })
      assert.matches("^[%d:]+ shard 0/1: down for good: the token was not accepted[^\n]*\n"
        .. "moongate tail: the last shard is down for good\n$", said)
    end)

    it("of an API that is none", function()
      discord:respond { path = "/gateway/bot", status = 404 }
      local lines, status, said = run ""
      assert.same({ {}, 1 }, { lines, status })
      assert.matches("^moongate tail: fetch: GET [^\n]*: HTTP 404; check api\n$", said)
    end)

    it("of a gateway that is not there, once", function()
      local lines, status, said = run "--api http://127.0.0.1:1 --for 3"
      assert.same({ {}, 0 }, { lines, status })
      assert.matches("^[%d:]+ fetch: GET http://127.0.0.1:1: [^\n]*asking again\n$", said)
    end)

    it("of a session that is lost, and goes on", function()
      local pipe, pid = start "--events READY,MESSAGE_CREATE"
      ready()
      discord:invalid_session(false)
      await_error "shard 0/1: the session is lost: [^\n]*\n$"
      assert(discord:wait_received("IDENTIFY", { count = 2, timeout = witness.patience }))
      ready()
      say "again"
      local seen = {}
      for at = 1, 3 do seen[at] = cjson.decode((pipe:read "l")).t end
      assert.same({ "READY", "READY", "MESSAGE_CREATE" }, seen)
      local lines, status, said = interrupt(pipe, pid)
      assert.same({ {}, 0 }, { lines, status })
      assert.matches("^[^\n]*\n$", said)
    end)
  end)

  local wrong = {
    { "--events MESAGE_CREATE", "'MESAGE_CREATE' is no event of the gateway, did you mean "
      .. "MESSAGE_CREATE%?" },
    { "--events READY,reactionAdd", "'reactionAdd' is no event of the gateway, did you mean "
      .. "MESSAGE_REACTION_ADD%?" },
    { "--events disconnect", "'disconnect' is no event of the gateway;" },
    { "--events shardDisconnect", "'shardDisconnect' is no event of the gateway;" },
    { "--events 5", "'5' is no event of the gateway;" },
    { "--events ,", "%-%-events: a list of names expected" },
    { "--event READY", "unknown option %-%-event, did you mean %-%-events%?" },
    { "READY", "'READY' is no option" },
    { "--count 0", "%-%-count: a whole number from 1 expected" },
    { "--count 1.5", "%-%-count: a whole number from 1 expected" },
    { "--count many", "%-%-count: a number expected, got 'many'" },
    { "--for -1", "%-%-for: a time from 0 on expected" },
    { "--session-store ''", "%-%-session%-store: the name of a file expected" },
    { "--intents gilds", "gilds.*did you mean \"guilds\"" },
    { "--shards 2 --ids 0,x", '%-%-ids: "x" is no shard id' },
    { "--encoding xml", '%-%-encoding: "xml" is not possible' },
    { "--encoding etf --compress payload", "%-%-compress: .*; use \"zlib%-stream\".* or none" },
    { "--api ftp://x", "%-%-api: \"ftp://x\" is no such URL" },
    { "--api http://one.example/api", "%-%-api: .* or give %-%-insecure%-tls if that network" },
    { "--api ftp://x --encoding xml",
      "2 mistakes in the options:\n  %-%-encoding: [^\n]*\n  %-%-api: " },
  }
  for _, row in ipairs(wrong) do
    it("says what is wrong: " .. row[1], function()
      local lines, status, said = run(row[1])
      assert.same({ {}, 2 }, { lines, status })
      assert.matches("^moongate tail: .*" .. row[2], said)
      assert.matches("; moongate tail %-%-help\n$", said)
      assert.equal(0, #discord:requests())
    end)
  end

  it("takes no compression where none is wanted", function()
    run "--events READY --count 1 --compress none"
    assert.is_nil(witness.ended(discord, 1).query:find "compress")
  end)

  it("trusts what it is told to trust", function()
    discord:stop()
    discord = witness.sandbox { tls = true, limits = false }
    local _, _, said = run "--events READY --count 1 --for 1"
    assert.matches("certificate", said)
    for _, words in ipairs { "--insecure-tls", "--ca-file " .. discord.ca_file } do
      local lines, status = run("--events READY --count 1 " .. words)
      assert.same({ 1, 0 }, { #lines, status })
    end
  end)

  it("tells how it is used", function()
    local usage = require("moongate.cli_tail").usage()
    assert.matches("^usage: moongate tail.*\n  %-%-events LIST +names such as", usage)
    for line in usage:gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
  end)
end)

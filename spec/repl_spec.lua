-- repl.lua and what lua_terminal.c gives it: a prompt in a terminal, which util-linux's script(1)
-- makes, a prompt without one, and `moongate repl`. Keys are sent once there is a prompt that waits
-- for them.  #sockets

local terminal = require "terminal"
local witness = require "witness"

-- A bot at a prompt, and say(content), which lets it hear a message. Wants the file of the history,
-- or "" for none.
local PROGRAM = [[
local sandbox, moongate = require "moongate.sandbox", require "moongate"
local discord = sandbox.start { guilds = 1, token = "repl.spec.secret" }
local bot = moongate.client { token = discord.token, api = discord.api,
  intents = { "guilds", "guild_messages", "message_content" } }
function say(content)
  return discord:dispatch("MESSAGE_CREATE", { content = content }) and nil
end
local history = %q
local fine, why = pcall(moongate.repl, bot, { names = { discord = discord },
  history = history ~= "" and history or false })
bot:stop()
discord:stop()
print("left", fine, why)
]]

-- A program at a prompt of its own. shown: all that its terminal has shown; expect(text) waits
-- until that was shown behind what was expected before.
local Talk = {}
Talk.__index = Talk

-- `columns`: as wide as its terminal says it is; by default it does not.
local function start(text, columns)
  local self = setmetatable({ shown = "", seen = 1 }, Talk)
  self.path, self.keys_path = os.tmpname(), os.tmpname()
  local file = assert(io.open(self.path, "w"))
  file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath), text)
  file:close()
  os.remove(self.keys_path)
  assert(os.execute("mkfifo " .. self.keys_path))
  self.pipe = assert(io.popen(("exec 3<>%s; TERM=xterm timeout -k 2 %d script -qec '%slua5.4 %s' "
    .. "/dev/null <&3 2>&1"):format(self.keys_path, witness.patience,
      columns and ("stty columns %d; "):format(columns) or "", self.path)))
  self.keys = assert(io.open(self.keys_path, "w"))
  return self
end

function Talk:type(keys)
  self.keys:write(keys)
  self.keys:flush()
end

function Talk:expect(text)
  while true do
    local at, last = self.shown:find(text, self.seen, true)
    if at then
      self.seen = last + 1
      return
    end
    local byte = self.pipe:read(1)
    if not byte then
      error(("waited in vain for %q in:\n%s"):format(text, self.shown), 2)
    end
    self.shown = self.shown .. byte
  end
end

-- Waits for a prompt, at which keys are taken.
function Talk:prompt()
  self:expect "moongate> \27[K"
end

-- The rest that is shown; the program has ended.
function Talk:finish()
  self.shown = self.shown .. (self.pipe:read "a" or "")
  self.pipe:close()
  self.keys:close()
  os.remove(self.path)
  os.remove(self.keys_path)
  return self.shown:sub(self.seen)
end

local function at_prompt(history, columns)
  local talk = start(PROGRAM:format(history or ""), columns)
  talk:expect "GUILD_CREATE"
  talk:prompt()
  return talk
end

-- A shell command that prints the input of a program.
local function typing(input)
  return "printf '%s' '" .. input:gsub("'", "'\\''") .. "'"
end

describe("repl: in a terminal #sockets", function()
  it("runs what is typed and shows what it returns", function()
    local talk = at_prompt()
    talk:type "bot.state\r"
    talk:expect '"ready"\r\n'
    talk:prompt()
    talk:type "{ a = 1 }, nil\r"
    talk:expect "{ a = 1 }\r\n"
    talk:prompt()
    talk:type "x = 20 + 1\r"
    talk:prompt()
    talk:type "x * 2\r"
    talk:expect "42\r\n"
    talk:prompt()
    talk:type "_ + 1\r"
    talk:expect "43\r\n"
    talk:prompt()
    talk:type "for i = 1, 2 do\r"
    talk:expect ">> "
    talk:type "print('turn', i)\r"
    talk:expect ">> "
    talk:type "end\r"
    talk:expect "turn\t1\r\nturn\t2\r\n"
    talk:prompt()
    talk:type "local function\r)\r"
    talk:expect "<name> expected"
    talk:prompt()
    talk:type "error { code = 7 }\r"
    talk:expect "{ code = 7 }"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue\ttrue"
    talk:finish()
  end)

  it("shows events above the line, which stays as it was typed", function()
    local talk = at_prompt()
    talk:type "moongate.spawn(function() moongate.sleep(0.3) say 'above' end)\r"
    talk:prompt()
    talk:type "half of a li"
    talk:expect "half of a li"
    talk:expect "\r\27[J" -- the line is taken away
    talk:expect "MESSAGE_CREATE shard 0 { content = \"above\""
    talk:expect "\r\n\rmoongate> half of a li\27[K"
    talk:type "\21'go' .. 'es on'\r"
    talk:expect '"goes on"'
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
  end)

  it("clears the line at Ctrl-C, and stops what runs, as often as one likes", function()
    local talk = at_prompt()
    talk:type "not to be run"
    talk:expect "not to be run"
    talk:type "\3"
    talk:prompt()
    talk:type "\3"
    talk:expect "Ctrl-D leaves"
    for _, words in ipairs { "while true do end", "bot:wait_for 'never'", "moongate.sleep(60)" } do
      talk:prompt()
      talk:type("print 'begun' " .. words .. " print 'wrong'\r")
      talk:expect "begun\r\n"
      talk:type "\3"
      talk:expect "interrupted!"
    end
    talk:prompt()
    talk:type "bot.state\r"
    talk:expect '"ready"'
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    assert.is_nil(talk:finish():find "wrong\r\n")
  end)

  it("has its line back after Ctrl-Z, and an empty screen after Ctrl-L", function()
    local talk = at_prompt()
    talk:type "1 + \26"
    talk:expect "\27[?2004l\27[?2004h\rmoongate> 1 + \27[K"
    talk:type "1\12"
    talk:expect "\27[H\27[2J\rmoongate> 1 + 1\27[K"
    talk:type "\r"
    talk:expect "\27[?2004l2\r\n"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
  end)

  it("completes, and shows the ways there are", function()
    local talk = at_prompt()
    talk:type "bot.sta\t"
    talk:expect "bot.stat"
    talk:type "\t"
    talk:expect "state  stats\r\n"
    talk:type "e\r"
    talk:expect '"ready"'
    talk:prompt()
    talk:type "bot:once('messageCrea\t', function() print('heard', 'it') end) say 'x'\r"
    talk:expect "messageCreate'"
    talk:expect "heard\tit"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
  end)

  it("shows errors of listeners, and goes on", function()
    local talk = at_prompt()
    talk:type "bot:on('MESSAGE_CREATE', function() error 'in a listener' end) say 'x'\r"
    talk:expect "shard 0: in a listener of MESSAGE_CREATE: prompt:1: in a listener"
    talk:prompt()
    talk:type "'still' .. ' here'\r"
    talk:expect '"still here"'
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
  end)

  it("counts what comes too fast to be read", function()
    local talk = at_prompt()
    talk:type "for i = 1, 200 do say(i) end\r"
    talk:expect 'content = 1,'
    talk:expect " more events\27[0m\r\n"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
    local _, shown = talk.shown:gsub("MESSAGE_CREATE shard", "")
    assert.is_true(shown < 60, shown)
  end)

  it("takes a statement of several rows as one, also out of the history", function()
    local path = os.tmpname()
    local talk = at_prompt(path)
    talk:type "for i = 1, 2 do\r"
    talk:expect "\r\n\r       >> \27[K"
    talk:type "io.write(i, '-')\rend print()\r"
    talk:expect "\r\27[Jmoongate> for i = 1, 2 do\r\n       >> io.write(i, '-')\r\n"
    talk:expect "       >> end print()\r\n\27[?2004l1-2-\r\n"
    talk:prompt()
    talk:type "\27[A"
    talk:expect "\rmoongate> for i = 1, 2 do\27[K\r\n\r       >> io.write(i, '-')\27[K\r\n"
    talk:expect "\r       >> end print()\27[K"
    talk:type "\27[A\5\127\127\127\127'+')\r"
    talk:expect "\27[?2004l1+2+\r\n"
    talk:prompt()
    talk:type "f(\r"
    talk:expect "\r       >> \27[K"
    talk:type "\4" -- it is given up
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
    local file = assert(io.open(path))
    assert.equal("for i = 1, 2 do\\\nio.write(i, '-')\\\nend print()\n"
      .. "for i = 1, 2 do\\\nio.write(i, '+')\\\nend print()\n", file:read "a")
    file:close()
    os.remove(path)
  end)

  it("clears a statement of several rows at Ctrl-C, and goes on below it", function()
    local talk = at_prompt()
    talk:type "f(\r1,\r2\27[A\27[A"
    talk:expect "\27[2A\r\27[11C"
    talk:type "\3"
    talk:expect "\27[2B\r\n"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    assert.is_nil(talk:finish():find "Ctrl%-D")
  end)

  it("finds with Ctrl-R what was typed before", function()
    local talk = at_prompt()
    talk:type "'one' .. 1\r"
    talk:expect '"one1"'
    talk:prompt()
    talk:type "'two' .. 2\r"
    talk:expect '"two2"'
    talk:prompt()
    talk:type "\18one"
    talk:expect "search 'one': 'one' .. 1\27[K"
    talk:type "\r"
    talk:expect '"one1"'
    talk:prompt()
    talk:type "\18two"
    talk:expect "search 'two': 'two' .. 2\27[K"
    talk:type "\7"
    talk:prompt()
    talk:type "\18two"
    talk:expect "search 'two': 'two' .. 2\27[K"
    talk:type "\3"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
  end)

  it("leaves an output without a line break where it is", function()
    local talk = at_prompt("", 40)
    talk:type "quiet() bot:on('MESSAGE_CREATE', function() io.write 'heard it' end)\r"
    talk:prompt()
    talk:type "io.write 'half a line' return\r"
    talk:expect "half a line"
    talk:prompt()
    talk:type "say 'x'\r"
    talk:expect "heard it"
    talk:prompt()
    talk:type "io.write 'half of it' return 5\r"
    talk:expect "5\r\n"
    talk:prompt()
    talk:type "io.write 'and then' error 'no more'\r"
    talk:expect "no more"
    talk:prompt()
    talk:type "error('', 0)\r"
    talk:expect "\r\n"
    talk:prompt()
    talk:type "io.write(('x'):rep(40)) return\r"
    talk:expect(("x"):rep(40))
    talk:prompt()
    talk:type "print 'whole'\r"
    talk:expect "whole\r\n"
    talk:prompt()
    local lines = table.concat(terminal.new(40):write(talk.shown):lines(), "\n")
    assert.matches("\nhalf a line%%\nmoongate> say 'x'\n", lines)
    assert.matches("\nheard it%%\nmoongate> io.write", lines)
    assert.matches("\nhalf of it%%\n5\nmoongate> io.write 'and then'", lines)
    assert.matches("\nand then%%\nprompt:1: no more\nmoongate> error%('', 0%)\n\nmoongate> ", lines)
    assert.matches("\n" .. ("x"):rep(40) .. "\nmoongate> print 'whole'\nwhole\nmoongate>$", lines)
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
  end)

  it("keeps lines for the next time, but none that may hold a token", function()
    local path = os.tmpname()
    local talk = at_prompt(path)
    talk:type "'kept'\r"
    talk:expect '"kept"'
    talk:prompt()
    talk:type "secret_token = 'abc'\r"
    talk:prompt()
    talk:type "\4"
    talk:expect "left\ttrue"
    talk:finish()
    talk = at_prompt(path)
    talk:type "\27[A"
    talk:expect "moongate> 'kept'"
    talk:type "\21\4"
    talk:expect "left\ttrue"
    talk:finish()
    local file = assert(io.open(path))
    assert.equal("'kept'\n", file:read "a")
    file:close()
    os.remove(path)
  end)
end)

describe("repl: the ways to leave #sockets", function()
  -- Types this at a prompt, and expects the terminal to be given back.
  local function leave(keys)
    local talk = at_prompt()
    talk:type(keys)
    talk:expect "\27[?2004l" -- while the line runs
    talk:expect "\27[?2004h"
    talk:expect "\27[?2004l"
    local rest = talk:finish()
    assert.is_nil(rest:find("\27[?2004h", 1, true), rest)
    return rest
  end

  it("are words as well", function()
    for _, word in ipairs { "exit", "quit" } do
      local talk = at_prompt()
      talk:type(word .. "\r")
      talk:expect "left\ttrue\ttrue"
      talk:finish()
    end
  end)

  it("all give the terminal back: os.exit, and a signal that ends the process", function()
    leave "bot:on('MESSAGE_CREATE', function() os.exit(3) end) say 'x'\r"
    leave "moongate.spawn(function() moongate.sleep(0.1) io.popen 'kill -TERM $PPID' end)\r"
    leave "moongate.spawn(function() moongate.sleep(0.1) io.popen 'kill -HUP $PPID' end)\r"
  end)
end)

describe("repl: without a terminal #sockets", function()
  local function run(input)
    return (witness.program(PROGRAM:format "", "", typing(input)))
  end

  it("takes line by line, up to the end of the input", function()
    local said = run("watch 'message_craete'\nhelp()\nquiet()\nx = {\n1,\n}\n#x\n"
      .. "assert(bot:wait_for('READY', { timeout = 10 }))\nbot.state")
    assert.matches("\n1\n", "\n" .. said)
    assert.matches('\n"ready"\nleft\ttrue\ttrue\n$', said)
    assert.is_nil(said:find "moongate>")
    assert.matches("message_craete is no event, did you mean MESSAGE_CREATE?", said, 1, true)
    assert.matches("There are also: discord\n", said)
  end)

  it("survives values that cannot be shown, and words alone", function()
    local said = run("quiet\nsetmetatable({}, { __len = function() error 'no' end })\nwatch(1)\n"
      .. "setmetatable({}, { __tostring = function() error 'no' end })\nhelp\n'still here'\n"
      .. "quit\n'never'")
    assert.matches("(a value that cannot be shown)", said, 1, true)
    assert.matches("(table that cannot be shown)", said, 1, true)
    assert.matches("watch: a name of an event expected, got 1\n", said, 1, true)
    assert.matches("What is typed is Lua", said)
    assert.matches('"still here"\nleft', said)
  end)

  it("says what was never finished, and what failed, and goes on", function()
    local said = run "quiet()\nerror 'boom'\n'after'\nfor i = 1, 2 do"
    assert.matches("boom", said)
    assert.matches('\n"after"\n', said)
    assert.matches("unfinished: for i = 1, 2 do\n", said)
  end)

  it("shows of the stack what is the user's, or moongate's if the fault is there", function()
    local said = run("quiet()\nlocal function f() error 'deep' end f()\nbot:set_presence 'x'\n"
      .. "error 'plain'\nrequire 'moongate.heap'.put(nil, {})")
    assert.matches("prompt:1: deep\nstack traceback:\n\tprompt:1: in [^\n]*\n"
      .. "\tprompt:1: in main chunk\nset_presence: presence must be a table, got \"x\"\n"
      .. "prompt:1: plain\n[^\n]*heap.lua:%d+: attempt", said)
    assert.matches("heap.lua:%d+: in function", said)
  end)
end)

describe("examples/repl.lua #sockets", function()
  it("counts what people write, and shows it at its prompt", function()
    local discord = witness.sandbox()
    local command = ("%s | env HOME=/nonexistent DISCORD_TOKEN=%s DISCORD_API=%s timeout %d lua5.4 "
      .. "%s/examples/repl.lua 2>&1"):format(
        typing "assert(bot:wait_for('MESSAGE_CREATE', { timeout = 10 }))\nseen\n",
        discord.token, discord.api, witness.patience, witness.root)
    local pipe = assert(io.popen(command))
    assert(discord:wait_for_ready(1, witness.patience))
    discord:dispatch("MESSAGE_CREATE", {
      content = "hi", guild_id = discord.guilds[1].id, author = { id = "3", username = "ada" },
    })
    local said = pipe:read "a"
    pipe:close()
    discord:stop()
    assert.matches("{ ada = 1 }\n$", said)
  end)
end)

describe("repl: what it refuses", function()
  local moongate = require "moongate"

  it("names what it was given", function()
    assert.matches("repl_spec.lua:%d+: repl: a client or a cluster expected, got number",
      select(2, pcall(function() moongate.repl(1) end)))
    assert.matches("repl: options must be a table, got string",
      select(2, pcall(function() moongate.repl(nil, "x") end)))
    for _, row in ipairs {
      { { histroy = false }, "repl: unknown option 'histroy', did you mean history?" },
      { { watch = true }, "repl: option watch: a list of events, or false expected, got true" },
      { { names = "x" }, 'repl: option names: a table of names expected, got "x"' },
      { { history = 5 }, "repl: option history: the name of a file, or false expected, got 5" },
      { { watch = { "mesageCreate" } }, "is no event, did you mean MESSAGE_CREATE?" },
    } do
      local _, why = pcall(function() moongate.repl(nil, row[1]) end)
      assert.truthy(why:find(row[2], 1, true), why)
    end
    local message
    moongate.spawn(function() message = select(2, pcall(moongate.repl)) end)
    assert.matches("belongs to the main program", message)
  end)
end)

describe("moongate repl #sockets", function()
  local function run(words, input)
    local text = ([[
      local all = {}
      for word in (%q):gmatch "%%S+" do all[#all + 1] = word end
      os.exit(require("moongate.cli").main(all), true)]]):format("repl " .. words)
    local said, _, status = witness.program(text, "DISCORD_TOKEN= ", typing(input or ""))
    return said, status
  end

  it("plays with a sandbox", function()
    local said, status = run("--sandbox --quiet",
      "assert(bot:wait_for('READY', { timeout = 10 }))\nbot\ndiscord\n")
    assert.equal(0, status, said)
    assert.matches("Client 1 shard ready", said)
    assert.matches("Sandbox ws://", said)
  end)

  it("says what it lacks, and what was wrong", function()
    local said, status = run ""
    assert.equal(2, status)
    assert.matches("no token: set $DISCORD_TOKEN, or play with %-%-sandbox", said)
    said, status = run "--sandbox --intents guild"
    assert.equal(2, status)
    assert.matches('did you mean "guilds"', said)
    said, status = run "--sandbox --quiet --watch READY"
    assert.equal(2, status)
    assert.matches("%-%-quiet and %-%-watch: one of them is enough", said)
    said, status = run "--sandbox --api http://127.0.0.1:1"
    assert.equal(2, status)
    assert.matches("leave %-%-api out", said)
  end)
end)

describe("repl: what C gives it", function()
  it("core.read takes what is there and never waits", function()
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    local text = ([[
      local core = require "moongate.core"
      print((core.read(0)))
      io.open(%q, "w"):write("abc"):close()
      assert(core.poll({ 0 }, 5))
      print(core.read(0))
      assert(core.poll({ 0 }, 5))
      print(("%%q"):format(core.read(0)))]]):format(path)
    local said = witness.program(text, "", "cat " .. path)
    os.remove(path)
    assert.equal('nil\nabc\n""\n', said)
  end)

  it("core.keyboard and core.terminal want a terminal", function()
    local said = witness.program([[
      local core = require "moongate.core"
      print(core.keyboard(0), (core.terminal(0)))]], "", ":")
    assert.equal("nil\tnil\n", said)
  end)

  it("core.poll tells which one is readable", function()
    local text = [[
      local core, moongate = require "moongate.core", require "moongate"
      local bot = moongate.client { token = "poll.token", intents = {} } -- silent for now
      print(core.poll({ bot:fd(), 0 }, 5))
      print(core.poll({ 0, bot:fd() }, 5))
      print(core.poll({ bot:fd() }, 0))]]
    assert.equal("true\t2\ntrue\t1\nfalse\n", (witness.program(text, "", typing "x")))
  end)

  it("core.interruptible raises each Ctrl-C in what runs, and only there", function()
    local said = witness.program([[
      local core = require "moongate.core"
      local function ctrl_c() io.popen("kill -INT $PPID"):close() end
      print(core.interruptible(function(again) return again, 2, nil end))
      print(core.interruptible(function() error({}, 0) end) == false)
      print(core.interruptible(function() error "plain" end))
      local calls = 0
      print(core.interruptible(function(again)
        calls = calls + 1
        if calls == 4 then return again, calls end
        ctrl_c()
        while true do end
      end))
      print(core.interruptible(function()
        local fine, why = pcall(function() ctrl_c() while true do end end)
        return why:match "interrupted!$"
      end))
      print(pcall(core.interruptible))
      ]], "", ":")
    assert.equal("true\tfalse\t2\tnil\ntrue\nfalse\tplain\ntrue\ttrue\t4\n"
      .. "true\tinterrupted!\nfalse\tbad argument #1 (function expected, got no value)\n",
      (said:gsub("/%S+:%d+: plain", "plain"):gsub(" to '%S*interruptible'", "")))
  end)

  it("a second Ctrl-C ends the process when a coroutine minds none", function()
    local said, signal = witness.program([[
      local core = require "moongate.core"
      core.interruptible(function()
        coroutine.wrap(function()
          io.popen("kill -INT $PPID"):close()
          local till = core.now() + 0.2
          while core.now() < till do end
          print "it spins"
          io.stdout:flush()
          io.popen("kill -INT $PPID"):close()
          while true do end
        end)()
      end)
      print "never"]], "", ":")
    assert.equal("it spins\n\nended: a listener did not return after a first Ctrl-C\n", said)
    assert.truthy(signal)
  end)
end)

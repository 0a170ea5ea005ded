-- The examples, each as it is and in a process of its own, against a gateway of the sandbox: those
-- that nobody else runs. Their environment is all that points them at it.  #sockets

local socket = require "cqueues.socket"
local witness = require "witness"

-- A running example; pid, and line() for what it prints.
local Example = {}
Example.__index = Example

-- `lines` are printed as they are made, as in a terminal. Debian has copas for other versions, but
-- it is plain Lua.
local function start(discord, name, ...)
  local words = { ("%s/examples/%s.lua"):format(witness.root, name), ... }
  for at, word in ipairs(words) do words[at] = "'" .. word:gsub("'", "'\\''") .. "'" end
  local command = ("exec 2>&1; DISCORD_TOKEN=%s DISCORD_API=%s LUA_PATH_5_4='%s' "
    .. "timeout --foreground -k 2 %d sh -c 'echo $$; exec lua5.4 -e \"io.stdout:setvbuf [[line]]\" "
    .. "\"$@\"' sh %s"):format(discord.token, discord.api,
      package.path .. ";/usr/share/lua/5.2/?.lua", 3 * witness.patience, table.concat(words, " "))
  local self = setmetatable({ pipe = assert(io.popen(command)) }, Example)
  self.pid = tonumber(self.pipe:read "l")
  return self
end

function Example:line()
  return self.pipe:read "l"
end

-- Ctrl-C. Returns the rest of what it prints, and its exit status.
function Example:interrupt()
  os.execute("kill -INT " .. self.pid)
  local rest = self.pipe:read "a"
  local _, _, status = self.pipe:close()
  self.pipe = nil
  return rest, status
end

-- What is still there after a spec that failed.
function Example:kill()
  if not self.pipe then return end
  os.execute("kill -KILL " .. self.pid .. " 2>/dev/null")
  self.pipe:close()
end

-- Without its library an example cannot be run: its spec fails, and says what to install.
local function want(module, package_name)
  local path = package.path .. ";/usr/share/lua/5.2/?.lua"
  if package.searchpath(module, path) or package.searchpath(module, package.cpath) then return end
  error(("%s is not installed; Debian has it in %s"):format(module, package_name), 0)
end

local function connect(port)
  local visitor = socket.connect("127.0.0.1", port)
  visitor:setmode("bn", "bn")
  visitor:settimeout(witness.patience)
  assert(visitor:connect())
  return visitor
end

describe("examples #sockets", function()
  local discord, example

  before_each(function() discord = witness.sandbox { guilds = 2 } end)
  after_each(function()
    if example then example:kill() end
    discord:stop()
    example = nil
  end)

  local function run(...)
    example = start(discord, ...)
    return example
  end

  local function identified(count)
    return assert(discord:wait_received("IDENTIFY", { timeout = witness.patience, count = count }))
  end

  local function write(content)
    discord:dispatch("MESSAGE_CREATE", { content = content, author = { id = "3", username = "ada" },
      guild_id = discord.guilds[1].id, channel_id = discord.guilds[1].channel_id })
  end

  -- The gateway is busy at first, so that the bot has to wait for its own time, which the loop must
  -- tell it. Returns what the example said before.
  local function run_late(...)
    discord:respond { path = "/gateway/bot", status = 429, headers = { ["Retry-After"] = 0.2 } }
    run(...)
    local line, first = example:line(), nil
    if not line:find "too many requests" then first, line = line, example:line() end
    assert.matches("too many requests %(HTTP 429%)", line)
    assert(discord:wait_for_ready(1, witness.patience))
    return first
  end

  local function hears(content)
    write(content)
    assert.equal("ada: " .. content, example:line())
  end

  -- A session that is over is seen to be; that of run() can be resumed.
  local function ends(last, sessions)
    local rest, status = example:interrupt()
    assert.matches(last, rest)
    assert.equal(0, status, rest)
    assert.equal(sessions or 0, #discord:sessions())
  end

  it("presence.lua shows in how many servers it is", function()
    run "presence"
    assert.equal("idle", identified(1)[1].d.presence.status)
    local function shows(count, name)
      local packets = assert(discord:wait_received("PRESENCE_UPDATE", {
        timeout = witness.patience, count = count }))
      assert.same({ "online", name, 3 }, { packets[count].d.status,
        packets[count].d.activities[1].name, packets[count].d.activities[1].type })
    end
    shows(1, "1 server")
    shows(2, "2 servers")
    discord:dispatch("GUILD_CREATE", { id = "77", name = "another" })
    shows(3, "3 servers")
    discord:dispatch("GUILD_DELETE", { id = "77", unavailable = true })
    discord:dispatch("GUILD_CREATE", { id = "78", name = "yet another" })
    shows(4, "4 servers")
    discord:dispatch("GUILD_DELETE", { id = "78" })
    shows(5, "3 servers")
    ends("^true\n$", 1)
  end)

  it("resume.lua goes on in the session of its last run", function()
    local path = os.tmpname()
    os.remove(path)
    run("resume", path)
    assert.matches("^a new session", example:line())
    hears "before"
    assert.equal("true\n", (example:interrupt()))
    assert.equal(1, #discord:sessions())
    write "meanwhile"
    run("resume", path)
    assert.equal("ada: meanwhile", example:line())
    assert.matches("^the session goes on", example:line())
    hears "after"
    assert.equal("true\n", (example:interrupt()))
    os.remove(path)
    os.remove(path .. ".lock")
    assert.same({ 1, 1 }, { #discord:received "IDENTIFY", #discord:received "RESUME" })
  end)

  it("cqueues.lua hears while a visitor of its web server waits", function()
    want("cqueues", "lua-cqueues")
    local visitor = connect(run_late("cqueues", "0"):match "^the numbers: http://127.0.0.1:(%d+)$")
    visitor:write "GET / HTTP/1.0\r\n"
    hears "one"
    hears "two"
    visitor:write "\r\n"
    local page = visitor:read "*a"
    visitor:close()
    assert.matches("^HTTP/1.0 200 OK\r\n.*\r\n\r\n# HELP ", page)
    assert.matches('\nmoongate_events_total{event="MESSAGE_CREATE",result="heard"} 2\n', page)
    ends "^true\n$"
  end)

  it("luv.lua hears while a program runs", function()
    want("luv", "lua-luv")
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    run_late("luv", "sh", "-c", 'read -r word < "$0"; echo "$word"', path)
    hears "!run"
    hears "meanwhile"
    local door = assert(io.open(path, "w"))
    door:write "done\n"
    door:close()
    assert.equal("sh: done", example:line())
    os.remove(path)
    ends "^true\n$"
  end)

  it("copas.lua hears while a visitor of its server waits", function()
    want("socket", "lua-socket")
    want("copas", "lua-copas")
    local visitor = connect(run_late("copas", "0"):match "nc 127.0.0.1 (%d+)$")
    hears "one"
    visitor:write "ada\nbob\n"
    assert.same({ "ada: 1", "bob: 0" }, { visitor:read "*l", visitor:read "*l" })
    hears "two"
    visitor:write "ada\n"
    assert.equal("ada: 2", visitor:read "*l")
    visitor:close()
    ends "interrupted!\ntrue\n$"
  end)

  for name, package_name in pairs {
    cqueues = "lua-cqueues", luv = "lua-luv", copas = "lua-copas",
  } do
    it(name .. ".lua ends when the bot is refused for good", function()
      want(name, package_name)
      run(name, "0")
      assert(discord:wait_for_ready(1, witness.patience))
      discord:close(4014)
      local rest = example.pipe:read "a"
      local _, _, status = example.pipe:close()
      example = nil
      assert.matches("nil\tshard 0/1: a privileged intent is not enabled .*\tEINTENTS\n$", rest)
      assert.equal(0, status)
    end)
  end
end)

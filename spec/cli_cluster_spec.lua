-- cli_cluster.lua: `moongate cluster`, against the sandbox, and the table that it draws.  #sockets
local command = require "moongate.cli_cluster"
local sandbox = require "moongate.sandbox"
local witness = require "witness"

describe("moongate cluster: the table", function()
  it("has a line for each shard", function()
    assert.same({
      "shard        state          latency   events/s        session",
      "0/16         ready            41 ms       12.5          2 min",
      "1/16         waiting                       0.0               ",
      "15/16        ready            42 ms     1500.0     3 h 02 min",
    }, command.lines {
      { id = 0, count = 16, state = "ready", latency = 0.0411, rate = 12.5, age = 125 },
      { id = 1, count = 16, state = "waiting", rate = 0 },
      { id = 15, count = 16, state = "ready", latency = 0.042, rate = 1500, age = 10959 },
    })
  end)

  it("ends with a bar while shards start", function()
    assert.equal("[---------------" .. "---------------] 0 of 4 ready, 15 s to go",
      command.bar(0, 4, 15))
    assert.equal("[###############" .. "---------------] 2 of 4 ready, 5 s to go",
      command.bar(2, 4, 5))
    assert.equal("[###############" .. "###############] 4 of 4 ready", command.bar(4, 4, 0))
    assert.equal("[---------------" .. "---------------] 0 of 0 ready", command.bar(0, 0))
  end)
end)

describe("moongate cluster #sockets", function()
  local discord, path

  before_each(function()
    discord = sandbox.start { guilds = 1, shards = 2, max_concurrency = 2 }
    path = os.tmpname()
  end)
  after_each(function()
    discord:stop()
    os.remove(path)
  end)

  -- What the command says, and its exit status.
  local function run(arguments)
    local text = ([[
      local all = {}
      for word in (%q):gmatch "%%S+" do all[#all + 1] = word end
      os.exit(require("moongate.cli").main(all), true)]]):format("cluster " .. arguments)
    local said, _, status = witness.program(text, ("DISCORD_TOKEN=%s DISCORD_API=%s"):format(
      discord.token, discord.api))
    return said, status
  end

  it("starts shards, says so line by line, and keeps their sessions", function()
    local said, status = run "--total 2 --for 0.8"
    assert.equal(0, status, said)
    assert.matches("%d%d:%d%d:%d%d shard 0/2 ready\n", said)
    assert.matches("%d%d:%d%d:%d%d shard 1/2 ready\n", said)
    assert.equal(2, #discord:received "IDENTIFY")
    assert.equal(2, #discord:sessions())
  end)

  -- util-linux's script(1) makes the terminal; its end of line is CR LF.
  it("draws a table in a terminal, again and again in the same place", function()
    local text = ([[
      os.exit(require("moongate.cli").main { "cluster", "--total", "2", "--for", "1.5" }, true)]])
    local program = os.tmpname()
    local file = assert(io.open(program, "w"))
    file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
      os.getenv "MOONGATE_CPATH" or package.cpath), text)
    file:close()
    local pipe = assert(io.popen(("DISCORD_TOKEN=%s DISCORD_API=%s timeout -k 2 %d script -qec "
      .. "'lua5.4 %s' /dev/null </dev/null 2>&1"):format(discord.token, discord.api,
      witness.patience, program)))
    local shown = pipe:read "a"
    pipe:close()
    os.remove(program)
    local last = shown:gsub("\r", ""):match "\27%[%dA\27%[J(.*)$"
    assert.truthy(last, shown)
    assert.matches("^shard +state +latency +events/s +session\n0/2 +ready .*\n1/2 +ready ", last)
    assert.matches("%] 2 of 2 ready\n$", last)
  end)

  it("takes the shards that it is told", function()
    local said, status = run "--total 2 --ids 1 --for 0.5"
    assert.equal(0, status, said)
    assert.same({ 1, 2 }, discord:received("IDENTIFY")[1].d.shard)
    assert.equal(1, #discord:received "IDENTIFY")
    said, status = run "--total 4 --min 2 --max 3 --for 0.5"
    assert.equal(0, status, said)
    assert.equal(3, #discord:received "IDENTIFY")
  end)

  it("takes options and listeners from a file", function()
    local file = assert(io.open(path, "w"))
    file:write [[return {
      intents = { "guilds" }, shards = 2, shard_ids = { 0 },
      setup = function(cluster)
        cluster:on("READY", function(_, shard)
          print("hello from " .. shard.id)
          cluster:stop()
        end)
      end,
    }]]
    file:close()
    local said, status = run("--config " .. path)
    assert.equal(0, status, said)
    assert.matches("hello from 0\n", said)
  end)

  local wrong = {
    { "--ids 0 --min 1", "%-%-ids stands beside" },
    { "--min 1", "%-%-min needs %-%-max or %-%-total" },
    { "--min 3 --max 1", "%-%-max 1 is below %-%-min 3" },
    { "--ids 0,x --total 2", "shard_ids" },
    { "--intents gilds", "gilds" },
    { "--compress lz4", "lz4" },
    { "--config /nowhere.lua", "/nowhere.lua" },
    { "now", "'now' is no option" },
    { "--totl 3", "unknown option %-%-totl" },
  }
  for _, row in ipairs(wrong) do
    it("says what is wrong: " .. row[1], function()
      local said, status = run(row[1])
      assert.equal(2, status, said)
      assert.matches(row[2], said)
      assert.is_nil(said:find "traceback", said)
      assert.is_nil(said:find(discord.token, 1, true))
    end)
  end
end)

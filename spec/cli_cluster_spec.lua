-- cli_cluster.lua: `moongate cluster`, against the sandbox.  #sockets
local sandbox = require "moongate.sandbox"
local witness = require "witness"

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
    local said, status = run "--total 2 --for 2"
    assert.equal(0, status, said)
    assert.matches("%d%d:%d%d:%d%d shard 0/2: ready\n", said)
    assert.matches("%d%d:%d%d:%d%d shard 1/2: ready\n", said)
    assert.equal(2, #discord:received "IDENTIFY")
    assert.equal(2, #discord:sessions())
  end)

  it("takes the shards that it is told", function()
    local said, status = run "--total 2 --ids 1 --for 2"
    assert.equal(0, status, said)
    assert.same({ 1, 2 }, discord:received("IDENTIFY")[1].d.shard)
    assert.equal(1, #discord:received "IDENTIFY")
    said, status = run "--total 4 --min 2 --max 3 --for 2"
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

  it("says in Lua what is wrong with options that stand in a file", function()
    local file = assert(io.open(path, "w"))
    file:write [[return { compress = "lz4", shard_ids = { "x" } }]]
    file:close()
    local said, status = run("--encoding xml --config " .. path)
    assert.equal(2, status)
    assert.matches("^moongate cluster: 3 mistakes in the options:\n  shard_ids: [^\n]*\n  "
      .. "%-%-encoding: [^\n]*\n  compress: [^\n]*; moongate cluster %-%-help\n$", said)
    said = run("--compress lz5 --ids y --config " .. path)
    assert.matches("\n  %-%-ids: .*\n  %-%-compress: ", said)
  end)

  it("takes a function only as `setup`", function()
    local file = assert(io.open(path, "w"))
    file:write "return { setup = 5 }"
    file:close()
    local said, status = run("--config " .. path)
    assert.equal("moongate cluster: " .. path .. ": its `setup` is no function; "
      .. "moongate cluster --help\n", said)
    assert.equal(2, status)
  end)

  it("tells of a shard that is refused, without the session that it had", function()
    discord:instead("ack", { close = 4004 })
    local file = assert(io.open(path, "w"))
    file:write [[return { intents = { "guilds" }, setup = function(cluster)
      cluster:on("READY", function(_, shard)
        if shard.id == 1 then shard:heartbeat() end
      end)
      cluster:on("fatal", function() cluster:stop() end)
    end }]]
    file:close()
    local said = run("--config " .. path)
    assert.matches("shard 1/2: down for good: the token was not accepted", said)
    assert.is_nil(said:find("the session is lost", 1, true), said)
  end)

  it("tells of a lost session that is replaced, before what comes then", function()
    discord:instead("ack", { invalid_session = false })
    local file = assert(io.open(path, "w"))
    file:write [[return { intents = { "guilds" }, setup = function(cluster)
      local before = {}
      cluster:on("READY", function(_, shard)
        if shard.id == 1 and before[1] then return cluster:stop() end
        before[shard.id] = true
        if shard.id == 1 then shard:heartbeat() end
      end)
    end }]]
    file:close()
    local said = run("--total 2 --config " .. path)
    assert.matches("shard 1/2: ready.*shard 1/2: the session is lost.*shard 1/2: ready", said)
  end)

  it("tells of a gateway that is not there once, however often it is asked", function()
    discord:stop()
    local said = run "--for 4"
    assert.equal(1, select(2, said:gsub("asking again", "")), said)
  end)

  local wrong = {
    { "--ids 0 --min 1", "%-%-ids stands beside" },
    { "--min 1", "%-%-min needs %-%-max or %-%-total" },
    { "--min 3 --max 1", "%-%-max 1 is below %-%-min 3" },
    { "--ids 0,x --total 2", '%-%-ids: "x" is no shard id; .* such as 0,1; moongate' },
    { "--max -1", "%-%-max: a whole number from 0 to 999999 expected, got '%-1'" },
    { "--min 0.5 --max 1", "%-%-min: a whole number from 0 to 999999 expected, got '0.5'" },
    { "--total 2 --max 5", "cluster: %-%-max 5 is not below %-%-total, which is 2; shard ids" },
    { "--total 2 --min 2", "cluster: %-%-min 2 is not below %-%-total, which is 2; shard ids" },
    { "--total 0.5 --min 0", "%-%-total: 0.5 is not possible" },
    { "--intents gilds", "%-%-intents: .*gilds" },
    { "--compress lz4", "%-%-compress: \"lz4\"" },
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

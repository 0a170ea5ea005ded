-- init_spec.lua: what `require "moongate"` gives, that it does nothing by itself, and what its
-- constructors refuse.

local moongate = require "moongate"

local WANTED = { token = "a.secret.token", intents = { "guilds" }, url = "ws://127.0.0.1:1" }

local function with(more)
  local all = {}
  for key, value in pairs(WANTED) do all[key] = value end
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

-- Runs Lua code in a process of its own, with the same search paths; what it printed.
local function program(code)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath), code)
  file:close()
  local pipe = assert(io.popen("timeout -k 1 30 lua5.4 " .. name .. " 2>&1"))
  local said = pipe:read("a")
  local _, how, status = pipe:close()
  os.remove(name)
  return said, how, status
end

describe("moongate", function()
  it("has the tables that it promises", function()
    assert.truthy(moongate._VERSION:find("^moongate %d"))
    assert.equal(0, moongate.opcodes.DISPATCH)
    assert.equal("AUTHENTICATION_FAILED", moongate.close_codes[4004].name)
    assert.equal(1, moongate.intents.guilds)
    assert.equal(37377, moongate.intents {
      "guilds", "guild_messages", "direct_messages", "message_content",
    })
    assert.is_table(moongate.events.MESSAGE_CREATE)
    assert.equal(require "cjson".null, moongate.null)
    assert.equal("\0\0\255\255", moongate.ZLIB_SUFFIX)
    assert.equal(8, moongate.snowflake.shard_of("613425648685547541", 16))
    assert.is_function(moongate.sleep)
    assert.is_function(moongate.spawn)
  end)

  it("starts nothing when it is loaded, and does not load the sandbox", function()
    local said, how, status = program [[
      local function threads()
        local count = 0
        for line in io.open("/proc/self/status"):lines() do
          count = tonumber(line:match("^Threads:%s+(%d+)")) or count
        end
        return count
      end
      local names = {}
      for name in pairs(_G) do names[name] = true end
      local moongate = require "moongate"
      for name in pairs(_G) do assert(names[name], name) end
      assert(threads() <= 1)
      assert(not package.loaded["moongate.sandbox"])
      local bot = moongate.client { token = "a.b.c", intents = 0 }
      assert(threads() <= 1)
      print "fine"
    ]]
    assert.same({ "fine\n", "exit", 0 }, { said, how, status })
  end)

  it("sleeps and spawns at top level", function()
    local order = {}
    moongate.spawn(function(word)
      order[#order + 1] = word
      moongate.sleep(0.01)
      order[#order + 1] = "woken"
    end, "begun")
    assert.same({ "begun" }, order)
    moongate.sleep(0.03)
    assert.same({ "begun", "woken" }, order)
  end)
end)

describe("moongate: objects", function()
  -- A client whose shards are made to be in these states.
  local function client_in(states)
    local bot = moongate.client(WANTED)
    for id, state in ipairs(states) do
      bot.shards[id - 1] = { state = state, latency = state == "ready" and id / 100 or nil }
    end
    return bot
  end

  it("print themselves", function()
    for _, row in ipairs {
      { {}, "Client not connected" },
      { { "idle" }, "Client 1 shard idle" },
      { { "ready" }, "Client 1 shard ready, 10 ms" },
      { { "ready", "ready" }, "Client 2 shards ready, 15 ms" },
      { { "ready", "backoff", "idle" }, "Client 3 shards, 1 ready, 10 ms" },
      { { "backoff", "backoff" }, "Client 2 shards, 0 ready" },
    } do
      assert.equal(row[2], tostring(client_in(row[1])))
    end
  end)

  it("say which method was called with a dot, and return true alone", function()
    local bot = moongate.client(WANTED)
    for _, name in ipairs { "run", "on", "stop", "set_presence", "reshard" } do
      local fine, message = pcall(function() bot[name]("messageCreate", print) end)
      assert.is_false(fine)
      assert.matches(("init_spec.lua:%%d+: %s: a client expected, got string; is it called as "
        .. "bot:%s%%(%%)%%?"):format(name, name), message)
    end
    assert.equal(1, select("#", bot:spawn(1)))
    assert.equal(1, select("#", bot:set_presence {}))
    assert.equal(1, select("#", bot.shards[0]:disconnect()))
    bot:stop()
  end)

  it("are in the state of the shard that has farthest to go", function()
    assert.equal("ready", client_in({ "ready", "ready" }).state)
    assert.equal("backoff", client_in({ "ready", "backoff" }).state)
    assert.equal("idle", client_in({ "idle", "backoff" }).state)
    assert.equal(0.015, client_in({ "ready", "ready", "idle" }).latency)
    assert.is_nil(client_in({ "idle" }).latency)
  end)
end)

describe("moongate: constructors", function()
  it("make a client from a table, or from a token and options", function()
    local one = moongate.client(with())
    assert.equal("Client not connected", tostring(one))
    assert.equal("idle", one.state)
    assert.is_nil(one.latency)
    assert.same({}, one.shards)
    local other = moongate.client(WANTED.token, { intents = 1 })
    assert.equal(one.gateway, other.gateway)
    assert.equal(WANTED.token, one.gateway.token)
    local cluster = moongate.cluster(moongate.gateway(WANTED.token, 4), { intents = 1 })
    assert.equal("Cluster not connected", tostring(cluster))
    assert.equal(one.gateway, cluster.gateway)
  end)

  it("make one shard on its own", function()
    local one = moongate.shard(WANTED.token, 2, with { shards = 6 })
    assert.equal("Shard 2/6 idle", tostring(one))
    assert.equal(one, one.cluster.shards[2])
    assert.equal(10, one.version)
    assert.has_error(function() moongate.shard(WANTED.token, -1, with()) end)
    local _, message = pcall(function() moongate.shard(WANTED.token, "0", with()) end)
    assert.matches('init_spec.lua:%d+: shard: id must be a whole number from 0, got "0"$', message)
  end)

  it("raise every mistake at once, at the caller's line", function()
    local fine, message = pcall(function()
      moongate.client { token = "a b", intents = { "guild" }, shard_count = 3 }
    end)
    assert.is_false(fine)
    for _, part in ipairs {
      "init_spec.lua", "token: ", 'intents: "guild" is no intent', "did you mean shards?",
    } do
      assert.truthy(message:find(part, 1, true), message)
    end
    local _, other = pcall(function() moongate.shard("a b", 0, {}) end)
    assert.truthy(other:find("init_spec.lua", 1, true), other)
    local _, last = pcall(function() moongate.client(with { presence = { status = "x" } }) end)
    assert.truthy(last:find("init_spec.lua", 1, true), last)
    assert.truthy(last:find("presence: ", 1, true), last)
    local _, third = pcall(function() moongate.cluster(nil, 5) end)
    assert.truthy(third:find("init_spec.lua", 1, true), third)
  end)

  it("R68 never show the token in what they make", function()
    local secret = "MTIz.secret.sauce"
    local bot = moongate.client(with { token = secret, shards = 1 })
    local one = moongate.shard(secret, 0, with { token = secret })
    local seen, words = {}, {}
    local function dump(value)
      words[#words + 1] = tostring(value)
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for key, inner in next, value do
        dump(key)
        dump(inner)
      end
    end
    dump(bot)
    dump(one)
    dump(one.cluster)
    dump(bot.gateway)
    dump(moongate)
    assert.is_nil(table.concat(words, "\n"):find("secret.sauce", 1, true))
  end)

  it("R68 repeat no secret when a token is where an id, an event or an op should be", function()
    local wrong = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.SECRET-secret-SECRET-secret-SECRET-secret"
    local bot = moongate.client(with { shards = 1 })
    local one = moongate.shard("another.token", 0, with {})
    for _, call in ipairs {
      function() bot:on(wrong, print) end,
      function() bot:on("READY", wrong) end,
      function() bot:wait_for("READY", wrong) end,
      function() bot:send(wrong, 3, {}) end,
      function() bot:shard_for(wrong) end,
      function() bot:request_members(wrong) end,
      function() bot:set_presence { status = wrong } end,
      function() one:send(wrong, {}) end,
      function() moongate.snowflake(wrong) end,
    } do
      local fine, message = pcall(call)
      assert.is_false(fine)
      assert.is_nil(message:find(".Gab", 1, true), message)
    end
  end)

  it("spawn refuses what is no number of shards", function()
    local bot = moongate.client(with())
    for _, arguments in ipairs { { 0 }, { 1.5 }, { "x" }, { {} }, { { 0, 0 } }, { { -1 } },
      { 3, 2 }, { -1, 2 }, { 0, "x" } } do
      assert.has_error(function() bot:spawn(table.unpack(arguments)) end)
    end
    assert.is_nil(bot.bridge)
  end)

  it("is stopped before it was started, twice", function()
    local bot = moongate.client(with())
    assert.is_true(bot:stop())
    assert.is_true(bot:stop { keep_session = true })
    assert.has_error(function() bot:stop(5) end)
    assert.same({ nil, "send: not running; connect() first", "ECLOSED" },
      { bot:set_presence { status = "idle" } })
    assert.same({ nil, "send: the number of shards is not known yet; connect() first",
      "EUSAGE" }, { bot:send("613425648685547541", 3, {}) })
    assert.has_error(function() bot:send({}, 3, {}) end)
  end)

  it("names the call and the value when what should be a guild is none", function()
    local bot = moongate.client(with())
    local function complaint(...) return select(2, pcall(...)) end
    assert.matches("init_spec.lua:%d+: send: guild_id must be an id %(a string of digits%), got "
      .. '"x"$', complaint(function() bot:send("x", 3, {}) end))
    assert.matches("init_spec.lua:%d+: shard_for: guild_id must be an id .*, got table$",
      complaint(function() bot:shard_for {} end))
    assert.same({ nil, "shard_for: the number of shards is not known yet; connect() first",
      "EUSAGE" }, { bot:shard_for("613425648685547541") })
  end)

  it("stop refuses what it does not know, where a session could be lost", function()
    local bot = moongate.client(with())
    local function complaint(how) return select(2, pcall(function() bot:stop(how) end)) end
    assert.matches("init_spec.lua:%d+: stop: unknown option keepsession; there is: keep_session$",
      complaint { keepsession = true })
    assert.matches("stop: keep_session must be true or false, got string$",
      complaint { keep_session = "no" })
  end)
end)

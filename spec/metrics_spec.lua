-- metrics.lua: the numbers of a cluster, as tables and as Prometheus text, over the sandbox and
-- over an engine of paper; and the example that writes them to a file.

local metrics = require "moongate.metrics"
local moongate = require "moongate"
local witness = require "witness"

-- name{labels} -> value; every line must be one that Prometheus takes.
local function parse(text)
  local samples, types, helped = {}, {}, {}
  assert.equal("\n", text:sub(-1))
  for line in text:gmatch "[^\n]+" do
    local kind, name, rest = line:match "^# (%u+) ([%a_][%w_]*) (.+)$"
    if kind == "TYPE" then
      assert.truthy(rest == "gauge" or rest == "counter", line)
      assert.is_nil(types[name], "one TYPE line")
      assert.truthy(helped[name], "HELP comes first")
      assert.equal(rest == "counter", name:find "_total$" ~= nil, name)
      types[name] = rest
    elseif kind == "HELP" then
      assert.is_nil(helped[name], "one HELP line")
      helped[name] = true
    else
      local full, value = line:match "^(.-) (%-?[%d.e+-]+)$"
      assert.truthy(full, line)
      local bare, labels = full:match "^([%a_][%w_]*)(.*)$"
      assert.truthy(types[bare], line)
      assert.truthy(labels == "" or labels:find '^{[%a_]+=".-"}$'
        or labels:find '^{[%a_]+=".-",[%a_]+=".-"}$', line)
      assert.is_nil(samples[full], full)
      samples[full] = tonumber(value)
    end
  end
  return samples, types
end

describe("metrics", function()
  it("escapes labels, and leaves out what has no number", function()
    local engine = {
      counts = function()
        return { queue_events = 3, lag = 0.25, dropped = { ['a"b\\c\nd'] = 4 } }
      end,
      census = function() return { [""] = { heard = 1, skipped = 2 } } end,
    }
    local samples, types = parse(metrics.text {
      shards = {}, bridge = { engine = engine }, options = {}, gateway = {}, state = "idle",
    })
    assert.equal(4, samples['moongate_queue_dropped_total{event="a\\"b\\\\c\\nd"}'])
    assert.equal(0.25, samples.moongate_queue_lag_seconds)
    assert.equal(3, samples.moongate_queue_events)
    assert.equal(2, samples['moongate_events_total{event="other",result="skipped"}'])
    assert.is_nil(types.moongate_shard_latency_seconds)
    assert.equal(0, samples.moongate_shards)
  end)

  it("knows a cluster that does not run", function()
    local samples = parse(moongate.client { token = "metrics.spec.token", intents = 0 }:metrics())
    assert.equal(0, samples.moongate_shards_ready)
  end)
end)

describe("metrics #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  it("count what happened, the same in stats() and as text", function()
    discord = witness.sandbox { heartbeat_interval = 300 }
    bot = witness.client(discord, { shards = 1 })
    local messages = 0
    bot:on("MESSAGE_CREATE", function() messages = messages + 1 end)
    witness.ready(bot)
    for _ = 1, 5 do discord:dispatch("MESSAGE_CREATE", { content = "x", channel_id = "1" }) end
    for _ = 1, 3 do discord:dispatch("TYPING_START", { channel_id = "1" }, { filter = false }) end
    witness.await(bot, "messages", function() return messages == 5 end)
    local resumed
    bot:once("RESUMED", function() resumed = true end)
    discord:close(4001)
    witness.await(bot, "RESUMED", function() return resumed end)
    local one = bot.shards[0]
    witness.await(bot, "a beat", function() return one.latency end)
    one:receive '{"op":0,"t":"MESSAGE_CREATE","s":null,"d":{"content":"y"}}'
    witness.await(bot, "the last", function() return messages == 6 end)
    local stats = bot:stats()
    local samples = parse(bot:metrics())
    assert.equal(1, samples['moongate_info{version="' .. moongate._VERSION:match "%S+$" .. '"}'])
    assert.same({ 1, 1, 1 }, { samples.moongate_shards, samples.moongate_shards_ready,
      samples['moongate_shard_ready{shard="0"}'] })
    assert.equal(6, samples['moongate_events_total{event="MESSAGE_CREATE",result="heard"}'])
    assert.equal(3, samples['moongate_events_total{event="TYPING_START",result="skipped"}'])
    assert.equal(1, samples['moongate_closes_total{shard="0",code="4001"}'])
    for _, row in ipairs {
      { "reconnects", 1 }, { "identifies", 1 }, { "resumes", 1 },
      { "resumed", 1 }, { "connects", 2 }, { "decode_errors", 0 },
      { "zombies", 0 }, { "gaps", 0 },
    } do
      local name = ('moongate_%s_total{shard="0"%s}'):format(row[1], row[3] or "")
      assert.equal(row[2], samples[name], name)
      assert.equal(row[2], stats.shards[0][row[1]], name)
    end
    assert.is_true(samples['moongate_bytes_total{shard="0",direction="in"}'] > 500)
    assert.is_true(samples['moongate_bytes_total{shard="0",direction="out"}'] > 100)
    assert.is_true(samples['moongate_inflated_bytes_total{shard="0"}'] > 500)
    assert.is_true(samples['moongate_heartbeats_acknowledged_total{shard="0"}'] >= 1)
    assert.is_true(samples['moongate_shard_latency_seconds{shard="0"}'] >= 0)
    assert.equal(0, samples.moongate_queue_events)
    assert.is_true(samples.moongate_queue_events_out_total >= 8)
    assert.is_true(samples.moongate_identifies_left > 900)
    assert.is_nil(bot:metrics():find(discord.token, 1, true))
  end)

  it("events that cannot be decoded are counted, on either side", function()
    discord = witness.sandbox()
    bot = witness.ready(witness.client(discord, { shards = 1, invalid_utf8 = "refuse" }))
    local problem
    bot:on("error", function(data) problem = data end)
    bot:on("MESSAGE_CREATE", function() end)
    bot:step(0)
    local one = bot.shards[0]
    assert(one:receive '{"op":0,"t":"MESSAGE_CREATE","s":null,"d":{"content":"\255"}}')
    witness.await(bot, "the error", function() return problem end)
    assert.equal("decode", problem.phase)
    assert.equal(1, one:stats().decode_errors)
    discord:send_payload "{nonsense"
    witness.await(bot, "the other", function() return one:stats().decode_errors == 2 end)
  end)

  it("are written to a file for a collector, by examples/metrics.lua", function()
    discord = witness.sandbox()
    local path = os.tmpname()
    local command = ("env DISCORD_TOKEN=%s DISCORD_API=%s timeout --foreground -s INT %g lua5.4 "
      .. "%s/examples/metrics.lua %s 0.1 2>&1"):format(discord.token, discord.api, 1.5,
        witness.root, path)
    local pipe = assert(io.popen(command))
    local said = pipe:read "a"
    pipe:close()
    local file = assert(io.open(path))
    local samples = parse(file:read "a")
    file:close()
    os.remove(path)
    assert.equal("true\n", said)
    assert.equal(1, samples.moongate_shards)
    assert.is_true(samples['moongate_connects_total{shard="0"}'] >= 1)
    assert.is_nil(io.open(path .. ".new"))
  end)
end)

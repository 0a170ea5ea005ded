-- deadline_spec.lua: every deadline of a connection fires, in the machine to the millisecond, and
-- over real sockets against a sandbox that stalls in each phase: nothing waits for ever.

local core = require "moongate.core"
local helper = require "helper"
local witness = require "witness"

local limits = core.limits
local SLOW_HELLO = '{"op":10,"d":{"heartbeat_interval":3600000}}' -- its beats are far away

local function in_state(state)
  return function(d) d:reach(state) end
end

local function greeted(d)
  d:reach "hello"
  d:receive(SLOW_HELLO)
end

local function resuming(d)
  d:reach "ready"
  d:closed()
  d:tick()
  d:opened()
  d:receive(SLOW_HELLO)
end

-- A beat left and no ACK comes.
local function unacknowledged(d)
  d:reach "ready"
  d:tick()
end

local function stopping(d)
  d:reach "ready"
  d:input("stop", 4000)
end

local function with_command(d)
  d:reach "waiting"
  assert(d.machine:send(0, '{"op":3,"d":{"status":"idle","afk":false,"since":0,"activities":[]}}'))
end

-- What it is; how to get there; the deadline in milliseconds from there (a function: of the
-- machine); what is asked for when it fires; the state that follows; options of the machine.
local rows = {
  { "connect", in_state "connecting", limits.CONNECT_TIMEOUT_MS, "abort", "backoff" },
  { "connect, as the option has it", in_state "connecting", 1234, "abort", "backoff",
    { connect_timeout_ms = 1234 } },
  { "HELLO", in_state "hello", limits.HELLO_TIMEOUT_MS, "close 4000", "closing" },
  { "HELLO, as the option has it", in_state "hello", 4321, "close 4000", "closing",
    { hello_timeout_ms = 4321 } },
  { "READY", greeted, limits.READY_TIMEOUT_MS, "close 4000", "closing" },
  { "READY, as the option has it", greeted, 777, "close 4000", "closing",
    { ready_timeout_ms = 777 } },
  { "RESUMED", resuming, limits.READY_TIMEOUT_MS, "close 4000", "closing" },
  { "RESUMED, as the option has it", resuming, 777, "close 4000", "closing",
    { ready_timeout_ms = 777 } },
  { "ACK", unacknowledged, 41250, "abort", "backoff" },
  { "close", in_state "closing", limits.CLOSE_TIMEOUT_MS, "abort", "backoff" },
  { "close of a stop", stopping, limits.CLOSE_TIMEOUT_MS, "abort", "idle" },
  { "backoff", in_state "backoff", function(d) return d.machine:deadline() - d.now end,
    "slot ask", "waiting" },
  { "slot", in_state "waiting", 60000, "slot ask", "waiting" },
  { "send", with_command, limits.SEND_TIMEOUT_MS, "event error", "waiting" },
  { "send, as the option has it", with_command, 90, "event error", "waiting",
    { send_timeout_ms = 90 } },
}

local function asked_for(actions, wanted)
  for _, line in ipairs(helper.describe(actions)) do
    if line:sub(1, #wanted) == wanted then return true end
  end
  return false
end

describe("a deadline of the machine", function()
  for _, row in ipairs(rows) do
    local name, get_there, limit, wanted, state, options = table.unpack(row, 1, 6)
    it("R14 R15 fires to the millisecond: " .. name, function()
      local d = helper.drive(options)
      get_there(d)
      local limit_ms = type(limit) == "function" and limit(d) or limit
      local fires_at, before = d.now + limit_ms, d.machine.state
      assert.is_true(d.machine:deadline() <= fires_at, "nothing is armed in time")
      assert.is_false(asked_for(d:advance(limit_ms - 1), wanted), "a millisecond too soon")
      assert.equal(before, d.machine.state)
      assert.is_true(asked_for(d:tick(fires_at), wanted), "not at its time")
      assert.equal(state, d.machine.state)
    end)
  end

  it("R15 every state but idle and dead has one", function()
    for _, state in ipairs { "backoff", "waiting", "connecting", "hello", "identifying",
      "resuming", "ready", "closing" } do
      assert.is_number(helper.drive():reach(state).machine:deadline(), state)
    end
    for _, state in ipairs { "idle", "dead" } do
      assert.is_nil(helper.drive():reach(state).machine:deadline(), state)
    end
  end)
end)

describe("a deadline over sockets #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function start(name, sandbox_options, client_options)
    local wanted = { token = "deadline.of." .. name }
    for key, value in pairs(sandbox_options or {}) do wanted[key] = value end
    discord = witness.sandbox(wanted)
    local all = { url = discord.url, shards = 1 }
    for key, value in pairs(client_options or {}) do all[key] = value end
    bot = witness.client(discord, all)
    local seen = {}
    for _, event in ipairs { "error", "close" } do
      bot:on(event, function(data) seen[#seen + 1] = data end)
    end
    return seen
  end

  local function expect_ready(what)
    witness.await(bot, what, function() return bot.state == "ready" end)
  end

  -- A phase that stalls when a client comes up: the option that bounds it, and what is reported.
  local first = {
    { "accept", "connect_timeout", { code = "ETIMEOUT" } },
    { "accept", "connect_timeout", { code = "ETIMEOUT", phase = "tls" }, { tls = true } },
    { "upgrade", "connect_timeout", { code = "ETIMEOUT", phase = "upgrade" } },
    { "hello", "hello_timeout", { code = 4000 } },
    { "ready", "ready_timeout", { code = 4000 } },
  }
  for at, row in ipairs(first) do
    it(("R14 bounds a stalled %s by %s%s"):format(row[1], row[2], row[4] and ", TLS" or ""),
      function()
        local seen = start("first." .. at, row[4], { [row[2]] = 0.4 })
        discord:stall(row[1])
        local started = core.now()
        assert(bot:connect())
        witness.await(bot, "the report", function() return #seen > 0 end)
        assert(core.now() - started >= 0.3, "it was given up too soon")
        for key, value in pairs(row[3]) do assert.equal(value, seen[1][key]) end
        discord:stall(row[1], false)
        expect_ready "a session after the stall"
      end)
  end

  -- A phase of a session that was ready: it is kept.
  local later = {
    { "resumed", function()
      discord:stall "resumed"
      discord:drop()
    end, function() discord:stall("resumed", false) end, { ready_timeout = 0.4 } },
    { "close", function()
      discord:stall "close"
      discord:reconnect()
    end, function() discord:stall("close", false) end },
    { "ACK", function() discord:withhold_acks() end, function() discord:withhold_acks(false) end,
      nil, { heartbeat_interval = 300, heartbeat_grace = 0 } },
  }
  for at, row in ipairs(later) do
    it("R14 R15 a stalled " .. row[1] .. " costs the connection, not the session", function()
      local seen = start("later." .. at, row[5], row[4])
      witness.ready(bot)
      local resumed = 0
      bot:on("RESUMED", function() resumed = resumed + 1 end)
      bot:step(0)
      row[2]()
      witness.await(bot, "the end of the connection", function()
        return #seen > 0 and #discord:received("RESUME") > 0
      end)
      row[3]()
      witness.await(bot, "RESUMED", function() return resumed > 0 and bot.state == "ready" end)
      assert.equal(1, #discord:received("IDENTIFY"))
    end)
  end
end)

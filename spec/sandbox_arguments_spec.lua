-- sandbox_arguments_spec.lua: what the methods of a sandbox refuse: always in the line that called
-- them and by their own name, whatever is wrong; and what a finaliser does in the middle of a call.
-- #sockets

local core = require "moongate.sandbox.core"
local sandbox = require "moongate.sandbox"

local discord

-- What a call raises: the message behind this file's name and line; or nil, and what it returned.
local function raised(fn)
  local fine, why = pcall(function()
    local result = fn()
    return result
  end)
  if fine then return nil, why end
  return tostring(why):match "^%S*sandbox_arguments_spec.lua:%d+: (.*)" or "elsewhere: " .. why
end

describe("sandbox: arguments #sockets", function()
  before_each(function() discord = assert(sandbox.start { guilds = 0 }) end)
  after_each(function()
    collectgarbage "incremental"
    discord:stop()
  end)

  -- Of every kind, and tables that are nearly right.
  local wrong = { 5, -1, 1.5, 1 / 0, 0 / 0, "x", true, {}, { 1 }, { x = 1 }, print, { 5 },
    { 1.5, 2 }, { 2, 1 }, { 1, "x" }, { print }, { reset = 1 }, { shard = "0" }, { id = true },
    { timeout = "x" }, { count = "x" }, { count = 1.5 }, { status = "x" }, { path = 5 },
    { path = "/x", headers = { [5] = "x" } }, { path = "/x", headers = { a = "\n" } },
    { path = "/x", delay = "x" }, { path = "/x", body = 5 }, { path = "/x", body = { print } },
    { path = "/x", times = 1.5 }, { path = "/x", status = 1.5 }, { path = "/x", method = 5 },
    { "x", opcode = "1" }, { "x", opcode = 99 }, { "x", rsv = 9 }, { payload = 5 },
    { payload = { print } }, { close = 1.5 }, { invalid_session = 5 }, { drop = true, close = 1 },
    { drop = true, times = -1 }, { close = 4000, reason = 5 },
  }
  local before = { {}, { "x" }, { "hello" }, { 5 }, { "X", {} }, { "READY" }, { true },
    { 5, "r" }, { 5, 0.1 } }
  local waits = { wait = true, wait_until = true, wait_received = true,
    wait_for_connections = true, wait_for_ready = true }

  it("each method tells what is wrong in its caller's line, by its own name", function()
    local refused = {}
    for name in pairs(core.methods) do
      if not waits[name] and name ~= "__missing" and name ~= "stop" then
        for _, first in ipairs(before) do
          for _, last in ipairs(wrong) do
            local all = table.pack(table.unpack(first))
            all[all.n + 1] = last
            local why = raised(function()
              local result = discord[name](discord, table.unpack(all, 1, all.n + 1))
              return result
            end)
            assert.is_true(not why or why:sub(1, #name + 2) == name .. ": ",
              ("%s: %s"):format(name, tostring(why)))
            if why then refused[name] = true end
          end
        end
      end
    end
    for _, name in ipairs { "drop", "close", "dispatch", "respond", "instead", "cut", "split",
      "trickle", "set_clock", "send_raw", "received", "requests", "log", "watch" } do
      assert.is_true(refused[name], name)
    end
  end)

  it("those that wait do so as well", function()
    for call, words in pairs {
      [function() return discord:wait "x" end] = "wait: seconds: number expected, got string",
      [function() return discord:wait(0 / 0) end] = "wait: seconds: a number of seconds expected",
      [function() return discord:wait_until(5) end] = "wait_until: check: function expected",
      [function() return discord:wait_until(print, "x") end] = "wait_until: timeout: number",
      [function() return discord:wait_until(print, 1, 5) end] = "wait_until: what: string",
      [function() return discord:wait_received(1, { timeout = {} }) end] =
        "wait_received: timeout: number expected, got table",
      [function() return discord:wait_received(1, { count = "x" }) end] =
        "wait_received: count: an integer from 0",
      [function() return discord:wait_received "X" end] = "wait_received: op: 'X' is nothing",
      [function() return discord:wait_received(1, 5) end] = "wait_received: options: table",
      [function() return discord:wait_for_ready "x" end] = "wait_for_ready: count: an integer",
      [function() return discord:wait_for_ready(1, "x") end] = "wait_for_ready: timeout: number",
      [function() return discord:wait_for_connections(-1) end] =
        "wait_for_connections: count: an integer",
    } do
      local why = raised(function()
        local result = call()
        return result
      end)
      assert.equal(words, why and why:sub(1, #words))
    end
  end)

  it("a method that is called on something else says so", function()
    for name in pairs(core.methods) do
      if name ~= "__missing" then
        for _, other in ipairs { 5, "x", {}, io.stdout } do
          local why = raised(function()
            local result = discord[name](other)
            return result
          end)
          assert.equal(("%s: a sandbox expected, got %s; is it called as discord:%s()?")
            :format(name, type(other), name), why)
        end
      end
    end
  end)

  it("what cannot be sent is told with its place", function()
    assert.equal("dispatch: d.a[1]: a function cannot be sent",
      raised(function()
        local count = discord:dispatch("X", { a = { print } })
        return count
      end))
    assert.matches("^instead: payload: value%.d: a function cannot be sent", raised(function()
      local done = discord:instead("hello", { payload = { d = print } })
      return done
    end))
    assert.matches("^respond: body: value%[1%]: a function", raised(function()
      local done = discord:respond { path = "/x", body = { print } }
      return done
    end))
  end)

  -- A young collection takes the planted object whole, and runs at the first thing that is made
  -- when collecting is switched on again: within the call.
  for name, call in pairs {
    received = function() return discord:received() end,
    connections = function() return discord:connections() end,
    log = function() return discord:log() end,
    ["log behind a line"] = function() return discord:log(0) end,
  } do
    it("a finaliser that stops the sandbox in the middle of " .. name .. " is survived", function()
      local stopped = false
      collectgarbage "generational"
      collectgarbage()
      collectgarbage "stop"
      setmetatable({}, { __gc = function()
        stopped = true
        discord:stop()
      end })
      assert.equal(10000000, #("x"):rep(10000000)) -- enough for a collection to be due
      collectgarbage "restart"
      local result, why, code = call()
      assert.is_true(stopped)
      assert.is_nil(result)
      assert.matches("the sandbox is stopped$", why)
      assert.equal("ECLOSED", code)
    end)
  end
end)

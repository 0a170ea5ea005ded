-- cli_view.lua: what `moongate cluster` shows: the lines of its table, and the table in terminals
-- of several sizes.  #sockets

local core = require "moongate.core"
local sandbox = require "moongate.sandbox"
local view = require "moongate.cli_view"
local witness = require "witness"

local function row(id, state, more)
  local all = { id = id, count = 16, state = state, rate = 0 }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

describe("the table of moongate cluster", function()
  local two = {
    row(0, "ready", { latency = 0.0411, rate = 12.5, age = 125 }), row(1, "waiting"),
    row(15, "ready", { latency = 0.042, rate = 1500, age = 10959 }),
  }

  it("has a line for each shard", function()
    assert.same({
      "shard     state        latency  events/s     session",
      "0/16      ready          41 ms      12.5       2 min",
      "1/16      waiting            -       0.0           -",
      "15/16     ready          42 ms    1500.0  3 h 02 min",
    }, view.lines(two))
  end)

  it("leaves out the columns that have no place", function()
    for columns, last in pairs { [52] = "session", [51] = "events/s", [39] = "latency" } do
      for _, line in ipairs(view.lines(two, columns)) do assert.is_true(#line <= columns, line) end
      assert.matches(last .. "$", view.lines(two, columns)[1])
    end
    assert.equal("0/16", view.lines(two, 5)[2])
  end)

  it("leaves out shards that have no place, but not those that something happens to", function()
    local rows = {}
    for id = 0, 15 do rows[#rows + 1] = row(id, id < 9 and "ready" or "waiting") end
    rows[8].state, rows[12].state = "backoff", "resuming"
    local lines = view.lines(rows, 80, 7)
    assert.equal(7, #lines)
    local ids = {}
    for i = 2, 6 do ids[#ids + 1] = lines[i]:match "^%d+" end
    assert.same({ "0", "1", "2", "7", "11" }, ids)
    assert.equal("... 11 more: 6 waiting, 5 ready", lines[7])
    assert.equal("... 16", view.lines(rows, 6, 2)[2])
    assert.equal(17, #view.lines(rows, 80, 17))
    assert.equal(16, #view.lines(rows, 80, 16))
  end)

  it("shows states in colours, beside the same words", function()
    local plain, colored = view.lines(two, 80, 24), view.lines(two, 80, 24, true)
    for i, line in ipairs(colored) do
      assert.equal(plain[i], (line:gsub("\27%[%d+m", "")))
      assert.equal(i > 1, line:find("\27", 1, true) ~= nil)
    end
  end)

  it("ends with a bar while shards start, and then with what they do together", function()
    local function rows(ready, all)
      local list = {}
      for id = 0, all - 1 do list[#list + 1] = row(id, id < ready and "ready" or "waiting") end
      return list
    end
    assert.equal("[" .. ("-"):rep(30) .. "] 0 of 4 ready, 15 s to go", view.foot(rows(0, 4), 15))
    assert.equal("[" .. ("#"):rep(15) .. ("-"):rep(15) .. "] 2 of 4 ready",
      view.foot(rows(2, 4), 0))
    assert.equal("[#--] 2 of 4 ready", view.foot(rows(2, 4), 0, 18))
    assert.equal("2 of 4 ready", view.foot(rows(2, 4), 0, 17))
    assert.equal("[" .. ("-"):rep(30) .. "] 0 of 0 ready", view.foot({}))
    assert.equal("all 2 ready, 1512.5 events/s, 42 ms", view.foot({ two[1], two[3] }))
    assert.equal("1 shard ready, 0.0 events/s, -", view.foot(rows(1, 1)))
    local four = rows(3, 4)
    four[4].state = "dead"
    assert.equal("3 of 4 ready, 1 dead, 0.0 events/s, -", view.foot(four, 5))
    four[3].state = "waiting"
    assert.equal("[##--] 2 of 4 ready, 1 dead, 5 s to go", view.foot(four, 5, 38))
  end)

  it("tells a trouble that goes on once a minute", function()
    local filter, told = view.filter(), {}
    for _, word in ipairs { { 0, "error", "no" }, { 1, "error", "no" }, { 2, "error", "no" },
      { 60, "error", "no" }, { 61, "error", "no" }, { 62, "info", "yes" }, { 63, "info", "yes" },
      { 64, "error", "no" } } do
      told[#told + 1] = filter(1, word[2], word[3], word[1]) or "-"
    end
    assert.same({ "no", "-", "-", "no (2 times more)", "-", "yes", "yes", "no" }, told)
    assert.equal("no", filter(2, "error", "no", 64))
    assert.is_nil(filter(1, "error", "no", 65))
  end)

  it("breaks what happened into lines of the terminal's width", function()
    assert.same({ "12:00:00 shard 0", "         is gone" },
      view.wrap("12:00:00 shard 0 is gone", 16))
    assert.same({ "12:00:00", "         abcd", "         efgh", "         i" },
      view.wrap("12:00:00 abcdefghi", 13))
    assert.same({ "short" }, view.wrap("short", 80))
    assert.same({ "a b" }, view.wrap("a\n\27b", 80))
    for columns = 1, 40 do
      for _, line in ipairs(view.wrap(("wört "):rep(9), columns)) do
        assert.is_true((utf8.len(line) or 0) <= columns)
      end
    end
  end)
end)

describe("moongate cluster in a terminal #sockets", function()
  local discord

  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  -- What a terminal of this size is shown. `keys` is a shell command whose output is typed. What
  -- script(1) leaks is not ours.
  local function show(columns, lines, arguments, keys)
    local program = os.tmpname()
    local file = assert(io.open(program, "w"))
    file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
      os.getenv "MOONGATE_CPATH" or package.cpath), ([[
      local all = {}
      for word in (%q):gmatch "%%S+" do all[#all + 1] = word end
      os.exit(require("moongate.cli").main(all), true)]]):format("cluster " .. arguments))
    file:close()
    local pipe = assert(io.popen(("{ %s; } | TERM=xterm DISCORD_TOKEN=%s DISCORD_API=%s "
      .. "ASAN_OPTIONS=detect_leaks=0 timeout -k 2 %d script -qec "
      .. "'stty cols %d rows %d; exec lua5.4 %s' /dev/null 2>&1")
      :format(keys or ":", discord.token, discord.api, witness.patience, columns, lines,
        program)))
    local shown = pipe:read "a"
    pipe:close()
    os.remove(program)
    return (shown:gsub("\r\n", "\n"))
  end

  -- The tables that were drawn, one over the other.
  local function tables(shown)
    local all = {}
    for text in shown:gmatch "(shard +state.-)\27%[J" do
      all[#all + 1] = text:gsub("\27%[%d*[mK]", "")
    end
    return all
  end

  it("is drawn again and again in the same place, within the terminal", function()
    discord = sandbox.start { shards = 20, max_concurrency = 20 }
    local shown = show(40, 10, "--for 2.5")
    local drawn = tables(shown)
    assert.is_true(#drawn >= 2, shown)
    for _, text in ipairs(drawn) do
      local lines = select(2, text:gsub("\n", ""))
      assert.is_true(lines <= 9, text)
      for line in text:gmatch "[^\n]+" do assert.is_true(#line <= 40, line) end
    end
    for up in shown:gmatch "\27%[(%d+)A" do assert.is_true(tonumber(up) <= 9, up) end
    assert.matches("\n%.%.%. 14 more: 14 ready\nall 20 ready, %d", drawn[#drawn])
    assert.matches("ended after 2 s\n$", shown)
  end)

  it("leaves the table behind at Ctrl-C, and the sessions alive", function()
    discord = sandbox.start { shards = 2, max_concurrency = 2 }
    local shown = show(80, 24, "", "sleep 1.5; printf '\\003'; sleep 1.5")
    assert.matches("%^C\r?\27%[J%d%d:%d%d:%d%d ended after %d s\n$", shown)
    assert.equal(2, #discord:sessions())
  end)

  it("keeps what a config file prints above the table, and errors below", function()
    discord = sandbox.start { guilds = 1 }
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write [[return { intents = { "guilds" }, setup = function(cluster)
      cluster:on("READY", function() print("hello", nil, 1) error("oops", 0) end)
    end }]]
    file:close()
    local shown = show(80, 24, "--for 1.2 --config " .. path)
    os.remove(path)
    assert.matches("\27%[Jhello\tnil\t1\nshard ", shown)
    assert.matches("\n1 shard ready[^\n]+\n%d%d:%d%d:%d%d oops\n", tables(shown)[3])
  end)

  it("is no terminal where the system says so", function()
    assert.is_nil(core.terminal(9999))
  end)
end)

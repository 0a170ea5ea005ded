-- options_spec.lua: every option right and wrong, all mistakes in one message, and no token in any.

local core = require("virtual").core()
local options = require "moongate.options"
local intents = require "moongate.intents"

local TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"

local real_getenv = os.getenv
local environment

before_each(function()
  environment = {}
  os.getenv = function(name) return environment[name] end -- luacheck: ignore
end)

after_each(function()
  os.getenv = real_getenv -- luacheck: ignore
end)

-- The least that is accepted, with more over it.
local function with(more)
  local all = { token = TOKEN, intents = { "guilds" } }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

local function check(more, defaults)
  return options.check(with(more), defaults)
end

local function complaint(user, defaults)
  local fine, message = pcall(function() return (options.check(user, defaults)) end)
  assert(not fine, "accepted")
  return message
end

-- Each line of the message but the first.
local function lines(user, defaults)
  local list = {}
  for line in complaint(user, defaults):gmatch("\n  ([^\n]+)") do list[#list + 1] = line end
  return list
end

local function wrong(more)
  return table.concat(lines(with(more)), "\n")
end

local function expect(pieces, text)
  for _, piece in ipairs(type(pieces) == "table" and pieces or { pieces }) do
    assert(text:find(piece, 1, true), ("no %q in %q"):format(piece, text))
  end
end

describe("options: what comes out", function()
  it("is filled in", function()
    local out = check()
    out.token = nil
    assert.same({
      intents = 1, encoding = "json", compress = "zlib-stream", version = 10, null = "drop",
      invalid_utf8 = "pass", log_level = "warn", queue_events = core.limits.QUEUE_EVENTS_MAX,
      queue_bytes = core.limits.QUEUE_BYTES_MAX,
      message_bytes_max = core.limits.MESSAGE_BYTES_MAX, when_full = "pause",
      connect_timeout = 30, hello_timeout = 20, ready_timeout = 120, send_timeout = 300,
      backoff = { base = 1, cap = 60 }, blocked_after = 5, insecure_tls = false,
      identify_reserve = 10,
      api = "https://discord.com/api",
    }, out)
  end)

  it("is a new table, and the user's stays as it was", function()
    local user = with { shard_ids = { 0, 1 }, backoff = { base = 2 } }
    local out = options.check(user)
    out.shard_ids[1], out.backoff.cap = 9, 9
    assert.same({ 0, 1 }, user.shard_ids)
    assert.same({ base = 2 }, user.backoff)
    assert.equal("string", type(user.token))
  end)

  it("takes every option at its limits", function()
    local given = {
      { "shards", 1 }, { "shards", 1000000 }, { "shard_ids", { 0 } }, { "shard_ids", { 7, 3, 0 } },
      { "encoding", "json" }, { "encoding", "etf" }, { "compress", false }, { "compress",
        "zlib-stream" },
      { "compress", "zstd-stream" }, { "compress", "payload" },
      { "version", 6 }, { "version", 10 }, { "large_threshold", 50 }, { "large_threshold", 250 },
      { "presence", { status = "idle" } }, { "properties", { os = "linux", browser = "b" } },
      { "session", { id = "abc", seq = 5, url = "wss://resume.example", shard_id = 3 } },
      { "session", { id = "abc", seq = 0 } },
      { "null", "keep" }, { "null", "drop" }, { "invalid_utf8", "refuse" },
      { "queue_events", 1 }, { "queue_bytes", 1 }, { "message_bytes_max", 1 },
      { "when_full", "pause" }, { "when_full", "drop" }, { "when_full", "disconnect" },
      { "hello_timeout", 0.001 }, { "ready_timeout", 1e9 },
      { "connect_timeout", 2.5 }, { "send_timeout", 1 }, { "backoff", { base = 0, cap = 0 } },
      { "identify_reserve", 0 }, { "identify_reserve", 5000 },
      { "blocked_after", false }, { "blocked_after", 0.5 }, { "insecure_tls", true },
      { "user_agent", "DiscordBot (https://example.org, 1)" }, { "user_agent", ("x"):rep(256) },
      { "url", "wss://" .. ("a"):rep(506) }, { "api", "https://a:65535" }, { "api", "https://a:1" },
      { "url", "wss://gateway.example" },
    }
    for _, pair in ipairs(given) do
      assert.same(pair[2], check({ [pair[1]] = pair[2] })[pair[1]], pair[1])
    end
  end)

  it("keeps the half of backoff that was given and moves the other", function()
    assert.same({ base = 1, cap = 30 }, check({ backoff = { cap = 30 } }).backoff)
    assert.same({ base = 0.5, cap = 0.5 }, check({ backoff = { cap = 0.5 } }).backoff)
    assert.same({ base = 90, cap = 90 }, check({ backoff = { base = 90 } }).backoff)
  end)

  it("has integers where numbers are whole", function()
    local out = check { shards = 4.0, shard_ids = { 0.0 }, queue_events = 10.0 }
    assert.equal("integer", math.type(out.shards))
    assert.equal("integer", math.type(out.shard_ids[1]))
    assert.equal("integer", math.type(out.queue_events))
    assert.equal("integer", math.type(out.intents))
  end)

  it("keeps more in the queue where a full one costs a Resume", function()
    local limits = core.limits
    assert.equal(limits.QUEUE_BYTES_MAX, check({ when_full = "drop" }).queue_bytes)
    assert.equal(limits.QUEUE_LEAVE_BYTES_MAX, check({ when_full = "disconnect" }).queue_bytes)
    assert.equal(1, check({ when_full = "disconnect", queue_bytes = 1 }).queue_bytes)
    assert.is_true(limits.QUEUE_BYTES_MAX < limits.QUEUE_LEAVE_BYTES_MAX)
  end)

  it("names what may be dropped, in one style, when something may be", function()
    assert.is_nil(check({ when_full = "disconnect" }).drop_events)
    local first = check { when_full = "drop" }
    assert.same({ "PRESENCE_UPDATE", "TYPING_START" }, first.drop_events)
    assert.same({ "MESSAGE_CREATE", "SOMETHING_NEW" }, check {
      when_full = "drop", drop_events = { "messageCreate", "SOMETHING_NEW" } }.drop_events)
    assert.is_nil(options.check({ when_full = "pause" }, first).drop_events)
  end)

  it("takes defaults that stand behind the user's table", function()
    local first = check { shards = 2, insecure_tls = true, api = "http://gateway.example" }
    local out = options.check({ shards = 3 }, first)
    assert.equal(3, out.shards)
    assert.equal(1, out.intents)
    assert.equal("http://gateway.example", out.api)
    assert.equal(TOKEN, options.reveal(out.token))
    environment.DISCORD_TOKEN = "another"
    assert.equal(TOKEN, options.reveal(options.check({}, first).token))
  end)

  it("lists the names of all options", function()
    local names = {}
    for _, name in ipairs(options.names()) do names[name] = true end
    for name in ([[token intents shards shard_ids encoding compress version large_threshold presence
      properties session_store session null queue_events queue_bytes message_bytes_max when_full
      identify_reserve hello_timeout ready_timeout connect_timeout backoff ca_file insecure_tls
      proxy api url user_agent log_level blocked_after send_timeout drop_events invalid_utf8
      identify_coordinator]]):gmatch("%S+") do
      assert.is_true(names[name], name)
      names[name] = nil
    end
    assert.is_nil(next(names))
  end)
end)

describe("options: the token", function()
  it("comes from the table, from a string, or from $DISCORD_TOKEN", function()
    assert.equal(TOKEN, options.reveal(check().token))
    environment.DISCORD_TOKEN = "from.the.environment"
    assert.equal(TOKEN, options.reveal(check().token))
    assert.equal("from.the.environment",
      options.reveal(options.check({ intents = 0 }).token))
    assert.equal(TOKEN, options.reveal(options.check(TOKEN, { intents = 0 }).token))
  end)

  it("loses a Bot in front", function()
    assert.equal(TOKEN, options.reveal(check({ token = "Bot " .. TOKEN }).token))
    assert.equal(TOKEN, options.reveal(check({ token = "bot " .. TOKEN }).token))
  end)

  it("when it is missing, says where to get one", function()
    environment.DISCORD_TOKEN = ""
    local text = complaint { intents = 0 }
    expect({ "token: missing; pass token = \"...\" or set $DISCORD_TOKEN",
      "https://discord.com/developers/applications" }, text)
  end)

  it("is refused when it cannot be one, and never shown", function()
    for bad, words in pairs {
      [""] = "token: is empty", ["Bot "] = "token: is empty",
      [TOKEN .. "\n"] = "token: has white space or a line break in it; copy it without",
      [" " .. TOKEN] = "token: has white space",
      ["Bot  " .. TOKEN] = "token: has white space",
      ["Bearer " .. TOKEN] = "token: has white space",
      [TOKEN .. "\r\nX-Evil: 1"] = "token: has white space",
      [TOKEN .. "\0"] = "token: has characters in it that no token has",
      [TOKEN .. "\195\169"] = "token: has characters",
      [("x"):rep(513)] = "token: has 513 characters, at most 512 are possible",
    } do
      local text = complaint { token = bad, intents = 0 }
      expect(words, text)
      assert.is_nil(text:find("ZnCjm1XVW7", 1, true))
      assert.is_nil(text:find("xxxxx", 1, true))
    end
    for _, bad in ipairs { 5, true, {} } do
      expect("is no token; pass token", complaint { token = bad, intents = 0 })
    end
    assert.equal(512, #options.reveal(check({ token = ("x"):rep(512) }).token))
  end)

  it("from the environment is named as such when it is wrong", function()
    environment.DISCORD_TOKEN = "two words"
    expect("token (from $DISCORD_TOKEN): has white space", complaint { intents = 0 })
  end)

  it("R68: is an object that shows nothing", function()
    local out = check()
    assert.equal("token: (hidden)", tostring(out.token))
    assert.is_nil(next(out.token))
    assert.equal("token", getmetatable(out.token))
    assert.is_nil(out.token.text)
    assert.is_nil(rawget(out.token, 1))
    assert.has_error(function() return "Bot " .. out.token end)
    local function search(value, seen)
      if type(value) == "string" then assert.is_nil(value:find(TOKEN, 1, true)) end
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for key, content in pairs(value) do
        search(key, seen)
        search(content, seen)
      end
    end
    search(out, {})
    assert.is_nil(options.reveal({}))
    assert.is_nil(options.reveal(nil))
    assert.equal(out.token, options.check({}, out).token)
  end)

  it("R68: is in no message, wherever it was put by mistake", function()
    local before = { "intents", "shards", "encoding", "compress", "version", "properties", "null",
      "proxy", "api", "url", "ca_file", "user_agent", "hello_timeout", "shard_ids", "presence",
      "insecure_tls", "session", "backoff", "log_level", "tokn" }
    for _, text in ipairs { TOKEN, "Bot " .. TOKEN, "https://" .. TOKEN, TOKEN .. "\n",
      "x" .. TOKEN .. "/v9" } do
      for _, key in ipairs(before) do
        for _, token in ipairs { TOKEN, "short.other.one" } do
          local fine, message = pcall(options.check,
            { token = token, intents = { "guilds" }, [key] = text, no_such_option = 1 })
          assert.is_false(fine)
          if token == TOKEN or text == TOKEN or text == "Bot " .. TOKEN then
            assert.is_nil(message:find("ZnCjm1", 1, true), message)
            assert.is_nil(message:find("MTk4", 1, true), message)
          end
        end
      end
    end
    for _, user in ipairs { { TOKEN }, { [TOKEN] = true }, { intents = { TOKEN } },
      { intents = { [TOKEN] = 1 } }, { shard_ids = { TOKEN } },
      { properties = { os = TOKEN .. "\n", [TOKEN] = 1 } }, { backoff = { [TOKEN] = 1 } } } do
      assert.is_nil(complaint(user):find("ZnCjm1", 1, true))
      assert.is_nil(complaint(user):find("MTk4", 1, true))
    end
  end)

  it("R68: of any shape is hidden in the place of another value, whence it came", function()
    local odd = "odd-%d+token"
    for _, text in ipairs { odd, "Bot " .. odd, "before " .. odd .. " after" } do
      expect("encoding: (hidden) is not possible", wrong { token = odd, encoding = text })
      expect("encoding: (hidden) is not possible",
        complaint({ intents = 0, encoding = text }, options.check(odd, { intents = 0 })))
      environment.DISCORD_TOKEN = odd
      expect("encoding: (hidden) is not possible", complaint { intents = 0, encoding = text })
      environment = {}
    end
    expect("encoding: (hidden)", wrong { token = " " .. odd, encoding = odd })
    expect("encoding: (hidden)", wrong { token = "Bot " .. odd, encoding = odd })
    local shortest = ("x"):rep(20) .. "." .. ("x"):rep(8) .. "." .. ("x"):rep(20)
    expect("encoding: (hidden)", wrong { encoding = shortest })
    expect('encoding: "xx', wrong { encoding = shortest:sub(2) })
    expect("intents: (hidden) is no intent; say what to hear", wrong { intents = TOKEN })
    expect("intents: (hidden) is no intent; say what to hear", wrong { intents = { TOKEN } })
  end)

  it("is named as forgotten when it stands without a name", function()
    expect({ "[1]: options have names; write token = " }, complaint { TOKEN, intents = 0 })
  end)
end)

describe("options: intents", function()
  it("may be a number, a list, a name, or a sum", function()
    assert.equal(513, options.check({ token = TOKEN, intents = 513 }).intents)
    assert.equal(513, check({ intents = { "guilds", "GUILD_MESSAGES" } }).intents)
    assert.equal(513, check({ intents = intents { "guilds", "guild_messages" } }).intents)
    assert.equal(intents.default, check({ intents = "default" }).intents)
    assert.equal(0, check({ intents = 0 }).intents)
    assert.equal(0, check({ intents = {} }).intents)
  end)

  it("are needed, and the message shows how", function()
    expect('intents: missing; say what to hear, for example intents = { "guilds", '
      .. '"guild_messages" }', complaint { token = TOKEN })
    expect("intents: missing", complaint(TOKEN))
  end)

  it("are complained about with what was meant", function()
    expect({ '"guild_mesages" is no intent; did you mean "guild_messages"?',
      '"gilds" is no intent; did you mean "guilds"?' },
      wrong { intents = { "guild_mesages", "gilds" } })
    expect("-1 is no intent", wrong { intents = -1 })
    expect("1.5 is no intent", wrong { intents = 1.5 })
    expect("true is no list of intents; say what to hear", wrong { intents = true })
    expect("a function is no list of intents", wrong { intents = print })
  end)
end)

describe("options: mistakes", function()
  it("come all in one message, one a line, in the order of the documentation", function()
    local text = complaint {
      large_threshold = 10, encoding = "xml", tokn = "x", intents = { "gilds" }, zzz = 1,
    }
    assert.matches("^spec/options_spec.lua:%d+: moongate: 6 mistakes in the options:\n", text)
    local list = lines {
      large_threshold = 10, encoding = "xml", tokn = "x", intents = { "gilds" }, zzz = 1,
    }
    assert.equal(6, #list)
    for i, start in ipairs { "token: missing", "intents: ", "encoding: ", "large_threshold: ",
      "tokn: ", "zzz: " } do
      assert.equal(start, list[i]:sub(1, #start))
    end
    assert.matches("1 mistake in the options", complaint(with { zzz = 1 }))
  end)

  it("are reported at the level that is asked for", function()
    local function client(...) return (options.check(...)) end
    local here = debug.getinfo(1, "l").currentline
    local fine, message = pcall(function() return (client({}, nil, 3)) end)
    assert.is_false(fine)
    assert.matches("^spec/options_spec.lua:" .. here + 1 .. ": moongate", message)
  end)

  it("in names get what was meant", function()
    for name, meant in pairs {
      tokn = "token", intent = "intents", largeThreshold = "large_threshold", shard = "shards",
      shardIds = "shard_ids", compresion = "compress", compression = "compress",
      shard_count = "shards", SHARD_COUNT = "shards", helloTimeout = "hello_timeout",
      userAgent = "user_agent", insecureTls = "insecure_tls", gateway = "url",
      log = "log_level", debug = "log_level",
    } do
      expect(("%s: no such option; did you mean %s?"):format(name, meant), wrong { [name] = 1 })
    end
    assert.equal("quite_another: no such option", wrong { quite_another = 1 })
    expect("[1]: options have names", wrong { [1] = "x" })
    expect("[true]: options have names", wrong { [true] = "x" })
  end)

  it("of type are refused", function()
    for _, bad in ipairs { 5, true, print } do
      local fine, message = pcall(options.check, bad)
      assert.is_false(fine)
      assert.matches("moongate: options must be a table or a token, got " .. type(bad), message)
    end
    expect("token: missing", complaint(nil))
  end)

  it("show the value and the remedy, option by option", function()
    local samples = {
      { "shards", 0, "0 is not possible; give a whole number from 1 to 1000000" },
      { "shards", 1000001, "1000001 is not possible" }, { "shards", 1.5, "1.5 is not possible" },
      { "shards", "auto", "or leave it out for the recommended one" },
      { "shards", "2", '"2" is not possible' }, { "shards", 0 / 0, "nan is not possible" },
      { "shards", math.huge, "inf is not possible" },
      { "presence", { status = "away" }, "status must be online, dnd, idle, invisible or offline" },
      { "shard_ids", 3, "3 is no list; give a list of different whole numbers from 0" },
      { "shard_ids", {}, "is no list of shard ids" },
      { "shard_ids", { 0, 0 }, "0 is there twice" },
      { "shard_ids", { 0, -1 }, "-1 is no shard id" },
      { "shard_ids", { 0, "1" }, '"1" is no shard id' },
      { "shard_ids", { 0, x = 1 }, "is no list of shard ids" },
      { "encoding", "jsn", 'did you mean "json"?' },
      { "encoding", 5, '5 is not possible; use "json" or "etf"' },
      { "compress", "zlib_stream", 'did you mean "zlib-stream"?' },
      { "compress", "zstd_stream", 'did you mean "zstd-stream"?' },
      { "compress", true,
        'true is not possible; use "zlib-stream" or "zstd-stream" or "payload" or false' },
      { "version", 5, "5 is not possible; give a whole number from 6 to 99" },
      { "version", 100, "100 is not possible" },
      { "large_threshold", 49, "give a whole number from 50 to 250" },
      { "large_threshold", 251, "give a whole number from 50 to 250" },
      { "presence", "idle", '"idle" is not possible; give a table' },
      { "properties", "x", '"x" is not possible; give a table: os, browser and device are texts' },
      { "properties", { os = 5 }, "os: 5 is not possible" },
      { "properties", { os = "a\nb" }, "os: \"a\\10b\" has characters that no header may have" },
      { "properties", { brwser = "x" }, 'has no key "brwser"; did you mean browser?' },
      { "properties", { zzzz = "x" }, "os, browser and device are texts" },
      { "session", "x", "give what session_info() returned" },
      { "session", {}, "has no id or no seq; give what session_info() returned" },
      { "session", { id = "a" }, "has no id or no seq" },
      { "session", { id = "a", seq = -1 }, "seq: -1 is not possible" },
      { "session", { id = ("a"):rep(257), seq = 1 }, "id: " },
      { "session", { id = "a", seq = 1, url = "http://x" }, "url: \"http://x\" is no such URL" },
      { "null", "keeep", 'did you mean "keep"?' },
      { "null", 5, '5 is not possible; use "drop" or "keep"' },
      { "invalid_utf8", true, 'true is not possible; use "pass" or "refuse"' },
      { "queue_events", 0, "0 is not possible; give a whole number from 1" },
      { "queue_bytes", -5, "-5 is not possible" }, { "message_bytes_max", "1M", '"1M" is not' },
      { "when_full", "drop it", 'did you mean "drop"?' },
      { "when_full", "x", 'is not possible; use "pause" or "drop" or "disconnect"' },
      { "hello_timeout", 0, "0 is not possible; give seconds above 0" },
      { "ready_timeout", -1, "-1 is not possible" }, { "send_timeout", "5", '"5" is not possible' },
      { "connect_timeout", 0 / 0, "nan is not possible" },
      { "connect_timeout", math.huge, "inf is not possible" },
      { "hello_timeout", false, "false is not possible" },
      { "backoff", 5, "5 is not possible; give a table: base and cap are seconds from 0" },
      { "backoff", { base = -1 }, "base: -1 is not possible; give seconds from 0" },
      { "backoff", { base = 5, cap = 2 }, "base 5 is above cap 2" },
      { "backoff", { bsae = 5 }, 'has no key "bsae"; did you mean base?' },
      { "backoff", { 1, 2 }, "has no key 1; base and cap are seconds" },
      { "identify_coordinator", {}, "give moongate.coordinator.file()" },
      { "identify_reserve", -1, "give a whole number from 0" },
      { "identify_reserve", 0.5, "give a whole number from 0" },
      { "blocked_after", 0, "give seconds above 0, or false for never" },
      { "blocked_after", true, "true is not possible" },
      { "insecure_tls", "yes", '"yes" is not possible; give true or false' },
      { "user_agent", "", '"" is not possible; give a text of 1 to 256 characters' },
      { "user_agent", ("x"):rep(257), "give a text of 1 to 256 characters" },
      { "user_agent", "a\r\nb", "\"a\\13\\10b\" has characters that no header may have" },
      { "user_agent", "caf\195\169", "use plain ASCII without line breaks" },
      { "ca_file", 5, "5 is not possible; give the path of a PEM file" },
      { "ca_file", "/nowhere/at/all.pem",
        '"/nowhere/at/all.pem" cannot be read: No such file' },
      { "ca_file", "/", "cannot be read" },
    }
    for _, sample in ipairs(samples) do
      local text = wrong { [sample[1]] = sample[2] }
      expect({ sample[1] .. ": ", sample[3] }, (text:gsub("%-nan", "nan")))
      assert.is_nil(text:find("\n", 1, true))
    end
  end)

  it("in unknown names come in the order of the alphabet", function()
    local given, expected = {}, {}
    for i, letter in ipairs { "q", "r", "s", "t", "u", "v", "w", "x", "y", "z" } do
      given[letter:rep(9)], expected[i] = 1, letter:rep(9) .. ": no such option"
    end
    assert.same(expected, lines(with(given)))
  end)

  it("with values of any length stay readable", function()
    expect('"' .. ("x"):rep(60) .. '"', wrong { encoding = ("x"):rep(60) })
    local text = wrong { encoding = ("x"):rep(10000) }
    assert(#text < 300)
    expect("x...\"", text)
    text = wrong { [("y"):rep(10000)] = 1 }
    assert(#text < 300)
  end)

  it("of encoding and compression are found: compressed payloads are for JSON only", function()
    expect('compress: "payload" is for the encoding "json" only; use "zlib-stream", ' ..
      '"zstd-stream" or false', wrong { encoding = "etf", compress = "payload" })
    assert.equal("etf", check({ encoding = "etf", compress = "zstd-stream" }).encoding)
    assert.equal("payload", check({ encoding = "json", compress = "payload" }).compress)
  end)

  it("between options are found", function()
    expect("shard_ids: 4 is not below shards, which is 4; shard ids count from 0",
      wrong { shards = 4, shard_ids = { 0, 4 } })
    assert.same({ 0, 3 }, check({ shards = 4, shard_ids = { 0, 3 } }).shard_ids)
  end)

  it("in drop_events are found", function()
    local function dropping(list) return wrong { when_full = "drop", drop_events = list } end
    local rows = {
      { "TYPING_START", '"TYPING_START" is no list; give a list of names' },
      { {}, "is no list of events" }, { { x = "TYPING_START" }, "is no list of events" },
      { { 5 }, "5 is no event" }, { { "*" }, '"*" is no event' },
      { { "error" }, '"error" is no event' },
      { { "TYPING_STRAT" }, '"TYPING_STRAT" is no event; did you mean TYPING_START?' },
      { { "READY" }, "READY is never dropped; leave it out" },
      { { "resumed" }, "RESUMED is never dropped" },
      { { "typingStart", "TYPING_START" }, "TYPING_START is there twice" },
    }
    for _, row in ipairs(rows) do expect("drop_events: " .. row[2], dropping(row[1])) end
    local many = {}
    for i = 1, core.limits.DROP_EVENTS_MAX + 1 do many[i] = ("NEW_THING_%04d"):format(i) end
    expect("drop_events: has 129 names, at most 128 are possible", dropping(many))
    many[#many] = nil
    assert.same(many, check({ when_full = "drop", drop_events = many }).drop_events)
    expect('drop_events: nothing is dropped; set when_full = "drop", or leave it out',
      wrong { drop_events = { "TYPING_START" } })
  end)

  it("that are levels of a log which nobody has", function()
    expect('did you mean "debug"?', wrong { log_level = "debgu" })
    expect('use "error" or "warn" or "info" or "debug" or false', wrong { log_level = 3 })
    for _, level in ipairs { "error", "warn", "info", "debug", false } do
      assert.equal(level, options.check(with { log_level = level }).log_level)
    end
  end)
end)

describe("options: ca_file", function()
  it("is a file that can be read", function()
    local path = os.tmpname()
    expect("cannot be read: it is empty", wrong { ca_file = path })
    local file = assert(io.open(path, "wb"))
    file:write("-----BEGIN CERTIFICATE-----\n")
    file:close()
    assert.equal(path, check({ ca_file = path }).ca_file)
    os.remove(path)
  end)
end)

describe("options: addresses", function()
  it("lose the slash at their end and nothing else", function()
    for given, out in pairs {
      ["https://discord.com/api/"] = "https://discord.com/api",
      ["https://discord.com/api"] = "https://discord.com/api",
      ["HTTPS://proxy.example:8443/a/b//"] = "https://proxy.example:8443/a/b",
      ["https://proxy.example"] = "https://proxy.example",
    } do
      assert.equal(out, check({ api = given }).api)
    end
    assert.equal("wss://gateway.discord.gg", check({ url = "wss://gateway.discord.gg/" }).url)
  end)

  it("of the api come from $DISCORD_API when none is given", function()
    environment.DISCORD_API = "https://elsewhere.example/api/"
    assert.equal("https://elsewhere.example/api", check().api)
    assert.equal("https://given.example", check({ api = "https://given.example" }).api)
    environment.DISCORD_API = "nonsense"
    expect('api (from $DISCORD_API): "nonsense" is no such URL', complaint(with()))
    environment.DISCORD_API = ""
    assert.equal("https://discord.com/api", check().api)
  end)

  it("may be plain on loopback only", function()
    for _, host in ipairs { "localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080",
      "127.255.0.3", "[::1]", "[::1]:8080", "gateway.localhost" } do
      assert.equal("http://" .. host .. "/api", check({ api = "http://" .. host .. "/api" }).api)
      assert.equal("ws://" .. host, check({ url = "ws://" .. host }).url)
    end
    for _, host in ipairs { "discord.com", "localhost.evil.example", "127.0.0.1.evil.example",
      "127.0.0.256", "127.1", "10.0.0.1", "[::2]", "[::ffff:127.0.0.1]", "evil-localhost",
      "1270.0.0.1", "0.0.0.0" } do
      expect({ "api: ", "would send the token unencrypted; use https://" },
        wrong { api = "http://" .. host .. "/api" })
      expect("would send the token unencrypted; use wss://, or set insecure_tls = true",
        wrong { url = "ws://" .. host })
    end
    expect("would send the token unencrypted",
      wrong { session = { id = "a", seq = 1, url = "ws://discord.com" } })
  end)

  it("may be plain elsewhere when insecure_tls says so", function()
    local out = check { api = "http://10.0.0.1:80", url = "ws://10.0.0.1", insecure_tls = true }
    assert.equal("http://10.0.0.1:80", out.api)
    assert.equal("ws://10.0.0.1", out.url)
    expect("unencrypted", wrong { api = "http://10.0.0.1", insecure_tls = false })
    expect("unencrypted", complaint(with { api = "http://10.0.0.1", insecure_tls = "yes" }))
  end)

  it("are refused when they are none", function()
    for _, bad in ipairs { "", "discord.com", "ftp://discord.com", "wss://discord.com", "https://",
      "https:///api", "https://:80", "https://a:b", "https://a:0", "https://a:65536", "https://a:",
      "https://a b/", "https://a/b c", "https://a/\n", "https://[::1", "https://[xyz]",
      "https://a]b", "https://\0/", "https://a\r\nHost: b/", 5, {}, true } do
      local text = wrong { api = bad }
      expect({ "api: ", "give a URL such as https://discord.com/api" }, text)
      assert.is_nil(text:find("\n", 1, true))
    end
    expect("has a query", wrong { url = "wss://gateway.discord.gg/?v=10&encoding=json" })
    expect("has a query", wrong { api = "https://discord.com/api#x" })
    expect("is longer than 512 bytes", wrong { api = "https://" .. ("a"):rep(505) })
    expect("has a user in it", wrong { api = "https://ada@discord.com" })
    expect("has no proper host", wrong { api = "https://[x]" })
    expect("names no host", wrong { api = "https:///api" })
    expect({ "ends in a version", "leave it out: moongate adds it itself" },
      wrong { api = "https://discord.com/api/v10" })
    expect("ends in a version", wrong { api = "https://discord.com/api/v9/" })
    expect("give a URL such as wss://gateway.discord.gg", wrong { url = "https://discord.com" })
  end)

  it("R68: do not show a password that stands in them", function()
    for _, key in ipairs { "api", "url" } do
      local text = wrong { [key] = "https://ada:secret@host.example" }
      assert.is_nil(text:find("secret", 1, true))
      expect('"https://(hidden)@host.example"', text)
    end
    for _, bad in ipairs { "http://ada:secret@", "ada:secret@host", "https://ada:secret@host:80",
      "ada:secret@ho st:80" } do
      assert.is_nil(wrong({ proxy = bad }):find("secret", 1, true))
    end
  end)

  it("of a proxy are host and port, with or without user and http://", function()
    for given, out in pairs {
      ["http://proxy.example:3128"] = "proxy.example:3128", ["proxy:1"] = "proxy:1",
      ["http://proxy.example:3128/"] = "proxy.example:3128", ["[::1]:8080"] = "[::1]:8080",
      ["ada:pa:ss@proxy:80"] = "ada:pa:ss@proxy:80", ["http://a:b@proxy:80"] = "a:b@proxy:80",
    } do
      assert.equal(out, check({ proxy = given }).proxy)
    end
    for bad, words in pairs {
      ["proxy.example"] = "has no port", ["https://proxy:80"] = "is no proxy that can be used",
      ["socks5://proxy:80"] = "is no proxy", [""] = "names no host", [":80"] = "names no host",
      ["proxy:99999"] = "has no proper port", ["pr oxy:80"] = "is no proxy",
    } do
      expect({ words, 'such as "http://proxy.example:3128"' }, wrong { proxy = bad })
    end
    expect("5 is no address", wrong { proxy = 5 })
  end)
end)

-- gateway_spec.lua: the Gateway of a token, with an owner that answers by a script instead of an
-- engine, and on a clock that the spec turns.

local core = require "moongate.core"
local gateway = require "moongate.gateway"
local paper = require "paper"
local scheduler = require "moongate.scheduler"
require "moongate"

local TOKEN = "token.number."
local made = 0

local function fresh_token()
  made = made + 1
  return TOKEN .. made
end

local function body(more)
  local data = {
    url = "wss://gateway.test", shards = 3,
    session_start_limit = {
      total = 1000, remaining = 900, reset_after = 60000, max_concurrency = 2,
    },
  }
  for key, value in pairs(more or {}) do data[key] = value end
  return assert(core.encode(data))
end

local function answer(status, text, headers)
  return { status = status, body = text or "", headers = headers or {} }
end

local now -- seconds; what core.now() says while a spec of this file runs

-- Stands in for a bridge: gives the answers of `script` in order; a string is an error code.
local function owner_of(script)
  local owner = { requests = {}, pauses = {} }
  function owner:request(request)
    self.requests[#self.requests + 1] = request
    local given = table.remove(script, 1)
    if type(given) == "function" then return given() end
    if type(given) == "string" then return nil, "request: no luck", given end
    return given or error("a request that the script does not know")
  end
  function owner:pause(seconds)
    self.pauses[#self.pauses + 1] = seconds
    now = now + seconds
    return true
  end
  function owner.wait(_, waiter) return waiter:wait() end
  return owner
end

describe("gateway", function()
  local real_now = core.now

  before_each(function()
    now = 1000
    core.now = function() return now end -- luacheck: ignore
  end)

  after_each(function()
    core.now = real_now -- luacheck: ignore
  end)

  it("is one object for each token, however it is written", function()
    local token = fresh_token()
    local one = gateway(token)
    assert.equal(one, gateway(token))
    assert.equal(one, gateway("Bot " .. token))
    assert.equal(one, gateway.tokens[token])
    assert.are_not.equal(one, gateway(fresh_token()))
    assert.equal(token, one.token)
    assert.is_true(gateway.is(one))
    assert.is_false(gateway.is({}))
  end)

  it("R68 shows its token nowhere", function()
    local token = fresh_token()
    local one = gateway(token, 2)
    assert.equal("Gateway not fetched yet, 2 shards, token: (hidden)", tostring(one))
    for key, value in pairs(one) do
      error(("a dump shows %s = %s"):format(tostring(key), tostring(value)))
    end
    local count = 0
    for key, value in pairs(gateway.tokens) do
      count = count + 1
      assert.equal(count, key)
      assert.is_true(gateway.is(value))
      assert.is_nil(tostring(value):find(TOKEN, 1, true))
    end
    assert.is_true(count >= 1)
    assert.is_nil(tostring(gateway.tokens):find(TOKEN, 1, true))
    assert.is_nil(next(gateway.tokens))
    local _, message = pcall(function() one.token = "x" end)
    assert.is_nil(message:find(TOKEN, 1, true))
  end)

  it("refuses what is no token or number of shards", function()
    for _, wrong in ipairs { {}, 5, "", "  ", "Bot " } do
      assert.has_error(function() gateway(wrong) end)
    end
    assert.has_error(function() gateway() end)
    assert.has_error(function() gateway "" end, "gateway: token must be a string, got an empty one")
    assert.has_error(function() gateway(5) end, "gateway: token must be a string, got number")
    assert.has_error(function() gateway(fresh_token(), 0) end)
    assert.has_error(function() gateway(fresh_token(), 1.5) end)
  end)

  it("fetches once, keeps the answer, and fetches again when forced", function()
    local one = gateway(fresh_token())
    one:configure { api = "http://127.0.0.1:9/api/", version = 10 }
    local owner = owner_of { answer(200, body()), answer(200, body { shards = 4 }) }
    assert.is_nil(one.session_start_limit)
    assert.equal(one, one:fetch(false, owner))
    assert.equal("http://127.0.0.1:9/api/v10/gateway/bot", owner.requests[1].url)
    assert.equal("Bot " .. one.token, owner.requests[1].authorization)
    assert.equal("wss://gateway.test", one.url)
    assert.equal(3, one.shards)
    local limit = one.session_start_limit
    assert.equal(900, limit.remaining)
    assert.equal(2, limit.max_concurrency)
    assert.is_true(math.abs(limit.reset_at - os.time() - 60) <= 1)
    assert.equal("Gateway wss://gateway.test, 3 shards, token: (hidden)", tostring(one))
    assert.equal(one, one:fetch(false, owner))
    assert.equal(1, #owner.requests)
    one:fetch(true, owner)
    assert.equal(4, one.shards)
    now = now + 3601
    owner = owner_of { answer(200, body()) }
    one:fetch(false, owner)
    assert.equal(1, #owner.requests)
  end)

  it("prefers the number of shards that was given", function()
    local one = gateway(fresh_token(), 16)
    one:fetch(false, owner_of { answer(200, body()) })
    assert.equal(16, one.shards)
    assert.equal(16, one.chosen_shards)
    one.shards = 8
    assert.equal(8, one.shards)
  end)

  it("asks again once the session start limit has been reset", function()
    local one = gateway(fresh_token())
    local limit = { total = 1, remaining = 1, reset_after = 60000, max_concurrency = 1 }
    one:fetch(false, owner_of { answer(200, body { session_start_limit = limit }) })
    one.session_start_limit.reset_at = os.time() - 1
    local owner = owner_of { answer(200, body()) }
    one:fetch(false, owner)
    assert.equal(1, #owner.requests)
  end)

  it("keeps an answer whose limit has no reset, or that has no limit", function()
    for _, limit in ipairs {
      { total = 1, remaining = 1, reset_after = 0, max_concurrency = 1 }, core.null,
    } do
      local one = gateway(fresh_token())
      local owner = owner_of { answer(200, body { session_start_limit = limit }) }
      one:fetch(false, owner)
      one:fetch(false, owner)
      assert.equal(1, #owner.requests)
      assert.equal(limit == core.null, one.session_start_limit == nil)
    end
  end)

  it("asks again after an answer that cannot be used", function()
    for _, odd in ipairs {
      "null", "7", "<html>", '{"url":7,"shards":1}', '{"url":"http://x","shards":1}',
      '{"url":"wss://x","shards":0}', '{"url":"wss://x"}',
    } do
      local one, reports = gateway(fresh_token()), {}
      local owner = owner_of { answer(200, odd), answer(200, body()) }
      assert.equal(one, one:fetch(false, owner, function(data) reports[#reports + 1] = data end))
      assert.equal("EHTTP", reports[1].code)
      assert.truthy(reports[1].message:find("the answer cannot be used", 1, true))
    end
  end)

  it("R36 says when another engine may identify", function()
    local one = gateway(fresh_token())
    assert.equal(0, one:identify_in())
    one:note_identify()
    now = now + 2
    assert.equal(core.limits.IDENTIFY_WINDOW_MS / 1000 - 2, one:identify_in())
    now = now + 4
    assert.equal(0, one:identify_in())
  end)

  it("can be pointed elsewhere", function()
    local one = gateway(fresh_token())
    one:configure { url = "ws://127.0.0.1:5", shards = 6, api = "http://127.0.0.1:1/api" }
    assert.equal("ws://127.0.0.1:5", one.url)
    assert.equal(6, one.shards)
    assert.equal("http://127.0.0.1:1/api", one.api)
    one:configure {}
    assert.equal("ws://127.0.0.1:5", one.url)
    assert.equal("http://127.0.0.1:1/api", one.api)
    one.url = "ws://127.0.0.1:7"
    assert.equal("ws://127.0.0.1:7", one.url)
    one.api = "http://127.0.0.1:8/api/"
    assert.same({ "http://127.0.0.1:8/api" }, { one.api, one.url }) -- what it knew was another's
    one.shards, one.url = 5, "ws://127.0.0.1:9"
    assert.same({ 5, "ws://127.0.0.1:9" }, { one.shards, one.url })
    one.shards, one.url, one.api = nil, nil, nil
    assert.same({ os.getenv "DISCORD_API" or "https://discord.com/api" },
      { one.api, one.shards, one.url })
    for key, wrong in pairs { api = "x", url = "http://x", shards = 0, token = "t", other = 1 } do
      local fine, message = pcall(function() one[key] = wrong end)
      assert.is_false(fine)
      assert.truthy(message:find("gateway_spec.lua:%d+: gateway: .*" .. key), message)
    end
  end)

  it("stays where it was pointed when a cluster says nothing of another api", function()
    local one = gateway(fresh_token())
    one.api = "http://127.0.0.1:8/api"
    local moongate = require "moongate"
    assert.equal(one.api, moongate.cluster(one, { intents = 0 }).options.api)
    assert.equal(one.api, moongate.client { token = one.token, intents = 0 }.options.api)
    local other = moongate.client { token = one.token, intents = 0, api = "http://127.0.0.1:7" }
    assert.equal("http://127.0.0.1:7", other.options.api)
  end)

  describe("without a cluster", function()
    before_each(function() paper.install() end)
    after_each(function() paper.remove() end)

    it("asks with an engine of its own, which is closed afterwards", function()
      local one = gateway(fresh_token())
      one:configure { network = { user_agent = "mine" } }
      local done
      scheduler.spawn(function() done = one:fetch() end)
      local engine = paper.engines[1]
      assert.equal("mine", engine.options.user_agent)
      engine:note("http", -1, { id = engine:calls_of "request"[1][1].id, status = 200,
        body = body(), headers = {} })
      scheduler.step(0)
      assert.equal(one, done)
      assert.is_true(engine.closed)
    end)

    it("says why there is no engine, and closes it when something is raised", function()
      local one = gateway(fresh_token())
      paper.no_engine = "ESYSTEM"
      assert.same({ nil, "engine: no", "ESYSTEM" }, { one:fetch() })
      paper.no_engine = nil
      local decode, failed = core.decode, nil
      scheduler.spawn(function() failed = select(2, pcall(one.fetch, one)) end)
      local engine = paper.engines[1]
      core.decode = function() error("interrupted!", 0) end -- luacheck: ignore
      engine:note("http", -1, { id = engine:calls_of "request"[1][1].id, status = 200, body = "" })
      scheduler.step(0)
      core.decode = decode -- luacheck: ignore
      assert.equal("interrupted!", failed)
      assert.is_true(engine.closed)
    end)
  end)

  it("forgets what another api said", function()
    local one = gateway(fresh_token())
    one:configure { api = "http://127.0.0.1:1/api" }
    one:fetch(false, owner_of { answer(200, body()) })
    one:configure { api = "http://127.0.0.1:1/api" }
    assert.equal(3, one.shards)
    one:configure { api = "http://127.0.0.1:2/api" }
    assert.is_nil(one.shards)
    assert.is_nil(one.session_start_limit)
  end)

  it("R40 gives up at once when the token is refused, and says what to do", function()
    local one = gateway(fresh_token())
    local owner = owner_of { answer(401, '{"message":"401: Unauthorized","code":0}') }
    local done, message, code = one:fetch(false, owner)
    assert.is_nil(done)
    assert.equal("EAUTH", code)
    assert.truthy(message:find("the token was not accepted", 1, true))
    assert.is_nil(message:find(one.token, 1, true))
    assert.equal(1, #owner.requests)
  end)

  it("gives up on what asking again cannot mend", function()
    local one = gateway(fresh_token())
    local owner = owner_of { answer(404) }
    local done, message, code = one:fetch(false, owner)
    assert.is_nil(done)
    assert.equal("EHTTP", code)
    assert.truthy(message:find("HTTP 404; check api", 1, true))
  end)

  it("R38 honours Retry-After, from the header or the body", function()
    local one = gateway(fresh_token())
    local owner = owner_of {
      answer(429, "", { retry_after = "82721" }), answer(429, '{"retry_after":1.5}'), answer(429),
      answer(200, body()),
    }
    local reports = {}
    assert.equal(one, one:fetch(false, owner, function(data) reports[#reports + 1] = data end))
    assert.same({ 82721, 1.5, 5 }, owner.pauses)
    assert.equal(3, #reports)
    assert.equal("gateway", reports[1].phase)
    assert.equal(82721, reports[1].retry_in)
    assert.truthy(reports[1].message:find("HTTP 429", 1, true))
  end)

  it("R38 sends no second request before that, whoever asks", function()
    local one = gateway(fresh_token())
    local owner = owner_of { answer(429, "", { retry_after = "100" }) }
    function owner.pause() return nil, "cancelled", "ECLOSED" end
    assert.same({ nil, "cancelled", "ECLOSED" }, { one:fetch(false, owner) })
    now = now + 40
    local other = owner_of { answer(200, body()) }
    one:fetch(false, other)
    assert.same({ 60 }, other.pauses)
  end)

  it("R56 tries again after errors of the network and the server, ever more slowly", function()
    local one = gateway(fresh_token())
    local script = {}
    for i = 1, 12 do
      script[i] = i % 3 == 0 and answer(503) or i % 3 == 1 and "ERESOLVE" or answer(200, "{}")
    end
    script[#script + 1] = answer(200, body())
    local owner, reports = owner_of(script), {}
    assert.equal(one, one:fetch(false, owner, function(data) reports[#reports + 1] = data end))
    assert.equal(12, #reports)
    assert.equal("ERESOLVE", reports[1].code)
    assert.truthy(reports[2].message:find("no url", 1, true))
    assert.truthy(reports[3].message:find("HTTP 503", 1, true))
    assert.is_true(#owner.pauses <= 12)
    for i, report in ipairs(reports) do
      assert.is_true(report.retry_in >= 0 and report.retry_in <= math.min(2 ^ (i - 1), 60))
    end
  end)

  it("says what to check when no answer comes, and that it goes on asking", function()
    local one = gateway(fresh_token())
    local script = { "ERESOLVE", "ECONNECT", "ETIMEOUT", "ECERTIFICATE", "ETLS", "EBUSY" }
    script[#script + 1] = answer(200, body())
    local messages = {}
    one:fetch(false, owner_of(script), function(data) messages[#messages + 1] = data.message end)
    local begin = "fetch: GET " .. one.api .. ": no luck; "
    for i, remedy in ipairs {
      "check the host name and this machine's DNS, ",
      "check that the host is up and that a firewall lets you out, ",
      "check that the host is up and that a firewall lets you out, ",
      "check ca_file, this machine's clock, and that the port speaks TLS, ",
      "check ca_file, this machine's clock, and that the port speaks TLS, ", "",
    } do
      assert.equal(begin .. remedy .. "asking again", messages[i])
    end
  end)

  it("R38 has one request under way however many ask", function()
    local one = gateway(fresh_token())
    local gate = scheduler.waiter()
    local owner = owner_of { function() return gate:wait() end }
    local results = {}
    for i = 1, 5 do
      scheduler.spawn(function() results[i] = one:fetch(i == 3, owner) end)
    end
    assert.equal(1, #owner.requests)
    assert.same({}, results)
    gate:wake(answer(200, body()))
    scheduler.step(0)
    for i = 1, 5 do assert.equal(one, results[i]) end
    assert.equal(1, #owner.requests)
  end)

  it("tells everybody who waits why it failed", function()
    local one = gateway(fresh_token())
    local gate = scheduler.waiter()
    local owner = owner_of { function() return gate:wait() end }
    local codes = {}
    for i = 1, 3 do
      scheduler.spawn(function() codes[i] = select(3, one:fetch(false, owner)) end)
    end
    gate:wake(answer(401))
    scheduler.step(0)
    assert.same({ "EAUTH", "EAUTH", "EAUTH" }, codes)
    assert.equal(1, #owner.requests)
  end)

  it("goes on for the others when the one who asked is stopped", function()
    local one = gateway(fresh_token())
    local gate = scheduler.waiter()
    local first = owner_of { function() return gate:wait() end }
    local second = owner_of { answer(200, body()) }
    local codes, done = {}, nil
    scheduler.spawn(function() codes[1] = select(3, one:fetch(false, first)) end)
    scheduler.spawn(function() done = one:fetch(false, second) end)
    assert.equal(0, #second.requests)
    gate:cancel()
    scheduler.step(0)
    assert.same({ "ECLOSED" }, codes)
    assert.equal(one, done)
    assert.equal(1, #second.requests)
  end)

  it("R38 asks once more, without patience, and leaves others theirs", function()
    local one = gateway(fresh_token())
    local gate = scheduler.waiter()
    local first = owner_of { function() return gate:wait() end }
    local second = owner_of { answer(503), answer(200, body()) }
    local refreshed, done = "not yet", nil
    scheduler.spawn(function() refreshed = one:refresh(first) or false end)
    assert.is_nil(one:refresh(second)) -- one is under way
    scheduler.spawn(function() done = one:fetch(false, second) end)
    assert.equal(0, #second.requests)
    gate:wake(answer(503))
    scheduler.step(0)
    assert.is_false(refreshed)
    assert.equal(one, done)
    assert.equal(2, #second.requests)
    assert.is_true(one:refresh(owner_of { answer(200, body { shards = 9 }) }))
    assert.equal(9, one.shards)
    local refused = owner_of { answer(429, "", { retry_after = "50" }) }
    assert.is_falsy(one:refresh(refused))
    now = now + 49
    assert.is_falsy(one:refresh(refused))
    assert.equal(1, #refused.requests)
    now = now + 2
    assert.is_true(one:refresh(owner_of { answer(200, body()) }))
  end)

  it("R35 counts down what the gateway said, and what left while it was asked", function()
    local one = gateway(fresh_token())
    local limit = { total = 100, remaining = 50, reset_after = 60000, max_concurrency = 1 }
    one:fetch(false, owner_of { answer(200, body { session_start_limit = limit }) })
    one:connects_to "wss://gateway.test"
    assert.equal(50, one.session_start_limit.remaining)
    core.quota_learn(one.token, "wss://gateway.test/", { total = 100, remaining = 20 })
    assert.equal(20, one.session_start_limit.remaining)
    one:connects_to "wss://gateway.test" -- once more, which teaches nothing
    assert.equal(20, one.session_start_limit.remaining)
    one:fetch(true, owner_of { answer(200, body { session_start_limit = limit }) })
    assert.equal(50, one.session_start_limit.remaining)
    for _, odd in ipairs { { total = 7 }, { remaining = 3 }, { total = "9", remaining = 1.5 } } do
      local owner = owner_of { answer(200, body { session_start_limit = odd }) }
      assert.equal(one, one:fetch(true, owner))
      assert.equal(50, 100 - core.quota(one.token, "wss://gateway.test").used)
    end
  end)

  it("leaves nobody waiting when an error is raised in the middle", function()
    local one = gateway(fresh_token())
    local gate, failed = scheduler.waiter(), nil
    local first = owner_of { function()
      gate:wait()
      error("interrupted!", 0)
    end }
    local second, done = owner_of { answer(200, body()) }, nil
    scheduler.spawn(function() failed = select(2, pcall(one.fetch, one, false, first)) end)
    scheduler.spawn(function() done = one:fetch(false, second) end)
    gate:wake(true)
    scheduler.step(0)
    assert.equal("interrupted!", failed)
    assert.equal(one, done)
  end)
end)

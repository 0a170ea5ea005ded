-- sandbox_members_spec.lua: op 8 as the sandbox answers it: chunks, presences, limits, nonces, ids
-- that there are none of, and the intents without which nobody is told.  #sockets

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local GUILDS, MEMBERS, PRESENCES = 1, 1 << 1, 1 << 8

local discord, peer

local function start(options, intents)
  local all = { limits = false, guilds = 1 }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  peer = wire.ready(discord, { intents = intents or GUILDS | MEMBERS })
end

local function ask(more)
  local d = { guild_id = discord.guilds[1].id }
  for key, value in pairs(more) do d[key] = value end
  peer:send(8, d)
end

-- All chunks of the answer.
local function chunks_of(more)
  ask(more)
  local chunks = {}
  repeat
    chunks[#chunks + 1] = peer:expect(0, "GUILD_MEMBERS_CHUNK").d
    assert.equal(#chunks - 1, chunks[#chunks].chunk_index)
  until #chunks == chunks[1].chunk_count
  return chunks
end

-- Nothing was said to it: what comes next is the answer to a beat.
local function is_ignored(more)
  ask(more)
  peer:send(1)
  return peer:message().op == 11
end

describe("sandbox: members #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  for members, sizes in pairs { [0] = { 1 }, [3] = { 4 }, [999] = { 1000 }, [1000] = { 1000, 1 },
    [2500] = { 1000, 1000, 501 } } do
    it(("all of a guild of %d come in chunks of at most a thousand"):format(members + 1), function()
      start { members = members }
      local seen, counts, total = {}, {}, 0
      for at, chunk in ipairs(chunks_of { query = "", limit = 0, nonce = "all" }) do
        counts[at] = #chunk.members
        assert.equal(#sizes, chunk.chunk_count)
        assert.equal("all", chunk.nonce)
        assert.equal(discord.guilds[1].id, chunk.guild_id)
        assert.is_nil(chunk.not_found)
        assert.is_nil(chunk.presences)
        for _, member in ipairs(chunk.members) do
          assert.is_nil(seen[member.user.id])
          seen[member.user.id], total = true, total + 1
        end
      end
      assert.same(sizes, counts)
      assert.equal(members + 1, total)
      for _, person in ipairs(discord.people) do assert.is_true(seen[person.id]) end
    end)
  end

  it("the largest guild that there is has people with ids of their own", function()
    start { members = 10000, seed = 255 }
    assert.equal(11, #chunks_of { query = "", limit = 0 })
    local last = discord.people[10000]
    assert.is_true(#last.id >= 17 and math.tointeger(last.id) > 0)
    assert.equal(last.id, chunks_of { user_ids = last.id }[1].members[1].user.id)
  end)

  it("presences come for those of each chunk, with their intent, and only if asked for", function()
    start({ members = 1200 }, GUILDS | MEMBERS | PRESENCES)
    for _, chunk in ipairs(chunks_of { query = "", limit = 0, presences = true }) do
      assert.equal(#chunk.members, #chunk.presences)
      for at, presence in ipairs(chunk.presences) do
        assert.equal(chunk.members[at].user.id, presence.user.id)
        assert.equal("online", presence.status)
        assert.equal(chunk.guild_id, presence.guild_id)
        assert.is_table(presence.activities)
      end
    end
    assert.is_nil(chunks_of({ query = "", limit = 0, presences = false })[1].presences)
    assert.is_nil(chunks_of({ query = "", limit = 0, presences = 1 })[1].presences)
    discord:stop()
    start()
    assert.is_nil(chunks_of({ query = "", limit = 0, presences = true })[1].presences)
  end)

  it("a name's beginning finds a hundred at most, or as many as the limit says", function()
    start({ members = 2000 }, GUILDS)
    for limit, count in pairs { [1] = 1, [99] = 99, [100] = 100, [101] = 100, [0] = 100 } do
      local chunks = chunks_of { query = "GRA", limit = limit }
      assert.equal(1, #chunks)
      assert.equal(count, #chunks[1].members, limit)
      for _, member in ipairs(chunks[1].members) do
        assert.matches("^grace", member.user.username)
      end
    end
    assert.equal(0, #chunks_of({ query = "nobody", limit = 5 })[1].members)
  end)

  it("a hundred ids are looked at, the others are not", function()
    start({ members = 150 }, GUILDS)
    local ids = {}
    for at, person in ipairs(discord.people) do ids[at] = person.id end
    local chunk = chunks_of({ user_ids = ids })[1]
    assert.equal(100, #chunk.members)
    assert.same({}, chunk.not_found)
    assert.equal(ids[100], chunk.members[100].user.id)
  end)

  it("ids of nobody come back: short ones as numbers, those of Discord's length as strings",
    function()
      start({}, GUILDS)
      local person = discord.people[1].id
      ask { user_ids = { "1", person, "41771983423143937", 7, "0042", "9007199254740991" } }
      local text = peer:text()
      assert.matches('"not_found":%[1,"41771983423143937",7,42,9007199254740991%]', text)
      assert.equal(person, cjson.decode(text).d.members[1].user.id)
      local chunk = chunks_of({ user_ids = "41771983423143937" })[1]
      assert.same({ "41771983423143937" }, chunk.not_found)
    end)

  it("ids that are no numbers end the session with op 9", function()
    for _, id in ipairs { "ada", "", "-5", "12a" } do
      start({}, GUILDS)
      ask { user_ids = { discord.people[1].id, id } }
      assert.is_false(peer:expect(9).d)
      assert.equal(0, #discord:sessions())
      discord:stop()
    end
    start({}, GUILDS)
    ask { user_ids = "nobody" }
    assert.is_false(peer:expect(9).d)
  end)

  it("a nonce has at most 32 bytes; another one is none", function()
    start()
    for _, nonce in ipairs { "", "x", ("x"):rep(32), ("é"):rep(16) } do
      assert.equal(nonce, chunks_of({ query = "", limit = 0, nonce = nonce })[1].nonce)
    end
    for _, nonce in ipairs { ("x"):rep(33), ("é"):rep(17), 5, {}, true } do
      assert.is_nil(chunks_of({ query = "", limit = 0, nonce = nonce })[1].nonce)
    end
  end)

  it("everybody needs the intent for members: without it there is no answer", function()
    start({}, GUILDS)
    assert.is_true(is_ignored { query = "", limit = 0 })
    assert.is_true(is_ignored { query = "", limit = 3 })
    assert.equal(1, #chunks_of({ query = "ada", limit = 3 })[1].members)
    assert.equal(1, #chunks_of({ user_ids = discord.people[1].id })[1].members)
    local told = false
    for _, line in ipairs(discord:log()) do
      told = told or line.what == "ignored" and line.text:find "GUILD_MEMBERS" ~= nil
    end
    assert.is_true(told)
  end)

  it("a guild of somebody else gets no answer", function()
    start()
    assert.is_true(is_ignored { guild_id = "613425648685547541", query = "", limit = 0 })
  end)

  it("R61 everybody of one guild once in 30 s; other guilds, names and ids as often as one likes",
    function()
      start { guilds = 2, limits = true }
      local other = discord.guilds[2].id
      assert.is_not_nil(chunks_of { query = "", limit = 0 })
      assert.is_not_nil(chunks_of { query = "", limit = 0, guild_id = other })
      assert.is_not_nil(chunks_of { query = "", limit = 2 })
      assert.is_not_nil(chunks_of { query = "a", limit = 2 })
      assert.is_not_nil(chunks_of { user_ids = discord.people[1].id })
      for _, nonce in ipairs { "again", ("x"):rep(33) } do
        ask { query = "", limit = 0, nonce = nonce }
        local limited = peer:message()
        assert.equal("RATE_LIMITED", limited.t)
        assert.equal(8, limited.d.opcode)
        assert.is_true(limited.d.retry_after > 20 and limited.d.retry_after <= 30)
        assert.equal(discord.guilds[1].id, limited.d.meta.guild_id)
        assert.equal(nonce == "again" and nonce or nil, limited.d.meta.nonce)
      end
      discord:enforce_limits(false)
      assert.is_not_nil(chunks_of { query = "", limit = 0 })
    end)

  it("what is no request is closed with 4001", function()
    for _, d in ipairs { { limit = 0 }, { query = "" }, { query = "", limit = -1 },
      { query = "", limit = "0" }, { query = "", limit = 0, user_ids = { "1" } },
      { user_ids = { a = 1 } }, { query = 5, limit = 0 }, { query = "", limit = 0, guild_id = "x" },
    } do
      start()
      ask(d)
      assert.equal(4001, (peer:closed()), cjson.encode(d))
      discord:stop()
    end
  end)

  it("a guild is large above the threshold that Identify asks for", function()
    for threshold, large in pairs { [50] = true, [59] = true, [60] = false, [250] = false,
      [1] = true, [1000] = false } do
      discord = assert(sandbox.start { guilds = 1, members = 59 })
      peer = wire.connect(discord)
      peer:expect(10)
      peer:send(2, wire.identify_data(discord, { intents = 1, large_threshold = threshold }))
      assert.equal(large, peer:expect(0, "GUILD_CREATE").d.large, threshold)
      discord:stop()
    end
  end)
end)

-- commands_spec.lua: what the builders make of their arguments, what they refuse, and where the
-- methods of clusters and shards send it.

local commands = require "moongate.commands"
local core = require "moongate.core"

local GUILD = "613425648685547541"
local build = commands.builders

local function encoded(_, d)
  return core.encode(d)
end

local function d_of(_, d)
  return d
end

local function refused(fine, message)
  assert.is_false(fine)
  return message
end

describe("commands: presence", function()
  it("fills in what is left out", function()
    local op, d = build.presence()
    assert.equal("PRESENCE_UPDATE", op)
    assert.equal(core.null, d.since)
    assert.equal("online", d.status)
    assert.is_false(d.afk)
    assert.truthy(encoded(op, d):find('"activities":[]', 1, true))
  end)

  it("takes activities with types by name", function()
    local _, d = build.presence {
      status = "idle", afk = true, since = 5,
      activities = {
        { name = "chess" }, { name = "x", type = "watching" }, { name = "y", type = 5 },
      },
    }
    assert.equal(5, d.since)
    assert.same({ 0, 3, 5 }, { d.activities[1].type, d.activities[2].type, d.activities[3].type })
  end)

  it("leaves the user's table alone", function()
    local activity = { name = "x", type = "watching" }
    build.presence { activities = { activity } }
    assert.same({ name = "x", type = "watching" }, activity)
  end)

  it("refuses what Discord would", function()
    for _, row in ipairs {
      { { status = "away" }, 'status must be online, dnd, idle, invisible or offline, got "away"' },
      { { stats = "idle" }, "unknown field stats; there are: activities, afk, since, status" },
      { { afk = 1 }, "afk must be a boolean, got number" },
      { { since = "now" }, 'since must be a number, got "now"' },
      { { activities = "chess" }, 'activities must be a table, got "chess"' },
      { { activities = { name = "chess" } }, "activities must be a list of tables, such as" },
      { { activities = { "chess" } }, 'activities must be a list of tables, got "chess"' },
      { { activities = { {} } }, "activity name must be a string, got nil" },
      { { activities = { { name = "x", type = "dancing" } } }, "activity type must be a number" },
      { 5, "presence must be a table, got number" },
    } do
      local message = refused(pcall(build.presence, row[1]))
      assert.truthy(message:find("set_presence: " .. row[2], 1, true), message)
    end
  end)
end)

describe("commands: members", function()
  it("asks for all, for names, or for ids", function()
    local op, d = build.members(GUILD)
    assert.equal("REQUEST_GUILD_MEMBERS", op)
    assert.same({ guild_id = GUILD, query = "", limit = 0 }, d)
    d = d_of(build.members(GUILD, { query = "ad", limit = 10, presences = true, nonce = "n" }))
    assert.same({ guild_id = GUILD, query = "ad", limit = 10, presences = true, nonce = "n" }, d)
    d = d_of(build.members(613425648685547541, { user_ids = 81384788765712384 }))
    assert.equal(GUILD, d.guild_id)
    assert.is_nil(d.query)
    assert.truthy(core.encode(d):find('"user_ids":["81384788765712384"]', 1, true))
    d = d_of(build.members(GUILD, { user_ids = {} }))
    assert.truthy(core.encode(d):find('"user_ids":[]', 1, true))
  end)

  it("refuses ids that would hang the gateway, and what it would ignore", function()
    for _, row in ipairs {
      { "general", nil, 'guild_id must be an id (a string of digits), got "general"' },
      { -1, nil, "guild_id must be an id" },
      { 1.5, nil, "guild_id must be an id" },
      { 2 ^ 60, nil, "guild_id must be an id" },
      { nil, nil, "guild_id must be an id (a string of digits), got nil" },
      { GUILD, { user_ids = { "1", "x" } }, "user_ids[2] must be an id" },
      { GUILD, { user_ids = "1", query = "a" }, "query and user_ids exclude each other" },
      { GUILD, { nonce = ("n"):rep(33) }, "nonce has 33 bytes, at most 32" },
      { GUILD, { qery = "a" }, "unknown field qery" },
    } do
      local message = refused(pcall(build.members, row[1], row[2]))
      assert.truthy(message:find("request_members: " .. row[3], 1, true), message)
    end
  end)
end)

describe("commands: voice, sounds, channels", function()
  it("joins, moves and leaves", function()
    local op, d = build.voice_state(GUILD, "5", { self_deaf = true })
    assert.equal("VOICE_STATE_UPDATE", op)
    assert.same({ guild_id = GUILD, channel_id = "5", self_mute = false, self_deaf = true }, d)
    d = d_of(build.voice_state(GUILD))
    assert.equal(core.null, d.channel_id)
    d = d_of(build.voice_state(GUILD, { channel_id = 7, self_mute = true }))
    assert.equal("7", d.channel_id)
    assert.is_true(d.self_mute)
    refused(pcall(build.voice_state, GUILD, "lounge"))
    local message = refused(pcall(build.voice_state, GUILD, "5", { mute = true }))
    assert.truthy(message:find("unknown field mute; there are: channel_id, self_deaf", 1, true))
  end)

  it("asks for sounds of one or many guilds, and for channel info", function()
    local op, d = build.soundboard_sounds(GUILD)
    assert.equal("REQUEST_SOUNDBOARD_SOUNDS", op)
    assert.equal(('{"guild_ids":["%s"]}'):format(GUILD), core.encode(d))
    refused(pcall(build.soundboard_sounds, {}))
    op, d = build.channel_info(GUILD)
    assert.equal("REQUEST_CHANNEL_INFO", op)
    assert.equal("status", d.fields[1])
    assert.equal("voice_start_time", d.fields[2])
    d = d_of(build.channel_info(GUILD, {}))
    assert.truthy(core.encode(d):find('"fields":[]', 1, true))
    refused(pcall(build.channel_info, GUILD, { 5 }))
  end)
end)

describe("commands: methods", function()
  local function recorder(methods)
    local sent = {}
    methods.sent = sent
    function methods:send(...)
      self.sent[#self.sent + 1] = { ... }
      return true
    end
    return methods
  end

  it("of a shard end in its send", function()
    local one = commands.for_shard(recorder {})
    assert.is_true(one:set_presence { status = "dnd" })
    assert.is_true(one:request_members(GUILD))
    assert.is_true(one:update_voice_state(GUILD))
    assert.is_true(one:request_soundboard_sounds { GUILD })
    assert.is_true(one:request_channel_info(GUILD))
    local ops = {}
    for i, call in ipairs(one.sent) do ops[i] = core.opcodes[call[1]] end
    assert.same({ 3, 8, 4, 31, 43 }, ops)
  end)

  it("of a cluster find the shard, and tell all of them a presence", function()
    local shards = { a = recorder {}, b = recorder {} }
    local all
    local cluster = commands.for_cluster(recorder {
      shard_for = function(_, id)
        if id == "3" then return nil, "not here", "EUSAGE" end
        return id == "1" and shards.a or shards.b
      end,
      send_all = function(_, op, d) all = { op, d } return true end,
      remember_presence = function(self, d) self.presence = d end,
    })
    assert.is_true(cluster:set_presence { status = "dnd" })
    assert.equal("dnd", all[2].status)
    assert.equal("dnd", cluster.presence.status)
    cluster:request_members(GUILD)
    assert.equal(GUILD, cluster.sent[1][1])
    assert.equal("REQUEST_GUILD_MEMBERS", cluster.sent[1][2])
    assert.is_true(cluster:request_soundboard_sounds { "1", "2", "1" })
    assert.equal('{"guild_ids":["1","1"]}', core.encode(shards.a.sent[1][2]))
    assert.equal('{"guild_ids":["2"]}', core.encode(shards.b.sent[1][2]))
    assert.same({ nil, "not here", "EUSAGE" }, { cluster:request_soundboard_sounds { "1", "3" } })
    assert.equal(1, #shards.a.sent)
    function shards.a.send() return nil, "full", "EBUSY" end
    assert.same({ nil, "full", "EBUSY" }, { cluster:request_soundboard_sounds { "1", "2" } })
  end)

  it("complain at the line that called them", function()
    local one = commands.for_shard(recorder {})
    local _, message = pcall(function() one:request_members("x") end)
    assert.truthy(message:find("commands_spec.lua", 1, true), message)
    local _, other = pcall(function() one:set_presence { activities = { {} } } end)
    assert.truthy(other:find("commands_spec.lua", 1, true), other)
  end)
end)

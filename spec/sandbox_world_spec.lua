-- sandbox_world_spec.lua: the small world that a sandbox makes from its seed, and the events that
-- it completes around what a script has said, read on the wire with wire.lua.

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local ALL = 0x331ffff
local PRESENCES, GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 8, 1 << 9, 1 << 12

local discord

local function start(options)
  local all = { limits = false }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  return discord
end

-- The data of what is dispatched, as a session with all intents hears it.
local function listener()
  local peer = wire.ready(discord, { intents = ALL })
  return function(name, d, target)
    assert.equal(1, discord:dispatch(name, d, target))
    local event = peer:message()
    assert.equal(name, event.t)
    return event.d
  end
end

-- A list drops nulls, so people are compared by what they are called.
local function assert_person(person, user)
  assert.same({ person.id, person.username }, { user.id, user.username })
end

describe("sandbox, its world #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  it("is the same for the same seed, another for another", function()
    local function world(seed)
      start { seed = seed, guilds = 2, members = 10 }
      local text = {}
      for _, guild in ipairs(discord.guilds) do text[#text + 1] = guild.id end
      for _, person in ipairs(discord.people) do text[#text + 1] = person.id .. person.username end
      discord:stop()
      return text
    end
    local one = world(7)
    assert.equal(12, #one)
    assert.same(one, world(7))
    assert.not_same(one, world(8))
    local seen = {}
    for _, entry in ipairs(one) do
      assert.is_nil(seen[entry])
      seen[entry] = true
    end
  end)

  it("with a time that stands still, tells the same to the last byte, whatever is drawn", function()
    local function life(seed)
      start { seed = seed, time = 1700000000, limits = false, members = 20 }
      local peer = wire.ready(discord, { intents = ALL })
      local all = { peer.session }
      local function hear() all[#all + 1] = peer:text() end
      local function ask(method, path, body)
        local headers = wire.authorized(discord)
        headers["Content-Type"] = "application/json"
        all[#all + 1] = wire.request(discord, method, "/api/v10" .. path, headers,
          { body = cjson.encode(body) }).body
      end
      discord:split { 1, 30 }
      for _, name in ipairs { "MESSAGE_CREATE", "INTERACTION_CREATE", "GUILD_MEMBER_ADD",
        "VOICE_STATE_UPDATE", "CHANNEL_CREATE" } do
        discord:dispatch(name)
        hear()
        all[#all + 1] = peer.frames
      end
      local channel = "/channels/" .. discord.guilds[1].channel_id
      ask("POST", channel .. "/messages", { content = "x" })
      hear()
      peer:send(8, { guild_id = discord.guilds[1].id, query = "", limit = 0, presences = true })
      hear()
      discord:corrupt()
      discord:dispatch("X", { text = "damaged" })
      all[#all + 1] = peer:text()
      for _, line in ipairs(discord:log()) do
        if line.what ~= "request" then all[#all + 1] = line.what .. line.text end
      end
      discord:stop()
      return table.concat(all, "\n")
    end
    local one = life(7)
    assert.equal(one, life(7))
    assert.not_equal(one, life(8))
  end)

  it("has guilds with roles, channels and members", function()
    start { guilds = 1, members = 4 }
    local peer = wire.connect(discord)
    peer:expect(10)
    peer:send(2, wire.identify_data(discord, { intents = 1 | PRESENCES }))
    peer:expect(0, "READY")
    local guild = peer:message().d
    assert.equal(5, guild.member_count)
    assert.equal(5, #guild.members)
    assert.equal(4, #guild.presences)
    assert.equal(discord.people[1].id, guild.owner_id)
    local roles = {}
    for _, role in ipairs(guild.roles) do roles[role.id] = role.name end
    assert.equal("@everyone", roles[guild.id])
    for at, member in ipairs(guild.members) do
      for _, role in ipairs(member.roles) do assert.is_string(roles[role], at) end
      if at > 1 then assert_person(discord.people[at - 1], member.user) end
    end
    local kinds = {}
    for _, channel in ipairs(guild.channels) do
      kinds[channel.type] = (kinds[channel.type] or 0) + 1
      assert.is_nil(channel.guild_id)
    end
    assert.same({ [0] = 2, [2] = 1, [4] = 1 }, kinds)
    assert.equal(guild.channels[3].id, guild.channels[4].parent_id)
  end)

  it("tells of nobody but the bot without the intent for presences", function()
    start { guilds = 1 }
    local peer = wire.connect(discord)
    peer:expect(10)
    peer:send(2, wire.identify_data(discord))
    peer:expect(0, "READY")
    local guild = peer:message().d
    assert.equal(4, guild.member_count)
    assert.equal(1, #guild.members)
    assert.equal(0, #guild.presences)
  end)

  it("finds its people for op 8", function()
    start { guilds = 1, members = 20 }
    local peer = wire.ready(discord, { intents = ALL })
    local function ask(more)
      local d = { guild_id = discord.guilds[1].id, limit = 0 }
      for key, value in pairs(more) do d[key] = value end
      peer:send(8, d)
      return peer:expect(0, "GUILD_MEMBERS_CHUNK").d
    end
    assert.equal(21, #ask({ query = "" }).members)
    assert.equal(5, #ask({ query = "", limit = 5 }).members)
    assert.equal("grace2", ask({ query = "GRACE2", limit = 5 }).members[1].user.username)
    local chunk = ask { user_ids = { discord.people[20].id, "5", discord.user.id } }
    assert.equal(2, #chunk.members)
    assert.same({ 5 }, chunk.not_found)
  end)

  it("puts its first guild on shard 0, whatever the number of shards, and spreads the others",
    function()
      for seed = 1, 5 do
        start { seed = seed, guilds = 25 }
        for count = 1, 20 do
          for at = 1, 25 do
            assert.equal((at - 1) % count, (math.tointeger(discord.guilds[at].id) >> 22) % count)
          end
        end
        discord:stop()
      end
    end)

  describe("completes", function()
    it("one line to a whole message of a guild", function()
      start { guilds = 2 }
      local tell = listener()
      local d = tell("MESSAGE_CREATE", { content = "ping" })
      assert.equal("ping", d.content)
      assert.equal(discord.guilds[1].id, d.guild_id)
      assert.equal(discord.guilds[1].channel_id, d.channel_id)
      assert_person(discord.people[1], d.author)
      assert.equal(1, #d.member.roles)
      assert.equal(0, d.type)
      assert.equal(cjson.null, d.edited_timestamp)
      local later = tell("MESSAGE_CREATE", { content = "ping" })
      assert.is_true(math.tointeger(later.id) > math.tointeger(d.id))
      assert.is_true(math.abs((math.tointeger(d.id) >> 22) // 1000 + 1420070400 - os.time()) <= 2)
    end)

    it("around what is given, which wins at every depth", function()
      start { guilds = 2 }
      local tell = listener()
      local d = tell("MESSAGE_CREATE", { guild_id = discord.guilds[2].id, new_field = { 1 },
        author = { id = discord.people[2].id, username = "else" }, member = { nick = "Nick" },
        mentions = { { id = "5" } }, type = 7, edited_timestamp = "x", content = sandbox.null })
      assert.equal(discord.guilds[2].channel_id, d.channel_id)
      assert.equal("else", d.author.username)
      assert.equal("grace", d.author.global_name)
      assert.equal("0", d.author.discriminator)
      assert.equal("Nick", d.member.nick)
      assert.same({}, d.member.roles)
      assert.same({ { id = "5" } }, d.mentions)
      assert.same({ 1 }, d.new_field)
      assert.equal(7, d.type)
      assert.equal("x", d.edited_timestamp)
      assert.equal(cjson.null, d.content)
    end)

    it("nothing when it shall not, and nothing that it does not know", function()
      start {}
      local peer = wire.ready(discord, { intents = ALL })
      local function text(...)
        discord:dispatch(...)
        return peer:text():match '"d":(.*)}$'
      end
      assert.equal('{"content":"x"}', text("MESSAGE_CREATE", { content = "x" }, { exact = true }))
      assert.equal("null", text("MESSAGE_CREATE", nil, { exact = true }))
      assert.equal('{"content":"x"}', text("SOMETHING_NEW", { content = "x" }))
      assert.equal('"text"', text("MESSAGE_CREATE", "text"))
      assert.equal("[5]", text("MESSAGE_CREATE", { 5 }))
    end)

    it("what may be of both kinds as the kind that a session hears", function()
      start {}
      local guild = wire.ready(discord, { intents = GUILD_MESSAGES })
      local direct = wire.ready(discord, { intents = DIRECT_MESSAGES })
      assert.equal(2, discord:dispatch("MESSAGE_CREATE", { content = "x" }))
      assert.equal(discord.guilds[1].id, guild:message().d.guild_id)
      local d = direct:message().d
      assert.is_nil(d.guild_id)
      assert.is_nil(d.member)
      assert.equal(1, discord:dispatch("MESSAGE_CREATE", { channel_id = d.channel_id }))
      assert.equal(d.channel_id, direct:message().d.channel_id)
      assert.equal(1, discord:dispatch("MESSAGE_CREATE",
        { channel_id = discord.guilds[1].channel_id }))
      assert.equal(discord.guilds[1].id, guild:message().d.guild_id)
      assert.equal(1, discord:dispatch("MESSAGE_CREATE", { guild_id = sandbox.null }))
      assert.equal(cjson.null, direct:message().d.guild_id)
      assert.equal(1, discord:dispatch("MESSAGE_CREATE", {}, { dm = true }))
      assert.is_nil(direct:message().d.guild_id)
    end)

    it("without guilds, what is left: direct messages", function()
      start { guilds = 0, members = 0 }
      local d = listener()("MESSAGE_CREATE", { content = "x" })
      assert.is_nil(d.guild_id)
      assert.matches("^user%d+$", d.author.username)
    end)

    it("what comes behind a message", function()
      start {}
      local tell = listener()
      local message = tell "MESSAGE_CREATE"
      local d = tell("MESSAGE_UPDATE", { content = "new" })
      assert.equal(message.id, d.id)
      assert.matches("^%d+%-", d.edited_timestamp)
      assert_person(message.author, d.author)
      assert.same({ id = message.id, channel_id = message.channel_id,
        guild_id = message.guild_id }, tell "MESSAGE_DELETE")
      assert.same({ "5" }, tell("MESSAGE_DELETE_BULK", { ids = { "5" } }).ids)
      d = tell("MESSAGE_REACTION_ADD", { emoji = { name = "x" } })
      assert.equal(message.id, d.message_id)
      assert.same({ id = cjson.null, name = "x" }, d.emoji)
      assert_person(discord.people[1], d.member.user)
      assert.is_nil(tell("MESSAGE_REACTION_REMOVE").member)
    end)

    it("people who come, change, type and go", function()
      start { guilds = 1 }
      local tell = listener()
      local guild, person = discord.guilds[1].id, discord.people[1]
      local d = tell "GUILD_MEMBER_ADD"
      assert.equal(guild, d.guild_id)
      assert.not_equal(person.id, d.user.id)
      d = tell("GUILD_MEMBER_UPDATE", { nick = "x" })
      assert_person(person, d.user)
      assert.equal("x", d.nick)
      d = tell "GUILD_MEMBER_REMOVE"
      assert.equal(guild, d.guild_id)
      assert_person(person, d.user)
      d = tell "TYPING_START"
      assert.equal(person.id, d.user_id)
      assert.is_true(math.abs(d.timestamp - os.time()) <= 2)
      d = tell("PRESENCE_UPDATE", { status = "idle" })
      assert.same({ id = person.id }, d.user)
      assert.equal("idle", d.status)
      assert.equal("desktop", next(d.client_status))
      d = tell "VOICE_STATE_UPDATE"
      assert.equal(discord.guilds[1].voice_channel_id, d.channel_id)
      assert.equal(discord.user.id, tell("USER_UPDATE", { avatar = "a" }).id)
    end)

    it("guilds, channels and roles", function()
      start { guilds = 1 }
      local tell = listener()
      local d = tell("GUILD_CREATE", { name = "New" })
      assert.not_equal(discord.guilds[1].id, d.id)
      assert.equal("New", d.name)
      assert.equal(4, #d.channels)
      d = tell("CHANNEL_CREATE", { name = "here" })
      assert.equal("here", d.name)
      assert.equal(0, d.type)
      assert.equal(discord.guilds[1].id, d.guild_id)
      d = tell("CHANNEL_UPDATE", { id = discord.guilds[1].voice_channel_id })
      assert.equal(2, d.type)
      d = tell("GUILD_ROLE_CREATE", { role = { color = 5 } })
      assert.equal(5, d.role.color)
      assert.equal("new role", d.role.name)
    end)

    it("interactions of every type, in guilds and directly", function()
      start { guilds = 1 }
      local tell = listener()
      local d = tell "INTERACTION_CREATE"
      assert.equal(2, d.type)
      assert.equal("ping", d.data.name)
      assert_person(discord.people[1], d.member.user)
      assert.is_string(d.member.permissions)
      assert.is_nil(d.user)
      assert.equal(discord.guilds[1].id, d.guild.id)
      assert.equal("general", d.channel.name)
      d = tell("INTERACTION_CREATE", { type = 3, data = { custom_id = "mine" } })
      assert.same({ custom_id = "mine", component_type = 2, id = 1 }, d.data)
      assert.equal(discord.user.id, d.message.author.id)
      assert.is_table(tell("INTERACTION_CREATE", { type = 5 }).data.components)
      assert.is_nil(tell("INTERACTION_CREATE", { type = 1 }).data)
      d = tell("INTERACTION_CREATE", {}, { dm = true })
      assert_person(discord.people[1], d.user)
      assert.is_nil(d.member)
      assert.is_nil(d.guild_id)
      assert.equal(1, d.channel.type)
    end)

    it("a guild of megabytes", function()
      start { guilds = 1 }
      local members = {}
      for at = 1, 20000 do
        members[at] = { user = { id = tostring(at), username = 'x{}[],"' .. at } }
      end
      local d = listener()("GUILD_CREATE", { members = members, large = true })
      assert.equal(20000, #d.members)
      assert.equal('x{}[],"20000', d.members[20000].user.username)
      assert.is_true(d.large)
      assert.equal(300, d.afk_timeout)
    end)
  end)
end)

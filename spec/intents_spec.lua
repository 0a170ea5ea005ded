-- intents_spec.lua: names, bits and sums of intents.

local core = require("virtual").core()
local intents = require "moongate.intents"

local function complaint(fn)
  local fine, message = pcall(fn)
  assert.is_false(fine)
  return message
end

describe("intents: numbers", function()
  it("are those of the documentation", function()
    local expected = {
      guilds = 1, guild_members = 2, guild_moderation = 4, guild_expressions = 8,
      guild_integrations = 16, guild_webhooks = 32, guild_invites = 64, guild_voice_states = 128,
      guild_presences = 256, guild_messages = 512, guild_message_reactions = 1024,
      guild_message_typing = 2048, direct_messages = 4096, direct_message_reactions = 8192,
      direct_message_typing = 16384, message_content = 32768, guild_scheduled_events = 65536,
      auto_moderation_configuration = 1048576, auto_moderation_execution = 2097152,
      guild_message_polls = 16777216, direct_message_polls = 33554432,
    }
    for name, value in pairs(expected) do
      assert.equal(value, intents[name])
      assert.equal("integer", math.type(intents[name]))
    end
    local count = 0
    for _ in pairs(expected) do count = count + 1 end
    assert.equal(#core.intents, count)
  end)

  it("of the groups are those of the documentation", function()
    assert.equal(53608447, intents.all)
    assert.equal(33026, intents.privileged)
    assert.equal(53575421, intents.default)
  end)

  it("are told by pairs, in order, by names() and by tostring", function()
    local names, sum = {}, 0
    for name, number in pairs(intents) do
      assert.equal(intents[name], number)
      names[#names + 1], sum = name, sum + number
    end
    assert.equal(intents.all, sum)
    assert.same(intents.names(), names)
    assert.equal("Intents: " .. table.concat(names, ", "), tostring(intents))
  end)

  it("have any style, and old names", function()
    assert.equal(512, intents.GUILD_MESSAGES)
    assert.equal(512, intents.guildMessages)
    assert.equal(512, intents.GuildMessages)
    assert.equal(4, intents.guild_bans)
    assert.equal(8, intents.guild_emojis_and_stickers)
    assert.equal(8, intents.guild_emojis)
    assert.equal(8, intents.GUILD_EMOJIS_AND_STICKERS)
  end)

  it("of misspelt names raise with what was meant", function()
    assert.matches('intents_spec.lua:%d+: intents: "guild_mesages" is no intent; did you mean '
      .. '"guild_messages"%?', complaint(function() return intents.guild_mesages end))
    assert.matches('did you mean "privileged"', complaint(function() return intents.privilged end))
    assert.matches("there are guilds, guild_members, .*, all, default, privileged",
      complaint(function() return intents.xyzzy end))
    assert.is_nil(intents._private)
    assert.is_nil(intents[1])
  end)
end)

describe("intents: sums", function()
  it("take a list, or names one by one", function()
    assert.equal(37377, intents { "guilds", "guild_messages", "direct_messages",
      "message_content" })
    assert.equal(513, intents("guilds", "guild_messages"))
    assert.equal(1, intents("guilds"))
    assert.equal(0, intents {})
    assert.equal(1, intents { "guilds", 0 })
    assert.has_error(function() intents({ "guilds" }, "guild_messages") end)
    assert.has_error(function() intents { 2 ^ 53 } end)
    assert.equal("integer", math.type(intents { "guilds" }))
  end)

  it("count nothing twice, whatever its name", function()
    assert.equal(1, intents { "guilds", "guilds", "GUILDS" })
    assert.equal(12, intents { "guild_bans", "guild_moderation", "guild_emojis",
      "guild_expressions" })
    assert.equal(intents.all, intents { "default", "all", "privileged" })
  end)

  it("take numbers among the names", function()
    assert.equal(513, intents { intents.guilds, 512 })
    assert.equal(513, intents { 513, "guilds" })
    assert.equal(1 << 40 | 1, intents { 1 << 40, "guilds" })
    assert.equal(32768 | intents.default, intents { "default", "message_content" })
  end)

  it("complain about all that is wrong at once", function()
    local message = complaint(function()
      intents { "guild", "guilds", "message_contents", true, -1, 1.5, {} }
    end)
    assert.matches("intents_spec.lua:%d+: intents:", message)
    assert.matches('"guild" is no intent; did you mean "guilds"%?', message)
    assert.matches('"message_contents" is no intent; did you mean "message_content"%?', message)
    assert.matches("a boolean is no intent; give names", message)
    assert.matches("%-1 is no intent", message)
    assert.matches("1.5 is no intent", message)
    assert.matches("a table is no intent", message)
    assert.not_matches('"guilds" is no intent', message)
  end)

  it("take no named elements", function()
    assert.matches('guilds = ... is no list element; write { "guilds", ... }',
      complaint(function() intents { guilds = true } end), 1, true)
  end)

  it("come as nil and a list of complaints from parse", function()
    assert.equal(513, intents.parse { "guilds", "guild_messages" })
    assert.equal(513, intents.parse(513))
    assert.equal(1, intents.parse("guilds"))
    local bits, wrong = intents.parse { "gilds", "guildz" }
    assert.is_nil(bits)
    assert.equal(2, #wrong)
    bits, wrong = intents.parse { "zzz", "aaa" }
    assert.is_nil(bits)
    assert(wrong[1] < wrong[2]) -- in one order, whatever the table's
  end)
end)

describe("intents: questions", function()
  it("has", function()
    assert.is_true(intents.has(513, "guilds"))
    assert.is_true(intents.has(513, "guildMessages"))
    assert.is_false(intents.has(513, "guild_members"))
    assert.is_false(intents.has(513, "xyzzy"))
    assert.is_true(intents.has(4, "guild_bans"))
  end)

  it("names, in order of bits", function()
    assert.same({ "guilds", "guild_messages" }, intents.names(513))
    assert.same({}, intents.names(0))
    assert.same({ "guilds" }, intents.names(1))
    assert.same({ "bit 18", "direct_message_polls" }, intents.names(1 << 18 | 1 << 25))
  end)

  it("privileged names", function()
    assert.same({ "guild_members", "guild_presences", "message_content" },
      intents.privileged_names(intents.all))
    assert.same({}, intents.privileged_names(intents.default))
  end)
end)

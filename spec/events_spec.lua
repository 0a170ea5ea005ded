-- events_spec.lua: names of events, what they need, and what a misspelt one may have meant.

local virtual = require "virtual"
virtual.core()
local events = require "moongate.events"
local intents = require "moongate.intents"

describe("events: the table", function()
  it("knows every dispatch of the documentation", function()
    local count = 0
    for name, list in pairs(events.dispatches) do
      count = count + 1
      assert.matches("^[%u_]+$", name)
      for _, intent in ipairs(list) do assert.equal("number", type(intents[intent])) end
    end
    assert.equal(79, count)
  end)

  it("needs exactly the documented intents", function()
    local expected = {
      READY = {}, RESUMED = {}, INTERACTION_CREATE = {}, VOICE_SERVER_UPDATE = {},
      GUILD_MEMBERS_CHUNK = {}, USER_UPDATE = {}, RATE_LIMITED = {}, CHANNEL_INFO = {},
      GUILD_CREATE = { "guilds" }, CHANNEL_UPDATE = { "guilds" }, THREAD_LIST_SYNC = { "guilds" },
      CHANNEL_PINS_UPDATE = { "guilds", "direct_messages" },
      THREAD_MEMBERS_UPDATE = { "guilds", "guild_members" },
      GUILD_MEMBER_ADD = { "guild_members" }, GUILD_BAN_ADD = { "guild_moderation" },
      GUILD_EMOJIS_UPDATE = { "guild_expressions" },
      GUILD_SOUNDBOARD_SOUNDS_UPDATE = { "guild_expressions" }, SOUNDBOARD_SOUNDS = {},
      INTEGRATION_DELETE = { "guild_integrations" }, WEBHOOKS_UPDATE = { "guild_webhooks" },
      INVITE_CREATE = { "guild_invites" }, VOICE_STATE_UPDATE = { "guild_voice_states" },
      PRESENCE_UPDATE = { "guild_presences" },
      MESSAGE_CREATE = { "guild_messages", "direct_messages" },
      MESSAGE_DELETE_BULK = { "guild_messages" },
      MESSAGE_REACTION_REMOVE_EMOJI = { "guild_message_reactions", "direct_message_reactions" },
      TYPING_START = { "guild_message_typing", "direct_message_typing" },
      GUILD_SCHEDULED_EVENT_USER_ADD = { "guild_scheduled_events" },
      AUTO_MODERATION_RULE_CREATE = { "auto_moderation_configuration" },
      AUTO_MODERATION_ACTION_EXECUTION = { "auto_moderation_execution" },
      MESSAGE_POLL_VOTE_ADD = { "guild_message_polls", "direct_message_polls" },
    }
    for name, list in pairs(expected) do assert.same(list, events.dispatches[name], name) end
  end)

  it("has an event for every intent but message_content", function()
    local needed = {}
    for _, list in pairs(events.dispatches) do
      for _, intent in ipairs(list) do needed[intent] = true end
    end
    for _, row in ipairs(package.loaded["moongate.core"].intents) do
      assert.equal(row.name ~= "message_content", needed[row.name] == true, row.name)
    end
  end)

  it("is at hand by name", function()
    assert.same({ "guilds" }, events.GUILD_CREATE)
    assert.is_nil(events.NO_SUCH_EVENT)
  end)

  it("keeps moongate's own events apart from the dispatches", function()
    local count = 0
    for name, own in pairs(events.own) do
      assert.is_true(own)
      count = count + 1
      assert.is_nil(events.dispatches[name:upper()])
      assert.equal(name, events.canonical(name))
      assert.equal(name, events.canonical(name:upper()))
    end
    assert.equal(15, count)
  end)
end)

describe("events: canonical", function()
  it("knows a name in every style", function()
    local styles = {
      MESSAGE_CREATE = { "MESSAGE_CREATE", "message_create", "messageCreate", "MessageCreate",
        "message-create", "Message Create", "message.create", "messagecreate", "MESSAGECREATE" },
      READY = { "ready", "Ready", "READY" }, RESUMED = { "resumed" },
      GUILD_SOUNDBOARD_SOUNDS_UPDATE = { "guildSoundboardSoundsUpdate" },
      close = { "close", "CLOSE", "Close" }, ["*"] = { "*" },
    }
    for name, list in pairs(styles) do
      for _, style in ipairs(list) do assert.equal(name, events.canonical(style)) end
    end
  end)

  it("finds every known name again from camelCase", function()
    for name in pairs(events.dispatches) do
      local camel = name:lower():gsub("_(%a)", string.upper)
      assert.equal(name, events.canonical(camel))
      assert.equal(name, events.canonical(name))
    end
  end)

  it("spells unknown names out in capitals", function()
    for name, canonical in pairs {
      guildFooAdd = "GUILD_FOO_ADD", GuildFooAdd = "GUILD_FOO_ADD", guild_foo_add = "GUILD_FOO_ADD",
      GUILD_FOO_ADD = "GUILD_FOO_ADD", ["guild-foo add"] = "GUILD_FOO_ADD",
      newHTTPEvent = "NEW_HTTP_EVENT", step2Done = "STEP2_DONE", ["my:event"] = "MY:EVENT",
      _PRIVATE = "_PRIVATE", X = "X", x = "X",
    } do
      assert.equal(canonical, events.canonical(name))
    end
  end)

  it("gives nil for what can be no name", function()
    for _, bad in ipairs { "", 5, true, {}, ("x"):rep(65) } do
      assert.is_nil(events.canonical(bad))
    end
    assert.is_nil(events.canonical(nil))
    assert.equal(("X"):rep(64), events.canonical(("x"):rep(64)))
  end)

  it("remembers no more than so many spellings", function()
    local function ask(from, to)
      for i = from, to do events.canonical("unknown" .. i) end
    end
    ask(1, 2000)
    local before = virtual.kept_bytes()
    ask(2001, 20000)
    assert(virtual.kept_bytes() - before < 100000)
    assert.equal("MESSAGE_CREATE", events.canonical("messageCreate"))
  end)
end)

describe("events: suggest", function()
  it("says what a misspelt name was meant to be", function()
    for name, meant in pairs {
      mesageCreate = "MESSAGE_CREATE", MESSAGE_CRAETE = "MESSAGE_CREATE", raedy = "READY",
      guild_member_joined = nil, GUILD_MEMBER_ADDED = "GUILD_MEMBER_ADD",
      messageReaction = "MESSAGE_REACTION_ADD", erorr = "error", disconect = "disconnect",
    } do
      assert.equal(meant, events.suggest(name))
    end
  end)

  it("knows what other clients call them", function()
    assert.equal("GUILD_MEMBER_ADD", events.suggest("memberJoin"))
    assert.equal("GUILD_MEMBER_ADD", events.suggest("member_join"))
    assert.equal("READY", events.suggest("shardReady"))
    assert.equal("*", events.suggest("raw"))
  end)

  it("says nothing about known names and about those like no other", function()
    for _, name in ipairs { "messageCreate", "close", "*", "my_event_of_quite_another_kind", "",
      "xy" } do
      assert.is_nil(events.suggest(name))
    end
    assert.is_nil(events.suggest(5))
  end)
end)

describe("events: missing_intent", function()
  it("names the intents by one of which an event would come", function()
    assert.same({ "guild_messages", "direct_messages" },
      events.missing_intent("messageCreate", intents.guilds))
    assert.same({ "guild_members" }, events.missing_intent("GUILD_MEMBER_ADD", intents.default))
  end)

  it("is nil when one of them is there", function()
    assert.is_nil(events.missing_intent("MESSAGE_CREATE", intents.direct_messages))
    assert.is_nil(events.missing_intent("MESSAGE_CREATE", intents.all))
  end)

  it("is nil for what always comes and for what is unknown", function()
    assert.is_nil(events.missing_intent("READY", 0))
    assert.is_nil(events.missing_intent("NEVER_HEARD_OF", 0))
    assert.is_nil(events.missing_intent("close", 0))
    assert.is_nil(events.missing_intent("*", 0))
    assert.is_nil(events.missing_intent("", 0))
  end)

  it("says when an event comes all the same about the bot itself", function()
    assert.same({ { "guild_members" }, true }, { events.missing_intent("GUILD_MEMBER_UPDATE", 1) })
    assert.is_nil((select(2, events.missing_intent("GUILD_MEMBER_ADD", 1))))
  end)

  it("gives a list that is the caller's", function()
    events.missing_intent("MESSAGE_CREATE", 0)[1] = "spoilt"
    assert.equal("guild_messages", events.missing_intent("MESSAGE_CREATE", 0)[1])
  end)
end)

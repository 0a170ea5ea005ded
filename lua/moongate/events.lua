-- events.lua: the names of events. Which dispatch needs which intent, what a name means however it
-- is spelt, and what a misspelt one may have meant. Called by the emitter, by options, and by users
-- as moongate.events. Data and pure functions.

local spelling = require "moongate.spelling"

local events = {}

-- Intents by any one of which the events come; "" for those that always come. From the gateway
-- documentation's lists of intents and of receive events.
local by_intents = {
  { "", [[READY RESUMED RATE_LIMITED APPLICATION_COMMAND_PERMISSIONS_UPDATE CHANNEL_INFO
    ENTITLEMENT_CREATE ENTITLEMENT_UPDATE ENTITLEMENT_DELETE GUILD_MEMBERS_CHUNK
    INTERACTION_CREATE SOUNDBOARD_SOUNDS SUBSCRIPTION_CREATE SUBSCRIPTION_UPDATE
    SUBSCRIPTION_DELETE USER_UPDATE VOICE_SERVER_UPDATE]] },
  { "guilds", [[GUILD_CREATE GUILD_UPDATE GUILD_DELETE GUILD_ROLE_CREATE GUILD_ROLE_UPDATE
    GUILD_ROLE_DELETE CHANNEL_CREATE CHANNEL_UPDATE CHANNEL_DELETE THREAD_CREATE THREAD_UPDATE
    THREAD_DELETE THREAD_LIST_SYNC THREAD_MEMBER_UPDATE STAGE_INSTANCE_CREATE
    STAGE_INSTANCE_UPDATE STAGE_INSTANCE_DELETE VOICE_CHANNEL_STATUS_UPDATE
    VOICE_CHANNEL_START_TIME_UPDATE]] },
  { "guilds direct_messages", "CHANNEL_PINS_UPDATE" },
  { "guilds guild_members", "THREAD_MEMBERS_UPDATE" },
  { "guild_members", "GUILD_MEMBER_ADD GUILD_MEMBER_UPDATE GUILD_MEMBER_REMOVE" },
  { "guild_moderation", "GUILD_AUDIT_LOG_ENTRY_CREATE GUILD_BAN_ADD GUILD_BAN_REMOVE" },
  { "guild_expressions", [[GUILD_EMOJIS_UPDATE GUILD_STICKERS_UPDATE
    GUILD_SOUNDBOARD_SOUND_CREATE GUILD_SOUNDBOARD_SOUND_UPDATE GUILD_SOUNDBOARD_SOUND_DELETE
    GUILD_SOUNDBOARD_SOUNDS_UPDATE]] },
  { "guild_integrations", [[GUILD_INTEGRATIONS_UPDATE INTEGRATION_CREATE INTEGRATION_UPDATE
    INTEGRATION_DELETE]] },
  { "guild_webhooks", "WEBHOOKS_UPDATE" },
  { "guild_invites", "INVITE_CREATE INVITE_DELETE" },
  { "guild_voice_states", "VOICE_STATE_UPDATE VOICE_CHANNEL_EFFECT_SEND" },
  { "guild_presences", "PRESENCE_UPDATE" },
  { "guild_messages direct_messages", "MESSAGE_CREATE MESSAGE_UPDATE MESSAGE_DELETE" },
  { "guild_messages", "MESSAGE_DELETE_BULK" },
  { "guild_message_reactions direct_message_reactions", [[MESSAGE_REACTION_ADD
    MESSAGE_REACTION_REMOVE MESSAGE_REACTION_REMOVE_ALL MESSAGE_REACTION_REMOVE_EMOJI]] },
  { "guild_message_typing direct_message_typing", "TYPING_START" },
  { "guild_scheduled_events", [[GUILD_SCHEDULED_EVENT_CREATE GUILD_SCHEDULED_EVENT_UPDATE
    GUILD_SCHEDULED_EVENT_DELETE GUILD_SCHEDULED_EVENT_USER_ADD
    GUILD_SCHEDULED_EVENT_USER_REMOVE]] },
  { "auto_moderation_configuration", [[AUTO_MODERATION_RULE_CREATE AUTO_MODERATION_RULE_UPDATE
    AUTO_MODERATION_RULE_DELETE]] },
  { "auto_moderation_execution", "AUTO_MODERATION_ACTION_EXECUTION" },
  { "guild_message_polls direct_message_polls", [[MESSAGE_POLL_VOTE_ADD
    MESSAGE_POLL_VOTE_REMOVE]] },
}

-- These come without their intent as well, but only about the bot itself.
local also_about_itself = { GUILD_MEMBER_UPDATE = true }

-- moongate's own events. None of them is a dispatch.
local own_names = [[open close error connect disconnect send receive state fatal exit hold lost gap
  blocked log]]

-- What other Lua and JavaScript clients call an event of another name here.
local habits = {
  memberJoin = "GUILD_MEMBER_ADD", memberLeave = "GUILD_MEMBER_REMOVE",
  memberUpdate = "GUILD_MEMBER_UPDATE", reactionAdd = "MESSAGE_REACTION_ADD",
  reactionRemove = "MESSAGE_REACTION_REMOVE", userBan = "GUILD_BAN_ADD",
  userUnban = "GUILD_BAN_REMOVE", pinsUpdate = "CHANNEL_PINS_UPDATE", raw = "*",
  shardReady = "READY", shardResumed = "RESUMED", shardDisconnect = "close",
  message = "MESSAGE_CREATE", interaction = "INTERACTION_CREATE",
  voiceConnect = "VOICE_STATE_UPDATE", clientReady = "READY",
}

local bare = spelling.bare

events.dispatches = {} -- canonical name -> list of intents by one of which it comes; empty: always
events.own = {} -- moongate's own names -> true

local known = {} -- bare name -> canonical name
local all_names = {} -- for suggestions, in one order for ever

for _, row in ipairs(by_intents) do
  for name in row[2]:gmatch("%S+") do
    local list = {}
    for intent in row[1]:gmatch("%S+") do list[#list + 1] = intent end
    events.dispatches[name] = list
    known[bare(name)] = name
    all_names[#all_names + 1] = name
  end
end
for name in own_names:gmatch("%S+") do
  events.own[name] = true
  known[bare(name)] = name
  all_names[#all_names + 1] = name
end
table.sort(all_names)

-- ---- One name for every style -------------------------------------------------------------------

local CACHE_MAX = 512 -- spellings; a program has some dozens, and unknown ones may come for ever

local cache, cached = {}, 0

-- Unknown names: "guildFooAdd", "GuildFooAdd", "guild-foo-add" are GUILD_FOO_ADD as well.
local function spell_out(name)
  local words = name:gsub("[%s%-%.]+", "_")
  if words:find("%l") then
    words = words:gsub("([%l%d])(%u)", "%1_%2"):gsub("(%u)(%u%l)", "%1_%2")
  end
  return words:upper()
end

--- The one name of an event however it is written: "messageCreate", "message_create" and
-- "MESSAGE_CREATE" give "MESSAGE_CREATE"; moongate's own names are lower case ("close"). Unknown
-- names are legal. Nil for what can be no event name: not a string, empty, over 64 bytes.
function events.canonical(name)
  local found = cache[name]
  if found then return found end
  if type(name) ~= "string" or name == "" or #name > 64 then return nil end
  found = name == "*" and "*" or known[bare(name)] or spell_out(name)
  if cached >= CACHE_MAX then cache, cached = {}, 0 end
  cache[name], cached = found, cached + 1
  return found
end

-- ---- Did you mean -------------------------------------------------------------------------------

--- The canonical name of a known event that an unknown one was probably meant to be; nil when the
-- name is known, or like no other. For tools: unknown names are legal everywhere.
function events.suggest(name)
  if type(name) ~= "string" or name == "*" or known[bare(name)] then return nil end
  for habit, meant in pairs(habits) do
    if bare(habit) == bare(name) then return meant end
  end
  return spelling.nearest(name, all_names)
end

-- ---- Intents ------------------------------------------------------------------------------------

--- What keeps an event from coming with these intents (an integer): the list of intents by one of
-- which it would come, or nil when nothing does or the event is unknown. A second value, true, says
-- that it comes nevertheless when it is about the bot itself.
function events.missing_intent(name, bits)
  local canonical = events.canonical(name)
  local wanted = canonical and events.dispatches[canonical]
  if not wanted or #wanted == 0 then return nil end
  local intents = require "moongate.intents"
  for _, intent in ipairs(wanted) do
    if intents.has(bits, intent) then return nil end
  end
  local list = {}
  for i, intent in ipairs(wanted) do list[i] = intent end
  return list, also_about_itself[canonical]
end

-- moongate.events.MESSAGE_CREATE is its list of intents; pairs(moongate.events) goes over all.
return setmetatable(events, {
  __name = "moongate.events", __index = events.dispatches,
  __pairs = function() return pairs(events.dispatches) end,
})

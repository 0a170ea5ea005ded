---@meta _
-- Made by `make meta` (spec/annotate.lua); for editors, never loaded at run time.

--- An event of Discord's; other styles of its name will do.
---@alias moongate.Dispatch
---| "APPLICATION_COMMAND_PERMISSIONS_UPDATE" # with any intents
---| "applicationCommandPermissionsUpdate" # APPLICATION_COMMAND_PERMISSIONS_UPDATE
---| "AUTO_MODERATION_ACTION_EXECUTION" # with auto_moderation_execution
---| "autoModerationActionExecution" # AUTO_MODERATION_ACTION_EXECUTION
---| "AUTO_MODERATION_RULE_CREATE" # with auto_moderation_configuration
---| "autoModerationRuleCreate" # AUTO_MODERATION_RULE_CREATE
---| "AUTO_MODERATION_RULE_DELETE" # with auto_moderation_configuration
---| "autoModerationRuleDelete" # AUTO_MODERATION_RULE_DELETE
---| "AUTO_MODERATION_RULE_UPDATE" # with auto_moderation_configuration
---| "autoModerationRuleUpdate" # AUTO_MODERATION_RULE_UPDATE
---| "CHANNEL_CREATE" # with guilds
---| "channelCreate" # CHANNEL_CREATE
---| "CHANNEL_DELETE" # with guilds
---| "channelDelete" # CHANNEL_DELETE
---| "CHANNEL_INFO" # with any intents
---| "channelInfo" # CHANNEL_INFO
---| "CHANNEL_PINS_UPDATE" # with guilds or direct_messages
---| "channelPinsUpdate" # CHANNEL_PINS_UPDATE
---| "CHANNEL_UPDATE" # with guilds
---| "channelUpdate" # CHANNEL_UPDATE
---| "ENTITLEMENT_CREATE" # with any intents
---| "entitlementCreate" # ENTITLEMENT_CREATE
---| "ENTITLEMENT_DELETE" # with any intents
---| "entitlementDelete" # ENTITLEMENT_DELETE
---| "ENTITLEMENT_UPDATE" # with any intents
---| "entitlementUpdate" # ENTITLEMENT_UPDATE
---| "GUILD_AUDIT_LOG_ENTRY_CREATE" # with guild_moderation
---| "guildAuditLogEntryCreate" # GUILD_AUDIT_LOG_ENTRY_CREATE
---| "GUILD_BAN_ADD" # with guild_moderation
---| "guildBanAdd" # GUILD_BAN_ADD
---| "GUILD_BAN_REMOVE" # with guild_moderation
---| "guildBanRemove" # GUILD_BAN_REMOVE
---| "GUILD_CREATE" # with guilds
---| "guildCreate" # GUILD_CREATE
---| "GUILD_DELETE" # with guilds
---| "guildDelete" # GUILD_DELETE
---| "GUILD_EMOJIS_UPDATE" # with guild_expressions
---| "guildEmojisUpdate" # GUILD_EMOJIS_UPDATE
---| "GUILD_INTEGRATIONS_UPDATE" # with guild_integrations
---| "guildIntegrationsUpdate" # GUILD_INTEGRATIONS_UPDATE
---| "GUILD_MEMBERS_CHUNK" # with any intents
---| "guildMembersChunk" # GUILD_MEMBERS_CHUNK
---| "GUILD_MEMBER_ADD" # with guild_members
---| "guildMemberAdd" # GUILD_MEMBER_ADD
---| "GUILD_MEMBER_REMOVE" # with guild_members
---| "guildMemberRemove" # GUILD_MEMBER_REMOVE
---| "GUILD_MEMBER_UPDATE" # with guild_members
---| "guildMemberUpdate" # GUILD_MEMBER_UPDATE
---| "GUILD_ROLE_CREATE" # with guilds
---| "guildRoleCreate" # GUILD_ROLE_CREATE
---| "GUILD_ROLE_DELETE" # with guilds
---| "guildRoleDelete" # GUILD_ROLE_DELETE
---| "GUILD_ROLE_UPDATE" # with guilds
---| "guildRoleUpdate" # GUILD_ROLE_UPDATE
---| "GUILD_SCHEDULED_EVENT_CREATE" # with guild_scheduled_events
---| "guildScheduledEventCreate" # GUILD_SCHEDULED_EVENT_CREATE
---| "GUILD_SCHEDULED_EVENT_DELETE" # with guild_scheduled_events
---| "guildScheduledEventDelete" # GUILD_SCHEDULED_EVENT_DELETE
---| "GUILD_SCHEDULED_EVENT_UPDATE" # with guild_scheduled_events
---| "guildScheduledEventUpdate" # GUILD_SCHEDULED_EVENT_UPDATE
---| "GUILD_SCHEDULED_EVENT_USER_ADD" # with guild_scheduled_events
---| "guildScheduledEventUserAdd" # GUILD_SCHEDULED_EVENT_USER_ADD
---| "GUILD_SCHEDULED_EVENT_USER_REMOVE" # with guild_scheduled_events
---| "guildScheduledEventUserRemove" # GUILD_SCHEDULED_EVENT_USER_REMOVE
---| "GUILD_SOUNDBOARD_SOUNDS_UPDATE" # with guild_expressions
---| "guildSoundboardSoundsUpdate" # GUILD_SOUNDBOARD_SOUNDS_UPDATE
---| "GUILD_SOUNDBOARD_SOUND_CREATE" # with guild_expressions
---| "guildSoundboardSoundCreate" # GUILD_SOUNDBOARD_SOUND_CREATE
---| "GUILD_SOUNDBOARD_SOUND_DELETE" # with guild_expressions
---| "guildSoundboardSoundDelete" # GUILD_SOUNDBOARD_SOUND_DELETE
---| "GUILD_SOUNDBOARD_SOUND_UPDATE" # with guild_expressions
---| "guildSoundboardSoundUpdate" # GUILD_SOUNDBOARD_SOUND_UPDATE
---| "GUILD_STICKERS_UPDATE" # with guild_expressions
---| "guildStickersUpdate" # GUILD_STICKERS_UPDATE
---| "GUILD_UPDATE" # with guilds
---| "guildUpdate" # GUILD_UPDATE
---| "INTEGRATION_CREATE" # with guild_integrations
---| "integrationCreate" # INTEGRATION_CREATE
---| "INTEGRATION_DELETE" # with guild_integrations
---| "integrationDelete" # INTEGRATION_DELETE
---| "INTEGRATION_UPDATE" # with guild_integrations
---| "integrationUpdate" # INTEGRATION_UPDATE
---| "INTERACTION_CREATE" # with any intents
---| "interactionCreate" # INTERACTION_CREATE
---| "INVITE_CREATE" # with guild_invites
---| "inviteCreate" # INVITE_CREATE
---| "INVITE_DELETE" # with guild_invites
---| "inviteDelete" # INVITE_DELETE
---| "MESSAGE_CREATE" # with guild_messages or direct_messages
---| "messageCreate" # MESSAGE_CREATE
---| "MESSAGE_DELETE" # with guild_messages or direct_messages
---| "messageDelete" # MESSAGE_DELETE
---| "MESSAGE_DELETE_BULK" # with guild_messages
---| "messageDeleteBulk" # MESSAGE_DELETE_BULK
---| "MESSAGE_POLL_VOTE_ADD" # with guild_message_polls or direct_message_polls
---| "messagePollVoteAdd" # MESSAGE_POLL_VOTE_ADD
---| "MESSAGE_POLL_VOTE_REMOVE" # with guild_message_polls or direct_message_polls
---| "messagePollVoteRemove" # MESSAGE_POLL_VOTE_REMOVE
---| "MESSAGE_REACTION_ADD" # with guild_message_reactions or direct_message_reactions
---| "messageReactionAdd" # MESSAGE_REACTION_ADD
---| "MESSAGE_REACTION_REMOVE" # with guild_message_reactions or direct_message_reactions
---| "messageReactionRemove" # MESSAGE_REACTION_REMOVE
---| "MESSAGE_REACTION_REMOVE_ALL" # with guild_message_reactions or direct_message_reactions
---| "messageReactionRemoveAll" # MESSAGE_REACTION_REMOVE_ALL
---| "MESSAGE_REACTION_REMOVE_EMOJI" # with guild_message_reactions or direct_message_reactions
---| "messageReactionRemoveEmoji" # MESSAGE_REACTION_REMOVE_EMOJI
---| "MESSAGE_UPDATE" # with guild_messages or direct_messages
---| "messageUpdate" # MESSAGE_UPDATE
---| "PRESENCE_UPDATE" # with guild_presences
---| "presenceUpdate" # PRESENCE_UPDATE
---| "RATE_LIMITED" # with any intents
---| "rateLimited" # RATE_LIMITED
---| "READY" # with any intents
---| "ready" # READY
---| "RESUMED" # with any intents
---| "resumed" # RESUMED
---| "SOUNDBOARD_SOUNDS" # with any intents
---| "soundboardSounds" # SOUNDBOARD_SOUNDS
---| "STAGE_INSTANCE_CREATE" # with guilds
---| "stageInstanceCreate" # STAGE_INSTANCE_CREATE
---| "STAGE_INSTANCE_DELETE" # with guilds
---| "stageInstanceDelete" # STAGE_INSTANCE_DELETE
---| "STAGE_INSTANCE_UPDATE" # with guilds
---| "stageInstanceUpdate" # STAGE_INSTANCE_UPDATE
---| "SUBSCRIPTION_CREATE" # with any intents
---| "subscriptionCreate" # SUBSCRIPTION_CREATE
---| "SUBSCRIPTION_DELETE" # with any intents
---| "subscriptionDelete" # SUBSCRIPTION_DELETE
---| "SUBSCRIPTION_UPDATE" # with any intents
---| "subscriptionUpdate" # SUBSCRIPTION_UPDATE
---| "THREAD_CREATE" # with guilds
---| "threadCreate" # THREAD_CREATE
---| "THREAD_DELETE" # with guilds
---| "threadDelete" # THREAD_DELETE
---| "THREAD_LIST_SYNC" # with guilds
---| "threadListSync" # THREAD_LIST_SYNC
---| "THREAD_MEMBERS_UPDATE" # with guilds or guild_members
---| "threadMembersUpdate" # THREAD_MEMBERS_UPDATE
---| "THREAD_MEMBER_UPDATE" # with guilds
---| "threadMemberUpdate" # THREAD_MEMBER_UPDATE
---| "THREAD_UPDATE" # with guilds
---| "threadUpdate" # THREAD_UPDATE
---| "TYPING_START" # with guild_message_typing or direct_message_typing
---| "typingStart" # TYPING_START
---| "USER_UPDATE" # with any intents
---| "userUpdate" # USER_UPDATE
---| "VOICE_CHANNEL_EFFECT_SEND" # with guild_voice_states
---| "voiceChannelEffectSend" # VOICE_CHANNEL_EFFECT_SEND
---| "VOICE_CHANNEL_START_TIME_UPDATE" # with guilds
---| "voiceChannelStartTimeUpdate" # VOICE_CHANNEL_START_TIME_UPDATE
---| "VOICE_CHANNEL_STATUS_UPDATE" # with guilds
---| "voiceChannelStatusUpdate" # VOICE_CHANNEL_STATUS_UPDATE
---| "VOICE_SERVER_UPDATE" # with any intents
---| "voiceServerUpdate" # VOICE_SERVER_UPDATE
---| "VOICE_STATE_UPDATE" # with guild_voice_states
---| "voiceStateUpdate" # VOICE_STATE_UPDATE
---| "WEBHOOKS_UPDATE" # with guild_webhooks
---| "webhooksUpdate" # WEBHOOKS_UPDATE
---| string

--- An event of moongate's own.
---@alias moongate.Own
---| "blocked" # { event, seconds, where }
---| "close" # { code, reason, name, detail, was_clean, by, resumable, will_reconnect, retry_in }
---| "connect" # { url, attempt, resuming }
---| "disconnect" # { code, reason }
---| "error" # { code, message, phase, event, traceback, retry_in }
---| "exit" # { code, name, error, message, remedy }
---| "fatal" # { code, name, error, message, remedy }
---| "gap" # { expected, got }
---| "hold" # { until }
---| "log" # { level, message, fields }
---| "lost" # { reason, last_seq }
---| "open" # { url }
---| "receive" # a packet
---| "send" # a packet
---| "state" # { from, to }

--- An event; "*" is every dispatch.
---@alias moongate.Event moongate.Dispatch|moongate.Own|"*"

--- The data of `blocked`: a handler held the Lua side longer than `blocked_after`.
---@class moongate.data.blocked
---@field event string
---@field seconds number
---@field where string

---@alias moongate.on.blocked
---| fun(data: moongate.data.blocked, shard?: moongate.Shard, event: string)

--- The data of `close`.
---@class moongate.data.close
---@field code integer
---@field reason string
---@field name string
---@field detail? string
---@field was_clean boolean
---@field by "client"|"server"
---@field resumable boolean
---@field will_reconnect boolean
---@field retry_in? number

---@alias moongate.on.close fun(data: moongate.data.close, shard: moongate.Shard, event: string)

--- The data of `connect`.
---@class moongate.data.connect
---@field url string
---@field attempt integer
---@field resuming boolean

---@alias moongate.on.connect fun(data: moongate.data.connect, shard: moongate.Shard, event: string)

--- The data of `disconnect`: this side asks for closure.
---@class moongate.data.disconnect
---@field code integer
---@field reason string

---@alias moongate.on.disconnect
---| fun(data: moongate.data.disconnect, shard: moongate.Shard, event: string)

--- The data of `error`: without a listener, a handler's error is raised from `run`.
---@class moongate.data.error
---@field code moongate.Error
---@field message string
---@field phase string
---@field event? string
---@field traceback? string
---@field retry_in? number

---@alias moongate.on.error fun(data: moongate.data.error, shard?: moongate.Shard, event: string)

--- The data of `exit`: the token, the intents or the shard were refused.
---@class moongate.data.exit
---@field code integer
---@field name string
---@field error moongate.Error
---@field message string
---@field remedy string

---@alias moongate.on.exit fun(data: moongate.data.exit, shard?: moongate.Shard, event: string)

--- The data of `fatal`: the token, the intents or the shard were refused.
---@class moongate.data.fatal
---@field code integer
---@field name string
---@field error moongate.Error
---@field message string
---@field remedy string

---@alias moongate.on.fatal fun(data: moongate.data.fatal, shard?: moongate.Shard, event: string)

--- The data of `gap`.
---@class moongate.data.gap
---@field expected integer
---@field got integer

---@alias moongate.on.gap fun(data: moongate.data.gap, shard: moongate.Shard, event: string)

--- The data of `hold`: unix seconds (`data["until"]`): the day's identifies are used up, shards
--- that need one wait.
---@class moongate.data.hold
---@field ["until"] number

---@alias moongate.on.hold fun(data: moongate.data.hold, shard?: moongate.Shard, event: string)

--- The data of `log`: what happens, from `log_level` on; also a listener whose intent is missing.
---@class moongate.data.log
---@field level "error"|"warn"|"info"|"debug"
---@field message string
---@field fields? table<string, any>

---@alias moongate.on.log fun(data: moongate.data.log, shard?: moongate.Shard, event: string)

--- The data of `lost`.
---@class moongate.data.lost
---@field reason string
---@field last_seq integer

---@alias moongate.on.lost fun(data: moongate.data.lost, shard: moongate.Shard, event: string)

--- The data of `open`.
---@class moongate.data.open
---@field url string

---@alias moongate.on.open fun(data: moongate.data.open, shard: moongate.Shard, event: string)

--- The data of `receive`: every packet, for tracing; costs nothing when unheard.
---@class moongate.data.receive
---@field op integer
---@field d? any
---@field s? integer
---@field t? string

---@alias moongate.on.receive fun(data: moongate.data.receive, shard: moongate.Shard, event: string)

--- The data of `send`: every packet, for tracing; costs nothing when unheard.
---@class moongate.data.send
---@field op integer
---@field d? any

---@alias moongate.on.send fun(data: moongate.data.send, shard: moongate.Shard, event: string)

--- The data of `state`.
---@class moongate.data.state
---@field from moongate.State
---@field to moongate.State

---@alias moongate.on.state fun(data: moongate.data.state, shard: moongate.Shard, event: string)

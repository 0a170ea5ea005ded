---@meta moongate
-- Made by `make meta` (spec/annotate.lua); for editors, never loaded at run time.

--- Where sessions are kept. Any object with these two will do.
---@class moongate.Store
local Store = {}

--- The table that was saved under the key, or nil; nil, message, code when it cannot be read.
---@param key string
---@return table? record
---@return string? message
---@return moongate.Error? code
function Store:load(key) end

--- Keeps the table under the key. True, or nil, message, code.
---@param key string
---@param record table
---@return true? done
---@return string? message
---@return moongate.Error? code
function Store:save(key, record) end

--- A shard that asks for its turn to identify.
---@class moongate.Claim
--- 16 hex digits that tell tokens apart.
---@field token string
--- The shard's id modulo max_concurrency.
---@field key integer
---@field shard_id integer
---@field shard_count integer
--- Identifies of a day.
---@field total? integer
--- How many are gone.
---@field used? integer
--- How many are to be left over.
---@field reserve? integer

--- Who gives turns to identify. Any object with these three will do; see coordinator.lua.
---@class moongate.Coordinator
local Coordinator = {}

--- Asks for a turn. True: it is ours until it is released; false: not now, ask again at
--- deadline(claim); nil, message, code: it does not work.
---@param claim moongate.Claim
---@return boolean? ours
---@return string? message
---@return moongate.Error? code
function Coordinator:acquire(claim) end

--- In how many seconds to ask again, after a false.
---@param claim moongate.Claim
---@return number seconds
function Coordinator:deadline(claim) end

--- The turn is over. spent_s: so many seconds ago an Identify left; nil: none did. True, or nil,
--- message, code.
---@param claim moongate.Claim
---@param spent_s? number
---@return true? done
---@return string? message
---@return moongate.Error? code
function Coordinator:release(claim, spent_s) end

--- What an id holds.
---@class moongate.Snowflake
--- Unix seconds, exact to the millisecond.
---@field time number
---@field worker integer
---@field process integer
---@field increment integer

--- Places where sessions are kept.
---@class moongate.store
local store = {}

--- A store that lives as long as this Lua state: for reconnecting with another client, and for
--- tests.
---@return moongate.Store store
function store.memory() end

--- A store in one file, which several processes may share. Each save replaces the file whole: after
--- a crash it holds the old content or the new. Only the user may read it. A folder that is missing
--- or not writable shows at the first save.
---@param path string
---@return moongate.Store store
function store.file(path) end

--- Turns to identify for several processes of a token.
---@class moongate.coordinator
local coordinator = {}

--- A coordinator for the processes of one machine, by way of small files whose names begin with
--- `path` (default: moongate in $XDG_RUNTIME_DIR, else in $TMPDIR, else in /tmp). A process that is
--- killed gives its turn back. All processes have to name the same path and be one user's.
---@param path? string
---@return moongate.Coordinator coordinator
function coordinator.file(path) end

--- What is inside of an id: snowflake(id).
---@class moongate.snowflake
---@overload fun(id: moongate.Id): moongate.Snowflake
local snowflake = {}

--- The shard that has a guild: (guild_id >> 22) % count. The id is a string or an integer.
---@param guild_id moongate.Id
---@param count integer
---@return integer shard_id
function snowflake.shard_of(guild_id, count) end

--- The Gateway of a token: gateway(token, shards).
---@class moongate.gateway
--- Those of the process, by token; iterating shows no token.
---@field tokens table<string, moongate.Gateway>
---@overload fun(token: string, shards?: integer): moongate.Gateway
local gateway = {}

--- The Gateway of a token; `shards` is the number to use instead of the recommended one.
---@param token string
---@param shards? integer
---@return moongate.Gateway gateway
function gateway.of(token, shards) end

--- True for a Gateway.
---@param value any
---@return boolean is
function gateway.is(value) end

--- Numbers of intents, and sums of them: intents { "guilds" }.
---@class moongate.intents
--- Where those that need approval are switched on.
---@field portal string
---@field guilds 1
--- Must be switched on in the Developer Portal.
---@field guild_members 2
---@field guild_moderation 4
---@field guild_expressions 8
---@field guild_integrations 16
---@field guild_webhooks 32
---@field guild_invites 64
---@field guild_voice_states 128
--- Must be switched on in the Developer Portal.
---@field guild_presences 256
---@field guild_messages 512
---@field guild_message_reactions 1024
---@field guild_message_typing 2048
---@field direct_messages 4096
---@field direct_message_reactions 8192
---@field direct_message_typing 16384
--- Must be switched on in the Developer Portal.
---@field message_content 32768
---@field guild_scheduled_events 65536
---@field auto_moderation_configuration 1048576
---@field auto_moderation_execution 2097152
---@field guild_message_polls 16777216
---@field direct_message_polls 33554432
--- All of them.
---@field all 53608447
--- Those that must be switched on in the Developer Portal.
---@field privileged 33026
--- All that need no approval.
---@field default 53575421
---@overload fun(list: moongate.Intents, ...: moongate.Intent|integer): integer
local intents = {}

--- The sum of a list of names and numbers, or nil and a list of what is wrong with it. A single
--- name or number will do as well.
---@param list moongate.Intents
---@return integer? bits
---@return string[]? wrong
function intents.parse(list) end

--- Whether the intent called `name` is among `bits`.
---@param bits integer
---@param name moongate.Intent
---@return boolean has
function intents.has(bits, name) end

--- The names of the intents in `bits` (all of them without it), in order of their bits; a bit
--- without a name as "bit 18".
---@param bits? integer
---@return string[] names
function intents.names(bits) end

--- The names of the privileged intents in `bits`, for the words of close code 4014.
---@param bits integer
---@return string[] names
function intents.privileged_names(bits) end

--- Dispatches, each with the intents by one of which it comes.
---@class moongate.events
--- The same as a plain table.
---@field dispatches table<string, string[]>
--- moongate's own names.
---@field own table<string, true>
---@field APPLICATION_COMMAND_PERMISSIONS_UPDATE string[]
---@field AUTO_MODERATION_ACTION_EXECUTION string[]
---@field AUTO_MODERATION_RULE_CREATE string[]
---@field AUTO_MODERATION_RULE_DELETE string[]
---@field AUTO_MODERATION_RULE_UPDATE string[]
---@field CHANNEL_CREATE string[]
---@field CHANNEL_DELETE string[]
---@field CHANNEL_INFO string[]
---@field CHANNEL_PINS_UPDATE string[]
---@field CHANNEL_UPDATE string[]
---@field ENTITLEMENT_CREATE string[]
---@field ENTITLEMENT_DELETE string[]
---@field ENTITLEMENT_UPDATE string[]
---@field GUILD_AUDIT_LOG_ENTRY_CREATE string[]
---@field GUILD_BAN_ADD string[]
---@field GUILD_BAN_REMOVE string[]
---@field GUILD_CREATE string[]
---@field GUILD_DELETE string[]
---@field GUILD_EMOJIS_UPDATE string[]
---@field GUILD_INTEGRATIONS_UPDATE string[]
---@field GUILD_MEMBERS_CHUNK string[]
---@field GUILD_MEMBER_ADD string[]
---@field GUILD_MEMBER_REMOVE string[]
---@field GUILD_MEMBER_UPDATE string[]
---@field GUILD_ROLE_CREATE string[]
---@field GUILD_ROLE_DELETE string[]
---@field GUILD_ROLE_UPDATE string[]
---@field GUILD_SCHEDULED_EVENT_CREATE string[]
---@field GUILD_SCHEDULED_EVENT_DELETE string[]
---@field GUILD_SCHEDULED_EVENT_UPDATE string[]
---@field GUILD_SCHEDULED_EVENT_USER_ADD string[]
---@field GUILD_SCHEDULED_EVENT_USER_REMOVE string[]
---@field GUILD_SOUNDBOARD_SOUNDS_UPDATE string[]
---@field GUILD_SOUNDBOARD_SOUND_CREATE string[]
---@field GUILD_SOUNDBOARD_SOUND_DELETE string[]
---@field GUILD_SOUNDBOARD_SOUND_UPDATE string[]
---@field GUILD_STICKERS_UPDATE string[]
---@field GUILD_UPDATE string[]
---@field INTEGRATION_CREATE string[]
---@field INTEGRATION_DELETE string[]
---@field INTEGRATION_UPDATE string[]
---@field INTERACTION_CREATE string[]
---@field INVITE_CREATE string[]
---@field INVITE_DELETE string[]
---@field MESSAGE_CREATE string[]
---@field MESSAGE_DELETE string[]
---@field MESSAGE_DELETE_BULK string[]
---@field MESSAGE_POLL_VOTE_ADD string[]
---@field MESSAGE_POLL_VOTE_REMOVE string[]
---@field MESSAGE_REACTION_ADD string[]
---@field MESSAGE_REACTION_REMOVE string[]
---@field MESSAGE_REACTION_REMOVE_ALL string[]
---@field MESSAGE_REACTION_REMOVE_EMOJI string[]
---@field MESSAGE_UPDATE string[]
---@field PRESENCE_UPDATE string[]
---@field RATE_LIMITED string[]
---@field READY string[]
---@field RESUMED string[]
---@field SOUNDBOARD_SOUNDS string[]
---@field STAGE_INSTANCE_CREATE string[]
---@field STAGE_INSTANCE_DELETE string[]
---@field STAGE_INSTANCE_UPDATE string[]
---@field SUBSCRIPTION_CREATE string[]
---@field SUBSCRIPTION_DELETE string[]
---@field SUBSCRIPTION_UPDATE string[]
---@field THREAD_CREATE string[]
---@field THREAD_DELETE string[]
---@field THREAD_LIST_SYNC string[]
---@field THREAD_MEMBERS_UPDATE string[]
---@field THREAD_MEMBER_UPDATE string[]
---@field THREAD_UPDATE string[]
---@field TYPING_START string[]
---@field USER_UPDATE string[]
---@field VOICE_CHANNEL_EFFECT_SEND string[]
---@field VOICE_CHANNEL_START_TIME_UPDATE string[]
---@field VOICE_CHANNEL_STATUS_UPDATE string[]
---@field VOICE_SERVER_UPDATE string[]
---@field VOICE_STATE_UPDATE string[]
---@field WEBHOOKS_UPDATE string[]
local events = {}

--- The one name of an event however it is written: "messageCreate", "message_create" and
--- "MESSAGE_CREATE" give "MESSAGE_CREATE"; moongate's own names are lower case ("close"). Unknown
--- names are legal. Nil for what can be no event name: not a string, empty, over 64 bytes.
---@param name moongate.Event
---@return string? name
function events.canonical(name) end

--- The canonical name of a known event that an unknown one was probably meant to be; nil when the
--- name is known, or like no other. For tools: unknown names are legal everywhere.
---@param name string
---@return string? name
function events.suggest(name) end

--- What keeps an event from coming with these intents (an integer): the list of intents by one of
--- which it would come, or nil when nothing does or the event is unknown. A second value, true,
--- says that it comes nevertheless when it is about the bot itself.
---@param name moongate.Event
---@param bits integer
---@return string[]? intents
---@return true? about_itself
function events.missing_intent(name, bits) end

---@class moongate
---@field _VERSION string
--- The four bytes that end each message of a zlib-stream.
---@field ZLIB_SUFFIX string
--- JSON null.
---@field null lightuserdata
---@field opcodes moongate.opcodes
---@field close_codes moongate.close_codes
---@field intents moongate.intents
---@field events moongate.events
---@field gateway moongate.gateway
---@field snowflake moongate.snowflake
---@field store moongate.store
---@field coordinator moongate.coordinator
local moongate = {}

--- A Cluster from options, or from a token and options. client { token =, intents = { ... } }
---@param source? string|moongate.Gateway|moongate.Options
---@param options? moongate.Options
---@return moongate.Cluster client
function moongate.client(source, options) end

--- A Cluster from a token or a Gateway, and options.
---@param source? string|moongate.Gateway|moongate.Options
---@param options? moongate.Options
---@return moongate.Cluster cluster
function moongate.cluster(source, options) end

--- One Shard on its own: connect(), run() and stop() are its methods as well.
---@param source? string|moongate.Gateway
---@param id integer
---@param options? moongate.Options
---@return moongate.Shard shard
function moongate.shard(source, id, options) end

--- Waits for so many seconds: inside a handler it yields, at top level it runs the loop.
---@param seconds number
function moongate.sleep(seconds) end

--- Runs fn(...) in a coroutine of its own, in which every call that waits yields.
---@param fn fun(...: any)
---@param ... any
function moongate.spawn(fn, ...) end

--- A prompt at which the bot goes on, and its events are shown while one types; until Ctrl-D, then
--- true. repl(bot, { names = { ... }, watch = { ... }, connect = false, history = file })
---@param bot? moongate.Cluster
---@param options? moongate.ReplOptions
---@return true done
function moongate.repl(bot, options) end

--- Marks a table as a list, so that it goes out as one when it is empty; returns it.
---@generic T
---@param t T
---@return T list
function moongate.array(t) end

--- Makes what a lazy listener was given a plain table, in place; returns it.
---@generic T
---@param t T
---@return T data
function moongate.decoded(t) end

return moongate

-- annotations.lua: what annotations for editors say and no other table does: the types of what
-- methods take and return, and of fields; words for options that README.md tells of only together.
-- annotate.lua makes lua/moongate/meta of it, meta_spec.lua holds it against what is there at run
-- time, and interface_spec.lua the data of events against what comes.
--
-- A class: { name, base = the class it continues, words, fields = { { name, type, words }, ... },
-- methods = rows, sources = { { file, prefix of methods there }, ... } }, with `calls` where the
-- table itself is called. A method's row: its name; the types of its parameters in their order with
-- "; " between them, a "?" behind what may be left out, nothing for those at the end that are for
-- other modules; its results as "name type; ..."; at = "prefix.name" of the function that has its
-- parameters and its words, where the source has it under another name; overloads = other ways to
-- call it. Names of parameters and words of methods stand in the source, and are not repeated here.

local annotations = {}

local FAILURE = "; message string?; code moongate.Error?"
local DONE = "done true?" .. FAILURE
local LISTEN = "moongate.Event; moongate.Listener; moongate.ListenOptions?"
local ANSWER = "data any; shard moongate.Shard?; event string?"

-- ---- Kinds of options --------------------------------------------------------------------------

--- The types of the kinds that options.list() and sandbox.options() tell.
annotations.kinds = {
  token = "string", intents = "moongate.Intents", integer = "integer", seconds = "number",
  flag = "boolean", presence = "moongate.Presence", text = "string", file = "string",
  ["shard ids"] = "integer[]", URL = "string", proxy = "string", store = "moongate.Store",
  coordinator = "moongate.Coordinator", events = "moongate.Dispatch[]", number = "number",
  path = "string", user = "table<string, any>",
  ["session start limit"] = "integer|moongate.sandbox.StartLimit",
}

--- Classes of the options that are records, what they have besides, and what they need.
annotations.records = {
  backoff = { name = "moongate.Backoff", words = "How long to wait between attempts." },
  properties = { name = "moongate.Properties", words = "What Identify says of the program." },
  session = {
    name = "moongate.Session", words = "A session, from session_info().", needed = "id seq",
    fields = { { "shard_id", "integer?", "" }, { "shard_count", "integer?", "" } },
  },
}

--- What an Identify may be told by identify().
annotations.identify = { "intents", "large_threshold", "presence", "properties" }

--- Options that stand in a row of README.md with others.
annotations.words = {
  token = "The bot's token.",
  intents = 'What to hear: a list of names, such as { "guilds", "guild_messages" }, or a number.',
  shards = "How many shards there are in all; Discord's recommendation.",
  shard_ids = "Which of the shards run here, counted from 0; all of them.",
  presence = "What the bot is seen to do from the beginning.",
  properties = "What Identify says of the program: os, browser, device.",
  large_threshold = "From how many members on a guild comes without who is offline: 50 to 250.",
  version = "The version of the gateway.",
  session_store = "Where sessions are kept: moongate.store.file(path), or anything like it.",
  session = "A session to take up, from session_info().",
  queue_events = "How many events may wait for their listeners.",
  queue_bytes = 'Their bytes: 6 MiB, with when_full = "disconnect" 64 MiB.',
  message_bytes_max = "How many bytes one message of the gateway may have.",
  connect_timeout = "For a connection: its name, TCP, TLS and the upgrade together.",
  hello_timeout = "From the connection to HELLO.",
  ready_timeout = "For READY or RESUMED, without any event.",
  send_timeout = "How long a command waits for its turn.",
  ca_file = "A PEM file of certificates; the system's.",
  insecure_tls = "No check of certificates at all.",
  proxy = 'An HTTP proxy: "http://host:port".',
  user_agent = "What the HTTP requests say of the program.",
  api = "Another API.",
  url = "Another gateway; nobody is asked for it then.",
}

-- ---- Words -------------------------------------------------------------------------------------

annotations.close_code = {
  name = "moongate.CloseCode", words = "What a close code means.", fields = {
    { "code", "integer" }, { "name", "string" }, { "words", "string" },
    { "remedy", "string?", "What to do about it." },
    { "verdict", '"resume"|"identify"|"fatal"', "What a shard does then." },
    { "error", "moongate.Error?", "Of one that is fatal." },
  },
}

--- Errors of the Lua side alone.
annotations.errors = {
  { "EHANDLER", "a listener failed" },
  { "EINTR", "Ctrl-C, or another signal, ended the wait" },
}

--- Sums of intents that have a name.
annotations.intent_groups = {
  { "all", "all of them" },
  { "privileged", "those that must be switched on in the Developer Portal" },
  { "default", "all that need no approval" },
}

-- ---- Events of moongate's own ------------------------------------------------------------------

local ENDED = {
  { "code", "integer" }, { "name", "string" }, { "error", "moongate.Error" },
  { "message", "string" }, { "remedy", "string" },
}

--- What the data of each has: names and types; with a question mark what may be absent.
annotations.events = {
  open = { { "url", "string" } },
  close = {
    { "code", "integer" }, { "reason", "string" }, { "name", "string" }, { "detail", "string?" },
    { "was_clean", "boolean" }, { "by", '"client"|"server"' }, { "resumable", "boolean" },
    { "will_reconnect", "boolean" }, { "retry_in", "number?" },
  },
  error = {
    { "code", "moongate.Error" }, { "message", "string" }, { "phase", "string" },
    { "event", "string?" }, { "traceback", "string?" }, { "retry_in", "number?" },
  },
  connect = { { "url", "string" }, { "attempt", "integer" }, { "resuming", "boolean" } },
  disconnect = { { "code", "integer" }, { "reason", "string" } },
  send = { { "op", "integer" }, { "d", "any?" } },
  receive = { { "op", "integer" }, { "d", "any?" }, { "s", "integer?" }, { "t", "string?" } },
  state = { { "from", "moongate.State" }, { "to", "moongate.State" } },
  fatal = ENDED,
  exit = ENDED,
  hold = { { "until", "number" } },
  lost = { { "reason", "string" }, { "last_seq", "integer" } },
  gap = { { "expected", "integer" }, { "got", "integer" } },
  blocked = { { "event", "string" }, { "seconds", "number" }, { "where", "string" } },
  log = {
    { "level", '"error"|"warn"|"info"|"debug"' }, { "message", "string" },
    { "fields", "table<string, any>?" },
  },
}

--- Those that may be about no shard.
annotations.shardless = { error = true, fatal = true, exit = true, hold = true, blocked = true,
  log = true }

-- ---- Options of methods ------------------------------------------------------------------------

local RAW = { "raw", "boolean?", "The data as JSON text, as it came." }
local LAZY = { "lazy", "boolean?", "The data as a table that decodes what is touched." }

annotations.options = {
  { name = "moongate.ListenOptions", words = "How a listener wants the data.",
    fields = { RAW, LAZY } },
  { name = "moongate.WaitOptions", words = "What wait_for() waits for, and how long.", fields = {
    { "timeout", "number?", "Seconds; for ever." },
    { "filter", "(fun(data: any, shard: moongate.Shard, event: string): any)?",
      "Whether this is the event." },
    RAW, LAZY,
  } },
  { name = "moongate.LoopOptions", words = "Names of events, and how the loop wants them.",
    fields = {
      { "[integer]", "moongate.Event" },
      { "limit", "integer?", "How many events the loop may be behind. Default: 1024." },
      RAW, LAZY,
    } },
  { name = "moongate.StopOptions", words = "How stop() leaves the session.", fields = {
    { "keep_session", "boolean?", "Whether it can be resumed; default: with a session_store." },
  } },
  { name = "moongate.Activity", words = "Something that the bot is seen to do.", fields = {
    { "name", "string" },
    { "type", "integer|moongate.ActivityType?", 'What it is. Default: "playing".' },
    { "state", "string?" },
    { "url", "string?", "Of a stream." },
  } },
  { name = "moongate.Presence", words = "What the bot is seen to do.", fields = {
    { "status", '"online"|"dnd"|"idle"|"invisible"|"offline"?', 'Default: "online".' },
    { "activities", "moongate.Activity[]?" },
    { "since", "number?", "Unix milliseconds since when it is away." },
    { "afk", "boolean?" },
  } },
  { name = "moongate.MemberOptions", words = "Which members, and what of them.", fields = {
    { "query", "string?", "The beginning of their names." },
    { "limit", "integer?", "How many at most; 0: all." },
    { "user_ids", "moongate.Id|moongate.Id[]?", "Who, in the place of `query`." },
    { "presences", "boolean?", "With their presences." },
    { "nonce", "string?", "Comes back in each chunk; at most 32 bytes." },
  } },
  { name = "moongate.VoiceOptions", words = "How the bot is in a voice channel.", fields = {
    { "channel_id", "moongate.Id?", "In the place of the argument." },
    { "self_mute", "boolean?" },
    { "self_deaf", "boolean?" },
  } },
  { name = "moongate.ReplOptions", words = "What the prompt knows and shows.", readme = true,
    fields = {
      { "names", "table<string, any>?" },
      { "watch", "moongate.Event[]|false?" },
      { "connect", "boolean?" },
      { "history", "string|false?" },
    } },
}

-- ---- Listeners ---------------------------------------------------------------------------------

--- Aliases, each with its words.
annotations.aliases = {
  { "moongate.Id", "string|integer", "An id of Discord's: a string of digits." },
  { "moongate.Target", "moongate.Id|moongate.Shard", "A guild, or a shard." },
  { "moongate.ActivityType",
    '"playing"|"streaming"|"listening"|"watching"|"custom"|"competing"' },
  { "moongate.Data", "any",
    "What Discord sends with an event: a table. With `lazy` it decodes what is touched, with `raw` "
      .. "it is JSON text." },
  { "moongate.Listener", "fun(data: moongate.Data, shard: moongate.Shard, event: string)" },
}

annotations.emitter = {
  name = "moongate.Emitter", words = "What clients and shards have in common: listeners.",
  sources = { { "emitter.lua", "Emitter" } },
  methods = {
    { "on", LISTEN, "fn moongate.Listener", listens = true },
    { "once", LISTEN, "fn moongate.Listener", listens = true },
    { "prepend", LISTEN, "fn moongate.Listener", listens = true },
    { "off", "moongate.Event?; function?", "any boolean" },
    { "listeners", "moongate.Event", "list function[]" },
    { "listener_count", "moongate.Event?", "count integer" },
    { "emit", "moongate.Event; any?; moongate.Shard?", "heard boolean" },
    { "wait_for", "moongate.Event; moongate.WaitOptions?", ANSWER },
    { "events", "moongate.Event",
      "step (fun(): string, moongate.Data, moongate.Shard); state nil; first nil; closing any",
      overloads = { "fun(self, list: moongate.LoopOptions): "
        .. "(fun(): string, moongate.Data, moongate.Shard)" } },
  },
}

-- ---- Clients -----------------------------------------------------------------------------------

annotations.commands = {
  name = "moongate.Commands", words = "What a bot may send, besides send() itself.",
  sources = { { "commands.lua", "builders" } },
  methods = {
    { "set_presence", "moongate.Presence?", DONE, at = "builders.presence" },
    { "request_members", "moongate.Id; moongate.MemberOptions?", DONE, at = "builders.members" },
    { "update_voice_state", "moongate.Id; moongate.Id|moongate.VoiceOptions?; "
      .. "moongate.VoiceOptions?", DONE, at = "builders.voice_state" },
    { "request_soundboard_sounds", "moongate.Id|moongate.Id[]", DONE,
      at = "builders.soundboard_sounds" },
    { "request_channel_info", "moongate.Id; string[]?", DONE, at = "builders.channel_info" },
  },
}

annotations.cluster = {
  name = "moongate.Cluster", base = "moongate.Emitter, moongate.Commands",
  words = "The shards of a bot; moongate.client() makes one as well.",
  sources = { { "cluster.lua", "methods" } },
  fields = {
    { "shards", "table<integer, moongate.Shard>", "Those that run here, by their ids." },
    { "gateway", "moongate.Gateway", "What Discord says of the token." },
    { "state", "moongate.State", "Of the shard that is farthest from ready." },
    { "latency", "number?", "Seconds from a beat to its answer, the mean of all shards." },
  },
  methods = {
    { "spawn", "integer|integer[]?; integer?", DONE },
    { "connect", "", DONE },
    { "add_shard", "integer", "shard moongate.Shard?" .. FAILURE },
    { "remove_shard", "integer", DONE },
    { "reshard", "integer; integer[]?",
      "done true?; doubled integer|string?; code moongate.Error?" },
    { "run", "", DONE },
    { "step", "number?", 'count integer; why "EINTR"?' },
    { "stop", "moongate.StopOptions?", "done true" },
    { "disconnect", "integer?; string?", DONE },
    { "reconnect", "integer?; string?", DONE },
    { "kill", "integer?", DONE },
    { "fd", "", "fd integer?" .. FAILURE },
    { "timeout", "", "seconds number?" },
    { "pollable", "", "pollable moongate.Pollable" },
    { "shard_for", "moongate.Id", "shard moongate.Shard?" .. FAILURE },
    { "send", "moongate.Target; any", DONE, overloads = {
      "fun(self, target: moongate.Target, op: moongate.Op, d: any): true?, string?, string?",
    } },
    { "stats", "", "stats table<string, any>" },
    { "metrics", "", "text string" },
  },
}

annotations.shard = {
  name = "moongate.Shard", base = "moongate.Emitter, moongate.Commands",
  words = "One session on the gateway, over all of its connections.",
  sources = { { "shard.lua", "methods" } },
  fields = {
    { "id", "integer", "Counted from 0." },
    { "count", "integer", "How many shards the bot has in all." },
    { "seq", "integer?", "The sequence number of the last event." },
    { "session", "string?", "The id of the session, where there is one." },
    { "state", "moongate.State" },
    { "url", "string?", "Where it connects to." },
    { "latency", "number?", "Seconds from a beat to its answer." },
    { "ws", "moongate.WebSocket?", "The connection of the moment." },
    { "cluster", "moongate.Cluster" },
    { "gateway", "moongate.Gateway" },
    { "version", "integer", "Of the gateway." },
  },
  methods = {
    { "connect", "", DONE },
    { "disconnect", "integer?; string?", DONE },
    { "reconnect", "integer?; string?", DONE },
    { "send", "moongate.Op|moongate.Packet; any?", DONE },
    { "identify", "moongate.Identify?", DONE },
    { "resume", "", DONE },
    { "heartbeat", "", DONE },
    { "receive", "string", DONE },
    { "session_info", "", "session moongate.Session?" .. FAILURE },
    { "stats", "", "stats table<string, any>" },
    { "run", "", DONE },
    { "step", "number?", 'count integer; why "EINTR"?' },
    { "stop", "moongate.StopOptions?", "done true" },
  },
}

annotations.gateway = {
  name = "moongate.Gateway",
  words = "What Discord says of a token: where to connect, and how many shards.",
  sources = { { "gateway.lua", "methods" } },
  fields = {
    { "token", "string" },
    { "url", "string?", "Where shards connect to, once that is known; may be set." },
    { "shards", "integer?", "The number that is recommended, or was set; may be set." },
    { "chosen_shards", "integer?", "The number that was set." },
    { "api", "string", "Whom it asks; may be set." },
    { "session_start_limit", "moongate.StartLimit?", "What is left of the day." },
  },
  methods = {
    { "fetch", "boolean?", "gateway moongate.Gateway?" .. FAILURE },
    { "identify", "moongate.Shard; moongate.Identify?", DONE },
  },
}

annotations.pollable = {
  name = "moongate.Pollable", words = "A client, for other loops.",
  sources = { { "pollable.lua", "Pollable" } },
  fields = { { "client", "moongate.Cluster" } },
  methods = {
    { "pollfd", "", "fd integer?" },
    { "events", "", 'events "r"' },
    { "timeout", "", "seconds number?" },
    { "getfd", "", "fd integer?" },
    { "dirty", "", "due boolean" },
    { "receive", "", "due true?; message string?" },
    { "close", "", "" },
  },
}

--- Tables that methods and fields give.
annotations.records_given = {
  { name = "moongate.WebSocket", words = "A connection, and what went over it.", fields = {
    { "ready_state", '"connecting"|"open"|"closing"' }, { "url", "string" },
    { "protocol", "string", 'Always "": there is no sub-protocol to agree on.' },
    { "bytes_in", "integer" }, { "bytes_out", "integer" },
    { "messages_in", "integer" }, { "messages_out", "integer" },
  } },
  { name = "moongate.StartLimit", words = "How many identifies a day has, and has left.", fields = {
    { "total", "integer" }, { "remaining", "integer" },
    { "reset_after", "number", "Milliseconds until all are there again, when it was asked for." },
    { "reset_at", "integer", "The same as Unix seconds." },
    { "max_concurrency", "integer", "How many shards may identify at once." },
  } },
  { name = "moongate.Packet", words = "What send() takes as one table.", fields = {
    { "op", "moongate.Op" }, { "d", "any?" },
  } },
}

-- ---- The module --------------------------------------------------------------------------------

annotations.store = {
  name = "moongate.Store", words = "Where sessions are kept. Any object with these two will do.",
  sources = { { "store.lua", "File" } },
  methods = {
    { "load", "string", "record table?" .. FAILURE },
    { "save", "string; table", DONE },
  },
}

annotations.coordinator = {
  name = "moongate.Coordinator",
  words = "Who gives turns to identify. Any object with these three will do; see coordinator.lua.",
  sources = { { "coordinator.lua", "File" } },
  methods = {
    { "acquire", "moongate.Claim", "ours boolean?" .. FAILURE },
    { "deadline", "moongate.Claim", "seconds number" },
    { "release", "moongate.Claim; number?", DONE },
  },
}

annotations.claim = {
  name = "moongate.Claim", words = "A shard that asks for its turn to identify.", fields = {
    { "token", "string", "16 hex digits that tell tokens apart." },
    { "key", "integer", "The shard's id modulo max_concurrency." },
    { "shard_id", "integer" }, { "shard_count", "integer" },
    { "total", "integer?", "Identifies of a day." },
    { "used", "integer?", "How many are gone." },
    { "reserve", "integer?", "How many are to be left over." },
  },
}

annotations.snowflake = {
  name = "moongate.Snowflake", words = "What an id holds.", fields = {
    { "time", "number", "Unix seconds, exact to the millisecond." }, { "worker", "integer" },
    { "process", "integer" }, { "increment", "integer" },
  },
}

--- What stands in the module, and is a table.
annotations.tables = {
  { name = "moongate.store", words = "Places where sessions are kept.",
    sources = { { "store.lua", "store" } },
    methods = { { "memory", "", "store moongate.Store" },
      { "file", "string", "store moongate.Store" } } },
  { name = "moongate.coordinator", words = "Turns to identify for several processes of a token.",
    sources = { { "coordinator.lua", "coordinator" } },
    methods = { { "file", "string?", "coordinator moongate.Coordinator" } } },
  { name = "moongate.snowflake", words = "What is inside of an id: snowflake(id).",
    sources = { { "snowflake.lua", "snowflake" } },
    calls = "fun(id: moongate.Id): moongate.Snowflake",
    methods = { { "shard_of", "moongate.Id; integer", "shard_id integer" } } },
  { name = "moongate.gateway", words = "The Gateway of a token: gateway(token, shards).",
    sources = { { "gateway.lua", "gateway" } },
    calls = "fun(token: string, shards?: integer): moongate.Gateway",
    fields = { { "tokens", "table<string, moongate.Gateway>",
      "Those of the process, by token; iterating shows no token." } },
    methods = { { "of", "string; integer?", "gateway moongate.Gateway" },
      { "is", "any", "is boolean" } } },
  { name = "moongate.intents",
    words = 'Numbers of intents, and sums of them: intents { "guilds" }.',
    sources = { { "intents.lua", "intents" } },
    calls = "fun(list: moongate.Intents, ...: moongate.Intent|integer): integer",
    fields = { { "portal", "string", "Where those that need approval are switched on." } },
    methods = {
      { "parse", "moongate.Intents", "bits integer?; wrong string[]?" },
      { "has", "integer; moongate.Intent", "has boolean" },
      { "names", "integer?", "names string[]" },
      { "privileged_names", "integer", "names string[]" },
    } },
  { name = "moongate.events", words = "Dispatches, each with the intents by one of which it comes.",
    sources = { { "events.lua", "events" } },
    fields = {
      { "dispatches", "table<string, string[]>", "The same as a plain table." },
      { "own", "table<string, true>", "moongate's own names." },
    },
    methods = {
      { "canonical", "moongate.Event", "name string?" },
      { "suggest", "string", "name string?" },
      { "missing_intent", "moongate.Event; integer", "intents string[]?; about_itself true?" },
    } },
}

local SOURCE = "string|moongate.Gateway|moongate.Options?"

annotations.module = {
  name = "moongate", sources = { { "init.lua", "moongate" } },
  fields = {
    { "_VERSION", "string" },
    { "ZLIB_SUFFIX", "string", "The four bytes that end each message of a zlib-stream." },
    { "null", "lightuserdata", "JSON null." },
    { "opcodes", "moongate.opcodes" }, { "close_codes", "moongate.close_codes" },
    { "intents", "moongate.intents" }, { "events", "moongate.events" },
    { "gateway", "moongate.gateway" }, { "snowflake", "moongate.snowflake" },
    { "store", "moongate.store" }, { "coordinator", "moongate.coordinator" },
  },
  methods = {
    { "client", SOURCE .. "; moongate.Options?", "client moongate.Cluster" },
    { "cluster", SOURCE .. "; moongate.Options?", "cluster moongate.Cluster" },
    { "shard", "string|moongate.Gateway?; integer; moongate.Options?", "shard moongate.Shard" },
    { "sleep", "number", "" },
    { "spawn", "fun(...: any); any", "" },
    { "repl", "moongate.Cluster?; moongate.ReplOptions?", "done true" },
    { "array", "T", "list T" },
    { "decoded", "T", "data T" },
  },
}
return annotations

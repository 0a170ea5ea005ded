-- annotations_sandbox.lua: as annotations.lua, for `require "moongate.sandbox"` and its assertions
-- for busted.

local annotations = {}

local FAILURE = "; message string?; code moongate.Error?"
local DONE = "done true?" .. FAILURE
local REACHED = "count integer?" .. FAILURE
local TARGET = "moongate.sandbox.Target?"

-- What is there to look at is there until stop(); what is waited for may not come.
local function list(class)
  return ("list moongate.sandbox.%s[]; lost integer?"):format(class)
end

local function awaited(class)
  return ("list moongate.sandbox.%s[]?; lost integer|string?; code moongate.Error?"):format(class)
end

-- ---- What is looked at -------------------------------------------------------------------------

--- What target_keys of sandbox/arguments.lua say, as types.
annotations.targets = {
  ["a number"] = "integer", ["the id of a session"] = "string", boolean = "boolean",
}

--- Words of a target's fields.
annotations.target_words = {
  connection = "The one with this id.", shard = "Those of this shard.",
  session = "The one of this session.", filter = "dispatch(): false sends it to everybody.",
  dm = "dispatch(): surely a direct message.", exact = "dispatch(): the data as it is.",
  reset = "drop() and cut(): with a TCP reset, or without.",
  count = "heartbeat(): so many at once.",
}

annotations.aliases = {
  { "moongate.sandbox.Target", "integer|moongate.sandbox.Aim|moongate.sandbox.Connection|"
    .. "moongate.sandbox.Session",
    "The id of a connection, an entry of connections() or sessions(), or what it has." },
  { "moongate.sandbox.Op", '"HEARTBEAT"|"IDENTIFY"|"PRESENCE_UPDATE"|"VOICE_STATE_UPDATE"|"RESUME"'
    .. '|"REQUEST_GUILD_MEMBERS"|"REQUEST_SOUNDBOARD_SOUNDS"|"REQUEST_CHANNEL_INFO"|integer',
    "What a client sends." },
}

annotations.records = {
  { name = "moongate.sandbox.Text", words = "What sandbox.text() made: data as JSON text." },
  { name = "moongate.sandbox.StartLimit", words = "How many identifies a day has.", fields = {
    { "total", "integer?" }, { "remaining", "integer?" },
    { "reset_after", "integer?", "Milliseconds." },
  } },
  { name = "moongate.sandbox.Connection", words = "A WebSocket, open or closed.", fields = {
    { "id", "integer" }, { "open", "boolean" }, { "state", "string" }, { "session", "string?" },
    { "shard", "integer?" }, { "shard_count", "integer?" }, { "seq", "integer?" },
    { "version", "integer?" },
    { "encoding", "string" }, { "compress", "string?" }, { "path", "string" },
    { "query", "string" }, { "beats", "integer" }, { "packets", "integer" },
    { "messages_out", "integer" }, { "bytes_out", "integer" }, { "unsent", "integer" },
    { "tls_resumed", "boolean" }, { "close_sent", "integer?" }, { "close_received", "integer?" },
    { "close_reason", "string?" }, { "opened_ms", "integer" },
  } },
  { name = "moongate.sandbox.Session", words = "A session that lives.", fields = {
    { "id", "string" }, { "connection", "integer?" }, { "shard", "integer" },
    { "shard_count", "integer" }, { "intents", "integer" }, { "seq", "integer" },
    { "replayable", "integer" }, { "replayable_from", "integer" },
    { "expires_in_ms", "integer?" },
  } },
  { name = "moongate.sandbox.Packet", words = "What a client has sent.", fields = {
    { "op", "integer" }, { "name", "string?" }, { "d", "any?" }, { "at_ms", "integer" },
    { "connection", "integer" }, { "session", "string?" }, { "bytes", "integer" },
  } },
  { name = "moongate.sandbox.Request", words = "A request of HTTP.", fields = {
    { "at_ms", "integer" }, { "method", "string" }, { "path", "string" }, { "target", "string" },
    { "status", "integer" }, { "authorized", "boolean" }, { "user_agent", "string?" },
    { "body", "string?" },
  } },
  { name = "moongate.sandbox.Line", words = "A line of the log.", fields = {
    { "at_ms", "integer" }, { "connection", "integer?" }, { "what", "string" },
    { "text", "string" },
  } },
  { name = "moongate.sandbox.Guild", words = "A guild of the sandbox's world.", fields = {
    { "id", "string" }, { "name", "string" }, { "channel_id", "string" },
    { "voice_channel_id", "string" },
  } },
  { name = "moongate.sandbox.Person", words = "Somebody in its guilds.", fields = {
    { "id", "string" }, { "username", "string" }, { "discriminator", "string" },
    { "global_name", "string?" }, { "bot", "boolean" }, { "system", "boolean" },
    { "flags", "integer" }, { "public_flags", "integer" },
  } },
  { name = "moongate.sandbox.Option", words = "An option of start().", fields = {
    { "name", "string" }, { "default", "any?" }, { "words", "string" },
    { "kind", "string|any[]" },
  } },
  { name = "moongate.sandbox.Frame", words = "A WebSocket frame.", fields = {
    { "[1]", "string", "Its bytes." }, { "opcode", "integer?" }, { "fin", "boolean?" },
    { "rsv", "integer?" }, { "frame", "false?", "Not even a frame, but bytes." },
  } },
  { name = "moongate.sandbox.Deed",
    words = "What is done in place of a step: one of the first four.",
    fields = {
      { "payload", "table|string?" }, { "close", "integer?" }, { "drop", "true?" },
      { "invalid_session", "boolean?" }, { "reason", "string?" }, { "reset", "boolean?" },
      { "times", "integer?", "So often; 0: for ever." },
    } },
  { name = "moongate.sandbox.Answer", words = "How requests to a path are answered.", fields = {
    { "path", "string" }, { "method", "string?" }, { "status", "integer?" },
    { "headers", "table<string, string|number>?" }, { "body", "table|string?" },
    { "times", "integer?", "So often; 0: for ever." }, { "delay", "number?", "Seconds." },
    { "drop", "boolean?", "No answer but a reset." },
  } },
  { name = "moongate.sandbox.Patience", words = "How long to wait, and for how many.", fields = {
    { "timeout", "number?", "Seconds. Default: 5." }, { "count", "integer?", "Default: 1." },
  } },
}

-- ---- The sandbox -------------------------------------------------------------------------------

annotations.sandbox = {
  name = "moongate.sandbox.Sandbox", words = "A gateway of one's own, on loopback.",
  sources = { { "sandbox.lua", "methods" }, { "sandbox/knobs.lua", "knobs" } },
  fields = {
    { "api", "string", "For the client's option api." },
    { "url", "string", "Of the gateway." },
    { "token", "string", "That it accepts." },
    { "port", "integer" },
    { "resume_port", "integer", "Where resumes go; see the option resume_host." },
    { "ca_file", "string?", "With TLS: for the client's option ca_file." },
    { "user", "table<string, any>", "The bot's." },
    { "guilds", "moongate.sandbox.Guild[]" },
    { "people", "moongate.sandbox.Person[]" },
  },
  methods = {
    { "dispatch", "moongate.Dispatch; table|moongate.sandbox.Text?; " .. TARGET, REACHED },
    { "reconnect", TARGET, REACHED },
    { "invalid_session", "boolean?; " .. TARGET, REACHED },
    { "heartbeat", TARGET, REACHED },
    { "send_payload", "string; " .. TARGET, REACHED },
    { "send_raw", "string|moongate.sandbox.Frame; " .. TARGET, REACHED },
    { "drop", TARGET, REACHED },
    { "close", "integer?; string?; " .. TARGET, REACHED },
    { "connections", "", list "Connection" },
    { "history", "", list "Connection" },
    { "sessions", "", list "Session" },
    { "received", "moongate.sandbox.Op?", list "Packet" },
    { "requests", "string?", list "Request" },
    { "log", "integer?", list "Line" },
    { "watch", "fun(line: moongate.sandbox.Line)?", DONE },
    { "forget", "", DONE },
    { "wait_until", "fun(): any; number?; string?", "found any" .. FAILURE },
    { "clock", "", "seconds number?" .. FAILURE },
    { "wait", "number", DONE },
    { "wait_received", "moongate.sandbox.Op?; moongate.sandbox.Patience?", awaited "Packet" },
    { "wait_for_connections", "integer?; number?", awaited "Connection" },
    { "wait_for_ready", "integer?; number?", awaited "Connection" },
    { "stop", "", DONE },
    { "withhold_acks", "boolean?; " .. TARGET, REACHED },
    { "half_open", "boolean?; " .. TARGET, REACHED },
    { "stall", '"accept"|"tls"|"upgrade"|"hello"|"ready"|"guilds"|"resumed"|"close"; boolean?; '
      .. TARGET, REACHED },
    { "instead", '"hello"|"ready"|"resumed"|"ack"; string|moongate.sandbox.Deed', DONE },
    { "split", "integer|integer[]; " .. TARGET, REACHED },
    { "split_messages", "integer|integer[]; " .. TARGET, REACHED },
    { "mask", "boolean?; " .. TARGET, REACHED },
    { "trickle", "integer; number?; " .. TARGET, REACHED },
    { "cut", "integer; " .. TARGET, REACHED },
    { "corrupt", "integer?; " .. TARGET, REACHED },
    { "swallow", "integer?; " .. TARGET, REACHED },
    { "stutter", "integer?; " .. TARGET, REACHED },
    { "resume_host", "boolean?", REACHED },
    { "enforce_limits", "boolean?", REACHED },
    { "set_clock", "number", REACHED },
    { "respond", "moongate.sandbox.Answer", DONE },
  },
}

annotations.module = {
  name = "moongate.sandbox", sources = { { "sandbox.lua", "sandbox" } },
  fields = {
    { "null", "lightuserdata", "JSON null." },
    { "array", "fun(t?: table): table",
      "Marks a table as a list, so that it goes out as one when it is empty; returns it." },
    { "options", "fun(): moongate.sandbox.Option[]", "All options of start(), by name." },
  },
  methods = {
    { "start", "moongate.sandbox.Options?", "discord moongate.sandbox.Sandbox?" .. FAILURE },
    { "text", "string", "text moongate.sandbox.Text" },
  },
}

-- ---- busted ------------------------------------------------------------------------------------

annotations.stage = {
  name = "moongate.sandbox.busted", sources = { { "sandbox/busted.lua", "stage" } },
  fields = {
    { "patience", "number", "Seconds that an assertion waits at most." },
    { "quiet", "number", "Seconds without, until a negated one passes." },
  },
  methods = {
    { "start", "fun(options: moongate.sandbox.Login): moongate.Cluster|moongate.Shard; "
      .. "moongate.sandbox.Options?",
      "discord moongate.sandbox.Sandbox; bot moongate.Cluster|moongate.Shard" },
    { "stop", "", "" },
  },
}

annotations.login = {
  name = "moongate.sandbox.Login", words = "What a bot needs to reach the sandbox: three options.",
  fields = { { "token", "string" }, { "api", "string" }, { "ca_file", "string?" } },
}

local SENT = "fun(op: moongate.sandbox.Op, fields?: table)"
local REQUESTED = "fun(method: string, path: string, fields?: table)"
local RESUMED, CLOSED = "fun()", "fun(code?: integer)"

annotations.subject = { "moongate.sandbox.Subject",
  "moongate.Cluster|moongate.Shard|moongate.sandbox.Sandbox",
  "A bot of stage.start(), or a sandbox whose bot is another program." }

--- What the annotations of luassert are told of.
annotations.assertions = {
  { name = "luassert", fields = {
    { "bot", "fun(bot: moongate.sandbox.Subject): moongate.sandbox.Assertion",
      "Whose doings are asserted." },
  } },
  { name = "moongate.sandbox.Assertion", words = "What the bot does within stage.patience seconds.",
    fields = {
      { "sent", SENT, "Has sent such a packet, whose d has these fields." },
      { "send", SENT, "The same, for .does_not." },
      { "requested", REQUESTED, "Has asked REST for it, with these fields in the JSON body." },
      { "request", REQUESTED, "The same, for .does_not." },
      { "resumed", RESUMED, "Has gone on in its session." },
      { "resume", RESUMED, "The same, for .does_not." },
      { "closed", CLOSED, "Has ended a connection itself, with this code or any." },
      { "close", CLOSED, "The same, for .does_not." },
      { "does_not", "moongate.sandbox.Assertion", "The contrary, for stage.quiet seconds." },
      { "has_not", "moongate.sandbox.Assertion", "The contrary, for stage.quiet seconds." },
    } },
}

return annotations

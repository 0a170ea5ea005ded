---@meta moongate.sandbox
-- Made by `make meta` (spec/annotate.lua); for editors, never loaded at run time.

--- What sandbox.start() takes.
---@class moongate.sandbox.Options
--- takes JSON in binary frames as well. Default: false.
---@field any_frame? boolean
--- the certificate's time is over. Default: false.
---@field certificate_expired? boolean
--- in the certificate, in place of 127.0.0.1, ....
---@field certificate_name? string
--- seconds that the server's clock is ahead. Default: 0.
---@field clock_skew? number
--- names that no Identify may have, as a,b. Default: 0.
---@field disallowed_intents? moongate.Intents
--- the tag that atoms have. Default: 115.
---@field etf_atoms? 100|115|118|119
--- how numbers of 2^53 and more travel. Default: "integer".
---@field etf_ids? "integer"|"string"
--- atom, binary, mixed: every third a binary. Default: "mixed".
---@field etf_keys? "atom"|"binary"|"mixed"
--- lists of bytes as STRING, as Erlang has it. Default: true.
---@field etf_strings? boolean
--- guilds that the bot is in. Default: 1.
---@field guilds? integer
--- closes who does not beat; 0: a drop. Default: 4009.
---@field heartbeat_close_code? integer
--- intervals it waits for a beat; 0: for ever. Default: 1.5.
---@field heartbeat_grace? number
--- ms, as in HELLO. Default: 41250.
---@field heartbeat_interval? integer
--- Discord's limits: identifies, sends, REST. Default: true.
---@field limits? boolean
--- keys that may identify at once. Default: 1.
---@field max_concurrency? integer
--- people in each guild, apart from the bot. Default: 3.
---@field members? integer
--- unread by a client until it is dropped. Default: 67108864.
---@field out_bytes? integer
--- where it listens; 0: any that is free. Default: 0.
---@field port? integer
--- for a sixth presence in 20 s; 0: ignored. Default: 0.
---@field presence_close_code? integer
--- bytes of those entries. Default: 67108864.
---@field record_bytes? integer
--- entries of received(), log(), ..., each. Default: 100000.
---@field record_max? integer
--- bytes of those events. Default: 16777216.
---@field replay_bytes? integer
--- events kept for the resume of a session. Default: 5000.
---@field replay_events? integer
--- resumes have a port of their own. Default: false.
---@field resume_host? boolean
--- path of the URL that READY tells for resumes. Default: "".
---@field resume_path? string
--- seconds a session outlives its connection. Default: 120.
---@field resume_window? number
--- of the sandbox's world and chances. Default: 1.
---@field seed? integer
--- identifies of a day. Default: 1000.
---@field session_start_limit? integer|moongate.sandbox.StartLimit
--- shards that are recommended. Default: 1.
---@field shards? integer
--- where the clock stands, Unix time; 0: it goes. Default: 0.
---@field time? number
--- wss and https, with a throw-away certificate. Default: false.
---@field tls? boolean
--- the token that is accepted. Default: "MTExNzAwMDAwMDAwMDAwMDAwOQ.sandbox.not-a-secret".
---@field token? string
--- fields of the bot's user.
---@field user? table<string, any>
--- how hard zlib compresses. Default: 6.
---@field zlib_level? integer

--- Which connections an order is for.
---@class moongate.sandbox.Aim
--- The one with this id.
---@field connection? integer
--- heartbeat(): so many at once.
---@field count? integer
--- dispatch(): surely a direct message.
---@field dm? boolean
--- dispatch(): the data as it is.
---@field exact? boolean
--- dispatch(): false sends it to everybody.
---@field filter? boolean
--- drop() and cut(): with a TCP reset, or without.
---@field reset? boolean
--- The one of this session.
---@field session? string
--- Those of this shard.
---@field shard? integer

--- The id of a connection, an entry of connections() or sessions(), or what it has.
---@alias moongate.sandbox.Target
---| integer
---| moongate.sandbox.Aim
---| moongate.sandbox.Connection
---| moongate.sandbox.Session

--- What a client sends.
---@alias moongate.sandbox.Op
---| "HEARTBEAT"
---| "IDENTIFY"
---| "PRESENCE_UPDATE"
---| "VOICE_STATE_UPDATE"
---| "RESUME"
---| "REQUEST_GUILD_MEMBERS"
---| "REQUEST_SOUNDBOARD_SOUNDS"
---| "REQUEST_CHANNEL_INFO"
---| integer

--- What sandbox.text() made: data as JSON text.
---@class moongate.sandbox.Text

--- How many identifies a day has.
---@class moongate.sandbox.StartLimit
---@field total? integer
---@field remaining? integer
--- Milliseconds.
---@field reset_after? integer

--- A WebSocket, open or closed.
---@class moongate.sandbox.Connection
---@field id integer
---@field open boolean
---@field state string
---@field session? string
---@field shard? integer
---@field shard_count? integer
---@field seq? integer
---@field version? integer
---@field encoding string
---@field compress? string
---@field path string
---@field query string
---@field beats integer
---@field packets integer
---@field messages_out integer
---@field bytes_out integer
---@field unsent integer
---@field tls_resumed boolean
---@field close_sent? integer
---@field close_received? integer
---@field close_reason? string
---@field opened_ms integer

--- A session that lives.
---@class moongate.sandbox.Session
---@field id string
---@field connection? integer
---@field shard integer
---@field shard_count integer
---@field intents integer
---@field seq integer
---@field replayable integer
---@field replayable_from integer
---@field expires_in_ms? integer

--- What a client has sent.
---@class moongate.sandbox.Packet
---@field op integer
---@field name? string
---@field d? any
---@field at_ms integer
---@field connection integer
---@field session? string
---@field bytes integer

--- A request of HTTP.
---@class moongate.sandbox.Request
---@field at_ms integer
---@field method string
---@field path string
---@field target string
---@field status integer
---@field authorized boolean
---@field user_agent? string
---@field body? string

--- A line of the log.
---@class moongate.sandbox.Line
---@field at_ms integer
---@field connection? integer
---@field what string
---@field text string

--- A guild of the sandbox's world.
---@class moongate.sandbox.Guild
---@field id string
---@field name string
---@field channel_id string
---@field voice_channel_id string

--- Somebody in its guilds.
---@class moongate.sandbox.Person
---@field id string
---@field username string
---@field discriminator string
---@field global_name? string
---@field bot boolean
---@field system boolean
---@field flags integer
---@field public_flags integer

--- An option of start().
---@class moongate.sandbox.Option
---@field name string
---@field default? any
---@field words string
---@field kind string|any[]

--- A WebSocket frame.
---@class moongate.sandbox.Frame
--- Its bytes.
---@field [1] string
---@field opcode? integer
---@field fin? boolean
---@field rsv? integer
--- Not even a frame, but bytes.
---@field frame? false

--- What is done in place of a step: one of the first four.
---@class moongate.sandbox.Deed
---@field payload? table|string
---@field close? integer
---@field drop? true
---@field invalid_session? boolean
---@field reason? string
---@field reset? boolean
--- So often; 0: for ever.
---@field times? integer

--- How requests to a path are answered.
---@class moongate.sandbox.Answer
---@field path string
---@field method? string
---@field status? integer
---@field headers? table<string, string|number>
---@field body? table|string
--- So often; 0: for ever.
---@field times? integer
--- Seconds.
---@field delay? number
--- No answer but a reset.
---@field drop? boolean

--- How long to wait, and for how many.
---@class moongate.sandbox.Patience
--- Seconds. Default: 5.
---@field timeout? number
--- Default: 1.
---@field count? integer

--- A gateway of one's own, on loopback.
---@class moongate.sandbox.Sandbox
--- For the client's option api.
---@field api string
--- Of the gateway.
---@field url string
--- That it accepts.
---@field token string
---@field port integer
--- Where resumes go; see the option resume_host.
---@field resume_port integer
--- With TLS: for the client's option ca_file.
---@field ca_file? string
--- The bot's.
---@field user table<string, any>
---@field guilds moongate.sandbox.Guild[]
---@field people moongate.sandbox.Person[]
local Sandbox = {}

--- Sends an event to every session whose shard and intents want it, or into the replay of those
--- that are away. Returns the number of sessions. What Discord would tell as well is put around
--- what is given, which wins: discord:dispatch("MESSAGE_CREATE", { content = "ping" }) is a whole
--- message of discord.people[1] in the first channel of discord.guilds[1]. Without guild_id and
--- known channel_id it is one of a guild or a direct one, whichever a session hears; { dm = true }
--- makes it surely a direct one. What a message of somebody says in a guild is there for sessions
--- with the intent MESSAGE_CONTENT, or where the bot is mentioned. { exact = true } among the
--- target's fields leaves the data as it is: without guild_id it is a direct one, as with Discord.
--- { filter = false } sends it to everybody. A name that is nearly one of Discord's is refused as
--- misspelt, unless it goes to everybody.
---@param name moongate.Dispatch
---@param d? table|moongate.sandbox.Text
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:dispatch(name, d, target) end

--- Op 7.
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:reconnect(target) end

--- Op 9. Without `resumable` the session ends.
---@param resumable? boolean
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:invalid_session(resumable, target) end

--- Op 1: asks for a heartbeat, { count = 50 } among the target's fields for so many at once.
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:heartbeat(target) end

--- One gateway message as JSON text, whatever it says, through encoding and compression.
---@param payload string
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:send_payload(payload, target) end

--- A WebSocket frame as it is: text, or { bytes, opcode = 1, fin = true, rsv = 0 }; with frame =
--- false not even a frame, but bytes.
---@param frame string|moongate.sandbox.Frame
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:send_raw(frame, target) end

--- Ends connections without a close frame, with a TCP reset, or with a plain end when the target's
--- fields say { reset = false }. Returns when it has happened. Sessions can be resumed.
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:drop(target) end

--- Sends a close frame; without a code an empty one. Codes like 4009 end the session, others do
--- not.
---@param code? integer
---@param reason? string
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:close(code, reason, target) end

--- The WebSockets that are open, in the order of their ids: id, open (true), state ("open",
--- "ready", "closing"), session, shard, shard_count, seq, version, encoding, compress, path, query,
--- beats, packets, messages_out, bytes_out, unsent, tls_resumed, close_sent, close_received,
--- close_reason, opened_ms.
---@return moongate.sandbox.Connection[] list
---@return integer? lost
function Sandbox:connections() end

--- Those that are closed, in the order of their ends, with the same fields; close_received is the
--- client's code, 1005 without one, 1006 without a close frame.
---@return moongate.sandbox.Connection[] list
---@return integer? lost
function Sandbox:history() end

--- Sessions that live: id, connection (absent while away), shard, shard_count, intents, seq,
--- replayable (events), replayable_from (seq), expires_in_ms (while away).
---@return moongate.sandbox.Session[] list
---@return integer? lost
function Sandbox:sessions() end

--- What clients have sent: { op, name, d, at_ms, connection, session, bytes }, all or one opcode's.
--- The second result is how many older ones are gone.
---@param op? moongate.sandbox.Op
---@return moongate.sandbox.Packet[] list
---@return integer? lost
function Sandbox:received(op) end

--- HTTP requests: { at_ms, method, path, target, status, authorized, user_agent, body }.
---@param wanted? string
---@return moongate.sandbox.Request[] list
---@return integer? lost
function Sandbox:requests(wanted) end

--- What happened, one line each: { at_ms, connection, what, text }. Never the token. The second
--- result is how many older lines are gone. discord:log(number) are the lines behind the one of
--- that number, and the number of the last.
---@param after? integer
---@return moongate.sandbox.Line[] list
---@return integer? lost
function Sandbox:log(after) end

--- Calls fn(line) for each line of the log from now on, on this thread and whenever it waits in one
--- of the methods below. nil: no more.
---@param fn? fun(line: moongate.sandbox.Line)
---@return true? done
---@return string? message
---@return moongate.Error? code
function Sandbox:watch(fn) end

--- Forgets what was received, requested and logged, and closed connections.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Sandbox:forget() end

--- Blocks this thread, not the server, until check() is true; nil, message, "ETIMEOUT" after
--- `timeout` seconds (5). Looks again whenever something happened.
---@param is_so fun(): any
---@param timeout? number
---@param what? string
---@return any found
---@return string? message
---@return moongate.Error? code
function Sandbox:wait_until(is_so, timeout, what) end

--- Seconds of the monotonic clock that every at_ms is of.
---@return number? seconds
---@return string? message
---@return moongate.Error? code
function Sandbox:clock() end

--- Lets that many seconds pass.
---@param seconds number
---@return true? done
---@return string? message
---@return moongate.Error? code
function Sandbox:wait(seconds) end

--- Waits until `count` (1) packets with that opcode were received. Returns all of them, or nil,
--- message, code. Options: timeout (5 s), count.
---@param op? moongate.sandbox.Op
---@param given? moongate.sandbox.Patience
---@return moongate.sandbox.Packet[]? list
---@return integer|string? lost
---@return moongate.Error? code
function Sandbox:wait_received(op, given) end

--- Waits until that many WebSockets are open. Returns connections().
---@param count? integer
---@param timeout? number
---@return moongate.sandbox.Connection[]? list
---@return integer|string? lost
---@return moongate.Error? code
function Sandbox:wait_for_connections(count, timeout) end

--- Waits until that many connections have a session. Returns connections().
---@param count? integer
---@param timeout? number
---@return moongate.sandbox.Connection[]? list
---@return integer|string? lost
---@return moongate.Error? code
function Sandbox:wait_for_ready(count, timeout) end

--- Ends the server: clients get 1001, everything is closed, the certificate's file removed.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Sandbox:stop() end

--- No answer to heartbeats (on = true, the default).
---@param on? boolean
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:withhold_acks(on, target) end

--- The connections stay, but nothing is read from or written to them any more.
---@param on? boolean
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:half_open(on, target) end

--- Does not do the next step: "accept", "tls" (the handshake), "upgrade", "hello", "ready",
--- "guilds" (the GUILD_CREATEs behind READY), "resumed" or "close". With on = false what was held
--- up goes on.
---@param phase "accept"|"tls"|"upgrade"|"hello"|"ready"|"guilds"|"resumed"|"close"
---@param on? boolean
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:stall(phase, on, target) end

--- In place of a step, the next time it is due on any connection: "hello", "ready" (an Identify has
--- passed all checks), "resumed" (a Resume has; nothing is replayed) or "ack". What is done: JSON
--- text that is sent, or a table with one of payload (a table or text), close (a code, 0 for an
--- empty frame; with reason), drop = true (with reset = false a plain end), invalid_session
--- (resumable or not); times = 2: so often, 0: for ever.
---@param phase "hello"|"ready"|"resumed"|"ack"
---@param what string|moongate.sandbox.Deed
---@return true? done
---@return string? message
---@return moongate.Error? code
function Sandbox:instead(phase, what) end

--- Cuts every WebSocket message into frames of that many bytes, or { least, most } as the seed
--- draws them; 0: no more.
---@param bytes integer|integer[]
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:split(bytes, target) end

--- Cuts every compressed message into WebSocket messages of that many bytes, in the same way.
---@param bytes integer|integer[]
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:split_messages(bytes, target) end

--- Masks every frame, as only a client may.
---@param on? boolean
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:mask(on, target) end

--- Writes that many bytes every `seconds`; 0: all at once again.
---@param bytes integer
---@param seconds? number
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:trickle(bytes, seconds, target) end

--- Ends a connection (without a close frame) behind that many bytes more: those of the target, or
--- without one the next that comes, counted from the first byte of its answer; 0: no more. With {
--- reset = true } among the target's fields TCP is reset.
---@param bytes integer
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:cut(bytes, target) end

--- Flips one bit in each of the next messages (one, unless told otherwise).
---@param messages? integer
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:corrupt(messages, target) end

--- Compresses the next messages as usual and throws them away.
---@param messages? integer
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:swallow(messages, target) end

--- Sends each of the next messages twice, with the same sequence number.
---@param messages? integer
---@param target? moongate.sandbox.Target
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:stutter(messages, target) end

--- Whether the host that READY names for resumes lives: false refuses every connection to it, true
--- listens again. Wants the option resume_host; returns when it is so.
---@param alive? boolean
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:resume_host(alive) end

--- Enforces the limits (on = true, the default) or not, from now on; see the option of that name.
---@param on? boolean
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:enforce_limits(on) end

--- Sets the server's wall clock so many seconds ahead of this machine's (or behind): Date headers
--- and the times of voice sessions.
---@param seconds number
---@return integer? count
---@return string? message
---@return moongate.Error? code
function Sandbox:set_clock(seconds) end

--- Answers requests to a path (without /api/vN; "/" is the WebSocket) in its own way: { path =,
--- method =, status =, headers = {}, body = text or table, times = 1, delay = seconds }. times = 0:
--- for ever. drop = true: no answer but a reset.
---@param answer moongate.sandbox.Answer
---@return true? done
---@return string? message
---@return moongate.Error? code
function Sandbox:respond(answer) end

---@class moongate.sandbox
--- JSON null.
---@field null lightuserdata
--- Marks a table as a list, so that it goes out as one when it is empty; returns it.
---@field array fun(t?: table): table
--- All options of start(), by name.
---@field options fun(): moongate.sandbox.Option[]
local sandbox = {}

--- Starts a server on 127.0.0.1. Returns it, or nil, message, code. Wrong options raise.
---@param given? moongate.sandbox.Options
---@return moongate.sandbox.Sandbox? discord
---@return string? message
---@return moongate.Error? code
function sandbox.start(given) end

--- Data for dispatch() as JSON text, which is sent as it stands: with fields of a type that nobody
--- expects, bytes that are no UTF-8, or no JSON at all.
---@param json string
---@return moongate.sandbox.Text text
function sandbox.text(json) end

return sandbox

---@meta _
-- Made by `make meta` (spec/annotate.lua); for editors, never loaded at run time.

--- What clients and shards have in common: listeners.
---@class moongate.Emitter
local Emitter = {}

--- Calls fn(data, shard, name) for each such event. options: raw = true hands over JSON text, lazy
--- = true a table that decodes what is touched. Returns fn.
---@param event moongate.Event
---@param fn moongate.Listener
---@param options? moongate.ListenOptions
---@return moongate.Listener fn
---@overload fun(self: moongate.Emitter, event: "blocked", fn: moongate.on.blocked): function
---@overload fun(self: moongate.Emitter, event: "close", fn: moongate.on.close): function
---@overload fun(self: moongate.Emitter, event: "connect", fn: moongate.on.connect): function
---@overload fun(self: moongate.Emitter, event: "disconnect", fn: moongate.on.disconnect): function
---@overload fun(self: moongate.Emitter, event: "error", fn: moongate.on.error): function
---@overload fun(self: moongate.Emitter, event: "exit", fn: moongate.on.exit): function
---@overload fun(self: moongate.Emitter, event: "fatal", fn: moongate.on.fatal): function
---@overload fun(self: moongate.Emitter, event: "gap", fn: moongate.on.gap): function
---@overload fun(self: moongate.Emitter, event: "hold", fn: moongate.on.hold): function
---@overload fun(self: moongate.Emitter, event: "log", fn: moongate.on.log): function
---@overload fun(self: moongate.Emitter, event: "lost", fn: moongate.on.lost): function
---@overload fun(self: moongate.Emitter, event: "open", fn: moongate.on.open): function
---@overload fun(self: moongate.Emitter, event: "receive", fn: moongate.on.receive): function
---@overload fun(self: moongate.Emitter, event: "send", fn: moongate.on.send): function
---@overload fun(self: moongate.Emitter, event: "state", fn: moongate.on.state): function
function Emitter:on(event, fn, options) end

--- The same, for the next such event only.
---@param event moongate.Event
---@param fn moongate.Listener
---@param options? moongate.ListenOptions
---@return moongate.Listener fn
---@overload fun(self: moongate.Emitter, event: "blocked", fn: moongate.on.blocked): function
---@overload fun(self: moongate.Emitter, event: "close", fn: moongate.on.close): function
---@overload fun(self: moongate.Emitter, event: "connect", fn: moongate.on.connect): function
---@overload fun(self: moongate.Emitter, event: "disconnect", fn: moongate.on.disconnect): function
---@overload fun(self: moongate.Emitter, event: "error", fn: moongate.on.error): function
---@overload fun(self: moongate.Emitter, event: "exit", fn: moongate.on.exit): function
---@overload fun(self: moongate.Emitter, event: "fatal", fn: moongate.on.fatal): function
---@overload fun(self: moongate.Emitter, event: "gap", fn: moongate.on.gap): function
---@overload fun(self: moongate.Emitter, event: "hold", fn: moongate.on.hold): function
---@overload fun(self: moongate.Emitter, event: "log", fn: moongate.on.log): function
---@overload fun(self: moongate.Emitter, event: "lost", fn: moongate.on.lost): function
---@overload fun(self: moongate.Emitter, event: "open", fn: moongate.on.open): function
---@overload fun(self: moongate.Emitter, event: "receive", fn: moongate.on.receive): function
---@overload fun(self: moongate.Emitter, event: "send", fn: moongate.on.send): function
---@overload fun(self: moongate.Emitter, event: "state", fn: moongate.on.state): function
function Emitter:once(event, fn, options) end

--- The same as on(), before the listeners that are there.
---@param event moongate.Event
---@param fn moongate.Listener
---@param options? moongate.ListenOptions
---@return moongate.Listener fn
---@overload fun(self: moongate.Emitter, event: "blocked", fn: moongate.on.blocked): function
---@overload fun(self: moongate.Emitter, event: "close", fn: moongate.on.close): function
---@overload fun(self: moongate.Emitter, event: "connect", fn: moongate.on.connect): function
---@overload fun(self: moongate.Emitter, event: "disconnect", fn: moongate.on.disconnect): function
---@overload fun(self: moongate.Emitter, event: "error", fn: moongate.on.error): function
---@overload fun(self: moongate.Emitter, event: "exit", fn: moongate.on.exit): function
---@overload fun(self: moongate.Emitter, event: "fatal", fn: moongate.on.fatal): function
---@overload fun(self: moongate.Emitter, event: "gap", fn: moongate.on.gap): function
---@overload fun(self: moongate.Emitter, event: "hold", fn: moongate.on.hold): function
---@overload fun(self: moongate.Emitter, event: "log", fn: moongate.on.log): function
---@overload fun(self: moongate.Emitter, event: "lost", fn: moongate.on.lost): function
---@overload fun(self: moongate.Emitter, event: "open", fn: moongate.on.open): function
---@overload fun(self: moongate.Emitter, event: "receive", fn: moongate.on.receive): function
---@overload fun(self: moongate.Emitter, event: "send", fn: moongate.on.send): function
---@overload fun(self: moongate.Emitter, event: "state", fn: moongate.on.state): function
function Emitter:prepend(event, fn, options) end

--- Removes a listener wherever it stands for the event; without fn all of the event's; without
--- arguments all. Those who wait with wait_for() and events() stay. Returns whether there was any.
---@param event? moongate.Event
---@param fn? function
---@return boolean any
function Emitter:off(event, fn) end

--- A new list of the functions that listen to the event.
---@param event moongate.Event
---@return function[] list
function Emitter:listeners(event) end

--- How many functions listen to the event; without an event, to any.
---@param event? moongate.Event
---@return integer count
function Emitter:listener_count(event) end

--- Calls the listeners of an event, one's own events included: emit("my_event", data, shard). Raw
--- and lazy listeners get the data as it is. "*" hears all but moongate's own events. Returns
--- whether anybody listened.
---@param event moongate.Event
---@param data? any
---@param shard? moongate.Shard
---@return boolean heard
function Emitter:emit(event, data, shard) end

--- Waits for the next such event: data, shard, name. options: timeout in seconds, filter(data,
--- shard, name) -> whether this is the one, raw, lazy. Else nil, message, code: ETIMEOUT, or what
--- the emitter was closed with (ECLOSED). An error in the filter is raised here.
---@param event moongate.Event
---@param options? moongate.WaitOptions
---@return any data
---@return moongate.Shard? shard
---@return string? event
function Emitter:wait_for(event, options) end

--- for name, data, shard in e:events("MESSAGE_CREATE", ...) do: the events as a loop; without names
--- every dispatch. Names may be a list, which takes options as well: { "MESSAGE_CREATE", raw =
--- true, limit = 1024 }, or lazy. Ends when the emitter is closed, after what came before. A loop
--- that is more than `limit` events behind loses the oldest: an `error` event says so (a `log`
--- event when nobody hears that), and when the loop has caught up a `log` event says how many were
--- lost.
---@param ... moongate.Event
---@return (fun(): string, moongate.Data, moongate.Shard) step
---@return nil state
---@return nil first
---@return any closing
---@overload fun(self, list: moongate.LoopOptions): (fun(): string, moongate.Data, moongate.Shard)
function Emitter:events(...) end

--- What a bot may send, besides send() itself.
---@class moongate.Commands
local Commands = {}

--- { status = "online", activities = { { name =, type =, state =, url = }, ... }, since =, afk = }.
--- An activity's type may be a name. What is left out: online, no activities, not away.
---@param presence? moongate.Presence
---@return true? done
---@return string? message
---@return moongate.Error? code
function Commands:set_presence(presence) end

--- request_members(guild_id, { query =, limit =, presences =, nonce = }) by the beginning of their
--- names, or { user_ids = id or list }. Without either: all of them.
---@param guild_id moongate.Id
---@param options? moongate.MemberOptions
---@return true? done
---@return string? message
---@return moongate.Error? code
function Commands:request_members(guild_id, options) end

--- update_voice_state(guild_id, channel_id, { self_mute =, self_deaf = }): joins or moves; without
--- a channel_id it leaves. The channel may stand in the table as well.
---@param guild_id moongate.Id
---@param channel_id? moongate.Id|moongate.VoiceOptions
---@param options? moongate.VoiceOptions
---@return true? done
---@return string? message
---@return moongate.Error? code
function Commands:update_voice_state(guild_id, channel_id, options) end

--- request_soundboard_sounds(guild_id or list)
---@param guild_ids moongate.Id|moongate.Id[]
---@return true? done
---@return string? message
---@return moongate.Error? code
function Commands:request_soundboard_sounds(guild_ids) end

--- request_channel_info(guild_id, fields): "status" and "voice_start_time", both when left out.
---@param guild_id moongate.Id
---@param fields? string[]
---@return true? done
---@return string? message
---@return moongate.Error? code
function Commands:request_channel_info(guild_id, fields) end

--- The shards of a bot; moongate.client() makes one as well.
---@class moongate.Cluster: moongate.Emitter, moongate.Commands
--- Those that run here, by their ids.
---@field shards table<integer, moongate.Shard>
--- What Discord says of the token.
---@field gateway moongate.Gateway
--- Of the shard that is farthest from ready.
---@field state moongate.State
--- Seconds from a beat to its answer, the mean of all shards.
---@field latency? number
local Cluster = {}

--- spawn(): the recommended number of shards, or what the options say. spawn(n): n shards. spawn {
--- 0, 3, 7 }: those of them. spawn(min, max): that range. Waits until they are started, not until
--- they are ready: inside a handler it yields, at top level it runs the loop. Those that run
--- already go on. Returns true, or nil, message, code.
---@param first? integer|integer[]
---@param last? integer
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:spawn(first, last) end

--- The same as spawn() without arguments.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:connect() end

--- Starts one shard more, of the number that is known. Its Shard, or nil, message, code: EUSAGE
--- when the cluster has it already, or when there is no such shard.
---@param id integer
---@return moongate.Shard? shard
---@return string? message
---@return moongate.Error? code
function Cluster:add_shard(id) end

--- Ends a shard, and its session, and takes it off `shards`; the others go on. What it received is
--- heard first. True, or nil, message, code: EUSAGE when the cluster does not have it.
---@param id integer
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:remove_shard(id) end

--- Replaces the shards by n others while the bot goes on: the new ones are ready before the old
--- ones leave, and every event is heard once. Shard objects keep their ids. Where this cluster runs
--- some of the shards only, `ids` says which of the new ones. Waits until the old ones are gone:
--- true, and how many events came from both sets; or nil, message, code, and the old shards go on.
---@param n integer
---@param ids? integer[]
---@return true? done
---@return integer|string? doubled
---@return moongate.Error? code
function Cluster:reshard(n, ids) end

--- Connects unless that has been done, and hands events to their listeners until stop() or Ctrl-C:
--- then true. nil, message, code when it cannot connect, or when the last shard is down for good.
--- An error of a listener is raised here, unless somebody listens to `error`.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:run() end

--- Hands on what is there, waiting for it at most timeout_s seconds. Returns how many events and
--- timers there were, and "EINTR" when a signal ended the wait.
---@param timeout_s? number
---@return integer count
---@return "EINTR"? why
function Cluster:step(timeout_s) end

--- Closes every connection and ends run(). The session ends too (1000), so that the bot is seen to
--- go offline at once; with keep_session = true, or with a session_store and unless it is false,
--- the session can be resumed. Waits until the shards are down, at most two seconds. Returns true.
---@param how? moongate.StopOptions
---@return true done
function Cluster:stop(how) end

--- Closes the connection of every shard, which stay down. Any code but 1000 and 1001, and none,
--- keeps the sessions: connect() resumes them.
---@param code? integer
---@param reason? string
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:disconnect(code, reason) end

--- Closes the connection of every shard, which come back.
---@param code? integer
---@param reason? string
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:reconnect(code, reason) end

--- Spectacles' name for disconnect().
---@param code? integer
---@return true? done
---@return string? message
---@return moongate.Error? code
function Cluster:kill(code) end

--- A descriptor that is readable while step(0) has something to do: poll it, never read it. It is
--- the same for the life of the client; without epoll (Linux has it) it is another one after stop()
--- and reshard(). Nil, message, code when there is none to be had.
---@return integer? fd
---@return string? message
---@return moongate.Error? code
function Cluster:fd() end

--- Seconds until step(0) wants to be called although the descriptor is not readable; nil: never. To
--- be asked anew before each wait: it may change with each turn.
---@return number? seconds
function Cluster:timeout() end

--- An object that cqueues (pollfd, events, timeout), luasocket's select (getfd, dirty) and
--- copas.receive (receive, close) wait on.
---@return moongate.Pollable pollable
function Cluster:pollable() end

--- The Shard of a guild, by its id; or nil, message, code when this cluster does not run it.
---@param guild_id moongate.Id
---@return moongate.Shard? shard
---@return string? message
---@return moongate.Error? code
function Cluster:shard_for(guild_id) end

--- send(guild_id or shard, op, d): to the shard that has the guild. As Shard:send.
---@param target moongate.Target
---@param ... any
---@return true? done
---@return string? message
---@return moongate.Error? code
---@overload fun(self, target: moongate.Target, op: moongate.Op, d: any): true?, string?, string?
function Cluster:send(target, ...) end

--- What is counted, as plain tables: shards by id, the queue between the threads, the connections
--- that are being made, dispatches by name, the identifies of the day.
---@return table<string, any> stats
function Cluster:stats() end

--- The same as text for Prometheus.
---@return string text
function Cluster:metrics() end

--- One session on the gateway, over all of its connections.
---@class moongate.Shard: moongate.Emitter, moongate.Commands
--- Counted from 0.
---@field id integer
--- How many shards the bot has in all.
---@field count integer
--- The sequence number of the last event.
---@field seq? integer
--- The id of the session, where there is one.
---@field session? string
---@field state moongate.State
--- Where it connects to.
---@field url? string
--- Seconds from a beat to its answer.
---@field latency? number
--- The connection of the moment.
---@field ws? moongate.WebSocket
---@field cluster moongate.Cluster
---@field gateway moongate.Gateway
--- Of the gateway.
---@field version integer
local Shard = {}

--- Starts the shard, with its session if it has one. Waits for the gateway's URL when that is not
--- known yet. Returns true, or nil, message, code.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:connect() end

--- Closes the connection and stays down. Without arguments, and with any code but 1000 and 1001,
--- the session stays resumable: connect() takes it up again.
---@param code? integer
---@param reason? string
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:disconnect(code, reason) end

--- Closes the connection and comes back: resuming, unless the code is 1000 or 1001.
---@param code? integer
---@param reason? string
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:reconnect(code, reason) end

--- send(op, d), send("REQUEST_GUILD_MEMBERS", d), send { op =, d = } or send(bytes), which are
--- already encoded. Never blocks. True, or nil, message, code: EPAYLOAD over 4096 bytes, EBUSY when
--- too much waits, ECLOSED when the shard is not running, EVALUE for what cannot be encoded. A
--- HEARTBEAT is heartbeat(); Identify and Resume have their own verbs.
---@param op moongate.Op|moongate.Packet
---@param d? any
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:send(op, d) end

--- The same as gateway:identify(shard, packet): waits until the shard has said who it is.
---@param packet? moongate.Identify
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:identify(packet) end

--- Takes the session up: a shard that is down connects, one that waits stops waiting, one that is
--- ready makes a new connection. True, or nil, message, code: EUSAGE when there is no session.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:resume() end

--- Sends one heartbeat now; those of the timer go on. True, or nil, message, code: ECLOSED without
--- an open connection.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:heartbeat() end

--- Takes one message, uncompressed and in any encoding, as if the gateway had sent it. True, or
--- nil, message, code: ECLOSED without an open connection, ESYNTAX for what is no message.
---@param bytes string
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:receive(bytes) end

--- What another process needs to go on with the session: a plain table for options.session. Events
--- that no listener has had yet come again there. Or nil, message, code.
---@return moongate.Session? session
---@return string? message
---@return moongate.Error? code
function Shard:session_info() end

--- Everything that is counted, as a plain table.
---@return table<string, any> stats
function Shard:stats() end

--- A shard on its own is driven like a cluster: connects, and hands events to their listeners until
--- stop() or Ctrl-C. True, or nil, message, code.
---@return true? done
---@return string? message
---@return moongate.Error? code
function Shard:run() end

--- Hands on what is there, waiting for it at most timeout_s seconds. As step() of a cluster.
---@param timeout_s? number
---@return integer count
---@return "EINTR"? why
function Shard:step(timeout_s) end

--- Closes the connection and ends run(). As stop() of a cluster.
---@param options? moongate.StopOptions
---@return true done
function Shard:stop(options) end

--- What Discord says of a token: where to connect, and how many shards.
---@class moongate.Gateway
---@field token string
--- Where shards connect to, once that is known; may be set.
---@field url? string
--- The number that is recommended, or was set; may be set.
---@field shards? integer
--- The number that was set.
---@field chosen_shards? integer
--- Whom it asks; may be set.
---@field api string
--- What is left of the day.
---@field session_start_limit? moongate.StartLimit
local Gateway = {}

--- Does GET /gateway/bot once and keeps the answer; `force` asks again. Waits: inside a handler it
--- yields, at top level it runs the loop. Failures of the network are tried again, with growing
--- pauses, and a Retry-After is honoured. Returns the gateway, or nil, message, code. However many
--- ask at the same time, one request is under way.
---@param force? boolean
---@return moongate.Gateway? gateway
---@return string? message
---@return moongate.Error? code
function Gateway:fetch(force) end

--- Lets a shard of this token say who it is, and waits until it has: for its turn among the
--- identify slots, which may take long. `packet` is merged over what the options say, for this and
--- every later Identify: { intents =, large_threshold =, presence =, properties = }. A shard that
--- has a session resumes instead; one that is ready has nothing to say. One that is down is
--- started. True, or nil, message, code.
---@param one moongate.Shard
---@param packet? moongate.Identify
---@return true? done
---@return string? message
---@return moongate.Error? code
function Gateway:identify(one, packet) end

--- A client, for other loops.
---@class moongate.Pollable
---@field client moongate.Cluster
local Pollable = {}

--- The descriptor to wait for, for cqueues.
---@return integer? fd
function Pollable:pollfd() end

--- "r": it is waited for until it is readable.
---@return "r" events
function Pollable:events() end

--- Seconds until step(0) wants to be called all the same; nil: never.
---@return number? seconds
function Pollable:timeout() end

--- The same descriptor, for luasocket's select.
---@return integer? fd
function Pollable:getfd() end

--- Whether step(0) wants to be called at once.
---@return boolean due
function Pollable:dirty() end

--- True once step(0) is wanted; until then what a socket without bytes says, upon which
--- copas.receive() waits.
---@return true? due
---@return string? message
function Pollable:receive() end

--- Nothing, as the descriptor is the client's. copas closes what a coroutine that ends has waited
--- for.
function Pollable:close() end

--- A connection, and what went over it.
---@class moongate.WebSocket
---@field ready_state "connecting"|"open"|"closing"
---@field url string
--- Always "": there is no sub-protocol to agree on.
---@field protocol string
---@field bytes_in integer
---@field bytes_out integer
---@field messages_in integer
---@field messages_out integer

--- How many identifies a day has, and has left.
---@class moongate.StartLimit
---@field total integer
---@field remaining integer
--- Milliseconds until all are there again, when it was asked for.
---@field reset_after number
--- The same as Unix seconds.
---@field reset_at integer
--- How many shards may identify at once.
---@field max_concurrency integer

--- What send() takes as one table.
---@class moongate.Packet
---@field op moongate.Op
---@field d? any

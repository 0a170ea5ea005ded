-- emitter.lua: listeners and those who wait for an event. Called by the cluster and the shards,
-- which hold one emitter each and forward their public methods to it, on the Lua thread. It knows
-- names, not Discord: what an event means is its listener's business.
--
-- A listener runs in a pooled coroutine of its own, so it may wait, and its failure is its own. One
-- that is removed while its event goes round is marked dead and skipped; the list is made anew
-- without the dead once they are the majority. A list on which an event goes round is only
-- ever appended to, so whoever walks it sees what was there when the event came.

local events = require "moongate.events"
local scheduler = require "moongate.scheduler"
local spelling = require "moongate.spelling"

local emitter = {}

local BUFFER_MAX = 1024 -- events that one events() loop may be behind before the oldest are dropped
local DEAD_MIN = 16 -- dead listeners that are not worth a new list
local ROUTES_MAX = 512 -- names; a gateway has some dozens, and unknown ones may come for ever

local unpack = table.unpack or rawget(_G, "unpack")

local shown = spelling.shown

local Emitter = {}
Emitter.__index = Emitter

-- ---- Arguments ----------------------------------------------------------------------------------

-- All complain at the line that called the public method, which is two calls up.

local function check_name(operation, event)
  local name = events.canonical(event)
  if name then return name end
  error(("%s: event must be a name such as \"MESSAGE_CREATE\", got %s"):format(operation,
    shown(event)), 3)
end

local function callable(fn)
  if type(fn) == "function" then return true end
  local meta = getmetatable(fn)
  return type(meta) == "table" and meta.__call ~= nil
end

local function check_function(operation, name, fn)
  if callable(fn) then return end
  error(("%s: %s must be a function, got %s"):format(operation, name, shown(fn)), 3)
end

local function boolean(value)
  return type(value) == "boolean" or nil, "true or false"
end

local function seconds(value)
  return type(value) == "number" and value >= 0 or nil, "a number of seconds from 0"
end

local function count(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0 or nil, "a whole number from 1"
end

local function filter(value)
  return callable(value) or nil, "a function"
end

local listen_options = { raw = boolean, lazy = boolean }
local wait_options = { timeout = seconds, filter = filter, raw = boolean, lazy = boolean }
local loop_options = { limit = count, raw = boolean, lazy = boolean }

local function names_of(allowed)
  local list = {}
  for name in pairs(allowed) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, ", ")
end

-- Without `list` the options are only named ones.
local function check_options(operation, options, allowed, list)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("%s: options must be a table, got %s"):format(operation, shown(options)), 3)
  end
  for key, value in pairs(options) do
    local check = allowed[key]
    if check then
      local fine, wanted = check(value)
      if not fine then
        error(("%s: %s must be %s, got %s"):format(operation, key, wanted, shown(value)), 3)
      end
    elseif not (list and type(key) == "number") then
      error(("%s: unknown option %s; there are: %s"):format(operation, tostring(key),
        names_of(allowed)), 3)
    end
  end
  if options.raw and options.lazy then
    error(("%s: raw and lazy exclude each other: take one"):format(operation), 3)
  end
  return options
end

-- How a listener with such options wants the data: "raw", "lazy" or "data", the names of the
-- methods of a record that give it so.
local function form_of(options)
  return options.raw and "raw" or options.lazy and "lazy" or "data"
end

-- ---- Lists of listeners -------------------------------------------------------------------------

-- list: { name, items = records in order, size, live, sole = the only record, if it is an ordinary
-- listener }. An emitter has a list only for a name that is heard. record: { fn, form, once, inner
-- = true when it is not a user's listener, dead, list }.

-- In place: lua_engine.c holds on to the table.
local function forget_ways(ways)
  for name in pairs(ways) do ways[name] = nil end
end

local function forget_routes(self)
  self.routes, self.routed = {}, 0
  forget_ways(self.ways)
  for child in pairs(self.children) do forget_ways(child.ways) end
end

local function changed(self, fewer)
  forget_routes(self)
  if self.on_change then self.on_change(self.owner, fewer) end
end

local function note_sole(list)
  local record = list.items[1]
  local ordinary = list.size == 1 and not (record.dead or record.once or record.inner)
  list.sole = ordinary and record or nil
end

local function compact(list)
  local items, size = {}, 0
  for i = 1, list.size do
    if not list.items[i].dead then
      size = size + 1
      items[size] = list.items[i]
    end
  end
  list.items, list.size = items, size
  note_sole(list)
end

local function add(self, name, record, first)
  local list = self.lists[name]
  local fresh = not list
  if fresh then
    list = { name = name, items = {}, size = 0, live = 0 }
    self.lists[name] = list
  end
  record.list = list
  list.live = list.live + 1
  if first then
    local items = { record }
    for i = 1, list.size do items[i + 1] = list.items[i] end
    list.items = items
  else
    list.items[list.size + 1] = record
  end
  list.size = list.size + 1
  note_sole(list)
  if fresh then changed(self) end
  return record
end

local function remove(self, record)
  if record.dead then return false end
  record.dead = true
  local list = record.list
  list.live = list.live - 1
  list.sole = nil
  if list.live == 0 then
    self.lists[list.name] = nil
    changed(self, true)
  elseif list.size - list.live >= math.max(DEAD_MIN, list.live) then
    compact(list)
  end
  return true
end

-- Calls visit(record) for each living listener that a user has registered for the name.
local function each_listener(self, name, visit)
  local list = self.lists[name]
  if not list then return end
  local items = list.items
  for i = 1, list.size do
    if not items[i].dead and not items[i].inner then visit(items[i]) end
  end
end

-- ---- Failures -----------------------------------------------------------------------------------

local function raise_from(event)
  return function(err, traceback)
    scheduler.raise(err, ("in a listener of %s: %s"):format(event, traceback))
  end
end

local raise_from_error = raise_from("error")

local function text_of(err)
  local fine, text = pcall(tostring, err)
  return fine and text or "(an error object that cannot be shown)"
end

-- Tells the error listeners of this emitter, else those of the one above it, unless that is `told`
-- and knows already. Returns whose they were, nil: there are none.
local function tell_error(self, data, shard, told)
  local hearer = self
  while hearer and not hearer.lists.error do hearer = hearer.parent end
  if hearer and hearer ~= told then hearer:emit("error", data, shard) end
  return hearer
end

-- A listener of `event` has failed. With nobody to be told, whoever turns the loop gets it.
local function report_failure(self, err, traceback, shard, event)
  local told = tell_error(self, {
    code = "EHANDLER", phase = "handler", event = event, message = text_of(err),
    traceback = traceback,
  }, shard)
  if not told then raise_from(event)(err, traceback) end
end

-- "bot.lua:12" of a listener, for the report that it held everybody up.
local function place_of(fn)
  if type(fn) ~= "function" then
    local meta = getmetatable(fn)
    fn = type(meta) == "table" and meta.__call
    if type(fn) ~= "function" then return "?" end
  end
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return "[C]" end
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

-- ---- Delivery -----------------------------------------------------------------------------------

-- How the listeners of an event run: see scheduler.run.
local function kind_of(self, name)
  return self.kinds[name] or self.kind
end

local run = scheduler.run

local function call(self, kind, record, data, shard, name)
  if record.once then remove(self, record) end
  if record.inner then return record.fn(data, shard, name) end
  run(kind, record.fn, data, shard, name)
end

local function run_list(self, list, name, data, shard)
  local items, kind = list.items, kind_of(self, name)
  for i = 1, list.size do
    local record = items[i]
    if not record.dead then call(self, kind, record, data, shard, name) end
  end
end

-- The same for a source that is read when the first listener wants it, in the form that it wants.
-- Returns false when it cannot be decoded, and the emitter whose error listeners were told so,
-- once; its text is its text all the same.
local function run_unread(self, list, route, source, shard, readable, told)
  local items, name, kind = list.items, route.name, route.kind
  local last, value, message, code = nil, nil, nil, nil
  for i = 1, list.size do
    local record = items[i]
    local form = record.form
    if not record.dead and (readable or form == "raw") then
      if form ~= last then
        value, message, code = source[form](source)
        last = form
      end
      if message ~= nil then
        readable, last = false, nil
        local failure = { code = code, message = message, phase = "decode", event = name }
        told = tell_error(self, failure, shard, told)
      elseif record.once or record.inner then
        call(self, kind, record, value, shard, name)
      else
        run(kind, record.fn, value, shard, name)
      end
    end
  end
  return readable, told
end

-- Where an event goes: { name, list of those who listen to it, all = list of "*", kind }, or false:
-- nobody hears it. A dispatch that is spelt like one of our own events is only for those who hear
-- everything. Kept until a name is heard that was not, or is not that was.
local function find_route(self, event)
  local name = events.canonical(event)
  if not name or events.own[name] then name = event end
  local list, all = not events.own[name] and self.lists[name] or nil, self.lists["*"]
  local route = false
  if list or all then
    route = { name = name, list = list, all = all, kind = kind_of(self, name) }
  end
  if self.routed >= ROUTES_MAX then
    self.routes, self.routed = {}, 0
    forget_ways(self.ways)
  end
  self.routes[event], self.routed = route, self.routed + 1
  return route
end

--- Hands an event that came in to those who listen, and to those of "*". `source:data()` is called
-- only when somebody wants the decoded value, `source:raw()` for raw listeners and `source:lazy()`
-- for lazy ones; each gives the same value when called again, or nil, message, code, which becomes
-- an `error` event with phase "decode". `told` is an emitter that has had that `error` already.
-- Returns whether anybody listened, which emitter's listeners have been told of the error, and true
-- when there was one.
function Emitter:dispatch(event, source, shard, told)
  local route = self.routes[event]
  if route == nil then route = find_route(self, event) end
  if not route then return false, told, false end
  local list, all, readable = route.list, route.all, true
  if list then readable, told = run_unread(self, list, route, source, shard, readable, told) end
  if all then readable, told = run_unread(self, all, route, source, shard, readable, told) end
  return true, told, not readable
end

-- The way of an event that a single list hears, here and at the parent: { list, kind, name }, or
-- false. Each has its route as well, so there are no more ways than routes. The engine goes most of
-- them by itself: see engine_serve in lua_engine.c.
local function find_way(self, event)
  local way, lists = false, 0
  for _, one in ipairs { self, self.parent } do
    local route = one.routes[event]
    if route == nil then route = find_route(one, event) end
    for _, list in ipairs(route and { route.list or route.all, route.list and route.all } or {}) do
      lists = lists + 1
      way = { list = list, kind = route.kind, name = route.name }
    end
  end
  if lists ~= 1 then way = false end
  self.ways[event] = way
  return way
end

--- Hands an event that came in to those who listen here and then to those of the parent, as
-- dispatch() does. `now` is the time, where it is known: reading the clock for each event costs as
-- much as all the rest of this. Returns the time when it is done, if that is known, and true when
-- the data cannot be decoded.
function Emitter:deliver(event, source, shard, now)
  local way = self.ways[event]
  if way == nil then way = find_way(self, event) end
  local record = way and way.list.sole
  if record then
    local value, message = source[record.form](source)
    if message == nil then
      return run(way.kind, record.fn, value, shard, way.name, nil, now), false
    end
  end
  local _, told, broken = self:dispatch(event, source, shard)
  if not self.parent then return nil, broken end
  local _, _, broken_there = self.parent:dispatch(event, source, shard, told)
  return nil, broken or broken_there
end

--- Calls the listeners of an event, one's own events included: emit("my_event", data, shard). Raw
-- and lazy listeners get the data as it is. "*" hears all but moongate's own events. Returns
-- whether anybody listened.
function Emitter:emit(event, data, shard)
  local name = check_name("emit", event)
  if name == "*" then error("emit: \"*\" stands for every event and is none itself", 2) end
  local list, all = self.lists[name], not events.own[name] and self.lists["*"]
  if list then run_list(self, list, name, data, shard) end
  if all then run_list(self, all, name, data, shard) end
  return (list or all) and true or false
end

-- ---- Listeners ----------------------------------------------------------------------------------

--- Calls fn(data, shard, name) for each such event. options: raw = true hands over JSON text,
-- lazy = true a table that decodes what is touched. Returns fn.
function Emitter:on(event, fn, options)
  local name = check_name("on", event)
  check_function("on", "fn", fn)
  options = check_options("on", options, listen_options)
  add(self, name, { fn = fn, form = form_of(options) })
  return fn
end

--- The same, for the next such event only.
function Emitter:once(event, fn, options)
  local name = check_name("once", event)
  check_function("once", "fn", fn)
  options = check_options("once", options, listen_options)
  add(self, name, { fn = fn, form = form_of(options), once = true })
  return fn
end

--- The same as on(), before the listeners that are there.
function Emitter:prepend(event, fn, options)
  local name = check_name("prepend", event)
  check_function("prepend", "fn", fn)
  options = check_options("prepend", options, listen_options)
  add(self, name, { fn = fn, form = form_of(options) }, true)
  return fn
end

--- Removes a listener wherever it stands for the event; without fn all of the event's; without
-- arguments all. Those who wait with wait_for() and events() stay. Returns whether there was any.
function Emitter:off(event, fn)
  local removed = false
  local function take(record)
    if fn == nil or record.fn == fn then removed = remove(self, record) or removed end
  end
  if event ~= nil then
    each_listener(self, check_name("off", event), take)
    return removed
  end
  if fn ~= nil then check_name("off", event) end
  local names = {}
  for name in pairs(self.lists) do names[#names + 1] = name end
  for _, name in ipairs(names) do each_listener(self, name, take) end
  return removed
end

--- A new list of the functions that listen to the event.
function Emitter:listeners(event)
  local list = {}
  each_listener(self, check_name("listeners", event), function(record)
    list[#list + 1] = record.fn
  end)
  return list
end

--- How many functions listen to the event; without an event, to any.
function Emitter:listener_count(event)
  local listening = 0
  local function tally() listening = listening + 1 end
  if event ~= nil then
    each_listener(self, check_name("listener_count", event), tally)
  else
    for name in pairs(self.lists) do each_listener(self, name, tally) end
  end
  return listening
end

--- Whether anybody would notice the event: a listener, a loop, somebody who waits, or "*".
function Emitter:hears(event)
  local name = check_name("hears", event)
  return (self.lists[name] or not events.own[name] and self.lists["*"]) and true or false
end

--- What is heard: a sorted list of dispatch names, whether "*" is heard, and a sorted list of
-- moongate's own names.
function Emitter:names()
  local dispatches, own = {}, {}
  for name in pairs(self.lists) do
    local list = events.own[name] and own or dispatches
    if name ~= "*" then list[#list + 1] = name end
  end
  table.sort(dispatches)
  table.sort(own)
  return dispatches, self.lists["*"] ~= nil, own
end

-- ---- Waiting ------------------------------------------------------------------------------------

-- What a waiter is woken with, before the values.
local EVENT, FAILED, CLOSED = "event", "failed", "closed"

local function filtered(check, take, waiter)
  local function judge(data, shard, name)
    if check(data, shard, name) then take(data, shard, name) end
  end
  local function fail(err) waiter:wake(FAILED, err) end
  return function(data, shard, name)
    scheduler.run_protected(judge, fail, data, shard, name)
  end
end

local function finish_wait(name, options, kind, ...)
  if kind == EVENT then return ... end
  if kind == CLOSED then
    local message, code = ...
    return nil, ("wait_for %s: %s"):format(name, message), code
  end
  if kind == FAILED then error((...), 0) end
  local why, code = ...
  if code then return nil, ("wait_for %s: %s"):format(name, why), code end
  return nil, ("wait_for %s: nothing came within %g s"):format(name, options.timeout), "ETIMEOUT"
end

--- Waits for the next such event: data, shard, name. options: timeout in seconds, filter(data,
-- shard, name) -> whether this is the one, raw, lazy. Else nil, message, code: ETIMEOUT, or what
-- the emitter was closed with (ECLOSED). An error in the filter is raised here.
function Emitter:wait_for(event, options)
  local name = check_name("wait_for", event)
  options = check_options("wait_for", options, wait_options)
  if self.closed then return finish_wait(name, options, CLOSED, unpack(self.closed)) end
  local waiter, record = scheduler.waiter(), { inner = true, form = form_of(options) }
  local function take(data, shard, what)
    if remove(self, record) then waiter:wake(EVENT, data, shard, what) end
  end
  record.fn = options.filter and filtered(options.filter, take, waiter) or take
  add(self, name, record)
  self.waits[waiter] = true
  function waiter.finally()
    self.waits[waiter] = nil
    remove(self, record)
  end
  return finish_wait(name, options, waiter:wait(options.timeout))
end

-- A loop's buffer: { first, last, [first..last] = { name, data, shard }, limit, falling = true from
-- the first drop until the loop has caught up, dropped = how many since, waiter, ended, records }.
-- The listeners that fill it hold it weakly, so a loop that was left without being closed is
-- noticed.

local function end_loop(self, loop)
  loop.ended = true
  for _, record in ipairs(loop.records) do remove(self, record) end
  self.loops[loop] = nil
end

local function tell_log(self, data)
  if not self.logs or self.logs(data.level) then self:emit("log", data) end
end

local function tell_dropped(self, loop)
  loop.falling = true
  local code, phase = "EBUSY", "events"
  local message = ("events: the loop is %d events behind; the oldest are dropped until it catches "
    .. "up: do less in it, or give a larger limit"):format(loop.limit)
  if tell_error(self, { code = code, phase = phase, message = message }) then return end
  tell_log(self, { level = "warn", message = message, fields = { code = code, phase = phase } })
end

local function tell_caught_up(self, loop)
  local dropped = loop.dropped
  loop.falling, loop.dropped = false, 0
  tell_log(self, {
    level = "warn", fields = { dropped = dropped },
    message = ("events: the loop has caught up; %d events were dropped"):format(dropped),
  })
end

local function put(self, loop, data, shard, name)
  loop.last = loop.last + 1
  loop[loop.last] = { name, data, shard }
  local behind = loop.last - loop.first + 1 > loop.limit
  if behind then
    loop[loop.first] = nil
    loop.first = loop.first + 1
    loop.dropped = loop.dropped + 1
  end
  if loop.waiter then loop.waiter:wake(true) end
  if behind and not loop.falling then tell_dropped(self, loop) end
end

local function fill(self, loop, name, form)
  local weak = setmetatable({ loop }, { __mode = "v" })
  local record = { inner = true, form = form }
  function record.fn(data, shard, what)
    if weak[1] then put(self, weak[1], data, shard, what) else remove(self, record) end
  end
  loop.records[#loop.records + 1] = add(self, name, record)
end

local function next_of(self, loop)
  while loop.first > loop.last do
    if loop.falling then tell_caught_up(self, loop) end
    if loop.ended then return nil end
    if loop.waiter then error("events: somebody else waits in this loop already", 2) end
    loop.waiter = scheduler.waiter()
    self.pending[loop] = true -- nobody else may hold the coroutine that waits here
    loop.waiter.finally = function() loop.waiter, self.pending[loop] = nil, nil end
    local woken, message = loop.waiter:wait()
    if not woken then
      end_loop(self, loop)
      error("events: " .. message .. "; connect first", 2)
    end
  end
  local event = loop[loop.first]
  loop[loop.first] = nil
  loop.first = loop.first + 1
  return event[1], event[2], event[3]
end

--- for name, data, shard in e:events("MESSAGE_CREATE", ...) do: the events as a loop; without names
-- every dispatch. Names may be a list, which takes options as well: { "MESSAGE_CREATE", raw = true,
-- limit = 1024 }, or lazy. Ends when the emitter is closed, after what came before. A loop that is
-- more than `limit` events behind loses the oldest: an `error` event says so (a `log` event when
-- nobody hears that), and when the loop has caught up a `log` event says how many were lost.
function Emitter:events(...)
  local list = ...
  if type(list) ~= "table" then list = { ... } end
  local options = check_options("events", list, loop_options, true)
  local names = {}
  for i = 1, #list do names[i] = check_name("events", list[i]) end
  if #names == 0 then names[1] = "*" end
  local limit = options.limit or BUFFER_MAX
  local loop = { first = 1, last = 0, limit = limit, dropped = 0, records = {} }
  local function step() return next_of(self, loop) end
  if self.closed then
    loop.ended = true
    return step
  end
  self.loops[loop] = true
  local heard = {}
  for _, name in ipairs(names) do
    if not heard[name] then fill(self, loop, name, form_of(options)) end
    heard[name] = true
  end
  -- The fourth value is closed when the loop is left, by Lua 5.4.
  return step, nil, nil, setmetatable({}, { __close = function() end_loop(self, loop) end })
end

--- Ends every wait with nil, message, code, and every loop once it has had what it holds. Until
-- open() is called, later ones end at once. Listeners stay.
function Emitter:close(message, code)
  message, code = message or "closed", code or "ECLOSED"
  self.closed = { message, code }
  local waits, loops = self.waits, {}
  self.waits = {}
  for loop in pairs(self.loops) do loops[#loops + 1] = loop end
  for _, loop in ipairs(loops) do
    end_loop(self, loop)
    if loop.waiter then loop.waiter:wake(true) end
  end
  for waiter in pairs(waits) do waiter:wake(CLOSED, message, code) end
end

--- Makes waiting possible again after close().
function Emitter:open()
  self.closed = nil
end

-- ---- Making -------------------------------------------------------------------------------------

--- A new emitter. options, all of them optional: on_change(owner, fewer) is called when the set of
-- heard names has changed, with true when it got smaller; on_blocked(event, seconds, where, owner,
-- shard) when a listener ran for more than blocked_after seconds without waiting; parent is the
-- emitter whose error listeners are told of failures when this one has none.
function emitter.new(options)
  options = options or {}
  local self = setmetatable({
    owner = options.owner, parent = options.parent, logs = options.logs,
    on_change = options.on_change,
    lists = {}, waits = {}, loops = setmetatable({}, { __mode = "k" }), routes = {}, routed = 0,
    ways = {}, children = setmetatable({}, { __mode = "k" }), pending = {},
  }, Emitter)
  if self.parent then self.parent.children[self] = true end
  local function on_failure(err, traceback, _, shard, name)
    report_failure(self, err, traceback, shard, name)
  end
  local function on_long(held, fn, _, shard, name)
    options.on_blocked(name, held, place_of(fn), self.owner, shard)
  end
  local limit = options.on_blocked and options.blocked_after or nil
  self.kind = { limit = limit, on_long = on_long, on_error = on_failure }
  self.kinds = {
    error = { limit = limit, on_long = on_long, on_error = raise_from_error },
    blocked = { on_error = on_failure },
  }
  return self
end

local PUBLIC = {
  "on", "once", "off", "prepend", "listeners", "listener_count", "emit", "wait_for", "events",
}

--- Gives `methods` the public methods of an emitter, each forwarded to get(object).
function emitter.delegate(methods, get)
  for _, name in ipairs(PUBLIC) do
    local method = Emitter[name]
    -- A tail call, so that complaints about arguments name the user's line.
    methods[name] = function(object, ...) return method(get(object), ...) end
  end
  return methods
end

return emitter

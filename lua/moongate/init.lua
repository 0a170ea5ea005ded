-- init.lua: `require "moongate"`: the constructors and the tables of words. Called by users on the
-- Lua thread. Loading it starts nothing: no thread, no connection, no file.

local cluster = require "moongate.cluster"
local coordinator = require "moongate.coordinator"
local core = require "moongate.core"
local events = require "moongate.events"
local gateway = require "moongate.gateway"
local intents = require "moongate.intents"
local roster = require "moongate.roster"
local scheduler = require "moongate.scheduler"
local snowflake = require "moongate.snowflake"
local store = require "moongate.store"

scheduler.now = core.now
scheduler.poll = core.poll
scheduler.interrupted = core.interrupted

local moongate = {
  _VERSION = core._VERSION,
  --- Marks a table as a list, so that it goes out as one when it is empty; returns it.
  array = core.array,
  close_codes = core.close_codes,
  coordinator = coordinator,
  --- Makes what a lazy listener was given a plain table, in place; returns it.
  decoded = core.decoded,
  events = events,
  gateway = gateway,
  intents = intents,
  null = core.null,
  opcodes = core.opcodes,
  snowflake = snowflake,
  store = store,
  --- The four bytes that end each message of a zlib-stream.
  ZLIB_SUFFIX = "\0\0\255\255",
}

--- A Cluster from options, or from a token and options. client { token =, intents = { ... } }
function moongate.client(source, options)
  if type(source) == "table" and options == nil and not gateway.is(source) then
    source, options = nil, source
  end
  return (cluster.new(source, options, "Client", 3))
end

--- A Cluster from a token or a Gateway, and options.
function moongate.cluster(source, options)
  if type(source) == "table" and options == nil and not gateway.is(source) then
    source, options = nil, source
  end
  return (cluster.new(source, options, "Cluster", 3))
end

--- One Shard on its own: connect(), run() and stop() are its methods as well.
function moongate.shard(source, id, options)
  id = roster.check_id("shard", id, 3)
  return cluster.alone(cluster.new(source, options, "Cluster", 3), id)
end

--- Waits for so many seconds: inside a handler it yields, at top level it runs the loop.
function moongate.sleep(seconds)
  return scheduler.sleep(seconds)
end

--- Runs fn(...) in a coroutine of its own, in which every call that waits yields.
function moongate.spawn(fn, ...)
  return scheduler.spawn(fn, ...)
end

--- A prompt at which the bot goes on, and its events are shown while one types; until Ctrl-D, then
-- true. repl(bot, { names = { ... }, watch = { ... }, connect = false, history = file })
function moongate.repl(bot, options)
  return require("moongate.repl").run(bot, options)
end

return moongate

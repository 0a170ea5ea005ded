-- virtual.lua: what the specs of the pure Lua modules share: a scheduler of one's own on a clock
-- that stands still, sources that are filled by hand, and a world in which things happen at set
-- times. Nothing sleeps: whoever would wait for ever gets an error instead.

local virtual = {}

local real, core = pcall(require, "moongate.core")

-- For a tree where the C part is not built. Written from the gateway's documentation, not copied
-- from the table it stands in for.
local function stub_core()
  local rows, privileged = {}, { guild_members = true, guild_presences = true,
    message_content = true }
  local bits = { [0] = "guilds", "guild_members", "guild_moderation", "guild_expressions",
    "guild_integrations", "guild_webhooks", "guild_invites", "guild_voice_states",
    "guild_presences", "guild_messages", "guild_message_reactions", "guild_message_typing",
    "direct_messages", "direct_message_reactions", "direct_message_typing", "message_content",
    "guild_scheduled_events", [20] = "auto_moderation_configuration",
    [21] = "auto_moderation_execution", [24] = "guild_message_polls",
    [25] = "direct_message_polls" }
  for bit = 0, 25 do
    local name = bits[bit]
    if name then rows[#rows + 1] = { name = name, bit = bit, privileged = privileged[name] } end
  end
  return { intents = rows, limits = {
    VERSION_DEFAULT = 10, MESSAGE_BYTES_MAX = 67108864, URL_BYTES_MAX = 512, TOKEN_BYTES_MAX = 512,
    SESSION_ID_BYTES_MAX = 256, SEND_TIMEOUT_MS = 300000, CONNECT_TIMEOUT_MS = 30000,
    HELLO_TIMEOUT_MS = 20000, READY_TIMEOUT_MS = 120000, BACKOFF_BASE_MS = 1000,
    BACKOFF_CAP_MS = 60000, QUEUE_EVENTS_MAX = 100000, QUEUE_BYTES_MAX = 8388608,
    QUEUE_LEAVE_BYTES_MAX = 67108864, DROP_EVENTS_MAX = 128, QUOTA_RESERVE = 10,
  } }
end

--- The C module, or a table of the same constants where it is not built.
function virtual.core()
  if not real then
    core, real = stub_core(), true
    package.loaded["moongate.core"] = core
  end
  return core
end

local function fresh(name)
  package.loaded[name] = nil
  return require(name)
end

-- A source of things to do: functions that were put in.
local function new_source(world, has_fd)
  local source = { queue = {}, pumps = 0 }
  local fd = has_fd and world.next_fd or nil
  if fd then
    world.next_fd = fd + 1
    world.readable[fd] = function() return #source.queue > 0 end
  end
  function source.fd() return fd end
  function source.pump(_, limit)
    source.pumps = source.pumps + 1
    local handled = 0
    while handled < limit and #source.queue > 0 do
      handled = handled + 1
      table.remove(source.queue, 1)()
      if world.scheduler.failing() then break end
    end
    return handled
  end
  function source.put(thing) source.queue[#source.queue + 1] = thing end
  return source
end

local function poll_of(world)
  return function(fds, timeout_s)
    world.polls[#world.polls + 1] = { fds = { table.unpack(fds) }, timeout = timeout_s }
    local function first()
      for place, fd in ipairs(fds) do
        if world.readable[fd]() then return place end
      end
    end
    if first() then return true, first() end
    local next_thing = world.things[1]
    local until_s = timeout_s and world.now + timeout_s
    if next_thing and (not until_s or next_thing.at <= until_s) then
      table.remove(world.things, 1)
      world.now = math.max(world.now, next_thing.at)
      local ready, code = next_thing.happen()
      if ready == nil and code then return nil, code end
      return true, first()
    end
    if not until_s then error("the loop would hang for ever", 0) end
    world.now = until_s
    return false
  end
end

--- A world: { scheduler, emitter, now, polls, source() attached, at(seconds, fn) }.
function virtual.world()
  virtual.core()
  local world = { now = 1000, polls = {}, things = {}, readable = {}, next_fd = 10 }
  world.scheduler = fresh "moongate.scheduler"
  world.emitter = fresh "moongate.emitter"
  world.scheduler.now = function() return world.now end
  world.scheduler.poll = poll_of(world)
  function world.source(has_fd)
    local source = new_source(world, has_fd ~= false)
    world.scheduler.attach(source)
    return source
  end
  function world.at(seconds, happen)
    table.insert(world.things, { at = 1000 + seconds, happen = happen })
    table.sort(world.things, function(one, other) return one.at < other.at end)
  end
  return world
end

--- The bytes that Lua holds once nothing more can be collected.
function virtual.kept_bytes()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count") * 1024
end

return virtual

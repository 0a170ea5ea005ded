-- commands.lua: builders of what a bot may send: presence, members, voice state, soundboard sounds,
-- channel info. Called through the cluster and the shards, whose methods they become; each ends in
-- their send(). They check what Discord would punish with a closed connection, and mark the fields
-- that are lists, so that an empty one goes out as a list. They keep no state.

local core = require "moongate.core"

local commands = {}

local ACTIVITY_TYPES = {
  playing = 0, streaming = 1, listening = 2, watching = 3, custom = 4, competing = 5,
}
local STATUSES = { online = true, dnd = true, idle = true, invisible = true, offline = true }
local PRESENCE_KEYS = { since = true, activities = true, status = true, afk = true }
local CHANNEL_FIELDS = { "status", "voice_start_time" }
local NONCE_BYTES_MAX = 32 -- a longer one is ignored by the gateway, and the chunks carry none

-- ---- Arguments ---------------------------------------------------------------------------------

local HERE = debug.getinfo(1, "S").source

-- Complains at the line of the user, however deep in this file the mistake was found.
local function complain(format, ...)
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and info.source == HERE do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(format:format(...), level)
end

-- Here and wherever else a wrong argument is repeated it is cut before the secret half of a token,
-- whose first 24 characters only name the bot.
local function refuse(operation, name, wanted, value)
  complain("%s: %s must be %s, got %s", operation, name, wanted,
    type(value) == "string" and ("%q"):format(value:sub(1, 24)) or type(value))
end

local EXACT = 9007199254740992 -- 2^53: a float from here on may have lost digits

-- Ids that are no number make the gateway hang for seconds and then drop the session.
local function id_of(operation, name, value)
  local whole = type(value) == "number" and value >= 0 and value % 1 == 0
  if whole and (value < EXACT or math.type and math.type(value) == "integer") then
    return ("%d"):format(value)
  end
  if type(value) ~= "string" or not value:find("^%d+$") then
    refuse(operation, name, "an id (a string of digits)", value)
  end
  return value
end

local function ids_of(operation, name, value)
  if type(value) ~= "table" then return { id_of(operation, name, value) } end
  local list = {}
  for i, id in ipairs(value) do list[i] = id_of(operation, ("%s[%d]"):format(name, i), id) end
  return list
end

local function table_of(operation, name, value)
  if value == nil then return {} end
  if type(value) ~= "table" then refuse(operation, name, "a table", value) end
  return value
end

local function check_type(operation, fields, key, wanted)
  local value = fields[key]
  if value ~= nil and type(value) ~= wanted then refuse(operation, key, "a " .. wanted, value) end
  return value
end

local function check_keys(operation, fields, allowed)
  for key in pairs(fields) do
    if not allowed[key] then
      local names = {}
      for name in pairs(allowed) do names[#names + 1] = name end
      table.sort(names)
      complain("%s: unknown field %s; there are: %s", operation, tostring(key),
        table.concat(names, ", "))
    end
  end
end

-- ---- Builders: each returns the opcode's name and d --------------------------------------------

local builders = {}
commands.builders = builders

local function activity_of(operation, activity)
  if type(activity) ~= "table" then
    refuse(operation, "activities", "a list of tables", activity)
  end
  local copy = {}
  for key, value in pairs(activity) do copy[key] = value end
  if type(copy.name) ~= "string" then refuse(operation, "activity name", "a string", copy.name) end
  if type(copy.type) == "string" then copy.type = ACTIVITY_TYPES[copy.type:lower()] or copy.type end
  if copy.type == nil then copy.type = ACTIVITY_TYPES.playing end
  if type(copy.type) ~= "number" or copy.type % 1 ~= 0 then
    refuse(operation, "activity type", "a number or a name such as \"playing\"", copy.type)
  end
  return copy
end

-- A lone activity without the braces around it would be an empty list.
local function activities_of(operation, list)
  local activities, keys = {}, 0
  for i, activity in ipairs(table_of(operation, "activities", list)) do
    activities[i] = activity_of(operation, activity)
  end
  for _ in pairs(list or {}) do keys = keys + 1 end
  if keys ~= #activities then
    complain("%s: activities must be a list of tables, such as { { name = \"chess\" } }", operation)
  end
  return activities
end

--- { status = "online", activities = { { name =, type =, state =, url = }, ... }, since =, afk = }.
-- An activity's type may be a name. What is left out: online, no activities, not away.
function builders.presence(presence)
  local operation = "set_presence"
  local fields = table_of(operation, "presence", presence)
  check_keys(operation, fields, PRESENCE_KEYS)
  local status = fields.status or "online"
  if not STATUSES[status] then
    refuse(operation, "status", "online, dnd, idle, invisible or offline", status)
  end
  local activities = activities_of(operation, fields.activities)
  check_type(operation, fields, "since", "number")
  return "PRESENCE_UPDATE", {
    since = fields.since or core.null,
    activities = core.array(activities),
    status = status,
    afk = check_type(operation, fields, "afk", "boolean") or false,
  }
end

local MEMBER_KEYS = { query = true, limit = true, user_ids = true, presences = true, nonce = true }

--- request_members(guild_id, { query =, limit =, presences =, nonce = }) by the beginning of their
-- names, or { user_ids = id or list }. Without either: all of them.
function builders.members(guild_id, options)
  local operation = "request_members"
  local fields = table_of(operation, "options", options)
  check_keys(operation, fields, MEMBER_KEYS)
  if fields.query ~= nil and fields.user_ids ~= nil then
    complain("request_members: query and user_ids exclude each other")
  end
  local nonce = check_type(operation, fields, "nonce", "string")
  if nonce and #nonce > NONCE_BYTES_MAX then
    complain("request_members: nonce has %d bytes, at most %d", #nonce, NONCE_BYTES_MAX)
  end
  local d = {
    guild_id = id_of(operation, "guild_id", guild_id),
    limit = check_type(operation, fields, "limit", "number") or 0,
    presences = check_type(operation, fields, "presences", "boolean"),
    nonce = nonce,
  }
  if fields.user_ids ~= nil then
    d.user_ids = core.array(ids_of(operation, "user_ids", fields.user_ids))
  else
    d.query = check_type(operation, fields, "query", "string") or ""
  end
  return "REQUEST_GUILD_MEMBERS", d
end

local VOICE_KEYS = { channel_id = true, self_mute = true, self_deaf = true }

--- update_voice_state(guild_id, channel_id, { self_mute =, self_deaf = }): joins or moves; without
-- a channel_id it leaves. The channel may stand in the table as well.
function builders.voice_state(guild_id, channel_id, options)
  local operation = "update_voice_state"
  if type(channel_id) == "table" then channel_id, options = nil, channel_id end
  local fields = table_of(operation, "options", options)
  check_keys(operation, fields, VOICE_KEYS)
  if channel_id == nil then channel_id = fields.channel_id end
  if channel_id == nil or channel_id == core.null then
    channel_id = core.null
  else
    channel_id = id_of(operation, "channel_id", channel_id)
  end
  return "VOICE_STATE_UPDATE", {
    guild_id = id_of(operation, "guild_id", guild_id),
    channel_id = channel_id,
    self_mute = check_type(operation, fields, "self_mute", "boolean") or false,
    self_deaf = check_type(operation, fields, "self_deaf", "boolean") or false,
  }
end

--- request_soundboard_sounds(guild_id or list)
function builders.soundboard_sounds(guild_ids)
  local list = ids_of("request_soundboard_sounds", "guild_ids", guild_ids)
  if #list == 0 then
    refuse("request_soundboard_sounds", "guild_ids", "an id or a list of them", guild_ids)
  end
  return "REQUEST_SOUNDBOARD_SOUNDS", { guild_ids = core.array(list) }
end

--- request_channel_info(guild_id, fields): "status" and "voice_start_time", both when left out.
function builders.channel_info(guild_id, fields)
  local operation = "request_channel_info"
  local list = {}
  for i, field in ipairs(table_of(operation, "fields", fields or CHANNEL_FIELDS)) do
    if type(field) ~= "string" then refuse(operation, "fields", "a list of strings", field) end
    list[i] = field
  end
  return "REQUEST_CHANNEL_INFO", {
    guild_id = id_of(operation, "guild_id", guild_id),
    fields = core.array(list),
  }
end

-- ---- Methods -----------------------------------------------------------------------------------

--- Adds the methods to those of a shard, whose send(op, d) takes it from there.
function commands.for_shard(methods)
  function methods:set_presence(presence)
    return self:send(builders.presence(presence))
  end
  function methods:request_members(guild_id, options)
    return self:send(builders.members(guild_id, options))
  end
  function methods:update_voice_state(guild_id, channel_id, options)
    return self:send(builders.voice_state(guild_id, channel_id, options))
  end
  function methods:request_soundboard_sounds(guild_ids)
    return self:send(builders.soundboard_sounds(guild_ids))
  end
  function methods:request_channel_info(guild_id, fields)
    return self:send(builders.channel_info(guild_id, fields))
  end
  return methods
end

-- The ids of one request, by the shard that has them.
local function by_shard(self, guild_ids)
  local groups, order = {}, {}
  for _, guild_id in ipairs(guild_ids) do
    local shard, message, code = self:shard_for(guild_id)
    if not shard then return nil, message, code end
    if not groups[shard] then
      groups[shard] = core.array {}
      order[#order + 1] = shard
    end
    table.insert(groups[shard], guild_id)
  end
  return groups, order
end

--- Adds the methods to those of a cluster: its send(guild_id, op, d) finds the shard. The presence
-- goes to every shard, a list of guilds to each shard its own.
function commands.for_cluster(methods)
  function methods:set_presence(presence)
    local op, d = builders.presence(presence)
    self:remember_presence(d)
    return self:send_all(op, d)
  end
  function methods:request_members(guild_id, options)
    return self:send(guild_id, builders.members(guild_id, options))
  end
  function methods:update_voice_state(guild_id, channel_id, options)
    return self:send(guild_id, builders.voice_state(guild_id, channel_id, options))
  end
  function methods:request_soundboard_sounds(guild_ids)
    local op, d = builders.soundboard_sounds(guild_ids)
    local groups, order, code = by_shard(self, d.guild_ids)
    if not groups then return nil, order, code end
    for _, shard in ipairs(order) do
      local sent, message, why = shard:send(op, { guild_ids = groups[shard] })
      if not sent then return nil, message, why end
    end
    return true
  end
  function methods:request_channel_info(guild_id, fields)
    return self:send(guild_id, builders.channel_info(guild_id, fields))
  end
  return methods
end

return commands

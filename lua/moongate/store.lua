-- store.lua: places where sessions outlive their process: moongate.store.memory() and .file(path).
-- A store is anything with load(key) -> table or nil, and save(key, table) -> true or nil, message,
-- code. Called by sessions.lua on the Lua thread; writing never delays a heartbeat.

local cjson = require "cjson.safe"
local core = require "moongate.core"

local store = {}

-- ---- Memory ------------------------------------------------------------------------------------

local function copy(value)
  if type(value) ~= "table" then return value end
  local new = {}
  for key, element in pairs(value) do new[key] = copy(element) end
  return new
end

local Memory = {}
Memory.__index = Memory

function Memory:load(key)
  return copy(self.records[key])
end

function Memory:save(key, record)
  self.records[key] = copy(record)
  return true
end

function Memory:__tostring()
  local count = 0
  for _ in pairs(self.records) do count = count + 1 end
  return ("Store in memory, %d record%s"):format(count, count == 1 and "" or "s")
end

--- A store that lives as long as this Lua state: for reconnecting with another client, and for
-- tests.
function store.memory()
  return setmetatable({ records = {} }, Memory)
end

-- ---- A file ------------------------------------------------------------------------------------

-- One JSON object from key to record. Numbers come back from lua-cjson as floats.
local File = {}
File.__index = File

local function whole(value)
  if type(value) == "table" then
    for key, element in pairs(value) do value[key] = whole(element) end
  elseif type(value) == "number" then
    return math.tointeger(value) or value
  end
  return value
end

-- All records; an empty table where there is no file yet. Nil, message, code when it is no store.
local function read(path)
  local file, why, number = io.open(path, "rb")
  if not file then
    if number == 2 then return {} end -- ENOENT
    return nil, "store: cannot read: " .. why, "ESYSTEM"
  end
  local text = file:read "a"
  file:close()
  if not text then return nil, "store: cannot read " .. path, "ESYSTEM" end
  local records = cjson.decode(text)
  if type(records) ~= "table" then
    return nil, ("store: %s is no session store; remove it, or name another file"):format(path),
      "EVALUE"
  end
  return whole(records)
end

--- The table that was saved under the key, or nil; nil, message, code when it cannot be read.
function File:load(key)
  local records, message, code = read(self.path)
  if not records then return nil, message, code end
  local record = records[key]
  return type(record) == "table" and record or nil
end

-- Reads, changes and replaces the file under a lock, as other processes may keep theirs in it. What
-- is no store is put aside, not lost.
local function replace(path, key, record)
  local records, message, code = read(path)
  if not records and code == "EVALUE" then
    local moved, why = os.rename(path, path .. ".broken")
    if not moved then return nil, "store: " .. why, "ESYSTEM" end
    records = {}
  elseif not records then
    return nil, message, code
  end
  records[key] = record
  local text, why = cjson.encode(records)
  if not text then return nil, "store: " .. tostring(why), "EVALUE" end
  return core.replace_file(path, text)
end

--- Keeps the table under the key. True, or nil, message, code.
function File:save(key, record)
  local lock, message, code = core.lock_file(self.path .. ".lock")
  if not lock then return nil, "store: " .. message, code end
  local saved
  saved, message, code = replace(self.path, key, record)
  lock:close()
  if saved then return true end
  return nil, message, code
end

function File:__tostring()
  return "Store in " .. self.path
end

--- A store in one file, which several processes may share. Each save replaces the file whole: after
-- a crash it holds the old content or the new. Only the user may read it. A folder that is missing
-- or not writable shows at the first save.
function store.file(path)
  if type(path) ~= "string" or path == "" or path:find "%z" then
    error(("store.file: path must be the name of a file, got %s"):format(type(path)), 2)
  end
  return setmetatable({ path = path }, File)
end

return store

-- loop.lua - what decoding alone costs: every message of sender.c's traffic, decoded in one loop.
-- lua loop.lua DIRECTORY EVENTS cjson|own [EVENT]    (EVENT: of the events with that name only d)
-- Prints CPU seconds, which the garbage of the decoded tables is part of.
local cjson = require "cjson"
local core = require "moongate.core"

local directory, events, contestant, heard = table.unpack(arg)
local decode = contestant == "cjson" and cjson.decode or core.decode
local BATCH = 500 -- messages between two looks at the clock

local function data_of(message)
  if message:match '"t":"([A-Z_]+)"' ~= heard then return nil end
  return message:match '^[^{]*{"t":"[A-Z_]+","s":%d+,"op":0,"d":(.*)}$'
    or core.encode(core.decode(message).d)
end

local pipe = assert(io.popen(("nice %s/sender %s json"):format(directory, events)))
local cpu, batch = 0, {}

local function work_off()
  local start = os.clock()
  for i = 1, #batch do assert(decode(batch[i])) end
  cpu = cpu + os.clock() - start
  batch = {}
end

for head in function() return pipe:read(4) end do
  local message = pipe:read((string.unpack("<I4", head)))
  if heard then message = data_of(message) end
  batch[#batch + 1] = message
  if #batch == BATCH then work_off() end
end
work_off()
pipe:close()
print(("%.6f"):format(cpu))

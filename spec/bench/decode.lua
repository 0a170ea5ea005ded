-- decode.lua - what decoding costs: moongate's decoders beside lua-cjson on the same seeded events,
-- in CPU time, medians of interleaved rounds, and beside the floor: the same values made by Lua's
-- own interface alone, without reading a byte (steps.c). Prints one Markdown table, a row for each
-- kind.
-- lua decode.lua DIRECTORY [ROUNDS]    (where the program `sender` is)
local cjson = require "cjson"
local core = require "moongate.core"

local directory, rounds = arg[1], tonumber(arg[2]) or 5
local EVENTS = 20000
local PREPARED = 200 -- of each kind, for the floor: the steps take more memory than the text

package.cpath = directory .. "/?.so;" .. package.cpath
local steps = require "steps"

-- The messages by kind: { MESSAGE_CREATE = { ... } }.
local function read_traffic(encoding)
  local kinds = {}
  local pipe = assert(io.popen(("%s/sender %d %s"):format(directory, EVENTS, encoding)))
  for head in function() return pipe:read(4) end do
    local message = pipe:read((string.unpack("<I4", head)))
    local kind = message:match "[A-Z]+_[A-Z_]+"
    kinds[kind] = kinds[kind] or {}
    table.insert(kinds[kind], message)
  end
  pipe:close()
  return kinds
end

local BYTES = 4 << 20 -- at least, each time
local ETF = { encoding = "etf" }

local function decode_etf(message) return core.decode(message, ETF) end

-- Microseconds a message. `bytes_each`: of a message, when it is no text.
local function cost(decode, messages, bytes_each)
  local times, bytes = 0, 0
  collectgarbage()
  local start = os.clock()
  repeat
    for i = 1, #messages do
      assert(decode(messages[i]))
      bytes = bytes + (bytes_each or #messages[i])
    end
    times = times + 1
  until bytes > BYTES
  return (os.clock() - start) / (times * #messages) * 1e6
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local contestants = {
  { "floor", "floor", steps.run },
  { "cjson", "json", cjson.decode },
  { "json", "json", core.decode },
  { "etf", "etf", decode_etf },
}

local traffic = { json = read_traffic "json", etf = read_traffic "etf" }
traffic.floor = {}
local bytes_each = {} -- by kind
for kind, messages in pairs(traffic.json) do
  bytes_each[kind] = #table.concat(messages) // #messages
  traffic.floor[kind] = {}
  for i = 1, math.min(PREPARED, #messages) do
    traffic.floor[kind][i] = steps.prepare(core.decode(messages[i]))
  end
end
local times = {} -- by kind and contestant
for _ = 1, rounds do
  for kind in pairs(traffic.json) do
    times[kind] = times[kind] or { floor = {}, cjson = {}, json = {}, etf = {} }
    for _, contestant in ipairs(contestants) do
      local name, encoding, decode = table.unpack(contestant)
      local bytes = encoding == "floor" and bytes_each[kind] or nil
      table.insert(times[kind][name], cost(decode, traffic[encoding][kind], bytes))
    end
  end
end

local NAMES = { "floor", "cjson", "json", "etf" }
local rows, total = {}, { count = 0, bytes = 0, floor = 0, cjson = 0, json = 0, etf = 0 }
for kind, messages in pairs(traffic.json) do
  local row = { kind = kind, count = #messages, bytes = #table.concat(messages) }
  total.count, total.bytes = total.count + row.count, total.bytes + row.bytes
  for name, list in pairs(times[kind]) do
    row[name] = median(list)
    total[name] = total[name] + row[name] * row.count
  end
  rows[#rows + 1] = row
end
table.sort(rows, function(a, b) return a.count > b.count end)
for _, name in ipairs(NAMES) do total[name] = total[name] / total.count end
total.kind = "all of them"
rows[#rows + 1] = total

print("| event | in a thousand | bytes | floor, µs | lua-cjson, µs | JSON, µs | times faster "
  .. "| ETF, µs | times faster |")
print "|---|---|---|---|---|---|---|---|---|"
for _, row in ipairs(rows) do
  print(("| %s | %d | %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |"):format(row.kind,
    row.count * 1000 // EVENTS, row.bytes // row.count, row.floor, row.cjson, row.json,
    row.cjson / row.json, row.etf, row.cjson / row.etf))
end

-- decode.lua - what decoding costs: moongate's decoders beside lua-cjson on the same seeded events,
-- in CPU time, medians of interleaved rounds, with the collector at work as in a bot, and beside
-- the floor: the same values made by Lua's own interface alone, without reading a byte (steps.c).
-- Prints one Markdown table, a row for each kind.
-- lua decode.lua DIRECTORY [ROUNDS]    (where `sender` and steps.so are)
local cjson = require "cjson"
local core = require "moongate.core"

local directory, rounds = arg[1], tonumber(arg[2]) or 5
local EVENTS = 20000
local PREPARED = 200 -- of each kind, for the floor: the steps take more memory than the text
local BYTES = 4 << 20 -- of JSON at least, each time
local ETF = { encoding = "etf" }

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

local function make_all(prepared)
  for i = 1, #prepared do steps.run(prepared[i]) end
end

-- Each works once through the messages of a kind.
local contestants = {
  floor = function(row) make_all(row.prepared) end,
  cjson = function(row) steps.each(row.json, cjson.decode) end,
  own = function(row) steps.each(row.json, core.decode) end,
  etf = function(row) steps.each(row.etf, core.decode, ETF) end,
}
local NAMES = { "floor", "cjson", "own", "etf" }

local function read_rows()
  local json, etf, rows = read_traffic "json", read_traffic "etf", {}
  for kind, messages in pairs(json) do
    local row = { kind = kind, count = #messages, bytes = #table.concat(messages), prepared = {} }
    for i = 1, math.min(PREPARED, #messages) do
      row.prepared[i] = steps.prepare(core.decode(messages[i]))
    end
    row.json, row.etf = steps.keep(messages), steps.keep(etf[kind])
    row.times = { floor = {}, cjson = {}, own = {}, etf = {} }
    rows[#rows + 1] = row
  end
  table.sort(rows, function(a, b) return a.count > b.count end)
  return rows
end

-- Microseconds a message.
local function cost(name, row)
  local count = name == "floor" and #row.prepared or row.count
  local times = math.ceil(BYTES / (row.bytes / row.count * count))
  local work = contestants[name]
  collectgarbage()
  local start = os.clock()
  for _ = 1, times do work(row) end
  return (os.clock() - start) / (times * count) * 1e6
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local rows = read_rows()
collectgarbage()
for _ = 1, rounds do
  for _, row in ipairs(rows) do
    for _, name in ipairs(NAMES) do table.insert(row.times[name], cost(name, row)) end
  end
end
local total = { kind = "all of them", count = 0, bytes = 0, floor = 0, cjson = 0, own = 0, etf = 0 }
for _, row in ipairs(rows) do
  total.count, total.bytes = total.count + row.count, total.bytes + row.bytes
  for _, name in ipairs(NAMES) do
    row[name] = median(row.times[name])
    total[name] = total[name] + row[name] * row.count
  end
end
for _, name in ipairs(NAMES) do total[name] = total[name] / total.count end
table.insert(rows, total)

print("| event | in a thousand | bytes | floor, µs | lua-cjson, µs | JSON, µs | times faster "
  .. "| times the floor | ETF, µs | times faster | times the floor |")
print "|---|---|---|---|---|---|---|---|---|---|---|"
for _, row in ipairs(rows) do
  print(("| %s | %d | %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |"):format(
    row.kind, row.count * 1000 // EVENTS, row.bytes // row.count, row.floor, row.cjson, row.own,
    row.cjson / row.own, row.own / row.floor, row.etf, row.cjson / row.etf, row.etf / row.floor))
end

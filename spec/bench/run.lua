-- run.lua - moongate as a whole under load: one process, pinned to one core, against sender.c on
-- another. Medians of interleaved rounds; beside each the floor, measured in the same round (the
-- same bytes received, decrypted and inflated, nothing else). Prints Markdown.
-- lua run.lua DIRECTORY [ROUNDS] [EVENTS]    (where the programs `sender` and `floor` are)
local cjson = require "cjson"

local directory, rounds = arg[1], tonumber(arg[2]) or 5
local events = tonumber(arg[3]) or 100000
local here = arg[0]:match "^(.*)/[^/]*$"
local LATENCY_RATE, LATENCY_EVENTS = 1000, 5000

local LISTENERS = { "none", "one", "all", "lazy", "raw" }
local WORDS = {
  none = "no listener", one = "`MESSAGE_CREATE`", all = "all, decoded",
  lazy = "all, lazy, 5 fields", raw = "all, raw",
}

local function plan()
  local list = {}
  local function add(scheme, encoding, compress, listeners)
    list[#list + 1] = {
      scheme = scheme, encoding = encoding, compress = compress, listeners = listeners, runs = {},
    }
  end
  for _, encoding in ipairs { "json", "etf" } do
    for _, compress in ipairs { "none", "zlib-stream", "zstd-stream" } do
      for _, listeners in ipairs(LISTENERS) do add("ws", encoding, compress, listeners) end
    end
  end
  for _, listeners in ipairs { "one", "all" } do add("wss", "json", "zlib-stream", listeners) end
  return list
end

local function read_all(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  local fine = pipe:close()
  return fine and text or error(command .. " failed", 0)
end

-- A sender on the first core: its ports, and a handle that ends it when closed.
local function start_sender(arguments)
  local name = os.tmpname()
  local command = ("taskset -c 0 %s/sender %s > %s"):format(directory, arguments, name)
  local handle = assert(io.popen(command, "w"))
  local plain, secure, ca_file
  repeat
    os.execute "sleep 0.1"
    local text = io.open(name):read "a"
    plain, secure, ca_file = text:match "(%d+) (%d+) (%S+)\n"
  until plain
  os.remove(name)
  return { handle = handle, ws = plain, wss = secure, ca_file = ca_file }
end

local function run_client(sender, one, cores)
  local url = ("%s://127.0.0.1:%s"):format(one.scheme, sender[one.scheme])
  local command = ("taskset -c %s lua5.4 %s/client.lua %s %s %s %s %s"):format(cores, here, url,
    one.encoding, one.compress, one.listeners, sender.ca_file)
  return cjson.decode(read_all(command))
end

local function run_floor(sender, one)
  local text = read_all(("taskset -c 1 %s/floor %s %s %s %s %d"):format(directory,
    sender[one.scheme], one.scheme, one.encoding, one.compress, events + 3))
  return tonumber(text:match "^%S+")
end

local function median(list, key)
  local values = {}
  for i, item in ipairs(list) do values[i] = key and item[key] or item end
  table.sort(values)
  return values[(#values + 1) // 2]
end

local function per_second(seconds)
  return ("%d"):format(events / seconds // 100 * 100):reverse():gsub("(%d%d%d)", "%1 "):reverse()
    :gsub("^ ", "")
end

local function measure(sender)
  local list, floors = plan(), {}
  for _ = 1, rounds do
    for _, one in ipairs(list) do
      local key = one.scheme .. one.encoding .. one.compress
      floors[key] = floors[key] or {}
      if #floors[key] < #one.runs + 1 then table.insert(floors[key], run_floor(sender, one)) end
      table.insert(one.runs, run_client(sender, one, "1"))
    end
  end
  for _, one in ipairs(list) do
    one.floor = median(floors[one.scheme .. one.encoding .. one.compress])
  end
  return list
end

local function print_table(list)
  print("| socket | encoding | compression | listeners | events a CPU second | I/O thread, s "
    .. "| Lua thread, s | floor: events a CPU second | times the floor's CPU | peak, MB |")
  print "|---|---|---|---|---|---|---|---|---|---|"
  for _, one in ipairs(list) do
    local cpu = median(one.runs, "cpu")
    print(("| %s | %s | %s | %s | %s | %.2f | %.2f | %s | %.2f | %.1f |"):format(one.scheme,
      one.encoding, one.compress, WORDS[one.listeners], per_second(cpu), median(one.runs, "io"),
      median(one.runs, "lua"), per_second(one.floor), cpu / one.floor,
      median(one.runs, "peak_kb") / 1024))
  end
end

-- One core beside two: what the second thread is worth.
local function print_cores(sender)
  local one = { scheme = "ws", encoding = "json", compress = "zlib-stream", listeners = "all" }
  local single, double = {}, {}
  for _ = 1, rounds do
    table.insert(single, run_client(sender, one, "1"))
    table.insert(double, run_client(sender, one, "0,1"))
  end
  local slow, quick = median(single, "wall"), median(double, "wall")
  print(("\nAll decoded, JSON, zlib-stream, events a second of wall time: %s on one core, %s on "
    .. "two (%.2f times), which the sender shares."):format(per_second(slow), per_second(quick),
    slow / quick))
end

local function print_latency()
  local sender = start_sender(LATENCY_EVENTS .. " " .. LATENCY_RATE)
  local one = { scheme = "ws", encoding = "json", compress = "zlib-stream", listeners = "latency" }
  local runs = {}
  for round = 1, rounds do runs[round] = run_client(sender, one, "1") end
  sender.handle:close()
  print(("\nFrom the sender's clock to the handler, %d events a second: p50 %.0f µs, p99 %.0f µs.")
    :format(LATENCY_RATE, median(runs, "p50") * 1e6, median(runs, "p99") * 1e6))
end

local function machine()
  local model = io.open("/proc/cpuinfo"):read("a"):match "model name%s*:%s*([^\n]+)" or "?"
  return ("%s; %d events of %s, %d rounds"):format(model, events, "spec/bench/traffic.c", rounds)
end

print(machine() .. "\n")
local sender = start_sender(tostring(events))
print_table(measure(sender))
print_cores(sender)
sender.handle:close()
print_latency()

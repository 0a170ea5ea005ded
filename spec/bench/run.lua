-- run.lua - moongate as a whole under load: one process, pinned to one core, against sender.c on
-- another. Medians of interleaved rounds; beside each the floor, measured in the same round (the
-- same bytes received, decrypted and inflated, nothing else), and what lua-cjson would add to that.
-- Prints Markdown: the table of README.md, and how it stands to what is wanted.
-- lua run.lua DIRECTORY [ROUNDS] [EVENTS] [targets]    (where `sender` and `floor` are;
-- `targets`: only the second table)
local cjson = require "cjson"

local directory, rounds = arg[1], tonumber(arg[2]) or 5
local events = tonumber(arg[3]) or 100000
local only_targets = arg[4] == "targets"
local here = arg[0]:match "^(.*)/[^/]*$"
local LATENCY_RATE, LATENCY_EVENTS = 1000, 5000
local TIMES = 3 -- a round, where a target is judged
local TICKS_A_SECOND = 100 -- of /proc/*/stat

local LISTENERS = { "none", "one", "raw", "lazy", "all" }
local SCHEMES, ENCODINGS = { "ws", "wss" }, { "json", "etf" }
local COMPRESSIONS = { "none", "zlib-stream", "zstd-stream" }

-- ---- What is measured --------------------------------------------------------------------------

-- { { scheme, encoding, compress, runs = { one = results of client.lua, each with its floor in CPU
-- seconds, measured right before } } }
local function make_row(scheme, encoding, compress)
  local row = { scheme = scheme, encoding = encoding, compress = compress, runs = {} }
  for _, listeners in ipairs(LISTENERS) do row.runs[listeners] = {} end
  return row
end

local function plan()
  local list = {}
  for _, scheme in ipairs(SCHEMES) do
    for _, encoding in ipairs(ENCODINGS) do
      for _, compress in ipairs(COMPRESSIONS) do
        list[#list + 1] = make_row(scheme, encoding, compress)
      end
    end
  end
  return list
end

local function read_all(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  local fine = pipe:close()
  return fine and text or error(command .. " failed", 0)
end

-- A sender on the first core: its ports, its process, and a handle that ends it when closed.
local function start_sender(arguments)
  local name = os.tmpname()
  local command = ("exec taskset -c 0 %s/sender %s > %s"):format(directory, arguments, name)
  local handle = assert(io.popen(command, "w"))
  local plain, secure, ca_file, process
  repeat
    os.execute "sleep 0.1"
    local text = io.open(name):read "a"
    plain, secure, ca_file, process = text:match "(%d+) (%d+) (%S+) (%d+)\n"
  until plain
  os.remove(name)
  return { handle = handle, ws = plain, wss = secure, ca_file = ca_file, process = process }
end

local function cpu_of(process)
  local text = io.open(("/proc/%s/stat"):format(process)):read "a"
  local user, system = text:match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (user + system) / TICKS_A_SECOND
end

local function run_client(sender, row, listeners, cores)
  local url = ("%s://127.0.0.1:%s"):format(row.scheme, sender[row.scheme])
  local command = ("taskset -c %s lua5.4 %s/client.lua %s %s %s %s %s"):format(cores, here, url,
    row.encoding, row.compress, listeners, sender.ca_file)
  local before = cpu_of(sender.process)
  local result = cjson.decode(read_all(command))
  result.sender = cpu_of(sender.process) - before
  return result
end

local function run_floor(sender, row)
  local text = read_all(("taskset -c 1 %s/floor %s %s %s %s %d"):format(directory,
    sender[row.scheme], row.scheme, row.encoding, row.compress, events + 3))
  return tonumber(text:match "^%S+")
end

local function run_loop(arguments)
  return tonumber(read_all(("taskset -c 1 lua5.4 %s/loop.lua %s %d %s"):format(here, directory,
    events, arguments)))
end

local function median(list, key)
  local values = {}
  for i, item in ipairs(list) do values[i] = key and item[key] or item end
  table.sort(values)
  return values[(#values + 1) // 2]
end

-- The rows by which targets are judged.
local function judged(list)
  return { list[2], list[3] }
end

local function run_row(sender, row)
  for _, listeners in ipairs(LISTENERS) do
    local floor = run_floor(sender, row)
    local run = run_client(sender, row, listeners, "1")
    run.floor = floor
    table.insert(row.runs[listeners], run)
  end
end

-- Everything in each round, so that what else the machine does falls on all alike.
local function measure(sender)
  local list, loops = plan(), { cjson = {}, heard = {}, single = {}, double = {} }
  local zlib = judged(list)[1]
  for _, row in ipairs(list) do run_floor(sender, row) end -- makes the streams
  for _ = 1, rounds do
    table.insert(loops.cjson, run_loop "cjson")
    table.insert(loops.heard, run_loop "own MESSAGE_CREATE")
    for _, row in ipairs(only_targets and {} or list) do run_row(sender, row) end
    for _ = only_targets and 1 or 2, TIMES do
      for _, row in ipairs(judged(list)) do run_row(sender, row) end
    end
    table.insert(loops.single, run_client(sender, zlib, "all", "1"))
    table.insert(loops.double, run_client(sender, zlib, "all", "0,1"))
  end
  return list, loops
end

local function run_latency_floor(sender)
  local command = "taskset -c 1 %s/floor %s ws json zlib-stream %d latency"
  local text = read_all(command:format(directory, sender.ws, LATENCY_EVENTS + 3))
  local p50, p99 = text:match "^(%S+) (%S+)"
  return { p50 = tonumber(p50), p99 = tonumber(p99) }
end

-- Of moongate, and of a program that only polls, receives and inflates.
local function measure_latency()
  local sender = start_sender(LATENCY_EVENTS .. " " .. LATENCY_RATE)
  local row, runs, floors = plan()[2], {}, {}
  for round = 1, rounds do
    floors[round] = run_latency_floor(sender)
    runs[round] = run_client(sender, row, "latency", "1")
  end
  sender.handle:close()
  return runs, floors
end

-- ---- What is shown -----------------------------------------------------------------------------

local function thousands(seconds)
  return ("%.0f"):format(events / seconds / 1000)
end

local function micros(seconds)
  return ("%.1f"):format(seconds / events * 1e6)
end

local function cell(runs)
  return ("%s (%s + %s)"):format(thousands(median(runs, "cpu")), micros(median(runs, "io")),
    micros(median(runs, "lua")))
end

local function floor_of(row)
  local all = {}
  for _, listeners in ipairs(LISTENERS) do
    for _, run in ipairs(row.runs[listeners]) do all[#all + 1] = run.floor end
  end
  return median(all)
end

local function print_table(list, loops)
  print("| | floor | no listener | `MESSAGE_CREATE` | all, raw | all, lazy | all, decoded "
    .. "| floor and lua-cjson | peak, MB |")
  print "|---|---|---|---|---|---|---|---|---|"
  for _, row in ipairs(list) do
    local floor, peak = floor_of(row), 0
    local shown = {
      ("%s %s, %s"):format(row.scheme, row.encoding, row.compress), thousands(floor),
    }
    for _, listeners in ipairs(LISTENERS) do
      shown[#shown + 1] = cell(row.runs[listeners])
      peak = math.max(peak, median(row.runs[listeners], "peak_kb"))
    end
    shown[#shown + 1] = row.encoding == "json" and thousands(floor + median(loops.cjson)) or ""
    shown[#shown + 1] = ("%.0f"):format(peak / 1024)
    print("| " .. table.concat(shown, " | ") .. " |")
  end
end

local function print_line(what, is, wanted, format)
  print(("| %s | " .. format .. " | %s |"):format(what, is, wanted))
end

-- The median of what quotient(run) gives for each run of a row.
local function median_of(runs, quotient)
  local list = {}
  for i, run in ipairs(runs) do list[i] = quotient(run) end
  return median(list)
end

local function print_floors(zlib, zstd, loops)
  local heard, theirs = median(loops.heard), median(loops.cjson)
  local function times_floor(what, runs, wanted, more)
    local times = median_of(runs, function(run) return run.cpu / (run.floor + (more or 0)) end)
    print_line(what, times, wanted, "%.2f")
  end
  local one = "one listener, %s: times (floor + decoding what it hears)"
  times_floor(one:format "zlib-stream", zlib.one, "1.25", heard)
  times_floor(one:format "zstd-stream", zstd.one, "1.4", heard)
  times_floor("raw, zlib-stream: times the floor", zlib.raw, "1.3")
  times_floor("lazy, zlib-stream: times the floor", zlib.lazy, "1.6")
  print_line("all decoded, zlib-stream: as fast as floor and lua-cjson, times",
    median_of(zlib.all, function(run) return (run.floor + theirs) / run.cpu end), "at least 1.3",
    "%.2f")
end

local function print_cores(loops)
  local gain = median(loops.single, "wall") / median(loops.double, "wall")
  local share = median_of(loops.double, function(run) return run.sender / run.wall / 2 end)
  print_line("all decoded, two cores, as fast as on one, times", gain, "at least 1.4", "%.2f")
  print_line("the sender's share of those two cores", share * 100, "", "%.0f %%")
end

-- The bytes are readable when a program that waits for nothing else has them.
local function print_latency()
  local runs, floors = measure_latency()
  local line = "%d events a second, from the sender's clock to the handler, %s (%.0f µs of it "
    .. "until a program has it that only receives and inflates)"
  for _, key in ipairs { "p50", "p99" } do
    local floor, whole = median(floors, key) * 1e6, median(runs, key) * 1e6
    print_line(line:format(LATENCY_RATE, key, floor), whole,
      key == "p50" and "below 150 more" or "below 1000 more", "%.0f µs")
  end
end

local function print_targets(list, loops)
  print "\n| zlib-stream and zstd-stream are JSON over ws | measured | wanted |\n|---|---|---|"
  local zlib, zstd = table.unpack(judged(list))
  print_floors(zlib.runs, zstd.runs, loops)
  print_cores(loops)
  print_latency()
  local quiet = cjson.decode(read_all(("lua5.4 %s/quiet.lua"):format(here)))
  print_line("memory that a message of 20 MB leaves behind",
    (quiet.after_kb - quiet.before_kb) / 1024, "below 1", "%.2f MB")
end

local function machine()
  local text = io.open("/proc/cpuinfo"):read "a"
  local model = text:match "model name%s*:%s*([^\n]+)" or "?"
  local _, cores = text:gsub("processor%s*:", "")
  local kernel = read_all "uname -sr":gsub("\n", "")
  return ("%s, %d cores, %s; %d events of `spec/bench/traffic.c`, %d rounds."):format(model, cores,
    kernel, events, rounds)
end

print(machine() .. "\n")
local sender = start_sender(tostring(events))
local list, loops = measure(sender)
if not only_targets then print_table(list, loops) end
sender.handle:close()
print_targets(list, loops)

-- metrics.lua: the numbers of a cluster, as tables and as Prometheus text. Called by cluster.lua on
-- the Lua thread. It reads snapshots and counters; nothing that it does waits for the I/O thread.

local core = require "moongate.core"
local quota = require "moongate.quota"

local metrics = {}

local OTHERS = "other" -- stands for the event names that were too many to be counted apart

-- ---- Tables ------------------------------------------------------------------------------------

-- What the engine counts, as two tables: its queue, and its connections that are being made.
local function read_engine(engine)
  local queue = engine:counts()
  local handshakes = {
    open = queue.handshakes, open_peak = queue.handshakes_peak, waiting = queue.handshakes_waiting,
    slow = queue.handshakes_slow,
  }
  queue.handshakes, queue.handshakes_peak = nil, nil
  queue.handshakes_waiting, queue.handshakes_slow = nil, nil
  return queue, handshakes
end

-- Dispatches by name.
local function read_events(engine)
  local events = engine:census()
  events[""], events[OTHERS] = nil, events[""] or events[OTHERS]
  return events
end

--- What is counted, as plain tables: shards by id, the queue between the threads, the connections
-- that are being made, dispatches by name.
function metrics.stats(self)
  local shards, ready, total = {}, 0, 0
  for id, one in pairs(self.shards) do
    shards[id] = one:stats()
    total = total + 1
    if shards[id].state == "ready" then ready = ready + 1 end
  end
  local engine = self.bridge and self.bridge.engine
  local queue, handshakes, events
  if engine then
    queue, handshakes = read_engine(engine)
    events = read_events(engine)
  end
  return {
    state = self.state,
    latency = self.latency,
    shard_count = self.count,
    total = total,
    ready = ready,
    shards = shards,
    queue = queue,
    handshakes = handshakes,
    events = events,
    identifies = quota.numbers(self),
    doubled = self.doubled or 0,
  }
end

-- ---- Prometheus text ---------------------------------------------------------------------------

-- Each row: name without the prefix, type, help, and each(stats, add), which calls
-- add(value, label, its value, another label, its value) for each sample. The ids of shards come
-- in order, and so do names.

local function sorted(keyed)
  local keys = {}
  for key in pairs(keyed or {}) do keys[#keys + 1] = key end
  table.sort(keys, function(one, other)
    if type(one) == type(other) then return one < other end
    return type(one) == "number"
  end)
  return keys
end

local function of_shards(read)
  return function(stats, add)
    for _, id in ipairs(sorted(stats.shards)) do
      local value = read(stats.shards[id])
      if value then add(value, "shard", id) end
    end
  end
end

local function count_of(name)
  return of_shards(function(shard) return shard[name] end)
end

-- One sample for each value of a label: { "in", "bytes_in" }, ...
local function split_of(label, columns)
  return function(stats, add)
    for _, id in ipairs(sorted(stats.shards)) do
      for _, column in ipairs(columns) do
        add(stats.shards[id][column[2]] or 0, "shard", id, label, column[1])
      end
    end
  end
end

local function part_of(part, name)
  return function(stats, add)
    local value = stats[part] and stats[part][name]
    if value then add(value) end
  end
end

local function add_closes(stats, add)
  for _, id in ipairs(sorted(stats.shards)) do
    local closes = stats.shards[id].closes
    for _, code in ipairs(sorted(closes)) do add(closes[code], "shard", id, "code", code) end
  end
end

local function add_events(stats, add)
  for _, name in ipairs(sorted(stats.events)) do
    local counts = stats.events[name]
    add(counts.heard, "event", name, "result", "heard")
    add(counts.skipped, "event", name, "result", "skipped")
  end
end

local function add_dropped(stats, add)
  local dropped = stats.queue and stats.queue.dropped
  for _, name in ipairs(sorted(dropped)) do add(dropped[name], "event", name) end
end

local rows = {
  { "info", "gauge", "The version of moongate, as a label.",
    function(_, add) add(1, "version", core._VERSION:match "%S+$") end },
  { "shards", "gauge", "Shards of this cluster.", function(stats, add) add(stats.total) end },
  { "shards_ready", "gauge", "Shards that are ready.", function(stats, add) add(stats.ready) end },
  { "shard_ready", "gauge", "Whether the shard is ready: 1 or 0.",
    of_shards(function(shard) return shard.state == "ready" and 1 or 0 end) },
  { "shard_latency_seconds", "gauge", "Between the last heartbeat and its acknowledgement.",
    count_of "latency" },
  { "shard_sequence", "gauge", "The sequence of the last dispatch.", count_of "seq" },
  { "shard_commands_waiting", "gauge", "Commands that wait to be sent.",
    count_of "outbox_commands" },
  { "bytes_total", "counter", "Payload bytes on the wire, compressed as they were.",
    split_of("direction", { { "in", "bytes_in" }, { "out", "bytes_out" } }) },
  { "inflated_bytes_total", "counter", "Bytes received, after decompression.",
    count_of "bytes_inflated" },
  { "messages_total", "counter", "Gateway messages.",
    split_of("direction", { { "in", "messages_in" }, { "out", "messages_out" } }) },
  { "dispatches_total", "counter", "Dispatches of a shard, by what became of them.",
    split_of("result", { { "heard", "events_heard" }, { "skipped", "events_skipped" },
      { "repeated", "events_repeated" } }) },
  { "events_total", "counter", "Dispatches by name, heard or skipped.", add_events },
  { "gaps_total", "counter", "Gaps in the sequence.", count_of "gaps" },
  { "connects_total", "counter", "Connections that were attempted.", count_of "connects" },
  { "reconnects_total", "counter", "Those behind the first.", count_of "reconnects" },
  { "identifies_total", "counter", "Identifies sent.", count_of "identifies" },
  { "resumes_total", "counter", "Resumes sent.", count_of "resumes" },
  { "resumed_total", "counter", "Resumes that succeeded.", count_of "resumed" },
  { "closes_total", "counter", "Connections that ended, by close code.", add_closes },
  { "heartbeats_total", "counter", "Heartbeats sent.", count_of "beats" },
  { "heartbeats_acknowledged_total", "counter", "Those that were acknowledged.", count_of "acks" },
  { "heartbeat_late_seconds", "gauge", "The most by which a heartbeat left behind its time.",
    of_shards(function(one) return one.beat_late_ms / 1000 end) },
  { "zombies_total", "counter", "Connections given up as nothing came any more.",
    count_of "zombies" },
  { "decode_errors_total", "counter", "Messages and events that could not be decoded.",
    count_of "decode_errors" },
  { "queue_events", "gauge", "Events that wait to be handled.", part_of("queue", "queue_events") },
  { "queue_bytes", "gauge", "Their bytes.", part_of("queue", "queue_bytes") },
  { "queue_lag_seconds", "gauge", "How long the oldest has waited.", part_of("queue", "lag") },
  { "queue_events_out_total", "counter", "Events taken out of the queue.",
    part_of("queue", "events_out") },
  { "queue_full_total", "counter", "How often the queue was full.", part_of("queue", "pauses") },
  { "queue_dropped_total", "counter", "Events that a full queue dropped, by name.", add_dropped },
  { "handshakes", "gauge", "Connections that are being made.", part_of("handshakes", "open") },
  { "handshakes_slow", "gauge", "Those that hang, and go on without a place.",
    part_of("handshakes", "slow") },
  { "handshakes_waiting", "gauge", "Shards that wait to connect.",
    part_of("handshakes", "waiting") },
  { "identifies_left", "gauge", "Identifies that may be sent now, of the day's.",
    part_of("identifies", "left") },
  { "resharding_doubled_total", "counter",
    "Events that both sets of shards brought while their number was changed.",
    function(stats, add) add(stats.doubled) end },
}

local PREFIX = "moongate_"

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function label(name, value)
  return ('%s="%s"'):format(name, tostring(value):gsub('[\\"\n]', escapes))
end

local function number(value)
  return math.type(value) == "integer" and ("%d"):format(value) or ("%.17g"):format(value)
end

local function write_row(lines, row, stats)
  local name, samples = PREFIX .. row[1], {}
  row[4](stats, function(value, one, what, other, which)
    local labels = one and label(one, what) or nil
    if other then labels = labels .. "," .. label(other, which) end
    samples[#samples + 1] = ("%s%s %s"):format(name, labels and "{" .. labels .. "}" or "",
      number(value))
  end)
  if #samples == 0 then return end
  lines[#lines + 1] = ("# HELP %s %s"):format(name, row[3])
  lines[#lines + 1] = ("# TYPE %s %s"):format(name, row[2])
  table.move(samples, 1, #samples, #lines + 1, lines)
end

--- The same numbers in the text format of Prometheus (version 0.0.4).
function metrics.text(self)
  local lines, stats = {}, metrics.stats(self)
  for _, row in ipairs(rows) do write_row(lines, row, stats) end
  return table.concat(lines, "\n") .. "\n"
end

return metrics

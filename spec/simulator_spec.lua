-- simulator_spec.lua: fifty seeds of the simulator (spec/simulator.c), and the proof that it finds
-- what it looks for: a bug of each of the five shapes that nearly all bugs of gateway clients have
-- is planted into a copy of one source file, and must be found.

local build = os.getenv "MOONGATE_BUILD" or ".build/plain"

local function run(program, arguments)
  local pipe = assert(io.popen(("%s %s 2>&1"):format(program, arguments)))
  local text = pipe:read "a"
  local ok = pipe:close()
  return ok or false, text
end

local function read(file)
  local handle = assert(io.open(file, "rb"))
  local text = handle:read "a"
  handle:close()
  return text
end

local function write(file, text)
  local handle = assert(io.open(file, "wb"))
  handle:write(text)
  handle:close()
end

describe("the simulator", function()
  it("fifty worlds of six hours come to no harm", function()
    local ok, text = run(build .. "/simulator", "-s 50 -d 0.25 -n 4 -j 1")
    assert.is_true(ok, text)
    assert.truthy(text:find("seeds        50 of 50", 1, true), text)
    for _, words in ipairs { "delivered", "identifies", "resumes", "of them resumed" } do
      assert.is_true(tonumber(text:match("(%d+) " .. words)) > 500, words .. text)
    end
    for line in text:match("faults%s+%d+\n(.*)"):gmatch "[^\n]+" do
      assert.is_true(tonumber(line:match "(%d+)$") > 0, "never happened: " .. line)
    end
  end)

  it("the same seed is the same world, and tells what happened", function()
    local _, once = run(build .. "/simulator", "-1 3 -d 0.1 -n 2")
    local ok, again = run(build .. "/simulator", "-1 3 -d 0.1 -n 2")
    assert.is_true(ok)
    assert.equal(once, again)
    assert.truthy(once:find("\n        > send {\"op\":2", 1, true))
    local _, other = run(build .. "/simulator", "-1 4 -d 0.1 -n 2")
    assert.not_equal(once, other)
  end)
end)

describe("the simulated token", function()
  it("R35 is never reset: sixteen shards in any weather stay inside their day", function()
    local ok, text = run(build .. "/simulator", "-s 12 -d 1.5 -n 16 -j 1")
    assert.is_true(ok, text)
    assert.is_true(tonumber(text:match "a day%s+(%d+) identifies") <= 990, text)
    assert.is_true(tonumber(text:match "holds%s+(%d+)") > 0, text)
  end)
end)

-- { what, file, the text that is taken out, what stands there instead }
local planted = {
  { "state of the old connection in the new one: half a message", "shard",
    "gate_buf_clear(&shard->message, 0);", "" },
  { "state of the old connection in the new one: its late end", "shard",
    "if (connection != shard->session.generation) return GATE_OK;\n    return after",
    "return after" },
  { "a phase without a deadline: HELLO", "session", "now_ms + session->options.hello_timeout_ms",
    "-1" },
  { "a phase without a deadline: RESUMED", "greeting",
    "now_ms + session->options.ready_timeout_ms);",
    "resume ? -1 : now_ms + session->options.ready_timeout_ms);" },
  { "an error path that arms no next step", "connection",
    "gate_connection_go(session, GATE_STATE_BACKOFF, now_ms + wait_ms);",
    "gate_connection_go(session, GATE_STATE_BACKOFF, why->http_status ? -1 : now_ms + wait_ms);" },
  { "user code in the way of beats", "heart",
    "return heart->interval_ms == 0 ? NEVER : heart->due_ms;",
    "return heart->interval_ms == 0 || heart->paused ? NEVER : heart->due_ms;" },
  { "retries without end: connects", "backoff",
    "backoff->attempts++;\n    return jittered_ms(backoff, limit_ms);",
    "backoff->attempts++;\n    return 0;" },
  { "retries without end: identifies", "backoff",
    "backoff->failed_identifies++;\n    return jittered_ms(backoff, limit_ms);",
    "backoff->failed_identifies++;\n    return 0;" },
  { "a resume that waits among the identifies", "connection",
    "if (has_session(session)) {\n        gate_connection_begin",
    "if (0) {\n        gate_connection_begin" },
  { "retries without end: a day that is not counted", "quota",
    "quota->steps[0] += (uint32_t)count;", "" },
  { "retries without end: resumes", "connection",
    "if (session->failed_resumes >= GATE_RESUMES_MAX)", "if (0)" },
  { "more than a limit allows: presences", "pace", ".most = GATE_PRESENCES_MAX,", ".most = 6," },
  { "more than a limit allows: members, on a new connection", "pace",
    "if (counts_for_connection(pace->trails[i].op)) drop_trail(pace, i);", "drop_trail(pace, i);" },
  { "more than a limit allows: what RATE_LIMITED said", "session",
    "if (rc == GATE_OK) gate_pace_obey(&session->pace, now_ms, &limited);", "(void)rc;" },
  { "an old presence in place of the newest", "outbox",
    "    struct gate_outbox_entry *entry = find_older(outbox, errand->op);",
    "    struct gate_outbox_entry *entry = find_older(outbox, errand->op);\n" ..
    "    if (entry) {\n        gate_buf_free(take);\n        return GATE_OK;\n    }" },
}

-- The simulator again, with one of its objects made from other text.
local function plant(file, out, replacement)
  local text, found = read("src/" .. file .. ".c"), 0
  local at = text:find(out, 1, true)
  while at do
    text = text:sub(1, at - 1) .. replacement .. text:sub(at + #out)
    found, at = found + 1, text:find(out, at + #replacement, true)
  end
  assert(found == 1, ("src/%s.c has this %d times: %s"):format(file, found, out))
  local place = os.tmpname()
  write(place .. ".c", text)
  local ok, words = run("cc", ("-std=c11 -D_GNU_SOURCE -O1 -Isrc -c -o %s.o %s.c && cc -o %s " ..
    "$(ls %s/simulated/*.o | grep -v /%s.o) %s.o -lz -lzstd -lm"):format(place, place, place,
    build, file, place))
  os.remove(place .. ".c")
  os.remove(place .. ".o")
  assert.is_true(ok, words)
  return place
end

describe("the simulator finds, within 100 seeds,", function()
  -- Objects of a sanitizer do not link with plain ones.
  if not build:find("plain", 1, true) then return end

  for _, bug in ipairs(planted) do
    it(bug[1], function()
      local program = plant(bug[2], bug[3], bug[4])
      local ok, text = run(program, "-s 100 -d 1 -n 4 -j 1")
      os.remove(program)
      assert.is_false(ok, "nothing was found")
      assert.truthy(text:find "\nseed %d+, day %d+ ", text)
      assert.truthy(text:find("\nagain: make simulate SEED=", 1, true), text)
    end)
  end
end)

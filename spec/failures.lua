-- failures.lua: the bugs of fifteen gateway clients, as rules, and what the specs say of each. As a
-- program (`make failures`) it runs every spec whose title has the number of a rule in it as a word
-- and lists all rules with their tests: exit status 0 when no test of any rule failed. What has no
-- test yet is counted apart and never hidden. failures_spec.lua calls its functions.

local failures = {}

-- Each rule: what it prevents, in a few words; `open` is what no test shows yet, because moongate
-- does not do it yet.
failures.rules = {
  { "a connection whose peer is gone is noticed at the second beat" },
  { "what one connection owes is not asked of the next" },
  { "one heartbeat timer a connection, whatever came before" },
  { "busy is not dead, and traffic without any ACK is not life for ever" },
  { "reading, ACKs and beats never wait for whoever takes the events" },
  { "a read that waits stops no beat" },
  { "a handler that blocks stops no beat, and is named" },
  { "the first beat comes at a random part of the interval" },
  { "a beat that the gateway asks for leaves at once and moves no timer" },
  { "a machine that slept drops its connections and resumes" },
  { "a close that is never answered ends at a deadline" },
  { "a timer of an old connection does nothing to the new one" },
  { "a late end of an old connection does nothing to the new one" },
  { "every phase of a connection has a deadline" },
  { "every state has a way on, after any error" },
  { "waits grow, at random, up to a cap; only a lasting connection resets them" },
  { "shards that fall together do not connect all at once" },
  { "a handler may call anything, from any event" },
  { "what is replayed comes before RESUMED, in whatever order" },
  { "readiness is what the shards say now, not what they said once" },
  { "READY waits for no guild" },
  { "a shard stays the same object for life" },
  { "id, URL and sequence of a session go together, with one query everywhere" },
  { "a dead resume host gives way to the main URL" },
  { "a session that cannot be resumed is given up after a few tries" },
  { "op 9 false costs exactly one identify, however it is repeated" },
  { "op 9, either value, on either host, has one answer" },
  { "only stop ends a session; everything else closes with 4000" },
  { "a received 1000 or 1001 is resumed" },
  { "null does not overwrite the sequence, and 0 is one" },
  { "what was received is not what was handled, and both are known" },
  { "gaps are reported, repeats dropped and counted" },
  { "a resume never waits in the queue of identifies" },
  { "op 7: one connection at a time (opening the next one first is not done)" },
  { "identifies that lead nowhere stay inside the budget" },
  { "one identify a key in five seconds, counted from the identify" },
  { "a shard that hangs with an identify slot loses it" },
  { "GET /gateway/bot is asked once, and Retry-After kept" },
  { "several processes share one budget" },
  { "fatal close codes are final and say what to do" },
  { "every other close code is resumed or begun anew" },
  { "a close of any length, with any reason, is survived" },
  { "a refused upgrade is an error with a status, and Retry-After is kept" },
  { "no byte of one connection reaches the inflate stream of another" },
  { "a message of any size is inflated whole" },
  { "a message ends where the stream says, wherever it is cut; reserved bits are refused" },
  { "a corrupt stream is closed with 4000 and resumed" },
  { "zstd is a stream too" },
  { "empty messages are tolerated, the fifth in a row is not" },
  { "large messages arrive, too large ones are a named error and no loop" },
  { "a large message leaves no large buffer behind" },
  { "fragments of any size, with control frames between, are one message" },
  { "ids keep all their digits" },
  { "unknown events and odd data pass through" },
  { "a listener that fails stops nobody else" },
  { "an error of the network is a report, never raised" },
  { "a slow consumer costs neither memory nor the session" },
  { "listeners may wait, and C never stands between" },
  { "collections are never forced, and an event costs little" },
  { "never more than 120 sends a minute, and beats always among them" },
  { "all members of a guild once in 30 s; RATE_LIMITED is obeyed and passed on" },
  { "a send while away waits or is refused, and says which; only the newest presence waits" },
  { "one writer: frames stay whole and in order" },
  { "the presence that was set last goes into the next Identify" },
  { "no SIGPIPE, no descriptor left open" },
  { "stop works in any state, in time, twice" },
  { "nothing grows with reconnects or with once" },
  { "the token is shown nowhere" },
  { "an error names the phase, the cause and a remedy" },
}

-- The numbers of the rules in a title: "R12 R13 what belongs ..." gives 12 and 13.
local function numbers_of(title)
  local numbers = {}
  for number in title:gmatch "%f[%w]R(%d+)%f[^%w]" do numbers[#numbers + 1] = tonumber(number) end
  return numbers
end

--- Reads what tally.lua wrote, an iterator over lines. Returns { tests = { [number] = list of
--- { title, status, why } }, faults = list of words }: what went wrong outside of those tests.
function failures.read(lines)
  local found = { tests = {}, faults = {} }
  local last, ended
  local function fault(...) table.insert(found.faults, string.format(...)) end
  for line in lines do
    local status, title, more = line:match "^(%l+)\t?([^\t]*)\t?(.*)$"
    if status == "why" then
      if last then last.why = title end
    elseif status == "end" then
      ended = true
    elseif more and more ~= "" then
      fault("%s: %s", title, more)
    elseif status == "success" or status == "failure" or status == "error"
      or status == "pending" then
      last = { title = title, status = status }
      for _, number in ipairs(numbers_of(title)) do
        local list = found.tests[number] or {}
        found.tests[number] = list
        list[#list + 1] = last
        if not failures.rules[number] then fault("%s: there is no R%d", title, number) end
      end
    end
  end
  if not ended then fault "the specs did not run to their end" end
  return found
end

local words = { success = "ok", failure = "FAILED", error = "FAILED", pending = "not run" }

-- "passed", "FAILED", "not run" (all of its tests are pending here) or "no test yet".
local function verdict_of(list)
  if not list then return "no test yet" end
  local passed
  for _, test in ipairs(list) do
    if words[test.status] == "FAILED" then return "FAILED" end
    passed = passed or test.status == "success"
  end
  return passed and "passed" or "not run"
end

local function show_rule(say, number, rule, list)
  local verdict = verdict_of(list)
  say("R%-2d  %-11s  %s", number, verdict, rule[1])
  for _, test in ipairs(list or {}) do
    say("       %-7s  %s", words[test.status], test.title)
    if test.why then say("                %s", test.why) end
  end
  if rule.open then say("       not yet  %s", rule.open) end
  return verdict
end

--- Shows every rule with its tests by say(format, ...). Returns whether all rules that have tests
--- passed, and { passed =, FAILED =, ["not run"] =, ["no test yet"] =, open = }: how many of each.
function failures.show(found, say)
  local counts = { passed = 0, FAILED = 0, ["not run"] = 0, ["no test yet"] = 0, open = 0 }
  for number, rule in ipairs(failures.rules) do
    local verdict = show_rule(say, number, rule, found.tests[number])
    counts[verdict] = counts[verdict] + 1
    if rule.open and found.tests[number] then counts.open = counts.open + 1 end
  end
  for _, words_of_it in ipairs(found.faults) do say("FAULT  %s", words_of_it) end
  say("%d rules: %d passed (%d of them with a part that is not there yet), %d failed, %d not run "
    .. "here, %d without a test yet", #failures.rules, counts.passed, counts.open, counts.FAILED,
    counts["not run"], counts["no test yet"])
  return counts.FAILED == 0 and counts["not run"] == 0 and #found.faults == 0, counts
end

local function run()
  local pipe = assert(io.popen("lua5.4 $(command -v busted) --ignore-lua --output=tally "
    .. "--filter='%f[%w]R%d' 2>&1"))
  local found = failures.read(pipe:lines())
  pipe:close()
  local fine = failures.show(found, function(...) print(string.format(...)) end)
  os.exit(fine)
end

if arg and arg[0] and arg[0]:find "failures%.lua$" then run() end

return failures

-- witness.lua: what the specs tagged `sockets` share: the sandbox and clients for it, waiting
-- without sleeping blindly, judging the times of heartbeats, and Lua programs in a process of their
-- own. Times of the sandbox are milliseconds of a monotonic clock.

local moongate = require "moongate"
local sandbox = require "moongate.sandbox"

local witness = {}

-- How far from its time a beat may arrive: the scheduler of a busy machine, or a slow build.
witness.late_ms = tonumber(os.getenv("MOONGATE_LATE_MS")) or 100
-- A bound on every wait of a spec, in seconds. It is only ever reached by a failure.
witness.patience = tonumber(os.getenv("MOONGATE_PATIENCE")) or 20

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
witness.root = here .. "/.."

-- A sandbox; `options` may change everything. Its heartbeats are short, but not so short that a
-- busy machine could delay an ACK for an interval: that would be a zombie. Its token is its own:
-- the process counts the identifies of a token at an address, and some other sandbox may have had
-- the same port before.
local sandboxes = 0
function witness.sandbox(options)
  sandboxes = sandboxes + 1
  local token = ("witness.%d.token"):format(sandboxes)
  local all = { guilds = 1, heartbeat_interval = 2000, token = token }
  for key, value in pairs(options or {}) do all[key] = value end
  return sandbox.start(all)
end

-- A client of that sandbox that reconnects at once. Collects what goes wrong in `bot_errors`.
function witness.client(discord, options)
  local all = {
    token = discord.token, api = discord.api, ca_file = discord.ca_file,
    intents = { "guilds", "guild_messages", "message_content" },
    backoff = { base = 0, cap = 0 },
  }
  for key, value in pairs(options or {}) do all[key] = value end
  return moongate.client(all)
end

-- Runs the loop of `bot` until check() is true; an error after the patience has run out.
function witness.await(bot, what, check)
  local deadline = os.time() + witness.patience
  while not check() do
    if os.time() > deadline then error("waited in vain for " .. what, 2) end
    bot:step(0.05)
  end
end

-- Connects and waits for READY.
function witness.ready(bot)
  local ready = false
  bot:once("READY", function() ready = true end)
  assert(bot:connect())
  witness.await(bot, "READY", function() return ready end)
  return bot
end

-- Blocks this thread, as a busy program would; no handler runs meanwhile.
function witness.block(seconds)
  local pipe = assert(io.popen(("sleep %.3f"):format(seconds)))
  pipe:read("a")
  pipe:close()
end

-- The times of the heartbeats that the sandbox received, from its log.
function witness.beats(discord)
  local times = {}
  for _, entry in ipairs(discord:received("HEARTBEAT")) do times[#times + 1] = entry.at_ms end
  return times
end

-- The connection of a sandbox that ended as the `nth`. The sandbox notices the end of a process a
-- moment after it.
function witness.ended(discord, nth)
  local deadline = os.time() + witness.patience
  while not discord:history()[nth] do
    if os.time() > deadline then error("waited in vain for the end of a connection", 2) end
    discord:wait(0.01)
  end
  return discord:history()[nth]
end

-- The open descriptors of this process; nil where there is no /proc. They are tried one by one, as
-- another process that counts them may still see its own pipe among them.
function witness.descriptors()
  local count = 0
  for number = 0, 1023 do
    local file = io.open("/proc/self/fdinfo/" .. number)
    if file then
      file:close()
      count = count + 1
    end
  end
  return count > 0 and count or nil
end

-- An error unless at least `least` beats came and each came an interval after the one before it.
-- A beat may leave an eighth of an interval early, to go together with others.
function witness.judge(times, interval_ms, least)
  if #times < least then
    error(("%d beats, expected at least %d"):format(#times, least), 2)
  end
  for at = 2, #times do
    local gap = times[at] - times[at - 1]
    if math.abs(gap - interval_ms) > interval_ms / 8 + witness.late_ms then
      error(("beat %d of %d came after %d ms, not %d"):format(at, #times, gap, interval_ms), 2)
    end
  end
end

-- Runs `text` as a Lua program with the same search paths, with what it prints (stdout and stderr)
-- as the first result, then its exit status or signal, as os.execute reports them. `setting` stands
-- in front of the command; `feeder` is a shell command whose output it reads; at most
-- witness.patience seconds are spent.
function witness.program(text, setting, feeder)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath), text)
  file:close()
  local pipe = assert(io.popen(("%s %s timeout -k 2 %d lua5.4 %s 2>&1"):format(
    feeder and feeder .. " |" or "", setting or "", witness.patience, name)))
  local said = pipe:read("a")
  local _, how, code = pipe:close()
  os.remove(name)
  return said, how, code
end

return witness

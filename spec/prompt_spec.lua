-- prompt_spec.lua: a plain `lua5.4` at its prompt, driven through a pseudo-terminal, with a client
-- that nobody steps. The sandbox in this process must see every beat on time meanwhile.

local witness = require "witness"

local INTERVAL_MS = 250
local IDLE_S = 2.5 -- ten intervals

-- Types `lines` at a prompt of lua5.4, then leaves it alone for `idle_s`, then ends it. Returns all
-- that the terminal showed. util-linux's script(1) makes the terminal.
local function at_prompt(lines, idle_s)
  local typed = {}
  for _, line in ipairs(lines) do typed[#typed + 1] = "'" .. line:gsub("'", "'\\''") .. "'" end
  local keys = ("{ sleep 0.3; printf '%%s\\n' %s; sleep %.2f; printf 'os.exit()\\n'; sleep 0.5; }")
    :format(table.concat(typed, " "), idle_s)
  local pipe = assert(io.popen(("%s | TERM=dumb timeout -k 2 %d script -qec lua5.4 /dev/null 2>&1")
    :format(keys, witness.patience)))
  local shown = pipe:read("a")
  pipe:close()
  return shown
end

describe("an idle prompt #sockets", function()
  it("R6 R7 beats on time while nobody types", function()
    local discord = witness.sandbox { heartbeat_interval = INTERVAL_MS }
    local shown = at_prompt({
      ("package.path, package.cpath = %q, %q"):format(package.path,
    os.getenv "MOONGATE_CPATH" or package.cpath),
      'moongate = require "moongate"',
      ("bot = moongate.client { token = %q, api = %q, intents = { %q } }"):format(
        discord.token, discord.api, "guilds"),
      "bot:connect()",
      'print("connecting", bot.state)',
    }, IDLE_S)
    local times = witness.beats(discord)
    local identifies = discord:received("IDENTIFY")
    discord:stop()
    assert.matches("Lua 5%.4", shown) -- its banner: it took the terminal for a person
    assert.matches("connecting\t", shown)
    assert.equal(1, #identifies, shown)
    -- The first beat comes within an interval, the process needs some time to start.
    witness.judge(times, INTERVAL_MS, math.floor(IDLE_S * 1000 / INTERVAL_MS) - 4)
  end)
end)

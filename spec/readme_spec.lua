-- README.md and the examples are run, so that they cannot rot.  #sockets
local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function blocks(text, language)
  local list = {}
  for block in text:gmatch("\n```" .. language .. "\n(.-)\n```") do list[#list + 1] = block end
  return list
end

local function with_sandbox(fn)
  local sandbox = require "moongate.sandbox"
  local discord = assert(sandbox.start { guilds = 2, tls = true })
  local ok, message = xpcall(fn, debug.traceback, discord)
  discord:stop()
  if not ok then error(message, 0) end
end

local function run_block(block, globals, printed)
  printed = printed or {}
  local env = setmetatable({
    print = function(...)
      local words = table.pack(...)
      for i = 1, words.n do words[i] = tostring(words[i]) end
      printed[#printed + 1] = table.concat(words, " ")
    end,
  }, { __index = function(_, key) return globals[key] or _G[key] end })
  assert(load(block, "=README", "t", env))()
  return printed
end

describe("README #sockets", function()
  local readme = read "README.md"
  local lua = blocks(readme, "lua")

  it("has eight blocks of Lua, and all of them are run here", function()
    assert.equal(8, #lua)
  end)

  it("the bot is examples/echo.lua, word for word", function()
    assert.equal(read "examples/echo.lua", lua[1] .. "\n")
  end)

  it("waiting and commands do what they say", function()
    with_sandbox(function(discord)
      local moongate = require "moongate"
      local bot = moongate.client {
        token = discord.token, api = discord.api, ca_file = discord.ca_file,
        intents = { "guild_messages", "message_content" },
      }
      bot:once("READY", function()
        moongate.spawn(function()
          for _, content in ipairs { "noise", "ping" } do
            discord:dispatch("MESSAGE_CREATE", {
              content = content, channel_id = "1", guild_id = discord.guilds[1].id,
              author = { id = "3", username = "ada" },
            })
          end
        end)
      end)
      local printed = run_block(lua[2], { bot = bot, moongate = moongate })
      assert.truthy(printed[1]:match "^Shard 0/1 .* is %S")
      assert.equal("ada", printed[2])
      assert.equal(1, #discord:received "PRESENCE_UPDATE")
    end)
  end)

  it("events are not read whole", function()
    with_sandbox(function(discord)
      local moongate = require "moongate"
      local bot = moongate.client {
        token = discord.token, api = discord.api, ca_file = discord.ca_file,
        intents = { "guilds", "guild_messages", "message_content" },
      }
      local printed = run_block(lua[3], { bot = bot })
      bot:once("READY", function()
        discord:dispatch("MESSAGE_CREATE", {
          content = "x", channel_id = "1", guild_id = discord.guilds[1].id,
          author = { id = "3", username = "ada" },
        })
      end)
      bot:connect()
      assert(bot:wait_for("MESSAGE_CREATE", { timeout = 10 }))
      bot:stop()
      assert.matches("^%S.* %d+ %S+$", printed[1])
      assert.equal("x", require("cjson").decode(printed[#printed]).content)
    end)
  end)

  -- The client that a block makes.
  local function made_by(block)
    local made
    local moongate = setmetatable({
      client = function(options)
        options.token = "a.token"
        made = require("moongate").client(options)
      end,
    }, { __index = require "moongate" })
    run_block(block, { moongate = moongate })
    return made
  end

  it("a session store is made as it says", function()
    assert.equal("Store in sessions.json", tostring(made_by(lua[4]).options.session_store))
  end)

  it("so is a coordinator", function()
    local options = made_by(lua[5]).options
    assert.matches("^Coordinator in .*moongate", tostring(options.identify_coordinator))
    assert.equal(8, #options.shard_ids)
  end)

  it("a bot in another loop hears, and the loop goes on", function()
    if not pcall(require, "cqueues") then
      pending "cqueues is not installed; Debian has it in lua-cqueues"
    end
    with_sandbox(function(discord)
      local moongate = require "moongate"
      local bot = moongate.client {
        token = discord.token, api = discord.api, ca_file = discord.ca_file, intents = { "guilds" },
      }
      local printed = {}
      bot:on("READY", function()
        repeat moongate.sleep(0.01) until printed[#printed] == "ready"
        discord:close(4014)
      end)
      run_block(lua[6], { bot = bot, moongate = moongate }, printed)
      local told
      for _, line in ipairs(printed) do told = told or line:match "^nil .* (EINTENTS)$" end
      assert.equal("EINTENTS", told)
    end)
  end)

  it("the sandbox does what it says", function()
    local printed = run_block(lua[7], {})
    assert.equal("ping", printed[1])
    assert.truthy(printed[2]:match "^Shard 0/1 ready")
  end)
end)

describe("README, a bot's own tests #sockets", function()
  it("are green with the example's bot", function()
    local block
    for _, each in ipairs(blocks(read "README.md", "lua")) do
      block = each:find "sandbox%.busted" and each or block
    end
    local name = os.tmpname() .. "_spec.lua"
    local file = assert(io.open(name, "w"))
    file:write("package.path = 'examples/counter/?.lua;' .. package.path\n", block, "\n")
    file:close()
    local pipe = io.popen("$(command -v lua5.4) $(command -v busted) --ignore-lua "
      .. "--output=plainTerminal " .. name .. " 2>&1")
    local said = pipe:read "a"
    local _, _, status = pipe:close()
    os.remove(name)
    os.remove((name:gsub("_spec.lua$", "")))
    assert.equal(0, status, said)
    assert.matches("1 success / 0 failures / 0 errors", said)
  end)
end)

describe("the demo #sockets", function()
  it("shows the whole story and ends with status 0", function()
    local pipe = io.popen "env -u DISCORD_TOKEN lua5.4 examples/demo.lua 2>&1"
    local text = pipe:read "a"
    local ok, _, status = pipe:close()
    assert.is_true(ok, text .. tostring(status))
    local at = 1
    for _, word in ipairs { "sandbox", "connected", "ready", "message", "link cut", "resumed",
      "nothing lost" } do
      local found = text:find("\n?" .. word, at)
      assert.truthy(found, word .. " is missing in:\n" .. text)
      at = found
    end
  end)
end)

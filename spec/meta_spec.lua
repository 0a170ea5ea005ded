-- meta_spec.lua: what editors are told (lua/moongate/meta) is what annotate.lua makes of the tables
-- now, in types that are defined, and says of each module, object and option what is there at run
-- time: all of it, and nothing else.

local annotate = require "annotate"
local annotations = require "annotations"
local core = require "moongate.core"
local luacats = require "luacats"
local moongate = require "moongate"
local options = require "moongate.options"
local sandbox = require "moongate.sandbox"
local witness = require "witness"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local files = luacats.files "lua/moongate/meta"
local book = luacats.read(files)

-- ---- Names -------------------------------------------------------------------------------------

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- Names of lists and sets, in order, each once.
local function names(...)
  local set = {}
  for _, from in ipairs { ... } do
    for key, value in pairs(from) do set[type(key) == "number" and value or key] = true end
  end
  return sorted(set)
end

-- The keys of a table itself, whatever its metatable says.
local function keys(t)
  local list = {}
  for key in next, t do
    if type(key) == "string" and not key:find "^__" then list[#list + 1] = key end
  end
  return list
end

local function annotated(class)
  return sorted(luacats.members(book, class))
end

-- What is a function there is annotated as one, and the other way round.
local function expect_kinds(class, object)
  for name, member in pairs(luacats.members(book, class)) do
    local value = object[name]
    local is_function = member.method or member.type:find "^fun%(" ~= nil
    if value ~= nil then
      assert.equal(is_function, type(value) == "function", class .. "." .. name)
    end
  end
end

-- What an object of moongate's has for its users; see complete.lua.
local function members_of(object)
  local meta, list = debug.getmetatable(object), {}
  for _, part in ipairs(meta.__members) do
    for key in pairs(part) do
      if not (meta.__internal or {})[key] then list[#list + 1] = key end
    end
  end
  return list
end

local function client()
  return moongate.client { token = "meta.spec.token", intents = { "guilds" } }
end

-- ---- The files ---------------------------------------------------------------------------------

describe("meta: the files", function()
  it("are what the generator makes now; `make meta` makes them anew", function()
    local made = annotate.files()
    assert.same(sorted(made), sorted(files))
    for name, text in pairs(made) do
      assert(text == files[name], name .. " is not what annotate.lua makes: run make meta")
    end
  end)

  it("are Lua that does nothing but make tables, and is never loaded", function()
    for name, text in pairs(files) do
      local chunk = assert(load(text, "@" .. name, "t", setmetatable({}, {
        __index = function(_, key) error(name .. " reads " .. key) end,
        __newindex = function(_, key) error(name .. " writes " .. key) end,
      })))
      local made = chunk()
      assert(made == nil or type(made) == "table", name)
    end
    for key in pairs(package.loaded) do assert.is_nil(key:find("moongate.meta", 1, true), key) end
  end)

  it("are where LuaRocks puts them, as modules of the rock", function()
    for name in pairs(files) do
      local module = "moongate.meta." .. name:match "^(.*)%.lua$"
      local path = assert(package.searchpath(module, package.path))
      assert.matches("/share/lua/5%.4/moongate/meta/", path)
      assert.equal(files[name], read(path))
    end
    -- README.md says so to editors.
    local told = read("README.md"):match '"workspace%.library": %["([^"]*)"%]'
    assert.equal("/usr/local/share/lua/5.4/moongate/meta", told)
  end)

  it("have only tags that the language server knows, and types that are defined", function()
    assert.same({}, book.wrong)
    assert.is_true(book.types_judged > 500)
  end)

  it("name what is required", function()
    for name, wanted in pairs { ["moongate.lua"] = "moongate", ["sandbox.lua"] = "moongate.sandbox",
      ["busted.lua"] = "moongate.sandbox.busted", ["client.lua"] = "_", ["words.lua"] = "_" } do
      assert.equal("---@meta " .. wanted, files[name]:match "^[^\n]*")
    end
  end)
end)

describe("meta: the reader of annotations", function()
  local function wrong(text)
    return table.concat(luacats.read({ ["a.lua"] = text }).wrong, "; ")
  end

  it("takes what is right", function()
    assert.equal("", wrong('---@class A: B, C\n---@class B\n---@class C\n---@field x? integer[]\n'
      .. '---@field ["until"] table<string, A>?\n---@field [1] "a"|1|false\n'
      .. "---@field f fun(self, a: A, b?: string): A?, string\n"
      .. "---@alias D\n---| (fun(...: any): any)? # words\n---| D[]\n"
      .. "---@generic T\n---@param a T\n---@param ... any\n---@return T a\n"
      .. "function A:g(a, ...) end\n"))
  end)

  it("refuses what is not", function()
    for text, words in pairs {
      ["---@clas A"] = "no tag @clas", ["---@field x integer"] = "no class",
      ["---@class A\n---@field x Nobody"] = "no type Nobody",
      ["---@class A: Nobody"] = "no type Nobody",
      ["---@class A\n---@field x integer|"] = "no type at the end",
      ["---@class A\n---@field x table<string"] = "no >",
      ["---@class A\n---@field x fun(a: A"] = "no )",
      ["---@class A\n---@field x integer words"] = "words behind the type",
      ["---@class A\n---@param b integer\nfunction A:f(a) end"] = "parameters",
      ["---@class A\n---@class A"] = "twice",
      ["---@class A\n---@field x A\n---@field x A"] = "twice",
      ["---@return T x\nfunction f() end"] = "no type T",
    } do
      assert.truthy(wrong(text):find(words, 1, true), ("%s in %s"):format(words, wrong(text)))
    end
  end)
end)

-- ---- What is there -----------------------------------------------------------------------------

describe("meta: what is there at run time", function()
  it("the module, and the tables in it", function()
    assert.same(names(keys(moongate)), annotated "moongate")
    expect_kinds("moongate", moongate)
    for _, name in ipairs { "store", "coordinator", "snowflake", "gateway" } do
      assert.same(names(keys(moongate[name])), annotated("moongate." .. name))
      expect_kinds("moongate." .. name, moongate[name])
    end
    for _, name in ipairs { "snowflake", "gateway", "intents" } do
      assert.is_truthy(book.classes["moongate." .. name].calls, name)
      assert.is_function(getmetatable(moongate[name]).__call)
    end
  end)

  it("intents, events, opcodes, close codes: each name", function()
    local intents = moongate.intents
    local named = { "all", "default", "privileged" }
    for name in pairs(intents) do named[#named + 1] = name end
    assert.same(names(keys(intents), named), annotated "moongate.intents")
    for _, name in ipairs(named) do
      assert.equal(tostring(intents[name]), book.classes["moongate.intents"].members[name].type)
    end
    assert.same(names(named), names(luacats.literals(book, "moongate.Intent")))
    assert.same(names(keys(moongate.events), moongate.events.dispatches),
      annotated "moongate.events")
    assert.same(names(keys(core.opcodes), { "[integer]" }), annotated "moongate.opcodes")
    assert.same(names(keys(core.opcodes)), names(luacats.literals(book, "moongate.Opcode")))
    local codes = {}
    for code, row in pairs(core.close_codes) do
      codes[#codes + 1] = ("[%d]"):format(code)
      assert.same({}, luacats.judge(book, row, "moongate.CloseCode"))
    end
    assert.same(names(codes), annotated "moongate.close_codes")
  end)

  it("states and errors: each that there is, and each that the Lua side returns", function()
    assert.same(names(core.states), names(luacats.literals(book, "moongate.State")))
    local returned = {}
    for line in io.popen([[grep -rhoE '"E[A-Z0-9]+"' lua/moongate/*.lua]]):lines() do
      returned[line:match '"(.*)"'] = true
    end
    assert.is_true(returned.EHANDLER)
    assert.same(names(core.errors, returned), names(luacats.literals(book, "moongate.Error")))
  end)

  it("events: every name in two styles, and moongate's own", function()
    local styles = {}
    for name in pairs(moongate.events.dispatches) do
      local other = annotate.camel(name)
      assert.equal(name, moongate.events.canonical(other))
      styles[#styles + 1], styles[#styles + 2] = name, other
    end
    assert.same(names(styles), names(luacats.literals(book, "moongate.Dispatch")))
    assert.same(names(moongate.events.own), names(luacats.literals(book, "moongate.Own")))
    local heard = {}
    for _, overload in ipairs(book.overloads["Emitter:on"]) do
      heard[#heard + 1] = overload:match 'event: "(%l+)"'
      assert.is_truthy(overload:find("fn: moongate.on." .. heard[#heard] .. ")", 1, true))
    end
    assert.same(names(moongate.events.own), names(heard))
    for name in pairs(moongate.events.own) do
      local words = annotate.event_words()[name]
      local shape = {}
      for key in (words.shape or ""):gmatch "%a[%w_]*" do shape[#shape + 1] = key end
      if words.shape then assert.same(names(shape), annotated("moongate.data." .. name)) end
    end
  end)

  it("clients, shards, gateways, pollables, stores, coordinators", function()
    local bot, one = client(), moongate.shard("meta.shard.token", 0, { intents = { "guilds" } })
    for class, object in pairs { ["moongate.Cluster"] = bot, ["moongate.Shard"] = one,
      ["moongate.Gateway"] = bot.gateway } do
      assert.same(names(members_of(object)), annotated(class))
      expect_kinds(class, object)
    end
    local pollable = bot:pollable()
    assert.same(names(keys(pollable), keys(getmetatable(pollable))), annotated "moongate.Pollable")
    for class, all in pairs {
      ["moongate.Store"] = { moongate.store.memory(), moongate.store.file "sessions.json" },
      ["moongate.Coordinator"] = { moongate.coordinator.file() },
    } do
      for _, object in ipairs(all) do
        assert.same(names(keys(getmetatable(object))), annotated(class))
      end
    end
    assert.same({}, luacats.judge(book, moongate.snowflake "175928847299117063",
      "moongate.Snowflake"))
  end)

  it("sandboxes, and busted's assertions", function()
    local discord = witness.sandbox { tls = true }
    local methods = keys(require("moongate.sandbox.core").methods)
    assert.same(names(methods, keys((debug.getuservalue(discord, 1)))),
      annotated "moongate.sandbox.Sandbox")
    expect_kinds("moongate.sandbox.Sandbox", discord)
    assert.same({}, luacats.judge(book, discord.guilds, "moongate.sandbox.Guild[]"))
    assert.same({}, luacats.judge(book, discord.people, "moongate.sandbox.Person[]"))
    discord:stop()
    assert.same(names(keys(sandbox)), annotated "moongate.sandbox")
    expect_kinds("moongate.sandbox", sandbox)
    assert.same(names(keys(require "moongate.sandbox.busted")),
      annotated "moongate.sandbox.busted")
    local spaces = require "luassert.namespaces"
    assert.is_truthy(spaces.modifier.bot)
    local asserted = { does_not = true, has_not = true }
    local source = read "lua/moongate/sandbox/busted.lua"
    for name in source:match("local assertions = (%b{})"):gmatch "([%a]+) =" do
      assert.is_truthy(spaces.assertion[name], name)
      asserted[name] = true
    end
    assert.same(names(asserted), annotated "moongate.sandbox.Assertion")
  end)
end)

-- ---- Options -----------------------------------------------------------------------------------

-- The names that the complaint about a wrong one lists.
local function listed(fn, ...)
  local fine, message = pcall(fn, ...)
  assert(not fine, "nothing was wrong")
  local list, wanted = {}, assert(message:match "there [ai][rs]e?:? (.*)$", message)
  for name in wanted:gmatch "[%w_]+" do list[#list + 1] = name end
  return names(list)
end

describe("meta: options", function()
  it("of the constructors: every one that is checked", function()
    assert.same(names(options.names()), annotated "moongate.Options")
    local list = {}
    for i, row in ipairs(options.list()) do
      list[i] = row.name
      assert.is_truthy(row.kind, row.name)
      local record = annotations.records[row.name]
      assert.equal(row.kind == "record", record ~= nil)
      local keys_of = {}
      for j, key in ipairs(row.keys or {}) do keys_of[j] = key.name end
      for _, more in ipairs(record and record.fields or {}) do keys_of[#keys_of + 1] = more[1] end
      if record then assert.same(names(keys_of), annotated(record.name)) end
    end
    assert.same(options.names(), list)
    local made = options.check { token = "a.token", intents = 1, when_full = "drop" }
    made.token = "a.token"
    assert.same({}, luacats.judge(book, made, "moongate.Options"))
  end)

  it("of the sandbox, and its targets", function()
    local list = {}
    for i, row in ipairs(sandbox.options()) do
      list[i] = row.name
      assert.is_truthy(row.kind, row.name)
      assert.same({}, luacats.judge(book, row, "moongate.sandbox.Option"))
      local given = { [row.name] = row.default }
      assert.same({}, luacats.judge(book, given, "moongate.sandbox.Options"))
    end
    assert.same(names(list), annotated "moongate.sandbox.Options")
    assert.same(names(keys(require("moongate.sandbox.arguments").target_keys)),
      annotated "moongate.sandbox.Aim")
    local discord = witness.sandbox()
    for class, call in pairs {
      ["moongate.sandbox.Answer"] = function(given) discord:respond(given) end,
      ["moongate.sandbox.Deed"] = function(given) discord:instead("ready", given) end,
    } do
      assert.matches("unknown", select(2, pcall(call, { nobody = 1 })))
      for _, name in ipairs(annotated(class)) do
        local fine, message = pcall(call, { [name] = print })
        assert.is_true(fine or not message:find "unknown", name)
      end
    end
    discord:stop()
  end)

  it("of methods: what their complaints list", function()
    local bot, one = client(), moongate.shard("meta.shard.token", 0, { intents = { "guilds" } })
    local wrong = { nobody = true }
    for _, verb in ipairs { "on", "once", "prepend" } do
      assert.same(listed(bot[verb], bot, "X", print, wrong), annotated "moongate.ListenOptions")
    end
    assert.same(listed(bot.wait_for, bot, "X", wrong), annotated "moongate.WaitOptions")
    assert.same(names(listed(bot.events, bot, wrong), { "[integer]" }),
      annotated "moongate.LoopOptions")
    assert.same(listed(bot.stop, bot, wrong), annotated "moongate.StopOptions")
    assert.same(listed(one.set_presence, one, wrong), annotated "moongate.Presence")
    assert.same(listed(one.request_members, one, "1", wrong), annotated "moongate.MemberOptions")
    assert.same(listed(one.update_voice_state, one, "1", "2", wrong),
      annotated "moongate.VoiceOptions")
    assert.same(listed(one.identify, one, wrong), annotated "moongate.Identify")
  end)

  it("of the prompt: those of README.md, and each is known", function()
    local told = {}
    for _, row in ipairs(annotate.readme_table "option | what it is, and its default") do
      for name in row[1]:gmatch "`([%w_]+)`" do told[name] = true end
    end
    for _, name in ipairs(options.names()) do told[name] = nil end
    assert.same(names(told), annotated "moongate.ReplOptions")
    local bot = client()
    for name in pairs(told) do
      local _, message = pcall(moongate.repl, bot, { [name] = 0 })
      assert.matches("option " .. name .. ": .* expected", message)
    end
  end)
end)

-- ---- What is given -----------------------------------------------------------------------------

describe("meta: what is given #sockets", function()
  local discord, bot

  after_each(function()
    if bot then bot:stop() end
    if discord then discord:stop() end
    bot, discord = nil, nil
  end)

  local function expect(value, what)
    assert.same({}, luacats.judge(book, value, what))
  end

  it("has the types that are annotated", function()
    discord = witness.sandbox { tls = true }
    bot = witness.client(discord, { ca_file = discord.ca_file })
    witness.ready(bot)
    local one = bot.shards[0]
    witness.await(bot, "ready", function() return bot.state == "ready" end)
    expect(one.ws, "moongate.WebSocket")
    expect(assert(one:session_info()), "moongate.Session")
    expect(bot.gateway.session_start_limit, "moongate.StartLimit")
    expect(bot.state, "moongate.State")
    expect(discord:connections(), "moongate.sandbox.Connection[]")
    expect(discord:sessions(), "moongate.sandbox.Session[]")
    expect(discord:received(), "moongate.sandbox.Packet[]")
    expect(discord:requests(), "moongate.sandbox.Request[]")
    expect(discord:log(), "moongate.sandbox.Line[]")
    discord:close(4000)
    witness.await(bot, "away", function() return #discord:history() == 1 end)
    expect(discord:history(), "moongate.sandbox.Connection[]")
    expect(discord:sessions(), "moongate.sandbox.Session[]")
  end)
end)

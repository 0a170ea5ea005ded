-- sandbox/busted.lua: `require "moongate.sandbox.busted"`, for tests of bots: starts one against
-- a sandbox of its own and teaches busted's assert what bots do. Required by specs only; needs
-- luassert, which comes with busted, and of moongate nothing but the sandbox. Mistakes are raised
-- in the line of the spec.
--
--   local stage = require "moongate.sandbox.busted"
--
--   local discord, bot
--   before_each(function() discord, bot = stage.start(require "bot", { guilds = 1 }) end)
--   after_each(stage.stop)
--
--   it("shows what it counts", function()
--     discord:dispatch("MESSAGE_CREATE", { content = "one", ... })
--     assert.bot(bot).sent("PRESENCE_UPDATE", { activities = { { name = "1 message" } } })
--     assert.bot(bot).does_not.send "REQUEST_GUILD_MEMBERS"
--   end)
--
-- assert.bot(one) takes the bot, or a sandbox whose bot is another program. Each assertion waits up
-- to stage.patience seconds, in which the bot goes on; with not or no it fails as soon as it sees
-- what shall not be, and passes after stage.quiet seconds without.

local luassert = require "luassert"
local say = require "say"
local arguments_of = require "moongate.sandbox.arguments"
local sandbox = require "moongate.sandbox"
local spelling = require "moongate.spelling"

local stage = { patience = 2, quiet = 0.05 }

local TURN_S = 0.005 -- of a bot that runs while an assertion waits
local LOG_LINES = 8 -- of the sandbox, in the message of a bot that does not come up
local SHOWN = 5 -- packets or requests, in the message of an assertion

local pairs_of = setmetatable({}, { __mode = "k" }) -- bot or sandbox -> { discord =, bot = }
local running = {}

-- ---- Mistakes of a spec -------------------------------------------------------------------------

local HERE = debug.getinfo(1, "S").source

-- Raises in the line of the spec: the nearest one outside of this file and of luassert.
local function blame(...)
  local level, message = 2, string.format(...)
  local frame = debug.getinfo(level, "S")
  while frame and (frame.source == HERE or frame.what == "C"
    or frame.source:find("luassert", 1, true)) do
    level = level + 1
    frame = debug.getinfo(level, "S")
  end
  error(message, level)
end

-- ---- Starting and stopping ----------------------------------------------------------------------

local function tail_of_log(discord)
  local lines, all = {}, discord:log() or {}
  for at = math.max(1, #all - LOG_LINES + 1), #all do
    lines[#lines + 1] = ("  %s: %s"):format(all[at].what, all[at].text)
  end
  return table.concat(lines, "\n")
end

-- Lets the bot, or the other program, go on until is_so() or for so many seconds.
local function wait_for(pair, seconds, is_so)
  if not pair.bot then
    return (pair.discord:wait_until(is_so, seconds))
  end
  local ends = pair.clock() + seconds
  repeat
    local found = is_so()
    if found then return found end
    pair.bot:step(TURN_S)
  until pair.clock() >= ends
  return is_so()
end

local function start_sandbox(options)
  if options ~= nil and type(options) ~= "table" then
    blame("stage.start: options: table expected, got %s", spelling.shown(options))
  end
  local all = { limits = false }
  for key, value in pairs(options or {}) do all[key] = value end
  local fine, discord, why = pcall(sandbox.start, all)
  if not fine then blame("stage.%s", (discord:gsub("^.-: start: ", "start: "))) end
  if not discord then blame("stage.%s", why) end
  return discord
end

--- Starts a sandbox with `options` (its limits are off unless they say otherwise), calls make with
--- { token =, api =, ca_file = } for the bot, connects it and waits until every shard is ready.
--- Returns the sandbox and the bot; raises when the bot does not come up.
function stage.start(make, options)
  if type(make) ~= "function" then
    blame("stage.start: make: a function that returns the bot expected, got %s",
      spelling.shown(make))
  end
  local discord = start_sandbox(options)
  running[#running + 1] = { discord = discord }
  local bot = make { token = discord.token, api = discord.api, ca_file = discord.ca_file }
  if type(bot) ~= "table" and type(bot) ~= "userdata" then
    blame("stage.start: make: a function that returns the bot expected, it returned %s",
      spelling.shown(bot))
  end
  running[#running].bot = bot
  local pair = { discord = discord, bot = bot, clock = function() return discord:clock() end }
  pairs_of[bot], pairs_of[discord] = pair, pair
  local going, why = bot:connect()
  if not going then
    blame("stage.start: %s; the sandbox says:\n%s", tostring(why), tail_of_log(discord))
  end
  local ready = wait_for(pair, stage.patience, function()
    return bot.state == "ready"
  end)
  if not ready then
    blame("stage.start: the bot is %s after %g s; the sandbox says:\n%s", tostring(bot.state),
      stage.patience, tail_of_log(discord))
  end
  return discord, bot
end

--- Stops every bot and sandbox that was started here.
function stage.stop()
  local all = running
  running = {}
  for _, one in ipairs(all) do
    if one.bot then one.bot:stop() end
    one.discord:stop()
  end
end

-- ---- Comparing and showing ----------------------------------------------------------------------

-- Whether `wanted` is part of `given`: what is in it is the same there, however deep.
local function is_part(wanted, given)
  if wanted == given then return true end
  if type(wanted) == "function" then return wanted(given) and true or false end
  if type(wanted) ~= "table" or type(given) ~= "table" then return false end
  for key, value in pairs(wanted) do
    if not is_part(value, given[key]) then return false end
  end
  return true
end

local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    local name = math.type(key) == "integer" and "" or tostring(key) .. " = "
    parts[#parts + 1] = name .. (key == "token" and '"(hidden)"' or show(value[key]))
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local function show_last(list, what)
  local lines = {}
  for at = math.max(1, #list - SHOWN + 1), #list do lines[#lines + 1] = "  " .. what(list[at]) end
  return table.concat(lines, "\n")
end

-- ---- Assertions ---------------------------------------------------------------------------------

local function subject_of(state, name)
  local pair = rawget(state, "moongate_pair")
  if not pair then
    blame("assert.%s: say of whom: assert.bot(bot).%s(...)", name, name)
  end
  return pair
end

-- Looks until `find` gives something, and makes the message for either outcome.
local function judge(state, arguments, pair, row)
  local seconds = state.mod and stage.patience or stage.quiet
  local found = wait_for(pair, seconds, row.find)
  arguments.n, arguments.nofmt = 1, { true }
  arguments[1] = found and row.surplus(found) or row.lacking(seconds)
  return found ~= nil and found ~= false, { found }
end

local function count_names(packets)
  local counts, names = {}, {}
  for _, packet in ipairs(packets) do
    local name = packet.name or "op " .. packet.op
    if not counts[name] then names[#names + 1] = name end
    counts[name] = (counts[name] or 0) + 1
  end
  for at, name in ipairs(names) do names[at] = ("%s (%d)"):format(name, counts[name]) end
  return #names > 0 and table.concat(names, ", ") or "nothing"
end

-- .sent(op, fields): a packet of that opcode whose d has these fields.
local function sent(state, arguments)
  local pair, op, fields = subject_of(state, "sent"), arguments[1], arguments[2]
  local known, wrong = arguments_of.judge_op(op)
  if not known then blame("assert.sent: %s", wrong) end
  local wanted = fields == nil and "" or " with " .. show(fields)
  return judge(state, arguments, pair, {
    find = function()
      for _, packet in ipairs(pair.discord:received(op)) do
        if fields == nil or is_part(fields, packet.d) then return packet end
      end
    end,
    surplus = function(packet)
      return ("Expected the bot not to send %s%s. It sent:\n  %s"):format(op, wanted,
        show(packet.d))
    end,
    lacking = function(seconds)
      local same = pair.discord:received(op)
      local what = #same == 0 and "It sent none; in all: " .. count_names(pair.discord:received())
        or ("Of these it sent %d:\n%s"):format(#same, show_last(same, function(packet)
          return show(packet.d)
        end))
      return ("Expected the bot to send %s%s within %g s. %s"):format(op, wanted, seconds, what)
    end,
  })
end

-- .requested(method, path, fields): a request of REST whose body has these fields.
local function requested(state, arguments)
  local pair = subject_of(state, "requested")
  local method, path, fields = arguments[1], arguments[2], arguments[3]
  if type(method) ~= "string" or type(path) ~= "string" then
    blame('assert.requested: method and path expected, as in ("POST", "/channels/1/messages"), '
      .. "got %s, %s", spelling.shown(method), spelling.shown(path))
  end
  local cjson = require "cjson"
  local wanted = method .. " " .. path .. (fields == nil and "" or " with " .. show(fields))
  local function is_it(request)
    if request.method ~= method or request.path ~= path then return false end
    if fields == nil then return true end
    local fine, body = pcall(cjson.decode, request.body or "")
    return fine and is_part(fields, body)
  end
  return judge(state, arguments, pair, {
    find = function()
      for _, request in ipairs(pair.discord:requests()) do
        if is_it(request) then return request end
      end
    end,
    surplus = function(request)
      return ("Expected the bot not to request %s. It did:\n  %s"):format(wanted,
        show(request.body))
    end,
    lacking = function(seconds)
      local all = pair.discord:requests()
      return ("Expected the bot to request %s within %g s. It made %d requests%s"):format(wanted,
        seconds, #all, #all == 0 and "." or ":\n" .. show_last(all, function(request)
          return ("%s %s %s"):format(request.method, request.path, request.body or "")
        end))
    end,
  })
end

-- .resumed(): the sandbox has let it go on in its session.
local function resumed(state, arguments)
  local pair = subject_of(state, "resumed")
  return judge(state, arguments, pair, {
    find = function()
      for _, line in ipairs(pair.discord:log()) do
        local here = not pair.bot or pair.bot.state == "ready"
        if line.what == "resumed" and here then return line end
      end
    end,
    surplus = function(line)
      return "Expected the bot not to resume. It did, session " .. line.text
    end,
    lacking = function(seconds)
      return ("Expected the bot to resume within %g s. The sandbox says:\n%s"):format(seconds,
        tail_of_log(pair.discord))
    end,
  })
end

-- .closed(code): it has ended a connection itself, with this code or any.
local function closed(state, arguments)
  local pair, code = subject_of(state, "closed"), arguments[1]
  if code ~= nil and not arguments_of.is_integer(code) then
    blame("assert.closed: code: an integer expected, got %s", spelling.shown(code))
  end
  local wanted = code == nil and "" or " with " .. tostring(code)
  return judge(state, arguments, pair, {
    find = function()
      for _, past in ipairs(pair.discord:history()) do
        local got = past.close_received
        if got and got ~= 1006 and (code == nil or got == code) then return past end
      end
    end,
    surplus = function(past)
      return ("Expected the bot not to close%s. It closed with %s"):format(wanted,
        past.close_received)
    end,
    lacking = function(seconds)
      return ("Expected the bot to close%s within %g s. The sandbox says:\n%s"):format(wanted,
        seconds, tail_of_log(pair.discord))
    end,
  })
end

luassert:register("modifier", "bot", function(state, arguments)
  local subject = arguments and arguments[1]
  if subject == nil then return state end
  local pair = pairs_of[subject]
  if not pair and type(subject) == "userdata" then pair = { discord = subject } end
  if not pair then
    blame("assert.bot: a bot of stage.start, or a sandbox expected, got %s",
      spelling.shown(subject))
  end
  rawset(state, "moongate_pair", pair)
  return state
end)

say:set("assertion.moongate", "%s")

local assertions = { sent = sent, send = sent, requested = requested, request = requested,
  resumed = resumed, resume = resumed, closed = closed, close = closed }
for name, fn in pairs(assertions) do
  luassert:register("assertion", name, fn, "assertion.moongate", "assertion.moongate")
end

return stage

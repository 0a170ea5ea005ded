-- gateway.lua: what a token needs to know before it connects: the URL, the recommended number of
-- shards, the session start limit. One object per token in the process. Called by cluster.lua and
-- by users, on the Lua thread. It opens no socket: an engine asks for it.

local core = require "moongate.core"
local bridge = require "moongate.bridge"
local options = require "moongate.options"
local scheduler = require "moongate.scheduler"
local shard = require "moongate.shard"
local shelter = require "moongate.shelter"

local gateway = {}

local DEFAULT_API = "https://discord.com/api"
local TIMEOUT_S = 15 -- of one request
local BACKOFF_BASE_S, BACKOFF_CAP_S = 1, 60 -- between requests that failed; with full jitter
local RETRY_AFTER_S = 5 -- for a 429 that does not say how long
local IDENTIFY_WINDOW_S = core.limits.IDENTIFY_WINDOW_MS / 1000
local HOST_REMEDY = "check that the host is up and that a firewall lets you out, "
local TLS_REMEDY = "check ca_file, this machine's clock, and that the port speaks TLS, "
local REMEDIES = { -- of requests that got no answer, by code
  ERESOLVE = "check the host name and this machine's DNS, ",
  ECONNECT = HOST_REMEDY,
  ETIMEOUT = HOST_REMEDY,
  ECERTIFICATE = TLS_REMEDY,
  ETLS = TLS_REMEDY,
}
local FINAL = { ECLOSED = true, EFORK = true, EINTR = true } -- not the network's failures
local DAY_MS = core.limits.QUOTA_DAY_MS
local FRESH_S = 3600 -- an answer is used again for an hour: the numbers in it move on

-- What is kept of each gateway, out of reach of whatever prints tables: the token above all.
local privates = setmetatable({}, { __mode = "k" })
local by_token = {}

-- ---- Properties --------------------------------------------------------------------------------

local methods = {}

local function default_api()
  return ((os.getenv("DISCORD_API") or DEFAULT_API):gsub("/+$", ""))
end

local properties = {
  token = function(own) return own.token end,
  url = function(own) return own.url or (own.answer and own.answer.url) end,
  shards = function(own) return own.shards or (own.answer and own.answer.shards) end,
  chosen_shards = function(own) return own.shards end,
  api = function(own) return own.api end,
}

-- Counts down what the gateway said, as identifies leave.
local function live_limit(own)
  local limit = own.answer and own.answer.session_start_limit
  local total = limit and math.tointeger(limit.total)
  if total and own.current then
    limit.remaining = math.max(total - core.quota(own.token, own.current).used, 0)
  end
  return limit
end
properties.session_start_limit = live_limit

local function describe(self)
  local shards = self.shards
  local count = shards and ("%d shard%s"):format(shards, shards == 1 and "" or "s")
  return ("Gateway %s, %s, token: (hidden)"):format(self.url or "not fetched yet",
    count or "number of shards unknown")
end

local meta = {
  __name = "moongate.gateway",
  __tostring = describe,
  __members = { methods, properties }, -- see complete.lua
  __internal = {
    configure = true, refresh = true, connects_to = true, serves = true, note_identify = true,
    identify_in = true,
  },
  __index = function(self, key)
    local property = properties[key]
    if property then return property(privates[self]) end
    return methods[key]
  end,
  __newindex = function(self, key, value)
    if key ~= "shards" and key ~= "url" and key ~= "api" then
      error(("gateway: field '%s' cannot be set"):format(tostring(key)), 2)
    end
    if value == nil then
      methods.configure(self, { api = key == "api" and default_api() or nil })
      if key ~= "api" then privates[self][key] = nil end
    else
      methods.configure(self, options.check_some("gateway", { [key] = value }, { key }, 3))
    end
  end,
}

-- ---- The answer --------------------------------------------------------------------------------

local function is_count(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0
end

local function read_limit(limit)
  if type(limit) ~= "table" then return nil end
  local reset_after = tonumber(limit.reset_after) or 0
  return {
    total = limit.total,
    remaining = limit.remaining,
    reset_after = reset_after,
    reset_at = os.time() + math.ceil(reset_after / 1000),
    max_concurrency = is_count(limit.max_concurrency) and limit.max_concurrency or 1,
  }
end

-- Returns the answer as it is kept, or nil and what is wrong with it.
local function read_answer(body)
  local data, message = core.decode(body)
  if type(data) ~= "table" then return nil, message or "not an object" end
  if type(data.url) ~= "string" or not data.url:find("^wss?://") then return nil, "no url" end
  if not is_count(data.shards) then return nil, "no number of shards" end
  return {
    url = data.url,
    shards = math.floor(data.shards),
    session_start_limit = read_limit(data.session_start_limit),
  }
end

local function retry_after_s(response)
  local seconds = tonumber(response.headers and response.headers.retry_after)
  if not seconds then
    local data = core.decode(response.body or "")
    seconds = type(data) == "table" and tonumber(data.retry_after)
  end
  return math.max(seconds or RETRY_AFTER_S, 0)
end

-- What an answer means: the kept answer; or nil, message, code of a failure, and the seconds after
-- which to ask again, unless that is useless.
local function judge(own, response, backoff_s)
  local where = "fetch: GET " .. own.api .. ": "
  local status = response.status
  if status == 200 then
    local answer, wrong = read_answer(response.body or "")
    if answer then return answer end
    return nil, ("%sthe answer cannot be used: %s; check api"):format(where, wrong), "EHTTP",
      backoff_s
  elseif status == 401 then
    return nil, "fetch: the token was not accepted: copy it again from the Developer Portal "
      .. "(Bot page); a reset makes the old one invalid", "EAUTH"
  elseif status == 429 then
    local seconds = retry_after_s(response)
    return nil, ("%stoo many requests (HTTP 429), asking again in %g s"):format(where, seconds),
      "EHTTP", seconds
  elseif status >= 500 then
    return nil, ("%sHTTP %d, asking again"):format(where, status), "EHTTP", backoff_s
  end
  return nil, ("%sHTTP %d; check api"):format(where, status), "EHTTP"
end

-- How many identifies have left for each URL. Those behind a question are not in its answer.
local function read_marks(own)
  local marks = {}
  for url in pairs(own.urls) do marks[url] = core.quota(own.token, url).spent end
  return marks
end

-- Tells the count of a URL's identifies what the gateway says of it.
local function teach(own, url, limit, spent)
  local total, remaining = limit and math.tointeger(limit.total), limit
    and math.tointeger(limit.remaining)
  if not total or not remaining then return end
  core.quota_learn(own.token, url, {
    total = total, remaining = remaining, spent = spent,
    reset_after = math.floor(math.min(limit.reset_after, DAY_MS)),
  })
end

local function ask(own, owner, backoff_s)
  own.marks = read_marks(own)
  local response, message, code = owner:request {
    url = ("%s/v%d/gateway/bot"):format(own.api, own.version),
    authorization = "Bot " .. own.token,
    timeout = TIMEOUT_S,
  }
  if response then return judge(own, response, backoff_s) end
  if FINAL[code] then return nil, message, code end
  local words = tostring(message):gsub("^request: ", "")
  return nil, ("fetch: GET %s: %s; %sasking again"):format(own.api, words, REMEDIES[code] or ""),
    code, backoff_s
end

local function ask_once(own, owner)
  if own.not_before and own.not_before > core.now() then return nil end
  local answer, message, code, again_s = ask(own, owner, BACKOFF_BASE_S)
  if again_s then own.not_before = core.now() + again_s end
  return answer, message, code
end

-- Asks until there is an answer or a reason to give up. Each failure in between is reported.
local function ask_on(own, owner, report)
  local ladder_s = BACKOFF_BASE_S
  while true do
    local wait_s = own.not_before and own.not_before - core.now() or 0
    if wait_s > 0 then
      local going, message, code = owner:pause(wait_s)
      if not going then return nil, message, code end
    end
    local answer, message, code, again_s = ask(own, owner, math.random() * ladder_s)
    if answer or not again_s then return answer, message, code end
    own.not_before = core.now() + again_s
    ladder_s = math.min(ladder_s * 2, BACKOFF_CAP_S)
    if report then
      report { code = code, message = message, phase = "gateway", retry_in = again_s }
    end
  end
end

-- ---- fetch -------------------------------------------------------------------------------------

local function is_fresh(own)
  if not own.answer then return false end
  local limit = own.answer.session_start_limit
  if core.now() - own.fetched_at > FRESH_S then return false end
  return not limit or limit.reset_after <= 0 or os.time() < limit.reset_at
end

local function wake_all(own, ...)
  local waiting = own.waiting
  own.waiting = nil
  for _, waiter in ipairs(waiting) do waiter:wake(...) end
end

-- A bridge of its own, for a gateway that is asked without a cluster.
local function borrow_bridge(own, owner)
  if owner then return owner, function() end end
  local made, message, code = bridge.new(own.network or {})
  if not made then return nil, message, code end
  return made, function() made:close() end
end

-- max_concurrency may change while shards start.
local function tell_users(own, limit)
  for cluster in pairs(limit and own.users or {}) do
    if cluster.bridge then cluster.bridge:concurrency(limit.max_concurrency) end
  end
end

local function fetch_now(own, owner, asking, report)
  local used, release, code = borrow_bridge(own, owner)
  if not used then return nil, release, code end
  own.waiting = {}
  local fine, answer, message, why = pcall(asking, own, used, report)
  if not fine then
    wake_all(own, nil, "fetch: interrupted", "ECLOSED")
    if not owner then release() end
    error(answer, 0)
  end
  if answer then
    own.answer, own.fetched_at = answer, core.now()
    for url, spent in pairs(own.marks) do teach(own, url, answer.session_start_limit, spent) end
    tell_users(own, answer.session_start_limit)
  end
  -- Whoever waited with more patience than this one asks by himself.
  local hasty = asking == ask_once or why == "EINTR"
  wake_all(own, answer ~= nil, message, hasty and "ECLOSED" or why)
  release()
  return answer ~= nil, message, why
end

-- `owner` and `report` are launch.lua's: the bridge to use, and who hears of failed attempts.
local function fetch(self, force, owner, report)
  local own = privates[self]
  if not force and is_fresh(own) then return self end
  while true do
    local done, message, code
    if own.waiting then
      local waiter = scheduler.waiter()
      table.insert(own.waiting, waiter)
      if owner then
        done, message, code = owner:wait(waiter)
      else
        done, message, code = waiter:wait()
      end
    else
      done, message, code = fetch_now(own, owner, ask_on, report)
      if not done then return nil, message, code end
    end
    if done then return self end
    -- Whoever asked for all of us was stopped: somebody else has to ask.
    if code ~= "ECLOSED" then return nil, message, code end
  end
end

--- Does GET /gateway/bot once and keeps the answer; `force` asks again. Waits: inside a handler it
-- yields, at top level it runs the loop. Failures of the network are tried again, with growing
-- pauses, and a Retry-After is honoured. Returns the gateway, or nil, message, code. However many
-- ask at the same time, one request is under way.
function methods:fetch(force, owner, report)
  return shelter.call(fetch, self, force, owner, report)
end

--- Asks once more, without trying again, unless a request is under way or was refused for some time
-- to come. True when there is an answer.
function methods:refresh(owner)
  local own = privates[self]
  if own.waiting then return nil end
  return fetch_now(own, owner, ask_once)
end

--- For quota.lua: the URL that is connected to now. What the gateway has said counts for it.
function methods:connects_to(url)
  local own = privates[self]
  own.current = url
  if own.urls[url] then return end
  own.urls[url] = true
  local limit = own.answer and own.answer.session_start_limit
  teach(own, url, limit, core.quota(own.token, url).spent)
end

--- For launch.lua: a cluster whose shards start by what the gateway says.
function methods:serves(cluster)
  privates[self].users[cluster] = true
end

--- For delivery.lua: a shard identifies right now.
function methods:note_identify()
  privates[self].identified_at = core.now()
end

--- Seconds until an engine that has identified nobody yet may begin with it. The identify slots are
-- an engine's own; the window counts for the token, also when one engine follows another.
function methods:identify_in()
  local at = privates[self].identified_at
  return at and math.max(at + IDENTIFY_WINDOW_S - core.now(), 0) or 0
end

local IDENTIFY_KEYS = { "intents", "large_threshold", "presence", "properties" }

--- Lets a shard of this token say who it is, and waits until it has: for its turn among the
-- identify slots, which may take long. `packet` is merged over what the options say, for this and
-- every later Identify: { intents =, large_threshold =, presence =, properties = }. A shard that
-- has a session resumes instead; one that is ready has nothing to say. One that is down is started.
-- True, or nil, message, code.
function methods:identify(one, packet)
  if not shard.is(one) then
    error(("identify: shard must be a Shard, got %s"):format(type(one)), 2)
  elseif one.gateway ~= self then
    error("identify: the shard belongs to the gateway of another token", 2)
  end
  local checked = packet ~= nil and options.check_some("identify", packet, IDENTIFY_KEYS, 3) or nil
  return one.cluster:identify_shard(one, checked)
end

--- Points the gateway somewhere else: { api, url, shards, version, network = engine options }. What
-- was fetched from another api is forgotten.
function methods:configure(wanted)
  local own = privates[self]
  local api = (wanted.api or own.api):gsub("/+$", "")
  local version = wanted.version or own.version
  if api ~= own.api or version ~= own.version then
    own.answer, own.not_before, own.url, own.identified_at = nil, nil, nil, nil
    own.urls, own.current = {}, nil
  end
  own.api, own.version = api, version
  own.url = wanted.url or own.url
  own.shards = wanted.shards or own.shards
  own.network = wanted.network or own.network
  return self
end

-- ---- One per token -----------------------------------------------------------------------------

--- The gateways of the process by token. Indexing with a token works; iterating shows no token.
gateway.tokens = setmetatable({}, {
  __index = function(_, token) return by_token[token] end,
  __newindex = function() error("tokens: read only", 2) end,
  __pairs = function()
    local token, object
    local count = 0
    return function()
      token, object = next(by_token, token)
      if token == nil then return nil end
      count = count + 1
      return count, object
    end
  end,
  __tostring = function() return "Tokens (hidden)" end,
  __metatable = "moongate.tokens",
})

local function bare(token)
  return (token:gsub("^%s*[Bb]ot%s+", ""):gsub("^%s+", ""):gsub("%s+$", ""))
end

--- The Gateway of a token; `shards` is the number to use instead of the recommended one.
function gateway.of(token, shards)
  if type(token) ~= "string" or bare(token) == "" then
    error(("gateway: token must be a string, got %s"):format(
      type(token) == "string" and "an empty one" or type(token)), 3)
  end
  if shards ~= nil and not is_count(shards) then
    error("gateway: shards must be a whole number from 1", 3)
  end
  token = bare(token)
  local object = by_token[token]
  if not object then
    object = setmetatable({}, meta)
    privates[object] = {
      token = token,
      api = default_api(),
      version = core.limits.VERSION_DEFAULT,
      urls = {}, -- those that are connected to, as keys
      users = setmetatable({}, { __mode = "k" }), -- clusters, as keys
    }
    by_token[token] = object
  end
  if shards then privates[object].shards = math.floor(shards) end
  return object
end

--- True for a Gateway.
function gateway.is(value)
  return type(value) == "table" and privates[value] ~= nil
end

return setmetatable(gateway, {
  __call = function(_, token, shards) return gateway.of(token, shards) end,
})

-- decode.lua - what decoding costs: moongate's decoder beside lua-cjson on the same seeded events,
-- in CPU time, medians of interleaved rounds. Prints one Markdown table.
local cjson = require "cjson"
local core = require "moongate.core"

local ROUNDS = 7
local EVENTS = 4000

math.randomseed(42)

local function id()
  return ("%d%014d"):format(math.random(1, 1199), math.random(0, 10 ^ 14 // 1))
end

local words = { "moon", "gate", "keeps", "every", "beat", "\u{e9}t\u{e9}", "\\\"quoted\\\"", "ok" }
local function sentence(n)
  local list = {}
  for i = 1, n do list[i] = words[math.random(#words)] end
  return table.concat(list, " ")
end

local function user()
  return ('{"id":"%s","username":"user%d","discriminator":"0","global_name":"%s","avatar":null,' ..
    '"bot":false,"public_flags":%d}'):format(id(), math.random(9999), sentence(2),
    math.random(0, 4096))
end

local function member()
  return ('{"roles":["%s","%s"],"joined_at":"2024-02-03T04:05:06.789000+00:00","deaf":false,' ..
    '"mute":false,"nick":null,"flags":0,"pending":false}'):format(id(), id())
end

local kinds = {
  MESSAGE_CREATE = function()
    return ('{"id":"%s","channel_id":"%s","guild_id":"%s","author":%s,"member":%s,' ..
      '"content":"%s","timestamp":"2026-08-06T10:11:12.345000+00:00",' ..
      '"edited_timestamp":null,"tts":false,' ..
      '"mention_everyone":false,"mentions":[],"mention_roles":[],"attachments":[],"embeds":[],' ..
      '"pinned":false,"type":0,"channel_type":0}'):format(id(), id(), id(), user(), member(),
      sentence(math.random(1, 40)))
  end,
  PRESENCE_UPDATE = function()
    return ('{"user":{"id":"%s"},"guild_id":"%s","status":"online","activities":[{"name":"%s",' ..
      '"type":0,"created_at":%d}],"client_status":{"desktop":"online"}}'):format(id(), id(),
      sentence(2), math.random(1786000000000, 1787000000000))
  end,
  TYPING_START = function()
    return ('{"channel_id":"%s","guild_id":"%s","user_id":"%s","timestamp":%d,"member":%s}'):format(
      id(), id(), id(), math.random(1786000000, 1787000000), member())
  end,
}

local function corpus(kind)
  local list = {}
  for i = 1, EVENTS do list[i] = kinds[kind]() end
  return list
end

local function cost(decode, texts)
  collectgarbage()
  local start = os.clock()
  for i = 1, #texts do decode(texts[i]) end
  return (os.clock() - start) / #texts * 1e9
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

print "| event | bytes | lua-cjson, ns | moongate, ns | ratio |"
print "|---|---|---|---|---|"
for _, kind in ipairs { "MESSAGE_CREATE", "PRESENCE_UPDATE", "TYPING_START" } do
  local texts, bytes = corpus(kind), 0
  for _, text in ipairs(texts) do bytes = bytes + #text end
  local theirs, ours = {}, {}
  for round = 1, ROUNDS do
    theirs[round] = cost(cjson.decode, texts)
    ours[round] = cost(core.decode, texts)
  end
  local a, b = median(theirs), median(ours)
  print(("| %s | %d | %.0f | %.0f | %.2f |"):format(kind, bytes // #texts, a, b, a / b))
end

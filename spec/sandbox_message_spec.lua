-- sandbox_message_spec.lua: messages as the sandbox keeps them: told again, edited and deleted over
-- REST, by scripts, and with the tokens of interactions; what each sets off, on the wire.  #sockets

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local HEARS = 1 | 1 << 9 | 1 << 12 | 1 << 15 -- guilds, messages of both kinds, their content
local LOADING, EPHEMERAL = 128, 64

local discord, peer, channel

local function start(options, intents)
  local all = { limits = false, guilds = 1 }
  for key, value in pairs(options or {}) do all[key] = value end
  discord = assert(sandbox.start(all))
  peer = wire.ready(discord, { intents = intents or HEARS })
  channel = discord.guilds[1].channel_id
end

local function ask(method, path, body, headers)
  local all = headers or wire.authorized(discord)
  if body then all["Content-Type"] = "application/json" end
  return wire.request(discord, method, "/api/v10" .. path, all,
    { body = body and cjson.encode(body) })
end

local function messages(id, where)
  return ("/channels/%s/messages%s"):format(where or channel, id and "/" .. id or "")
end

local function send(body)
  local message = ask("POST", messages(), body).json
  assert.equal("MESSAGE_CREATE", peer:message().t)
  return message
end

-- The next thing that is told, without what only the gateway has.
local function told(name)
  local event = peer:message()
  assert.equal(name, event.t or event.op)
  local d = event.d
  return d, d.guild_id
end

local function bare(d)
  d.guild_id, d.member = nil, nil
  return d
end

local function is_silent()
  peer:send(1)
  return peer:message().op == 11
end

describe("sandbox: messages #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  it("can be told again, as they were", function()
    start()
    local message = send { content = "one", embeds = { { title = "moon" } } }
    local again = ask("GET", messages(message.id))
    assert.equal(200, again.status)
    assert.same(message, again.json)
    discord:dispatch("MESSAGE_CREATE", { id = "5", content = "of somebody" })
    local other = ask("GET", messages "5").json
    assert.equal("of somebody", other.content)
    assert.equal(discord.people[1].id, other.author.id)
    assert.is_nil(other.guild_id)
    assert.is_nil(other.member)
  end)

  it("are listed, the newest first, of their channel only", function()
    start()
    for at = 1, 60 do discord:dispatch("MESSAGE_CREATE", { id = tostring(at), content = "x" }) end
    discord:dispatch("MESSAGE_CREATE", { id = "99", channel_id = "77" })
    local function ids(query)
      local list = {}
      for at, message in ipairs(ask("GET", messages() .. query).json) do list[at] = message.id end
      return list
    end
    assert.same({ "60", "59", "58" }, ids "?limit=3")
    assert.equal(50, #ids "")
    assert.equal(60, #ids "?limit=100")
    assert.same({ "99" }, (function()
      local list = {}
      for at, message in ipairs(ask("GET", messages(nil, "77")).json) do list[at] = message.id end
      return list
    end)())
  end)

  it("are kept, the newest 512; older ones and huge ones are unknown", function()
    start()
    for at = 1, 513 do discord:dispatch("MESSAGE_CREATE", { id = tostring(at) }, { shard = 5 }) end
    assert.equal(404, ask("GET", messages "1").status)
    assert.equal(200, ask("GET", messages "2").status)
    assert.equal(200, ask("GET", messages "513").status)
    discord:dispatch("MESSAGE_CREATE", { id = "600", content = ("x"):rep(70000) }, { shard = 5 })
    assert.equal(10008, ask("GET", messages "600").json.code)
  end)

  it("of the bot can be edited, and everybody is told", function()
    start()
    local message = send { content = "one", flags = 4 }
    local answer = ask("PATCH", messages(message.id), { content = "two", flags = 0 })
    assert.equal(200, answer.status)
    assert.equal("two", answer.json.content)
    assert.equal(0, answer.json.flags)
    assert.equal(message.timestamp, answer.json.timestamp)
    assert.matches("^%d+%-%d%d%-%d%dT.*%+00:00$", answer.json.edited_timestamp)
    local d, guild = told "MESSAGE_UPDATE"
    assert.equal(discord.guilds[1].id, guild)
    assert.is_table(d.member)
    assert.same(answer.json, bare(d))
    assert.equal("two", ask("GET", messages(message.id)).json.content)
    assert.equal("two", ask("PATCH", messages(message.id), { embeds = { { title = "x" } } })
      .json.content)
  end)

  it("of others cannot be edited; what there is not, and what is wrong, is refused", function()
    start()
    discord:dispatch("MESSAGE_CREATE", { id = "5" })
    peer:message()
    local mine = send { content = "x" }
    for _, case in ipairs {
      { 403, 50005, messages "5", { content = "x" } },
      { 404, 10008, messages "6", { content = "x" } },
      { 404, 10003, messages("5", "4"), { content = "x" } },
      { 404, 10008, messages(mine.id, discord.guilds[1].voice_channel_id), { content = "x" } },
      { 400, 50035, messages(mine.id), { content = ("x"):rep(2001) } },
      { 400, 50035, messages(mine.id), { content = 5 } },
    } do
      local answer = ask("PATCH", case[3], case[4])
      assert.same({ case[1], case[2] }, { answer.status, answer.json.code })
    end
    assert.equal(401, ask("PATCH", messages(mine.id), { content = "y" }, {}).status)
    assert.equal("x", ask("GET", messages(mine.id)).json.content)
    assert.is_true(is_silent())
  end)

  it("can be deleted: the bot's, and those of others where there are moderators", function()
    start()
    local mine = send { content = "x" }
    discord:dispatch("MESSAGE_CREATE", { id = "5" })
    peer:message()
    for _, id in ipairs { mine.id, "5" } do
      local answer = ask("DELETE", messages(id))
      assert.equal(204, answer.status)
      assert.equal("", answer.body)
      assert.same({ id = id, channel_id = channel, guild_id = discord.guilds[1].id },
        (told "MESSAGE_DELETE"))
      assert.equal(10008, ask("DELETE", messages(id)).json.code)
      assert.equal(404, ask("GET", messages(id)).status)
    end
    discord:dispatch("MESSAGE_CREATE", { id = "6" }, { dm = true })
    local direct = told "MESSAGE_CREATE".channel_id
    assert.equal(50003, ask("DELETE", messages("6", direct)).json.code)
    local psst = ask("POST", messages(nil, direct), { content = "psst" }).json
    told "MESSAGE_CREATE"
    assert.equal(204, ask("DELETE", messages(psst.id, direct)).status)
    assert.same({ id = psst.id, channel_id = direct }, (told "MESSAGE_DELETE"))
  end)

  it("that scripts change and delete are so for REST as well", function()
    start()
    discord:dispatch("MESSAGE_CREATE", { id = "5", content = "one", tts = true })
    discord:dispatch("MESSAGE_UPDATE", { id = "5", content = "two" })
    told "MESSAGE_CREATE"
    local d = told "MESSAGE_UPDATE"
    assert.same({ "two", true }, { d.content, d.tts }) -- the message, with what is new
    assert.is_string(d.edited_timestamp)
    assert.same(bare(d), ask("GET", messages "5").json)
    discord:dispatch("MESSAGE_DELETE", { id = "5" })
    assert.equal(404, ask("GET", messages "5").status)
    for id = 6, 8 do discord:dispatch("MESSAGE_CREATE", { id = tostring(id) }) end
    discord:dispatch("MESSAGE_DELETE_BULK", { ids = { "6", "8" } })
    assert.same({ 404, 200, 404 }, { ask("GET", messages "6").status,
      ask("GET", messages "7").status, ask("GET", messages "8").status })
    discord:dispatch("MESSAGE_UPDATE", { id = "9", content = "late" }) -- never heard of before
    assert.equal("late", ask("GET", messages "9").json.content)
  end)

  it("that answer one that is known have it with them", function()
    start()
    discord:dispatch("MESSAGE_CREATE", { id = "5", content = "ping" })
    peer:message()
    local answer = send { content = "pong", message_reference = { message_id = "5" } }
    assert.equal(19, answer.type)
    assert.equal("ping", answer.referenced_message.content)
    assert.is_nil(answer.referenced_message.guild_id)
    assert.is_nil(send({ content = "x", message_reference = { message_id = "6" } })
      .referenced_message)
  end)

  it("have at most ten embeds, three stickers and a nonce of 25", function()
    start()
    local function many(count, item)
      local list = {}
      for at = 1, count do list[at] = item end
      return list
    end
    for field, bodies in pairs {
      embeds = { { content = "x", embeds = many(10, { title = "x" }) },
        { content = "x", embeds = many(11, { title = "x" }) } },
      sticker_ids = { { sticker_ids = many(3, "5") }, { sticker_ids = many(4, "5") } },
      nonce = { { content = "x", nonce = ("n"):rep(25) },
        { content = "x", nonce = ("n"):rep(26) } },
    } do
      assert.equal(200, ask("POST", messages(), bodies[1]).status, field)
      local answer = ask("POST", messages(), bodies[2])
      assert.equal(400, answer.status, field)
      assert.is_table(answer.json.errors[field])
    end
  end)

  it("another method of a route is refused as such", function()
    start()
    for _, case in ipairs { { "PUT", messages() }, { "POST", "/gateway" },
      { "DELETE", "/users/@me" } } do
      local answer = ask(case[1], case[2])
      assert.equal(405, answer.status)
      assert.matches("Method Not Allowed", answer.json.message)
    end
    assert.equal(404, ask("PUT", "/nowhere").status)
  end)
end)

describe("sandbox: interactions #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  local one

  local function invoke(d, options, intents)
    start(options, intents)
    discord:dispatch("INTERACTION_CREATE", d)
    one = peer:expect(0, "INTERACTION_CREATE").d
  end

  local function callback(body)
    return ask("POST", ("/interactions/%s/%s/callback?with_response=1"):format(one.id, one.token),
      body, {})
  end

  local function hook(method, rest, body)
    return ask(method, ("/webhooks/%s/%s%s"):format(discord.user.id, one.token, rest), body, {})
  end

  local ORIGINAL = "/messages/@original"

  it("are answered by a message that says whose it is", function()
    invoke()
    local answer = callback { type = 4, data = { content = "one" } }
    assert.equal(200, answer.status)
    local message = answer.json.resource.message
    assert.same({ "one", 20, discord.user.id, discord.user.id },
      { message.content, message.type, message.application_id, message.webhook_id })
    assert.equal(one.id, message.interaction_metadata.id)
    assert.equal(one.member.user.id, message.interaction_metadata.user.id)
    assert.same(message, bare(told "MESSAGE_CREATE"))
    assert.same(message, hook("GET", ORIGINAL).json)
    assert.same(message, hook("GET", "/messages/%40original").json) -- as some write it
    assert.equal(10008, hook("GET", "/messages/%4original").json.code)
    assert.same(message, ask("GET", messages(message.id)).json)
    assert.equal(200, ask("GET", "/%75sers/%40me").status)
  end)

  it("their answer can be edited and deleted with the token alone", function()
    invoke()
    local message = callback { type = 4, data = { content = "one" } }.json.resource.message
    told "MESSAGE_CREATE"
    local edited = hook("PATCH", ORIGINAL, { content = "two" })
    assert.equal(200, edited.status)
    assert.same({ message.id, "two" }, { edited.json.id, edited.json.content })
    local d, guild = told "MESSAGE_UPDATE"
    assert.equal(discord.guilds[1].id, guild)
    assert.same(edited.json, bare(d))
    assert.equal(204, hook("DELETE", ORIGINAL).status)
    assert.equal(message.id, (told "MESSAGE_DELETE").id)
    for _, method in ipairs { "GET", "DELETE" } do
      assert.equal(10008, hook(method, ORIGINAL).json.code)
    end
    assert.equal(10008, hook("PATCH", ORIGINAL, { content = "x" }).json.code)
  end)

  it("may be followed by more, each of which can be edited and deleted", function()
    invoke()
    callback { type = 4, data = { content = "one" } }
    local first = told "MESSAGE_CREATE"
    local more = hook("POST", "", { content = "more" })
    assert.equal(200, more.status)
    assert.same({ "more", 0, discord.user.id },
      { more.json.content, more.json.type, more.json.webhook_id })
    assert.same(more.json, bare(told "MESSAGE_CREATE"))
    assert.not_equal(first.id, more.json.id)
    assert.equal("most", hook("PATCH", "/messages/" .. more.json.id, { content = "most" })
      .json.content)
    assert.equal(more.json.id, (told "MESSAGE_UPDATE").id)
    assert.equal("most", hook("GET", "/messages/" .. more.json.id).json.content)
    assert.equal(204, hook("DELETE", "/messages/" .. more.json.id).status)
    assert.equal(more.json.id, (told "MESSAGE_DELETE").id)
    assert.equal("one", hook("GET", ORIGINAL).json.content) -- that is still the first
    assert.equal(50006, hook("POST", "", { content = "" }).json.code)
  end)

  it("may be deferred: a message that is only announced until it is edited", function()
    invoke()
    assert.equal(200, callback { type = 5 }.status)
    local d = told "MESSAGE_CREATE"
    assert.same({ "", LOADING }, { d.content, d.flags })
    local message = hook("PATCH", ORIGINAL, { content = "here" }).json
    assert.same({ d.id, "here", 0 }, { message.id, message.content, message.flags })
    assert.same(message, bare(told "MESSAGE_UPDATE"))
  end)

  it("for one pair of eyes are told as direct messages: without guild and member", function()
    for _, type in ipairs { 4, 5 } do
      invoke()
      callback { type = type, data = { content = "psst", flags = EPHEMERAL } }
      local d = told "MESSAGE_CREATE"
      assert.equal(EPHEMERAL, d.flags & EPHEMERAL)
      assert.is_nil(d.guild_id)
      assert.is_nil(d.member)
      assert.equal(one.channel_id, d.channel_id)
      local message = hook("PATCH", ORIGINAL, { content = "still" }).json
      assert.equal(EPHEMERAL, message.flags)
      local update = told "MESSAGE_UPDATE"
      assert.is_nil(update.guild_id)
      hook("DELETE", ORIGINAL)
      assert.same({ id = d.id, channel_id = one.channel_id }, (told "MESSAGE_DELETE"))
      discord:stop()
    end
    invoke(nil, nil, 1 | 1 << 9) -- without the intent for direct messages
    callback { type = 4, data = { content = "psst", flags = EPHEMERAL } }
    assert.is_true(is_silent())
  end)

  it("of a component change the message that it hangs on", function()
    invoke { type = 3 }
    local hung = one.message
    assert.equal(hung.id, ask("GET", messages(hung.id)).json.id)
    local answer = callback { type = 7, data = { content = "pressed", components = {} } }
    assert.equal(hung.id, answer.json.resource.message.id)
    local d = told "MESSAGE_UPDATE"
    assert.same({ hung.id, "pressed" }, { d.id, d.content })
    assert.equal("pressed", hook("GET", ORIGINAL).json.content)
    discord:stop()
    invoke { type = 3 }
    assert.equal(200, callback { type = 6 }.status)
    assert.is_true(is_silent())
    assert.equal("later", hook("PATCH", ORIGINAL, { content = "later" }).json.content)
    discord:stop()
    invoke { type = 3 }
    assert.equal(400, callback { type = 7, data = { content = ("x"):rep(2001) } }.status)
    assert.equal(200, callback { type = 6 }.status) -- a refused answer was none
  end)

  it("of a script's own component hang on a message that REST knows from then on", function()
    invoke { type = 3, message = { id = "42", content = "press", author = { id = "1" } } }
    assert.equal("press", ask("GET", messages "42").json.content)
    callback { type = 7, data = { content = "pressed" } }
    assert.equal("42", (told "MESSAGE_UPDATE").id)
  end)

  it("can be followed only once they are answered, by their own token and application", function()
    invoke()
    assert.same({ 404, 10015 }, { hook("POST", "", { content = "x" }).status,
      hook("PATCH", ORIGINAL, { content = "x" }).json.code })
    callback { type = 5 }
    local token = one.token
    one.token = "another"
    assert.equal(10015, hook("POST", "", { content = "x" }).json.code)
    one.token = token
    assert.equal(404, ask("POST", "/webhooks/5/" .. token, { content = "x" }, {}).status)
    assert.equal(200, hook("POST", "", { content = "x" }).status)
    assert.equal(10008, hook("PATCH", "/messages/5", { content = "x" }).json.code)
  end)

  it("have to be answered within 3 s, and their tokens live for 15 minutes", function()
    invoke(nil, { limits = true })
    discord:set_clock(4)
    assert.equal(10062, callback { type = 4, data = { content = "late" } }.json.code)
    discord:enforce_limits(false)
    assert.equal(200, callback { type = 4, data = { content = "late" } }.status)
    discord:enforce_limits(true)
    discord:set_clock(899)
    assert.equal(200, hook("POST", "", { content = "in time" }).status)
    discord:set_clock(905)
    local answer = hook("POST", "", { content = "late" })
    assert.same({ 401, 50027 }, { answer.status, answer.json.code })
  end)
end)

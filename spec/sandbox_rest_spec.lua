-- sandbox_rest_spec.lua: the sandbox as a Discord of one's own: the routes that an answering bot
-- needs, and what they set off, read on the wire with wire.lua.

local cjson = require "cjson"
local sandbox = require "moongate.sandbox"
local wire = require "wire"

local GUILDS, DIRECT_MESSAGES, TYPING = 1, 1 << 12, 1 << 11

local discord

local function start(options)
  discord = assert(sandbox.start(options))
  return discord
end

-- One request with the token; `body` as JSON unless it is text already.
local function ask(method, path, body, headers)
  local all = wire.authorized(discord)
  if body ~= nil then all["Content-Type"] = "application/json" end
  for name, value in pairs(headers or {}) do all[name] = value or nil end
  if type(body) == "table" then body = cjson.encode(body) end
  return wire.request(discord, method, "/api/v10" .. path, all, { body = body })
end

local function send(channel, body)
  return ask("POST", "/channels/" .. channel .. "/messages", body)
end

-- Integers between two, the same for the same seed.
local function seeded(seed)
  return function(least, most)
    seed = seed * 6364136223846793005 + 1442695040888963407
    return least + (seed >> 33) % (most - least + 1)
  end
end

-- A list drops nulls, so people are compared by what they are called.
local function assert_person(person, user)
  assert.same({ person.id, person.username }, { user.id, user.username })
end

describe("sandbox, REST #sockets", function()
  after_each(function()
    if discord then discord:stop() end
    discord = nil
  end)

  describe("a message", function()
    it("is answered whole, and told to every session that may hear it", function()
      start { limits = false }
      local hears = wire.ready(discord)
      local deaf = wire.ready(discord, { intents = GUILDS })
      local channel = discord.guilds[1].channel_id
      local answer = send(channel, { content = "pong \u{1f319}", nonce = 5 })
      assert.equal(200, answer.status)
      local message = answer.json
      assert.equal("pong \u{1f319}", message.content)
      assert.equal(5, message.nonce)
      assert.equal(channel, message.channel_id)
      assert.same(discord.user.id, message.author.id)
      assert.is_true(message.author.bot)
      assert.is_nil(message.guild_id)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d+%+00:00$", message.timestamp)
      for _, list in ipairs { "mentions", "attachments", "embeds", "components" } do
        assert.same({}, message[list], list)
      end
      local event = hears:message()
      assert.equal("MESSAGE_CREATE", event.t)
      assert.equal(discord.guilds[1].id, event.d.guild_id)
      assert.same({ tostring(math.tointeger(discord.guilds[1].id + 8)) }, event.d.member.roles)
      assert.is_nil(event.d.member.user)
      event.d.guild_id, event.d.member = nil, nil
      assert.same(message, event.d)
      deaf:send(1, cjson.null)
      assert.equal(11, deaf:message().op)
    end)

    it("goes to somebody directly, in the channel that was opened for it", function()
      start { limits = false }
      local guild_only = wire.ready(discord)
      local direct = wire.ready(discord, { intents = DIRECT_MESSAGES })
      local person = discord.people[2]
      local channel = ask("POST", "/users/@me/channels", { recipient_id = person.id }).json
      assert.equal(1, channel.type)
      assert_person(person, channel.recipients[1])
      assert.equal(200, send(channel.id, { content = "psst" }).status)
      local event = direct:message()
      assert.equal("psst", event.d.content)
      assert.is_nil(event.d.guild_id)
      assert.is_nil(event.d.member)
      guild_only:send(1, cjson.null)
      assert.equal(11, guild_only:message().op)
    end)

    it("may answer another", function()
      start()
      local channel = discord.guilds[1].channel_id
      local body = { content = "x", message_reference = { message_id = "5" } }
      local message = send(channel, body).json
      assert.equal(19, message.type)
      assert.same({ type = 0, message_id = "5", channel_id = channel }, message.message_reference)
    end)

    it("may go where a script has spoken of", function()
      start()
      assert.equal(404, send("77", { content = "x" }).status)
      discord:dispatch("MESSAGE_CREATE", { channel_id = "77", content = "ping" })
      local peer = wire.ready(discord)
      assert.equal(200, send("77", { content = "x" }).status)
      assert.equal(discord.guilds[1].id, peer:message().d.guild_id)
    end)

    it("comes with files", function()
      start()
      local body = table.concat({ "--b-1", 'Content-Disposition: form-data; name="payload_json"',
        "Content-Type: application/json", "", '{"content":"see"}', "--b-1",
        'Content-Disposition: form-data; name="files[0]"; filename="moon.txt"',
        "Content-Type: text/plain", "", "full\r\n--b-0 no boundary", "--b-1--", "" }, "\r\n")
      local answer = ask("POST", "/channels/" .. discord.guilds[1].channel_id .. "/messages", body,
        { ["Content-Type"] = 'multipart/form-data; boundary="b-1"' })
      assert.equal(200, answer.status)
      assert.equal("see", answer.json.content)
      local file = answer.json.attachments[1]
      assert.equal("moon.txt", file.filename)
      assert.equal(#"full\r\n--b-0 no boundary", file.size)
      assert.equal("text/plain", file.content_type)
      assert.matches("/attachments/" .. file.id, file.url)
      assert.equal(1, #answer.json.attachments)
    end)

    it("is refused with Discord's words when it cannot be sent", function()
      start { limits = false }
      local channel = discord.guilds[1].channel_id
      local rows = {
        { {}, 400, 50006 }, { { content = "" }, 400, 50006 }, { { embeds = {} }, 400, 50006 },
        { { content = ("\u{e9}"):rep(2001) }, 400, 50035, "content" },
        { { content = 5 }, 400, 50035, "content" },
        { '{"content":"x"', 400, 50109 }, { '["content"]', 400, 50109 }, { "", 400, 50109 },
      }
      for _, row in ipairs(rows) do
        local answer = send(channel, row[1])
        assert.equal(row[2], answer.status)
        assert.equal(row[3], answer.json.code)
        if row[4] then assert.is_table(answer.json.errors[row[4]]._errors[1]) end
      end
      local answer = ask("POST", "/channels/" .. channel .. "/messages", "content=x",
        { ["Content-Type"] = "text/plain" })
      assert.equal(50035, answer.json.code)
      assert.equal(200, send(channel, { content = ("\u{e9}"):rep(2000) }).status)
      local moons = '{"content":"' .. ("\\ud83c\\udf19"):rep(2000) .. '"}'
      assert.equal(200, send(channel, moons).status)
      assert.equal(200, send(channel, { embeds = { { title = "x" } } }).status)
    end)

    it("needs the token, and a channel that there is", function()
      start()
      local channel = discord.guilds[1].channel_id
      local answer = ask("POST", "/channels/" .. channel .. "/messages", { content = "x" },
        { Authorization = "Bot x" })
      assert.equal(401, answer.status)
      assert.same({ message = "401: Unauthorized", code = 0 }, answer.json)
      answer = send("5", { content = "x" })
      assert.equal(404, answer.status)
      assert.same({ message = "Unknown Channel", code = 10003 }, answer.json)
      local last = discord:requests()[2]
      assert.equal(404, last.status)
      assert.same({ content = "x" }, cjson.decode(last.body))
    end)
  end)

  describe("the limits", function()
    it("are told with every answer, and hold in each channel for itself", function()
      start()
      local channel = discord.guilds[1].channel_id
      for left = 4, 0, -1 do
        local headers = send(channel, { content = "x" }).headers
        assert.equal("5", headers["x-ratelimit-limit"])
        assert.equal(tostring(left), headers["x-ratelimit-remaining"])
        local after, reset = headers["x-ratelimit-reset-after"], headers["x-ratelimit-reset"]
        assert.is_true(tonumber(after) > 0 and tonumber(after) <= 5)
        assert.is_true(math.abs(os.time() + tonumber(after) - tonumber(reset)) < 2)
      end
      local answer = send(channel, { content = "x" })
      assert.equal(429, answer.status)
      assert.equal("You are being rate limited.", answer.json.message)
      assert.is_false(answer.json.global)
      assert.is_true(answer.json.retry_after > 0 and answer.json.retry_after <= 5)
      assert.equal(math.ceil(answer.json.retry_after), tonumber(answer.headers["retry-after"]))
      assert.equal("user", answer.headers["x-ratelimit-scope"])
      local other = send(tostring(math.tointeger(channel + 3)), { content = "x" })
      assert.equal(200, other.status)
      assert.equal(answer.headers["x-ratelimit-bucket"], other.headers["x-ratelimit-bucket"])
    end)

    it("can be switched off, and played on demand", function()
      start { limits = false }
      local channel = discord.guilds[1].channel_id
      for _ = 1, 7 do
        local answer = send(channel, { content = "x" })
        assert.equal(200, answer.status)
        assert.is_true(tonumber(answer.headers["x-ratelimit-remaining"]) >= 1)
      end
      discord:respond { path = "/channels/" .. channel .. "/messages", status = 429,
        headers = { ["Retry-After"] = 1, ["X-RateLimit-Scope"] = "shared" },
        body = { message = "You are being rate limited.", retry_after = 0.5, global = false } }
      local answer = send(channel, { content = "x" })
      assert.equal(429, answer.status)
      assert.equal("shared", answer.headers["x-ratelimit-scope"])
      assert.equal(200, send(channel, { content = "x" }).status)
    end)
  end)

  describe("an interaction", function()
    local function callback(d, body, query)
      return wire.request(discord, "POST", ("/api/v10/interactions/%s/%s/callback%s")
        :format(d.id, d.token, query or ""), { ["Content-Type"] = "application/json" },
        { body = cjson.encode(body) })
    end

    it("is answered once, without the bot's token, with a message to everybody", function()
      start { limits = false }
      local peer = wire.ready(discord)
      discord:dispatch("INTERACTION_CREATE", { data = { name = "moon" } })
      local d = peer:message().d
      assert.equal("moon", d.data.name)
      local answer = callback(d, { type = 4, data = { content = "full" } })
      assert.equal(204, answer.status)
      assert.is_nil(answer.headers["content-length"])
      local event = peer:message()
      assert.equal("MESSAGE_CREATE", event.t)
      assert.equal("full", event.d.content)
      assert.equal(d.channel_id, event.d.channel_id)
      answer = callback(d, { type = 5 })
      assert.equal(400, answer.status)
      assert.equal(40060, answer.json.code)
    end)

    it("may be answered for one pair of eyes, and ask for what came of it", function()
      start { limits = false }
      local peer = wire.ready(discord)
      discord:dispatch "INTERACTION_CREATE"
      local d = peer:message().d
      local answer = callback(d, { type = 4, data = { content = "x", flags = 64 } },
        "?with_response=true")
      assert.equal(200, answer.status)
      assert.same({ id = d.id, type = 2 }, answer.json.interaction)
      assert.equal("x", answer.json.resource.message.content)
      peer:send(1, cjson.null)
      assert.equal(11, peer:message().op)
    end)

    it("that there is not, or an answer of no kind, is refused", function()
      start { limits = false }
      local peer = wire.ready(discord)
      discord:dispatch "INTERACTION_CREATE"
      local d = peer:message().d
      assert.equal(10062, callback({ id = d.id, token = "other" }, { type = 5 }).json.code)
      assert.equal(404, callback({ id = "5", token = d.token }, { type = 5 }).status)
      assert.equal(50035, callback(d, { type = 3 }).json.code)
      assert.equal(50006, callback(d, { type = 4, data = { content = "" } }).json.code)
      assert.equal(204, callback(d, { type = 5 }).status)
    end)

    it("of a script's own is known as well, by its id and token", function()
      start()
      discord:dispatch("INTERACTION_CREATE", { id = "42", token = "mine" })
      assert.equal(204, callback({ id = "42", token = "mine" }, { type = 6 }).status)
    end)
  end)

  describe("what there is", function()
    it("can be looked up", function()
      start { guilds = 2 }
      local guild, person = discord.guilds[2], discord.people[1]
      assert.equal(guild.name, ask("GET", "/guilds/" .. guild.id).json.name)
      assert.equal(guild.id, ask("GET", "/channels/" .. guild.channel_id).json.guild_id)
      assert.equal("general", ask("GET", "/channels/" .. guild.channel_id).json.name)
      assert_person(person, ask("GET", "/users/" .. person.id).json)
      local member = ask("GET", "/guilds/" .. guild.id .. "/members/" .. person.id).json
      assert_person(person, member.user)
      for path, code in pairs { ["/guilds/5"] = 10004, ["/channels/5"] = 10003,
        ["/users/5"] = 10013, ["/guilds/" .. guild.id .. "/members/5"] = 10007,
        ["/guilds/5/members/5"] = 10004 } do
        local answer = ask("GET", path)
        assert.equal(404, answer.status)
        assert.equal(code, answer.json.code)
      end
    end)

    it("typing is told", function()
      start { limits = false }
      local peer = wire.ready(discord, { intents = GUILDS | TYPING })
      local answer = ask("POST", "/channels/" .. discord.guilds[1].channel_id .. "/typing")
      assert.equal(204, answer.status)
      local event = peer:message()
      assert.equal("TYPING_START", event.t)
      assert.equal(discord.user.id, event.d.user_id)
      assert.equal(discord.user.id, event.d.member.user.id)
    end)
  end)

  it("outlives bodies of any kind", function()
    start { limits = false }
    discord:dispatch("INTERACTION_CREATE", { id = "42", token = "mine" })
    local peer = wire.ready(discord)
    local random = seeded(1)
    local channel = "/channels/" .. discord.guilds[1].channel_id .. "/messages"
    local json = '{"content":"x\\u00e9\\n","embeds":[{"title":"y"}],"type":4,'
      .. '"data":{"content":"z","flags":64},"message_reference":{"message_id":"5"}}'
    local parts = table.concat({ "--b", 'Content-Disposition: form-data; name="payload_json"', "",
      json, "--b", 'Content-Disposition: form-data; name="files[0]"; filename="f"', "", "file",
      "--b--", "" }, "\r\n")
    local statuses = {}
    for round = 1, 600 do
      local body, kind = json, "application/json"
      if round % 2 == 0 then body, kind = parts, "multipart/form-data; boundary=b" end
      for _ = 1, random(1, 4) do
        local at, what = random(1, #body), random(1, 3)
        local with = what == 1 and "" or what == 2 and string.char(random(0, 255))
          or ('{}[]"\\:,-'):sub(random(1, 9)):sub(1, 1)
        body = body:sub(1, at - 1) .. with .. body:sub(at + 1)
      end
      if random(1, 10) == 1 then body = body:sub(1, random(1, #body)) end
      local path = round % 3 == 0 and "/interactions/42/mine/callback" or channel
      local status = ask("POST", path, body, { ["Content-Type"] = kind }).status
      statuses[status] = (statuses[status] or 0) + 1
    end
    assert(statuses[200] and statuses[400], "both kinds of answers")
    assert.is_nil(statuses[500])
    for _ = 1, statuses[200] do -- whatever came in went out as correct JSON
      assert.equal("MESSAGE_CREATE", peer:message().t)
    end
  end)

  it("answers a bot while the Lua thread is blocked", function()
    start { limits = false }
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(("package.path, package.cpath = %q, %q\n"):format(package.path,
      os.getenv "MOONGATE_CPATH" or package.cpath), ([[
        local wire = require "wire"
        print(wire.request({ port = %d }, "GET", "/api/users/@me",
          { Authorization = "Bot %s" }).json.id)
      ]]):format(discord.port, discord.token))
    file:close()
    local pipe = io.popen("lua5.4 " .. name)
    assert.equal(discord.user.id, pipe:read "l") -- blocks this thread, and with it all of Lua
    pipe:close()
    os.remove(name)
  end)
end)

-- dialect.lua: what is wrong with options, said to those who write Lua and to those who type words.

local dialect = require "moongate.dialect"
local options = require "moongate.options"

local flags = { api = "api", shard_ids = "ids", shards = "total", insecure_tls = "insecure-tls" }

-- What judge() says of options, which are complete but for what the row is about.
local function said(wanted, speaks)
  local all = { token = "dialect.token", intents = { "guilds" }, api = "https://one.example" }
  for name, value in pairs(wanted) do all[name] = value ~= "none" and value or nil end
  local checked, mistakes = options.judge(all, nil, speaks)
  return checked or mistakes
end

describe("dialect", function()
  local rows = {
    { { api = "http://one.example" },
      'api: "http://one.example" would send the token unencrypted; use https://, or set '
        .. "insecure_tls = true if that network is your own",
      '--api: "http://one.example" would send the token unencrypted; use https://, or give '
        .. "--insecure-tls if that network is your own" },
    { { compress = "xz" },
      'compress: "xz" is not possible; use "zlib-stream" or "zstd-stream" or "payload" or false',
      'compress: "xz" is not possible; use "zlib-stream" or "zstd-stream" or "payload" or none' },
    { { compress = "zlib" },
      'compress: "zlib" is not possible; did you mean "zlib-stream"?',
      'compress: "zlib" is not possible; did you mean "zlib-stream"?' },
    { { compress = "payload", encoding = "etf" },
      'compress: "payload" is for the encoding "json" only; use "zlib-stream", "zstd-stream" or '
        .. "false",
      'compress: "payload" is for the encoding "json" only; use "zlib-stream", "zstd-stream" or '
        .. "none" },
    { { shard_ids = { "x" } },
      'shard_ids: "x" is no shard id; give a list of different whole numbers from 0, such as '
        .. "{ 0, 1 }",
      '--ids: "x" is no shard id; give a list of different whole numbers from 0, such as 0,1' },
    { { shards = 2, shard_ids = { 2 } },
      "shard_ids: 2 is not below shards, which is 2; shard ids count from 0",
      "--ids: 2 is not below --total, which is 2; shard ids count from 0" },
    { { intents = "none" },
      'intents: missing; say what to hear, for example intents = { "guilds", "guild_messages" }',
      "intents: missing; say what to hear, for example --intents guilds,guild_messages" },
    { { token = "a b" },
      "token: has white space or a line break in it; copy it without",
      "token: has white space or a line break in it; copy it without" },
  }
  for _, row in ipairs(rows) do
    it("says in both: " .. row[3], function()
      assert.same({ row[2] }, said(row[1]))
      assert.same({ row[3] }, said(row[1], dialect.command_line(flags)))
    end)
  end

  it("speaks of options without a word on the command line as in Lua", function()
    local speaks = dialect.command_line {}
    assert.matches("^api: .*, or set insecure_tls = true if", said({ api = "http://x.example" },
      speaks)[1])
  end)

  it("tells whence a value came, and where a token is to be put", function()
    local lua, typed = dialect.lua, dialect.command_line(flags)
    assert.equal("api (from $DISCORD_API)", lua.from("api", "DISCORD_API"))
    assert.equal("$DISCORD_API", typed.from("api", "DISCORD_API"))
    assert.matches('^token: is empty; pass token = "..." or set %$DISCORD_TOKEN; the token is on',
      said({ token = "" })[1])
    assert.matches("^token: is empty; set %$DISCORD_TOKEN; the token is on",
      said({ token = "" }, typed)[1])
  end)
end)

-- url.c: what a URL is taken apart into, and what is refused.
local url = require("moongate_unit").url

describe("url", function()
  local good = {
    -- text, host, port, target, authority, tls, websocket, literal
    { "ws://a", "a", 80, "/", "a", false, true, false },
    { "wss://gateway.discord.gg/?v=10&encoding=json", "gateway.discord.gg", 443,
      "/?v=10&encoding=json", "gateway.discord.gg", true, true, false },
    { "https://discord.com/api/v10/gateway/bot", "discord.com", 443, "/api/v10/gateway/bot",
      "discord.com", true, false, false },
    { "http://127.0.0.1:8080/x", "127.0.0.1", 8080, "/x", "127.0.0.1:8080", false, false, true },
    { "ws://[::1]:9000", "::1", 9000, "/", "[::1]:9000", false, true, true },
    { "wss://[2001:db8::1]/", "2001:db8::1", 443, "/", "[2001:db8::1]", true, true, true },
    { "WSS://Gateway.Discord.GG:443", "gateway.discord.gg", 443, "/", "gateway.discord.gg", true,
      true, false },
    { "ws://a?x=1", "a", 80, "/?x=1", "a", false, true, false },
    { "ws://a_b-c.d:1/", "a_b-c.d", 1, "/", "a_b-c.d:1", false, true, false },
    { "ws://a:65535", "a", 65535, "/", "a:65535", false, true, false },
    { "ws://a/@b", "a", 80, "/@b", "a", false, true, false },
  }
  for _, row in ipairs(good) do
    it("takes apart " .. row[1], function()
      local got = assert(url.parse(row[1]))
      assert.same({ host = row[2], port = row[3], target = row[4], authority = row[5],
        tls = row[6], websocket = row[7], literal = row[8] }, got)
    end)
  end

  local bad = {
    { "", "begins with none" }, { "gateway.discord.gg", "begins with none" },
    { "ftp://a", "begins with none" }, { "wss:/a", "begins with none" },
    { "ws://", "host" }, { "ws:///x", "host" }, { "ws://:80", "host" },
    { "ws://user@a", "user information" }, { "ws://user:pw@a/", "user information" },
    { "ws://a:", "port" }, { "ws://a:0", "port" }, { "ws://a:65536", "port" },
    { "ws://a:8x", "port" }, { "ws://a:999999", "port" }, { "ws://a:-1", "port" },
    { "ws://[::1", "bracket" }, { "ws://[::1]x", "port" }, { "ws://[a]", "host" },
    { "ws://[]", "host" }, { "ws://::1", "host" }, { "ws://a b", "byte" },
    { "ws://a\r\nX: y", "byte" }, { "ws://a/\0", "byte" }, { "ws://\u{e9}.fr", "byte" },
    { "ws://a/#x", "fragment" }, { "ws://a!b", "host" },
  }
  for _, row in ipairs(bad) do
    it(("refuses %q"):format(row[1]), function()
      local got, detail, code = url.parse(row[1])
      assert.is_nil(got)
      assert.truthy(detail:find(row[2], 1, true), detail)
      assert.equal("EVALUE", code)
    end)
  end

  it("holds each part to its limit and not a byte more", function()
    local host, target = ("h"):rep(95), "/" .. ("t"):rep(1899)
    assert.equal(host, assert(url.parse("ws://" .. host)).host)
    assert.is_nil((url.parse("ws://h" .. host)))
    assert.equal(target, assert(url.parse("ws://a" .. target)).target)
    assert.is_nil((url.parse("ws://a" .. target .. "t")))
    assert.equal("/?" .. ("t"):rep(1898), assert(url.parse("ws://a?" .. ("t"):rep(1898))).target)
    assert.is_nil((url.parse("ws://a?" .. ("t"):rep(1899))))
  end)

  it("reads a proxy with and without a user", function()
    local got = assert(url.parse_proxy("ada:p@ss@proxy.test:3128"))
    assert.same({ "proxy.test", 3128, "ada:p@ss" }, { got.host, got.port, got.user })
    got = assert(url.parse_proxy("http://[::1]:3128/"))
    assert.same({ "::1", 3128, "" }, { got.host, got.port, got.user })
  end)

  it("refuses a proxy without a port or with an odd byte", function()
    assert.equal("the port is missing", select(2, url.parse_proxy("proxy.test")))
    assert.is_nil((url.parse_proxy("proxy.test:1\r\n")))
    assert.is_nil((url.parse_proxy("ada@:1")))
  end)
end)

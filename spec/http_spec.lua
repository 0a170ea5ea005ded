-- http.c: dates as HTTP writes them, and how long a Retry-After means.
local http = require("moongate_unit").http

describe("http", function()
  it("reads dates", function()
    local dates = {
      ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
      ["Sun, 06 Nov 1994 08:49:37 GMT"] = 784111777,
      ["Tue, 29 Feb 2000 23:59:59 GMT"] = 951868799,
      ["Wed, 01 Mar 2000 00:00:00 GMT"] = 951868800,
      ["Thu, 01 Mar 1900 00:00:00 GMT"] = -1,
      ["Mon, 01 Mar 2100 00:00:00 GMT"] = 4107542400,
      ["Fri, 31 Dec 2027 23:59:60 GMT"] = 1830297600,
    }
    for text, seconds in pairs(dates) do assert.equal(seconds, http.date(text), text) end
  end)

  it("knows what is no date", function()
    for _, text in ipairs {
      "", "64", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ",
      "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
      "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
      "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
      "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
      "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 19x4 08:49:37 GMT",
    } do
      assert.equal(-1, http.date(text), text)
    end
  end)

  it("tells how long to wait", function()
    local date, later = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT"
    local day = 86400000
    for _, row in ipairs {
      { 64000, "64" }, { 7500, "7.5" }, { 64000, " 64 " }, { 250, "0.25" }, { 1234, "1.23456" },
      { 0, "" }, { 0, "soon" }, { 0, "-5" }, { 0, "1.2.3" }, { 0, ".5" }, { 0, "5 s" },
      { day, "86400" }, { day, "86401" }, { day, ("9"):rep(200) }, { day, ("9"):rep(40) .. ".5" },
      { 60000, later, date }, { 0, date, later }, { 0, date, date },
      { 60000, later, "", 784111777 }, { 60000, later, "now", 784111777 },
      { 60000, later, date, 0 }, -- whose clock is wrong does not matter
      { day, "Sun, 06 Nov 9994 08:49:37 GMT", date },
    } do
      assert.equal(row[1], http.retry_after(row[2], row[3] or "", row[4] or 0), row[2])
    end
  end)
end)

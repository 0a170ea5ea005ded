-- history.lua: lines that outlive a prompt.

local history = require "moongate.history"

local path

before_each(function()
  path = os.tmpname()
  os.remove(path)
end)
after_each(function() os.remove(path) end)

local function read()
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

local function write(text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("history", function()
  it("keeps each line as it is typed, in a file for the user alone", function()
    local one = history.open(path)
    assert.same({}, one.texts)
    assert.is_true(one:keep "first")
    assert.is_true(one:keep "two\twords")
    assert.is_true(one:keep "  ")
    assert.equal("first\ntwo words\n", read())
    local pipe = io.popen("stat -c %a " .. path)
    assert.equal("600\n", pipe:read "a")
    pipe:close()
    assert.same({ "first", "two words" }, history.open(path).texts)
  end)

  it("keeps a text of several lines as one, with backslashes of its own", function()
    local texts = { "for i = 1, 2 do\n\n  print(i)\nend", "x = 'a\\\nb'", "-- C:\\", "last" }
    local one = history.open(path)
    for _, text in ipairs(texts) do one:keep(text) end
    texts[3] = texts[3] .. " "
    assert.same(texts, history.open(path).texts)
    one:keep "first\nand a token"
    assert.same(texts, history.open(path).texts)
  end)

  it("is shared by prompts, neither of which loses what the other has", function()
    local one, other = history.open(path), history.open(path)
    one:keep "a"
    other:keep "b"
    one:keep "c"
    assert.same({ "a", "b", "c" }, history.open(path).texts)
  end)

  it("never writes what may hold a token", function()
    local one = history.open(path)
    one:keep "bot = moongate.client { token = 'abc' }"
    one:keep "DISCORD_TOKEN"
    assert.equal("", read())
    local said = io.popen(("DISCORD_TOKEN=s.3.cret lua5.4 -e \"package.path, package.cpath = '%s', "
      .. "'%s' require 'moongate.history'.open('%s'):keep 'x = [[s.3.cret]]'\" 2>&1"):format(
        package.path, os.getenv "MOONGATE_CPATH" or package.cpath, path))
    assert.equal("", said:read "a")
    said:close()
    assert.equal("", read())
  end)

  it("reads the last thousand, and shortens a file that has grown", function()
    local all = {}
    for i = 1, 2500 do all[i] = "line " .. i end
    write(table.concat(all, "\n") .. "\n")
    local one = history.open(path)
    assert.equal(1000, #one.texts)
    assert.equal("line 2500", one.texts[1000])
    assert.equal(table.concat(all, "\n", 1501) .. "\n", read())
    write(("two\\\nlines\n"):rep(2001))
    one = history.open(path)
    assert.equal(1000, #one.texts)
    assert.equal(("two\\\nlines\n"):rep(1000), read())
  end)

  it("passes over what nobody typed", function()
    write "fine\n\27[2Jbad\nalso fine\n"
    assert.same({ "fine", "also fine" }, history.open(path).texts)
  end)

  it("tells once that it cannot write, and does without a file", function()
    local one = history.open "/nonexistent/folder/history"
    local kept, why = one:keep "x"
    assert.is_nil(kept)
    assert.matches("the history is not kept: /nonexistent/folder/history: No such file", why)
    assert.is_true(one:keep "y")
    assert.is_true(history.open(nil):keep "z")
  end)

  it("tells that there is no place for more", function()
    local one = history.open(path)
    one.path = "/dev/full" -- never opened as one: it would have to be read
    local kept, why = one:keep "x"
    assert.same({ nil, "the history is not kept: No space left on device" }, { kept, why })
  end)

  it("leaves a device what it is", function()
    assert.is_true(history.open "/dev/null":keep "x")
    assert(os.execute "test -c /dev/null")
  end)
end)

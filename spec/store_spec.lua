-- store.lua, with file.c and lua_store.c beneath it: records in memory and in a file that is
-- replaced whole.
local cjson = require "cjson"
local core = require "moongate.core"
local store = require "moongate.store"

local RECORD = { id = "s1", url = "wss://resume.test", seq = 42, shard_id = 0, shard_count = 1,
  saved_at = 1786000000 }

local function scratch()
  local path = os.tmpname()
  os.remove(path)
  return path
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

describe("every store", function()
  local made = {
    memory = store.memory,
    file = function() return store.file(scratch()) end,
  }

  for name, make in pairs(made) do
    it("gives back what was saved, integers as integers: " .. name, function()
      local s = make()
      assert.is_nil(s:load "a/0/1")
      assert.is_true(s:save("a/0/1", RECORD))
      assert.same(RECORD, s:load "a/0/1")
      assert.equal("integer", math.type(s:load("a/0/1").seq))
      assert.is_nil(s:load "a/1/1")
    end)

    it("keeps records apart, and copies: " .. name, function()
      local s = make()
      local mine = { seq = 1 }
      s:save("a", mine)
      s:save("b", { seq = 2 })
      mine.seq = 9
      s:load("a").seq = 8
      assert.equal(1, s:load("a").seq)
      assert.equal(2, s:load("b").seq)
    end)

    it("prints itself: " .. name, function()
      assert.truthy(tostring(make()):match "^Store ")
    end)
  end
end)

describe("a store in a file", function()
  local path

  before_each(function() path = scratch() end)
  after_each(function()
    for _, ending in ipairs { "", ".lock", ".broken" } do os.remove(path .. ending) end
  end)

  it("outlives its object, and is one JSON object", function()
    store.file(path):save("a", RECORD)
    assert.same(RECORD, store.file(path):load "a")
    assert.equal("s1", cjson.decode(read(path)).a.id)
  end)

  it("is shared: another store's records stay", function()
    local one, two = store.file(path), store.file(path)
    one:save("a", { seq = 1 })
    two:save("b", { seq = 2 })
    one:save("a", { seq = 3 })
    assert.equal(3, two:load("a").seq)
    assert.equal(2, one:load("b").seq)
  end)

  it("can be read by its user alone", function()
    store.file(path):save("a", RECORD)
    local pipe = io.popen("ls -l " .. path)
    assert.equal("-rw-------", pipe:read("l"):sub(1, 10))
    pipe:close()
  end)

  it("leaves nothing lying beside it", function()
    store.file(path):save("a", RECORD)
    local pipe = io.popen("ls -d " .. path .. "* 2>/dev/null")
    local names = {}
    for name in pipe:lines() do names[#names + 1] = name end
    pipe:close()
    assert.same({ path, path .. ".lock" }, names)
  end)

  for name, text in pairs { empty = "", cut = '{"a":{"id":', text = "hello", list_less = "17" } do
    it("a broken file is refused by load and put aside by save: " .. name, function()
      write(path, text)
      local record, message, code = store.file(path):load "a"
      assert.is_nil(record)
      assert.equal("EVALUE", code)
      assert.truthy(message:find(path, 1, true))
      assert.is_true(store.file(path):save("a", RECORD))
      assert.same(RECORD, store.file(path):load "a")
      assert.equal(text, read(path .. ".broken"))
    end)
  end

  it("a folder that is missing is an error with its name, and no crash", function()
    local s = store.file("/nonexistent/folder/sessions.json")
    assert.is_nil(s:load "a")
    local saved, message, code = s:save("a", RECORD)
    assert.is_nil(saved)
    assert.equal("ESYSTEM", code)
    assert.truthy(message:find("/nonexistent/folder", 1, true))
  end)

  it("a lock that another process holds is not waited for without end", function()
    local holder = assert(core.lock_file(path .. ".lock"))
    local saved, message, code = store.file(path):save("a", RECORD)
    assert.is_nil(saved)
    assert.equal("EBUSY", code)
    assert.truthy(message:find "another process")
    holder:close()
    assert.is_true(store.file(path):save("a", RECORD))
  end)

  it("takes a path and nothing else", function()
    for _, wrong in ipairs { 7, "", false, {}, "a\0b" } do
      assert.has_error(function() store.file(wrong) end)
    end
  end)
end)

describe("core.replace_file", function()
  it("replaces whole or not at all", function()
    local path = scratch()
    assert.is_true(core.replace_file(path, "one"))
    assert.is_true(core.replace_file(path, "two"))
    assert.equal("two", read(path))
    os.remove(path)
    local done, message, code = core.replace_file("/nonexistent/x", "text")
    assert.is_nil(done)
    assert.equal("ESYSTEM", code)
    assert.truthy(message:match "^open /nonexistent/x")
    assert.has_error(function() core.replace_file("a\0b", "") end)
    assert.equal("EVALUE", select(3, core.replace_file(("x"):rep(5000), "")))
  end)

  it("replaces what is behind a link, and nothing but a file", function()
    local path, link = scratch(), scratch()
    assert.is_true(core.replace_file(path, "one"))
    os.remove(link)
    assert(os.execute(("ln -s %s %s"):format(path, link)))
    assert.is_true(core.replace_file(link, "two"))
    assert.equal("two", read(path))
    assert(os.execute("test -L " .. link))
    os.remove(path)
    os.remove(link)
    assert(os.execute("mkfifo " .. path))
    local done, message, code = core.replace_file(path, "three")
    assert.is_nil(done)
    assert.equal("ESYSTEM", code)
    assert.equal(1, (message:find("replace " .. path, 1, true)))
    assert(os.execute("test -p " .. path))
    os.remove(path)
    assert.matches("Is a directory", select(2, core.replace_file("/tmp", "four")))
  end)

  it("a disk that is full leaves the old content", function()
    local path = "/dev/full"
    local done, _, code = core.replace_file(path .. "/x", "text")
    assert.is_nil(done)
    assert.equal("ESYSTEM", code)
  end)
end)

describe("core.fingerprint", function()
  it("is the beginning of the SHA-256", function()
    assert.equal("e3b0c44298fc1c14", core.fingerprint "")
    assert.equal("ba7816bf8f01cfea", core.fingerprint "abc")
  end)
end)

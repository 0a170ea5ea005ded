-- spelling_spec.lua: what a misspelt name is taken for, and what is too far from all.

local spelling = require "moongate.spelling"

describe("spelling: nearest", function()
  local fruit = { "apple", "pear", "peach", "pineapple", "red_currant" }

  it("counts letters put in, left out, changed and swapped", function()
    for word, meant in pairs {
      aple = "apple", appple = "apple", applf = "apple", paer = "pear", peahc = "peach",
      redCurant = "red_currant", ["Red Currant"] = "red_currant",
    } do
      assert.equal(meant, spelling.nearest(word, fruit))
    end
  end)

  it("takes the nearest, and the first of equals", function()
    assert.equal("abcd", spelling.nearest("abce", { "abxx", "abcd", "abcf" }))
    assert.equal("abcf", spelling.nearest("abce", { "abxx", "abcf", "abcd" }))
  end)

  it("is not far-fetched", function()
    assert.is_nil(spelling.nearest("banana", fruit))
    assert.is_nil(spelling.nearest("pe", fruit))
    assert.is_nil(spelling.nearest("", fruit))
    assert.is_nil(spelling.nearest("...", fruit))
    assert.is_nil(spelling.nearest("abcxyz", { "abcdef" }))
    assert.equal("abcdef", spelling.nearest("abcdyz", { "abcdef" }))
    assert.is_nil(spelling.nearest(("x"):rep(65), { ("x"):rep(66) }))
    assert.equal(("x"):rep(66), spelling.nearest(("x"):rep(64), { ("x"):rep(66) }))
  end)

  it("falls back to the shortest name that has the word in it", function()
    assert.equal("guild_messages",
      spelling.nearest("messages", { "direct_messages", "guild_messages" }))
    assert.equal("red_currant", spelling.nearest("currant", fruit))
    assert.equal("a_wordy_x", spelling.nearest("word", { "a_wordy_x", "b_wordy_x" }))
    assert.is_nil(spelling.nearest("red", fruit))
  end)
end)

describe("spelling: shown", function()
  it("tells a string from what it spells", function()
    assert.equal('"0"', spelling.shown "0")
    assert.equal("0", spelling.shown(0))
    assert.equal("nil", spelling.shown(nil))
    assert.equal("false", spelling.shown(false))
    assert.equal("table", spelling.shown {})
    assert.equal('"' .. ("x"):rep(24) .. '"', spelling.shown(("x"):rep(99)))
  end)
end)

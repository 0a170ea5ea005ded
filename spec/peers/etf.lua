-- etf.lua: moongate's ETF against etf.mjs, two implementations that moongate did not write, in both
-- directions. Loaded by `run`: returns a function (options) -> true and words, or nil and what was
-- wrong.

local core = require "moongate.core"

local VALUES = 3000

local letters = { "a", "\"", "\\", "\u{e9}", "\u{1f319}", "\0", "\n", "nil", "7", " " }

local function text()
  local out = {}
  for i = 1, math.random(0, 9) do out[i] = letters[math.random(#letters)] end
  return table.concat(out)
end

local borders = { 0, 1, 255, 256, 65535, 65536, 2147483647, 2147483648, 4294967295, 4294967296,
  1420070400000, 9007199254740991, "9007199254740992", "81384788765712384",
  "18446744073709551615" }

local kinds = {
  function() return core.null end,
  function() return math.random(2) == 1 end,
  function() return math.random(-300, 300) end,
  function()
    local n = borders[math.random(#borders)]
    return math.random(3) == 1 and math.type(n) == "integer" and -n or n
  end,
  function() return (math.random() - 0.5) * 10.0 ^ math.random(-200, 200) end,
  text, text,
}

local function value(depth)
  local kind = math.random(depth > 4 and #kinds or #kinds + 4)
  if kinds[kind] then return kinds[kind]() end
  local out = core.array {}
  if kind == #kinds + 1 then
    for i = 1, math.random(0, 6) do out[i] = math.random(0, 255) end
  elseif kind == #kinds + 2 then
    for i = 1, math.random(0, 6) do out[i] = value(depth + 1) end
  else
    out = {}
    for i = 1, math.random(0, 6) do out[text() .. "k" .. i] = value(depth + 1) end
  end
  return out
end

-- The same value; 1.0 counts as 1, and a large number may have become its digits.
local function same(a, b)
  if type(a) == "number" and type(b) == "string" then
    local n = tonumber(b)
    return n ~= nil and a + 0.0 == n + 0.0
  end
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, member in pairs(a) do
    if not same(member, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return next(a) ~= nil or getmetatable(a) == getmetatable(b)
end

local function to_hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function from_hex(hex)
  return (hex:gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end))
end

local function write_questions(name)
  local texts, file = {}, assert(io.open(name, "w"))
  for i = 1, VALUES do
    local one = value(0)
    texts[i] = core.encode(one)
    file:write(texts[i], "\t", to_hex(core.encode(one, { encoding = "etf" })), "\n")
  end
  file:close()
  return texts
end

local function judge(line, text_of_it)
  local keep = { null = "keep" }
  local wanted = core.decode(text_of_it, keep)
  if line:sub(1, 3) ~= "ok\t" then return line .. " of " .. text_of_it:sub(1, 100) end
  local writer = 0
  for hex in line:sub(4):gmatch "[^\t]+" do
    writer = writer + 1
    local found, why = core.decode(from_hex(hex), { encoding = "etf", null = "keep" })
    if not same(wanted, found) then
      return ("writer %d: %s of %s"):format(writer, why or "another value", text_of_it:sub(1, 100))
    end
  end
  return writer ~= 3 and "an answer too short" or nil
end

return function(options)
  math.randomseed(1117)
  local questions = options.folder .. "/etf-questions.txt"
  local texts = write_questions(questions)
  local pipe = assert(io.popen(("%s '%s/etf.mjs' '%s' <'%s' 2>&1"):format(options.node,
    options.here, options.folder, questions)))
  local names = pipe:read "l" or "nobody"
  local problem, answered = nil, 0
  for line in pipe:lines() do
    answered = answered + 1
    problem = problem or judge(line, texts[answered] or "")
  end
  pipe:close()
  if answered ~= VALUES and not problem then
    problem = ("%d answers to %d values"):format(answered, VALUES)
  end
  if problem then return nil, names .. ": " .. problem end
  return true, ("%s: %d values, each read by both and written by both"):format(names, VALUES)
end

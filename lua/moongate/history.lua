-- history.lua: what was typed at a prompt, in a file that outlives it. Used by repl.lua and specs.
-- Each text is written as it is typed, so that no way to leave loses it, and two prompts may share
-- a file. A text is a line of it; one of several lines has a backslash at the end of each but the
-- last.

local core = require "moongate.core"

local history = {}

local TEXTS_MAX = 1000 -- that are read; a file with twice as many is written anew
local SECRET = "[Tt][Oo][Kk][Ee][Nn]" -- a text that has this is never written

local History = {}
History.__index = History

-- A text as lines of the file. A backslash that ends it would say that it goes on.
local function encode(text)
  text = text:gsub("[^\n%C]", " "):gsub("\n", "\\\n")
  return text:gsub("\\$", "\\ ") .. "\n"
end

-- Nobody types control characters.
local function read(path)
  local list, file = {}, io.open(path, "r")
  if not file then return nil end
  local begun = ""
  for text in file:lines() do
    text = begun .. text
    local goes_on = text:match "^(.*)\\$"
    begun = goes_on and goes_on .. "\n" or ""
    if not goes_on and not text:find "[^\n%C]" then list[#list + 1] = text end
  end
  file:close()
  return list
end

local function write_anew(path, texts)
  local parts = {}
  for i, text in ipairs(texts) do parts[i] = encode(text) end
  core.replace_file(path, table.concat(parts))
end

--- What was typed before, in `texts`, and what keeps more. path: the file, nil: there is none.
function history.open(path)
  local all = path and read(path)
  local last = all and table.move(all, math.max(#all - TEXTS_MAX, 0) + 1, #all, 1, {}) or {}
  if path and not all then core.replace_file(path, "") end -- for the user alone
  if all and #all > 2 * TEXTS_MAX then write_anew(path, last) end
  return setmetatable({ path = path, texts = last }, History)
end

local function is_secret(text)
  local token = os.getenv "DISCORD_TOKEN" or ""
  return text:find(SECRET) ~= nil or token ~= "" and text:find(token, 1, true) ~= nil
end

--- Writes a text to the file, unless it is blank or may hold a token. True, or nil and what is
-- wrong; that is told once, and nothing is written any more.
function History:keep(text)
  if not self.path or not text:find "%S" or is_secret(text) then return true end
  local file, why = io.open(self.path, "a")
  local written = file and file:write(encode(text))
  if file then written, why = file:close() end
  if written then return true end
  self.path = nil
  return nil, "the history is not kept: " .. why
end

return history

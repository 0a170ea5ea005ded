-- history.lua: the lines of a prompt, in a file that outlives it. Used by repl.lua and by specs.
-- Each line is written as it is typed, so that no way to leave loses it, and two prompts may share
-- a file.

local core = require "moongate.core"

local history = {}

local LINES_MAX = 1000 -- that are read; a file with twice as many is written anew
local SECRET = "[Tt][Oo][Kk][Ee][Nn]" -- a line that has this is never written

local History = {}
History.__index = History

-- Nobody types control characters.
local function read(path)
  local list, file = {}, io.open(path, "r")
  if not file then return nil end
  for text in file:lines() do
    if not text:find "%c" then list[#list + 1] = text end
  end
  file:close()
  return list
end

--- What was typed before, in `lines`, and what keeps more. path: the file, nil: there is none.
function history.open(path)
  local all = path and read(path)
  local last = all and table.move(all, math.max(#all - LINES_MAX, 0) + 1, #all, 1, {}) or {}
  if path and not all then core.replace_file(path, "") end -- for the user alone
  if all and #all > 2 * LINES_MAX then
    core.replace_file(path, table.concat(last, "\n") .. "\n")
  end
  return setmetatable({ path = path, lines = last }, History)
end

local function is_secret(text)
  local token = os.getenv "DISCORD_TOKEN" or ""
  return text:find(SECRET) ~= nil or token ~= "" and text:find(token, 1, true) ~= nil
end

--- Writes a line to the file, unless it is blank or may hold a token. True, or nil and what is
-- wrong; that is told once, and nothing is written any more.
function History:keep(text)
  if not self.path or not text:find "%S" or is_secret(text) then return true end
  local file, why = io.open(self.path, "a")
  if not file then
    self.path = nil
    return nil, "the history is not kept: " .. why
  end
  file:write((text:gsub("%c", " ")), "\n")
  file:close()
  return true
end

return history

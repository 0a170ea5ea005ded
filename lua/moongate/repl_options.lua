-- repl_options.lua: what moongate.repl() is given, judged, and the defaults. Used by repl.lua.

local spelling = require "moongate.spelling"
local watch = require "moongate.repl_watch"

local options = {}

local HISTORY_FILE = "/.moongate_history" -- in $HOME

local function is_list(value)
  if type(value) ~= "table" then return false end
  for _, name in ipairs(value) do
    if type(name) ~= "string" then return false end
  end
  return true
end

-- What each must be, in words, and the judge of it.
local kinds = {
  names = { "a table of names", function(value) return type(value) == "table" end },
  connect = { "true or false", function(value) return type(value) == "boolean" end },
  watch = { "a list of events, or false", function(value)
    return value == false or is_list(value)
  end },
  history = { "the name of a file, or false", function(value)
    return value == false or type(value) == "string" and value ~= ""
  end },
}

local known = {}
for name in pairs(kinds) do known[#known + 1] = name end
table.sort(known)

local function check_each(given, level)
  for name, value in pairs(given) do
    local kind = kinds[name]
    if not kind then
      local meant = spelling.nearest(tostring(name), known)
      error(("repl: unknown option '%s'%s"):format(tostring(name),
        meant and (", did you mean %s?"):format(meant) or ""), level + 1)
    elseif not kind[2](value) then
      error(("repl: option %s: %s expected, got %s"):format(name, kind[1],
        spelling.shown(value)), level + 1)
    end
  end
  if given.watch then watch.check_names(given.watch) end
end

--- Judges the bot and the options of a prompt, and returns the options. Raises what is wrong, at a
-- level as error() counts them.
function options.check(bot, given, level)
  if bot ~= nil and (type(bot) ~= "table" or type(bot.connect) ~= "function") then
    error(("repl: a client or a cluster expected, got %s"):format(type(bot)), level + 1)
  end
  if given ~= nil and type(given) ~= "table" then
    error(("repl: options must be a table, got %s"):format(type(given)), level + 1)
  end
  check_each(given or {}, level + 1)
  if not coroutine.isyieldable or coroutine.isyieldable() then
    error("repl: it belongs to the main program, not into a listener", level + 1)
  end
  return given or {}
end

--- The file of what was typed: the one that is wanted, the usual one where nothing was said; nil:
-- none.
function options.history_path(wanted)
  local home = os.getenv "HOME"
  if wanted == nil and home and home ~= "" then return home .. HISTORY_FILE end
  return wanted or nil
end

return options

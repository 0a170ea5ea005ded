-- repl_lua.lua: what is typed at a prompt as Lua: whether it is all there, what it returns, what
-- went wrong. Used by repl.lua.

local inspect = require "moongate.inspect"

local lua = {}

local SHORT_TRACE = 2 -- lines that say no more than the error itself

--- Whether an error is Ctrl-C.
function lua.is_interrupt(err)
  return type(err) == "string" and err:find("interrupted!", 1, true) ~= nil
end

--- An expression or a statement as a function; nil, what is wrong with it, and whether that is only
-- that its end is still to come. "=x" is "return x", as the interpreter once had it.
function lua.compile(text, env)
  text = text:gsub("^=", "return ")
  local chunk = load("return " .. text, "=prompt", "t", env)
  if chunk then return chunk end
  local message
  chunk, message = load(text, "=prompt", "t", env)
  if chunk then return chunk end
  return nil, message, message:find "<eof>'?$" ~= nil
end

--- An error as a person reads it, in lines of about so many columns.
function lua.describe_error(err, columns)
  if lua.is_interrupt(err) then return "interrupted!" end
  return type(err) == "string" and err or inspect.value(err, columns)
end

-- For xpcall: the same, with the stack but for the part of it that is moongate's; where moongate
-- itself is at fault, that is only the prompt's.
local function explainer(columns)
  return function(err)
    local words = lua.describe_error(err, columns)
    if words ~= err or lua.is_interrupt(err) then return words end
    local trace = debug.traceback("", 2):gsub("\n[^\n]*in function 'xpcall'.*$", "")
    local hidden = err:find "/moongate/[%w_/]+%.lua:%d+: " and "repl[%w_]*" or "[%w_/]+"
    trace = trace:gsub("\n[^\n]*/moongate/" .. hidden .. "%.lua:[^\n]*", "")
    trace = trace:gsub("\n%s*%[C%]: in function 'error'", "")
    local _, lines = trace:gsub("\n", "")
    return lines > SHORT_TRACE and err .. trace or err
  end
end

-- All results but nils behind the last one that says something; nil where there are none.
local function describe_results(columns, ...)
  local count = select("#", ...)
  if count == 0 then return nil end
  while count > 1 and select(count, ...) == nil do count = count - 1 end
  local shown = {}
  for i = 1, count do
    local fine, text = pcall(inspect.value, select(i, ...), columns)
    if not fine and lua.is_interrupt(text) then error(text, 0) end
    shown[i] = fine and text or "(a value that cannot be shown)"
  end
  return table.concat(shown, "\t")
end

local function finish(env, columns, fine, ...)
  if not fine then return false, (...) end
  if select("#", ...) > 0 then env._ = (...) end
  return true, describe_results(columns, ...)
end

--- Calls what compile() gave. True and its results as text, nil where it has none; false and what
-- went wrong. The first result stands in env._ from then on.
function lua.run(chunk, env, columns)
  return finish(env, columns, xpcall(chunk, explainer(columns)))
end

return lua

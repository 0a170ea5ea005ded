-- tally.lua: an output handler of busted that a program can read: one line a test, its status, a
-- tab, and its whole title; "end" behind the last one. Used by failures.lua.

return function()
  local handler = require "busted.outputHandlers.base"()

  local function say(...)
    io.write(table.concat({ ... }, "\t"), "\n")
    io.flush()
    return nil, true
  end

  local function one_line(text)
    return (tostring(text or ""):gsub("%s+", " "):sub(1, 300))
  end

  function handler.testEnd(element, _, status)
    say(status, handler.getFullName(element))
    local list = status == "failure" and handler.failures or status == "error" and handler.errors
    local last = list and list[#list]
    if last then say("why", one_line(last.message)) end
    return nil, true
  end

  -- What went wrong outside of tests: a file that does not load, a helper that fails.
  function handler.outside(element, _, message)
    if element.descriptor == "it" then return nil, true end
    return say("error", one_line(element.name), one_line(message))
  end

  function handler.finish()
    return say "end"
  end

  local busted = require "busted"
  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "error" }, handler.outside)
  busted.subscribe({ "suite", "end" }, handler.finish)
  return handler
end

-- output.lua: what is shown, and whether it has arrived. A device is only ever written to, never
-- replaced.

local witness = require "witness"

-- What a program tells on stderr that shows texts with its stdout going elsewhere.
local function told(text, setting, feeder)
  return (witness.program(([[
    local output = require "moongate.output"
    local function tell(...)
      for _, word in ipairs { ... } do io.stderr:write(tostring(word), "|") end
    end
    %s]]):format(text), setting, feeder))
end

describe("output", function()
  it("shows at once, and has nothing to tell", function()
    assert.equal("ab|true|c\nnil|", told [[
      output.write("a", "b")
      io.stderr:write "|"
      tell(output.write())
      print "c" -- is seen at once as well
      tell(tostring(output.failure()))]])
  end)

  it("remembers why the first text was lost, however many follow", function()
    local said = told [[
      io.output():close()
      local full = assert(io.open("/dev/full", "w"))
      io.stdout = full
      tell(select(2, output.write("a\n")))
      output.write("b\n")
      tell(output.failure())]]
    assert.equal("No space left on device|28|No space left on device|", said)
  end)

  it("finds nothing wrong with a reader that has gone", function()
    local said = witness.program([[
      local output = require "moongate.output"
      local pipe = io.popen("exec true", "w")
      while true do
        io.stdout = pipe
        local done, why, number = output.write("a\n")
        if not done then
          io.stderr:write(why, " ", number, " ", tostring(output.failure()), "\n")
          os.exit(0, false)
        end
      end]], "trap '' PIPE;")
    assert.equal("Broken pipe 32 nil\n", said)
  end)
end)

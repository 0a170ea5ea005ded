-- output.lua: what the command and the prompt show, and whether it has arrived: a disk may be full.
-- Used by cli.lua, its commands and repl.lua. It writes to stdout and requires nothing.
--
-- A stream that is buffered by lines loses them without a word: glibc takes for written what has
-- been in its buffer. So it is not while a text is written, and then it is again, for those who
-- print().

local output = {}

local BUFFER_BYTES = 65536 -- room for nearly every text, so that it leaves in one piece
local BROKEN_PIPE = 32 -- EPIPE

local failure -- why the first text that was lost did not arrive

--- Shows texts. True, or nil, why not, and the number of the error, as io has it; the first failure
-- is remembered.
function output.write(...)
  io.stdout:setvbuf("full", BUFFER_BYTES)
  local done, why, number = io.stdout:write(...)
  if done then done, why, number = io.stdout:flush() end
  io.stdout:setvbuf("line", BUFFER_BYTES)
  if done then return true end
  if number ~= BROKEN_PIPE then failure = failure or why end
  return nil, why, number
end

--- Why something that was shown did not arrive; nil where all of it did, or where its reader has
-- gone, who knows.
function output.failure()
  return failure
end

return output

-- shelter.lua: where Ctrl-C finds nothing half done. Used by scheduler.lua, on the Lua thread.
--
-- The interpreter answers Ctrl-C with an error at whatever the main program does next, and never in
-- a coroutine. So what must be done whole, the main program has done in a coroutine: a shelter. The
-- error comes when it is back.

local shelter = {}

local pack = table.pack or function(...) return { n = select("#", ...), ... } end
local unpack = table.unpack or rawget(_G, "unpack")
local yield, resume = coroutine.yield, coroutine.resume

-- What comes before the function of a job, so that a foreign resume cannot pass for one, and what a
-- shelter yields when the job is done.
local JOB, DONE = {}, {}

local shelters = setmetatable({}, { __mode = "k" }) -- all of them
local vacant = {} -- those with nobody in them

-- True in the main program itself.
local function in_main()
  local co, main = coroutine.running()
  return main or co == nil
end

--- True where the main program goes on, in a shelter or not.
function shelter.from_main()
  local co, main = coroutine.running()
  return main or co == nil or shelters[co] ~= nil
end

-- While it waits for a job its stack ends where these variables begin, so it holds nothing of the
-- last one.
local function work()
  while true do
    local token, job = yield(DONE)
    if token == JOB then job.results = pack(job.fn(unpack(job, 1, job.n))) end
  end
end

local function make()
  local co = coroutine.create(work)
  shelters[co] = true
  resume(co) -- to where it waits for a job
  return co
end

--- fn(...), in a shelter if the main program calls. An error is raised as it is. Who yields in it
-- yields to nobody, and goes on at once.
function shelter.call(fn, ...)
  if not in_main() then return fn(...) end
  local co = table.remove(vacant) or make()
  local job = pack(...)
  job.fn = fn
  local fine, state = resume(co, JOB, job)
  while fine and state ~= DONE do fine, state = resume(co) end
  if not fine then error(state, 0) end
  vacant[#vacant + 1] = co
  local results = job.results
  return unpack(results, 1, results.n)
end

return shelter

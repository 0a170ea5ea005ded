---@meta moongate.sandbox.busted
-- Made by `make meta` (spec/annotate.lua); for editors, never loaded at run time.

--- A bot of stage.start(), or a sandbox whose bot is another program.
---@alias moongate.sandbox.Subject moongate.Cluster|moongate.Shard|moongate.sandbox.Sandbox

--- What a bot needs to reach the sandbox: three options.
---@class moongate.sandbox.Login
---@field token string
---@field api string
---@field ca_file? string

---@class luassert
--- Whose doings are asserted.
---@field bot fun(bot: moongate.sandbox.Subject): moongate.sandbox.Assertion

--- What the bot does within stage.patience seconds.
---@class moongate.sandbox.Assertion
--- Has sent such a packet, whose d has these fields.
---@field sent fun(op: moongate.sandbox.Op, fields?: table)
--- The same, for .does_not.
---@field send fun(op: moongate.sandbox.Op, fields?: table)
--- Has asked REST for it, with these fields in the JSON body.
---@field requested fun(method: string, path: string, fields?: table)
--- The same, for .does_not.
---@field request fun(method: string, path: string, fields?: table)
--- Has gone on in its session.
---@field resumed fun()
--- The same, for .does_not.
---@field resume fun()
--- Has ended a connection itself, with this code or any.
---@field closed fun(code?: integer)
--- The same, for .does_not.
---@field close fun(code?: integer)
--- The contrary, for stage.quiet seconds.
---@field does_not moongate.sandbox.Assertion
--- The contrary, for stage.quiet seconds.
---@field has_not moongate.sandbox.Assertion

---@class moongate.sandbox.busted
--- Seconds that an assertion waits at most.
---@field patience number
--- Seconds without, until a negated one passes.
---@field quiet number
local busted = {}

--- Starts a sandbox with `options` (its limits are off unless they say otherwise), calls make with
--- { token =, api =, ca_file = } for the bot, connects it and waits until every shard is ready.
--- Returns the sandbox and the bot; raises when the bot does not come up.
---@param make fun(options: moongate.sandbox.Login): moongate.Cluster|moongate.Shard
---@param options? moongate.sandbox.Options
---@return moongate.sandbox.Sandbox discord
---@return moongate.Cluster|moongate.Shard bot
function busted.start(make, options) end

--- Stops every bot and sandbox that was started here.
function busted.stop() end

return busted

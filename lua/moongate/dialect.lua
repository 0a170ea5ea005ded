-- dialect.lua: how options are spoken of where something is wrong with them: in Lua, or on a
-- command line, which has neither tables nor quotes. Called by options.lua and cli.lua. Data and
-- pure functions; requires nothing.

local dialect = {}

--- That of those who write Lua.
dialect.lua = {
  name = function(name) return name end,
  from = function(name, variable) return ("%s (from $%s)"):format(name, variable) end,
  switch = function(name) return ("set %s = true"):format(name) end,
  off = "false",
  token = 'pass token = "..." or set $DISCORD_TOKEN',
  intents = 'intents = { "guilds", "guild_messages" }',
  ids = "{ 0, 1 }",
}

--- That of those who type words behind a command. `flags`: options of a client, and the names that
-- they have there, { api = "api", shards = "total" }; other options are spoken of as in Lua.
function dialect.command_line(flags)
  return {
    name = function(name) return flags[name] and "--" .. flags[name] or name end,
    from = function(_, variable) return "$" .. variable end,
    switch = function(name)
      return flags[name] and "give --" .. flags[name] or dialect.lua.switch(name)
    end,
    off = "none",
    token = "set $DISCORD_TOKEN",
    intents = "--intents guilds,guild_messages",
    ids = "0,1",
  }
end

return dialect

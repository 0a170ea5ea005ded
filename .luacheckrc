std = "lua54"
include_files = { "**/*.lua", "lua/bin/moongate" }
max_line_length = 100
files["lua/moongate/meta"] = { unused = false, unused_args = false }
files["spec"] = { std = "lua54+busted" }
files["examples/**/*_spec.lua"] = { std = "lua54+busted" }

-- tidy_spec.lua: holds the tree against the rules of tidy.lua, and every rule against a sample that
-- keeps it and samples that break it, so that no rule can pass by judging nothing.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local root = here .. "/.."
local tidy = dofile(here .. "/tidy.lua")

local function read(file)
  local handle = io.open(root .. "/" .. file, "rb")
  if not handle then return nil end
  local text = handle:read("a")
  handle:close()
  return text
end

-- The project's files: what git tracks or would track; without git, what lies there.
local function list_files()
  local files = {}
  local git = "git -C '%s' -c safe.directory='*' ls-files --cached --others --exclude-standard"
  local find = "cd '%s' && find . -type f -not -path './.git/*' -not -path './.build/*'"
    .. " -not -path './.tree/*' | sed 's,^[.]/,,'"
  for _, command in ipairs { git, find } do
    local pipe = assert(io.popen(command:format(root) .. " 2>/dev/null"))
    for file in pipe:lines() do
      local handle = io.open(root .. "/" .. file, "rb")
      if handle then
        files[#files + 1] = file
        handle:close()
      end
    end
    pipe:close()
    if #files > 0 then break end
  end
  table.sort(files)
  return files
end

local files = list_files()

-- Calls rule(file, text) for each file that matches one of the patterns; at least one must.
local function judge(patterns, rule)
  local bad, judged = {}, 0
  for _, file in ipairs(files) do
    for _, pattern in ipairs(patterns) do
      if file:match(pattern) then
        judged = judged + 1
        for _, words in ipairs(rule(file, read(file))) do bad[#bad + 1] = words end
        break
      end
    end
  end
  assert(judged > 0, "no file matches " .. table.concat(patterns, " "))
  return bad
end

local function expect_none(bad)
  assert(#bad == 0, #bad .. " complaint(s):\n  " .. table.concat(bad, "\n  "))
end

-- src nouns and Lua modules whose spec has another name, and why.
local elsewhere = {
  cells = { "line_spec.lua", "what is typed, as a terminal shows it" },
  search = { "line_spec.lua", "what its letters find" },
  repl_lua = { "repl_spec.lua", "what is typed there as Lua" },
  repl_options = { "repl_spec.lua", "what it refuses" },
  repl_screen = { "repl_spec.lua", "what it writes" },
  repl_watch = { "repl_spec.lua", "the events that it shows" },
  cli_sandbox = { "cli_spec.lua", "what the command is asked to do" },
  moongate = { "codes_spec.lua", "its tables and limits are what codes.c holds" },
  json_lex = { "json_spec.lua", "the words of what json.c reads" },
  json_skip = { "json_spec.lua", "how json.c steps over values" },
  json_read = { "json_spec.lua", "the reader that json.c compiles" },
  etf_lex = { "etf_spec.lua", "the words of what etf.c reads" },
  etf_read = { "etf_spec.lua", "the reader that etf.c compiles" },
  lua_value = { "value_spec.lua", "lua_ says only that it includes lua.h" },
  lua_space = { "value_spec.lua", "what the two halves of values share" },
  lua_builder = { "value_spec.lua", "the target of the readers" },
  lua_build_etf = { "etf_spec.lua", "the half that decodes, for ETF" },
  lua_build = { "value_spec.lua", "the half that decodes" },
  lua_key = { "value_spec.lua", "the keys that the builder remembers" },
  lua_lazy = { "lazy_spec.lua", "lua_ says only that it includes lua.h" },
  lua_index = { "lazy_spec.lua", "where lazy tables find their members" },
  lua_index_etf = { "lazy_spec.lua", "the same for ETF" },
  lua_walk = { "value_spec.lua", "the half that encodes" },
  lua_compat = { "value_spec.lua", "Lua's interface, where a version lacks a piece" },
  codec = { "json_spec.lua", "a table of functions; the codecs that fill it are tested" },
  transcode = { "etf_spec.lua", "a reader that drives a writer" },
  file = { "store_spec.lua", "what a store in a file stands on" },
  lua_store = { "store_spec.lua", "lua_ says only that it includes lua.h" },
  lua_terminal = { "repl_spec.lua", "what a prompt needs of C" },
  cli_repl = { "repl_spec.lua", "the command that is that prompt" },
  lua_ear = { "cluster_spec.lua", "the descriptor of a cluster, for other loops" },
  lua_quota = { "quota_spec.lua", "lua_ says only that it includes lua.h" },
  event = { "session_spec.lua", "its events are what the machine says" },
  machine = { "session_spec.lua", "the words that the machine is driven with" },
  payload = { "session_spec.lua", "what the machine writes and reads" },
  report = { "session_spec.lua", "the events of the machine" },
  connection = { "session_spec.lua", "the other half of the machine" },
  reshard = { "spectacles_spec.lua", "two sets of shards need a gateway" },
  roster = { "spectacles_spec.lua", "which shards there are, seen by the gateway" },
  pollable = { "cluster_spec.lua", "a cluster in other loops" },
  greeting = { "session_spec.lua", "what the machine says first" },
  lua_shard = { "shard_object_spec.lua", "the Shard, from its Lua end" },
  tls = { "faults_spec.lua", "certificates are refused over real sockets" },
  transport = { "faults_spec.lua", "connections fail over real sockets" },
  head = { "transport_spec.lua", "answers of all kinds, and upgrades that are none" },
  link = { "transport_spec.lua", "connections of the transport, without their sockets" },
  exchange = { "transport_spec.lua", "requests of the transport, without their sockets" },
  proxy = { "transport_spec.lua", "the way that the transport takes" },
  engine = { "cluster_spec.lua", "the running side, from its Lua end" },
  loop = { "cluster_spec.lua", "the thread of the engine" },
  command = { "cluster_spec.lua", "what a cluster asks its thread for" },
  seat = { "cluster_spec.lua", "a shard and its link, in that thread" },
  board = { "cluster_spec.lua", "what a shard shows of itself" },
  row = { "cluster_spec.lua", "shards by their ids, started in any order" },
  lua_core = { "core_spec.lua", "lua_ says only that it includes lua.h" },
  lua_machine = { "core_spec.lua", "one of the things that moongate.core opens" },
  lua_engine = { "shard_object_spec.lua", "the Shard is its userdata" },
  lua_record = { "serve_spec.lua", "what lua_serve.c hands on" },
  lua_serve = { "serve_spec.lua", "lua_ says only that it includes lua.h" },
}

local readme = read("README.md")
local page = readme and tidy.house_page(readme)

describe("tidy: the tree", function()
  it("includes only what the layers allow", function()
    local drawn = assert(tidy.read_layers(page), "the house page has no table of layers")
    expect_none(judge({ "^src/.*%.[ch]$" }, function(file, text)
      return tidy.layers(file, text, drawn)
    end))
  end)

  it("keeps foreign libraries in their rooms and the core pure", function()
    expect_none(judge({ "^src/.*%.[ch]$" }, tidy.foreign))
  end)

  it("has no function over 70 lines", function()
    expect_none(judge({ "^src/.*%.[ch]$", "^spec/.*%.c$" }, function(file, text)
      return tidy.long_functions(file, text, 70)
    end))
    expect_none(judge({ "^lua/.*%.lua$" }, function(file, text)
      return tidy.long_lua_functions(file, text, 70)
    end))
  end)

  it("has no line over 100 columns", function()
    local code = { "^src/", "^lua/", "^examples/", "^spec/.*%.lua$", "^spec/.*%.[ch]$",
      "^spec/.*%.mjs$", "^spec/.*%.py$", "^spec/.*%.sh$" }
    expect_none(judge(code, function(file, text)
      return tidy.long_lines(file, text, 100)
    end))
  end)

  it("never prints, exits, writes without a bound, or allocates outside buf.c", function()
    expect_none(judge({ "^src/.*%.[ch]$" }, function(file, text)
      return tidy.banned_words(file, text, file == "src/buf.c")
    end))
  end)

  it("declares every public function with its contract", function()
    local headers = {}
    judge({ "^src/.*%.h$" }, function(file, text)
      headers[file] = text
      return {}
    end)
    local declarations = tidy.declarations(headers)
    expect_none(judge({ "^src/.*%.c$" }, function(file, text)
      return tidy.contracts(file, text, declarations)
    end))
  end)

  it("gives every limit its reason", function()
    expect_none(tidy.reasons("src/moongate.h", read("src/moongate.h")))
  end)

  it("has headers with guards, short enough to read", function()
    -- The vocabulary, and what is compiled more than once, are as long as they are.
    local long = { ["src/moongate.h"] = true, ["src/json_lex.h"] = true,
      ["src/json_skip.h"] = true,
      ["src/etf_lex.h"] = true, ["src/etf_read.h"] = true, ["src/json_read.h"] = true,
      ["src/lua_builder.h"] = true }
    expect_none(judge({ "^src/.*%.h$" }, function(file, text)
      return tidy.header_shape(file, text, not long[file] and 150)
    end))
  end)

  it("says in each file what it is", function()
    expect_none(judge({ "^src/.*%.[ch]$", "^lua/.*%.lua$", "^spec/.*%.lua$", "^spec/.*%.c$",
      "^examples/.*%.lua$" }, tidy.first_comment))
  end)

  it("has a spec for every src noun and Lua module", function()
    expect_none(tidy.specs(files, elsewhere))
  end)

  it("builds and installs with the rockspec exactly what is there", function()
    local rockspec
    for _, file in ipairs(files) do rockspec = file:match("^[^/]+%.rockspec$") or rockspec end
    assert(rockspec, "no rockspec")
    expect_none(tidy.rockspec(read(rockspec), files))
  end)

  it("is described by the README as it is", function()
    assert(page, "README.md has no heading with the word house")
    assert(tidy.read_layers(page), "the house page has no table of layers")
    expect_none(tidy.house_files(page, files))
  end)

  it("has no unfinished notes and no paths of one machine", function()
    local text_files = { "^src/", "^lua/", "^examples/", "^spec/.*%.%l+$", "^[^/]+$" }
    expect_none(judge(text_files, tidy.leftovers))
  end)

  it("has nothing on the top level but what the house lists", function()
    expect_none(tidy.top(files))
  end)
end)

-- Each row: what the rule is called with, and the pieces that its one complaint must contain; no
-- pieces mean that it must be content.
local function hold(rule, rows)
  for number, row in ipairs(rows) do
    local bad = tidy[rule](table.unpack(row, 2))
    local words = ("%s, sample %d: %s"):format(rule, number, table.concat(bad, " | "))
    if not row[1] then
      assert(#bad == 0, words)
    else
      assert(#bad == 1, words)
      assert(bad[1]:find(row[1], 1, true), words)
    end
  end
end

local short = "int f(void) {\n    return 1;\n}\n"
local long = "int f(void)\n{\n" .. ("    g();\n"):rep(67) .. "}\n"
local too_long = "int f(void) {\n" .. ("    g();\n"):rep(69) .. "}\n"

-- A house for the samples.
local layers = tidy.draw_layers {
  { 0, "moongate" }, { 1, "buf" }, { 1, "text" }, { 1, "heart" }, { 2, "codec" },
  { 2, "json", "json_read" }, { 2, "inflate" }, { 4, "session", "report" }, { 5, "shard" },
  { 7, "transport", "tls" }, { 8, "engine" }, { 9, "lua_core" }, { 9, "lua_value" },
  { 9, "lua_engine" },
}

describe("tidy: the rules", function()
  it("see C without its comments and strings", function()
    local bare = tidy.bare_c('a /* x\n "y" */ b "c\\"d" \'"\' e // f\ng / h')
    assert.same(1 + 1, select(2, bare:gsub("\n", "")))
    assert.same('ab""\'\'eg/h', (bare:gsub("%s", "")))
    assert.same(#'a /* x\n "y" */ b "c\\"d" \'"\' e // f\ng / h', #bare)
  end)

  it("find functions, whatever stands before them", function()
    local text = 'struct a { int b; };\n#define M(x) \\\n    void x(void) { }\n'
      .. "static const int t[] = {\n1, 2 };\nenum e { A, B };\n"
      .. "GATE_MUST_CHECK int gate_one(int a,\n    int b) {\n    if (a) { }\n    return 0;\n}\n"
      .. "static void two(void) {\n}\n__attribute__((constructor)) void three(void) {\n}\n"
    local found = {}
    for _, fn in ipairs(tidy.functions(text)) do
      found[#found + 1] = { fn.name, fn.static, fn.lines }
    end
    assert.same({ { "gate_one", false, 5 }, { "two", true, 2 }, { "three", false, 2 } }, found)
  end)

  it("long functions", function()
    hold("long_functions", {
      { nil, "a.c", short, 70 },
      { nil, "a.c", long, 70 },
      { "a.c:1: f has 71 lines", "a.c", too_long, 70 },
      { "a.c:4: f has 71 lines", "a.c", short .. too_long, 70 },
    })
    local body = ("  g()\n"):rep(69)
    hold("long_lua_functions", {
      { nil, "a.lua", "local function f(a)\n" .. body:sub(7) .. "end\n", 70 },
      { "a.lua:1: a function of 71", "a.lua", "local function f(a)\n" .. body .. "end\n", 70 },
      { "a.lua:1: a function of 71", "a.lua", "x = function(a)\n" .. body .. "end\n", 70 },
      { "a.lua:2: a function of 71", "a.lua", "--\nfunction x.y:z()\n" .. body .. "end\n", 70 },
    })
  end)

  it("long lines", function()
    hold("long_lines", {
      { nil, "a", ("x"):rep(100) .. "\n", 100 },
      { nil, "a", ("é"):rep(100) .. "\n", 100 },
      { "a:2: 101 columns", "a", "\n" .. ("x"):rep(101), 100 },
    })
  end)

  it("banned words", function()
    hold("banned_words", {
      { nil, "a.c", 'f("printf(", x); /* exit(1) */ snprintf(b); gate_free(b); c->free(d);' },
      { nil, "a.c", "void *p = realloc(q, 1); free(p);", true },
      { "a.c:2: calls printf", "a.c", "\nprintf(x);" },
      { "calls exit", "a.c", "exit (1);" },
      { "calls _exit", "a.c", "_exit(1);" },
      { "calls abort", "a.c", "abort();" },
      { "calls strcpy", "a.c", "strcpy(a, b);" },
      { "calls sprintf", "a.c", "sprintf(a, b);" },
      { "calls gets", "a.c", "gets(a);" },
      { "calls sprintf", "src/buf.c", "sprintf(a, b);", true },
      { "malloc: only", "a.c", "p = malloc(1);" },
      { "calloc: only", "a.c", "p = calloc(1, 2);" },
      { "realloc: only", "a.c", "p = realloc(p, 2);" },
      { "free: only", "a.c", "free(p);" },
      { "free: only", "a.c", "each(list, free);" },
    })
  end)

  it("layers", function()
    hold("layers", {
      { nil, "src/json.c", '#include "codec.h"\n#include "buf.h"\n#include <zlib.h>\n', layers },
      { nil, "src/shard.c", '#include "shard.h"\n#include "session.h"\n', layers },
      { nil, "src/lua_value.c", '#include "lua_core.h"\n#include "engine.h"\n', layers },
      { nil, "src/session.c", '/* #include "shard.h" */\n#include "report.h"\n', layers },
      { nil, "src/report.h", '#include "session.h"\n', layers },
      { nil, "src/sandbox.c", '#include "sandbox.h"\n#include "buf.h"\n', layers },
      { "(layer 4) includes shard.h (layer 5)", "src/session.c", '#include "shard.h"\n', layers },
      { "includes inflate.h", "src/json.c", '#include "inflate.h"\n', layers },
      { "includes lua_engine.h", "src/lua_core.c", '#include "lua_engine.h"\n', layers },
      { "has no layer", "src/else.c", "", layers },
      { "else.h, which has no layer", "src/buf.c", '#include "else.h"\n', layers },
      { "the sandbox includes session.h", "src/sandbox_wire.c", '#include "session.h"\n', layers },
      { "the sandbox includes queue.h", "src/lua_sandbox.c", '#include "queue.h"\n', layers },
      { "of the sandbox", "src/engine.c", '#include "sandbox.h"\n', layers },
    })
    local rows = {}
    for number = 0, 9 do rows[#rows + 1] = ("| %d | n%d.c/.h | why |\n"):format(number, number) end
    assert.same({ layer = 7, room = 8 }, tidy.read_layers(table.concat(rows)).n7)
    assert.is_nil(tidy.read_layers(table.concat(rows, "", 1, 9)))
  end)

  it("foreign headers", function()
    hold("foreign", {
      { nil, "src/transport.c", "#include <libwebsockets.h>\n#include <time.h>\n" },
      { nil, "src/inflate.c", "#include <zlib.h>\n#include <string.h>\n" },
      { nil, "src/lua_core.c", "#include <lauxlib.h>\n" },
      { "includes <libwebsockets.h>", "src/engine.c", "#include <libwebsockets.h>\n" },
      { "includes <libwebsockets.h>", "src/sandbox.c", "#include <libwebsockets.h>\n" },
      { "includes <lua.h>", "src/engine.c", "#include <lua.h>\n" },
      { "includes <zlib.h>", "src/session.c", "#  include <zlib.h>\n" },
      { "includes <time.h>", "src/heart.c", "#include <time.h>\n" },
      { "includes <pthread.h>", "src/shard.c", "#include <pthread.h>\n" },
      { "includes <sys/socket.h>", "src/session.h", "#include <sys/socket.h>\n" },
    })
  end)

  it("contracts", function()
    local code = "int gate_f(int a) {\n}\n"
    local rows = {
      { nil, "a.c", code, { "/* What f does. */\nint gate_f(int a);\n" } },
      { nil, "a.c", code, { "/* Both. */\nvoid gate_e(void);\nint gate_f(\n    int a);\n" } },
      { nil, "a.c", code, { "int gate_f(int a); /* beside it */\n" } },
      { nil, "a.c", "static int f(void) {\n}\n", {} },
      { "gate_f is neither", "a.c", code, { "int gate_g(int a);\n" } },
      { "gate_f is neither", "a.c", code, { "/* int gate_f(int a); */\n" } },
      { "gate_f has no comment", "a.c", code, { "int gate_f(int a);\n" } },
      { "gate_f has no comment", "a.c", code,
        { "/* Of e. */\nvoid e(void);\n\nint gate_f(int);" } },
    }
    for _, row in ipairs(rows) do row[4] = tidy.declarations(row[4]) end
    hold("contracts", rows)
  end)

  it("reasons", function()
    hold("reasons", {
      { nil, "m.h", "#define GATE_A 5 /* because of that */\n" },
      { nil, "m.h", "/* The reason\n * above. */\n#define GATE_A 5\n" },
      { nil, "m.h", "#define GATE_A 5 /* because of \\\n   that */\n#define GATE_F(x) (x)\n" },
      { "m.h:1: GATE_A has no reason", "m.h", "#define GATE_A 5\n" },
      { "m.h:2: GATE_B has no reason", "m.h",
        "#define GATE_A 5 /* of A only */\n#define GATE_B 6\n" },
      { "GATE_A has no reason", "m.h", "#define GATE_A 5 /* five */\n" },
    })
  end)

  it("shapes", function()
    local guard = "#ifndef MOONGATE_A_H\n#define MOONGATE_A_H\n"
    hold("header_shape", {
      { nil, "src/a.h", guard, 3 },
      { "has no guard MOONGATE_A_H", "src/a.h", "#pragma once\n", 3 },
      { "4 lines, at most 3", "src/a.h", guard .. "\n\n", 3 },
    })
    hold("first_comment", {
      { nil, "a.c", "/* What it is. */\nint a;\n" },
      { nil, "a.lua", "#!/usr/bin/env lua\n-- What it is.\n" },
      { "does not begin", "a.lua", "local a\n-- What it is.\n" },
    })
    hold("leftovers", {
      { nil, "a", "todo list; method; prefixme\n/usr/bin/env\n" },
      { "a:2: TO" .. "DO", "a", "\n-- TO" .. "DO: more\n" },
      { "a:1: FIX" .. "ME", "a", "/* FIX" .. "ME */" },
      { "a path of one machine: /ho" .. "me/a", "a", "open('/ho" .. "me/ada/x')" },
      { "a path of one machine", "a", "x = /ro" .. "ot/x" },
    })
  end)

  it("lists of files", function()
    local whole = { ".busted", "LICENSE", "Makefile", "README.md",
      "examples/echo.lua", "lua/moongate/init.lua", "moongate-scm-1.rockspec",
      "spec/buf_spec.lua", "src/buf.c" }
    local more = table.move(whole, 1, #whole, 1, {})
    more[#more + 1] = "notes.txt"
    hold("top", {
      { nil, whole },
      { "notes.txt does not belong", more },
      { "LICENSE is missing", { whole[1], table.unpack(whole, 3) } },
      { "rockspec is missing", { "LICENSE", "Makefile", "README.md", "examples/a", "lua/a",
        "spec/a", "src/b" } },
      { "bin/a does not belong", { "bin/a", table.unpack(whole) } },
    })
    local specs = { "spec/buf_spec.lua", "src/buf.c", "src/buf.h", "lua/moongate/init.lua" }
    local init = { init = { "buf_spec.lua", "for the sample" } }
    hold("specs", {
      { nil, specs, init },
      { "lua/moongate/init.lua: has no init_spec.lua", specs, {} },
      { "src/buf.c: has no buf_spec.lua", { "src/buf.c" }, {} },
      { "its spec nix_spec.lua is missing", { "src/a.c" }, { a = { "nix_spec.lua" } } },
      { "exception for gone has no file", { "src/buf.c", "spec/buf_spec.lua" },
        { gone = { "buf_spec.lua" } } },
    })
    local rock = 'build = { modules = { ["a.core"] = { sources = { "src/a.c" } },'
      .. ' a = "lua/a.lua" }, install = { bin = { a = "lua/cli.lua" } } }'
    local built = { "src/a.c", "lua/a.lua", "lua/cli.lua" }
    hold("rockspec", {
      { nil, rock, built },
      { "does not load", "build = {", built },
      { "does not build or install src/b.c", rock, { "src/b.c", table.unpack(built) } },
      { "does not build or install lua/b.lua", rock, { "lua/b.lua", table.unpack(built) } },
      { "names lua/cli.lua, which is not there", rock, { "src/a.c", "lua/a.lua" } },
    })
    local house = tidy.house_page("# m\n## The house\n`a.c/.h`, `b.lua`\n### more\n## next\nc.c\n")
    assert.is_nil(tidy.house_page("# m\n## Houses\n"))
    local there = { "src/a.c", "src/a.h", "lua/moongate/b.lua" }
    hold("house_files", {
      { nil, house, there },
      { "src/d.c is not mentioned", house, { "src/d.c", table.unpack(there) } },
      { "moongate/d.lua is not mentioned", house, { "lua/moongate/d.lua", table.unpack(there) } },
      { "b.lua is not there", house, { "src/a.c" } },
    })
  end)
end)

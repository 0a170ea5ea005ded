-- tidy.lua: the rules of the house that a machine can check, as functions over text. tidy_spec.lua
-- holds the tree against them and each of them against a good and a bad sample. Every rule takes
-- what it judges as arguments and returns a list of complaints, empty when there is nothing to say.

local tidy = {}

local function complain(list, ...)
  list[#list + 1] = string.format(...)
end

-- Iterates over (number, line) of a text.
local function each_line(text)
  if text:sub(-1) ~= "\n" then text = text .. "\n" end
  local number, rest = 0, text:gmatch("([^\n]*)\n")
  return function()
    local line = rest()
    number = number + 1
    if line then return number, line end
  end
end

local function line_of(text, position)
  return select(2, text:sub(1, position - 1):gsub("\n", "")) + 1
end

local function blank(text)
  return (text:gsub("[^\n]", " "))
end

-- C text with comments, strings and character constants made of blanks: same length, same lines.
-- Quotes stay where they are, so that an #include keeps its name when `keep_strings` is set.
function tidy.bare_c(text, keep_strings)
  local out, at = {}, 1
  while at <= #text do
    local from = text:find("[/\"']", at)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1)
    local to
    local pair, mark = text:sub(from, from + 1), text:sub(from, from)
    if pair == "/*" then
      to = select(2, text:find("*/", from + 2, true)) or #text
      out[#out + 1] = blank(text:sub(from, to))
    elseif pair == "//" then
      to = (text:find("\n", from, true) or #text + 1) - 1
      out[#out + 1] = blank(text:sub(from, to))
    elseif mark == "/" then
      to = from
      out[#out + 1] = "/"
    else
      to = from -- the quote that opens, then whatever ends at the next one of its kind
      repeat
        to = text:find("[\\\n" .. mark .. "]", to + 1) or #text
        local escaped = text:sub(to, to) == "\\"
        if escaped then to = to + 1 end
      until not escaped or to > #text
      local inside = text:sub(from + 1, to - 1)
      out[#out + 1] = mark .. (keep_strings and inside or blank(inside)) .. text:sub(to, to)
    end
    at = to + 1
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

-- The same without preprocessor lines, which have braces and names of their own.
local function declarations_only(text)
  local bare, out, inside = tidy.bare_c(text), {}, false
  for _, line in each_line(bare) do
    local directive = inside or line:match("^%s*#")
    inside = directive and line:match("\\$")
    out[#out + 1] = directive and blank(line) or line
  end
  return table.concat(out, "\n")
end

-- Pieces of C at file level: { head =, from =, to =, body = true for a definition with braces },
-- where from and to are line numbers and head is the text before the brace or semicolon.
local function top_level(text)
  local bare, pieces, at = declarations_only(text), {}, 1
  while true do
    local stop = bare:find("[;{]", at)
    if not stop then return pieces end
    local start = bare:find("%S", at)
    local piece = { head = bare:sub(start, stop - 1), from = line_of(bare, start) }
    if bare:sub(stop, stop) == "{" then
      local close = select(2, bare:find("%b{}", stop)) or #bare
      piece.body = piece.head:match("%)%s*$") ~= nil
      if not piece.body then
        stop = bare:find(";", close, true) or #bare
      else
        stop = close
      end
    end
    piece.to = line_of(bare, stop)
    pieces[#pieces + 1] = piece
    at = stop + 1
  end
end

-- The name of the function that a head declares; nil for anything else.
local function function_name(head)
  local plain = head:gsub("__attribute__%s*%b()", " "):gsub("^%s*GATE_%u[%u_]*%s", " ")
  if plain:match("^%s*typedef") or plain:match("=") then return nil end
  return plain:match("([%a_][%w_]*)%s*%(")
end

-- Every function of a C text: { name =, static =, lines =, from = }.
function tidy.functions(text)
  local list = {}
  for _, piece in ipairs(top_level(text)) do
    local name = piece.body and function_name(piece.head)
    if name then
      list[#list + 1] = {
        name = name,
        static = piece.head:match("%f[%w_]static%f[^%w_]") ~= nil,
        lines = piece.to - piece.from + 1,
        from = piece.from,
      }
    end
  end
  return list
end

-- Rule: a C function has at most `most` lines, from its first to its closing brace.
function tidy.long_functions(name, text, most)
  local bad = {}
  for _, fn in ipairs(tidy.functions(text)) do
    if fn.lines > most then
      complain(bad, "%s:%d: %s has %d lines, at most %d", name, fn.from, fn.name, fn.lines, most)
    end
  end
  return bad
end

-- Rule: the same for a Lua function, which ends at the `end` of its own indent.
function tidy.long_lua_functions(name, text, most)
  local bad, lines = {}, {}
  for _, line in each_line(text) do lines[#lines + 1] = line end
  for from, line in ipairs(lines) do
    local indent = line:match("^(%s*)[^-]*%f[%w_]function%f[^%w_][^()]*%b()%s*$")
    if indent then
      local to = from
      repeat to = to + 1 until not lines[to] or lines[to]:match("^" .. indent .. "end%f[^%w_]")
      if to - from + 1 > most then
        complain(bad, "%s:%d: a function of %d lines, at most %d", name, from, to - from + 1, most)
      end
    end
  end
  return bad
end

-- Rule: no line has more than `most` columns.
function tidy.long_lines(name, text, most)
  local bad = {}
  for number, line in each_line(text) do
    local columns = utf8.len(line) or #line
    if columns > most then
      complain(bad, "%s:%d: %d columns, at most %d", name, number, columns, most)
    end
  end
  return bad
end

-- Rule: src never calls what prints, ends the process, or writes without a bound.
local banned_calls = {
  printf = true, fprintf = true, vprintf = true, puts = true, perror = true,
  exit = true, _exit = true, _Exit = true, quick_exit = true, abort = true,
  strcpy = true, strcat = true, sprintf = true, vsprintf = true, gets = true,
}
local allocators = { malloc = true, calloc = true, realloc = true, free = true, strdup = true }

function tidy.banned_words(name, text, may_allocate)
  local bad, bare = {}, tidy.bare_c(text)
  for at, word, after in bare:gmatch("()%f[%w_]([%a_][%w_]*)%s*([%(%),])") do
    local before = bare:sub(math.max(1, at - 2), at - 1)
    local member = before:match("%.$") or before == "->"
    if not member and after == "(" and banned_calls[word] then
      complain(bad, "%s:%d: calls %s", name, line_of(bare, at), word)
    elseif not member and allocators[word] and not may_allocate then
      complain(bad, "%s:%d: %s: only buf.c allocates", name, line_of(bare, at), word)
    end
  end
  return bad
end

-- The quoted and the angled includes of a C text, as two lists.
function tidy.includes(text)
  local own, foreign, bare = {}, {}, tidy.bare_c(text, true)
  for _, line in each_line(bare) do
    own[#own + 1] = line:match('^%s*#%s*include%s*"([^"]*)"')
    foreign[#foreign + 1] = line:match("^%s*#%s*include%s*<([^>]*)>")
  end
  return own, foreign
end

-- The layers as a table from noun to { layer =, room = }, read from Markdown rows such as
-- `| 3 | session.c/.h, report.c/.h | ... |`: the files of one row are one room. Nil when there are
-- fewer than ten rows.
function tidy.read_layers(markdown)
  local layers, rows = {}, 0
  for _, line in each_line(markdown) do
    local number, names = line:match("^|%s*(%d+)%s*|([^|]*)|")
    if number then
      rows = rows + 1
      for noun in names:gmatch("([%w_]+)%.[ch]%f[^%w]") do
        layers[noun] = { layer = tonumber(number), room = rows }
      end
    end
  end
  return rows >= 10 and layers or nil
end

-- The same from a list of { number, noun, ... }.
function tidy.draw_layers(rows)
  local layers = {}
  for room, row in ipairs(rows) do
    for at = 2, #row do layers[row[at]] = { layer = row[1], room = room } end
  end
  return layers
end

-- Headers that all files of their layer share.
local shared_headers = { ["moongate.h"] = true, ["codec.h"] = true, ["machine.h"] = true,
  ["lua_core.h"] = true, ["lua_value.h"] = true, ["lua_lazy.h"] = true,
  ["lua_space.h"] = true, ["lua_compat.h"] = true }
-- The sandbox is the other end of the wire: it must not share a judgement with the core.
local core_only = { session = true, shard = true, queue = true, engine = true, transport = true,
  resolver = true, heart = true, budget = true, quota = true, pace = true, outbox = true }

local function is_sandbox(noun)
  return noun:match("^sandbox") or noun:match("^lua_sandbox")
end

-- Rule: a file includes only headers of a smaller layer, of its own room, or shared by its layer.
function tidy.layers(name, text, layers)
  local bad, noun = {}, name:match("([%w_]+)%.[ch]$")
  local own, mine = tidy.includes(text), layers[noun]
  if not mine and not is_sandbox(noun) then
    complain(bad, "%s: has no layer; put it into the table", name)
    return bad
  end
  for _, header in ipairs(own) do
    local other = header:match("([%w_]+)%.h$")
    local its = layers[other]
    if is_sandbox(noun) then
      if core_only[other] then complain(bad, "%s: the sandbox includes %s", name, header) end
    elseif is_sandbox(other) then
      complain(bad, "%s: includes %s of the sandbox", name, header)
    elseif not its then
      complain(bad, "%s: includes %s, which has no layer", name, header)
    elseif its.room ~= mine.room and its.layer >= mine.layer
      and not (its.layer == mine.layer and shared_headers[header]) then
      complain(bad, "%s (layer %d) includes %s (layer %d)", name, mine.layer, header, its.layer)
    end
  end
  return bad
end

-- What the pure core may see of the world: no socket, thread, clock, random device or Lua.
local pure_nouns = { moongate = true, codes = true, buf = true, text = true, budget = true,
  quota = true, heart = true, backoff = true, codec = true, json = true, json_lex = true,
  json_skip = true, json_read = true, etf = true, etf_lex = true, etf_read = true,
  transcode = true, inflate = true, event = true, outbox = true,
  pace = true, machine = true, payload = true, report = true, session = true, shard = true }
local pure_headers = { "assert.h", "ctype.h", "errno.h", "float.h", "inttypes.h", "limits.h",
  "locale.h", "math.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h",
  "string.h", "emmintrin.h", "immintrin.h", "arm_neon.h" }
for _, header in ipairs(pure_headers) do pure_headers[header] = true end

-- Which files may see a foreign library, as patterns over the file's noun.
local foreign_headers = {
  ["libwebsockets.h"] = { "^transport$" },
  ["zlib.h"] = { "^inflate$", "^etf$", "^sandbox", "^lua_core$" }, -- the last for its version
  ["zstd.h"] = { "^inflate$", "^sandbox", "^lua_core$" },
  ["zstd_errors.h"] = { "^inflate$" },
  ["sys/mman.h"] = { "^buf$", "^sandbox" },
  ["netdb.h"] = { "^resolver$", "^sandbox" },
  ["lua.h"] = { "^lua_" },
  ["lualib.h"] = { "^lua_" },
  ["lauxlib.h"] = { "^lua_" },
}

-- Rule: foreign headers stay where the house puts them, and the pure core stays pure.
function tidy.foreign(name, text)
  local bad, noun = {}, name:match("([%w_]+)%.[ch]$")
  local _, foreign = tidy.includes(text)
  for _, header in ipairs(foreign) do
    local patterns = foreign_headers[header]
    local allowed = not patterns and (pure_headers[header] or not pure_nouns[noun])
    for _, pattern in ipairs(patterns or {}) do
      allowed = allowed or noun:match(pattern) ~= nil
    end
    if not allowed then complain(bad, "%s includes <%s>", name, header) end
  end
  return bad
end

-- The names of all functions that a header declares, each true when a comment stands on its line,
-- above it, or above the block of declarations that it is part of.
local function declared(header)
  local lines, found, bare = {}, {}, {}
  for _, line in each_line(header) do lines[#lines + 1] = line end
  for _, line in each_line(tidy.bare_c(header)) do bare[#bare + 1] = line end
  for _, piece in ipairs(top_level(header)) do
    local name = not piece.body and function_name(piece.head)
    if name then
      local told = false
      for at = piece.from, piece.to do told = told or lines[at]:find("/*", 1, true) ~= nil end
      local at = piece.from - 1
      while not told and lines[at] and lines[at]:match("%S") do
        told = lines[at]:match("%*/%s*$") ~= nil
        if not told and bare[at]:match("^%s*#") then break end
        at = at - 1
      end
      found[name] = found[name] or told
      if not told and found[name] == nil then found[name] = false end
    end
  end
  return found
end

-- All of `headers`, a table from anything to text, at once.
function tidy.declarations(headers)
  local all = {}
  for _, header in pairs(headers) do
    for name, told in pairs(declared(header)) do all[name] = all[name] or told end
  end
  return all
end

-- Rule: what is not static is declared in a header, with its contract in a comment.
-- `declarations` comes from tidy.declarations.
function tidy.contracts(name, text, declarations)
  local bad = {}
  for _, fn in ipairs(tidy.functions(text)) do
    local told = declarations[fn.name]
    if fn.static then told = true end
    if told == nil then
      complain(bad, "%s:%d: %s is neither static nor in a header", name, fn.from, fn.name)
    elseif not told then
      complain(bad, "%s:%d: %s has no comment in its header", name, fn.from, fn.name)
    end
  end
  return bad
end

-- Rule: every #define with a number tells its reason, beside it or above it.
function tidy.reasons(name, text)
  local bad, above = {}, false
  local joined = text:gsub("\\\n%s*", "  ")
  for number, line in each_line(joined) do
    local limit = line:match("^#define%s+(GATE_[%u%d_]+)%s+%-?[%d(]")
    local beside = line:match("/%*%s*(.*)%*/") or line:match("/%*%s*(.*)")
    if limit and not above and not (beside and beside:match("%a+%s+%S")) then
      complain(bad, "%s:%d: %s has no reason beside it", name, number, limit)
    end
    above = line:match("%*/%s*$") and not limit
  end
  return bad
end

-- Rule: a header has a guard named after it and at most `most` lines.
function tidy.header_shape(name, text, most)
  local bad = {}
  local noun = name:match("([%w_]+)%.h$"):upper()
  local guard = noun == "MOONGATE" and "MOONGATE_H" or "MOONGATE_" .. noun .. "_H"
  if not text:find("#ifndef " .. guard .. "\n#define " .. guard .. "\n", 1, true) then
    complain(bad, "%s: has no guard %s", name, guard)
  end
  local lines = select(2, text:gsub("\n", ""))
  if most and lines > most then complain(bad, "%s: %d lines, at most %d", name, lines, most) end
  return bad
end

-- Rule: a file begins by saying what it is.
function tidy.first_comment(name, text)
  local body = text:gsub("^#![^\n]*\n", "")
  local bad = {}
  if not (body:match("^/%*") or body:match("^%-%-") or body:match("^//") or body:match("^# ")
    or body:match('^"""')) then
    complain(bad, "%s: does not begin with a comment that says what it is", name)
  end
  return bad
end

-- Rule: no unfinished notes, no paths of one machine. The words are put together here, so that
-- this file may be held against its own rule.
local notes = { "TO" .. "DO", "FIX" .. "ME", "X" .. "XX" }
local places = { "/ho" .. "me/%w", "/ro" .. "ot/", "/wo" .. "rk/%w", "/Us" .. "ers/%w" }

function tidy.leftovers(name, text)
  local bad = {}
  for number, line in each_line(text) do
    for _, word in ipairs(notes) do
      if line:find("%f[%w]" .. word .. "%f[^%w]") then
        complain(bad, "%s:%d: %s", name, number, word)
      end
    end
    for _, pattern in ipairs(places) do
      local found = line:match(pattern)
      if found then complain(bad, "%s:%d: a path of one machine: %s", name, number, found) end
    end
  end
  return bad
end

-- Rule: the top level holds what the house lists and nothing else.
local top_names = { src = true, lua = true, spec = true, examples = true,
  Makefile = true, ["README.md"] = true, LICENSE = true }

function tidy.top(files)
  local bad, seen = {}, {}
  for _, file in ipairs(files) do
    local first = file:match("^[^/]+")
    local rockspec = first:match("^moongate%-.*%.rockspec$")
    if rockspec then seen.rockspec = true else seen[first] = true end
    if not (top_names[first] or rockspec or first:match("^%.")) then
      complain(bad, "%s does not belong on the top level", file)
    end
  end
  for name in pairs(top_names) do
    if not seen[name] then complain(bad, "%s is missing", name) end
  end
  if not seen.rockspec then complain(bad, "the rockspec is missing") end
  table.sort(bad)
  return bad
end

-- Rule: every src noun and every Lua module has a spec of its name, or one named in `elsewhere`
-- (noun = { "other_spec.lua", "why" }); and `elsewhere` has no row that nobody needs.
function tidy.specs(files, elsewhere)
  local bad, have, nouns = {}, {}, {}
  for _, file in ipairs(files) do
    have[file:match("^spec/(.+)$") or ""] = true
    local noun = file:match("^src/([%w_]+)%.[ch]$") or file:match("^lua/moongate/([%w_/]+)%.lua$")
    if noun and not noun:match("^meta/") then nouns[noun] = file end
  end
  for noun, file in pairs(nouns) do
    local other = elsewhere[noun] or is_sandbox(noun) and { "sandbox_spec.lua" }
    if other and not have[other[1]] then
      complain(bad, "%s: its spec %s is missing", file, other[1])
    elseif not other and not have[noun .. "_spec.lua"] then
      complain(bad, "%s: has no %s_spec.lua", file, noun)
    end
  end
  for noun in pairs(elsewhere) do
    if not nouns[noun] then complain(bad, "the exception for %s has no file any more", noun) end
  end
  table.sort(bad)
  return bad
end

-- Rule: the rockspec builds every C file and installs every Lua file, and nothing else.
function tidy.rockspec(text, files)
  local bad, have, used, rock = {}, {}, {}, {}
  local chunk, why = load(text, "=rockspec", "t", rock)
  if not chunk then return { "the rockspec does not load: " .. why } end
  chunk()
  local function use(file)
    used[file] = true
  end
  for _, module in pairs(rock.build and rock.build.modules or {}) do
    if type(module) == "string" then
      use(module)
    else
      for _, file in ipairs(module.sources or module) do use(file) end
    end
  end
  for _, kind in pairs(rock.build and rock.build.install or {}) do
    for _, file in pairs(kind) do use(file) end
  end
  for _, file in ipairs(files) do
    have[file] = true
    if (file:match("^src/.*%.c$") or file:match("^lua/.*%.lua$")) and not used[file] then
      complain(bad, "the rockspec does not build or install %s", file)
    end
  end
  for file in pairs(used) do
    if not have[file] then complain(bad, "the rockspec names %s, which is not there", file) end
  end
  table.sort(bad)
  return bad
end

-- The part of the README that describes the house: from a heading with that word to the next
-- heading of the same or a higher level; nil when there is none.
function tidy.house_page(readme)
  local page, level
  for _, line in each_line(readme) do
    local marks, title = line:match("^(#+)%s+(.*)")
    if marks and page and #marks <= level then break end
    if marks and not page and title:lower():match("%f[%w]house%f[^%w]") then
      page, level = {}, #marks
    end
    if page then page[#page + 1] = line end
  end
  return page and table.concat(page, "\n")
end

-- Rule: that page names every file of src and lua, and no file that is not there.
function tidy.house_files(page, files)
  local bad, have = {}, {}
  for _, file in ipairs(files) do
    local base = file:match("[^/]+$")
    have[base] = true
    local noun, ext = base:match("^([%w_]+)%.(%l+)$")
    if file:match("^src/") and noun and not page:find("%f[%w_]" .. noun .. "%.[ch]") then
      complain(bad, "README, the house: %s is not mentioned", file)
    elseif file:match("^lua/moongate/[%w_]+%.lua$")
      and not page:find("%f[%w_]" .. noun .. "%." .. ext) then
      complain(bad, "README, the house: %s is not mentioned", file)
    end
  end
  for name in page:gmatch("%f[%w_][%w_]+%.%l+%f[^%w]") do
    local ext = name:match("%.(%l+)$")
    if (ext == "c" or ext == "h" or ext == "lua") and not have[name] then
      complain(bad, "README, the house: %s is not there", name)
    end
  end
  table.sort(bad)
  return bad
end

return tidy

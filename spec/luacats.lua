-- luacats.lua: reads annotations for editors, as far as lua/moongate/meta uses them: which classes
-- have which members, whether all tags and types are known, and whether a value is of a type. For
-- meta_spec.lua and interface_spec.lua.
--
-- A book: { classes = { [name] = { bases =, members = { [name] = { type =, parsed =, optional =,
-- method = true } }, calls = true when the table itself is called } }, aliases = { [name] = list of
-- parsed types }, overloads = { ["Class:method"] = list of texts }, wrong = list of words }.
--
-- A parsed type is a list of what it may be: { literal = value }, { name =, of = list of parsed
-- types }, { list = parsed type }, { fun = true }.

local luacats = {}

local BUILTIN = {}
for name in ([[any nil boolean string number integer function table userdata lightuserdata self
  true false]]):gmatch "%a+" do BUILTIN[name] = true end

local TAGS = {}
for name in ("meta class field alias param return overload generic"):gmatch "%a+" do
  TAGS[name] = true
end

-- ---- Types -------------------------------------------------------------------------------------

-- A type under way: { text =, at =, names = those that it mentions }.

local function fail(state, words)
  error({ words = ("%s in %q"):format(words, state.text) }, 0)
end

local function take(state, pattern)
  local from, to, found = state.text:find("^%s*(" .. pattern .. ")", state.at)
  if not from then return nil end
  state.at = to + 1
  return found
end

local parse_union

local function need(state, sign)
  if not take(state, "%" .. sign) then fail(state, "no " .. sign) end
end

local function parse_function(state)
  need(state, "(")
  while not take(state, "%)") do
    local name = take(state, "[%a_][%w_]*") or take(state, "%.%.%.")
    if not name then fail(state, "no )") end
    take(state, "%?")
    if take(state, ":") then parse_union(state) end
    take(state, ",")
  end
  if take(state, ":") then
    repeat parse_union(state) until not take(state, ",")
  end
  return { { fun = true } }
end

local function parse_name(state)
  local name = take(state, "[%a_][%w_.]*")
  if not name then fail(state, state.at > #state.text and "no type at the end" or "no type") end
  if name == "fun" and state.text:find("^%(", state.at) then return parse_function(state) end
  if name == "true" or name == "false" then return { { literal = name == "true" } } end
  state.names[#state.names + 1] = name
  local of = {}
  if take(state, "<") then
    repeat of[#of + 1] = parse_union(state) until not take(state, ",")
    need(state, ">")
  end
  return { { name = name, of = of } }
end

local function parse_unit(state)
  local found
  local word = take(state, '"[^"]*"')
  local number = not word and take(state, "%-?%d+")
  if word then
    found = { { literal = word:sub(2, -2) } }
  elseif number then
    found = { { literal = tonumber(number) } }
  elseif take(state, "%(") then
    found = parse_union(state)
    need(state, ")")
  else
    found = parse_name(state)
  end
  while true do
    if take(state, "%[%]") then
      found = { { list = found } }
    elseif take(state, "%?") then
      found[#found + 1] = { name = "nil", of = {} }
    else
      return found
    end
  end
end

function parse_union(state)
  local all = {}
  repeat
    for _, one in ipairs(parse_unit(state)) do all[#all + 1] = one end
  until not take(state, "|")
  return all
end

-- The type at the beginning of a text, the names in it, and what stands behind it.
local function parse(text)
  local state = { text = text, at = 1, names = {} }
  local parsed = parse_union(state)
  return parsed, state.names, text:sub(state.at)
end

-- ---- Reading -----------------------------------------------------------------------------------

-- A file under way: { book =, name =, line =, class = the one whose members follow, alias =, params
-- =, generics = set, overloads = }.

local function complain(page, words)
  table.insert(page.book.wrong, ("%s:%d: %s"):format(page.name, page.line, words))
end

-- Reads a type; behind it stands `rest`, a pattern for the whole of it.
local function read_type(page, text, rest)
  local fine, parsed, names, left = pcall(parse, text)
  if not fine then return complain(page, parsed.words or parsed) end
  page.book.types_judged = page.book.types_judged + 1
  if not left:find("^" .. rest .. "$") then complain(page, "words behind the type: " .. left) end
  for _, name in ipairs(names) do
    if not BUILTIN[name] and not page.generics[name] then
      table.insert(page.book.mentioned, { name = name, page = page.name, line = page.line })
    end
  end
  return parsed, left
end

local function add_member(page, name, member)
  if not page.class then return complain(page, "no class for " .. name) end
  if page.class.members[name] then complain(page, name .. " is there twice") end
  page.class.members[name] = member
end

local readers = {}

function readers.meta() end

readers["class"] = function(page, text)
  local name, bases = text:match "^([%w_.]+):?%s*(.*)$"
  if page.book.classes[name] then complain(page, name .. " is there twice") end
  page.class = { bases = {}, members = {} }
  page.book.classes[name], page.class_name = page.class, name
  for base in bases:gmatch "[%w_.]+" do
    page.class.bases[#page.class.bases + 1] = base
    read_type(page, base, "")
  end
end

function readers.field(page, text)
  local name, rest = text:match '^%["([%w_]+)"%]%s+(.*)$'
  if not name then name, rest = text:match "^(%b[])%s+(.*)$" end
  local mark
  if not name then name, mark, rest = text:match "^([%a_][%w_]*)(%??)%s+(.*)$" end
  if not name then return complain(page, "no field: " .. text) end
  add_member(page, name, {
    type = rest, parsed = read_type(page, rest, ""), optional = mark == "?",
  })
end

function readers.alias(page, text)
  local name, rest = text:match "^([%w_.]+)%s*(.*)$"
  page.alias = {}
  page.book.aliases[name] = page.alias
  if rest ~= "" then page.alias[1] = read_type(page, rest, "") end
end

function readers.param(page, text)
  local name, rest = text:match "^([%w_.]+)%??%s+(.*)$"
  page.params[#page.params + 1] = name
  read_type(page, rest, "")
end

readers["return"] = function(page, text)
  read_type(page, text, "%s+[%a_]+")
end

function readers.overload(page, text)
  read_type(page, text, "")
  if page.in_class then page.class.calls = true end
  page.overloads[#page.overloads + 1] = text
end

function readers.generic(page, text)
  page.generics[text] = true
end

local function forget(page)
  page.params, page.generics, page.overloads = {}, {}, {}
end

local function read_function(page, line)
  local sign, name, arguments = line:match "^function [%w_]+([.:])([%w_]+)%((.-)%)"
  if not name then return end
  if table.concat(page.params, ", ") ~= arguments then
    complain(page, ("%s has the parameters %s, annotated are %s"):format(name, arguments,
      table.concat(page.params, ", ")))
  end
  add_member(page, name, { type = "function", method = true })
  local class = page.class_name and page.class_name:match "(%w+)$" or ""
  page.book.overloads[class .. sign .. name] = page.overloads
  forget(page)
end

local function read_line(page, line)
  local tag, text = line:match "^%-%-%-@(%a+)%s*(.*)$"
  local choice = line:match "^%-%-%-|%s*(.*)$"
  if tag == "class" then page.in_class = true end
  if tag == nil and not line:find "^%-%-%-" then page.in_class = false end
  if tag and not TAGS[tag] then
    complain(page, "no tag @" .. tag)
  elseif tag then
    readers[tag](page, text)
  elseif choice then
    local parsed = read_type(page, choice:gsub("%s+#.*$", ""), "")
    table.insert(page.alias, parsed)
  else
    read_function(page, line)
  end
end

--- Reads files: name -> text. What is wrong in them stands in the book.
function luacats.read(files)
  local book = { classes = {}, aliases = {}, overloads = {}, wrong = {}, mentioned = {},
    types_judged = 0 }
  for name, text in pairs(files) do
    local page = { book = book, name = name, line = 0 }
    forget(page)
    for line in (text .. "\n"):gmatch "([^\n]*)\n" do
      page.line = page.line + 1
      read_line(page, line)
    end
  end
  for _, one in ipairs(book.mentioned) do
    if not book.classes[one.name] and not book.aliases[one.name] then
      complain({ book = book, name = one.page, line = one.line }, "no type " .. one.name)
    end
  end
  return book
end

--- The files of a folder: name -> text.
function luacats.files(folder)
  local files = {}
  for name in io.popen("ls " .. folder):lines() do
    local file = assert(io.open(folder .. "/" .. name, "rb"))
    files[name] = file:read "a"
    file:close()
  end
  return files
end

--- The members of a class and of those that it continues.
function luacats.members(book, name)
  local all = {}
  local class = assert(book.classes[name], name)
  for _, base in ipairs(class.bases) do
    for key, member in pairs(luacats.members(book, base)) do all[key] = member end
  end
  for key, member in pairs(class.members) do all[key] = member end
  return all
end

--- The literals of an alias.
function luacats.literals(book, name)
  local list = {}
  for _, parsed in ipairs(book.aliases[name]) do
    for _, one in ipairs(parsed) do
      if one.literal ~= nil then list[#list + 1] = one.literal end
    end
  end
  return list
end

-- ---- Values ------------------------------------------------------------------------------------

local judge

local function judge_list(book, value, element, path)
  if type(value) ~= "table" then return { path .. " is no list" } end
  for i, one in ipairs(value) do
    local wrong = judge(book, one, element, ("%s[%d]"):format(path, i))
    if wrong[1] then return wrong end
  end
  return {}
end

local function judge_class(book, value, name, path)
  if type(value) ~= "table" then return { ("%s is no %s"):format(path, name) } end
  local wrong, members = {}, luacats.members(book, name)
  for key, member in pairs(members) do
    local one = value[tonumber(key:match "^%[(%d+)%]$") or key]
    if one == nil and not member.optional and not member.method and not key:find "^%[%a" then
      wrong[#wrong + 1] = ("%s.%s is missing"):format(path, key)
    elseif one ~= nil and member.parsed then
      for _, words in ipairs(judge(book, one, member.parsed, path .. "." .. key)) do
        wrong[#wrong + 1] = words
      end
    end
  end
  for key in next, value do
    if type(key) == "string" and not members[key] then
      wrong[#wrong + 1] = ("%s.%s is not annotated"):format(path, key)
    end
  end
  table.sort(wrong)
  return wrong
end

local function judge_one(book, value, one, path)
  if one.literal ~= nil then
    return value == one.literal and {} or { ("%s is %s"):format(path, tostring(value)) }
  elseif one.fun then
    return type(value) == "function" and {} or { path .. " is no function" }
  elseif one.list then
    return judge_list(book, value, one.list, path)
  elseif book.classes[one.name] then
    return judge_class(book, value, one.name, path)
  elseif book.aliases[one.name] then
    local all = {}
    for _, parsed in ipairs(book.aliases[one.name]) do
      table.move(parsed, 1, #parsed, #all + 1, all)
    end
    return judge(book, value, all, path)
  end
  local kind = math.type(value) == "integer" and "integer" or type(value)
  local fine = one.name == "any" or kind == one.name or type(value) == one.name
  return fine and {} or { ("%s is no %s but %s"):format(path, one.name, tostring(value)) }
end

function judge(book, value, parsed, path)
  local wrong
  for _, one in ipairs(parsed) do
    local found = judge_one(book, value, one, path)
    if not found[1] then return found end
    wrong = wrong or found
  end
  return wrong
end

--- Whether a value is of a type, given as text: a list of what is wrong.
function luacats.judge(book, value, what)
  return judge(book, value, (parse(what)), what)
end

return luacats

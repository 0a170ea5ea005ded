/* lua_walk.c - Lua values into any sink: gate_lua_encode. On the thread of the lua_State. Allocates
 * nothing but what lazy tables take, in a protected call, and runs no Lua code, so it never raises;
 * when it refuses a value it tells which one. */
#include <math.h>

#include "lua_space.h"
#include "lua_value.h"
#include "text.h"

/* ---- The walker: where it is ---------------------------------------------------------------- */

/* One step of the path from the root to the value that is being sent. */
struct step {
    int key; /* index of the key on the stack, or 0: */
    int nth; /* the place in a list */
};

struct walker {
    lua_State *L;
    const struct gate_sink *sink;
    void *to;
    int mark; /* index of the array mark; the metatable of lazy tables is above it */
    char *where;
    size_t where_bytes, where_len;
    int depth;
    struct step steps[GATE_DEPTH_MAX];
};

/* A key and a value for each level, and what one step needs. */
#define STACK_PLACES (2 * GATE_DEPTH_MAX + 10)

#define REASON_BYTES   96 /* kept free behind the path for what is wrong */
#define NAME_BYTES_MAX 40 /* of a key in the path */

static void say(struct walker *walker, const char *text, size_t len) {
    size_t room = walker->where_bytes - walker->where_len;
    if (len >= room) len = room ? room - 1 : 0;
    if (room == 0) return;
    memcpy(walker->where + walker->where_len, text, len);
    walker->where_len += len;
    walker->where[walker->where_len] = '\0';
}

/* Keys may hold anything, and end up in messages: what is not printable becomes a question mark. */
static size_t print_key(struct walker *walker, int index, char out[NAME_BYTES_MAX + 1]) {
    size_t len;
    const char *key = lua_tolstring(walker->L, index, &len);
    size_t dot = walker->where_len > 0;
    if (len > NAME_BYTES_MAX) len = NAME_BYTES_MAX;
    out[0] = '.';
    for (size_t i = 0; i < len; i++) out[dot + i] = key[i] >= ' ' && key[i] <= '~' ? key[i] : '?';
    return dot + len;
}

static size_t print_nth(int nth, char out[NAME_BYTES_MAX + 1]) {
    out[0] = '[';
    size_t len = 1 + gate_text_from_integer(nth, out + 1);
    out[len++] = ']';
    return len;
}

static void say_path(struct walker *walker) {
    for (int i = 0; i < walker->depth; i++) {
        char text[NAME_BYTES_MAX + 1];
        const struct step *step = &walker->steps[i];
        if (!step->key && !step->nth) break; /* the table itself is the culprit */
        size_t len = step->key ? print_key(walker, step->key, text) : print_nth(step->nth, text);
        if (walker->where_len + len + REASON_BYTES > walker->where_bytes) {
            say(walker, "...", 3);
            break;
        }
        say(walker, text, len);
    }
    if (walker->where_len) say(walker, ": ", 2);
}

/* Tells the culprit: "d.embeds[3].title: " "a " "function" " cannot be sent". */
static int refuse(struct walker *walker, int error, const char *article, const char *what) {
    static const char cannot[] = " cannot be sent";
    say_path(walker);
    say(walker, article, strlen(article));
    say(walker, what, strlen(what));
    say(walker, cannot, sizeof cannot - 1);
    return error;
}

/* An error of the sink has no culprit but the whole. */
static int pass_on(struct walker *walker, int rc) {
    if (rc >= 0) return rc;
    walker->depth = 0;
    say_path(walker);
    say(walker, gate_error_text(rc), strlen(gate_error_text(rc)));
    return rc;
}

/* ---- The walker: values --------------------------------------------------------------------- */

#define INTEGER_END 9007199254740992 /* 2^53, as in codec.h: integers from here on are text */

static int walk_integer(struct walker *walker, int64_t value) {
    if (value > -INTEGER_END && value < INTEGER_END)
        return pass_on(walker, walker->sink->integer(walker->to, value));
    char digits[GATE_INTEGER_TEXT_MAX];
    struct gate_span text = {digits, gate_text_from_integer(value, digits)};
    return pass_on(walker, walker->sink->text(walker->to, text));
}

static int walk_number(struct walker *walker, int index) {
#if GATE_LUA_INTEGERS
    if (lua_isinteger(walker->L, index))
        return walk_integer(walker, lua_tointeger(walker->L, index));
#endif
    double value = lua_tonumber(walker->L, index);
    if (value != value) return refuse(walker, GATE_EVALUE, "", "nan");
    if (value - value != 0) return refuse(walker, GATE_EVALUE, "", "an infinite number");
    bool minus_zero = value == 0 && signbit(value);
    if (fabs(value) < INTEGER_END && value == floor(value) && !minus_zero)
        return walk_integer(walker, (int64_t)value);
    return pass_on(walker, walker->sink->number(walker->to, value));
}

static int walk_string(struct walker *walker, int index,
                       int (*take)(void *to, struct gate_span text)) {
    struct gate_span text;
    text.data = lua_tolstring(walker->L, index, &text.len);
    if (!gate_text_is_utf8(text)) return refuse(walker, GATE_EUTF8, "text that is not UTF-8", "");
    return pass_on(walker, take(walker->to, text));
}

static int walk_value(struct walker *walker, int index);

#define ODD_LIST "a list with holes or other keys"

static int walk_list(struct walker *walker, int table, int items) {
    lua_State *L = walker->L;
    struct step *step = &walker->steps[walker->depth - 1];
    int rc = pass_on(walker, walker->sink->open_list(walker->to));
    for (int i = 1; rc == GATE_OK && i <= items; i++) {
        lua_rawgeti(L, table, i);
        step->nth = 0;
        if (lua_isnil(L, -1)) return refuse(walker, GATE_EVALUE, "", ODD_LIST);
        step->nth = i;
        rc = walk_value(walker, table + 1);
        lua_settop(L, table);
    }
    return rc < 0 ? rc : pass_on(walker, walker->sink->close_list(walker->to));
}

static int walk_pairs(struct walker *walker, int table) {
    lua_State *L = walker->L;
    struct step *step = &walker->steps[walker->depth - 1];
    lua_pushnil(L);
    while (lua_next(L, table)) {
        int key = table + 1;
        step->key = 0;
        if (lua_type(L, key) == LUA_TNUMBER) return refuse(walker, GATE_EVALUE, "", ODD_LIST);
        if (lua_type(L, key) != LUA_TSTRING)
            return refuse(walker, GATE_EVALUE, "a key that is no text but a ",
                          lua_typename(L, lua_type(L, key)));
        int rc = walk_string(walker, key, walker->sink->key);
        step->key = key;
        if (rc == GATE_OK) rc = walk_value(walker, key + 1);
        if (rc < 0) return rc;
        lua_settop(L, key);
    }
    return GATE_OK;
}

static int walk_map(struct walker *walker, int table) {
    int rc = pass_on(walker, walker->sink->open_map(walker->to));
    if (rc == GATE_OK) rc = walk_pairs(walker, table);
    return rc < 0 ? rc : pass_on(walker, walker->sink->close_map(walker->to));
}

/* Makes a lazy table, whose metatable is on top of the stack, plain; whatever goes wrong there. */
static int unfold(struct walker *walker, int table) {
    lua_State *L = walker->L;
    lua_rawgeti(L, -1, 1);
    lua_pushvalue(L, table);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) return GATE_OK;
    lua_settop(L, table);
    return refuse(walker, GATE_EVALUE, "", "a lazy table that could not be decoded");
}

/* Of all metatables two are known. *marked: it is a list even when it is empty. */
static int look_at_metatable(struct walker *walker, int table, bool *marked) {
    lua_State *L = walker->L;
    int rc = GATE_OK;
    *marked = false;
    if (!lua_getmetatable(L, table)) return GATE_OK;
    if (lua_rawequal(L, -1, walker->mark))
        *marked = true;
    else if (lua_rawequal(L, -1, walker->mark + 1))
        rc = unfold(walker, table);
    lua_settop(L, table);
    return rc;
}

static int count_keys(lua_State *L, int table) {
    int count = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        count++;
        lua_pop(L, 1);
    }
    return count;
}

/* A table with a length, or with the mark, is a list. Its length must then account for every key,
 * and walk_list finds each of 1 to n, so there is nothing else in it: what has holes is refused
 * wherever Lua happens to see its border. */
static int walk_table(struct walker *walker, int table) {
    if (walker->depth == GATE_DEPTH_MAX)
        return refuse(walker, GATE_EDEPTH, "a table nested so deeply (or in itself)", "");
    walker->steps[walker->depth++] = (struct step){0, 0};
    bool marked;
    int rc = look_at_metatable(walker, table, &marked);
    if (rc < 0) return rc;
    int items = (int)lua_rawlen(walker->L, table);
    bool list = items > 0 || marked;
    if (list && count_keys(walker->L, table) != items)
        rc = refuse(walker, GATE_EVALUE, "", ODD_LIST);
    else
        rc = list ? walk_list(walker, table, items) : walk_map(walker, table);
    walker->depth--;
    return rc;
}

static int walk_value(struct walker *walker, int index) {
    lua_State *L = walker->L;
    int type = lua_type(L, index);
    switch (type) {
    case LUA_TNIL: return pass_on(walker, walker->sink->null(walker->to));
    case LUA_TBOOLEAN:
        return pass_on(walker, walker->sink->boolean(walker->to, lua_toboolean(L, index) != 0));
    case LUA_TNUMBER: return walk_number(walker, index);
    case LUA_TSTRING: return walk_string(walker, index, walker->sink->text);
    case LUA_TTABLE:
        /* Its keys and values are expected right above it. */
        return walk_table(walker, index);
    default:
        if (gate_lua_is_null(L, index)) return pass_on(walker, walker->sink->null(walker->to));
        return refuse(walker, GATE_EVALUE, "a ", lua_typename(L, type));
    }
}

int gate_lua_encode(lua_State *L, int index, const struct gate_sink *sink, void *to, char *where,
                    size_t where_bytes) {
    struct walker walker;
    int base = lua_gettop(L);
    index = lua_absindex(L, index);
    walker.L = L;
    walker.sink = sink;
    walker.to = to;
    walker.where = where;
    walker.where_bytes = where ? where_bytes : 0;
    walker.where_len = walker.where_bytes ? strlen(where) : 0;
    walker.depth = 0;
    if (!lua_checkstack(L, STACK_PLACES)) return pass_on(&walker, GATE_EMEMORY);
    gate_lua_push_known_marks(L);
    walker.mark = base + 1;
    lua_pushvalue(L, index);
    int rc = walk_value(&walker, base + 3);
    lua_settop(L, base);
    return rc;
}

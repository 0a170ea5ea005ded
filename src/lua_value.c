/* lua_value.c - see lua_value.h. Two halves: the builder, a sink that makes Lua values, and the
 * walker, which drives any sink with one. On the thread of the lua_State.
 *
 * The builder keeps the members of open containers on the Lua stack and makes each table once its
 * size is known, so that no table ever grows by rehashing. Frames over Lua's stack, from below:
 *
 *   [workspace] [anchors] | [slot of outer] key value key [slot of inner] value value ...
 *
 * A slot holds nil until its table is made. When members pile up they are put into the table early,
 * so lists of any length take bounded stack. */
#include "lua_value.h"

#include <limits.h>
#include <math.h>

#include "text.h"

#define ARRAY_NAME "moongate.array" /* the mark's key in the registry, shared by all modules */

/* ---- Null and the array mark ------------------------------------------------------------------
 */

void gate_lua_push_null(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
}

bool gate_lua_is_null(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

static void push_array_mark(lua_State *L) {
    if (luaL_newmetatable(L, ARRAY_NAME)) {
        lua_pushliteral(L, ARRAY_NAME);
        lua_setfield(L, -2, "__name"); /* which Lua sets itself from 5.3 on */
    }
}

void gate_lua_mark_array(lua_State *L) {
    push_array_mark(L);
    lua_setmetatable(L, -2);
}

/* ---- The workspace -----------------------------------------------------------------------------
 */

/* Keys of objects come again and again: they are found here by their bytes, and their Lua strings
 * in the table of anchors, without hashing them anew. */
#define KEY_BITS      9 /* Discord's events have about 400 different keys */
#define KEYS          (1 << KEY_BITS)
#define KEY_BYTES_MAX 24 /* longer keys are rare and take the ordinary way */

struct known_key {
    uint64_t head, middle, tail; /* its bytes; the words overlap in short keys */
    size_t len;                  /* 0: free */
};

/* What outlives a call: a userdata in the registry, one for each lua_State. Memory of C belongs to
 * it, so an error of Lua in the middle of a value leaks nothing. */
struct workspace {
    struct gate_buf scratch; /* rewritten text while decoding, the result while encoding */
    bool busy;               /* in use; after a memory error it stays so and is replaced */
    struct known_key keys[KEYS];
};

#define ANCHORED_MARK                                                                              \
    (KEYS + 1) /* anchors: strings of the keys at 1..KEYS, then the array mark                     \
                */

static const char workspace_key; /* its address is the key in the registry */

static int free_workspace(lua_State *L) {
    struct workspace *space = lua_touserdata(L, 1);
    gate_buf_free(&space->scratch);
    return 0;
}

static struct workspace *create_workspace(lua_State *L) {
    struct workspace *space = lua_newuserdatauv(L, sizeof *space, 1);
    memset(space, 0, sizeof *space);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_workspace);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_createtable(L, ANCHORED_MARK, 0);
    push_array_mark(L);
    lua_rawseti(L, -2, ANCHORED_MARK);
    for (int i = KEYS; i > 0; i--) {
        lua_pushboolean(L, 0);
        lua_rawseti(L, -2, i);
    }
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &workspace_key);
    return space;
}

/* Pushes a workspace that nobody uses. Finalisers may decode while a value is being decoded: they
 * get a new one, which serves from then on. */
static struct workspace *push_workspace(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &workspace_key);
    struct workspace *space = lua_touserdata(L, -1);
    if (space && !space->busy) return space;
    lua_pop(L, 1);
    return create_workspace(L);
}

/* ---- The builder: what it stands on ------------------------------------------------------------
 */

#define PENDING_MAX                                                                                \
    1024                 /* members of one container on the stack before they move into its table  \
                          */
#define STACK_MAX   4096 /* and of all open ones; Lua 5.1 allows a C function 8000 places */
#define STACK_STEP  128  /* places asked of Lua at a time */
#define STACK_SLACK 8    /* places that one step may take without asking */

enum kind { ROOT, LIST, MAP };

struct frame {
    enum kind kind;
    int slot;                 /* index of the table, or of the nil in its place */
    int flush_at;             /* a stack this high has to be flushed */
    int count;                /* members already in the table */
    bool made;                /* the slot holds the table */
    bool twice;               /* a key has come twice: the pairs must be set in their order */
    uint64_t seen[KEYS / 64]; /* MAP: the numbers of the keys so far; equal keys have equal ones */
};

struct builder {
    lua_State *L;
    struct workspace *space;
    struct frame *frame; /* the innermost open container, or the root */
    int anchors;         /* index of the table of anchors */
    int base;            /* height of the stack below the value */
    int top;             /* height of the stack */
    int room;            /* height that is granted, less the slack */
    int limit;           /* the lower one of the frame's flush_at and room */
    bool keep_null, refuse_utf8;
    struct frame frames[GATE_DEPTH_MAX + 1]; /* the first is the root: no table, never flushed */
};

static inline void set_limit(struct builder *builder) {
    int flush_at = builder->frame->flush_at;
    builder->limit = flush_at < builder->room ? flush_at : builder->room;
}

/* Moves what is pending into the table; from the top, which needs no copies. Of equal keys the last
 * one counts, so then they go the longer way. */
static void flush_pairs(lua_State *L, const struct frame *frame, int pending) {
    int slot = frame->slot;
    if (!frame->twice) {
        for (int i = pending; i > 0; i -= 2) lua_rawset(L, slot);
        return;
    }
    for (int i = 1; i <= pending; i += 2) {
        lua_pushvalue(L, slot + i);
        lua_pushvalue(L, slot + i + 1);
        lua_rawset(L, slot);
    }
    lua_settop(L, slot);
}

/* Upwards, so that a table beyond its first size grows as an array. */
static void flush_more_items(lua_State *L, const struct frame *frame, int pending) {
    for (int i = 1; i <= pending; i++) {
        lua_pushvalue(L, frame->slot + i);
        lua_rawseti(L, frame->slot, frame->count + i);
    }
    lua_settop(L, frame->slot);
}

static void flush_first_items(lua_State *L, int slot, int pending) {
    for (int i = pending; i > 0; i--) lua_rawseti(L, slot, i);
}

static void flush(struct builder *builder) {
    lua_State *L = builder->L;
    struct frame *frame = builder->frame;
    int slot = frame->slot, pending = builder->top - slot;
    bool first = !frame->made;
    if (first) {
        bool map = frame->kind == MAP;
        lua_createtable(L, map ? 0 : pending, map ? pending / 2 : 0);
        lua_replace(L, slot);
        frame->made = true;
    }
    if (frame->kind == MAP)
        flush_pairs(L, frame, pending);
    else if (first)
        flush_first_items(L, slot, pending);
    else
        flush_more_items(L, frame, pending);
    frame->count += pending;
    builder->top = slot;
}

/* The stack has reached the limit. */
static int make_room(struct builder *builder) {
    if (builder->top >= builder->frame->flush_at) flush(builder);
    if (builder->top >= builder->room) {
        if (!lua_checkstack(builder->L, STACK_STEP + STACK_SLACK)) return GATE_EMEMORY;
        builder->room = builder->top + STACK_STEP;
    }
    set_limit(builder);
    return GATE_OK;
}

/* Counts the value that was just pushed. */
static inline int count_value(struct builder *builder) {
    return ++builder->top >= builder->limit ? make_room(builder) : GATE_OK;
}

/* ---- The builder: the sink ---------------------------------------------------------------------
 */

/* Takes back the key of an absent member. */
static inline int drop_key(struct builder *builder) {
    lua_settop(builder->L, -2);
    builder->top--;
    return GATE_OK;
}

static inline int build_null(struct builder *builder) {
    enum kind kind = builder->frame->kind;
    if (kind == MAP && !builder->keep_null) return drop_key(builder);
    if (kind == ROOT && !builder->keep_null)
        lua_pushnil(builder->L);
    else
        gate_lua_push_null(builder->L);
    return count_value(builder);
}

static inline int build_boolean(struct builder *builder, bool value) {
    lua_pushboolean(builder->L, value);
    return count_value(builder);
}

static inline int build_integer(struct builder *builder, int64_t value) {
#if GATE_LUA_INTEGERS
    lua_pushinteger(builder->L, value);
#else
    lua_pushnumber(builder->L, (lua_Number)value);
#endif
    return count_value(builder);
}

static inline int build_number(struct builder *builder, double value) {
    lua_pushnumber(builder->L, value);
    return count_value(builder);
}

static inline int build_text(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    lua_pushlstring(builder->L, text.data, text.len);
    return count_value(builder);
}

static inline int open_container(struct builder *builder, enum kind kind) {
    if (builder->frame == &builder->frames[GATE_DEPTH_MAX]) return GATE_EDEPTH;
    lua_pushnil(builder->L);
    int slot = ++builder->top;
    struct frame *frame = ++builder->frame;
    frame->kind = kind;
    frame->slot = slot;
    frame->count = 0;
    frame->made = false;
    frame->twice = false;
    if (kind == MAP) memset(frame->seen, 0, sizeof frame->seen);
    int crowded = builder->base + STACK_MAX - PENDING_MAX;
    frame->flush_at = slot < crowded ? slot + PENDING_MAX : slot + 2;
    set_limit(builder);
    return builder->top >= builder->limit ? make_room(builder) : GATE_OK;
}

static inline int close_container(struct builder *builder) {
    builder->top = builder->frame->slot - 1;
    builder->frame--;
    set_limit(builder);
    return count_value(builder);
}

static int build_open_list(struct builder *builder) {
    return open_container(builder, LIST);
}

static int build_close_list(struct builder *builder) {
    if (builder->top > builder->frame->slot || builder->frame->made) {
        flush(builder);
    } else { /* empty: it goes out as a list again */
        lua_State *L = builder->L;
        lua_createtable(L, 0, 0);
        lua_rawgeti(L, builder->anchors, ANCHORED_MARK);
        lua_setmetatable(L, -2);
        lua_replace(L, builder->frame->slot);
    }
    return close_container(builder);
}

static int build_open_map(struct builder *builder) {
    return open_container(builder, MAP);
}

static int build_close_map(struct builder *builder) {
    flush(builder);
    return close_container(builder);
}

/* Up to eight bytes in a word. Which of them count double does not matter: whoever compares words
 * compares the lengths too. */
static inline uint64_t load_word(const char *at, size_t len) {
    uint64_t word = 0;
    if (len >= 8) {
        memcpy(&word, at, 8);
    } else if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + len - 4, 4);
        word = (uint64_t)high << 32 | low;
    } else {
        for (size_t i = 0; i < len; i++) word = word << 8 | (unsigned char)at[i];
    }
    return word;
}

static inline struct known_key describe_key(struct gate_span text) {
    struct known_key key = {.head = load_word(text.data, text.len), .len = text.len};
    key.middle = text.len > 16 ? load_word(text.data + 8, 8) : 0;
    key.tail = text.len > 8 ? load_word(text.data + text.len - 8, 8) : 0;
    return key;
}

/* The number of a key, 0 to KEYS - 1. */
static inline int number_key(const struct known_key *key) {
    uint64_t hash = (key->head ^ key->tail * UINT64_C(0x9E3779B97F4A7C15) ^ key->len) *
                    UINT64_C(0xD6E8FEB86659FD93);
    return (int)(hash >> (64 - KEY_BITS));
}

static inline bool is_same_key(const struct known_key *a, const struct known_key *b) {
    return ((a->head ^ b->head) | (a->middle ^ b->middle) | (a->tail ^ b->tail) |
            (uint64_t)(a->len ^ b->len)) == 0;
}

#define COMPARE_MAX 64 /* pending members; above it comparing keys costs more than it saves */

/* The key on top has a number that was seen before: is it really the same key? */
static bool has_twin(struct builder *builder) {
    const struct frame *frame = builder->frame;
    if (builder->top - frame->slot > COMPARE_MAX) return true;
    for (int i = frame->slot + 1; i < builder->top; i += 2)
        if (lua_rawequal(builder->L, i, builder->top)) return true;
    return false;
}

/* The bytes are described last: until the string is anchored, Lua may run out of memory. */
static void learn_key(struct builder *builder, int number, const struct known_key *key,
                      struct gate_span text) {
    struct known_key *known = &builder->space->keys[number];
    lua_pushlstring(builder->L, text.data, text.len);
    if (text.len == 0 || text.len > KEY_BYTES_MAX) return;
    known->len = 0;
    lua_pushvalue(builder->L, -1);
    lua_rawseti(builder->L, builder->anchors, number + 1);
    *known = *key;
}

static inline int build_key(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    struct known_key key = describe_key(text);
    int number = number_key(&key);
    if (is_same_key(&key, &builder->space->keys[number]) && text.len - 1 < KEY_BYTES_MAX)
        lua_rawgeti(builder->L, builder->anchors, number + 1);
    else
        learn_key(builder, number, &key, text);
    builder->top++;
    uint64_t *seen = &builder->frame->seen[number / 64], bit = UINT64_C(1) << (number % 64);
    if (*seen & bit) builder->frame->twice = builder->frame->twice || has_twin(builder);
    *seen |= bit;
    return GATE_OK;
}

static inline bool skips_null(const struct builder *builder) {
    return !builder->keep_null && !builder->refuse_utf8;
}

#define READ_TO             struct builder
#define READ_CALL(name)     build_##name
#define READ_SKIPS_NULL(to) skips_null(to)
#include "json_read.h"

static int sink_null(void *to) {
    return build_null(to);
}
static int sink_boolean(void *to, bool value) {
    return build_boolean(to, value);
}
static int sink_integer(void *to, int64_t value) {
    return build_integer(to, value);
}
static int sink_number(void *to, double value) {
    return build_number(to, value);
}
static int sink_text(void *to, struct gate_span text) {
    return build_text(to, text);
}
static int sink_open_list(void *to) {
    return build_open_list(to);
}
static int sink_close_list(void *to) {
    return build_close_list(to);
}
static int sink_open_map(void *to) {
    return build_open_map(to);
}
static int sink_key(void *to, struct gate_span text) {
    return build_key(to, text);
}
static int sink_close_map(void *to) {
    return build_close_map(to);
}

static const struct gate_sink builder_sink = {
    .null = sink_null,
    .boolean = sink_boolean,
    .integer = sink_integer,
    .number = sink_number,
    .text = sink_text,
    .open_list = sink_open_list,
    .close_list = sink_close_list,
    .open_map = sink_open_map,
    .key = sink_key,
    .close_map = sink_close_map,
};

/* ---- Decoding ----------------------------------------------------------------------------------
 */

static void start_builder(struct builder *builder, lua_State *L, struct workspace *space,
                          const struct gate_lua_rules *rules) {
    builder->L = L;
    builder->space = space;
    builder->top = lua_gettop(L);
    builder->anchors = builder->top;
    builder->base = builder->top;
    builder->room = builder->top + STACK_STEP;
    builder->keep_null = rules && rules->keep_null;
    builder->refuse_utf8 = rules && rules->refuse_utf8;
    builder->frame = builder->frames;
    builder->frame->kind = ROOT;
    builder->frame->slot = builder->top;
    builder->frame->flush_at = INT_MAX;
    set_limit(builder);
}

static int read_json(struct builder *builder, struct gate_span value, size_t *at) {
    struct reader reader = {.at = value.data,
                            .end = value.data + value.len,
                            .scratch = &builder->space->scratch,
                            .to = builder};
    int rc = read_whole(&reader);
    if (at) *at = (size_t)(reader.at - value.data);
    return rc;
}

static int build(struct builder *builder, const struct gate_codec *codec, struct gate_span value,
                 size_t *at) {
    if (codec == &gate_json) return read_json(builder, value, at);
    if (at) *at = GATE_LUA_AT_UNKNOWN;
    return codec->walk(value, &builder_sink, builder, &builder->space->scratch);
}

int gate_lua_decode(lua_State *L, const struct gate_codec *codec, struct gate_span value,
                    const struct gate_lua_rules *rules, size_t *at) {
    struct builder builder;
    int base = lua_gettop(L);
    if (at) *at = GATE_LUA_AT_UNKNOWN;
    if (!lua_checkstack(L, STACK_STEP + 2 * STACK_SLACK)) return GATE_EMEMORY;
    struct workspace *space = push_workspace(L);
    lua_getiuservalue(L, -1, 1);
    start_builder(&builder, L, space, rules);
    space->busy = true;
    int rc = build(&builder, codec, value, at);
    space->busy = false;
    gate_buf_clear(&space->scratch, GATE_KEEP_BYTES_MAX);
    if (rc < 0) {
        lua_settop(L, base);
        return rc;
    }
    lua_replace(L, base + 1);
    lua_settop(L, base + 1);
    return GATE_OK;
}

/* ---- The walker: where it is -------------------------------------------------------------------
 */

/* One step of the path from the root to the value that is being sent. */
struct step {
    int key; /* index of the key on the stack, or 0: */
    int nth; /* the place in a list */
};

struct walker {
    lua_State *L;
    const struct gate_sink *sink;
    void *to;
    int mark; /* index of the array mark */
    char *where;
    size_t where_bytes, where_len;
    int depth;
    struct step steps[GATE_DEPTH_MAX];
};

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
    if (len > NAME_BYTES_MAX) len = NAME_BYTES_MAX;
    out[0] = '.';
    for (size_t i = 0; i < len; i++) out[i + 1] = key[i] >= ' ' && key[i] <= '~' ? key[i] : '?';
    return len + 1;
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

/* ---- The walker: values ------------------------------------------------------------------------
 */

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

static int walk_list(struct walker *walker, int table, int items) {
    lua_State *L = walker->L;
    struct step *step = &walker->steps[walker->depth - 1];
    int rc = pass_on(walker, walker->sink->open_list(walker->to));
    for (int i = 1; rc == GATE_OK && i <= items; i++) {
        lua_rawgeti(L, table, i);
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
        if (lua_type(L, key) == LUA_TNUMBER)
            return refuse(walker, GATE_EVALUE, "", "a list with holes or other keys");
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

static bool is_marked(struct walker *walker, int table) {
    if (!lua_getmetatable(walker->L, table)) return false;
    bool same = lua_rawequal(walker->L, -1, walker->mark) != 0;
    lua_pop(walker->L, 1);
    return same;
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

/* A table with a length, or with the mark, is a list; its length must then account for every key.
 * So a list with holes is refused wherever Lua happens to see its border. */
static int walk_table(struct walker *walker, int table) {
    if (walker->depth == GATE_DEPTH_MAX)
        return refuse(walker, GATE_EDEPTH, "a table nested so deeply (or in itself)", "");
    walker->steps[walker->depth++] = (struct step){0, 0};
    int items = (int)lua_rawlen(walker->L, table);
    bool list = items > 0 || is_marked(walker, table);
    int rc;
    if (list && count_keys(walker->L, table) != items)
        rc = refuse(walker, GATE_EVALUE, "", "a list with holes or other keys");
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

/* Pushes the array mark, or nil, without allocating anything. */
static void push_known_mark(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &workspace_key);
    if (lua_isnil(L, -1)) return;
    lua_getiuservalue(L, -1, 1);
    lua_rawgeti(L, -1, ANCHORED_MARK);
    lua_replace(L, -3);
    lua_pop(L, 1);
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
    /* A key and a value for each level, and what one step needs. */
    if (!lua_checkstack(L, 2 * GATE_DEPTH_MAX + STACK_SLACK)) return pass_on(&walker, GATE_EMEMORY);
    push_known_mark(L);
    walker.mark = base + 1;
    lua_pushvalue(L, index);
    int rc = walk_value(&walker, base + 2);
    lua_settop(L, base);
    return rc;
}

/* ---- For Lua -----------------------------------------------------------------------------------
 */

struct options {
    struct gate_lua_rules rules;
    const struct gate_codec *codec;
};

static int take_null(struct options *options, const char *word) {
    options->rules.keep_null = strcmp(word, "keep") == 0;
    return options->rules.keep_null || strcmp(word, "drop") == 0;
}

static int take_invalid_utf8(struct options *options, const char *word) {
    options->rules.refuse_utf8 = strcmp(word, "refuse") == 0;
    return options->rules.refuse_utf8 || strcmp(word, "pass") == 0;
}

static int take_encoding(struct options *options, const char *word) {
    options->codec = gate_codec_find(word);
    return options->codec != NULL;
}

static const struct option {
    const char *name;
    int (*take)(struct options *options, const char *word); /* false: no such word */
} option_table[] = {
    {"null", take_null}, {"invalid_utf8", take_invalid_utf8}, {"encoding", take_encoding}};

static void read_option(lua_State *L, const char *function, struct options *options) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    for (size_t i = 0; i < sizeof option_table / sizeof option_table[0]; i++) {
        if (strcmp(option_table[i].name, name) != 0) continue;
        if (word && option_table[i].take(options, word)) return;
        luaL_error(L, "%s: option '%s': '%s' is not possible", function, name,
                   word ? word : luaL_typename(L, -1));
    }
    luaL_error(L, "%s: unknown option '%s'", function, name);
}

static struct options read_options(lua_State *L, int index, const char *function) {
    struct options options = {.codec = &gate_json};
    if (lua_isnoneornil(L, index)) return options;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        read_option(L, function, &options);
        lua_pop(L, 1);
    }
    return options;
}

static int fail(lua_State *L, int error) {
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushstring(L, gate_error_name(error));
    return 3;
}

static void push_fault(lua_State *L, int error, size_t at, size_t len) {
    const char *text = gate_error_text(error);
    if (at == GATE_LUA_AT_UNKNOWN)
        lua_pushfstring(L, "decode: %s", text);
    else if (at == len)
        lua_pushfstring(L, "decode: %s: it ends after %d bytes", text, (int)len);
    else
        lua_pushfstring(L, "decode: %s at byte %d of %d", text, (int)at + 1, (int)len);
}

static int decode_value(lua_State *L) {
    struct gate_span text;
    size_t at;
    text.data = luaL_checklstring(L, 1, &text.len);
    struct options options = read_options(L, 2, "decode");
    int rc = gate_lua_decode(L, options.codec, text, &options.rules, &at);
    if (rc == GATE_OK) return 1;
    push_fault(L, rc, at, text.len);
    return fail(L, rc);
}

static int encode_value(lua_State *L) {
    struct gate_writer writer;
    char where[GATE_LUA_WHERE_BYTES] = "value";
    luaL_checkany(L, 1);
    struct options options = read_options(L, 2, "encode");
    struct workspace *space = push_workspace(L);
    space->busy = true;
    space->scratch.len = 0;
    int rc = options.codec->begin(&writer, &space->scratch, false);
    if (rc == GATE_OK)
        rc = gate_lua_encode(L, 1, options.codec->writer, &writer, where, sizeof where);
    if (rc == GATE_OK) lua_pushlstring(L, space->scratch.data, space->scratch.len);
    space->busy = false;
    gate_buf_clear(&space->scratch, GATE_KEEP_BYTES_MAX);
    if (rc == GATE_OK) return 1;
    lua_pushfstring(L, "encode: %s", where);
    return fail(L, rc);
}

/* array([t]): marks t, or a new table, as a list, and returns it. */
static int mark_array(lua_State *L) {
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    push_array_mark(L);
    if (lua_getmetatable(L, 1) && !lua_rawequal(L, -1, 2))
        return luaL_argerror(L, 1, "t has a metatable of its own");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

void gate_lua_value_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"array", mark_array}, {"decode", decode_value}, {"encode", encode_value}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    gate_lua_push_null(L);
    lua_setfield(L, -2, "null");
    push_workspace(L);
    lua_pop(L, 1);
}

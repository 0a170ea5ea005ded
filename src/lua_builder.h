/* lua_builder.h - the builder: the target that makes Lua values, and its cache of keys. On the
 * thread of the lua_State. Included by the lua_build*.c files, each of which compiles one reader
 * against it; a text without a .c file of its own, so everything in here is static.
 *
 * The builder keeps the members of open containers on the Lua stack and makes each table once its
 * size is known, so that no table ever grows by rehashing. The stack, from below:
 *
 *   [workspace] [anchors] | [slot of outer] key value key [slot of inner] value value ...
 *
 * A slot holds nil until its table is made. When members pile up they are put into the table early,
 * so lists of any length take bounded stack.
 *
 * The build_ functions are those of a sink (codec.h), with the builder as their target. */
#ifndef MOONGATE_LUA_BUILDER_H
#define MOONGATE_LUA_BUILDER_H

#include <limits.h>

#include "lua_key.h"
#include "lua_space.h"
#include "lua_value.h"
#include "text.h"

/* ---- The builder: what it stands on --------------------------------------------------------- */

#define PENDING_MAX                                                                                \
    1024                 /* members of one container on the stack before they move into its table  \
                          */
#define STACK_MAX   4096 /* and of all open ones; Lua 5.1 allows a C function 8000 places */
#define STACK_STEP  128  /* places asked of Lua at a time */
#define STACK_SLACK 8    /* places that one step may take without asking */

/* Left to itself the compiler makes calls of the short ways, and the long ones part of them. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

enum kind { ROOT, LIST, MAP };

struct frame {
    enum kind kind;
    int slot;                    /* index of the table, or of the nil in its place */
    int flush_at;                /* a stack this high has to be flushed */
    bool made;                   /* the slot holds the table */
    bool twice;                  /* a key has come twice: the pairs must be set in their order */
    int count;                   /* members already in the table */
    unsigned home;               /* the number of the key under which it all stands */
    unsigned last;               /* and of the one that was read last; of a list: as home */
    struct gate_next_keys *next; /* MAP: what may come now */
    uint64_t
        seen[GATE_KEYS / 64]; /* MAP: the numbers of the keys so far; equal keys have equal ones */
};

struct builder {
    lua_State *L;
    struct gate_lua_space *space;
    struct frame *frame;          /* the innermost open container, or the root */
    int anchors;                  /* index of the table of anchors */
    int base;                     /* height of the stack below the value */
    int top;                      /* height of the stack, with the member that is being read */
    int room;                     /* height that is granted, less the slack */
    int limit;                    /* the lower one of the frame's flush_at and room */
    struct gate_known_key *known; /* what find_known found */
    bool keep_null, refuse_utf8;
    struct frame frames[GATE_DEPTH_MAX + 1]; /* the first is the root: no table, never flushed */
};

static inline void set_limit(struct builder *builder) {
    int flush_at = builder->frame->flush_at;
    builder->limit = flush_at < builder->room ? flush_at : builder->room;
}

/* Moves what is pending into the table; from the top, which needs no copies. */
static __attribute__((noinline)) void flush_pairs(lua_State *L, int slot, int pending) {
    for (; pending > 0; pending -= 2) lua_rawset(L, slot);
}

/* Of equal keys the last one counts, so then they go the longer way. */
static void flush_in_order(lua_State *L, int slot, int pending) {
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
    if (frame->kind == MAP && frame->twice)
        flush_in_order(L, slot, pending);
    else if (frame->kind == MAP)
        flush_pairs(L, slot, pending);
    else if (first)
        flush_first_items(L, slot, pending);
    else
        flush_more_items(L, frame, pending);
    frame->count += pending;
    builder->top = slot;
}

/* The stack reaches the limit with the `places` that are counted, but not taken yet. */
static int make_room(struct builder *builder, int places) {
    builder->top -= places;
    if (builder->top >= builder->frame->flush_at) flush(builder);
    if (builder->top >= builder->room) {
        if (!lua_checkstack(builder->L, STACK_STEP + STACK_SLACK)) return GATE_EMEMORY;
        builder->room = builder->top + STACK_STEP;
    }
    set_limit(builder);
    builder->top += places;
    return GATE_OK;
}

/* Counts a member that is about to be pushed. */
static inline int count_member(struct builder *builder, int places) {
    builder->top += places;
    return builder->top >= builder->limit ? make_room(builder, places) : GATE_OK;
}

/* ---- The builder: the sink ------------------------------------------------------------------ */

/* Takes back the key of an absent member. */
static inline int drop_key(struct builder *builder) {
    lua_settop(builder->L, -2);
    builder->top -= 2;
    return GATE_OK;
}

/* A null that is to be dropped takes an earlier member of the same key with it. */
static inline int build_null(struct builder *builder) {
    enum kind kind = builder->frame->kind;
    if (kind == MAP && !builder->keep_null && !builder->frame->twice) return drop_key(builder);
    if (kind != LIST && !builder->keep_null)
        lua_pushnil(builder->L);
    else
        gate_lua_push_null(builder->L);
    return GATE_OK;
}

static inline int build_boolean(struct builder *builder, bool value) {
    lua_pushboolean(builder->L, value);
    return GATE_OK;
}

static inline int build_integer(struct builder *builder, int64_t value) {
#if GATE_LUA_INTEGERS
    lua_pushinteger(builder->L, value);
#else
    lua_pushnumber(builder->L, (lua_Number)value);
#endif
    return GATE_OK;
}

static inline int build_number(struct builder *builder, double value) {
    lua_pushnumber(builder->L, value);
    return GATE_OK;
}

static ALWAYS_INLINE int build_text(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    lua_pushlstring(builder->L, text.data, text.len);
    return GATE_OK;
}

/* An integer of 2^53 or more, which Lua gets as its digits. */
static inline int build_id(struct builder *builder, uint64_t id) {
    char digits[GATE_INTEGER_TEXT_MAX];
    size_t len = gate_text_from_natural(id, digits);
    lua_pushlstring(builder->L, digits, len);
    return GATE_OK;
}

static inline int open_container(struct builder *builder, enum kind kind) {
    if (builder->frame == &builder->frames[GATE_DEPTH_MAX]) return GATE_EDEPTH;
    lua_pushnil(builder->L);
    int slot = builder->top;
    unsigned home = builder->frame->last;
    struct frame *frame = ++builder->frame;
    frame->home = home;
    frame->last = home;
    frame->next = &builder->space->first[home];
    frame->kind = kind;
    frame->slot = slot;
    frame->count = 0;
    frame->made = false;
    frame->twice = false;
    if (kind == MAP) memset(frame->seen, 0, sizeof frame->seen);
    int crowded = builder->base + STACK_MAX - PENDING_MAX;
    frame->flush_at = slot < crowded ? slot + PENDING_MAX : slot + 2;
    set_limit(builder);
    return GATE_OK;
}

static inline int close_container(struct builder *builder) {
    builder->top = builder->frame->slot;
    builder->frame--;
    set_limit(builder);
    return GATE_OK;
}

static inline int build_item(struct builder *builder) {
    return count_member(builder, 1);
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
        lua_rawgeti(L, builder->anchors, GATE_ANCHORED_MARK);
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

#define COMPARE_MAX 64 /* pending members; above it comparing keys costs more than it saves */

/* The key on top has a number that was seen before: is it really the same key? Of those that are
 * in the table already nobody knows. */
static bool has_twin(struct builder *builder) {
    const struct frame *frame = builder->frame;
    int at = builder->top - 1;
    if (frame->made || at - frame->slot > COMPARE_MAX) return true;
    for (int i = frame->slot + 1; i < at; i += 2)
        if (lua_rawequal(builder->L, i, at)) return true;
    return false;
}

static inline bool was_seen(const struct frame *frame, unsigned number) {
    return frame->seen[number / 64] >> (number % 64) & 1;
}

/* The key of this number is on top. */
static ALWAYS_INLINE void see_key(struct builder *builder, unsigned number) {
    struct frame *frame = builder->frame;
    frame->last = number;
    uint64_t *word = &frame->seen[number / 64], seen = *word;
    *word = seen | UINT64_C(1) << (number % 64);
    if (seen >> (number % 64) & 1) frame->twice = frame->twice || has_twin(builder);
}

static inline void expect(struct gate_next_keys *next, struct gate_known_key *key) {
    if (next->likely == key) return;
    next->other = next->likely;
    next->likely = key;
}

/* Pushes the key, which is not counted yet, and returns its number. */
static unsigned push_key(struct builder *builder, struct gate_span text) {
    struct frame *frame = builder->frame;
    struct gate_known_key *key =
        gate_lua_push_key(builder->L, builder->space, builder->anchors, frame->home, text);
    if (!key) return gate_key_number(text);
    expect(frame->next, key);
    frame->next = &key->next;
    return key->number;
}

static inline int build_key(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    int rc = count_member(builder, 2);
    if (rc == GATE_OK) see_key(builder, push_key(builder, text));
    return rc;
}

/* True when a member of this key that is null leaves no trace, so that nobody need hear of it. */
static inline bool skips_null(struct builder *builder, struct gate_span text) {
    if (builder->keep_null || builder->refuse_utf8) return false;
    unsigned number = push_key(builder, text);
    lua_pop(builder->L, 1);
    return !was_seen(builder->frame, number);
}

/* ---- The builder: keys that were foreseen ---------------------------------------------------- */

/* How many bytes the key takes that was foreseen and is there, in JSON; 0: none is. */
static ALWAYS_INLINE size_t match_known(struct builder *builder, const char *at, size_t left) {
    struct gate_next_keys *next = builder->frame->next;
    struct gate_known_key *key = next->likely;
    size_t bytes = gate_key_match(key, at, left);
    if (bytes == 0) {
        key = next->other;
        bytes = gate_key_match(key, at, left);
        if (bytes) expect(next, key);
    }
    builder->known = key;
    return bytes;
}

/* Is this text of `len` bytes, of `left` more at `at`, a key that was foreseen? */
static ALWAYS_INLINE bool equals_known(struct builder *builder, const char *at, size_t left,
                                       size_t len) {
    struct gate_next_keys *next = builder->frame->next;
    struct gate_known_key *key = next->likely;
    bool equal = gate_key_equals(key, at, left, len);
    if (!equal) {
        key = next->other;
        equal = gate_key_equals(key, at, left, len);
        if (equal) expect(next, key);
    }
    builder->known = key;
    return equal;
}

/* As skips_null. The key counts as read. */
static inline bool skips_known_null(struct builder *builder) {
    if (builder->keep_null || was_seen(builder->frame, builder->known->number)) return false;
    builder->frame->next = &builder->known->next;
    return true;
}

static ALWAYS_INLINE int build_known(struct builder *builder) {
    struct gate_known_key *key = builder->known;
    int rc = count_member(builder, 2);
    if (rc < 0) return rc;
    lua_rawgeti(builder->L, builder->anchors, key->anchor);
    builder->frame->next = &key->next;
    see_key(builder, key->number);
    return GATE_OK;
}

/* ---- Its life -------------------------------------------------------------------------------- */

static inline void start_builder(struct builder *builder, lua_State *L,
                                 struct gate_lua_space *space, const struct gate_lua_rules *rules) {
    builder->L = L;
    builder->space = space;
    builder->anchors = lua_gettop(L);
    builder->base = builder->anchors;
    builder->top = builder->base + 1;
    builder->room = builder->base + STACK_STEP;
    builder->keep_null = rules && rules->keep_null;
    builder->refuse_utf8 = rules && rules->refuse_utf8;
    builder->frame = builder->frames;
    builder->frame->kind = ROOT;
    builder->frame->last = 0;
    builder->frame->slot = builder->base;
    builder->frame->flush_at = INT_MAX;
    set_limit(builder);
}

#endif

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

enum kind { ROOT, LIST, MAP };

struct frame {
    enum kind kind;
    int slot;     /* index of the table, or of the nil in its place */
    int flush_at; /* a stack this high has to be flushed */
    int count;    /* members already in the table */
    bool made;    /* the slot holds the table */
    int home;     /* the number of the key under which it all stands */
    int last;     /* and of the one that was read last; of a list: as home */
    bool twice;   /* a key has come twice: the pairs must be set in their order */
    uint64_t
        seen[GATE_KEYS / 64]; /* MAP: the numbers of the keys so far; equal keys have equal ones */
};

struct builder {
    lua_State *L;
    struct gate_lua_space *space;
    struct frame *frame; /* the innermost open container, or the root */
    int anchors;         /* index of the table of anchors */
    int base;            /* height of the stack below the value */
    int top;             /* height of the stack */
    int room;            /* height that is granted, less the slack */
    int limit;           /* the lower one of the frame's flush_at and room */
    int known;           /* the number of the key that find_known found */
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

/* ---- The builder: the sink ------------------------------------------------------------------ */

/* Takes back the key of an absent member. */
static inline int drop_key(struct builder *builder) {
    lua_settop(builder->L, -2);
    builder->top--;
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

static inline __attribute__((always_inline)) int build_text(struct builder *builder,
                                                            struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    lua_pushlstring(builder->L, text.data, text.len);
    return count_value(builder);
}

static inline int open_container(struct builder *builder, enum kind kind) {
    if (builder->frame == &builder->frames[GATE_DEPTH_MAX]) return GATE_EDEPTH;
    lua_pushnil(builder->L);
    int slot = ++builder->top;
    int home = builder->frame->last;
    struct frame *frame = ++builder->frame;
    frame->home = home;
    frame->last = kind == MAP ? 0 : home;
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

/* The key on top has a number that was seen before: is it really the same key? */
static bool has_twin(struct builder *builder) {
    const struct frame *frame = builder->frame;
    if (builder->top - frame->slot > COMPARE_MAX) return true;
    for (int i = frame->slot + 1; i < builder->top; i += 2)
        if (lua_rawequal(builder->L, i, builder->top)) return true;
    return false;
}

/* The key of this number is on top. */
static inline __attribute__((always_inline)) void count_key(struct builder *builder, int number) {
    struct frame *frame = builder->frame;
    builder->top++;
    frame->last = number;
    uint64_t *seen = &frame->seen[number / 64], bit = UINT64_C(1) << (number % 64);
    if (*seen & bit) frame->twice = frame->twice || has_twin(builder);
    *seen |= bit;
}

/* Pushes the key, which is not counted yet, and returns its number. */
static inline int push_key(struct builder *builder, struct gate_span text) {
    struct frame *frame = builder->frame;
    int number = gate_lua_push_key(builder->L, builder->space, builder->anchors, text);
    *gate_lua_next_key(builder->space, (unsigned)frame->home, (unsigned)frame->last) =
        (uint16_t)number;
    return number;
}

static inline int build_key(struct builder *builder, struct gate_span text) {
    if (builder->refuse_utf8 && !gate_text_is_utf8(text)) return GATE_EUTF8;
    count_key(builder, push_key(builder, text));
    return GATE_OK;
}

static inline bool was_seen(const struct frame *frame, int number) {
    return frame->seen[number / 64] >> (number % 64) & 1;
}

/* True when a member of this key that is null leaves no trace, so that nobody need hear of it. */
static inline bool skips_null(struct builder *builder, struct gate_span text) {
    if (builder->keep_null || builder->refuse_utf8) return false;
    int number = push_key(builder, text);
    lua_pop(builder->L, 1);
    if (was_seen(builder->frame, number)) return false;
    builder->frame->last = number;
    return true;
}

/* ---- The builder: keys that were foreseen ---------------------------------------------------- */

/* The one that is likely. */
static inline const struct gate_written_key *foresee_key(struct builder *builder) {
    const struct frame *frame = builder->frame;
    builder->known =
        *gate_lua_next_key(builder->space, (unsigned)frame->home, (unsigned)frame->last);
    return &builder->space->written[builder->known];
}

/* As skips_null. The key counts as read. */
static inline bool skips_known_null(struct builder *builder) {
    if (builder->keep_null || was_seen(builder->frame, builder->known)) return false;
    builder->frame->last = builder->known;
    return true;
}

static inline __attribute__((always_inline)) void take_known(struct builder *builder) {
    lua_rawgeti(builder->L, builder->anchors, builder->known + 1);
    count_key(builder, builder->known);
}

/* ---- Its life -------------------------------------------------------------------------------- */

static inline void start_builder(struct builder *builder, lua_State *L,
                                 struct gate_lua_space *space, const struct gate_lua_rules *rules) {
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
    builder->frame->last = 0;
    builder->frame->slot = builder->top;
    builder->frame->flush_at = INT_MAX;
    set_limit(builder);
}

#endif

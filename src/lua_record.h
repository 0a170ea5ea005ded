/* lua_record.h - an event of an engine as userdata. Included by lua_record.c, lua_serve.c and
 * lua_engine.c, on the thread of the lua_State. gate_record_use wants the engine at index 1. */
#ifndef MOONGATE_LUA_RECORD_H
#define MOONGATE_LUA_RECORD_H

#include "lua_engine.h"

#define GATE_LUA_SPARE 1 /* the user value of an engine: a record that is free to be used again */

enum gate_record_state {
    GATE_RECORD_FREE,
    GATE_RECORD_FRESH,
    GATE_RECORD_DECODED,
    GATE_RECORD_BROKEN
};

struct gate_record {
    const void *tag;         /* told from other userdata without a look-up */
    struct gate_event event; /* owned unless free; a free one may still have memory to be used */
    enum gate_record_state state;
    bool has_raw, has_lazy; /* the user values are there */
    struct gate_buf text;   /* while JSON is made of another encoding */
    int error;              /* why it is broken */
    struct gate_lua_rules rules;
};

/* Pushes the record at index 2, which is done with, or a free one where that is nil; raises for
 * anything else. May raise Lua's memory error. */
struct gate_record *gate_record_use(lua_State *L);

/* It has an event of that engine now. */
static inline void gate_record_fill(struct gate_record *record, struct gate_engine_box *box) {
    record->state = GATE_RECORD_FRESH;
    record->rules = box->rules;
    box->seq = record->event.seq;
}

/* Frees the record at `index`. `forget` lets the event keep its memory, for who fills it again. */
void gate_record_forget(lua_State *L, int index, struct gate_record *record);
void gate_record_release(lua_State *L, int index, struct gate_record *record);

/* Pushes the data as a string of JSON, "" where there is none; or pushes nothing and returns what
 * gate_transcode does. */
GATE_MUST_CHECK int gate_record_json(lua_State *L, struct gate_record *record);

/* Whether decoding it takes so long that others should have their turn before. */
bool gate_record_is_large(const struct gate_record *record);

/* Makes the class; adds to the methods of the engine, on top of the stack, those that give events
 * (lua_serve.c). */
void gate_lua_record_open(lua_State *L);
void gate_lua_serve_open(lua_State *L);

#endif

/* lua_index.h - where the members of one container stand in the text of an event, of either
 * encoding, without reading them. Called by lua_lazy.c on the thread of the lua_State. Pure: what
 * it is given stays where it is, and nothing is kept. */
#ifndef MOONGATE_LUA_INDEX_H
#define MOONGATE_LUA_INDEX_H

#include "codec.h"
#include "moongate.h"

/* A member of a container. */
struct gate_member {
    uint32_t tag;     /* MAP: from the hash of its key */
    uint32_t key_at;  /* MAP: the first byte of its key */
    uint32_t key_len; /* MAP: of its key */
    uint32_t value_at : 31;
    uint32_t taken : 1; /* of lua_lazy.c */
};

/* The members of one container as they are found. */
struct gate_index {
    struct gate_span text;       /* of the whole event, at most INT32_MAX bytes */
    bool refuse_utf8;            /* in keys */
    struct gate_member *members; /* `room` of them, of the caller */
    uint32_t room;
    uint32_t count;   /* found; of a list there may be more than there is room for */
    bool list;        /* found: it is no map */
    uint32_t end;     /* found: the byte behind the container */
    uint64_t seen[4]; /* a bit for some of each tag: equal tags have equal ones */
};

enum gate_sight { GATE_SIGHT_CONTAINER, GATE_SIGHT_NULL, GATE_SIGHT_TEXT, GATE_SIGHT_OTHER };

struct gate_indexer {
    const struct gate_codec *codec;

    /* Finds the members of the container at `at`, for which it sets what is found. GATE_AGAIN: it
     * is better decoded whole, as a key has to be rewritten, or comes twice, or there are too many.
     * GATE_ESYNTAX, GATE_EDEPTH, GATE_EUTF8. What the members hold is only skipped. */
    GATE_MUST_CHECK int (*find)(struct gate_index *index, size_t at);

    /* Steps over the value at `at`, up to *behind. GATE_ESYNTAX, GATE_EDEPTH. */
    GATE_MUST_CHECK int (*skip)(struct gate_span text, size_t at, size_t *behind);

    /* What stands at `at`. A text that is there as it is goes into *out. */
    enum gate_sight (*look)(struct gate_span text, size_t at, struct gate_span *out);

    /* Does it begin a map, or a list of containers? */
    bool (*nests)(struct gate_span value);
};

extern const struct gate_indexer gate_indexer_json;
extern const struct gate_indexer gate_indexer_etf;

/* The tag of a key. */
uint32_t gate_index_tag(struct gate_span key);

/* Is it the key of this member of `text`? The tags are compared by the caller. */
bool gate_index_is(struct gate_span text, const struct gate_member *member, struct gate_span key);

/* Adds a member of a map; `key` is a part of the text. Room is there. GATE_AGAIN: the key is there
 * already. Of both values only the last one counts, but each has to be read to know whether it is
 * one. */
GATE_MUST_CHECK int gate_index_add(struct gate_index *index, struct gate_span key, size_t value_at);

/* Counts an element of a list, and keeps it while there is room. */
void gate_index_count(struct gate_index *index, size_t value_at);

#endif

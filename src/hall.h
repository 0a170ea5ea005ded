/* hall.h - where the shards of one engine stand in line, whatever thread they are on: for an
 * identify slot (budget.h) and for a place at the door (door.h). Made by crew.c; called by seat.c,
 * command.c and loop.c on every I/O thread of the engine, and where it says so by engine.c on the
 * Lua thread. The lock covers a few moves; nothing here waits. */
#ifndef MOONGATE_HALL_H
#define MOONGATE_HALL_H

#include <pthread.h>

#include "budget.h"
#include "buf.h"
#include "door.h"

/* Embedded in whatever stands for a shard. */
struct gate_visitor {
    struct gate_slot slot; /* the hall's, as is the next */
    struct gate_guest guest;
    bool placed;  /* the thread's: it stands in line at the door, or has gone through */
    bool waits;   /* the thread's: it stands in line at the door */
    void *thread; /* whose shard it is; constant */
};

struct gate_hall {
    /* Tells another thread that one of its shards may go on. Called with the lock held. */
    void (*wake)(void *thread);
    pthread_mutex_t lock; /* of everything below */
    struct gate_slots slots;
    struct gate_door door;
    struct gate_buf coming; /* of struct coming: starts that have not reached their threads */
    int64_t turns;          /* numbers that were given out */
    bool hold_told;         /* that the day's identifies are used up, since the last slot */
};

/* Nobody there. GATE_ESYSTEM; the hall needs no free then. */
GATE_MUST_CHECK int gate_hall_init(struct gate_hall *hall, int concurrency, uint32_t handshakes,
                                   void (*wake)(void *thread));
/* When its threads have ended. */
void gate_hall_free(struct gate_hall *hall);

/* A shard's, of `thread`, who stands nowhere. */
void gate_visitor_init(struct gate_visitor *visitor, int shard_id, void *thread);

/* A start is on its way to a thread, which may be slower than that of a later one: who was started
 * later does not get a slot of its key before. Called where shards are started. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_hall_expect(struct gate_hall *hall, int shard_id);
/* It has come, and may ask now. */
void gate_hall_come(struct gate_hall *hall, struct gate_visitor *visitor);
/* It has asked, or does not; nor does one that never came, whose `visitor` is NULL. Whoever waited
 * for that hears of it, unless it is of `thread`. */
void gate_hall_came(struct gate_hall *hall, int shard_id, struct gate_visitor *visitor,
                    const void *thread, int64_t now_ms);

/* Identify slots, as budget.h has them. */
void gate_hall_resize(struct gate_hall *hall, int64_t now_ms, int concurrency); /* by engine.c */
int gate_hall_key(struct gate_hall *hall, int shard_id); /* by the concurrency of now */
void gate_hall_ask(struct gate_hall *hall, struct gate_visitor *visitor);
void gate_hall_spent(struct gate_hall *hall, struct gate_visitor *visitor, int64_t now_ms);
void gate_hall_done(struct gate_hall *hall, struct gate_visitor *visitor, int64_t now_ms);

/* The next shard of `thread` that has its slot now and would find a place, or NULL. Call until
 * NULL. A shard of another thread whose time it is hears of it. */
struct gate_visitor *gate_hall_next_slot(struct gate_hall *hall, void *thread, int64_t now_ms);

/* It may use the slot: takes its place; false: others were faster. */
GATE_MUST_CHECK bool gate_hall_admit(struct gate_hall *hall, struct gate_visitor *visitor,
                                     int64_t now_ms);
/* Or it may not before `until_ms`: it is first in line again. */
void gate_hall_put_back(struct gate_hall *hall, struct gate_visitor *visitor, int64_t until_ms);

/* Places at the door, as door.h has them. */
void gate_hall_line_up(struct gate_hall *hall, struct gate_visitor *visitor);

/* One that resumes, and has not lined up: true: it has its place; false: it has to line up. */
GATE_MUST_CHECK bool gate_hall_enter_at_once(struct gate_hall *hall, struct gate_visitor *visitor,
                                             int64_t now_ms);

/* The next one in line, if it is of `thread` and there is a place, which it has then; else NULL.
 * Call until NULL. A first one of another thread that could go hears of it. */
struct gate_visitor *gate_hall_next_guest(struct gate_hall *hall, void *thread, int64_t now_ms);

/* Its handshake is under way; it is over, or will not be (unless it stands in line: `stays`), and
 * whoever of another thread could go now hears of it. */
void gate_hall_enter(struct gate_hall *hall, struct gate_visitor *visitor, bool resumes,
                     int64_t now_ms);
void gate_hall_leave(struct gate_hall *hall, struct gate_visitor *visitor, bool stays,
                     int64_t now_ms);

/* When `thread` is to look again; -1: when it is told. `looked_ms`: when it last called
 * gate_hall_next_slot until NULL. */
int64_t gate_hall_deadline(struct gate_hall *hall, const void *thread, int64_t looked_ms,
                           int64_t now_ms);

/* Numbers for askings of turns, no two the same. */
int64_t gate_hall_turn_number(struct gate_hall *hall);
/* Whether somebody has to tell of it: the day's identifies are used up (`holds`), or are not. */
bool gate_hall_tells_hold(struct gate_hall *hall, bool holds);

/* How many handshakes there are, and who waits. */
void gate_hall_crowd(struct gate_hall *hall, struct gate_crowd *out);

#endif

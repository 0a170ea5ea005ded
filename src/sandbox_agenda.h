/* sandbox_agenda.h - which connection is to be looked at when: a heap, the earliest first.
 * Called by sandbox_turn.c on the server's thread, under the lock. */
#ifndef MOONGATE_SANDBOX_AGENDA_H
#define MOONGATE_SANDBOX_AGENDA_H

#include "buf.h"
#include "moongate.h"

#define GATE_NEVER_MS INT64_MAX /* a deadline that does not come */

/* A part of what is to be looked at; all zero at the start. */
struct gate_appointment {
    void *owner;
    int64_t due_ms;
    size_t place; /* in the heap, counted from 1; 0: it is in none */
};

/* Initialise `heap` with gate_buf_init and free it with gate_buf_free. */
struct gate_agenda {
    struct gate_buf heap; /* of struct gate_appointment * */
};

/* Sets the time of an appointment, GATE_NEVER_MS: of none. GATE_EMEMORY: there is no room for one
 * more. */
GATE_MUST_CHECK int gate_agenda_set(struct gate_agenda *agenda, struct gate_appointment *one,
                                    int64_t due_ms);

/* Takes it out, if it is in. */
void gate_agenda_cancel(struct gate_agenda *agenda, struct gate_appointment *one);

/* The earliest, or NULL. */
struct gate_appointment *gate_agenda_first(const struct gate_agenda *agenda);

#endif

/* door.h - who may connect now: so many handshakes of one loop at the same time (connecting, TLS,
 * upgrade, HELLO), beside the identify slots and not in their place. Called by loop.c and seat.c on
 * the I/O thread, and by the simulator. Pure: `now_ms` is an argument.
 *
 * Who resumes stands in line here, first come, first served, and goes before who identifies, as
 * the gateway forgets its session. Who identifies stands in the line of the slots. One place is
 * never given to a resume, so that neither kind waits for the end of the other.
 *
 * A handshake that hangs costs nothing but patience: after GATE_DOOR_PLACE_MS it goes on without
 * its place, so that a host which answers nobody does not keep those of other hosts out. */
#ifndef MOONGATE_DOOR_H
#define MOONGATE_DOOR_H

#include "moongate.h"

struct gate_guest {          /* embedded in whatever stands for a shard; owned by its embedder */
    struct gate_guest *next; /* in line, or in order of entry */
    bool waiting;            /* in line */
    bool inside;             /* its handshake is under way, and has a place */
    bool slow;               /* its handshake is under way, and has lost its place */
    bool resumes;            /* of one that is inside */
    int64_t entered_ms;
};

struct gate_crowd {
    uint32_t inside, inside_peak;
    uint32_t slow;
    uint32_t waiting; /* to resume */
};

struct gate_door {
    uint32_t places;
    uint32_t resuming; /* of those inside */
    struct gate_crowd crowd;
    struct gate_guest *first, *last;    /* in line */
    struct gate_guest *oldest, *newest; /* inside */
};

/* Nobody there. `places` 0 counts as 1. */
void gate_door_init(struct gate_door *door, uint32_t places);

/* A resume that is due lines up; twice keeps its place. */
void gate_door_wait(struct gate_door *door, struct gate_guest *guest);

/* Takes the places of handshakes that hang. Call before the next two. */
void gate_door_look(struct gate_door *door, int64_t now_ms);

/* The next one in line that may connect now, taken out of the line, or NULL. Call until NULL. */
struct gate_guest *gate_door_next(struct gate_door *door);

/* May one connect without standing in line: to resume, to identify? */
bool gate_door_admits(const struct gate_door *door, bool resumes);

/* A handshake begins (twice does nothing); it is over, or the guest waits no more (likewise). */
void gate_door_enter(struct gate_door *door, struct gate_guest *guest, bool resumes,
                     int64_t now_ms);
void gate_door_leave(struct gate_door *door, struct gate_guest *guest);

/* When gate_door_next is to be called: -1: nobody waits. Each handshake has a deadline of its own,
 * at which its place is free; who waits looks every GATE_DOOR_LOOK_MS all the same. */
int64_t gate_door_deadline(const struct gate_door *door, int64_t now_ms);

#endif

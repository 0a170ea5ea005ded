/* seat.h - one shard's place in the loop: its machine, its link, and the carrying out of what the
 * machine asks for. Called by loop.c on the I/O thread, to which all of it belongs. */
#ifndef MOONGATE_SEAT_H
#define MOONGATE_SEAT_H

#include "board.h"
#include "hall.h"
#include "letter.h"
#include "row.h"
#include "shard.h"
#include "transport.h"

/* What the seats of a loop have in common. */
struct gate_seats {
    struct gate_row row;              /* of gate_seat */
    struct gate_hall *hall;           /* for identifying and connecting; of all threads */
    struct gate_transport *transport; /* the loop's, as are the next two */
    struct gate_letterbox *letters;
    struct gate_board *board;
    struct gate_census *census;
    struct gate_loop *loop; /* for the transport's reports */
    int64_t reserve;        /* identifies of the day that are to be left over */
    bool holding;           /* the event queue is full: nobody reads or connects */
    bool coordinated;       /* the Lua side is asked for turns */
};

/* A shard's turn to identify, where other processes have theirs. */
enum gate_turn { GATE_TURN_NONE, GATE_TURN_ASKED, GATE_TURN_GIVEN };

struct gate_seat {
    int shard_id; /* first, as its row wants it */
    struct gate_seats *seats;
    struct gate_shard *shard;      /* NULL until it is started */
    struct gate_interest interest; /* for a shard that is not there yet */
    struct gate_visitor visitor;
    uint64_t token; /* of gate_window_token */
    int key;        /* that was claimed last, by the concurrency of then */
    enum gate_turn turn;
    int64_t turn_number;    /* of the last one that was asked for */
    int64_t identified_ms;  /* when an Identify left in this turn; -1: none */
    struct gate_link *link; /* NULL: no connection */
    uint32_t connection;    /* of the link */
    int64_t connect_timeout_ms;
    size_t message_bytes_max;
    int64_t deadline_ms; /* of the machine; -1: none */
    bool paused;         /* reading is stopped */
    bool failed;         /* the link could not be made or used: the shard has to be told */
    bool dirty;          /* the snapshot is behind */
};

/* Over the hard mark, or without memory to queue a dispatch, nothing more is let in: not even
 * looked at, so that the sequence stays behind what is refused, and the gateway sends it again to
 * whoever resumes. The hard mark lies above the one at which a pause begins. NULL: come in. */
const char *gate_seats_refusal(struct gate_seats *seats);

/* A seat lives until this. The transport is gone by then. */
void gate_seats_free(struct gate_seats *seats);

static inline struct gate_seat *gate_seat_at(const struct gate_seats *seats, size_t at) {
    return seats->row.items[at];
}

/* NULL: there is none. */
struct gate_seat *gate_seat_find(const struct gate_seats *seats, int shard_id);
/* Finds it or makes it. NULL: no memory. */
struct gate_seat *gate_seat_make(struct gate_seats *seats, int shard_id);
/* The seat that `visitor` is part of. */
struct gate_seat *gate_seat_of(struct gate_visitor *visitor);

/* Replaces what is heard; takes the names. */
void gate_seat_interest(struct gate_seat *seat, struct gate_interest *take);

/* Makes the shard, or replaces one that is idle or dead, whose outbox and interest are kept.
 * GATE_EUSAGE: it runs, and goes on. Else errors as gate_shard_new, and the old one stays. */
GATE_MUST_CHECK int gate_seat_replace(struct gate_seat *seat, struct gate_options *options);

/* Starts the shard, which stands in line where others connect already, or where nobody may. */
void gate_seat_start(struct gate_seat *seat);

/* The seat's shard has its slot; may it identify, whatever other engines and processes do, as far
 * as the day's identifies reach, and is there a place at the door? 0, or when to ask again. The Lua
 * side is told of a day that is used up, once, and asked for the turn. */
int64_t gate_seat_claim(struct gate_seat *seat, int64_t now_ms);

/* The Lua side gives the turn of that number. It is told at once when nobody wants it any more;
 * `seat` NULL: there is no such shard. */
void gate_seat_give_turn(struct gate_seats *seats, struct gate_seat *seat, int shard_id,
                         int64_t number);

/* After every input of the shard: carries out what it asks for, until it asks for nothing more. */
void gate_seat_settle(struct gate_seat *seat);

/* The link is gone. */
void gate_seat_unlinked(struct gate_seat *seat);

/* Stops reading, or goes on, and tells the shard. */
void gate_seat_pause(struct gate_seat *seat, bool paused);

/* Puts the shard's state up on the board. */
void gate_seat_publish(struct gate_seat *seat);

#endif

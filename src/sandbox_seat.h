/* sandbox_seat.h - a session as the server keeps it: its number of events, what it may hear, and
 * what it would have to be told again. Called by the sandbox_*.c files under the lock.
 * A seat outlives its connection for the resume window; it is the client that comes and goes. */
#ifndef MOONGATE_SANDBOX_SEAT_H
#define MOONGATE_SANDBOX_SEAT_H

#include "buf.h"
#include "moongate.h"

struct gate_sandbox;
struct gate_link;
struct gate_telling;

#define GATE_SEAT_ID_BYTES 33 /* 32 hexadecimal digits, as in captures, and a NUL */

/* What an Identify asks for. */
struct gate_claim {
    int64_t intents;
    int64_t shard_id, shard_count;
    bool sharded;        /* it said so; else 0 of 1, and READY does not echo it */
    bool payload;        /* long messages compressed one by one */
    int large_threshold; /* members, above which a guild is large */
};

struct gate_seat {
    struct gate_seat *next, *previous; /* of the sandbox's list, in the order of making */
    struct gate_seat *next_of_bucket;
    struct gate_seat *next_away, *previous_away; /* of those that wait for a resume */
    struct gate_sandbox *sandbox;
    struct gate_link *link; /* NULL: away */
    char id[GATE_SEAT_ID_BYTES];
    struct gate_claim claim;
    int64_t seq;       /* of the last event */
    int64_t forgotten; /* the highest seq that cannot be told again */
    struct gate_telling *first, *last;
    size_t tellings, telling_bytes;
    int64_t expires_ms;     /* GATE_NEVER_MS while it has a link */
    struct gate_buf manner; /* the query of its first connection; a resume must repeat it */
};

/* Makes a session for `link` with an id from the sandbox's seed. NULL without memory. */
struct gate_seat *gate_seat_new(struct gate_link *link, const struct gate_claim *claim);

/* The session of an id that can still be resumed, or NULL. */
struct gate_seat *gate_seat_find(struct gate_sandbox *sandbox, struct gate_span id);

/* Takes the seat from its link: kept for the resume window. */
void gate_seat_leave(struct gate_seat *seat);

/* Gives one that is away to a link. */
void gate_seat_return(struct gate_seat *seat, struct gate_link *link);

/* Ends it for good, and frees it. */
void gate_seat_end(struct gate_seat *seat);

/* Numbers an event, keeps it for a resume, and sends it when the client is there. */
void gate_seat_tell(struct gate_seat *seat, struct gate_span name, struct gate_span data);

/* Sends what came after `seq` again, with its numbers and in order. */
void gate_seat_replay(struct gate_seat *seat, int64_t seq);

/* Numbers an event and sends it, but keeps nothing: RESUMED is no event of the past. */
void gate_seat_mention(struct gate_seat *seat, struct gate_span name, struct gate_span data);

/* An event for many: what decides who hears it. */
struct gate_news {
    struct gate_span name, data;
    uint64_t guild_id; /* 0: none */
    bool about_bot;    /* of a member: it is the bot itself */
    bool direct;       /* surely of a direct message */
};

/* Whether a seat wants it: its shard, then its intents. */
bool gate_seat_wants(const struct gate_seat *seat, const struct gate_news *news);

/* Lets go of what sessions have shared. */
void gate_seats_forget(struct gate_sandbox *sandbox);

/* Ends what is over; when the next one will be (GATE_NEVER_MS: none). */
void gate_seats_tick(struct gate_sandbox *sandbox, int64_t now_ms);
int64_t gate_seats_due(const struct gate_sandbox *sandbox);

#endif

/* simulator.h - the simulated world: bot, network, gateway, weather and judge, and what each of
 * them offers the others. Included by the simulator's files only; one thread, virtual time. */
#ifndef MOONGATE_SIMULATOR_H
#define MOONGATE_SIMULATOR_H

#include <setjmp.h>
#include <stdio.h>
#include <zlib.h>

#include "../src/budget.h"
#include "../src/door.h"
#include "../src/quota.h"
#include "../src/shard.h"
#include "simulator_clock.h"

#define SIM_TOKEN        "S1mul.at0r.t0k3n"
#define SIM_SHARDS_MAX   64
#define SIM_KINDS        1024  /* events of a session whose kind is remembered */
#define SIM_SESSIONS     8     /* of a shard that the gateway remembers */
#define SIM_HOSTS        4     /* that sessions live on */
#define SIM_CONNECT_MS   29750 /* the transport gives up just before the shard does */
#define SIM_DAY_MS       86400000
#define SIM_GUILDS       6    /* of each shard that members are asked of, from 1 */
#define SIM_SKEW_MS      3500 /* how much closer the network brings what left one by one */
#define SIM_IDENTIFY_DAY 288  /* identifies of a shard in 24 hours: what its ladder allows */
#define SIM_TOTAL        1000 /* identifies of a token in 24 hours: what Discord allows */

/* What goes wrong: name, word, what the others of its kind weigh against it. Those of weight 0 are
 * decided where they happen. */
#define SIM_FAULTS(X)                                                                              \
    X(CUT, "cuts", 4)                                                                              \
    X(SILENCE_DOWN, "half-open down", 2)                                                           \
    X(SILENCE_UP, "half-open up", 2)                                                               \
    X(SILENCE, "half-open both", 2)                                                                \
    X(STALL, "stalls", 3)                                                                          \
    X(CLOSE, "closes", 6)                                                                          \
    X(RECONNECT, "op 7", 4)                                                                        \
    X(INVALID_TRUE, "op 9 true", 2)                                                                \
    X(INVALID_FALSE, "op 9 false", 2)                                                              \
    X(ASK, "op 1", 3)                                                                              \
    X(ASK_AND_CLOSE, "op 1 and close", 1)                                                          \
    X(MUTE, "acks missing", 2)                                                                     \
    X(EMPTY, "empty messages", 2)                                                                  \
    X(CORRUPT, "corrupt messages", 2)                                                              \
    X(POISON, "poisoned sessions", 1)                                                              \
    X(BURST, "bursts", 2)                                                                          \
    X(REPEAT, "repeats", 2)                                                                        \
    X(UNKNOWN, "unknown ops", 1)                                                                   \
    X(FORGET, "sessions forgotten", 1)                                                             \
    X(BRICK, "bricked sessions", 1)                                                                \
    X(HOST_DOWN, "resume hosts down", 1)                                                           \
    X(MAIN_DOWN, "main host down", 1)                                                              \
    X(OUTAGE, "outages", 1)                                                                        \
    X(REFUSAL, "identify refusals", 1)                                                             \
    X(HOLD, "full queues", 2)                                                                      \
    X(FREEZE, "frozen processes", 1)                                                               \
    X(SLEEP, "sleeps", 1)                                                                          \
    X(CONCURRENCY, "changed concurrencies", 1)                                                     \
    X(USER_RECONNECT, "user reconnects", 2)                                                        \
    X(USER_STOP, "user stops", 1)                                                                  \
    X(USER_RESTART, "user restarts", 1)                                                            \
    X(USER_STORM, "presence storms", 2)                                                            \
    X(USER_FLOOD, "command floods", 1)                                                             \
    X(FATAL, "fatal closes", 1)                                                                    \
    X(CONNECT_FAILED, "failed connects", 0)                                                        \
    X(CONNECT_SILENT, "silent connects", 0)                                                        \
    X(HELLO_MISSING, "missing HELLOs", 0)                                                          \
    X(HELLO_LATE, "late HELLOs", 0)                                                                \
    X(HELLO_REPLACED, "op 7, op 9 or close for HELLO", 0)                                          \
    X(REPLAY_BROKEN, "broken replays", 0)                                                          \
    X(CLOSE_IGNORED, "closes unanswered", 0)                                                       \
    X(SPLIT, "split messages", 0)                                                                  \
    X(GHOST, "stale notices", 0)

enum sim_fault {
#define X(name, word, weight) SIM_FAULT_##name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULT_COUNT
};

struct sim_totals {
    uint64_t seeds, events, skipped, identifies, resumes, resumed, beats, commands, connects;
    uint64_t faults[SIM_FAULT_COUNT];
    int64_t shard_ms;
    size_t bytes_max;            /* live bytes of a shard, at their highest */
    uint64_t identifies_day_max; /* of all shards of a token in 24 hours */
    uint64_t holds, held_wakes;  /* identifies that waited for their day, wakes meanwhile */
    int64_t held_ms, ready_ms;   /* for how long; when the last shard was ready the last time */
};

/* ---- The network ----------------------------------------------------------------------------- */

enum sim_said { /* what a packet to the client is, as the judge must know it */
                SIM_SAID_PLAIN,
                SIM_SAID_HELLO,
                SIM_SAID_ACK,
                SIM_SAID_ASK,
                SIM_SAID_INVALID,
                SIM_SAID_CORRUPT,
                SIM_SAID_PART, /* of a message: more follows */
                SIM_SAID_CLOSE /* `code`; the end of the lane, either way */
};

struct sim_packet {
    struct sim_packet *next;
    int64_t at_ms;
    enum sim_said said;
    int code;
    bool binary;
    size_t len;
    char bytes[];
};

struct sim_lane { /* one direction of a connection: in order, late, and perhaps not at all */
    struct sim_packet *first, *last;
    struct sim_timer timer;
    int64_t last_at_ms;
    bool silent; /* nothing arrives any more */
};

struct sim_link {
    struct sim_world *world;
    struct sim_link *next, *before; /* in the world's list */
    struct sim_seat *seat;
    uint32_t connection;
    int host; /* -1: the main one */
    bool open, client_gone, server_gone;
    struct sim_lane down, up;
    struct sim_timer timer; /* what becomes of the attempt */
    struct gate_close failure;
    bool fails;

    /* The gateway's side. */
    struct sim_session *session; /* attached to it; NULL before Identify or Resume */
    bool mute, asked, pending_resume;
    bool stalled; /* what it carries may arrive all at once */
    int64_t beat_at_ms, arrivals[GATE_SENDS_MAX];
    uint64_t arrival_count;
    int64_t presences[GATE_PRESENCES_MAX]; /* when they arrived, a ring */
    uint64_t presence_count;
    int64_t resume_seq;
    struct sim_timer watch; /* heartbeats that do not come */
    struct sim_timer answer;
    z_stream *deflate;        /* of zlib-stream and payload */
    struct ZSTD_CCtx_s *zstd; /* of zstd-stream */
};

void sim_link_open(struct sim_seat *seat, struct gate_span url, uint32_t connection);
void sim_link_send(struct sim_link *link, struct gate_span bytes); /* client to server */
void sim_link_close(struct sim_link *link, int code);              /* client's close frame */
void sim_link_abort(struct sim_link *link);                        /* client drops it */
void sim_link_paused(struct sim_link *link, bool paused);          /* client reads or not */
void sim_link_cut(struct sim_link *link);                          /* the network drops it */
void sim_link_stall(struct sim_link *link, int64_t ms);            /* and goes on later */
void sim_link_say(struct sim_link *link, enum sim_said said, struct gate_span text);
void sim_link_hang_up(struct sim_link *link, int code); /* server's close frame, or its end */
void sim_link_leave(struct sim_link *link);             /* frees it once both ends are gone */
void sim_link_free(struct sim_link *link);

/* ---- The gateway ----------------------------------------------------------------------------- */

enum sim_event {
    SIM_READY,
    SIM_RESUMED,
    SIM_GUILD,
    SIM_MESSAGE,
    SIM_PRESENCE,
    SIM_TYPING,
    SIM_LIMITED
};

struct sim_session {
    struct sim_world *world;
    uint32_t number; /* 0: no session yet */
    int shard_id, host;
    int64_t seq;
    uint8_t kinds[SIM_KINDS];
    uint32_t limits[SIM_KINDS]; /* of SIM_LIMITED: guild, and tenths of a second above 8 bits */
    int64_t presence;           /* number of the one that it shows; 0: none */
    struct sim_link *link;      /* NULL: detached */
    bool live;                  /* READY or RESUMED left */
    bool ended, bricked;
    int64_t poison;         /* a sequence that nobody can decode; 0: none */
    int64_t detached_at_ms; /* -1: attached */
    struct sim_timer timer; /* of the next event */
};

struct sim_gateway {
    struct sim_session sessions[SIM_SHARDS_MAX][SIM_SESSIONS];
    uint32_t session_count;
    int concurrency;
    int64_t identified_at_ms[GATE_CONCURRENCY_MAX];
    struct sim_asked {
        int64_t at_ms; /* 0: never */
        bool late;     /* it may have been held up on its way */
    } members[SIM_SHARDS_MAX][SIM_GUILDS + 1];
    int64_t presence[SIM_SHARDS_MAX];          /* the newest that arrived, on any session */
    int64_t host_down_until_ms[SIM_HOSTS + 1]; /* the main one last */
    int host_down_how[SIM_HOSTS + 1];
    int64_t outage_until_ms, refusal_until_ms;
};

void sim_gateway_accept(struct sim_link *link);
void sim_gateway_heard(struct sim_link *link, struct gate_span message);
void sim_gateway_left(struct sim_link *link, int code); /* the client is gone or closed */
void sim_gateway_close(struct sim_link *link, int code);
void sim_gateway_end(struct sim_session *session);
void sim_gateway_burst(struct sim_session *session, int64_t count);
void sim_gateway_say(struct sim_session *session, int64_t seq);
struct sim_session *sim_gateway_find(struct sim_world *world, uint32_t number);
int64_t sim_gateway_mark(uint32_t number, int64_t seq); /* what the data of an event must show */

/* ---- The bot --------------------------------------------------------------------------------- */

enum sim_cause { SIM_CAUSE_OTHER, SIM_CAUSE_BYTES, SIM_CAUSE_TICK };

/* What the judge knows of a shard; see simulator_judge.c. */
struct sim_docket {
    /* The session, as it was handed out. */
    uint32_t session; /* number; 0: none */
    int64_t delivered, resumed_from;
    bool lost, told_gone, given_up;
    int resumes, corrupt;

    /* The connection. */
    uint32_t connection;
    int64_t interval_ms, hello_at_ms; /* -1: no HELLO yet */
    int64_t first_low_ms, first_high_ms, beats, beat_at_ms, heard_at_ms, acked_at_ms, opened_at_ms;
    bool may_beat_late, asked, invalid;
    int64_t sends[GATE_SENDS_MAX];
    uint64_t send_count;

    /* Commands by number; what became of those accepted. */
    int64_t command, command_sent, presence_sent;
    uint64_t accepted, sent, expired;
    uint64_t presences_accepted, presences_sent;
    int64_t presence;                      /* number of the newest that was accepted; 0: none */
    int64_t presence_at_ms;                /* when that was */
    int64_t presences[GATE_PRESENCES_MAX]; /* of the connection, as they left: a ring */
    uint64_t presence_count;
    struct sim_guild {
        int64_t sent, sent_at_ms; /* request for all members: number, time; 0: none */
        int64_t limited_until_ms; /* by RATE_LIMITED */
    } guilds[SIM_GUILDS + 1];

    /* Allowances that refill: see the constants there. */
    double connects, identifies;
    int64_t identified[SIM_IDENTIFY_DAY]; /* when the last ones left, a ring */
    uint64_t identify_count;
    int64_t connects_at_ms, identifies_at_ms, identified_at_ms, ready_at_ms;
    bool granted, fatal;
    int user_code, ticks;
    int64_t ticked_at_ms;
    enum gate_state state; /* after the step before */
    enum sim_cause cause;
};

struct sim_seat {
    struct sim_world *world;
    int id;
    struct gate_shard *shard;
    struct gate_slot slot;
    struct gate_guest guest;
    bool promised; /* it has a slot, and its Identify has not left yet */
    struct sim_link *link;
    uint32_t connection;
    bool paused;
    struct sim_timer deadline, ghost, again; /* again: the user starts it */
    struct sim_docket docket;
    struct gate_counts before; /* of the shards that this one took over from */
    int64_t told_at_ms;        /* of the line before in the transcript */
};

void sim_bot_init(struct sim_world *world);
void sim_bot_free(struct sim_world *world);
void sim_bot_opened(struct sim_link *link);
void sim_bot_piece(struct sim_link *link, const struct sim_packet *packet);
void sim_bot_closed(struct sim_link *link, const struct gate_close *why);
void sim_bot_start(struct sim_seat *seat);
void sim_bot_stop(struct sim_seat *seat, int code);
void sim_bot_reconnect(struct sim_seat *seat, int code);
void sim_bot_restart(struct sim_seat *seat);
void sim_bot_command(struct sim_seat *seat);
void sim_bot_storm(struct sim_seat *seat);
void sim_bot_hold(struct sim_world *world, bool holding);
void sim_bot_resize(struct sim_world *world, int concurrency);
void sim_bot_slept(struct sim_world *world, int64_t asleep_ms);
void sim_bot_ghost(struct sim_seat *seat);

/* ---- The quota ------------------------------------------------------------------------------- */

/* The bot's side: what window.c does in a process, and what Discord counts. */
struct sim_quota {
    struct gate_quota quota;
    int64_t total;     /* what Discord allows; the bot has been told */
    int64_t allowance; /* what the bot may spend of it */
    bool held;
    int64_t held_since_ms, held_at_ms; /* at: when it was asked for in vain the last time */
    int64_t arrived_ms[SIM_TOTAL];     /* when the last ones came, a ring */
    uint64_t arrived;
};

void sim_quota_init(struct sim_world *world);
void sim_quota_free(struct sim_world *world);
int64_t sim_quota_claim(struct sim_seat *seat); /* 0, or when to ask again */
void sim_quota_spent(struct sim_seat *seat);
void sim_quota_wake(struct sim_world *world);
void sim_quota_arrived(struct sim_seat *seat);

/* ---- The judge ------------------------------------------------------------------------------- */

void sim_judge_init(struct sim_seat *seat);
void sim_judge_action(struct sim_seat *seat, const struct gate_action *action);
void sim_judge_heard(struct sim_seat *seat, enum sim_said said);
void sim_judge_opened(struct sim_seat *seat);
void sim_judge_closed(struct sim_seat *seat, int code);
void sim_judge_ticked(struct sim_seat *seat);
void sim_judge_step(struct sim_seat *seat);
void sim_judge_paused(struct sim_seat *seat);
void sim_judge_verb(struct sim_seat *seat);
void sim_judge_command(struct sim_seat *seat, int op, int rc);
void sim_judge_peace(struct sim_world *world, bool quiet); /* quiet: nothing is on its way */
void sim_judge_allocations(void);
size_t sim_judge_live_bytes(void);

/* Ends the run. */
_Noreturn void sim_fail(struct sim_seat *seat, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A line of the transcript; costs nothing when nobody reads it. An input comes with its time. */
void sim_tell_input(struct sim_seat *seat, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_tell_action(struct sim_seat *seat, const struct gate_action *action);
void sim_tell_note(struct sim_seat *seat, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- The weather ----------------------------------------------------------------------------- */

struct sim_climate {
    int weights[SIM_FAULT_COUNT], weight_sum;
    double connect_fails, hello_fails, replay_fails, close_ignored, split, ghost;
    int64_t latency_ms, jitter_ms, fault_every_ms, traffic_every_ms, command_every_ms;
    int64_t session_life_ms, replay_max;
};

struct sim_weather {
    struct sim_climate climate;
    bool peace; /* no faults */
    bool quiet; /* and no new events */
    struct sim_timer fault, turn, command;
};

/* Peace. The longest wait that a fault leaves behind is that of a failed identify, 600 s; behind it
 * come a connection (30 s), HELLO (20 s), the slots of the other shards (5 s each with one key, and
 * the lease of one that had hung), and one READY that is given up after 120 s. */
#define SIM_PEACE_MS(shards) (900000 + (int64_t)(shards)*5000)

void sim_weather_init(struct sim_world *world);

/* None: what a network and a gateway need that do no harm. */
void sim_weather_none(struct sim_world *world);

/* True with probability p, unless there is peace; counts the fault. */
bool sim_strikes(struct sim_world *world, double p, enum sim_fault fault);

/* ---- The world ------------------------------------------------------------------------------- */

struct sim_world {
    struct sim_clock clock;
    uint64_t seed;
    int shard_count;
    int64_t end_ms;

    /* Fixed for the run. */
    enum gate_compress compress;
    int64_t interval_ms, slack_ms;
    bool trace, hears_all, fatal, presences, leaves;
    int handshakes_max;

    struct sim_weather weather;
    struct sim_gateway gateway;
    struct gate_slots slots;
    struct gate_door door;
    struct sim_timer slots_due, door_due, thaw, release;
    int64_t slept_ms;        /* the client's clock is behind by this */
    int64_t frozen_until_ms; /* nothing of the client runs before */
    int64_t asleep_ms;       /* how much of that its clock does not count */
    int64_t resized_at_ms;
    bool holding;
    struct sim_quota day;
    int hostile; /* for a day each Identify is answered with op 9 or this close code; 0: not */
    struct sim_seat seats[SIM_SHARDS_MAX];
    struct sim_link *links;
    struct sim_totals *totals;

    /* The transcript. */
    FILE *out;
    int shown_shard; /* -1: all */
    int told_shard;
    jmp_buf failed;
    int failed_shard;
    char words[512];
};

static inline int64_t sim_now(const struct sim_world *world) { /* as the client sees it */
    return world->clock.now_ms - world->slept_ms;
}

/* True while the client stands still: `timer` is armed for the moment it goes on. */
bool sim_frozen(struct sim_world *world, struct sim_timer *timer, enum sim_rank rank);

#endif

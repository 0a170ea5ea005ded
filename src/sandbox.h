/* sandbox.h - a gateway of one's own on loopback: what lua_sandbox.c may ask of the server.
 * Called by lua_sandbox.c, on the thread of any lua_State; the server runs on a thread of its own.
 * Every function takes the server's lock itself and returns at once, unless it says otherwise.
 * Nothing here knows session.c or shard.c: the two ends share no judgement of the protocol. */
#ifndef MOONGATE_SANDBOX_H
#define MOONGATE_SANDBOX_H

#include "sandbox_etf.h"
#include "sandbox_script.h"

#define GATE_SANDBOX_WHY_BYTES 320 /* a sentence that names operation, value and remedy */

struct gate_sandbox;

/* All spans are copied by gate_sandbox_start. */
struct gate_sandbox_options {
    bool tls;
    bool limits; /* identify slots, session starts, 120 sends a minute, member requests */
    bool certificate_expired;
    bool any_frame;              /* JSON may come in binary frames as well */
    int port;                    /* 0: any that is free */
    int guilds, members;         /* of each guild, apart from the bot */
    int shards, max_concurrency; /* as GET /gateway/bot tells them */
    int64_t starts_total, starts_remaining, starts_reset_ms; /* session_start_limit */
    int64_t heartbeat_interval_ms;
    double heartbeat_grace;   /* intervals without a beat before the close; 0: patient for ever */
    int heartbeat_close_code; /* 0: a drop without a close frame */
    int64_t resume_window_ms; /* how long a session outlives its connection */
    int64_t disallowed_intents;
    int64_t seed;
    int zlib_level;
    struct gate_etf_style etf;
    size_t replay_events_max, replay_bytes_max; /* of each session */
    size_t record_max, record_bytes_max;        /* packets received, requests, log lines: each */
    size_t out_bytes_max;                       /* waiting for one client, before it is dropped */
    struct gate_span token, user, user_id, username; /* user: a JSON object */
    struct gate_span certificate_name;               /* len 0: the names of loopback */
    struct gate_span resume_path;                    /* behind the URL that READY tells */
    bool resume_host;                                /* a port of its own for resumes */
    int presence_close_code; /* for one presence too many; 0: it is ignored */
    int64_t clock_skew_ms;   /* what the wall clock of the server is ahead of this machine's */
    int64_t time_ms;         /* where its wall clock stands still; 0: it is this machine's */
};

/* Starts listening. *out belongs to the caller until gate_sandbox_stop. On failure a negative error
 * and a sentence in `why`. */
GATE_MUST_CHECK int gate_sandbox_start(const struct gate_sandbox_options *options,
                                       struct gate_sandbox **out, char why[GATE_SANDBOX_WHY_BYTES]);

/* Says 1001 to every client, closes everything and frees `sandbox`. Waits for the server's thread,
 * which takes milliseconds. */
void gate_sandbox_stop(struct gate_sandbox *sandbox);

/* What never changes; borrowed until the stop. Without TLS the file is "". */
int gate_sandbox_port(const struct gate_sandbox *sandbox);
int gate_sandbox_resume_port(const struct gate_sandbox *sandbox); /* without one: the port */
const char *gate_sandbox_ca_file(const struct gate_sandbox *sandbox);

enum gate_sandbox_list {
    GATE_LIST_CONNECTIONS, /* those that are open */
    GATE_LIST_HISTORY,     /* those that were */
    GATE_LIST_SESSIONS,
    GATE_LIST_GUILDS,
    GATE_LIST_PEOPLE,
    GATE_LIST_RECEIVED, /* `tag`: an opcode */
    GATE_LIST_LOG,
    GATE_LIST_REQUESTS
};
#define GATE_TAG_ALL (-1) /* opcodes begin at zero */

/* Appends a JSON array. *lost is how many older entries the bound has cost. */
GATE_MUST_CHECK int gate_sandbox_list(struct gate_sandbox *sandbox, enum gate_sandbox_list which,
                                      int tag, struct gate_buf *out, uint64_t *lost);

/* The lines of the log whose numbers are greater than `after`; *last is the number of the last. */
GATE_MUST_CHECK int gate_sandbox_log_after(struct gate_sandbox *sandbox, uint64_t after,
                                           struct gate_buf *out, uint64_t *last);

/* How many entries that list has. For connections `tag` 1 means those that have a session. */
GATE_MUST_CHECK int gate_sandbox_count(struct gate_sandbox *sandbox, enum gate_sandbox_list which,
                                       int tag);

void gate_sandbox_forget(struct gate_sandbox *sandbox); /* empties those that only grow */

/* A number that grows with everything that happens. gate_sandbox_wait blocks the calling thread
 * until it is not `seen` any more or `timeout_ms` is over, and returns the newest. */
uint64_t gate_sandbox_changes(struct gate_sandbox *sandbox);
uint64_t gate_sandbox_wait(struct gate_sandbox *sandbox, uint64_t seen, int64_t timeout_ms);

#endif

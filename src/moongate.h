/* moongate.h - the vocabulary of the core: spans, errors, opcodes, close codes and every limit.
 * Read this file first. Everybody includes it; nothing in it has state or touches a thread.
 *
 * Copyright (c) the moongate authors. MIT licence, see LICENSE. */
#ifndef MOONGATE_H
#define MOONGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that belong to somebody else. Borrowed for the duration of the call unless a header says
 * otherwise. Not terminated by a NUL. */
struct gate_span {
    const char *data;
    size_t len;
};

#define GATE_SPAN(literal) ((struct gate_span){(literal), sizeof(literal) - 1})

#define GATE_MUST_CHECK __attribute__((warn_unused_result))

/* ---- Errors -------------------------------------------------------------------------------- */

/* One list: name, text. Success is 0, a failure is negative; GATE_AGAIN is no failure. */
#define GATE_ERRORS(X)                                                                             \
    X(EMEMORY, "out of memory")                                                                    \
    X(EPAYLOAD, "payload over the limit of the gateway")                                           \
    X(EBUSY, "too many commands waiting")                                                          \
    X(ECLOSED, "not running; connect first")                                                       \
    X(ESYNTAX, "malformed payload")                                                                \
    X(EDEPTH, "nested too deeply")                                                                 \
    X(EUTF8, "not valid UTF-8")                                                                    \
    X(EMESSAGE, "message over the size limit")                                                     \
    X(ESTREAM, "corrupt compressed stream")                                                        \
    X(EVALUE, "value that cannot be encoded")                                                      \
    X(EUSAGE, "not possible now")                                                                  \
    X(ERESOLVE, "host name not resolved")                                                          \
    X(ECONNECT, "connection refused or lost")                                                      \
    X(ETLS, "TLS handshake failed")                                                                \
    X(ECERTIFICATE, "certificate not accepted")                                                    \
    X(EUPGRADE, "WebSocket upgrade refused")                                                       \
    X(ETIMEOUT, "deadline passed")                                                                 \
    X(EHTTP, "HTTP request failed")                                                                \
    X(ESYSTEM, "the operating system refused")                                                     \
    X(EFORK, "a client does not survive fork")                                                     \
    X(EAUTH, "token not accepted")                                                                 \
    X(ESHARD, "shard not accepted")                                                                \
    X(EVERSION, "gateway version not accepted")                                                    \
    X(EINTENTS, "intents not accepted")

enum gate_error {
    GATE_OK = 0,
    GATE_AGAIN = 1, /* more is waiting: drain the actions, then call again */
    GATE_ERROR_BASE = -100,
#define X(name, text) GATE_##name,
    GATE_ERRORS(X)
#undef X
        GATE_ERROR_END
};

/* The text of an error, and its name as Lua shows it ("EPAYLOAD"). Never NULL. */
const char *gate_error_text(int error);
const char *gate_error_name(int error);

/* ---- Opcodes (protocol: Opcodes and Status Codes) ------------------------------------------- */

#define GATE_OPCODES(X)                                                                            \
    X(DISPATCH, 0)                                                                                 \
    X(HEARTBEAT, 1)                                                                                \
    X(IDENTIFY, 2)                                                                                 \
    X(PRESENCE_UPDATE, 3)                                                                          \
    X(VOICE_STATE_UPDATE, 4)                                                                       \
    X(RESUME, 6)                                                                                   \
    X(RECONNECT, 7)                                                                                \
    X(REQUEST_GUILD_MEMBERS, 8)                                                                    \
    X(INVALID_SESSION, 9)                                                                          \
    X(HELLO, 10)                                                                                   \
    X(HEARTBEAT_ACK, 11)                                                                           \
    X(REQUEST_SOUNDBOARD_SOUNDS, 31)                                                               \
    X(REQUEST_CHANNEL_INFO, 43)

enum gate_opcode {
#define X(name, number) GATE_OP_##name = (number),
    GATE_OPCODES(X)
#undef X
};

/* The table itself, ended by a NULL name. */
struct gate_opcode_row {
    const char *name;
    int op;
};
extern const struct gate_opcode_row gate_opcodes[];

/* ---- Close codes (protocol: Gateway Close Event Codes) -------------------------------------- */

enum gate_verdict {
    GATE_RESUME,   /* reconnect, the session is kept */
    GATE_IDENTIFY, /* reconnect, the session is gone */
    GATE_FATAL     /* stay down and say what to do */
};

struct gate_close_row {
    int code;
    enum gate_verdict verdict;
    int error;          /* the gate_error of a fatal code, else 0 */
    const char *name;   /* "AUTHENTICATION_FAILED" */
    const char *words;  /* what it means, one phrase */
    const char *remedy; /* what the user does about it; NULL where nothing needs doing */
};
extern const struct gate_close_row gate_close_codes[]; /* ended by a NULL name */

/* The row of a received code. Every int has one: unknown codes share a row that resumes. */
const struct gate_close_row *gate_close_lookup(int code);

/* Codes that only this side uses. RFC 6455, 7.4.1: 1005 and 1006 never travel. */
#define GATE_CLOSE_NORMAL  1000 /* sent: ends the session */
#define GATE_CLOSE_EMPTY   1005 /* a close frame without a code */
#define GATE_CLOSE_DROPPED 1006 /* no close frame at all */
#define GATE_CLOSE_KEEP    4000 /* sent: the session stays resumable */

/* ---- Intents (protocol: List of Intents) ----------------------------------------------------- */

struct gate_intent_row {
    const char *name; /* "guild_messages" */
    int bit;
    bool privileged;
};
extern const struct gate_intent_row gate_intents[]; /* ended by a NULL name */

/* ---- Limits ---------------------------------------------------------------------------------- */

/* Every limit: the value, its unit in the name, and its reason. */

#define GATE_VERSION_DEFAULT 10 /* the newest gateway version that is not deprecated */

#define GATE_PAYLOAD_BYTES_MAX    4096     /* Discord closes with 4002 above it */
#define GATE_MESSAGE_BYTES_MAX    67108864 /* 64 MiB: four times the largest ever reported */
#define GATE_ZSTD_WINDOW_LOG_MAX  27       /* 128 MiB, zstd's own default; Discord sends 8 MiB */
#define GATE_KEEP_BYTES_MAX       262144   /* a message buffer larger than this is given back */
#define GATE_SPARE_BYTES_MAX      4096     /* of an event, whose memory serves the next one */
#define GATE_LARGE_BYTES          1048576  /* freed, so much goes back to the system at once */
#define GATE_READ_BYTES           65536    /* a turn each; lws: below 16 KiB they spin under TLS */
#define GATE_HEADER_BYTES_MAX     16384    /* lws: its default of 4096 fails on usual CDN headers */
#define GATE_HEADROOM_BYTES       32       /* before a payload, for the transport's frame header */
#define GATE_BODY_BYTES_MAX       4194304  /* an HTTP answer; GET /gateway/bot needs 200 bytes */
#define GATE_HOST_BYTES_MAX       95       /* lws: two of them must fit into 256 with a proxy */
#define GATE_TARGET_BYTES_MAX     1900     /* lws: a request line is cut at 2048 */
#define GATE_URL_BYTES_MAX        512      /* real ones have 40; a longer resume URL is ignored */
#define GATE_SESSION_ID_BYTES_MAX 256      /* real ones have 32; treated as opaque */
#define GATE_TOKEN_BYTES_MAX      512      /* real ones have 72 */
#define GATE_NAME_BYTES_MAX       64       /* the longest event name has 36 */
#define GATE_REASON_BYTES_MAX     123      /* RFC 6455, 5.5: a close payload of 125 less the code */
#define GATE_DEPTH_MAX            128      /* nesting; the deepest real event has about 15 */
#define GATE_ACTIONS_MAX          24       /* one input asks for nine at most */

#define GATE_CENSUS_NAMES_MAX 192 /* event names counted apart; Discord has some 80 */
#define GATE_CLOSES_MAX       24  /* codes that are counted apart; Discord has 14 of them */

#define GATE_SENDS_MAX           120 /* sends of a connection in any window; Discord: 4008 above */
#define GATE_SEND_WINDOW_MS      60000  /* that window */
#define GATE_SENDS_RESERVED_MIN  5      /* places kept for beats, identify and resume */
#define GATE_SENDS_RESERVED_MAX  60     /* with absurdly short intervals commands still move */
#define GATE_OUTBOX_COMMANDS_MAX 256    /* accepted while the shard is away: two minutes */
#define GATE_OUTBOX_BYTES_MAX    262144 /* and their bytes */
#define GATE_SEND_TIMEOUT_MS     300000 /* a command waits this long for its turn */

#define GATE_PRESENCES_MAX      5 /* of a connection in their window; more are dropped silently */
#define GATE_PRESENCE_WINDOW_MS 20500 /* Discord's 20 s; the network brings two closer together */
#define GATE_MEMBERS_WINDOW_MS  30500 /* Discord's 30 s a guild, likewise: else not served */
#define GATE_TRAILS_MAX         128 /* what counts at a time; a connection sends less in a window */
#define GATE_LIMITED_MS_MAX     300000 /* of a RATE_LIMITED: by then what waits was given up */

#define GATE_IDENTIFY_WINDOW_MS 5250  /* one a key in Discord's 5 s; the network, likewise */
#define GATE_SLOT_LEASE_MS      60000 /* to identify: longer than connecting and HELLO may take */
#define GATE_IDENTIFY_LEASE_MS  30000 /* then, to fail or get ready before the key is lost */
#define GATE_CONCURRENCY_MAX    1024  /* keys; the largest bots are assigned 64 */
#define GATE_WINDOW_LOOK_MS     250   /* how soon to see whether another engine has identified */
#define GATE_SLOT_ASK_AGAIN_MS  60000 /* so that a lost request cannot hang a shard */

#define GATE_QUOTA_TOTAL     1000 /* identifies a day; Discord's least, where nobody says more */
#define GATE_QUOTA_TOTAL_MAX 10000000 /* the largest bots have some thousand */
#define GATE_QUOTA_RESERVE   10 /* not spent: for a restart, and whom this process cannot see */
#define GATE_QUOTA_DAY_MS    86400000 /* Discord counts in 24 hours */
#define GATE_QUOTA_STEP_MS   900000   /* what is counted is forgotten in such steps */
#define GATE_QUOTA_STEPS     98       /* a day, the step under way, and one for late packets */
#define GATE_HOLD_LOOK_MS    30000 /* how soon to see whether the gateway has said something else */

#define GATE_CONNECT_TIMEOUT_MS 30000   /* resolving, TCP, TLS and upgrade together */
#define GATE_HELLO_TIMEOUT_MS   20000   /* from the upgrade to HELLO */
#define GATE_READY_TIMEOUT_MS   120000  /* without a dispatch: an outage is sat out */
#define GATE_CLOSE_TIMEOUT_MS   3000    /* the peer may never answer a close */
#define GATE_INTERVAL_MS_MIN    1       /* HELLO with less is malformed */
#define GATE_INTERVAL_MS_MAX    3600000 /* and so is more than an hour */
#define GATE_BEAT_SLACK_MS      250     /* beats of one thread this close leave together */
#define GATE_ASLEEP_MS          5000    /* a machine that slept longer has lost its connections */

#define GATE_BACKOFF_BASE_MS          1000     /* full jitter: random x min(cap, base x 2^n) */
#define GATE_BACKOFF_CAP_MS           60000    /* the longest wait between connects */
#define GATE_IDENTIFY_BACKOFF_BASE_MS 5000     /* failed identifies have a ladder of their own: */
#define GATE_IDENTIFY_BACKOFF_CAP_MS  600000   /* at this cap 288 a day, far below 1000 */
#define GATE_FIRST_RECONNECT_MS       250      /* the first reconnect comes at once, with jitter */
#define GATE_STABLE_MS                30000    /* so long a connection resets the ladder */
#define GATE_INVALID_WAIT_MS_MIN      1000     /* after op 9: a random wait between this */
#define GATE_INVALID_WAIT_MS_MAX      5000     /* and this */
#define GATE_RETRY_AFTER_MS_MAX       86400000 /* a day; whoever says more has a wrong clock */

#define GATE_RESUME_HOST_FAILURES_MAX 2 /* then the main URL, still resuming */
#define GATE_RESUMES_MAX              5 /* without RESUMED; then a new session */
#define GATE_EMPTY_MESSAGES_MAX       5 /* the fifth in a row reconnects */
#define GATE_POISONED_MAX             3 /* undecodable closes at one sequence, then a new session */

#define GATE_SHARDS_MAX         1000000 /* of a bot; the largest have some ten thousand */
#define GATE_RESHARD_OVERLAP_MS 2000    /* by which two shards may bring the same event apart */

#define GATE_HANDSHAKES_MAX 16   /* at once, of one engine: the max_concurrency of large bots */
#define GATE_DOOR_PLACE_MS  3000 /* so long a handshake counts, which takes a tenth of it */
#define GATE_DOOR_LOOK_MS   1000 /* how soon who waits for its turn looks at the latest */

#define GATE_ADDRESSES_MAX       8     /* of a name; more are not tried in one attempt */
#define GATE_ADDRESS_TIMEOUT_MS  5000  /* for one of several addresses, up to the upgrade */
#define GATE_RESOLVE_WORKERS_MAX 4     /* threads: so many stuck lookups hold up the others */
#define GATE_RESOLVE_CACHE_MS    30000 /* a good answer is used again */
#define GATE_TLS_TICKETS_MAX     32    /* hosts whose TLS is resumed; Discord has a dozen */
#define GATE_LINKS_MAX           1024  /* descriptors of one I/O thread; 16 bytes each */
#define GATE_THREAD_SHARDS_MAX   128   /* a wake's poll() takes 2 us a connection: 0.3 ms at most */
#define GATE_THREADS_MAX         128   /* of an engine: 16,384 shards, 1.2 GB of connections */

#define GATE_QUEUE_EVENTS_MAX      100000  /* high mark: reading pauses */
#define GATE_QUEUE_BYTES_MAX       6291456 /* the same: seconds of a busy shard; a pause is cheap */
#define GATE_QUEUE_LEAVE_BYTES_MAX 67108864 /* where shards leave then: the guilds of a start */
#define GATE_QUEUE_QUIET_MAX       64 /* events of one turn before Lua is woken in its midst */
#define GATE_QUEUE_BATCH_MAX       64 /* events that Lua takes at once: one lock for all of them */
#define GATE_QUEUE_BATCH_BYTES     262144 /* the same; after one that is larger no other */
#define GATE_QUEUE_HARD_FACTOR     4      /* hard mark: bytes already read are above the high one */
#define GATE_DROP_EVENTS_MAX       128    /* names that may be dropped; Discord knows some 80 */
#define GATE_AWAY_MS_MIN           5000   /* away at least, after leaving because of a full queue */
#define GATE_QUEUE_NOTES_MAX       4096   /* moongate's own events; kept apart from the above */
#define GATE_COMMANDS_MAX          4096   /* waiting for the I/O thread */
#define GATE_COMMAND_BYTES_MAX     16777216 /* and their bytes */
#define GATE_FILE_LOCK_TIMEOUT_MS  200      /* its holder writes one small file; then it is busy */
#define GATE_STOP_TIMEOUT_MS       2000     /* joining a thread never takes longer */

_Static_assert(GATE_TRAILS_MAX > GATE_SENDS_MAX, "one connection fits, and a RATE_LIMITED");
_Static_assert(GATE_SENDS_RESERVED_MAX < GATE_SENDS_MAX, "commands need places too");
_Static_assert(GATE_IDENTIFY_LEASE_MS > GATE_IDENTIFY_WINDOW_MS, "a lease outlives its window");
_Static_assert((GATE_QUOTA_STEPS - 1) * GATE_QUOTA_STEP_MS > GATE_QUOTA_DAY_MS,
               "what left within a day is still counted");
_Static_assert(GATE_SLOT_LEASE_MS > GATE_CONNECT_TIMEOUT_MS + GATE_HELLO_TIMEOUT_MS,
               "no slow shard identifies after the key went to another");
_Static_assert(GATE_LINKS_MAX >= 2 * GATE_THREAD_SHARDS_MAX, "room for requests beside the shards");
_Static_assert(GATE_READ_BYTES >= 16384, "smaller reads spin for ever under TLS");
_Static_assert(GATE_INVALID_WAIT_MS_MIN < GATE_INVALID_WAIT_MS_MAX, "a range");

#endif

/* sandbox_state.h - a sandbox from the inside: what its files share.
 * Included by the sandbox_*.c files only. Everything here is under the lock of sandbox_loop.h. */
#ifndef MOONGATE_SANDBOX_STATE_H
#define MOONGATE_SANDBOX_STATE_H

#include "sandbox.h"
#include "sandbox_archive.h"
#include "sandbox_form.h"
#include "sandbox_journal.h"
#include "sandbox_link.h"
#include "sandbox_rate.h"
#include "sandbox_tls.h"
#include "sandbox_world.h"

struct gate_guild {
    uint64_t id, channel_id;
    int64_t asked_ms;      /* when all its members were last asked for; 0: never */
    uint64_t voice_id;     /* the channel that the bot speaks in; 0: none */
    int64_t voice_since_s; /* of the Unix epoch, by the server's clock */
};

#define GATE_SEAT_BUCKETS 256 /* thousands of sessions may come back at once */

struct gate_reply;      /* a scripted answer, see sandbox_http.c */
struct gate_substitute; /* see sandbox_instead.c */
struct gate_words;      /* see sandbox_seat.c */

struct gate_sandbox {
    struct gate_sandbox *next;           /* of the loop's list */
    struct gate_sandbox_options options; /* spans point into `words` */
    struct gate_buf words;
    int64_t process; /* the one that started it: it does not survive fork */
    int fd;          /* listening; the server's thread only */
    int port;
    int resume_fd; /* the same for resumes; -1: none */
    int resume_port;
    struct gate_watch watch, resume_watch;
    bool resume_alive, resume_wanted; /* it listens; it shall */
    SSL_CTX *tls;
    char ca_file[GATE_CA_FILE_BYTES];
    bool stopping;        /* asked for */
    bool gone;            /* the server's thread has let go of it */
    int64_t accept_at_ms; /* not before: the process is out of descriptors */

    uint64_t random;
    struct gate_knobs knobs; /* of connections to come */
    struct gate_link *links, *last_link;
    int64_t last_id;
    struct gate_seat *seats, *last_seat;
    struct gate_seat *seats_by_id[GATE_SEAT_BUCKETS];
    struct gate_seat *first_away, *last_away; /* those that wait for a resume */
    size_t seats_away;                        /* how many they are */
    struct gate_words *words_of_last;         /* of the newest event; see sandbox_seat.c */
    struct gate_guild *guilds;                /* options.guilds of them */
    struct gate_world world;
    struct gate_archive archive;
    struct gate_rate rates[GATE_RATES]; /* see sandbox_rate.h */
    struct gate_reply *replies;
    struct gate_substitute *substitutes;
    struct gate_journal received, log, requests, history;

    int64_t *slot_ms; /* max_concurrency of them: when a key last identified; 0: never */
    int64_t starts_used, starts_reset_ms;
};

/* The next number of the sandbox's own sequence; the same seed gives the same ones. */
uint64_t gate_sandbox_random(struct gate_sandbox *sandbox);

/* Milliseconds of a monotonic clock. */
int64_t gate_sandbox_now(void);

/* Milliseconds of the Unix epoch by the server's clock, which may be wrong on purpose. */
int64_t gate_sandbox_wall_ms(const struct gate_sandbox *sandbox);

/* The same as HTTP has it (RFC 9110, 5.6.7), into `out`. */
#define GATE_SANDBOX_DATE_BYTES 40 /* "Sun, 06 Nov 1994 08:49:37 GMT", with room to spare */
struct gate_span gate_sandbox_date(const struct gate_sandbox *sandbox,
                                   char out[GATE_SANDBOX_DATE_BYTES]);

/* Adds a line to the log. `link` may be NULL. */
void gate_sandbox_log(struct gate_sandbox *sandbox, const struct gate_link *link, const char *what,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "ws://127.0.0.1:4711" or "http://...", into `out`; `web` for the latter. */
#define GATE_SANDBOX_URL_BYTES 64 /* scheme, loopback and a port */
struct gate_span gate_sandbox_url(const struct gate_sandbox *sandbox, bool web,
                                  char out[GATE_SANDBOX_URL_BYTES]);

/* The same of the host for resumes, a WebSocket's. */
struct gate_span gate_sandbox_resume_url(const struct gate_sandbox *sandbox,
                                         char out[GATE_SANDBOX_URL_BYTES]);

/* Session starts that are left, and ms until all are there again. */
int64_t gate_sandbox_starts_left(struct gate_sandbox *sandbox, int64_t now_ms, int64_t *reset_ms);

#endif

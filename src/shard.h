/* shard.h - one shard as a pure machine: bytes and time in, actions and a deadline out.
 * The public C interface of the core. Called by the engine on the I/O thread, and by lua_machine.c,
 * the simulator and the fuzzers on whatever single thread owns the shard.
 *
 * A driver, whole: after every input take gate_shard_next() until it returns 0, then arm one timer
 * for gate_shard_deadline(). `now_ms` is monotonic and never goes back. */
#ifndef MOONGATE_SHARD_H
#define MOONGATE_SHARD_H

#include "census.h"
#include "machine.h"

struct gate_shard; /* see shard.c; made by gate_shard_new, as its size is nobody's business */

/* The names somebody listens to. */
struct gate_interest {
    bool all;              /* "*" is heard: every dispatch */
    bool send, receive;    /* the tracing events */
    struct gate_buf names; /* canonical names, each ended by a NUL */
};

/* What can be seen from outside. */
struct gate_status {
    enum gate_state state;
    int64_t seq;         /* -1: none yet */
    int64_t latency_ms;  /* of the last acknowledged beat; -1: none yet */
    int64_t interval_ms; /* of HELLO; 0: none yet */
    bool settled;        /* every dispatch up to `seq` has been handed to the driver */
    uint32_t connection; /* generation */
    char session_id[GATE_SESSION_ID_BYTES_MAX + 1]; /* "": none */
    char session_url[GATE_URL_BYTES_MAX + 1];
    char url[GATE_URL_BYTES_MAX + 1]; /* of the current or last connection, with its query */
    size_t outbox_commands;
    struct gate_counts counts;
    struct gate_traffic traffic; /* of the current or last connection */
};

/* NULL with *error set: GATE_EMEMORY; GATE_EVALUE for a text over its limit or a presence that is
 * no JSON; GATE_EPAYLOAD for an Identify over 4096 bytes. Copies what `options` holds; the token is
 * wiped by gate_shard_del. */
struct gate_shard *gate_shard_new(const struct gate_options *options, int *error);
void gate_shard_del(struct gate_shard *shard); /* NULL is fine */

/* Takes over what waits to be sent, what it has to wait for, and what is heard from `from`, which
 * is idle or dead and whose place this shard takes; `from` is left with what this had to send. */
void gate_shard_inherit(struct gate_shard *shard, struct gate_shard *from);

/* Inputs. Each returns 0 or a negative error that the caller may ignore unless it says so: the
 * machine has already drawn its own conclusion from it. */

/* From idle or dead: begin. GATE_EUSAGE in any other state. */
int gate_shard_start(struct gate_shard *shard, int64_t now_ms);

/* The same, by way of backoff, which is over at once: for a driver that wants to choose when it
 * ticks, and so when the shard connects. */
int gate_shard_line_up(struct gate_shard *shard, int64_t now_ms);

/* The connection is open: TLS and upgrade are done. */
int gate_shard_opened(struct gate_shard *shard, int64_t now_ms, uint32_t connection);

/* Takes bytes up to the end of one message; *used says how many. GATE_AGAIN: a message is complete
 * and more is waiting: drain the actions, call again with what is left of the piece (which may be
 * nothing). Stale pieces are used up and ignored. */
GATE_MUST_CHECK int gate_shard_feed(struct gate_shard *shard, int64_t now_ms,
                                    const struct gate_piece *piece, size_t *used);

/* The connection ended, or never came about. */
int gate_shard_closed(struct gate_shard *shard, int64_t now_ms, uint32_t connection,
                      const struct gate_close *why);

/* The deadline has come (calling it early or twice does nothing). Before calling it the driver
 * reads what is readable: bytes that already arrived count as life. */
int gate_shard_tick(struct gate_shard *shard, int64_t now_ms);

/* Queues an encoded payload. Takes `take` when it returns 0, else leaves it. GATE_EPAYLOAD over
 * 4096 bytes, GATE_EBUSY when the outbox is full, GATE_ECLOSED when idle or dead, GATE_EUSAGE for
 * Identify and Resume, which have inputs of their own. */
GATE_MUST_CHECK int gate_shard_send(struct gate_shard *shard, int64_t now_ms,
                                    struct gate_buf *take);

/* Reading from the transport stopped or goes on: silence is judged accordingly. */
int gate_shard_pause(struct gate_shard *shard, int64_t now_ms, bool paused);

/* The identify slot that was asked for. Ignored when it is not wanted any more (the shard then
 * answers with SLOT_DONE). */
int gate_shard_grant(struct gate_shard *shard, int64_t now_ms);

/* The machine was suspended: drop the connection and resume at once. */
int gate_shard_slept(struct gate_shard *shard, int64_t now_ms, int64_t asleep_ms);

/* User verbs. reconnect: close with `code`, then come back. stop: close with `code` and stay idle.
 * Any code but 1000 and 1001 keeps the session: reconnect resumes it, a later start takes it up.
 * `reason` is copied, at most GATE_REASON_BYTES_MAX bytes of it are used. */
int gate_shard_reconnect(struct gate_shard *shard, int64_t now_ms, int code,
                         struct gate_span reason);
int gate_shard_stop(struct gate_shard *shard, int64_t now_ms, int code, struct gate_span reason);

/* By hand. identify: a wait for the next attempt is over, and every Identify from now on says what
 * `wanted` (NULL: nothing new) says of intents, large_threshold, presence and properties; what it
 * leaves out stays. Where the shard has a session it resumes, where a greeting is on its way or
 * answered nothing else follows. GATE_EUSAGE when idle or dead; errors as gate_shard_new.
 * resume: a shard that is ready makes a new connection and resumes; a wait is over. GATE_EUSAGE
 * when idle or dead, and without a session.
 * beat: one heartbeat more. GATE_ECLOSED where no connection is open, GATE_EBUSY when the sends of
 * the minute are used up.
 * receive: `take` is one whole message, uncompressed, of the shard's encoding, and is treated as if
 * it had come from the peer, between two others; it is no sign of life. Taken when it returns 0.
 * GATE_ECLOSED where no connection is open, GATE_EBUSY while actions wait, GATE_ESYNTAX and
 * GATE_EDEPTH for what is not one payload, which has no consequences. */
GATE_MUST_CHECK int gate_shard_identify(struct gate_shard *shard, int64_t now_ms,
                                        const struct gate_options *wanted);
GATE_MUST_CHECK int gate_shard_resume(struct gate_shard *shard, int64_t now_ms);
GATE_MUST_CHECK int gate_shard_beat(struct gate_shard *shard, int64_t now_ms);
GATE_MUST_CHECK int gate_shard_receive(struct gate_shard *shard, int64_t now_ms,
                                       struct gate_buf *take);

/* Nobody takes what comes: a shard that is ready, or whose resume brings events, closes with a code
 * that keeps the session and comes back after GATE_AWAY_MS_MIN at the earliest, or the cap of the
 * back-off if that is less. Other states go on. That is no failure: no wait grows by it. */
int gate_shard_leave(struct gate_shard *shard, int64_t now_ms, struct gate_span reason);

/* Memory for the next message, which is taken out of `from` if there is use for it. */
void gate_shard_lend(struct gate_shard *shard, struct gate_buf *from);

/* Counts dispatches by name from now on, heard or not, in `census`, which outlives the shard. */
void gate_shard_census(struct gate_shard *shard, struct gate_census *census);

/* Replaces the set of heard names; takes the buffer. Without a call nothing is heard. */
void gate_shard_interest(struct gate_shard *shard, struct gate_interest *take);

/* Outputs. */

/* When tick is wanted; -1: never (idle and dead only). */
int64_t gate_shard_deadline(const struct gate_shard *shard);

/* When a tick makes the shard connect to take up its session; -1: it does not do that next. A
 * driver may tick it later than that. */
int64_t gate_shard_resumes_at(const struct gate_shard *shard);

/* 1 and the oldest action in *out, whose buffers now belong to the caller; 0: none. */
GATE_MUST_CHECK int gate_shard_next(struct gate_shard *shard, struct gate_action *out);

/* There is a session to take up. */
bool gate_shard_has_session(const struct gate_shard *shard);

/* What can be seen now; text in *out is a copy. */
enum gate_state gate_shard_state(const struct gate_shard *shard);
void gate_shard_status(const struct gate_shard *shard, struct gate_status *out);

#endif

/* engine.h - the I/O threads: they own the sockets, the clock and the shards, and turn their crank.
 * Called by lua_engine.c on the Lua thread, which never sees a shard; everything crosses over in
 * bounded queues. No function here blocks longer than a mutex, but gate_engine_del, and those that
 * name a shard for the first time, which may have to start a thread for it. */
#ifndef MOONGATE_ENGINE_H
#define MOONGATE_ENGINE_H

#include "door.h"
#include "event.h"
#include "moongate.h"
#include "shard.h"
#include "transport.h"

struct gate_engine;

/* Strings are copied; NULL means the default. */
struct gate_engine_options {
    const char *ca_file;     /* PEM; NULL: the system store ($SSL_CERT_FILE honoured) */
    bool insecure_tls;       /* no certificate check at all */
    const char *proxy;       /* "[user:password@]host:port" of an HTTP proxy; NULL: none */
    const char *user_agent;  /* of upgrades and HTTP requests */
    size_t queue_events_max; /* high marks of the event queue; 0: the limits of moongate.h */
    size_t queue_bytes_max;
    /* What a full queue does. Neither: reading pauses. */
    struct gate_span drop_events; /* drops the oldest of these: names, each ended by a NUL */
    bool leave_when_full;         /* closes the connections and resumes once there is room */
    int concurrency;              /* max_concurrency of the identify slots; 0: 1 */
    int64_t identify_reserve;     /* identifies of the day that stay unspent; -1: the default */
    bool coordinated;             /* no shard identifies before gate_engine_turn says so */
    size_t thread_shards;         /* of one thread; 0: the limit of moongate.h */
};

/* Keeps this code where it is until the process ends, as lua_close would take it from under a
 * thread that runs, and from what is known of tokens. Any number of times. */
void gate_engine_pin(void);

/* Starts a thread (all signals blocked in it); more of them follow with the shards. NULL and *error
 * set on failure: GATE_EMEMORY, GATE_ESYSTEM, GATE_ECERTIFICATE (ca_file not readable). *detail:
 * words for it, a constant. */
struct gate_engine *gate_engine_new(const struct gate_engine_options *options, int *error,
                                    const char **detail);

/* Closes what is open with `code` (GATE_CLOSE_KEEP or GATE_CLOSE_NORMAL), joins all threads within
 * GATE_STOP_TIMEOUT_MS and frees everything. In a forked child it only frees what is safe. NULL is
 * fine. Bounded even when a name is being resolved. */
void gate_engine_del(struct gate_engine *engine, int code);

/* Commands: queued for the shard's I/O thread, in order. GATE_EBUSY when that queue is full,
 * GATE_EMEMORY, GATE_EFORK in a forked child, GATE_ECLOSED when the thread has ended (at exit). */

/* Creates the shard (options are copied) and starts it. A shard of that id that is idle or dead is
 * replaced, its outbox and interest kept; one that runs answers with an `error` event. Options that
 * gate_shard_new refuses are refused at once, with its error. GATE_ESYSTEM: the shard needs another
 * thread, and there is none to be had. */
GATE_MUST_CHECK int gate_engine_start(struct gate_engine *engine,
                                      const struct gate_options *options);

/* What the shard speaks, or will once the start that is on its way has arrived; JSON when it was
 * never started. */
const struct gate_codec *gate_engine_codec(struct gate_engine *engine, int shard_id);

/* An encoded payload for a shard, of any encoding (the I/O thread makes it the shard's own), with
 * GATE_HEADROOM_BYTES in front (else GATE_EUSAGE); takes `take` when it returns 0. GATE_EPAYLOAD,
 * and GATE_ECLOSED when the shard's last known state is idle or dead. A payload that cannot be
 * queued later is reported by an `error` event with phase "send". */
GATE_MUST_CHECK int gate_engine_send(struct gate_engine *engine, int shard_id,
                                     struct gate_buf *take);

/* Replaces what is heard on a shard; takes `take` when it returns 0. May come before start. */
GATE_MUST_CHECK int gate_engine_interest(struct gate_engine *engine, int shard_id,
                                         struct gate_interest *take);

/* stop: close with `code`, stay idle. reconnect: close with `code`, come back. reason may be empty;
 * it is copied. */
GATE_MUST_CHECK int gate_engine_stop_shard(struct gate_engine *engine, int shard_id, int code,
                                           struct gate_span reason);
GATE_MUST_CHECK int gate_engine_reconnect(struct gate_engine *engine, int shard_id, int code,
                                          struct gate_span reason);

/* The turn to identify that a `turn` event asked for, with its number. */
GATE_MUST_CHECK int gate_engine_turn(struct gate_engine *engine, int shard_id, int64_t number);

/* By hand, as shard.h has it; what fails on the thread is told by an `error` event whose phase is
 * the verb's name ("heartbeat" for beat). identify: `wanted` NULL: nothing new to say; else its
 * strings are copied, and it has a token, which is not looked at. receive takes `take`, a message
 * of any encoding, when it returns 0; GATE_ESYNTAX and others at once for what is no message. */
GATE_MUST_CHECK int gate_engine_identify(struct gate_engine *engine, int shard_id,
                                         const struct gate_options *wanted);
GATE_MUST_CHECK int gate_engine_resume(struct gate_engine *engine, int shard_id);
GATE_MUST_CHECK int gate_engine_beat(struct gate_engine *engine, int shard_id);
GATE_MUST_CHECK int gate_engine_receive(struct gate_engine *engine, int shard_id,
                                        struct gate_buf *take);

/* max_concurrency as the gateway reports it. */
GATE_MUST_CHECK int gate_engine_concurrency(struct gate_engine *engine, int concurrency);

/* An HTTP/1.1 request. Everything is copied. The answer is an own event named `http` of shard -1:
 * { id, status, body, headers = { retry_after, content_type, ... } } or
 * { id, error (a code name), message, phase }. Redirects are not followed. */
GATE_MUST_CHECK int gate_engine_request(struct gate_engine *engine,
                                        const struct gate_request *request);

/* Events. */

/* The oldest event: true, or false: none. `event` is empty, or holds what an earlier call gave,
 * which is done with: it is freed, or its memory used again. The caller frees the last one with
 * gate_event_free. The `http`, `state`, `fatal` and other own events come in order with the
 * dispatches of their shard. */
GATE_MUST_CHECK bool gate_engine_next(struct gate_engine *engine, struct gate_event *event);

/* Readable while an event waits. Poll it, never read it. */
int gate_engine_fd(const struct gate_engine *engine);

/* A snapshot as of the last turn of the loop. GATE_EUSAGE for a shard that was never started. */
int gate_engine_status(struct gate_engine *engine, int shard_id, struct gate_status *out);

struct gate_engine_counts {
    size_t queue_events, queue_bytes, queue_events_peak, queue_bytes_peak;
    uint64_t events_out, events_dropped, notes_dropped, pauses;
    int64_t lag_ms;               /* how long the oldest has waited; 0: none waits */
    bool paused;                  /* reading is stopped because the queue is full */
    struct gate_crowd handshakes; /* as of the last turn of the loop */
};
void gate_engine_counts(struct gate_engine *engine, struct gate_engine_counts *out);

/* The name with this number, from 0, among those that may be dropped, and how many were: true, or
 * false: there are no more. The name lives as long as the engine. */
bool gate_engine_dropped(struct gate_engine *engine, uint32_t at, struct gate_span *name,
                         uint64_t *count);

/* Dispatches by name, as gate_crew_census. It waits for nobody. */
bool gate_engine_census(struct gate_engine *engine, struct gate_census_walk *at,
                        struct gate_census_entry *out);

#endif

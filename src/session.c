/* session.c - see session.h. The machine, as a table:
 *
 *  input               where                  what follows
 *  ------------------  ---------------------  ----------------------------------------------------
 *  start               idle, dead             session kept? CONNECT -> connecting
 *                                             else SLOT_ASK -> waiting
 *  line up             idle, dead             -> backoff, which is over at once
 *  backoff is over     backoff                the same as start
 *  slot granted        waiting                CONNECT -> connecting; elsewhere SLOT_DONE
 *  slot overdue        waiting                SLOT_ASK again
 *  opened              connecting             fresh heart and budget -> hello
 *  op 10               hello                  beats begin; SEND resume -> resuming,
 *                                             or SEND identify (SLOT_SPENT) -> identifying
 *  READY               identifying, resuming  new session -> ready, SLOT_DONE, EVENT
 *  RESUMED             resuming               -> ready, EVENT
 *  op 0                id., res., ready       sequence forward, EVENT; repeated: dropped, counted
 *  RATE_LIMITED        id., res., ready       as any op 0, and its commands wait
 *  op 1                hello to ready         SEND heartbeat, the timer stays
 *  op 11               hello to ready         acknowledged, latency
 *  op 7                hello to ready         CLOSE 4000 -> closing, resume
 *  op 9 true, false    hello to ready         CLOSE 4000 keep, CLOSE 1000 drop -> closing,
 *                                             then at least the random 1-5 s
 *  other ops           hello to ready         counted, ignored; so are op 10 twice, early op 0
 *  beat due            id., res., ready       SEND heartbeat, or zombie: ABORT -> backoff, resume
 *  HELLO overdue       hello                  CLOSE 4000 -> closing, resume
 *  READY overdue       identifying, resuming  CLOSE 4000 -> closing; each dispatch restarts it
 *  empty message       hello to ready         counted; the fifth in a row: CLOSE 4000 -> closing
 *  undecodable         hello to ready         CLOSE 4000 -> closing, resume; the third at the
 *                                             same sequence drops the session
 *  closed(code)        connecting to closing  row of the table in codes.c, or our own plan:
 *                                             -> backoff, dead or idle
 *  connect overdue     connecting             ABORT -> backoff
 *  close overdue       closing                ABORT, then as if closed
 *  slept               connecting to closing  ABORT -> backoff, at once
 *  leave               ready; resuming, once  CLOSE 4000 -> closing, resume after a while;
 *                      an event has come      counts on no ladder
 *  reconnect           hello to ready         CLOSE -> closing -> backoff;
 *                                             connecting: ABORT -> backoff; backoff: at once
 *  stop                anywhere               CLOSE -> closing -> idle; or, unconnected, -> idle
 *  send                all but idle, dead     kept; SEND in ready, as the budget and the
 *                                             command's own limit allow
 *
 *  identify by hand    backoff                over at once; what it says counts from the next
 *                      waiting to ready       Identify on, which leaves when it is its turn
 *  resume by hand      backoff                with a session: over at once
 *                      ready                  CLOSE 4000 -> closing, resume
 *  beat by hand        hello to ready         SEND heartbeat, as the budget allows; the timer stays
 *  message by hand     hello to ready         as the payload it holds, but it is no sign of life
 *
 * What stands in no row is ignored. Every state but idle and dead has a deadline. */
#include "session.h"

#include <stdio.h>
#include <string.h>

#include "connection.h"
#include "greeting.h"
#include "payload.h"
#include "report.h"
#include "transcode.h"

#define NEVER (-1)

static struct gate_span span_of(const char *text) {
    return (struct gate_span){text, strlen(text)};
}

static int64_t sooner(int64_t a_ms, int64_t b_ms) {
    if (a_ms == NEVER) return b_ms;
    return b_ms == NEVER || a_ms < b_ms ? a_ms : b_ms;
}

/* ---- Init and free --------------------------------------------------------------------------- */

static void copy_text(char *to, struct gate_span from) {
    if (from.len) memcpy(to, from.data, from.len);
    to[from.len] = '\0';
}

static void open_payload(struct gate_buf *out) {
    gate_buf_init(out, GATE_HEADROOM_BYTES, 0);
}

int gate_session_init(struct gate_session *session, const struct gate_options *options) {
    *session = (struct gate_session){.options = *options, .deadline_ms = NEVER, .seq = NEVER};
    gate_buf_init(&session->strings, 0, 0);
    gate_buf_init(&session->presence, 0, 0);
    gate_outbox_init(&session->outbox);
    gate_pace_init(&session->pace);
    gate_heart_init(&session->connection.heart, 0);
    gate_backoff_init(&session->backoff, options->backoff_base_ms, options->backoff_cap_ms,
                      options->seed);
    int rc = gate_options_keep(&session->options, &session->strings);
    if (rc == GATE_OK) rc = gate_greeting_try(session);
    if (rc == GATE_OK && options->session_id.len) {
        copy_text(session->id, options->session_id);
        copy_text(session->resume_url, options->session_url);
        session->seq = options->session_seq;
        session->options.session_id = session->options.session_url = GATE_SPAN("");
    }
    if (rc < 0) gate_session_free(session);
    return rc;
}

void gate_session_free(struct gate_session *session) {
    struct gate_action action;
    while (gate_session_next(session, &action)) gate_action_free(&action);
    gate_outbox_free(&session->outbox);
    gate_buf_free(&session->presence);
    gate_buf_wipe(&session->strings);
    gate_buf_free(&session->strings);
    session->options.token = (struct gate_span){NULL, 0};
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void send_beat(struct gate_session *session, int64_t now_ms, bool regular) {
    struct gate_buf beat;
    open_payload(&beat);
    if (gate_payload_heartbeat(session->options.codec, &beat, session->seq) < 0) {
        gate_buf_free(&beat);
        gate_connection_abort(session, now_ms, GATE_PHASE_OPEN, GATE_EMEMORY,
                              "no memory for a heartbeat");
        return;
    }
    int64_t late_ms = gate_heart_beat(&session->connection.heart, now_ms, regular);
    if (late_ms > session->counts.beat_late_ms) session->counts.beat_late_ms = late_ms;
    session->counts.beats++;
    gate_connection_send(session, now_ms, &beat, false);
}

static void expire_commands(struct gate_session *session, int64_t now_ms) {
    while (gate_session_has_room(session) && gate_outbox_expire(&session->outbox, now_ms))
        gate_report_expired(session);
}

/* In the encoding of this connection, which may not be the one that it was queued in, and still
 * within the limit. */
static int translate(const struct gate_session *session, struct gate_buf *command) {
    int rc = gate_transcode_packet(session->options.codec, command);
    return rc == GATE_OK && command->len > GATE_PAYLOAD_BYTES_MAX ? GATE_EPAYLOAD : rc;
}

static void send_command(struct gate_session *session, int64_t now_ms, size_t nth) {
    struct gate_buf command;
    open_payload(&command);
    struct gate_errand errand = *gate_outbox_errand(&session->outbox, nth);
    gate_outbox_take(&session->outbox, nth, &command);
    int rc = translate(session, &command);
    if (rc < 0) {
        gate_buf_free(&command);
        gate_report_unsent(session, rc);
        return;
    }
    gate_pace_spend(&session->pace, now_ms, &errand);
    gate_connection_send(session, now_ms, &command, false);
}

/* In order, but what a limit of its own holds is overtaken. */
static void send_commands(struct gate_session *session, int64_t now_ms) {
    struct gate_outbox *outbox = &session->outbox;
    size_t held = 0;
    session->send_at_ms = NEVER;
    while (held < outbox->count) {
        int64_t open_ms = gate_budget_when(&session->connection.budget, now_ms, false);
        if (open_ms > now_ms || !gate_session_has_room(session)) {
            session->send_at_ms = open_ms;
            return;
        }
        int64_t free_ms = gate_pace_when(&session->pace, now_ms, gate_outbox_errand(outbox, held));
        if (free_ms <= now_ms) {
            send_command(session, now_ms, held);
        } else {
            session->send_at_ms = sooner(session->send_at_ms, free_ms);
            held++;
        }
    }
}

/* Ends every input: commands leave as far as state, limits and the ring of actions allow. Until
 * something changes, looking again before `send_at_ms` would find nothing. */
void gate_session_settle(struct gate_session *session, int64_t now_ms) {
    expire_commands(session, now_ms);
    if (session->state != GATE_STATE_READY || session->outbox.count == 0)
        session->send_at_ms = NEVER;
    else if (session->send_at_ms <= now_ms)
        send_commands(session, now_ms);
}

static int settle(struct gate_session *session, int64_t now_ms) {
    gate_session_settle(session, now_ms);
    return GATE_OK;
}

/* ---- Payloads -------------------------------------------------------------------------------- */

static void close_now(struct gate_session *session, int64_t now_ms, int code, const char *reason,
                      enum gate_plan plan) {
    gate_connection_close(session, now_ms, code, span_of(reason), plan);
}

static void take_hello(struct gate_session *session, int64_t now_ms,
                       const struct gate_envelope *envelope) {
    struct gate_connection *c = &session->connection;
    int64_t interval_ms;
    int rc = gate_payload_read_hello(session->options.codec, envelope->data, &interval_ms);
    if (rc < 0) {
        gate_session_undecodable(session, now_ms, rc);
        return;
    }
    c->greeted = true;
    gate_heart_start(&c->heart, now_ms, interval_ms, gate_backoff_random(&session->backoff));
    gate_budget_reserve(&c->budget, interval_ms);
    gate_greeting_send(session, now_ms);
}

static void become_ready(struct gate_session *session) {
    session->connection.proven = true;
    gate_connection_release_slot(session);
    session->failed_resumes = 0;
    gate_connection_go(session, GATE_STATE_READY, NEVER);
}

static bool take_ready(struct gate_session *session, int64_t now_ms,
                       const struct gate_envelope *envelope) {
    char id[sizeof session->id], url[sizeof session->resume_url];
    int rc = gate_payload_read_ready(session->options.codec, envelope->data, id, url);
    if (rc < 0) {
        gate_session_undecodable(session, now_ms, rc);
        return false;
    }
    if (strcmp(id, session->id) == 0 && envelope->has_seq && envelope->seq <= session->seq) {
        session->counts.events_repeated++;
        return false;
    }
    gate_connection_forget(session);
    memcpy(session->id, id, sizeof id);
    memcpy(session->resume_url, url, sizeof url);
    session->seq = envelope->has_seq ? envelope->seq : 0;
    session->counts.readies++;
    become_ready(session);
    return true;
}

/* null never overwrites, 0 is a number, a gap is reported, a repeat dropped. False: a repeat. */
static bool move_sequence(struct gate_session *session, const struct gate_envelope *envelope) {
    if (!envelope->has_seq) return true;
    if (envelope->seq <= session->seq) {
        session->counts.events_repeated++;
        return false;
    }
    if (session->seq != NEVER && envelope->seq > session->seq + 1) {
        session->counts.gaps++;
        gate_report_gap(session, envelope->seq);
    }
    session->seq = envelope->seq;
    session->failed_resumes = 0; /* a replay that goes on is no dead session */
    session->connection.fruitful = true;
    return true;
}

static bool is_named(const struct gate_envelope *envelope, const char *name) {
    return envelope->name.len == strlen(name) &&
           memcmp(envelope->name.data, name, envelope->name.len) == 0;
}

/* It is obeyed whoever listens; what makes no sense there is for listeners alone. */
static void take_limited(struct gate_session *session, int64_t now_ms,
                         const struct gate_envelope *envelope) {
    struct gate_limited limited;
    int rc = gate_payload_read_limited(session->options.codec, envelope->data, &limited);
    if (rc == GATE_OK) gate_pace_obey(&session->pace, now_ms, &limited);
}

static bool take_dispatch(struct gate_session *session, int64_t now_ms,
                          const struct gate_envelope *envelope) {
    if (session->state == GATE_STATE_HELLO) {
        session->counts.unknown_ops++;
        return false;
    }
    if (session->state != GATE_STATE_READY)
        session->deadline_ms = now_ms + session->options.ready_timeout_ms;
    if (is_named(envelope, "READY")) return take_ready(session, now_ms, envelope);
    bool fresh = move_sequence(session, envelope);
    if (fresh && is_named(envelope, "RATE_LIMITED")) take_limited(session, now_ms, envelope);
    if (session->state != GATE_STATE_RESUMING || !is_named(envelope, "RESUMED")) return fresh;
    /* The one that is waited for counts whatever its sequence says. */
    session->connection.resumed = true;
    session->counts.resumed++;
    become_ready(session);
    return true;
}

static void take_invalid(struct gate_session *session, int64_t now_ms,
                         const struct gate_envelope *envelope) {
    bool keep = gate_payload_read_invalid(session->options.codec, envelope->data);
    session->connection.wait_min_ms = gate_backoff_invalid_ms(&session->backoff);
    close_now(session, now_ms, keep ? GATE_CLOSE_KEEP : GATE_CLOSE_NORMAL, "invalid session",
              keep ? GATE_PLAN_RESUME : GATE_PLAN_IDENTIFY);
}

static void take_ack(struct gate_session *session, int64_t now_ms) {
    gate_heart_ack(&session->connection.heart, now_ms);
    session->counts.acks++;
}

bool gate_session_payload(struct gate_session *session, int64_t now_ms,
                          const struct gate_envelope *envelope) {
    bool deliver = false;
    if (!gate_session_is_open(session)) return false;
    session->connection.empty_messages = 0;
    session->counts.messages_in++;
    switch (envelope->op) {
    case GATE_OP_DISPATCH: deliver = take_dispatch(session, now_ms, envelope); break;
    case GATE_OP_HEARTBEAT: send_beat(session, now_ms, false); break;
    case GATE_OP_HEARTBEAT_ACK: take_ack(session, now_ms); break;
    case GATE_OP_RECONNECT:
        close_now(session, now_ms, GATE_CLOSE_KEEP, "reconnecting", GATE_PLAN_RESUME);
        break;
    case GATE_OP_INVALID_SESSION: take_invalid(session, now_ms, envelope); break;
    case GATE_OP_HELLO:
        if (session->state == GATE_STATE_HELLO)
            take_hello(session, now_ms, envelope);
        else
            session->counts.unknown_ops++;
        break;
    default: session->counts.unknown_ops++;
    }
    return deliver;
}

void gate_session_heard(struct gate_session *session, int64_t now_ms) {
    gate_heart_heard(&session->connection.heart, now_ms);
}

void gate_session_empty(struct gate_session *session, int64_t now_ms) {
    if (!gate_session_is_open(session)) return;
    session->counts.empty_messages++;
    if (++session->connection.empty_messages < GATE_EMPTY_MESSAGES_MAX) return;
    close_now(session, now_ms, GATE_CLOSE_KEEP, "empty messages", GATE_PLAN_RESUME);
}

/* Counts and reports a message that is of no use. One that stays so at the same sequence would come
 * again with every resume; what follows is a resume until then, and a new session after that. */
static enum gate_plan take_poison(struct gate_session *session, int error) {
    bool again = session->poisoned && session->poisoned_seq == session->seq;
    session->counts.undecodable++;
    session->poisoned = again ? session->poisoned + 1 : 1;
    session->poisoned_seq = session->seq;
    gate_report_undecodable(session, error);
    if (session->poisoned < GATE_POISONED_MAX) return GATE_PLAN_RESUME;
    session->poisoned = 0;
    return GATE_PLAN_IDENTIFY;
}

void gate_session_undecodable(struct gate_session *session, int64_t now_ms, int error) {
    if (!gate_session_is_open(session)) return;
    enum gate_plan plan = take_poison(session, error);
    close_now(session, now_ms, GATE_CLOSE_KEEP, "undecodable message", plan);
}

/* ---- Other inputs ---------------------------------------------------------------------------- */

static bool is_final(const struct gate_session *session) {
    return session->state == GATE_STATE_IDLE || session->state == GATE_STATE_DEAD;
}

static bool begin_anew(struct gate_session *session) {
    if (!is_final(session)) return false;
    gate_backoff_reset(&session->backoff);
    session->host_failures = 0;
    session->failed_resumes = 0;
    return true;
}

int gate_session_start(struct gate_session *session, int64_t now_ms) {
    if (!begin_anew(session)) return GATE_EUSAGE;
    gate_connection_attempt(session, now_ms);
    return settle(session, now_ms);
}

int gate_session_line_up(struct gate_session *session, int64_t now_ms) {
    if (!begin_anew(session)) return GATE_EUSAGE;
    gate_connection_go(session, GATE_STATE_BACKOFF, now_ms);
    return settle(session, now_ms);
}

int gate_session_opened(struct gate_session *session, int64_t now_ms) {
    if (session->state != GATE_STATE_CONNECTING) return GATE_OK;
    struct gate_connection *c = &session->connection;
    c->opened_at_ms = now_ms;
    gate_heart_init(&c->heart, session->options.slack_ms);
    gate_budget_init(&c->budget);
    gate_pace_renew(&session->pace);
    gate_report_open(session);
    gate_connection_go(session, GATE_STATE_HELLO, now_ms + session->options.hello_timeout_ms);
    return settle(session, now_ms);
}

int gate_session_closed(struct gate_session *session, int64_t now_ms,
                        const struct gate_close *why) {
    if (!gate_connection_exists(session)) return GATE_OK;
    /* The transport refuses a message by its header, before the shard has seen a byte of it. */
    if (gate_session_is_open(session) && why->error == GATE_EMESSAGE)
        session->connection.plan = take_poison(session, why->error);
    gate_connection_end(session, now_ms, why);
    return settle(session, now_ms);
}

/* The deadline of the state itself. */
static void overdue(struct gate_session *session, int64_t now_ms) {
    switch (session->state) {
    case GATE_STATE_BACKOFF: gate_connection_attempt(session, now_ms); break;
    case GATE_STATE_WAITING:
        gate_connection_ask_slot(session);
        session->deadline_ms = now_ms + GATE_SLOT_ASK_AGAIN_MS;
        break;
    case GATE_STATE_CONNECTING:
        gate_connection_abort(session, now_ms, GATE_PHASE_NONE, GATE_ETIMEOUT,
                              "no connection within connect_timeout");
        break;
    case GATE_STATE_HELLO:
        close_now(session, now_ms, GATE_CLOSE_KEEP, "no HELLO", GATE_PLAN_RESUME);
        break;
    case GATE_STATE_IDENTIFYING:
        close_now(session, now_ms, GATE_CLOSE_KEEP, "no READY", GATE_PLAN_RESUME);
        break;
    case GATE_STATE_RESUMING:
        close_now(session, now_ms, GATE_CLOSE_KEEP, "no RESUMED", GATE_PLAN_RESUME);
        break;
    case GATE_STATE_CLOSING:
        gate_connection_abort(session, now_ms, GATE_PHASE_OPEN, GATE_ETIMEOUT,
                              "our close was not answered");
        break;
    default: break;
    }
}

static void beat_or_bury(struct gate_session *session, int64_t now_ms) {
    switch (gate_heart_pulse(&session->connection.heart, now_ms)) {
    case GATE_PULSE_WAIT: break;
    case GATE_PULSE_BEAT: send_beat(session, now_ms, true); break;
    case GATE_PULSE_ZOMBIE:
        session->counts.zombies++;
        gate_connection_abort(session, now_ms, GATE_PHASE_OPEN, GATE_ETIMEOUT,
                              "zombie: a heartbeat was not acknowledged");
        break;
    }
}

/* One thing a tick: a wait that begins in here ends with another one, even one of no time at all,
 * as the driver may have its own mind about when the shard connects. */
int gate_session_tick(struct gate_session *session, int64_t now_ms) {
    enum gate_state state = session->state;
    if (gate_session_is_open(session)) beat_or_bury(session, now_ms);
    bool due = session->deadline_ms != NEVER && now_ms >= session->deadline_ms;
    if (due && session->state == state) overdue(session, now_ms);
    return settle(session, now_ms);
}

/* Leaves the presence that the command sets, if it sets one, in `presence`. A greeting is no
 * command: a second one would end the connection (4005). */
static int push_command(struct gate_session *session, int64_t now_ms, struct gate_buf *take,
                        struct gate_buf *presence) {
    const struct gate_codec *codec = session->options.codec;
    struct gate_errand errand;
    int rc = gate_payload_read_errand(codec, gate_buf_span(take), &errand);
    if (rc < 0) return rc;
    if (errand.op == GATE_OP_IDENTIFY || errand.op == GATE_OP_RESUME) return GATE_EUSAGE;
    if (errand.op == GATE_OP_PRESENCE_UPDATE &&
        gate_payload_read_presence(codec, gate_buf_span(take), presence) < 0)
        gate_buf_clear(presence, 0);
    session->send_at_ms = NEVER;
    return gate_outbox_push(&session->outbox, take, &errand,
                            now_ms + session->options.send_timeout_ms);
}

int gate_session_send(struct gate_session *session, int64_t now_ms, struct gate_buf *take) {
    if (is_final(session)) return GATE_ECLOSED;
    int rc = translate(session, take);
    if (rc < 0) return rc;
    struct gate_buf presence;
    gate_buf_init(&presence, 0, 0);
    rc = push_command(session, now_ms, take, &presence);
    if (rc == GATE_OK && presence.len) gate_greeting_presence(session, &presence);
    gate_buf_free(&presence);
    return rc < 0 ? rc : settle(session, now_ms);
}

int gate_session_pause(struct gate_session *session, int64_t now_ms, bool paused) {
    gate_heart_pause(&session->connection.heart, now_ms, paused);
    return GATE_OK;
}

int gate_session_grant(struct gate_session *session, int64_t now_ms) {
    if (session->state == GATE_STATE_WAITING) {
        gate_connection_begin(session, now_ms);
        return settle(session, now_ms);
    }
    /* Nobody wants it any more, or the shard holds one already. */
    if (!session->slot_asked) gate_connection_ask_plain(session, GATE_ACT_SLOT_DONE);
    return GATE_OK;
}

/* The peers of a machine that slept are gone, whatever the sockets say. */
int gate_session_slept(struct gate_session *session, int64_t now_ms, int64_t asleep_ms) {
    (void)asleep_ms;
    if (gate_connection_exists(session))
        gate_connection_abort(session, now_ms,
                              session->connection.opened_at_ms == NEVER ? GATE_PHASE_NONE
                                                                        : GATE_PHASE_OPEN,
                              GATE_ECONNECT, "the machine was asleep");
    if (session->state == GATE_STATE_BACKOFF) session->deadline_ms = now_ms;
    return settle(session, now_ms);
}

int gate_session_no_memory(struct gate_session *session, int64_t now_ms) {
    if (session->state != GATE_STATE_CONNECTING) return GATE_OK;
    gate_connection_abort(session, now_ms, GATE_PHASE_OPEN, GATE_EMEMORY,
                          "no memory for the connection");
    return settle(session, now_ms);
}

static bool ends_session(int code) {
    return code == 1000 || code == 1001;
}

int gate_session_reconnect(struct gate_session *session, int64_t now_ms, int code,
                           struct gate_span reason) {
    if (is_final(session)) return GATE_EUSAGE;
    enum gate_plan plan = ends_session(code) ? GATE_PLAN_IDENTIFY : GATE_PLAN_RESUME;
    if (gate_session_is_open(session)) {
        gate_connection_close(session, now_ms, code, reason, plan);
    } else if (session->state == GATE_STATE_CONNECTING) {
        gate_connection_abort(session, now_ms, GATE_PHASE_NONE, GATE_ECONNECT,
                              "reconnect was asked for");
    }
    if (session->state == GATE_STATE_BACKOFF) session->deadline_ms = now_ms;
    return settle(session, now_ms);
}

/* A resume that has brought nothing yet goes on: cut short again and again it would never get
 * anywhere, while the gateway's memory of the session runs out. */
int gate_session_leave(struct gate_session *session, int64_t now_ms, struct gate_span reason) {
    struct gate_connection *c = &session->connection;
    bool replays = session->state == GATE_STATE_RESUMING && c->fruitful;
    if (session->state == GATE_STATE_READY || replays) {
        c->excused = true;
        c->wait_min_ms =
            session->backoff.cap_ms < GATE_AWAY_MS_MIN ? session->backoff.cap_ms : GATE_AWAY_MS_MIN;
        gate_connection_close(session, now_ms, GATE_CLOSE_KEEP, reason, GATE_PLAN_RESUME);
    }
    return settle(session, now_ms);
}

int gate_session_stop(struct gate_session *session, int64_t now_ms, int code,
                      struct gate_span reason) {
    session->connection.plan = GATE_PLAN_STOP;
    if (ends_session(code)) gate_connection_forget(session);
    if (gate_session_is_open(session)) {
        gate_connection_close(session, now_ms, code, reason, GATE_PLAN_STOP);
    } else if (session->state == GATE_STATE_CONNECTING) {
        gate_connection_abort(session, now_ms, GATE_PHASE_NONE, GATE_ECONNECT, "stopped");
    } else if (session->state == GATE_STATE_BACKOFF || session->state == GATE_STATE_WAITING) {
        gate_connection_release_slot(session);
        gate_connection_go(session, GATE_STATE_IDLE, NEVER);
    }
    return settle(session, now_ms);
}

/* ---- By hand --------------------------------------------------------------------------------- */

/* What is on its way already goes its way: a second Identify, or one behind READY, would be
 * refused (4005). A wait that is nobody's but ours ends. */
static void hurry(struct gate_session *session, int64_t now_ms) {
    if (session->state == GATE_STATE_BACKOFF) session->deadline_ms = now_ms;
}

int gate_session_identify(struct gate_session *session, int64_t now_ms,
                          const struct gate_options *wanted) {
    if (is_final(session)) return GATE_EUSAGE;
    int rc = wanted ? gate_greeting_amend(session, wanted) : GATE_OK;
    if (rc < 0) return rc;
    hurry(session, now_ms);
    return settle(session, now_ms);
}

/* A connection takes one greeting, so who is ready resumes on a new one. */
int gate_session_resume(struct gate_session *session, int64_t now_ms) {
    if (is_final(session) || session->id[0] == '\0') return GATE_EUSAGE;
    if (session->state == GATE_STATE_READY)
        close_now(session, now_ms, GATE_CLOSE_KEEP, "resuming by hand", GATE_PLAN_RESUME);
    hurry(session, now_ms);
    return settle(session, now_ms);
}

/* Beats of the timer are never held; one more is a command like any other. */
int gate_session_beat(struct gate_session *session, int64_t now_ms) {
    if (!gate_session_is_open(session)) return GATE_ECLOSED;
    if (gate_budget_when(&session->connection.budget, now_ms, false) > now_ms) return GATE_EBUSY;
    send_beat(session, now_ms, false);
    return settle(session, now_ms);
}

int64_t gate_session_resumes_at(const struct gate_session *session) {
    bool will = session->state == GATE_STATE_BACKOFF && session->id[0] != '\0';
    return will ? session->deadline_ms : NEVER;
}

/* ---- The deadline ---------------------------------------------------------------------------- */

int64_t gate_session_deadline(const struct gate_session *session) {
    if (is_final(session)) return NEVER;
    int64_t deadline_ms = session->deadline_ms;
    if (gate_session_is_open(session))
        deadline_ms = sooner(deadline_ms, gate_heart_deadline(&session->connection.heart));
    deadline_ms = sooner(deadline_ms, session->outbox.expires_ms);
    return sooner(deadline_ms, session->send_at_ms);
}

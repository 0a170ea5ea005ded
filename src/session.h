/* session.h - the state machine that keeps one session of the gateway alive.
 * Called by shard.c only, on the thread that owns the shard. Pure: envelopes, closes and time come
 * in, actions and one deadline go out. It never calls out and knows no socket, clock or thread.
 * The table of states and inputs is the first comment of session.c. */
#ifndef MOONGATE_SESSION_H
#define MOONGATE_SESSION_H

#include "backoff.h"
#include "budget.h"
#include "heart.h"
#include "machine.h"
#include "outbox.h"
#include "pace.h"

/* What follows once the connection that is being closed is gone. */
enum gate_plan {
    GATE_PLAN_NONE,     /* the peer closed: its code decides */
    GATE_PLAN_RESUME,   /* come back, with the session */
    GATE_PLAN_IDENTIFY, /* come back, without it */
    GATE_PLAN_STOP      /* stay idle */
};

/* Everything that dies with its connection; replaced whole by each CONNECT. */
struct gate_connection {
    struct gate_heart heart;
    struct gate_budget budget;
    int64_t opened_at_ms; /* -1: it never opened */
    bool resume;          /* it was made to resume */
    bool on_resume_host;  /* its URL is the session's own */
    bool greeted;         /* HELLO came */
    bool resume_sent, resumed;
    bool fruitful;           /* a new event came */
    bool proven;             /* READY or RESUMED came */
    uint32_t empty_messages; /* in a row */
    enum gate_plan plan;
    int sent_code;              /* the code of our close; 0: none */
    int64_t wait_min_ms;        /* before the next attempt, asked for by the plan */
    bool excused;               /* its end is nobody's failure: no ladder counts it */
    struct gate_traffic before; /* what the shard had counted when it was asked for */
};

struct gate_session {
    /* Fixed at init. */
    struct gate_options options; /* its spans point into `strings` */
    struct gate_buf strings;
    bool trace_send; /* somebody hears `send`; set by the shard */

    /* The machine. */
    enum gate_state state;
    int64_t deadline_ms; /* of the state alone; -1: none */
    uint32_t generation; /* of the newest CONNECT */
    struct gate_connection connection;
    char url[GATE_URL_BYTES_MAX + 1];       /* of that connection */
    char reason[GATE_REASON_BYTES_MAX + 1]; /* of our close */
    bool slot_asked;                        /* an identify slot is wanted or held */

    /* The session of the gateway; id "" means none. Replaced whole by READY, dropped whole. */
    char id[GATE_SESSION_ID_BYTES_MAX + 1];
    char resume_url[GATE_URL_BYTES_MAX + 1];
    int64_t seq; /* -1: none yet */

    /* Ladders and their counts. */
    struct gate_backoff backoff;
    bool unproven;           /* an Identify left, and no connection has lasted since */
    uint32_t failed_resumes; /* since the last RESUMED, READY or new event */
    uint32_t host_failures;  /* of the resume host, in a row */
    uint32_t poisoned;       /* undecodable closes at one and the same sequence */
    int64_t poisoned_seq;

    struct gate_outbox outbox;
    struct gate_pace pace;    /* what holds single commands back */
    struct gate_buf presence; /* JSON of the last one sent, which the options show from then on */
    int64_t send_at_ms;       /* when the next command may leave; -1: none waits, or look again */
    struct gate_action actions[GATE_ACTIONS_MAX]; /* ring, oldest at `first_action` */
    uint32_t first_action, action_count;
    struct gate_counts counts;
};

/* GATE_EMEMORY; GATE_EVALUE for a token, URL or session id over its limit. */
GATE_MUST_CHECK int gate_session_init(struct gate_session *session,
                                      const struct gate_options *options);
void gate_session_free(struct gate_session *session); /* wipes the token */

/* Inputs, as shard.h has them. */
int gate_session_start(struct gate_session *session, int64_t now_ms);
int gate_session_line_up(struct gate_session *session, int64_t now_ms);
int gate_session_opened(struct gate_session *session, int64_t now_ms);
int gate_session_closed(struct gate_session *session, int64_t now_ms, const struct gate_close *why);
int gate_session_tick(struct gate_session *session, int64_t now_ms);
GATE_MUST_CHECK int gate_session_send(struct gate_session *session, int64_t now_ms,
                                      struct gate_buf *take);
int gate_session_pause(struct gate_session *session, int64_t now_ms, bool paused);
int gate_session_grant(struct gate_session *session, int64_t now_ms);
int gate_session_slept(struct gate_session *session, int64_t now_ms, int64_t asleep_ms);
int gate_session_reconnect(struct gate_session *session, int64_t now_ms, int code,
                           struct gate_span reason);
int gate_session_leave(struct gate_session *session, int64_t now_ms, struct gate_span reason);
int gate_session_stop(struct gate_session *session, int64_t now_ms, int code,
                      struct gate_span reason);

/* By hand, as shard.h has it. */
GATE_MUST_CHECK int gate_session_identify(struct gate_session *session, int64_t now_ms,
                                          const struct gate_options *wanted);
GATE_MUST_CHECK int gate_session_resume(struct gate_session *session, int64_t now_ms);
GATE_MUST_CHECK int gate_session_beat(struct gate_session *session, int64_t now_ms);

/* Bytes arrived, whatever they are. */
void gate_session_heard(struct gate_session *session, int64_t now_ms);

/* One payload. True when it is a dispatch that belongs to listeners: not one that is repeated, and
 * not one outside of a session. */
bool gate_session_payload(struct gate_session *session, int64_t now_ms,
                          const struct gate_envelope *envelope);

/* A message of no bytes; a message or stream that could not be decoded, and why. */
void gate_session_empty(struct gate_session *session, int64_t now_ms);
void gate_session_undecodable(struct gate_session *session, int64_t now_ms, int error);

/* What an opened connection needs did not fit into memory: drop it and try again later. */
int gate_session_no_memory(struct gate_session *session, int64_t now_ms);

/* Lets waiting commands leave; ends what the shard does with payloads. */
void gate_session_settle(struct gate_session *session, int64_t now_ms);

/* Outputs. */
int64_t gate_session_deadline(const struct gate_session *session);
bool gate_session_next(struct gate_session *session, struct gate_action *out);

/* Puts an event behind the actions asked for so far; takes its bytes. */
void gate_session_emit(struct gate_session *session, struct gate_event *take);

/* True while there is room for what one input may ask for. */
bool gate_session_has_room(const struct gate_session *session);

/* As shard.h has it. */
int64_t gate_session_resumes_at(const struct gate_session *session);

/* True between opened and the end or the beginning of our close. */
bool gate_session_is_open(const struct gate_session *session);

#endif

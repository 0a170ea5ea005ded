/* heart.h - the heartbeat of one connection: when to beat, what was acknowledged, and whether the
 * connection is a zombie. Called by session.c; belongs to a connection, fresh at every HELLO.
 * The only judge of liveness. Pure: it sends nothing and reads no clock. */
#ifndef MOONGATE_HEART_H
#define MOONGATE_HEART_H

#include "moongate.h"

struct gate_heart {
    int64_t interval_ms; /* 0: not beating (before HELLO) */
    int64_t due_ms;      /* nominal time of the next beat */
    int64_t slack_ms;    /* a beat may leave this much early */
    int64_t beat_at_ms;  /* of the last regular beat; -1: none yet */
    int64_t asked_at_ms; /* of the oldest unacknowledged beat of either kind; -1: none */
    int64_t acked_at_ms; /* of the last ACK; HELLO counts as one */
    int64_t heard_at_ms; /* of the last bytes of any kind */
    int64_t latency_ms;  /* of the last acknowledged beat; -1: none yet */
    bool paused;         /* reading is stopped by us: silence proves nothing */
};

enum gate_pulse {
    GATE_PULSE_WAIT,  /* not due yet */
    GATE_PULSE_BEAT,  /* send one, then call gate_heart_beat */
    GATE_PULSE_ZOMBIE /* drop the connection */
};

/* Not beating yet. */
void gate_heart_init(struct gate_heart *heart, int64_t slack_ms);

/* HELLO: the first beat is due at interval x jitter, jitter in [0, 1). protocol: Heartbeat
 * Interval. */
void gate_heart_start(struct gate_heart *heart, int64_t now_ms, int64_t interval_ms, double jitter);

/* What is to be done now. A zombie has an unacknowledged regular beat and either no byte arrived
 * since that beat or two intervals passed since the last ACK; never while paused. */
enum gate_pulse gate_heart_pulse(const struct gate_heart *heart, int64_t now_ms);

/* A beat left. regular: the timer moves on from the nominal time. Else the server asked for it and
 * the timer stays. Returns by how much a regular one was late; 0: it was not. */
int64_t gate_heart_beat(struct gate_heart *heart, int64_t now_ms, bool regular);

/* An ACK came; bytes of any kind came. */
void gate_heart_ack(struct gate_heart *heart, int64_t now_ms);
void gate_heart_heard(struct gate_heart *heart, int64_t now_ms);

/* Going on after a pause starts the judgement afresh: what was missed may lie unread. */
void gate_heart_pause(struct gate_heart *heart, int64_t now_ms, bool paused);

/* When the next beat is due; -1: never. Slack does not show here: a beat leaves early only when
 * the driver is awake anyway. */
int64_t gate_heart_deadline(const struct gate_heart *heart);

#endif

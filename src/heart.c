/* heart.c - see heart.h. Times are nominal: a beat that left early does not pull the next one. */
#include "heart.h"

#define NEVER (-1)

void gate_heart_init(struct gate_heart *heart, int64_t slack_ms) {
    *heart = (struct gate_heart){
        .slack_ms = slack_ms, .beat_at_ms = NEVER, .asked_at_ms = NEVER, .latency_ms = NEVER};
}

void gate_heart_start(struct gate_heart *heart, int64_t now_ms, int64_t interval_ms,
                      double jitter) {
    heart->interval_ms = interval_ms;
    heart->due_ms = now_ms + (int64_t)((double)interval_ms * jitter);
    heart->acked_at_ms = now_ms;
    heart->heard_at_ms = now_ms;
    /* Slack must not eat a short interval. */
    if (heart->slack_ms > interval_ms / 8) heart->slack_ms = interval_ms / 8;
}

/* A flood of dispatches in front of the ACK is life, but not for ever: a server that sends events
 * and never an ACK is as good as dead. */
static bool is_zombie(const struct gate_heart *heart, int64_t now_ms) {
    if (heart->paused || heart->beat_at_ms == NEVER) return false;
    if (heart->acked_at_ms >= heart->beat_at_ms) return false;
    bool silent = heart->heard_at_ms < heart->beat_at_ms;
    return silent || now_ms - heart->acked_at_ms >= 2 * heart->interval_ms;
}

enum gate_pulse gate_heart_pulse(const struct gate_heart *heart, int64_t now_ms) {
    if (heart->interval_ms == 0 || now_ms < heart->due_ms - heart->slack_ms) return GATE_PULSE_WAIT;
    return is_zombie(heart, now_ms) ? GATE_PULSE_ZOMBIE : GATE_PULSE_BEAT;
}

int64_t gate_heart_beat(struct gate_heart *heart, int64_t now_ms, bool regular) {
    if (heart->asked_at_ms == NEVER) heart->asked_at_ms = now_ms;
    if (!regular || heart->interval_ms == 0) return 0;
    heart->beat_at_ms = now_ms;
    /* After a long stall one beat leaves, not a burst of the missed ones. */
    int64_t late_ms = now_ms > heart->due_ms ? now_ms - heart->due_ms : 0;
    heart->due_ms += (late_ms / heart->interval_ms + 1) * heart->interval_ms;
    return late_ms;
}

void gate_heart_ack(struct gate_heart *heart, int64_t now_ms) {
    if (heart->asked_at_ms != NEVER) heart->latency_ms = now_ms - heart->asked_at_ms;
    heart->asked_at_ms = NEVER;
    heart->acked_at_ms = now_ms;
}

void gate_heart_heard(struct gate_heart *heart, int64_t now_ms) {
    heart->heard_at_ms = now_ms;
}

void gate_heart_pause(struct gate_heart *heart, int64_t now_ms, bool paused) {
    if (heart->paused && !paused) {
        heart->acked_at_ms = now_ms;
        heart->heard_at_ms = now_ms;
    }
    heart->paused = paused;
}

int64_t gate_heart_deadline(const struct gate_heart *heart) {
    return heart->interval_ms == 0 ? NEVER : heart->due_ms;
}

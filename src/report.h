/* report.h - what a session tells the Lua side: its own events, with their fields and words.
 * Called by session.c. Each function emits one event; where memory is short it is counted as lost.
 */
#ifndef MOONGATE_REPORT_H
#define MOONGATE_REPORT_H

#include "session.h"

#define GATE_STAYS_DOWN (-1) /* in place of a wait: no further attempt follows */

/* A change of state; an attempt begins; the WebSocket is open; this side asks for the close. */
void gate_report_state(struct gate_session *session, enum gate_state from, enum gate_state to);
void gate_report_connect(struct gate_session *session);
void gate_report_open(struct gate_session *session);
void gate_report_disconnect(struct gate_session *session, int code);

/* A session that could not be kept: what it would still have delivered is lost. */
void gate_report_lost(struct gate_session *session, const char *reason);

/* A sequence was skipped; the session still holds the one before. */
void gate_report_gap(struct gate_session *session, int64_t got);

/* A message or stream that could not be decoded; a command whose time ran out. */
void gate_report_undecodable(struct gate_session *session, int error);
void gate_report_expired(struct gate_session *session);
void gate_report_unsent(struct gate_session *session, int error);

/* A connection that never opened: how far it came, why it ended, what to look at. */
void gate_report_failure(struct gate_session *session, const struct gate_close *why,
                         int64_t wait_ms);

/* A connection that had been open has ended. */
void gate_report_close(struct gate_session *session, const struct gate_close *why, int64_t wait_ms);

/* A close code after which nothing is tried any more. */
void gate_report_fatal(struct gate_session *session, const struct gate_close_row *row);

/* The packet as it leaves, for `send` listeners. */
void gate_report_send(struct gate_session *session, struct gate_span packet);

#endif

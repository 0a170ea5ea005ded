/* connection.h - how a session comes by its connections and how they end: attempts, identify slots,
 * URLs, closes, and what is to be waited before the next one. Called by session.c and greeting.c;
 * the other half of the same machine. */
#ifndef MOONGATE_CONNECTION_H
#define MOONGATE_CONNECTION_H

#include "session.h"

/* Puts an action behind those asked for so far; takes what it holds. */
void gate_connection_ask(struct gate_session *session, struct gate_action *action);
void gate_connection_ask_plain(struct gate_session *session, enum gate_action_type type);

/* Sends a payload, which is taken, counts it, and shows it to `send` listeners unless it is
 * secret. */
void gate_connection_send(struct gate_session *session, int64_t now_ms, struct gate_buf *take,
                          bool secret);

/* Enters a state with its deadline (-1: none) and reports the change. */
void gate_connection_go(struct gate_session *session, enum gate_state state, int64_t deadline_ms);

/* Begins to come back: at once with a session, else by way of an identify slot. */
void gate_connection_attempt(struct gate_session *session, int64_t now_ms);

/* Asks for the connection itself. */
void gate_connection_begin(struct gate_session *session, int64_t now_ms);

/* Asks for an identify slot; gives it back, spent or not. Without one the latter does nothing. */
void gate_connection_ask_slot(struct gate_session *session);
void gate_connection_release_slot(struct gate_session *session);

/* Forgets the session of the gateway, without a word. */
void gate_connection_forget(struct gate_session *session);

/* Asks the peer to close; what follows is `plan`. At most GATE_REASON_BYTES_MAX bytes of the reason
 * travel; they are copied. */
void gate_connection_close(struct gate_session *session, int64_t now_ms, int code,
                           struct gate_span reason, enum gate_plan plan);

/* Drops the socket without asking the peer; `error` and `detail` (a constant) say why. */
void gate_connection_abort(struct gate_session *session, int64_t now_ms, enum gate_phase phase,
                           int error, const char *detail);

/* The connection is over, whoever ended it: the only way out of connecting to closing. */
void gate_connection_end(struct gate_session *session, int64_t now_ms,
                         const struct gate_close *why);

/* True from CONNECT until the connection is over. */
bool gate_connection_exists(const struct gate_session *session);

#endif

/* sandbox_gateway.h - the server's half of the gateway protocol, one connection at a time.
 * Called by sandbox_link.c, sandbox_http.c and sandbox_turn.c on the server's thread, and by
 * sandbox_order.c on a script's; always under the lock. */
#ifndef MOONGATE_SANDBOX_GATEWAY_H
#define MOONGATE_SANDBOX_GATEWAY_H

#include "moongate.h"

struct gate_link;
struct gate_field;

/* The WebSocket is open: checks the query, says HELLO. */
void gate_gateway_open(struct gate_link *link);

/* One message of the client, borrowed. */
void gate_gateway_message(struct gate_link *link, bool binary, struct gate_span wire);

/* The connection is lost, or a close frame went one way: its session is kept or ends. May be called
 * more than once. */
void gate_gateway_left(struct gate_link *link);

/* Judges the heartbeats. */
void gate_gateway_tick(struct gate_link *link, int64_t now_ms);

/* Sends what stalls have held back, as far as they are over now. */
void gate_gateway_release(struct gate_link *link);

/* Op 9: the session ends unless it is resumable. Identify and Resume may follow on this link. */
void gate_gateway_invalidate(struct gate_link *link, bool resumable);

/* A message without sequence and name. `data` is JSON. */
void gate_gateway_send(struct gate_link *link, int op, struct gate_span data);

/* Closes with a code of the gateway and logs the reason. */
void gate_gateway_refuse(struct gate_link *link, int code, const char *reason);

/* sandbox_identify.c: op 2 and op 6, once their data is read. */
void gate_identify_take(struct gate_link *link, struct gate_span data);
void gate_identify_finish(struct gate_link *link); /* the half that a stalled READY holds back */
void gate_identify_guilds(struct gate_link *link); /* the GUILD_CREATEs, if they are still owed */
void gate_resume_take(struct gate_link *link, struct gate_span data);
void gate_resume_finish(struct gate_link *link); /* RESUMED */

#endif

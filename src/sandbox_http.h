/* sandbox_http.h - HTTP/1.1 of the sandbox: routes, scripted answers, the upgrade to a WebSocket.
 * Called by sandbox_link.c and sandbox_turn.c on the server's thread, the rest by sandbox.c,
 * sandbox_order.c and those who read a query; always under the lock. */
#ifndef MOONGATE_SANDBOX_HTTP_H
#define MOONGATE_SANDBOX_HTTP_H

#include "sandbox.h"

struct gate_link;

/* Takes the requests that are complete in `link->in`, until one upgrades or has to wait. */
void gate_http_consume(struct gate_link *link);

/* Sends an answer whose delay is over. */
void gate_http_tick(struct gate_link *link, int64_t now_ms);

/* Answers an upgrade that was stalled. */
void gate_http_release(struct gate_link *link);

/* The value of a parameter of a query; no data when it is not there, or empty. */
struct gate_span gate_query_find(struct gate_span query, const char *name);

/* Adds a scripted answer behind the others. GATE_EMEMORY. */
GATE_MUST_CHECK int gate_http_script(struct gate_sandbox *sandbox,
                                     const struct gate_sandbox_answer *answer);
void gate_http_forget(struct gate_sandbox *sandbox); /* frees all of them */

#endif

/* websocket.h - what is said on a link that is open: its frames, in and out, without the socket.
 * Called by transport.c when bytes have come or can be written, and by link.c. I/O thread. */
#ifndef MOONGATE_WEBSOCKET_H
#define MOONGATE_WEBSOCKET_H

#include "link.h"

/* The connection is open from now on. */
void gate_websocket_open(struct gate_link *link);

/* False: the socket is not to be read now; it is paused. */
bool gate_websocket_may_read(const struct gate_link *link);

/* Takes what has been read. What it means is reported at once, unless the link is paused on the
 * way: the rest is kept then. */
void gate_websocket_take(struct gate_link *link, struct gate_span bytes);

/* Goes on with what was kept, if it may. */
void gate_websocket_resume(struct gate_link *link);
/* True when there is something to go on with. */
bool gate_websocket_may_resume(const struct gate_link *link);

/* Writes as much as the socket takes of what is to be written. */
void gate_websocket_write(struct gate_link *link);
/* True when there is something to write. */
bool gate_websocket_has_output(const struct gate_link *link);

/* Gives back what it holds. */
void gate_websocket_free(struct gate_websocket *socket);

#endif

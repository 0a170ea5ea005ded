/* head.h - the head of an HTTP answer, of an upgrade or of a request: what its headers say, and
 * whether they may say it. Called by transport.c on the I/O thread, when the head has come. */
#ifndef MOONGATE_HEAD_H
#define MOONGATE_HEAD_H

#include "link.h"

/* Of an upgrade: notes the status and how long to wait before the next try. True: what follows is
 * frames; false: the link has failed. */
GATE_MUST_CHECK bool gate_head_upgrade(struct gate_link *link, int status);

/* Of a request: keeps the status and the headers that somebody may want to see. True: a body may
 * follow; false: there is none, or the link has failed. */
GATE_MUST_CHECK bool gate_head_request(struct gate_link *link, int status);

#endif

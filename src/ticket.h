/* ticket.h - what servers have handed out to resume TLS with: the newest of each host and port,
 * within a bound. Part of the TLS settings, and called by tls.c on any I/O thread. What is resumed
 * is not verified again, so a ticket serves only its own place and whoever trusts the same.
 * Types of OpenSSL stay behind void pointers. */
#ifndef MOONGATE_TICKET_H
#define MOONGATE_TICKET_H

#include <pthread.h>

#include "moongate.h"

#define GATE_TICKET_PLACE_MAX (GATE_HOST_BYTES_MAX + 16) /* as url.h has an authority */

struct gate_tickets {
    pthread_mutex_t lock; /* of everything below */
    struct gate_ticket {
        char place[GATE_TICKET_PLACE_MAX]; /* "": free */
        void *session;                     /* SSL_SESSION */
        uint64_t used;                     /* the last time, counted */
    } list[GATE_TLS_TICKETS_MAX];
    uint64_t uses;
};

/* None yet. GATE_ESYSTEM; it needs no free then. */
GATE_MUST_CHECK int gate_tickets_init(struct gate_tickets *tickets);
void gate_tickets_free(struct gate_tickets *tickets);

/* Keeps a copy of `session`, in place of what there was of this place, or of the one that was not
 * used for the longest time. Without memory nothing is kept. */
void gate_ticket_keep(struct gate_tickets *tickets, const char *place, void *session);

/* Lets `ssl`, whose handshake has not begun, ask for what is kept of the place: true; false: there
 * is nothing, and it shakes hands in full. */
bool gate_ticket_offer(struct gate_tickets *tickets, const char *place, void *ssl);

/* It has done no good: it is not offered again. */
void gate_ticket_drop(struct gate_tickets *tickets, const char *place);

#endif

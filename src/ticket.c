/* ticket.c - see ticket.h. OpenSSL marks a session as spoilt when a connection that uses it ends
 * without a farewell, which is just when it is wanted: so what is kept, and what is offered, are
 * copies. The same ticket is offered by many connections at once, when all of a bot's have dropped;
 * that strangers could see them to be one client's (RFC 8446, C.4) takes nothing from a bot, whose
 * connections come from one address anyway. */
#include "ticket.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

int gate_tickets_init(struct gate_tickets *tickets) {
    memset(tickets->list, 0, sizeof tickets->list);
    tickets->uses = 0;
    return pthread_mutex_init(&tickets->lock, NULL) == 0 ? GATE_OK : GATE_ESYSTEM;
}

static void clear(struct gate_ticket *ticket) {
    SSL_SESSION_free(ticket->session);
    *ticket = (struct gate_ticket){.session = NULL};
}

void gate_tickets_free(struct gate_tickets *tickets) {
    for (size_t i = 0; i < GATE_TLS_TICKETS_MAX; i++) clear(&tickets->list[i]);
    pthread_mutex_destroy(&tickets->lock);
}

/* With the lock held, as the next one. NULL: there is none. */
static struct gate_ticket *find(struct gate_tickets *tickets, const char *place) {
    for (size_t i = 0; i < GATE_TLS_TICKETS_MAX; i++)
        if (place[0] && strcmp(tickets->list[i].place, place) == 0) return &tickets->list[i];
    return NULL;
}

static struct gate_ticket *find_oldest(struct gate_tickets *tickets) {
    struct gate_ticket *oldest = &tickets->list[0];
    for (size_t i = 1; i < GATE_TLS_TICKETS_MAX; i++)
        if (tickets->list[i].used < oldest->used) oldest = &tickets->list[i];
    return oldest;
}

void gate_ticket_keep(struct gate_tickets *tickets, const char *place, void *session) {
    SSL_SESSION *copy = place[0] ? SSL_SESSION_dup(session) : NULL;
    if (!copy) return;
    pthread_mutex_lock(&tickets->lock);
    struct gate_ticket *ticket = find(tickets, place);
    if (!ticket) ticket = find_oldest(tickets);
    clear(ticket);
    snprintf(ticket->place, sizeof ticket->place, "%s", place);
    ticket->session = copy;
    ticket->used = ++tickets->uses;
    pthread_mutex_unlock(&tickets->lock);
}

bool gate_ticket_offer(struct gate_tickets *tickets, const char *place, void *ssl) {
    pthread_mutex_lock(&tickets->lock);
    struct gate_ticket *ticket = find(tickets, place);
    SSL_SESSION *copy = ticket ? SSL_SESSION_dup(ticket->session) : NULL;
    if (ticket) ticket->used = ++tickets->uses;
    pthread_mutex_unlock(&tickets->lock);
    bool offered = copy && SSL_set_session(ssl, copy) == 1;
    SSL_SESSION_free(copy);
    return offered;
}

void gate_ticket_drop(struct gate_tickets *tickets, const char *place) {
    pthread_mutex_lock(&tickets->lock);
    struct gate_ticket *ticket = find(tickets, place);
    if (ticket) clear(ticket);
    pthread_mutex_unlock(&tickets->lock);
}

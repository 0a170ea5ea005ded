/* resolver.h - names to numeric addresses, on threads of its own: getaddrinfo blocks for as long as
 * it likes. Called by transport.c on the I/O thread; no function here waits for a lookup. */
#ifndef MOONGATE_RESOLVER_H
#define MOONGATE_RESOLVER_H

#include "moongate.h"

#define GATE_ADDRESS_TEXT_MAX 64 /* "fe80::...%interface" and a NUL */

struct gate_addresses {
    int error;          /* 0; GATE_ERESOLVE, GATE_ETIMEOUT, GATE_EMEMORY, GATE_ESYSTEM */
    const char *detail; /* words for the error, a constant */
    size_t count;       /* at least 1 when error is 0 */
    char list[GATE_ADDRESSES_MAX][GATE_ADDRESS_TEXT_MAX];
};

struct gate_resolver;

/* `wake` is called on a thread of the resolver, never after gate_resolver_del has returned, when
 * gate_resolver_next has something new; it must not block or call the resolver. NULL: no memory or
 * no mutex. */
struct gate_resolver *gate_resolver_new(void (*wake)(void *to), void *to);

/* Never waits: a lookup under way ends on its own thread and is thrown away. NULL is fine. */
void gate_resolver_del(struct gate_resolver *resolver);

/* Asks for `host` (a name or a numeric address). Exactly one answer follows from
 * gate_resolver_next, after `timeout_ms` at the latest, unless gate_resolver_forget comes first.
 * `user` identifies it. GATE_EMEMORY: no answer follows. */
GATE_MUST_CHECK int gate_resolver_ask(struct gate_resolver *resolver, int64_t now_ms,
                                      const char *host, int64_t timeout_ms, void *user);
void gate_resolver_forget(struct gate_resolver *resolver, const void *user);

/* The next answer: true, the `user` of its question, and the addresses. */
bool gate_resolver_next(struct gate_resolver *resolver, int64_t now_ms, void **user,
                        struct gate_addresses *out);

/* When gate_resolver_next has something even if nobody wakes; -1: never. */
int64_t gate_resolver_deadline(struct gate_resolver *resolver);

/* For tests: every lookup calls `hook` on its own thread instead of getaddrinfo; NULL restores it.
 * Call it before anything else runs. */
void gate_resolver_hook(void (*hook)(const char *host, struct gate_addresses *out));

#endif

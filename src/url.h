/* url.h - takes a URL apart. Called by transport.c on the I/O thread. Pure. */
#ifndef MOONGATE_URL_H
#define MOONGATE_URL_H

#include "moongate.h"

struct gate_url {
    bool tls;                                 /* wss or https */
    bool websocket;                           /* ws or wss */
    bool literal;                             /* the host is a numeric address */
    int port;                                 /* 1 to 65535 */
    char host[GATE_HOST_BYTES_MAX + 1];       /* lower case, without brackets */
    char target[GATE_TARGET_BYTES_MAX + 1];   /* path and query; begins with a slash */
    char authority[GATE_HOST_BYTES_MAX + 16]; /* as the Host header has it: brackets, odd port */
};

/* Schemes ws, wss, http, https. GATE_EVALUE, with words for it in *detail (a constant): another
 * scheme, user information, no host, a bad port, a fragment, a byte that no URL has, or a part over
 * its limit. `out` is undefined then. */
GATE_MUST_CHECK int gate_url_parse(struct gate_span text, struct gate_url *out,
                                   const char **detail);

/* The same for "[user:password@]host:port" of a proxy; an "http://" in front is passed over. *user
 * is the part before the "@", len 0: none. The port is not optional. */
GATE_MUST_CHECK int gate_url_parse_proxy(struct gate_span text, struct gate_url *out,
                                         struct gate_span *user, const char **detail);

#endif

/* proxy.h - the HTTP proxy of a transport, if it has one. Called by transport.c and link.c. */
#ifndef MOONGATE_PROXY_H
#define MOONGATE_PROXY_H

#include "url.h"

#define GATE_PROXY_USER_MAX 95 /* lws: lws_set_proxy has an array of 96 */
#define GATE_PROXY_TEXT_MAX (GATE_PROXY_USER_MAX + GATE_HOST_BYTES_MAX + 16)

struct gate_proxy {
    bool used; /* false: there is none */
    struct gate_url url;
    char user[GATE_PROXY_USER_MAX + 2]; /* "user:password@", or empty; to be wiped */
};

/* Reads "[user:password@]host:port"; NULL: none is used. GATE_EVALUE; *detail: words, a constant.
 */
GATE_MUST_CHECK int gate_proxy_parse(const char *text, struct gate_proxy *out, const char **detail);

/* Writes "user:password@address:port" where `address`, in digits, is one of the proxy's host. */
void gate_proxy_point(const struct gate_proxy *proxy, const char *address,
                      char out[GATE_PROXY_TEXT_MAX]);

#endif

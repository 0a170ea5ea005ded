/* proxy.c - see proxy.h. */
#include "proxy.h"

#include <stdio.h>
#include <string.h>

int gate_proxy_parse(const char *text, struct gate_proxy *out, const char **detail) {
    struct gate_span user;
    const char *fault;
    *out = (struct gate_proxy){.used = false};
    if (!text) return GATE_OK;
    *detail = "proxy: not of the form [user:password@]host:port";
    if (gate_url_parse_proxy((struct gate_span){text, strlen(text)}, &out->url, &user, &fault) < 0)
        return GATE_EVALUE;
    *detail = "proxy: user and password are over-long";
    if (user.len > GATE_PROXY_USER_MAX) return GATE_EVALUE;
    if (user.len) snprintf(out->user, sizeof out->user, "%.*s@", (int)user.len, user.data);
    out->used = true;
    return GATE_OK;
}

void gate_proxy_point(const struct gate_proxy *proxy, const char *address,
                      char out[GATE_PROXY_TEXT_MAX]) {
    const char *format = strchr(address, ':') ? "%s[%s]:%d" : "%s%s:%d";
    snprintf(out, GATE_PROXY_TEXT_MAX, format, proxy->user, address, proxy->url.port);
}

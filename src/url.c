/* url.c - see url.h. Strict where leniency would connect to somebody else: user information,
 * control bytes and white space are refused, as a name that continues after a "@" or a line break
 * has been used to smuggle hosts and headers past a reader. */
#include "url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *prefix;
    int port;
    bool tls, websocket;
} schemes[] = {
    {"ws://", 80, false, true},
    {"wss://", 443, true, true},
    {"http://", 80, false, false},
    {"https://", 443, true, false},
};

static struct gate_span skip(struct gate_span text, size_t bytes) {
    return (struct gate_span){text.data + bytes, text.len - bytes};
}

static int refuse(const char **detail, const char *words) {
    *detail = words;
    return GATE_EVALUE;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool starts_with(struct gate_span text, const char *prefix) {
    size_t len = strlen(prefix);
    if (text.len < len) return false;
    for (size_t i = 0; i < len; i++)
        if (lower(text.data[i]) != prefix[i]) return false;
    return true;
}

/* Visible ASCII: everything else has to be percent-encoded in a URL. */
static bool is_plain(struct gate_span text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f) return false;
    return true;
}

static size_t find_any(struct gate_span text, const char *bytes) {
    size_t at = 0;
    while (at < text.len && !strchr(bytes, text.data[at])) at++;
    return at;
}

static bool copy_host(struct gate_span host, struct gate_url *out) {
    if (host.len == 0 || host.len > GATE_HOST_BYTES_MAX) return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = lower(host.data[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && !strchr("-._:%", c)) return false;
        out->host[i] = c;
    }
    out->host[host.len] = '\0';
    return true;
}

static bool read_port(struct gate_span digits, int *port) {
    if (digits.len == 0 || digits.len > 5) return false;
    *port = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') return false;
        *port = *port * 10 + (digits.data[i] - '0');
    }
    return *port >= 1 && *port <= 65535;
}

/* host, host:port, [v6], [v6]:port. *port stays as it is where none is given. */
static int parse_authority(struct gate_span text, struct gate_url *out, int *port,
                           const char **detail) {
    struct gate_span host, rest;
    bool brackets = text.len > 0 && text.data[0] == '[';
    size_t end = brackets ? find_any(text, "]") : find_any(text, ":");
    host = (struct gate_span){text.data + brackets, end - brackets};
    if (brackets && end == text.len) return refuse(detail, "a bracket is missing");
    rest = skip(text, end + brackets);
    *detail = "the host name is missing, over-long or has a byte that none has";
    if (!copy_host(host, out)) return GATE_EVALUE;
    unsigned char numeric[sizeof(struct in6_addr)];
    out->literal = brackets || inet_pton(AF_INET, out->host, numeric) == 1;
    if (brackets != (strchr(out->host, ':') != NULL)) return GATE_EVALUE;
    if (brackets && !strchr(out->host, '%') && inet_pton(AF_INET6, out->host, numeric) != 1)
        return GATE_EVALUE;
    *detail = "the port is not a number from 1 to 65535";
    if (rest.len == 0) return GATE_OK;
    return rest.data[0] == ':' && read_port(skip(rest, 1), port) ? GATE_OK : GATE_EVALUE;
}

/* The Host header names the port only when it is not the scheme's own. */
static void write_authority(struct gate_url *out, int usual_port) {
    const char *open = strchr(out->host, ':') ? "[" : "", *close = *open ? "]" : "";
    char port[8] = "";
    if (out->port != usual_port) snprintf(port, sizeof port, ":%d", out->port);
    snprintf(out->authority, sizeof out->authority, "%s%.*s%s%s", open, GATE_HOST_BYTES_MAX,
             out->host, close, port);
}

static int copy_target(struct gate_span target, struct gate_url *out, const char **detail) {
    bool slash = target.len > 0 && target.data[0] == '/';
    *detail = "a fragment has no meaning here";
    if (find_any(target, "#") < target.len) return GATE_EVALUE;
    *detail = "path and query are over-long";
    if (target.len + !slash > GATE_TARGET_BYTES_MAX) return GATE_EVALUE;
    out->target[0] = '/';
    if (target.len) memcpy(out->target + !slash, target.data, target.len);
    out->target[target.len + !slash] = '\0';
    return GATE_OK;
}

int gate_url_parse(struct gate_span text, struct gate_url *out, const char **detail) {
    size_t row = 0, rows = sizeof schemes / sizeof schemes[0];
    while (row < rows && !starts_with(text, schemes[row].prefix)) row++;
    if (row == rows) return refuse(detail, "it begins with none of ws, wss, http, https");
    if (!is_plain(text)) return refuse(detail, "it has a byte that no URL has");
    *out = (struct gate_url){
        .tls = schemes[row].tls, .websocket = schemes[row].websocket, .port = schemes[row].port};
    struct gate_span rest = skip(text, strlen(schemes[row].prefix));
    size_t end = find_any(rest, "/?#");
    struct gate_span authority = {rest.data, end};
    if (find_any(authority, "@") < end) return refuse(detail, "user information in it is refused");
    int rc = parse_authority(authority, out, &out->port, detail);
    if (rc < 0) return rc;
    write_authority(out, schemes[row].port);
    return copy_target(skip(rest, end), out, detail);
}

/* The password may hold a "@" of its own, so the last one counts. */
static size_t find_user_end(struct gate_span text) {
    size_t at = text.len;
    while (at > 0 && text.data[at - 1] != '@') at--;
    return at;
}

int gate_url_parse_proxy(struct gate_span text, struct gate_url *out, struct gate_span *user,
                         const char **detail) {
    if (!is_plain(text)) return refuse(detail, "it has a byte that no URL has");
    if (starts_with(text, "http://")) text = skip(text, strlen("http://"));
    if (text.len && text.data[text.len - 1] == '/') text.len--;
    *out = (struct gate_url){.port = 0};
    size_t at = find_user_end(text);
    *user = (struct gate_span){text.data, at ? at - 1 : 0};
    int rc = parse_authority(skip(text, at), out, &out->port, detail);
    if (rc < 0) return rc;
    if (out->port == 0) return refuse(detail, "the port is missing");
    write_authority(out, 0);
    return copy_target((struct gate_span){"/", 1}, out, detail);
}

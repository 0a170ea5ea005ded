/* transport.c - see transport.h. libwebsockets 4.1, from Debian 12, has traps; each has its guard
 * here, and the guard says which it is.
 *
 * A link or request goes through these stages; only gate_transport_turn moves it on from RESOLVING,
 * NEXT and ENDED, so that nothing starts or is reported from inside another one's callback:
 *
 *   RESOLVING --addresses--> NEXT --connect--> BUSY --upgraded or answered--> OPEN
 *       |                     ^ ^                |                              |
 *       |                     | +--try another---+                              |
 *       +--no address--> ENDED <--none left------+------------WSI_DESTROY-------+
 *
 * LWS_CALLBACK_WSI_DESTROY is the only end of a socket: a timeout inside libwebsockets closes
 * without any other callback. */
#include "transport.h"

#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http.h"
#include "queue.h"
#include "resolver.h"
#include "tls.h"
#include "url.h"

_Static_assert(GATE_HEADROOM_BYTES >= LWS_PRE, "libwebsockets writes its header in front");

#define PROTOCOL          "moongate"
#define LWS_PATIENCE_S    3600 /* its own timeouts close without a reason: ours come long before */
#define PROXY_USER_MAX    95   /* lws_set_proxy has an array of 96 */
#define HEADER_VALUE_MAX  256  /* of an answer; what is longer is left out */
#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_EVERY_S 10
#define KEEPALIVE_PROBES  3

#define SOCKETS_MAX (GATE_LINKS_MAX - 8) /* it has descriptors of its own in the same table */

enum stage { STAGE_RESOLVING, STAGE_NEXT, STAGE_BUSY, STAGE_OPEN, STAGE_ENDED };

struct outgoing {
    struct outgoing *next;
    struct gate_buf bytes;
    bool binary, secret;
};

/* The part of a link that only HTTP requests have. */
struct exchange {
    struct gate_request request; /* its strings lie in `memory` */
    struct gate_buf memory;
    struct gate_buf body; /* of the answer */
    bool chunked, complete;
    char *at; /* where the reader of the body is */
    int status;
    size_t header_count;
    struct {
        const char *name;
        char value[HEADER_VALUE_MAX];
    } headers[GATE_HEADERS_MAX];
};

struct gate_link {
    struct gate_link *next, **from; /* in the transport's list */
    struct gate_transport *transport;
    struct lws *wsi; /* NULL: no socket now */
    enum stage stage;
    bool detached; /* nobody wants to hear of it */

    /* Where to. */
    struct gate_url url;
    struct gate_addresses addresses;
    size_t address; /* the next to try */
    int64_t deadline_ms;
    int64_t address_deadline_ms; /* of the address being tried */
    bool expired;                /* the deadline has been acted upon */
    struct gate_tls_state tls;

    /* WebSocket. */
    void *user;
    uint32_t connection;
    size_t message_bytes, message_bytes_max;
    struct outgoing *first, *last;
    bool paused, close_wanted, close_sent, close_received;
    int close_code;
    char reason[GATE_REASON_BYTES_MAX + 1];
    size_t reason_len;

    /* HTTP; NULL for a WebSocket. */
    struct exchange *exchange;

    /* How it went. */
    enum gate_phase phase;
    int error;
    char words[GATE_TLS_WORDS_MAX];
    int http_status; /* of the upgrade */
    int64_t retry_after_ms;
};

struct gate_transport {
    struct lws_context *context;
    struct lws_vhost *vhost;
    void *tls;
    struct gate_resolver *resolver;
    struct gate_transport_calls calls;
    void *owner;
    lws_sorted_usec_list_t alarm;
    struct gate_link *links;
    size_t sockets; /* of links; libwebsockets has room for so many */
    uint64_t bytes_in;
    bool insecure;
    bool proxied;
    struct gate_url proxy;
    char proxy_user[PROXY_USER_MAX + 2]; /* with the "@" behind it */
    char *user_agent;                    /* NULL: none */
    /* Where libwebsockets has composed a header with a secret, to be wiped after use. */
    char *secret_at;
    size_t secret_len;
    char scratch[LWS_PRE + GATE_READ_BYTES]; /* bodies of answers */
};

/* ---- Links ----------------------------------------------------------------------------------- */

static void set_failure(struct gate_link *link, int error, const char *words, size_t len) {
    if (len >= sizeof link->words) len = sizeof link->words - 1;
    link->error = error;
    memcpy(link->words, words, len);
    link->words[len] = '\0';
}

static void fail(struct gate_link *link, int error, const char *words) {
    set_failure(link, error, words, strlen(words));
}

static struct gate_link *new_link(struct gate_transport *transport, int64_t timeout_ms) {
    struct gate_link *link = gate_allocate(NULL, sizeof *link);
    if (!link) return NULL;
    *link = (struct gate_link){.transport = transport,
                               .from = &transport->links,
                               .next = transport->links,
                               .deadline_ms = gate_clock_ms() + timeout_ms,
                               .phase = GATE_PHASE_RESOLVE};
    if (link->next) link->next->from = &link->next;
    transport->links = link;
    return link;
}

static void unlink_link(struct gate_link *link) {
    if (!link->from) return;
    *link->from = link->next;
    if (link->next) link->next->from = link->from;
    link->from = NULL;
}

static void drop_outgoing(struct gate_link *link) {
    struct outgoing *out = link->first;
    link->first = out->next;
    if (!link->first) link->last = NULL;
    if (out->secret) gate_buf_wipe(&out->bytes);
    gate_buf_free(&out->bytes);
    gate_allocate(out, 0);
}

static void del_exchange(struct exchange *exchange) {
    if (!exchange) return;
    gate_buf_wipe(&exchange->memory);
    gate_buf_free(&exchange->memory);
    gate_buf_free(&exchange->body);
    gate_allocate(exchange, 0);
}

static void del_link(struct gate_link *link) {
    unlink_link(link);
    while (link->first) drop_outgoing(link);
    del_exchange(link->exchange);
    gate_allocate(link, 0);
}

/* Trap: what must close is killed by a timer of libwebsockets that is due at once, as closing from
 * inside a callback of the same socket would pull it from under the caller. WSI_DESTROY follows. */
static void kill_socket(struct gate_link *link) {
    lws_set_timeout(link->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

/* ---- What went wrong ------------------------------------------------------------------------- */

/* Trap: after a refused TCP connect errno is meaningless, and the text is always the same. */
static void explain_connect(struct gate_link *link, const char *text) {
    if (link->transport->proxied && strstr(text, "proxy"))
        fail(link, GATE_ECONNECT, "the proxy did not open the way");
    else if (link->transport->proxied)
        fail(link, GATE_ECONNECT, "no connection to the proxy: refused, or unreachable");
    else
        fail(link, GATE_ECONNECT, "connection refused, or host unreachable");
}

static void explain_upgrade(struct gate_link *link, const char *text) {
    char words[GATE_TLS_WORDS_MAX];
    if (link->tls.error) {
        fail(link, link->tls.error, link->tls.words);
    } else if (link->exchange && strstr(text, "header")) {
        fail(link, GATE_EHTTP, "the head of the answer is malformed, or over-long");
    } else if (link->exchange) {
        fail(link, GATE_ECONNECT, "the server hung up before it had answered");
    } else if (link->http_status != 0 && link->http_status != 101) {
        snprintf(words, sizeof words, "the server answered with HTTP status %d", link->http_status);
        fail(link, GATE_EUPGRADE, words);
    } else if (strstr(text, "HS:") || strstr(text, "header")) {
        snprintf(words, sizeof words, "the answer is no WebSocket upgrade (%.100s)", text);
        fail(link, GATE_EUPGRADE, words);
    } else {
        fail(link, GATE_ECONNECT, "the server hung up before it had answered");
    }
}

/* Keeps the first reason: later ones are consequences. `text` is libwebsockets'. */
static void explain(struct gate_link *link, const char *text) {
    if (link->error || link->stage == STAGE_OPEN) return;
    if (link->phase == GATE_PHASE_UPGRADE)
        explain_upgrade(link, text);
    else if (link->phase != GATE_PHASE_TLS)
        explain_connect(link, text);
    else if (link->tls.error)
        fail(link, link->tls.error, link->tls.words);
    else
        fail(link, GATE_ETLS, "the server hung up during the handshake");
}

/* Another address is worth a try when the fault may lie in this one: not after a wrong certificate,
 * not when the server has spoken, and never when a request may have been carried out. */
static bool may_try_another(const struct gate_link *link) {
    return !link->detached && !link->close_wanted && link->phase < GATE_PHASE_UPGRADE &&
           link->error != GATE_ECERTIFICATE && link->address < link->addresses.count &&
           gate_clock_ms() < link->deadline_ms;
}

/* The socket is gone. Trap: libwebsockets runs its timers before it polls, so an end that a timer
 * made would be slept over. */
static void settle(struct gate_link *link) {
    link->wsi = NULL;
    link->transport->sockets--;
    explain(link, "");
    link->stage = link->stage != STAGE_OPEN && may_try_another(link) ? STAGE_NEXT : STAGE_ENDED;
    lws_cancel_service(link->transport->context);
}

/* ---- Connecting ------------------------------------------------------------------------------ */

static void connect_flags(const struct gate_link *link, struct lws_client_connect_info *info) {
    /* Trap: redirects would be followed, also those of an upgrade. */
    info->ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT;
    /* Names are checked by tls.c, which sees all of them. */
    if (link->url.tls)
        info->ssl_connection |= LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
}

/* Trap: with a proxy libwebsockets would resolve its name itself, and block. The address is looked
 * up like any other, and given to it in digits before each connect. */
static void point_at_proxy(struct gate_link *link, const char *address) {
    char proxy[sizeof link->transport->proxy_user + GATE_ADDRESS_TEXT_MAX + 16];
    const char *format = strchr(address, ':') ? "%s[%s]:%d" : "%s%s:%d";
    snprintf(proxy, sizeof proxy, format, link->transport->proxy_user, address,
             link->transport->proxy.port);
    lws_set_proxy(link->transport->vhost, proxy);
}

/* Connects to the next address. Trap: libwebsockets blocks in getaddrinfo for a name, so it only
 * ever sees digits; the name travels in `host`. */
static void connect_next(struct gate_link *link) {
    /* Trap: after 300 s of silence it would ping, and hang up after 310. */
    static const lws_retry_bo_t no_pings = {.secs_since_valid_ping = 0};
    struct gate_transport *transport = link->transport;
    const char *address = link->addresses.list[link->address++];
    char bracketed[GATE_HOST_BYTES_MAX + 3];
    struct lws_client_connect_info info = {.context = transport->context,
                                           .vhost = transport->vhost,
                                           .address = address,
                                           .port = link->url.port,
                                           .path = link->url.target,
                                           .host = link->url.authority,
                                           .alpn = "http/1.1", /* Trap: its HTTP/2 hangs. */
                                           .local_protocol_name = PROTOCOL,
                                           .retry_and_idle_policy = &no_pings,
                                           .opaque_user_data = link,
                                           .pwsi = &link->wsi};
    connect_flags(link, &info);
    if (link->exchange) info.method = link->exchange->request.method;
    if (transport->proxied) {
        point_at_proxy(link, address);
        snprintf(bracketed, sizeof bracketed, strchr(link->url.host, ':') ? "[%s]" : "%s",
                 link->url.host);
        info.address = bracketed; /* of the CONNECT; the proxy resolves it */
    }
    link->stage = STAGE_BUSY;
    link->phase = GATE_PHASE_CONNECT;
    transport->sockets++;
    link->error = 0;
    link->expired = false;
    link->tls = (struct gate_tls_state){
        .host = link->url.host, .literal = link->url.literal, .insecure = transport->insecure};
    /* Trap: a failure right here may make no callback of any kind, not even WSI_DESTROY. */
    if (!lws_client_connect_via_info(&info) && link->stage == STAGE_BUSY) settle(link);
}

/* Each address but the last gets a share, so that a dead one leaves time for the others. */
static void begin_address(struct gate_link *link) {
    if (link->transport->sockets >= SOCKETS_MAX) {
        fail(link, GATE_ESYSTEM, "too many connections for one engine");
        link->stage = STAGE_ENDED;
        return;
    }
    int64_t now_ms = gate_clock_ms(), left_ms = link->deadline_ms - now_ms;
    size_t addresses = link->addresses.count - link->address;
    int64_t share_ms = left_ms / (int64_t)addresses;
    if (share_ms > GATE_ADDRESS_TIMEOUT_MS) share_ms = GATE_ADDRESS_TIMEOUT_MS;
    link->address_deadline_ms = addresses > 1 ? now_ms + share_ms : link->deadline_ms;
    connect_next(link);
}

static void begin_resolving(struct gate_link *link) {
    struct gate_transport *transport = link->transport;
    int64_t now_ms = gate_clock_ms();
    const char *host = transport->proxied ? transport->proxy.host : link->url.host;
    if (gate_resolver_ask(transport->resolver, now_ms, host, link->deadline_ms - now_ms, link) <
        0) {
        fail(link, GATE_EMEMORY, gate_error_text(GATE_EMEMORY));
        link->stage = STAGE_ENDED;
    }
}

static void take_answers(struct gate_transport *transport) {
    struct gate_addresses found;
    void *user;
    while (gate_resolver_next(transport->resolver, gate_clock_ms(), &user, &found)) {
        struct gate_link *link = user;
        link->addresses = found;
        link->stage = found.error ? STAGE_ENDED : STAGE_NEXT;
        if (found.error) fail(link, found.error, found.detail);
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* When this link has to be looked at; -1: an open WebSocket has no deadline here. */
static int64_t find_deadline(const struct gate_link *link) {
    if (link->stage == STAGE_NEXT || link->stage == STAGE_ENDED) return 0;
    if (link->expired || (link->stage == STAGE_OPEN && !link->exchange)) return -1;
    bool trying = link->stage == STAGE_BUSY && link->phase < GATE_PHASE_UPGRADE;
    return trying ? link->address_deadline_ms : link->deadline_ms;
}

/* Trap: timeouts of libwebsockets come without a reason, or without any callback, in some phases;
 * so the watch over each phase is kept here, and the phase is named. It is also the way out of an
 * answer whose header names confuse its parser ("X", "Content"), which then waits for ever. */
static void expire(struct gate_link *link, int64_t now_ms) {
    int64_t deadline_ms = find_deadline(link);
    if (deadline_ms <= 0 || now_ms < deadline_ms || link->stage == STAGE_RESOLVING) return;
    link->expired = true;
    if (link->exchange && link->stage == STAGE_OPEN) link->exchange->complete = false;
    fail(link, GATE_ETIMEOUT, "no answer in time");
    if (link->wsi) kill_socket(link);
}

static int64_t nearer(int64_t a_ms, int64_t b_ms) {
    if (a_ms < 0) return b_ms;
    return b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

/* Trap: libwebsockets runs timers before it polls, so what a timer sets is not seen until the next
 * wake; this one makes that wake. */
static void ring_alarm(lws_sorted_usec_list_t *alarm) {
    struct gate_transport *transport = lws_container_of(alarm, struct gate_transport, alarm);
    lws_cancel_service(transport->context);
}

static void set_alarm(struct gate_transport *transport, int64_t deadline_ms) {
    int64_t left_ms = deadline_ms - gate_clock_ms();
    lws_sul_cancel(&transport->alarm);
    if (deadline_ms < 0) return;
    if (left_ms <= 0)
        lws_cancel_service(transport->context);
    else
        lws_sul_schedule(transport->context, 0, &transport->alarm, ring_alarm,
                         left_ms * LWS_USEC_PER_SEC / 1000);
}

/* ---- WebSocket ------------------------------------------------------------------------------- */

static int on_open(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    link->stage = STAGE_OPEN;
    link->phase = GATE_PHASE_OPEN;
    link->error = 0;
    if (link->paused) lws_rx_flow_control(link->wsi, 0);
    link->transport->calls.opened(link->user, link->connection);
    /* Trap: closing from here would be no close frame but a "connection error", so a close that is
     * wanted by now waits for the writable callback. */
    if (link->close_wanted && !link->detached) lws_callback_on_writable(link->wsi);
    return 0;
}

/* Trap: libwebsockets has no limit on a message and hands it over piece by piece; the header of a
 * frame tells how much is to come, so a gigabyte is refused at its first bytes. */
static bool is_over_limit(const struct gate_link *link, size_t len) {
    uint64_t remaining = lws_remaining_packet_payload(link->wsi);
    return remaining > link->message_bytes_max ||
           link->message_bytes + len > link->message_bytes_max - remaining;
}

/* Trap: text is not checked to be UTF-8 here; the JSON decoder does that where it matters. */
static int on_piece(struct gate_link *link, void *in, size_t len) {
    if (is_over_limit(link, len)) {
        fail(link, GATE_EMESSAGE, "a message over the size limit");
        return -1;
    }
    struct gate_piece piece = {.connection = link->connection,
                               .bytes = {in, len},
                               .final = lws_is_final_fragment(link->wsi) != 0,
                               .binary = lws_frame_is_binary(link->wsi) != 0};
    link->message_bytes = piece.final ? 0 : link->message_bytes + len;
    link->transport->bytes_in += len;
    link->transport->calls.piece(link->user, &piece);
    return 0;
}

/* Trap: a peer that does not answer is waited for by libwebsockets for five seconds, and what comes
 * behind our close is swallowed; so the close is reported with our own code, and the shard's own
 * deadline aborts. */
static int send_close(struct gate_link *link) {
    link->close_sent = true;
    /* Nothing that comes now is of interest, but the peer's answer has to be read. */
    lws_rx_flow_control(link->wsi, 1);
    lws_close_reason(link->wsi, (enum lws_close_status)link->close_code,
                     (unsigned char *)link->reason, link->reason_len);
    return -1;
}

/* Trap: one write a callback, and only from here. */
static int on_writable(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    if (link->close_sent || link->stage != STAGE_OPEN) return 0;
    struct outgoing *out = link->first;
    if (!out) return link->close_wanted ? send_close(link) : 0;
    enum lws_write_protocol kind = out->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    int written = lws_write(link->wsi, (unsigned char *)out->bytes.data, out->bytes.len, kind);
    bool failed = written < (int)out->bytes.len;
    drop_outgoing(link);
    if (failed) return -1;
    if (link->first || link->close_wanted) lws_callback_on_writable(link->wsi);
    return 0;
}

/* Trap: codes below 1000, 1004 to 1006 and 1012 to 2999 arrive as 1002; nothing is to be done. */
static int on_peer_close(struct gate_link *link, void *in, size_t len) {
    const unsigned char *bytes = in;
    if (link->close_sent) return 0;
    link->close_received = true;
    link->close_code = GATE_CLOSE_EMPTY;
    link->reason_len = 0;
    if (len < 2) return 0;
    link->close_code = bytes[0] << 8 | bytes[1];
    link->reason_len = len - 2 > GATE_REASON_BYTES_MAX ? GATE_REASON_BYTES_MAX : len - 2;
    memcpy(link->reason, bytes + 2, link->reason_len);
    return 0;
}

/* ---- HTTP and the upgrade -------------------------------------------------------------------- */

struct pen { /* where libwebsockets composes a request */
    char *at;
    size_t room;
};

static bool write_bytes(struct pen *pen, struct gate_span bytes) {
    if (bytes.len > pen->room) return false;
    if (bytes.len) memcpy(pen->at, bytes.data, bytes.len);
    pen->at += bytes.len;
    pen->room -= bytes.len;
    return true;
}

static bool write_header(struct pen *pen, const char *name, struct gate_span value) {
    return write_bytes(pen, (struct gate_span){name, strlen(name)}) &&
           write_bytes(pen, GATE_SPAN(": ")) && write_bytes(pen, value) &&
           write_bytes(pen, GATE_SPAN("\r\n"));
}

static bool write_request(struct gate_link *link, struct pen *pen) {
    const struct gate_request *request = &link->exchange->request;
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%zu", request->body.len);
    if (request->authorization.len) {
        if (!write_header(pen, "Authorization", request->authorization)) return false;
        link->transport->secret_len = request->authorization.len;
        link->transport->secret_at = pen->at - 2 - request->authorization.len;
    }
    if (request->content_type.len && !write_header(pen, "Content-Type", request->content_type))
        return false;
    bool empty = request->body.len == 0;
    if (empty && (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0))
        return true;
    if (!write_header(pen, "Content-Length", (struct gate_span){digits, (size_t)len})) return false;
    if (empty) return true;
    lws_client_http_body_pending(link->wsi, 1);
    lws_callback_on_writable(link->wsi);
    return true;
}

/* `len` is what is left of the buffer that *in points into. */
static int on_compose(struct gate_link *link, void *in, size_t len) {
    char **at = in;
    const char *agent = link->transport->user_agent;
    struct pen pen = {*at, len};
    link->phase = GATE_PHASE_UPGRADE;
    bool fits =
        !agent || write_header(&pen, "User-Agent", (struct gate_span){agent, strlen(agent)});
    if (fits && link->exchange) fits = write_request(link, &pen);
    *at = pen.at;
    if (!fits) fail(link, GATE_EVALUE, "the headers are over-long");
    return fits ? 0 : -1;
}

static int on_body_writable(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    if (!link->exchange || link->stage != STAGE_BUSY) return 0;
    struct gate_span body = link->exchange->request.body;
    if (body.len == 0) return 0;
    link->exchange->request.body.len = 0;
    int written =
        lws_write(link->wsi, (unsigned char *)(uintptr_t)body.data, body.len, LWS_WRITE_HTTP_FINAL);
    if (written < (int)body.len) return -1;
    lws_client_http_body_pending(link->wsi, 0);
    return 0;
}

/* The headers that somebody may want to see. */
static const struct {
    const char *name;   /* as Lua sees it */
    const char *custom; /* as it travels, lower case with a colon; NULL: libwebsockets knows it */
    enum lws_token_indexes token;
} wanted_headers[] = {
    {"retry_after", NULL, WSI_TOKEN_HTTP_RETRY_AFTER},
    {"content_type", NULL, WSI_TOKEN_HTTP_CONTENT_TYPE},
    {"date", NULL, WSI_TOKEN_HTTP_DATE},
    {"ratelimit_limit", "x-ratelimit-limit:", 0},
    {"ratelimit_remaining", "x-ratelimit-remaining:", 0},
    {"ratelimit_reset", "x-ratelimit-reset:", 0},
    {"ratelimit_reset_after", "x-ratelimit-reset-after:", 0},
    {"ratelimit_bucket", "x-ratelimit-bucket:", 0},
    {"ratelimit_global", "x-ratelimit-global:", 0},
    {"ratelimit_scope", "x-ratelimit-scope:", 0},
};
_Static_assert(sizeof wanted_headers / sizeof wanted_headers[0] <= GATE_HEADERS_MAX, "room");

/* `room` is filled, or the span is empty: there is no such header, or it is over-long. */
static struct gate_span copy_header(struct lws *wsi, enum lws_token_indexes token, char *room,
                                    size_t room_bytes) {
    int len = lws_hdr_copy(wsi, room, (int)room_bytes, token);
    return (struct gate_span){room, len > 0 ? (size_t)len : 0};
}

static int64_t read_retry_after_ms(struct lws *wsi) {
    char value[HEADER_VALUE_MAX], date[HEADER_VALUE_MAX];
    return gate_http_retry_after_ms(
        copy_header(wsi, WSI_TOKEN_HTTP_RETRY_AFTER, value, sizeof value),
        copy_header(wsi, WSI_TOKEN_HTTP_DATE, date, sizeof date), (int64_t)time(NULL));
}

/* A date becomes the seconds that are left, so that nobody has to understand both. */
static void write_seconds(struct gate_link *link, char *value) {
    int64_t wait_ms = read_retry_after_ms(link->wsi);
    if (gate_http_date_s((struct gate_span){value, strlen(value)}) >= 0)
        snprintf(value, HEADER_VALUE_MAX, "%lld", (long long)((wait_ms + 999) / 1000));
}

static void read_headers(struct gate_link *link) {
    struct exchange *exchange = link->exchange;
    for (size_t i = 0; i < sizeof wanted_headers / sizeof wanted_headers[0]; i++) {
        const char *custom = wanted_headers[i].custom;
        char *value = exchange->headers[exchange->header_count].value;
        int len = custom
                      ? lws_hdr_custom_copy(link->wsi, value, HEADER_VALUE_MAX, custom,
                                            (int)strlen(custom))
                      : lws_hdr_copy(link->wsi, value, HEADER_VALUE_MAX, wanted_headers[i].token);
        if (len <= 0) continue;
        exchange->headers[exchange->header_count++].name = wanted_headers[i].name;
        if (!custom && wanted_headers[i].token == WSI_TOKEN_HTTP_RETRY_AFTER)
            write_seconds(link, value);
    }
    exchange->chunked = lws_hdr_total_length(link->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
}

/* Trap: an answer without a body is only complete for libwebsockets when the server hangs up, which
 * it need not do. */
static bool is_bare(const struct gate_link *link) {
    char length[HEADER_VALUE_MAX];
    int status = link->exchange->status;
    if (status == 204 || status == 304) return true;
    if (strcmp(link->exchange->request.method, "HEAD") == 0) return true;
    struct gate_span found =
        copy_header(link->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof length);
    return found.len > 0 && strspn(length, "0 ") == found.len && !link->exchange->chunked;
}

/* The head of an answer has come, of an upgrade or of a request. Trap: libwebsockets takes an
 * interim answer (RFC 9110, 15.2) for the final one, whose bytes it then calls a body, and a status
 * line without a number for status 0. */
static int on_answer(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    int status = (int)lws_http_client_http_response(link->wsi);
    if (!link->exchange) {
        link->http_status = status;
        link->retry_after_ms = read_retry_after_ms(link->wsi);
        return 0;
    }
    link->exchange->status = status;
    read_headers(link);
    link->stage = STAGE_OPEN;
    link->phase = GATE_PHASE_OPEN;
    if (status < 200) {
        char words[GATE_TLS_WORDS_MAX];
        snprintf(words, sizeof words, "the answer is not a final one (HTTP status %d)", status);
        fail(link, GATE_EHTTP, words);
        return -1;
    }
    link->exchange->complete = is_bare(link);
    return link->exchange->complete ? -1 : 0;
}

static int on_body_ready(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    int room = GATE_READ_BYTES;
    if (!link->exchange) return -1;
    link->exchange->at = link->transport->scratch + LWS_PRE;
    return lws_http_client_read(link->wsi, &link->exchange->at, &room) < 0 ? -1 : 0;
}

/* Trap: the length of a chunk is an int that wraps, and so may be negative here. */
static int on_body(struct gate_link *link, void *in, size_t len) {
    if (!link->exchange) return -1;
    if (len > GATE_READ_BYTES) {
        fail(link, GATE_EHTTP, "a chunk's length is none");
        return -1;
    }
    int rc = gate_buf_append(&link->exchange->body, (struct gate_span){in, len});
    if (rc == GATE_OK) return 0;
    fail(link, rc == GATE_EMESSAGE ? GATE_EHTTP : rc,
         rc == GATE_EMESSAGE ? "the answer is over the size limit" : gate_error_text(rc));
    return -1;
}

/* Trap: a chunked answer that is cut short is called complete as well. The reader has not moved
 * then: there was nothing to read but the end. */
static int on_complete(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    struct exchange *exchange = link->exchange;
    if (!exchange) return -1;
    bool cut = exchange->chunked && exchange->at == link->transport->scratch + LWS_PRE;
    exchange->complete = !cut;
    return -1;
}

/* ---- libwebsockets' callbacks ---------------------------------------------------------------- */

static int on_connected(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    if (!link->transport->proxied)
        link->phase = link->url.tls ? GATE_PHASE_TLS : GATE_PHASE_UPGRADE;
    return 0;
}

static int on_connect_error(struct gate_link *link, void *in, size_t len) {
    char text[GATE_TLS_WORDS_MAX] = "";
    if (in && len < sizeof text) memcpy(text, in, len);
    explain(link, text);
    return 0;
}

static int on_destroy(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    settle(link);
    return 0;
}

static const struct {
    enum lws_callback_reasons reason;
    int (*handle)(struct gate_link *link, void *in, size_t len);
} handlers[] = {
    {LWS_CALLBACK_CLIENT_RECEIVE, on_piece},
    {LWS_CALLBACK_CLIENT_WRITEABLE, on_writable},
    {LWS_CALLBACK_WSI_CREATE, on_connected},
    {LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER, on_compose},
    {LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP, on_answer},
    {LWS_CALLBACK_CLIENT_ESTABLISHED, on_open},
    {LWS_CALLBACK_WS_PEER_INITIATED_CLOSE, on_peer_close},
    {LWS_CALLBACK_CLIENT_HTTP_WRITEABLE, on_body_writable},
    {LWS_CALLBACK_RECEIVE_CLIENT_HTTP, on_body_ready},
    {LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ, on_body},
    {LWS_CALLBACK_COMPLETED_CLIENT_HTTP, on_complete},
    {LWS_CALLBACK_CLIENT_CONNECTION_ERROR, on_connect_error},
    {LWS_CALLBACK_WSI_DESTROY, on_destroy},
};

/* Trap: the verification callback has its arguments in odd places: the store in `user`, the SSL
 * object in `in`, OpenSSL's opinion in `len`. It is the only place where the reason of a refused
 * certificate is to be had. */
static int judge_certificate(struct lws *wsi, void *store, size_t ok) {
    struct gate_link *link = lws_get_opaque_user_data(wsi);
    return link && gate_tls_judge(&link->tls, store, ok != 0) ? 0 : 1;
}

static int call_back(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                     size_t len) {
    if (reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION)
        return judge_certificate(wsi, user, len);
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].reason != reason) continue;
        struct gate_link *link = lws_get_opaque_user_data(wsi);
        if (!link) return 0;
        if (link->detached && reason != LWS_CALLBACK_WSI_DESTROY) return -1;
        link->wsi = wsi;
        int rc = handlers[i].handle(link, in, len);
        /* What was aborted from inside the callback ends here, without a close frame. */
        return link->detached && reason != LWS_CALLBACK_WSI_DESTROY ? -1 : rc;
    }
    return 0;
}

static struct gate_tls_state *find_handshake(void *owner, void *ssl) {
    struct gate_transport *transport = owner;
    for (struct gate_link *link = transport->links; link; link = link->next) {
        if (!link->wsi || lws_get_ssl(link->wsi) != ssl) continue;
        if (link->phase < GATE_PHASE_TLS) link->phase = GATE_PHASE_TLS;
        return &link->tls;
    }
    return NULL;
}

/* ---- The transport --------------------------------------------------------------------------- */

static void discard_log(int level, const char *line) {
    (void)level, (void)line;
}

static void wake_from_resolver(void *to) {
    gate_transport_wake(to);
}

/* Trap: libwebsockets sets SIGPIPE to ignored for the whole process. That is the host's affair: its
 * setting is put back, and the I/O thread, which has all signals blocked, never sees one. */
static struct lws_context *create_context(struct gate_transport *transport) {
    /* Trap: the event library plugins want another package at run time, and one of them never came
     * back; the plain poll loop is used. Its cost grows with the connections, hence the limit. */
    /* Traps: reads of less than 16384 bytes spin for ever under TLS with flow control, so both
     * buffers have that size; the default header space of 4096 is too small for a CDN. */
    static const struct lws_protocols protocols[] = {
        {.name = PROTOCOL, .callback = call_back, .rx_buffer_size = GATE_READ_BYTES},
        {.name = NULL}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .gid = -1,
        .uid = -1,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
                   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .provided_client_ssl_ctx = transport->tls,
        .max_http_header_data = GATE_HEADER_BYTES_MAX,
        .pt_serv_buf_size = GATE_READ_BYTES + LWS_PRE,
        /* Trap: without it the tables are as large as the limit on descriptors, which may be 17 GB.
         */
        .fd_limit_per_thread = GATE_LINKS_MAX,
        .timeout_secs = LWS_PATIENCE_S,
        .connect_timeout_secs = LWS_PATIENCE_S,
        .ka_time = KEEPALIVE_IDLE_S,
        .ka_interval = KEEPALIVE_EVERY_S,
        .ka_probes = KEEPALIVE_PROBES,
        /* Trap: without one $http_proxy would be used, and its name resolved in place. Port 0:
           none. */
        .http_proxy_address = "127.0.0.1:0",
    };
    struct sigaction before;
    sigaction(SIGPIPE, NULL, &before);
    lws_set_log_level(0, discard_log);
    struct lws_context *context = lws_create_context(&info);
    sigaction(SIGPIPE, &before, NULL);
    return context;
}

/* Control bytes in a header would begin another one. */
static bool is_header_value(struct gate_span value) {
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f) return false;
    return true;
}

static int copy_agent(struct gate_transport *transport, const char *agent, const char **detail) {
    if (!agent) return GATE_OK;
    size_t len = strlen(agent);
    *detail = "user_agent: over-long, or a byte that no header has";
    if (len > GATE_URL_BYTES_MAX || !is_header_value((struct gate_span){agent, len}))
        return GATE_EVALUE;
    *detail = gate_error_text(GATE_EMEMORY);
    transport->user_agent = gate_allocate(NULL, len + 1);
    if (!transport->user_agent) return GATE_EMEMORY;
    memcpy(transport->user_agent, agent, len + 1);
    return GATE_OK;
}

static int copy_proxy(struct gate_transport *transport, const char *proxy, const char **detail) {
    struct gate_span user;
    const char *fault;
    if (!proxy) return GATE_OK;
    *detail = "proxy: not of the form [user:password@]host:port";
    if (gate_url_parse_proxy((struct gate_span){proxy, strlen(proxy)}, &transport->proxy, &user,
                             &fault) < 0)
        return GATE_EVALUE;
    *detail = "proxy: user and password are over-long";
    if (user.len > PROXY_USER_MAX) return GATE_EVALUE;
    if (user.len)
        snprintf(transport->proxy_user, sizeof transport->proxy_user, "%.*s@", (int)user.len,
                 user.data);
    transport->proxied = true;
    return GATE_OK;
}

static int fill_transport(struct gate_transport *transport,
                          const struct gate_transport_options *options, const char **detail) {
    int error;
    int rc = copy_agent(transport, options->user_agent, detail);
    if (rc == GATE_OK) rc = copy_proxy(transport, options->proxy, detail);
    if (rc < 0) return rc;
    transport->tls = gate_tls_new(options->ca_file, find_handshake, transport, &error, detail);
    if (!transport->tls) return error;
    *detail = "no thread pool to be had";
    transport->resolver = gate_resolver_new(wake_from_resolver, transport);
    if (!transport->resolver) return GATE_ESYSTEM;
    *detail = "libwebsockets has no context to give: too few descriptors or too little memory";
    transport->context = create_context(transport);
    if (!transport->context) return GATE_ESYSTEM;
    transport->vhost = lws_get_vhost_by_name(transport->context, "default");
    return transport->vhost ? GATE_OK : GATE_ESYSTEM;
}

struct gate_transport *gate_transport_new(const struct gate_transport_options *options, int *error,
                                          const char **detail) {
    struct gate_transport *transport = gate_allocate(NULL, sizeof *transport);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!transport) return NULL;
    memset(transport, 0, sizeof *transport);
    transport->calls = *options->calls;
    transport->owner = options->owner;
    transport->insecure = options->insecure_tls;
    *error = fill_transport(transport, options, detail);
    if (*error == GATE_OK) return transport;
    gate_transport_del(transport);
    return NULL;
}

/* Trap: destroying the context sends no close frames, so the engine has closed what it could. */
void gate_transport_del(struct gate_transport *transport) {
    if (!transport) return;
    for (struct gate_link *link = transport->links; link; link = link->next) link->detached = true;
    gate_resolver_del(transport->resolver);
    transport->resolver = NULL;
    if (transport->context) lws_sul_cancel(&transport->alarm);
    if (transport->context) lws_context_destroy(transport->context);
    while (transport->links) del_link(transport->links);
    gate_tls_del(transport->tls);
    gate_allocate(transport->user_agent, 0);
    gate_wipe(transport, sizeof *transport);
    gate_allocate(transport, 0);
}

void gate_transport_wake(struct gate_transport *transport) {
    lws_cancel_service(transport->context);
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void report_close(struct gate_link *link) {
    bool opened = link->phase == GATE_PHASE_OPEN;
    bool coded = link->close_sent || link->close_received;
    struct gate_close why = {.phase = link->phase,
                             .code = opened && coded ? link->close_code : GATE_CLOSE_DROPPED,
                             .error = link->error,
                             .detail = {link->words, strlen(link->words)},
                             .http_status = opened ? 0 : link->http_status,
                             .retry_after_ms = opened ? 0 : link->retry_after_ms};
    if (link->close_received) why.reason = (struct gate_span){link->reason, link->reason_len};
    if (!opened && !why.error) why.error = GATE_ECONNECT;
    link->transport->calls.closed(link->user, link->connection, &why);
}

static void report_answer(struct gate_link *link) {
    struct exchange *exchange = link->exchange;
    if (!link->error && !exchange->complete) fail(link, GATE_EHTTP, "the answer was cut short");
    struct gate_answer answer = {.id = exchange->request.id,
                                 .error = exchange->complete ? 0 : link->error,
                                 .phase = link->phase,
                                 .detail = {link->words, strlen(link->words)},
                                 .status = exchange->status,
                                 .body = &exchange->body,
                                 .header_count = exchange->header_count};
    for (size_t i = 0; i < exchange->header_count; i++) {
        const char *value = exchange->headers[i].value;
        answer.headers[i].name = exchange->headers[i].name;
        answer.headers[i].value = (struct gate_span){value, strlen(value)};
    }
    link->transport->calls.answered(link->transport->owner, &answer);
}

/* It leaves the list first: the report may open, close or abort others. */
static void end_link(struct gate_link *link) {
    unlink_link(link);
    if (link->detached)
        ;
    else if (link->exchange)
        report_answer(link);
    else
        report_close(link);
    del_link(link);
}

static struct gate_link *find_work(const struct gate_transport *transport) {
    struct gate_link *link = transport->links;
    while (link && link->stage != STAGE_NEXT && link->stage != STAGE_ENDED) link = link->next;
    return link;
}

/* The buffer in which libwebsockets composed the request is its own and lives on. It is wiped only
 * where it still holds the secret, as by now it may hold somebody's answer. */
static void wipe_secret(struct gate_transport *transport) {
    for (struct gate_link *link = transport->links; link; link = link->next) {
        if (!link->exchange || !transport->secret_at) continue;
        struct gate_span secret = link->exchange->request.authorization;
        if (secret.len == transport->secret_len &&
            memcmp(secret.data, transport->secret_at, secret.len) == 0)
            gate_wipe(transport->secret_at, secret.len);
    }
    transport->secret_at = NULL;
}

static void serve(struct gate_transport *transport) {
    struct gate_link *link;
    lws_service(transport->context, 0);
    wipe_secret(transport);
    take_answers(transport);
    int64_t now_ms = gate_clock_ms();
    for (link = transport->links; link; link = link->next) expire(link, now_ms);
    while ((link = find_work(transport)) != NULL) {
        if (link->stage == STAGE_NEXT)
            begin_address(link);
        else
            end_link(link);
    }
}

void gate_transport_turn(struct gate_transport *transport, int64_t deadline_ms) {
    deadline_ms = nearer(deadline_ms, gate_resolver_deadline(transport->resolver));
    for (const struct gate_link *link = transport->links; link; link = link->next)
        deadline_ms = nearer(deadline_ms, find_deadline(link));
    set_alarm(transport, deadline_ms);
    serve(transport);
}

bool gate_transport_poll(struct gate_transport *transport) {
    uint64_t before = transport->bytes_in;
    set_alarm(transport, 0);
    serve(transport);
    return transport->bytes_in != before;
}

/* ---- What the engine asks for ---------------------------------------------------------------- */

/* A fault in the question is reported like one of the network, in a later turn. */
static void refuse(struct gate_link *link, const char *what, const char *detail) {
    char words[GATE_TLS_WORDS_MAX];
    snprintf(words, sizeof words, "%s: %s", what, detail);
    fail(link, GATE_EVALUE, words);
    link->phase = GATE_PHASE_NONE;
    link->stage = STAGE_ENDED;
}

static void begin_link(struct gate_link *link, struct gate_span url) {
    const char *detail = NULL;
    if (gate_url_parse(url, &link->url, &detail) < 0)
        refuse(link, "url", detail);
    else if (link->url.websocket == (link->exchange != NULL))
        refuse(link, "url", "the scheme does not belong here");
    else
        begin_resolving(link);
}

struct gate_link *gate_link_open(struct gate_transport *transport,
                                 const struct gate_link_options *options) {
    struct gate_link *link = new_link(transport, options->timeout_ms);
    if (!link) return NULL;
    link->user = options->user;
    link->connection = options->connection;
    link->message_bytes_max = options->message_bytes_max;
    begin_link(link, options->url);
    return link;
}

int gate_link_send(struct gate_link *link, struct gate_buf *take, bool binary, bool secret) {
    if (link->stage != STAGE_OPEN || link->close_wanted) return GATE_ECLOSED;
    if (take->headroom_bytes < LWS_PRE) return GATE_EUSAGE;
    struct outgoing *out = gate_allocate(NULL, sizeof *out);
    if (!out) return GATE_EMEMORY;
    *out = (struct outgoing){.binary = binary, .secret = secret};
    gate_buf_init(&out->bytes, 0, 0);
    gate_buf_move(&out->bytes, take);
    if (link->last)
        link->last->next = out;
    else
        link->first = out;
    link->last = out;
    if (link->wsi) lws_callback_on_writable(link->wsi);
    return GATE_OK;
}

void gate_link_close(struct gate_link *link, int code, struct gate_span reason) {
    if (link->close_wanted || link->close_received || link->stage == STAGE_ENDED) return;
    link->close_wanted = true;
    link->close_code = code;
    link->reason_len = reason.len > GATE_REASON_BYTES_MAX ? GATE_REASON_BYTES_MAX : reason.len;
    if (link->reason_len) memcpy(link->reason, reason.data, link->reason_len);
    if (link->stage == STAGE_OPEN) {
        if (link->wsi) lws_callback_on_writable(link->wsi);
        return;
    }
    fail(link, GATE_ECLOSED, "closed before it was open");
    if (link->stage == STAGE_RESOLVING) gate_resolver_forget(link->transport->resolver, link);
    if (link->wsi)
        kill_socket(link);
    else
        link->stage = STAGE_ENDED;
}

void gate_link_abort(struct gate_link *link) {
    link->detached = true;
    link->user = NULL;
    while (link->first) drop_outgoing(link);
    if (link->stage == STAGE_RESOLVING) gate_resolver_forget(link->transport->resolver, link);
    if (link->wsi)
        kill_socket(link);
    else
        link->stage = STAGE_ENDED;
}

/* Trap: flow control while a close is under way would leave the peer's answer unread. */
void gate_link_pause(struct gate_link *link, bool paused) {
    if (link->paused == paused) return;
    link->paused = paused;
    if (link->wsi && link->stage == STAGE_OPEN && !link->close_sent && !link->close_received)
        lws_rx_flow_control(link->wsi, !paused);
}

static bool is_method(const char *method) {
    size_t len = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return len > 0 && len < 16 && method[len] == '\0';
}

static const char *find_fault(const struct gate_request *request) {
    if (!is_method(request->method)) return "method";
    if (!is_header_value(request->authorization)) return "authorization";
    return is_header_value(request->content_type) ? NULL : "content_type";
}

int gate_transport_request(struct gate_transport *transport, const struct gate_request *request,
                           struct gate_buf *memory) {
    struct exchange *exchange = gate_allocate(NULL, sizeof *exchange);
    struct gate_link *link = exchange ? new_link(transport, request->timeout_ms) : NULL;
    if (!link) {
        gate_allocate(exchange, 0);
        return GATE_EMEMORY;
    }
    memset(exchange, 0, sizeof *exchange);
    exchange->request = *request;
    gate_buf_init(&exchange->memory, 0, 0);
    gate_buf_move(&exchange->memory, memory);
    gate_buf_init(&exchange->body, 0, GATE_BODY_BYTES_MAX);
    link->exchange = exchange;
    const char *fault = find_fault(request);
    if (fault)
        refuse(link, fault, "a byte that does not belong there");
    else
        begin_link(link, request->url);
    return GATE_OK;
}

bool gate_transport_matches(const char **built, const char **found) {
    *built = LWS_LIBRARY_VERSION;
    *found = lws_get_library_version();
    size_t digits = strspn(*built, "0123456789");
    return strncmp(*built, *found, digits) == 0 && (*found)[digits] == '.';
}

/* transport.c - see transport.h. libwebsockets 4.1, from Debian 12, has traps; each has its guard
 * here, and the guard says which it is.
 *
 * A WebSocket is an HTTP request here: libwebsockets resolves nothing, but connects, goes through
 * the proxy, does TLS and reads the head of the answer; the body of that answer, which has no end,
 * are the frames, and those are websocket.c's. Its own WebSocket role looks at each byte of a
 * payload on its own, which took 21 % of this process with zlib-stream and 85 % without
 * compression, rewrites some close codes, and lets through much that RFC 6455 forbids. Its raw role
 * begins TLS before there is a connection, and so never has one.
 *
 * A link or request goes through the stages of link.h; only gate_transport_turn moves it on from
 * RESOLVING, NEXT and ENDED, so that nothing starts or is reported from inside another one's
 * callback.
 *
 * LWS_CALLBACK_WSI_DESTROY is the only end of a socket: a timeout inside libwebsockets closes
 * without any other callback. */
#include "transport.h"

#include <errno.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "head.h"
#include "link.h"
#include "queue.h"
#include "websocket.h"

#define PROTOCOL          "moongate"
#define LWS_PATIENCE_S    3600 /* its own timeouts close without a reason: ours come long before */
#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_EVERY_S 10
#define KEEPALIVE_PROBES  3
#define HEADERS_HELD_S    1000000000 /* longer than any connection lives */
#define RANDOM_BYTES      512        /* drawn at once: a mask each would cost a call each */

#define SOCKETS_MAX (GATE_LINKS_MAX - 8) /* it has descriptors of its own in the same table */

struct gate_transport {
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct gate_links links;
    lws_sorted_usec_list_t alarm;
    size_t sockets; /* of links; libwebsockets has room for so many */
    bool insecure;
    char *user_agent; /* NULL: none */
    /* Where libwebsockets has composed a header with a secret, to be wiped after use. */
    struct gate_span secret;
    unsigned char dice[RANDOM_BYTES]; /* unpredictable, each byte for one use */
    size_t dice_left;                 /* bytes not used yet */
    char scratch[GATE_READ_BYTES];    /* what is read: frames, bodies of answers */
};

/* Trap: what must close is killed by a timer of libwebsockets that is due at once, as closing from
 * inside a callback of the same socket would pull it from under the caller. WSI_DESTROY follows. */
void gate_socket_kill(struct gate_link *link) {
    lws_set_timeout(link->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

void gate_socket_write(struct gate_link *link) {
    lws_callback_on_writable(link->wsi);
}

/* Trap: libwebsockets stops looking at a socket when it tells of bytes, and looks again when they
 * are read, which makes a pause of not reading. Its flow control would hold up writing as well, and
 * is good for nothing but to make it look again. */
void gate_socket_read(struct gate_link *link) {
    lws_rx_flow_control(link->wsi, 0);
    lws_rx_flow_control(link->wsi, 1);
}

/* Trap: in the role of an HTTP client libwebsockets never comes to writing while bytes keep coming
 * in; so what is to be written goes to the socket directly. */
int64_t gate_socket_send(struct gate_link *link, struct gate_span bytes) {
    void *ssl = lws_get_ssl(link->wsi);
    if (ssl) return gate_tls_write(ssl, bytes);
    ssize_t sent = send(lws_get_socket_fd(link->wsi), bytes.data, bytes.len, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

int gate_transport_random(struct gate_transport *transport, unsigned char *out, size_t len) {
    if (transport->dice_left < len) {
        int rc = gate_tls_random(transport->dice, sizeof transport->dice);
        if (rc < 0) return rc;
        transport->dice_left = sizeof transport->dice;
    }
    transport->dice_left -= len;
    memcpy(out, transport->dice + transport->dice_left, len);
    gate_wipe(transport->dice + transport->dice_left, len);
    return GATE_OK;
}

/* Trap: libwebsockets keeps it to itself that there was no descriptor for a socket. Whether there
 * is one now is easily seen. */
static void notice_shortage(struct gate_link *link) {
    if (link->error || link->stage == GATE_STAGE_OPEN || link->phase > GATE_PHASE_CONNECT) return;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0)
        close(fd);
    else if (errno == EMFILE || errno == ENFILE)
        gate_link_fail(link, GATE_ESYSTEM, "no descriptor for a socket");
}

/* The socket is gone. Trap: libwebsockets runs its timers before it polls, so an end that a timer
 * made would be slept over. */
static void settle(struct gate_link *link) {
    link->wsi = NULL;
    link->transport->sockets--;
    notice_shortage(link);
    gate_link_explain(link, "");
    bool again = link->stage != GATE_STAGE_OPEN && gate_link_may_try_another(link);
    link->stage = again ? GATE_STAGE_NEXT : GATE_STAGE_ENDED;
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
 * up like any other, and given to it in digits before each connect. `room` is for the name of the
 * host as it stands in the CONNECT, which the proxy resolves. */
static void use_proxy(struct gate_link *link, struct lws_client_connect_info *info,
                      char room[GATE_HOST_BYTES_MAX + 3]) {
    char proxy[GATE_PROXY_TEXT_MAX];
    gate_proxy_point(link->proxy, info->address, proxy);
    lws_set_proxy(link->transport->vhost, proxy);
    gate_wipe(proxy, sizeof proxy);
    snprintf(room, GATE_HOST_BYTES_MAX + 3, strchr(link->url.host, ':') ? "[%s]" : "%s",
             link->url.host);
    info->address = room;
}

/* Connects to the next address. Trap: libwebsockets blocks in getaddrinfo for a name, so it only
 * ever sees digits; the name travels in `host`. */
static void connect_next(struct gate_link *link) {
    /* Trap: after 300 s of silence it would ping, and hang up after 310. */
    static const lws_retry_bo_t no_pings = {.secs_since_valid_ping = 0};
    struct gate_transport *transport = link->transport;
    char bracketed[GATE_HOST_BYTES_MAX + 3];
    if (transport->sockets >= SOCKETS_MAX) {
        gate_link_fail(link, GATE_ESYSTEM, "too many connections for one engine");
        link->stage = GATE_STAGE_ENDED;
        return;
    }
    struct lws_client_connect_info info = {.context = transport->context,
                                           .vhost = transport->vhost,
                                           .address = gate_link_next_address(link),
                                           .port = link->url.port,
                                           .path = link->url.target,
                                           .host = link->url.authority,
                                           .alpn = "http/1.1", /* Trap: its HTTP/2 hangs. */
                                           .local_protocol_name = PROTOCOL,
                                           .retry_and_idle_policy = &no_pings,
                                           .opaque_user_data = link,
                                           .pwsi = &link->wsi};
    connect_flags(link, &info);
    info.method = link->exchange ? link->exchange->request.method : "GET";
    if (link->proxy->used) use_proxy(link, &info, bracketed);
    transport->sockets++;
    link->tls = (struct gate_tls_state){.host = link->url.host,
                                        .place = link->url.authority,
                                        .literal = link->url.literal,
                                        .insecure = transport->insecure};
    /* Trap: a failure right here may make no callback of any kind, not even WSI_DESTROY. */
    if (!lws_client_connect_via_info(&info) && link->stage == GATE_STAGE_BUSY) settle(link);
}

/* ---- Time ------------------------------------------------------------------------------------ */

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

/* Trap: libwebsockets has asked for the end of the connection by now, which is the last thing it
 * wrote; an upgrade asks for the opposite. */
static void take_back_close(struct gate_pen *pen) {
    static const char unwanted[] = "connection: close\r\n";
    const size_t len = sizeof unwanted - 1;
    if (memcmp(pen->at - len, unwanted, len) != 0) return;
    pen->at -= len;
    pen->room += len;
}

static bool compose_upgrade(struct gate_link *link, struct gate_pen *pen) {
    unsigned char nonce[GATE_NONCE_BYTES];
    return gate_transport_random(link->transport, nonce, sizeof nonce) == GATE_OK &&
           gate_upgrade_init(&link->upgrade, nonce) == GATE_OK &&
           gate_upgrade_compose(&link->upgrade, pen);
}

/* ---- HTTP and the upgrade -------------------------------------------------------------------- */

/* `len` is what is left of the buffer that *in points into. */
static int on_compose(struct gate_link *link, void *in, size_t len) {
    char **at = in;
    const char *agent = link->transport->user_agent;
    struct gate_pen pen = {*at, len};
    struct gate_span secret = {NULL, 0};
    link->phase = GATE_PHASE_UPGRADE;
    if (!link->exchange) take_back_close(&pen);
    bool fits =
        !agent || gate_pen_header(&pen, "User-Agent", (struct gate_span){agent, strlen(agent)});
    if (fits)
        fits = link->exchange ? gate_exchange_compose(link->exchange, &pen, &secret)
                              : compose_upgrade(link, &pen);
    if (secret.len) link->transport->secret = secret;
    *at = pen.at;
    if (!fits) {
        gate_link_fail(link, GATE_EVALUE, "the headers are over-long");
        return -1;
    }
    if (link->exchange && link->exchange->request.body.len) {
        lws_client_http_body_pending(link->wsi, 1);
        lws_callback_on_writable(link->wsi);
    }
    return 0;
}

static int on_writable(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    if (!link->exchange) {
        gate_websocket_write(link);
        return 0;
    }
    if (link->stage != GATE_STAGE_BUSY) return 0;
    struct gate_span body = link->exchange->request.body;
    if (body.len == 0) return 0;
    link->exchange->request.body.len = 0;
    int written =
        lws_write(link->wsi, (unsigned char *)(uintptr_t)body.data, body.len, LWS_WRITE_HTTP_FINAL);
    if (written < (int)body.len) return -1;
    lws_client_http_body_pending(link->wsi, 0);
    return 0;
}

/* Those that libwebsockets keeps apart; it finds the others by their names only. */
static const struct {
    const char *name;
    enum lws_token_indexes token;
} known_headers[] = {
    {"retry-after", WSI_TOKEN_HTTP_RETRY_AFTER},
    {"content-type", WSI_TOKEN_HTTP_CONTENT_TYPE},
    {"content-length", WSI_TOKEN_HTTP_CONTENT_LENGTH},
    {"transfer-encoding", WSI_TOKEN_HTTP_TRANSFER_ENCODING},
    {"date", WSI_TOKEN_HTTP_DATE},
    {"upgrade", WSI_TOKEN_UPGRADE},
    {"connection", WSI_TOKEN_CONNECTION},
    {"sec-websocket-accept", WSI_TOKEN_ACCEPT},
    {"sec-websocket-extensions", WSI_TOKEN_EXTENSIONS},
    {"sec-websocket-protocol", WSI_TOKEN_PROTOCOL},
};

int64_t gate_socket_header(struct gate_link *link, const char *name, char *room,
                           size_t room_bytes) {
    char with_colon[GATE_HEADER_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof known_headers / sizeof known_headers[0]; i++)
        if (strcmp(known_headers[i].name, name) == 0)
            return lws_hdr_copy(link->wsi, room, (int)room_bytes, known_headers[i].token);
    int len = snprintf(with_colon, sizeof with_colon, "%s:", name);
    int found = lws_hdr_custom_copy(link->wsi, room, (int)room_bytes, with_colon, len);
    return found < 0 ? 0 : found;
}

/* The head of an answer has come, of an upgrade or of a request. */
static int on_answer(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    int status = (int)lws_http_client_http_response(link->wsi);
    if (!link->exchange) {
        if (!gate_head_upgrade(link, status)) return -1;
        gate_websocket_open(link);
        return 0;
    }
    link->stage = GATE_STAGE_OPEN;
    link->phase = GATE_PHASE_OPEN;
    return gate_head_request(link, status) ? 0 : -1;
}

static int on_ready(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    int room = GATE_READ_BYTES;
    char *at = link->transport->scratch, **end = link->exchange ? &link->exchange->at : &at;
    if (!link->exchange && !gate_websocket_may_read(link)) return 0;
    *end = at;
    if (lws_http_client_read(link->wsi, end, &room) < 0) return -1;
    if (!link->exchange) gate_websocket_write(link);
    return 0;
}

/* Trap: the length of a chunk is an int that wraps, and so may be negative here. */
static int on_body(struct gate_link *link, void *in, size_t len) {
    if (!link->exchange) {
        gate_websocket_take(link, (struct gate_span){in, len});
        return 0;
    }
    if (len > GATE_READ_BYTES) {
        gate_link_fail(link, GATE_EHTTP, "a chunk's length is none");
        return -1;
    }
    int rc = gate_buf_append(&link->exchange->body, (struct gate_span){in, len});
    if (rc == GATE_OK) return 0;
    gate_link_fail(link, rc == GATE_EMESSAGE ? GATE_EHTTP : rc,
                   rc == GATE_EMESSAGE ? "the answer is over the size limit" : gate_error_text(rc));
    return -1;
}

/* Trap: a chunked answer that is cut short is called complete as well. The reader has not moved
 * then: there was nothing to read but the end. */
static int on_complete(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    struct gate_exchange *exchange = link->exchange;
    if (!exchange) return -1;
    bool cut = exchange->chunked && exchange->at == link->transport->scratch;
    exchange->complete = !cut;
    return -1;
}

/* ---- libwebsockets' callbacks ---------------------------------------------------------------- */

static int on_connected(struct gate_link *link, void *in, size_t len) {
    (void)in, (void)len;
    if (!link->proxy->used) link->phase = link->url.tls ? GATE_PHASE_TLS : GATE_PHASE_UPGRADE;
    return 0;
}

static int on_connect_error(struct gate_link *link, void *in, size_t len) {
    char text[GATE_TLS_WORDS_MAX] = "";
    if (in && len < sizeof text) memcpy(text, in, len);
    notice_shortage(link);
    gate_link_explain(link, text);
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
    {LWS_CALLBACK_RECEIVE_CLIENT_HTTP, on_ready},
    {LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ, on_body},
    {LWS_CALLBACK_CLIENT_HTTP_WRITEABLE, on_writable},
    {LWS_CALLBACK_WSI_CREATE, on_connected},
    {LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER, on_compose},
    {LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP, on_answer},
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
    for (struct gate_link *link = transport->links.first; link; link = link->next) {
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

/* Trap: each context that is made with the option for TLS takes a new number for what hangs on an
 * SSL object, for the whole process: a handshake that another thread has under way would not be
 * known again, and its certificate refused. So only the first one is made with it; the vhost, which
 * has no vhosts of its own by then, needs the option to take our settings. */
static struct lws_context *make_context(struct lws_context_creation_info *info) {
    static bool has_made; /* one at a time makes a context */
    uint64_t tls = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT, options = info->options;
    info->options = options | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | (has_made ? 0 : tls);
    struct lws_context *context = lws_create_context(info);
    info->options = options | tls;
    if (!context) return NULL;
    has_made = true;
    if (lws_create_vhost(context, info)) return context;
    lws_context_destroy(context);
    return NULL;
}

/* Trap: libwebsockets sets SIGPIPE to ignored for the whole process. That is the host's affair: its
 * setting is put back, and the I/O thread, which has all signals blocked, never sees one. */
static struct lws_context *create_context(const struct gate_transport_options *options) {
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
        .options =
            LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .provided_client_ssl_ctx = gate_tls_context(options->tls),
        .max_http_header_data = GATE_HEADER_BYTES_MAX,
        /* Trap: the headers of an answer are held as long as its body comes, and who holds them for
           more than this and 360 s may be closed for it. */
        .timeout_secs_ah_idle = HEADERS_HELD_S,
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
    struct lws_context *context = make_context(&info);
    sigaction(SIGPIPE, &before, NULL);
    return context;
}

static int copy_agent(struct gate_transport *transport, const char *agent, const char **detail) {
    if (!agent) return GATE_OK;
    size_t len = strlen(agent);
    *detail = "user_agent: over-long, or a byte that no header has";
    if (len > GATE_URL_BYTES_MAX || !gate_http_is_value((struct gate_span){agent, len}))
        return GATE_EVALUE;
    *detail = gate_error_text(GATE_EMEMORY);
    transport->user_agent = gate_allocate(NULL, len + 1);
    if (!transport->user_agent) return GATE_EMEMORY;
    memcpy(transport->user_agent, agent, len + 1);
    return GATE_OK;
}

static int fill_transport(struct gate_transport *transport,
                          const struct gate_transport_options *options, const char **detail) {
    int rc = copy_agent(transport, options->user_agent, detail);
    if (rc == GATE_OK) rc = gate_proxy_parse(options->proxy, &transport->links.proxy, detail);
    if (rc < 0) return rc;
    *detail = gate_error_text(GATE_EMEMORY);
    transport->links.resolver = gate_resolver_new(wake_from_resolver, transport);
    if (!transport->links.resolver) return GATE_EMEMORY;
    *detail = "libwebsockets has no context to give: too few descriptors or too little memory";
    transport->context = create_context(options);
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
    transport->links.calls = *options->calls;
    transport->links.owner = options->owner;
    transport->insecure = options->insecure_tls;
    *error = fill_transport(transport, options, detail);
    if (*error == GATE_OK) return transport;
    gate_transport_del(transport);
    return NULL;
}

/* Trap: destroying the context sends no close frames, so the engine has closed what it could. */
void gate_transport_del(struct gate_transport *transport) {
    if (!transport) return;
    for (struct gate_link *link = transport->links.first; link; link = link->next)
        link->detached = true;
    gate_resolver_del(transport->links.resolver);
    transport->links.resolver = NULL;
    if (transport->context) lws_sul_cancel(&transport->alarm);
    if (transport->context) lws_context_destroy(transport->context);
    while (transport->links.first) gate_link_del(transport->links.first);
    gate_allocate(transport->user_agent, 0);
    gate_wipe(transport, sizeof *transport);
    gate_allocate(transport, 0);
}

struct gate_links *gate_transport_links(struct gate_transport *transport) {
    return &transport->links;
}

void gate_transport_wake(struct gate_transport *transport) {
    lws_cancel_service(transport->context);
}

/* ---- Turns ----------------------------------------------------------------------------------- */

/* It leaves the list first: the report may open, close or abort others. */
static void end_link(struct gate_link *link) {
    gate_link_unlist(link);
    gate_link_report(link, &link->transport->links.calls, link->transport->links.owner);
    gate_link_del(link);
}

static struct gate_link *find_work(const struct gate_transport *transport) {
    struct gate_link *link = transport->links.first;
    while (link && link->stage != GATE_STAGE_NEXT && link->stage != GATE_STAGE_ENDED)
        link = link->next;
    return link;
}

/* The buffer in which libwebsockets composed the request is its own and lives on. It is wiped only
 * where it still holds the secret, as by now it may hold somebody's answer. */
static void wipe_secret(struct gate_transport *transport) {
    struct gate_span at = transport->secret;
    if (!at.len) return;
    for (struct gate_link *link = transport->links.first; link; link = link->next) {
        if (!link->exchange) continue;
        struct gate_span secret = link->exchange->request.authorization;
        if (secret.len == at.len && memcmp(secret.data, at.data, at.len) == 0)
            gate_wipe((void *)(uintptr_t)at.data, at.len);
    }
    transport->secret = (struct gate_span){NULL, 0};
}

static void serve(struct gate_transport *transport) {
    struct gate_link *link;
    gate_tls_attend(find_handshake, transport);
    lws_service(transport->context, 0);
    wipe_secret(transport);
    gate_link_resolved(transport->links.resolver);
    int64_t now_ms = gate_clock_ms();
    for (link = transport->links.first; link; link = link->next) {
        /* Trap: timeouts of libwebsockets come without a reason, or without any callback, in some
         * phases; so the watch over each phase is kept here, and the phase is named. It is also the
         * way out of an answer whose header names confuse its parser ("X", "Content"), which then
         * waits for ever. */
        if (gate_link_expire(link, now_ms) && link->wsi) gate_socket_kill(link);
        if (!gate_websocket_may_resume(link)) continue;
        gate_websocket_resume(link);
        gate_websocket_write(link);
    }
    while ((link = find_work(transport)) != NULL) {
        bool next = link->stage == GATE_STAGE_NEXT;
        if (next)
            connect_next(link);
        else
            end_link(link);
        /* A connection that comes about at once has composed its request by now. */
        if (next) wipe_secret(transport);
    }
}

void gate_transport_turn(struct gate_transport *transport, int64_t deadline_ms) {
    deadline_ms = nearer(deadline_ms, gate_resolver_deadline(transport->links.resolver));
    for (const struct gate_link *link = transport->links.first; link; link = link->next)
        deadline_ms = nearer(deadline_ms, gate_link_deadline(link));
    set_alarm(transport, deadline_ms);
    serve(transport);
}

bool gate_transport_poll(struct gate_transport *transport) {
    uint64_t before = transport->links.bytes_in;
    set_alarm(transport, 0);
    serve(transport);
    return transport->links.bytes_in != before;
}

bool gate_transport_matches(const char **built, const char **found) {
    *built = LWS_LIBRARY_VERSION;
    *found = lws_get_library_version();
    size_t digits = strspn(*built, "0123456789");
    return strncmp(*built, *found, digits) == 0 && (*found)[digits] == '.';
}

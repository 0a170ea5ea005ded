/* link.c - see link.h. It knows no socket, and so nothing of libwebsockets but the texts in which
 * it says why it gave up. */
#include "link.h"

#include <stdio.h>
#include <string.h>

#include "queue.h"
#include "websocket.h"

static struct gate_link *new_link(struct gate_transport *transport, int64_t timeout_ms) {
    struct gate_links *links = gate_transport_links(transport);
    struct gate_link *link = gate_allocate(NULL, sizeof *link);
    if (!link) return NULL;
    *link = (struct gate_link){.transport = transport,
                               .from = &links->first,
                               .next = links->first,
                               .proxy = &links->proxy,
                               .deadline_ms = gate_clock_ms() + timeout_ms,
                               .phase = GATE_PHASE_RESOLVE};
    if (link->next) link->next->from = &link->next;
    links->first = link;
    return link;
}

void gate_link_unlist(struct gate_link *link) {
    if (!link->from) return;
    *link->from = link->next;
    if (link->next) link->next->from = link->from;
    link->from = NULL;
}

void gate_link_del(struct gate_link *link) {
    gate_link_unlist(link);
    while (link->first) gate_link_drop_first(link);
    gate_websocket_free(&link->socket);
    gate_exchange_del(link->exchange);
    gate_allocate(link, 0);
}

/* ---- What waits to be written ---------------------------------------------------------------- */

static int queue_message(struct gate_link *link, struct gate_buf *take, bool binary, bool secret) {
    struct gate_outgoing *out = gate_allocate(NULL, sizeof *out);
    if (!out) return GATE_EMEMORY;
    *out = (struct gate_outgoing){.binary = binary, .secret = secret};
    gate_buf_init(&out->bytes, 0, 0);
    gate_buf_move(&out->bytes, take);
    if (link->last)
        link->last->next = out;
    else
        link->first = out;
    link->last = out;
    return GATE_OK;
}

void gate_link_drop_first(struct gate_link *link) {
    struct gate_outgoing *out = link->first;
    link->first = out->next;
    if (!link->first) link->last = NULL;
    if (out->secret) gate_buf_wipe(&out->bytes);
    gate_buf_free(&out->bytes);
    gate_allocate(out, 0);
}

/* ---- What went wrong ------------------------------------------------------------------------- */

void gate_link_fail(struct gate_link *link, int error, const char *words) {
    link->error = error;
    snprintf(link->words, sizeof link->words, "%s", words);
}

/* Trap: after a refused TCP connect errno is meaningless, and the text is always the same. */
static void explain_connect(struct gate_link *link, const char *text) {
    if (link->proxy->used && strstr(text, "proxy"))
        gate_link_fail(link, GATE_ECONNECT, "the proxy did not open the way");
    else if (link->proxy->used)
        gate_link_fail(link, GATE_ECONNECT, "no connection to the proxy: refused, or unreachable");
    else
        gate_link_fail(link, GATE_ECONNECT, "connection refused, or host unreachable");
}

static void explain_upgrade(struct gate_link *link, const char *text) {
    char words[GATE_TLS_WORDS_MAX];
    if (link->tls.error) {
        gate_link_fail(link, link->tls.error, link->tls.words);
    } else if (link->exchange && strstr(text, "header")) {
        gate_link_fail(link, GATE_EHTTP, "the head of the answer is malformed, or over-long");
    } else if (link->exchange) {
        gate_link_fail(link, GATE_ECONNECT, "the server hung up before it had answered");
    } else if (link->http_status != 0 && link->http_status != 101) {
        snprintf(words, sizeof words, "the server answered with HTTP status %d", link->http_status);
        gate_link_fail(link, GATE_EUPGRADE, words);
    } else if (strstr(text, "HS:") || strstr(text, "header")) {
        snprintf(words, sizeof words, "the answer is no WebSocket upgrade (%.100s)", text);
        gate_link_fail(link, GATE_EUPGRADE, words);
    } else {
        gate_link_fail(link, GATE_ECONNECT, "the server hung up before it had answered");
    }
}

void gate_link_explain(struct gate_link *link, const char *text) {
    if (link->error || link->stage == GATE_STAGE_OPEN) return;
    if (link->phase == GATE_PHASE_UPGRADE)
        explain_upgrade(link, text);
    else if (link->phase != GATE_PHASE_TLS)
        explain_connect(link, text);
    else if (link->tls.error)
        gate_link_fail(link, link->tls.error, link->tls.words);
    else
        gate_link_fail(link, GATE_ETLS, "the server hung up during the handshake");
}

/* ---- Where to -------------------------------------------------------------------------------- */

/* A fault in the question is reported like one of the network, in a later turn. */
static void refuse(struct gate_link *link, const char *what, const char *fault) {
    char words[GATE_TLS_WORDS_MAX];
    snprintf(words, sizeof words, "%s: %s", what, fault);
    gate_link_fail(link, GATE_EVALUE, words);
    link->phase = GATE_PHASE_NONE;
    link->stage = GATE_STAGE_ENDED;
}

static void ask_address(struct gate_link *link) {
    struct gate_resolver *resolver = gate_transport_links(link->transport)->resolver;
    int64_t now_ms = gate_clock_ms();
    const char *host = link->proxy->used ? link->proxy->url.host : link->url.host;
    if (gate_resolver_ask(resolver, now_ms, host, link->deadline_ms - now_ms, link) == GATE_OK)
        return;
    gate_link_fail(link, GATE_EMEMORY, gate_error_text(GATE_EMEMORY));
    link->stage = GATE_STAGE_ENDED;
}

static void begin_link(struct gate_link *link, struct gate_span url) {
    const char *fault = NULL;
    if (gate_url_parse(url, &link->url, &fault) < 0)
        refuse(link, "url", fault);
    else if (link->url.websocket == (link->exchange != NULL))
        refuse(link, "url", "the scheme does not belong here");
    else
        ask_address(link);
}

void gate_link_resolved(struct gate_resolver *resolver) {
    struct gate_addresses found;
    void *user;
    while (gate_resolver_next(resolver, gate_clock_ms(), &user, &found)) {
        struct gate_link *link = user;
        link->addresses = found;
        link->stage = found.error ? GATE_STAGE_ENDED : GATE_STAGE_NEXT;
        if (found.error) gate_link_fail(link, found.error, found.detail);
    }
}

const char *gate_link_next_address(struct gate_link *link) {
    int64_t now_ms = gate_clock_ms(), left_ms = link->deadline_ms - now_ms;
    size_t addresses = link->addresses.count - link->address;
    int64_t share_ms = left_ms / (int64_t)addresses;
    if (share_ms > GATE_ADDRESS_TIMEOUT_MS) share_ms = GATE_ADDRESS_TIMEOUT_MS;
    link->address_deadline_ms = addresses > 1 ? now_ms + share_ms : link->deadline_ms;
    link->stage = GATE_STAGE_BUSY;
    link->phase = GATE_PHASE_CONNECT;
    link->error = 0;
    link->expired = false;
    return link->addresses.list[link->address++];
}

bool gate_link_may_try_another(const struct gate_link *link) {
    return !link->detached && !link->close_wanted && link->phase < GATE_PHASE_UPGRADE &&
           link->error != GATE_ECERTIFICATE && link->address < link->addresses.count &&
           gate_clock_ms() < link->deadline_ms;
}

/* ---- Time ------------------------------------------------------------------------------------ */

int64_t gate_link_deadline(const struct gate_link *link) {
    if (link->stage == GATE_STAGE_NEXT || link->stage == GATE_STAGE_ENDED) return 0;
    if (gate_websocket_may_resume(link)) return 0;
    if (link->expired || (link->stage == GATE_STAGE_OPEN && !link->exchange)) return -1;
    bool trying = link->stage == GATE_STAGE_BUSY && link->phase < GATE_PHASE_UPGRADE;
    return trying ? link->address_deadline_ms : link->deadline_ms;
}

bool gate_link_expire(struct gate_link *link, int64_t now_ms) {
    int64_t deadline_ms = gate_link_deadline(link);
    if (deadline_ms <= 0 || now_ms < deadline_ms || link->stage == GATE_STAGE_RESOLVING)
        return false;
    link->expired = true;
    if (link->exchange && link->stage == GATE_STAGE_OPEN) link->exchange->complete = false;
    gate_link_fail(link, GATE_ETIMEOUT, "no answer in time");
    return true;
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void report_close(struct gate_link *link, const struct gate_transport_calls *calls) {
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
    calls->closed(link->user, link->connection, &why);
}

static void report_answer(struct gate_link *link, const struct gate_transport_calls *calls,
                          void *owner) {
    struct gate_answer answer;
    if (!link->error && !link->exchange->complete)
        gate_link_fail(link, GATE_EHTTP, "the answer was cut short");
    gate_exchange_answer(link->exchange, link->error,
                         (struct gate_span){link->words, strlen(link->words)}, &answer);
    answer.phase = link->phase;
    calls->answered(owner, &answer);
}

void gate_link_report(struct gate_link *link, const struct gate_transport_calls *calls,
                      void *owner) {
    if (link->detached) return;
    if (link->exchange)
        report_answer(link, calls, owner);
    else
        report_close(link, calls);
}

/* ---- What the engine asks for ---------------------------------------------------------------- */

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
    bool closing = link->close_wanted || link->socket.farewell_code;
    if (link->stage != GATE_STAGE_OPEN || closing) return GATE_ECLOSED;
    if (take->headroom_bytes < GATE_HEADROOM_BYTES) return GATE_EUSAGE;
    int rc = queue_message(link, take, binary, secret);
    if (rc < 0) return rc;
    if (link->wsi) gate_socket_write(link);
    return GATE_OK;
}

void gate_link_close(struct gate_link *link, int code, struct gate_span reason) {
    if (link->close_wanted || link->close_received || link->stage == GATE_STAGE_ENDED) return;
    link->close_wanted = true;
    link->close_code = code;
    link->reason_len = reason.len > GATE_REASON_BYTES_MAX ? GATE_REASON_BYTES_MAX : reason.len;
    if (link->reason_len) memcpy(link->reason, reason.data, link->reason_len);
    if (link->stage == GATE_STAGE_OPEN) {
        if (link->wsi) gate_socket_write(link);
        return;
    }
    gate_link_fail(link, GATE_ECLOSED, "closed before it was open");
    if (link->stage == GATE_STAGE_RESOLVING)
        gate_resolver_forget(gate_transport_links(link->transport)->resolver, link);
    if (link->wsi)
        gate_socket_kill(link);
    else
        link->stage = GATE_STAGE_ENDED;
}

void gate_link_abort(struct gate_link *link) {
    link->detached = true;
    link->user = NULL;
    while (link->first) gate_link_drop_first(link);
    link->socket.out.len = 0;
    if (link->stage == GATE_STAGE_RESOLVING)
        gate_resolver_forget(gate_transport_links(link->transport)->resolver, link);
    if (link->wsi)
        gate_socket_kill(link);
    else
        link->stage = GATE_STAGE_ENDED;
}

/* What was kept comes before what can be read. */
void gate_link_pause(struct gate_link *link, bool paused) {
    if (link->paused == paused) return;
    link->paused = paused;
    if (!paused && link->wsi && link->stage == GATE_STAGE_OPEN && !link->socket.kept.len)
        gate_socket_read(link);
}

int gate_transport_request(struct gate_transport *transport, const struct gate_request *request,
                           struct gate_buf *memory) {
    struct gate_link *link = new_link(transport, request->timeout_ms);
    if (link) link->exchange = gate_exchange_new(request, memory);
    if (!link || !link->exchange) {
        if (link) gate_link_del(link);
        return GATE_EMEMORY;
    }
    const char *fault = gate_exchange_fault(link->exchange);
    if (fault)
        refuse(link, fault, "a byte that does not belong there");
    else
        begin_link(link, link->exchange->request.url);
    return GATE_OK;
}

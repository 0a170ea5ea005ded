/* sandbox_http.c - see sandbox_http.h. One request at a time; what comes behind it waits in the
 * link's buffer until it is answered. */
#include "sandbox_http.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sandbox_gateway.h"
#include "sandbox_loop.h"
#include "sandbox_rest.h"
#include "sandbox_state.h"

#define HEAD_BYTES_MAX 16384  /* as most servers have it */
#define BODY_BYTES_MAX 131072 /* nothing that a bot's answer needs is larger without files */
#define IDLE_WAIT_MS   60000  /* between the requests of one connection */
#define KEY_BYTES      24     /* RFC 6455, 4.1: sixteen bytes in base64 */
#define ACCEPT_GUID    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, 1.3 */

/* ---- Scripted answers --------------------------------------------------------------------------
 */

struct gate_reply {
    struct gate_reply *next;
    struct gate_sandbox_answer answer; /* spans point into `words` */
    struct gate_buf words;
};

static int keep_words(struct gate_reply *reply, const struct gate_sandbox_answer *answer) {
    struct gate_sandbox_answer *kept = &reply->answer;
    struct gate_span *spans[] = {&kept->path, &kept->method, &kept->headers, &kept->body};
    *kept = *answer;
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
        if (gate_buf_append(&reply->words, *spans[i]) < 0) return GATE_EMEMORY;
    const char *at = reply->words.data;
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        spans[i]->data = at ? at : "";
        if (at) at += spans[i]->len;
    }
    return GATE_OK;
}

static void free_reply(struct gate_reply *reply) {
    gate_buf_free(&reply->words);
    gate_allocate(reply, 0);
}

int gate_http_script(struct gate_sandbox *sandbox, const struct gate_sandbox_answer *answer) {
    struct gate_reply *reply = gate_allocate(NULL, sizeof *reply);
    if (!reply) return GATE_EMEMORY;
    *reply = (struct gate_reply){.next = NULL};
    gate_buf_init(&reply->words, 0, 0);
    if (keep_words(reply, answer) < 0) {
        free_reply(reply);
        return GATE_EMEMORY;
    }
    struct gate_reply **end = &sandbox->replies;
    while (*end) end = &(*end)->next;
    *end = reply;
    return GATE_OK;
}

void gate_http_forget(struct gate_sandbox *sandbox) {
    while (sandbox->replies) {
        struct gate_reply *reply = sandbox->replies;
        sandbox->replies = reply->next;
        free_reply(reply);
    }
}

static bool is_same(struct gate_span a, struct gate_span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static struct gate_span without_slash(struct gate_span path) {
    if (path.len > 1 && path.data[path.len - 1] == '/') path.len--;
    return path;
}

static struct gate_reply **find_reply(struct gate_sandbox *sandbox,
                                      const struct gate_request *request) {
    for (struct gate_reply **place = &sandbox->replies; *place; place = &(*place)->next) {
        const struct gate_sandbox_answer *answer = &(*place)->answer;
        if (answer->method.len > 0 && !is_same(answer->method, request->method)) continue;
        if (is_same(without_slash(answer->path), without_slash(request->path))) return place;
    }
    return NULL;
}

/* ---- Reading a request -------------------------------------------------------------------------
 */

static struct gate_span cut_until(struct gate_span *rest, const char *mark) {
    size_t len = strlen(mark);
    struct gate_span piece = *rest;
    for (size_t i = 0; i + len <= rest->len; i++) {
        if (memcmp(rest->data + i, mark, len) != 0) continue;
        piece.len = i;
        rest->data += i + len;
        rest->len -= i + len;
        return piece;
    }
    rest->data += rest->len;
    rest->len = 0;
    return piece;
}

static struct gate_span trim(struct gate_span text) {
    while (text.len > 0 && (*text.data == ' ' || *text.data == '\t')) text.data++, text.len--;
    while (text.len > 0 && strchr(" \t", text.data[text.len - 1])) text.len--;
    return text;
}

/* The value of a header; no data when there is none. */
static struct gate_span find_header(const struct gate_request *request, const char *name) {
    struct gate_span rest = request->headers;
    while (rest.len > 0) {
        struct gate_span line = cut_until(&rest, "\r\n");
        struct gate_span key = cut_until(&line, ":");
        if (key.len == strlen(name) && strncasecmp(key.data, name, key.len) == 0) return trim(line);
    }
    return (struct gate_span){NULL, 0};
}

/* Whether a header is a list with this word in it. */
static bool has_word(const struct gate_request *request, const char *name, const char *word) {
    struct gate_span rest = find_header(request, name);
    while (rest.len > 0) {
        struct gate_span item = trim(cut_until(&rest, ","));
        if (item.len == strlen(word) && strncasecmp(item.data, word, item.len) == 0) return true;
    }
    return false;
}

struct gate_span gate_query_find(struct gate_span query, const char *name) {
    while (query.len > 0) {
        struct gate_span value = cut_until(&query, "&");
        struct gate_span key = cut_until(&value, "=");
        if (key.len == strlen(name) && memcmp(key.data, name, key.len) == 0 && value.len > 0)
            return value;
    }
    return (struct gate_span){NULL, 0};
}

/* Takes "/api" and "/v10" off the front, should they stand there. */
static struct gate_span strip_version(struct gate_span path) {
    if (path.len < 4 || memcmp(path.data, "/api", 4) != 0) return path;
    if (path.len > 4 && path.data[4] != '/') return path;
    path.data += 4;
    path.len -= 4;
    if (path.len < 3 || memcmp(path.data, "/v", 2) != 0) return path;
    size_t digits = 0;
    while (2 + digits < path.len && strchr("0123456789", path.data[2 + digits])) digits++;
    if (digits == 0 || (2 + digits < path.len && path.data[2 + digits] != '/')) return path;
    path.data += 2 + digits;
    path.len -= 2 + digits;
    return path;
}

/* An absolute-form target (RFC 9112, 3.2.2) loses its scheme and authority. */
static void split_target(struct gate_request *request) {
    struct gate_span rest = request->target;
    if (rest.len > 7 && strncasecmp(rest.data, "http://", 7) == 0) {
        rest.data += 7;
        rest.len -= 7;
        while (rest.len > 0 && *rest.data != '/') rest.data++, rest.len--;
    }
    request->path = cut_until(&rest, "?");
    request->query = rest;
}

/* The bytes of the body, or -1 for what this server does not take. */
static int64_t read_length(const struct gate_request *request) {
    if (find_header(request, "Transfer-Encoding").data) return -1;
    struct gate_span text = find_header(request, "Content-Length");
    if (!text.data || is_same(text, GATE_SPAN("0"))) return 0;
    uint64_t len = gate_id_read(text);
    return len > 0 && len <= BODY_BYTES_MAX ? (int64_t)len : -1;
}

static bool is_authorized(const struct gate_link *link, const struct gate_request *request) {
    struct gate_span value = find_header(request, "Authorization");
    struct gate_span token = link->sandbox->options.token;
    if (value.len != token.len + 4 || memcmp(value.data, "Bot ", 4) != 0) return false;
    return memcmp(value.data + 4, token.data, token.len) == 0;
}

/* 1: a whole request; 0: more is needed; otherwise minus the status that refuses it. */
static int read_request(const struct gate_link *link, struct gate_request *out) {
    struct gate_span rest = {link->in.data + link->in_used, link->in.len - link->in_used};
    const char *start = rest.data;
    size_t all = rest.len;
    /* A TLS hello where plain HTTP is spoken is refused at once, as any web server does. */
    if (all > 0 && (start[0] < 'A' || start[0] > 'Z')) return -400;
    struct gate_span head = cut_until(&rest, "\r\n\r\n");
    if (head.len == all || head.len > HEAD_BYTES_MAX) return all > HEAD_BYTES_MAX ? -431 : 0;
    head.len += 2; /* the last header keeps its CR LF */
    struct gate_span line = cut_until(&head, "\r\n");
    out->headers = head;
    out->method = cut_until(&line, " ");
    out->target = cut_until(&line, " ");
    out->old = is_same(line, GATE_SPAN("HTTP/1.0"));
    if (!out->old && !is_same(line, GATE_SPAN("HTTP/1.1"))) return -400;
    if (out->method.len == 0 || out->target.len == 0) return -400;
    split_target(out);
    int64_t len = read_length(out);
    if (len < 0) return -413;
    if ((uint64_t)len > rest.len) return 0;
    out->body = (struct gate_span){rest.data, (size_t)len};
    out->used = (size_t)(rest.data - start) + (size_t)len;
    out->authorized = is_authorized(link, out);
    out->type = find_header(out, "Content-Type");
    return 1;
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static const char *status_word(int status) {
    static const struct {
        int status;
        const char *word;
    } words[] = {{101, "Switching Protocols"},
                 {200, "OK"},
                 {204, "No Content"},
                 {301, "Moved Permanently"},
                 {302, "Found"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {413, "Content Too Large"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].status == status) return words[i].word;
    return "Status";
}

struct answer {
    int status;
    struct gate_span headers; /* further lines */
    struct gate_span body;
    int64_t delay_ms;
};

static void record(struct gate_link *link, const struct gate_request *request, int status) {
    struct gate_buf note;
    gate_buf_init(&note, 0, 0);
    int rc = GATE_FILL(
        &note,
        "{'at_ms':$,'method':$,'path':$,'target':$,'status':$,'authorized':$,"
        "'user_agent':$,'body':$}",
        gate_integer_blank(gate_sandbox_now()), gate_text_blank(request->method),
        gate_text_blank(strip_version(request->path)), gate_text_blank(request->target),
        gate_integer_blank(status), gate_boolean_blank(request->authorized),
        gate_text_blank(find_header(request, "User-Agent")), gate_text_blank(request->body));
    if (rc == GATE_OK) gate_journal_add(&link->sandbox->requests, 0, gate_buf_span(&note));
    gate_buf_free(&note);
    gate_sandbox_log(link->sandbox, link, "request", "%.*s %.*s: %d", (int)request->method.len,
                     request->method.data, (int)request->target.len, request->target.data, status);
}

static bool names_header(struct gate_span headers, const char *name) {
    struct gate_request fake = {.headers = headers};
    return find_header(&fake, name).data != NULL;
}

/* Discord answers errors in JSON, so that is the type unless somebody says otherwise. */
static int write_answer(struct gate_link *link, const struct answer *answer, struct gate_buf *out) {
    char head[256], length[64] = "", date[GATE_SANDBOX_DATE_BYTES];
    bool empty = answer->status == 204; /* RFC 9110, 8.6: no Content-Length then */
    if (!empty) snprintf(length, sizeof length, "Content-Length: %zu\r\n", answer->body.len);
    bool dated = names_header(answer->headers, "Date");
    bool typed = empty || names_header(answer->headers, "Content-Type");
    int len = snprintf(
        head, sizeof head, "HTTP/1.1 %d %s\r\n%s%s%s%s%s%s", answer->status,
        status_word(answer->status), length, typed ? "" : "Content-Type: application/json\r\n",
        link->keeps_alive ? "" : "Connection: close\r\n",
        dated ? "" : "Date: ", dated ? "" : gate_sandbox_date(link->sandbox, date).data,
        dated ? "" : "\r\n");
    int rc = gate_buf_append(out, (struct gate_span){head, (size_t)len});
    if (rc == GATE_OK) rc = gate_buf_append(out, answer->headers);
    if (rc == GATE_OK) rc = gate_buf_append(out, GATE_SPAN("\r\n"));
    return rc == GATE_OK ? gate_buf_append(out, answer->body) : rc;
}

static void send_answer(struct gate_link *link, const struct answer *answer) {
    struct gate_buf text;
    gate_buf_init(&text, 0, 0);
    int rc = write_answer(link, answer, &text);
    if (rc < 0) {
        gate_link_ask_drop(link, true);
    } else if (answer->delay_ms > 0) {
        gate_buf_move(&link->held, &text);
        link->held_at_ms = gate_sandbox_now() + answer->delay_ms;
        link->deadline_ms = link->held_at_ms + IDLE_WAIT_MS;
    } else {
        gate_link_write(link, gate_buf_span(&text));
        if (!link->keeps_alive) gate_link_end(link);
    }
    gate_buf_free(&text);
}

static void refuse(struct gate_link *link, const struct gate_request *request, int status,
                   struct gate_span headers) {
    struct gate_buf body;
    gate_buf_init(&body, 0, 0);
    char message[64];
    snprintf(message, sizeof message, "%d: %s", status, status_word(status));
    if (request) record(link, request, status);
    int rc = GATE_FILL(&body, "{'message':$,'code':0}", gate_string_blank(message));
    if (rc == GATE_OK)
        send_answer(link, &(struct answer){status, headers, gate_buf_span(&body), 0});
    else
        gate_link_ask_drop(link, true);
    gate_buf_free(&body);
}

void gate_http_tick(struct gate_link *link, int64_t now_ms) {
    if (link->held_at_ms > now_ms || link->state != GATE_LINK_HTTP) return;
    link->held_at_ms = GATE_NEVER_MS;
    gate_link_write(link, gate_buf_span(&link->held));
    gate_buf_free(&link->held);
    if (link->keeps_alive)
        link->more_in = true; /* requests may be waiting behind it */
    else
        gate_link_end(link);
}

/* Plays a scripted answer; false when none is meant for this request. */
static bool play_reply(struct gate_link *link, const struct gate_request *request) {
    struct gate_reply **place = find_reply(link->sandbox, request);
    if (!place) return false;
    struct gate_reply *reply = *place;
    const struct gate_sandbox_answer *answer = &reply->answer;
    record(link, request, answer->status);
    if (answer->status == 0)
        gate_link_drop(link, true, "dropped by a scripted answer");
    else
        send_answer(link, &(struct answer){answer->status, answer->headers, answer->body,
                                           answer->delay_ms});
    if (answer->times == 0 || --reply->answer.times > 0) return true;
    *place = reply->next;
    free_reply(reply);
    return true;
}

/* ---- Routes ------------------------------------------------------------------------------------
 */

static void serve_route(struct gate_link *link, const struct gate_request *request) {
    struct gate_reply_text reply = {.status = 200};
    gate_buf_init(&reply.headers, 0, 0);
    gate_buf_init(&reply.body, 0, 0);
    int rc = gate_buf_reserve(&reply.headers, 1);
    if (rc == GATE_OK) rc = gate_rest_serve(link->sandbox, request, &reply);
    if (rc == GATE_OK) {
        record(link, request, reply.status);
        send_answer(link, &(struct answer){reply.status, gate_buf_span(&reply.headers),
                                           gate_buf_span(&reply.body), 0});
    } else {
        gate_link_ask_drop(link, true);
    }
    gate_buf_free(&reply.headers);
    gate_buf_free(&reply.body);
}

/* ---- The upgrade -------------------------------------------------------------------------------
 */

/* RFC 6455, 4.2.2: base64 of the SHA-1 of the key and a fixed text. */
static bool make_accept(struct gate_span key, char out[32]) {
    char text[KEY_BYTES + sizeof ACCEPT_GUID];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (key.len != KEY_BYTES) return false;
    memcpy(text, key.data, KEY_BYTES);
    memcpy(text + KEY_BYTES, ACCEPT_GUID, sizeof ACCEPT_GUID);
    if (EVP_Digest(text, sizeof text - 1, digest, &len, EVP_sha1(), NULL) != 1) return false;
    EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
    return true;
}

static void accept_upgrade(struct gate_link *link) {
    gate_link_write(link, gate_buf_span(&link->held));
    gate_buf_free(&link->held);
    link->state = GATE_LINK_OPEN;
    link->deadline_ms = GATE_NEVER_MS;
    gate_sandbox_log(link->sandbox, link, "open", "%.*s?%.*s", (int)link->path.len, link->path.data,
                     (int)link->query.len, link->query.data ? link->query.data : "");
    gate_gateway_open(link);
}

void gate_http_release(struct gate_link *link) {
    if (!link->upgrade_held) return;
    link->upgrade_held = false;
    accept_upgrade(link);
    link->more_in = true;
}

static void serve_upgrade(struct gate_link *link, const struct gate_request *request) {
    char accept[32], answer[160];
    bool asked = has_word(request, "Connection", "Upgrade") && !request->old &&
                 is_same(request->method, GATE_SPAN("GET"));
    if (!asked || !make_accept(find_header(request, "Sec-WebSocket-Key"), accept)) {
        refuse(link, request, 400, (struct gate_span){"", 0});
        return;
    }
    if (!is_same(find_header(request, "Sec-WebSocket-Version"), GATE_SPAN("13"))) {
        refuse(link, request, 426, GATE_SPAN("Sec-WebSocket-Version: 13\r\n"));
        return;
    }
    int len = snprintf(answer, sizeof answer,
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                       accept);
    if (gate_buf_append(&link->path, request->path) < 0 ||
        gate_buf_append(&link->query, request->query) < 0 ||
        gate_buf_append(&link->held, (struct gate_span){answer, (size_t)len}) < 0) {
        gate_link_drop(link, true, "out of memory");
        return;
    }
    link->id = ++link->sandbox->last_id;
    record(link, request, 101);
    link->upgrade_held = (link->knobs.stalls & GATE_STALL_UPGRADE) != 0;
    link->deadline_ms = GATE_NEVER_MS;
    if (!link->upgrade_held) accept_upgrade(link);
}

/* ---- One request after the other ---------------------------------------------------------------
 */

static void serve_request(struct gate_link *link, struct gate_request *request) {
    bool upgrade = has_word(request, "Upgrade", "websocket");
    link->keeps_alive = !request->old && !has_word(request, "Connection", "close");
    link->deadline_ms = gate_sandbox_now() + IDLE_WAIT_MS;
    if (!upgrade) request->path = strip_version(request->path);
    if (play_reply(link, request)) return;
    if (upgrade)
        serve_upgrade(link, request);
    else
        serve_route(link, request);
}

void gate_http_consume(struct gate_link *link) {
    while (link->state == GATE_LINK_HTTP && link->in.len > link->in_used) {
        struct gate_request request = {.old = false};
        if (link->upgrade_held || link->held_at_ms != GATE_NEVER_MS) return;
        int rc = read_request(link, &request);
        if (rc == 0) return;
        if (rc < 0) {
            link->keeps_alive = false;
            refuse(link, NULL, -rc, (struct gate_span){"", 0});
            return;
        }
        link->in_used += request.used;
        serve_request(link, &request);
    }
}

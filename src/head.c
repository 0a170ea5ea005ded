/* head.c - see head.h. */
#include "head.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Values ---------------------------------------------------------------------------------- */

/* `room` is filled, or the span is empty: there is no such header, or it is over-long. */
static struct gate_span copy(struct gate_link *link, const char *name,
                             char room[GATE_HEADER_VALUE_MAX]) {
    int64_t len = gate_socket_header(link, name, room, GATE_HEADER_VALUE_MAX);
    return (struct gate_span){room, len > 0 ? (size_t)len : 0};
}

static bool has(struct gate_link *link, const char *name) {
    char room[GATE_HEADER_VALUE_MAX];
    return gate_socket_header(link, name, room, sizeof room) != 0;
}

static int64_t read_retry_after_ms(struct gate_link *link) {
    char value[GATE_HEADER_VALUE_MAX], date[GATE_HEADER_VALUE_MAX];
    return gate_http_retry_after_ms(copy(link, "retry-after", value), copy(link, "date", date),
                                    (int64_t)time(NULL));
}

/* ---- Upgrades -------------------------------------------------------------------------------- */

/* From here on the body of the answer, which has no end, are the frames. Trap: libwebsockets would
 * take the last two headers for what they say, and no frame would come. */
static const char *judge_upgrade(struct gate_link *link) {
    char upgrade[GATE_HEADER_VALUE_MAX], connection[GATE_HEADER_VALUE_MAX];
    char accept[GATE_HEADER_VALUE_MAX];
    struct gate_upgrade_answer answer = {.status = link->http_status,
                                         .upgrade = copy(link, "upgrade", upgrade),
                                         .connection = copy(link, "connection", connection),
                                         .accept = copy(link, "sec-websocket-accept", accept),
                                         .extensions = {"?", has(link, "sec-websocket-extensions")},
                                         .protocol = {"?", has(link, "sec-websocket-protocol")}};
    const char *fault = gate_upgrade_judge(&link->upgrade, &answer);
    bool has_body = has(link, "content-length") || has(link, "transfer-encoding");
    return !fault && has_body ? "it has a body" : fault;
}

bool gate_head_upgrade(struct gate_link *link, int status) {
    char words[GATE_TLS_WORDS_MAX];
    link->http_status = status;
    link->retry_after_ms = read_retry_after_ms(link);
    const char *fault = judge_upgrade(link);
    if (!fault) return true;
    /* gate_link_explain has better words for another status. */
    if (status != 101 && status > 0) return false;
    snprintf(words, sizeof words, "the answer is no WebSocket upgrade: %s", fault);
    gate_link_fail(link, GATE_EUPGRADE, words);
    return false;
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* The headers that somebody may want to see. */
static const struct {
    const char *name; /* as Lua sees it */
    const char *wire; /* as it travels */
} wanted[] = {
    {"retry_after", "retry-after"},
    {"content_type", "content-type"},
    {"date", "date"},
    {"ratelimit_limit", "x-ratelimit-limit"},
    {"ratelimit_remaining", "x-ratelimit-remaining"},
    {"ratelimit_reset", "x-ratelimit-reset"},
    {"ratelimit_reset_after", "x-ratelimit-reset-after"},
    {"ratelimit_bucket", "x-ratelimit-bucket"},
    {"ratelimit_global", "x-ratelimit-global"},
    {"ratelimit_scope", "x-ratelimit-scope"},
};
_Static_assert(sizeof wanted / sizeof wanted[0] <= GATE_HEADERS_MAX, "room");

/* A date becomes the seconds that are left, so that nobody has to understand both. */
static void write_seconds(struct gate_link *link, char *value) {
    int64_t wait_ms = read_retry_after_ms(link);
    if (gate_http_date_s((struct gate_span){value, strlen(value)}) >= 0)
        snprintf(value, GATE_HEADER_VALUE_MAX, "%lld", (long long)((wait_ms + 999) / 1000));
}

static void read_wanted(struct gate_link *link) {
    struct gate_exchange *exchange = link->exchange;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char *value = exchange->headers[exchange->header_count].value;
        if (copy(link, wanted[i].wire, value).len == 0) continue;
        exchange->headers[exchange->header_count++].name = wanted[i].name;
        if (strcmp(wanted[i].name, "retry_after") == 0) write_seconds(link, value);
    }
}

/* Trap: an answer without a body is only complete for libwebsockets when the server hangs up, which
 * it need not do. */
static bool is_bare(struct gate_link *link) {
    char length[GATE_HEADER_VALUE_MAX];
    if (gate_exchange_is_bare(link->exchange)) return true;
    struct gate_span found = copy(link, "content-length", length);
    return found.len > 0 && strspn(length, "0 ") == found.len && !link->exchange->chunked;
}

/* Trap: libwebsockets takes an interim answer (RFC 9110, 15.2) for the final one, whose bytes it
 * then calls a body, and a status line without a number for status 0. */
bool gate_head_request(struct gate_link *link, int status) {
    char words[GATE_TLS_WORDS_MAX];
    link->exchange->status = status;
    link->exchange->chunked = has(link, "transfer-encoding");
    read_wanted(link);
    if (status >= 200) {
        link->exchange->complete = is_bare(link);
        return !link->exchange->complete;
    }
    snprintf(words, sizeof words, "the answer is not a final one (HTTP status %d)", status);
    gate_link_fail(link, GATE_EHTTP, words);
    return false;
}

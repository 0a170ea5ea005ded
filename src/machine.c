/* machine.c - see machine.h. */
#include "machine.h"

#include <string.h>

static const char *const state_words[] = {
#define X(name, word) word,
    GATE_STATES(X)
#undef X
};

const char *gate_state_word(enum gate_state state) {
    return state_words[state];
}

static const char *const phase_words[] = {
#define X(name, word) word,
    GATE_PHASES(X)
#undef X
};

const char *gate_phase_word(enum gate_phase phase) {
    return phase_words[phase];
}

void gate_action_free(struct gate_action *action) {
    if (action->type == GATE_ACT_EVENT) gate_event_free(&action->event);
    if (action->type != GATE_ACT_SEND) return;
    if (action->secret) gate_buf_wipe(&action->bytes);
    gate_buf_free(&action->bytes);
}

/* Copies what `span` shows behind the kept strings and lets it show the copy. The memory was
 * reserved whole before, so nothing moves. */
static void keep_string(struct gate_buf *strings, struct gate_span *span) {
    char *copy = strings->data + strings->len;
    if (gate_buf_append(strings, *span) == GATE_OK) span->data = copy;
}

static int keep_strings(struct gate_options *o, struct gate_buf *strings) {
    struct gate_span *spans[] = {&o->token, &o->url, &o->presence, &o->os, &o->browser, &o->device};
    size_t count = sizeof spans / sizeof spans[0], total = 1;
    for (size_t i = 0; i < count; i++) total += spans[i]->len;
    int rc = gate_buf_reserve(strings, total);
    if (rc < 0) return rc;
    for (size_t i = 0; i < count; i++) keep_string(strings, spans[i]);
    return GATE_OK;
}

static void fill_defaults(struct gate_options *o) {
    if (!o->codec) o->codec = &gate_json;
    if (!o->version) o->version = GATE_VERSION_DEFAULT;
    if (!o->os.len) o->os = GATE_SPAN("linux");
    if (!o->browser.len) o->browser = GATE_SPAN("moongate");
    if (!o->device.len) o->device = GATE_SPAN("moongate");
    if (!o->connect_timeout_ms) o->connect_timeout_ms = GATE_CONNECT_TIMEOUT_MS;
    if (!o->hello_timeout_ms) o->hello_timeout_ms = GATE_HELLO_TIMEOUT_MS;
    if (!o->ready_timeout_ms) o->ready_timeout_ms = GATE_READY_TIMEOUT_MS;
    if (!o->send_timeout_ms) o->send_timeout_ms = GATE_SEND_TIMEOUT_MS;
    if (!o->message_bytes_max) o->message_bytes_max = GATE_MESSAGE_BYTES_MAX;
}

static bool fits(const struct gate_options *o) {
    return o->token.len <= GATE_TOKEN_BYTES_MAX && o->url.len <= GATE_URL_BYTES_MAX - 64 &&
           o->session_id.len <= GATE_SESSION_ID_BYTES_MAX &&
           o->session_url.len <= GATE_URL_BYTES_MAX - 64;
}

int gate_options_keep(struct gate_options *options, struct gate_buf *strings) {
    fill_defaults(options);
    return fits(options) ? keep_strings(options, strings) : GATE_EVALUE;
}

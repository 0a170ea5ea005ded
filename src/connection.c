/* connection.c - see connection.h. */
#include "connection.h"

#include <stdio.h>
#include <string.h>

#include "report.h"

#define NEVER (-1)

static struct gate_span span_of(const char *text) {
    return (struct gate_span){text, strlen(text)};
}

static int64_t later(int64_t a_ms, int64_t b_ms) {
    return a_ms > b_ms ? a_ms : b_ms;
}

/* ---- Actions --------------------------------------------------------------------------------- */

bool gate_session_has_room(const struct gate_session *session) {
    return session->action_count <= GATE_ACTIONS_MAX / 2;
}

/* A driver that does not drain loses actions, never memory. */
void gate_connection_ask(struct gate_session *session, struct gate_action *action) {
    action->connection = session->generation;
    if (session->action_count == GATE_ACTIONS_MAX) {
        gate_action_free(action);
        session->counts.notes_lost++;
        return;
    }
    uint32_t at = (session->first_action + session->action_count++) % GATE_ACTIONS_MAX;
    session->actions[at] = *action;
}

void gate_connection_ask_plain(struct gate_session *session, enum gate_action_type type) {
    gate_connection_ask(session, &(struct gate_action){.type = type});
}

bool gate_session_next(struct gate_session *session, struct gate_action *out) {
    if (session->action_count == 0) return false;
    *out = session->actions[session->first_action];
    session->first_action = (session->first_action + 1) % GATE_ACTIONS_MAX;
    session->action_count--;
    return true;
}

void gate_session_emit(struct gate_session *session, struct gate_event *take) {
    take->shard_id = session->options.shard_id;
    gate_connection_ask(session, &(struct gate_action){.type = GATE_ACT_EVENT, .event = *take});
}

void gate_connection_send(struct gate_session *session, int64_t now_ms, struct gate_buf *take,
                          bool secret) {
    gate_budget_spend(&session->connection.budget, now_ms);
    session->counts.messages_out++;
    session->counts.bytes_out += take->len;
    if (session->trace_send && !secret) gate_report_send(session, gate_buf_span(take));
    gate_connection_ask(session, &(struct gate_action){.type = GATE_ACT_SEND,
                                                       .bytes = *take,
                                                       .binary = session->options.codec->binary,
                                                       .secret = secret});
}

void gate_connection_go(struct gate_session *session, enum gate_state state, int64_t deadline_ms) {
    enum gate_state from = session->state;
    session->state = state;
    session->deadline_ms = deadline_ms;
    if (from != state) gate_report_state(session, from, state);
}

bool gate_session_is_open(const struct gate_session *session) {
    return session->state == GATE_STATE_HELLO || session->state == GATE_STATE_IDENTIFYING ||
           session->state == GATE_STATE_RESUMING || session->state == GATE_STATE_READY;
}

/* ---- Attempts -------------------------------------------------------------------------------- */

static bool has_session(const struct gate_session *session) {
    return session->id[0] != '\0';
}

void gate_connection_forget(struct gate_session *session) {
    gate_wipe(session->id, sizeof session->id);
    session->resume_url[0] = '\0';
    session->seq = NEVER;
    session->failed_resumes = 0;
    session->host_failures = 0;
    session->poisoned = 0;
}

static void lose_session(struct gate_session *session, const char *reason) {
    if (!has_session(session)) return;
    gate_report_lost(session, reason);
    gate_connection_forget(session);
}

void gate_connection_ask_slot(struct gate_session *session) {
    session->slot_asked = true;
    gate_connection_ask_plain(session, GATE_ACT_SLOT_ASK);
}

void gate_connection_release_slot(struct gate_session *session) {
    if (!session->slot_asked) return;
    session->slot_asked = false;
    gate_connection_ask_plain(session, GATE_ACT_SLOT_DONE);
}

static bool begins_with(struct gate_span text, const char *prefix) {
    return text.len >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

/* The resume host is used unless it failed repeatedly, and never when it would carry the token in
 * the clear although the main URL does not. protocol: Resuming. */
static bool wants_resume_host(const struct gate_session *session) {
    struct gate_span url = span_of(session->resume_url);
    if (!has_session(session) || session->host_failures >= GATE_RESUME_HOST_FAILURES_MAX)
        return false;
    bool secret = begins_with(session->options.url, "wss://");
    return begins_with(url, "wss://") || (!secret && begins_with(url, "ws://"));
}

/* True where something follows the host, if only a slash. */
static bool has_path(struct gate_span url) {
    const char *host = url.len > 3 ? memmem(url.data, url.len, "://", 3) : NULL;
    if (!host) return false;
    host += 3;
    return memchr(host, '/', url.len - (size_t)(host - url.data)) != NULL;
}

/* The same query on every URL, also on the resume URL (protocol: Resuming). What a base brings of
 * its own behind a question mark is dropped; its path is kept to the letter, as a server may tell
 * "/a" from "/a/". */
static void build_url(struct gate_session *session, struct gate_span base) {
    const struct gate_options *o = &session->options;
    const char *query = memchr(base.data, '?', base.len);
    if (query) base.len = (size_t)(query - base.data);
    const char *compress = gate_compress_word(o->compress);
    snprintf(session->url, sizeof session->url, "%.*s%s?v=%d&encoding=%s%s%s", (int)base.len,
             base.data, has_path(base) ? "" : "/", o->version, o->codec->name,
             compress ? "&compress=" : "", compress ? compress : "");
}

void gate_connection_begin(struct gate_session *session, int64_t now_ms) {
    bool on_resume_host = wants_resume_host(session);
    build_url(session, on_resume_host ? span_of(session->resume_url) : session->options.url);
    session->generation++;
    session->counts.connects++;
    session->connection = (struct gate_connection){
        .opened_at_ms = NEVER,
        .resume = has_session(session),
        .on_resume_host = on_resume_host,
        .before = gate_counts_traffic(&session->counts),
    };
    gate_heart_init(&session->connection.heart, 0);
    gate_report_connect(session);
    gate_connection_go(session, GATE_STATE_CONNECTING,
                       now_ms + session->options.connect_timeout_ms);
    gate_connection_ask(
        session, &(struct gate_action){.type = GATE_ACT_CONNECT, .url = span_of(session->url)});
}

/* A resume takes no identify slot and waits for none (protocol: Rate Limiting; Sharding). */
void gate_connection_attempt(struct gate_session *session, int64_t now_ms) {
    if (has_session(session)) {
        gate_connection_begin(session, now_ms);
        return;
    }
    gate_connection_ask_slot(session);
    gate_connection_go(session, GATE_STATE_WAITING, now_ms + GATE_SLOT_ASK_AGAIN_MS);
}

/* ---- Endings --------------------------------------------------------------------------------- */

/* What the end of this connection says about the ladders. */
static void account(struct gate_session *session, int64_t now_ms) {
    const struct gate_connection *c = &session->connection;
    /* One on which READY never came may have been open for long: in an outage they all are. */
    if (c->proven && now_ms - c->opened_at_ms >= GATE_STABLE_MS) {
        gate_backoff_reset(&session->backoff);
        session->unproven = false;
    }
    if (c->on_resume_host) session->host_failures = c->greeted ? 0 : session->host_failures + 1;
    if (c->resume_sent && !c->resumed && !c->fruitful) session->failed_resumes++;
    if (session->failed_resumes >= GATE_RESUMES_MAX)
        lose_session(session, "too many resumes without an answer");
}

static int64_t wait_before_next(struct gate_session *session, const struct gate_close *why) {
    if (session->connection.excused) return session->connection.wait_min_ms;
    int64_t wait_ms = gate_backoff_connect_ms(&session->backoff);
    if (!has_session(session) && session->unproven)
        wait_ms = later(wait_ms, gate_backoff_identify_ms(&session->backoff));
    return later(wait_ms, later(session->connection.wait_min_ms, why->retry_after_ms));
}

/* By the code that the `close` event shows. */
static void count_close(struct gate_session *session, int code) {
    struct gate_close_count *rows = session->counts.closes;
    size_t at = 0;
    while (at < GATE_CLOSES_MAX - 1 && rows[at].count > 0 && rows[at].code != code) at++;
    rows[at].code = at < GATE_CLOSES_MAX - 1 ? code : 0;
    rows[at].count++;
}

/* The connection is over, whoever ended it. The only way out of connecting to closing. */
void gate_connection_end(struct gate_session *session, int64_t now_ms,
                         const struct gate_close *why) {
    struct gate_connection *c = &session->connection;
    const struct gate_close_row *row = gate_close_lookup(why->code);
    bool opened = c->opened_at_ms != NEVER;
    bool fatal = opened && row->verdict == GATE_FATAL && c->plan != GATE_PLAN_STOP;
    gate_connection_release_slot(session);
    account(session, now_ms);
    if (fatal || (c->plan == GATE_PLAN_NONE && opened && row->verdict == GATE_IDENTIFY))
        lose_session(session, row->words);
    if (c->plan == GATE_PLAN_IDENTIFY) lose_session(session, "the session was given up");
    bool stays_down = fatal || c->plan == GATE_PLAN_STOP;
    int64_t wait_ms = stays_down ? GATE_STAYS_DOWN : wait_before_next(session, why);
    if (opened) count_close(session, c->sent_code ? c->sent_code : why->code);
    if (opened)
        gate_report_close(session, why, wait_ms);
    else if (!stays_down)
        gate_report_failure(session, why, wait_ms);
    if (fatal) gate_report_fatal(session, row);
    gate_heart_init(&c->heart, 0);
    if (fatal)
        gate_connection_go(session, GATE_STATE_DEAD, NEVER);
    else if (stays_down)
        gate_connection_go(session, GATE_STATE_IDLE, NEVER);
    else
        gate_connection_go(session, GATE_STATE_BACKOFF, now_ms + wait_ms);
}

/* Asks the peer to close; what follows is `plan`. The reason travels in the frame. */
void gate_connection_close(struct gate_session *session, int64_t now_ms, int code,
                           struct gate_span reason, enum gate_plan plan) {
    size_t len = reason.len < GATE_REASON_BYTES_MAX ? reason.len : GATE_REASON_BYTES_MAX;
    if (len) memcpy(session->reason, reason.data, len);
    session->reason[len] = '\0';
    session->connection.plan = plan;
    session->connection.sent_code = code;
    gate_connection_release_slot(session);
    gate_report_disconnect(session, code);
    gate_connection_ask(
        session,
        &(struct gate_action){.type = GATE_ACT_CLOSE, .code = code, .reason = session->reason});
    gate_connection_go(session, GATE_STATE_CLOSING, now_ms + GATE_CLOSE_TIMEOUT_MS);
}

/* Drops the socket without asking the peer; `error` and `detail` say why. */
void gate_connection_abort(struct gate_session *session, int64_t now_ms, enum gate_phase phase,
                           int error, const char *detail) {
    gate_connection_ask_plain(session, GATE_ACT_ABORT);
    gate_connection_end(
        session, now_ms,
        &(struct gate_close){
            .phase = phase, .code = GATE_CLOSE_DROPPED, .error = error, .detail = span_of(detail)});
}

bool gate_connection_exists(const struct gate_session *session) {
    return gate_session_is_open(session) || session->state == GATE_STATE_CONNECTING ||
           session->state == GATE_STATE_CLOSING;
}

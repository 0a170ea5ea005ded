/* report.c - see report.h. Every sentence about a session that a user reads stands here. */
#include "report.h"

#include <stdio.h>
#include <string.h>

static struct gate_span span_of(const char *text) {
    return (struct gate_span){text, strlen(text)};
}

static void note(struct gate_session *session, const char *name, const struct gate_field *fields) {
    struct gate_event event;
    if (gate_event_note(&event, name, fields) < 0)
        session->counts.notes_lost++;
    else
        gate_session_emit(session, &event);
}

/* ---- The life of a session ------------------------------------------------------------------- */

void gate_report_state(struct gate_session *session, enum gate_state from, enum gate_state to) {
    note(session, "state",
         (struct gate_field[]){GATE_TEXT("from", span_of(gate_state_word(from))),
                               GATE_TEXT("to", span_of(gate_state_word(to))),
                               {.key = NULL}});
}

void gate_report_connect(struct gate_session *session) {
    note(session, "connect",
         (struct gate_field[]){GATE_TEXT("url", span_of(session->url)),
                               GATE_INTEGER("attempt", session->backoff.attempts + 1),
                               GATE_FLAG("resuming", session->connection.resume),
                               {.key = NULL}});
}

void gate_report_open(struct gate_session *session) {
    note(session, "open",
         (struct gate_field[]){GATE_TEXT("url", span_of(session->url)), {.key = NULL}});
}

void gate_report_disconnect(struct gate_session *session, int code) {
    note(session, "disconnect",
         (struct gate_field[]){GATE_INTEGER("code", code),
                               GATE_TEXT("reason", span_of(session->reason)),
                               {.key = NULL}});
}

void gate_report_lost(struct gate_session *session, const char *reason) {
    note(session, "lost",
         (struct gate_field[]){GATE_TEXT("reason", span_of(reason)),
                               GATE_INTEGER("last_seq", session->seq),
                               {.key = NULL}});
}

void gate_report_gap(struct gate_session *session, int64_t got) {
    note(session, "gap",
         (struct gate_field[]){
             GATE_INTEGER("expected", session->seq + 1), GATE_INTEGER("got", got), {.key = NULL}});
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void note_error(struct gate_session *session, int error, const char *phase,
                       const char *message) {
    note(session, "error",
         (struct gate_field[]){GATE_TEXT("code", span_of(gate_error_name(error))),
                               GATE_TEXT("phase", span_of(phase)),
                               GATE_TEXT("message", span_of(message)),
                               {.key = NULL}});
}

void gate_report_undecodable(struct gate_session *session, int error) {
    char message[160];
    const char *remedy = error == GATE_EMESSAGE ? "; raise message_bytes_max" : "";
    snprintf(message, sizeof message, "receive: %s; the connection is made anew%s",
             gate_error_text(error), remedy);
    note_error(session, error, "receive", message);
}

void gate_report_expired(struct gate_session *session) {
    note_error(session, GATE_ETIMEOUT, "send",
               "send: a command waited longer than send_timeout, for the shard to be ready or "
               "for a rate limit, and was given up");
}

void gate_report_unsent(struct gate_session *session, int error) {
    char message[160];
    snprintf(message, sizeof message,
             "send: a waiting command cannot be sent with encoding \"%s\": %s; it was given up",
             session->options.codec->name, gate_error_text(error));
    note_error(session, error, "send", message);
}

/* ---- Endings --------------------------------------------------------------------------------- */

static const struct {
    enum gate_phase phase;
    const char *remedy;
} remedies[] = {
    {GATE_PHASE_RESOLVE, "check the host name and this machine's DNS"},
    {GATE_PHASE_CONNECT, "check that the host is up and that a firewall lets you out"},
    {GATE_PHASE_TLS, "check ca_file, this machine's clock, and that the port speaks TLS"},
    {GATE_PHASE_UPGRADE, "check that the URL is a gateway's"},
};

static const char *remedy_for(enum gate_phase phase, int error) {
    if (error == GATE_ESYSTEM)
        return "raise the limit of open files (ulimit -n), or have fewer shards in one process";
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (remedies[i].phase == phase) return remedies[i].remedy;
    return "it is tried again";
}

/* A connection that never opened: an error that says how far it came. The query is not shown. */
void gate_report_failure(struct gate_session *session, const struct gate_close *why,
                         int64_t wait_ms) {
    char status[32] = "", message[GATE_URL_BYTES_MAX + 512];
    struct gate_span detail = why->detail.len ? why->detail : span_of(gate_error_text(why->error));
    if (why->http_status) snprintf(status, sizeof status, " (HTTP %d)", why->http_status);
    snprintf(message, sizeof message, "connect to %.*s: %.*s%s; %s",
             (int)strcspn(session->url, "?"), session->url,
             (int)(detail.len < 256 ? detail.len : 256), detail.data, status,
             remedy_for(why->phase, why->error));
    enum gate_field_kind http = why->http_status ? GATE_FIELD_INTEGER : GATE_FIELD_ABSENT;
    note(session, "error",
         (struct gate_field[]){
             GATE_TEXT("code", span_of(gate_error_name(why->error ? why->error : GATE_ECONNECT))),
             GATE_TEXT("phase", span_of(gate_phase_word(why->phase))),
             GATE_TEXT("message", span_of(message)),
             {.key = "http_status", .kind = http, .integer = why->http_status},
             GATE_NUMBER("retry_in", (double)wait_ms / 1000),
             {.key = NULL}});
}

/* `wait_ms` GATE_STAYS_DOWN: it stays down. */
void gate_report_close(struct gate_session *session, const struct gate_close *why,
                       int64_t wait_ms) {
    bool ours = session->connection.sent_code != 0;
    int code = ours ? session->connection.sent_code : why->code;
    struct gate_span reason = ours ? span_of(session->reason) : why->reason;
    const struct gate_close_row *row = gate_close_lookup(code);
    enum gate_field_kind retry = wait_ms == GATE_STAYS_DOWN ? GATE_FIELD_ABSENT : GATE_FIELD_NUMBER;
    enum gate_field_kind detail = why->detail.len ? GATE_FIELD_TEXT : GATE_FIELD_ABSENT;
    note(session, "close",
         (struct gate_field[]){GATE_INTEGER("code", code),
                               GATE_TEXT("reason", reason),
                               GATE_TEXT("name", span_of(row->name ? row->name : "UNLISTED")),
                               {.key = "detail", .kind = detail, .text = why->detail},
                               GATE_FLAG("was_clean", why->code != GATE_CLOSE_DROPPED),
                               GATE_TEXT("by", ours ? GATE_SPAN("client") : GATE_SPAN("server")),
                               GATE_FLAG("resumable", session->id[0] != '\0'),
                               GATE_FLAG("will_reconnect", wait_ms != GATE_STAYS_DOWN),
                               {.key = "retry_in", .kind = retry, .number = (double)wait_ms / 1000},
                               {.key = NULL}});
}

void gate_report_fatal(struct gate_session *session, const struct gate_close_row *row) {
    note(session, "fatal",
         (struct gate_field[]){GATE_INTEGER("code", row->code),
                               GATE_TEXT("name", span_of(row->name)),
                               GATE_TEXT("error", span_of(gate_error_name(row->error))),
                               GATE_TEXT("message", span_of(row->words)),
                               GATE_TEXT("remedy", span_of(row->remedy)),
                               {.key = NULL}});
}

/* ---- Traces ---------------------------------------------------------------------------------- */

void gate_report_send(struct gate_session *session, struct gate_span packet) {
    struct gate_event event = {.codec = session->options.codec, .own = true, .name_len = 4};
    gate_buf_init(&event.bytes, 0, 0);
    int rc = gate_buf_append(&event.bytes, GATE_SPAN("send"));
    if (rc == GATE_OK) rc = gate_buf_append(&event.bytes, packet);
    if (rc < 0) {
        gate_buf_free(&event.bytes);
        session->counts.notes_lost++;
        return;
    }
    event.data_at = event.name_len;
    event.data_len = packet.len;
    gate_session_emit(session, &event);
}

/* greeting.c - see greeting.h. */
#include "greeting.h"

#include "connection.h"
#include "payload.h"
#include "report.h"

static void open_payload(struct gate_buf *out) {
    gate_buf_init(out, GATE_HEADROOM_BYTES, 0);
}

static void wipe_payload(struct gate_buf *out) {
    gate_buf_wipe(out);
    gate_buf_free(out);
}

/* ---- The two of them ------------------------------------------------------------------------- */

/* Room first, so that growing leaves no copy of the token behind. */
static int write_identify(const struct gate_session *session, struct gate_buf *out,
                          struct gate_span token) {
    open_payload(out);
    int rc = gate_buf_reserve(out, GATE_PAYLOAD_BYTES_MAX);
    if (rc < 0) return rc;
    return gate_payload_identify(session->options.codec, out, &session->options, token);
}

int gate_greeting_try(const struct gate_session *session) {
    struct gate_buf trial;
    int rc = write_identify(session, &trial, session->options.token);
    if (rc == GATE_ESYNTAX || rc == GATE_EDEPTH) rc = GATE_EVALUE;
    if (rc == GATE_OK && trial.len > GATE_PAYLOAD_BYTES_MAX) rc = GATE_EPAYLOAD;
    wipe_payload(&trial);
    return rc;
}

static int write_resume(const struct gate_session *session, struct gate_buf *out,
                        struct gate_span token) {
    open_payload(out);
    int rc = gate_buf_reserve(out, GATE_PAYLOAD_BYTES_MAX);
    if (rc < 0) return rc;
    return gate_payload_resume(session->options.codec, out, token, session->id, session->seq);
}

typedef int greeting_writer(const struct gate_session *, struct gate_buf *, struct gate_span);

/* What the trace shows of a greeting is written without the token. */
static void trace_greeting(struct gate_session *session, greeting_writer *write) {
    struct gate_buf shown;
    if (!session->trace_send) return;
    if (write(session, &shown, GATE_SPAN("(hidden)")) == GATE_OK)
        gate_report_send(session, gate_buf_span(&shown));
    gate_buf_free(&shown);
}

void gate_greeting_send(struct gate_session *session, int64_t now_ms) {
    bool resume = session->connection.resume;
    greeting_writer *write = resume ? write_resume : write_identify;
    struct gate_buf greeting;
    int rc = write(session, &greeting, session->options.token);
    if (rc < 0) {
        wipe_payload(&greeting);
        gate_connection_abort(session, now_ms, GATE_PHASE_OPEN, rc, "no memory for the greeting");
        return;
    }
    session->connection.resume_sent = resume;
    if (resume) {
        session->counts.resumes++;
    } else {
        session->counts.identifies++;
        session->unproven = true;
        gate_connection_ask_plain(session, GATE_ACT_SLOT_SPENT);
    }
    trace_greeting(session, write);
    gate_connection_send(session, now_ms, &greeting, true);
    gate_connection_go(session, resume ? GATE_STATE_RESUMING : GATE_STATE_IDENTIFYING,
                       now_ms + session->options.ready_timeout_ms);
}

/* ---- What Identify says ---------------------------------------------------------------------- */

/* A new session would come up with the presence from the options, and nobody would set the other
 * again. */
void gate_greeting_presence(struct gate_session *session, struct gate_buf *take) {
    struct gate_span before = session->options.presence;
    session->options.presence = gate_buf_span(take);
    if (gate_greeting_try(session) < 0)
        session->options.presence = before;
    else
        gate_buf_move(&session->presence, take);
}

static void overlay(struct gate_options *options, const struct gate_options *wanted) {
    options->intents = wanted->intents;
    if (wanted->large_threshold) options->large_threshold = wanted->large_threshold;
    if (wanted->presence.len) options->presence = wanted->presence;
    if (wanted->os.len) options->os = wanted->os;
    if (wanted->browser.len) options->browser = wanted->browser;
    if (wanted->device.len) options->device = wanted->device;
}

int gate_greeting_amend(struct gate_session *session, const struct gate_options *wanted) {
    struct gate_options before = session->options;
    struct gate_buf strings;
    gate_buf_init(&strings, 0, 0);
    overlay(&session->options, wanted);
    int rc = gate_options_keep(&session->options, &strings);
    if (rc == GATE_OK) rc = gate_greeting_try(session);
    if (rc < 0) {
        session->options = before;
        wipe_payload(&strings);
        return rc;
    }
    wipe_payload(&session->strings);
    gate_buf_move(&session->strings, &strings);
    gate_buf_free(&session->presence); /* its text is among the strings now */
    return GATE_OK;
}

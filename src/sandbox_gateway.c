/* sandbox_gateway.c - see sandbox_gateway.h. What the official service does at each step is told in
 * Discord's "Gateway"; where that is silent, what clients have been seen to rely on. */
#include "sandbox_gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"
#include "sandbox_http.h"
#include "sandbox_instead.h"
#include "sandbox_loop.h"
#include "sandbox_request.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define VERSION_BYTES_MAX 8 /* "10" */
#define BEAT_LATE_PART    4 /* of an interval that a heartbeat may be late */

/* ---- Sending -----------------------------------------------------------------------------------
 */

void gate_gateway_send(struct gate_link *link, int op, struct gate_span data) {
    struct gate_buf message;
    gate_buf_init(&message, 0, 0);
    int rc = GATE_FILL(&message, "{'t':null,'s':null,'op':$,'d':$}", gate_integer_blank(op),
                       gate_raw_blank(data));
    if (rc == GATE_OK)
        gate_link_send(link, gate_buf_span(&message));
    else
        gate_link_ask_drop(link, true);
    gate_buf_free(&message);
}

void gate_gateway_refuse(struct gate_link *link, int code, const char *reason) {
    gate_sandbox_log(link->sandbox, link, "refuse", "%d %s", code, reason);
    gate_link_close(link, code, gate_span_of(reason));
}

static int64_t patience_ms(const struct gate_link *link) {
    const struct gate_sandbox_options *options = &link->sandbox->options;
    if (options->heartbeat_grace <= 0) return GATE_NEVER_MS;
    double ms = (double)options->heartbeat_interval_ms * options->heartbeat_grace;
    return ms < 1e12 ? (int64_t)ms : GATE_NEVER_MS;
}

static void expect_beat(struct gate_link *link) {
    int64_t wait_ms = patience_ms(link);
    link->beat_from_ms = gate_sandbox_now();
    link->beat_due_ms = wait_ms == GATE_NEVER_MS ? wait_ms : link->beat_from_ms + wait_ms;
}

/* The first one is due within an interval of HELLO, each other one an interval after the last. Some
 * lateness belongs to the way; more is the client's. */
static void judge_beat(struct gate_link *link) {
    int64_t interval_ms = link->sandbox->options.heartbeat_interval_ms;
    int64_t gap_ms = gate_sandbox_now() - link->beat_from_ms;
    if (!link->hello_sent || gap_ms <= interval_ms + interval_ms / BEAT_LATE_PART) return;
    gate_sandbox_log(link->sandbox, link, "warning",
                     "a heartbeat %" PRId64 " ms after %s, the interval is %" PRId64, gap_ms,
                     link->beats == 0 ? "HELLO" : "the last", interval_ms);
}

static void say_hello(struct gate_link *link) {
    struct gate_buf data;
    if (link->hello_sent || (link->knobs.stalls & GATE_STALL_HELLO)) return;
    link->hello_sent = true;
    if (gate_instead_play(link, GATE_PHASE_HELLO)) return;
    gate_buf_init(&data, 0, 0);
    int rc = GATE_FILL(&data, "{'heartbeat_interval':$,'_trace':['[\\'moongate-sandbox\\',{}]']}",
                       gate_integer_blank(link->sandbox->options.heartbeat_interval_ms));
    if (rc == GATE_OK)
        gate_gateway_send(link, GATE_OP_HELLO, gate_buf_span(&data));
    else
        gate_link_ask_drop(link, true);
    gate_buf_free(&data);
    expect_beat(link);
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

/* The version when it is one that is served, else 0. */
static int read_version(struct gate_span text) {
    uint64_t version = text.len < VERSION_BYTES_MAX ? gate_id_read(text) : 0;
    return version == 9 || version == 10 ? (int)version : 0;
}

void gate_gateway_open(struct gate_link *link) {
    struct gate_span query = gate_buf_span(&link->query);
    if (!query.data) query.data = "";
    link->encoding = gate_sandbox_encoding_find(gate_query_find(query, "encoding"));
    link->compression = gate_sandbox_compression_find(gate_query_find(query, "compress"));
    link->version = read_version(gate_query_find(query, "v"));
    link->opened_ms = gate_sandbox_now();
    gate_loop_changed();
    if (!link->encoding || !link->compression) {
        bool encoding = !link->encoding;
        if (!link->encoding) link->encoding = gate_sandbox_encoding_find((struct gate_span){0});
        if (!link->compression)
            link->compression = gate_sandbox_compression_find((struct gate_span){0});
        gate_gateway_refuse(link, 4002, encoding ? "Unknown encoding." : "Unknown compression.");
    } else if (link->version == 0) {
        gate_gateway_refuse(link, 4012, "Invalid API version.");
    } else {
        say_hello(link);
    }
}

/* ---- Leaving -----------------------------------------------------------------------------------
 */

/* Codes of the server that take the session with them. 1000 and 1001 do not: Discord sends them
 * while a session lives on. */
static bool ends_session(int code) {
    static const int codes[] = {4003, 4004, 4006, 4007, 4009, 4010, 4011, 4012, 4013, 4014};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == code) return true;
    return false;
}

void gate_gateway_left(struct gate_link *link) {
    link->beat_due_ms = GATE_NEVER_MS;
    link->resumed_held = link->guilds_held = false;
    gate_buf_clear(&link->identify, 0);
    if (!link->seat) return;
    bool by_client = link->close_received == 1000 || link->close_received == 1001;
    bool answered = link->close_received != 0; /* then close_sent is only an echo */
    if (by_client || (!answered && ends_session(link->close_sent))) {
        gate_sandbox_log(link->sandbox, link, "session", "%s ends", link->seat->id);
        gate_seat_end(link->seat);
    } else {
        gate_seat_leave(link->seat);
    }
}

void gate_gateway_invalidate(struct gate_link *link, bool resumable) {
    struct gate_seat *seat = link->seat;
    gate_sandbox_log(link->sandbox, link, "invalid", resumable ? "resumable" : "not resumable");
    link->resumed_held = link->guilds_held = false;
    gate_buf_clear(&link->identify, 0);
    link->identified = false;
    gate_gateway_send(link, GATE_OP_INVALID_SESSION,
                      resumable ? GATE_SPAN("true") : GATE_SPAN("false"));
    if (!seat) return;
    if (resumable)
        gate_seat_leave(seat);
    else
        gate_seat_end(seat);
}

/* ---- Time --------------------------------------------------------------------------------------
 */

void gate_gateway_tick(struct gate_link *link, int64_t now_ms) {
    int code = link->sandbox->options.heartbeat_close_code;
    if (link->state != GATE_LINK_OPEN || link->beat_due_ms > now_ms) return;
    link->beat_due_ms = GATE_NEVER_MS;
    if (code)
        gate_gateway_refuse(link, code, "Session timed out.");
    else
        gate_link_drop(link, true, "no heartbeat in time");
}

void gate_gateway_release(struct gate_link *link) {
    if (link->state != GATE_LINK_OPEN) return;
    if (link->encoding && !link->hello_sent) say_hello(link);
    if (link->identify.len > 0 && !(link->knobs.stalls & GATE_STALL_READY))
        gate_identify_finish(link);
    if (!(link->knobs.stalls & GATE_STALL_GUILDS)) gate_identify_guilds(link);
    if (link->resumed_held && !(link->knobs.stalls & GATE_STALL_RESUMED)) gate_resume_finish(link);
}

/* ---- Receiving ---------------------------------------------------------------------------------
 */

static void take_beat(struct gate_link *link, struct gate_span data) {
    struct gate_field field = {.key = ""};
    struct gate_buf texts;
    gate_buf_init(&texts, 0, 0);
    int rc = gate_fields_read(data, &field, 1, &texts);
    gate_buf_free(&texts);
    if (rc < 0 || (field.kind != GATE_FIELD_NULL && field.kind != GATE_FIELD_INTEGER)) {
        gate_gateway_refuse(link, 4001, "A heartbeat's d is a sequence number or null.");
        return;
    }
    if (link->seat && field.kind == GATE_FIELD_INTEGER && field.integer > link->seat->seq)
        gate_sandbox_log(link->sandbox, link, "warning",
                         "heartbeat of seq %" PRId64 ", only %" PRId64 " sent", field.integer,
                         link->seat->seq);
    judge_beat(link);
    link->beats++;
    expect_beat(link);
    if (!link->knobs.withhold_acks && !gate_instead_play(link, GATE_PHASE_ACK))
        gate_gateway_send(link, GATE_OP_HEARTBEAT_ACK, GATE_SPAN("null"));
}

/* What a client may send, and whether it has to be somebody by then. */
static const struct op_row {
    int op;
    bool needs_session;
    void (*take)(struct gate_link *link, struct gate_span data);
} op_rows[] = {
    {GATE_OP_HEARTBEAT, false, take_beat},
    {GATE_OP_IDENTIFY, false, gate_identify_take},
    {GATE_OP_PRESENCE_UPDATE, true, gate_request_presence},
    {GATE_OP_VOICE_STATE_UPDATE, true, gate_request_voice},
    {GATE_OP_RESUME, false, gate_resume_take},
    {GATE_OP_REQUEST_GUILD_MEMBERS, true, gate_request_members},
    {GATE_OP_REQUEST_SOUNDBOARD_SOUNDS, true, gate_request_sounds},
    {GATE_OP_REQUEST_CHANNEL_INFO, true, gate_request_channels},
};

static const struct op_row *find_op(int op) {
    for (size_t i = 0; i < sizeof op_rows / sizeof op_rows[0]; i++)
        if (op_rows[i].op == op) return &op_rows[i];
    return NULL;
}

static const char *name_op(int op) {
    for (const struct gate_opcode_row *row = gate_opcodes; row->name; row++)
        if (row->op == op) return row->name;
    return NULL;
}

static void record(struct gate_link *link, const struct gate_envelope *envelope, size_t bytes) {
    const struct gate_seat *seat = link->seat;
    const char *name = name_op(envelope->op);
    struct gate_buf note;
    gate_buf_init(&note, 0, 0);
    int rc = GATE_FILL(
        &note, "{'at_ms':$,'connection':$,'op':$,'name':$,'d':$,'bytes':$,'session':$}",
        gate_integer_blank(gate_sandbox_now()), gate_integer_blank(link->id),
        gate_integer_blank(envelope->op), gate_string_blank(name), gate_raw_blank(envelope->data),
        gate_integer_blank((int64_t)bytes), gate_string_blank(seat ? seat->id : NULL));
    if (rc == GATE_OK)
        gate_journal_add(&link->sandbox->received, envelope->op, gate_buf_span(&note));
    gate_buf_free(&note);
    gate_sandbox_log(link->sandbox, link, "receive", "%s (%d), %zu bytes", name ? name : "op",
                     envelope->op, bytes);
    gate_loop_changed();
}

/* 120 in any 60 seconds, whatever they are. */
static bool is_too_fast(struct gate_link *link) {
    int64_t now_ms = gate_sandbox_now();
    int64_t *place = &link->sends_ms[link->sends % GATE_SENDS_MAX];
    bool full = link->sends >= GATE_SENDS_MAX && now_ms - *place < GATE_SEND_WINDOW_MS;
    *place = now_ms;
    link->sends++;
    return full && link->sandbox->options.limits;
}

/* The codec's scan does not look into d, nor at what follows the payload: a walk of all does. */
static bool read_message(struct gate_span json, struct gate_envelope *out) {
    struct gate_buf texts;
    if (gate_json.scan(json, out) < 0) return false;
    gate_buf_init(&texts, 0, 0);
    int rc = gate_fields_read(json, NULL, 0, &texts);
    gate_buf_free(&texts);
    return rc == GATE_OK && out->op >= 0 && out->data.len > 0;
}

static void take_message(struct gate_link *link, struct gate_span json, size_t bytes) {
    struct gate_envelope envelope;
    if (!read_message(json, &envelope)) {
        gate_gateway_refuse(link, 4002, "Error while decoding payload.");
        return;
    }
    record(link, &envelope, bytes);
    const struct op_row *row = find_op(envelope.op);
    if (!row)
        gate_gateway_refuse(link, 4001, "Unknown opcode.");
    else if (row->needs_session && !link->seat)
        gate_gateway_refuse(link, 4003, "Not authenticated.");
    else
        row->take(link, envelope.data);
}

void gate_gateway_message(struct gate_link *link, bool binary, struct gate_span wire) {
    struct gate_buf json;
    if (wire.len > GATE_PAYLOAD_BYTES_MAX) {
        gate_gateway_refuse(link, 4002, "The payload has more than 4096 bytes.");
        return;
    }
    bool any = link->sandbox->options.any_frame && !link->encoding->binary;
    if (binary != link->encoding->binary && !any) {
        gate_gateway_refuse(link, 4002, "Error while decoding payload.");
        return;
    }
    if (is_too_fast(link)) {
        gate_gateway_refuse(link, 4008, "More than 120 payloads in 60 seconds.");
        return;
    }
    gate_buf_init(&json, 0, 0);
    if (link->encoding->decode(wire, &json) == GATE_OK)
        take_message(link, gate_buf_span(&json), wire.len);
    else
        gate_gateway_refuse(link, 4002, "Error while decoding payload.");
    gate_buf_wipe(&json);
    gate_buf_free(&json);
}

/* shard.c - see shard.h. The pipeline: piece -> inflate -> message -> envelope -> session ->
 * interest -> event. The buffer that inflate filled becomes the event; only a payload that others
 * follow in the same buffer is ever copied. */
#include "shard.h"

#include <string.h>

#include "session.h"

struct gate_shard {
    struct gate_session session;
    struct gate_inflate inflate; /* of the connection, and open as long as that is */
    struct gate_buf message;     /* what has been inflated and not been taken yet */
    size_t message_at;           /* where the next payload begins in it */
    bool complete;               /* `message` ends at a boundary: payloads can be taken */

    struct gate_interest interest;
    struct gate_census *census; /* not ours; NULL: nobody counts */
    struct gate_buf table;      /* of uint32_t: where each name begins in interest.names, plus 1 */
};

/* ---- Interest -------------------------------------------------------------------------------- */

static uint32_t *slots_of(const struct gate_shard *shard, size_t *mask) {
    *mask = shard->table.len / sizeof(uint32_t) - 1;
    return (uint32_t *)(void *)shard->table.data;
}

static void index_name(struct gate_shard *shard, size_t name_at, struct gate_span name) {
    size_t mask;
    uint32_t *slots = slots_of(shard, &mask);
    size_t at = gate_census_hash(name) & mask;
    while (slots[at]) at = (at + 1) & mask;
    slots[at] = (uint32_t)name_at + 1;
}

static size_t count_names(struct gate_span names) {
    size_t count = 0;
    for (size_t i = 0; i < names.len; i++) count += names.data[i] == '\0';
    return count;
}

/* Without memory for the table everything is heard: a listener that gets too little is worse than
 * a queue that gets too much. */
static void index_names(struct gate_shard *shard) {
    struct gate_span names = gate_buf_span(&shard->interest.names);
    size_t size = 8;
    while (size < 2 * count_names(names)) size *= 2;
    gate_buf_free(&shard->table);
    if (gate_buf_reserve(&shard->table, size * sizeof(uint32_t)) < 0) {
        shard->interest.all = true;
        return;
    }
    shard->table.len = size * sizeof(uint32_t);
    memset(shard->table.data, 0, shard->table.len);
    for (size_t at = 0; at < names.len;) {
        size_t len = strnlen(names.data + at, names.len - at);
        index_name(shard, at, (struct gate_span){names.data + at, len});
        at += len + 1;
    }
}

void gate_shard_lend(struct gate_shard *shard, struct gate_buf *from) {
    gate_buf_adopt(&shard->message, from);
}

void gate_shard_census(struct gate_shard *shard, struct gate_census *census) {
    shard->census = census;
}

void gate_shard_interest(struct gate_shard *shard, struct gate_interest *take) {
    shard->interest.all = take->all;
    shard->interest.send = take->send;
    shard->interest.receive = take->receive;
    gate_buf_move(&shard->interest.names, &take->names);
    shard->session.trace_send = take->send;
    index_names(shard);
}

static bool is_heard(const struct gate_shard *shard, struct gate_span name) {
    size_t mask;
    if (shard->interest.all || !shard->table.len || !name.len) return shard->interest.all;
    const uint32_t *slots = slots_of(shard, &mask);
    const char *names = shard->interest.names.data;
    for (size_t at = gate_census_hash(name) & mask; slots[at]; at = (at + 1) & mask) {
        const char *known = names + slots[at] - 1;
        if (strncmp(known, name.data, name.len) == 0 && known[name.len] == '\0') return true;
    }
    return false;
}

/* ---- Made and gone --------------------------------------------------------------------------- */

struct gate_shard *gate_shard_new(const struct gate_options *options, int *error) {
    struct gate_shard *shard = gate_allocate(NULL, sizeof *shard);
    *error = GATE_EMEMORY;
    if (!shard) return NULL;
    *shard = (struct gate_shard){.complete = false};
    gate_buf_init(&shard->interest.names, 0, 0);
    gate_buf_init(&shard->table, 0, 0);
    *error = gate_session_init(&shard->session, options);
    if (*error < 0) {
        gate_allocate(shard, 0);
        return NULL;
    }
    gate_buf_init(&shard->message, 0, shard->session.options.message_bytes_max);
    return shard;
}

/* Everything of a connection goes with it, and nothing of it reaches the next one. The memory of
 * its stream waits for that; a shard that stays down gives it back. */
static void drop_connection(struct gate_shard *shard) {
    enum gate_state state = shard->session.state;
    if (gate_session_is_open(&shard->session)) return;
    gate_inflate_close(&shard->inflate);
    if (state == GATE_STATE_IDLE || state == GATE_STATE_DEAD) gate_inflate_free(&shard->inflate);
    gate_buf_clear(&shard->message, 0);
    shard->complete = false;
    shard->message_at = 0;
}

void gate_shard_del(struct gate_shard *shard) {
    if (!shard) return;
    gate_inflate_free(&shard->inflate);
    gate_session_free(&shard->session);
    gate_buf_free(&shard->message);
    gate_buf_free(&shard->interest.names);
    gate_buf_free(&shard->table);
    gate_allocate(shard, 0);
}

void gate_shard_inherit(struct gate_shard *shard, struct gate_shard *from) {
    struct gate_outbox outbox = shard->session.outbox;
    shard->session.outbox = from->session.outbox;
    from->session.outbox = outbox;
    shard->session.pace = from->session.pace;
    gate_shard_interest(shard, &from->interest);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void emit_trace(struct gate_shard *shard, struct gate_span payload) {
    struct gate_event event = {
        .codec = shard->session.options.codec, .own = true, .name_len = strlen("receive")};
    gate_buf_init(&event.bytes, 0, 0);
    int rc = gate_buf_append(&event.bytes, GATE_SPAN("receive"));
    if (rc == GATE_OK) rc = gate_buf_append(&event.bytes, payload);
    if (rc < 0) {
        gate_buf_free(&event.bytes);
        shard->session.counts.notes_lost++;
        return;
    }
    event.data_at = event.name_len;
    event.data_len = payload.len;
    gate_session_emit(&shard->session, &event);
}

/* A payload that is being taken: its bytes are those of the message, or of its own. */
struct taken {
    struct gate_envelope envelope;
    struct gate_span bytes;
    struct gate_buf own;
};

/* Moves the bytes into an event. */
static void emit_dispatch(struct gate_shard *shard, struct taken *taken) {
    const struct gate_envelope *envelope = &taken->envelope;
    const char *base = taken->own.data ? taken->own.data : shard->message.data;
    struct gate_event event = {
        .codec = shard->session.options.codec,
        .name_at = envelope->name.len ? (size_t)(envelope->name.data - base) : 0,
        .name_len = envelope->name.len,
        .data_at = envelope->data.len ? (size_t)(envelope->data.data - base) : 0,
        .data_len = envelope->data.len,
        .seq = envelope->has_seq ? envelope->seq : 0,
    };
    gate_buf_init(&event.bytes, 0, 0);
    gate_buf_move(&event.bytes, taken->own.data ? &taken->own : &shard->message);
    gate_session_emit(&shard->session, &event);
}

/* Steps over one payload; the scan counts the space behind it as its own. A packed one is a term
 * and no more. */
static int scan_payload(struct gate_shard *shard, struct taken *taken) {
    const struct gate_codec *codec = shard->session.options.codec;
    const struct gate_buf *message = &shard->message;
    size_t used;
    taken->bytes =
        (struct gate_span){message->data + shard->message_at, message->len - shard->message_at};
    int packed = codec->unpack(taken->bytes, &taken->own, &used);
    if (packed < 0) return packed;
    if (packed) taken->bytes = gate_buf_span(&taken->own);
    int rc = codec->scan(taken->bytes, &taken->envelope);
    if (rc < 0) return rc;
    if (packed && taken->envelope.used < taken->bytes.len) return GATE_ESYNTAX;
    taken->bytes.len = taken->envelope.used;
    shard->message_at += packed ? used : taken->envelope.used;
    if (shard->interest.receive) emit_trace(shard, taken->bytes);
    return GATE_OK;
}

static struct gate_span move_span(struct gate_span span, const char *from, const char *to) {
    return span.len ? (struct gate_span){to + (span.data - from), span.len} : span;
}

/* An event gets the memory of the message, unless that has more in it: then the payload is copied,
 * not what follows it, so that many of them take no longer than they are. */
static int own_bytes(const struct gate_shard *shard, struct taken *taken) {
    struct gate_envelope *envelope = &taken->envelope;
    if (taken->own.data || shard->message_at >= shard->message.len) return GATE_OK;
    int rc = gate_buf_append(&taken->own, taken->bytes);
    if (rc < 0) return rc;
    envelope->name = move_span(envelope->name, taken->bytes.data, taken->own.data);
    envelope->data = move_span(envelope->data, taken->bytes.data, taken->own.data);
    return GATE_OK;
}

/* Sequence first, then filter, then queue: what nobody hears has been counted by the session before
 * it is dropped. The memory that queueing needs comes before all: an event that is counted and then
 * lost would not be sent again. */
static int use_payload(struct gate_shard *shard, int64_t now_ms, struct taken *taken) {
    struct gate_session *session = &shard->session;
    const struct gate_envelope *envelope = &taken->envelope;
    int rc = scan_payload(shard, taken);
    if (rc < 0) return rc;
    bool heard = envelope->op == GATE_OP_DISPATCH && is_heard(shard, envelope->name);
    if (heard) rc = own_bytes(shard, taken);
    if (rc < 0) return rc;
    bool fresh = gate_session_payload(session, now_ms, envelope);
    if (fresh && shard->census) gate_census_count(shard->census, envelope->name, heard);
    if (fresh && heard) {
        session->counts.events_heard++;
        emit_dispatch(shard, taken);
    } else if (fresh) {
        session->counts.events_skipped++;
    }
    return GATE_OK;
}

/* Takes one payload off the message. */
static int take_payload(struct gate_shard *shard, int64_t now_ms) {
    struct taken taken;
    gate_buf_init(&taken.own, 0, shard->message.len_max);
    int rc = use_payload(shard, now_ms, &taken);
    gate_buf_free(&taken.own);
    return rc;
}

/* The message is used up: the next one begins in the same memory, unless that grew large. */
static void end_message(struct gate_shard *shard) {
    gate_buf_clear(&shard->message, GATE_KEEP_BYTES_MAX);
    shard->message_at = 0;
    shard->complete = false;
}

static void take_message(struct gate_shard *shard, int64_t now_ms) {
    if (shard->message.len == 0) {
        gate_session_empty(&shard->session, now_ms);
        end_message(shard);
        return;
    }
    int rc = take_payload(shard, now_ms);
    if (rc < 0) gate_session_undecodable(&shard->session, now_ms, rc);
    if (shard->message_at >= shard->message.len) end_message(shard);
}

static void take_piece(struct gate_shard *shard, int64_t now_ms, const struct gate_piece *piece) {
    size_t before = shard->message.len;
    shard->session.counts.bytes_in += piece->bytes.len;
    gate_session_heard(&shard->session, now_ms);
    int rc = gate_inflate_push(&shard->inflate, piece, &shard->message);
    shard->session.counts.bytes_inflated += shard->message.len - before;
    if (rc < 0)
        gate_session_undecodable(&shard->session, now_ms, rc);
    else
        shard->complete = rc > 0;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

int gate_shard_feed(struct gate_shard *shard, int64_t now_ms, const struct gate_piece *piece,
                    size_t *used) {
    *used = 0;
    bool stale = piece->connection != shard->session.generation || !shard->inflate.open;
    if (stale) {
        *used = piece->bytes.len;
        return GATE_OK;
    }
    if (!gate_session_has_room(&shard->session)) return GATE_AGAIN;
    if (!shard->complete) {
        take_piece(shard, now_ms, piece);
        *used = piece->bytes.len;
    }
    if (shard->complete) take_message(shard, now_ms);
    gate_session_settle(&shard->session, now_ms);
    drop_connection(shard);
    if (!shard->inflate.open) *used = piece->bytes.len;
    return shard->complete || *used < piece->bytes.len ? GATE_AGAIN : GATE_OK;
}

int gate_shard_opened(struct gate_shard *shard, int64_t now_ms, uint32_t connection) {
    if (connection != shard->session.generation || shard->inflate.open) return GATE_OK;
    int rc = gate_inflate_open(&shard->inflate, shard->session.options.compress);
    if (rc < 0) return gate_session_no_memory(&shard->session, now_ms);
    rc = gate_session_opened(&shard->session, now_ms);
    drop_connection(shard);
    return rc;
}

/* Every other input goes to the session; afterwards its connection may be gone. */
static int after(struct gate_shard *shard, int rc) {
    drop_connection(shard);
    return rc;
}

int gate_shard_start(struct gate_shard *shard, int64_t now_ms) {
    return after(shard, gate_session_start(&shard->session, now_ms));
}

int gate_shard_line_up(struct gate_shard *shard, int64_t now_ms) {
    return after(shard, gate_session_line_up(&shard->session, now_ms));
}

int gate_shard_closed(struct gate_shard *shard, int64_t now_ms, uint32_t connection,
                      const struct gate_close *why) {
    if (connection != shard->session.generation) return GATE_OK;
    return after(shard, gate_session_closed(&shard->session, now_ms, why));
}

int gate_shard_tick(struct gate_shard *shard, int64_t now_ms) {
    return after(shard, gate_session_tick(&shard->session, now_ms));
}

int gate_shard_send(struct gate_shard *shard, int64_t now_ms, struct gate_buf *take) {
    return gate_session_send(&shard->session, now_ms, take);
}

int gate_shard_pause(struct gate_shard *shard, int64_t now_ms, bool paused) {
    return gate_session_pause(&shard->session, now_ms, paused);
}

int gate_shard_grant(struct gate_shard *shard, int64_t now_ms) {
    return gate_session_grant(&shard->session, now_ms);
}

int gate_shard_slept(struct gate_shard *shard, int64_t now_ms, int64_t asleep_ms) {
    return after(shard, gate_session_slept(&shard->session, now_ms, asleep_ms));
}

int gate_shard_reconnect(struct gate_shard *shard, int64_t now_ms, int code,
                         struct gate_span reason) {
    return after(shard, gate_session_reconnect(&shard->session, now_ms, code, reason));
}

int gate_shard_leave(struct gate_shard *shard, int64_t now_ms, struct gate_span reason) {
    return after(shard, gate_session_leave(&shard->session, now_ms, reason));
}

int gate_shard_stop(struct gate_shard *shard, int64_t now_ms, int code, struct gate_span reason) {
    return after(shard, gate_session_stop(&shard->session, now_ms, code, reason));
}

int gate_shard_identify(struct gate_shard *shard, int64_t now_ms,
                        const struct gate_options *wanted) {
    return after(shard, gate_session_identify(&shard->session, now_ms, wanted));
}

int gate_shard_resume(struct gate_shard *shard, int64_t now_ms) {
    return after(shard, gate_session_resume(&shard->session, now_ms));
}

int gate_shard_beat(struct gate_shard *shard, int64_t now_ms) {
    return after(shard, gate_session_beat(&shard->session, now_ms));
}

/* One payload, and nothing behind it but space. */
static int judge_message(const struct gate_codec *codec, struct gate_span message) {
    struct gate_envelope envelope;
    int rc = codec->scan(message, &envelope);
    if (rc < 0) return rc;
    return envelope.used == message.len ? GATE_OK : GATE_ESYNTAX;
}

/* What has come of a message so far is put aside meanwhile, and so is the stream, which may end in
 * the middle of one. What cannot be read is told to whoever gave it, not to the session. */
int gate_shard_receive(struct gate_shard *shard, int64_t now_ms, struct gate_buf *take) {
    if (!gate_session_is_open(&shard->session)) return GATE_ECLOSED;
    if (!gate_session_has_room(&shard->session)) return GATE_EBUSY;
    int rc = judge_message(shard->session.options.codec, gate_buf_span(take));
    if (rc < 0) return rc;
    struct gate_buf message = shard->message;
    size_t message_at = shard->message_at;
    shard->message = *take;
    shard->message_at = 0;
    rc = take_payload(shard, now_ms);
    gate_buf_init(take, 0, 0);
    gate_buf_free(&shard->message);
    shard->message = message;
    shard->message_at = message_at;
    gate_session_settle(&shard->session, now_ms);
    return after(shard, rc);
}

/* ---- Outputs --------------------------------------------------------------------------------- */

int64_t gate_shard_deadline(const struct gate_shard *shard) {
    return gate_session_deadline(&shard->session);
}

int64_t gate_shard_resumes_at(const struct gate_shard *shard) {
    return gate_session_resumes_at(&shard->session);
}

bool gate_shard_has_session(const struct gate_shard *shard) {
    return shard->session.id[0] != '\0';
}

int gate_shard_next(struct gate_shard *shard, struct gate_action *out) {
    return gate_session_next(&shard->session, out);
}

enum gate_state gate_shard_state(const struct gate_shard *shard) {
    return shard->session.state;
}

void gate_shard_status(const struct gate_shard *shard, struct gate_status *out) {
    const struct gate_session *session = &shard->session;
    *out = (struct gate_status){
        .state = session->state,
        .seq = session->seq,
        .latency_ms = session->connection.heart.latency_ms,
        .interval_ms = session->connection.heart.interval_ms,
        .settled = session->action_count == 0,
        .connection = session->generation,
        .outbox_commands = session->outbox.count,
        .counts = session->counts,
    };
    struct gate_traffic all = gate_counts_traffic(&session->counts),
                        before = session->connection.before;
    out->traffic = (struct gate_traffic){
        all.bytes_in - before.bytes_in, all.bytes_out - before.bytes_out,
        all.messages_in - before.messages_in, all.messages_out - before.messages_out};
    memcpy(out->session_id, session->id, sizeof session->id);
    memcpy(out->session_url, session->resume_url, sizeof session->resume_url);
    memcpy(out->url, session->url, sizeof session->url);
}

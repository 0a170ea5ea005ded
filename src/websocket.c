/* websocket.c - see websocket.h. One frame at a time is being written, and stays as it is until all
 * of it is out, so that nothing can come in between:
 *
 *   the frame under way, the close that answers, a pong, messages in order, the close of our own
 *
 * RFC 6455, 5.5.3: of several pings only the last needs an answer, so there is room for one. */
#include "websocket.h"

#include <string.h>

#include "tls.h"

void gate_websocket_free(struct gate_websocket *socket) {
    gate_buf_free(&socket->kept);
}

/* Nobody wants to hear, or nobody may. Once a close is under way it has to be answered, and what
 * comes before the answer is passed over, so there is nothing to wait for. */
static bool is_held(const struct gate_link *link) {
    return link->detached || (link->paused && !link->close_sent && !link->close_received);
}

/* ---- What is received ------------------------------------------------------------------------ */

void gate_websocket_open(struct gate_link *link) {
    gate_frames_init(&link->socket.frames, link->message_bytes_max);
    gate_buf_init(&link->socket.kept, 0, 0);
    link->stage = GATE_STAGE_OPEN;
    link->phase = GATE_PHASE_OPEN;
    link->error = 0;
    gate_transport_links(link->transport)->calls.opened(link->user, link->connection);
}

/* Text goes on as it is; the JSON decoder judges it. */
static void report_piece(struct gate_link *link, const struct gate_seen *seen) {
    struct gate_links *links = gate_transport_links(link->transport);
    struct gate_piece piece = {.connection = link->connection,
                               .bytes = seen->bytes,
                               .final = seen->final,
                               .binary = seen->binary};
    links->bytes_in += seen->bytes.len;
    if (!link->close_sent) links->calls.piece(link->user, &piece);
}

static void note_ping(struct gate_link *link, const struct gate_seen *seen) {
    struct gate_websocket *socket = &link->socket;
    socket->ping_len = seen->bytes.len;
    if (seen->bytes.len) memcpy(socket->ping, seen->bytes.data, seen->bytes.len);
    socket->pong_wanted = true;
}

/* The answer to our own close ends the link; a close that comes first is answered, and then ends
 * it. Its code is reported as it came, also if the answer cannot be written any more. */
static void note_close(struct gate_link *link, const struct gate_seen *seen) {
    if (link->close_sent) {
        gate_socket_kill(link);
        return;
    }
    link->close_received = true;
    link->close_code = seen->code;
    link->reason_len = seen->bytes.len;
    if (seen->bytes.len) memcpy(link->reason, seen->bytes.data, seen->bytes.len);
    link->socket.farewell_code = seen->code;
}

/* RFC 6455, 7.1.7: said and dropped. For the shard the connection is simply lost, with a reason. */
static void note_fault(struct gate_link *link, const struct gate_seen *seen) {
    if (link->close_sent) {
        gate_socket_kill(link);
        return;
    }
    gate_link_fail(link, seen->error, seen->words);
    link->socket.farewell_code = seen->code;
}

static void note_nothing(struct gate_link *link, const struct gate_seen *seen) {
    (void)link, (void)seen;
}

static void (*const notice[])(struct gate_link *link, const struct gate_seen *seen) = {
    [GATE_SEEN_NOTHING] = note_nothing, [GATE_SEEN_PIECE] = report_piece,
    [GATE_SEEN_PING] = note_ping,       [GATE_SEEN_CLOSE] = note_close,
    [GATE_SEEN_FAULT] = note_fault,
};

/* Returns how many bytes it took; fewer than all when the link was paused on the way. */
static size_t read_frames(struct gate_link *link, struct gate_span in) {
    size_t at = 0;
    while (at < in.len && !is_held(link)) {
        struct gate_seen seen;
        at += gate_frames_read(&link->socket.frames, (struct gate_span){in.data + at, in.len - at},
                               &seen);
        notice[seen.kind](link, &seen);
    }
    return at;
}

/* What came along with the answer to the upgrade is taken in any case: the transport has read it by
 * then, and would offer it without end. */
bool gate_websocket_may_read(const struct gate_link *link) {
    return !link->socket.has_read || (!is_held(link) && !link->socket.kept.len);
}

/* The socket is not read while something is kept, so this stays within two reads. */
void gate_websocket_take(struct gate_link *link, struct gate_span bytes) {
    struct gate_buf *kept = &link->socket.kept;
    size_t used = kept->len ? 0 : read_frames(link, bytes);
    link->socket.has_read = true;
    bytes = (struct gate_span){bytes.data + used, bytes.len - used};
    if (bytes.len == 0 || link->detached || gate_buf_append(kept, bytes) == GATE_OK) return;
    gate_link_fail(link, GATE_EMEMORY, gate_error_text(GATE_EMEMORY));
    gate_socket_kill(link);
}

bool gate_websocket_may_resume(const struct gate_link *link) {
    return link->stage == GATE_STAGE_OPEN && link->socket.kept.len && link->wsi && !is_held(link);
}

void gate_websocket_resume(struct gate_link *link) {
    struct gate_websocket *socket = &link->socket;
    struct gate_span rest = {socket->kept.data + socket->kept_at,
                             socket->kept.len - socket->kept_at};
    socket->kept_at += read_frames(link, rest);
    if (socket->kept_at < socket->kept.len) return;
    socket->kept_at = 0;
    gate_buf_clear(&socket->kept, 0);
    if (!is_held(link)) gate_socket_read(link);
}

/* ---- What is sent ---------------------------------------------------------------------------- */

/* A mask that the other side could guess would let a proxy in between be fed (RFC 6455, 10.3). */
static bool wrap(struct gate_link *link, enum gate_frame_type type, char *payload, size_t len) {
    unsigned char mask[4];
    if (gate_transport_random(link->transport, mask, sizeof mask) < 0) {
        gate_link_fail(link, GATE_ESYSTEM, "no randomness to be had");
        gate_socket_kill(link);
        return false;
    }
    size_t head = gate_frame_wrap(type, payload, len, mask);
    link->socket.out = (struct gate_span){payload - head, head + len};
    return true;
}

static bool begin_close(struct gate_link *link, int code, struct gate_span reason) {
    char *payload = link->socket.control + GATE_FRAME_HEAD_BYTES_MAX;
    link->socket.ending = true;
    return wrap(link, GATE_FRAME_CLOSE, payload, gate_frame_close(code, reason, payload));
}

static bool begin_pong(struct gate_link *link) {
    char *payload = link->socket.control + GATE_FRAME_HEAD_BYTES_MAX;
    link->socket.pong_wanted = false;
    memcpy(payload, link->socket.ping, link->socket.ping_len);
    return wrap(link, GATE_FRAME_PONG, payload, link->socket.ping_len);
}

static bool begin_message(struct gate_link *link) {
    struct gate_outgoing *first = link->first;
    enum gate_frame_type type = first->binary ? GATE_FRAME_BINARY : GATE_FRAME_TEXT;
    first->begun = true;
    return wrap(link, type, first->bytes.data, first->bytes.len);
}

/* False: there is nothing to write. */
static bool begin_next(struct gate_link *link) {
    const struct gate_websocket *socket = &link->socket;
    if (socket->farewell_code) {
        struct gate_span words = {link->words, link->close_received ? 0 : strlen(link->words)};
        return begin_close(link, socket->farewell_code, words);
    }
    if (socket->pong_wanted) return begin_pong(link);
    if (link->first) return begin_message(link);
    if (!link->close_wanted) return false;
    return begin_close(link, link->close_code, (struct gate_span){link->reason, link->reason_len});
}

/* Our own close waits for its answer, and what was kept may hold it. */
static void finish_close(struct gate_link *link) {
    if (link->socket.farewell_code) return;
    link->close_sent = true;
    if (!link->socket.kept.len) gate_socket_read(link);
}

static void finish_frame(struct gate_link *link) {
    if (link->first && link->first->begun) gate_link_drop_first(link);
    if (link->socket.ending) finish_close(link);
}

bool gate_websocket_has_output(const struct gate_link *link) {
    const struct gate_websocket *socket = &link->socket;
    if (link->stage != GATE_STAGE_OPEN || link->detached || socket->mute) return false;
    if (socket->out.len) return true;
    return !socket->ending &&
           (socket->farewell_code || socket->pong_wanted || link->first || link->close_wanted);
}

/* False: that is all for now. */
static bool write_some(struct gate_link *link) {
    struct gate_span *out = &link->socket.out;
    if (out->len == 0 && !begin_next(link)) return false;
    int64_t sent = gate_socket_send(link, *out);
    if (sent < 0) {
        link->socket.mute = true;
        return false;
    }
    *out = (struct gate_span){out->data + sent, out->len - (size_t)sent};
    if (out->len == 0) finish_frame(link);
    return out->len == 0;
}

/* A write that fails is not the end: a close of the other side may lie unread. Reading goes on, and
 * meets the end behind it. But a close that is answered, or a fault, is not waited for: it is said
 * if the socket takes it now. */
void gate_websocket_write(struct gate_link *link) {
    while (gate_websocket_has_output(link) && write_some(link)) continue;
    if (link->detached || link->stage != GATE_STAGE_OPEN) return;
    if (link->socket.farewell_code)
        gate_socket_kill(link);
    else if (link->socket.out.len && !link->socket.mute)
        gate_socket_write(link);
}

/* sandbox_link.c - see sandbox_link.h. A link goes one way through its states:
 *   TLS > HTTP > OPEN > CLOSING (our close frame is out) > ENDING > DRAINING > CLOSED
 * and may skip to CLOSED from anywhere. The end is gentle by default: a close with bytes unread
 * would become a reset, which takes the last words with it. */
#include "sandbox_link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox_gateway.h"
#include "sandbox_http.h"
#include "sandbox_list.h"
#include "sandbox_loop.h"
#include "sandbox_state.h"
#include "sandbox_turn.h"

#define READ_BYTES        16384  /* a TLS record */
#define READS_MAX         8      /* in one turn, so that the others get theirs */
#define IN_BYTES_MAX      262144 /* unread requests pile up here at most */
#define HANDSHAKE_WAIT_MS 30000
#define CLOSE_WAIT_MS     5000 /* for the answer to a close frame, and for the client's end */
#define OUT_KEEP_BYTES    65536

/* ---- Beginning and ending ----------------------------------------------------------------------
 */

static bool prepare_descriptor(int fd) {
    int on = 1;
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool begin_tls(struct gate_link *link) {
    link->state = GATE_LINK_TLS;
    link->ssl = SSL_new(link->sandbox->tls);
    if (!link->ssl || SSL_set_fd(link->ssl, link->fd) != 1) return false;
    SSL_set_accept_state(link->ssl);
    return true;
}

struct gate_link *gate_link_new(struct gate_sandbox *sandbox, int fd) {
    struct gate_link *link = gate_allocate(NULL, sizeof *link);
    if (!link) {
        close(fd);
        return NULL;
    }
    *link = (struct gate_link){.sandbox = sandbox, .fd = fd, .knobs = sandbox->knobs};
    sandbox->knobs.cut_bytes = 0;
    link->watch = (struct gate_watch){.owner = link, .is_link = true, .fd = fd};
    link->appointment.owner = link;
    link->state = GATE_LINK_HTTP;
    bool stalls = sandbox->tls && (link->knobs.stalls & GATE_STALL_TLS);
    link->deadline_ms = stalls ? GATE_NEVER_MS : gate_sandbox_now() + HANDSHAKE_WAIT_MS;
    link->held_at_ms = link->beat_due_ms = GATE_NEVER_MS;
    gate_buf_init(&link->in, 0, 0);
    gate_buf_init(&link->out, 0, 0);
    gate_buf_init(&link->held, 0, 0);
    gate_buf_init(&link->path, 0, 0);
    gate_buf_init(&link->query, 0, 0);
    gate_buf_init(&link->assembly.message, 0, 0);
    gate_buf_init(&link->close_reason, 0, 0);
    gate_buf_init(&link->identify, 0, 0);
    if (prepare_descriptor(fd) && (!sandbox->tls || begin_tls(link))) return link;
    close(fd);
    gate_link_free(link);
    return NULL;
}

void gate_link_free(struct gate_link *link) {
    SSL_free(link->ssl);
    if (link->streaming) link->compression->close(link->context);
    gate_buf_wipe(&link->in);
    gate_buf_free(&link->in);
    gate_buf_free(&link->out);
    gate_buf_free(&link->held);
    gate_buf_free(&link->path);
    gate_buf_free(&link->query);
    gate_buf_wipe(&link->assembly.message);
    gate_buf_free(&link->assembly.message);
    gate_buf_free(&link->close_reason);
    gate_buf_wipe(&link->identify);
    gate_buf_free(&link->identify);
    gate_allocate(link, 0);
}

const char *gate_link_word(const struct gate_link *link) {
    static const char *const words[] = {"tls",     "http",    "open",  "closing",
                                        "closing", "closing", "closed"};
    if (link->state == GATE_LINK_OPEN && link->ready_sent) return "ready";
    return words[link->state];
}

/* Takes what has arrived out of the kernel's buffer. */
static void discard_input(int fd) {
    char bytes[4096];
    for (int i = 0; i < READS_MAX && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0;) i++;
}

void gate_link_drop(struct gate_link *link, bool reset, const char *why) {
    if (link->state == GATE_LINK_CLOSED) return;
    bool was_socket = link->id > 0;
    if (was_socket) gate_sandbox_log(link->sandbox, link, "end", "%s", why);
    if (reset) {
        struct linger at_once = {1, 0};
        setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    } else {
        if (link->ssl && link->state > GATE_LINK_TLS) (void)SSL_shutdown(link->ssl);
        ERR_clear_error();
        shutdown(link->fd, SHUT_WR);
        discard_input(link->fd);
    }
    gate_turn_leave(&link->watch);
    close(link->fd);
    link->state = GATE_LINK_CLOSED;
    gate_turn_look(link);
    if (was_socket && link->close_received == 0) link->close_received = GATE_CLOSE_DROPPED;
    if (was_socket) gate_gateway_left(link);
    if (was_socket) gate_list_keep(link);
    gate_loop_changed();
}

void gate_link_ask_drop(struct gate_link *link, bool reset) {
    if (link->drop == GATE_DROP_NOT) link->drop = reset ? GATE_DROP_RESET : GATE_DROP_END;
    gate_turn_look(link);
}

static void finish_ending(struct gate_link *link) {
    if (link->ssl) (void)SSL_shutdown(link->ssl);
    ERR_clear_error();
    shutdown(link->fd, SHUT_WR);
    link->state = GATE_LINK_DRAINING;
    link->deadline_ms = gate_sandbox_now() + CLOSE_WAIT_MS;
}

void gate_link_end(struct gate_link *link) {
    if (link->state >= GATE_LINK_ENDING) return;
    link->state = GATE_LINK_ENDING;
    link->deadline_ms = gate_sandbox_now() + CLOSE_WAIT_MS;
    gate_turn_look(link);
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

bool gate_link_has_out(const struct gate_link *link) {
    return link->out_sent < link->out.len;
}

void gate_link_write(struct gate_link *link, struct gate_span bytes) {
    if (link->state >= GATE_LINK_DRAINING || link->drop != GATE_DROP_NOT) return;
    if (link->out_sent > OUT_KEEP_BYTES && link->out_sent > link->out.len / 2) {
        link->out.len -= link->out_sent;
        memmove(link->out.data, link->out.data + link->out_sent, link->out.len);
        link->out_sent = 0;
    }
    size_t unread = link->out.len - link->out_sent + bytes.len;
    int rc = unread > link->sandbox->options.out_bytes_max ? GATE_EBUSY
                                                           : gate_buf_append(&link->out, bytes);
    if (rc < 0) {
        gate_sandbox_log(link->sandbox, link, "overflow", "%zu bytes unread by the client", unread);
        gate_link_ask_drop(link, true);
    }
    gate_turn_look(link);
}

enum { IO_AGAIN = -1, IO_FAILED = -2 };

/* What OpenSSL could not do now. */
static int judge_tls(struct gate_link *link, int rc) {
    int error = SSL_get_error(link->ssl, rc);
    ERR_clear_error();
    if (error == SSL_ERROR_WANT_WRITE) link->wants_out = true;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return IO_AGAIN;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : IO_FAILED;
}

static int write_some(struct gate_link *link, const char *bytes, size_t len) {
    if (len > INT32_MAX / 2) len = INT32_MAX / 2;
    if (link->ssl) {
        if (link->retry_bytes) len = link->retry_bytes;
        ERR_clear_error();
        int rc = SSL_write(link->ssl, bytes, (int)len);
        link->retry_bytes = rc > 0 ? 0 : len;
        return rc > 0 ? rc : judge_tls(link, rc);
    }
#ifdef MSG_NOSIGNAL
    ssize_t sent = send(link->fd, bytes, len, MSG_NOSIGNAL);
#else
    ssize_t sent = send(link->fd, bytes, len, 0);
#endif
    if (sent >= 0) return (int)sent;
    if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK) {
        link->wants_out = true;
        return IO_AGAIN;
    }
    return IO_FAILED;
}

/* After `sent` bytes more: true where they were the last that the connection was to carry. */
static bool is_cut(struct gate_link *link, size_t sent) {
    if (link->knobs.cut_bytes == 0) return false;
    link->knobs.cut_bytes -= sent < link->knobs.cut_bytes ? sent : link->knobs.cut_bytes;
    if (link->knobs.cut_bytes > 0) return false;
    gate_link_drop(link, link->knobs.cut_reset, "cut");
    return true;
}

static void flush_out(struct gate_link *link, int64_t now_ms) {
    while (gate_link_has_out(link) && !link->wants_out && now_ms >= link->trickle_at_ms) {
        size_t len = link->out.len - link->out_sent, share = link->knobs.trickle_bytes;
        if (share > 0 && share < len) len = share;
        if (link->knobs.cut_bytes > 0 && link->knobs.cut_bytes < len) len = link->knobs.cut_bytes;
        int sent = write_some(link, link->out.data + link->out_sent, len);
        if (sent == IO_AGAIN) return;
        /* 0: once the client has said goodbye, OpenSSL calls a write that fails an orderly end. */
        if (sent <= 0) {
            gate_link_drop(link, true, "the client is gone (writing)");
            return;
        }
        link->out_sent += (size_t)sent;
        link->bytes_out += (uint64_t)sent;
        if (is_cut(link, (size_t)sent)) return;
        if (share > 0) link->trickle_at_ms = now_ms + link->knobs.trickle_ms;
    }
}

void gate_link_flush(struct gate_link *link, int64_t now_ms) {
    if (link->state == GATE_LINK_CLOSED || link->state == GATE_LINK_TLS) return;
    if (link->knobs.half_open) return;
    flush_out(link, now_ms);
    if (gate_link_has_out(link) || link->state == GATE_LINK_CLOSED) return;
    link->out_sent = 0;
    gate_buf_clear(&link->out, OUT_KEEP_BYTES);
    if (link->state == GATE_LINK_ENDING) finish_ending(link);
}

/* ---- Messages ----------------------------------------------------------------------------------
 */

/* The size of the next piece of `left` bytes: from `least` to `most`, by the sandbox's seed. */
static size_t draw_share(struct gate_link *link, size_t least, size_t most, size_t left) {
    if (least == 0) return left;
    size_t share = least;
    if (most > least) share += (size_t)(gate_sandbox_random(link->sandbox) % (most - least + 1));
    return share < left ? share : left;
}

static int write_frame(struct gate_link *link, struct gate_buf *out, int first,
                       struct gate_span bytes) {
    if (!link->knobs.mask_frames) return gate_frame_write(out, first, bytes);
    return gate_frame_write_masked(out, first, bytes, (uint32_t)gate_sandbox_random(link->sandbox));
}

static int write_frames(struct gate_link *link, int opcode, struct gate_span bytes) {
    struct gate_buf frames;
    gate_buf_init(&frames, 0, 0);
    const struct gate_knobs *knobs = &link->knobs;
    int rc;
    do {
        size_t len = draw_share(link, knobs->frame_bytes, knobs->frame_bytes_most, bytes.len);
        int final = len == bytes.len ? GATE_FRAME_FINAL : 0;
        rc = write_frame(link, &frames, opcode | final, (struct gate_span){bytes.data, len});
        opcode = GATE_FRAME_CONTINUATION;
        if (len > 0) bytes.data += len;
        bytes.len -= len;
    } while (rc == GATE_OK && bytes.len > 0);
    if (rc == GATE_OK) gate_link_write(link, gate_buf_span(&frames));
    gate_buf_free(&frames);
    return rc;
}

/* zlib's messages end with a mark of four bytes; a damaged mark would only hide the end. */
static void damage(struct gate_link *link, struct gate_buf *wire) {
    size_t len = wire->len > 4 ? wire->len - 4 : wire->len;
    if (len == 0) return;
    uint64_t bit = gate_sandbox_random(link->sandbox) % (len * 8);
    wire->data[bit / 8] = (char)(wire->data[bit / 8] ^ (1 << bit % 8));
    link->corrupt--;
    gate_sandbox_log(link->sandbox, link, "corrupt", "bit %d of byte %d of %d", (int)(bit % 8),
                     (int)(bit / 8), (int)wire->len);
}

static int compress(struct gate_link *link, struct gate_span plain, struct gate_buf *wire) {
    if (!link->streaming) {
        int rc = link->compression->open(link->sandbox->options.zlib_level, &link->context);
        if (rc < 0) return rc;
        link->streaming = true;
    }
    return link->compression->push(link->context, plain, wire);
}

/* What travels, and whether it is compressed. */
static int pack(struct gate_link *link, struct gate_span json, struct gate_buf *wire,
                bool *compressed) {
    struct gate_buf plain;
    gate_buf_init(&plain, 0, 0);
    int rc = link->encoding->encode(&link->sandbox->options.etf, json, &plain);
    *compressed = link->compression->binary && plain.len >= link->compression->least_bytes;
    if (rc == GATE_OK && *compressed)
        rc = compress(link, gate_buf_span(&plain), wire);
    else if (rc == GATE_OK)
        gate_buf_move(wire, &plain);
    gate_buf_free(&plain);
    return rc;
}

static int write_messages(struct gate_link *link, struct gate_span wire, bool compressed) {
    bool binary = compressed || link->encoding->binary;
    int opcode = binary ? GATE_FRAME_BINARY : GATE_FRAME_TEXT, rc;
    const struct gate_knobs *knobs = &link->knobs;
    do {
        size_t len = wire.len;
        if (compressed)
            len = draw_share(link, knobs->message_bytes, knobs->message_bytes_most, wire.len);
        rc = write_frames(link, opcode, (struct gate_span){wire.data, len});
        if (len > 0) wire.data += len;
        wire.len -= len;
    } while (rc == GATE_OK && wire.len > 0);
    return rc;
}

static int send_message(struct gate_link *link, struct gate_span json) {
    struct gate_buf wire;
    bool compressed;
    gate_buf_init(&wire, 0, 0);
    int rc = pack(link, json, &wire, &compressed);
    if (rc == GATE_OK && link->swallow > 0) {
        link->swallow--;
        gate_sandbox_log(link->sandbox, link, "swallow", "a message of %d bytes", (int)wire.len);
    } else if (rc == GATE_OK) {
        if (link->corrupt > 0) damage(link, &wire);
        rc = write_messages(link, gate_buf_span(&wire), compressed);
        link->messages_out++;
    }
    gate_buf_free(&wire);
    return rc;
}

/* One that is sent twice is compressed twice as well, so that the stream stays whole. */
void gate_link_send(struct gate_link *link, struct gate_span json) {
    if (link->state != GATE_LINK_OPEN) return;
    int rc = send_message(link, json);
    if (rc == GATE_OK && link->stutter > 0) {
        link->stutter--;
        gate_sandbox_log(link->sandbox, link, "stutter", "a message of %d bytes", (int)json.len);
        rc = send_message(link, json);
    }
    if (rc == GATE_OK) return;
    gate_sandbox_log(link->sandbox, link, "failure", "%s", gate_error_text(rc));
    gate_link_ask_drop(link, true);
}

void gate_link_close(struct gate_link *link, int code, struct gate_span reason) {
    char payload[2 + GATE_REASON_BYTES_MAX];
    struct gate_buf frame;
    if (link->state != GATE_LINK_OPEN) return;
    size_t len = reason.len < GATE_REASON_BYTES_MAX ? reason.len : GATE_REASON_BYTES_MAX;
    while (len < reason.len && len > 0 && ((unsigned char)reason.data[len] & 0xc0) == 0x80) len--;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (len > 0) memcpy(payload + 2, reason.data, len);
    gate_buf_init(&frame, 0, 0);
    int rc = gate_frame_write(&frame, GATE_FRAME_FINAL | GATE_FRAME_CLOSE,
                              (struct gate_span){payload, code ? 2 + len : 0});
    if (rc == GATE_OK) gate_link_write(link, gate_buf_span(&frame));
    gate_buf_free(&frame);
    link->state = GATE_LINK_CLOSING;
    link->close_sent = code ? code : GATE_CLOSE_EMPTY;
    bool stalls = (link->knobs.stalls & GATE_STALL_CLOSE) != 0;
    link->deadline_ms = stalls ? GATE_NEVER_MS : gate_sandbox_now() + CLOSE_WAIT_MS;
    gate_sandbox_log(link->sandbox, link, "close", "%d %.*s", link->close_sent, (int)len,
                     reason.data ? reason.data : "");
    gate_turn_look(link);
    gate_gateway_left(link);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

bool gate_link_is_deaf(const struct gate_link *link) {
    bool stalls = link->state == GATE_LINK_TLS && (link->knobs.stalls & GATE_STALL_TLS);
    return link->knobs.half_open || stalls;
}

bool gate_link_may_read(const struct gate_link *link) {
    return link->in.len - link->in_used < IN_BYTES_MAX;
}

/* RFC 6455, 5.5.1: the answer to a close frame is a close frame, then the server ends TCP. */
static void answer_close(struct gate_link *link, struct gate_span payload) {
    struct gate_span reason;
    int code, judged = gate_close_read(payload, &code, &reason);
    if (link->close_received) return;
    link->close_received = judged < 0 ? -judged : code;
    if (gate_buf_append(&link->close_reason, reason) < 0) link->close_reason.len = 0;
    gate_sandbox_log(link->sandbox, link, "closed", "by the client: %d %.*s", code, (int)reason.len,
                     reason.data);
    if (link->state == GATE_LINK_OPEN && !(link->knobs.stalls & GATE_STALL_CLOSE)) {
        int answer = judged < 0 ? -judged : judged;
        gate_link_close(link, answer, (struct gate_span){"", 0});
    } else {
        gate_gateway_left(link);
    }
    if (link->knobs.stalls & GATE_STALL_CLOSE) {
        link->state = GATE_LINK_CLOSING;
        link->deadline_ms = GATE_NEVER_MS;
    } else {
        gate_link_end(link);
    }
}

void gate_link_release(struct gate_link *link) {
    if (!link->knobs.half_open) link->more_in = true;
    if (link->state == GATE_LINK_TLS && !gate_link_is_deaf(link))
        link->deadline_ms = gate_sandbox_now() + HANDSHAKE_WAIT_MS;
    if (link->state != GATE_LINK_CLOSING || (link->knobs.stalls & GATE_STALL_CLOSE)) return;
    link->deadline_ms = gate_sandbox_now() + CLOSE_WAIT_MS;
    if (link->close_received == 0) return;
    if (link->close_sent == 0) {
        int code = link->close_received == GATE_CLOSE_EMPTY ? 0 : link->close_received;
        link->state = GATE_LINK_OPEN;
        gate_link_close(link, code, (struct gate_span){"", 0});
    }
    gate_link_end(link);
}

static void take_frame(struct gate_link *link, const struct gate_frame *frame) {
    struct gate_buf pong;
    int rc;
    switch (frame->opcode) {
    case GATE_FRAME_CLOSE: answer_close(link, frame->payload); return;
    case GATE_FRAME_PONG: return;
    case GATE_FRAME_PING:
        gate_buf_init(&pong, 0, 0);
        rc = gate_frame_write(&pong, GATE_FRAME_FINAL | GATE_FRAME_PONG, frame->payload);
        if (rc == GATE_OK && !link->close_sent) gate_link_write(link, gate_buf_span(&pong));
        gate_buf_free(&pong);
        return;
    default: break;
    }
    if (link->state != GATE_LINK_OPEN) return;
    rc = gate_assembly_add(&link->assembly, frame);
    if (rc == 0) return;
    if (rc < 0) {
        gate_link_close(link, -rc, GATE_SPAN("The frames break RFC 6455."));
        return;
    }
    gate_gateway_message(link, link->assembly.opcode == GATE_FRAME_BINARY,
                         gate_buf_span(&link->assembly.message));
    gate_assembly_next(&link->assembly);
}

/* Frames that cannot be told apart any more end the reading. */
static void take_frames(struct gate_link *link) {
    while (link->state == GATE_LINK_OPEN || link->state == GATE_LINK_CLOSING) {
        struct gate_frame frame;
        int used =
            gate_frame_read(link->in.data + link->in_used, link->in.len - link->in_used, &frame);
        if (used == 0) return;
        if (used < 0) {
            gate_link_close(link, -used, GATE_SPAN("The frames break RFC 6455."));
            gate_link_end(link);
            return;
        }
        link->in_used += (size_t)used;
        take_frame(link, &frame);
    }
}

static void take_input(struct gate_link *link) {
    if (link->in.len > 0 && link->state == GATE_LINK_HTTP) gate_http_consume(link);
    if (link->in.len > 0) take_frames(link);
    if (link->state >= GATE_LINK_ENDING) link->in_used = link->in.len;
    if (link->in_used == link->in.len) {
        gate_buf_clear(&link->in, OUT_KEEP_BYTES);
    } else if (link->in_used > 0) {
        link->in.len -= link->in_used;
        memmove(link->in.data, link->in.data + link->in_used, link->in.len);
    }
    link->in_used = 0;
}

static int read_some(struct gate_link *link, char *bytes, size_t len) {
    if (link->ssl) {
        ERR_clear_error();
        int rc = SSL_read(link->ssl, bytes, (int)len);
        return rc > 0 ? rc : judge_tls(link, rc);
    }
    ssize_t got = recv(link->fd, bytes, len, 0);
    if (got >= 0) return (int)got;
    return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_FAILED;
}

/* A client that does not trust the certificate says so in its alert; that belongs into the log. */
static bool shake_hands(struct gate_link *link) {
    ERR_clear_error();
    int rc = SSL_accept(link->ssl);
    if (rc == 1) {
        link->state = GATE_LINK_HTTP;
        link->tls_resumed = SSL_session_reused(link->ssl) == 1;
        return true;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    if (judge_tls(link, rc) == IO_AGAIN) return false;
    gate_sandbox_log(link->sandbox, link, "tls", "handshake failed: %s",
                     reason ? reason : "the client is gone");
    gate_link_drop(link, false, "TLS handshake failed");
    return false;
}

void gate_link_readable(struct gate_link *link) {
    if (link->state == GATE_LINK_CLOSED || gate_link_is_deaf(link)) return;
    link->more_in = false;
    if (link->state == GATE_LINK_TLS && !shake_hands(link)) return;
    take_input(link);
    for (int i = 0; i < READS_MAX; i++) {
        if (!gate_link_may_read(link)) return;
        if (gate_buf_reserve(&link->in, READ_BYTES) < 0) {
            gate_link_drop(link, true, "out of memory");
            return;
        }
        int got = read_some(link, link->in.data + link->in.len, READ_BYTES);
        if (got == IO_AGAIN) return;
        if (got <= 0) {
            gate_link_flush(link, gate_sandbox_now());
            gate_link_drop(link, false, got == 0 ? "ended by the client" : "reset by the client");
            return;
        }
        link->in.len += (size_t)got;
        take_input(link);
        if (link->state == GATE_LINK_CLOSED) return;
    }
    link->more_in = true;
}

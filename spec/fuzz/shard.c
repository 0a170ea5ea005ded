/* shard.c - fuzzes a whole shard with bytes, cuts, closes and clock steps. The input is a list of
 * records: one byte that chooses, one that measures, and the bytes that it measures. After every
 * input: actions are drained, a state that is not final has a deadline, and the token is nowhere
 * but in what is marked secret. */
#include <stdlib.h>
#include <string.h>

#include "../../src/shard.h"

#define TOKEN "F4zZ.t0k3n"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct run {
    struct gate_shard *shard;
    int64_t now_ms;
    uint32_t connection;
};

static void check_secret(const struct gate_action *action) {
    struct gate_span shown = {NULL, 0};
    if (action->type == GATE_ACT_EVENT) shown = gate_buf_span(&action->event.bytes);
    if (action->type == GATE_ACT_SEND && !action->secret) shown = gate_buf_span(&action->bytes);
    if (shown.len && memmem(shown.data, shown.len, TOKEN, strlen(TOKEN))) abort();
}

static void drain(struct run *run) {
    struct gate_action action;
    while (gate_shard_next(run->shard, &action)) {
        if (action.type == GATE_ACT_CONNECT) run->connection = action.connection;
        check_secret(&action);
        gate_action_free(&action);
    }
    enum gate_state state = gate_shard_state(run->shard);
    bool final = state == GATE_STATE_IDLE || state == GATE_STATE_DEAD;
    if (final != (gate_shard_deadline(run->shard) < 0)) abort();
}

static void feed(struct run *run, struct gate_span bytes, bool final, bool binary) {
    struct gate_piece piece = {
        .connection = run->connection, .bytes = bytes, .final = final, .binary = binary};
    for (int rc = GATE_AGAIN; rc == GATE_AGAIN;) {
        size_t used;
        rc = gate_shard_feed(run->shard, run->now_ms, &piece, &used);
        piece.bytes.data += used;
        piece.bytes.len -= used;
        drain(run);
    }
}

/* What a well-meaning server says at this point, so that the fuzzer gets far. */
static void feed_script(struct run *run, uint8_t line) {
    static const char *const lines[] = {
        "{\"op\":10,\"d\":{\"heartbeat_interval\":41250}}",
        "{\"t\":\"READY\",\"s\":1,\"op\":0,\"d\":{\"session_id\":\"s\",\"resume_gateway_url\":"
        "\"wss://r\"}}",
        "{\"t\":\"RESUMED\",\"s\":9,\"op\":0,\"d\":{}}",
        "{\"op\":11}",
        "{\"op\":1}",
        "{\"op\":7}",
        "{\"op\":9,\"d\":true}",
        "{\"op\":9,\"d\":false}",
    };
    const char *text = lines[line % (sizeof lines / sizeof lines[0])];
    feed(run, (struct gate_span){text, strlen(text)}, true, false);
}

static void send_command(struct run *run, struct gate_span text) {
    struct gate_buf command;
    gate_buf_init(&command, GATE_HEADROOM_BYTES, 0);
    if (gate_buf_append(&command, text) < 0) return;
    if (gate_shard_send(run->shard, run->now_ms, &command) < 0) gate_buf_free(&command);
}

static void step(struct run *run, uint8_t choice, uint8_t measure, struct gate_span bytes) {
    struct gate_shard *shard = run->shard;
    struct gate_close why = {.phase = measure & 1 ? GATE_PHASE_OPEN : GATE_PHASE_TLS,
                             .code = 3990 + measure % 40,
                             .reason = bytes,
                             .detail = bytes};
    int64_t deadline_ms = gate_shard_deadline(shard);
    switch (choice % 14) {
    case 0: feed(run, bytes, measure & 1, measure & 2); break;
    case 1: feed_script(run, measure); break;
    case 2: gate_shard_opened(shard, run->now_ms, run->connection); break;
    case 3: gate_shard_closed(shard, run->now_ms, run->connection, &why); break;
    case 4: run->now_ms += measure * 997; break;
    case 5:
        if (deadline_ms > run->now_ms) run->now_ms = deadline_ms;
        break;
    case 6: gate_shard_grant(shard, run->now_ms); break;
    case 7: send_command(run, bytes); break;
    case 8: gate_shard_pause(shard, run->now_ms, measure & 1); break;
    case 9: gate_shard_slept(shard, run->now_ms, 10000); break;
    case 10: gate_shard_reconnect(shard, run->now_ms, 4000 - (measure & 1) * 3000, bytes); break;
    case 11:
        if (measure < 8) gate_shard_stop(shard, run->now_ms, 4000, bytes);
        break;
    case 12: gate_shard_start(shard, run->now_ms); break;
    default: feed(run, bytes, true, true); break;
    }
    gate_shard_tick(shard, run->now_ms);
    drain(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct gate_options options = {.token = GATE_SPAN(TOKEN),
                                   .url = GATE_SPAN("wss://g"),
                                   .shard_count = 1,
                                   .backoff_base_ms = -1,
                                   .backoff_cap_ms = -1,
                                   .message_bytes_max = 65536};
    /* The fuzzer finds the token by itself; what it says itself is no leak. */
    if (len < 2 || memmem(bytes, len, TOKEN, strlen(TOKEN))) return 0;
    options.compress = (enum gate_compress)(bytes[0] >> 3 & 3);
    options.codec = bytes[0] & 32 ? &gate_etf : &gate_json;
    options.seed = bytes[1];
    int error;
    struct run run = {.shard = gate_shard_new(&options, &error)};
    if (!run.shard) abort();
    struct gate_interest interest = {.all = true, .send = bytes[0] & 2, .receive = bytes[0] & 4};
    gate_buf_init(&interest.names, 0, 0);
    gate_shard_interest(run.shard, &interest);
    gate_shard_start(run.shard, run.now_ms);
    drain(&run);
    for (size_t at = 2; at + 2 <= len;) {
        size_t take = bytes[at + 1] < len - at - 2 ? bytes[at + 1] : len - at - 2;
        step(&run, bytes[at], bytes[at + 1],
             (struct gate_span){(const char *)bytes + at + 2, take});
        at += 2 + take;
    }
    gate_shard_del(run.shard);
    return 0;
}

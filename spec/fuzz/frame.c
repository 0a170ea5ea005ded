/* frame.c - fuzzes the frames of a server and the answer to an upgrade: any bytes, cut anywhere,
 * are seen as they are when they come whole, lie where they were given, and stay below the limit.
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/frame.h"
#include "../../src/upgrade.h"

#define LIMIT_BYTES 3000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* What was seen, as a sum that does not depend on where pieces were cut. */
struct sum {
    uint64_t value;
    size_t message_bytes;
    bool ended;
};

static void add(struct sum *sum, uint64_t value) {
    sum->value = (sum->value ^ value) * 1099511628211u;
}

static void add_seen(struct sum *sum, const struct gate_seen *seen) {
    if (sum->ended) abort();
    for (size_t i = 0; i < seen->bytes.len; i++) add(sum, (unsigned char)seen->bytes.data[i]);
    if (seen->kind != GATE_SEEN_PIECE) {
        add(sum, (uint64_t)seen->kind << 32 | (uint64_t)(unsigned)seen->code);
        sum->ended = seen->kind != GATE_SEEN_PING;
        return;
    }
    sum->message_bytes += seen->bytes.len;
    if (sum->message_bytes > LIMIT_BYTES) abort();
    if (!seen->final) return;
    add(sum, 256 + seen->binary);
    sum->message_bytes = 0;
}

/* The copy has exactly the size of the chunk, so that a step over it is found. */
static void read_chunk(struct gate_frames *frames, const uint8_t *bytes, size_t len,
                       struct sum *sum) {
    char *copy = malloc(len);
    if (!copy) abort();
    memcpy(copy, bytes, len);
    for (size_t at = 0; at < len;) {
        struct gate_seen seen;
        size_t used = gate_frames_read(frames, (struct gate_span){copy + at, len - at}, &seen);
        if (used == 0 || used > len - at) abort();
        if (seen.kind == GATE_SEEN_PIECE && seen.bytes.len &&
            (seen.bytes.data < copy + at || seen.bytes.data + seen.bytes.len > copy + at + used))
            abort();
        if (seen.kind != GATE_SEEN_NOTHING) add_seen(sum, &seen);
        at += used;
    }
    free(copy);
}

static uint64_t read_in_steps(const uint8_t *bytes, size_t len, size_t step) {
    struct gate_frames frames;
    struct sum sum = {0};
    gate_frames_init(&frames, LIMIT_BYTES);
    for (size_t at = 0; at < len; at += step)
        read_chunk(&frames, bytes + at, len - at < step ? len - at : step, &sum);
    return sum.value;
}

/* Any five texts are an answer; only the right one of them all is granted. */
static void judge(const uint8_t *bytes, size_t len) {
    static const unsigned char nonce[GATE_NONCE_BYTES] = "sixteen bytes ..";
    struct gate_upgrade upgrade;
    struct gate_span parts[5];
    if (gate_upgrade_init(&upgrade, nonce) < 0) abort();
    for (int i = 0; i < 5; i++) {
        const uint8_t *end = len ? memchr(bytes, '\n', len) : NULL;
        size_t part = end ? (size_t)(end - bytes) : len;
        parts[i] = (struct gate_span){(const char *)bytes, part};
        bytes += end ? part + 1 : part;
        len -= end ? part + 1 : part;
    }
    struct gate_upgrade_answer answer = {101, parts[0], parts[1], parts[2], parts[3], parts[4]};
    bool granted = gate_upgrade_judge(&upgrade, &answer) == NULL;
    if (granted && (parts[0].len < 9 || parts[1].len < 7 || parts[2].len < 28)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    if (len < 2) return 0;
    uint64_t whole = read_in_steps(bytes + 1, len - 1, len);
    if (read_in_steps(bytes + 1, len - 1, (size_t)bytes[0] + 1) != whole) abort();
    if (read_in_steps(bytes + 1, len - 1, 1) != whole) abort();
    judge(bytes + 1, len - 1);
    return 0;
}

/* inflate.c - what the inflate layer adds to the libraries under it: the same stream of messages
 * like Discord's, ten megabytes of them, through the library alone and through inflate.c. `make
 * bench` builds and runs it; KIND WHO as arguments (zlib-stream bare) runs one, for a profiler. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

#include "../../src/inflate.h"

#define CORPUS_BYTES 10000000
#define ROUNDS       7 /* the best of them counts: the machine may be busy */

struct corpus {
    struct gate_buf plain, wire; /* all messages, one behind the other */
    struct gate_buf ends;        /* size_t: where each ends in `wire` */
};

static uint64_t seed;

static uint64_t draw(uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

static void need(int rc) {
    if (rc < 0) abort();
}

/* ---- The corpus ------------------------------------------------------------------------------ */

static void append_words(struct gate_buf *out, size_t count) {
    static const char *const words[] = {
        "the",   "a",     "server", "bot",    "please", "why",   "thanks", "update", "today",
        "is",    "not",   "it",     "works",  "nobody", "here",  "again",  "sounds", "good",
        "maybe", "later", "think",  "really", "game",   "night", "voice",  "channel"};
    char word[32];
    while (count--) {
        int len = draw(6) ? snprintf(word, sizeof word, "%s ", words[draw(26)])
                          : snprintf(word, sizeof word, "%llx ", (unsigned long long)draw(1 << 24));
        need(gate_buf_append(out, (struct gate_span){word, (size_t)len}));
    }
}

/* One of so many ids of a kind. */
static unsigned long long draw_id(unsigned kind, uint64_t count) {
    return kind * 100000000000000000u + draw(count) * 4096;
}

static void append_message(struct gate_buf *out, int seq) {
    char text[2048];
    unsigned long long id = draw_id(11, 1u << 30);
    int len = snprintf(
        text, sizeof text,
        "{\"t\":\"MESSAGE_CREATE\",\"s\":%d,\"op\":0,\"d\":{\"type\":0,\"tts\":false,\"timestamp\":"
        "\"2024-05-%02dT%02d:%02d:%02d.%06d+00:00\",\"pinned\":false,\"nonce\":\"%llu\","
        "\"mentions\":[],\"mention_roles\":[],\"mention_everyone\":false,\"member\":{\"roles\":["
        "\"%llu\",\"%llu\"],\"premium_since\":null,\"pending\":false,\"nick\":null,\"mute\":false,"
        "\"joined_at\":\"2021-03-%02dT12:00:00.%06d+00:00\",\"flags\":0,\"deaf\":false,"
        "\"communication_disabled_until\":null,\"banner\":null,\"avatar\":null},\"id\":\"%llu\","
        "\"flags\":0,\"embeds\":[],\"edited_timestamp\":null,\"components\":[],\"channel_type\":0,"
        "\"channel_id\":\"%llu\",\"author\":{\"username\":\"user%d\",\"public_flags\":0,"
        "\"primary_guild\":null,\"id\":\"%llu\",\"global_name\":\"User %d\",\"discriminator\":"
        "\"0\",\"avatar\":\"%08x%08x%08x%08x\"},\"attachments\":[],\"guild_id\":\"%llu\","
        "\"content\":\"",
        seq, (int)draw(28) + 1, (int)draw(24), (int)draw(60), (int)draw(60), (int)draw(1000000),
        id + 7, draw_id(9, 64), draw_id(9, 64), (int)draw(28) + 1, (int)draw(1000000), id,
        draw_id(8, 200), (int)draw(5000), draw_id(7, 5000), (int)draw(5000),
        (unsigned)draw(1u << 31), (unsigned)draw(1u << 31), (unsigned)draw(1u << 31),
        (unsigned)draw(1u << 31), draw_id(6, 50));
    need(gate_buf_append(out, (struct gate_span){text, (size_t)len}));
    append_words(out, draw(160));
    need(gate_buf_append(out, GATE_SPAN("\"}}")));
}

static void deflate_message(z_stream *stream, struct gate_span text, struct gate_buf *out) {
    need(gate_buf_reserve(out, text.len + 1024));
    stream->next_in = (z_const Bytef *)(uintptr_t)text.data;
    stream->avail_in = (uInt)text.len;
    stream->next_out = (Bytef *)out->data + out->len;
    stream->avail_out = (uInt)(out->capacity - out->len);
    if (deflate(stream, Z_SYNC_FLUSH) != Z_OK) abort();
    out->len = out->capacity - stream->avail_out;
}

static void squeeze_message(ZSTD_CCtx *context, struct gate_span text, struct gate_buf *out) {
    need(gate_buf_reserve(out, text.len + 1024));
    ZSTD_inBuffer in = {text.data, text.len, 0};
    ZSTD_outBuffer to = {out->data + out->len, out->capacity - out->len, 0};
    if (ZSTD_compressStream2(context, &to, &in, ZSTD_e_flush) != 0) abort();
    out->len += to.pos;
}

static void write_corpus(struct corpus *corpus, enum gate_compress kind) {
    z_stream stream = {0};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context || deflateInit(&stream, 6) != Z_OK) abort();
    *corpus = (struct corpus){.plain = {0}};
    seed = 1;
    for (int seq = 1; corpus->plain.len < CORPUS_BYTES; seq++) {
        size_t at = corpus->plain.len;
        append_message(&corpus->plain, seq);
        struct gate_span text = {corpus->plain.data + at, corpus->plain.len - at};
        if (kind == GATE_COMPRESS_ZLIB_STREAM)
            deflate_message(&stream, text, &corpus->wire);
        else
            squeeze_message(context, text, &corpus->wire);
        size_t end = corpus->wire.len;
        need(gate_buf_append(&corpus->ends, (struct gate_span){(const char *)&end, sizeof end}));
    }
    deflateEnd(&stream);
    ZSTD_freeCCtx(context);
}

static size_t count_messages(const struct corpus *corpus) {
    return corpus->ends.len / sizeof(size_t);
}

static struct gate_span take_wire(const struct corpus *corpus, size_t number) {
    size_t from = 0, to;
    if (number) memcpy(&from, corpus->ends.data + (number - 1) * sizeof from, sizeof from);
    memcpy(&to, corpus->ends.data + number * sizeof to, sizeof to);
    return (struct gate_span){corpus->wire.data + from, to - from};
}

/* ---- Who inflates ---------------------------------------------------------------------------- */

static char room[1 << 20]; /* of the library alone: never too small */

static size_t run_bare_zlib(const struct corpus *corpus) {
    z_stream stream = {0};
    size_t total = 0, count = count_messages(corpus);
    if (inflateInit(&stream) != Z_OK) abort();
    for (size_t i = 0; i < count; i++) {
        struct gate_span wire = take_wire(corpus, i);
        stream.next_in = (z_const Bytef *)(uintptr_t)wire.data;
        stream.avail_in = (uInt)wire.len;
        stream.next_out = (Bytef *)room;
        stream.avail_out = sizeof room;
        if (inflate(&stream, Z_SYNC_FLUSH) != Z_OK) abort();
        total += sizeof room - stream.avail_out;
    }
    inflateEnd(&stream);
    return total;
}

static size_t run_bare_zstd(const struct corpus *corpus) {
    ZSTD_DCtx *context = ZSTD_createDCtx();
    size_t total = 0, count = count_messages(corpus);
    for (size_t i = 0; i < count; i++) {
        struct gate_span wire = take_wire(corpus, i);
        ZSTD_inBuffer in = {wire.data, wire.len, 0};
        ZSTD_outBuffer out = {room, sizeof room, 0};
        while (in.pos < in.size)
            if (ZSTD_isError(ZSTD_decompressStream(context, &out, &in))) abort();
        total += out.pos;
    }
    ZSTD_freeDCtx(context);
    return total;
}

/* `taken`: each message leaves with its buffer, as one does that somebody hears. */
static size_t run_layer(const struct corpus *corpus, enum gate_compress kind, bool taken) {
    struct gate_inflate inflate = {.open = false};
    struct gate_buf out, event;
    size_t total = 0, count = count_messages(corpus);
    gate_buf_init(&out, 0, GATE_MESSAGE_BYTES_MAX);
    gate_buf_init(&event, 0, 0);
    need(gate_inflate_open(&inflate, kind));
    for (size_t i = 0; i < count; i++) {
        struct gate_piece piece = {.bytes = take_wire(corpus, i), .final = true, .binary = true};
        if (gate_inflate_push(&inflate, &piece, &out) != 1) abort();
        total += out.len;
        if (taken)
            gate_buf_move(&event, &out);
        else
            gate_buf_clear(&out, GATE_KEEP_BYTES_MAX);
    }
    gate_inflate_free(&inflate);
    gate_buf_free(&out);
    gate_buf_free(&event);
    return total;
}

static void run(const struct corpus *corpus, enum gate_compress kind, const char *who) {
    size_t total;
    if (strcmp(who, "bare") != 0)
        total = run_layer(corpus, kind, strcmp(who, "taken") == 0);
    else
        total = kind == GATE_COMPRESS_ZLIB_STREAM ? run_bare_zlib(corpus) : run_bare_zstd(corpus);
    if (total != corpus->plain.len) abort();
}

static double cpu_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void compare(enum gate_compress kind) {
    static const char *const who[] = {"bare", "kept", "taken"};
    double best[3] = {1e9, 1e9, 1e9};
    struct corpus corpus;
    write_corpus(&corpus, kind);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        double began = cpu_s();
        run(&corpus, kind, who[i % 3]);
        double took = cpu_s() - began;
        if (took < best[i % 3]) best[i % 3] = took;
    }
    size_t count = count_messages(&corpus);
    printf("%s: %zu messages of %zu bytes, %zu on the wire\n", gate_compress_word(kind), count,
           corpus.plain.len / count, corpus.wire.len / count);
    for (int i = 0; i < 3; i++)
        printf("  %-6s %7.0f ns a message  %.3f\n", who[i], best[i] * 1e9 / (double)count,
               best[i] / best[0]);
    gate_buf_free(&corpus.plain);
    gate_buf_free(&corpus.wire);
    gate_buf_free(&corpus.ends);
}

int main(int count, char **words) {
    enum gate_compress kind = GATE_COMPRESS_NONE;
    if (count == 3 && gate_compress_find((struct gate_span){words[1], strlen(words[1])}, &kind)) {
        struct corpus corpus;
        write_corpus(&corpus, kind);
        run(&corpus, kind, words[2]);
        return 0;
    }
    compare(GATE_COMPRESS_ZLIB_STREAM);
    compare(GATE_COMPRESS_ZSTD_STREAM);
    return 0;
}

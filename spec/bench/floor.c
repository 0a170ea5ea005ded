/* floor.c - what the bytes themselves cost: receives a stream of sender.c, decrypts and inflates
 * it, and does nothing else. No client can be cheaper.
 *
 *   floor PORT ws|wss json|etf none|zlib-stream|zstd-stream MESSAGES
 *   floor PORT ws json zlib-stream MESSAGES latency
 *
 * Prints the CPU seconds between READY and the last message, and the bytes that came out; or the
 * seconds from the stamp of a message to its being inflated, p50 and p99. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define READ_BYTES 65536
#define OUT_BYTES  262144

static int connection;
static SSL *tls;
static z_stream zlib;
static ZSTD_DStream *zstd;
static unsigned char out[OUT_BYTES + 1];
static uint64_t out_bytes;
static double *delays_s; /* NULL: nobody asks */
static size_t delay_count;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static size_t receive(unsigned char *into, size_t len) {
    ssize_t got = tls ? SSL_read(tls, into, (int)len) : read(connection, into, len);
    if (got <= 0) fail("receive");
    return (size_t)got;
}

static void say(const void *bytes, size_t len) {
    ssize_t done = tls ? SSL_write(tls, bytes, (int)len) : write(connection, bytes, len);
    if (done != (ssize_t)len) fail("send");
}

static double now_s(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The first `len` bytes of `out` are a message, which sender.c has stamped. */
static void note_delay(size_t len) {
    static const char key[] = "\"timestamp\":";
    out[len] = 0;
    const char *at = strstr((const char *)out, key);
    if (!at) return;
    delays_s[delay_count++] = now_s(CLOCK_MONOTONIC) - atof(at + strlen(key)) / 1e9;
}

static void take_zlib(unsigned char *bytes, size_t len) {
    zlib.next_in = bytes;
    zlib.avail_in = (uInt)len;
    do {
        zlib.next_out = out;
        zlib.avail_out = OUT_BYTES;
        int rc = inflate(&zlib, Z_SYNC_FLUSH);
        if (rc != Z_OK && rc != Z_BUF_ERROR) fail("inflate");
        out_bytes += OUT_BYTES - zlib.avail_out;
    } while (zlib.avail_out == 0);
    if (delays_s) note_delay(OUT_BYTES - zlib.avail_out);
}

static void take_zstd(unsigned char *bytes, size_t len) {
    ZSTD_inBuffer in = {bytes, len, 0};
    ZSTD_outBuffer to;
    do {
        to = (ZSTD_outBuffer){out, OUT_BYTES, 0};
        if (ZSTD_isError(ZSTD_decompressStream(zstd, &to, &in))) fail("zstd");
        out_bytes += to.pos;
    } while (in.pos < in.size || to.pos == to.size);
}

static void take(unsigned char *bytes, size_t len) {
    if (zstd)
        take_zstd(bytes, len);
    else if (zlib.state)
        take_zlib(bytes, len);
    else
        out_bytes += len;
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void print_delays(void) {
    qsort(delays_s, delay_count, sizeof *delays_s, compare);
    printf("%.9f %.9f\n", delays_s[delay_count / 2], delays_s[delay_count * 99 / 100]);
}

/* The length of a frame's head, and of its payload; 0 when the head is not whole. */
static size_t read_head(const unsigned char *at, size_t len, uint64_t *payload_bytes) {
    if (len < 2) return 0;
    size_t head_bytes = at[1] < 126 ? 2 : at[1] == 126 ? 4 : 10;
    if (len < head_bytes) return 0;
    *payload_bytes = at[1] < 126 ? at[1] : 0;
    for (size_t i = 2; i < head_bytes; i++) *payload_bytes = *payload_bytes << 8 | at[i];
    return head_bytes;
}

/* Reads messages until `count` have ended. A payload is taken as it comes. */
static void read_messages(long count) {
    static unsigned char bytes[READ_BYTES];
    static size_t start, end;
    while (count) {
        uint64_t left;
        size_t head_bytes = read_head(bytes + start, end - start, &left);
        if (!head_bytes) {
            memmove(bytes, bytes + start, end - start);
            end -= start;
            start = 0;
            end += receive(bytes + end, sizeof bytes - end);
            continue;
        }
        start += head_bytes;
        while (left) {
            if (start == end) {
                start = 0;
                end = receive(bytes, sizeof bytes);
            }
            size_t part = end - start < left ? end - start : (size_t)left;
            take(bytes + start, part);
            start += part;
            left -= part;
        }
        count--;
    }
}

static void open_connection(int port, bool secure) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address)) fail("connect");
    if (!secure) return;
    tls = SSL_new(SSL_CTX_new(TLS_client_method()));
    if (!tls || SSL_set_fd(tls, connection) != 1 || SSL_connect(tls) != 1) fail("TLS");
}

static void upgrade(const char *encoding, const char *compression) {
    char text[512];
    unsigned char byte = 0, line[4] = {0};
    snprintf(
        text, sizeof text,
        "GET /?v=10&encoding=%s&compress=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        encoding, compression);
    say(text, strlen(text));
    while (memcmp(line, "\r\n\r\n", 4)) {
        receive(&byte, 1);
        memmove(line, line + 1, 3);
        line[3] = byte;
    }
}

int main(int argc, char **argv) {
    if (argc != 6 && argc != 7) return 2;
    long count = atol(argv[5]);
    open_connection(atoi(argv[1]), !strcmp(argv[2], "wss"));
    if (!strcmp(argv[4], "zlib-stream") && inflateInit(&zlib) != Z_OK) fail("inflateInit");
    if (!strcmp(argv[4], "zstd-stream")) zstd = ZSTD_createDStream();
    upgrade(argv[3], argv[4]);
    read_messages(1);            /* HELLO */
    say("\x82\x81\0\0\0\0x", 7); /* stands for the Identify */
    read_messages(1);            /* READY */
    if (argc == 7 && !(delays_s = calloc((size_t)count, sizeof *delays_s))) fail("calloc");
    double start_s = now_s(CLOCK_PROCESS_CPUTIME_ID);
    read_messages(count - 2);
    double spent_s = now_s(CLOCK_PROCESS_CPUTIME_ID) - start_s;
    if (delays_s)
        print_delays();
    else
        printf("%.6f %llu\n", spent_s, (unsigned long long)out_bytes);
    return 0;
}

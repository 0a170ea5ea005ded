/* sender.c - a gateway that says one thing as fast as it can: the traffic of traffic.h, encoded and
 * compressed before the first client comes, so that the client is what a benchmark measures.
 *
 *   sender COUNT [RATE]        COUNT events to each client; with RATE, so many a second, stamped
 *   sender COUNT json|etf      writes the messages to its output: length (4 bytes, little-endian),
 * bytes
 *
 * Prints two port numbers (plain, TLS), the file of the certificate authority and its process. One
 * client at a time. Ends when its input ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "sandbox_tls.h"
#include "traffic.h"

#define SEED        42u
#define INTERVAL_MS 600000 /* no beat falls into a run */
#define SETTLE_MS   100    /* between READY and the rest */

enum compression { NONE, ZLIB, ZSTD, COMPRESSIONS };

struct stream { /* frames, ready to be sent */
    struct traffic_bytes frames;
    size_t hello_ends, ready_ends;
    bool made;
};

struct codec { /* what is kept from message to message of one connection */
    enum compression compression;
    z_stream zlib;
    ZSTD_CStream *zstd;
    struct traffic_bytes out;
};

struct client {
    int socket;
    SSL *tls; /* NULL: plain */
    enum traffic_encoding encoding;
    enum compression compression;
};

static struct stream streams[2][COMPRESSIONS];
static long event_count;
static int rate;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static void open_codec(struct codec *codec, enum compression compression) {
    *codec = (struct codec){.compression = compression};
    if (compression == ZLIB && deflateInit(&codec->zlib, Z_DEFAULT_COMPRESSION) != Z_OK)
        fail("deflateInit");
    if (compression == ZSTD && !(codec->zstd = ZSTD_createCStream())) fail("ZSTD_createCStream");
    if (compression == ZSTD) ZSTD_initCStream(codec->zstd, ZSTD_CLEVEL_DEFAULT);
}

static void close_codec(struct codec *codec) {
    if (codec->compression == ZLIB) deflateEnd(&codec->zlib);
    ZSTD_freeCStream(codec->zstd);
    free(codec->out.data);
}

static void deflate_message(struct codec *codec, const struct traffic_bytes *message) {
    unsigned char piece[65536];
    codec->zlib.next_in = (Bytef *)message->data;
    codec->zlib.avail_in = (uInt)message->len;
    do {
        codec->zlib.next_out = piece;
        codec->zlib.avail_out = sizeof piece;
        deflate(&codec->zlib, Z_SYNC_FLUSH);
        traffic_put(&codec->out, piece, sizeof piece - codec->zlib.avail_out);
    } while (codec->zlib.avail_out == 0);
}

static void zstd_message(struct codec *codec, const struct traffic_bytes *message) {
    char piece[65536];
    ZSTD_inBuffer in = {message->data, message->len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {piece, sizeof piece, 0};
        left = ZSTD_compressStream2(codec->zstd, &out, &in, ZSTD_e_flush);
        if (ZSTD_isError(left)) fail("ZSTD_compressStream2");
        traffic_put(&codec->out, piece, out.pos);
    } while (left);
}

static void put_frame(struct traffic_bytes *frames, unsigned opcode, const void *data, size_t len) {
    unsigned char head[10] = {(unsigned char)(0x80 | opcode)};
    size_t head_bytes = len < 126 ? 2 : len < 65536 ? 4 : 10;
    head[1] = (unsigned char)(len < 126 ? len : len < 65536 ? 126 : 127);
    for (size_t i = 2; i < head_bytes; i++)
        head[i] = (unsigned char)((uint64_t)len >> (8 * (head_bytes - 1 - i)));
    traffic_put(frames, head, head_bytes);
    traffic_put(frames, data, len);
}

/* The message as a frame at the end of `frames`. */
static void encode(struct codec *codec, enum traffic_encoding encoding,
                   const struct traffic_bytes *message, struct traffic_bytes *frames) {
    unsigned opcode = encoding == TRAFFIC_JSON && codec->compression == NONE ? 1 : 2;
    codec->out.len = 0;
    switch (codec->compression) {
    case ZLIB: deflate_message(codec, message); break;
    case ZSTD: zstd_message(codec, message); break;
    default: put_frame(frames, opcode, message->data, message->len); return;
    }
    put_frame(frames, opcode, codec->out.data, codec->out.len);
}

static struct stream *make_stream(enum traffic_encoding encoding, enum compression compression) {
    struct stream *stream = &streams[encoding][compression];
    if (stream->made) return stream;
    struct traffic traffic;
    struct codec codec;
    struct traffic_bytes message = {0};
    traffic_init(&traffic, encoding, SEED);
    open_codec(&codec, compression);
    for (long i = -2; i <= event_count; i++) {
        message.len = 0;
        if (i == -2)
            traffic_hello(&traffic, &message, INTERVAL_MS);
        else if (i == -1)
            traffic_ready(&traffic, &message);
        else if (i < event_count)
            traffic_event(&traffic, &message);
        else
            traffic_end(&traffic, &message);
        encode(&codec, encoding, &message, &stream->frames);
        if (i == -2) stream->hello_ends = stream->frames.len;
        if (i == -1) stream->ready_ends = stream->frames.len;
    }
    close_codec(&codec);
    free(message.data);
    stream->made = true;
    return stream;
}

/* ---- A client -------------------------------------------------------------------------------- */

static ssize_t receive(struct client *client, void *into, size_t len) {
    return client->tls ? SSL_read(client->tls, into, (int)len) : read(client->socket, into, len);
}

static bool say(struct client *client, const char *bytes, size_t len) {
    while (len) {
        size_t part = len > 262144 ? 262144 : len;
        ssize_t done = client->tls ? SSL_write(client->tls, bytes, (int)part)
                                   : write(client->socket, bytes, part);
        if (done <= 0) return false;
        bytes += done;
        len -= (size_t)done;
    }
    return true;
}

static void accept_key(const char *key, size_t len, char answer[32]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    char joined[128];
    unsigned char digest[SHA_DIGEST_LENGTH];
    snprintf(joined, sizeof joined, "%.*s%s", (int)len, key, guid);
    SHA1((unsigned char *)joined, strlen(joined), digest);
    EVP_EncodeBlock((unsigned char *)answer, digest, sizeof digest);
}

static bool upgrade(struct client *client) {
    char request[8192], answer[32], response[256];
    size_t len = 0;
    while (len < sizeof request - 1) {
        ssize_t got = receive(client, request + len, sizeof request - 1 - len);
        if (got <= 0) return false;
        len += (size_t)got;
        request[len] = 0;
        if (strstr(request, "\r\n\r\n")) break;
    }
    char *key = strcasestr(request, "sec-websocket-key:");
    if (!key) return false;
    key += strcspn(key, ":") + 1;
    key += strspn(key, " ");
    accept_key(key, strcspn(key, "\r \n"), answer);
    client->encoding = strstr(request, "encoding=etf") ? TRAFFIC_ETF : TRAFFIC_JSON;
    client->compression = strstr(request, "compress=zlib-stream")   ? ZLIB
                          : strstr(request, "compress=zstd-stream") ? ZSTD
                                                                    : NONE;
    snprintf(response, sizeof response,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             answer);
    return say(client, response, strlen(response));
}

static void pump_all(struct client *client) {
    char scratch[4096];
    struct stream *stream = make_stream(client->encoding, client->compression);
    const char *at = stream->frames.data;
    if (!say(client, at, stream->hello_ends)) return;
    if (receive(client, scratch, sizeof scratch) <= 0) return; /* the Identify */
    if (!say(client, at + stream->hello_ends, stream->ready_ends - stream->hello_ends)) return;
    poll(NULL, 0, SETTLE_MS);
    if (!say(client, at + stream->ready_ends, stream->frames.len - stream->ready_ends)) return;
    while (receive(client, scratch, sizeof scratch) > 0) continue;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_until(int64_t when_ns) {
    struct timespec when = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR) continue;
}

/* `rate` events a second, each with the time of its writing. */
static void pump_slowly(struct client *client) {
    char scratch[4096];
    struct traffic traffic;
    struct codec codec;
    struct traffic_bytes message = {0}, frame = {0};
    traffic_init(&traffic, client->encoding, SEED);
    open_codec(&codec, client->compression);
    int64_t start_ns = 0;
    bool going = true;
    for (long i = -2; going && i <= event_count; i++) {
        message.len = frame.len = 0;
        if (i >= 0) wait_until(start_ns + i * (1000000000 / rate));
        if (i == -2)
            traffic_hello(&traffic, &message, INTERVAL_MS);
        else if (i == -1)
            traffic_ready(&traffic, &message);
        else if (i < event_count)
            traffic_stamp(&traffic, &message, now_ns());
        else
            traffic_end(&traffic, &message);
        encode(&codec, client->encoding, &message, &frame);
        going = say(client, frame.data, frame.len);
        if (i == -2) going = receive(client, scratch, sizeof scratch) > 0;
        if (i == -1) start_ns = now_ns() + SETTLE_MS * 1000000;
    }
    while (going && receive(client, scratch, sizeof scratch) > 0) continue;
    close_codec(&codec);
    free(message.data);
    free(frame.data);
}

static void serve(int socket, SSL_CTX *context) {
    struct client client = {.socket = socket};
    int one = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (context) {
        client.tls = SSL_new(context);
        if (!client.tls || SSL_set_fd(client.tls, socket) != 1) fail("SSL_new");
    }
    bool open = !context || SSL_accept(client.tls) == 1;
    if (open && upgrade(&client)) (rate ? pump_slowly : pump_all)(&client);
    SSL_free(client.tls);
    close(socket);
}

static int listen_somewhere(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 16) || getsockname(listener, (struct sockaddr *)&address, &len))
        fail("listen");
    *port = ntohs(address.sin_port);
    return listener;
}

static int dump(enum traffic_encoding encoding) {
    struct traffic traffic;
    struct traffic_bytes message = {0};
    traffic_init(&traffic, encoding, SEED);
    traffic_ready(&traffic, &message);
    for (long i = 0; i < event_count; i++) {
        message.len = 0;
        traffic_event(&traffic, &message);
        unsigned char head[4];
        for (int nth = 0; nth < 4; nth++) head[nth] = (unsigned char)(message.len >> (8 * nth));
        fwrite(head, 1, sizeof head, stdout);
        fwrite(message.data, 1, message.len, stdout);
    }
    free(message.data);
    return 0;
}

int main(int argc, char **argv) {
    char ca_file[GATE_CA_FILE_BYTES];
    const char *why = "";
    int ports[2];
    event_count = argc > 1 ? atol(argv[1]) : 100000;
    if (argc > 2 && !strcmp(argv[2], "json")) return dump(TRAFFIC_JSON);
    if (argc > 2 && !strcmp(argv[2], "etf")) return dump(TRAFFIC_ETF);
    rate = argc > 2 ? atoi(argv[2]) : 0;
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX *context = gate_tls_make((struct gate_span){"", 0}, false, ca_file, &why);
    if (!context) fail(why);
    int plain = listen_somewhere(&ports[0]), secure = listen_somewhere(&ports[1]);
    printf("%d %d %s %d\n", ports[0], ports[1], ca_file, (int)getpid());
    fflush(stdout);
    struct pollfd fds[3] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = plain, .events = POLLIN},
                            {.fd = secure, .events = POLLIN}};
    while (poll(fds, 3, -1) >= 0 && !fds[0].revents) {
        for (int i = 1; i < 3; i++)
            if (fds[i].revents) serve(accept(fds[i].fd, NULL, NULL), i == 2 ? context : NULL);
    }
    gate_tls_free(context, ca_file);
    return 0;
}

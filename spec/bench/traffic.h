/* traffic.h - a day on a large server, seeded: gateway messages in the shapes and proportions that
 * a bot with all intents sees, as JSON or as ETF. The same seed gives the same values in both. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

enum traffic_encoding { TRAFFIC_JSON, TRAFFIC_ETF };

struct traffic_bytes { /* grows; the process ends when memory does */
    char *data;
    size_t len, capacity;
};

/* Appends `len` bytes. */
void traffic_put(struct traffic_bytes *bytes, const void *data, size_t len);

struct traffic {
    enum traffic_encoding encoding;
    uint64_t state;              /* of the generator of numbers */
    int64_t seq;                 /* of the last message */
    struct traffic_bytes *bytes; /* where the message that is being written goes */
    char first[64];              /* per depth: nothing written there yet */
    int depth;
};

void traffic_init(struct traffic *traffic, enum traffic_encoding encoding, uint64_t seed);

/* Each appends one whole message to `bytes`. */
void traffic_hello(struct traffic *traffic, struct traffic_bytes *bytes, int interval_ms);
void traffic_ready(struct traffic *traffic, struct traffic_bytes *bytes);
void traffic_event(struct traffic *traffic, struct traffic_bytes *bytes);

/* A message that says when it was written: d.timestamp in ns of CLOCK_MONOTONIC. */
void traffic_stamp(struct traffic *traffic, struct traffic_bytes *bytes, int64_t now_ns);

/* The message that ends a run: USER_UPDATE. */
void traffic_end(struct traffic *traffic, struct traffic_bytes *bytes);

#endif

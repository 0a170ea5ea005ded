/* tls.h - the TLS settings of the process, and words for what went wrong. Opened by crew.c; called
 * by transport.c on each I/O thread, and by libwebsockets' callbacks there. Whom to trust is
 * decided here and nowhere else. Types of OpenSSL stay behind void pointers. */
#ifndef MOONGATE_TLS_H
#define MOONGATE_TLS_H

#include "moongate.h"

#define GATE_TLS_WORDS_MAX        160
#define GATE_FINGERPRINT_TEXT_MAX 17 /* 16 hex digits and a NUL */

/* What is known of one handshake; part of a connection. */
struct gate_tls_state {
    const char *host;  /* NUL-terminated: who has to prove its name; borrowed for the handshake */
    const char *place; /* host and port: whose tickets are good here; likewise */
    bool literal;      /* the host is a numeric address */
    bool insecure;     /* any certificate will do */
    bool bound;        /* the handshake has begun and checks against `host` */
    bool offered;      /* it has asked to resume a session of before */
    bool done;         /* the handshake has succeeded */
    int error;         /* GATE_ECERTIFICATE or GATE_ETLS; 0: none seen */
    char words[GATE_TLS_WORDS_MAX]; /* "" or what the error was */
};

struct gate_tls;

/* Settings that trust `ca_file` (PEM), or the system's store where NULL, in which case OpenSSL
 * honours $SSL_CERT_FILE and $SSL_CERT_DIR. TLS 1.2 or newer. Whoever wants the same while others
 * have them open shares them, a store of certificates being megabytes. NULL on failure: *error is
 * GATE_EMEMORY or GATE_ECERTIFICATE (ca_file cannot be read or has no certificate), *detail says
 * so in words, a constant. Any thread, as the next two. */
struct gate_tls *gate_tls_open(const char *ca_file, bool insecure, int *error, const char **detail);
void gate_tls_close(struct gate_tls *tls); /* NULL is fine */

/* The SSL_CTX, which is theirs. */
void *gate_tls_context(const struct gate_tls *tls);

/* In a forked child, where the lock may be held by nobody. */
void gate_tls_forget(void);

/* Finds the state of a handshake by its SSL object; NULL: not one of ours. Handshakes on the
 * calling thread are found by `find` from now on. */
typedef struct gate_tls_state *gate_tls_find(void *owner, void *ssl);
void gate_tls_attend(gate_tls_find *find, void *owner);

/* Judges one certificate of the chain, from the verification callback. `store` is the
 * X509_STORE_CTX, `ok` OpenSSL's own opinion. True: accepted. */
bool gate_tls_judge(struct gate_tls_state *state, void *store, bool ok);

/* Writes to an SSL object. Returns how many bytes it took, 0 when it cannot take any now, or -1.
 * What it did not take has to be offered again, from the same byte on. */
GATE_MUST_CHECK int64_t gate_tls_write(void *ssl, struct gate_span bytes);

/* Unpredictable bytes. GATE_ESYSTEM: none to be had. Any thread. */
GATE_MUST_CHECK int gate_tls_random(unsigned char *out, size_t len);

/* The first 16 hex digits of the SHA-256 of a secret: enough to tell two apart, nothing to find one
 * by. GATE_EMEMORY. Any thread. */
GATE_MUST_CHECK int gate_tls_fingerprint(struct gate_span secret,
                                         char out[GATE_FINGERPRINT_TEXT_MAX]);

#endif

/* sandbox_tls.h - a throw-away certificate authority and server certificate.
 * Called by sandbox.c at start and stop, on the thread that starts the sandbox. */
#ifndef MOONGATE_SANDBOX_TLS_H
#define MOONGATE_SANDBOX_TLS_H

#include <openssl/ssl.h>

#include "moongate.h"

#define GATE_CA_FILE_BYTES 256 /* a path below $TMPDIR */

/* Makes an authority, a certificate signed by it (EC P-256) and a server context, and writes the
 * authority's certificate into a new temporary file. `name` len 0: 127.0.0.1, ::1 and localhost.
 * NULL on failure with *why a few words; nothing is left behind then. */
SSL_CTX *gate_tls_make(struct gate_span name, bool expired, char ca_file[GATE_CA_FILE_BYTES],
                       const char **why);

/* Removes the file and frees the context. */
void gate_tls_free(SSL_CTX *context, const char *ca_file);

#endif

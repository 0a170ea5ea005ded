/* upgrade.h - the opening handshake of RFC 6455, 4: what is asked for, and whether an answer grants
 * it. Bytes of HTTP are the transport's; it gives what the headers say. Pure. Called by transport.c
 * on the I/O thread. */
#ifndef MOONGATE_UPGRADE_H
#define MOONGATE_UPGRADE_H

#include "http.h"

#define GATE_NONCE_BYTES       16 /* RFC 6455, 4.1 */
#define GATE_KEY_TEXT_BYTES    24 /* that in base64 */
#define GATE_ACCEPT_TEXT_BYTES 28 /* a SHA-1 in base64 */

struct gate_upgrade {
    char key[GATE_KEY_TEXT_BYTES + 1];
    char accept[GATE_ACCEPT_TEXT_BYTES + 1]; /* what the server has to say */
};

/* What the head of an answer holds; len 0: it has no such header. */
struct gate_upgrade_answer {
    int status;
    struct gate_span upgrade, connection, accept, extensions, protocol;
};

/* `nonce`: unpredictable, and another one for each connection. GATE_ESYSTEM: no SHA-1 to be had. */
GATE_MUST_CHECK int gate_upgrade_init(struct gate_upgrade *upgrade,
                                      const unsigned char nonce[GATE_NONCE_BYTES]);

/* Writes the headers that ask for it. False: there is no room. */
GATE_MUST_CHECK bool gate_upgrade_compose(const struct gate_upgrade *upgrade, struct gate_pen *pen);

/* NULL: the answer grants it; else what is wrong with it, a constant. */
GATE_MUST_CHECK const char *gate_upgrade_judge(const struct gate_upgrade *upgrade,
                                               const struct gate_upgrade_answer *answer);

#endif

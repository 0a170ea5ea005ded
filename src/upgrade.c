/* upgrade.c - see upgrade.h. Nothing optional is offered, so nothing optional may be granted: a
 * compression that nobody here expects would make noise of every frame. */
#include "upgrade.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#define KEY_SUFFIX "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, 1.3 */

static void write_base64(const unsigned char *bytes, int len, char *out) {
    EVP_EncodeBlock((unsigned char *)out, bytes, len);
}

int gate_upgrade_init(struct gate_upgrade *upgrade, const unsigned char nonce[GATE_NONCE_BYTES]) {
    unsigned char text[GATE_KEY_TEXT_BYTES + sizeof KEY_SUFFIX - 1], digest[EVP_MAX_MD_SIZE];
    write_base64(nonce, GATE_NONCE_BYTES, upgrade->key);
    memcpy(text, upgrade->key, GATE_KEY_TEXT_BYTES);
    memcpy(text + GATE_KEY_TEXT_BYTES, KEY_SUFFIX, sizeof KEY_SUFFIX - 1);
    if (EVP_Digest(text, sizeof text, digest, NULL, EVP_sha1(), NULL) != 1) return GATE_ESYSTEM;
    write_base64(digest, 20, upgrade->accept);
    return GATE_OK;
}

bool gate_upgrade_compose(const struct gate_upgrade *upgrade, struct gate_pen *pen) {
    return gate_pen_header(pen, "Connection", GATE_SPAN("Upgrade")) &&
           gate_pen_header(pen, "Upgrade", GATE_SPAN("websocket")) &&
           gate_pen_header(pen, "Sec-WebSocket-Version", GATE_SPAN("13")) &&
           gate_pen_header(pen, "Sec-WebSocket-Key",
                           (struct gate_span){upgrade->key, GATE_KEY_TEXT_BYTES});
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static struct gate_span trim(struct gate_span text) {
    while (text.len && is_blank(text.data[0]))
        text = (struct gate_span){text.data + 1, text.len - 1};
    while (text.len && is_blank(text.data[text.len - 1])) text.len--;
    return text;
}

/* Words of these headers are the same in either case. */
static bool is_word(struct gate_span text, struct gate_span word) {
    text = trim(text);
    return text.len == word.len && strncasecmp(text.data, word.data, word.len) == 0;
}

/* RFC 9110, 5.6.1: words with commas between. */
static bool has_word(struct gate_span list, struct gate_span word) {
    while (list.len) {
        const char *comma = memchr(list.data, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.data) : list.len;
        if (is_word((struct gate_span){list.data, len}, word)) return true;
        size_t used = comma ? len + 1 : len;
        list = (struct gate_span){list.data + used, list.len - used};
    }
    return false;
}

const char *gate_upgrade_judge(const struct gate_upgrade *upgrade,
                               const struct gate_upgrade_answer *answer) {
    struct gate_span accept = trim(answer->accept);
    if (answer->status != 101) return "its HTTP status is not 101";
    if (!is_word(answer->upgrade, GATE_SPAN("websocket"))) return "its Upgrade is not websocket";
    if (!has_word(answer->connection, GATE_SPAN("Upgrade"))) return "its Connection is no Upgrade";
    if (accept.len != GATE_ACCEPT_TEXT_BYTES ||
        memcmp(accept.data, upgrade->accept, accept.len) != 0)
        return "its Sec-WebSocket-Accept belongs to another key";
    if (trim(answer->extensions).len) return "it grants an extension that was not offered";
    return trim(answer->protocol).len ? "it grants a subprotocol that was not offered" : NULL;
}

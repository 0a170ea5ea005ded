/* sandbox_tls.c - see sandbox_tls.h. The authority signs one certificate and its key is forgotten
 * at once, so trusting ca_file trusts this sandbox and nothing else. */
#include "sandbox_tls.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_S        86400L
#define LIFE_DAYS    30
#define LOOPBACK     "IP:127.0.0.1,IP:0:0:0:0:0:0:0:1,DNS:localhost"
#define SAN_BYTES    300 /* "DNS:" and the longest host name */
#define HOST_LEN_MAX 253 /* RFC 1035, 2.3.4 */

struct draft {
    X509 *certificate, *issuer;
    EVP_PKEY *key, *issuer_key;
    const char *common_name;
    bool expired;
};

static bool add_extension(const struct draft *draft, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, draft->issuer, draft->certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool done = extension && X509_add_ext(draft->certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return done;
}

static bool set_serial(X509 *certificate) {
    unsigned char bytes[8];
    if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return done;
}

static bool fill_draft(const struct draft *draft) {
    X509 *certificate = draft->certificate;
    X509_NAME *name = X509_get_subject_name(certificate);
    long from_s = draft->expired ? -3 * DAY_S : -DAY_S;
    long to_s = draft->expired ? -2 * DAY_S : LIFE_DAYS * DAY_S;
    return X509_set_version(certificate, 2) && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), from_s) &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), to_s) &&
           X509_set_pubkey(certificate, draft->key) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)draft->common_name, -1, -1, 0) &&
           X509_set_issuer_name(certificate, X509_get_subject_name(draft->issuer));
}

static bool sign(const struct draft *draft) {
    return X509_sign(draft->certificate, draft->issuer_key, EVP_sha256()) > 0;
}

static bool make_authority(X509 *certificate, EVP_PKEY *key) {
    struct draft draft = {certificate, certificate, key, key, "moongate sandbox authority", false};
    return fill_draft(&draft) && add_extension(&draft, NID_basic_constraints, "critical,CA:TRUE") &&
           add_extension(&draft, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(&draft, NID_subject_key_identifier, "hash") && sign(&draft);
}

static bool make_leaf(struct draft *draft, const char *names) {
    draft->common_name = "moongate sandbox";
    return fill_draft(draft) && add_extension(draft, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(draft, NID_key_usage, "critical,digitalSignature") &&
           add_extension(draft, NID_ext_key_usage, "serverAuth") &&
           add_extension(draft, NID_subject_key_identifier, "hash") &&
           add_extension(draft, NID_authority_key_identifier, "keyid") &&
           add_extension(draft, NID_subject_alt_name, names) && sign(draft);
}

static bool write_authority(X509 *certificate, char file[GATE_CA_FILE_BYTES]) {
    const char *place = getenv("TMPDIR");
    if (!place || !place[0]) place = "/tmp";
    int len = snprintf(file, GATE_CA_FILE_BYTES, "%s/moongate-ca-XXXXXX", place);
    int fd = len < GATE_CA_FILE_BYTES ? mkstemp(file) : -1;
    if (fd < 0) {
        if (len >= GATE_CA_FILE_BYTES) errno = ENAMETOOLONG;
        file[0] = '\0';
        return false;
    }
    BIO *out = BIO_new_fd(fd, BIO_CLOSE);
    bool done = out && PEM_write_bio_X509(out, certificate) == 1;
    if (out)
        BIO_free(out);
    else
        close(fd);
    if (done) return true;
    unlink(file);
    file[0] = '\0';
    return false;
}

static bool make_names(struct gate_span name, char names[SAN_BYTES]) {
    if (name.len > HOST_LEN_MAX) return false;
    if (name.len == 0)
        snprintf(names, SAN_BYTES, "%s", LOOPBACK);
    else
        snprintf(names, SAN_BYTES, "DNS:%.*s", (int)name.len, name.data);
    /* A comma or colon would be read as further names. */
    for (size_t i = 0; i < name.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*",
                    name.data[i]))
            return false;
    return true;
}

static SSL_CTX *make_context(const struct draft *leaf) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return NULL;
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
        SSL_CTX_use_certificate(context, leaf->certificate) == 1 &&
        SSL_CTX_use_PrivateKey(context, leaf->key) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *gate_tls_make(struct gate_span name, bool expired, char ca_file[GATE_CA_FILE_BYTES],
                       const char **why) {
    char names[SAN_BYTES];
    SSL_CTX *context = NULL;
    ca_file[0] = '\0';
    *why = "the certificate's name is no host name";
    if (!make_names(name, names)) return NULL;
    struct draft leaf = {.certificate = X509_new(), .expired = expired, .key = EVP_EC_gen("P-256")};
    leaf.issuer = X509_new();
    leaf.issuer_key = EVP_EC_gen("P-256");
    *why = "OpenSSL makes no certificate";
    if (leaf.certificate && leaf.key && leaf.issuer && leaf.issuer_key &&
        make_authority(leaf.issuer, leaf.issuer_key) && make_leaf(&leaf, names))
        context = make_context(&leaf);
    if (context && !write_authority(leaf.issuer, ca_file)) {
        *why = strerror(errno);
        SSL_CTX_free(context);
        context = NULL;
    }
    X509_free(leaf.certificate);
    X509_free(leaf.issuer);
    EVP_PKEY_free(leaf.key);
    EVP_PKEY_free(leaf.issuer_key);
    return context;
}

void gate_tls_free(SSL_CTX *context, const char *ca_file) {
    if (ca_file[0]) unlink(ca_file);
    SSL_CTX_free(context);
}

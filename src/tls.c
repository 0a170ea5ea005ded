/* tls.c - see tls.h.
 *
 * The SSL_CTX is our own because libwebsockets' has three faults that cannot be mended from
 * outside: it cuts the host name at 127 bytes and at the first colon, so that an IPv6 literal is
 * not checked at all; it sends numeric addresses as SNI, which RFC 6066 forbids; and it uses up the
 * error queue before anybody can read it. OpenSSL's info callback comes at the start of the
 * handshake, before the first byte is written, which is where name and SNI are set; and at each of
 * its steps, where the reason of a failure is still to be had. */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "ticket.h"

#define KEY_BYTES 1024 /* longer paths are not shared */

struct gate_tls {
    struct gate_tls *next; /* in the list, under its lock */
    size_t users;          /* likewise */
    SSL_CTX *context;
    struct gate_tickets tickets;
    char key[KEY_BYTES]; /* "": shared with nobody */
};

/* An SSL object does not say whose it is. But a thread has one transport, and OpenSSL calls back on
 * the thread that called it. */
static _Thread_local struct {
    gate_tls_find *find;
    void *owner;
} attendant;

void gate_tls_attend(gate_tls_find *find, void *owner) {
    attendant.find = find;
    attendant.owner = owner;
}

static void set_words(struct gate_tls_state *state, int error, const char *words) {
    state->error = error;
    snprintf(state->words, sizeof state->words, "%s", words);
}

/* Both sides of the name check: what the server is asked for, and what its certificate must say. */
static void bind_name(struct gate_tls_state *state, SSL *ssl) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* Without a name for SNI the one that libwebsockets has put there must go. */
    SSL_set_tlsext_host_name(ssl, NULL);
    if (state->literal) {
        X509_VERIFY_PARAM_set1_host(param, NULL, 0);
        state->bound = X509_VERIFY_PARAM_set1_ip_asc(param, state->host) == 1;
    } else {
        state->bound = X509_VERIFY_PARAM_set1_host(param, state->host, 0) == 1 &&
                       SSL_set_tlsext_host_name(ssl, state->host) == 1;
    }
}

/* Reasons that mean "this is no TLS": a plain HTTP server answers in plain text. */
static bool is_plain_text(int reason) {
    return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
           reason == SSL_R_PACKET_LENGTH_TOO_LONG;
}

static void note_failure(struct gate_tls_state *state) {
    unsigned long code = ERR_peek_last_error();
    if (state->error || code == 0) return;
    const char *words = ERR_reason_error_string(code);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && is_plain_text(ERR_GET_REASON(code)))
        words = "the server does not speak TLS on this port";
    set_words(state, GATE_ETLS, words ? words : "the handshake failed");
}

/* Warnings are left out: a handshake may go on after them. */
static void note_alert(struct gate_tls_state *state, int alert) {
    if (state->error || alert >> 8 != SSL3_AL_FATAL) return;
    /* The one alert that OpenSSL 3.0 sends and has no words for. */
    bool wants_ours = (alert & 0xff) == SSL_AD_CERTIFICATE_REQUIRED;
    const char *words = wants_ours ? "certificate required" : SSL_alert_desc_string_long(alert);
    state->error = GATE_ETLS;
    snprintf(state->words, sizeof state->words, "the server refused: %s", words);
}

static int settings_index = -1; /* of the settings, which hang on the SSL_CTX */

static struct gate_tls *settings_of(const SSL *ssl) {
    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), settings_index);
}

static struct gate_tls_state *find_state(SSL *ssl) {
    return attendant.find ? attendant.find(attendant.owner, ssl) : NULL;
}

static void watch_handshake(const SSL *watched, int where, int value) {
    SSL *ssl = (SSL *)(uintptr_t)watched;
    struct gate_tls_state *state = find_state(ssl);
    if (!state) return;
    /* With TLS 1.3 the server may refuse after our side of the handshake is done. */
    if (where == SSL_CB_READ_ALERT) note_alert(state, value);
    if (state->done) return;
    if (where & SSL_CB_HANDSHAKE_START) {
        bind_name(state, ssl);
        state->offered = gate_ticket_offer(&settings_of(ssl)->tickets, state->place, ssl);
    } else if (where & SSL_CB_HANDSHAKE_DONE) {
        state->done = true;
    } else if (where == SSL_CB_CONNECT_EXIT && value <= 0) {
        note_failure(state);
    }
    if (state->error && state->offered) gate_ticket_drop(&settings_of(ssl)->tickets, state->place);
}

/* With TLS 1.3 tickets come when the handshake is long over, as any message does. Returns that
 * OpenSSL's reference is its own. */
static int take_ticket(SSL *ssl, SSL_SESSION *session) {
    const struct gate_tls_state *state = find_state(ssl);
    if (state) gate_ticket_keep(&settings_of(ssl)->tickets, state->place, session);
    return 0;
}

/* ---- Certificates ---------------------------------------------------------------------------- */

/* OpenSSL's words name the fault, but not whose name was missing. */
static void note_certificate(struct gate_tls_state *state, int code, int depth) {
    const char *words = X509_verify_cert_error_string(code), *of = depth ? "of an issuer: " : "";
    state->error = GATE_ECERTIFICATE;
    if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH)
        snprintf(state->words, sizeof state->words, "it is not for %.100s (%s)", state->host,
                 words);
    else
        snprintf(state->words, sizeof state->words, "%s%s", of, words);
}

bool gate_tls_judge(struct gate_tls_state *state, void *store, bool ok) {
    if (state->insecure) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return true;
    }
    if (ok && state->bound) return true;
    if (ok) X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    if (!state->error)
        note_certificate(state, X509_STORE_CTX_get_error(store),
                         X509_STORE_CTX_get_error_depth(store));
    return false;
}

/* ---- Settings that are shared ---------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate_tls *all; /* under the lock */

static SSL_CTX *make_context(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    /* Idle connections give their 34 kB of record buffers back. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_info_callback(context, watch_handshake);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, take_ticket);
    return context;
}

/* The file that will be trusted, and which one it is: another one may come to its place. */
static void write_key(char key[KEY_BYTES], const char *ca_file, bool insecure) {
    const char *file = ca_file ? ca_file : getenv(X509_get_default_cert_file_env());
    const char *directory = ca_file ? NULL : getenv(X509_get_default_cert_dir_env());
    struct stat at = {.st_size = -1};
    if (!file) file = X509_get_default_cert_file();
    if (stat(file, &at) != 0) at.st_size = -1;
    int len =
        snprintf(key, KEY_BYTES, "%d %d %s %s %llu %llu %lld %lld", insecure, ca_file != NULL, file,
                 directory ? directory : "-", (unsigned long long)at.st_dev,
                 (unsigned long long)at.st_ino, (long long)at.st_size, (long long)at.st_mtime);
    if (len < 0 || len >= KEY_BYTES) key[0] = '\0';
}

/* With the lock held. NULL: there are none like that. */
static struct gate_tls *find_like(const char *key) {
    struct gate_tls *tls = all;
    while (tls && (key[0] == '\0' || strcmp(tls->key, key) != 0)) tls = tls->next;
    return tls;
}

static int load_trusted(SSL_CTX *context, const char *ca_file, const char **detail) {
    int loaded = ca_file ? SSL_CTX_load_verify_locations(context, ca_file, NULL)
                         : SSL_CTX_set_default_verify_paths(context);
    ERR_clear_error();
    if (loaded == 1 || !ca_file) return GATE_OK;
    *detail = "ca_file cannot be read or holds no PEM certificate";
    return GATE_ECERTIFICATE;
}

/* With the lock held. */
static bool hang_settings(SSL_CTX *context, struct gate_tls *tls) {
    if (settings_index < 0) settings_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return settings_index >= 0 && SSL_CTX_set_ex_data(context, settings_index, tls) == 1;
}

static void free_settings(struct gate_tls *tls) {
    SSL_CTX_free(tls->context);
    gate_tickets_free(&tls->tickets);
    gate_allocate(tls, 0);
}

/* With the lock held. */
static struct gate_tls *make_settings(const char *key, const char *ca_file, int *error,
                                      const char **detail) {
    struct gate_tls *tls = gate_allocate(NULL, sizeof *tls);
    *error = GATE_EMEMORY;
    *detail = gate_error_text(GATE_EMEMORY);
    if (!tls) return NULL;
    *tls = (struct gate_tls){.next = all};
    memcpy(tls->key, key, KEY_BYTES);
    if (gate_tickets_init(&tls->tickets) < 0) {
        gate_allocate(tls, 0);
        return NULL;
    }
    *detail = "no TLS context to be had";
    tls->context = make_context();
    if (tls->context && hang_settings(tls->context, tls))
        *error = load_trusted(tls->context, ca_file, detail);
    if (*error < 0) {
        free_settings(tls);
        return NULL;
    }
    all = tls;
    return tls;
}

struct gate_tls *gate_tls_open(const char *ca_file, bool insecure, int *error,
                               const char **detail) {
    char key[KEY_BYTES] = "";
    write_key(key, ca_file, insecure);
    pthread_mutex_lock(&lock);
    struct gate_tls *tls = find_like(key);
    if (!tls) tls = make_settings(key, ca_file, error, detail);
    if (tls) tls->users++;
    pthread_mutex_unlock(&lock);
    return tls;
}

void gate_tls_close(struct gate_tls *tls) {
    if (!tls) return;
    pthread_mutex_lock(&lock);
    bool last = --tls->users == 0;
    struct gate_tls **at = &all;
    while (last && *at && *at != tls) at = &(*at)->next;
    if (last && *at) *at = tls->next;
    pthread_mutex_unlock(&lock);
    if (!last) return;
    free_settings(tls);
}

void *gate_tls_context(const struct gate_tls *tls) {
    return tls->context;
}

/* The list is left to the parent's memory: a thread may have been changing it. */
void gate_tls_forget(void) {
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh;
    all = NULL;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

int64_t gate_tls_write(void *ssl, struct gate_span bytes) {
    size_t written = 0;
    ERR_clear_error();
    if (SSL_write_ex(ssl, bytes.data, bytes.len, &written) == 1) return (int64_t)written;
    int reason = SSL_get_error(ssl, 0);
    ERR_clear_error();
    return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

int gate_tls_random(unsigned char *out, size_t len) {
    return RAND_bytes(out, (int)len) == 1 ? GATE_OK : GATE_ESYSTEM;
}

int gate_tls_fingerprint(struct gate_span secret, char out[GATE_FINGERPRINT_TEXT_MAX]) {
    static const char hex[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(secret.data, secret.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return GATE_EMEMORY;
    for (int i = 0; i < (GATE_FINGERPRINT_TEXT_MAX - 1) / 2; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[GATE_FINGERPRINT_TEXT_MAX - 1] = '\0';
    return GATE_OK;
}

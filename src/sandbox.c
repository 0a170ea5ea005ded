/* sandbox.c - a sandbox's birth and death, and what its other files share; see sandbox.h. */
#include "sandbox.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sandbox_guild.h"
#include "sandbox_http.h"
#include "sandbox_instead.h"
#include "sandbox_loop.h"
#include "sandbox_port.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define LOG_TEXT_BYTES 400      /* one line */
#define DAY_MS         86400000 /* session starts are counted in such windows */

/* ---- What the files share ----------------------------------------------------------------------
 */

/* splitmix64: one word of state, and every seed is a good one. */
uint64_t gate_sandbox_random(struct gate_sandbox *sandbox) {
    uint64_t z = sandbox->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t gate_sandbox_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t gate_sandbox_wall_ms(const struct gate_sandbox *sandbox) {
    struct timespec now;
    if (sandbox->options.time_ms) return sandbox->options.time_ms + sandbox->options.clock_skew_ms;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + sandbox->options.clock_skew_ms;
}

/* strftime would speak the language of the process. */
struct gate_span gate_sandbox_date(const struct gate_sandbox *sandbox,
                                   char out[GATE_SANDBOX_DATE_BYTES]) {
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(gate_sandbox_wall_ms(sandbox) / 1000);
    struct tm at;
    if (!gmtime_r(&seconds, &at)) return (struct gate_span){"", 0};
    int len = snprintf(out, GATE_SANDBOX_DATE_BYTES, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                       days + at.tm_wday * 3, at.tm_mday, months + at.tm_mon * 3, at.tm_year + 1900,
                       at.tm_hour, at.tm_min, at.tm_sec);
    return (struct gate_span){out, (size_t)len};
}

void gate_sandbox_log(struct gate_sandbox *sandbox, const struct gate_link *link, const char *what,
                      const char *format, ...) {
    char text[LOG_TEXT_BYTES];
    struct gate_buf note;
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    gate_buf_init(&note, 0, 0);
    struct gate_blank whom = gate_raw_blank((struct gate_span){NULL, 0});
    if (link && link->id > 0) whom = gate_integer_blank(link->id);
    int rc = GATE_FILL(&note, "{'at_ms':$,'connection':$,'what':$,'text':$}",
                       gate_integer_blank(gate_sandbox_now()), whom, gate_string_blank(what),
                       gate_string_blank(text));
    if (rc == GATE_OK) gate_journal_add(&sandbox->log, 0, gate_buf_span(&note));
    gate_buf_free(&note);
    gate_loop_changed();
}

static struct gate_span write_url(const struct gate_sandbox *sandbox, const char *scheme, int port,
                                  char out[GATE_SANDBOX_URL_BYTES]) {
    int len = snprintf(out, GATE_SANDBOX_URL_BYTES, "%s%s://127.0.0.1:%d", scheme,
                       sandbox->tls ? "s" : "", port);
    return (struct gate_span){out, (size_t)len};
}

struct gate_span gate_sandbox_url(const struct gate_sandbox *sandbox, bool web,
                                  char out[GATE_SANDBOX_URL_BYTES]) {
    return write_url(sandbox, web ? "http" : "ws", sandbox->port, out);
}

struct gate_span gate_sandbox_resume_url(const struct gate_sandbox *sandbox,
                                         char out[GATE_SANDBOX_URL_BYTES]) {
    return write_url(sandbox, "ws", sandbox->resume_port, out);
}

int64_t gate_sandbox_starts_left(struct gate_sandbox *sandbox, int64_t now_ms, int64_t *reset_ms) {
    if (now_ms >= sandbox->starts_reset_ms) {
        sandbox->starts_used = 0;
        sandbox->starts_reset_ms = now_ms + DAY_MS;
    }
    *reset_ms = sandbox->starts_reset_ms - now_ms;
    int64_t left = sandbox->options.starts_total - sandbox->starts_used;
    return left > 0 ? left : 0;
}

/* ---- Starting ----------------------------------------------------------------------------------
 */

static int keep_words(struct gate_sandbox *sandbox) {
    struct gate_sandbox_options *options = &sandbox->options;
    struct gate_span *spans[] = {&options->token,
                                 &options->user,
                                 &options->user_id,
                                 &options->username,
                                 &options->certificate_name,
                                 &options->resume_path};
    size_t count = sizeof spans / sizeof spans[0];
    int rc = gate_buf_reserve(&sandbox->words, 1);
    for (size_t i = 0; i < count && rc == GATE_OK; i++)
        rc = gate_buf_append(&sandbox->words, *spans[i]);
    const char *at = sandbox->words.data;
    for (size_t i = 0; i < count && rc == GATE_OK; i++) {
        spans[i]->data = at;
        at += spans[i]->len;
    }
    return rc;
}

static void *make_array(size_t count, size_t bytes) {
    void *array = gate_allocate(NULL, count * bytes + 1);
    if (array) memset(array, 0, count * bytes + 1);
    return array;
}

static void init_journal(struct gate_journal *journal, const struct gate_sandbox_options *options) {
    journal->count_max = options->record_max;
    journal->bytes_max = options->record_bytes_max;
}

/* The sandbox is in nobody else's hands any more. */
static void free_sandbox(struct gate_sandbox *sandbox) {
    gate_http_forget(sandbox);
    gate_seats_forget(sandbox);
    gate_instead_forget(sandbox);
    gate_interactions_forget(sandbox);
    gate_archive_clear(&sandbox->archive);
    gate_journal_clear(&sandbox->received);
    gate_journal_clear(&sandbox->log);
    gate_journal_clear(&sandbox->requests);
    gate_journal_clear(&sandbox->history);
    if (sandbox->tls) gate_tls_free(sandbox->tls, sandbox->ca_file);
    gate_allocate(sandbox->guilds, 0);
    gate_allocate(sandbox->slot_ms, 0);
    gate_buf_wipe(&sandbox->words);
    gate_buf_free(&sandbox->words);
    gate_allocate(sandbox, 0);
}

static struct gate_sandbox *make_sandbox(const struct gate_sandbox_options *options) {
    struct gate_sandbox *sandbox = gate_allocate(NULL, sizeof *sandbox);
    if (!sandbox) return NULL;
    *sandbox = (struct gate_sandbox){.options = *options, .fd = -1, .resume_fd = -1};
    sandbox->process = (int64_t)getpid();
    sandbox->random = (uint64_t)options->seed;
    gate_buf_init(&sandbox->words, 0, 0);
    init_journal(&sandbox->received, options);
    init_journal(&sandbox->log, options);
    init_journal(&sandbox->requests, options);
    init_journal(&sandbox->history, options);
    sandbox->guilds = make_array((size_t)options->guilds, sizeof *sandbox->guilds);
    sandbox->slot_ms = make_array((size_t)options->max_concurrency, sizeof *sandbox->slot_ms);
    sandbox->starts_used = options->starts_total - options->starts_remaining;
    sandbox->starts_reset_ms = gate_sandbox_now() + options->starts_reset_ms;
    if (keep_words(sandbox) == GATE_OK && sandbox->guilds && sandbox->slot_ms) {
        gate_guilds_make(sandbox);
        return sandbox;
    }
    free_sandbox(sandbox);
    return NULL;
}

static int open_sandbox(struct gate_sandbox *sandbox, char why[GATE_SANDBOX_WHY_BYTES]) {
    const struct gate_sandbox_options *options = &sandbox->options;
    const char *reason = NULL;
    if (options->tls) {
        sandbox->tls = gate_tls_make(options->certificate_name, options->certificate_expired,
                                     sandbox->ca_file, &reason);
        if (!sandbox->tls) {
            snprintf(why, GATE_SANDBOX_WHY_BYTES,
                     "start: no certificate: %s; is $TMPDIR a directory that can be written?",
                     reason);
            return GATE_ECERTIFICATE;
        }
    }
    if (!gate_port_open(sandbox)) {
        snprintf(why, GATE_SANDBOX_WHY_BYTES,
                 "start: port %d: %s; leave the port out, and a free one is chosen", options->port,
                 strerror(errno));
        return GATE_ESYSTEM;
    }
    int rc = gate_loop_enter(sandbox);
    if (rc < 0) {
        snprintf(why, GATE_SANDBOX_WHY_BYTES, "start: the server's thread: %s",
                 gate_error_text(rc));
        gate_port_close(sandbox);
    }
    return rc;
}

int gate_sandbox_start(const struct gate_sandbox_options *options, struct gate_sandbox **out,
                       char why[GATE_SANDBOX_WHY_BYTES]) {
    struct gate_sandbox *sandbox = make_sandbox(options);
    if (!sandbox) {
        snprintf(why, GATE_SANDBOX_WHY_BYTES, "start: %s", gate_error_text(GATE_EMEMORY));
        return GATE_EMEMORY;
    }
    int rc = open_sandbox(sandbox, why);
    if (rc == GATE_OK)
        *out = sandbox;
    else
        free_sandbox(sandbox);
    return rc;
}

/* In the child of a fork the file and the thread are the parent's; only memory would be left to
 * free, and parts of it may have been in use. */
void gate_sandbox_stop(struct gate_sandbox *sandbox) {
    if (!gate_loop_owns(sandbox)) return;
    gate_loop_leave(sandbox);
    gate_loop_lock();
    while (sandbox->seats) gate_seat_end(sandbox->seats);
    gate_loop_unlock();
    free_sandbox(sandbox);
}

int gate_sandbox_port(const struct gate_sandbox *sandbox) {
    return sandbox->port;
}

int gate_sandbox_resume_port(const struct gate_sandbox *sandbox) {
    return sandbox->resume_port;
}

const char *gate_sandbox_ca_file(const struct gate_sandbox *sandbox) {
    return sandbox->ca_file;
}

/* ---- Smaller requests --------------------------------------------------------------------------
 */

int gate_sandbox_respond(struct gate_sandbox *sandbox, const struct gate_sandbox_answer *answer) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int rc = gate_http_script(sandbox, answer);
    gate_loop_unlock();
    return rc;
}

int gate_sandbox_instead(struct gate_sandbox *sandbox, const struct gate_sandbox_instead *instead) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int rc = gate_instead_keep(sandbox, instead);
    gate_loop_unlock();
    return rc;
}

void gate_sandbox_forget(struct gate_sandbox *sandbox) {
    if (!gate_loop_owns(sandbox)) return;
    gate_loop_lock();
    gate_journal_clear(&sandbox->received);
    gate_journal_clear(&sandbox->log);
    gate_journal_clear(&sandbox->requests);
    gate_journal_clear(&sandbox->history);
    gate_loop_changed();
    gate_loop_unlock();
}

uint64_t gate_sandbox_changes(struct gate_sandbox *sandbox) {
    return gate_loop_owns(sandbox) ? gate_loop_changes() : 0;
}

uint64_t gate_sandbox_wait(struct gate_sandbox *sandbox, uint64_t seen, int64_t timeout_ms) {
    return gate_loop_owns(sandbox) ? gate_loop_wait(seen, timeout_ms) : seen;
}

/* sandbox_seat.c - see sandbox_seat.h. */
#include "sandbox_seat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sandbox_intents.h"
#include "sandbox_loop.h"
#include "sandbox_state.h"

#define SEATS_AWAY_MAX 4096 /* sessions waiting for a resume; the oldest goes first */

/* An event as it was told to however many sessions; each has it with a number of its own. */
struct gate_words {
    size_t refs;
    size_t name_len, data_len;
    char bytes[];
};

struct gate_telling {
    struct gate_telling *next;
    int64_t seq;
    struct gate_words *words;
};

/* ---- Making and ending -------------------------------------------------------------------------
 */

/* Ids are random, so that their first digits spread them. */
static struct gate_seat **find_bucket(struct gate_sandbox *sandbox, const char *id) {
    unsigned mixed = (unsigned char)id[0] * 31u + (unsigned char)id[1];
    return &sandbox->seats_by_id[mixed % GATE_SEAT_BUCKETS];
}

struct gate_seat *gate_seat_new(struct gate_link *link, const struct gate_claim *claim) {
    struct gate_sandbox *sandbox = link->sandbox;
    struct gate_seat *seat = gate_allocate(NULL, sizeof *seat);
    if (!seat) return NULL;
    *seat = (struct gate_seat){.sandbox = sandbox, .link = link, .claim = *claim};
    gate_buf_init(&seat->manner, 0, 0);
    if (gate_buf_append(&seat->manner, gate_buf_span(&link->query)) < 0) {
        gate_allocate(seat, 0);
        return NULL;
    }
    uint64_t high = gate_sandbox_random(sandbox), low = gate_sandbox_random(sandbox);
    snprintf(seat->id, sizeof seat->id, "%016" PRIx64 "%016" PRIx64, high, low);
    struct gate_seat **bucket = find_bucket(sandbox, seat->id);
    seat->next_of_bucket = *bucket;
    *bucket = seat;
    seat->expires_ms = GATE_NEVER_MS;
    seat->previous = sandbox->last_seat;
    if (seat->previous)
        seat->previous->next = seat;
    else
        sandbox->seats = seat;
    sandbox->last_seat = seat;
    link->seat = seat;
    return seat;
}

struct gate_seat *gate_seat_find(struct gate_sandbox *sandbox, struct gate_span id) {
    if (id.len != GATE_SEAT_ID_BYTES - 1) return NULL;
    struct gate_seat *seat = *find_bucket(sandbox, id.data);
    while (seat && memcmp(id.data, seat->id, id.len) != 0) seat = seat->next_of_bucket;
    return seat;
}

/* The window is the same for all, so whoever left first expires first. */
static void join_away(struct gate_seat *seat) {
    struct gate_sandbox *sandbox = seat->sandbox;
    seat->next_away = NULL;
    seat->previous_away = sandbox->last_away;
    if (seat->previous_away)
        seat->previous_away->next_away = seat;
    else
        sandbox->first_away = seat;
    sandbox->last_away = seat;
    sandbox->seats_away++;
}

static void leave_away(struct gate_seat *seat) {
    struct gate_sandbox *sandbox = seat->sandbox;
    if (seat->previous_away)
        seat->previous_away->next_away = seat->next_away;
    else
        sandbox->first_away = seat->next_away;
    if (seat->next_away)
        seat->next_away->previous_away = seat->previous_away;
    else
        sandbox->last_away = seat->previous_away;
    sandbox->seats_away--;
}

static void release_words(struct gate_words *words) {
    if (words && --words->refs == 0) gate_allocate(words, 0);
}

void gate_seats_forget(struct gate_sandbox *sandbox) {
    release_words(sandbox->words_of_last);
    sandbox->words_of_last = NULL;
}

static void forget_first(struct gate_seat *seat) {
    struct gate_telling *telling = seat->first;
    seat->first = telling->next;
    if (!seat->first) seat->last = NULL;
    seat->forgotten = telling->seq;
    seat->tellings--;
    seat->telling_bytes -= telling->words->name_len + telling->words->data_len;
    release_words(telling->words);
    gate_allocate(telling, 0);
}

void gate_seat_end(struct gate_seat *seat) {
    struct gate_sandbox *sandbox = seat->sandbox;
    if (seat->previous)
        seat->previous->next = seat->next;
    else
        sandbox->seats = seat->next;
    if (seat->next)
        seat->next->previous = seat->previous;
    else
        sandbox->last_seat = seat->previous;
    struct gate_seat **place = find_bucket(sandbox, seat->id);
    while (*place != seat) place = &(*place)->next_of_bucket;
    *place = seat->next_of_bucket;
    if (seat->link) {
        seat->link->seat = NULL;
        seat->link->identified = seat->link->ready_sent = false;
    } else {
        leave_away(seat);
    }
    while (seat->first) forget_first(seat);
    gate_buf_free(&seat->manner);
    gate_allocate(seat, 0);
    gate_loop_changed();
}

void gate_seat_leave(struct gate_seat *seat) {
    if (!seat->link) return;
    seat->link->seat = NULL;
    seat->link->identified = seat->link->ready_sent = false;
    seat->link = NULL;
    join_away(seat);
    seat->expires_ms = gate_sandbox_now() + seat->sandbox->options.resume_window_ms;
    gate_loop_changed();
    if (seat->sandbox->seats_away > SEATS_AWAY_MAX) gate_seat_end(seat->sandbox->first_away);
}

void gate_seat_return(struct gate_seat *seat, struct gate_link *link) {
    leave_away(seat);
    seat->link = link;
    seat->expires_ms = GATE_NEVER_MS;
    link->seat = seat;
    link->identified = link->ready_sent = true;
}

void gate_seats_tick(struct gate_sandbox *sandbox, int64_t now_ms) {
    while (gate_seats_due(sandbox) <= now_ms) {
        gate_sandbox_log(sandbox, NULL, "expire", "session %s", sandbox->first_away->id);
        gate_seat_end(sandbox->first_away);
    }
}

int64_t gate_seats_due(const struct gate_sandbox *sandbox) {
    return sandbox->first_away ? sandbox->first_away->expires_ms : GATE_NEVER_MS;
}

/* ---- Telling -----------------------------------------------------------------------------------
 */

static void send_event(struct gate_seat *seat, int64_t seq, struct gate_span name,
                       struct gate_span data) {
    struct gate_buf message;
    if (!seat->link || !seat->link->ready_sent) return;
    gate_buf_init(&message, 0, 0);
    int rc = GATE_FILL(&message, "{'t':$,'s':$,'op':0,'d':$}", gate_text_blank(name),
                       gate_integer_blank(seq), gate_raw_blank(data));
    if (rc == GATE_OK)
        gate_link_send(seat->link, gate_buf_span(&message));
    else
        gate_link_ask_drop(seat->link, true);
    gate_buf_free(&message);
}

/* Without memory the event is lost for a resume, which then is refused as too old. */
static bool is_of(const struct gate_words *words, struct gate_span name, struct gate_span data) {
    if (words->name_len != name.len || words->data_len != data.len) return false;
    if (name.len > 0 && memcmp(words->bytes, name.data, name.len) != 0) return false;
    return data.len == 0 || memcmp(words->bytes + name.len, data.data, data.len) == 0;
}

/* One copy for all sessions that hear the same one after the other. */
static struct gate_words *share_words(struct gate_sandbox *sandbox, struct gate_span name,
                                      struct gate_span data) {
    struct gate_words *words = sandbox->words_of_last;
    if (!words || !is_of(words, name, data)) {
        words = gate_allocate(NULL, sizeof *words + name.len + data.len);
        if (!words) return NULL;
        *words = (struct gate_words){1, name.len, data.len};
        if (name.len > 0) memcpy(words->bytes, name.data, name.len);
        if (data.len > 0) memcpy(words->bytes + name.len, data.data, data.len);
        release_words(sandbox->words_of_last);
        sandbox->words_of_last = words;
    }
    words->refs++;
    return words;
}

static void keep_event(struct gate_seat *seat, struct gate_span name, struct gate_span data) {
    struct gate_words *words = share_words(seat->sandbox, name, data);
    struct gate_telling *telling = words ? gate_allocate(NULL, sizeof *telling) : NULL;
    if (!telling) {
        release_words(words);
        while (seat->first) forget_first(seat);
        seat->forgotten = seat->seq;
        return;
    }
    *telling = (struct gate_telling){NULL, seat->seq, words};
    if (seat->last)
        seat->last->next = telling;
    else
        seat->first = telling;
    seat->last = telling;
    seat->tellings++;
    seat->telling_bytes += name.len + data.len;
    const struct gate_sandbox_options *options = &seat->sandbox->options;
    while (seat->first && (seat->tellings > options->replay_events_max ||
                           seat->telling_bytes > options->replay_bytes_max))
        forget_first(seat);
}

void gate_seat_tell(struct gate_seat *seat, struct gate_span name, struct gate_span data) {
    seat->seq++;
    keep_event(seat, name, data);
    send_event(seat, seat->seq, name, data);
}

void gate_seat_mention(struct gate_seat *seat, struct gate_span name, struct gate_span data) {
    seat->seq++;
    send_event(seat, seat->seq, name, data);
}

void gate_seat_replay(struct gate_seat *seat, int64_t seq) {
    for (const struct gate_telling *telling = seat->first; telling; telling = telling->next) {
        if (telling->seq <= seq) continue;
        const struct gate_words *words = telling->words;
        struct gate_span name = {words->bytes, words->name_len};
        send_event(seat, telling->seq, name,
                   (struct gate_span){words->bytes + words->name_len, words->data_len});
    }
}

/* Sharding routes by the guild; what belongs to no guild goes to shard 0. An event that may be of
 * either kind needs one of its intents, unless it is said to be direct. */
bool gate_seat_wants(const struct gate_seat *seat, const struct gate_news *news) {
    const struct gate_claim *claim = &seat->claim;
    uint64_t shard = news->guild_id ? (news->guild_id >> 22) % (uint64_t)claim->shard_count : 0;
    if ((int64_t)shard != claim->shard_id) return false;
    const struct gate_event_rule *rule = gate_event_rule(news->name);
    if ((rule->guild | rule->direct) == 0 || news->about_bot) return true;
    uint32_t bits = news->guild_id ? rule->guild : rule->guild | rule->direct;
    if (news->direct) bits = rule->direct;
    return (bits & (uint64_t)claim->intents) != 0;
}

/* sandbox_identify.c - op 2 and op 6 as the server takes them; see sandbox_gateway.h.
 * The order of the checks is the order in which a mistake is told: token, shape, shard, intents,
 * limits. */
#include <inttypes.h>
#include <string.h>

#include "sandbox_gateway.h"
#include "sandbox_guild.h"
#include "sandbox_instead.h"
#include "sandbox_intents.h"
#include "sandbox_loop.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define LARGE_THRESHOLD_MAX 250
#define SHARD_GUILDS_MAX    2500 /* Discord: 4011 above it */
#define WINDOW_MS           5000 /* Discord: one identify a key in this time */
#define IDENTIFY_FIELDS     6    /* that this server looks at */

/* Eris sends the prefix of REST along, so the service tolerates it. */
static bool is_token(const struct gate_link *link, const struct gate_field *field) {
    struct gate_span wanted = link->sandbox->options.token, given = field->text;
    if (field->kind != GATE_FIELD_TEXT) return false;
    if (given.len > 4 && memcmp(given.data, "Bot ", 4) == 0) {
        given.data += 4;
        given.len -= 4;
    }
    return given.len == wanted.len && memcmp(given.data, wanted.data, wanted.len) == 0;
}

/* ---- Identify ----------------------------------------------------------------------------------
 */

/* [id, count] with 0 <= id < count. */
static bool read_shard(const struct gate_field *field, struct gate_claim *claim) {
    claim->shard_id = 0;
    claim->shard_count = 1;
    claim->sharded = field->kind != GATE_FIELD_ABSENT && field->kind != GATE_FIELD_NULL;
    if (!claim->sharded) return true;
    if (field->kind != GATE_FIELD_LIST || !field->integers || field->items != 2) return false;
    struct gate_span id = gate_span_of(field->text.data);
    uint64_t count = gate_id_read(gate_span_of(id.data + id.len + 1));
    claim->shard_id = (int64_t)gate_id_read(id);
    claim->shard_count = (int64_t)count;
    bool is_number = claim->shard_id > 0 || strcmp(id.data, "0") == 0;
    return is_number && count > 0 && count <= INT32_MAX && claim->shard_id < claim->shard_count;
}

/* What happens to one outside of what is documented is not; it is taken for the nearest. */
static int read_threshold(const struct gate_field *field) {
    if (field->kind != GATE_FIELD_INTEGER || field->integer < GATE_LARGE_THRESHOLD)
        return GATE_LARGE_THRESHOLD;
    return field->integer < LARGE_THRESHOLD_MAX ? (int)field->integer : LARGE_THRESHOLD_MAX;
}

static int64_t count_guilds(const struct gate_sandbox *sandbox, const struct gate_claim *claim) {
    int64_t guilds = 0;
    for (int i = 0; i < sandbox->options.guilds; i++)
        if ((int64_t)((sandbox->guilds[i].id >> 22) % (uint64_t)claim->shard_count) ==
            claim->shard_id)
            guilds++;
    return guilds;
}

/* The first reason to refuse an Identify: a close code and words, or 0. */
static int judge_identify(const struct gate_link *link, const struct gate_field *fields,
                          struct gate_claim *claim, const char **words) {
    const struct gate_field *token = &fields[0], *properties = &fields[1];
    const struct gate_field *intents = &fields[2], *shard = &fields[3];
    claim->payload = fields[4].kind == GATE_FIELD_BOOLEAN && fields[4].integer != 0;
    claim->large_threshold = read_threshold(&fields[5]);
    *words = "The data of an Identify is an object with token, properties and intents.";
    if (token->kind != GATE_FIELD_TEXT) return 4001;
    *words = "Authentication failed.";
    if (!is_token(link, token)) return 4004;
    *words = "An Identify needs properties.";
    if (properties->kind != GATE_FIELD_MAP) return 4001;
    *words = "Invalid shard.";
    if (!read_shard(shard, claim)) return 4010;
    *words = "Sharding required.";
    if (count_guilds(link->sandbox, claim) > SHARD_GUILDS_MAX) return 4011;
    *words = "Invalid intent(s).";
    if (intents->kind != GATE_FIELD_INTEGER || intents->integer & ~GATE_INTENTS_KNOWN) return 4013;
    claim->intents = intents->integer;
    *words = "Disallowed intent(s).";
    return claim->intents & link->sandbox->options.disallowed_intents ? 4014 : 0;
}

/* Takes one of the starts of the day and the slot of the shard's key; words when there is none.
 * Only an accepted Identify takes them. */
static const char *take_start(struct gate_sandbox *sandbox, const struct gate_claim *claim) {
    int64_t now_ms = gate_sandbox_now(), reset_ms;
    int64_t *slot_ms = &sandbox->slot_ms[claim->shard_id % sandbox->options.max_concurrency];
    int64_t left = gate_sandbox_starts_left(sandbox, now_ms, &reset_ms);
    if (sandbox->options.limits) {
        if (left <= 0) return "no session starts are left";
        if (*slot_ms && now_ms - *slot_ms < WINDOW_MS)
            return "another shard of this key identified less than 5 s ago";
    }
    *slot_ms = now_ms;
    sandbox->starts_used++;
    return NULL;
}

static int read_identify(struct gate_span data, struct gate_field fields[IDENTIFY_FIELDS],
                         struct gate_buf *texts) {
    static const char *const keys[] = {"token", "properties", "intents",
                                       "shard", "compress",   "large_threshold"};
    for (size_t i = 0; i < IDENTIFY_FIELDS; i++) fields[i] = (struct gate_field){.key = keys[i]};
    return gate_fields_read(data, fields, IDENTIFY_FIELDS, texts);
}

void gate_identify_take(struct gate_link *link, struct gate_span data) {
    struct gate_field fields[IDENTIFY_FIELDS];
    struct gate_claim claim;
    struct gate_buf texts;
    const char *words = "Already authenticated.";
    if (link->identified) {
        gate_gateway_refuse(link, 4005, words);
        return;
    }
    gate_buf_init(&texts, 0, 0);
    int code = read_identify(data, fields, &texts) < 0 ? 4002 : 0;
    if (!code) code = judge_identify(link, fields, &claim, &words);
    gate_buf_wipe(&texts);
    gate_buf_free(&texts);
    if (code) {
        gate_gateway_refuse(link, code, words);
        return;
    }
    words = take_start(link->sandbox, &claim);
    if (words) {
        gate_sandbox_log(link->sandbox, link, "refuse", "identify: %s", words);
        gate_gateway_invalidate(link, false);
        return;
    }
    link->identified = true;
    if (gate_buf_append(&link->identify, data) < 0)
        gate_link_ask_drop(link, true);
    else if (!(link->knobs.stalls & GATE_STALL_READY))
        gate_identify_finish(link);
}

/* ---- READY -------------------------------------------------------------------------------------
 */

/* The arrays that nobody documents are there because clients walk them without asking. */
static const char ready_form[] =
    "{'v':$,'user':$,'guilds':[$],'session_id':$,'resume_gateway_url':$,$"
    "'application':{'id':$,'flags':565248},'session_type':'normal','user_settings':{},"
    "'relationships':[],'private_channels':[],'presences':[],'guild_join_requests':[],"
    "'game_relationships':[],'geo_ordered_rtc_regions':['rotterdam','frankfurt'],'auth':{},"
    "'_trace':['[\\'moongate-sandbox\\',{}]']}";

static bool is_of_shard(const struct gate_guild *guild, const struct gate_claim *claim) {
    return (int64_t)((guild->id >> 22) % (uint64_t)claim->shard_count) == claim->shard_id;
}

static int list_guilds(const struct gate_seat *seat, struct gate_buf *out) {
    const struct gate_sandbox *sandbox = seat->sandbox;
    int rc = GATE_OK;
    for (int i = 0; i < sandbox->options.guilds && rc == GATE_OK; i++) {
        char id[GATE_ID_BYTES];
        if (!is_of_shard(&sandbox->guilds[i], &seat->claim)) continue;
        rc = GATE_FILL(
            out, out->len ? ",{'id':'$','unavailable':true}" : "{'id':'$','unavailable':true}",
            gate_raw_blank(gate_id_text(sandbox->guilds[i].id, id)));
    }
    return rc;
}

static int name_resume_url(const struct gate_sandbox *sandbox, struct gate_buf *out) {
    char url[GATE_SANDBOX_URL_BYTES];
    int rc = gate_buf_append(out, gate_sandbox_resume_url(sandbox, url));
    return rc < 0 ? rc : gate_buf_append(out, sandbox->options.resume_path);
}

static int fill_ready(const struct gate_seat *seat, struct gate_buf *out) {
    const struct gate_sandbox_options *options = &seat->sandbox->options;
    struct gate_buf guilds, url, shard;
    gate_buf_init(&guilds, 0, 0);
    gate_buf_init(&url, 0, 0);
    gate_buf_init(&shard, 0, 0);
    int rc = gate_buf_append(&guilds, GATE_SPAN(""));
    if (rc == GATE_OK) rc = list_guilds(seat, &guilds);
    if (rc == GATE_OK) rc = name_resume_url(seat->sandbox, &url);
    if (rc == GATE_OK) rc = gate_buf_reserve(&shard, 1);
    if (rc == GATE_OK && seat->claim.sharded)
        rc = GATE_FILL(&shard, "'shard':[$,$],", gate_integer_blank(seat->claim.shard_id),
                       gate_integer_blank(seat->claim.shard_count));
    if (rc == GATE_OK)
        rc = GATE_FILL(out, ready_form, gate_integer_blank(seat->link->version),
                       gate_raw_blank(options->user), gate_raw_blank(gate_buf_span(&guilds)),
                       gate_string_blank(seat->id), gate_text_blank(gate_buf_span(&url)),
                       gate_raw_blank(gate_buf_span(&shard)), gate_text_blank(options->user_id));
    gate_buf_free(&guilds);
    gate_buf_free(&url);
    gate_buf_free(&shard);
    return rc;
}

void gate_identify_guilds(struct gate_link *link) {
    struct gate_seat *seat = link->seat;
    struct gate_buf data;
    if (!link->guilds_held || !seat) return;
    link->guilds_held = false;
    gate_buf_init(&data, 0, 0);
    const struct gate_guild_view view = {
        .everybody = (seat->claim.intents & GATE_INTENT_PRESENCE) != 0,
        .large_threshold = seat->claim.large_threshold,
    };
    for (int i = 0; i < seat->sandbox->options.guilds; i++) {
        uint64_t id = seat->sandbox->guilds[i].id;
        if (!is_of_shard(&seat->sandbox->guilds[i], &seat->claim)) continue;
        gate_buf_clear(&data, GATE_KEEP_BYTES_MAX);
        if (gate_guild_describe(seat->sandbox, id, &view, &data) == GATE_OK)
            gate_seat_tell(seat, GATE_SPAN("GUILD_CREATE"), gate_buf_span(&data));
    }
    gate_buf_free(&data);
}

/* What the session brings along. It stays known after the connection has lost it. Compression of
 * the transport wins over that of payloads. */
static void remember_seat(struct gate_link *link) {
    if (link->seat->claim.payload && !link->compression->binary && !link->encoding->binary)
        link->compression = &gate_sandbox_payload_compression;
    memcpy(link->session, link->seat->id, sizeof link->session);
    link->shard_id = link->seat->claim.shard_id;
    link->shard_count = link->seat->claim.shard_count;
}

/* The checks have passed already; a held READY is made from the data as it was sent. */
void gate_identify_finish(struct gate_link *link) {
    struct gate_field fields[IDENTIFY_FIELDS];
    struct gate_claim claim;
    struct gate_buf texts, data;
    const char *words;
    if (gate_instead_play(link, GATE_PHASE_READY)) {
        gate_buf_wipe(&link->identify);
        gate_buf_clear(&link->identify, 0);
        return;
    }
    gate_buf_init(&texts, 0, 0);
    gate_buf_init(&data, 0, 0);
    int rc = read_identify(gate_buf_span(&link->identify), fields, &texts);
    if (rc == GATE_OK && judge_identify(link, fields, &claim, &words) != 0) rc = GATE_EUSAGE;
    struct gate_seat *seat = rc == GATE_OK ? gate_seat_new(link, &claim) : NULL;
    gate_buf_clear(&link->identify, 0);
    if (seat && fill_ready(seat, &data) == GATE_OK) {
        link->ready_sent = true;
        remember_seat(link);
        gate_sandbox_log(link->sandbox, link, "session", "%s, shard %" PRId64 " of %" PRId64,
                         seat->id, claim.shard_id, claim.shard_count);
        gate_seat_tell(seat, GATE_SPAN("READY"), gate_buf_span(&data));
        link->guilds_held = (claim.intents & GATE_INTENT_GUILDS) != 0;
        if (!(link->knobs.stalls & GATE_STALL_GUILDS)) gate_identify_guilds(link);
        gate_loop_changed();
    } else {
        gate_link_ask_drop(link, true);
    }
    gate_buf_wipe(&texts);
    gate_buf_free(&texts);
    gate_buf_free(&data);
}

/* ---- Resume ------------------------------------------------------------------------------------
 */

/* A client may come back before the loss of its old connection was noticed here. */
static void take_over(struct gate_seat *seat, struct gate_link *link) {
    struct gate_link *old = seat->link;
    if (old) {
        gate_seat_leave(seat);
        gate_gateway_refuse(old, 4000, "The session was resumed elsewhere.");
    }
    gate_seat_return(seat, link);
    remember_seat(link);
    struct gate_span manner = gate_buf_span(&seat->manner), now = gate_buf_span(&link->query);
    if (manner.len != now.len || (now.len > 0 && memcmp(manner.data, now.data, now.len) != 0))
        gate_sandbox_log(link->sandbox, link, "warning", "resumed with another query than before");
}

void gate_resume_finish(struct gate_link *link) {
    link->resumed_held = false;
    gate_sandbox_log(link->sandbox, link, "resumed", "%s", link->seat->id);
    gate_seat_mention(link->seat, GATE_SPAN("RESUMED"),
                      GATE_SPAN("{\"_trace\":[\"[\\\"moongate-sandbox\\\",{}]\"]}"));
    gate_loop_changed();
}

static void resume(struct gate_link *link, struct gate_span id, int64_t seq) {
    struct gate_seat *seat = gate_seat_find(link->sandbox, id);
    if (seat && seq > seat->seq) {
        gate_seat_end(seat);
        gate_gateway_refuse(link, 4007, "Invalid seq.");
        return;
    }
    if (!seat || seq < seat->forgotten) {
        gate_sandbox_log(link->sandbox, link, "refuse", "resume: %s",
                         seat ? "too much was missed" : "no such session");
        if (seat) gate_seat_end(seat);
        gate_gateway_invalidate(link, false);
        return;
    }
    take_over(seat, link);
    if (gate_instead_play(link, GATE_PHASE_RESUMED)) return;
    gate_seat_replay(seat, seq);
    link->resumed_held = (link->knobs.stalls & GATE_STALL_RESUMED) != 0;
    if (!link->resumed_held) gate_resume_finish(link);
}

void gate_resume_take(struct gate_link *link, struct gate_span data) {
    struct gate_field fields[] = {{.key = "token"}, {.key = "session_id"}, {.key = "seq"}};
    struct gate_buf texts;
    if (link->identified) {
        gate_gateway_refuse(link, 4005, "Already authenticated.");
        return;
    }
    gate_buf_init(&texts, 0, 0);
    int rc = gate_fields_read(data, fields, 3, &texts);
    if (rc < 0 || fields[0].kind != GATE_FIELD_TEXT || fields[1].kind != GATE_FIELD_TEXT)
        gate_gateway_refuse(link, 4001, "A Resume needs token, session_id and seq.");
    else if (!is_token(link, &fields[0]))
        gate_gateway_refuse(link, 4004, "Authentication failed.");
    else if (fields[2].kind != GATE_FIELD_INTEGER || fields[2].integer < 0)
        gate_gateway_refuse(link, 4007, "Invalid seq.");
    else
        resume(link, fields[1].text, fields[2].integer);
    gate_buf_wipe(&texts);
    gate_buf_free(&texts);
}

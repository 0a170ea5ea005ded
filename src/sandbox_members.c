/* sandbox_members.c - op 8, the members of a guild; see sandbox_request.h. Discord's "Request Guild
 * Members" tells what needs which intent; without it there is no answer at all, which is what
 * clients have waited for in vain. */
#include <string.h>
#include <strings.h>

#include "sandbox_gateway.h"
#include "sandbox_guild.h"
#include "sandbox_intents.h"
#include "sandbox_request.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define NONCE_BYTES_MAX   32    /* a longer one is ignored */
#define ALL_MEMBERS_MS    30000 /* between two requests for all members of a guild */
#define IDS_MAX           100   /* more are not looked at */
#define FOUND_MAX         100   /* by the beginning of a name */
#define CHUNK_MEMBERS_MAX 1000
#define SHORT_ID_DIGITS   17 /* ids with fewer are none of Discord's, and come back as numbers */

enum { ALL, GUILD, QUERY, LIMIT, IDS, PRESENCES, NONCE, FIELDS };

struct request {
    struct gate_link *link;
    struct gate_guild *guild;
    struct gate_field fields[FIELDS];
    struct gate_buf found;   /* of uint64_t: who is there */
    struct gate_buf missing; /* JSON: whose ids were asked for in vain */
};

/* Nothing but digits; an id with other letters is not even looked for. */
static bool is_number(struct gate_span text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    return text.len > 0;
}

static struct gate_span read_nonce(const struct request *request) {
    const struct gate_field *nonce = &request->fields[NONCE];
    bool valid = nonce->kind == GATE_FIELD_TEXT && nonce->text.len <= NONCE_BYTES_MAX;
    return valid ? nonce->text : (struct gate_span){NULL, 0};
}

static bool is_everybody(const struct request *request) {
    return request->fields[QUERY].kind == GATE_FIELD_TEXT && request->fields[QUERY].text.len == 0;
}

static bool has_intent(const struct request *request, int64_t intent) {
    return (request->link->seat->claim.intents & intent) != 0;
}

/* ---- The limit ---------------------------------------------------------------------------------
 */

static void tell_limit(const struct request *request, int64_t left_ms) {
    struct gate_buf data, nonce;
    char id[GATE_ID_BYTES];
    gate_buf_init(&data, 0, 0);
    gate_buf_init(&nonce, 0, 0);
    int rc = gate_buf_reserve(&nonce, 1);
    if (rc == GATE_OK && read_nonce(request).data)
        rc = GATE_FILL(&nonce, ",'nonce':$", gate_text_blank(read_nonce(request)));
    if (rc == GATE_OK)
        rc = GATE_FILL(&data, "{'opcode':8,'retry_after':$.$,'meta':{'guild_id':'$'$}}",
                       gate_integer_blank(left_ms / 1000), gate_integer_blank(left_ms % 1000 / 100),
                       gate_raw_blank(gate_id_text(request->guild->id, id)),
                       gate_raw_blank(gate_buf_span(&nonce)));
    if (rc == GATE_OK)
        gate_request_answer(request->link, "RATE_LIMITED", request->guild->id,
                            gate_buf_span(&data));
    gate_buf_free(&data);
    gate_buf_free(&nonce);
}

/* Whether this request for all of a guild is one too many; then the client is told so. */
static bool is_limited(const struct request *request) {
    struct gate_guild *guild = request->guild;
    int64_t now_ms = gate_sandbox_now(), since_ms = now_ms - guild->asked_ms;
    bool whole = is_everybody(request) && request->fields[LIMIT].integer == 0;
    if (!whole || !request->link->sandbox->options.limits) return false;
    bool limited = guild->asked_ms != 0 && since_ms < ALL_MEMBERS_MS;
    if (limited)
        tell_limit(request, ALL_MEMBERS_MS - since_ms);
    else
        guild->asked_ms = now_ms;
    return limited;
}

/* ---- Finding -----------------------------------------------------------------------------------
 */

static int add_found(struct request *request, uint64_t user_id) {
    return gate_buf_append(&request->found,
                           (struct gate_span){(const char *)&user_id, sizeof user_id});
}

static int add_missing(struct request *request, struct gate_span id) {
    bool is_short = id.len < SHORT_ID_DIGITS;
    struct gate_blank blank =
        is_short ? gate_integer_blank((int64_t)gate_id_read(id)) : gate_text_blank(id);
    return GATE_FILL(&request->missing, request->missing.len > 1 ? ",$" : "$", blank);
}

/* The id at a place of the list, which may be a single one. */
static struct gate_span next_id(const char **at) {
    struct gate_span id = gate_span_of(*at);
    *at += id.len + 1;
    return id;
}

static size_t count_ids(const struct request *request) {
    const struct gate_field *ids = &request->fields[IDS];
    size_t count = ids->kind == GATE_FIELD_LIST ? ids->items : 1;
    return count < IDS_MAX ? count : IDS_MAX;
}

static bool has_broken_id(const struct request *request) {
    const char *at = request->fields[IDS].text.data;
    for (size_t i = count_ids(request); i > 0; i--)
        if (!is_number(next_id(&at))) return true;
    return false;
}

/* Sorts the ids that were asked for: the bot and the people are there, nobody else is. */
static int find_ids(struct request *request) {
    const struct gate_sandbox *sandbox = request->link->sandbox;
    uint64_t bot = gate_id_read(sandbox->options.user_id);
    const char *at = request->fields[IDS].text.data;
    int rc = gate_buf_append(&request->missing, GATE_SPAN("["));
    for (size_t i = count_ids(request); i > 0 && rc == GATE_OK; i--) {
        struct gate_span text = next_id(&at);
        uint64_t id = gate_id_read(text);
        bool there = id && (id == bot || gate_is_person(sandbox, id));
        rc = there ? add_found(request, id) : add_missing(request, text);
    }
    return rc < 0 ? rc : gate_buf_append(&request->missing, GATE_SPAN("]"));
}

static bool is_prefix(struct gate_span prefix, struct gate_span name) {
    return prefix.len <= name.len && strncasecmp(prefix.data, name.data, prefix.len) == 0;
}

/* How many may be found: as many as are asked for, at most a hundred unless it is everybody. */
static int64_t limit_of(const struct request *request) {
    int64_t limit = request->fields[LIMIT].integer;
    if (is_everybody(request)) return limit > 0 ? limit : INT64_MAX;
    return limit > 0 && limit < FOUND_MAX ? limit : FOUND_MAX;
}

/* Those whose names begin so, the bot first. */
static int find_names(struct request *request) {
    const struct gate_sandbox *sandbox = request->link->sandbox;
    struct gate_span prefix = request->fields[QUERY].text;
    int64_t left = limit_of(request);
    int rc = GATE_OK;
    if (is_prefix(prefix, sandbox->options.username) && left-- > 0)
        rc = add_found(request, gate_id_read(sandbox->options.user_id));
    for (int i = 0; i < sandbox->options.members && left > 0 && rc == GATE_OK; i++) {
        char name[GATE_PERSON_NAME_BYTES];
        uint64_t id = gate_person_id(sandbox, i);
        if (!is_prefix(prefix, gate_person_name(sandbox, id, name))) continue;
        rc = add_found(request, id);
        left--;
    }
    return rc;
}

/* ---- Chunks ------------------------------------------------------------------------------------
 */

struct chunk {
    size_t index, count, first, members;
};

/* Appends the members of a chunk, or their presences, with commas between. */
static int list_found(const struct request *request, const struct chunk *chunk, bool presences,
                      struct gate_buf *out) {
    const struct gate_sandbox *sandbox = request->link->sandbox;
    int rc = gate_buf_reserve(out, 1);
    for (size_t i = 0; i < chunk->members && rc == GATE_OK; i++) {
        uint64_t id;
        memcpy(&id, request->found.data + (chunk->first + i) * sizeof id, sizeof id);
        if (i > 0) rc = gate_buf_append_byte(out, ',');
        if (rc < 0) break;
        rc = presences ? gate_presence_describe(request->guild->id, id, out)
                       : gate_member_describe(sandbox, request->guild->id, id, true, out);
    }
    return rc;
}

/* What is missing stands in the first chunk. */
static int append_rest(const struct request *request, const struct chunk *chunk,
                       struct gate_buf *out) {
    const struct gate_field *asked = &request->fields[PRESENCES];
    struct gate_buf presences;
    int rc = GATE_OK;
    gate_buf_init(&presences, 0, 0);
    if (request->missing.len > 0 && chunk->index == 0)
        rc = GATE_FILL(out, ",'not_found':$", gate_raw_blank(gate_buf_span(&request->missing)));
    if (rc == GATE_OK && asked->kind == GATE_FIELD_BOOLEAN && asked->integer != 0 &&
        has_intent(request, GATE_INTENT_PRESENCE)) {
        rc = list_found(request, chunk, true, &presences);
        if (rc == GATE_OK)
            rc = GATE_FILL(out, ",'presences':[$]", gate_raw_blank(gate_buf_span(&presences)));
    }
    if (rc == GATE_OK && read_nonce(request).data)
        rc = GATE_FILL(out, ",'nonce':$", gate_text_blank(read_nonce(request)));
    gate_buf_free(&presences);
    return rc < 0 ? rc : gate_buf_append(out, GATE_SPAN("}"));
}

static int tell_chunk(const struct request *request, const struct chunk *chunk) {
    struct gate_buf data, members;
    char id[GATE_ID_BYTES];
    gate_buf_init(&data, 0, 0);
    gate_buf_init(&members, 0, 0);
    int rc = list_found(request, chunk, false, &members);
    if (rc == GATE_OK)
        rc = GATE_FILL(&data, "{'guild_id':'$','members':[$],'chunk_index':$,'chunk_count':$",
                       gate_raw_blank(gate_id_text(request->guild->id, id)),
                       gate_raw_blank(gate_buf_span(&members)),
                       gate_integer_blank((int64_t)chunk->index),
                       gate_integer_blank((int64_t)chunk->count));
    if (rc == GATE_OK) rc = append_rest(request, chunk, &data);
    if (rc == GATE_OK)
        gate_request_answer(request->link, "GUILD_MEMBERS_CHUNK", request->guild->id,
                            gate_buf_span(&data));
    gate_buf_free(&data);
    gate_buf_free(&members);
    return rc;
}

/* Nobody is a chunk as well. */
static void tell_members(struct request *request) {
    int rc =
        request->fields[IDS].kind != GATE_FIELD_ABSENT ? find_ids(request) : find_names(request);
    size_t found = request->found.len / sizeof(uint64_t);
    struct chunk chunk = {.count = (found + CHUNK_MEMBERS_MAX - 1) / CHUNK_MEMBERS_MAX};
    if (chunk.count == 0) chunk.count = 1;
    for (; chunk.index < chunk.count && rc == GATE_OK; chunk.index++) {
        chunk.first = chunk.index * CHUNK_MEMBERS_MAX;
        chunk.members = found - chunk.first;
        if (chunk.members > CHUNK_MEMBERS_MAX) chunk.members = CHUNK_MEMBERS_MAX;
        rc = tell_chunk(request, &chunk);
    }
    if (rc < 0) gate_link_ask_drop(request->link, true);
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

static bool is_well_formed(const struct request *request) {
    const struct gate_field *fields = request->fields;
    bool by_query = fields[QUERY].kind == GATE_FIELD_TEXT;
    bool by_ids = fields[IDS].kind == GATE_FIELD_LIST || fields[IDS].kind == GATE_FIELD_TEXT ||
                  fields[IDS].kind == GATE_FIELD_INTEGER;
    if (gate_field_id(&fields[GUILD]) == 0 || by_query == by_ids) return false;
    return by_ids || (fields[LIMIT].kind == GATE_FIELD_INTEGER && fields[LIMIT].integer >= 0);
}

static void serve(struct request *request) {
    struct gate_link *link = request->link;
    if (request->fields[IDS].kind != GATE_FIELD_ABSENT && has_broken_id(request))
        gate_gateway_invalidate(link, false); /* what captures show, some seconds later */
    else if (is_everybody(request) && !has_intent(request, GATE_INTENT_MEMBERS))
        gate_sandbox_log(link->sandbox, link, "ignored",
                         "all members without the intent GUILD_MEMBERS");
    else if (request->guild && !is_limited(request))
        tell_members(request);
}

void gate_request_members(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"",         "guild_id",  "query", "limit",
                                       "user_ids", "presences", "nonce", NULL};
    struct request request = {.link = link};
    struct gate_buf texts;
    gate_buf_init(&request.found, 0, 0);
    gate_buf_init(&request.missing, 0, 0);
    int rc = gate_request_read(data, keys, request.fields, &texts);
    if (rc < 0 || !is_well_formed(&request)) {
        gate_gateway_refuse(link, 4001,
                            "A request for members needs guild_id, and either query "
                            "with limit or user_ids.");
    } else {
        request.guild = gate_guild_find(link->sandbox, gate_field_id(&request.fields[GUILD]));
        serve(&request);
    }
    gate_buf_free(&request.found);
    gate_buf_free(&request.missing);
    gate_buf_free(&texts);
}

/* sandbox_request.c - op 3, 4, 8, 31 and 43 as the server takes them; see sandbox_gateway.h.
 * What is asked of a guild that the sandbox does not have gets no answer, as with Discord. */
#include <string.h>
#include <strings.h>

#include "sandbox_gateway.h"
#include "sandbox_guild.h"
#include "sandbox_intents.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define NONCE_BYTES_MAX 32    /* a longer one is ignored */
#define ALL_MEMBERS_MS  30000 /* between two requests for all members of a guild */
#define MEMBERS_IDS_MAX 100   /* more are not looked at */
#define REQUEST_FIELDS  7
#define SOUND_DISTANCE  32    /* from the guild's id */
#define PRESENCES_MS    20000 /* as long as GATE_PRESENCES_TAKEN of them last */

static int read_fields(struct gate_span data, const char *const *keys, struct gate_field *fields,
                       struct gate_buf *texts) {
    size_t count = 0;
    for (; keys[count]; count++) fields[count] = (struct gate_field){.key = keys[count]};
    gate_buf_init(texts, 0, 0);
    return gate_fields_read(data, fields, count, texts);
}

/* To this session only, if it hears such events at all. */
static void answer(struct gate_link *link, const char *name, uint64_t guild_id,
                   struct gate_span data) {
    struct gate_news news = {.name = gate_span_of(name), .data = data, .guild_id = guild_id};
    const struct gate_event_rule *rule = gate_event_rule(news.name);
    if (!link->seat) return;
    if (rule->guild && !(rule->guild & (uint64_t)link->seat->claim.intents)) return;
    gate_seat_tell(link->seat, news.name, news.data);
}

/* ---- Presence ----------------------------------------------------------------------------------
 */

/* What Discord does with one too many is not documented: it is ignored, or ends the connection. */
static void take_presence(struct gate_link *link) {
    const struct gate_sandbox_options *options = &link->sandbox->options;
    int64_t now_ms = gate_sandbox_now();
    int64_t *place = &link->presences_ms[link->presences % GATE_PRESENCES_TAKEN];
    bool full = link->presences >= GATE_PRESENCES_TAKEN && now_ms - *place < PRESENCES_MS;
    if (!full || !options->limits) {
        *place = now_ms;
        link->presences++;
        return;
    }
    gate_sandbox_log(link->sandbox, link, "limited", "more than %d presences in 20 s",
                     GATE_PRESENCES_TAKEN);
    if (options->presence_close_code)
        gate_gateway_refuse(link, options->presence_close_code, "Too many presences.");
}

void gate_request_presence(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"", "activities", "status", NULL};
    struct gate_field fields[3];
    struct gate_buf texts;
    int rc = read_fields(data, keys, fields, &texts);
    gate_buf_free(&texts);
    if (rc < 0 || fields[0].kind != GATE_FIELD_MAP || fields[1].kind != GATE_FIELD_LIST ||
        fields[2].kind != GATE_FIELD_TEXT)
        gate_gateway_refuse(link, 4001, "A presence needs activities and status.");
    else
        take_presence(link);
}

/* ---- Voice -------------------------------------------------------------------------------------
 */

static void tell_voice(struct gate_link *link, uint64_t guild_id, const struct gate_field *fields) {
    const struct gate_sandbox *sandbox = link->sandbox;
    char guild[GATE_ID_BYTES];
    struct gate_buf data, member;
    gate_buf_init(&data, 0, 0);
    gate_buf_init(&member, 0, 0);
    bool leaves = fields[2].kind == GATE_FIELD_NULL;
    struct gate_span channel = fields[2].text;
    int rc = gate_member_describe(sandbox, guild_id, gate_id_read(sandbox->options.user_id), true,
                                  &member);
    if (rc == GATE_OK)
        rc = GATE_FILL(&data,
                       "{'guild_id':'$','channel_id':$,'user_id':$,'member':$,'session_id':$,"
                       "'deaf':false,'mute':false,'self_mute':$,'self_deaf':$,'self_video':false,"
                       "'suppress':false,'request_to_speak_timestamp':null}",
                       gate_raw_blank(gate_id_text(guild_id, guild)),
                       gate_text_blank(leaves ? (struct gate_span){NULL, 0} : channel),
                       gate_text_blank(sandbox->options.user_id),
                       gate_raw_blank(gate_buf_span(&member)), gate_string_blank(link->seat->id),
                       gate_boolean_blank(fields[3].integer != 0),
                       gate_boolean_blank(fields[4].integer != 0));
    if (rc == GATE_OK) answer(link, "VOICE_STATE_UPDATE", guild_id, gate_buf_span(&data));
    gate_buf_clear(&data, GATE_KEEP_BYTES_MAX);
    if (rc == GATE_OK && !leaves)
        rc = GATE_FILL(&data, "{'token':'sandbox','guild_id':'$','endpoint':'voice.invalid:443'}",
                       gate_raw_blank(gate_id_text(guild_id, guild)));
    if (rc == GATE_OK && !leaves)
        answer(link, "VOICE_SERVER_UPDATE", guild_id, gate_buf_span(&data));
    gate_buf_free(&data);
    gate_buf_free(&member);
}

static void move_voice(struct gate_link *link, uint64_t guild_id, const struct gate_field *fields) {
    struct gate_guild *guild = gate_guild_find(link->sandbox, guild_id);
    uint64_t channel_id = gate_field_id(&fields[2]);
    if (channel_id != guild->voice_id)
        guild->voice_since_s = gate_sandbox_wall_ms(link->sandbox) / 1000;
    guild->voice_id = channel_id;
    tell_voice(link, guild_id, fields);
}

void gate_request_voice(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"",          "guild_id",  "channel_id",
                                       "self_mute", "self_deaf", NULL};
    struct gate_field fields[5];
    struct gate_buf texts;
    int rc = read_fields(data, keys, fields, &texts);
    uint64_t guild_id = gate_field_id(&fields[1]);
    bool is_channel = fields[2].kind == GATE_FIELD_NULL || gate_field_id(&fields[2]) != 0;
    if (rc < 0 || guild_id == 0 || !is_channel)
        gate_gateway_refuse(link, 4001, "A voice state needs guild_id and channel_id.");
    else if (gate_guild_find(link->sandbox, guild_id))
        move_voice(link, guild_id, fields);
    gate_buf_free(&texts);
}

/* ---- Members -----------------------------------------------------------------------------------
 */

enum { M_ALL, M_GUILD, M_QUERY, M_LIMIT, M_IDS, M_PRESENCES, M_NONCE };

static struct gate_span read_nonce(const struct gate_field *fields) {
    const struct gate_field *nonce = &fields[M_NONCE];
    bool valid = nonce->kind == GATE_FIELD_TEXT && nonce->text.len <= NONCE_BYTES_MAX;
    return valid ? nonce->text : (struct gate_span){NULL, 0};
}

static bool wants_all(const struct gate_field *fields) {
    return fields[M_QUERY].kind == GATE_FIELD_TEXT && fields[M_QUERY].text.len == 0 &&
           fields[M_LIMIT].integer == 0;
}

/* Whether this request is one too many; then the client is told so. */
static bool is_limited(struct gate_link *link, struct gate_guild *guild,
                       const struct gate_field *fields) {
    int64_t now_ms = gate_sandbox_now(), since_ms = now_ms - guild->asked_ms;
    if (!wants_all(fields) || !link->sandbox->options.limits) return false;
    if (guild->asked_ms == 0 || since_ms >= ALL_MEMBERS_MS) {
        guild->asked_ms = now_ms;
        return false;
    }
    struct gate_buf data, nonce;
    gate_buf_init(&data, 0, 0);
    gate_buf_init(&nonce, 0, 0);
    int64_t left_ms = ALL_MEMBERS_MS - since_ms;
    char id[GATE_ID_BYTES];
    int rc = gate_buf_append(&nonce, GATE_SPAN(""));
    if (rc == GATE_OK && read_nonce(fields).data)
        rc = GATE_FILL(&nonce, ",'nonce':$", gate_text_blank(read_nonce(fields)));
    if (rc == GATE_OK)
        rc = GATE_FILL(&data, "{'opcode':8,'retry_after':$.$,'meta':{'guild_id':'$'$}}",
                       gate_integer_blank(left_ms / 1000), gate_integer_blank(left_ms % 1000 / 100),
                       gate_raw_blank(gate_id_text(guild->id, id)),
                       gate_raw_blank(gate_buf_span(&nonce)));
    if (rc == GATE_OK) answer(link, "RATE_LIMITED", guild->id, gate_buf_span(&data));
    gate_buf_free(&data);
    gate_buf_free(&nonce);
    return true;
}

static bool is_prefix(struct gate_span prefix, struct gate_span name) {
    return prefix.len <= name.len && strncasecmp(prefix.data, name.data, prefix.len) == 0;
}

static int append_member(const struct gate_sandbox *sandbox, const struct gate_guild *guild,
                         uint64_t user_id, struct gate_buf *members) {
    int rc = members->len > 0 ? gate_buf_append_byte(members, ',') : GATE_OK;
    return rc < 0 ? rc : gate_member_describe(sandbox, guild->id, user_id, true, members);
}

/* Sorts the ids that were asked for: the bot and the people are there, nobody else is. */
static int find_ids(const struct gate_link *link, const struct gate_guild *guild,
                    const struct gate_field *ids, struct gate_buf *members,
                    struct gate_buf *missing) {
    const struct gate_sandbox *sandbox = link->sandbox;
    uint64_t bot = gate_id_read(sandbox->options.user_id);
    const char *at = ids->text.data;
    size_t items = ids->kind == GATE_FIELD_LIST ? ids->items : 1;
    int rc = gate_buf_append(missing, GATE_SPAN("["));
    for (size_t i = 0; i < items && i < MEMBERS_IDS_MAX && rc == GATE_OK; i++) {
        struct gate_span text = gate_span_of(at);
        uint64_t id = gate_id_read(text);
        at += text.len + 1;
        if (id && (id == bot || gate_is_person(sandbox, id)))
            rc = append_member(sandbox, guild, id, members);
        else
            rc = GATE_FILL(missing, missing->len > 1 ? ",$" : "$", gate_text_blank(text));
    }
    return rc < 0 ? rc : gate_buf_append(missing, GATE_SPAN("]"));
}

/* Those whose names begin so, the bot first; a limit of 0 is none. */
static int find_names(const struct gate_link *link, const struct gate_guild *guild,
                      const struct gate_field *fields, struct gate_buf *members) {
    const struct gate_sandbox *sandbox = link->sandbox;
    struct gate_span prefix = fields[M_QUERY].text;
    int64_t left = fields[M_LIMIT].integer > 0 ? fields[M_LIMIT].integer : INT64_MAX;
    int rc = gate_buf_reserve(members, 1);
    if (rc == GATE_OK && is_prefix(prefix, sandbox->options.username) && left-- > 0)
        rc = append_member(sandbox, guild, gate_id_read(sandbox->options.user_id), members);
    for (int i = 0; i < sandbox->options.members && left > 0 && rc == GATE_OK; i++) {
        char name[GATE_PERSON_NAME_BYTES];
        uint64_t id = gate_person_id(sandbox, i);
        if (!is_prefix(prefix, gate_person_name(sandbox, id, name))) continue;
        rc = append_member(sandbox, guild, id, members);
        left--;
    }
    return rc;
}

static void tell_members(struct gate_link *link, const struct gate_guild *guild,
                         const struct gate_field *fields) {
    struct gate_buf data, members, missing;
    char id[GATE_ID_BYTES];
    gate_buf_init(&data, 0, 0);
    gate_buf_init(&members, 0, 0);
    gate_buf_init(&missing, 0, 0);
    bool by_ids = fields[M_IDS].kind != GATE_FIELD_ABSENT;
    int rc = gate_buf_reserve(&members, 1);
    if (rc == GATE_OK && by_ids)
        rc = find_ids(link, guild, &fields[M_IDS], &members, &missing);
    else if (rc == GATE_OK)
        rc = find_names(link, guild, fields, &members);
    if (rc == GATE_OK)
        rc = GATE_FILL(&data, "{'guild_id':'$','members':[$],'chunk_index':0,'chunk_count':1",
                       gate_raw_blank(gate_id_text(guild->id, id)),
                       gate_raw_blank(gate_buf_span(&members)));
    if (rc == GATE_OK && by_ids)
        rc = GATE_FILL(&data, ",'not_found':$", gate_raw_blank(gate_buf_span(&missing)));
    bool presences = fields[M_PRESENCES].kind == GATE_FIELD_BOOLEAN &&
                     fields[M_PRESENCES].integer != 0 &&
                     (link->seat->claim.intents & GATE_INTENT_PRESENCE) != 0;
    if (rc == GATE_OK && presences) rc = gate_buf_append(&data, GATE_SPAN(",\"presences\":[]"));
    if (rc == GATE_OK && read_nonce(fields).data)
        rc = GATE_FILL(&data, ",'nonce':$", gate_text_blank(read_nonce(fields)));
    if (rc == GATE_OK) rc = gate_buf_append(&data, GATE_SPAN("}"));
    if (rc == GATE_OK) answer(link, "GUILD_MEMBERS_CHUNK", guild->id, gate_buf_span(&data));
    gate_buf_free(&data);
    gate_buf_free(&members);
    gate_buf_free(&missing);
}

static bool is_id_list(const struct gate_field *field) {
    return field->kind == GATE_FIELD_LIST || gate_field_id(field) != 0;
}

void gate_request_members(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"",         "guild_id",  "query", "limit",
                                       "user_ids", "presences", "nonce", NULL};
    struct gate_field fields[REQUEST_FIELDS];
    struct gate_buf texts;
    int rc = read_fields(data, keys, fields, &texts);
    uint64_t guild_id = gate_field_id(&fields[M_GUILD]);
    struct gate_guild *guild = gate_guild_find(link->sandbox, guild_id);
    bool by_query = fields[M_QUERY].kind == GATE_FIELD_TEXT;
    bool by_ids = is_id_list(&fields[M_IDS]);
    if (rc < 0 || guild_id == 0 || by_query == by_ids ||
        (by_query && fields[M_LIMIT].kind != GATE_FIELD_INTEGER))
        gate_gateway_refuse(link, 4001,
                            "A request for members needs guild_id, and either query "
                            "with limit or user_ids.");
    else if (by_query && wants_all(fields) && !(link->seat->claim.intents & GATE_INTENT_MEMBERS))
        gate_gateway_refuse(link, 4001, "All members need the intent GUILD_MEMBERS.");
    else if (guild && !is_limited(link, guild, fields))
        tell_members(link, guild, fields);
    gate_buf_free(&texts);
}

/* ---- Soundboard and channels -------------------------------------------------------------------
 */

/* One sound, whose id follows those of the guild's channels. */
static int describe_sounds(const struct gate_link *link, uint64_t guild_id, struct gate_buf *out) {
    char guild[GATE_ID_BYTES], sound[GATE_ID_BYTES];
    return GATE_FILL(out,
                     "{'guild_id':'$','soundboard_sounds':[{'name':'quack','sound_id':'$',"
                     "'volume':1.0,'emoji_id':null,'emoji_name':'\xf0\x9f\xa6\x86',"
                     "'guild_id':'$','available':true,'user':$}]}",
                     gate_raw_blank(gate_id_text(guild_id, guild)),
                     gate_raw_blank(gate_id_text(guild_id + SOUND_DISTANCE, sound)),
                     gate_raw_blank(gate_id_text(guild_id, guild)),
                     gate_raw_blank(link->sandbox->options.user));
}

void gate_request_sounds(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"guild_ids", NULL};
    struct gate_field ids;
    struct gate_buf texts, event;
    int rc = read_fields(data, keys, &ids, &texts);
    if (rc < 0 || ids.kind != GATE_FIELD_LIST)
        gate_gateway_refuse(link, 4001, "A request for sounds needs guild_ids.");
    const char *at = ids.text.data;
    gate_buf_init(&event, 0, 0);
    for (size_t i = 0; rc == GATE_OK && ids.kind == GATE_FIELD_LIST && i < ids.items; i++) {
        struct gate_span id = gate_span_of(at);
        at += id.len + 1;
        if (!gate_guild_find(link->sandbox, gate_id_read(id))) continue;
        gate_buf_clear(&event, GATE_KEEP_BYTES_MAX);
        rc = describe_sounds(link, gate_id_read(id), &event);
        if (rc == GATE_OK)
            answer(link, "SOUNDBOARD_SOUNDS", gate_id_read(id), gate_buf_span(&event));
    }
    gate_buf_free(&event);
    gate_buf_free(&texts);
}

/* The channel that somebody speaks in, with the fields that were asked for; nobody else has any. */
static int describe_voice(const struct gate_guild *guild, const struct gate_field *wanted,
                          struct gate_buf *out) {
    char id[GATE_ID_BYTES];
    const char *at = wanted->text.data;
    if (!guild->voice_id) return gate_buf_reserve(out, 1);
    int rc = GATE_FILL(out, "{'id':'$'", gate_raw_blank(gate_id_text(guild->voice_id, id)));
    for (size_t i = 0; i < wanted->items && rc == GATE_OK; i++) {
        if (strcmp(at, "status") == 0)
            rc = gate_buf_append(out, GATE_SPAN(",\"status\":null"));
        else if (strcmp(at, "voice_start_time") == 0)
            rc = GATE_FILL(out, ",'voice_start_time':$", gate_integer_blank(guild->voice_since_s));
        at += strlen(at) + 1;
    }
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

static void tell_channels(struct gate_link *link, const struct gate_guild *guild,
                          const struct gate_field *wanted) {
    struct gate_buf event, voice;
    char id[GATE_ID_BYTES];
    gate_buf_init(&event, 0, 0);
    gate_buf_init(&voice, 0, 0);
    int rc = describe_voice(guild, wanted, &voice);
    if (rc == GATE_OK)
        rc = GATE_FILL(&event, "{'guild_id':'$','channels':[$]}",
                       gate_raw_blank(gate_id_text(guild->id, id)),
                       gate_raw_blank(gate_buf_span(&voice)));
    if (rc == GATE_OK) answer(link, "CHANNEL_INFO", guild->id, gate_buf_span(&event));
    gate_buf_free(&event);
    gate_buf_free(&voice);
}

void gate_request_channels(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"guild_id", "fields", NULL};
    struct gate_field fields[2];
    struct gate_buf texts;
    int rc = read_fields(data, keys, fields, &texts);
    uint64_t guild_id = gate_field_id(&fields[0]);
    const struct gate_guild *guild = gate_guild_find(link->sandbox, guild_id);
    if (rc < 0 || guild_id == 0 || fields[1].kind != GATE_FIELD_LIST)
        gate_gateway_refuse(link, 4001, "A request for channels needs guild_id and fields.");
    else if (guild)
        tell_channels(link, guild, &fields[1]);
    gate_buf_free(&texts);
}

/* sandbox_request.c - op 3, 4, 31 and 43 as the server takes them; see sandbox_request.h. */
#include "sandbox_request.h"

#include <string.h>

#include "sandbox_gateway.h"
#include "sandbox_guild.h"
#include "sandbox_intents.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

#define SOUND_DISTANCE 32    /* from the guild's id */
#define PRESENCES_MS   20000 /* as long as GATE_PRESENCES_TAKEN of them last */

int gate_request_read(struct gate_span data, const char *const *keys, struct gate_field *fields,
                      struct gate_buf *texts) {
    size_t count = 0;
    for (; keys[count]; count++) fields[count] = (struct gate_field){.key = keys[count]};
    gate_buf_init(texts, 0, 0);
    return gate_fields_read(data, fields, count, texts);
}

void gate_request_answer(struct gate_link *link, const char *name, uint64_t guild_id,
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
    int rc = gate_request_read(data, keys, fields, &texts);
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
    if (rc == GATE_OK)
        gate_request_answer(link, "VOICE_STATE_UPDATE", guild_id, gate_buf_span(&data));
    gate_buf_clear(&data, GATE_KEEP_BYTES_MAX);
    if (rc == GATE_OK && !leaves)
        rc = GATE_FILL(&data, "{'token':'sandbox','guild_id':'$','endpoint':'voice.invalid:443'}",
                       gate_raw_blank(gate_id_text(guild_id, guild)));
    if (rc == GATE_OK && !leaves)
        gate_request_answer(link, "VOICE_SERVER_UPDATE", guild_id, gate_buf_span(&data));
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
    int rc = gate_request_read(data, keys, fields, &texts);
    uint64_t guild_id = gate_field_id(&fields[1]);
    bool is_channel = fields[2].kind == GATE_FIELD_NULL || gate_field_id(&fields[2]) != 0;
    if (rc < 0 || guild_id == 0 || !is_channel)
        gate_gateway_refuse(link, 4001, "A voice state needs guild_id and channel_id.");
    else if (gate_guild_find(link->sandbox, guild_id))
        move_voice(link, guild_id, fields);
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
    int rc = gate_request_read(data, keys, &ids, &texts);
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
            gate_request_answer(link, "SOUNDBOARD_SOUNDS", gate_id_read(id), gate_buf_span(&event));
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
    if (rc == GATE_OK) gate_request_answer(link, "CHANNEL_INFO", guild->id, gate_buf_span(&event));
    gate_buf_free(&event);
    gate_buf_free(&voice);
}

void gate_request_channels(struct gate_link *link, struct gate_span data) {
    static const char *const keys[] = {"guild_id", "fields", NULL};
    struct gate_field fields[2];
    struct gate_buf texts;
    int rc = gate_request_read(data, keys, fields, &texts);
    uint64_t guild_id = gate_field_id(&fields[0]);
    const struct gate_guild *guild = gate_guild_find(link->sandbox, guild_id);
    if (rc < 0 || guild_id == 0 || fields[1].kind != GATE_FIELD_LIST)
        gate_gateway_refuse(link, 4001, "A request for channels needs guild_id and fields.");
    else if (guild)
        tell_channels(link, guild, &fields[1]);
    gate_buf_free(&texts);
}

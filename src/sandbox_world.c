/* sandbox_world.c - see sandbox_world.h. A guild's channels and roles have ids close behind its
 * own, so that an id alone tells whose it is. */
#include "sandbox_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sandbox_guild.h"
#include "sandbox_state.h"

#define DISCORD_EPOCH_MS INT64_C(1420070400000)
#define COUNT_BITS       12                /* of an id: how many there were in its millisecond */
#define OTHER_BITS       22                /* all that are below the milliseconds */
#define PERSON_AGE_MS    UINT64_C(3600000) /* between one and the next: room for ten thousand */
#define JOINED_AT        "2024-02-03T04:05:06.789000+00:00"
#define EVERYONE_MAY     "2248473465835073"
#define MODERATORS_MAY   "1099780064222"

/* ---- Ids ---------------------------------------------------------------------------------------
 */

uint64_t gate_world_id(struct gate_sandbox *sandbox) {
    struct gate_world *world = &sandbox->world;
    int64_t wall_ms = gate_sandbox_wall_ms(sandbox);
    uint64_t ms = wall_ms > DISCORD_EPOCH_MS ? (uint64_t)(wall_ms - DISCORD_EPOCH_MS) : 0;
    if (ms > world->last_id_ms) {
        world->last_id_ms = ms;
        world->last_id_count = 0;
    } else if (++world->last_id_count >> COUNT_BITS) {
        world->last_id_ms++;
        world->last_id_count = 0;
    }
    return world->last_id_ms << OTHER_BITS | world->last_id_count;
}

struct gate_span gate_world_time(uint64_t id, char out[GATE_TIME_BYTES]) {
    uint64_t ms = (id >> OTHER_BITS) + (uint64_t)DISCORD_EPOCH_MS;
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char day[24];
    gmtime_r(&seconds, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    int len = snprintf(out, GATE_TIME_BYTES, "%s.%03u000+00:00", day, (unsigned)(ms % 1000));
    return (struct gate_span){out, (size_t)len};
}

uint64_t gate_world_seconds(uint64_t id) {
    return ((id >> OTHER_BITS) + (uint64_t)DISCORD_EPOCH_MS) / 1000;
}

/* ---- People ------------------------------------------------------------------------------------
 */

static const char *const names[] = {"ada",    "grace", "alan", "barbara",
                                    "edsger", "radia", "ken",  "margaret"};
#define NAMES (sizeof names / sizeof names[0])

uint64_t gate_person_id(const struct gate_sandbox *sandbox, int number) {
    return (sandbox->world.first_ms - PERSON_AGE_MS * ((uint64_t)number + 1)) << OTHER_BITS;
}

/* Their number, or -1. */
static int find_person(const struct gate_sandbox *sandbox, uint64_t user_id) {
    uint64_t age_ms = sandbox->world.first_ms - (user_id >> OTHER_BITS);
    if (age_ms == 0 || age_ms % PERSON_AGE_MS) return -1;
    if (user_id & ((UINT64_C(1) << OTHER_BITS) - 1)) return -1;
    uint64_t number = age_ms / PERSON_AGE_MS - 1;
    return number < (uint64_t)sandbox->options.members ? (int)number : -1;
}

bool gate_is_person(const struct gate_sandbox *sandbox, uint64_t user_id) {
    return find_person(sandbox, user_id) >= 0;
}

static bool is_bot(const struct gate_sandbox *sandbox, uint64_t user_id) {
    return user_id == gate_id_read(sandbox->options.user_id);
}

/* The first eight have a name each, later ones the same with a number. */
struct gate_span gate_person_name(const struct gate_sandbox *sandbox, uint64_t user_id,
                                  char out[GATE_PERSON_NAME_BYTES]) {
    int number = find_person(sandbox, user_id);
    size_t turn = number < 0 ? 0 : (size_t)number / NAMES;
    if (number < 0)
        snprintf(out, GATE_PERSON_NAME_BYTES, "user%" PRIu64, user_id % 10000);
    else if (turn == 0)
        snprintf(out, GATE_PERSON_NAME_BYTES, "%s", names[number]);
    else
        snprintf(out, GATE_PERSON_NAME_BYTES, "%s%zu", names[(size_t)number % NAMES], turn + 1);
    return gate_span_of(out);
}

int gate_user_describe(const struct gate_sandbox *sandbox, uint64_t user_id, struct gate_buf *out) {
    char name[GATE_PERSON_NAME_BYTES], id[GATE_ID_BYTES];
    if (is_bot(sandbox, user_id)) return gate_buf_append(out, sandbox->options.user);
    struct gate_blank known_as = gate_text_blank(gate_person_name(sandbox, user_id, name));
    return GATE_FILL(out,
                     "{'id':'$','username':$,'discriminator':'0','global_name':$,'avatar':null,"
                     "'bot':false,'system':false,'public_flags':0,'flags':0,'banner':null,"
                     "'accent_color':null,'avatar_decoration_data':null,'collectibles':null,"
                     "'primary_guild':null}",
                     gate_raw_blank(gate_id_text(user_id, id)), known_as, known_as);
}

int gate_member_describe(const struct gate_sandbox *sandbox, uint64_t guild_id, uint64_t user_id,
                         bool with_user, struct gate_buf *out) {
    char id[GATE_ID_BYTES], roles[GATE_ID_BYTES + 2] = "";
    uint64_t role = 0;
    if (is_bot(sandbox, user_id)) role = guild_id + GATE_ROLE_BOT;
    if (find_person(sandbox, user_id) == 0) role = guild_id + GATE_ROLE_MODERATOR;
    if (role) snprintf(roles, sizeof roles, "\"%s\"", gate_id_text(role, id).data);
    int rc = gate_buf_append_byte(out, '{');
    if (rc == GATE_OK && with_user) rc = gate_buf_append(out, GATE_SPAN("\"user\":"));
    if (rc == GATE_OK && with_user) rc = gate_user_describe(sandbox, user_id, out);
    if (rc == GATE_OK && with_user) rc = gate_buf_append_byte(out, ',');
    if (rc < 0) return rc;
    return GATE_FILL(out,
                     "'nick':null,'avatar':null,'banner':null,'roles':[$],"
                     "'joined_at':'" JOINED_AT "','premium_since':null,'deaf':false,'mute':false,"
                     "'flags':0,'pending':false,'communication_disabled_until':null,"
                     "'avatar_decoration_data':null}",
                     gate_raw_blank(gate_span_of(roles)));
}

/* ---- Roles and channels ------------------------------------------------------------------------
 */

int gate_roles_list(const struct gate_sandbox *sandbox, uint64_t guild_id, struct gate_buf *out) {
    static const struct {
        uint64_t distance;
        const char *name, *may;
        int color;
        bool managed;
    } rows[] = {{0, "@everyone", EVERYONE_MAY, 0, false},
                {GATE_ROLE_BOT, "sandbox", EVERYONE_MAY, 0, true},
                {GATE_ROLE_MODERATOR, "moderators", MODERATORS_MAY, 0x3498db, false}};
    int rc = GATE_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && rc == GATE_OK; i++) {
        char id[GATE_ID_BYTES];
        if (i > 0) rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK)
            rc = GATE_FILL(
                out,
                "{'id':'$','name':$,'color':$,'colors':{'primary_color':$,'secondary_color':null,"
                "'tertiary_color':null},'hoist':false,'icon':null,'unicode_emoji':null,"
                "'position':$,'permissions':'$','managed':$,'mentionable':false,'flags':0",
                gate_raw_blank(gate_id_text(guild_id + rows[i].distance, id)),
                gate_string_blank(rows[i].name), gate_integer_blank(rows[i].color),
                gate_integer_blank(rows[i].color), gate_integer_blank((int64_t)i),
                gate_raw_blank(gate_span_of(rows[i].may)), gate_boolean_blank(rows[i].managed));
        if (rc == GATE_OK && rows[i].managed)
            rc = GATE_FILL(out, ",'tags':{'bot_id':$}", gate_text_blank(sandbox->options.user_id));
        if (rc == GATE_OK) rc = gate_buf_append_byte(out, '}');
    }
    return rc;
}

/* The first two are what `guilds` of a sandbox names; the last one holds the second text. */
static const struct channel_row {
    uint64_t distance;
    int type;
    const char *name;
    uint64_t parent; /* the category's distance; 0: none */
    const char *more;
} channel_rows[GATE_GUILD_CHANNELS] = {
    {1, 0, "general", 0,
     "'topic':null,'last_message_id':null,'default_auto_archive_duration':1440"},
    {2, 2, "voice", 0, "'bitrate':64000,'user_limit':0,'rtc_region':null,'last_message_id':null"},
    {3, 4, "more", 0, ""},
    {4, 0, "random", 3, "'topic':'whatever comes','last_message_id':null"},
};

static const struct channel_row *find_channel(uint64_t distance) {
    for (size_t i = 0; i < GATE_GUILD_CHANNELS; i++)
        if (channel_rows[i].distance == distance) return &channel_rows[i];
    return NULL;
}

/* Without its closing brace. A channel that only a script knows is a text channel. */
static int open_channel(const struct channel_row *row, uint64_t id, uint64_t guild_id,
                        struct gate_buf *out) {
    char text[GATE_ID_BYTES], parent[GATE_ID_BYTES];
    struct gate_blank above = gate_text_blank((struct gate_span){NULL, 0});
    if (row && row->parent) above = gate_text_blank(gate_id_text(guild_id + row->parent, parent));
    const struct channel_row *kind = row ? row : &channel_rows[0];
    int rc = GATE_FILL(out,
                       "{'id':'$','type':$,'name':$,'position':$,'parent_id':$,'flags':0,"
                       "'permission_overwrites':[]",
                       gate_raw_blank(gate_id_text(id, text)), gate_integer_blank(kind->type),
                       gate_string_blank(row ? row->name : "channel"),
                       gate_integer_blank(row ? row - channel_rows : 0), above);
    if (rc == GATE_OK && kind->type != 4)
        rc = gate_form_fill(out, ",'nsfw':false,'rate_limit_per_user':0,", NULL, 0);
    return rc == GATE_OK && kind->type != 4 ? gate_form_fill(out, kind->more, NULL, 0) : rc;
}

int gate_channels_list(uint64_t guild_id, struct gate_buf *out) {
    int rc = GATE_OK;
    for (size_t i = 0; i < GATE_GUILD_CHANNELS && rc == GATE_OK; i++) {
        const struct channel_row *row = &channel_rows[i];
        if (i > 0) rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK) rc = open_channel(row, guild_id + row->distance, guild_id, out);
        if (rc == GATE_OK) rc = gate_buf_append_byte(out, '}');
    }
    return rc;
}

uint64_t gate_direct_channel(uint64_t user_id) {
    return user_id + 1;
}

static int describe_direct(const struct gate_sandbox *sandbox, uint64_t channel_id,
                           struct gate_buf *out) {
    char id[GATE_ID_BYTES];
    int rc = GATE_FILL(out, "{'id':'$','type':1,'last_message_id':null,'flags':0,'recipients':[",
                       gate_raw_blank(gate_id_text(channel_id, id)));
    if (rc == GATE_OK) rc = gate_user_describe(sandbox, channel_id - 1, out);
    return rc < 0 ? rc : gate_buf_append(out, GATE_SPAN("]}"));
}

int gate_channel_describe(struct gate_sandbox *sandbox, struct gate_place place,
                          struct gate_buf *out) {
    char guild[GATE_ID_BYTES];
    if (place.guild_id == 0) return describe_direct(sandbox, place.channel_id, out);
    const struct channel_row *row = NULL;
    if (gate_guild_find(sandbox, place.guild_id))
        row = find_channel(place.channel_id - place.guild_id);
    int rc = open_channel(row, place.channel_id, place.guild_id, out);
    return rc < 0 ? rc
                  : GATE_FILL(out, ",'guild_id':'$'}",
                              gate_raw_blank(gate_id_text(place.guild_id, guild)));
}

/* ---- Places ------------------------------------------------------------------------------------
 */

/* The guild whose id is so little below that the channel must be one of its own. */
static bool find_seeded(struct gate_sandbox *sandbox, struct gate_place *place) {
    for (size_t i = 0; i < GATE_GUILD_CHANNELS; i++) {
        place->guild_id = place->channel_id - channel_rows[i].distance;
        if (gate_guild_find(sandbox, place->guild_id)) return true;
    }
    place->guild_id = 0;
    return gate_is_person(sandbox, place->channel_id - 1);
}

bool gate_place_find(struct gate_sandbox *sandbox, uint64_t channel_id, struct gate_place *out) {
    const struct gate_world *world = &sandbox->world;
    size_t known = world->places_used < GATE_PLACES_MAX ? world->places_used : GATE_PLACES_MAX;
    *out = (struct gate_place){.channel_id = channel_id};
    if (channel_id == 0) return false;
    if (find_seeded(sandbox, out)) return true;
    for (size_t i = 0; i < known; i++) {
        if (world->places[i].channel_id != channel_id) continue;
        *out = world->places[i];
        return true;
    }
    return false;
}

void gate_place_note(struct gate_sandbox *sandbox, struct gate_place place) {
    struct gate_world *world = &sandbox->world;
    struct gate_place known;
    if (place.channel_id == 0 || gate_place_find(sandbox, place.channel_id, &known)) return;
    world->places[world->places_used++ % GATE_PLACES_MAX] = place;
}

/* ---- Interactions ------------------------------------------------------------------------------
 */

struct gate_interaction *gate_interaction_find_token(struct gate_sandbox *sandbox,
                                                     struct gate_span token) {
    for (size_t i = 0; i < GATE_INTERACTIONS_MAX; i++) {
        struct gate_interaction *one = &sandbox->world.interactions[i];
        if (one->id == 0 || strlen(one->token) != token.len) continue;
        if (memcmp(one->token, token.data, token.len) == 0) return one;
    }
    return NULL;
}

struct gate_interaction *gate_interaction_find(struct gate_sandbox *sandbox, uint64_t id,
                                               struct gate_span token) {
    struct gate_interaction *one = gate_interaction_find_token(sandbox, token);
    return one && one->id == id ? one : NULL;
}

void gate_interaction_note(struct gate_sandbox *sandbox, const struct gate_interaction *one,
                           struct gate_span token, struct gate_span user) {
    struct gate_world *world = &sandbox->world;
    if (one->id == 0 || token.len == 0 || token.len >= GATE_INTERACTION_TOKEN_MAX) return;
    struct gate_interaction *known = gate_interaction_find_token(sandbox, token);
    if (!known) known = &world->interactions[world->interactions_used++ % GATE_INTERACTIONS_MAX];
    gate_buf_free(&known->user);
    *known = *one;
    gate_buf_init(&known->user, 0, 0);
    if (gate_buf_append(&known->user, user) < 0) known->id = 0;
    memset(known->token, 0, GATE_INTERACTION_TOKEN_MAX);
    memcpy(known->token, token.data, token.len);
}

void gate_interactions_forget(struct gate_sandbox *sandbox) {
    for (size_t i = 0; i < GATE_INTERACTIONS_MAX; i++)
        gate_buf_free(&sandbox->world.interactions[i].user);
}

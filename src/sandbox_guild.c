/* sandbox_guild.c - see sandbox_guild.h. Roles, channels and members are those of sandbox_world.c,
 * the same in every guild. */
#include "sandbox_guild.h"

#include <inttypes.h>
#include <stdio.h>

#include "sandbox_state.h"
#include "sandbox_world.h"

#define FIRST_MS                                                                                   \
    INT64_C(60000000000) /* since Discord's epoch: a day of 2016; ids have 18 digits               \
                          */
#define SHARDS_EVEN_MS UINT64_C(232792560) /* a multiple of every number up to 20 */
#define JOINED_AT      "2024-02-03T04:05:06.789000+00:00"

struct gate_span gate_id_text(uint64_t id, char out[GATE_ID_BYTES]) {
    int len = snprintf(out, GATE_ID_BYTES, "%" PRIu64, id);
    return (struct gate_span){out, (size_t)len};
}

/* A snowflake: milliseconds above 22 bits of worker, process and increment. Shards are chosen by
 * the milliseconds, so one more each spreads the guilds evenly; the first is on shard 0 whatever
 * their count (up to 20), so that events without a guild can take it as theirs. */
void gate_guilds_make(struct gate_sandbox *sandbox) {
    uint64_t steps = (uint64_t)FIRST_MS / SHARDS_EVEN_MS + 1;
    sandbox->world.first_ms = (steps + (gate_sandbox_random(sandbox) & 0xff)) * SHARDS_EVEN_MS;
    for (int i = 0; i < sandbox->options.guilds; i++) {
        uint64_t low = gate_sandbox_random(sandbox) & 0x3ffff0;
        uint64_t id = (sandbox->world.first_ms + (uint64_t)i) << 22 | low;
        sandbox->guilds[i] = (struct gate_guild){.id = id, .channel_id = id + 1};
    }
}

struct gate_guild *gate_guild_find(struct gate_sandbox *sandbox, uint64_t id) {
    uint64_t place = (id >> 22) - sandbox->world.first_ms;
    if (place >= (uint64_t)sandbox->options.guilds) return NULL;
    return sandbox->guilds[place].id == id ? &sandbox->guilds[place] : NULL;
}

static const char guild_form[] =
    "{'id':'$','name':$,'icon':null,'splash':null,'discovery_splash':null,'banner':null,"
    "'description':null,'owner_id':$,'region':'deprecated','afk_channel_id':null,"
    "'afk_timeout':300,'verification_level':0,'default_message_notifications':0,"
    "'explicit_content_filter':0,'features':[],'mfa_level':0,'application_id':null,"
    "'system_channel_id':null,'system_channel_flags':0,'rules_channel_id':null,"
    "'public_updates_channel_id':null,'vanity_url_code':null,'premium_tier':0,"
    "'premium_subscription_count':0,'preferred_locale':'en-US','nsfw':false,'nsfw_level':0,"
    "'premium_progress_bar_enabled':false,'max_members':500000,'max_video_channel_users':25,"
    "'emojis':[],'stickers':[],"
    "'roles':[$],"
    "'joined_at':'" JOINED_AT "','large':$,'unavailable':false,'lazy':true,'version':1,"
    "'member_count':$,'voice_states':[],'members':[$],'channels':[$],"
    "'threads':[],'presences':[$],'stage_instances':[],'guild_scheduled_events':[],"
    "'soundboard_sounds':[],'embedded_activities':[],'application_command_counts':{}}";

/* The bot; with the intent for presences everybody else as well. */
static int list_members(const struct gate_sandbox *sandbox, uint64_t guild_id, bool all,
                        struct gate_buf *out) {
    uint64_t bot = gate_id_read(sandbox->options.user_id);
    int rc = gate_member_describe(sandbox, guild_id, bot, true, out);
    for (int i = 0; i < sandbox->options.members && all && rc == GATE_OK; i++) {
        rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK)
            rc = gate_member_describe(sandbox, guild_id, gate_person_id(sandbox, i), true, out);
    }
    return rc;
}

int gate_presence_describe(uint64_t guild_id, uint64_t user_id, struct gate_buf *out) {
    char guild[GATE_ID_BYTES], user[GATE_ID_BYTES];
    return GATE_FILL(out,
                     "{'user':{'id':'$'},'guild_id':'$','status':'online','activities':[],"
                     "'client_status':{'desktop':'online'}}",
                     gate_raw_blank(gate_id_text(user_id, user)),
                     gate_raw_blank(gate_id_text(guild_id, guild)));
}

static int list_presences(const struct gate_sandbox *sandbox, uint64_t guild_id, bool all,
                          struct gate_buf *out) {
    int rc = gate_buf_reserve(out, 1);
    for (int i = 0; i < sandbox->options.members && all && rc == GATE_OK; i++) {
        if (i > 0) rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK) rc = gate_presence_describe(guild_id, gate_person_id(sandbox, i), out);
    }
    return rc;
}

/* The first of the people owns it; without people the bot does. */
static struct gate_span name_owner(const struct gate_sandbox *sandbox, char id[GATE_ID_BYTES]) {
    if (sandbox->options.members == 0) return sandbox->options.user_id;
    return gate_id_text(gate_person_id(sandbox, 0), id);
}

int gate_guild_describe(const struct gate_sandbox *sandbox, uint64_t guild_id,
                        const struct gate_guild_view *view, struct gate_buf *out) {
    char id[GATE_ID_BYTES], owner[GATE_ID_BYTES], name[GATE_GUILD_NAME_BYTES];
    int members = sandbox->options.members + 1;
    int threshold = view->large_threshold ? view->large_threshold : GATE_LARGE_THRESHOLD;
    struct gate_buf parts[4];
    for (size_t i = 0; i < 4; i++) gate_buf_init(&parts[i], 0, 0);
    int rc = gate_roles_list(sandbox, guild_id, &parts[0]);
    if (rc == GATE_OK) rc = list_members(sandbox, guild_id, view->everybody, &parts[1]);
    if (rc == GATE_OK) rc = gate_channels_list(guild_id, &parts[2]);
    if (rc == GATE_OK) rc = list_presences(sandbox, guild_id, view->everybody, &parts[3]);
    if (rc == GATE_OK)
        rc = GATE_FILL(
            out, guild_form, gate_raw_blank(gate_id_text(guild_id, id)),
            gate_text_blank(gate_guild_name(sandbox, guild_id, name)),
            gate_text_blank(name_owner(sandbox, owner)), gate_raw_blank(gate_buf_span(&parts[0])),
            gate_boolean_blank(members > threshold), gate_integer_blank(members),
            gate_raw_blank(gate_buf_span(&parts[1])), gate_raw_blank(gate_buf_span(&parts[2])),
            gate_raw_blank(gate_buf_span(&parts[3])));
    for (size_t i = 0; i < 4; i++) gate_buf_free(&parts[i]);
    return rc;
}

struct gate_span gate_guild_name(const struct gate_sandbox *sandbox, uint64_t guild_id,
                                 char out[GATE_GUILD_NAME_BYTES]) {
    uint64_t place = (guild_id >> 22) - sandbox->world.first_ms;
    bool known = place < (uint64_t)sandbox->options.guilds;
    int len = known ? snprintf(out, GATE_GUILD_NAME_BYTES, "Guild %" PRIu64, place + 1)
                    : snprintf(out, GATE_GUILD_NAME_BYTES, "Guild");
    return (struct gate_span){out, (size_t)len};
}

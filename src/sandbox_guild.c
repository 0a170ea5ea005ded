/* sandbox_guild.c - see sandbox_guild.h. A guild has one role, one text channel, one voice channel
 * and one member, the bot: the least that clients with a cache are content with. */
#include "sandbox_guild.h"

#include <inttypes.h>
#include <stdio.h>

#include "sandbox_state.h"

#define FIRST_MS                                                                                   \
    INT64_C(60000000000) /* since Discord's epoch: a day of 2016; ids have 18 digits               \
                          */
#define JOINED_AT "2024-02-03T04:05:06.789000+00:00"

struct gate_span gate_id_text(uint64_t id, char out[GATE_ID_BYTES]) {
    int len = snprintf(out, GATE_ID_BYTES, "%" PRIu64, id);
    return (struct gate_span){out, (size_t)len};
}

/* A snowflake: milliseconds above 22 bits of worker, process and increment. Shards are chosen by
 * the milliseconds, so one more each spreads the guilds evenly. */
void gate_guilds_make(struct gate_sandbox *sandbox) {
    uint64_t first_ms = (uint64_t)FIRST_MS + (gate_sandbox_random(sandbox) & 0xffffff) * 256;
    for (int i = 0; i < sandbox->options.guilds; i++) {
        uint64_t low = gate_sandbox_random(sandbox) & 0x3ffff0;
        uint64_t id = (first_ms + (uint64_t)i) << 22 | low;
        sandbox->guilds[i] = (struct gate_guild){.id = id, .channel_id = id + 1};
    }
}

struct gate_guild *gate_guild_find(struct gate_sandbox *sandbox, uint64_t id) {
    for (int i = 0; i < sandbox->options.guilds; i++)
        if (sandbox->guilds[i].id == id) return &sandbox->guilds[i];
    return NULL;
}

int gate_guild_member(const struct gate_sandbox *sandbox, struct gate_buf *out) {
    return GATE_FILL(out,
                     "{'user':$,'nick':null,'avatar':null,'roles':[],'joined_at':'" JOINED_AT "',"
                     "'premium_since':null,'deaf':false,'mute':false,'pending':false,'flags':0,"
                     "'communication_disabled_until':null}",
                     gate_raw_blank(sandbox->options.user));
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
    "'roles':[{'id':'$','name':'@everyone','color':0,'hoist':false,'icon':null,"
    "'unicode_emoji':null,'position':0,'permissions':'2248473465835073','managed':false,"
    "'mentionable':false,'flags':0}],"
    "'joined_at':'" JOINED_AT "','large':false,'unavailable':false,'lazy':true,'version':1,"
    "'member_count':1,'voice_states':[],'members':[$],"
    "'channels':[{'id':'$','type':0,'name':'general','position':0,'topic':null,'nsfw':false,"
    "'parent_id':null,'last_message_id':null,'rate_limit_per_user':0,'flags':0,"
    "'permission_overwrites':[]},"
    "{'id':'$','type':2,'name':'voice','position':1,'bitrate':64000,'user_limit':0,'nsfw':false,"
    "'parent_id':null,'rtc_region':null,'rate_limit_per_user':0,'flags':0,"
    "'permission_overwrites':[]}],"
    "'threads':[],'presences':[],'stage_instances':[],'guild_scheduled_events':[],"
    "'soundboard_sounds':[],'embedded_activities':[],'application_command_counts':{}}";

int gate_guild_describe(const struct gate_sandbox *sandbox, size_t number, struct gate_buf *out) {
    char id[GATE_ID_BYTES], text_channel[GATE_ID_BYTES], voice_channel[GATE_ID_BYTES], name[32];
    const struct gate_guild *guild = &sandbox->guilds[number];
    struct gate_buf member;
    struct gate_blank id_blank = gate_raw_blank(gate_id_text(guild->id, id));
    snprintf(name, sizeof name, "Guild %zu", number + 1);
    gate_buf_init(&member, 0, 0);
    int rc = gate_guild_member(sandbox, &member);
    if (rc == GATE_OK)
        rc = GATE_FILL(out, guild_form, id_blank, gate_string_blank(name),
                       gate_text_blank(sandbox->options.user_id), id_blank,
                       gate_raw_blank(gate_buf_span(&member)),
                       gate_raw_blank(gate_id_text(guild->channel_id, text_channel)),
                       gate_raw_blank(gate_id_text(guild->channel_id + 1, voice_channel)));
    gate_buf_free(&member);
    return rc;
}

/* sandbox_intents.c - see sandbox_intents.h. Its own table on purpose, not the client's: what the
 * two sides believe must be able to differ for a test to notice. */
#include "sandbox_intents.h"

#include <string.h>

#define BIT(n) (1u << (n))

static const struct gate_event_rule rules[] = {
    {"AUTO_MODERATION_RULE_CREATE", BIT(20), 0},
    {"AUTO_MODERATION_RULE_UPDATE", BIT(20), 0},
    {"AUTO_MODERATION_RULE_DELETE", BIT(20), 0},
    {"AUTO_MODERATION_ACTION_EXECUTION", BIT(21), 0},
    {"CHANNEL_CREATE", BIT(0), 0},
    {"CHANNEL_UPDATE", BIT(0), 0},
    {"CHANNEL_DELETE", BIT(0), 0},
    {"CHANNEL_PINS_UPDATE", BIT(0), BIT(12)},
    {"VOICE_CHANNEL_STATUS_UPDATE", BIT(0), 0},
    {"VOICE_CHANNEL_START_TIME_UPDATE", BIT(0), 0},
    {"THREAD_CREATE", BIT(0), 0},
    {"THREAD_UPDATE", BIT(0), 0},
    {"THREAD_DELETE", BIT(0), 0},
    {"THREAD_LIST_SYNC", BIT(0), 0},
    {"THREAD_MEMBER_UPDATE", BIT(0), 0},
    {"THREAD_MEMBERS_UPDATE", BIT(0) | BIT(1), 0},
    {"GUILD_CREATE", BIT(0), 0},
    {"GUILD_UPDATE", BIT(0), 0},
    {"GUILD_DELETE", BIT(0), 0},
    {"GUILD_AUDIT_LOG_ENTRY_CREATE", BIT(2), 0},
    {"GUILD_BAN_ADD", BIT(2), 0},
    {"GUILD_BAN_REMOVE", BIT(2), 0},
    {"GUILD_EMOJIS_UPDATE", BIT(3), 0},
    {"GUILD_STICKERS_UPDATE", BIT(3), 0},
    {"GUILD_SOUNDBOARD_SOUND_CREATE", BIT(3), 0},
    {"GUILD_SOUNDBOARD_SOUND_UPDATE", BIT(3), 0},
    {"GUILD_SOUNDBOARD_SOUND_DELETE", BIT(3), 0},
    {"GUILD_SOUNDBOARD_SOUNDS_UPDATE", BIT(3), 0},
    {"GUILD_INTEGRATIONS_UPDATE", BIT(4), 0},
    {"INTEGRATION_CREATE", BIT(4), 0},
    {"INTEGRATION_UPDATE", BIT(4), 0},
    {"INTEGRATION_DELETE", BIT(4), 0},
    {"WEBHOOKS_UPDATE", BIT(5), 0},
    {"INVITE_CREATE", BIT(6), 0},
    {"INVITE_DELETE", BIT(6), 0},
    {"VOICE_STATE_UPDATE", BIT(7), 0},
    {"VOICE_CHANNEL_EFFECT_SEND", BIT(7), 0},
    {"PRESENCE_UPDATE", BIT(8), 0},
    {"GUILD_MEMBER_ADD", BIT(1), 0},
    {"GUILD_MEMBER_UPDATE", BIT(1), 0},
    {"GUILD_MEMBER_REMOVE", BIT(1), 0},
    {"GUILD_ROLE_CREATE", BIT(0), 0},
    {"GUILD_ROLE_UPDATE", BIT(0), 0},
    {"GUILD_ROLE_DELETE", BIT(0), 0},
    {"GUILD_SCHEDULED_EVENT_CREATE", BIT(16), 0},
    {"GUILD_SCHEDULED_EVENT_UPDATE", BIT(16), 0},
    {"GUILD_SCHEDULED_EVENT_DELETE", BIT(16), 0},
    {"GUILD_SCHEDULED_EVENT_USER_ADD", BIT(16), 0},
    {"GUILD_SCHEDULED_EVENT_USER_REMOVE", BIT(16), 0},
    {"MESSAGE_CREATE", BIT(9), BIT(12)},
    {"MESSAGE_UPDATE", BIT(9), BIT(12)},
    {"MESSAGE_DELETE", BIT(9), BIT(12)},
    {"MESSAGE_DELETE_BULK", BIT(9), 0},
    {"MESSAGE_REACTION_ADD", BIT(10), BIT(13)},
    {"MESSAGE_REACTION_REMOVE", BIT(10), BIT(13)},
    {"MESSAGE_REACTION_REMOVE_ALL", BIT(10), BIT(13)},
    {"MESSAGE_REACTION_REMOVE_EMOJI", BIT(10), BIT(13)},
    {"MESSAGE_POLL_VOTE_ADD", BIT(24), BIT(25)},
    {"MESSAGE_POLL_VOTE_REMOVE", BIT(24), BIT(25)},
    {"STAGE_INSTANCE_CREATE", BIT(0), 0},
    {"STAGE_INSTANCE_UPDATE", BIT(0), 0},
    {"STAGE_INSTANCE_DELETE", BIT(0), 0},
    {"TYPING_START", BIT(11), BIT(14)},
    /* What needs no intent stands here so that its name is known. */
    {"READY", 0, 0},
    {"RESUMED", 0, 0},
    {"RATE_LIMITED", 0, 0},
    {"INTERACTION_CREATE", 0, 0},
    {"USER_UPDATE", 0, 0},
    {"VOICE_SERVER_UPDATE", 0, 0},
    {"GUILD_MEMBERS_CHUNK", 0, 0},
    {"SOUNDBOARD_SOUNDS", 0, 0},
    {"CHANNEL_INFO", 0, 0},
    {"ENTITLEMENT_CREATE", 0, 0},
    {"ENTITLEMENT_UPDATE", 0, 0},
    {"ENTITLEMENT_DELETE", 0, 0},
    {"SUBSCRIPTION_CREATE", 0, 0},
    {"SUBSCRIPTION_UPDATE", 0, 0},
    {"SUBSCRIPTION_DELETE", 0, 0},
    {"APPLICATION_COMMAND_PERMISSIONS_UPDATE", 0, 0},
};

static const struct gate_event_rule free_rule = {"", 0, 0};

const struct gate_event_rule *gate_event_rule_at(size_t at) {
    return at < sizeof rules / sizeof rules[0] ? &rules[at] : NULL;
}

const struct gate_event_rule *gate_event_rule(struct gate_span name) {
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strlen(rules[i].name) != name.len) continue;
        if (memcmp(rules[i].name, name.data, name.len) == 0) return &rules[i];
    }
    return &free_rule;
}

int64_t gate_intent_bit(const char *name) {
    static const struct {
        const char *name;
        int bit;
    } intents[] = {{"guilds", 0},
                   {"guild_members", 1},
                   {"guild_moderation", 2},
                   {"guild_expressions", 3},
                   {"guild_integrations", 4},
                   {"guild_webhooks", 5},
                   {"guild_invites", 6},
                   {"guild_voice_states", 7},
                   {"guild_presences", 8},
                   {"guild_messages", 9},
                   {"guild_message_reactions", 10},
                   {"guild_message_typing", 11},
                   {"direct_messages", 12},
                   {"direct_message_reactions", 13},
                   {"direct_message_typing", 14},
                   {"message_content", 15},
                   {"guild_scheduled_events", 16},
                   {"auto_moderation_configuration", 20},
                   {"auto_moderation_execution", 21},
                   {"guild_message_polls", 24},
                   {"direct_message_polls", 25}};
    for (size_t i = 0; i < sizeof intents / sizeof intents[0]; i++)
        if (strcmp(intents[i].name, name) == 0) return INT64_C(1) << intents[i].bit;
    return 0;
}

/* traffic.c - see traffic.h. A writer of two encodings, and the shapes written with it. */
#include "traffic.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void traffic_put(struct traffic_bytes *bytes, const void *data, size_t len) {
    if (bytes->capacity - bytes->len < len) {
        bytes->capacity = (bytes->len + len) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (!bytes->data) abort();
    }
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

/* ---- Numbers by chance ----------------------------------------------------------------------- */

static uint64_t roll(struct traffic *t) { /* splitmix64 */
    uint64_t z = (t->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int between(struct traffic *t, int low, int high) {
    return low + (int)(roll(t) % (uint64_t)(high - low + 1));
}

static bool chance(struct traffic *t, int percent) {
    return between(t, 1, 100) <= percent;
}

/* One of `count` things with an id, the first ones more often than the last. */
static uint64_t some_id(struct traffic *t, uint64_t kind, int count) {
    int a = between(t, 0, count - 1), b = between(t, 0, count - 1);
    uint64_t nth = (uint64_t)(a < b ? a : b) + kind * 1000003u;
    nth *= 0x9e3779b97f4a7c15u;
    return 100000000000000000u + nth % 1100000000000000000u;
}

static uint64_t user_id(struct traffic *t) {
    return some_id(t, 1, 20000);
}
static uint64_t guild_id(struct traffic *t) {
    return some_id(t, 2, 200);
}
static uint64_t channel_id(struct traffic *t) {
    return some_id(t, 3, 4000);
}
static uint64_t role_id(struct traffic *t) {
    return some_id(t, 4, 2000);
}
static uint64_t new_id(struct traffic *t) {
    return 1200000000000000000u + roll(t) % 200000000000000000u;
}

/* ---- Writing either encoding ----------------------------------------------------------------- */

static void put_text(struct traffic *t, const char *text) {
    traffic_put(t->bytes, text, strlen(text));
}

static void put_byte(struct traffic *t, unsigned byte) {
    char c = (char)byte;
    traffic_put(t->bytes, &c, 1);
}

static void put_big_endian(struct traffic *t, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) put_byte(t, value >> shift & 255);
}

static void put_comma(struct traffic *t) {
    if (t->encoding == TRAFFIC_ETF) return;
    if (!t->first[t->depth]) put_byte(t, ',');
    t->first[t->depth] = 0;
}

static void open_many(struct traffic *t, int count, const char *json, unsigned tag) {
    if (t->encoding == TRAFFIC_JSON) {
        put_text(t, json);
        t->first[++t->depth] = 1;
        return;
    }
    put_byte(t, tag);
    put_big_endian(t, (uint32_t)count);
}

static void open_map(struct traffic *t, int count) {
    open_many(t, count, "{", 116);
}

static void close_map(struct traffic *t) {
    if (t->encoding == TRAFFIC_ETF) return;
    t->depth--;
    put_byte(t, '}');
}

/* An empty list is NIL in ETF, and every other one ends with it. */
static void open_list(struct traffic *t, int count) {
    if (t->encoding == TRAFFIC_ETF && count == 0) return;
    open_many(t, count, "[", 108);
}

static void close_list(struct traffic *t) {
    if (t->encoding == TRAFFIC_ETF) {
        put_byte(t, 106);
        return;
    }
    t->depth--;
    put_byte(t, ']');
}

static void put_atom(struct traffic *t, const char *name) {
    put_byte(t, 115);
    put_byte(t, (unsigned)strlen(name));
    put_text(t, name);
}

static void key(struct traffic *t, const char *name) {
    if (t->encoding == TRAFFIC_ETF) {
        put_atom(t, name);
        return;
    }
    put_comma(t);
    put_byte(t, '"');
    put_text(t, name);
    put_text(t, "\":");
}

/* The texts here need no escape. */
static void text_value(struct traffic *t, const char *text) {
    if (t->encoding == TRAFFIC_ETF) {
        put_byte(t, 109);
        put_big_endian(t, (uint32_t)strlen(text));
        put_text(t, text);
        return;
    }
    put_byte(t, '"');
    put_text(t, text);
    put_byte(t, '"');
}

static void whole_value(struct traffic *t, uint64_t value) {
    if (t->encoding == TRAFFIC_JSON) {
        char digits[24];
        snprintf(digits, sizeof digits, "%" PRIu64, value);
        put_text(t, digits);
        return;
    }
    if (value < 256) {
        put_byte(t, 97);
        put_byte(t, (unsigned)value);
    } else if (value <= INT32_MAX) {
        put_byte(t, 98);
        put_big_endian(t, (uint32_t)value);
    } else {
        unsigned len = 0;
        for (uint64_t rest = value; rest; rest >>= 8) len++;
        put_byte(t, 110);
        put_byte(t, len);
        put_byte(t, 0);
        for (unsigned i = 0; i < len; i++) put_byte(t, (unsigned)(value >> (8 * i) & 255));
    }
}

/* Ids are texts in JSON and numbers in ETF, as Discord has them. */
static void id_value(struct traffic *t, uint64_t id) {
    if (t->encoding == TRAFFIC_ETF) {
        whole_value(t, id);
        return;
    }
    put_byte(t, '"');
    whole_value(t, id);
    put_byte(t, '"');
}

static void word_value(struct traffic *t, const char *word) { /* nil, true, false */
    if (t->encoding == TRAFFIC_ETF)
        put_atom(t, word);
    else
        put_text(t, strcmp(word, "nil") ? word : "null");
}

static void put_string(struct traffic *t, const char *name, const char *text) {
    key(t, name);
    text_value(t, text);
}
static void put_whole(struct traffic *t, const char *name, uint64_t value) {
    key(t, name);
    whole_value(t, value);
}
static void put_id(struct traffic *t, const char *name, uint64_t id) {
    key(t, name);
    id_value(t, id);
}
static void put_flag(struct traffic *t, const char *name, bool flag) {
    key(t, name);
    word_value(t, flag ? "true" : "false");
}
static void put_nil(struct traffic *t, const char *name) {
    key(t, name);
    word_value(t, "nil");
}

/* ---- Texts ----------------------------------------------------------------------------------- */

static const char *const WORDS[] = {
    "the",          "a",
    "and",          "to",
    "is",           "that",
    "it",           "moon",
    "gate",         "night",
    "raid",         "tonight",
    "anyone",       "know",
    "how",          "this",
    "works",        "lol",
    "thanks",       "you",
    "please",       "update",
    "server",       "voice",
    "channel",      "bot",
    "again",        "ok",
    "maybe",        "later",
    "really",       "good",
    "point",        "what",
    "about",        "new",
    "version",      "was",
    "broken",       "since",
    "yesterday",    "\xc3\xa9t\xc3\xa9",
    "na\xc3\xafve", "\xf0\x9f\x8c\x99",
    "\xe6\x9c\x88", "welcome",
    "everyone",     "rules",
    "read",         "first",
};

static const char *some_word(struct traffic *t) {
    return WORDS[roll(t) % (sizeof WORDS / sizeof *WORDS)];
}

static void put_sentence(struct traffic *t, const char *name, int words) {
    char text[2000];
    size_t len = 0;
    for (int i = 0; i < words && len < sizeof text - 40; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, i ? " %s" : "%s", some_word(t));
    text[len] = 0;
    put_string(t, name, text);
}

static void put_time(struct traffic *t, const char *name) {
    char text[64];
    snprintf(text, sizeof text, "20%02d-%02d-%02dT%02d:%02d:%02d.%06d+00:00", between(t, 16, 26),
             between(t, 1, 12), between(t, 1, 28), between(t, 0, 23), between(t, 0, 59),
             between(t, 0, 59), between(t, 0, 999999));
    put_string(t, name, text);
}

/* The hash of a picture, or none. */
static void put_picture(struct traffic *t, const char *name, int percent) {
    char text[40];
    if (!chance(t, percent)) {
        put_nil(t, name);
        return;
    }
    uint64_t a = roll(t), b = roll(t);
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, a, b);
    put_string(t, name, text);
}

/* ---- The objects of events ------------------------------------------------------------------- */

static void put_user(struct traffic *t) {
    char name[40];
    uint64_t id = user_id(t);
    snprintf(name, sizeof name, "user_%" PRIu64, id % 100000);
    open_map(t, 9);
    put_id(t, "id", id);
    put_string(t, "username", name);
    put_sentence(t, "global_name", between(t, 1, 3));
    put_string(t, "discriminator", "0");
    put_picture(t, "avatar", 80);
    put_whole(t, "public_flags", (uint64_t)(chance(t, 70) ? 0 : 1 << between(t, 6, 22)));
    put_nil(t, "avatar_decoration_data");
    put_nil(t, "clan");
    put_flag(t, "bot", chance(t, 5));
    close_map(t);
}

static void put_roles(struct traffic *t, const char *name, int count) {
    key(t, name);
    open_list(t, count);
    for (int i = 0; i < count; i++) {
        put_comma(t);
        id_value(t, role_id(t));
    }
    close_list(t);
}

/* The fields of a member; the caller has opened the map with 11 more than its own. */
static void put_member_fields(struct traffic *t) {
    put_roles(t, "roles", between(t, 0, 8));
    put_nil(t, "premium_since");
    put_flag(t, "pending", false);
    chance(t, 40) ? put_sentence(t, "nick", 2) : put_nil(t, "nick");
    put_flag(t, "mute", false);
    put_time(t, "joined_at");
    put_whole(t, "flags", (uint64_t)between(t, 0, 3));
    put_flag(t, "deaf", false);
    put_nil(t, "communication_disabled_until");
    put_nil(t, "banner");
    put_picture(t, "avatar", 10);
}

static void put_member(struct traffic *t, const char *name) {
    key(t, name);
    open_map(t, 11);
    put_member_fields(t);
    close_map(t);
}

static void put_member_with_user(struct traffic *t, const char *name) {
    key(t, name);
    open_map(t, 12);
    key(t, "user");
    put_user(t);
    put_member_fields(t);
    close_map(t);
}

static void put_activity(struct traffic *t) {
    put_comma(t);
    open_map(t, 9);
    put_whole(t, "type", (uint64_t)between(t, 0, 4));
    put_sentence(t, "state", between(t, 1, 6));
    put_sentence(t, "name", between(t, 1, 3));
    put_string(t, "id", "custom");
    put_sentence(t, "details", between(t, 2, 7));
    put_whole(t, "created_at", 1786000000000u + roll(t) % 1000000000u);
    put_id(t, "application_id", some_id(t, 6, 300));
    key(t, "timestamps");
    open_map(t, 1);
    put_whole(t, "start", 1786000000000u + roll(t) % 1000000000u);
    close_map(t);
    key(t, "assets");
    open_map(t, 2);
    put_sentence(t, "large_text", 2);
    put_picture(t, "large_image", 100);
    close_map(t);
    close_map(t);
}

static void put_activities(struct traffic *t, const char *name, int count) {
    key(t, name);
    open_list(t, count);
    for (int i = 0; i < count; i++) put_activity(t);
    close_list(t);
}

static const char *some_status(struct traffic *t) {
    static const char *const status[] = {"online", "idle", "dnd", "offline"};
    return status[roll(t) % 4];
}

static void put_presence_fields(struct traffic *t) { /* five fields */
    int count = between(t, 0, 3);
    key(t, "user");
    open_map(t, 1);
    put_id(t, "id", user_id(t));
    close_map(t);
    put_string(t, "status", some_status(t));
    key(t, "client_status");
    open_map(t, 1);
    put_string(t, chance(t, 60) ? "desktop" : "mobile", some_status(t));
    close_map(t);
    put_nil(t, "broadcast");
    put_activities(t, "activities", count);
}

static void presence_update(struct traffic *t) {
    open_map(t, 6);
    put_presence_fields(t);
    put_id(t, "guild_id", guild_id(t));
    close_map(t);
}

static void typing_start(struct traffic *t) {
    open_map(t, 5);
    put_id(t, "user_id", user_id(t));
    put_whole(t, "timestamp", 1786000000u + roll(t) % 1000000u);
    put_member_with_user(t, "member");
    put_id(t, "channel_id", channel_id(t));
    put_id(t, "guild_id", guild_id(t));
    close_map(t);
}

static void put_embed(struct traffic *t) {
    int fields = between(t, 0, 6);
    put_comma(t);
    open_map(t, 6);
    put_string(t, "type", "rich");
    put_sentence(t, "title", between(t, 2, 8));
    put_sentence(t, "description", between(t, 10, 80));
    put_whole(t, "color", roll(t) % 16777216u);
    key(t, "footer");
    open_map(t, 1);
    put_sentence(t, "text", 4);
    close_map(t);
    key(t, "fields");
    open_list(t, fields);
    for (int i = 0; i < fields; i++) {
        put_comma(t);
        open_map(t, 3);
        put_sentence(t, "name", 2);
        put_sentence(t, "value", between(t, 2, 15));
        put_flag(t, "inline", chance(t, 50));
        close_map(t);
    }
    close_list(t);
    close_map(t);
}

static void put_users(struct traffic *t, const char *name, int count) {
    key(t, name);
    open_list(t, count);
    for (int i = 0; i < count; i++) {
        put_comma(t);
        put_user(t);
    }
    close_list(t);
}

static void put_embeds(struct traffic *t, int count) {
    key(t, "embeds");
    open_list(t, count);
    for (int i = 0; i < count; i++) put_embed(t);
    close_list(t);
}

static void put_none(struct traffic *t, const char *name) {
    key(t, name);
    open_list(t, 0);
    close_list(t);
}

static void put_nonce(struct traffic *t) {
    char nonce[24];
    snprintf(nonce, sizeof nonce, "%" PRIu64, new_id(t));
    put_string(t, "nonce", nonce);
}

static void message(struct traffic *t) {
    open_map(t, 20);
    put_whole(t, "type", chance(t, 80) ? 0 : 19);
    put_flag(t, "tts", false);
    put_time(t, "timestamp");
    put_flag(t, "pinned", false);
    put_nonce(t);
    put_users(t, "mentions", chance(t, 25) ? between(t, 1, 3) : 0);
    put_roles(t, "mention_roles", chance(t, 5) ? 1 : 0);
    put_flag(t, "mention_everyone", false);
    put_member(t, "member");
    put_id(t, "id", new_id(t));
    put_whole(t, "flags", 0);
    put_embeds(t, chance(t, 15) ? between(t, 1, 2) : 0);
    put_nil(t, "edited_timestamp");
    put_sentence(t, "content", chance(t, 5) ? 0 : between(t, 1, 40));
    put_none(t, "components");
    put_id(t, "channel_id", channel_id(t));
    key(t, "author");
    put_user(t);
    put_none(t, "attachments");
    put_id(t, "guild_id", guild_id(t));
    put_whole(t, "channel_type", 0);
    close_map(t);
}

static void message_delete(struct traffic *t) {
    open_map(t, 3);
    put_id(t, "id", new_id(t));
    put_id(t, "channel_id", channel_id(t));
    put_id(t, "guild_id", guild_id(t));
    close_map(t);
}

static void member_update(struct traffic *t) {
    open_map(t, 13);
    key(t, "user");
    put_user(t);
    put_member_fields(t);
    put_id(t, "guild_id", guild_id(t));
    close_map(t);
}

static void reaction_add(struct traffic *t) {
    open_map(t, 9);
    put_id(t, "user_id", user_id(t));
    put_whole(t, "type", 0);
    put_id(t, "message_id", new_id(t));
    put_id(t, "message_author_id", user_id(t));
    put_member_with_user(t, "member");
    key(t, "emoji");
    open_map(t, 2);
    put_string(t, "name", "\xf0\x9f\x8c\x99");
    put_nil(t, "id");
    close_map(t);
    put_id(t, "channel_id", channel_id(t));
    put_flag(t, "burst", false);
    put_id(t, "guild_id", guild_id(t));
    close_map(t);
}

static void voice_state_update(struct traffic *t) {
    char session[40];
    uint64_t a = roll(t), b = roll(t);
    snprintf(session, sizeof session, "%016" PRIx64 "%016" PRIx64, a, b);
    open_map(t, 12);
    put_member_with_user(t, "member");
    put_id(t, "user_id", user_id(t));
    put_flag(t, "suppress", false);
    put_string(t, "session_id", session);
    put_flag(t, "self_video", false);
    put_flag(t, "self_mute", chance(t, 50));
    put_flag(t, "self_deaf", chance(t, 20));
    put_nil(t, "request_to_speak_timestamp");
    put_flag(t, "mute", false);
    put_id(t, "guild_id", guild_id(t));
    put_flag(t, "deaf", false);
    put_id(t, "channel_id", channel_id(t));
    close_map(t);
}

static void put_channel(struct traffic *t) {
    int overwrites = between(t, 0, 4);
    open_map(t, 11);
    put_whole(t, "version", 1786000000000u + roll(t) % 1000000000u);
    put_whole(t, "type", (uint64_t)between(t, 0, 5));
    chance(t, 40) ? put_sentence(t, "topic", between(t, 3, 20)) : put_nil(t, "topic");
    put_whole(t, "rate_limit_per_user", 0);
    put_whole(t, "position", (uint64_t)between(t, 0, 90));
    key(t, "permission_overwrites");
    open_list(t, overwrites);
    for (int i = 0; i < overwrites; i++) {
        put_comma(t);
        open_map(t, 4);
        put_whole(t, "type", 0);
        put_id(t, "id", role_id(t));
        put_string(t, "deny", chance(t, 50) ? "0" : "1049600");
        put_string(t, "allow", chance(t, 50) ? "0" : "3147776");
        close_map(t);
    }
    close_list(t);
    put_id(t, "parent_id", channel_id(t));
    put_flag(t, "nsfw", false);
    put_sentence(t, "name", 1);
    put_id(t, "last_message_id", new_id(t));
    put_id(t, "id", channel_id(t));
    close_map(t);
}

static void put_role(struct traffic *t) {
    open_map(t, 10);
    put_string(t, "permissions", "2248473465835073");
    put_whole(t, "position", (uint64_t)between(t, 0, 60));
    put_sentence(t, "name", 2);
    put_flag(t, "mentionable", false);
    put_flag(t, "managed", false);
    put_id(t, "id", role_id(t));
    put_nil(t, "icon");
    put_flag(t, "hoist", chance(t, 20));
    put_whole(t, "flags", 0);
    put_whole(t, "color", roll(t) % 16777216u);
    close_map(t);
}

static void put_guild_members(struct traffic *t, int count) {
    key(t, "members");
    open_list(t, count);
    for (int i = 0; i < count; i++) {
        put_comma(t);
        open_map(t, 12);
        key(t, "user");
        put_user(t);
        put_member_fields(t);
        close_map(t);
    }
    close_list(t);
}

static void put_guild_presences(struct traffic *t, int count) {
    key(t, "presences");
    open_list(t, count);
    for (int i = 0; i < count; i++) {
        put_comma(t);
        open_map(t, 5);
        put_presence_fields(t);
        close_map(t);
    }
    close_list(t);
}

static void put_things(struct traffic *t, const char *name, int count,
                       void (*put)(struct traffic *t)) {
    key(t, name);
    open_list(t, count);
    for (int i = 0; i < count; i++) {
        put_comma(t);
        put(t);
    }
    close_list(t);
}

static void guild_create(struct traffic *t) {
    int members = between(t, 50, 250);
    open_map(t, 16);
    put_id(t, "id", guild_id(t));
    put_sentence(t, "name", 3);
    put_picture(t, "icon", 90);
    put_id(t, "owner_id", user_id(t));
    put_flag(t, "large", members > 200);
    put_flag(t, "unavailable", false);
    put_whole(t, "member_count", (uint64_t)members);
    put_string(t, "preferred_locale", "en-US");
    put_whole(t, "verification_level", 2);
    put_time(t, "joined_at");
    put_things(t, "channels", between(t, 20, 90), put_channel);
    put_things(t, "roles", between(t, 10, 60), put_role);
    put_guild_members(t, members);
    put_guild_presences(t, members / 2);
    put_none(t, "voice_states");
    put_none(t, "threads");
    close_map(t);
}

/* How often each comes, in a thousand. */
static const struct kind {
    const char *name;
    int weight;
    void (*put)(struct traffic *t);
} KINDS[] = {
    {"PRESENCE_UPDATE", 420, presence_update},
    {"MESSAGE_CREATE", 200, message},
    {"TYPING_START", 120, typing_start},
    {"GUILD_MEMBER_UPDATE", 80, member_update},
    {"MESSAGE_REACTION_ADD", 60, reaction_add},
    {"VOICE_STATE_UPDATE", 50, voice_state_update},
    {"MESSAGE_UPDATE", 40, message},
    {"MESSAGE_DELETE", 20, message_delete},
    {"CHANNEL_UPDATE", 6, put_channel},
    {"GUILD_CREATE", 4, guild_create},
};

/* ---- Whole messages -------------------------------------------------------------------------- */

static void open_message(struct traffic *t, struct traffic_bytes *bytes, const char *event,
                         int op) {
    t->bytes = bytes;
    t->depth = 0;
    t->first[0] = 1;
    if (t->encoding == TRAFFIC_ETF) put_byte(t, 131);
    open_map(t, 4);
    key(t, "t");
    if (!event)
        word_value(t, "nil");
    else if (t->encoding == TRAFFIC_ETF)
        put_atom(t, event);
    else
        text_value(t, event);
    key(t, "s");
    if (event)
        whole_value(t, (uint64_t)++t->seq);
    else
        word_value(t, "nil");
    put_whole(t, "op", (uint64_t)op);
    key(t, "d");
}

void traffic_init(struct traffic *traffic, enum traffic_encoding encoding, uint64_t seed) {
    *traffic = (struct traffic){.encoding = encoding, .state = seed};
}

void traffic_hello(struct traffic *t, struct traffic_bytes *bytes, int interval_ms) {
    open_message(t, bytes, NULL, 10);
    open_map(t, 1);
    put_whole(t, "heartbeat_interval", (uint64_t)interval_ms);
    close_map(t);
    close_map(t);
}

void traffic_ready(struct traffic *t, struct traffic_bytes *bytes) {
    open_message(t, bytes, "READY", 0);
    open_map(t, 5);
    put_whole(t, "v", 10);
    key(t, "user");
    put_user(t);
    put_none(t, "guilds");
    put_string(t, "session_id", "0123456789abcdef0123456789abcdef");
    put_string(t, "resume_gateway_url", "wss://127.0.0.1:1");
    close_map(t);
    close_map(t);
}

void traffic_event(struct traffic *t, struct traffic_bytes *bytes) {
    int rest = between(t, 0, 999);
    const struct kind *kind = KINDS;
    while (rest >= kind->weight) rest -= kind++->weight;
    open_message(t, bytes, kind->name, 0);
    kind->put(t);
    close_map(t);
}

void traffic_stamp(struct traffic *t, struct traffic_bytes *bytes, int64_t now_ns) {
    open_message(t, bytes, "TYPING_START", 0);
    open_map(t, 5);
    put_id(t, "user_id", user_id(t));
    put_whole(t, "timestamp", (uint64_t)now_ns);
    put_member_with_user(t, "member");
    put_id(t, "channel_id", channel_id(t));
    put_id(t, "guild_id", guild_id(t));
    close_map(t);
    close_map(t);
}

void traffic_end(struct traffic *t, struct traffic_bytes *bytes) {
    open_message(t, bytes, "USER_UPDATE", 0);
    put_user(t);
    close_map(t);
}

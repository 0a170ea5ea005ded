/* sandbox_scene.c - see sandbox_scene.h. Each event is a form: ' stands for ", <word> for what the
 * scene has under it. The fields are those that Discord documents for gateway events of version 10,
 * with those that its clients read without asking. */
#include "sandbox_scene.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sandbox_guild.h"
#include "sandbox_json.h"
#include "sandbox_state.h"

#define VOICE_DISTANCE 2 /* of a guild's voice channel, see sandbox_world.c */

static int fill_form(const struct gate_scene *scene, const char *form, struct gate_buf *out);

/* ---- What a form's words stand for -------------------------------------------------------------
 */

static int append_id(uint64_t id, struct gate_buf *out) {
    char text[GATE_ID_BYTES];
    return gate_buf_append(out, gate_id_text(id, text));
}

static int put_id(const struct gate_scene *scene, struct gate_buf *out) {
    return append_id(scene->id, out);
}

static int put_bot_id(const struct gate_scene *scene, struct gate_buf *out) {
    return gate_buf_append(out, scene->sandbox->options.user_id);
}

static int put_user_id(const struct gate_scene *scene, struct gate_buf *out) {
    return append_id(scene->user_id, out);
}

static int put_channel_id(const struct gate_scene *scene, struct gate_buf *out) {
    return append_id(scene->place.channel_id, out);
}

static int put_guild_id(const struct gate_scene *scene, struct gate_buf *out) {
    return append_id(scene->place.guild_id, out);
}

static int put_voice_id(const struct gate_scene *scene, struct gate_buf *out) {
    return append_id(scene->place.guild_id + VOICE_DISTANCE, out);
}

static int put_message_id(const struct gate_scene *scene, struct gate_buf *out) {
    uint64_t last = scene->sandbox->world.last_message_id;
    return append_id(last ? last : scene->id, out);
}

static int put_now(const struct gate_scene *scene, struct gate_buf *out) {
    char text[GATE_TIME_BYTES];
    uint64_t id = gate_world_id(scene->sandbox);
    return gate_buf_append(out, gate_world_time(id, text));
}

/* When it came to be. */
static int put_time(const struct gate_scene *scene, struct gate_buf *out) {
    char text[GATE_TIME_BYTES];
    return gate_buf_append(out, gate_world_time(scene->id, text));
}

static int put_seconds(const struct gate_scene *scene, struct gate_buf *out) {
    return append_id(gate_world_seconds(gate_world_id(scene->sandbox)), out);
}

static int put_user(const struct gate_scene *scene, struct gate_buf *out) {
    return gate_user_describe(scene->sandbox, scene->user_id, out);
}

/* "guild_id": "...", or nothing. */
static int put_guild(const struct gate_scene *scene, struct gate_buf *out) {
    if (scene->place.guild_id == 0 || scene->bare) return GATE_OK;
    return fill_form(scene, "'guild_id':'<guild_id>',", out);
}

static int append_member(const struct gate_scene *scene, bool with_user, struct gate_buf *out) {
    return gate_member_describe(scene->sandbox, scene->place.guild_id, scene->user_id, with_user,
                                out);
}

/* The member that an author is: without the user, who stands beside it. */
static int put_author_member(const struct gate_scene *scene, struct gate_buf *out) {
    if (scene->place.guild_id == 0 || scene->bare) return GATE_OK;
    int rc = gate_buf_append(out, GATE_SPAN("\"member\":"));
    if (rc == GATE_OK) rc = append_member(scene, false, out);
    return rc < 0 ? rc : gate_buf_append_byte(out, ',');
}

static int put_member(const struct gate_scene *scene, struct gate_buf *out) {
    if (scene->place.guild_id == 0) return GATE_OK;
    int rc = gate_buf_append(out, GATE_SPAN("\"member\":"));
    if (rc == GATE_OK) rc = append_member(scene, true, out);
    return rc < 0 ? rc : gate_buf_append_byte(out, ',');
}

/* The fields of a member among those of the event. */
static int put_member_fields(const struct gate_scene *scene, struct gate_buf *out) {
    struct gate_buf member;
    gate_buf_init(&member, 0, 0);
    int rc = append_member(scene, true, &member);
    if (rc == GATE_OK)
        rc = gate_buf_append(out, (struct gate_span){member.data + 1, member.len - 2});
    gate_buf_free(&member);
    return rc;
}

static int put_channel(const struct gate_scene *scene, struct gate_buf *out) {
    return gate_channel_describe(scene->sandbox, scene->place, out);
}

/* A guild that is new to the bot, or one that it has. */
static int put_whole_guild(const struct gate_scene *scene, struct gate_buf *out) {
    static const struct gate_guild_view view = {.everybody = false};
    return gate_guild_describe(scene->sandbox, scene->place.guild_id, &view, out);
}

/* ---- Interactions ------------------------------------------------------------------------------
 */

static int64_t read_type(const struct gate_scene *scene) {
    uint64_t type = gate_json_id(gate_json_find(scene->given, "type"));
    return type == 0 ? 2 : (int64_t)type;
}

static int put_invoker(const struct gate_scene *scene, struct gate_buf *out) {
    if (scene->place.guild_id == 0) return fill_form(scene, "'user':<user>,'context':1,", out);
    struct gate_buf member;
    gate_buf_init(&member, 0, 0);
    int rc = append_member(scene, true, &member);
    if (rc == GATE_OK)
        rc = fill_form(scene,
                       "'guild_id':'<guild_id>','guild':{'id':'<guild_id>','locale':'en-US',"
                       "'features':[]},'guild_locale':'en-US','context':0,'member':",
                       out);
    if (rc == GATE_OK)
        rc = gate_json_merge(out, gate_buf_span(&member),
                             GATE_SPAN("{\"permissions\":\"2248473465835073\"}"));
    gate_buf_free(&member);
    return rc < 0 ? rc : gate_buf_append_byte(out, ',');
}

/* Command, component, autocomplete and form have data of their own; a component its message. */
static int put_interaction_data(const struct gate_scene *scene, struct gate_buf *out) {
    static const char *const forms[] = {
        "'data':{},", /* 0: there is none */
        "",           /* 1: a ping */
        "'data':{'id':'<bot_id>','name':'ping','type':1},",
        "'data':{'custom_id':'button','component_type':2,'id':1},'message':<bot_message>,",
        "'data':{'id':'<bot_id>','name':'ping','type':1,'options':[]},",
        "'data':{'custom_id':'modal','components':[]},",
    };
    int64_t type = read_type(scene);
    bool known = type < (int64_t)(sizeof forms / sizeof forms[0]);
    return fill_form(scene, forms[known ? type : 0], out);
}

/* What the component hangs on: a message of the bot. */
static int put_bot_message(const struct gate_scene *scene, struct gate_buf *out) {
    struct gate_scene other = *scene;
    other.given = GATE_SPAN("{}");
    other.user_id = gate_id_read(scene->sandbox->options.user_id);
    other.id = gate_world_id(scene->sandbox);
    other.bare = true;
    return gate_scene_message(&other, out);
}

/* ---- Forms -------------------------------------------------------------------------------------
 */

static const struct word {
    const char *word;
    int (*put)(const struct gate_scene *scene, struct gate_buf *out);
} words[] = {
    {"id", put_id},
    {"bot_id", put_bot_id},
    {"user_id", put_user_id},
    {"channel_id", put_channel_id},
    {"guild_id", put_guild_id},
    {"voice_id", put_voice_id},
    {"message_id", put_message_id},
    {"now", put_now},
    {"time", put_time},
    {"seconds", put_seconds},
    {"user", put_user},
    {"guild", put_guild},
    {"author_member", put_author_member},
    {"member", put_member},
    {"member_fields", put_member_fields},
    {"channel", put_channel},
    {"whole_guild", put_whole_guild},
    {"invoker", put_invoker},
    {"interaction_data", put_interaction_data},
    {"bot_message", put_bot_message},
};

static const struct word *find_word(const char *text, size_t len) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == len && memcmp(words[i].word, text, len) == 0) return &words[i];
    return NULL;
}

static int fill_form(const struct gate_scene *scene, const char *form, struct gate_buf *out) {
    int rc = GATE_OK;
    while (*form && rc == GATE_OK) {
        size_t plain = strcspn(form, "'<"), len;
        rc = gate_buf_append(out, (struct gate_span){form, plain});
        form += plain;
        if (rc < 0 || !*form) break;
        if (*form++ == '\'') {
            rc = gate_buf_append_byte(out, '"');
            continue;
        }
        len = strcspn(form, ">");
        const struct word *word = find_word(form, len);
        rc = word ? word->put(scene, out) : GATE_EUSAGE;
        form += len + 1;
    }
    return rc;
}

#define MESSAGE_FORM(edited)                                                                       \
    "{<guild><author_member>'id':'<id>','channel_id':'<channel_id>','type':0,'content':'',"        \
    "'author':<user>,'timestamp':'<time>','edited_timestamp':" edited ",'tts':false,"              \
    "'mention_everyone':false,'mentions':[],'mention_roles':[],'attachments':[],'embeds':[],"      \
    "'components':[],'pinned':false,'flags':0}"

#define REACTION_FORM                                                                              \
    "'channel_id':'<channel_id>','message_id':'<message_id>','emoji':{'id':null,'name':'\u2705'}," \
    "'burst':false,'type':0,'user_id':'<user_id>'}"

#define MEMBER_FORM "{<guild><member_fields>}"
#define USER_FORM   "{<guild>'user':<user>}"
#define ROLE_FORM                                                                                  \
    "{<guild>'role':{'id':'<id>','name':'new role','color':0,'colors':{'primary_color':0,"         \
    "'secondary_color':null,'tertiary_color':null},'hoist':false,'icon':null,"                     \
    "'unicode_emoji':null,'position':1,'permissions':'0','managed':false,'mentionable':false,"     \
    "'flags':0}}"

enum subject {
    ABOUT_NEW,      /* `id` is of something new */
    ABOUT_MESSAGE,  /* of the last message */
    ABOUT_CHANNEL,  /* of a channel: the place's */
    ABOUT_GUILD,    /* of a guild: the place's */
    ABOUT_NEWCOMER, /* what is new is the user */
    ABOUT_BOT       /* the user is the bot */
};

static const struct form {
    const char *event;
    enum subject subject;
    const char *text;
} forms[] = {
    {"MESSAGE_CREATE", ABOUT_NEW, MESSAGE_FORM("null")},
    {"MESSAGE_UPDATE", ABOUT_MESSAGE, MESSAGE_FORM("'<now>'")},
    {"MESSAGE_DELETE", ABOUT_MESSAGE, "{<guild>'id':'<id>','channel_id':'<channel_id>'}"},
    {"MESSAGE_DELETE_BULK", ABOUT_MESSAGE, "{<guild>'ids':['<id>'],'channel_id':'<channel_id>'}"},
    {"MESSAGE_REACTION_ADD", ABOUT_NEW,
     "{<guild><member>'message_author_id':'<bot_id>','burst_colors':[]," REACTION_FORM},
    {"MESSAGE_REACTION_REMOVE", ABOUT_NEW, "{<guild>" REACTION_FORM},
    {"MESSAGE_REACTION_REMOVE_ALL", ABOUT_NEW,
     "{<guild>'channel_id':'<channel_id>','message_id':'<message_id>'}"},
    {"TYPING_START", ABOUT_NEW,
     "{<guild><member>'channel_id':'<channel_id>','user_id':'<user_id>','timestamp':<seconds>}"},
    {"PRESENCE_UPDATE", ABOUT_NEW,
     "{<guild>'user':{'id':'<user_id>'},'status':'online','activities':[],"
     "'client_status':{'desktop':'online'}}"},
    {"INTERACTION_CREATE", ABOUT_NEW,
     "{<invoker><interaction_data>'id':'<id>','application_id':'<bot_id>','type':2,"
     "'token':'sandbox.<id>','version':1,'channel_id':'<channel_id>','channel':<channel>,"
     "'locale':'en-US','app_permissions':'2248473465835073','entitlements':[],"
     "'authorizing_integration_owners':{'0':'<guild_id>'},'attachment_size_limit':10485760}"},
    {"GUILD_MEMBER_ADD", ABOUT_NEWCOMER, MEMBER_FORM},
    {"GUILD_MEMBER_UPDATE", ABOUT_NEW, MEMBER_FORM},
    {"GUILD_MEMBER_REMOVE", ABOUT_NEW, USER_FORM},
    {"GUILD_BAN_ADD", ABOUT_NEW, USER_FORM},
    {"GUILD_BAN_REMOVE", ABOUT_NEW, USER_FORM},
    {"GUILD_ROLE_CREATE", ABOUT_NEW, ROLE_FORM},
    {"GUILD_ROLE_UPDATE", ABOUT_NEW, ROLE_FORM},
    {"GUILD_CREATE", ABOUT_GUILD, "<whole_guild>"},
    {"CHANNEL_CREATE", ABOUT_CHANNEL, "<channel>"},
    {"CHANNEL_UPDATE", ABOUT_CHANNEL, "<channel>"},
    {"CHANNEL_DELETE", ABOUT_CHANNEL, "<channel>"},
    {"CHANNEL_PINS_UPDATE", ABOUT_NEW,
     "{<guild>'channel_id':'<channel_id>','last_pin_timestamp':'<now>'}"},
    {"VOICE_STATE_UPDATE", ABOUT_NEW,
     "{<guild><member>'channel_id':'<voice_id>','user_id':'<user_id>',"
     "'session_id':'sandbox<id>','deaf':false,'mute':false,'self_deaf':false,'self_mute':false,"
     "'self_video':false,'suppress':false,'request_to_speak_timestamp':null}"},
    {"USER_UPDATE", ABOUT_BOT, "<user>"},
};

static const struct form *find_form(struct gate_span name) {
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (strlen(forms[i].event) == name.len && memcmp(forms[i].event, name.data, name.len) == 0)
            return &forms[i];
    return NULL;
}

static int fill_and_merge(const struct gate_scene *scene, const char *form, struct gate_buf *out) {
    struct gate_buf base;
    gate_buf_init(&base, 0, 0);
    int rc = fill_form(scene, form, &base);
    if (rc == GATE_OK) rc = gate_json_merge(out, gate_buf_span(&base), scene->given);
    gate_buf_free(&base);
    return rc;
}

int gate_scene_message(const struct gate_scene *scene, struct gate_buf *out) {
    return fill_and_merge(scene, forms[0].text, out);
}

/* ---- Content -----------------------------------------------------------------------------------
 */

bool gate_scene_is_content(const struct gate_sandbox *sandbox, struct gate_span message) {
    uint64_t bot = gate_id_read(sandbox->options.user_id);
    struct gate_span person, mentions = gate_json_find(message, "mentions");
    if (!gate_json_id(gate_json_find(message, "guild_id"))) return false;
    if (gate_json_id(gate_json_find(message, "author.id")) == bot) return false;
    while (gate_json_item(&mentions, &person))
        if (gate_json_id(gate_json_find(person, "id")) == bot) return false;
    return true;
}

/* What stands in place of a member of a message that is hidden (NULL: it is left out); false: the
 * member stays. */
static bool find_cover(struct gate_span key, const char **cover) {
    static const struct {
        const char *key, *cover;
    } rows[] = {{"content", "\"\""},
                {"embeds", "[]"},
                {"attachments", "[]"},
                {"components", "[]"},
                {"poll", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strlen(rows[i].key) != key.len || memcmp(rows[i].key, key.data, key.len) != 0) continue;
        *cover = rows[i].cover;
        return true;
    }
    return false;
}

int gate_scene_hide(struct gate_span message, struct gate_buf *out) {
    struct gate_span key, value;
    int rc = gate_buf_append_byte(out, '{');
    bool first = true;
    while (rc == GATE_OK && gate_json_next(&message, &key, &value)) {
        const char *cover;
        if (find_cover(key, &cover)) value = gate_span_of(cover);
        if (!value.data) continue;
        rc = GATE_FILL(out, first ? "'$':$" : ",'$':$", gate_raw_blank(key), gate_raw_blank(value));
        first = false;
    }
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

/* ---- Choosing ----------------------------------------------------------------------------------
 */

static bool is_given(struct gate_span given, const char *key) {
    struct gate_span value = gate_json_find(given, key);
    return value.data && *value.data != 'n';
}

static uint64_t find_id(struct gate_span given, const char *const *paths) {
    for (; *paths; paths++) {
        uint64_t id = gate_json_id(gate_json_find(given, *paths));
        if (id) return id;
    }
    return 0;
}

bool gate_scene_is_open(struct gate_sandbox *sandbox, struct gate_span given) {
    struct gate_place place;
    if (gate_json_find(given, "guild_id").data) return false;
    uint64_t channel_id = gate_json_id(gate_json_find(given, "channel_id"));
    return !gate_place_find(sandbox, channel_id, &place);
}

/* What is given decides; a channel that nobody knows is taken to be one of that guild. */
static struct gate_place choose_place(struct gate_sandbox *sandbox, struct gate_span given,
                                      bool direct, uint64_t user_id) {
    struct gate_place place;
    uint64_t guild_id = gate_json_id(gate_json_find(given, "guild_id"));
    uint64_t channel_id = gate_json_id(gate_json_find(given, "channel_id"));
    if (guild_id == 0 && gate_place_find(sandbox, channel_id, &place)) return place;
    bool says_none = gate_json_find(given, "guild_id").data && !is_given(given, "guild_id");
    if (guild_id == 0 && !direct && !says_none && sandbox->options.guilds > 0)
        guild_id = sandbox->guilds[0].id;
    if (channel_id == 0) channel_id = guild_id ? guild_id + 1 : gate_direct_channel(user_id);
    return (struct gate_place){channel_id, guild_id};
}

static void choose(struct gate_scene *scene, enum subject subject, bool direct) {
    static const char *const users[] = {"author.id", "user.id", "user_id", "member.user.id", NULL};
    struct gate_sandbox *sandbox = scene->sandbox;
    uint64_t new_id = gate_world_id(sandbox), last = sandbox->world.last_message_id;
    scene->user_id = find_id(scene->given, users);
    if (scene->user_id == 0)
        scene->user_id = subject == ABOUT_NEWCOMER ? new_id : gate_person_id(sandbox, 0);
    if (subject == ABOUT_BOT) scene->user_id = gate_id_read(sandbox->options.user_id);
    scene->place = choose_place(sandbox, scene->given, direct, scene->user_id);
    scene->id = gate_json_id(gate_json_find(scene->given, "id"));
    if (scene->id == 0) scene->id = subject == ABOUT_MESSAGE && last ? last : new_id;
    const struct gate_message *known =
        subject == ABOUT_MESSAGE ? gate_archive_find(&sandbox->archive, scene->id) : NULL;
    bool placed = is_given(scene->given, "channel_id") || is_given(scene->given, "guild_id");
    if (known && !placed && !direct) scene->place = known->place;
    if (subject == ABOUT_CHANNEL) scene->place.channel_id = scene->id;
    if (subject == ABOUT_GUILD) scene->place.guild_id = scene->id;
}

/* An interaction, with who has asked and the message that it hangs on. */
static void remember_interaction(const struct gate_scene *scene, struct gate_span data) {
    struct gate_sandbox *sandbox = scene->sandbox;
    struct gate_span user = gate_json_find(data, "member.user");
    struct gate_span message = gate_json_find(data, "message");
    struct gate_interaction one = {.id = scene->id,
                                   .type = read_type(scene),
                                   .place = scene->place,
                                   .created_ms = gate_sandbox_wall_ms(sandbox),
                                   .message_id = gate_json_id(gate_json_find(message, "id"))};
    if (!user.data) user = gate_json_find(data, "user");
    if (!user.data) user = GATE_SPAN("null");
    if (one.message_id && !gate_archive_find(&sandbox->archive, one.message_id))
        gate_archive_keep(&sandbox->archive, scene->place, message);
    gate_interaction_note(sandbox, &one, gate_json_plain(gate_json_find(data, "token")), user);
}

static void forget_messages(struct gate_archive *archive, struct gate_span ids) {
    struct gate_span id;
    while (gate_json_item(&ids, &id))
        gate_archive_drop(archive, gate_archive_find(archive, gate_json_id(id)));
}

/* What REST has to know later. */
static void remember(const struct gate_scene *scene, const struct form *form,
                     struct gate_span data) {
    struct gate_archive *archive = &scene->sandbox->archive;
    struct gate_message *known = gate_archive_find(archive, scene->id);
    gate_place_note(scene->sandbox, scene->place);
    if (strcmp(form->event, "MESSAGE_CREATE") == 0) {
        scene->sandbox->world.last_message_id = scene->id;
        gate_archive_keep(archive, scene->place, data);
    } else if (strcmp(form->event, "MESSAGE_UPDATE") == 0) {
        bool same = known && known->place.channel_id == scene->place.channel_id;
        if (!same || gate_message_change(known, data) < 0)
            gate_archive_keep(archive, scene->place, data);
    } else if (strcmp(form->event, "MESSAGE_DELETE") == 0) {
        gate_archive_drop(archive, known);
    } else if (strcmp(form->event, "MESSAGE_DELETE_BULK") == 0) {
        forget_messages(archive, gate_json_find(data, "ids"));
    } else if (strcmp(form->event, "INTERACTION_CREATE") == 0) {
        remember_interaction(scene, data);
    }
}

/* An update of a message that is known is that message, with what is given. */
static int complete_form(const struct gate_scene *scene, const struct form *form,
                         struct gate_buf *out) {
    const struct gate_message *known = NULL;
    struct gate_buf base, edited;
    if (strcmp(form->event, "MESSAGE_UPDATE") == 0)
        known = gate_archive_find(&scene->sandbox->archive, scene->id);
    if (!known || known->place.channel_id != scene->place.channel_id)
        return fill_and_merge(scene, form->text, out);
    gate_buf_init(&base, 0, 0);
    gate_buf_init(&edited, 0, 0);
    int rc = fill_form(scene, "{'edited_timestamp':'<now>'}", &edited);
    if (rc == GATE_OK)
        rc = gate_json_merge(&base, gate_buf_span(&known->text), gate_buf_span(&edited));
    if (rc == GATE_OK) rc = gate_json_merge(out, gate_buf_span(&base), scene->given);
    gate_buf_free(&base);
    gate_buf_free(&edited);
    return rc;
}

int gate_scene_complete(struct gate_sandbox *sandbox, struct gate_span name, struct gate_span given,
                        bool direct, struct gate_buf *out) {
    const struct form *form = find_form(name);
    struct gate_scene scene = {.sandbox = sandbox, .given = given};
    bool nothing = given.len == 4 && memcmp(given.data, "null", 4) == 0;
    if (nothing) scene.given = GATE_SPAN("{}");
    if (!form || (!nothing && !gate_json_is_object(given))) return gate_buf_append(out, given);
    choose(&scene, form->subject, direct);
    size_t from = out->len;
    int rc = complete_form(&scene, form, out);
    if (rc == GATE_OK)
        remember(&scene, form, (struct gate_span){out->data + from, out->len - from});
    return rc < 0 ? rc : 1;
}

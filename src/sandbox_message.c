/* sandbox_message.c - messages: sent, told again, edited and deleted over REST; see sandbox_call.h.
 */
#include <string.h>

#include "sandbox_archive.h"
#include "sandbox_call.h"
#include "sandbox_guild.h"
#include "sandbox_http.h"
#include "sandbox_json.h"
#include "sandbox_scene.h"
#include "sandbox_state.h"

#define CONTENT_CHARACTERS_MAX 2000 /* of a message */
#define NONCE_CHARACTERS_MAX   25
#define EMBEDS_MAX             10
#define STICKERS_MAX           3
#define LISTED                 50 /* messages of a channel, unless a limit says otherwise */
#define LISTED_MAX             100
#define SUPPRESS_EMBEDS        UINT64_C(4)   /* flags of messages */
#define LOADING                UINT64_C(128) /* an interaction's, until it is edited */

/* ---- What is said ------------------------------------------------------------------------------
 */

/* How many items a list has; 0 for what is none. */
static size_t count_items(struct gate_span list) {
    struct gate_span item;
    size_t count = 0;
    while (gate_json_item(&list, &item)) count++;
    return count;
}

static bool is_empty(const struct gate_call *call, struct gate_span said) {
    static const char *const lists[] = {"embeds", "components", "sticker_ids", NULL};
    for (const char *const *key = lists; *key; key++)
        if (count_items(gate_json_find(said, *key)) > 0) return false;
    if (gate_json_length(gate_json_find(said, "content")) > 0) return false;
    return call->attachments.len == 0 && !gate_json_is_object(gate_json_find(said, "poll"));
}

static bool is_of_kind(struct gate_span value, const char *first) {
    return !value.data || *value.data == 'n' || strchr(first, *value.data) != NULL;
}

/* What is wrong with a message of any kind; 0: nothing. */
static int judge_fields(struct gate_call *call, struct gate_span said, bool *fine) {
    struct gate_span content = gate_json_find(said, "content");
    struct gate_span nonce = gate_json_find(said, "nonce");
    *fine = false;
    if (!is_of_kind(content, "\""))
        return gate_call_complain_of(call, "content", "BASE_TYPE_BAD_STRING", "Must be a string.");
    if (gate_json_length(content) > CONTENT_CHARACTERS_MAX)
        return gate_call_complain_of(call, "content", "BASE_TYPE_MAX_LENGTH",
                                     "Must be 2000 or fewer in length.");
    if (gate_json_plain(nonce).len > NONCE_CHARACTERS_MAX)
        return gate_call_complain_of(call, "nonce", "BASE_TYPE_MAX_LENGTH",
                                     "Must be 25 or fewer in length.");
    if (count_items(gate_json_find(said, "embeds")) > EMBEDS_MAX)
        return gate_call_complain_of(call, "embeds", "BASE_TYPE_MAX_LENGTH",
                                     "Must be 10 or fewer in length.");
    if (count_items(gate_json_find(said, "sticker_ids")) > STICKERS_MAX)
        return gate_call_complain_of(call, "sticker_ids", "BASE_TYPE_MAX_LENGTH",
                                     "Must be 3 or fewer in length.");
    *fine = true;
    return GATE_OK;
}

bool gate_message_judge(struct gate_call *call, struct gate_span said, int *rc) {
    bool fine;
    *rc = judge_fields(call, said, &fine);
    if (!fine || !is_empty(call, said)) return fine;
    *rc = gate_call_complain(call, GATE_EMPTY_MESSAGE);
    return false;
}

static int append_pair(struct gate_buf *out, const char *key, struct gate_span value) {
    bool first = out->len == 0 || out->data[out->len - 1] == '{';
    return GATE_FILL(out, first ? "$:$" : ",$:$", gate_string_blank(key), gate_raw_blank(value));
}

/* The message that is answered, whole where it is known. */
static int append_reference(const struct gate_call *call, struct gate_place place,
                            struct gate_buf *out) {
    char channel[GATE_ID_BYTES];
    struct gate_span reference = gate_json_find(call->json, "message_reference");
    if (!gate_json_is_object(reference)) return GATE_OK;
    uint64_t id = gate_json_id(gate_json_find(reference, "message_id"));
    const struct gate_message *known = gate_archive_find(&call->sandbox->archive, id);
    struct gate_buf base, whole;
    gate_buf_init(&base, 0, 0);
    gate_buf_init(&whole, 0, 0);
    int rc = GATE_FILL(&base, "{'type':0,'channel_id':'$'}",
                       gate_raw_blank(gate_id_text(place.channel_id, channel)));
    if (rc == GATE_OK) rc = gate_json_merge(&whole, gate_buf_span(&base), reference);
    if (rc == GATE_OK) rc = append_pair(out, "message_reference", gate_buf_span(&whole));
    if (rc == GATE_OK) rc = append_pair(out, "type", GATE_SPAN("19"));
    gate_buf_clear(&whole, GATE_KEEP_BYTES_MAX);
    if (rc == GATE_OK && known) rc = gate_message_describe(gate_buf_span(&known->text), &whole);
    if (rc == GATE_OK && known) rc = append_pair(out, "referenced_message", gate_buf_span(&whole));
    gate_buf_free(&base);
    gate_buf_free(&whole);
    return rc;
}

static int append_attachments(const struct gate_call *call, struct gate_buf *out) {
    struct gate_buf list;
    if (call->attachments.len == 0) return GATE_OK;
    gate_buf_init(&list, 0, 0);
    int rc = GATE_FILL(&list, "[$]", gate_raw_blank(gate_buf_span(&call->attachments)));
    if (rc == GATE_OK) rc = append_pair(out, "attachments", gate_buf_span(&list));
    gate_buf_free(&list);
    return rc;
}

/* The members of `said` that a message has as they are. */
static int append_said(struct gate_span said, const char *const *keys, struct gate_buf *out) {
    int rc = GATE_OK;
    for (; *keys && rc == GATE_OK; keys++) {
        struct gate_span value = gate_json_find(said, *keys);
        if (value.data && *value.data != 'n') rc = append_pair(out, *keys, value);
    }
    return rc;
}

static int read_message(const struct gate_call *call, struct gate_span said,
                        struct gate_place place, struct gate_buf *out) {
    static const char *const keys[] = {"content", "tts",        "nonce", "flags",
                                       "embeds",  "components", "poll",  NULL};
    int rc = gate_buf_append_byte(out, '{');
    if (rc == GATE_OK) rc = append_said(said, keys, out);
    if (rc == GATE_OK) rc = append_reference(call, place, out);
    if (rc == GATE_OK) rc = append_attachments(call, out);
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

/* ---- Sending -----------------------------------------------------------------------------------
 */

int gate_message_send(struct gate_call *call, struct gate_place place, struct gate_span said,
                      struct gate_span more, struct gate_buf *out) {
    struct gate_sandbox *sandbox = call->sandbox;
    struct gate_scene scene = {.sandbox = sandbox, .place = place};
    struct gate_buf given, whole, event;
    gate_buf_init(&given, 0, 0);
    gate_buf_init(&whole, 0, 0);
    gate_buf_init(&event, 0, 0);
    scene.user_id = gate_id_read(sandbox->options.user_id);
    scene.id = gate_world_id(sandbox);
    int rc = read_message(call, said, place, &given);
    if (rc == GATE_OK)
        rc = gate_json_merge(&whole, more.data ? more : GATE_SPAN("{}"), gate_buf_span(&given));
    scene.given = gate_buf_span(&whole);
    if (rc == GATE_OK) rc = gate_scene_message(&scene, &event);
    if (rc == GATE_OK) {
        gate_archive_keep(&sandbox->archive, place, gate_buf_span(&event));
        sandbox->world.last_message_id = scene.id;
        rc = gate_message_describe(gate_buf_span(&event), out);
    }
    if (rc == GATE_OK) rc = gate_call_tell(call, "MESSAGE_CREATE", place, gate_buf_span(&event));
    gate_buf_free(&given);
    gate_buf_free(&whole);
    gate_buf_free(&event);
    return rc;
}

int gate_serve_send(struct gate_call *call) {
    static const struct gate_span nothing = {NULL, 0};
    struct gate_place place;
    int rc;
    if (!gate_call_place(call, &place, &rc) || !gate_message_judge(call, call->json, &rc))
        return rc;
    return gate_message_send(call, place, call->json, nothing, &call->out->body);
}

/* ---- Looking -----------------------------------------------------------------------------------
 */

/* The message in the second segment, in the channel of the first; NULL: that it is not there has
 * been told. */
static struct gate_message *find_message(struct gate_call *call, int *rc) {
    struct gate_place place;
    if (!gate_call_place(call, &place, rc)) return NULL;
    struct gate_message *message =
        gate_archive_find(&call->sandbox->archive, gate_id_read(call->segments[1]));
    if (message && message->place.channel_id == place.channel_id) return message;
    *rc = gate_call_complain(call, GATE_UNKNOWN_MESSAGE);
    return NULL;
}

int gate_serve_message(struct gate_call *call) {
    int rc;
    const struct gate_message *message = find_message(call, &rc);
    if (!message) return rc;
    return gate_message_describe(gate_buf_span(&message->text), &call->out->body);
}

static uint64_t read_limit(const struct gate_call *call) {
    uint64_t limit = gate_id_read(gate_query_find(call->request->query, "limit"));
    return limit == 0 ? LISTED : limit < LISTED_MAX ? limit : LISTED_MAX;
}

/* The newest first. */
int gate_serve_messages(struct gate_call *call) {
    const struct gate_archive *archive = &call->sandbox->archive;
    struct gate_buf *out = &call->out->body;
    struct gate_place place;
    uint64_t left = read_limit(call);
    int rc;
    if (!gate_call_place(call, &place, &rc)) return rc;
    rc = gate_buf_append_byte(out, '[');
    for (size_t back = 0; back < GATE_ARCHIVED_MAX && left > 0 && rc == GATE_OK; back++) {
        const struct gate_message *message = gate_archive_recent(archive, back);
        if (!message || message->place.channel_id != place.channel_id) continue;
        if (out->len > 1) rc = gate_buf_append_byte(out, ',');
        if (rc == GATE_OK) rc = gate_message_describe(gate_buf_span(&message->text), out);
        left--;
    }
    return rc < 0 ? rc : gate_buf_append_byte(out, ']');
}

/* ---- Changing ----------------------------------------------------------------------------------
 */

static bool is_own(const struct gate_call *call, const struct gate_message *message) {
    struct gate_span author = gate_json_find(gate_buf_span(&message->text), "author.id");
    return gate_json_id(author) == gate_id_read(call->sandbox->options.user_id);
}

/* Of the flags a bot may set one; what was only announced is a message from now on. */
static uint64_t choose_flags(struct gate_span text, struct gate_span said) {
    struct gate_span given = gate_json_find(said, "flags");
    uint64_t flags = gate_json_id(gate_json_find(text, "flags")) & ~LOADING;
    if (!given.data || *given.data == 'n') return flags;
    return (flags & ~SUPPRESS_EMBEDS) | (gate_json_id(given) & SUPPRESS_EMBEDS);
}

static int read_edit(const struct gate_call *call, struct gate_span text, struct gate_span said,
                     struct gate_buf *out) {
    static const char *const keys[] = {"content", "embeds", "components", NULL};
    char now[GATE_TIME_BYTES];
    int rc = GATE_FILL(out, "{'flags':$,'edited_timestamp':$",
                       gate_integer_blank((int64_t)choose_flags(text, said)),
                       gate_text_blank(gate_world_time(gate_world_id(call->sandbox), now)));
    if (rc == GATE_OK) rc = append_said(said, keys, out);
    if (rc == GATE_OK) rc = append_attachments(call, out);
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

int gate_message_edit(struct gate_call *call, uint64_t id, struct gate_span said,
                      struct gate_buf *out) {
    struct gate_message *message = gate_archive_find(&call->sandbox->archive, id);
    struct gate_buf changes;
    bool fine;
    if (!message) return gate_call_complain(call, GATE_UNKNOWN_MESSAGE);
    int rc = judge_fields(call, said, &fine);
    if (!fine) return rc;
    gate_buf_init(&changes, 0, 0);
    rc = read_edit(call, gate_buf_span(&message->text), said, &changes);
    if (rc == GATE_OK) rc = gate_message_change(message, gate_buf_span(&changes));
    gate_buf_free(&changes);
    struct gate_span text = gate_buf_span(&message->text);
    if (rc == GATE_OK) rc = gate_message_describe(text, out);
    return rc < 0 ? rc : gate_call_tell(call, "MESSAGE_UPDATE", message->place, text);
}

int gate_serve_edit(struct gate_call *call) {
    int rc;
    const struct gate_message *message = find_message(call, &rc);
    if (!message) return rc;
    if (!is_own(call, message)) return gate_call_complain(call, GATE_NOT_THE_AUTHOR);
    return gate_message_edit(call, message->id, call->json, &call->out->body);
}

int gate_message_delete(struct gate_call *call, uint64_t id) {
    const struct gate_message *message = gate_archive_find(&call->sandbox->archive, id);
    char text[GATE_ID_BYTES], channel[GATE_ID_BYTES], guild[GATE_ID_BYTES];
    struct gate_buf data;
    if (!message) return gate_call_complain(call, GATE_UNKNOWN_MESSAGE);
    struct gate_place place = message->place;
    gate_archive_drop(&call->sandbox->archive, message);
    gate_buf_init(&data, 0, 0);
    int rc = GATE_FILL(&data, "{'id':'$','channel_id':'$'", gate_raw_blank(gate_id_text(id, text)),
                       gate_raw_blank(gate_id_text(place.channel_id, channel)));
    if (rc == GATE_OK && place.guild_id)
        rc = GATE_FILL(&data, ",'guild_id':'$'",
                       gate_raw_blank(gate_id_text(place.guild_id, guild)));
    if (rc == GATE_OK) rc = gate_buf_append_byte(&data, '}');
    if (rc == GATE_OK) rc = gate_call_tell(call, "MESSAGE_DELETE", place, gate_buf_span(&data));
    gate_buf_free(&data);
    call->out->status = 204;
    return rc;
}

/* In a guild the bot may delete everybody's, as a moderator does. */
int gate_serve_delete(struct gate_call *call) {
    int rc;
    const struct gate_message *message = find_message(call, &rc);
    if (!message) return rc;
    if (message->place.guild_id == 0 && !is_own(call, message))
        return gate_call_complain(call, GATE_DIRECT_ONLY);
    return gate_message_delete(call, message->id);
}

/* ---- Typing ------------------------------------------------------------------------------------
 */

int gate_serve_typing(struct gate_call *call) {
    struct gate_sandbox *sandbox = call->sandbox;
    struct gate_place place;
    char channel[GATE_ID_BYTES];
    struct gate_buf data, event;
    int rc;
    if (!gate_call_place(call, &place, &rc)) return rc;
    gate_buf_init(&data, 0, 0);
    gate_buf_init(&event, 0, 0);
    rc = GATE_FILL(&data, "{'channel_id':'$','user_id':$}",
                   gate_raw_blank(gate_id_text(place.channel_id, channel)),
                   gate_text_blank(sandbox->options.user_id));
    if (rc == GATE_OK)
        rc = gate_scene_complete(sandbox, GATE_SPAN("TYPING_START"), gate_buf_span(&data),
                                 place.guild_id == 0, &event);
    if (rc >= 0) rc = gate_call_tell(call, "TYPING_START", place, gate_buf_span(&event));
    gate_buf_free(&data);
    gate_buf_free(&event);
    call->out->status = 204;
    return rc;
}

/* sandbox_rest.c - see sandbox_rest.h. Errors have Discord's codes and words, so that a client
 * takes them for what they are. */
#include "sandbox_rest.h"

#include <stdio.h>
#include <string.h>

#include "sandbox_guild.h"
#include "sandbox_json.h"
#include "sandbox_news.h"
#include "sandbox_parts.h"
#include "sandbox_rate.h"
#include "sandbox_scene.h"
#include "sandbox_state.h"

#define CONTENT_CHARACTERS_MAX 2000 /* of a message */
#define EMBEDS_MAX             10
#define SEGMENTS_MAX           4  /* of a path that are ids or tokens */
#define EPHEMERAL              64 /* a flag of messages: only who asked sees it */

struct call {
    struct gate_sandbox *sandbox;
    const struct gate_request *request;
    struct gate_span segments[SEGMENTS_MAX]; /* those that stand for ':' in the pattern */
    struct gate_span json;                   /* the body, or its payload_json; an object */
    struct gate_buf attachments;             /* of the other parts: JSON objects */
    struct gate_reply_text *out;
};

/* ---- Errors ------------------------------------------------------------------------------------
 */

enum complaint {
    UNAUTHORIZED,
    NOT_FOUND,
    RATE_LIMITED,
    UNKNOWN_CHANNEL,
    UNKNOWN_GUILD,
    UNKNOWN_MEMBER,
    UNKNOWN_USER,
    UNKNOWN_INTERACTION,
    ACKNOWLEDGED,
    EMPTY_MESSAGE,
    NO_JSON,
    WRONG_TYPE,
    INVALID_FORM
};

static const struct {
    int status, code;
    const char *message;
} complaints[] = {
    [UNAUTHORIZED] = {401, 0, "401: Unauthorized"},
    [NOT_FOUND] = {404, 0, "404: Not Found"},
    [RATE_LIMITED] = {429, 0, "You are being rate limited."},
    [UNKNOWN_CHANNEL] = {404, 10003, "Unknown Channel"},
    [UNKNOWN_GUILD] = {404, 10004, "Unknown Guild"},
    [UNKNOWN_MEMBER] = {404, 10007, "Unknown Member"},
    [UNKNOWN_USER] = {404, 10013, "Unknown User"},
    [UNKNOWN_INTERACTION] = {404, 10062, "Unknown interaction"},
    [ACKNOWLEDGED] = {400, 40060, "Interaction has already been acknowledged."},
    [EMPTY_MESSAGE] = {400, 50006, "Cannot send an empty message"},
    [NO_JSON] = {400, 50109, "The request body contains invalid JSON."},
    [WRONG_TYPE] = {400, 50035,
                    "Invalid Form Body: Content-Type has to be application/json or "
                    "multipart/form-data with payload_json"},
    [INVALID_FORM] = {400, 50035, "Invalid Form Body"},
};

static int complain(struct call *call, enum complaint which) {
    call->out->status = complaints[which].status;
    return GATE_FILL(&call->out->body, "{'message':$,'code':$}",
                     gate_string_blank(complaints[which].message),
                     gate_integer_blank(complaints[which].code));
}

/* 50035 with the tree that tells which field is wrong. */
static int complain_of(struct call *call, const char *field, const char *code, const char *words) {
    call->out->status = 400;
    return GATE_FILL(&call->out->body,
                     "{'message':'Invalid Form Body','code':50035,'errors':{$:{'_errors':["
                     "{'code':$,'message':$}]}}}",
                     gate_string_blank(field), gate_string_blank(code), gate_string_blank(words));
}

/* ---- What is ------------------------------------------------------------------------------------
 */

static int get_gateway(struct call *call) {
    char url[GATE_SANDBOX_URL_BYTES];
    return GATE_FILL(&call->out->body, "{'url':$}",
                     gate_text_blank(gate_sandbox_url(call->sandbox, false, url)));
}

static int get_bot_gateway(struct call *call) {
    const struct gate_sandbox_options *options = &call->sandbox->options;
    char url[GATE_SANDBOX_URL_BYTES];
    int64_t reset_ms, left;
    left = gate_sandbox_starts_left(call->sandbox, gate_sandbox_now(), &reset_ms);
    return GATE_FILL(&call->out->body,
                     "{'url':$,'shards':$,'session_start_limit':{'total':$,'remaining':$,"
                     "'reset_after':$,'max_concurrency':$}}",
                     gate_text_blank(gate_sandbox_url(call->sandbox, false, url)),
                     gate_integer_blank(options->shards), gate_integer_blank(options->starts_total),
                     gate_integer_blank(left), gate_integer_blank(reset_ms),
                     gate_integer_blank(options->max_concurrency));
}

static int get_self(struct call *call) {
    return gate_buf_append(&call->out->body, call->sandbox->options.user);
}

static int get_application(struct call *call) {
    const struct gate_sandbox_options *options = &call->sandbox->options;
    return GATE_FILL(&call->out->body,
                     "{'id':$,'name':$,'icon':null,'description':'','summary':'','bot_public':true,"
                     "'bot_require_code_grant':false,'verify_key':$,'flags':565248,'owner':$,"
                     "'team':null,'rpc_origins':[],'hook':true}",
                     gate_text_blank(options->user_id), gate_text_blank(options->username),
                     gate_string_blank("00000000000000000000000000000000"
                                       "00000000000000000000000000000000"),
                     gate_raw_blank(options->user));
}

static bool is_somebody(const struct gate_sandbox *sandbox, uint64_t user_id) {
    return gate_is_person(sandbox, user_id) || user_id == gate_id_read(sandbox->options.user_id);
}

static int get_user(struct call *call) {
    uint64_t id = gate_id_read(call->segments[0]);
    if (!is_somebody(call->sandbox, id)) return complain(call, UNKNOWN_USER);
    return gate_user_describe(call->sandbox, id, &call->out->body);
}

static int get_guild(struct call *call) {
    static const struct gate_guild_view view = {.everybody = false};
    uint64_t id = gate_id_read(call->segments[0]);
    if (!gate_guild_find(call->sandbox, id)) return complain(call, UNKNOWN_GUILD);
    return gate_guild_describe(call->sandbox, id, &view, &call->out->body);
}

static int get_member(struct call *call) {
    uint64_t guild_id = gate_id_read(call->segments[0]);
    uint64_t user_id = gate_id_read(call->segments[1]);
    if (!gate_guild_find(call->sandbox, guild_id)) return complain(call, UNKNOWN_GUILD);
    if (!is_somebody(call->sandbox, user_id)) return complain(call, UNKNOWN_MEMBER);
    return gate_member_describe(call->sandbox, guild_id, user_id, true, &call->out->body);
}

/* The channel in the path; false when it is none, which has been told. */
static bool find_place(struct call *call, struct gate_place *place, int *rc) {
    uint64_t id = gate_id_read(call->segments[0]);
    bool found = gate_place_find(call->sandbox, id, place);
    *rc = found ? GATE_OK : complain(call, UNKNOWN_CHANNEL);
    return found;
}

static int get_channel(struct call *call) {
    struct gate_place place;
    int rc;
    if (!find_place(call, &place, &rc)) return rc;
    return gate_channel_describe(call->sandbox, place, &call->out->body);
}

static int open_direct_channel(struct call *call) {
    uint64_t id = gate_json_id(gate_json_find(call->json, "recipient_id"));
    if (!gate_is_person(call->sandbox, id)) return complain(call, UNKNOWN_USER);
    struct gate_place place = {.channel_id = gate_direct_channel(id)};
    return gate_channel_describe(call->sandbox, place, &call->out->body);
}

/* ---- What happens ------------------------------------------------------------------------------
 */

static int tell(struct call *call, const char *name, struct gate_place place,
                struct gate_span data) {
    struct gate_sandbox_target all = {GATE_SANDBOX_ANYONE, GATE_SANDBOX_ANYONE, {NULL, 0}};
    struct gate_sandbox_event event = {
        .name = gate_span_of(name), .data = data, .direct = place.guild_id == 0};
    int count = gate_news_tell(call->sandbox, &all, &event);
    return count < 0 ? count : GATE_OK;
}

/* Members of a request that a message has as they are. */
static const char *const kept_keys[] = {"content", "tts",        "nonce", "flags",
                                        "embeds",  "components", NULL};

static int append_pair(struct gate_buf *out, const char *key, struct gate_span value) {
    bool first = out->len == 0 || out->data[out->len - 1] == '{';
    return GATE_FILL(out, first ? "$:$" : ",$:$", gate_string_blank(key), gate_raw_blank(value));
}

/* The message that is answered. Whether it is there cannot be told, so it is not repeated. */
static int append_reference(const struct call *call, struct gate_place place,
                            struct gate_buf *out) {
    char channel[GATE_ID_BYTES];
    struct gate_span reference = gate_json_find(call->json, "message_reference");
    if (!gate_json_is_object(reference)) return GATE_OK;
    struct gate_buf base, whole;
    gate_buf_init(&base, 0, 0);
    gate_buf_init(&whole, 0, 0);
    int rc = GATE_FILL(&base, "{'type':0,'channel_id':'$'}",
                       gate_raw_blank(gate_id_text(place.channel_id, channel)));
    if (rc == GATE_OK) rc = gate_json_merge(&whole, gate_buf_span(&base), reference);
    if (rc == GATE_OK) rc = append_pair(out, "message_reference", gate_buf_span(&whole));
    if (rc == GATE_OK) rc = append_pair(out, "type", GATE_SPAN("19"));
    gate_buf_free(&base);
    gate_buf_free(&whole);
    return rc;
}

/* What the bot says of its message, in the words of a message. */
static int read_message(const struct call *call, struct gate_span said, struct gate_place place,
                        struct gate_buf *out) {
    int rc = gate_buf_append_byte(out, '{');
    for (const char *const *key = kept_keys; *key && rc == GATE_OK; key++) {
        struct gate_span value = gate_json_find(said, *key);
        if (value.data && *value.data != 'n') rc = append_pair(out, *key, value);
    }
    if (rc == GATE_OK) rc = append_reference(call, place, out);
    if (rc == GATE_OK && call->attachments.len > 0) {
        struct gate_buf list;
        gate_buf_init(&list, 0, 0);
        rc = GATE_FILL(&list, "[$]", gate_raw_blank(gate_buf_span(&call->attachments)));
        if (rc == GATE_OK) rc = append_pair(out, "attachments", gate_buf_span(&list));
        gate_buf_free(&list);
    }
    return rc < 0 ? rc : gate_buf_append_byte(out, '}');
}

static bool has_items(struct gate_span list) {
    for (size_t i = 1; i < list.len; i++)
        if (!strchr(" \t\r\n", list.data[i])) return *list.data == '[' && list.data[i] != ']';
    return false;
}

/* True when a message may be sent; else what is wrong with it has been told. */
static bool judge_message(struct call *call, struct gate_span said, int *rc) {
    struct gate_span content = gate_json_find(said, "content");
    size_t length = gate_json_length(content);
    bool text = content.data && *content.data == '"';
    *rc = GATE_OK;
    if (content.data && !text && *content.data != 'n')
        *rc = complain_of(call, "content", "BASE_TYPE_BAD_STRING", "Must be a string.");
    else if (length > CONTENT_CHARACTERS_MAX)
        *rc = complain_of(call, "content", "BASE_TYPE_MAX_LENGTH",
                          "Must be 2000 or fewer in length.");
    else if (length == 0 && !has_items(gate_json_find(said, "embeds")) &&
             !has_items(gate_json_find(said, "components")) &&
             !has_items(gate_json_find(said, "sticker_ids")) &&
             !gate_json_is_object(gate_json_find(said, "poll")) && call->attachments.len == 0)
        *rc = complain(call, EMPTY_MESSAGE);
    else
        return true;
    return false;
}

/* Writes a message of the bot, as REST tells it, into `out`, and tells everybody who may hear it.
 */
static int send_message(struct call *call, struct gate_place place, struct gate_span said,
                        bool heard, struct gate_buf *out) {
    struct gate_scene scene = {.sandbox = call->sandbox, .place = place, .bare = true};
    struct gate_buf given, event;
    gate_buf_init(&given, 0, 0);
    gate_buf_init(&event, 0, 0);
    scene.user_id = gate_id_read(call->sandbox->options.user_id);
    scene.id = gate_world_id(call->sandbox);
    int rc = read_message(call, said, place, &given);
    scene.given = gate_buf_span(&given);
    if (rc == GATE_OK) rc = gate_scene_message(&scene, out);
    scene.bare = false;
    if (rc == GATE_OK) rc = gate_scene_message(&scene, &event);
    if (rc == GATE_OK && heard) rc = tell(call, "MESSAGE_CREATE", place, gate_buf_span(&event));
    gate_buf_free(&given);
    gate_buf_free(&event);
    return rc;
}

static int post_message(struct call *call) {
    struct gate_place place;
    int rc;
    if (!find_place(call, &place, &rc) || !judge_message(call, call->json, &rc)) return rc;
    return send_message(call, place, call->json, true, &call->out->body);
}

static int post_typing(struct call *call) {
    struct gate_place place;
    char channel[GATE_ID_BYTES];
    struct gate_buf data;
    int rc;
    if (!find_place(call, &place, &rc)) return rc;
    gate_buf_init(&data, 0, 0);
    rc = GATE_FILL(&data, "{'channel_id':'$','user_id':$}",
                   gate_raw_blank(gate_id_text(place.channel_id, channel)),
                   gate_text_blank(call->sandbox->options.user_id));
    if (rc == GATE_OK) rc = tell(call, "TYPING_START", place, gate_buf_span(&data));
    gate_buf_free(&data);
    call->out->status = 204;
    return rc;
}

/* ---- Interactions ------------------------------------------------------------------------------
 */

static bool wants_response(const struct call *call) {
    struct gate_span query = call->request->query;
    static const char wanted[] = "with_response=";
    for (size_t i = 0; i + sizeof wanted <= query.len; i++)
        if (memcmp(query.data + i, wanted, sizeof wanted - 1) == 0)
            return strchr("tT1", query.data[i + sizeof wanted - 1]) != NULL;
    return false;
}

static int tell_callback(struct call *call, const struct gate_interaction *interaction,
                         uint64_t type, struct gate_span message) {
    char id[GATE_ID_BYTES];
    if (!wants_response(call)) {
        call->out->status = 204;
        return GATE_OK;
    }
    int rc = GATE_FILL(&call->out->body, "{'interaction':{'id':'$','type':$},'resource':{'type':$",
                       gate_raw_blank(gate_id_text(interaction->id, id)),
                       gate_integer_blank(interaction->type), gate_integer_blank((int64_t)type));
    if (rc == GATE_OK && message.len > 0)
        rc = GATE_FILL(&call->out->body, ",'message':$", gate_raw_blank(message));
    return rc < 0 ? rc : gate_buf_append(&call->out->body, GATE_SPAN("}}"));
}

/* The first answer to an interaction; a message is sent where it was invoked. */
static int post_callback(struct call *call) {
    struct gate_interaction *interaction =
        gate_interaction_find(call->sandbox, gate_id_read(call->segments[0]), call->segments[1]);
    uint64_t type = gate_json_id(gate_json_find(call->json, "type"));
    struct gate_span said = gate_json_find(call->json, "data");
    int rc = GATE_OK;
    if (!interaction) return complain(call, UNKNOWN_INTERACTION);
    if (interaction->acknowledged) return complain(call, ACKNOWLEDGED);
    bool known = type == 1 || (type >= 4 && type <= 10) || type == 12;
    if (!known)
        return complain_of(call, "type", "BASE_TYPE_CHOICES",
                           "Value must be one of {1, 4, 5, 6, 7, 8, 9, 10, 12}.");
    if (type == 4 && !judge_message(call, said, &rc)) return rc;
    interaction->acknowledged = true;
    struct gate_buf message;
    gate_buf_init(&message, 0, 0);
    bool secret = gate_json_id(gate_json_find(said, "flags")) & EPHEMERAL;
    if (type == 4) rc = send_message(call, interaction->place, said, !secret, &message);
    if (rc == GATE_OK) rc = tell_callback(call, interaction, type, gate_buf_span(&message));
    gate_buf_free(&message);
    return rc;
}

/* ---- Routes ------------------------------------------------------------------------------------
 */

static const struct route {
    const char *method, *pattern; /* each ':' is one segment of the path */
    bool open;                    /* to everybody */
    bool body;                    /* it has to have one */
    int (*serve)(struct call *call);
} routes[] = {
    {"GET", "/gateway", true, false, get_gateway},
    {"GET", "/gateway/bot", false, false, get_bot_gateway},
    {"GET", "/users/@me", false, false, get_self},
    {"GET", "/applications/@me", false, false, get_application},
    {"GET", "/oauth2/applications/@me", false, false, get_application},
    {"POST", "/users/@me/channels", false, true, open_direct_channel},
    {"GET", "/users/:", false, false, get_user},
    {"GET", "/guilds/:", false, false, get_guild},
    {"GET", "/guilds/:/members/:", false, false, get_member},
    {"GET", "/channels/:", false, false, get_channel},
    {"POST", "/channels/:/messages", false, true, post_message},
    {"POST", "/channels/:/typing", false, false, post_typing},
    {"POST", "/interactions/:/:/callback", true, true, post_callback},
};

static bool matches(struct gate_span path, const char *pattern, struct gate_span *segments) {
    size_t count = 0;
    for (; *pattern; pattern++) {
        if (*pattern != ':') {
            if (path.len == 0 || *path.data != *pattern) return false;
            path.data++, path.len--;
            continue;
        }
        size_t len = 0;
        while (len < path.len && path.data[len] != '/') len++;
        if (len == 0 || count == SEGMENTS_MAX) return false;
        segments[count++] = (struct gate_span){path.data, len};
        path.data += len;
        path.len -= len;
    }
    return path.len == 0;
}

static const struct route *find_route(const struct gate_request *request,
                                      struct gate_span *segments) {
    struct gate_span method = request->method;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const char *name = routes[i].method;
        if (strlen(name) != method.len || memcmp(name, method.data, method.len) != 0) continue;
        if (matches(request->path, routes[i].pattern, segments)) return &routes[i];
    }
    return NULL;
}

/* ---- Bodies ------------------------------------------------------------------------------------
 */

static int note_file(struct call *call, const struct gate_part *part) {
    char id[GATE_ID_BYTES], server[GATE_SANDBOX_URL_BYTES];
    struct gate_span type = part->type.data ? part->type : GATE_SPAN("application/octet-stream");
    struct gate_buf url;
    gate_buf_init(&url, 0, 0);
    struct gate_span number = gate_id_text(gate_world_id(call->sandbox), id);
    int rc = call->attachments.len > 0 ? gate_buf_append_byte(&call->attachments, ',') : GATE_OK;
    if (rc == GATE_OK) rc = gate_buf_append(&url, gate_sandbox_url(call->sandbox, true, server));
    if (rc == GATE_OK) rc = gate_buf_append(&url, GATE_SPAN("/attachments/"));
    if (rc == GATE_OK) rc = gate_buf_append(&url, number);
    struct gate_blank where = gate_text_blank(gate_buf_span(&url));
    if (rc == GATE_OK)
        rc = GATE_FILL(&call->attachments,
                       "{'id':'$','filename':$,'size':$,'url':$,'proxy_url':$,'content_type':$}",
                       gate_raw_blank(number), gate_text_blank(part->filename),
                       gate_integer_blank((int64_t)part->body.len), where, where,
                       gate_text_blank(type));
    gate_buf_free(&url);
    return rc;
}

static int read_parts(struct call *call, struct gate_span boundary) {
    struct gate_span rest = call->request->body;
    struct gate_part part;
    int rc = GATE_OK;
    while (rc == GATE_OK && gate_parts_next(&rest, boundary, &part)) {
        bool is_json = part.name.len == strlen("payload_json") &&
                       memcmp(part.name.data, "payload_json", part.name.len) == 0;
        if (is_json)
            call->json = part.body;
        else if (part.filename.data)
            rc = note_file(call, &part);
    }
    return rc;
}

static bool is_correct(struct gate_span json) {
    struct gate_buf texts;
    gate_buf_init(&texts, 0, 0);
    int rc = gate_fields_read(json, NULL, 0, &texts);
    gate_buf_free(&texts);
    return rc == GATE_OK && gate_json_is_object(json);
}

static int serve_body(struct call *call, const struct route *route) {
    static const char json_type[] = "application/json";
    struct gate_span type = call->request->type, boundary = gate_parts_boundary(type);
    bool is_json =
        type.len >= strlen(json_type) && memcmp(type.data, json_type, strlen(json_type)) == 0;
    int rc = GATE_OK;
    if (boundary.data) {
        call->json = GATE_SPAN("{}");
        rc = read_parts(call, boundary);
    } else if (is_json) {
        call->json = call->request->body;
    } else {
        return complain(call, WRONG_TYPE);
    }
    if (rc < 0) return rc;
    return is_correct(call->json) ? route->serve(call) : complain(call, NO_JSON);
}

static int complain_of_rate(struct call *call, const struct gate_rate *rate, int64_t now_ms) {
    int64_t wait_ms = gate_rate_wait_ms(rate, now_ms);
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%d.%03d", (int)(wait_ms / 1000), (int)(wait_ms % 1000));
    call->out->status = complaints[RATE_LIMITED].status;
    return GATE_FILL(&call->out->body, "{'message':$,'retry_after':$,'global':false}",
                     gate_string_blank(complaints[RATE_LIMITED].message),
                     gate_raw_blank(gate_span_of(seconds)));
}

/* Interactions are outside of the limits; so is what needs no token. */
static int serve_route(struct call *call, const struct route *route) {
    struct gate_sandbox *sandbox = call->sandbox;
    int64_t now_ms = gate_sandbox_now();
    if (!route->open) {
        struct gate_span name = gate_span_of(route->pattern);
        struct gate_rate *rate = gate_rate_find(sandbox->rates, name, call->segments[0]);
        int rc = gate_rate_take(rate, now_ms, sandbox->options.limits && route->body,
                                &call->out->headers);
        if (rc < 0) return rc;
        if (rc == 0) return complain_of_rate(call, rate, now_ms);
    }
    return route->body ? serve_body(call, route) : route->serve(call);
}

int gate_rest_serve(struct gate_sandbox *sandbox, const struct gate_request *request,
                    struct gate_reply_text *out) {
    struct call call = {.sandbox = sandbox, .request = request, .out = out};
    gate_buf_init(&call.attachments, 0, 0);
    const struct route *route = find_route(request, call.segments);
    int rc;
    out->status = 200;
    if (!route)
        rc = complain(&call, NOT_FOUND);
    else if (!route->open && !request->authorized)
        rc = complain(&call, UNAUTHORIZED);
    else
        rc = serve_route(&call, route);
    gate_buf_free(&call.attachments);
    return rc;
}

/* sandbox_interaction.c - interactions: their first answer, and what follows it with their token;
 * see sandbox_call.h. Discord's "Receiving and Responding" and "Webhook Resource". */
#include <string.h>

#include "sandbox_archive.h"
#include "sandbox_call.h"
#include "sandbox_guild.h"
#include "sandbox_http.h"
#include "sandbox_json.h"
#include "sandbox_state.h"

#define EPHEMERAL        64     /* a flag of messages: only who asked sees it */
#define LOADING          128    /* the same: it is only announced */
#define ANSWER_WITHIN_MS 3000   /* the first answer; later it is unknown */
#define TOKEN_LIVES_MS   900000 /* for everything that follows */

enum callback {
    PONG = 1,
    MESSAGE = 4,
    DEFERRED_MESSAGE = 5,
    DEFERRED_UPDATE = 6,
    UPDATE = 7,
    CHOICES = 8,
    MODAL = 9,
    PREMIUM = 10,
    ACTIVITY = 12
};

static bool is_callback(uint64_t type) {
    return type == PONG || (type >= MESSAGE && type <= PREMIUM) || type == ACTIVITY;
}

/* By the server's clock, so that setting it can make one old. */
static bool is_older(const struct gate_call *call, const struct gate_interaction *one,
                     int64_t age_ms) {
    const struct gate_sandbox *sandbox = call->sandbox;
    return sandbox->options.limits && gate_sandbox_wall_ms(sandbox) - one->created_ms > age_ms;
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static bool wants_response(const struct gate_call *call) {
    struct gate_span wish = gate_query_find(call->request->query, "with_response");
    return wish.len > 0 && strchr("tT1", *wish.data) != NULL;
}

static int tell_callback(struct gate_call *call, const struct gate_interaction *interaction,
                         uint64_t type, struct gate_span message) {
    struct gate_buf *out = &call->out->body;
    char id[GATE_ID_BYTES];
    if (!wants_response(call)) {
        call->out->status = 204;
        return GATE_OK;
    }
    int rc = GATE_FILL(out, "{'interaction':{'id':'$','type':$},'resource':{'type':$",
                       gate_raw_blank(gate_id_text(interaction->id, id)),
                       gate_integer_blank(interaction->type), gate_integer_blank((int64_t)type));
    if (rc == GATE_OK && message.len > 0)
        rc = GATE_FILL(out, ",'message':$", gate_raw_blank(message));
    return rc < 0 ? rc : gate_buf_append(out, GATE_SPAN("}}"));
}

static bool is_secret(struct gate_span said) {
    return (gate_json_id(gate_json_find(said, "flags")) & EPHEMERAL) != 0;
}

/* What a message of an interaction has besides: whose it is, and of which kind. An answer to a
 * command has a type of its own. */
static int describe_origin(const struct gate_call *call, const struct gate_interaction *one,
                           bool first, struct gate_buf *out) {
    char id[GATE_ID_BYTES];
    struct gate_span bot = call->sandbox->options.user_id;
    return GATE_FILL(out,
                     "{'type':$,'webhook_id':$,'application_id':$,'interaction_metadata':"
                     "{'id':'$','type':$,'authorizing_integration_owners':{},'user':$}}",
                     gate_integer_blank(first && one->type == 2 ? 20 : 0), gate_text_blank(bot),
                     gate_text_blank(bot), gate_raw_blank(gate_id_text(one->id, id)),
                     gate_integer_blank(one->type), gate_raw_blank(gate_buf_span(&one->user)));
}

/* One for one pair of eyes is told as a direct one: without its guild. */
static int send_answer(struct gate_call *call, struct gate_interaction *one, struct gate_span said,
                       bool first, struct gate_buf *out) {
    struct gate_place place = one->place;
    struct gate_buf origin;
    gate_buf_init(&origin, 0, 0);
    if (is_secret(said)) place.guild_id = 0;
    int rc = describe_origin(call, one, first, &origin);
    if (rc == GATE_OK) rc = gate_message_send(call, place, said, gate_buf_span(&origin), out);
    if (rc == GATE_OK && first) one->message_id = call->sandbox->world.last_message_id;
    gate_buf_free(&origin);
    return rc;
}

static int announce(struct gate_call *call, struct gate_interaction *one, struct gate_span said,
                    struct gate_buf *out) {
    struct gate_buf given;
    gate_buf_init(&given, 0, 0);
    int rc = GATE_FILL(&given, "{'content':'','flags':$}",
                       gate_integer_blank(LOADING | (is_secret(said) ? EPHEMERAL : 0)));
    if (rc == GATE_OK) rc = send_answer(call, one, gate_buf_span(&given), true, out);
    gate_buf_free(&given);
    return rc;
}

/* A component's update changes the message that it hangs on, where that is known. */
static int carry_out(struct gate_call *call, struct gate_interaction *one, uint64_t type,
                     struct gate_buf *message) {
    struct gate_span said = gate_json_find(call->json, "data");
    if (type == MESSAGE) return send_answer(call, one, said, true, message);
    if (type == DEFERRED_MESSAGE) return announce(call, one, said, message);
    if (type == UPDATE && gate_archive_find(&call->sandbox->archive, one->message_id))
        return gate_message_edit(call, one->message_id, said, message);
    return GATE_OK;
}

/* The first answer to an interaction. */
int gate_serve_callback(struct gate_call *call) {
    struct gate_interaction *one =
        gate_interaction_find(call->sandbox, gate_id_read(call->segments[0]), call->segments[1]);
    uint64_t type = gate_json_id(gate_json_find(call->json, "type"));
    struct gate_buf message;
    int rc = GATE_OK;
    if (!one || is_older(call, one, ANSWER_WITHIN_MS))
        return gate_call_complain(call, GATE_UNKNOWN_INTERACTION);
    if (one->acknowledged) return gate_call_complain(call, GATE_ACKNOWLEDGED);
    if (!is_callback(type))
        return gate_call_complain_of(call, "type", "BASE_TYPE_CHOICES",
                                     "Value must be one of {1, 4, 5, 6, 7, 8, 9, 10, 12}.");
    if (type == MESSAGE && !gate_message_judge(call, gate_json_find(call->json, "data"), &rc))
        return rc;
    gate_buf_init(&message, 0, 0);
    rc = carry_out(call, one, type, &message);
    bool refused = call->out->status != 200; /* and that has been told */
    if (rc == GATE_OK && !refused) {
        one->acknowledged = true;
        rc = tell_callback(call, one, type, gate_buf_span(&message));
    }
    gate_buf_free(&message);
    return rc;
}

/* ---- What follows ------------------------------------------------------------------------------
 */

/* The interaction whose token stands in the path, once it is answered; NULL: it has been told. */
static struct gate_interaction *find_answered(struct gate_call *call, int *rc) {
    struct gate_interaction *one = gate_interaction_find_token(call->sandbox, call->segments[1]);
    uint64_t bot = gate_id_read(call->sandbox->options.user_id);
    bool known = one && one->acknowledged && gate_id_read(call->segments[0]) == bot;
    *rc = GATE_OK;
    if (known && !is_older(call, one, TOKEN_LIVES_MS)) return one;
    *rc = gate_call_complain(call, known ? GATE_INVALID_TOKEN : GATE_UNKNOWN_WEBHOOK);
    return NULL;
}

int gate_serve_follow_up(struct gate_call *call) {
    int rc;
    struct gate_interaction *one = find_answered(call, &rc);
    if (!one || !gate_message_judge(call, call->json, &rc)) return rc;
    return send_answer(call, one, call->json, false, &call->out->body);
}

/* Clients escape what they need not: "%40original" is one. */
static bool is_original(struct gate_span segment) {
    for (const char *at = "@original"; *at; at++)
        if (segment.len == 0 || gate_path_byte(&segment) != *at) return false;
    return segment.len == 0;
}

/* The message that the third segment names: "@original", or one that followed. 0: none. */
static uint64_t find_follow_up(const struct gate_call *call, const struct gate_interaction *one) {
    if (is_original(call->segments[2])) return one->message_id;
    uint64_t id = gate_id_read(call->segments[2]);
    const struct gate_message *message = gate_archive_find(&call->sandbox->archive, id);
    bool ours = message && message->place.channel_id == one->place.channel_id;
    return ours ? id : 0;
}

int gate_serve_follow_up_message(struct gate_call *call) {
    int rc;
    const struct gate_interaction *one = find_answered(call, &rc);
    if (!one) return rc;
    const struct gate_message *message =
        gate_archive_find(&call->sandbox->archive, find_follow_up(call, one));
    if (!message) return gate_call_complain(call, GATE_UNKNOWN_MESSAGE);
    return gate_message_describe(gate_buf_span(&message->text), &call->out->body);
}

int gate_serve_follow_up_edit(struct gate_call *call) {
    int rc;
    const struct gate_interaction *one = find_answered(call, &rc);
    if (!one) return rc;
    return gate_message_edit(call, find_follow_up(call, one), call->json, &call->out->body);
}

int gate_serve_follow_up_delete(struct gate_call *call) {
    int rc;
    const struct gate_interaction *one = find_answered(call, &rc);
    return one ? gate_message_delete(call, find_follow_up(call, one)) : rc;
}

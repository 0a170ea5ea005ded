/* sandbox_lookup.c - the routes that tell what there is; see sandbox_call.h. */
#include "sandbox_call.h"
#include "sandbox_guild.h"
#include "sandbox_json.h"
#include "sandbox_state.h"

int gate_serve_gateway(struct gate_call *call) {
    char url[GATE_SANDBOX_URL_BYTES];
    return GATE_FILL(&call->out->body, "{'url':$}",
                     gate_text_blank(gate_sandbox_url(call->sandbox, false, url)));
}

int gate_serve_bot_gateway(struct gate_call *call) {
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

int gate_serve_self(struct gate_call *call) {
    return gate_buf_append(&call->out->body, call->sandbox->options.user);
}

int gate_serve_application(struct gate_call *call) {
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

int gate_serve_user(struct gate_call *call) {
    uint64_t id = gate_id_read(call->segments[0]);
    if (!is_somebody(call->sandbox, id)) return gate_call_complain(call, GATE_UNKNOWN_USER);
    return gate_user_describe(call->sandbox, id, &call->out->body);
}

int gate_serve_guild(struct gate_call *call) {
    static const struct gate_guild_view view = {.everybody = false};
    uint64_t id = gate_id_read(call->segments[0]);
    if (!gate_guild_find(call->sandbox, id)) return gate_call_complain(call, GATE_UNKNOWN_GUILD);
    return gate_guild_describe(call->sandbox, id, &view, &call->out->body);
}

int gate_serve_member(struct gate_call *call) {
    uint64_t guild_id = gate_id_read(call->segments[0]);
    uint64_t user_id = gate_id_read(call->segments[1]);
    if (!gate_guild_find(call->sandbox, guild_id))
        return gate_call_complain(call, GATE_UNKNOWN_GUILD);
    if (!is_somebody(call->sandbox, user_id)) return gate_call_complain(call, GATE_UNKNOWN_MEMBER);
    return gate_member_describe(call->sandbox, guild_id, user_id, true, &call->out->body);
}

int gate_serve_channel(struct gate_call *call) {
    struct gate_place place;
    int rc;
    if (!gate_call_place(call, &place, &rc)) return rc;
    return gate_channel_describe(call->sandbox, place, &call->out->body);
}

int gate_serve_direct_channel(struct gate_call *call) {
    uint64_t id = gate_json_id(gate_json_find(call->json, "recipient_id"));
    if (!gate_is_person(call->sandbox, id)) return gate_call_complain(call, GATE_UNKNOWN_USER);
    struct gate_place place = {.channel_id = gate_direct_channel(id)};
    return gate_channel_describe(call->sandbox, place, &call->out->body);
}

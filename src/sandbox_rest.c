/* sandbox_rest.c - see sandbox_rest.h. The routes are a table; what serves them stands in
 * sandbox_lookup.c, sandbox_message.c and sandbox_interaction.c. */
#include "sandbox_rest.h"

#include <stdio.h>
#include <string.h>

#include "sandbox_call.h"
#include "sandbox_guild.h"
#include "sandbox_json.h"
#include "sandbox_parts.h"
#include "sandbox_rate.h"
#include "sandbox_state.h"

/* ---- Routes ------------------------------------------------------------------------------------
 */

static const struct route {
    const char *method, *pattern; /* each ':' is one segment of the path */
    bool open;                    /* to everybody */
    bool body;                    /* it has to have one */
    int (*serve)(struct gate_call *call);
} routes[] = {
    {"GET", "/gateway", true, false, gate_serve_gateway},
    {"GET", "/gateway/bot", false, false, gate_serve_bot_gateway},
    {"GET", "/users/@me", false, false, gate_serve_self},
    {"GET", "/applications/@me", false, false, gate_serve_application},
    {"GET", "/oauth2/applications/@me", false, false, gate_serve_application},
    {"POST", "/users/@me/channels", false, true, gate_serve_direct_channel},
    {"GET", "/users/:", false, false, gate_serve_user},
    {"GET", "/guilds/:", false, false, gate_serve_guild},
    {"GET", "/guilds/:/members/:", false, false, gate_serve_member},
    {"GET", "/channels/:", false, false, gate_serve_channel},
    {"GET", "/channels/:/messages", false, false, gate_serve_messages},
    {"POST", "/channels/:/messages", false, true, gate_serve_send},
    {"GET", "/channels/:/messages/:", false, false, gate_serve_message},
    {"PATCH", "/channels/:/messages/:", false, true, gate_serve_edit},
    {"DELETE", "/channels/:/messages/:", false, false, gate_serve_delete},
    {"POST", "/channels/:/typing", false, false, gate_serve_typing},
    {"POST", "/interactions/:/:/callback", true, true, gate_serve_callback},
    {"POST", "/webhooks/:/:", true, true, gate_serve_follow_up},
    {"GET", "/webhooks/:/:/messages/:", true, false, gate_serve_follow_up_message},
    {"PATCH", "/webhooks/:/:/messages/:", true, true, gate_serve_follow_up_edit},
    {"DELETE", "/webhooks/:/:/messages/:", true, false, gate_serve_follow_up_delete},
};

static bool matches(struct gate_span path, const char *pattern, struct gate_span *segments) {
    size_t count = 0;
    for (; *pattern; pattern++) {
        if (*pattern != ':') {
            if (path.len == 0 || gate_path_byte(&path) != *pattern) return false;
            continue;
        }
        size_t len = 0;
        while (len < path.len && path.data[len] != '/') len++;
        if (len == 0 || count == GATE_SEGMENTS_MAX) return false;
        segments[count++] = (struct gate_span){path.data, len};
        path.data += len;
        path.len -= len;
    }
    return path.len == 0;
}

/* *known: there is a route to the path, if with another method. */
static const struct route *find_route(const struct gate_request *request,
                                      struct gate_span *segments, bool *known) {
    *known = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        struct gate_span method = gate_span_of(routes[i].method), asked = request->method;
        if (!matches(request->path, routes[i].pattern, segments)) continue;
        *known = true;
        if (method.len == asked.len && memcmp(method.data, asked.data, asked.len) == 0)
            return &routes[i];
    }
    return NULL;
}

/* ---- Bodies ------------------------------------------------------------------------------------
 */

static int note_file(struct gate_call *call, const struct gate_part *part) {
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

static int read_parts(struct gate_call *call, struct gate_span boundary) {
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

static int serve_body(struct gate_call *call, const struct route *route) {
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
        return gate_call_complain(call, GATE_WRONG_TYPE);
    }
    if (rc < 0) return rc;
    return is_correct(call->json) ? route->serve(call) : gate_call_complain(call, GATE_NO_JSON);
}

static int complain_of_rate(struct gate_call *call, const struct gate_rate *rate, int64_t now_ms) {
    int64_t wait_ms = gate_rate_wait_ms(rate, now_ms);
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%d.%03d", (int)(wait_ms / 1000), (int)(wait_ms % 1000));
    call->out->status = 429;
    return GATE_FILL(&call->out->body,
                     "{'message':'You are being rate limited.','retry_after':$,'global':false}",
                     gate_raw_blank(gate_span_of(seconds)));
}

/* Interactions are outside of the limits; so is what needs no token. */
static int serve_route(struct gate_call *call, const struct route *route) {
    struct gate_sandbox *sandbox = call->sandbox;
    int64_t now_ms = gate_sandbox_now();
    if (!route->open) {
        struct gate_span name = gate_span_of(route->pattern);
        struct gate_rate *rate = gate_rate_find(sandbox->rates, name, call->segments[0]);
        int rc = gate_rate_take(rate, now_ms, gate_sandbox_wall_ms(sandbox),
                                sandbox->options.limits && route->body, &call->out->headers);
        if (rc < 0) return rc;
        if (rc == 0) return complain_of_rate(call, rate, now_ms);
    }
    return route->body ? serve_body(call, route) : route->serve(call);
}

int gate_rest_serve(struct gate_sandbox *sandbox, const struct gate_request *request,
                    struct gate_reply_text *out) {
    struct gate_call call = {.sandbox = sandbox, .request = request, .out = out};
    gate_buf_init(&call.attachments, 0, 0);
    bool known;
    const struct route *route = find_route(request, call.segments, &known);
    int rc;
    out->status = 200;
    if (!route && known)
        rc = gate_call_complain(&call, GATE_WRONG_METHOD);
    else if (!route)
        rc = gate_call_complain(&call, GATE_NOT_FOUND);
    else if (!route->open && !request->authorized)
        rc = gate_call_complain(&call, GATE_UNAUTHORIZED);
    else
        rc = serve_route(&call, route);
    gate_buf_free(&call.attachments);
    return rc;
}

/* sandbox_call.c - see sandbox_call.h. */
#include "sandbox_call.h"

#include <string.h>

#include "sandbox_news.h"
#include "sandbox_state.h"

static const struct {
    int status, code;
    const char *message;
} complaints[] = {
    [GATE_UNAUTHORIZED] = {401, 0, "401: Unauthorized"},
    [GATE_NOT_FOUND] = {404, 0, "404: Not Found"},
    [GATE_WRONG_METHOD] = {405, 0, "405: Method Not Allowed"},
    [GATE_UNKNOWN_CHANNEL] = {404, 10003, "Unknown Channel"},
    [GATE_UNKNOWN_GUILD] = {404, 10004, "Unknown Guild"},
    [GATE_UNKNOWN_MEMBER] = {404, 10007, "Unknown Member"},
    [GATE_UNKNOWN_MESSAGE] = {404, 10008, "Unknown Message"},
    [GATE_UNKNOWN_USER] = {404, 10013, "Unknown User"},
    [GATE_UNKNOWN_WEBHOOK] = {404, 10015, "Unknown Webhook"},
    [GATE_UNKNOWN_INTERACTION] = {404, 10062, "Unknown interaction"},
    [GATE_ACKNOWLEDGED] = {400, 40060, "Interaction has already been acknowledged."},
    [GATE_DIRECT_ONLY] = {403, 50003, "Cannot execute action on a DM channel"},
    [GATE_NOT_THE_AUTHOR] = {403, 50005, "Cannot edit a message authored by another user"},
    [GATE_EMPTY_MESSAGE] = {400, 50006, "Cannot send an empty message"},
    [GATE_INVALID_TOKEN] = {401, 50027, "Invalid Webhook Token"},
    [GATE_NO_JSON] = {400, 50109, "The request body contains invalid JSON."},
    [GATE_WRONG_TYPE] = {400, 50035,
                         "Invalid Form Body: Content-Type has to be application/json or "
                         "multipart/form-data with payload_json"},
};

int gate_call_complain(struct gate_call *call, enum gate_complaint which) {
    call->out->status = complaints[which].status;
    return GATE_FILL(&call->out->body, "{'message':$,'code':$}",
                     gate_string_blank(complaints[which].message),
                     gate_integer_blank(complaints[which].code));
}

int gate_call_complain_of(struct gate_call *call, const char *field, const char *code,
                          const char *words) {
    call->out->status = 400;
    return GATE_FILL(&call->out->body,
                     "{'message':'Invalid Form Body','code':50035,'errors':{$:{'_errors':["
                     "{'code':$,'message':$}]}}}",
                     gate_string_blank(field), gate_string_blank(code), gate_string_blank(words));
}

/* The value of a hexadecimal digit, or -1. */
static int read_digit(char digit) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = digit ? strchr(digits, digit) : NULL;
    return found ? (int)(found - digits) % 16 : -1;
}

char gate_path_byte(struct gate_span *path) {
    int high = path->len > 2 ? read_digit(path->data[1]) : -1;
    int low = path->len > 2 ? read_digit(path->data[2]) : -1;
    bool escaped = *path->data == '%' && high >= 0 && low >= 0;
    char byte = escaped ? (char)(high * 16 + low) : *path->data;
    path->data += escaped ? 3 : 1;
    path->len -= escaped ? 3 : 1;
    return byte;
}

bool gate_call_place(struct gate_call *call, struct gate_place *place, int *rc) {
    uint64_t id = gate_id_read(call->segments[0]);
    bool found = gate_place_find(call->sandbox, id, place);
    *rc = found ? GATE_OK : gate_call_complain(call, GATE_UNKNOWN_CHANNEL);
    return found;
}

int gate_call_tell(struct gate_call *call, const char *name, struct gate_place place,
                   struct gate_span data) {
    struct gate_sandbox_target all = {GATE_SANDBOX_ANYONE, GATE_SANDBOX_ANYONE, {NULL, 0}};
    struct gate_sandbox_event event = {
        .name = gate_span_of(name), .data = data, .direct = place.guild_id == 0, .exact = true};
    int count = gate_news_tell(call->sandbox, &all, &event);
    return count < 0 ? count : GATE_OK;
}

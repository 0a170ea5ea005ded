/* exchange.c - see exchange.h. */
#include "exchange.h"

#include <stdio.h>
#include <string.h>

struct gate_exchange *gate_exchange_new(const struct gate_request *request,
                                        struct gate_buf *memory) {
    struct gate_exchange *exchange = gate_allocate(NULL, sizeof *exchange);
    if (!exchange) return NULL;
    memset(exchange, 0, sizeof *exchange);
    exchange->request = *request;
    gate_buf_init(&exchange->memory, 0, 0);
    gate_buf_move(&exchange->memory, memory);
    gate_buf_init(&exchange->body, 0, GATE_BODY_BYTES_MAX);
    return exchange;
}

void gate_exchange_del(struct gate_exchange *exchange) {
    if (!exchange) return;
    gate_buf_wipe(&exchange->memory);
    gate_buf_free(&exchange->memory);
    gate_buf_free(&exchange->body);
    gate_allocate(exchange, 0);
}

const char *gate_exchange_fault(const struct gate_exchange *exchange) {
    const struct gate_request *request = &exchange->request;
    if (!gate_http_is_method(request->method)) return "method";
    if (!gate_http_is_value(request->authorization)) return "authorization";
    return gate_http_is_value(request->content_type) ? NULL : "content_type";
}

static bool is_method(const struct gate_exchange *exchange, const char *method) {
    return strcmp(exchange->request.method, method) == 0;
}

bool gate_exchange_compose(const struct gate_exchange *exchange, struct gate_pen *pen,
                           struct gate_span *secret) {
    const struct gate_request *request = &exchange->request;
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%zu", request->body.len);
    *secret = (struct gate_span){NULL, 0};
    if (request->authorization.len) {
        if (!gate_pen_header(pen, "Authorization", request->authorization)) return false;
        *secret = (struct gate_span){pen->at - 2 - request->authorization.len,
                                     request->authorization.len};
    }
    if (request->content_type.len && !gate_pen_header(pen, "Content-Type", request->content_type))
        return false;
    if (request->body.len == 0 && (is_method(exchange, "GET") || is_method(exchange, "HEAD")))
        return true;
    return gate_pen_header(pen, "Content-Length", (struct gate_span){digits, (size_t)len});
}

bool gate_exchange_is_bare(const struct gate_exchange *exchange) {
    return exchange->status == 204 || exchange->status == 304 || is_method(exchange, "HEAD");
}

void gate_exchange_answer(struct gate_exchange *exchange, int error, struct gate_span detail,
                          struct gate_answer *out) {
    *out = (struct gate_answer){.id = exchange->request.id,
                                .error = exchange->complete ? 0 : error,
                                .detail = detail,
                                .status = exchange->status,
                                .body = &exchange->body,
                                .header_count = exchange->header_count};
    for (size_t i = 0; i < exchange->header_count; i++) {
        const char *value = exchange->headers[i].value;
        out->headers[i].name = exchange->headers[i].name;
        out->headers[i].value = (struct gate_span){value, strlen(value)};
    }
}

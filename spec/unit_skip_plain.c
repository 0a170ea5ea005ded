/* unit_skip_plain.c - json_skip.h as processors have it that are none of the x86 family. */
#undef __SSE2__
#include "../src/json_skip.h"
#include "unit_skip.h"

int unit_skip_plain(struct gate_span text, size_t *used) {
    struct reader reader = {.at = text.data, .end = text.data + text.len};
    int rc = skip_container(&reader);
    *used = (size_t)(reader.at - text.data);
    return rc;
}

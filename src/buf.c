/* buf.c - see buf.h. */
#include "buf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GROWTH_BYTES_MIN 256
#define PAGE_BYTES_MAX   65536 /* of any system; a multiple of all smaller ones */

#ifdef __linux__
#define PAGES_UNUSED MADV_DONTNEED
#else
#define PAGES_UNUSED MADV_FREE
#endif

static void *allocate_plainly(void *old, size_t bytes) {
    if (bytes == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, bytes);
}

static void *(*allocate)(void *old, size_t bytes) = allocate_plainly;

void *gate_allocate(void *old, size_t bytes) {
    return allocate(old, bytes);
}

void gate_allocate_hook(void *(*hook)(void *old, size_t bytes)) {
    allocate = hook ? hook : allocate_plainly;
}

/* The empty instruction could read the memory, so the compiler has to write the zeros. */
void gate_wipe(void *memory, size_t bytes) {
    if (bytes == 0) return;
    memset(memory, 0, bytes);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

void gate_buf_init(struct gate_buf *buf, size_t headroom_bytes, size_t len_max) {
    *buf = (struct gate_buf){.headroom_bytes = headroom_bytes, .len_max = len_max};
}

/* An allocator keeps large blocks for later (glibc does from the second on), and for the next large
 * message that may be days. What stands in the memory is not needed any more. */
static void release(const struct gate_buf *buf) {
    char *base = buf->data - buf->headroom_bytes;
    uintptr_t end = (uintptr_t)(buf->data + buf->capacity) & ~(uintptr_t)(PAGE_BYTES_MAX - 1);
    uintptr_t begin = ((uintptr_t)base + PAGE_BYTES_MAX - 1) & ~(uintptr_t)(PAGE_BYTES_MAX - 1);
    if (buf->capacity >= GATE_LARGE_BYTES) (void)madvise((void *)begin, end - begin, PAGES_UNUSED);
    gate_allocate(base, 0);
}

void gate_buf_free(struct gate_buf *buf) {
    if (buf->data) release(buf);
    gate_buf_init(buf, buf->headroom_bytes, buf->len_max);
}

/* Doubling keeps appending linear; the cap is honoured exactly. */
static size_t next_capacity(const struct gate_buf *buf, size_t wanted) {
    size_t capacity = buf->capacity < GROWTH_BYTES_MIN ? GROWTH_BYTES_MIN : buf->capacity * 2;
    if (capacity < wanted) capacity = wanted;
    if (buf->len_max && capacity > buf->len_max) capacity = buf->len_max;
    return capacity;
}

/* Reallocates; a large block is copied, as what realloc leaves behind could not be released, and of
 * one with nothing in it nothing is. */
static char *grow(const struct gate_buf *buf, size_t bytes) {
    char *base = buf->data ? buf->data - buf->headroom_bytes : NULL;
    if (!base || (buf->len && buf->capacity < GATE_LARGE_BYTES)) return gate_allocate(base, bytes);
    char *grown = gate_allocate(NULL, bytes);
    if (!grown) return NULL;
    if (buf->len) memcpy(grown, base, buf->headroom_bytes + buf->len);
    release(buf);
    return grown;
}

int gate_buf_reserve(struct gate_buf *buf, size_t extra) {
    if (buf->capacity - buf->len >= extra && buf->data) return GATE_OK;
    if (extra > SIZE_MAX / 4 - buf->len) return GATE_EMEMORY;
    size_t wanted = buf->len + extra;
    if (buf->len_max && wanted > buf->len_max) return GATE_EMESSAGE;
    size_t capacity = next_capacity(buf, wanted);
    char *grown = grow(buf, buf->headroom_bytes + capacity);
    if (!grown) return GATE_EMEMORY;
    buf->data = grown + buf->headroom_bytes;
    buf->capacity = capacity;
    return GATE_OK;
}

int gate_buf_append(struct gate_buf *buf, struct gate_span bytes) {
    int rc = gate_buf_reserve(buf, bytes.len);
    if (rc < 0) return rc;
    if (bytes.len) memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
    return GATE_OK;
}

int gate_buf_append_byte(struct gate_buf *buf, char byte) {
    int rc = gate_buf_reserve(buf, 1);
    if (rc < 0) return rc;
    buf->data[buf->len++] = byte;
    return GATE_OK;
}

void gate_buf_clear(struct gate_buf *buf, size_t keep_bytes_max) {
    if (buf->capacity > keep_bytes_max) gate_buf_free(buf);
    buf->len = 0;
}

void gate_buf_wipe(struct gate_buf *buf) {
    if (buf->data) gate_wipe(buf->data - buf->headroom_bytes, buf->headroom_bytes + buf->capacity);
    buf->len = 0;
}

void gate_buf_move(struct gate_buf *to, struct gate_buf *from) {
    gate_buf_free(to);
    *to = *from;
    gate_buf_init(from, to->headroom_bytes, to->len_max);
}

void gate_buf_adopt(struct gate_buf *to, struct gate_buf *from) {
    bool fits = to->headroom_bytes == from->headroom_bytes &&
                (!to->len_max || from->capacity <= to->len_max);
    if (to->data || !from->data || !fits) return;
    to->data = from->data;
    to->capacity = from->capacity;
    to->len = 0;
    gate_buf_init(from, from->headroom_bytes, from->len_max);
}

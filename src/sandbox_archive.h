/* sandbox_archive.h - the newest messages of a sandbox, as the service keeps them: to be read,
 * edited and deleted. Called by the sandbox_*.c files under the lock. */
#ifndef MOONGATE_SANDBOX_ARCHIVE_H
#define MOONGATE_SANDBOX_ARCHIVE_H

#include "buf.h"
#include "moongate.h"
#include "sandbox_world.h"

#define GATE_ARCHIVED_MAX       512   /* the oldest makes room */
#define GATE_ARCHIVED_BYTES_MAX 65536 /* a longer one is not kept */

struct gate_message {
    uint64_t id;
    struct gate_place place; /* without a guild: a direct one, or one for one pair of eyes */
    struct gate_buf text;    /* JSON, as its event tells it */
};

struct gate_archive {
    struct gate_message *messages[GATE_ARCHIVED_MAX]; /* a ring; NULL: deleted, or never used */
    size_t used;                                      /* counts on */
};

/* Copies the data of a MESSAGE_CREATE. Without memory, or where it is too long, it is not kept. */
void gate_archive_keep(struct gate_archive *archive, struct gate_place place,
                       struct gate_span data);

/* The message of an id, or NULL; borrowed until the archive changes. */
struct gate_message *gate_archive_find(const struct gate_archive *archive, uint64_t id);

/* The one that was kept `back` messages ago (0: the newest), or NULL. */
const struct gate_message *gate_archive_recent(const struct gate_archive *archive, size_t back);

/* Takes one out; NULL is none. */
void gate_archive_drop(struct gate_archive *archive, const struct gate_message *message);
void gate_archive_clear(struct gate_archive *archive);

/* Lays an object over what is kept. GATE_EMEMORY: nothing has changed. */
GATE_MUST_CHECK int gate_message_change(struct gate_message *message, struct gate_span changes);

/* Appends it as REST tells it: neither with its guild nor with the author's member. */
GATE_MUST_CHECK int gate_message_describe(struct gate_span data, struct gate_buf *out);

#endif

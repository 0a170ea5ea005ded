/* sandbox_scene.h - events as Discord would tell them, around what a script or a bot has said.
 * Called by sandbox_order.c and sandbox_rest.c under the lock. */
#ifndef MOONGATE_SANDBOX_SCENE_H
#define MOONGATE_SANDBOX_SCENE_H

#include "buf.h"
#include "moongate.h"
#include "sandbox_world.h"

struct gate_sandbox;

/* Who does what where, as far as it is said; the rest is chosen. */
struct gate_scene {
    struct gate_sandbox *sandbox;
    struct gate_span given;  /* an object, or no data */
    struct gate_place place; /* without a guild: a direct message */
    uint64_t user_id;        /* who writes, types, joins, ... */
    uint64_t id;             /* of what it is about */
    bool bare;               /* a message as REST tells it: neither guild nor member */
};

/* Whether an event of this data may be one of a guild or a direct one, as sessions have it. */
bool gate_scene_is_open(struct gate_sandbox *sandbox, struct gate_span given);

/* Appends the data of an event: what is given, and around it what Discord would tell as well. A
 * name without a form, and data that is no object, stay as they are. `direct`: a direct message,
 * unless a guild or one of its channels is given. 1: completed; 0: as it was; GATE_EMEMORY. */
GATE_MUST_CHECK int gate_scene_complete(struct gate_sandbox *sandbox, struct gate_span name,
                                        struct gate_span given, bool direct, struct gate_buf *out);

/* Whether what a message says is for those who have the intent MESSAGE_CONTENT only: not in a
 * direct one, nor in the bot's own, nor where the bot is mentioned. */
bool gate_scene_is_content(const struct gate_sandbox *sandbox, struct gate_span message);

/* Appends a message without what it says. */
GATE_MUST_CHECK int gate_scene_hide(struct gate_span message, struct gate_buf *out);

/* Appends a message: scene->given inside of the form of one. */
GATE_MUST_CHECK int gate_scene_message(const struct gate_scene *scene, struct gate_buf *out);

#endif

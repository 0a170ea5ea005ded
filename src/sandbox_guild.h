/* sandbox_guild.h - the guilds of a sandbox: ids from its seed and the forms they are told in.
 * Called by the sandbox_*.c files under the lock. */
#ifndef MOONGATE_SANDBOX_GUILD_H
#define MOONGATE_SANDBOX_GUILD_H

#include "buf.h"
#include "moongate.h"

struct gate_guild;
struct gate_sandbox;

#define GATE_ID_BYTES 24 /* 20 digits and a NUL */

/* An id as it stands in JSON, without quotes. */
struct gate_span gate_id_text(uint64_t id, char out[GATE_ID_BYTES]);

/* Fills sandbox->guilds; consecutive ones fall on consecutive shards. */
void gate_guilds_make(struct gate_sandbox *sandbox);

/* The guild of an id, or NULL. */
struct gate_guild *gate_guild_find(struct gate_sandbox *sandbox, uint64_t id);

/* Appends JSON: what GUILD_CREATE tells, and the member that the bot is. */
GATE_MUST_CHECK int gate_guild_describe(const struct gate_sandbox *sandbox, size_t number,
                                        struct gate_buf *out);
GATE_MUST_CHECK int gate_guild_member(const struct gate_sandbox *sandbox, struct gate_buf *out);

#endif

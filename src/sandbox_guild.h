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

/* Fills sandbox->guilds; consecutive ones fall on consecutive shards, the first on shard 0. */
void gate_guilds_make(struct gate_sandbox *sandbox);

/* The guild of an id, or NULL. */
struct gate_guild *gate_guild_find(struct gate_sandbox *sandbox, uint64_t id);

#define GATE_GUILD_NAME_BYTES 32

/* "Guild 1"; one that the sandbox does not have is a "Guild". */
struct gate_span gate_guild_name(const struct gate_sandbox *sandbox, uint64_t guild_id,
                                 char out[GATE_GUILD_NAME_BYTES]);

/* Appends the presence of a member, who is online. */
GATE_MUST_CHECK int gate_presence_describe(uint64_t guild_id, uint64_t user_id,
                                           struct gate_buf *out);

/* What an Identify asks to see of a guild. */
struct gate_guild_view {
    bool everybody;      /* its people and their presences; else the bot is the only member */
    int large_threshold; /* with more members it is large; 0: as without an Identify */
};
#define GATE_LARGE_THRESHOLD 50

/* Appends what GUILD_CREATE tells of a guild, which need not be one of the sandbox. */
GATE_MUST_CHECK int gate_guild_describe(const struct gate_sandbox *sandbox, uint64_t guild_id,
                                        const struct gate_guild_view *view, struct gate_buf *out);

#endif

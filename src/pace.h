/* pace.h - limits that only some commands have: updates of the presence, requests for all members
 * of a guild, and what RATE_LIMITED says. Says when a command may leave as far as they go; the
 * sends of a connection as a whole are budget.h's. Called by session.c, on the thread that owns the
 * shard; lives as long as the shard, because Discord counts some of it for the bot. Pure: `now_ms`
 * is an argument. */
#ifndef MOONGATE_PACE_H
#define MOONGATE_PACE_H

#include "moongate.h"

/* What limits need to know of a command; read once, when it is accepted. */
struct gate_errand {
    int op;            /* -1: not known */
    uint64_t guild_id; /* 0: none, or not readable */
    bool all_members;  /* op 8: of the whole guild */
};

/* What RATE_LIMITED says. */
struct gate_limited {
    int op;
    uint64_t guild_id; /* 0: whatever the guild */
    int64_t wait_ms;
};

/* Something that still counts: a command that left, or a RATE_LIMITED. */
struct gate_trail {
    int rule; /* of the table in pace.c; -1: a RATE_LIMITED */
    int op;
    uint64_t guild_id;
    int64_t ends_ms;
};

struct gate_pace {
    struct gate_trail trails[GATE_TRAILS_MAX];
    uint32_t count;
};

/* Nothing has left yet. */
void gate_pace_init(struct gate_pace *pace);

/* Forgets what counts for one connection only: there is a new one. */
void gate_pace_renew(struct gate_pace *pace);

/* True when of those that wait with this opcode only the newest is worth sending. */
bool gate_pace_newest(int op);

/* When the command may leave: `now_ms` or earlier means now. While GATE_TRAILS_MAX of them count, a
 * command that would count as well waits for the first to end. */
int64_t gate_pace_when(struct gate_pace *pace, int64_t now_ms, const struct gate_errand *errand);

/* Counts a command that leaves. */
void gate_pace_spend(struct gate_pace *pace, int64_t now_ms, const struct gate_errand *errand);

/* Honours a RATE_LIMITED, at most GATE_LIMITED_MS_MAX of it: every command with its opcode, and for
 * its guild, waits. Without room the trail that ends first makes way. */
void gate_pace_obey(struct gate_pace *pace, int64_t now_ms, const struct gate_limited *limited);

#endif

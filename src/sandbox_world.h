/* sandbox_world.h - who lives in a sandbox: people, members, roles, channels and ids, all from its
 * seed. Called by the sandbox_*.c files under the lock. Every describer appends one JSON object
 * with the fields that Discord documents; GATE_EMEMORY when it cannot. */
#ifndef MOONGATE_SANDBOX_WORLD_H
#define MOONGATE_SANDBOX_WORLD_H

#include "buf.h"
#include "moongate.h"

struct gate_sandbox;
struct gate_guild;

/* A channel as far as events need it. */
struct gate_place {
    uint64_t channel_id, guild_id; /* no guild: a direct message */
};

/* The channels of a guild, as distances from its id. Each has a row in sandbox_world.c. */
#define GATE_GUILD_CHANNELS 4
#define GATE_ROLE_BOT       8 /* distances of the roles; the one for everybody has the guild's id */
#define GATE_ROLE_MODERATOR 9

/* Places that scripts have spoken of and that are none of the seed's: the newest are known. */
#define GATE_PLACES_MAX 64

/* Interactions whose answers are awaited: the newest are known. */
#define GATE_INTERACTIONS_MAX      64
#define GATE_INTERACTION_TOKEN_MAX 128 /* bytes; a longer one is nobody's */

struct gate_interaction {
    uint64_t id;
    int64_t type;
    struct gate_place place;
    bool acknowledged;
    int64_t created_ms;   /* by the server's clock */
    uint64_t message_id;  /* of its answer, or what a component hangs on; 0: none */
    struct gate_buf user; /* JSON: who has asked */
    char token[GATE_INTERACTION_TOKEN_MAX];
};

struct gate_world {
    uint64_t first_ms;   /* of the first guild; everybody is older */
    uint64_t last_id_ms; /* of the last id given to something new */
    uint64_t last_id_count;
    uint64_t last_message_id; /* 0: none yet */
    struct gate_place places[GATE_PLACES_MAX];
    size_t places_used; /* counts on; the ring's place is the rest */
    struct gate_interaction interactions[GATE_INTERACTIONS_MAX];
    size_t interactions_used;
};

/* An id for something that comes to be now; later ones are greater. */
uint64_t gate_world_id(struct gate_sandbox *sandbox);

#define GATE_TIME_BYTES 40

/* "2024-02-03T04:05:06.789000+00:00" of the moment that an id tells. */
struct gate_span gate_world_time(uint64_t id, char out[GATE_TIME_BYTES]);

/* The same moment in seconds of Unix. */
uint64_t gate_world_seconds(uint64_t id);

/* People: 0, 1, ... up to options.members. The bot is none of them. */
uint64_t gate_person_id(const struct gate_sandbox *sandbox, int number);
bool gate_is_person(const struct gate_sandbox *sandbox, uint64_t user_id);

#define GATE_PERSON_NAME_BYTES 32

/* The name of one of them, or one made from the id. */
struct gate_span gate_person_name(const struct gate_sandbox *sandbox, uint64_t user_id,
                                  char out[GATE_PERSON_NAME_BYTES]);

/* The channel of an id: of the seed's, a direct one of somebody, or one that a script has spoken
 * of. False for any other. */
bool gate_place_find(struct gate_sandbox *sandbox, uint64_t channel_id, struct gate_place *out);
uint64_t gate_direct_channel(uint64_t user_id);
void gate_place_note(struct gate_sandbox *sandbox, struct gate_place place);

/* A user: the bot, one of the people, or somebody with a name made from the id. */
GATE_MUST_CHECK int gate_user_describe(const struct gate_sandbox *sandbox, uint64_t user_id,
                                       struct gate_buf *out);

/* A member of a guild, with or without its user. */
GATE_MUST_CHECK int gate_member_describe(const struct gate_sandbox *sandbox, uint64_t guild_id,
                                         uint64_t user_id, bool with_user, struct gate_buf *out);

/* A channel, as GET tells it: its guild_id is there, or its recipients. */
GATE_MUST_CHECK int gate_channel_describe(struct gate_sandbox *sandbox, struct gate_place place,
                                          struct gate_buf *out);

/* The roles of a guild, the channels of a guild: objects with commas between. */
GATE_MUST_CHECK int gate_roles_list(const struct gate_sandbox *sandbox, uint64_t guild_id,
                                    struct gate_buf *out);
GATE_MUST_CHECK int gate_channels_list(uint64_t guild_id, struct gate_buf *out);

/* The interaction of an id and a token, or NULL. */
struct gate_interaction *gate_interaction_find(struct gate_sandbox *sandbox, uint64_t id,
                                               struct gate_span token);

/* The same by its token alone. */
struct gate_interaction *gate_interaction_find_token(struct gate_sandbox *sandbox,
                                                     struct gate_span token);

/* Keeps `one` with its token and its user (JSON) in the oldest's place. */
void gate_interaction_note(struct gate_sandbox *sandbox, const struct gate_interaction *one,
                           struct gate_span token, struct gate_span user);
void gate_interactions_forget(struct gate_sandbox *sandbox);

#endif

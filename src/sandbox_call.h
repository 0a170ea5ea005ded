/* sandbox_call.h - one call of REST: what was asked, and what is answered. Shared by the files that
 * serve routes (sandbox_lookup.c, sandbox_message.c, sandbox_interaction.c), which sandbox_rest.c
 * calls on the server's thread, under the lock. Each server returns GATE_OK also when it refuses:
 * that is an answer. GATE_EMEMORY when there is none. */
#ifndef MOONGATE_SANDBOX_CALL_H
#define MOONGATE_SANDBOX_CALL_H

#include "sandbox_rest.h"
#include "sandbox_world.h"

#define GATE_SEGMENTS_MAX 4 /* of a path that are ids or tokens */

struct gate_call {
    struct gate_sandbox *sandbox;
    const struct gate_request *request;
    struct gate_span segments[GATE_SEGMENTS_MAX]; /* those that stand for ':' in the pattern */
    struct gate_span json;                        /* the body, or its payload_json; an object */
    struct gate_buf attachments;                  /* of the other parts: JSON objects */
    struct gate_reply_text *out;
};

/* Errors have Discord's codes and words, so that a client takes them for what they are. */
enum gate_complaint {
    GATE_UNAUTHORIZED,
    GATE_NOT_FOUND,
    GATE_WRONG_METHOD,
    GATE_UNKNOWN_CHANNEL,
    GATE_UNKNOWN_GUILD,
    GATE_UNKNOWN_MEMBER,
    GATE_UNKNOWN_MESSAGE,
    GATE_UNKNOWN_USER,
    GATE_UNKNOWN_WEBHOOK,
    GATE_UNKNOWN_INTERACTION,
    GATE_ACKNOWLEDGED,
    GATE_DIRECT_ONLY,
    GATE_NOT_THE_AUTHOR,
    GATE_EMPTY_MESSAGE,
    GATE_INVALID_TOKEN,
    GATE_NO_JSON,
    GATE_WRONG_TYPE
};
GATE_MUST_CHECK int gate_call_complain(struct gate_call *call, enum gate_complaint which);

/* 50035 with the tree that tells which field is wrong. */
GATE_MUST_CHECK int gate_call_complain_of(struct gate_call *call, const char *field,
                                          const char *code, const char *words);

/* Takes the next byte off a path, as it was before it was escaped (RFC 3986, 2.1). */
char gate_path_byte(struct gate_span *path);

/* The channel in the first segment; false when it is none, which has been told: *rc. */
bool gate_call_place(struct gate_call *call, struct gate_place *place, int *rc);

/* Tells an event to every session that may hear it. */
GATE_MUST_CHECK int gate_call_tell(struct gate_call *call, const char *event,
                                   struct gate_place place, struct gate_span data);

/* sandbox_lookup.c: what there is. */
int gate_serve_gateway(struct gate_call *call);
int gate_serve_bot_gateway(struct gate_call *call);
int gate_serve_self(struct gate_call *call);
int gate_serve_application(struct gate_call *call);
int gate_serve_user(struct gate_call *call);
int gate_serve_guild(struct gate_call *call);
int gate_serve_member(struct gate_call *call);
int gate_serve_channel(struct gate_call *call);
int gate_serve_direct_channel(struct gate_call *call);

/* sandbox_message.c: messages of channels. */
int gate_serve_send(struct gate_call *call);
int gate_serve_messages(struct gate_call *call);
int gate_serve_message(struct gate_call *call);
int gate_serve_edit(struct gate_call *call);
int gate_serve_delete(struct gate_call *call);
int gate_serve_typing(struct gate_call *call);

/* The same for whoever has found out where and which message it is. gate_message_judge: whether
 * `said` may be sent; false: what is wrong with it has been told. gate_message_send appends the
 * message as REST tells it to `out`; `more` are further members of it: an object, or no data.
 * gate_message_edit does so as well. */
bool gate_message_judge(struct gate_call *call, struct gate_span said, int *rc);
GATE_MUST_CHECK int gate_message_send(struct gate_call *call, struct gate_place place,
                                      struct gate_span said, struct gate_span more,
                                      struct gate_buf *out);
GATE_MUST_CHECK int gate_message_edit(struct gate_call *call, uint64_t id, struct gate_span said,
                                      struct gate_buf *out);
GATE_MUST_CHECK int gate_message_delete(struct gate_call *call, uint64_t id);

/* sandbox_interaction.c: answers to interactions, and what follows them. */
int gate_serve_callback(struct gate_call *call);
int gate_serve_follow_up(struct gate_call *call);
int gate_serve_follow_up_message(struct gate_call *call);
int gate_serve_follow_up_edit(struct gate_call *call);
int gate_serve_follow_up_delete(struct gate_call *call);

#endif

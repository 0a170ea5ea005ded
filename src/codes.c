/* codes.c - the tables behind moongate.h. One source: C, Lua and the specs look things up here.
 * It decides nothing. */
#include "moongate.h"

static const struct {
    const char *name, *text;
} errors[] = {
#define X(name, text) {#name, text},
    GATE_ERRORS(X)
#undef X
};

static int error_row(int error) {
    int row = error - GATE_ERROR_BASE - 1;
    int rows = (int)(sizeof errors / sizeof errors[0]);
    return row >= 0 && row < rows ? row : -1;
}

const char *gate_error_text(int error) {
    int row = error_row(error);
    return row < 0 ? "no error" : errors[row].text;
}

const char *gate_error_name(int error) {
    int row = error_row(error);
    return row < 0 ? "OK" : errors[row].name;
}

const struct gate_opcode_row gate_opcodes[] = {
#define X(name, number) {#name, number},
    GATE_OPCODES(X)
#undef X
        {NULL, 0}};

#define PORTAL "the Developer Portal (Bot page)"

/* A received 1000 or 1001 says nothing about the session: Discord sends both while the session
 * lives on, so they are tried with a resume. 4003 may mean "session invalidated". */
const struct gate_close_row gate_close_codes[] = {
    {1000, GATE_RESUME, 0, "NORMAL", "closed without a complaint", NULL},
    {1001, GATE_RESUME, 0, "GOING_AWAY", "this gateway host is going away", NULL},
    {1005, GATE_RESUME, 0, "NO_CODE", "closed without a code", NULL},
    {1006, GATE_RESUME, 0, "DROPPED", "the connection was lost", NULL},
    {4000, GATE_RESUME, 0, "UNKNOWN_ERROR", "unknown error on Discord's side", NULL},
    {4001, GATE_RESUME, 0, "UNKNOWN_OPCODE", "a payload had an unknown opcode or bad data",
     "check what was given to send()"},
    {4002, GATE_RESUME, 0, "DECODE_ERROR", "a payload could not be decoded",
     "check what was given to send()"},
    {4003, GATE_IDENTIFY, 0, "NOT_AUTHENTICATED", "the session is not valid any more", NULL},
    {4004, GATE_FATAL, GATE_EAUTH, "AUTHENTICATION_FAILED", "the token was not accepted",
     "copy the token again from " PORTAL "; a reset makes the old one invalid"},
    {4005, GATE_RESUME, 0, "ALREADY_AUTHENTICATED", "identified twice on one connection", NULL},
    {4006, GATE_IDENTIFY, 0, "SESSION_INVALID", "the session is not valid any more", NULL},
    {4007, GATE_IDENTIFY, 0, "INVALID_SEQ", "the sequence to resume from was not accepted", NULL},
    {4008, GATE_RESUME, 0, "RATE_LIMITED", "payloads were sent too fast", NULL},
    {4009, GATE_IDENTIFY, 0, "SESSION_TIMED_OUT", "the session timed out", NULL},
    {4010, GATE_FATAL, GATE_ESHARD, "INVALID_SHARD", "the shard id or count was not accepted",
     "check shards and shard_ids; a very large bot needs a multiple of its assigned count"},
    {4011, GATE_FATAL, GATE_ESHARD, "SHARDING_REQUIRED", "too many guilds for one session",
     "raise shards, or leave it out to use the recommended count"},
    {4012, GATE_FATAL, GATE_EVERSION, "INVALID_API_VERSION", "the gateway version is not served",
     "leave the version option out"},
    {4013, GATE_FATAL, GATE_EINTENTS, "INVALID_INTENTS", "the intents contain an unknown bit",
     "build them with moongate.intents"},
    {4014, GATE_FATAL, GATE_EINTENTS, "DISALLOWED_INTENTS",
     "a privileged intent is not enabled for this bot",
     "switch it on in " PORTAL ", or leave it out of intents"},
    {0, GATE_RESUME, 0, NULL, "closed with an unlisted code", NULL}};

const struct gate_close_row *gate_close_lookup(int code) {
    const struct gate_close_row *row = gate_close_codes;
    while (row->name && row->code != code) row++;
    return row;
}

const struct gate_intent_row gate_intents[] = {{"guilds", 0, false},
                                               {"guild_members", 1, true},
                                               {"guild_moderation", 2, false},
                                               {"guild_expressions", 3, false},
                                               {"guild_integrations", 4, false},
                                               {"guild_webhooks", 5, false},
                                               {"guild_invites", 6, false},
                                               {"guild_voice_states", 7, false},
                                               {"guild_presences", 8, true},
                                               {"guild_messages", 9, false},
                                               {"guild_message_reactions", 10, false},
                                               {"guild_message_typing", 11, false},
                                               {"direct_messages", 12, false},
                                               {"direct_message_reactions", 13, false},
                                               {"direct_message_typing", 14, false},
                                               {"message_content", 15, true},
                                               {"guild_scheduled_events", 16, false},
                                               {"auto_moderation_configuration", 20, false},
                                               {"auto_moderation_execution", 21, false},
                                               {"guild_message_polls", 24, false},
                                               {"direct_message_polls", 25, false},
                                               {NULL, 0, false}};

/* sandbox_list.c - what happened and what is, as JSON for lua_sandbox.c; see sandbox.h.
 * JSON, because nothing of Lua may run under the lock, and a snapshot is what a script wants. */
#include "sandbox_list.h"

#include <inttypes.h>

#include "sandbox_guild.h"
#include "sandbox_loop.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

static struct gate_blank name_or_null(const char *text) {
    return gate_string_blank(text && text[0] ? text : NULL);
}

static struct gate_blank number_or_null(int64_t value, bool known) {
    return known ? gate_integer_blank(value) : gate_raw_blank((struct gate_span){NULL, 0});
}

static int describe_link(const struct gate_link *link, struct gate_buf *out) {
    const struct gate_seat *seat = link->seat;
    bool known = link->session[0] != '\0';
    return GATE_FILL(
        out,
        "{'id':$,'open':$,'state':$,'session':$,'shard':$,'shard_count':$,'seq':$,'version':$,"
        "'encoding':$,'compress':$,'path':$,'query':$,'opened_ms':$,'beats':$,'packets':$,"
        "'messages_out':$,'bytes_out':$,'unsent':$,'tls_resumed':$,'close_sent':$,'close_received':"
        "$,"
        "'close_reason':$}",
        gate_integer_blank(link->id), gate_boolean_blank(link->state != GATE_LINK_CLOSED),
        gate_string_blank(gate_link_word(link)), name_or_null(link->session),
        number_or_null(link->shard_id, known), number_or_null(link->shard_count, known),
        number_or_null(seat ? seat->seq : 0, seat != NULL),
        number_or_null(link->version, link->version != 0),
        gate_string_blank(link->encoding ? link->encoding->name : NULL),
        name_or_null(link->compression ? link->compression->name : NULL),
        gate_text_blank(gate_buf_span(&link->path)), gate_text_blank(gate_buf_span(&link->query)),
        gate_integer_blank(link->opened_ms), gate_integer_blank(link->beats),
        gate_integer_blank((int64_t)link->sends), gate_integer_blank((int64_t)link->messages_out),
        gate_integer_blank((int64_t)link->bytes_out),
        gate_integer_blank((int64_t)(link->out.len - link->out_sent)),
        gate_boolean_blank(link->tls_resumed),
        number_or_null(link->close_sent, link->close_sent != 0),
        number_or_null(link->close_received, link->close_received != 0),
        gate_text_blank(gate_buf_span(&link->close_reason)));
}

void gate_list_keep(struct gate_link *link) {
    struct gate_buf note;
    gate_buf_init(&note, 0, 0);
    if (describe_link(link, &note) == GATE_OK)
        gate_journal_add(&link->sandbox->history, 0, gate_buf_span(&note));
    gate_buf_free(&note);
}

static int separate(struct gate_buf *out) {
    bool first = out->data[out->len - 1] == '[';
    return first ? GATE_OK : gate_buf_append_byte(out, ',');
}

static bool is_shown(const struct gate_link *link) {
    return link->id > 0 && link->state != GATE_LINK_CLOSED;
}

static int list_links(const struct gate_sandbox *sandbox, struct gate_buf *out) {
    int rc = GATE_OK;
    for (const struct gate_link *link = sandbox->links; link && rc == GATE_OK; link = link->next) {
        if (!is_shown(link)) continue;
        rc = separate(out);
        if (rc == GATE_OK) rc = describe_link(link, out);
    }
    return rc;
}

static int list_seats(const struct gate_sandbox *sandbox, struct gate_buf *out) {
    int rc = GATE_OK;
    for (const struct gate_seat *seat = sandbox->seats; seat && rc == GATE_OK; seat = seat->next) {
        int64_t left_ms = seat->link ? 0 : seat->expires_ms - gate_sandbox_now();
        rc = separate(out);
        if (rc < 0) break;
        rc = GATE_FILL(
            out,
            "{'id':$,'connection':$,'shard':$,'shard_count':$,'intents':$,'seq':$,"
            "'replayable_from':$,'replayable':$,'expires_in_ms':$}",
            gate_string_blank(seat->id),
            number_or_null(seat->link ? seat->link->id : 0, seat->link != NULL),
            gate_integer_blank(seat->claim.shard_id), gate_integer_blank(seat->claim.shard_count),
            gate_integer_blank(seat->claim.intents), gate_integer_blank(seat->seq),
            gate_integer_blank(seat->forgotten), gate_integer_blank((int64_t)seat->tellings),
            number_or_null(left_ms, seat->link == NULL));
    }
    return rc;
}

static int list_guilds(const struct gate_sandbox *sandbox, struct gate_buf *out) {
    int rc = GATE_OK;
    for (int i = 0; i < sandbox->options.guilds && rc == GATE_OK; i++) {
        char id[GATE_ID_BYTES], channel[GATE_ID_BYTES], voice[GATE_ID_BYTES];
        const struct gate_guild *guild = &sandbox->guilds[i];
        rc = separate(out);
        if (rc < 0) break;
        rc = GATE_FILL(out, "{'id':'$','channel_id':'$','voice_channel_id':'$','name':'Guild $'}",
                       gate_raw_blank(gate_id_text(guild->id, id)),
                       gate_raw_blank(gate_id_text(guild->channel_id, channel)),
                       gate_raw_blank(gate_id_text(guild->channel_id + 1, voice)),
                       gate_integer_blank(i + 1));
    }
    return rc;
}

static int list_people(const struct gate_sandbox *sandbox, struct gate_buf *out) {
    int rc = GATE_OK;
    for (int i = 0; i < sandbox->options.members && rc == GATE_OK; i++) {
        rc = separate(out);
        if (rc == GATE_OK) rc = gate_user_describe(sandbox, gate_person_id(sandbox, i), out);
    }
    return rc;
}

static const struct gate_journal *find_journal(const struct gate_sandbox *sandbox,
                                               enum gate_sandbox_list which) {
    switch (which) {
    case GATE_LIST_RECEIVED: return &sandbox->received;
    case GATE_LIST_LOG: return &sandbox->log;
    case GATE_LIST_REQUESTS: return &sandbox->requests;
    case GATE_LIST_HISTORY: return &sandbox->history;
    case GATE_LIST_CONNECTIONS:
    case GATE_LIST_SESSIONS:
    case GATE_LIST_GUILDS:
    case GATE_LIST_PEOPLE: break;
    }
    return NULL;
}

static int list_unlocked(struct gate_sandbox *sandbox, enum gate_sandbox_list which, int tag,
                         struct gate_buf *out) {
    const struct gate_journal *journal = find_journal(sandbox, which);
    int rc = gate_buf_append_byte(out, '[');
    if (rc < 0) return rc;
    if (journal)
        rc = gate_journal_list(journal, tag, out);
    else if (which == GATE_LIST_CONNECTIONS)
        rc = list_links(sandbox, out);
    else if (which == GATE_LIST_SESSIONS)
        rc = list_seats(sandbox, out);
    else if (which == GATE_LIST_PEOPLE)
        rc = list_people(sandbox, out);
    else
        rc = list_guilds(sandbox, out);
    return rc < 0 ? rc : gate_buf_append_byte(out, ']');
}

int gate_sandbox_list(struct gate_sandbox *sandbox, enum gate_sandbox_list which, int tag,
                      struct gate_buf *out, uint64_t *lost) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int rc = list_unlocked(sandbox, which, tag, out);
    const struct gate_journal *journal = find_journal(sandbox, which);
    *lost = journal ? journal->lost : 0;
    gate_loop_unlock();
    return rc;
}

int gate_sandbox_log_after(struct gate_sandbox *sandbox, uint64_t after, struct gate_buf *out,
                           uint64_t *last) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int rc = gate_buf_append_byte(out, '[');
    if (rc == GATE_OK) rc = gate_journal_list_after(&sandbox->log, after, out);
    if (rc == GATE_OK) rc = gate_buf_append_byte(out, ']');
    *last = sandbox->log.total;
    gate_loop_unlock();
    return rc;
}

static int count_unlocked(const struct gate_sandbox *sandbox, enum gate_sandbox_list which,
                          int tag) {
    const struct gate_journal *journal = find_journal(sandbox, which);
    int count = 0;
    if (journal) return gate_journal_count(journal, tag);
    if (which == GATE_LIST_GUILDS) return sandbox->options.guilds;
    if (which == GATE_LIST_PEOPLE) return sandbox->options.members;
    if (which == GATE_LIST_SESSIONS) {
        for (const struct gate_seat *seat = sandbox->seats; seat; seat = seat->next) count++;
        return count;
    }
    for (const struct gate_link *link = sandbox->links; link; link = link->next) {
        bool is_socket = is_shown(link) && link->encoding;
        if (is_socket && (tag == 0 || (link->state == GATE_LINK_OPEN && link->ready_sent))) count++;
    }
    return count;
}

int gate_sandbox_count(struct gate_sandbox *sandbox, enum gate_sandbox_list which, int tag) {
    if (!gate_loop_owns(sandbox)) return GATE_EFORK;
    gate_loop_lock();
    int count = count_unlocked(sandbox, which, tag);
    gate_loop_unlock();
    return count;
}

/* sandbox_news.c - see sandbox_news.h. */
#include "sandbox_news.h"

#include <string.h>

#include "sandbox_intents.h"
#include "sandbox_scene.h"
#include "sandbox_seat.h"
#include "sandbox_state.h"

bool gate_target_has(const struct gate_sandbox_target *target, const char *session) {
    struct gate_span wanted = target->session;
    if (wanted.len == 0) return true;
    return strlen(session) == wanted.len && memcmp(session, wanted.data, wanted.len) == 0;
}

static bool matches_seat(const struct gate_seat *seat, const struct gate_sandbox_target *target) {
    if (target->connection >= 0 && (!seat->link || seat->link->id != target->connection))
        return false;
    if (target->shard >= 0 && seat->claim.shard_id != target->shard) return false;
    return gate_target_has(target, seat->id);
}

static bool is_name(struct gate_span name, const char *wanted) {
    return name.len == strlen(wanted) && memcmp(name.data, wanted, name.len) == 0;
}

/* Whose event it is, as far as its data tells. The events of a guild as such have its id as `id`.
 */
static int read_news(const struct gate_sandbox *sandbox, struct gate_span name,
                     struct gate_span data, bool direct, struct gate_news *news) {
    struct gate_field fields[] = {{.key = "guild_id"}, {.key = "id"}, {.key = "user.id"}};
    struct gate_buf texts;
    gate_buf_init(&texts, 0, 0);
    int rc = gate_fields_read(data, fields, 3, &texts);
    struct gate_span bot = sandbox->options.user_id, user = fields[2].text;
    *news = (struct gate_news){.name = name, .data = data, .direct = direct};
    bool is_guild = is_name(name, "GUILD_CREATE") || is_name(name, "GUILD_UPDATE") ||
                    is_name(name, "GUILD_DELETE");
    if (rc == GATE_OK) news->guild_id = gate_field_id(&fields[is_guild ? 1 : 0]);
    news->about_bot = is_name(name, "GUILD_MEMBER_UPDATE") && fields[2].kind == GATE_FIELD_TEXT &&
                      user.len == bot.len && memcmp(user.data, bot.data, bot.len) == 0;
    gate_buf_free(&texts);
    return rc;
}

/* An event as a guild's, or as a direct one. */
struct version {
    struct gate_buf data;
    struct gate_buf hidden; /* the same without what it says; empty until somebody needs it */
    struct gate_news news;
    bool made;
    bool content; /* what it says needs an intent of its own */
};

static int make_version(struct gate_sandbox *sandbox, const struct gate_sandbox_event *event,
                        bool direct, struct version *out) {
    if (out->made) return GATE_OK;
    int rc = event->exact || event->broken
                 ? gate_buf_append(&out->data, event->data)
                 : gate_scene_complete(sandbox, event->name, event->data, direct, &out->data);
    bool completed = rc > 0;
    if (rc >= 0)
        rc = read_news(sandbox, event->name, gate_buf_span(&out->data), direct, &out->news);
    /* What is whole and still has no guild is in a channel of nobody but two. */
    if ((completed || event->exact) && out->news.guild_id == 0)
        out->news.direct = gate_event_rule(event->name)->direct != 0;
    bool message = is_name(event->name, "MESSAGE_CREATE") || is_name(event->name, "MESSAGE_UPDATE");
    out->content =
        completed && message && gate_scene_is_content(sandbox, gate_buf_span(&out->data));
    out->made = rc == GATE_OK || event->broken; /* it goes by what could be read */
    return out->made ? GATE_OK : rc;
}

/* The version that a seat hears, or NULL. */
static struct version *choose_version(const struct gate_seat *seat,
                                      const struct gate_sandbox_event *event,
                                      struct version versions[2]) {
    for (size_t i = 0; i < 2; i++)
        if (versions[i].made && gate_seat_wants(seat, &versions[i].news)) return &versions[i];
    if (!event->unfiltered) return NULL;
    return versions[0].made ? &versions[0] : &versions[1];
}

/* The data as a seat is told it. Without memory to hide anything it is told all. */
static struct gate_span choose_data(const struct gate_seat *seat, struct version *version) {
    bool told = (seat->claim.intents & GATE_INTENT_CONTENT) != 0;
    struct gate_span data = gate_buf_span(&version->data);
    if (told || !version->content) return data;
    if (version->hidden.len == 0 && gate_scene_hide(data, &version->hidden) < 0) {
        gate_buf_free(&version->hidden);
        return data;
    }
    return gate_buf_span(&version->hidden);
}

int gate_news_tell(struct gate_sandbox *sandbox, const struct gate_sandbox_target *target,
                   const struct gate_sandbox_event *event) {
    struct version versions[2] = {{.made = false}, {.made = false}};
    struct gate_news given;
    bool open = !event->exact && !event->broken && !event->direct &&
                gate_scene_is_open(sandbox, event->data);
    int count = 0, rc = read_news(sandbox, event->name, event->data, false, &given);
    if (event->broken) rc = GATE_OK;
    for (size_t i = 0; i < 2; i++) {
        gate_buf_init(&versions[i].data, 0, 0);
        gate_buf_init(&versions[i].hidden, 0, 0);
    }
    if (rc == GATE_OK) rc = make_version(sandbox, event, event->direct, &versions[0]);
    for (struct gate_seat *seat = sandbox->seats; seat && rc == GATE_OK; seat = seat->next) {
        if (!matches_seat(seat, target)) continue;
        if (open && !versions[1].made && !gate_seat_wants(seat, &versions[0].news))
            rc = make_version(sandbox, event, true, &versions[1]);
        struct version *version = choose_version(seat, event, versions);
        if (rc < 0 || !version) continue;
        gate_seat_tell(seat, event->name, choose_data(seat, version));
        count++;
    }
    for (size_t i = 0; i < 2; i++) {
        gate_buf_free(&versions[i].data);
        gate_buf_free(&versions[i].hidden);
    }
    return rc < 0 ? rc : count;
}

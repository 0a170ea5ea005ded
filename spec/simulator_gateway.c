/* simulator_gateway.c - a model of Discord's side, written from the protocol and not from src/:
 * sessions with a sequence, a bounded replay and a lifetime, and the limits that it enforces. */
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

#define SESSION_KNOWN_MS   45000 /* an Identify must come within this time of HELLO */
#define HEART_PATIENCE_NUM 5     /* a connection without a beat for 5/2 intervals is closed */
#define HEART_PATIENCE_DEN 2
#define TEXT_BYTES         24000 /* of the largest message */

/* ---- Text ------------------------------------------------------------------------------------ */

struct text {
    char *to;
};

static void put_word(struct text *text, const char *word) {
    size_t len = strlen(word);
    memcpy(text->to, word, len);
    text->to += len;
}

static void put_number(struct text *text, int64_t number) {
    char digits[24];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(text->to, digits + at, sizeof digits - at);
    text->to += sizeof digits - at;
}

int64_t sim_gateway_mark(uint32_t number, int64_t seq) {
    uint64_t z = ((uint64_t)number << 32 ^ (uint64_t)seq) * 0x9e3779b97f4a7c15u;
    return (int64_t)((z ^ (z >> 29)) & 0xffffff);
}

static const char *const event_names[] = {[SIM_READY] = "READY",
                                          [SIM_RESUMED] = "RESUMED",
                                          [SIM_GUILD] = "GUILD_CREATE",
                                          [SIM_MESSAGE] = "MESSAGE_CREATE",
                                          [SIM_PRESENCE] = "PRESENCE_UPDATE",
                                          [SIM_TYPING] = "TYPING_START",
                                          [SIM_LIMITED] = "RATE_LIMITED"};

static void put_data(struct text *text, const struct sim_session *session, int64_t seq, int kind) {
    int64_t mark = sim_gateway_mark(session->number, seq);
    put_word(text, "{\"session\":");
    put_number(text, session->number);
    put_word(text, ",\"mark\":");
    put_number(text, mark);
    if (kind == SIM_READY) {
        put_word(text, ",\"session_id\":\"s");
        put_number(text, session->number);
        put_word(text, "\",\"resume_gateway_url\":\"wss://resume");
        put_number(text, session->host);
        put_word(text, ".test\"");
    }
    if (kind == SIM_LIMITED) {
        uint32_t limit = session->limits[seq % SIM_KINDS];
        put_word(text, ",\"opcode\":8,\"retry_after\":");
        put_number(text, (limit >> 8) / 10);
        put_word(text, ".");
        put_number(text, (limit >> 8) % 10);
        put_word(text, ",\"meta\":{\"guild_id\":\"");
        put_number(text, limit & 255);
        put_word(text, "\"}");
    }
    if (mark % 64 == 0) { /* now and then a large one */
        size_t len = (size_t)(mark / 64 % 20000);
        put_word(text, ",\"content\":\"");
        memset(text->to, 'x', len);
        text->to += len;
        put_word(text, "\"");
    }
    put_word(text, "}");
}

static void say_dispatch(struct sim_link *link, const struct sim_session *session, int64_t seq,
                         int kind) {
    char room[TEXT_BYTES];
    struct text text = {room};
    bool data_first = sim_gateway_mark(session->number, seq) % 3 == 0;
    if (session->poison && session->poison == seq) {
        sim_link_say(link, SIM_SAID_CORRUPT, GATE_SPAN("{\"t\":\"MESSAGE_CREATE\",\"s\":1,"));
        return;
    }
    put_word(&text, "{\"op\":0,");
    if (data_first) {
        put_word(&text, "\"d\":");
        put_data(&text, session, seq, kind);
        put_word(&text, ",");
    }
    put_word(&text, "\"t\":\"");
    put_word(&text, event_names[kind]);
    put_word(&text, "\",\"s\":");
    put_number(&text, seq);
    if (!data_first) {
        put_word(&text, ",\"d\":");
        put_data(&text, session, seq, kind);
    }
    put_word(&text, "}");
    sim_link_say(link, SIM_SAID_PLAIN, (struct gate_span){room, (size_t)(text.to - room)});
}

void sim_gateway_say(struct sim_session *session, int64_t seq) {
    if (session->link) say_dispatch(session->link, session, seq, session->kinds[seq % SIM_KINDS]);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

struct sim_session *sim_gateway_find(struct sim_world *world, uint32_t number) {
    for (int id = 0; id < world->shard_count; id++)
        for (int i = 0; i < SIM_SESSIONS; i++)
            if (world->gateway.sessions[id][i].number == number)
                return &world->gateway.sessions[id][i];
    return NULL;
}

void sim_gateway_end(struct sim_session *session) {
    session->ended = true;
    sim_disarm(&session->world->clock, &session->timer);
}

static void detach(struct sim_session *session) {
    if (!session) return;
    if (session->link) session->link->session = NULL;
    session->link = NULL;
    session->live = false;
    session->detached_at_ms = session->world->clock.now_ms;
}

static bool is_over(const struct sim_session *session) {
    const struct sim_world *world = session->world;
    if (session->ended) return true;
    return session->detached_at_ms >= 0 &&
           world->clock.now_ms - session->detached_at_ms > world->weather.climate.session_life_ms;
}

static void add_event(struct sim_session *session, int kind) {
    session->seq++;
    session->kinds[session->seq % SIM_KINDS] = (uint8_t)kind;
    if (session->live) sim_gateway_say(session, session->seq);
}

static void add_limit(struct sim_session *session, int64_t guild, int64_t tenths) {
    session->limits[(session->seq + 1) % SIM_KINDS] = (uint32_t)(tenths << 8 | guild);
    add_event(session, SIM_LIMITED);
}

static int any_kind(struct sim_session *session) {
    static const uint8_t kinds[] = {SIM_MESSAGE, SIM_MESSAGE, SIM_PRESENCE, SIM_TYPING, SIM_GUILD};
    return kinds[sim_random(&session->world->clock) % sizeof kinds];
}

/* Sparse traffic, also while nobody is there: it waits in the replay. */
static void next_event(void *owner) {
    struct sim_session *session = owner;
    struct sim_world *world = session->world;
    if (is_over(session)) return;
    if (sim_chance(&world->clock, 0.02)) /* for requests of another program */
        add_limit(session, sim_between(&world->clock, 1, SIM_GUILDS),
                  sim_between(&world->clock, 1, 600));
    else
        add_event(session, any_kind(session));
    sim_arm(&world->clock, &session->timer,
            world->clock.now_ms + sim_wait(&world->clock, world->weather.climate.traffic_every_ms),
            SIM_NETWORK);
}

void sim_gateway_burst(struct sim_session *session, int64_t count) {
    if (is_over(session)) return;
    for (int64_t i = 0; i < count; i++) add_event(session, any_kind(session));
}

static struct sim_session *new_session(struct sim_link *link) {
    struct sim_world *world = link->world;
    struct sim_gateway *gateway = &world->gateway;
    uint32_t number = ++gateway->session_count;
    int id = link->seat->id;
    struct sim_session *session = &gateway->sessions[id][number % SIM_SESSIONS];
    for (int i = 0; i < SIM_SESSIONS; i++) /* the oldest place */
        if (gateway->sessions[id][i].number < session->number) session = &gateway->sessions[id][i];
    if (session->link) sim_gateway_close(session->link, 4000);
    sim_disarm(&world->clock, &session->timer);
    *session = (struct sim_session){.world = world,
                                    .number = number,
                                    .shard_id = id,
                                    .host = (int)sim_between(&world->clock, 0, SIM_HOSTS - 1),
                                    .link = link,
                                    .detached_at_ms = -1};
    session->timer = (struct sim_timer){.fire = next_event, .owner = session};
    link->session = session;
    return session;
}

/* ---- Endings of a connection ----------------------------------------------------------------- */

static bool ends_session(int code) {
    return code == 4003 || code == 4006 || code == 4007 || code == 4009;
}

void sim_gateway_close(struct sim_link *link, int code) {
    if (link->server_gone) return;
    if (link->session && ends_session(code)) sim_gateway_end(link->session);
    detach(link->session);
    sim_link_hang_up(link, code);
    sim_link_leave(link);
}

void sim_gateway_left(struct sim_link *link, int code) {
    struct sim_world *world = link->world;
    if (link->session && (code == 1000 || code == 1001)) sim_gateway_end(link->session);
    detach(link->session);
    bool answers =
        code != GATE_CLOSE_DROPPED &&
        !sim_strikes(world, world->weather.climate.close_ignored, SIM_FAULT_CLOSE_IGNORED);
    if (answers) {
        sim_link_hang_up(link, code);
    } else {
        sim_disarm(&world->clock, &link->watch);
        sim_disarm(&world->clock, &link->answer);
        link->server_gone = true;
    }
    sim_link_leave(link);
}

/* Refuses what the client has; the client closes, or else we do. */
static void refuse(struct sim_link *link, struct sim_session *session) {
    if (session) sim_gateway_end(session);
    sim_link_say(link, SIM_SAID_INVALID, GATE_SPAN("{\"op\":9,\"d\":false,\"s\":null,\"t\":null}"));
    if (sim_chance(&link->world->clock, 0.3)) sim_gateway_close(link, GATE_CLOSE_EMPTY);
}

static void watch_heart(void *owner) {
    struct sim_link *link = owner;
    struct sim_world *world = link->world;
    int64_t patience_ms = world->interval_ms * HEART_PATIENCE_NUM / HEART_PATIENCE_DEN;
    int64_t due_ms = link->beat_at_ms + patience_ms;
    if (due_ms > world->clock.now_ms) {
        sim_arm(&world->clock, &link->watch, due_ms, SIM_NETWORK);
        return;
    }
    sim_gateway_close(link, sim_chance(&world->clock, 0.5) ? 4009 : 1000);
}

/* ---- Answers to Identify and Resume ---------------------------------------------------------- */

static void go_live(struct sim_session *session) {
    struct sim_world *world = session->world;
    session->live = true;
    session->detached_at_ms = -1;
    if (!session->timer.place && !world->weather.quiet)
        sim_arm(&world->clock, &session->timer,
                world->clock.now_ms +
                    sim_wait(&world->clock, world->weather.climate.traffic_every_ms),
                SIM_NETWORK);
}

static void answer_identify(struct sim_link *link) {
    struct sim_session *session = link->session;
    session->live = true;
    add_event(session, SIM_READY);
    int64_t guilds = sim_between(&link->world->clock, 0, 12);
    for (int64_t i = 0; i < guilds; i++) add_event(session, SIM_GUILD);
    go_live(session);
}

static void break_replay(struct sim_link *link) {
    switch (sim_between(&link->world->clock, 0, 2)) {
    case 0: sim_link_say(link, SIM_SAID_PLAIN, GATE_SPAN("{\"op\":7,\"d\":null}")); break;
    case 1: sim_gateway_close(link, 4000); break;
    default: sim_link_cut(link); break;
    }
}

/* Everything that was missed with its own sequence, then RESUMED. Now and then it begins too
 * early, or breaks in the middle. */
static void answer_resume(struct sim_link *link) {
    struct sim_world *world = link->world;
    struct sim_session *session = link->session;
    int64_t from = link->resume_seq + 1, breaks_at = -1;
    if (from > 3 && sim_strikes(world, world->weather.climate.replay_fails, SIM_FAULT_REPEAT))
        from -= 2;
    if (sim_strikes(world, world->weather.climate.replay_fails, SIM_FAULT_REPLAY_BROKEN))
        breaks_at = sim_between(&world->clock, from, session->seq + 1);
    for (int64_t seq = from; seq <= session->seq; seq++) {
        if (seq == breaks_at) break;
        sim_gateway_say(session, seq);
    }
    if (breaks_at >= 0) {
        break_replay(link);
        return;
    }
    if (world->seed % 3 == 0) {
        sim_link_say(link, SIM_SAID_PLAIN,
                     GATE_SPAN("{\"t\":\"RESUMED\",\"s\":null,\"op\":0,\"d\":{}}"));
        go_live(session);
    } else {
        session->live = true;
        add_event(session, SIM_RESUMED);
        go_live(session);
    }
}

static void answer(void *owner) {
    struct sim_link *link = owner;
    struct sim_world *world = link->world;
    if (link->server_gone || !link->session) return;
    if (world->gateway.outage_until_ms > world->clock.now_ms) {
        sim_arm(&world->clock, &link->answer,
                world->gateway.outage_until_ms + sim_between(&world->clock, 0, 3000), SIM_NETWORK);
    } else if (link->pending_resume) {
        answer_resume(link);
    } else {
        answer_identify(link);
    }
}

static void answer_later(struct sim_link *link, bool resume) {
    struct sim_world *world = link->world;
    link->pending_resume = resume;
    sim_arm(&world->clock, &link->answer, world->clock.now_ms + sim_between(&world->clock, 1, 800),
            SIM_NETWORK);
}

static int64_t read_number(struct gate_span text, const char *key) {
    const char *at = memmem(text.data, text.len, key, strlen(key));
    if (!at) return -1;
    int64_t number = 0;
    for (at += strlen(key); at < text.data + text.len && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static void be_hostile(struct sim_link *link) {
    if (link->world->hostile == 9)
        refuse(link, NULL);
    else
        sim_gateway_close(link, link->world->hostile);
}

static void hear_identify(struct sim_link *link, struct gate_span message) {
    struct sim_world *world = link->world;
    struct sim_gateway *gateway = &world->gateway;
    int64_t now_ms = world->clock.now_ms;
    int64_t *last_ms = &gateway->identified_at_ms[link->seat->id % gateway->concurrency];
    if (link->asked) {
        sim_gateway_close(link, 4005);
        return;
    }
    sim_quota_arrived(link->seat);
    bool refused = (*last_ms && now_ms - *last_ms < 5000) || gateway->refusal_until_ms > now_ms;
    link->asked = true;
    *last_ms = now_ms;
    if (world->hostile && now_ms < SIM_DAY_MS) {
        be_hostile(link);
        return;
    }
    if (refused) {
        refuse(link, NULL);
        return;
    }
    int64_t presence = read_number(message, "\"n\":");
    new_session(link)->presence = presence < 0 ? 0 : presence;
    answer_later(link, false);
}

static void hear_resume(struct sim_link *link, struct gate_span message) {
    struct sim_world *world = link->world;
    int64_t number = read_number(message, "\"session_id\":\"s"),
            seq = read_number(message, "\"seq\":");
    struct sim_session *session = number > 0 ? sim_gateway_find(world, (uint32_t)number) : NULL;
    link->asked = true;
    if (!session || is_over(session) || session->shard_id != link->seat->id ||
        session->seq - seq > world->weather.climate.replay_max) {
        refuse(link, session);
        return;
    }
    if (session->bricked) {
        sim_link_cut(link);
        return;
    }
    if (seq > session->seq) {
        sim_gateway_end(session);
        sim_gateway_close(link, 4007);
        return;
    }
    if (session->link) sim_gateway_close(session->link, 4000);
    session->link = link;
    session->live = false;
    session->detached_at_ms = -1;
    link->session = session;
    link->resume_seq = seq;
    answer_later(link, true);
}

/* ---- What it hears --------------------------------------------------------------------------- */

/* protocol: 120 in 60 s, counted as they arrive. */
static bool is_too_fast(struct sim_link *link) {
    int64_t now_ms = link->world->clock.now_ms;
    int64_t *at = &link->arrivals[link->arrival_count++ % GATE_SENDS_MAX];
    bool fast = link->arrival_count > GATE_SENDS_MAX && now_ms - *at < 60000;
    *at = now_ms;
    return fast;
}

/* protocol: Limits. Five presences in 20 s, as far as the network has not pushed them together. */
static void hear_presence(struct sim_link *link, struct gate_span message) {
    int64_t now_ms = link->world->clock.now_ms, number = read_number(message, "\"n\":");
    int64_t *at_ms = &link->presences[link->presence_count++ % GATE_PRESENCES_MAX];
    if (link->presence_count > GATE_PRESENCES_MAX && now_ms - *at_ms < 20000 - SIM_SKEW_MS &&
        !link->stalled)
        sim_fail(link->seat, "more than %d presences arrived in 20 s", GATE_PRESENCES_MAX);
    *at_ms = now_ms;
    link->world->gateway.presence[link->seat->id] = number;
    if (link->session) link->session->presence = number;
}

/* All members of a guild once in 30 s, on whatever connection; else RATE_LIMITED. */
static void hear_members(struct sim_link *link, struct gate_span message) {
    struct sim_world *world = link->world;
    int64_t now_ms = world->clock.now_ms, guild = read_number(message, "\"guild_id\":\"");
    if (guild < 1 || guild > SIM_GUILDS) sim_fail(link->seat, "members of no guild");
    struct sim_asked *asked = &world->gateway.members[link->seat->id][guild];
    int64_t since_ms = now_ms - asked->at_ms;
    if (asked->at_ms == 0 || since_ms >= 30000) {
        *asked = (struct sim_asked){.at_ms = now_ms, .late = link->stalled};
        return;
    }
    if (since_ms < 30000 - SIM_SKEW_MS && !link->stalled && !asked->late)
        sim_fail(link->seat, "members of guild %lld again after %lld ms", (long long)guild,
                 (long long)since_ms);
    if (link->session) add_limit(link->session, guild, (30000 - since_ms) / 100 + 1);
}

static void hear_beat(struct sim_link *link) {
    link->beat_at_ms = link->world->clock.now_ms;
    if (!link->mute) sim_link_say(link, SIM_SAID_ACK, GATE_SPAN("{\"op\":11}"));
}

void sim_gateway_heard(struct sim_link *link, struct gate_span message) {
    int64_t op = read_number(message, "\"op\":");
    if (is_too_fast(link)) {
        sim_gateway_close(link, 4008);
        return;
    }
    if (message.len > 4096) sim_fail(link->seat, "a payload of %zu bytes", message.len);
    switch (op) {
    case 1: hear_beat(link); break;
    case 2: hear_identify(link, message); break;
    case 6: hear_resume(link, message); break;
    case 3:
    case 4:
    case 8: /* what belongs to a session */
        if (!link->asked) sim_fail(link->seat, "a command before Identify or Resume");
        if (op == 3) hear_presence(link, message);
        if (op == 8) hear_members(link, message);
        break;
    default: sim_fail(link->seat, "op %lld was sent", (long long)op);
    }
}

/* ---- The beginning of a connection ----------------------------------------------------------- */

static void say_hello(struct sim_link *link) {
    char room[128];
    struct text text = {room};
    put_word(&text, "{\"t\":null,\"s\":null,\"op\":10,\"d\":{\"heartbeat_interval\":");
    put_number(&text, link->world->interval_ms);
    put_word(&text, "}}");
    sim_link_say(link, SIM_SAID_HELLO, (struct gate_span){room, (size_t)(text.to - room)});
    link->answer.fire = answer;
}

static void say_hello_late(void *owner) {
    say_hello(owner);
}

static void replace_hello(struct sim_link *link) {
    static const int codes[] = {4000, 1000, 1001, 1011, 4008, GATE_CLOSE_EMPTY};
    switch (sim_between(&link->world->clock, 0, 3)) {
    case 0: sim_link_say(link, SIM_SAID_PLAIN, GATE_SPAN("{\"op\":7}")); break;
    case 1: sim_gateway_close(link, codes[sim_between(&link->world->clock, 0, 5)]); break;
    case 2: sim_link_cut(link); break;
    default: /* both before and without a HELLO */
        sim_link_say(link, SIM_SAID_PLAIN,
                     GATE_SPAN("{\"t\":null,\"s\":null,\"op\":9,\"d\":true}"));
        break;
    }
}

void sim_gateway_accept(struct sim_link *link) {
    struct sim_world *world = link->world;
    double fails = world->weather.climate.hello_fails;
    link->beat_at_ms = world->clock.now_ms;
    link->watch = (struct sim_timer){.fire = watch_heart, .owner = link};
    link->answer = (struct sim_timer){.fire = say_hello_late, .owner = link};
    sim_arm(&world->clock, &link->watch, world->clock.now_ms + SESSION_KNOWN_MS, SIM_NETWORK);
    if (sim_strikes(world, fails / 3, SIM_FAULT_HELLO_MISSING)) return;
    if (sim_strikes(world, fails / 3, SIM_FAULT_HELLO_REPLACED)) {
        replace_hello(link);
        return;
    }
    if (sim_strikes(world, fails / 3, SIM_FAULT_HELLO_LATE))
        sim_arm(&world->clock, &link->answer,
                world->clock.now_ms + sim_between(&world->clock, 1000, 19000), SIM_NETWORK);
    else
        say_hello(link);
}

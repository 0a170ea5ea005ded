/* pace.c - see pace.h. What a limit counts is a row of the table; what has been counted is a trail
 * that ends by itself. */
#include "pace.h"

#define LIMITED (-1) /* the rule of a trail that RATE_LIMITED left */

static const struct rule {
    int op;
    bool all_members; /* only such requests, each guild for itself */
    bool of_connection;
    bool newest;
    uint32_t most;
    int64_t window_ms;
} rules[] = {
    {.op = GATE_OP_PRESENCE_UPDATE,
     .of_connection = true,
     .newest = true,
     .most = GATE_PRESENCES_MAX,
     .window_ms = GATE_PRESENCE_WINDOW_MS},
    {.op = GATE_OP_REQUEST_GUILD_MEMBERS,
     .all_members = true,
     .most = 1,
     .window_ms = GATE_MEMBERS_WINDOW_MS},
};

#define RULES ((int)(sizeof rules / sizeof rules[0]))

static int64_t later(int64_t a_ms, int64_t b_ms) {
    return a_ms > b_ms ? a_ms : b_ms;
}

/* The rule for a command, or LIMITED where there is none. */
static int rule_of(const struct gate_errand *errand) {
    for (int i = 0; i < RULES; i++)
        if (rules[i].op == errand->op && (!rules[i].all_members || errand->all_members)) return i;
    return LIMITED;
}

static bool counts_for_connection(int op) {
    for (int i = 0; i < RULES; i++)
        if (rules[i].op == op) return rules[i].of_connection;
    return false;
}

void gate_pace_init(struct gate_pace *pace) {
    pace->count = 0;
}

bool gate_pace_newest(int op) {
    for (int i = 0; i < RULES; i++)
        if (rules[i].op == op) return rules[i].newest;
    return false;
}

/* ---- Trails ---------------------------------------------------------------------------------- */

/* The order does not matter. */
static void drop_trail(struct gate_pace *pace, uint32_t at) {
    pace->trails[at] = pace->trails[--pace->count];
}

static void forget_old(struct gate_pace *pace, int64_t now_ms) {
    for (uint32_t i = pace->count; i-- > 0;)
        if (pace->trails[i].ends_ms <= now_ms) drop_trail(pace, i);
}

void gate_pace_renew(struct gate_pace *pace) {
    for (uint32_t i = pace->count; i-- > 0;)
        if (counts_for_connection(pace->trails[i].op)) drop_trail(pace, i);
}

/* There is one at least. */
static uint32_t first_to_end(const struct gate_pace *pace) {
    uint32_t first = 0;
    for (uint32_t i = 1; i < pace->count; i++)
        if (pace->trails[i].ends_ms < pace->trails[first].ends_ms) first = i;
    return first;
}

static void add_trail(struct gate_pace *pace, const struct gate_trail *trail) {
    if (pace->count == GATE_TRAILS_MAX) drop_trail(pace, first_to_end(pace));
    pace->trails[pace->count++] = *trail;
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static bool is_obeyed(const struct gate_trail *trail, const struct gate_errand *errand) {
    return trail->rule == LIMITED && trail->op == errand->op &&
           (trail->guild_id == 0 || trail->guild_id == errand->guild_id);
}

static bool is_counted(const struct gate_trail *trail, int rule, const struct gate_errand *errand) {
    return rule != LIMITED && trail->rule == rule &&
           (!rules[rule].all_members || trail->guild_id == errand->guild_id);
}

int64_t gate_pace_when(struct gate_pace *pace, int64_t now_ms, const struct gate_errand *errand) {
    int rule = rule_of(errand);
    int64_t when_ms = now_ms, place_ms = 0;
    uint32_t counted = 0;
    forget_old(pace, now_ms);
    for (uint32_t i = 0; i < pace->count; i++) {
        const struct gate_trail *trail = &pace->trails[i];
        if (is_obeyed(trail, errand)) when_ms = later(when_ms, trail->ends_ms);
        if (!is_counted(trail, rule, errand)) continue;
        if (counted++ == 0 || trail->ends_ms < place_ms) place_ms = trail->ends_ms;
    }
    if (rule == LIMITED) return when_ms;
    if (counted >= rules[rule].most) when_ms = later(when_ms, place_ms);
    if (pace->count == GATE_TRAILS_MAX)
        when_ms = later(when_ms, pace->trails[first_to_end(pace)].ends_ms);
    return when_ms;
}

void gate_pace_spend(struct gate_pace *pace, int64_t now_ms, const struct gate_errand *errand) {
    int rule = rule_of(errand);
    if (rule == LIMITED) return;
    forget_old(pace, now_ms);
    add_trail(pace, &(struct gate_trail){.rule = rule,
                                         .op = errand->op,
                                         .guild_id = errand->guild_id,
                                         .ends_ms = now_ms + rules[rule].window_ms});
}

void gate_pace_obey(struct gate_pace *pace, int64_t now_ms, const struct gate_limited *limited) {
    int64_t wait_ms =
        limited->wait_ms > GATE_LIMITED_MS_MAX ? GATE_LIMITED_MS_MAX : limited->wait_ms;
    struct gate_trail trail = {.rule = LIMITED,
                               .op = limited->op,
                               .guild_id = limited->guild_id,
                               .ends_ms = now_ms + wait_ms};
    forget_old(pace, now_ms);
    for (uint32_t i = 0; i < pace->count; i++) {
        struct gate_trail *old = &pace->trails[i];
        bool same = old->rule == LIMITED && old->op == trail.op && old->guild_id == trail.guild_id;
        if (!same) continue;
        old->ends_ms = later(old->ends_ms, trail.ends_ms);
        return;
    }
    add_trail(pace, &trail);
}

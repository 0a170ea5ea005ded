/* unit_core.c - heart, budget, pace, slots, backoff, outbox, buf and inflate as small Lua objects,
 * for busted. Test-only. Each piece is a userdata whose methods carry the names of the C functions.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "../src/backoff.h"
#include "../src/budget.h"
#include "../src/census.h"
#include "../src/door.h"
#include "../src/heart.h"
#include "../src/inflate.h"
#include "../src/outbox.h"
#include "../src/pace.h"
#include "../src/quota.h"
#include "unit.h"

static void *new_object(lua_State *L, size_t bytes, const char *class) {
    void *object = lua_newuserdatauv(L, bytes, 0);
    memset(object, 0, bytes);
    luaL_setmetatable(L, class);
    return object;
}

static void new_class(lua_State *L, const char *class, const luaL_Reg *methods,
                      lua_CFunction make) {
    luaL_newmetatable(L, class);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, make);
}

static int push_result(lua_State *L, int rc) {
    if (rc >= 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, gate_error_name(rc));
    return 2;
}

static int push_time(lua_State *L, int64_t time_ms) {
    if (time_ms < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, time_ms);
    return 1;
}

static struct gate_span check_text(lua_State *L, int index) {
    struct gate_span text;
    text.data = luaL_checklstring(L, index, &text.len);
    return text;
}

/* ---- heart ----------------------------------------------------------------------------------- */

#define HEART "unit.heart"
static struct gate_heart *heart_of(lua_State *L) {
    return luaL_checkudata(L, 1, HEART);
}
static int heart_new(lua_State *L) {
    int64_t slack_ms = luaL_optinteger(L, 1, 0);
    gate_heart_init(new_object(L, sizeof(struct gate_heart), HEART), slack_ms);
    return 1;
}
static int heart_start(lua_State *L) {
    gate_heart_start(heart_of(L), luaL_checkinteger(L, 2), luaL_checkinteger(L, 3),
                     luaL_checknumber(L, 4));
    return 0;
}
static int heart_pulse(lua_State *L) {
    static const char *const words[] = {"wait", "beat", "zombie"};
    lua_pushstring(L, words[gate_heart_pulse(heart_of(L), luaL_checkinteger(L, 2))]);
    return 1;
}
static int heart_beat(lua_State *L) {
    int64_t late_ms = gate_heart_beat(heart_of(L), luaL_checkinteger(L, 2), lua_toboolean(L, 3));
    lua_pushinteger(L, late_ms);
    return 1;
}
static int heart_ack(lua_State *L) {
    gate_heart_ack(heart_of(L), luaL_checkinteger(L, 2));
    return 0;
}
static int heart_heard(lua_State *L) {
    gate_heart_heard(heart_of(L), luaL_checkinteger(L, 2));
    return 0;
}
static int heart_pause(lua_State *L) {
    gate_heart_pause(heart_of(L), luaL_checkinteger(L, 2), lua_toboolean(L, 3));
    return 0;
}
static int heart_deadline(lua_State *L) {
    return push_time(L, gate_heart_deadline(heart_of(L)));
}
static int heart_latency(lua_State *L) {
    return push_time(L, heart_of(L)->latency_ms);
}
void unit_open_heart(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"start", heart_start},       {"pulse", heart_pulse},     {"beat", heart_beat},
        {"ack", heart_ack},           {"heard", heart_heard},     {"pause", heart_pause},
        {"deadline", heart_deadline}, {"latency", heart_latency}, {NULL, NULL}};
    new_class(L, HEART, methods, heart_new);
}

/* ---- budget ---------------------------------------------------------------------------------- */

#define BUDGET "unit.budget"
static struct gate_budget *budget_of(lua_State *L) {
    return luaL_checkudata(L, 1, BUDGET);
}
static int budget_new(lua_State *L) {
    gate_budget_init(new_object(L, sizeof(struct gate_budget), BUDGET));
    return 1;
}
static int budget_reserve(lua_State *L) {
    gate_budget_reserve(budget_of(L), luaL_checkinteger(L, 2));
    return 0;
}
static int budget_when(lua_State *L) {
    return push_time(L,
                     gate_budget_when(budget_of(L), luaL_checkinteger(L, 2), lua_toboolean(L, 3)));
}
static int budget_spend(lua_State *L) {
    gate_budget_spend(budget_of(L), luaL_checkinteger(L, 2));
    return 0;
}
static int budget_reserved(lua_State *L) {
    lua_pushinteger(L, budget_of(L)->reserved);
    return 1;
}
void unit_open_budget(lua_State *L) {
    static const luaL_Reg methods[] = {{"reserve", budget_reserve},
                                       {"when", budget_when},
                                       {"spend", budget_spend},
                                       {"reserved", budget_reserved},
                                       {NULL, NULL}};
    new_class(L, BUDGET, methods, budget_new);
}

/* ---- quota ----------------------------------------------------------------------------------- */

#define QUOTA "unit.quota"
static struct gate_quota *quota_of(lua_State *L) {
    return luaL_checkudata(L, 1, QUOTA);
}
static int quota_new(lua_State *L) {
    gate_quota_init(new_object(L, sizeof(struct gate_quota), QUOTA));
    return 1;
}
static int quota_learn(lua_State *L) { /* now, total, remaining, reset_after_ms, spent */
    struct gate_quota_told told = {.total = luaL_checkinteger(L, 3),
                                   .remaining = luaL_checkinteger(L, 4),
                                   .reset_after_ms = luaL_checkinteger(L, 5),
                                   .spent = (uint64_t)luaL_optinteger(L, 6, 0)};
    gate_quota_learn(quota_of(L), luaL_checkinteger(L, 2), &told);
    return 0;
}
static int quota_spend(lua_State *L) {
    gate_quota_spend(quota_of(L), luaL_checkinteger(L, 2));
    return 0;
}
static int quota_used(lua_State *L) {
    lua_pushinteger(L, gate_quota_used(quota_of(L), luaL_checkinteger(L, 2)));
    return 1;
}
static int quota_left(lua_State *L) {
    lua_pushinteger(
        L, gate_quota_left(quota_of(L), luaL_checkinteger(L, 2), luaL_optinteger(L, 3, 0)));
    return 1;
}
static int quota_when(lua_State *L) {
    lua_pushinteger(
        L, gate_quota_when(quota_of(L), luaL_checkinteger(L, 2), luaL_optinteger(L, 3, 0)));
    return 1;
}
static int quota_spent(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)quota_of(L)->spent);
    return 1;
}
void unit_open_quota(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"learn", quota_learn}, {"spend", quota_spend}, {"used", quota_used}, {"left", quota_left},
        {"when", quota_when},   {"spent", quota_spent}, {NULL, NULL}};
    new_class(L, QUOTA, methods, quota_new);
}

/* ---- slots ----------------------------------------------------------------------------------- */

#define SLOTS      "unit.slots"
#define SHARDS_MAX 256
struct unit_slots {
    struct gate_slots slots;
    struct gate_slot shard[SHARDS_MAX];
};
static struct unit_slots *slots_of(lua_State *L) {
    return luaL_checkudata(L, 1, SLOTS);
}
static struct gate_slot *slot_at(lua_State *L, int index) {
    lua_Integer id = luaL_checkinteger(L, index);
    luaL_argcheck(L, id >= 0 && id < SHARDS_MAX, index, "shard id out of range");
    return &slots_of(L)->shard[id];
}
static int slots_new(lua_State *L) {
    int concurrency = (int)luaL_checkinteger(L, 1);
    struct unit_slots *unit = new_object(L, sizeof *unit, SLOTS);
    gate_slots_init(&unit->slots, concurrency);
    for (int i = 0; i < SHARDS_MAX; i++) gate_slot_init(&unit->shard[i], i);
    return 1;
}
static int slots_ask(lua_State *L) {
    gate_slots_ask(&slots_of(L)->slots, slot_at(L, 2));
    return 0;
}
static int slots_leave(lua_State *L) {
    gate_slots_leave(&slots_of(L)->slots, slot_at(L, 2));
    return 0;
}
static int slots_spent(lua_State *L) {
    gate_slots_spent(&slots_of(L)->slots, luaL_checkinteger(L, 2), slot_at(L, 3)->shard_id);
    return 0;
}
static int slots_done(lua_State *L) {
    gate_slots_done(&slots_of(L)->slots, luaL_checkinteger(L, 2), slot_at(L, 3)->shard_id);
    return 0;
}
static int slots_next(lua_State *L) {
    struct gate_slot *slot = gate_slots_next(&slots_of(L)->slots, luaL_checkinteger(L, 2));
    return push_time(L, slot ? slot->shard_id : -1);
}
static int slots_deadline(lua_State *L) {
    return push_time(L, gate_slots_deadline(&slots_of(L)->slots, luaL_checkinteger(L, 2)));
}
static int slots_put_back(lua_State *L) {
    gate_slots_put_back(&slots_of(L)->slots, slot_at(L, 2), luaL_checkinteger(L, 3));
    return 0;
}
static int slots_resize(lua_State *L) {
    gate_slots_resize(&slots_of(L)->slots, luaL_checkinteger(L, 2), (int)luaL_checkinteger(L, 3));
    return 0;
}
void unit_open_slots(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"ask", slots_ask},       {"leave", slots_leave},       {"spent", slots_spent},
        {"done", slots_done},     {"next", slots_next},         {"deadline", slots_deadline},
        {"resize", slots_resize}, {"put_back", slots_put_back}, {NULL, NULL}};
    new_class(L, SLOTS, methods, slots_new);
}

/* ---- census ---------------------------------------------------------------------------------- */

#define CENSUS "unit.census"

/* census:count(name, heard); nil is the name that a dispatch without one has */
static int census_count(lua_State *L) {
    struct gate_census *census = luaL_checkudata(L, 1, CENSUS);
    struct gate_span name = {NULL, 0};
    if (!lua_isnil(L, 2)) name = check_text(L, 2);
    gate_census_count(census, name, lua_toboolean(L, 3));
    return 0;
}

/* census:read(at) -> name, heard, skipped, or nothing */
static int census_read(lua_State *L) {
    struct gate_census *census = luaL_checkudata(L, 1, CENSUS);
    struct gate_census_entry entry;
    if (!gate_census_read(census, (uint32_t)luaL_checkinteger(L, 2), &entry)) return 0;
    lua_pushlstring(L, entry.name.data, entry.name.len);
    lua_pushinteger(L, (lua_Integer)entry.heard);
    lua_pushinteger(L, (lua_Integer)entry.skipped);
    return 3;
}

/* census() */
static int census_new(lua_State *L) {
    gate_census_init(new_object(L, sizeof(struct gate_census), CENSUS));
    return 1;
}

void unit_open_census(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"count", census_count}, {"read", census_read}, {NULL, NULL}};
    new_class(L, CENSUS, methods, census_new);
}

/* ---- door ------------------------------------------------------------------------------------ */

#define DOOR "unit.door"

struct unit_door {
    struct gate_door door;
    struct gate_guest guests[SHARDS_MAX];
};

static struct unit_door *door_of(lua_State *L) {
    return luaL_checkudata(L, 1, DOOR);
}

static struct gate_guest *guest_at(lua_State *L, int index) {
    lua_Integer id = luaL_checkinteger(L, index);
    luaL_argcheck(L, id >= 0 && id < SHARDS_MAX, index, "shard id out of range");
    return &door_of(L)->guests[id];
}

/* door(places) */
static int door_new(lua_State *L) {
    uint32_t places = (uint32_t)luaL_checkinteger(L, 1);
    struct unit_door *unit = new_object(L, sizeof *unit, DOOR);
    gate_door_init(&unit->door, places);
    for (int i = 0; i < SHARDS_MAX; i++) unit->guests[i] = (struct gate_guest){.next = NULL};
    return 1;
}

static int door_wait(lua_State *L) {
    gate_door_wait(&door_of(L)->door, guest_at(L, 2));
    return 0;
}

/* door:next() -> the id of who may resume now, or nil */
static int door_next(lua_State *L) {
    struct unit_door *unit = door_of(L);
    struct gate_guest *guest = gate_door_next(&unit->door);
    return push_time(L, guest ? guest - unit->guests : -1);
}

/* door:admits(resumes) */
static int door_admits(lua_State *L) {
    lua_pushboolean(L, gate_door_admits(&door_of(L)->door, lua_toboolean(L, 2)));
    return 1;
}

/* door:enter(id, resumes, now_ms = 0) */
static int door_enter(lua_State *L) {
    gate_door_enter(&door_of(L)->door, guest_at(L, 2), lua_toboolean(L, 3),
                    luaL_optinteger(L, 4, 0));
    return 0;
}

static int door_look(lua_State *L) {
    gate_door_look(&door_of(L)->door, luaL_checkinteger(L, 2));
    return 0;
}

static int door_leave(lua_State *L) {
    gate_door_leave(&door_of(L)->door, guest_at(L, 2));
    return 0;
}

static int door_deadline(lua_State *L) {
    return push_time(L, gate_door_deadline(&door_of(L)->door, luaL_checkinteger(L, 2)));
}

/* door:crowd() -> inside, at most, waiting, slow */
static int door_crowd(lua_State *L) {
    const struct gate_crowd *crowd = &door_of(L)->door.crowd;
    lua_pushinteger(L, crowd->inside);
    lua_pushinteger(L, crowd->inside_peak);
    lua_pushinteger(L, crowd->waiting);
    lua_pushinteger(L, crowd->slow);
    return 4;
}

void unit_open_door(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"wait", door_wait},   {"next", door_next},   {"admits", door_admits},
        {"enter", door_enter}, {"leave", door_leave}, {"deadline", door_deadline},
        {"crowd", door_crowd}, {"look", door_look},   {NULL, NULL}};
    new_class(L, DOOR, methods, door_new);
}

/* ---- backoff --------------------------------------------------------------------------------- */

#define BACKOFF "unit.backoff"
static struct gate_backoff *backoff_of(lua_State *L) {
    return luaL_checkudata(L, 1, BACKOFF);
}
static int backoff_new(lua_State *L) {
    int64_t base_ms = luaL_checkinteger(L, 1), cap_ms = luaL_checkinteger(L, 2);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 3);
    struct gate_backoff *backoff = new_object(L, sizeof *backoff, BACKOFF);
    gate_backoff_init(backoff, base_ms, cap_ms, seed);
    return 1;
}
static int backoff_connect(lua_State *L) {
    return push_time(L, gate_backoff_connect_ms(backoff_of(L)));
}
static int backoff_identify(lua_State *L) {
    return push_time(L, gate_backoff_identify_ms(backoff_of(L)));
}
static int backoff_invalid(lua_State *L) {
    return push_time(L, gate_backoff_invalid_ms(backoff_of(L)));
}
static int backoff_random(lua_State *L) {
    lua_pushnumber(L, gate_backoff_random(backoff_of(L)));
    return 1;
}
static int backoff_reset(lua_State *L) {
    gate_backoff_reset(backoff_of(L));
    return 0;
}
void unit_open_backoff(lua_State *L) {
    static const luaL_Reg methods[] = {{"connect", backoff_connect}, {"identify", backoff_identify},
                                       {"invalid", backoff_invalid}, {"random", backoff_random},
                                       {"reset", backoff_reset},     {NULL, NULL}};
    new_class(L, BACKOFF, methods, backoff_new);
}

/* ---- buf ------------------------------------------------------------------------------------- */

#define BUF "unit.buf"
static struct gate_buf *buf_of(lua_State *L) {
    return luaL_checkudata(L, 1, BUF);
}
static int buf_new(lua_State *L) {
    size_t headroom = (size_t)luaL_optinteger(L, 1, 0), max = (size_t)luaL_optinteger(L, 2, 0);
    gate_buf_init(new_object(L, sizeof(struct gate_buf), BUF), headroom, max);
    return 1;
}
static int buf_append(lua_State *L) {
    return push_result(L, gate_buf_append(buf_of(L), check_text(L, 2)));
}
static int buf_reserve(lua_State *L) {
    return push_result(L, gate_buf_reserve(buf_of(L), (size_t)luaL_checkinteger(L, 2)));
}
static int buf_clear(lua_State *L) {
    gate_buf_clear(buf_of(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}
static int buf_text(lua_State *L) {
    lua_pushlstring(L, buf_of(L)->data ? buf_of(L)->data : "", buf_of(L)->len);
    return 1;
}
/* Everything that belongs to the buffer, headroom and unused room too. */
static int buf_memory(lua_State *L) {
    const struct gate_buf *buf = buf_of(L);
    if (!buf->data) return 0;
    lua_pushlstring(L, buf->data - buf->headroom_bytes, buf->headroom_bytes + buf->capacity);
    return 1;
}
static int buf_capacity(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)buf_of(L)->capacity);
    return 1;
}
static int buf_wipe(lua_State *L) {
    struct gate_buf *buf = buf_of(L);
    if (buf->data) memset(buf->data - buf->headroom_bytes, 'x', buf->headroom_bytes);
    gate_buf_wipe(buf);
    return 0;
}
static int buf_adopt(lua_State *L) {
    gate_buf_adopt(buf_of(L), luaL_checkudata(L, 2, BUF));
    return 0;
}

static int buf_move(lua_State *L) {
    gate_buf_move(buf_of(L), luaL_checkudata(L, 2, BUF));
    return 0;
}
static int buf_free(lua_State *L) {
    gate_buf_free(buf_of(L));
    return 0;
}
void unit_open_buf(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"append", buf_append},     {"reserve", buf_reserve}, {"clear", buf_clear},
        {"text", buf_text},         {"memory", buf_memory},   {"wipe", buf_wipe},
        {"capacity", buf_capacity}, {"move", buf_move},       {"adopt", buf_adopt},
        {"free", buf_free},         {"__gc", buf_free},       {NULL, NULL}};
    new_class(L, BUF, methods, buf_new);
}

/* ---- pace ------------------------------------------------------------------------------------ */

#define PACE "unit.pace"
static struct gate_pace *pace_of(lua_State *L) {
    return luaL_checkudata(L, 1, PACE);
}
static int pace_new(lua_State *L) {
    gate_pace_init(new_object(L, sizeof(struct gate_pace), PACE));
    return 1;
}
/* Arguments 3 to 5: op, guild, whether it is for all members. */
static struct gate_errand check_errand(lua_State *L) {
    return (struct gate_errand){.op = (int)luaL_checkinteger(L, 3),
                                .guild_id = (uint64_t)luaL_optinteger(L, 4, 0),
                                .all_members = lua_toboolean(L, 5)};
}
static int pace_when(lua_State *L) {
    struct gate_errand errand = check_errand(L);
    lua_pushinteger(L, gate_pace_when(pace_of(L), luaL_checkinteger(L, 2), &errand));
    return 1;
}
static int pace_spend(lua_State *L) {
    struct gate_errand errand = check_errand(L);
    gate_pace_spend(pace_of(L), luaL_checkinteger(L, 2), &errand);
    return 0;
}
/* obey(now, op, guild, wait) */
static int pace_obey(lua_State *L) {
    struct gate_limited limited = {.op = (int)luaL_checkinteger(L, 3),
                                   .guild_id = (uint64_t)luaL_optinteger(L, 4, 0),
                                   .wait_ms = luaL_checkinteger(L, 5)};
    gate_pace_obey(pace_of(L), luaL_checkinteger(L, 2), &limited);
    return 0;
}
static int pace_renew(lua_State *L) {
    gate_pace_renew(pace_of(L));
    return 0;
}
static int pace_count(lua_State *L) {
    lua_pushinteger(L, pace_of(L)->count);
    return 1;
}
void unit_open_pace(lua_State *L) {
    static const luaL_Reg methods[] = {{"when", pace_when},   {"spend", pace_spend},
                                       {"obey", pace_obey},   {"renew", pace_renew},
                                       {"count", pace_count}, {NULL, NULL}};
    new_class(L, PACE, methods, pace_new);
}

/* ---- outbox ---------------------------------------------------------------------------------- */

#define OUTBOX "unit.outbox"
static struct gate_outbox *outbox_of(lua_State *L) {
    return luaL_checkudata(L, 1, OUTBOX);
}
static int outbox_new(lua_State *L) {
    gate_outbox_init(new_object(L, sizeof(struct gate_outbox), OUTBOX));
    return 1;
}
static int outbox_push(lua_State *L) {
    struct gate_buf take;
    struct gate_span text = check_text(L, 2);
    int64_t expires_ms = luaL_optinteger(L, 3, 0);
    struct gate_errand errand = {.op = (int)luaL_optinteger(L, 4, GATE_OP_VOICE_STATE_UPDATE)};
    gate_buf_init(&take, GATE_HEADROOM_BYTES, 0);
    int rc = gate_buf_append(&take, text);
    if (rc == GATE_OK) rc = gate_outbox_push(outbox_of(L), &take, &errand, expires_ms);
    if (rc < 0) gate_buf_free(&take);
    return push_result(L, rc);
}
/* take(nth): from 1, the first when left out. */
static int outbox_take(lua_State *L) {
    struct gate_buf out;
    lua_Integer nth = luaL_optinteger(L, 2, 1);
    gate_buf_init(&out, 0, 0);
    if (nth < 1 || nth > (lua_Integer)outbox_of(L)->count) return 0;
    lua_pushinteger(L, gate_outbox_errand(outbox_of(L), (size_t)nth - 1)->op);
    gate_outbox_take(outbox_of(L), (size_t)nth - 1, &out);
    lua_pushlstring(L, out.data, out.len);
    gate_buf_free(&out);
    lua_insert(L, -2);
    return 2;
}
static int outbox_expire(lua_State *L) {
    lua_pushboolean(L, gate_outbox_expire(outbox_of(L), luaL_checkinteger(L, 2)));
    return 1;
}
static int outbox_expires(lua_State *L) {
    return push_time(L, outbox_of(L)->expires_ms);
}
static int outbox_bytes(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)outbox_of(L)->queued_bytes);
    return 1;
}
static int outbox_free(lua_State *L) {
    gate_outbox_free(outbox_of(L));
    return 0;
}
void unit_open_outbox(lua_State *L) {
    static const luaL_Reg methods[] = {{"push", outbox_push},
                                       {"take", outbox_take},
                                       {"expire", outbox_expire},
                                       {"expires", outbox_expires},
                                       {"bytes", outbox_bytes},
                                       {"__gc", outbox_free},
                                       {NULL, NULL}};
    new_class(L, OUTBOX, methods, outbox_new);
}

/* ---- inflate and its counterpart ------------------------------------------------------------- */

#define INFLATE "unit.inflate"
struct unit_inflate {
    struct gate_inflate inflate;
    struct gate_buf out;
};
static struct unit_inflate *inflate_of(lua_State *L) {
    return luaL_checkudata(L, 1, INFLATE);
}
/* inflate(kind or "none", cap of what take returns) */
static int inflate_new(lua_State *L) {
    struct gate_span name = check_text(L, 1);
    size_t max = (size_t)luaL_optinteger(L, 2, 0);
    enum gate_compress kind = GATE_COMPRESS_NONE;
    if (strcmp(name.data, "none") != 0 && !gate_compress_find(name, &kind))
        return luaL_argerror(L, 1, "no such kind");
    struct unit_inflate *unit = new_object(L, sizeof *unit, INFLATE);
    gate_buf_init(&unit->out, 0, max);
    if (gate_inflate_open(&unit->inflate, kind) < 0) return luaL_error(L, "inflate: no memory");
    return 1;
}
/* push(bytes, final [, "text"]) -> complete, or nil, code */
static int inflate_push(lua_State *L) {
    struct unit_inflate *unit = inflate_of(L);
    struct gate_piece piece = {
        .bytes = check_text(L, 2), .final = lua_toboolean(L, 3), .binary = lua_isnoneornil(L, 4)};
    int rc = gate_inflate_push(&unit->inflate, &piece, &unit->out);
    if (rc < 0) return push_result(L, rc);
    lua_pushboolean(L, rc);
    return 1;
}
static void *allocate_nothing(void *old, size_t bytes) {
    if (bytes == 0) free(old);
    return NULL;
}
/* again([kind]) ends the stream and begins one anew; of the same kind it gets no memory for that */
static int inflate_again(lua_State *L) {
    struct unit_inflate *unit = inflate_of(L);
    enum gate_compress kind = unit->inflate.kind;
    if (!lua_isnoneornil(L, 2) && !gate_compress_find(check_text(L, 2), &kind))
        return luaL_argerror(L, 2, "no such kind");
    if (kind == unit->inflate.kind) gate_allocate_hook(allocate_nothing);
    gate_inflate_close(&unit->inflate);
    int rc = gate_inflate_open(&unit->inflate, kind);
    gate_allocate_hook(NULL);
    return rc < 0 ? luaL_error(L, "inflate: no memory") : 0;
}
/* close() ends the stream */
static int inflate_close(lua_State *L) {
    gate_inflate_close(&inflate_of(L)->inflate);
    return 0;
}
/* take() -> what was inflated since the last call */
static int inflate_take(lua_State *L) {
    struct unit_inflate *unit = inflate_of(L);
    lua_pushlstring(L, unit->out.data ? unit->out.data : "", unit->out.len);
    gate_buf_clear(&unit->out, 0);
    return 1;
}
static int inflate_free(lua_State *L) {
    gate_inflate_free(&inflate_of(L)->inflate);
    gate_buf_free(&inflate_of(L)->out);
    return 0;
}
void unit_open_inflate(lua_State *L) {
    static const luaL_Reg methods[] = {{"push", inflate_push},   {"take", inflate_take},
                                       {"again", inflate_again}, {"close", inflate_close},
                                       {"__gc", inflate_free},   {NULL, NULL}};
    new_class(L, INFLATE, methods, inflate_new);
}

#define DEFLATE "unit.deflate"
struct unit_deflate {
    int kind; /* of deflate_words */
    z_stream zlib;
    ZSTD_CCtx *zstd;
};
enum { DEFLATE_ZLIB, DEFLATE_PAYLOAD, DEFLATE_ZSTD, DEFLATE_FRAMES };
static const char *const deflate_words[] = {"zlib-stream", "payload", "zstd-stream", "zstd-frames",
                                            NULL};

/* deflate([level [, kind [, window log of zstd]]]); zstd-frames: each message is a whole frame */
static int deflate_new(lua_State *L) {
    int kind = luaL_checkoption(L, 2, deflate_words[0], deflate_words);
    bool by_zlib = kind < DEFLATE_ZSTD;
    int level = (int)luaL_optinteger(L, 1, by_zlib ? Z_DEFAULT_COMPRESSION : 0);
    int window = (int)luaL_optinteger(L, 3, 0);
    struct unit_deflate *unit = new_object(L, sizeof *unit, DEFLATE);
    unit->kind = kind;
    if (by_zlib)
        return deflateInit(&unit->zlib, level) == Z_OK ? 1 : luaL_error(L, "deflate: no memory");
    unit->zstd = ZSTD_createCCtx();
    if (!unit->zstd) return luaL_error(L, "deflate: no memory");
    ZSTD_CCtx_setParameter(unit->zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(unit->zstd, ZSTD_c_checksumFlag, 1);
    if (window) ZSTD_CCtx_setParameter(unit->zstd, ZSTD_c_windowLog, window);
    return 1;
}
static void push_by_zlib(struct unit_deflate *unit, struct gate_span text, bool more,
                         luaL_Buffer *out) {
    z_stream *stream = &unit->zlib;
    bool whole = unit->kind == DEFLATE_PAYLOAD;
    stream->next_in = (z_const Bytef *)(uintptr_t)text.data;
    stream->avail_in = (uInt)text.len;
    do {
        stream->next_out = (Bytef *)luaL_prepbuffer(out);
        stream->avail_out = LUAL_BUFFERSIZE;
        deflate(stream, !whole ? Z_SYNC_FLUSH : more ? Z_NO_FLUSH : Z_FINISH);
        luaL_addsize(out, LUAL_BUFFERSIZE - stream->avail_out);
    } while (stream->avail_out == 0);
    if (whole && !more) deflateReset(stream);
}
static void push_by_zstd(struct unit_deflate *unit, struct gate_span text, luaL_Buffer *out) {
    ZSTD_EndDirective how = unit->kind == DEFLATE_FRAMES ? ZSTD_e_end : ZSTD_e_flush;
    ZSTD_inBuffer in = {text.data, text.len, 0};
    size_t left;
    do {
        ZSTD_outBuffer to = {luaL_prepbuffer(out), LUAL_BUFFERSIZE, 0};
        left = ZSTD_compressStream2(unit->zstd, &to, &in, how);
        luaL_addsize(out, to.pos);
    } while (left > 0 && !ZSTD_isError(left));
}
/* push(text [, more]) -> one message, as it travels; with `more` a part of a payload */
static int deflate_push(lua_State *L) {
    struct unit_deflate *unit = luaL_checkudata(L, 1, DEFLATE);
    struct gate_span text = check_text(L, 2);
    bool more = lua_toboolean(L, 3);
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    if (unit->kind < DEFLATE_ZSTD)
        push_by_zlib(unit, text, more, &out);
    else
        push_by_zstd(unit, text, &out);
    luaL_pushresult(&out);
    return 1;
}
static int deflate_free(lua_State *L) {
    struct unit_deflate *unit = luaL_checkudata(L, 1, DEFLATE);
    if (unit->kind < DEFLATE_ZSTD) deflateEnd(&unit->zlib);
    ZSTD_freeCCtx(unit->zstd);
    unit->zstd = NULL;
    return 0;
}
void unit_open_deflate(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"push", deflate_push}, {"__gc", deflate_free}, {NULL, NULL}};
    new_class(L, DEFLATE, methods, deflate_new);
}

/* unit_letter.c - the letterbox of the I/O thread for busted, with a switch that takes the memory
 * away. See unit.c. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "../src/letter.h"
#include "unit.h"

#define LETTERS "moongate_unit.letters"

struct letters {
    struct gate_mail mail;
    struct gate_letterbox box;
    struct gate_inbox inbox;
    struct gate_event event; /* that was read last */
    bool open;
};

static struct gate_span check_text(lua_State *L, int index) {
    struct gate_span text;
    text.data = luaL_checklstring(L, index, &text.len);
    return text;
}

static struct gate_letterbox *box_of(lua_State *L) {
    struct letters *letters = luaL_checkudata(L, 1, LETTERS);
    luaL_argcheck(L, letters->open, 1, "closed");
    return &letters->box;
}

/* letters(count_max, notes_max, loose, batch_max): names that may be dropped, each with a NUL */
static int letters_new(lua_State *L) {
    struct gate_queue_limits limits = {.count_max = (size_t)luaL_optinteger(L, 1, 0),
                                       .notes_max = (size_t)luaL_optinteger(L, 2, 0),
                                       .batch_max = (size_t)luaL_optinteger(L, 4, 0)};
    struct gate_span loose;
    loose.data = luaL_optlstring(L, 3, "", &loose.len);
    struct letters *letters = lua_newuserdatauv(L, sizeof *letters, 0);
    letters->open = false;
    letters->inbox = (struct gate_inbox){.first = NULL};
    letters->event = (struct gate_event){.codec = NULL};
    luaL_setmetatable(L, LETTERS);
    if (gate_mail_init(&letters->mail, &limits, loose) < 0) return luaL_error(L, "no queue");
    gate_letterbox_init(&letters->box, &letters->mail);
    letters->open = true;
    return 1;
}

static int letters_gc(lua_State *L) {
    struct letters *letters = luaL_checkudata(L, 1, LETTERS);
    if (letters->open) {
        gate_event_free(&letters->event);
        gate_inbox_free(&letters->inbox);
        gate_letterbox_free(&letters->box);
        gate_mail_free(&letters->mail);
    }
    letters->open = false;
    return 0;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static lua_Integer allocations_left, allocation_bytes_max;

static void *allocate_few(void *old, size_t bytes) {
    gate_allocate_hook(NULL);
    bool refused = bytes && ((lua_Integer)bytes > allocation_bytes_max || allocations_left-- <= 0);
    void *memory = refused ? NULL : gate_allocate(old, bytes);
    gate_allocate_hook(allocate_few);
    return memory;
}

/* letters.starve(n, bytes_max): after n more allocations there is no memory, nor ever for more than
 * so many bytes; letters.starve(): there is. */
static int letters_starve(lua_State *L) {
    allocations_left = luaL_optinteger(L, 1, 0);
    allocation_bytes_max = luaL_optinteger(L, 2, LUA_MAXINTEGER);
    gate_allocate_hook(lua_isnoneornil(L, 1) ? NULL : allocate_few);
    return 0;
}

/* ---- What is written and read ---------------------------------------------------------------- */

/* box:post(shard_id, name, data, own): with memory enough for the event itself. */
static int letters_post(lua_State *L) {
    struct gate_letterbox *box = box_of(L);
    struct gate_span name = check_text(L, 3), data = check_text(L, 4);
    struct gate_event event = {.codec = &gate_json,
                               .own = lua_toboolean(L, 5),
                               .name_len = name.len,
                               .data_at = name.len,
                               .data_len = data.len};
    lua_Integer left = allocations_left, most = allocation_bytes_max;
    allocations_left = allocation_bytes_max = LUA_MAXINTEGER;
    gate_buf_init(&event.bytes, 0, 0);
    if (gate_buf_append(&event.bytes, name) < 0 || gate_buf_append(&event.bytes, data) < 0)
        return luaL_error(L, "no memory");
    allocations_left = left;
    allocation_bytes_max = most;
    gate_letterbox_post(box, (int)luaL_checkinteger(L, 2), &event);
    return 0;
}

static int letters_error(lua_State *L) {
    gate_letterbox_error(box_of(L), (int)luaL_checkinteger(L, 2), GATE_EBUSY,
                         luaL_checkstring(L, 3), luaL_checkstring(L, 4));
    return 0;
}

/* box:answer(id, status, body) or box:answer(id, nil, nil, detail) */
static int letters_answer(lua_State *L) {
    struct gate_letterbox *box = box_of(L);
    struct gate_buf body;
    gate_buf_init(&body, 0, 0);
    lua_Integer left = allocations_left, most = allocation_bytes_max;
    allocations_left = allocation_bytes_max = LUA_MAXINTEGER;
    bool failed = lua_isnil(L, 3);
    if (!failed && gate_buf_append(&body, check_text(L, 4)) < 0) return luaL_error(L, "no memory");
    allocations_left = left;
    allocation_bytes_max = most;
    struct gate_answer answer = {.id = luaL_checkinteger(L, 2), .body = &body};
    if (failed) {
        answer.error = GATE_ECONNECT;
        answer.phase = GATE_PHASE_CONNECT;
        answer.detail = check_text(L, 5);
    } else {
        answer.status = (int)luaL_checkinteger(L, 3);
        answer.headers[0] = (struct gate_header){"date", GATE_SPAN("now")};
        answer.header_count = 1;
    }
    gate_letterbox_answer(box, &answer);
    gate_buf_free(&body);
    return 0;
}

static int letters_reserve(lua_State *L) {
    lua_pushboolean(L, gate_letterbox_reserve(box_of(L)));
    return 1;
}

static int letters_tell(lua_State *L) {
    gate_letterbox_tell(box_of(L));
    return 0;
}

static void free_letter(struct gate_node *node) {
    struct gate_letter *letter = (struct gate_letter *)node;
    gate_event_free(&letter->event);
    gate_allocate(letter, 0);
}

/* box:pop() -> shard id, name, data, own, or nothing */
static int letters_pop(lua_State *L) {
    struct gate_node *unwanted;
    bool drained;
    struct gate_node *node = gate_queue_pop(&box_of(L)->mail->queue, NULL, &unwanted, &drained);
    if (!node) return 0;
    const struct gate_event *event = &((struct gate_letter *)node)->event;
    struct gate_span name = gate_event_name(event), data = gate_event_data(event);
    lua_pushinteger(L, event->shard_id);
    lua_pushlstring(L, name.data, name.len);
    lua_pushlstring(L, data.data, data.len);
    lua_pushboolean(L, event->own);
    free_letter(node);
    return 4;
}

/* box:next() -> name, data, or nothing; reads as the Lua side does, box:pop() must not have */
static int letters_next(lua_State *L) {
    struct letters *letters = luaL_checkudata(L, 1, LETTERS);
    struct gate_queue *queue = &box_of(L)->mail->queue;
    bool drained;
    if (!gate_inbox_next(&letters->inbox, queue, &letters->event, &drained)) return 0;
    struct gate_span name = gate_event_name(&letters->event);
    struct gate_span data = gate_event_data(&letters->event);
    lua_pushlstring(L, name.data, name.len);
    lua_pushlstring(L, data.data, data.len);
    return 2;
}

/* box:inbox() -> letters, payloads and their bytes that were taken and not read */
static int letters_inbox(lua_State *L) {
    const struct letters *letters = luaL_checkudata(L, 1, LETTERS);
    lua_pushinteger(L, (lua_Integer)letters->inbox.waiting);
    lua_pushinteger(L, (lua_Integer)letters->inbox.count);
    lua_pushinteger(L, (lua_Integer)letters->inbox.bytes);
    return 3;
}

/* box:spare() -> how much memory lies there for the next event, or nil */
static int letters_spare(lua_State *L) {
    const struct gate_buf *spare = gate_letterbox_spare(box_of(L));
    if (!spare) return 0;
    lua_pushinteger(L, (lua_Integer)spare->capacity);
    return 1;
}

static int letters_dropped(lua_State *L) {
    struct gate_queue_counts counts;
    gate_queue_count(&box_of(L)->mail->queue, &counts);
    lua_pushinteger(L, (lua_Integer)counts.notes_dropped);
    return 1;
}

/* box:loose() -> { NAME = how many were dropped } */
static int letters_loose(lua_State *L) {
    struct gate_letterbox *box = box_of(L);
    struct gate_queue_counts counts;
    struct gate_span name;
    gate_queue_count(&box->mail->queue, &counts);
    lua_newtable(L);
    for (uint32_t i = 0; gate_mail_loose(box->mail, i, &name); i++) {
        lua_pushlstring(L, name.data, name.len);
        lua_pushinteger(L, (lua_Integer)counts.dropped[i]);
        lua_rawset(L, -3);
    }
    return 1;
}

void unit_open_letters(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"post", letters_post},   {"error", letters_error},     {"answer", letters_answer},
        {"pop", letters_pop},     {"dropped", letters_dropped}, {"reserve", letters_reserve},
        {"tell", letters_tell},   {"loose", letters_loose},     {"next", letters_next},
        {"spare", letters_spare}, {"inbox", letters_inbox},     {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"new", letters_new}, {"starve", letters_starve}, {NULL, NULL}};
    luaL_newmetatable(L, LETTERS);
    lua_pushcfunction(L, letters_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
}

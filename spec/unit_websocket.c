/* unit_websocket.c - an open link whose socket is made of Lua, for busted: it takes as many bytes
 * as it is told to, and shows what was written, read, reported and killed. Test-only. */
#include <string.h>

#include "../src/websocket.h"
#include "unit.h"

#define CLASS "moongate.unit.websocket"

/* What transport.c is otherwise. */
struct gate_transport {
    struct gate_links links;
    struct gate_buf written;
    struct gate_buf pieces;  /* each with a NUL behind a final one */
    int64_t room;            /* bytes that the socket takes; -1: it is broken */
    lua_Integer pause_after; /* pieces; 0: never */
    unsigned char random;
    bool killed, reading;
};

struct box {
    struct gate_transport transport;
    struct gate_link *link;
};

struct gate_links *gate_transport_links(struct gate_transport *transport) {
    return &transport->links;
}

void gate_socket_write(struct gate_link *link) {
    (void)link;
}

void gate_socket_read(struct gate_link *link) {
    link->transport->reading = true;
}

void gate_socket_kill(struct gate_link *link) {
    link->transport->killed = true;
}

int64_t gate_socket_header(struct gate_link *link, const char *name, char *room,
                           size_t room_bytes) {
    (void)link, (void)name, (void)room, (void)room_bytes;
    return 0;
}

int64_t gate_socket_send(struct gate_link *link, struct gate_span bytes) {
    struct gate_transport *transport = link->transport;
    if (transport->room < 0) return -1;
    if ((uint64_t)transport->room < bytes.len) bytes.len = (size_t)transport->room;
    if (gate_buf_append(&transport->written, bytes) < 0) return -1;
    transport->room -= (int64_t)bytes.len;
    return (int64_t)bytes.len;
}

int gate_transport_random(struct gate_transport *transport, unsigned char *out, size_t len) {
    for (size_t i = 0; i < len; i++) out[i] = ++transport->random;
    return GATE_OK;
}

static void on_opened(void *user, uint32_t connection) {
    (void)user, (void)connection;
}

static void on_piece(void *user, const struct gate_piece *piece) {
    struct box *box = user;
    struct gate_transport *transport = &box->transport;
    if (gate_buf_append(&transport->pieces, piece->bytes) < 0) return;
    if (piece->final && gate_buf_append_byte(&transport->pieces, '\0') < 0) return;
    if (transport->pause_after > 0 && --transport->pause_after == 0)
        gate_link_pause(box->link, true);
}

/* ---- The object ------------------------------------------------------------------------------ */

static struct box *check_box(lua_State *L) {
    return luaL_checkudata(L, 1, CLASS);
}

static struct gate_span check_bytes(lua_State *L, int index) {
    struct gate_span bytes;
    bytes.data = luaL_checklstring(L, index, &bytes.len);
    return bytes;
}

/* take(bytes): they were read. */
static int take(lua_State *L) {
    gate_websocket_take(check_box(L)->link, check_bytes(L, 2));
    return 0;
}

/* write([room]) -> what the socket took; room: how much it takes, -1: it breaks */
static int write_out(lua_State *L) {
    struct box *box = check_box(L);
    box->transport.room = luaL_optinteger(L, 2, INT64_MAX);
    box->transport.written.len = 0;
    gate_websocket_write(box->link);
    lua_pushlstring(L, box->transport.written.data, box->transport.written.len);
    return 1;
}

/* send(text) -> true, or nil and a code */
static int send_text(lua_State *L) {
    struct box *box = check_box(L);
    struct gate_buf bytes;
    gate_buf_init(&bytes, GATE_HEADROOM_BYTES, 0);
    int rc = gate_buf_append(&bytes, check_bytes(L, 2));
    if (rc == GATE_OK) rc = gate_link_send(box->link, &bytes, false, true);
    if (rc < 0) gate_buf_free(&bytes);
    lua_pushboolean(L, rc == GATE_OK);
    if (rc == GATE_OK) return 1;
    lua_pushnil(L);
    lua_pushstring(L, gate_error_name(rc));
    return 2;
}

static int close_link(lua_State *L) {
    gate_link_close(check_box(L)->link, (int)luaL_checkinteger(L, 2), check_bytes(L, 3));
    return 0;
}

static int pause_link(lua_State *L) {
    gate_link_pause(check_box(L)->link, lua_toboolean(L, 2));
    return 0;
}

/* pause_after(n): in the middle of the nth piece's report from now on */
static int pause_after(lua_State *L) {
    check_box(L)->transport.pause_after = luaL_checkinteger(L, 2);
    return 0;
}

/* resume() -> false: there was nothing to go on with */
static int resume(lua_State *L) {
    struct box *box = check_box(L);
    bool may = gate_websocket_may_resume(box->link);
    if (may) gate_websocket_resume(box->link);
    lua_pushboolean(L, may);
    return 1;
}

/* messages() -> the bytes of all messages so far, a NUL behind each */
static int messages(lua_State *L) {
    struct box *box = check_box(L);
    lua_pushlstring(L, box->transport.pieces.data, box->transport.pieces.len);
    return 1;
}

static void set_flag(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static int state(lua_State *L) {
    struct box *box = check_box(L);
    lua_newtable(L);
    set_flag(L, "killed", box->transport.killed);
    set_flag(L, "reading", box->transport.reading);
    set_flag(L, "may_read", gate_websocket_may_read(box->link));
    set_flag(L, "close_sent", box->link->close_sent);
    set_flag(L, "close_received", box->link->close_received);
    lua_pushinteger(L, box->link->close_code);
    lua_setfield(L, -2, "close_code");
    lua_pushstring(L, box->link->words);
    lua_setfield(L, -2, "words");
    return 1;
}

static int collect(lua_State *L) {
    struct box *box = check_box(L);
    if (box->link) gate_link_del(box->link);
    box->link = NULL;
    gate_buf_free(&box->transport.written);
    gate_buf_free(&box->transport.pieces);
    return 0;
}

/* websocket([message_bytes_max [, paused]]) -> an open link */
static int new_websocket(lua_State *L) {
    size_t message_bytes_max = (size_t)luaL_optinteger(L, 1, 1 << 20);
    bool paused = lua_toboolean(L, 2);
    struct box *box = lua_newuserdata(L, sizeof *box);
    memset(box, 0, sizeof *box);
    luaL_setmetatable(L, CLASS);
    gate_buf_init(&box->transport.written, 0, 0);
    gate_buf_init(&box->transport.pieces, 0, 0);
    box->transport.links.calls.opened = on_opened;
    box->transport.links.calls.piece = on_piece;
    box->link = gate_allocate(NULL, sizeof *box->link);
    if (!box->link) return luaL_error(L, "no memory");
    memset(box->link, 0, sizeof *box->link);
    box->link->transport = &box->transport;
    box->link->wsi = (struct lws *)(void *)box; /* only looked at to be there */
    box->link->user = box;
    box->link->paused = paused;
    box->link->message_bytes_max = message_bytes_max;
    gate_websocket_open(box->link);
    return 1;
}

void unit_open_websocket(lua_State *L) {
    static const luaL_Reg methods[] = {{"take", take},        {"write", write_out},
                                       {"send", send_text},   {"close", close_link},
                                       {"pause", pause_link}, {"pause_after", pause_after},
                                       {"resume", resume},    {"messages", messages},
                                       {"state", state},      {NULL, NULL}};
    luaL_newmetatable(L, CLASS);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, new_websocket);
}

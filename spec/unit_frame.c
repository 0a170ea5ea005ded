/* unit_frame.c - the frames and the upgrade of RFC 6455 as plain functions, for busted. Test-only.
 * Every chunk is read from memory of exactly its size, so that a sanitizer sees a step over it. */
#include <stdlib.h>
#include <string.h>

#include "../src/frame.h"
#include "../src/upgrade.h"
#include "unit.h"

static struct gate_span check_bytes(lua_State *L, int index) {
    struct gate_span bytes;
    bytes.data = luaL_checklstring(L, index, &bytes.len);
    return bytes;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *key, struct gate_span text) {
    lua_pushlstring(L, text.data, text.len);
    lua_setfield(L, -2, key);
}

static void push_seen(lua_State *L, const struct gate_seen *seen) {
    static const char *const kinds[] = {"nothing", "piece", "ping", "close", "fault"};
    lua_createtable(L, 0, 5);
    set_text(L, "kind", (struct gate_span){kinds[seen->kind], strlen(kinds[seen->kind])});
    if (seen->kind == GATE_SEEN_FAULT) {
        set_text(L, "words", (struct gate_span){seen->words, strlen(seen->words)});
        const char *name = gate_error_name(seen->error);
        set_text(L, "error", (struct gate_span){name, strlen(name)});
    } else {
        set_text(L, "bytes", seen->bytes);
    }
    if (seen->kind == GATE_SEEN_PIECE) {
        lua_pushboolean(L, seen->final);
        lua_setfield(L, -2, "final");
        lua_pushboolean(L, seen->binary);
        lua_setfield(L, -2, "binary");
    } else if (seen->kind != GATE_SEEN_PING) {
        lua_pushinteger(L, seen->code);
        lua_setfield(L, -2, "code");
    }
}

static void read_chunk(lua_State *L, struct gate_frames *frames, struct gate_span chunk) {
    char *copy = malloc(chunk.len ? chunk.len : 1);
    if (!copy) luaL_error(L, "no memory");
    if (chunk.len) memcpy(copy, chunk.data, chunk.len);
    for (size_t at = 0; at < chunk.len;) {
        struct gate_seen seen;
        at += gate_frames_read(frames, (struct gate_span){copy + at, chunk.len - at}, &seen);
        if (seen.kind == GATE_SEEN_NOTHING) continue;
        push_seen(L, &seen);
        lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
    }
    free(copy);
}

/* read(message_bytes_max, { chunk, ... }) -> what was seen, in order */
static int frames_read(lua_State *L) {
    struct gate_frames frames;
    gate_frames_init(&frames, (size_t)luaL_checkinteger(L, 1));
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_newtable(L);
    lua_insert(L, 2);
    for (lua_Integer i = 1; lua_rawgeti(L, 3, i) == LUA_TSTRING; i++) {
        read_chunk(L, &frames, check_bytes(L, 4));
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    return 1;
}

/* wrap(type, payload, mask) -> the frame */
static int frames_wrap(lua_State *L) {
    struct gate_span payload = check_bytes(L, 2), mask = check_bytes(L, 3);
    int type = (int)luaL_checkinteger(L, 1);
    luaL_argcheck(L, mask.len == 4, 3, "a mask has four bytes");
    char *room = malloc(GATE_FRAME_HEAD_BYTES_MAX + payload.len);
    if (!room) return luaL_error(L, "no memory");
    char *at = room + GATE_FRAME_HEAD_BYTES_MAX;
    memcpy(at, payload.data, payload.len);
    size_t head = gate_frame_wrap((enum gate_frame_type)type, at, payload.len,
                                  (const unsigned char *)mask.data);
    lua_pushlstring(L, at - head, head + payload.len);
    free(room);
    return 1;
}

/* close(code, reason) -> the payload of a close frame */
static int frames_close(lua_State *L) {
    char out[GATE_CONTROL_BYTES_MAX];
    size_t len = gate_frame_close((int)luaL_checkinteger(L, 1), check_bytes(L, 2), out);
    lua_pushlstring(L, out, len);
    return 1;
}

void unit_open_frames(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"read", frames_read}, {"wrap", frames_wrap}, {"close", frames_close}, {NULL, NULL}};
    luaL_newlib(L, functions);
}

/* ---- The upgrade ----------------------------------------------------------------------------- */

static void make_upgrade(lua_State *L, struct gate_upgrade *upgrade) {
    struct gate_span nonce = check_bytes(L, 1);
    luaL_argcheck(L, nonce.len == GATE_NONCE_BYTES, 1, "a nonce has sixteen bytes");
    if (gate_upgrade_init(upgrade, (const unsigned char *)nonce.data) < 0)
        luaL_error(L, "no SHA-1");
}

/* make(nonce [, room]) -> key, accept, headers (nil where they do not fit) */
static int upgrade_make(lua_State *L) {
    struct gate_upgrade upgrade;
    char room[512];
    make_upgrade(L, &upgrade);
    struct gate_pen pen = {room, (size_t)luaL_optinteger(L, 2, sizeof room)};
    lua_pushstring(L, upgrade.key);
    lua_pushstring(L, upgrade.accept);
    if (gate_upgrade_compose(&upgrade, &pen))
        lua_pushlstring(L, room, (size_t)(pen.at - room));
    else
        lua_pushnil(L);
    return 3;
}

static struct gate_span read_field(lua_State *L, const char *key) {
    struct gate_span text = {NULL, 0};
    lua_getfield(L, 2, key);
    if (lua_isstring(L, -1)) text.data = lua_tolstring(L, -1, &text.len);
    return text;
}

/* judge(nonce, { status =, upgrade =, connection =, accept =, extensions =, protocol = }) -> nil
 * when granted, or what is wrong */
static int upgrade_judge(lua_State *L) {
    struct gate_upgrade upgrade;
    make_upgrade(L, &upgrade);
    lua_getfield(L, 2, "status");
    struct gate_upgrade_answer answer = {.status = (int)lua_tointeger(L, -1),
                                         .upgrade = read_field(L, "upgrade"),
                                         .connection = read_field(L, "connection"),
                                         .accept = read_field(L, "accept"),
                                         .extensions = read_field(L, "extensions"),
                                         .protocol = read_field(L, "protocol")};
    lua_pushstring(L, gate_upgrade_judge(&upgrade, &answer));
    return 1;
}

void unit_open_upgrade(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"make", upgrade_make}, {"judge", upgrade_judge}, {NULL, NULL}};
    luaL_newlib(L, functions);
}

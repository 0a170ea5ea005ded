/* unit_io.c - URLs, the queue with its bell, and the resolver as small Lua objects, for busted.
 * Test-only. Nodes carry a number; lookups are made by a hook, so no spec asks a name server. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../src/buf.h"
#include "../src/http.h"
#include "../src/queue.h"
#include "../src/resolver.h"
#include "../src/url.h"
#include "../src/window.h"
#include "unit.h"

static struct gate_span check_text(lua_State *L, int index) {
    struct gate_span text;
    text.data = luaL_checklstring(L, index, &text.len);
    return text;
}

/* ---- url ------------------------------------------------------------------------------------- */

static int push_url(lua_State *L, int rc, const struct gate_url *url, const char *detail) {
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, detail);
        lua_pushstring(L, gate_error_name(rc));
        return 3;
    }
    lua_createtable(L, 0, 8);
    lua_pushstring(L, url->host);
    lua_setfield(L, -2, "host");
    lua_pushstring(L, url->target);
    lua_setfield(L, -2, "target");
    lua_pushstring(L, url->authority);
    lua_setfield(L, -2, "authority");
    lua_pushinteger(L, url->port);
    lua_setfield(L, -2, "port");
    lua_pushboolean(L, url->tls);
    lua_setfield(L, -2, "tls");
    lua_pushboolean(L, url->websocket);
    lua_setfield(L, -2, "websocket");
    lua_pushboolean(L, url->literal);
    lua_setfield(L, -2, "literal");
    return 1;
}

static int url_parse(lua_State *L) {
    struct gate_url url;
    const char *detail = NULL;
    int rc = gate_url_parse(check_text(L, 1), &url, &detail);
    return push_url(L, rc, &url, detail);
}

static int url_parse_proxy(lua_State *L) {
    struct gate_url url;
    struct gate_span user = {"", 0};
    const char *detail = NULL;
    int rc = gate_url_parse_proxy(check_text(L, 1), &url, &user, &detail);
    int pushed = push_url(L, rc, &url, detail);
    if (rc < 0) return pushed;
    lua_pushlstring(L, user.data, user.len);
    lua_setfield(L, -2, "user");
    return 1;
}

static int http_date(lua_State *L) {
    lua_pushinteger(L, gate_http_date_s(check_text(L, 1)));
    return 1;
}

static int http_retry_after(lua_State *L) {
    lua_pushinteger(
        L, gate_http_retry_after_ms(check_text(L, 1), check_text(L, 2), luaL_checkinteger(L, 3)));
    return 1;
}

void unit_open_http(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"date", http_date}, {"retry_after", http_retry_after}, {NULL, NULL}};
    luaL_newlib(L, functions);
}

/* Owners are numbers from 1. */
static struct gate_claim check_claim(lua_State *L) {
    return (struct gate_claim){
        .token = gate_window_token(check_text(L, 1), GATE_SPAN("wss://gateway.test/")),
        .key = (int)luaL_checkinteger(L, 2),
        .shard_id = (int)luaL_checkinteger(L, 3),
        .owner = (const void *)(uintptr_t)luaL_checkinteger(L, 4),
        .reserve = luaL_optinteger(L, 6, 0)};
}

/* window.claim(token, key, shard id, owner, now, reserve) -> 0 or when to ask again, and until when
 * the day is used up or nil */
static int window_claim(lua_State *L) {
    struct gate_claim claim = check_claim(L);
    struct gate_permit permit = gate_window_claim(&claim, luaL_checkinteger(L, 5));
    lua_pushinteger(L, permit.again_ms);
    if (permit.hold_ms < 0) return 1;
    lua_pushinteger(L, permit.hold_ms);
    return 2;
}

/* window.learn(token, now, total, remaining, reset_after_ms) */
static int window_learn(lua_State *L) {
    struct gate_quota_told told = {.total = luaL_checkinteger(L, 3),
                                   .remaining = luaL_checkinteger(L, 4),
                                   .reset_after_ms = luaL_checkinteger(L, 5)};
    uint64_t token = gate_window_token(check_text(L, 1), GATE_SPAN("wss://gateway.test/"));
    lua_pushboolean(L, gate_window_learn(token, luaL_checkinteger(L, 2), &told) == GATE_OK);
    return 1;
}

static int window_spent(lua_State *L) {
    struct gate_claim claim = check_claim(L);
    gate_window_spent(&claim, luaL_checkinteger(L, 5));
    return 0;
}

static int window_done(lua_State *L) {
    struct gate_claim claim = check_claim(L);
    gate_window_done(&claim);
    return 0;
}

static int window_leave(lua_State *L) {
    gate_window_leave((const void *)(uintptr_t)luaL_checkinteger(L, 1), luaL_checkinteger(L, 2));
    return 0;
}

void unit_open_window(lua_State *L) {
    static const luaL_Reg functions[] = {{"claim", window_claim}, {"spent", window_spent},
                                         {"learn", window_learn}, {"done", window_done},
                                         {"leave", window_leave}, {NULL, NULL}};
    luaL_newlib(L, functions);
}

void unit_open_url(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"parse", url_parse}, {"parse_proxy", url_parse_proxy}, {NULL, NULL}};
    luaL_newlib(L, functions);
}

/* ---- queue ----------------------------------------------------------------------------------- */

#define QUEUE "unit.queue"

struct item {
    struct gate_node node;
    int64_t number;
};

struct queue_box {
    struct gate_queue queue;
    bool open;
};

static struct gate_queue *queue_of(lua_State *L) {
    struct queue_box *box = luaL_checkudata(L, 1, QUEUE);
    luaL_argcheck(L, box->open, 1, "closed");
    return &box->queue;
}

static void drop_item(struct gate_node *node) {
    gate_allocate(node, 0);
}

static int queue_gc(lua_State *L) {
    struct queue_box *box = luaL_checkudata(L, 1, QUEUE);
    if (box->open) gate_queue_free(&box->queue, drop_item);
    box->open = false;
    return 0;
}

/* queue(count_max, bytes_max, notes_max, strict, quiet_max) */
static int queue_new(lua_State *L) {
    struct gate_queue_limits limits = {.count_max = (size_t)luaL_optinteger(L, 1, 0),
                                       .bytes_max = (size_t)luaL_optinteger(L, 2, 0),
                                       .notes_max = (size_t)luaL_optinteger(L, 3, 0),
                                       .strict = lua_toboolean(L, 4),
                                       .quiet_max = (size_t)luaL_optinteger(L, 5, 0),
                                       .batch_max = (size_t)luaL_optinteger(L, 6, 0)};
    struct queue_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->open = false;
    luaL_setmetatable(L, QUEUE);
    if (gate_queue_init(&box->queue, &limits, true) < 0) return luaL_error(L, "no queue");
    box->open = true;
    return 1;
}

static int push_numbers(lua_State *L, struct gate_node *list) {
    int count = 0;
    while (list) {
        struct item *item = (struct item *)list;
        list = list->next;
        lua_pushinteger(L, item->number);
        gate_allocate(item, 0);
        count++;
    }
    return count;
}

/* queue:push(number, bytes, kind, loose, at_ms) -> true, whether a spare came back and the numbers
 * of what was dropped, newest first; or nil, code */
static int queue_push(lua_State *L) {
    static const char *const kinds[] = {"payload", "note", "vital", NULL};
    struct gate_queue *queue = queue_of(L);
    struct item *item = gate_allocate(NULL, sizeof *item);
    struct gate_node *spare, *dropped;
    item->number = luaL_checkinteger(L, 2);
    item->node =
        (struct gate_node){.bytes = (size_t)luaL_optinteger(L, 3, 1),
                           .at_ms = luaL_optinteger(L, 6, 0),
                           .kind = (enum gate_node_kind)luaL_checkoption(L, 4, "payload", kinds),
                           .loose = (uint32_t)luaL_optinteger(L, 5, 0)};
    int rc = gate_queue_push(queue, &item->node, &spare, &dropped);
    if (rc < 0) gate_allocate(item, 0);
    lua_pushboolean(L, 1);
    lua_pushboolean(L, spare != NULL);
    gate_allocate(spare, 0);
    if (rc >= 0) return 2 + push_numbers(L, dropped);
    lua_pushnil(L);
    lua_pushstring(L, gate_error_name(rc));
    return 2;
}

/* queue:pop(recycle) -> number or nil, whether the queue has become free */
static int queue_pop(lua_State *L) {
    struct gate_queue *queue = queue_of(L);
    struct gate_node *unwanted;
    bool drained;
    struct item *item = (struct item *)gate_queue_pop(queue, NULL, &unwanted, &drained);
    if (!item) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, item->number);
    lua_pushboolean(L, drained);
    gate_allocate(item, 0);
    return 2;
}

/* queue:take() -> the numbers of a batch */
static int queue_take(lua_State *L) {
    struct gate_node *unwanted;
    bool drained;
    return push_numbers(L, gate_queue_pop(queue_of(L), NULL, &unwanted, &drained));
}

/* queue:give_back(n): hands over n used nodes; how many the queue did not want */
static int queue_give_back(lua_State *L) {
    struct gate_queue *queue = queue_of(L);
    lua_Integer unwanted_count = 0;
    for (lua_Integer i = luaL_checkinteger(L, 2); i > 0; i--) {
        struct gate_node *unwanted, *item = gate_allocate(NULL, sizeof(struct item));
        bool drained;
        item->next = NULL;
        gate_queue_pop(queue, item, &unwanted, &drained);
        if (unwanted) unwanted_count++;
        gate_allocate(unwanted, 0);
    }
    lua_pushinteger(L, unwanted_count);
    return 1;
}

static bool rings(const struct gate_queue *queue) {
    struct pollfd at = {.fd = queue->bell.read_fd, .events = POLLIN};
    return poll(&at, 1, 0) == 1;
}

static int queue_ring(lua_State *L) {
    gate_queue_ring(queue_of(L));
    return 0;
}

static int queue_rings(lua_State *L) {
    lua_pushboolean(L, rings(queue_of(L)));
    return 1;
}

static int queue_level(lua_State *L) {
    static const char *const words[] = {"free", "full", "hard"};
    lua_pushstring(L, words[gate_queue_level(queue_of(L))]);
    return 1;
}

static void set_count(lua_State *L, const char *key, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

static int queue_counts(lua_State *L) {
    struct gate_queue_counts counts;
    gate_queue_count(queue_of(L), &counts);
    lua_createtable(L, 0, 10);
    set_count(L, "count", counts.count);
    set_count(L, "bytes", counts.bytes);
    set_count(L, "count_peak", counts.count_peak);
    set_count(L, "bytes_peak", counts.bytes_peak);
    set_count(L, "notes", counts.notes);
    set_count(L, "pushed", counts.pushed);
    set_count(L, "popped", counts.popped);
    set_count(L, "notes_dropped", counts.notes_dropped);
    set_count(L, "filled", counts.filled);
    set_count(L, "loose", counts.loose);
    set_count(L, "loose_bytes", counts.loose_bytes);
    set_count(L, "oldest_at_ms", (uint64_t)counts.oldest_at_ms);
    lua_createtable(L, GATE_DROP_EVENTS_MAX, 0);
    for (int i = 0; i < GATE_DROP_EVENTS_MAX; i++) {
        lua_pushinteger(L, (lua_Integer)counts.dropped[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "dropped");
    return 1;
}

#define PRODUCERS_MAX 8

struct producer {
    struct gate_queue *queue;
    int64_t first, count;
};

static void *produce(void *argument) {
    const struct producer *producer = argument;
    struct item *spare = NULL;
    for (int64_t i = 0; i < producer->count; i++) {
        struct item *item = spare ? spare : gate_allocate(NULL, sizeof *item);
        struct gate_node *back;
        item->number = producer->first + i;
        item->node = (struct gate_node){.bytes = 1};
        if (gate_queue_push(producer->queue, &item->node, &back, NULL) < 0) gate_allocate(item, 0);
        spare = (struct item *)back;
    }
    gate_allocate(spare, 0);
    return NULL;
}

static void free_all(struct gate_node *node) {
    while (node) {
        struct gate_node *next = node->next;
        gate_allocate(node, 0);
        node = next;
    }
}

/* Pops everything that `total` says is to come, asleep on the bell between. Counts what came out of
 * order: within a producer numbers ascend. */
static int64_t consume(struct gate_queue *queue, int64_t total, int64_t each, int64_t *disordered) {
    int64_t next[PRODUCERS_MAX] = {0}, got = 0;
    struct gate_node *used = NULL, *unwanted;
    bool drained;
    while (got < total && gate_bell_wait(&queue->bell, 5000)) {
        while ((used = gate_queue_pop(queue, used, &unwanted, &drained)) != NULL) {
            for (struct gate_node *node = used; node; node = node->next, got++) {
                int64_t number = ((struct item *)node)->number;
                *disordered += number % each != next[number / each];
                next[number / each] = number % each + 1;
            }
            free_all(unwanted);
        }
        free_all(unwanted);
    }
    gate_queue_pop(queue, NULL, &unwanted, &drained); /* a bell may ring once too often */
    return got;
}

/* queue:stress(threads, each) -> popped, disordered, whether the bell is silent in the end */
static int queue_stress(lua_State *L) {
    struct gate_queue *queue = queue_of(L);
    pthread_t threads[PRODUCERS_MAX];
    struct producer producers[PRODUCERS_MAX];
    int count = (int)luaL_checkinteger(L, 2);
    int64_t each = luaL_checkinteger(L, 3), disordered = 0;
    luaL_argcheck(L, count >= 1 && count <= PRODUCERS_MAX, 2, "1 to 8");
    for (int i = 0; i < count; i++) {
        producers[i] = (struct producer){queue, i * each, each};
        if (pthread_create(&threads[i], NULL, produce, &producers[i]) != 0)
            return luaL_error(L, "no thread");
    }
    lua_pushinteger(L, consume(queue, count * each, each, &disordered));
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    lua_pushinteger(L, disordered);
    lua_pushboolean(L, !rings(queue));
    return 3;
}

void unit_open_queue(lua_State *L) {
    static const luaL_Reg methods[] = {{"push", queue_push},
                                       {"pop", queue_pop},
                                       {"take", queue_take},
                                       {"give_back", queue_give_back},
                                       {"ring", queue_ring},
                                       {"rings", queue_rings},
                                       {"level", queue_level},
                                       {"counts", queue_counts},
                                       {"stress", queue_stress},
                                       {"__gc", queue_gc},
                                       {NULL, NULL}};
    luaL_newmetatable(L, QUEUE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, queue_new);
}

/* ---- resolver -------------------------------------------------------------------------------- */

#define RESOLVER "unit.resolver"

/* The hook: names that begin with "stuck" hang until they are released, "bad" ones fail, others
 * have two addresses that tell how many lookups there were. */
static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hook_turn = PTHREAD_COND_INITIALIZER;
static bool released;
static int lookups, stuck;

static void look_up(const char *host, struct gate_addresses *out) {
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&hook_lock);
    int number = ++lookups;
    if (strncmp(host, "stuck", 5) == 0) {
        stuck++;
        while (!released) pthread_cond_wait(&hook_turn, &hook_lock);
        stuck--;
        pthread_cond_broadcast(&hook_turn);
    }
    pthread_mutex_unlock(&hook_lock);
    if (strncmp(host, "bad", 3) == 0) {
        out->error = GATE_ERESOLVE;
        out->detail = "no such name";
        return;
    }
    out->count = 2;
    snprintf(out->list[0], GATE_ADDRESS_TEXT_MAX, "192.0.2.%d", number % 256);
    snprintf(out->list[1], GATE_ADDRESS_TEXT_MAX, "2001:db8::%d", number % 256);
}

struct resolver_box {
    struct gate_resolver *resolver;
    struct gate_bell bell;
};

static struct resolver_box *resolver_of(lua_State *L) {
    struct resolver_box *box = luaL_checkudata(L, 1, RESOLVER);
    luaL_argcheck(L, box->resolver, 1, "closed");
    return box;
}

static void wake(void *to) {
    gate_bell_ring(&((struct resolver_box *)to)->bell);
}

static int resolver_close(lua_State *L) {
    struct resolver_box *box = luaL_checkudata(L, 1, RESOLVER);
    gate_resolver_del(box->resolver);
    box->resolver = NULL;
    gate_bell_free(&box->bell);
    return 0;
}

static int resolver_new(lua_State *L) {
    struct resolver_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = (struct resolver_box){.bell = {-1, -1}};
    luaL_setmetatable(L, RESOLVER);
    gate_resolver_hook(look_up);
    pthread_mutex_lock(&hook_lock);
    released = false;
    lookups = 0;
    pthread_mutex_unlock(&hook_lock);
    if (gate_bell_init(&box->bell) < 0) return luaL_error(L, "no bell");
    box->resolver = gate_resolver_new(wake, box);
    return 1;
}

/* resolver:ask(now_ms, host, timeout_ms, id) */
static int resolver_ask(lua_State *L) {
    struct resolver_box *box = resolver_of(L);
    int rc = gate_resolver_ask(box->resolver, luaL_checkinteger(L, 2), luaL_checkstring(L, 3),
                               luaL_checkinteger(L, 4), (void *)(intptr_t)luaL_checkinteger(L, 5));
    lua_pushboolean(L, rc == GATE_OK);
    return 1;
}

static int resolver_forget(lua_State *L) {
    struct resolver_box *box = resolver_of(L);
    gate_resolver_forget(box->resolver, (void *)(intptr_t)luaL_checkinteger(L, 2));
    return 0;
}

/* resolver:next(now_ms) -> id, { addresses }, or id, nil, code, detail, or nothing */
static int resolver_next(lua_State *L) {
    struct resolver_box *box = resolver_of(L);
    struct gate_addresses found;
    void *user;
    if (!gate_resolver_next(box->resolver, luaL_checkinteger(L, 2), &user, &found)) return 0;
    lua_pushinteger(L, (lua_Integer)(intptr_t)user);
    if (found.error) {
        lua_pushnil(L);
        lua_pushstring(L, gate_error_name(found.error));
        lua_pushstring(L, found.detail);
        return 4;
    }
    lua_newtable(L);
    for (size_t i = 0; i < found.count; i++) {
        lua_pushstring(L, found.list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* resolver:wait(timeout_ms) -> whether it woke its owner meanwhile */
static int resolver_wait(lua_State *L) {
    struct resolver_box *box = resolver_of(L);
    bool woken = gate_bell_wait(&box->bell, luaL_checkinteger(L, 2));
    if (woken) gate_bell_hush(&box->bell);
    lua_pushboolean(L, woken);
    return 1;
}

static int resolver_deadline(lua_State *L) {
    lua_pushinteger(L, gate_resolver_deadline(resolver_of(L)->resolver));
    return 1;
}

/* Lets every stuck lookup go on and waits until all of them have. */
static int resolver_release(lua_State *L) {
    (void)L;
    pthread_mutex_lock(&hook_lock);
    released = true;
    pthread_cond_broadcast(&hook_turn);
    while (stuck > 0) pthread_cond_wait(&hook_turn, &hook_lock);
    pthread_mutex_unlock(&hook_lock);
    return 0;
}

/* resolver.lookups() -> how many were made since the last resolver was, how many hang now */
static int resolver_lookups(lua_State *L) {
    pthread_mutex_lock(&hook_lock);
    lua_pushinteger(L, lookups);
    lua_pushinteger(L, stuck);
    pthread_mutex_unlock(&hook_lock);
    return 2;
}

void unit_open_resolver(lua_State *L) {
    static const luaL_Reg methods[] = {{"ask", resolver_ask},           {"forget", resolver_forget},
                                       {"next", resolver_next},         {"wait", resolver_wait},
                                       {"deadline", resolver_deadline}, {"close", resolver_close},
                                       {"__gc", resolver_close},        {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", resolver_new},
                                         {"release", resolver_release},
                                         {"lookups", resolver_lookups},
                                         {NULL, NULL}};
    luaL_newmetatable(L, RESOLVER);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
}

/* lua_terminal.c - what a prompt needs of C: waiting, the terminal and its keys, Ctrl-C. Used by
 * scheduler.lua, repl.lua and the commands, on the thread of the lua_State.
 *
 * A signal has no argument, and a process has one terminal: so the lua_State that Ctrl-C interrupts
 * stands in a global of C while core.interruptible runs, and what the terminal was like while it
 * gives single keys. Nothing else of moongate does. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lua_core.h"

#define POLL_FDS_MAX   4096 /* of one core.poll(): far more than loops that one thread can run */
#define READ_BYTES     4096 /* of one core.read(): more than anybody types at once */
#define KEYBOARD_CLASS "moongate.keyboard"

/* ---- Waiting --------------------------------------------------------------------------------- */

/* nil and anything negative wait without end; the rest is rounded up, so that a wait for the next
 * deadline does not end just before it. */
static int read_timeout_ms(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) return -1;
    lua_Number seconds = luaL_checknumber(L, index);
    if (seconds < 0) return -1;
    lua_Number ms = ceil(seconds * 1000);
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static int find_readable(const struct pollfd *fds, int count) {
    int first = 0;
    while (first < count && fds[first].revents == 0) first++;
    return first + 1;
}

/* The main program's state; NULL where Lua does not say, which is before 5.2. */
static lua_State *main_state(lua_State *L) {
#ifdef LUA_RIDX_MAINTHREAD
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main = lua_tothread(L, -1);
    lua_pop(L, 1);
    return main;
#else
    (void)L;
    return NULL;
#endif
}

/* Whether the main program is to be interrupted as soon as it goes on. The interpreter (whose mask
 * has lines from 5.4 on) and on_signal set the same hook, one that nobody wants for anything else.
 */
static bool is_interrupted(lua_State *L) {
    static const int whatever_comes = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;
    lua_State *main = main_state(L);
    return main && (lua_gethookmask(main) & whatever_comes) == whatever_comes &&
           lua_gethookcount(main) == 1;
}

/* core.interrupted() -> whether Ctrl-C was pressed, and the main program has yet to be told, by an
 * error, as soon as it goes on. */
static int core_interrupted(lua_State *L) {
    lua_pushboolean(L, is_interrupted(L));
    return 1;
}

/* poll() which a Ctrl-C ends even when it came just before: between the look at what is asked for
 * and the wait no signal is let through. */
static int poll_interruptibly(lua_State *L, struct pollfd *fds, int count, int timeout_ms) {
#ifdef __APPLE__ /* has no ppoll */
    if (is_interrupted(L)) return errno = EINTR, -1;
    return poll(fds, (nfds_t)count, timeout_ms);
#else
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int ready = -1, error = EINTR;
    if (!is_interrupted(L)) {
        ready = ppoll(fds, (nfds_t)count, timeout_ms < 0 ? NULL : &timeout, &before);
        error = errno;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return ready;
#endif
}

/* core.poll({ fd, ... }, timeout_s, interruptible) -> true and the place of the first one that is
 * readable, false when time is up, or nil, "EINTR" after a signal, so that Ctrl-C can be raised by
 * the interpreter. `interruptible`, for who waits in the main program's stead: also at once, where
 * the signal came before. */
static int core_poll(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int timeout_ms = read_timeout_ms(L, 2);
    bool interruptible = lua_toboolean(L, 3);
    int count = (int)lua_rawlen(L, 1);
    luaL_argcheck(L, count <= POLL_FDS_MAX, 1, "too many descriptors");
    struct pollfd *fds = lua_newuserdatauv(L, sizeof *fds * (size_t)(count > 0 ? count : 1), 0);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 1, i + 1);
        fds[i] = (struct pollfd){.fd = (int)luaL_checkinteger(L, -1), .events = POLLIN};
        lua_pop(L, 1);
    }
    int ready = interruptible ? poll_interruptibly(L, fds, count, timeout_ms)
                              : poll(fds, (nfds_t)count, timeout_ms);
    if (ready < 0) {
        lua_pushnil(L);
        lua_pushstring(L, errno == EINTR ? "EINTR" : "ESYSTEM");
        return 2;
    }
    lua_pushboolean(L, ready > 0);
    if (ready == 0) return 1;
    lua_pushinteger(L, find_readable(fds, count));
    return 2;
}

/* core.read(fd) -> the bytes that are there, without waiting: "" at the end of them; nil where
 * there are none yet. */
static int core_read(lua_State *L) {
    char bytes[READ_BYTES];
    struct pollfd at = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
    if (poll(&at, 1, 0) <= 0) return 0;
    ssize_t len = read(at.fd, bytes, sizeof bytes);
    if (len < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
    lua_pushlstring(L, bytes, len > 0 ? (size_t)len : 0);
    return 1;
}

/* ---- The terminal ---------------------------------------------------------------------------- */

/* core.terminal(fd) -> columns, lines of the terminal that it is, 0 where it does not say; nil when
 * it is none. */
static int core_terminal(lua_State *L) {
    struct winsize size;
    if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) < 0) return 0;
    lua_pushinteger(L, size.ws_col);
    lua_pushinteger(L, size.ws_row);
    return 2;
}

/* The terminal belongs to the process, and so does what it was like before single keys came. */
static struct {
    volatile sig_atomic_t raw;
    int fd;
    struct termios before;
} held;

static const int deadly[] = {SIGTERM, SIGHUP, SIGQUIT};
#define DEADLY ((int)(sizeof deadly / sizeof deadly[0]))
static struct sigaction before_us[sizeof deadly / sizeof deadly[0]];

/* Whether it marks what is pasted; one that does not know this passes over it. */
static void tell_terminal(const char *words) {
    ssize_t written = write(held.fd, words, strlen(words));
    (void)written;
}

static void give_back(void) {
    if (!held.raw) return;
    held.raw = 0;
    tell_terminal("\33[?2004l");
    tcsetattr(held.fd, TCSADRAIN, &held.before);
    for (int i = 0; i < DEADLY; i++) sigaction(deadly[i], &before_us[i], NULL);
}

/* The process ends, but nobody is to find a terminal that shows nothing of what he types. */
static void on_deadly(int number) {
    give_back();
    raise(number);
}

static void mind_the_end(void) {
    static bool registered;
    struct sigaction ours = {.sa_handler = on_deadly};
    sigemptyset(&ours.sa_mask);
    for (int i = 0; i < DEADLY; i++) sigaction(deadly[i], &ours, &before_us[i]);
    if (!registered) registered = atexit(give_back) == 0;
}

static int take_keys(int fd) {
    if (held.raw) return 0;
    if (tcgetattr(fd, &held.before) < 0) return -1;
    struct termios raw = held.before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    if (tcsetattr(fd, TCSADRAIN, &raw) < 0) return -1;
    held.fd = fd;
    held.raw = 1;
    tell_terminal("\33[?2004h");
    mind_the_end();
    return 0;
}

static int check_keyboard(lua_State *L) {
    return *(int *)luaL_checkudata(L, 1, KEYBOARD_CLASS);
}

static int report(lua_State *L, int rc) {
    if (rc < 0) return gate_lua_fail(L, GATE_ESYSTEM, "keyboard: %s", strerror(errno));
    lua_pushboolean(L, true);
    return 1;
}

/* keyboard:raw() -> true: each key comes as it is pressed, Ctrl-Z as well, and what is pasted is
 * marked; Ctrl-C stays a signal, and what is written keeps its line breaks. Or nil, message, code.
 */
static int keyboard_raw(lua_State *L) {
    return report(L, take_keys(check_keyboard(L)));
}

/* keyboard:close(): the terminal is as it was; raw() may be called again. Collection, the end of
 * the process and a signal that ends it do the same. */
static int keyboard_close(lua_State *L) {
    if (check_keyboard(L) == held.fd) give_back();
    return 0;
}

/* keyboard:suspend(): what Ctrl-Z does where it is no key; returns once the process goes on. */
static int keyboard_suspend(lua_State *L) {
    int fd = check_keyboard(L);
    bool raw = held.raw;
    give_back();
    raise(SIGTSTP);
    return report(L, raw ? take_keys(fd) : 0);
}

/* core.keyboard(fd) -> the keys of the terminal that it is; nil when it is none. */
static int core_keyboard(lua_State *L) {
    int fd = (int)luaL_checkinteger(L, 1);
    if (!isatty(fd)) return 0;
    int *keyboard = lua_newuserdatauv(L, sizeof *keyboard, 0);
    *keyboard = fd;
    luaL_setmetatable(L, KEYBOARD_CLASS);
    return 1;
}

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

static _Atomic(lua_State *) interruptible;

static void stop(lua_State *L, lua_Debug *at) {
    (void)at;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted!");
}

/* Why the prompt is gone. */
static void tell_end(void) {
    static const char words[] = "\nended: a listener did not return after a first Ctrl-C\n";
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
}

/* As the interpreter does it: the next thing that Lua does raises the error. lua_sethook may be
 * called from a signal handler. Where nothing has minded the last one the process ends: a listener
 * spins, in a coroutine that no signal finds. */
static void on_signal(int number) {
    lua_State *L = atomic_load(&interruptible);
    if (L && lua_gethook(L) == stop) {
        give_back();
        tell_end();
        signal(number, SIG_DFL);
        raise(number);
    }
    if (L) lua_sethook(L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static bool ends_with_stop(lua_State *L, int rc) {
    static const char words[] = "interrupted!";
    size_t len, count = sizeof words - 1;
    if (rc == LUA_OK || lua_type(L, -1) != LUA_TSTRING) return false;
    const char *text = lua_tolstring(L, -1, &len);
    return len >= count && memcmp(text + len - count, words, count) == 0;
}

/* Calls the function below `bottom` again while Ctrl-C ends it. */
static int call_again(lua_State *L, int bottom) {
    for (bool again = false;; again = true) {
        lua_pushvalue(L, bottom);
        lua_pushboolean(L, again);
        int rc = lua_pcall(L, 1, LUA_MULTRET, 0);
        if (!ends_with_stop(L, rc)) return rc;
        lua_settop(L, bottom);
    }
}

/* core.interruptible(fn) calls fn(false), and returns what pcall would; while fn runs, each Ctrl-C
 * raises "interrupted!" in it. Where that ends fn, it is called once more: fn(true). So there is no
 * moment at which Ctrl-C could do anything else. The interpreter itself raises it only once. */
static int core_interruptible(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    struct sigaction ours = {.sa_handler = on_signal}, before;
    sigemptyset(&ours.sa_mask);
    lua_State *outer = atomic_exchange(&interruptible, L);
    bool caught = sigaction(SIGINT, &ours, &before) == 0;
    int rc = call_again(L, 1);
    if (caught) sigaction(SIGINT, &before, NULL);
    atomic_store(&interruptible, outer);
    if (lua_gethook(L) == stop) lua_sethook(L, NULL, 0, 0); /* it came too late */
    lua_pushboolean(L, rc == LUA_OK);
    lua_replace(L, 1);
    return lua_gettop(L);
}

void gate_lua_terminal_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"raw", keyboard_raw},
                                       {"close", keyboard_close},
                                       {"suspend", keyboard_suspend},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", keyboard_close}, {"__close", keyboard_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"poll", core_poll},
                                         {"interrupted", core_interrupted},
                                         {"read", core_read},
                                         {"terminal", core_terminal},
                                         {"keyboard", core_keyboard},
                                         {"interruptible", core_interruptible},
                                         {NULL, NULL}};
    gate_lua_register(L, KEYBOARD_CLASS, methods, meta, NULL);
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}

/* stall.c - a resolver that stalls, for resolver_stall_spec.lua: preloaded into a process of its
 * own, it makes getaddrinfo sleep for three seconds on names that end in ".stall.test", which then
 * turn out to be this machine. Other names go on to the C library. Never installed. */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <time.h>

#define STALL_SECONDS 3

typedef int resolve_function(const char *, const char *, const struct addrinfo *,
                             struct addrinfo **);

static int is_stalled(const char *node) {
    static const char ending[] = ".stall.test";
    size_t len = node ? strlen(node) : 0;
    return len >= sizeof ending && strcmp(node + len - (sizeof ending - 1), ending) == 0;
}

static void sleep_on(void) {
    struct timespec left = {.tv_sec = STALL_SECONDS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found) {
    resolve_function *next;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&next, &symbol, sizeof next);
    if (!is_stalled(node)) return next(node, service, hints, found);
    sleep_on();
    return next("127.0.0.1", service, hints, found);
}

/* stall.c - a system that stalls, preloaded into a process of its own; never installed.
 *
 * For resolver_stall_spec.lua it makes getaddrinfo sleep for three seconds on names that end in
 * ".stall.test", which then turn out to be this machine. Other names go on to the C library.
 *
 * For asleep_spec.lua the machine has slept for a minute as soon as the file exists that
 * $MOONGATE_ASLEEP names: the clock that counts sleep is ahead by that from then on. */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STALL_SECONDS 3
#define SLEPT_SECONDS 60

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

#ifdef CLOCK_BOOTTIME
static int has_slept(void) {
    const char *file = getenv("MOONGATE_ASLEEP");
    return file && access(file, F_OK) == 0;
}

/* By the kernel itself: a sanitizer asks for the time while dlsym is not to be had. */
int clock_gettime(clockid_t clock, struct timespec *at) {
    int rc = (int)syscall(SYS_clock_gettime, clock, at);
    if (rc == 0 && clock == CLOCK_BOOTTIME && has_slept()) at->tv_sec += SLEPT_SECONDS;
    return rc;
}
#endif

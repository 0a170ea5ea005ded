/* file.c - see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096

static int write_all(int descriptor, struct gate_span bytes) {
    while (bytes.len > 0) {
        ssize_t written = write(descriptor, bytes.data, bytes.len);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return GATE_ESYSTEM;
        bytes.data += written;
        bytes.len -= (size_t)written;
    }
    return GATE_OK;
}

/* Closes, keeping the errno of what failed before. */
static void close_quietly(int descriptor) {
    int before = errno;
    close(descriptor);
    errno = before;
}

/* A rename is on the disk only when its folder is. A file system that cannot do that is as good as
 * it gets, so the result is not looked at. */
static void sync_folder_of(const char *path) {
    char folder[PATH_BYTES_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    memcpy(folder, path, len);
    snprintf(folder + len, sizeof folder - len, ".");
    int descriptor = open(folder, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return;
    fsync(descriptor);
    close(descriptor);
}

static int write_aside(const char *aside, struct gate_span bytes, const char **step) {
    *step = "open";
    int descriptor = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0) return GATE_ESYSTEM;
    *step = "write";
    int rc = write_all(descriptor, bytes);
    if (rc == GATE_OK) {
        *step = "sync";
        rc = fsync(descriptor) == 0 ? GATE_OK : GATE_ESYSTEM;
    }
    close_quietly(descriptor);
    return rc;
}

/* What a rename would replace: the file behind a link, not the link, and nothing but a file. A
 * device that is gone would be missed by everybody. */
static const char *find_target(const char *path, char target[PATH_BYTES_MAX]) {
    struct stat there;
    if (stat(path, &there) < 0) return path;
    if (!S_ISREG(there.st_mode)) {
        errno = S_ISDIR(there.st_mode) ? EISDIR : EINVAL;
        return NULL;
    }
    if (lstat(path, &there) == 0 && S_ISLNK(there.st_mode)) return realpath(path, target);
    return path;
}

int gate_file_replace(const char *path, struct gate_span bytes, const char **step) {
    char aside[PATH_BYTES_MAX], target[PATH_BYTES_MAX];
    *step = "replace";
    path = find_target(path, target);
    if (!path) return GATE_ESYSTEM;
    *step = "open";
    int len = snprintf(aside, sizeof aside, "%s.%ld.new", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof aside) return GATE_EVALUE;
    int rc = write_aside(aside, bytes, step);
    if (rc == GATE_OK) {
        *step = "rename";
        rc = rename(aside, path) == 0 ? GATE_OK : GATE_ESYSTEM;
    }
    if (rc == GATE_OK) {
        sync_folder_of(path);
        return GATE_OK;
    }
    int before = errno;
    unlink(aside);
    errno = before;
    return rc;
}

int gate_file_lock(const char *path, int timeout_ms) {
    struct timespec pause = {.tv_nsec = 1000000};
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0) return GATE_ESYSTEM;
    for (int waited_ms = 0;; waited_ms++) {
        if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
        bool held = errno == EWOULDBLOCK;
        if (!held && errno != EINTR) {
            close_quietly(descriptor);
            return GATE_ESYSTEM;
        }
        if (held && waited_ms >= timeout_ms) break;
        nanosleep(&pause, NULL);
    }
    close(descriptor);
    return GATE_EBUSY;
}

void gate_file_unlock(int descriptor) {
    close(descriptor);
}

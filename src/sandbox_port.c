/* sandbox_port.c - see sandbox_port.h. A dead host keeps its port bound without listening: the
 * system refuses its clients, and nobody else can take the number meanwhile. */
#include "sandbox_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox_loop.h"
#include "sandbox_state.h"
#include "sandbox_turn.h"

#define BACKLOG 1024 /* thousands of shards may come at once */

/* Loopback only: a sandbox is nobody else's business. The descriptor, or -1 with errno. */
static int bind_port(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    address.sin_port = htons((uint16_t)*port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
        fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_port(int *port) {
    int fd = bind_port(port);
    if (fd < 0 || listen(fd, BACKLOG) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

bool gate_port_open(struct gate_sandbox *sandbox) {
    sandbox->port = sandbox->options.port;
    sandbox->fd = open_port(&sandbox->port);
    if (sandbox->fd < 0) return false;
    sandbox->resume_port = sandbox->port;
    if (!sandbox->options.resume_host) return true;
    sandbox->resume_port = 0;
    sandbox->resume_fd = open_port(&sandbox->resume_port);
    sandbox->resume_alive = sandbox->resume_wanted = true;
    if (sandbox->resume_fd >= 0) return true;
    int error = errno;
    gate_port_close(sandbox);
    errno = error;
    return false;
}

void gate_port_tick(struct gate_sandbox *sandbox) {
    if (sandbox->resume_alive == sandbox->resume_wanted) return;
    sandbox->resume_alive = sandbox->resume_wanted;
    gate_turn_leave(&sandbox->resume_watch);
    if (sandbox->resume_fd >= 0) close(sandbox->resume_fd);
    int *port = &sandbox->resume_port;
    sandbox->resume_fd = sandbox->resume_wanted ? open_port(port) : bind_port(port);
    if (sandbox->resume_fd < 0)
        gate_sandbox_log(sandbox, NULL, "resume host", "port %d: %s", *port, strerror(errno));
    gate_loop_changed();
}

void gate_port_close(struct gate_sandbox *sandbox) {
    gate_turn_leave(&sandbox->watch);
    gate_turn_leave(&sandbox->resume_watch);
    if (sandbox->fd >= 0) close(sandbox->fd);
    if (sandbox->resume_fd >= 0) close(sandbox->resume_fd);
    sandbox->fd = sandbox->resume_fd = -1;
}

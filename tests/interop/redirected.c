// Stands for a kernel that redirects connections to a sidecar: who accepts one at a port that the
// environment names is told where it was meant to go. Preloaded into Envoy, so that its tests need
// neither rights nor rules of a firewall.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ORIGINAL_DESTINATION 80 // SO_ORIGINAL_DST

// `REDIRECTED_15006=9080`: what came in at port 15006 was for port 9080 of this machine.
static int meant_for(int fd) {
    struct sockaddr_storage local;
    socklen_t length = sizeof local;
    if (getsockname(fd, (struct sockaddr *)&local, &length) != 0 || local.ss_family != AF_INET) {
        return 0;
    }
    char name[32];
    snprintf(name, sizeof name, "REDIRECTED_%d",
             ntohs(((struct sockaddr_in *)&local)->sin_port));
    const char *port = getenv(name);
    return port ? atoi(port) : 0;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    int port = level == SOL_IP && name == ORIGINAL_DESTINATION ? meant_for(fd) : 0;
    if (port == 0 || *length < sizeof(struct sockaddr_in)) {
        return (int)syscall(SYS_getsockopt, fd, level, name, value, length);
    }
    struct sockaddr_in meant = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    meant.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(value, &meant, sizeof meant);
    *length = sizeof meant;
    return 0;
}

#include "link/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fail.h"
#include "link/endpoint.h"

char *address_of(const char *endpoint)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *name = endpoint_name(endpoint);
    char abstract[sizeof "ipc://@simclr-4294967295-" + ENDPOINT_NAME_MAX];
    if (name) {
        const size_t length = strlen(name);
        if (length == 0 || length > ENDPOINT_NAME_MAX || strspn(name, letters) != length)
            return fail_null("%s: the name must have 1 to %d letters, digits, '.', '_' or '-'",
                             endpoint, ENDPOINT_NAME_MAX);
        snprintf(abstract, sizeof abstract, "ipc://@simclr-%ju-%s", (uintmax_t)geteuid(), name);
    }
    char *address = strdup(name ? abstract : endpoint);
    if (!address)
        fail_memory(endpoint);
    return address;
}

int address_check_path(const char *endpoint)
{
    const char *path = endpoint + strlen("ipc://");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    if (strncmp(endpoint, "ipc://", strlen("ipc://")) || *path == '@' || lstat(path, &status))
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return fail("%s: a file that is no socket is in the way", endpoint);
    if (strlen(path) >= sizeof address.sun_path)
        return 0; /* libzmq reports it */
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail("%s: %s", endpoint, strerror(errno));
    int used = !connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    return used ? fail("%s: Address already in use", endpoint) : 0;
}

int address_numeric(const char *endpoint, char *numeric, size_t size)
{
    char host[256], address[INET_ADDRSTRLEN];
    const char *at = endpoint + strlen("tcp://"), *colon = strrchr(at, ':');
    const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (!colon || (size_t)(colon - at) >= sizeof host)
        return fail("%s: no host and port", endpoint);
    snprintf(host, sizeof host, "%.*s", (int)(colon - at), at);
    if (strlen(colon) > 16 || getaddrinfo(host, NULL, &wanted, &found))
        return fail("%s: there is no device or host %s", endpoint, host);
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)found->ai_addr;
    inet_ntop(AF_INET, &in->sin_addr, address, sizeof address);
    freeaddrinfo(found);
    snprintf(numeric, size, "tcp://%s%s", address, colon);
    return 0;
}

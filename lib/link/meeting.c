#include "link/meeting.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/grow.h"
#include "link/shared_memory.h"

static const char prefix[] = "simclr1:"; /* of tokens; says the version of the protocol */
enum { PREFIX = sizeof prefix - 1, WAITING = 128 };

struct guest {
    unsigned char token[MEETING_TOKEN];
    int channel; /* its borrower's */
    struct borrower *borrower;
};

struct meeting {
    int fd;
    size_t limit;
    struct guest *guests;
    int64_t capacity;
    int n;
};

/* Sets the address of the abstract socket beside an ipc socket. Returns its size, or 0 if there is no
 * file. */
static socklen_t name(const char *endpoint, struct sockaddr_un *address)
{
    struct stat status;
    const char *path = endpoint + strlen("ipc://");
    if (strncmp(endpoint, "ipc://", strlen("ipc://")) != 0 || stat(path, &status) ||
        !S_ISSOCK(status.st_mode))
        return 0;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    const int n =
        snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "simclr-memory-1-%jx-%jx",
                 (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int meeting_connect(const char *endpoint, unsigned char *token)
{
    struct sockaddr_un address;
    const socklen_t size = name(endpoint, &address);
    if (size == 0)
        return -1;
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    memcpy(token, prefix, PREFIX);
    if (!connect(fd, (struct sockaddr *)&address, size) && shared_memory_trusts(fd) &&
        getrandom(token + PREFIX, MEETING_TOKEN - PREFIX, 0) == MEETING_TOKEN - PREFIX &&
        !shared_memory_send(fd, token, MEETING_TOKEN, -1))
        return fd;
    close(fd);
    return -1;
}

struct meeting *meeting_open(const char *endpoint, size_t limit)
{
    struct sockaddr_un address;
    const socklen_t size = name(endpoint, &address);
    struct meeting *m = size ? calloc(1, sizeof *m) : NULL;
    if (!m)
        return NULL;
    m->limit = limit;
    m->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (m->fd >= 0 && !bind(m->fd, (struct sockaddr *)&address, size) && !listen(m->fd, WAITING))
        return m;
    meeting_close(m);
    return NULL;
}

void meeting_close(struct meeting *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n; i++)
        borrower_free(m->guests[i].borrower);
    if (m->fd >= 0)
        close(m->fd);
    free(m->guests);
    free(m);
}

/* Lets in one who has connected: the owner of this channel, if its first message is a token. */
static void admit(struct meeting *m, int channel)
{
    struct guest guest = {.channel = channel};
    struct guest *guests = grow(m->guests, m->n, &m->capacity, sizeof *guests);
    if (guests)
        m->guests = guests;
    if (!guests || !shared_memory_trusts(channel) ||
        shared_memory_receive(channel, guest.token, MEETING_TOKEN, NULL) != SHARED_MEMORY_MESSAGE ||
        memcmp(guest.token, prefix, PREFIX) != 0 ||
        !(guest.borrower = borrower_new(channel, m->limit)))
        close(channel);
    else
        guests[m->n++] = guest;
}

static struct borrower *look_up(const struct meeting *m, const unsigned char *token)
{
    for (int i = 0; i < m->n; i++)
        if (!memcmp(m->guests[i].token, token, MEETING_TOKEN))
            return m->guests[i].borrower;
    return NULL;
}

struct borrower *meeting_find(struct meeting *m, const unsigned char *token, size_t n)
{
    if (n != MEETING_TOKEN || memcmp(token, prefix, PREFIX) != 0)
        return NULL;
    struct borrower *found = look_up(m, token);
    for (int i = 0; !found && i < WAITING; i++) {
        const int channel = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (channel < 0)
            break;
        admit(m, channel);
        found = look_up(m, token);
    }
    return found;
}

void meeting_sweep(struct meeting *m)
{
    for (int i = 0; i < m->n; i++) {
        char byte;
        if (recv(m->guests[i].channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
            continue;
        borrower_free(m->guests[i].borrower);
        m->guests[i--] = m->guests[--m->n];
    }
}

#include "link/meeting.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/grow.h"
#include "link/endpoint.h"
#include "link/shared_memory.h"

static const char prefix[] = "simclr1:"; /* of tokens; says the version of the protocol */
enum { PREFIX = sizeof prefix - 1, WAITING = 128 };

struct guest {
    int channel;
    struct borrower *borrower; /* owns the channel; NULL until the token has come */
    unsigned char token[MEETING_TOKEN];
};

struct meeting {
    int fd;
    size_t limit;
    struct guest *guests;
    int64_t capacity;
    int n;
};

/* Sets the address of the abstract socket beside a ZeroMQ socket. Returns its size, or 0 if there is
 * none. */
static socklen_t address_beside(const char *endpoint, struct sockaddr_un *address)
{
    char text[sizeof address->sun_path];
    struct stat status;
    const char *name = endpoint_name(endpoint), *path = endpoint + strlen("ipc://");
    if (name)
        snprintf(text, sizeof text, "simclr-shm-1-%ju-%s", (uintmax_t)geteuid(), name);
    else if (!strncmp(endpoint, "ipc://", strlen("ipc://")) && !stat(path, &status) &&
             S_ISSOCK(status.st_mode))
        snprintf(text, sizeof text, "simclr-memory-1-%jx-%jx", (uintmax_t)status.st_dev,
                 (uintmax_t)status.st_ino);
    else
        return 0;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, text, strlen(text)); /* a first byte of 0 makes it abstract */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text));
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Connects the channel and sends the token. */
static enum meeting_result introduce(int channel, const struct sockaddr_un *address, socklen_t size,
                                     unsigned char *token)
{
    if (connect(channel, (const struct sockaddr *)address, size)) {
        if (errno == ECONNREFUSED)
            return MEETING_NONE;
        if (errno == EAGAIN)
            return MEETING_LATER;
        fail("shared memory: %s", strerror(errno));
        return MEETING_FAILED;
    }
    if (!shared_memory_trusts(channel)) {
        fail("shared memory: a process of another user listens in its place");
        return MEETING_FAILED;
    }
    memcpy(token, prefix, PREFIX);
    if (getrandom(token + PREFIX, MEETING_TOKEN - PREFIX, 0) != MEETING_TOKEN - PREFIX) {
        fail("getrandom: %s", strerror(errno));
        return MEETING_FAILED;
    }
    return shared_memory_send(channel, token, MEETING_TOKEN, -1) ? MEETING_FAILED : MEETING_CHANNEL;
}

enum meeting_result meeting_connect(const char *endpoint, int *channel, unsigned char *token)
{
    struct sockaddr_un address;
    const socklen_t size = address_beside(endpoint, &address);
    if (size == 0)
        return MEETING_NONE;
    *channel = new_socket();
    if (*channel < 0) {
        fail("shared memory: %s", strerror(errno));
        return MEETING_FAILED;
    }
    const enum meeting_result result = introduce(*channel, &address, size, token);
    if (result != MEETING_CHANNEL)
        close(*channel);
    return result;
}

struct meeting *meeting_open(const char *endpoint, size_t limit)
{
    struct sockaddr_un address;
    const socklen_t size = address_beside(endpoint, &address);
    struct meeting *m = calloc(1, sizeof *m);
    if (!m) {
        fail_memory(endpoint);
        return NULL;
    }
    m->limit = limit;
    m->fd = size ? new_socket() : -1;
    if (m->fd >= 0 && !bind(m->fd, (struct sockaddr *)&address, size) && !listen(m->fd, WAITING))
        return m;
    fail("%s: the socket for shared memory: %s", endpoint,
         size ? strerror(errno) : "its place is not known");
    meeting_close(m);
    return NULL;
}

static void hang_up(struct guest *guest)
{
    if (guest->borrower)
        borrower_free(guest->borrower);
    else
        close(guest->channel);
}

void meeting_close(struct meeting *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n; i++)
        hang_up(&m->guests[i]);
    if (m->fd >= 0)
        close(m->fd);
    free(m->guests);
    free(m);
}

void meeting_welcome(struct meeting *m)
{
    for (int i = 0; i < WAITING; i++) {
        const int channel = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (channel < 0)
            return;
        struct guest *guests = grow(m->guests, m->n, &m->capacity, sizeof *guests);
        if (guests)
            m->guests = guests;
        if (guests && shared_memory_trusts(channel))
            guests[m->n++] = (struct guest){.channel = channel};
        else
            close(channel);
    }
}

/* Reads the token of a guest if it has come. Returns -1 if it is none. */
static int read_token(const struct meeting *m, struct guest *guest)
{
    switch (shared_memory_receive(guest->channel, guest->token, MEETING_TOKEN, NULL)) {
    case SHARED_MEMORY_NOTHING:
        return 0;
    case SHARED_MEMORY_MESSAGE:
        if (!memcmp(guest->token, prefix, PREFIX) &&
            (guest->borrower = borrower_new(guest->channel, m->limit)))
            return 0;
        break;
    case SHARED_MEMORY_FAILED:
        break;
    }
    return -1;
}

static struct borrower *look_up(struct meeting *m, const unsigned char *token)
{
    for (int i = 0; i < m->n; i++) {
        struct guest *guest = &m->guests[i];
        if (!guest->borrower && read_token(m, guest)) {
            hang_up(guest);
            m->guests[i--] = m->guests[--m->n];
        } else if (guest->borrower && !memcmp(guest->token, token, MEETING_TOKEN))
            return guest->borrower;
    }
    return NULL;
}

struct borrower *meeting_find(struct meeting *m, const unsigned char *token, size_t n)
{
    if (n != MEETING_TOKEN || memcmp(token, prefix, PREFIX) != 0)
        return NULL;
    struct borrower *found = look_up(m, token);
    if (!found) {
        meeting_welcome(m);
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
        hang_up(&m->guests[i]);
        m->guests[i--] = m->guests[--m->n];
    }
}

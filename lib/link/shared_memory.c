#include "link/shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"

bool shared_memory_wanted(const struct link_config *config)
{
    const char *value = getenv("SIMCLR_SHARED_MEMORY");
    return !config->no_shared_memory && !(value && !strcmp(value, "0"));
}

int shared_memory_channel(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)
               ? fail("socketpair: %s", strerror(errno))
               : 0;
}

#if defined(__linux__) && defined(MFD_ALLOW_SEALING)

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int shared_memory_same_user(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ? -1 : peer.uid == geteuid();
}

bool shared_memory_trusts(int fd)
{
    int type;
    socklen_t size = sizeof type;
    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_SEQPACKET &&
           shared_memory_same_user(fd) == 1;
}

/* Seals without which a segment could change its size, or the seals their meaning. */
enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static int map(int fd, size_t size, unsigned char **bytes)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return fail("shared memory of %zu bytes can't be mapped: %s", size, strerror(errno));
    *bytes = at;
    return 0;
}

int shared_memory_make(size_t size, unsigned char **bytes, int *fd)
{
    const char *name = "simclr";
    *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (*fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return fail("memfd_create: %s", strerror(errno));
    /* Without memory this fails here, not with SIGBUS when the pages are used. */
    if (size == 0 || size > INT64_MAX || fallocate(*fd, 0, 0, (off_t)size) ||
        fcntl(*fd, F_ADD_SEALS, SEALS))
        fail("shared memory of %zu bytes can't be made: %s", size, strerror(errno));
    else if (!map(*fd, size, bytes))
        return 0;
    close(*fd);
    *fd = -1;
    return -1;
}

int shared_memory_map(int fd, size_t limit, unsigned char **bytes, size_t *size)
{
    struct stat status;
    const int seals = fcntl(fd, F_GET_SEALS); /* fails for anything but a memfd */
    if (seals < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode))
        return fail("a descriptor came that is no shared memory");
    if ((seals & SEALS) != SEALS)
        return fail("shared memory came whose size is not sealed");
    if (status.st_size <= 0 || (uint64_t)status.st_size > limit)
        return fail("shared memory of %lld bytes came, where the limit is %zu (--max-frame)",
                    (long long)status.st_size, limit);
    *size = (size_t)status.st_size;
    return map(fd, *size, bytes);
}

void shared_memory_empty(unsigned char *bytes, size_t size)
{
    madvise(bytes, size, MADV_REMOVE);
}

void shared_memory_unmap(unsigned char *bytes, size_t size)
{
    munmap(bytes, size);
}

#else

int shared_memory_same_user(int fd)
{
    (void)fd;
    return -1;
}

bool shared_memory_trusts(int fd)
{
    (void)fd;
    return false;
}

int shared_memory_make(size_t size, unsigned char **bytes, int *fd)
{
    (void)size;
    (void)bytes;
    *fd = -1;
    return fail("this system has no memory to share");
}

int shared_memory_map(int fd, size_t limit, unsigned char **bytes, size_t *size)
{
    (void)fd;
    (void)limit;
    (void)bytes;
    *size = 0;
    return fail("this system has no memory to share");
}

void shared_memory_empty(unsigned char *bytes, size_t size)
{
    (void)bytes;
    (void)size;
}

void shared_memory_unmap(unsigned char *bytes, size_t size)
{
    (void)bytes;
    (void)size;
}

#endif

/* Room for the descriptors of a message, aligned as their header. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int shared_memory_send(int channel, const void *message, size_t n, int fd)
{
    struct iovec part = {(void *)(uintptr_t)message, n};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};
    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    const ssize_t sent = sendmsg(channel, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent == (ssize_t)n ? 0 : fail("shared memory can't be handed over: %s", strerror(errno));
}

/* Takes the descriptor out of a message, and closes others. Returns -1 if there is none. */
static int take_descriptor(struct msghdr *m)
{
    int fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof fd;
        for (size_t i = 0; i < n; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (fd < 0)
                fd = one;
            else
                close(one);
        }
    }
    return fd;
}

enum shared_memory_result shared_memory_receive(int channel, void *message, size_t n, int *fd)
{
    struct iovec part = {message, n};
    union control control;
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(channel, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == ECONNRESET) /* told once; what came before can still be read */
        got = recvmsg(channel, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return SHARED_MEMORY_NOTHING;
    if (got < 0) {
        fail("shared memory: %s", strerror(errno));
        return SHARED_MEMORY_FAILED;
    }
    const int one = take_descriptor(&m);
    if (fd)
        *fd = one;
    else if (one >= 0)
        close(one);
    if (got == (ssize_t)n && !(m.msg_flags & MSG_TRUNC) && (fd || one < 0))
        return SHARED_MEMORY_MESSAGE;
    if (fd && one >= 0)
        close(one);
    fail(got ? "shared memory: a message that makes no sense" : "shared memory: the peer is gone");
    return SHARED_MEMORY_FAILED;
}

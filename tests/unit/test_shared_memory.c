/* Tests of shared memory on links: what two processes pass to each other, and what a peer that
 * breaks the rules can do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fail.h"
#include "frame/frame_io.h"
#include "link/borrower.h"
#include "link/lender.h"
#include "link/meeting.h"
#include "link/shared_memory.h"
#include <cmocka.h>

enum { COUNT = 20000, SIZE = 4 * COUNT, LIMIT = 1 << 24 };

static void assert_message(const char *part)
{
    if (!strstr(fail_message(), part))
        fail_msg("the message is '%s', which lacks '%s'", fail_message(), part);
}

static int count_descriptors(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

/* Returns a segment or NULL, if there was no failure. */
static struct frame_memory *take(struct lender *l, size_t size)
{
    struct frame_memory *memory;
    assert_int_equal(lender_take(l, size, &memory), 0);
    return memory;
}

/* ---- segments ---- */

static int unsealed(size_t size, int seals)
{
    const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    if (seals)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void assert_refused(int fd, size_t limit, const char *why)
{
    unsigned char *bytes;
    size_t size;
    assert_int_equal(shared_memory_map(fd, limit, &bytes, &size), -1);
    assert_message(why);
    close(fd);
}

static void test_a_segment_is_mapped_twice_and_keeps_its_size(void **state)
{
    (void)state;
    unsigned char *a, *b;
    size_t size;
    int fd;
    assert_int_equal(shared_memory_make(SIZE, &a, &fd), 0);
    assert_int_equal(shared_memory_map(fd, SIZE, &b, &size), 0);
    assert_int_equal(size, SIZE);
    a[SIZE - 1] = 7;
    assert_int_equal(b[SIZE - 1], 7);
    assert_int_equal(ftruncate(fd, 0), -1); /* a peer could kill this process with SIGBUS */
    assert_int_equal(ftruncate(fd, 2 * SIZE), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
    shared_memory_unmap(a, SIZE);
    shared_memory_unmap(b, SIZE);
}

static void test_what_is_no_sealed_memfd_is_refused(void **state)
{
    (void)state;
    const int size = F_SEAL_SHRINK | F_SEAL_GROW;
    assert_refused(unsealed(SIZE, 0), LIMIT, "whose size is not sealed");
    assert_refused(unsealed(SIZE, F_SEAL_SHRINK | F_SEAL_SEAL), LIMIT, "whose size is not sealed");
    assert_refused(unsealed(SIZE, F_SEAL_GROW | F_SEAL_SEAL), LIMIT, "whose size is not sealed");
    assert_refused(unsealed(SIZE, size), LIMIT, "whose size is not sealed");
    assert_refused(unsealed(SIZE, size | F_SEAL_SEAL), SIZE - 1, "where the limit is 79999");
    assert_refused(unsealed(0, size | F_SEAL_SEAL), LIMIT, "shared memory of 0 bytes");
    assert_refused(unsealed(SIZE, size | F_SEAL_SEAL | F_SEAL_WRITE), LIMIT, "can't be mapped");
    assert_refused(open("/dev/zero", O_RDWR), LIMIT, "no shared memory");
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), SIZE), 0);
    assert_refused(dup(fileno(file)), LIMIT, "shared memory"); /* on tmpfs it has seals, too few */
    fclose(file);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[1]);
    assert_refused(ends[0], LIMIT, "no shared memory");
}

/* ---- the channel ---- */

static void test_messages_that_make_no_sense_leave_no_descriptor(void **state)
{
    (void)state;
    int ends[2], fd;
    char message[8];
    assert_int_equal(shared_memory_channel(ends), 0);
    const int before = count_descriptors();
    assert_int_equal(shared_memory_receive(ends[1], message, 8, &fd), SHARED_MEMORY_NOTHING);
    assert_int_equal(shared_memory_send(ends[0], "12345678", 8, 0), 0);
    assert_int_equal(shared_memory_receive(ends[1], message, 8, NULL), SHARED_MEMORY_FAILED);
    assert_int_equal(shared_memory_send(ends[0], "1234", 4, 0), 0);
    assert_int_equal(shared_memory_receive(ends[1], message, 8, &fd), SHARED_MEMORY_FAILED);
    assert_int_equal(shared_memory_send(ends[0], "123456789", 9, 0), 0);
    assert_int_equal(shared_memory_receive(ends[1], message, 8, &fd), SHARED_MEMORY_FAILED);
    assert_message("makes no sense");
    assert_int_equal(shared_memory_send(ends[0], "12345678", 8, -1), 0);
    assert_int_equal(shared_memory_receive(ends[1], message, 8, &fd), SHARED_MEMORY_MESSAGE);
    assert_int_equal(fd, -1);

    /* two descriptors in one message: the first is taken, the other is closed */
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec part = {message, 8};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), (const int[]){0, 0}, 2 * sizeof(int));
    assert_int_equal(sendmsg(ends[0], &m, 0), 8);
    assert_int_equal(shared_memory_receive(ends[1], message, 8, &fd), SHARED_MEMORY_MESSAGE);
    assert_true(fd > 2);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    assert_int_equal(count_descriptors(), before);
    close(ends[0]);
    assert_int_equal(shared_memory_receive(ends[1], message, 8, &fd), SHARED_MEMORY_FAILED);
    assert_message("the peer is gone");
    close(ends[1]);
}

/* ---- who takes an offer ---- */

/* Calls borrower_open() with the pipes as stdin and stdout. */
static struct borrower *open_with(const char *offer, int in, int out)
{
    const int input = dup(0), output = dup(1);
    assert_true(input >= 0 && output >= 0);
    fflush(stdout);
    assert_true(dup2(in, 0) == 0 && dup2(out, 1) == 1);
    setenv(BORROWER_VARIABLE, offer, 1);
    struct borrower *b = borrower_open(LIMIT);
    assert_true(dup2(input, 0) == 0 && dup2(output, 1) == 1);
    close(input);
    close(output);
    assert_null(getenv(BORROWER_VARIABLE)); /* no command of this program may take it for its own */
    return b;
}

static void test_only_the_two_ends_of_the_offered_pipes_share(void **state)
{
    (void)state;
    const int before = count_descriptors();
    int to[2], from[2], other[2], ends[2];
    char offer[BORROWER_TEXT], wrong[2 * BORROWER_TEXT];
    assert_true(!pipe(to) && !pipe(from) && !pipe(other));
    assert_int_equal(shared_memory_channel(ends), 0);
    assert_int_equal(borrower_describe(offer, ends[1], to[0], from[1]), 0);
    assert_null(open_with(offer, other[0], from[1])); /* tee FILE | lars */
    assert_null(open_with(offer, to[0], other[1]));   /* lars | tee FILE */
    assert_null(open_with("", to[0], from[1]));
    assert_null(open_with("0", to[0], from[1]));
    snprintf(wrong, sizeof wrong, "%s0", offer);
    assert_null(open_with(wrong, to[0], from[1]));
    assert_int_equal(borrower_describe(wrong, other[0], to[0], from[1]), 0);
    assert_null(open_with(wrong, to[0], from[1])); /* the channel is no socket */
    assert_int_equal(borrower_describe(wrong, 9999, to[0], from[1]), 0);
    assert_null(open_with(wrong, to[0], from[1]));
    assert_int_equal(borrower_describe(wrong, 9999, ends[0], from[1]), -1); /* not pipes */

    struct lender *l = lender_new(ends[0], LIMIT, false);
    assert_false(lender_is_open(l));
    assert_null(take(l, SIZE));
    struct borrower *b = open_with(offer, to[0], from[1]);
    assert_non_null(b);
    assert_true(lender_is_open(l));
    lender_free(l);
    borrower_free(b);
    for (int i = 0; i < 2; i++) {
        close(to[i]);
        close(from[i]);
        close(other[i]);
    }
    assert_int_equal(count_descriptors(), before);
}

/* ---- frames ---- */

/* Both sides of a link, with their readers. */
struct pair {
    int to[2], from[2], channel; /* channel: the client's end, or -1 when the lender owns it */
    struct lender *lender;
    struct borrower *borrower;
    struct frame_reader *requests, *replies;
};

static struct pair open_pair(void)
{
    struct pair p;
    int ends[2];
    char offer[BORROWER_TEXT];
    assert_true(!pipe(p.to) && !pipe(p.from));
    assert_int_equal(shared_memory_channel(ends), 0);
    assert_int_equal(borrower_describe(offer, ends[1], p.to[0], p.from[1]), 0);
    p.channel = dup(ends[0]); /* to send what a lender never would */
    p.lender = lender_new(ends[0], LIMIT, false);
    p.borrower = open_with(offer, p.to[0], p.from[1]);
    assert_non_null(p.borrower);
    p.requests = frame_reader_new(LIMIT, "requests");
    p.replies = frame_reader_new(LIMIT, "replies");
    struct frame_finder finder = borrower_finder(p.borrower);
    frame_reader_share(p.requests, &finder);
    finder = lender_finder(p.lender);
    frame_reader_share(p.replies, &finder);
    return p;
}

static void close_pair(struct pair *p)
{
    lender_free(p->lender);
    borrower_free(p->borrower);
    frame_reader_free(p->requests);
    frame_reader_free(p->replies);
    close(p->channel);
    for (int i = 0; i < 2; i++) {
        close(p->to[i]);
        close(p->from[i]);
    }
}

static const struct tensor_spec specs[] = {{"x", DTYPE_F32, 1, {COUNT}}, {"y", DTYPE_I64, 1, {4}}};
enum { WHOLE = SIZE + 32 };

static void send_header(struct frame *f, int fd)
{
    const unsigned char *bytes;
    size_t size;
    assert_int_equal(frame_seal_header(f, true, &bytes, &size), 0);
    assert_int_equal(write(fd, bytes, size), size);
    frame_free(f);
}

/* Returns the next frame, or NULL if the reader refused it. */
static struct frame *receive(struct frame_reader *r, int fd)
{
    struct frame *f = NULL;
    enum frame_reader_state state;
    while ((state = frame_reader_step(r, fd, &f)) == FRAME_READER_MORE)
        ;
    return state == FRAME_READER_FRAME ? f : NULL;
}

/* Sends a request in which x is `value` everywhere, and y is 0, 1, 2, 3. */
static void ask(const struct pair *p, float value)
{
    struct frame_memory *memory = take(p->lender, WHOLE);
    assert_non_null(memory);
    struct frame *f = frame_new_in(memory, specs, 2);
    assert_non_null(f);
    float *x = frame_find(f, "x")->data;
    int64_t *y = frame_find(f, "y")->data;
    for (int i = 0; i < COUNT; i++)
        x[i] = value;
    for (int i = 0; i < 4; i++)
        y[i] = i;
    assert_int_equal(lender_lend(p->lender, f), 0);
    send_header(f, p->to[1]);
}

static void test_data_is_read_and_answered_where_it_lies(void **state)
{
    (void)state;
    const int before = count_descriptors();
    struct pair p = open_pair();
    for (int round = 0; round < 100; round++) {
        ask(&p, (float)round);
        struct frame *f = receive(p.requests, p.to[0]);
        assert_non_null(f);
        const int64_t place = borrower_latest(p.borrower);
        assert_int_equal(place, 0); /* the same segment in each round */
        float *x = frame_find(f, "x")->data;
        int64_t *y = frame_find(f, "y")->data;
        assert_true(x[0] == (float)round && x[COUNT - 1] == (float)round && y[3] == 3);
        x[1] = -1;
        y[2] = round;
        if (round % 2) { /* another frame than the request: it moves to the request's place */
            struct frame *copy = frame_copy(f);
            assert_false(borrower_put(p.borrower, place, copy)); /* the request is still there */
            assert_null(copy->shared);
            frame_free(f);
            f = copy;
        }
        assert_true(borrower_put(p.borrower, place, f));
        send_header(f, p.from[1]);
        assert_non_null(f = receive(p.replies, p.from[0]));
        lender_settle(p.lender);
        x = frame_find(f, "x")->data;
        assert_true(lender_has(p.lender, f) && x[0] == (float)round && x[1] == -1);
        assert_int_equal(((int64_t *)frame_find(f, "y")->data)[2], round);
        frame_free(f);
    }
    assert_int_equal(frame_reader_found(p.requests), 100 * WHOLE);
    close_pair(&p);
    assert_int_equal(count_descriptors(), before);
}

static void test_integers_are_copies_that_no_peer_can_change(void **state)
{
    (void)state;
    struct pair p = open_pair();
    ask(&p, 1);
    struct frame *f = receive(p.requests, p.to[0]);
    assert_non_null(f);
    const int64_t *y = frame_find(f, "y")->data;
    memset(f->data, 0x55, WHOLE); /* as the client can at any time */
    assert_true(y[0] == 0 && y[1] == 1 && y[2] == 2 && y[3] == 3);
    const unsigned char *bytes;
    size_t size;
    assert_int_equal(frame_seal(f, false, &bytes, &size), 0); /* whole, for another link */
    assert_null(f->shared);
    assert_int_equal(((int64_t *)frame_find(f, "y")->data)[3], 3);
    frame_free(f);
    close_pair(&p);
}

static void test_frames_outlive_their_link(void **state)
{
    (void)state;
    struct pair p = open_pair();
    ask(&p, 5);
    lender_free(p.lender); /* the client has died after it sent the header */
    p.lender = NULL;
    close(p.channel);
    struct frame *f = receive(p.requests, p.to[0]);
    assert_non_null(f);
    const float *x = frame_find(f, "x")->data;
    assert_true(x[0] == 5 && x[COUNT - 1] == 5);
    borrower_free(p.borrower);
    p.borrower = NULL;
    assert_true(x[COUNT - 1] == 5);
    frame_free(f);
    p.channel = -1;
    close_pair(&p);
}

static void test_memory_is_bounded_and_given_back(void **state)
{
    (void)state;
    struct pair p = open_pair();
    struct frame_memory *held[64];
    int n = 0;
    assert_null(take(p.lender, LENDER_LEAST - 1)); /* as fast through the pipe */
    assert_null(take(p.lender, LIMIT + 1));
    while (n < 64 && lender_take(p.lender, 1 << 20, &held[n]) == 0)
        assert_non_null(held[n++]);
    assert_int_equal(n, LIMIT >> 20);
    assert_null(held[n]);
    assert_message("are as many as --max-frame");
    held[3]->release(held[3]);
    memset(held[4]->bytes, 1, held[4]->size);
    held[4]->release(held[4]);
    lender_trim(p.lender);
    assert_int_equal(held[4]->bytes[0], 0);
    held[3] = take(p.lender, 2 << 20); /* in the room of both */
    assert_non_null(held[3]);
    assert_int_equal(lender_take(p.lender, 1 << 20, &held[n]), -1);
    for (int i = 0; i < n; i++)
        if (i != 4)
            held[i]->release(held[i]);
    close_pair(&p);
}

/* ---- hostile peers ---- */

/* Writes a header of a frame with n floats whose data is said to be in segment `number`. */
static void forge(int fd, uint32_t number, int64_t n)
{
    char json[128];
    const int length = snprintf(json, sizeof json,
                                "{\"x\":{\"dtype\":\"F32\",\"shape\":[%lld],"
                                "\"data_offsets\":[0,%lld]}}",
                                (long long)n, 4 * (long long)n);
    const uint64_t word = (uint64_t)1 << 63 | (uint64_t)number << 32 | (uint64_t)length;
    assert_int_equal(write(fd, &word, 8), 8);
    assert_int_equal(write(fd, json, (size_t)length), length);
}

static void assert_refuses(struct frame_reader *r, int fd, const char *why)
{
    assert_null(receive(r, fd));
    assert_message(why);
}

static void offer(const struct pair *p, uint32_t magic, uint32_t number, int fd)
{
    const struct borrower_offer o = {magic, number};
    assert_int_equal(shared_memory_send(p->channel, &o, sizeof o, fd), 0);
    if (fd >= 0)
        close(fd);
}

static void test_a_client_can_not_reach_beyond_its_memory(void **state)
{
    (void)state;
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    static const struct {
        uint32_t number;
        int64_t n;
        const char *why;
    } cases[] = {
        {1, COUNT, "shared memory 1, which has not come"},
        {0x7fffffff, COUNT, "shared memory 2147483647, which has not come"},
        {0, 20481, "81924 bytes of data in shared memory of 81920"},
        {0, LIMIT / 4 + 1, "over the limit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p = open_pair();
        offer(&p, BORROWER_OFFER, 0, unsealed(81920, sealed));
        forge(p.to[1], cases[i].number, cases[i].n);
        assert_refuses(p.requests, p.to[0], cases[i].why);
        close_pair(&p);
    }
    struct pair p = open_pair();
    offer(&p, BORROWER_OFFER, 0, unsealed(81920, sealed));
    forge(p.to[1], 0, 20480);
    forge(p.to[1], 0, 20480);
    struct frame *f = receive(p.requests, p.to[0]);
    assert_non_null(f);
    ((float *)frame_find(f, "x")->data)[20479] = 1;
    assert_refuses(p.requests, p.to[0], "shared memory 0, which is in use");
    frame_free(f);
    close_pair(&p);
}

static void test_offers_that_break_the_rules_are_refused(void **state)
{
    (void)state;
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const int before = count_descriptors();
    static const char *const why[] = {"came without its descriptor",
                                      "makes no sense",
                                      "makes no sense",
                                      "size is not sealed",
                                      "the limit is",
                                      "no shared memory",
                                      "the peer is gone"};
    for (int i = 0; i < 7; i++) {
        struct pair p = open_pair();
        if (i == 0)
            offer(&p, BORROWER_OFFER, 0, -1);
        else if (i == 1)
            offer(&p, BORROWER_OFFER, 1, unsealed(SIZE, sealed));
        else if (i == 2)
            offer(&p, 0, 0, unsealed(SIZE, sealed));
        else if (i == 3)
            offer(&p, BORROWER_OFFER, 0, unsealed(SIZE, 0));
        else if (i == 4)
            offer(&p, BORROWER_OFFER, 0, unsealed(LIMIT + 1, sealed));
        else if (i == 5)
            offer(&p, BORROWER_OFFER, 0, open("/dev/zero", O_RDWR));
        else {
            lender_free(p.lender);
            p.lender = NULL;
            close(p.channel);
            p.channel = -1;
        }
        forge(p.to[1], 0, COUNT);
        assert_refuses(p.requests, p.to[0], why[i]);
        close_pair(&p);
    }
    assert_int_equal(count_descriptors(), before);
}

static void test_a_server_can_answer_only_where_it_was_asked(void **state)
{
    (void)state;
    struct pair p = open_pair();
    ask(&p, 1);
    ask(&p, 2);
    forge(p.from[1], 1, COUNT); /* which was lent with the second request */
    assert_refuses(p.replies, p.from[0], "was not lent with its request");
    close_pair(&p);
    p = open_pair();
    ask(&p, 1);
    forge(p.from[1], 0, 1 << 20);
    assert_refuses(p.replies, p.from[0], "a reply of 4194304 bytes in shared memory of 131072");
    close_pair(&p);
    p = open_pair();
    forge(p.from[1], 0, COUNT);
    assert_refuses(p.replies, p.from[0], "was not lent with its request");
    close_pair(&p);
}

static void test_a_reader_without_memory_refuses_such_frames(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    forge(ends[1], 0, COUNT);
    struct frame_reader *r = frame_reader_new(LIMIT, "it");
    assert_refuses(r, ends[0], "not a frame: a header of");
    frame_reader_free(r);
    close(ends[0]);
    close(ends[1]);
}

/* ---- ipc:// and shm:// ---- */

/* Returns the channel, or -1 if the server shares no memory. */
static int meet(const char *endpoint, unsigned char *token)
{
    int channel;
    const enum meeting_result result = meeting_connect(endpoint, &channel, token);
    assert_true(result == MEETING_CHANNEL || result == MEETING_NONE);
    return result == MEETING_CHANNEL ? channel : -1;
}

/* Connects to an abstract socket. */
static int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    const size_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
    if (!connect(fd, (struct sockaddr *)&address, (socklen_t)size))
        return fd;
    close(fd);
    return -1;
}

/* Makes a socket file as libzmq does, and returns its address. */
static int make_socket_file(char *endpoint, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/test_shared_memory.%d",
             (int)getpid());
    snprintf(endpoint, size, "ipc://%s", address.sun_path);
    unlink(address.sun_path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_clients_meet_the_server_of_a_socket_file(void **state)
{
    (void)state;
    const int before = count_descriptors();
    char endpoint[128];
    unsigned char a[MEETING_TOKEN], b[MEETING_TOKEN], wrong[MEETING_TOKEN];
    const int file = make_socket_file(endpoint, sizeof endpoint);
    assert_int_equal(meet(endpoint, a), -1); /* a server that shares nothing */
    struct meeting *m = meeting_open(endpoint, LIMIT);
    assert_non_null(m);
    assert_null(meeting_open(endpoint, LIMIT)); /* nobody else can take its place */
    const int first = meet(endpoint, a), second = meet(endpoint, b);
    assert_true(first >= 0 && second >= 0);
    memcpy(wrong, a, sizeof wrong);
    wrong[MEETING_TOKEN - 1] ^= 1;
    assert_null(meeting_find(m, wrong, MEETING_TOKEN));
    assert_null(meeting_find(m, a, MEETING_TOKEN - 1));
    assert_null(meeting_find(m, (const unsigned char[MEETING_TOKEN]){0}, MEETING_TOKEN));
    struct borrower *of_a = meeting_find(m, a, MEETING_TOKEN);
    assert_true(of_a && of_a != meeting_find(m, b, MEETING_TOKEN));
    assert_ptr_equal(of_a, meeting_find(m, a, MEETING_TOKEN));

    /* what a client lends is its own: another one's token does not find it */
    struct lender *l = lender_new(first, LIMIT, true);
    struct frame_memory *memory = take(l, SIZE);
    assert_non_null(memory);
    struct frame_finder finder = borrower_finder(meeting_find(m, b, MEETING_TOKEN));
    assert_null(finder.find(finder.user, 0, SIZE));
    assert_message("which has not come");
    finder = borrower_finder(of_a);
    struct frame_memory *same = finder.find(finder.user, 0, SIZE);
    assert_non_null(same);
    memory->bytes[SIZE - 1] = 9;
    assert_int_equal(same->bytes[SIZE - 1], 9);

    memory->release(memory);
    lender_free(l); /* the client is gone; a frame of the server still uses its memory */
    meeting_sweep(m);
    assert_null(meeting_find(m, a, MEETING_TOKEN));
    assert_non_null(meeting_find(m, b, MEETING_TOKEN));
    assert_int_equal(same->bytes[SIZE - 1], 9);
    same->release(same);
    close(second);
    meeting_close(m);
    assert_int_equal(meet(endpoint, a), -1);
    unlink(endpoint + strlen("ipc://"));
    close(file);
    assert_int_equal(meet(endpoint, a), -1);
    assert_null(meeting_open(endpoint, LIMIT));
    assert_null(meeting_open("tcp://127.0.0.1:7000", LIMIT));
    assert_int_equal(count_descriptors(), before);
}

static void test_strangers_who_connect_are_not_let_in(void **state)
{
    (void)state;
    const int before = count_descriptors();
    char endpoint[128];
    unsigned char token[MEETING_TOKEN];
    const int file = make_socket_file(endpoint, sizeof endpoint);
    struct meeting *m = meeting_open(endpoint, LIMIT);
    char name[64], byte;
    int strangers[3];
    struct stat status;
    assert_int_equal(stat(endpoint + strlen("ipc://"), &status), 0);
    snprintf(name, sizeof name, "simclr-memory-1-%jx-%jx", (uintmax_t)status.st_dev,
             (uintmax_t)status.st_ino);
    for (int i = 0; i < 3; i++)
        assert_true((strangers[i] = connect_to(name)) >= 0);
    /* the first says nothing, the second sends a descriptor, the third something else */
    assert_int_equal(shared_memory_send(strangers[1], token, MEETING_TOKEN, file), 0);
    assert_int_equal(shared_memory_send(strangers[2], "hello", 5, -1), 0);
    const int channel = meet(endpoint, token);
    assert_true(channel >= 0);
    assert_non_null(meeting_find(m, token, MEETING_TOKEN));
    token[MEETING_TOKEN - 1] ^= 1;
    assert_null(meeting_find(m, token, MEETING_TOKEN));
    for (int i = 1; i < 3; i++) { /* they have been hung up on */
        const ssize_t got = recv(strangers[i], &byte, 1, 0);
        assert_true(got == 0 || (got == -1 && errno != EAGAIN));
        close(strangers[i]);
    }
    assert_int_equal(recv(strangers[0], &byte, 1, 0), -1); /* it may still say something */
    close(strangers[0]);
    meeting_sweep(m);
    close(channel);
    meeting_close(m);
    unlink(endpoint + strlen("ipc://"));
    close(file);
    assert_int_equal(count_descriptors(), before);
}

static void test_clients_meet_the_server_of_a_name(void **state)
{
    (void)state;
    const int before = count_descriptors();
    char endpoint[64], other[64], name[80];
    unsigned char token[MEETING_TOKEN], late[MEETING_TOKEN] = "simclr1:0123456789abcdef";
    snprintf(endpoint, sizeof endpoint, "shm://test.%d", (int)getpid());
    snprintf(other, sizeof other, "shm://test.%d.", (int)getpid());
    snprintf(name, sizeof name, "simclr-shm-1-%ju-test.%d", (uintmax_t)geteuid(), (int)getpid());
    assert_int_equal(meet(endpoint, token), -1);
    struct meeting *m = meeting_open(endpoint, LIMIT);
    assert_non_null(m);
    assert_null(meeting_open(endpoint, LIMIT));
    assert_message("Address already in use");
    assert_int_equal(meet(other, token), -1);

    /* a client may be accepted before its token has come */
    const int slow = connect_to(name), channel = meet(endpoint, token);
    assert_true(slow >= 0 && channel >= 0);
    meeting_welcome(m);
    assert_null(meeting_find(m, late, MEETING_TOKEN));
    assert_non_null(meeting_find(m, token, MEETING_TOKEN));
    assert_int_equal(shared_memory_send(slow, late, MEETING_TOKEN, -1), 0);
    assert_non_null(meeting_find(m, late, MEETING_TOKEN));

    /* a queue that is full can be tried again when the server has looked */
    int waiting[1000], n = 0;
    while (n < 1000 && (waiting[n] = connect_to(name)) >= 0)
        n++;
    assert_in_range(n, 1, 999);
    int none;
    unsigned char unused[MEETING_TOKEN];
    assert_int_equal(meeting_connect(endpoint, &none, unused), MEETING_LATER);
    meeting_welcome(m);
    const int again = meet(endpoint, unused);
    assert_true(again >= 0);
    close(again);
    while (n)
        close(waiting[--n]);
    close(slow);
    close(channel);
    meeting_close(m);
    assert_int_equal(meet(endpoint, token), -1); /* nothing is left */
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_segment_is_mapped_twice_and_keeps_its_size),
        cmocka_unit_test(test_what_is_no_sealed_memfd_is_refused),
        cmocka_unit_test(test_messages_that_make_no_sense_leave_no_descriptor),
        cmocka_unit_test(test_only_the_two_ends_of_the_offered_pipes_share),
        cmocka_unit_test(test_data_is_read_and_answered_where_it_lies),
        cmocka_unit_test(test_integers_are_copies_that_no_peer_can_change),
        cmocka_unit_test(test_frames_outlive_their_link),
        cmocka_unit_test(test_memory_is_bounded_and_given_back),
        cmocka_unit_test(test_a_client_can_not_reach_beyond_its_memory),
        cmocka_unit_test(test_offers_that_break_the_rules_are_refused),
        cmocka_unit_test(test_a_server_can_answer_only_where_it_was_asked),
        cmocka_unit_test(test_a_reader_without_memory_refuses_such_frames),
        cmocka_unit_test(test_clients_meet_the_server_of_a_socket_file),
        cmocka_unit_test(test_strangers_who_connect_are_not_let_in),
        cmocka_unit_test(test_clients_meet_the_server_of_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

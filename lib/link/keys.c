#include "link/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/warn.h"
#include "frame/frame_io.h"

enum { KEY_SIZE = 32, KEY_LENGTH = 40, REFUSALS_SHOWN = 10 };

static const char *zmq_why(void)
{
    return zmq_strerror(zmq_errno());
}

/* ---- files of keys ---- */

static int write_key(const char *path, mode_t mode, const char key[KEY_LENGTH + 1])
{
    char line[KEY_LENGTH + 2];
    snprintf(line, sizeof line, "%s\n", key);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return errno == EEXIST ? fail("%s: is there already, and keys are not overwritten", path)
                               : fail("%s: %s", path, strerror(errno));
    int bad = write_all(fd, line, KEY_LENGTH + 1, path);
    if (close(fd) && !bad)
        bad = fail("%s: %s", path, strerror(errno));
    if (bad)
        unlink(path);
    return bad;
}

int keys_generate(const char *name)
{
    char public[KEY_LENGTH + 1], secret[KEY_LENGTH + 1], *key_path = NULL, *pub_path = NULL;
    int bad;
    if (zmq_curve_keypair(public, secret))
        return fail("CURVE keys: %s", zmq_why());
    if (asprintf(&key_path, "%s.key", name) < 0)
        return fail_memory(NULL);
    if (asprintf(&pub_path, "%s.pub", name) < 0) {
        free(key_path);
        return fail_memory(NULL);
    }
    bad = write_key(key_path, 0600, secret);
    if (!bad && (bad = write_key(pub_path, 0666, public)))
        unlink(key_path);
    free(key_path);
    free(pub_path);
    return bad;
}

static int read_key(const char *path, bool secret, char key[KEY_LENGTH + 1])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail("%s: %s", path, strerror(errno));
    struct stat status;
    char text[KEY_LENGTH + 2];
    ssize_t n = read(fd, text, sizeof text);
    bool open_to_others = secret && !fstat(fd, &status) && (status.st_mode & 077);
    close(fd);
    if (open_to_others)
        return fail("%s: a secret key that others can read; chmod 600 it", path);
    if (n == KEY_LENGTH + 1 && text[KEY_LENGTH] == '\n')
        n--;
    unsigned char binary[KEY_SIZE];
    if (n == KEY_LENGTH && !memchr(text, 0, KEY_LENGTH)) {
        memcpy(key, text, KEY_LENGTH);
        key[KEY_LENGTH] = 0;
        if (zmq_z85_decode(binary, key))
            return 0;
    }
    return fail("%s: not a CURVE key of 40 characters", path);
}

/* ---- clients that are admitted ---- */

static struct {
    char *path; /* NULL if no list was given */
    unsigned char (*keys)[KEY_SIZE];
    size_t n; /* number of keys, which are sorted */
    int refused;
    void *zap; /* the thread's socket, while the thread runs */
    pthread_t thread;
    bool runs;
} clients;

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, KEY_SIZE);
}

enum line {
    LINE_FAILED = -1, /* fail_message() says why */
    LINE_EMPTY = 0,   /* blank, or a comment */
    LINE_KEY = 1
};

/* Reads the key in a line. A # begins a comment and is never part of a key, since it cannot be the
 * first of five characters of Z85. */
static enum line parse_line(const char *path, int number, const char *line, size_t size,
                            unsigned char key[KEY_SIZE])
{
    static const char space[] = " \t\r\n";
    if (strlen(line) != size) {
        fail("%s: line %d: no text", path, number);
        return LINE_FAILED;
    }
    line += strspn(line, space);
    const size_t length = strcspn(line, space);
    if (length == 0 || *line == '#')
        return LINE_EMPTY;
    if (length != KEY_LENGTH) {
        fail("%s: line %d: a key has 40 characters, and this word %zu", path, number, length);
        return LINE_FAILED;
    }
    char word[KEY_LENGTH + 1];
    memcpy(word, line, KEY_LENGTH);
    word[KEY_LENGTH] = 0;
    if (zmq_z85_decode(key, word))
        return LINE_KEY;
    fail("%s: line %d: not a CURVE key", path, number);
    return LINE_FAILED;
}

static int read_lines(FILE *file, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    int64_t capacity = 0;
    ssize_t size;
    enum line got = LINE_EMPTY;
    for (int number = 1; got != LINE_FAILED && (size = getline(&line, &room, file)) >= 0;
         number++) {
        void *keys = grow(clients.keys, (int64_t)clients.n, &capacity, sizeof *clients.keys);
        if (!keys) {
            fail_memory(path);
            got = LINE_FAILED;
            break;
        }
        clients.keys = keys;
        got = parse_line(path, number, line, (size_t)size, clients.keys[clients.n]);
        clients.n += got == LINE_KEY;
    }
    free(line);
    if (got == LINE_FAILED)
        return -1;
    return feof(file) ? 0 : fail("%s: %s", path, strerror(errno));
}

static int read_clients(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return fail("%s: %s", path, strerror(errno));
    int bad = read_lines(file, path);
    fclose(file);
    if (!bad && !clients.n)
        bad = fail("%s: no key in it, so no client could come", path);
    if (!bad)
        qsort(clients.keys, clients.n, sizeof *clients.keys, compare_keys);
    return bad;
}

/* ---- libzmq's questions: ZAP, https://rfc.zeromq.org/spec/27 ---- */

enum { VERSION, ID, DOMAIN, ADDRESS, IDENTITY, MECHANISM, KEY, PARTS };

struct part {
    unsigned char bytes[256]; /* longer than every part that is used */
    size_t size;
};

/* Receives a question. Returns the number of its parts, PARTS + 1 if there were more or longer
 * parts than allowed, or -1 at the end. */
static int receive_question(void *zap, struct part parts[PARTS])
{
    int n = 0, more = 1;
    for (size_t size = sizeof more; more;) {
        struct part beyond, *p = n < PARTS ? &parts[n] : &beyond;
        const int got = zmq_recv(zap, p->bytes, sizeof p->bytes, 0);
        if (got < 0 && zmq_errno() == EINTR)
            continue;
        if (got < 0 || zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size))
            return -1;
        const bool fits = (size_t)got <= sizeof p->bytes;
        p->size = fits ? (size_t)got : 0;
        n = fits && n < PARTS ? n + 1 : PARTS + 1;
    }
    return n;
}

static void tell_refusal(const struct part *domain, const unsigned char key[KEY_SIZE])
{
    char text[KEY_LENGTH + 1];
    const int size = (int)domain->size;
    if (clients.refused > REFUSALS_SHOWN)
        return;
    if (clients.refused++ < REFUSALS_SHOWN)
        warn_line("%.*s: refused a client whose key is not in %s (%s)", size, domain->bytes,
                  clients.path, zmq_z85_encode(text, key, KEY_SIZE));
    else
        warn_line("%.*s: more clients were refused; these are not shown", size, domain->bytes);
}

static bool is_let_in(const struct part parts[PARTS], int n)
{
    if (n > DOMAIN && n <= PARTS && !parts[DOMAIN].size)
        return true; /* the socket has no list, but libzmq asks for every socket */
    if (n != PARTS || parts[KEY].size != KEY_SIZE || parts[MECHANISM].size != strlen("CURVE") ||
        memcmp(parts[MECHANISM].bytes, "CURVE", strlen("CURVE")))
        return false;
    if (bsearch(parts[KEY].bytes, clients.keys, clients.n, KEY_SIZE, compare_keys))
        return true;
    tell_refusal(&parts[DOMAIN], parts[KEY].bytes);
    return false;
}

static void *answer_questions(void *unused)
{
    struct part parts[PARTS];
    int n;
    memset(parts, 0, sizeof parts);
    while ((n = receive_question(clients.zap, parts)) >= 0) {
        const char *status = is_let_in(parts, n) ? "200" : "400";
        zmq_send(clients.zap, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(clients.zap, parts[ID].bytes, parts[ID].size, ZMQ_SNDMORE);
        zmq_send(clients.zap, status, 3, ZMQ_SNDMORE);
        zmq_send(clients.zap, "", 0, ZMQ_SNDMORE); /* the status text, */
        zmq_send(clients.zap, "", 0, ZMQ_SNDMORE); /* the user's name, */
        zmq_send(clients.zap, "", 0, 0);           /* and metadata */
    }
    zmq_close(clients.zap); /* zmq_ctx_term() waits for it */
    return unused;
}

static int start_thread(void *context)
{
    clients.zap = zmq_socket(context, ZMQ_REP);
    const int zero = 0;
    if (!clients.zap || zmq_setsockopt(clients.zap, ZMQ_LINGER, &zero, sizeof zero) ||
        zmq_bind(clients.zap, "inproc://zeromq.zap.01")) {
        fail("%s: %s", clients.path, zmq_why());
        if (clients.zap)
            zmq_close(clients.zap);
        return -1;
    }
    sigset_t all, before; /* signals go to the thread that waits */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int why = pthread_create(&clients.thread, NULL, answer_questions, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    clients.runs = why == 0;
    if (clients.runs)
        return 0;
    zmq_close(clients.zap);
    return fail("%s: %s", clients.path, strerror(why));
}

/* Starts the thread that answers. This must happen before the socket binds. libzmq names the domain
 * in its questions; if a domain is set, it refuses every client about which it gets no answer. */
static int guard(void *context, void *zmq, const char *endpoint, const char *path)
{
    if (clients.path && strcmp(clients.path, path))
        return fail("%s: a process has one list of clients, and it is %s", path, clients.path);
    if (!clients.path && !(clients.path = strdup(path)))
        return fail_memory(NULL);
    if (!clients.runs && (read_clients(path) || start_thread(context)))
        return -1;
    return zmq_setsockopt(zmq, ZMQ_ZAP_DOMAIN, endpoint, strlen(endpoint))
               ? fail("%s: %s", endpoint, zmq_why())
               : 0;
}

void keys_end(void)
{
    if (clients.runs)
        pthread_join(clients.thread, NULL);
    free(clients.path);
    free(clients.keys);
    memset(&clients, 0, sizeof clients);
}

/* ---- a socket's keys ---- */

int keys_set(void *context, void *zmq, const char *endpoint, bool binds,
             const struct link_config *config)
{
    char secret[KEY_LENGTH + 1], public[KEY_LENGTH + 1], server[KEY_LENGTH + 1];
    if (strncmp(endpoint, "tcp:", 4) ||
        (!*config->curve_key && !*config->curve_server_key && !*config->curve_clients))
        return 0;
    if (!*config->curve_key)
        return fail("%s: --curve-key is missing", endpoint);
    if (!binds && !*config->curve_server_key)
        return fail("%s: --curve-server-key is missing", endpoint);
    if (read_key(config->curve_key, true, secret))
        return -1;
    if (zmq_curve_public(public, secret))
        return fail("%s: %s", config->curve_key, zmq_why());
    if (zmq_setsockopt(zmq, ZMQ_CURVE_SECRETKEY, secret, KEY_LENGTH) ||
        zmq_setsockopt(zmq, ZMQ_CURVE_PUBLICKEY, public, KEY_LENGTH))
        return fail("%s: keys: %s", endpoint, zmq_why());
    if (binds) {
        const int one = 1;
        if (zmq_setsockopt(zmq, ZMQ_CURVE_SERVER, &one, sizeof one))
            return fail("%s: keys: %s", endpoint, zmq_why());
        return *config->curve_clients ? guard(context, zmq, endpoint, config->curve_clients) : 0;
    }
    if (read_key(config->curve_server_key, false, server))
        return -1;
    return zmq_setsockopt(zmq, ZMQ_CURVE_SERVERKEY, server, KEY_LENGTH)
               ? fail("%s: keys: %s", endpoint, zmq_why())
               : 0;
}

#include "run/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/folders.h"
#include "base/stop.h"

static const char prefix[] = "simclr.", owner[] = "owner", unowned[] = "owner.new";
static const char digits[] = "0123456789abcdef";
enum { DIGITS = 16, RECORD_MAX = PATH_MAX + 512, STALE_SECONDS = 3600 };

/* ---- the run's folder and its lock ---- */

static int open_lock(const char *path)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    struct stat st;
    if (fd < 0)
        return fail("%s: %s", path, errno == ELOOP ? "a symbolic link" : strerror(errno));
    if (!fstat(fd, &st) && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return fail("%s: not a regular file", path);
}

/* The line "PID HOST FOLDER" that the lock's file holds. FOLDER is a private folder, or "-". */
struct record {
    char text[RECORD_MAX];
    long pid;
    const char *host, *folder;
};
/* Returns false if the file holds no such line. */
static bool read_record(int fd, struct record *r)
{
    const ssize_t n = pread(fd, r->text, sizeof r->text - 1, 0);
    if (n <= 0)
        return false;
    r->text[n] = 0;
    char *at, *end;
    r->pid = strtol(r->text, &at, 10);
    if (at == r->text || *at != ' ' || !(end = strchr(at + 1, ' ')))
        return false;
    r->host = at + 1;
    *end = 0;
    r->folder = end + 1;
    end += 1 + strcspn(end + 1, "\n");
    if (*end != '\n')
        return false;
    *end = 0;
    return true;
}

static void host_name(char *name, size_t size)
{
    if (gethostname(name, size) || !*name)
        snprintf(name, size, "-");
    name[size - 1] = 0;
}

static void write_record(int fd, const char *folder)
{
    char host[256], text[RECORD_MAX];
    host_name(host, sizeof host);
    const int n = snprintf(text, sizeof text, "%ld %s %s\n", (long)getpid(), host, folder);
    if (n < 0 || (size_t)n >= sizeof text || ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) < 0)
        return; /* on a full disk; private_folder_sweep() finds the folder without it */
}

/* Returns true if the process that the lock's file names is a supervisor that is alive. If not, the
 * lock is held by processes that a killed supervisor left. */
static bool is_supervised(int fd)
{
    struct record r;
    char host[256], path[64], name[32] = "";
    host_name(host, sizeof host);
    if (!read_record(fd, &r) || strcmp(r.host, host) || r.pid <= 0)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/comm", r.pid);
    const int comm = open(path, O_RDONLY | O_CLOEXEC);
    if (comm < 0)
        return false;
    const ssize_t n = read(comm, name, sizeof name - 1);
    close(comm);
    return n > 0 && !strncmp(name, "supervise\n", 10);
}

/* Returns true if the file at `path` is still the one that is open. */
static bool is_same(int fd, const char *path)
{
    struct stat a, b;
    return !fstat(fd, &a) && !lstat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Takes the lock, and waits for it as run_folder_lock() describes. */
static int await_lock(int fd, const char *folder, double patience)
{
    const double since = clock_now();
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail("%s/lock: %s", folder, strerror(errno));
        if (stop_check())
            return -1;
        if (is_supervised(fd))
            return fail("%s: another run is at work there", folder);
        if (clock_now() - since > patience)
            return fail("%s: processes of an earlier run are still at work there", folder);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return 0;
}

int run_folder_lock(const char *folder, double patience)
{
    char *path;
    if (folders_make(folder))
        return -1;
    if (asprintf(&path, "%s/lock", folder) < 0)
        return fail_memory(NULL);
    int fd = -1;
    do {
        if (fd >= 0) /* the file was replaced meanwhile */
            close(fd);
        fd = open_lock(path);
        if (fd >= 0 && await_lock(fd, folder, patience)) {
            close(fd);
            fd = -1;
            break;
        }
    } while (fd >= 0 && !is_same(fd, path));
    free(path);
    if (fd < 0)
        return -1;
    private_folder_sweep(folder, fd);
    write_record(fd, "-");
    fcntl(fd, F_SETFD, 0); /* the run's processes inherit it */
    return fd;
}

/* Returns true if the name is that of a file that is not completely written, such as
 * "state.safetensors.tmp-Ab3xYz". */
static bool is_partial(const char *name)
{
    static const char *const files[] = {"state.safetensors", "model.safetensors", "metrics.tsv",
                                        "options",           "cost.tsv",          "report.html"};
    const char *part = strstr(name, ".tmp-");
    if (!part || strlen(part) != strlen(".tmp-XXXXXX"))
        return false;
    const size_t length = (size_t)(part - name);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (length == strlen(files[i]) && !strncmp(name, files[i], length))
            return true;
    static const char kept[] = "model-", ending[] = ".safetensors";
    if (strncmp(name, kept, strlen(kept)))
        return false;
    const char *number = name + strlen(kept), *end = number + strspn(number, "0123456789");
    return end > number && !strncmp(end, ending, strlen(ending)) && end + strlen(ending) == part;
}

void run_folder_sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    struct stat st;
    while (dir && (entry = readdir(dir)))
        if (is_partial(entry->d_name) &&
            !fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

/* ---- private folders ---- */

static bool is_private_name(const char *name)
{
    return !strncmp(name, prefix, strlen(prefix)) && strlen(name) == strlen(prefix) + DIGITS &&
           strspn(name + strlen(prefix), digits) == DIGITS;
}

/* Opens the private folder at `path`. Returns -1 without a message if the path is not that of a
 * private folder, or if another user owns the folder. */
static int open_private(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct stat st;
    if (*path != '/' || !is_private_name(slash + 1))
        return -1;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && !fstat(fd, &st) && st.st_uid == geteuid() && (st.st_mode & 077) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Removes the files in a folder and then the folder, and closes fd. The locked file is removed
 * last, so that a folder that is only partly removed can still be recognized. */
static void remove_files(int fd, const char *path)
{
    DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    if (!dir) {
        close(fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, owner) && *entry->d_name != '.')
            unlinkat(fd, entry->d_name, 0);
    unlinkat(fd, owner, 0);
    closedir(dir);
    rmdir(path);
}

/* Removes a folder whose maker was killed before it locked a file. It contains at most an empty
 * file. */
static void remove_unowned(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) || time(NULL) - st.st_mtime < STALE_SECONDS)
        return;
    if (!fstatat(fd, unowned, &st, AT_SYMLINK_NOFOLLOW) && st.st_size == 0)
        unlinkat(fd, unowned, 0);
    rmdir(path);
}

/* Removes the private folder at `path`, if it is a private folder and its maker is gone. */
static void remove_if_stale(const char *path)
{
    const int fd = open_private(path);
    if (fd < 0)
        return;
    const int lock = openat(fd, owner, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (lock < 0) {
        if (errno == ENOENT)
            remove_unowned(fd, path);
        close(fd);
    } else if (!fstat(lock, &st) && S_ISREG(st.st_mode) && st.st_size == 0 &&
               !flock(lock, LOCK_EX | LOCK_NB))
        remove_files(fd, path);
    else
        close(fd);
    if (lock >= 0)
        close(lock);
}

/* Returns the i-th folder below which private folders may be, "" or NULL if it is not set. */
enum { PLACES = 5 };
static const char *place(int i, const char *run)
{
    const char *const places[PLACES] = {getenv("TMPDIR"), "/tmp", getenv("XDG_RUNTIME_DIR"),
                                        "/dev/shm", run};
    return places[i];
}

/* Removes those private folders in a folder whose makers are gone. */
static void sweep_below(const char *folder)
{
    DIR *dir = folder && *folder ? opendir(folder) : NULL;
    char *real = dir ? realpath(folder, NULL) : NULL;
    const struct dirent *entry;
    while (real && (entry = readdir(dir))) {
        char *path;
        if (!is_private_name(entry->d_name) || asprintf(&path, "%s/%s", real, entry->d_name) < 0)
            continue;
        remove_if_stale(path);
        free(path);
    }
    free(real);
    if (dir)
        closedir(dir);
}

void private_folder_sweep(const char *run, int run_lock)
{
    struct record r;
    if (read_record(run_lock, &r))
        remove_if_stale(r.folder);
    for (int i = 0; i < PLACES; i++)
        sweep_below(place(i, run));
}

static bool is_plain(const char *path)
{
    for (const unsigned char *c = (const unsigned char *)path; *c; c++)
        if (*c < ' ' || *c == 0x7f || *c == ',')
            return false;
    return true;
}

/* Creates the file `owner`. It is locked before it gets the name that others look for. */
static int own(struct private_folder *p)
{
    const int fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->lock = fd < 0 ? -1 : openat(fd, unowned, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int bad = p->lock < 0 || flock(p->lock, LOCK_EX | LOCK_NB) || renameat(fd, unowned, fd, owner);
    if (bad && fd >= 0)
        unlinkat(fd, unowned, 0);
    if (bad && p->lock >= 0)
        close(p->lock);
    if (fd >= 0)
        close(fd);
    return bad ? -1 : 0;
}

/* Creates a private folder below `folder`. Returns -1 without a message if that is not possible. */
static int make_below(struct private_folder *p, const char *folder)
{
    uint64_t number;
    char *real = folder && *folder ? realpath(folder, NULL) : NULL;
    if (!real)
        return -1;
    int bad = getrandom(&number, sizeof number, 0) != sizeof number || !is_plain(real) ||
              asprintf(&p->path, "%s/%s%016llx", strcmp(real, "/") ? real : "", prefix,
                       (unsigned long long)number) < 0;
    free(real);
    if (bad)
        return -1;
    if (strlen(p->path) <= PRIVATE_PATH_MAX && !mkdir(p->path, 0700)) {
        if (!chmod(p->path, 0700) && !own(p)) /* mkdir() applies the umask */
            return 0;
        rmdir(p->path);
    }
    free(p->path);
    p->path = NULL;
    return -1;
}

int private_folder_make(struct private_folder *p, const char *run, int run_lock)
{
    *p = (struct private_folder){.lock = -1};
    for (int i = 0; i < PLACES; i++)
        if (!make_below(p, place(i, run))) {
            write_record(run_lock, p->path);
            return 0;
        }
    return fail(
        "no folder for sockets can be made in TMPDIR, /tmp, XDG_RUNTIME_DIR, /dev/shm or %s: "
        "one is needed that is writable, with a path of at most %d bytes without commas",
        run, PRIVATE_PATH_MAX - (int)strlen("/simclr.") - DIGITS);
}

void private_folder_remove(struct private_folder *p)
{
    const int fd = p->path ? open_private(p->path) : -1;
    if (fd >= 0)
        remove_files(fd, p->path);
    if (p->lock >= 0)
        close(p->lock);
    free(p->path);
    *p = (struct private_folder){.lock = -1};
}

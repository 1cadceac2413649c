/* run_folder: the folder of a training run, which one run at a time may use, and the private folder
 * that each attempt has for its sockets, FIFOs and keys. */
#ifndef RUN_FOLDER_H
#define RUN_FOLDER_H

/* Creates the folder and those above it, and locks the file DIR/lock; the run's processes inherit
 * the lock. If processes of an earlier run, whose supervisor is gone, still hold the lock, waits
 * for them, up to `patience` seconds; if the run there has a supervisor, fails at once. Returns the
 * descriptor of the lock, or -1 with a message. */
int run_folder_lock(const char *folder, double patience);

/* Removes from the folder what killed programs left of files that they were writing:
 * NAME.tmp-XXXXXX of the state, models, the metrics log and the options. */
void run_folder_sweep(const char *folder);

/* A folder that only its owner can enter, called simclr. and 16 hexadecimal digits. It holds the
 * file `owner`, which its maker locks: whoever gets that lock knows that the maker is gone. */
struct private_folder {
    char *path; /* absolute; at most PRIVATE_PATH_MAX bytes */
    int lock;
};
/* Leaves room for a file's name after it in the address of a socket. */
enum { PRIVATE_PATH_MAX = 80 };

/* Creates a private folder below $TMPDIR, /tmp, or the run's folder: the first that is writable and
 * whose path is short enough and has neither commas nor control characters, which an endpoint
 * cannot contain. Writes its path to the lock's file. The caller frees it with
 * private_folder_remove(). Returns -1 with a message. */
int private_folder_make(struct private_folder *p, const char *run, int run_lock);
/* Removes the folder and the files in it, which must not be folders. */
void private_folder_remove(struct private_folder *p);

/* Removes private folders whose makers are gone: those below $TMPDIR, /tmp and the run's folder,
 * and the one that the lock's file names. Removes nothing else. */
void private_folder_sweep(const char *run, int run_lock);

#endif

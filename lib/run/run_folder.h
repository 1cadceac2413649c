/* run_folder: the folder of a training run, which only one run at a time may use, and the private
 * folder that each attempt has for its sockets, FIFOs and keys. */
#ifndef RUN_FOLDER_H
#define RUN_FOLDER_H

/* Creates the folder and its parents, and locks the file DIR/lock; the run's processes inherit the
 * lock. If a run with a live supervisor holds the lock, fails at once. If only processes of an
 * earlier run hold it, whose supervisor is gone, waits for them up to `patience` seconds. Returns
 * the descriptor of the lock, or -1 with a message. */
int run_folder_lock(const char *folder, double patience);

/* Removes the incomplete files that killed programs left in the folder: NAME.tmp-XXXXXX of the
 * state, models, the metrics log and the options. */
void run_folder_sweep(const char *folder);

/* A folder that only its owner can enter, named "simclr." followed by 16 hexadecimal digits. It
 * holds the file `owner`, which its maker keeps locked: a process that gets the lock knows that the
 * maker is gone. */
struct private_folder {
    char *path; /* absolute; at most PRIVATE_PATH_MAX bytes */
    int lock;
};
/* The limit leaves room for a file's name after the path in the address of a socket. */
enum { PRIVATE_PATH_MAX = 80 };

/* Creates a private folder below $TMPDIR, /tmp, $XDG_RUNTIME_DIR, /dev/shm or the run's folder.
 * Takes the first of these that is writable and whose path is short enough and contains neither
 * commas nor control characters, which an endpoint cannot contain. Writes the folder's path to the
 * lock's file. The caller frees it with private_folder_remove(). Returns -1 with a message. */
int private_folder_make(struct private_folder *p, const char *run, int run_lock);
/* Removes the folder and the files in it. There must be no folders in it. */
void private_folder_remove(struct private_folder *p);

/* Removes private folders whose makers are gone: those below these five folders, and the one that
 * the lock's file names. Removes nothing else. */
void private_folder_sweep(const char *run, int run_lock);

#endif

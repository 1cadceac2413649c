/* run_folder: a training run's folder, which one run has for itself, and the private folder that
 * each of its attempts has for sockets, FIFOs and keys. */
#ifndef RUN_FOLDER_H
#define RUN_FOLDER_H

#include <stdbool.h>

/* Makes the folder with those above it, and takes the lock: that of the file DIR/lock, which the
 * run's processes inherit. Waits up to `patience` seconds for processes of an earlier run whose
 * supervisor is gone, and not at all for a run that is supervised. Returns the lock's descriptor;
 * -1 with a message. */
int run_folder_lock(const char *folder, double patience);

/* Removes from the folder what killed programs left of files that they were writing:
 * NAME.tmp-XXXXXX of the state, models, the log and the options. */
void run_folder_sweep(const char *folder);

/* A folder that only its owner can enter, called simclr. and 16 hexadecimal digits. In it lies
 * `owner`, a file that its maker locks: who gets that lock knows that the maker is gone. */
struct private_folder {
    char *path; /* absolute; at most PRIVATE_PATH_MAX bytes */
    int lock;
};
/* With room for a name behind it in a socket's address. */
enum { PRIVATE_PATH_MAX = 80 };

/* Makes one below $TMPDIR, /tmp, or the run's folder: the first that can be written to and whose
 * path is short enough and has neither commas nor control characters, which an endpoint cannot
 * hold. Notes it in the lock's file. -1 with a message. */
int private_folder_make(struct private_folder *p, const char *run, int run_lock);
/* Removes the folder and what lies in it, which holds no folders. */
void private_folder_remove(struct private_folder *p);

/* Removes such folders whose makers are gone: those below $TMPDIR and /tmp, and the one that the
 * lock's file names. Nothing else is touched, whatever stands there. */
void private_folder_sweep(const char *run, int run_lock);

#endif

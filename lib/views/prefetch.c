#include "views/prefetch.h"

#include <errno.h>
#include <omp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/stop.h"

enum { FRAMES_MAX = 256 };

/* A ring: frame i of all lies at i mod FRAMES_MAX. */
struct prefetch {
    prefetch_make *make;
    void *user;
    size_t bound;
    pthread_t thread;
    sem_t ready; /* frames to be taken, and one for the end; a signal interrupts who waits */
    pthread_mutex_t lock;
    pthread_cond_t room;
    /* Under the lock: */
    struct frame *frames[FRAMES_MAX];
    int64_t made, taken;
    size_t bytes, largest; /* of frames that were not taken; of the largest ever */
    atomic_bool stop;      /* set under the lock, read anywhere */
    /* The maker's until it has ended, which `ready` tells: */
    char *failure;
    bool failed;
};

static bool has_room(const struct prefetch *a)
{
    return a->made == a->taken || (a->made - a->taken < FRAMES_MAX && a->largest <= a->bound &&
                                   a->bytes <= a->bound - a->largest);
}

/* Waits for room; false when there is no need for more. */
static bool wait_for_room(struct prefetch *a)
{
    pthread_mutex_lock(&a->lock);
    if (!a->stop && !has_room(a)) {
        pthread_mutex_unlock(&a->lock);
        /* OpenMP's threads would spin for a while beside us; they are made anew. */
        omp_pause_resource_all(omp_pause_soft);
        pthread_mutex_lock(&a->lock);
    }
    while (!a->stop && !has_room(a))
        pthread_cond_wait(&a->room, &a->lock);
    const bool go_on = !a->stop;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static void put(struct prefetch *a, struct frame *f)
{
    pthread_mutex_lock(&a->lock);
    a->frames[a->made++ % FRAMES_MAX] = f;
    a->bytes += f->data_size;
    if (f->data_size > a->largest)
        a->largest = f->data_size;
    pthread_mutex_unlock(&a->lock);
    sem_post(&a->ready);
}

static void *make_all(void *user)
{
    struct prefetch *a = user;
    int got = 0;
    struct frame *f;
    stop_when(&a->stop);
    while (wait_for_room(a) && (got = a->make(a->user, &a->stop, &f)) > 0)
        put(a, f);
    a->failed = got < 0;
    if (a->failed)
        a->failure = strdup(fail_message()); /* messages belong to threads */
    sem_post(&a->ready);
    return NULL;
}

static int start_thread(struct prefetch *a)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGALRM); /* stop_wake()'s */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int why = pthread_create(&a->thread, NULL, make_all, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return why ? fail("a thread to make frames: %s", strerror(why)) : 0;
}

static void free_all(struct prefetch *a)
{
    for (; a->taken < a->made; a->taken++)
        frame_free(a->frames[a->taken % FRAMES_MAX]);
    sem_destroy(&a->ready);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->room);
    free(a->failure);
    free(a);
}

struct prefetch *prefetch_start(prefetch_make *make, void *user, int64_t bytes)
{
    struct prefetch *a = calloc(1, sizeof *a);
    if (!a) {
        fail_memory(NULL);
        return NULL;
    }
    a->make = make;
    a->user = user;
    a->bound = (size_t)bytes;
    frame_share_memory();
    sem_init(&a->ready, 0, 0);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->room, NULL);
    if (start_thread(a)) {
        free_all(a);
        return NULL;
    }
    return a;
}

int prefetch_next(struct prefetch *a, struct frame **out)
{
    while (sem_wait(&a->ready))
        if (stop_check())
            return -1;
    pthread_mutex_lock(&a->lock);
    const bool more = a->taken < a->made;
    if (more) {
        *out = a->frames[a->taken++ % FRAMES_MAX];
        a->bytes -= (*out)->data_size;
        pthread_cond_signal(&a->room);
    }
    pthread_mutex_unlock(&a->lock);
    if (more)
        return 1;
    sem_post(&a->ready); /* the end stays */
    return a->failed ? fail("%s", a->failure ? a->failure : "out of memory") : 0;
}

void prefetch_stop(struct prefetch *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    atomic_store(&a->stop, true);
    pthread_cond_signal(&a->room);
    pthread_mutex_unlock(&a->lock);
    while (pthread_tryjoin_np(a->thread, NULL) == EBUSY) {
        stop_wake(a->thread);
        usleep(2000);
    }
    free_all(a);
}

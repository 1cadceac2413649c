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

/* The frames are in a ring: frame i of the run is at index i mod FRAMES_MAX. */
struct prefetch {
    prefetch_make *make;
    void *user;
    size_t bound;
    pthread_t thread;
    sem_t ready; /* counts frames to be taken, and one for the end; a signal interrupts its wait */
    pthread_mutex_t lock;
    pthread_cond_t room;
    /* Protected by the lock: */
    struct frame *frames[FRAMES_MAX];
    int64_t made, taken;
    size_t bytes, largest; /* of the frames that were not taken; of the largest frame so far */
    atomic_bool stop;      /* set under the lock, read anywhere */
    /* Belongs to the thread until it has ended, which `ready` signals: */
    bool failed;
    struct fail_note failure;
};

static bool has_room(const struct prefetch *p)
{
    return p->made == p->taken || (p->made - p->taken < FRAMES_MAX && p->largest <= p->bound &&
                                   p->bytes <= p->bound - p->largest);
}

/* Waits for room. Returns false if no more frames are wanted. */
static bool wait_for_room(struct prefetch *p)
{
    pthread_mutex_lock(&p->lock);
    if (!p->stop && !has_room(p)) {
        pthread_mutex_unlock(&p->lock);
        /* Idle OpenMP threads would spin for a while; they are created again when needed. */
        omp_pause_resource_all(omp_pause_soft);
        pthread_mutex_lock(&p->lock);
    }
    while (!p->stop && !has_room(p))
        pthread_cond_wait(&p->room, &p->lock);
    const bool go_on = !p->stop;
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

static void put(struct prefetch *p, struct frame *f)
{
    pthread_mutex_lock(&p->lock);
    p->frames[p->made++ % FRAMES_MAX] = f;
    p->bytes += f->data_size;
    if (f->data_size > p->largest)
        p->largest = f->data_size;
    pthread_mutex_unlock(&p->lock);
    sem_post(&p->ready);
}

static void *make_all(void *user)
{
    struct prefetch *p = user;
    enum prefetch_result made = PREFETCH_END;
    struct frame *f;
    stop_when(&p->stop);
    while (wait_for_room(p) && (made = p->make(p->user, &p->stop, &f)) == PREFETCH_FRAME)
        put(p, f);
    p->failed = made == PREFETCH_FAILED;
    if (p->failed)
        fail_save(&p->failure); /* messages belong to threads */
    sem_post(&p->ready);
    return NULL;
}

static int start_thread(struct prefetch *p)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGALRM); /* stop_wake() uses it */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int why = pthread_create(&p->thread, NULL, make_all, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return why ? fail("a thread to make frames: %s", strerror(why)) : 0;
}

static void free_all(struct prefetch *p)
{
    for (; p->taken < p->made; p->taken++)
        frame_free(p->frames[p->taken % FRAMES_MAX]);
    sem_destroy(&p->ready);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->room);
    free(p);
}

struct prefetch *prefetch_start(prefetch_make *make, void *user, int64_t bytes)
{
    struct prefetch *p = calloc(1, sizeof *p);
    if (!p)
        return fail_null("out of memory");
    p->make = make;
    p->user = user;
    p->bound = (size_t)bytes;
    frame_share_memory();
    sem_init(&p->ready, 0, 0);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->room, NULL);
    if (start_thread(p)) {
        free_all(p);
        return NULL;
    }
    return p;
}

enum prefetch_result prefetch_next(struct prefetch *p, struct frame **out)
{
    while (sem_wait(&p->ready))
        if (stop_check())
            return PREFETCH_FAILED;
    pthread_mutex_lock(&p->lock);
    const bool more = p->taken < p->made;
    if (more) {
        *out = p->frames[p->taken++ % FRAMES_MAX];
        p->bytes -= (*out)->data_size;
        pthread_cond_signal(&p->room);
    }
    pthread_mutex_unlock(&p->lock);
    if (more)
        return PREFETCH_FRAME;
    sem_post(&p->ready); /* a later call gets the end again */
    if (!p->failed)
        return PREFETCH_END;
    fail_restore(&p->failure);
    return PREFETCH_FAILED;
}

void prefetch_stop(struct prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_signal(&p->room);
    pthread_mutex_unlock(&p->lock);
    while (pthread_tryjoin_np(p->thread, NULL) == EBUSY) {
        stop_wake(p->thread);
        usleep(2000);
    }
    free_all(p);
}

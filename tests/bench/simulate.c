/* simulate: runs a program as if it had many threads, on one core, and tells how long each parallel
 * region would have taken.
 *
 *   SIMULATE_THREADS=32 LD_PRELOAD=build/tests/simulate.so build/tests/bench --threads 32 network
 *
 * It stands in for libgomp. Each thread of a region runs after the other one and is timed; a region
 * takes as long as its slowest thread. Tasks of a dynamic loop are all run by the first thread, and
 * are then given to whichever thread is free first, as libgomp does. Times are processor time of the
 * one thread, so other programs disturb them little. Caches, memory bandwidth and the start of a
 * region are those of one core: what it shows is how work divides.
 *
 * A round is what the program does after it has read a line. Of the round that took least, it prints at
 * the end, to stderr, a line for each region: the offset of its function in the program, calls, tasks,
 * seconds of one thread, and seconds of all; then "serial", and the seconds between regions. Only what the engine uses is here: other loops and nested regions would be run wrongly, so
 * a program that needs them fails to start or ends. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REGIONS = 256, THREADS = 1024 };

static struct region {
    void (*function)(void *);
    long calls, tasks;
    double one, all;
} regions[REGIONS], best_regions[REGIONS];

static int threads, thread;
static bool inside;
static double serial, left; /* seconds outside, and when the last region ended */
static double least, best_serial;

/* The dynamic loop of the region that runs. */
static struct {
    long next, end, step, chunk;
    double since, busy[THREADS], tasks;
    long count;
} loop;

void GOMP_parallel(void (*function)(void *), void *data, unsigned n, unsigned flags);
bool GOMP_loop_dynamic_start(long start, long end, long step, long chunk, long *from, long *to);
bool GOMP_loop_dynamic_next(long *from, long *to);
bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from,
                                          long *to);
bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to);
void GOMP_loop_end(void);
void GOMP_loop_end_nowait(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int omp_get_num_threads(void)
{
    return inside ? threads : 1;
}

int omp_get_thread_num(void)
{
    return thread;
}

static int free_first(void)
{
    int best = 0;
    for (int i = 1; i < threads; i++)
        if (loop.busy[i] < loop.busy[best])
            best = i;
    return best;
}

bool GOMP_loop_dynamic_next(long *from, long *to)
{
    const double at = now();
    if (loop.count) {
        loop.busy[free_first()] += at - loop.since;
        loop.tasks += at - loop.since;
    }
    if (loop.next == loop.end)
        return false;
    *from = loop.next;
    *to = loop.end - loop.next < loop.chunk * loop.step ? loop.end
                                                        : loop.next + loop.chunk * loop.step;
    loop.next = *to;
    loop.count++;
    loop.since = now();
    return true;
}

bool GOMP_loop_dynamic_start(long start, long end, long step, long chunk, long *from, long *to)
{
    if (thread)
        return false;
    loop.next = start;
    loop.end = end;
    loop.step = step;
    loop.chunk = chunk;
    const long before = loop.count;
    loop.count = 0; /* no task ends with the first call */
    const bool any = GOMP_loop_dynamic_next(from, to);
    loop.count += before;
    return any;
}

bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from,
                                          long *to)
{
    return GOMP_loop_dynamic_start(start, end, step, chunk, from, to);
}

bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to)
{
    return GOMP_loop_dynamic_next(from, to);
}

/* A loop ends when all tasks are done. */
void GOMP_loop_end(void)
{
    double last = 0;
    for (int i = 0; i < threads && !thread; i++)
        last = loop.busy[i] > last ? loop.busy[i] : last;
    for (int i = 0; i < threads && !thread; i++)
        loop.busy[i] = last;
}

void GOMP_loop_end_nowait(void)
{
    GOMP_loop_end();
}

static struct region *find(void (*function)(void *))
{
    for (int i = 0; i < REGIONS; i++)
        if (regions[i].function == function || !regions[i].function) {
            regions[i].function = function;
            return &regions[i];
        }
    fprintf(stderr, "simulate: more than %d regions\n", REGIONS);
    exit(1);
}

void GOMP_parallel(void (*function)(void *), void *data, unsigned n, unsigned flags)
{
    (void)n, (void)flags;
    if (inside) {
        fprintf(stderr, "simulate: a region in a region\n");
        exit(1);
    }
    const double begin = now();
    double longest = 0;
    serial += begin - left;
    inside = true;
    loop.count = 0;
    loop.tasks = 0;
    for (int i = 0; i < threads; i++)
        loop.busy[i] = 0;
    double of_all = 0;
    for (thread = 0; thread < threads; thread++) {
        const double since = now(), tasks = loop.tasks;
        function(data);
        const double took = now() - since - (loop.tasks - tasks);
        longest = took > longest ? took : longest;
        of_all += took;
    }
    thread = 0;
    inside = false;
    double last = 0;
    for (int i = 0; i < threads; i++)
        last = loop.busy[i] > last ? loop.busy[i] : last;
    struct region *r = find(function);
    r->calls++;
    r->tasks += loop.count;
    r->one += of_all + loop.tasks;
    r->all += longest + last;
    left = now();
}

__attribute__((constructor)) static void begin(void)
{
    const char *value = getenv("SIMULATE_THREADS");
    threads = value ? atoi(value) : 1;
    if (threads < 1 || threads > THREADS)
        threads = 1;
    left = now();
}

/* Ends a round, and begins another one. */
char *fgets(char *line, int size, FILE *file)
{
    static char *(*original)(char *, int, FILE *);
    static bool begun;
    double took = serial += now() - left;
    for (int i = 0; i < REGIONS; i++)
        took += regions[i].all;
    if (begun && (least == 0 || took < least)) {
        least = took;
        best_serial = serial;
        memcpy(best_regions, regions, sizeof regions);
    }
    begun = true;
    if (!original)
        *(void **)&original = dlsym(RTLD_NEXT, "fgets");
    char *result = original(line, size, file);
    memset(regions, 0, sizeof regions);
    serial = 0;
    left = now();
    return result;
}

__attribute__((destructor)) static void end(void)
{
    for (int i = 0; i < REGIONS && best_regions[i].function; i++) {
        const struct region *r = &best_regions[i];
        Dl_info where = {0};
        dladdr((void *)(uintptr_t)r->function, &where);
        fprintf(stderr, "%lx\t%ld\t%ld\t%.9f\t%.9f\n",
                (unsigned long)((uintptr_t)r->function - (uintptr_t)where.dli_fbase), r->calls,
                r->tasks, r->one, r->all);
    }
    fprintf(stderr, "serial\t0\t0\t%.9f\t%.9f\n", best_serial, best_serial);
}

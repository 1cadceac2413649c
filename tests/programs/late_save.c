/* Delays a process whenever it raises its limit of descriptors, so that the peers that wait for one are
 * faster. strangers.sh preloads this. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>
#include <unistd.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    struct rlimit before;
    int (*set)(__rlimit_resource_t, const struct rlimit *) = dlsym(RTLD_NEXT, "setrlimit");
    const int result = getrlimit(resource, &before) ? -1 : set(resource, limit);
    if (result == 0 && limit->rlim_cur > before.rlim_cur)
        usleep(2000);
    return result;
}

#include "base/stop.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"

static volatile sig_atomic_t stop_signal;
static volatile double stop_time; /* time of the first signal; written before stop_signal */
static double grace;
static _Thread_local const atomic_bool *stop_flag;

/* Handles a signal that asks for a stop. If it comes between the check of the flag and the system
 * call, the call would wait on. From the first signal on, an alarm therefore rings every second and
 * interrupts it again. */
void stop_on_signal(int number)
{
    if (!stop_signal)
        stop_time = clock_now();
    stop_signal = number;
    alarm(1);
}

void stop_on_alarm(int number)
{
    (void)number;
    alarm(1);
}

void stop_grace(double seconds)
{
    grace = seconds;
}

int stop_requested(void)
{
    return stop_signal;
}

void stop_when(const atomic_bool *flag)
{
    stop_flag = flag;
}

void stop_wake(pthread_t thread)
{
    pthread_kill(thread, SIGALRM);
}

int stop_check(void)
{
    if (stop_flag && atomic_load(stop_flag))
        return fail("stopped");
    if (!stop_signal || (grace > 0 && clock_now() - stop_time < grace))
        return 0;
    const char *abbreviation = sigabbrev_np(stop_signal);
    return fail("stopped by SIG%s", abbreviation ? abbreviation : "?");
}

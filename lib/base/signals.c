#include "base/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/fail.h"

static volatile sig_atomic_t stop_signal;
static volatile double stop_time; /* of the first signal; written before stop_signal */
static double grace;
static _Thread_local const atomic_bool *stop_flag;

/* A signal that comes between the check of the flag and the system call would leave the call
 * waiting. So from the first signal on an alarm rings every second and interrupts it again. */
static void on_stop(int number)
{
    if (!stop_signal)
        stop_time = clock_now();
    stop_signal = number;
    alarm(1);
}

static void on_alarm(int number)
{
    (void)number;
    alarm(1);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler; /* without SA_RESTART: waits return EINTR */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};

void signals_setup(void)
{
    descriptors_setup();
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN);
    handle(SIGALRM, on_alarm);
    for (size_t i = 0; i < sizeof stop_signals / sizeof *stop_signals; i++) {
        struct sigaction old;
        sigaction(stop_signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) /* nohup, and background jobs of a plain sh, stay as set */
            handle(stop_signals[i], on_stop);
    }
}

void signals_reset(void)
{
    descriptors_reset();
    handle(SIGPIPE, SIG_DFL);
    handle(SIGXFSZ, SIG_DFL);
    handle(SIGALRM, SIG_DFL);
    for (size_t i = 0; i < sizeof stop_signals / sizeof *stop_signals; i++) {
        struct sigaction old;
        sigaction(stop_signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN)
            handle(stop_signals[i], SIG_DFL);
    }
    alarm(0);
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

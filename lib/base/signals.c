#include "base/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/stop.h"

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler; /* SA_RESTART is not set, so waits return EINTR */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* Handles the signals that ask the program to stop. A signal that is already ignored stays ignored,
 * as nohup expects it, and a plain sh for its background jobs. */
static void handle_stops(void (*handler)(int))
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        sigaction(numbers[i], NULL, &old);
        if (old.sa_handler != SIG_IGN)
            handle(numbers[i], handler);
    }
}

void signals_setup(void)
{
    descriptors_setup();
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN);
    handle(SIGALRM, stop_on_alarm);
    handle_stops(stop_on_signal);
}

void signals_reset(void)
{
    descriptors_reset();
    handle(SIGPIPE, SIG_DFL);
    handle(SIGXFSZ, SIG_DFL);
    handle(SIGALRM, SIG_DFL);
    handle_stops(SIG_DFL);
    alarm(0);
}

/* traffic: what went over a link or a stream, told on stderr by who closes it well. docs/links.md
 * has the line's form. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdint.h>

struct traffic {
    const char *what; /* n counts: "requests" of a client, "served" ones, a stream's "frames" */
    int64_t n;        /* without end frames */
    int64_t out, in;  /* bytes of frames, end frames included */
    double waited;    /* seconds */
};

/* Prints a line, if the environment's SIMCLR_EDGES is neither empty nor 0. */
void traffic_report(const char *name, const struct traffic *edge);

#endif

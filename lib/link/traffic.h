/* traffic: reports on stderr what went over a link or a stream that was closed well. docs/links.md
 * describes the line. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdint.h>

struct traffic {
    const char *what; /* n counts: "requests" of a client, "served" ones, a stream's "frames" */
    int64_t n;        /* without end frames */
    int64_t out, in;  /* bytes of frames, end frames included */
    double waited;    /* seconds */
};

/* Prints the line if the environment variable SIMCLR_EDGES is set to anything but 0 or nothing. The
 * variable is read here, and is no setting of a link, since it changes nothing but this line. */
void traffic_report(const char *name, const struct traffic *edge);

#endif

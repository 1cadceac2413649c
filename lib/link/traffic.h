/* traffic: reports on stderr what a link or a stream carried, if it was closed without an error.
 * docs/links.md describes the line. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdint.h>

/* The traffic of one edge, which is a link or a stream as one of its ends sees it. */
struct traffic {
    const char *what; /* unit of n: "requests" of a client, "served" or "frames" of a stream */
    int64_t n;        /* number of them, without end frames */
    int64_t out, in;  /* bytes of frames, end frames included */
    double waited;    /* seconds spent waiting */
};

/* Prints the line, and another for what of it went through shared memory unless that is NULL or
 * nothing, if the environment variable SIMCLR_EDGES is set to something other than 0 or an
 * empty value. The variable is read here and is not a setting of a link, since it changes nothing
 * but this line. */
void traffic_report(const char *name, const struct traffic *edge, const struct traffic *shared);

#endif

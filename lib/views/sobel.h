/* sobel: the strength of edges.
 *
 * Each channel x becomes min(1, sqrt(gx^2 + gy^2) / 4), where gx is x correlated with
 * [-1 0 1; -2 0 2; -1 0 1], gy with its transpose, and the pixels of the border are repeated beyond
 * it. A quarter makes a straight edge from black to white, at its place, white. */
#ifndef SOBEL_H
#define SOBEL_H

#include <stddef.h>

/* Number of floats of scratch that sobel_magnitude() needs. */
size_t sobel_scratch(int size);

/* planes F32 (3,size,size), in place. */
void sobel_magnitude(float *planes, int size, float *scratch);

#endif

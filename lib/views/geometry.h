/* geometry: where a view's pixels stand.
 *
 * planes F32 (3,size,size), changed in place. */
#ifndef GEOMETRY_H
#define GEOMETRY_H

#include <stddef.h>

#include "views/resample.h"

void geometry_flip(float *planes, int size); /* left becomes right */

/* Turns the image counterclockwise by that many quarters, 0 to 3, as numpy's rot90(). scratch:
 * size x size floats. */
void geometry_rotate(float *planes, int size, int quarters, float *scratch);

/* Fills a box, wholly inside, with mid-grey, 0.5. DeVries and Taylor (2017) fill with zero after
 * the data's mean is taken off: with the mean. */
void geometry_cutout(float *planes, int size, struct box box);

#endif

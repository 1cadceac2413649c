/* contact_sheet: the images or series of a batch on one page, for the eye. */
#ifndef CONTACT_SHEET_H
#define CONTACT_SHEET_H

#include "frame/frame.h"

/* Draws up to max_images of x into a PNG file, which appears whole or not at all. x is U8, or F32
 * in [0,1] (what lies outside is clamped, NaN is drawn magenta), of shape [B,V,H,W,3] or [B,H,W,3].
 * The V views of an image are neighbouring tiles of one group; groups fill rows from left to right,
 * as many as make the page about as wide as high. Images below 96 pixels are scaled up by a whole
 * factor.
 *
 * F32 [B,V,1,T,C] are series: a tile is a plot of lines, one a channel, over time, from the
 * smallest value of the group to the largest. -1 with a message. */
int contact_sheet_write(const struct tensor *x, int64_t max_images, const char *path);

#endif

/* contact_sheet: draws the images or time series of a batch on one page. */
#ifndef CONTACT_SHEET_H
#define CONTACT_SHEET_H

#include "frame/frame.h"

/* Draws up to max_images samples of x into a PNG file at `path`, which is written completely or not
 * at all. Returns -1 with a message if x does not have one of the following dtypes and shapes, if
 * it is empty or too large to draw, or if the file cannot be written.
 *
 *   U8 or F32 [B,V,H,W,C] or [B,H,W,C]   Images. F32 is clamped to [0,1]; NaN is drawn magenta. The
 *                                        V views of an image are neighbouring tiles of one group.
 *                                        Images below 96 pixels are enlarged by a whole factor. With
 *                                        three channels or more the first three are red, green and
 *                                        blue, else the first is grey.
 *   F32 [B,V,1,T,C]                      Time series. A tile is a plot over time with one line for
 *                                        each channel; the plots of a group share their range.
 *
 * Groups fill rows from left to right, as many as make the page about as wide as high. */
int contact_sheet_write(const struct tensor *x, int64_t max_images, const char *path);

/* Returns a text that says which channels of x are drawn, or NULL if these are all. */
const char *contact_sheet_note(const struct tensor *x);

#endif

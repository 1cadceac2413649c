/* listing: prints the images of a run as text, a line for each, without reading their pixels. */
#ifndef LISTING_H
#define LISTING_H

#include <stdio.h>

#include "data/data_source.h"

/* Writes a line for each image that the open source chose, in the order of their numbers. Its
 * columns are separated by tabs:
 *
 *   index    the number of the image, which is `index` in frames
 *   label    the number of its class, or -1
 *   class    the name of its class; empty if classes have no names, or the image has no label
 *   name     the path of the image's file; in an archive, that of its member; for a file of many
 *            images, FILE:NUMBER, where NUMBER counts the images of the file from 0
 *   archive  only for a list of archives: the archive that has the member
 *
 * A tab, a line's end or a backslash in a text is written as \t, \n, \r or \\. Stops at the
 * first line that cannot be written; the caller flushes and checks `out`. Returns -1 with a message
 * if a stream fails. */
int listing_write(struct data_source *source, FILE *out);

#endif

/* foreign: recognizes the formats of files that are not frames by their first bytes. */
#ifndef FOREIGN_H
#define FOREIGN_H

/* Returns text for a message, such as "a gzip file: unpack it first", or NULL if the format is not
 * recognized. */
const char *foreign_kind(const unsigned char first[8]);

#endif

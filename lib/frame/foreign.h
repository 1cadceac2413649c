/* foreign: what a file is that is no frame, told by its first bytes. */
#ifndef FOREIGN_H
#define FOREIGN_H

/* For a message: "a gzip file: unpack it first". NULL: unknown. */
const char *foreign_kind(const unsigned char first[8]);

#endif

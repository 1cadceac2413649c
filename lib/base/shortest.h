/* shortest: prints floating-point numbers as short as possible. */
#ifndef SHORTEST_H
#define SHORTEST_H

enum { SHORTEST_TEXT = 32 }; /* bytes of a number, with the 0 at its end */

/* Prints a number with as few digits as strtod() needs to read back exactly this value, but up to 6
 * in any case: 0.99, 1e-05. */
void shortest_print(char text[SHORTEST_TEXT], double value);

#endif

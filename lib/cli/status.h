/* status: draws one line on a terminal, again and again in place, during work that takes a while.
 */
#ifndef STATUS_H
#define STATUS_H

/* Draws the line over the last one. Does nothing if stderr is no terminal, within a tenth of a
 * second after the last line, and in the two seconds after the first call. */
void status_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Erases the line, if one was drawn. Call it before other text goes to stderr. */
void status_clear(void);

#endif

/* status: draws one line on a terminal, again and again in the same place, during long work. */
#ifndef STATUS_H
#define STATUS_H

/* Draws the line over the last one. Does nothing if stderr is not a terminal, within a tenth of a
 * second after the last line, and in the two seconds after the first call. */
void status_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Erases the line if one was drawn. Call this before other text goes to stderr. */
void status_clear(void);

#endif

/* status: one line on a terminal, redrawn in place, for work that takes longer than a moment. */
#ifndef STATUS_H
#define STATUS_H

/* Draws the line over the last one, unless stderr is no terminal, or less than a tenth of a second
 * went by since the last, or less than two seconds since the first call. */
void status_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Erases the line, if one was drawn. Call it before other text goes to stderr. */
void status_clear(void);

#endif

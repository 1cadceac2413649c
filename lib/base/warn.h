/* warn: prints lines on stderr, as "program: line". */
#ifndef WARN_H
#define WARN_H

/* Prints a line, printf-style, after the program's name. Control characters are shown as '?'. */
void warn_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints fail_message() as such a line and returns 1, the exit status of a program that failed. A
 * main() ends with `return warn_failure();`. */
int warn_failure(void);

/* Set and return the name that lines begin with; options_parse() sets it. The text must stay valid.
 */
void warn_set_name(const char *program);
const char *warn_name(void);

#endif

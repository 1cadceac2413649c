/* fail: how a library function says what went wrong.
 *
 * A function that can fail returns -1 (or NULL) after leaving one line of text with fail(); it
 * neither prints nor ends the process. A program's main() prints the line as "program: line" and
 * exits with 1 (options.h). A line names the file or peer and the defect:
 * "run/state.safetensors: header is not JSON at byte 8". Lines that report no failure
 * are printed by warn.h. */
#ifndef FAIL_H
#define FAIL_H

enum { FAIL_MAX = 1024 }; /* bytes of a message, with its closing zero; what is longer is cut */

/* Sets the calling thread's message, printf-style, and returns -1, so that a caller can write
 * `return fail("%s: truncated", path);`. Arguments may point into the present message. Control
 * characters, which hostile input may hold, are shown as '?', so a message stays one line. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for a function that returns a pointer: returns NULL. */
void *fail_null(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts a text and ": " before the present message, and returns -1: a caller adds the name of the
 * file or peer that it knows. */
int fail_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* fail("WHAT: out of memory"), or without WHAT if it is NULL. Returns -1. */
int fail_memory(const char *what);

/* The calling thread's last message; "" if none was set. Valid until its next fail(). */
const char *fail_message(void);

/* A message on its way to another thread, or past calls that may fail as well. fail_save() copies
 * the calling thread's message into it; fail_restore() makes it the calling thread's message and
 * returns -1. */
struct fail_note {
    char text[FAIL_MAX];
};
void fail_save(struct fail_note *note);
int fail_restore(const struct fail_note *note);

/* Shows control characters as '?', in place: whatever is printed is one line. */
void fail_clean(char *text);

/* clang's analyzer looks at one source file at a time, and does not know what these return. */
#ifdef __clang_analyzer__
#define fail(...) ((fail)(__VA_ARGS__), -1)
#define fail_null(...) ((fail_null)(__VA_ARGS__), (void *)0)
#define fail_prefix(...) ((fail_prefix)(__VA_ARGS__), -1)
#define fail_memory(what) ((fail_memory)(what), -1)
#define fail_restore(note) ((fail_restore)(note), -1)
#endif

#endif

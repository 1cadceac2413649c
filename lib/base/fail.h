/* fail: lets a library function say what went wrong.
 *
 * A function that can fail leaves one line of text with fail() and returns -1 (or NULL). It neither
 * prints nor ends the process. A program's main() prints the line as "program: line" and exits with
 * 1 (options.h). A line names the file or peer and the defect: "run/state.safetensors: header is
 * not JSON at byte 8". Lines that report no failure are printed by warn.h. */
#ifndef FAIL_H
#define FAIL_H

enum { FAIL_MAX = 1024 }; /* bytes of a message with its final zero; longer ones are cut */

/* Sets the calling thread's message, printf-style, and returns -1, so that a caller can write
 * `return fail("%s: truncated", path);`. Arguments may point into the current message. Control
 * characters, which hostile input may contain, are replaced by '?', so a message stays one line. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Does the same as fail(), and returns NULL, for functions that return a pointer. */
void *fail_null(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts a text and ": " before the current message and returns -1. Callers use it to add the name of
 * the file or peer. */
int fail_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sets the message "WHAT: out of memory", without "WHAT: " if what is NULL. Returns -1. */
int fail_memory(const char *what);

/* Returns the calling thread's last message, or "" if none was set. The text is valid until that
 * thread's next fail(). */
const char *fail_message(void);

/* A message that is kept for another thread, or during calls that may fail as well. fail_save()
 * copies the calling thread's message into the note. fail_restore() makes the note the calling
 * thread's message and returns -1. */
struct fail_note {
    char text[FAIL_MAX];
};
void fail_save(struct fail_note *note);
int fail_restore(const struct fail_note *note);

/* Replaces control characters by '?', in place, so that the text prints as one line. */
void fail_clean(char *text);

/* clang's analyzer looks at one source file at a time and does not know what these return. */
#ifdef __clang_analyzer__
#define fail(...) ((fail)(__VA_ARGS__), -1)
#define fail_null(...) ((fail_null)(__VA_ARGS__), (void *)0)
#define fail_prefix(...) ((fail_prefix)(__VA_ARGS__), -1)
#define fail_memory(what) ((fail_memory)(what), -1)
#define fail_restore(note) ((fail_restore)(note), -1)
#endif

#endif

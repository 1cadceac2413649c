/* fail: how a library function says what went wrong.
 *
 * A function that can fail returns -1 (or NULL) after leaving one line of text with fail(); it
 * neither prints nor ends the process (options.h does, on wrong usage; status.h and bar.h draw how
 * far the work is; socket.h and keys.h tell whom they refused, traffic.h what went over a link). A
 * program's main() prints the line as "program: line" and exits with 1. A line names the file or
 * peer and the defect: "run/state.safetensors: header is not JSON at byte 8". */
#ifndef FAIL_H
#define FAIL_H

/* Sets the calling thread's message, printf-style, and returns -1, so that a caller can write
 * `return fail("%s: truncated", path);`. Arguments may point into the present message. Control
 * characters that hostile input smuggled in are shown as '?', so a message stays one line. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Shows control characters as '?', in place: whatever is printed is one line. */
void fail_clean(char *text);

/* The calling thread's last message; "" if none was set. Valid until its next fail(). */
const char *fail_message(void);

#endif

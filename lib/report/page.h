/* page: fills a template of an HTML page with data, which a script of the page shows. */
#ifndef PAGE_H
#define PAGE_H

#include <jansson.h>

/* Writes the page to `path`, completely or not at all. In the template, which must contain both,
 *
 *   @DATA@    becomes the JSON, for an element <script type="application/json">: <, > and & are
 *             written as \u003c ..., so no text in it can end the element or begin a comment
 *   @NONCE@   becomes a random word, each time the same, for the elements' attributes `nonce` and
 *             for the page's Content-Security-Policy, which then lets no other script run
 *
 * Returns -1 with a message if the template lacks one, or if a file cannot be read or written. */
int page_write(const char *template, const json_t *data, const char *path);

#endif

#include "report/page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/flush.h"
#include "base/regular_file.h"

enum { MOST_TEMPLATE = 1 << 20, DIGITS = 9 /* of a float32 */ };
static const char data_word[] = "@DATA@", nonce_word[] = "@NONCE@";

static void write_json(FILE *file, const char *json)
{
    for (const char *c = json; *c; c++)
        if (*c == '<' || *c == '>' || *c == '&')
            fprintf(file, "\\u%04x", (unsigned)*c);
        else
            putc(*c, file);
}

/* Writes the template with its two words replaced. */
static void write_filled(FILE *file, const char *template, const char *json, const char *nonce)
{
    const char *rest = template, *at;
    while ((at = strchr(rest, '@'))) {
        fwrite(rest, 1, (size_t)(at - rest), file);
        rest = at;
        if (!strncmp(rest, data_word, strlen(data_word))) {
            write_json(file, json);
            rest += strlen(data_word);
        } else if (!strncmp(rest, nonce_word, strlen(nonce_word))) {
            fputs(nonce, file);
            rest += strlen(nonce_word);
        } else
            putc(*rest++, file);
    }
    fputs(rest, file);
}

static int write_file(const char *template, const char *json, const char *path)
{
    uint64_t number[2];
    char nonce[40];
    struct atomic_file out;
    if (getrandom(number, sizeof number, 0) != sizeof number)
        return fail("no random number: %s", strerror(errno));
    snprintf(nonce, sizeof nonce, "%016" PRIx64 "%016" PRIx64, number[0], number[1]);
    if (atomic_file_open(&out, path))
        return -1;
    write_filled(out.file, template, json, nonce);
    if (flush_file(out.file, path)) {
        atomic_file_abandon(&out);
        return -1;
    }
    return atomic_file_commit(&out);
}

int page_write(const char *template, const json_t *data, const char *path)
{
    char *text;
    if (regular_file_text(template, MOST_TEMPLATE, &text))
        return -1;
    char *json = json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
    int result = json ? 0 : fail("%s: out of memory for the page", path);
    if (!result && (!strstr(text, data_word) || !strstr(text, nonce_word)))
        result =
            fail("%s: no template of a page: it lacks %s or %s", template, data_word, nonce_word);
    if (!result)
        result = write_file(text, json, path);
    free(json);
    free(text);
    return result;
}
